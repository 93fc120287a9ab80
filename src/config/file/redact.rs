//! The keys of what a pipeline hides: `redact`, `redact_key`, `redact_sql`.

use crate::config::check;
use crate::config::reader::{Section, item};
use crate::decode::Decode;
use crate::redact::{Key, Redaction, Rule, With};

/// What is hidden. `None` also after a problem was reported. Where it can't be told how records are read, nothing is
/// said of what would fit that.
pub fn redact(one: &mut Section<'_>, how: Option<Decode>) -> Option<Redaction> {
    let (has_rules, has_key) = (one.has("redact"), one.has("redact_key"));
    let key = one.secret("redact_key", |text| Key::new(text).map_err(|e| e.to_string()));
    let rules = one.list("redact", "path", |rule| {
        if !rule.has("path") {
            rule.problem(
                "path",
                "is missing: name the values, as in `path: NewImage.card_number`",
            );
        }
        let path = rule.text("path", |text| check::redact_path(text, how));
        let has_with = rule.has("with");
        let with = rule.text("with", |text| check::redact_with(text, key.as_ref(), has_key));
        (path, with.unwrap_or((!has_with).then_some(With::Mask)))
    });
    let sql = one.scalar("redact_sql", check::boolean);

    for (i, (path, _)) in rules.iter().enumerate() {
        let Some(path) = path else {
            continue;
        };
        let mut earlier = rules[..i].iter().enumerate();
        let covering = earlier.find_map(|(first, (other, _))| {
            let other = other.as_ref()?;
            other.covers(path.segments()).then_some((first, other))
        });
        if let Some((first, other)) = covering {
            let first = item("redact", first);
            let what = match other == path {
                true => format!("is the path of {first} too: remove one of the two"),
                false => format!(
                    "names nothing that {first}, `{}`, has not hidden before: remove one of the two",
                    other.as_str()
                ),
            };
            one.problem_with(&item("redact", i), path.as_str(), what);
        }
    }
    if let Some(how @ (Decode::Text | Decode::Base64)) = how
        && has_rules
    {
        let how = check::decode_word(how);
        let what =
            format!("hides fields, and what is read with `decode: {how}` has none: remove one of the two");
        one.problem("redact", what);
    }
    if let (Some(true), Some(how)) = (sql, how)
        && how != Decode::Audit
    {
        let what = "is for the statements of audit lines: add `decode: audit`, or remove it";
        one.problem_with("redact_sql", "true", what);
    }
    let hashes = rules
        .iter()
        .any(|(_, with)| matches!(with, None | Some(With::Hash(_))));
    if has_key && !hashes {
        one.problem(
            "redact_key",
            "is for `with: hash`, and no path of `redact` is hashed: remove it, or hash one",
        );
    }
    let rules = rules.into_iter().map(|(path, with)| {
        Some(Rule {
            path: path?,
            with: with?,
        })
    });
    Redaction::new(rules.collect::<Option<_>>()?, sql == Some(true))
}
