//! DynamoDB Streams on the wire.

use serde_json::{Value, json};

use crate::answer::{Answer, refused, text};
use crate::shards::{Shard, Stream};

/// Shards of one page: few, so that a listing has pages. The service gives at most 100.
const PAGE: usize = 2;
/// Records of one answer: fewer than may be asked for, as the service may give.
const RECORDS: usize = 40;
const ANSWER_BYTES: usize = 1 << 20;

pub fn answer(stream: &mut Stream, operation: &str, body: &Value, complaints: &mut Vec<String>) -> Answer {
    let of_stream = |body: &Value| match text(body, "StreamArn") == stream.arn {
        true => Ok(()),
        false => Err(refused(
            "ResourceNotFoundException",
            "Requested resource not found: Stream",
        )),
    };
    match operation {
        "ListStreams" => Ok(json!({ "Streams": [{ "StreamArn": stream.arn, "TableName": "orders" }] })),
        "DescribeStream" => {
            of_stream(body)?;
            describe(stream, body, complaints)
        }
        "GetShardIterator" => {
            of_stream(body)?;
            let sequence = body["SequenceNumber"].as_str();
            let kind = text(body, "ShardIteratorType");
            let iterator = stream.iterator(text(body, "ShardId"), kind, sequence)?;
            Ok(json!({ "ShardIterator": iterator }))
        }
        "GetRecords" => records(stream, body, complaints),
        _ => {
            complaints.push(format!(
                "the fake of DynamoDB Streams knows no {operation}: {body}"
            ));
            Err(refused("UnknownOperationException", operation))
        }
    }
}

fn describe(stream: &mut Stream, body: &Value, complaints: &mut Vec<String>) -> Answer {
    let limit = body["Limit"].as_u64().unwrap_or(100) as usize;
    if !(1..=100).contains(&limit) {
        complaints.push(format!("DescribeStream with the limit {limit}"));
        return Err(refused("ValidationException", "limit"));
    }
    let start = body["ExclusiveStartShardId"].as_str();
    if start.is_some() && std::mem::take(&mut stream.splits_in_listing) {
        let first = stream.leaves()[0];
        stream.split(first);
    }
    let filter = match &body["ShardFilter"] {
        Value::Null => None,
        filter => Some(text(filter, "ShardId").to_owned()),
    };
    let from = match start {
        Some(id) => stream.find(id)? + 1,
        None => 0,
    };
    let wanted = |shard: &&Shard| {
        !shard.gone
            && filter
                .as_ref()
                .is_none_or(|parent| shard.parents.contains(parent))
    };
    let mut left = stream.shards[from..].iter().filter(wanted);
    let page: Vec<_> = left.by_ref().take(limit.min(PAGE)).collect();
    let mut description = json!({
        "StreamArn": stream.arn, "TableName": "orders",
        "StreamStatus": if stream.is_disabled { "DISABLED" } else { "ENABLED" }, "StreamViewType": stream.view, "StreamLabel": "2026-01-02T03:04:05.678",
        "Shards": page.iter().map(|shard| told(shard)).collect::<Vec<_>>(),
    });
    if let (Some(_), Some(last)) = (left.next(), page.last()) {
        description["LastEvaluatedShardId"] = last.id.as_str().into();
    }
    Ok(json!({ "StreamDescription": description }))
}

fn told(shard: &Shard) -> Value {
    let mut range = json!({ "StartingSequenceNumber": shard.starts });
    if let Some(ends) = &shard.ends {
        range["EndingSequenceNumber"] = ends.as_str().into();
    }
    let mut told = json!({ "ShardId": shard.id, "SequenceNumberRange": range });
    if let Some(parent) = shard.parents.first() {
        told["ParentShardId"] = parent.as_str().into();
    }
    told
}

fn records(stream: &mut Stream, body: &Value, complaints: &mut Vec<String>) -> Answer {
    let limit = body["Limit"].as_u64().unwrap_or(1000) as usize;
    if !(1..=1000).contains(&limit) {
        complaints.push(format!("GetRecords with the limit {limit}"));
        return Err(refused("ValidationException", "limit"));
    }
    let iterator = text(body, "ShardIterator");
    let read = stream.read(iterator, limit.min(RECORDS), ANSWER_BYTES, |record, unit| {
        let change = record.kind.change(&unit, &record.sequence, record.at);
        change["dynamodb"].to_string().len()
    })?;
    let shard = &stream.shards[read.shard];
    let records: Vec<_> = read
        .records
        .map(|at| {
            let record = &shard.records[at];
            record.kind.change(&shard.unit(at), &record.sequence, record.at)
        })
        .collect();
    let mut answer = json!({ "Records": records });
    if let Some(next) = read.next {
        answer["NextShardIterator"] = next.into();
    }
    Ok(answer)
}
