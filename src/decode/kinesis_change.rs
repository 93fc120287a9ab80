//! A change of DynamoDB that came through Kinesis.
//!
//! Pure. Owns what is such a record (DynamoDB developer guide, "Using Kinesis Data Streams to capture changes
//! to DynamoDB") and when the change happened. The record's JSON itself is the message.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::json::{Object, short};
use crate::clock::Timestamp;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    #[serde(borrow)]
    event_source: Option<Cow<'a, str>>,
    #[serde(borrow)]
    table_name: Option<&'a RawValue>,
    #[serde(borrow)]
    record_format: Option<&'a RawValue>,
    #[serde(borrow)]
    dynamodb: Option<Object<Change<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Change<'a> {
    #[serde(borrow)]
    approximate_creation_date_time: Option<&'a RawValue>,
    #[serde(borrow)]
    approximate_creation_date_time_precision: Option<&'a RawValue>,
    #[serde(borrow)]
    keys: Option<&'a RawValue>,
}

/// When the change happened, if it says so: `None` where the time is missing or can't be read exactly. The
/// error says why `text` is no such record.
///
/// A record that Lambda or EventBridge wrote is none: it names no table, and its times are seconds.
pub fn time(text: &str) -> Result<Option<Timestamp>, String> {
    let Object(wire): Object<Wire> = serde_json::from_str(text).map_err(short)?;
    if wire.event_source.as_deref() != Some("aws:dynamodb") {
        return Err("the field `eventSource` is not `aws:dynamodb`".to_owned());
    }
    if wire.table_name.is_none() && wire.record_format.is_none() {
        return Err("the field `tableName` is missing".to_owned());
    }
    let Object(change) = wire.dynamodb.ok_or("the field `dynamodb` is missing")?;
    if !change.keys.is_some_and(|keys| keys.get().starts_with('{')) {
        return Err("the field `dynamodb` has no object `Keys`".to_owned());
    }
    let time = change.approximate_creation_date_time.map(RawValue::get);
    let precision = change.approximate_creation_date_time_precision.map(RawValue::get);
    Ok(time.and_then(|time| moment(time, precision)))
}

fn moment(time: &str, precision: Option<&str>) -> Option<Timestamp> {
    let (number, unit) = exactly(time, precision.map(|p| p.trim_matches('"')))?;
    let millis = match unit {
        Unit::Millisecond => number,
        Unit::Microsecond => number / 1000,
    };
    Some(Timestamp::from_millis(millis))
}

/// What a time counts, from 1970 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Millisecond,
    Microsecond,
}

/// The number that `time` is, and what it counts, as `precision` says. Without it, as many digits tell: 13 and 16
/// for any time from 2001 to 2286. Always whole numbers.
pub fn exactly(time: &str, precision: Option<&str>) -> Option<(i64, Unit)> {
    let number = time
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| time.parse::<i64>().ok())??;
    let unit = match (precision, time.len()) {
        (Some("MILLISECOND"), _) => Unit::Millisecond,
        (Some("MICROSECOND"), _) => Unit::Microsecond,
        (_, 13) => Unit::Millisecond,
        (_, 16) => Unit::Microsecond,
        _ => return None,
    };
    Some((number, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(time: &str) -> String {
        format!(
            r#"{{"awsRegion":"eu-west-1","eventID":"0b1e","eventName":"INSERT","userIdentity":null,
            "recordFormat":"application/json","tableName":"orders","dynamodb":{{{time}"Keys":{{"id":{{"S":"é"}}}},
            "NewImage":{{"id":{{"S":"é"}}}},"SizeBytes":5}},"eventSource":"aws:dynamodb"}}"#
        )
    }

    #[test]
    fn the_time_is_exact_in_milliseconds_and_microseconds() {
        let field = "ApproximateCreationDateTime";
        let precise =
            |time: &str, precision: &str| format!(r#""{field}":{time},"{field}Precision":{precision},"#);
        for (name, time, millis) in [
            (
                "13 digits",
                format!(r#""{field}":1767225600123,"#),
                Some(1_767_225_600_123),
            ),
            (
                "16 digits",
                format!(r#""{field}":1767225600123999,"#),
                Some(1_767_225_600_123),
            ),
            (
                "ms",
                precise("1767225600123", "\"MILLISECOND\""),
                Some(1_767_225_600_123),
            ),
            (
                "µs",
                precise("1767225600123999", "\"MICROSECOND\""),
                Some(1_767_225_600_123),
            ),
            ("early ms", precise("5", "\"MILLISECOND\""), Some(5)),
            ("early µs", precise("5999", "\"MICROSECOND\""), Some(5)),
            (
                "another precision",
                precise("1767225600123", "\"DAY\""),
                Some(1_767_225_600_123),
            ),
            (
                "null precision",
                precise("1767225600123999", "null"),
                Some(1_767_225_600_123),
            ),
            ("seconds", format!(r#""{field}":1767225600,"#), None),
            ("a fraction", format!(r#""{field}":1767225600.123,"#), None),
            ("an exponent", format!(r#""{field}":1.7672256E12,"#), None),
            ("negative", format!(r#""{field}":-176722560012,"#), None),
            (
                "too large",
                precise("99999999999999999999", "\"MICROSECOND\""),
                None,
            ),
            ("a text", format!(r#""{field}":"1767225600123","#), None),
            ("null", format!(r#""{field}":null,"#), None),
            ("absent", String::new(), None),
        ] {
            assert_eq!(
                super::time(&record(&time)),
                Ok(millis.map(Timestamp::from_millis)),
                "{name}"
            );
        }
    }

    #[test]
    fn what_is_no_such_record_is_refused_with_the_reason() {
        let whole = record("");
        for (text, reason) in [
            ("", "EOF"),
            ("[]", "expected an object"),
            (
                &whole.replace("dynamodb\":{", "dynamodb\":[],\"x\":{"),
                "expected an object",
            ),
            ("{}", "`eventSource`"),
            (&whole.replace("aws:dynamodb", "aws:kinesis"), "`eventSource`"),
            (
                &whole.replace("tableName", "x").replace("recordFormat", "y"),
                "`tableName`",
            ),
            (
                &whole.replace("dynamodb\":{", "change\":{"),
                "`dynamodb` is missing",
            ),
            (&whole.replace("Keys", "keys"), "`Keys`"),
            (&format!("{whole}{whole}"), "trailing"),
            (&whole[..whole.len() - 1], "EOF"),
        ] {
            let error = super::time(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
        assert_eq!(
            super::time(&whole.replace("tableName", "x")),
            Ok(None),
            "one of the two names will do"
        );
    }
}
