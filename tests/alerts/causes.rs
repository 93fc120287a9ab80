//! Each alert with its cause made real, before one Prometheus; and a fleet of three, on an emulator that others wrote,
//! in which nothing fires.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::emulator::free_address;
use crate::fleets::{Fleet, Liar};
use crate::inject::{Rule, on};
use crate::prometheus::{Server, promtool_reads};
use crate::records::Kind;
use crate::weir::Weir;
use crate::world::World;
use crate::writers::{Plan, Writers};
use crate::{http, rules, shorter, until};

/// Whatever has not fired by then never will.
const PATIENCE: Duration = Duration::from_secs(180);
const HOUR: i64 = 3_600_000;
const HEALTHY: &str = "healthy";
const DIES_YOUNG: &str = "dies-young";

/// Which job's trouble makes which rule fire: the alert, its label `why` or else its severity, the job.
const CAUSES: [(&str, &str, &str); 18] = [
    // Puts are denied, of records that are twenty and a half hours old.
    ("WeirDataAtRisk", "warning", "denied"),
    ("WeirDataAtRisk", "critical", "denied"),
    ("WeirLagGrowing", "warning", "denied"),
    ("WeirDestinationHeld", "warning", "denied"),
    ("WeirProblem", "warning", "denied"),
    ("WeirShardStuck", "undelivered", "denied"),
    // Reads are denied.
    ("WeirShardStuck", "unread", "unread"),
    // No write of a lease comes through.
    ("WeirShardStuck", "unowned", "untaken"),
    // Nor can its stream's shards be listed.
    ("WeirNoWorker", "no_leases", "nobody"),
    // More than half of the reads are refused for their number.
    ("WeirThrottled", "warning", "throttled"),
    // The stream trims records while they wait, and one that comes can't be decoded.
    ("WeirDataLost", "critical", "lost"),
    ("WeirDeadLetters", "warning", "lost"),
    // No heartbeat is answered in time.
    ("WeirFenced", "warning", "fenced"),
    // kill -9 again and again, in one place, and then no more start; and each time at another address.
    ("WeirCrashLoop", "restarts", "killed"),
    ("WeirDown", "warning", "killed"),
    ("WeirNoWorker", "not_running", "killed"),
    ("WeirCrashLoop", "short_lives", DIES_YOUNG),
    // No honest means makes Weir miscount: an exporter tells a worker's numbers with this one changed.
    ("WeirUnbalancedAccounts", "warning", "liar"),
];

/// An alert as [`CAUSES`] names it.
type Name = (String, String, String);

/// What has fired so far.
#[derive(Clone, Default)]
struct Fired(Arc<Mutex<BTreeSet<Name>>>);

impl Fired {
    fn has(&self, alert: &str, which: &str, job: &str) -> bool {
        let name = (alert.to_owned(), which.to_owned(), job.to_owned());
        self.0.lock().unwrap().contains(&name)
    }

    /// Takes in what fires now.
    async fn look(&self, prometheus: &Server) {
        for alert in prometheus.alerts().await {
            let label = |name: &str| alert["labels"][name].as_str().map(str::to_owned);
            let name = (
                label("alertname").unwrap(),
                label("why").or(label("severity")).unwrap(),
                label("job").unwrap_or_default(),
            );
            let fires = alert["state"] == "firing";
            if fires && self.0.lock().unwrap().insert(name.clone()) {
                println!("{name:?}: {}", alert["annotations"]["summary"]);
            }
        }
    }

    fn missing(&self) -> Vec<(&'static str, &'static str, &'static str)> {
        let missing = CAUSES
            .iter()
            .filter(|(alert, which, job)| !self.has(alert, which, job));
        missing.copied().collect()
    }
}

/// The three on ministack. Their leases are as long as by default. They write a checkpoint each second, and look at the
/// shards as often, since the default's fifteen and thirty are a quarter and half of an hour of the rules' time.
struct Healthy {
    world: World,
    config: String,
    workers: Vec<Weir>,
}

impl Healthy {
    async fn new() -> Self {
        let world = World::new().await;
        let mut text = "application: healthy\ncheckpoint: { interval: 1s }\npipelines:\n".to_owned();
        for table in ["orders", "carts", "stock"] {
            if table != "orders" {
                world.table(table).await;
            }
            text += &format!(
                "  {table}:\n    source: {{ dynamodb_table: {table}, sync_interval: 1s }}\n    \
                 destination: {{ group: /cdc/{table} }}\n"
            );
        }
        let config = world.dir.path().join("healthy.yaml");
        std::fs::write(&config, text).unwrap();
        let mut healthy = Self {
            config: config.to_str().unwrap().to_owned(),
            world,
            workers: Vec::new(),
        };
        for _ in 0..3 {
            healthy.workers.push(healthy.start(free_address()));
        }
        for worker in &mut healthy.workers {
            worker.ready().await;
        }
        healthy
    }

    fn start(&self, http: std::net::SocketAddr) -> Weir {
        let mut command = self.world.command();
        command.args(["run", "-c", &self.config, "--log-format", "text"]);
        command.args(["--http-address", &http.to_string()]);
        Weir::start(command, http, &self.world.dir.path().join("healthy.log"))
    }

    /// One is replaced, as a deploy does it.
    async fn replace_one(&mut self) {
        let mut old = self.workers.remove(0);
        old.terminate();
        assert_eq!(old.ended().await.code(), Some(0), "a complete drain");
        let mut new = self.start(old.http);
        new.ready().await;
        self.workers.push(new);
    }
}

fn denied(operation: &'static str) -> Rule {
    on(operation).error(400, "AccessDeniedException").always()
}

/// `kill -9` after each scrape or two, until Prometheus tells of it.
async fn killed_again_and_again(fleet: Fleet, http: std::net::SocketAddr, fired: Fired) {
    while !fired.has("WeirCrashLoop", "restarts", fleet.job) {
        let mut weir = fleet.start(http);
        scraped(&mut weir).await;
        weir.kill_nine();
    }
}

/// The same where each life has an address of its own, as a file tells Prometheus.
async fn dies_young(fleet: Fleet, targets: std::path::PathBuf, fired: Fired) {
    while !fired.has("WeirCrashLoop", "short_lives", fleet.job) {
        let http = free_address();
        let mut weir = fleet.start(http);
        tell(&targets, &[http]);
        scraped(&mut weir).await;
        weir.kill_nine();
        tell(&targets, &[]);
    }
}

fn tell(targets: &Path, addresses: &[std::net::SocketAddr]) {
    let list = json!([{ "targets": addresses, "labels": {} }]);
    // Never half a file.
    let new = targets.with_extension("new");
    std::fs::write(&new, list.to_string()).unwrap();
    std::fs::rename(&new, targets).unwrap();
}

/// Lives until Prometheus has seen it: it scrapes each second.
async fn scraped(weir: &mut Weir) {
    until("its metrics", Duration::from_secs(30), async || {
        weir.must_live();
        http::get(weir.http, "/metrics").await.is_some()
    })
    .await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
}

/// Records that are trimmed before they can be read, and one that can't be decoded.
async fn lose(fleet: &Fleet, weir: &mut Weir) {
    fleet.append(Kind::Good, 5, 0);
    weir.first_delivery().await;
    {
        let mut state = fleet.aws.state();
        let read = state.stream.shards[0].records.len();
        for _ in 0..10 {
            state.stream.append(0, Kind::Good);
        }
        state.stream.trim(0, read + 5);
    }
    fleet.append(Kind::Undecodable, 1, 0);
}

fn config(rules: &Path, jobs: &[(&str, Value)]) -> Value {
    let jobs: Vec<_> = jobs
        .iter()
        .map(|(job, targets)| match targets {
            Value::String(file) => json!({ "job_name": job, "file_sd_configs": [{ "files": [file] }] }),
            targets => json!({ "job_name": job, "static_configs": [{ "targets": targets }] }),
        })
        .collect();
    json!({
        "global": { "scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s" },
        "rule_files": [rules], "scrape_configs": jobs,
    })
}

#[test]
fn each_rule_has_a_cause() {
    for alert in rules::alerts() {
        let label = |name: &str| alert.labels.get(name).map(String::as_str);
        let found = CAUSES.iter().any(|(name, which, _)| {
            // `unowned` comes from the series.
            let of_series = *which == "unowned" && label("why").is_none();
            *name == alert.name && (Some(*which) == label("why").or(label("severity")) || of_series)
        });
        assert!(found, "nothing makes {} {:?} fire", alert.name, alert.labels);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_alert_fires_for_its_cause_and_none_for_a_healthy_fleet() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let fleet = async |job, shards, lease| Fleet::new(job, dir, shards, lease).await;
    let heartbeat = on("UpdateItem").with("{\"S\":\"worker\"}");
    let lease = on("UpdateItem").with("\"TableName\":\"weir\"");

    let mut healthy = Healthy::new().await;
    let plan = Plan {
        keys: 2000,
        versions: 3,
        padding: 100,
        over: Duration::from_secs(120),
    };
    let _writers = Writers::start(&healthy.world.dynamodb, plan);

    // Those that run on in their trouble.
    let fleets = [
        fleet("denied", 2, 10).await.with(denied("PutLogEvents")),
        fleet("unread", 1, 10).await.with(denied("GetRecords")),
        fleet("untaken", 2, 10).await.with(
            lease
                .error(400, "ProvisionedThroughputExceededException")
                .always(),
        ),
        fleet("nobody", 1, 10).await.with(denied("DescribeStream")),
        fleet("throttled", 4, 10).await.with(
            on("GetRecords")
                .error(400, "LimitExceededException")
                .percent(60, 1)
                .always(),
        ),
        fleet("lost", 1, 10).await,
        fleet("fenced", 1, 3).await.with(
            heartbeat
                .error(400, "ProvisionedThroughputExceededException")
                .after(2)
                .always(),
        ),
    ];
    for fleet in &fleets {
        let age = if fleet.job == "denied" {
            20 * HOUR + HOUR / 2
        } else {
            0
        };
        fleet.append(Kind::Good, 3, age);
    }
    let mut workers: Vec<_> = fleets.iter().map(|fleet| fleet.start(free_address())).collect();
    let liar = Liar::of(healthy.workers[0].http, "weir_records_unaccounted{", 3).await;
    let (killed, dying) = (fleet("killed", 1, 3).await, fleet(DIES_YOUNG, 1, 3).await);
    let place = free_address();
    let targets = dir.join("dies-young.json");
    tell(&targets, &[]);

    let rules = dir.join("rules.json");
    std::fs::write(&rules, shorter::rules().to_string()).unwrap();
    let of_healthy: Vec<_> = healthy.workers.iter().map(|worker| worker.http).collect();
    let mut jobs = vec![
        (HEALTHY, json!(of_healthy)),
        ("liar", json!([liar.address])),
        ("killed", json!([place])),
        (DIES_YOUNG, json!(targets)),
    ];
    jobs.extend(
        fleets
            .iter()
            .zip(&workers)
            .map(|(fleet, weir)| (fleet.job, json!([weir.http]))),
    );
    let prometheus = Server::start(dir, &config(&rules, &jobs)).await;

    let fired = Fired::default();
    let lost = fleets.iter().position(|fleet| fleet.job == "lost").unwrap();
    let watch = async {
        lose(&fleets[lost], &mut workers[lost]).await;
        until(
            "each scrape of the healthy fleet",
            Duration::from_secs(30),
            async || prometheus.up(HEALTHY).await == 3,
        )
        .await;
        healthy.replace_one().await;
        let began = Instant::now();
        while !fired.missing().is_empty() {
            fired.look(&prometheus).await;
            assert!(
                began.elapsed() < PATIENCE,
                "these don't fire: {:#?}",
                fired.missing()
            );
            for worker in workers.iter_mut().chain(&mut healthy.workers) {
                worker.must_live();
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::join!(
        watch,
        killed_again_and_again(killed, place, fired.clone()),
        dies_young(dying, targets, fired.clone()),
    );
    // One scrape may have come too late on a busy machine.
    until(
        "each scrape of the healthy fleet",
        Duration::from_secs(30),
        async || prometheus.up(HEALTHY).await == 3,
    )
    .await;
    let all = fired.0.lock().unwrap().clone();
    let false_alarms: Vec<_> = all.iter().filter(|(_, _, job)| job == HEALTHY).collect();
    assert!(false_alarms.is_empty(), "a healthy fleet fires {false_alarms:?}");

    // What Prometheus' own linter says of the metrics of each.
    for worker in workers.iter().chain(&healthy.workers) {
        let metrics = http::get(worker.http, "/metrics").await.unwrap().body;
        promtool_reads(&["check", "metrics"], &metrics);
    }
}
