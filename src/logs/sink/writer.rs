//! The writer of one log stream: cut, put, repeat until accepted, answer.

mod flight;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use self::flight::Flight;
use super::gate::{Gate, LOOK_UP, Visit};
use super::tag::Kind;
use super::{Context, Delivered, Item, PUT_TIMEOUT, Shared, letter, part};
use crate::backoff::Backoff;
use crate::clock::{Monotonic, Timestamp};
use crate::config::{Oversize, Untimely};
use crate::lease::fence::Fenced;
use crate::logs::batch::{self, MAX_MESSAGE_BYTES, Refusal};
use crate::logs::dead_letter::Body;
use crate::logs::{Accepted, LogDestination, SinkError, oversize, untimely};
use crate::queue;
use crate::status::reports::Trouble;
use crate::trace::{self, Batch, Value};

/// What stands in the dead letter of an event that the service took out of a put.
const REJECTED: &str = "rejected by CloudWatch Logs (rejectedLogEventsInfo)";
/// What is stamped at its put is stamped anew after waiting so long: no retention is shorter than a day.
const FRESH: Duration = Duration::from_secs(3600);
/// A group that throttles so many puts of one writer in a row is held for all: each would only add to it.
const LONG_THROTTLED: u32 = 4;

/// Writes what arrives on `rx` to `to`, in order, until the channel is closed or the worker is fenced.
pub(super) async fn run(
    context: Context,
    to: LogDestination,
    gate: Arc<Gate>,
    mut rx: mpsc::UnboundedReceiver<Vec<Item>>,
    pending: Arc<AtomicUsize>,
    rng: fastrand::Rng,
) {
    let mut writer = Writer {
        context,
        to,
        gate,
        rng,
        queue: VecDeque::new(),
        arrivals: 0,
        suspects: None,
        owes_retention: false,
        refused_letters: Backoff::default(),
        letter_wait: Duration::ZERO,
        given_up: 0,
        pending,
    };
    while let Some(items) = rx.recv().await {
        writer.enqueue(items);
        while !writer.queue.is_empty() {
            while let Ok(items) = rx.try_recv() {
                writer.enqueue(items);
            }
            if writer.write_some().await.is_err() {
                return; // the worker is being torn down
            }
        }
    }
}

struct Writer {
    context: Context,
    to: LogDestination,
    /// Of the group.
    gate: Arc<Gate>,
    rng: fastrand::Rng,
    queue: VecDeque<Item>,
    arrivals: u64,
    /// While a batch that was refused as a whole is being bisected: events per put, and the arrival
    /// number of its last event.
    suspects: Option<(usize, u64)>,
    /// This writer made the group, or may have: its retention is still to be set.
    owes_retention: bool,
    /// Dead letters that were themselves refused since the last put without one.
    refused_letters: Backoff,
    letter_wait: Duration,
    /// Events that went to the dead letters.
    given_up: u64,
    pending: Arc<AtomicUsize>,
}

impl Writer {
    fn enqueue(&mut self, items: Vec<Item>) {
        let now = self.context.clock.wall();
        for item in items {
            if item.event.message.len() <= MAX_MESSAGE_BYTES {
                self.admit(item, now);
                continue;
            }
            for part in self.fitted(item) {
                self.admit(part, now);
            }
        }
    }

    fn admit(&mut self, mut item: Item, now: Timestamp) {
        item.tag.arrival = self.arrivals;
        self.arrivals += 1;
        match batch::admit(&item.event, now) {
            // This process's clock may be wrong, the service's is not: it judges the age.
            Ok(()) | Err(Refusal::TooOld | Refusal::TooNew) => self.queue.push_back(item),
            Err(refusal) => self.dead_letter(item, refusal, "against the rules of PutLogEvents"),
        }
    }

    /// The events that tell this one, each within the size of an event. None, if it went to the dead letters.
    fn fitted(&mut self, item: Item) -> Vec<Item> {
        let size = item.event.message.len();
        if size <= MAX_MESSAGE_BYTES {
            return vec![item];
        }
        let how = self.context.settings.oversize;
        let Item { event, tag } = item;
        match oversize::fit(event, &tag.id(), how) {
            Ok(parts) => {
                let labels = [self.context.settings.pipeline.as_str()];
                self.context
                    .metrics
                    .events_oversize
                    .with_label_values(&labels)
                    .inc();
                self.pending.fetch_add(parts.len() - 1, Ordering::AcqRel);
                let tags = tag.parts(parts.len());
                let items = parts.into_iter().zip(tags);
                items.map(|(event, tag)| Item { event, tag }).collect()
            }
            Err((event, refusal)) => {
                let detail = format!("its message has {size} bytes, and an event takes {MAX_MESSAGE_BYTES}");
                self.give_up(Item { event, tag }, refusal, &detail);
                Vec::new()
            }
        }
    }

    /// Puts one batch from the front of the queue, however long it takes.
    async fn write_some(&mut self) -> Result<(), Fenced> {
        if self.refused_letters.failures() > 0 {
            self.context.clock.sleep(self.letter_wait).await;
        }
        // What waited out an outage must not be too old.
        let now = self.context.clock.wall();
        for item in self.queue.iter_mut().filter(|i| i.tag.is_stamped_late()) {
            item.event.timestamp = now;
        }
        let mut count = batch::cut(self.queue.iter().map(|i| &i.event));
        match (self.suspects, self.queue.front()) {
            (Some((limit, last)), Some(front)) if front.tag.arrival <= last => count = count.min(limit),
            _ => self.suspects = None,
        }
        let flight = Flight::of(self.queue.drain(..count));
        queue::relieve(&mut self.queue);
        self.put(flight).await
    }

    async fn put(&mut self, mut flight: Flight) -> Result<(), Fenced> {
        let clock = self.context.clock.clone();
        let since = clock.now();
        let mut told = None;
        let mut backoff = Backoff::default();
        let mut created = false;
        let mut is_repeat = false;
        let mut booked: Option<Monotonic> = None;
        let mut visit = Visit::new(&self.gate);
        loop {
            self.finished(flight.drop_withdrawn());
            if flight.is_empty() {
                // What was wrong here is another worker's now.
                self.context.readiness.solved(&self.part());
                return Ok(());
            }
            if flight.is_stamped_late() && clock.now().since(since) > FRESH {
                // Cut anew, and stamped anew.
                for item in flight.in_arrival_order().into_iter().rev() {
                    self.queue.push_front(item);
                }
                return Ok(());
            }
            self.context.fence.check()?;
            if !visit.turn(&*clock).await {
                continue;
            }
            let (now, rate) = (clock.now(), &self.context.rate);
            let due = *booked.get_or_insert_with(|| rate.book(now));
            if now < due {
                clock.sleep(due.since(now).min(LOOK_UP)).await;
                continue;
            }
            booked = None;
            // No put may reach past the fence (rule 2): the next owner could already be writing.
            let within = PUT_TIMEOUT.min(self.context.fence.remaining()?);
            if std::mem::replace(&mut is_repeat, true) {
                let labels = [self.context.settings.pipeline.as_str()];
                self.context.metrics.put_retries.with_label_values(&labels).inc();
            }
            let batches = flight.batches();
            let began = batches.first().map(Batch::now);
            let asked = clock.now();
            let put = self.context.raw.put(&self.to, flight.events(), within).await;
            self.count_seconds(clock.now().since(asked));
            if let Some(began) = began {
                self.trace(&batches, began, flight.events().len(), put.as_ref().err());
            }
            let mut error = match put {
                Ok(accepted) => {
                    visit.worked();
                    if told.is_some() {
                        info!(destination = %self.to, failures = backoff.failures(), "events are put again");
                    }
                    self.accept(flight, accepted);
                    if self.owes_retention {
                        // A failure was told, and is repeated after the next put.
                        let _ = self.set_retention().await;
                    }
                    return Ok(());
                }
                Err(error) => error,
            };
            self.count_error(&error);
            match &error {
                SinkError::Invalid(reason) => {
                    visit.worked();
                    self.bisect(flight, reason);
                    return Ok(());
                }
                SinkError::Unanswered(_) => {
                    let repeated = &self.context.metrics.events_possibly_repeated;
                    let count = flight.events().len() as u64;
                    repeated
                        .with_label_values(&[&self.context.settings.pipeline])
                        .inc_by(count);
                }
                SinkError::Missing(_) if self.context.settings.create => match self.create().await? {
                    Ok(()) => {
                        // The group is there, and takes what is asked.
                        visit.worked();
                        // At once the first time; a stream that stays missing though it was made needs time.
                        if !std::mem::replace(&mut created, true) {
                            continue;
                        }
                    }
                    Err(failed) => error = failed,
                },
                _ => {}
            }
            let is_other = told.replace(error.class()) != Some(error.class());
            self.tell(&error, backoff.failures(), is_other);
            let wait = backoff.next(&mut self.rng);
            if visit.waits() || self.holds_the_group(&error, backoff.failures()) {
                visit.failed(&*clock, &mut self.rng);
            } else {
                clock.sleep(wait).await;
            }
        }
    }

    /// Whether other streams of the group will fare the same, so that its writers had better wait for each other.
    fn holds_the_group(&self, error: &SinkError, failures: u32) -> bool {
        match error {
            SinkError::Denied(_) => true,
            // One that was created will be there soon.
            SinkError::Missing(_) => !self.context.settings.create,
            SinkError::Throttled(_) => failures >= LONG_THROTTLED,
            SinkError::Invalid(_) | SinkError::Unanswered(_) | SinkError::Unavailable(_) => false,
        }
    }

    /// Creates the group where it is missing, then the stream.
    async fn create(&mut self) -> Result<Result<(), SinkError>, Fenced> {
        let created = self.create_missing().await;
        self.context.fence.check()?;
        match &created {
            Ok(()) => debug!(destination = %self.to, "created the log stream"),
            Err(error) => self.count_error(error),
        }
        Ok(created.map_err(|error| match error {
            // Of the destination nothing is an event's fault.
            SinkError::Invalid(what) => SinkError::Denied(what),
            other => other,
        }))
    }

    async fn create_missing(&mut self) -> Result<(), SinkError> {
        let raw = self.context.raw.clone();
        match raw.create_stream(&self.to).await {
            Err(SinkError::Missing(_)) => {}
            done => return done,
        }
        match raw
            .create_group(&self.to.group, &self.context.settings.group)
            .await
        {
            Ok(true) => {
                info!(group = %self.to.group, "created the log group");
                self.owes_retention = true;
            }
            // Somebody else made it, and its settings are not ours to change; or an attempt of this writer
            // without an answer did, which `owes_retention` remembers.
            Ok(false) => {}
            Err(error) => {
                self.owes_retention |= matches!(error, SinkError::Unanswered(_));
                return Err(error);
            }
        }
        if self.owes_retention {
            self.set_retention().await?;
        }
        raw.create_stream(&self.to).await
    }

    /// Sets the retention of a group that this writer made. A crash or a fence before leaves the group
    /// without one.
    async fn set_retention(&mut self) -> Result<(), SinkError> {
        let Some(days) = self.context.settings.group.retention_days else {
            self.owes_retention = false;
            return Ok(());
        };
        let set = self.context.raw.put_retention(&self.to.group, days).await;
        match &set {
            Ok(()) => self.owes_retention = false,
            Err(error) => {
                self.count_error(error);
                warn!(group = %self.to.group, days, %error, "the retention could not be set");
                if matches!(error, SinkError::Denied(_) | SinkError::Invalid(_)) {
                    let what = format!("retention_days {days} could not be set, set it by hand: {error}");
                    self.context
                        .readiness
                        .problem(&format!("log group {}", self.to.group), what);
                    self.owes_retention = false;
                    return Ok(());
                }
            }
        }
        set
    }

    /// The batch was refused as a whole: put it in halves until the guilty event is alone.
    fn bisect(&mut self, flight: Flight, reason: &str) {
        let mut items = flight.in_arrival_order();
        if items.len() == 1 {
            if let Some(item) = items.pop() {
                self.dead_letter(item, Refusal::Invalid, reason);
            }
            return;
        }
        let last = items.last().map_or(0, |i| i.tag.arrival);
        let last = self.suspects.map_or(last, |(_, earlier)| earlier.max(last));
        self.suspects = Some((items.len().div_ceil(2), last));
        for item in items.into_iter().rev() {
            self.queue.push_front(item);
        }
    }

    fn accept(&mut self, flight: Flight, accepted: Accepted) {
        let Context {
            metrics,
            settings,
            readiness,
            ..
        } = &self.context;
        let labels = [settings.pipeline.as_str()];
        metrics.puts.with_label_values(&labels).inc();
        let events = flight.events();
        metrics
            .put_events
            .with_label_values(&labels)
            .observe(events.len() as f64);
        metrics
            .put_bytes
            .with_label_values(&labels)
            .observe(batch::bytes(events) as f64);
        if let Some((limit, _)) = &mut self.suspects {
            // The guilty may be alone: half of the way back to whole batches with each put that goes well.
            *limit = limit.saturating_mul(2);
        }
        let mut good = 0;
        let mut refused = Vec::new();
        // In the order of their first event: few lanes share a stream, and a map by address would make
        // the order of the answers differ from run to run.
        let mut answers: Vec<(Arc<Shared>, Vec<_>)> = Vec::new();
        for (at, item) in flight.into_items().enumerate() {
            if let Some(refusal) = accepted.refusal(at) {
                refused.push((item, refusal));
                continue;
            }
            good += 1;
            if let Some(answer) = item.tag.accepted() {
                match answers
                    .iter_mut()
                    .find(|(lane, _)| Arc::ptr_eq(lane, &item.tag.lane))
                {
                    Some((_, pieces)) => pieces.push(answer),
                    None => answers.push((item.tag.lane, vec![answer])),
                }
            }
        }
        metrics
            .events_accepted
            .with_label_values(&[&settings.pipeline])
            .inc_by(good as u64);
        if !refused.iter().any(|(item, _)| item.tag.is_letter()) {
            self.refused_letters.reset();
            readiness.solved(&self.part());
        }
        self.finished(good);
        for (lane, pieces) in answers {
            // A consumer that is gone needs no answer.
            let _ = lane.answers.send(Delivered { pieces });
        }
        let mut again = Vec::new();
        for (item, refusal) in refused {
            if item.tag.kind == Kind::Event && self.is_told_now(refusal) {
                again.extend(self.restamped(item, refusal));
            } else {
                self.dead_letter(item, refusal, REJECTED);
            }
        }
        // Before what came after them, as far as that is not accepted already.
        again.sort_by_key(|item: &Item| item.tag.arrival);
        for item in again.into_iter().rev() {
            self.queue.push_front(item);
        }
    }

    /// Whether an event that was refused so is put once more, at the time of the put.
    fn is_told_now(&self, refusal: Refusal) -> bool {
        let settings = &self.context.settings;
        match refusal {
            Refusal::TooOld | Refusal::Expired => settings.too_old == Untimely::Now,
            Refusal::TooNew => settings.too_new == Untimely::Now,
            _ => false,
        }
    }

    /// The event with its own time inside, in as many events as it takes. None, if it went to the dead letters: it
    /// became too large, and such are to go there.
    fn restamped(&mut self, item: Item, refusal: Refusal) -> Vec<Item> {
        let Item { event, mut tag } = item;
        let is_whole_or_none = self.context.settings.oversize == Oversize::DeadLetter;
        let original = is_whole_or_none.then(|| event.clone());
        let event = untimely::at(event, self.context.clock.wall());
        if let Some(event) = original.filter(|_| event.message.len() > MAX_MESSAGE_BYTES) {
            self.give_up(Item { event, tag }, refusal, REJECTED);
            return Vec::new();
        }
        tag.kind = Kind::Restamped;
        let labels = [self.context.settings.pipeline.as_str()];
        self.context
            .metrics
            .events_restamped
            .with_label_values(&labels)
            .inc();
        self.fitted(Item { event, tag })
    }

    /// Hands an event that can't be put to the writer of the dead letters, which answers for it.
    fn dead_letter(&mut self, item: Item, refusal: Refusal, detail: &str) {
        if item.tag.is_letter() {
            // A letter of a letter would go on for ever. It is put again, with a new stamp, and holds its
            // shard until somebody acts: better than a record lost without a word.
            if (self.refused_letters.failures() + 1).is_power_of_two() {
                let refused_as = refusal.as_str();
                warn!(destination = %self.to, refused_as, detail, "a dead letter was refused; repeating");
            }
            let problem = format!("refuses dead letters: {detail}");
            self.trouble(problem.clone());
            self.context.readiness.problem(&self.part(), problem);
            self.letter_wait = self.refused_letters.next(&mut self.rng);
            self.queue.push_back(item);
            return;
        }
        self.give_up(item, refusal, detail);
    }

    /// An event's way to the dead letters. Not a letter's.
    fn give_up(&mut self, item: Item, refusal: Refusal, detail: &str) {
        let Item { event, tag } = item;
        self.given_up += 1;
        // Often it is all events, or none.
        if self.given_up.is_power_of_two() {
            warn!(
                destination = %self.to,
                shard_id = %tag.lane.shard,
                sequence_number = %tag.place.sequence_number,
                reason = refusal.as_str(),
                detail,
                refused = self.given_up,
                "an event was refused; it goes to the dead letters (told at the 1st, 2nd, 4th, 8th … of this log stream)"
            );
        }
        self.trouble(format!(
            "an event was refused ({}) and goes to the dead letters: {detail}",
            refusal.as_str()
        ));
        let body = Body::Event {
            index: tag.ordinal,
            event,
        };
        let letters_to = tag.lane.letters_to.clone();
        tag.lane.goes_to(&letters_to, tag.index);
        let parts = letter(
            tag,
            &self.to,
            refusal,
            detail,
            &body,
            self.context.settings.redacts,
        );
        if let Some(letters) = self.context.letters.upgrade() {
            // Closed only while the worker is torn down.
            let _ = letters.send((letters_to, parts));
        }
        self.finished(1);
    }

    fn finished(&self, items: usize) {
        self.pending.fetch_sub(items, Ordering::AcqRel);
    }

    fn count_error(&self, error: &SinkError) {
        let labels = [self.context.settings.pipeline.as_str(), error.class()];
        self.context.metrics.put_errors.with_label_values(&labels).inc();
    }

    fn count_seconds(&self, took: Duration) {
        let labels = [self.context.settings.pipeline.as_str()];
        self.context
            .metrics
            .put_seconds
            .with_label_values(&labels)
            .observe(took.as_secs_f64());
    }

    /// Tells a put as a part of the batches that its events are of.
    fn trace(&self, batches: &[Batch], began: u64, events: usize, error: Option<&SinkError>) {
        if let Some((first, links)) = trace::first_and_links(batches) {
            let attributes = vec![
                ("weir.log_group", Value::Text(self.to.group.clone())),
                ("weir.log_stream", Value::Text(self.to.stream.clone())),
                ("weir.events", Value::Count(events as u64)),
            ];
            // Its class alone: the words may quote an event.
            let error = error.map(|error| error.class().to_owned());
            first.part_of_many("put", began, attributes, links, error);
        }
    }

    fn part(&self) -> String {
        part(&self.to)
    }

    /// The pipeline's last trouble, for who looks.
    fn trouble(&self, what: String) {
        let Context {
            reports,
            settings,
            clock,
            ..
        } = &self.context;
        let trouble = Trouble {
            at: clock.wall(),
            part: self.part(),
            what,
        };
        reports.trouble(&settings.pipeline, trouble);
    }

    /// Says what is wrong: at once, when it `is_other` than before, and at each doubling of the failures, so that an
    /// outage of an hour fills no log.
    fn tell(&self, error: &SinkError, failures: u32, is_other: bool) {
        let way_out = match error {
            SinkError::Missing(_) if !self.context.settings.create => "; create it, or set `create: true`",
            _ => "",
        };
        let problem = format!("{error}{way_out}");
        self.trouble(problem.clone());
        self.context.readiness.problem(&self.part(), problem);
        if is_other || (failures + 1).is_power_of_two() {
            warn!(destination = %self.to, failures = failures + 1, "events could not be put; repeating: {error}{way_out}");
        }
    }
}
