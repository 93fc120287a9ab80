//! What one value may be.
//!
//! Pure. Each function takes the value as given and returns it checked, or what is wrong with it and the
//! way out, as the rest of a sentence that begins with the value. The file and the flags share them.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::Value;

use super::{
    DeadLetterConfig, DestinationConfig, FLEET_SUFFIX, LeaseKeys, LogClass, LogFormat, Oversize,
    SourceConfig, Start, StreamChoice, Untimely, units,
};
use crate::clock::Timestamp;
use crate::decode::{Decode, Gzip, UnknownMessages};
use crate::filter::Filter;
use crate::logs::allow::GroupPattern;
use crate::logs::dead_letter;
use crate::logs::template::{EnvelopeFields, Field, Fields, Template, TemplateKind};
use crate::redact::{self, Key, Path, Segment, With};
use crate::shape::Format;
use crate::stream::StreamArn;
use crate::suggest;

/// What is wrong, and the way out.
pub type Checked<T> = Result<T, String>;

/// The length of a table's name (API reference of DynamoDB's CreateTable).
const TABLE_NAME: RangeInclusive<usize> = 3..=255;

/// What `inflate_limit` may be. A subscription envelope opens to a few MiB as a rule, and a record has 10 MiB at
/// most; what one opens to is in memory as a whole.
pub const INFLATE_LIMIT: RangeInclusive<usize> = (1 << 20)..=(256 << 20);

/// The longest name of a stream or a consumer (API reference of CreateStream and RegisterStreamConsumer).
const LONGEST_CONSUMER: usize = 128;

/// What CloudWatch Logs takes (API reference of PutRetentionPolicy).
const RETENTION_DAYS: [u16; 22] = [
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
];

/// A name for the state tables, with room for that of the fleet's.
pub fn application(text: &str) -> Checked<String> {
    let longest = TABLE_NAME.end() - FLEET_SUFFIX.len();
    table_like(
        text,
        *TABLE_NAME.start()..=longest,
        "the state tables are named after the application",
    )
}

/// The name of a DynamoDB table.
pub fn table_name(text: &str) -> Checked<String> {
    if text.starts_with("arn:") {
        return Err(match StreamArn::new(text).table() {
            Some(table) if text.contains("/stream/") => {
                format!("is the ARN of a stream: give it as the stream's ARN, or the table's name, `{table}`")
            }
            Some(table) => format!("is an ARN: give the table's name, `{table}`"),
            None => "is an ARN: give the table's name".to_owned(),
        });
    }
    table_like(text, TABLE_NAME, "as DynamoDB names tables")
}

fn table_like(text: &str, length: RangeInclusive<usize>, why: &str) -> Checked<String> {
    let fits = length.contains(&text.len());
    if fits
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
    {
        return Ok(text.to_owned());
    }
    let (min, max) = length.into_inner();
    Err(format!(
        "must be {min} to {max} of the characters a-z A-Z 0-9 _ . - ({why})"
    ))
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
            if !partition.is_empty()
                && !label.is_empty()
                && self::region(region).is_ok()
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
    let plain =
        service == "kinesis" && !partition.is_empty() && self::region(region).is_ok() && is_account(account);
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

/// What the records of a Kinesis stream may be read as.
pub const DECODES: [(&str, Decode); 7] = [
    ("auto", Decode::Auto),
    ("subscription", Decode::Subscription),
    ("audit", Decode::Audit),
    ("change", Decode::Change),
    ("json", Decode::Json),
    ("text", Decode::Text),
    ("base64", Decode::Base64),
];

/// As the settings spell it.
pub fn decode_word(how: Decode) -> &'static str {
    let word = DECODES.iter().find(|(_, decode)| *decode == how);
    // Only `lambda` is not on the list.
    word.map_or("lambda", |(word, _)| word)
}

/// What records are read as: one of the words for Kinesis, or `lambda`.
pub fn decode(text: &str) -> Checked<Decode> {
    match DECODES.iter().find(|(word, _)| *word == text) {
        Some((_, decode)) => Ok(*decode),
        None if text == "lambda" => Ok(Decode::Lambda),
        None => Err(format!(
            "is no way to decode: {}",
            suggest::one_of(text, &DECODES.map(|(word, _)| word))
        )),
    }
}

/// Whether the records of this stream can be read so.
pub fn decode_fits(how: Decode, stream: &StreamChoice) -> Checked<()> {
    match (stream.kinesis_name().is_some(), how) {
        (true, Decode::Lambda) => Err(
            "is how a DynamoDB stream's records are read: changes of a table that come through Kinesis are read with \
             `change`"
                .to_owned(),
        ),
        (true, _) | (false, Decode::Lambda) => Ok(()),
        (false, _) => Err(
            "is for Kinesis streams, and the records of a DynamoDB stream are changes of its table: leave it out \
             (which is `lambda`)"
                .to_owned(),
        ),
    }
}

/// How events may be told, and the word for what they are as they were decoded.
pub const FORMATS: [(&str, Format); 5] = [
    ("lambda", Format::Decoded),
    ("plain", Format::Plain),
    ("diff", Format::Diff),
    ("json", Format::Decoded),
    ("raw", Format::Raw),
];

/// How events are told of records that are read so. Without `how`, which is wrong then, any of the words will do.
pub fn format(text: &str, how: Option<Decode>) -> Checked<Format> {
    let known = FORMATS.iter().find(|(word, _)| *word == text);
    let (what, words): (_, &[&str]) = match how {
        Some(Decode::Lambda | Decode::Change) => {
            ("changes of a DynamoDB table", &["lambda", "plain", "diff"])
        }
        Some(Decode::Audit) => ("audit lines", &["json", "raw"]),
        None => ("", &FORMATS.map(|(word, _)| word)),
        Some(Decode::Auto) => {
            return Err(
                "can't be had of records that are read by their looks, which may be anything: say what they are, as \
                 in `decode: change` or `decode: audit`, or leave it out"
                    .to_owned(),
            );
        }
        Some(other) => {
            return Err(format!(
                "is for changes of a DynamoDB table and for audit lines, and `decode: {}` gives neither: leave it out",
                decode_word(other)
            ));
        }
    };
    match known {
        Some((word, format)) if words.contains(word) => Ok(*format),
        Some(_) => Err(format!(
            "is not how {what} are told: use one of {}",
            words.join(", ")
        )),
        None => Err(format!("is not a format: {}", suggest::one_of(text, words))),
    }
}

/// Whether events that are told so can have something hidden in them.
pub fn format_fits_redaction(format: Format) -> Checked<()> {
    match format {
        Format::Decoded | Format::Plain | Format::Diff => Ok(()),
        Format::Raw => Err(
            "is the line as it was written, in which nothing can be hidden, and `redact` or `redact_sql` is set: use \
             json, or remove the other"
                .to_owned(),
        ),
    }
}

/// Whether a subscription envelope may be opened.
fn opens_envelopes(how: Decode) -> bool {
    match how {
        Decode::Auto | Decode::Subscription | Decode::Audit => true,
        Decode::Lambda | Decode::Change | Decode::Json | Decode::Text | Decode::Base64 => false,
    }
}

/// Patterns of which an event has to match one.
pub fn filter(patterns: &[Value]) -> Checked<Filter> {
    Filter::parse(patterns).map_err(|error| error.to_string())
}

/// Whether the events of records that are read so can match.
pub fn filter_fits(filter: &Filter, how: Decode) -> Checked<()> {
    filter.fits(how).map_err(|error| error.to_string())
}

/// Whether `unknown_messages` can matter.
pub fn unknown_messages_fit(how: Decode) -> Checked<()> {
    match opens_envelopes(how) {
        true => Ok(()),
        false => Err(format!(
            "is about subscription envelopes, and `decode: {}` opens none: remove one of the two",
            decode_word(how)
        )),
    }
}

/// A path of values that are hidden, in what records of this kind become.
pub fn redact_path(text: &str, how: Option<Decode>) -> Checked<Path> {
    /// What an audit line may become, and what the envelope adds.
    const AUDIT: [&str; 19] = [
        "timestamp",
        "serverhost",
        "username",
        "host",
        "port",
        "connectionid",
        "queryid",
        "operation",
        "database",
        "object",
        "retcode",
        "connection_type",
        "tls_version",
        "message",
        "error",
        "withheld",
        "logGroup",
        "logStream",
        "owner",
    ];
    let path = Path::parse(text).map_err(|e| e.to_string())?;
    let known: &[&str] = match how {
        Some(Decode::Lambda | Decode::Change) => &redact::PARTS,
        Some(Decode::Audit) => &AUDIT,
        _ => return Ok(path),
    };
    let is_id = |segment: &Segment| match segment {
        Segment::Name(name) => name == "id",
        Segment::Any => true,
    };
    if how == Some(Decode::Audit) && path.segments().len() == 1 && path.segments().iter().all(is_id) {
        return Err(
            "hides the `id` of the line, by which a repeated one is known: name the fields to hide"
                .to_owned(),
        );
    }
    if let (Some(Decode::Audit), [first, second, ..]) = (how, path.segments()) {
        let is_field = |segment: &&Segment| match segment {
            Segment::Name(name) => AUDIT.contains(&name.as_str()),
            Segment::Any => false,
        };
        let field = match [first, second].into_iter().find(is_field) {
            Some(Segment::Name(name)) => name,
            _ => "host",
        };
        return Err(format!(
            "goes below a field, and those of an audit line have nothing below them: name the field alone, as in \
             `{field}`"
        ));
    }
    match path.segments().first() {
        Some(Segment::Name(first)) if !known.contains(&first.as_str()) => Err(match how {
            Some(Decode::Audit) => format!(
                "begins with `{first}`, which is no field of an audit line: {}",
                suggest::one_of(first, known)
            ),
            _ if first == "dynamodb" => {
                "begins at `dynamodb`, and paths begin below it: remove the `dynamodb.`".to_owned()
            }
            _ => format!(
                "begins with `{first}`, and a change has nothing to hide there: begin with NewImage, OldImage, Keys, or \
                 `*` for all three"
            ),
        }),
        _ => Ok(path),
    }
}

/// What becomes of a value that is hidden. `Err` also tells where a hash lacks its key.
pub fn redact_with(text: &str, key: Option<&Key>, has_key: bool) -> Checked<Option<With>> {
    match (text, key) {
        ("mask", _) => Ok(Some(With::Mask)),
        ("remove", _) => Ok(Some(With::Remove)),
        ("hash", Some(key)) => Ok(Some(With::Hash(key.clone()))),
        // That the key is wrong is told where it stands.
        ("hash", None) if has_key => Ok(None),
        ("hash", None) => Err(
            "needs a key: set `redact_key` beside `redact`, best from the environment, as in \
             `redact_key: ${WEIR_REDACT_KEY}`"
                .to_owned(),
        ),
        (other, _) => Err(format!(
            "is no way to hide a value: {}",
            suggest::one_of(other, &["mask", "remove", "hash"])
        )),
    }
}

/// `auto`, `always` or `never`.
pub fn gzip(text: &str) -> Checked<Gzip> {
    match text {
        "auto" => Ok(Gzip::Auto),
        "always" => Ok(Gzip::Always),
        "never" => Ok(Gzip::Never),
        "true" => Err("is no way to treat gzip: did you mean `always`?".to_owned()),
        "false" => Err("is no way to treat gzip: did you mean `never`?".to_owned()),
        other => Err(format!(
            "is no way to treat gzip: {}",
            suggest::one_of(other, &["auto", "always", "never"])
        )),
    }
}

/// `dead_letter` or `skip`.
pub fn unknown_messages(text: &str) -> Checked<UnknownMessages> {
    match text {
        "dead_letter" => Ok(UnknownMessages::DeadLetter),
        "skip" => Ok(UnknownMessages::Skip),
        other => Err(format!(
            "is nothing to do with a message: {}",
            suggest::one_of(other, &["dead_letter", "skip"])
        )),
    }
}

/// The ARN of an IAM role.
pub fn role_arn(text: &str) -> Checked<String> {
    let fields: Vec<&str> = text.splitn(6, ':').collect();
    match fields.as_slice() {
        ["arn", partition, "iam", "", account, resource]
            if !partition.is_empty()
                && is_account(account)
                && resource.strip_prefix("role/").is_some_and(|name| {
                    !name.is_empty() && !name.ends_with('/') && !name.contains(char::is_whitespace)
                }) =>
        {
            Ok(text.to_owned())
        }
        _ => Err("is not the ARN of a role: it looks like arn:aws:iam::ACCOUNT:role/NAME, with 12 digits of account"
            .to_owned()),
    }
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

/// An external id: 2 to 1224 of `[\w+=,.@:\/-]` (API reference of STS AssumeRole).
pub fn external_id(text: &str) -> Checked<String> {
    let held = |c: char| c.is_ascii_alphanumeric() || "_+=,.@:/-".contains(c);
    if (2..=1224).contains(&text.len()) && text.chars().all(held) {
        return Ok(text.to_owned());
    }
    Err("must be 2 to 1224 of the characters a-z A-Z 0-9 _ + = , . @ : / -".to_owned())
}

/// A region by its shape alone: new ones appear, and emulators make their own.
pub fn region(text: &str) -> Checked<String> {
    let held = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    // It becomes a label of a host name: RFC 1035, 2.3.4 (63 characters).
    if (1..=63).contains(&text.len())
        && text.bytes().all(held)
        && !text.starts_with('-')
        && !text.ends_with('-')
    {
        return Ok(text.to_owned());
    }
    Err("is not a region: it looks like eu-west-1".to_owned())
}

/// A pipeline's name: the first part of its lease keys, which end at a `/`.
pub fn pipeline_name(text: &str) -> Checked<String> {
    let held = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if (1..=64).contains(&text.len()) && text.chars().all(held) {
        return Ok(text.to_owned());
    }
    Err(
        "a pipeline's name must be 1 to 64 of the characters a-z A-Z 0-9 . _ - (it begins its lease keys)"
            .to_owned(),
    )
}

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
    match text {
        "split" => Ok(Oversize::Split),
        "truncate" => Ok(Oversize::Truncate),
        "dead_letter" => Ok(Oversize::DeadLetter),
        other => Err(format!(
            "is nothing to do with a message that is too large: {}",
            suggest::one_of(other, &["split", "truncate", "dead_letter"])
        )),
    }
}

/// `dead_letter` or `now`.
pub fn untimely(text: &str) -> Checked<Untimely> {
    match text {
        "dead_letter" => Ok(Untimely::DeadLetter),
        "now" => Ok(Untimely::Now),
        other => Err(format!(
            "is nothing to do with an event that is refused for its time: {}",
            suggest::one_of(other, &["dead_letter", "now"])
        )),
    }
}

/// `standard` or `infrequent_access`.
pub fn log_class(text: &str) -> Checked<LogClass> {
    match text {
        "standard" => Ok(LogClass::Standard),
        "infrequent_access" => Ok(LogClass::InfrequentAccess),
        "STANDARD" => Err("is not a class of log groups: did you mean `standard`?".to_owned()),
        "INFREQUENT_ACCESS" => {
            Err("is not a class of log groups: did you mean `infrequent_access`?".to_owned())
        }
        other => Err(format!(
            "is not a class of log groups: {}",
            suggest::one_of(other, &["standard", "infrequent_access"])
        )),
    }
}

/// PutLogEvents a second. The quota is 5,000 in most regions, and can be raised.
pub fn put_rate(text: &str) -> Checked<u32> {
    const MOST: u32 = 100_000;
    match text.parse::<u64>() {
        Ok(0) => Err(format!("lets nothing through: use 1 to {MOST}")),
        Ok(rate) => u32::try_from(rate)
            .ok()
            .filter(|rate| *rate <= MOST)
            .ok_or_else(|| format!("is too much: use 1 to {MOST}")),
        Err(_) => Err(format!("is not a number of puts a second: use 1 to {MOST}")),
    }
}

/// The address that health and metrics are served on.
pub fn address(text: &str) -> Checked<SocketAddr> {
    text.parse().map_err(|_| {
        let example = match text
            .rsplit_once(':')
            .map_or(text, |(_, port)| port)
            .parse::<u16>()
        {
            Ok(port) => format!("0.0.0.0:{port}"),
            Err(_) => "0.0.0.0:8080".to_owned(),
        };
        format!("is not an IP address and a port: write it like `{example}`")
    })
}

/// `weir` or `kcl`.
pub fn lease_keys(text: &str) -> Checked<LeaseKeys> {
    match text {
        "weir" => Ok(LeaseKeys::Weir),
        "kcl" => Ok(LeaseKeys::Kcl),
        _ => Err(format!(
            "is no make of lease keys: {}",
            suggest::one_of(text, &["weir", "kcl"])
        )),
    }
}

/// `auto`, `text` or `json`.
pub fn log_format(text: &str) -> Checked<LogFormat> {
    match text {
        "auto" => Ok(LogFormat::Auto),
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        other => Err(format!(
            "is not a log format: {}",
            suggest::one_of(other, &["auto", "text", "json"])
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

/// `true` or `false`.
pub fn boolean(text: &str) -> Checked<bool> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("is neither `true` nor `false`: use one of them".to_owned()),
    }
}

/// A duration within bounds.
pub fn duration(bounds: RangeInclusive<Duration>) -> impl Fn(&str) -> Checked<Duration> {
    move |text| within(units::duration(text)?, &bounds, units::show_duration)
}

/// A size in bytes within bounds.
pub fn size(bounds: RangeInclusive<usize>) -> impl Fn(&str) -> Checked<usize> {
    move |text| within(units::size(text)?, &bounds, units::show_size)
}

fn within<T: PartialOrd + Copy>(value: T, bounds: &RangeInclusive<T>, show: fn(T) -> String) -> Checked<T> {
    let (min, max) = (*bounds.start(), *bounds.end());
    if value < min {
        Err(format!("is too little: use {} to {}", show(min), show(max)))
    } else if value > max {
        Err(format!("is too much: use {} to {}", show(min), show(max)))
    } else {
        Ok(value)
    }
}

/// What is known of the state tables' names: of a wrong one nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct StateNames<'a> {
    pub application: Option<&'a str>,
    /// `state.lease_table`, where it is set.
    pub lease_table: Option<&'a str>,
    /// `state.fleet_table`, where it is set.
    pub fleet_table: Option<&'a str>,
}

/// Why this source table can't be read, if so: a state table would be it.
pub fn apart_from_state(names: StateNames<'_>, table: &str) -> Checked<()> {
    let StateNames {
        application,
        lease_table,
        fleet_table,
    } = names;
    for (which, key, set, suffix) in [
        ("the lease table", "state.lease_table", lease_table, ""),
        (
            "the fleet's table",
            "state.fleet_table",
            fleet_table,
            FLEET_SUFFIX,
        ),
    ] {
        match (set, application) {
            (Some(set), _) if set == table => {
                return Err(format!("reads {which}, `{key}`: choose another name for that"));
            }
            (None, Some(application)) if table.strip_suffix(suffix) == Some(application) => {
                return Err(format!(
                    "reads {which} of the application `{application}`, which is named after it: choose another \
                     application"
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A KMS key: its id, its ARN or an alias (API reference of KMS, "Key identifiers").
pub fn kms_key(text: &str) -> Checked<String> {
    let alias = |text: &str| {
        text.strip_prefix("alias/").is_some_and(|name| {
            let held = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'-');
            !name.is_empty() && name.bytes().all(held)
        })
    };
    let fields: Vec<&str> = text.splitn(6, ':').collect();
    let fits = match fields.as_slice() {
        ["arn", partition, "kms", region, account, resource] => {
            let key = resource.strip_prefix("key/").is_some_and(is_key_id);
            !partition.is_empty()
                && self::region(region).is_ok()
                && is_account(account)
                && (key || alias(resource))
        }
        _ => is_key_id(text) || alias(text),
    };
    match fits {
        true => Ok(text.to_owned()),
        false => Err(
            "is not a KMS key: give its id, its ARN (arn:aws:kms:REGION:ACCOUNT:key/ID), or an alias (alias/NAME)"
                .to_owned(),
        ),
    }
}

/// The key of a log group, by the ARN of the key itself (API reference of CloudWatch Logs, CreateLogGroup).
pub fn log_key(text: &str) -> Checked<String> {
    const SHAPE: &str = "arn:aws:kms:REGION:ACCOUNT:key/ID";
    match kms_key(text) {
        Ok(key) if key.contains(":key/") => Ok(key),
        Ok(_) => Err(format!(
            "is no ARN of a key, which CloudWatch Logs asks for: give {SHAPE}"
        )),
        Err(_) => Err(format!("is not a KMS key: give its ARN, {SHAPE}")),
    }
}

/// A UUID, or a multi-Region key's id.
fn is_key_id(text: &str) -> bool {
    let hex = |text: &str, length| text.len() == length && text.bytes().all(|b| b.is_ascii_hexdigit());
    let parts: Vec<&str> = text.split('-').collect();
    match parts.as_slice() {
        ["mrk", id] => hex(id, 32),
        [a, b, c, d, e] => hex(a, 8) && [b, c, d].iter().all(|part| hex(part, 4)) && hex(e, 12),
        _ => false,
    }
}

/// What a tag's key and value may hold besides letters and digits (Developer Guide of DynamoDB, "Tagging
/// restrictions").
fn in_a_tag(c: char) -> bool {
    c.is_alphanumeric() || " +-=._:/@".contains(c)
}

/// A tag's key.
pub fn tag_key(text: &str) -> Checked<()> {
    if text.to_lowercase().starts_with("aws:") {
        return Err("a tag's key can't begin with `aws:`, which AWS reserves".to_owned());
    }
    match (1..=128).contains(&text.chars().count()) && text.chars().all(in_a_tag) {
        true => Ok(()),
        false => Err("a tag's key must be 1 to 128 letters, digits, spaces and + - = . _ : / @".to_owned()),
    }
}

/// A tag's value.
pub fn tag_value(text: &str) -> Checked<String> {
    match text.chars().count() <= 256 && text.chars().all(in_a_tag) {
        true => Ok(text.to_owned()),
        false => {
            Err("a tag's value must be at most 256 letters, digits, spaces and + - = . _ : / @".to_owned())
        }
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

#[cfg(test)]
mod tests;
