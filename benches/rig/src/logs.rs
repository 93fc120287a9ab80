//! CloudWatch Logs that swallows: it counts events and keeps none. A put to a group or a stream that was not created is
//! refused as the service does.

use std::collections::{BTreeMap, BTreeSet};

use memchr::memmem;
use serde_json::{Value, json};

use crate::answer::{Answer, Refused, nothing, refused, text};

#[derive(Default)]
pub struct Logs {
    groups: BTreeMap<String, BTreeSet<String>>,
}

/// What a body of PutLogEvents holds, without its messages.
pub struct Put<'a> {
    pub group: &'a str,
    pub stream: &'a str,
    pub events: u64,
    /// Of the events, if they were asked for.
    pub times: Vec<u64>,
}

/// The text behind a key. Inside a string a quote has a backslash before it, so that a key can't be found there.
fn text_of<'a>(body: &'a [u8], key: &str) -> &'a str {
    let found = || {
        let rest = &body[memmem::find(body, key.as_bytes())? + key.len()..];
        let rest = &rest[memchr::memchr(b'"', rest)? + 1..];
        std::str::from_utf8(&rest[..memchr::memchr(b'"', rest)?]).ok()
    };
    found().unwrap_or_default()
}

impl<'a> Put<'a> {
    pub fn of(body: &'a [u8], with_times: bool) -> Self {
        const KEY: &[u8] = b"\"timestamp\":";
        let (mut events, mut times) = (0, Vec::new());
        for at in memmem::find_iter(body, KEY) {
            events += 1;
            if with_times {
                let digits = body[at + KEY.len()..].iter().skip_while(|b| **b == b' ');
                let digits = digits.take_while(|b| b.is_ascii_digit());
                times.push(digits.fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')));
            }
        }
        Self {
            group: text_of(body, "\"logGroupName\":"),
            stream: text_of(body, "\"logStreamName\":"),
            events,
            times,
        }
    }
}

fn missing(what: &str) -> Refused {
    refused(
        "ResourceNotFoundException",
        format!("The specified {what} does not exist."),
    )
}

fn there(what: &str) -> Refused {
    refused(
        "ResourceAlreadyExistsException",
        format!("The specified {what} already exists"),
    )
}

impl Logs {
    pub fn may_put(&self, put: &Put<'_>) -> Result<(), Refused> {
        let streams = self.groups.get(put.group).ok_or_else(|| missing("log group"))?;
        if streams.contains(put.stream) {
            Ok(())
        } else {
            Err(missing("log stream"))
        }
    }

    pub fn answer(&mut self, operation: &str, body: &Value) -> Answer {
        let group = text(body, "logGroupName").to_owned();
        match operation {
            "CreateLogGroup" => match self.groups.contains_key(&group) {
                true => Err(there("log group")),
                false => {
                    self.groups.insert(group, BTreeSet::new());
                    nothing()
                }
            },
            "CreateLogStream" => {
                let streams = self.groups.get_mut(&group).ok_or_else(|| missing("log group"))?;
                match streams.insert(text(body, "logStreamName").to_owned()) {
                    true => nothing(),
                    false => Err(there("log stream")),
                }
            }
            "DescribeLogGroups" => {
                let found = self
                    .groups
                    .keys()
                    .filter(|name| name.starts_with(text(body, "logGroupNamePrefix")));
                let found: Vec<_> = found
                    .map(|name| json!({ "logGroupName": name, "arn": format!("arn:aws:logs:eu-west-1:111122223333:log-group:{name}:*") }))
                    .collect();
                Ok(json!({ "logGroups": found }))
            }
            "DescribeLogStreams" => {
                let streams = self.groups.get(&group).ok_or_else(|| missing("log group"))?;
                let found: Vec<_> = streams
                    .iter()
                    .map(|name| json!({ "logStreamName": name }))
                    .collect();
                Ok(json!({ "logStreams": found }))
            }
            "PutRetentionPolicy" | "AssociateKmsKey" | "TagResource" => nothing(),
            "GetLogEvents" => {
                Ok(json!({ "events": [], "nextForwardToken": "f/0", "nextBackwardToken": "b/0" }))
            }
            "FilterLogEvents" => Ok(json!({ "events": [] })),
            "DescribeSubscriptionFilters" => Ok(json!({ "subscriptionFilters": [] })),
            "DescribeAccountPolicies" => Ok(json!({ "accountPolicies": [] })),
            _ => Err(refused("UnknownOperationException", operation)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_however_the_body_is_written_and_not_in_messages() {
        let message = r#"{\"timestamp\":5,\"logGroupName\":\"no\"}"#;
        for body in [
            format!(
                r#"{{"logGroupName":"g","logStreamName":"s","logEvents":[{{"timestamp":1,"message":"{message}"}},{{"message":"","timestamp":2}}]}}"#
            ),
            format!(
                r#"{{"logEvents": [{{"timestamp": 1, "message": "{message}"}}, {{"message": "", "timestamp": 2}}], "logStreamName": "s", "logGroupName": "g"}}"#
            ),
        ] {
            let put = Put::of(body.as_bytes(), true);
            assert_eq!((put.group, put.stream, put.events), ("g", "s", 2), "{body}");
            assert_eq!(put.times, [1, 2]);
            assert!(Put::of(body.as_bytes(), false).times.is_empty());
        }
    }
}
