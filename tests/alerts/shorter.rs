//! The rules of the file in a test's time: a minute of theirs is a second here, and Prometheus scrapes and judges each
//! second, as it does each minute or more often where the rules are used.

use serde_json::Value;

use crate::rules;

/// Durations are divided by this.
const BY: u64 = 60;

/// What is compared with a time, and would take the test as long as in earnest. What is left as it is: the hours until
/// data is trimmed, because a test can have old records, and the age at which a worker dies young.
const TIMES: [(&str, &str, &str); 4] = [
    ("WeirLagGrowing", ":max > 600", ":max > 10"),
    ("WeirLagGrowing", "15m) - 60", "15m) - 1"),
    ("WeirShardStuck", "_seconds > 600", "_seconds > 10"),
    ("WeirShardStuck", "_seconds > 60\n", "_seconds > 1\n"),
];

/// The rules' file, shortened. JSON is YAML.
pub fn rules() -> Value {
    let mut file = rules::yaml(rules::FILE);
    let mut used = [false; TIMES.len()];
    for group in file["groups"].as_array_mut().unwrap() {
        for rule in group["rules"].as_array_mut().unwrap() {
            let mut expression = rule["expr"].as_str().unwrap().to_owned();
            for (used, (alert, from, to)) in used.iter_mut().zip(TIMES) {
                if rule["alert"] == alert && expression.contains(from) {
                    expression = expression.replace(from, to);
                    *used = true;
                }
            }
            rule["expr"] = durations(&expression).into();
            if let Some(time) = rule["for"].as_str() {
                rule["for"] = durations(time).into();
            }
        }
    }
    assert_eq!(used, [true; TIMES.len()], "a time of {TIMES:?} is in no rule");
    file
}

/// Divides each duration in an expression. A number with a unit is one wherever it stands.
fn durations(expression: &str) -> String {
    let (mut out, mut rest) = (String::new(), expression);
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        let in_word = rest[..start].ends_with(is_part);
        let digits = rest[start..].len()
            - rest[start..]
                .trim_start_matches(|c: char| c.is_ascii_digit())
                .len();
        let end = start + digits;
        let unit = rest[end..].chars().next().filter(|_| !in_word);
        let seconds = match unit {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3600,
            _ => {
                out += &rest[..end];
                rest = &rest[end..];
                continue;
            }
        };
        let number: u64 = rest[start..end].parse().unwrap();
        out += &rest[..start];
        out += &format!("{}ms", number * seconds * 1000 / BY);
        rest = &rest[end + 1..];
    }
    out + rest
}

#[test]
fn durations_are_divided_and_nothing_else_is() {
    for (long, short) in [
        ("5m", "5000ms"),
        ("rate(x[15m]) > 0.1", "rate(x[15000ms]) > 0.1"),
        (
            "max_over_time((time() - x)[30m:30s]) < 180",
            "max_over_time((time() - x)[30000ms:500ms]) < 180",
        ),
        ("x offset 1h < 12 * 3600", "x offset 60000ms < 12 * 3600"),
        ("weir_5m_x2 > 2.5 or sha256", "weir_5m_x2 > 2.5 or sha256"),
    ] {
        assert_eq!(durations(long), short);
    }
}
