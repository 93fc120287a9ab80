//! One worker of the fleet: joins, watches the others, plans, acts, and owns every task.
//!
//! Owns the worker id, the fence, the heartbeat, the shard syncs, the log writers and one consumer per
//! held lease; each is a named child that is joined, and one that ends unexpectedly ends the process.
//! Decides little itself: [`plan`](crate::lease::plan) judges who lives and what may be taken,
//! [`share`](crate::lease::share) who should have it, [`duty`](crate::lease::duty) who takes care. `app`
//! calls [`run`].
//!
//! The worker rows tell each worker almost all it needs to know; the leases are read only when they can't
//! (protocol rule 10).

mod adopt;
mod caught_up;
mod drain;
mod ending;
mod fleet;
mod join;
mod removed;
mod scans;
mod strangers;
mod sync;
mod takes;
mod until;
mod view;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, Id, JoinSet};
use tracing::{error, warn};

pub use self::drain::FAREWELL;
use self::fleet::Fleet;
use self::sync::Synced;
use self::takes::Takes;
use self::until::{Done, Until};
use crate::clock::{Clock, Monotonic, Progress, timeout};
use crate::config::PipelineConfig;
use crate::consumer::{self, End};
use crate::lease::duty::Duty;
use crate::lease::heartbeat::Vitals;
use crate::lease::held::Leases;
use crate::lease::keys::Keys;
use crate::lease::notes::Board;
use crate::lease::times::Times;
use crate::lease::{Lease, LeaseKey, SharedTable, StreamRow, WorkerId};
use crate::logs::guard::Guard;
use crate::logs::sink::{LiveWorkers, WriterDied};
use crate::logs::{LogSink, Subscriptions};
use crate::metrics::Metrics;
use crate::readiness::{Latch, Readiness};
use crate::shutdown::{self, Stop};
use crate::status::fleet::{ScanView, Unread};
use crate::status::reports::Reports;
use crate::stream::StreamSource;
use crate::trace::Tracer;

/// A certificate is written after up to this much jitter (protocol rule 4).
const EVICTION_JITTER: Duration = Duration::from_millis(250);
/// A joiner waits so long before it looks for leases: those who join with it are seen by then (rule 9).
const JOIN_WAIT: Duration = Duration::from_secs(1);
/// After its own join a worker reads the worker rows often for so long (rule 11).
const JOIN_ALERT: Duration = Duration::from_secs(10);
/// The coordinator comes round at least this often.
const TICK: Duration = Duration::from_secs(1);
/// Between two scans of the leases: many shards may end at once.
const SCAN_SPACING: Duration = Duration::from_millis(500);

/// The settings of a worker.
#[derive(Clone, Debug)]
pub struct Settings {
    pub application: String,
    pub keys: Keys,
    /// For people: where the leases are.
    pub lease_table: String,
    pub lease_duration: Duration,
    pub checkpoint_interval: Duration,
    pub drain_timeout: Duration,
    pub foreign_watch: Duration,
    /// How long the leases of a pipeline that nobody runs any more are kept.
    pub keep_removed: Duration,
    /// Bytes for records in flight, over all pipelines.
    pub memory: usize,
    /// The most PutLogEvents a second, over all workers, for each account and region.
    pub put_rate: u32,
    /// End by a drain when everything that the streams hold is delivered.
    pub until_caught_up: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            application: "weir".to_owned(),
            keys: Keys::Weir,
            lease_table: "weir".to_owned(),
            lease_duration: Duration::from_secs(10),
            checkpoint_interval: Duration::from_secs(15),
            drain_timeout: Duration::from_secs(25),
            foreign_watch: Duration::from_secs(20),
            keep_removed: Duration::from_secs(7 * 24 * 3600),
            memory: 256 * 1024 * 1024,
            put_rate: 4_000,
            until_caught_up: false,
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
    pub reports: Reports,
    pub tracer: Tracer,
}

/// One pipeline with its adapters.
#[derive(Clone)]
pub struct Pipeline {
    pub name: String,
    pub source: Arc<dyn StreamSource>,
    pub sink: Arc<dyn LogSink>,
    /// Who can be asked for the filters of a log group.
    pub subscriptions: Option<Arc<dyn Subscriptions>>,
    pub config: PipelineConfig,
    /// Whether the destination feeds the source, as far as it is known.
    pub guard: Guard,
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
    #[error("not caught up: {0}")]
    NotCaughtUp(String),
}

/// Why a worker ended by a complete drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    Told,
    CaughtUp,
}

/// How one worker id ended.
enum Ended {
    Drained(Why),
    Fenced,
}

/// Works until `stop` is wished, or all is read that such a worker is to read, and the drain is complete. After a fence it goes on under a new id.
pub async fn run(mut worker: Worker, stop: Stop) -> Result<Why, Died> {
    for pipeline in &worker.pipelines {
        worker.metrics.declare_pipeline(&pipeline.name);
    }
    let mut before = None;
    loop {
        let mut life = match Life::join(&mut worker, before.take(), stop.clone()).await {
            Some(life) => life,
            None => return Ok(Why::Told),
        };
        let ended = life.live(stop.clone()).await;
        let id = life.fleet.me.clone();
        // Dropping a life aborts its tasks. Its requests on the way meet a condition that fails, or a put
        // that was bounded by the fence.
        drop(life);
        match ended? {
            Ended::Drained(why) => return Ok(why),
            Ended::Fenced => {
                worker.metrics.fences.with_label_values::<&str>(&[]).inc();
                worker.readiness.close(Latch::Heartbeat);
                worker.readiness.close(Latch::Plan);
                worker.readiness.forget_problems();
                worker.reports.tell_fleet(None);
                error!(worker = %id, "fenced: the heartbeat was not written in time; joining anew");
                bury(&worker, &id).await;
                before = Some(id);
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
    /// Who shares the quota of puts.
    live: LiveWorkers,
    takes: Takes,
    /// Free leases that this worker tells of, and those it was told of.
    board: Board,
    duty: Duty,
    /// The drainers of the last rows.
    flags_seen: BTreeSet<WorkerId>,
    schedule: Schedule,
    /// Dead or former ids whose leases this worker makes known (rule 6).
    estates: BTreeSet<WorkerId>,
    synced: mpsc::UnboundedReceiver<Synced>,
    metrics: Metrics,
    readiness: Readiness,
    settings: Settings,
    clock: Arc<dyn Clock>,
    /// When each row that could go was first seen so.
    removable: BTreeMap<WorkerId, Monotonic>,
    /// The leases of the last scan, for the shard syncs.
    scanned: Option<Arc<Scan>>,
    /// The same, for those who look.
    scan_view: Option<Arc<ScanView>>,
    unread: Unread,
    reports: Reports,
    /// Of a worker that ends by itself.
    until: Option<Until>,
    /// It was said that other workers hold what there is to read.
    standing_by: bool,
    /// Opens the shard syncs, once no owner of a lease may be a KCL worker that is alive.
    cleared: tokio::sync::watch::Sender<bool>,
    /// It was said that the lease table's owners are watched.
    watch_told: bool,
}

/// What one look at the lease table and the stream rows showed.
#[derive(Debug)]
struct Scan {
    /// When it began: it shows what was written by then.
    began: Monotonic,
    leases: Arc<Vec<Lease>>,
    streams: Vec<StreamRow>,
}

struct PipelineLife {
    consumer: Arc<consumer::Pipeline>,
    last: Option<Synced>,
    orders: mpsc::Sender<Arc<Scan>>,
    /// Its source was looked at, by this worker or by one that finished the first sync.
    looked: bool,
    /// The caretaker's next round is due.
    round_due: Monotonic,
    /// Rounds finished as its caretaker.
    rounds: u64,
    /// A person paused it: nobody reads it.
    paused: bool,
    /// This worker has just made leases of it, and tells others of them.
    tells_until: Monotonic,
    /// Leases that nobody holds: since when, and after how many looks in vain.
    unheld: Option<Unheld>,
    /// How many leases this worker should hold, as far as it is known.
    wanted: Option<u64>,
}

/// Leases seem to be free that this worker should have.
#[derive(Clone, Copy, Debug)]
struct Unheld {
    since: Monotonic,
    looks: u32,
}

struct Running {
    task: Id,
    abort: AbortHandle,
    progress: Progress,
    pipeline: String,
    stop: shutdown::Stopper,
    /// It hung and was aborted then.
    aborted: Option<Monotonic>,
    /// It was asked to stop, and this is who goes on.
    leaving: Option<Successor>,
}

/// Who goes on with a lease that is given up.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Successor {
    Nobody,
    Worker(WorkerId),
}

/// What a service says when it ends.
enum Service {
    Heartbeat,
    Router(Result<(), WriterDied>),
    Sync,
}

/// When what is due.
#[derive(Debug)]
struct Schedule {
    joined: Monotonic,
    /// The next read of the worker rows.
    rows: Monotonic,
    /// The next read of the leases, if one is due at all.
    scan: Option<Monotonic>,
    scanned: Option<Monotonic>,
    /// It is known which pipelines are paused: before that no lease is looked for.
    pipelines_read: bool,
    /// The next read of the pipelines' rows, and of the streams' while a first sync is awaited.
    pipelines: Monotonic,
    /// The worker rows are read often until then (rule 11).
    alert_until: Monotonic,
    /// No leases are given up for balance before then.
    may_give: Monotonic,
    /// Since when this worker holds more than its share.
    uneven_since: Option<Monotonic>,
    /// Since when leases of others seem to be about to come here, for the balance.
    receives: Option<Monotonic>,
}

impl Schedule {
    fn new(joined: Monotonic) -> Self {
        Self {
            joined,
            rows: joined,
            scan: None,
            scanned: None,
            pipelines_read: false,
            pipelines: joined + JOIN_WAIT,
            alert_until: joined + JOIN_ALERT,
            may_give: joined,
            uneven_since: None,
            receives: None,
        }
    }

    /// Asks for a scan at `at`, or earlier if one is due.
    fn scan_by(&mut self, at: Monotonic) {
        self.scan = Some(self.scan.map_or(at, |due| due.min(at)));
    }

    fn scan_due(&self) -> Option<Monotonic> {
        if !self.pipelines_read {
            return None;
        }
        let spaced = self.scanned.map(|at| at + SCAN_SPACING);
        self.scan.map(|due| spaced.map_or(due, |spaced| due.max(spaced)))
    }

    fn alert_for(&mut self, now: Monotonic, time: Duration) {
        self.alert_until = self.alert_until.max(now + time);
    }
}

impl Life {
    async fn live(&mut self, mut stop: Stop) -> Result<Ended, Died> {
        let clock = self.clock.clone();
        let fence = self.leases.fence().clone();
        let marks = self.vitals.coordinator.clone();
        loop {
            marks.mark(clock.now());
            if fence.check().is_err() {
                return Ok(Ended::Fenced);
            }
            if stop.is_wished() {
                self.drain().await?;
                return Ok(Ended::Drained(Why::Told));
            }
            match self.look_whether_done() {
                None => {}
                Some(Done::CaughtUp) => {
                    self.drain().await?;
                    return Ok(Ended::Drained(Why::CaughtUp));
                }
                Some(Done::Never(why)) => {
                    self.drain().await?;
                    return Err(Died::NotCaughtUp(why));
                }
            }
            self.end_the_hung();
            if clock.now() >= self.schedule.rows {
                let Some(read) = attend(&*clock, &marks, &mut stop, self.watch_workers()).await else {
                    continue;
                };
                if read {
                    self.heed_workers();
                    self.tell_fleet();
                }
            }
            if clock.now() >= self.schedule.pipelines {
                attend(&*clock, &marks, &mut stop, self.look_at_pipelines()).await;
            }
            self.heed_who_looks();
            if self.schedule.scan_due().is_some_and(|due| clock.now() >= due) {
                let Some(scan) = attend(&*clock, &marks, &mut stop, self.scan()).await else {
                    continue;
                };
                if let Some(scan) = scan {
                    self.look_for_strangers().await?;
                    self.heed_leases(scan);
                    self.tell_fleet();
                    attend(&*clock, &marks, &mut stop, self.tidy()).await;
                }
            }
            if self.takes.leaves_uncertain() {
                attend(&*clock, &marks, &mut stop, self.disown_uncertain()).await;
            }
            self.start_takes();
            self.say_what_is_held();
            let next = self.schedule.rows.min(self.schedule.pipelines);
            let next = self.schedule.scan_due().map_or(next, |due| due.min(next));
            // Safe to cancel: wishes stay, the sets and queues keep what they have, a sleep is no loss.
            tokio::select! {
                biased;
                () = stop.wished() => {}
                () = fence.expired() => {}
                Some(service) = self.services.join_next_with_id() => self.service_ended(service, false)?,
                Some(ended) = self.consumers.join_next_with_id() => self.consumer_ended(ended)?,
                Some(taken) = self.takes.tasks.join_next() => {
                    self.taken(taken)?;
                    // Together, as many as there are: a round looks at every lease that is held, and a start takes
                    // thousands.
                    while let Some(taken) = self.takes.tasks.try_join_next() {
                        self.taken(taken)?;
                    }
                }
                Some(synced) = self.synced.recv() => self.heed_sync(synced),
                () = clock.sleep(next.since(clock.now()).min(TICK)) => {}
            }
        }
    }

    /// What this worker holds or is about to: what it reads and what it is taking. What it hands over counts
    /// until a note tells whose it will be, so that no lease is counted twice or for nobody.
    fn held(&self) -> BTreeMap<String, u64> {
        let mut held: BTreeMap<String, u64> = self.pipelines.keys().map(|name| (name.clone(), 0)).collect();
        let running = self
            .running
            .values()
            .filter(|r| r.leaving != Some(Successor::Nobody))
            .map(|r| &r.pipeline);
        for pipeline in running.chain(self.takes.pipelines()) {
            match held.get_mut(pipeline) {
                Some(count) => *count += 1,
                None => drop(held.insert(pipeline.clone(), 1)),
            }
        }
        held
    }

    fn say_what_is_held(&mut self) {
        let held = self.held();
        let notes = self.board.shown(self.clock.now());
        self.vitals.say(|says| {
            says.held = held;
            says.notes = notes;
        });
    }

    /// Says at once what others wait for.
    fn say_news(&mut self) {
        self.say_what_is_held();
        self.vitals.say_now();
    }

    /// Asks a shard's task to stop. What it has in flight is delivered and checkpointed first.
    fn give_up(&mut self, key: &LeaseKey, successor: Successor) {
        if let Some(running) = self.running.get_mut(key).filter(|r| r.leaving.is_none()) {
            running.leaving = Some(successor);
            running.stop.stop();
        }
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
