//! The promises about a fleet: after calm every shard is read, the balance is even, and nothing moves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use weir::lease::{Checkpoint, Lease, LeaseChange, LeaseKey, WorkerId};

use crate::streams::{ShardNo, table_name};
use crate::world::{Pid, State};

/// A read shard is asked for its records again within an idle poll and this: a round of the consumer, a
/// turn for memory, the request.
const READ_SLACK: Duration = Duration::from_secs(3);

/// What the model remembers of the fleet.
#[derive(Default)]
pub struct FleetModel {
    /// Each take of a lease by another than its last holder.
    pub moves: Vec<Take>,
    /// Who held each lease last.
    holders: BTreeMap<LeaseKey, WorkerId>,
    /// The last time somebody joined, or a lease was made, ended or removed: the shape of things changed.
    pub last_event: Duration,
    /// The last time a lease was taken or released.
    pub last_move: Duration,
    /// The last read of each shard, and by whom.
    pub reads: BTreeMap<ShardNo, (Duration, Pid)>,
    /// How long after the last event the fleet was settled.
    pub settled_after: Duration,
    /// The longest time between two reads of a shard, since it was last asked.
    pub unread: BTreeMap<ShardNo, Duration>,
}

/// A lease changed hands.
#[derive(Clone, Debug)]
pub struct Take {
    pub at: Duration,
    pub lease: LeaseKey,
    pub from: Option<WorkerId>,
    pub to: WorkerId,
}

impl FleetModel {
    /// Leases that changed hands more than once since `since`, and how.
    pub fn moved_twice(&self, since: Duration) -> Vec<String> {
        let mut moves: BTreeMap<&LeaseKey, Vec<&Take>> = BTreeMap::new();
        for one in self.moves.iter().filter(|m| m.at >= since) {
            moves.entry(&one.lease).or_default().push(one);
        }
        let twice = moves.into_iter().filter(|(_, moves)| moves.len() > 1);
        let told = |one: &&Take| {
            let from = one.from.as_ref().map_or("nobody", WorkerId::as_str);
            format!("{:?} {from} > {}", one.at, one.to)
        };
        twice
            .map(|(key, moves)| format!("{key}: {}", moves.iter().map(told).collect::<Vec<_>>().join(", ")))
            .collect()
    }
}

impl State {
    /// A read of a shard reached the service.
    pub fn is_read(&mut self, at: ShardNo, pid: Pid) {
        let now = self.now;
        if let Some((before, _)) = self.model.fleet.reads.insert(at, (now, pid)) {
            let longest = self.model.fleet.unread.entry(at).or_default();
            *longest = (*longest).max(now - before);
        }
    }

    /// A read is about to leave: **one_reader**.
    pub fn read_begins(&mut self, pid: Pid, at: ShardNo) {
        // A paused process doesn't know yet that it has no right any more.
        if self.procs[pid].paused_until > self.now {
            return;
        }
        if let Err(why) = self.may_put(pid, at) {
            self.model
                .broken(self.now, format!("one_reader: p{pid} reads {at:?}, {why}"));
        }
    }

    pub fn observe_change(&mut self, before: &Lease, change: &LeaseChange) {
        let now = self.now;
        let fleet = &mut self.model.fleet;
        match change {
            LeaseChange::Take(to) => {
                fleet.last_move = now;
                let from = fleet.holders.insert(before.key.clone(), to.clone());
                if from.as_ref() != Some(to) {
                    fleet.moves.push(Take {
                        at: now,
                        lease: before.key.clone(),
                        from,
                        to: to.clone(),
                    });
                }
            }
            LeaseChange::Release | LeaseChange::HandBack | LeaseChange::Set(_) => fleet.last_move = now,
            LeaseChange::End(_) => fleet.last_event = now,
            LeaseChange::Checkpoint(_) => {}
        }
    }

    /// The workers that live, by the id they use now.
    pub fn live_workers(&self) -> BTreeMap<&WorkerId, Pid> {
        (0..self.procs.len())
            .filter(|&pid| self.procs[pid].alive)
            .filter_map(|pid| Some((self.model.owners.id(pid)?, pid)))
            .collect()
    }

    /// Shards that somebody should be reading: with a lease that is not ended, and ended parents.
    pub fn startable(&self) -> Vec<(ShardNo, &Lease)> {
        let mut found = Vec::new();
        let mut behind: BTreeSet<usize> = BTreeSet::new();
        for (n, stream) in self.streams.streams.iter().enumerate() {
            let waits = behind.contains(&stream.table);
            for (i, shard) in stream.shards.iter().enumerate() {
                let Some(lease) = self.lease_of((n, i)) else {
                    continue;
                };
                if lease.checkpoint == Checkpoint::ShardEnd {
                    continue;
                }
                behind.insert(stream.table);
                let open = |p: &usize| {
                    self.lease_of((n, *p))
                        .is_some_and(|l| l.checkpoint != Checkpoint::ShardEnd)
                };
                if !waits && !shard.gone && !shard.parents.iter().any(open) {
                    found.push(((n, i), lease));
                }
            }
        }
        found
    }

    /// Why the fleet is not as a calm world would have it: each shard read, and the leases even.
    pub fn unsettled(&self) -> Option<String> {
        let live = self.live_workers();
        let runners = |table: usize| {
            live.iter()
                .filter(move |(_, pid)| self.procs[**pid].tables.contains(&table))
        };
        let paused = |table: usize| {
            self.table
                .pipelines
                .get(&table_name(table))
                .is_some_and(|row| row.paused)
        };
        let patience = self.settings.poll_idle_most() + READ_SLACK;
        let mut held: BTreeMap<(usize, &WorkerId), usize> = BTreeMap::new();
        for (at, lease) in self.startable() {
            let table = self.streams.streams[at.0].table;
            if runners(table).next().is_none() || paused(table) {
                continue;
            }
            let Some(owner) = &lease.owner else {
                return Some(format!("nobody holds {}", lease.key));
            };
            let Some(&pid) = live
                .get(owner)
                .filter(|pid| self.procs[**pid].tables.contains(&table))
            else {
                return Some(format!("{} is held by {owner}, who is gone", lease.key));
            };
            *held.entry((table, owner)).or_default() += 1;
            match self.model.fleet.reads.get(&at) {
                Some((when, by)) if *by == pid && self.now - *when <= patience => {}
                last => return Some(format!("{} is p{pid}'s and not read: {last:?}", lease.key)),
            }
        }
        let tables: BTreeSet<usize> = self.streams.streams.iter().map(|s| s.table).collect();
        for &table in &tables {
            let counts: Vec<usize> = runners(table)
                .map(|(id, _)| held.get(&(table, *id)).copied().unwrap_or(0))
                .collect();
            if spread(&counts) > 1 {
                return Some(format!("{} is uneven: {counts:?}", table_name(table)));
            }
        }
        let mut alike: BTreeMap<&BTreeSet<usize>, Vec<usize>> = BTreeMap::new();
        for (id, pid) in &live {
            let total = tables.iter().filter_map(|t| held.get(&(*t, *id))).sum();
            alike.entry(&self.procs[*pid].tables).or_default().push(total);
        }
        let uneven = alike.values().find(|counts| spread(counts) > 1);
        uneven.map(|counts| format!("the whole is uneven: {counts:?}"))
    }
}

fn spread(counts: &[usize]) -> usize {
    let most = counts.iter().max().copied().unwrap_or(0);
    most - counts.iter().min().copied().unwrap_or(0)
}
