//! The heartbeat: how a worker says that it lives.
//!
//! Owns this worker's row in the fleet table while the worker id is in use. One write each third of the
//! lease duration keeps the fence open; the first write that finds the row evicted, gone or changed ends
//! this worker id (protocol rules 1, 2, 4, 13). It never re-creates its row.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tracing::{debug, warn};

use super::fence::{Fence, Fenced};
use super::times::Times;
use super::{Note, SharedTable, TableError, WorkerId, WorkerRow, Written};
use crate::backoff::Backoff;
use crate::clock::{Clock, Monotonic, Progress, timeout};
use crate::metrics::Metrics;
use crate::status::reports::Reports;

/// What a worker says of itself with its next heartbeat: see [`WorkerRow`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Says {
    pub draining: bool,
    pub held: BTreeMap<String, u64>,
    pub totals: BTreeMap<String, u64>,
    pub rounds: BTreeMap<String, u64>,
    pub saw: BTreeMap<WorkerId, u64>,
    pub notes: Vec<Note>,
}

/// Between two heartbeats that news ask for.
const NEWS_SPACING: Duration = Duration::from_millis(100);

/// What the rest of the worker tells the heartbeat.
#[derive(Debug, Default)]
pub struct Vitals {
    says: Mutex<Says>,
    /// There is something that others wait for: beat soon.
    news: Notify,
    /// When the coordinator last came round. A heartbeat must not hide a stuck worker (rule 16): without
    /// progress for F it stops.
    pub coordinator: Progress,
}

impl Vitals {
    /// Of a worker whose coordinator marks its progress there.
    pub fn new(coordinator: Progress) -> Self {
        Self {
            coordinator,
            ..Self::default()
        }
    }

    /// Changes what the next heartbeat says.
    pub fn say<R>(&self, change: impl FnOnce(&mut Says) -> R) -> R {
        // Nothing panics while it holds this lock; were it so, the words would still be whole.
        change(&mut self.says.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks for a heartbeat now: others wait for what it says.
    pub fn say_now(&self) {
        self.news.notify_one();
    }
}

/// One worker's heartbeat.
pub struct Heartbeat {
    pub table: SharedTable,
    pub clock: Arc<dyn Clock>,
    pub rng: fastrand::Rng,
    pub fence: Fence,
    pub times: Times,
    pub vitals: Arc<Vitals>,
    pub metrics: Metrics,
    /// How far behind this worker's shards are, for the row.
    pub reports: Reports,
    /// The row as last written.
    pub row: WorkerRow,
}

impl Heartbeat {
    /// Beats until the fence falls.
    pub async fn run(mut self) {
        let mut last = self.clock.now();
        loop {
            let jitter = 0.9 + 0.2 * self.rng.f64();
            // From the start of the last one: a beat that took long to be answered has used up its time
            // already. And early enough for two attempts before the fence.
            let due = (last + self.times.heartbeat.mul_f64(jitter)).since(self.clock.now());
            let left = self.fence.remaining().unwrap_or_default();
            // Cancel-safe: a sleep, and a permit that stays until it is taken.
            tokio::select! {
                biased;
                () = self.clock.sleep(due.min(left.saturating_sub(self.times.request * 2))) => {}
                () = self.vitals.news.notified() => {
                    self.clock.sleep((last + NEWS_SPACING).since(self.clock.now())).await;
                }
            }
            last = self.clock.now();
            if self
                .vitals
                .coordinator
                .is_stuck(self.clock.now(), self.times.fence)
            {
                warn!(
                    "the coordinator made no progress for {:?}: no more heartbeats",
                    self.times.fence
                );
                self.fence.close();
            }
            if self.beat().await.is_err() {
                self.fence.close();
                return;
            }
        }
    }

    /// One heartbeat, repeated with the same condition until it is answered or the fence falls.
    async fn beat(&mut self) -> Result<(), Fenced> {
        let mut next = self.row.clone();
        next.heartbeat += 1;
        let says = self.vitals.say(|says| says.clone());
        next.draining = says.draining;
        next.held = says.held;
        next.totals = says.totals;
        next.rounds = says.rounds;
        next.saw = says.saw;
        next.notes = says.notes;
        let extremes = self.reports.extremes();
        (next.lag, next.until_trim) = (extremes.lag, extremes.until_trim);
        // The first attempt without an answer may be the one that was applied: the fence counts from there.
        let mut first_unanswered = None;
        let mut backoff = Backoff::default();
        loop {
            self.fence.check()?;
            let since = first_unanswered.unwrap_or(self.clock.now());
            match timeout(&*self.clock, self.times.request, self.table.beat(&next)).await {
                Ok(Ok(Written::Applied)) => return self.beaten(next, since),
                Ok(Ok(Written::Refused(Some(row)))) if is_mine(&row, &next) => {
                    return self.beaten(next, since);
                }
                Ok(Ok(Written::Refused(row))) => {
                    match row {
                        Some(row) => warn!(?row, "another worker has evicted this one"),
                        None => {
                            warn!("this worker's row is gone: it has left the fleet, or was evicted long ago")
                        }
                    }
                    return Err(Fenced);
                }
                Ok(Err(error)) => {
                    self.metrics
                        .table_errors
                        .with_label_values(&[error.class()])
                        .inc();
                    warn!(error = %error, "the heartbeat was not written; repeating");
                    if matches!(error, TableError::Unanswered(_)) {
                        first_unanswered = Some(since);
                    }
                }
                Err(_) => {
                    first_unanswered = Some(since);
                    self.metrics.table_errors.with_label_values(&["timeout"]).inc();
                    debug!("no answer to the heartbeat; repeating");
                }
            }
            // Soon: a table that throttles some requests must not cost the fence.
            let wait = backoff.next(&mut self.rng).min(self.times.request / 2);
            self.clock.sleep(wait).await;
        }
    }

    fn beaten(&mut self, row: WorkerRow, since: Monotonic) -> Result<(), Fenced> {
        self.row = row;
        self.metrics.heartbeats.with_label_values::<&str>(&[]).inc();
        self.fence.extend(since)
    }
}

/// Whether `row`, which refused the write of `next`, is what an earlier attempt to write it left (rule 13).
pub fn is_mine(row: &WorkerRow, next: &WorkerRow) -> bool {
    row.id == next.id && row.heartbeat == next.heartbeat && !row.evicted && !row.tombstone
}
