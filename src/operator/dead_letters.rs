//! What a person does to dead letters: look, and send them again.
//!
//! Owns the reading of the dead letters' log stream, the puts of a redrive and the marks that it leaves. What a letter
//! gives is decided in [`super::redrive`]. Must never mark a letter before everything of it was accepted, and never
//! take one away: the log keeps them until its retention ends. Prints nothing; `cli` asks and shows.

mod again;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::redrive::{self, Addressed};
use super::{BETWEEN_LOOKS, MOST_REPEATS, Tell};
use crate::backoff::Backoff;
use crate::clock::{Clock, Timestamp};
use crate::config::{LogClass, PipelineConfig};
use crate::decode::aggregate;
use crate::logs::dead_letter::{
    self, Body, Data, Entry, Incomplete, Letter, LetterId, Part, RecordBody, Redriven,
};
use crate::logs::{LogDestination, LogSink, SinkError, address};
use crate::stream::{Next, ShardId, SourceError, StartingPosition, StreamArn, StreamSource};
use crate::suggest;

pub use again::{Done, Fate, Which};

/// How long one request to CloudWatch Logs may take.
const REQUEST: Duration = Duration::from_secs(10);
/// The most that is held of letters at once: older ones are left for another look.
const MOST_BYTES: usize = 512 << 20;
/// A stream may give nothing at a record's place a few times before it gives the record.
const READS: u32 = 5;

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
    #[error("the dead letters in {place} can't be read: {why}: allow logs:GetLogEvents on the log group {}", .place.group)]
    Denied { place: LogDestination, why: String },
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

/// A letter, and whether it was sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The number of its pipeline on the desk.
    pub of: usize,
    pub letter: Letter,
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
    /// Those of them that are letters of pipelines that are not on the desk.
    pub others: usize,
    /// There was more than is held at once: only what is newer was read.
    pub cut_at: Option<Timestamp>,
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
    marks: BTreeMap<LetterId, Redriven>,
    read: usize,
    cut_at: Option<Timestamp>,
}

impl LetterDesk {
    /// The letters that were put since then.
    pub async fn read(&mut self, since: Timestamp) -> Result<Listing, Refusal> {
        let mut at: BTreeMap<(usize, LogDestination), Vec<usize>> = BTreeMap::new();
        let mut places = Vec::new();
        for of in 0..self.mail.len() {
            let place = self.place(of).await?;
            // Pipelines of one client and one place are read at once.
            let sink = (0..of).find(|&before| Arc::ptr_eq(&self.mail[before].logs, &self.mail[of].logs));
            places.push(place.clone());
            at.entry((sink.unwrap_or(of), place)).or_default().push(of);
        }
        let mut listing = Listing {
            places,
            ..Listing::default()
        };
        for ((sink, place), pipelines) in at {
            let pile = self.read_pile(sink, &place, since).await?;
            listing.read += pile.read;
            listing.cut_at = listing.cut_at.max(pile.cut_at);
            let mut by_pipeline: BTreeMap<usize, Vec<Part>> = BTreeMap::new();
            for part in pile.parts {
                let of = pipelines
                    .iter()
                    .find(|of| self.mail[**of].config.name == part.pipeline());
                match of {
                    Some(of) => by_pipeline.entry(*of).or_default().push(part),
                    None => listing.others += 1,
                }
            }
            for (of, parts) in by_pipeline {
                let assembled = dead_letter::assemble(parts);
                listing
                    .found
                    .extend(assembled.letters.into_iter().map(|letter| Found {
                        of,
                        redriven: pile.marks.get(&letter.id).cloned(),
                        letter,
                    }));
                listing.incomplete.extend(assembled.incomplete);
            }
        }
        listing
            .found
            .sort_by(|a, b| a.letter.order().cmp(&b.letter.order()));
        Ok(listing)
    }

    /// The one letter whose id begins so, and what would become of it today.
    pub async fn show(&mut self, id: &str, since: Timestamp) -> Result<Shown, Refusal> {
        let listing = self.read(since).await?;
        let found = find(&listing, id)?.clone();
        let today = match self.whole(found.of, found.letter.clone()).await {
            Ok(letter) => self.events(found.of, &letter),
            Err(why) => Err(why),
        };
        Ok(Shown {
            config: self.mail[found.of].config.clone(),
            found,
            today,
        })
    }

    fn events(&self, of: usize, letter: &Letter) -> Result<Vec<Addressed>, String> {
        let (config, now) = (&self.mail[of].config, self.clock.wall());
        redrive::events(letter, &self.application, config, now)
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
        of: usize,
        place: &LogDestination,
        since: Timestamp,
    ) -> Result<Pile, Refusal> {
        let logs = self.mail[of].logs.clone();
        let mut pile = Pile::default();
        let (mut before, mut held) = (None, 0);
        loop {
            let page = self
                .ask_logs(async || logs.read_back(place, since, before.as_ref(), REQUEST).await)
                .await;
            let page = match page {
                Ok(page) => page,
                // Nothing was ever put there.
                Err(SinkError::Missing(_)) => return Ok(pile),
                Err(SinkError::Denied(why)) => {
                    let place = place.clone();
                    return Err(Refusal::Denied { place, why });
                }
                Err(error) => {
                    // CloudWatch Logs user guide, "Log classes".
                    let class = match self.mail[of].config.destination.class {
                        Some(LogClass::InfrequentAccess) => {
                            " (of groups of the class INFREQUENT_ACCESS no events can be read: use one of the class \
                             STANDARD, by `dead_letter.group`)"
                        }
                        _ => "",
                    };
                    return Err(Refusal::Unreadable {
                        place: place.clone(),
                        why: format!("{error}{class}"),
                    });
                }
            };
            pile.read += page.events.len();
            for event in page.events.iter().rev() {
                match dead_letter::parse(event) {
                    Some(Entry::Part(part)) => {
                        held += event.message.len();
                        pile.parts.push(*part);
                    }
                    Some(Entry::Redriven(mark)) => {
                        pile.marks.entry(mark.letter.clone()).or_insert(mark);
                    }
                    None => {}
                }
            }
            before = page.before;
            if before.is_none() {
                return Ok(pile);
            }
            if held > MOST_BYTES {
                pile.cut_at = page.events.first().map(|event| event.timestamp);
                return Ok(pile);
            }
        }
    }

    /// The letter with its bytes: where they are withheld, they are read from the stream again. The error says why
    /// they can't be.
    async fn whole(&mut self, of: usize, letter: Letter) -> Result<Letter, String> {
        let Body::Record(
            body @ RecordBody {
                data: Data::Withheld { .. },
                ..
            },
        ) = &letter.body
        else {
            return Ok(letter);
        };
        let read = self.read_record(of, &letter).await;
        let data = read.map_err(|why| {
            format!(
                "its bytes are withheld from the dead letter, and must be read from the stream again: {why}"
            )
        })?;
        if Data::withheld(&data) != body.data {
            return Err(
                "its bytes are withheld from the dead letter, and the stream now holds others at its position".to_owned(),
            );
        }
        let body = Body::Record(RecordBody {
            data: Data::Bytes(data),
            ..body.clone()
        });
        Ok(Letter { body, ..letter })
    }

    /// The bytes of the letter's record, as the stream has them.
    async fn read_record(&mut self, of: usize, letter: &Letter) -> Result<bytes::Bytes, String> {
        let source = self.mail[of].source.clone();
        let place = &letter.origin.place;
        let stream = StreamArn::new(letter.origin.stream.as_str());
        let shard = ShardId::new(letter.origin.shard.as_str());
        let at = StartingPosition::At(place.sequence_number.clone());
        let told = |error: SourceError| match error {
            SourceError::DataTrimmed => "the stream has trimmed it".to_owned(),
            SourceError::NotFound(what) => format!("the stream or its shard is gone ({what})"),
            error => error.to_string(),
        };
        let iterator = self
            .ask_stream(async || source.iterator(&stream, &shard, &at).await)
            .await;
        let mut iterator = iterator.map_err(told)?;
        for _ in 0..READS {
            let read = self
                .ask_stream(async || source.records(&stream, &iterator).await)
                .await;
            let batch = read.map_err(told)?;
            if let Some(record) = batch.records.first() {
                // Of a position that is trimmed, Kinesis gives what comes after it.
                if record.sequence_number != place.sequence_number {
                    break;
                }
                let mut parts = match source.has_aggregates() {
                    true => aggregate::user_records(record).0,
                    false => vec![record.clone()],
                };
                parts.retain(|part| part.sub_sequence_number == place.sub_sequence_number);
                let part = parts.pop().ok_or("its aggregate has no such part")?;
                return Ok(part.data);
            }
            match batch.next {
                Next::At(next) => iterator = next,
                Next::End | Next::PerhapsEnd => break,
            }
            self.clock.sleep(BETWEEN_LOOKS).await;
        }
        Err("it is not in the stream any more".to_owned())
    }

    /// Repeats a request that failed for a moment.
    async fn ask_logs<T>(&mut self, request: impl AsyncFn() -> Result<T, SinkError>) -> Result<T, SinkError> {
        let mut backoff = Backoff::default();
        loop {
            let answer = request().await;
            let passes = matches!(
                answer,
                Err(SinkError::Throttled(_) | SinkError::Unanswered(_) | SinkError::Unavailable(_))
            );
            if !passes || backoff.failures() >= MOST_REPEATS {
                return answer;
            }
            if let (0, Err(error)) = (backoff.failures(), &answer) {
                (self.tell)(&format!("{error}; repeating"));
            }
            self.clock.sleep(backoff.next(&mut self.rng)).await;
        }
    }

    /// Repeats a request that failed for a moment.
    async fn ask_stream<T>(
        &mut self,
        request: impl AsyncFn() -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        let mut backoff = Backoff::default();
        loop {
            let answer = request().await;
            let passes = matches!(
                answer,
                Err(SourceError::Throttled(_) | SourceError::Unavailable(_))
            );
            if !passes || backoff.failures() >= MOST_REPEATS {
                return answer;
            }
            if let (0, Err(error)) = (backoff.failures(), &answer) {
                (self.tell)(&format!("{error}; repeating"));
            }
            self.clock.sleep(backoff.next(&mut self.rng)).await;
        }
    }
}

/// The one letter whose id begins so.
fn find<'l>(listing: &'l Listing, id: &str) -> Result<&'l Found, Refusal> {
    let mut some = listing
        .found
        .iter()
        .filter(|found| found.letter.id.as_str().starts_with(id));
    if let Some(first) = some.next() {
        let mut ids: Vec<LetterId> = some.map(|found| found.letter.id.clone()).collect();
        if ids.is_empty() {
            return Ok(first);
        }
        ids.insert(0, first.letter.id.clone());
        return Err(Refusal::Ambiguous {
            id: id.to_owned(),
            some: ids,
        });
    }
    if let Some(incomplete) = listing.incomplete.iter().find(|i| i.id.as_str().starts_with(id)) {
        return Err(Refusal::Incomplete {
            id: incomplete.id.clone(),
            have: incomplete.have,
            parts: incomplete.parts,
            position: dead_letter::position(&incomplete.origin),
        });
    }
    let ids: Vec<&str> = listing
        .found
        .iter()
        .map(|found| found.letter.id.as_str())
        .collect();
    Err(Refusal::NoLetter {
        id: id.to_owned(),
        near: suggest::nearest(id, &ids).map(str::to_owned),
    })
}

#[cfg(test)]
mod tests;
