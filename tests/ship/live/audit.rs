//! A database whose audit log comes by a Kinesis stream, line by line, while a test does its worst.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, StreamStatus};

use crate::clients;
use crate::load::now;
use crate::tally;
use crate::until::until;
use crate::world::World;

pub const STREAM: &str = "rds-audit";
pub const GROUP: &str = "/db/shop/audit";
pub const SHARDS: i32 = 4;
/// Lines of one request.
const LINES: usize = 10;
const PACE: Duration = Duration::from_millis(100);

pub struct Audit {
    task: tokio::task::JoinHandle<usize>,
    end: Arc<AtomicBool>,
}

impl Audit {
    pub async fn start(world: &World) -> Self {
        let kinesis = clients::kinesis(world.emulator.address);
        let create = kinesis.create_stream().stream_name(STREAM);
        create.shard_count(SHARDS).send().await.unwrap();
        until("the stream to be active", Duration::from_secs(60), async || {
            let asked = kinesis.describe_stream_summary().stream_name(STREAM);
            let answer = asked.send().await.unwrap();
            answer.stream_description_summary.unwrap().stream_status == StreamStatus::Active
        })
        .await;
        let end = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(write(kinesis, end.clone()));
        Self { task, end }
    }

    /// How many lines the database wrote.
    pub async fn ended(self) -> usize {
        self.end.store(true, Relaxed);
        self.task.await.unwrap()
    }
}

/// Writes lines with the query ids 0, 1, 2 …; returns how many.
async fn write(kinesis: Client, end: Arc<AtomicBool>) -> usize {
    let mut next = 0;
    while !end.load(Relaxed) {
        let lines = (next..next + LINES).map(|n| {
            let line = format!(
                "{}000,shop-1,app,10.1.2.3,17,{n},QUERY,shop,'UPDATE t SET a=1',0",
                now()
            );
            let entry = PutRecordsRequestEntry::builder().partition_key(n.to_string());
            entry.data(Blob::new(line)).build().unwrap()
        });
        let put = kinesis.put_records().stream_name(STREAM);
        let answer = put.set_records(Some(lines.collect())).send().await.unwrap();
        assert_eq!(
            answer.failed_record_count.unwrap_or(0),
            0,
            "the emulator has no limits"
        );
        next += LINES;
        tokio::time::sleep(PACE).await;
    }
    next
}

/// The query ids in the log group, in their order.
pub async fn delivered(world: &World) -> Vec<usize> {
    let logs = clients::logs(world.emulator.address);
    let messages = tally::messages(&logs, GROUP).await.into_iter();
    let mut ids: Vec<usize> = messages
        .map(|message| {
            let line: serde_json::Value = serde_json::from_str(&message.text).unwrap();
            line["queryid"].as_u64().unwrap_or_else(|| panic!("{line}")) as usize
        })
        .collect();
    ids.sort_unstable();
    ids
}
