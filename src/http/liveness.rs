//! Whether this process makes progress: what `/livez` answers from.
//!
//! Owns the judgement, which is pure. A restart cures a runtime whose every thread is blocked, and a coordinator that
//! hangs; it cures no service that doesn't answer, so nothing here asks one. A task that dies ends the process, and a
//! shard's task that hangs is ended by the coordinator: neither needs a probe.

use std::time::Duration;

use crate::clock::{Monotonic, Progress};

/// What must move must move within this time, in which this process was awake. The coordinator comes round each
/// second; a request to the tables ends after one, a scan after ten. The runtime's ticker ticks each second.
pub(super) const STUCK_AFTER: Duration = Duration::from_secs(60);
/// How often the marks are looked at.
pub(super) const LOOK: Duration = Duration::from_secs(1);
/// Between two looks no more than this counts. Whoever looks later was itself not running: stopped, suspended with
/// the machine, or without a processor. So were those that it looks at, and they get their time after that.
const MOST_BETWEEN_LOOKS: Duration = Duration::from_secs(2);

/// How long a mark has stood still.
#[derive(Clone, Copy, Debug, Default)]
struct Watch {
    mark: Option<Monotonic>,
    still: Duration,
}

impl Watch {
    /// What has never moved yet doesn't stand still: it is not there.
    fn look(&mut self, mark: Option<Monotonic>, passed: Duration) {
        if mark.is_none() || mark != self.mark {
            *self = Self {
                mark,
                still: Duration::ZERO,
            };
        } else {
            self.still += passed;
        }
    }
}

/// The marks that are watched.
#[derive(Clone, Debug)]
pub(super) struct Liveness {
    last: Monotonic,
    coordinator: (Progress, Watch),
    runtime: (Progress, Watch),
}

impl Liveness {
    /// `runtime` is marked each second by a task of the runtime that everything else runs on.
    pub(super) fn of(coordinator: Progress, runtime: Progress, now: Monotonic) -> Self {
        Self {
            last: now,
            coordinator: (coordinator, Watch::default()),
            runtime: (runtime, Watch::default()),
        }
    }

    /// To be called about each [`LOOK`].
    pub(super) fn look(&mut self, now: Monotonic) {
        let passed = now.since(self.last).min(MOST_BETWEEN_LOOKS);
        self.last = now;
        for (progress, watch) in [&mut self.coordinator, &mut self.runtime] {
            watch.look(progress.last(), passed);
        }
    }

    /// What is stuck, as of the last look; `None`: nothing is.
    pub(super) fn stuck(&self) -> Option<String> {
        let told = |what: &str, still: Duration| {
            let still = still.as_secs();
            format!("{what} has made no progress for {still} s: only a restart helps")
        };
        if self.runtime.1.still > STUCK_AFTER {
            Some(told("the runtime", self.runtime.1.still))
        } else if self.coordinator.1.still > STUCK_AFTER {
            Some(told("the coordinator", self.coordinator.1.still))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_secs(seconds))
    }

    /// What is said after looks at these seconds, if the marks were set at those.
    fn after(looks: impl IntoIterator<Item = u64>, coordinator: &[u64], runtime: &[u64]) -> Option<String> {
        let marks = [Progress::default(), Progress::default()];
        let mut liveness = Liveness::of(marks[0].clone(), marks[1].clone(), at(1));
        for look in looks {
            for (progress, times) in marks.iter().zip([coordinator, runtime]) {
                if let Some(last) = times.iter().rfind(|time| **time <= look) {
                    progress.mark(at(*last));
                }
            }
            liveness.look(at(look));
        }
        liveness.stuck()
    }

    #[test]
    fn what_stands_still_for_a_minute_is_stuck() {
        let always: Vec<u64> = (1..200).collect();
        assert_eq!(after(1..200, &always, &always), None);
        // Before its first mark the coordinator waits for the tables, however long that takes.
        assert_eq!(after(1..200, &[], &always), None);
        assert_eq!(after(1..=61, &[1], &always), None);
        let told = after(1..=62, &[1], &always).unwrap();
        assert!(
            told.starts_with("the coordinator has made no progress for 61 s"),
            "{told}"
        );
        let told = after(1..200, &always, &[1, 2, 3]).unwrap();
        assert!(
            told.starts_with("the runtime has made no progress for 196 s"),
            "{told}"
        );
        // Who moves again is well again.
        assert_eq!(after(1..=162, &[1, 162], &always), None);
    }

    #[test]
    fn a_suspension_is_not_a_standstill() {
        // Asleep for an hour, then looked at before anybody else has run.
        assert_eq!(after((1..30).chain([3_600]), &[1, 29], &[1, 29]), None);
        assert_eq!(after((1..30).chain(3_600..3_650), &[1, 29], &[1, 29]), None);
        // But who stands still after it is stuck, a minute later.
        assert!(after((1..30).chain(3_600..3_670), &[1, 29], &[1, 29]).is_some());
        // A machine that gives this process a moment each ten seconds is slow, not stuck.
        assert_eq!(after((1..250).step_by(10), &[1], &[1]), None);
    }
}
