//! What of a pipeline's source is as it should be.
//!
//! Pure. Owns what the answers of the source's services mean: whether there is a stream, whether it may be read,
//! and whether it gives what the pipeline's rules need.

use std::time::Duration;

use super::calls::{Call, failed};
use super::{Finding, Severity, Subject};
use crate::aws::arn::{ANY, Place};
use crate::aws::failure::Failure;
use crate::clock::Timestamp;
use crate::config::{PipelineConfig, Start, StreamChoice};
use crate::lease::{Checkpoint, Lease};
use crate::shape::images;
use crate::stream::StreamArn;
use crate::stream::{dynamodb, kinesis};

/// How long a DynamoDB stream keeps its records (developer guide, "Change data capture for DynamoDB Streams").
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// What one request gave.
type Answer<T> = Result<T, Failure>;

/// What a DynamoDB stream answered. What is `None` was not asked, because something before it failed.
#[derive(Clone, Debug, Default)]
pub struct DynamoDb {
    /// Not asked of a stream that is named by its ARN.
    pub table: Option<Answer<dynamodb::probe::TableSeen>>,
    pub list: Option<Answer<()>>,
    pub stream: Option<Answer<dynamodb::probe::StreamSeen>>,
    pub iterator: Option<Answer<()>>,
    pub read: Option<Answer<()>>,
}

/// What a Kinesis stream answered. What is `None` was not asked, because something before it failed.
#[derive(Clone, Debug, Default)]
pub struct Kinesis {
    pub stream: Option<Answer<kinesis::probe::StreamSeen>>,
    pub shard: Option<Answer<Option<String>>>,
    pub iterator: Option<Answer<()>>,
    pub read: Option<Answer<()>>,
    /// The consumer's name, and whether it is registered.
    pub consumer: Option<(String, Answer<bool>)>,
}

fn is_missing(failure: &Failure) -> bool {
    matches!(failure, Failure::Service { code, .. } if code == "ResourceNotFoundException")
}

/// The ways to say where something is looked for.
fn elsewhere(key: &str, region: &str) -> String {
    format!(
        "check `{key}`, and that {region} is its region: `source.region` or AWS_REGION names another, \
         `source.assume_role_arn` another account"
    )
}

fn enable(table: &str) -> String {
    format!(
        "aws dynamodb update-table --table-name {table} --stream-specification \
         StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES"
    )
}

/// Judges a DynamoDB stream.
pub fn dynamodb(pipeline: &PipelineConfig, seen: &DynamoDb, place: &Place, now: Timestamp) -> Vec<Finding> {
    let table = pipeline.source.stream.table().unwrap_or("*");
    let region = place.region.as_str();
    let (of_table, of_streams) = (place.table(table), place.streams_of(table));
    let call = |action, resource, if_denied| Call {
        action,
        resource,
        region,
        subject: Subject::Source,
        if_denied,
    };
    let mut findings = Vec::new();
    match &seen.table {
        None => {}
        Some(Err(failure)) if is_missing(failure) => findings.push(
            Finding::error(Subject::Source, format!("table {table} is not there in {region}"))
                .way_out(elsewhere("source.dynamodb_table", region)),
        ),
        Some(Err(failure)) => {
            let call = call("dynamodb:DescribeTable", &of_table, Severity::Error);
            findings.push(failed(call, failure));
        }
        Some(Ok(told)) => match (&told.stream, told.is_enabled) {
            (None, _) => findings.push(
                Finding::error(Subject::Source, format!("table {table} has no stream"))
                    .way_out(enable(table)),
            ),
            (Some(_), false) => findings.push(disabled(table)),
            (Some(_), true) => {
                findings.push(Finding::ok(
                    Subject::Source,
                    format!("table {table} has a stream"),
                ));
            }
        },
    }
    if let Some(Err(failure)) = &seen.list {
        // Asked only when a stream was enabled anew, to find those in between.
        let call = call("dynamodb:ListStreams", ANY, Severity::Warning);
        findings.push(failed(call, failure));
    }
    match &seen.stream {
        None => {}
        Some(Err(failure)) if is_missing(failure) => findings.push(
            Finding::error(
                Subject::Source,
                format!("the stream is not there in {region}: one is gone a day after it was disabled"),
            )
            .way_out(format!(
                "name the table instead, as `source.dynamodb_table: {table}`, which follows its streams"
            )),
        ),
        Some(Err(failure)) => {
            let call = call("dynamodb:DescribeStream", &of_streams, Severity::Error);
            findings.push(failed(call, failure));
        }
        Some(Ok(told)) => {
            if ["DISABLED", "DISABLING"].contains(&told.status.as_str()) && seen.table.is_none() {
                findings.push(disabled(table));
            }
            let lacks = told.view.map(|view| images::lacking(&pipeline.shape, view));
            for lack in lacks.into_iter().flatten() {
                let finding = Finding::error(Subject::Images, lack);
                findings.push(finding.way_out(images::way_out(pipeline.source.stream.table())));
            }
        }
    }
    for (answer, action) in [
        (&seen.iterator, "dynamodb:GetShardIterator"),
        (&seen.read, "dynamodb:GetRecords"),
    ] {
        if let Some(Err(failure)) = answer {
            findings.push(failed(call(action, &of_streams, Severity::Error), failure));
        }
    }
    if matches!(seen.read, Some(Ok(()))) {
        let what =
            "its stream can be read (this was one read more of a shard, of which two may read at a time)";
        findings.push(Finding::ok(Subject::Source, what));
    }
    findings.extend(starts_within(pipeline, KEPT, now));
    of(pipeline, findings)
}

fn disabled(table: &str) -> Finding {
    Finding::error(
        Subject::Source,
        format!(
            "the stream of table {table} is disabled: what it holds is read to its end, and no new change comes"
        ),
    )
    .way_out(enable(table))
}

/// Judges a Kinesis stream.
pub fn kinesis(pipeline: &PipelineConfig, seen: &Kinesis, place: &Place, now: Timestamp) -> Vec<Finding> {
    let name = pipeline.source.stream.kinesis_name().unwrap_or("*");
    let region = place.region.as_str();
    let of_stream = place.kinesis(name);
    let call = |action| Call {
        action,
        resource: &of_stream,
        region,
        subject: Subject::Source,
        if_denied: Severity::Error,
    };
    let mut findings = Vec::new();
    match &seen.stream {
        None => {}
        Some(Err(failure)) if is_missing(failure) => {
            let key = match pipeline.source.stream {
                StreamChoice::KinesisArn(_) => "source.kinesis_stream_arn",
                _ => "source.kinesis_stream",
            };
            findings.push(
                Finding::error(
                    Subject::Source,
                    format!("Kinesis stream {name} is not there in {region}"),
                )
                .way_out(elsewhere(key, region)),
            );
        }
        Some(Err(failure)) => findings.push(failed(call("kinesis:DescribeStreamSummary"), failure)),
        Some(Ok(told)) => {
            let what = format!("stream {name} is {}", told.status);
            findings.push(match told.status.as_str() {
                "ACTIVE" | "UPDATING" => Finding::ok(Subject::Source, what),
                "CREATING" => {
                    Finding::warning(Subject::Source, what).way_out("Weir reads it as soon as it is there")
                }
                _ => {
                    Finding::error(Subject::Source, what).way_out(elsewhere("source.kinesis_stream", region))
                }
            });
            findings.extend(starts_within(pipeline, told.retention, now));
        }
    }
    if let Some(Err(failure)) = &seen.shard {
        findings.push(failed(call("kinesis:ListShards"), failure));
    }
    for (answer, action) in [
        (&seen.iterator, "kinesis:GetShardIterator"),
        (&seen.read, "kinesis:GetRecords"),
    ] {
        if let Some(Err(failure)) = answer {
            findings.push(failed(call(action), failure));
        }
    }
    if matches!(seen.read, Some(Ok(()))) {
        let key = seen
            .stream
            .as_ref()
            .and_then(|told| told.as_ref().ok()?.key.as_ref());
        let what = match key {
            Some(key) => format!("it can be read and decrypted with {key}"),
            None => "it can be read".to_owned(),
        };
        let what = format!("{what} (this was one of the five reads a second that a shard takes)");
        findings.push(Finding::ok(Subject::Source, what));
    }
    match &seen.consumer {
        None => {}
        Some((_, Err(failure))) => findings.push(failed(call("kinesis:DescribeStreamConsumer"), failure)),
        Some((consumer, Ok(true))) => {
            findings.push(Finding::ok(
                Subject::Source,
                format!("consumer {consumer} is registered"),
            ));
        }
        Some((consumer, Ok(false))) => findings.push(Finding::ok(
            Subject::Source,
            format!(
                "consumer {consumer} is registered at the start (kinesis:RegisterStreamConsumer is not tried)"
            ),
        )),
    }
    of(pipeline, findings)
}

/// A first start before what the stream still has.
fn starts_within(pipeline: &PipelineConfig, kept: Duration, now: Timestamp) -> Option<Finding> {
    let Start::At(start) = pipeline.source.start else {
        return None;
    };
    let oldest = now.minus(kept);
    (start < oldest && !kept.is_zero()).then(|| {
        let what = format!(
            "source.start is {start}, and the stream keeps {} h: a first start begins with its oldest record",
            kept.as_secs() / 3600
        );
        Finding::warning(Subject::Source, what)
    })
}

/// What the leases of a pipeline say of its streams: whether another stream is there now than was read before.
pub fn streams_before(pipeline: &PipelineConfig, leases: &[&Lease], current: &StreamArn) -> Option<Finding> {
    let older = leases.iter().filter_map(|lease| {
        let stream = lease.stream.as_ref()?;
        (stream != current).then_some((stream, lease.checkpoint == Checkpoint::ShardEnd))
    });
    let older: Vec<_> = older.collect();
    let (newest, _) = older.iter().max_by_key(|(stream, _)| stream.label())?;
    if leases.len() > older.len() {
        // The present one has leases too: it is being read on.
        return None;
    }
    let unread = older.iter().filter(|(_, ended)| !ended).count();
    let what = format!(
        "the leases are of {newest}, and the stream is {current} now: it was enabled anew, or the source was deleted and \
         created again. Weir reads the old one to its end ({unread} shards, unless it is gone, with what was not read), \
         then the new one from its oldest record"
    );
    Some(
        Finding::warning(Subject::Source, what)
            .way_out("to begin anew instead, choose another `application` or another name for the pipeline")
            .of(&pipeline.name),
    )
}

fn of(pipeline: &PipelineConfig, findings: Vec<Finding>) -> Vec<Finding> {
    let of = |finding: Finding| finding.of(&pipeline.name);
    findings.into_iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::failure::refusal;
    use crate::config::{DestinationConfig, SourceConfig};
    use crate::logs::template::{Template, TemplateKind};
    use crate::shape::{Format, Shape};
    use crate::stream::view::View;

    fn pipeline(stream: StreamChoice, format: Format) -> PipelineConfig {
        let group = Template::parse("/cdc/orders", TemplateKind::Group).unwrap();
        PipelineConfig {
            shape: Shape {
                format,
                ..Shape::default()
            },
            ..PipelineConfig::of("orders", SourceConfig::of(stream), DestinationConfig::of(group))
        }
    }

    fn no(code: &str) -> Failure {
        refusal(400, Some(code), "")
    }

    #[test]
    fn what_is_wrong_with_a_table_is_told_with_its_way_out() {
        let place = Place::new("eu-west-1", Some("111122223333"));
        let arn = "arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/2026-01-02T03:04:05.678";
        let table = |is_enabled, has: bool| {
            Some(Ok(dynamodb::probe::TableSeen {
                stream: has.then(|| StreamArn::new(arn)),
                is_enabled,
            }))
        };
        let stream = |view| {
            Some(Ok(dynamodb::probe::StreamSeen {
                status: "ENABLED".to_owned(),
                view: Some(view),
                shard: None,
            }))
        };
        let well = DynamoDb {
            table: table(true, true),
            list: Some(Ok(())),
            stream: stream(View::NewAndOldImages),
            iterator: Some(Ok(())),
            read: Some(Ok(())),
        };
        let missing = "ResourceNotFoundException";
        let denied = "AccessDeniedException";
        let keys = stream(View::KeysOnly);
        for (seen, format, errors, way_out) in [
            (well.clone(), Format::Diff, 0, ""),
            (
                DynamoDb {
                    table: Some(Err(no(missing))),
                    ..DynamoDb::default()
                },
                Format::Decoded,
                1,
                "eu-west-1 is its region",
            ),
            (
                DynamoDb {
                    table: table(false, false),
                    ..DynamoDb::default()
                },
                Format::Decoded,
                1,
                "update-table --table-name orders",
            ),
            (
                DynamoDb {
                    table: table(false, true),
                    ..well.clone()
                },
                Format::Decoded,
                1,
                "StreamEnabled=true",
            ),
            (
                DynamoDb {
                    stream: keys.clone(),
                    ..well.clone()
                },
                Format::Diff,
                1,
                "enable it anew",
            ),
            (
                DynamoDb {
                    stream: keys,
                    ..well.clone()
                },
                Format::Plain,
                0,
                "",
            ),
            (
                DynamoDb {
                    iterator: Some(Err(no(denied))),
                    read: None,
                    ..well.clone()
                },
                Format::Decoded,
                1,
                "dynamodb:GetShardIterator on arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/*",
            ),
            (
                DynamoDb {
                    list: Some(Err(no(denied))),
                    ..well
                },
                Format::Decoded,
                0,
                "dynamodb:ListStreams on *",
            ),
        ] {
            let pipeline = pipeline(StreamChoice::Table("orders".to_owned()), format);
            let found = dynamodb(&pipeline, &seen, &place, Timestamp::from_millis(0));
            let count = found.iter().filter(|f| f.severity == Severity::Error).count();
            assert_eq!(count, errors, "{found:#?}");
            let told: Vec<_> = found.iter().filter_map(|f| f.way_out.clone()).collect();
            let told = told.join("\n");
            assert!(
                told.contains(way_out) && told.is_empty() == way_out.is_empty(),
                "{told}"
            );
        }
    }

    #[test]
    fn a_start_before_what_the_stream_keeps_is_told() {
        let place = Place::new("eu-west-1", None);
        let mut pipeline = pipeline(StreamChoice::Kinesis("audit".to_owned()), Format::Decoded);
        let day = 24 * 3600;
        let seen = Kinesis {
            stream: Some(Ok(kinesis::probe::StreamSeen {
                stream: StreamArn::new("arn:aws:kinesis:eu-west-1:1:stream/audit"),
                status: "ACTIVE".to_owned(),
                retention: Duration::from_secs(7 * day),
                key: None,
            })),
            ..Kinesis::default()
        };
        let now = Timestamp::from_millis(1_000_000_000_000);
        for (days, warnings) in [(6, 0), (8, 1)] {
            pipeline.source.start = Start::At(now.minus(Duration::from_secs(days * day)));
            let found = kinesis(&pipeline, &seen, &place, now);
            let count = found.iter().filter(|f| f.severity == Severity::Warning).count();
            assert_eq!(count, warnings, "{days}: {found:#?}");
        }
    }
}
