//! Leases held by this worker.
//!
//! Owns [`HeldLease`], the right to read and checkpoint one shard, and every write that needs it: take,
//! checkpoint, end, release. Nothing else makes one, so nothing else can write a checkpoint. Repeats each
//! write until it is answered (protocol rule 13), and stops at the fence (rule 2).

use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, warn};

use super::fence::{Fence, Fenced};
use super::{Expected, Lease, LeaseChange, LeaseKey, SharedTable, TableError, WorkerId, Written};
use crate::backoff::Backoff;
use crate::clock::{Clock, Monotonic, Progress, timeout};
use crate::lease::Checkpoint;
use crate::ledger::{Acknowledged, Drained};
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::stream::ShardId;

/// The part of the process whose problems are told here.
const PART: &str = "lease table";

/// Why a lease can't be written. One variant for each different action of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// Another worker's write won. Stop reading the shard.
    #[error("the lease was lost to another worker")]
    Lost,
    /// The table gave no answer in the time the caller had. Go on, and ask again later.
    #[error("the lease table gave no answer")]
    Unanswered,
    /// This worker is fenced. Stop everything.
    #[error(transparent)]
    Fenced(#[from] Fenced),
}

/// The right to read one shard, to put its records and to move its checkpoint.
///
/// Not `Clone`: there is one at most for a lease, and it dies with its task.
#[derive(Debug)]
pub struct HeldLease {
    lease: Lease,
    /// A write that may have been applied: it is settled before another is made (rule 13).
    uncertain: Option<LeaseChange>,
}

impl HeldLease {
    pub fn lease(&self) -> &Lease {
        &self.lease
    }
}

/// The lease table, as one worker writes to it.
#[derive(Clone)]
pub struct Leases {
    table: SharedTable,
    me: WorkerId,
    fence: Fence,
    clock: Arc<dyn Clock>,
    request_timeout: Duration,
    metrics: Metrics,
    readiness: Readiness,
    rng: fastrand::Rng,
    /// Marked at each attempt: a write that is being repeated is no hung task.
    progress: Progress,
}

impl Leases {
    #[expect(
        clippy::too_many_arguments,
        reason = "one of each part that it works with; made in one place"
    )]
    pub fn new(
        table: SharedTable,
        me: WorkerId,
        fence: Fence,
        clock: Arc<dyn Clock>,
        request_timeout: Duration,
        metrics: Metrics,
        readiness: Readiness,
        rng: fastrand::Rng,
    ) -> Self {
        let progress = Progress::default();
        Self {
            table,
            me,
            fence,
            clock,
            request_timeout,
            metrics,
            readiness,
            rng,
            progress,
        }
    }

    /// Another handle, with its own random numbers and its own mark of progress.
    pub fn fork(&mut self, progress: Progress) -> Self {
        let mut other = self.clone();
        other.rng = self.rng.fork();
        other.progress = progress;
        other
    }

    pub fn fence(&self) -> &Fence {
        &self.fence
    }

    /// Becomes the owner of `seen`, if it still is as seen. Tries for a short time: a lease that was taken
    /// without an answer shows as this worker's own at the next look.
    pub async fn take(&mut self, seen: Lease) -> Result<HeldLease, LeaseError> {
        let mut held = HeldLease {
            lease: seen,
            uncertain: None,
        };
        let change = LeaseChange::Take(self.me.clone());
        self.write(&mut held, change, Some(self.request_timeout * 3))
            .await?;
        Ok(held)
    }

    /// Moves the checkpoint to what was acknowledged. Tries for a short time, so that a table in trouble
    /// doesn't hold up the deliveries.
    pub async fn checkpoint(&mut self, held: &mut HeldLease, to: &Acknowledged) -> Result<(), LeaseError> {
        let change = LeaseChange::Checkpoint(to.checkpoint().clone());
        self.write(held, change, Some(self.request_timeout * 2)).await
    }

    /// Writes SHARD_END. The children's leases exist (KCL rule 6); every record was finished.
    pub async fn end(
        &mut self,
        mut held: HeldLease,
        children: Vec<ShardId>,
        _every_record: Drained,
    ) -> Result<(), LeaseError> {
        self.write(&mut held, LeaseChange::End(children), None).await
    }

    /// Gives the lease up, so that another worker may take it at once.
    pub async fn release(&mut self, mut held: HeldLease) -> Result<(), LeaseError> {
        self.write(&mut held, LeaseChange::Release, None).await
    }

    /// A lease as it stands now; `None` if there is none (any more). Tries for a short time.
    pub async fn read(&mut self, key: &LeaseKey) -> Result<Option<Lease>, LeaseError> {
        let until = self.clock.now() + self.request_timeout * 2;
        let mut backoff = Backoff::default();
        loop {
            self.fence.check()?;
            match timeout(&*self.clock, self.request_timeout, self.table.lease(key)).await {
                Ok(Ok(lease)) => return Ok(lease),
                Ok(Err(error)) => self.failed(key, "read", &error, backoff.failures()),
                Err(_) => self.unanswered(key, "read", backoff.failures()),
            }
            if self.clock.now() >= until {
                return Err(LeaseError::Unanswered);
            }
            self.clock.sleep(backoff.next(&mut self.rng)).await;
        }
    }

    /// Gives up a lease that is this worker's by the table and has no task here. Tries once; `false`: no answer.
    pub async fn disown(&mut self, lease: Lease) -> bool {
        let mut held = HeldLease {
            lease,
            uncertain: None,
        };
        let written = self
            .write(&mut held, LeaseChange::Release, Some(Duration::ZERO))
            .await;
        // Lost: somebody else has it, which is as good.
        matches!(written, Ok(()) | Err(LeaseError::Lost))
    }

    /// Creates a lease that nobody owns. One that exists is as good.
    pub async fn create(&mut self, lease: &Lease) -> Result<(), Fenced> {
        let mut backoff = Backoff::default();
        loop {
            self.fence.check()?;
            self.progress.mark(self.clock.now());
            match timeout(&*self.clock, self.request_timeout, self.table.create_lease(lease)).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => self.failed(&lease.key, "create", &error, backoff.failures()),
                Err(_) => self.unanswered(&lease.key, "create", backoff.failures()),
            }
            self.clock.sleep(backoff.next(&mut self.rng)).await;
        }
    }

    /// Settles an earlier write of unknown outcome, then makes this one.
    async fn write(
        &mut self,
        held: &mut HeldLease,
        change: LeaseChange,
        limit: Option<Duration>,
    ) -> Result<(), LeaseError> {
        let until = limit.map(|limit| self.clock.now() + limit);
        if let Some(uncertain) = held.uncertain.clone().filter(|earlier| *earlier != change) {
            self.settle(held, uncertain, until).await?;
        }
        self.settle(held, change, until).await
    }

    /// One conditional write, repeated with the same condition until it is answered, or until `until`;
    /// at least once.
    async fn settle(
        &mut self,
        held: &mut HeldLease,
        change: LeaseChange,
        until: Option<Monotonic>,
    ) -> Result<(), LeaseError> {
        let expected = Expected {
            owner: held.lease.owner.clone(),
            counter: held.lease.counter,
        };
        let wanted = apply(&held.lease, &change);
        let mut backoff = Backoff::default();
        loop {
            self.fence.check()?;
            self.progress.mark(self.clock.now());
            // Dropped by whoever waits for this, a request may still be applied.
            held.uncertain = Some(change.clone());
            let request = self.table.update_lease(&held.lease.key, &expected, &change);
            match timeout(&*self.clock, self.request_timeout, request).await {
                Ok(Ok(Written::Applied)) => {
                    self.readiness.solved(PART);
                    held.lease = wanted;
                    held.uncertain = None;
                    return Ok(());
                }
                // Rule 13: my own earlier attempt, whose answer was lost. What it wrote is compared too: a
                // late write of an ended task of mine has my name and the same counter.
                Ok(Ok(Written::Refused(Some(row)))) if same_write(&row, &wanted) => {
                    held.lease = wanted;
                    held.uncertain = None;
                    return Ok(());
                }
                Ok(Ok(Written::Refused(row))) => {
                    debug!(lease = %held.lease.key, ?row, "another write came first");
                    return Err(LeaseError::Lost);
                }
                Ok(Err(error)) => self.failed(&held.lease.key, name(&change), &error, backoff.failures()),
                Err(_) => self.unanswered(&held.lease.key, name(&change), backoff.failures()),
            }
            if until.is_some_and(|until| self.clock.now() >= until) {
                return Err(LeaseError::Unanswered);
            }
            self.clock.sleep(backoff.next(&mut self.rng)).await;
        }
    }

    fn failed(&self, key: &LeaseKey, what: &str, error: &TableError, failures: u32) {
        self.metrics
            .table_errors
            .with_label_values(&[error.class()])
            .inc();
        if let TableError::Refused(why) = error {
            self.readiness.problem(PART, why.clone());
        }
        if (failures + 1).is_power_of_two() {
            warn!(lease = %key, %error, failures = failures + 1, "the lease table failed a {what}; repeating");
        }
    }

    fn unanswered(&self, key: &LeaseKey, what: &str, failures: u32) {
        self.metrics.table_errors.with_label_values(&["timeout"]).inc();
        if (failures + 1).is_power_of_two() {
            let timeout = self.request_timeout;
            warn!(lease = %key, ?timeout, failures = failures + 1, "no answer in time to a lease {what}; repeating");
        }
    }
}

fn name(change: &LeaseChange) -> &'static str {
    match change {
        LeaseChange::Take(_) => "take",
        LeaseChange::Checkpoint(_) => "checkpoint",
        LeaseChange::End(_) => "end",
        LeaseChange::Release => "release",
        LeaseChange::HandBack => "hand-back",
        LeaseChange::Set(_) => "set",
    }
}

/// The row after a change.
pub fn apply(lease: &Lease, change: &LeaseChange) -> Lease {
    let mut after = lease.clone();
    after.counter += 1;
    match change {
        LeaseChange::Take(me) => {
            after.owner = Some(me.clone());
            after.owner_switches += 1;
        }
        LeaseChange::Checkpoint(checkpoint) => {
            after.checkpoint = checkpoint.clone();
            after.owner_switches = 0;
        }
        LeaseChange::End(children) => {
            after.checkpoint = Checkpoint::ShardEnd;
            after.owner_switches = 0;
            if !children.is_empty() {
                after.children = children.clone();
            }
        }
        LeaseChange::Set(checkpoint) => {
            after.checkpoint = checkpoint.clone();
            after.owner_switches = 0;
            after.owner = None;
        }
        LeaseChange::Release | LeaseChange::HandBack => after.owner = None,
    }
    after
}

/// Whether a row is what a write wanted: then it was applied (rule 13).
pub fn same_write(row: &Lease, wanted: &Lease) -> bool {
    row.owner == wanted.owner && row.counter == wanted.counter && row.checkpoint == wanted.checkpoint
}
