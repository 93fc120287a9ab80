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
use crate::decode::audit;
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
/// …and of this one at most, where no audit line follows; but a statement is not cut.
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

/// When a text in quotes is taken for base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strings {
    Never,
    /// If it begins like gzip or an aggregate does.
    ByTheirLooks,
    Always,
}

impl Expected {
    fn strings(self, base64: bool) -> Strings {
        match self {
            _ if base64 => Strings::Always,
            Self::Any | Self::Lines => Strings::ByTheirLooks,
            Self::Json | Self::Text => Strings::Never,
        }
    }
}

/// Where a record stands in the input, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Record(u64),
    Line(u64),
    /// A record of the event on a line.
    OfLine {
        line: u64,
        record: u64,
    },
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Record(number) => write!(f, "record {number}"),
            Self::Line(number) => write!(f, "line {number}"),
            Self::OfLine { line, record } => write!(f, "line {line}, record {record}"),
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
    /// Records with their data in base64: events of Lambda, answers of GetRecords, or the data alone, in quotes.
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
    Event {
        text: Bytes,
        records: Records,
    },
    Lines {
        lines: Lines<R>,
        base64: bool,
        strings: Strings,
        /// What is left of a line's event.
        event: Option<(Line, Records)>,
    },
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
            Shape::Event => match Records::of(&head, expected.strings(base64)) {
                Some(records) => Kind::Event { text: head, records },
                None => one(Ok(head)),
            },
            Shape::Lines => Kind::Lines {
                lines: lines(head),
                base64: false,
                strings: expected.strings(base64),
                event: None,
            },
            Shape::Base64Lines => Kind::Lines {
                lines: lines(head),
                base64: true,
                strings: expected.strings(base64),
                event: None,
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
            Kind::Lines {
                lines,
                base64,
                strings,
                event,
            } => loop {
                if let Some((line, records)) = event {
                    let text = line.text.as_deref().unwrap_or_default();
                    if let Some(frame) = records.next(text) {
                        let place = match frame.place {
                            Place::Record(record) if !records.is_one => Place::OfLine {
                                line: line.number,
                                record,
                            },
                            _ => Place::Line(line.number),
                        };
                        return Some(Ok(Frame { place, ..frame }));
                    }
                    *event = None;
                }
                let line = match lines.next()? {
                    Ok(line) => line,
                    Err(error) => return Some(Err(error)),
                };
                let place = Place::Line(line.number);
                let text = match &line.text {
                    Ok(text) => text.trim_ascii(),
                    Err(why) => return Some(Ok(Frame::new(place, Err(why.clone())))),
                };
                if text.is_empty() {
                    continue;
                }
                if let Some(records) = line
                    .text
                    .as_deref()
                    .ok()
                    .and_then(|text| Records::of(text, *strings))
                {
                    *event = Some((line, records));
                    continue;
                }
                let data = match *base64 {
                    true => unbase64(text),
                    false => Ok(Bytes::copy_from_slice(text)),
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
    let trimmed = head.trim_ascii();
    let first = trimmed.split(|b| *b == b'\n').next().unwrap_or_default();
    let has_more = !whole || first.len() < trimmed.len();
    let may_be_lines = !base64 && expected != Expected::Text && has_more;
    // Events too, if each has its line: its number helps to find what is wrong.
    if may_be_lines && is_json(first) && are_lines_of_json(head, whole) {
        return Shape::Lines;
    }
    if whole && Records::of(head, expected.strings(base64)).is_some() {
        return Shape::Event;
    }
    if base64 {
        return base64_shape(head, whole);
    }
    if head.starts_with(GZIP) || head.starts_with(KPL) || expected == Expected::Text {
        return Shape::Record;
    }
    // One value over many lines, or on one.
    if whole && is_json(trimmed) {
        return Shape::Record;
    }
    if may_be_lines && are_lines_of_json(head, whole) {
        return Shape::Lines;
    }
    if expected != Expected::Json && looks_like_base64(first) {
        return base64_shape(head, whole);
    }
    match expected {
        // Envelopes may have many lines, and no line breaks between them.
        Expected::Lines if trimmed.starts_with(b"{") => Shape::Record,
        Expected::Lines => Shape::Blocks,
        Expected::Any | Expected::Json | Expected::Text => Shape::Record,
    }
}

/// Whether most lines are values, so that each is meant for one, and the others too: a comment, a line that was
/// cut. Numbers and words may as well be text, unless nothing else is there.
fn are_lines_of_json(text: &[u8], whole: bool) -> bool {
    let end = match whole {
        true => text.len(),
        // The last one may go on.
        false => text.iter().rposition(|b| *b == b'\n').unwrap_or(0),
    };
    let (mut lines, mut values, mut objects) = (0usize, 0usize, 0usize);
    let all = text[..end].split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
    for line in all.filter(|line| !line.is_empty()) {
        lines += 1;
        if is_json(line) {
            values += 1;
            objects += usize::from(line.starts_with(b"{") || line.starts_with(b"["));
        }
    }
    lines > 0 && (values == lines || objects * 2 >= lines)
}

fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<&RawValue>(text).is_ok()
}

/// Whether it begins like gzip or an aggregate would in base64, and is nothing else.
fn looks_like_base64(line: &[u8]) -> bool {
    let held = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    begins_in_base64(line) && line.trim_ascii().iter().all(held)
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
    // In quotes, a line each.
    let quoted = first.starts_with(b"\"");
    let fits = !quoted && width >= NARROWEST && width % 4 == 0 && lines().all(|line| line.len() <= width);
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
    bytes.starts_with(b"{") && is_json(&bytes)
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

/// The records of events of Lambda (of Kinesis, of DynamoDB, or of a subscription of CloudWatch Logs), of what
/// `aws kinesis get-records` and `aws dynamodbstreams get-records` print, or of what its `--query 'Records[].Data'` does: where each stands in the text.
struct Records {
    places: std::vec::IntoIter<(Range<usize>, Part)>,
    number: u64,
    /// The text is one record in quotes.
    is_one: bool,
}

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Record,
    /// What stands below `awslogs`.
    Awslogs,
    /// The data alone, in quotes.
    Data,
    /// A value that is none of them: a record itself.
    Value,
}

#[derive(Deserialize)]
struct EventText<'a> {
    #[serde(borrow, rename = "Records")]
    records: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    awslogs: Option<&'a RawValue>,
    /// Only an answer of GetRecords has the two. It may be without records.
    #[serde(borrow, rename = "NextShardIterator")]
    next_shard_iterator: Option<&'a RawValue>,
    #[serde(borrow, rename = "MillisBehindLatest")]
    millis_behind_latest: Option<&'a RawValue>,
}

/// A record of Lambda, one of GetRecords, or the `awslogs` of an event. The first has its fields below `kinesis`, or
/// below `dynamodb`.
#[derive(Default, Deserialize)]
struct RecordText<'a> {
    #[serde(borrow)]
    kinesis: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow, rename = "Data")]
    data_of_answer: Option<&'a RawValue>,
    #[serde(borrow)]
    dynamodb: Option<&'a RawValue>,
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
    fn of(text: &'a str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    fn is_record(&self) -> bool {
        let of_kinesis = self.kinesis.is_some_and(|k| k.get().starts_with('{'));
        self.data_of_answer.is_some() || of_kinesis || self.is_change()
    }

    /// Of a DynamoDB stream: it has no data beside itself.
    fn is_change(&self) -> bool {
        self.dynamodb.is_some_and(|d| d.get().starts_with('{'))
    }
}

impl Records {
    /// `None`: it is something else.
    fn of(text: &[u8], strings: Strings) -> Option<Self> {
        let trimmed = text.trim_ascii_start();
        let read = match trimmed.first()? {
            b'{' => Self::of_events,
            b'"' | b'[' if strings != Strings::Never => Self::of_strings,
            _ => return None,
        };
        let text = std::str::from_utf8(text).ok()?;
        let places = read(text, strings)?;
        Some(Self {
            places: places.into_iter(),
            number: 0,
            is_one: trimmed.starts_with(b"\""),
        })
    }

    /// Of one value, or several one after the other.
    fn of_events(text: &str, _: Strings) -> Option<Vec<(Range<usize>, Part)>> {
        // Most JSON holds neither, and needs no second look.
        if !text.contains("\"Records\"") && !text.contains("\"awslogs\"") {
            return None;
        }
        let mut places = Vec::new();
        let mut holds_events = false;
        for value in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>() {
            let value = value.ok()?;
            match Self::of_event(text, value, &mut places) {
                Some(()) => holds_events = true,
                None => places.push((place_in(text, value)?, Part::Value)),
            }
        }
        holds_events.then_some(places)
    }

    /// Adds what is there, unless it is no event.
    fn of_event(text: &str, value: &RawValue, places: &mut Vec<(Range<usize>, Part)>) -> Option<()> {
        let event: EventText<'_> = serde_json::from_str(value.get()).ok()?;
        if let Some(awslogs) = event.awslogs {
            RecordText::of(awslogs.get()).data?;
            places.push((place_in(text, awslogs)?, Part::Awslogs));
            return Some(());
        }
        let records = event.records?;
        let is_answer = event.next_shard_iterator.is_some() || event.millis_behind_latest.is_some();
        let mut texts = records.iter().map(|record| RecordText::of(record.get()));
        if !is_answer && !texts.any(|record| record.is_record()) {
            return None;
        }
        for record in records {
            let part = match RecordText::of(record.get()).is_change() {
                true => Part::Value,
                false => Part::Record,
            };
            places.push((place_in(text, record)?, part));
        }
        Some(())
    }

    /// Of a text in quotes, or a list of such.
    fn of_strings(text: &str, strings: Strings) -> Option<Vec<(Range<usize>, Part)>> {
        let list: Vec<&RawValue> = match text.trim_ascii_start().starts_with('[') {
            true => serde_json::from_str(text).ok()?,
            false => vec![serde_json::from_str(text).ok()?],
        };
        let is_base64 = |value: &&RawValue| {
            let inside = value.get().strip_prefix('"').unwrap_or_default();
            strings == Strings::Always || begins_in_base64(inside.as_bytes())
        };
        if !list.iter().all(|value| value.get().starts_with('"')) || !list.iter().any(is_base64) {
            return None;
        }
        let places = list
            .into_iter()
            .map(|value| Some((place_in(text, value)?, Part::Data)));
        places.collect()
    }

    fn is_done(&self) -> bool {
        self.places.as_slice().is_empty()
    }

    fn next(&mut self, text: &[u8]) -> Option<Frame> {
        let (place, part) = self.places.next()?;
        self.number += 1;
        let number = Place::Record(self.number);
        let bytes = text.get(place).unwrap_or_default();
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        let (record, data) = match part {
            Part::Value => return Some(Frame::new(number, Ok(Bytes::copy_from_slice(bytes)))),
            Part::Data => return Some(Frame::new(number, data(text))),
            Part::Awslogs => {
                let record = RecordText::of(text);
                let data = record.data;
                (record, data)
            }
            Part::Record => {
                let record = RecordText::of(text);
                match record.kinesis {
                    Some(inner) => {
                        let record = RecordText::of(inner.get());
                        let data = record.data;
                        (record, data)
                    }
                    None => {
                        let data = record.data_of_answer;
                        (record, data)
                    }
                }
            }
        };
        let data = match data {
            Some(value) => self::data(value.get()),
            None => Err("has no data".to_owned()),
        };
        let key = record.partition_key;
        Some(Frame {
            partition_key: key.and_then(|key| serde_json::from_str(key.get()).ok()),
            arrived: record.arrived.and_then(|value| time(value.get())),
            ..Frame::new(number, data)
        })
    }
}

/// The bytes that a text in quotes is in base64.
fn data(quoted: &str) -> Result<Bytes, String> {
    match serde_json::from_str::<String>(quoted) {
        Ok(text) => unbase64(text.as_bytes()),
        Err(_) => Err("its data is no text in base64".to_owned()),
    }
}

/// Where a slice of `text` stands in it: the distance of the two.
fn place_in(text: &str, part: &RawValue) -> Option<Range<usize>> {
    let start = (part.get().as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    Some(start..start + part.get().len())
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
/// may hold line breaks. A block ends before an audit line; or before any line, if nothing is open there.
struct Blocks<R> {
    lines: Lines<R>,
    /// The first line of the next block.
    next: Option<Line>,
}

/// Whether the last audit line of a block goes on.
#[derive(Clone, Copy)]
enum Statement {
    /// Not looked at yet; it begins here. Most lines need no look: an audit line follows them.
    Unread(usize),
    Open,
    Closed,
}

impl<R: BufRead> Blocks<R> {
    fn next(&mut self) -> Option<io::Result<Frame>> {
        let mut block = Vec::new();
        let mut place = None;
        let mut statement = Statement::Closed;
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
            let begins = audit::begins_line(text);
            if let Statement::Unread(start) = statement
                && !begins
            {
                let before = block.get(start..).unwrap_or_default();
                statement = match audit::is_open(&String::from_utf8_lossy(before)) {
                    true => Statement::Open,
                    false => Statement::Closed,
                };
            }
            let full = match statement {
                _ if block.len() + text.len() > LARGEST => !block.is_empty(),
                _ if begins => block.len() >= BLOCK,
                Statement::Open => false,
                Statement::Unread(_) | Statement::Closed => block.len() >= LARGEST_BLOCK,
            };
            if full {
                self.next = Some(line);
                break;
            }
            if begins {
                statement = Statement::Unread(block.len());
            } else if matches!(statement, Statement::Open)
                && audit::ends_query(&String::from_utf8_lossy(text))
            {
                statement = Statement::Closed;
            }
            place.get_or_insert(line.number);
            block.extend_from_slice(text);
        }
        let frame = Frame::new(Place::Line(place?), Ok(Bytes::from(block)));
        Some(Ok(frame))
    }
}

#[cfg(test)]
mod tests;
