//! Log groups, log streams, and their names.

use super::*;

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
