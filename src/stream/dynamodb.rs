//! DynamoDB Streams as a [`StreamSource`].
//!
//! Owns the requests and the reading of their answers. Must never retry, decide or keep a position; errors
//! of the SDK stop here. `app` makes one for each pipeline.

pub mod probe;
mod typed;
pub mod wire;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodbstreams::operation::get_records::{GetRecords, GetRecordsOutput};
use aws_sdk_dynamodbstreams::types::{
    Shard as SdkShard, ShardFilter, ShardFilterType, ShardIteratorType, StreamDescription, StreamStatus,
};
use aws_smithy_runtime_api::client::interceptors::context::Output;
use aws_smithy_runtime_api::client::runtime_plugin::RuntimePlugin;

use crate::aws::body::ReadBody;
use crate::aws::bounded::Bounded;
use crate::aws::denial;
use crate::aws::failure::{Failure, failure};
use crate::aws::raw::{KeepDate, NeedsBody, Slot};
use crate::clock::{Clock, Monotonic, Timestamp};
use crate::config::{StreamChoice, Wire};
use crate::stream::view::View;
use crate::stream::{
    Ask, RecordBatch, Shard, ShardId, ShardIterator, ShardListing, SourceError, StartingPosition, StreamArn,
    StreamSource,
};

/// The shards of one page; the most DescribeStream gives (API reference of DescribeStream, `Limit`).
const PAGE: i32 = 100;

/// The records of one answer; the most GetRecords gives (API reference of GetRecords, `Limit`).
const RECORDS: i32 = 1000;

/// Between two calls of DescribeStream by one source: 5 a second. The service takes 10 a second for a
/// stream (API reference of DescribeStream), and another worker may be listing the same one.
const PACE: Duration = Duration::from_millis(200);
/// A throttled page is asked for this often, after 0.4, 0.8, 1.6 and 3.2 s.
const PAGE_TRIES: u32 = 5;
/// 100 streams a page.
const MOST_STREAM_PAGES: usize = 100;

/// What one answer takes in memory. The service stops at 1 MB of item data (developer guide, "DynamoDB
/// Streams: GetRecords"), counted without the JSON around it: type tags, field names, base64 and
/// escapes. Four times that holds for all but tables of tiny attributes.
const LARGEST_ANSWER: usize = 4 << 20;

/// What a body takes where the SDK reads it: its maps, in which each attribute has a place of 80 bytes and two or three
/// allocations, and beside them the JSON that is made of them again, in a text that grows. Eight times the body holds
/// for all but items of tiny attributes.
const BY_THE_SDK: usize = 8;
/// What is asked for at once then: the JSON of 1 MiB.
const LARGEST_BY_THE_SDK: usize = BY_THE_SDK << 20;

/// How long the service keeps records: what is older may be removed at any moment (developer guide, "Data retention
/// limit for DynamoDB Streams").
const RETENTION: Duration = Duration::from_secs(24 * 3600);

/// One table's stream, or one stream.
pub struct DynamoDbStreams {
    tables: aws_sdk_dynamodb::Client,
    streams: aws_sdk_dynamodbstreams::Client,
    choice: StreamChoice,
    wire: Wire,
    clock: Arc<dyn Clock>,
    /// Of the stream that DescribeStream was last asked for.
    view: Mutex<Option<View>>,
    /// When DescribeStream may be called next.
    next_describe: tokio::sync::Mutex<Option<Monotonic>>,
}

impl DynamoDbStreams {
    pub fn new(
        tables: aws_sdk_dynamodb::Client,
        streams: aws_sdk_dynamodbstreams::Client,
        choice: StreamChoice,
        wire: Wire,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            tables,
            streams,
            choice,
            wire,
            clock,
            view: Mutex::default(),
            next_describe: tokio::sync::Mutex::new(None),
        }
    }

    /// How often the body of an answer is in memory while it is read.
    fn times(&self) -> usize {
        match self.wire {
            Wire::Raw => 1,
            Wire::Sdk => BY_THE_SDK,
        }
    }

    /// Waits for this source's next turn to call DescribeStream. Whoever waits holds the place, so that a
    /// call that is given up before its turn costs nobody anything.
    async fn pace(&self) {
        let mut next = self.next_describe.lock().await;
        let now = self.clock.now();
        let turn = next.map_or(now, |next| next.max(now));
        let wait = turn.since(now);
        if !wait.is_zero() {
            self.clock.sleep(wait).await;
        }
        *next = Some(turn + PACE);
    }

    async fn describe(
        &self,
        stream: &StreamArn,
        filter: Option<ShardFilter>,
        start: Option<String>,
    ) -> Result<StreamDescription, SourceError> {
        self.pace().await;
        let answer = self
            .streams
            .describe_stream()
            .stream_arn(stream.as_str())
            .limit(PAGE)
            .set_shard_filter(filter)
            .set_exclusive_start_shard_id(start)
            .send()
            .await
            .map_err(|e| source_error("dynamodb:DescribeStream", &failure(&e), stream.as_str()))?;
        let description = answer.stream_description.ok_or_else(|| {
            SourceError::Unavailable(format!("the answer to DescribeStream says nothing of {stream}"))
        })?;
        let view = description.stream_view_type.as_ref();
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) =
            view.and_then(|view| View::parse(view.as_str()));
        Ok(description)
    }

    /// One page of a listing. A throttled one is asked for again: thrown away with it, a long listing that
    /// several workers ask for at once might never be complete.
    async fn page(
        &self,
        stream: &StreamArn,
        filter: Option<&ShardFilter>,
        start: Option<String>,
    ) -> Result<StreamDescription, SourceError> {
        let mut tries = 1;
        loop {
            match self.describe(stream, filter.cloned(), start.clone()).await {
                Err(SourceError::Throttled(_)) if tries < PAGE_TRIES => {
                    self.clock.sleep(PACE * 2u32.pow(tries)).await;
                    tries += 1;
                }
                done => return done,
            }
        }
    }

    /// All pages of a listing.
    async fn all_pages(
        &self,
        stream: &StreamArn,
        filter: Option<ShardFilter>,
    ) -> Result<ShardListing, SourceError> {
        stream.is_in(self.streams.config().region().map(|region| region.as_ref()))?;
        let mut listing = ShardListing {
            shards: Vec::new(),
            disabled: false,
        };
        let mut places: HashMap<ShardId, usize> = HashMap::new();
        let mut starts: HashSet<String> = HashSet::new();
        let mut start: Option<String> = None;
        loop {
            let page = self.page(stream, filter.as_ref(), start.take()).await?;
            listing.disabled = matches!(
                page.stream_status,
                Some(StreamStatus::Disabled | StreamStatus::Disabling)
            );
            for shard in page.shards.unwrap_or_default() {
                let shard = shard_of(shard, stream)?;
                // The stream changes between pages: what the later one says of a shard holds.
                match places.get(&shard.id) {
                    Some(&place) => listing.shards[place] = shard,
                    None => {
                        places.insert(shard.id.clone(), listing.shards.len());
                        listing.shards.push(shard);
                    }
                }
            }
            match page.last_evaluated_shard_id.filter(|id| !id.is_empty()) {
                None => return Ok(listing),
                Some(next) if starts.insert(next.clone()) => start = Some(next),
                Some(next) => {
                    return Err(SourceError::Unavailable(format!(
                        "the listing of {stream} goes in circles: page after {next} came twice"
                    )));
                }
            }
        }
    }
}

#[async_trait]
impl StreamSource for DynamoDbStreams {
    async fn current(&self) -> Result<StreamArn, SourceError> {
        let name = match &self.choice {
            StreamChoice::Arn(arn) | StreamChoice::KinesisArn(arn) => return Ok(arn.clone()),
            StreamChoice::Table(name) | StreamChoice::Kinesis(name) => name,
        };
        let answer = self
            .tables
            .describe_table()
            .table_name(name)
            .send()
            .await
            .map_err(|e| {
                let region = self.tables.config().region().map_or("this region", |region| region.as_ref());
                match source_error("dynamodb:DescribeTable", &failure(&e), &format!("table {name}")) {
                    SourceError::NotFound(_) => SourceError::NotFound(format!(
                        "table {name} is not there in {region}: check its name, and the region and account that are asked"
                    )),
                    other => other,
                }
            })?;
        // A table whose stream was disabled keeps the ARN for a day: what is in it can still be read.
        answer
            .table
            .and_then(|table| table.latest_stream_arn)
            .filter(|arn| !arn.is_empty())
            .map(StreamArn::new)
            .ok_or_else(|| {
                SourceError::NoStream(format!(
                    "table {name} has no stream; enable it with: aws dynamodb update-table --table-name {name} \
                     --stream-specification StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES"
                ))
            })
    }

    async fn streams(&self) -> Result<Vec<StreamArn>, SourceError> {
        let name = match &self.choice {
            StreamChoice::Arn(arn) | StreamChoice::KinesisArn(arn) => return Ok(vec![arn.clone()]),
            StreamChoice::Table(name) | StreamChoice::Kinesis(name) => name,
        };
        let mut streams: Vec<StreamArn> = Vec::new();
        let mut start: Option<String> = None;
        // A table has few streams: each lives for a day after it was disabled.
        for _ in 0..MOST_STREAM_PAGES {
            let page = self
                .streams
                .list_streams()
                .table_name(name)
                .set_exclusive_start_stream_arn(start.take())
                .send()
                .await
                .map_err(|e| {
                    source_error(
                        "dynamodb:ListStreams",
                        &failure(&e),
                        &format!("the streams of table {name}"),
                    )
                })?;
            streams.extend(
                page.streams
                    .unwrap_or_default()
                    .into_iter()
                    .filter_map(|s| s.stream_arn)
                    .map(StreamArn::new),
            );
            match page.last_evaluated_stream_arn.filter(|arn| !arn.is_empty()) {
                Some(next) => start = Some(next),
                None => return Ok(streams),
            }
        }
        Err(SourceError::Unavailable(format!(
            "the list of streams of table {name} has no last page"
        )))
    }

    fn view(&self) -> Option<View> {
        *self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn service_time(&self, stream: &StreamArn) -> Result<Timestamp, SourceError> {
        self.pace().await;
        let date = KeepDate::default();
        self.streams
            .describe_stream()
            .stream_arn(stream.as_str())
            .limit(1)
            .customize()
            .interceptor(date.clone())
            .send()
            .await
            .map_err(|e| source_error("dynamodb:DescribeStream", &failure(&e), stream.as_str()))?;
        date.time().map_err(SourceError::Unavailable)
    }

    async fn list_shards(&self, stream: &StreamArn) -> Result<ShardListing, SourceError> {
        self.all_pages(stream, None).await
    }

    async fn child_shards(&self, stream: &StreamArn, parent: &ShardId) -> Result<Vec<Shard>, SourceError> {
        let filter = ShardFilter::builder()
            .r#type(ShardFilterType::ChildShards)
            .shard_id(parent.as_str())
            .build();
        let mut shards = self.all_pages(stream, Some(filter)).await?.shards;
        // Emulators ignore the filter.
        shards.retain(|shard| shard.parents.contains(parent));
        Ok(shards)
    }

    async fn iterator(
        &self,
        stream: &StreamArn,
        shard: &ShardId,
        position: &StartingPosition,
    ) -> Result<ShardIterator, SourceError> {
        let (kind, sequence_number) = match position {
            StartingPosition::TrimHorizon => (ShardIteratorType::TrimHorizon, None),
            StartingPosition::Latest => (ShardIteratorType::Latest, None),
            StartingPosition::After(after) => (
                ShardIteratorType::AfterSequenceNumber,
                Some(after.as_str().to_owned()),
            ),
            StartingPosition::At(at) => (ShardIteratorType::AtSequenceNumber, Some(at.as_str().to_owned())),
            StartingPosition::AtTimestamp(_) => {
                return Err(SourceError::Unavailable(
                    "DynamoDB Streams has no iterator at a timestamp; start at TRIM_HORIZON".to_owned(),
                ));
            }
        };
        self.streams
            .get_shard_iterator()
            .stream_arn(stream.as_str())
            .shard_id(shard.as_str())
            .shard_iterator_type(kind)
            .set_sequence_number(sequence_number)
            .send()
            .await
            .map_err(|e| {
                source_error(
                    "dynamodb:GetShardIterator",
                    &failure(&e),
                    &format!("{shard} of {stream}"),
                )
            })?
            .shard_iterator
            .filter(|iterator| !iterator.is_empty())
            .map(ShardIterator::new)
            .ok_or_else(|| {
                SourceError::Unavailable(format!("the answer holds no iterator for {shard} of {stream}"))
            })
    }

    async fn records(
        &self,
        stream: &StreamArn,
        iterator: &ShardIterator,
        ask: Ask,
    ) -> Result<RecordBatch, SourceError> {
        let bounded = Bounded::new(ask.most / self.times());
        let request = self
            .streams
            .get_records()
            .shard_iterator(iterator.as_str())
            .limit(ask.limit_to(RECORDS))
            .customize()
            .interceptor(bounded.clone());
        let batch = Slot::default();
        let request = match self.wire {
            Wire::Raw => request.interceptor(ReadBody {
                read: |body| Some(wire::batch(body)),
                operation: || GetRecords::new().config(),
                empty: || Ok(Output::erase(GetRecordsOutput::builder().build())),
                slot: batch.clone(),
            }),
            Wire::Sdk => request.interceptor(NeedsBody),
        };
        let answer = request.send().await.map_err(|e| match bounded.refused() {
            Some(body) => SourceError::TooLarge {
                needs: body.saturating_mul(self.times()),
            },
            None => source_error("dynamodb:GetRecords", &failure(&e), stream.as_str()),
        })?;
        batch.take().unwrap_or_else(|| typed::batch(&answer))
    }

    fn retention(&self) -> Option<Duration> {
        Some(RETENTION)
    }

    fn has_timestamps(&self) -> bool {
        false
    }

    fn largest_answer(&self) -> usize {
        match self.wire {
            Wire::Raw => LARGEST_ANSWER,
            Wire::Sdk => LARGEST_BY_THE_SDK,
        }
    }

    fn answer_of(&self, _: usize, bytes: usize) -> usize {
        bytes * self.times()
    }

    fn most_records(&self) -> usize {
        RECORDS as usize
    }
}

fn shard_of(shard: SdkShard, stream: &StreamArn) -> Result<Shard, SourceError> {
    let Some(id) = shard.shard_id.filter(|id| !id.is_empty()) else {
        return Err(SourceError::Unavailable(format!(
            "the listing of {stream} holds a shard without an id"
        )));
    };
    Ok(Shard {
        id: ShardId::new(id),
        parents: shard
            .parent_shard_id
            .filter(|id| !id.is_empty())
            .map(ShardId::new)
            .into_iter()
            .collect(),
        closed: shard
            .sequence_number_range
            .and_then(|range| range.ending_sequence_number)
            .is_some_and(|end| !end.is_empty()),
        hash_range: None,
    })
}

/// What a failure means for the reader of `what`. All of these requests read, so that whether a lost one
/// was carried out makes no difference.
fn source_error(action: &str, failure: &Failure, what: &str) -> SourceError {
    match failure {
        Failure::Throttled(text) => SourceError::Throttled(text.clone()),
        Failure::Denied(text) => SourceError::AccessDenied(denial::told(text, action, what, None)),
        Failure::Unavailable(text) | Failure::Unanswered(text) => SourceError::Unavailable(text.clone()),
        Failure::Service { code, message } => match code.as_str() {
            "ExpiredIteratorException" => SourceError::IteratorExpired,
            "TrimmedDataAccessException" => SourceError::DataTrimmed,
            "ResourceNotFoundException" => SourceError::NotFound(format!("{what}: {message}")),
            _ => SourceError::Unavailable(format!("{what}: {failure}")),
        },
    }
}

#[cfg(test)]
mod tests;
