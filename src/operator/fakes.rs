//! A stream and a log for the tests of those who read without a lease. Both hold state; time is the runtime's own.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::verify::StreamDesk;
use crate::clock::{Clock, Monotonic, Timestamp};
use crate::config::{DestinationConfig, PipelineConfig, SourceConfig, StreamChoice};
use crate::decode::{Decode, DecodeSettings};
use crate::logs::group::{GroupFound, GroupSettings};
use crate::logs::template::{Template, TemplateKind};
use crate::logs::{
    Accepted, AccountPolicy, EventPage, LogDestination, LogEvent, LogSink, PageToken, SinkError,
    SubscriptionFilter, Subscriptions, batch,
};
use crate::stream::{
    Ask, Next, Record, RecordBatch, SequenceNumber, Shard, ShardId, ShardIterator, ShardListing, SourceError,
    StartingPosition, StreamArn, StreamSource,
};

pub const ARN: &str = "arn:aws:kinesis:eu-west-1:111122223333:stream/audit#1700000000";
/// What the clock shows at its start.
pub const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// The runtime's clock, which moves on by itself where it is paused.
pub struct RuntimeClock(tokio::time::Instant);

impl Default for RuntimeClock {
    fn default() -> Self {
        Self(tokio::time::Instant::now())
    }
}

#[async_trait]
impl Clock for RuntimeClock {
    fn now(&self) -> Monotonic {
        Monotonic::from_origin(self.0.elapsed())
    }

    fn wall(&self) -> Timestamp {
        START.plus(self.0.elapsed())
    }

    async fn sleep(&self, d: Duration) {
        #[expect(clippy::disallowed_methods, reason = "this is a clock")]
        tokio::time::sleep(d).await;
    }
}

pub struct FakeShard {
    pub parents: Vec<String>,
    pub closed: bool,
    /// Each with its number, which counts over all shards.
    pub records: Vec<Record>,
    /// So many of the first are gone.
    pub trimmed: usize,
}

/// What the stream does before it answers a read, by the number of reads so far.
type Script = Box<dyn FnMut(usize, &mut FakeState) + Send>;

#[derive(Default)]
pub struct FakeState {
    pub shards: BTreeMap<String, FakeShard>,
    next: u64,
    /// What the next reads of a shard are answered with.
    pub failures: BTreeMap<String, VecDeque<SourceError>>,
    /// So many of the next reads of a shard give nothing.
    pub quiet: BTreeMap<String, u32>,
    /// Iterators of an earlier one have expired.
    pub epoch: u32,
    /// When each shard was read.
    pub reads: Vec<(String, Duration)>,
}

impl FakeState {
    pub fn open(&mut self, id: &str, parents: &[&str]) {
        for parent in parents {
            self.shards.get_mut(*parent).unwrap().closed = true;
        }
        let shard = FakeShard {
            parents: parents.iter().map(ToString::to_string).collect(),
            closed: false,
            records: Vec::new(),
            trimmed: 0,
        };
        self.shards.insert(id.to_owned(), shard);
    }

    /// A record with this text, of this time.
    pub fn append(&mut self, shard: &str, time: Timestamp, text: &str) {
        self.next += 1;
        let record = Record {
            partition_key: Some("p".into()),
            ..Record::new(
                SequenceNumber::of(self.next),
                Some(time),
                Bytes::copy_from_slice(text.as_bytes()),
            )
        };
        self.shards.get_mut(shard).unwrap().records.push(record);
    }

    pub fn fail(&mut self, shard: &str, failures: impl IntoIterator<Item = SourceError>) {
        let failures = failures.into_iter().collect();
        self.failures.insert(shard.to_owned(), failures);
    }
}

/// A stream that gives three records a read, and tells nothing of how far behind a reader is.
pub struct FakeStream {
    pub state: Mutex<FakeState>,
    script: Mutex<Option<Script>>,
    began: tokio::time::Instant,
}

impl FakeStream {
    pub fn new(build: impl FnOnce(&mut FakeState)) -> Arc<Self> {
        let mut state = FakeState::default();
        build(&mut state);
        Arc::new(Self {
            state: Mutex::new(state),
            script: Mutex::default(),
            began: tokio::time::Instant::now(),
        })
    }

    pub fn script(&self, script: impl FnMut(usize, &mut FakeState) + Send + 'static) {
        *self.script.lock().unwrap() = Some(Box::new(script));
    }
}

#[async_trait]
impl StreamSource for FakeStream {
    async fn current(&self) -> Result<StreamArn, SourceError> {
        Ok(StreamArn::new(ARN))
    }

    async fn streams(&self) -> Result<Vec<StreamArn>, SourceError> {
        Ok(vec![StreamArn::new(ARN)])
    }

    async fn service_time(&self, _: &StreamArn) -> Result<Timestamp, SourceError> {
        Ok(START)
    }

    async fn list_shards(&self, _: &StreamArn) -> Result<ShardListing, SourceError> {
        let state = self.state.lock().unwrap();
        let shards = state.shards.iter().map(|(id, shard)| Shard {
            id: ShardId::new(id.as_str()),
            parents: shard.parents.iter().map(|p| ShardId::new(p.as_str())).collect(),
            closed: shard.closed,
            hash_range: None,
        });
        Ok(ShardListing {
            shards: shards.collect(),
            disabled: false,
        })
    }

    async fn child_shards(&self, _: &StreamArn, _: &ShardId) -> Result<Vec<Shard>, SourceError> {
        Ok(Vec::new())
    }

    async fn iterator(
        &self,
        _: &StreamArn,
        shard: &ShardId,
        position: &StartingPosition,
    ) -> Result<ShardIterator, SourceError> {
        let state = self.state.lock().unwrap();
        let Some(found) = state.shards.get(shard.as_str()) else {
            return Err(SourceError::NotFound(shard.to_string()));
        };
        let before = |is_before: &dyn Fn(&Record) -> bool| {
            found
                .records
                .iter()
                .take_while(|record| is_before(record))
                .count()
        };
        let next = match position {
            StartingPosition::TrimHorizon => found.trimmed,
            StartingPosition::Latest => found.records.len(),
            StartingPosition::AtTimestamp(_) => panic!("there is no such iterator"),
            StartingPosition::At(number) => before(&|record| record.sequence_number < *number),
            StartingPosition::After(number) => before(&|record| record.sequence_number <= *number),
        };
        Ok(ShardIterator::new(format!("{shard}|{next}|{}", state.epoch)))
    }

    async fn records(
        &self,
        _: &StreamArn,
        iterator: &ShardIterator,
        _: Ask,
    ) -> Result<RecordBatch, SourceError> {
        let mut state = self.state.lock().unwrap();
        let mut parts = iterator.as_str().split('|');
        let id = parts.next().unwrap().to_owned();
        let next: usize = parts.next().unwrap().parse().unwrap();
        let epoch: u32 = parts.next().unwrap().parse().unwrap();
        let reads = state.reads.len();
        state.reads.push((id.clone(), self.began.elapsed()));
        if let Some(script) = &mut *self.script.lock().unwrap() {
            script(reads, &mut state);
        }
        if let Some(failure) = state.failures.get_mut(&id).and_then(VecDeque::pop_front) {
            return Err(failure);
        }
        if epoch < state.epoch {
            return Err(SourceError::IteratorExpired);
        }
        let epoch = state.epoch;
        let is_quiet = match state.quiet.get_mut(&id) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        };
        let Some(shard) = state.shards.get(&id) else {
            return Err(SourceError::NotFound(id));
        };
        if next < shard.trimmed {
            return Err(SourceError::DataTrimmed);
        }
        let end = if is_quiet {
            next
        } else {
            shard.records.len().min(next + 3)
        };
        Ok(RecordBatch {
            records: shard.records[next..end].to_vec(),
            next: match shard.closed && end == shard.records.len() {
                true => Next::End,
                false => Next::At(ShardIterator::new(format!("{id}|{end}|{epoch}"))),
            },
            behind: None,
            continuation: None,
        })
    }

    fn has_timestamps(&self) -> bool {
        false
    }

    fn has_aggregates(&self) -> bool {
        true
    }

    fn largest_answer(&self) -> usize {
        1
    }
}

/// CloudWatch Logs: three events a page.
#[derive(Default)]
pub struct FakeLog {
    pub streams: Mutex<BTreeMap<LogDestination, Vec<LogEvent>>>,
    /// Shown from the second time on that a stream is read from its end.
    pub late: Mutex<Vec<(LogDestination, LogEvent)>>,
    pub looks: Mutex<usize>,
}

impl FakeLog {
    pub fn put_one(&self, to: &LogDestination, time: Timestamp, message: &str) {
        let event = LogEvent {
            timestamp: time,
            message: message.to_owned(),
        };
        let mut streams = self.streams.lock().unwrap();
        streams.entry(to.clone()).or_default().push(event);
    }
}

#[async_trait]
impl LogSink for FakeLog {
    async fn put(
        &self,
        to: &LogDestination,
        events: &[LogEvent],
        _: Duration,
    ) -> Result<Accepted, SinkError> {
        assert_eq!(batch::cut(events), events.len(), "one batch");
        assert!(events.is_sorted_by_key(|event| event.timestamp));
        match self.streams.lock().unwrap().get_mut(to) {
            Some(stream) => stream.extend_from_slice(events),
            None => return Err(SinkError::Missing(to.to_string())),
        }
        Ok(Accepted::default())
    }

    async fn create_group(&self, _: &str, _: &GroupSettings) -> Result<bool, SinkError> {
        Ok(true)
    }

    async fn describe_group(&self, group: &str) -> Result<GroupFound, SinkError> {
        Err(SinkError::Missing(group.into()))
    }

    async fn group_tags(&self, _: &str) -> Result<BTreeMap<String, String>, SinkError> {
        Ok(BTreeMap::new())
    }

    async fn tag_group(&self, _: &str, _: &BTreeMap<String, String>) -> Result<(), SinkError> {
        Ok(())
    }

    async fn associate_key(&self, _: &str, _: &str) -> Result<(), SinkError> {
        Ok(())
    }

    async fn put_retention(&self, _: &str, _: u16) -> Result<(), SinkError> {
        Ok(())
    }

    async fn create_stream(&self, to: &LogDestination) -> Result<(), SinkError> {
        self.streams.lock().unwrap().entry(to.clone()).or_default();
        Ok(())
    }

    async fn read_back(
        &self,
        from: &LogDestination,
        since: Timestamp,
        before: Option<&PageToken>,
        _: Duration,
    ) -> Result<EventPage, SinkError> {
        let mut streams = self.streams.lock().unwrap();
        if before.is_none() {
            let mut looks = self.looks.lock().unwrap();
            *looks += 1;
            if *looks > 1 {
                for (to, event) in self.late.lock().unwrap().drain(..) {
                    streams.entry(to).or_default().push(event);
                }
            }
        }
        let all = streams.get(from);
        let all = all.ok_or_else(|| SinkError::Missing(from.to_string()))?;
        let mut all: Vec<_> = all.iter().filter(|event| event.timestamp >= since).collect();
        all.sort_by_key(|event| event.timestamp);
        let end = before.map_or(all.len(), |token| token.as_str().parse().unwrap());
        let begin = end.saturating_sub(3);
        Ok(EventPage {
            events: all[begin..end].iter().copied().cloned().collect(),
            before: (begin > 0).then(|| PageToken::new(begin.to_string())),
        })
    }
}

#[async_trait]
impl Subscriptions for FakeLog {
    async fn filters(&self, _: &str) -> Result<Vec<SubscriptionFilter>, SinkError> {
        Ok(Vec::new())
    }

    async fn account_policies(&self) -> Result<Vec<AccountPolicy>, SinkError> {
        Ok(Vec::new())
    }
}

/// A pipeline of text, from the one to the other.
pub fn desk(stream: &Arc<FakeStream>, log: &Arc<FakeLog>) -> StreamDesk {
    let group = Template::parse("/g", TemplateKind::Group).unwrap();
    let source = SourceConfig::of(StreamChoice::Kinesis("audit".into()));
    StreamDesk {
        application: "weir".into(),
        config: PipelineConfig {
            decode: DecodeSettings::of(Decode::Text),
            ..PipelineConfig::of("p", source, DestinationConfig::of(group))
        },
        logs: log.clone(),
        subscriptions: log.clone(),
        source: stream.clone(),
        clock: Arc::new(RuntimeClock::default()),
        rng: fastrand::Rng::with_seed(7),
        tell: Box::new(|_| {}),
    }
}

/// The log stream of a shard.
pub fn stream_of(shard: &str) -> LogDestination {
    LogDestination {
        group: "/g".into(),
        stream: shard.into(),
    }
}
