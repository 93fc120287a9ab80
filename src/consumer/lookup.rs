//! The look-up at a take-over: which of the records to come a dead worker has delivered already.
//!
//! Owns the reading of the destination's newest events, bounded in time, requests and memory, and for how
//! long the records are compared with them. Best effort: what goes wrong here costs repeats and never a
//! record. What counts as found is decided in [`crate::logs::lookup`]; a record that is found goes through
//! the ledger like any other, so that no position jumps.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tracing::{debug, info, warn};

use super::Pipeline;
use super::budget::Reservation;
use crate::backoff::Backoff;
use crate::clock::{Monotonic, Timestamp, timeout};
use crate::lease::fence::Fence;
use crate::lease::plan;
use crate::logs::lookup::{Found, Gathered};
use crate::logs::{LogDestination, LogEvent, SinkError};

/// A look-up takes no longer: a shard that waits is worse than a few repeats.
const LIMIT: Duration = Duration::from_secs(3);
/// Nor more requests than these: five pages, and the one that shows that there are no more. All shards of
/// an account share 25 GetLogEvents a second ("CloudWatch Logs quotas", user guide).
const REQUESTS: u32 = 6;
/// Events so much older than the first record to come are asked for too: the time of a change is
/// approximate, and changes may come a little out of its order.
const SLACK: Duration = Duration::from_secs(10);
/// The records are compared for so many reads in a row that hold none that is found…
const FRUITLESS_READS: u32 = 3;
/// …and no longer than this. What was found holds memory that a read may be waiting for.
const LONGEST_USE: Duration = Duration::from_secs(30);

/// The memory that a look-up needs: a page of 1 MB, its body, the SDK's events and ours.
pub(super) const MEMORY: usize = 3 << 20;

/// Where a consumer's look-up stands.
pub(super) enum LookUp {
    /// Not asked for, or done with.
    Off,
    /// The first records are still to come.
    Due(LogDestination),
    On(InUse),
}

pub(super) struct InUse {
    found: Found,
    /// Held for what was found.
    _memory: Reservation,
    fruitless: u32,
    until: Monotonic,
}

impl LookUp {
    /// Only a dead worker leaves deliveries behind that no checkpoint covers.
    pub(super) fn at_take(from: plan::From, wished: bool, destination: Option<&LogDestination>) -> Self {
        match destination {
            Some(to) if wished && from == plan::From::Dead => Self::Due(to.clone()),
            _ => Self::Off,
        }
    }

    /// What was found comes into use.
    pub(super) fn use_now(&mut self, found: Found, memory: Reservation, now: Monotonic) {
        *self = Self::On(InUse {
            found,
            _memory: memory,
            fruitless: 0,
            until: now + LONGEST_USE,
        });
    }

    /// Whether a record with these events is in the log already. Each event found is used once.
    pub(super) fn has<'e>(&mut self, events: impl IntoIterator<Item = &'e LogEvent>) -> bool {
        match self {
            Self::On(known) => known.found.take(events),
            Self::Off | Self::Due(_) => false,
        }
    }

    /// After a read: `found` of its records were in the log, and the earliest was of that time. Ends the
    /// look-up, and frees its memory, once no record to come can be one that the dead worker delivered.
    pub(super) fn after_read(&mut self, found: usize, earliest: Option<Timestamp>) {
        let Self::On(known) = self else { return };
        known.fruitless = if found > 0 { 0 } else { known.fruitless + 1 };
        let past =
            earliest.is_some_and(|earliest| known.found.newest().is_none_or(|newest| earliest > newest));
        if known.found.is_empty() || past || known.fruitless >= FRUITLESS_READS {
            *self = Self::Off;
        }
    }

    pub(super) fn expire(&mut self, now: Monotonic) {
        if matches!(self, Self::On(known) if now >= known.until) {
            *self = Self::Off;
        }
    }
}

/// One look-up, ready to go.
pub(super) struct Look {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) fence: Fence,
    pub(super) destination: LogDestination,
    pub(super) shard: String,
    pub(super) rng: Rng,
}

impl Look {
    /// Reads the destination back to where the first event to come, which is the `earliest`, could be.
    pub(super) async fn up(&mut self, earliest: Timestamp) -> Found {
        let since = earliest.minus(SLACK);
        let mut gathered = Gathered::new([self.rng.u64(..), self.rng.u64(..)]);
        let ended = self.read_back(since, &mut gathered).await;
        let found = gathered.found();
        self.tell(&ended, found.len());
        found
    }

    /// `Ok`: whether all was read. What was gathered before an error is as good as any.
    async fn read_back(&mut self, since: Timestamp, gathered: &mut Gathered) -> Result<bool, SinkError> {
        let clock = &*self.pipeline.clock;
        let until = clock.now() + LIMIT;
        let mut backoff = Backoff::default();
        let mut before = None;
        let mut failure = None;
        for _ in 0..REQUESTS {
            // A fence ends the consumer, whatever was found.
            let left = until
                .since(clock.now())
                .min(self.fence.remaining().unwrap_or_default());
            if left.is_zero() {
                break;
            }
            let sink = &self.pipeline.sink;
            let asked = sink.read_back(&self.destination, since, before.as_ref(), left);
            match timeout(clock, left, asked).await {
                Ok(Ok(page)) => {
                    gathered.add(&page.events);
                    before = page.before;
                    failure = None;
                    if before.is_none() {
                        return Ok(true);
                    }
                }
                // Nobody ever put anything.
                Ok(Err(SinkError::Missing(_))) => return Ok(true),
                Ok(Err(error @ (SinkError::Denied(_) | SinkError::Invalid(_)))) => return Err(error),
                Ok(Err(error)) => {
                    failure = Some(error);
                    let left = until.since(clock.now());
                    clock.sleep(backoff.next(&mut self.rng).min(left)).await;
                }
                Err(_) => failure = Some(SinkError::Unanswered(format!("in {LIMIT:?}"))),
            }
        }
        failure.map_or(Ok(false), Err)
    }

    fn tell(&self, ended: &Result<bool, SinkError>, events: usize) {
        let (to, shard) = (&self.destination, &self.shard);
        let outcome = match ended {
            Ok(true) => {
                info!(destination = %to, shard_id = shard, events, "looked up what the dead worker delivered");
                "complete"
            }
            Ok(false) => {
                info!(destination = %to, shard_id = shard, events, "looked up some of what the dead worker delivered; the rest is repeated");
                "partial"
            }
            Err(SinkError::Denied(error)) => {
                if self.pipeline.sink.first_denial() {
                    warn!(destination = %to, error, "what a dead worker delivered can't be looked up and is repeated: allow logs:GetLogEvents, or set `look_up: false`");
                } else {
                    debug!(destination = %to, error, "what a dead worker delivered can't be looked up");
                }
                "failed"
            }
            Err(error) => {
                warn!(destination = %to, shard_id = shard, events, %error, "what the dead worker delivered could not be looked up; it is repeated");
                if events > 0 { "partial" } else { "failed" }
            }
        };
        let labels = [self.pipeline.config.name.as_str(), outcome];
        self.pipeline.metrics.look_ups.with_label_values(&labels).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::super::budget;
    use super::*;
    use crate::metrics::Metrics;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn event(millis: i64) -> LogEvent {
        LogEvent {
            timestamp: at(millis),
            message: format!("at {millis}"),
        }
    }

    const BEGIN: Monotonic = Monotonic::from_origin(Duration::from_secs(100));

    async fn in_use(events: &[LogEvent]) -> LookUp {
        let mut gathered = Gathered::new([1, 2]);
        gathered.add(events);
        let need = budget::Need {
            pipeline: "p",
            largest: 1 << 20,
            copies: 3,
        };
        let budgets = budget::divide(1 << 20, &[need], &Metrics::new());
        let memory = budgets[0].reserve_events(0).await;
        let mut look_up = LookUp::Off;
        look_up.use_now(gathered.found(), memory, BEGIN);
        look_up
    }

    fn is_on(look_up: &LookUp) -> bool {
        matches!(look_up, LookUp::On(_))
    }

    #[test]
    fn only_the_lease_of_a_dead_worker_asks_for_it() {
        let to = LogDestination {
            group: "g".into(),
            stream: "s".into(),
        };
        use plan::From::{Dead, Free, Own};
        for (from, wished, to, due) in [
            (Dead, true, Some(&to), true),
            (Dead, false, Some(&to), false),
            (Dead, true, None, false),
            (Free, true, Some(&to), false),
            (Own, true, Some(&to), false),
        ] {
            let look_up = LookUp::at_take(from, wished, to);
            assert_eq!(matches!(look_up, LookUp::Due(_)), due, "{from:?} {wished}");
        }
    }

    #[tokio::test]
    async fn it_ends_when_nothing_is_left() {
        let mut look_up = in_use(&[event(1), event(2)]).await;
        assert!(look_up.has(&[event(1)]) && !look_up.has(&[event(3)]));
        look_up.after_read(1, Some(at(1)));
        assert!(is_on(&look_up));
        assert!(look_up.has(&[event(2)]));
        look_up.after_read(1, Some(at(2)));
        assert!(!is_on(&look_up) && !look_up.has(&[event(2)]));
    }

    #[tokio::test]
    async fn it_ends_with_a_read_that_is_newer_than_all_that_was_found() {
        let mut look_up = in_use(&[event(1), event(5)]).await;
        look_up.after_read(0, Some(at(5)));
        assert!(is_on(&look_up));
        look_up.after_read(0, Some(at(6)));
        assert!(!is_on(&look_up));
        let mut nothing = in_use(&[]).await;
        nothing.after_read(0, Some(at(1)));
        assert!(!is_on(&nothing));
    }

    #[tokio::test]
    async fn it_ends_after_some_fruitless_reads_in_a_row_or_in_time() {
        let mut look_up = in_use(&[9; 5].map(event)).await;
        for found in [0, 0, 1, 0, 0] {
            look_up.after_read(found, None);
            assert!(is_on(&look_up));
        }
        look_up.after_read(0, None);
        assert!(!is_on(&look_up));

        let mut look_up = in_use(&[event(9)]).await;
        look_up.expire(BEGIN + LONGEST_USE / 2);
        assert!(is_on(&look_up));
        look_up.expire(BEGIN + LONGEST_USE);
        assert!(!is_on(&look_up));
    }
}
