//! CloudWatch Logs, with the rules of PutLogEvents to the byte (its API reference, August 2025). No emulator has
//! them. A put that breaks one is refused as the service refuses it, and is a complaint: Weir must send none.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::{Value, json};

use crate::answer::{Answer, Refused, nothing, refused, text};
use crate::records::{MARK, now};

const BATCH_BYTES: usize = 1_048_576;
const BATCH_EVENTS: usize = 10_000;
const OVERHEAD: usize = 26;
const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
/// What one page of GetLogEvents holds at most.
const PAGE_BYTES: usize = 1_048_576;
const PAGE_EVENTS: usize = 10_000;
const RETENTIONS: [i64; 22] = [
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
];

/// The dead letters' stream, unless the settings say otherwise.
pub const LETTERS: &str = "dead-letter";

/// One event, as the service keeps it.
#[derive(Clone, Debug)]
pub struct Event {
    pub timestamp: i64,
    pub message: String,
    /// Its place among all that was ever put.
    pub arrival: u64,
    pub ingested: i64,
}

#[derive(Debug, Default)]
pub struct Group {
    pub retention: Option<i64>,
    pub key: Option<String>,
    pub tags: BTreeMap<String, String>,
    pub streams: BTreeMap<String, Vec<Event>>,
}

#[derive(Debug, Default)]
pub struct Logs {
    pub groups: BTreeMap<String, Group>,
    /// What was in groups that were deleted: the test still wants to see it.
    pub deleted: Vec<Group>,
    arrivals: u64,
    /// Whether it refuses every batch with a marked event in it, without saying which it is.
    pub refuses_marked: bool,
    /// The size of the largest batch it took.
    pub largest: usize,
    /// When it was asked to take one, first to last.
    pub puts: Vec<Instant>,
}

fn missing(what: &str) -> Refused {
    refused(
        "ResourceNotFoundException",
        format!("The specified {what} does not exist."),
    )
}

fn invalid(why: impl Into<String>) -> Refused {
    refused("InvalidParameterException", why)
}

impl Logs {
    /// The place of the last event that was put.
    pub fn arrivals(&self) -> u64 {
        self.arrivals
    }

    /// The messages, dead letters too, that hold any of these texts.
    pub fn holding(&self, texts: &[&str]) -> Vec<&str> {
        let streams = self.groups.values().flat_map(|group| group.streams.values());
        let messages = streams.flatten().map(|event| event.message.as_str());
        messages
            .filter(|message| texts.iter().any(|text| message.contains(text)))
            .collect()
    }

    /// A group that is there before Weir, and keeps its events for so many days.
    pub fn keep(&mut self, group: &str, days: i64) {
        let retention = Some(days);
        let made = Group {
            retention,
            ..Group::default()
        };
        self.groups.insert(group.to_owned(), made);
    }

    pub fn answer(&mut self, operation: &str, body: &Value, complaints: &mut Vec<String>) -> Answer {
        match operation {
            "PutLogEvents" => self.put(body, complaints),
            "CreateLogGroup" => self.create_group(body, complaints),
            "CreateLogStream" => self.create_stream(body, complaints),
            "DeleteLogGroup" => match self.delete_group(text(body, "logGroupName")) {
                true => nothing(),
                false => Err(missing("log group")),
            },
            "PutRetentionPolicy" => {
                let days = body["retentionInDays"].as_i64().unwrap_or_default();
                if !RETENTIONS.contains(&days) {
                    complaints.push(format!("a retention of {days} days"));
                    return Err(invalid("retentionInDays"));
                }
                self.group(body)?.retention = Some(days);
                nothing()
            }
            "AssociateKmsKey" => {
                self.group(body)?.key = Some(text(body, "kmsKeyId").to_owned());
                nothing()
            }
            "TagResource" => {
                let name = text(body, "resourceArn")
                    .split(":log-group:")
                    .nth(1)
                    .unwrap_or("");
                let name = name.trim_end_matches(":*");
                let group = self.groups.get_mut(name).ok_or_else(|| missing("log group"))?;
                group.tags.extend(tags(&body["tags"]));
                nothing()
            }
            "ListTagsForResource" => {
                let name = text(body, "resourceArn").split(":log-group:").nth(1);
                let group = name.and_then(|name| self.groups.get(name.trim_end_matches(":*")));
                let group = group.ok_or_else(|| missing("log group"))?;
                Ok(json!({ "tags": group.tags }))
            }
            "DescribeLogGroups" => Ok(self.describe_groups(body)),
            "DescribeLogStreams" => {
                let prefix = text(body, "logStreamNamePrefix").to_owned();
                let streams = self.group(body)?.streams.keys();
                let found = streams.filter(|name| name.starts_with(&prefix));
                let found: Vec<_> = found.map(|name| json!({ "logStreamName": name })).collect();
                Ok(json!({ "logStreams": found }))
            }
            "GetLogEvents" => self.get(body),
            "FilterLogEvents" => self.filter(body),
            "DescribeSubscriptionFilters" => {
                self.group(body)?;
                Ok(json!({ "subscriptionFilters": [] }))
            }
            "DescribeAccountPolicies" => Ok(json!({ "accountPolicies": [] })),
            _ => {
                complaints.push(format!(
                    "the fake of CloudWatch Logs knows no {operation}: {body}"
                ));
                Err(refused("UnknownOperationException", operation))
            }
        }
    }

    fn group(&mut self, body: &Value) -> Result<&mut Group, Refused> {
        let name = text(body, "logGroupName");
        self.groups.get_mut(name).ok_or_else(|| missing("log group"))
    }

    /// With all that is in it. `false`: there is none.
    pub fn delete_group(&mut self, name: &str) -> bool {
        let group = self.groups.remove(name);
        let was_there = group.is_some();
        self.deleted.extend(group);
        was_there
    }

    fn create_group(&mut self, body: &Value, complaints: &mut Vec<String>) -> Answer {
        let name = text(body, "logGroupName");
        let letters = |c: char| c.is_ascii_alphanumeric() || ".-_/#".contains(c);
        if name.is_empty() || name.len() > 512 || !name.chars().all(letters) || name.starts_with("aws/") {
            complaints.push(format!("a log group of the name {name:?}"));
            return Err(invalid("logGroupName"));
        }
        if self.groups.contains_key(name) {
            return Err(refused(
                "ResourceAlreadyExistsException",
                "The specified log group already exists",
            ));
        }
        let group = Group {
            key: body["kmsKeyId"].as_str().map(str::to_owned),
            tags: tags(&body["tags"]),
            ..Group::default()
        };
        self.groups.insert(name.to_owned(), group);
        nothing()
    }

    fn create_stream(&mut self, body: &Value, complaints: &mut Vec<String>) -> Answer {
        let name = text(body, "logStreamName").to_owned();
        if name.is_empty() || name.chars().count() > 512 || name.contains([':', '*']) {
            complaints.push(format!("a log stream of the name {name:?}"));
            return Err(invalid("logStreamName"));
        }
        let streams = &mut self.group(body)?.streams;
        if streams.contains_key(&name) {
            return Err(refused(
                "ResourceAlreadyExistsException",
                "The specified log stream already exists",
            ));
        }
        streams.insert(name, Vec::new());
        nothing()
    }

    fn put(&mut self, body: &Value, complaints: &mut Vec<String>) -> Answer {
        self.puts.push(Instant::now());
        let events = body["logEvents"].as_array().cloned().unwrap_or_default();
        let stream_name = text(body, "logStreamName").to_owned();
        let events: Vec<(i64, String)> = events
            .iter()
            .map(|e| {
                (
                    e["timestamp"].as_i64().unwrap_or(-1),
                    text(e, "message").to_owned(),
                )
            })
            .collect();
        let now = now();
        let name = text(body, "logGroupName");
        let group = self.groups.get_mut(name).ok_or_else(|| missing("log group"))?;
        let retention = group.retention;
        let Some(stream) = group.streams.get_mut(&stream_name) else {
            return Err(missing("log stream"));
        };
        if let Err(why) = rules(&events, now, retention) {
            complaints.push(format!("a put to {stream_name} breaks a rule: {why}"));
            return Err(invalid(why));
        }
        if self.refuses_marked && stream_name != LETTERS && events.iter().any(|(_, m)| m.contains(MARK)) {
            return Err(invalid("Log events are invalid."));
        }
        let bytes = events.iter().map(|(_, m)| m.len() + OVERHEAD).sum();
        self.largest = self.largest.max(bytes);
        let (mut too_old, mut expired, mut too_new) = (0, 0, None);
        for (at, (timestamp, message)) in events.into_iter().enumerate() {
            match judge(timestamp, now, retention) {
                Verdict::TooOld => too_old = at + 1,
                Verdict::Expired => expired = at + 1,
                Verdict::TooNew => too_new = too_new.or(Some(at)),
                Verdict::Taken => {
                    self.arrivals += 1;
                    stream.push(Event {
                        timestamp,
                        message,
                        arrival: self.arrivals,
                        ingested: now,
                    });
                }
            }
        }
        let mut answer = json!({ "nextSequenceToken": "unused" });
        let info = &mut answer["rejectedLogEventsInfo"];
        if too_old > 0 {
            info["tooOldLogEventEndIndex"] = too_old.into();
        }
        if expired > 0 {
            info["expiredLogEventEndIndex"] = expired.into();
        }
        if let Some(start) = too_new {
            info["tooNewLogEventStartIndex"] = start.into();
        }
        Ok(answer)
    }

    fn describe_groups(&self, body: &Value) -> Value {
        let prefix = text(body, "logGroupNamePrefix");
        let found = self.groups.iter().filter(|(name, _)| name.starts_with(prefix));
        let found: Vec<_> = found
            .map(|(name, group)| {
                let mut told = json!({
                    "logGroupName": name, "logGroupClass": "STANDARD",
                    "arn": format!("arn:aws:logs:eu-west-1:111122223333:log-group:{name}:*"),
                });
                if let Some(days) = group.retention {
                    told["retentionInDays"] = days.into();
                }
                if let Some(key) = &group.key {
                    told["kmsKeyId"] = key.as_str().into();
                }
                told
            })
            .collect();
        json!({ "logGroups": found })
    }

    /// By time, and by arrival where the times are equal. A token is a place among all that was asked for.
    fn get(&mut self, body: &Value) -> Answer {
        let name = text(body, "logStreamName").to_owned();
        let streams = &self.group(body)?.streams;
        let stream = streams.get(&name).ok_or_else(|| missing("log stream"))?;
        let since = body["startTime"].as_i64().unwrap_or_default();
        let until = body["endTime"].as_i64().unwrap_or(i64::MAX);
        let within = |e: &&Event| e.timestamp >= since && e.timestamp < until;
        let mut events: Vec<_> = stream.iter().filter(within).collect();
        events.sort_by_key(|e| (e.timestamp, e.arrival));
        let limit = body["limit"].as_u64().map_or(PAGE_EVENTS, |n| n as usize);
        let limit = limit.min(PAGE_EVENTS);
        let token = body["nextToken"].as_str().map(|token| {
            let (way, at) = token.split_once('/').unwrap_or_default();
            (way.to_owned(), at.parse::<usize>().unwrap_or_default())
        });
        let forward = match &token {
            Some((way, _)) => way == "f",
            None => body["startFromHead"] == true,
        };
        let size = |e: &Event| e.message.len() + OVERHEAD;
        let (mut start, mut end) = match token {
            Some((_, at)) => (at, at),
            None if forward => (0, 0),
            None => (events.len(), events.len()),
        };
        let mut bytes = 0;
        while end - start < limit {
            let next = if forward { Some(end) } else { start.checked_sub(1) };
            let Some(event) = next.and_then(|at| events.get(at)) else {
                break;
            };
            bytes += size(event);
            if bytes > PAGE_BYTES && end > start {
                break;
            }
            if forward { end += 1 } else { start -= 1 }
        }
        let page: Vec<_> = events
            .get(start..end)
            .unwrap_or_default()
            .iter()
            .map(|e| json!({ "timestamp": e.timestamp, "message": e.message, "ingestionTime": e.ingested }))
            .collect();
        Ok(json!({
            "events": page,
            "nextBackwardToken": format!("b/{start}"),
            "nextForwardToken": format!("f/{end}"),
        }))
    }

    /// All in one page, without a pattern.
    fn filter(&mut self, body: &Value) -> Answer {
        let since = body["startTime"].as_i64().unwrap_or_default();
        let names: Vec<_> = body["logStreamNames"].as_array().cloned().unwrap_or_default();
        let streams = &self.group(body)?.streams;
        let mut found: Vec<(&String, &Event)> = streams
            .iter()
            .filter(|(name, _)| names.is_empty() || names.iter().any(|n| n == *name))
            .flat_map(|(name, events)| events.iter().map(move |e| (name, e)))
            .filter(|(_, e)| e.timestamp >= since)
            .collect();
        found.sort_by_key(|(_, e)| (e.timestamp, e.arrival));
        let found: Vec<_> = found
            .into_iter()
            .map(|(name, e)| {
                json!({ "logStreamName": name, "timestamp": e.timestamp, "message": e.message,
                    "ingestionTime": e.ingested, "eventId": e.arrival.to_string() })
            })
            .collect();
        Ok(json!({ "events": found, "searchedLogStreams": [] }))
    }
}

fn tags(given: &Value) -> BTreeMap<String, String> {
    let given = given.as_object().cloned().unwrap_or_default();
    let tag = |(key, value): (String, Value)| (key, value.as_str().unwrap_or_default().to_owned());
    given.into_iter().map(tag).collect()
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Taken,
    TooOld,
    Expired,
    TooNew,
}

/// What becomes of one event of a batch that keeps the rules.
fn judge(timestamp: i64, now: i64, retention: Option<i64>) -> Verdict {
    if timestamp < now - 14 * DAY {
        Verdict::TooOld
    } else if retention.is_some_and(|days| timestamp < now - days * DAY) {
        Verdict::Expired
    } else if timestamp > now + 2 * HOUR {
        Verdict::TooNew
    } else {
        Verdict::Taken
    }
}

/// The rules that refuse a batch as a whole.
fn rules(events: &[(i64, String)], now: i64, retention: Option<i64>) -> Result<(), String> {
    if events.is_empty() || events.len() > BATCH_EVENTS {
        return Err(format!("{} events", events.len()));
    }
    let bytes: usize = events.iter().map(|(_, m)| m.len() + OVERHEAD).sum();
    if let Some((_, large)) = events.iter().find(|(_, m)| m.len() + OVERHEAD > BATCH_BYTES) {
        return Err(format!("Log event too large: {} bytes", large.len() + OVERHEAD));
    }
    if bytes > BATCH_BYTES {
        return Err(format!("Upload too large: {bytes} bytes"));
    }
    if events.iter().any(|(_, m)| m.is_empty()) {
        return Err("an empty message".to_owned());
    }
    if events.iter().any(|(t, _)| *t < 0) {
        return Err("a timestamp below zero".to_owned());
    }
    if !events.is_sorted_by_key(|(t, _)| *t) {
        return Err("Log events in a single PutLogEvents request must be in chronological order.".to_owned());
    }
    let valid = || {
        let times = events.iter().map(|(t, _)| *t);
        times.filter(|t| judge(*t, now, retention) == Verdict::Taken)
    };
    match valid().min().zip(valid().max()) {
        Some((first, last)) if last - first > DAY => Err(
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours."
                .to_owned(),
        ),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    fn of(times: &[i64], size: usize) -> Vec<(i64, String)> {
        times.iter().map(|t| (*t, "x".repeat(size))).collect()
    }

    #[test]
    fn a_batch_is_refused_at_each_limit_and_taken_just_below_it() {
        let many = |count: usize| of(&vec![NOW; count], 1);
        for (events, taken) in [
            (of(&[], 1), false),
            (many(10_000), true),
            (many(10_001), false),
            (of(&[NOW], 1_048_550), true),
            (of(&[NOW], 1_048_551), false),
            (of(&[NOW, NOW], 524_262), true),
            (of(&[NOW, NOW], 524_263), false),
            (of(&[NOW], 0), false),
            (of(&[-1], 1), false),
            (of(&[NOW, NOW - 1], 1), false),
            (of(&[NOW - DAY, NOW], 1), true),
            (of(&[NOW - DAY - 1, NOW], 1), false),
            // An event that is rejected alone counts for no span.
            (of(&[NOW - 15 * DAY, NOW], 1), true),
        ] {
            let got = rules(&events, NOW, None);
            assert_eq!(got.is_ok(), taken, "{} events: {got:?}", events.len());
        }
    }

    #[test]
    fn an_event_is_judged_by_its_age() {
        for (age, retention, want) in [
            (0, None, Verdict::Taken),
            (14 * DAY, None, Verdict::Taken),
            (14 * DAY + 1, None, Verdict::TooOld),
            (-2 * HOUR, None, Verdict::Taken),
            (-2 * HOUR - 1, None, Verdict::TooNew),
            (DAY, Some(1), Verdict::Taken),
            (DAY + 1, Some(1), Verdict::Expired),
        ] {
            assert_eq!(judge(NOW - age, NOW, retention), want, "{age} {retention:?}");
        }
    }

    #[test]
    fn pages_go_back_to_the_beginning_and_end_with_a_token_that_repeats() {
        let mut logs = Logs::default();
        let mut complaints = Vec::new();
        let mut ask = |operation, body| logs.answer(operation, &body, &mut complaints).unwrap();
        ask("CreateLogGroup", json!({ "logGroupName": "g" }));
        let to = json!({ "logGroupName": "g", "logStreamName": "s" });
        ask("CreateLogStream", to.clone());
        let now = now();
        let events: Vec<_> = (0..5)
            .map(|i| json!({ "timestamp": now + i, "message": format!("{i}") }))
            .collect();
        let mut put = to.clone();
        put["logEvents"] = events.into();
        ask("PutLogEvents", put);
        let mut from = to;
        from["limit"] = 2.into();
        let mut seen = Vec::new();
        loop {
            let page = ask("GetLogEvents", from.clone());
            let messages = page["events"].as_array().unwrap().iter();
            seen.push(
                messages
                    .map(|e| text(e, "message").to_owned())
                    .collect::<String>(),
            );
            if page["nextBackwardToken"] == from["nextToken"] {
                break;
            }
            from["nextToken"] = page["nextBackwardToken"].clone();
        }
        assert_eq!(seen, ["34", "12", "0", ""]);
        assert!(complaints.is_empty());
    }
}
