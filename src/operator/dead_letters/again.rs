//! Sending dead letters again: the puts, and the marks that they leave.
//!
//! Letters are taken some at a time, so that few are repeated if the process ends on the way: what was put and not
//! yet marked.

use std::collections::{BTreeMap, VecDeque};

use super::{Found, Incomplete, LetterDesk, Listing, Look, Period, REQUEST, Refusal, Shelf, find};
use crate::backoff::Backoff;
use crate::logs::batch;
use crate::logs::dead_letter::{self, LetterId, Redriven};
use crate::logs::group::GroupSettings;
use crate::logs::{Accepted, LogDestination, LogEvent, SinkError};
use crate::operator::MOST_REPEATS;
use crate::operator::redrive::{self, Addressed};

/// So many letters are put and marked together…
const AT_ONCE: usize = 100;
/// …while their events take no more than this. A batch that is full has a megabyte.
const AT_ONCE_BYTES: usize = 4 << 20;

/// Which letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those whose ids begin so.
    Ids(Vec<String>),
    /// Those of this reason that were not sent again yet.
    Reason(String),
    /// All that were not sent again yet.
    Everything,
}

/// In which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct How {
    /// Nothing is put.
    pub dry_run: bool,
    /// Also those that have a mark.
    pub again: bool,
    /// Also events that were made before a redaction was set, as they are.
    pub as_written: bool,
}

/// What became of a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// All its events were accepted (of a dry run: would be put), and it is marked.
    Delivered { events: usize, to: Vec<LogDestination> },
    /// It gives no event today, and is marked.
    Nothing,
    /// It was sent again before.
    Already(Redriven),
    /// It is accepted, or gives nothing, but its mark could not be put: sent again once more, it is repeated.
    Unmarked { events: usize, why: String },
    /// It still can't be delivered. Where some of its events were, they are repeated when it is sent again.
    Left { why: String, delivered: usize },
}

impl Fate {
    /// Whether nothing is left to do.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Delivered { .. } | Self::Nothing | Self::Already(_))
    }
}

/// What a redrive did, letter by letter.
#[derive(Debug, Default)]
pub struct Done {
    pub letters: Vec<(Found, Fate)>,
    /// Letters that are not whole, and were left.
    pub incomplete: Vec<Incomplete>,
    /// Events whose put got no answer and was repeated: they may stand twice in the log.
    pub perhaps_twice: usize,
    pub listing: Listing,
}

impl Done {
    /// Whether nothing is left, as far as is known: older letters may not have been read.
    pub fn is_all(&self) -> bool {
        self.listing.cut_at.is_none()
            && self.incomplete.is_empty()
            && self.letters.iter().all(|(_, fate)| fate.is_done())
    }
}

/// A letter that was to be discarded.
#[derive(Debug)]
pub struct Discarded {
    pub id: LetterId,
    pub reason: String,
    pub outcome: Outcome,
}

/// What a discard did to a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Marked,
    /// It has a mark.
    Already(Redriven),
    /// Its mark could not be put.
    Unmarked(String),
}

/// A letter on its way.
struct Job {
    found: Found,
    to: Vec<LogDestination>,
    /// Its events, and how many of them were accepted.
    events: usize,
    accepted: usize,
    refused: Option<String>,
}

/// An event on its way, and the number of its job.
struct Item {
    event: LogEvent,
    id: String,
    job: usize,
}

/// Why puts to a group were given up, by the client and the group: no further one is tried.
type GivenUp = BTreeMap<(usize, String), String>;

impl LetterDesk {
    /// Sends letters again by today's settings, and marks those of which everything was accepted.
    pub async fn redrive(&mut self, which: &Which, period: Period, how: How) -> Result<Done, Refusal> {
        let look = match which {
            Which::Ids(ids) => Look::Ids(ids.clone()),
            Which::Reason(_) | Which::Everything => Look::Open,
        };
        let mut listing = self.read(period, &look).await?;
        let mut done = Done::default();
        let mut chosen: Vec<Found> = Vec::new();
        match which {
            Which::Ids(ids) => {
                for id in ids {
                    let found = find(&listing, id)?;
                    if chosen.iter().all(|other| other.letter.id != found.letter.id) {
                        chosen.push(found.clone());
                    }
                }
                // All that were meant are there.
                listing.cut_at = None;
            }
            Which::Reason(_) | Which::Everything => {
                let is_meant = |reason: &str| !matches!(which, Which::Reason(wanted) if wanted != reason);
                done.incomplete = std::mem::take(&mut listing.incomplete);
                done.incomplete.retain(|letter| is_meant(&letter.reason));
                chosen = std::mem::take(&mut listing.found);
                chosen.retain(|found| found.redriven.is_none() && is_meant(&found.letter.reason));
            }
        }
        listing.found.clear();
        done.listing = listing;
        self.send(chosen.into(), how, &mut done).await;
        Ok(done)
    }

    /// Marks letters without sending them: nothing can be made of them, or nobody wants it.
    pub async fn discard(&mut self, ids: &[String], period: Period) -> Result<Vec<Discarded>, Refusal> {
        let listing = self.read(period, &Look::Ids(ids.to_vec())).await?;
        let now = self.clock.wall();
        let mut discarded: Vec<Discarded> = Vec::new();
        let mut marks = Vec::new();
        for id in ids {
            let (of, id, reason, redriven) = match find(&listing, id) {
                Ok(found) => (
                    Some(found.of),
                    found.letter.id.clone(),
                    found.letter.reason.clone(),
                    found.redriven.clone(),
                ),
                // One that is not whole is one that can never be sent.
                Err(refusal @ Refusal::Incomplete { .. }) => {
                    let Some(letter) = listing
                        .incomplete
                        .iter()
                        .find(|letter| letter.id.as_str().starts_with(id.as_str()))
                    else {
                        return Err(refusal);
                    };
                    let is_its = |of: &usize| self.mail[*of].config.name == letter.origin.pipeline;
                    let of = (0..self.mail.len()).find(is_its);
                    (of, letter.id.clone(), letter.reason.clone(), None)
                }
                Err(refusal) => return Err(refusal),
            };
            if discarded.iter().any(|other| other.id == id) {
                continue;
            }
            if let (Some(of), None) = (of, &redriven) {
                let mark = Redriven {
                    letter: id.clone(),
                    at: now,
                    events: 0,
                    discarded: true,
                };
                marks.push((discarded.len(), of, mark));
            }
            discarded.push(Discarded {
                id,
                reason,
                outcome: redriven.map_or(Outcome::Marked, Outcome::Already),
            });
        }
        for (at, why) in self.put_marks(marks, &listing.places).await {
            discarded[at].outcome = Outcome::Unmarked(why);
        }
        Ok(discarded)
    }

    /// Sends these letters, some at a time.
    pub(super) async fn send(&mut self, mut waiting: VecDeque<Found>, how: How, done: &mut Done) {
        let mut given_up = GivenUp::new();
        let mut shelf = Shelf::default();
        while !waiting.is_empty() {
            let mut jobs: Vec<Job> = Vec::new();
            let mut items: Vec<(usize, LogDestination, Item)> = Vec::new();
            let mut bytes = 0;
            while jobs.len() < AT_ONCE
                && bytes < AT_ONCE_BYTES
                && let Some(found) = waiting.pop_front()
            {
                if let Some(redriven) = found.redriven.clone().filter(|_| !how.again) {
                    done.letters.push((found, Fate::Already(redriven)));
                    continue;
                }
                let whole = self.whole(found.of, found.letter.clone(), &mut shelf).await;
                let events = whole
                    .and_then(|letter| self.events(found.of, &letter, how.as_written))
                    .and_then(|events| {
                        let client = self.client(found.of);
                        let refused = events
                            .iter()
                            .find_map(|event| given_up.get(&(client, event.to.group.clone())));
                        match refused {
                            Some(why) => Err(not_tried(why)),
                            None => Ok(events),
                        }
                    });
                let events = match events {
                    Ok(events) => events,
                    Err(why) => {
                        done.letters.push((found, Fate::Left { why, delivered: 0 }));
                        continue;
                    }
                };
                let mut job = Job {
                    to: Vec::new(),
                    events: events.len(),
                    accepted: 0,
                    refused: None,
                    found,
                };
                for Addressed { to, event, id } in events {
                    bytes += event.message.len();
                    if !job.to.contains(&to) {
                        job.to.push(to.clone());
                    }
                    let item = Item {
                        event,
                        id,
                        job: jobs.len(),
                    };
                    items.push((job.found.of, to, item));
                }
                jobs.push(job);
            }
            let marks = match how.dry_run {
                true => BTreeMap::new(),
                false => self.deliver(&mut jobs, items, done, &mut given_up).await,
            };
            for (at, job) in jobs.into_iter().enumerate() {
                let Job { events, to, .. } = job;
                let fate = match (job.refused, marks.get(&at)) {
                    (Some(why), _) => Fate::Left {
                        why,
                        delivered: job.accepted,
                    },
                    (None, Some(why)) => Fate::Unmarked {
                        events,
                        why: why.clone(),
                    },
                    (None, None) if events == 0 => Fate::Nothing,
                    (None, None) => Fate::Delivered { events, to },
                };
                done.letters.push((job.found, fate));
            }
        }
    }

    /// Puts the events of these jobs, then the marks of those whose events were all accepted. Tells why marks could
    /// not be put, by job.
    async fn deliver(
        &mut self,
        jobs: &mut [Job],
        items: Vec<(usize, LogDestination, Item)>,
        done: &mut Done,
        given_up: &mut GivenUp,
    ) -> BTreeMap<usize, String> {
        let mut by_destination: BTreeMap<(usize, LogDestination), VecDeque<Item>> = BTreeMap::new();
        for (of, to, item) in items {
            by_destination.entry((of, to)).or_default().push_back(item);
        }
        for ((of, to), items) in by_destination {
            let key = (self.client(of), to.group.clone());
            if let Some(why) = given_up.get(&key) {
                for item in items {
                    jobs[item.job].refused.get_or_insert_with(|| not_tried(why));
                }
            } else if let Err(why) = self.put_all(of, &to, items, jobs, &mut done.perhaps_twice).await {
                given_up.insert(key, why);
            }
        }
        let at = self.clock.wall();
        let accepted = jobs.iter().enumerate().filter(|(_, job)| job.refused.is_none());
        let marks = accepted.map(|(number, job)| {
            let mark = Redriven {
                letter: job.found.letter.id.clone(),
                // A mark holds for letters that were put at or before it, and this clock may be behind a worker's.
                at: at.max(job.found.letter.written),
                events: job.events as u64,
                discarded: false,
            };
            (number, job.found.of, mark)
        });
        let marks = marks.collect();
        self.put_marks(marks, &done.listing.places).await
    }

    /// Puts marks, each with a number and its pipeline. Tells why some could not be put, by the numbers.
    async fn put_marks(
        &mut self,
        marks: Vec<(usize, usize, Redriven)>,
        places: &[LogDestination],
    ) -> BTreeMap<usize, String> {
        let mut by_pipeline: BTreeMap<usize, Vec<(usize, LogEvent)>> = BTreeMap::new();
        for (number, of, mark) in marks {
            let events = by_pipeline.entry(of).or_default();
            events.push((number, dead_letter::mark(&mark)));
        }
        let mut unmarked = BTreeMap::new();
        for (of, marks) in by_pipeline {
            for marks in marks.chunks(AT_ONCE) {
                let events: Vec<LogEvent> = marks.iter().map(|(_, event)| event.clone()).collect();
                // Each is a few words: one batch.
                let refused = match self.put(of, &places[of], &events, &mut 0).await {
                    Ok(accepted) => (0..events.len())
                        .find_map(|at| accepted.refusal(at))
                        .map(|refusal| redrive::told(refusal).to_owned()),
                    Err(error) => Some(error.to_string()),
                };
                if let Some(why) = refused {
                    unmarked.extend(marks.iter().map(|(number, _)| (*number, why.clone())));
                }
            }
        }
        unmarked
    }

    /// Puts events in their order, each batch by the rules. What is refused is told to its job, of which no more is
    /// put then. An error is no single event's fault, and is told to all that have some here.
    async fn put_all(
        &mut self,
        of: usize,
        to: &LogDestination,
        mut queue: VecDeque<Item>,
        jobs: &mut [Job],
        perhaps_twice: &mut usize,
    ) -> Result<(), String> {
        let destination = self.mail[of].config.destination.clone();
        // While a batch that was refused as a whole is halved until the guilty event is alone.
        let mut limit = usize::MAX;
        loop {
            queue.retain(|item| jobs[item.job].refused.is_none());
            if queue.is_empty() {
                return Ok(());
            }
            let count = batch::cut(queue.iter().map(|item| &item.event)).min(limit);
            let mut batch: Vec<Item> = queue.drain(..count).collect();
            // As PutLogEvents wants them; those of one time stay in their order.
            batch.sort_by_key(|item| item.event.timestamp);
            let events: Vec<LogEvent> = batch.iter().map(|item| item.event.clone()).collect();
            let accepted = match self.put(of, to, &events, perhaps_twice).await {
                Ok(accepted) => accepted,
                Err(SinkError::Invalid(why)) => {
                    if let [alone] = &batch[..] {
                        jobs[alone.job].refused = Some(format!("CloudWatch Logs refuses an event: {why}"));
                    } else {
                        limit = count / 2;
                        batch.into_iter().rev().for_each(|item| queue.push_front(item));
                    }
                    continue;
                }
                Err(error) => {
                    let why = way_out(to, &error, destination.create);
                    for item in batch.into_iter().chain(queue) {
                        jobs[item.job].refused.get_or_insert_with(|| why.clone());
                    }
                    return Err(why);
                }
            };
            limit = limit.saturating_mul(2);
            for (at, item) in batch.into_iter().enumerate().rev() {
                let job = &mut jobs[item.job];
                let Some(refusal) = accepted.refusal(at) else {
                    job.accepted += 1;
                    continue;
                };
                let Item {
                    event,
                    id,
                    job: number,
                } = item;
                match redrive::in_time(event, &id, refusal, &destination, self.clock.wall()) {
                    Ok(events) => {
                        // One that its own time made too large is told in several.
                        job.events += events.len().saturating_sub(1);
                        for event in events.into_iter().rev() {
                            let id = id.clone();
                            queue.push_front(Item {
                                event,
                                id,
                                job: number,
                            });
                        }
                    }
                    Err(refusal) => job.refused = Some(redrive::told(refusal).to_owned()),
                }
            }
        }
    }

    /// Puts a batch, however often it must be repeated for a moment's reason. Creates what is missing, if the
    /// settings say so.
    async fn put(
        &mut self,
        of: usize,
        to: &LogDestination,
        events: &[LogEvent],
        perhaps_twice: &mut usize,
    ) -> Result<Accepted, SinkError> {
        let logs = self.mail[of].logs.clone();
        let create = self.mail[of].config.destination.create;
        let mut backoff = Backoff::default();
        loop {
            let error = match logs.put(to, events, REQUEST).await {
                Ok(accepted) => return Ok(accepted),
                Err(error) => error,
            };
            match &error {
                SinkError::Missing(_) if create => self.create(of, to).await?,
                SinkError::Unanswered(_) => *perhaps_twice += events.len(),
                SinkError::Throttled(_) | SinkError::Unavailable(_) => {}
                SinkError::Missing(_) | SinkError::Denied(_) | SinkError::Invalid(_) => return Err(error),
            }
            if backoff.failures() >= MOST_REPEATS {
                return Err(error);
            }
            if backoff.failures() == 0 && !matches!(error, SinkError::Missing(_)) {
                (self.tell)(&format!("{error}; repeating"));
            }
            self.clock.sleep(backoff.next(&mut self.rng)).await;
        }
    }

    /// Creates the stream, and before it the group, where they are missing.
    async fn create(&mut self, of: usize, to: &LogDestination) -> Result<(), SinkError> {
        let logs = self.mail[of].logs.clone();
        let settings = GroupSettings::of(&self.mail[of].config.destination);
        let stream = self.ask_logs(async || logs.create_stream(to).await).await;
        if !matches!(stream, Err(SinkError::Missing(_))) {
            return stream;
        }
        let is_new = self
            .ask_logs(async || logs.create_group(&to.group, &settings).await)
            .await?;
        if let (true, Some(days)) = (is_new, settings.retention_days) {
            self.ask_logs(async || logs.put_retention(&to.group, days).await)
                .await?;
        }
        self.ask_logs(async || logs.create_stream(to).await).await
    }
}

fn not_tried(why: &str) -> String {
    format!("not tried, since its log group takes nothing: {why}")
}

/// Why a put failed for good, and what to do. A denial says it itself.
fn way_out(to: &LogDestination, error: &SinkError, create: bool) -> String {
    match error {
        SinkError::Denied(why) => why.clone(),
        SinkError::Missing(why) if !create => {
            format!("{why}: create it, or set `destination.create: true`")
        }
        other => format!("{to}: {other}"),
    }
}
