//! Workers whose AWS is the wire tests' fake, where trouble can be had for the asking; and an exporter of numbers that no
//! honest worker tells.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::http;
use crate::inject::Rule;
use crate::records::Kind;
use crate::server::Aws;
use crate::shards::Service;
use crate::weir::{self, Weir};

/// One application: a fake of its own, and settings.
pub struct Fleet {
    pub job: &'static str,
    pub aws: Aws,
    dir: PathBuf,
    config: PathBuf,
}

impl Fleet {
    /// An application that reads a table of so many shards, with leases of so many seconds.
    pub async fn new(job: &'static str, dir: &Path, shards: u128, lease: u32) -> Self {
        let dir = dir.join(job);
        std::fs::create_dir(&dir).unwrap();
        let config = dir.join("weir.yaml");
        let text = format!(
            "leases: {{ duration: {lease}s }}\n\
             checkpoint: {{ interval: 1s }}\n\
             pipelines:\n  orders:\n    \
             source: {{ dynamodb_table: orders, sync_interval: 1s, poll: {{ idle: 200ms }} }}\n    \
             destination: {{ group: /cdc/orders }}\n"
        );
        std::fs::write(&config, text).unwrap();
        let aws = Aws::start(Service::DynamoDb, shards).await;
        Self {
            job,
            aws,
            dir,
            config,
        }
    }

    pub fn with(self, rule: Rule) -> Self {
        self.aws.inject([rule]);
        self
    }

    /// A life of a worker that answers here.
    pub fn start(&self, http: SocketAddr) -> Weir {
        let mut command = weir::command(&self.dir);
        command
            .env("AWS_ENDPOINT_URL", format!("http://{}", self.aws.address))
            .env("AWS_REGION", "eu-west-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .args([
                "run",
                "--log-format",
                "text",
                "--http-address",
                &http.to_string(),
                "-c",
            ])
            .arg(&self.config);
        Weir::start(command, http, &self.dir.join("weir.log"))
    }

    /// Records of each shard that came in so many milliseconds ago.
    pub fn append(&self, kind: Kind, count: usize, age: i64) {
        let mut state = self.aws.state();
        for shard in 0..state.stream.shards.len() {
            for _ in 0..count {
                state.stream.append(shard, kind);
                let record = state.stream.shards[shard].records.last_mut().unwrap();
                record.at -= age;
            }
        }
    }
}

/// Serves a worker's `/metrics` with one number changed: `series` is its name up to the labels.
pub struct Liar {
    pub address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Liar {
    pub async fn of(worker: SocketAddr, series: &'static str, value: i64) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            while let Ok((mut wire, _)) = listener.accept().await {
                let honest = http::get(worker, "/metrics").await;
                let honest = honest.map(|answer| answer.body).unwrap_or_default();
                let lines = honest.lines().map(|line| match line.rsplit_once(' ') {
                    Some((name, _)) if name.starts_with(series) => format!("{name} {value}\n"),
                    _ => format!("{line}\n"),
                });
                let body: String = lines.collect();
                // The request says nothing that matters; what is left of it when the connection ends would reset it.
                let mut request = [0; 4096];
                let _ = wire.read(&mut request).await;
                let head = "HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n\r\n";
                let _ = wire.write_all((head.to_owned() + &body).as_bytes()).await;
            }
        });
        Self { address, serving }
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
