//! What the canned records hold: of the make that the real services send, with what a JSON writer has to escape.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fastrand::Rng;
use flate2::Compression;
use flate2::write::GzEncoder;
use md5::{Digest as _, Md5};

use crate::options::{Fake, Kind};

/// Text as people type it, in pieces of JSON that must not be cut. About one in thirty is escaped or not ASCII.
const TEXT: &[&str] = &[
    "Please ring twice, ",
    "the bell says ",
    r#"\"Müller\""#,
    " and the parcel goes to the second floor",
    r"\n",
    "Gate code 4711#, ",
    "leave it behind the shed if nobody opens; ",
    r"C:\\orders\\in",
    " was imported on Monday. ",
    "日本",
    " 12 pieces, net 30 days, ",
    "reference A/2025-17, ",
    r"\t",
    "checked by k.lee@example.com ",
];

/// A JSON string's inside of exactly so many bytes.
fn text(rng: &mut Rng, length: usize) -> String {
    let mut text = String::with_capacity(length);
    loop {
        let piece = TEXT[rng.usize(..TEXT.len())];
        if text.len() + piece.len() > length {
            break;
        }
        text.push_str(piece);
    }
    while text.len() < length {
        text.push(char::from(rng.u8(b'a'..=b'z')));
    }
    text
}

/// `Keys`, `NewImage` and `OldImage` of a change, together so many bytes of JSON.
pub fn images(rng: &mut Rng, size: usize) -> (String, String, String) {
    let keys = format!(r#"{{"id":{{"S":"order-{:08}"}}}}"#, rng.u32(..100_000_000));
    let inner = &keys[1..keys.len() - 1];
    let mut image = |status: &str, length: usize| {
        let head = if length < 300 {
            format!(r#"{{{inner},"total":{{"N":"{}.90"}}"#, rng.u32(10..100))
        } else {
            format!(
                r#"{{{inner},"status":{{"S":"{status}"}},"total":{{"N":"{}.90"}},"paid":{{"BOOL":true}},"coupon":{{"NULL":true}},"lines":{{"L":[{{"M":{{"sku":{{"S":"A-{}"}},"count":{{"N":"2"}}}}}}]}}"#,
                rng.u32(100..1000),
                rng.u32(1000..10_000),
            )
        };
        let rest = length.saturating_sub(head.len() + r#","note":{"S":""}}"#.len());
        match rest {
            0 => head + "}",
            _ => format!(r#"{head},"note":{{"S":"{}"}}}}"#, text(rng, rest)),
        }
    };
    let each = size.saturating_sub(keys.len()) / 2;
    let new = image("shipped", each);
    let old = image("placed", each);
    (keys, new, old)
}

/// The bytes of a JSON document of this size.
fn document(rng: &mut Rng, size: usize) -> Vec<u8> {
    let head = format!(
        r#"{{"order":"order-{:08}","status":"shipped","total":{}.90,"note":""#,
        rng.u32(..100_000_000),
        rng.u32(100..1000)
    );
    let rest = size.saturating_sub(head.len() + 2);
    format!(r#"{head}{}"}}"#, text(rng, rest)).into_bytes()
}

const STATEMENTS: &[&str] = &[
    r"SELECT id, status, total FROM orders WHERE customer = 8812 AND placed > \'2025-01-01\' ORDER BY placed DESC LIMIT 50",
    r"INSERT INTO orders (id, customer, note) VALUES (17, 8812, \'ring twice, it\\\'s loud\')",
    r"UPDATE stock SET pieces = pieces - 2 WHERE sku = \'A-1000\' AND pieces >= 2",
    r"COMMIT",
    r"SELECT c.name, SUM(o.total) FROM customers c JOIN orders o ON o.customer = c.id\nGROUP BY c.name HAVING SUM(o.total) > 1000",
];

/// One line of Aurora MySQL's audit log, at this time.
fn line(rng: &mut Rng, micros: u64) -> String {
    let (connection, query) = (rng.u32(10..100_000), rng.u32(100_000..10_000_000));
    let head = format!(
        "{micros},shop-instance-1,app,10.0.{}.{},{connection}",
        rng.u8(..),
        rng.u8(..)
    );
    match rng.u8(..10) {
        0 => format!("{head},0,CONNECT,,,0"),
        1 => format!("{head},0,DISCONNECT,,,0"),
        2 => format!("{head},{query},WRITE,shop,orders,"),
        3 => format!("{head},{query},READ,shop,customers,"),
        _ => format!(
            "{head},{query},QUERY,shop,'{}',0",
            STATEMENTS[rng.usize(..STATEMENTS.len())]
        ),
    }
}

/// A subscription's envelope of audit lines as CloudWatch Logs sends it: gzip of level 6.
fn envelope(rng: &mut Rng, lines: usize, millis: u64) -> Vec<u8> {
    // The fields in the order in which CloudWatch Logs writes them, which a map of serde_json's doesn't keep.
    let events: Vec<String> = (0..lines)
        .map(|n| {
            let at = millis + n as u64;
            let micros = at * 1000 + rng.u64(..1000);
            let id = format!("38{:054}", u128::from(rng.u64(..)) << 50 | n as u128);
            let message = serde_json::Value::from(line(rng, micros));
            format!(r#"{{"id":"{id}","timestamp":{at},"message":{message}}}"#)
        })
        .collect();
    let events = events.join(",");
    let json = format!(
        r#"{{"messageType":"DATA_MESSAGE","owner":"111122223333","logGroup":"/aws/rds/cluster/shop/audit","logStream":"shop-instance-1.audit.log.0.2025-01-01-00-00.0.0","subscriptionFilters":["weir"],"logEvents":[{events}]}}"#
    );
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    // Into memory: there is nothing that could fail.
    let _ = encoder.write_all(json.as_bytes());
    encoder.finish().unwrap_or_default()
}

fn varint(into: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

fn field(into: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    into.push(number << 3 | 2);
    varint(into, bytes.len());
    into.extend_from_slice(bytes);
}

/// An aggregate of the Kinesis Producer Library: so many user records of this size.
fn aggregate(rng: &mut Rng, count: usize, size: usize) -> Vec<u8> {
    let mut message = Vec::new();
    for n in 0..count {
        field(&mut message, 1, format!("key-{n}").as_bytes());
    }
    for n in 0..count {
        let mut record = vec![1 << 3];
        varint(&mut record, n);
        field(&mut record, 3, &document(rng, size));
        field(&mut message, 3, &record);
    }
    let digest = Md5::digest(&message);
    [&[0xf3, 0x89, 0x9a, 0xc2], message.as_slice(), digest.as_slice()].concat()
}

/// Some Kinesis records of the kind: the length of their data, and that in base64. They are given in turn.
pub fn data(rng: &mut Rng, of: &Fake, millis: u64) -> Vec<(usize, String)> {
    (0..64)
        .map(|_| {
            let data = match of.kind {
                Kind::Audit => envelope(rng, of.lines, millis),
                Kind::Kpl => aggregate(rng, of.aggregate, of.size),
                Kind::Plain | Kind::Change => document(rng, of.size),
            };
            (data.len(), STANDARD.encode(data))
        })
        .collect()
}
