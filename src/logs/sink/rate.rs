//! The share of PutLogEvents' quota that this worker may use.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Monotonic;
use crate::logs::pace::Pace;

/// How many workers of the fleet live, this one among them. Clones share it.
#[derive(Clone, Debug)]
pub struct LiveWorkers(Arc<AtomicUsize>);

impl Default for LiveWorkers {
    /// This one alone.
    fn default() -> Self {
        Self(Arc::new(AtomicUsize::new(1)))
    }
}

impl LiveWorkers {
    pub fn set(&self, count: usize) {
        self.0.store(count.max(1), Ordering::Relaxed);
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// The puts of one account and region. Clones share it: each pipeline that writes there has one.
#[derive(Clone, Debug)]
pub struct PutRate {
    pace: Arc<Mutex<Pace>>,
    /// Of the whole fleet.
    per_second: u32,
    workers: LiveWorkers,
}

impl PutRate {
    /// At most `per_second` puts over all workers.
    pub fn new(per_second: u32, workers: LiveWorkers) -> Self {
        Self {
            pace: Arc::default(),
            per_second: per_second.max(1),
            workers,
        }
    }

    /// Books the next put; tells when it may go.
    pub(super) fn book(&self, now: Monotonic) -> Monotonic {
        let workers = u32::try_from(self.workers.get()).unwrap_or(u32::MAX);
        let share = f64::from(self.per_second) / f64::from(workers);
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        pace.book(now, share)
    }
}
