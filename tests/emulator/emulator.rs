//! Starts an emulator, and makes clients for it.

#![expect(
    clippy::disallowed_methods,
    reason = "an emulator is a real process: it takes real time"
)]

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::config::Credentials;
use tokio::process::{Child, Command};
use weir::aws::{AwsClients, Clients};
use weir::config::AwsSettings;

/// One emulator with nothing in it. Killed when dropped.
pub struct Emulator {
    _child: Child,
    endpoint: String,
    _directory: tempfile::TempDir,
}

/// Which emulator, since each is wrong somewhere.
#[derive(Clone, Copy, Debug)]
pub enum Make {
    /// DynamoDB Streams as DynamoDB has them.
    Ministack,
    /// The one that knows some of the limits of PutLogEvents.
    Moto,
    /// Kinesis alone: the one whose shards split, merge and end as they should.
    KinesisLocal,
}

fn tools() -> PathBuf {
    std::env::var_os("WEIR_TOOLS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/tools"),
        PathBuf::from,
    )
}

/// The directory of kinesis-local's program.
fn kinesis_local() -> PathBuf {
    let path = tools().join("node/node_modules/kinesis-local");
    assert!(path.exists(), "{} is missing: run scripts/tools", path.display());
    path
}

fn tool(name: &str) -> PathBuf {
    let tools = tools();
    let path = tools.join("venv/bin").join(name);
    assert!(
        path.exists(),
        "{} is missing: run scripts/tools, or: python3 -m venv {venv} && {venv}/bin/pip install \
         ministack==1.5.33 'moto[server]==5.2.5'",
        path.display(),
        venv = tools.join("venv").display()
    );
    path
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

const REGION: &str = "eu-west-1";

impl Emulator {
    pub async fn start(make: Make) -> Self {
        Self::start_with(make, &[]).await
    }

    /// With settings of kinesis-local's in its environment.
    pub async fn start_with(make: Make, settings: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // Another process may take the port between this and the start: then a new one is tried.
        for _ in 0..5 {
            let port = free_port();
            let mut command = match make {
                Make::Ministack => {
                    let mut command = Command::new(tool("ministack"));
                    command
                        .env("GATEWAY_PORT", port.to_string())
                        .env("BIND_HOST", "127.0.0.1")
                        // Else it listens on other ports too, on all addresses.
                        .env("IOT_MTLS_ENABLED", "0")
                        .env("SFTP_ENABLED", "0");
                    command
                }
                Make::Moto => {
                    let mut command = Command::new(tool("moto_server"));
                    command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
                    command
                }
                Make::KinesisLocal => {
                    let directory = kinesis_local();
                    let mut command = Command::new("node");
                    command
                        .arg(directory.join("main.js"))
                        // Its program looks for the certificate of its other port.
                        .env("KINESIS_MOCK_CERT_PATH", directory.join("server.json"))
                        .env("KINESIS_MOCK_PLAIN_PORT", port.to_string())
                        .env("KINESIS_MOCK_TLS_PORT", free_port().to_string())
                        .env("AWS_REGION", REGION)
                        .envs(settings.iter().copied());
                    command
                }
            };
            let mut child = command
                .current_dir(directory.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .unwrap();
            if listens(port, &mut child).await {
                return Self {
                    _child: child,
                    endpoint: format!("http://127.0.0.1:{port}"),
                    _directory: directory,
                };
            }
        }
        panic!("{make:?} doesn't start");
    }

    /// The clients that Weir uses, sent to this emulator.
    pub async fn clients(&self) -> Clients {
        let settings = AwsSettings {
            region: Some(REGION.to_owned()),
            ..AwsSettings::default()
        };
        let clients = AwsClients::from_env().unwrap().clients(&settings).await.unwrap();
        let dummy = Credentials::new("test", "test", None, None, "test");
        macro_rules! here {
            ($client:expr) => {
                $client
                    .config()
                    .to_builder()
                    .endpoint_url(&self.endpoint)
                    .credentials_provider(dummy.clone())
                    .build()
            };
        }
        Clients {
            dynamodb: aws_sdk_dynamodb::Client::from_conf(here!(clients.dynamodb)),
            streams: aws_sdk_dynamodbstreams::Client::from_conf(here!(clients.streams)),
            kinesis: aws_sdk_kinesis::Client::from_conf(here!(clients.kinesis)),
            logs: aws_sdk_cloudwatchlogs::Client::from_conf(here!(clients.logs)),
            wire: clients.wire,
            region: clients.region,
            credentials: clients.credentials,
            connections: clients.connections,
        }
    }
}

/// Waits until something answers on the port; `false` if the process ends, or takes too long.
async fn listens(port: u16, child: &mut Child) -> bool {
    // They take under a second on an idle machine.
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        if matches!(child.try_wait(), Ok(Some(_)) | Err(_)) {
            return false;
        }
        if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}
