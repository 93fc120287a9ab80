//! The design's promises, as invariants over what happens to each change.
//!
//! Fed by the fakes while things happen; `finish` asks what is left at the end. What concerns leases and
//! their owners is in `ownership`. A broken promise is written down, not thrown: the world goes on, and
//! the report shows what came after.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use weir::clock::Timestamp;
use weir::lease::{Checkpoint, GapRow};
use weir::logs::{Accepted, LogDestination, LogEvent};
use weir::stream::{Place, Record, SequenceNumber};

use crate::balance::FleetModel;
use crate::ownership::Ownership;
use crate::streams::{Gid, Kind, ShardNo};
use crate::world::{Pid, State};

/// One life of a process under one worker id.
pub type Life = (Pid, usize);

#[derive(Default)]
pub struct Model {
    pub violations: Vec<String>,
    pub owners: Ownership,
    pub fleet: FleetModel,
    fates: BTreeMap<Gid, ChangeFate>,
    /// The highest change of each shard in the log.
    high: BTreeMap<ShardNo, usize>,
    /// The highest version of each key in the log.
    versions: BTreeMap<(usize, String), u64>,
    /// All changes of a shard below this are settled.
    settled: BTreeMap<ShardNo, usize>,
    /// LATEST and timestamps: changes of a table's first stream before this need not be delivered.
    pub starts: BTreeMap<usize, Timestamp>,
    /// Shards that were closed before LATEST was resolved.
    pub past: BTreeSet<ShardNo>,
    pub repeats: usize,
    /// When the repeated changes were first delivered.
    pub repeated_from: Vec<(Duration, Gid)>,
    /// Read and not yet accepted, per process.
    in_flight: Vec<InFlight>,
    /// The most bytes in flight that a process may have; none: not checked.
    pub memory: Option<usize>,
}

#[derive(Default)]
struct ChangeFate {
    delivered: u32,
    first_at: Duration,
    dead: bool,
    /// The last one to learn that the log has it.
    acknowledged: Option<Life>,
}

#[derive(Default)]
struct InFlight {
    changes: BTreeSet<Gid>,
    bytes: usize,
    peak: usize,
    /// Read back from the log: such a change may be left out, and then nobody puts it again.
    shown: BTreeSet<Gid>,
}

/// Where a checkpoint lies.
pub fn at_place(sequence_number: &SequenceNumber, sub_sequence_number: u64) -> Place {
    Place {
        sequence_number: sequence_number.clone(),
        sub_sequence_number,
    }
}

impl Model {
    pub fn booted(&mut self) {
        self.in_flight.push(InFlight::default());
        self.owners.booted();
    }

    pub fn broken(&mut self, now: Duration, mut what: String) {
        // The first few of each promise say it all.
        let promise = what.split(':').next().unwrap_or_default().to_owned();
        if self.violations.iter().filter(|v| v.contains(&promise)).count() < 4 {
            what.insert_str(0, &format!("at {now:?}: "));
            self.violations.push(what);
        }
    }

    /// A process begins anew: what it had read is read again.
    pub fn forget_in_flight(&mut self, pid: Pid) {
        let flight = &mut self.in_flight[pid];
        flight.changes.clear();
        flight.bytes = 0;
    }

    pub fn peak_in_flight(&self) -> usize {
        self.in_flight.iter().map(|f| f.peak).max().unwrap_or(0)
    }

    pub fn delivered(&self) -> usize {
        self.fates.values().filter(|f| f.delivered > 0).count()
    }

    pub fn dead_lettered(&self) -> usize {
        self.fates.values().filter(|f| f.dead).count()
    }

    pub fn acknowledged_by(&self, gid: Gid) -> Option<Life> {
        self.fates.get(&gid).and_then(|f| f.acknowledged)
    }
}

impl State {
    fn changes_of(&mut self, events: &[LogEvent]) -> Vec<Option<Gid>> {
        let known: Vec<Option<Gid>> = events
            .iter()
            .map(|e| self.streams.in_message(&e.message))
            .collect();
        if let Some(i) = known.iter().position(Option::is_none) {
            let stray: String = events[i].message.chars().take(200).collect();
            self.model
                .broken(self.now, format!("an event of no change: {stray}"));
        }
        known
    }

    /// Before the configured start.
    pub fn before_start(&self, gid: Gid) -> bool {
        let c = &self.streams.changes[gid];
        let early = self
            .model
            .starts
            .get(&c.at.0)
            .is_some_and(|start| c.time.min(c.written) < *start);
        early || self.model.past.contains(&c.at)
    }

    fn in_recorded_gap(&self, gid: Gid) -> bool {
        let c = &self.streams.changes[gid];
        let shard = self.streams.shard(c.at);
        let lost = c.index < shard.trimmed || shard.gone || self.streams.streams[c.at.0].gone;
        let arn = &self.streams.streams[c.at.0].arn;
        lost && self.table.gaps.iter().any(|g| {
            let after = SequenceNumber::parse(&g.after);
            g.arn == *arn && g.shard == shard.id && after.is_none_or(|after| after < c.seq)
        })
    }

    /// **honest**: each gap that was written down is of a shard that lost something.
    pub fn gaps_are_gaps(&mut self) {
        let lost = |gap: &GapRow| {
            let Some(stream) = self.streams.streams.iter().position(|s| s.arn == gap.arn) else {
                return true;
            };
            let stream_is_gone = self.streams.streams[stream].gone;
            let shard = self.streams.find_shard(stream, &gap.shard);
            let shard = shard.map(|shard| self.streams.shard((stream, shard)));
            stream_is_gone || shard.is_none_or(|shard| shard.gone || shard.trimmed > 0)
        };
        let false_ones: Vec<String> = (self.table.gaps.iter())
            .filter(|gap| !lost(gap))
            .map(|gap| format!("honest: a gap that is none: {gap:?}"))
            .collect();
        for line in false_ones {
            self.model.broken(self.now, line);
        }
    }

    pub fn is_settled(&self, gid: Gid) -> bool {
        let told = self
            .model
            .fates
            .get(&gid)
            .is_some_and(|f| f.delivered > 0 || f.dead);
        told || self.before_start(gid) || self.in_recorded_gap(gid)
    }

    /// How many changes of a shard are settled, from its first on.
    pub fn settled_prefix(&mut self, at: ShardNo) -> usize {
        let mut n = self.model.settled.get(&at).copied().unwrap_or(0);
        while self
            .streams
            .shard(at)
            .changes
            .get(n)
            .is_some_and(|&g| self.is_settled(g))
        {
            n += 1;
        }
        self.model.settled.insert(at, n);
        n
    }

    /// Another program delivered the change, before any process here.
    pub fn delivered_elsewhere(&mut self, gid: Gid) {
        let now = self.now;
        let fate = self.model.fates.entry(gid).or_default();
        (fate.delivered, fate.first_at) = (1, now);
        let c = &self.streams.changes[gid];
        let high = self.model.high.entry(c.at).or_default();
        *high = (*high).max(c.index);
    }

    /// `records` reached a process: **bounded**.
    pub fn handed_out(&mut self, pid: Pid, records: &[Record]) {
        for r in records {
            let Some(first) = self.streams.in_message(r.sequence_number.as_str()) else {
                continue;
            };
            let changes: Vec<Gid> = self.streams.in_record(first).collect();
            for gid in changes {
                if self.before_start(gid) {
                    continue;
                }
                let flight = &mut self.model.in_flight[pid];
                if !flight.shown.contains(&gid) && flight.changes.insert(gid) {
                    flight.bytes += self.streams.changes[gid].data.len();
                    flight.peak = flight.peak.max(flight.bytes);
                }
            }
        }
        let bytes = self.model.in_flight[pid].bytes;
        if self.model.memory.is_some_and(|limit| bytes > limit) {
            self.model
                .broken(self.now, format!("bounded: p{pid} holds {bytes} bytes"));
        }
    }

    /// `events` of the log were read back by a process.
    pub fn shown(&mut self, pid: Pid, events: &[LogEvent]) {
        for event in events {
            let Some(gid) = self.streams.in_message(&event.message) else {
                continue;
            };
            let flight = &mut self.model.in_flight[pid];
            if flight.changes.remove(&gid) {
                flight.bytes -= self.streams.changes[gid].data.len();
            }
            flight.shown.insert(gid);
        }
    }

    /// A put is about to leave: **one_reader**, and **repeats_have_a_cause**.
    pub fn put_begins(&mut self, pid: Pid, events: &[LogEvent]) -> usize {
        self.logs.puts += 1;
        let gids = self.changes_of(events);
        let shards: BTreeSet<ShardNo> = gids
            .iter()
            .flatten()
            .map(|&g| self.streams.changes[g].at)
            .collect();
        for &at in &shards {
            if let Err(why) = self.may_put(pid, at) {
                self.model
                    .broken(self.now, format!("one_reader: p{pid} puts {at:?}, {why}"));
            }
        }
        let me = self.model.owners.life(pid);
        for gid in gids.into_iter().flatten() {
            let Some(by) = self.model.acknowledged_by(gid) else {
                continue;
            };
            let c = &self.streams.changes[gid];
            let why = if by == me {
                "it was told before that the log has it"
            } else if self.taken_beyond(c.at, &c.place()) {
                "the checkpoint it took over covers it"
            } else {
                continue;
            };
            let line = format!(
                "repeats_have_a_cause: p{pid} sends {} of {:?} again; {why}",
                c.seq, c.at
            );
            self.model.broken(self.now, line);
        }
        self.logs.puts
    }

    /// The service took these events: **in_order**.
    pub fn put_applied(&mut self, pid: Pid, to: &LogDestination, events: &[LogEvent]) {
        let gids: Vec<Gid> = self.changes_of(events).into_iter().flatten().collect();
        let dead = to.stream.contains("dead-letter");
        let now = self.now;
        let mut first = Vec::new();
        for &gid in &gids {
            for flight in &mut self.model.in_flight {
                if flight.changes.remove(&gid) {
                    flight.bytes -= self.streams.changes[gid].data.len();
                }
            }
            let fate = self.model.fates.entry(gid).or_default();
            if dead {
                fate.dead = true;
                continue;
            }
            fate.delivered += 1;
            if fate.delivered == 1 {
                fate.first_at = now;
                first.push(gid);
            } else {
                self.model.repeats += 1;
                let since = fate.first_at;
                self.model.repeated_from.push((since, gid));
            }
        }
        if !dead {
            self.in_order(pid, &first, events);
        }
    }

    fn in_order(&mut self, pid: Pid, first: &[Gid], events: &[LogEvent]) {
        // Against what was there before this put: inside one, the times decide.
        for &gid in first {
            let c = &self.streams.changes[gid];
            let key = (c.at.0, c.key.clone());
            if self.model.high.get(&c.at).is_some_and(|&high| high > c.index) {
                let line = format!(
                    "in_order: p{pid} delivers {} of {:?} after later ones",
                    c.seq, c.at
                );
                self.model.broken(self.now, line);
            } else if self
                .model
                .versions
                .get(&key)
                .is_some_and(|&high| high > c.version)
            {
                let line = format!(
                    "in_order: p{pid} delivers {} version {} after later ones",
                    c.key, c.version
                );
                self.model.broken(self.now, line);
            }
        }
        for &gid in first {
            let c = &self.streams.changes[gid];
            let high = self.model.high.entry(c.at).or_default();
            *high = (*high).max(c.index);
            let version = self.model.versions.entry((c.at.0, c.key.clone())).or_default();
            *version = (*version).max(c.version);
        }
        // Among events of one time the order of arrival stands: the sort is stable.
        let mut last: BTreeMap<ShardNo, (Timestamp, usize)> = BTreeMap::new();
        for event in events {
            let Some(gid) = self.streams.in_message(&event.message) else {
                continue;
            };
            let c = &self.streams.changes[gid];
            let before = last.insert(c.at, (event.timestamp, c.index));
            if before.is_some_and(|(t, index)| t == event.timestamp && index > c.index) {
                let line = format!(
                    "in_order: p{pid} sends {} of {:?} out of order in one put",
                    c.seq, c.at
                );
                self.model.broken(self.now, line);
            }
        }
    }

    /// The process learned what became of its put.
    pub fn put_answered(&mut self, pid: Pid, events: &[LogEvent], accepted: Option<Accepted>) {
        let Some(accepted) = accepted else { return };
        let life = self.model.owners.life(pid);
        let from = accepted.too_old_until.max(accepted.expired_until).unwrap_or(0);
        let until = accepted.too_new_from.unwrap_or(events.len());
        for event in &events[from..until] {
            if let Some(gid) = self.streams.in_message(&event.message) {
                self.model.fates.entry(gid).or_default().acknowledged = Some(life);
            }
        }
    }

    /// A new reader of the shard starts behind `from`. What was accepted beyond it may come again, also from a
    /// process that knew of it: a drain that hit its limit left it so.
    pub fn begins_anew(&mut self, at: ShardNo, from: &Checkpoint) {
        let beyond = |place: &Place| match from {
            Checkpoint::At(to, sub) => *place > at_place(to, *sub),
            Checkpoint::ShardEnd => false,
            _ => true,
        };
        for &gid in self.streams.shard(at).changes.iter().rev() {
            if !beyond(&self.streams.changes[gid].place()) {
                break;
            }
            if let Some(fate) = self.model.fates.get_mut(&gid) {
                fate.acknowledged = None;
            }
        }
    }

    /// **checkpoint_covers_only_accepted**: everything in the shard up to `to` (to the end, if none).
    pub fn covers_only_accepted(&mut self, pid: Pid, at: ShardNo, to: Option<&Place>) {
        let n = self.settled_prefix(at);
        let Some(&gid) = self.streams.shard(at).changes.get(n) else {
            return;
        };
        let first_open = self.streams.changes[gid].place();
        if to.is_none_or(|to| first_open <= *to) {
            let line = format!(
                "checkpoint_covers_only_accepted: p{pid} checkpoints {at:?} at {to:?}, though {first_open:?} is in no log",
            );
            self.model.broken(self.now, line);
        }
    }

    /// What is still to come: changes that are in no log, and leases whose checkpoint lags.
    pub fn unfinished(&mut self) -> Option<String> {
        for stream in 0..self.streams.streams.len() {
            for shard in 0..self.streams.streams[stream].shards.len() {
                let at = (stream, shard);
                let n = self.settled_prefix(at);
                if let Some(&gid) = self.streams.shard(at).changes.get(n) {
                    let c = &self.streams.changes[gid];
                    return Some(format!(
                        "{} of {at:?}, {} version {}, is in no log",
                        c.seq, c.key, c.version
                    ));
                }
                if let Some(why) = self.lagging(at) {
                    return Some(why);
                }
            }
        }
        None
    }

    /// The last questions, once the world is quiet: **nothing_is_lost**.
    pub fn finish(&mut self) {
        let mut lost = Vec::new();
        for (gid, c) in self.streams.changes.iter().enumerate() {
            let fate = self.model.fates.get(&gid);
            let (delivered, dead) = fate.map_or((false, false), |f| (f.delivered > 0, f.dead));
            let right = match c.kind {
                Kind::Plain => delivered,
                Kind::Undecodable | Kind::Poison | Kind::TooOld | Kind::TooNew => dead,
            };
            if !right && !self.before_start(gid) && !self.in_recorded_gap(gid) {
                let line = format!(
                    "{} of {:?} ({:?}): delivered {delivered}, dead {dead}",
                    c.seq, c.at, c.kind
                );
                lost.push(line);
            }
        }
        if let Some(first) = lost.first() {
            let line = format!("nothing_is_lost: {} changes, first {first}", lost.len());
            self.model.broken(self.now, line);
        }
    }
}
