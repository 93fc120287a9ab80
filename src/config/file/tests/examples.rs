//! The files that are shipped as examples.

use std::collections::BTreeSet;

use super::*;
use crate::config::{SourceConfig, Start, StreamChoice, TracingConfig};
use crate::decode::{Decode, DecodeSettings};

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
pub fn known_below(path: &str, known: &mut BTreeSet<String>) {
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
fn the_full_example_states_the_defaults_it_claims() {
    let full = load(&example("full.yaml")).unwrap();
    let expected = Config {
        application: "prod-cdc".into(),
        // These two have no default but their surroundings.
        memory: Some(256 << 20),
        grace_period: Some(Duration::from_secs(30)),
        state: full.state.clone(),
        tracing: TracingConfig {
            url: Some("http://127.0.0.1:4318/v1/traces".into()),
            ..TracingConfig::default()
        },
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
