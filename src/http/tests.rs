use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::clock::{Monotonic, SystemClock, Timestamp};
use crate::config::Config;
use crate::readiness::Latch;
use crate::shutdown::{self, Stopper};

/// A hundred times as fast as the system's.
struct Fast;

const SPEED: u32 = 100;

#[async_trait]
impl Clock for Fast {
    fn now(&self) -> Monotonic {
        Monotonic::from_origin(SystemClock.now().since_origin() * SPEED)
    }

    fn wall(&self) -> Timestamp {
        SystemClock.wall()
    }

    async fn sleep(&self, d: Duration) {
        SystemClock.sleep(d / SPEED).await;
    }
}

struct Served {
    address: SocketAddr,
    server: Server,
    _running: Running,
    _stopper: Stopper,
}

/// A server that watches the runtime it is called on.
fn served() -> Served {
    let server = Server {
        clock: Arc::new(Fast),
        readiness: Readiness::new(),
        metrics: Metrics::new(),
        reports: Reports::default(),
        log_level: LogLevel::new("info", |_| {}),
        samples: Samples::default(),
        about: Arc::new(About::of(&Config::of(Vec::new()), 256 << 20, SystemClock.wall())),
    };
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let (stopper, stop) = shutdown::channel();
    Served {
        address,
        _running: start(listener, server.clone(), stop).unwrap(),
        server,
        _stopper: stopper,
    }
}

impl Served {
    async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut wire = TcpStream::connect(self.address).await.unwrap();
        let (host, length) = (self.address, body.len());
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: {host}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        wire.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        wire.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    async fn get(&self, path: &str) -> (u16, String) {
        self.ask("GET", path, "").await
    }

    /// Asks until the status is this.
    async fn livez_says(&self, status: u16) -> String {
        loop {
            let (found, body) = self.get("/livez").await;
            if found == status {
                return body;
            }
            SystemClock.sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn a_blocked_runtime_fails_livez_and_only_while_it_is_blocked() {
    let work = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let served = work.spawn(async { served() }).await.unwrap();
    served.livez_says(200).await;
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    work.spawn(async move { blocked.recv() });
    let told = served.livez_says(503).await;
    assert!(
        told.starts_with("the runtime has made no progress for 6"),
        "{told}"
    );
    // All else still answers.
    assert_eq!(served.get("/metrics").await.0, 200);
    release.send(()).unwrap();
    assert_eq!(served.livez_says(200).await, "ok\n");
    work.shutdown_background();
}

#[tokio::test]
async fn a_coordinator_that_hangs_fails_livez() {
    let served = served();
    served.server.readiness.coordinator().mark(Fast.now());
    assert_eq!(served.get("/livez").await.0, 200);
    let told = served.livez_says(503).await;
    assert!(
        told.starts_with("the coordinator has made no progress for 6"),
        "{told}"
    );
    served.server.readiness.coordinator().mark(Fast.now());
    served.livez_says(200).await;
}

#[tokio::test]
async fn a_start_a_life_and_a_drain_can_be_told_apart() {
    let served = served();
    let told = async || {
        let (ready, body) = served.get("/readyz").await;
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        let phase = body["phase"].as_str().unwrap().to_owned();
        (ready, served.get("/startupz").await.0, phase)
    };
    let readiness = &served.server.readiness;
    assert_eq!(told().await, (503, 503, "starting".into()));
    for latch in [Latch::Tables, Latch::Heartbeat, Latch::Plan] {
        readiness.open(latch);
    }
    assert_eq!(told().await, (200, 200, "ready".into()));
    readiness.close(Latch::Plan);
    assert_eq!(told().await, (503, 200, "rejoining".into()));
    readiness.drain();
    assert_eq!(told().await, (503, 200, "draining".into()));
    for path in ["/livez", "/metrics", "/startupz"] {
        assert_eq!(served.ask("HEAD", path, "").await, (200, String::new()), "{path}");
    }
}

#[tokio::test]
async fn the_log_level_is_told_and_changed_and_a_wrong_one_refused() {
    let served = served();
    assert_eq!(served.get("/log-level").await, (200, "info\n".into()));
    let put = async |filter: &str| served.ask("PUT", "/log-level", filter).await;
    assert_eq!(put("info,weir=debug\n").await, (200, "info,weir=debug\n".into()));
    let (status, told) = put("dbug").await;
    assert_eq!(status, 400);
    assert!(told.starts_with("`dbug` is not a filter"), "{told}");
    assert_eq!(put(&"x".repeat(5_000)).await.0, 413);
    assert_eq!(served.get("/log-level").await, (200, "info,weir=debug\n".into()));
    // What a form of a web page could send.
    assert_eq!(served.ask("POST", "/log-level", "trace").await.0, 405);
}
