use super::*;
use crate::aws::canned::{self, Canned};
use crate::clock::SystemClock;

const ARN: &str = "arn:aws:kinesis:eu-west-1:111122223333:stream/audit";

fn source(choice: StreamChoice, canned: &Canned) -> KinesisStream {
    KinesisStream::new(
        aws_sdk_kinesis::Client::new(&canned.config()),
        choice,
        "eu-west-1".to_owned(),
        Wire::Raw,
        Arc::new(SystemClock),
    )
}

fn stream(canned: &Canned) -> KinesisStream {
    source(StreamChoice::Kinesis("audit".to_owned()), canned)
}

/// The stream as it was created at this second.
fn arn(created: i64) -> StreamArn {
    StreamArn::kinesis(ARN, Some(created))
}

/// A stream that doesn't say when it was created, so that nothing asks for that.
fn plain() -> StreamArn {
    StreamArn::new(ARN)
}

fn summary(status: &str, created: &str) -> canned::Answer {
    canned::ok(&format!(
        r#"{{"StreamDescriptionSummary":{{"StreamName":"audit","StreamARN":"{ARN}","StreamStatus":"{status}",
        "RetentionPeriodHours":24,"StreamCreationTimestamp":{created},"EnhancedMonitoring":[],"OpenShardCount":1}}}}"#
    ))
}

fn parts(shards: &[Shard]) -> Vec<(&str, Vec<&str>, bool)> {
    shards
        .iter()
        .map(|s| {
            (
                s.id.as_str(),
                s.parents.iter().map(ShardId::as_str).collect(),
                s.closed,
            )
        })
        .collect()
}

const RANGE: &str = r#""HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"9"}"#;

#[tokio::test]
async fn a_stream_is_its_arn_and_the_second_of_its_creation() {
    let canned = Canned::new([
        summary("ACTIVE", "1700000000.75"),
        summary("UPDATING", "1700000000.75"),
    ]);
    let by_name = stream(&canned);
    assert_eq!(by_name.retention(), None, "nothing was asked");
    assert_eq!(by_name.current().await.unwrap(), arn(1_700_000_000));
    assert_eq!(by_name.retention(), Some(Duration::from_secs(24 * 3600)));
    let by_arn = source(StreamChoice::KinesisArn(plain()), &canned);
    assert_eq!(by_arn.streams().await.unwrap(), [arn(1_700_000_000)]);
    let asked = canned.asked();
    assert_eq!(asked[0], r#"{"StreamName":"audit"}"#);
    assert_eq!(asked[1], format!(r#"{{"StreamARN":"{ARN}"}}"#));
}

#[tokio::test]
async fn a_stream_that_comes_or_goes_is_none_yet_or_no_more() {
    for (answer, class, word) in [
        (summary("DELETING", "1"), "no_stream", "deleted"),
        (summary("CREATING", "1"), "no_stream", "created"),
        (
            canned::error(400, "ResourceNotFoundException"),
            "not_found",
            "check its name",
        ),
    ] {
        let error = stream(&Canned::new([answer])).current().await.unwrap_err();
        assert_eq!(error.class(), class);
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[tokio::test]
async fn a_listing_goes_through_all_pages_by_the_token_alone() {
    let canned = Canned::new([
        canned::ok(&format!(
            r#"{{"NextToken":"t1","Shards":[
            {{"ShardId":"a",{RANGE},"SequenceNumberRange":{{"StartingSequenceNumber":"1","EndingSequenceNumber":"9"}}}},
            {{"ShardId":"b",{RANGE},"ParentShardId":null,"SequenceNumberRange":{{"StartingSequenceNumber":"1","EndingSequenceNumber":null}}}}]}}"#
        )),
        canned::error(400, "LimitExceededException"),
        canned::ok(&format!(
            r#"{{"Shards":[
            {{"ShardId":"b",{RANGE},"SequenceNumberRange":{{"StartingSequenceNumber":"1","EndingSequenceNumber":"9223372036854775807"}}}},
            {{"ShardId":"c",{RANGE},"ParentShardId":"a","AdjacentParentShardId":"b","SequenceNumberRange":{{"StartingSequenceNumber":"10"}}}}]}}"#
        )),
        summary("ACTIVE", "7"),
    ]);
    let listing = stream(&canned).list_shards(&arn(7)).await.unwrap();
    assert_eq!(
        parts(&listing.shards),
        [
            ("a", vec![], true),
            ("b", vec![], true),
            ("c", vec!["a", "b"], false)
        ]
    );
    assert!(!listing.disabled);
    let range = listing.shards[2].hash_range.as_ref().unwrap();
    assert_eq!((&*range.starting, &*range.ending), ("0", "9"));
    let asked = canned.asked();
    assert_eq!(asked[0], format!(r#"{{"StreamARN":"{ARN}"}}"#));
    assert_eq!(asked[1], r#"{"NextToken":"t1"}"#, "asked again");
    assert_eq!(asked[2], asked[1]);
}

#[tokio::test]
async fn a_listing_whose_token_expired_starts_over() {
    let page = |id: &str, token: &str| {
        canned::ok(&format!(
            r#"{{{token}"Shards":[{{"ShardId":"{id}",{RANGE},"SequenceNumberRange":{{"StartingSequenceNumber":"1"}}}}]}}"#
        ))
    };
    let expired = || canned::error(400, "ExpiredNextTokenException");
    let canned = Canned::new([
        page("gone", r#""NextToken":"t1","#),
        expired(),
        page("a", r#""NextToken":"t1","#),
        page("b", ""),
    ]);
    let listing = stream(&canned).list_shards(&plain()).await.unwrap();
    assert_eq!(
        parts(&listing.shards),
        [("a", vec![], false), ("b", vec![], false)]
    );
    let canned = Canned::new((0..LISTINGS).flat_map(|_| [page("a", r#""NextToken":"t","#), expired()]));
    let error = stream(&canned).list_shards(&plain()).await.unwrap_err();
    assert!(matches!(error, SourceError::Unavailable(_)), "{error}");
}

#[tokio::test]
async fn a_listing_in_circles_ends_with_an_error() {
    let page = canned::ok(r#"{"NextToken":"t","Shards":[]}"#);
    let canned = Canned::new([page.clone(), page]);
    let error = stream(&canned).list_shards(&plain()).await.unwrap_err();
    assert!(error.to_string().contains("circles"), "{error}");
}

/// What stands between may answer anything.
#[tokio::test]
async fn an_answer_that_says_nothing_is_no_answer() {
    for body in ["{}", r#"{"Shards":null}"#, r#"{"StreamDescriptionSummary":{}}"#] {
        let canned = Canned::new([canned::ok(body), canned::ok(body)]);
        let source = stream(&canned);
        let error = source.list_shards(&plain()).await.unwrap_err();
        assert!(matches!(error, SourceError::Unavailable(_)), "{error}");
        let error = source.current().await.unwrap_err();
        assert!(matches!(error, SourceError::Unavailable(_)), "{error}");
    }
}

#[tokio::test]
async fn children_are_those_that_name_the_parent() {
    let shard = |id: &str, parents: &str| {
        format!(
            r#"{{"ShardId":"{id}",{parents}{RANGE},"SequenceNumberRange":{{"StartingSequenceNumber":"1"}}}}"#
        )
    };
    let canned = Canned::new([canned::ok(&format!(
        r#"{{"Shards":[{},{},{},{}]}}"#,
        shard("a", ""),
        shard("b", r#""ParentShardId":"a","#),
        shard("c", r#""ParentShardId":"x","AdjacentParentShardId":"a","#),
        shard("d", r#""ParentShardId":"b","#),
    ))]);
    let children = stream(&canned)
        .child_shards(&plain(), &ShardId::new("a"))
        .await
        .unwrap();
    assert_eq!(
        parts(&children),
        [("b", vec!["a"], false), ("c", vec!["x", "a"], false)]
    );
    assert!(canned.asked()[0].contains(r#""ShardFilter":{"Type":"AFTER_SHARD_ID","ShardId":"a"}"#));
}

/// The stream was deleted and created again: it has the same ARN and the same shards.
#[tokio::test]
async fn a_stream_that_was_created_again_is_another() {
    let shards = || {
        canned::ok(&format!(
            r#"{{"Shards":[{{"ShardId":"a",{RANGE},"SequenceNumberRange":{{"StartingSequenceNumber":"1"}}}}]}}"#
        ))
    };
    let shard = ShardId::new("a");
    // Each of these learns it from the service…
    let canned = Canned::new([shards(), summary("ACTIVE", "9")]);
    let error = stream(&canned).list_shards(&arn(7)).await.unwrap_err();
    assert!(matches!(error, SourceError::NotFound(_)), "{error}");
    for position in [
        StartingPosition::TrimHorizon,
        StartingPosition::AtTimestamp(Timestamp::from_millis(0)),
    ] {
        let canned = Canned::new([summary("ACTIVE", "9")]);
        let error = stream(&canned)
            .iterator(&arn(7), &shard, &position)
            .await
            .unwrap_err();
        assert!(matches!(error, SourceError::NotFound(_)), "{error}");
    }
    let after = StartingPosition::After(SequenceNumber::parse("7").unwrap());
    let canned = Canned::new([
        canned::error(400, "InvalidArgumentException"),
        summary("ACTIVE", "9"),
    ]);
    let source = stream(&canned);
    let error = source.iterator(&arn(7), &shard, &after).await.unwrap_err();
    assert!(matches!(error, SourceError::NotFound(_)), "{error}");
    // … and then knows it, without a request.
    let i = ShardIterator::new("i");
    for error in [
        source.list_shards(&arn(7)).await.unwrap_err(),
        source.child_shards(&arn(7), &shard).await.unwrap_err(),
        source.records(&arn(7), &i, Ask::ALL).await.unwrap_err(),
        source.service_time(&arn(7)).await.unwrap_err(),
    ] {
        assert!(matches!(error, SourceError::NotFound(_)), "{error}");
    }
    assert_eq!(canned.asked().len(), 2);
    // One that is younger than what is known is asked for: another worker saw it first.
    let canned = Canned::new([summary("ACTIVE", "7"), shards(), summary("ACTIVE", "9")]);
    let source = stream(&canned);
    source.current().await.unwrap();
    assert_eq!(source.list_shards(&arn(9)).await.unwrap().shards.len(), 1);
    // And one that doesn't say which it is, is the one that is there.
    assert!(source.check(&plain()).is_ok());
}

#[tokio::test]
async fn a_position_of_another_stream_is_told_with_the_way_out() {
    let body = r#"{"__type":"InvalidArgumentException","message":"StartingSequenceNumber 7 used in GetShardIterator on shard a in stream audit under account 111122223333 is invalid because it did not come from this stream."}"#;
    let canned = Canned::new([canned::answer(400, body), summary("ACTIVE", "7")]);
    let after = StartingPosition::After(SequenceNumber::parse("7").unwrap());
    let error = stream(&canned)
        .iterator(&arn(7), &ShardId::new("a"), &after)
        .await
        .unwrap_err();
    assert!(matches!(error, SourceError::NotFound(_)), "{error}");
    assert!(error.to_string().contains("leases set"), "{error}");
}

#[tokio::test]
async fn the_service_time_is_the_date_of_the_answer() {
    let mut dated = canned::ok(r#"{"Shards":[]}"#);
    dated.date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
    let mut wrong = dated.clone();
    wrong.date = Some("yesterday");
    let canned = Canned::new([dated, wrong, canned::ok(r#"{"Shards":[]}"#)]);
    let source = stream(&canned);
    let time = source.service_time(&plain()).await.unwrap();
    assert_eq!(time.to_string(), "1994-11-06T08:49:37.000Z");
    for _ in 0..2 {
        let error = source.service_time(&plain()).await.unwrap_err();
        assert!(matches!(error, SourceError::Unavailable(_)), "{error}");
    }
}

#[tokio::test]
async fn a_record_crosses_as_its_bytes() {
    let canned = Canned::new([canned::ok(
        r#"{"MillisBehindLatest":1500,"NextShardIterator":"i2","Records":[
        {"SequenceNumber":"5","Data":"AP8K","PartitionKey":"k","ApproximateArrivalTimestamp":1459799926.123},
        {"SequenceNumber":"6","Data":"","PartitionKey":null,"ApproximateArrivalTimestamp":1.4597999265E9},
        {"SequenceNumber":"7","Data":"AA=="}]}"#,
    )]);
    let batch = stream(&canned)
        .records(&plain(), &ShardIterator::new("i1"), Ask::ALL)
        .await
        .unwrap();
    let seen: Vec<_> = batch
        .records
        .iter()
        .map(|r| {
            (
                r.sequence_number.as_str(),
                r.data.to_vec(),
                r.partition_key.as_deref(),
                r.time.map(Timestamp::millis),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("5", vec![0, 255, 10], Some("k"), Some(1_459_799_926_123)),
            ("6", vec![], None, Some(1_459_799_926_500)),
            ("7", vec![0], None, None),
        ]
    );
    assert_eq!(batch.behind, Some(Duration::from_millis(1500)));
    assert_eq!(batch.next, Next::At(ShardIterator::new("i2")));
    assert_eq!(batch.continuation, None);
    let asked = &canned.asked()[0];
    assert!(asked.contains(r#""ShardIterator":"i1""#) && asked.contains(r#""Limit":10000"#));
}

/// The time is a binary fraction of seconds on its way.
#[test]
fn no_millisecond_is_lost() {
    for millis in 0..1000 {
        let seconds = format!("1459799926.{millis:03}").parse().unwrap();
        let time = timestamp(&DateTime::from_secs_f64(seconds));
        assert_eq!(time.millis(), 1_459_799_926_000 + millis);
    }
}

#[tokio::test]
async fn only_children_show_that_a_shard_has_ended() {
    let range = r#""HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"9"}"#;
    for (children, next) in [
        (
            format!(r#","ChildShards":[{{"ShardId":"b","ParentShards":["a"],{range}}}]"#),
            Next::End,
        ),
        (r#","ChildShards":[]"#.to_owned(), Next::PerhapsEnd),
        (r#","ChildShards":null"#.to_owned(), Next::PerhapsEnd),
        (String::new(), Next::PerhapsEnd),
    ] {
        let canned = Canned::new([canned::ok(&format!(
            r#"{{"Records":[],"NextShardIterator":null{children}}}"#
        ))]);
        let batch = stream(&canned)
            .records(&plain(), &ShardIterator::new("i"), Ask::ALL)
            .await
            .unwrap();
        assert_eq!(batch.next, next, "{children}");
    }
}

#[tokio::test]
async fn each_error_of_the_service_is_the_error_the_reader_acts_on() {
    let page = "<html>Bad Gateway</html>";
    for (answer, class) in [
        (canned::error(400, "ExpiredIteratorException"), "iterator_expired"),
        (canned::error(400, "ResourceNotFoundException"), "not_found"),
        (
            canned::error(400, "ProvisionedThroughputExceededException"),
            "throttled",
        ),
        (canned::error(400, "LimitExceededException"), "throttled"),
        (canned::error(400, "KMSThrottlingException"), "throttled"),
        (canned::error(400, "AccessDeniedException"), "access_denied"),
        (canned::error(400, "ExpiredTokenException"), "access_denied"),
        (canned::error(400, "KMSDisabledException"), "access_denied"),
        (canned::error(400, "KMSInvalidStateException"), "access_denied"),
        (canned::error(400, "KMSAccessDeniedException"), "access_denied"),
        (canned::error(400, "KMSNotFoundException"), "access_denied"),
        (canned::error(400, "KMSOptInRequired"), "access_denied"),
        (canned::error(400, "InvalidArgumentException"), "unavailable"),
        (canned::error(400, "ResourceInUseException"), "unavailable"),
        (canned::error(500, "InternalFailureException"), "unavailable"),
        (canned::answer(500, ""), "unavailable"),
        (canned::answer(502, page), "unavailable"),
        (canned::answer(200, page), "unavailable"),
        (
            canned::ok(r#"{"Records":[{"SequenceNumber":"x","Data":""}]}"#),
            "unavailable",
        ),
    ] {
        let error = stream(&Canned::new([answer.clone()]))
            .records(&plain(), &ShardIterator::new("i"), Ask::ALL)
            .await
            .unwrap_err();
        assert_eq!(error.class(), class, "{answer:?}: {error}");
    }
}

#[tokio::test]
async fn a_problem_of_the_key_is_told_with_its_way_out() {
    for (code, way_out) in [
        ("KMSDisabledException", "enable the stream's KMS key"),
        ("KMSAccessDeniedException", "kms:Decrypt"),
        ("KMSInvalidStateException", "cancel its deletion"),
        ("KMSNotFoundException", "not there"),
        ("KMSOptInRequired", "activate"),
        ("KMSSomethingNew", "look after"),
    ] {
        let error = stream(&Canned::new([canned::error(400, code)]))
            .records(&plain(), &ShardIterator::new("i"), Ask::ALL)
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(way_out) && text.contains(code) && text.contains(ARN),
            "{text}"
        );
    }
}

#[tokio::test]
async fn an_iterator_starts_at_any_position() {
    let seven = SequenceNumber::parse("7").unwrap();
    let positions = [
        (StartingPosition::TrimHorizon, r#""TRIM_HORIZON""#),
        (StartingPosition::Latest, r#""LATEST""#),
        (
            StartingPosition::AtTimestamp(Timestamp::from_millis(1_459_799_926_480)),
            r#""AT_TIMESTAMP","Timestamp":1459799926.48"#,
        ),
        (
            StartingPosition::At(seven.clone()),
            r#""AT_SEQUENCE_NUMBER","StartingSequenceNumber":"7""#,
        ),
        (
            StartingPosition::After(seven),
            r#""AFTER_SEQUENCE_NUMBER","StartingSequenceNumber":"7""#,
        ),
    ];
    let canned = Canned::new(positions.iter().map(|_| canned::ok(r#"{"ShardIterator":"i"}"#)));
    let source = stream(&canned);
    for (at, (position, wire)) in positions.iter().enumerate() {
        source
            .iterator(&plain(), &ShardId::new("a"), position)
            .await
            .unwrap();
        let asked = &canned.asked()[at];
        assert!(
            asked.contains(&format!(r#""ShardIteratorType":{wire}"#)),
            "{asked}"
        );
    }
}

#[test]
fn reads_keep_to_the_limits_of_a_shard() {
    let ms = Duration::from_millis;
    let poll = |busy, idle| Poll {
        busy: ms(busy),
        idle: ms(idle),
    };
    for (poll, records, bytes, wait) in [
        // Five calls a second, whatever is set.
        (poll(0, 0), 1, 100, ms(200)),
        (poll(0, 0), 0, 0, ms(200)),
        (poll(0, 1000), 0, 0, ms(1000)),
        (poll(300, 1000), 1, 100, ms(300)),
        // 2 MB a second.
        (poll(0, 1000), 9, 400_000, ms(200)),
        (poll(0, 1000), 9, 1_000_000, ms(500)),
        // Calls in the five seconds after an answer of 10 MB are throttled.
        (poll(0, 1000), 9, 10_000_000, ms(5000)),
        (poll(6000, 1000), 9, 10_000_000, ms(6000)),
    ] {
        assert_eq!(
            wait_after(poll, records, bytes),
            wait,
            "{poll:?} {records} {bytes}"
        );
    }
}

#[tokio::test]
async fn an_answer_that_takes_more_than_is_asked_for_is_refused() {
    let data = "eHh4".repeat(10_000);
    let answer =
        format!(r#"{{"Records":[{{"SequenceNumber":"5","Data":"{data}"}}],"NextShardIterator":"i"}}"#);
    let canned = Canned::new([canned::ok(&answer), canned::ok(&answer)]);
    let source = stream(&canned);
    // The JSON, and the data in it.
    let takes = answer.len() + answer.len() / 4 * 3;
    for (most, taken) in [(takes - 7, false), (takes + 7, true)] {
        let got = source
            .records(&plain(), &ShardIterator::new("i"), Ask { limit: 7, most })
            .await;
        match got {
            Ok(batch) => assert!(taken && batch.records[0].data.len() == 30_000),
            Err(SourceError::TooLarge { needs }) => assert_eq!((taken, needs), (false, takes)),
            Err(other) => panic!("{other}"),
        }
    }
    assert!(canned.asked().iter().all(|asked| asked.contains(r#""Limit":7"#)));
}
