//! Where a pipeline's events and its dead letters go.
//!
//! Pure. Owns how the names of a destination are filled in: for the consumer that delivers, for the guard that
//! looks for circles, and for the operator who sends dead letters again.

use super::LogDestination;
use super::dead_letter::STREAM;
use super::template::{EnvelopeFields, Field, Fields, RenderError, Template};
use crate::config::{DeadLetterConfig, DestinationConfig, LogClass, PipelineConfig, StreamChoice};
use crate::decode::Envelope;
use crate::stream::StreamArn;

/// Where the events of a shard's record go: those that came in `envelope`, or in none. A group that the record
/// chose must be an allowed one, and no record chooses the place of the dead letters.
pub fn destination(
    application: &str,
    pipeline: &PipelineConfig,
    stream: &StreamArn,
    shard: &str,
    envelope: Option<&Envelope>,
) -> Result<LogDestination, RenderError> {
    let DestinationConfig {
        group: group_name,
        stream: stream_name,
        allow_groups,
        ..
    } = &pipeline.destination;
    let fields = Fields {
        shard_id: shard,
        envelope: envelope.map(|envelope| EnvelopeFields {
            owner: &envelope.owner,
            log_group: &envelope.log_group,
            log_stream: &envelope.log_stream,
            cluster: envelope.cluster(),
            instance: envelope.instance(),
        }),
        ..of_stream(application, pipeline, stream)
    };
    let group = group_name.render(&fields)?;
    let is_chosen = group_name.fields().any(Field::is_of_envelope);
    if is_chosen && !allow_groups.iter().any(|allowed| allowed.matches(&group)) {
        return Err(RenderError::NotAllowed(group));
    }
    let to = LogDestination {
        group,
        stream: stream_name.render(&fields)?,
    };
    // Only a record's content can choose it, as a rule: the settings refuse a stream that is named so.
    match to == letters(application, pipeline, stream) {
        true => Err(RenderError::DeadLetters(to.stream)),
        false => Ok(to),
    }
}

/// Where the dead letters of a pipeline that reads `stream` go: all of them to one place, which no record can choose.
pub fn letters(application: &str, pipeline: &PipelineConfig, stream: &StreamArn) -> LogDestination {
    let own = |group: &Template| group.render(&of_stream(application, pipeline, stream)).ok();
    letters_in(pipeline, own(&pipeline.destination.group))
}

/// As [`letters`], for a stream that nobody was asked for yet. `None`: its ARN is part of the name.
pub fn letters_by_settings(application: &str, pipeline: &PipelineConfig) -> Option<LogDestination> {
    let choice = &pipeline.source.stream;
    if let StreamChoice::Arn(arn) | StreamChoice::KinesisArn(arn) = choice {
        return Some(letters(application, pipeline, arn));
    }
    let group = &pipeline.destination.group;
    if pipeline.dead_letter.group.is_none() && is_fixed(group) && group.fields().any(needs_arn) {
        return None;
    }
    Some(letters_in(pipeline, own_by_settings(application, pipeline)))
}

/// The destination's group, if it is the same for all records and the settings tell it.
pub fn own_by_settings(application: &str, pipeline: &PipelineConfig) -> Option<String> {
    let choice = &pipeline.source.stream;
    let group = &pipeline.destination.group;
    let unknown = StreamArn::new("");
    let known = match choice {
        StreamChoice::Arn(arn) | StreamChoice::KinesisArn(arn) => arn,
        StreamChoice::Table(_) | StreamChoice::Kinesis(_) if group.fields().any(needs_arn) => return None,
        StreamChoice::Table(_) | StreamChoice::Kinesis(_) => &unknown,
    };
    let fields = Fields {
        table: choice.table(),
        stream: choice.kinesis_name(),
        ..of_stream(application, pipeline, known)
    };
    is_fixed(group).then(|| group.render(&fields).ok()).flatten()
}

fn needs_arn(field: Field) -> bool {
    matches!(field, Field::Region | Field::Account)
}

/// `own` is the destination's group, where it has a name without a record.
fn letters_in(pipeline: &PipelineConfig, own: Option<String>) -> LogDestination {
    let PipelineConfig {
        name,
        dead_letter: DeadLetterConfig { group, stream, .. },
        destination,
        ..
    } = pipeline;
    // From a group of that class no letter could be read back.
    let is_readable = destination.class != Some(LogClass::InfrequentAccess);
    let own = own.filter(|_| is_readable && is_fixed(&destination.group));
    LogDestination {
        group: group.clone().or(own).unwrap_or_else(|| format!("/weir/{name}")),
        stream: stream.clone().unwrap_or_else(|| STREAM.to_owned()),
    }
}

/// Whether a name is the same for all records of a stream.
pub fn is_fixed(template: &Template) -> bool {
    template.fields().all(Field::is_constant_per_stream)
}

/// What is known of a name without a shard and a record.
pub fn of_stream<'a>(
    application: &'a str,
    pipeline: &'a PipelineConfig,
    stream: &'a StreamArn,
) -> Fields<'a> {
    Fields {
        application,
        pipeline: &pipeline.name,
        table: stream.table(),
        stream: stream.kinesis_name(),
        shard_id: "",
        region: stream.region(),
        account: stream.account(),
        envelope: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SourceConfig;
    use crate::logs::allow::GroupPattern;
    use crate::logs::template::TemplateKind;

    const ARN: &str = "arn:aws:kinesis:eu-west-1:111122223333:stream/audit#1700000000";

    fn pipeline(group: &str, source: StreamChoice) -> PipelineConfig {
        let group = Template::parse(group, TemplateKind::Group).unwrap();
        PipelineConfig::of("p", SourceConfig::of(source), DestinationConfig::of(group))
    }

    #[test]
    fn letters_go_to_the_destinations_group_where_it_is_one_else_to_one_of_their_own() {
        let by_name = || StreamChoice::Kinesis("audit".into());
        let by_arn = || StreamChoice::KinesisArn(StreamArn::new(ARN));
        for (group, source, want, known) in [
            ("/db/audit", by_name(), "/db/audit", true),
            ("/db/{stream}/{pipeline}", by_name(), "/db/audit/p", true),
            ("/db/{region}", by_name(), "/db/eu-west-1", false),
            ("/db/{region}", by_arn(), "/db/eu-west-1", true),
            ("/db/{cluster}", by_name(), "/weir/p", true),
            ("/db/{region}/{cluster}", by_name(), "/weir/p", true),
            ("/db/{shard_id}", by_name(), "/weir/p", true),
        ] {
            let mut pipeline = pipeline(group, source);
            let to = letters("weir", &pipeline, &StreamArn::new(ARN));
            assert_eq!((to.group.as_str(), to.stream.as_str()), (want, STREAM), "{group}");
            let guessed = letters_by_settings("weir", &pipeline);
            assert_eq!(guessed, known.then_some(to), "{group}");

            pipeline.dead_letter = DeadLetterConfig {
                group: Some("/weir/letters".into()),
                stream: Some("all".into()),
                raw: false,
            };
            let to = letters("weir", &pipeline, &StreamArn::new(ARN));
            assert_eq!(to.to_string(), "/weir/letters:all");
            assert_eq!(letters_by_settings("weir", &pipeline), Some(to));
        }
        let mut unreadable = pipeline("/db/audit", by_name());
        unreadable.destination.class = Some(LogClass::InfrequentAccess);
        let to = letters("weir", &unreadable, &StreamArn::new(ARN));
        assert_eq!(to.group, "/weir/p", "no event can be read back from its own");
    }

    #[test]
    fn a_destination_is_filled_in_from_stream_shard_and_envelope() {
        let mut pipeline = pipeline("/db/{cluster}", StreamChoice::Kinesis("audit".into()));
        let envelope = Envelope {
            log_group: "/aws/rds/cluster/shop/audit".into(),
            ..Envelope::default()
        };
        let arn = StreamArn::new(ARN);
        let to = destination("weir", &pipeline, &arn, "shardId-1", Some(&envelope));
        assert_eq!(to, Err(RenderError::NotAllowed("/db/shop".into())));
        pipeline.destination.allow_groups = vec![GroupPattern::parse("/db/sh*").unwrap()];
        let to = destination("weir", &pipeline, &arn, "shardId-1", Some(&envelope));
        assert_eq!(to.unwrap().to_string(), "/db/shop:shardId-1");
        let to = destination("weir", &pipeline, &arn, "shardId-1", None);
        assert_eq!(to, Err(RenderError::Missing(Field::Cluster)));
        pipeline.destination.stream = Template::parse("{account}", TemplateKind::Stream).unwrap();
        let to = destination("weir", &pipeline, &arn, "shardId-1", Some(&envelope));
        assert_eq!(to.unwrap().stream, "111122223333");

        // No record chooses the place of the dead letters.
        pipeline.dead_letter.group = Some("/db/shop".into());
        pipeline.destination.stream = Template::parse("{log_stream}", TemplateKind::Stream).unwrap();
        let sly = Envelope {
            log_stream: STREAM.into(),
            ..envelope
        };
        let to = destination("weir", &pipeline, &arn, "shardId-1", Some(&sly));
        assert_eq!(to, Err(RenderError::DeadLetters(STREAM.into())));
    }
}
