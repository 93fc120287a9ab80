//! Looks at the machine: the port.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::check::process::Port;
use crate::clock::{Clock, timeout};
use crate::config::{self, Config};
use crate::http;

/// A Weir that runs answers at once, to its end.
const ANSWER: Duration = Duration::from_secs(2);

/// Whether the address can be listened on. It is let go at once.
pub async fn port(config: &Config, clock: &dyn Clock) -> Port {
    let address = config.http_address;
    match http::bind(address) {
        Ok(_) => Port::Free,
        Err(error) => match timeout(clock, ANSWER, is_weir(address)).await {
            Ok(Ok(true)) => Port::Weir,
            _ => Port::Taken(error.why()),
        },
    }
}

/// Whether a Weir answers there. Whoever answers may go on for ever.
async fn is_weir(address: SocketAddr) -> std::io::Result<bool> {
    /// So much holds the help of some of its metrics.
    const ENOUGH: usize = 1 << 20;
    const MARK: &str = "# HELP weir_";
    let local = config::on_this_machine(address);
    let wire = TcpStream::connect(local).await?;
    wire.writable().await?;
    // So little fits into the buffer of a connection that is new.
    wire.try_write(format!("GET /metrics HTTP/1.0\r\nHost: {local}\r\n\r\n").as_bytes())?;
    let (mut answer, mut part) = (Vec::new(), vec![0; 16 << 10]);
    while answer.len() < ENOUGH {
        wire.readable().await?;
        match wire.try_read(&mut part) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&part[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(String::from_utf8_lossy(&answer).contains(MARK))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;
    use crate::clock::SystemClock;

    /// Answers one request with these parts, and then with a byte now and then for as long as it is listened to.
    fn listen(parts: &'static [&'static str], goes_on: bool) -> SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut wire, _) = listener.accept().unwrap();
            let _ = wire.read(&mut [0; 1024]);
            for part in parts {
                wire.write_all(part.as_bytes()).unwrap();
            }
            // Nobody sends: it waits.
            let (_sender, nothing) = std::sync::mpsc::channel::<()>();
            while goes_on && wire.write_all(b"x").is_ok() {
                let _ = nothing.recv_timeout(Duration::from_millis(100));
            }
        });
        address
    }

    #[tokio::test]
    async fn whoever_listens_is_asked_once_and_not_for_ever() {
        let answer: &[&str] = &["HTTP/1.0 200 OK\r\n\r\n# HELP we", "ir_x y\n"];
        for (parts, goes_on, want) in [(answer, false, true), (&["HTTP/1.0 404\r\n\r\n"], false, false)] {
            assert_eq!(is_weir(listen(parts, goes_on)).await.unwrap(), want);
        }
        let told = timeout(
            &SystemClock,
            ANSWER,
            is_weir(listen(&["HTTP/1.0 200 OK\r\n\r\n"], true)),
        );
        assert!(told.await.is_err(), "it never ends by itself");
    }
}
