//! Records that are a message themselves: text, JSON, bytes.
//!
//! Pure. Must never add to a text or take from it, not even a line's end.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde::de::IgnoredAny;

use super::json::short;
use super::{DecodeError, Position};
use crate::clock::Timestamp;

/// The bytes as the text they are.
pub fn text(data: Cow<'_, [u8]>) -> Result<String, DecodeError> {
    match data {
        Cow::Borrowed(bytes) => utf8(bytes).map(str::to_owned),
        Cow::Owned(bytes) => String::from_utf8(bytes).map_err(|e| not_utf8(e.utf8_error())),
    }
}

pub fn utf8(bytes: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(bytes).map_err(not_utf8)
}

fn not_utf8(error: std::str::Utf8Error) -> DecodeError {
    DecodeError::NotUtf8 {
        at: error.valid_up_to(),
    }
}

/// The bytes as the one JSON value they are, as it is spelt.
pub fn json(data: Cow<'_, [u8]>) -> Result<String, DecodeError> {
    let text = text(data)?;
    match serde_json::from_str::<IgnoredAny>(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(DecodeError::Json(short(error))),
    }
}

/// A record whose bytes are no text.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Bytes<'a> {
    id: String,
    data: String,
    encoding: &'static str,
    #[serde(rename = "eventSourceARN")]
    event_source_arn: &'a str,
    shard_id: &'a str,
    sequence_number: &'a str,
    sub_sequence_number: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition_key: Option<&'a str>,
    approximate_arrival_timestamp: i64,
}

/// `data` in base64, inside JSON that tells where it is from.
pub fn base64(data: &[u8], position: Position<'_>, time: Timestamp) -> Result<String, DecodeError> {
    let Position { record, origin } = position;
    let message = Bytes {
        id: position.id(0),
        data: STANDARD.encode(data),
        encoding: "base64",
        event_source_arn: origin.stream.service_arn(),
        shard_id: origin.shard.as_str(),
        sequence_number: record.sequence_number.as_str(),
        sub_sequence_number: record.sub_sequence_number,
        partition_key: record.partition_key.as_deref(),
        approximate_arrival_timestamp: time.millis(),
    };
    // Can't fail: texts and numbers are always JSON.
    serde_json::to_string(&message).map_err(|e| DecodeError::Json(short(e)))
}
