//! Writers that change tables until they are told to end, for tests that last as long as what they watch.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use tokio::task::JoinSet;

/// The time in ms since 1970, as the items of a load tell it.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// How fast each table changes.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Items of each table, 25 at most; each goes through the versions 1, 2, 3 …
    pub keys: usize,
    /// Between two versions of a table's items.
    pub every: Duration,
}

/// Writes to every table until it is told to end.
pub struct Load {
    pace: Pace,
    tasks: JoinSet<()>,
    end: Arc<AtomicBool>,
    versions: Vec<(String, Arc<AtomicU32>)>,
}

impl Load {
    pub fn start(client: &Client, tables: &[String], pace: Pace) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        let mut versions = Vec::new();
        for (n, table) in tables.iter().enumerate() {
            let (client, end, table) = (client.clone(), end.clone(), table.clone());
            let version = Arc::new(AtomicU32::new(0));
            versions.push((table.clone(), version.clone()));
            // Not all at the same moment.
            let turn = pace.every.mul_f64(n as f64 / tables.len() as f64);
            tasks.spawn(async move {
                tokio::time::sleep(turn).await;
                while !end.load(Relaxed) {
                    let next = version.load(Relaxed) + 1;
                    put(&client, &table, pace.keys, next).await;
                    version.store(next, Relaxed);
                    tokio::time::sleep(pace.every).await;
                }
            });
        }
        Self {
            pace,
            tasks,
            end,
            versions,
        }
    }

    /// The last version of each key.
    pub async fn ended(mut self) -> BTreeMap<String, u32> {
        self.end.store(true, Relaxed);
        while let Some(task) = self.tasks.join_next().await {
            task.unwrap();
        }
        let keys = self.versions.iter().flat_map(|(table, version)| {
            let last = version.load(Relaxed);
            (0..self.pace.keys).map(move |n| (key(table, n), last))
        });
        keys.collect()
    }
}

fn key(table: &str, n: usize) -> String {
    format!("{table}-{n}")
}

async fn put(client: &Client, table: &str, keys: usize, version: u32) {
    let requests = (0..keys).map(|n| {
        let put = PutRequest::builder()
            .item("id", AttributeValue::S(key(table, n)))
            .item("version", AttributeValue::N(version.to_string()))
            .item("note", AttributeValue::S(now().to_string()));
        WriteRequest::builder().put_request(put.build().unwrap()).build()
    });
    let answer = client.batch_write_item().request_items(table, requests.collect());
    answer.send().await.unwrap();
}
