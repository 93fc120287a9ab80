//! The layout of the YAML file.
//!
//! Owns which key is where and which keys exclude each other; `check` owns what one value may be, and
//! `config` the defaults. Reads text, not files.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde_json::Value;

use super::check::StateNames;
use super::problem::Problems;
use super::reader::{Section, item};
use super::{
    AwsSettings, Config, ConfigError, DeadLetterConfig, DestinationConfig, FLEET_SUFFIX, FanOut, LeaseKeys,
    Missing, NewTables, Overrides, PipelineConfig, SourceConfig, StateConfig, StreamChoice, Vars, check,
    units,
};
use crate::decode::{Decode, DecodeSettings, Gzip};
use crate::logs::template::Field;
use crate::redact::{Key, Redaction, Rule, With};
use crate::shape::Shape;

/// The bounds of each setting that has a unit. A value outside is a slip far more often than a wish.
mod bounds {
    use std::ops::RangeInclusive;
    use std::time::Duration;

    type Durations = RangeInclusive<Duration>;

    const fn millis(min: u64, max: u64) -> Durations {
        Duration::from_millis(min)..=Duration::from_millis(max)
    }

    const SECOND: u64 = 1_000;
    const MINUTE: u64 = 60 * SECOND;
    const HOUR: u64 = 60 * MINUTE;

    /// Below 3 s a heartbeat (each 0.36 of it at the latest) with its 1 s of timeout comes too close to the
    /// fence (0.8 of it). Beyond 5 min a dead worker's shards wait longer than anyone means them to.
    pub const LEASE: Durations = millis(3 * SECOND, 5 * MINUTE);
    /// KCL renews a lease about each third of its `failoverTimeMillis`, 10 s by default: a watch below
    /// 5 s would call a live worker dead.
    pub const FOREIGN_WATCH: Durations = millis(5 * SECOND, HOUR);
    /// Counted by the calendars of several machines: below a day, one that is wrong by hours would matter.
    pub const KEEP_REMOVED: Durations = millis(24 * HOUR, 90 * 24 * HOUR);
    /// Each is a write per moving shard; at most this much is repeated after a crash.
    pub const CHECKPOINT: Durations = millis(SECOND, 10 * MINUTE);
    /// ECS on Fargate grants 2 min between SIGTERM and SIGKILL at most; Kubernetes what it is told.
    pub const DRAIN: Durations = millis(SECOND, HOUR);
    /// DescribeStream is limited to 10 a second per stream; a shard rolls over about each 4 h.
    pub const SYNC: Durations = millis(SECOND, HOUR);
    /// A shard iterator lives for 15 min (API reference of GetShardIterator); one read a minute is far off.
    pub const POLL_BUSY: Durations = millis(0, MINUTE);
    /// Ten reads a second of an idle shard are the most that is of use; Lambda makes four.
    pub const POLL_IDLE: Durations = millis(100, MINUTE);
    /// One answer of GetRecords is up to 1 MB; below 16 MiB a few shards would already wait for each other.
    pub const MEMORY: RangeInclusive<usize> = (16 << 20)..=(64 << 30);
}

/// Reads a file's text. `overrides` stand before what the file says.
pub fn read(text: &str, vars: Vars<'_>, overrides: Overrides) -> Result<Config, ConfigError> {
    let (config, problems) = Section::read(parse(text)?, vars, |top| config(top, overrides));
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(ConfigError::Invalid(Problems(problems))),
    }
}

fn parse(text: &str) -> Result<Value, ConfigError> {
    let options = serde_saphyr::options! {
        // YAML 1.2: `yes` and `on` are texts. And a text keeps its spelling where it only looks like a number.
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        // A fault of the document as a whole has no place of its own: then the beginning stands for it.
        let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
        let message = match &error {
            serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } => {
                format!("the key `{key}` stands twice: keep one")
            }
            other => {
                let message = other.render_with_formatter(&serde_saphyr::UserMessageFormatter);
                let place = format!(" at line {line}, column {column}");
                format!(
                    "not valid YAML: {}",
                    message.strip_suffix(&place).unwrap_or(&message)
                )
            }
        };
        ConfigError::Syntax {
            line,
            column,
            message,
        }
    })
}

/// `None` only after a problem was reported.
fn config(top: &mut Section<'_>, overrides: Overrides) -> Option<Config> {
    let has_application = top.has("application");
    let application = overrides
        .application
        .or(top.text("application", check::application));
    let http_address = top.section("http", |http| http.text("address", check::address));
    let log_format = top.section("log", |log| log.text("format", check::log_format));
    let memory = top.scalar("memory", check::size(bounds::MEMORY));
    let put_rate = top.scalar("put_rate", check::put_rate);
    let (lease_keys, lease_duration, foreign_watch, keep_removed) = top.section("leases", |leases| {
        (
            leases.text("keys", check::lease_keys),
            leases.scalar("duration", check::duration(bounds::LEASE)),
            leases.scalar("foreign_watch", check::duration(bounds::FOREIGN_WATCH)),
            leases.scalar("keep_removed", check::duration(bounds::KEEP_REMOVED)),
        )
    });
    let checkpoint_interval = top.section("checkpoint", |checkpoint| {
        checkpoint.scalar("interval", check::duration(bounds::CHECKPOINT))
    });
    let drain_timeout = top.section("drain", |drain| {
        drain.scalar("timeout", check::duration(bounds::DRAIN))
    });
    let with_defaults = Config::of(Vec::new());
    // Of a wrong application nothing more is said.
    let application = application.or((!has_application).then_some(with_defaults.application));
    let state = top.section("state", |section| state(section, application.as_deref()));
    let names = StateNames {
        application: application.as_deref(),
        lease_table: state.lease_table.as_deref(),
        fleet_table: state.fleet_table.as_deref(),
    };
    let pipelines = pipelines(top, names);
    if let (Some(LeaseKeys::Kcl), Some(many)) = (lease_keys, &pipelines)
        && many.len() > 1
    {
        top.problem_with(
            "leases.keys",
            "kcl",
            "such keys hold no stream, and there are several pipelines: run each under an `application` of its own, or \
             remove the key",
        );
    }
    Some(Config {
        application: application?,
        http_address: overrides
            .http_address
            .or(http_address)
            .unwrap_or(with_defaults.http_address),
        log_format: overrides
            .log_format
            .or(log_format)
            .unwrap_or(with_defaults.log_format),
        lease_duration: lease_duration.unwrap_or(with_defaults.lease_duration),
        lease_keys: lease_keys.unwrap_or(with_defaults.lease_keys),
        checkpoint_interval: checkpoint_interval.unwrap_or(with_defaults.checkpoint_interval),
        drain_timeout: drain_timeout.unwrap_or(with_defaults.drain_timeout),
        foreign_watch: foreign_watch.unwrap_or(with_defaults.foreign_watch),
        keep_removed: keep_removed.unwrap_or(with_defaults.keep_removed),
        memory: memory.unwrap_or(with_defaults.memory),
        put_rate: put_rate.unwrap_or(with_defaults.put_rate),
        state,
        pipelines: pipelines?,
    })
}

/// `None` only after a problem was reported.
fn pipelines(top: &mut Section<'_>, state: StateNames<'_>) -> Option<Vec<PipelineConfig>> {
    top.section("pipelines", |all| {
        let names = all.names();
        if names.is_empty() {
            all.problem_here(
                "there is none: add one, as in `pipelines: { orders: { source: { dynamodb_table: orders }, \
                 destination: { group: /cdc/orders } } }`",
            );
        }
        // Collected in two steps: a later pipeline's problems are wanted too.
        let read: Vec<_> = names
            .iter()
            .map(|name| all.named(name, |one| pipeline(one, name, state)))
            .collect();
        consumers_apart(all, state.application, &read);
        read.into_iter().collect()
    })
}

/// Tells where two pipelines would read as one consumer of one stream: each would end the other's subscription.
fn consumers_apart(all: &mut Section<'_>, application: Option<&str>, read: &[Option<PipelineConfig>]) {
    let mut seen: BTreeMap<_, &str> = BTreeMap::new();
    for pipeline in read.iter().flatten() {
        let source = &pipeline.source;
        let (Some(fan_out), Some(application)) = (&source.fan_out, application) else {
            continue;
        };
        let consumer = fan_out.name(application, &pipeline.name);
        let stream = source.stream.kinesis_name();
        match seen.entry((stream, source.aws.region.as_deref(), consumer.clone())) {
            Entry::Occupied(first) => {
                let what = format!(
                    "is the consumer of `pipelines.{}` too, on the same stream, and a consumer has one reader a shard: \
                     name another",
                    first.get()
                );
                all.problem_with(&format!("{}.source.consumer", pipeline.name), consumer, what);
            }
            Entry::Vacant(free) => {
                free.insert(&pipeline.name);
            }
        }
    }
}

/// `None` only after a problem was reported.
fn pipeline(one: &mut Section<'_>, name: &str, state: StateNames<'_>) -> Option<PipelineConfig> {
    if let Err(what) = check::pipeline_name(name) {
        one.problem_here(what);
    }
    let source = one.section("source", |section| source(section, name, state));
    let decode = decode(one, source.as_ref().map(|source| &source.stream));
    let filter = one.values("filter", check::filter);
    if let (Some(filter), Some(decode)) = (&filter, &decode)
        && let Err(what) = check::filter_fits(filter, decode.how)
    {
        one.problem("filter", what);
    }
    let how = decode.as_ref().map(|decode| decode.how);
    let letters = one.section("dead_letter", dead_letter);
    let redact = redact(one, how).map(|redact| redact.keeping_raw(letters.raw));
    let format = one.text("format", |text| {
        let format = check::format(text, how)?;
        match redact {
            Some(_) => check::format_fits_redaction(format).map(|()| format),
            None => Ok(format),
        }
    });
    let destination = one.section("destination", |section| {
        let destination = destination(section)?;
        if let Err(what) = check::letters_apart(&letters, &destination) {
            section.problem_with("stream", destination.stream.as_str(), what);
        }
        if let (Some(application), Some(source), Some(decode)) = (state.application, &source, &decode) {
            let mut renders = true;
            for (key, template) in [("group", &destination.group), ("stream", &destination.stream)] {
                if let Err(what) = check::renders(template, application, name, &source.stream, decode.how) {
                    section.problem_with(key, template.as_str(), what);
                    renders = false;
                }
            }
            if let (true, Err(what)) = (
                renders,
                check::allows(&destination.group, &destination.allow_groups),
            ) {
                section.problem("allow_groups", what);
            }
        }
        Some(destination)
    });
    Some(PipelineConfig {
        decode: decode?,
        shape: Shape {
            filter,
            format: format.unwrap_or_default(),
            redact,
        },
        dead_letter: letters,
        ..PipelineConfig::of(name, source?, destination?)
    })
}

/// Where the dead letters go. A key that is wrong counts as not set: its problem is told.
fn dead_letter(letters: &mut Section<'_>) -> DeadLetterConfig {
    DeadLetterConfig {
        group: letters.text("group", check::letters_group),
        stream: letters.text("stream", check::letters_stream),
        raw: letters.scalar("raw", check::boolean).unwrap_or(false),
    }
}

/// How the records become log events. `None` where it can't be told: a problem was reported, here or of the
/// source.
fn decode(one: &mut Section<'_>, stream: Option<&StreamChoice>) -> Option<DecodeSettings> {
    let has_how = one.has("decode");
    let how = one.text("decode", |text| {
        let how = check::decode(text)?;
        match stream {
            Some(stream) => check::decode_fits(how, stream).map(|()| how),
            None => Ok(how),
        }
    });
    let gzip = one.scalar("gzip", check::gzip);
    let inflate_limit = one.scalar("inflate_limit", check::size(check::INFLATE_LIMIT));
    let unknown_messages = one.text("unknown_messages", check::unknown_messages);
    let stream = stream?;
    let of_kinesis = [
        ("gzip", gzip.is_some()),
        ("inflate_limit", inflate_limit.is_some()),
        ("unknown_messages", unknown_messages.is_some()),
    ];
    if stream.kinesis_name().is_none() {
        for (key, _) in of_kinesis.into_iter().filter(|(_, set)| *set) {
            one.problem(
                key,
                "is for Kinesis streams, and the records of a DynamoDB stream are plain JSON: remove it",
            );
        }
    } else if let (Some(Gzip::Never), Some(_)) = (gzip, inflate_limit) {
        one.problem(
            "inflate_limit",
            "limits what gzip opens to, and `gzip` is never: remove one of the two",
        );
    }
    // Of a wrong way to decode nothing more is said.
    let how = how.or((!has_how).then(|| stream.decode()))?;
    let with_defaults = DecodeSettings::of(how);
    if let (Some(_), Some(_), Err(what)) = (
        unknown_messages,
        stream.kinesis_name(),
        check::unknown_messages_fit(how),
    ) {
        one.problem("unknown_messages", what);
    }
    Some(DecodeSettings {
        how,
        gzip: gzip.unwrap_or(with_defaults.gzip),
        inflate_limit: inflate_limit.unwrap_or(with_defaults.inflate_limit),
        unknown_messages: unknown_messages.unwrap_or(with_defaults.unknown_messages),
        ..with_defaults
    })
}

/// What is hidden. `None` also after a problem was reported. Where it can't be told how records are read, nothing is
/// said of what would fit that.
fn redact(one: &mut Section<'_>, how: Option<Decode>) -> Option<Redaction> {
    let (has_rules, has_key) = (one.has("redact"), one.has("redact_key"));
    let key = one.secret("redact_key", |text| Key::new(text).map_err(|e| e.to_string()));
    let rules = one.list("redact", "path", |rule| {
        if !rule.has("path") {
            rule.problem(
                "path",
                "is missing: name the values, as in `path: NewImage.card_number`",
            );
        }
        let path = rule.text("path", |text| check::redact_path(text, how));
        let has_with = rule.has("with");
        let with = rule.text("with", |text| check::redact_with(text, key.as_ref(), has_key));
        (path, with.unwrap_or((!has_with).then_some(With::Mask)))
    });
    let sql = one.scalar("redact_sql", check::boolean);

    for (i, (path, _)) in rules.iter().enumerate() {
        let same = rules[..i]
            .iter()
            .position(|(other, _)| path.is_some() && other == path);
        if let (Some(path), Some(first)) = (path, same) {
            one.problem_with(
                &item("redact", i),
                path.as_str(),
                format!(
                    "is the path of {} too: remove one of the two",
                    item("redact", first)
                ),
            );
        }
    }
    if let Some(how @ (Decode::Text | Decode::Base64)) = how
        && has_rules
    {
        let how = check::decode_word(how);
        let what =
            format!("hides fields, and what is read with `decode: {how}` has none: remove one of the two");
        one.problem("redact", what);
    }
    if let (Some(true), Some(how)) = (sql, how)
        && how != Decode::Audit
    {
        let what = "is for the statements of audit lines: add `decode: audit`, or remove it";
        one.problem_with("redact_sql", "true", what);
    }
    let hashes = rules
        .iter()
        .any(|(_, with)| matches!(with, None | Some(With::Hash(_))));
    if has_key && !hashes {
        one.problem(
            "redact_key",
            "is for `with: hash`, and no path of `redact` is hashed: remove it, or hash one",
        );
    }
    let rules = rules.into_iter().map(|(path, with)| {
        Some(Rule {
            path: path?,
            with: with?,
        })
    });
    Redaction::new(rules.collect::<Option<_>>()?, sql == Some(true))
}

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
fn source(source: &mut Section<'_>, pipeline: &str, state: StateNames<'_>) -> Option<SourceConfig> {
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
    let (poll_busy, poll_idle) = source.section("poll", |poll| {
        (
            poll.scalar("busy", check::duration(bounds::POLL_BUSY)),
            poll.scalar("idle", check::duration(bounds::POLL_IDLE)),
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

/// What a log group is to be like.
const OF_GROUPS: [&str; 4] = ["retention_days", "kms_key", "tags", "class"];

/// Those of the keys that are there.
fn of_groups(destination: &Section<'_>) -> Vec<&'static str> {
    OF_GROUPS.into_iter().filter(|key| destination.has(key)).collect()
}

/// `None` only after a problem was reported.
fn destination(destination: &mut Section<'_>) -> Option<DestinationConfig> {
    if !destination.has("group") {
        destination.problem(
            "group",
            "is missing: name the log group, as in `group: /cdc/orders`",
        );
    }
    let group = destination.text("group", check::group);
    let stream = destination.text("stream", check::stream);
    let create = destination.scalar("create", check::boolean);
    let of_groups = of_groups(destination);
    let retention_days = destination.scalar("retention_days", check::retention_days);
    let kms_key = destination.text("kms_key", check::log_key);
    let tags = destination.section("tags", |section| tags(section, "a log group"));
    let class = destination.text("class", check::log_class);
    let reconcile = destination.scalar("reconcile", check::boolean);
    let oversize = destination.text("oversize", check::oversize);
    let too_old = destination.text("too_old", check::untimely);
    let too_new = destination.text("too_new", check::untimely);
    let look_up = destination.scalar("look_up", check::boolean);
    let allow_groups = destination.texts("allow_groups", check::group_pattern);
    let aws = aws(destination);

    let with_defaults = DestinationConfig::of(group?);
    let create = create.unwrap_or(with_defaults.create);
    let reconcile = reconcile.unwrap_or(with_defaults.reconcile);
    if !create && !reconcile {
        for key in &of_groups {
            destination.problem(
                key,
                "is set on groups that Weir creates, and `create` is false: set `reconcile` to true, which sets it on \
                 groups that exist, or remove it",
            );
        }
    }
    if reconcile && of_groups.is_empty() {
        destination.problem_with(
            "reconcile",
            "true",
            format!(
                "sets what a log group is to be like, and nothing is said of that: add one of {}, or remove it",
                OF_GROUPS.join(", ")
            ),
        );
    }
    let stream = stream.unwrap_or(with_defaults.stream.clone());
    if !create && stream.fields().any(|field| field == Field::ShardId) {
        destination.problem_with(
            "create",
            "false",
            format!(
                "needs a log stream that exists, and `{}` is another for each shard: set `stream` to a fixed name, or \
                 `create` to true",
                stream.as_str()
            ),
        );
    }
    Some(DestinationConfig {
        stream,
        create,
        retention_days,
        allow_groups: allow_groups?,
        kms_key,
        tags,
        class,
        reconcile,
        oversize: oversize.unwrap_or(with_defaults.oversize),
        too_old: too_old.unwrap_or(with_defaults.too_old),
        too_new: too_new.unwrap_or(with_defaults.too_new),
        look_up: look_up.unwrap_or(with_defaults.look_up),
        aws,
        ..with_defaults
    })
}

/// The state tables. A key that is wrong counts as not set: its problem is told.
fn state(state: &mut Section<'_>, application: Option<&str>) -> StateConfig {
    let lease_table = state.text("lease_table", check::table_name);
    let fleet_table = state.text("fleet_table", check::table_name);
    let create = state.scalar("create", check::boolean).unwrap_or(true);
    let on_new_tables: Vec<&str> = ["kms_key", "tags", "point_in_time_recovery", "deletion_protection"]
        .into_iter()
        .filter(|key| state.has(key))
        .collect();
    let new = NewTables {
        kms_key: state.text("kms_key", check::kms_key),
        tags: state.section("tags", |section| tags(section, "a table")),
        point_in_time_recovery: state
            .scalar("point_in_time_recovery", check::boolean)
            .unwrap_or(false),
        deletion_protection: state
            .scalar("deletion_protection", check::boolean)
            .unwrap_or(false),
    };
    if !create {
        for key in on_new_tables {
            state.problem(
                key,
                "is set on tables that Weir creates, and `create` is false: remove one of the two",
            );
        }
    }
    let one_table = match (&lease_table, &fleet_table) {
        (Some(leases), Some(fleet)) => leases == fleet,
        (Some(leases), None) => application.is_some_and(|a| *leases == format!("{a}{FLEET_SUFFIX}")),
        (None, Some(fleet)) => application == Some(fleet),
        (None, None) => false,
    };
    if one_table {
        let key = if fleet_table.is_some() {
            "fleet_table"
        } else {
            "lease_table"
        };
        let name = fleet_table.clone().or(lease_table.clone()).unwrap_or_default();
        state.problem_with(
            key,
            name,
            "is the name of both state tables, and their rows can't be in one: choose another",
        );
    }
    StateConfig {
        aws: aws(state),
        lease_table,
        fleet_table,
        missing: match create {
            true => Missing::Create(new),
            false => Missing::Refuse,
        },
    }
}

fn tags(tags: &mut Section<'_>, of: &str) -> BTreeMap<String, String> {
    /// The most that a table takes (Developer Guide of DynamoDB, "Tagging restrictions"), and a log group (API
    /// reference of CloudWatch Logs, CreateLogGroup).
    const MOST: usize = 50;
    let names = tags.names();
    if names.len() > MOST {
        tags.problem_here(format!(
            "there are {}, and {of} takes {MOST}: remove some",
            names.len()
        ));
    }
    let mut read = BTreeMap::new();
    for name in names {
        if let Err(what) = check::tag_key(&name) {
            tags.problem(&name, what);
        }
        if let Some(value) = tags.named_text(&name, check::tag_value) {
            read.insert(name, value);
        }
    }
    read
}

fn aws(section: &mut Section<'_>) -> AwsSettings {
    let has_role = section.has("assume_role_arn");
    let aws = AwsSettings {
        region: section.text("region", check::region),
        assume_role_arn: section.text("assume_role_arn", check::role_arn),
        external_id: section.text("external_id", check::external_id),
    };
    if let (Some(external_id), false) = (&aws.external_id, has_role) {
        section.problem_with(
            "external_id",
            external_id.clone(),
            "is sent when a role is assumed, and none is: add `assume_role_arn`, or remove it",
        );
    }
    aws
}

#[cfg(test)]
mod tests;
