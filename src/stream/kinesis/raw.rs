//! The JSON of a GetRecords answer, read in one pass.
//!
//! Pure. The records' data is decoded from where it stands in the body, all of it into one buffer. Whatever is out of
//! the ordinary in an answer is left to the SDK as a whole: the two never tell a record differently.

use std::borrow::Cow;
use std::sync::LazyLock;

use aws_smithy_types::DateTime;
use base64::Engine as _;
use base64::engine::Simd;
use base64::engine::general_purpose::PAD;
use bytes::Bytes;

use super::{millis, next_of, timestamp};
use crate::clock::Timestamp;
use crate::json::cursor::Cursor;
use crate::stream::{Record, RecordBatch, SequenceNumber};

static BASE64: LazyLock<Simd> = LazyLock::new(|| Simd::standard(PAD));

/// Reads the body of an answer. The records' `data` are slices of one buffer. `None`: let the SDK read it, and say
/// what is wrong with it, if anything is.
pub fn batch(body: &Bytes) -> Option<RecordBatch> {
    let mut cursor = Cursor::new(std::str::from_utf8(body).ok()?);
    let (mut records, mut next, mut behind, mut children) = (None, None, None, None);
    cursor.eat(b'{')?;
    let mut first = true;
    while cursor.another(&mut first, b'}')? {
        match cursor.key()? {
            "Records" => once(&mut records, list(&mut cursor)?)?,
            "NextShardIterator" => once(&mut next, text(&mut cursor)?)?,
            "MillisBehindLatest" => once(&mut behind, number(&mut cursor)?)?,
            // They come once in the life of a shard.
            "ChildShards" => once(&mut children, matches!(cursor.value()?, "null" | "[]"))?,
            _ => drop(cursor.value()?),
        }
    }
    cursor.end()?;
    if children == Some(false) {
        return None;
    }
    Some(RecordBatch {
        records: decoded(&records?)?,
        next: next_of(next.flatten().as_deref(), false),
        behind: behind.flatten().map(millis),
        continuation: None,
    })
}

/// A record as it stands in the body.
struct Seen<'a> {
    sequence_number: &'a str,
    time: Option<Timestamp>,
    partition_key: Option<Cow<'a, str>>,
    /// In base64.
    data: &'a str,
}

/// Of a field that stands twice, one value would be lost.
fn once<T>(field: &mut Option<T>, value: T) -> Option<()> {
    field.replace(value).is_none().then_some(())
}

fn list<'a>(cursor: &mut Cursor<'a>) -> Option<Vec<Seen<'a>>> {
    let mut list = Vec::new();
    cursor.eat(b'[')?;
    let mut first = true;
    while cursor.another(&mut first, b']')? {
        list.push(seen(cursor)?);
    }
    Some(list)
}

fn seen<'a>(cursor: &mut Cursor<'a>) -> Option<Seen<'a>> {
    let (mut sequence_number, mut data) = (None, None);
    let (mut time, mut partition_key, mut encryption) = (None, None, None);
    cursor.eat(b'{')?;
    let mut first = true;
    while cursor.another(&mut first, b'}')? {
        match cursor.key()? {
            "SequenceNumber" => once(&mut sequence_number, cursor.plain_string()?)?,
            "Data" => once(&mut data, cursor.plain_string()?)?,
            "PartitionKey" => once(&mut partition_key, text(cursor)?)?,
            "ApproximateArrivalTimestamp" => once(&mut time, moment(cursor.value()?)?)?,
            "EncryptionType" => once(&mut encryption, text(cursor)?)?,
            _ => drop(cursor.value()?),
        }
    }
    Some(Seen {
        sequence_number: sequence_number?,
        time: time.flatten(),
        partition_key: partition_key.flatten(),
        data: data?,
    })
}

/// A text or a null.
fn text<'a>(cursor: &mut Cursor<'a>) -> Option<Option<Cow<'a, str>>> {
    match cursor.value()? {
        "null" => Some(None),
        json => {
            let inside = json.strip_prefix('"')?.strip_suffix('"')?;
            match inside.contains('\\') {
                false => Some(Some(Cow::Borrowed(inside))),
                true => serde_json::from_str(json).ok().map(Cow::Owned).map(Some),
            }
        }
    }
}

/// A whole number or a null.
fn number(cursor: &mut Cursor<'_>) -> Option<Option<i64>> {
    match cursor.value()? {
        "null" => Some(None),
        digits => digits.parse().ok().map(Some),
    }
}

/// The time that a number of seconds is, or a null. Through a float where the SDK has one, and rounded as there.
fn moment(json: &str) -> Option<Option<Timestamp>> {
    /// The year 33658: before it, a float tells milliseconds apart.
    const LAST: f64 = 1e12;
    if json == "null" {
        return Some(None);
    }
    let time = match json.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
        true => {
            let seconds = json.parse::<f64>().ok().filter(|seconds| seconds.abs() < LAST)?;
            DateTime::from_secs_f64(seconds)
        }
        false => DateTime::from_secs(json.parse().ok()?),
    };
    Some(Some(timestamp(&time)))
}

fn decoded(seen: &[Seen<'_>]) -> Option<Vec<Record>> {
    // Enough for all, and no more than two bytes too many for each.
    let most = seen.iter().map(|record| record.data.len() / 4 * 3).sum();
    let mut data = Vec::with_capacity(most);
    let mut ends = Vec::with_capacity(seen.len());
    for record in seen {
        BASE64.decode_vec(record.data, &mut data).ok()?;
        ends.push(data.len());
    }
    let data = Bytes::from(data);
    let mut from = 0;
    let mut records = Vec::with_capacity(seen.len());
    for (record, end) in seen.iter().zip(ends) {
        let number = SequenceNumber::parse(record.sequence_number)?;
        records.push(Record {
            partition_key: record.partition_key.as_deref().map(Into::into),
            ..Record::new(number, record.time, data.slice(from..end))
        });
        from = end;
    }
    Some(records)
}

#[cfg(test)]
mod tests;
