use super::*;
use crate::aws::canned::{self, Canned};
use crate::clock::SystemClock;
use crate::stream::{Ask, Next, SequenceNumber};

const ARN: &str = "arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/2024-11-09T08:12:19.138";

fn source(choice: StreamChoice, canned: &Canned) -> DynamoDbStreams {
    DynamoDbStreams::new(
        aws_sdk_dynamodb::Client::new(&canned.config()),
        aws_sdk_dynamodbstreams::Client::new(&canned.config()),
        choice,
        Wire::Raw,
        Arc::new(SystemClock),
    )
}

fn stream(canned: &Canned) -> DynamoDbStreams {
    source(StreamChoice::Arn(StreamArn::new(ARN)), canned)
}

/// What a read of this answer gives, on this path.
async fn read(wire: Wire, answer: canned::Answer) -> Result<RecordBatch, SourceError> {
    let source = DynamoDbStreams {
        wire,
        ..stream(&Canned::new([answer]))
    };
    source
        .records(&StreamArn::new(ARN), &ShardIterator::new("i"), Ask::ALL)
        .await
}

#[tokio::test(start_paused = true)]
async fn a_listing_goes_through_all_pages_below_the_rate_limit() {
    let canned = Canned::new([
        canned::ok(
            r#"{"StreamDescription":{"StreamStatus":"ENABLED","LastEvaluatedShardId":"b","Shards":[
            {"ShardId":"a","SequenceNumberRange":{"StartingSequenceNumber":"1","EndingSequenceNumber":"9"}},
            {"ShardId":"b","ParentShardId":"a","SequenceNumberRange":{"StartingSequenceNumber":"10"}}]}}"#,
        ),
        canned::ok(
            r#"{"StreamDescription":{"StreamStatus":"DISABLING","Shards":[
            {"ShardId":"b","ParentShardId":"a","SequenceNumberRange":{"EndingSequenceNumber":"12"}},
            {"ShardId":"c","ParentShardId":"b","SequenceNumberRange":{"EndingSequenceNumber":""}}]}}"#,
        ),
    ]);
    let start = tokio::time::Instant::now();
    let listing = stream(&canned).list_shards(&StreamArn::new(ARN)).await.unwrap();
    let seen: Vec<_> = listing
        .shards
        .iter()
        .map(|s| {
            (
                s.id.as_str(),
                s.parents.iter().map(ShardId::as_str).collect::<Vec<_>>(),
                s.closed,
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("a", vec![], true),
            ("b", vec!["a"], true),
            ("c", vec!["b"], false)
        ]
    );
    assert!(listing.disabled);
    assert!(canned.asked()[1].contains(r#""ExclusiveStartShardId":"b""#));
    assert!(start.elapsed() >= PACE / 2, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_listing_in_circles_ends_with_an_error() {
    let page = canned::ok(r#"{"StreamDescription":{"LastEvaluatedShardId":"b","Shards":[]}}"#);
    let canned = Canned::new([page.clone(), page]);
    let error = stream(&canned)
        .list_shards(&StreamArn::new(ARN))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("circles"), "{error}");
}

#[tokio::test]
async fn children_are_those_that_name_the_parent() {
    let canned = Canned::new([canned::ok(
        r#"{"StreamDescription":{"Shards":[
        {"ShardId":"a"},{"ShardId":"b","ParentShardId":"a"},{"ShardId":"c","ParentShardId":"b"}]}}"#,
    )]);
    let children = stream(&canned)
        .child_shards(&StreamArn::new(ARN), &ShardId::new("a"))
        .await
        .unwrap();
    assert_eq!(children.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(), ["b"]);
    assert!(canned.asked()[0].contains(r#""ShardFilter":{"Type":"CHILD_SHARDS","ShardId":"a"}"#));
}

#[tokio::test]
async fn the_service_time_is_the_date_of_the_answer() {
    let mut dated = canned::ok(r#"{"StreamDescription":{}}"#);
    dated.date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
    let mut wrong = dated.clone();
    wrong.date = Some("yesterday");
    let canned = Canned::new([dated, wrong, canned::ok(r#"{"StreamDescription":{}}"#)]);
    let source = stream(&canned);
    let arn = StreamArn::new(ARN);
    let time = source.service_time(&arn).await.unwrap();
    assert_eq!(time.to_string(), "1994-11-06T08:49:37.000Z");
    for _ in 0..2 {
        let error = source.service_time(&arn).await.unwrap_err();
        assert!(matches!(error, SourceError::Unavailable(_)), "{error}");
    }
}

#[tokio::test]
async fn a_table_without_a_stream_tells_the_way_out() {
    let with = |arn: &str| canned::ok(&format!(r#"{{"Table":{{"LatestStreamArn":"{arn}"}}}}"#));
    let canned = Canned::new([canned::ok(r#"{"Table":{"TableName":"orders"}}"#), with(ARN)]);
    let source = source(StreamChoice::Table("orders".to_owned()), &canned);
    let error = source.current().await.unwrap_err();
    assert!(matches!(error, SourceError::NoStream(_)));
    assert!(
        error.to_string().contains("update-table --table-name orders"),
        "{error}"
    );
    assert_eq!(source.current().await.unwrap().as_str(), ARN);
}

#[tokio::test]
async fn a_record_crosses_as_the_text_it_was_on_the_wire() {
    let record = r#"{ "dynamodb":{"SequenceNumber":"5","NewImage":{"n":{"N":"1.0e400"},"n":{"X":[ ]}}} }"#;
    let canned = Canned::new([canned::ok(&format!(
        r#"{{"Records":[{record}],"NextShardIterator":"i2"}}"#
    ))]);
    let batch = stream(&canned)
        .records(&StreamArn::new(ARN), &ShardIterator::new("i1"), Ask::ALL)
        .await
        .unwrap();
    assert_eq!(&*batch.records[0].data, record.as_bytes());
    assert_eq!(batch.next, Next::At(ShardIterator::new("i2")));
    assert!(canned.asked()[0].contains(r#""ShardIterator":"i1""#));
}

#[tokio::test]
async fn an_answer_that_takes_more_than_is_asked_for_is_refused() {
    let long = "x".repeat(20_000);
    let answer =
        format!(r#"{{"Records":[{{"dynamodb":{{"SequenceNumber":"5","Keys":{{"k":{{"S":"{long}"}}}}}}}}]}}"#);
    // What the SDK makes of a body is much larger, and reserved too.
    for (wire, takes) in [(Wire::Raw, answer.len()), (Wire::Sdk, 8 * answer.len())] {
        let canned = Canned::new([canned::ok(&answer), canned::ok(&answer)]);
        let source = DynamoDbStreams {
            wire,
            ..stream(&canned)
        };
        for (most, taken) in [(takes - 1, false), (takes, true)] {
            let got = source
                .records(
                    &StreamArn::new(ARN),
                    &ShardIterator::new("i"),
                    Ask { limit: 7, most },
                )
                .await;
            match got {
                Ok(batch) => assert!(taken && batch.records.len() == 1),
                Err(SourceError::TooLarge { needs }) => assert_eq!((taken, needs), (false, takes)),
                Err(other) => panic!("{other}"),
            }
        }
        assert!(canned.asked().iter().all(|asked| asked.contains(r#""Limit":7"#)));
        assert_eq!(source.answer_of(1, answer.len()), takes);
    }
}

#[tokio::test]
async fn each_error_of_the_service_is_the_error_the_reader_acts_on() {
    let page = "<html>Bad Gateway</html>";
    for (answer, class) in [
        (canned::error(400, "ExpiredIteratorException"), "iterator_expired"),
        (canned::error(400, "TrimmedDataAccessException"), "data_trimmed"),
        (canned::error(400, "ResourceNotFoundException"), "not_found"),
        (canned::error(400, "LimitExceededException"), "throttled"),
        (canned::error(400, "ThrottlingException"), "throttled"),
        (canned::error(400, "AccessDeniedException"), "access_denied"),
        (canned::error(400, "ExpiredTokenException"), "access_denied"),
        (canned::error(400, "ValidationException"), "unavailable"),
        (canned::error(500, "InternalServerError"), "unavailable"),
        (canned::answer(502, page), "unavailable"),
        (canned::answer(400, page), "unavailable"),
        (canned::answer(200, page), "unavailable"),
        (canned::answer(200, ""), "unavailable"),
    ] {
        for wire in [Wire::Raw, Wire::Sdk] {
            let error = read(wire, answer.clone()).await.unwrap_err();
            assert_eq!(error.class(), class, "{wire:?}, {answer:?}: {error}");
        }
    }
}

#[tokio::test]
async fn iterators_start_at_the_horizon_or_after_a_record() {
    let canned = Canned::new([
        canned::ok(r#"{"ShardIterator":"i"}"#),
        canned::ok(r#"{"ShardIterator":"i"}"#),
    ]);
    let source = stream(&canned);
    let (arn, shard) = (StreamArn::new(ARN), ShardId::new("s"));
    let after = StartingPosition::After(SequenceNumber::parse("7").unwrap());
    for position in [StartingPosition::TrimHorizon, after] {
        source.iterator(&arn, &shard, &position).await.unwrap();
    }
    let asked = canned.asked();
    assert!(
        asked[0].contains(r#""ShardIteratorType":"TRIM_HORIZON""#) && !asked[0].contains("SequenceNumber\":")
    );
    assert!(asked[1].contains(r#""ShardIteratorType":"AFTER_SEQUENCE_NUMBER""#));
    assert!(asked[1].contains(r#""SequenceNumber":"7""#));
    let at = StartingPosition::AtTimestamp(Timestamp::from_millis(0));
    assert!(source.iterator(&arn, &shard, &at).await.is_err());
}

/// Tokio's clock, which a paused runtime moves on by itself.
struct TokioClock(tokio::time::Instant);

#[async_trait]
impl Clock for TokioClock {
    fn now(&self) -> Monotonic {
        Monotonic::from_origin(self.0.elapsed())
    }
    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(0)
    }
    async fn sleep(&self, d: Duration) {
        #[expect(clippy::disallowed_methods, reason = "a clock of its own")]
        tokio::time::sleep(d).await;
    }
}

/// Once, a call that was given up kept its turn: a hundred shards that ended together, each giving up
/// after a few seconds, pushed the next turn ever further away, and none learned its children.
#[tokio::test(start_paused = true)]
async fn a_call_given_up_before_its_turn_costs_nobody_anything() {
    let clock = Arc::new(TokioClock(tokio::time::Instant::now()));
    let source = DynamoDbStreams {
        clock: clock.clone(),
        ..stream(&Canned::new([]))
    };
    let mut waiting: Vec<_> = (0..100).map(|_| Box::pin(source.pace())).collect();
    // All ask; the first has its turn, and all others give up together.
    for call in &mut waiting {
        let _ = tokio::time::timeout(Duration::ZERO, call.as_mut()).await;
    }
    drop(waiting);
    source.pace().await;
    assert!(clock.now().since_origin() <= PACE, "{:?}", clock.now());
}
