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
use crate::clock::{Clock, timeout};
use crate::consumer::ledger::{Acknowledged, Drained};
use crate::lease::Checkpoint;
use crate::metrics::Metrics;
use crate::stream::ShardId;

/// Why a lease can't be written. One variant for each different action of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// Another worker's write won. Stop reading the shard.
    #[error("the lease was lost to another worker")]
    Lost,
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
    rng: fastrand::Rng,
}

impl Leases {
    pub fn new(
        table: SharedTable,
        me: WorkerId,
        fence: Fence,
        clock: Arc<dyn Clock>,
        request_timeout: Duration,
        metrics: Metrics,
        rng: fastrand::Rng,
    ) -> Self {
        Self {
            table,
            me,
            fence,
            clock,
            request_timeout,
            metrics,
            rng,
        }
    }

    /// Another handle, with its own random numbers.
    pub fn fork(&mut self) -> Self {
        let mut other = self.clone();
        other.rng = self.rng.fork();
        other
    }

    pub fn fence(&self) -> &Fence {
        &self.fence
    }

    /// Becomes the owner of `seen`, if it still is as seen.
    pub async fn take(&mut self, seen: Lease) -> Result<HeldLease, LeaseError> {
        let mut held = HeldLease { lease: seen };
        self.write(&mut held, LeaseChange::Take(self.me.clone())).await?;
        Ok(held)
    }

    /// Moves the checkpoint to what was acknowledged.
    pub async fn checkpoint(&mut self, held: &mut HeldLease, to: &Acknowledged) -> Result<(), LeaseError> {
        self.write(held, LeaseChange::Checkpoint(to.checkpoint().clone()))
            .await
    }

    /// Writes SHARD_END. The children's leases exist (KCL rule 6); every record was finished.
    pub async fn end(
        &mut self,
        mut held: HeldLease,
        children: Vec<ShardId>,
        _every_record: Drained,
    ) -> Result<(), LeaseError> {
        self.write(&mut held, LeaseChange::End(children)).await
    }

    /// Gives the lease up, so that another worker may take it at once.
    pub async fn release(&mut self, mut held: HeldLease) -> Result<(), LeaseError> {
        self.write(&mut held, LeaseChange::Release).await
    }

    /// Creates a lease that nobody owns. One that exists is as good.
    pub async fn create(&mut self, lease: &Lease) -> Result<(), Fenced> {
        let mut backoff = Backoff::default();
        loop {
            self.fence.check()?;
            match timeout(&*self.clock, self.request_timeout, self.table.create_lease(lease)).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => self.failed(&lease.key, "create", &error),
                Err(_) => self.unanswered(&lease.key, "create"),
            }
            self.clock.sleep(backoff.next(&mut self.rng)).await;
        }
    }

    /// One conditional write, repeated with the same condition until it is answered.
    async fn write(&mut self, held: &mut HeldLease, change: LeaseChange) -> Result<(), LeaseError> {
        let expected = Expected {
            owner: held.lease.owner.clone(),
            counter: held.lease.counter,
        };
        let wanted = apply(&held.lease, &change);
        let mut backoff = Backoff::default();
        loop {
            self.fence.check()?;
            let request = self.table.update_lease(&held.lease.key, &expected, &change);
            match timeout(&*self.clock, self.request_timeout, request).await {
                Ok(Ok(Written::Applied)) => {
                    held.lease = wanted;
                    return Ok(());
                }
                // Rule 13: my own earlier attempt, whose answer was lost. What it wrote is compared too: a
                // late write of an ended task of mine has my name and the same counter.
                Ok(Ok(Written::Refused(Some(row)))) if same_write(&row, &wanted) => {
                    held.lease = wanted;
                    return Ok(());
                }
                Ok(Ok(Written::Refused(row))) => {
                    debug!(lease = %held.lease.key, ?row, "another write came first");
                    return Err(LeaseError::Lost);
                }
                Ok(Err(error)) => self.failed(&held.lease.key, name(&change), &error),
                Err(_) => self.unanswered(&held.lease.key, name(&change)),
            }
            self.clock.sleep(backoff.next(&mut self.rng)).await;
        }
    }

    fn failed(&self, key: &LeaseKey, what: &str, error: &TableError) {
        self.metrics
            .table_errors
            .with_label_values(&[error.class()])
            .inc();
        warn!(lease = %key, error = %error, "the lease table refused to {what}; repeating");
    }

    fn unanswered(&self, key: &LeaseKey, what: &str) {
        self.metrics.table_errors.with_label_values(&["timeout"]).inc();
        warn!(lease = %key, timeout = ?self.request_timeout, "no answer in time to a lease {what}; repeating");
    }
}

fn name(change: &LeaseChange) -> &'static str {
    match change {
        LeaseChange::Take(_) => "take",
        LeaseChange::Checkpoint(_) => "checkpoint",
        LeaseChange::End(_) => "end",
        LeaseChange::Release => "release",
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
        LeaseChange::Release => after.owner = None,
    }
    after
}

fn same_write(row: &Lease, wanted: &Lease) -> bool {
    row.owner == wanted.owner && row.counter == wanted.counter && row.checkpoint == wanted.checkpoint
}
