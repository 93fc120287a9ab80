//! What to do about the leases.
//!
//! Pure. Owns the judgement of who is alive (protocol rules 3, 4, 14) and the plan of one worker. It never
//! compares clocks of two machines: everything is measured on the observer's own. The coordinator feeds
//! it scans and acts on what comes out; conditional writes settle every race.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::share::Shares;
use super::{Checkpoint, Lease, LeaseKey, Note, WorkerId, WorkerRow};
use crate::clock::Monotonic;

/// When a scan was asked for and when its answer was there.
#[derive(Clone, Copy, Debug)]
pub struct Scanned {
    pub started: Monotonic,
    pub received: Monotonic,
}

/// What an observer thinks of a lease's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has a row. Nobody may touch its leases.
    Live,
    /// It has none: perhaps it joined after the scan of the rows, perhaps it is foreign and watched. Nobody
    /// may touch its leases.
    Unknown,
    /// Evicted, fenced or, for a foreign one, silent for long enough: its leases are free.
    Gone,
}

/// What one worker has seen of the others, by its own clock.
#[derive(Clone, Debug)]
pub struct Observer {
    me: WorkerId,
    takeover: Duration,
    foreign_watch: Duration,
    /// The heartbeat of each worker, and the receipt of the scan that first showed it.
    beats: BTreeMap<WorkerId, (u64, Monotonic)>,
    /// For owners without a worker row: the counters of all their leases, and when they were first seen so.
    foreign: BTreeMap<WorkerId, (BTreeMap<LeaseKey, u64>, Monotonic)>,
    /// When each worker's row was first there.
    first_seen: BTreeMap<WorkerId, Monotonic>,
    rows: Arc<BTreeMap<WorkerId, WorkerRow>>,
    /// When the scan that showed them was asked for, and when its answer was there.
    rows_scanned: Option<Scanned>,
    /// Foreign owners found dead, with the counters that prove it.
    dead_foreign: BTreeMap<WorkerId, BTreeMap<LeaseKey, u64>>,
    /// For owners without a worker row: what shows that they live.
    strangers: BTreeMap<WorkerId, Stranger>,
}

/// An owner of leases that may be no worker of Weir's.
#[derive(Clone, Debug)]
struct Stranger {
    /// The receipt of the scan that first showed it.
    seen: Monotonic,
    /// It is none: worker rows asked for after it was seen lack it. The counters of its leases from a scan
    /// that started after those were there: a worker that has left writes nothing after its row is gone.
    counters: Option<BTreeMap<LeaseKey, u64>>,
    alive: bool,
}

/// A worker whose heartbeat stood still for the whole take-over time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspect {
    pub id: WorkerId,
    pub heartbeat: u64,
}

impl Observer {
    pub fn new(me: WorkerId, takeover: Duration, foreign_watch: Duration) -> Self {
        Self {
            me,
            takeover,
            foreign_watch,
            beats: BTreeMap::new(),
            foreign: BTreeMap::new(),
            rows: Arc::default(),
            first_seen: BTreeMap::new(),
            rows_scanned: None,
            dead_foreign: BTreeMap::new(),
            strangers: BTreeMap::new(),
        }
    }

    /// Takes in a strongly consistent scan of the worker rows; returns who is to be evicted.
    ///
    /// A heartbeat is stamped at the receipt of the scan that first shows it, and its worker is suspect
    /// only if a scan *started* a take-over time later still shows it (rule 3).
    pub fn workers(&mut self, when: Scanned, rows: Vec<WorkerRow>) -> Vec<Suspect> {
        let rows: BTreeMap<WorkerId, WorkerRow> = rows.into_iter().map(|r| (r.id.clone(), r)).collect();
        self.first_seen.retain(|id, _| rows.contains_key(id));
        for id in rows.keys() {
            self.first_seen.entry(id.clone()).or_insert(when.received);
        }
        self.rows = Arc::new(rows);
        self.rows_scanned = Some(when);
        let rows = &self.rows;
        self.beats.retain(|id, _| rows.contains_key(id));
        let mut suspects = Vec::new();
        for row in self.rows.values().filter(|r| r.is_live()) {
            match self.beats.get(&row.id) {
                Some((heartbeat, stamped)) if *heartbeat == row.heartbeat => {
                    let is_silent = when.started >= *stamped + row.takeover(self.takeover);
                    if is_silent && row.id != self.me {
                        suspects.push(Suspect {
                            id: row.id.clone(),
                            heartbeat: row.heartbeat,
                        });
                    }
                }
                _ => {
                    self.beats.insert(row.id.clone(), (row.heartbeat, when.received));
                }
            }
        }
        suspects
    }

    /// The worker rows of the last scan.
    pub fn rows(&self) -> &BTreeMap<WorkerId, WorkerRow> {
        &self.rows
    }

    /// The same, to keep.
    pub fn shared_rows(&self) -> Arc<BTreeMap<WorkerId, WorkerRow>> {
        self.rows.clone()
    }

    /// When the last heartbeat of each worker was first seen, this one's too.
    pub fn beats(&self) -> impl Iterator<Item = (&WorkerId, Monotonic)> {
        self.beats.iter().map(|(id, (_, at))| (id, *at))
    }

    /// The others that live, as far as the last scan of the worker rows tells.
    pub fn others(&self) -> impl Iterator<Item = &WorkerRow> {
        self.rows.values().filter(|r| r.id != self.me && r.is_live())
    }

    /// The others that are handing their leases over.
    pub fn drainers(&self) -> impl Iterator<Item = &WorkerRow> {
        self.others().filter(|r| r.draining)
    }

    /// When this worker's row was first there.
    pub fn first_seen(&self, id: &WorkerId) -> Option<Monotonic> {
        self.first_seen.get(id).copied()
    }

    /// Whether the last scan showed a heartbeat of this worker that is at most `age` old. Leases are handed
    /// to such workers only.
    pub fn is_fresh(&self, id: &WorkerId, age: Duration) -> bool {
        match (self.beats.get(id), self.rows_scanned) {
            (Some((_, stamped)), Some(scanned)) => scanned.received.since(*stamped) <= age,
            _ => false,
        }
    }

    /// When the next scan of the worker rows could find a suspect, if any worker is being watched.
    pub fn next_suspicion(&self) -> Option<Monotonic> {
        self.beats
            .iter()
            .filter(|(id, _)| **id != self.me)
            .filter_map(|(id, (_, at))| Some((self.rows.get(id).filter(|r| r.is_live())?, *at)))
            .map(|(row, at)| at + row.takeover(self.takeover))
            .min()
    }

    /// A row that this worker has just evicted, or found evicted.
    pub fn evicted(&mut self, id: &WorkerId) {
        if let Some(row) = Arc::make_mut(&mut self.rows).get_mut(id) {
            row.evicted = true;
        }
    }

    /// Takes in a scan of the leases, for the owners that have no worker row (rule 14).
    ///
    /// That an owner has none is known only from a scan of the worker rows asked for after the owner was
    /// seen: before the first one everybody would be foreign, and an idle worker's leases stand still.
    pub fn leases(&mut self, when: Scanned, leases: &[Lease]) {
        self.watch_strangers(when, leases);
        let mut now: BTreeMap<WorkerId, BTreeMap<LeaseKey, u64>> = BTreeMap::new();
        for lease in leases.iter().filter(|l| l.checkpoint != Checkpoint::ShardEnd) {
            if let Some(owner) = lease
                .owner
                .as_ref()
                .filter(|o| **o != self.me && !self.rows.contains_key(o))
            {
                now.entry(owner.clone())
                    .or_default()
                    .insert(lease.key.clone(), lease.counter);
            }
        }
        self.foreign.retain(|id, _| now.contains_key(id));
        self.dead_foreign.retain(|id, _| now.contains_key(id));
        for (id, counters) in now {
            match self.foreign.get(&id) {
                Some((seen, stamped)) if *seen == counters => {
                    let without_row = self.rows_scanned.is_some_and(|scan| scan.started >= *stamped);
                    if without_row && when.started >= *stamped + self.foreign_watch {
                        self.dead_foreign.insert(id, counters);
                    }
                }
                _ => {
                    self.dead_foreign.remove(&id);
                    self.foreign.insert(id, (counters, when.received));
                }
            }
        }
    }

    /// Takes in a scan of the leases, for signs of life of owners that are not Weir's. A KCL worker renews
    /// what it owns, ended leases too, about each third of its failover time.
    fn watch_strangers(&mut self, when: Scanned, leases: &[Lease]) {
        let mut now: BTreeMap<&WorkerId, BTreeMap<LeaseKey, u64>> = BTreeMap::new();
        for lease in leases {
            if let Some(owner) = &lease.owner
                && *owner != self.me
                && !self.rows.contains_key(owner)
            {
                let counters = now.entry(owner).or_default();
                counters.insert(lease.key.clone(), lease.counter);
            }
        }
        self.strangers.retain(|id, _| now.contains_key(id));
        for (id, counters) in now {
            let stranger = self.strangers.entry(id.clone()).or_insert(Stranger {
                seen: when.received,
                counters: None,
                alive: false,
            });
            match &mut stranger.counters {
                Some(before) => {
                    for (key, counter) in counters {
                        stranger.alive |= *before.entry(key).or_insert(counter) != counter;
                    }
                }
                None if self
                    .rows_scanned
                    .is_some_and(|rows| rows.started >= stranger.seen && when.started >= rows.received) =>
                {
                    stranger.counters = Some(counters);
                }
                None => {}
            }
        }
    }

    /// An owner that is no worker of Weir's and renews its leases: a KCL application is at work.
    pub fn foreign_alive(&self) -> Option<&WorkerId> {
        self.strangers.iter().find(|(_, s)| s.alive).map(|(id, _)| id)
    }

    /// Whether an owner without a worker row was first seen less than the watch ago. Later it shows by itself:
    /// names of workers long gone stay on ended leases.
    pub fn sees_strangers(&self, now: Monotonic) -> bool {
        let mut strangers = self.strangers.values();
        strangers.any(|s| now < s.seen + self.foreign_watch)
    }

    /// Owners without a worker row that are neither known to be alive nor to be dead.
    pub fn foreign_watched(&self) -> impl Iterator<Item = &WorkerId> {
        self.foreign
            .keys()
            .filter(|id| !self.dead_foreign.contains_key(id))
    }

    /// When the next scan of the leases could find a foreign owner dead.
    pub fn next_foreign_verdict(&self) -> Option<Monotonic> {
        let open = self
            .foreign
            .iter()
            .filter(|(id, _)| !self.dead_foreign.contains_key(id));
        open.map(|(_, (_, at))| *at + self.foreign_watch).min()
    }

    pub fn standing(&self, owner: &WorkerId) -> Standing {
        match self.rows.get(owner) {
            Some(row) if row.evicted || row.tombstone => Standing::Gone,
            Some(_) => Standing::Live,
            None if self.dead_foreign.contains_key(owner) => Standing::Gone,
            None => Standing::Unknown,
        }
    }

    /// Rows that nobody needs any more: evicted ones and tombstones that no unfinished lease names.
    pub fn removable(&self, leases: &[Lease]) -> Vec<WorkerRow> {
        let unfinished = leases.iter().filter(|l| l.checkpoint != Checkpoint::ShardEnd);
        let named: BTreeSet<&WorkerId> = unfinished.filter_map(|l| l.owner.as_ref()).collect();
        self.rows
            .values()
            .filter(|r| r.id != self.me && (r.evicted || r.tombstone) && !named.contains(&r.id))
            .cloned()
            .collect()
    }
}

/// Why a lease may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    Free,
    Dead,
    /// Mine by the table, but without a task: one that was ended as hung.
    Own,
}

impl From {
    pub const ALL: [Self; 3] = [Self::Free, Self::Dead, Self::Own];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Dead => "dead",
            Self::Own => "own",
        }
    }
}

/// What may be taken, and by whom: [`allot`]'s answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allotted {
    pub mine: Vec<(Lease, From)>,
    /// For the others, who may not have seen these leases.
    pub notes: Vec<Note>,
}

/// The leases among `startable` that may be taken, each with the pipeline's name.
pub fn takeable<'a>(
    startable: impl IntoIterator<Item = (&'a str, &'a Lease)>,
    observer: &Observer,
) -> Vec<(&'a str, &'a Lease, From)> {
    startable
        .into_iter()
        .filter_map(|(pipeline, lease)| {
            let from = match &lease.owner {
                None => From::Free,
                Some(owner) if *owner == observer.me => From::Own,
                Some(owner) => match observer.standing(owner) {
                    Standing::Gone => From::Dead,
                    Standing::Live | Standing::Unknown => return None,
                },
            };
            Some((pipeline, lease, from))
        })
        .collect()
}

/// Allots what may be taken, in the leases' order, so that all who see the same allot the same.
pub fn allot(takeable: Vec<(&str, &Lease, From)>, mut shares: Shares, me: &WorkerId) -> Allotted {
    let mut allotted = Allotted::default();
    for (pipeline, lease, from) in takeable {
        let to = match from {
            From::Own => {
                shares.add(pipeline, me);
                Some(me.clone())
            }
            From::Free | From::Dead => shares.give(pipeline),
        };
        match to {
            Some(to) if to == *me => allotted.mine.push((lease.clone(), from)),
            Some(to) => allotted.notes.push(Note {
                lease: lease.key.clone(),
                owner: lease.owner.clone(),
                counter: lease.counter,
                to,
            }),
            None => {}
        }
    }
    allotted
}

/// How many of a pipeline's startable leases its workers hold or may take: rule 8's total. Those of an
/// owner without a row are another program's.
pub fn total(startable: &[&Lease], observer: &Observer) -> u64 {
    let is_ours = |lease: &&&Lease| match &lease.owner {
        Some(owner) => *owner == observer.me || observer.standing(owner) != Standing::Unknown,
        None => true,
    };
    startable.iter().filter(is_ours).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::ShardId;

    fn t(millis: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_millis(millis))
    }

    fn scan(started: u64, received: u64) -> Scanned {
        Scanned {
            started: t(started),
            received: t(received),
        }
    }

    fn worker(id: &str, heartbeat: u64) -> WorkerRow {
        WorkerRow {
            heartbeat,
            ..WorkerRow::new(WorkerId::new(id))
        }
    }

    fn lease(key: &str, owner: Option<&str>, counter: u64) -> Lease {
        Lease {
            key: LeaseKey::new(key),
            owner: owner.map(WorkerId::new),
            counter,
            checkpoint: Checkpoint::TrimHorizon,
            stream: None,
            shard: ShardId::new(key),
            parents: vec![],
            children: vec![],
            owner_switches: 0,
            hash_range: None,
        }
    }

    fn observer() -> Observer {
        Observer::new(
            WorkerId::new("me"),
            Duration::from_millis(8_500),
            Duration::from_secs(20),
        )
    }

    fn suspected(observer: &mut Observer, when: Scanned, rows: &[WorkerRow]) -> Vec<String> {
        observer
            .workers(when, rows.to_vec())
            .iter()
            .map(|s| s.id.to_string())
            .collect()
    }

    #[test]
    fn a_worker_is_suspect_only_by_a_scan_started_a_takeover_time_after_its_beat_was_received() {
        let mut o = observer();
        let rows = [worker("w", 5)];
        // The stamp is the receipt (2,000), not the start: a slow scan must not shorten the time.
        assert!(suspected(&mut o, scan(0, 2_000), &rows).is_empty());
        assert!(
            suspected(&mut o, scan(10_499, 10_600), &rows).is_empty(),
            "started too early, received late"
        );
        assert_eq!(o.next_suspicion(), Some(t(10_500)));
        assert_eq!(suspected(&mut o, scan(10_500, 10_600), &rows), ["w"]);
        // A beat in between starts the watch anew.
        assert!(suspected(&mut o, scan(10_700, 10_800), &[worker("w", 6)]).is_empty());
        assert!(suspected(&mut o, scan(19_299, 19_400), &[worker("w", 6)]).is_empty());
        assert_eq!(suspected(&mut o, scan(19_300, 19_400), &[worker("w", 6)]), ["w"]);
    }

    #[test]
    fn a_worker_with_a_longer_lease_is_watched_for_longer() {
        let mut o = observer();
        let slow = WorkerRow {
            lease: Duration::from_secs(60),
            ..worker("slow", 1)
        };
        suspected(&mut o, scan(0, 1_000), std::slice::from_ref(&slow));
        assert!(suspected(&mut o, scan(51_999, 52_000), std::slice::from_ref(&slow)).is_empty());
        assert_eq!(o.next_suspicion(), Some(t(52_000)));
        assert_eq!(suspected(&mut o, scan(52_000, 52_100), &[slow]), ["slow"]);
    }

    #[test]
    fn nobody_suspects_itself_a_tombstone_or_the_evicted() {
        let mut o = observer();
        let tombstone = WorkerRow {
            tombstone: true,
            ..worker("t", 1)
        };
        let evicted = WorkerRow {
            evicted: true,
            ..worker("e", 1)
        };
        let rows = [worker("me", 1), tombstone, evicted];
        suspected(&mut o, scan(0, 1), &rows);
        assert!(suspected(&mut o, scan(60_000, 60_001), &rows).is_empty());
        assert_eq!(o.next_suspicion(), None);
    }

    #[test]
    fn only_free_leases_and_those_of_the_gone_are_taken() {
        let mut o = observer();
        let evicted = WorkerRow {
            evicted: true,
            ..worker("dead", 1)
        };
        let tombstone = WorkerRow {
            tombstone: true,
            ..worker("fenced", 1)
        };
        o.workers(
            scan(0, 1),
            vec![worker("me", 1), worker("alive", 1), evicted, tombstone],
        );
        let leases = [
            lease("free", None, 1),
            lease("mine-without-task", Some("me"), 1),
            lease("of-alive", Some("alive"), 1),
            lease("of-dead", Some("dead"), 1),
            lease("of-fenced", Some("fenced"), 1),
            lease("of-unknown", Some("unknown"), 1),
        ];
        let all = leases.iter().map(|l| ("p", l));
        let found = takeable(all, &o);
        let texts: Vec<_> = found.iter().map(|(_, l, from)| (l.key.as_str(), *from)).collect();
        assert_eq!(
            texts,
            [
                ("free", From::Free),
                ("mine-without-task", From::Own),
                ("of-dead", From::Dead),
                ("of-fenced", From::Dead),
            ]
        );
        assert_eq!(
            total(&leases.iter().collect::<Vec<_>>(), &o),
            5,
            "all but the unknown one's"
        );

        let (me, alive) = (WorkerId::new("me"), WorkerId::new("alive"));
        let nothing = BTreeMap::from([("p".to_owned(), 0)]);
        let shares = Shares::of([(&me, &nothing), (&alive, &nothing)]);
        let allotted = allot(found, shares, &me);
        let mine: Vec<_> = allotted.mine.iter().map(|(l, _)| l.key.as_str()).collect();
        assert_eq!(mine, ["mine-without-task", "of-fenced"]);
        let notes: Vec<_> = allotted
            .notes
            .iter()
            .map(|n| (n.lease.as_str(), n.to.as_str()))
            .collect();
        assert_eq!(notes, [("free", "alive"), ("of-dead", "alive")]);
    }

    #[test]
    fn a_foreign_owner_is_dead_only_when_none_of_its_leases_moved_for_the_whole_watch() {
        let mut o = observer();
        let kcl = WorkerId::new("kcl");
        let at = |a, b| [lease("a", Some("kcl"), a), lease("b", Some("kcl"), b)];
        o.leases(scan(0, 100), &at(1, 1));
        o.workers(scan(20_000, 20_100), vec![worker("me", 1)]);
        o.leases(scan(19_000, 19_100), &at(1, 2));
        o.leases(scan(38_000, 38_100), &at(1, 2));
        assert_eq!(o.standing(&kcl), Standing::Unknown, "one lease moved");
        assert_eq!(o.next_foreign_verdict(), Some(t(39_100)));
        o.leases(scan(39_100, 39_200), &at(1, 2));
        assert_eq!(o.standing(&kcl), Standing::Gone);
        o.leases(scan(40_000, 40_100), &at(2, 2));
        assert_eq!(o.standing(&kcl), Standing::Unknown, "it moved after all");
    }

    #[test]
    fn nobody_is_foreign_until_the_worker_rows_were_read_after_it_was_seen() {
        let mut o = observer();
        let idle = [lease("a", Some("idle"), 1)];
        o.leases(scan(0, 100), &idle);
        o.leases(scan(21_000, 21_100), &idle);
        assert_eq!(
            o.standing(&WorkerId::new("idle")),
            Standing::Unknown,
            "no worker row was read at all"
        );
        o.workers(scan(22_000, 22_100), vec![worker("me", 1), worker("idle", 9)]);
        o.leases(scan(43_000, 43_100), &idle);
        assert_eq!(o.standing(&WorkerId::new("idle")), Standing::Live, "it has a row");
    }

    #[test]
    fn a_foreign_owner_is_alive_when_its_counters_move_though_no_row_is_its() {
        let kcl = |counter| [lease("a", Some("kcl"), counter)];
        let me = || vec![worker("me", 1)];
        let mut o = observer();
        o.leases(scan(0, 100), &kcl(1));
        o.leases(scan(200, 300), &kcl(2));
        o.workers(scan(150, 350), me());
        o.leases(scan(400, 500), &kcl(3));
        assert_eq!(
            o.foreign_alive(),
            None,
            "what moved before the rows were there proves nothing"
        );
        o.leases(scan(600, 700), &kcl(3));
        assert_eq!(o.foreign_alive(), None, "it stands still");
        o.leases(scan(800, 900), &kcl(4));
        assert_eq!(o.foreign_alive(), Some(&WorkerId::new("kcl")));

        // An ended lease moves too: KCL renews it until it is cleaned up.
        let mut o = observer();
        let ended = |counter| {
            let [mut lease] = kcl(counter);
            lease.checkpoint = Checkpoint::ShardEnd;
            [lease]
        };
        o.leases(scan(0, 100), &ended(1));
        o.workers(scan(150, 350), me());
        o.leases(scan(400, 500), &ended(1));
        o.leases(scan(800, 900), &ended(2));
        assert!(o.foreign_alive().is_some());
        assert!(o.sees_strangers(t(20_000)) && !o.sees_strangers(t(20_100)));
        assert_eq!(o.foreign_watched().count(), 0, "there is nothing to take from it");
    }

    #[test]
    fn a_worker_that_came_or_went_between_two_looks_is_no_stranger() {
        // It joined after the rows were read, and takes leases.
        let mut o = observer();
        o.workers(scan(0, 50), vec![worker("me", 1)]);
        o.leases(scan(100, 200), &[lease("a", Some("new"), 1)]);
        o.leases(scan(300, 400), &[lease("a", Some("new"), 2)]);
        o.workers(scan(450, 500), vec![worker("me", 1), worker("new", 1)]);
        o.leases(scan(600, 700), &[lease("a", Some("new"), 3)]);
        assert_eq!(o.foreign_alive(), None);
        // It ended a shard's lease, which keeps its name, and left; a scan was under way.
        let mut o = observer();
        o.workers(scan(0, 50), vec![worker("me", 1)]);
        o.leases(scan(100, 900), &[lease("a", Some("gone"), 1)]);
        o.workers(scan(950, 1_000), vec![worker("me", 1)]);
        o.leases(scan(990, 1_100), &[lease("a", Some("gone"), 1)]);
        o.leases(scan(1_200, 1_300), &[lease("a", Some("gone"), 2)]);
        o.leases(scan(9_000, 9_100), &[lease("a", Some("gone"), 2)]);
        assert_eq!(o.foreign_alive(), None);
    }

    #[test]
    fn a_worker_is_fresh_while_its_heartbeat_is_young_in_the_last_scan() {
        let mut o = observer();
        let other = WorkerId::new("w");
        assert!(!o.is_fresh(&other, Duration::from_secs(7)), "never seen");
        o.workers(scan(0, 100), vec![worker("w", 1)]);
        o.workers(scan(7_000, 7_100), vec![worker("w", 1)]);
        assert!(o.is_fresh(&other, Duration::from_secs(7)));
        o.workers(scan(7_200, 7_300), vec![worker("w", 1)]);
        assert!(!o.is_fresh(&other, Duration::from_secs(7)));
    }

    #[test]
    fn a_row_goes_only_when_no_lease_names_it() {
        let mut o = observer();
        let evicted = WorkerRow {
            evicted: true,
            ..worker("dead", 1)
        };
        o.workers(scan(0, 1), vec![worker("me", 1), worker("alive", 1), evicted]);
        assert!(o.removable(&[lease("a", Some("dead"), 1)]).is_empty());
        let gone: Vec<_> = o
            .removable(&[lease("a", Some("me"), 1)])
            .into_iter()
            .map(|r| r.id.to_string())
            .collect();
        assert_eq!(gone, ["dead"]);
    }
}
