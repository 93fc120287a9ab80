//! The JSON of a GetRecords answer, taken apart no further than Weir needs.
//!
//! Pure. A record stays the text it was on the wire; only its sequence number and its time are read. An
//! image can hold numbers that no float keeps and keys in any order, so building it anew would change it.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::clock::Timestamp;
use crate::stream::{Record, RecordBatch, SequenceNumber, ShardIterator, SourceError};

/// Reads the body of a GetRecords answer. The records' `data` are slices of `body`.
///
/// An answer that can't be read whole is `Unavailable`: a record is never skipped.
pub fn batch(body: &Bytes) -> Result<RecordBatch, SourceError> {
    let text = std::str::from_utf8(body).map_err(unreadable)?;
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
        next: next.map(ShardIterator::new),
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
    Ok(Record {
        sequence_number: serde_json::from_str::<Cow<'_, str>>(sequence_number.get())
            .ok()
            .and_then(|digits| SequenceNumber::parse(&digits))
            .ok_or_else(|| in_record(&format_args!("its SequenceNumber is {sequence_number}")))?,
        time: time.and_then(|raw| millis(raw.get())).map(Timestamp::from_millis),
        data: body.slice_ref(text.as_bytes()),
    })
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_exact_to_the_millisecond() {
        for (text, want) in [
            ("0", Some(0)),
            ("-0.0", Some(0)),
            ("1479499740", Some(1_479_499_740_000)),
            ("1.46480431E9", Some(1_464_804_310_000)),
            ("1.46480431e+9", Some(1_464_804_310_000)),
            ("1.479499740123E9", Some(1_479_499_740_123)),
            ("1479499740.123", Some(1_479_499_740_123)),
            ("1479499740.1239999", Some(1_479_499_740_123)),
            ("1479499740.9999999999999999", Some(1_479_499_740_999)),
            ("1479499740123E-3", Some(1_479_499_740_123)),
            ("0.0005", Some(0)),
            ("-0.0005", Some(-1)),
            ("-1.5", Some(-1500)),
            ("-1.0001", Some(-1001)),
            ("1E-400", Some(0)),
            ("0E400", Some(0)),
            ("000000000000000000000000000001", Some(1000)),
            ("9223372036854775.807", Some(i64::MAX)),
            ("9223372036854775.808", None),
            ("-9223372036854775.808", Some(i64::MIN)),
            ("-9223372036854775.8081", None),
            ("1E400", None),
            ("1E9223372036854775807", None),
            ("1E99999999999999999999", None),
            ("", None),
            ("-", None),
            (".5", None),
            ("5.", None),
            ("1.2.3", None),
            ("1e", None),
            ("e9", None),
            ("+1", None),
            ("--1", None),
            ("0x10", None),
            ("NaN", None),
            ("null", None),
            ("\"1479499740\"", None),
            ("1 479", None),
            ("१", None),
        ] {
            assert_eq!(millis(text), want, "{text:?}");
        }
    }

    fn read(body: &str) -> Result<RecordBatch, SourceError> {
        batch(&Bytes::copy_from_slice(body.as_bytes()))
    }

    #[test]
    fn an_answer_is_read_in_any_order_and_spacing() {
        let body = " { \"NextShardIterator\" : \"a\\/b\" ,\n \"Records\":[ {\"dynamodb\": {\"Keys\":{}, \
                    \"SequenceNumber\" : \"\\u0031 2\" , \"SequenceNumber\":\"12\"}, \"eventID\":\"x\" } , \
                    {\"dynamodb\":{\"SequenceNumber\":\"1\"},\"\\u0064ynamodb\":\
                    {\"ApproximateCreationDateTime\":1.5,\"SequenceNumber\":\"13\"}}]}";
        let batch = read(body).unwrap();
        assert_eq!(batch.next, Some(ShardIterator::new("a/b")));
        let seen: Vec<_> = batch
            .records
            .iter()
            .map(|r| (r.sequence_number.as_str(), r.time.map(Timestamp::millis)))
            .collect();
        assert_eq!(seen, [("12", None), ("13", Some(1500))]);
        assert!(batch.records[0].data.starts_with(b"{\"dynamodb\": {\"Keys\""));
        assert!(batch.records[0].data.ends_with(b"\"eventID\":\"x\" }"));
    }

    #[test]
    fn an_absent_or_null_iterator_is_the_end_of_the_shard() {
        for body in [
            "{}",
            r#"{"Records":[]}"#,
            r#"{"Records":null,"NextShardIterator":null}"#,
        ] {
            let batch = read(body).unwrap();
            assert!(batch.next.is_none() && batch.records.is_empty(), "{body}");
        }
    }

    #[test]
    fn a_record_that_cannot_be_placed_fails_the_answer_and_is_named() {
        for bad in [
            r#"{"dynamodb":{}}"#,
            r#"{"dynamodb":{"SequenceNumber":7}}"#,
            r#"{"dynamodb":{"SequenceNumber":"x7"}}"#,
            r#"{"dynamodb":null}"#,
            r#"{"eventID":"secret"}"#,
            "7",
        ] {
            let good = r#"{"dynamodb":{"SequenceNumber":"7"}}"#;
            let error = read(&format!(r#"{{"Records":[{good},{bad}]}}"#)).unwrap_err();
            let SourceError::Unavailable(text) = error else {
                panic!("{error}")
            };
            assert!(text.contains("record 1") && !text.contains("secret"), "{text}");
        }
    }

    #[test]
    fn a_broken_answer_is_never_an_empty_one() {
        for bad in [
            "",
            "[]",
            "{",
            "{}x",
            r#"{"Records":{}}"#,
            r#"{"NextShardIterator":7}"#,
            "<html>",
        ] {
            assert!(matches!(read(bad), Err(SourceError::Unavailable(_))), "{bad}");
        }
        let body = Bytes::from_static(b"{\"Records\":[\"\xff\"]}");
        assert!(matches!(batch(&body), Err(SourceError::Unavailable(_))));
    }

    /// JSON as no serializer would write it: numbers of many digits, any spacing, escapes, equal keys.
    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?",
            "\\PC{0,12}".prop_map(|s| serde_json::to_string(&s).unwrap()),
            "(\\\\u00[0-7][0-9a-f]|\\\\n|\\\\/){0,4}".prop_map(|s| format!("\"{s}\"")),
        ];
        leaf.prop_recursive(5, 40, 6, |inner| {
            let space = "[ \n\t]{0,2}";
            prop_oneof![
                (space, prop::collection::vec(inner.clone(), 0..6))
                    .prop_map(|(s, v)| format!("[{s}{}]", v.join(&format!(",{s}")))),
                (space, prop::collection::vec(("[a-zA-Z]{0,3}", inner), 0..6)).prop_map(|(s, v)| {
                    let members: Vec<_> = v.iter().map(|(k, v)| format!("\"{k}\"{s}:{s}{v}")).collect();
                    format!("{{{s}{}{s}}}", members.join(","))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_record_comes_back_as_the_text_it_was(images in prop::collection::vec(json(), 1..6)) {
            let texts: Vec<_> = images
                .iter()
                .enumerate()
                .map(|(i, image)| format!(
                    r#"{{"x":{image},"dynamodb":{{"NewImage":{image},"SequenceNumber":"{i}","OldImage" : {image}}}}}"#
                ))
                .collect();
            let body = Bytes::from(format!(r#"{{"Records":[{}],"NextShardIterator":"n"}}"#, texts.join(" , ")));
            let batch = batch(&body).unwrap();
            prop_assert_eq!(batch.records.len(), texts.len());
            for (record, text) in batch.records.iter().zip(&texts) {
                prop_assert_eq!(&*record.data, text.as_bytes());
                // A slice, not a copy.
                prop_assert!(body.as_ptr_range().contains(&record.data.as_ptr()));
            }
        }

        #[test]
        fn millis_agrees_with_integer_arithmetic(seconds in -10_000_000_000i64..10_000_000_000, ms in 0i64..1000) {
            let text = if seconds < 0 && ms > 0 {
                // -7.25 is seven seconds and a quarter before the epoch.
                format!("-{}.{:03}", -(seconds + 1), 1000 - ms)
            } else {
                format!("{seconds}.{ms:03}")
            };
            prop_assert_eq!(millis(&text), Some(seconds * 1000 + ms));
        }
    }
}
