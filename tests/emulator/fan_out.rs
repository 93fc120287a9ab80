//! Records of a Kinesis stream, pushed.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::config::timeout::TimeoutConfig;
use weir::aws::Clients;
use weir::clock::{Clock, SystemClock};
use weir::stream::fan_out::FanOut;
use weir::stream::{
    Ask, Next, Ready, RecordBatch, SequenceNumber, ShardId, ShardIterator, SourceError, StartingPosition,
    StreamArn, StreamSource,
};

use crate::emulator::{Emulator, Make};
use crate::kinesis::{active, create, named, pause, put};

const WHICH: [Make; 2] = [Make::Ministack, Make::KinesisLocal];

fn fan_out(clients: &Clients) -> FanOut {
    let apart = clients.clone();
    FanOut::new(
        clients.kinesis.clone(),
        Arc::new(move || apart.kinesis_apart()),
        named(clients, "audit"),
        "weir-audit".to_owned(),
    )
}

/// A stream of one shard, and a reader of it.
struct Reader {
    source: FanOut,
    arn: StreamArn,
    shard: ShardId,
}

impl Reader {
    async fn of(clients: &Clients) -> Self {
        let source = fan_out(clients);
        let arn = source.current().await.unwrap();
        let shard = source.list_shards(&arn).await.unwrap().shards[0].id.clone();
        Self { source, arn, shard }
    }

    /// Subscribes, if need be after a while: as a reader does, which repeats what was refused.
    async fn open(&self, position: &StartingPosition) -> ShardIterator {
        for _ in 0..100 {
            match self.source.iterator(&self.arn, &self.shard, position).await {
                // kinesis-local refuses in the stream.
                Ok(iterator) => match self.source.ready(&self.arn, &iterator).await {
                    Ok(_) => return iterator,
                    Err(SourceError::Throttled(_)) => {}
                    Err(error) => panic!("{error}"),
                },
                Err(SourceError::Throttled(_) | SourceError::Unavailable(_)) => {
                    pause(Duration::from_millis(200)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
        panic!("no subscription");
    }

    /// The next event with records. Also which place the last event named.
    async fn next(
        &self,
        iterator: &ShardIterator,
    ) -> Result<(RecordBatch, Option<SequenceNumber>), SourceError> {
        let until = SystemClock.now() + Duration::from_secs(20);
        while SystemClock.now() < until {
            if self.source.ready(&self.arn, iterator).await? != Ready::No {
                let batch = self.source.records(&self.arn, iterator, Ask::ALL).await?;
                if !batch.records.is_empty() {
                    let place = batch.continuation.clone();
                    return Ok((batch, place));
                }
            }
        }
        panic!("no records come");
    }

    /// Reads so many records, however many events they come in.
    async fn read(&self, iterator: &ShardIterator, count: usize) -> (Vec<String>, Option<SequenceNumber>) {
        let (mut all, mut place) = (Vec::new(), None);
        while all.len() < count {
            let (batch, at) = self.next(iterator).await.unwrap();
            assert_eq!(batch.next, Next::At(iterator.clone()));
            all.extend(
                batch
                    .records
                    .iter()
                    .map(|r| String::from_utf8_lossy(&r.data).into_owned()),
            );
            place = at;
        }
        (all, place)
    }
}

#[tokio::test]
async fn fan_out_pushes_records_and_goes_on_after_the_last_accepted_one() {
    for make in WHICH {
        let emulator = Emulator::start(make).await;
        let clients = emulator.clients().await;
        create(&clients, "audit", 1).await;
        for text in ["one", "two"] {
            put(&clients, "audit", "k", text.as_bytes()).await;
        }
        let reader = Reader::of(&clients).await;
        let iterator = reader.open(&StartingPosition::TrimHorizon).await;
        let (texts, place) = reader.read(&iterator, 2).await;
        assert_eq!(texts, ["one", "two"], "{make:?}");
        let place = place.unwrap_or_else(|| panic!("{make:?} tells no place"));
        // While it waits.
        let (three, pushed) = tokio::join!(put(&clients, "audit", "k", b"three"), reader.read(&iterator, 1));
        assert_eq!(pushed.0, ["three"], "{make:?}");
        assert!(place < three, "{make:?}");
        // One that was handed out and not taken in is read again by the next owner.
        drop(reader);
        let successor = Reader::of(&clients).await;
        let iterator = successor.open(&StartingPosition::After(place)).await;
        assert_eq!(successor.read(&iterator, 1).await.0, ["three"], "{make:?}");
        // The same reader subscribes anew: the old subscription is gone, the new one goes on.
        put(&clients, "audit", "k", b"four").await;
        let again = successor.open(&StartingPosition::After(three.clone())).await;
        let error = successor
            .source
            .ready(&successor.arn, &iterator)
            .await
            .unwrap_err();
        assert!(matches!(error, SourceError::IteratorExpired), "{make:?}: {error}");
        assert_eq!(successor.read(&again, 1).await.0, ["four"], "{make:?}");
        let at = successor.open(&StartingPosition::At(three)).await;
        assert_eq!(successor.read(&at, 2).await.0, ["three", "four"], "{make:?}");
    }
}

#[tokio::test]
async fn a_consumer_deleted_while_it_reads_is_registered_again() {
    let emulator = Emulator::start(Make::Ministack).await;
    let clients = emulator.clients().await;
    create(&clients, "audit", 1).await;
    let reader = Reader::of(&clients).await;
    put(&clients, "audit", "k", b"one").await;
    let iterator = reader.open(&StartingPosition::TrimHorizon).await;
    let (_, place) = reader.read(&iterator, 1).await;
    let request = clients.kinesis.deregister_stream_consumer();
    let request = request
        .stream_arn(reader.arn.service_arn())
        .consumer_name("weir-audit");
    request.send().await.unwrap();
    put(&clients, "audit", "k", b"two").await;
    let error = loop {
        if let Err(error) = reader.next(&iterator).await {
            break error;
        }
    };
    assert!(matches!(error, SourceError::IteratorExpired), "{error}");
    let iterator = reader.open(&StartingPosition::After(place.unwrap())).await;
    assert_eq!(reader.read(&iterator, 1).await.0, ["two"]);
}

/// A request may take 20 seconds, a subscription lives for five minutes.
#[tokio::test]
async fn a_subscription_outlives_the_time_limit_of_a_request() {
    let emulator = Emulator::start(Make::Ministack).await;
    let mut clients = emulator.clients().await;
    let limit = Duration::from_millis(700);
    let timeouts = TimeoutConfig::builder().operation_timeout(limit).build();
    let config = clients.kinesis.config().to_builder().timeout_config(timeouts);
    clients.kinesis = aws_sdk_kinesis::Client::from_conf(config.build());
    create(&clients, "audit", 1).await;
    let reader = Reader::of(&clients).await;
    let iterator = reader.open(&StartingPosition::TrimHorizon).await;
    for n in 0..4 {
        pause(limit).await;
        put(&clients, "audit", "k", format!("{n}").as_bytes()).await;
        assert_eq!(reader.read(&iterator, 1).await.0, [format!("{n}")]);
    }
}

#[tokio::test]
async fn a_stream_deleted_while_it_is_pushed_is_found_out() {
    let emulator = Emulator::start(Make::Ministack).await;
    let clients = emulator.clients().await;
    create(&clients, "audit", 1).await;
    let reader = Reader::of(&clients).await;
    let iterator = reader.open(&StartingPosition::TrimHorizon).await;
    let request = clients.kinesis.delete_stream().stream_name("audit");
    request.enforce_consumer_deletion(true).send().await.unwrap();
    pause(Duration::from_millis(1100)).await;
    create(&clients, "audit", 1).await;
    active(&clients, "audit").await;
    put(&clients, "audit", "k", b"new").await;
    let error = reader.next(&iterator).await.unwrap_err();
    assert!(matches!(error, SourceError::IteratorExpired), "{error}");
    let position = StartingPosition::TrimHorizon;
    let error = reader
        .source
        .iterator(&reader.arn, &reader.shard, &position)
        .await;
    assert!(matches!(error, Err(SourceError::NotFound(_))), "{error:?}");
    let successor = Reader::of(&clients).await;
    assert_ne!(successor.arn, reader.arn);
    let iterator = successor.open(&position).await;
    assert_eq!(successor.read(&iterator, 1).await.0, ["new"]);
}
