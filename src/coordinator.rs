//! One worker of the fleet: joins, watches the others, plans, acts, and owns every task.
//!
//! Owns the worker id, the fence, the heartbeat, the shard syncs, the log writers and one consumer per
//! held lease; each is a named child that is joined, and one that ends unexpectedly ends the process.
//! Decides nothing itself: [`Observer`] judges, [`plan::plan`] plans. `app` calls [`run`].

mod act;
mod sync;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tracing::{error, info, warn};

use self::act::Fleet;
use self::sync::{Synced, Syncer};
use crate::backoff::Backoff;
use crate::clock::{Clock, Monotonic, Progress, timeout};
use crate::config::PipelineConfig;
use crate::consumer::budget::Budget;
use crate::consumer::{self, End};
use crate::lease::fence::{Fence, Fenced};
use crate::lease::heartbeat::{Heartbeat, Times, Vitals};
use crate::lease::held::{LeaseError, Leases};
use crate::lease::plan::{self, LeaseAction, Observer, View};
use crate::lease::{Checkpoint, Lease, LeaseKey, SharedTable, WorkerId, WorkerRow, Written};
use crate::logs::LogSink;
use crate::logs::sink::{Sink, SinkSettings, WriterDied};
use crate::metrics::Metrics;
use crate::readiness::{Latch, Readiness};
use crate::shutdown::{self, Stop};
use crate::stream::StreamSource;

/// A certificate is written after up to this much jitter (protocol rule 4).
const EVICTION_JITTER: Duration = Duration::from_millis(250);
/// All leases are read at least this often (rule 10's caretaker).
const LEASE_SCAN: Duration = Duration::from_secs(30);
/// Evicted rows and tombstones stay this long (rule 5).
const TOMBSTONE_STAY: Duration = Duration::from_secs(60);
/// The coordinator comes round at least this often.
const TICK: Duration = Duration::from_secs(1);
/// Between two scans of the leases: many shards may end at once.
const SCAN_SPACING: Duration = Duration::from_millis(500);
/// Takes under way at once.
const TAKES_AT_ONCE: usize = 16;

/// The settings of a worker.
#[derive(Clone, Debug)]
pub struct Settings {
    pub application: String,
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
        "the drain was not complete: some records that were put stand behind the last checkpoint and will be repeated"
    )]
    DrainIncomplete,
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
    /// Writes the worker's row and starts the services. `None`: a stop was wished before.
    async fn join(worker: &mut Worker, mut stop: Stop) -> Option<Life> {
        let times = Times::of(worker.settings.lease_duration);
        let clock = worker.clock.clone();
        let names = worker.pipelines.iter().map(|p| p.name.clone()).collect();
        let mut row = WorkerRow {
            id: WorkerId::new(""),
            heartbeat: 1,
            evicted: false,
            tombstone: false,
            draining: false,
            leases_held: 0,
            pipelines: names,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: clock.wall(),
        };
        let mut backoff = Backoff::default();
        let since = loop {
            if stop.is_wished() {
                return None;
            }
            worker.readiness.coordinator().mark(clock.now());
            // A new id for each try: whether the try before was applied is not known.
            row.id = WorkerId::new(format!("{}-{:016x}", worker.host, worker.rng.u64(..)));
            let since = clock.now();
            match timeout(&*clock, times.request, worker.table.create_worker(&row)).await {
                Ok(Ok(Written::Applied)) if clock.now().since(since) < times.fence => break since,
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    worker
                        .metrics
                        .table_errors
                        .with_label_values(&[error.class()])
                        .inc();
                    worker.readiness.problem("state tables", error.to_string());
                    warn!(%error, "the worker's row was not written; repeating");
                }
                Err(_) => warn!("no answer when writing the worker's row; repeating"),
            }
            // Cancel-safe: a sleep and a wish.
            tokio::select! {
                biased;
                () = stop.wished() => return None,
                () = clock.sleep(backoff.next(&mut worker.rng)) => {}
            }
        };
        worker.readiness.solved("state tables");
        worker.readiness.open(Latch::Heartbeat);
        info!(worker = %row.id, application = %worker.settings.application, "joined the fleet");
        Some(Self::start(worker, row, since, times))
    }

    fn start(worker: &mut Worker, row: WorkerRow, since: Monotonic, times: Times) -> Life {
        let clock = worker.clock.clone();
        let settings = worker.settings.clone();
        let fence = Fence::new(clock.clone(), times.fence, since);
        let coordinator = worker.readiness.coordinator().clone();
        coordinator.mark(clock.now());
        let vitals = Arc::new(Vitals {
            coordinator,
            ..Vitals::default()
        });
        let me = row.id.clone();
        let mut leases = Leases::new(
            worker.table.clone(),
            me.clone(),
            fence.clone(),
            clock.clone(),
            times.request,
            worker.metrics.clone(),
            worker.readiness.clone(),
            worker.rng.fork(),
        );
        let mut services = JoinSet::new();
        let mut service_names = BTreeMap::new();
        let heartbeat = Heartbeat {
            table: worker.table.clone(),
            clock: clock.clone(),
            rng: worker.rng.fork(),
            fence: fence.clone(),
            times,
            vitals: vitals.clone(),
            metrics: worker.metrics.clone(),
            row,
        };
        let task = services.spawn(async move {
            heartbeat.run().await;
            Service::Heartbeat
        });
        service_names.insert(task.id(), "heartbeat".to_owned());

        let (synced_tx, synced) = mpsc::unbounded_channel();
        let share = settings.memory / worker.pipelines.len().max(1);
        let mut pipelines = BTreeMap::new();
        for pipeline in &worker.pipelines {
            let destination = &pipeline.config.destination;
            let sink_settings = SinkSettings {
                pipeline: pipeline.name.clone(),
                create: destination.create,
                retention_days: destination.retention_days,
            };
            let (sink, router) = Sink::new(
                pipeline.sink.clone(),
                sink_settings,
                clock.clone(),
                fence.clone(),
                worker.metrics.clone(),
                worker.readiness.clone(),
                worker.rng.fork(),
            );
            let task = services.spawn(async move { Service::Router(router.run().await) });
            service_names.insert(task.id(), format!("log writers of {}", pipeline.name));

            let (resync, resync_rx) = mpsc::channel(1);
            let largest = pipeline.source.largest_answer();
            let budget = Budget::new(share, largest, &pipeline.name, worker.metrics.clone());
            let shared = Arc::new(consumer::Pipeline {
                application: settings.application.clone(),
                config: pipeline.config.clone(),
                source: pipeline.source.clone(),
                sink,
                budget,
                table: worker.table.clone(),
                clock: clock.clone(),
                metrics: worker.metrics.clone(),
                readiness: worker.readiness.clone(),
                checkpoint_interval: settings.checkpoint_interval,
                drain_timeout: settings.drain_timeout,
                request_timeout: times.request,
            });
            let syncer = Syncer::new(
                shared.clone(),
                worker.readiness.clone(),
                leases.fork(Progress::default()),
                worker.rng.fork(),
                synced_tx.clone(),
                resync_rx,
            );
            let task = services.spawn(async move {
                syncer.run().await;
                Service::Sync
            });
            service_names.insert(task.id(), format!("shard sync of {}", pipeline.name));
            pipelines.insert(
                pipeline.name.clone(),
                PipelineLife {
                    consumer: shared,
                    last: None,
                    resync,
                },
            );
        }
        let (drain, draining) = shutdown::channel();
        let observer = Observer::new(me.clone(), times.takeover, settings.foreign_watch);
        Life {
            fleet: Fleet::new(
                worker.table.clone(),
                clock.clone(),
                times,
                me,
                observer,
                worker.metrics.clone(),
                worker.readiness.clone(),
            ),
            times,
            vitals,
            leases,
            rng: worker.rng.fork(),
            pipelines,
            services,
            service_names,
            consumers: JoinSet::new(),
            running: BTreeMap::new(),
            drain,
            draining,
            synced,
            metrics: worker.metrics.clone(),
            readiness: worker.readiness.clone(),
            settings,
            clock,
            removable: BTreeMap::new(),
            seen: BTreeSet::new(),
        }
    }

    async fn live(&mut self, mut stop: Stop) -> Result<Ended, Died> {
        let clock = self.clock.clone();
        let fence = self.leases.fence().clone();
        let mut workers_due = clock.now();
        let mut leases_due = clock.now();
        let mut scanned = Monotonic::from_origin(Duration::ZERO);
        let mut synced_once = BTreeSet::new();
        loop {
            self.vitals.coordinator.mark(clock.now());
            self.vitals
                .leases_held
                .store(self.running.len() as u64, Ordering::Relaxed);
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

    /// Reads the worker rows and evicts the dead. `true`: somebody was, so there are leases to take.
    async fn watch_workers(&mut self) -> Result<bool, ()> {
        let suspects = self.fleet.scan_workers().await?;
        let mut evicted = false;
        for suspect in suspects {
            self.clock.sleep(EVICTION_JITTER.mul_f64(self.rng.f64())).await;
            evicted |= self.fleet.evict(&suspect).await;
        }
        Ok(evicted)
    }

    fn next_watch(&self) -> Duration {
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
        // Not sooner than a request takes: a verdict may wait for the worker rows.
        LEASE_SCAN.min(due.unwrap_or(LEASE_SCAN)).max(self.times.request)
    }

    /// Plans over a scan of the leases, and takes what the plan names. `true`: look again soon.
    async fn act(&mut self, leases: &[Lease], stop: &Stop) -> Result<bool, Died> {
        let mut startable = Vec::new();
        for (name, pipeline) in &self.pipelines {
            let Some(synced) = &pipeline.last else { continue };
            let own: Vec<&Lease> = leases.iter().filter(|l| l.key.pipeline() == Some(name)).collect();
            startable.extend(synced.startable(&own, &self.seen));
        }
        let seen: BTreeSet<LeaseKey> = leases.iter().map(|l| l.key.clone()).collect();
        // What was seen for the first time may have waited for that alone: look again soon.
        let fresh = !seen.is_subset(&self.seen);
        let running: BTreeSet<LeaseKey> = self.running.keys().cloned().collect();
        let view = View {
            startable,
            running: &running,
            observer: &self.fleet.observer,
        };
        let actions = plan::plan(&view, &self.fleet.me);
        self.seen = seen;

        let mut takes = JoinSet::new();
        let (mut contested, mut silent) = (fresh, false);
        for action in actions {
            let LeaseAction::Take(lease, from) = action;
            if takes.len() >= TAKES_AT_ONCE {
                let took = self.taken(takes.join_next().await)?;
                silent |= took == Took::NoAnswer;
                contested |= took != Took::Done;
            }
            // What is not taken now is at the next look; with a table in trouble, or a stop, no more of it.
            if silent || stop.is_wished() {
                break;
            }
            let mut handle = self.leases.fork(Progress::default());
            takes.spawn(async move { (handle.take(lease.clone()).await, lease, from) });
        }
        while let Some(taken) = takes.join_next().await {
            contested |= self.taken(Some(taken))? != Took::Done;
        }
        Ok(contested)
    }

    /// Starts the consumer of a lease just taken.
    fn taken(&mut self, taken: Option<Result<Taken, JoinError>>) -> Result<Took, Died> {
        self.vitals.coordinator.mark(self.clock.now());
        let (taken, lease, from) = match taken {
            None => return Ok(Took::Done),
            Some(Ok(taken)) => taken,
            Some(Err(error)) => {
                return Err(Died::Task {
                    task: "take".to_owned(),
                    reason: error.to_string(),
                });
            }
        };
        let name = lease.key.pipeline().unwrap_or_default().to_owned();
        match taken {
            Ok(held) => {
                info!(lease = %lease.key, shard_id = %lease.shard, position = %lease.checkpoint, from = from.as_str(), previous = ?lease.owner, "took the lease");
                self.metrics
                    .leases_taken
                    .with_label_values(&[&name, from.as_str()])
                    .inc();
                let Some(pipeline) = self.pipelines.get(&name) else {
                    return Ok(Took::Done);
                };
                let start = pipeline.last.as_ref().and_then(|synced| synced.start_of(&lease));
                let progress = Progress::default();
                progress.mark(self.clock.now());
                let consumer = consumer::run(
                    pipeline.consumer.clone(),
                    self.leases.fork(progress.clone()),
                    held,
                    start,
                    progress.clone(),
                    self.draining.clone(),
                    self.rng.fork(),
                );
                let key = lease.key.clone();
                let abort = self.consumers.spawn(async move { (key, consumer.await) });
                let task = abort.id();
                self.running.insert(
                    lease.key,
                    Running {
                        task,
                        abort,
                        progress,
                        pipeline: name,
                    },
                );
                Ok(Took::Done)
            }
            Err(LeaseError::Lost) => Ok(Took::Contested),
            Err(LeaseError::Unanswered) => Ok(Took::NoAnswer),
            Err(LeaseError::Fenced(Fenced)) => Ok(Took::Done),
        }
    }

    /// Rule 16: a shard's task without progress is aborted; its lease, still mine by the table, is taken
    /// anew, which puts an end to any write of it that is still on its way.
    fn end_the_hung(&mut self) {
        let now = self.clock.now();
        for (key, running) in &self.running {
            if running.progress.is_stuck(now, self.times.fence) && !running.abort.is_finished() {
                error!(lease = %key, "the shard's task made no progress for {:?}; ending it", self.times.fence);
                self.metrics
                    .hung_shards
                    .with_label_values(&[&running.pipeline])
                    .inc();
                running.abort.abort();
            }
        }
    }

    fn consumer_ended(&mut self, ended: Result<(Id, (LeaseKey, End)), JoinError>) -> Result<(), Died> {
        match ended {
            Ok((_, (key, end))) => {
                let running = self.running.remove(&key);
                if let (End::ShardEnd, Some(running)) = (end, running)
                    && let Some(pipeline) = self.pipelines.get(&running.pipeline)
                {
                    // A full queue means that a sync is due anyway.
                    let _ = pipeline.resync.try_send(());
                }
                Ok(())
            }
            Err(error) if error.is_cancelled() => {
                self.running.retain(|_, r| r.task != error.id());
                Ok(())
            }
            Err(error) => {
                let lease = self
                    .running
                    .iter()
                    .find(|(_, r)| r.task == error.id())
                    .map(|(k, _)| k.to_string());
                Err(Died::Task {
                    task: lease.unwrap_or_default(),
                    reason: error.to_string(),
                })
            }
        }
    }

    fn service_ended(&mut self, ended: Result<(Id, Service), JoinError>, draining: bool) -> Result<(), Died> {
        let (id, reason) = match ended {
            // The fence that it closed is seen at the next round.
            Ok((_, Service::Heartbeat)) => return Ok(()),
            Ok((id, Service::Router(Ok(())))) => (id, "it ran out of work".to_owned()),
            Ok((id, Service::Router(Err(error)))) => (id, error.to_string()),
            Ok((_, Service::Sync)) if draining || self.leases.fence().check().is_err() => return Ok(()),
            Ok((id, Service::Sync)) => (id, "it returned".to_owned()),
            Err(error) => (error.id(), error.to_string()),
        };
        let task = self.service_names.get(&id).cloned().unwrap_or_default();
        Err(Died::Task { task, reason })
    }

    /// Removes the rows of workers long gone.
    async fn tidy(&mut self, leases: &[Lease]) {
        let now = self.clock.now();
        let rows = self.fleet.observer.removable(leases);
        self.removable.retain(|id, _| rows.iter().any(|r| r.id == *id));
        for row in rows {
            let since = *self.removable.entry(row.id.clone()).or_insert(now);
            if now.since(since) >= TOMBSTONE_STAY {
                self.fleet.delete_worker(&row.id, row.heartbeat).await;
            }
        }
    }

    /// Leases that are this worker's by the table and have no task here: a take without an answer, an ended
    /// task. Released, so that nobody needs to wait for this worker's end to be noticed.
    async fn disown_leftovers(&mut self) {
        let Ok(leases) = self.fleet.scan_leases().await else {
            return;
        };
        let mine =
            |l: &Lease| l.owner.as_ref() == Some(&self.fleet.me) && l.checkpoint != Checkpoint::ShardEnd;
        for lease in leases.into_iter().filter(mine) {
            self.vitals.coordinator.mark(self.clock.now());
            warn!(lease = %lease.key, "released a lease without a task");
            self.leases.disown(lease).await;
        }
    }

    /// Stops reading, lets every consumer finish, and leaves. Bounded: a consumer's own limit, then ours.
    async fn drain(&mut self) -> Result<Ended, Died> {
        info!(
            leases = self.running.len(),
            "draining: no more reads; delivering what is in flight"
        );
        self.readiness.drain();
        self.vitals.draining.store(1, Ordering::Relaxed);
        self.drain.stop();
        let clock = self.clock.clone();
        let fence = self.leases.fence().clone();
        let until = clock.now() + self.settings.drain_timeout;
        let mut repeats = false;
        while !self.consumers.is_empty() && clock.now() < until {
            self.vitals.coordinator.mark(clock.now());
            if fence.check().is_err() {
                return Err(Died::DrainIncomplete);
            }
            let left = until.since(clock.now()).min(TICK);
            // As in `live`.
            tokio::select! {
                biased;
                Some(ended) = self.consumers.join_next_with_id() => {
                    if let Ok((_, (_, end))) = &ended {
                        repeats |= !matches!(end, End::ShardEnd | End::Released { drained: true });
                    }
                    self.consumer_ended(ended)?;
                }
                Some(service) = self.services.join_next_with_id() => self.service_ended(service, true)?,
                () = clock.sleep(left) => {}
            }
        }
        if self.consumers.is_empty() {
            self.disown_leftovers().await;
            self.fleet.leave().await;
        } else {
            warn!(
                leases = self.running.len(),
                "the drain hit its limit; these leases are taken over as a dead worker's"
            );
            repeats = true;
        }
        if repeats {
            return Err(Died::DrainIncomplete);
        }
        info!("drained");
        Ok(Ended::Drained)
    }
}

/// What became of a take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Took {
    Done,
    /// The lease was not as scanned: look again.
    Contested,
    /// Perhaps taken: look again.
    NoAnswer,
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

type Taken = (
    Result<crate::lease::held::HeldLease, LeaseError>,
    Lease,
    plan::From,
);
