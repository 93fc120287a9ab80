use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_dynamodb::config::StalledStreamProtectionConfig;

use super::*;
use crate::aws::canned::{Answer, Canned, answer, error, events, ok, silence};
use crate::aws::raw::NeedsBody;
use crate::clock::SystemClock;

#[test]
fn a_class_is_told_by_the_code_and_then_by_the_status() {
    for (status, code, want) in [
        (
            400,
            Some("ProvisionedThroughputExceededException"),
            Class::Throttled,
        ),
        (400, Some("LimitExceededException"), Class::Throttled),
        (429, None, Class::Throttled),
        (400, Some("AccessDeniedException"), Class::Denied),
        (400, Some("ExpiredTokenException"), Class::Denied),
        (400, Some("KMSDisabledException"), Class::Denied),
        (400, Some("ResourceNotFoundException"), Class::NotFound),
        (400, Some("ConditionalCheckFailedException"), Class::Conflict),
        (400, Some("ResourceAlreadyExistsException"), Class::Conflict),
        (400, Some("ResourceInUseException"), Class::Conflict),
        (400, Some("ExpiredIteratorException"), Class::ExpiredIterator),
        (400, Some("TrimmedDataAccessException"), Class::Trimmed),
        (400, Some("ValidationException"), Class::Invalid),
        (400, Some("InvalidParameterException"), Class::Invalid),
        (500, Some("InternalServerError"), Class::Server),
        (503, Some("ServiceUnavailableException"), Class::Server),
        (400, Some("ServiceUnavailableException"), Class::Server),
        (502, None, Class::Server),
        (403, None, Class::Unreadable),
        (404, Some(""), Class::Unreadable),
        (200, None, Class::Unreadable),
    ] {
        assert_eq!(
            Class::of(End::Refused { status, code }),
            want,
            "{status} {code:?}"
        );
    }
    assert_eq!(Class::of(End::Answered), Class::Ok);
    assert_eq!(Class::of(End::Unsent), Class::Denied);
    assert_eq!(Class::of(End::GivenUp), Class::GivenUp);
}

#[test]
fn classes_have_different_words() {
    let words: std::collections::BTreeSet<_> = Class::ALL.map(Class::as_str).into();
    assert_eq!(words.len(), Class::ALL.len());
}

#[test]
fn a_code_stands_in_a_header_or_in_the_body() {
    let of = |header: Option<&'static str>, body: &str| {
        let mut answer = HttpResponse::new(400.try_into().unwrap(), body.to_owned().into());
        if let Some(header) = header {
            answer.headers_mut().insert("x-amzn-errortype", header);
        }
        code(&answer)
    };
    let found = |code: &str| Some(code.to_owned());
    assert_eq!(
        of(None, r#"{"__type":"com.amazonaws.x#SlowDown","a":[1]}"#),
        found("SlowDown")
    );
    assert_eq!(of(None, r#"{"code":"SlowDown"}"#), found("SlowDown"));
    assert_eq!(
        of(Some("SlowDown:http://internal.amazon.com/x/"), "{}"),
        found("SlowDown")
    );
    assert_eq!(of(None, "<html>no</html>"), None);
    assert_eq!(of(None, "{}"), None);
}

struct Counted {
    metrics: Metrics,
    requests: Requests,
}

impl Counted {
    fn new() -> Self {
        let metrics = Metrics::new();
        Self {
            requests: Requests::counted_in(metrics.clone(), Arc::new(SystemClock)),
            metrics,
        }
    }

    fn dynamodb(&self, answers: impl IntoIterator<Item = Answer>) -> aws_sdk_dynamodb::Client {
        let config = Canned::new(answers).config();
        let config = aws_sdk_dynamodb::config::Builder::from(&config).interceptor(self.requests.clone());
        aws_sdk_dynamodb::Client::from_conf(config.build())
    }

    fn kinesis(&self, answers: impl IntoIterator<Item = Answer>) -> aws_sdk_kinesis::Client {
        let config = Canned::new(answers).config();
        let config = aws_sdk_kinesis::config::Builder::from(&config)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .interceptor(self.requests.clone());
        aws_sdk_kinesis::Client::from_conf(config.build())
    }

    /// All that was counted: `service operation class`.
    fn told(&self) -> BTreeMap<String, u64> {
        let text = self.metrics.render().unwrap();
        let lines = text.lines().filter_map(|line| {
            let labels = line.strip_prefix("weir_aws_requests_total{")?;
            let (labels, count) = labels.split_once("} ")?;
            // Sorted by their names: class, operation, service.
            let values: Vec<_> = labels.split('"').skip(1).step_by(2).collect();
            Some((
                format!("{} {} {}", values[2], values[1], values[0]),
                count.parse().unwrap(),
            ))
        });
        lines.collect()
    }
}

fn told<const N: usize>(counts: [(&str, u64); N]) -> BTreeMap<String, u64> {
    counts
        .into_iter()
        .map(|(key, count)| (key.to_owned(), count))
        .collect()
}

#[tokio::test]
async fn each_request_is_counted_once_with_what_became_of_it() {
    let counted = Counted::new();
    let dynamodb = counted.dynamodb([
        ok("{}"),
        error(400, "ConditionalCheckFailedException"),
        error(400, "SomethingNew"),
        answer(502, "<html>"),
        answer(200, "<html>"),
        // The list is at its end: the connection breaks.
    ]);
    for _ in 0..6 {
        let _ = dynamodb.list_tables().send().await;
    }
    let _ = dynamodb
        .list_tables()
        .customize()
        .interceptor(NeedsBody)
        .send()
        .await;
    assert_eq!(
        counted.told(),
        told([
            ("dynamodb ListTables broken", 2),
            ("dynamodb ListTables conflict", 1),
            ("dynamodb ListTables invalid", 1),
            ("dynamodb ListTables ok", 1),
            ("dynamodb ListTables server", 1),
            ("dynamodb ListTables unreadable", 1),
        ])
    );
    let text = counted.metrics.render().unwrap();
    let line = "weir_aws_request_seconds_count{operation=\"ListTables\",service=\"dynamodb\"} 7";
    assert!(text.contains(line), "{text}");
}

#[tokio::test]
async fn a_success_without_a_body_where_one_is_needed_is_unreadable() {
    let counted = Counted::new();
    let dynamodb = counted.dynamodb([ok("")]);
    let asked = dynamodb.list_tables().customize().interceptor(NeedsBody);
    asked.send().await.unwrap_err();
    assert_eq!(counted.told(), told([("dynamodb ListTables unreadable", 1)]));
}

#[tokio::test]
async fn a_request_that_was_dropped_on_its_way_is_counted_as_given_up() {
    let counted = Counted::new();
    let dynamodb = counted.dynamodb([silence()]);
    let asked = dynamodb.list_tables().send();
    tokio::time::timeout(Duration::from_millis(50), asked)
        .await
        .unwrap_err();
    assert_eq!(counted.told(), told([("dynamodb ListTables given_up", 1)]));
}

#[tokio::test]
async fn a_request_without_credentials_is_denied() {
    let counted = Counted::new();
    let config = Canned::new([ok("{}")]).config();
    let config = config
        .into_builder()
        .credentials_provider(aws_sdk_dynamodb::config::SharedCredentialsProvider::new(Nobody));
    let config =
        aws_sdk_dynamodb::config::Builder::from(&config.build()).interceptor(counted.requests.clone());
    let dynamodb = aws_sdk_dynamodb::Client::from_conf(config.build());
    dynamodb.list_tables().send().await.unwrap_err();
    assert_eq!(counted.told(), told([("dynamodb ListTables denied", 1)]));
}

#[derive(Debug)]
struct Nobody;

impl aws_credential_types::provider::ProvideCredentials for Nobody {
    fn provide_credentials<'a>(&'a self) -> aws_credential_types::provider::future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let none = aws_credential_types::provider::error::CredentialsError::not_loaded("none");
        aws_credential_types::provider::future::ProvideCredentials::ready(Err(none))
    }
}

#[tokio::test]
async fn a_subscription_is_counted_at_its_head() {
    let counted = Counted::new();
    let kinesis = counted.kinesis([events(&[], true)]);
    let answer = kinesis
        .subscribe_to_shard()
        .consumer_arn("arn:aws:kinesis:eu-west-1:123456789012:stream/s/consumer/c:1")
        .shard_id("shardId-000000000000")
        .starting_position(
            aws_sdk_kinesis::types::StartingPosition::builder()
                .r#type(aws_sdk_kinesis::types::ShardIteratorType::TrimHorizon)
                .build()
                .unwrap(),
        )
        .send()
        .await
        .unwrap();
    // It is open.
    assert_eq!(counted.told(), told([("kinesis SubscribeToShard ok", 1)]));
    drop(answer);
    assert_eq!(counted.told(), told([("kinesis SubscribeToShard ok", 1)]));
}

#[test]
fn services_have_stable_labels() {
    for (name, label) in [
        ("DynamoDB", "dynamodb"),
        ("DynamoDB Streams", "dynamodb_streams"),
        ("Kinesis", "kinesis"),
        ("CloudWatch Logs", "logs"),
    ] {
        assert_eq!(service(name), label);
    }
}
