//! Sending dead letters again: the puts, and the marks that they leave.
//!
//! Letters are taken some at a time, so that few are repeated if the process ends on the way: what was put and not
//! yet marked.

use std::collections::{BTreeMap, VecDeque};

use super::{Found, Incomplete, LetterDesk, Listing, REQUEST, Refusal, find};
use crate::backoff::Backoff;
use crate::clock::Timestamp;
use crate::logs::batch;
use crate::logs::dead_letter::{self, Redriven};
use crate::logs::group::GroupSettings;
use crate::logs::{Accepted, LogDestination, LogEvent, SinkError};
use crate::operator::{MOST_REPEATS, redrive};

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
    pub fn is_all(&self) -> bool {
        self.incomplete.is_empty() && self.letters.iter().all(|(_, fate)| fate.is_done())
    }
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
    job: usize,
}

/// Why puts were given up: no further one is tried.
struct GivenUp(String);

impl LetterDesk {
    /// Sends letters again by today's settings, and marks those of which everything was accepted.
    pub async fn redrive(&mut self, which: &Which, since: Timestamp, dry_run: bool) -> Result<Done, Refusal> {
        let mut listing = self.read(since).await?;
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
        self.send(chosen.into(), dry_run, &mut done).await;
        Ok(done)
    }

    /// Sends these letters, some at a time.
    pub(super) async fn send(&mut self, mut waiting: VecDeque<Found>, dry_run: bool, done: &mut Done) {
        let mut given_up: Option<String> = None;
        while !waiting.is_empty() {
            let mut jobs: Vec<Job> = Vec::new();
            let mut items: Vec<(usize, LogDestination, Item)> = Vec::new();
            let mut bytes = 0;
            while jobs.len() < AT_ONCE
                && bytes < AT_ONCE_BYTES
                && let Some(found) = waiting.pop_front()
            {
                if let Some(redriven) = found.redriven.clone() {
                    done.letters.push((found, Fate::Already(redriven)));
                    continue;
                }
                let events = match &given_up {
                    Some(why) => Err(format!("not tried: {why}")),
                    None => match self.whole(found.of, found.letter.clone()).await {
                        Ok(letter) => self.events(found.of, &letter),
                        Err(why) => Err(why),
                    },
                };
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
                for (to, event) in events {
                    bytes += event.message.len();
                    if !job.to.contains(&to) {
                        job.to.push(to.clone());
                    }
                    let item = Item {
                        event,
                        job: jobs.len(),
                    };
                    items.push((job.found.of, to, item));
                }
                jobs.push(job);
            }
            let marks = match dry_run {
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
        given_up: &mut Option<String>,
    ) -> BTreeMap<usize, String> {
        let mut by_destination: BTreeMap<(usize, LogDestination), VecDeque<Item>> = BTreeMap::new();
        for (of, to, item) in items {
            by_destination.entry((of, to)).or_default().push_back(item);
        }
        for ((of, to), items) in by_destination {
            if given_up.is_none()
                && let Err(GivenUp(why)) = self.put_all(of, &to, items, jobs, &mut done.perhaps_twice).await
            {
                *given_up = Some(why);
            }
        }
        for job in jobs.iter_mut().filter(|job| job.accepted < job.events) {
            job.refused = job.refused.take().or_else(|| given_up.clone());
        }
        let now = self.clock.wall();
        let mut marks: BTreeMap<usize, Vec<(usize, LogEvent)>> = BTreeMap::new();
        for (at, job) in jobs.iter().enumerate().filter(|(_, job)| job.refused.is_none()) {
            let mark = dead_letter::mark(&Redriven {
                letter: job.found.letter.id.clone(),
                at: now,
                events: job.events as u64,
                discarded: false,
            });
            marks.entry(job.found.of).or_default().push((at, mark));
        }
        let mut unmarked = BTreeMap::new();
        for (of, marks) in marks {
            let place = done.listing.places[of].clone();
            let (of_jobs, events): (Vec<usize>, Vec<LogEvent>) = marks.into_iter().unzip();
            // No more than are taken at once, and each a few words: one batch.
            let refused = match self.put(of, &place, &events, &mut 0).await {
                Ok(accepted) => (0..events.len())
                    .find_map(|at| accepted.refusal(at))
                    .map(|refusal| redrive::told(refusal).to_owned()),
                Err(error) => Some(error.to_string()),
            };
            if let Some(why) = refused {
                unmarked.extend(of_jobs.into_iter().map(|job| (job, why.clone())));
            }
        }
        unmarked
    }

    /// Puts events in their order, each batch by the rules. What is refused is told to its job, of which no more is
    /// put then. An error is no single event's fault.
    async fn put_all(
        &mut self,
        of: usize,
        to: &LogDestination,
        mut queue: VecDeque<Item>,
        jobs: &mut [Job],
        perhaps_twice: &mut usize,
    ) -> Result<(), GivenUp> {
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
                Err(error) => return Err(GivenUp(way_out(to, &error, destination.create))),
            };
            limit = limit.saturating_mul(2);
            for (at, item) in batch.into_iter().enumerate().rev() {
                let job = &mut jobs[item.job];
                let Some(refusal) = accepted.refusal(at) else {
                    job.accepted += 1;
                    continue;
                };
                match redrive::in_time(item.event, refusal, &destination, self.clock.wall()) {
                    Some(event) => queue.push_front(Item { event, job: item.job }),
                    None => job.refused = Some(redrive::told(refusal).to_owned()),
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

/// Why a put failed for good, and what to do.
fn way_out(to: &LogDestination, error: &SinkError, create: bool) -> String {
    let group = &to.group;
    match error {
        SinkError::Denied(why) => format!(
            "{why}: allow logs:PutLogEvents, logs:CreateLogStream and logs:CreateLogGroup on the log group {group}"
        ),
        SinkError::Missing(why) if !create => {
            format!("{why}: create it, or set `destination.create: true`")
        }
        other => format!("{to}: {other}"),
    }
}
