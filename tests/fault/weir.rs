//! One life of the real binary.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::{http, until};

/// The binary under test, with no variable of the user's but PATH: nothing here may reach a real account.
pub fn command(home: &Path) -> Command {
    let built = env!("CARGO_BIN_EXE_weir");
    let mut command = Command::new(std::env::var("WEIR_BINARY").unwrap_or(built.to_owned()));
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .stdin(Stdio::null());
    command
}

/// A running `weir run`. Killed when it goes out of scope; if that happens in a failing test, its log's end is
/// printed.
pub struct Weir {
    child: Child,
    pub http: SocketAddr,
    /// Shared by all lives of one test.
    log: PathBuf,
}

impl Weir {
    /// Starts it; its output goes to the end of the file `log`.
    pub fn start(mut command: Command, http: SocketAddr, log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).unwrap();
        let child = command
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Self {
            child,
            http,
            log: log.to_owned(),
        }
    }

    pub fn log(&self) -> &Path {
        &self.log
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// `kill -9`, as the kernel's OOM killer does it. Returns when the process is gone.
    pub fn kill_nine(mut self) {
        self.must_live();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// It does nothing until it is woken, like a process on a node that freezes.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub fn wake(&self) {
        self.signal(Signal::CONT);
    }

    /// As when its terminal closes.
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Waits for the end. A drain may take 25 s by default; who is not gone after 60 s hangs.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        until("the end of the process", Duration::from_secs(60), async || {
            status = self.exited();
            status.is_some()
        })
        .await;
        status.unwrap()
    }

    /// Panics if the process has ended by itself.
    pub fn must_live(&mut self) {
        if let Some(status) = self.exited() {
            panic!("weir ended by itself: {status}");
        }
    }

    /// How it ended; `None` while it runs.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    pub fn is_running(&mut self) -> bool {
        self.exited().is_none()
    }

    pub async fn is_ready(&self) -> bool {
        http::get(self.http, "/readyz")
            .await
            .is_some_and(|a| a.status == 200)
    }

    pub async fn ready(&mut self) {
        until("/readyz to say 200", Duration::from_secs(60), async || {
            self.must_live();
            self.is_ready().await
        })
        .await;
    }

    /// The sum over all labels of a counter or gauge; `None` while it is not told.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let text = http::get(self.http, "/metrics").await?.body;
        let values = text.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let found = series.split('{').next()? == name;
            found.then(|| value.parse::<f64>().ok())?
        });
        values.reduce(|a, b| a + b)
    }

    pub async fn delivered(&self) -> u64 {
        self.metric("weir_records_delivered_total")
            .await
            .unwrap_or_default() as u64
    }

    /// Waits until this life has delivered something.
    pub async fn first_delivery(&mut self) {
        until("the first delivery", Duration::from_secs(90), async || {
            self.must_live();
            self.delivered().await > 0
        })
        .await;
    }

    /// Memory in use (VmRSS), in MiB; `None` if the process is gone. Linux only.
    pub fn resident(&self) -> Option<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
        Some(kib / 1024.0)
    }
}

impl Drop for Weir {
    fn drop(&mut self) {
        // An error means that it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            let text = fs::read(&self.log).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<_> = text.lines().collect();
            println!("--- the end of Weir's log ---");
            for line in &lines[lines.len().saturating_sub(60)..] {
                println!("{line}");
            }
            println!("-----------------------------");
        }
    }
}
