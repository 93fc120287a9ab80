//! From the plan to running consumers.

use std::collections::BTreeSet;

use tokio::task::{JoinError, JoinSet};
use tracing::info;

use super::{Died, Life, Running};
use crate::clock::Progress;
use crate::consumer;
use crate::lease::fence::Fenced;
use crate::lease::held::LeaseError;
use crate::lease::plan::{self, LeaseAction, View};
use crate::lease::{Lease, LeaseKey, WorkerId};
use crate::shutdown::Stop;

/// Takes under way at once.
const TAKES_AT_ONCE: usize = 16;

/// What became of a take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Took {
    Done,
    /// The lease was not as scanned: look again.
    Contested,
    /// Perhaps taken: look again.
    NoAnswer,
}

type Taken = (
    Result<crate::lease::held::HeldLease, LeaseError>,
    Lease,
    plan::From,
);

impl Life {
    /// Plans over a scan of the leases, and takes what the plan names. `true`: look again soon.
    pub(super) async fn act(&mut self, leases: &[Lease], stop: &Stop) -> Result<bool, Died> {
        let mut startable = Vec::new();
        for (name, pipeline) in &self.pipelines {
            let Some(synced) = &pipeline.last else { continue };
            let own: Vec<&Lease> = leases
                .iter()
                .filter(|l| self.settings.keys.pipeline_of(l) == Some(name))
                .collect();
            startable.extend(synced.startable(&self.settings.keys, &own, &self.seen));
        }
        let seen: BTreeSet<LeaseKey> = leases.iter().map(|l| l.key.clone()).collect();
        // What was seen for the first time may have waited for that alone: look again soon.
        let fresh = !seen.is_subset(&self.seen);
        let held_by_others = startable.len();
        let running: BTreeSet<LeaseKey> = self.running.keys().cloned().collect();
        let view = View {
            startable,
            running: &running,
            observer: &self.fleet.observer,
        };
        let actions = plan::plan(&view, &self.fleet.me);
        self.seen = seen;
        let stands_by = held_by_others > 0 && running.is_empty() && actions.is_empty();
        if stands_by && !self.standing_by {
            info!(
                shards = held_by_others,
                "standing by: other workers hold the leases of all shards there are to read"
            );
        }
        self.standing_by = stands_by;

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
        let name = self
            .settings
            .keys
            .pipeline_of(&lease)
            .unwrap_or_default()
            .to_owned();
        match taken {
            Ok(held) => {
                info!(lease = %lease.key, shard_id = %lease.shard, position = %lease.checkpoint, from = from.as_str(), previous = lease.owner.as_ref().map(WorkerId::as_str), "took the lease");
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
}
