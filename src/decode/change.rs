//! A DynamoDB change as Lambda shows it.
//!
//! Pure. Takes the record's JSON from the wire apart only at its two outer levels; keys and images pass
//! as the text they are, so that a number of 38 digits stays one.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{CREATION, DecodeError};
use crate::logs::LogEvent;
use crate::stream::{Record, StreamArn};

/// A record of `GetRecords` (DynamoDB Streams API reference, `Record`). Every field may be absent; a
/// field that is not listed is not part of Lambda's event record.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    #[serde(borrow, rename = "eventID")]
    event_id: Option<&'a RawValue>,
    #[serde(borrow)]
    event_name: Option<&'a RawValue>,
    #[serde(borrow)]
    event_source: Option<&'a RawValue>,
    #[serde(borrow)]
    aws_region: Option<&'a RawValue>,
    #[serde(borrow)]
    dynamodb: Option<StreamRecord<'a>>,
    #[serde(borrow)]
    user_identity: Option<Identity<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StreamRecord<'a> {
    #[serde(borrow)]
    approximate_creation_date_time: Option<&'a RawValue>,
    #[serde(borrow)]
    keys: Option<&'a RawValue>,
    #[serde(borrow)]
    new_image: Option<&'a RawValue>,
    #[serde(borrow)]
    old_image: Option<&'a RawValue>,
    #[serde(borrow)]
    sequence_number: Option<&'a RawValue>,
    #[serde(borrow)]
    size_bytes: Option<&'a RawValue>,
    #[serde(borrow)]
    stream_view_type: Option<&'a RawValue>,
}

/// Capitalised on the wire, in lower case in Lambda's record; some emulators send the latter.
#[derive(Deserialize)]
struct Identity<'a> {
    #[serde(borrow, rename = "Type", alias = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow, rename = "PrincipalId", alias = "principalId")]
    principal: Option<&'a RawValue>,
}

/// The log event of one change: Lambda's event record, at the time of the change.
///
/// The fields stand in the order in which Lambda gives them, `eventSourceARN` last, `eventVersion`
/// always "1.1" as there (the wire says "1.0" or "1.1").
pub fn log_event(record: &Record, stream: &StreamArn) -> Result<LogEvent, DecodeError> {
    let malformed = |e: serde_json::Error| DecodeError::Malformed(e.to_string());
    let wire: Wire = serde_json::from_slice(&record.data).map_err(malformed)?;
    let change = wire
        .dynamodb
        .ok_or_else(|| DecodeError::Malformed("the field `dynamodb` is missing".to_owned()))?;
    let timestamp = record.time.ok_or(DecodeError::NoTime(CREATION))?;

    // The wire text, the ARN and the fixed words: never needs to grow.
    let mut out = Object::with_capacity(record.data.len() + stream.as_str().len() + 128);
    out.raw("eventID", wire.event_id);
    out.raw("eventName", wire.event_name);
    out.text("eventVersion", "1.1");
    out.raw_or("eventSource", wire.event_source, "aws:dynamodb");
    out.raw("awsRegion", wire.aws_region);
    out.open("dynamodb");
    out.raw(
        "ApproximateCreationDateTime",
        change.approximate_creation_date_time,
    );
    out.raw("Keys", change.keys);
    out.raw("NewImage", change.new_image);
    out.raw("OldImage", change.old_image);
    out.raw("SequenceNumber", change.sequence_number);
    out.raw("SizeBytes", change.size_bytes);
    out.raw("StreamViewType", change.stream_view_type);
    out.close();
    if let Some(identity) = wire.user_identity {
        out.open("userIdentity");
        out.raw("type", identity.kind);
        out.raw("principalId", identity.principal);
        out.close();
    }
    out.text("eventSourceARN", stream.as_str());
    Ok(LogEvent {
        timestamp,
        message: out.finish(),
    })
}

/// A JSON object written front to back.
struct Object {
    text: String,
    first: bool,
}

impl Object {
    fn with_capacity(bytes: usize) -> Self {
        let mut text = String::with_capacity(bytes);
        text.push('{');
        Self { text, first: true }
    }

    fn key(&mut self, key: &str) {
        if !self.first {
            self.text.push(',');
        }
        self.first = false;
        self.text.push('"');
        self.text.push_str(key);
        self.text.push_str("\":");
    }

    /// A value as it stood on the wire; an absent one, or a null, leaves no trace.
    fn raw(&mut self, key: &str, value: Option<&RawValue>) {
        if let Some(value) = value.filter(|v| v.get() != "null") {
            self.key(key);
            self.text.push_str(value.get());
        }
    }

    fn raw_or(&mut self, key: &str, value: Option<&RawValue>, default: &str) {
        match value.filter(|v| v.get() != "null") {
            Some(value) => self.raw(key, Some(value)),
            None => self.text(key, default),
        }
    }

    fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        self.text.push_str(&serde_json::Value::from(value).to_string());
    }

    fn open(&mut self, key: &str) {
        self.key(key);
        self.text.push('{');
        self.first = true;
    }

    fn close(&mut self) {
        self.text.push('}');
        self.first = false;
    }

    fn finish(mut self) -> String {
        self.text.push('}');
        self.text
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::clock::Timestamp;
    use crate::stream::SequenceNumber;

    const ARN: &str = "arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/2026-01-02T03:04:05.678";

    fn record(data: &str) -> Record {
        Record::new(
            SequenceNumber::parse("100").unwrap(),
            Some(Timestamp::from_millis(1_731_150_824_000)),
            Bytes::copy_from_slice(data.as_bytes()),
        )
    }

    fn message(data: &str) -> String {
        log_event(&record(data), &StreamArn::new(ARN)).unwrap().message
    }

    /// The names of an object's fields, in order, with a level of nesting.
    fn field_order(json: &str) -> Vec<String> {
        let v: std::collections::BTreeMap<String, &RawValue> = serde_json::from_str(json).unwrap();
        let mut at: Vec<(usize, String)> = v
            .keys()
            .map(|k| (json.find(&format!("\"{k}\":")).unwrap(), k.clone()))
            .collect();
        at.sort();
        at.into_iter().map(|(_, k)| k).collect()
    }

    #[test]
    fn the_fields_stand_in_lambdas_order_whatever_the_wires() {
        let wire = r#"{"userIdentity":{"PrincipalId":"dynamodb.amazonaws.com","Type":"Service"},
            "dynamodb":{"StreamViewType":"NEW_AND_OLD_IMAGES","SizeBytes":59,"SequenceNumber":"100",
              "OldImage":{"id":{"S":"a"}},"NewImage":{"id":{"S":"a"},"n":{"N":"1"}},"Keys":{"id":{"S":"a"}},
              "ApproximateCreationDateTime":1731150824},
            "awsRegion":"eu-west-1","eventVersion":"1.0","eventSource":"aws:dynamodb","eventName":"MODIFY","eventID":"e1"}"#;
        let message = message(wire);
        assert_eq!(
            message,
            format!(
                r#"{{"eventID":"e1","eventName":"MODIFY","eventVersion":"1.1","eventSource":"aws:dynamodb","awsRegion":"eu-west-1","dynamodb":{{"ApproximateCreationDateTime":1731150824,"Keys":{{"id":{{"S":"a"}}}},"NewImage":{{"id":{{"S":"a"}},"n":{{"N":"1"}}}},"OldImage":{{"id":{{"S":"a"}}}},"SequenceNumber":"100","SizeBytes":59,"StreamViewType":"NEW_AND_OLD_IMAGES"}},"userIdentity":{{"type":"Service","principalId":"dynamodb.amazonaws.com"}},"eventSourceARN":"{ARN}"}}"#
            )
        );
        assert_eq!(
            field_order(&message).last().map(String::as_str),
            Some("eventSourceARN"),
            "the ARN is added last"
        );
    }

    #[test]
    fn every_attribute_type_passes_as_the_text_it_was() {
        let image = r#"{"s":{"S":"a \"quoted\" line\nand \u00e9 日本"},"n":{"N":"12345678901234567890123456789012345678"},"tiny":{"N":"1E-130"},"b":{"B":"AAEC/w=="},"ss":{"SS":["x","y"]},"ns":{"NS":["1","2.50"]},"bs":{"BS":["AA==","/w=="]},"m":{"M":{"deep":{"L":[{"NULL":true},{"BOOL":false},{"M":{}}]}}},"empty":{"S":""}}"#;
        for (name, view, images) in [
            ("INSERT", "NEW_IMAGE", format!(r#""NewImage":{image},"#)),
            ("REMOVE", "OLD_IMAGE", format!(r#""OldImage":{image},"#)),
            (
                "MODIFY",
                "NEW_AND_OLD_IMAGES",
                format!(r#""NewImage":{image},"OldImage":{image},"#),
            ),
            ("MODIFY", "KEYS_ONLY", String::new()),
        ] {
            let wire = format!(
                r#"{{"eventID":"e","eventName":"{name}","eventSource":"aws:dynamodb","awsRegion":"eu-west-1","dynamodb":{{"ApproximateCreationDateTime":1.731150824E9,"Keys":{{"s":{{"S":"k"}}}},{images}"SequenceNumber":"100","SizeBytes":1,"StreamViewType":"{view}"}}}}"#
            );
            let message = message(&wire);
            assert!(message.contains(&images), "{view}: {message}");
            assert_eq!(
                message.matches("Image\":").count(),
                images.matches("Image\":").count()
            );
            assert!(!message.contains("userIdentity"));
        }
    }

    #[test]
    fn what_is_no_change_record_is_refused_with_the_reason() {
        for (data, reason) in [
            ("", "EOF"),
            ("not json", "expected"),
            (r#"{"eventID":"e"}"#, "`dynamodb` is missing"),
            (r#"{"dynamodb":[]}"#, "invalid"),
        ] {
            let error = log_event(&record(data), &StreamArn::new(ARN))
                .unwrap_err()
                .to_string();
            assert!(error.contains(reason), "{data:?}: {error}");
        }
        let timeless = Record {
            time: None,
            ..record(r#"{"dynamodb":{}}"#)
        };
        assert_eq!(
            log_event(&timeless, &StreamArn::new(ARN)),
            Err(DecodeError::NoTime(CREATION))
        );
    }
}
