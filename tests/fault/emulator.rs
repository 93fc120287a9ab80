//! The third-party processes of a test: ministack, which plays AWS, and microburst, which injects faults before it.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::{http, until};

/// A port that was free a moment ago. Tests run one at a time, so nobody takes it in between.
pub fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap()
}

/// Where `scripts/tools` installs: `$WEIR_TOOLS`, or beside the binary's profile in `target`.
pub fn tools() -> PathBuf {
    let target = Path::new(env!("CARGO_BIN_EXE_weir"))
        .ancestors()
        .nth(2)
        .expect("target/<profile>/weir");
    std::env::var_os("WEIR_TOOLS").map_or(target.join("tools"), PathBuf::from)
}

/// A program of the tests' Python environment.
pub fn tool(name: &str) -> PathBuf {
    let path = tools().join("venv/bin").join(name);
    assert!(path.exists(), "{} is missing: run scripts/tools", path.display());
    path
}

/// A child process with a log; killed when it goes out of scope.
struct Process {
    child: Child,
}

impl Process {
    fn start(mut command: Command, log: &Path) -> Self {
        let log = File::create(log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}", command.get_program().display()));
        Self { child }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn must_live(&mut self, name: &str) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("{name} ended: {status}");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Works on a frozen process too. An error means that it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// DynamoDB, DynamoDB Streams and CloudWatch Logs on one port, in memory.
pub struct Emulator {
    process: Process,
    pub address: SocketAddr,
}

impl Emulator {
    pub async fn start(dir: &Path) -> Self {
        let address = free_address();
        let mut command = Command::new(tool("ministack"));
        command
            .env("GATEWAY_PORT", address.port().to_string())
            .env("BIND_HOST", address.ip().to_string())
            .env("LOG_LEVEL", "WARNING")
            // Services nobody asked for, on ports of their own that two emulators can't share.
            .env("IOT_MTLS_ENABLED", "0")
            .env("SFTP_ENABLED", "0");
        let mut process = Process::start(command, &dir.join("ministack.log"));
        until("the emulator", Duration::from_secs(60), async || {
            process.must_live("ministack");
            http::get(address, "/_ministack/health")
                .await
                .is_some_and(|a| a.status == 200)
        })
        .await;
        Self { process, address }
    }

    /// It keeps its sockets and answers nobody, like a host whose network or disk hangs.
    pub fn freeze(&self) {
        self.process.signal(Signal::STOP);
    }

    pub fn thaw(&self) {
        self.process.signal(Signal::CONT);
    }
}

/// Kinesis alone, whose shards split, merge and end as they should.
pub struct KinesisLocal {
    _process: Process,
    pub address: SocketAddr,
}

impl KinesisLocal {
    pub async fn start(dir: &Path) -> Self {
        let (address, encrypted) = (free_address(), free_address());
        let program = tools().join("node/node_modules/kinesis-local");
        assert!(
            program.exists(),
            "{} is missing: run scripts/tools",
            program.display()
        );
        let mut command = Command::new("node");
        command
            .arg(program.join("main.js"))
            // Its program looks for the certificate of its other port.
            .env("KINESIS_MOCK_CERT_PATH", program.join("server.json"))
            .env("KINESIS_MOCK_PLAIN_PORT", address.port().to_string())
            .env("KINESIS_MOCK_TLS_PORT", encrypted.port().to_string())
            .env("AWS_REGION", crate::clients::REGION)
            // Else it holds up each call by half a second, and each resharding more.
            .env("SPLIT_SHARD_DURATION", "100ms")
            .env("MERGE_SHARDS_DURATION", "100ms")
            .env("CREATE_STREAM_DURATION", "100ms");
        let mut process = Process::start(command, &dir.join("kinesis-local.log"));
        until("kinesis-local", Duration::from_secs(60), async || {
            process.must_live("kinesis-local");
            tokio::net::TcpStream::connect(address).await.is_ok()
        })
        .await;
        Self {
            _process: process,
            address,
        }
    }
}

/// All services on one port; the one whose subscription filters deliver.
pub struct Moto {
    _process: Process,
    pub address: SocketAddr,
}

impl Moto {
    pub async fn start(dir: &Path) -> Self {
        let address = free_address();
        let mut command = Command::new(tool("moto_server"));
        command.args(["-H", &address.ip().to_string(), "-p", &address.port().to_string()]);
        let mut process = Process::start(command, &dir.join("moto.log"));
        until("moto", Duration::from_secs(60), async || {
            process.must_live("moto");
            tokio::net::TcpStream::connect(address).await.is_ok()
        })
        .await;
        Self {
            _process: process,
            address,
        }
    }
}

/// microburst refuses bodies over 1 MiB with 413, its HTTP server's default; PutLogEvents takes messages of that
/// size, and as JSON they are larger. There is no option for it, so its command line is started from here.
const MICROBURST: &str = "
import functools, sys
from aiohttp import web
web.Application = functools.partial(web.Application, client_max_size=16 << 20)
from microburst.cli import main
sys.exit(main())
";

/// A proxy that answers with AWS's own errors, late, or not at all, as its rules say.
pub struct Microburst {
    _process: Process,
    pub address: SocketAddr,
}

impl Microburst {
    /// Stands before `upstream`, without a rule so far.
    pub async fn before(upstream: SocketAddr, dir: &Path) -> Self {
        let address = free_address();
        let mut command = Command::new(tool("python"));
        command
            .args(["-c", MICROBURST])
            .args(["--upstream", &format!("http://{upstream}")])
            .args(["--host", &address.ip().to_string()])
            .args(["--port", &address.port().to_string()]);
        let mut process = Process::start(command, &dir.join("microburst.log"));
        until("microburst", Duration::from_secs(60), async || {
            process.must_live("microburst");
            http::get(address, "/_microburst/health")
                .await
                .is_some_and(|a| a.status == 200)
        })
        .await;
        Self {
            _process: process,
            address,
        }
    }

    pub async fn set_rules(&self, rules: &serde_json::Value) {
        let answer = http::send(self.address, "POST", "/_microburst/rules", &rules.to_string()).await;
        assert!(
            matches!(&answer, Some(a) if a.status < 300),
            "microburst refuses the rules: {answer:?}"
        );
    }

    /// What it did, by service, operation and action: the lines of its metric.
    pub async fn faults(&self) -> Vec<String> {
        let metrics = http::get(self.address, "/_microburst/metrics")
            .await
            .expect("microburst answers")
            .body;
        let lines = metrics
            .lines()
            .filter(|l| l.starts_with("microburst_faults_total"));
        lines.map(str::to_owned).collect()
    }
}
