//! How far the log is behind a shard, and how long until the stream trims what is not delivered.
//!
//! Pure. Owns what the reads of a shard have shown: whether they come as they should, and whether the shard's tip was
//! reached. What is not known is never told as zero.

use std::time::Duration;

use crate::clock::{Monotonic, Timestamp};
use crate::ledger::Oldest;

/// A read that is later than this is late: after so long a request is given up.
const LATE: Duration = super::reader::READ_TIMEOUT;
/// DynamoDB Streams doesn't say how far a reader is behind, and an answer without records may stand amid a shard ("it
/// might take multiple calls to get to a portion of the shard that contains stream records", API reference of
/// GetRecords). So many in a row pass for the tip: a guess, no figure of the service's.
const EMPTY_AT_TIP: u32 = 5;

/// What an answer of the stream tells, once all its records are taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// How many records it had.
    pub(super) records: usize,
    /// How old the last of them was, where that has a time.
    pub(super) age: Option<Duration>,
    /// How far it is behind the newest of the shard, where the service tells.
    pub(super) behind: Option<Duration>,
    /// How old the oldest record is that anybody wants: what lies before the start is none's.
    pub(super) wanted: Option<Duration>,
}

/// What the reads of a shard have shown so far.
#[derive(Debug)]
pub(super) struct Reads {
    /// Since when this task has the shard.
    since: Monotonic,
    /// The last answer, and when the next one was due.
    last: Option<(Monotonic, Monotonic)>,
    /// How far the last answer was behind the shard's newest record; `None`: no answer told that yet.
    behind: Option<Duration>,
    /// Answers without a record, in a row.
    empty: u32,
    /// The last answer said that there was nothing more.
    at_tip: bool,
    /// What came after the last answer was an error.
    is_failing: bool,
    reached_tip: bool,
}

impl Reads {
    pub(super) fn new(since: Monotonic) -> Self {
        Self {
            since,
            last: None,
            behind: None,
            empty: 0,
            at_tip: false,
            is_failing: false,
            reached_tip: false,
        }
    }

    pub(super) fn answered(&mut self, now: Monotonic, answer: Answer) {
        self.last = Some((now, now));
        self.is_failing = false;
        self.empty = match answer.records {
            0 => self.empty.saturating_add(1),
            _ => 0,
        };
        // That a record is as young as can be says nothing: others may follow, and the calendar may be wrong.
        self.at_tip = match answer.behind {
            Some(behind) => behind.is_zero(),
            None => self.empty >= EMPTY_AT_TIP,
        };
        let told = match (answer.behind, answer.records) {
            (Some(behind), _) => Some(behind),
            (None, 0) if self.at_tip => Some(Duration::ZERO),
            // Nothing new is known.
            (None, 0) => self.behind,
            (None, _) => answer.age.or(self.behind),
        };
        self.behind = told.map(|behind| answer.wanted.map_or(behind, |wanted| behind.min(wanted)));
        self.reached_tip |= self.at_tip;
    }

    /// The next answer can be expected then.
    pub(super) fn next_is_due(&mut self, at: Monotonic) {
        if let Some((_, due)) = &mut self.last {
            *due = at;
        }
    }

    /// A read failed: until one is answered, what came into the shard meanwhile is not known.
    pub(super) fn failed(&mut self) {
        self.is_failing = true;
    }

    /// The last answer said that there was nothing more (of DynamoDB Streams: the last five in a row had no record).
    pub(super) fn is_at_tip(&self) -> bool {
        self.at_tip
    }

    /// Whether an answer was taken in.
    pub(super) fn is_read(&self) -> bool {
        self.last.is_some()
    }

    /// [`Self::is_at_tip`], and the next answer is not overdue.
    pub(super) fn is_caught_up(&self, now: Monotonic) -> bool {
        self.at_tip && self.blind(now).is_zero()
    }

    /// The tip was reached once at least: see [`Self::is_caught_up`].
    pub(super) fn reached_tip(&self) -> bool {
        self.reached_tip
    }

    /// How long nothing is known of the shard: since the last answer, once the next one failed or is late.
    fn blind(&self, now: Monotonic) -> Duration {
        match self.last {
            Some((at, due)) if self.is_failing || now.since(due) > LATE => now.since(at),
            _ => Duration::ZERO,
        }
    }

    /// How far the log is behind the shard, `in_flight` being the age of the oldest record that is not delivered.
    pub(super) fn lag(&self, now: Monotonic, in_flight: Option<Duration>) -> Duration {
        let unread = match self.behind {
            Some(behind) => behind + self.blind(now),
            None => now.since(self.since),
        };
        in_flight.unwrap_or(unread)
    }

    /// How long until the stream trims a record that is not delivered, or, with none, one that came right after the
    /// last answer. `None` while nobody knows what there is to read, or how long it is kept.
    pub(super) fn until_trim(
        &self,
        now: Monotonic,
        in_flight: Option<Duration>,
        retention: Option<Duration>,
    ) -> Option<Duration> {
        let unread = self.behind.map(|behind| behind + self.blind(now));
        Some(retention?.saturating_sub(in_flight.or(unread)?))
    }
}

/// How old the oldest record in flight is: as the calendar has it, and as long as it is here at least, whatever the
/// calendar was set to meanwhile.
pub(super) fn age(oldest: Oldest, now: Monotonic, wall: Timestamp) -> Duration {
    let here = now.since(oldest.received);
    oldest.time.map_or(here, |time| wall.since(time).max(here))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600;
    const DAY: u64 = 24 * HOUR;

    fn s(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn at(n: u64) -> Monotonic {
        Monotonic::from_origin(s(n))
    }

    /// What happens to a shard whose task began at 1,000 s, and when.
    enum Then {
        /// So many records, the last of this age, of a service that tells nothing.
        Records(usize, u64),
        /// An answer of a service that tells how far behind it is.
        Behind(usize, u64),
        Failed,
    }

    /// What happened, the time, the age of the oldest record in flight; then the lag, the time until it is trimmed, and
    /// whether the tip is, and was, reached.
    type Case = (
        &'static str,
        Vec<(u64, Then)>,
        u64,
        Option<u64>,
        (u64, Option<u64>, bool, bool),
    );

    fn answer(records: usize) -> Answer {
        Answer {
            records,
            age: None,
            behind: None,
            wanted: None,
        }
    }

    fn reads(story: &[(u64, Then)]) -> Reads {
        let mut reads = Reads::new(at(1_000));
        for (when, then) in story {
            match then {
                Then::Records(records, age) => {
                    let age = (*records > 0).then(|| s(*age));
                    reads.answered(
                        at(*when),
                        Answer {
                            age,
                            ..answer(*records)
                        },
                    );
                }
                Then::Behind(records, behind) => {
                    let behind = Some(s(*behind));
                    reads.answered(
                        at(*when),
                        Answer {
                            behind,
                            ..answer(*records)
                        },
                    );
                }
                Then::Failed => reads.failed(),
            }
            if !matches!(then, Then::Failed) {
                reads.next_is_due(at(*when + 1));
            }
        }
        reads
    }

    #[test]
    fn lag_and_time_to_trim_are_honest_whatever_the_shard_does() {
        use Then::{Behind, Failed, Records};
        let empty = |from: u64| (from..from + 5).map(|when| (when, Records(0, 0)));
        let cases: Vec<Case> = vec![
            (
                "never read: as long as this worker has it",
                vec![],
                1_600,
                None,
                (600, None, false, false),
            ),
            (
                "never read, since each read fails",
                vec![(1_001, Failed)],
                1_000 + HOUR,
                None,
                (HOUR, None, false, false),
            ),
            (
                "idle",
                empty(1_001).collect(),
                1_006,
                None,
                (0, Some(DAY), true, true),
            ),
            (
                "idle, as Kinesis tells at once",
                vec![(1_001, Behind(0, 0))],
                1_002,
                None,
                (0, Some(DAY), true, true),
            ),
            (
                "an answer that is not late yet",
                vec![(1_001, Behind(0, 0))],
                1_012,
                None,
                (0, Some(DAY), true, true),
            ),
            (
                "one that is late: all of the time since the last one",
                vec![(1_001, Behind(0, 0))],
                1_013,
                None,
                (12, Some(DAY - 12), false, true),
            ),
            (
                "reads fail for an hour",
                vec![(1_001, Behind(0, 0)), (1_002, Failed)],
                1_001 + HOUR,
                None,
                (HOUR, Some(DAY - HOUR), false, true),
            ),
            (
                "reads fail for an hour while the reader was behind",
                vec![(1_001, Behind(9, 600)), (1_002, Failed)],
                1_001 + HOUR,
                None,
                (600 + HOUR, Some(DAY - HOUR - 600), false, false),
            ),
            (
                "reads fail for longer than the stream keeps anything",
                vec![(1_001, Behind(0, 0)), (1_002, Failed)],
                1_001 + 2 * DAY,
                None,
                (2 * DAY, Some(0), false, true),
            ),
            (
                "reads are answered again",
                vec![(1_001, Behind(0, 0)), (1_002, Failed), (1_500, Behind(0, 0))],
                1_501,
                None,
                (0, Some(DAY), true, true),
            ),
            (
                "the destination is blocked: the oldest record in flight, however fresh the last answer",
                vec![(1_001, Behind(9, 0))],
                1_002,
                Some(HOUR),
                (HOUR, Some(DAY - HOUR), true, true),
            ),
            (
                "the destination is blocked, and the first answer not taken in to its end",
                vec![],
                1_600,
                Some(HOUR),
                (HOUR, Some(DAY - HOUR), false, false),
            ),
            (
                "answers without records, though Kinesis is behind",
                vec![(1_001, Behind(0, 3 * HOUR)), (1_002, Behind(0, 2 * HOUR))],
                1_003,
                None,
                (2 * HOUR, Some(DAY - 2 * HOUR), false, false),
            ),
            (
                "records of DynamoDB: behind by the age of the last one, since more may follow",
                vec![(1_001, Records(7, 40))],
                1_002,
                None,
                (40, Some(DAY - 40), false, false),
            ),
            (
                "records of this moment are no tip",
                vec![(1_001, Records(7, 0))],
                1_002,
                None,
                (0, Some(DAY), false, false),
            ),
            (
                "a few answers without records may stand amid a shard",
                vec![
                    (1_001, Records(7, HOUR)),
                    (1_002, Records(0, 0)),
                    (1_003, Records(0, 0)),
                ],
                1_004,
                None,
                (HOUR, Some(DAY - HOUR), false, false),
            ),
            (
                "a few of them at the beginning say nothing",
                vec![(1_001, Records(0, 0)), (1_002, Records(0, 0))],
                1_004,
                None,
                (4, None, false, false),
            ),
            (
                "five of them are the tip",
                std::iter::once((1_001, Records(7, HOUR)))
                    .chain(empty(1_002))
                    .collect(),
                1_007,
                None,
                (0, Some(DAY), true, true),
            ),
            (
                "and a record behind them shows that there was more",
                empty(1_001).chain([(1_006, Records(1, HOUR))]).collect(),
                1_007,
                None,
                (HOUR, Some(DAY - HOUR), false, true),
            ),
        ];
        for (what, story, now, in_flight, expected) in cases {
            let (reads, now, in_flight) = (reads(&story), at(now), in_flight.map(s));
            let (lag, until_trim, caught_up, tip) = expected;
            assert_eq!(reads.lag(now, in_flight), s(lag), "{what}");
            assert_eq!(
                reads.until_trim(now, in_flight, Some(s(DAY))),
                until_trim.map(s),
                "{what}"
            );
            assert_eq!(
                reads.until_trim(now, in_flight, None),
                None,
                "{what}: the retention is not known"
            );
            assert_eq!(
                (reads.is_caught_up(now), reads.reached_tip()),
                (caught_up, tip),
                "{what}"
            );
        }
    }

    #[test]
    fn records_without_a_time_say_nothing_of_how_far_behind_they_are() {
        let mut reads = reads(&[(1_001, Then::Records(7, 40))]);
        reads.answered(at(1_002), answer(3));
        assert_eq!(reads.lag(at(1_003), None), s(40));
    }

    #[test]
    fn nobody_waits_for_what_lies_before_the_start() {
        let mut reads = Reads::new(at(1_000));
        let old = Answer {
            age: Some(s(20 * HOUR)),
            wanted: Some(s(60)),
            ..answer(1_000)
        };
        reads.answered(at(1_001), old);
        assert_eq!(reads.lag(at(1_002), None), s(60));
        assert_eq!(reads.until_trim(at(1_002), None, Some(s(DAY))), Some(s(DAY - 60)));
        assert!(!reads.reached_tip());
    }

    #[test]
    fn a_record_in_flight_grows_old_whatever_the_calendar_does() {
        let wall = |seconds: i64| Timestamp::from_millis(1_800_000_000_000 + seconds * 1_000);
        // When the change happened, what the calendar says 100 s after the record was received.
        for (what, time, now, expected) in [
            ("an honest calendar", Some(wall(-40)), wall(100), 140),
            ("set back by an hour", Some(wall(-40)), wall(100 - 3_600), 100),
            ("a change from the future", Some(wall(3_600)), wall(100), 100),
            ("a record without a time", None, wall(100), 100),
            (
                "set forward by an hour: no less is claimed",
                Some(wall(0)),
                wall(3_700),
                3_700,
            ),
        ] {
            let oldest = Oldest {
                time,
                received: at(1_000),
            };
            assert_eq!(age(oldest, at(1_100), now), s(expected), "{what}");
        }
    }
}
