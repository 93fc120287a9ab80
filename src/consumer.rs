//! One shard: read, decode, deliver, checkpoint.
//!
//! Owns a [`HeldLease`] and everything between the read and the checkpoint. Must never read, put or
//! checkpoint past the fence, and never move a checkpoint over what was not accepted. The coordinator
//! starts it and waits for its [`End`].

mod accounts;
pub mod budget;
pub mod ledger;
mod reader;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use self::accounts::Accounts;
use self::budget::{Budget, Reservation};
use self::ledger::{Acknowledged, Ledger};
use self::reader::{Fetched, Reader};
use crate::backoff::Backoff;
use crate::clock::{Clock, Progress, Timestamp, timeout};
use crate::config::PipelineConfig;
use crate::decode;
use crate::lease::held::{HeldLease, LeaseError, Leases};
use crate::lease::{Checkpoint, GapRow, LeaseKey, SharedTable};
use crate::logs::batch::Refusal;
use crate::logs::sink::{Delivered, Lane, Parcel, Sink};
use crate::logs::template::{Fields, RenderError};
use crate::logs::{LogDestination, dead_letter};
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::shutdown::Stop;
use crate::stream::lineage::new_lease;
use crate::stream::{Record, Shard, SourceError, StartingPosition, StreamArn, StreamSource};

/// How often a consumer comes round at least, to show that it lives.
const TICK: Duration = Duration::from_secs(1);
/// A shard reads on while it is ahead of its checkpoint by no more than these bytes (one batch is put
/// while the next is fetched)…
const AHEAD_BYTES: usize = 2 * 1024 * 1024;
/// …and these records. A record that can't be delivered, not even as a dead letter, so stops its shard.
const AHEAD_RECORDS: usize = 10_000;
/// At a shard's end its children are asked for this often (rule 22 of the KCL's lessons)…
const CHILD_TRIES: u32 = 5;
/// …so far apart. If none shows, the periodic shard sync finds them.
const CHILD_WAIT: Duration = Duration::from_secs(1);
/// One such question, with its turn among all that list shards. Many shards may end at once.
const CHILD_TIMEOUT: Duration = Duration::from_secs(5);
/// A complete listing: 100 shards a page, 5 pages a second.
const LISTING_TIMEOUT: Duration = Duration::from_secs(300);
/// A checkpoint that the table did not answer is tried again so soon.
const CHECKPOINT_RETRY: Duration = Duration::from_secs(1);
/// Kept back from a drain's time for the last checkpoint and the release.
const DRAIN_RESERVE: Duration = Duration::from_secs(2);

/// How a consumer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The shard was read to its end, and SHARD_END is written.
    ShardEnd,
    /// It was asked to stop; the lease is free. `drained`: nothing will be repeated.
    Released { drained: bool },
    /// Another worker has the lease.
    Lost,
    /// The worker is fenced.
    Fenced,
}

/// What all consumers of a pipeline share.
pub struct Pipeline {
    pub application: String,
    pub config: PipelineConfig,
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
pub async fn run(
    pipeline: Arc<Pipeline>,
    leases: Leases,
    held: HeldLease,
    stream_start: Option<Timestamp>,
    progress: Progress,
    stop: Stop,
    rng: fastrand::Rng,
) -> End {
    let lease = held.lease();
    // A row of a one-stream KCL application has no stream's name; such rows are adopted with the fleet.
    let stream = lease.stream.clone().unwrap_or_else(|| StreamArn::new(""));
    let shard = lease.shard.to_string();
    let (lane, deliveries) = pipeline.sink.lane(stream.as_str(), &shard);
    let accounts = Accounts::new(&pipeline.metrics, &pipeline.config.name, &shard);
    let (position, lease_start) = start(&lease.checkpoint, pipeline.source.has_timestamps());
    let not_before = lease_start.or(stream_start);
    let fields = Fields {
        application: &pipeline.application,
        pipeline: &pipeline.config.name,
        table: stream.table(),
        shard_id: &shard,
        region: stream.region(),
        account: stream.account(),
    };
    let destination = destination(&pipeline.config, &fields);
    let reader = Reader {
        pipeline: pipeline.clone(),
        fence: leases.fence().clone(),
        stream: stream.clone(),
        shard: lease.shard.clone(),
    };
    info!(lease = %lease.key, shard_id = %lease.shard, position = %lease.checkpoint, "reading the shard");
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
        pipeline,
        progress,
        rng,
        ledger: Ledger::default(),
        reservations: Vec::new(),
        written: None,
    };
    consumer.run(held, deliveries, stop).await
}

/// Where to read from, and the time before which records are dropped.
fn start(checkpoint: &Checkpoint, has_timestamps: bool) -> (StartingPosition, Option<Timestamp>) {
    match checkpoint {
        Checkpoint::At(sequence_number, _) => (StartingPosition::After(sequence_number.clone()), None),
        Checkpoint::AtTimestamp(t) if has_timestamps => (StartingPosition::AtTimestamp(*t), Some(*t)),
        Checkpoint::AtTimestamp(t) => (StartingPosition::TrimHorizon, Some(*t)),
        // LATEST stands only on rows of a KCL application. Evaluating it here, perhaps long after it was
        // written, would skip records; the horizon repeats some instead.
        Checkpoint::TrimHorizon | Checkpoint::Latest | Checkpoint::ShardEnd => {
            (StartingPosition::TrimHorizon, None)
        }
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
    not_before: Option<Timestamp>,

    progress: Progress,
    rng: fastrand::Rng,
    ledger: Ledger,
    /// The memory of what is in flight, oldest first: given back as the ledger shrinks.
    reservations: Vec<Reservation>,
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
        let interval = self.pipeline.checkpoint_interval;
        let mut checkpoint_due = clock.now() + interval;
        let mut read: reader::Reading = self.reader.read(None, self.position.clone(), Duration::ZERO);
        let mut reading = true;
        let mut backoff = Backoff::default();
        loop {
            self.progress.mark(clock.now());
            if self.leases.fence().check().is_err() {
                return End::Fenced;
            }
            if clock.now() >= checkpoint_due {
                checkpoint_due = clock.now() + interval;
                match self.checkpoint(&mut held).await {
                    Ok(()) => {}
                    // Records go on; the checkpoint is settled at the next try.
                    Err(LeaseError::Unanswered) => checkpoint_due = clock.now() + CHECKPOINT_RETRY,
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
                            let next = fetched.batch.next.clone();
                            let step = self.receive(fetched);
                            if let Step::Read(wait) = step {
                                read = self.reader.read(next, self.position.clone(), wait);
                            }
                            step
                        }
                        Err(error) => {
                            let step = self.failed(&error, &mut backoff).await;
                            if let Step::Read(wait) = step {
                                read = self.reader.read(None, self.position.clone(), wait);
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

    /// Takes in one answer: decode, submit, enter into the books.
    fn receive(&mut self, fetched: Fetched) -> Step {
        let Fetched { batch, reservation } = fetched;
        let now = self.pipeline.clock.wall();
        let mut parcel = Parcel::new(&self.lane);
        for record in &batch.records {
            self.accounts.received(record.data.len());
            let events = if self.is_before_start(record) {
                self.accounts.before_start();
                0
            } else {
                1
            };
            let index = self
                .ledger
                .receive(record.sequence_number.clone(), events, record.data.len());
            if events > 0 {
                address(
                    &mut parcel,
                    &self.destination,
                    &self.pipeline.config,
                    index,
                    record,
                    &self.stream,
                );
            }
        }
        self.pipeline.sink.submit(parcel);
        let wait = match batch.records.last() {
            Some(last) => {
                self.position = StartingPosition::After(last.sequence_number.clone());
                self.accounts
                    .lag(last.time.map_or(Duration::ZERO, |t| now.since(t)));
                self.reservations.push(reservation);
                self.pipeline.config.source.poll_busy
            }
            None => {
                self.accounts.lag(Duration::ZERO);
                self.pipeline.config.source.poll_idle
            }
        };
        self.fit_reservations();
        if batch.next.is_some() {
            Step::Read(wait)
        } else {
            Step::Ended
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

    /// What a failed read asks for.
    async fn failed(&mut self, error: &SourceError, backoff: &mut Backoff) -> Step {
        self.accounts.source_error(error);
        match error {
            // A fresh iterator from the last position, at once the first time.
            SourceError::IteratorExpired => {
                debug!(lease = %self.key, shard_id = %self.reader.shard, "the iterator expired");
                let first = backoff.failures() == 0;
                let wait = backoff.next(&mut self.rng);
                Step::Read(if first { Duration::ZERO } else { wait })
            }
            SourceError::DataTrimmed => {
                let reason = "the stream trimmed records before they were read (TrimmedDataAccess)";
                if self.record_gap(reason).await.is_err() {
                    // Fenced: the next round of the loop ends this consumer.
                    return Step::Read(Duration::ZERO);
                }
                self.position = StartingPosition::TrimHorizon;
                Step::Read(backoff.next(&mut self.rng))
            }
            SourceError::NotFound(_) => {
                let wait = backoff.next(&mut self.rng);
                match self.is_gone().await {
                    Some(true) => Step::Gone,
                    _ => Step::Read(wait),
                }
            }
            SourceError::Throttled(_)
            | SourceError::AccessDenied(_)
            | SourceError::NoStream(_)
            | SourceError::Unavailable(_) => {
                if let SourceError::AccessDenied(why) = error {
                    self.pipeline.readiness.problem(&self.part(), why.clone());
                }
                if (backoff.failures() + 1).is_power_of_two() {
                    let failures = backoff.failures() + 1;
                    warn!(lease = %self.key, shard_id = %self.reader.shard, failures, %error, "the shard could not be read; repeating");
                }
                Step::Read(backoff.next(&mut self.rng))
            }
        }
    }

    /// The part of the process whose problems are told here.
    fn part(&self) -> String {
        format!("reading {}", self.key)
    }

    /// Waits for `work`, for `limit` at most, and shows meanwhile that this consumer lives.
    async fn attend<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        let clock = &*self.pipeline.clock;
        let until = clock.now() + limit;
        tokio::pin!(work);
        while clock.now() < until && self.leases.fence().check().is_ok() {
            self.progress.mark(clock.now());
            // Cancel-safe: `work` is only borrowed.
            tokio::select! {
                biased;
                done = &mut work => return Some(done),
                () = clock.sleep(TICK) => {}
            }
        }
        None
    }

    /// Whether a complete listing confirms that the shard exists no more. `None`: it could not be asked.
    async fn is_gone(&self) -> Option<bool> {
        let listing = self.pipeline.source.list_shards(&self.stream);
        match self.attend(LISTING_TIMEOUT, listing).await? {
            Ok(listing) => Some(!listing.shards.iter().any(|s| s.id == self.reader.shard)),
            Err(SourceError::NotFound(_)) => Some(true),
            Err(_) => None,
        }
    }

    /// Writes a gap down before reading on behind it: a gap that only the log knew would be silent.
    async fn record_gap(&mut self, reason: &str) -> Result<(), LeaseError> {
        let after = match &self.position {
            StartingPosition::After(sequence_number) => sequence_number.to_string(),
            StartingPosition::TrimHorizon | StartingPosition::AtTimestamp(_) => "TRIM_HORIZON".to_owned(),
        };
        tracing::error!(lease = %self.key, shard_id = %self.reader.shard, position = %after, "{reason}: a gap");
        self.accounts.gap();
        let gap = GapRow {
            pipeline: self.pipeline.config.name.clone(),
            arn: self.stream.clone(),
            shard: self.reader.shard.clone(),
            after,
            noticed: self.pipeline.clock.wall(),
            reason: reason.to_owned(),
        };
        let mut backoff = Backoff::default();
        let clock = self.pipeline.clock.clone();
        loop {
            self.leases.fence().check().map_err(LeaseError::from)?;
            self.progress.mark(clock.now());
            match timeout(
                &*clock,
                self.pipeline.request_timeout,
                self.pipeline.table.record_gap(&gap),
            )
            .await
            {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => {
                    warn!(lease = %self.key, shard_id = %self.reader.shard, %error, "the gap could not be written; repeating")
                }
                Err(_) => {
                    warn!(lease = %self.key, shard_id = %self.reader.shard, "no answer when writing the gap; repeating")
                }
            }
            clock.sleep(backoff.next(&mut self.rng)).await;
        }
    }

    /// Every record of the shard is delivered. A checkpoint comes before the search for the children, which
    /// may take its time: a crash meanwhile repeats nothing.
    async fn finish(mut self, mut held: HeldLease, stop: Stop) -> End {
        match self.checkpoint(&mut held).await {
            Ok(()) | Err(LeaseError::Unanswered) => {}
            Err(error) => return self.lost(error),
        }
        self.end(held, stop, None).await
    }

    /// The shard's end: children first, then SHARD_END. The reverse order leaves a hole for ever if the
    /// worker dies in between (rule 6). `known` children need not be asked for.
    async fn end(mut self, held: HeldLease, stop: Stop, known: Option<Vec<Shard>>) -> End {
        let Some(drained) = self.ledger.drained() else {
            return End::Released { drained: false };
        };
        let mut children = match known {
            Some(children) => children,
            None => self.children(&stop).await,
        };
        // Rule 8: the child of a merge gets its lease only beside those of both parents. The last listing
        // may be older than the child and lack the other parent, which would then pass for a trimmed one.
        // The shard sync, asked for at each shard's end, sees them all.
        children.retain(|c| c.parents.iter().all(|p| *p == self.reader.shard));
        for child in &children {
            let key = self.key.sibling(&child.id);
            let lease = new_lease(key, &self.stream, child, Checkpoint::TrimHorizon);
            if self.leases.create(&lease).await.is_err() {
                return End::Fenced;
            }
        }
        let ids = children.into_iter().map(|c| c.id).collect::<Vec<_>>();
        info!(lease = %self.key, shard_id = %self.reader.shard, children = ?ids, "the shard has ended");
        if let Err(error) = self.leases.end(held, ids, drained).await {
            return self.lost(error);
        }
        self.accounts.shard_ended();
        End::ShardEnd
    }

    async fn children(&mut self, stop: &Stop) -> Vec<Shard> {
        let clock = self.pipeline.clock.clone();
        for attempt in 0..CHILD_TRIES {
            self.progress.mark(clock.now());
            let asked = self
                .pipeline
                .source
                .child_shards(&self.stream, &self.reader.shard);
            match self.attend(CHILD_TIMEOUT, asked).await {
                Some(Ok(children)) if !children.is_empty() => return children,
                Some(Err(SourceError::NotFound(_))) => break,
                Some(Err(error)) => self.accounts.source_error(&error),
                Some(Ok(_)) | None => {}
            }
            if stop.is_wished() {
                break;
            }
            clock
                .sleep(CHILD_WAIT.mul_f64(0.5 + self.rng.f64() * f64::from(attempt + 1) / 2.0))
                .await;
        }
        debug!(lease = %self.key, shard_id = %self.reader.shard, "no child shard is listed yet; the shard sync will find them");
        Vec::new()
    }

    /// The shard is gone with whatever was not read: write that down, then end it.
    async fn end_gone(
        mut self,
        held: HeldLease,
        mut deliveries: mpsc::UnboundedReceiver<Delivered>,
        mut stop: Stop,
    ) -> End {
        if let Err(error) = self
            .record_gap("the shard, or its stream, was deleted before its end was read")
            .await
        {
            return self.lost(error);
        }
        let clock = self.pipeline.clock.clone();
        while self.ledger.drained().is_none() {
            self.progress.mark(clock.now());
            if self.leases.fence().check().is_err() {
                return End::Fenced;
            }
            // As in `run`.
            tokio::select! {
                biased;
                () = stop.wished() => return self.drain(held, deliveries).await,
                Some(delivered) = deliveries.recv() => self.settle(&delivered),
                () = clock.sleep(TICK) => {}
            }
        }
        self.end(held, stop, Some(Vec::new())).await
    }

    /// Stop reading, wait for what is in flight, checkpoint, release; bounded.
    async fn drain(mut self, mut held: HeldLease, mut deliveries: mpsc::UnboundedReceiver<Delivered>) -> End {
        let clock = self.pipeline.clock.clone();
        let until = clock.now() + self.pipeline.drain_timeout.saturating_sub(DRAIN_RESERVE);
        while self.ledger.drained().is_none() && clock.now() < until {
            self.progress.mark(clock.now());
            if self.leases.fence().check().is_err() {
                return End::Fenced;
            }
            let left = until.since(clock.now()).min(TICK);
            // As in `run`.
            tokio::select! {
                biased;
                Some(delivered) = deliveries.recv() => self.settle(&delivered),
                () = clock.sleep(left) => {}
            }
        }
        let drained = self.ledger.drained().is_some();
        if !drained {
            let records = self.ledger.open_records();
            warn!(lease = %self.key, shard_id = %self.reader.shard, records, "the drain hit its limit: the next owner repeats these records");
        }
        loop {
            match self.checkpoint(&mut held).await {
                Ok(()) => break,
                // Bounded by the coordinator's own limit.
                Err(LeaseError::Unanswered) => {}
                Err(error) => return self.lost(error),
            }
        }
        match self.leases.release(held).await {
            // Lost: the release was applied, its answer got lost, and another worker was quick. What was
            // delivered is checkpointed either way.
            Ok(()) | Err(LeaseError::Lost) => {
                info!(lease = %self.key, shard_id = %self.reader.shard, drained, "released the lease");
                End::Released { drained }
            }
            Err(error) => self.lost(error),
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
    stream: &StreamArn,
) {
    let sequence_number = record.sequence_number.clone();
    match destination {
        Ok(to) => match decode::change::log_event(record, stream) {
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
        let seven = SequenceNumber::parse("7").unwrap();
        for (checkpoint, has_timestamps, expected) in [
            (
                Checkpoint::TrimHorizon,
                false,
                (StartingPosition::TrimHorizon, None),
            ),
            (Checkpoint::Latest, true, (StartingPosition::TrimHorizon, None)),
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
                (StartingPosition::After(seven), None),
            ),
        ] {
            assert_eq!(start(&checkpoint, has_timestamps), expected, "{checkpoint}");
        }
    }
}
