//! The inputs: what the services give, always the same bytes.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fastrand::Rng;
use flate2::{Compression, GzBuilder};
use md5::{Digest as _, Md5};
use weir::clock::Timestamp;
use weir::stream::{Record, SequenceNumber};

pub const DYNAMODB: &str =
    "arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/2026-01-01T00:00:00.000";
pub const KINESIS: &str = "arn:aws:kinesis:eu-west-1:111122223333:stream/audit";

const MILLIS: u64 = 1_767_225_600_000;

/// A record of a Kinesis stream.
pub fn record(data: Vec<u8>) -> Record {
    Record {
        partition_key: Some("4f1c".into()),
        ..Record::new(
            SequenceNumber::parse("49671234567890123456789012345678901234567890123456789012").unwrap(),
            Some(Timestamp::from_millis(MILLIS as i64)),
            Bytes::from(data),
        )
    }
}

/// Words of some letters each, `bytes` of them.
fn words(seed: u64, bytes: usize) -> String {
    let mut rng = Rng::with_seed(seed);
    let mut text = String::with_capacity(bytes);
    while text.len() < bytes {
        text.extend((0..rng.usize(2..9)).map(|_| rng.lowercase()));
        text.push(' ');
    }
    text.truncate(bytes);
    text
}

/// A text of 1 KB.
pub fn text(seed: u32) -> String {
    words(seed.into(), 1_024)
}

/// 1 KB of JSON, with a quote to escape each dozen bytes.
pub fn json(seed: u32) -> String {
    let mut text = format!(r#"{{"id":{seed}"#);
    for at in 0..40 {
        text.push_str(&format!(
            r#","field-{at}":"{}""#,
            words(u64::from(seed) * 40 + at, 9)
        ));
    }
    text.push('}');
    text
}

/// An answer of GetRecords of a DynamoDB stream: inserts whose images are some 700 bytes.
pub fn get_records(changes: u32) -> String {
    let records: Vec<String> = (0..changes)
        .map(|at| {
            let mut image = format!(r#""pk":{{"S":"order#{at:08}"}},"total":{{"N":"{}.25"}}"#, at * 7);
            for field in 0..12 {
                let value = words(u64::from(at) * 12 + field, 32);
                image.push_str(&format!(r#","field-{field:02}":{{"S":"{value}"}}"#));
            }
            let tags = r#""tags":{"L":[{"S":"new"},{"M":{"vip":{"BOOL":true},"note":{"S":"a \"quoted\" word"}}}]}"#;
            format!(
                r#"{{"awsRegion":"eu-west-1","eventID":"{at:032x}","eventName":"INSERT","eventSource":"aws:dynamodb","eventVersion":"1.1","dynamodb":{{"ApproximateCreationDateTime":1.767225600E9,"Keys":{{"pk":{{"S":"order#{at:08}"}}}},"NewImage":{{{image},{tags}}},"SequenceNumber":"{}","SizeBytes":742,"StreamViewType":"NEW_AND_OLD_IMAGES"}}}}"#,
                300_000_000_000_000_000_000u128 + u128::from(at)
            )
        })
        .collect();
    format!(
        r#"{{"NextShardIterator":"{}","Records":[{}]}}"#,
        "a".repeat(200),
        records.join(",")
    )
}

/// An answer of GetRecords of a Kinesis stream.
pub fn kinesis(records: u32) -> String {
    let records: Vec<String> = (0..records)
        .map(|at| {
            format!(
                r#"{{"ApproximateArrivalTimestamp":1.767225600123E9,"Data":"{}","PartitionKey":"key-{}","SequenceNumber":"4967123456789012345678901234567890123456789012{at:08}"}}"#,
                STANDARD.encode(text(at)),
                at % 64
            )
        })
        .collect();
    format!(
        r#"{{"MillisBehindLatest":0,"NextShardIterator":"{}","Records":[{}]}}"#,
        "a".repeat(200),
        records.join(",")
    )
}

/// An envelope of Aurora's audit log: queries for the most part, as one application sends them.
pub fn envelope(lines: u32) -> String {
    let mut rng = Rng::with_seed(8);
    let events: Vec<String> = (0..lines)
        .map(|at| {
            let millis = MILLIS + u64::from(at) * 3;
            let micros = millis * 1000 + rng.u64(..1000);
            let (connection, query) = (rng.u32(1_000..2_000), 900_000 + at);
            let row = |operation: &str, rest: &str| {
                format!("{micros},shop-1,app_{},10.0.{}.17,{connection},{query},{operation},{rest}", at % 3, at % 7)
            };
            let (order, customer) = (rng.u32(..10_000_000), rng.u32(..100_000));
            let line = match at % 10 {
                0 => row("CONNECT", "shop,,0"),
                1 => row(
                    "QUERY",
                    &format!(r"shop,'UPDATE orders SET note = \'{}\', total = {customer}.50 WHERE id = {order}',0", words(order.into(), 40)),
                ),
                2 => row("QUERY", r#"shop,'SET NAMES "utf8mb4"',0"#),
                _ => row(
                    "QUERY",
                    &format!(
                        "shop,'SELECT o.id, o.total, o.created_at, c.name FROM orders o JOIN customers c ON c.id = o.customer_id WHERE o.id = {order} AND c.id = {customer} LIMIT 1',0"
                    ),
                ),
            };
            let line = line.replace('\\', "\\\\").replace('"', "\\\"");
            format!(r#"{{"id":"39{:054}","timestamp":{millis},"message":"{line}"}}"#, u128::from(at) * 7_919)
        })
        .collect();
    format!(
        r#"{{"messageType":"DATA_MESSAGE","owner":"111122223333","logGroup":"/aws/rds/cluster/shop/audit","logStream":"shop-1.audit.log.3.2026-01-01-00-00.0.0","subscriptionFilters":["audit"],"logEvents":[{}]}}"#,
        events.join(",")
    )
}

/// As CloudWatch Logs packs it.
pub fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzBuilder::new().write(Vec::new(), Compression::new(6));
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// An aggregate of the Kinesis Producer Library: records of 1 KB with a few keys.
pub fn aggregate(parts: u32) -> Vec<u8> {
    const KEYS: u32 = 4;
    fn varint(out: &mut Vec<u8>, mut value: usize) {
        while value >= 0x80 {
            out.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }
    fn bytes(out: &mut Vec<u8>, field: u8, value: &[u8]) {
        out.push(field << 3 | 2);
        varint(out, value.len());
        out.extend(value);
    }
    let mut message = Vec::new();
    for key in 0..KEYS {
        bytes(&mut message, 1, format!("key-{key}").as_bytes());
    }
    for at in 0..parts {
        let mut record = vec![1 << 3, (at % KEYS) as u8];
        bytes(&mut record, 3, text(at).as_bytes());
        bytes(&mut message, 3, &record);
    }
    let magic = [0xf3, 0x89, 0x9a, 0xc2];
    [&magic[..], &message, &Md5::digest(&message)[..]].concat()
}
