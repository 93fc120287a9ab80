//! Time, as the rest of Weir sees it.
//!
//! Owns the two clocks (one for durations, one for the calendar) and the only sleep. Must never be
//! bypassed: domain code that asks the system for the time can't be simulated. Everyone calls it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;

/// A point on the calendar in milliseconds since the Unix epoch (UTC), the unit of a log event's timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    pub const fn millis(self) -> i64 {
        self.0
    }

    /// The start of the second this point lies in.
    pub const fn floor_second(self) -> Self {
        Self(self.0.div_euclid(1000) * 1000)
    }

    /// The time from `earlier` until this point; zero if it lies before.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0).max(0) as u64)
    }

    pub fn plus(self, d: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(d.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    pub fn minus(self, d: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(d.as_millis()).unwrap_or(i64::MAX)),
        )
    }
}

impl std::fmt::Display for Timestamp {
    /// RFC 3339 in UTC, with milliseconds.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(t) => write!(f, "{t:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

/// A point on a clock that only goes forward and counts the time the machine was suspended.
///
/// Comparable within one process alone: the protocol never compares clocks across machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Monotonic(Duration);

impl Monotonic {
    pub const fn from_origin(since_origin: Duration) -> Self {
        Self(since_origin)
    }

    pub const fn since_origin(self) -> Duration {
        self.0
    }

    /// The time from `earlier` until this point; zero if it lies before.
    pub fn since(self, earlier: Monotonic) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::ops::Add<Duration> for Monotonic {
    type Output = Monotonic;
    fn add(self, d: Duration) -> Monotonic {
        Monotonic(self.0.saturating_add(d))
    }
}

/// The clocks of one process. The simulation has its own, with drift and pauses.
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// Never goes back; counts suspension.
    fn now(&self) -> Monotonic;
    /// The calendar. Used for stamps and log lines, never for an ownership decision.
    fn wall(&self) -> Timestamp;
    /// Returns after at least `d`.
    async fn sleep(&self, d: Duration);
}

/// The operating system's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Monotonic {
        // CLOCK_BOOTTIME, unlike CLOCK_MONOTONIC, goes on while the machine is suspended
        // (clock_gettime(2)): a fence must expire during a suspension.
        let t = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Monotonic(Duration::new(
            u64::try_from(t.tv_sec).unwrap_or(0),
            u32::try_from(t.tv_nsec).unwrap_or(0),
        ))
    }

    fn wall(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the calendar")]
        let now = SystemTime::now();
        // A clock set before 1970 gives 0 rather than a panic.
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    async fn sleep(&self, d: Duration) {
        #[expect(clippy::disallowed_methods, reason = "the one place that sleeps")]
        tokio::time::sleep(d).await;
    }
}

/// When a loop last came round: a mark that it lives, for whoever watches it. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<AtomicU64>);

impl Progress {
    pub fn mark(&self, now: Monotonic) {
        // Zero is kept for "never"; 584 years fit.
        let nanos = u64::try_from(now.0.as_nanos()).unwrap_or(u64::MAX).max(1);
        self.0.store(nanos, Ordering::Relaxed);
    }

    /// `None` before the first mark.
    pub fn last(&self) -> Option<Monotonic> {
        let nanos = self.0.load(Ordering::Relaxed);
        (nanos > 0).then(|| Monotonic(Duration::from_nanos(nanos)))
    }

    /// Whether the last mark is more than `limit` ago. Not before the first.
    pub fn is_stuck(&self, now: Monotonic, limit: Duration) -> bool {
        self.last().is_some_and(|last| now.since(last) > limit)
    }
}

/// A future did not finish in the time it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

/// Runs `work` for `limit` at most, by `clock`. On `Elapsed` the work has been dropped: whatever it
/// had asked of a service may still happen.
pub async fn timeout<T>(
    clock: &dyn Clock,
    limit: Duration,
    work: impl Future<Output = T>,
) -> Result<T, Elapsed> {
    // Cancel-safe by meaning: the loser of the race is dropped for good.
    tokio::select! {
        biased;
        done = work => Ok(done),
        () = clock.sleep(limit) => Err(Elapsed),
    }
}
