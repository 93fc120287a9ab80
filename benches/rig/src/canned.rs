//! The body of GetRecords, made once: an answer is a part of it, with the digits that differ written over.

use std::sync::{Mutex, PoisonError};

use fastrand::Rng;

use crate::options::Fake;
use crate::records;

/// Room for the head of the HTTP answer, before the body: both go with one write.
const HEAD: usize = 256;
/// The digits of an iterator, and of what `MillisBehindLatest` has for a number.
const ITERATOR: &str = "s0000@000000000000";
const BEHIND: &str = "0           ";

/// How many records an answer gives, and how many bytes of data: the services' limits.
const CHANGES: (usize, usize) = (1_000, 1 << 20);
const KINESIS: (usize, usize) = (10_000, 10 << 20);

/// Where a record's own digits stand.
struct Marks {
    /// The sequence number: the last 16 digits of it are written, 4 of the shard and 12 of the place.
    sequence: usize,
    /// 12 digits of the event's id.
    id: Option<usize>,
    /// The time, as 1767225600.123.
    time: usize,
    /// Behind the record.
    end: usize,
}

pub struct Canned {
    bytes: Vec<u8>,
    marks: Vec<Marks>,
    iterator: usize,
    behind: Option<usize>,
    /// Copies of `bytes` that no answer uses right now.
    spare: Mutex<Vec<Vec<u8>>>,
}

/// What one answer gives.
pub struct Part {
    pub shard: usize,
    /// The place of the first record in its shard.
    pub from: u64,
    pub count: usize,
    /// The time of the record at a place of the shard; without it they keep the time of the start.
    pub rate: Option<Rate>,
    pub behind: u64,
}

/// When the records of a shard come into being.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Milliseconds since 1970.
    pub start: f64,
    /// Milliseconds from one record to the next.
    pub every: f64,
    /// That of the shard's first, after the start.
    pub first: f64,
}

impl Rate {
    pub fn time(&self, place: u64) -> u64 {
        (self.start + self.first + place as f64 * self.every) as u64
    }

    /// How many there are by now.
    pub fn by(&self, now: u64) -> u64 {
        let since = now as f64 - self.start - self.first;
        if since < 0.0 {
            0
        } else {
            (since / self.every) as u64 + 1
        }
    }
}

/// An answer ready to be written; its buffer goes back by [`Canned::give_back`].
pub struct Ready {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Ready {
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }
}

/// The first digits of a sequence number; the others are [`Marks::sequence`]. As long as the services' own.
pub fn sequence_prefix(is_kinesis: bool) -> &'static str {
    if is_kinesis {
        "4968044046070219973305698904750309342081"
    } else {
        "30000"
    }
}

pub fn sequence(is_kinesis: bool, shard: usize, place: u64) -> String {
    format!("{}{shard:04}{place:012}", sequence_prefix(is_kinesis))
}

fn digits(buffer: &mut [u8], at: usize, width: usize, mut number: u64) {
    for place in (at..at + width).rev() {
        buffer[place] = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn time(buffer: &mut [u8], at: usize, millis: u64) {
    digits(buffer, at, 10, millis / 1000);
    digits(buffer, at + 11, 3, millis % 1000);
}

impl Canned {
    pub fn new(of: &Fake, millis: u64) -> Self {
        let mut rng = Rng::with_seed(8);
        let mut bytes = vec![b' '; HEAD];
        let mut marks = Vec::new();
        let put = |bytes: &mut Vec<u8>, text: &str| {
            bytes.extend_from_slice(text.as_bytes());
            bytes.len()
        };
        let is_kinesis = of.kind.is_kinesis();
        let mut behind = None;
        if is_kinesis {
            let end = put(&mut bytes, &format!(r#"{{"MillisBehindLatest":{BEHIND}"#));
            behind = Some(end - BEHIND.len());
            bytes.push(b',');
        } else {
            bytes.push(b'{');
        }
        let iterator = put(&mut bytes, &format!(r#""NextShardIterator":"{ITERATOR}"#)) - ITERATOR.len();
        put(&mut bytes, r#"","Records":["#);
        let (most, most_bytes) = if is_kinesis { KINESIS } else { CHANGES };
        let seconds = format!("{}.{:03}", millis / 1000, millis % 1000);
        let number = sequence(is_kinesis, 0, 0);
        let data = is_kinesis.then(|| records::data(&mut rng, of, millis));
        let mut sum = 0;
        while marks.len() < most {
            let before = bytes.len();
            let marked = if let Some(data) = &data {
                let (length, text) = &data[marks.len() % data.len()];
                sum += length;
                put(&mut bytes, r#"{"ApproximateArrivalTimestamp":"#);
                let time = put(&mut bytes, &seconds) - seconds.len();
                put(
                    &mut bytes,
                    &format!(
                        r#","Data":"{text}","PartitionKey":"key-{}","SequenceNumber":""#,
                        rng.u16(..)
                    ),
                );
                let sequence = put(&mut bytes, &number) - 16;
                let end = put(&mut bytes, "\"}");
                Marks {
                    sequence,
                    id: None,
                    time,
                    end,
                }
            } else {
                let (keys, new, old) = records::images(&mut rng, of.size);
                let length = keys.len() + new.len() + old.len();
                sum += length;
                put(
                    &mut bytes,
                    r#"{"awsRegion":"eu-west-1","dynamodb":{"ApproximateCreationDateTime":"#,
                );
                let time = put(&mut bytes, &seconds) - seconds.len();
                put(
                    &mut bytes,
                    &format!(r#","Keys":{keys},"NewImage":{new},"OldImage":{old},"SequenceNumber":""#),
                );
                let sequence = put(&mut bytes, &number) - 16;
                put(
                    &mut bytes,
                    &format!(r#"","SizeBytes":{length},"StreamViewType":"NEW_AND_OLD_IMAGES"}},"eventID":""#),
                );
                let id = put(&mut bytes, &format!("{:020x}{:012}", rng.u128(..) >> 48, 0)) - 12;
                let end = put(
                    &mut bytes,
                    r#"","eventName":"MODIFY","eventSource":"aws:dynamodb","eventVersion":"1.1"}"#,
                );
                Marks {
                    sequence,
                    id: Some(id),
                    time,
                    end,
                }
            };
            if sum > most_bytes && !marks.is_empty() {
                bytes.truncate(before - 1);
                break;
            }
            marks.push(marked);
            bytes.push(b',');
        }
        // What ends the body is written over the comma behind its last record.
        bytes.extend_from_slice(b"  ");
        Self {
            bytes,
            marks,
            iterator,
            behind,
            spare: Mutex::default(),
        }
    }

    /// The most records of one answer.
    pub fn most(&self) -> usize {
        self.marks.len()
    }

    pub fn ready(&self, part: &Part, head: impl Fn(usize) -> String) -> Ready {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut buffer = spare.unwrap_or_else(|| self.bytes.clone());
        for (n, mark) in self.marks[..part.count].iter().enumerate() {
            let place = part.from + n as u64;
            digits(&mut buffer, mark.sequence, 4, part.shard as u64);
            digits(&mut buffer, mark.sequence + 4, 12, place);
            if let Some(id) = mark.id {
                digits(&mut buffer, id, 12, place);
            }
            if let Some(rate) = &part.rate {
                time(&mut buffer, mark.time, rate.time(place));
            }
        }
        digits(&mut buffer, self.iterator + 1, 4, part.shard as u64);
        digits(&mut buffer, self.iterator + 6, 12, part.from + part.count as u64);
        if let Some(at) = self.behind {
            let text = format!("{:<12}", part.behind);
            buffer[at..at + 12].copy_from_slice(text.as_bytes());
        }
        let end = match part.count {
            0 => self.iterator + ITERATOR.len() + r#"","Records":["#.len(),
            count => self.marks[count - 1].end,
        };
        buffer[end..end + 2].copy_from_slice(b"]}");
        let end = end + 2;
        let head = head(end - HEAD);
        let start = HEAD - head.len();
        buffer[start..HEAD].copy_from_slice(head.as_bytes());
        Ready { buffer, start, end }
    }

    pub fn give_back(&self, mut ready: Ready) {
        let end = ready.end;
        ready.buffer[end - 2..end].copy_from_slice(&self.bytes[end - 2..end]);
        self.spare
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(ready.buffer);
    }
}
