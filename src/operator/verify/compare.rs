//! What a log stream holds, and whether an event is in it.
//!
//! Pure. Events are kept as names: who they are (as the look-up after a crash knows them, [`crate::logs::lookup`]),
//! and how they are told. Must never use one event of the log for two of the stream.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::logs::LogEvent;
use crate::logs::lookup::Keying;
use crate::logs::untimely;

/// Which event, and how it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// Of its time and id, or of its time and text where it has none.
    pub key: u128,
    /// Of its text.
    text: u64,
}

/// Names events, by secrets of its own: who writes the records can't make two that pass for one.
#[derive(Clone, Debug)]
pub struct Names {
    keying: Keying,
    secret: u64,
}

impl Names {
    /// `secrets` are random numbers.
    pub fn new(secrets: [u64; 3]) -> Self {
        let [one, other, secret] = secrets;
        Self {
            keying: Keying::new([one, other]),
            secret,
        }
    }

    fn of(&self, event: &LogEvent) -> Name {
        let mut hasher = DefaultHasher::new();
        (self.secret, event.message.as_str()).hash(&mut hasher);
        Name {
            key: self.keying.key(event),
            text: hasher.finish(),
        }
    }

    /// An event that was read back: one that was stamped anew has the time that it tells.
    pub fn logged(&self, event: &LogEvent) -> Name {
        match untimely::original_time(&event.message) {
            None => self.of(event),
            Some(timestamp) => {
                let message = event.message.clone();
                self.of(&LogEvent { timestamp, message })
            }
        }
    }

    /// An event as it may stand in the log.
    pub fn wanted(&self, event: &LogEvent) -> Wanted {
        let told = untimely::at(event.clone(), event.timestamp);
        Wanted {
            as_it_is: self.of(event),
            stamped_anew: self.of(&told),
        }
    }
}

/// The names that an event may have in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub as_it_is: Name,
    /// With its own time inside, as it is put where that is refused.
    pub stamped_anew: Name,
}

/// What was found of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Found,
    /// It is there and is told in another way.
    Differs,
    Missing,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    name: Name,
    /// How often it is there, and how often it was used.
    count: u32,
    taken: u32,
}

/// The events of one log stream.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// By name, each once.
    entries: Vec<Entry>,
}

impl Held {
    pub fn new(mut names: Vec<Name>) -> Self {
        names.sort_unstable();
        let entries = names.chunk_by(|a, b| a == b).map(|same| Entry {
            name: same[0],
            count: u32::try_from(same.len()).unwrap_or(u32::MAX),
            taken: 0,
        });
        Self {
            entries: entries.collect(),
        }
    }

    /// Looks for an event in all its pieces, and uses them up. Of one that is not there as a whole nothing is used:
    /// it is looked for again. One without pieces is nowhere.
    pub fn take(&mut self, pieces: &[Wanted]) -> Verdict {
        let mut used = Vec::with_capacity(pieces.len());
        let mut worst = pieces.first().map_or(Verdict::Missing, |_| Verdict::Found);
        for piece in pieces {
            let Some((at, verdict)) = self.find(piece) else {
                for at in used {
                    let entry: &mut Entry = &mut self.entries[at];
                    entry.taken -= 1;
                }
                return Verdict::Missing;
            };
            self.entries[at].taken += 1;
            used.push(at);
            worst = worst.max(verdict);
        }
        worst
    }

    /// Where a piece is that was not used yet.
    fn find(&self, wanted: &Wanted) -> Option<(usize, Verdict)> {
        for name in [wanted.as_it_is, wanted.stamped_anew] {
            if let Ok(at) = self.entries.binary_search_by(|entry| entry.name.cmp(&name))
                && self.entries[at].taken < self.entries[at].count
            {
                return Some((at, Verdict::Found));
            }
        }
        [wanted.as_it_is.key, wanted.stamped_anew.key]
            .into_iter()
            .find_map(|key| {
                let from = self.entries.partition_point(|entry| entry.name.key < key);
                let same = self.entries[from..]
                    .iter()
                    .take_while(|entry| entry.name.key == key);
                let at = same.into_iter().position(|entry| entry.taken < entry.count);
                at.map(|at| (from + at, Verdict::Differs))
            })
    }

    /// What was used of an earlier reading of the same log stream is used here, too.
    pub fn carry(&mut self, earlier: &Held) {
        for used in earlier.entries.iter().filter(|entry| entry.taken > 0) {
            if let Ok(at) = self.entries.binary_search_by(|entry| entry.name.cmp(&used.name)) {
                let entry = &mut self.entries[at];
                entry.taken = used.taken.min(entry.count);
            }
        }
    }

    /// How many events are there once more although they were found.
    pub fn repeated(&self) -> u64 {
        let of_one = |same: &[Entry]| {
            let sum = |of: fn(&Entry) -> u32| same.iter().map(|entry| u64::from(of(entry))).sum::<u64>();
            match sum(|entry| entry.taken) {
                0 => 0,
                taken => sum(|entry| entry.count).saturating_sub(taken),
            }
        };
        self.entries
            .chunk_by(|a, b| a.name.key == b.name.key)
            .map(of_one)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Timestamp;

    fn event(millis: i64, message: impl Into<String>) -> LogEvent {
        LogEvent {
            timestamp: Timestamp::from_millis(millis),
            message: message.into(),
        }
    }

    fn change(id: u8, status: &str) -> String {
        format!(
            r#"{{"eventID":"e{id}","dynamodb":{{"NewImage":{{"s":{{"S":"{status}"}}}},"SequenceNumber":"{id}"}},"eventSourceARN":"a"}}"#
        )
    }

    fn names() -> Names {
        Names::new([1, 2, 3])
    }

    fn held(events: &[LogEvent]) -> Held {
        let names = names();
        Held::new(events.iter().map(|event| names.logged(event)).collect())
    }

    #[test]
    fn an_event_is_there_or_not_or_is_told_otherwise() {
        let later = Timestamp::from_millis(9_000_000);
        let anew = |event: LogEvent| untimely::at(event, later);
        let (placed, paid) = (|| event(5, change(1, "placed")), || event(5, change(1, "paid")));
        for (what, logged, wanted, verdict, repeated) in [
            ("itself", vec![placed()], placed(), Verdict::Found, 0),
            ("nothing", vec![], placed(), Verdict::Missing, 0),
            (
                "another",
                vec![event(5, change(2, "placed"))],
                placed(),
                Verdict::Missing,
                0,
            ),
            (
                "another time",
                vec![event(6, change(1, "placed"))],
                placed(),
                Verdict::Missing,
                0,
            ),
            ("another text", vec![paid()], placed(), Verdict::Differs, 0),
            ("both texts", vec![paid(), placed()], placed(), Verdict::Found, 1),
            ("twice", vec![placed(), placed()], placed(), Verdict::Found, 1),
            ("stamped anew", vec![anew(placed())], placed(), Verdict::Found, 0),
            (
                "stamped anew and once more",
                vec![anew(placed()), placed()],
                placed(),
                Verdict::Found,
                1,
            ),
            (
                "stamped anew, told otherwise",
                vec![anew(paid())],
                placed(),
                Verdict::Differs,
                0,
            ),
            ("text", vec![event(5, "a")], event(5, "a"), Verdict::Found, 0),
            (
                "text stamped anew",
                vec![anew(event(5, "a"))],
                event(5, "a"),
                Verdict::Found,
                0,
            ),
            (
                "another text without an id",
                vec![event(5, "b")],
                event(5, "a"),
                Verdict::Missing,
                0,
            ),
        ] {
            let mut held = held(&logged);
            assert_eq!(held.take(&[names().wanted(&wanted)]), verdict, "{what}");
            assert_eq!(held.repeated(), repeated, "{what}");
        }
    }

    #[test]
    fn what_was_used_stays_used_when_the_log_is_read_again() {
        let wanted = [names().wanted(&event(1, "a"))];
        let mut first = held(&[event(1, "a")]);
        assert_eq!(first.take(&wanted), Verdict::Found);
        assert_eq!(first.take(&wanted), Verdict::Missing, "there were two");
        for (logged, verdict) in [(1, Verdict::Missing), (2, Verdict::Found)] {
            let mut again = held(&vec![event(1, "a"); logged]);
            again.carry(&first);
            assert_eq!(again.take(&wanted), verdict);
        }
    }

    #[test]
    fn of_an_event_that_is_there_in_part_nothing_is_used() {
        let names = names();
        let pieces = ["one", "two"].map(|text| names.wanted(&event(1, text)));
        let mut first = held(&[event(1, "one"), event(1, "one")]);
        assert_eq!(first.take(&pieces), Verdict::Missing);
        assert_eq!(first.take(&[]), Verdict::Missing);
        assert_eq!(
            first.repeated(),
            0,
            "it was not found, so that nothing is there once more"
        );
        let mut again = held(&[event(1, "one"), event(1, "two")]);
        again.carry(&first);
        assert_eq!(again.take(&pieces), Verdict::Found, "the other part came later");
        assert_eq!(again.take(&pieces), Verdict::Missing);
    }

    proptest! {
        /// Against a multiset that is searched slowly.
        #[test]
        fn each_event_is_used_once_and_all_that_are_there_are_found(
            logged in proptest::collection::vec((0i64..3, 0u8..4), 0..40),
            asked in proptest::collection::vec((0i64..3, 0u8..4), 0..40),
        ) {
            let of = |(millis, n): &(i64, u8)| match n {
                0 | 1 => event(*millis, format!("text {n}")),
                n => event(*millis, change(*n, "placed")),
            };
            let log: Vec<LogEvent> = logged.iter().map(of).collect();
            let mut held = held(&log);
            let mut left = log;
            let mut used: Vec<LogEvent> = Vec::new();
            for event in asked.iter().map(of) {
                let at = left.iter().position(|have| *have == event);
                let want = if at.is_some() { Verdict::Found } else { Verdict::Missing };
                prop_assert_eq!(held.take(&[names().wanted(&event)]), want);
                if let Some(at) = at {
                    used.push(left.swap_remove(at));
                }
            }
            let repeated = left.iter().filter(|event| used.contains(event)).count();
            prop_assert_eq!(held.repeated(), repeated as u64);
        }

        /// Events of several pieces, against the same multiset: all of one, or nothing.
        #[test]
        fn an_event_is_found_whole_or_not_at_all_also_when_the_log_grows(
            logged in proptest::collection::vec((0i64..3, 0u8..4), 0..30),
            later in proptest::collection::vec((0i64..3, 0u8..4), 0..30),
            asked in proptest::collection::vec(proptest::collection::vec((0i64..3, 0u8..4), 1..4), 0..20),
        ) {
            let of = |(millis, n): &(i64, u8)| event(*millis, format!("text {n}"));
            let mut left: Vec<LogEvent> = logged.iter().map(of).collect();
            let mut held = held(&left);
            let mut lost = Vec::new();
            let take = |held: &mut Held, left: &mut Vec<LogEvent>, asked: &Vec<(i64, u8)>| {
                let mut rest = left.clone();
                let is_whole = asked.iter().map(of).all(|piece| {
                    let at = rest.iter().position(|have| *have == piece);
                    at.map(|at| rest.swap_remove(at)).is_some()
                });
                if is_whole {
                    *left = rest;
                }
                let pieces: Vec<Wanted> = asked.iter().map(|piece| names().wanted(&of(piece))).collect();
                let want = if is_whole { Verdict::Found } else { Verdict::Missing };
                (held.take(&pieces), want)
            };
            for event in &asked {
                let (got, want) = take(&mut held, &mut left, event);
                prop_assert_eq!(got, want);
                if want == Verdict::Missing {
                    lost.push(event);
                }
            }
            let all: Vec<LogEvent> = logged.iter().chain(&later).map(of).collect();
            let mut again = self::held(&all);
            again.carry(&held);
            left.extend(later.iter().map(of));
            for event in lost {
                let (got, want) = take(&mut again, &mut left, event);
                prop_assert_eq!(got, want);
            }
        }
    }
}
