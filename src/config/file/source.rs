//! The section `source` of a pipeline.

use super::{aws, bounds};
use crate::config::check::{self, StateNames};
use crate::config::reader::Section;
use crate::config::{AwsSettings, FanOut, SourceConfig, StreamChoice, units};

/// The keys that name a stream, each with what it stands for. A source has exactly one of them.
const STREAM_KEYS: [(&str, &str); 4] = [
    (
        "dynamodb_table",
        "a table's current stream, also when it is enabled anew",
    ),
    ("dynamodb_stream_arn", "this DynamoDB stream alone"),
    ("kinesis_stream", "the Kinesis stream of this name"),
    (
        "kinesis_stream_arn",
        "a Kinesis stream by its ARN, also in another account",
    ),
];

/// `None` only after a problem was reported.
pub fn source(source: &mut Section<'_>, pipeline: &str, state: StateNames<'_>) -> Option<SourceConfig> {
    let given: Vec<_> = STREAM_KEYS
        .into_iter()
        .filter(|(key, _)| source.has(key))
        .collect();
    let ways = |keys: &[(&str, &str)]| {
        let ways: Vec<_> = keys.iter().map(|(key, is)| format!("`{key}` ({is})")).collect();
        ways.join(", or ")
    };
    match given.len() {
        0 => source.problem_here(format!("names no stream: add one of {}", ways(&STREAM_KEYS))),
        1 => {}
        _ => source.problem_here(format!(
            "names more than one stream: keep one of {}",
            ways(&given)
        )),
    }
    let apart = |table: &str| check::apart_from_state(state, table);
    let table = source.text("dynamodb_table", |text| {
        let table = check::table_name(text)?;
        apart(&table).map(|()| StreamChoice::Table(table))
    });
    let arn = source.text("dynamodb_stream_arn", |text| {
        let arn = check::stream_arn(text)?;
        apart(arn.table().unwrap_or_default()).map(|()| StreamChoice::Arn(arn))
    });
    let kinesis = source.text("kinesis_stream", |text| {
        check::kinesis_stream(text).map(StreamChoice::Kinesis)
    });
    let kinesis_arn = source.text("kinesis_stream_arn", |text| {
        check::kinesis_stream_arn(text).map(StreamChoice::KinesisArn)
    });
    let chosen = table.or(arn).or(kinesis).or(kinesis_arn);
    let start = source.text("start", check::start);
    let sync_interval = source.scalar("sync_interval", check::duration(bounds::SYNC));
    let (poll_busy, poll_idle, poll_idle_most) = source.section("poll", |poll| {
        (
            poll.scalar("busy", check::duration(bounds::POLL_BUSY)),
            poll.scalar("idle", check::duration(bounds::POLL_IDLE)),
            poll.scalar("idle_most", check::duration(bounds::POLL_IDLE)),
        )
    });
    let has_fan_out = source.has("fan_out");
    let fan_out = source.scalar("fan_out", check::boolean);
    let consumer = source.text("consumer", check::consumer);
    if let (Some(consumer), Some(false), _) | (Some(consumer), _, false) = (&consumer, fan_out, has_fan_out) {
        source.problem_with(
            "consumer",
            consumer,
            "is who reads by enhanced fan-out: add `fan_out: true`, or remove it",
        );
    }
    let aws = aws(source);

    let with_defaults = SourceConfig::of(chosen?);
    if fan_out == Some(true) && with_defaults.stream.kinesis_name().is_none() {
        source.problem_with(
            "fan_out",
            "true",
            "is for Kinesis streams, and a DynamoDB stream has no consumers: remove it",
        );
    }
    let poll_busy = poll_busy.unwrap_or(with_defaults.poll_busy);
    let poll_idle = poll_idle.unwrap_or(with_defaults.poll_idle);
    if poll_idle < poll_busy {
        source.problem(
            "poll",
            format!(
                "a shard without records would be read more often (`idle`, {}) than one with (`busy`, {}): \
                 let `idle` be the longer",
                units::show_duration(poll_idle),
                units::show_duration(poll_busy)
            ),
        );
    }
    // By default it gives way to a longer `idle`.
    let poll_idle_most = poll_idle_most.unwrap_or(with_defaults.poll_idle_most.max(poll_idle));
    if poll_idle_most < poll_idle {
        source.problem(
            "poll",
            format!(
                "the longest wait for a shard without records (`idle_most`, {}) is shorter than the first (`idle`, {}): \
                 raise `idle_most`, or set both alike, and the wait does not grow",
                units::show_duration(poll_idle_most),
                units::show_duration(poll_idle)
            ),
        );
    }
    if let (StreamChoice::Arn(arn) | StreamChoice::KinesisArn(arn), Some(region)) =
        (&with_defaults.stream, &aws.region)
        && arn.region() != Some(region)
    {
        source.problem_with(
            "region",
            region.clone(),
            "is not the region of the stream's ARN: remove the key",
        );
    }
    let region = aws.region.or(with_defaults.aws.region);
    let read = SourceConfig {
        start: start.unwrap_or(with_defaults.start),
        poll_busy,
        poll_idle,
        poll_idle_most,
        sync_interval: sync_interval.unwrap_or(with_defaults.sync_interval),
        fan_out: (fan_out == Some(true)).then_some(FanOut { consumer }),
        aws: AwsSettings { region, ..aws },
        stream: with_defaults.stream,
    };
    if let Some(application) = state.application
        && let Err(what) = check::consumer_fits(&read, application, pipeline)
    {
        source.problem("consumer", format!("is missing: {what}: name the consumer here"));
    }
    Some(read)
}
