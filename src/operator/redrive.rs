//! What is made of a dead letter when it is sent again.
//!
//! Pure. Owns the decision: which events, and where to, by today's settings; or why there still are none. Does to
//! them what is done to those that are delivered the first time. `dead_letters` puts them.

use std::time::Duration;

use super::made;
use crate::clock::Timestamp;
use crate::config::{DestinationConfig, PipelineConfig, Untimely};
use crate::logs::batch::{self, Refusal};
use crate::logs::dead_letter::{Body, Data, Letter, RecordBody};
use crate::logs::template::{Field, Fields, RenderError};
use crate::logs::{LogDestination, LogEvent, address, oversize, untimely};
use crate::stream::{Record, ShardId, StreamArn};

/// Nothing that is refused for its time is nearer to the present: retentions are a day at least, and two hours ahead are
/// taken.
const LEAST_OFF: Duration = Duration::from_secs(3600);

/// Why an event that may tell what is hidden today is left.
const UNREDACTED: &str = "its event was made when no redaction was set (or by a version of Weir that didn't keep \
                          whether one was), and what `redact` and `redact_sql` hide today may stand in it: \
                          `redrive ID --as-written` sends it as it is";

/// An event, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addressed {
    pub to: LogDestination,
    pub event: LogEvent,
    /// Names the event for good: the position of its record, and its number in it.
    pub id: String,
}

/// The events that a letter gives today, in order; none: nothing of it is to be told, by the pipeline's filter or
/// because there is nothing in it. The error says why it still can't be delivered.
///
/// An event that was made before a redaction was set is given only `as_written`: there is no record to redact.
pub fn events(
    letter: &Letter,
    application: &str,
    pipeline: &PipelineConfig,
    now: Timestamp,
    as_written: bool,
) -> Result<Vec<Addressed>, String> {
    let stream = StreamArn::new(letter.origin.stream.as_str());
    let shard = ShardId::new(letter.origin.shard.as_str());
    let destination = &pipeline.destination;
    let addressed = match &letter.body {
        Body::Event { index, event } => {
            if is_unredacted(letter, pipeline) && !as_written {
                return Err(UNREDACTED.to_owned());
            }
            let to = match destination.depends_on_the_envelope() {
                true => meant(letter, application, pipeline, &stream),
                false => address::destination(application, pipeline, &stream, shard.as_str(), None),
            };
            let to = to.map_err(|e| made::unaddressed(&e, pipeline).detail)?;
            vec![(to, *index, event.clone())]
        }
        Body::Record(body) => {
            let record = record(letter, body)?;
            let made = made::made(&record, &stream, &shard, application, pipeline);
            let events = made.map_err(|unmade| unmade.detail)?.events;
            let numbered = events.into_iter().enumerate();
            numbered.map(|(index, (to, event))| (to, index, event)).collect()
        }
    };
    let place = &letter.origin.place;
    let mut all = Vec::with_capacity(addressed.len());
    for (to, index, event) in addressed {
        let (sequence, sub) = (&place.sequence_number, place.sub_sequence_number);
        let id = format!("{}:{shard}:{sequence}:{sub}:{index}", stream.service_arn());
        let events = settle(event, &id, destination, now).map_err(|refusal| told(refusal).to_owned())?;
        all.extend(events.into_iter().map(|event| Addressed {
            to: to.clone(),
            event,
            id: id.clone(),
        }));
    }
    Ok(all)
}

/// Whether the letter's event may tell what the pipeline hides today.
pub fn is_unredacted(letter: &Letter, pipeline: &PipelineConfig) -> bool {
    matches!(letter.body, Body::Event { .. }) && pipeline.shape.redact.is_some() && !letter.redacted
}

/// Where an event goes whose record chose a name: that stands in the letter alone, and must be allowed today. A group
/// that no record chooses is today's.
fn meant(
    letter: &Letter,
    application: &str,
    pipeline: &PipelineConfig,
    stream: &StreamArn,
) -> Result<LogDestination, RenderError> {
    let DestinationConfig {
        group, allow_groups, ..
    } = &pipeline.destination;
    let meant = letter.meant_for.clone();
    let to = match group.fields().any(Field::is_of_envelope) {
        true if allow_groups.iter().any(|allowed| allowed.matches(&meant.group)) => meant,
        true => return Err(RenderError::NotAllowed(meant.group)),
        false => LogDestination {
            group: group.render(&Fields {
                application,
                pipeline: &pipeline.name,
                table: stream.table(),
                stream: stream.kinesis_name(),
                shard_id: &letter.origin.shard,
                region: stream.region(),
                account: stream.account(),
                envelope: None,
            })?,
            ..meant
        },
    };
    match to == address::letters(application, pipeline, stream) {
        true => Err(RenderError::DeadLetters(to.stream)),
        false => Ok(to),
    }
}

fn record(letter: &Letter, body: &RecordBody) -> Result<Record, String> {
    let Data::Bytes(data) = &body.data else {
        return Err("its bytes were withheld, and were not read from the stream again".to_owned());
    };
    let place = &letter.origin.place;
    Ok(Record {
        sequence_number: place.sequence_number.clone(),
        sub_sequence_number: place.sub_sequence_number,
        time: body.time,
        partition_key: body.partition_key.clone(),
        data: data.clone(),
        fields: None,
    })
}

/// The event as it can be put: in parts where it is too large, stamped `now` where its time is refused, if the
/// settings say so.
fn settle(
    event: LogEvent,
    id: &str,
    destination: &DestinationConfig,
    now: Timestamp,
) -> Result<Vec<LogEvent>, Refusal> {
    let parts = oversize::fit(event, id, destination.oversize).map_err(|(_, refusal)| refusal)?;
    let mut settled = Vec::with_capacity(parts.len());
    for part in parts {
        match batch::admit(&part, now) {
            Ok(()) => settled.push(part),
            Err(refusal) => settled.extend(in_time(part, id, refusal, destination, now)?),
        }
    }
    settled.iter().try_for_each(|part| batch::admit(part, now))?;
    Ok(settled)
}

/// The event as the settings want it when it is refused for its time, in as many as it takes with its own time
/// inside. The refusal comes back if they want it left, or it was refused for something else.
pub fn in_time(
    event: LogEvent,
    id: &str,
    refusal: Refusal,
    destination: &DestinationConfig,
    now: Timestamp,
) -> Result<Vec<LogEvent>, Refusal> {
    let how = match refusal {
        Refusal::TooOld | Refusal::Expired => destination.too_old,
        Refusal::TooNew => destination.too_new,
        _ => Untimely::DeadLetter,
    };
    // What is refused at this very time would be refused for ever.
    let off = now.since(event.timestamp).max(event.timestamp.since(now));
    if how != Untimely::Now || off <= LEAST_OFF {
        return Err(refusal);
    }
    oversize::fit(untimely::at(event, now), id, destination.oversize).map_err(|(_, refusal)| refusal)
}

/// Why an event is refused, and the way out.
pub fn told(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Oversize => {
            "an event is larger than CloudWatch Logs takes: `destination.oversize: split` tells it in parts"
        }
        Refusal::Empty => "an event has an empty message, which CloudWatch Logs doesn't take",
        Refusal::TooOld => {
            "an event is older than CloudWatch Logs takes (14 days, or the group's retention): `destination.too_old: now` \
             puts it at the time of the put"
        }
        Refusal::Expired => {
            "an event is older than the group's retention: `destination.too_old: now` puts it at the time of the put"
        }
        Refusal::TooNew => {
            "an event is more than two hours ahead of the time: `destination.too_new: now` puts it at the time of the put"
        }
        Refusal::Invalid | Refusal::Undecodable | Refusal::NoDestination => {
            "CloudWatch Logs refuses an event"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Oversize, SourceConfig, StreamChoice};
    use crate::decode::{Decode, DecodeSettings};
    use crate::logs::allow::GroupPattern;
    use crate::logs::dead_letter::{LetterId, Origin};
    use crate::logs::template::{Template, TemplateKind};
    use crate::redact::Redaction;
    use crate::stream::{Place, SequenceNumber};

    const ARN: &str = "arn:aws:kinesis:eu-west-1:111122223333:stream/audit#1700000000";
    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
    const ENVELOPE: &str = r#"{"messageType":"DATA_MESSAGE","owner":"1","logGroup":"/aws/rds/cluster/shop/audit","logStream":"s","logEvents":[{"id":"31","timestamp":1800000000000,"message":"one"},{"id":"32","timestamp":1800000000000,"message":"two"}]}"#;
    const CONTROL: &str =
        r#"{"messageType":"CONTROL_MESSAGE","owner":"1","logGroup":"","logStream":"","logEvents":[]}"#;

    fn pipeline(group: &str, how: Decode) -> PipelineConfig {
        let group = Template::parse(group, TemplateKind::Group).unwrap();
        let source = SourceConfig::of(StreamChoice::Kinesis("audit".into()));
        let destination = DestinationConfig {
            allow_groups: vec![GroupPattern::parse("/db/*").unwrap()],
            ..DestinationConfig::of(group)
        };
        PipelineConfig {
            decode: DecodeSettings::of(how),
            ..PipelineConfig::of("p", source, destination)
        }
    }

    fn letter(body: Body) -> Letter {
        Letter {
            id: LetterId::new("0"),
            written: NOW,
            reason: "undecodable".into(),
            detail: String::new(),
            origin: Origin {
                pipeline: "p".into(),
                stream: ARN.into(),
                shard: "shardId-1".into(),
                place: Place {
                    sequence_number: SequenceNumber::parse("49").unwrap(),
                    sub_sequence_number: 2,
                },
            },
            meant_for: LogDestination {
                group: "/as/meant".into(),
                stream: "then".into(),
            },
            bytes: 0,
            body,
            redacted: false,
        }
    }

    fn of_record(data: impl Into<bytes::Bytes>) -> Letter {
        letter(Body::Record(RecordBody {
            data: Data::Bytes(data.into()),
            partition_key: Some("key".into()),
            time: Some(NOW),
        }))
    }

    fn of_event(timestamp: Timestamp, message: &str) -> Letter {
        letter(Body::Event {
            index: 4,
            event: LogEvent {
                timestamp,
                message: message.to_owned(),
            },
        })
    }

    fn told(letter: &Letter, pipeline: &PipelineConfig) -> Result<Vec<(String, String)>, String> {
        let events = events(letter, "weir", pipeline, NOW, false)?;
        let told = events
            .into_iter()
            .map(|all| (all.to.to_string(), all.event.message));
        Ok(told.collect())
    }

    #[test]
    fn a_record_is_decoded_and_addressed_as_todays_settings_say() {
        let ok = |all: &[(&str, &str)]| {
            let all = all
                .iter()
                .map(|(to, message)| (to.to_string(), message.to_string()));
            Ok(all.collect::<Vec<_>>())
        };
        for (name, data, group, how, want) in [
            (
                "text",
                "a line",
                "/g",
                Decode::Text,
                ok(&[("/g:shardId-1", "a line")]),
            ),
            (
                "an envelope, by its cluster",
                ENVELOPE,
                "/db/{cluster}",
                Decode::Subscription,
                ok(&[("/db/shop:shardId-1", "one"), ("/db/shop:shardId-1", "two")]),
            ),
            ("nothing to tell", CONTROL, "/g", Decode::Subscription, ok(&[])),
        ] {
            assert_eq!(told(&of_record(data), &pipeline(group, how)), want, "{name}");
        }
        for (name, data, group, how, why) in [
            ("still no JSON", "a line", "/g", Decode::Json, "not JSON"),
            (
                "still no cluster",
                "a line",
                "/db/{cluster}",
                Decode::Text,
                "`cluster` has no value",
            ),
        ] {
            let told = told(&of_record(data), &pipeline(group, how)).unwrap_err();
            assert!(told.contains(why), "{name}: {told}");
        }
    }

    #[test]
    fn base64_tells_the_place_and_the_key_that_the_record_had() {
        let told = told(&of_record(&b"\xff\xfe"[..]), &pipeline("/g", Decode::Base64)).unwrap();
        for part in [
            ":shardId-1:49:2:0",
            r#""partitionKey":"key""#,
            r#""subSequenceNumber":2"#,
        ] {
            assert!(told[0].1.contains(part), "{part} in {}", told[0].1);
        }
    }

    #[test]
    fn an_event_is_delivered_as_it_is_to_where_it_was_meant_unless_there_is_one_place_for_all() {
        let event = of_event(NOW, "not { json");
        let allowing = |group, allowed| {
            let mut pipeline = pipeline(group, Decode::Json);
            pipeline.destination.allow_groups = vec![GroupPattern::parse(allowed).unwrap()];
            pipeline
        };
        let to = |pipeline| told(&event, &pipeline);
        let one = |to: &str| Ok(vec![(to.to_owned(), "not { json".to_owned())]);
        assert_eq!(to(allowing("/g/{stream}", "/x")), one("/g/audit:shardId-1"));
        assert_eq!(to(allowing("/g/{cluster}", "/as/*")), one("/as/meant:then"));

        // By today's settings, though.
        let told = to(allowing("/g/{cluster}", "/db/*")).unwrap_err();
        assert!(
            told.contains("allow_groups") && told.contains("/as/meant"),
            "{told}"
        );
        let mut pipeline = allowing("/g/{cluster}", "/as/*");
        pipeline.dead_letter.group = Some("/as/meant".into());
        pipeline.dead_letter.stream = Some("then".into());
        let told = to(pipeline).unwrap_err();
        assert!(told.contains("that of the dead letters"), "{told}");
        let mut pipeline = allowing("/now/{stream}", "/x");
        pipeline.destination.stream = Template::parse("{log_stream}", TemplateKind::Stream).unwrap();
        assert_eq!(
            to(pipeline),
            one("/now/audit:then"),
            "the group is nobody's choice"
        );
    }

    #[test]
    fn an_event_of_before_a_redaction_is_left_unless_it_is_wanted_as_written() {
        let mut pipeline = pipeline("/g", Decode::Text);
        let mut letter = of_event(NOW, "card 4711");
        assert!(told(&letter, &pipeline).is_ok());
        pipeline.shape.redact = Redaction::new(Vec::new(), true);
        let why = told(&letter, &pipeline).unwrap_err();
        assert!(why.contains("--as-written") && !why.contains("4711"), "{why}");
        assert_eq!(events(&letter, "weir", &pipeline, NOW, true).unwrap().len(), 1);
        letter.redacted = true;
        assert!(told(&letter, &pipeline).is_ok());
    }

    #[test]
    fn an_event_that_its_own_time_makes_too_large_obeys_the_settings_for_size() {
        let old = NOW.minus(Duration::from_secs(15 * 24 * 3600));
        for message in ["\"".repeat(700_000), "x".repeat(batch::MAX_MESSAGE_BYTES)] {
            let letter = of_event(old, &message);
            let mut pipeline = pipeline("/g", Decode::Text);
            pipeline.destination.too_old = Untimely::Now;
            for (how, count) in [(Oversize::Split, 2..=3), (Oversize::Truncate, 1..=1)] {
                pipeline.destination.oversize = how;
                let events = events(&letter, "weir", &pipeline, NOW, false).unwrap();
                assert!(count.contains(&events.len()), "{how:?}: {}", events.len());
                assert!(
                    events
                        .iter()
                        .all(|all| batch::admit(&all.event, NOW).is_ok() && all.event.timestamp == NOW)
                );
            }
            pipeline.destination.oversize = Oversize::DeadLetter;
            let why = told(&letter, &pipeline).unwrap_err();
            assert!(why.contains("oversize: split"), "{why}");
        }
    }

    #[test]
    fn what_is_refused_for_its_time_or_size_obeys_todays_settings() {
        let days = |n: u64| Duration::from_secs(n * 24 * 3600);
        let mut pipeline = pipeline("/g", Decode::Text);
        let (old, new) = (
            of_event(NOW.minus(days(15)), "old"),
            of_event(NOW.plus(days(1)), "new"),
        );
        let large = of_event(NOW, &"x".repeat(batch::MAX_MESSAGE_BYTES + 1));
        assert!(told(&old, &pipeline).unwrap_err().contains("too_old: now"));
        assert!(told(&new, &pipeline).unwrap_err().contains("too_new: now"));
        assert_eq!(told(&large, &pipeline).unwrap().len(), 2);
        pipeline.destination.too_old = Untimely::Now;
        pipeline.destination.too_new = Untimely::Now;
        pipeline.destination.oversize = Oversize::DeadLetter;
        for letter in [&old, &new] {
            let events = events(letter, "weir", &pipeline, NOW, false).unwrap();
            assert_eq!(events[0].event.timestamp, NOW);
            assert!(events[0].event.message.contains("weirOriginalTime"), "{events:?}");
        }
        assert!(told(&large, &pipeline).unwrap_err().contains("oversize: split"));
        assert!(told(&of_event(NOW, ""), &pipeline).unwrap_err().contains("empty"));
    }

    #[test]
    fn what_the_settings_hide_is_not_quoted() {
        let mut pipeline = pipeline("/g", Decode::Subscription);
        let secret = of_record(r#"{"messageType":"4711"}"#);
        assert!(told(&secret, &pipeline).unwrap_err().contains("4711"));
        pipeline.shape.redact = Redaction::new(Vec::new(), true);
        assert!(!told(&secret, &pipeline).unwrap_err().contains("4711"));
        pipeline.dead_letter.raw = true;
        assert!(told(&secret, &pipeline).unwrap_err().contains("4711"));
        let withheld = letter(Body::Record(RecordBody {
            data: Data::withheld(b"x"),
            partition_key: None,
            time: None,
        }));
        assert!(told(&withheld, &pipeline).unwrap_err().contains("withheld"));
    }
}
