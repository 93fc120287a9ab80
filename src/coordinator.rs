//! One worker of the fleet: joins, watches the others, plans, acts, and owns every task.
//!
//! Owns the worker id, the fence, the heartbeat, the shard syncs, the log writers and one consumer per
//! held lease; each is a named child that is joined, and one that ends unexpectedly ends the process.
//! Decides nothing itself: [`plan::Observer`](crate::lease::plan::Observer) judges,
//! [`plan::plan`](crate::lease::plan::plan) plans. `app` calls [`run`].

mod adopt;
mod ending;
mod fleet;
mod join;
mod strangers;
mod sync;
mod takes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, Id, JoinSet};
use tracing::{error, warn};

use self::fleet::Fleet;
use self::sync::Synced;
use crate::clock::{Clock, Monotonic, Progress, timeout};
use crate::config::PipelineConfig;
use crate::consumer::{self, End};
use crate::lease::heartbeat::{Times, Vitals};
use crate::lease::held::Leases;
use crate::lease::keys::Keys;
use crate::lease::{LeaseKey, SharedTable, WorkerId};
use crate::logs::LogSink;
use crate::logs::sink::WriterDied;
use crate::metrics::Metrics;
use crate::readiness::{Latch, Readiness};
use crate::shutdown::{self, Stop};
use crate::stream::StreamSource;

/// A certificate is written after up to this much jitter (protocol rule 4).
const EVICTION_JITTER: Duration = Duration::from_millis(250);
/// The worker rows are read this often while another worker drains (rule 11).
const ALERT: Duration = Duration::from_millis(300);
/// All leases are read at least this often (rule 10's caretaker).
const LEASE_SCAN: Duration = Duration::from_secs(30);
/// The coordinator comes round at least this often.
const TICK: Duration = Duration::from_secs(1);
/// Between two scans of the leases: many shards may end at once.
const SCAN_SPACING: Duration = Duration::from_millis(500);

/// The settings of a worker.
#[derive(Clone, Debug)]
pub struct Settings {
    pub application: String,
    pub keys: Keys,
    pub lease_duration: Duration,
    pub checkpoint_interval: Duration,
    pub drain_timeout: Duration,
    pub foreign_watch: Duration,
    /// Bytes for records in flight, over all pipelines.
    pub memory: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            application: "weir".to_owned(),
            keys: Keys::Weir,
            lease_duration: Duration::from_secs(10),
            checkpoint_interval: Duration::from_secs(15),
            drain_timeout: Duration::from_secs(25),
            foreign_watch: Duration::from_secs(20),
            memory: 256 * 1024 * 1024,
        }
    }
}

/// Everything one process needs; nothing global.
pub struct Worker {
    /// For people: the first part of the worker's ids.
    pub host: String,
    pub clock: Arc<dyn Clock>,
    /// Jitter and ids come from it.
    pub rng: fastrand::Rng,
    pub table: SharedTable,
    pub pipelines: Vec<Pipeline>,
    pub settings: Settings,
    pub metrics: Metrics,
    pub readiness: Readiness,
}

/// One pipeline with its adapters.
#[derive(Clone)]
pub struct Pipeline {
    pub name: String,
    pub source: Arc<dyn StreamSource>,
    pub sink: Arc<dyn LogSink>,
    pub config: PipelineConfig,
}

/// Why a worker ended other than by a complete drain. The process ends with this as its last word.
#[derive(Debug, thiserror::Error)]
pub enum Died {
    #[error("the task `{task}` ended unexpectedly: {reason}")]
    Task { task: String, reason: String },
    #[error(
        "the drain was not complete: records that were read are not delivered, or not checkpointed; the next worker \
         reads them again"
    )]
    DrainIncomplete,
    #[error(
        "`{owner}` holds leases of the table {table}, is no worker of Weir's, and is alive: a KCL application is at work on \
         it. Weir and KCL never share a table: stop the KCL application, and when its last worker has ended start Weir, \
         which goes on from its checkpoints"
    )]
    ForeignOwner { owner: WorkerId, table: String },
}

/// How one worker id ended.
enum Ended {
    Drained,
    Fenced,
}

/// Works until `stop` is wished and the drain is complete. After a fence it goes on under a new id.
pub async fn run(mut worker: Worker, stop: Stop) -> Result<(), Died> {
    for pipeline in &worker.pipelines {
        worker.metrics.declare_pipeline(&pipeline.name);
    }
    loop {
        let mut life = match Life::join(&mut worker, stop.clone()).await {
            Some(life) => life,
            None => return Ok(()),
        };
        let ended = life.live(stop.clone()).await;
        let id = life.fleet.me.clone();
        // Dropping a life aborts its tasks. Its requests on the way meet a condition that fails, or a put
        // that was bounded by the fence.
        drop(life);
        match ended? {
            Ended::Drained => return Ok(()),
            Ended::Fenced => {
                worker.metrics.fences.with_label_values::<&str>(&[]).inc();
                worker.readiness.close(Latch::Heartbeat);
                worker.readiness.close(Latch::Plan);
                worker.readiness.forget_problems();
                error!(worker = %id, "fenced: the heartbeat was not written in time; joining anew");
                bury(&worker, &id).await;
            }
        }
    }
}

/// Rule 5: a fenced id becomes a tombstone, so that its leases are free at once. Best effort: whoever
/// finds the row silent evicts it.
async fn bury(worker: &Worker, id: &WorkerId) {
    let times = Times::of(worker.settings.lease_duration);
    match timeout(&*worker.clock, times.request, worker.table.bury(id)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => warn!(worker = %id, %error, "the fenced worker's row was not marked"),
        Err(_) => warn!(worker = %id, "no answer when marking the fenced worker's row"),
    }
}

/// One worker id, from its first heartbeat to its fence or its drain.
struct Life {
    fleet: Fleet,
    times: Times,
    vitals: Arc<Vitals>,
    leases: Leases,
    rng: fastrand::Rng,
    pipelines: BTreeMap<String, PipelineLife>,
    /// Heartbeat, shard syncs, routers. None ends while the worker works.
    services: JoinSet<Service>,
    service_names: BTreeMap<Id, String>,
    consumers: JoinSet<(LeaseKey, End)>,
    running: BTreeMap<LeaseKey, Running>,
    drain: shutdown::Stopper,
    draining: Stop,
    synced: mpsc::UnboundedReceiver<Synced>,
    metrics: Metrics,
    readiness: Readiness,
    settings: Settings,
    clock: Arc<dyn Clock>,
    /// When each row that could go was first seen so.
    removable: BTreeMap<WorkerId, Monotonic>,
    /// The leases of the last scan.
    seen: BTreeSet<LeaseKey>,
    /// It was said that other workers hold what there is to read.
    standing_by: bool,
    /// Opens the shard syncs, once no owner of a lease may be a KCL worker that is alive.
    cleared: watch::Sender<bool>,
    /// It was said that the lease table's owners are watched.
    watch_told: bool,
}

struct PipelineLife {
    consumer: Arc<consumer::Pipeline>,
    last: Option<Synced>,
    resync: mpsc::Sender<()>,
}

struct Running {
    task: Id,
    abort: AbortHandle,
    progress: Progress,
    pipeline: String,
}

/// What a service says when it ends.
enum Service {
    Heartbeat,
    Router(Result<(), WriterDied>),
    Sync,
}

impl Life {
    async fn live(&mut self, mut stop: Stop) -> Result<Ended, Died> {
        let clock = self.clock.clone();
        let fence = self.leases.fence().clone();
        let mut workers_due = clock.now();
        let mut leases_due = clock.now();
        let mut scanned = Monotonic::from_origin(Duration::ZERO);
        let mut synced_once = BTreeSet::new();
        loop {
            self.vitals.coordinator.mark(clock.now());
            self.say_what_is_held();
            if fence.check().is_err() {
                return Ok(Ended::Fenced);
            }
            if stop.is_wished() {
                return self.drain().await;
            }
            self.end_the_hung();
            let marks = self.vitals.coordinator.clone();
            if clock.now() >= workers_due {
                let Some(watched) = attend(&*clock, &marks, &mut stop, self.watch_workers()).await else {
                    continue;
                };
                // A failed read is no time passed (rule 3): it is simply repeated.
                workers_due = clock.now()
                    + if watched.is_ok() {
                        self.next_watch()
                    } else {
                        self.times.request
                    };
                if let Ok(true) = watched {
                    leases_due = clock.now();
                }
            }
            if clock.now() >= leases_due.max(scanned + SCAN_SPACING) {
                scanned = clock.now();
                let Some(found) = attend(&*clock, &marks, &mut stop, self.fleet.scan_leases()).await else {
                    continue;
                };
                match found {
                    Ok(leases) => {
                        let leases = self.look_for_strangers(leases).await?;
                        let contested = self.act(&leases, &stop).await?;
                        leases_due = clock.now() + if contested { TICK } else { self.next_lease_scan() };
                        // The first plan counts once each pipeline has been looked at.
                        if synced_once.len() == self.pipelines.len() {
                            self.readiness.open(Latch::Plan);
                        }
                        attend(&*clock, &marks, &mut stop, self.tidy(&leases)).await;
                    }
                    Err(()) => leases_due = clock.now() + self.times.request,
                }
            }
            let due = workers_due
                .min(leases_due.max(scanned + SCAN_SPACING))
                .since(clock.now())
                .min(TICK);
            // Safe to cancel: wishes stay, the sets and queues keep what they have, a sleep is no loss.
            tokio::select! {
                biased;
                () = stop.wished() => {}
                () = fence.expired() => {}
                Some(service) = self.services.join_next_with_id() => self.service_ended(service, false)?,
                Some(ended) = self.consumers.join_next_with_id() => {
                    self.consumer_ended(ended)?;
                    leases_due = clock.now();
                }
                Some(synced) = self.synced.recv() => {
                    let first = synced_once.insert(synced.pipeline.clone());
                    if synced.changed || first {
                        leases_due = clock.now();
                    }
                    if let Some(pipeline) = self.pipelines.get_mut(&synced.pipeline) {
                        pipeline.last = Some(synced);
                    }
                }
                () = clock.sleep(due) => {}
            }
        }
    }

    fn say_what_is_held(&self) {
        let mut held: BTreeMap<String, u64> = self.pipelines.keys().map(|name| (name.clone(), 0)).collect();
        for running in self.running.values() {
            *held.entry(running.pipeline.clone()).or_default() += 1;
        }
        self.vitals.say(|says| says.held = held);
    }

    /// Reads the worker rows and evicts the dead. `true`: somebody left or was, so there are leases to take.
    async fn watch_workers(&mut self) -> Result<bool, ()> {
        let suspects = self.fleet.scan_workers().await?;
        let mut freed = self.fleet.observer.freed();
        for suspect in suspects {
            self.clock.sleep(EVICTION_JITTER.mul_f64(self.rng.f64())).await;
            freed |= self.fleet.evict(&suspect).await;
        }
        Ok(freed)
    }

    fn next_watch(&self) -> Duration {
        if self.fleet.observer.draining() {
            return ALERT;
        }
        let due = self
            .fleet
            .observer
            .next_suspicion()
            .map(|at| at.since(self.clock.now()));
        self.times.heartbeat.min(due.unwrap_or(self.times.heartbeat))
    }

    fn next_lease_scan(&self) -> Duration {
        let due = self
            .fleet
            .observer
            .next_foreign_verdict()
            .map(|at| at.since(self.clock.now()));
        // A live KCL should show soon.
        let strangers = self.fleet.observer.sees_strangers(self.clock.now());
        let due = due
            .into_iter()
            .chain(strangers.then_some(self.times.heartbeat))
            .min();
        // Not sooner than a request takes: a verdict may wait for the worker rows.
        LEASE_SCAN.min(due.unwrap_or(LEASE_SCAN)).max(self.times.request)
    }
}

/// Waits for `work`, shows meanwhile that the coordinator lives, and gives it up (`None`) when a stop is
/// wished. Only for work that may be dropped at any point.
async fn attend<T>(
    clock: &dyn Clock,
    marks: &Progress,
    stop: &mut Stop,
    work: impl Future<Output = T>,
) -> Option<T> {
    tokio::pin!(work);
    loop {
        marks.mark(clock.now());
        // Cancel-safe: `work` is only borrowed, a wish stays wished.
        tokio::select! {
            biased;
            done = &mut work => return Some(done),
            () = stop.wished() => return None,
            () = clock.sleep(TICK) => {}
        }
    }
}
