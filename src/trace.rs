//! A trace for each batch: what became of one answer of a read, and how long each part of it took.
//!
//! Owns what a trace is made of, and the bounded queue of finished spans. The root, `shard.batch`, lasts from the read
//! to the last delivery; below it stand `get_records`, `decode`, `put` and `checkpoint`. A put or a checkpoint of
//! several batches is told below one of them, and linked to the others. Never waits, never fails: without a setting
//! there are no spans, and with a full queue they are dropped and counted. `export` sends them.

pub mod export;
mod otlp;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::metrics::Metrics;

/// Finished spans that wait to be sent. At 300 bytes each this is half a MiB.
const QUEUE: usize = 2_048;
/// A put or a checkpoint is linked to no more batches than this: the limit that OpenTelemetry's own kits have
/// (specification of the SDK, "Span Limits").
const LINKS: usize = 128;

/// Which span, in which trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanContext {
    trace: u128,
    span: u64,
}

/// What a span tells beside its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Count(u64),
}

pub type Attributes = Vec<(&'static str, Value)>;

/// A part of a trace that is over. Times are nanoseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    name: &'static str,
    context: SpanContext,
    parent: Option<u64>,
    began: u64,
    ended: u64,
    attributes: Attributes,
    links: Vec<SpanContext>,
    /// What went wrong, if something did.
    error: Option<String>,
}

/// Begins traces. Clones share everything.
#[derive(Clone, Default)]
pub struct Tracer(Option<Arc<Inner>>);

struct Inner {
    queue: mpsc::Sender<Span>,
    /// The part of all batches that is traced.
    sample: f64,
    rng: Mutex<fastrand::Rng>,
    clock: Arc<dyn Clock>,
    /// Nanoseconds from the origin of the monotonic clock to 1970, as of the start: spans never run backwards.
    epoch: u64,
    metrics: Metrics,
}

impl Tracer {
    /// Traces nothing.
    pub fn off() -> Self {
        Self(None)
    }

    /// Traces a `sample` of all batches; the spans come out of the queue.
    pub fn on(
        sample: f64,
        clock: Arc<dyn Clock>,
        rng: fastrand::Rng,
        metrics: Metrics,
    ) -> (Self, mpsc::Receiver<Span>) {
        let (queue, spans) = mpsc::channel(QUEUE);
        let wall = u128::from(clock.wall().millis().unsigned_abs()) * 1_000_000;
        let epoch = wall.saturating_sub(clock.now().since_origin().as_nanos());
        let inner = Inner {
            queue,
            sample,
            rng: Mutex::new(rng),
            clock,
            epoch: u64::try_from(epoch).unwrap_or(u64::MAX),
            metrics,
        };
        (Self(Some(Arc::new(inner))), spans)
    }

    /// Begins the trace of a batch, if it is one of those that are traced.
    pub fn batch(&self) -> Option<Batch> {
        let tracer = self.0.as_ref()?;
        let mut rng = tracer.rng.lock().unwrap_or_else(PoisonError::into_inner);
        if rng.f64() >= tracer.sample {
            return None;
        }
        let context = SpanContext {
            // Zero is no id.
            trace: rng.u128(1..),
            span: rng.u64(1..),
        };
        drop(rng);
        Some(Batch {
            began: tracer.now(),
            tracer: tracer.clone(),
            context,
        })
    }

    /// The books of one shard's traces; `None`: there will be none.
    pub fn batches(&self) -> Option<Batches> {
        self.0.as_ref().map(|_| Batches::default())
    }
}

impl Inner {
    fn now(&self) -> u64 {
        let nanos = u64::try_from(self.clock.now().since_origin().as_nanos()).unwrap_or(u64::MAX);
        self.epoch.saturating_add(nanos)
    }

    fn tell(&self, span: Span) {
        if self.queue.try_send(span).is_err() {
            self.metrics.trace_spans.with_label_values(&["queue_full"]).inc();
        }
    }
}

/// The trace of one answer of a read. Clones are of the same trace.
#[derive(Clone)]
pub struct Batch {
    tracer: Arc<Inner>,
    context: SpanContext,
    began: u64,
}

impl Batch {
    /// The time, for the beginning of a part.
    pub fn now(&self) -> u64 {
        self.tracer.now()
    }

    pub fn began(&self) -> u64 {
        self.began
    }

    /// Tells a part that ends now.
    pub fn part(&self, name: &'static str, began: u64, attributes: Attributes) {
        self.part_of_many(name, began, attributes, Vec::new(), None);
    }

    /// Tells a part of this batch and others that ends now.
    pub fn part_of_many(
        &self,
        name: &'static str,
        began: u64,
        attributes: Attributes,
        links: Vec<SpanContext>,
        error: Option<String>,
    ) {
        let span = self
            .tracer
            .rng
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .u64(1..);
        self.tracer.tell(Span {
            name,
            context: SpanContext {
                trace: self.context.trace,
                span,
            },
            parent: Some(self.context.span),
            began,
            ended: self.now(),
            attributes,
            links,
            error,
        });
    }

    fn end(&self, attributes: Attributes, error: Option<String>) {
        self.tracer.tell(Span {
            name: "shard.batch",
            context: self.context,
            parent: None,
            began: self.began,
            ended: self.now(),
            attributes,
            links: Vec::new(),
            error,
        });
    }
}

/// The first of these batches, and links to the others.
pub fn first_and_links(batches: &[Batch]) -> Option<(&Batch, Vec<SpanContext>)> {
    let (first, others) = batches.split_first()?;
    Some((
        first,
        others.iter().take(LINKS).map(|batch| batch.context).collect(),
    ))
}

/// A batch on its way.
struct OnItsWay {
    batch: Batch,
    /// Its records in the shard's ledger.
    from: u64,
    to: u64,
    bytes: usize,
    /// All its records are entered.
    is_whole: bool,
}

/// Which batch a record belongs to, of one shard. The consumer writes it, the writers of the log streams look.
#[derive(Clone, Default)]
pub struct Batches(Arc<Mutex<Books>>);

#[derive(Default)]
struct Books {
    /// Oldest first.
    open: VecDeque<OnItsWay>,
    /// Delivered, and not checkpointed.
    delivered: Vec<Batch>,
}

impl std::fmt::Debug for Batches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Batches")
    }
}

impl Batches {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The records from `from` up to `to` are in the ledger. `is_whole`: they are the last of the batch.
    pub fn entered(&self, batch: Batch, from: u64, to: u64, bytes: usize, is_whole: bool) {
        let mut books = self.books();
        match books.open.back_mut() {
            Some(last) if last.batch.context == batch.context => {
                last.to = to;
                last.bytes += bytes;
                last.is_whole = is_whole;
            }
            _ => books.open.push_back(OnItsWay {
                batch,
                from,
                to,
                bytes,
                is_whole,
            }),
        }
    }

    /// Every record before `up_to` is finished: ends the traces of the batches that are.
    pub fn settled(&self, up_to: u64, pipeline: &str, shard: &str) {
        let mut books = self.books();
        while books
            .open
            .front()
            .is_some_and(|front| front.is_whole && front.to <= up_to)
        {
            let Some(done) = books.open.pop_front() else {
                return;
            };
            done.batch.end(attributes(&done, pipeline, shard), None);
            // So many are enough to tell what a checkpoint covers.
            if books.delivered.len() <= LINKS {
                books.delivered.push(done.batch);
            }
        }
    }

    /// The checkpoint that was begun at `began` covers all that is delivered.
    pub fn checkpointed(&self, began: u64) {
        let delivered = std::mem::take(&mut self.books().delivered);
        if let Some((first, links)) = first_and_links(&delivered) {
            first.part_of_many("checkpoint", began.max(first.began), Vec::new(), links, None);
        }
    }

    /// The time, if there is a batch that a checkpoint could cover.
    pub fn checkpoint_begins(&self) -> Option<u64> {
        self.books().delivered.first().map(Batch::now)
    }

    /// The shard is left: what was not delivered is its next owner's.
    pub fn left(&self, pipeline: &str, shard: &str) {
        for open in self.books().open.drain(..) {
            let error = "not delivered here: left to the shard's next owner".to_owned();
            open.batch.end(attributes(&open, pipeline, shard), Some(error));
        }
    }

    /// The batch of the record at `index`, if it is traced.
    pub fn of(&self, index: u64) -> Option<Batch> {
        let books = self.books();
        let found = books.open.partition_point(|open| open.to <= index);
        let found = books.open.get(found).filter(|open| open.from <= index)?;
        Some(found.batch.clone())
    }
}

fn attributes(of: &OnItsWay, pipeline: &str, shard: &str) -> Attributes {
    vec![
        ("weir.pipeline", Value::Text(pipeline.to_owned())),
        ("weir.shard_id", Value::Text(shard.to_owned())),
        ("weir.records", Value::Count(of.to - of.from)),
        ("weir.bytes", Value::Count(of.bytes as u64)),
    ]
}

/// These and no more of them, each once, in their order.
pub fn distinct(batches: impl Iterator<Item = Batch>) -> Vec<Batch> {
    let mut found: Vec<Batch> = Vec::new();
    for batch in batches {
        let known = found.iter().any(|known| known.context == batch.context);
        if !known && found.len() <= LINKS {
            found.push(batch);
        }
    }
    found
}

#[cfg(test)]
mod tests;
