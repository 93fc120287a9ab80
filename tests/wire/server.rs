//! AWS on one port: HTTP by hand, so that an answer can be late, cut in half or never come.
//!
//! What it speaks is what the SDK sends: AWS JSON 1.0 and 1.1, the operation in `X-Amz-Target`. Anything else is
//! a complaint, and a complaint fails the test.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::answer::{Answer, refused};
use crate::dynamodb::Tables;
use crate::inject::{Reply, Rule, Rules, Stage};
use crate::logs::Logs;
use crate::shards::{Service, Stream};
use crate::{kinesis, streams};

/// The largest request that any of the services takes is well below this.
const LARGEST: usize = 32 << 20;

/// Rows of one page of a table: few, so that every read has pages.
const TABLE_PAGE: usize = 3;

/// All that the fake knows.
pub struct State {
    pub tables: Tables,
    pub stream: Stream,
    pub logs: Logs,
    pub rules: Rules,
    /// What Weir should not have sent.
    pub complaints: Vec<String>,
    pub requests: usize,
    /// What was asked for: the target, and what of.
    pub asked: BTreeSet<(String, String)>,
    /// How far its clock, as its answers tell it, is ahead of the machine's, in seconds.
    pub ahead: i64,
}

impl State {
    fn answer(&mut self, target: &str, body: &Value) -> Answer {
        let (service, operation) = target.split_once('.').unwrap_or_default();
        let complaints = &mut self.complaints;
        match (service, self.stream.service) {
            ("DynamoDB_20120810", _) => self.tables.answer(operation, body, complaints),
            ("Logs_20140328", _) => self.logs.answer(operation, body, complaints),
            ("DynamoDBStreams_20120810", Service::DynamoDb) => {
                streams::answer(&mut self.stream, operation, body, complaints)
            }
            ("Kinesis_20131202", Service::Kinesis) => {
                kinesis::answer(&mut self.stream, operation, body, complaints)
            }
            _ => {
                complaints.push(format!("a request to {target:?}: {body}"));
                Err(refused("UnknownOperationException", target))
            }
        }
    }
}

/// The fake, running.
pub struct Aws {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    listening: JoinHandle<()>,
}

impl Aws {
    pub async fn start(service: Service, shards: u128) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let stream = Stream::new(service, shards);
        let source = match service {
            Service::DynamoDb => Some(("orders".to_owned(), stream.arn.clone())),
            Service::Kinesis => None,
        };
        let state = Arc::new(Mutex::new(State {
            tables: Tables::of(source, TABLE_PAGE),
            stream,
            logs: Logs::default(),
            rules: Rules::default(),
            complaints: Vec::new(),
            requests: 0,
            asked: BTreeSet::new(),
            ahead: 0,
        }));
        let address = listener.local_addr().unwrap();
        let shared = state.clone();
        let listening = tokio::spawn(async move {
            // Dropped with this task, and with it every connection.
            let mut connections = tokio::task::JoinSet::new();
            // Both branches are safe to cancel: a connection not accepted yet stays in the kernel's queue.
            loop {
                tokio::select! {
                    Ok((connection, _)) = listener.accept() => {
                        connections.spawn(serve(connection, shared.clone()));
                    }
                    Some(ended) = connections.join_next() => {
                        if let Err(panic) = ended {
                            lock(&shared).complaints.push(format!("the fake itself failed: {panic}"));
                        }
                    }
                }
            }
        });
        Self {
            address,
            state,
            listening,
        }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// For a task of the test's that changes it meanwhile.
    pub fn shared(&self) -> Arc<Mutex<State>> {
        self.state.clone()
    }

    pub fn inject(&self, rules: impl IntoIterator<Item = Rule>) {
        self.state().rules.0.extend(rules);
    }
}

impl Drop for Aws {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // A request that made the fake panic has failed the test already.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Head {
    target: String,
    content_type: String,
    length: usize,
}

/// Answers the requests of one connection. `None`: it has ended.
async fn serve(mut wire: TcpStream, state: Arc<Mutex<State>>) -> Option<()> {
    wire.set_nodelay(true).ok()?;
    let mut buffer = Vec::new();
    loop {
        let head = head(&mut wire, &mut buffer).await?;
        let operation = head.target.split('.').nth(1).unwrap_or_default().to_owned();
        let early = lock(&state).rules.strike(Stage::Head, &operation, "");
        if early.is_some() {
            return break_off(&wire);
        }
        while buffer.len() < head.length {
            more(&mut wire, &mut buffer).await?;
        }
        let body: Vec<u8> = buffer.drain(..head.length).collect();
        let (ahead, (reply, answer)) = {
            let mut state = lock(&state);
            state.requests += 1;
            state.asked.insert((head.target.clone(), of_what(&body)));
            (state.ahead, take(&mut state, &head, &operation, &body))
        };
        let (status, kind, text) = match answer {
            Ok(body) => (200, head.content_type.as_str(), body.to_string()),
            Err(refusal) => (
                refusal.status,
                head.content_type.as_str(),
                refusal.body().to_string(),
            ),
        };
        match reply {
            None | Some(Reply::Error(..)) => {
                write(&mut wire, ahead, status, kind, text.as_bytes(), text.len()).await?;
            }
            Some(Reply::Reset | Reply::ResetUnread) => return break_off(&wire),
            Some(Reply::Half) => {
                let half = &text.as_bytes()[..text.len() / 2];
                write(&mut wire, ahead, status, kind, half, text.len()).await?;
                return None;
            }
            Some(Reply::Late(time)) => {
                tokio::time::sleep(time).await;
                write(&mut wire, ahead, status, kind, text.as_bytes(), text.len()).await?;
            }
            Some(Reply::Garbled) => {
                let garbled = &text.as_bytes()[1..];
                write(&mut wire, ahead, 200, kind, garbled, garbled.len()).await?;
            }
            Some(Reply::Page(status)) => {
                let page = "<html><body>The gateway has something to say.</body></html>";
                write(&mut wire, ahead, status, "text/html", page.as_bytes(), page.len()).await?;
            }
            Some(Reply::Empty) => write(&mut wire, ahead, 200, kind, b"", 0).await?,
            Some(Reply::Never) => {
                let mut rest = [0; 1024];
                while wire.read(&mut rest).await.is_ok_and(|read| read > 0) {}
                return None;
            }
        }
    }
}

/// What a request is answered, and what becomes of the answer.
fn take(state: &mut State, head: &Head, operation: &str, body: &[u8]) -> (Option<Reply>, Answer) {
    let text = String::from_utf8_lossy(body);
    let json = serde_json::from_str(&text).unwrap_or(Value::Null);
    if !head.content_type.starts_with("application/x-amz-json-1.") || !json.is_object() {
        let complaint = format!("{} as {:?}: {text}", head.target, head.content_type);
        state.complaints.push(complaint);
        return (None, Err(refused("SerializationException", "")));
    }
    match state.rules.strike(Stage::Request, operation, &text) {
        None => {
            let answer = state.answer(&head.target, &json);
            let reply = match &answer {
                Ok(_) => state.rules.strike(Stage::Done, operation, &text),
                Err(_) => None,
            };
            (reply, answer)
        }
        Some(Reply::Error(status, code, message)) => {
            let mut refusal = refused(code, message);
            refusal.status = status;
            (None, Err(refusal))
        }
        Some(reply) => (Some(reply), Ok(serde_json::json!({ "half": "of an answer" }))),
    }
}

/// The name of the table, the stream, the group that a request is about.
fn of_what(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let keys = [
        "TableName",
        "StreamArn",
        "StreamARN",
        "StreamName",
        "logGroupName",
        "resourceArn",
    ];
    let found = keys.iter().find_map(|key| body[*key].as_str());
    found.unwrap_or_default().to_owned()
}

/// The sender sees a reset, not an end.
fn break_off(wire: &TcpStream) -> Option<()> {
    wire.set_zero_linger().ok()?;
    None
}

async fn more(wire: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    match wire.read_buf(buffer).await {
        Ok(0) | Err(_) => None,
        Ok(_) if buffer.len() > LARGEST => None,
        Ok(_) => Some(()),
    }
}

/// Reads a request's head; what follows it stays in the buffer.
async fn head(wire: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Head> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            break end;
        }
        more(wire, buffer).await?;
    };
    let text: Vec<u8> = buffer.drain(..end + 4).collect();
    let text = String::from_utf8_lossy(&text).into_owned();
    let field = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(':'));
        let found = lines.find(|(n, _)| n.eq_ignore_ascii_case(name));
        found
            .map(|(_, value)| value.trim().to_owned())
            .unwrap_or_default()
    };
    Some(Head {
        target: field("x-amz-target"),
        content_type: field("content-type"),
        length: field("content-length").parse().unwrap_or_default(),
    })
}

async fn write(
    wire: &mut TcpStream,
    ahead: i64,
    status: u16,
    kind: &str,
    body: &[u8],
    length: usize,
) -> Option<()> {
    let now = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(ahead);
    let date = now.strftime("%a, %d %b %Y %H:%M:%S GMT");
    let head = format!(
        "HTTP/1.1 {status} Told\r\nDate: {date}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         x-amzn-RequestId: 0a1b2c3d\r\n\r\n"
    );
    wire.write_all(head.as_bytes()).await.ok()?;
    wire.write_all(body).await.ok()?;
    wire.flush().await.ok()
}
