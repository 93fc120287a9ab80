//! From a record to log events. Pure: no I/O, no clock, nothing but the record itself.
//!
//! Owns the order of the steps: an aggregate of the Kinesis Producer Library is taken apart, gzip is undone,
//! a subscription envelope opened, each message read as it is meant. Must never lose a byte: what can't be
//! decoded is an error, and the record goes to the dead letters whole.

pub mod aggregate;
pub mod audit;
pub mod change;
mod envelope;
pub mod gzip;
mod json;
pub mod kinesis_change;
mod plain;
mod reading;
pub mod subscription;

use std::borrow::Cow;

use crate::clock::Timestamp;
use crate::json::NoTree;
use crate::logs::LogEvent;
use crate::stream::{Record, ShardId, StreamArn};

pub use envelope::Envelope;

/// How the records of a pipeline become log events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeSettings {
    pub how: Decode,
    pub gzip: Gzip,
    /// The most bytes one record may have when gzip is undone, over all layers. Beyond: a bomb.
    pub inflate_limit: usize,
    /// A subscription envelope whose `messageType` is neither DATA_MESSAGE nor CONTROL_MESSAGE.
    pub unknown_messages: UnknownMessages,
    /// Events of audit lines keep the line they were made of, which doubles their memory.
    pub keep_lines: bool,
}

impl DecodeSettings {
    /// The defaults, for records that are read as this.
    pub fn of(how: Decode) -> Self {
        Self {
            how,
            gzip: Gzip::Auto,
            inflate_limit: 64 << 20,
            unknown_messages: UnknownMessages::DeadLetter,
            keep_lines: false,
        }
    }
}

/// What a record is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decode {
    /// By its looks: an envelope, a DynamoDB change, text (JSON too), else base64 of the record as it was.
    Auto,
    /// A DynamoDB Streams record, which becomes Lambda's event record. What a DynamoDB source gives.
    Lambda,
    /// A CloudWatch Logs subscription envelope, whose messages pass unchanged.
    Subscription,
    /// Audit lines of MySQL and MariaDB, in an envelope or alone.
    Audit,
    /// A change of DynamoDB that came through Kinesis, unchanged, at the time of the change; of its arrival, if
    /// it tells no time that can be read exactly.
    Change,
    /// Any JSON, which passes unchanged.
    Json,
    /// UTF-8 text, which passes unchanged.
    Text,
    /// Bytes, in base64 inside JSON; without their gzip, if that is undone.
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
    /// Events that the pipeline's filter dropped. Decoding drops none.
    pub filtered: u64,
}

/// A log event, and which of the record's envelopes it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub event: LogEvent,
    pub envelope: Option<usize>,
    pub content: Content,
    /// The audit line as it was written, if the settings keep it.
    pub line: Option<Box<str>>,
}

/// What the message of an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A change of a DynamoDB table: Lambda's event record, or what came through Kinesis.
    Change,
    /// The fields of an audit line.
    AuditRow,
    /// An audit line that could not be parsed, with the reason.
    AuditLine,
    /// Bytes that are no text, in base64 inside JSON.
    Bytes,
    /// Someone else's text, which may be JSON.
    Other,
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
    /// The pipeline's filter dropped each of its events.
    Filter,
}

impl Skip {
    /// The word that stands on the metric.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ControlMessage => "control_message",
            Self::Nothing => "nothing",
            Self::MessageType => "message_type",
            Self::Filter => "filter",
        }
    }

    pub const ALL: [Skip; 4] = [
        Self::ControlMessage,
        Self::Nothing,
        Self::MessageType,
        Self::Filter,
    ];
}

/// Why a record could not become log events. It goes to the dead letters with its bytes and this reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("not a DynamoDB stream record: {0}")]
    Malformed(String),
    /// The name of the field that should tell it.
    #[error("the record has no readable {0}")]
    NoTime(&'static str),
    #[error(transparent)]
    Gzip(#[from] gzip::GzipError),
    #[error("not gzip, though the pipeline's settings say that every record is")]
    NotGzip,
    /// Very many events of very little.
    #[error(
        "the record's events take more than {limit} bytes: a higher `inflate_limit` in the settings (`--limit` of \
         `weir decode`) allows more"
    )]
    TooMuch { limit: usize },
    #[error("not UTF-8 from byte {at} on")]
    NotUtf8 { at: usize },
    #[error("not JSON: {0}")]
    Json(String),
    #[error("not an envelope of a CloudWatch Logs subscription: {0}")]
    Envelope(String),
    #[error("an envelope of the unknown message type `{0}`")]
    MessageType(String),
    /// Events are counted from 0.
    #[error("event {index} of an envelope can't be told exactly: {reason}")]
    Event { index: usize, reason: &'static str },
    #[error("not a DynamoDB change that came through Kinesis: {0}")]
    Change(String),
    /// The pipeline's rules need its fields.
    #[error("the message can't be taken apart for the pipeline's `filter`, `redact` or `format`: {0}")]
    NoFields(NoTree),
    #[error(
        "nothing can be hidden in the message, and `redact` is set in the settings: {0}. Let `decode` name what the \
         stream holds, or read it with a pipeline that has no `redact`"
    )]
    Unredactable(&'static str),
}

impl DecodeError {
    /// The reason without anything that the record says: for a pipeline that hides some of it. Of JSON, only the
    /// place remains.
    pub fn without_content(&self) -> String {
        let withheld = |what: &str, reason: &str| {
            let place = reason.rfind(" at line ").map(|at| &reason[at..]);
            // Digits are all that a place holds: a quoted value could end alike.
            let place = place.filter(|place| {
                let rest = place.replacen(" at line ", "", 1).replacen(" column ", "", 1);
                rest.bytes().all(|b| b.is_ascii_digit())
            });
            let place = place.unwrap_or_default();
            format!("{what}{place} (the reason may quote the record and is withheld)")
        };
        match self {
            Self::Malformed(reason) => withheld("not a DynamoDB stream record", reason),
            Self::Json(reason) => withheld("not JSON", reason),
            Self::Envelope(reason) => withheld("not an envelope of a CloudWatch Logs subscription", reason),
            Self::MessageType(_) => withheld("an envelope of an unknown message type", ""),
            Self::Change(reason) => withheld("not a DynamoDB change that came through Kinesis", reason),
            Self::NoFields(NoTree::NotJson(reason)) => {
                withheld("the fields of an event can't be read", reason)
            }
            Self::NoFields(_)
            | Self::Unredactable(_)
            | Self::NoTime(_)
            | Self::Gzip(_)
            | Self::NotGzip
            | Self::TooMuch { .. }
            | Self::NotUtf8 { .. }
            | Self::Event { .. } => self.to_string(),
        }
    }
}

/// The field that tells when a DynamoDB Streams record's change happened.
const CREATION: &str = "ApproximateCreationDateTime";
/// The field that tells when a Kinesis record came into its stream.
const ARRIVAL: &str = "ApproximateArrivalTimestamp";

/// The log events of one record, which is no aggregate (any more). An error is for the record as a whole:
/// none of its events is delivered then.
pub fn decode(
    record: &Record,
    origin: Origin<'_>,
    settings: &DecodeSettings,
) -> Result<Decoded, DecodeError> {
    let position = Position { record, origin };
    let data = || inflated(record, settings);
    match settings.how {
        Decode::Auto => reading::auto(data()?, position, settings),
        Decode::Lambda => change::log_event(record, origin.stream)
            .map(|event| Decoded::from(event).with_content(Content::Change)),
        Decode::Subscription => reading::subscription(&data()?, settings),
        Decode::Audit => reading::audit(&data()?, position, settings),
        Decode::Change => {
            let text = plain::text(data()?)?;
            let time = kinesis_change::time(&text).map_err(DecodeError::Change)?;
            let decoded = position.event_at(time, text)?;
            Ok(decoded.with_content(Content::Change))
        }
        Decode::Json => position.event(plain::json(data()?)?),
        Decode::Text => position.event(plain::text(data()?)?),
        Decode::Base64 => reading::base64(&data()?, position),
    }
}

/// The envelope that the record is, whatever it is read as: the first, if it is several. `None` if it is none, or
/// none that can be read so far; an envelope whose events are damaged still tells where they are from.
///
/// What Weir wrote may come back to it in records that it opens no envelope of. This is how that is seen.
pub fn sender(record: &Record, settings: &DecodeSettings) -> Option<Envelope> {
    let data = inflated(record, settings).ok()?;
    subscription::sender(&data)
}

/// Roughly the most bytes that the record's events will take, for the memory budget. What lies in gzip in
/// gzip, or in more than one member, is not seen from outside and may be more, up to the settings' limit.
pub fn estimate(record: &Record, settings: &DecodeSettings) -> usize {
    /// What stands around the data: the ARN twice, ids, names of fields.
    const AROUND: usize = 1024;
    let len = record.data.len();
    let zipped = is_zipped(record, settings);
    let all = if zipped {
        // The inflated bytes and the events made of them.
        let content = match gzip::size_hint(&record.data, settings.inflate_limit) {
            // Of several members the last one's size alone is told, and a layer inside hides its own.
            hint if hint < len => len.saturating_mul(4).min(settings.inflate_limit),
            hint => hint,
        };
        content.saturating_mul(2).saturating_add(len)
    } else {
        len
    };
    let events = match settings.how {
        Decode::Audit if !zipped => audit_estimate(&record.data, settings),
        // Each line is told again, field by field.
        Decode::Audit => all.saturating_mul(3 + usize::from(settings.keep_lines)),
        // Base64 is four thirds.
        how if how == Decode::Base64 || !zipped => all.saturating_add(all / 2),
        _ => all,
    };
    events.saturating_add(AROUND)
}

/// Whether the record's bytes are gzip that is undone.
pub fn is_zipped(record: &Record, settings: &DecodeSettings) -> bool {
    settings.how != Decode::Lambda && settings.gzip != Gzip::Never && gzip::is_gzip(&record.data)
}

/// The most bytes that a record's events may take: more is an error.
pub fn room(record: &Record, settings: &DecodeSettings) -> usize {
    reading::most_of(&record.data, settings)
}

/// What audit lines become: themselves, and around each the names of its fields and an id that holds the
/// stream's ARN, which is many times a short line.
fn audit_estimate(data: &[u8], settings: &DecodeSettings) -> usize {
    /// The name of a stream has at most 128 characters, and what stands before it less than 64.
    const ARN: usize = 192;
    const LINE: usize = ARN + 400;
    // Counted a block at a time, which compiles to vector instructions.
    let blocks = data.trim_ascii_end().chunks(usize::from(u8::MAX));
    let breaks: usize = blocks
        .map(|block| usize::from(block.iter().map(|byte| u8::from(*byte == b'\n')).sum::<u8>()))
        .sum();
    let by_lines = data.len().saturating_add((breaks + 1).saturating_mul(LINE));
    // Many events may stand on one line of an envelope.
    let envelope = data.trim_ascii_start().starts_with(b"{");
    let least = match breaks {
        1.. if !envelope => data.len(),
        _ => data.len().saturating_mul(3),
    };
    // More is refused; most breaks of a record of nothing else are no lines.
    let told = by_lines.min(reading::most_of(data, settings)).max(least);
    match settings.keep_lines {
        true => told.saturating_add(data.len()),
        false => told,
    }
}

/// The record's bytes, without gzip if the settings say so.
fn inflated<'r>(record: &'r Record, settings: &DecodeSettings) -> Result<Cow<'r, [u8]>, DecodeError> {
    let zipped = gzip::is_gzip(&record.data);
    match settings.gzip {
        Gzip::Always if !zipped => Err(DecodeError::NotGzip),
        Gzip::Auto | Gzip::Always if zipped => {
            let content = gzip::inflate(&record.data, settings.inflate_limit)?;
            Ok(Cow::Owned(content))
        }
        _ => Ok(Cow::Borrowed(&record.data)),
    }
}

/// One event of any content, which came in no envelope.
impl From<LogEvent> for Decoded {
    fn from(event: LogEvent) -> Self {
        Self {
            events: vec![Event {
                event,
                envelope: None,
                content: Content::Other,
                line: None,
            }],
            ..Self::default()
        }
    }
}

impl Decoded {
    /// Says what its events are.
    fn with_content(mut self, content: Content) -> Self {
        for event in &mut self.events {
            event.content = content;
        }
        self
    }
}

/// A record and where it is from.
#[derive(Clone, Copy)]
struct Position<'a> {
    record: &'a Record,
    origin: Origin<'a>,
}

impl Position<'_> {
    /// Names the record's event `index` for good, whoever reads the record.
    fn id(self, index: usize) -> String {
        let Self { record, origin } = self;
        format!(
            "{}:{}:{}:{}:{index}",
            origin.stream.service_arn(),
            origin.shard,
            record.sequence_number,
            record.sub_sequence_number
        )
    }

    /// When the record came into its stream.
    fn time(self) -> Result<Timestamp, DecodeError> {
        self.record.time.ok_or(DecodeError::NoTime(ARRIVAL))
    }

    /// The record as one event.
    fn event(self, message: String) -> Result<Decoded, DecodeError> {
        self.event_at(None, message)
    }

    /// At its own time, if it has one that can be read.
    fn event_at(self, time: Option<Timestamp>, message: String) -> Result<Decoded, DecodeError> {
        let timestamp = time.map_or_else(|| self.time(), Ok)?;
        Ok(LogEvent { timestamp, message }.into())
    }
}

#[cfg(test)]
mod tests;
