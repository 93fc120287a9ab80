//! The plain path: an answer of GetRecords that the SDK has read, written back as the JSON it came in.
//!
//! Pure. For `wire: sdk`. What follows is then the same as for an answer that was not taken apart. Values are the
//! wire's: the text of numbers, base64 of bytes. Attributes stand in the order of their names (the SDK has none), and
//! a time as its decimal number.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodbstreams::operation::get_records::GetRecordsOutput;
use aws_sdk_dynamodbstreams::types::{AttributeValue, Record, StreamRecord};
use aws_smithy_types::{Blob, DateTime, base64};
use bytes::Bytes;

use super::wire;
use crate::json::quote;
use crate::stream::{RecordBatch, SourceError};

/// What [`wire::batch`] makes of the answer as it may have been on the wire.
pub fn batch(answer: &GetRecordsOutput) -> Result<RecordBatch, SourceError> {
    let mut out = String::from("{\"Records\":[");
    for (index, record) in answer.records().iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_record(record, &mut out).map_err(|Unknown| {
            SourceError::Unavailable(format!(
                "record {index} of the answer to GetRecords has an attribute of a type that the AWS SDK of this \
                 version does not know; set `wire: raw`, which passes it on"
            ))
        })?;
    }
    out.push(']');
    if let Some(next) = answer.next_shard_iterator() {
        out.push_str(",\"NextShardIterator\":");
        quote(next, &mut out);
    }
    out.push('}');
    wire::batch(&Bytes::from(out))
}

/// A value that the SDK has dropped.
struct Unknown;

fn write_record(record: &Record, out: &mut String) -> Result<(), Unknown> {
    let mut object = Object::open(out);
    object.text("eventID", record.event_id());
    object.text("eventName", record.event_name().map(|name| name.as_str()));
    object.text("eventVersion", record.event_version());
    object.text("eventSource", record.event_source());
    object.text("awsRegion", record.aws_region());
    if let Some(change) = record.dynamodb() {
        write_change(change, object.key("dynamodb"))?;
    }
    if let Some(identity) = record.user_identity() {
        let mut object = Object::open(object.key("userIdentity"));
        object.text("PrincipalId", identity.principal_id());
        object.text("Type", identity.r#type());
        object.close();
    }
    object.close();
    Ok(())
}

fn write_change(change: &StreamRecord, out: &mut String) -> Result<(), Unknown> {
    let mut object = Object::open(out);
    if let Some(time) = change.approximate_creation_date_time() {
        object.key("ApproximateCreationDateTime").push_str(&seconds(time));
    }
    let images = [
        ("Keys", change.keys()),
        ("NewImage", change.new_image()),
        ("OldImage", change.old_image()),
    ];
    for (name, image) in images {
        if let Some(image) = image {
            write_map(image, object.key(name))?;
        }
    }
    object.text("SequenceNumber", change.sequence_number());
    if let Some(size) = change.size_bytes() {
        object.key("SizeBytes").push_str(&size.to_string());
    }
    object.text(
        "StreamViewType",
        change.stream_view_type().map(|view| view.as_str()),
    );
    object.close();
    Ok(())
}

/// To the millisecond: the SDK reads the number through a float, a few nanoseconds off.
fn seconds(time: &DateTime) -> String {
    let nanos = i128::from(time.secs()) * 1_000_000_000 + i128::from(time.subsec_nanos());
    let millis = (nanos + 500_000).div_euclid(1_000_000);
    let sign = if millis < 0 { "-" } else { "" };
    let (whole, rest) = (millis.unsigned_abs() / 1000, millis.unsigned_abs() % 1000);
    match rest {
        0 => format!("{sign}{whole}"),
        _ => format!("{sign}{whole}.{rest:03}"),
    }
}

fn write_map(attributes: &HashMap<String, AttributeValue>, out: &mut String) -> Result<(), Unknown> {
    let mut object = Object::open(out);
    for (name, value) in attributes.iter().collect::<BTreeMap<_, _>>() {
        write_value(value, object.key(name))?;
    }
    object.close();
    Ok(())
}

fn write_value(value: &AttributeValue, out: &mut String) -> Result<(), Unknown> {
    fn boolean(value: bool) -> &'static str {
        if value { "true" } else { "false" }
    }
    fn bytes(value: &Blob) -> String {
        base64::encode(value)
    }
    let mut object = Object::open(out);
    match value {
        AttributeValue::S(text) => object.text("S", Some(text)),
        AttributeValue::N(digits) => object.text("N", Some(digits)),
        AttributeValue::B(value) => object.text("B", Some(&bytes(value))),
        AttributeValue::Bool(value) => object.key("BOOL").push_str(boolean(*value)),
        AttributeValue::Null(value) => object.key("NULL").push_str(boolean(*value)),
        AttributeValue::Ss(texts) => write_list(texts, object.key("SS"), |text, out| {
            quote(text, out);
            Ok(())
        })?,
        AttributeValue::Ns(texts) => write_list(texts, object.key("NS"), |text, out| {
            quote(text, out);
            Ok(())
        })?,
        AttributeValue::Bs(values) => write_list(values, object.key("BS"), |value, out| {
            quote(&bytes(value), out);
            Ok(())
        })?,
        AttributeValue::L(values) => write_list(values, object.key("L"), write_value)?,
        AttributeValue::M(attributes) => write_map(attributes, object.key("M"))?,
        _ => return Err(Unknown),
    }
    object.close();
    Ok(())
}

fn write_list<T>(
    items: &[T],
    out: &mut String,
    each: impl Fn(&T, &mut String) -> Result<(), Unknown>,
) -> Result<(), Unknown> {
    out.push('[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        each(item, out)?;
    }
    out.push(']');
    Ok(())
}

/// A JSON object that is being written.
struct Object<'o> {
    out: &'o mut String,
    is_empty: bool,
}

impl<'o> Object<'o> {
    fn open(out: &'o mut String) -> Self {
        out.push('{');
        Self { out, is_empty: true }
    }

    /// The value comes next.
    fn key(&mut self, key: &str) -> &mut String {
        if !std::mem::take(&mut self.is_empty) {
            self.out.push(',');
        }
        quote(key, self.out);
        self.out.push(':');
        self.out
    }

    fn text(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            quote(value, self.key(key));
        }
    }

    fn close(self) {
        self.out.push('}');
    }
}

#[cfg(test)]
mod tests;
