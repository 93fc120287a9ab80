//! A stream read by one who is no worker: all its shards, parents before children, without a lease and without a trace.
//!
//! Owns the requests of such a reading and their pace, for `weir tail`, `weir verify` and `weir replay`. Must never
//! write anything, never pass over records without a word, and never read a shard as fast as its worker does: it is
//! one more reader, and the first to back off ([`pace`]). What to read next is decided in [`tree`].

pub mod pace;
#[cfg(test)]
mod tests;
pub mod tree;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::MOST_REPEATS;
use crate::backoff::Backoff;
use crate::clock::{Clock, Monotonic, Timestamp, timeout};
use crate::stream::{
    Ask, Next, Poll, Record, RecordBatch, SequenceNumber, ShardId, ShardIterator, ShardListing, SourceError,
    StartingPosition, StreamArn, StreamSource,
};
use pace::Calm;
use tree::{Begun, Ending, Tree};

/// Answers that are asked for, or not handed over yet, at once, whatever the number of shards: what is held at most.
const AT_ONCE: usize = 4;
/// A request to the stream.
const REQUEST: Duration = Duration::from_secs(10);
/// The times of a shard's records may go back a little: a shard is read on until they are so far behind the end.
pub(super) const DISORDER: Duration = Duration::from_secs(60);
/// DynamoDB may give nothing a few times although more follows; after so many empty answers an open shard has no more.
const QUIET_READS: u32 = 8;
/// So often a shard without a next iterator and without children is read anew before a listing decides
/// (rule 7 of the KCL's lessons).
const DOUBTS: u32 = 3;
/// A listing follows another so soon at the earliest, while something is left to read.
const LISTING_PACE: Duration = Duration::from_secs(10);
/// The children of a shard that has just ended are asked for so often, and so far apart.
const CHILDREN: u32 = 3;
const CHILDREN_PACE: Duration = Duration::from_secs(2);

/// Where the reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// With the oldest that the stream holds.
    Horizon,
    /// With the records of this time. DynamoDB Streams has no such place: it is read from its beginning.
    At(Timestamp),
    /// With what comes from now on.
    Latest,
}

/// Where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Never: what comes is waited for.
    Never,
    /// With what the stream holds now.
    Tip,
    /// Before the records of this time.
    Before(Timestamp),
}

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    pub begin: Begin,
    pub end: End,
}

impl Scope {
    fn holds(&self, record: &Record) -> bool {
        // One without a time can't be shown to lie outside.
        let Some(time) = record.time else {
            return true;
        };
        let is_before = matches!(self.begin, Begin::At(begin) if time < begin);
        let is_after = matches!(self.end, End::Before(end) if time >= end);
        !is_before && !is_after
    }

    /// Whether a time lies so far behind the end that nothing before it follows. Of a reading that `began` then.
    fn is_past(&self, time: Timestamp, began: Timestamp) -> bool {
        let end = match self.end {
            End::Never => return false,
            // A DynamoDB shard that is written to all the time never gives an empty answer.
            End::Tip => began,
            End::Before(end) => end,
        };
        time >= end.plus(DISORDER)
    }
}

/// Some records of one shard, in their order.
#[derive(Debug)]
pub struct Batch {
    pub stream: StreamArn,
    pub shard: ShardId,
    pub records: Vec<Record>,
}

/// What is told of a reading, in its order for each shard and its children.
#[derive(Debug)]
pub enum Seen {
    Records(Batch),
    /// The stream trimmed what came after this record (`None`: after the beginning) before it could be read.
    Gap {
        stream: StreamArn,
        shard: ShardId,
        after: Option<SequenceNumber>,
    },
    /// The service no longer knows a shard that it listed.
    Gone {
        stream: StreamArn,
        shard: ShardId,
    },
    /// Something that a person should know.
    Note(String),
    /// A shard has been read, as far as it was asked for.
    Ended {
        stream: StreamArn,
        shard: ShardId,
    },
}

/// Why a reading ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("a task that reads a shard ended: {0}")]
    Task(String),
}

/// What all tasks share.
struct Shared {
    source: Arc<dyn StreamSource>,
    clock: Arc<dyn Clock>,
    poll: Poll,
    scope: Scope,
    turns: Semaphore,
    seen: mpsc::Sender<Seen>,
    /// When the reading began.
    began: Timestamp,
}

/// A reading on its way. Dropping it ends it.
pub struct Survey {
    shared: Arc<Shared>,
    seen: mpsc::Receiver<Seen>,
    tasks: JoinSet<(ShardId, Result<Ending, SourceError>)>,
    /// The streams still to be read, the oldest last; `None` until they are known.
    waiting: Option<Vec<StreamArn>>,
    current: Option<(StreamArn, Tree)>,
    /// The youngest stream that was read, or is.
    newest: Option<StreamArn>,
    last_listing: Option<Monotonic>,
    sync_interval: Duration,
    looks_for_children: u32,
    done_before: usize,
    backoff: Backoff,
    rng: fastrand::Rng,
}

impl Survey {
    /// Nothing is asked before [`Self::next`].
    pub fn new(
        source: Arc<dyn StreamSource>,
        clock: Arc<dyn Clock>,
        poll: Poll,
        sync_interval: Duration,
        scope: Scope,
        rng: fastrand::Rng,
    ) -> Self {
        let (tx, seen) = mpsc::channel(1);
        Self {
            shared: Arc::new(Shared {
                source,
                began: clock.wall(),
                clock,
                poll,
                scope,
                turns: Semaphore::new(AT_ONCE),
                seen: tx,
            }),
            seen,
            tasks: JoinSet::new(),
            waiting: None,
            current: None,
            newest: None,
            last_listing: None,
            sync_interval,
            looks_for_children: 0,
            done_before: 0,
            backoff: Backoff::default(),
            rng,
        }
    }

    /// What comes next; `None` at the end. Cancel-safe: what was not answered is asked for again.
    pub async fn next(&mut self) -> Result<Option<Seen>, Broken> {
        loop {
            if self.current.is_none() && !self.next_stream().await? {
                return Ok(None);
            }
            let follows = self.shared.scope.end == End::Never;
            let due = self.listing_due(follows);
            let now = self.shared.clock.now();
            if due.is_some_and(|due| due <= now) {
                self.list().await?;
            }
            self.begin_shards();
            if self.tasks.is_empty() && self.is_stream_over(follows) {
                // The tasks are gone, and what they told was taken before they were joined.
                if let Some((_, tree)) = self.current.take() {
                    self.done_before += tree.progress().0;
                }
                continue;
            }
            let wait = self.listing_due(follows).map(|due| due.since(now));
            let clock = self.shared.clock.clone();
            // All cancel-safe: recv keeps its queue, join_next its set. What is told comes before the end of its shard.
            tokio::select! {
                biased;
                Some(seen) = self.seen.recv() => return Ok(Some(seen)),
                Some(joined) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    let (shard, ending) = joined.map_err(|error| Broken::Task(error.to_string()))?;
                    let ending = ending?;
                    let Some((stream, tree)) = &mut self.current else { continue };
                    tree.ended(&shard, ending);
                    self.looks_for_children = 0;
                    let stream = stream.clone();
                    return Ok(Some(match ending {
                        Ending::Gone => Seen::Gone { stream, shard },
                        Ending::End | Ending::Past => Seen::Ended { stream, shard },
                    }));
                }
                () = clock.sleep(wait.unwrap_or_default()), if wait.is_some() => {}
            }
        }
    }

    /// How many shards were read, of how many that are known.
    pub fn progress(&self) -> (usize, usize) {
        let (done, known) = self.current.as_ref().map_or((0, 0), |(_, tree)| tree.progress());
        (self.done_before + done, self.done_before + known)
    }

    /// The shards whose reading has begun and not ended.
    pub fn reading(&self) -> Vec<(StreamArn, ShardId)> {
        let of = |(stream, tree): &(StreamArn, Tree)| {
            let shards = tree.reading().cloned();
            shards.map(|shard| (stream.clone(), shard)).collect()
        };
        self.current.as_ref().map(of).unwrap_or_default()
    }

    /// The shards that were read to their end while what comes after them isn't.
    pub fn left_off(&self) -> Vec<(StreamArn, ShardId)> {
        let of = |(stream, tree): &(StreamArn, Tree)| {
            let shards = tree.left_off().into_iter().cloned();
            shards.map(|shard| (stream.clone(), shard)).collect()
        };
        self.current.as_ref().map(of).unwrap_or_default()
    }

    /// When the shards are to be listed next. `None`: nothing asks for it.
    fn listing_due(&self, follows: bool) -> Option<Monotonic> {
        let (_, tree) = self.current.as_ref()?;
        let Some(last) = self.last_listing else {
            return Some(self.shared.clock.now());
        };
        if tree.is_stale() {
            let pace = match self.tasks.is_empty() {
                true => Duration::ZERO,
                false => LISTING_PACE,
            };
            return Some(last + pace);
        }
        let waits_for_children =
            self.tasks.is_empty() && tree.has_childless() && self.looks_for_children < CHILDREN;
        match (waits_for_children, follows) {
            (true, _) => Some(last + CHILDREN_PACE),
            (false, true) => Some(last + self.sync_interval),
            (false, false) => None,
        }
    }

    fn is_stream_over(&self, follows: bool) -> bool {
        let Some((_, tree)) = &self.current else {
            return false;
        };
        let is_read = tree.is_over() && !tree.is_stale();
        let has_children = !tree.has_childless() || self.looks_for_children >= CHILDREN;
        // A stream that takes no more records may have a successor.
        let is_last = self.waiting.as_ref().is_none_or(Vec::is_empty);
        is_read && has_children && (!follows || !is_last || tree.is_disabled())
    }

    /// Goes on to the next stream of the table. `false`: there is none, and none is waited for.
    async fn next_stream(&mut self) -> Result<bool, Broken> {
        loop {
            if let Some(stream) = self.waiting.as_mut().and_then(Vec::pop) {
                self.newest = Some(stream.clone());
                self.current = Some((stream, Tree::new(self.start())));
                (self.last_listing, self.looks_for_children) = (None, 0);
                return Ok(true);
            }
            let is_first = self.waiting.is_none();
            if !is_first {
                if self.shared.scope.end != End::Never {
                    return Ok(false);
                }
                self.shared.clock.sleep(self.sync_interval).await;
            }
            let source = self.shared.source.clone();
            let mut streams = match self.shared.scope.begin {
                Begin::Latest if is_first => {
                    self.ask(async || source.current().await.map(|stream| vec![stream]))
                        .await?
                }
                _ => self.ask(async || source.streams().await).await?,
            };
            if streams.is_empty() {
                streams = vec![self.ask(async || source.current().await).await?];
            }
            // Labels are times: the oldest is read first.
            streams.sort_by(|a, b| b.label().cmp(&a.label()));
            let newest = self.newest.as_ref().map(StreamArn::label);
            streams.retain(|stream| newest.is_none_or(|newest| stream.label() > newest));
            self.waiting = Some(streams);
        }
    }

    /// Where the shards of a stream are read from.
    fn start(&self) -> StartingPosition {
        let is_first = self.done_before == 0;
        match self.shared.scope.begin {
            Begin::Latest if is_first => StartingPosition::Latest,
            Begin::At(time) if self.shared.source.has_timestamps() => StartingPosition::AtTimestamp(time),
            Begin::Horizon | Begin::At(_) | Begin::Latest => StartingPosition::TrimHorizon,
        }
    }

    async fn list(&mut self) -> Result<(), Broken> {
        let source = self.shared.source.clone();
        let Some((stream, _)) = &self.current else {
            return Ok(());
        };
        let stream = stream.clone();
        let listing = match self.ask(async || source.list_shards(&stream).await).await {
            // It was deleted while it was read.
            Err(SourceError::NotFound(_)) if self.last_listing.is_some() => ShardListing {
                shards: Vec::new(),
                disabled: true,
            },
            listing => listing?,
        };
        self.last_listing = Some(self.shared.clock.now());
        self.looks_for_children += 1;
        if let Some((_, tree)) = &mut self.current {
            tree.learn(&listing);
        }
        Ok(())
    }

    fn begin_shards(&mut self) {
        let Some((stream, tree)) = &mut self.current else {
            return;
        };
        for Begun { shard, start, closed } in tree.begin() {
            let reader = ShardReader {
                shared: self.shared.clone(),
                stream: stream.clone(),
                shard,
                start,
                closed,
                last: None,
                iterator: None,
                quiet: 0,
                doubts: 0,
                calm: Calm::default(),
                backoff: Backoff::default(),
                rng: self.rng.fork(),
            };
            self.tasks.spawn(reader.run());
        }
    }

    /// Repeats a request that failed for a moment.
    async fn ask<T>(&mut self, request: impl AsyncFn() -> Result<T, SourceError>) -> Result<T, SourceError> {
        loop {
            let answer = match timeout(&*self.shared.clock, 3 * REQUEST, request()).await {
                Ok(answer) => answer,
                Err(_) => Err(slow()),
            };
            let passes = matches!(
                answer,
                Err(SourceError::Throttled(_) | SourceError::Unavailable(_))
            );
            if !passes || self.backoff.failures() >= MOST_REPEATS {
                self.backoff.reset();
                return answer;
            }
            self.shared.clock.sleep(self.backoff.next(&mut self.rng)).await;
        }
    }
}

fn slow() -> SourceError {
    SourceError::Unavailable("no answer in time".to_owned())
}

/// What comes after a step.
enum Step {
    Wait(Duration),
    Done(Ending),
}

/// Reads one shard.
struct ShardReader {
    shared: Arc<Shared>,
    stream: StreamArn,
    shard: ShardId,
    start: StartingPosition,
    /// It has an end, and is read to it whatever it gives before.
    closed: bool,
    /// The last record that was read.
    last: Option<SequenceNumber>,
    iterator: Option<ShardIterator>,
    /// Empty answers in a row.
    quiet: u32,
    doubts: u32,
    calm: Calm,
    backoff: Backoff,
    rng: fastrand::Rng,
}

impl ShardReader {
    async fn run(mut self) -> (ShardId, Result<Ending, SourceError>) {
        loop {
            let shared = self.shared.clone();
            let step = {
                let _turn = shared.turns.acquire().await;
                self.step().await
            };
            match step {
                Ok(Step::Wait(wait)) => shared.clock.sleep(wait).await,
                Ok(Step::Done(ending)) => return (self.shard, Ok(ending)),
                Err(error) => return (self.shard, Err(error)),
            }
        }
    }

    async fn tell(&self, seen: Seen) {
        // Without a listener the reading is over.
        let _ = self.shared.seen.send(seen).await;
    }

    /// One request, and what it gave.
    async fn step(&mut self) -> Result<Step, SourceError> {
        let (source, clock) = (self.shared.source.clone(), self.shared.clock.clone());
        let answer = match &self.iterator {
            None => {
                let position = self.position();
                let asked = source.iterator(&self.stream, &self.shard, &position);
                let iterator = timeout(&*clock, REQUEST, asked).await;
                match iterator.unwrap_or_else(|_| Err(slow())) {
                    Ok(iterator) => {
                        self.iterator = Some(iterator);
                        if self.start == StartingPosition::Latest {
                            // Should it have to be found again, this is what had not been read by now.
                            self.start = match source.has_timestamps() {
                                true => StartingPosition::AtTimestamp(clock.wall()),
                                false => StartingPosition::TrimHorizon,
                            };
                        }
                        return Ok(Step::Wait(Duration::ZERO));
                    }
                    Err(error) => Err(error),
                }
            }
            Some(iterator) => {
                let asked = source.records(&self.stream, iterator, Ask::ALL);
                let batch = timeout(&*clock, REQUEST, asked).await;
                batch.unwrap_or_else(|_| Err(slow()))
            }
        };
        match answer {
            Ok(batch) => self.receive(batch).await,
            Err(error) => self.trouble(error).await,
        }
    }

    fn position(&self) -> StartingPosition {
        match &self.last {
            Some(last) => StartingPosition::After(last.clone()),
            None => self.start.clone(),
        }
    }

    async fn trouble(&mut self, error: SourceError) -> Result<Step, SourceError> {
        match error {
            SourceError::IteratorExpired => {
                self.iterator = None;
                // A service that always says so is not asked faster for it.
                Ok(Step::Wait(pace::BUSY))
            }
            SourceError::DataTrimmed => {
                let after = self.last.take();
                self.tell(Seen::Gap {
                    stream: self.stream.clone(),
                    shard: self.shard.clone(),
                    after,
                })
                .await;
                self.start = StartingPosition::TrimHorizon;
                self.iterator = None;
                Ok(Step::Wait(pace::BUSY))
            }
            SourceError::NotFound(_) => Ok(Step::Done(Ending::Gone)),
            SourceError::Throttled(why) => {
                if self.calm.is_calm() {
                    let shard = &self.shard;
                    self.tell(Seen::Note(format!(
                        "{shard} is throttled ({why}): waiting, so that its worker can read"
                    )))
                    .await;
                }
                Ok(Step::Wait(self.calm.throttled(&mut self.rng)))
            }
            SourceError::Unavailable(_) if self.backoff.failures() < MOST_REPEATS => {
                Ok(Step::Wait(self.backoff.next(&mut self.rng)))
            }
            error => Err(error),
        }
    }

    async fn receive(&mut self, batch: RecordBatch) -> Result<Step, SourceError> {
        self.calm.went_well();
        self.backoff.reset();
        let scope = self.shared.scope;
        let RecordBatch {
            mut records,
            next,
            behind,
            ..
        } = batch;
        let count = records.len();
        let bytes = records.iter().map(|record| record.data.len()).sum();
        let is_past = records
            .iter()
            .filter_map(|r| r.time)
            .any(|time| scope.is_past(time, self.shared.began));
        if let Some(last) = records.last() {
            self.last = Some(last.sequence_number.clone());
            (self.quiet, self.doubts) = (0, 0);
        } else {
            self.quiet += 1;
        }
        // A shard that had to be begun anew from its horizon holds older ones.
        let new_only = scope.begin == Begin::Latest;
        records
            .retain(|r| scope.holds(r) && !(new_only && r.time.is_some_and(|t| t < self.second_of_begin())));
        if !records.is_empty() {
            self.tell(Seen::Records(Batch {
                stream: self.stream.clone(),
                shard: self.shard.clone(),
                records,
            }))
            .await;
        }
        let rest = pace::rest(&*self.shared.source, self.shared.poll, count, bytes);
        let is_tip = scope.end != End::Never
            && !self.closed
            && match behind {
                Some(behind) => {
                    behind.is_zero()
                        || (count == 0 && scope.is_past(self.now().minus(behind), self.shared.began))
                }
                None => self.quiet >= QUIET_READS,
            };
        match next {
            Next::End => Ok(Step::Done(Ending::End)),
            _ if is_past => Ok(Step::Done(Ending::Past)),
            Next::PerhapsEnd => {
                self.iterator = None;
                self.doubts += 1;
                if self.doubts <= DOUBTS {
                    return Ok(Step::Wait(rest));
                }
                match self.is_closed().await {
                    Ok(true) => Ok(Step::Done(Ending::End)),
                    Ok(false) => Ok(Step::Wait(rest)),
                    // It is asked again after another read.
                    Err(SourceError::Throttled(_) | SourceError::Unavailable(_)) => {
                        Ok(Step::Wait(CHILDREN_PACE))
                    }
                    Err(error) => Err(error),
                }
            }
            Next::At(_) if is_tip => Ok(Step::Done(Ending::Past)),
            Next::At(next) => {
                self.iterator = Some(next);
                Ok(Step::Wait(rest))
            }
        }
    }

    fn now(&self) -> Timestamp {
        self.shared.clock.wall()
    }

    /// DynamoDB tells the times of some records in whole seconds.
    fn second_of_begin(&self) -> Timestamp {
        self.shared.began.floor_second()
    }

    /// Whether a listing says that the shard takes no more records, or doesn't show it.
    async fn is_closed(&self) -> Result<bool, SourceError> {
        let listing = self.shared.source.list_shards(&self.stream).await?;
        let shard = listing.shards.iter().find(|shard| shard.id == self.shard);
        Ok(listing.disabled || shard.is_none_or(|shard| shard.closed))
    }
}
