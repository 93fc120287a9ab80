//! What the log group holds, compared with what the writers wrote.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_sdk_cloudwatchlogs::Client;
use serde::Deserialize;

/// A decimal sequence number as a number; `None` for `TRIM_HORIZON` and its like.
pub fn sequence(text: &str) -> Option<u128> {
    text.parse().ok()
}

/// One log event, and the change it tells of.
#[derive(Debug)]
pub struct Event {
    pub stream: String,
    /// When CloudWatch Logs took it, in ms.
    pub ingested: i64,
    pub event_id: String,
    pub sequence: u128,
    pub key: String,
    pub version: u32,
    /// When its writer sent it, in ms, where the writer says so.
    pub written: Option<i64>,
}

impl Event {
    fn of(message: Message) -> Self {
        let text = &message.text;
        let record: Record = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e} in {text}"));
        Self {
            stream: message.stream,
            ingested: message.ingested,
            event_id: record.event_id,
            sequence: sequence(&record.dynamodb.sequence_number).unwrap(),
            key: record.dynamodb.new_image.id.S,
            written: record.dynamodb.new_image.note.S.parse().ok(),
            version: record.dynamodb.new_image.version.N.parse().unwrap(),
        }
    }
}

/// The parts of a record that a test looks at.
#[derive(Deserialize)]
struct Record {
    #[serde(rename = "eventID")]
    event_id: String,
    dynamodb: Change,
}
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Change {
    sequence_number: String,
    new_image: Image,
}
#[derive(Deserialize)]
struct Image {
    id: Text,
    version: Number,
    note: Text,
}
#[derive(Deserialize)]
#[allow(non_snake_case, reason = "the names of DynamoDB's attribute types")]
struct Text {
    S: String,
}
#[derive(Deserialize)]
#[allow(non_snake_case, reason = "the names of DynamoDB's attribute types")]
struct Number {
    N: String,
}

/// All events of a log group, in the order in which they came in.
#[derive(Debug, Default)]
pub struct Tally {
    pub events: Vec<Event>,
    /// Copies of each change, by its `eventID`.
    copies: HashMap<String, usize>,
}

impl Tally {
    pub async fn read(logs: &Client, group: &str) -> Self {
        let found = messages(logs, group).await.into_iter();
        let events: Vec<Event> = found.map(Event::of).collect();
        let mut copies = HashMap::new();
        for event in &events {
            *copies.entry(event.event_id.clone()).or_default() += 1;
        }
        Self { events, copies }
    }

    /// How many different changes there are.
    pub fn changes(&self) -> usize {
        self.copies.len()
    }

    /// How many events are copies of one that was there before.
    pub fn repeats(&self) -> usize {
        self.events.len() - self.copies.len()
    }

    /// The changes that are there more than once: their sequence numbers, with the number of repeats.
    pub fn repeated(&self) -> BTreeMap<u128, usize> {
        let repeats = self
            .events
            .iter()
            .map(|e| (e.sequence, self.copies[&e.event_id] - 1));
        repeats.filter(|(_, n)| *n > 0).collect()
    }

    /// Panics unless each key went through all versions from 1 to its last, nothing else is there, and the first
    /// copies of its versions came in order.
    pub fn must_hold_all(&self, last: &BTreeMap<String, u32>) {
        let firsts = self.firsts();
        let wrong: Vec<_> = last
            .iter()
            .filter(|(key, last)| {
                !firsts
                    .get(key.as_str())
                    .is_some_and(|found| found.iter().copied().eq(1..=**last))
            })
            .collect();
        assert!(
            wrong.is_empty(),
            "{} keys lack versions, or have them out of order: {wrong:?}",
            wrong.len()
        );
        assert_eq!(firsts.len(), last.len(), "keys in the log group");
    }

    /// The events without their repeats.
    pub fn first_copies(&self) -> impl Iterator<Item = &Event> {
        let mut seen = BTreeSet::new();
        self.events.iter().filter(move |e| seen.insert(&e.event_id))
    }

    /// The versions of each key, in the order in which their first copies came.
    fn firsts(&self) -> HashMap<&str, Vec<u32>> {
        let mut firsts: HashMap<&str, Vec<u32>> = HashMap::new();
        for event in self.first_copies() {
            firsts.entry(&event.key).or_default().push(event.version);
        }
        firsts
    }

    /// Panics unless each of `keys` went through all versions from 1 to `versions`, nothing else is there, and the
    /// first copies of each key's versions came in order.
    pub fn must_hold(&self, keys: usize, versions: u32) {
        let firsts = self.firsts();
        let expected: Vec<u32> = (1..=versions).collect();
        let mut wrong: Vec<_> = firsts.iter().filter(|(_, found)| **found != expected).collect();
        wrong.sort();
        assert!(
            wrong.is_empty(),
            "{} keys lack versions, or have them out of order; the first: {:?}",
            wrong.len(),
            &wrong[..wrong.len().min(5)]
        );
        assert_eq!(firsts.len(), keys, "keys in the log group");
        assert_eq!(
            self.changes(),
            keys * versions as usize,
            "different changes in the log group"
        );
    }
}

/// A log event as it stands in its group.
#[derive(Debug)]
pub struct Message {
    pub stream: String,
    /// When CloudWatch Logs took it, in ms.
    pub ingested: i64,
    pub text: String,
}

/// All that is in a log group, in the order in which it came in: every stream is read to its end. With GetLogEvents,
/// since the emulator's FilterLogEvents ends at 10,000.
pub async fn messages(logs: &Client, group: &str) -> Vec<Message> {
    let mut found = Vec::new();
    for stream in streams(logs, group).await {
        let mut token = None;
        loop {
            let asked = logs.get_log_events().log_group_name(group);
            let asked = asked.log_stream_name(&stream).start_from_head(true);
            let page = asked.set_next_token(token.clone()).send().await.unwrap();
            found.extend(page.events.unwrap_or_default().into_iter().map(|event| Message {
                stream: stream.clone(),
                ingested: event.ingestion_time.unwrap(),
                text: event.message.unwrap(),
            }));
            // The end is reached when the token comes back.
            if page.next_forward_token == token {
                break;
            }
            token = page.next_forward_token;
        }
    }
    // The service reads back by timestamp. Stable: within one put its own order stays.
    found.sort_by_key(|message| message.ingested);
    found
}

async fn streams(logs: &Client, group: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut pages = logs
        .describe_log_streams()
        .log_group_name(group)
        .into_paginator()
        .send();
    while let Some(page) = pages.next().await {
        match page {
            Ok(page) => names.extend(
                page.log_streams()
                    .iter()
                    .map(|s| s.log_stream_name().unwrap().to_owned()),
            ),
            // Weir creates the group with the first event.
            Err(e)
                if e.as_service_error()
                    .is_some_and(|e| e.is_resource_not_found_exception()) =>
            {
                break;
            }
            Err(e) => panic!("{e:?}"),
        }
    }
    names
}
