//! The least that the job can cost: every byte of the stream is received and as many are sent, in signed requests, and
//! nobody looks at them.
//!
//! It does: a task and a connection for each shard; iterators, GetRecords one after the other, each signed; PutLogEvents
//! of full batches, each hashed and signed anew, while the next answer is fetched. It doesn't: find a record in an
//! answer, copy or escape one, keep a lease or a checkpoint, retry, use TLS, use a second thread. Its bodies are one
//! constant text, and no more answers are in memory than a few. With `--inflate` it finds the records of the answer,
//! decodes their base64 and inflates them into a buffer, which it drops.

use std::io::Read as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::{memchr, memmem};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::http;
use crate::options::{Floor, Kind};
use crate::sign::Signer;
use crate::stats::cpu;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// What one shard took.
#[derive(Clone, Copy, Default)]
struct Took {
    received: u64,
    sent: u64,
    gets: u64,
    puts: u64,
    inflated: u64,
}

/// So many answers are awaited at a time, and so many puts.
const AT_ONCE: usize = 16;

/// One connection, on which requests go one after the other.
struct Client {
    wire: TcpStream,
    host: String,
    signer: Signer,
}

/// What all shards share.
struct Shared {
    of: Floor,
    /// Of the answers of GetRecords. There are as many as may be awaited.
    buffers: Mutex<Vec<Vec<u8>>>,
    turns: Semaphore,
    logs: Vec<tokio::sync::Mutex<Client>>,
    /// The body of every put.
    text: Vec<u8>,
}

fn time() -> String {
    jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string()
}

impl Client {
    async fn new(of: &Floor, service: &'static str) -> Result<Self, Error> {
        let wire = TcpStream::connect(of.fake).await?;
        wire.set_nodelay(true)?;
        Ok(Self {
            wire,
            host: of.fake.to_string(),
            signer: Signer::new(service, "test", &time()[..8]),
        })
    }

    /// The body of the answer, which lies in the buffer.
    async fn ask<'a>(
        &mut self,
        target: &str,
        body: &[u8],
        buffer: &'a mut Vec<u8>,
    ) -> Result<&'a [u8], Error> {
        let (host, time) = (&self.host, time());
        let signature = self.signer.authorization(host, &time, target, body);
        let head = format!(
            "POST / HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\
             x-amz-date: {time}\r\nx-amz-target: {target}\r\nauthorization: {signature}\r\n\r\n",
            body.len()
        );
        self.wire.write_all(head.as_bytes()).await?;
        self.wire.write_all(body).await?;
        buffer.clear();
        let head = http::head(&mut self.wire, buffer)
            .await
            .ok_or("the fake hung up")?;
        http::body(&mut self.wire, buffer, &head)
            .await
            .ok_or("the fake hung up")?;
        let answer = &buffer[head.body..head.end];
        if !head.first.contains(" 200 ") {
            return Err(format!("{target}: {}: {}", head.first, String::from_utf8_lossy(answer)).into());
        }
        Ok(answer)
    }
}

pub fn run(of: Floor) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let took = match runtime
        .map_err(Error::from)
        .and_then(|runtime| runtime.block_on(all(of)))
    {
        Ok(took) => took,
        Err(error) => {
            eprintln!("rig: the floor: {error}");
            std::process::exit(1);
        }
    };
    println!(
        "{}",
        json!({
            "cpu_s": cpu(), "received": took.received, "sent": took.sent, "gets": took.gets, "puts": took.puts,
            "inflated": took.inflated,
        })
    );
}

async fn all(of: Floor) -> Result<Took, Error> {
    let mut logs = Vec::new();
    for _ in 0..AT_ONCE.min(of.shards) {
        logs.push(tokio::sync::Mutex::new(Client::new(&of, "logs").await?));
    }
    let mut answer = Vec::new();
    let client = logs[0].get_mut();
    let group = br#"{"logGroupName":"floor"}"#;
    client
        .ask("Logs_20140328.CreateLogGroup", group, &mut answer)
        .await?;
    let stream = br#"{"logGroupName":"floor","logStreamName":"all"}"#;
    client
        .ask("Logs_20140328.CreateLogStream", stream, &mut answer)
        .await?;
    let ids = shards(&of).await?;
    let mut text = PUT.to_vec();
    text.resize(text.len().max(of.put), b' ');
    let shared = Arc::new(Shared {
        of,
        buffers: Mutex::default(),
        turns: Semaphore::new(AT_ONCE),
        logs,
        text,
    });
    let mut tasks = tokio::task::JoinSet::new();
    for (n, id) in ids.into_iter().enumerate() {
        tasks.spawn(shard(shared.clone(), n, id));
    }
    let mut sum = Took::default();
    while let Some(ended) = tasks.join_next().await {
        let took = ended??;
        sum.received += took.received;
        sum.sent += took.sent;
        sum.gets += took.gets;
        sum.puts += took.puts;
        sum.inflated += took.inflated;
    }
    Ok(sum)
}

fn prefix(kind: Kind) -> (&'static str, &'static str) {
    if kind.is_kinesis() {
        ("kinesis", "Kinesis_20131202")
    } else {
        ("dynamodb", "DynamoDBStreams_20120810")
    }
}

const TABLE: &str = "arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/2025-01-01T00:00:00.000";

/// A batch of nothing; what follows it is white.
const PUT: &[u8] = br#"{"logGroupName":"floor","logStreamName":"all","logEvents":[]}"#;

async fn shards(of: &Floor) -> Result<Vec<String>, Error> {
    let (service, api) = prefix(of.kind);
    let mut client = Client::new(of, service).await?;
    let (mut ids, mut buffer) = (Vec::new(), Vec::new());
    while ids.len() < of.shards {
        let last = ids.last().cloned();
        let (operation, request) = match of.kind {
            Kind::Change => (
                "DescribeStream",
                json!({ "StreamArn": TABLE, "ExclusiveStartShardId": last }),
            ),
            _ => (
                "ListShards",
                json!({ "StreamName": "orders", "ExclusiveStartShardId": last }),
            ),
        };
        let answer = client
            .ask(
                &format!("{api}.{operation}"),
                request.to_string().as_bytes(),
                &mut buffer,
            )
            .await?;
        let answer: Value = serde_json::from_slice(answer)?;
        let shards = answer["Shards"]
            .as_array()
            .or(answer["StreamDescription"]["Shards"].as_array());
        let page = shards
            .into_iter()
            .flatten()
            .filter_map(|shard| shard["ShardId"].as_str().map(str::to_owned));
        let before = ids.len();
        ids.extend(page);
        if ids.len() == before {
            return Err(format!("the fake has {before} shards, not {}", of.shards).into());
        }
    }
    Ok(ids)
}

impl Shared {
    /// Sends what is due in full batches; at the end also the rest.
    async fn send(&self, shard: usize, due: &mut f64, took: &mut Took, is_end: bool) -> Result<(), Error> {
        let mut answer = Vec::new();
        while *due >= self.text.len() as f64 || (is_end && *due >= 1.0) {
            let length = (*due as usize).clamp(PUT.len(), self.text.len());
            let mut logs = self.logs[shard % self.logs.len()].lock().await;
            let body = &self.text[..length];
            logs.ask("Logs_20140328.PutLogEvents", body, &mut answer).await?;
            *due -= length as f64;
            took.puts += 1;
            took.sent += length as u64;
        }
        Ok(())
    }

    fn buffers(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn shard(shared: Arc<Shared>, n: usize, id: String) -> Result<Took, Error> {
    let of = &shared.of;
    let (service, api) = prefix(of.kind);
    let mut source = Client::new(of, service).await?;
    let mut small = Vec::new();
    let request = json!({ "StreamArn": TABLE, "StreamName": "orders", "ShardId": id, "ShardIteratorType": "TRIM_HORIZON" });
    let answer = source
        .ask(
            &format!("{api}.GetShardIterator"),
            request.to_string().as_bytes(),
            &mut small,
        )
        .await?;
    let answer: Value = serde_json::from_slice(answer)?;
    let mut iterator = answer["ShardIterator"].as_str().unwrap_or_default().to_owned();
    let target = format!("{api}.GetRecords");
    let (mut took, mut due) = (Took::default(), 0.0);
    let mut inflated = Vec::new();
    loop {
        let request = format!(r#"{{"ShardIterator":"{iterator}"}}"#);
        let turn = shared.turns.acquire().await?;
        let spare = shared.buffers().pop();
        let mut buffer = spare.unwrap_or_default();
        // What is due is sent while the next answer is on its way.
        let fetch = source.ask(&target, request.as_bytes(), &mut buffer);
        let (answer, sent) = tokio::join!(fetch, shared.send(n, &mut due, &mut took, false));
        sent?;
        let answer = answer?;
        let key = b"\"NextShardIterator\":\"";
        let at = memmem::find(&answer[..answer.len().min(512)], key).ok_or("no next iterator")? + key.len();
        let length = memchr(b'"', &answer[at..]).ok_or("no next iterator")?;
        iterator = String::from_utf8_lossy(&answer[at..at + length]).into_owned();
        took.gets += 1;
        let is_end = answer.ends_with(b"\"Records\":[]}");
        if !is_end {
            took.received += answer.len() as u64;
            due += answer.len() as f64 * of.ratio;
        }
        if of.inflate {
            took.inflated += inflate(answer, &mut inflated)?;
        }
        shared.buffers().push(buffer);
        drop(turn);
        if is_end {
            break;
        }
    }
    shared.send(n, &mut due, &mut took, true).await?;
    Ok(took)
}

/// The bytes that the records of an answer open to.
fn inflate(answer: &[u8], into: &mut Vec<u8>) -> Result<u64, Error> {
    let (key, mut rest, mut sum) = (b"\"Data\":\"", answer, 0);
    while let Some(at) = memmem::find(rest, key) {
        rest = &rest[at + key.len()..];
        let end = memchr(b'"', rest).ok_or("a record is cut")?;
        let data = STANDARD.decode(&rest[..end])?;
        into.clear();
        flate2::read::GzDecoder::new(data.as_slice()).read_to_end(into)?;
        sum += into.len() as u64;
        rest = &rest[end..];
    }
    Ok(sum)
}
