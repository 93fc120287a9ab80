//! Streams, their consumers, and where reading starts.

use super::aws::{is_account, is_partition};
use super::tables::table_like;
use super::{Checked, table_name};
use crate::clock::Timestamp;
use crate::config::{SourceConfig, Start, StreamChoice};
use crate::stream::StreamArn;
use crate::suggest;

/// The longest name of a stream or a consumer (API reference of CreateStream and RegisterStreamConsumer).
const LONGEST_CONSUMER: usize = 128;

/// The time of a stream's beginning, as DynamoDB tells it. In a policy it must not stand for others.
fn is_label(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || ":._-".contains(c))
}

/// The ARN of a DynamoDB stream.
pub fn stream_arn(text: &str) -> Checked<StreamArn> {
    const SHAPE: &str = "arn:aws:dynamodb:REGION:ACCOUNT:table/TABLE/stream/LABEL";
    let arn = StreamArn::new(text);
    let fields: Vec<&str> = text.splitn(6, ':').collect();
    let &["arn", partition, service, region, account, resource] = fields.as_slice() else {
        return Err(format!("is not an ARN: it looks like {SHAPE}"));
    };
    if service == "kinesis" {
        return Err("is the ARN of a Kinesis stream: give it as `kinesis_stream_arn`".to_owned());
    }
    if service != "dynamodb" {
        return Err(format!(
            "is not the ARN of a DynamoDB stream: it looks like {SHAPE}"
        ));
    }
    let parts: Vec<&str> = resource.split('/').collect();
    match parts.as_slice() {
        ["table", table, "stream", label]
            if is_partition(partition)
                && is_label(label)
                && super::region(region).is_ok()
                && is_account(account)
                && table_name(table).is_ok() =>
        {
            Ok(arn)
        }
        ["table", table] => Err(format!(
            "is the ARN of a table: give the table's name, `{table}`, or the ARN of its stream (`LatestStreamArn` in DescribeTable)"
        )),
        _ => Err(format!(
            "is not the ARN of a DynamoDB stream: it looks like {SHAPE}"
        )),
    }
}

/// The name of a Kinesis stream (API reference of CreateStream).
pub fn kinesis_stream(text: &str) -> Checked<String> {
    if text.starts_with("arn:") {
        return Err(match StreamArn::new(text).kinesis_name() {
            Some(name) => format!(
                "is an ARN: give the stream's name, `{}`, or the ARN as `kinesis_stream_arn`",
                name.split('/').next().unwrap_or_default()
            ),
            None => "is an ARN: give the stream's name".to_owned(),
        });
    }
    kinesis_like(text, "as Kinesis names streams")
}

/// The name of a consumer of enhanced fan-out (API reference of RegisterStreamConsumer).
pub fn consumer(text: &str) -> Checked<String> {
    kinesis_like(text, "as Kinesis names consumers; give no ARN")
}

/// What the names of Kinesis streams and consumers may be.
fn kinesis_like(text: &str, why: &str) -> Checked<String> {
    table_like(text, 1..=LONGEST_CONSUMER, why)
}

/// The ARN of a Kinesis stream.
pub fn kinesis_stream_arn(text: &str) -> Checked<StreamArn> {
    const SHAPE: &str = "arn:aws:kinesis:REGION:ACCOUNT:stream/NAME";
    let fields: Vec<&str> = text.splitn(6, ':').collect();
    let &["arn", partition, service, region, account, resource] = fields.as_slice() else {
        return Err(format!("is not an ARN: it looks like {SHAPE}"));
    };
    if service == "dynamodb" {
        return Err("is an ARN of DynamoDB's: give it as `dynamodb_stream_arn`".to_owned());
    }
    let plain = service == "kinesis"
        && is_partition(partition)
        && super::region(region).is_ok()
        && is_account(account);
    let parts: Vec<&str> = resource.split('/').collect();
    match parts.as_slice() {
        ["stream", name] if plain && kinesis_stream(name).is_ok() => Ok(StreamArn::new(text)),
        ["stream", name, "consumer", ..] if plain && kinesis_stream(name).is_ok() => Err(format!(
            "is the ARN of a consumer: give the stream's, arn:{partition}:kinesis:{region}:{account}:stream/{name}"
        )),
        _ => Err(format!(
            "is not the ARN of a Kinesis stream: it looks like {SHAPE}, with 12 digits of account"
        )),
    }
}

/// The ARN of either kind of stream, where one setting takes both.
pub fn any_stream_arn(text: &str) -> Checked<StreamChoice> {
    match text.split(':').nth(2) {
        Some("kinesis") => kinesis_stream_arn(text).map(StreamChoice::KinesisArn),
        Some("dynamodb") => stream_arn(text).map(StreamChoice::Arn),
        _ => Err("is not the ARN of a stream: it looks like \
                  arn:aws:dynamodb:REGION:ACCOUNT:table/TABLE/stream/LABEL or \
                  arn:aws:kinesis:REGION:ACCOUNT:stream/NAME"
            .to_owned()),
    }
}

/// Whether the consumer of this source has a name that Kinesis takes, where it has one by default.
pub fn consumer_fits(source: &SourceConfig, application: &str, pipeline: &str) -> Checked<()> {
    let Some(name) = source.fan_out.as_ref().map(|f| f.name(application, pipeline)) else {
        return Ok(());
    };
    match name.len() <= LONGEST_CONSUMER {
        true => Ok(()),
        false => Err(format!(
            "the consumer would be named after application and pipeline, and `{name}` has {} characters where Kinesis \
             takes {LONGEST_CONSUMER}",
            name.len()
        )),
    }
}

/// `trim_horizon`, `latest`, or a time in RFC 3339.
pub fn start(text: &str) -> Checked<Start> {
    match text {
        "trim_horizon" => return Ok(Start::TrimHorizon),
        "latest" => return Ok(Start::Latest),
        _ => {}
    }
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(Start::At(Timestamp::from_millis(time.as_millisecond())));
    }
    let way_out = match suggest::nearest(text, &["trim_horizon", "latest"]) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            "use `trim_horizon`, `latest`, or a time with its offset, like `2024-11-09T08:12:19Z`".to_owned()
        }
    };
    Err(format!("is not a starting position: {way_out}"))
}
