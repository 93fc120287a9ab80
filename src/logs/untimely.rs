//! An event that CloudWatch Logs refuses for its time, told at the time of its put.
//!
//! Pure. Owns the member of the message that keeps the event's own time.

use serde::de::IgnoredAny;

use super::LogEvent;
use crate::clock::Timestamp;
use crate::json;

/// The first member of the message.
const MEMBER: &str = "weirOriginalTime";
/// What the member adds to a JSON object at most, its comma with it: `"weirOriginalTime":"…",`.
pub const ROOM: usize = 64;

/// The event stamped `now`, its own time kept inside the message: as the first member of a JSON object, whose bytes
/// are otherwise untouched; any other text becomes an object's `message`. One that was treated before keeps the time
/// that it tells.
///
/// The message may become too large to be put.
pub fn at(event: LogEvent, now: Timestamp) -> LogEvent {
    let LogEvent { timestamp, message } = event;
    let message = if is_treated(&message) {
        message
    } else {
        treated(&message, timestamp)
    };
    LogEvent {
        timestamp: now,
        message,
    }
}

/// Whether the message tells its original time already.
pub fn is_treated(message: &str) -> bool {
    let inside = message.trim_start().strip_prefix("{\"");
    let value = inside.and_then(|rest| rest.strip_prefix(MEMBER));
    value.is_some_and(|rest| rest.starts_with("\":\""))
}

/// The event's own time, where the message tells it.
pub fn original_time(message: &str) -> Option<Timestamp> {
    if !is_treated(message) {
        return None;
    }
    let (_, value) = message.split_once("\":\"")?;
    let (time, _) = value.split_once('"')?;
    let time: jiff::Timestamp = time.parse().ok()?;
    Some(Timestamp::from_millis(time.as_millisecond()))
}

fn treated(message: &str, time: Timestamp) -> String {
    let member = format!(r#""{MEMBER}":"{time}""#);
    if let Some(open) = brace(message) {
        let (before, after) = message.split_at(open);
        let comma = if after.trim_start().starts_with('}') {
            ""
        } else {
            ","
        };
        return format!("{before}{member}{comma}{after}");
    }
    let mut out = format!(r#"{{{member},"message":"#);
    json::quote(message, &mut out);
    out.push('}');
    out
}

/// Where the first member of the object stands that the whole message is, if it is one.
fn brace(message: &str) -> Option<usize> {
    let is_object = message.trim_start().starts_with('{');
    let valid = is_object && serde_json::from_str::<IgnoredAny>(message).is_ok();
    valid.then(|| message.find('{').map(|at| at + 1)).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn told(message: &str) -> String {
        let event = LogEvent {
            timestamp: Timestamp::from_millis(1_600_000_000_123),
            message: message.to_owned(),
        };
        let event = at(event, NOW);
        assert_eq!(event.timestamp, NOW);
        event.message
    }

    #[test]
    fn the_original_time_is_told_by_what_was_treated_alone() {
        for message in ["{}", " { } ", "a text", r#"{"a":1}"#, "[1]"] {
            assert_eq!(original_time(message), None, "{message}");
            let time = Timestamp::from_millis(1_600_000_000_123);
            assert_eq!(original_time(&told(message)), Some(time), "{message}");
        }
        for message in [r#"{"weirOriginalTime":"soon"}"#, r#"{"weirOriginalTime":7}"#] {
            assert_eq!(original_time(message), None, "{message}");
        }
    }

    #[test]
    fn an_object_gets_a_first_member_and_any_other_text_becomes_a_message() {
        let time = r#""weirOriginalTime":"2020-09-13T12:26:40.123Z""#;
        for (message, expected) in [
            ("{}", format!("{{{time}}}")),
            (" { } ", format!(" {{{time} }} ")),
            (
                r#"{"a":1.10, "a":"é"}"#,
                format!(r#"{{{time},"a":1.10, "a":"é"}}"#),
            ),
            ("\n{\n \"a\": {}}", format!("\n{{{time},\n \"a\": {{}}}}")),
            ("text", format!(r#"{{{time},"message":"text"}}"#)),
            ("", format!(r#"{{{time},"message":""}}"#)),
            (r#"{"a":1"#, format!(r#"{{{time},"message":"{{\"a\":1"}}"#)),
            (
                r#"{"a":1} {}"#,
                format!(r#"{{{time},"message":"{{\"a\":1}} {{}}"}}"#),
            ),
            ("[{}]", format!(r#"{{{time},"message":"[{{}}]"}}"#)),
            ("\u{1}\"", format!(r#"{{{time},"message":"\u0001\""}}"#)),
        ] {
            assert_eq!(told(message), expected);
        }
    }

    #[test]
    fn a_message_that_was_treated_is_not_treated_again() {
        for message in ["{}", "text", r#" {"a":1}"#, ""] {
            let once = told(message);
            assert!(!is_treated(message) && is_treated(&once), "{once}");
            let again = at(
                LogEvent {
                    timestamp: NOW,
                    message: once.clone(),
                },
                NOW,
            );
            assert_eq!(again.message, once);
        }
        assert!(!is_treated(r#"{"weirOriginalTimes":"x"}"#) && !is_treated(r#"{"weirOriginalTime":1}"#));
    }

    #[test]
    fn an_objects_message_grows_by_no_more_than_the_room_kept_for_it() {
        for millis in [
            i64::MIN,
            -1,
            0,
            i64::MAX,
            253_402_207_200_000,
            -377_705_023_201_000,
        ] {
            let event = LogEvent {
                timestamp: Timestamp::from_millis(millis),
                message: r#"{"a":1}"#.to_owned(),
            };
            let message = at(event, NOW).message;
            assert!(message.len() <= r#"{"a":1}"#.len() + ROOM, "{message}");
        }
    }

    proptest! {
        #[test]
        fn what_is_told_is_json_with_the_time_and_the_message(text in ".*", time in 0i64..4_000_000_000_000) {
            let event = LogEvent { timestamp: Timestamp::from_millis(time), message: text.clone() };
            let told: serde_json::Value = serde_json::from_str(&at(event, NOW).message).unwrap();
            prop_assert_eq!(&told[MEMBER], &Timestamp::from_millis(time).to_string());
            if let Some(message) = told["message"].as_str() {
                prop_assert_eq!(message, text);
            }
        }
    }
}
