//! A DynamoDB change as Lambda shows it.
//!
//! Pure. Takes the record's JSON from the wire apart only at its two outer levels; keys and images pass
//! as the text they are, so that a number of 38 digits stays one.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{CREATION, DecodeError};
use crate::json;
use crate::logs::LogEvent;
use crate::stream::change::{ChangeFields, Field};
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

/// What is told of a record, as it was spelt on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Told<'a> {
    event_id: Option<&'a str>,
    event_name: Option<&'a str>,
    event_source: Option<&'a str>,
    aws_region: Option<&'a str>,
    approximate_creation_date_time: Option<&'a str>,
    keys: Option<&'a str>,
    new_image: Option<&'a str>,
    old_image: Option<&'a str>,
    sequence_number: Option<&'a str>,
    size_bytes: Option<&'a str>,
    stream_view_type: Option<&'a str>,
    /// Its type, and the principal's id.
    user_identity: Option<[Option<&'a str>; 2]>,
}

impl<'a> Told<'a> {
    /// From where the reader of the answer saw them.
    fn at(fields: &'a ChangeFields) -> Self {
        let get = |field| fields.get(field);
        Self {
            event_id: get(Field::EventId),
            event_name: get(Field::EventName),
            event_source: get(Field::EventSource),
            aws_region: get(Field::AwsRegion),
            approximate_creation_date_time: get(Field::ApproximateCreationDateTime),
            keys: get(Field::Keys),
            new_image: get(Field::NewImage),
            old_image: get(Field::OldImage),
            sequence_number: get(Field::SequenceNumber),
            size_bytes: get(Field::SizeBytes),
            stream_view_type: get(Field::StreamViewType),
            user_identity: fields
                .has_identity()
                .then(|| [get(Field::IdentityType), get(Field::PrincipalId)]),
        }
    }

    fn parse(data: &'a [u8]) -> Result<Self, DecodeError> {
        let wire: Wire = serde_json::from_slice(data).map_err(|e| DecodeError::Malformed(e.to_string()))?;
        let change = wire
            .dynamodb
            .ok_or_else(|| DecodeError::Malformed("the field `dynamodb` is missing".to_owned()))?;
        let text = |value: Option<&'a RawValue>| value.map(RawValue::get);
        Ok(Self {
            event_id: text(wire.event_id),
            event_name: text(wire.event_name),
            event_source: text(wire.event_source),
            aws_region: text(wire.aws_region),
            approximate_creation_date_time: text(change.approximate_creation_date_time),
            keys: text(change.keys),
            new_image: text(change.new_image),
            old_image: text(change.old_image),
            sequence_number: text(change.sequence_number),
            size_bytes: text(change.size_bytes),
            stream_view_type: text(change.stream_view_type),
            user_identity: wire.user_identity.map(|it| [text(it.kind), text(it.principal)]),
        })
    }

    /// No fewer than the bytes of the values.
    fn length(&self) -> usize {
        let [kind, principal] = self.user_identity.unwrap_or_default();
        [
            self.event_id,
            self.event_name,
            self.event_source,
            self.aws_region,
            self.approximate_creation_date_time,
            self.keys,
            self.new_image,
            self.old_image,
            self.sequence_number,
            self.size_bytes,
            self.stream_view_type,
            kind,
            principal,
        ]
        .into_iter()
        .flatten()
        .map(str::len)
        .sum()
    }
}

/// The log event of one change: Lambda's event record, at the time of the change.
///
/// The fields stand in the order in which Lambda gives them, `eventSourceARN` last, `eventVersion`
/// always "1.1" as there (the wire says "1.0" or "1.1").
pub fn log_event(record: &Record, stream: &StreamArn) -> Result<LogEvent, DecodeError> {
    /// All names, quotes, colons, commas and braces, and the fixed words.
    const AROUND: usize = 288;
    let told = match &record.fields {
        Some(fields) => Told::at(fields),
        None => Told::parse(&record.data)?,
    };
    let timestamp = record.time.ok_or(DecodeError::NoTime(CREATION))?;

    // Never needs to grow.
    let mut out = Object::with_capacity(told.length() + stream.as_str().len() + AROUND);
    out.raw("eventID", told.event_id);
    out.raw("eventName", told.event_name);
    out.text("eventVersion", "1.1");
    match told.event_source {
        Some(source) => out.raw("eventSource", Some(source)),
        None => out.text("eventSource", "aws:dynamodb"),
    }
    out.raw("awsRegion", told.aws_region);
    out.open("dynamodb");
    out.raw("ApproximateCreationDateTime", told.approximate_creation_date_time);
    out.raw("Keys", told.keys);
    out.raw("NewImage", told.new_image);
    out.raw("OldImage", told.old_image);
    out.raw("SequenceNumber", told.sequence_number);
    out.raw("SizeBytes", told.size_bytes);
    out.raw("StreamViewType", told.stream_view_type);
    out.close();
    if let Some([kind, principal]) = told.user_identity {
        out.open("userIdentity");
        out.raw("type", kind);
        out.raw("principalId", principal);
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

    /// A value as it stood on the wire; an absent one leaves no trace.
    fn raw(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.key(key);
            self.text.push_str(value);
        }
    }

    fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        json::quote(value, &mut self.text);
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
