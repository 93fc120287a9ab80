//! How a consumer ends: at its shard's end, because the shard is gone, or because it is asked to stop.

use std::time::Duration;

use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use super::{Consumer, End, TICK};
use crate::lease::Checkpoint;
use crate::lease::held::{HeldLease, LeaseError};
use crate::lease::times::SUCCESSOR_SHARE;
use crate::logs::sink::Delivered;
use crate::shutdown::Stop;
use crate::stream::lineage::new_lease;
use crate::stream::{Shard, ShardId, SourceError};

/// At a shard's end its children are asked for this often (rule 22 of the KCL's lessons)…
const CHILD_TRIES: u32 = 5;
/// …so far apart. If none shows, the periodic shard sync finds them.
const CHILD_WAIT: Duration = Duration::from_secs(1);
/// One such question, with its turn among all that list shards. Many shards may end at once.
const CHILD_TIMEOUT: Duration = Duration::from_secs(5);
/// Kept back from a drain's time for the last checkpoint and the release.
const DRAIN_RESERVE: Duration = Duration::from_secs(2);

impl Consumer {
    /// Every record of the shard is delivered. A checkpoint comes before the search for the children, which
    /// may take its time: a crash meanwhile repeats nothing.
    pub(super) async fn finish(mut self, mut held: HeldLease, stop: Stop) -> End {
        match self.checkpoint(&mut held).await {
            Ok(()) | Err(LeaseError::Unanswered) => {}
            Err(error) => return self.lost(error),
        }
        self.end(held, stop, None).await
    }

    /// The shard's end: children first, then SHARD_END. The reverse order leaves a hole for ever if the
    /// worker dies in between (rule 6). `known` children need not be asked for.
    async fn end(mut self, held: HeldLease, stop: Stop, known: Option<Vec<Shard>>) -> End {
        let Some(drained) = self.ledger.drained() else {
            return End::Undone;
        };
        let mut children = match known {
            Some(children) => children,
            None => self.children(&stop).await,
        };
        // Rule 8: the child of a merge gets its lease only beside those of both parents. The last listing
        // may be older than the child and lack the other parent, which would then pass for a trimmed one.
        // The shard sync, asked for at each shard's end, sees them all.
        children.retain(|c| c.parents.iter().all(|p| *p == self.reader.shard));
        let mut keys = Vec::new();
        for child in &children {
            let key = self.pipeline.keys.sibling(&self.key, &child.id);
            let lease = new_lease(key, &self.stream, child, Checkpoint::TrimHorizon);
            if self.leases.create(&self.pipeline.keys.row(&lease)).await.is_err() {
                return End::Fenced;
            }
            keys.push(lease.key);
        }
        let ids = children.into_iter().map(|c| c.id).collect::<Vec<_>>();
        let names = ids.iter().map(ShardId::as_str).collect::<Vec<_>>().join(" ");
        info!(lease = %self.key, shard_id = %self.reader.shard, children = names, "the shard has ended");
        if let Err(error) = self.leases.end(held, ids, drained).await {
            return self.lost(error);
        }
        self.accounts.shard_ended();
        End::ShardEnd { children: keys }
    }

    async fn children(&mut self, stop: &Stop) -> Vec<Shard> {
        let clock = self.pipeline.clock.clone();
        for attempt in 0..CHILD_TRIES {
            self.progress.mark(clock.now());
            let asked = self
                .pipeline
                .source
                .child_shards(&self.stream, &self.reader.shard);
            match self.attend(CHILD_TIMEOUT, asked).await {
                Some(Ok(children)) if !children.is_empty() => return children,
                Some(Err(SourceError::NotFound(_))) => break,
                Some(Err(error)) => {
                    self.accounts.source_error(&error);
                    self.trouble(format!("its child shards could not be listed: {error}"));
                }
                Some(Ok(_)) | None => {}
            }
            if stop.is_wished() {
                break;
            }
            clock
                .sleep(CHILD_WAIT.mul_f64(0.5 + self.rng.f64() * f64::from(attempt + 1) / 2.0))
                .await;
        }
        debug!(lease = %self.key, shard_id = %self.reader.shard, "no child shard is listed yet; the shard sync will find them");
        Vec::new()
    }

    /// The shard is gone with whatever was not read: write that down, then end it.
    pub(super) async fn end_gone(
        mut self,
        held: HeldLease,
        mut deliveries: mpsc::UnboundedReceiver<Delivered>,
        mut stop: Stop,
    ) -> End {
        if let Err(error) = self
            .record_gap("the shard, or its stream, was deleted before its end was read")
            .await
        {
            return self.lost(error);
        }
        let clock = self.pipeline.clock.clone();
        while self.ledger.drained().is_none() {
            self.progress.mark(clock.now());
            self.tell();
            if self.leases.fence().check().is_err() {
                return End::Fenced;
            }
            // As in `run`.
            tokio::select! {
                biased;
                () = stop.wished() => return self.drain(held, deliveries).await,
                Some(delivered) = deliveries.recv() => self.settle(&delivered),
                () = clock.sleep(TICK) => {}
            }
        }
        self.end(held, stop, Some(Vec::new())).await
    }

    /// Stop reading, wait for what is in flight, checkpoint, release; bounded.
    pub(super) async fn drain(
        mut self,
        mut held: HeldLease,
        mut deliveries: mpsc::UnboundedReceiver<Delivered>,
    ) -> End {
        debug!(lease = %self.key, shard_id = %self.reader.shard, "stopped reading the shard");
        let clock = self.pipeline.clock.clone();
        let limit = self.pipeline.drain_timeout.mul_f64(1.0 - SUCCESSOR_SHARE);
        let until = clock.now() + limit.saturating_sub(DRAIN_RESERVE);
        self.telling.is_leaving = true;
        self.tell();
        while self.ledger.drained().is_none() && clock.now() < until {
            self.progress.mark(clock.now());
            self.tell();
            if self.leases.fence().check().is_err() {
                return End::Fenced;
            }
            let left = until.since(clock.now()).min(TICK);
            // As in `run`.
            tokio::select! {
                biased;
                Some(delivered) = deliveries.recv() => self.settle(&delivered),
                () = clock.sleep(left) => {}
            }
        }
        let drained = self.ledger.drained().is_some();
        if !drained {
            let records = self.ledger.open_records();
            warn!(lease = %self.key, shard_id = %self.reader.shard, records, "the drain hit its limit: the next owner repeats these records");
            // Before the release: it may be applied, and its answer be lost, long before this ends.
            self.lane.withdraw();
        }
        loop {
            match self.checkpoint(&mut held).await {
                Ok(()) => break,
                // Bounded by the coordinator's own limit.
                Err(LeaseError::Unanswered) => {}
                Err(error) => return self.lost(error),
            }
        }
        let counter = held.lease().counter + 1;
        match self.leases.release(held).await {
            // Lost: the release was applied, its answer got lost, and another worker was quick. What was
            // delivered is checkpointed either way.
            Ok(()) | Err(LeaseError::Lost) => {
                info!(lease = %self.key, shard_id = %self.reader.shard, drained, "released the lease");
                End::Released { drained, counter }
            }
            Err(error) => self.lost(error),
        }
    }
}
