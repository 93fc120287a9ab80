//! Log groups and log streams: their names, what they are like, and what becomes of events they refuse.

use super::records::opens_envelopes;
use super::{Checked, decode_word, word};
use crate::config::{DeadLetterConfig, DestinationConfig, LogClass, Oversize, StreamChoice, Untimely};
use crate::decode::Decode;
use crate::logs::allow::GroupPattern;
use crate::logs::dead_letter;
use crate::logs::template::{EnvelopeFields, Field, Fields, Template, TemplateKind};

/// What CloudWatch Logs takes (API reference of PutRetentionPolicy).
pub const RETENTION_DAYS: [u16; 22] = [
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
];

/// The template of a log group's name.
pub fn group(text: &str) -> Checked<Template> {
    Template::parse(text, TemplateKind::Group).map_err(|e| e.to_string())
}

/// The template of a log stream's name.
pub fn stream(text: &str) -> Checked<Template> {
    Template::parse(text, TemplateKind::Stream).map_err(|e| e.to_string())
}

/// A pattern of the groups that may be written to.
pub fn group_pattern(text: &str) -> Checked<GroupPattern> {
    GroupPattern::parse(text).map_err(|e| format!("is no pattern of log groups: {e}"))
}

/// The same, several of them with commas between.
pub fn group_patterns(text: &str) -> Checked<Vec<GroupPattern>> {
    text.split(',').map(|one| group_pattern(one.trim())).collect()
}

/// Whether `allowed` is there where records choose the group, and only there. The error is told beside the name
/// of the setting.
pub fn allows(group: &Template, allowed: &[GroupPattern]) -> Checked<()> {
    let chosen: Vec<Field> = group.fields().filter(|field| field.is_of_envelope()).collect();
    match (chosen.first(), allowed.is_empty()) {
        (Some(field), true) => Err(format!(
            "is missing: `{{{field}}}` in the group's name is drawn from the records, and whoever writes those must not \
             choose a foreign group. List the groups that are meant, as in `{}`",
            group.with_fields_as("*")
        )),
        (None, false) => Err(
            "is for groups whose names are drawn from records, and this one's is not: remove it".to_owned(),
        ),
        _ => Ok(()),
    }
}

/// The log group of the dead letters.
pub fn letters_group(text: &str) -> Checked<String> {
    fixed(text, TemplateKind::Group)
}

/// The log stream of the dead letters.
pub fn letters_stream(text: &str) -> Checked<String> {
    fixed(text, TemplateKind::Stream)
}

/// A name without fields: no record may choose where its dead letter goes.
fn fixed(text: &str, kind: TemplateKind) -> Checked<String> {
    if text.contains(['{', '}']) {
        return Err(
            "holds a brace, and all dead letters of a pipeline go to one place: write a fixed name, without fields"
                .to_owned(),
        );
    }
    Template::parse(text, kind)
        .map(|_| text.to_owned())
        .map_err(|e| e.to_string())
}

/// Whether dead letters lie apart from the events: a log stream of both would tell neither.
pub fn letters_apart(letters: &DeadLetterConfig, destination: &DestinationConfig) -> Checked<()> {
    let stream = letters.stream.as_deref().unwrap_or(dead_letter::STREAM);
    let group = destination.group.as_str();
    // A group that records name may be any; without one of their own, the letters lie in the destination's.
    let may_share_group = match &letters.group {
        Some(own) => own == group || destination.group.fields().next().is_some(),
        None => true,
    };
    if letters.group.as_deref() == Some(group) && destination.class == Some(LogClass::InfrequentAccess) {
        return Err(
            "is in a group of the class infrequent_access, where the dead letters lie too, and from such a group they \
             can't be read back: name another group in `dead_letter`, or leave it out"
                .to_owned(),
        );
    }
    if may_share_group && destination.stream.as_str() == stream {
        return Err("is the stream of the dead letters: choose another name".to_owned());
    }
    Ok(())
}

/// Days of retention.
pub fn retention_days(text: &str) -> Checked<u16> {
    let list = || RETENTION_DAYS.map(|d| d.to_string()).join(", ");
    let Ok(days) = text.parse::<i64>() else {
        return Err(format!("is not a number of days: use one of {}", list()));
    };
    let nearest = RETENTION_DAYS
        .into_iter()
        .min_by_key(|&d| i64::from(d).abs_diff(days));
    match nearest {
        Some(same) if i64::from(same) == days => Ok(same),
        Some(near) => Err(format!(
            "is not a retention that CloudWatch Logs takes: the nearest is {near} (it takes {})",
            list()
        )),
        None => Err(format!("use one of {}", list())),
    }
}

/// `split`, `truncate` or `dead_letter`.
pub fn oversize(text: &str) -> Checked<Oversize> {
    let words = [
        ("split", Oversize::Split),
        ("truncate", Oversize::Truncate),
        ("dead_letter", Oversize::DeadLetter),
    ];
    word(text, &words, "is nothing to do with a message that is too large")
}

/// `dead_letter` or `now`.
pub fn untimely(text: &str) -> Checked<Untimely> {
    let words = [("dead_letter", Untimely::DeadLetter), ("now", Untimely::Now)];
    word(
        text,
        &words,
        "is nothing to do with an event that is refused for its time",
    )
}

/// `standard` or `infrequent_access`.
pub fn log_class(text: &str) -> Checked<LogClass> {
    const WHAT: &str = "is not a class of log groups";
    let words = [
        ("standard", LogClass::Standard),
        ("infrequent_access", LogClass::InfrequentAccess),
    ];
    match text {
        // As the service spells them.
        "STANDARD" => Err(format!("{WHAT}: did you mean `standard`?")),
        "INFREQUENT_ACCESS" => Err(format!("{WHAT}: did you mean `infrequent_access`?")),
        other => word(other, &words, WHAT),
    }
}

/// Renders a name with what is known before a stream is read, and stand-ins of the usual length for the
/// rest: a name that is too long or reserved, or lacks a value, is better told now than when the first
/// shard is read.
pub fn renders(
    template: &Template,
    application: &str,
    pipeline: &str,
    stream: &StreamChoice,
    how: Decode,
) -> Checked<()> {
    let opens = opens_envelopes(how);
    let lacks = |field: &Field| match field {
        Field::Table => stream.table().is_none(),
        Field::Stream => stream.kinesis_name().is_none(),
        field => field.is_of_envelope() && !opens,
    };
    if let Some(field) = template.fields().find(lacks) {
        let why = match field {
            Field::Table => "is a DynamoDB table, and a Kinesis stream has none: use `{stream}`".to_owned(),
            Field::Stream => "is a Kinesis stream, and the source is a table: use `{table}`".to_owned(),
            _ if how == Decode::Lambda => {
                "comes from a subscription envelope, and a DynamoDB stream holds none".to_owned()
            }
            _ => format!(
                "comes from a subscription envelope, and `decode: {}` opens none: read it as auto, subscription or \
                 audit",
                decode_word(how)
            ),
        };
        // A default would stand in every name.
        return Err(format!("uses `{{{field}}}`, which {why}; or leave it out"));
    }
    let fields = Fields {
        application,
        pipeline,
        table: stream.table(),
        stream: stream.kinesis_name(),
        shard_id: "shardId-00000001573081276000-9a8f9ff6",
        region: Some("eu-west-1"),
        account: Some("111122223333"),
        envelope: opens.then_some(EnvelopeFields {
            owner: "111122223333",
            log_group: "/aws/rds/cluster/production/audit",
            log_stream: "production-instance-1.audit.log.0.2024-11-09-08-30.0",
            cluster: Some("production"),
            instance: Some("production-instance-1"),
        }),
    };
    template
        .render(&fields)
        .map(drop)
        .map_err(|e| format!("gives no valid name: {e}"))
}
