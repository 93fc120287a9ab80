//! Kinesis Data Streams as a [`StreamSource`], pushed: enhanced fan-out.
//!
//! Owns the registered consumer and the open subscriptions, one for each shard that is read. Must never keep a
//! position: a subscription that ended is opened anew from where its reader is. Lists through the polling
//! adapter; `app` makes one for each pipeline.
//!
//! A [`ShardIterator`] of this source is the name of an open subscription, and stays the same while it lives.
//! It lives for five minutes (API reference of SubscribeToShard); then the reader is told that its iterator
//! expired. What was pushed waits here until the reader asks, one event at a time: the rest waits in the
//! connection, and behind that in the service.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_kinesis::primitives::event_stream::EventReceiver;
use aws_sdk_kinesis::types::error::SubscribeToShardEventStreamError as InStreamError;
use aws_sdk_kinesis::types::{
    ConsumerStatus, ShardIteratorType, StartingPosition as SdkPosition, SubscribeToShardEventStream as Event,
};
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::DateTime;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_smithy_types::event_stream::RawMessage;

use super::kinesis::refusal::{is, source_error};
use super::kinesis::{KinesisStream, LARGEST_ANSWER, millis, records_of};
use crate::aws::failure::{Failure, failure, refusal};
use crate::clock::{Clock, Monotonic, Timestamp, timeout};
use crate::stream::{
    Ask, Next, Poll, Ready, RecordBatch, SequenceNumber, Shard, ShardId, ShardIterator, ShardListing,
    SourceError, StartingPosition, StreamArn, StreamSource,
};

/// How long a reader waits for an event before it looks after other things.
const WAIT: Duration = Duration::from_secs(1);
/// A subscription that nothing is heard of for so long is dead: the service sends an event every five seconds,
/// an empty one where there is no record. KCL's figure (its `FanOutRecordsPublisher` and `ShardConsumer`).
const SILENCE: Duration = Duration::from_secs(35);
/// A subscription that nobody asks for an event so long is of a shard that is read no more.
const UNUSED: Duration = Duration::from_secs(40);
/// SubscribeToShard may be called once a second for a consumer and shard; after a call that succeeded, one
/// within five seconds is refused with ResourceInUseException (API reference of SubscribeToShard).
const CALL_PACE: Duration = Duration::from_secs(1);
const SUBSCRIBE_PACE: Duration = Duration::from_secs(5);
/// The answer to SubscribeToShard, its first message included, for which the SDK has no time-out. The SDK's own
/// time-out ends with the answer's head, so that it never cuts the events off.
const ANSWER: Duration = Duration::from_secs(10);
/// A consumer that was registered takes a few seconds until it can be used. One call waits so long for it…
const ACTIVATION: Duration = Duration::from_secs(4);
/// … and asks so often.
const ACTIVATION_PACE: Duration = Duration::from_millis(500);

type Events = EventReceiver<Event, InStreamError>;

/// Makes a client with connections of its own.
pub type Apart = Arc<dyn Fn() -> aws_sdk_kinesis::Client + Send + Sync>;

/// One stream, pushed to one registered consumer.
pub struct FanOut {
    kinesis: aws_sdk_kinesis::Client,
    /// For each subscription: one whose events wait for their reader would stop the others on its connection.
    apart: Apart,
    polling: KinesisStream,
    /// The consumer's name.
    consumer: String,
    clock: Arc<dyn Clock>,
    /// The stream and the consumer's ARN, once it is known to be there. Held by whoever finds it out.
    registered: tokio::sync::Mutex<Option<(StreamArn, String)>>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    subscriptions: HashMap<ShardIterator, Subscription>,
    /// When SubscribeToShard may be called next for a shard.
    next_call: HashMap<ShardId, Monotonic>,
    made: u64,
}

struct Subscription {
    shard: ShardId,
    /// When its reader last asked for an event.
    asked: Monotonic,
    feed: Arc<tokio::sync::Mutex<Feed>>,
}

struct Feed {
    events: Events,
    /// Kept as long as its connection is used.
    _client: aws_sdk_kinesis::Client,
    /// What came and was not asked for yet.
    next: Option<Result<RecordBatch, SourceError>>,
    /// When something came last.
    heard: Monotonic,
}

impl FanOut {
    pub fn new(
        kinesis: aws_sdk_kinesis::Client,
        apart: Apart,
        polling: KinesisStream,
        consumer: String,
    ) -> Self {
        Self {
            kinesis,
            apart,
            clock: polling.clock.clone(),
            polling,
            consumer,
            registered: tokio::sync::Mutex::new(None),
            open: Mutex::default(),
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ARN of the consumer, which is registered if it is not there. One stream's: a stream that was created
    /// again has none of the old one's consumers.
    async fn consumer_arn(&self, stream: &StreamArn) -> Result<String, SourceError> {
        let mut registered = self.registered.lock().await;
        if let Some((of, arn)) = &*registered
            && of == stream
        {
            return Ok(arn.clone());
        }
        let until = self.clock.now() + ACTIVATION;
        let (arn, status) = loop {
            let (arn, status) = match self.describe_consumer(stream).await? {
                Some(found) => found,
                None => self.register(stream).await?,
            };
            if status == ConsumerStatus::Active || self.clock.now() >= until {
                break (arn, status);
            }
            self.clock.sleep(ACTIVATION_PACE).await;
        };
        if status != ConsumerStatus::Active {
            return Err(SourceError::Unavailable(format!(
                "the consumer {} of {} is {status}: it is used as soon as it is ACTIVE",
                self.consumer,
                stream.service_arn()
            )));
        }
        // It was asked for by the stream's name. From here on its ARN, which holds the time of its creation,
        // keeps a subscription from being one to another stream.
        self.polling.confirm_now(stream).await?;
        *registered = Some((stream.clone(), arn.clone()));
        Ok(arn)
    }

    /// Asked before it is registered, since it is there but once.
    async fn describe_consumer(
        &self,
        stream: &StreamArn,
    ) -> Result<Option<(String, ConsumerStatus)>, SourceError> {
        let answer = self
            .kinesis
            .describe_stream_consumer()
            .stream_arn(stream.service_arn())
            .consumer_name(&self.consumer)
            .send()
            .await;
        match answer {
            Ok(answer) => Ok(answer
                .consumer_description
                .map(|consumer| (consumer.consumer_arn, consumer.consumer_status))),
            Err(error) => match failure(&error) {
                // The consumer or its stream; which of them, the registration tells.
                failure if is(&failure, "ResourceNotFoundException") => Ok(None),
                failure => Err(source_error(
                    "kinesis:DescribeStreamConsumer",
                    &failure,
                    &self.what(stream),
                )),
            },
        }
    }

    async fn register(&self, stream: &StreamArn) -> Result<(String, ConsumerStatus), SourceError> {
        let answer = self
            .kinesis
            .register_stream_consumer()
            .stream_arn(stream.service_arn())
            .consumer_name(&self.consumer)
            .send()
            .await;
        match answer {
            Ok(answer) => match answer.consumer {
                Some(consumer) => {
                    tracing::info!(consumer = %self.consumer, stream = %stream, "registered a consumer for enhanced fan-out");
                    Ok((consumer.consumer_arn, consumer.consumer_status))
                }
                None => Err(SourceError::Unavailable(
                    "the answer to RegisterStreamConsumer holds no consumer".to_owned(),
                )),
            },
            Err(error) => match failure(&error) {
                // Another worker was faster. Not ACTIVE as far as this one knows: it is asked for again.
                failure if is(&failure, "ResourceInUseException") => {
                    Ok((String::new(), ConsumerStatus::Creating))
                }
                Failure::Throttled(text) if text.starts_with("LimitExceededException") => {
                    Err(SourceError::Throttled(format!(
                        "{}: {text}. A stream has 20 registered consumers at most: remove one that nobody uses \
                         (aws kinesis list-stream-consumers, deregister-stream-consumer), or read this stream \
                         without fan-out",
                        self.what(stream)
                    )))
                }
                failure => Err(source_error(
                    "kinesis:RegisterStreamConsumer",
                    &failure,
                    &self.what(stream),
                )),
            },
        }
    }

    fn what(&self, stream: &StreamArn) -> String {
        format!("the consumer {} of {}", self.consumer, stream.service_arn())
    }

    /// Waits until SubscribeToShard may be called for the shard.
    async fn pace(&self, shard: &ShardId) {
        let now = self.clock.now();
        let wait = {
            let mut open = self.open();
            open.next_call.retain(|_, next| *next > now);
            open.next_call
                .get(shard)
                .map_or(Duration::ZERO, |next| next.since(now))
        };
        if !wait.is_zero() {
            self.clock.sleep(wait).await;
        }
        let next = self.clock.now() + CALL_PACE;
        self.open().next_call.insert(shard.clone(), next);
    }

    async fn subscribe(
        &self,
        consumer: &str,
        shard: &ShardId,
        position: &StartingPosition,
    ) -> Result<(Events, aws_sdk_kinesis::Client), Failure> {
        let (kind, sequence_number, timestamp) = match position {
            StartingPosition::TrimHorizon => (ShardIteratorType::TrimHorizon, None, None),
            StartingPosition::Latest => (ShardIteratorType::Latest, None, None),
            StartingPosition::AtTimestamp(time) => (
                ShardIteratorType::AtTimestamp,
                None,
                Some(DateTime::from_millis(time.millis())),
            ),
            StartingPosition::At(at) => (ShardIteratorType::AtSequenceNumber, Some(at), None),
            StartingPosition::After(after) => (ShardIteratorType::AfterSequenceNumber, Some(after), None),
        };
        let position = SdkPosition::builder()
            .r#type(kind)
            .set_sequence_number(sequence_number.map(ToString::to_string))
            .set_timestamp(timestamp)
            .build()
            .map_err(|e| Failure::Unavailable(e.to_string()))?;
        self.pace(shard).await;
        let client = (self.apart)();
        let asked = client
            .subscribe_to_shard()
            .consumer_arn(consumer)
            .shard_id(shard.as_str())
            .starting_position(position)
            .send();
        match timeout(&*self.clock, ANSWER, asked).await {
            Ok(Ok(answer)) => {
                let next = self.clock.now() + SUBSCRIBE_PACE;
                self.open().next_call.insert(shard.clone(), next);
                Ok((answer.event_stream, client))
            }
            Ok(Err(error)) => Err(failure(&error)),
            Err(_) => Err(Failure::Unanswered(format!(
                "no answer to SubscribeToShard within {ANSWER:?}"
            ))),
        }
    }

    /// The subscription's feed, marked as used. Also drops those that nobody uses any more.
    fn feed(&self, iterator: &ShardIterator) -> Result<Arc<tokio::sync::Mutex<Feed>>, SourceError> {
        let now = self.clock.now();
        let mut open = self.open();
        let found = open.subscriptions.get_mut(iterator).map(|subscription| {
            subscription.asked = now;
            subscription.feed.clone()
        });
        open.subscriptions
            .retain(|_, subscription| now.since(subscription.asked) <= UNUSED);
        found.ok_or(SourceError::IteratorExpired)
    }

    /// Waits for the next event, unless one is there. Dropping this loses nothing: an event that has come in
    /// parts stays with the receiver.
    async fn peek(&self, feed: &mut Feed, stream: &StreamArn, token: &ShardIterator, limit: Duration) {
        if feed.next.is_some() {
            return;
        }
        match timeout(&*self.clock, limit, feed.events.recv()).await {
            Ok(event) => {
                feed.heard = self.clock.now();
                feed.next = Some(self.read(event, stream, token));
            }
            Err(_) if self.clock.now().since(feed.heard) > SILENCE => {
                let silent = format!(
                    "nothing was heard on the subscription for {SILENCE:?}: does a proxy between hold the answers back?"
                );
                feed.next = Some(Err(SourceError::Unavailable(silent)));
            }
            Err(_) => {}
        }
    }

    /// What came, as an answer. An error is the end of the subscription.
    fn read(
        &self,
        event: Result<Option<Event>, SdkError<InStreamError, RawMessage>>,
        stream: &StreamArn,
        token: &ShardIterator,
    ) -> Result<RecordBatch, SourceError> {
        match event {
            Ok(Some(Event::SubscribeToShardEvent(event))) => {
                let ended = event.child_shards.is_some_and(|children| !children.is_empty());
                Ok(RecordBatch {
                    records: records_of(event.records)?,
                    next: if ended { Next::End } else { Next::At(token.clone()) },
                    behind: Some(millis(event.millis_behind_latest)),
                    continuation: SequenceNumber::parse(&event.continuation_sequence_number),
                })
            }
            // A kind of event that this SDK doesn't know.
            Ok(Some(_)) => Ok(nothing(token)),
            // The five minutes are over.
            Ok(None) => Err(SourceError::IteratorExpired),
            Err(SdkError::ServiceError(told)) => {
                let message = told.err().message().unwrap_or_default();
                // There is no status, and an exception in the stream is no success.
                let failure = refusal(400, code(told.err()), message);
                Err(self.ended(&failure, stream))
            }
            Err(error) => {
                tracing::debug!(stream = %stream, %error, "the subscription broke off");
                Err(SourceError::IteratorExpired)
            }
        }
    }

    /// What it means that the service ends a subscription with an exception, or refuses one.
    fn ended(&self, failure: &Failure, stream: &StreamArn) -> SourceError {
        if is(failure, "ResourceInUseException") {
            return SourceError::Throttled(format!(
                "{}: {failure}. A shard is pushed to one subscription of a consumer: does anything else read with \
                 this consumer?",
                self.what(stream)
            ));
        }
        // The next subscription finds out whether it is the consumer or the stream.
        if is(failure, "ResourceNotFoundException") {
            return SourceError::IteratorExpired;
        }
        source_error("kinesis:SubscribeToShard", failure, &self.what(stream))
    }

    /// Takes what was peeked. The end of a subscription, or of its shard, closes it.
    fn take(&self, feed: &mut Feed, iterator: &ShardIterator) -> Option<Result<RecordBatch, SourceError>> {
        let next = feed.next.take()?;
        if !matches!(&next, Ok(batch) if matches!(batch.next, Next::At(_))) {
            self.open().subscriptions.remove(iterator);
        }
        Some(next)
    }
}

#[async_trait]
impl StreamSource for FanOut {
    async fn current(&self) -> Result<StreamArn, SourceError> {
        self.polling.current().await
    }

    async fn streams(&self) -> Result<Vec<StreamArn>, SourceError> {
        self.polling.streams().await
    }

    async fn service_time(&self, stream: &StreamArn) -> Result<Timestamp, SourceError> {
        self.polling.service_time(stream).await
    }

    async fn list_shards(&self, stream: &StreamArn) -> Result<ShardListing, SourceError> {
        self.polling.list_shards(stream).await
    }

    async fn child_shards(&self, stream: &StreamArn, parent: &ShardId) -> Result<Vec<Shard>, SourceError> {
        self.polling.child_shards(stream, parent).await
    }

    /// Opens a subscription at `position`. It replaces the shard's last one.
    async fn iterator(
        &self,
        stream: &StreamArn,
        shard: &ShardId,
        position: &StartingPosition,
    ) -> Result<ShardIterator, SourceError> {
        self.polling.check(stream)?;
        let now = self.clock.now();
        self.open().subscriptions.retain(|_, subscription| {
            subscription.shard != *shard && now.since(subscription.asked) <= UNUSED
        });
        let what = format!("{shard} of {}", stream.service_arn());
        let mut registered_again = false;
        let (events, client) = loop {
            let consumer = self.consumer_arn(stream).await?;
            match self.subscribe(&consumer, shard, position).await {
                Ok(subscribed) => break subscribed,
                // The consumer was deleted, or its stream, or the shard is gone.
                Err(failure) if is(&failure, "ResourceNotFoundException") => {
                    let mut registered = self.registered.lock().await;
                    if registered.as_ref().is_some_and(|(_, arn)| *arn == consumer) {
                        *registered = None;
                    }
                    if registered_again {
                        return Err(source_error("kinesis:SubscribeToShard", &failure, &what));
                    }
                    registered_again = true;
                }
                Err(failure) if is(&failure, "InvalidArgumentException") => {
                    return Err(self
                        .polling
                        .refused("kinesis:SubscribeToShard", stream, &what, &failure)
                        .await);
                }
                Err(failure) => return Err(self.ended(&failure, stream)),
            }
        };
        let now = self.clock.now();
        let mut open = self.open();
        open.made += 1;
        let token = ShardIterator::new(format!("{shard}/{}", open.made));
        let feed = Feed {
            events,
            _client: client,
            next: None,
            heard: now,
        };
        let subscription = Subscription {
            shard: shard.clone(),
            asked: now,
            feed: Arc::new(tokio::sync::Mutex::new(feed)),
        };
        open.subscriptions.insert(token.clone(), subscription);
        Ok(token)
    }

    /// The event that has come, as large as it is, or an empty answer.
    async fn records(
        &self,
        stream: &StreamArn,
        iterator: &ShardIterator,
        _: Ask,
    ) -> Result<RecordBatch, SourceError> {
        let feed = self.feed(iterator)?;
        let mut feed = feed.lock().await;
        self.peek(&mut feed, stream, iterator, Duration::ZERO).await;
        self.take(&mut feed, iterator)
            .unwrap_or_else(|| Ok(nothing(iterator)))
    }

    async fn ready(&self, stream: &StreamArn, iterator: &ShardIterator) -> Result<Ready, SourceError> {
        let feed = self.feed(iterator)?;
        let mut feed = feed.lock().await;
        self.peek(&mut feed, stream, iterator, WAIT).await;
        match &feed.next {
            None => Ok(Ready::No),
            Some(Ok(batch)) => Ok(Ready::Here(batch.records.iter().map(|r| r.data.len()).sum())),
            // No memory is needed for it.
            Some(Err(_)) => match self.take(&mut feed, iterator) {
                Some(Err(error)) => Err(error),
                _ => Ok(Ready::Here(0)),
            },
        }
    }

    /// The events come when they come.
    fn wait_after(&self, _: Poll, _: usize, _: usize) -> Duration {
        Duration::ZERO
    }

    fn retention(&self) -> Option<Duration> {
        self.polling.retention()
    }

    fn has_timestamps(&self) -> bool {
        true
    }

    fn has_aggregates(&self) -> bool {
        true
    }

    /// An event is smaller as a rule, but a record alone may have 10 MiB.
    fn largest_answer(&self) -> usize {
        LARGEST_ANSWER
    }
}

/// The code of an exception in the stream: of those it knows, the SDK keeps only the kind.
fn code(error: &InStreamError) -> Option<&str> {
    Some(match error {
        InStreamError::InternalFailureException(_) => "InternalFailureException",
        InStreamError::KmsAccessDeniedException(_) => "KMSAccessDeniedException",
        InStreamError::KmsDisabledException(_) => "KMSDisabledException",
        InStreamError::KmsInvalidStateException(_) => "KMSInvalidStateException",
        InStreamError::KmsNotFoundException(_) => "KMSNotFoundException",
        InStreamError::KmsOptInRequired(_) => "KMSOptInRequired",
        InStreamError::KmsThrottlingException(_) => "KMSThrottlingException",
        InStreamError::ResourceInUseException(_) => "ResourceInUseException",
        InStreamError::ResourceNotFoundException(_) => "ResourceNotFoundException",
        other => return other.code(),
    })
}

/// No event has come.
fn nothing(token: &ShardIterator) -> RecordBatch {
    RecordBatch {
        records: Vec::new(),
        next: Next::At(token.clone()),
        behind: None,
        continuation: None,
    }
}

#[cfg(test)]
mod tests;
