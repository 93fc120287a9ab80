//! How a life begins: the worker's row, the fence, and the services.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::{OnceCell, mpsc, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::fleet::Fleet;
use super::sync::Syncer;
use super::takes::Takes;
use super::until::Until;
use super::{Life, PipelineLife, Schedule, Service, Worker};
use crate::backoff::Backoff;
use crate::clock::{Monotonic, Progress, timeout};
use crate::consumer;
use crate::consumer::budget::{self, Need};
use crate::lease::duty::Duty;
use crate::lease::fence::Fence;
use crate::lease::heartbeat::{Heartbeat, Vitals, is_mine};
use crate::lease::held::Leases;
use crate::lease::notes::Board;
use crate::lease::plan::Observer;
use crate::lease::times::Times;
use crate::lease::{WorkerId, WorkerRow, Written};
use crate::logs::group::GroupSettings;
use crate::logs::sink::{LiveWorkers, PutRate, Sink, SinkSettings, Surroundings};
use crate::readiness::Latch;
use crate::shutdown::Stop;
use crate::status::fleet::Unread;

impl Life {
    /// Writes the worker's row and starts the services. `before`: the id that was fenced, whose leases are
    /// to be made known. `None`: a stop was wished before.
    pub(super) async fn join(worker: &mut Worker, before: Option<WorkerId>, mut stop: Stop) -> Option<Life> {
        let times = Times::of(worker.settings.lease_duration);
        let clock = worker.clock.clone();
        let held = worker.pipelines.iter().map(|p| (p.name.clone(), 0)).collect();
        let mut row = WorkerRow {
            held,
            lease: worker.settings.lease_duration,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: clock.wall(),
            ..WorkerRow::new(WorkerId::new(""))
        };
        let mut backoff = Backoff::default();
        let mut since = clock.now();
        row.id = new_id(worker);
        loop {
            if stop.is_wished() {
                return None;
            }
            worker.readiness.coordinator().mark(clock.now());
            // The fence counts from the first attempt of an id, which may have been the one applied. An id
            // that took too long is given up; what may stand of it is evicted in time.
            if clock.now().since(since) >= times.fence / 2 {
                (row.id, since) = (new_id(worker), clock.now());
            }
            match timeout(&*clock, times.request, worker.table.create_worker(&row)).await {
                Ok(Ok(Written::Applied)) => break,
                // Rule 13: my own earlier attempt, whose answer was lost.
                Ok(Ok(Written::Refused(Some(found)))) if is_mine(&found, &row) => break,
                Ok(Ok(Written::Refused(_))) => (row.id, since) = (new_id(worker), clock.now()),
                Ok(Err(error)) => {
                    worker
                        .metrics
                        .table_errors
                        .with_label_values(&[error.class()])
                        .inc();
                    worker.readiness.problem("state tables", error.to_string());
                    warn!(%error, "the worker's row was not written; repeating");
                }
                Err(_) => {
                    let what = format!(
                        "no answer within {:?} when writing the worker's row",
                        times.request
                    );
                    worker.readiness.problem("state tables", what);
                    warn!("no answer when writing the worker's row; repeating");
                }
            }
            // Cancel-safe: a sleep and a wish.
            tokio::select! {
                biased;
                () = stop.wished() => return None,
                () = clock.sleep(backoff.next(&mut worker.rng)) => {}
            }
        }
        worker.readiness.solved("state tables");
        worker.readiness.open(Latch::Heartbeat);
        info!(worker = %row.id, application = %worker.settings.application, "joined the fleet");
        Some(Self::start(worker, row, since, times, before))
    }

    fn start(
        worker: &mut Worker,
        row: WorkerRow,
        since: Monotonic,
        times: Times,
        before: Option<WorkerId>,
    ) -> Life {
        let clock = worker.clock.clone();
        let settings = worker.settings.clone();
        let fence = Fence::new(clock.clone(), times.fence, since);
        let coordinator = worker.readiness.coordinator().clone();
        coordinator.mark(clock.now());
        let vitals = Arc::new(Vitals::new(coordinator));
        let me = row.id.clone();
        let row_id = row.id.clone();
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
            reports: worker.reports.clone(),
            row,
        };
        let task = services.spawn(async move {
            heartbeat.run().await;
            Service::Heartbeat
        });
        service_names.insert(task.id(), "heartbeat".to_owned());

        let (synced_tx, synced) = mpsc::unbounded_channel();
        let (cleared, may_sync) = watch::channel(!settings.keys.are_kcls());
        let needs: Vec<_> = worker.pipelines.iter().map(need).collect();
        let budgets = budget::divide(settings.memory, &needs, &worker.metrics);
        let mut pipelines = BTreeMap::new();
        let live = LiveWorkers::default();
        // What the quota counts: an account, by the role that leads there, and a region.
        let mut rates = BTreeMap::new();
        for (pipeline, budget) in worker.pipelines.iter().zip(budgets) {
            let destination = &pipeline.config.destination;
            let sink_settings = SinkSettings {
                pipeline: pipeline.name.clone(),
                create: destination.create,
                group: GroupSettings::of(destination),
                reconcile: destination.reconcile,
                oversize: destination.oversize,
                too_old: destination.too_old,
                too_new: destination.too_new,
                redacts: pipeline.config.shape.redact.is_some(),
            };
            let account = (&destination.aws.region, &destination.aws.assume_role_arn);
            let rate = rates
                .entry(account)
                .or_insert_with(|| PutRate::new(settings.put_rate, live.clone()));
            let surroundings = Surroundings {
                clock: clock.clone(),
                fence: fence.clone(),
                rate: rate.clone(),
                metrics: worker.metrics.clone(),
                readiness: worker.readiness.clone(),
                reports: worker.reports.clone(),
            };
            let (sink, router) = Sink::new(
                pipeline.sink.clone(),
                sink_settings,
                surroundings,
                worker.rng.fork(),
            );
            let task = services.spawn(async move { Service::Router(router.run().await) });
            service_names.insert(task.id(), format!("log writers of {}", pipeline.name));

            let (orders, ordered) = mpsc::channel(1);
            let shared = Arc::new(consumer::Pipeline {
                application: settings.application.clone(),
                keys: settings.keys.clone(),
                config: pipeline.config.clone(),
                guard: pipeline.guard.clone(),
                source: pipeline.source.clone(),
                sink,
                subscriptions: pipeline.subscriptions.clone(),
                budget,
                table: worker.table.clone(),
                clock: clock.clone(),
                metrics: worker.metrics.clone(),
                readiness: worker.readiness.clone(),
                reports: worker.reports.clone(),
                tracer: worker.tracer.clone(),
                checkpoint_interval: settings.checkpoint_interval,
                drain_timeout: settings.drain_timeout,
                request_timeout: times.request,
                began: settings.until_caught_up.then(OnceCell::new),
            });
            let syncer = Syncer::new(
                shared.clone(),
                worker.readiness.clone(),
                leases.fork(Progress::default()),
                worker.rng.fork(),
                synced_tx.clone(),
                ordered,
                may_sync.clone(),
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
                    orders,
                    looked: false,
                    round_due: clock.now(),
                    rounds: 0,
                    paused: false,
                    tells_until: clock.now(),
                    unheld: None,
                    wanted: None,
                },
            );
        }
        let until = settings.until_caught_up.then(Until::default);
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
            live,
            takes: Takes::default(),
            board: Board::new(row_id),
            duty: Duty::default(),
            flags_seen: BTreeSet::new(),
            schedule: Schedule::new(clock.now()),
            estates: before.into_iter().collect(),
            synced,
            metrics: worker.metrics.clone(),
            readiness: worker.readiness.clone(),
            settings,
            clock,
            removable: BTreeMap::new(),
            until,
            scanned: None,
            scan_view: None,
            unread: Unread::default(),
            reports: worker.reports.clone(),
            standing_by: false,
            cleared,
            watch_told: false,
        }
    }
}

fn need(pipeline: &super::Pipeline) -> Need<'_> {
    Need {
        pipeline: &pipeline.name,
        largest: pipeline.source.largest_answer(),
        copies: pipeline.sink.copies(),
    }
}

/// Never used before, and never again: the host is for people, 64 random bits are for uniqueness.
fn new_id(worker: &mut Worker) -> WorkerId {
    WorkerId::new(format!("{}-{:016x}", worker.host, worker.rng.u64(..)))
}
