//! From a record to log events. Pure: no I/O, no clock, nothing but the record itself.
//!
//! Owns the order of the steps: an aggregate of the Kinesis Producer Library is taken apart, gzip is undone,
//! a subscription envelope opened, each message read as it is meant. Must never lose a byte: what can't be
//! decoded is an error, and the record goes to the dead letters whole.

pub mod aggregate;
pub mod audit;
pub mod change;
pub mod gzip;
pub mod subscription;

use crate::logs::LogEvent;
use crate::stream::{Record, ShardId, StreamArn};

/// How the records of a pipeline become log events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeSettings {
    pub how: Decode,
    pub gzip: Gzip,
    /// The most bytes one record may have when gzip is undone, over all layers. Beyond: a bomb.
    pub inflate_limit: usize,
    /// A subscription envelope whose `messageType` is neither DATA_MESSAGE nor CONTROL_MESSAGE.
    pub unknown_messages: UnknownMessages,
}

impl DecodeSettings {
    /// The defaults, for records that are read as this.
    pub fn of(how: Decode) -> Self {
        Self {
            how,
            gzip: Gzip::Auto,
            inflate_limit: 64 << 20,
            unknown_messages: UnknownMessages::DeadLetter,
        }
    }
}

/// What a record is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decode {
    /// By its looks: an envelope, a DynamoDB change, text (JSON too), else base64.
    Auto,
    /// A DynamoDB Streams record, which becomes Lambda's event record. What a DynamoDB source gives.
    Lambda,
    /// A CloudWatch Logs subscription envelope, whose messages pass unchanged.
    Subscription,
    /// Audit lines of MySQL and MariaDB, in an envelope or alone.
    Audit,
    /// A change of DynamoDB that came through Kinesis.
    Change,
    /// Any JSON, which passes unchanged.
    Json,
    /// UTF-8 text, which passes unchanged.
    Text,
    /// Bytes, in base64 inside JSON.
    Base64,
}

/// Whether gzip is undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gzip {
    /// Where a record begins like gzip.
    Auto,
    /// A record that is none can't be decoded.
    Always,
    Never,
}

/// What becomes of a message type that Weir doesn't know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownMessages {
    DeadLetter,
    Skip,
}

/// Where a record is from, for the ids of events that have none of their own.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    pub stream: &'a StreamArn,
    pub shard: &'a ShardId,
}

/// What one record holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    pub events: Vec<Event>,
    /// The envelopes that the events came in; a record has one as a rule.
    pub envelopes: Vec<Envelope>,
    /// Why there are no events, where there are none.
    pub skipped: Option<Skip>,
    /// Audit lines that could not be parsed. Their events hold the line and the reason.
    pub unparsed_lines: u64,
}

/// A log event, and which of the record's envelopes it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub event: LogEvent,
    pub envelope: Option<usize>,
}

/// What an envelope tells of its events.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Envelope {
    /// The account of the log group.
    pub owner: String,
    pub log_group: String,
    pub log_stream: String,
}

/// Why a record has no events. It is counted as filtered, by this reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skip {
    /// CloudWatch Logs looked whether the stream is there.
    ControlMessage,
    /// An envelope, or an aggregate, of nothing.
    Nothing,
    /// A message type that the settings skip.
    MessageType,
}

impl Skip {
    /// The word that stands on the metric.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ControlMessage => "control_message",
            Self::Nothing => "nothing",
            Self::MessageType => "message_type",
        }
    }

    pub const ALL: [Skip; 3] = [Self::ControlMessage, Self::Nothing, Self::MessageType];
}

/// Why a record could not become log events. It goes to the dead letters with its bytes and this reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("not a DynamoDB stream record: {0}")]
    Malformed(String),
    #[error("the record has no readable ApproximateCreationDateTime")]
    NoTime,
}

/// The log events of one record, which is no aggregate (any more).
pub fn decode(
    record: &Record,
    origin: Origin<'_>,
    _settings: &DecodeSettings,
) -> Result<Decoded, DecodeError> {
    let event = change::log_event(record, origin.stream)?;
    Ok(Decoded {
        events: vec![Event {
            event,
            envelope: None,
        }],
        ..Decoded::default()
    })
}

/// A rough upper figure of the bytes that a record's events will take.
pub fn estimate(record: &Record, _settings: &DecodeSettings) -> usize {
    record.data.len() + 256
}
