//! What is in the log, against what was in the stream.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::logs::{Event, LETTERS};
use crate::records::{Fate, Kind, Unit};
use crate::server::State;
use crate::shards::{Record, Shard};
use crate::world::{ALL, COPIES};

/// What is to become of the records of each kind.
pub type Fates = fn(Kind) -> Fate;

/// What became of the records of a story.
#[derive(Debug, Default)]
pub struct Account {
    pub records: usize,
    /// Records whose every event is in the log.
    pub delivered: usize,
    /// Events of the log that were there before.
    pub repeats: usize,
    pub letters: usize,
    /// Records that have no event, as they should.
    pub filtered: usize,
    /// Records that the service itself threw away before they were read.
    pub trimmed: usize,
    /// Records that are nowhere.
    pub lost: Vec<Unit>,
    /// What should not be: events out of order, in the wrong place, of no record.
    pub wrong: Vec<String>,
}

/// An event's first copy: its unit, and its place among all that was put.
type Firsts<'a> = BTreeMap<Unit, &'a Event>;

/// All events that were ever put, in the order of their arrival, each with its group and its stream. The group of
/// one that was deleted has no name.
fn events(state: &State) -> Vec<(&str, &str, &Event)> {
    let deleted = state.logs.deleted.iter().map(|group| ("", group));
    let groups = state
        .logs
        .groups
        .iter()
        .map(|(name, group)| (name.as_str(), group));
    let mut events: Vec<_> = deleted
        .chain(groups)
        .flat_map(|(name, group)| {
            group
                .streams
                .iter()
                .map(move |(stream, events)| (name, stream, events))
        })
        .flat_map(|(name, stream, events)| events.iter().map(move |e| (name, stream.as_str(), e)))
        .collect();
    events.sort_by_key(|(.., e)| e.arrival);
    events
}

/// A message of the log that is no dead letter, put together where it came in parts.
#[derive(Debug)]
pub struct Message<'s> {
    pub group: &'s str,
    pub stream: &'s str,
    pub text: String,
    /// Its event; the last that came of several.
    pub event: &'s Event,
}

/// The messages that were whole only after so many events had arrived, in their order; a part that came again is one
/// too.
pub fn messages_since(state: &State, arrivals: u64) -> Vec<Message<'_>> {
    let mut parts = Parts::default();
    let mut messages = Vec::new();
    let all = events(state).into_iter();
    for (group, stream, event) in all.filter(|(_, stream, _)| *stream != LETTERS) {
        let text = match parts.take(&event.message) {
            Part::None | Part::Again => event.message.clone(),
            Part::Last(whole) => whole,
            Part::Other => continue,
        };
        let message = Message {
            group,
            stream,
            text,
            event,
        };
        messages.extend((event.arrival > arrivals).then_some(message));
    }
    messages
}

impl Account {
    /// Of the pipeline that all stories are told of.
    pub fn of(state: &State, fates: Fates) -> Self {
        Self::within(state, fates, |group| group != COPIES)
    }

    /// Of the pipeline that writes to [`COPIES`].
    pub fn of_copies(state: &State) -> Self {
        Self::within(state, Kind::fate, |group| group == COPIES)
    }

    fn within(state: &State, fates: Fates, is_meant: impl Fn(&str) -> bool) -> Self {
        let mut account = Self::default();
        let mut firsts = Firsts::new();
        let mut letters = Letters::default();
        let mut parts = Parts::default();
        for (_, stream, event) in events(state).into_iter().filter(|(group, ..)| is_meant(group)) {
            if stream == LETTERS {
                account.repeats += usize::from(letters.take(&event.message, &mut account.wrong));
                continue;
            }
            let found = match parts.take(&event.message) {
                Part::None => Unit::of(&event.message),
                Part::Last(whole) => Unit::of(&whole),
                Part::Other => continue,
                Part::Again => {
                    account.repeats += 1;
                    continue;
                }
            };
            match found {
                Some(unit) if unit.shard == stream || stream == ALL => match firsts.contains_key(&unit) {
                    true => account.repeats += 1,
                    false => {
                        firsts.insert(unit, event);
                    }
                },
                found => account
                    .wrong
                    .push(format!("{found:?} stands in {stream}: {}", short(&event.message))),
            }
        }
        for shard in &state.stream.shards {
            for (at, record) in shard.records.iter().enumerate() {
                account.judge(shard, at, record, fates(record.kind), &firsts, &letters);
            }
            account.order(shard, &firsts);
        }
        let whole = letters.whole().count();
        if whole != account.letters {
            let text = format!("{whole} dead letters, where {} records have one", account.letters);
            account.wrong.push(text);
        }
        account
    }

    fn judge(
        &mut self,
        shard: &Shard,
        at: usize,
        record: &Record,
        fate: Fate,
        firsts: &Firsts<'_>,
        letters: &Letters,
    ) {
        self.records += 1;
        let unit = shard.unit(at);
        let parts = |count: u32| (0..count).filter(|part| has(firsts, &unit, *part)).count();
        let letter = letters.reason(&shard.id, &record.sequence);
        match (fate, letter) {
            (Fate::Delivered(count), None) if parts(count) == count as usize => self.delivered += 1,
            (Fate::Letter(reason), Some(found)) if found == reason => {
                self.letters += 1;
                if has(firsts, &unit, 0) {
                    self.wrong
                        .push(format!("{unit} is in the log and has a dead letter"));
                }
            }
            (Fate::Filtered, None) => self.filtered += 1,
            (_, None) if at < shard.trimmed => self.trimmed += 1,
            (_, None) => self.lost.push(unit),
            (fate, Some(found)) => {
                self.letters += 1;
                self.wrong
                    .push(format!("{unit} is to be {fate:?} and has a dead letter: {found}"));
            }
        }
    }

    /// First deliveries come in the order of the shard, and after the last of its parents; only those whose time was
    /// refused at first may come late.
    fn order(&mut self, shard: &Shard, firsts: &Firsts<'_>) {
        let mut last = 0;
        for parent in &shard.parents {
            let of_parent = of_shard(firsts, parent).map(|(_, e)| e.arrival).max();
            last = last.max(of_parent.unwrap_or_default());
        }
        for (unit, event) in of_shard(firsts, &shard.id) {
            if event.message.starts_with(OTHER_TIME) {
                continue;
            }
            if event.arrival < last {
                self.wrong.push(format!("{unit} is in the log before its turn"));
            }
            last = last.max(event.arrival);
        }
    }

    pub fn is_settled(&self) -> bool {
        self.lost.is_empty()
    }

    pub fn settled(&self) -> usize {
        self.records - self.lost.len()
    }
}

/// How a message begins that is told at another time than its own.
pub const OTHER_TIME: &str = "{\"weirOriginalTime\":\"";

fn has(firsts: &Firsts<'_>, unit: &Unit, part: u32) -> bool {
    firsts.contains_key(&Unit { part, ..unit.clone() })
}

fn of_shard<'a, 'e>(firsts: &'a Firsts<'e>, shard: &str) -> impl Iterator<Item = (&'a Unit, &'a &'e Event)> {
    let from = Unit {
        shard: shard.to_owned(),
        record: 0,
        part: 0,
    };
    let of = shard.to_owned();
    firsts.range(from..).take_while(move |(unit, _)| unit.shard == of)
}

pub fn short(text: &str) -> String {
    text.chars().take(200).collect()
}

/// The messages that came in parts, each with the event's id, its number and how many there are.
#[derive(Default)]
struct Parts {
    found: BTreeMap<String, BTreeMap<u64, String>>,
}

/// What a message is.
enum Part {
    /// No part: a whole message.
    None,
    /// The last that was missing; the message is whole.
    Last(String),
    Other,
    /// One that was there before.
    Again,
}

impl Parts {
    fn take(&mut self, message: &str) -> Part {
        if !(message.starts_with("{\"id\":") && message.contains("\"parts\":")) {
            return Part::None;
        }
        let part: Value = serde_json::from_str(message).unwrap_or_default();
        let (Some(id), Some(number), Some(all), Some(piece)) = (
            part["id"].as_str(),
            part["part"].as_u64(),
            part["parts"].as_u64(),
            part["message"].as_str(),
        ) else {
            return Part::None;
        };
        let pieces = self.found.entry(id.to_owned()).or_default();
        if pieces.insert(number, piece.to_owned()).is_some() {
            Part::Again
        } else if pieces.keys().copied().eq(1..=all) {
            Part::Last(pieces.values().map(String::as_str).collect())
        } else {
            Part::Other
        }
    }
}

/// The dead letters, put together from their parts.
#[derive(Default)]
struct Letters {
    /// By shard and sequence number: the reason, the parts found, and how many there are.
    found: BTreeMap<(String, String), (String, BTreeSet<u64>, u64)>,
}

impl Letters {
    /// Takes in one event. `true`: it was there before.
    fn take(&mut self, message: &str, wrong: &mut Vec<String>) -> bool {
        let letter: Value = serde_json::from_str(message).unwrap_or_default();
        let text = |name: &str| letter[name].as_str().map(str::to_owned);
        let number = |name: &str| letter[name].as_u64();
        let (Some(reason), Some(shard), Some(sequence), Some(part), Some(parts)) = (
            text("deadLetter"),
            text("shardId"),
            text("sequenceNumber"),
            number("part"),
            number("parts"),
        ) else {
            wrong.push(format!("no dead letter: {}", short(message)));
            return false;
        };
        let entry = self.found.entry((shard, sequence));
        let (_, there, _) = entry.or_insert_with(|| (reason, BTreeSet::new(), parts));
        !there.insert(part)
    }

    fn whole(&self) -> impl Iterator<Item = &(String, BTreeSet<u64>, u64)> {
        let is_whole = |found: &&(String, BTreeSet<u64>, u64)| found.1.len() as u64 == found.2;
        self.found.values().filter(is_whole)
    }

    fn reason(&self, shard: &str, sequence: &str) -> Option<&str> {
        let (reason, parts, all) = self.found.get(&(shard.to_owned(), sequence.to_owned()))?;
        (parts.len() as u64 == *all).then_some(reason.as_str())
    }
}
