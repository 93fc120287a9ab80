//! The fake, running: all services on one port, as a process of its own.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use crate::answer::{Answer, refused, text};
use crate::dynamodb::Tables;
use crate::http::{self, Head};
use crate::logs::{Logs, Put};
use crate::options::{Fake, Kind};
use crate::stats::Stats;
use crate::stream::Stream;

/// Rows of one page of a state table. The service's page is 1 MB; a row is about 1 KB.
const ROWS: usize = 1_000;

struct Aws {
    of: Fake,
    /// Milliseconds since 1970: what came into being before doesn't count as late.
    warm: u64,
    stream: Stream,
    tables: Mutex<Tables>,
    logs: Mutex<Logs>,
    stats: Mutex<Stats>,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_millis() as u64)
}

pub fn run(of: Fake) {
    let start = now();
    let stream = Stream::new(&of, start);
    let source = (of.kind == Kind::Change).then(|| ("orders".to_owned(), stream.arn.clone()));
    let expected = of.of_shard() * of.shards as u64 * of.events() as u64;
    let aws = Arc::new(Aws {
        warm: start + of.warm.as_millis() as u64,
        stream,
        tables: Mutex::new(Tables::of(source, ROWS)),
        logs: Mutex::default(),
        stats: Mutex::new(Stats::new(of.shards, expected, of.warm)),
        of,
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(aws.of.threads)
        .enable_all()
        .build();
    let served = runtime.and_then(|runtime| runtime.block_on(listen(aws)));
    if let Err(error) = served {
        eprintln!("rig: the fake: {error}");
        std::process::exit(1);
    }
}

async fn listen(aws: Arc<Aws>) -> std::io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!(
        "{}",
        serde_json::json!({ "address": listener.local_addr()?.to_string() })
    );
    loop {
        let (wire, _) = listener.accept().await?;
        wire.set_nodelay(true)?;
        tokio::spawn(serve(wire, aws.clone()));
    }
}

/// The head of an answer.
fn answered(status: u16, kind: &str, length: usize) -> String {
    let date = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT");
    format!(
        "HTTP/1.1 {status} OK\r\nDate: {date}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         x-amzn-RequestId: 0a1b2c3d\r\n\r\n"
    )
}

/// Answers the requests of one connection. `None`: it has ended.
async fn serve(mut wire: TcpStream, aws: Arc<Aws>) -> Option<()> {
    let mut buffer = Vec::new();
    loop {
        let head = http::head(&mut wire, &mut buffer).await?;
        if head.expects {
            wire.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.ok()?;
        }
        http::body(&mut wire, &mut buffer, &head).await?;
        let body = &buffer[head.body..head.end];
        if head.target.is_empty() {
            let told = lock(&aws.stats)
                .told(head.first.contains("latencies"))
                .to_string();
            let answer = answered(200, "application/json", told.len()) + &told;
            wire.write_all(answer.as_bytes()).await.ok()?;
        } else {
            lock(&aws.stats).asked(&head.target);
            match head.operation() {
                "GetRecords" => records(&mut wire, &aws, &head, body).await?,
                "PutLogEvents" => put(&mut wire, &aws, &head, body).await?,
                _ => {
                    let answer = aws.answer(&head, body);
                    aws.tell(&mut wire, &head, answer).await?;
                }
            }
        }
        buffer.drain(..head.end);
    }
}

async fn records(wire: &mut TcpStream, aws: &Aws, head: &Head, body: &[u8]) -> Option<()> {
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    aws.pause().await;
    let part = match aws
        .stream
        .part(text(&request, "ShardIterator"), request["Limit"].as_u64(), now())
    {
        Ok(part) => part,
        Err(refusal) => return aws.tell(wire, head, Err(refusal)).await,
    };
    let ready = aws
        .stream
        .canned
        .ready(&part, |length| answered(200, &head.content_type, length));
    let count = part.count as u64;
    lock(&aws.stats).gave(
        part.shard,
        count,
        count * aws.of.events() as u64,
        ready.bytes().len() as u64,
    );
    let written = wire.write_all(ready.bytes()).await;
    aws.stream.canned.give_back(ready);
    written.ok()
}

async fn put(wire: &mut TcpStream, aws: &Aws, head: &Head, body: &[u8]) -> Option<()> {
    let put = Put::of(body, aws.of.rate.is_some());
    if let Err(refusal) = { lock(&aws.logs).may_put(&put) } {
        return aws.tell(wire, head, Err(refusal)).await;
    }
    aws.pause().await;
    let at = now();
    let late = put
        .times
        .iter()
        .filter(|time| **time >= aws.warm)
        .map(|time| at.saturating_sub(*time));
    let shard = aws.stream.find(put.stream);
    lock(&aws.stats).took(put.group, shard, put.events, body.len() as u64, late);
    aws.tell(wire, head, Ok(serde_json::json!({ "nextSequenceToken": "1" })))
        .await
}

impl Aws {
    /// What `--answer-delay` asks for. Without it no timer, which would take up to a millisecond.
    async fn pause(&self) {
        if !self.of.delay.is_zero() {
            tokio::time::sleep(self.of.delay).await;
        }
    }

    fn answer(&self, head: &Head, body: &[u8]) -> Answer {
        let request: Value = serde_json::from_slice(body)
            .map_err(|e| refused("SerializationException", format!("{}: {e}", head.content_type)))?;
        let (service, operation) = head.target.split_once('.').unwrap_or_default();
        match (service, self.of.kind) {
            ("DynamoDB_20120810", _) => {
                let mut complaints = Vec::new();
                let answer = lock(&self.tables).answer(operation, &request, &mut complaints);
                for complaint in complaints {
                    eprintln!("rig: {complaint}");
                }
                answer
            }
            ("Logs_20140328", _) => lock(&self.logs).answer(operation, &request),
            ("DynamoDBStreams_20120810", Kind::Change)
            | ("Kinesis_20131202", Kind::Plain | Kind::Audit | Kind::Kpl) => {
                self.stream.answer(operation, &request, now())
            }
            _ => Err(refused("UnknownOperationException", head.target.as_str())),
        }
    }

    async fn tell(&self, wire: &mut TcpStream, head: &Head, answer: Answer) -> Option<()> {
        let (status, body) = match answer {
            Ok(body) => (200, body.to_string()),
            Err(refusal) => {
                lock(&self.stats).refused(&head.target, refusal.code);
                (refusal.status, refusal.body().to_string())
            }
        };
        let answer = answered(status, &head.content_type, body.len()) + &body;
        wire.write_all(answer.as_bytes()).await.ok()
    }
}
