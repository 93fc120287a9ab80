//! `${VAR}` and `${VAR:-default}` in a value of the file.
//!
//! Pure: whoever calls brings the variables. Works on one value at a time, after the YAML is parsed, so
//! that what a variable holds can never become a key or a second value.

use super::Vars;

/// Replaces each `${VAR}` by the variable's value and each `${VAR:-default}` by `default` where the
/// variable is not set or empty. `$${` is a literal `${`; any other `$` is itself. A default may hold
/// balanced braces (`${STREAM:-{shard_id}}`) but no further variable.
///
/// The error says what is wrong and the way out; it names variables and never holds the value of one.
pub fn interpolate(text: &str, vars: Vars<'_>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from_dollar) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = &from_dollar[2..];
            continue;
        }
        out.push_str(before);
        let inside = &from_dollar[2..];
        let Some(end) = closing_brace(inside) else {
            return Err("a `${` is never closed: add the `}`, or write `$${` for a literal one".to_owned());
        };
        out.push_str(&variable(&inside[..end], vars)?);
        rest = &inside[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

/// The index of the `}` that closes a brace opened just before `inside`.
fn closing_brace(inside: &str) -> Option<usize> {
    let mut open = 1usize;
    inside.find(|c| {
        match c {
            '{' => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        open == 0
    })
}

fn variable(inside: &str, vars: Vars<'_>) -> Result<String, String> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts_well || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(format!(
            "`${{{inside}}}` names no variable: write `${{NAME}}` or `${{NAME:-default}}`, with letters, digits and _ in the name"
        ));
    }
    if default.is_some_and(|default| default.contains("${")) {
        return Err(format!(
            "the default of `${{{name}}}` holds another variable: write a fixed one"
        ));
    }
    match (vars(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(format!(
            "the environment variable `{name}` is not set: set it, or give a default, `${{{name}:-...}}`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(name: &str) -> Option<String> {
        match name {
            "ENV" => Some("prod".into()),
            "EMPTY" => Some(String::new()),
            "NASTY" => Some("a: {b: ${ENV}}\nc: d".into()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_replaced_once_and_only_in_their_form() {
        for (text, result) in [
            ("plain", "plain"),
            ("${ENV}", "prod"),
            ("/cdc/${ENV}/${ENV}-x", "/cdc/prod/prod-x"),
            ("${EMPTY}", ""),
            ("${EMPTY:-none}", "none"),
            ("${UNSET:-none}", "none"),
            ("${UNSET:-}", ""),
            ("${ENV:-none}", "prod"),
            ("${UNSET:-{shard_id}}/x", "{shard_id}/x"),
            ("$${ENV}", "${ENV}"),
            ("$$${ENV}", "$${ENV}"),
            ("$ENV costs $5", "$ENV costs $5"),
            ("{shard_id}", "{shard_id}"),
            ("${NASTY}", "a: {b: ${ENV}}\nc: d"),
        ] {
            assert_eq!(interpolate(text, &vars).as_deref(), Ok(result), "{text}");
        }
    }

    #[test]
    fn a_variable_that_cannot_be_replaced_is_told_with_the_way_out() {
        for (text, says) in [
            (
                "${UNSET}",
                "`UNSET` is not set: set it, or give a default, `${UNSET:-...}`",
            ),
            ("x${ENV", "never closed"),
            ("${UNSET:-{x}", "never closed"),
            ("${}", "names no variable"),
            ("${1A}", "names no variable"),
            ("${A B}", "names no variable"),
            ("${UNSET:-${ENV}}", "holds another variable"),
        ] {
            let error = interpolate(text, &vars).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
