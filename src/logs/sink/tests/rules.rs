//! Whatever is submitted: every put keeps the rules, and every event is in the log or a dead letter, once.

use proptest::prelude::*;

use super::*;
use crate::logs::oversize;

/// One event, as a test makes it.
#[derive(Clone, Debug)]
struct Given {
    /// Bytes of its message.
    size: usize,
    /// Before or after now, in hours.
    hours: i64,
    poison: bool,
}

fn given() -> impl Strategy<Value = Given> {
    let size = prop_oneof![
        1 => Just(0usize),
        12 => 20usize..200,
        2 => 100_000usize..600_000,
        2 => (MAX_MESSAGE_BYTES - 40)..(MAX_MESSAGE_BYTES + 40),
        1 => MAX_MESSAGE_BYTES..2_500_000,
    ];
    // Some so often that many share a millisecond; around each limit.
    let hours = prop_oneof![
        6 => Just(0i64),
        3 => prop::sample::select(vec![-1, 1, 2, 3, -24, -25, -100, -167, -169, -335, -337, -400]),
        1 => -500i64..10,
    ];
    // What is refused from the next millisecond on is neither here nor there.
    let hours = hours.prop_filter("a limit itself", |hours| ![-168, -336].contains(hours));
    (size, hours, prop::bool::weighted(0.05)).prop_map(|(size, hours, poison)| Given { size, hours, poison })
}

fn how() -> impl Strategy<Value = (Oversize, Untimely, Untimely)> {
    let untimely = || prop::sample::select(vec![Untimely::DeadLetter, Untimely::Now]);
    let oversize = prop::sample::select(vec![Oversize::Split, Oversize::Truncate, Oversize::DeadLetter]);
    (oversize, untimely(), untimely())
}

/// Begins with the record's number; has control characters that take six bytes in JSON.
fn message(record: usize, given: &Given) -> String {
    if given.size == 0 {
        return String::new();
    }
    let mut message = format!("{record}:");
    if given.poison {
        message.push_str("poison");
    }
    while message.len() < given.size {
        let pad = "padding with \"quotes\"\u{1}";
        let room = given.size - message.len();
        message.push_str(&pad[..room.min(pad.len())]);
    }
    message
}

fn timestamp(given: &Given) -> Timestamp {
    Timestamp::from_millis(NOW.millis() + given.hours * 3_600_000)
}

#[derive(Debug, Default)]
struct Told {
    events: Vec<LogEvent>,
}

/// Which record a message of the log is of.
fn record_of(message: &str) -> usize {
    let text = match serde_json::from_str::<serde_json::Value>(message) {
        Ok(value) if value.is_object() => match value["id"].as_str() {
            Some(id) => {
                let sequence = id.rsplit(':').nth(2).unwrap();
                return sequence.parse().unwrap();
            }
            None => value["message"].as_str().unwrap().to_owned(),
        },
        _ => message.to_owned(),
    };
    text.split(':').next().unwrap().parse().unwrap()
}

/// The message as it was given, from what the log holds of it, and whether that is all of it.
fn original(told: &[LogEvent]) -> (String, bool) {
    let unwrapped = |text: String| match serde_json::from_str::<serde_json::Value>(&text) {
        Ok(value) if value.is_object() && value["weirOriginalTime"].is_string() => {
            value["message"].as_str().unwrap().to_owned()
        }
        _ => text,
    };
    if told.len() > 1 {
        let whole = oversize::join(told.iter().map(|e| e.message.as_str())).unwrap();
        let first: serde_json::Value = serde_json::from_str(&told[0].message).unwrap();
        assert_eq!(first["parts"], told.len(), "each part once");
        return (unwrapped(whole), true);
    }
    let message = &told[0].message;
    let value: serde_json::Value = serde_json::from_str(message).unwrap_or_default();
    if value["truncated"] == true {
        // The beginning of JSON that Weir made around the text can't be read: its own beginning will do.
        let kept = value["message"].as_str().unwrap().to_owned();
        return (kept, false);
    }
    match message.rsplit_once(" …[truncated") {
        Some((kept, _)) => (kept.to_owned(), false),
        None => (unwrapped(message.clone()), true),
    }
}

/// What the dead letters hold, by record.
fn letters(works: &Works) -> BTreeMap<usize, Vec<LogEvent>> {
    let mut letters: BTreeMap<usize, Vec<LogEvent>> = BTreeMap::new();
    for letter in works.messages(&to("/g", "dead-letter")) {
        let letter: serde_json::Value = serde_json::from_str(&letter).unwrap();
        let record = letter["sequenceNumber"].as_str().unwrap().parse().unwrap();
        let of_record = letters.entry(record).or_default();
        // The parts of a letter stand together.
        if letter["part"] == 1 {
            of_record.push(LogEvent {
                timestamp: NOW,
                message: String::new(),
            });
        }
        let piece = letter["message"].as_str().unwrap();
        of_record.last_mut().unwrap().message.push_str(piece);
    }
    letters
}

async fn all_keeps_the_rules(given: Vec<Given>, how: (Oversize, Untimely, Untimely), parcels: usize) {
    let (oversize, too_old, too_new) = how;
    let works = Works::with(SinkSettings {
        oversize,
        too_old,
        too_new,
        ..settings()
    });
    let (lane, mut rx) = works.lane();
    let log = to("/g", "all");
    let numbered: Vec<(usize, &Given)> = given.iter().enumerate().collect();
    for chunk in numbered.chunks(given.len().div_ceil(parcels)) {
        let mut parcel = Parcel::new(&lane);
        for (record, one) in chunk {
            let event = LogEvent {
                timestamp: timestamp(one),
                message: message(*record, one),
            };
            parcel.event(&log, *record as u64, place(*record), 0, event);
        }
        works.sink.submit(parcel);
        works.sleep(1).await;
    }
    let outcomes = outcomes(&mut rx, given.len()).await;
    let broken = works.store.held(|held| held.broken.clone());
    assert_eq!(broken, Vec::<String>::new());

    // By their time, and at the same time as they came: so they are read.
    let mut events = works
        .store
        .held(|held| held.logs.remove(&log))
        .unwrap_or_default();
    events.sort_by_key(|e| e.timestamp);
    let mut told: BTreeMap<usize, Told> = BTreeMap::new();
    let mut last: BTreeMap<(Timestamp, bool), usize> = BTreeMap::new();
    for event in events {
        let record = record_of(&event.message);
        let is_restamped = event.timestamp != timestamp(&given[record]);
        let before = last.insert((event.timestamp, is_restamped), record);
        assert!(before <= Some(record), "{record} comes after {before:?}");
        told.entry(record).or_default().events.push(event);
    }
    let mut letters = letters(&works);
    for (record, one) in given.iter().enumerate() {
        let (message, refused) = (message(record, one), outcomes[&(record as u64)]);
        let expected = expected(one, how);
        if one.poison && message.len() > MAX_MESSAGE_BYTES && oversize == Oversize::Split {
            // Of its parts one is poison, and the others may be untimely.
            assert!(refused.is_some(), "{one:?}");
        } else {
            // Of one that is both, the service tells what it likes.
            let told = match (refused, expected) {
                (Some(Refusal::Expired), Some(Refusal::TooOld)) => expected,
                _ => refused,
            };
            assert_eq!(told, expected, "{one:?}");
        }
        let told = told.remove(&record).unwrap_or_default().events;
        let letters = letters.remove(&record).unwrap_or_default();
        assert_eq!(letters.is_empty(), refused.is_none(), "{one:?}");
        let is_restamped = told.iter().any(|e| e.timestamp != timestamp(one));
        let is_untimely = !(-168..=2).contains(&one.hours);
        assert!(told.is_empty() || is_restamped == is_untimely, "{one:?}");
        let all: Vec<LogEvent> = told.into_iter().chain(letters).collect();
        let (text, is_all) = original(&all);
        assert!(is_all == (text == message), "{one:?}");
        assert!(is_all || oversize == Oversize::Truncate);
        assert!(is_all || message.starts_with(&text) || text.starts_with("{\"weirOriginalTime\""));
    }
    assert!(told.is_empty() && letters.is_empty());
    // Whatever is left to do ends with the sink.
    drop(works.sink);
    works.router.await.unwrap().unwrap();
}

/// Why a record goes to the dead letters, if it does.
fn expected(given: &Given, (oversize, too_old, too_new): (Oversize, Untimely, Untimely)) -> Option<Refusal> {
    let is_large = given.size > MAX_MESSAGE_BYTES;
    // The store takes ages to the hour: the clock has moved on by less.
    let untimely = match given.hours {
        ..=-336 => Some((Refusal::TooOld, too_old)),
        -335..=-168 => Some((Refusal::Expired, too_old)),
        3.. => Some((Refusal::TooNew, too_new)),
        _ => None,
    };
    match (given.size, untimely) {
        (0, _) => Some(Refusal::Empty),
        _ if is_large && oversize == Oversize::DeadLetter => Some(Refusal::Oversize),
        // The whole batch fails before any event is looked at.
        _ if given.poison => Some(Refusal::Invalid),
        (_, Some((refusal, Untimely::DeadLetter))) => Some(refusal),
        (size, Some((refusal, Untimely::Now))) if oversize == Oversize::DeadLetter => {
            let message = message(0, given);
            let event = LogEvent {
                timestamp: timestamp(given),
                message,
            };
            let larger = crate::logs::untimely::at(event, NOW).message.len();
            // The number of the record has a digit or two.
            (larger + size - given.size > MAX_MESSAGE_BYTES).then_some(refusal)
        }
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_put_keeps_the_rules_and_every_event_is_told_once(
        given in prop::collection::vec(given(), 1..40), how in how(), parcels in 1usize..4
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(all_keeps_the_rules(given, how, parcels));
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_events_make_a_put_and_one_more_makes_two() {
    let works = Works::with(settings());
    let (lane, mut rx) = works.lane();
    let mut parcel = Parcel::new(&lane);
    for record in 0..=MAX_BATCH_EVENTS {
        let event = LogEvent {
            timestamp: NOW,
            message: record.to_string(),
        };
        parcel.event(&to("/g", "s"), record as u64, place(record), 0, event);
    }
    works.sink.submit(parcel);
    let outcomes = outcomes(&mut rx, MAX_BATCH_EVENTS + 1).await;
    assert!(outcomes.values().all(Option::is_none));
    let (puts, broken) = works
        .store
        .held(|held| (held.puts.len(), std::mem::take(&mut held.broken)));
    assert_eq!((puts, broken.len()), (2, 0));
    let expected: Vec<String> = (0..=MAX_BATCH_EVENTS).map(|record| record.to_string()).collect();
    assert_eq!(works.messages(&to("/g", "s")), expected);
}

#[tokio::test(start_paused = true)]
async fn a_record_is_dead_lettered_if_one_part_of_one_event_is() {
    let works = Works::with(settings());
    let (lane, mut rx) = works.lane();
    // The first part is poison, the second is not.
    let message = format!("poison{}", "x".repeat(MAX_MESSAGE_BYTES));
    works.submit(&lane, &to("/g", "s"), 0, &message);
    let outcomes = outcomes(&mut rx, 1).await;
    assert_eq!(outcomes[&0], Some(Refusal::Invalid));
    assert_eq!(works.messages(&to("/g", "s")).len(), 1);
    let letters: Vec<serde_json::Value> = works
        .messages(&to("/g", "dead-letter"))
        .iter()
        .map(|letter| serde_json::from_str(letter).unwrap())
        .collect();
    let part: String = letters.iter().map(|l| l["message"].as_str().unwrap()).collect();
    let part: serde_json::Value = serde_json::from_str(&part).unwrap();
    assert_eq!((&part["part"], &part["parts"]), (&1.into(), &2.into()));
    assert_eq!(part["id"], "arn:aws:kinesis:eu-west-1:1:stream/s:shardId-1:0:0:0");
}

#[tokio::test(start_paused = true)]
async fn the_letter_of_an_event_tells_whether_a_redaction_was_set() {
    for redacts in [true, false] {
        let works = Works::with(SinkSettings {
            redacts,
            ..settings()
        });
        let (lane, mut rx) = works.lane();
        works.submit(&lane, &to("/g", "all"), 0, "poison");
        let outcomes = outcomes(&mut rx, 1).await;
        assert_eq!(outcomes[&0], Some(Refusal::Invalid));
        let letters = works.messages(&to("/g", "dead-letter"));
        let letter: serde_json::Value = serde_json::from_str(&letters[0]).unwrap();
        assert_eq!(letter["redacted"] == true, redacts);
    }
}
