//! Several workers on many shards, under load: deploys, deaths, a frozen node.
//!
//! The emulator's streams have one shard each, so that forty shards are forty tables with a pipeline each.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;

use crate::emulator::free_address;
use crate::fleet_log::{self, Story};
use crate::load::{Load, Pace, now};
use crate::tally::sequence;
use crate::weir::Weir;
use crate::world::World;
use crate::{setting, until};

const GROUP: &str = "/cdc/fleet";
const PACE: Pace = Pace {
    keys: 4,
    every: Duration::from_millis(500),
};

struct Fleet {
    world: World,
    config: String,
    shards: usize,
    lease: Duration,
    started: usize,
    workers: Vec<Weir>,
}

fn table(n: usize) -> String {
    format!("t{n:02}")
}

impl Fleet {
    async fn new(shards: usize, lease: Duration, look_up: bool) -> Self {
        let world = World::new().await;
        let mut config = format!(
            "application: fleet\nleases: {{ duration: {}s }}\npipelines:\n",
            lease.as_secs()
        );
        for shard in 0..shards {
            let table = table(shard);
            world.table(&table).await;
            config += &format!(
                "  {table}:\n    source: {{ dynamodb_table: {table}, poll: {{ idle: 250ms }} }}\n    \
                 destination: {{ group: {GROUP}, stream: \"{{pipeline}}\"{} }}\n",
                if look_up { "" } else { ", look_up: false" }
            );
        }
        let path = world.dir.path().join("fleet.yaml");
        std::fs::write(&path, config).unwrap();
        let config = path.to_str().unwrap().to_owned();
        Self {
            world,
            config,
            shards,
            lease,
            started: 0,
            workers: Vec::new(),
        }
    }

    fn start(&mut self) -> Weir {
        let http = free_address();
        let mut command = self.world.command();
        command
            .args(["run", "-c", &self.config, "--log-format", "json"])
            .args(["--http-address", &http.to_string()])
            .env("WEIR_LOG", "weir=debug");
        self.started += 1;
        let log = self
            .world
            .dir
            .path()
            .join(format!("worker-{:02}.log", self.started));
        Weir::start(command, http, &log)
    }

    fn grow(&mut self, workers: usize) {
        for _ in 0..workers {
            let worker = self.start();
            self.workers.push(worker);
        }
    }

    fn story(&self) -> Story {
        fleet_log::story(self.world.dir.path())
    }

    /// When the last of these leases was read again, in ms after `since`. An owner that stands in the table may be about
    /// to begin.
    async fn read(&self, leases: &[String], since: i64) -> i64 {
        let mut read = None;
        until(
            "its owner to read each shard",
            Duration::from_secs(60),
            async || {
                read = fleet_log::all_read(&self.story(), leases, since);
                read.is_some()
            },
        )
        .await;
        read.unwrap() - since
    }

    /// The leases of each worker's id.
    async fn owners(&self) -> BTreeMap<String, Vec<String>> {
        let mut owners: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for row in self.world.scan("fleet").await {
            if let Some(owner) = row.get("leaseOwner") {
                let key = row["leaseKey"].as_s().unwrap().clone();
                owners.entry(owner.as_s().unwrap().clone()).or_default().push(key);
            }
        }
        owners
    }

    /// Waits until every shard has an owner and the fleet is balanced.
    async fn balanced(&self) -> BTreeMap<String, Vec<String>> {
        let (shards, workers) = (self.shards, self.workers.len());
        let mut owners = BTreeMap::new();
        until(
            "a balanced fleet",
            self.lease * 6 + Duration::from_secs(30),
            async || {
                owners = self.owners().await;
                let counts: Vec<usize> = owners.values().map(Vec::len).collect();
                let spread = counts.iter().max().unwrap_or(&0) - counts.iter().min().unwrap_or(&0);
                counts.iter().sum::<usize>() == shards && counts.len() == workers && spread <= 1
            },
        )
        .await;
        owners
    }

    /// The leases of worker `n` of this fleet, by what its log says of its id.
    async fn leases_of(&self, worker: &Weir) -> Vec<String> {
        let log = std::fs::read_to_string(worker.log()).unwrap();
        let joined = log
            .lines()
            .rev()
            .find(|l| l.contains("joined the fleet"))
            .unwrap();
        let joined: serde_json::Value = serde_json::from_str(joined).unwrap();
        let owners = self.owners().await;
        owners
            .get(joined["worker"].as_str().unwrap())
            .cloned()
            .unwrap_or_default()
    }

    async fn all_leases(&self) -> Vec<String> {
        let rows = self.world.scan("fleet").await;
        rows.iter()
            .map(|row| row["leaseKey"].as_s().unwrap().clone())
            .collect()
    }
}

/// When what began.
#[derive(Default)]
struct Phases(Vec<(i64, &'static str)>);

impl Phases {
    fn begin(&mut self, what: &'static str) {
        self.0.push((now(), what));
    }

    fn phases(&self, end: i64) -> impl Iterator<Item = (i64, i64, &'static str)> {
        let ends = self.0.iter().skip(1).map(|(at, _)| *at).chain([end]);
        self.0
            .iter()
            .zip(ends)
            .map(|((from, what), until)| (*from, until, *what))
    }
}

/// Sees that no checkpoint ever goes back.
struct Watch {
    task: tokio::task::JoinHandle<()>,
}

impl Watch {
    fn start(dynamodb: &Client) -> Self {
        let client = dynamodb.clone();
        let task = tokio::spawn(async move {
            let mut highest: BTreeMap<String, u128> = BTreeMap::new();
            loop {
                for row in crate::world::scan(&client, "fleet").await {
                    let Some(at) = row.get("checkpoint").and_then(|c| sequence(c.as_s().unwrap())) else {
                        continue;
                    };
                    let high = highest
                        .entry(row["leaseKey"].as_s().unwrap().clone())
                        .or_default();
                    assert!(at >= *high, "the checkpoint of {row:?} went back from {high}");
                    *high = at;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        Self { task }
    }

    /// Panics if it saw one.
    async fn ended(self) {
        assert!(
            !self.task.is_finished(),
            "a checkpoint went back: {:?}",
            self.task.await
        );
        self.task.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_survives_deploys_deaths_and_a_frozen_node() {
    let workers: usize = setting("WEIR_FAULT_FLEET_WORKERS", 3);
    let shards: usize = setting("WEIR_FAULT_FLEET_SHARDS", 9);
    let lease = Duration::from_secs(setting("WEIR_FAULT_FLEET_LEASE_SECONDS", 4));
    let freeze = Duration::from_secs(setting("WEIR_FAULT_FLEET_FREEZE_SECONDS", 8));
    let look_up: bool = setting("WEIR_FAULT_FLEET_LOOK_UP", true);
    println!("{workers} workers, {shards} shards, leases of {lease:?}, look-up {look_up}");
    let mut fleet = Fleet::new(shards, lease, look_up).await;
    let tables: Vec<String> = (0..shards).map(table).collect();
    let load = Load::start(&fleet.world.dynamodb, &tables, PACE);
    let secs = |ms: i64| ms as f64 / 1000.0;

    let began = now();
    fleet.grow(workers);
    fleet.balanced().await;
    let cold = fleet.read(&fleet.all_leases().await, began).await;
    let story = fleet.story();
    println!(
        "cold start to all shards read: {:.1} s, takes {}",
        secs(cold),
        fleet_log::reads(&story, began)
    );
    let watch = Watch::start(&fleet.world.dynamodb);

    let mut phases = Phases::default();
    phases.begin("in calm");
    // One more joins.
    tokio::time::sleep(Duration::from_secs(3)).await;
    phases.begin("at a join");
    let began = now();
    fleet.grow(1);
    fleet.balanced().await;
    let joined = fleet.leases_of(fleet.workers.last().unwrap()).await;
    let join = fleet.read(&joined, began).await;
    let story = fleet.story();
    println!(
        "a join: its {} shards read after {:.1} s, moves {}, the longest unread {:.2} s",
        joined.len(),
        secs(join),
        fleet_log::reads(&story, began),
        secs(fleet_log::longest_unread(&story, began))
    );

    // A rolling deploy: each is asked to end, then replaced.
    phases.begin("at a rolling restart");
    let began = now();
    let mut longest = Duration::ZERO;
    for _ in 0..fleet.workers.len() {
        let mut old = fleet.workers.remove(0);
        let asked = std::time::Instant::now();
        old.terminate();
        let status = old.ended().await;
        longest = longest.max(asked.elapsed());
        assert_eq!(status.code(), Some(0), "a complete drain: {status}");
        fleet.grow(1);
        fleet.balanced().await;
    }
    let story = fleet.story();
    println!(
        "a rolling restart of {}: the longest drain {:.1} s, moves {}, the longest unread {:.2} s",
        fleet.workers.len(),
        longest.as_secs_f64(),
        fleet_log::reads(&story, began),
        secs(fleet_log::longest_unread(&story, began))
    );
    let before = fleet.world.tally_of(GROUP).await.repeats();
    assert_eq!(
        before, 0,
        "repeats after a cold start, a join and a rolling restart"
    );

    // One is killed.
    phases.begin("around kill -9");
    let victim = fleet.workers.remove(0);
    let orphans = fleet.leases_of(&victim).await;
    let killed = now();
    victim.kill_nine();
    fleet.balanced().await;
    let read = fleet.read(&orphans, killed).await;
    println!(
        "kill -9: its {} shards read again after {:.1} s",
        orphans.len(),
        secs(read)
    );
    // What the dead had put since its last checkpoints lies in the past by now.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = fleet.world.tally_of(GROUP).await.repeats();
    println!("kill -9: {} repeats", after - before);

    // One freezes for longer than the lease, and goes on.
    phases.begin("around SIGSTOP");
    let frozen = fleet.workers.remove(0);
    frozen.freeze();
    tokio::time::sleep(freeze).await;
    fleet.balanced().await;
    frozen.wake();
    fleet.workers.push(frozen);
    fleet.balanced().await;
    let thawed = fleet.world.tally_of(GROUP).await.repeats();
    println!("SIGSTOP for {freeze:?}: {} repeats", thawed - after);

    let last = load.ended().await;
    let changes = last.values().sum::<u32>() as usize;
    until("the last change", Duration::from_secs(90), async || {
        fleet.world.tally_of(GROUP).await.changes() >= changes
    })
    .await;
    let tally = fleet.world.tally_of(GROUP).await;
    tally.must_hold_all(&last);
    watch.ended().await;
    println!("{} changes, {} events", tally.changes(), tally.events.len());
    for (from, until, phase) in phases.phases(now()) {
        let during = tally
            .first_copies()
            .filter(|e| e.written.is_some_and(|at| (from..until).contains(&at)));
        let slowest = during.max_by_key(|e| e.ingested - e.written.unwrap_or(e.ingested));
        let Some(slowest) = slowest else { continue };
        println!(
            "the longest way from the writer to the log, {phase}: {:.2} s ({} in {})",
            secs(slowest.ingested - slowest.written.unwrap_or(0)),
            slowest.key,
            slowest.stream
        );
    }
    for worker in &fleet.workers {
        worker.terminate();
    }
    for mut worker in fleet.workers.drain(..) {
        assert_eq!(worker.ended().await.code(), Some(0));
    }
    let owned = fleet.owners().await;
    assert!(
        owned.is_empty(),
        "leases with an owner after all have left: {owned:?}"
    );
}
