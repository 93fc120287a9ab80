//! How a worker leaves: each shard is read until its successor waits for it, then handed over by a note.
//!
//! Protocol rule 12. A drain always ends: it waits for a successor, for what is in flight and for the notes
//! to be read, each for a bounded time.

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::{info, warn};

use super::takes::Wanted;
use super::{Died, Life, Running, Successor, TICK};
use crate::clock::{Monotonic, timeout};
use crate::consumer::End;
use crate::lease::times::SUCCESSOR_SHARE;
use crate::lease::{LeaseKey, Note, WorkerId};

/// The worker rows are read this often while successors are awaited.
const LOOK: Duration = Duration::from_millis(300);
/// The notes stay for so long after the last was written, unless all are read before.
const NOTES_STAY: Duration = Duration::from_millis(2_000);

/// So long after the drain's limit its last words may take: the notes, what is uncertain, and the row's removal, two
/// requests. Whatever they don't come to is found by others: as a dead worker's row, and as its leases.
pub const FAREWELL: Duration = Duration::from_millis(3_000);

/// Who shall have which lease.
type Heirs = BTreeMap<LeaseKey, WorkerId>;

impl Life {
    /// Hands everything over and leaves. Bounded: a consumer's own limit, then this worker's, then [`FAREWELL`].
    pub(super) async fn drain(&mut self) -> Result<(), Died> {
        info!(
            leases = self.running.len(),
            "draining: handing over what is read here"
        );
        self.readiness.drain();
        self.pass_on_unclaimed();
        self.vitals.say(|says| {
            says.draining = true;
            says.totals.clear();
        });
        self.say_news();
        let clock = self.clock.clone();
        let fence = self.leases.fence().clone();
        let until = clock.now() + self.settings.drain_timeout;
        // Not so long that the consumers, asked after that, have no time left.
        let wait = self
            .times
            .successors_see()
            .min(self.settings.drain_timeout.mul_f64(SUCCESSOR_SHARE));
        let answered_by = clock.now() + wait;
        let mut heirs: Option<(Vec<WorkerId>, Heirs)> = None;
        let mut flagged = None;
        let mut look = clock.now();
        let mut repeats = false;
        while !(self.consumers.is_empty() && self.takes.tasks.is_empty()) && clock.now() < until {
            self.vitals.coordinator.mark(clock.now());
            if fence.check().is_err() {
                return Err(Died::DrainIncomplete);
            }
            if clock.now() >= look {
                // Without an answer the last rows count.
                let _ = timeout(&*clock, until.since(clock.now()), self.fleet.scan_workers()).await;
                self.tell_fleet();
                self.pass_on_notes();
                let mine = self.fleet.observer.rows().get(&self.fleet.me);
                flagged = flagged.or(mine.filter(|row| row.draining).map(|row| row.heartbeat));
                self.hand_over(&mut heirs, flagged, answered_by);
                look = clock.now() + LOOK;
            }
            self.say_what_is_held();
            let next = look.min(until).since(clock.now()).min(TICK);
            // As in `live`.
            tokio::select! {
                biased;
                () = fence.expired() => {}
                Some(ended) = self.consumers.join_next_with_id() => {
                    if let Ok((_, (_, end))) = &ended {
                        repeats |= !matches!(end, End::ShardEnd { .. } | End::Released { drained: true, .. });
                    }
                    self.consumer_ended(ended)?;
                    self.pass_on_unclaimed();
                }
                Some(taken) = self.takes.tasks.join_next() => {
                    self.taken(taken)?;
                    self.pass_on_unclaimed();
                    look = clock.now();
                }
                Some(service) = self.services.join_next_with_id() => self.service_ended(service, true)?,
                () = clock.sleep(next) => {}
            }
        }
        if self.consumers.is_empty() && self.takes.tasks.is_empty() {
            let left = (until + FAREWELL).since(clock.now());
            // May be given up at any point: each step leaves the rest to others.
            if timeout(&*clock, left, self.say_farewell()).await.is_err() {
                warn!("the worker's row was not removed in time: it is evicted as a dead worker's");
            }
        } else {
            warn!(
                leases = self.running.len(),
                "the drain hit its limit; these leases are taken over as a dead worker's"
            );
            repeats = true;
        }
        if repeats {
            return Err(Died::DrainIncomplete);
        }
        info!("drained");
        Ok(())
    }

    /// The notes are read, or were there for long enough; then nothing of this worker is left in the tables.
    async fn say_farewell(&mut self) {
        self.wait_for_the_notes().await;
        self.disown_uncertain().await;
        // With its row gone, what it may still own would be a stranger's, who is watched for longer.
        if !self.takes.leaves_uncertain() {
            self.fleet.leave().await;
        }
    }

    /// What this worker was to take, and won't, is for others.
    fn pass_on_unclaimed(&mut self) {
        let now = self.clock.now();
        let mut news = false;
        for one in self.takes.forget_all() {
            if let Some(to) = self.shares(false).give(&one.pipeline) {
                let note = Note {
                    lease: one.lease,
                    owner: one.owner,
                    counter: one.counter,
                    to,
                };
                news |= self.board.post(note, now);
            }
        }
        if news {
            self.say_news();
        }
    }

    /// Notes to this worker by those who did not know yet that it leaves.
    fn pass_on_notes(&mut self) {
        for note in self.board.read(self.fleet.observer.rows(), self.clock.now()) {
            let pipeline = self.settings.keys.pipeline_in(&note.lease).map(str::to_owned);
            if let Some(pipeline) = pipeline.filter(|p| self.pipelines.contains_key(p)) {
                self.want(Wanted::noted(note, pipeline));
            }
        }
        self.pass_on_unclaimed();
    }

    /// Asks the shards' tasks to stop: those whose successor waits for them, and after a while all.
    /// `flagged`: the heartbeat by which the flag was first seen in this worker's own row.
    fn hand_over(
        &mut self,
        heirs: &mut Option<(Vec<WorkerId>, Heirs)>,
        flagged: Option<u64>,
        answered_by: Monotonic,
    ) {
        let age = self.fresh_age();
        let observer = &self.fleet.observer;
        let live: Vec<WorkerId> = observer
            .others()
            .filter(|row| !row.draining && observer.is_fresh(&row.id, age))
            .map(|row| row.id.clone())
            .collect();
        // Fixed once per live set, so that a successor that was promised a lease gets it.
        let before = heirs.take().filter(|(of, _)| *of == live);
        let assigned = self.assign(before.map(|(_, assigned)| assigned).unwrap_or_default());
        let late = self.clock.now() >= answered_by;
        let keys: Vec<LeaseKey> = self.running.keys().cloned().collect();
        for key in keys {
            match assigned.get(&key) {
                // Nobody runs the pipeline: whoever comes finds the lease free.
                None => self.give_up(&key, Successor::Nobody),
                Some(heir) => {
                    let rows = self.fleet.observer.rows();
                    let saw = rows.get(heir).and_then(|row| row.saw.get(&self.fleet.me));
                    if late || saw.is_some_and(|beat| flagged.is_some_and(|flagged| *beat >= flagged)) {
                        self.give_up(&key, Successor::Worker(heir.clone()));
                    }
                }
            }
        }
        *heirs = Some((live, assigned));
    }

    /// An heir for each lease. Other drainers' leases are counted in by their order, so that two drainers do
    /// not choose the same heirs.
    /// `assigned`: those that have one, who keep it.
    fn assign(&self, mut assigned: Heirs) -> Heirs {
        let is_new =
            |key: &LeaseKey, running: &Running| running.leaving.is_none() && !assigned.contains_key(key);
        if !self.running.iter().any(|(key, running)| is_new(key, running)) {
            return assigned;
        }
        let mut shares = self.shares(false);
        for (key, heir) in &assigned {
            if let Some(running) = self.running.get(key).filter(|r| r.leaving.is_none()) {
                shares.add(&running.pipeline, heir);
            }
        }
        let before = self
            .fleet
            .observer
            .drainers()
            .filter(|row| row.id < self.fleet.me);
        for (pipeline, held) in before.flat_map(|row| &row.held) {
            for _ in 0..*held {
                let _ = shares.give(pipeline);
            }
        }
        let staying = self.running.iter().filter(|(key, running)| is_new(key, running));
        let new: Heirs = staying
            .filter_map(|(key, running)| Some((key.clone(), shares.give(&running.pipeline)?)))
            .collect();
        assigned.extend(new);
        assigned
    }

    /// The row holds the notes: it must stand until they are read.
    async fn wait_for_the_notes(&mut self) {
        let clock = self.clock.clone();
        let fence = self.leases.fence().clone();
        self.say_what_is_held();
        if self.board.shown(clock.now()).is_empty() {
            return;
        }
        let until = clock.now() + NOTES_STAY;
        while clock.now() < until && fence.check().is_ok() {
            self.vitals.coordinator.mark(clock.now());
            // Without an answer the last rows count.
            let _ = self.fleet.scan_workers().await;
            self.pass_on_notes();
            if self
                .board
                .on_the_way(self.fleet.observer.rows(), clock.now())
                .next()
                .is_none()
            {
                return;
            }
            clock.sleep(LOOK.min(until.since(clock.now()))).await;
        }
    }
}
