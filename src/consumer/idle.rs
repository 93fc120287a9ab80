//! How long a shard that gives nothing is left alone, and one that is read at its tip.
//!
//! Pure. Owns since when the shard has been silent. The wait grows with the silence, so that a shard which is silent
//! for minutes costs few requests and one which pauses for seconds waits no longer than before; a record ends it. What
//! a service's limits ask for is the source's affair ([`StreamSource::wait_after`](crate::stream::StreamSource)).
//!
//! Each read of DynamoDB Streams is paid for, and at the tip of a busy shard a read at once gives a handful of records: so
//! a moment is waited for more. Far from the tip nothing waits.

use std::time::Duration;

use crate::clock::{Monotonic, Timestamp};
use crate::stream::Poll;

/// The wait is this part of the silence: what comes after a silence is late by a tenth of it at most.
const PART: u32 = 10;
/// The grown wait is drawn from this part of it up to the whole, so that shards that fell silent together are not asked
/// together for ever.
const LEAST: f64 = 0.8;

/// The wait at the tip of a shard that is written to much: five reads a second, as many as Kinesis allows of a shard.
/// Lambda polls four times a second.
const TIP: Duration = Duration::from_millis(200);
/// The wait at the tip after fewer records than [`FEW`]: half of what such a shard waits for between two bursts
/// (`poll.idle`, by default). Shorter, and it would be read more often than without any wait.
const TIP_OF_FEW: Duration = Duration::from_millis(500);
const FEW: usize = 25;
/// A record no older than this is one of the tip: DynamoDB tells its time in whole seconds, rounded down.
const FRESH: Duration = Duration::from_secs(2);
/// An answer of so many bytes may have been cut by its size: the service gives up to 1 MB, by its own measure.
const LARGE: usize = 512 * 1024;

/// What an answer with records shows of how much is behind it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    pub(super) has_room: bool,
    pub(super) records: usize,
    /// The time of the last one.
    pub(super) newest: Option<Timestamp>,
}

/// Whether an answer of so many records and bytes could have had more, so many records being `asked` for.
pub(super) fn has_room(asked: usize, records: usize, bytes: usize) -> bool {
    records < asked && bytes < LARGE
}

impl Tail {
    /// The waits after it, at `wall`. `poll`, but for an answer that ended where the shard does: it had room for more,
    /// and its last record is of this moment. A calendar that is wrong makes every record old, or of the future: then
    /// nothing is waited for.
    pub(super) fn paced(self, poll: Poll, wall: Timestamp) -> Poll {
        let is_fresh = |time| wall.since(time) <= FRESH && time.since(wall) <= FRESH;
        if !(self.has_room && self.newest.is_some_and(is_fresh)) {
            return poll;
        }
        let wait = if self.records < FEW { TIP_OF_FEW } else { TIP };
        Poll {
            busy: wait.min(poll.idle).max(poll.busy),
            ..poll
        }
    }
}

/// Since when a shard has given nothing.
#[derive(Debug, Default)]
pub(super) struct Idle {
    since: Option<Monotonic>,
}

impl Idle {
    /// The waits after an answer that came at `now`. `gave`: it had records, or the stream said that there are more.
    /// `at_tip`: the answers so far show that there is nothing more; until they do, the next is asked for at the pace of
    /// the settings. `most` is the longest wait; at or below `poll.idle` nothing grows.
    pub(super) fn answered(
        &mut self,
        now: Monotonic,
        gave: bool,
        at_tip: bool,
        poll: Poll,
        most: Duration,
        rng: &mut fastrand::Rng,
    ) -> Poll {
        if gave {
            self.since = None;
            return poll;
        }
        let since = *self.since.get_or_insert(now);
        let grown = (now.since(since) / PART).min(most);
        if !at_tip || grown <= poll.idle {
            return poll;
        }
        let drawn = grown.mul_f64(LEAST + (1.0 - LEAST) * rng.f64());
        Poll {
            idle: drawn.max(poll.idle),
            ..poll
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn at(n: u64) -> Monotonic {
        Monotonic::from_origin(ms(n))
    }

    const POLL: Poll = Poll {
        busy: Duration::ZERO,
        idle: Duration::from_secs(1),
    };

    #[test]
    fn the_wait_grows_with_the_silence_and_a_record_ends_it() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut idle = Idle::default();
        // When, whether it gave anything, whether the tip is known; the bounds of the wait.
        for (what, now, gave, at_tip, least, longest) in [
            ("the first answer without a record", 0, false, true, 1_000, 1_000),
            (
                "ten seconds of silence change nothing",
                10_000,
                false,
                true,
                1_000,
                1_000,
            ),
            ("a tenth of twenty", 20_000, false, true, 1_600, 2_000),
            ("the tip is doubtful", 30_000, false, false, 1_000, 1_000),
            ("a tenth of forty", 40_000, false, true, 3_200, 4_000),
            ("the bound", 50_000, false, true, 4_000, 5_000),
            ("the bound after an hour", 3_600_000, false, true, 4_000, 5_000),
            ("a record", 3_601_000, true, false, 1_000, 1_000),
            ("and silence begins anew", 3_602_000, false, true, 1_000, 1_000),
            ("from there", 3_622_000, false, true, 1_600, 2_000),
        ] {
            let wait = idle.answered(at(now), gave, at_tip, POLL, ms(5_000), &mut rng);
            assert_eq!(wait.busy, POLL.busy, "{what}");
            assert!(
                wait.idle >= ms(least) && wait.idle <= ms(longest),
                "{what}: {wait:?}"
            );
        }
    }

    #[test]
    fn a_bound_of_the_first_wait_changes_nothing() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut idle = Idle::default();
        for now in (0..1_000_000).step_by(1_000) {
            let wait = idle.answered(at(now), false, true, POLL, POLL.idle, &mut rng);
            assert_eq!(wait, POLL);
        }
    }

    #[test]
    fn shards_that_fell_silent_together_are_not_asked_together() {
        let mut due = std::collections::BTreeMap::<u64, usize>::new();
        for shard in 0..5_000 {
            let (mut idle, mut rng) = (Idle::default(), fastrand::Rng::with_seed(shard));
            let mut now = 0;
            while now < 300_000 {
                let wait = idle.answered(at(now), false, true, POLL, ms(5_000), &mut rng);
                now += u64::try_from(wait.idle.as_millis()).unwrap();
            }
            *due.entry(now / 100).or_default() += 1;
        }
        let fullest = due.values().max().unwrap();
        assert!(
            *fullest <= 200,
            "evenly it were 100 each tenth of a second: {due:?}"
        );
    }

    #[test]
    fn a_moment_is_waited_for_at_the_tip_alone() {
        let wall = Timestamp::from_millis(1_767_225_600_000);
        let tail = Tail {
            has_room: true,
            records: 100,
            newest: Some(wall),
        };
        let back = |n| Some(wall.minus(ms(n)));
        for (what, tail, busy, expected) in [
            ("the tip", tail, 0, 200),
            ("a long wait that is set", tail, 700, 700),
            ("few records", Tail { records: 24, ..tail }, 0, 500),
            (
                "of this second",
                Tail {
                    newest: back(1_900),
                    ..tail
                },
                0,
                200,
            ),
            (
                "older records: there are more",
                Tail {
                    newest: back(2_001),
                    ..tail
                },
                0,
                0,
            ),
            (
                "a calendar that is behind",
                Tail {
                    newest: Some(wall.plus(ms(2_001))),
                    ..tail
                },
                0,
                0,
            ),
            ("a record without a time", Tail { newest: None, ..tail }, 0, 0),
            (
                "an answer that was full",
                Tail {
                    has_room: false,
                    ..tail
                },
                0,
                0,
            ),
            (
                "nothing",
                Tail {
                    records: 0,
                    newest: None,
                    ..tail
                },
                0,
                0,
            ),
        ] {
            let poll = Poll {
                busy: ms(busy),
                ..POLL
            };
            let paced = tail.paced(poll, wall);
            assert_eq!((paced.busy, paced.idle), (ms(expected), POLL.idle), "{what}");
        }
        let quick = Poll {
            busy: Duration::ZERO,
            idle: ms(100),
        };
        assert_eq!(
            tail.paced(quick, wall).busy,
            ms(100),
            "never longer than without records"
        );
        for (asked, records, bytes, expected) in [
            (1_000, 999, LARGE - 1, true),
            (1_000, 1_000, 1, false),
            (10, 10, 1, false),
            (1_000, 10, LARGE, false),
        ] {
            assert_eq!(has_room(asked, records, bytes), expected);
        }
    }

    proptest! {
        /// Whatever the answers are: never shorter than the first wait, never longer than the bound, and after a silence
        /// no longer than a tenth of it, or the first wait.
        #[test]
        fn idleness_adds_no_more_than_its_bound(
            answers in proptest::collection::vec((0_u64..120_000, any::<bool>(), any::<bool>()), 1..60),
            first in 100_u64..60_000,
            more in 0_u64..60_000,
            seed: u64,
        ) {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut idle = Idle::default();
            let poll = Poll { busy: Duration::ZERO, idle: ms(first) };
            let (mut now, mut silent_since) = (0, None);
            for (passed, gave, at_tip) in answers {
                now += passed;
                silent_since = if gave { None } else { silent_since.or(Some(now)) };
                let wait = idle.answered(at(now), gave, at_tip, poll, ms(first + more), &mut rng).idle;
                let tenth = silent_since.map_or(0, |since| (now - since).div_ceil(10));
                prop_assert!(wait >= ms(first) && wait <= ms(first + more));
                prop_assert!(wait <= ms(tenth.max(first)));
            }
        }
    }
}
