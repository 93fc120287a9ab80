//! Which events a log stream already holds.
//!
//! Pure. Makes a multiset of the events that were read back, and tells of a record's events whether every
//! one of them is in it. Must never find what was not read, and never use one event of the log for two
//! of the stream: what is found here is not delivered. `consumer` reads the events and asks. `weir verify` knows
//! events by the same keys.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::LogEvent;
use crate::clock::Timestamp;

/// What names a change for good, as Weir writes it ([`crate::decode::change`]).
///
/// A message is known by these alone, so that it is found although its images look different in the log: a
/// data protection policy masks them, another version of Weir may redact them. All three must be there.
/// An `eventID` by itself would do on AWS, but emulators have their own ideas of it, and a message that
/// others wrote may hold anything.
#[derive(Deserialize, Hash)]
struct ChangeId<'a> {
    #[serde(borrow, rename = "eventID", deserialize_with = "text")]
    event_id: &'a str,
    #[serde(borrow)]
    dynamodb: Position<'a>,
    #[serde(borrow, rename = "eventSourceARN", deserialize_with = "text")]
    source: &'a str,
}

#[derive(Deserialize, Hash)]
struct Position<'a> {
    #[serde(borrow, rename = "SequenceNumber", deserialize_with = "text")]
    sequence_number: &'a str,
}

/// A JSON string that says something, as it is spelt.
fn text<'de: 'a, 'a, D: serde::Deserializer<'de>>(deserializer: D) -> Result<&'a str, D::Error> {
    let raw: &RawValue = Deserialize::deserialize(deserializer)?;
    match raw.get() {
        spelt if spelt.starts_with('"') && spelt != "\"\"" => Ok(spelt),
        _ => Err(serde::de::Error::custom("not a text")),
    }
}

/// Turns events into keys of 128 bits.
///
/// Two different events with one key would lose a record. With the secrets unknown to whoever writes the
/// records, that happens by chance alone: among 50,000 keys (n) and a million records asked for (m), with a
/// probability of n·m/2¹²⁸, below 10⁻²⁷.
#[derive(Clone, Debug)]
pub struct Keying([u64; 2]);

impl Keying {
    /// `secrets` are two random numbers.
    pub fn new(secrets: [u64; 2]) -> Self {
        Self(secrets)
    }

    /// The key of an event: of a change's time and id, of any other's time and text.
    pub fn key(&self, event: &LogEvent) -> u128 {
        // Not JSON, not ours, or a name that stands twice: then the whole text is the event's name.
        let id: Option<ChangeId> = serde_json::from_str(&event.message).ok();
        let half = |secret: u64| {
            let mut hasher = DefaultHasher::new();
            secret.hash(&mut hasher);
            event.timestamp.hash(&mut hasher);
            match &id {
                Some(id) => (true, id).hash(&mut hasher),
                None => (false, event.message.as_str()).hash(&mut hasher),
            }
            u128::from(hasher.finish())
        };
        half(self.0[0]) << 64 | half(self.0[1])
    }
}

/// Takes in what is read back.
#[derive(Debug)]
pub struct Gathered {
    keying: Keying,
    keys: Vec<u128>,
    newest: Option<Timestamp>,
}

impl Gathered {
    /// `secrets` are two random numbers.
    pub fn new(secrets: [u64; 2]) -> Self {
        Self {
            keying: Keying::new(secrets),
            keys: Vec::new(),
            newest: None,
        }
    }

    pub fn add(&mut self, events: &[LogEvent]) {
        self.keys
            .extend(events.iter().map(|event| self.keying.key(event)));
        self.newest = self.newest.max(events.iter().map(|event| event.timestamp).max());
    }

    pub fn found(self) -> Found {
        let Self {
            keying,
            mut keys,
            newest,
        } = self;
        let open = keys.len();
        keys.sort_unstable();
        let counts = keys
            .chunk_by(|a, b| a == b)
            .map(|same| u32::try_from(same.len()).unwrap_or(u32::MAX))
            .collect();
        keys.dedup();
        keys.shrink_to_fit();
        Found {
            keying,
            keys,
            counts,
            open,
            newest,
        }
    }
}

/// The events that were found in the log, each to be used once.
#[derive(Debug)]
pub struct Found {
    keying: Keying,
    /// In order, each once.
    keys: Vec<u128>,
    /// How many of each are left.
    counts: Vec<u32>,
    open: usize,
    newest: Option<Timestamp>,
}

impl Found {
    /// Whether the log holds every one of a record's `events`. If so, they are used up; if not, none is.
    pub fn take<'e>(&mut self, events: impl IntoIterator<Item = &'e LogEvent>) -> bool {
        let mut wanted: BTreeMap<usize, u32> = BTreeMap::new();
        let mut count_all = 0;
        for event in events {
            count_all += 1;
            match self.keys.binary_search(&self.keying.key(event)) {
                Ok(at) => *wanted.entry(at).or_default() += 1,
                Err(_) => return false,
            }
        }
        if count_all == 0 || wanted.iter().any(|(&at, &count)| self.counts[at] < count) {
            return false;
        }
        for (at, count) in wanted {
            self.counts[at] -= count;
        }
        self.open -= count_all;
        true
    }

    /// Nothing is left to be found.
    pub fn is_empty(&self) -> bool {
        self.open == 0
    }

    /// How many are left.
    pub fn len(&self) -> usize {
        self.open
    }

    /// The newest of all events read.
    pub fn newest(&self) -> Option<Timestamp> {
        self.newest
    }

    /// What this takes in memory.
    pub fn bytes(&self) -> usize {
        size_of_val(self.keys.as_slice()) + size_of_val(self.counts.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(millis: i64, message: impl Into<String>) -> LogEvent {
        LogEvent {
            timestamp: Timestamp::from_millis(millis),
            message: message.into(),
        }
    }

    fn found(events: &[LogEvent]) -> Found {
        let mut gathered = Gathered::new([1, 2]);
        gathered.add(events);
        gathered.found()
    }

    fn change(id: &str, sequence: &str, source: &str, rest: &str) -> String {
        format!(
            r#"{{"eventID":{id},"eventName":"INSERT","dynamodb":{{"Keys":{rest},"SequenceNumber":{sequence}}},"eventSourceARN":{source}}}"#
        )
    }

    #[test]
    fn a_change_is_known_by_its_id_place_and_time_and_anything_else_by_its_text_and_time() {
        let logged = change(r#""e1""#, r#""100""#, r#""arn:a""#, r#"{"pk":{"S":"a"}}"#);
        for (what, asked, is_there) in [
            ("itself", event(5, &logged), true),
            (
                "masked images",
                event(
                    5,
                    change(r#""e1""#, r#""100""#, r#""arn:a""#, r#"{"pk":{"S":"*"}}"#),
                ),
                true,
            ),
            (
                "fields in another order",
                event(
                    5,
                    r#" {"eventSourceARN":"arn:a", "dynamodb":{"SequenceNumber":"100"},"eventID":"e1"} "#,
                ),
                true,
            ),
            ("another time", event(6, &logged), false),
            (
                "another id",
                event(5, change(r#""e2""#, r#""100""#, r#""arn:a""#, "{}")),
                false,
            ),
            (
                "another place",
                event(5, change(r#""e1""#, r#""101""#, r#""arn:a""#, "{}")),
                false,
            ),
            (
                "another stream",
                event(5, change(r#""e1""#, r#""100""#, r#""arn:b""#, "{}")),
                false,
            ),
            (
                "fields that run into each other",
                event(5, change(r#""e110""#, r#""0""#, r#""arn:a""#, "{}")),
                false,
            ),
        ] {
            assert_eq!(found(&[event(5, &logged)]).take(&[asked]), is_there, "{what}");
        }
    }

    #[test]
    fn an_id_that_is_none_counts_for_nothing() {
        let rest = r#"{"pk":{"S":"a"}}"#;
        let (id, sequence, arn) = (r#""e1""#, r#""100""#, r#""arn:a""#);
        for logged in [
            change(r#""""#, sequence, arn, rest),
            change("null", sequence, arn, rest),
            change("7", sequence, arn, rest),
            change(id, "[]", arn, rest),
            change(id, sequence, r#"{"a":1}"#, rest),
            format!(r#"{{"eventID":"e2",{}"#, &change(id, sequence, arn, rest)[1..]),
            format!("{} x", change(id, sequence, arn, rest)),
            format!("[{}]", change(id, sequence, arn, rest)),
            r#"{"eventID":"e1","message":{"pk":{"S":"a"}}}"#.to_owned(),
            r#"{"inner":{"eventID":"e1","dynamodb":{"SequenceNumber":"1"},"eventSourceARN":"a"},"x":{"pk":{"S":"a"}}}"#
                .to_owned(),
        ] {
            let mut found = found(&[event(5, &logged)]);
            let other = logged.replace(rest, r#"{"pk":{"S":"b"}}"#);
            assert_ne!(other, logged);
            assert!(!found.take(&[event(5, other)]), "{logged}");
            assert!(found.take(&[event(5, &logged)]), "the text itself: {logged}");
        }
    }

    #[test]
    fn a_change_in_another_format_is_known_by_all_of_its_text() {
        let plain = |place: &str, status: &str| {
            let message = format!(
                r#"{{"eventID":"e1","eventName":"MODIFY","keys":{{"id":1}},"new":{{"status":"{status}"}},"sequenceNumber":"{place}","eventSourceARN":"arn:a"}}"#
            );
            event(5, message)
        };
        assert!(found(&[plain("100", "PAID")]).take(&[plain("100", "PAID")]));
        assert!(!found(&[plain("100", "PAID")]).take(&[plain("101", "PAID")]));
        assert!(
            !found(&[plain("100", "PAID")]).take(&[plain("100", "***")]),
            "it is put once more"
        );
    }

    #[test]
    fn each_occurrence_is_used_once() {
        let mut found = found(&[event(1, "a"), event(1, "a"), event(1, "b"), event(2, "a")]);
        assert_eq!(found.len(), 4);
        let a = || event(1, "a");
        assert!(found.take(&[a()]));
        assert!(found.take(&[a()]));
        assert!(!found.take(&[a()]), "the third was never there");
        assert!(found.take(&[event(2, "a")]));
        assert!(!found.is_empty());
        assert!(found.take(&[event(1, "b")]));
        assert!(found.is_empty());
    }

    #[test]
    fn a_record_is_found_whole_or_not_at_all() {
        let mut found = found(&[event(1, "a"), event(1, "b")]);
        assert!(
            !found.take(&[]),
            "what has no events is not delivered by having them all"
        );
        assert!(!found.take(&[event(1, "a"), event(1, "c")]));
        assert!(!found.take(&[event(1, "a"), event(1, "a")]));
        assert!(!found.take(&[event(1, "a"), event(1, "b"), event(1, "a")]));
        assert!(found.take(&[event(1, "b"), event(1, "a")]), "nothing was used up");
    }

    #[test]
    fn what_was_gathered_is_counted_over_all_pages() {
        let mut gathered = Gathered::new([3, 4]);
        assert_eq!(gathered.newest, None);
        gathered.add(&[event(8, "c"), event(9, "d")]);
        gathered.add(&[]);
        gathered.add(&[event(1, "a"), event(8, "c")]);
        let mut found = gathered.found();
        assert_eq!(
            (found.len(), found.newest()),
            (4, Some(Timestamp::from_millis(9)))
        );
        assert_eq!(found.bytes(), 3 * (16 + 4));
        assert!(found.take(&[event(8, "c"), event(8, "c")]));
    }

    /// Few different events, so that equal ones are common: texts, and changes with their ids.
    fn some_event() -> impl Strategy<Value = LogEvent> {
        (0i64..3, 0u8..4, any::<bool>()).prop_map(|(millis, n, is_change)| {
            let message = match is_change {
                true => change(&format!("\"e{n}\""), "\"1\"", "\"arn\"", "{}"),
                false => format!("text {n}"),
            };
            event(millis, message)
        })
    }

    proptest! {
        #[test]
        fn nothing_is_found_that_is_not_there_and_nothing_twice(
            pages in proptest::collection::vec(proptest::collection::vec(some_event(), 0..20), 0..4),
            records in proptest::collection::vec(proptest::collection::vec(some_event(), 0..4), 0..40),
            secrets in any::<[u64; 2]>(),
        ) {
            let mut gathered = Gathered::new(secrets);
            let mut log: Vec<LogEvent> = Vec::new();
            for page in &pages {
                gathered.add(page);
                log.extend(page.iter().cloned());
            }
            let mut found = gathered.found();
            for record in &records {
                // The same, done slowly: each event of the record takes one away.
                let mut left = log.clone();
                let all = !record.is_empty()
                    && record.iter().all(|e| {
                        left.iter().position(|have| have == e).map(|at| left.swap_remove(at)).is_some()
                    });
                prop_assert_eq!(found.take(record), all);
                if all {
                    log = left;
                }
                prop_assert_eq!(found.len(), log.len());
                prop_assert_eq!(found.is_empty(), log.is_empty());
            }
        }
    }
}
