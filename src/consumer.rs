//! One shard: read, decode, deliver, checkpoint.
//!
//! Owns a [`HeldLease`] and everything between the read and the checkpoint. Must never read, put or
//! checkpoint past the fence, and never move a checkpoint over what was not accepted. The coordinator
//! starts it and waits for its [`End`].

mod accounts;
pub mod budget;
mod ending;
mod lookup;
mod reader;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use self::accounts::Accounts;
use self::budget::{Budget, Reservation};
use self::lookup::{Look, LookUp};
use self::reader::{Fetched, Reader};
use crate::backoff::Backoff;
use crate::clock::{Clock, Monotonic, Progress, Timestamp};
use crate::config::{PipelineConfig, Start};
use crate::decode::{DecodeError, change};
use crate::lease::held::{HeldLease, LeaseError, Leases};
use crate::lease::keys::Keys;
use crate::lease::{Checkpoint, LeaseKey, SharedTable, plan};
use crate::ledger::{Acknowledged, Ledger};
use crate::logs::batch::Refusal;
use crate::logs::guard::Guard;
use crate::logs::sink::{Delivered, Lane, Parcel, Sink};
use crate::logs::template::{Fields, RenderError};
use crate::logs::{LogDestination, LogEvent, dead_letter};
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::shutdown::Stop;
use crate::stream::{Next, Record, ShardIterator, StartingPosition, StreamArn, StreamSource};

/// The part of a drain's time that the coordinator may wait for a successor before it asks a consumer to stop.
pub const SUCCESSOR_SHARE: f64 = 0.25;
/// How often a consumer comes round at least, to show that it lives.
const TICK: Duration = Duration::from_secs(1);
/// A shard reads on while it is ahead of its checkpoint by no more than these bytes (one batch is put
/// while the next is fetched)…
const AHEAD_BYTES: usize = 2 * 1024 * 1024;
/// …and these records. A record that can't be delivered, not even as a dead letter, so stops its shard.
const AHEAD_RECORDS: usize = 10_000;
/// The first checkpoint comes this soon, the next after twice that, and so up to the configured interval:
/// a process that crashes again and again after a few seconds still gets ahead.
const FIRST_CHECKPOINT: Duration = Duration::from_secs(1);
/// A checkpoint that the table did not answer is tried again so soon.
const CHECKPOINT_RETRY: Duration = Duration::from_secs(1);

/// How a consumer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The shard was read to its end, and SHARD_END is written. These children have leases that can be
    /// taken now; without any, a shard sync must look for them.
    ShardEnd { children: Vec<LeaseKey> },
    /// It was asked to stop; the lease is free, and its counter is this. `drained`: nothing will be repeated.
    Released { drained: bool, counter: u64 },
    /// It was asked to stop and could not settle everything.
    Undone,
    /// Another worker has the lease.
    Lost,
    /// The worker is fenced.
    Fenced,
}

/// What all consumers of a pipeline share.
pub struct Pipeline {
    pub application: String,
    pub keys: Keys,
    pub config: PipelineConfig,
    /// Whether the destination feeds the source, as far as it is known.
    pub guard: Guard,
    pub source: Arc<dyn StreamSource>,
    pub sink: Sink,
    pub budget: Budget,
    pub table: SharedTable,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
    pub readiness: Readiness,
    pub checkpoint_interval: Duration,
    pub drain_timeout: Duration,
    pub request_timeout: Duration,
}

/// Reads one shard until it ends, the lease is lost or a stop is wished. Records before `stream_start`
/// are dropped wherever the checkpoint stands: one among them must not make the next owner deliver the rest.
/// A lease `from` a dead worker starts with a look at what that one has delivered.
#[expect(
    clippy::too_many_arguments,
    reason = "each is another's, and there is one caller"
)]
pub async fn run(
    pipeline: Arc<Pipeline>,
    leases: Leases,
    held: HeldLease,
    stream_start: Option<Timestamp>,
    progress: Progress,
    stop: Stop,
    rng: fastrand::Rng,
    from: plan::From,
) -> End {
    let lease = held.lease();
    let Some(stream) = lease.stream.clone() else {
        // A lease whose stream nobody knows is not startable, and not taken.
        warn!(lease = %lease.key, "the lease names no stream");
        return End::Lost;
    };
    let shard = lease.shard.to_string();
    let (lane, deliveries) = pipeline.sink.lane(stream.as_str(), &shard);
    let accounts = Accounts::new(&pipeline.metrics, &pipeline.config.name, &shard);
    let configured = match pipeline.config.source.start {
        Start::At(time) => Some(time),
        Start::TrimHorizon | Start::Latest => None,
    };
    let (position, lease_start) = start(&lease.checkpoint, configured, pipeline.source.has_timestamps());
    if let Checkpoint::Latest | Checkpoint::AtUnknownTimestamp = lease.checkpoint
        && lease_start.is_none()
    {
        warn!(
            lease = %lease.key,
            shard_id = %lease.shard,
            position = %lease.checkpoint,
            "KCL has never checkpointed this shard, and only its own configuration told where it began: reading from the \
             horizon. To leave out what is older, set `start` to the time when KCL began"
        );
    }
    let not_before = lease_start.or(stream_start);
    let fields = Fields {
        application: &pipeline.application,
        pipeline: &pipeline.config.name,
        table: stream.table(),
        stream: stream.kinesis_name(),
        shard_id: &shard,
        region: stream.region(),
        account: stream.account(),
        envelope: None,
    };
    let destination = destination(&pipeline.config, &fields);
    let wished = pipeline.config.destination.looks_up();
    let look_up = LookUp::at_take(from, wished, destination.as_ref().ok());
    let reader = Reader {
        pipeline: pipeline.clone(),
        fence: leases.fence().clone(),
        stream: stream.clone(),
        shard: lease.shard.clone(),
    };
    info!(lease = %lease.key, shard_id = %lease.shard, position = %lease.checkpoint, "reading the shard");
    let interval = FIRST_CHECKPOINT.min(pipeline.checkpoint_interval);
    let consumer = Consumer {
        key: lease.key.clone(),
        stream,
        reader,
        lane,
        accounts,
        destination,
        position,
        not_before,
        leases,
        progress,
        rng,
        look_up,
        ledger: Ledger::default(),
        behind: None,
        reservations: Vec::new(),
        checkpoint_due: pipeline.clock.now() + interval,
        interval,
        written: None,
        pipeline,
    };
    consumer.run(held, deliveries, stop).await
}

/// Where to read from, and the time before which records are dropped. `configured`: the pipeline's own start,
/// if it is a time.
fn start(
    checkpoint: &Checkpoint,
    configured: Option<Timestamp>,
    has_timestamps: bool,
) -> (StartingPosition, Option<Timestamp>) {
    let from = |time: Timestamp| match has_timestamps {
        true => (StartingPosition::AtTimestamp(time), Some(time)),
        false => (StartingPosition::TrimHorizon, Some(time)),
    };
    match checkpoint {
        // The sub-sequence number counts inside an aggregate of the Kinesis Producer Library, which a
        // DynamoDB stream has not: all of the record is done. A source that has aggregates must read AT the
        // sequence number, also where the sub-sequence number is 0, and drop the sub-records up to it: the
        // row doesn't tell whether that was the last one.
        Checkpoint::At(sequence_number, _) => (StartingPosition::After(sequence_number.clone()), None),
        Checkpoint::AtTimestamp(time) => from(*time),
        // These two stand only on rows of a KCL application that never checkpointed the shard. Evaluating
        // LATEST here, perhaps long after it was written, would skip records, and the other's time is not
        // known: the horizon repeats some instead, where the settings don't tell a time.
        Checkpoint::Latest | Checkpoint::AtUnknownTimestamp => match configured {
            Some(time) => from(time),
            None => (StartingPosition::TrimHorizon, None),
        },
        Checkpoint::TrimHorizon | Checkpoint::ShardEnd => (StartingPosition::TrimHorizon, None),
    }
}

fn destination(config: &PipelineConfig, fields: &Fields<'_>) -> Result<LogDestination, RenderError> {
    Ok(LogDestination {
        group: config.destination.group.render(fields)?,
        stream: config.destination.stream.render(fields)?,
    })
}

struct Consumer {
    key: LeaseKey,
    stream: StreamArn,
    pipeline: Arc<Pipeline>,
    leases: Leases,
    reader: Reader,
    lane: Lane,
    accounts: Accounts,
    /// The same for every record of a shard: today's fields are all known per shard.
    destination: Result<LogDestination, RenderError>,
    position: StartingPosition,
    /// Earlier records are dropped and counted.
    not_before: Option<Timestamp>,
    progress: Progress,
    rng: fastrand::Rng,
    look_up: LookUp,
    ledger: Ledger,
    /// How old the newest record of the last read was; zero after one that gave none.
    behind: Option<Duration>,
    /// The memory of what is in flight, oldest first: given back as the ledger shrinks.
    reservations: Vec<Reservation>,
    checkpoint_due: Monotonic,
    /// Until the one after.
    interval: Duration,
    /// The checkpoint in the table, if this consumer wrote one.
    written: Option<Acknowledged>,
}

/// What to do about a read.
enum Step {
    /// Read again after this wait.
    Read(Duration),
    /// Every record of the shard has been read.
    Ended,
    /// The shard, or its stream, is gone; what was not read is lost.
    Gone,
}

impl Consumer {
    async fn run(
        mut self,
        mut held: HeldLease,
        mut deliveries: mpsc::UnboundedReceiver<Delivered>,
        mut stop: Stop,
    ) -> End {
        let clock = self.pipeline.clock.clone();
        let mut read = self.read(None, Duration::ZERO);
        let mut reading = true;
        let mut backoff = Backoff::default();
        loop {
            self.progress.mark(clock.now());
            self.tell_lag();
            self.look_up.expire(clock.now());
            if self.leases.fence().check().is_err() {
                return End::Fenced;
            }
            if clock.now() >= self.checkpoint_due {
                self.checkpoint_due = clock.now() + self.interval;
                self.interval = (self.interval * 2).min(self.pipeline.checkpoint_interval);
                match self.checkpoint(&mut held).await {
                    Ok(()) => {}
                    // Records go on; the checkpoint is settled at the next try.
                    Err(LeaseError::Unanswered) => self.checkpoint_due = clock.now() + CHECKPOINT_RETRY,
                    Err(error) => return self.lost(error),
                }
            }
            // The shard's own cap; the budget is the pipeline's.
            let (records, bytes) = self.ledger.span();
            let may_read = reading && bytes <= AHEAD_BYTES && records <= AHEAD_RECORDS;
            // Safe to cancel: recv keeps its queue, `read` is only borrowed and goes on at the next round,
            // a wish stays wished, a tick is no loss.
            tokio::select! {
                biased;
                () = stop.wished() => return self.drain(held, deliveries).await,
                Some(delivered) = deliveries.recv() => self.settle(&delivered),
                fetched = &mut read, if may_read => {
                    // What came back past the fence was never received: the next owner reads it.
                    if self.leases.fence().check().is_err() {
                        return End::Fenced;
                    }
                    let step = match fetched {
                        Ok(fetched) => {
                            if backoff.failures() > 0 {
                                self.pipeline.readiness.solved(&self.part());
                            }
                            backoff.reset();
                            let next = match &fetched.batch.next {
                                Next::At(iterator) => Some(iterator.clone()),
                                Next::End | Next::PerhapsEnd => None,
                            };
                            let step = self.receive(fetched);
                            if let Step::Read(wait) = step {
                                read = self.read(next, wait);
                            }
                            step
                        }
                        Err(error) => {
                            let step = self.failed(&error, &mut backoff).await;
                            if let Step::Read(wait) = step {
                                read = self.read(None, wait);
                            }
                            step
                        }
                    };
                    reading = matches!(step, Step::Read(_));
                    if let Step::Gone = step {
                        return self.end_gone(held, deliveries, stop).await;
                    }
                }
                () = clock.sleep(TICK) => {}
            }
            if !reading && self.ledger.drained().is_some() {
                return self.finish(held, stop).await;
            }
        }
    }

    /// The next read, with the look-up that is still due.
    fn read(&mut self, iterator: Option<ShardIterator>, wait: Duration) -> reader::Reading {
        let look = match &self.look_up {
            LookUp::Due(destination) => Some(Look {
                pipeline: self.pipeline.clone(),
                fence: self.leases.fence().clone(),
                destination: destination.clone(),
                shard: self.reader.shard.to_string(),
                not_before: self.not_before,
                rng: self.rng.fork(),
            }),
            LookUp::Off | LookUp::On(_) => None,
        };
        self.reader.read(iterator, self.position.clone(), wait, look)
    }

    /// How far the log is behind the table: while records are in flight, by the oldest of them, however
    /// long they wait; else by the last read.
    fn tell_lag(&self) {
        let now = self.pipeline.clock.wall();
        if let Some(lag) = self
            .ledger
            .oldest()
            .map(|oldest| now.since(oldest))
            .or(self.behind)
        {
            self.accounts.lag(lag);
        }
    }

    /// Takes in one answer: decode, submit, enter into the books.
    fn receive(&mut self, fetched: Fetched) -> Step {
        let Fetched {
            batch,
            reservation,
            found,
        } = fetched;
        self.accounts.read();
        if let Some((found, memory)) = found {
            self.look_up.use_now(found, memory, self.pipeline.clock.now());
        }
        let mut already_delivered = 0;
        let now = self.pipeline.clock.wall();
        let mut parcel = Parcel::new(&self.lane);
        for record in &batch.records {
            self.accounts.received(record.data.len());
            let event = if self.is_before_start(record) {
                self.accounts.before_start();
                None
            } else {
                let event = change::log_event(record, &self.stream);
                match &event {
                    Ok(event) if self.look_up.has(std::slice::from_ref(event)) => {
                        self.accounts.already_delivered();
                        already_delivered += 1;
                        None
                    }
                    _ => Some(event),
                }
            };
            let index = self.ledger.receive(
                record.sequence_number.clone(),
                u32::from(event.is_some()),
                record.data.len(),
                record.time,
            );
            if let Some(event) = event {
                address(
                    &mut parcel,
                    &self.destination,
                    &self.pipeline.config,
                    index,
                    record,
                    event,
                );
            }
        }
        self.pipeline.sink.submit(parcel);
        let earliest = lookup::earliest(&batch.records, self.not_before);
        self.look_up.after_read(already_delivered, earliest);
        if already_delivered > 0 {
            // At once, or crash after crash would leave more to look up, until it is more than is looked up.
            self.checkpoint_due = self.pipeline.clock.now();
            self.interval = FIRST_CHECKPOINT.min(self.pipeline.checkpoint_interval);
        }
        let wait = match batch.records.last() {
            Some(last) => {
                self.position = StartingPosition::After(last.sequence_number.clone());
                self.behind = Some(last.time.map_or(Duration::ZERO, |t| now.since(t)));
                self.reservations.push(reservation);
                self.pipeline.config.source.poll_busy
            }
            None => {
                self.behind = Some(Duration::ZERO);
                self.pipeline.config.source.poll_idle
            }
        };
        self.fit_reservations();
        match batch.next {
            Next::At(_) => Step::Read(wait),
            Next::End | Next::PerhapsEnd => Step::Ended,
        }
    }

    fn is_before_start(&self, record: &Record) -> bool {
        // A record without a time can't be shown to lie before the start; it goes on to the dead letters.
        match (self.not_before, record.time) {
            (Some(start), Some(time)) => time < start,
            _ => false,
        }
    }

    fn settle(&mut self, delivered: &Delivered) {
        for (index, refusal) in delivered.pieces() {
            if self.ledger.accepted(*index) {
                self.accounts.finished(*refusal);
            }
        }
        self.fit_reservations();
    }

    /// Gives memory back as the records that hold it are finished.
    fn fit_reservations(&mut self) {
        budget::fit(&mut self.reservations, self.ledger.bytes() * budget::COPIES);
    }

    async fn checkpoint(&mut self, held: &mut HeldLease) -> Result<(), LeaseError> {
        let Some(to) = self
            .ledger
            .acknowledged()
            .filter(|a| self.written.as_ref() != Some(*a))
            .cloned()
        else {
            return Ok(());
        };
        self.leases.checkpoint(held, &to).await?;
        self.accounts.checkpointed();
        debug!(lease = %self.key, shard_id = %self.reader.shard, position = %to.checkpoint(), "checkpoint");
        self.written = Some(to);
        Ok(())
    }

    fn lost(&self, error: LeaseError) -> End {
        match error {
            LeaseError::Lost => {
                warn!(lease = %self.key, shard_id = %self.reader.shard, "the lease was lost to another worker");
                self.accounts.lost();
                End::Lost
            }
            // Only writes with a limit end so, and none of those ends a consumer.
            LeaseError::Unanswered | LeaseError::Fenced(_) => End::Fenced,
        }
    }
}

/// Puts one record into the parcel: as its event, or as a dead letter.
fn address(
    parcel: &mut Parcel<'_>,
    destination: &Result<LogDestination, RenderError>,
    config: &PipelineConfig,
    index: u64,
    record: &Record,
    event: Result<LogEvent, DecodeError>,
) {
    let sequence_number = record.sequence_number.clone();
    match destination {
        Ok(to) => match event {
            Ok(event) => parcel.event(to, index, sequence_number, event),
            Err(error) => {
                let reason = Refusal::Undecodable;
                parcel.dead_letter(
                    to,
                    index,
                    &sequence_number,
                    reason,
                    &error.to_string(),
                    &record.data,
                );
            }
        },
        Err(error) => {
            // The group's own template may be what failed: the letters then go to a group of the pipeline's name.
            let to = dead_letter::destination(&format!("/weir/{}", config.name));
            let reason = Refusal::NoDestination;
            parcel.dead_letter(
                &to,
                index,
                &sequence_number,
                reason,
                &error.to_string(),
                &record.data,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::SequenceNumber;

    #[test]
    fn every_checkpoint_has_a_start_that_skips_nothing() {
        let t = Timestamp::from_millis(5);
        let set = Timestamp::from_millis(9);
        let seven = SequenceNumber::parse("7").unwrap();
        let horizon = (StartingPosition::TrimHorizon, None);
        for unknown in [Checkpoint::Latest, Checkpoint::AtUnknownTimestamp] {
            assert_eq!(start(&unknown, None, true), horizon);
            assert_eq!(
                start(&unknown, Some(set), false),
                (StartingPosition::TrimHorizon, Some(set))
            );
            assert_eq!(
                start(&unknown, Some(set), true),
                (StartingPosition::AtTimestamp(set), Some(set))
            );
        }
        for (checkpoint, has_timestamps, expected) in [
            (
                Checkpoint::TrimHorizon,
                false,
                (StartingPosition::TrimHorizon, None),
            ),
            (
                Checkpoint::AtTimestamp(t),
                true,
                (StartingPosition::AtTimestamp(t), Some(t)),
            ),
            (
                Checkpoint::AtTimestamp(t),
                false,
                (StartingPosition::TrimHorizon, Some(t)),
            ),
            (
                Checkpoint::At(seven.clone(), 0),
                false,
                (StartingPosition::After(seven.clone()), None),
            ),
            (
                Checkpoint::At(seven.clone(), 3),
                false,
                (StartingPosition::After(seven), None),
            ),
        ] {
            // A start in the settings is none of a lease's that has one of its own.
            for configured in [None, Some(set)] {
                assert_eq!(
                    start(&checkpoint, configured, has_timestamps),
                    expected,
                    "{checkpoint}"
                );
            }
        }
    }
}
