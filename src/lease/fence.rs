//! Until when this worker may act.
//!
//! Owns the deadline of protocol rule 2. Checked before every act (read, put, checkpoint), not only by a
//! timer: a process that was suspended finds the deadline passed at its next act.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::{Clock, Monotonic};

/// This worker may not act any more; another may have taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("fenced: no heartbeat was written in time")]
pub struct Fenced;

/// The deadline of one worker id. Clones share it.
#[derive(Clone)]
pub struct Fence {
    clock: Arc<dyn Clock>,
    length: Duration,
    /// Nanoseconds since the clock's origin; zero once fenced, which is for ever.
    deadline: Arc<AtomicU64>,
}

impl std::fmt::Debug for Fence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fence")
            .field("remaining", &self.remaining())
            .finish()
    }
}

impl Fence {
    /// Open for `length` from `since`: the start of the request that wrote the worker's first row.
    pub fn new(clock: Arc<dyn Clock>, length: Duration, since: Monotonic) -> Self {
        let deadline = Arc::new(AtomicU64::new(nanos(since + length)));
        Self {
            clock,
            length,
            deadline,
        }
    }

    /// The time left to act.
    pub fn remaining(&self) -> Result<Duration, Fenced> {
        let deadline = self.deadline.load(Ordering::Acquire);
        let now = nanos(self.clock.now());
        if now >= deadline {
            Err(Fenced)
        } else {
            Ok(Duration::from_nanos(deadline - now))
        }
    }

    /// `Ok` while this worker may act.
    pub fn check(&self) -> Result<(), Fenced> {
        self.remaining().map(|_| ())
    }

    /// A heartbeat whose request started at `started` was answered. Moves the deadline to `started` + F.
    /// An answer handled at or after the old deadline fences; it never extends (rule 2).
    pub fn extend(&self, started: Monotonic) -> Result<(), Fenced> {
        if self.check().is_err() {
            self.close();
            return Err(Fenced);
        }
        self.deadline
            .fetch_max(nanos(started + self.length), Ordering::AcqRel);
        Ok(())
    }

    /// Fences now and for ever.
    pub fn close(&self) {
        self.deadline.store(0, Ordering::Release);
    }

    /// Returns once fenced. Cancel-safe. A convenience beside [`Self::check`], never instead of it.
    pub async fn expired(&self) {
        while let Ok(left) = self.remaining() {
            self.clock.sleep(left).await;
        }
    }
}

/// 584 years fit.
fn nanos(t: Monotonic) -> u64 {
    u64::try_from(t.since_origin().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;
    use crate::clock::Timestamp;

    /// A clock that a test sets by hand.
    #[derive(Default)]
    pub(crate) struct HandClock(Mutex<Duration>);

    impl HandClock {
        pub(crate) fn set(&self, millis: u64) {
            *self.0.lock().unwrap() = Duration::from_millis(millis);
        }
    }

    #[async_trait]
    impl Clock for HandClock {
        fn now(&self) -> Monotonic {
            Monotonic::from_origin(*self.0.lock().unwrap())
        }
        fn wall(&self) -> Timestamp {
            Timestamp::from_millis(0)
        }
        async fn sleep(&self, _: Duration) {
            std::future::pending().await
        }
    }

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_millis(millis))
    }

    #[test]
    fn the_deadline_counts_from_the_start_of_the_request() {
        let clock = Arc::new(HandClock::default());
        let fence = Fence::new(clock.clone(), Duration::from_secs(8), at(0));
        clock.set(4_000);
        assert_eq!(fence.extend(at(3_300)), Ok(()));
        assert_eq!(fence.remaining(), Ok(Duration::from_millis(7_300)));
        clock.set(11_299);
        assert_eq!(fence.check(), Ok(()));
        clock.set(11_300);
        assert_eq!(fence.check(), Err(Fenced));
    }

    #[test]
    fn a_late_heartbeat_reply_fences_and_never_extends() {
        let clock = Arc::new(HandClock::default());
        let fence = Fence::new(clock.clone(), Duration::from_secs(8), at(0));
        clock.set(8_000);
        assert_eq!(fence.extend(at(7_900)), Err(Fenced));
        clock.set(7_950);
        assert_eq!(fence.check(), Err(Fenced), "for ever");
    }
}
