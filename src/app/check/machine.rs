//! Looks at the machine: the port, and the memory of the control group.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::check::process::Port;
use crate::config::Config;
use crate::http;

/// A Weir that runs answers at once.
const ANSWER: Duration = Duration::from_secs(1);

/// Where the kernel tells the limit (cgroup v2; its documentation, "Memory Interface Files").
const LIMIT: &str = "/sys/fs/cgroup/memory.max";

/// Whether the address can be listened on. It is let go at once.
pub async fn port(config: &Config) -> Port {
    match http::bind(config.http_address) {
        Ok(_) => Port::Free,
        Err(error) => {
            let address = config.http_address;
            let asked = tokio::task::spawn_blocking(move || is_weir(address)).await;
            match asked {
                Ok(true) => Port::Weir,
                _ => Port::Taken(error.why()),
            }
        }
    }
}

/// Whether a Weir answers there.
fn is_weir(address: SocketAddr) -> bool {
    let local = match address.ip().is_unspecified() {
        true => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port()),
        false => address,
    };
    let ask = || -> std::io::Result<String> {
        let mut wire = TcpStream::connect_timeout(&local, ANSWER)?;
        wire.set_read_timeout(Some(ANSWER))?;
        wire.set_write_timeout(Some(ANSWER))?;
        wire.write_all(format!("GET /metrics HTTP/1.0\r\nHost: {local}\r\n\r\n").as_bytes())?;
        let mut answer = Vec::new();
        // So much holds the help of some of its metrics.
        wire.take(1 << 20).read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    ask().is_ok_and(|answer| answer.contains("# HELP weir_"))
}

/// The most memory that the kernel grants, in bytes; `None`: as much as there is, or nobody says.
pub fn memory_limit() -> Option<u64> {
    std::fs::read_to_string(LIMIT).ok()?.trim().parse().ok()
}
