//! Which key sets what, and what is set without it.

use std::time::Duration;

use super::*;
use crate::clock::Timestamp;
use crate::config::{
    DeadLetterConfig, DestinationConfig, FanOut, Headers, LogClass, LogFormat, Missing, NewTables, Oversize,
    SourceConfig, Start, StateConfig, StreamChoice, TracingConfig, Untimely, Wire,
};
use crate::decode::{Decode, DecodeSettings, Gzip, UnknownMessages};
use crate::logs::template::{Template, TemplateKind};
use crate::shape::{Format, Shape};
use crate::stream::StreamArn;

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
        grace_period: None,
        foreign_watch: Duration::from_secs(20),
        keep_removed: Duration::from_secs(7 * 24 * 3600),
        memory: None,
        put_rate: 4_000,
        wire: Wire::Raw,
        tracing: TracingConfig {
            url: None,
            sample: 0.01,
            headers: Headers::default(),
            resource: [("service.name".into(), "weir".into())].into(),
        },
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
                poll_idle_most: Duration::from_secs(5),
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
fn every_key_is_read_into_its_place() {
    let text = format!(
        r#"
application: app
http: {{ address: "127.0.0.1:9000" }}
log: {{ format: json }}
memory: 64MiB
put_rate: 900
wire: sdk
tracing: {{ otlp_endpoint: "https://collector:4318/otlp/v1/traces", sample: 0.5 }}
leases: {{ keys: kcl, duration: 20s, foreign_watch: 40s, keep_removed: 24h }}
checkpoint: {{ interval: 5s }}
drain: {{ timeout: 1m, grace_period: 90s }}
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
      poll: {{ busy: 200ms, idle: 3s, idle_most: 20s }}
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
        grace_period: Some(Duration::from_secs(90)),
        foreign_watch: Duration::from_secs(40),
        keep_removed: Duration::from_secs(24 * 3600),
        memory: Some(64 << 20),
        put_rate: 900,
        wire: Wire::Sdk,
        tracing: TracingConfig {
            url: Some("https://collector:4318/otlp/v1/traces".into()),
            sample: 0.5,
            ..TracingConfig::default()
        },
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
                poll_idle_most: Duration::from_secs(20),
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
