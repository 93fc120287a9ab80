//! What a person does to dead letters: look, and send them again.
//!
//! Owns the reading of the dead letters' log stream, the puts of a redrive and the marks that it leaves. What a letter
//! gives is decided in [`super::redrive`]. Must never mark a letter before everything of it was accepted, and never
//! take one away: the log keeps them until its retention ends. Prints nothing; `cli` asks and shows.

mod again;
mod reread;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::asking::{Asking, REQUEST};
use super::redrive::{self, Addressed};
use super::{BETWEEN_LOOKS, Tell};
use crate::clock::{Clock, Timestamp};
use crate::config::{LogClass, PipelineConfig};
use crate::logs::dead_letter::{self, Entry, Incomplete, Letter, LetterId, Part, Redriven};
use crate::logs::{LogDestination, LogEvent, LogSink, SinkError, address};
use crate::stream::{SourceError, StreamSource};
use crate::suggest;

pub use again::{Discarded, Done, Fate, How, Outcome, Which};
use reread::Shelf;

/// The most that is held of letters at once: older ones are left for another look.
const MOST_BYTES: usize = 512 << 20;
/// The parts of a letter are put within this: one that lies so near to where the reading ended may not have been read
/// whole.
const BORDER: Duration = Duration::from_secs(60);

/// A pipeline, with all that is needed to work on its letters.
pub struct Mail {
    pub config: PipelineConfig,
    pub logs: Arc<dyn LogSink>,
    pub source: Arc<dyn StreamSource>,
}

/// The dead letters of some pipelines.
pub struct LetterDesk {
    pub application: String,
    pub mail: Vec<Mail>,
    pub clock: Arc<dyn Clock>,
    pub rng: fastrand::Rng,
    pub tell: Tell,
}

/// Why nothing was done. A message names the way out.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("there is no dead letter {id}{}", hint(.near.as_deref()))]
    NoLetter { id: String, near: Option<String> },
    #[error("{id} begins the ids of several dead letters: {}: give more of it", list(.some))]
    Ambiguous { id: String, some: Vec<LetterId> },
    #[error(
        "the dead letter {id} is not whole: {have} of its {parts} parts can be read: its writer died before the rest, or \
         the log has lost or masked some. The record is {position}"
    )]
    Incomplete {
        id: LetterId,
        have: usize,
        parts: usize,
        position: String,
    },
    #[error(
        "the dead letter {id} is of the pipeline {pipeline:?}, which is none of those that were asked for: leave out \
         `--pipeline`, or use settings in which the pipeline that reads its stream has this name"
    )]
    OfAnother { id: LetterId, pipeline: String },
    #[error("the dead letters in {place} can't be read: {why}")]
    Unreadable { place: LogDestination, why: String },
    #[error(
        "where the dead letters of {pipeline} lie can't be told, since its stream can't be asked ({why}): \
         `dead_letter.group` in the settings names the place"
    )]
    NoPlace { pipeline: String, why: SourceError },
}

fn hint(near: Option<&str>) -> String {
    match near {
        Some(near) => format!(": did you mean `{near}`?"),
        None => ": `weir dead-letters list --all` shows those there are".to_owned(),
    }
}

fn list(ids: &[LetterId]) -> String {
    let ids: Vec<&str> = ids.iter().take(5).map(LetterId::as_str).collect();
    ids.join(", ")
}

/// When the letters were put that are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    pub since: Timestamp,
    /// Before this.
    pub until: Option<Timestamp>,
}

/// Which letters are read. Few are held: the log may have millions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// Those without a mark, and those that were written again after it.
    Open,
    /// Also those with a mark.
    All,
    /// Those whose ids begin so, with or without a mark.
    Ids(Vec<String>),
}

/// A letter, and whether it was sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The number of its pipeline on the desk.
    pub of: usize,
    pub letter: Letter,
    /// Its destination was known when it was written: `meant_for` is not the letters' own place.
    pub has_destination: bool,
    /// The last mark, unless the letter was written again after it.
    pub redriven: Option<Redriven>,
}

/// What was read of the letters of all pipelines on the desk.
#[derive(Debug, Default)]
pub struct Listing {
    /// Oldest first.
    pub found: Vec<Found>,
    pub incomplete: Vec<Incomplete>,
    /// Where they lie, by the number of the pipeline.
    pub places: Vec<LogDestination>,
    /// Events read, of whatever kind.
    pub read: usize,
    /// The letters of pipelines that are not on the desk, with the names of these.
    pub others: BTreeMap<LetterId, String>,
    /// The letters that were read past, since others were looked for.
    pub passed: BTreeSet<LetterId>,
    /// There was more than is held at once: only what is newer was read.
    pub cut_at: Option<Timestamp>,
    /// The places that don't exist, with the region that the settings name.
    pub missing: BTreeSet<(LogDestination, Option<String>)>,
}

/// A letter with what would become of it.
#[derive(Debug)]
pub struct Shown {
    pub found: Found,
    pub config: PipelineConfig,
    /// Its events by today's settings, or why it still can't be delivered.
    pub today: Result<Vec<Addressed>, String>,
}

/// What one log stream holds.
#[derive(Default)]
struct Pile {
    parts: Vec<Part>,
    /// The bytes of these.
    held: usize,
    /// Of each letter that there are parts of, when the last was put.
    newest: BTreeMap<LetterId, Timestamp>,
    /// The last mark of each letter.
    marks: BTreeMap<LetterId, Redriven>,
    others: BTreeMap<LetterId, String>,
    passed: BTreeSet<LetterId>,
    read: usize,
    cut_at: Option<Timestamp>,
    is_missing: bool,
}

impl Pile {
    /// Takes one event, which must not be newer than those before it: a mark comes before its letter.
    fn take(&mut self, event: &LogEvent, pipelines: &[&str], period: Period, look: &Look) {
        let part = match dead_letter::parse(event) {
            Some(Entry::Part(part)) => part,
            Some(Entry::Redriven(mark)) => {
                self.marks.entry(mark.letter.clone()).or_insert(mark);
                return;
            }
            None => return,
        };
        if period.until.is_some_and(|until| part.written() >= until) {
            return;
        }
        let id = LetterId::new(part.letter());
        let is_open =
            self.newest.contains_key(&id) || self.marks.get(&id).is_none_or(|mark| mark.at < part.written());
        let is_wanted = match look {
            Look::Open => is_open,
            Look::All => true,
            Look::Ids(ids) => ids.iter().any(|begin| id.as_str().starts_with(begin.as_str())),
        };
        if !pipelines.contains(&part.pipeline()) {
            if is_wanted {
                self.others.insert(id, part.pipeline().to_owned());
            }
        } else if is_wanted {
            self.held += event.message.len();
            let newest = self.newest.entry(id).or_insert(part.written());
            *newest = part.written().max(*newest);
            self.parts.push(*part);
        } else if !matches!(look, Look::Open) {
            self.passed.insert(id);
        }
    }

    /// The letter's mark, unless it was written again after it.
    fn mark(&self, id: &LetterId) -> Option<&Redriven> {
        let mark = self.marks.get(id)?;
        let newest = self.newest.get(id);
        newest.is_none_or(|newest| mark.at >= *newest).then_some(mark)
    }
}

impl LetterDesk {
    /// The letters that were put in this time.
    pub async fn read(&mut self, period: Period, look: &Look) -> Result<Listing, Refusal> {
        self.read_within(period, look, MOST_BYTES).await
    }

    async fn read_within(
        &mut self,
        period: Period,
        look: &Look,
        most_bytes: usize,
    ) -> Result<Listing, Refusal> {
        let mut at: BTreeMap<(usize, LogDestination), Vec<usize>> = BTreeMap::new();
        let mut places = Vec::new();
        for of in 0..self.mail.len() {
            let place = self.place(of).await?;
            // Pipelines of one client and one place are read at once.
            places.push(place.clone());
            at.entry((self.client(of), place)).or_default().push(of);
        }
        let mut listing = Listing {
            places,
            ..Listing::default()
        };
        for ((client, place), pipelines) in at {
            let mut pile = Pile::default();
            self.read_pile(&mut pile, &place, &pipelines, period, look, most_bytes)
                .await?;
            listing.read += pile.read;
            listing.cut_at = listing.cut_at.max(pile.cut_at);
            listing.others.append(&mut pile.others);
            listing.passed.append(&mut pile.passed);
            if pile.is_missing {
                let region = self.mail[client].config.destination.aws.region.clone();
                listing.missing.insert((place.clone(), region));
            }
            let mut by_pipeline: BTreeMap<usize, Vec<Part>> = BTreeMap::new();
            for part in std::mem::take(&mut pile.parts) {
                let is_of = |of: &&usize| self.mail[**of].config.name == part.pipeline();
                if let Some(of) = pipelines.iter().find(is_of) {
                    by_pipeline.entry(*of).or_default().push(part);
                }
            }
            for (of, parts) in by_pipeline {
                let assembled = dead_letter::assemble(parts);
                listing
                    .found
                    .extend(assembled.letters.into_iter().map(|letter| Found {
                        of,
                        has_destination: letter.meant_for != place,
                        redriven: pile.mark(&letter.id).cloned(),
                        letter,
                    }));
                let is_read = |written: Timestamp| {
                    let is_after = pile.cut_at.is_none_or(|cut| written > cut.plus(BORDER));
                    let is_before = period.until.is_none_or(|until| written.plus(BORDER) < until);
                    is_after && is_before
                };
                let incomplete = assembled.incomplete.into_iter();
                let incomplete =
                    incomplete.filter(|letter| pile.mark(&letter.id).is_none() && is_read(letter.written));
                listing.incomplete.extend(incomplete);
            }
        }
        // Two clients may show one place: what is another's for the one may be one of these for the other.
        for found in &listing.found {
            listing.others.remove(&found.letter.id);
        }
        for letter in &listing.incomplete {
            listing.others.remove(&letter.id);
        }
        listing
            .found
            .sort_by(|a, b| a.letter.order().cmp(&b.letter.order()));
        Ok(listing)
    }

    /// The first pipeline that has this one's client for CloudWatch Logs.
    fn client(&self, of: usize) -> usize {
        let is_same = |before: &usize| Arc::ptr_eq(&self.mail[*before].logs, &self.mail[of].logs);
        (0..of).find(is_same).unwrap_or(of)
    }

    /// The one letter whose id begins so, and what would become of it today.
    pub async fn show(&mut self, id: &str, period: Period) -> Result<Shown, Refusal> {
        let look = Look::Ids(vec![id.to_owned()]);
        let listing = self.read(period, &look).await?;
        let found = find(&listing, id)?.clone();
        let today = match self
            .whole(found.of, found.letter.clone(), &mut Shelf::default())
            .await
        {
            Ok(letter) => self.events(found.of, &letter, false),
            Err(why) => Err(why),
        };
        Ok(Shown {
            config: self.mail[found.of].config.clone(),
            found,
            today,
        })
    }

    fn events(&self, of: usize, letter: &Letter, as_written: bool) -> Result<Vec<Addressed>, String> {
        let (config, now) = (&self.mail[of].config, self.clock.wall());
        redrive::events(letter, &self.application, config, now, as_written)
    }

    /// Where a pipeline's letters lie.
    async fn place(&mut self, of: usize) -> Result<LogDestination, Refusal> {
        let Mail { config, source, .. } = &self.mail[of];
        if let Some(place) = address::letters_by_settings(&self.application, config) {
            return Ok(place);
        }
        let (source, config) = (source.clone(), config.clone());
        let stream = self.ask_stream(async || source.current().await).await;
        let stream = stream.map_err(|why| Refusal::NoPlace {
            pipeline: config.name.clone(),
            why,
        })?;
        Ok(address::letters(&self.application, &config, &stream))
    }

    async fn read_pile(
        &mut self,
        pile: &mut Pile,
        place: &LogDestination,
        pipelines: &[usize],
        period: Period,
        look: &Look,
        most_bytes: usize,
    ) -> Result<(), Refusal> {
        let Some(&of) = pipelines.first() else {
            return Ok(());
        };
        let logs = self.mail[of].logs.clone();
        let names: Vec<String> = pipelines
            .iter()
            .map(|of| self.mail[*of].config.name.clone())
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut before = None;
        loop {
            let page = self
                .ask_logs(async || {
                    logs.read_back(place, period.since, before.as_ref(), REQUEST)
                        .await
                })
                .await;
            let page = match page {
                Ok(page) => page,
                // Nothing was ever put there.
                Err(SinkError::Missing(_)) => {
                    pile.is_missing = true;
                    return Ok(());
                }
                Err(error) => {
                    return Err(Refusal::Unreadable {
                        place: place.clone(),
                        why: format!("{error}{}", self.class_hint(of, &error)),
                    });
                }
            };
            pile.read += page.events.len();
            for event in page.events.iter().rev() {
                pile.take(event, &names, period, look);
            }
            before = page.before;
            if before.is_none() {
                return Ok(());
            }
            if pile.held > most_bytes {
                pile.cut_at = page.events.first().map(|event| event.timestamp);
                return Ok(());
            }
        }
    }

    /// Of groups of the class INFREQUENT_ACCESS no events can be read (CloudWatch Logs user guide, "Log classes").
    fn class_hint(&self, of: usize, error: &SinkError) -> &'static str {
        let is_of_class = self.mail[of].config.destination.class == Some(LogClass::InfrequentAccess);
        match error {
            SinkError::Denied(_) | SinkError::Invalid(_) if is_of_class => {
                "; of a group of the class INFREQUENT_ACCESS no events can be read: if it has this class, use one of the \
                 class STANDARD, by `dead_letter.group`"
            }
            _ => "",
        }
    }

    /// Repeats a request that failed for a moment.
    async fn ask_logs<T>(&mut self, request: impl AsyncFn() -> Result<T, SinkError>) -> Result<T, SinkError> {
        self.asking().logs(request).await
    }

    /// Repeats a request that failed for a moment.
    async fn ask_stream<T>(
        &mut self,
        request: impl AsyncFn() -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        self.asking().stream(request).await
    }

    fn asking(&mut self) -> Asking<'_> {
        Asking {
            clock: &*self.clock,
            rng: &mut self.rng,
            tell: &self.tell,
        }
    }
}

/// The one letter whose id begins so.
fn find<'l>(listing: &'l Listing, id: &str) -> Result<&'l Found, Refusal> {
    let mut some = listing
        .found
        .iter()
        .filter(|found| found.letter.id.as_str().starts_with(id));
    let incomplete = || {
        listing
            .incomplete
            .iter()
            .filter(|i| i.id.as_str().starts_with(id))
    };
    let first = some.next();
    // Those that are not whole count too: one of them may be meant, and is not to be sent or discarded by chance.
    let whole = first.into_iter().chain(some).map(|found| &found.letter.id);
    let ids: BTreeSet<LetterId> = whole.chain(incomplete().map(|i| &i.id)).cloned().collect();
    if ids.len() > 1 {
        return Err(Refusal::Ambiguous {
            id: id.to_owned(),
            some: ids.into_iter().collect(),
        });
    }
    if let Some(first) = first {
        return Ok(first);
    }
    if let Some(incomplete) = incomplete().next() {
        return Err(Refusal::Incomplete {
            id: incomplete.id.clone(),
            have: incomplete.have,
            parts: incomplete.parts,
            position: dead_letter::position(&incomplete.origin),
        });
    }
    if let Some((id, pipeline)) = listing
        .others
        .iter()
        .find(|(other, _)| other.as_str().starts_with(id))
    {
        return Err(Refusal::OfAnother {
            id: id.clone(),
            pipeline: pipeline.clone(),
        });
    }
    let ids: Vec<&str> = listing.passed.iter().map(LetterId::as_str).collect();
    Err(Refusal::NoLetter {
        id: id.to_owned(),
        near: suggest::nearest(id, &ids).map(str::to_owned),
    })
}

#[cfg(test)]
mod tests;
