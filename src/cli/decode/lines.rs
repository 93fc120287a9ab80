//! What is printed of a record: one line of JSON for each event.
//!
//! Pure but for the writer it is given. Must never change a value: JSON passes as the text it is, only its white
//! space goes, so that a number of 38 digits stays one.

use std::borrow::Cow;
use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::decode::{Decode, Decoded, Envelope, Event};
use crate::stream::Record;

#[derive(Serialize)]
struct Message<'a> {
    message: &'a str,
}

/// An event of a subscription, in the words of CloudWatch Logs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Subscribed<'a> {
    timestamp: i64,
    log_group: &'a str,
    log_stream: &'a str,
    owner: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UserRecord<'a> {
    partition_key: Option<&'a str>,
    sub_sequence_number: u64,
    data: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
}

/// Writes the events of a record that was read as `how`.
pub fn write(out: &mut impl Write, decoded: &Decoded, how: Decode) -> io::Result<()> {
    for event in &decoded.events {
        let envelope = event.envelope.and_then(|index| decoded.envelopes.get(index));
        one(out, event, envelope, how)?;
    }
    Ok(())
}

fn one(out: &mut impl Write, event: &Event, envelope: Option<&Envelope>, how: Decode) -> io::Result<()> {
    let message = event.event.message.as_str();
    match envelope {
        // The rows that Weir makes of audit lines tell where they are from.
        Some(envelope) if how != Decode::Audit => line(
            out,
            &Subscribed {
                timestamp: event.event.timestamp.millis(),
                log_group: &envelope.log_group,
                log_stream: &envelope.log_stream,
                owner: &envelope.owner,
                message,
            },
        ),
        _ if is_printed_as_it_is(message, how) => {
            compact(out, message)?;
            out.write_all(b"\n")
        }
        _ => line(out, &Message { message }),
    }
}

/// Writes one user record of an aggregate.
pub fn write_user_record(out: &mut impl Write, record: &Record) -> io::Result<()> {
    let (data, encoding) = match std::str::from_utf8(&record.data) {
        Ok(text) => (Cow::Borrowed(text), None),
        Err(_) => (Cow::Owned(STANDARD.encode(&record.data)), Some("base64")),
    };
    let user_record = UserRecord {
        partition_key: record.partition_key.as_deref(),
        sub_sequence_number: record.sub_sequence_number,
        data,
        encoding,
    };
    line(out, &user_record)
}

fn line<T: Serialize>(out: &mut impl Write, value: &T) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

/// An object or a list is JSON that was meant. A number or a word may as well be text, but where JSON is expected.
fn is_printed_as_it_is(message: &str, how: Decode) -> bool {
    let meant = match how {
        Decode::Text => false,
        Decode::Json => true,
        _ => message.trim_ascii_start().starts_with(['{', '[']),
    };
    meant && serde_json::from_str::<&RawValue>(message).is_ok()
}

/// Writes JSON without the white space between its parts.
fn compact(out: &mut impl Write, json: &str) -> io::Result<()> {
    let bytes = json.as_bytes();
    let mut in_string = false;
    let mut escaped = false;
    let mut start = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if in_string {
            in_string = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
        } else if byte.is_ascii_whitespace() {
            out.write_all(&bytes[start..at])?;
            start = at + 1;
        } else {
            in_string = *byte == b'"';
        }
    }
    out.write_all(&bytes[start..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::decode::Content;
    use crate::logs::LogEvent;
    use crate::stream::SequenceNumber;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn event(message: &str, envelope: Option<usize>) -> Event {
        Event {
            event: LogEvent {
                timestamp: Timestamp::from_millis(1_700_000_000_123),
                message: message.to_owned(),
            },
            envelope,
            content: Content::Other,
            line: None,
        }
    }

    fn printed(message: &str, how: Decode) -> String {
        let decoded = Decoded {
            events: vec![event(message, None)],
            ..Decoded::default()
        };
        let mut out = Vec::new();
        write(&mut out, &decoded, how).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_is_printed_as_it_is_on_one_line() {
        let long = "{\n  \"n\" : 12345678901234567890123456789012345678.10,\r\n\t\"s\": \"a  b\\\" \\\\\" , \"e\": 1E5 }\n";
        assert_eq!(
            printed(long, Decode::Auto),
            "{\"n\":12345678901234567890123456789012345678.10,\"s\":\"a  b\\\" \\\\\",\"e\":1E5}\n"
        );
        assert_eq!(printed(" [1, 2 ]", Decode::Auto), "[1,2]\n");
        assert_eq!(printed(" 1.50 ", Decode::Json), "1.50\n");
        assert_eq!(
            printed("{\"b\": 1, \"a\": 2}", Decode::Change),
            "{\"b\":1,\"a\":2}\n"
        );
    }

    #[test]
    fn text_is_a_message() {
        assert_eq!(printed("hoge\n", Decode::Auto), "{\"message\":\"hoge\\n\"}\n");
        assert_eq!(printed("17", Decode::Auto), "{\"message\":\"17\"}\n");
        assert_eq!(
            printed("{\"a\":1}", Decode::Text),
            "{\"message\":\"{\\\"a\\\":1}\"}\n"
        );
        assert_eq!(printed("{broken", Decode::Auto), "{\"message\":\"{broken\"}\n");
        assert_eq!(printed("", Decode::Text), "{\"message\":\"\"}\n");
    }

    #[test]
    fn an_event_of_a_subscription_tells_where_it_is_from() {
        let decoded = Decoded {
            events: vec![event("{\"level\": \"info\"}", Some(1)), event("two", Some(0))],
            envelopes: ["first", "second"]
                .map(|group| Envelope {
                    owner: "111122223333".into(),
                    log_group: group.into(),
                    log_stream: "s".into(),
                })
                .into(),
            ..Decoded::default()
        };
        let mut out = Vec::new();
        write(&mut out, &decoded, Decode::Auto).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"timestamp\":1700000000123,\"logGroup\":\"second\",\"logStream\":\"s\",\"owner\":\"111122223333\",\"message\":\"{\\\"level\\\": \\\"info\\\"}\"}\n\
             {\"timestamp\":1700000000123,\"logGroup\":\"first\",\"logStream\":\"s\",\"owner\":\"111122223333\",\"message\":\"two\"}\n"
        );
        // A row that Weir made of an audit line tells that itself.
        let mut out = Vec::new();
        write(&mut out, &decoded, Decode::Audit).unwrap();
        assert!(
            String::from_utf8(out)
                .unwrap()
                .starts_with("{\"level\":\"info\"}\n")
        );
    }

    #[test]
    fn a_user_record_is_text_or_base64() {
        let print = |data: &'static [u8]| {
            let mut record = Record::new(SequenceNumber::of(1), None, Bytes::from_static(data));
            record.partition_key = Some("k".into());
            record.sub_sequence_number = 3;
            let mut out = Vec::new();
            write_user_record(&mut out, &record).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            print("日\n".as_bytes()),
            "{\"partitionKey\":\"k\",\"subSequenceNumber\":3,\"data\":\"日\\n\"}\n"
        );
        assert_eq!(
            print(&[0xff, 0]),
            "{\"partitionKey\":\"k\",\"subSequenceNumber\":3,\"data\":\"/wA=\",\"encoding\":\"base64\"}\n"
        );
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(serde_json::Value::from),
            any::<String>().prop_map(serde_json::Value::from),
            Just(serde_json::Value::Null),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
                prop::collection::vec(("\\PC{0,4}", inner), 0..4)
                    .prop_map(|pairs| serde_json::Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn compact_is_what_a_serializer_would_have_written(value in json()) {
            let mut out = Vec::new();
            compact(&mut out, &serde_json::to_string_pretty(&value).unwrap()).unwrap();
            prop_assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
        }

        #[test]
        fn every_message_becomes_one_line_of_json(message in any::<String>()) {
            for how in [Decode::Auto, Decode::Json, Decode::Text, Decode::Audit] {
                let line = printed(&message, how);
                prop_assert_eq!(line.lines().count(), 1);
                prop_assert!(serde_json::from_str::<&RawValue>(&line).is_ok());
            }
        }
    }
}
