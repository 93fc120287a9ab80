//! The JSON of a GetRecords answer, taken apart no further than Weir needs.
//!
//! Pure. A record stays the text it was on the wire; only its sequence number and its time are read. An
//! image can hold numbers that no float keeps and keys in any order, so building it anew would change it.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use bytes_utils::Str;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::clock::Timestamp;
use crate::json::cursor::Cursor;
use crate::stream::change::{ChangeFields, Field};
use crate::stream::{Next, Record, RecordBatch, SequenceNumber, ShardIterator, SourceError};

/// Reads the body of a GetRecords answer. The records' `data` are slices of `body`.
///
/// An answer that can't be read whole is `Unavailable`: a record is never skipped.
pub fn batch(body: &Bytes) -> Result<RecordBatch, SourceError> {
    // Looked at once, for all that is made of it.
    let answer = Str::from_inner(body.clone()).map_err(|e| unreadable(e.utf8_error()))?;
    match in_one_pass(&answer) {
        Some(batch) => Ok(batch),
        None => step_by_step(body, &answer),
    }
}

/// Looks at each byte once, and keeps where the records' fields stand. `None`: the answer, or a record in it, is out
/// of the ordinary, and perhaps wrong.
fn in_one_pass(answer: &Str) -> Option<RecordBatch> {
    let mut cursor = Cursor::new(answer);
    let (mut records, mut next) = (None, None);
    cursor.eat(b'{')?;
    let mut first = true;
    while cursor.another(&mut first, b'}')? {
        match cursor.key()? {
            "Records" if records.is_none() => {
                let mut list = Vec::new();
                cursor.eat(b'[')?;
                let mut first = true;
                while cursor.another(&mut first, b']')? {
                    list.push(next_record(answer, &mut cursor)?);
                }
                records = Some(list);
            }
            "NextShardIterator" if next.is_none() => {
                let iterator = serde_json::from_str::<Option<Cow<'_, str>>>(cursor.value()?).ok()?;
                next = Some(iterator.map_or(Next::End, |next| Next::At(ShardIterator::new(next))));
            }
            "Records" | "NextShardIterator" => return None,
            _ => drop(cursor.value()?),
        }
    }
    cursor.end()?;
    Some(RecordBatch {
        records: records.unwrap_or_default(),
        next: next.unwrap_or(Next::End),
        behind: None,
        continuation: None,
    })
}

fn next_record(answer: &Str, cursor: &mut Cursor<'_>) -> Option<Record> {
    let fields = ChangeFields::read(cursor, answer)?;
    // Digits alone: whatever else is in the quotes, an escape too, is no such number.
    let digits = fields
        .get(Field::SequenceNumber)?
        .strip_prefix('"')?
        .strip_suffix('"')?;
    let time = fields.get(Field::ApproximateCreationDateTime).and_then(millis);
    let record = Record::new(
        SequenceNumber::parse(digits)?,
        time.map(Timestamp::from_millis),
        fields.data().clone(),
    );
    Some(Record {
        fields: Some(Box::new(fields)),
        ..record
    })
}

/// As any JSON may be written, in several passes; and what is wrong with it.
fn step_by_step(body: &Bytes, text: &str) -> Result<RecordBatch, SourceError> {
    let [records, next] = fields(text, ["Records", "NextShardIterator"]).map_err(unreadable)?;
    let records: Vec<&RawValue> = match records {
        Some(raw) => serde_json::from_str::<Option<_>>(raw.get())
            .map_err(unreadable)?
            .unwrap_or_default(),
        None => Vec::new(),
    };
    let next: Option<String> = match next {
        Some(raw) => serde_json::from_str(raw.get()).map_err(unreadable)?,
        None => None,
    };
    Ok(RecordBatch {
        records: records
            .into_iter()
            .enumerate()
            .map(|(index, raw)| record(body, index, raw.get()))
            .collect::<Result<_, _>>()?,
        next: next.map_or(Next::End, |next| Next::At(ShardIterator::new(next))),
        behind: None,
        continuation: None,
    })
}

fn record(body: &Bytes, index: usize, text: &str) -> Result<Record, SourceError> {
    let in_record = |why: &dyn fmt::Display| {
        // Not the text itself: it is the user's data, and this goes to Weir's own log.
        SourceError::Unavailable(format!("record {index} of the answer can't be placed: {why}"))
    };
    let [change] = fields(text, ["dynamodb"]).map_err(|e| in_record(&e))?;
    let change = change.ok_or_else(|| in_record(&"it has no `dynamodb`"))?;
    let [sequence_number, time] =
        fields(change.get(), ["SequenceNumber", "ApproximateCreationDateTime"]).map_err(|e| in_record(&e))?;
    let sequence_number = sequence_number.ok_or_else(|| in_record(&"it has no `SequenceNumber`"))?;
    let sequence_number = serde_json::from_str::<Cow<'_, str>>(sequence_number.get())
        .ok()
        .and_then(|digits| SequenceNumber::parse(&digits))
        .ok_or_else(|| in_record(&format_args!("its SequenceNumber is {sequence_number}")))?;
    let time = time.and_then(|raw| millis(raw.get())).map(Timestamp::from_millis);
    Ok(Record::new(
        sequence_number,
        time,
        body.slice_ref(text.as_bytes()),
    ))
}

fn unreadable(why: impl fmt::Display) -> SourceError {
    SourceError::Unavailable(format!("the answer to GetRecords can't be read: {why}"))
}

/// The milliseconds of a number of seconds, as JSON writes it: `1479499740`, `1.46480431E9`, `1.5`.
///
/// Exact: decimal digits are moved, never put through a float. What lies below a millisecond is cut off
/// toward the past. `None` for anything but a number, and for a number beyond an `i64` of milliseconds.
pub fn millis(text: &str) -> Option<i64> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (rest, 0),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return None,
        None => (mantissa, ""),
    };
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    // How many of the digits stand before the point once the value counts milliseconds.
    let point = i64::try_from(whole.len())
        .ok()?
        .checked_add(exponent)?
        .checked_add(3)?;
    let digits = || {
        whole
            .bytes()
            .chain(fraction.bytes())
            .map(|b| i128::from(b - b'0'))
    };
    if digits().all(|d| d == 0) {
        return Some(0);
    }
    let kept = usize::try_from(point.max(0)).ok()?;
    let mut value: i128 = 0;
    // Digits before the point, then zeros up to it; a value too large ends the loop early.
    for digit in digits().chain(std::iter::repeat(0)).take(kept) {
        value = value * 10 + digit;
        if value > i128::from(i64::MAX) + 1 {
            return None;
        }
    }
    let cut_off = digits().skip(kept).any(|d| d != 0);
    let value = if negative {
        -value - i128::from(cut_off)
    } else {
        value
    };
    i64::try_from(value).ok()
}

/// The raw values of `names` in the JSON object `text`. Of a key that appears twice the last one counts,
/// as in every other reader of these records.
fn fields<'a, const N: usize>(
    text: &'a str,
    names: [&str; N],
) -> Result<[Option<&'a RawValue>; N], serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(text);
    let found = Fields(names).deserialize(&mut json)?;
    json.end()?;
    Ok(found)
}

struct Fields<'n, const N: usize>([&'n str; N]);

impl<'de, const N: usize> DeserializeSeed<'de> for Fields<'_, N> {
    type Value = [Option<&'de RawValue>; N];

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Fields<'_, N> {
    type Value = [Option<&'de RawValue>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        while let Some(index) = map.next_key_seed(Key(self.0))? {
            match index {
                Some(index) => found[index] = Some(map.next_value()?),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }
}

/// A key, as its place among the wanted ones. Escapes in it are resolved without keeping a copy.
struct Key<'n, const N: usize>([&'n str; N]);

impl<'de, const N: usize> DeserializeSeed<'de> for Key<'_, N> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl<const N: usize> Visitor<'_> for Key<'_, N> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|name| *name == key))
    }
}

#[cfg(test)]
mod tests;
