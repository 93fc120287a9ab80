//! Debian's Prometheus: where its programs are, what `promtool` says, and one that runs.

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::emulator::{free_address, tools};
use crate::{http, read, until};

/// `prometheus` or `promtool`: where `scripts/tools` unpacks it, or the machine's own.
pub fn program(name: &str) -> PathBuf {
    let unpacked = tools().join("prometheus/usr/bin").join(name);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).map(|dir| dir.join(name));
    let mut candidates = std::iter::once(unpacked).chain(installed);
    let found = candidates.find(|candidate| candidate.exists());
    found.unwrap_or_else(|| panic!("{name} is missing: run scripts/tools"))
}

/// What `promtool` answers; panics unless it agrees.
pub fn promtool(arguments: &[&str]) -> String {
    promtool_reads(arguments, "")
}

/// The same, of what it is given to read.
pub fn promtool_reads(arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(program("promtool"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Most of its commands read nothing.
    stdin.write_all(input.as_bytes()).ok();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let text = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    let text = text.concat();
    assert!(output.status.success(), "promtool {arguments:?}: {text}");
    text
}

/// A running Prometheus. Killed when it goes out of scope; if that happens in a failing test, its log is printed.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    log: PathBuf,
}

impl Server {
    /// Starts one in `dir`, with this configuration (JSON is YAML), and waits until it answers.
    pub async fn start(dir: &Path, config: &Value) -> Self {
        let file = dir.join("prometheus.json");
        std::fs::write(&file, config.to_string()).unwrap();
        let log = dir.join("prometheus.log");
        let output = File::create(&log).unwrap();
        let address = free_address();
        let child = Command::new(program("prometheus"))
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn")
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        let mut server = Self { child, address, log };
        until("Prometheus", Duration::from_secs(60), async || {
            if let Some(status) = server.child.try_wait().unwrap() {
                panic!("Prometheus ended: {status}");
            }
            let ready = http::get(address, "/-/ready").await;
            ready.is_some_and(|answer| answer.status == 200)
        })
        .await;
        server
    }

    /// What its API answers under `data`.
    async fn data(&self, path: &str) -> Value {
        let answer = http::get(self.address, path).await.expect("Prometheus answers");
        let answer: Value = serde_json::from_str(&answer.body).unwrap();
        answer["data"].clone()
    }

    /// The alerts that are pending or fire now.
    pub async fn alerts(&self) -> Vec<Value> {
        let data = self.data("/api/v1/alerts").await;
        data["alerts"].as_array().cloned().unwrap_or_default()
    }

    /// The targets of a job that answered the last scrape.
    pub async fn up(&self, job: &str) -> usize {
        let data = self.data("/api/v1/targets?state=active").await;
        let targets = data["activeTargets"].as_array().into_iter().flatten();
        let up = targets.filter(|target| target["labels"]["job"] == job && target["health"] == "up");
        up.count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error means that it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            println!("--- Prometheus' log ---\n{}", read(&self.log));
        }
    }
}
