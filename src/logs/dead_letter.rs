//! What becomes of a record or an event that can't be delivered as it is, and how it is read back.
//!
//! Pure. A dead letter is itself a log event (or several, where it is large): JSON with the position, the reason,
//! and either the record's bytes in base64, or what names them where they are withheld, or the event's message.
//! [`parse`] and [`assemble`] make of a log stream's events the letters that were written there, so that they can
//! be decoded and sent again; a [`mark`] beside them tells that one was.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::batch::{MAX_MESSAGE_BYTES, Refusal};
use super::{LogDestination, LogEvent};
use crate::clock::Timestamp;
use crate::digest::sha256;
use crate::stream::{Place, Record, SequenceNumber, text_id};

/// The log stream of the dead letters, unless the settings name another.
pub const STREAM: &str = "dead-letter";

/// The form of the letters that this writes. One of a later form is not read.
const SCHEMA: u32 = 1;

text_id!(
    /// Names a letter for good: of the same record, or the same event of it, whoever writes it and however often.
    LetterId
);

/// Where a record came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub pipeline: String,
    pub stream: String,
    pub shard: String,
    pub place: Place,
}

/// What could not be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A record that could not be decoded, or has no destination.
    Record(RecordBody),
    /// An event that was refused: the one that stands at `index` of its record, from 0.
    Event { index: usize, event: LogEvent },
}

/// A record that gave no events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordBody {
    pub data: Data,
    pub partition_key: Option<Arc<str>>,
    pub time: Option<Timestamp>,
}

impl RecordBody {
    /// What a letter holds of this record; without its bytes, if they are `withheld`.
    pub fn of(record: &Record, withheld: bool) -> Self {
        Self {
            data: match withheld {
                true => Data::withheld(&record.data),
                // A copy: a record is a slice of its whole answer, which the letter would keep in memory while it
                // waits to be put.
                false => Data::Bytes(Bytes::copy_from_slice(&record.data)),
            },
            // It may be the very value that is hidden. The stream has it beside the bytes.
            partition_key: record.partition_key.clone().filter(|_| !withheld),
            time: record.time,
        }
    }
}

/// A record's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    Bytes(Bytes),
    /// They may hold what the pipeline hides. They can be read from the stream while it keeps them.
    Withheld {
        /// In hexadecimal.
        sha256: String,
        length: usize,
    },
}

impl Data {
    /// What names these bytes without telling them.
    pub fn withheld(bytes: &[u8]) -> Self {
        Self::Withheld {
            sha256: sha256(bytes),
            length: bytes.len(),
        }
    }
}

/// A part's share of the payload. Every byte of a message may take six in JSON (`\u0001`), and the rest of a
/// part stays below 16 KiB: a name of 512 characters takes 3 KiB at most, a detail half of that.
const PART_BYTES: usize = (MAX_MESSAGE_BYTES - (16 << 10)) / 6;

/// A letter, or a part of it, as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    schema: u32,
    dead_letter: String,
    detail: String,
    letter_id: String,
    /// The record's position: `stream:shard:sequence:sub`.
    id: String,
    pipeline: String,
    stream: String,
    shard_id: String,
    sequence_number: String,
    sub_sequence_number: u64,
    destination: String,
    body: Kind,
    /// Of the whole body.
    bytes: usize,
    sha256: String,
    part: usize,
    parts: usize,
    /// Of a record.
    #[serde(skip_serializing_if = "Option::is_none")]
    partition_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record_time: Option<i64>,
    /// Of an event.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<i64>,
    /// A redaction was set when the event was made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    redacted: bool,
    #[serde(flatten)]
    payload: Payload,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Record,
    Event,
}

/// What of the body a part holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Payload {
    /// In base64.
    Data(String),
    Message(String),
    Withheld(bool),
}

/// The log events that hold a dead letter, in order, each below the limit of an event, stamped `now`.
///
/// `part` and `parts` (from 1) let a reader put a large one together: the `data` of base64 parts decode
/// one by one, the `message` of the others are joined as text. `redacted`: of a pipeline with a redaction, so that
/// what it hides is hidden in the event already.
pub fn events(
    origin: &Origin,
    refusal: Refusal,
    detail: &str,
    meant_for: &LogDestination,
    body: &Body,
    now: Timestamp,
    redacted: bool,
) -> Vec<LogEvent> {
    let (sha256, length, payloads) = match body {
        Body::Record(record) => match &record.data {
            Data::Bytes(bytes) => (sha256(bytes), bytes.len(), chunks_of(bytes)),
            Data::Withheld { sha256, length } => (sha256.clone(), *length, vec![Payload::Withheld(true)]),
        },
        Body::Event { event, .. } => (
            sha256(event.message.as_bytes()),
            event.message.len(),
            text_chunks(&event.message)
                .map(|text| Payload::Message(text.to_owned()))
                .collect(),
        ),
    };
    let (partition_key, record_time, index, timestamp) = match body {
        Body::Record(RecordBody {
            partition_key, time, ..
        }) => (partition_key.clone(), time.map(Timestamp::millis), None, None),
        Body::Event { index, event } => (None, None, Some(*index), Some(event.timestamp.millis())),
    };
    let letter_id = letter_id(origin, body, &sha256);
    let parts = payloads.len();
    let letters = payloads.into_iter().enumerate().map(|(at, payload)| Wire {
        schema: SCHEMA,
        dead_letter: refusal.as_str().to_owned(),
        detail: detail.chars().take(256).collect(),
        letter_id: letter_id.to_string(),
        id: position(origin),
        pipeline: origin.pipeline.clone(),
        stream: origin.stream.clone(),
        shard_id: origin.shard.clone(),
        sequence_number: origin.place.sequence_number.as_str().to_owned(),
        sub_sequence_number: origin.place.sub_sequence_number,
        destination: meant_for.to_string(),
        body: match body {
            Body::Record(_) => Kind::Record,
            Body::Event { .. } => Kind::Event,
        },
        bytes: length,
        sha256: sha256.clone(),
        part: at + 1,
        parts,
        partition_key: partition_key.as_deref().map(str::to_owned),
        record_time,
        index,
        timestamp,
        redacted: redacted && matches!(body, Body::Event { .. }),
        payload,
    });
    letters
        .map(|letter| LogEvent {
            timestamp: now,
            message: json(&letter),
        })
        .collect()
}

/// Names the record, or the event by its content: one that is told in several parts has the same index in all.
/// The reason is not in it: whoever writes a letter again, perhaps by other settings, writes the same letter.
fn letter_id(origin: &Origin, body: &Body, of_body: &str) -> LetterId {
    let of = match body {
        Body::Record(_) => "record".to_owned(),
        Body::Event { index, event } => format!("event\n{index}\n{}\n{of_body}", event.timestamp.millis()),
    };
    let mut id = sha256(format!("{}\n{}\n{of}", origin.pipeline, position(origin)).as_bytes());
    // 64 bits: among a million letters, two share an id with a probability below 10⁻⁷.
    id.truncate(16);
    LetterId::new(id)
}

/// What has only texts and numbers in it always has a JSON.
fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The record's position: `stream:shard:sequence:sub`.
pub fn position(origin: &Origin) -> String {
    let Place {
        sequence_number,
        sub_sequence_number,
    } = &origin.place;
    let (stream, shard) = (&origin.stream, &origin.shard);
    format!("{stream}:{shard}:{sequence_number}:{sub_sequence_number}")
}

/// One empty chunk for no bytes.
fn chunks_of(bytes: &[u8]) -> Vec<Payload> {
    match bytes.is_empty() {
        true => vec![Payload::Data(String::new())],
        false => bytes
            .chunks(PART_BYTES)
            .map(|chunk| Payload::Data(STANDARD.encode(chunk)))
            .collect(),
    }
}

/// Cuts between characters; one empty chunk for an empty text.
fn text_chunks(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut at = text.len().min(PART_BYTES);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let (chunk, after) = text.split_at(at);
        rest = (!after.is_empty()).then_some(after);
        Some(chunk)
    })
}

/// A letter that was sent again, or discarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redriven {
    pub letter: LetterId,
    /// When.
    pub at: Timestamp,
    /// What became of it: so many events were delivered. None: the settings of then left it out.
    pub events: u64,
    /// A person gave it up: nothing was sent.
    pub discarded: bool,
}

#[derive(Serialize, Deserialize)]
struct Mark {
    redriven: String,
    /// For people; the event's own time is the same.
    at: String,
    events: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    discarded: bool,
}

/// The log event that stands beside a letter once it was sent again or discarded.
pub fn mark(redriven: &Redriven) -> LogEvent {
    let message = Mark {
        redriven: redriven.letter.to_string(),
        at: redriven.at.to_string(),
        events: redriven.events,
        discarded: redriven.discarded,
    };
    LogEvent {
        timestamp: redriven.at,
        message: json(&message),
    }
}

/// What one event of the dead letters' log stream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    Part(Box<Part>),
    Redriven(Redriven),
}

/// A part of a letter, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    wire: Wire,
    written: Timestamp,
    place: Place,
    meant_for: LogDestination,
}

impl Part {
    /// The letter that it is a part of.
    pub fn letter(&self) -> &str {
        &self.wire.letter_id
    }

    pub fn written(&self) -> Timestamp {
        self.written
    }

    /// Whose letter it is.
    pub fn pipeline(&self) -> &str {
        &self.wire.pipeline
    }

    /// The position of its record, as [`position`] tells it.
    pub fn position(&self) -> &str {
        &self.wire.id
    }

    /// Which event of the record it is of; `None`: of all of it.
    pub fn index(&self) -> Option<usize> {
        self.wire.index
    }

    fn is_withheld(&self) -> bool {
        matches!(self.wire.payload, Payload::Withheld(_))
    }
}

/// Reads one event of the dead letters' log stream. `None`: it is neither a letter nor a mark, or one of a later
/// version of Weir.
pub fn parse(event: &LogEvent) -> Option<Entry> {
    if let Ok(mark) = serde_json::from_str::<Mark>(&event.message) {
        return Some(Entry::Redriven(Redriven {
            letter: LetterId::new(mark.redriven),
            at: event.timestamp,
            events: mark.events,
            discarded: mark.discarded,
        }));
    }
    let wire: Wire = serde_json::from_str(&event.message).ok()?;
    let place = Place {
        sequence_number: SequenceNumber::parse(&wire.sequence_number)?,
        sub_sequence_number: wire.sub_sequence_number,
    };
    // Neither name holds a colon.
    let (group, stream) = wire.destination.split_once(':')?;
    let meant_for = LogDestination {
        group: group.to_owned(),
        stream: stream.to_owned(),
    };
    let is_whole = match wire.body {
        Kind::Record => !matches!(wire.payload, Payload::Message(_)),
        Kind::Event => {
            matches!(wire.payload, Payload::Message(_)) && wire.index.is_some() && wire.timestamp.is_some()
        }
    };
    let is_ours = wire.schema == SCHEMA && (1..=wire.parts).contains(&wire.part) && is_whole;
    let part = Part {
        wire,
        written: event.timestamp,
        place,
        meant_for,
    };
    is_ours.then(|| Entry::Part(Box::new(part)))
}

/// A letter that was read back whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    pub id: LetterId,
    /// When it was put.
    pub written: Timestamp,
    /// As [`Refusal::as_str`] tells it.
    pub reason: String,
    pub detail: String,
    pub origin: Origin,
    pub meant_for: LogDestination,
    /// The body's size in bytes.
    pub bytes: usize,
    pub body: Body,
    /// Of an event: what the redaction of then hides is hidden in it. `false` in letters of before this was kept.
    pub redacted: bool,
}

impl Letter {
    /// Whether it is a record whose bytes stand in the stream alone.
    pub fn is_withheld(&self) -> bool {
        matches!(&self.body, Body::Record(record) if matches!(record.data, Data::Withheld { .. }))
    }

    /// Sorts letters by when they were put; those that were put together stand as in their stream.
    pub fn order(&self) -> (Timestamp, &str, &str, &Place, usize) {
        let Origin {
            stream, shard, place, ..
        } = &self.origin;
        let index = match &self.body {
            Body::Record(_) => 0,
            Body::Event { index, .. } => *index,
        };
        (self.written, stream, shard, place, index)
    }
}

/// A letter of which parts are missing, or that was changed: a writer died on the way, the group's retention took
/// them, or a data protection policy masks them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incomplete {
    pub id: LetterId,
    pub written: Timestamp,
    pub reason: String,
    pub origin: Origin,
    /// So many of its parts are there…
    pub have: usize,
    /// …of so many. All of them: their content is not what was written.
    pub parts: usize,
}

/// What a log stream's parts are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assembled {
    /// Oldest first, each once.
    pub letters: Vec<Letter>,
    /// Those of which no attempt is whole.
    pub incomplete: Vec<Incomplete>,
}

/// Puts letters together from parts in any order. Of a letter that was written several times, a whole one wins
/// over one with parts missing, and one with its bytes over one that withholds them.
pub fn assemble(parts: impl IntoIterator<Item = Part>) -> Assembled {
    /// The parts of attempts that can't differ: the same content, cut alike.
    type Attempt = (String, usize, bool);
    let mut by_letter: BTreeMap<String, BTreeMap<Attempt, BTreeMap<usize, Part>>> = BTreeMap::new();
    for part in parts {
        let wire = &part.wire;
        let attempt = (wire.sha256.clone(), wire.parts, part.is_withheld());
        let attempts = by_letter.entry(wire.letter_id.clone()).or_default();
        let pieces = attempts.entry(attempt).or_default();
        // The newest, whose reason is the last word.
        if pieces
            .get(&wire.part)
            .is_none_or(|known| known.written < part.written)
        {
            pieces.insert(wire.part, part);
        }
    }
    let mut found = Assembled::default();
    for attempts in by_letter.into_values() {
        let attempts: Vec<Vec<Part>> = attempts
            .into_values()
            .map(|pieces| pieces.into_values().collect())
            .collect();
        let whole = attempts.iter().filter_map(|pieces| join(pieces));
        match whole.max_by_key(|letter| (!letter.is_withheld(), letter.written)) {
            Some(letter) => found.letters.push(letter),
            None => found.incomplete.extend(
                attempts
                    .iter()
                    .max_by_key(|pieces| pieces.len())
                    .and_then(|pieces| rest_of(pieces)),
            ),
        }
    }
    found.letters.sort_by(|a, b| a.order().cmp(&b.order()));
    found
        .incomplete
        .sort_by(|a, b| (a.written, &a.id).cmp(&(b.written, &b.id)));
    found
}

/// The letter that these parts are, in order; `None` if one is missing or changed.
fn join(pieces: &[Part]) -> Option<Letter> {
    let first = pieces.first()?;
    let wire = &first.wire;
    if pieces.len() != wire.parts {
        return None;
    }
    let body = match wire.body {
        Kind::Record => Body::Record(RecordBody {
            data: data(pieces)?,
            partition_key: wire.partition_key.as_deref().map(Arc::from),
            time: wire.record_time.map(Timestamp::from_millis),
        }),
        Kind::Event => {
            let texts = pieces.iter().filter_map(|part| match &part.wire.payload {
                Payload::Message(text) => Some(text.as_str()),
                _ => None,
            });
            let message: String = texts.collect();
            if sha256(message.as_bytes()) != wire.sha256 {
                return None;
            }
            Body::Event {
                index: wire.index?,
                event: LogEvent {
                    timestamp: Timestamp::from_millis(wire.timestamp?),
                    message,
                },
            }
        }
    };
    Some(Letter {
        id: LetterId::new(wire.letter_id.as_str()),
        written: first.written,
        reason: wire.dead_letter.clone(),
        detail: wire.detail.clone(),
        origin: origin_of(first),
        meant_for: first.meant_for.clone(),
        bytes: wire.bytes,
        body,
        // The same text: hidden once is hidden.
        redacted: pieces.iter().any(|part| part.wire.redacted),
    })
}

fn data(pieces: &[Part]) -> Option<Data> {
    let wire = &pieces.first()?.wire;
    let mut bytes = Vec::new();
    for part in pieces {
        match &part.wire.payload {
            Payload::Data(chunk) => bytes.extend(STANDARD.decode(chunk).ok()?),
            Payload::Withheld(_) => {
                return Some(Data::Withheld {
                    sha256: wire.sha256.clone(),
                    length: wire.bytes,
                });
            }
            Payload::Message(_) => return None,
        }
    }
    (sha256(&bytes) == wire.sha256).then(|| Data::Bytes(bytes.into()))
}

fn rest_of(pieces: &[Part]) -> Option<Incomplete> {
    let first = pieces.first()?;
    Some(Incomplete {
        id: LetterId::new(first.wire.letter_id.as_str()),
        written: first.written,
        reason: first.wire.dead_letter.clone(),
        origin: origin_of(first),
        have: pieces.len(),
        parts: first.wire.parts,
    })
}

fn origin_of(part: &Part) -> Origin {
    Origin {
        pipeline: part.wire.pipeline.clone(),
        stream: part.wire.stream.clone(),
        shard: part.wire.shard_id.clone(),
        place: part.place.clone(),
    }
}

#[cfg(test)]
mod tests;
