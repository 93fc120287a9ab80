//! The body of a PutLogEvents request, written once and straight into its buffer.
//!
//! Pure. The SDK copies every message into a type of its own, and then writes all of them, a character at a time,
//! into a text that grows as it goes. This has the same fields in the same order (API reference of PutLogEvents:
//! <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html>); a test holds both
//! bodies equal.

use std::io::Write as _;

use crate::logs::{LogDestination, LogEvent};

const GROUP: &[u8] = br#"{"logGroupName":""#;
const STREAM: &[u8] = br#"","logStreamName":""#;
const EVENTS: &[u8] = br#"","logEvents":["#;
const TIMESTAMP: &[u8] = br#"{"timestamp":"#;
const MESSAGE: &[u8] = br#","message":""#;
const EVENT_END: &[u8] = br#""}"#;
const END: &[u8] = b"]}";

/// The body that puts these events, in this order. Its buffer never grows, and has next to nothing to spare.
pub fn put_log_events(to: &LogDestination, events: &[LogEvent]) -> Vec<u8> {
    let mut body = Vec::with_capacity(size(to, events));
    let mut escape = Escape::default();
    body.extend_from_slice(GROUP);
    escape.write(&mut body, &to.group);
    body.extend_from_slice(STREAM);
    escape.write(&mut body, &to.stream);
    body.extend_from_slice(EVENTS);
    for (at, event) in events.iter().enumerate() {
        if at > 0 {
            body.push(b',');
        }
        body.extend_from_slice(TIMESTAMP);
        // Writing to memory does not fail.
        let _ = write!(body, "{}", event.timestamp.millis());
        body.extend_from_slice(MESSAGE);
        escape.write(&mut body, &event.message);
        body.extend_from_slice(EVENT_END);
    }
    body.extend_from_slice(END);
    body
}

/// No less than the length of the body, and more by 4 bytes for a tab or a line's end.
fn size(to: &LogDestination, events: &[LogEvent]) -> usize {
    let around = TIMESTAMP.len() + MESSAGE.len() + EVENT_END.len();
    let events_size: usize = events
        .iter()
        .map(|event| around + digits(event.timestamp.millis()) + escaped_len(&event.message))
        .sum();
    let commas = events.len().saturating_sub(1);
    let names = escaped_len(&to.group) + escaped_len(&to.stream);
    GROUP.len() + STREAM.len() + EVENTS.len() + names + events_size + commas + END.len()
}

/// How many characters the number has.
fn digits(number: i64) -> usize {
    let digits = number.unsigned_abs().checked_ilog10().unwrap_or(0) + 1;
    usize::from(number < 0) + digits as usize
}

/// What a character of JSON's text is escaped as, behind the backslash; 0: by its number (RFC 8259, section 7).
const SHORT: [u8; 256] = {
    let mut short = [0; 256];
    short[b'"' as usize] = b'"';
    short[b'\\' as usize] = b'\\';
    short[0x08] = b'b';
    short[b'\t' as usize] = b't';
    short[b'\n' as usize] = b'n';
    short[0x0c] = b'f';
    short[b'\r' as usize] = b'r';
    short
};
const HEX: &[u8; 16] = b"0123456789abcdef";
/// `\u001f`
const LONGEST: usize = 6;

fn is_escaped(byte: u8) -> bool {
    // Not a short-circuit: so the compiler looks at many bytes at once.
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

/// The most bytes that a text needs between its quotes: of a control character the longest escape is taken.
fn escaped_len(text: &str) -> usize {
    // What is added for so many fits into a byte, and sums of bytes are made many at a time.
    let blocks = text.as_bytes().chunks(32);
    let added = blocks.map(|block| {
        let of = |byte: u8| {
            let quoted = u8::from((byte == b'"') | (byte == b'\\'));
            let control = u8::from(byte < 0x20);
            quoted + (LONGEST as u8 - 1) * control
        };
        usize::from(block.iter().map(|byte| of(*byte)).sum::<u8>())
    });
    text.len() + added.sum::<usize>()
}

/// The bytes looked at together: one bit each of a word.
const BLOCK: usize = 64;
/// Runs between two escapes are copied so many bytes at a time: most are shorter, and what is copied too much is
/// written over.
const RUN: usize = 16;
/// A block in which every byte has the longest escape.
const ROOM: usize = LONGEST * BLOCK;

/// Where a block is escaped before it is appended as a whole.
struct Escape {
    /// The block, with as many bytes behind it to copy too much from.
    block: [u8; 2 * BLOCK],
    /// With as many bytes behind it to copy too much to.
    escaped: [u8; ROOM + BLOCK],
}

impl Default for Escape {
    fn default() -> Self {
        Self {
            block: [0; 2 * BLOCK],
            escaped: [0; ROOM + BLOCK],
        }
    }
}

impl Escape {
    /// Appends the text as it stands between the quotes of JSON.
    fn write(&mut self, body: &mut Vec<u8>, text: &str) {
        let (blocks, rest) = text.as_bytes().as_chunks::<BLOCK>();
        for block in blocks {
            match escapes(block) {
                0 => body.extend_from_slice(block),
                escapes => {
                    self.block[..BLOCK].copy_from_slice(block);
                    body.extend_from_slice(self.escaped(BLOCK, escapes));
                }
            }
        }
        if !rest.is_empty() {
            let mut block = [b' '; BLOCK];
            block[..rest.len()].copy_from_slice(rest);
            self.block[..BLOCK].copy_from_slice(&block);
            body.extend_from_slice(self.escaped(rest.len(), escapes(&block)));
        }
    }

    /// The first `len` bytes of the block, of which those in `escapes` are escaped.
    fn escaped(&mut self, len: usize, mut escapes: u64) -> &[u8] {
        // `read` is at most BLOCK and `written` at most LONGEST * BLOCK: each `min` below changes neither, and shows
        // the compiler that no slice reaches past its end.
        let (mut read, mut written) = (0, 0);
        while escapes != 0 {
            let at = escapes.trailing_zeros() as usize;
            escapes &= escapes - 1;
            self.copy::<RUN>(read, written);
            if at - read > RUN {
                self.copy::<BLOCK>(read, written);
            }
            written += at - read;
            read = at + 1;
            let byte = self.block[at];
            let short = SHORT[usize::from(byte)];
            if short != 0 {
                self.escaped[written.min(ROOM)..][..2].copy_from_slice(&[b'\\', short]);
                written += 2;
            } else {
                let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xf)]);
                let escape = [b'\\', b'u', b'0', b'0', high, low];
                self.escaped[written.min(ROOM)..][..LONGEST].copy_from_slice(&escape);
                written += LONGEST;
            }
        }
        self.copy::<BLOCK>(read, written);
        &self.escaped[..written + len - read]
    }

    fn copy<const N: usize>(&mut self, read: usize, written: usize) {
        let from = &self.block[read.min(BLOCK)..][..N];
        self.escaped[written.min(ROOM)..][..N].copy_from_slice(from);
    }
}

/// Which bytes are escaped, the first by the lowest bit.
fn escapes(block: &[u8; BLOCK]) -> u64 {
    let marks = block.map(|byte| u8::from(is_escaped(byte)));
    let (words, _) = marks.as_chunks::<8>();
    // The multiplication brings the marks of eight bytes together in the highest one, the first by the lowest bit.
    let gathered = |word: &[u8; 8]| u64::from_le_bytes(*word).wrapping_mul(0x0102_0408_1020_4080) >> 56;
    words
        .iter()
        .rev()
        .fold(0, |bits, word| bits << 8 | gathered(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    fn body(events: &[(i64, String)]) -> Vec<u8> {
        let to = LogDestination {
            group: "g".to_owned(),
            stream: "s".to_owned(),
        };
        let events = events.iter().map(|(millis, message)| LogEvent {
            timestamp: Timestamp::from_millis(*millis),
            message: message.clone(),
        });
        put_log_events(&to, &events.collect::<Vec<_>>())
    }

    fn text(events: &[(i64, String)]) -> String {
        String::from_utf8(body(events)).unwrap()
    }

    #[test]
    fn a_body_has_the_fields_of_the_api_and_the_events_in_their_order() {
        let around =
            |events: &str| format!(r#"{{"logGroupName":"g","logStreamName":"s","logEvents":[{events}]}}"#);
        assert_eq!(text(&[]), around(""));
        let two = [(7, "b".to_owned()), (-1, "a\"\n\u{1}\u{2028}".to_owned())];
        let told = r#"{"timestamp":7,"message":"b"},{"timestamp":-1,"message":"a\"\n\u0001"#;
        assert_eq!(text(&two), around(&format!("{told}\u{2028}\"}}")));
    }

    #[test]
    fn every_character_is_read_back_wherever_it_stands_in_a_block() {
        for byte in 0..0x80 {
            let special = char::from(byte).to_string();
            for before in (0..BLOCK + 2).chain([2 * BLOCK - 1, 2 * BLOCK]) {
                for times in [1, 2, BLOCK, BLOCK + 1] {
                    let message = "x".repeat(before) + &special.repeat(times) + "é";
                    let text = text(&[(0, message.clone())]);
                    let read: serde_json::Value = serde_json::from_str(&text).unwrap();
                    assert_eq!(read["logEvents"][0]["message"], message);
                }
            }
        }
    }

    #[test]
    fn a_body_fits_into_its_buffer() {
        let all = String::from_iter((0..0x80).map(char::from)).repeat(5);
        for message in ["", "plain", r#"{"a":"\\"}"#, "é\u{2028}", all.as_str()] {
            for millis in [0, 9, 10, -10, i64::MIN, i64::MAX, 1_800_000_000_000] {
                let events = vec![(millis, message.to_owned()); 3];
                let body = body(&events);
                // Of the five that have a short escape the longest is reckoned with.
                let short = events.iter().flat_map(|e| e.1.bytes());
                let short = short.filter(|b| matches!(b, 8..=10 | 12 | 13)).count();
                assert_eq!(body.capacity(), body.len() + 4 * short, "{message:?} at {millis}");
            }
        }
    }
}
