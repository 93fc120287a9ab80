//! What becomes of a record or an event that can't be delivered as it is.
//!
//! Pure. A dead letter is itself a log event (or several, where it is large): JSON with the position,
//! the reason, and either the record's bytes in base64 or the event's message. It can be decoded again.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::batch::{MAX_MESSAGE_BYTES, Refusal};
use super::{LogDestination, LogEvent};
use crate::clock::Timestamp;
use crate::stream::Place;

/// The log stream of the dead letters, unless the settings name another.
pub const STREAM: &str = "dead-letter";

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
    /// A record that could not be decoded, byte for byte.
    Record(Vec<u8>),
    /// An event that was refused.
    Event(LogEvent),
}

/// A part's share of the payload. Every byte of a message may take six in JSON (`\u0001`), and the rest
/// of a part stays well below 4 KiB: names and ids are short.
const PART_BYTES: usize = (MAX_MESSAGE_BYTES - 4096) / 6;

/// The log events that hold a dead letter, in order, each below the limit of an event, stamped `now`.
///
/// `part` and `parts` (from 1) let a reader put a large one together: the `data` of base64 parts decode
/// one by one, the `message` of the others are joined as text.
pub fn events(
    origin: &Origin,
    refusal: Refusal,
    detail: &str,
    meant_for: &LogDestination,
    body: &Body,
    now: Timestamp,
) -> Vec<LogEvent> {
    let pieces: Vec<(&str, String)> = match body {
        Body::Record(bytes) if bytes.is_empty() => vec![("data", String::new())],
        Body::Record(bytes) => bytes
            .chunks(PART_BYTES)
            .map(|c| ("data", STANDARD.encode(c)))
            .collect(),
        Body::Event(event) => text_chunks(&event.message)
            .map(|c| ("message", c.to_owned()))
            .collect(),
    };
    let parts = pieces.len();
    pieces
        .into_iter()
        .enumerate()
        .map(|(i, (field, piece))| {
            let mut letter = serde_json::json!({
                "deadLetter": refusal.as_str(),
                "detail": detail.chars().take(256).collect::<String>(),
                "id": id(origin),
                "pipeline": origin.pipeline,
                "stream": origin.stream,
                "shardId": origin.shard,
                "sequenceNumber": origin.place.sequence_number.as_str(),
                "subSequenceNumber": origin.place.sub_sequence_number,
                "destination": meant_for.to_string(),
                "part": i + 1,
                "parts": parts,
                field: piece,
            });
            if let Body::Event(event) = body {
                letter["timestamp"] = event.timestamp.millis().into();
            }
            LogEvent {
                timestamp: now,
                message: letter.to_string(),
            }
        })
        .collect()
}

/// The record's position: `stream:shard:sequence:sub`.
fn id(origin: &Origin) -> String {
    let Place {
        sequence_number,
        sub_sequence_number,
    } = &origin.place;
    let (stream, shard) = (&origin.stream, &origin.shard);
    format!("{stream}:{shard}:{sequence_number}:{sub_sequence_number}")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::SequenceNumber;

    fn origin() -> Origin {
        Origin {
            pipeline: "orders".into(),
            stream: "arn:aws:dynamodb:eu-west-1:1:table/orders/stream/x".into(),
            shard: "shardId-1".into(),
            place: Place {
                sequence_number: SequenceNumber::parse("42").unwrap(),
                sub_sequence_number: 7,
            },
        }
    }

    fn letters(body: &Body) -> Vec<serde_json::Value> {
        let to = LogDestination {
            group: "/cdc/orders".into(),
            stream: "s".into(),
        };
        let now = Timestamp::from_millis(5);
        let events = events(&origin(), Refusal::Oversize, "why", &to, body, now);
        assert!(
            events
                .iter()
                .all(|e| e.message.len() <= MAX_MESSAGE_BYTES && e.timestamp == now)
        );
        events
            .iter()
            .map(|e| serde_json::from_str(&e.message).unwrap())
            .collect()
    }

    #[test]
    fn an_undecodable_record_comes_back_byte_for_byte() {
        for len in [0, 1, PART_BYTES, 3 * PART_BYTES + 7] {
            let bytes: Vec<u8> = (0..len).map(|i| (i * 7 % 251) as u8).collect();
            let mut back = Vec::new();
            for letter in letters(&Body::Record(bytes.clone())) {
                back.extend(STANDARD.decode(letter["data"].as_str().unwrap()).unwrap());
                assert_eq!(letter["sequenceNumber"], "42");
            }
            assert_eq!(back, bytes);
        }
    }

    #[test]
    fn a_refused_event_comes_back_whole_even_if_every_byte_needs_an_escape() {
        for unit in ["\u{1}", "日", "a\"\\"] {
            let message = unit.repeat(1_500_000 / unit.len());
            let body = Body::Event(LogEvent {
                timestamp: Timestamp::from_millis(77),
                message: message.clone(),
            });
            let letters = letters(&body);
            assert!(letters.len() > 1);
            let back: String = letters.iter().map(|l| l["message"].as_str().unwrap()).collect();
            assert!(back == message);
            assert!(
                letters
                    .iter()
                    .all(|l| l["timestamp"] == 77 && l["parts"] == letters.len())
            );
        }
    }
}
