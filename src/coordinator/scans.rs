//! Reading the lease table, and what follows from it: takes, notes, rounds.
//!
//! A scan costs as much as the table is large, so few are made: at a join, for an estate, by the caretaker
//! of a pipeline each round, and by a worker that misses leases (protocol rule 10).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::sync::Synced;
use super::takes::Wanted;
use super::{JOIN_ALERT, JOIN_WAIT, Life, PipelineLife, Scan, Successor};
use crate::lease::plan::{self, From};
use crate::lease::{Checkpoint, Lease, LeaseKey, StreamRow};
use crate::readiness::Latch;
use crate::stream::lineage::Waiting;

/// The pipelines' rows are read so often: a person who pauses one waits no longer.
const PIPELINES_LOOK: Duration = Duration::from_secs(10);
/// The streams' rows are read so often while a pipeline's first sync is awaited.
const FIRST_LOOK: Duration = Duration::from_millis(300);
/// A pipeline whose caretaker has not finished its first sync by then is synced by the worker that comes after
/// it too, and so on: one more each time, since all of them create the same leases.
const FIRST_PATIENCE: Duration = Duration::from_secs(3);
/// …but nobody waits for more turns than these: where the source is down, each worker finds out and says so.
const MOST_TURNS: usize = 5;
/// Rounds of several pipelines that are due within this part of their interval share a scan.
const EARLY_ROUND: f64 = 0.2;

impl Life {
    /// Reads the leases and the streams' rows. `None`: they could not be read; it is repeated.
    pub(super) async fn scan(&mut self) -> Option<Scan> {
        self.schedule.scan = None;
        let began = self.clock.now();
        let scan = match self.fleet.scan_streams().await {
            Ok(streams) => self.fleet.scan_leases().await.map(|leases| Scan {
                began,
                leases: Arc::new(leases),
                streams,
            }),
            Err(()) => Err(()),
        };
        let now = self.clock.now();
        self.schedule.scanned = Some(now);
        scan.inspect_err(|()| self.schedule.scan_by(now + self.times.request))
            .ok()
    }

    /// Reads what people have said of the pipelines, and, while a first sync is awaited, whether it is done.
    pub(super) async fn look_at_pipelines(&mut self) {
        let now = self.clock.now();
        match self.fleet.pipelines().await {
            Ok(rows) => {
                self.schedule.pipelines_read = true;
                if self.schedule.scanned.is_none() {
                    self.schedule.scan_by(now);
                }
                let paused = rows
                    .into_iter()
                    .filter(|row| row.paused)
                    .map(|row| row.name)
                    .collect();
                self.pause(&paused);
            }
            Err(()) => {
                self.schedule.pipelines = now + self.times.request;
                return;
            }
        }
        let waits = self.pipelines.values().any(|p| !p.looked);
        if waits && let Ok(streams) = self.fleet.scan_streams().await {
            let done = |name: &String| is_complete(name, &streams);
            if self.pipelines.iter().any(|(name, p)| !p.looked && done(name)) {
                self.schedule.scan_by(now);
            }
        }
        self.order_first_syncs();
        self.schedule.pipelines = now + if waits { FIRST_LOOK } else { PIPELINES_LOOK };
    }

    fn pause(&mut self, paused: &BTreeSet<String>) {
        let now = self.clock.now();
        let mut stops = Vec::new();
        for (name, pipeline) in &mut self.pipelines {
            let is_paused = paused.contains(name);
            if is_paused != pipeline.paused {
                pipeline.paused = is_paused;
                match is_paused {
                    true => {
                        warn!(pipeline = %name, "the pipeline is paused: giving its shards up");
                        self.takes.forget(name);
                        stops.extend(
                            self.running
                                .iter()
                                .filter(|(_, r)| r.pipeline == *name)
                                .map(|(k, _)| k.clone()),
                        );
                    }
                    false => {
                        info!(pipeline = %name, "the pipeline is resumed");
                        self.schedule
                            .scan_by(now + Duration::from_secs(1).mul_f64(self.rng.f64()));
                    }
                }
                let part = format!("pipeline {name}");
                match is_paused {
                    true => drop(
                        self.readiness
                            .problem(&part, "paused by `weir pipelines pause`; nobody reads it"),
                    ),
                    false => self.readiness.solved(&part),
                }
            }
        }
        for key in stops {
            self.give_up(&key, Successor::Nobody);
        }
    }

    /// A pipeline without a finished first sync is synced by its caretaker, and after a while by others too.
    fn order_first_syncs(&self) {
        for (name, pipeline) in &self.pipelines {
            let lower = self
                .fleet
                .observer
                .others()
                .filter(|row| row.id < self.fleet.me && !row.draining && row.held.contains_key(name));
            let turns = lower.take(MOST_TURNS).count().max(1) as u32;
            let patience = FIRST_PATIENCE.saturating_mul(turns);
            let late = self.settings.keys.are_kcls()
                || self.clock.now() >= self.schedule.joined + JOIN_WAIT + patience;
            if !pipeline.looked && (late || self.is_caretaker(name)) {
                self.order_sync(pipeline);
            }
        }
    }

    /// Has the pipeline's shards synced, by what the last scan showed.
    pub(super) fn order_sync(&self, pipeline: &PipelineLife) {
        if let Some(scan) = &self.scanned {
            // A full queue: one is under way.
            let _ = pipeline.orders.try_send(scan.clone());
        }
    }

    /// Acts on a scan.
    pub(super) fn heed_leases(&mut self, mut scan: Scan) {
        // Nobody else has them yet.
        let leases: &mut Vec<Lease> = Arc::make_mut(&mut scan.leases);
        self.name_streams(leases);
        let now = self.clock.now();
        let before = self.scanned.iter().flat_map(|scan| scan.leases.iter());
        let before: BTreeSet<LeaseKey> = before.map(|l| l.key.clone()).collect();
        // What is seen for the first time, and waits for that alone, is looked at again soon.
        let mut again = false;
        for (name, pipeline) in &mut self.pipelines {
            // Of KCL's rows each worker finds out itself which stream they are of.
            if is_complete(name, &scan.streams) && !self.settings.keys.are_kcls() {
                let caretaker = self.duty.holder(name) == Some(&self.fleet.me);
                pipeline.looked = true;
                pipeline.last = Synced::known(
                    &self.settings.keys,
                    name,
                    &scan.streams,
                    caretaker,
                    pipeline.last.take(),
                );
            }
        }
        let mut startable: Vec<(&str, &Lease)> = Vec::new();
        let mut view = self.view_of(&scan);
        let mut readable: Vec<(&str, &Lease)> = Vec::new();
        let mut totals = BTreeMap::new();
        for (name, pipeline) in &self.pipelines {
            let Some(synced) = &pipeline.last else { continue };
            let own: Vec<&Lease> = scan
                .leases
                .iter()
                .filter(|l| self.settings.keys.pipeline_of(l) == Some(name))
                .collect();
            if own
                .iter()
                .any(|l| l.stream.is_none() && l.checkpoint != Checkpoint::ShardEnd)
            {
                // Of KCL's rows: a sync finds out of which stream they are.
                self.order_sync(pipeline);
            }
            let begun = |lease: &Lease| {
                let owner = lease.owner.as_ref();
                owner.is_some_and(|o| *o == self.fleet.me || self.fleet.observer.rows().contains_key(o))
            };
            view.judged.insert(name.clone());
            let mut found = Vec::new();
            for (lease, judged) in synced.startable(&self.settings.keys, &own, &before, begun) {
                match judged {
                    Ok(()) => found.push(lease),
                    Err(Waiting::Ended) => {}
                    Err(why) => drop(view.waiting.insert(lease.key.clone(), why)),
                }
            }
            readable.extend(found.iter().map(|lease| (name.as_str(), *lease)));
            again |= self.is_caretaker(name) && own.iter().any(|l| !before.contains(&l.key));
            let total = if pipeline.paused {
                0
            } else {
                plan::total(&found, &self.fleet.observer)
            };
            totals.insert(name.clone(), total);
            if !pipeline.paused {
                startable.extend(found.into_iter().map(|lease| (name.as_str(), lease)));
            }
        }
        let shards = startable.len();
        let busy = |lease: &Lease| self.running.contains_key(&lease.key) || self.takes.has(&lease.key);
        let coming: BTreeSet<&LeaseKey> = self
            .board
            .on_the_way(self.fleet.observer.rows(), now)
            .map(|(lease, _)| lease)
            .collect();
        let takeable: Vec<_> = plan::takeable(startable, &self.fleet.observer)
            .into_iter()
            .filter(|(_, lease, from)| !busy(lease) && (*from == From::Own || !coming.contains(&lease.key)))
            .collect();
        let unread = plan::takeable(readable, &self.fleet.observer).into_iter();
        // One whose take fails again and again has nobody either.
        let unread = unread.filter(|(_, lease, _)| !self.running.contains_key(&lease.key));
        view.unread = self
            .unread
            .watch(unread.map(|(_, lease, _)| lease.key.clone()), now);
        // Workers that start together see each other's shares grow, each at another time, and may allot a
        // lease in a ring.
        let leftovers = !takeable.is_empty() && now < self.schedule.joined + JOIN_ALERT;
        let allotted = plan::allot(takeable, self.shares(true), &self.fleet.me);
        let mut news = false;
        for note in allotted.notes {
            let pipeline = self.settings.keys.pipeline_in(&note.lease).unwrap_or_default();
            let told = self.is_caretaker(pipeline)
                || self.pipelines.get(pipeline).is_some_and(|p| now < p.tells_until)
                || note
                    .owner
                    .as_ref()
                    .is_some_and(|owner| self.estates.contains(owner));
            news |= told && self.board.post(note, now);
        }
        for (lease, from) in allotted.mine {
            let pipeline = self
                .settings
                .keys
                .pipeline_of(&lease)
                .unwrap_or_default()
                .to_owned();
            self.want(Wanted::seen(lease, from, pipeline));
        }
        self.estates.clear();
        totals.retain(|name, _| self.duty.holder(name) == Some(&self.fleet.me));
        self.vitals.say(|says| says.totals = totals);
        if news {
            self.say_news();
        }
        self.tell_standing_by(shards);
        if again {
            self.schedule.scan_by(now + super::TICK);
        }
        if leftovers {
            self.look_for_leftovers();
        }
        self.scan_view = Some(Arc::new(view));
        self.scanned = Some(Arc::new(scan));
        self.order_rounds();
        self.order_first_syncs();
        if self.pipelines.values().all(|p| p.looked) {
            self.readiness.open(Latch::Plan);
        }
    }

    /// The caretaker's rounds that are due, each with this scan.
    fn order_rounds(&mut self) {
        let now = self.clock.now();
        let mut next: Option<crate::clock::Monotonic> = None;
        let mine: Vec<String> = self
            .pipelines
            .keys()
            .filter(|name| self.is_caretaker(name))
            .cloned()
            .collect();
        for name in mine {
            let jitter = 0.9 + 0.2 * self.rng.f64();
            let Some(pipeline) = self.pipelines.get(&name) else {
                continue;
            };
            let interval = pipeline.consumer.config.source.sync_interval;
            let is_due = now + interval.mul_f64(EARLY_ROUND) >= pipeline.round_due;
            if is_due {
                self.order_sync(pipeline);
            }
            let Some(pipeline) = self.pipelines.get_mut(&name) else {
                continue;
            };
            if is_due {
                pipeline.round_due = now + interval.mul_f64(jitter);
            }
            next = Some(next.map_or(pipeline.round_due, |at| at.min(pipeline.round_due)));
        }
        if let Some(next) = next {
            let verdict = self.fleet.observer.next_foreign_verdict();
            // Not sooner than a request takes: a verdict may wait for the worker rows.
            // And often enough to see that a counter moves: a KCL worker that is alive.
            let verdict = verdict.map(|at| at.min(now + self.times.heartbeat).max(now + self.times.request));
            self.schedule.scan_by(verdict.map_or(next, |at| at.min(next)));
            // Also one that holds only what has ended, of which there is no verdict.
            if self.settings.keys.are_kcls() && self.fleet.observer.sees_strangers(now) {
                self.schedule.scan_by(now + self.times.heartbeat);
            }
        }
    }

    /// Takes in what a shard sync has found.
    pub(super) fn heed_sync(&mut self, synced: Synced) {
        let now = self.clock.now();
        let caretaker = self.is_caretaker(&synced.pipeline);
        if let Some(until) = &mut self.until {
            // Whatever it found: a look at the leases after it tells whether something is left.
            until.heed_sync(&synced, now);
            self.schedule.scan_by(now);
        }
        let Some(pipeline) = self.pipelines.get_mut(&synced.pipeline) else {
            return;
        };
        let first = !std::mem::replace(&mut pipeline.looked, true);
        if synced.finished && caretaker {
            pipeline.rounds += 1;
            let (name, rounds) = (synced.pipeline.clone(), pipeline.rounds);
            self.vitals.say(|says| says.rounds.insert(name, rounds));
        }
        let homes_changed = pipeline
            .last
            .as_ref()
            .is_some_and(|last| last.homes != synced.homes);
        let found_some = first && synced.changed;
        if synced.changed || first || homes_changed {
            self.schedule.scan_by(now);
        }
        // One that failed before it found anything knows less than what was there.
        if synced.finished || !synced.streams.is_empty() || pipeline.last.is_none() {
            pipeline.last = Some(synced);
        }
        if found_some && self.pipelines.values().all(|p| p.looked) {
            // The scan before showed none of the leases there are now. Once in a life, so that no distance is due.
            self.schedule.scanned = None;
        }
    }

    /// Says, once, that this worker is not needed.
    fn tell_standing_by(&mut self, shards: usize) {
        let stands_by = shards > 0 && self.running.is_empty() && self.takes.is_empty();
        if stands_by && !self.standing_by && self.fleet.observer.others().next().is_some() {
            info!(
                shards,
                "holding no lease yet: other workers read all shards, or are about to hand some over"
            );
        }
        self.standing_by = stands_by;
    }

    /// What is left over at the next look is taken by whoever comes first (rule 9).
    pub(super) fn look_for_leftovers(&mut self) {
        let wait = Duration::from_millis(600) + Duration::from_millis(1_500).mul_f64(self.rng.f64());
        self.schedule.scan_by(self.clock.now() + wait);
    }
}

/// All first leases of the pipeline's streams exist.
fn is_complete(pipeline: &str, streams: &[StreamRow]) -> bool {
    let mut rows = streams.iter().filter(|row| row.pipeline == pipeline).peekable();
    rows.peek().is_some() && rows.all(|row| row.complete)
}
