//! Aggregates of the Kinesis Producer Library, taken apart.
//!
//! Pure. Owns the format (awslabs/amazon-kinesis-producer, `aggregation-format.md`): a magic number, a
//! protobuf message, its MD5. Must never give parts of what is not an aggregate to its last byte: that
//! stays one record, and nothing of it is lost.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use md5::{Digest, Md5};

use crate::stream::Record;

const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
const DIGEST: usize = 16;

/// How deep unknown groups may lie in each other: protobuf's own limit.
const MAX_GROUPS: usize = 100;

/// The most records of one aggregate. A record that is all small ones (10 MiB, the largest that Kinesis takes)
/// has as many of 40 bytes; without an end to it, parts of nothing would fill a hundred megabytes.
const MAX_PARTS: usize = 1 << 18;

/// What a record's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// One user record.
    Plain,
    /// They begin like an aggregate and are none, for this reason: one user record too, but worth a count.
    Damaged(&'static str),
    /// In order. An aggregate may be empty.
    Parts(Vec<Part>),
}

/// A user record of an aggregate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub partition_key: Option<Arc<str>>,
    /// A slice of the aggregate, which it keeps in memory.
    pub data: Bytes,
}

/// Takes an aggregate apart.
pub fn take_apart(data: &Bytes) -> Aggregate {
    if !data.starts_with(&MAGIC) {
        return Aggregate::Plain;
    }
    match parts(data) {
        Ok(parts) => Aggregate::Parts(parts),
        Err(reason) => Aggregate::Damaged(reason),
    }
}

/// The user records of `record`, in order: those of an aggregate with their place in it, or itself. None, if
/// it is an aggregate of nothing. And whether it began like an aggregate and was none.
pub fn user_records(record: &Record) -> (Vec<Record>, bool) {
    match take_apart(&record.data) {
        Aggregate::Plain => (vec![record.clone()], false),
        Aggregate::Damaged(_) => (vec![record.clone()], true),
        Aggregate::Parts(parts) => {
            let records = parts.into_iter().zip(0..).map(|(part, at)| Record {
                sequence_number: record.sequence_number.clone(),
                sub_sequence_number: at,
                time: record.time,
                partition_key: part.partition_key,
                data: part.data,
                fields: None,
            });
            (records.collect(), false)
        }
    }
}

/// ```text
/// AggregatedRecord { 1: partition_key_table, string*  2: explicit_hash_key_table, string*  3: records, Record* }
/// Record { 1: partition_key_index, uint64  2: explicit_hash_key_index, uint64?  3: data, bytes  4: tags, Tag* }
/// ```
fn parts(data: &Bytes) -> Result<Vec<Part>, &'static str> {
    let end = data.len().checked_sub(DIGEST).filter(|end| *end >= MAGIC.len());
    let end = end.ok_or("shorter than a magic number and a digest")?;
    if Md5::digest(&data[MAGIC.len()..end])[..] != data[end..] {
        return Err("the MD5 differs");
    }
    let mut keys: Vec<Arc<str>> = Vec::new();
    let mut found: Vec<(u64, Range<usize>)> = Vec::new();
    let mut message = Reader {
        data,
        rest: MAGIC.len()..end,
    };
    // The table may stand after the records that use it: the order of the fields is the writer's.
    while let Some(field) = message.field()? {
        match field {
            (1, Value::Bytes(key)) => {
                let key = std::str::from_utf8(&data[key]).map_err(|_| "a partition key is not UTF-8")?;
                keys.push(key.into());
            }
            (3, Value::Bytes(_)) if found.len() == MAX_PARTS => return Err("it has too many records"),
            (3, Value::Bytes(rest)) => found.push(record(Reader { data, rest })?),
            _ => {}
        }
    }
    let part = |(index, range)| {
        let key = usize::try_from(index).ok().and_then(|i| keys.get(i));
        Ok(Part {
            partition_key: Some(key.ok_or("a partition key is not in the table")?.clone()),
            data: data.slice(range),
        })
    };
    found.into_iter().map(part).collect()
}

/// A record's index into the table of partition keys, and where its data is. Of a field that stands twice,
/// the last one counts.
fn record(mut message: Reader<'_>) -> Result<(u64, Range<usize>), &'static str> {
    let (mut index, mut data) = (None, None);
    while let Some(field) = message.field()? {
        match field {
            (1, Value::Varint(value)) => index = Some(value),
            (3, Value::Bytes(range)) => data = Some(range),
            _ => {}
        }
    }
    let index = index.ok_or("a record has no partition key")?;
    Ok((index, data.ok_or("a record has no data")?))
}

/// Reads protobuf front to back, as far as an aggregate needs it.
struct Reader<'a> {
    data: &'a [u8],
    /// Within `data`.
    rest: Range<usize>,
}

enum Value {
    Varint(u64),
    Bytes(Range<usize>),
    /// Four or eight bytes, or a group. No field of an aggregate is one.
    Skipped,
}

const TRUNCATED: &str = "the message breaks off";

impl Reader<'_> {
    /// The next field's number and value; `None` at the end.
    fn field(&mut self) -> Result<Option<(u32, Value)>, &'static str> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (number, wire) = self.tag()?;
        let value = match wire {
            3 => {
                self.skip_group(number)?;
                Value::Skipped
            }
            _ => self.value(wire)?,
        };
        Ok(Some((number, value)))
    }

    /// A field's number, which is never 0, and its wire type.
    fn tag(&mut self) -> Result<(u32, u8), &'static str> {
        let tag = u32::try_from(self.varint()?).map_err(|_| "a field's number is too large")?;
        match tag >> 3 {
            0 => Err("a field has the number 0"),
            number => Ok((number, (tag & 7) as u8)),
        }
    }

    fn value(&mut self, wire: u8) -> Result<Value, &'static str> {
        match wire {
            0 => self.varint().map(Value::Varint),
            1 => self.take(8).map(|_| Value::Skipped),
            2 => {
                let length = self.varint()?;
                let length = usize::try_from(length).map_err(|_| TRUNCATED)?;
                self.take(length).map(Value::Bytes)
            }
            5 => self.take(4).map(|_| Value::Skipped),
            4 => Err("a group ends that never began"),
            _ => Err("a field of an unknown wire type"),
        }
    }

    /// Everything up to the end of the group `number`, whose beginning has been read.
    fn skip_group(&mut self, number: u32) -> Result<(), &'static str> {
        let mut open = vec![number];
        while let Some(innermost) = open.last() {
            match self.tag()? {
                (number, 4) if number == *innermost => {
                    open.pop();
                }
                (number, 3) if open.len() < MAX_GROUPS => open.push(number),
                (_, 3) => return Err("groups lie too deep in each other"),
                (_, wire) => {
                    self.value(wire)?;
                }
            }
        }
        Ok(())
    }

    fn varint(&mut self) -> Result<u64, &'static str> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = u64::from(self.data[self.take(1)?.start]);
            if shift == 63 && byte > 1 {
                break;
            }
            value |= (byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a number is longer than 64 bits")
    }

    fn take(&mut self, length: usize) -> Result<Range<usize>, &'static str> {
        if length > self.rest.len() {
            return Err(TRUNCATED);
        }
        let taken = self.rest.start..self.rest.start + length;
        self.rest.start = taken.end;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests;
