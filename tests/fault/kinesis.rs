//! A Kinesis stream whose shards split and merge while records of every kind are written.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, Shard, StreamStatus};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use md5::Digest as _;

use crate::clients;
use crate::emulator::{Emulator, KinesisLocal, free_address};
use crate::tally::{self, Message};
use crate::weir::{self, Weir};
use crate::{setting, until};

const STREAM: &str = "mixed";
const GROUP: &str = "/kinesis/mixed";
/// Log events of one record, at most.
const MOST_UNITS: u32 = 4;
/// PutRecords takes no more.
const BATCH: usize = 500;

/// What a key's record of one step is made of. Each holds one or more units, `unit:<key>:<n>;`, which are what a
/// reader of the log finds again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Json,
    Text,
    Bytes,
    GzipText,
    Aggregate,
    Envelope,
    Control,
    Change,
    DamagedAggregate,
}

const KINDS: [Kind; 9] = [
    Kind::Json,
    Kind::Text,
    Kind::Bytes,
    Kind::GzipText,
    Kind::Aggregate,
    Kind::Envelope,
    Kind::Control,
    Kind::Change,
    Kind::DamagedAggregate,
];

impl Kind {
    fn units(self) -> u32 {
        match self {
            Self::Control => 0,
            Self::Aggregate | Self::Envelope => MOST_UNITS,
            _ => 1,
        }
    }

    /// The record's bytes, with the units from `n` on.
    fn record(self, key: &str, n: u32, now: i64) -> Vec<u8> {
        let unit = |n: u32| format!("unit:{key}:{n};");
        match self {
            Self::Json => serde_json::json!({ "is": unit(n), "blank": "x".repeat(40) })
                .to_string()
                .into_bytes(),
            Self::Text => format!("a line of text, {} and no more", unit(n)).into_bytes(),
            Self::Bytes => [b"\xff\xfe\x00", unit(n).as_bytes()].concat(),
            Self::GzipText => gzip(unit(n).as_bytes()),
            Self::Aggregate => aggregate(
                key,
                &(0..MOST_UNITS)
                    .map(|i| unit(n + i).into_bytes())
                    .collect::<Vec<_>>(),
            ),
            Self::Envelope => {
                let events: Vec<_> = (0..MOST_UNITS)
                    .map(|i| serde_json::json!({ "id": format!("{n}-{i}"), "timestamp": now, "message": unit(n + i) }))
                    .collect();
                gzip(envelope("DATA_MESSAGE", &events).as_bytes())
            }
            Self::Control => {
                let event = serde_json::json!({ "id": "", "timestamp": now, "message": "CWL CONTROL MESSAGE" });
                gzip(envelope("CONTROL_MESSAGE", &[event]).as_bytes())
            }
            Self::Change => serde_json::json!({
                "awsRegion": clients::REGION, "eventID": "e", "eventName": "INSERT", "userIdentity": null,
                "recordFormat": "application/json", "tableName": "orders", "eventSource": "aws:dynamodb",
                "dynamodb": { "ApproximateCreationDateTime": now, "Keys": { "id": { "S": unit(n) } }, "SizeBytes": 9 }
            })
            .to_string()
            .into_bytes(),
            Self::DamagedAggregate => {
                let mut bytes = aggregate(key, &[unit(n).into_bytes()]);
                let last = bytes.len() - 1;
                bytes[last] ^= 1;
                bytes
            }
        }
    }
}

fn envelope(kind: &str, events: &[serde_json::Value]) -> String {
    serde_json::json!({
        "messageType": kind, "owner": "111122223333", "logGroup": "/app/one", "logStream": "s",
        "subscriptionFilters": ["f"], "logEvents": events
    })
    .to_string()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// As the Kinesis Producer Library makes it: magic, protobuf, MD5.
fn aggregate(key: &str, parts: &[Vec<u8>]) -> Vec<u8> {
    fn field(number: u8, bytes: &[u8], into: &mut Vec<u8>) {
        into.push(number << 3 | 2);
        let mut length = bytes.len();
        while length >= 0x80 {
            into.push(length as u8 | 0x80);
            length >>= 7;
        }
        into.push(length as u8);
        into.extend(bytes);
    }
    let mut body = Vec::new();
    field(1, key.as_bytes(), &mut body);
    for part in parts {
        let mut record = vec![1 << 3, 0];
        field(3, part, &mut record);
        field(3, &record, &mut body);
    }
    let digest = md5::Md5::digest(&body);
    [&[0xf3, 0x89, 0x9a, 0xc2], body.as_slice(), digest.as_slice()].concat()
}

/// The stream in one emulator, or in that of everything else.
struct World {
    emulator: Emulator,
    stream: Option<KinesisLocal>,
    kinesis: Client,
    logs: aws_sdk_cloudwatchlogs::Client,
    // Dropped last: the others have files in it.
    dir: tempfile::TempDir,
}

impl World {
    /// `resharding`: the emulator whose shards split and merge rightly, which pushes no records to their end.
    async fn new(shards: i32, resharding: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let emulator = Emulator::start(dir.path()).await;
        let stream = match resharding {
            true => Some(KinesisLocal::start(dir.path()).await),
            false => None,
        };
        let address = stream.as_ref().map_or(emulator.address, |stream| stream.address);
        let kinesis = clients::kinesis(address);
        kinesis
            .create_stream()
            .stream_name(STREAM)
            .shard_count(shards)
            .send()
            .await
            .unwrap();
        let world = Self {
            logs: clients::logs(emulator.address),
            emulator,
            stream,
            kinesis,
            dir,
        };
        world.active().await;
        world
    }

    async fn active(&self) {
        until("the stream to be active", Duration::from_secs(60), async || {
            let asked = self.kinesis.describe_stream_summary().stream_name(STREAM);
            let answer = asked.send().await.unwrap();
            let summary = answer.stream_description_summary.unwrap();
            summary.stream_status == StreamStatus::Active
        })
        .await;
    }

    fn run(&self, number: usize, more: &[&str]) -> Weir {
        let http: SocketAddr = free_address();
        let kinesis = self.stream.as_ref().map_or(self.emulator.address, |s| s.address);
        let mut command = weir::command(self.dir.path());
        command
            .env("AWS_ENDPOINT_URL", format!("http://{}", self.emulator.address))
            .env("AWS_ENDPOINT_URL_KINESIS", format!("http://{kinesis}"))
            .env("AWS_REGION", clients::REGION)
            .env("AWS_ACCESS_KEY_ID", clients::ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .args(["run", "--kinesis-stream", STREAM, "--log-group", GROUP])
            .args(["--http-address", &http.to_string(), "--log-format", "text"])
            .args(more);
        Weir::start(command, http, &self.dir.path().join(format!("weir-{number}.log")))
    }

    async fn open_shards(&self) -> Vec<Shard> {
        let listing = self
            .kinesis
            .list_shards()
            .stream_name(STREAM)
            .send()
            .await
            .unwrap();
        let mut shards = listing.shards.unwrap();
        let is_open = |s: &Shard| {
            let range = s.sequence_number_range.as_ref();
            range.is_none_or(|r| r.ending_sequence_number.is_none())
        };
        shards.retain(is_open);
        shards.sort_by_key(|s| bounds(s).0);
        shards
    }

    /// Splits the widest shard, or merges two neighbours.
    async fn reshard(&self, split: bool) {
        let open = self.open_shards().await;
        if split {
            let widest = open
                .iter()
                .max_by_key(|s| bounds(s).1 - bounds(s).0)
                .expect("a stream has shards");
            let (low, high) = bounds(widest);
            let asked = self.kinesis.split_shard().stream_name(STREAM);
            asked
                .shard_to_split(&widest.shard_id)
                .new_starting_hash_key((low + (high - low) / 2).to_string())
                .send()
                .await
                .unwrap();
        } else {
            let pair = open.windows(2).next().expect("several shards are open");
            let asked = self.kinesis.merge_shards().stream_name(STREAM);
            asked
                .shard_to_merge(&pair[0].shard_id)
                .adjacent_shard_to_merge(&pair[1].shard_id)
                .send()
                .await
                .unwrap();
        }
        self.active().await;
    }

    /// Waits until every unit is in the log, and each key's in their order; returns how many are there twice.
    /// Whoever delivers nothing for a minute hangs.
    async fn all_delivered(&self, workers: &mut [Weir], expected: &BTreeMap<String, u32>) -> usize {
        let all: usize = expected.values().map(|n| *n as usize).sum();
        let (mut most, mut moved) = (0, Instant::now());
        let events = loop {
            for worker in workers.iter_mut() {
                worker.must_live();
            }
            let events = tally::messages(&self.logs, GROUP).await;
            if events.len() > most {
                (most, moved) = (events.len(), Instant::now());
            }
            // A hang shows what is missing.
            if most >= all || moved.elapsed() > Duration::from_secs(60) {
                break events;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        };
        let mut found: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut repeats = 0;
        for Message { stream, text, .. } in &events {
            assert_ne!(stream, "dead-letter", "{text}");
            let (key, n) = unit(text);
            match seen.insert((key.clone(), n)) {
                true => found.entry(key).or_default().push(n),
                false => repeats += 1,
            }
        }
        println!("{} of {all} events are in the log, {repeats} repeats", seen.len());
        let wrong: Vec<_> = expected
            .iter()
            .filter(|(key, n)| !found.get(*key).is_some_and(|f| f.iter().copied().eq(0..**n)))
            .collect();
        assert!(
            wrong.is_empty(),
            "{} keys lack units, or have them out of order: {:?}",
            wrong.len(),
            wrong
                .iter()
                .take(3)
                .map(|(key, n)| (key, n, &found[*key]))
                .collect::<Vec<_>>()
        );
        repeats
    }
}

fn bounds(shard: &Shard) -> (u128, u128) {
    let range = shard.hash_key_range.as_ref().unwrap();
    (
        range.starting_hash_key.parse().unwrap(),
        range.ending_hash_key.parse().unwrap(),
    )
}

/// The unit in a message, whatever form it came out in.
fn unit(message: &str) -> (String, u32) {
    let inside = match serde_json::from_str::<serde_json::Value>(message) {
        Ok(json) if json["encoding"] == "base64" => {
            let bytes = STANDARD.decode(json["data"].as_str().unwrap()).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        }
        _ => message.to_owned(),
    };
    let (_, after) = inside.split_once("unit:").unwrap_or_else(|| panic!("{message}"));
    let (unit, _) = after.split_once(';').unwrap_or_else(|| panic!("{message}"));
    let (key, n) = unit.split_once(':').unwrap();
    (key.to_owned(), n.parse().unwrap())
}

/// Writes `steps` records of each of `keys`, all of a step before the next, and goes on while `more` says so; returns
/// the units of each key, and how many requests may have been carried out without an answer.
///
/// `pause` lies between two steps: an emulator may round the time of an arrival up to the next millisecond, which
/// must not lie behind what the next step says of itself.
async fn write(
    kinesis: &Client,
    keys: usize,
    steps: usize,
    pause: Duration,
    seed: u64,
    more: impl Fn() -> bool,
) -> (BTreeMap<String, u32>, usize) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut unsure = 0;
    let mut next: BTreeMap<String, u32> = (0..keys).map(|k| (format!("k{k:04}"), 0)).collect();
    let mut step = 0;
    while step < steps || more() {
        step += 1;
        tokio::time::sleep(pause).await;
        let now = std::time::SystemTime::now();
        let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
        let mut entries = Vec::new();
        for (key, n) in &mut next {
            let kind = KINDS[rng.usize(0..KINDS.len())];
            let entry = PutRecordsRequestEntry::builder()
                .partition_key(key)
                .data(Blob::new(kind.record(key, *n, now)));
            entries.push(entry.build().unwrap());
            *n += kind.units();
        }
        for batch in entries.chunks(BATCH) {
            let mut open = batch.to_vec();
            while !open.is_empty() {
                let asked = kinesis.put_records().stream_name(STREAM);
                let answer = match asked.set_records(Some(open.clone())).send().await {
                    Ok(answer) => answer,
                    // The emulator under load. What it may have taken all the same comes twice then.
                    Err(error) => {
                        println!("PutRecords: {error:?}");
                        unsure += 1;
                        tokio::time::sleep(Duration::from_millis(200)).await;
                        continue;
                    }
                };
                let refused = answer.records().iter().map(|r| r.error_code.is_some());
                let mut refused: Vec<bool> = refused.collect();
                open.retain(|_| refused.remove(0));
                if !open.is_empty() {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
    (next, unsure)
}

#[tokio::test(flavor = "multi_thread")]
async fn mixed_records_go_through_splits_and_merges_in_order() {
    let records: usize = setting("WEIR_FAULT_KINESIS_RECORDS", 6_000);
    let reshards: usize = setting("WEIR_FAULT_KINESIS_RESHARDS", 6);
    let keys = 200;
    let world = World::new(4, true).await;
    let mut workers = [world.run(0, &[]), world.run(1, &[])];
    for worker in &mut workers {
        worker.ready().await;
    }
    let resharded = Arc::new(AtomicBool::new(false));
    let writer = {
        let (kinesis, resharded) = (world.kinesis.clone(), resharded.clone());
        let more = move || !resharded.load(Relaxed);
        tokio::spawn(async move {
            write(
                &kinesis,
                keys,
                records / keys,
                Duration::from_millis(100),
                7,
                more,
            )
            .await
        })
    };
    let began = Instant::now();
    for done in 0..reshards {
        world.reshard(done % 2 == 0).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    resharded.store(true, Relaxed);
    let (expected, unsure) = writer.await.unwrap();
    println!(
        "{reshards} reshards while records were written for {:?}",
        began.elapsed()
    );
    let repeats = world.all_delivered(&mut workers, &expected).await;
    if unsure == 0 {
        assert_eq!(repeats, 0, "nothing failed, so nothing repeats");
    }
    let (mut damaged, mut controls) = (0.0, 0.0);
    for worker in &workers {
        damaged += worker.metric("weir_aggregates_damaged_total").await.unwrap();
        controls += worker.metric("weir_records_filtered_total").await.unwrap();
    }
    println!("{damaged} damaged aggregates, {controls} control messages");
    assert!(damaged > 0.0 && controls > 0.0);
    for worker in &mut workers {
        worker.terminate();
        assert!(worker.ended().await.success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_pushed_and_a_death_loses_none() {
    let records: usize = setting("WEIR_FAULT_FAN_OUT_RECORDS", 3_000);
    let keys = 100;
    let world = World::new(3, false).await;
    let start = |number| world.run(number, &["--fan-out"]);
    let mut workers = [start(0)];
    workers[0].ready().await;
    let writer = {
        let kinesis = world.kinesis.clone();
        tokio::spawn(async move {
            write(
                &kinesis,
                keys,
                records / keys,
                Duration::from_millis(150),
                11,
                || false,
            )
            .await
        })
    };
    workers[0].first_delivery().await;
    // Two subscribers of one name: the second takes over what the first held.
    let [first] = workers;
    first.kill_nine();
    let mut workers = [start(1)];
    let (expected, _) = writer.await.unwrap();
    let repeats = world.all_delivered(&mut workers, &expected).await;
    println!("{repeats} repeats after the death");
    let consumers = world.kinesis.list_stream_consumers();
    let summary = world.kinesis.describe_stream_summary().stream_name(STREAM);
    let summary = summary.send().await.unwrap().stream_description_summary.unwrap();
    let consumers = consumers.stream_arn(summary.stream_arn).send().await.unwrap();
    let names: Vec<_> = consumers.consumers().iter().map(|c| c.consumer_name()).collect();
    assert_eq!(names, ["weir-mixed"], "one consumer, registered once");
    for worker in &mut workers {
        worker.terminate();
        assert!(worker.ended().await.success());
    }
}
