//! The worker's requests to the fleet table, one attempt each: the loop that calls them repeats.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tracing::{info, warn};

use crate::clock::{Clock, Timestamp, timeout};
use crate::lease::plan::{Observer, Scanned, Suspect};
use crate::lease::times::Times;
use crate::lease::{Expected, Lease, PipelineRow, SharedTable, StreamRow, TableError, WorkerId, Written};
use crate::metrics::Metrics;
use crate::readiness::Readiness;

/// A scan has many pages; each is a request, so the whole may take longer than one.
pub(super) const SCAN_FACTOR: u32 = 10;
/// The part of the process whose problems are told here.
const PART: &str = "state tables";

pub(super) struct Fleet {
    table: SharedTable,
    clock: Arc<dyn Clock>,
    times: Times,
    pub(super) me: WorkerId,
    pub(super) observer: Observer,
    metrics: Metrics,
    readiness: Readiness,
    /// Requests that failed since the last that went well.
    failures: AtomicU32,
    /// Workers whose eviction was asked for and not answered.
    tried: BTreeSet<WorkerId>,
}

impl Fleet {
    pub(super) fn new(
        table: SharedTable,
        clock: Arc<dyn Clock>,
        times: Times,
        me: WorkerId,
        observer: Observer,
        metrics: Metrics,
        readiness: Readiness,
    ) -> Self {
        Self {
            table,
            clock,
            times,
            me,
            observer,
            metrics,
            readiness,
            failures: AtomicU32::new(0),
            tried: BTreeSet::new(),
        }
    }

    /// Reads the worker rows; the suspects among them. The error has been told.
    pub(super) async fn scan_workers(&mut self) -> Result<Vec<Suspect>, ()> {
        let started = self.clock.now();
        // Not longer than a request: a worker that waits for the rows of others must not lose its own.
        let rows = self
            .bounded("reading the worker rows", 1, self.table.workers())
            .await?;
        Ok(self.observer.workers(
            Scanned {
                started,
                received: self.clock.now(),
            },
            rows,
        ))
    }

    pub(super) fn table(&self) -> SharedTable {
        self.table.clone()
    }

    /// Reads the streams' rows. The error has been told.
    pub(super) async fn scan_streams(&self) -> Result<Vec<StreamRow>, ()> {
        self.bounded("reading the streams' rows", 1, self.table.streams())
            .await
    }

    /// Reads what was written down of the pipelines. The error has been told.
    pub(super) async fn pipelines(&self) -> Result<Vec<PipelineRow>, ()> {
        self.bounded("reading the pipelines' rows", 1, self.table.pipelines())
            .await
    }

    /// Reads all leases. The error has been told.
    pub(super) async fn scan_leases(&mut self) -> Result<Vec<Lease>, ()> {
        let started = self.clock.now();
        let leases = self
            .bounded("reading the leases", SCAN_FACTOR, self.table.leases())
            .await?;
        self.observer.leases(
            Scanned {
                started,
                received: self.clock.now(),
            },
            &leases,
        );
        Ok(leases)
    }

    /// Writes the certificate that a worker is dead (rule 4). `true`: this worker wrote it. The error has been told.
    pub(super) async fn evict(&mut self, suspect: &Suspect) -> Result<bool, ()> {
        let asked = self.table.evict(&suspect.id, suspect.heartbeat);
        let Ok(written) = self.bounded("evicting a dead worker", 1, asked).await else {
            self.tried.insert(suspect.id.clone());
            return Err(());
        };
        // An attempt of mine that was not answered may be the one that was applied.
        let tried = self.tried.remove(&suspect.id);
        let (gone, mine) = match written {
            Written::Applied => {
                info!(worker = %suspect.id, "evicted a worker whose heartbeat stood still");
                self.metrics.evictions.with_label_values::<&str>(&[]).inc();
                (true, true)
            }
            Written::Refused(Some(row)) => (row.evicted || row.tombstone, row.evicted && tried),
            Written::Refused(None) => (false, false),
        };
        if gone {
            self.observer.evicted(&suspect.id);
        }
        Ok(mine)
    }

    pub(super) async fn delete_worker(&self, id: &WorkerId, heartbeat: u64) {
        // A failure leaves the row to the next round.
        let _ = self
            .bounded(
                "removing an old worker row",
                1,
                self.table.delete_worker(id, heartbeat),
            )
            .await;
    }

    /// Removes this worker's own row after a drain. If it fails, the row is evicted in time.
    pub(super) async fn leave(&self) {
        for _ in 0..3 {
            let Ok(rows) = self
                .bounded("reading the worker rows", 1, self.table.workers())
                .await
            else {
                continue;
            };
            let Some(mine) = rows.into_iter().find(|r| r.id == self.me) else {
                return;
            };
            let asked = self.table.delete_worker(&self.me, mine.heartbeat);
            // Refused: a heartbeat came in between; read again.
            if let Ok(Written::Applied) = self.bounded("removing the worker's row", 1, asked).await {
                return;
            }
        }
    }

    /// Deletes a lease as it was seen. `false`: it has changed, or the table did not answer.
    pub(super) async fn delete_lease(&self, lease: &Lease) -> bool {
        let expected = Expected {
            owner: lease.owner.clone(),
            counter: lease.counter,
        };
        let asked = self.table.delete_lease(&lease.key, &expected);
        matches!(
            self.bounded("removing a lease", 1, asked).await,
            Ok(Written::Applied | Written::Refused(None))
        )
    }

    /// Writes down since when nobody runs a pipeline, or that somebody does.
    pub(super) async fn unlist_pipeline(&self, name: &str, since: Option<Timestamp>) {
        // A failure leaves it to the next round.
        let _ = self
            .bounded(
                "writing a pipeline's row",
                1,
                self.table.unlist_pipeline(name, since),
            )
            .await;
    }

    /// Deletes what is left of a pipeline beside its leases.
    pub(super) async fn delete_pipeline(&self, name: &str, streams: &[StreamRow]) {
        for row in streams.iter().filter(|row| row.pipeline == name) {
            let asked = self.table.delete_stream(name, &row.arn);
            if self.bounded("removing a stream's row", 1, asked).await.is_err() {
                return;
            }
        }
        let _ = self
            .bounded("removing a pipeline's row", 1, self.table.delete_pipeline(name))
            .await;
    }

    async fn bounded<T>(
        &self,
        what: &str,
        requests: u32,
        work: impl Future<Output = Result<T, TableError>>,
    ) -> Result<T, ()> {
        let limit: Duration = self.times.request * requests;
        let done = timeout(&*self.clock, limit, work).await;
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        // At once, and then at each doubling, so that an outage of an hour fills no log.
        let tell = failures.is_power_of_two();
        let class = match done {
            Ok(Ok(done)) => {
                self.failures.store(0, Ordering::Relaxed);
                self.readiness.solved(PART);
                return Ok(done);
            }
            Ok(Err(error)) => {
                if tell {
                    warn!(%error, failures, "{what} failed; repeating");
                }
                if let TableError::Refused(why) = &error {
                    self.readiness.problem(PART, why.clone());
                }
                error.class()
            }
            Err(_) => {
                let silence = format!("no answer within {limit:?} when {what}");
                if tell {
                    warn!(failures, "{silence}; repeating");
                }
                self.readiness.problem(PART, silence);
                "timeout"
            }
        };
        self.metrics.table_errors.with_label_values(&[class]).inc();
        Err(())
    }
}
