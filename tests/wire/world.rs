//! One fake, one `weir` before it, and what a test asks of both.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::inject::Rule;
use crate::judge::{Account, Fates};
use crate::records::{Kind, SECRET, Unit};
use crate::server::Aws;
use crate::shards::Service;
use crate::weir::{self, Weir};
use crate::{http, until};

pub const GROUP: &str = "/cdc/orders";
/// Of a second pipeline that reads the same stream, where there is one.
pub const COPIES: &str = "/cdc/copies";
/// The log stream of all shards, where they have one.
pub const ALL: &str = "all";
/// The tables of the default application.
pub const LEASES: &str = "weir";
pub const FLEET: &str = "weir-fleet";

/// Whoever settles no record for so long hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What the terms of the account of /metrics are.
const ENDS: [&str; 7] = [
    "weir_records_delivered_total",
    "weir_records_filtered_total",
    "weir_records_before_start_total",
    "weir_records_already_delivered_total",
    "weir_records_dead_lettered_total",
    "weir_records_given_back_total",
    "weir_records_in_flight",
];

/// Settings of time, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub lease: u32,
    pub drain: u32,
}

impl Default for Pace {
    /// So long that a busy machine fences no worker.
    fn default() -> Self {
        Self { lease: 10, drain: 20 }
    }
}

/// What the file of settings says. Pieces of YAML.
#[derive(Clone, Debug)]
pub struct Settings {
    pub service: Service,
    pub pace: Pace,
    /// Further keys of the file, a line each.
    pub file: Vec<&'static str>,
    /// Further keys of the pipeline.
    pub pipeline: Vec<&'static str>,
    /// All keys of its destination.
    pub destination: &'static str,
    /// Whether a second pipeline reads the stream too, and writes to [`COPIES`].
    pub copies: bool,
}

impl Settings {
    pub fn of(service: Service) -> Self {
        Self {
            service,
            pace: Pace::default(),
            file: Vec::new(),
            pipeline: Vec::new(),
            destination: "group: /cdc/orders, retention_days: 30",
            copies: false,
        }
    }

    fn text(&self) -> String {
        let Pace { lease, drain } = self.pace;
        let source = match self.service {
            Service::DynamoDb => "dynamodb_table",
            Service::Kinesis => "kinesis_stream",
        };
        let source = format!("source: {{ {source}: orders, sync_interval: 1s, poll: {{ idle: 100ms }} }}");
        let pipeline = |name: &str, more: &[&str], destination: &str| {
            let more: String = more.iter().map(|line| format!("    {line}\n")).collect();
            format!("  {name}:\n    {source}\n    destination: {{ {destination} }}\n{more}")
        };
        let file: String = self.file.iter().map(|line| format!("{line}\n")).collect();
        let orders = pipeline("orders", &self.pipeline, self.destination);
        let copies = match self.copies {
            true => pipeline("copies", &[], &format!("group: {COPIES}")),
            false => String::new(),
        };
        format!(
            "leases: {{ duration: {lease}s }}\n\
             checkpoint: {{ interval: 1s }}\n\
             drain: {{ timeout: {drain}s }}\n\
             {file}pipelines:\n{orders}{copies}"
        )
    }
}

pub struct World {
    pub aws: Aws,
    config: PathBuf,
    fates: Fates,
    lives: usize,
    // Dropped last: the others have files in it.
    dir: TempDir,
}

impl World {
    pub async fn new(settings: &Settings, fates: Fates, shards: u128) -> Self {
        let aws = Aws::start(settings.service, shards).await;
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("weir.yaml");
        std::fs::write(&config, settings.text()).unwrap();
        Self {
            aws,
            config,
            fates,
            lives: 0,
            dir,
        }
    }

    /// The real binary, with the fake for its AWS.
    fn command(&self) -> Command {
        let mut command = weir::command(self.dir.path());
        command
            .env("AWS_ENDPOINT_URL", format!("http://{}", self.aws.address))
            .env("AWS_REGION", "eu-west-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test");
        command
    }

    /// A life of it.
    pub async fn start(&mut self) -> Weir {
        self.lives += 1;
        let mut command = self.command();
        command
            .args([
                "run",
                "--log-format",
                "text",
                "--http-address",
                "127.0.0.1:0",
                "-c",
            ])
            .arg(&self.config);
        let log = self.log(self.lives);
        let nowhere = ([127, 0, 0, 1], 0).into();
        let mut weir = Weir::start(command, nowhere, &log);
        until(
            "the address of its metrics",
            Duration::from_secs(30),
            async || {
                weir.must_live();
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                let found = text
                    .split("address=")
                    .nth(1)
                    .and_then(|rest| rest.split_whitespace().next());
                let Some(address) = found.and_then(|address| address.parse().ok()) else {
                    return false;
                };
                weir.http = address;
                true
            },
        )
        .await;
        weir
    }

    /// Another life, whose address nobody waits for: one that is about to end by itself, perhaps. And its log.
    pub fn start_blindly(&mut self, arguments: &[&str]) -> (Weir, PathBuf) {
        self.lives += 1;
        let mut command = self.command();
        command.args(["run", "--log-format", "text"]).args(arguments);
        command.arg("-c").arg(&self.config);
        let log = self.log(self.lives);
        (Weir::start(command, ([127, 0, 0, 1], 0).into(), &log), log)
    }

    /// Replaces the file of settings.
    pub fn rewrite(&self, change: impl Fn(String) -> String) {
        let text = std::fs::read_to_string(&self.config).unwrap();
        std::fs::write(&self.config, change(text)).unwrap();
    }

    /// What `weir dead-letters` answers with these settings, and its exit code.
    pub async fn letters(&self, settings: &Settings, arguments: &[&str]) -> (Value, i32) {
        let config = self.dir.path().join("letters.yaml");
        std::fs::write(&config, settings.text()).unwrap();
        let mut command = self.command();
        command.arg("dead-letters").args(arguments);
        command.args(["--json", "-c"]).arg(&config);
        let run = tokio::process::Command::from(command).kill_on_drop(true).output();
        let output = tokio::time::timeout(PATIENCE, run).await;
        let output = output.expect("hangs").unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let answer = serde_json::from_slice(&output.stdout);
        let answer = answer.unwrap_or_else(|e| panic!("{e}: {} {told}", output.status));
        (answer, output.status.code().unwrap())
    }

    /// What a command prints with the settings of [`Self::start`], what it says on stderr, and its exit code.
    pub async fn ask(&self, arguments: &[&str]) -> (String, String, i32) {
        let mut command = self.command();
        command.args(arguments).arg("-c").arg(&self.config);
        let run = tokio::process::Command::from(command).kill_on_drop(true).output();
        let output = tokio::time::timeout(3 * PATIENCE, run).await;
        let output = output.expect("hangs").unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().expect("no signal ended it");
        (text(&output.stdout), text(&output.stderr), code)
    }

    /// A command that goes on, with its stdout to be read.
    pub fn follow(&self, arguments: &[&str]) -> tokio::process::Child {
        let mut command = self.command();
        command.args(arguments).arg("-c").arg(&self.config);
        let mut command = tokio::process::Command::from(command);
        command.stdout(Stdio::piped()).kill_on_drop(true);
        command.spawn().unwrap()
    }

    /// The lines of Weir's own log that tell what records hold.
    pub fn indiscretions(&self) -> Vec<String> {
        let texts = (1..=self.lives).map(|life| std::fs::read_to_string(self.log(life)).unwrap());
        let lines = texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>());
        lines.filter(|line| line.contains(SECRET)).collect()
    }

    fn log(&self, life: usize) -> PathBuf {
        self.dir.path().join(format!("weir-{life}.log"))
    }

    pub fn inject(&self, rules: impl IntoIterator<Item = Rule>) {
        self.aws.inject(rules);
    }

    /// One record for each open shard.
    pub fn append_everywhere(&self, kind: Kind) {
        let mut state = self.aws.state();
        for leaf in state.stream.leaves() {
            state.stream.append(leaf, kind);
        }
    }

    pub fn append(&self, shard: usize, kind: Kind) {
        self.aws.state().stream.append(shard, kind);
    }

    pub fn account(&self) -> Account {
        Account::of(&self.aws.state(), self.fates)
    }

    /// Waits until each record is where it should be, or nothing has moved for so long.
    pub async fn settle(&self, weir: &mut Weir, patience: Duration) -> Account {
        let (mut most, mut moved) = (0, Instant::now());
        loop {
            weir.must_live();
            let account = self.account();
            if account.settled() > most {
                (most, moved) = (account.settled(), Instant::now());
            }
            if account.is_settled() || moved.elapsed() > patience {
                return account;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Where the lease of a shard stands; `None` before its first checkpoint.
    pub fn checkpoint(&self, shard: usize) -> Option<String> {
        let state = self.aws.state();
        let id = state.stream.shards[shard].id.as_str();
        let rows = state.tables.rows(LEASES);
        let row = rows.into_iter().find(|row| row["shardId"]["S"] == id)?;
        let checkpoint = row["checkpoint"]["S"].as_str()?;
        (checkpoint != "TRIM_HORIZON").then(|| checkpoint.to_owned())
    }

    /// The events in the log that no checkpoint covers: what a death at this moment leaves to be repeated.
    pub fn exposed(&self) -> usize {
        let shards = self.aws.state().stream.shards.len();
        let checkpoints: Vec<_> = (0..shards).map(|shard| self.checkpoint(shard)).collect();
        let state = self.aws.state();
        let mut exposed = 0;
        for (shard, checkpoint) in state.stream.shards.iter().zip(checkpoints) {
            if checkpoint.as_deref() == Some("SHARD_END") {
                continue;
            }
            let after = checkpoint.unwrap_or_default();
            let streams = state
                .logs
                .groups
                .values()
                .filter_map(|g| g.streams.get(&shard.id));
            let units = streams.flatten().filter_map(|event| Unit::of(&event.message));
            exposed += units
                .filter(|unit| shard.records[unit.record].sequence > after)
                .count();
        }
        exposed
    }

    /// What a drain leaves: every lease of an open shard free, each at the end of what its shard holds.
    pub fn drained(&self) -> Result<(), String> {
        let state = self.aws.state();
        let rows = state.tables.rows(LEASES);
        for shard in state.stream.shards.iter().filter(|shard| !shard.gone) {
            // One of each pipeline.
            let of_shard: Vec<_> = rows
                .iter()
                .filter(|row| row["shardId"]["S"] == shard.id.as_str())
                .collect();
            if of_shard.is_empty() {
                return Err(format!("{} has no lease", shard.id));
            }
            let last = shard.records.last().map(|r| r.sequence.as_str());
            let want = if shard.ends.is_some() {
                Some("SHARD_END")
            } else {
                last
            };
            for row in of_shard {
                // Who read a shard to its end stays its owner, as with KCL.
                let ended = row["checkpoint"]["S"] == "SHARD_END";
                if let Some(owner) = row.get("leaseOwner").filter(|_| !ended) {
                    return Err(format!("the lease of {} is still {owner}'s", shard.id));
                }
                let checkpoint = row["checkpoint"]["S"].as_str();
                if want.is_some() && checkpoint != want {
                    return Err(format!(
                        "the checkpoint of {} is {checkpoint:?}, not {want:?}",
                        shard.id
                    ));
                }
            }
        }
        Ok(())
    }

    /// The gaps that were written down.
    pub fn gaps(&self) -> usize {
        let state = self.aws.state();
        let rows = state.tables.rows(FLEET);
        rows.iter().filter(|row| row["kind"]["S"] == "gap").count()
    }

    /// What Weir should not have sent.
    pub fn complaints(&self) -> Vec<String> {
        self.aws.state().complaints.clone()
    }
}

/// The numbers of /metrics at one moment.
pub struct Numbers(String);

impl Numbers {
    pub async fn of(weir: &Weir) -> Option<Self> {
        let answer = http::get(weir.http, "/metrics").await?;
        Some(Self(answer.body))
    }

    /// The sum over the labels of all series that begin so: `name`, or `name{label="value"`.
    pub fn sum(&self, series: &str) -> f64 {
        let lines = self.0.lines().filter_map(|line| line.rsplit_once(' '));
        let is_it = |name: &str| {
            name.strip_prefix(series)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['{', ',', '}']))
        };
        lines
            .filter(|(name, _)| is_it(name))
            .filter_map(|(_, value)| value.parse::<f64>().ok())
            .sum()
    }

    /// What was received, and the sum of what became of it.
    fn balance(&self) -> (f64, f64) {
        let ends = ENDS.iter().map(|name| self.sum(name)).sum();
        (self.sum("weir_records_received_total"), ends)
    }
}

/// The numbers once the account is even and nothing is in flight.
pub async fn balanced(weir: &mut Weir) -> Numbers {
    let mut even = None;
    let what = "received to equal what became of it, with nothing in flight";
    until(what, Duration::from_secs(30), async || {
        weir.must_live();
        even = Numbers::of(weir).await.filter(|numbers| {
            let (received, ends) = numbers.balance();
            received == ends && numbers.sum("weir_records_in_flight") == 0.0
        });
        even.is_some()
    })
    .await;
    even.unwrap()
}

/// What /readyz says is wrong.
pub async fn problems(weir: &Weir) -> String {
    let Some(answer) = http::get(weir.http, "/readyz").await else {
        return String::new();
    };
    let report: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
    match report["problems"].as_object() {
        Some(problems) if !problems.is_empty() => report["problems"].to_string(),
        _ => String::new(),
    }
}
