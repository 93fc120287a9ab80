//! One step of reading a shard, as a future that can be waited for beside other things: a request to the
//! stream, or the decoding of what the last one gave.
//!
//! Owns the memory of an answer until its last record is decoded. An answer is decoded in portions, because
//! what was compressed may need many times the memory that it came in.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::debug;

use super::Pipeline;
use super::appetite::{Appetite, Order, Room};
use super::budget::Reservation;
use super::idle;
use super::lookup::{self, Look};
use crate::clock::{Timestamp, timeout};
use crate::config::PipelineConfig;
use crate::decode::{Decode, DecodeError, Decoded, Origin, aggregate};
use crate::lease::fence::Fence;
use crate::logs::lookup::Found;
use crate::shape;
use crate::stream::{
    Ask, Next, Place, Ready, Record, RecordBatch, SequenceNumber, ShardId, ShardIterator, SourceError,
    StartingPosition, StreamArn, StreamSource,
};
use crate::trace::{self, Value};

/// A request to the stream. An answer of a megabyte takes well below a second in the region.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// What an event takes on its way, beside its message: whom it answers to, and the places of its copies in
/// their lists. Or its dead letter, which tells where it is from in some 800 bytes.
const EVENT: usize = 256;
/// The rest of an answer waits so long for memory for its events. Then it gives its own back, and is read again: what
/// one pipeline can't decode must not keep another from reading.
const STARVED: Duration = Duration::from_secs(5);
/// Of so many records the events' times are looked at before a look-up.
const FIRST_FOR_A_LOOK: usize = 100;

/// What a record takes beside its bytes until it is decoded: its place, its partition key, its entry in the list.
const RECORD: usize = 256;

/// What a connection holds of an answer beside what was taken from it: hyper reads ahead, up to 400 KB (its
/// `http1_max_buf_size`, which the SDK leaves as it is).
const READ_AHEAD: usize = 400 << 10;

/// The events of a portion are estimated to take no more than this in memory, unless one record alone does.
const PORTION: usize = 4 << 20;

/// What became of a record.
pub(super) enum Outcome {
    /// An aggregate of nothing.
    Empty,
    BeforeStart,
    Decoded(Decoded),
    Undecodable(DecodeError),
}

/// Some records of an answer, decoded.
#[derive(Default)]
pub(super) struct Portion {
    pub(super) records: Vec<(Record, Outcome)>,
    /// The memory that their events hold.
    pub(super) memory: Option<Reservation>,
    /// What was looked up, and the memory that it holds.
    pub(super) found: Option<(Found, Reservation)>,
    pub(super) damaged_aggregates: u64,
    /// This is the first portion of an answer, and the answer began with this record, perhaps one that is
    /// done; `None` inside: it had none.
    pub(super) begins: Option<Option<SequenceNumber>>,
    pub(super) then: Then,
    /// Of the whole answer, if it is traced.
    pub(super) trace: Option<trace::Batch>,
}

impl Portion {
    /// Nothing was asked for: the stream has pushed nothing yet.
    pub(super) fn is_quiet(&self) -> bool {
        matches!(&self.then, Then::Next(after) if after.quiet)
    }
}

/// How it goes on after a portion.
pub(super) enum Then {
    /// The answer has more records.
    Rest(Box<Rest>),
    /// It had more, and they were dropped for want of memory: they must be read again.
    Dropped,
    /// The answer is decoded to its end.
    Next(After),
}

impl Default for Then {
    fn default() -> Self {
        Self::Next(After::default())
    }
}

/// What an answer says of what comes after it.
pub(super) struct After {
    pub(super) next: Next,
    /// How many records the stream gave, aggregates counted once, and their bytes.
    pub(super) records: usize,
    pub(super) bytes: usize,
    /// It could have had more: see [`idle::has_room`].
    pub(super) has_room: bool,
    /// The last of them.
    pub(super) last: Option<(SequenceNumber, Option<Timestamp>)>,
    pub(super) behind: Option<Duration>,
    pub(super) continuation: Option<SequenceNumber>,
    /// Nothing was asked for yet: the stream has pushed nothing.
    pub(super) quiet: bool,
}

impl Default for After {
    fn default() -> Self {
        Self {
            next: Next::PerhapsEnd,
            records: 0,
            bytes: 0,
            has_room: false,
            last: None,
            behind: None,
            continuation: None,
            quiet: false,
        }
    }
}

/// The records of an answer that are not decoded yet.
pub(super) struct Rest {
    records: VecDeque<(Record, bool)>,
    after: After,
    damaged_aggregates: u64,
    found: Option<(Found, Reservation)>,
    begins: Option<Option<SequenceNumber>>,
    trace: Option<trace::Batch>,
    /// For the records as they came.
    _memory: Reservation,
}

pub(super) type Reading = Pin<Box<dyn Future<Output = Result<Portion, SourceError>> + Send>>;

/// What a read needs to know.
#[derive(Clone)]
pub(super) struct Reader {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) fence: Fence,
    pub(super) stream: StreamArn,
    pub(super) shard: ShardId,
    /// Earlier records are dropped and counted.
    pub(super) not_before: Option<Timestamp>,
    /// The checkpoint that this began at: it and the sub-records before it are done, and come once more.
    pub(super) done: Option<Place>,
    pub(super) memory: Memory,
    pub(super) appetite: Arc<Mutex<Appetite>>,
}

/// Whether a read waits for memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory(Arc<AtomicBool>);

impl Memory {
    pub(super) fn is_waited_for(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits for memory, and shows it. As cancel-safe as `work`.
    async fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        struct Waiting<'a>(&'a Memory);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.0.store(false, Ordering::Relaxed);
            }
        }
        let _waiting = Waiting(self);
        self.0.store(true, Ordering::Relaxed);
        work.await
    }
}

/// That of a shard that was not read yet.
pub(super) fn appetite_of(source: &dyn StreamSource) -> Arc<Mutex<Appetite>> {
    let appetite = Appetite::new(source.largest_answer(), source.most_records());
    Arc::new(Mutex::new(appetite))
}

impl Reader {
    /// After `wait`, and as soon as there is memory: the first records at `iterator`, or, without one, at
    /// `position`. With records comes what a due look-up finds of them. Dropping the future loses nothing:
    /// the position has not moved.
    pub(super) fn read(
        &self,
        iterator: Option<ShardIterator>,
        position: StartingPosition,
        wait: Duration,
        look: Option<Look>,
    ) -> Reading {
        let reader = self.clone();
        Box::pin(async move {
            if !wait.is_zero() {
                reader.pipeline.clock.sleep(wait).await;
            }
            reader.fetch(iterator, position, look).await
        })
    }

    /// The next records of an answer.
    pub(super) fn go_on(&self, rest: Box<Rest>) -> Reading {
        let reader = self.clone();
        Box::pin(async move { Ok(reader.portion(rest).await) })
    }

    async fn fetch(
        &self,
        iterator: Option<ShardIterator>,
        position: StartingPosition,
        look: Option<Look>,
    ) -> Result<Portion, SourceError> {
        let (clock, source) = (&*self.pipeline.clock, &*self.pipeline.source);
        let iterator = match iterator {
            Some(iterator) => iterator,
            None => {
                let limit = self.limit()?;
                let asked = source.iterator(&self.stream, &self.shard, &position);
                timeout(clock, limit, asked).await.map_err(|_| slow(limit))??
            }
        };
        let limit = self.limit()?;
        let ready = source.ready(&self.stream, &iterator);
        let ready = timeout(clock, limit, ready).await.map_err(|_| slow(limit))??;
        if ready == Ready::No {
            return Ok(Portion {
                then: Then::Next(After {
                    next: Next::At(iterator),
                    quiet: true,
                    ..After::default()
                }),
                ..Portion::default()
            });
        }
        // What could not be decoded is not worth reading.
        self.memory
            .wait(self.pipeline.budget.wait_for_events(PORTION))
            .await;
        let for_look = look.as_ref().map_or(0, |_| lookup::MEMORY);
        let (batch, asked, mut memory, trace) = loop {
            let order = self.order(ready, for_look);
            // At once, for all that is to come: one that held memory and waited for more could wait for ever.
            let bytes = order.reserve + for_look + READ_AHEAD;
            let reserved = self.pipeline.budget.reserve_answer(bytes);
            let memory = self.memory.wait(reserved).await;
            // Once more: the process may have been suspended while it waited.
            let limit = self.limit()?;
            let trace = self.pipeline.tracer.batch();
            let asked = source.records(&self.stream, &iterator, order.ask);
            match timeout(clock, limit, asked).await.map_err(|_| slow(limit))? {
                Ok(batch) => break (batch, order.ask.limit.min(source.most_records()), memory, trace),
                Err(SourceError::TooLarge { needs }) => {
                    drop(memory);
                    self.appetite().refused(needs);
                    debug!(shard_id = %self.shard, needs, reserved = order.reserve, "an answer larger than expected is read again");
                    // The service counts it as read.
                    let poll = self.pipeline.config.source.poll();
                    clock.sleep(source.wait_after(poll, 1, needs)).await;
                }
                Err(error) => return Err(error),
            }
        };
        // An answer without records is no batch.
        let trace = trace.filter(|_| !batch.records.is_empty());
        if let Some(trace) = &trace {
            let records = Value::Count(batch.records.len() as u64);
            trace.part("get_records", trace.began(), vec![("weir.records", records)]);
        }
        let begins = Some(batch.records.first().map(|r| r.sequence_number.clone()));
        let (records, damaged_aggregates, after) = self.take_apart(batch, asked);
        if ready == Ready::Ask {
            let took = source.answer_of(after.records, after.bytes);
            self.appetite().answered(after.records, took);
        }
        let found = match look {
            Some(mut look) => match self.earliest(&records) {
                Some(earliest) => Some(look.up(earliest).await),
                None => None,
            },
            None => None,
        };
        let found = found.map(|found| {
            let memory = memory.split(found.bytes());
            (found, memory)
        });
        memory.shrink(after.bytes + records.len() * RECORD);
        let rest = Rest {
            records,
            after,
            damaged_aggregates,
            found,
            begins,
            trace,
            _memory: memory,
        };
        Ok(self.portion(Box::new(rest)).await)
    }

    fn appetite(&self) -> MutexGuard<'_, Appetite> {
        self.appetite.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to ask for, and how much memory to reserve beside what a look-up takes.
    fn order(&self, ready: Ready, for_look: usize) -> Order {
        let budget = &self.pipeline.budget;
        let all = budget.most_of_an_answer().saturating_sub(for_look).max(1);
        match ready {
            Ready::Here(bytes) => Order {
                ask: Ask::ALL,
                reserve: bytes,
            },
            Ready::No | Ready::Ask => self.appetite().order(Room {
                each: budget.fair_answer().min(all),
                all,
            }),
        }
    }

    fn limit(&self) -> Result<Duration, SourceError> {
        let fenced = |_| SourceError::Unavailable("this worker is fenced".to_owned());
        Ok(READ_TIMEOUT.min(self.fence.remaining().map_err(fenced)?))
    }

    /// The records one by one, aggregates taken apart, without those that are done.
    /// `true`: that is an aggregate of nothing, which still has a place in the shard.
    fn take_apart(&self, batch: RecordBatch, asked: usize) -> (VecDeque<(Record, bool)>, u64, After) {
        let bytes = batch.records.iter().map(|r| r.data.len()).sum();
        let after = After {
            next: batch.next,
            records: batch.records.len(),
            bytes,
            has_room: idle::has_room(asked, batch.records.len(), bytes),
            last: batch.records.last().map(|r| (r.sequence_number.clone(), r.time)),
            behind: batch.behind,
            continuation: batch.continuation,
            quiet: false,
        };
        if !self.pipeline.source.has_aggregates() {
            let records = batch.records.into_iter().map(|record| (record, false));
            return (records.collect(), 0, after);
        }
        let mut damaged_aggregates = 0;
        let mut records = VecDeque::with_capacity(batch.records.len());
        for record in batch.records {
            let (parts, damaged) = aggregate::user_records(&record);
            damaged_aggregates += u64::from(damaged);
            let empty = parts.is_empty().then_some((record, true));
            let done = |r: &Record| self.done.as_ref().is_some_and(|done| r.place() <= *done);
            let parts = parts.into_iter().map(|part| (part, false));
            records.extend(parts.chain(empty).filter(|(r, _)| !done(r)));
        }
        (records, damaged_aggregates, after)
    }

    fn is_before_start(&self, record: &Record) -> bool {
        // A record without a time can't be shown to lie before the start; it goes on to the dead letters.
        match (self.not_before, record.time) {
            (Some(start), Some(time)) => time < start,
            _ => false,
        }
    }

    /// The time of the earliest event to come, of those that count: what lies before the start is delivered
    /// by nobody, and what has no time goes to the dead letters. Events that come in an envelope are older
    /// than their record.
    fn earliest(&self, records: &VecDeque<(Record, bool)>) -> Option<Timestamp> {
        let records = records.iter().map(|(record, _)| record);
        let count = records.filter(|record| !self.is_before_start(record));
        match self.pipeline.config.decode.how {
            Decode::Lambda => count.filter_map(|record| record.time).min(),
            // Of the first ones alone: all of them might take long, and a part found is as good as any.
            _ => count
                .take(FIRST_FOR_A_LOOK)
                .filter_map(|record| self.decode(record).ok())
                .filter_map(|decoded| decoded.events.iter().map(|e| e.event.timestamp).min())
                .min(),
        }
    }

    fn decode(&self, record: &Record) -> Result<Decoded, DecodeError> {
        let origin = Origin {
            stream: &self.stream,
            shard: &self.shard,
        };
        let config = &self.pipeline.config;
        shape::events(record, origin, &config.decode, &config.shape)
    }

    /// Decodes as many records as fit into a portion, as soon as there is memory for their events.
    async fn portion(&self, mut rest: Box<Rest>) -> Portion {
        let PipelineConfig {
            decode: settings,
            shape,
            ..
        } = &self.pipeline.config;
        let copies = self.pipeline.budget.copies();
        let (mut count, mut estimate) = (0, 0);
        for (record, _) in &rest.records {
            let more = shape::estimate(record, settings, shape) * copies;
            if count > 0 && estimate + more > PORTION {
                break;
            }
            count += 1;
            estimate += more;
        }
        let mut memory = None;
        if count > 0 {
            let wait = self.pipeline.budget.reserve_events(estimate);
            // Safe to cancel, as it says.
            let wait = timeout(&*self.pipeline.clock, STARVED, wait);
            match self.memory.wait(wait).await {
                Ok(reserved) => memory = Some(reserved),
                Err(_) => {
                    return Portion {
                        then: Then::Dropped,
                        trace: rest.trace.take(),
                        ..Portion::default()
                    };
                }
            }
        }
        let began = rest.trace.as_ref().map(trace::Batch::now);
        let mut bytes = 0;
        let mut records = Vec::with_capacity(count);
        // What was estimated too low, gzip in gzip say, ends the portion when it shows.
        while records.len() < count
            && bytes * copies <= estimate.max(PORTION)
            && let Some((record, is_empty)) = rest.records.pop_front()
        {
            let outcome = match (is_empty, self.is_before_start(&record)) {
                (_, true) => Outcome::BeforeStart,
                (true, false) => Outcome::Empty,
                (false, false) => match self.decode(&record) {
                    Ok(decoded) => Outcome::Decoded(decoded),
                    Err(error) => Outcome::Undecodable(error),
                },
            };
            bytes += outcome.held(&record);
            records.push((record, outcome));
        }
        if let (Some(trace), Some(began)) = (&rest.trace, began) {
            let decoded = Value::Count(records.len() as u64);
            trace.part("decode", began, vec![("weir.records", decoded)]);
        }
        if let Some(memory) = &mut memory {
            memory.fit(bytes * copies);
        }
        Portion {
            records,
            memory,
            found: rest.found.take(),
            damaged_aggregates: std::mem::take(&mut rest.damaged_aggregates),
            begins: rest.begins.take(),
            trace: rest.trace.clone(),
            then: match rest.records.is_empty() {
                true => Then::Next(rest.after),
                false => Then::Rest(rest),
            },
        }
    }
}

impl Outcome {
    /// What a record's events, or its dead letter, hold in memory while they are in flight.
    pub(super) fn held(&self, record: &Record) -> usize {
        match self {
            Self::Empty | Self::BeforeStart => 0,
            Self::Decoded(decoded) => {
                let messages: usize = decoded.events.iter().map(|e| e.event.message.len()).sum();
                messages + decoded.events.len() * EVENT
            }
            Self::Undecodable(_) => record.data.len(),
        }
    }
}

fn slow(limit: Duration) -> SourceError {
    SourceError::Unavailable(format!("no answer within {limit:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn that_memory_is_waited_for_is_shown_as_long_as_somebody_waits() {
        let memory = Memory::default();
        assert!(memory.wait(async { memory.is_waited_for() }).await);
        assert!(!memory.is_waited_for(), "it is there");
        let seen = memory.clone();
        let mut never = Box::pin(memory.wait(std::future::pending::<()>()));
        let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(never.as_mut().poll(cx)));
        assert!(polled.await.is_pending() && seen.is_waited_for());
        drop(never);
        assert!(!seen.is_waited_for(), "nobody waits any more");
    }
}
