//! HTTP in its smallest form, to ask Weir's health and microburst's control: one request a connection.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

/// A GET; `None` while nobody listens or the answer is not complete within five seconds.
pub async fn get(address: SocketAddr, path: &str) -> Option<Answer> {
    send(address, "GET", path, "").await
}

pub async fn send(address: SocketAddr, method: &str, path: &str, body: &str) -> Option<Answer> {
    let exchange = async {
        let mut wire = TcpStream::connect(address).await.ok()?;
        // 1.0: the end of the connection ends the answer, and nobody answers in chunks.
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        wire.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        wire.read_to_end(&mut answer).await.ok()?;
        let answer = String::from_utf8(answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let body = body.to_owned();
        Some(Answer { status, body })
    };
    tokio::time::timeout(Duration::from_secs(5), exchange)
        .await
        .ok()
        .flatten()
}
