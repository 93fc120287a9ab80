//! Where in an input one record ends and the next begins.
//!
//! Pure but for the reader it is given. Owns what the input's looks mean; asks the decoders only whether something
//! is all there. Holds one piece of the input at a time, never more than [`LARGEST`] of it.

use std::io::{self, BufRead, Cursor, Read};
use std::ops::Range;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::clock::Timestamp;
use crate::decode::gzip::{self, GzipError};

/// The most that one piece of the input may be: a record, a line, an event of Lambda. A record has 10 MiB at
/// most (API reference of PutRecord), as an answer of GetRecords has, in base64 a third more; Lambda's events
/// have 6 MB.
pub const LARGEST: usize = 16 << 20;

/// The largest record of Kinesis (API reference of PutRecord). Only what is taken apart into very many parts is
/// held to it.
const LARGEST_AGGREGATE: usize = 10 << 20;

/// Lines that may belong together are given to the decoder in blocks of about this size…
const BLOCK: usize = 128 << 10;
/// …and of this one at most, but for a single line.
const LARGEST_BLOCK: usize = 256 << 10;

/// How a gzip member with the usual method begins (RFC 1952, 2.3).
const GZIP: &[u8] = &[0x1f, 0x8b];
/// How an aggregate of the Kinesis Producer Library begins.
const KPL: &[u8] = &[0xf3, 0x89, 0x9a, 0xc2];
/// The two in base64. The fourth byte of the aggregate's magic shares its last character with what follows.
const GZIP_BASE64: &[u8] = b"H4sI";
const KPL_BASE64: &[u8] = b"84maw";

/// No one wraps base64 narrower than so: lines that are shorter are small records.
const NARROWEST: usize = 32;

/// What the asker expects of text. Other bytes speak for themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// JSON, base64 of something, or else one text.
    Any,
    /// JSON, base64 of something, or else lines.
    Lines,
    /// JSON, or else one text.
    Json,
    /// One text, whatever it looks like.
    Text,
}

/// Where a record stands in the input, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Record(u64),
    Line(u64),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Record(number) => write!(f, "record {number}"),
            Self::Line(number) => write!(f, "line {number}"),
        }
    }
}

/// One record, or why there is none at this place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub place: Place,
    pub data: Result<Bytes, String>,
    pub partition_key: Option<String>,
    pub arrived: Option<Timestamp>,
}

impl Frame {
    fn new(place: Place, data: Result<Bytes, String>) -> Self {
        let data = data.and_then(
            |data| match data.starts_with(KPL) && data.len() > LARGEST_AGGREGATE {
                true => {
                    Err("is an aggregate of more than 10 MiB: no record of Kinesis is so large".to_owned())
                }
                false => Ok(data),
            },
        );
        Self {
            place,
            data,
            partition_key: None,
            arrived: None,
        }
    }
}

/// What an input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Nothing,
    /// All of it is one record.
    Record,
    /// All of it is one record, in base64.
    Base64,
    /// Records with their data in base64: an event of Lambda, or an answer of GetRecords.
    Event,
    /// A record a line.
    Lines,
    /// A record a line, in base64.
    Base64Lines,
    /// Records in base64 that was wrapped after so many characters.
    WrappedBase64(usize),
    /// Lines of which some may belong together.
    Blocks,
}

/// The records of an input. Ends after an error of the reader.
pub struct Frames<R> {
    kind: Kind<R>,
}

enum Kind<R> {
    One(Option<Frame>),
    Event { text: Bytes, records: Records },
    Lines { lines: Lines<R>, base64: bool },
    Wrapped(Wrapped<R>),
    Blocks(Blocks<R>),
}

type Input<R> = io::Chain<Cursor<Bytes>, R>;

impl<R: BufRead> Frames<R> {
    /// Looks at the beginning of `input`, all of it if it is not larger than [`LARGEST`]. `base64`: the asker
    /// says that it is.
    pub fn of(mut input: R, expected: Expected, base64: bool) -> io::Result<Self> {
        let mut head = Vec::new();
        input.by_ref().take(LARGEST as u64 + 1).read_to_end(&mut head)?;
        let whole = head.len() <= LARGEST;
        let head = Bytes::from(head);
        let one = |data| Kind::One(Some(Frame::new(Place::Record(1), data)));
        let lines = |head| Lines {
            reader: Cursor::new(head).chain(input),
            number: 0,
        };
        let kind = match shape(&head, whole, expected, base64) {
            Shape::Nothing => Kind::One(None),
            Shape::Record | Shape::Base64 | Shape::Event if !whole => one(Err(format!(
                "looks like one record, and is larger than {} MiB: no record is. Lines are read one by one, however \
                 many, if each is JSON, or with --base64 or --as audit",
                LARGEST >> 20
            ))),
            Shape::Record => one(Ok(head)),
            Shape::Base64 => one(unbase64(&head)),
            Shape::Event => match Records::of(&head) {
                Some(records) => Kind::Event { text: head, records },
                None => one(Ok(head)),
            },
            Shape::Lines => Kind::Lines {
                lines: lines(head),
                base64: false,
            },
            Shape::Base64Lines => Kind::Lines {
                lines: lines(head),
                base64: true,
            },
            Shape::WrappedBase64(width) => Kind::Wrapped(Wrapped {
                lines: lines(head),
                width,
                next: None,
            }),
            Shape::Blocks => Kind::Blocks(Blocks {
                lines: lines(head),
                next: None,
            }),
        };
        Ok(Self { kind })
    }
}

impl<R: BufRead> Iterator for Frames<R> {
    type Item = io::Result<Frame>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.kind {
            Kind::One(frame) => frame.take().map(Ok),
            Kind::Event { text, records } => {
                let frame = records.next(text);
                if records.is_done() {
                    // What the last one opens to needs the memory.
                    *text = Bytes::new();
                }
                frame.map(Ok)
            }
            Kind::Lines { lines, base64 } => loop {
                let line = match lines.next()? {
                    Ok(line) => line,
                    Err(error) => return Some(Err(error)),
                };
                let place = Place::Line(line.number);
                let data = match line.text {
                    Ok(text) => {
                        let text = text.trim_ascii();
                        if text.is_empty() {
                            continue;
                        }
                        if *base64 {
                            unbase64(text)
                        } else {
                            Ok(Bytes::copy_from_slice(text))
                        }
                    }
                    Err(why) => Err(why),
                };
                return Some(Ok(Frame::new(place, data)));
            },
            Kind::Wrapped(wrapped) => wrapped.next(),
            Kind::Blocks(blocks) => blocks.next(),
        }
    }
}

/// What an input is, by its beginning. `whole`: the beginning is all.
fn shape(head: &[u8], whole: bool, expected: Expected, base64: bool) -> Shape {
    if head.is_empty() {
        return Shape::Nothing;
    }
    if base64 {
        return base64_shape(head, whole);
    }
    if head.starts_with(GZIP) || head.starts_with(KPL) {
        return Shape::Record;
    }
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // Cut inside a character by the limit, not by the writer.
        Err(e) if !whole && e.error_len().is_none() => {
            std::str::from_utf8(&head[..e.valid_up_to()]).unwrap_or_default()
        }
        Err(_) if expected == Expected::Lines => return Shape::Blocks,
        Err(_) => return Shape::Record,
    };
    let trimmed = text.trim_ascii();
    let first = trimmed.lines().next().unwrap_or_default();
    if whole && trimmed.starts_with('{') && Records::of(head).is_some() {
        return Shape::Event;
    }
    if expected == Expected::Text {
        return Shape::Record;
    }
    // One value over many lines, or on one.
    if whole && is_json(trimmed) {
        return Shape::Record;
    }
    let holds_keys = first.starts_with(['{', '[']);
    if holds_keys && is_json(first) {
        return Shape::Lines;
    }
    let mut lines = trimmed
        .lines()
        .map(str::trim_ascii)
        .filter(|line| !line.is_empty());
    if whole && !trimmed.is_empty() && lines.all(is_json) {
        return Shape::Lines;
    }
    if expected != Expected::Json && looks_like_base64(first) {
        return base64_shape(head, whole);
    }
    match expected {
        Expected::Lines => Shape::Blocks,
        Expected::Any | Expected::Json | Expected::Text => Shape::Record,
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

/// Whether it begins like gzip or an aggregate would in base64, and is nothing else.
fn looks_like_base64(line: &str) -> bool {
    let held = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    begins_in_base64(line.as_bytes()) && line.trim_ascii().bytes().all(held)
}

fn begins_in_base64(line: &[u8]) -> bool {
    line.starts_with(GZIP_BASE64) || line.starts_with(KPL_BASE64)
}

/// Whether base64 is one record that was wrapped, several that were, or one a line.
///
/// What was wrapped has lines of one width, four characters a group, but for the last line of each record. Without
/// more lines to tell, a first line that is all of a record shows that each is.
fn base64_shape(head: &[u8], whole: bool) -> Shape {
    let lines = || {
        head.split(|b| *b == b'\n')
            .map(<[u8]>::trim_ascii)
            .filter(|line| !line.is_empty())
    };
    let Some(first) = lines().next() else {
        return Shape::Nothing;
    };
    let width = first.len();
    if lines().nth(1).is_none() {
        // One line, which may go on.
        return if whole { Shape::Base64 } else { Shape::Base64Lines };
    }
    let fits = width >= NARROWEST && width % 4 == 0 && lines().all(|line| line.len() <= width);
    if !fits || first.contains(&b'=') || is_a_record_in_base64(first) {
        return Shape::Base64Lines;
    }
    let mut records = 0;
    let mut before = None;
    for line in lines() {
        records += usize::from(begins_a_record(before, line, width));
        before = Some(line);
    }
    match records {
        1 => Shape::Base64,
        _ if records == lines().count() => Shape::Base64Lines,
        _ => Shape::WrappedBase64(width),
    }
}

/// Whether a line of wrapped base64 begins another record than the line `before` it is of.
fn begins_a_record(before: Option<&[u8]>, line: &[u8], width: usize) -> bool {
    before.is_none_or(|before| before.len() < width || before.ends_with(b"=")) || begins_in_base64(line)
}

/// Whether a line is a record to its end: gzip that does not break off, or JSON (a number alone is none).
fn is_a_record_in_base64(line: &[u8]) -> bool {
    let Ok(bytes) = unbase64(line) else {
        return false;
    };
    if bytes.starts_with(GZIP) {
        return !matches!(gzip::inflate(&bytes, LARGEST), Err(GzipError::Truncated));
    }
    bytes.starts_with(b"{") && std::str::from_utf8(&bytes).is_ok_and(is_json)
}

/// With padding or without, with line breaks or without.
fn unbase64(text: &[u8]) -> Result<Bytes, String> {
    const ENGINE: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let broken = text.iter().any(u8::is_ascii_whitespace);
    let decoded = match broken {
        true => {
            let joined: Vec<u8> = text
                .iter()
                .copied()
                .filter(|b| !b.is_ascii_whitespace())
                .collect();
            ENGINE.decode(joined)
        }
        false => ENGINE.decode(text),
    };
    decoded.map(Bytes::from).map_err(|e| format!("not base64: {e}"))
}

/// The records of an event of Lambda (of Kinesis, or of a subscription of CloudWatch Logs), or of what
/// `aws kinesis get-records` prints: where each stands in the text.
struct Records {
    /// And whether it is what stands below `awslogs`.
    places: std::vec::IntoIter<(Range<usize>, bool)>,
    number: u64,
}

#[derive(Deserialize)]
struct EventText<'a> {
    #[serde(borrow, rename = "Records")]
    records: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    awslogs: Option<&'a RawValue>,
}

/// A record of Lambda, one of GetRecords, or the `awslogs` of an event. The first has its fields below `kinesis`.
#[derive(Default, Deserialize)]
struct RecordText<'a> {
    #[serde(borrow)]
    kinesis: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow, rename = "Data")]
    data_of_answer: Option<&'a RawValue>,
    #[serde(borrow, rename = "partitionKey", alias = "PartitionKey")]
    partition_key: Option<&'a RawValue>,
    #[serde(
        borrow,
        rename = "approximateArrivalTimestamp",
        alias = "ApproximateArrivalTimestamp"
    )]
    arrived: Option<&'a RawValue>,
}

impl<'a> RecordText<'a> {
    /// `None`: it is something else. Only what stands below `kinesis` or `awslogs` has its data in lower case.
    fn of(text: &'a str, is_below: bool) -> Option<Self> {
        let mut record: Self = serde_json::from_str(text).ok()?;
        match record.kinesis {
            Some(inner) if !is_below => Self::of(inner.get(), true),
            _ => {
                let data = if is_below {
                    record.data
                } else {
                    record.data_of_answer
                };
                record.data = Some(data?);
                Some(record)
            }
        }
    }
}

impl Records {
    /// `None`: it is something else.
    fn of(text: &[u8]) -> Option<Self> {
        let event: EventText<'_> = serde_json::from_slice(text).ok()?;
        let records = event.records.into_iter().flatten().map(|record| (record, false));
        let mut places = Vec::new();
        for (record, is_below) in records.chain(event.awslogs.map(|awslogs| (awslogs, true))) {
            RecordText::of(record.get(), is_below)?;
            // A slice of `text`: its place there is the distance of the two.
            let start = (record.get().as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
            places.push((start..start + record.get().len(), is_below));
        }
        (!places.is_empty()).then(|| Self {
            places: places.into_iter(),
            number: 0,
        })
    }

    fn is_done(&self) -> bool {
        self.places.as_slice().is_empty()
    }

    fn next(&mut self, text: &[u8]) -> Option<Frame> {
        let (place, is_below) = self.places.next()?;
        self.number += 1;
        let number = Place::Record(self.number);
        let text = text.get(place).and_then(|text| std::str::from_utf8(text).ok());
        let record = text
            .and_then(|text| RecordText::of(text, is_below))
            .unwrap_or_default();
        let string = |value: Option<&RawValue>| {
            value.and_then(|value| serde_json::from_str::<String>(value.get()).ok())
        };
        let data = match string(record.data) {
            Some(data) => unbase64(data.as_bytes()),
            None => Err("its data is no text in base64".to_owned()),
        };
        Some(Frame {
            partition_key: string(record.partition_key),
            arrived: record.arrived.and_then(|value| time(value.get())),
            ..Frame::new(number, data)
        })
    }
}

/// Seconds, as in JSON, or a text in RFC 3339, as the AWS CLI prints it.
fn time(value: &str) -> Option<Timestamp> {
    if let Ok(text) = serde_json::from_str::<String>(value) {
        let time: jiff::Timestamp = text.parse().ok()?;
        return Some(Timestamp::from_millis(time.as_millisecond()));
    }
    let millis = value.parse::<f64>().ok()? * 1000.0;
    // A cast of a float ends at the bounds.
    Some(Timestamp::from_millis(millis.round() as i64))
}

/// One line of a reader.
struct Line {
    /// From 1.
    number: u64,
    /// With its line break, if it has one.
    text: Result<Vec<u8>, String>,
}

/// The lines of a reader. One that is too long is passed over.
struct Lines<R> {
    reader: Input<R>,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    fn next(&mut self) -> Option<io::Result<Line>> {
        self.read().transpose()
    }

    fn read(&mut self) -> io::Result<Option<Line>> {
        let mut text = Vec::new();
        let mut limited = self.reader.by_ref().take(LARGEST as u64 + 1);
        if limited.read_until(b'\n', &mut text)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        let number = self.number;
        if text.len() <= LARGEST {
            return Ok(Some(Line {
                number,
                text: Ok(text),
            }));
        }
        let mut ended = text.ends_with(b"\n");
        drop(text);
        while !ended {
            let buffer = self.reader.fill_buf()?;
            let (length, found) = match buffer.iter().position(|b| *b == b'\n') {
                Some(at) => (at + 1, true),
                None => (buffer.len(), buffer.is_empty()),
            };
            ended = found;
            self.reader.consume(length);
        }
        Ok(Some(Line {
            number,
            text: Err(format!("is longer than {} MiB: no record is", LARGEST >> 20)),
        }))
    }
}

/// Records in base64 that was wrapped, one after the other.
struct Wrapped<R> {
    lines: Lines<R>,
    width: usize,
    /// The first line of the next record.
    next: Option<Line>,
}

impl<R: BufRead> Wrapped<R> {
    fn next(&mut self) -> Option<io::Result<Frame>> {
        let mut record = Vec::new();
        let mut before: Option<Vec<u8>> = None;
        let mut place = None;
        let mut wrong = None;
        loop {
            let line = match self.next.take().map(Ok).or_else(|| self.lines.next()) {
                Some(Ok(line)) => line,
                Some(Err(error)) => return Some(Err(error)),
                None => break,
            };
            let text = match &line.text {
                Ok(text) => text.trim_ascii(),
                Err(_) if place.is_some() => {
                    self.next = Some(line);
                    break;
                }
                Err(why) => return Some(Ok(Frame::new(Place::Line(line.number), Err(why.clone())))),
            };
            if text.is_empty() {
                continue;
            }
            if place.is_some() && begins_a_record(before.as_deref(), text, self.width) {
                self.next = Some(line);
                break;
            }
            place.get_or_insert(line.number);
            if record.len() + text.len() > LARGEST {
                wrong = Some(format!("is larger than {} MiB: no record is", LARGEST >> 20));
            } else {
                record.extend_from_slice(text);
            }
            before = Some(text.to_vec());
        }
        let data = match wrong {
            Some(wrong) => Err(wrong),
            None => unbase64(&record),
        };
        drop(record);
        Some(Ok(Frame::new(Place::Line(place?), data)))
    }
}

/// Lines in blocks, so that the decoder sees those together that may belong together: the SQL of an audit line
/// may hold line breaks.
struct Blocks<R> {
    lines: Lines<R>,
    /// The first line of the next block.
    next: Option<Line>,
}

impl<R: BufRead> Blocks<R> {
    fn next(&mut self) -> Option<io::Result<Frame>> {
        let mut block = Vec::new();
        let mut place = None;
        loop {
            let line = match self.next.take().map(Ok).or_else(|| self.lines.next()) {
                Some(Ok(line)) => line,
                Some(Err(error)) => return Some(Err(error)),
                None => break,
            };
            let Ok(text) = &line.text else {
                if place.is_some() {
                    self.next = Some(line);
                    break;
                }
                return Some(Ok(Frame::new(
                    Place::Line(line.number),
                    line.text.map(Bytes::from),
                )));
            };
            let full = match begins_like_audit(text) {
                true => block.len() >= BLOCK,
                false => block.len() >= LARGEST_BLOCK,
            };
            if full {
                self.next = Some(line);
                break;
            }
            place.get_or_insert(line.number);
            block.extend_from_slice(text);
        }
        let frame = Frame::new(Place::Line(place?), Ok(Bytes::from(block)));
        Some(Ok(frame))
    }
}

/// By the first characters of its time: eight digits of a date or of microseconds.
fn begins_like_audit(line: &[u8]) -> bool {
    line.get(..8)
        .is_some_and(|start| start.iter().all(u8::is_ascii_digit))
}

#[cfg(test)]
mod tests;
