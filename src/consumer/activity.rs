//! What a shard's task is doing, in one word.
//!
//! Pure. Several things may hold a shard up at once: told is the one that a person should look at.

use crate::clock::Monotonic;
use crate::status::reports::Activity;

/// Why the shard is not read on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hindrance {
    /// Reading failed with `error`, and is tried again at `until`.
    Failed { until: Monotonic, error: String },
    /// An event of this group came back.
    CameBack { group: String },
}

/// What is so at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// It was asked to stop.
    pub(super) is_leaving: bool,
    pub(super) hindrance: Option<Hindrance>,
    /// As much as may be is read and not delivered.
    pub(super) is_full: bool,
    pub(super) in_flight: u64,
    /// The destination that doesn't accept what is in flight, with why.
    pub(super) destination: Option<String>,
    pub(super) waits_for_memory: bool,
    /// The last answer gave nothing more, and the next is not overdue.
    pub(super) is_caught_up: bool,
    /// An answer was taken in.
    pub(super) is_read: bool,
}

pub(super) fn activity(seen: Seen) -> Activity {
    let held = seen.destination.filter(|_| seen.in_flight > 0);
    match (seen.hindrance, held) {
        _ if seen.is_leaving => Activity::Draining,
        (Some(Hindrance::CameBack { group }), _) => Activity::Suspected { group },
        // Whether the stream could be read is not even tried.
        (_, Some(destination)) if seen.is_full => Activity::HeldByDestination { destination },
        (Some(Hindrance::Failed { until, error }), _) => Activity::BackingOff { until, error },
        (None, Some(destination)) => Activity::HeldByDestination { destination },
        (None, None) if seen.waits_for_memory => Activity::WaitingForMemory,
        (None, None) if !seen.is_read && seen.in_flight == 0 => Activity::Starting,
        (None, None) if seen.is_caught_up && seen.in_flight == 0 => Activity::CaughtUp,
        (None, None) => Activity::Reading,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_all_that_holds_a_shard_up_the_one_to_look_at_is_told() {
        let until = Monotonic::from_origin(std::time::Duration::from_secs(7));
        let failed = || Hindrance::Failed {
            until,
            error: "access denied".to_owned(),
        };
        let backing_off = || Activity::BackingOff {
            until,
            error: "access denied".to_owned(),
        };
        let to = || "/g:s (throttled)".to_owned();
        let held = || Activity::HeldByDestination { destination: to() };
        // What a shard looks like that was read a while.
        let read = || Seen {
            is_read: true,
            ..Seen::default()
        };
        let cases = [
            ("just taken", Seen::default(), Activity::Starting),
            (
                "its first records came",
                Seen {
                    in_flight: 3,
                    ..Seen::default()
                },
                Activity::Reading,
            ),
            (
                "it was never read, and can't be",
                Seen {
                    hindrance: Some(failed()),
                    ..Seen::default()
                },
                backing_off(),
            ),
            ("there is more to read", read(), Activity::Reading),
            (
                "nothing more, and all is delivered",
                Seen {
                    is_caught_up: true,
                    ..read()
                },
                Activity::CaughtUp,
            ),
            (
                "nothing more, and some is on its way",
                Seen {
                    is_caught_up: true,
                    in_flight: 1,
                    ..read()
                },
                Activity::Reading,
            ),
            (
                "nothing more, and what is on its way is refused",
                Seen {
                    is_caught_up: true,
                    in_flight: 1,
                    destination: Some(to()),
                    ..read()
                },
                held(),
            ),
            (
                "a destination that refuses, and nothing of this shard waits for it",
                Seen {
                    is_caught_up: true,
                    destination: Some(to()),
                    ..read()
                },
                Activity::CaughtUp,
            ),
            (
                "full, and the destination is only slow",
                Seen {
                    is_full: true,
                    in_flight: 9,
                    ..read()
                },
                Activity::Reading,
            ),
            (
                "full, the destination refuses, and the last read failed",
                Seen {
                    is_full: true,
                    in_flight: 9,
                    destination: Some(to()),
                    hindrance: Some(failed()),
                    ..read()
                },
                held(),
            ),
            (
                "there is room, the destination refuses, and the last read failed",
                Seen {
                    in_flight: 9,
                    destination: Some(to()),
                    hindrance: Some(failed()),
                    ..read()
                },
                backing_off(),
            ),
            (
                "it waits for memory",
                Seen {
                    waits_for_memory: true,
                    ..Seen::default()
                },
                Activity::WaitingForMemory,
            ),
            (
                "it waits for memory that the refused hold",
                Seen {
                    waits_for_memory: true,
                    in_flight: 9,
                    destination: Some(to()),
                    ..read()
                },
                held(),
            ),
            (
                "its own events come back",
                Seen {
                    hindrance: Some(Hindrance::CameBack {
                        group: "/g".to_owned(),
                    }),
                    in_flight: 9,
                    destination: Some(to()),
                    ..read()
                },
                Activity::Suspected {
                    group: "/g".to_owned(),
                },
            ),
            (
                "it is asked to stop, whatever else",
                Seen {
                    is_leaving: true,
                    hindrance: Some(failed()),
                    ..read()
                },
                Activity::Draining,
            ),
        ];
        for (what, seen, expected) in cases {
            assert_eq!(activity(seen), expected, "{what}");
        }
    }
}
