//! Weir as the simulation runs it: one `coordinator::run` per process, on the world's fakes.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::sync::watch;
use weir::config::{AwsSettings, DestinationConfig, PipelineConfig, SourceConfig, Start, StreamChoice};
use weir::coordinator::{self, Pipeline, Worker};
use weir::logs::batch::Refusal;
use weir::logs::template::{Template, TemplateKind};
use weir::metrics::Metrics;
use weir::readiness::Readiness;
use weir::shutdown;

use crate::clock::SimClock;
use crate::logs::SimLogs;
use crate::ownership::LEASE;
use crate::process::Program;
use crate::source::SimSource;
use crate::table::SimTable;
use crate::world::{Seat, State};

/// How often a worker writes a moved checkpoint (the default).
pub const CHECKPOINT: Duration = Duration::from_secs(15);

/// What a seed sets.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub start: Start,
    pub poll_idle: Duration,
    pub sync_interval: Duration,
    /// All shards write to one log stream.
    pub one_log_stream: bool,
    pub memory: usize,
    pub look_up: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            start: Start::TrimHorizon,
            poll_idle: Duration::from_secs(1),
            sync_interval: Duration::from_secs(30),
            one_log_stream: false,
            memory: 16 << 20,
            look_up: true,
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
        }
    }

    pub fn starts_at_the_horizon(&self) -> bool {
        self.start == Start::TrimHorizon
    }
}

impl State {
    pub fn draw_settings(&mut self) {
        self.settings = Settings::draw(&mut self.rng);
        let settings = self.settings;
        self.note(format!("{settings:?} {:?}", self.faults));
    }
}

/// What a process counted of its records.
#[derive(Debug)]
pub struct Counted {
    pub received: u64,
    pub delivered: u64,
    pub before_start: u64,
    pub already_delivered: u64,
    pub dead_lettered: u64,
    pub given_back: u64,
    pub in_flight: i64,
}

impl Counted {
    pub fn by(m: &Metrics) -> Self {
        let p = &["orders"];
        let dead = Refusal::ALL
            .into_iter()
            .map(|r| m.records_dead_lettered.with_label_values(&["orders", r.as_str()]));
        Self {
            received: m.records_received.with_label_values(p).get(),
            delivered: m.records_delivered.with_label_values(p).get(),
            before_start: m.records_before_start.with_label_values(p).get(),
            already_delivered: m.records_already_delivered.with_label_values(p).get(),
            dead_lettered: dead.map(|c| c.get()).sum(),
            given_back: m.records_given_back.with_label_values(p).get(),
            in_flight: m.records_in_flight.with_label_values(p).get(),
        }
    }

    fn adds_up(&self) -> bool {
        let left_out = self.before_start + self.already_delivered;
        let ended = self.delivered + left_out + self.dead_lettered + self.given_back;
        self.received as i64 == ended as i64 + self.in_flight
    }
}

impl State {
    /// A worker that is not done with what it read, though the world is quiet.
    pub fn still_in_flight(&self) -> Option<String> {
        let counted = self.metrics.iter().filter(|(pid, _)| self.procs[**pid].alive);
        let mut counted = counted.map(|(pid, metrics)| (pid, Counted::by(metrics)));
        let (pid, counted) = counted.find(|(_, counted)| counted.in_flight != 0)?;
        Some(format!("p{pid} has records in flight: {counted:?}"))
    }

    /// **Nothing is lost** says too that the counters add up.
    pub fn counters_add_up(&mut self) {
        for (pid, metrics) in &self.metrics {
            let counted = Counted::by(metrics);
            // A killed process counts no more, wherever it was.
            let killed = self.procs[*pid].crash_at.is_some();
            if !killed && !counted.adds_up() {
                let line = format!("nothing_is_lost: the counters of p{pid} don't add up: {counted:?}");
                self.model.broken(self.now, line);
            }
        }
    }
}

/// The real thing.
pub fn program() -> Program {
    Arc::new(|seat, told| Box::pin(weir(seat, told)))
}

async fn weir(seat: Seat, mut told: watch::Receiver<bool>) -> Result<(), String> {
    let (stopper, stop) = shutdown::channel();
    let work = coordinator::run(worker(&seat), stop);
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
    let (settings, keys, seed) = seat
        .world
        .with(|s| (s.settings, s.keys.clone(), s.procs[seat.pid].rng_seed));
    let metrics = Metrics::new();
    seat.world.with(|s| s.metrics.insert(seat.pid, metrics.clone()));
    Worker {
        host: format!("p{}", seat.pid),
        clock: Arc::new(SimClock::new(seat.clone())),
        rng: Rng::with_seed(seed),
        table: Arc::new(SimTable { seat: seat.clone() }),
        pipelines: vec![Pipeline {
            name: "orders".to_owned(),
            source: Arc::new(SimSource { seat: seat.clone() }),
            sink: Arc::new(SimLogs { seat: seat.clone() }),
            config: config(&settings),
        }],
        settings: coordinator::Settings {
            application: "weir".to_owned(),
            keys,
            lease_duration: LEASE,
            checkpoint_interval: CHECKPOINT,
            memory: settings.memory,
            ..coordinator::Settings::default()
        },
        metrics,
        readiness: Readiness::new(),
    }
}

fn config(settings: &Settings) -> PipelineConfig {
    let stream = if settings.one_log_stream {
        "all"
    } else {
        "{shard_id}"
    };
    PipelineConfig {
        name: "orders".to_owned(),
        source: SourceConfig {
            stream: StreamChoice::Table("orders".to_owned()),
            start: settings.start,
            poll_busy: Duration::ZERO,
            poll_idle: settings.poll_idle,
            sync_interval: settings.sync_interval,
            aws: AwsSettings::default(),
        },
        destination: DestinationConfig {
            group: Template::parse("/cdc/{table}", TemplateKind::Group).unwrap(),
            stream: Template::parse(stream, TemplateKind::Stream).unwrap(),
            create: true,
            retention_days: Some(30),
            look_up: settings.look_up,
            aws: AwsSettings::default(),
        },
    }
}
