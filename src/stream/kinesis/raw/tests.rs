use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::aws::canned::{self, Canned};
use crate::clock::SystemClock;
use crate::config::{StreamChoice, Wire};
use crate::stream::kinesis::KinesisStream;
use crate::stream::{Ask, Next, ShardIterator, SourceError, StreamArn, StreamSource};

/// What the whole source makes of this answer, on this path.
fn read(wire: Wire, body: &[u8]) -> Result<RecordBatch, SourceError> {
    let canned = Canned::new([canned::Answer {
        body: Bytes::copy_from_slice(body),
        ..canned::ok("")
    }]);
    let stream = StreamArn::new("arn:aws:kinesis:eu-west-1:111122223333:stream/audit");
    let source = KinesisStream::new(
        aws_sdk_kinesis::Client::new(&canned.config()),
        StreamChoice::KinesisArn(stream.clone()),
        "eu-west-1".to_owned(),
        wire,
        std::sync::Arc::new(SystemClock),
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(source.records(&stream, &ShardIterator::new("i"), Ask::ALL))
}

type Told = (String, Option<Timestamp>, Option<String>, Bytes);

/// What a batch says, to be compared.
fn told(batch: RecordBatch) -> (Vec<Told>, Next, Option<Duration>) {
    let records = batch.records.into_iter().map(|record| {
        assert!(record.sub_sequence_number == 0 && record.fields.is_none());
        let key = record.partition_key.map(|key| key.to_string());
        (record.sequence_number.to_string(), record.time, key, record.data)
    });
    (records.collect(), batch.next, batch.behind)
}

/// Reads the body on both paths, which must say the same; whether it was read in one pass.
fn both(body: &[u8]) -> bool {
    let [raw, sdk] = [Wire::Raw, Wire::Sdk].map(|wire| read(wire, body).map(told));
    let text = String::from_utf8_lossy(body);
    match (raw, sdk) {
        (Ok(raw), Ok(sdk)) => assert_eq!(raw, sdk, "{text}"),
        (Err(raw), Err(sdk)) => assert_eq!(raw.to_string(), sdk.to_string(), "{text}"),
        (raw, sdk) => panic!("{raw:?}, {sdk:?}: {text}"),
    }
    batch(&Bytes::copy_from_slice(body)).is_some()
}

#[test]
fn what_the_service_sends_is_read_in_one_pass_and_what_is_odd_by_the_sdk() {
    let record = r#"{"ApproximateArrivalTimestamp":1.700000000123E9,"Data":"aGVsbG8gd29ybGQ=","EncryptionType":"KMS","PartitionKey":"k/1","SequenceNumber":"49680440460702199733056989047503093420815795297967931426"}"#;
    let around = |record: &str, rest: &str| {
        format!(r#"{{"MillisBehindLatest":1500,"NextShardIterator":"AAA+/=","Records":[{record}]{rest}}}"#)
    };
    let plain = around(&format!("{record},{record}"), "");
    let changed = |from: &str, to: &str| {
        assert!(plain.contains(from), "{from}");
        plain.replace(from, to)
    };
    for (what, body, is_quick) in [
        ("plain", plain.clone(), true),
        ("no records", around("", ""), true),
        ("white space", plain.replace(':', " :\n").replace(',', " ,\t"), true),
        ("seconds", changed("1.700000000123E9", "1700000000"), true),
        ("a fraction", changed("1.700000000123E9", "1700000000.999"), true),
        ("microseconds", changed("1.700000000123E9", "1700000000.123456"), true),
        ("before 1970", changed("1.700000000123E9", "-1.25"), true),
        ("no time", changed("\"ApproximateArrivalTimestamp\":1.700000000123E9,", ""), true),
        ("a null time", changed("1.700000000123E9", "null"), true),
        ("no key", changed("\"PartitionKey\":\"k/1\",", ""), true),
        ("a null key", changed("\"k/1\"", "null"), true),
        ("an empty key", changed("k/1", ""), true),
        ("a key with escapes", changed("k/1", r#"\"\\\u00e9\ud83d\ude00\n日"#), true),
        ("no data", changed("aGVsbG8gd29ybGQ=", ""), true),
        ("one byte", changed("aGVsbG8gd29ybGQ=", "/w=="), true),
        ("no encryption", changed("\"EncryptionType\":\"KMS\",", ""), true),
        ("a null iterator", changed("\"AAA+/=\"", "null"), true),
        ("an empty iterator", changed("AAA+/=", ""), true),
        ("no iterator", changed("\"NextShardIterator\":\"AAA+/=\",", ""), true),
        ("not behind", changed("1500", "0"), true),
        ("behind nothing", changed("1500", "null"), true),
        ("a field of the future", changed("PartitionKey", "PartitionKeys"), true),
        ("an empty list of children", around(record, ",\"ChildShards\":[]"), true),
        ("no children", around(record, ",\"ChildShards\":null"), true),
        (
            "children, and the end",
            r#"{"Records":[],"ChildShards":[{"ShardId":"c","ParentShards":["p"],"HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"9"}}]}"#.to_owned(),
            false,
        ),
        ("no list of records", "{}".to_owned(), false),
        ("a null list", r#"{"Records":null}"#.to_owned(), false),
        ("no number", changed("SequenceNumber", "Number"), false),
        ("a null number", changed("\"49680440460702199733056989047503093420815795297967931426\"", "null"), false),
        ("a number that is none", changed("4968", "x"), false),
        ("no data at all", changed("\"Data\"", "\"Date\""), false),
        ("data twice", changed("\"Data\"", "\"Data\":\"AA==\",\"Data\""), false),
        ("records twice", around(record, ",\"Records\":[]"), false),
        ("data with escapes", changed("aGVsbG8gd29ybGQ=", r"\/w=="), false),
        ("data without its padding", changed("aGVsbG8gd29ybGQ=", "/w"), false),
        ("data with bits to spare", changed("aGVsbG8gd29ybGQ=", "/x=="), false),
        ("data that is no base64", changed("aGVsbG8gd29ybGQ=", "aGV*"), false),
        ("data with a line's end", changed("aGVsbG8gd29ybGQ=", "aGVs\\nbG8g"), false),
        ("an escape in a key's name", changed("Records", r"R\u0065cords"), false),
        ("half a character", changed("k/1", r"\ud83d"), false),
        ("a time that is a text", changed("1.700000000123E9", "\"1.7E9\""), false),
        ("a time far off", changed("1.700000000123E9", "1e300"), false),
        ("behind by a fraction", changed("1500", "1.5"), false),
        ("a key that is a number", changed("\"k/1\"", "7"), false),
        ("cut off", plain[..plain.len() - 1].to_owned(), false),
        ("more behind it", format!("{plain}x"), false),
        ("a page", "<html>".to_owned(), false),
        ("nothing", String::new(), false),
    ] {
        assert_eq!(both(body.as_bytes()), is_quick, "{what}: {body}");
    }
    assert!(!both(
        &changed("k/1", "~")
            .into_bytes()
            .iter()
            .map(|b| if *b == b'~' { 0xff } else { *b })
            .collect::<Vec<_>>()
    ));
}

#[test]
fn the_data_of_all_records_lies_in_one_buffer() {
    let record = |data: &str| format!(r#"{{"SequenceNumber":"7","Data":"{data}"}}"#);
    let body = format!(
        r#"{{"Records":[{},{},{}]}}"#,
        record("YWJj"),
        record(""),
        record("ZGU=")
    );
    let batch = batch(&Bytes::from(body)).unwrap();
    let data: Vec<_> = batch.records.iter().map(|record| &*record.data).collect();
    assert_eq!(data, [b"abc".as_slice(), b"", b"de"]);
    assert_eq!(data[0].as_ptr_range().end, data[2].as_ptr());
    assert_eq!(batch.next, Next::PerhapsEnd);
}

fn any_record() -> impl Strategy<Value = String> {
    let data = prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..80).prop_map(aws_smithy_types::base64::encode),
        1 => "[A-Za-z0-9+/]{0,9}={0,3}",
    ];
    let time = prop_oneof![
        6 => (0_i64..4_000_000_000_000).prop_map(|ms| format!("{}.{:03}", ms / 1000, ms % 1000)),
        6 => (0_i64..4_000_000_000_000).prop_map(|ms| format!("{}.{:012}E9", ms / 1_000_000_000_000, ms % 1_000_000_000_000)),
        4 => "-?(0|[1-9][0-9]{0,10})(\\.[0-9]{1,12})?([eE][+-]?[0-9])?",
        1 => Just("null".to_owned()),
        1 => "-?[1-9][0-9]{0,25}",
    ];
    let key = prop_oneof![
        "[a-z]{1,9}".prop_map(|key| format!("\"{key}\"")),
        "\\PC{0,9}|[\"\\\\\n/]{0,4}".prop_map(|key| serde_json::to_string(&key).unwrap()),
        Just("null".to_owned()),
    ];
    let number = prop_oneof![30 => "[0-9]{1,56}", 1 => "[0-9x]{0,3}"];
    (data, time, key, number).prop_map(|(data, time, key, number)| {
        format!(
            r#"{{"SequenceNumber":"{number}","ApproximateArrivalTimestamp":{time},"Data":"{data}","PartitionKey":{key}}}"#
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn both_paths_read_the_same_from_any_answer(
        records in prop::collection::vec(any_record(), 0..6), behind in 0_i64..100_000_000
    ) {
        let records = records.join(",");
        both(format!(r#"{{"Records":[{records}],"NextShardIterator":"n","MillisBehindLatest":{behind}}}"#).as_bytes());
    }

    /// The quick path may leave a text to the SDK, never read another thing from it.
    #[test]
    fn both_paths_read_the_same_from_a_damaged_answer(
        records in prop::collection::vec(any_record(), 1..3),
        at in any::<prop::sample::Index>(),
        byte in prop::collection::vec(any::<u8>(), 0..2),
        cut in 0_usize..20,
    ) {
        let mut body = format!(r#"{{"Records":[{}],"NextShardIterator":"n"}}"#, records.join(",")).into_bytes();
        let at = at.index(body.len() + 1);
        let end = (at + cut).min(body.len());
        body.splice(at..end, byte);
        both(&body);
    }
}
