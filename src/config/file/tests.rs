mod destination;
mod examples;
mod keys;
mod places;
mod rules;
mod source;
mod state;

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::problem::Problem;
use crate::config::{LogFormat, StreamChoice};

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
        "colour: is not a known key: use one of application, http, log, tracing, memory, put_rate, wire, leases, checkpoint, drain, state, pipelines",
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
fn a_value_that_begins_with_a_star_wants_quotes() {
    let text = "pipelines:\n  p:\n    redact:\n      - *.card_number\n";
    let ConfigError::Syntax { line, message, .. } = load(text).unwrap_err() else {
        panic!("it is no YAML");
    };
    assert_eq!(line, 4);
    assert!(message.contains("put it in quotes"), "{message}");
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
fn a_budget_that_one_record_does_not_fit_is_refused() {
    let with = |memory: &str, source: &str| {
        format!(
            "memory: {memory}\npipelines: {{ p: {{ source: {{ {source}: orders }}, destination: {{ group: g }} }} }}"
        )
    };
    for (memory, source) in [("16MiB", "dynamodb_table"), ("56MiB", "kinesis_stream")] {
        assert!(load(&with(memory, source)).is_ok(), "{memory} for {source}");
    }
    for memory in ["55MiB", "16MiB"] {
        let found = problems(&with(memory, "kinesis_stream"));
        assert_eq!(found.len(), 1, "{found:?}");
        let says = format!(
            "memory: `{memory}` is too little for `pipelines.p`: a record of a Kinesis stream has up to 10 MiB, and with \
             its answer and its event it takes 56MiB: use 56MiB at least, or leave the key out"
        );
        assert!(found[0].to_string().contains(&says), "{}", found[0]);
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
        ..Overrides::default()
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
