//! As much of HTTP/1.1 as the SDKs speak: bodies with a length, connections that stay open.

use memchr::memmem;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// The largest request or answer is well below this.
const LARGEST: usize = 64 << 20;

/// A message that begins at the front of the buffer.
#[derive(Debug, Default)]
pub struct Head {
    /// `POST / HTTP/1.1`, or `HTTP/1.1 200 OK`.
    pub first: String,
    pub target: String,
    pub content_type: String,
    /// The sender waits for a word before it sends the body.
    pub expects: bool,
    /// Where the body begins and where it ends.
    pub body: usize,
    pub end: usize,
}

impl Head {
    pub fn operation(&self) -> &str {
        self.target.split_once('.').map_or("", |(_, operation)| operation)
    }
}

/// Reads on; `None`: the connection has ended.
async fn more(wire: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    match wire.read_buf(buffer).await {
        Ok(0) | Err(_) => None,
        Ok(_) if buffer.len() > LARGEST => None,
        Ok(_) => Some(()),
    }
}

/// Reads the head of the next message; what follows it may be in the buffer already.
pub async fn head(wire: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Head> {
    let end = loop {
        if let Some(end) = memmem::find(buffer, b"\r\n\r\n") {
            break end;
        }
        buffer.reserve(16 << 10);
        more(wire, buffer).await?;
    };
    let text = std::str::from_utf8(&buffer[..end]).ok()?;
    let mut lines = text.split("\r\n");
    let mut head = Head {
        first: lines.next()?.to_owned(),
        body: end + 4,
        end: end + 4,
        ..Head::default()
    };
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            head.end += value.parse::<usize>().ok()?;
        } else if name.eq_ignore_ascii_case("x-amz-target") {
            value.clone_into(&mut head.target);
        } else if name.eq_ignore_ascii_case("content-type") {
            value.clone_into(&mut head.content_type);
        } else if name.eq_ignore_ascii_case("expect") {
            head.expects = true;
        }
    }
    Some(head)
}

/// Reads until the body is in the buffer.
pub async fn body(wire: &mut TcpStream, buffer: &mut Vec<u8>, head: &Head) -> Option<()> {
    // With the room that a little of the next message may need.
    buffer.reserve((head.end + 1024).saturating_sub(buffer.len()));
    while buffer.len() < head.end {
        more(wire, buffer).await?;
    }
    Some(())
}
