//! Delivery: one ordered writer per log stream.
//!
//! Owns the queues in front of CloudWatch Logs, the retries, and [`Delivered`], the only thing that moves
//! a checkpoint. Must never skip an event, and never reorder the first deliveries of a shard. Several
//! shards may share a stream; each event answers to its own shard. Consumers submit; the coordinator runs
//! the [`Router`].

mod gate;
mod keeper;
mod rate;
mod tag;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::gate::Gate;
use self::tag::Tag;
use super::batch::Refusal;
use super::dead_letter::{self, Body, Origin, RecordBody};
use super::group::GroupSettings;
use super::{EventPage, LogDestination, LogEvent, LogSink, PageToken, SinkError};
use crate::clock::{Clock, Timestamp};
use crate::config::{Oversize, Untimely};
use crate::lease::fence::Fence;
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::status::reports::Reports;
use crate::stream::Place;
use crate::trace::Batches;

pub use rate::{LiveWorkers, PutRate};

/// A PutLogEvents request. Generous: a full batch takes well below a second in the region.
const PUT_TIMEOUT: Duration = Duration::from_secs(5);
/// Writers kept beyond this number are ended while they have nothing to do.
const IDLE_WRITERS: usize = 1_000;
/// So many destinations of a lane are kept in mind without a look at which of them are done with.
const FEW_DESTINATIONS: usize = 64;
/// What the parts of the process begin with whose problems the writers tell.
const DESTINATION: &str = "destination ";

/// Log events that CloudWatch Logs accepted. Only a writer mints one, after the answer.
#[derive(Debug)]
pub struct Delivered {
    /// The record's index in its shard's ledger, and why it was dead-lettered, if it was.
    pieces: Vec<(u64, Option<Refusal>)>,
}

impl Delivered {
    pub fn pieces(&self) -> &[(u64, Option<Refusal>)] {
        &self.pieces
    }
}

/// One shard's side of the sink. Dropping it withdraws what is not yet put: a lost lease puts nothing more.
#[derive(Debug)]
pub struct Lane {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    alive: AtomicBool,
    answers: mpsc::UnboundedSender<Delivered>,
    pipeline: String,
    stream: String,
    shard: String,
    /// Where its dead letters go.
    letters_to: LogDestination,
    /// Where events of records went that may be unfinished.
    sent: Mutex<Sent>,
    /// The records before this one are finished.
    settled: AtomicU64,
    /// The batches that are traced, if any ever is.
    batches: OnceLock<Batches>,
}

/// Destinations, as the parts of the process that their writers tell of, each with the newest record that goes there.
#[derive(Debug, Default)]
struct Sent {
    newest: BTreeMap<String, u64>,
    /// Once it holds more it is looked through for what is finished: a template may make a destination of each record.
    most: usize,
}

impl Shared {
    fn new(
        pipeline: &str,
        stream: &str,
        shard: &str,
        letters_to: LogDestination,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<Delivered>) {
        let (answers, rx) = mpsc::unbounded_channel();
        let shared = Self {
            alive: AtomicBool::new(true),
            answers,
            pipeline: pipeline.to_owned(),
            stream: stream.to_owned(),
            shard: shard.to_owned(),
            letters_to,
            sent: Mutex::default(),
            settled: AtomicU64::new(0),
            batches: OnceLock::new(),
        };
        (Arc::new(shared), rx)
    }

    fn sent(&self) -> MutexGuard<'_, Sent> {
        // Each change is one step, so a poisoned map is still a whole one.
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that an event of the record at `index` goes there.
    fn goes_to(&self, to: &LogDestination, index: u64) {
        let mut sent = self.sent();
        let newest = sent.newest.entry(part(to)).or_default();
        *newest = index.max(*newest);
        if sent.newest.len() > sent.most {
            let settled = self.settled.load(Ordering::Relaxed);
            sent.newest.retain(|_, newest| *newest >= settled);
            // As much again, so that each entry is looked at a few times at most.
            sent.most = FEW_DESTINATIONS.max(sent.newest.len() * 2);
        }
    }
}

impl Lane {
    /// Its puts are told as parts of these batches.
    pub fn traced_by(&self, batches: Batches) {
        // Asked once in the life of a lane.
        let _ = self.shared.batches.set(batches);
    }

    /// Every record before `index` is finished: where they went may be forgotten.
    pub fn settled(&self, index: u64) {
        self.shared.settled.store(index, Ordering::Relaxed);
    }

    /// Puts nothing more of what was submitted. A put on its way may still arrive.
    pub fn withdraw(&self) {
        self.shared.alive.store(false, Ordering::Release);
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.withdraw();
    }
}

/// An event on its way.
#[derive(Debug)]
struct Item {
    event: LogEvent,
    tag: Tag,
}

/// Events of one shard, ready to be submitted together.
#[derive(Debug)]
pub struct Parcel<'a> {
    lane: &'a Lane,
    by_destination: BTreeMap<LogDestination, Vec<Item>>,
}

impl<'a> Parcel<'a> {
    pub fn new(lane: &'a Lane) -> Self {
        Self {
            lane,
            by_destination: BTreeMap::new(),
        }
    }

    /// The record at `index`'s event of this number, counted from 0: the number names it for good.
    pub fn event(&mut self, to: &LogDestination, index: u64, place: Place, ordinal: usize, event: LogEvent) {
        let tag = Tag::new(self.lane.shared.clone(), index, place, ordinal);
        let item = Item { event, tag };
        match self.by_destination.get_mut(to) {
            Some(items) => items.push(item),
            None => {
                self.by_destination.insert(to.clone(), vec![item]);
            }
        }
    }

    /// The record at `index` can't become an event: it goes to the dead letters.
    pub fn dead_letter(
        &mut self,
        meant_for: &LogDestination,
        index: u64,
        place: &Place,
        reason: Refusal,
        detail: &str,
        record: RecordBody,
    ) {
        let body = Body::Record(record);
        let tag = Tag::new(self.lane.shared.clone(), index, place.clone(), 0);
        let letter = letter(tag, meant_for, reason, detail, &body, false);
        self.by_destination
            .entry(self.lane.shared.letters_to.clone())
            .or_default()
            .extend(letter);
    }
}

/// The dead letter of the record, the event or the part that `tag` is of.
fn letter(
    tag: Tag,
    meant_for: &LogDestination,
    reason: Refusal,
    detail: &str,
    body: &Body,
    redacted: bool,
) -> Vec<Item> {
    let origin = Origin {
        pipeline: tag.lane.pipeline.clone(),
        stream: tag.lane.stream.clone(),
        shard: tag.lane.shard.clone(),
        place: tag.place.clone(),
    };
    // The writer stamps a letter when it puts it: a letter that waited out an outage must not be too old.
    let never = Timestamp::from_millis(0);
    let events = dead_letter::events(&origin, reason, detail, meant_for, body, never, redacted);
    let tags = tag.letters(events.len(), reason);
    let items = events.into_iter().zip(tags);
    items.map(|(event, tag)| Item { event, tag }).collect()
}

/// How a pipeline's destinations are treated.
#[derive(Clone, Debug)]
pub struct SinkSettings {
    pub pipeline: String,
    /// Create a missing group or stream.
    pub create: bool,
    /// What groups that Weir creates are like.
    pub group: GroupSettings,
    /// Groups that exist are made so, too.
    pub reconcile: bool,
    pub oversize: Oversize,
    /// Also of events that are older than the group's retention.
    pub too_old: Untimely,
    pub too_new: Untimely,
    /// What the pipeline hides is hidden in its events: their dead letters tell so.
    pub redacts: bool,
}

/// What a sink works with.
#[derive(Clone)]
pub struct Surroundings {
    pub clock: Arc<dyn Clock>,
    pub fence: Fence,
    /// Shared by all who write to one account and region.
    pub rate: PutRate,
    pub metrics: Metrics,
    pub readiness: Readiness,
    pub reports: Reports,
}

/// What all writers of a pipeline share.
#[derive(Clone)]
struct Context {
    raw: Arc<dyn LogSink>,
    settings: Arc<SinkSettings>,
    clock: Arc<dyn Clock>,
    fence: Fence,
    rate: PutRate,
    metrics: Metrics,
    readiness: Readiness,
    reports: Reports,
    /// For the dead letters of events that a writer finds refused.
    letters: mpsc::WeakUnboundedSender<Message>,
}

type Message = (LogDestination, Vec<Item>);

/// The handle that consumers submit through. What is submitted is bounded by each shard's cap and the
/// memory budget, not here.
#[derive(Clone)]
pub struct Sink {
    tx: mpsc::UnboundedSender<Message>,
    pipeline: Arc<str>,
    raw: Arc<dyn LogSink>,
    /// Where the writers note what is wrong.
    readiness: Readiness,
    /// Somebody was told that events can't be read back.
    told_denied: Arc<AtomicBool>,
}

/// A writer ended although nobody asked it to: a bug. The process must end.
#[derive(Debug, thiserror::Error)]
#[error("the writer of a log stream ended: {0}")]
pub struct WriterDied(String);

impl Sink {
    /// A sink, and the router that must run for it to work.
    pub fn new(
        raw: Arc<dyn LogSink>,
        settings: SinkSettings,
        surroundings: Surroundings,
        rng: fastrand::Rng,
    ) -> (Self, Router) {
        let (tx, rx) = mpsc::unbounded_channel();
        let pipeline: Arc<str> = settings.pipeline.as_str().into();
        let Surroundings {
            clock,
            fence,
            rate,
            metrics,
            readiness,
            reports,
        } = surroundings;
        let context = Context {
            raw: raw.clone(),
            settings: Arc::new(settings),
            clock,
            fence,
            rate,
            metrics,
            readiness: readiness.clone(),
            reports,
            letters: tx.downgrade(),
        };
        let letters = Context {
            settings: Arc::new(SinkSettings {
                group: context.settings.group.of_letters(),
                ..(*context.settings).clone()
            }),
            ..context.clone()
        };
        let router = Router {
            rx,
            context,
            letters,
            rng,
            writers: BTreeMap::new(),
            groups: BTreeMap::new(),
            kept: BTreeSet::new(),
            tasks: JoinSet::new(),
        };
        let sink = Self {
            tx,
            pipeline,
            raw,
            readiness,
            told_denied: Arc::default(),
        };
        (sink, router)
    }

    /// A lane for one shard, whose dead letters go to `letters_to`, and where its deliveries arrive.
    pub fn lane(
        &self,
        stream: &str,
        shard: &str,
        letters_to: LogDestination,
    ) -> (Lane, mpsc::UnboundedReceiver<Delivered>) {
        let (shared, rx) = Shared::new(&self.pipeline, stream, shard, letters_to);
        (Lane { shared }, rx)
    }

    /// Queues a parcel, in its order, behind what was submitted before. Each record answers on its lane.
    pub fn submit(&self, parcel: Parcel<'_>) {
        for message in parcel.by_destination {
            let (to, items) = &message;
            if let Some(newest) = items.last() {
                parcel.lane.shared.goes_to(to, newest.tag.index);
            }
            // Without a router the worker is being torn down; the lease's next owner reads the records again.
            let _ = self.tx.send(message);
        }
    }

    /// A destination that doesn't accept, of those that took events of the lane's record at `index` or of later ones,
    /// with why: `/cdc/orders:shardId-1 (AccessDeniedException: …)`.
    pub fn trouble(&self, lane: &Lane, index: u64) -> Option<String> {
        // By the problems, which are few, and not by the destinations, which may be as many as there are records.
        let sent = lane.shared.sent();
        let holds = |part: &str| sent.newest.get(part).is_some_and(|newest| *newest >= index);
        let (part, why) = self.readiness.first_problem(holds)?;
        let to = part.strip_prefix(DESTINATION).unwrap_or(&part);
        Some(format!("{to} ({why})"))
    }

    /// One page of what a stream holds, as [`LogSink::read_back`] gives it.
    pub async fn read_back(
        &self,
        from: &LogDestination,
        since: Timestamp,
        before: Option<&PageToken>,
        within: Duration,
    ) -> Result<EventPage, SinkError> {
        self.raw.read_back(from, since, before, within).await
    }

    /// Whether this is the first time that reading back is denied: one warning is enough for all shards.
    pub fn first_denial(&self) -> bool {
        !self.told_denied.swap(true, Ordering::Relaxed)
    }
}

/// The part of the process whose problems a writer tells.
fn part(to: &LogDestination) -> String {
    format!("{DESTINATION}{to}")
}

struct WriterHandle {
    tx: mpsc::UnboundedSender<Vec<Item>>,
    /// Items sent and not finished. A writer with none may be ended without a loss of order.
    pending: Arc<AtomicUsize>,
}

/// Hands each parcel to the writer of its destination. Owns the writers, and who keeps the groups' settings.
pub struct Router {
    rx: mpsc::UnboundedReceiver<Message>,
    context: Context,
    /// For the writer of the dead letters.
    letters: Context,
    rng: fastrand::Rng,
    writers: BTreeMap<LogDestination, WriterHandle>,
    groups: BTreeMap<String, Arc<Gate>>,
    /// The groups whose settings were looked after, or are.
    kept: BTreeSet<String>,
    tasks: JoinSet<()>,
}

impl Router {
    /// Runs until every [`Sink`] is gone. A writer that ends by itself is an error.
    pub async fn run(mut self) -> Result<(), WriterDied> {
        loop {
            // Both branches are cancel-safe: recv keeps its queue, join_next its set.
            tokio::select! {
                biased;
                Some(ended) = self.tasks.join_next() => {
                    if let Err(error) = ended {
                        return Err(WriterDied(error.to_string()));
                    }
                }
                message = self.rx.recv() => match message {
                    Some((to, items)) => self.route(&to, items),
                    None => return Ok(()),
                },
            }
        }
    }

    fn route(&mut self, to: &LogDestination, items: Vec<Item>) {
        if !self.writers.contains_key(to) {
            // Letters have a log stream of their own.
            let of_letters = items.first().is_some_and(|item| item.tag.is_letter());
            self.start(to, of_letters);
        }
        let Some(writer) = self.writers.get(to) else {
            return;
        };
        writer.pending.fetch_add(items.len(), Ordering::AcqRel);
        // A closed channel means a writer that ended: the join above reports it.
        let _ = writer.tx.send(items);
    }

    fn start(&mut self, to: &LogDestination, of_letters: bool) {
        if self.writers.len() > IDLE_WRITERS {
            // Shards come and go, and with them their log streams.
            self.writers.retain(|_, w| w.pending.load(Ordering::Acquire) > 0);
            // A gate without a writer is this map's alone.
            self.groups.retain(|_, gate| Arc::strong_count(gate) > 1);
        }
        let gate = match self.groups.get(&to.group) {
            Some(gate) => gate.clone(),
            None => self.open(&to.group),
        };
        if !of_letters {
            self.keep(&to.group);
        }
        let context = self.context(of_letters).clone();
        let (tx, rx) = mpsc::unbounded_channel();
        let pending = Arc::new(AtomicUsize::new(0));
        self.tasks.spawn(writer::run(
            context,
            to.clone(),
            gate,
            rx,
            pending.clone(),
            self.rng.fork(),
        ));
        self.writers.insert(to.clone(), WriterHandle { tx, pending });
    }

    /// The first writer of a group.
    fn open(&mut self, group: &str) -> Arc<Gate> {
        let Context {
            metrics, settings, ..
        } = &self.context;
        let held = metrics.destinations_held.with_label_values(&[&settings.pipeline]);
        let gate = Arc::new(Gate::new(held));
        self.groups.insert(group.to_owned(), gate.clone());
        gate
    }

    /// Makes a group of the destination as it is wished, once. That of the dead letters may be others' too, and is
    /// left as it is.
    fn keep(&mut self, group: &str) {
        if self.context.settings.reconcile && self.kept.insert(group.to_owned()) {
            let (context, rng) = (self.context.clone(), self.rng.fork());
            self.tasks.spawn(keeper::keep(context, group.to_owned(), rng));
        }
    }

    fn context(&self, of_letters: bool) -> &Context {
        match of_letters {
            true => &self.letters,
            false => &self.context,
        }
    }
}

#[cfg(test)]
mod tests;
