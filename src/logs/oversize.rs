//! What becomes of an event whose message is larger than CloudWatch Logs takes.
//!
//! Pure. Owns the form of a part: a JSON object with the event's id, its number among how many, and a piece of
//! the message. Whatever the message was, each part is valid JSON, and the pieces in their order are the message,
//! byte for byte.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::LogEvent;
use super::batch::{MAX_MESSAGE_BYTES, Refusal};
use super::untimely;
use crate::config::Oversize;
use crate::json;

/// What a part may take: it can still be given its original time later and fit.
const PART_BYTES: usize = MAX_MESSAGE_BYTES - untimely::ROOM;
/// An id is a position: an ARN, a shard, two numbers of the service. This is thrice as many bytes.
const LONGEST_ID: usize = 1024;
/// Two numbers of as many digits stand in each part.
const DIGITS: usize = 20;

/// The events that tell `event`, in their order, each with a message of at most [`MAX_MESSAGE_BYTES`]. One that fits
/// passes untouched. `id` names the event for good; parts carry it. An event that is not to be told goes back whole.
pub fn fit(event: LogEvent, id: &str, how: Oversize) -> Result<Vec<LogEvent>, (LogEvent, Refusal)> {
    if event.message.len() <= MAX_MESSAGE_BYTES {
        return Ok(vec![event]);
    }
    let timestamp = event.timestamp;
    match how {
        Oversize::Split => {
            let parts = split(&event.message, id);
            let events = parts.map(|message| LogEvent { timestamp, message });
            Ok(events.collect())
        }
        Oversize::Truncate => {
            let message = truncate(&event.message, id);
            Ok(vec![LogEvent { timestamp, message }])
        }
        Oversize::DeadLetter => Err((event, Refusal::Oversize)),
    }
}

/// The message that these are the parts of, in any order and each as often as it likes: what was put twice stands
/// twice in the log. `None` if one is missing, or one is no part of it.
pub fn join<'p>(parts: impl IntoIterator<Item = &'p str>) -> Option<String> {
    let mut pieces: BTreeMap<usize, Part> = BTreeMap::new();
    for part in parts {
        let part: Part = serde_json::from_str(part).ok()?;
        let is_other = |first: &Part| first.id != part.id || first.parts != part.parts;
        if pieces.first_key_value().is_some_and(|(_, first)| is_other(first)) {
            return None;
        }
        pieces.insert(part.part, part);
    }
    let (_, first) = pieces.first_key_value()?;
    let is_whole = pieces.len() == first.parts && pieces.keys().copied().eq(1..=first.parts);
    is_whole.then(|| pieces.into_values().map(|part| part.message).collect())
}

#[derive(Deserialize)]
struct Part {
    id: String,
    part: usize,
    parts: usize,
    message: String,
}

fn split(message: &str, id: &str) -> impl Iterator<Item = String> {
    let id = quoted_id(id);
    let around = r#"{"id":,"part":,"parts":,"message":""}"#.len() + id.len() + 2 * DIGITS;
    let pieces: Vec<&str> = pieces(message, PART_BYTES - around).collect();
    let parts = pieces.len();
    pieces.into_iter().enumerate().map(move |(i, piece)| {
        let mut out = String::with_capacity(piece.len() + around);
        // Writing to a text can't fail.
        let _ = write!(out, r#"{{"id":{id},"part":{},"parts":{parts},"message":"#, i + 1);
        json::quote(piece, &mut out);
        out.push('}');
        out
    })
}

fn truncate(message: &str, id: &str) -> String {
    let whole = message.len();
    if serde_json::from_str::<IgnoredAny>(message).is_err() {
        // As many digits as the whole has are the most that the kept part can have.
        let marker = |kept: usize| format!(" …[truncated: kept {kept} of {whole} bytes]");
        let kept = &message[..message.floor_char_boundary(MAX_MESSAGE_BYTES - marker(whole).len())];
        return format!("{kept}{}", marker(kept.len()));
    }
    let mut out = format!(
        r#"{{"id":{},"truncated":true,"originalBytes":{whole},"message":"#,
        quoted_id(id)
    );
    let room = PART_BYTES - out.len() - r#"""}"#.len();
    json::quote(pieces(message, room).next().unwrap_or_default(), &mut out);
    out.push('}');
    out
}

fn quoted_id(id: &str) -> String {
    let mut out = String::new();
    json::quote(&id[..id.floor_char_boundary(LONGEST_ID)], &mut out);
    out
}

/// Cuts between characters, each piece as long as its escaped form is within `room`, which holds any character.
fn pieces(text: &str, room: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut taken = 0;
        let end = rest
            .char_indices()
            .find(|(_, char)| {
                taken += escaped_len(*char);
                taken > room
            })
            .map_or(rest.len(), |(at, _)| at);
        let (piece, after) = rest.split_at(end);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

/// The bytes of a character inside a JSON string, as [`json::quote`] writes it.
fn escaped_len(char: char) -> usize {
    match char {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        _ => char.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Timestamp;

    const ID: &str = "arn:aws:kinesis:eu-west-1:1:stream/s:shardId-0:42:0:0";

    fn event(message: impl Into<String>) -> LogEvent {
        LogEvent {
            timestamp: Timestamp::from_millis(7),
            message: message.into(),
        }
    }

    fn parts(message: String) -> Vec<String> {
        let events = fit(event(message), ID, Oversize::Split).unwrap();
        assert!(events.iter().all(|e| e.timestamp.millis() == 7));
        events.into_iter().map(|e| e.message).collect()
    }

    /// `None` where they are no whole.
    fn joined(parts: &[String]) -> Option<String> {
        join(parts.iter().map(String::as_str))
    }

    #[test]
    fn what_fits_passes_untouched_whatever_is_to_become_of_the_rest() {
        for len in [0, 1, MAX_MESSAGE_BYTES] {
            let given = event("x".repeat(len));
            for how in [Oversize::Split, Oversize::Truncate, Oversize::DeadLetter] {
                assert_eq!(fit(given.clone(), ID, how), Ok(vec![given.clone()]));
            }
        }
        let large = event("x".repeat(MAX_MESSAGE_BYTES + 1));
        let refused = fit(large.clone(), ID, Oversize::DeadLetter);
        assert_eq!(refused, Err((large, Refusal::Oversize)));
    }

    #[test]
    fn a_split_joined_gives_the_original_even_if_every_byte_needs_an_escape() {
        for (unit, bytes, most) in [
            ("x", MAX_MESSAGE_BYTES + 1, 2),
            ("x", 10 << 20, 11),
            ("\u{1}", 2 << 20, 13),
            ("\n", 2 << 20, 5),
            ("\"", 2 << 20, 5),
            ("日", 2 << 20, 3),
            ("𝄞", 2 << 20, 3),
            ("a\"\\é𝄞\u{7f}\u{0}", 3 << 20, 6),
        ] {
            let message = unit.repeat(bytes.div_ceil(unit.len()));
            let parts = parts(message.clone());
            assert!(
                (2..=most).contains(&parts.len()),
                "{unit:?}: {} parts",
                parts.len()
            );
            assert!(parts.iter().all(|p| p.len() <= PART_BYTES), "{unit:?}");
            // Nothing but the last one has room left.
            let full = &parts[..parts.len() - 1];
            assert!(
                full.iter().all(|p| p.len() > PART_BYTES - 2 * DIGITS - 6),
                "{unit:?}"
            );
            for (i, part) in parts.iter().enumerate() {
                let part: serde_json::Value = serde_json::from_str(part).unwrap();
                assert_eq!(
                    (&part["id"], &part["part"], &part["parts"]),
                    (&ID.into(), &(i + 1).into(), &parts.len().into())
                );
            }
            assert!(joined(&parts) == Some(message), "{unit:?}");
        }
    }

    #[test]
    fn parts_are_joined_in_any_order_and_only_if_all_are_there() {
        let message = "x".repeat(3 << 20);
        let mut parts = parts(message.clone());
        parts.reverse();
        parts.push(parts[1].clone());
        assert!(joined(&parts) == Some(message));
        assert_eq!(joined(&parts[..2]), None);
        assert_eq!(joined(&[]), None);
        assert_eq!(joined(&["{}".to_owned()]), None);
        let other = parts[0].replace(ID, "another");
        parts.push(other);
        assert_eq!(joined(&parts), None);
    }

    #[test]
    fn a_part_can_still_be_given_its_time() {
        for unit in ["\u{1}", "x"] {
            let message = unit.repeat(2 << 20);
            let now = Timestamp::from_millis(1_800_000_000_000);
            let stamped: Vec<String> = parts(message.clone())
                .into_iter()
                .map(|part| untimely::at(event(part), now).message)
                .collect();
            assert!(stamped.iter().all(|p| p.len() <= MAX_MESSAGE_BYTES));
            assert!(joined(&stamped) == Some(message));
        }
    }

    #[test]
    fn a_truncated_text_ends_with_how_much_was_kept() {
        let message = "é".repeat(600_000);
        let told = fit(event(message.clone()), ID, Oversize::Truncate).unwrap();
        let [LogEvent { message: told, .. }] = &told[..] else {
            panic!("{} events", told.len());
        };
        assert!(told.len() <= MAX_MESSAGE_BYTES && told.len() > MAX_MESSAGE_BYTES - 4);
        let (kept, marker) = told.rsplit_once(" …").unwrap();
        assert!(message.starts_with(kept));
        assert_eq!(
            marker,
            format!("[truncated: kept {} of 1200000 bytes]", kept.len())
        );
    }

    #[test]
    fn a_truncated_json_text_stays_json() {
        let message = format!(r#"{{"a":"{}"}}"#, "\\n\\u0001".repeat(300_000));
        let told = fit(event(message.clone()), ID, Oversize::Truncate).unwrap();
        assert!(told[0].message.len() <= MAX_MESSAGE_BYTES);
        let told: serde_json::Value = serde_json::from_str(&told[0].message).unwrap();
        assert_eq!(
            (&told["id"], &told["truncated"], &told["originalBytes"]),
            (&ID.into(), &true.into(), &message.len().into())
        );
        assert!(message.starts_with(told["message"].as_str().unwrap()));
    }

    #[test]
    fn an_id_of_any_length_leaves_room_for_the_message() {
        let id = "\u{1}".repeat(MAX_MESSAGE_BYTES);
        for how in [Oversize::Split, Oversize::Truncate] {
            let told = fit(event("[]".repeat(MAX_MESSAGE_BYTES)), &id, how).unwrap();
            assert!(told.len() < 4 && told.iter().all(|e| e.message.len() <= MAX_MESSAGE_BYTES));
        }
    }

    proptest! {
        #[test]
        fn the_pieces_of_a_text_are_the_text_and_fit_in_their_escaped_form(
            text in proptest::collection::vec(any::<char>(), 0..200).prop_map(String::from_iter),
            room in 6usize..60,
        ) {
            let pieces: Vec<&str> = pieces(&text, room).collect();
            prop_assert_eq!(pieces.concat(), text.as_str());
            for piece in pieces {
                let mut quoted = String::new();
                json::quote(piece, &mut quoted);
                prop_assert!(!piece.is_empty() && quoted.len() <= room + 2);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn a_split_joined_gives_the_original(unit in "(?s).{1,40}", more in 1usize..2_000_000) {
            let message = unit.repeat((MAX_MESSAGE_BYTES + more).div_ceil(unit.len()));
            let parts = parts(message.clone());
            prop_assert!(parts.iter().all(|p| p.len() <= MAX_MESSAGE_BYTES));
            prop_assert!(joined(&parts) == Some(message));
        }
    }
}
