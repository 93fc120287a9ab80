use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::clock::Timestamp;
use crate::config::problem::Problem;
use crate::config::{LogClass, LogFormat, Oversize, Start, Untimely};
use crate::decode::UnknownMessages;
use crate::filter::Filter;
use crate::logs::template::{Template, TemplateKind};
use crate::redact::Path;
use crate::shape::Format;
use crate::stream::StreamArn;

const NO_VARS: Vars<'static> = &|_| None;
const ARN: &str = "arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/2024-11-09T08:12:19.138";

/// What the examples take from the environment.
const VARS: Vars<'static> = &|name| (name == "WEIR_REDACT_KEY").then(|| REDACT_KEY.to_owned());
const REDACT_KEY: &str = "at least sixteen";

fn load(text: &str) -> Result<Config, ConfigError> {
    read(text, VARS, Overrides::default())
}

fn problems(text: &str) -> Vec<Problem> {
    match load(text).unwrap_err() {
        ConfigError::Invalid(problems) => problems.0,
        other => panic!("not a list of problems: {other}"),
    }
}

/// The one problem of a file whose pipeline `p` has these sections.
fn problem_of(source: &str, destination: &str) -> String {
    let found = problems(&format!(
        "pipelines: {{ p: {{ source: {source}, destination: {destination} }} }}"
    ));
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].to_string()
}

#[test]
fn dead_letters_have_a_fixed_place_of_their_own() {
    let file = |letters: &str, destination: &str| {
        format!(
            "pipelines: {{ p: {{ source: {SOURCE}, destination: {destination}, dead_letter: {letters} }} }}"
        )
    };
    for (letters, destination, what) in [
        (
            "{ group: \"/weir/{table}\" }",
            DESTINATION,
            "p.dead_letter.group: `/weir/{table}` holds a brace, and all dead letters of a pipeline go to one place: \
             write a fixed name",
        ),
        (
            "{ stream: \"a:b\" }",
            DESTINATION,
            "p.dead_letter.stream: `a:b` holds ':'",
        ),
        ("{ raw: 1 }", DESTINATION, "p.dead_letter.raw: `1` is neither"),
        (
            "{ to: x }",
            DESTINATION,
            "p.dead_letter.to: is not a known key: use one of group, stream, raw",
        ),
        (
            "{ stream: x }",
            "{ group: g, stream: x }",
            "p.destination.stream: `x` is the stream of the dead letters",
        ),
        (
            "{ group: g }",
            "{ group: g, stream: dead-letter }",
            "p.destination.stream: `dead-letter` is the stream of the dead letters",
        ),
        // The template may give any name.
        (
            "{ group: g }",
            "{ group: \"{table}\", stream: dead-letter }",
            "p.destination.stream: `dead-letter` is the stream of the dead letters",
        ),
    ] {
        let found = problems(&file(letters, destination));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].to_string().contains(what), "{what} in {}", found[0]);
    }
    for (letters, destination) in [
        ("{ group: h }", "{ group: g, stream: dead-letter }"),
        ("{ stream: x }", "{ group: g, stream: dead-letter }"),
        ("{ raw: true }", DESTINATION),
    ] {
        load(&file(letters, destination)).unwrap();
    }
}

const SOURCE: &str = "{ dynamodb_table: orders }";
const DESTINATION: &str = "{ group: /cdc/orders }";

/// The one problem of a file that is fine but for `top`.
fn problem_beside(top: &str) -> String {
    let text = format!("pipelines: {{ p: {{ source: {SOURCE}, destination: {DESTINATION} }} }}\n{top}");
    let found = problems(&text);
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].to_string()
}

fn examples() -> Vec<(String, String)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .map(|path| {
            (
                path.display().to_string(),
                std::fs::read_to_string(&path).unwrap(),
            )
        })
        .collect()
}

fn example(name: &str) -> String {
    examples()
        .into_iter()
        .find(|(path, _)| path.ends_with(name))
        .unwrap()
        .1
}

#[test]
fn every_example_file_is_valid() {
    assert!(examples().len() >= 3);
    for (path, text) in examples() {
        if let Err(error) = load(&text) {
            panic!("{path}: {error}");
        }
    }
}

#[test]
fn the_full_example_has_every_key() {
    let mut known = BTreeSet::new();
    known_below("", &mut known);
    assert!(known.contains("pipelines.p.source.poll.idle"), "{known:?}");

    let full = parse(&example("full.yaml")).unwrap();
    let mut written = BTreeSet::new();
    fn collect(value: &Value, path: &str, written: &mut BTreeSet<String>) {
        for (key, below) in value.as_object().into_iter().flatten() {
            let key = match path {
                "" => key.clone(),
                "pipelines" => "pipelines.p".to_owned(),
                "state.tags" | "pipelines.p.destination.tags" => continue,
                _ => format!("{path}.{key}"),
            };
            collect(below, &key, written);
            written.insert(key);
        }
    }
    collect(&full, "", &mut written);
    written.remove("pipelines.p");
    assert_eq!(known, written);
}

/// Asks the reader itself: an unknown key lists the known ones, if `path` is a section at all.
fn known_below(path: &str, known: &mut BTreeSet<String>) {
    let prefix = if path.is_empty() {
        String::new()
    } else {
        format!("{path}.")
    };
    let stranger = format!("{prefix}zzz");
    let file = stranger
        .rsplit('.')
        .fold(Value::from(1), |below, key| serde_json::json!({ key: below }));
    let found = problems(&file.to_string());
    let Some(problem) = found.iter().find(|problem| problem.key == stranger) else {
        return;
    };
    // Any key goes where the user names them.
    let Some((_, keys)) = problem.what.split_once("use one of ") else {
        return;
    };
    for key in keys.split(", ") {
        let key = format!("{prefix}{key}");
        known_below(if key == "pipelines" { "pipelines.p" } else { &key }, known);
        known.insert(key);
    }
}

#[test]
fn the_least_file_has_the_defaults_that_are_documented() {
    let expected = Config {
        application: "weir".into(),
        http_address: "0.0.0.0:8080".parse().unwrap(),
        log_format: LogFormat::Auto,
        lease_duration: Duration::from_secs(10),
        lease_keys: LeaseKeys::Weir,
        checkpoint_interval: Duration::from_secs(15),
        drain_timeout: Duration::from_secs(25),
        foreign_watch: Duration::from_secs(20),
        keep_removed: Duration::from_secs(7 * 24 * 3600),
        memory: 256 * 1024 * 1024,
        put_rate: 4_000,
        state: StateConfig {
            aws: AwsSettings::default(),
            lease_table: None,
            fleet_table: None,
            missing: Missing::Create(NewTables {
                kms_key: None,
                tags: BTreeMap::new(),
                point_in_time_recovery: false,
                deletion_protection: false,
            }),
        },
        pipelines: vec![PipelineConfig {
            name: "orders".into(),
            source: SourceConfig {
                stream: StreamChoice::Table("orders".into()),
                start: Start::TrimHorizon,
                poll_busy: Duration::ZERO,
                poll_idle: Duration::from_secs(1),
                sync_interval: Duration::from_secs(30),
                fan_out: None,
                aws: AwsSettings::default(),
            },
            decode: DecodeSettings::of(Decode::Lambda),
            shape: Shape {
                format: Format::Decoded,
                filter: None,
                redact: None,
            },
            dead_letter: DeadLetterConfig {
                group: None,
                stream: None,
                raw: false,
            },
            destination: DestinationConfig {
                group: Template::parse("/cdc/orders", TemplateKind::Group).unwrap(),
                stream: Template::parse("{shard_id}", TemplateKind::Stream).unwrap(),
                create: true,
                retention_days: None,
                kms_key: None,
                tags: BTreeMap::new(),
                class: None,
                reconcile: false,
                allow_groups: Vec::new(),
                oversize: Oversize::Split,
                too_old: Untimely::DeadLetter,
                too_new: Untimely::DeadLetter,
                look_up: true,
                aws: AwsSettings::default(),
            },
        }],
    };
    assert_eq!(load(&example("minimal.yaml")).unwrap(), expected);
}

#[test]
fn the_full_example_states_the_defaults_it_claims() {
    let full = load(&example("full.yaml")).unwrap();
    let expected = Config {
        application: "prod-cdc".into(),
        state: full.state.clone(),
        ..Config::of(full.pipelines.clone())
    };
    assert_eq!(full, expected);
    let orders = full.pipelines.iter().find(|p| p.name == "orders").unwrap();
    let source = SourceConfig {
        aws: orders.source.aws.clone(),
        ..SourceConfig::of(StreamChoice::Table("orders".into()))
    };
    assert_eq!(orders.source, source);
}

#[test]
fn every_key_is_read_into_its_place() {
    let text = format!(
        r#"
application: app
http: {{ address: "127.0.0.1:9000" }}
log: {{ format: json }}
memory: 64MiB
put_rate: 900
leases: {{ keys: kcl, duration: 20s, foreign_watch: 40s, keep_removed: 24h }}
checkpoint: {{ interval: 5s }}
drain: {{ timeout: 1m }}
state:
  lease_table: the-leases
  fleet_table: the-fleet
  create: true
  kms_key: alias/state
  tags: {{ team: cdc, cost-center: "17" }}
  point_in_time_recovery: true
  deletion_protection: true
  region: eu-west-1
  assume_role_arn: "arn:aws:iam::111122223333:role/a"
  external_id: xa
pipelines:
  p:
    source:
      dynamodb_stream_arn: {ARN}
      start: 2024-11-09T08:12:19.138Z
      sync_interval: 2m
      poll: {{ busy: 200ms, idle: 3s }}
      assume_role_arn: arn:aws:iam::111122223333:role/b
      external_id: xb
    format: diff
    destination:
      group: "/cdc/{{table}}"
      stream: "{{pipeline}}"
      create: true
      retention_days: 30
      kms_key: arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab
      tags: {{ team: cdc }}
      class: infrequent_access
      reconcile: true
      oversize: truncate
      too_old: now
      too_new: now
      look_up: false
      region: eu-central-1
      assume_role_arn: arn:aws:iam::111122223333:role/c
      external_id: xc
    dead_letter: {{ group: /weir/letters, stream: letters, raw: true }}
"#
    );
    let aws = |region: &str, role: &str| AwsSettings {
        region: Some(region.into()),
        assume_role_arn: Some(format!("arn:aws:iam::111122223333:role/{role}")),
        external_id: Some(format!("x{role}")),
    };
    let expected = Config {
        application: "app".into(),
        http_address: "127.0.0.1:9000".parse().unwrap(),
        log_format: LogFormat::Json,
        lease_duration: Duration::from_secs(20),
        lease_keys: LeaseKeys::Kcl,
        checkpoint_interval: Duration::from_secs(5),
        drain_timeout: Duration::from_secs(60),
        foreign_watch: Duration::from_secs(40),
        keep_removed: Duration::from_secs(24 * 3600),
        memory: 64 << 20,
        put_rate: 900,
        state: StateConfig {
            aws: aws("eu-west-1", "a"),
            lease_table: Some("the-leases".into()),
            fleet_table: Some("the-fleet".into()),
            missing: Missing::Create(NewTables {
                kms_key: Some("alias/state".into()),
                tags: [("team", "cdc"), ("cost-center", "17")]
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .into(),
                point_in_time_recovery: true,
                deletion_protection: true,
            }),
        },
        pipelines: vec![PipelineConfig {
            name: "p".into(),
            source: SourceConfig {
                stream: StreamChoice::Arn(StreamArn::new(ARN)),
                start: Start::At(Timestamp::from_millis(1_731_139_939_138)),
                poll_busy: Duration::from_millis(200),
                poll_idle: Duration::from_secs(3),
                sync_interval: Duration::from_secs(120),
                fan_out: None,
                aws: aws("eu-west-1", "b"),
            },
            decode: DecodeSettings::of(Decode::Lambda),
            shape: Shape {
                format: Format::Diff,
                ..Shape::default()
            },
            dead_letter: DeadLetterConfig {
                group: Some("/weir/letters".into()),
                stream: Some("letters".into()),
                raw: true,
            },
            destination: DestinationConfig {
                stream: Template::parse("{pipeline}", TemplateKind::Stream).unwrap(),
                create: true,
                retention_days: Some(30),
                kms_key: Some(
                    "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab".into(),
                ),
                tags: [("team".to_owned(), "cdc".to_owned())].into(),
                class: Some(LogClass::InfrequentAccess),
                reconcile: true,
                oversize: Oversize::Truncate,
                too_old: Untimely::Now,
                too_new: Untimely::Now,
                look_up: false,
                aws: aws("eu-central-1", "c"),
                ..DestinationConfig::of(Template::parse("/cdc/{table}", TemplateKind::Group).unwrap())
            },
        }],
    };
    assert_eq!(load(&text).unwrap(), expected);
}

#[test]
fn every_key_of_a_kinesis_pipeline_is_read_into_its_place() {
    let text = "
pipelines:
  by-name:
    source: { kinesis_stream: rds-audit, start: latest, fan_out: true, consumer: own-1 }
    decode: audit
    gzip: always
    inflate_limit: 8MiB
    unknown_messages: skip
    format: raw
    destination: { group: \"/db/{cluster}/audit\", stream: \"{instance}\", allow_groups: /db/*/audit }
  by-arn:
    source: { kinesis_stream_arn: \"arn:aws:kinesis:eu-west-1:111122223333:stream/rds-audit\", fan_out: false }
    destination: { group: /db/all, stream: \"{stream}/{shard_id}\" }
";
    let config = load(text).unwrap();
    let [by_arn, named] = config.pipelines.as_slice() else {
        panic!("{config:?}");
    };
    let source = SourceConfig {
        start: Start::Latest,
        fan_out: Some(FanOut {
            consumer: Some("own-1".into()),
        }),
        ..SourceConfig::of(StreamChoice::Kinesis("rds-audit".into()))
    };
    assert_eq!(named.source, source);
    let decode = DecodeSettings {
        how: Decode::Audit,
        gzip: Gzip::Always,
        inflate_limit: 8 << 20,
        unknown_messages: UnknownMessages::Skip,
        keep_lines: false,
    };
    assert_eq!(named.decode, decode);
    assert_eq!(named.shape.format, Format::Raw);
    assert!(named.destination.group.uses_envelope() && named.destination.stream.uses_envelope());
    let arn = StreamArn::new("arn:aws:kinesis:eu-west-1:111122223333:stream/rds-audit");
    assert_eq!(by_arn.source, SourceConfig::of(StreamChoice::KinesisArn(arn)));
    assert_eq!(by_arn.source.aws.region.as_deref(), Some("eu-west-1"));
    assert_eq!(by_arn.decode, DecodeSettings::of(Decode::Auto));
}

#[test]
fn the_audit_example_is_the_second_job() {
    let config = load(&example("audit.yaml")).unwrap();
    let pipeline = &config.pipelines[0];
    assert_eq!(pipeline.name, "rds-audit");
    assert_eq!(pipeline.source.stream, StreamChoice::Kinesis("rds-audit".into()));
    assert_eq!(pipeline.source.start, Start::Latest);
    assert_eq!(pipeline.decode, DecodeSettings::of(Decode::Audit));
    assert_eq!(pipeline.destination.group.as_str(), "/db/{cluster}/audit");
    assert_eq!(pipeline.destination.stream.as_str(), "{instance}");
}

/// The one problem of a file whose pipeline `p` reads so and has these keys beside.
fn problem_of_decode(source: &str, keys: &str) -> String {
    let text = format!("pipelines: {{ p: {{ source: {source}, {keys}, destination: {DESTINATION} }} }}");
    let found = problems(&text);
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].to_string()
}

#[test]
fn ways_to_decode_that_do_not_fit_are_refused() {
    const KINESIS: &str = "{ kinesis_stream: s }";
    for (source, keys, says) in [
        (
            KINESIS,
            "decode: audits",
            "pipelines.p.decode: `audits` is no way to decode: did you mean `audit`?",
        ),
        (
            KINESIS,
            "decode: lambda",
            "pipelines.p.decode: `lambda` is how a DynamoDB stream's records are read",
        ),
        (
            SOURCE,
            "decode: change",
            "pipelines.p.decode: `change` is for Kinesis streams",
        ),
        (SOURCE, "gzip: auto", "pipelines.p.gzip: is for Kinesis streams"),
        (
            SOURCE,
            "inflate_limit: 64MiB",
            "pipelines.p.inflate_limit: is for Kinesis streams",
        ),
        (
            SOURCE,
            "unknown_messages: skip",
            "pipelines.p.unknown_messages: is for Kinesis streams",
        ),
        (
            KINESIS,
            "gzip: sometimes",
            "pipelines.p.gzip: `sometimes` is no way to treat gzip: use one of",
        ),
        (
            KINESIS,
            "gzip: false",
            "pipelines.p.gzip: `false` is no way to treat gzip: did you mean `never`?",
        ),
        (
            KINESIS,
            "inflate_limit: 512KiB",
            "inflate_limit: `512KiB` is too little: use 1MiB to 256MiB",
        ),
        (KINESIS, "inflate_limit: 1GiB", "is too much: use 1MiB to 256MiB"),
        (
            KINESIS,
            "gzip: never, inflate_limit: 2MiB",
            "pipelines.p.inflate_limit: limits what gzip opens to, and `gzip` is never",
        ),
        (
            KINESIS,
            "decode: text, unknown_messages: skip",
            "pipelines.p.unknown_messages: is about subscription envelopes, and `decode: text` opens none",
        ),
        (KINESIS, "decoded: text", "did you mean `decode`?"),
    ] {
        let problem = problem_of_decode(source, keys);
        assert!(problem.contains(says), "{problem}");
    }
    let same =
        format!("pipelines: {{ p: {{ source: {SOURCE}, decode: lambda, destination: {DESTINATION} }} }}");
    assert_eq!(
        load(&same).unwrap().pipelines[0].decode,
        DecodeSettings::of(Decode::Lambda)
    );
    // With a source that is wrong, nothing is said of what would fit it.
    assert!(
        problem_of_decode("{ start: latest }", "decode: change, gzip: never").contains("names no stream")
    );
}

/// What is read of a pipeline `p` with this source, these keys beside it, and variables.
fn filter_of(source: &str, keys: &str) -> Result<Option<Filter>, ConfigError> {
    let vars = |name: &str| match name {
        "OPERATION" => Some("READ\"".to_owned()),
        "PATTERN" => Some(r#"{"eventName":["REMOVE"]}"#.to_owned()),
        _ => None,
    };
    let text = format!("pipelines: {{ p: {{ source: {source}, {keys}, destination: {DESTINATION} }} }}");
    let mut config = read(&text, &vars, Overrides::default())?;
    Ok(config.pipelines.remove(0).shape.filter)
}

#[test]
fn a_filter_is_one_pattern_or_a_list_of_them_with_variables() {
    const KINESIS: &str = "{ kinesis_stream: s }";
    let remove = serde_json::json!({ "eventName": ["REMOVE"] });
    let read = serde_json::json!({ "operation": [{ "anything-but": ["READ\""] }, null, 1.5] });
    let data = serde_json::json!({ "data": { "n": [18446744073709551615u64, "a"] } });
    for (source, keys, patterns) in [
        (SOURCE, "filter: { eventName: [REMOVE] }", vec![remove.clone()]),
        (SOURCE, "filter: [{ eventName: [REMOVE] }]", vec![remove.clone()]),
        (
            SOURCE,
            r#"filter: '{"eventName": ["REMOVE"]}'"#,
            vec![remove.clone()],
        ),
        (SOURCE, "filter: \"${PATTERN}\"", vec![remove.clone()]),
        (
            SOURCE,
            "filter: [\"${PATTERN}\", { eventName: [\"${UNSET:-REMOVE}\"] }]",
            vec![remove.clone(), remove],
        ),
        (
            KINESIS,
            "decode: audit, filter: [{ operation: [{ anything-but: [\"${OPERATION}\"] }, null, 1.5] }]",
            vec![read],
        ),
        (
            KINESIS,
            "filter: { data: { n: [18446744073709551615, a] } }",
            vec![data],
        ),
    ] {
        let expected = Filter::parse(&patterns).unwrap();
        assert_eq!(filter_of(source, keys).unwrap(), Some(expected), "{keys}");
    }
    assert_eq!(filter_of(SOURCE, "decode: lambda").unwrap(), None);
}

#[test]
fn filters_that_are_wrong_or_keep_nothing_are_refused() {
    const KINESIS: &str = "{ kinesis_stream: s }";
    for (source, keys, says) in [
        (
            SOURCE,
            "filter: { eventName: INSERT }",
            r#"pipelines.p.filter: pattern 1: `eventName` is a text: put it in a list, as in ["INSERT"]"#,
        ),
        (
            SOURCE,
            "filter: [{ eventName: [INSERT] }, { eventNames: [INSERT] }]",
            "pipelines.p.filter: pattern 2: `eventNames` is no field of a change: did you mean `eventName`?",
        ),
        (
            KINESIS,
            "filter: [{ operation: [READ] }]",
            "pipelines.p.filter: pattern 1: `operation` is no field of this pipeline's events: use one of data, \
             partitionKey, sequenceNumber, approximateArrivalTimestamp, logGroup, logStream, owner (what a message \
             holds is below `data`, as in {\"data\": {\"operation\": ...}})",
        ),
        (
            KINESIS,
            "decode: audit, filter: [{ operations: [READ] }]",
            "`operations` is no field of an audit line: did you mean `operation`?",
        ),
        (
            SOURCE,
            "filter: []",
            "pipelines.p.filter: holds no pattern, and would keep nothing",
        ),
        (SOURCE, "filter: {}", "pipelines.p.filter: pattern 1 is empty"),
        (
            SOURCE,
            "filter: ",
            "pipelines.p.filter: has no value: give one, or remove the key",
        ),
        (
            SOURCE,
            "filter: INSERT",
            "pipelines.p.filter: pattern 1 is not JSON",
        ),
        (
            SOURCE,
            "filter: [[{ eventName: [INSERT] }]]",
            "pattern 1 is a list: write an object",
        ),
        (
            SOURCE,
            "filter: [{ eventName: [\"${UNSET}\"] }]",
            "pipelines.p.filter: the environment variable `UNSET` is not set",
        ),
        (
            SOURCE,
            "filter: '{\"eventName\": [\"${OPERATION}\"]}'",
            "pattern 1 is not JSON",
        ),
        (
            KINESIS,
            "filter: { data: { n: [12345678901234567890123] } }",
            "`data.n` holds the number 1.2345678901234568e+22, which has more digits than YAML keeps",
        ),
        (
            SOURCE,
            "filter: [{ eventName: [a] }, { eventName: [b] }, { eventName: [c] }, { eventName: [d] }, \
             { eventName: [e] }, { eventName: [f] }]",
            "holds 6 patterns where 5 are the most",
        ),
        (
            SOURCE,
            "filters: { eventName: [INSERT] }",
            "did you mean `filter`?",
        ),
    ] {
        let error = filter_of(source, keys).unwrap_err().to_string();
        assert!(error.contains(says) && !error.contains('\n'), "{error}");
    }
    // Of records that are read in no known way, nothing is said of what fits them.
    let error = filter_of(KINESIS, "decode: xml, filter: { a: [1] }")
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("pipelines.p.decode") && !error.contains("filter"),
        "{error}"
    );
}

#[test]
fn what_is_hidden_is_read_into_its_place() {
    let pipeline = |source: &str, keys: &str| {
        let text = format!("pipelines: {{ p: {{ source: {source}, {keys}, destination: {DESTINATION} }} }}");
        load(&text).unwrap().pipelines.remove(0)
    };
    let rule = |path: &str, with| Rule {
        path: Path::parse(path).unwrap(),
        with,
    };
    let hash = With::Hash(Key::new(REDACT_KEY).unwrap());
    let keys = r#"redact: [ NewImage.card, "${NO:-Keys}.a\\.b", { path: "*.c" }, { path: OldImage.d, with: hash },
            { path: OldImage.0, with: remove } ], redact_key: "${WEIR_REDACT_KEY}", redact_sql: false"#;
    let expected = vec![
        rule("NewImage.card", With::Mask),
        rule(r"Keys.a\.b", With::Mask),
        rule("*.c", With::Mask),
        rule("OldImage.d", hash),
        rule("OldImage.0", With::Remove),
    ];
    assert_eq!(
        pipeline(SOURCE, keys).shape.redact,
        Redaction::new(expected, false)
    );
    let audit = |keys: &str| pipeline("{ kinesis_stream: s }", &format!("decode: audit, {keys}"));
    assert_eq!(
        audit("redact_sql: true").shape.redact,
        Redaction::new(Vec::new(), true)
    );
    assert_eq!(audit("redact_sql: false").shape.redact, None);
    let host = vec![rule("host", With::Mask)];
    assert_eq!(
        audit("redact: [ host ]").shape.redact,
        Redaction::new(host, false)
    );
    let any = vec![rule("whatever.it.is", With::Mask)];
    assert_eq!(
        pipeline("{ kinesis_stream: s }", "redact: [ whatever.it.is ]")
            .shape
            .redact,
        Redaction::new(any, false)
    );
}

#[test]
fn what_can_not_be_hidden_so_is_told_with_the_way_out() {
    const KINESIS: &str = "{ kinesis_stream: s }";
    for (source, keys, says) in [
        (SOURCE, "redact: NewImage.a", "pipelines.p.redact: must be a list"),
        (
            SOURCE,
            "redact: []",
            "pipelines.p.redact: is an empty list: add an item, or remove the key",
        ),
        (
            SOURCE,
            "redact: [ 1 ]",
            "pipelines.p.redact[0]: `1` is not a text to YAML: put it in quotes",
        ),
        (
            SOURCE,
            "redact: [ Keys.a, Keys..b ]",
            "pipelines.p.redact[1]: `Keys..b` has an empty name between dots",
        ),
        (
            SOURCE,
            "redact: [ { path: '' } ]",
            "pipelines.p.redact[0].path: `` is empty: write a path like",
        ),
        (
            SOURCE,
            "redact: [ { with: mask } ]",
            "pipelines.p.redact[0].path: is missing: name the values",
        ),
        (
            SOURCE,
            "redact: [ Keys.a, { path: Keys.b, with: hide } ]",
            "pipelines.p.redact[1].with: `hide` is no way to hide a value: use one of mask, remove, hash",
        ),
        (
            SOURCE,
            "redact: [ { path: Keys.b, with: masked } ]",
            "pipelines.p.redact[0].with: `masked` is no way to hide a value: did you mean `mask`?",
        ),
        (
            SOURCE,
            "redact: [ { path: Keys.b, how: mask } ]",
            "pipelines.p.redact[0].how: is not a known key: use one of path, with",
        ),
        (
            SOURCE,
            "redact: [ { path: Keys.b, with: hash } ]",
            "pipelines.p.redact[0].with: `hash` needs a key: set `redact_key` beside `redact`",
        ),
        (
            SOURCE,
            "redact: [ Keys.b, { path: Keys.b, with: remove } ]",
            "pipelines.p.redact[1]: `Keys.b` is the path of redact[0] too: remove one of the two",
        ),
        (
            SOURCE,
            "redact: [ dynamodb.NewImage.a ]",
            "pipelines.p.redact[0]: `dynamodb.NewImage.a` begins at `dynamodb`, and paths begin below it: remove",
        ),
        (
            SOURCE,
            "redact: [ card_number ]",
            "pipelines.p.redact[0]: `card_number` begins with `card_number`, and a change has nothing to hide there: \
             begin with NewImage, OldImage, Keys",
        ),
        (
            KINESIS,
            "decode: change, redact: [ eventID ]",
            "begin with NewImage, OldImage, Keys",
        ),
        (
            KINESIS,
            "decode: audit, redact: [ user ]",
            "begins with `user`, which is no field of an audit line: did you mean `username`?",
        ),
        (
            KINESIS,
            "decode: text, redact: [ a ]",
            "pipelines.p.redact: hides fields, and what is read with `decode: text` has none",
        ),
        (
            KINESIS,
            "decode: base64, redact: [ a ]",
            "read with `decode: base64` has none",
        ),
        (
            KINESIS,
            "decode: subscription, redact_sql: true",
            "pipelines.p.redact_sql: `true` is for the statements of audit lines: add `decode: audit`",
        ),
        (
            SOURCE,
            "redact_sql: 1",
            "pipelines.p.redact_sql: `1` is neither `true` nor `false`",
        ),
        (
            SOURCE,
            "redact: [ Keys.a ], redact_key: at-least-sixteen",
            "pipelines.p.redact_key: is for `with: hash`, and no path of `redact` is hashed",
        ),
        (
            KINESIS,
            "redact_key: at-least-sixteen",
            "redact_key: is for `with: hash`",
        ),
        (SOURCE, "redacts: [ a ]", "did you mean `redact`?"),
    ] {
        let problem = problem_of_decode(source, keys);
        assert!(problem.contains(says), "{keys}: {problem}");
    }
}

#[test]
fn the_key_of_the_hashes_is_never_shown() {
    for (key, says) in [
        (
            "\"\"",
            "redact_key: has 0 bytes, and needs 16 at least: let it be random",
        ),
        ("S3CRETS3CRET", "redact_key: has 12 bytes, and needs 16 at least"),
        (
            "5353535353535353",
            "redact_key: is not a text to YAML: put it in quotes",
        ),
        ("[ S3CRETS3CRETS3CRET ]", "redact_key: is not a text to YAML"),
        (
            "\"${S3_NOT_SET}\"",
            "the environment variable `S3_NOT_SET` is not set",
        ),
        (
            "\"S3CRET${S3CRET\"",
            "redact_key: holds a `${` that is no variable",
        ),
        (
            "\"S3CRET${S3CRET}\"",
            "redact_key: holds a `${` that is no variable",
        ),
        (
            "\"${S3CRET-S3CRET}\"",
            "redact_key: holds a `${` that is no variable",
        ),
    ] {
        let keys = format!("redact: [ {{ path: Keys.a, with: hash }} ], redact_key: {key}");
        let problem = problem_of_decode(SOURCE, &keys);
        assert!(problem.contains(says), "{key}: {problem}");
        assert!(
            !problem.contains("S3CRET") && !problem.contains("5353"),
            "{problem}"
        );
    }
    let keys = "redact: [ { path: Keys.a, with: hash } ], redact_key: S3CRETS3CRETS3CRET";
    let text = format!("pipelines: {{ p: {{ source: {SOURCE}, {keys}, destination: {DESTINATION} }} }}");
    let config = format!("{:?}", load(&text).unwrap());
    assert!(
        config.contains("Hash(Key(hidden))") && !config.contains("S3CRET"),
        "{config}"
    );
    let bytes = format!("{:?}", "S3CRET".as_bytes());
    assert!(!config.contains(bytes.trim_matches(['[', ']'])), "{config}");
}

#[test]
fn names_from_an_envelope_need_one() {
    for (source, destination, says) in [
        (
            SOURCE,
            "{ group: \"/db/{cluster}\" }",
            "p.destination.group: `/db/{cluster}` uses `{cluster}`, which comes from a subscription envelope, and a DynamoDB stream holds none",
        ),
        (
            "{ kinesis_stream: s }",
            "{ group: g, stream: \"{table}\" }",
            "p.destination.stream: `{table}` uses `{table}`, which is a DynamoDB table, and a Kinesis stream has none: use `{stream}`",
        ),
        (
            SOURCE,
            "{ group: g, stream: \"{stream}\" }",
            "and the source is a table: use `{table}`",
        ),
    ] {
        let problem = problem_of(source, destination);
        assert!(problem.contains(says), "{problem}");
    }
    let text = "pipelines: { p: { source: { kinesis_stream: s }, decode: change, destination: { group: \"{owner}\" } } }";
    assert!(
        problems(text)[0]
            .to_string()
            .contains("`decode: change` opens none")
    );
}

#[test]
fn a_group_that_records_choose_must_be_an_allowed_one() {
    let file = |destination: &str| {
        format!(
            "pipelines: {{ p: {{ source: {{ kinesis_stream: s }}, decode: audit, destination: {{ {destination} }} }} }}"
        )
    };
    let config = load(&file(
        "group: \"/db/{cluster}\", allow_groups: [ /db/shop, /db/test-* ]",
    ));
    let allowed = &config.unwrap().pipelines[0].destination.allow_groups;
    assert_eq!(
        allowed.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["/db/shop", "/db/test-*"]
    );
    for (destination, says) in [
        (
            "group: \"/db/{cluster}/x-{owner}\"",
            "pipelines.p.destination.allow_groups: is missing: `{cluster}` in the group's name is drawn from the records, \
             and whoever writes those must not choose a foreign group. List the groups that are meant, as in `/db/*/x-*`",
        ),
        ("group: \"/db/{cluster}\", allow_groups: []", "is missing"),
        (
            "group: g, allow_groups: [ g ]",
            "pipelines.p.destination.allow_groups: is for groups whose names are drawn from records",
        ),
        (
            "group: \"/db/{cluster}\", allow_groups: [ /db/*, \"/db/{cluster}\" ]",
            "pipelines.p.destination.allow_groups[1]: `/db/{cluster}` is no pattern of log groups: '{' can't be in",
        ),
    ] {
        let problems = problems(&file(destination));
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].to_string().contains(says), "{}", problems[0]);
    }
}

#[test]
fn a_consumer_of_fan_out_is_of_one_pipeline() {
    let file = |rest: &str, consumer: &str| {
        format!(
            "pipelines:\n  a: {{ source: {{ kinesis_stream: s, fan_out: true, consumer: one{rest} }}, destination: {{ group: g }} }}\n  \
             b: {{ source: {{ kinesis_stream: s, fan_out: true{consumer} }}, destination: {{ group: h }} }}"
        )
    };
    assert!(load(&file("", "")).is_ok());
    assert!(
        load(&file(", region: eu-west-1", ", consumer: one")).is_ok(),
        "another region's"
    );
    let found = problems(&file("", ", consumer: one"));
    assert_eq!(found.len(), 1, "{found:?}");
    let problem = found[0].to_string();
    assert!(
        problem.starts_with("pipelines.b.source.consumer: `one` is the consumer of `pipelines.a` too"),
        "{problem}"
    );
}

#[test]
fn a_consumer_without_a_name_fits_what_kinesis_takes() {
    let (application, pipeline) = ("a".repeat(80), "p".repeat(48));
    let text = format!(
        "application: {application}\npipelines: {{ {pipeline}: {{ source: {{ kinesis_stream: s, fan_out: true }}, \
         destination: {DESTINATION} }} }}"
    );
    let found = problems(&text);
    assert_eq!(found.len(), 1, "{found:?}");
    let problem = found[0].to_string();
    assert!(
        problem.contains(
            "source.consumer: is missing: the consumer would be named after application and pipeline"
        ) && problem.ends_with("has 129 characters where Kinesis takes 128: name the consumer here"),
        "{problem}"
    );
}

#[test]
fn every_problem_is_listed_at_once_with_its_key_and_value() {
    let found = problems(
        r#"
application: a
memory: 256
leases: { duration: 1s, foreign_wach: 20s }
colour: red
pipelines:
  "bad/name":
    source: { dynamodb_table: orders }
    destination: { group: /cdc/orders }
  one:
    source: { dynamodb_table: orders, dynamodb_stream_arn: nonsense, start: erliest }
    destination: { group: "/cdc/my orders", retention_days: 360, create: maybe }
  two:
    destination: {}
"#,
    );
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    let expected = [
        "application: `a` must be 3 to 249",
        "memory: `256` has no unit: add one, as in `256MiB`",
        "leases.duration: `1s` is too little: use 3s to 5m",
        "leases.foreign_wach: is not a known key: did you mean `foreign_watch`?",
        "pipelines.bad/name: a pipeline's name must be",
        "pipelines.one.source: names more than one stream: keep one of `dynamodb_table` (a table's",
        "pipelines.one.source.dynamodb_stream_arn: `nonsense` is not an ARN",
        "pipelines.one.source.start: `erliest` is not a starting position",
        "pipelines.one.destination.group: `/cdc/my orders` holds ' ', which a log group can't",
        "pipelines.one.destination.create: `maybe` is neither `true` nor `false`",
        "pipelines.one.destination.retention_days: `360` is not a retention that CloudWatch Logs takes: the nearest is 365",
        "pipelines.two.source: names no stream: add one of `dynamodb_table` (a table's",
        "pipelines.two.destination.group: is missing",
        "colour: is not a known key: use one of application, http, log, memory, put_rate, leases, checkpoint, drain, state, pipelines",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            found.starts_with(expected),
            "{found}\nshould begin with\n{expected}"
        );
    }
}

#[test]
fn an_unknown_key_names_the_nearest_known_one() {
    for (source, destination, says) in [
        (
            "{ table: orders, dynamodb_table: orders }",
            DESTINATION,
            "p.source.table: is not a known key: did you mean `dynamodb_table`?",
        ),
        (
            SOURCE,
            "{ group: g, retention: 30 }",
            "p.destination.retention: is not a known key: did you mean `retention_days`?",
        ),
        (SOURCE, "{ group: g, log_stream: x }", "did you mean `stream`?"),
        (
            "{ dynamodb_table: orders, polls: {} }",
            DESTINATION,
            "did you mean `poll`?",
        ),
    ] {
        let problem = problem_of(source, destination);
        assert!(problem.contains(says), "{problem}");
    }
    assert!(problem_beside("pipeline: {}").contains("did you mean `pipelines`?"));
}

#[test]
fn an_unknown_key_far_from_all_lists_the_known_ones() {
    let problem = problem_of(SOURCE, "{ group: g, zzz: 1 }");
    assert!(
        problem.contains("use one of group, stream, create, ")
            && problem.ends_with(", assume_role_arn, external_id"),
        "{problem}"
    );
}

#[test]
fn syntax_errors_and_duplicate_keys_have_a_line_and_a_column() {
    for (text, at) in [
        ("pipelines:\n  a: {\n", None),
        ("application: one\nhttp: {}\napplication: two\n", Some((3, 1))),
        ("pipelines:\n  p: {}\n  q: {}\n  p: {}\n", Some((4, 3))),
        ("a: b: c\n", Some((1, 5))),
    ] {
        match load(text).unwrap_err() {
            ConfigError::Syntax {
                line,
                column,
                message,
            } => {
                assert!(line > 0 && column > 0 && !message.is_empty(), "{text}");
                if let Some(at) = at {
                    assert_eq!((line, column), at, "{text}: {message}");
                }
            }
            other => panic!("{text}: {other}"),
        }
    }
}

#[test]
fn a_file_without_a_pipeline_is_refused() {
    for text in [
        "",
        "# nothing\n",
        "pipelines: {}",
        "pipelines:\n",
        "application: weir\n",
    ] {
        let found = problems(text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert_eq!(found[0].key, "pipelines");
        assert!(found[0].what.contains("add"), "{found:?}");
    }
    assert!(
        problems("[]")
            .iter()
            .any(|p| p.to_string().contains("the file: must hold keys"))
    );
}

#[test]
fn a_section_of_the_wrong_kind_is_one_problem() {
    for (source, says) in [
        ("orders", "pipelines.p.source: must hold keys of its own"),
        ("[a]", "pipelines.p.source: must hold keys of its own"),
        ("", "pipelines.p.source: has nothing below it"),
        (
            "{ dynamodb_table: [a] }",
            "dynamodb_table: must be a single value",
        ),
        ("{ dynamodb_table: }", "dynamodb_table: has no value"),
    ] {
        let problem = problem_of(source, DESTINATION);
        assert!(problem.contains(says), "{problem}");
    }
}

#[test]
fn a_text_that_yaml_takes_for_something_else_wants_quotes() {
    for (given, shown) in [("1.10", "1.1"), ("20240101", "20240101"), ("true", "true")] {
        let problem = problem_of(&format!("{{ dynamodb_table: {given} }}"), DESTINATION);
        assert!(
            problem.contains(&format!("`{shown}` is not a text to YAML: put it in quotes")),
            "{problem}"
        );
    }
    let quoted = "pipelines: { 2024: { source: { dynamodb_table: \"1.10\" }, destination: { group: g, \
                  retention_days: \"30\" } } }";
    let read = load(quoted).unwrap();
    assert_eq!(
        read.pipelines[0].source.stream,
        StreamChoice::Table("1.10".into())
    );
    assert_eq!(read.pipelines[0].name, "2024");
    assert_eq!(read.pipelines[0].destination.retention_days, Some(30));
    for spelling in ["007", "1_000", "yes"] {
        let text = format!(
            "pipelines: {{ p: {{ source: {{ dynamodb_table: {spelling} }}, destination: {DESTINATION} }} }}"
        );
        assert_eq!(
            load(&text).unwrap().pipelines[0].source.stream,
            StreamChoice::Table(spelling.into())
        );
    }
}

#[test]
fn kcls_lease_keys_have_room_for_one_pipeline() {
    let problem = problem_beside("leases: { keys: kcl2 }");
    assert!(problem.contains("did you mean `kcl`?"), "{problem}");
    let one = format!("{{ source: {SOURCE}, destination: {DESTINATION} }}");
    let of = |pipelines: &str| format!("leases: {{ keys: kcl }}\npipelines: {pipelines}");
    assert_eq!(
        load(&of(&format!("{{ p: {one} }}"))).unwrap().lease_keys,
        LeaseKeys::Kcl
    );
    let found = problems(&of(&format!("{{ p: {one}, q: {one} }}")));
    assert_eq!(found.len(), 1, "{found:?}");
    let problem = found[0].to_string();
    assert!(
        problem.contains("leases.keys: `kcl`") && problem.contains("`application` of its own"),
        "{problem}"
    );
}

#[test]
fn bounds_are_stated_where_they_are_passed() {
    for (top, says) in [
        (
            "leases: { duration: 10m }",
            "leases.duration: `10m` is too much: use 3s to 5m",
        ),
        (
            "leases: { foreign_watch: 1s }",
            "leases.foreign_watch: `1s` is too little: use 5s to 1h",
        ),
        (
            "checkpoint: { interval: 500ms }",
            "checkpoint.interval: `500ms` is too little: use 1s to 10m",
        ),
        (
            "drain: { timeout: 0s }",
            "drain.timeout: `0s` is too little: use 1s to 1h",
        ),
        (
            "drain: { timeout: 25 }",
            "drain.timeout: `25` has no unit: add one, as in `25s`",
        ),
        ("memory: 1MiB", "memory: `1MiB` is too little: use 16MiB to 64GiB"),
    ] {
        let problem = problem_beside(top);
        assert!(problem.contains(says), "{problem}");
    }
    for (source, says) in [
        ("{ dynamodb_table: orders, sync_interval: 2h }", "use 1s to 1h"),
        (
            "{ dynamodb_table: orders, poll: { busy: 2m, idle: 1m } }",
            "use 0s to 1m",
        ),
        (
            "{ dynamodb_table: orders, poll: { idle: 1ms } }",
            "use 100ms to 1m",
        ),
    ] {
        let problem = problem_of(source, DESTINATION);
        assert!(problem.contains(says), "{problem}");
    }
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let arn = |rest: &str| format!("{{ dynamodb_stream_arn: \"{ARN}\"{rest} }}");
    for (source, destination, says) in [
        ("{ start: latest }", DESTINATION, "p.source: names no stream"),
        (
            "{ dynamodb_table: weir }",
            DESTINATION,
            "p.source.dynamodb_table: `weir` reads the lease table of the application `weir`, which is named after it: choose another application",
        ),
        (
            "{ dynamodb_table: weir-fleet }",
            DESTINATION,
            "reads the fleet's table of the application `weir`",
        ),
        (
            "{ dynamodb_table: orders, poll: { busy: 5s } }",
            DESTINATION,
            "p.source.poll: a shard without records would be read more often (`idle`, 1s) than one with (`busy`, 5s)",
        ),
        (
            "{ kinesis_stream: s, dynamodb_table: orders }",
            DESTINATION,
            "p.source: names more than one stream: keep one of `dynamodb_table` (a table's current stream, also when \
             it is enabled anew), or `kinesis_stream` (the Kinesis stream of this name)",
        ),
        (
            "{ kinesis_stream: a/b }",
            DESTINATION,
            "p.source.kinesis_stream: `a/b` must be 1 to 128",
        ),
        (
            "{ kinesis_stream_arn: s }",
            DESTINATION,
            "p.source.kinesis_stream_arn: `s` is not an ARN",
        ),
        (
            "{ kinesis_stream_arn: \"arn:aws:kinesis:eu-west-1:111122223333:stream/s\", region: us-east-1 }",
            DESTINATION,
            "p.source.region: `us-east-1` is not the region of the stream's ARN",
        ),
        (
            "{ dynamodb_table: orders, fan_out: true }",
            DESTINATION,
            "p.source.fan_out: `true` is for Kinesis streams",
        ),
        (
            SOURCE,
            "{ group: g, stream: s, create: false, class: standard }",
            "p.destination.class: is set on groups that Weir creates, and `create` is false",
        ),
        (
            SOURCE,
            "{ group: g, stream: s, create: false, reconcile: false, tags: { a: b } }",
            "p.destination.tags: is set on groups that Weir creates, and `create` is false",
        ),
        (
            SOURCE,
            "{ group: g, reconcile: true }",
            "p.destination.reconcile: `true` sets what a log group is to be like, and nothing is said of that: add \
             one of retention_days, kms_key, tags, class",
        ),
        (
            SOURCE,
            "{ group: g, kms_key: alias/logs }",
            "p.destination.kms_key: `alias/logs` is no ARN of a key",
        ),
        (
            SOURCE,
            "{ group: g, tags: { \"aws:a\": b } }",
            "p.destination.tags.aws:a: a tag's key can't begin with `aws:`",
        ),
        (
            SOURCE,
            "{ group: g, class: infrequent }",
            "p.destination.class: `infrequent` is not a class of log groups",
        ),
        (
            SOURCE,
            "{ group: g, oversize: cut }",
            "p.destination.oversize: `cut` is nothing to do with a message that is too large",
        ),
        (
            SOURCE,
            "{ group: g, too_old: drop }",
            "p.destination.too_old: `drop` is nothing to do with an event that is refused for its time",
        ),
        (
            SOURCE,
            "{ group: g, too_new: Now }",
            "p.destination.too_new: `Now` is nothing to do",
        ),
        (
            "{ kinesis_stream: s, consumer: x }",
            DESTINATION,
            "p.source.consumer: `x` is who reads by enhanced fan-out: add `fan_out: true`",
        ),
        (
            "{ kinesis_stream: s, fan_out: false, consumer: x }",
            DESTINATION,
            "p.source.consumer: `x` is who reads by enhanced fan-out",
        ),
        (
            "{ kinesis_stream: s, fan_out: true, consumer: a b }",
            DESTINATION,
            "p.source.consumer: `a b` must be 1 to 128",
        ),
        (
            "{ kinesis_stream: s, fan_out: yes }",
            DESTINATION,
            "p.source.fan_out: `yes` is neither `true` nor `false`",
        ),
        (
            "{ dynamodb_table: orders, external_id: xy }",
            DESTINATION,
            "p.source.external_id: `xy` is sent when a role is assumed",
        ),
        (
            &arn(", region: us-east-1"),
            DESTINATION,
            "p.source.region: `us-east-1` is not the region of the stream's ARN",
        ),
        (
            SOURCE,
            "{ group: g, stream: s, create: false, retention_days: 7 }",
            "p.destination.retention_days: is set on groups that Weir creates, and `create` is false: set `reconcile` to true",
        ),
        (
            SOURCE,
            "{ group: g, create: false }",
            "p.destination.create: `false` needs a log stream that exists",
        ),
        (
            SOURCE,
            "{ group: g, stream: dead-letter }",
            "p.destination.stream: `dead-letter` is the stream of the dead letters",
        ),
        (
            SOURCE,
            "{ group: \"{table:-x}/x\", stream: \"{shard}\" }",
            "did you mean `shard_id`?",
        ),
    ] {
        let problem = problem_of(source, destination);
        assert!(problem.contains(says), "{problem}");
    }
    let problem = problem_beside("application: orders");
    assert!(
        problem.contains("dynamodb_table: `orders` reads the lease table"),
        "{problem}"
    );
}

/// The problems of a pipeline of this stream with these keys.
fn problems_of_pipeline(stream: &str, keys: &str) -> Vec<String> {
    let text =
        format!("pipelines: {{ p: {{ source: {{ {stream} }}, destination: {DESTINATION}, {keys} }} }}");
    match load(&text) {
        Ok(_) => Vec::new(),
        Err(_) => problems(&text).iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn a_format_fits_what_the_records_are() {
    let (table, kinesis) = ("dynamodb_table: orders", "kinesis_stream: s");
    for (stream, keys, format) in [
        (table, "format: lambda", Format::Decoded),
        (table, "format: plain", Format::Plain),
        (table, "format: diff", Format::Diff),
        (kinesis, "decode: change, format: lambda", Format::Decoded),
        (kinesis, "decode: change, format: plain", Format::Plain),
        (kinesis, "decode: change, format: diff", Format::Diff),
        (kinesis, "decode: audit, format: json", Format::Decoded),
        (kinesis, "decode: audit, format: raw", Format::Raw),
        (kinesis, "decode: audit", Format::Decoded),
    ] {
        let text =
            format!("pipelines: {{ p: {{ source: {{ {stream} }}, destination: {DESTINATION}, {keys} }} }}");
        assert_eq!(load(&text).unwrap().pipelines[0].shape.format, format, "{keys}");
    }
    for (stream, keys, says) in [
        (
            table,
            "format: plian",
            "pipelines.p.format: `plian` is not a format: did you mean `plain`?",
        ),
        (
            table,
            "format: raw",
            "pipelines.p.format: `raw` is not how changes of a DynamoDB table are told: use one of lambda, plain, diff",
        ),
        (
            kinesis,
            "decode: audit, format: diff",
            "pipelines.p.format: `diff` is not how audit lines are told: use one of json, raw",
        ),
        (
            kinesis,
            "format: plain",
            "pipelines.p.format: `plain` can't be had of records that are read by their looks, which may be anything: \
             say what they are, as in `decode: change` or `decode: audit`, or leave it out",
        ),
        (
            kinesis,
            "decode: subscription, format: json",
            "pipelines.p.format: `json` is for changes of a DynamoDB table and for audit lines, and `decode: \
             subscription` gives neither: leave it out",
        ),
        (
            table,
            "format: 7",
            "pipelines.p.format: `7` is not a text to YAML",
        ),
    ] {
        let found = problems_of_pipeline(stream, keys);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(says), "{found:?}");
    }
    // Of a wrong way to decode nothing more is said.
    let found = problems_of_pipeline(kinesis, "decode: adit, format: raw");
    assert_eq!(found.len(), 1, "{found:?}");
    let found = problems_of_pipeline(kinesis, "decode: audit, format: raw, redact: [host]");
    let says = "pipelines.p.format: `raw` is the line as it was written, in which nothing can be hidden, and `redact` \
                or `redact_sql` is set: use json, or remove the other";
    assert!(found.iter().any(|problem| problem == says), "{found:?}");
}

#[test]
fn a_take_over_looks_up_only_events_that_name_themselves() {
    for (stream, keys, expected) in [
        ("dynamodb_table: orders", "", true),
        ("dynamodb_table: orders", "format: plain", true),
        ("dynamodb_table: orders", "format: diff", true),
        ("kinesis_stream: s", "decode: audit", true),
        ("kinesis_stream: s", "decode: audit, format: raw", false),
        ("kinesis_stream: s", "decode: change, format: plain", false),
        ("kinesis_stream: s", "decode: base64", true),
        ("kinesis_stream: s", "", false),
    ] {
        let text =
            format!("pipelines: {{ p: {{ source: {{ {stream} }}, destination: {DESTINATION}, {keys} }} }}");
        assert_eq!(
            load(&text).unwrap().pipelines[0].looks_up(),
            expected,
            "{stream} {keys}"
        );
    }
}

#[test]
fn groups_that_exist_can_be_set_without_creating_any() {
    let text = "pipelines: { p: { source: { dynamodb_table: orders }, destination: { group: g, stream: s, create: false, \
                reconcile: true, retention_days: 7 } } }";
    let destination = &load(text).unwrap().pipelines[0].destination;
    assert!(destination.reconcile && !destination.create);
    assert_eq!(destination.retention_days, Some(7));
    let problem = problem_beside("put_rate: 0");
    assert!(
        problem.starts_with("put_rate: `0` lets nothing through"),
        "{problem}"
    );
}

#[test]
fn state_tables_have_names_of_their_own_where_they_are_set() {
    let with = |state: &str| {
        let text = format!(
            "application: app\npipelines: {{ p: {{ source: {SOURCE}, destination: {DESTINATION} }} }}\nstate: {state}"
        );
        let tables = load(&text).unwrap().state_tables();
        (tables.leases, tables.fleet, tables.missing)
    };
    let (leases, fleet, missing) = with("{ region: eu-west-1 }");
    assert_eq!((leases.as_str(), fleet.as_str()), ("app", "app-fleet"));
    assert_eq!(missing, Missing::default());
    let (leases, fleet, _) = with("{ lease_table: one }");
    assert_eq!((leases.as_str(), fleet.as_str()), ("one", "app-fleet"));
    let (leases, fleet, missing) = with("{ fleet_table: two, create: false }");
    assert_eq!((leases.as_str(), fleet.as_str()), ("app", "two"));
    assert_eq!(missing, Missing::Refuse);
    // The application's name may be a source then.
    let text = format!(
        "application: orders\nstate: {{ lease_table: a-1, fleet_table: b-1 }}\n\
         pipelines: {{ p: {{ source: {SOURCE}, destination: {DESTINATION} }} }}"
    );
    assert!(load(&text).is_ok());
}

#[test]
fn wrong_state_tables_are_refused() {
    for (state, says) in [
        (
            "{ lease_table: a/b }",
            "state.lease_table: `a/b` must be 3 to 255",
        ),
        (
            "{ lease_table: orders }",
            "pipelines.p.source.dynamodb_table: `orders` reads the lease table, `state.lease_table`: choose",
        ),
        (
            "{ fleet_table: orders }",
            "pipelines.p.source.dynamodb_table: `orders` reads the fleet's table, `state.fleet_table`: choose",
        ),
        (
            "{ lease_table: one, fleet_table: one }",
            "state.fleet_table: `one` is the name of both state tables",
        ),
        (
            "{ lease_table: weir-fleet }",
            "state.lease_table: `weir-fleet` is the name of both state tables",
        ),
        (
            "{ fleet_table: weir }",
            "state.fleet_table: `weir` is the name of both state tables",
        ),
        ("{ kms_key: cdc }", "state.kms_key: `cdc` is not a KMS key"),
        (
            "{ create: no }",
            "state.create: `no` is neither `true` nor `false`",
        ),
        (
            "{ create: false, kms_key: alias/cdc }",
            "state.kms_key: is set on tables that Weir creates, and `create` is false",
        ),
        (
            "{ create: false, tags: { a: b } }",
            "state.tags: is set on tables that Weir creates",
        ),
        (
            "{ tags: { cost-center: 17 } }",
            "state.tags.cost-center: `17` is not a text to YAML: put it in quotes",
        ),
        (
            "{ tags: { \"aws:x\": y } }",
            "state.tags.aws:x: a tag's key can't begin with `aws:`",
        ),
        ("{ tags: [a] }", "state.tags: must hold keys of its own"),
        (
            "{ pitr: true }",
            "state.pitr: is not a known key: use one of lease_table, fleet_table, create, kms_key, tags, \
             point_in_time_recovery, deletion_protection, region, assume_role_arn, external_id",
        ),
        ("{ leases_table: one }", "did you mean `lease_table`?"),
        (
            "{ point_in_time: true }",
            "did you mean `point_in_time_recovery`?",
        ),
    ] {
        let problem = problem_beside(&format!("state: {state}"));
        assert!(problem.contains(says), "{problem}");
    }
}

#[test]
fn names_that_would_be_invalid_are_refused_before_the_first_shard() {
    let long = format!("{{ group: \"{}{{pipeline}}\" }}", "x".repeat(512));
    assert!(
        problem_of(SOURCE, &long)
            .contains("gives no valid name: the name has 513 characters, and a log group holds 512")
    );
    let found = problems(
        "pipelines: { aws: { source: { dynamodb_table: orders }, destination: { group: \"{pipeline}/x\" } } }",
    );
    assert!(found[0].to_string().contains("which AWS reserves"), "{found:?}");
}

#[test]
fn the_region_of_a_stream_is_its_arns() {
    let text = format!(
        "pipelines: {{ p: {{ source: {{ dynamodb_stream_arn: \"{ARN}\" }}, destination: {DESTINATION} }} }}"
    );
    assert_eq!(
        load(&text).unwrap().pipelines[0].source.aws.region.as_deref(),
        Some("eu-west-1")
    );
}

#[test]
fn variables_are_replaced_after_parsing_and_give_numbers_and_booleans() {
    let vars = |name: &str| match name {
        "TABLE" => Some("orders".to_owned()),
        "DAYS" => Some("30".to_owned()),
        "NO" => Some("true".to_owned()),
        "GROUP" => Some("/cdc/x\nretention_days: 1".to_owned()),
        "LEASE" => Some("20s".to_owned()),
        _ => None,
    };
    let text = |group: &str| {
        format!(
            "leases: {{ duration: \"${{LEASE}}\" }}\npipelines:\n  p:\n    source: {{ dynamodb_table: \"${{TABLE}}\" }}\n    \
             destination:\n      group: {group}\n      retention_days: ${{DAYS}}\n      create: ${{NO}}\n      \
             stream: ${{STREAM:-{{shard_id}}}}\n"
        )
    };
    let read = |text: &str| read(text, &vars, Overrides::default());
    let config = read(&text("/cdc/${TABLE}")).unwrap();
    let destination = &config.pipelines[0].destination;
    assert_eq!(destination.group.as_str(), "/cdc/orders");
    assert_eq!(destination.stream.as_str(), "{shard_id}");
    assert_eq!(destination.retention_days, Some(30));
    assert_eq!(config.lease_duration, Duration::from_secs(20));

    let error = read(&text("${GROUP}")).unwrap_err().to_string();
    assert_eq!(
        error,
        "pipelines.p.destination.group: `/cdc/x\\nretention_days: 1` holds '\\n', which a log group can't: \
         use letters, digits and . - _ / #"
    );
    let error = read(&text("/cdc/${UNSET}")).unwrap_err().to_string();
    assert!(error.starts_with("pipelines.p.destination.group: the environment variable `UNSET` is not set"));
    assert!(
        !error.contains("orders"),
        "the values of other variables stay out of it"
    );
}

#[test]
fn what_is_given_beside_the_file_stands_before_it() {
    let overrides = Overrides {
        application: Some("beside".into()),
        http_address: Some("127.0.0.1:1".parse().unwrap()),
        log_format: Some(LogFormat::Text),
    };
    let config = read(&example("full.yaml"), VARS, overrides).unwrap();
    assert_eq!(config.application, "beside");
    assert_eq!(config.http_address, "127.0.0.1:1".parse().unwrap());
    assert_eq!(config.log_format, LogFormat::Text);

    // The table `orders` is safe with the file's application and not with this one.
    let overrides = Overrides {
        application: Some("orders".into()),
        ..Overrides::default()
    };
    let error = read(&example("minimal.yaml"), NO_VARS, overrides)
        .unwrap_err()
        .to_string();
    assert!(error.contains("choose another application"), "{error}");
}

#[test]
fn anchors_and_merges_spare_repetition() {
    let text = "
pipelines:
  a:
    source: { dynamodb_table: aaa }
    destination: &logs { group: /cdc, retention_days: 30 }
  b:
    source: { dynamodb_table: bbb }
    destination: { <<: *logs, group: /cdc/b }
";
    let config = load(text).unwrap();
    assert_eq!(config.pipelines[1].destination.retention_days, Some(30));
    assert_eq!(config.pipelines[1].destination.group.as_str(), "/cdc/b");
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic_or_refuse_in_silence(text in "[a-z:{}\\[\\]&*!|>'\"#%@,\\n -]{0,80}") {
        if let Err(ConfigError::Invalid(problems)) = load(&text) {
            prop_assert!(!problems.0.is_empty());
        }
    }

    #[test]
    fn no_value_makes_the_reader_panic_or_refuse_in_silence(
        key in "[a-z_.]{1,12}", value in "\\PC{0,30}", place in 0usize..12,
    ) {
        let mut file = serde_json::json!({ "pipelines": { "p": {
            "source": { "dynamodb_table": "orders" }, "destination": { "group": "g" } } } });
        match place {
            0 => file[key] = value.into(),
            1 => file["pipelines"]["p"]["source"][key] = value.into(),
            2 => file["pipelines"]["p"]["source"]["start"] = value.into(),
            3 => file["pipelines"]["p"]["destination"]["group"] = value.into(),
            4 => file["pipelines"]["p"]["destination"]["stream"] = value.into(),
            5 => file["application"] = value.into(),
            6 => file["pipelines"][key] = value.into(),
            7 => file["pipelines"]["p"]["decode"] = value.into(),
            8 => file["pipelines"]["p"]["source"] = serde_json::json!({ "kinesis_stream": value }),
            9 => file["pipelines"]["p"]["source"] = serde_json::json!({ "kinesis_stream_arn": value }),
            10 => file["pipelines"]["p"]["filter"] = serde_json::json!([{ key: value }]),
            _ => file["pipelines"]["p"]["source"]["dynamodb_stream_arn"] = value.into(),
        }
        if let Err(ConfigError::Invalid(problems)) = load(&file.to_string()) {
            prop_assert!(!problems.0.is_empty());
        }
    }
}
