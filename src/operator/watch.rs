//! Who is alive, as seen from outside the fleet.
//!
//! Pure. The same judgement as a worker's (protocol rules 3, 4 and 14), for a command that takes part in
//! nothing: a worker whose heartbeat stands still for the take-over time is dead, an owner without a worker
//! row whose counters stand still for `leases.foreign_watch`. Whatever moves is alive, and that is known as
//! soon as it is seen.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::clock::Monotonic;
use crate::lease::{Lease, LeaseKey, WorkerId, WorkerRow};

/// What one look at the tables showed. The leases were asked for before the worker rows: an owner without a
/// row in them has none.
#[derive(Clone, Debug)]
pub struct Look {
    /// Before the first request.
    pub started: Monotonic,
    /// After the last answer.
    pub received: Monotonic,
    pub leases: Vec<Lease>,
    pub workers: Vec<WorkerRow>,
}

/// What is known of one owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its leases must not be touched. The sign, in words.
    Alive(String),
    Gone(Gone),
    /// To be decided by a look that starts at this time.
    Open(Monotonic),
}

/// Why nobody reads for this owner any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// Its row says so: evicted, or given up after a fence.
    Told,
    /// Its heartbeat stood still at this number: evict it before its leases are touched (rule 4).
    Silent(u64),
    /// It has no row, and its counters stood still or it owns nothing.
    Foreign,
}

/// Counters of the leases of one owner.
type Counters = BTreeMap<LeaseKey, u64>;

/// What the looks so far showed.
#[derive(Debug)]
pub struct Watch {
    takeover: Duration,
    foreign_watch: Duration,
    beats: BTreeMap<WorkerId, (u64, Monotonic)>,
    foreign: BTreeMap<WorkerId, (Counters, Monotonic)>,
}

impl Watch {
    pub fn new(takeover: Duration, foreign_watch: Duration) -> Self {
        Self {
            takeover,
            foreign_watch,
            beats: BTreeMap::new(),
            foreign: BTreeMap::new(),
        }
    }

    /// Takes in a look, and says what is known of `owners` now.
    pub fn look(&mut self, look: &Look, owners: &BTreeSet<WorkerId>) -> BTreeMap<WorkerId, Verdict> {
        owners
            .iter()
            .map(|owner| (owner.clone(), self.judge(look, owner)))
            .collect()
    }

    fn judge(&mut self, look: &Look, owner: &WorkerId) -> Verdict {
        match look.workers.iter().find(|row| row.id == *owner) {
            Some(row) if !row.is_live() => Verdict::Gone(Gone::Told),
            Some(row) => self.worker(look, row),
            None => self.foreign(look, owner),
        }
    }

    fn worker(&mut self, look: &Look, row: &WorkerRow) -> Verdict {
        // Stamped at the receipt of the look that first shows it; judged by one that starts later (rule 3).
        let (heartbeat, stamped) = *self
            .beats
            .entry(row.id.clone())
            .or_insert((row.heartbeat, look.received));
        if heartbeat != row.heartbeat {
            return Verdict::Alive(format!(
                "its heartbeat went from {heartbeat} to {}",
                row.heartbeat
            ));
        }
        match stamped + row.takeover(self.takeover) {
            until if look.started >= until => Verdict::Gone(Gone::Silent(heartbeat)),
            until => Verdict::Open(until),
        }
    }

    fn foreign(&mut self, look: &Look, owner: &WorkerId) -> Verdict {
        let owned = look.leases.iter().filter(|l| l.owner.as_ref() == Some(owner));
        let now: Counters = owned.map(|l| (l.key.clone(), l.counter)).collect();
        if now.is_empty() {
            return Verdict::Gone(Gone::Foreign);
        }
        let (seen, stamped) = self
            .foreign
            .entry(owner.clone())
            .or_insert_with(|| (now.clone(), look.received));
        // A lease fewer is no sign of its owner: somebody else may have taken it.
        for (key, counter) in &now {
            match seen.get(key) {
                Some(before) if before == counter => {}
                Some(before) => {
                    return Verdict::Alive(format!("the counter of {key} went from {before} to {counter}"));
                }
                None => return Verdict::Alive(format!("it took {key}")),
            }
        }
        match *stamped + self.foreign_watch {
            until if look.started >= until => Verdict::Gone(Gone::Foreign),
            until => Verdict::Open(until),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::Checkpoint;
    use crate::stream::ShardId;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_secs(seconds))
    }

    /// A look that takes a second, with leases of (shard, owner, counter).
    fn look(started: u64, workers: &[WorkerRow], leases: &[(&str, &str, u64)]) -> Look {
        let leases = leases.iter().map(|(shard, owner, counter)| Lease {
            key: LeaseKey::new(*shard),
            owner: Some(WorkerId::new(*owner)),
            counter: *counter,
            checkpoint: Checkpoint::TrimHorizon,
            stream: None,
            shard: ShardId::new(*shard),
            parents: vec![],
            children: vec![],
            owner_switches: 0,
            hash_range: None,
        });
        Look {
            started: at(started),
            received: at(started + 1),
            leases: leases.collect(),
            workers: workers.to_vec(),
        }
    }

    fn row(heartbeat: u64) -> WorkerRow {
        WorkerRow {
            heartbeat,
            ..WorkerRow::new(WorkerId::new("w"))
        }
    }

    /// The verdicts on `w` of these looks, one after the other.
    fn verdicts(looks: &[Look]) -> Vec<Verdict> {
        let mut watch = Watch::new(Duration::from_secs(8), Duration::from_secs(20));
        let w = WorkerId::new("w");
        let owners = BTreeSet::from([w.clone()]);
        looks
            .iter()
            .map(|l| watch.look(l, &owners).remove(&w).unwrap())
            .collect()
    }

    #[test]
    fn a_worker_is_dead_after_a_look_that_starts_a_take_over_time_later() {
        let still = |at| look(at, &[row(7)], &[]);
        assert_eq!(
            verdicts(&[still(0), still(8), still(9)]),
            [
                Verdict::Open(at(9)),
                Verdict::Open(at(9)),
                Verdict::Gone(Gone::Silent(7))
            ]
        );
        let moved = verdicts(&[still(0), look(5, &[row(8)], &[])]);
        assert_eq!(
            moved[1],
            Verdict::Alive("its heartbeat went from 7 to 8".to_owned())
        );
    }

    #[test]
    fn a_row_that_says_it_is_over_needs_no_watch() {
        for ended in [
            WorkerRow {
                evicted: true,
                ..row(7)
            },
            WorkerRow {
                tombstone: true,
                ..row(7)
            },
        ] {
            assert_eq!(verdicts(&[look(0, &[ended], &[])]), [Verdict::Gone(Gone::Told)]);
        }
    }

    #[test]
    fn an_owner_without_a_row_is_watched_by_the_counters_of_all_its_leases() {
        let still = |at| look(at, &[], &[("a", "w", 1), ("b", "w", 5), ("c", "other", 9)]);
        assert_eq!(
            verdicts(&[still(0), still(20), still(21)]),
            [
                Verdict::Open(at(21)),
                Verdict::Open(at(21)),
                Verdict::Gone(Gone::Foreign)
            ]
        );
        let another_moves = look(30, &[], &[("a", "w", 1), ("b", "w", 5), ("c", "other", 10)]);
        assert_eq!(
            verdicts(&[still(0), another_moves])[1],
            Verdict::Gone(Gone::Foreign)
        );
        for (leases, sign) in [
            (
                &[("a", "w", 1), ("b", "w", 6)][..],
                "the counter of b went from 5 to 6",
            ),
            (&[("a", "w", 1), ("b", "w", 5), ("d", "w", 1)][..], "it took d"),
        ] {
            let moved = verdicts(&[still(0), look(30, &[], leases)]);
            assert_eq!(moved[1], Verdict::Alive(sign.to_owned()));
        }
        // One lease fewer, the rest as it was.
        assert_eq!(
            verdicts(&[still(0), look(21, &[], &[("a", "w", 1)])])[1],
            Verdict::Gone(Gone::Foreign)
        );
        assert_eq!(verdicts(&[look(0, &[], &[])]), [Verdict::Gone(Gone::Foreign)]);
    }

    #[test]
    fn a_row_that_vanishes_leaves_its_leases_to_the_longer_watch() {
        let first = look(0, &[row(7)], &[("a", "w", 1)]);
        let then = look(9, &[], &[("a", "w", 1)]);
        assert_eq!(verdicts(&[first, then])[1], Verdict::Open(at(30)));
    }
}
