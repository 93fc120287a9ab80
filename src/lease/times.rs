//! The protocol's times, all from one setting, and what they ask of the time of a drain.
//!
//! Pure. Used by who keeps them, and by who judges settings before anybody works.

use std::time::Duration;

use super::TAKEOVER;

/// The part of a drain's time that the coordinator may wait for a successor before it asks a consumer to stop.
pub const SUCCESSOR_SHARE: f64 = 0.25;
/// A successor has seen the flag after 1.1 reads of the rows and this much at the latest, or is not waited for.
const ANSWER: Duration = Duration::from_millis(700);

/// The protocol's times, all from one setting (rule 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Between two heartbeats, ± 10 %.
    pub heartbeat: Duration,
    /// Between two reads of the worker rows in calm, ± 10 %. Below a heartbeat, because a drain waits for it.
    pub watch: Duration,
    /// From the start of the last heartbeat until the worker fences itself.
    pub fence: Duration,
    /// From the sight of a heartbeat until others may call its worker dead. Above `fence`.
    pub takeover: Duration,
    /// A request to the tables.
    pub request: Duration,
}

impl Times {
    /// 10 s give 3.3, 2.5, 8, 8.5 and 1 s.
    pub fn of(lease_duration: Duration) -> Self {
        Self {
            heartbeat: lease_duration.mul_f64(0.33),
            watch: lease_duration.mul_f64(0.25),
            fence: lease_duration.mul_f64(0.8),
            takeover: lease_duration.mul_f64(TAKEOVER),
            request: lease_duration.mul_f64(0.2).min(Duration::from_secs(1)),
        }
    }

    /// How long after the start of a drain every successor has seen it.
    pub fn successors_see(self) -> Duration {
        // The reads of the rows are that far apart at most, for their jitter.
        self.watch.mul_f64(1.1) + ANSWER
    }
}

/// The least `drain.timeout` that waits for every successor: of a shorter one [`SUCCESSOR_SHARE`], the part that may be
/// spent on it, ends before the slowest has read the rows. Its shards are given up all the same, and its notes may be
/// gone with its row before they are read: then a shard stands still until somebody looks for free leases.
///
/// 1.1 · L + 2.8 s for a lease of L, whole milliseconds: 13.8 s for 10 s.
pub fn least_drain(lease_duration: Duration) -> Duration {
    let least = Times::of(lease_duration)
        .successors_see()
        .div_f64(SUCCESSOR_SHARE);
    Duration::from_millis((least.as_secs_f64() * 1e3).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_drain_waits_for_every_successor() {
        for (lease, least) in [
            (3, 6_100),
            (10, 13_800),
            (20, 24_800),
            (60, 68_800),
            (300, 332_800),
        ] {
            let lease = Duration::from_secs(lease);
            let drain = least_drain(lease);
            assert_eq!(drain, Duration::from_millis(least), "{lease:?}");
            // What the drain does with it.
            let share = drain.mul_f64(SUCCESSOR_SHARE);
            assert!(
                share + Duration::from_millis(1) > Times::of(lease).successors_see(),
                "{lease:?}"
            );
        }
    }
}
