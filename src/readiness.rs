//! Whether this process is ready, and what is wrong with it.
//!
//! Owns the latches that parts open when they are ready, and the notes of what a person should fix.
//! Holding no lease is ready; a bad destination is told but stays ready, so that an outage of the logs
//! restarts no fleet. `http` reads it, everyone else writes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::clock::Progress;

/// What must have happened once before the process is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Latch {
    /// The state tables exist and have the right shape.
    Tables,
    /// This worker's row was written.
    Heartbeat,
    /// The leases were read and the first plan was made.
    Plan,
}

const ALL: [Latch; 3] = [Latch::Tables, Latch::Heartbeat, Latch::Plan];

/// Where a process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It was never ready yet.
    Starting,
    Ready,
    /// It was ready, then fenced itself, and joins the fleet anew.
    Rejoining,
    /// It was asked to end.
    Draining,
}

/// The answer of `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    pub ready: bool,
    pub phase: Phase,
    /// It has been ready once: `/startupz` says 200.
    pub has_started: bool,
    pub draining: bool,
    /// Latches still closed.
    pub waiting_for: Vec<Latch>,
    /// What a person should fix, by the part it concerns. Does not make the process unready.
    pub problems: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
struct State {
    open: Vec<Latch>,
    started: bool,
    draining: bool,
    problems: BTreeMap<String, String>,
}

/// The shared state. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    state: Arc<Mutex<State>>,
    coordinator: Progress,
}

impl Readiness {
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one step, so a poisoned state is still a whole one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn open(&self, latch: Latch) {
        let mut state = self.state();
        if !state.open.contains(&latch) {
            state.open.push(latch);
        }
        state.started |= ALL.iter().all(|latch| state.open.contains(latch));
    }

    /// A fenced worker is not ready until it has joined anew.
    pub fn close(&self, latch: Latch) {
        self.state().open.retain(|l| *l != latch);
    }

    /// When the coordinator last came round: what `/livez` judges by.
    pub fn coordinator(&self) -> &Progress {
        &self.coordinator
    }

    pub fn drain(&self) {
        self.state().draining = true;
    }

    /// Notes what a person should fix. `true` if it is news.
    pub fn problem(&self, part: &str, what: impl Into<String>) -> bool {
        let what = what.into();
        let before = self.state().problems.insert(part.to_owned(), what.clone());
        before.as_ref() != Some(&what)
    }

    /// A new start: what was wrong may be another worker's now.
    pub fn forget_problems(&self) {
        self.state().problems.clear();
    }

    pub fn solved(&self, part: &str) {
        self.state().problems.remove(part);
    }

    /// The first of the parts that are `asked` for and have a problem, and what is wrong with it.
    pub fn first_problem(&self, asked: impl Fn(&str) -> bool) -> Option<(String, String)> {
        let state = self.state();
        let mut problems = state.problems.iter();
        let (part, what) = problems.find(|(part, _)| asked(part))?;
        Some((part.clone(), what.clone()))
    }

    pub fn report(&self) -> Report {
        let state = self.state();
        let waiting_for: Vec<Latch> = ALL.into_iter().filter(|l| !state.open.contains(l)).collect();
        let phase = match (state.draining, waiting_for.is_empty(), state.started) {
            (true, _, _) => Phase::Draining,
            (false, true, _) => Phase::Ready,
            (false, false, true) => Phase::Rejoining,
            (false, false, false) => Phase::Starting,
        };
        Report {
            ready: phase == Phase::Ready,
            phase,
            has_started: state.started,
            draining: state.draining,
            waiting_for,
            problems: state.problems.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_needs_every_latch_and_no_drain_but_not_the_absence_of_problems() {
        let readiness = Readiness::new();
        readiness.problem("orders", "access denied");
        for latch in ALL {
            assert!(!readiness.report().ready);
            readiness.open(latch);
        }
        assert!(readiness.report().ready);
        assert_eq!(readiness.report().problems["orders"], "access denied");
        let orders = ("orders".to_owned(), "access denied".to_owned());
        assert_eq!(readiness.first_problem(|part| part == "orders"), Some(orders));
        assert_eq!(readiness.first_problem(|part| part == "audit"), None);
        readiness.drain();
        assert!(!readiness.report().ready);
    }
    #[test]
    fn a_start_is_not_a_fence_and_stays_begun() {
        let readiness = Readiness::new();
        let told = || {
            let report = readiness.report();
            (report.phase, report.has_started)
        };
        readiness.open(Latch::Tables);
        readiness.open(Latch::Heartbeat);
        assert_eq!(told(), (Phase::Starting, false));
        readiness.open(Latch::Plan);
        assert_eq!(told(), (Phase::Ready, true));
        readiness.close(Latch::Heartbeat);
        readiness.close(Latch::Plan);
        assert_eq!(told(), (Phase::Rejoining, true));
        readiness.open(Latch::Heartbeat);
        readiness.open(Latch::Plan);
        assert_eq!(told(), (Phase::Ready, true));
        readiness.drain();
        assert_eq!(told(), (Phase::Draining, true));
    }
}
