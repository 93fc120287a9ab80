//! From a lease that this worker should have to a running consumer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tracing::{debug, info};

use super::sync::Synced;
use super::{Died, Life, Running, Successor};
use crate::clock::{Clock, Monotonic, Progress, timeout};
use crate::consumer;
use crate::lease::held::{HeldLease, LeaseError, Leases};
use crate::lease::keys::Keys;
use crate::lease::plan::From;
use crate::lease::{Checkpoint, Lease, LeaseKey, Note, SharedTable, StreamRow, WorkerId};
use crate::shutdown;
use crate::stream::StreamArn;
use crate::stream::homes::Homes;

/// Takes under way at once.
const TAKES_AT_ONCE: usize = 32;
/// A take without an answer is settled by another look so much later.
const SETTLE: Duration = Duration::from_secs(1);

/// A lease that this worker should take.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    key: LeaseKey,
    pipeline: String,
    claim: Claim,
    /// Whose it was, if a scan or an earlier look has told.
    from: Option<From>,
    not_before: Option<Monotonic>,
}

/// What the lease must look like to be taken. One that is this worker's by the table always may be.
#[derive(Clone, Debug)]
enum Claim {
    /// As a scan showed it.
    Seen(Box<Lease>),
    /// As somebody who knows it tells.
    Noted { owner: Option<WorkerId>, counter: u64 },
    /// This worker's own, without a task.
    Mine,
}

impl Wanted {
    pub(super) fn seen(lease: Lease, from: From, pipeline: String) -> Self {
        Self {
            key: lease.key.clone(),
            pipeline,
            claim: Claim::Seen(Box::new(lease)),
            from: Some(from),
            not_before: None,
        }
    }

    pub(super) fn noted(note: Note, pipeline: String) -> Self {
        Self {
            key: note.lease,
            pipeline,
            claim: Claim::Noted {
                owner: note.owner,
                counter: note.counter,
            },
            from: None,
            not_before: None,
        }
    }

    pub(super) fn mine(key: LeaseKey, pipeline: String) -> Self {
        Self {
            key,
            pipeline,
            claim: Claim::Mine,
            from: Some(From::Own),
            not_before: None,
        }
    }

    fn admits(&self, lease: &Lease, me: &WorkerId) -> bool {
        let as_told = match &self.claim {
            Claim::Seen(seen) => lease.owner == seen.owner && lease.counter == seen.counter,
            Claim::Noted { owner, counter } => lease.owner == *owner && lease.counter == *counter,
            Claim::Mine => false,
        };
        let is_mine = lease.owner.as_ref() == Some(me);
        (as_told || is_mine) && lease.checkpoint != Checkpoint::ShardEnd
    }
}

/// The takes that are waiting or under way.
#[derive(Default)]
pub(super) struct Takes {
    queue: VecDeque<Wanted>,
    /// With the pipeline of each.
    keys: BTreeMap<LeaseKey, String>,
    /// Leases not wanted any more, of which a take was not answered.
    uncertain: BTreeSet<LeaseKey>,
    pub(super) tasks: JoinSet<Taken>,
}

impl Takes {
    pub(super) fn has(&self, key: &LeaseKey) -> bool {
        self.keys.contains_key(key)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(super) fn pipelines(&self) -> impl Iterator<Item = &String> {
        self.keys.values()
    }

    pub(super) fn of_pipeline<'a>(&'a self, pipeline: &'a str) -> impl Iterator<Item = &'a LeaseKey> {
        let of = self.keys.iter().filter(move |(_, of)| *of == pipeline);
        of.map(|(key, _)| key)
    }

    /// Drops what has not begun of a pipeline.
    pub(super) fn forget(&mut self, pipeline: &str) {
        let (dropped, kept) = self
            .queue
            .drain(..)
            .partition(|wanted| wanted.pipeline == pipeline);
        self.queue = kept;
        self.drop_all(dropped);
    }

    /// Drops all that has not begun. Returns what somebody else should take instead.
    pub(super) fn forget_all(&mut self) -> Vec<Unclaimed> {
        let dropped = std::mem::take(&mut self.queue);
        self.drop_all(dropped)
    }

    fn drop_all(&mut self, dropped: VecDeque<Wanted>) -> Vec<Unclaimed> {
        let mut unclaimed = Vec::new();
        for wanted in dropped {
            self.keys.remove(&wanted.key);
            let (owner, counter) = match wanted.claim {
                // Perhaps this worker's by the table: to be looked at, and given up.
                _ if wanted.not_before.is_some() => {
                    self.uncertain.insert(wanted.key);
                    continue;
                }
                Claim::Mine => {
                    self.uncertain.insert(wanted.key);
                    continue;
                }
                Claim::Seen(lease) => (lease.owner, lease.counter),
                Claim::Noted { owner, counter } => (owner, counter),
            };
            unclaimed.push(Unclaimed {
                lease: wanted.key,
                pipeline: wanted.pipeline,
                owner,
                counter,
            });
        }
        unclaimed
    }

    /// Whether a lease may be this worker's by the table that it does not want.
    pub(super) fn leaves_uncertain(&self) -> bool {
        !self.uncertain.is_empty()
    }
}

/// A lease that this worker was to take and doesn't.
pub(super) struct Unclaimed {
    pub(super) lease: LeaseKey,
    pub(super) pipeline: String,
    pub(super) owner: Option<WorkerId>,
    pub(super) counter: u64,
}

/// What became of a take.
pub(super) struct Taken {
    wanted: Wanted,
    outcome: Outcome,
}

enum Outcome {
    /// The lease as it was before, and the streams' rows if its own was not known yet.
    Held {
        held: Box<HeldLease>,
        before: Box<Lease>,
        streams: Vec<StreamRow>,
    },
    /// It is not as it was told any more: another worker was faster, or nothing is left to read.
    Gone,
    /// Perhaps taken: look again.
    NoAnswer,
    Fenced,
}

impl Life {
    pub(super) fn want(&mut self, wanted: Wanted) {
        let is_paused = self.pipelines.get(&wanted.pipeline).is_none_or(|p| p.paused);
        if is_paused || self.running.contains_key(&wanted.key) || self.takes.has(&wanted.key) {
            return;
        }
        self.takes
            .keys
            .insert(wanted.key.clone(), wanted.pipeline.clone());
        self.takes.queue.push_back(wanted);
    }

    pub(super) fn start_takes(&mut self) {
        let now = self.clock.now();
        for _ in 0..self.takes.queue.len() {
            if self.takes.tasks.len() >= TAKES_AT_ONCE {
                return;
            }
            let Some(wanted) = self.takes.queue.pop_front() else {
                return;
            };
            if wanted.not_before.is_some_and(|at| now < at) {
                self.takes.queue.push_back(wanted);
                continue;
            }
            let pipeline = self.pipelines.get(&wanted.pipeline);
            let synced = pipeline.and_then(|p| p.last.as_ref());
            let known = synced.map(|synced| synced.known_streams());
            let taking = Taking {
                leases: self.leases.fork(Progress::default()),
                table: self.fleet.table(),
                clock: self.clock.clone(),
                limit: self.times.request,
                me: self.fleet.me.clone(),
                known: known.unwrap_or_default(),
                keys: self.settings.keys.clone(),
                homes: synced.map(|synced| synced.homes.clone()).unwrap_or_default(),
            };
            self.takes.tasks.spawn(taking.run(wanted));
        }
    }

    /// Gives up what a take without an answer may have left to this worker, unwanted: nobody else takes a live
    /// worker's lease.
    pub(super) async fn disown_uncertain(&mut self) {
        // One by one: whoever waits for this may give it up.
        for key in self.takes.uncertain.clone() {
            let wanted_again = self.running.contains_key(&key) || self.takes.has(&key);
            let settled = wanted_again
                || match self.leases.read(&key).await {
                    Ok(Some(lease)) if lease.owner.as_ref() == Some(&self.fleet.me) => {
                        info!(lease = %key, "releasing a lease without a task");
                        self.leases.disown(lease).await
                    }
                    Ok(_) => true,
                    Err(_) => false,
                };
            if settled {
                self.takes.uncertain.remove(&key);
            }
        }
    }

    /// Starts the consumer of a lease just taken.
    pub(super) fn taken(&mut self, taken: Result<Taken, JoinError>) -> Result<(), Died> {
        let Taken { mut wanted, outcome } = match taken {
            Ok(taken) => taken,
            Err(error) => {
                return Err(Died::Task {
                    task: "take".to_owned(),
                    reason: error.to_string(),
                });
            }
        };
        if matches!(outcome, Outcome::NoAnswer) {
            wanted.not_before = Some(self.clock.now() + SETTLE);
            if self.settings.keys.are_kcls()
                && let Some(pipeline) = self.pipelines.get(&wanted.pipeline)
            {
                // Perhaps for want of its stream.
                self.order_sync(pipeline);
            }
            self.takes.queue.push_back(wanted);
            return Ok(());
        }
        self.takes.keys.remove(&wanted.key);
        match outcome {
            Outcome::Held {
                held,
                before,
                streams,
            } => {
                if let Some(synced) = self.pipelines.get_mut(&wanted.pipeline).map(|p| &mut p.last)
                    && !streams.is_empty()
                {
                    *synced = Synced::known(
                        &self.settings.keys,
                        &wanted.pipeline,
                        &streams,
                        false,
                        synced.take(),
                    );
                }
                self.read_shard(*held, &before, wanted);
                if self.takes.is_empty() {
                    // The others see sooner what is held by whom.
                    self.say_news();
                }
            }
            Outcome::Gone => {
                debug!(lease = %wanted.key, "the lease is not free any more");
                // A note was another's word; what this worker saw itself, or had, it looks at again.
                if !matches!(wanted.claim, Claim::Noted { .. }) {
                    self.look_for_leftovers();
                }
            }
            Outcome::NoAnswer | Outcome::Fenced => {}
        }
        Ok(())
    }

    fn read_shard(&mut self, held: HeldLease, before: &Lease, wanted: Wanted) {
        let name = wanted.pipeline;
        let Some(pipeline) = self.pipelines.get(&name) else {
            return;
        };
        let from = wanted.from.unwrap_or(From::Free);
        info!(lease = %before.key, shard_id = %before.shard, position = %before.checkpoint, from = from.as_str(), previous = before.owner.as_ref().map(WorkerId::as_str), "took the lease");
        self.metrics
            .leases_taken
            .with_label_values(&[&name, from.as_str()])
            .inc();
        let start = pipeline.last.as_ref().and_then(|synced| synced.start_of(before));
        let progress = Progress::default();
        progress.mark(self.clock.now());
        let (stop, stopped) = shutdown::channel();
        let consumer = consumer::run(
            pipeline.consumer.clone(),
            self.leases.fork(progress.clone()),
            held,
            start,
            progress.clone(),
            stopped,
            self.rng.fork(),
            from,
        );
        let paused = pipeline.paused;
        let key = before.key.clone();
        let abort = self
            .consumers
            .spawn(async move { (key, Box::pin(consumer).await) });
        let task = abort.id();
        let running = Running {
            task,
            abort,
            progress,
            pipeline: name,
            stop,
            aborted: None,
            leaving: None,
        };
        self.running.insert(before.key.clone(), running);
        if paused {
            self.give_up(&before.key, Successor::Nobody);
        }
    }
}

/// One take, on its own.
struct Taking {
    leases: Leases,
    table: SharedTable,
    clock: Arc<dyn Clock>,
    limit: Duration,
    me: WorkerId,
    known: BTreeSet<StreamArn>,
    keys: Keys,
    homes: Arc<Homes>,
}

impl Taking {
    async fn run(mut self, mut wanted: Wanted) -> Taken {
        let outcome = self.take(&mut wanted).await.unwrap_or_else(|error| match error {
            LeaseError::Lost => Outcome::Gone,
            LeaseError::Unanswered => Outcome::NoAnswer,
            LeaseError::Fenced(_) => Outcome::Fenced,
        });
        Taken { wanted, outcome }
    }

    async fn take(&mut self, wanted: &mut Wanted) -> Result<Outcome, LeaseError> {
        let first = wanted.not_before.is_none();
        let mut before = match &wanted.claim {
            Claim::Seen(lease) if first => (**lease).clone(),
            _ => match self.leases.read(&wanted.key).await? {
                Some(lease) if wanted.admits(&lease, &self.me) => lease,
                _ => return Ok(Outcome::Gone),
            },
        };
        self.homes.name(&self.keys, &mut before);
        if before.stream.is_none() {
            // A sync will tell.
            return Err(LeaseError::Unanswered);
        }
        wanted.from.get_or_insert(match &before.owner {
            None => From::Free,
            Some(owner) if *owner == self.me => From::Own,
            Some(_) => From::Dead,
        });
        let is_known = before
            .stream
            .as_ref()
            .is_none_or(|stream| self.known.contains(stream));
        let streams = match is_known {
            true => Vec::new(),
            // A new stream that another worker has found. Without an answer the lease is left for later.
            false => match timeout(&*self.clock, self.limit, self.table.streams()).await {
                Ok(Ok(streams)) => streams,
                _ => return Err(LeaseError::Unanswered),
            },
        };
        let held = self.leases.take(before.clone()).await?;
        Ok(Outcome::Held {
            held: Box::new(held),
            before: Box::new(before),
            streams,
        })
    }
}
