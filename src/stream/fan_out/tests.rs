use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::aws::canned::{self, Answer, Canned};
use crate::config::{StreamChoice, Wire};

const ARN: &str = "arn:aws:kinesis:eu-west-1:111122223333:stream/audit";
const CONSUMER: &str = "arn:aws:kinesis:eu-west-1:111122223333:stream/audit/consumer/weir:7";

/// A clock that a sleep moves on, at once.
#[derive(Default)]
struct Skipping(AtomicU64);

#[async_trait]
impl Clock for Skipping {
    fn now(&self) -> Monotonic {
        Monotonic::from_origin(Duration::from_millis(self.0.load(Ordering::Relaxed)))
    }
    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(0)
    }
    async fn sleep(&self, d: Duration) {
        // What is ready comes first.
        tokio::task::yield_now().await;
        let millis = u64::try_from(d.as_millis()).unwrap();
        self.0.fetch_add(millis, Ordering::Relaxed);
    }
}

struct Case {
    source: FanOut,
    canned: Canned,
    clock: Arc<Skipping>,
}

fn case(answers: impl IntoIterator<Item = Answer>) -> Case {
    let canned = Canned::new(answers);
    let client = aws_sdk_kinesis::Client::new(&canned.config());
    let clock = Arc::new(Skipping::default());
    let choice = StreamChoice::Kinesis("audit".to_owned());
    let polling = KinesisStream::new(
        client.clone(),
        choice,
        "eu-west-1".to_owned(),
        Wire::Raw,
        clock.clone(),
    );
    Case {
        source: FanOut::new(
            client.clone(),
            Arc::new(move || client.clone()),
            polling,
            "weir".to_owned(),
        ),
        canned,
        clock,
    }
}

/// The stream does not say when it was created, so that nothing asks for that.
fn plain() -> StreamArn {
    StreamArn::new(ARN)
}

fn shard() -> ShardId {
    ShardId::new("s")
}

fn consumer(status: &str) -> Answer {
    canned::ok(&format!(
        r#"{{"ConsumerDescription":{{"ConsumerName":"weir","ConsumerARN":"{CONSUMER}","ConsumerStatus":"{status}",
        "ConsumerCreationTimestamp":7,"StreamARN":"{ARN}"}}}}"#
    ))
}

fn registered(status: &str) -> Answer {
    canned::ok(&format!(
        r#"{{"Consumer":{{"ConsumerName":"weir","ConsumerARN":"{CONSUMER}","ConsumerStatus":"{status}",
        "ConsumerCreationTimestamp":7}}}}"#
    ))
}

fn not_found() -> Answer {
    canned::error(400, "ResourceNotFoundException")
}

/// An event with the records of these sequence numbers.
fn event(numbers: &[u32], continuation: u32, more: &str) -> Vec<u8> {
    let records: Vec<_> = numbers
        .iter()
        .map(|n| {
            format!(
                r#"{{"SequenceNumber":"{n}","Data":"AA==","PartitionKey":"k","ApproximateArrivalTimestamp":1.5}}"#
            )
        })
        .collect();
    canned::message(
        "event",
        "SubscribeToShardEvent",
        &format!(
            r#"{{"Records":[{}],"ContinuationSequenceNumber":"{continuation}","MillisBehindLatest":20{more}}}"#,
            records.join(",")
        ),
    )
}

fn numbers(batch: &RecordBatch) -> Vec<&str> {
    batch.records.iter().map(|r| r.sequence_number.as_str()).collect()
}

impl Case {
    async fn open(&self) -> Result<ShardIterator, SourceError> {
        self.source
            .iterator(&plain(), &shard(), &StartingPosition::TrimHorizon)
            .await
    }
}

#[tokio::test]
async fn each_event_is_handed_out_once_with_where_to_go_on() {
    let case = case([
        consumer("ACTIVE"),
        canned::events(&[event(&[1, 2], 2, ""), event(&[], 5, "")], true),
    ]);
    let after = StartingPosition::After(SequenceNumber::parse("9").unwrap());
    let token = case.source.iterator(&plain(), &shard(), &after).await.unwrap();
    let asked = &case.canned.asked()[1];
    for part in [
        CONSUMER,
        r#""ShardId":"s""#,
        r#""Type":"AFTER_SEQUENCE_NUMBER""#,
        r#""SequenceNumber":"9""#,
    ] {
        assert!(asked.contains(part), "{asked}");
    }
    assert_ne!(case.source.ready(&plain(), &token).await.unwrap(), Ready::No);
    assert_ne!(
        case.source.ready(&plain(), &token).await.unwrap(),
        Ready::No,
        "still there"
    );
    let batch = case.source.records(&plain(), &token, Ask::ALL).await.unwrap();
    assert_eq!(numbers(&batch), ["1", "2"]);
    assert_eq!(batch.next, Next::At(token.clone()));
    assert_eq!(batch.behind, Some(Duration::from_millis(20)));
    assert_eq!(batch.continuation, SequenceNumber::parse("2"));
    // One that nobody waited for, and without records.
    let batch = case.source.records(&plain(), &token, Ask::ALL).await.unwrap();
    assert!(batch.records.is_empty());
    assert_eq!(batch.continuation, SequenceNumber::parse("5"));
    // Nothing.
    assert_eq!(case.source.ready(&plain(), &token).await.unwrap(), Ready::No);
    let batch = case.source.records(&plain(), &token, Ask::ALL).await.unwrap();
    assert_eq!(
        (batch.records.len(), batch.continuation, batch.behind),
        (0, None, None)
    );
    assert_eq!(batch.next, Next::At(token));
}

#[tokio::test]
async fn an_event_with_children_is_the_last_of_its_shard() {
    let children = r#","ChildShards":[{"ShardId":"t","ParentShards":["s"],"HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"9"}}]"#;
    let case = case([
        consumer("ACTIVE"),
        canned::events(
            &[event(&[1], 1, r#","ChildShards":[]"#), event(&[2], 2, children)],
            false,
        ),
    ]);
    let token = case.open().await.unwrap();
    let first = case.source.records(&plain(), &token, Ask::ALL).await.unwrap();
    assert_eq!(first.next, Next::At(token.clone()));
    let last = case.source.records(&plain(), &token, Ask::ALL).await.unwrap();
    assert_eq!((numbers(&last), &last.next), (vec!["2"], &Next::End));
    assert!(case.source.open().subscriptions.is_empty());
}

/// The last event names no place to go on from.
#[tokio::test]
async fn a_shards_last_event_may_leave_out_what_no_longer_is() {
    for body in [
        r#"{"Records":[],"ContinuationSequenceNumber":null,"MillisBehindLatest":0,"ChildShards":[{"ShardId":"t","ParentShards":["s"],"HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"9"}}]}"#,
        r#"{"Records":[],"MillisBehindLatest":0,"ChildShards":[{"ShardId":"t","ParentShards":["s"],"HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"9"}}]}"#,
    ] {
        let last = canned::message("event", "SubscribeToShardEvent", body);
        let case = case([consumer("ACTIVE"), canned::events(&[last], true)]);
        let token = case.open().await.unwrap();
        let batch = case.source.records(&plain(), &token, Ask::ALL).await.unwrap();
        assert_eq!((batch.next, batch.continuation), (Next::End, None), "{body}");
    }
}

#[tokio::test]
async fn a_subscription_that_ends_asks_for_another() {
    let broken = {
        let mut whole = canned::events(&[event(&[1], 1, "")], false);
        whole.body.truncate(whole.body.len() - 3);
        whole
    };
    for (answer, before) in [
        (canned::events(&[event(&[1], 1, "")], false), 1),
        (canned::events(&[], false), 0),
        (broken, 0),
    ] {
        for waits in [true, false] {
            let case = case([consumer("ACTIVE"), answer.clone()]);
            let token = case.open().await.unwrap();
            for _ in 0..before {
                case.source.records(&plain(), &token, Ask::ALL).await.unwrap();
            }
            let error = match waits {
                true => case.source.ready(&plain(), &token).await.unwrap_err(),
                false => case.source.records(&plain(), &token, Ask::ALL).await.unwrap_err(),
            };
            assert!(matches!(error, SourceError::IteratorExpired), "{error}");
            assert!(case.source.open().subscriptions.is_empty());
            // And so does the name of one that is not there.
            let error = case.source.records(&plain(), &token, Ask::ALL).await.unwrap_err();
            assert!(matches!(error, SourceError::IteratorExpired), "{error}");
        }
    }
}

#[tokio::test]
async fn what_the_service_ends_a_subscription_with_is_told_as_ever() {
    for (name, class, word) in [
        ("InternalFailureException", "unavailable", "told so"),
        ("ResourceInUseException", "throttled", "anything else"),
        ("ResourceNotFoundException", "iterator_expired", "expired"),
        ("KMSDisabledException", "access_denied", "enable"),
        ("KMSAccessDeniedException", "access_denied", "kms:Decrypt"),
        ("KMSInvalidStateException", "access_denied", "deletion"),
        ("KMSNotFoundException", "access_denied", "not there"),
        ("KMSOptInRequired", "access_denied", "activate"),
        ("KMSThrottlingException", "throttled", "told so"),
        ("SomethingNew", "unavailable", ""),
    ] {
        let exception = canned::message("exception", name, r#"{"message":"told so"}"#);
        let case = case([consumer("ACTIVE"), canned::events(&[exception], true)]);
        let token = case.open().await.unwrap();
        let error = case.source.records(&plain(), &token, Ask::ALL).await.unwrap_err();
        assert_eq!(error.class(), class, "{name}: {error}");
        assert!(error.to_string().contains(word), "{name}: {error}");
        assert!(case.source.open().subscriptions.is_empty(), "{name}");
    }
}

#[tokio::test]
async fn what_refuses_a_subscription_is_told_as_ever() {
    for (code, class) in [
        ("ResourceInUseException", "throttled"),
        ("LimitExceededException", "throttled"),
        ("AccessDeniedException", "access_denied"),
        ("KMSDisabledException", "access_denied"),
        ("InvalidArgumentException", "unavailable"),
        ("InternalFailure", "unavailable"),
    ] {
        let case = case([consumer("ACTIVE"), canned::error(400, code)]);
        let error = case.open().await.unwrap_err();
        assert_eq!(error.class(), class, "{code}: {error}");
    }
}

#[tokio::test]
async fn a_missing_consumer_is_registered_and_waited_for() {
    let registering = case([
        not_found(),
        registered("CREATING"),
        consumer("CREATING"),
        consumer("ACTIVE"),
        canned::events(&[], true),
        canned::events(&[], true),
    ]);
    registering.open().await.unwrap();
    let asked = registering.canned.asked();
    assert_eq!(
        asked[1],
        format!(r#"{{"StreamARN":"{ARN}","ConsumerName":"weir"}}"#)
    );
    // Once.
    registering.open().await.unwrap();
    assert_eq!(registering.canned.asked().len(), 6);

    // Another worker registers it between the two requests.
    let raced = case([
        not_found(),
        canned::error(400, "ResourceInUseException"),
        consumer("ACTIVE"),
        canned::events(&[], true),
    ]);
    raced.open().await.unwrap();

    // One call does not wait for ever.
    let slow = case((0..100).map(|_| consumer("CREATING")));
    let error = slow.open().await.unwrap_err();
    assert!(error.to_string().contains("is CREATING"), "{error}");
    assert!(slow.canned.asked().len() < 20);
    assert!(slow.clock.now().since_origin() <= ACTIVATION + ACTIVATION_PACE);

    let full = case([not_found(), canned::error(400, "LimitExceededException")]);
    let error = full.open().await.unwrap_err();
    assert_eq!(error.class(), "throttled");
    assert!(
        error.to_string().contains("deregister-stream-consumer") && error.to_string().contains("20"),
        "{error}"
    );

    let gone = case([not_found(), not_found()]);
    let error = gone.open().await.unwrap_err();
    assert!(matches!(error, SourceError::NotFound(_)), "{error}");
}

#[tokio::test]
async fn a_consumer_that_was_deleted_is_registered_again() {
    let again = case([
        consumer("ACTIVE"),
        not_found(),
        not_found(),
        registered("ACTIVE"),
        canned::events(&[], true),
    ]);
    again.open().await.unwrap();
    // It is not the consumer that is missing.
    let shard = case([consumer("ACTIVE"), not_found(), consumer("ACTIVE"), not_found()]);
    let error = shard.open().await.unwrap_err();
    assert!(matches!(error, SourceError::NotFound(_)), "{error}");
}

#[tokio::test]
async fn no_consumer_of_another_stream_is_used() {
    let case = case([
        consumer("ACTIVE"),
        canned::ok(&format!(
            r#"{{"StreamDescriptionSummary":{{"StreamName":"audit","StreamARN":"{ARN}","StreamStatus":"ACTIVE",
            "RetentionPeriodHours":24,"StreamCreationTimestamp":9,"EnhancedMonitoring":[],"OpenShardCount":1}}}}"#
        )),
    ]);
    let (old, shard) = (StreamArn::kinesis(ARN, Some(7)), shard());
    let asked = case.source.iterator(&old, &shard, &StartingPosition::TrimHorizon);
    let error = asked.await.unwrap_err();
    assert!(matches!(error, SourceError::NotFound(_)), "{error}");
}

#[tokio::test]
async fn a_shard_has_one_subscription_and_not_sooner_than_it_may() {
    let case = case([
        consumer("ACTIVE"),
        canned::events(&[event(&[1], 1, "")], true),
        canned::error(400, "InternalFailure"),
        canned::events(&[event(&[2], 2, "")], true),
    ]);
    let first = case.open().await.unwrap();
    case.open().await.unwrap_err();
    assert_eq!(case.clock.now().since_origin(), SUBSCRIBE_PACE);
    let second = case.open().await.unwrap();
    assert_eq!(case.clock.now().since_origin(), SUBSCRIBE_PACE + CALL_PACE);
    let error = case.source.records(&plain(), &first, Ask::ALL).await.unwrap_err();
    assert!(matches!(error, SourceError::IteratorExpired), "{error}");
    let batch = case.source.records(&plain(), &second, Ask::ALL).await.unwrap();
    assert_eq!(numbers(&batch), ["2"]);
    assert_eq!(case.source.open().subscriptions.len(), 1);
}

#[tokio::test]
async fn a_silent_subscription_is_given_up() {
    let case = case([consumer("ACTIVE"), canned::events(&[event(&[1], 1, "")], true)]);
    let token = case.open().await.unwrap();
    // The reader was held up for long, and what came meanwhile still counts.
    case.clock.sleep(UNUSED).await;
    assert_ne!(case.source.ready(&plain(), &token).await.unwrap(), Ready::No);
    case.source.records(&plain(), &token, Ask::ALL).await.unwrap();
    let heard = case.clock.now();
    let error = loop {
        match case.source.ready(&plain(), &token).await {
            Ok(ready) => assert_eq!(ready, Ready::No),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, SourceError::Unavailable(_)),
        "it is told: {error}"
    );
    let silence = case.clock.now().since(heard);
    assert!(silence > SILENCE && silence <= SILENCE + 2 * WAIT, "{silence:?}");
}

#[tokio::test]
async fn subscriptions_of_shards_that_are_read_no_more_are_closed() {
    let case = case([
        consumer("ACTIVE"),
        canned::events(&[], true),
        canned::events(&[], true),
        canned::events(&[], true),
    ]);
    let mut tokens = Vec::new();
    for shard in ["a", "b"] {
        let (stream, shard) = (plain(), ShardId::new(shard));
        let asked = case
            .source
            .iterator(&stream, &shard, &StartingPosition::TrimHorizon);
        tokens.push(asked.await.unwrap());
    }
    case.clock.sleep(UNUSED / 2).await;
    case.source.records(&plain(), &tokens[1], Ask::ALL).await.unwrap();
    case.clock.sleep(UNUSED / 2 + WAIT).await;
    case.open().await.unwrap();
    let open: Vec<_> = case
        .source
        .open()
        .subscriptions
        .values()
        .map(|s| s.shard.to_string())
        .collect();
    assert_eq!(open.len(), 2, "{open:?}");
    assert!(!open.contains(&"a".to_owned()), "{open:?}");
}
