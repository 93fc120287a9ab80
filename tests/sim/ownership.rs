//! The promises about leases: who may write one, who may read a shard, and when a lease may end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use weir::config::Start;
use weir::lease::keys::Keys;
use weir::lease::{Checkpoint, Lease, LeaseChange, LeaseKey, ResolvedStart, StreamRow, WorkerId};
use weir::stream::{Place, SequenceNumber};

use crate::model::{Life, at_place};
use crate::streams::ShardNo;
use crate::world::{Pid, State};

/// The lease duration of every simulated worker, and the fence it implies (0.8 of it).
pub const LEASE: Duration = Duration::from_secs(10);
const FENCE: Duration = Duration::from_secs(8);
/// A clock that runs slow by 1 in 1,000 fences 8 ms late; timers round up to 1 ms.
const SLACK: Duration = Duration::from_millis(12);

#[derive(Default)]
pub struct Ownership {
    /// The worker ids each process used, in turn.
    ids: Vec<Vec<WorkerId>>,
    /// Grows at each join, and when a process takes anew what is its own (after a task that hung).
    lives: Vec<usize>,
    own_takes: Vec<u64>,
    /// The counter that the last take of each lease left.
    taken_as: BTreeMap<LeaseKey, u64>,
    /// Until when each id may act: the start of its last heartbeat that was applied, and the fence.
    /// The worker itself may know of less.
    fences: BTreeMap<WorkerId, Duration>,
    /// Ids that their process gave up. A heartbeat that still lands gives none of them time.
    buried: BTreeSet<WorkerId>,
    /// The checkpoint each lease had when it was last taken.
    taken_at: BTreeMap<LeaseKey, Checkpoint>,
}

impl Ownership {
    pub fn booted(&mut self) {
        self.ids.push(Vec::new());
        self.lives.push(0);
        self.own_takes.push(0);
    }

    pub fn life(&self, pid: Pid) -> Life {
        (pid, self.lives[pid])
    }

    fn is(&self, pid: Pid, id: &WorkerId) -> bool {
        self.ids[pid].contains(id)
    }

    /// The id that a process uses now.
    pub fn id(&self, pid: Pid) -> Option<&WorkerId> {
        self.ids[pid].last()
    }
}

fn rank(c: &Checkpoint) -> (u8, Option<(&SequenceNumber, u64)>) {
    match c {
        Checkpoint::TrimHorizon
        | Checkpoint::Latest
        | Checkpoint::AtTimestamp(_)
        | Checkpoint::AtUnknownTimestamp => (0, None),
        Checkpoint::At(seq, sub) => (1, Some((seq, *sub))),
        Checkpoint::ShardEnd => (2, None),
    }
}

impl State {
    /// A process writes its row: ids are never used again.
    pub fn joins(&mut self, pid: Pid, id: &WorkerId) {
        self.model.forget_in_flight(pid);
        let known = self.model.owners.ids.iter().position(|ids| ids.contains(id));
        match known {
            None => {
                self.model.fleet.last_event = self.now;
                self.model.owners.ids[pid].push(id.clone());
                self.model.owners.lives[pid] += 1;
            }
            // A repeat of a creation that got no answer.
            Some(by) if by == pid && self.model.owners.ids[pid].last() == Some(id) => {}
            Some(by) => self
                .model
                .broken(self.now, format!("p{pid} joins as {id}, which p{by} was")),
        }
    }

    /// A heartbeat whose request started at `sent` was applied.
    pub fn beaten(&mut self, id: &WorkerId, sent: Duration) {
        if self.model.owners.buried.contains(id) {
            return;
        }
        let fence = self.model.owners.fences.entry(id.clone()).or_default();
        *fence = (*fence).max(sent + FENCE + SLACK);
    }

    /// A process gives an id up: it must not act under it any more, whatever time it had left.
    pub fn buries(&mut self, pid: Pid, id: &WorkerId) {
        let now = self.now;
        if self.model.owners.is(pid, id) {
            let fence = self.model.owners.fences.entry(id.clone()).or_default();
            *fence = (*fence).min(now);
            self.model.owners.buried.insert(id.clone());
        } else {
            self.model
                .broken(now, format!("one_reader: p{pid} buries {id}, another's"));
        }
    }

    pub fn evicted(&mut self, id: &WorkerId) {
        if let Some(&fence) = self.model.owners.fences.get(id)
            && self.now < fence
        {
            self.model
                .broken(self.now, format!("one_reader: {id} is evicted within its fence"));
        }
    }

    pub fn shard_of(&self, lease: &Lease) -> Option<ShardNo> {
        let arn = self.keys.stream_of(lease);
        let mut streams = self.streams.streams.iter().enumerate();
        streams.find_map(|(stream, of)| {
            // A row of a one-stream KCL application tells the shard alone.
            let its = arn.as_ref().is_none_or(|arn| *arn == of.arn);
            let shard = self.streams.find_shard(stream, &lease.shard).filter(|_| its)?;
            Some((stream, shard))
        })
    }

    pub fn lease_of(&self, at: ShardNo) -> Option<&Lease> {
        if self.keys == Keys::Weir {
            let arn = &self.streams.streams[at.0].arn;
            let key = self.table.by_shard.get(arn)?.get(&self.streams.shard(at).id)?;
            return self.table.leases.get(key);
        }
        // KCL's rows don't name their stream, or name it in KCL's words.
        let id = &self.streams.shard(at).id;
        let mut leases = self.table.leases.values();
        leases.find(|l| l.shard == *id && self.shard_of(l) == Some(at))
    }

    /// Whether a put of this shard's changes may begin: its process owns the lease, is within its fence,
    /// and the shard's parents are through.
    pub fn may_put(&self, pid: Pid, at: ShardNo) -> Result<(), String> {
        let lease = self.lease_of(at).ok_or("which has no lease")?;
        let owner = lease.owner.as_ref().ok_or("whose lease has no owner")?;
        if !self.model.owners.is(pid, owner) {
            return Err(format!("which {owner} owns"));
        }
        let fence = self.model.owners.fences.get(owner).copied().unwrap_or_default();
        if self.now > fence {
            return Err(format!("beyond its fence at {fence:?}"));
        }
        for &parent in &self.streams.shard(at).parents {
            if let Some(lease) = self.lease_of((at.0, parent))
                && lease.checkpoint != Checkpoint::ShardEnd
            {
                return Err(format!("before its parent {} ended", lease.shard));
            }
        }
        Ok(())
    }

    /// Whether the checkpoint that the present owner took over covers `place`.
    pub fn taken_beyond(&self, at: ShardNo, place: &Place) -> bool {
        let Some(lease) = self.lease_of(at) else {
            return false;
        };
        match self.model.owners.taken_at.get(&lease.key) {
            Some(Checkpoint::At(taken, sub)) => *place <= at_place(taken, *sub),
            Some(Checkpoint::ShardEnd) => true,
            _ => false,
        }
    }

    pub fn start_resolved(&mut self, row: &StreamRow) {
        let Some(stream) = self.streams.find(&row.arn) else {
            return;
        };
        let ResolvedStart::At(t) = row.start else { return };
        if t > self.wall() {
            self.model.broken(self.now, format!("the start {t} lies ahead"));
        }
        // A later stream of the table is read from its first change, whatever the start says.
        if self.streams.is_first(stream) {
            self.model.starts.insert(stream, t);
        }
    }

    pub fn lease_created(&mut self, lease: &Lease) {
        self.model.fleet.last_event = self.now;
        let Some((stream, shard)) = self.shard_of(lease) else {
            let line = format!("a lease {} of no shard: stream {:?}", lease.key, lease.stream);
            return self.model.broken(self.now, line);
        };
        let right = match &lease.checkpoint {
            Checkpoint::TrimHorizon => true,
            // Of a child too: what came before the start is dropped by its time.
            Checkpoint::AtTimestamp(t) => self.model.starts.get(&stream) == Some(t),
            // A shard that was closed before LATEST was resolved: all of it came before, even in the same second.
            Checkpoint::ShardEnd => {
                let latest = self.streams.is_first(stream) && self.settings.start == Start::Latest;
                let past = latest && self.streams.shard((stream, shard)).closed;
                if past {
                    self.model.past.insert((stream, shard));
                }
                past
            }
            _ => false,
        };
        if !right {
            let line = format!(
                "nothing_is_lost: the lease {} starts at {}",
                lease.key, lease.checkpoint
            );
            self.model.broken(self.now, line);
        }
    }

    /// A conditional write of a lease was applied.
    pub fn lease_changed(&mut self, pid: Pid, before: &Lease, change: &LeaseChange) {
        self.observe_change(before, change);
        if let Err(why) = self.judge(pid, before, change) {
            let line = format!(
                "stale_owner_cannot_checkpoint: p{pid} {change:?} on {}: {why}",
                before.key
            );
            self.model.broken(self.now, line);
        }
        let at = self.shard_of(before);
        match (change, at) {
            (LeaseChange::Take(me), _) => {
                if let Some(at) = at {
                    self.begins_anew(at, &before.checkpoint);
                }
                if before.owner.as_ref() == Some(me) {
                    self.takes_its_own(pid, before);
                }
                let owners = &mut self.model.owners;
                owners.taken_as.insert(before.key.clone(), before.counter + 1);
                owners
                    .taken_at
                    .insert(before.key.clone(), before.checkpoint.clone());
            }
            (LeaseChange::Checkpoint(Checkpoint::At(seq, sub)), Some(at)) => {
                self.covers_only_accepted(pid, at, Some(&at_place(seq, *sub)));
            }
            (LeaseChange::End(_) | LeaseChange::Checkpoint(Checkpoint::ShardEnd), Some(at)) => {
                self.covers_only_accepted(pid, at, None);
            }
            (LeaseChange::Release, Some(at)) => self.planned_changes_repeat_nothing(pid, before, at),
            _ => {}
        }
    }

    /// A process takes anew what is its own: only after a task that hung, for that may repeat records, or
    /// after a take without an answer, which nothing was read under.
    fn takes_its_own(&mut self, pid: Pid, before: &Lease) {
        self.model.owners.lives[pid] += 1;
        if self.model.owners.taken_as.get(&before.key) == Some(&before.counter) {
            return;
        }
        self.model.owners.own_takes[pid] += 1;
        let hung = self.metrics.get(&pid).map_or(0, |m| {
            self.over_pipelines(|p| m.hung_shards.with_label_values(&[p]).get())
        });
        if hung < self.model.owners.own_takes[pid] {
            let line = format!(
                "repeats_have_a_cause: p{pid} takes its own {} though no task hung",
                before.key
            );
            self.model.broken(self.now, line);
        }
    }

    fn judge(&self, pid: Pid, before: &Lease, change: &LeaseChange) -> Result<(), String> {
        let owners = &self.model.owners;
        if let LeaseChange::Take(me) = change {
            if !owners.is(pid, me) {
                return Err("in another's name".into());
            }
            let Some(previous) = before.owner.as_ref().filter(|o| *o != me) else {
                return Ok(());
            };
            let row = self.table.workers.get(previous);
            if row.is_some_and(|r| !r.evicted && !r.tombstone) {
                return Err(format!("{previous} is alive"));
            }
            let fence = owners.fences.get(previous).copied().unwrap_or_default();
            // Its own next life may take at once what it no longer reads.
            if self.now < fence && !owners.is(pid, previous) {
                return Err(format!("{previous} is within its fence"));
            }
            return Ok(());
        }
        let owner = before.owner.as_ref().ok_or("no owner")?;
        if !owners.is(pid, owner) {
            return Err(format!("{owner} owns it"));
        }
        match change {
            LeaseChange::Checkpoint(to) if rank(to) < rank(&before.checkpoint) => {
                Err(format!("back from {}", before.checkpoint))
            }
            LeaseChange::End(children) => self.may_end(before, children),
            _ => Ok(()),
        }
    }

    /// SHARD_END comes after the children's leases (KCL rule 6).
    fn may_end(&self, lease: &Lease, children: &[weir::stream::ShardId]) -> Result<(), String> {
        let at = self.shard_of(lease).ok_or("no such shard")?;
        let shard = self.streams.shard(at);
        if !shard.closed && !shard.gone && !self.streams.streams[at.0].gone {
            return Err("the shard is open".into());
        }
        for child in children {
            let i = self.streams.find_shard(at.0, child).ok_or("no such child")?;
            if !self.streams.shard((at.0, i)).parents.contains(&at.1) {
                return Err(format!("{child} is not its child"));
            }
            if self.lease_of((at.0, i)).is_none() {
                return Err(format!("the child {child} has no lease"));
            }
        }
        Ok(())
    }

    /// What was accepted and known to be is in the checkpoint when a lease is given back.
    fn planned_changes_repeat_nothing(&mut self, pid: Pid, before: &Lease, at: ShardNo) {
        let settled = self.settled_prefix(at);
        let life = self.model.owners.life(pid);
        let covered = |place: &Place| match &before.checkpoint {
            Checkpoint::At(to, sub) => *place <= at_place(to, *sub),
            Checkpoint::ShardEnd => true,
            _ => false,
        };
        let changes = &self.streams.shard(at).changes[..settled];
        let left = changes
            .iter()
            .rev()
            .find(|&&g| self.model.acknowledged_by(g) == Some(life));
        let Some(last) = left.map(|&g| self.streams.changes[g].place()) else {
            return;
        };
        if !covered(&last) {
            let line = format!(
                "planned_changes_repeat_nothing: p{pid} releases {} at {} with {last:?} accepted",
                before.key, before.checkpoint
            );
            self.model.broken(self.now, line);
        }
    }

    pub fn lease_deleted(&mut self, before: &Lease) {
        self.model.fleet.last_event = self.now;
        let Some(at) = self.shard_of(before) else { return };
        let shard = self.streams.shard(at);
        if shard.gone || self.streams.streams[at.0].gone {
            return;
        }
        let childless = self
            .streams
            .children(at)
            .iter()
            .any(|&c| self.lease_of((at.0, c)).is_none());
        if before.checkpoint != Checkpoint::ShardEnd || childless {
            let line = format!(
                "nothing_is_lost: the lease {} is deleted at {}",
                before.key, before.checkpoint
            );
            self.model.broken(self.now, line);
        }
    }

    /// Why the shard's lease is not yet where a quiet world would have it.
    pub fn lagging(&self, at: ShardNo) -> Option<String> {
        let shard = self.streams.shard(at);
        if shard.gone || self.streams.streams[at.0].gone {
            return None;
        }
        let Some(lease) = self.lease_of(at) else {
            // A finished shard's lease may be gone; an open one needs it.
            return (!shard.closed).then(|| format!("the open shard {} has no lease", shard.id));
        };
        let last = shard.changes.last().map(|&g| self.streams.changes[g].place());
        let there = match &lease.checkpoint {
            Checkpoint::ShardEnd => true,
            _ if shard.closed => false,
            Checkpoint::At(seq, sub) => last.is_none_or(|last| last <= at_place(seq, *sub)),
            _ => shard.changes.last().is_none_or(|&last| self.before_start(last)),
        };
        (!there).then(|| format!("the lease {} stays at {}", lease.key, lease.checkpoint))
    }
}
