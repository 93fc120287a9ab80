//! Writers that change the table while a test does its worst.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use tokio::task::JoinSet;

use crate::world::TABLE;

/// BatchWriteItem takes no more. Each item of a batch is a change of its own in the stream.
const BATCH: usize = 25;

/// What is to be written: each of `keys` items goes through the versions 1 to `versions`.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub keys: usize,
    pub versions: u32,
    /// Bytes added to each item, so that a backlog weighs something.
    pub padding: usize,
    /// The time over which the changes are spread.
    pub over: Duration,
}

impl Plan {
    pub fn changes(&self) -> usize {
        self.keys * self.versions as usize
    }
}

/// Several writers at work. Each has keys of its own and waits for each answer, so that the versions of a key are
/// in order in the stream.
pub struct Writers {
    tasks: JoinSet<()>,
    written: Arc<AtomicUsize>,
}

impl Writers {
    pub fn start(client: &Client, plan: Plan) -> Self {
        let written = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        let start = Instant::now();
        for writer in 0..WRITERS {
            let client = client.clone();
            let written = written.clone();
            tasks.spawn(async move {
                let own: Vec<usize> = (0..plan.keys).filter(|k| k % WRITERS == writer).collect();
                let total = own.len() * plan.versions as usize;
                let mut done = 0;
                for version in 1..=plan.versions {
                    for keys in own.chunks(BATCH) {
                        put(&client, keys, version, plan.padding).await;
                        done += keys.len();
                        written.fetch_add(keys.len(), Relaxed);
                        let due = start + plan.over.mul_f64(done as f64 / total as f64);
                        tokio::time::sleep_until(due.into()).await;
                    }
                }
            });
        }
        Self { tasks, written }
    }

    /// How many changes the table has taken so far.
    pub fn written(&self) -> usize {
        self.written.load(Relaxed)
    }

    pub async fn done(&mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }
}

const WRITERS: usize = 4;

async fn put(client: &Client, keys: &[usize], version: u32, padding: usize) {
    let requests = keys.iter().map(|key| {
        let put = PutRequest::builder()
            .item("id", AttributeValue::S(format!("order-{key:05}")))
            .item("version", AttributeValue::N(version.to_string()))
            .item("note", AttributeValue::S("x".repeat(padding)));
        WriteRequest::builder().put_request(put.build().unwrap()).build()
    });
    let answer = client
        .batch_write_item()
        .request_items(TABLE, requests.collect())
        .send()
        .await
        .unwrap();
    // Never seen on the emulator, which has no throughput to exceed.
    assert!(
        answer.unprocessed_items().is_none_or(|left| left.is_empty()),
        "items left unwritten"
    );
}
