//! Whether the log group holds what the stream still holds.
//!
//! Owns the reading of both sides, and what is said of each event: found, told otherwise, dead-lettered, missing, or
//! there more than once. Which events are meant is what today's settings make of the records. Must never call an event
//! missing that may only not be visible yet: what is not found is looked for once more, after a while. Writes nothing.
//! The comparison itself is [`compare`].

pub mod compare;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::Tell;
use super::asking::Asking;
use super::made::{self, Made, Unmade};
use super::survey::{Batch, Begin, Broken, End, Scope, Seen, Survey};
use crate::clock::{Clock, Timestamp};
use crate::config::{LogClass, PipelineConfig, Start};
use crate::decode::{Decode, aggregate};
use crate::logs::dead_letter::{self, Entry, LetterId, Origin};
use crate::logs::{
    LogDestination, LogEvent, LogSink, SinkError, Subscriptions, address, batch, oversize, untimely,
};
use crate::shape::Format;
use crate::stream::{Record, ShardId, SourceError, StreamArn, StreamSource};
use compare::{Held, Name, Names, Verdict, Wanted};

/// Events of a change have its record's time; this much is read before it, for what is stamped by another clock.
const BEFORE_A_CHANGE: Duration = Duration::from_secs(10);
/// Events that come in envelopes are older than their records.
const BEFORE_A_RECORD: Duration = Duration::from_secs(3600);
/// An event may be read back some seconds after its put.
const UNTIL_VISIBLE: Duration = Duration::from_secs(10);
/// Of so many events that are not found it is kept which they are: some tens of megabytes.
const MOST_OFF: usize = 100_000;

/// A pipeline, with all that is needed to read its stream and its log groups.
pub struct StreamDesk {
    pub application: String,
    pub config: PipelineConfig,
    pub logs: Arc<dyn LogSink>,
    /// To look whether a destination feeds the stream.
    pub subscriptions: Arc<dyn Subscriptions>,
    pub source: Arc<dyn StreamSource>,
    pub clock: Arc<dyn Clock>,
    pub rng: fastrand::Rng,
    pub tell: Tell,
}

/// Why there is no answer. A message names the way out.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("the stream can't be read: {0}")]
    Stream(#[from] SourceError),
    #[error("a task that reads a shard ended, which is a fault of Weir's: {0}")]
    Task(String),
    #[error("{place} can't be read: {why}")]
    Unreadable { place: LogDestination, why: String },
}

impl From<Broken> for Refusal {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Source(error) => Self::Stream(error),
            Broken::Task(error) => Self::Task(error),
        }
    }
}

/// Records of which time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// `None`: from the oldest that the stream holds.
    pub from: Option<Timestamp>,
    /// Before this.
    pub to: Timestamp,
}

impl Period {
    pub(super) fn scope(self) -> Scope {
        Scope {
            begin: self.from.map_or(Begin::Horizon, Begin::At),
            end: End::Before(self.to),
        }
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub records: u64,
    pub events: u64,
    /// Read, and known.
    pub shards: (usize, usize),
    /// The time of the newest record.
    pub at: Option<Timestamp>,
}

/// Which event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventId {
    /// As [`dead_letter::position`] tells it.
    pub position: String,
    /// Its number in the record; `None`: the record as a whole, which can't be decoded, or has no destination.
    pub index: Option<usize>,
}

/// An event that is not where it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Off {
    pub id: EventId,
    /// `None`: its record has none, and no event.
    pub time: Option<Timestamp>,
    /// Where it should be.
    pub to: Option<LogDestination>,
    /// Why there is no event of it by today's settings.
    pub why: Option<String>,
}

/// Events that the log doesn't hold but the dead letters tell of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Letters {
    /// Waiting to be sent again.
    pub open: u64,
    /// Given up by a person, or of nothing by the settings of the redrive.
    pub settled: u64,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub records: u64,
    /// Records that lie before the pipeline's start.
    pub before_start: u64,
    /// That should be in the log, or among the dead letters. A record that can't be decoded counts as one.
    pub events: u64,
    pub filtered: u64,
    pub found: u64,
    /// Copies of those found.
    pub repeated: u64,
    pub dead_lettered: Letters,
    pub missing: u64,
    pub differs: u64,
    /// Which are missing, and which differ; the first 100,000 of both.
    pub which_missing: Vec<Off>,
    pub which_differ: Vec<Off>,
    /// Stretches that the stream trimmed while it was read.
    pub gaps: u64,
    /// Shards that were gone before they were read.
    pub gone: u64,
    /// The times of the first and the last record.
    pub first: Option<Timestamp>,
    pub last: Option<Timestamp>,
    /// The log streams that were looked at, and those of them that don't exist.
    pub streams: u64,
    pub absent: Vec<LogDestination>,
    /// Events without an id are known by their time and text.
    pub without_ids: bool,
    /// Nothing before the first start of `start: latest` was ever to be delivered, and when that was isn't known here.
    pub starts_at_latest: bool,
}

impl Report {
    /// Whether every event is accounted for, each told as it would be today.
    pub fn is_complete(&self) -> bool {
        self.missing == 0 && self.differs == 0 && self.gaps == 0 && self.gone == 0
    }
}

/// An event that was not found, and the names that it would have; without any, a record's dead letter is wanted.
struct Lost {
    off: Off,
    pieces: Vec<Wanted>,
}

/// One log stream, as far as it was read.
struct Shelf {
    held: Held,
    since: Timestamp,
    reloads: u32,
}

/// A comparison on its way.
struct Comparison {
    names: Names,
    shelves: BTreeMap<LogDestination, Shelf>,
    lost: Vec<Lost>,
    period: Period,
    report: Report,
    /// The streams whose dead letters tell what is missing.
    streams: BTreeSet<StreamArn>,
}

impl StreamDesk {
    /// Reads the stream's records of this time, and looks for the events of each.
    pub async fn verify(
        &mut self,
        period: Period,
        progress: &mut (dyn FnMut(&Progress) + Send),
    ) -> Result<Report, Refusal> {
        let names = Names::new([self.rng.u64(..), self.rng.u64(..), self.rng.u64(..)]);
        let mut comparison = Comparison {
            names,
            shelves: BTreeMap::new(),
            lost: Vec::new(),
            period,
            report: Report {
                without_ids: !self.has_ids(),
                starts_at_latest: self.config.source.start == Start::Latest,
                ..Report::default()
            },
            streams: BTreeSet::new(),
        };
        let mut survey = self.survey(period.scope());
        while let Some(seen) = survey.next().await? {
            match seen {
                Seen::Records(batch) => self.compare(&mut comparison, &batch).await?,
                Seen::Gap { shard, .. } => {
                    comparison.report.gaps += 1;
                    (self.tell)(&format!(
                        "{shard}: the stream trimmed records before they could be read"
                    ));
                }
                Seen::Gone { shard, .. } => {
                    comparison.report.gone += 1;
                    (self.tell)(&format!("{shard}: the stream doesn't know this shard any more"));
                }
                Seen::Note(note) => (self.tell)(&note),
                Seen::Ended { .. } => {}
            }
            progress(&Progress {
                records: comparison.report.records,
                events: comparison.report.events,
                shards: survey.progress(),
                at: comparison.report.last,
            });
        }
        if !comparison.lost.is_empty() {
            self.letters(&mut comparison).await?;
        }
        if !comparison.lost.is_empty() {
            (self.tell)(&format!(
                "{} events are not found yet: looking once more in {} s, since an event may be read some seconds after \
                 its put",
                comparison.lost.len(),
                UNTIL_VISIBLE.as_secs()
            ));
            self.clock.sleep(UNTIL_VISIBLE).await;
            self.look_again(&mut comparison).await?;
            self.letters(&mut comparison).await?;
        }
        Ok(comparison.finish())
    }

    /// A reading of the stream.
    pub fn survey(&mut self, scope: Scope) -> Survey {
        Survey::new(
            self.source.clone(),
            self.clock.clone(),
            self.config.source.poll(),
            self.config.source.sync_interval,
            scope,
            self.rng.fork(),
        )
    }

    /// Whether events are known by more than their time and text: changes as Lambda's event records. Others that have
    /// an id have it in their text.
    fn has_ids(&self) -> bool {
        match self.config.decode.how {
            Decode::Lambda | Decode::Base64 => true,
            Decode::Audit => self.config.shape.format != Format::Raw,
            _ => false,
        }
    }

    async fn compare(&mut self, comparison: &mut Comparison, batch: &Batch) -> Result<(), Refusal> {
        let Batch {
            stream,
            shard,
            records,
        } = batch;
        comparison.streams.insert(stream.clone());
        for record in records {
            for part in self.parts(record) {
                self.compare_record(comparison, stream, shard, &part).await?;
            }
            // So many records at a time must not hold up the other tasks.
            tokio::task::consume_budget().await;
        }
        Ok(())
    }

    /// A record, taken apart where it is an aggregate.
    pub fn parts(&self, record: &Record) -> Vec<Record> {
        match self.source.has_aggregates() {
            true => aggregate::user_records(record).0,
            false => vec![record.clone()],
        }
    }

    async fn compare_record(
        &mut self,
        comparison: &mut Comparison,
        stream: &StreamArn,
        shard: &ShardId,
        record: &Record,
    ) -> Result<(), Refusal> {
        let report = &mut comparison.report;
        report.records += 1;
        report.first = report.first.into_iter().chain(record.time).min();
        report.last = report.last.max(record.time);
        if let (Start::At(start), Some(time)) = (self.config.source.start, record.time)
            && time < start
        {
            report.before_start += 1;
            return Ok(());
        }
        let position = position(&self.config.name, stream, shard, record);
        let made = made::made(record, stream, shard, &self.application, &self.config);
        let Made { events, filtered, .. } = match made {
            Ok(made) => made,
            Err(Unmade { reason, detail }) => {
                report.events += 1;
                let off = Off {
                    id: EventId {
                        position,
                        index: None,
                    },
                    time: record.time,
                    to: None,
                    why: Some(format!("{}: {detail}", reason.as_str())),
                };
                comparison.lose(Lost {
                    off,
                    pieces: Vec::new(),
                });
                return Ok(());
            }
        };
        report.filtered += filtered;
        for (index, (to, event)) in events.into_iter().enumerate() {
            comparison.report.events += 1;
            let time = event.timestamp;
            let id = made::id(stream, shard.as_str(), record, index);
            // What is too large to be told by the settings is a dead letter alone.
            let pieces = oversize::fit(event, &id, self.config.destination.oversize).unwrap_or_default();
            let pieces: Vec<Wanted> = pieces
                .iter()
                .map(|piece| comparison.names.wanted(piece))
                .collect();
            // One of a time to come is stamped with that of its put, which comes after its record.
            let oldest = record.time.map_or(time, |of_record| time.min(of_record));
            self.load(comparison, &to, oldest).await?;
            let verdict = comparison.take(&to, &pieces);
            let off = || Off {
                id: EventId {
                    position: position.clone(),
                    index: Some(index),
                },
                time: Some(time),
                to: Some(to.clone()),
                why: None,
            };
            match verdict {
                Verdict::Found => comparison.report.found += 1,
                Verdict::Differs => {
                    comparison.report.differs += 1;
                    if comparison.report.which_differ.len() < MOST_OFF {
                        comparison.report.which_differ.push(off());
                    }
                }
                Verdict::Missing => {
                    let off = off();
                    comparison.lose(Lost { off, pieces });
                }
            }
        }
        Ok(())
    }

    /// Sees to it that the log stream was read back to this time, unless no event so old can be there.
    async fn load(
        &mut self,
        comparison: &mut Comparison,
        to: &LogDestination,
        time: Timestamp,
    ) -> Result<(), Refusal> {
        let before = match self.config.decode.how {
            Decode::Lambda => BEFORE_A_CHANGE,
            _ => BEFORE_A_RECORD,
        };
        let is_takeable = time >= self.clock.wall().minus(batch::MAX_AGE);
        let (since, reloads) = match comparison.shelves.get(to) {
            Some(shelf) if shelf.since <= time || !is_takeable => return Ok(()),
            // Twice as far each time: a page is read again few times.
            Some(shelf) => (
                time.minus(before * 2u32.pow(shelf.reloads.min(10))),
                shelf.reloads + 1,
            ),
            None => {
                let first = match comparison.period.from {
                    Some(from) => from.min(time),
                    None => time,
                };
                let oldest = self.clock.wall().minus(batch::MAX_AGE);
                (first.max(oldest).minus(before), 0)
            }
        };
        let held = self.gather(comparison, to, since, None).await?;
        comparison.put(to, held, since, reloads);
        Ok(())
    }

    /// The names of what a log stream holds since then; of these keys alone, if some are given.
    async fn gather(
        &mut self,
        comparison: &mut Comparison,
        to: &LogDestination,
        since: Timestamp,
        keys: Option<&BTreeSet<u128>>,
    ) -> Result<Held, Refusal> {
        let mut names: Vec<Name> = Vec::new();
        let naming = comparison.names.clone();
        // A change has the time of its record. Others tell the time of whoever wrote them, whose clock may be ahead.
        let until = match self.config.decode.how {
            Decode::Lambda => comparison.period.to,
            _ => comparison.period.to.plus(batch::MAX_AHEAD),
        };
        let logs = self.logs.clone();
        let taken = self
            .asking()
            .events(&*logs, to, since, |events| {
                let is_meant = |event: &&LogEvent| match untimely::original_time(&event.message) {
                    // How far ahead of its record it is nobody knows: it was too far to be taken.
                    Some(own) => own < until || own > event.timestamp,
                    None => event.timestamp < until,
                };
                let these = events.iter().filter(is_meant);
                let these = these.map(|event| naming.logged(event));
                names.extend(these.filter(|name| keys.is_none_or(|keys| keys.contains(&name.key))));
            })
            .await;
        match taken {
            Ok(true) => {}
            Ok(false) if comparison.report.absent.contains(to) => {}
            Ok(false) => comparison.report.absent.push(to.clone()),
            Err(error) => return Err(self.unreadable(to, &error)),
        }
        Ok(Held::new(names))
    }

    fn unreadable(&self, place: &LogDestination, error: &SinkError) -> Refusal {
        let is_of_class = self.config.destination.class == Some(LogClass::InfrequentAccess);
        let why = match error {
            SinkError::Denied(_) | SinkError::Invalid(_) if is_of_class => {
                format!("{error}; of a group of the class INFREQUENT_ACCESS no events can be read")
            }
            error => error.to_string(),
        };
        Refusal::Unreadable {
            place: place.clone(),
            why,
        }
    }

    fn asking(&mut self) -> Asking<'_> {
        Asking {
            clock: &*self.clock,
            rng: &mut self.rng,
            tell: &self.tell,
        }
    }

    /// Reads again what holds, or should hold, the events that were not found.
    async fn look_again(&mut self, comparison: &mut Comparison) -> Result<(), Refusal> {
        let mut by_place: BTreeMap<LogDestination, Vec<Lost>> = BTreeMap::new();
        let mut still = Vec::new();
        for lost in std::mem::take(&mut comparison.lost) {
            match &lost.off.to {
                Some(to) => by_place.entry(to.clone()).or_default().push(lost),
                None => still.push(lost),
            }
        }
        for (to, lost) in by_place {
            let times = lost.iter().filter_map(|lost| lost.off.time).min();
            let shelf = comparison
                .shelves
                .get(&to)
                .map(|shelf| (shelf.since, shelf.reloads));
            let Some((since, reloads)) = shelf else {
                continue;
            };
            let since = times.map_or(since, |time| since.min(time));
            let keys: BTreeSet<u128> = lost
                .iter()
                .flat_map(|lost| &lost.pieces)
                .flat_map(|wanted| [wanted.as_it_is.key, wanted.stamped_anew.key])
                .collect();
            let held = self.gather(comparison, &to, since, Some(&keys)).await?;
            // What it tells of repeats is told by the first reading.
            let first = comparison.shelves.remove(&to).map(|shelf| shelf.held);
            comparison.report.repeated += first.as_ref().map_or(0, Held::repeated);
            let mut again = held;
            if let Some(first) = &first {
                again.carry(first);
            }
            for lost in lost {
                match again.take(&lost.pieces) {
                    Verdict::Found => comparison.report.found += 1,
                    Verdict::Differs => {
                        comparison.report.differs += 1;
                        comparison.report.which_differ.push(lost.off);
                    }
                    Verdict::Missing => still.push(lost),
                }
            }
            let used = Shelf {
                held: Held::default(),
                since,
                reloads,
            };
            comparison.shelves.insert(to, used);
        }
        comparison.lost = still;
        Ok(())
    }

    /// Takes from the lost what the dead letters tell of.
    async fn letters(&mut self, comparison: &mut Comparison) -> Result<(), Refusal> {
        let wanted: BTreeSet<String> = comparison
            .lost
            .iter()
            .map(|lost| lost.off.id.position.clone())
            .collect();
        let since = comparison.report.first.or(comparison.period.from);
        let since = since.map_or(Timestamp::from_millis(0), |first| first.minus(BEFORE_A_RECORD));
        let mut letters: BTreeMap<EventId, (LetterId, Timestamp)> = BTreeMap::new();
        let mut marks: BTreeMap<LetterId, (Timestamp, u64)> = BTreeMap::new();
        let places: BTreeSet<LogDestination> = comparison
            .streams
            .iter()
            .map(|stream| address::letters(&self.application, &self.config, stream))
            .collect();
        for place in places {
            let logs = self.logs.clone();
            let mut asking = self.asking();
            let read = asking.events(&*logs, &place, since, |events| {
                // Newest first, so that a mark comes before its letter.
                for event in events.iter().rev() {
                    match dead_letter::parse(event) {
                        Some(Entry::Redriven(mark)) => {
                            let delivered = if mark.discarded { 0 } else { mark.events };
                            marks.entry(mark.letter).or_insert((mark.at, delivered));
                        }
                        Some(Entry::Part(part)) if wanted.contains(part.position()) => {
                            let id = EventId {
                                position: part.position().to_owned(),
                                index: part.index(),
                            };
                            let letter = (LetterId::new(part.letter()), part.written());
                            letters.entry(id).or_insert(letter);
                        }
                        Some(Entry::Part(_)) | None => {}
                    }
                }
            });
            // A place that isn't there has no letters.
            if let Err(error) = read.await {
                return Err(self.unreadable(&place, &error));
            }
        }
        let report = &mut comparison.report;
        comparison.lost.retain(|lost| {
            let whole = EventId {
                position: lost.off.id.position.clone(),
                index: None,
            };
            let Some((letter, written)) = letters.get(&lost.off.id).or_else(|| letters.get(&whole)) else {
                return true;
            };
            match marks.get(letter).filter(|(at, _)| at >= written) {
                None => report.dead_lettered.open += 1,
                Some((_, 0)) => report.dead_lettered.settled += 1,
                // Its mark says that it was delivered, and it isn't there.
                Some(_) if !lost.pieces.is_empty() => return true,
                Some(_) => report.dead_lettered.settled += 1,
            }
            false
        });
        Ok(())
    }
}

/// A record's place, as its dead letter tells it.
pub(super) fn position(pipeline: &str, stream: &StreamArn, shard: &ShardId, record: &Record) -> String {
    dead_letter::position(&Origin {
        pipeline: pipeline.to_owned(),
        stream: stream.to_string(),
        shard: shard.to_string(),
        place: record.place(),
    })
}

impl Comparison {
    fn take(&mut self, to: &LogDestination, pieces: &[Wanted]) -> Verdict {
        match self.shelves.get_mut(to) {
            Some(shelf) => shelf.held.take(pieces),
            None => Verdict::Missing,
        }
    }

    fn put(&mut self, to: &LogDestination, mut held: Held, since: Timestamp, reloads: u32) {
        match self.shelves.get(to) {
            Some(shelf) => held.carry(&shelf.held),
            None => self.report.streams += 1,
        }
        let shelf = Shelf { held, since, reloads };
        self.shelves.insert(to.clone(), shelf);
    }

    fn lose(&mut self, lost: Lost) {
        match self.lost.len() < MOST_OFF {
            true => self.lost.push(lost),
            false => self.report.missing += 1,
        }
    }

    fn finish(self) -> Report {
        let mut report = self.report;
        report.missing += self.lost.len() as u64;
        report.which_missing = self.lost.into_iter().map(|lost| lost.off).collect();
        report.repeated += self
            .shelves
            .values()
            .map(|shelf| shelf.held.repeated())
            .sum::<u64>();
        report
    }
}

#[cfg(test)]
mod tests;
