//! Weir as the simulation runs it: one `coordinator::run` per process, on the world's fakes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::sync::watch;
use weir::config::{DestinationConfig, PipelineConfig, SourceConfig, Start, StreamChoice};
use weir::coordinator::{self, Pipeline, Why, Worker};
use weir::decode::{Decode, DecodeSettings, Skip};
use weir::logs::batch::Refusal;
use weir::logs::guard::Guard;
use weir::logs::template::{Template, TemplateKind};
use weir::metrics::Metrics;
use weir::metrics::account::Account;
use weir::readiness::Readiness;
use weir::shutdown;
use weir::status::reports::Reports;

use crate::clock::SimClock;
use crate::logs::SimLogs;
use crate::ownership::LEASE;
use crate::process::Program;
use crate::source::SimSource;
use crate::streams::table_name;
use crate::table::SimTable;
use crate::world::{Seat, State};

/// How often a worker writes a moved checkpoint (the default).
pub const CHECKPOINT: Duration = Duration::from_secs(15);

/// What a seed sets.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub start: Start,
    pub poll_idle: Duration,
    /// What the wait grows to; at least `poll_idle` is taken.
    pub poll_idle_most: Duration,
    pub sync_interval: Duration,
    /// All shards write to one log stream.
    pub one_log_stream: bool,
    pub memory: usize,
    pub look_up: bool,
    pub keep_removed: Duration,
    /// The streams are of Kinesis, with changes as JSON in them.
    pub kinesis: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            start: Start::TrimHorizon,
            poll_idle: Duration::from_secs(1),
            poll_idle_most: Duration::from_secs(5),
            sync_interval: Duration::from_secs(30),
            one_log_stream: false,
            memory: 16 << 20,
            look_up: true,
            keep_removed: Duration::from_secs(7 * 24 * 3600),
            kinesis: false,
        }
    }
}

impl Settings {
    fn draw(rng: &mut Rng) -> Self {
        Self {
            start: [Start::TrimHorizon, Start::TrimHorizon, Start::Latest][rng.usize(0..3)],
            poll_idle: Duration::from_millis([250, 1_000, 3_000][rng.usize(0..3)]),
            sync_interval: Duration::from_secs([10, 30, 60][rng.usize(0..3)]),
            one_log_stream: rng.bool(),
            memory: [2 << 20, 8 << 20, 64 << 20][rng.usize(0..3)],
            look_up: rng.bool(),
            ..Self::default()
        }
    }

    /// The longest wait between two reads of a shard.
    pub fn poll_idle_most(&self) -> Duration {
        self.poll_idle_most.max(self.poll_idle)
    }

    pub fn starts_at_the_horizon(&self) -> bool {
        self.start == Start::TrimHorizon
    }
}

impl State {
    /// The names of all pipelines: one a table.
    pub fn pipelines(&self) -> Vec<String> {
        let tables = self
            .streams
            .streams
            .iter()
            .map(|s| s.table + 1)
            .max()
            .unwrap_or(1);
        (0..tables).map(table_name).collect()
    }

    /// The sum of what `one` says of each pipeline.
    pub fn over_pipelines(&self, one: impl Fn(&str) -> u64) -> u64 {
        self.pipelines().iter().map(|p| one(p)).sum()
    }

    /// The tables whose pipelines the processes of a slot run.
    pub fn tables_of(&self, slot: usize) -> BTreeSet<usize> {
        self.runs.get(&slot).cloned().unwrap_or_else(|| [0].into())
    }

    pub fn draw_settings(&mut self) {
        self.settings = Settings::draw(&mut self.rng);
        self.settings.kinesis = self.streams.kinesis.is_some();
        let settings = self.settings;
        self.note(format!("{settings:?} {:?}", self.faults));
    }
}

impl State {
    /// A worker that is not done with what it read, though the world is quiet.
    pub fn still_in_flight(&self) -> Option<String> {
        let counted = self.metrics.iter().filter(|(pid, _)| self.procs[**pid].alive);
        let mut counted = counted.flat_map(|(pid, metrics)| {
            let pipelines = self.pipelines().into_iter();
            pipelines.map(move |p| (pid, Account::of(metrics, &p)))
        });
        let (pid, account) = counted.find(|(_, account)| account.in_flight != 0)?;
        Some(format!("p{pid} has records in flight: {account}"))
    }

    /// **Nothing is lost** says too that the counters add up.
    pub fn counters_add_up(&mut self) {
        let mut wrong = Vec::new();
        for (pid, metrics) in &self.metrics {
            // A killed process counts no more, wherever it was.
            if self.procs[*pid].crash_at.is_some() {
                continue;
            }
            for pipeline in self.pipelines() {
                let account = Account::of(metrics, &pipeline);
                if !account.adds_up() {
                    wrong.push(format!(
                        "nothing_is_lost: the counters of p{pid} don't add up: {account}"
                    ));
                }
                // Of these nobody counts the bytes.
                let uncounted = account.before_start + account.already_delivered + account.given_back;
                let left = unaccounted_bytes(metrics, &pipeline);
                if uncounted == 0 && account.in_flight == 0 && left != 0 {
                    wrong.push(format!(
                        "nothing_is_lost: p{pid} has {left} bytes that are neither delivered, nor filtered, nor \
                         dead-lettered: {account}"
                    ));
                }
            }
        }
        for line in wrong {
            self.model.broken(self.now, line);
        }
    }
}

/// Bytes received, less those of every fate whose bytes are counted.
fn unaccounted_bytes(metrics: &Metrics, pipeline: &str) -> i128 {
    let filtered = Skip::ALL.map(|why| {
        let labels = [pipeline, why.as_str()];
        metrics.bytes_filtered.with_label_values(&labels).get()
    });
    let dead_lettered = Refusal::ALL.map(|reason| {
        let labels = [pipeline, reason.as_str()];
        metrics.bytes_dead_lettered.with_label_values(&labels).get()
    });
    let delivered = metrics.bytes_delivered.with_label_values(&[pipeline]).get();
    let received = metrics.bytes_received.with_label_values(&[pipeline]).get();
    let ended = delivered + filtered.iter().sum::<u64>() + dead_lettered.iter().sum::<u64>();
    i128::from(received) - i128::from(ended)
}

/// The real thing.
pub fn program() -> Program {
    Arc::new(|seat, told| Box::pin(weir(seat, told)))
}

/// The same as a job, which ends when it has caught up. How it ended stands in the world; its process stays.
pub fn job() -> Program {
    Arc::new(|seat, told| {
        Box::pin(async move {
            let mut worker = worker(&seat);
            worker.settings.until_caught_up = true;
            let end = work(worker, told).await;
            seat.world.with(|s| {
                s.note(format!("p{} {end:?}", seat.pid));
                s.ends.insert(seat.pid, end);
            });
            std::future::pending().await
        })
    })
}

async fn weir(seat: Seat, told: watch::Receiver<bool>) -> Result<(), String> {
    work(worker(&seat), told).await.map(drop)
}

async fn work(worker: Worker, mut told: watch::Receiver<bool>) -> Result<Why, String> {
    let (stopper, stop) = shutdown::channel();
    let work = coordinator::run(worker, stop);
    tokio::pin!(work);
    // Safe to cancel: `work` is only borrowed, and a wish stays wished.
    let end = tokio::select! {
        biased;
        end = &mut work => end,
        () = wished(&mut told) => {
            stopper.stop();
            work.await
        }
    };
    end.map_err(|died| died.to_string())
}

async fn wished(told: &mut watch::Receiver<bool>) {
    // A closed channel is the end of the story.
    let _slot_is_there = told.wait_for(|stop| *stop).await;
}

fn worker(seat: &Seat) -> Worker {
    let (settings, keys, seed, tables) = seat.world.with(|s| {
        let proc = &s.procs[seat.pid];
        (s.settings, s.keys.clone(), proc.rng_seed, proc.tables.clone())
    });
    let (metrics, reports) = (Metrics::new(), Reports::default());
    seat.world.with(|s| {
        s.metrics.insert(seat.pid, metrics.clone());
        s.reports.insert(seat.pid, reports.clone());
    });
    Worker {
        host: format!("p{}", seat.pid),
        clock: Arc::new(SimClock::new(seat.clone())),
        rng: Rng::with_seed(seed),
        table: Arc::new(SimTable { seat: seat.clone() }),
        pipelines: tables
            .into_iter()
            .map(|table| Pipeline {
                name: table_name(table),
                source: Arc::new(SimSource {
                    seat: seat.clone(),
                    table,
                }),
                sink: Arc::new(SimLogs { seat: seat.clone() }),
                subscriptions: None,
                config: config(&settings, table),
                guard: Guard::default(),
            })
            .collect(),
        settings: coordinator::Settings {
            application: "weir".to_owned(),
            keys,
            lease_duration: LEASE,
            checkpoint_interval: CHECKPOINT,
            memory: settings.memory,
            keep_removed: settings.keep_removed,
            ..coordinator::Settings::default()
        },
        metrics,
        readiness: Readiness::new(),
        reports,
        tracer: weir::trace::Tracer::off(),
    }
}

fn config(settings: &Settings, table: usize) -> PipelineConfig {
    let stream = if settings.one_log_stream {
        "all"
    } else {
        "{shard_id}"
    };
    let source = SourceConfig {
        start: settings.start,
        poll_busy: Duration::ZERO,
        poll_idle: settings.poll_idle,
        poll_idle_most: settings.poll_idle_most(),
        sync_interval: settings.sync_interval,
        ..SourceConfig::of(match settings.kinesis {
            true => StreamChoice::Kinesis(table_name(table)),
            false => StreamChoice::Table(table_name(table)),
        })
    };
    let destination = DestinationConfig {
        stream: Template::parse(stream, TemplateKind::Stream).unwrap(),
        retention_days: Some(30),
        look_up: settings.look_up,
        ..DestinationConfig::of(Template::parse("/cdc/{table:-kinesis}", TemplateKind::Group).unwrap())
    };
    PipelineConfig {
        decode: DecodeSettings::of(match settings.kinesis {
            true => Decode::Json,
            false => Decode::Lambda,
        }),
        ..PipelineConfig::of(&table_name(table), source, destination)
    }
}
