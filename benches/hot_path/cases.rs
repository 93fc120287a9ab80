//! The cases: what is made beforehand, and what is done each time.

use std::hint::black_box;
use std::time::Duration;

use aws_sdk_cloudwatchlogs::config::Region;
use bytes::Bytes;
use tokio::runtime::Runtime;
use weir::clock::{SystemClock, Timestamp};
use weir::config::{StreamChoice, Wire};
use weir::decode::{Content, Decode, DecodeSettings, Origin, aggregate};
use weir::logs::cloudwatch::CloudWatchLogs;
use weir::logs::{LogDestination, LogEvent, LogSink};
use weir::shape::{self, Shape};
use weir::stream::dynamodb::{DynamoDbStreams, wire};
use weir::stream::kinesis::KinesisStream;
use weir::stream::{Ask, Record, ShardId, ShardIterator, StreamArn, StreamSource};

use crate::answers::{self, BodyAlone};
use crate::fixtures;

pub struct Case {
    pub name: &'static str,
    /// How many records, lines or events one time is.
    pub records: u32,
    pub make: fn() -> Work,
}

pub type Work = Box<dyn FnMut()>;

const CHANGES: u32 = 1_000;
const EVENTS: u32 = 1_000;
const LINES: u32 = 100;
const PARTS: u32 = 50;

pub const CASES: [Case; 8] = [
    // A change of 1 KB into Lambda's event record.
    Case {
        name: "change",
        records: 1,
        make: || {
            let body = fixtures::get_records(1);
            let record = wire::batch(&body.into()).unwrap().records.remove(0);
            decoded(record, Decode::Lambda, 1, Content::Change)
        },
    },
    // The answer of a DynamoDB stream, 1,000 changes of 1 KB, into records.
    Case {
        name: "get-records",
        records: CHANGES,
        make: || {
            let config = answers::config(fixtures::get_records(CHANGES).into());
            let tables = aws_sdk_dynamodb::Client::new(&config);
            let streams = aws_sdk_dynamodbstreams::Client::new(&config);
            let arn = StreamArn::new(fixtures::DYNAMODB);
            let choice = StreamChoice::Arn(arn.clone());
            read(
                DynamoDbStreams::new(tables, streams, choice, Wire::Raw, clock()),
                arn,
                CHANGES,
            )
        },
    },
    // The answer of a Kinesis stream, 1,000 records of 1 KB in base64, into records.
    Case {
        name: "kinesis",
        records: CHANGES,
        make: || {
            let config = answers::config(fixtures::kinesis(CHANGES).into());
            let arn = StreamArn::kinesis(fixtures::KINESIS, None);
            let choice = StreamChoice::KinesisArn(arn.clone());
            let client = aws_sdk_kinesis::Client::new(&config);
            let region = "eu-west-1".to_owned();
            read(
                KinesisStream::new(client, choice, region, Wire::Raw, clock()),
                arn,
                CHANGES,
            )
        },
    },
    // The body of a put of 1,000 events of 1 KB.
    Case {
        name: "put",
        records: EVENTS,
        make: put,
    },
    // gzip that holds an envelope of 100 audit lines, into an event a line.
    Case {
        name: "audit",
        records: LINES,
        make: || {
            let data = fixtures::gzip(&fixtures::envelope(LINES));
            decoded(fixtures::record(data), Decode::Audit, LINES, Content::AuditRow)
        },
    },
    // The same envelope, whose messages pass as they are.
    Case {
        name: "subscription",
        records: LINES,
        make: || {
            let data = fixtures::gzip(&fixtures::envelope(LINES));
            decoded(fixtures::record(data), Decode::Auto, LINES, Content::Other)
        },
    },
    // An aggregate of 50 records of 1 KB.
    Case {
        name: "aggregate",
        records: PARTS,
        make: || {
            let record = fixtures::record(fixtures::aggregate(PARTS));
            Box::new(move || {
                let (parts, is_damaged) = aggregate::user_records(black_box(&record));
                assert!(parts.len() == PARTS as usize && !is_damaged);
                black_box(parts);
            })
        },
    },
    // A text of 1 KB.
    Case {
        name: "text",
        records: 1,
        make: || {
            decoded(
                fixtures::record(fixtures::text(0).into_bytes()),
                Decode::Auto,
                1,
                Content::Other,
            )
        },
    },
];

fn clock() -> std::sync::Arc<SystemClock> {
    std::sync::Arc::new(SystemClock)
}

/// What a consumer does with one record: an estimate of its memory, then its events.
fn decoded(record: Record, how: Decode, events: u32, content: Content) -> Work {
    let settings = DecodeSettings::of(how);
    let shape = Shape::default();
    let stream = StreamArn::kinesis(fixtures::KINESIS, Some(1_700_000_000));
    let shard = ShardId::new("shardId-000000000007");
    Box::new(move || {
        let origin = Origin {
            stream: &stream,
            shard: &shard,
        };
        let record = black_box(&record);
        black_box(shape::estimate(record, &settings, &shape));
        let decoded = shape::events(record, origin, &settings, &shape).unwrap();
        assert!(decoded.events.len() == events as usize && decoded.events[0].content == content);
        black_box(decoded);
    })
}

/// One answer of `source`, which holds so many records.
fn read(source: impl StreamSource, stream: StreamArn, records: u32) -> Work {
    let runtime = runtime();
    let iterator = ShardIterator::new("iterator");
    Box::new(move || {
        let batch = runtime
            .block_on(source.records(&stream, &iterator, Ask::ALL))
            .unwrap();
        assert_eq!(batch.records.len(), records as usize);
        black_box(batch);
    })
}

/// Without its signature, whose digest the processor's own instructions make in production and many others here.
fn put() -> Work {
    let config = answers::config(Bytes::new());
    let seen = BodyAlone::default();
    let config = aws_sdk_cloudwatchlogs::config::Builder::from(&config)
        .interceptor(seen.clone())
        .region(Region::from_static("eu-west-1"))
        .build();
    let logs = CloudWatchLogs::new(aws_sdk_cloudwatchlogs::Client::from_conf(config), Wire::Raw);
    let to = LogDestination {
        group: "/weir/orders".to_owned(),
        stream: "shardId-000000000007".to_owned(),
    };
    let events: Vec<LogEvent> = (0..EVENTS)
        .map(|at| LogEvent {
            timestamp: Timestamp::from_millis(1_767_225_600_000 + i64::from(at)),
            message: fixtures::json(at),
        })
        .collect();
    let bytes: usize = events.iter().map(|event| event.message.len()).sum();
    let runtime = runtime();
    Box::new(move || {
        // Refused before it is signed.
        let answer = runtime.block_on(logs.put(&to, &events, Duration::from_secs(5)));
        assert!(answer.is_err() && seen.take() > bytes);
    })
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
}
