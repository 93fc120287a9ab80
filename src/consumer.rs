//! One shard: read, decode, deliver, checkpoint.
//!
//! Owns a [`HeldLease`] and everything between the read and the checkpoint. Must never read, put or
//! checkpoint past the fence, and never move a checkpoint over what was not accepted. The coordinator
//! starts it and waits for its [`End`].

mod accounts;
mod activity;
mod appetite;
pub mod budget;
mod destinations;
mod ending;
mod intake;
mod lag;
mod lookup;
mod reader;
mod start;
mod suspicion;
mod telling;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OnceCell, mpsc};
use tracing::{debug, info, warn};

use self::accounts::Accounts;
use self::budget::{Budget, Reservation};
use self::destinations::Destinations;
use self::lookup::{Look, LookUp};
use self::reader::Reader;
use self::start::{From, start};
use self::telling::Telling;
use self::trouble::Closed;
use crate::backoff::Backoff;
use crate::clock::{Clock, Monotonic, Progress, Timestamp};
use crate::config::{PipelineConfig, Start};
use crate::lease::held::{HeldLease, LeaseError, Leases};
use crate::lease::keys::Keys;
use crate::lease::{Checkpoint, LeaseKey, SharedTable, plan};
use crate::ledger::{Acknowledged, Ledger};
use crate::logs::Subscriptions;
use crate::logs::guard::Guard;
use crate::logs::sink::{Delivered, Lane, Sink};
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::shutdown::Stop;
use crate::status::reports::Reports;
use crate::stream::{Place, SequenceNumber, ShardIterator, StartingPosition, StreamArn, StreamSource};
use crate::trace::{Batches, Tracer};

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
/// A listing alone tells that a shard is closed, not that it is read to its end. So many fresh reads in a row
/// must give no record, no next iterator and no children before its word counts (rule 7)…
const DOUBTS: u32 = 3;
/// …so far apart.
const DOUBT_WAIT: Duration = Duration::from_millis(500);
/// A stream that had nothing more to give then has lost nothing since: Kinesis keeps records for a day at least
/// (developer guide, "Changing the data retention period").
const TIP_TRUSTED: Duration = Duration::from_secs(12 * 3600);
/// The service's time is waited for so long.
const BEGAN_TIMEOUT: Duration = Duration::from_secs(5);
/// The rest of an answer waits so long for its shard's cap; then it is read again when there is room.
const STALL: Duration = Duration::from_secs(5);
/// Why a gap is written down where a record is missing that Kinesis says nothing of.
const TRIMMED_AT_CHECKPOINT: &str = "the record at the checkpoint is in the stream no more, so it was trimmed, and perhaps records after it that were not read";
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
    /// Who can be asked for the filters of a log group.
    pub subscriptions: Option<Arc<dyn Subscriptions>>,
    pub budget: Budget,
    pub table: SharedTable,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
    pub readiness: Readiness,
    pub reports: Reports,
    pub tracer: Tracer,
    pub checkpoint_interval: Duration,
    pub drain_timeout: Duration,
    pub request_timeout: Duration,
    /// Of a worker that ends when it has caught up: the service's time when it began to read, once it is known.
    pub began: Option<OnceCell<Timestamp>>,
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
    let destinations = Destinations::of(&pipeline, &stream, &lease.shard);
    let letters_to = destinations.letters();
    let (lane, deliveries) = pipeline.sink.lane(stream.as_str(), &shard, letters_to);
    let accounts = Accounts::new(&pipeline.metrics, &pipeline.config.name, &shard);
    let configured = match pipeline.config.source.start {
        Start::At(time) => Some(time),
        Start::TrimHorizon | Start::Latest => None,
    };
    let From {
        position,
        done,
        not_before: lease_start,
    } = start(
        &lease.checkpoint,
        configured,
        pipeline.source.has_timestamps(),
        pipeline.source.has_aggregates(),
    );
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
    let wished = pipeline.config.looks_up();
    let look_up = LookUp::at_take(from, wished, destinations.one());
    let reader = Reader {
        pipeline: pipeline.clone(),
        fence: leases.fence().clone(),
        stream: stream.clone(),
        shard: lease.shard.clone(),
        not_before,
        done,
        memory: reader::Memory::default(),
        appetite: reader::appetite_of(&*pipeline.source),
    };
    let checkpointed = match &position {
        StartingPosition::At(sequence_number) => Some(sequence_number.clone()),
        _ => None,
    };
    info!(lease = %lease.key, shard_id = %lease.shard, position = %lease.checkpoint, "reading the shard");
    let interval = FIRST_CHECKPOINT.min(pipeline.checkpoint_interval);
    let telling = Telling::new(&pipeline, lease, &stream);
    let batches = pipeline.tracer.batches();
    if let Some(batches) = &batches {
        lane.traced_by(batches.clone());
    }
    let consumer = Consumer {
        key: lease.key.clone(),
        batches: batches.clone(),
        stream,
        reader,
        lane,
        accounts,
        destinations,
        position,
        checkpointed,
        last: None,
        is_whole: true,
        tip_at: None,
        troubled: false,
        letters: 0,
        stalled: None,
        leases,
        progress,
        rng,
        look_up,
        ledger: Ledger::default(),
        doubtful_ends: 0,
        telling,
        reservations: Vec::new(),
        checkpoint_due: pipeline.clock.now() + interval,
        interval,
        written: None,
        pipeline,
    };
    let (readiness, part) = (consumer.pipeline.readiness.clone(), consumer.part());
    let name = consumer.pipeline.config.name.clone();
    let end = consumer.run(held, deliveries, stop).await;
    if let Some(batches) = batches {
        batches.left(&name, &shard);
    }
    // Whoever reads the shard next tells what is wrong then.
    readiness.solved(&part);
    end
}

struct Consumer {
    key: LeaseKey,
    stream: StreamArn,
    pipeline: Arc<Pipeline>,
    leases: Leases,
    reader: Reader,
    lane: Lane,
    accounts: Accounts,
    /// Those that are traced; `None`: none ever is.
    batches: Option<Batches>,
    destinations: Destinations,
    position: StartingPosition,
    /// The record of the checkpoint, which the first read must give once more: if it doesn't, the stream has
    /// trimmed it, and perhaps others that were not read. Kinesis itself says nothing of that.
    checkpointed: Option<SequenceNumber>,
    /// The last record that was taken in…
    last: Option<Place>,
    /// …and whether that was the end of its answer, which `position` lies behind.
    is_whole: bool,
    /// When the stream last said that there was nothing more.
    tip_at: Option<Monotonic>,
    /// A problem with reading was told.
    troubled: bool,
    /// Records that went to the dead letters.
    letters: u64,
    /// Since when the shard's cap keeps the rest of an answer from being decoded.
    stalled: Option<Monotonic>,
    progress: Progress,
    rng: fastrand::Rng,
    look_up: LookUp,
    ledger: Ledger,
    /// How many answers in a row had no record, no next iterator and no children.
    doubtful_ends: u32,
    telling: Telling,
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
    /// Read again after this wait, from here, or with a new iterator at the position.
    Read(Option<ShardIterator>, Duration),
    /// Decode the next records of the same answer.
    GoOn(Box<reader::Rest>),
    /// Every record of the shard has been read.
    Ended,
    /// That, or a service that lost its thread: a listing tells.
    PerhapsEnded,
    /// The shard, or its stream, is gone; what was not read is lost.
    Gone,
    /// An event of this group, which this pipeline writes to, came back.
    Suspicion(String),
}

impl Consumer {
    async fn run(
        mut self,
        mut held: HeldLease,
        mut deliveries: mpsc::UnboundedReceiver<Delivered>,
        mut stop: Stop,
    ) -> End {
        let clock = self.pipeline.clock.clone();
        self.ask_when_it_began().await;
        let mut read = self.read(None, Duration::ZERO);
        let mut is_rest = false;
        let mut reading = true;
        let mut ended = false;
        let mut backoff = Backoff::default();
        loop {
            self.progress.mark(clock.now());
            self.tell();
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
            let may_read = reading && !self.is_full();
            if self.is_stalled(is_rest && reading && !may_read) {
                // What is left of the answer would hold memory that other shards could be read with.
                (read, is_rest) = (self.read(None, Duration::ZERO), false);
                if let Some(batches) = &self.batches {
                    batches.cut();
                }
            }
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
                    let mut step = match fetched {
                        Ok(portion) => {
                            // That a stream has pushed nothing yet doesn't say that it works.
                            if !portion.is_quiet() {
                                backoff.reset();
                                self.telling.hindrance = None;
                            }
                            if self.misses_its_checkpoint(&portion)
                                && self.record_gap(TRIMMED_AT_CHECKPOINT).await.is_err()
                            {
                                return End::Fenced;
                            }
                            self.receive(portion)
                        }
                        Err(error) => self.failed(&error, &mut backoff).await,
                    };
                    match step {
                        Step::PerhapsEnded => {
                            self.doubtful_ends = 0;
                            step = match self.is_closed().await {
                                Some(Closed::Yes) => Step::Ended,
                                Some(Closed::Gone) => Step::Gone,
                                Some(Closed::No) | None => Step::Read(None, backoff.next(&mut self.rng)),
                            };
                        }
                        Step::Suspicion(group) => step = Step::Read(None, self.suspect(&group).await),
                        _ => {}
                    }
                    is_rest = matches!(step, Step::GoOn(_));
                    match step {
                        Step::Read(iterator, wait) => read = self.read(iterator, wait),
                        Step::GoOn(rest) => read = self.reader.go_on(rest),
                        Step::Ended => (reading, ended) = (false, true),
                        // Both have become another step.
                        Step::PerhapsEnded | Step::Suspicion(_) => read = self.read(None, DOUBT_WAIT),
                        Step::Gone => return self.end_gone(held, deliveries, stop).await,
                    }
                }
                () = clock.sleep(TICK) => {}
            }
            if ended && self.ledger.drained().is_some() {
                return self.finish(held, stop).await;
            }
        }
    }

    /// Asks for the service's time, once for all shards: the machine's may be off by minutes. Without an answer only a
    /// read that gives nothing more shows that this worker has caught up.
    async fn ask_when_it_began(&self) {
        if let Some(began) = &self.pipeline.began {
            let asked = began.get_or_try_init(|| self.pipeline.source.service_time(&self.stream));
            if let Some(Err(error)) = self.attend(BEGAN_TIMEOUT, asked).await {
                debug!(lease = %self.key, %error, "the service did not tell its time");
            }
        }
    }

    /// The next read, with the look-up that is still due.
    fn read(&mut self, iterator: Option<ShardIterator>, wait: Duration) -> reader::Reading {
        if iterator.is_none() {
            self.aim();
        }
        let look = match &self.look_up {
            LookUp::Due(destination) => Some(Look {
                pipeline: self.pipeline.clone(),
                fence: self.leases.fence().clone(),
                destination: destination.clone(),
                shard: self.reader.shard.to_string(),
                rng: self.rng.fork(),
            }),
            LookUp::Off | LookUp::On(_) => None,
        };
        self.reader.read(iterator, self.position.clone(), wait, look)
    }

    /// Where to begin anew: behind what was taken in.
    fn aim(&mut self) {
        let Some(last) = self.last.clone() else {
            return;
        };
        if !self.pipeline.source.has_aggregates() {
            self.position = StartingPosition::After(last.sequence_number);
            return;
        }
        // Kinesis says nothing of what it trimmed: it reads on at its horizon. So where records were left to be
        // read, the last one must come once more. One that was the newest may be trimmed without a loss.
        let now = self.pipeline.clock.now();
        let at_tip = self.tip_at.is_some_and(|then| now.since(then) < TIP_TRUSTED);
        if self.is_whole && at_tip {
            self.checkpointed = None;
            return;
        }
        self.position = StartingPosition::At(last.sequence_number.clone());
        self.checkpointed = Some(last.sequence_number.clone());
        self.reader.done = Some(last);
    }

    /// As much as may be is ahead of the checkpoint. That is the shard's own cap; the budget is the pipeline's.
    fn is_full(&self) -> bool {
        let (records, bytes) = self.ledger.span();
        bytes > AHEAD_BYTES || records > AHEAD_RECORDS
    }

    /// Whether the rest of an answer has waited in vain for a while. Asked at each round.
    fn is_stalled(&mut self, waits: bool) -> bool {
        let now = self.pipeline.clock.now();
        match (waits, self.stalled) {
            (false, _) => self.stalled = None,
            (true, None) => self.stalled = Some(now),
            (true, Some(since)) if now.since(since) >= STALL => {
                self.stalled = None;
                return true;
            }
            (true, Some(_)) => {}
        }
        false
    }

    fn settle(&mut self, delivered: &Delivered) {
        for (index, refusal) in delivered.pieces() {
            if let Some(finished) = self.ledger.accepted(*index, *refusal) {
                self.accounts.finished(finished);
            }
        }
        self.fit_reservations();
        self.tell_delivered();
    }

    /// Ends the traces of the batches whose every record is finished.
    fn tell_delivered(&self) {
        if let Some(batches) = &self.batches {
            let shard = self.reader.shard.to_string();
            batches.settled(self.ledger.first_unfinished(), &self.pipeline.config.name, &shard);
        }
    }

    /// Gives memory back as the records that hold it are finished.
    fn fit_reservations(&mut self) {
        budget::fit(
            &mut self.reservations,
            self.ledger.bytes() * self.pipeline.budget.copies(),
        );
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
        let began = self.batches.as_ref().and_then(Batches::checkpoint_begins);
        self.leases.checkpoint(held, &to).await?;
        if let (Some(batches), Some(began)) = (&self.batches, began) {
            batches.checkpointed(began);
        }
        self.accounts.checkpointed();
        let left = self.ledger.oldest().map(|oldest| oldest.received);
        self.telling.checkpointed(to.checkpoint(), left);
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
