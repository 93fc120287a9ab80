//! Kinesis Data Streams on the wire, polled. Fan-out is left out: `tests/emulator` has it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::answer::{Answer, Refused, refused, text};
use crate::records::now;
use crate::shards::{Shard, Stream};

/// Shards of one page, where the service gives up to 1,000.
const PAGE: usize = 2;
const ANSWER_BYTES: usize = 10 << 20;
const BYTES_A_SECOND: usize = 2 << 20;
const NAME: &str = "orders";
/// The second in which the stream was created.
const CREATED: i64 = 1_767_000_000;

pub fn answer(stream: &mut Stream, operation: &str, body: &Value, complaints: &mut Vec<String>) -> Answer {
    match operation {
        "DescribeStreamSummary" => {
            named(stream, body)?;
            Ok(json!({ "StreamDescriptionSummary": {
                "StreamName": NAME, "StreamARN": stream.arn, "StreamStatus": "ACTIVE",
                "RetentionPeriodHours": 24, "StreamCreationTimestamp": CREATED, "EnhancedMonitoring": [],
                "OpenShardCount": stream.leaves().len(),
            }}))
        }
        "ListShards" => list(stream, body, complaints),
        "GetShardIterator" => {
            named(stream, body)?;
            let shard = text(body, "ShardId");
            let iterator = match text(body, "ShardIteratorType") {
                "AT_TIMESTAMP" => {
                    let seconds = body["Timestamp"].as_f64().unwrap_or_default();
                    stream.iterator_at_time(shard, (seconds * 1000.0).round() as i64)?
                }
                kind => stream.iterator(shard, kind, body["StartingSequenceNumber"].as_str())?,
            };
            Ok(json!({ "ShardIterator": iterator }))
        }
        "GetRecords" => records(stream, body, complaints),
        _ => {
            complaints.push(format!("the fake of Kinesis knows no {operation}: {body}"));
            Err(refused("UnknownOperationException", operation))
        }
    }
}

fn named(stream: &Stream, body: &Value) -> Result<(), Refused> {
    match text(body, "StreamARN") == stream.arn || text(body, "StreamName") == NAME {
        true => Ok(()),
        false => Err(refused("ResourceNotFoundException", "Stream not found.")),
    }
}

fn list(stream: &mut Stream, body: &Value, complaints: &mut Vec<String>) -> Answer {
    let token = body["NextToken"].as_str();
    let names_too = !body["StreamName"].is_null() || !body["StreamARN"].is_null();
    match token {
        Some(_) if names_too => {
            complaints.push(format!("ListShards with a token and a name: {body}"));
            return Err(refused(
                "InvalidArgumentException",
                "NextToken and StreamName cannot be provided together.",
            ));
        }
        Some(_) => {}
        None => named(stream, body)?,
    }
    if token.is_some() && std::mem::take(&mut stream.splits_in_listing) {
        let first = stream.leaves()[0];
        stream.split(first);
    }
    let from = match token {
        Some(token) => stream.find(token)? + 1,
        None => match body["ShardFilter"]["Type"].as_str() {
            Some("AFTER_SHARD_ID") => stream.find(text(&body["ShardFilter"], "ShardId"))? + 1,
            None => 0,
            Some(kind) => {
                complaints.push(format!("a shard filter {kind}"));
                return Err(refused("InvalidArgumentException", kind));
            }
        },
    };
    let most = body["MaxResults"].as_u64().unwrap_or(1000) as usize;
    let until = stream.shards.len().min(from + most.min(PAGE));
    let page = &stream.shards[from..until];
    let mut answer = json!({ "Shards": page.iter().map(told).collect::<Vec<_>>() });
    if let (true, Some(last)) = (until < stream.shards.len(), page.last()) {
        answer["NextToken"] = last.id.as_str().into();
    }
    Ok(answer)
}

fn told(shard: &Shard) -> Value {
    let mut range = json!({ "StartingSequenceNumber": shard.starts });
    if let Some(ends) = &shard.ends {
        range["EndingSequenceNumber"] = ends.as_str().into();
    }
    let mut told = json!({
        "ShardId": shard.id, "SequenceNumberRange": range, "HashKeyRange": keys(shard),
    });
    for (name, parent) in ["ParentShardId", "AdjacentParentShardId"]
        .iter()
        .zip(&shard.parents)
    {
        told[*name] = parent.as_str().into();
    }
    told
}

fn keys(shard: &Shard) -> Value {
    let (first, last) = shard.range;
    json!({ "StartingHashKey": first.to_string(), "EndingHashKey": last.to_string() })
}

fn records(stream: &mut Stream, body: &Value, complaints: &mut Vec<String>) -> Answer {
    let limit = body["Limit"].as_u64().unwrap_or(10_000) as usize;
    if !(1..=10_000).contains(&limit) {
        complaints.push(format!("GetRecords with the limit {limit}"));
        return Err(refused("InvalidArgumentException", "limit"));
    }
    let iterator = text(body, "ShardIterator");
    let read = stream.read(iterator, limit, ANSWER_BYTES, |record, unit| {
        record.kind.bytes(&unit, record.at).len()
    })?;
    if !stream.may_read(read.shard) {
        return Err(refused(
            "ProvisionedThroughputExceededException",
            "Rate exceeded for shard",
        ));
    }
    let shard = &stream.shards[read.shard];
    let mut bytes = 0;
    let newest = read
        .records
        .end
        .checked_sub(1)
        .and_then(|last| shard.records.get(last));
    let behind = match newest {
        Some(record) if read.records.end < shard.records.len() => now() - record.at,
        None if !shard.records.is_empty() && read.records.end < shard.records.len() => now(),
        _ => 0,
    };
    let records: Vec<_> = read
        .records
        .map(|at| {
            let record = &shard.records[at];
            let data = record.kind.bytes(&shard.unit(at), record.at);
            bytes += data.len();
            json!({
                "SequenceNumber": record.sequence, "PartitionKey": "key", "Data": STANDARD.encode(data),
                "ApproximateArrivalTimestamp": record.at as f64 / 1000.0,
            })
        })
        .collect();
    let mut answer = json!({ "Records": records, "MillisBehindLatest": behind.max(0) });
    match read.next {
        Some(next) => answer["NextShardIterator"] = next.into(),
        None => {
            let parent = &shard.id;
            let children = stream.shards.iter().filter(|s| s.parents.contains(parent));
            answer["ChildShards"] = children
                .map(|s| json!({ "ShardId": s.id, "ParentShards": s.parents, "HashKeyRange": keys(s) }))
                .collect();
        }
    }
    stream.pay(read.shard, bytes, BYTES_A_SECOND);
    Ok(answer)
}
