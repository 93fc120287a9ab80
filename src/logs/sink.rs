//! Delivery: one ordered writer per log stream.
//!
//! Owns the queues in front of CloudWatch Logs, the retries, and [`Delivered`], the only thing that moves
//! a checkpoint. Must never skip an event, and never reorder the first deliveries of a shard. Several
//! shards may share a stream; each event answers to its own shard. Consumers submit; the coordinator runs
//! the [`Router`].

mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::batch::Refusal;
use super::dead_letter::{self, Body, Origin, RecordBody};
use super::{EventPage, LogDestination, LogEvent, LogSink, PageToken, SinkError};
use crate::clock::{Clock, Timestamp};
use crate::lease::fence::Fence;
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::stream::Place;

/// A PutLogEvents request. Generous: a full batch takes well below a second in the region.
const PUT_TIMEOUT: Duration = Duration::from_secs(5);
/// Writers kept beyond this number are ended while they have nothing to do.
const IDLE_WRITERS: usize = 1_000;

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
}

impl Lane {
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

/// Whom an event answers to.
#[derive(Debug)]
struct Tag {
    lane: Arc<Shared>,
    index: u64,
    place: Place,
    kind: Kind,
    /// Arrival number within the writer, to restore the order after a sort.
    arrival: u64,
}

#[derive(Clone, Debug)]
enum Kind {
    Event {
        /// Its number among the events of its record, from 0.
        ordinal: usize,
    },
    /// A part of a dead letter. Its time is that of the put.
    Letter {
        reason: Refusal,
        /// Parts not yet accepted, over all parts: the last of them answers for the record.
        open: Arc<AtomicUsize>,
    },
}

impl Tag {
    fn alive(&self) -> bool {
        self.lane.alive.load(Ordering::Acquire)
    }

    fn is_letter(&self) -> bool {
        matches!(self.kind, Kind::Letter { .. })
    }

    /// What the event's acceptance means for its record, if anything. Asked once.
    fn accepted(&self) -> Option<(u64, Option<Refusal>)> {
        match &self.kind {
            Kind::Event { .. } => Some((self.index, None)),
            Kind::Letter { reason, open } => {
                (open.fetch_sub(1, Ordering::AcqRel) == 1).then_some((self.index, Some(*reason)))
            }
        }
    }
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

    /// One event of the record at `index`: the one that stands at `ordinal` of its events, from 0.
    pub fn event(&mut self, to: &LogDestination, index: u64, place: Place, ordinal: usize, event: LogEvent) {
        let lane = self.lane.shared.clone();
        let item = Item {
            event,
            tag: Tag {
                lane,
                index,
                place,
                kind: Kind::Event { ordinal },
                arrival: 0,
            },
        };
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
        let letter = letter(&self.lane.shared, index, place, meant_for, reason, detail, &body);
        self.by_destination
            .entry(self.lane.shared.letters_to.clone())
            .or_default()
            .extend(letter);
    }
}

fn letter(
    lane: &Arc<Shared>,
    index: u64,
    place: &Place,
    meant_for: &LogDestination,
    reason: Refusal,
    detail: &str,
    body: &Body,
) -> Vec<Item> {
    let origin = Origin {
        pipeline: lane.pipeline.clone(),
        stream: lane.stream.clone(),
        shard: lane.shard.clone(),
        place: place.clone(),
    };
    // The writer stamps a letter when it puts it: a letter that waited out an outage must not be too old.
    let never = Timestamp::from_millis(0);
    let events = dead_letter::events(&origin, reason, detail, meant_for, body, never);
    let open = Arc::new(AtomicUsize::new(events.len()));
    let tag = || Tag {
        lane: lane.clone(),
        index,
        place: place.clone(),
        kind: Kind::Letter {
            reason,
            open: open.clone(),
        },
        arrival: 0,
    };
    events
        .into_iter()
        .map(|event| Item { event, tag: tag() })
        .collect()
}

/// How a pipeline's destinations are treated.
#[derive(Clone, Debug)]
pub struct SinkSettings {
    pub pipeline: String,
    /// Create a missing group or stream.
    pub create: bool,
    pub retention_days: Option<u16>,
}

/// What all writers of a pipeline share.
#[derive(Clone)]
struct Context {
    raw: Arc<dyn LogSink>,
    settings: Arc<SinkSettings>,
    clock: Arc<dyn Clock>,
    fence: Fence,
    metrics: Metrics,
    readiness: Readiness,
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
        clock: Arc<dyn Clock>,
        fence: Fence,
        metrics: Metrics,
        readiness: Readiness,
        rng: fastrand::Rng,
    ) -> (Self, Router) {
        let (tx, rx) = mpsc::unbounded_channel();
        let pipeline: Arc<str> = settings.pipeline.as_str().into();
        let letters = tx.downgrade();
        let settings = Arc::new(settings);
        let context = Context {
            raw: raw.clone(),
            settings,
            clock,
            fence,
            metrics,
            readiness,
            letters,
        };
        let router = Router {
            rx,
            context,
            rng,
            writers: BTreeMap::new(),
            tasks: JoinSet::new(),
        };
        let sink = Self {
            tx,
            pipeline,
            raw,
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
        let (answers, rx) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            alive: AtomicBool::new(true),
            answers,
            pipeline: self.pipeline.to_string(),
            stream: stream.to_owned(),
            shard: shard.to_owned(),
            letters_to,
        });
        (Lane { shared }, rx)
    }

    /// Queues a parcel, in its order, behind what was submitted before. Each record answers on its lane.
    pub fn submit(&self, parcel: Parcel<'_>) {
        for message in parcel.by_destination {
            // Without a router the worker is being torn down; the lease's next owner reads the records again.
            let _ = self.tx.send(message);
        }
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

struct WriterHandle {
    tx: mpsc::UnboundedSender<Vec<Item>>,
    /// Items sent and not finished. A writer with none may be ended without a loss of order.
    pending: Arc<AtomicUsize>,
}

/// Hands each parcel to the writer of its destination. Owns the writers.
pub struct Router {
    rx: mpsc::UnboundedReceiver<Message>,
    context: Context,
    rng: fastrand::Rng,
    writers: BTreeMap<LogDestination, WriterHandle>,
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
                    Some((to, items)) => self.route(to, items),
                    None => return Ok(()),
                },
            }
        }
    }

    fn route(&mut self, to: LogDestination, items: Vec<Item>) {
        if self.writers.len() > IDLE_WRITERS && !self.writers.contains_key(&to) {
            // Shards come and go, and with them their log streams.
            self.writers.retain(|_, w| w.pending.load(Ordering::Acquire) > 0);
        }
        let (context, tasks, rng) = (&self.context, &mut self.tasks, &mut self.rng);
        let writer = self.writers.entry(to).or_insert_with_key(|to| {
            let (tx, rx) = mpsc::unbounded_channel();
            let pending = Arc::new(AtomicUsize::new(0));
            tasks.spawn(writer::run(
                context.clone(),
                to.clone(),
                rx,
                pending.clone(),
                rng.fork(),
            ));
            WriterHandle { tx, pending }
        });
        writer.pending.fetch_add(items.len(), Ordering::AcqRel);
        // A closed channel means a writer that ended: the join above reports it.
        let _ = writer.tx.send(items);
    }
}
