//! Kinesis Data Streams as a [`StreamSource`], polled.
//!
//! Owns the requests and the reading of their answers, and what the service last said of which stream has
//! the name, and of how long it keeps records. Must never retry a read, decide or keep a position; errors of the SDK stop here. `app` makes
//! one for each pipeline; `fan_out` lists through one.
//!
//! A stream that is deleted and created again has the same ARN, and the same shard ids: only the time of
//! its creation, which [`StreamArn`] carries, tells the two apart, and only DescribeStreamSummary tells it.
//! (ListShards takes a `StreamCreationTimestamp`, but to its fraction of a second, which a lease's row has
//! not.) So a listing is believed once the stream that was listed is shown to be there after it; an iterator
//! that no sequence number protects, once it was shown to be there lately.

pub mod probe;
mod raw;
pub(super) mod refusal;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_kinesis::operation::get_records::{GetRecords, GetRecordsOutput};
use aws_sdk_kinesis::types::{
    Record as SdkRecord, Shard as SdkShard, ShardFilter, ShardFilterType, ShardIteratorType, StreamStatus,
};
use aws_smithy_runtime_api::client::interceptors::context::Output;
use aws_smithy_runtime_api::client::runtime_plugin::RuntimePlugin;
use aws_smithy_types::DateTime;
use bytes::Bytes;

use crate::aws::body::ReadBody;
use crate::aws::bounded::Bounded;
use crate::aws::failure::{Failure, failure};
use crate::aws::raw::{KeepDate, NeedsBody, Slot};
use crate::clock::{Clock, Monotonic, Timestamp};
use crate::config::{StreamChoice, Wire};
use crate::stream::{
    Ask, HashKeyRange, Next, Poll, Record, RecordBatch, SequenceNumber, Shard, ShardId, ShardIterator,
    ShardListing, SourceError, StartingPosition, StreamArn, StreamSource,
};
use refusal::{is, source_error};

/// The records of one answer; the most GetRecords gives (API reference of GetRecords, `Limit`). There is no
/// limit in bytes to ask for: the service stops at 10 MB.
const RECORDS: i32 = 10_000;

/// GetRecords is called so rarely: 5 times a second for a shard, over all who read it (developer guide,
/// "Quotas and limits", `GetRecords`).
const CALL_PACE: Duration = Duration::from_millis(200);
/// And so many bytes a second are read from a shard (same place). After an answer of 10 MB "subsequent calls
/// made within the next 5 seconds throw ProvisionedThroughputExceededException" (API reference of GetRecords).
const BYTES_A_SECOND: u32 = 2_000_000;

/// A throttled request of a listing is made this often, after 0.4, 0.8, 1.6 and 3.2 s. (ListShards may be
/// called 1,000 times a second for a stream, DescribeStreamSummary 20 times in an account.)
const TRIES: u32 = 5;
const RETRY: Duration = Duration::from_millis(200);
/// A token is good for 300 s (API reference of ListShards, `NextToken`). A listing whose token expired starts
/// over, so often.
const LISTINGS: u32 = 3;
/// 1,000 shards a page, unless the service likes fewer.
const MOST_PAGES: usize = 10_000;
/// What DescribeStreamSummary said is believed so long, where nothing but the start of a shard hangs on it.
const BELIEVED: Duration = Duration::from_secs(10);

/// What one answer takes in memory: 10 MiB of data (API reference of GetRecords; a record alone may have as
/// much), and the JSON it comes in, where base64 makes four bytes of three, both held at once.
pub(super) const LARGEST_ANSWER: usize = 24 << 20;

/// What stands around a record's data in the JSON: names of fields, the sequence number, the time, a partition key.
const AROUND: usize = 256;

/// One stream, polled.
pub struct KinesisStream {
    kinesis: aws_sdk_kinesis::Client,
    choice: StreamChoice,
    /// Where the requests go, for messages.
    region: String,
    wire: Wire,
    pub(super) clock: Arc<dyn Clock>,
    /// The stream that the service has now, and when it said so.
    known: Mutex<Option<(StreamArn, Monotonic)>>,
    /// How many hours it keeps records, as DescribeStreamSummary said last; 0: not known yet.
    retention: AtomicU32,
    /// Held by whoever asks which it is: the others wait for the answer.
    asking: tokio::sync::Mutex<()>,
}

impl KinesisStream {
    pub fn new(
        kinesis: aws_sdk_kinesis::Client,
        choice: StreamChoice,
        region: String,
        wire: Wire,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            kinesis,
            choice,
            region,
            wire,
            clock,
            known: Mutex::new(None),
            retention: AtomicU32::new(0),
            asking: tokio::sync::Mutex::new(()),
        }
    }

    /// The stream of this name or ARN that is there now, and its state.
    async fn describe(
        &self,
        name: Option<&str>,
        arn: Option<&str>,
    ) -> Result<(StreamArn, StreamStatus), SourceError> {
        let what = arn.or(name).unwrap_or_default();
        let at = self.clock.now();
        let summary = self
            .kinesis
            .describe_stream_summary()
            .set_stream_name(name.map(str::to_owned))
            .set_stream_arn(arn.map(str::to_owned))
            .send()
            .await
            .map_err(|e| match source_error("kinesis:DescribeStreamSummary", &failure(&e), what) {
                SourceError::NotFound(_) => SourceError::NotFound(format!(
                    "the Kinesis stream {what} is not there in {}: check its name, and the region and account \
                     that are asked",
                    self.region
                )),
                other => other,
            })?
            .stream_description_summary
            .filter(|summary| !summary.stream_arn.is_empty())
            .ok_or_else(|| {
                SourceError::Unavailable(format!(
                    "the answer to DescribeStreamSummary says nothing of {what}"
                ))
            })?;
        if let Ok(hours @ 1..) = u32::try_from(summary.retention_period_hours) {
            self.retention.store(hours, Ordering::Relaxed);
        }
        // Zero stands for none.
        let created = Some(summary.stream_creation_timestamp.secs()).filter(|second| *second != 0);
        let stream = StreamArn::kinesis(&summary.stream_arn, created);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_none_or(|(_, when)| *when <= at) {
            *known = Some((stream.clone(), at));
        }
        Ok((stream, summary.stream_status))
    }

    /// NotFound, if a stream that was created later is known to have the name now.
    pub(super) fn check(&self, stream: &StreamArn) -> Result<(), SourceError> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*known, created(stream)) {
            (Some((now, _)), Some(then))
                if now.service_arn() == stream.service_arn() && created(now) > Some(then) =>
            {
                replaced(stream, now)
            }
            _ => Ok(()),
        }
    }

    /// Asks the service whether this stream is there, unless it said so less than `believed` ago. One that
    /// doesn't say when it was created is taken for the one that is there.
    async fn confirm(&self, stream: &StreamArn, believed: Duration) -> Result<(), SourceError> {
        if created(stream).is_none() {
            return Ok(());
        }
        let asked = self.clock.now();
        let _asking = self.asking.lock().await;
        // What another has asked meanwhile is an answer to this question too.
        self.check(stream)?;
        let believable = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known
                .as_ref()
                .is_some_and(|(now, when)| now == stream && (*when >= asked || asked.since(*when) < believed))
        };
        if believable {
            return Ok(());
        }
        let (now, _) = self.describe(None, Some(stream.service_arn())).await?;
        if now == *stream || created(&now).is_none() {
            return Ok(());
        }
        replaced(stream, &now)
    }

    /// As [`Self::confirm`], but only what is certain counts: without an answer the stream passes for itself.
    pub(super) async fn check_lately(&self, stream: &StreamArn) -> Result<(), SourceError> {
        self.check(stream)?;
        match self.confirm(stream, BELIEVED).await {
            Err(error @ SourceError::NotFound(_)) => Err(error),
            _ => Ok(()),
        }
    }

    /// [`Self::confirm`] without what was said before. A throttled question is asked again: thrown away with
    /// it, a long listing might never be complete.
    pub(super) async fn confirm_now(&self, stream: &StreamArn) -> Result<(), SourceError> {
        let mut tries = 1;
        loop {
            match self.confirm(stream, Duration::ZERO).await {
                Err(SourceError::Throttled(_)) if tries < TRIES => {
                    self.clock.sleep(RETRY * 2u32.pow(tries)).await;
                    tries += 1;
                }
                done => return done,
            }
        }
    }

    /// One page of a listing: the first by the stream, the others by the token of the one before alone, which
    /// "unambiguously identifies the stream" (API reference of ListShards). Asked for again when throttled.
    async fn page(
        &self,
        stream: &StreamArn,
        filter: Option<&ShardFilter>,
        token: Option<&String>,
    ) -> Result<(Vec<SdkShard>, Option<String>), Failure> {
        let mut tries = 1;
        loop {
            let request = match token {
                Some(token) => self.kinesis.list_shards().next_token(token),
                None => self
                    .kinesis
                    .list_shards()
                    .stream_arn(stream.service_arn())
                    .set_shard_filter(filter.cloned()),
            };
            match request.send().await.map_err(|e| failure(&e)) {
                Err(Failure::Throttled(_)) if tries < TRIES => {
                    self.clock.sleep(RETRY * 2u32.pow(tries)).await;
                    tries += 1;
                }
                // One without a list is no list: it would look as if all shards were gone.
                Ok(page) => match page.shards {
                    Some(shards) => return Ok((shards, page.next_token)),
                    None => {
                        let text = "the answer to ListShards holds no list".to_owned();
                        return Err(Failure::Unanswered(text));
                    }
                },
                Err(failure) => return Err(failure),
            }
        }
    }

    /// All pages of a listing.
    async fn all_pages(
        &self,
        stream: &StreamArn,
        filter: Option<ShardFilter>,
    ) -> Result<Vec<Shard>, SourceError> {
        stream.is_in(self.kinesis.config().region().map(|region| region.as_ref()))?;
        self.check(stream)?;
        let mut listings = 1;
        let mut shards: Vec<Shard> = Vec::new();
        let mut places: HashMap<ShardId, usize> = HashMap::new();
        let mut tokens: HashSet<String> = HashSet::new();
        let mut token: Option<String> = None;
        loop {
            let page = self.page(stream, filter.as_ref(), token.as_ref()).await;
            let (page, next) = match page {
                Err(failure) if is(&failure, "ExpiredNextTokenException") && listings < LISTINGS => {
                    listings += 1;
                    shards.clear();
                    places.clear();
                    tokens.clear();
                    token = None;
                    continue;
                }
                Err(failure) => {
                    return Err(source_error("kinesis:ListShards", &failure, stream.service_arn()));
                }
                Ok(page) => page,
            };
            for shard in page {
                let shard = shard_of(shard, stream)?;
                // The stream changes between pages: what the later one says of a shard holds.
                match places.get(&shard.id) {
                    Some(&place) => shards[place] = shard,
                    None => {
                        places.insert(shard.id.clone(), shards.len());
                        shards.push(shard);
                    }
                }
            }
            match next.filter(|token| !token.is_empty()) {
                None => return Ok(shards),
                Some(next) if tokens.len() < MOST_PAGES && tokens.insert(next.clone()) => token = Some(next),
                Some(_) => {
                    return Err(SourceError::Unavailable(format!(
                        "the listing of {} goes in circles: {} pages and no last one",
                        stream.service_arn(),
                        tokens.len() + 1
                    )));
                }
            }
        }
    }

    /// What a refused read means. An argument that is no good may be one of the stream that had the name
    /// before ("… is invalid because it did not come from this stream").
    pub(super) async fn refused(
        &self,
        action: &str,
        stream: &StreamArn,
        what: &str,
        failure: &Failure,
    ) -> SourceError {
        if !is(failure, "InvalidArgumentException") {
            return source_error(action, failure, what);
        }
        if let Err(error @ SourceError::NotFound(_)) = self.confirm_now(stream).await {
            return error;
        }
        let text = failure.to_string();
        if text.contains("did not come from this stream") {
            return SourceError::NotFound(format!(
                "{what}: {text}. The checkpoint is of another stream of this name: set it with `weir leases set`"
            ));
        }
        source_error(action, failure, what)
    }
}

#[async_trait]
impl StreamSource for KinesisStream {
    async fn current(&self) -> Result<StreamArn, SourceError> {
        let (stream, status) = match &self.choice {
            StreamChoice::Kinesis(name) | StreamChoice::Table(name) => {
                self.describe(Some(name), None).await?
            }
            StreamChoice::KinesisArn(arn) | StreamChoice::Arn(arn) => {
                self.describe(None, Some(arn.service_arn())).await?
            }
        };
        let name = stream.kinesis_name().unwrap_or(stream.service_arn());
        match status {
            StreamStatus::Deleting => Err(SourceError::NoStream(format!(
                "the Kinesis stream {name} is being deleted: one that is created again under this name is read"
            ))),
            // It has no shards yet, or not all of them.
            StreamStatus::Creating => Err(SourceError::NoStream(format!(
                "the Kinesis stream {name} is being created: it is read as soon as it is there"
            ))),
            _ => Ok(stream),
        }
    }

    async fn streams(&self) -> Result<Vec<StreamArn>, SourceError> {
        self.current().await.map(|stream| vec![stream])
    }

    async fn service_time(&self, stream: &StreamArn) -> Result<Timestamp, SourceError> {
        self.check(stream)?;
        let date = KeepDate::default();
        self.kinesis
            .list_shards()
            .stream_arn(stream.service_arn())
            .max_results(1)
            .customize()
            .interceptor(date.clone())
            .send()
            .await
            .map_err(|e| source_error("kinesis:ListShards", &failure(&e), stream.service_arn()))?;
        date.time().map_err(SourceError::Unavailable)
    }

    /// Unfiltered: the default is FROM_TRIM_HORIZON, all shards within the retention period (API reference of
    /// ShardFilter, `Type`), and not every emulator knows the filter.
    async fn list_shards(&self, stream: &StreamArn) -> Result<ShardListing, SourceError> {
        let shards = self.all_pages(stream, None).await?;
        // Afterwards: creations only follow each other, so that the stream that is there now was there before.
        self.confirm_now(stream).await?;
        Ok(ShardListing {
            shards,
            disabled: false,
        })
    }

    async fn child_shards(&self, stream: &StreamArn, parent: &ShardId) -> Result<Vec<Shard>, SourceError> {
        // A child is younger than its parents, and ids only grow.
        let filter = ShardFilter::builder()
            .r#type(ShardFilterType::AfterShardId)
            .shard_id(parent.as_str())
            .build()
            .ok();
        let mut shards = self.all_pages(stream, filter).await?;
        shards.retain(|shard| shard.parents.contains(parent));
        // The shards of a stream that was created again have the same ids.
        self.check_lately(stream).await?;
        Ok(shards)
    }

    /// The service takes 5 of these a second for a shard (API reference of GetShardIterator); a reader needs
    /// one when it starts, and after 5 minutes without a read.
    async fn iterator(
        &self,
        stream: &StreamArn,
        shard: &ShardId,
        position: &StartingPosition,
    ) -> Result<ShardIterator, SourceError> {
        self.check(stream)?;
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
        // A sequence number of another stream is refused; anything else fits any stream.
        if sequence_number.is_none() {
            self.check_lately(stream).await?;
        }
        let what = format!("{shard} of {}", stream.service_arn());
        let answer = self
            .kinesis
            .get_shard_iterator()
            .stream_arn(stream.service_arn())
            .shard_id(shard.as_str())
            .shard_iterator_type(kind)
            .set_starting_sequence_number(sequence_number.map(ToString::to_string))
            .set_timestamp(timestamp)
            .send()
            .await;
        match answer {
            Ok(answer) => answer
                .shard_iterator
                .filter(|iterator| !iterator.is_empty())
                .map(ShardIterator::new)
                .ok_or_else(|| SourceError::Unavailable(format!("the answer holds no iterator for {what}"))),
            Err(error) => Err(self
                .refused("kinesis:GetShardIterator", stream, &what, &failure(&error))
                .await),
        }
    }

    async fn records(
        &self,
        stream: &StreamArn,
        iterator: &ShardIterator,
        ask: Ask,
    ) -> Result<RecordBatch, SourceError> {
        self.check(stream)?;
        let bounded = Bounded::new(body_of(ask.most));
        let mut request = self
            .kinesis
            .get_records()
            .stream_arn(stream.service_arn())
            .shard_iterator(iterator.as_str())
            .limit(ask.limit_to(RECORDS))
            .customize()
            .interceptor(NeedsBody)
            .interceptor(bounded.clone());
        let batch = Slot::default();
        if self.wire == Wire::Raw {
            request = request.interceptor(ReadBody {
                read: raw::batch,
                operation: || GetRecords::new().config(),
                empty: || {
                    let output = GetRecordsOutput::builder().set_records(Some(Vec::new()));
                    Ok(Output::erase(output.build()?))
                },
                slot: batch.clone(),
            });
        }
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => {
                if let Some(body) = bounded.refused() {
                    return Err(SourceError::TooLarge {
                        needs: taken_by(body),
                    });
                }
                return Err(self
                    .refused(
                        "kinesis:GetRecords",
                        stream,
                        stream.service_arn(),
                        &failure(&error),
                    )
                    .await);
            }
        };
        if let Some(batch) = batch.take() {
            return Ok(batch);
        }
        let has_children = answer.child_shards.is_some_and(|children| !children.is_empty());
        Ok(RecordBatch {
            records: records_of(answer.records)?,
            next: next_of(answer.next_shard_iterator.as_deref(), has_children),
            behind: answer.millis_behind_latest.map(millis),
            continuation: None,
        })
    }

    fn wait_after(&self, poll: Poll, records: usize, bytes: usize) -> Duration {
        wait_after(poll, records, bytes)
    }

    /// 24 hours to 365 days. It can be changed: this is what the last DescribeStreamSummary said, which each
    /// process asks at its start, and the pipeline's caretaker at each shard sync.
    fn retention(&self) -> Option<Duration> {
        let hours = self.retention.load(Ordering::Relaxed);
        (hours > 0).then(|| Duration::from_secs(u64::from(hours) * 3600))
    }

    fn has_timestamps(&self) -> bool {
        true
    }

    fn has_aggregates(&self) -> bool {
        true
    }

    fn largest_answer(&self) -> usize {
        LARGEST_ANSWER
    }

    fn most_records(&self) -> usize {
        RECORDS as usize
    }

    fn answer_of(&self, records: usize, bytes: usize) -> usize {
        bytes.div_ceil(3) * 4 + bytes + records * AROUND
    }
}

/// What a body of base64 takes in memory with the bytes that are made of it.
fn taken_by(body: usize) -> usize {
    body.saturating_add(body / 4 * 3)
}

/// The body that takes so much.
fn body_of(taken: usize) -> usize {
    taken / 7 * 4
}

/// The wait that is set, and at least what the service's limits for one reader of a shard ask for.
fn wait_after(poll: Poll, records: usize, bytes: usize) -> Duration {
    let wished = if records > 0 { poll.busy } else { poll.idle };
    let micros =
        u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(1_000_000) / u64::from(BYTES_A_SECOND);
    wished.max(CALL_PACE).max(Duration::from_micros(micros))
}

/// The second of the stream's creation, if its name here holds one.
fn created(stream: &StreamArn) -> Option<i64> {
    stream.label()?.parse().ok()
}

fn replaced(stream: &StreamArn, now: &StreamArn) -> Result<(), SourceError> {
    Err(SourceError::NotFound(format!(
        "{stream} is gone: the stream that has its name now was created in the second {}",
        now.label().unwrap_or_default()
    )))
}

pub(super) fn millis(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

fn shard_of(shard: SdkShard, stream: &StreamArn) -> Result<Shard, SourceError> {
    if shard.shard_id.is_empty() {
        return Err(SourceError::Unavailable(format!(
            "the listing of {} holds a shard without an id",
            stream.service_arn()
        )));
    }
    // The second is there for a shard that two were merged into.
    let parents = [shard.parent_shard_id, shard.adjacent_parent_shard_id];
    Ok(Shard {
        id: ShardId::new(shard.shard_id),
        parents: parents
            .into_iter()
            .flatten()
            .filter(|id| !id.is_empty())
            .map(ShardId::new)
            .collect(),
        closed: shard
            .sequence_number_range
            .and_then(|range| range.ending_sequence_number)
            .is_some_and(|end| !end.is_empty()),
        hash_range: shard.hash_key_range.map(|range| HashKeyRange {
            starting: range.starting_hash_key.into(),
            ending: range.ending_hash_key.into(),
        }),
    })
}

/// Where the records go on. Only children show that a shard has ended.
fn next_of(iterator: Option<&str>, has_children: bool) -> Next {
    match iterator.filter(|next| !next.is_empty()) {
        Some(next) => Next::At(ShardIterator::new(next)),
        None if has_children => Next::End,
        None => Next::PerhapsEnd,
    }
}

/// The records of an answer, in its order. The bytes of each are moved, not copied.
pub(super) fn records_of(records: Vec<SdkRecord>) -> Result<Vec<Record>, SourceError> {
    let mut all = Vec::with_capacity(records.len());
    for record in records {
        let Some(sequence_number) = SequenceNumber::parse(&record.sequence_number) else {
            return Err(SourceError::Unavailable(format!(
                "a record has the sequence number {:?}",
                record.sequence_number
            )));
        };
        all.push(Record {
            sequence_number,
            sub_sequence_number: 0,
            time: record.approximate_arrival_timestamp.map(|t| timestamp(&t)),
            partition_key: record.partition_key.map(Into::into),
            data: Bytes::from(record.data.into_inner()),
            fields: None,
        });
    }
    Ok(all)
}

/// On the wire the time is seconds with a fraction of three digits, which as a binary number is a few
/// nanoseconds more or less: rounded, never cut.
fn timestamp(time: &DateTime) -> Timestamp {
    let millis = i64::from((time.subsec_nanos() + 500_000) / 1_000_000);
    Timestamp::from_millis(time.secs().saturating_mul(1000).saturating_add(millis))
}

#[cfg(test)]
mod tests;
