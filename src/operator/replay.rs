//! A period of the stream delivered once more.
//!
//! Owns the reading, and the parcels that go to the sink; the sink owns the puts, as for a worker. Must never write a
//! checkpoint or take a lease, and never go past a group that feeds the stream it is read from. That events are in
//! the log twice afterwards is what was asked for, unless only those that are missing were.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::mpsc;

use super::made::{self, Made};
use super::survey::{Batch, DISORDER, Seen, Survey};
use super::verify::{self, EventId, Period, Progress, StreamDesk};
use crate::clock::{Monotonic, Timestamp, timeout};
use crate::decode::Envelope;
use crate::lease::fence::Fence;
use crate::ledger::{Ledger, Received};
use crate::logs::dead_letter::RecordBody;
use crate::logs::group::GroupSettings;
use crate::logs::guard::Guard;
use crate::logs::sink::{Delivered, Lane, LiveWorkers, Parcel, PutRate, Sink, SinkSettings, Surroundings};
use crate::logs::{LogDestination, address};
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::shutdown::Stop;
use crate::status::reports::Reports;
use crate::stream::{Record, ShardId, StreamArn};

/// Events in flight hold so much at most, beside one answer of the stream.
const IN_FLIGHT: usize = 32 << 20;
/// Nobody takes a replay's place: its fence never closes while it runs.
const FOR_EVER: Duration = Duration::from_secs(10 * 366 * 24 * 3600);
/// After a wish to stop, what is in flight may take so long.
const DRAIN: Duration = Duration::from_secs(20);

/// What is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    Everything,
    /// These events alone.
    Only(BTreeSet<EventId>),
}

/// In which way.
#[derive(Debug)]
pub struct How {
    pub which: Which,
    /// Nothing is put.
    pub dry_run: bool,
    /// The most PutLogEvents a second.
    pub put_rate: u32,
    /// Whether the destination is known not to feed the stream.
    pub guard: Guard,
}

/// What was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    pub records: u64,
    /// Events that were accepted (of a dry run: that would be put).
    pub events: u64,
    pub filtered: u64,
    /// Records of which something went to the dead letters.
    pub dead_lettered: u64,
    /// Stretches that the stream trimmed before they could be read, and shards that were gone.
    pub gaps: u64,
    /// Where to.
    pub to: BTreeSet<LogDestination>,
    /// It was stopped: all records before this time are sent.
    pub stopped_at: Option<Timestamp>,
    pub is_stopped: bool,
    /// Records that were read and not sent when it was stopped.
    pub left: u64,
}

/// Why it was not done, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    Reading(#[from] verify::Refusal),
    #[error(
        "the record {position} came from the log group {group}, which it would be written to: each event would come \
         round again for ever. Nothing more is sent: use another group, or remove the subscription filter"
    )]
    Loop { position: String, group: String },
    #[error("what writes to the log ended, which is a fault of Weir's: {0}")]
    Sink(String),
}

/// How far the stream was read.
#[derive(Debug, PartialEq, Eq)]
enum Read {
    ToTheEnd,
    Stopped,
}

/// One shard's side of it.
struct Line {
    lane: Lane,
    answers: mpsc::UnboundedReceiver<Delivered>,
    ledger: Ledger,
    /// The time of the last record.
    last: Option<Timestamp>,
    is_over: bool,
}

impl Line {
    /// Takes in what the sink has answered; tells of how many events, and how many records are dead letters.
    fn settle(&mut self, delivered: &Delivered, done: &mut Done) {
        for (index, refused) in delivered.pieces() {
            done.events += u64::from(refused.is_none());
            if let Some(finished) = self.ledger.accepted(*index, *refused) {
                done.dead_lettered += u64::from(finished.refused.is_some());
            }
        }
    }
}

type Lines = BTreeMap<(StreamArn, ShardId), Line>;

impl StreamDesk {
    /// Sends what the stream holds of this time, until it is done or `stop` is wished.
    pub async fn replay(
        &mut self,
        period: Period,
        how: &How,
        mut stop: Stop,
        progress: &mut (dyn FnMut(&Progress) + Send),
    ) -> Result<Done, Refusal> {
        let (sink, router) = self.sink(how.put_rate);
        let router = tokio::spawn(router.run());
        let mut survey = self.survey(period.scope());
        let mut lines = Lines::new();
        let mut done = Done::default();
        let ended = self
            .send_all(
                &mut survey,
                &sink,
                &mut lines,
                how,
                &mut done,
                &mut stop,
                progress,
            )
            .await;
        let open = Open {
            reading: survey.reading(),
            left_off: survey.left_off(),
        };
        drop(survey);
        if !matches!(ended, Err(Refusal::Sink(_))) {
            self.drain(&mut lines, &mut done, &mut stop).await;
        }
        done.left = lines.values().map(|line| line.ledger.open_records() as u64).sum();
        if matches!(ended, Ok(Read::Stopped)) || done.left > 0 {
            done.is_stopped = true;
            done.stopped_at = reached(&lines, &open, period);
        }
        // Whoever sees the error alone would have to begin again.
        if ended.is_err()
            && !how.dry_run
            && let Some(time) = reached(&lines, &open, period)
        {
            (self.tell)(&format!(
                "{} events were sent before it failed: go on with --from {time} --to {}",
                done.events, period.to
            ));
        }
        drop(lines);
        drop(sink);
        match timeout(&*self.clock, DRAIN, router).await {
            Ok(Ok(Ok(()))) | Err(_) => {}
            Ok(Ok(Err(died))) => return Err(Refusal::Sink(died.to_string())),
            Ok(Err(error)) => return Err(Refusal::Sink(error.to_string())),
        }
        ended.map(|_| done)
    }

    fn sink(&mut self, put_rate: u32) -> (Sink, crate::logs::sink::Router) {
        let destination = &self.config.destination;
        let settings = SinkSettings {
            pipeline: self.config.name.clone(),
            create: destination.create,
            group: GroupSettings::of(destination),
            // The workers look after groups that exist.
            reconcile: false,
            oversize: destination.oversize,
            too_old: destination.too_old,
            too_new: destination.too_new,
            redacts: self.config.shape.redact.is_some(),
        };
        let surroundings = Surroundings {
            clock: self.clock.clone(),
            fence: Fence::new(self.clock.clone(), FOR_EVER, self.clock.now()),
            rate: PutRate::new(put_rate, LiveWorkers::default()),
            metrics: Metrics::new(),
            readiness: Readiness::new(),
            reports: Reports::default(),
        };
        Sink::new(self.logs.clone(), settings, surroundings, self.rng.fork())
    }

    #[expect(clippy::too_many_arguments, reason = "one loop over the state of one replay")]
    async fn send_all(
        &mut self,
        survey: &mut Survey,
        sink: &Sink,
        lines: &mut Lines,
        how: &How,
        done: &mut Done,
        stop: &mut Stop,
        progress: &mut (dyn FnMut(&Progress) + Send),
    ) -> Result<Read, Refusal> {
        loop {
            // Cancel-safe, both.
            let seen = tokio::select! {
                biased;
                () = stop.wished() => return Ok(Read::Stopped),
                seen = survey.next() => seen.map_err(verify::Refusal::from)?,
            };
            let Some(seen) = seen else {
                return Ok(Read::ToTheEnd);
            };
            match seen {
                Seen::Records(batch) => self.send(&batch, sink, lines, how, done)?,
                Seen::Gap { shard, .. } => {
                    done.gaps += 1;
                    (self.tell)(&format!(
                        "{shard}: the stream trimmed records before they could be read"
                    ));
                }
                Seen::Gone { shard, stream } => {
                    done.gaps += 1;
                    (self.tell)(&format!("{shard}: the stream doesn't know this shard any more"));
                    end(lines, stream, shard);
                }
                Seen::Note(note) => (self.tell)(&note),
                Seen::Ended { stream, shard } => end(lines, stream, shard),
            }
            while in_flight(lines) > IN_FLIGHT {
                let fullest = lines.values_mut().max_by_key(|line| line.ledger.bytes());
                let Some(line) = fullest else { break };
                tokio::select! {
                    biased;
                    () = stop.wished() => return Ok(Read::Stopped),
                    answer = line.answers.recv() => match answer {
                        Some(delivered) => line.settle(&delivered, done),
                        None => return Err(Refusal::Sink("it answers no more".to_owned())),
                    },
                }
            }
            for line in lines.values_mut() {
                while let Ok(delivered) = line.answers.try_recv() {
                    line.settle(&delivered, done);
                }
            }
            progress(&Progress {
                records: done.records,
                events: done.events,
                shards: survey.progress(),
                at: lines.values().filter_map(|line| line.last).max(),
            });
        }
    }

    /// Hands some records of one shard to the sink.
    fn send(
        &mut self,
        batch: &Batch,
        sink: &Sink,
        lines: &mut Lines,
        how: &How,
        done: &mut Done,
    ) -> Result<(), Refusal> {
        let Batch {
            stream,
            shard,
            records,
        } = batch;
        let letters = address::letters(&self.application, &self.config, stream);
        let line = lines.entry((stream.clone(), shard.clone())).or_insert_with(|| {
            let (lane, answers) = sink.lane(stream.as_str(), shard.as_str(), letters.clone());
            Line {
                lane,
                answers,
                ledger: Ledger::default(),
                last: None,
                is_over: false,
            }
        });
        let Line {
            lane, ledger, last, ..
        } = line;
        let mut parcel = Parcel::new(lane);
        let withheld = self.config.withholds();
        let now = self.clock.now();
        for part in records.iter().flat_map(|record| self.parts(record)) {
            *last = (*last).max(part.time);
            let position = verify::position(&self.config.name, stream, shard, &part);
            let is_wanted = |index: Option<usize>| match &how.which {
                Which::Everything => true,
                Which::Only(events) => {
                    let id = |index| EventId {
                        position: position.clone(),
                        index,
                    };
                    events.contains(&id(index))
                }
            };
            match made::made(&part, stream, shard, &self.application, &self.config) {
                Ok(Made {
                    events,
                    envelopes,
                    filtered,
                }) => {
                    let events: Vec<_> = events
                        .into_iter()
                        .enumerate()
                        .filter(|(index, _)| is_wanted(Some(*index)))
                        .collect();
                    if let Some(group) = comes_back(&how.guard, &envelopes, &events, &part) {
                        return Err(Refusal::Loop { position, group });
                    }
                    if how.which == Which::Everything {
                        done.filtered += filtered;
                    }
                    done.records += u64::from(!events.is_empty());
                    let count = u32::try_from(events.len()).unwrap_or(u32::MAX);
                    done.to.extend(events.iter().map(|(_, (to, _))| to.clone()));
                    if how.dry_run {
                        done.events += u64::from(count);
                        continue;
                    }
                    let bytes = events.iter().map(|(_, (_, event))| event.message.len()).sum();
                    let at = ledger.receive(received(&part, count, bytes, now));
                    for (index, (to, event)) in events {
                        parcel.event(&to, at, part.place(), index, event);
                    }
                }
                Err(unmade) if is_wanted(None) => {
                    done.records += 1;
                    if how.dry_run {
                        done.dead_lettered += 1;
                        continue;
                    }
                    let bytes = part.data.len();
                    let at = ledger.receive(received(&part, 1, bytes, now));
                    let body = RecordBody::of(&part, withheld);
                    parcel.dead_letter(&letters, at, &part.place(), unmade.reason, &unmade.detail, body);
                }
                Err(_) => {}
            }
        }
        sink.submit(parcel);
        Ok(())
    }

    /// Waits until everything that was submitted is answered; not for ever, once a stop is wished.
    async fn drain(&mut self, lines: &mut Lines, done: &mut Done, stop: &mut Stop) {
        let all = async {
            for line in lines.values_mut() {
                while line.ledger.open_records() > 0 {
                    let Some(delivered) = line.answers.recv().await else {
                        return;
                    };
                    line.settle(&delivered, done);
                }
            }
        };
        let limit = async {
            stop.wished().await;
            self.clock.sleep(DRAIN).await;
        };
        // What is cut off is told as left.
        tokio::select! {
            biased;
            () = all => {}
            () = limit => {}
        }
    }
}

fn end(lines: &mut Lines, stream: StreamArn, shard: ShardId) {
    if let Some(line) = lines.get_mut(&(stream, shard)) {
        line.is_over = true;
    }
}

/// The entry of a record in its shard's ledger. Nothing of it is in a budget but its messages.
fn received(record: &Record, events: u32, bytes: usize, at: Monotonic) -> Received {
    Received {
        place: record.place(),
        events,
        held: bytes,
        bytes,
        time: record.time,
        at,
    }
}

fn in_flight(lines: &Lines) -> usize {
    lines.values().map(|line| line.ledger.bytes()).sum()
}

/// The shards that more is to be read of, or after.
struct Open {
    /// Their reading has begun and not ended.
    reading: Vec<(StreamArn, ShardId)>,
    /// They were read to their end, and their children were not begun.
    left_off: Vec<(StreamArn, ShardId)>,
}

/// Up to when everything is sent: no shard has an earlier record left, be it that times of a shard go back a little.
fn reached(lines: &Lines, open: &Open, period: Period) -> Option<Timestamp> {
    let mut unread = open.reading.iter().chain(&open.left_off);
    if unread.any(|shard| !lines.contains_key(shard)) {
        return period.from;
    }
    let times = lines.iter().filter_map(|(shard, line)| {
        let oldest = line.ledger.oldest().and_then(|oldest| oldest.time);
        match line.is_over && !open.left_off.contains(shard) {
            true => oldest,
            false => oldest.or(line.last),
        }
    });
    let time = times.min().map(|time| time.minus(DISORDER));
    time.max(period.from)
}

/// The group that one of these events comes from and would be written to.
fn comes_back(
    guard: &Guard,
    envelopes: &[Envelope],
    events: &[(usize, (LogDestination, crate::logs::LogEvent))],
    record: &Record,
) -> Option<String> {
    let group = |envelope: &Envelope| {
        let from = &envelope.log_group;
        let is_one = |to: &LogDestination| guard.comes_back(&envelope.owner, from, &to.group, record.time);
        events.iter().any(|(_, (to, _))| is_one(to)).then(|| from.clone())
    };
    envelopes.iter().find_map(group)
}
