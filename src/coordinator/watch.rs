//! What a worker does about the others: evicts the dead, hears the notes, keeps the balance.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tracing::{debug, info};

use super::takes::Wanted;
use super::{EVICTION_JITTER, JOIN_ALERT, Life, Successor, Unheld};
use crate::lease::share::Shares;
use crate::lease::{LeaseKey, WorkerId};

/// The worker rows are read this often while something is going on (rule 11)…
const ALERT: Duration = Duration::from_millis(300);
/// …and for so long after the live set has changed.
const CHANGE_ALERT: Duration = Duration::from_secs(5);
/// …and for so long while others should hand leases over to this worker: they may have reasons not to.
const RECEIVE_ALERT: Duration = Duration::from_secs(30);
/// A caretaker without a finished round for so many of its intervals is passed over (rule 15).
const MISSED_ROUNDS: u32 = 3;
/// Leases given up at once, for the balance of the fleet.
const MOST_GIVEN: usize = 500;
/// Leases that nobody holds make a worker look for them after so many heartbeats (rule 10).
const UNHELD_PATIENCE: f64 = 1.3;
/// Looks in vain double that wait, up to so many times.
const MOST_DOUBLINGS: u32 = 3;

impl Life {
    /// A heartbeat that is older in the last scan makes its worker no successor.
    pub(super) fn fresh_age(&self) -> Duration {
        self.times.heartbeat * 2
    }

    /// Reads the worker rows and evicts the dead. `false`: they could not be read, which is no time passed
    /// (rule 3).
    pub(super) async fn watch_workers(&mut self) -> bool {
        let live = |life: &Self| -> BTreeSet<WorkerId> {
            let others = life.fleet.observer.others().filter(|row| !row.draining);
            others.map(|row| row.id.clone()).collect()
        };
        let before = live(self);
        let Ok(suspects) = self.fleet.scan_workers().await else {
            self.schedule.rows = self.clock.now() + self.times.request;
            return false;
        };
        // A drainer puts too.
        self.live.set(self.fleet.observer.others().count() + 1);
        if !suspects.is_empty() {
            self.clock.sleep(EVICTION_JITTER.mul_f64(self.rng.f64())).await;
        }
        for suspect in suspects {
            match self.fleet.evict(&suspect).await {
                // Rule 6: whoever won the certificate makes the estate known.
                Ok(true) => {
                    self.estates.insert(suspect.id);
                    self.schedule.scan_by(self.clock.now());
                }
                Ok(false) => {}
                // A table in trouble: the rows are read again soon, and show who is still suspect.
                Err(()) => break,
            }
        }
        if live(self) != before {
            self.schedule.alert_for(self.clock.now(), CHANGE_ALERT);
        }
        true
    }

    /// Acts on the worker rows just read.
    pub(super) fn heed_workers(&mut self) {
        let now = self.clock.now();
        let mut news = false;
        for note in self.board.read(self.fleet.observer.rows(), now) {
            let pipeline = self.settings.keys.pipeline_in(&note.lease).map(str::to_owned);
            if let Some(pipeline) = pipeline.filter(|p| self.pipelines.contains_key(p)) {
                debug!(lease = %note.lease, "told of a free lease");
                self.want(Wanted::noted(note, pipeline));
                news = true;
            }
        }
        // In this order: who says that it has read a note counts what it takes of it.
        self.say_what_is_held();
        self.answer();
        if news {
            self.say_news();
        }
        self.keep_posts();
        let receives = self.balance();
        let below = self.mind_the_unheld();
        let since = receives.then(|| self.schedule.receives.unwrap_or(now));
        self.schedule.receives = since;
        let often = now < self.schedule.alert_until
            || below
            || since.is_some_and(|since| now.since(since) < RECEIVE_ALERT)
            || self.fleet.observer.drainers().next().is_some();
        let pause = match often {
            true => ALERT,
            false => self.times.watch.mul_f64(0.9 + 0.2 * self.rng.f64()),
        };
        let verdict = self.fleet.observer.next_suspicion().map(|at| at.since(now));
        self.schedule.rows = now + pause.min(verdict.unwrap_or(pause));
    }

    /// Tells which rows it has read of those who wait for that: a drainer hands its leases over to who saw
    /// its flag (rule 12), and what a note offered counts as taken, or not, once it was read.
    fn answer(&mut self) {
        let now = self.clock.now();
        let drainers: BTreeSet<WorkerId> = self.fleet.observer.drainers().map(|row| row.id.clone()).collect();
        // A flag that is new is waited for, though an older row was read before.
        let flags = drainers.difference(&self.flags_seen).next().is_some();
        self.flags_seen = drainers;
        let saw = self.board.saw(self.fleet.observer.others(), now);
        let news = self.vitals.say(|says| {
            let news = saw.keys().any(|id| !says.saw.contains_key(id)) || flags;
            says.saw = saw;
            news
        });
        if news {
            self.say_news();
        }
    }

    /// Finds out which pipelines this worker takes care of.
    fn keep_posts(&mut self) {
        let now = self.clock.now();
        for (name, pipeline) in &mut self.pipelines {
            let others = self
                .fleet
                .observer
                .others()
                .filter(|row| !row.draining && row.held.contains_key(name));
            let mut runners: BTreeMap<&WorkerId, u64> = others
                .map(|row| (&row.id, row.rounds.get(name).copied().unwrap_or(0)))
                .collect();
            runners.insert(&self.fleet.me, pipeline.rounds);
            let was_mine = self.duty.holder(name) == Some(&self.fleet.me);
            let interval = pipeline.consumer.config.source.sync_interval;
            self.duty.watch(name, &runners, interval * MISSED_ROUNDS, now);
            let is_mine = self.duty.holder(name) == Some(&self.fleet.me);
            if is_mine && !was_mine {
                debug!(pipeline = %name, "this worker takes care of the pipeline");
                pipeline.round_due = now.max(self.schedule.joined + super::JOIN_WAIT);
                self.schedule.scan_by(pipeline.round_due);
            } else if was_mine && !is_mine {
                self.vitals.say(|says| says.totals.remove(name));
            }
        }
    }

    pub(super) fn is_caretaker(&self, pipeline: &str) -> bool {
        self.duty.holder(pipeline) == Some(&self.fleet.me)
    }

    /// Whether this worker does what is to be done once in the whole fleet.
    pub(super) fn is_first(&self) -> bool {
        let mut others = self.fleet.observer.others().filter(|row| !row.draining);
        others.all(|row| self.fleet.me < row.id)
    }

    /// The shares of those who can take leases, this worker among them unless it is leaving.
    pub(super) fn shares(&self, with_me: bool) -> Shares {
        let mut mine = self.held();
        let given = self.running.values().filter_map(|r| match &r.leaving {
            Some(Successor::Worker(to)) => Some((&r.pipeline, to)),
            Some(Successor::Nobody) | None => None,
        });
        for (pipeline, _) in given.clone() {
            if let Some(held) = mine.get_mut(pipeline) {
                *held = held.saturating_sub(1);
            }
        }
        let age = self.fresh_age();
        let others = self
            .fleet
            .observer
            .others()
            .filter(|row| !row.draining && self.fleet.observer.is_fresh(&row.id, age))
            .map(|row| (&row.id, &row.held));
        let mut shares = Shares::of(others.chain(with_me.then_some((&self.fleet.me, &mine))));
        for (pipeline, to) in given {
            shares.add(pipeline, to);
        }
        for (lease, to) in self
            .board
            .on_the_way(self.fleet.observer.rows(), self.clock.now())
        {
            if let Some(pipeline) = self.settings.keys.pipeline_in(lease) {
                shares.add(pipeline, to);
            }
        }
        for (name, _) in self.pipelines.iter().filter(|(_, p)| p.paused) {
            shares = shares.without(name);
        }
        shares
    }

    /// Gives up what exceeds this worker's share, to those who have less. Not while somebody drains: its
    /// leases come first. `true`: others should do so, and leases are about to come here.
    fn balance(&mut self) -> bool {
        let now = self.clock.now();
        let age = self.fresh_age();
        let observer = &self.fleet.observer;
        let calm =
            observer.drainers().next().is_none() && observer.others().all(|r| observer.is_fresh(&r.id, age));
        if !calm {
            return false;
        }
        let mut moves = self.shares(true).moves();
        let receives = moves.iter().any(|m| m.to == self.fleet.me);
        if now < self.schedule.may_give {
            return receives;
        }
        moves.retain(|m| m.from == self.fleet.me);
        if moves.is_empty() {
            self.schedule.uneven_since = None;
            return receives;
        }
        // Who has just joined reads the rows often. Others are given the time to see that they will get some,
        // so that no shard waits for a reader.
        let since = *self.schedule.uneven_since.get_or_insert(now);
        let attentive = |id: &WorkerId| {
            observer
                .first_seen(id)
                .is_some_and(|at| now.since(at) < JOIN_ALERT - self.times.watch)
        };
        if now.since(since) < self.times.watch.mul_f64(1.2) && !moves.iter().all(|m| attentive(&m.to)) {
            return receives;
        }
        let mut given = 0;
        for one in moves.into_iter().take(MOST_GIVEN) {
            let found = self
                .running
                .iter()
                .find(|(_, r)| r.pipeline == one.pipeline && r.leaving.is_none());
            let Some((key, _)) = found else { continue };
            let key = key.clone();
            info!(lease = %key, to = %one.to, "handing the lease over, for the balance of the fleet");
            self.give_up(&key, Successor::Worker(one.to));
            given += 1;
        }
        self.schedule.uneven_since = None;
        if given > 0 {
            // Until the rows tell of it.
            self.schedule.may_give = now + self.times.heartbeat * 2;
        }
        receives
    }

    /// Rule 10: leases that nobody has held for a while, and that this worker should take, make it look for
    /// them. `true` while there are any.
    fn mind_the_unheld(&mut self) -> bool {
        let now = self.clock.now();
        let mut shares = self.shares(true);
        let mine = self.held();
        let patience = self.times.heartbeat.mul_f64(UNHELD_PATIENCE);
        let on_the_way: Vec<&LeaseKey> = self
            .board
            .on_the_way(self.fleet.observer.rows(), now)
            .map(|(lease, _)| lease)
            .collect();
        let mut below = false;
        for (name, pipeline) in &mut self.pipelines {
            let holder = self.duty.holder(name);
            let total = match holder {
                Some(id) if *id == self.fleet.me => self.vitals.say(|says| says.totals.get(name).copied()),
                Some(id) => self
                    .fleet
                    .observer
                    .rows()
                    .get(id)
                    .and_then(|row| row.totals.get(name).copied()),
                None => None,
            };
            let others: u64 = self
                .fleet
                .observer
                .others()
                .filter_map(|row| row.held.get(name))
                .sum();
            let coming = on_the_way
                .iter()
                .filter(|key| self.settings.keys.pipeline_in(key) == Some(name))
                .count();
            let known = others + mine.get(name).copied().unwrap_or(0) + coming as u64;
            let free = total.unwrap_or(0).saturating_sub(known).min(1_000);
            let given = |_: &u64| shares.give(name).as_ref() == Some(&self.fleet.me);
            let given = match pipeline.paused {
                true => 0,
                false => (0..free).filter(given).count() as u64,
            };
            pipeline.wanted = match (pipeline.paused, total) {
                (true, _) => Some(0),
                (false, Some(_)) => Some(mine.get(name).copied().unwrap_or(0) + given),
                (false, None) => None,
            };
            if given == 0 {
                pipeline.unheld = None;
                continue;
            }
            below = true;
            let unheld = pipeline.unheld.get_or_insert(Unheld { since: now, looks: 0 });
            if now.since(unheld.since) >= patience * (1 << unheld.looks) {
                *unheld = Unheld {
                    since: now,
                    looks: (unheld.looks + 1).min(MOST_DOUBLINGS),
                };
                debug!(pipeline = %name, free, "leases that nobody holds: looking for them");
                self.schedule
                    .scan_by(now + patience.mul_f64(0.2 * self.rng.f64()));
            }
        }
        // What is to move counts for who it is to go to.
        for one in shares.moves() {
            if let Some(wanted) = self
                .pipelines
                .get_mut(&one.pipeline)
                .and_then(|p| p.wanted.as_mut())
            {
                match self.fleet.me {
                    ref me if one.to == *me => *wanted += 1,
                    ref me if one.from == *me => *wanted = wanted.saturating_sub(1),
                    _ => {}
                }
            }
        }
        below
    }
}
