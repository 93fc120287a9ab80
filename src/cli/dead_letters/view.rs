//! Dead letters, as JSON and as text.
//!
//! Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::cli::output::plain;
use crate::cli::table;
use crate::logs::LogDestination;
use crate::logs::dead_letter::{Body, Data, Incomplete, Letter, Origin, RecordBody, Redriven, position};
use crate::operator::dead_letters::{Discarded, Done, Fate, Found, Listing, Outcome, Shown};
use crate::operator::redrive::{self, Addressed};

/// So many characters of an id stand in a table: enough for a person to name it by.
const SHORT_ID: usize = 8;
/// So many characters of a detail.
const SHORT_DETAIL: usize = 60;

/// A letter, without its body.
#[derive(Debug, Serialize)]
struct LetterView<'a> {
    letter_id: &'a str,
    pipeline: &'a str,
    /// When it was put, in RFC 3339.
    time: String,
    reason: &'a str,
    detail: &'a str,
    stream: &'a str,
    shard_id: &'a str,
    sequence_number: &'a str,
    sub_sequence_number: u64,
    /// `record` or `event`.
    body: &'a str,
    /// The event's number within its record; `null` for a record.
    index: Option<usize>,
    bytes: usize,
    withheld: bool,
    /// `null` where it had none.
    destination: Option<String>,
    /// `null` where it was not sent again, or was written again since.
    redriven: Option<RedrivenView>,
}

#[derive(Debug, Serialize)]
struct RedrivenView {
    at: String,
    events: u64,
    discarded: bool,
}

impl<'a> LetterView<'a> {
    fn of(found: &'a Found) -> Self {
        let Found {
            letter,
            redriven,
            has_destination,
            ..
        } = found;
        let Origin {
            pipeline,
            stream,
            shard,
            place,
        } = &letter.origin;
        let (body, index) = match &letter.body {
            Body::Record(_) => ("record", None),
            Body::Event { index, .. } => ("event", Some(*index)),
        };
        Self {
            letter_id: letter.id.as_str(),
            pipeline,
            time: letter.written.to_string(),
            reason: &letter.reason,
            detail: &letter.detail,
            stream,
            shard_id: shard,
            sequence_number: place.sequence_number.as_str(),
            sub_sequence_number: place.sub_sequence_number,
            body,
            index,
            bytes: letter.bytes,
            withheld: letter.is_withheld(),
            destination: has_destination.then(|| letter.meant_for.to_string()),
            redriven: redriven.as_ref().map(|redriven| RedrivenView {
                at: redriven.at.to_string(),
                events: redriven.events,
                discarded: redriven.discarded,
            }),
        }
    }
}

/// `1 event`, `2 events`.
fn count(number: usize, of: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {of}{s}")
}

/// What a mark tells.
fn marked(redriven: &Redriven) -> String {
    let Redriven {
        at,
        events,
        discarded,
        ..
    } = redriven;
    match (discarded, events) {
        (true, _) => format!("was discarded at {at}"),
        (false, 0) => format!("gave no event when it was sent again at {at}"),
        (false, _) => format!("was sent again at {at}"),
    }
}

/// Until when a withheld letter can be sent again.
const HURRY: &str = "its bytes are in the stream alone: send it again before the stream trims them (DynamoDB Streams \
                     after 24 hours, Kinesis after the stream's retention, which is 24 hours unless it was raised)";

#[derive(Debug, Serialize)]
struct IncompleteView<'a> {
    letter_id: &'a str,
    time: String,
    reason: &'a str,
    position: String,
    have: usize,
    parts: usize,
}

impl<'a> IncompleteView<'a> {
    fn of(letter: &'a Incomplete) -> Self {
        Self {
            letter_id: letter.id.as_str(),
            time: letter.written.to_string(),
            reason: &letter.reason,
            position: position(&letter.origin),
            have: letter.have,
            parts: letter.parts,
        }
    }
}

/// What `list` answers.
#[derive(Debug, Serialize)]
pub struct ListingView<'a> {
    letters: Vec<LetterView<'a>>,
    by_reason: BTreeMap<&'a str, usize>,
    incomplete: Vec<IncompleteView<'a>>,
    places: Vec<String>,
    events_read: usize,
    letters_of_other_pipelines: usize,
    /// Where there was more than is read at once: only what is newer than this was read.
    read_back_to: Option<String>,
    /// Log streams of `places` that don't exist (yet).
    missing: Vec<MissingView<'a>>,
}

#[derive(Debug, Serialize)]
struct MissingView<'a> {
    group: &'a str,
    stream: &'a str,
    region: Option<&'a str>,
}

fn missing<'a>(listing: &'a Listing, region: Option<&'a str>) -> Vec<MissingView<'a>> {
    let view = |(place, own): &'a (LogDestination, Option<String>)| MissingView {
        group: &place.group,
        stream: &place.stream,
        region: own.as_deref().or(region),
    };
    listing.missing.iter().map(view).collect()
}

impl<'a> ListingView<'a> {
    pub fn of(listing: &'a Listing, limit: Option<usize>, region: Option<&'a str>) -> Self {
        Self {
            letters: newest(listing, limit).iter().map(LetterView::of).collect(),
            by_reason: by_reason(listing),
            incomplete: listing.incomplete.iter().map(IncompleteView::of).collect(),
            places: places(listing),
            events_read: listing.read,
            letters_of_other_pipelines: listing.others.len(),
            read_back_to: listing.cut_at.map(|time| time.to_string()),
            missing: missing(listing, region),
        }
    }
}

fn newest(listing: &Listing, limit: Option<usize>) -> &[Found] {
    let all = &listing.found;
    &all[all.len() - limit.unwrap_or(all.len()).min(all.len())..]
}

fn by_reason(listing: &Listing) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for found in &listing.found {
        *counts.entry(found.letter.reason.as_str()).or_default() += 1;
    }
    counts
}

fn places(listing: &Listing) -> Vec<String> {
    let mut places: Vec<String> = listing.places.iter().map(ToString::to_string).collect();
    places.sort();
    places.dedup();
    places
}

/// One letter a line, and what they are together.
pub fn listed(listing: &Listing, all: bool, limit: Option<usize>, region: Option<&str>) -> String {
    let shown = newest(listing, limit);
    let mut text = String::new();
    let cells = |found: &Found| {
        let letter = &found.letter;
        [
            short_id(letter.id.as_str()),
            letter.written.to_string(),
            letter.reason.clone(),
            letter.origin.pipeline.clone(),
            place(letter),
            size(letter),
            words(&letter.detail),
        ]
    };
    if all && !shown.is_empty() {
        let rows: Vec<_> = shown
            .iter()
            .map(|found| {
                let [id, time, reason, pipeline, place, size, detail] = cells(found);
                let redriven = found.redriven.as_ref();
                let redriven = match redriven {
                    Some(mark) if mark.discarded => format!("{} discarded", mark.at),
                    Some(mark) => mark.at.to_string(),
                    None => String::new(),
                };
                [id, time, reason, pipeline, place, size, redriven, detail]
            })
            .collect();
        let heads = [
            "ID", "TIME", "REASON", "PIPELINE", "POSITION", "SIZE", "REDRIVEN", "DETAIL",
        ];
        text.push_str(&table::render(heads, &rows));
    } else if !shown.is_empty() {
        let rows: Vec<_> = shown.iter().map(cells).collect();
        let heads = ["ID", "TIME", "REASON", "PIPELINE", "POSITION", "SIZE", "DETAIL"];
        text.push_str(&table::render(heads, &rows));
    }
    for letter in &listing.incomplete {
        let _ = writeln!(
            text,
            "{} ({}) is not whole, {} of {} parts can be read: {}",
            short_id(letter.id.as_str()),
            letter.reason,
            letter.have,
            letter.parts,
            position(&letter.origin)
        );
    }
    let kinds: Vec<String> = by_reason(listing)
        .into_iter()
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    let which = match shown.len() {
        shown if shown < listing.found.len() => format!(", the newest {shown} shown"),
        _ => String::new(),
    };
    let sum = match listing.found.len() {
        0 => "no dead letters".to_owned(),
        1 => format!("1 dead letter ({})", kinds.join(", ")),
        count => format!("{count} dead letters ({}){which}", kinds.join(", ")),
    };
    let _ = writeln!(
        text,
        "{sum}; {} read in {}",
        match listing.read {
            1 => "1 log event was".to_owned(),
            read => format!("{read} log events were"),
        },
        places(listing).join(", ")
    );
    let is_open = |found: &&Found| found.letter.is_withheld() && found.redriven.is_none();
    let withheld = listing.found.iter().filter(is_open).count();
    if withheld > 0 {
        let _ = writeln!(text, "{withheld} withheld, of each: {HURRY}");
    }
    text.push_str(&beside(listing, region));
    text
}

/// What was not read, or is not these pipelines'.
fn beside(listing: &Listing, region: Option<&str>) -> String {
    let mut text = String::new();
    for MissingView {
        group,
        stream,
        region,
    } in missing(listing, region)
    {
        let region = region.unwrap_or("the region of the AWS settings");
        let _ = writeln!(
            text,
            "the log stream {stream} of the log group {group} doesn't exist in {region}: no dead letter was put there \
             yet, or the group, the stream or the region is another"
        );
    }
    if !listing.others.is_empty() {
        let pipelines: BTreeSet<&str> = listing.others.values().map(String::as_str).collect();
        let pipelines: Vec<String> = pipelines.into_iter().take(5).map(plain).collect();
        let _ = writeln!(
            text,
            "{} more in the same place: of other pipelines ({})",
            listing.others.len(),
            pipelines.join(", ")
        );
    }
    if let Some(time) = listing.cut_at {
        // Some of this very time may not have been read.
        let until = time.plus(Duration::from_millis(1));
        let _ = writeln!(
            text,
            "there are more than are held at once, and only those since {time} were read: `--until {until}` reads what \
             is older, and so does the same once more when these were sent again or discarded"
        );
    }
    text
}

fn short_id(id: &str) -> String {
    id.chars().take(SHORT_ID).collect()
}

fn place(letter: &Letter) -> String {
    let Origin { shard, place, .. } = &letter.origin;
    let mut text = format!("{shard}:{}", place.sequence_number);
    if place.sub_sequence_number > 0 {
        let _ = write!(text, ":{}", place.sub_sequence_number);
    }
    if let Body::Event { index, .. } = &letter.body {
        let _ = write!(text, " event {index}");
    }
    text
}

fn size(letter: &Letter) -> String {
    let withheld = if letter.is_withheld() { " withheld" } else { "" };
    format!("{} B{withheld}", letter.bytes)
}

fn words(detail: &str) -> String {
    match detail.char_indices().nth(SHORT_DETAIL) {
        Some((end, _)) => format!("{}…", plain(&detail[..end])),
        None => plain(detail),
    }
}

/// What `show` answers.
#[derive(Debug, Serialize)]
pub struct ShownView<'a> {
    #[serde(flatten)]
    letter: LetterView<'a>,
    #[serde(flatten)]
    content: ContentView,
    /// What would be delivered today; `null` where it still can't be.
    today: Option<Vec<EventView<'a>>>,
    /// Why it can't be.
    still: Option<&'a str>,
}

#[derive(Debug, Default, Serialize)]
struct ContentView {
    /// Of a record, in RFC 3339.
    record_time: Option<String>,
    partition_key: Option<String>,
    sha256: Option<String>,
    /// In base64. `null` where a redaction withholds it.
    data: Option<String>,
    /// Of an event.
    timestamp: Option<String>,
    message: Option<String>,
}

impl ContentView {
    /// A redaction that was set after the letter was written withholds its content here, too.
    fn of(shown: &Shown) -> Self {
        let Shown { found, config, .. } = shown;
        let is_hidden = config.withholds() && redrive::is_unredacted(&found.letter, config);
        match &found.letter.body {
            Body::Event { event, .. } => Self {
                timestamp: Some(event.timestamp.to_string()),
                message: (!is_hidden).then(|| event.message.clone()),
                ..Self::default()
            },
            Body::Record(RecordBody {
                data,
                partition_key,
                time,
            }) => Self {
                record_time: time.map(|time| time.to_string()),
                // It may be the very value that is hidden.
                partition_key: partition_key
                    .as_deref()
                    .filter(|_| !config.withholds())
                    .map(str::to_owned),
                sha256: match data {
                    Data::Withheld { sha256, .. } => Some(sha256.clone()),
                    Data::Bytes(_) => None,
                },
                data: match data {
                    Data::Bytes(bytes) if !shown.config.withholds() => Some(STANDARD.encode(bytes)),
                    _ => None,
                },
                ..Self::default()
            },
        }
    }
}

#[derive(Debug, Serialize)]
struct EventView<'a> {
    destination: String,
    timestamp: String,
    message: &'a str,
}

impl<'a> EventView<'a> {
    fn of(Addressed { to, event, .. }: &'a Addressed) -> Self {
        Self {
            destination: to.to_string(),
            timestamp: event.timestamp.to_string(),
            message: &event.message,
        }
    }
}

impl<'a> ShownView<'a> {
    pub fn of(shown: &'a Shown) -> Self {
        Self {
            letter: LetterView::of(&shown.found),
            content: ContentView::of(shown),
            today: shown
                .today
                .as_ref()
                .ok()
                .map(|events| events.iter().map(EventView::of).collect()),
            still: shown.today.as_ref().err().map(String::as_str),
        }
    }
}

const WITHHELD: &str = "withheld, since a redaction is set (`dead_letter.raw`)";

/// One fact a line, then what would be delivered.
pub fn described(shown: &Shown) -> String {
    let Shown { found, today, .. } = shown;
    let view = LetterView::of(found);
    let content = ContentView::of(shown);
    let mut rows = vec![
        ["letter", view.letter_id].map(str::to_owned),
        ["pipeline", view.pipeline].map(str::to_owned),
        ["time".to_owned(), view.time],
        ["reason", view.reason].map(str::to_owned),
        ["detail".to_owned(), plain(view.detail)],
        ["stream", view.stream].map(str::to_owned),
        ["shard", view.shard_id].map(str::to_owned),
        ["sequence number", view.sequence_number].map(str::to_owned),
        [
            "sub-sequence number".to_owned(),
            view.sub_sequence_number.to_string(),
        ],
        [
            "meant for".to_owned(),
            match &view.destination {
                Some(destination) => plain(destination),
                None => "it had no destination".to_owned(),
            },
        ],
        ["body", view.body].map(str::to_owned),
        ["size".to_owned(), format!("{} bytes", view.bytes)],
    ];
    let mut row = |name: &str, value: Option<String>| {
        rows.extend(value.map(|value| [name.to_owned(), plain(&value)]));
    };
    row("event of its record", view.index.map(|index| index.to_string()));
    row("event's time", content.timestamp);
    let has_message = content.message.is_some();
    row("message", content.message);
    row("record's time", content.record_time);
    row("partition key", content.partition_key);
    row("SHA-256", content.sha256);
    match (&found.letter.body, content.data) {
        (Body::Record(_), None) => row("data", Some(WITHHELD.to_owned())),
        (Body::Event { .. }, None) if !has_message => row("message", Some(WITHHELD.to_owned())),
        (
            Body::Record(RecordBody {
                data: Data::Bytes(bytes),
                ..
            }),
            Some(base64),
        ) => {
            let text = std::str::from_utf8(bytes).ok().filter(|text| !text.is_empty());
            match text {
                Some(text) => row("data", Some(text.to_owned())),
                None => row("data in base64", Some(base64)),
            }
        }
        _ => {}
    }
    row(
        "redriven",
        found.redriven.as_ref().map(|mark| match mark.discarded {
            true => format!("{}, discarded", mark.at),
            false => format!("{}, {}", mark.at, count(mark.events as usize, "event")),
        }),
    );
    let mut text: String = table::render(["", ""], &rows)
        .lines()
        .skip(1)
        .map(|line| format!("{line}\n"))
        .collect();
    match &found.redriven {
        Some(mark) => {
            let _ = writeln!(
                text,
                "\n{}: a redrive leaves it; --again sends it once more",
                marked(mark)
            );
        }
        None if found.letter.is_withheld() => {
            let _ = writeln!(text, "\n{HURRY}");
        }
        None => {}
    }
    let again = if found.redriven.is_some() { " again" } else { "" };
    match today {
        Err(why) => {
            let _ = writeln!(text, "\nstill can't be delivered: {}", plain(why));
        }
        Ok(events) if events.is_empty() => {
            text.push_str("\nnothing would be delivered: by today's settings it gives no event\n");
        }
        Ok(events) => {
            let _ = writeln!(text, "\nwould be delivered{again} today:");
            for Addressed { to, event, .. } in events {
                let _ = writeln!(text, "{to}  {}  {}", event.timestamp, plain(&event.message));
            }
        }
    }
    text
}

/// What `redrive` answers.
#[derive(Debug, Serialize)]
pub struct DoneView<'a> {
    dry_run: bool,
    delivered: usize,
    events: usize,
    filtered: usize,
    already: usize,
    left: usize,
    /// Events that may stand twice, since a put got no answer.
    perhaps_twice: usize,
    letters: Vec<FateView<'a>>,
    incomplete: Vec<IncompleteView<'a>>,
    read_back_to: Option<String>,
    missing: Vec<MissingView<'a>>,
}

#[derive(Debug, Serialize)]
struct FateView<'a> {
    letter_id: &'a str,
    pipeline: &'a str,
    reason: &'a str,
    position: String,
    /// `delivered` (of a dry run: `would_deliver`), `filtered`, `already_redriven`, `unmarked` or `left`.
    fate: &'static str,
    events: usize,
    destinations: Vec<String>,
    why: Option<&'a str>,
}

impl<'a> FateView<'a> {
    fn of((found, fate): &'a (Found, Fate), dry_run: bool) -> Self {
        let (word, events, to, why) = match fate {
            Fate::Delivered { events, to } if dry_run => ("would_deliver", *events, &to[..], None),
            Fate::Delivered { events, to } => ("delivered", *events, &to[..], None),
            Fate::Nothing => ("filtered", 0, &[][..], None),
            Fate::Already(_) => ("already_redriven", 0, &[][..], None),
            Fate::Unmarked { events, why } => ("unmarked", *events, &[][..], Some(why.as_str())),
            Fate::Left { why, delivered } => ("left", *delivered, &[][..], Some(why.as_str())),
        };
        Self {
            letter_id: found.letter.id.as_str(),
            pipeline: &found.letter.origin.pipeline,
            reason: &found.letter.reason,
            position: position(&found.letter.origin),
            fate: word,
            events,
            destinations: to.iter().map(ToString::to_string).collect(),
            why,
        }
    }
}

impl<'a> DoneView<'a> {
    pub fn of(done: &'a Done, dry_run: bool, region: Option<&'a str>) -> Self {
        let fates = done.letters.iter().map(|letter| FateView::of(letter, dry_run));
        let letters: Vec<FateView> = fates.collect();
        let count = |fate: &str| letters.iter().filter(|letter| letter.fate == fate).count();
        Self {
            dry_run,
            delivered: count("delivered") + count("would_deliver") + count("unmarked"),
            events: letters.iter().map(|letter| letter.events).sum(),
            filtered: count("filtered"),
            already: count("already_redriven"),
            left: count("left") + done.incomplete.len(),
            perhaps_twice: done.perhaps_twice,
            incomplete: done.incomplete.iter().map(IncompleteView::of).collect(),
            read_back_to: done.listing.cut_at.map(|time| time.to_string()),
            missing: missing(&done.listing, region),
            letters,
        }
    }
}

/// One letter a line, and what was done together.
pub fn done(done: &Done, dry_run: bool, region: Option<&str>) -> String {
    let view = DoneView::of(done, dry_run, region);
    let mut text = String::new();
    let would = if dry_run { "would be " } else { "" };
    for (letter, (_, fate)) in view.letters.iter().zip(&done.letters) {
        let outcome = match fate {
            Fate::Delivered { events, .. } => format!(
                "{would}delivered: {} to {}",
                count(*events, "event"),
                letter.destinations.join(", ")
            ),
            Fate::Nothing => format!("{would}marked: by today's settings it gives no event"),
            Fate::Already(redriven) => {
                format!("{}; --again sends it once more", marked(redriven))
            }
            Fate::Unmarked { events: 0, why } => {
                format!("gives no event by today's settings, and its mark could not be put ({why})")
            }
            Fate::Unmarked { events, why } => format!(
                "delivered: {}, and its mark could not be put ({why}): a further redrive delivers it once more",
                count(*events, "event")
            ),
            Fate::Left { why, delivered: 0 } => format!("left: {why}"),
            Fate::Left { why, delivered } => {
                format!(
                    "left: {why}. {delivered} of its events were delivered, and are repeated when it is sent again"
                )
            }
        };
        let id = short_id(letter.letter_id);
        let _ = writeln!(text, "{id}  {}  {}", letter.reason, plain(&outcome));
    }
    for letter in &view.incomplete {
        let (id, have, parts) = (short_id(letter.letter_id), letter.have, letter.parts);
        let _ = writeln!(
            text,
            "{id}  {}  left: {have} of its {parts} parts can be read: {}",
            letter.reason, letter.position
        );
    }
    let _ = writeln!(
        text,
        "{} {would}delivered ({}), {} filtered out, {} sent again before, {} left",
        view.delivered,
        count(view.events, "event"),
        view.filtered,
        view.already,
        view.left
    );
    if view.perhaps_twice > 0 {
        let _ = writeln!(
            text,
            "{} may stand twice in the log: a put got no answer and was repeated",
            count(view.perhaps_twice, "event")
        );
    }
    text.push_str(&beside(&done.listing, region));
    text
}

/// What `discard` answers.
#[derive(Debug, Serialize)]
pub struct DiscardedView<'a> {
    letters: Vec<GoneView<'a>>,
}

#[derive(Debug, Serialize)]
struct GoneView<'a> {
    letter_id: &'a str,
    reason: &'a str,
    /// `discarded`, `already_redriven`, `already_discarded` or `unmarked`.
    fate: &'static str,
    why: Option<&'a str>,
}

impl<'a> DiscardedView<'a> {
    pub fn of(letters: &'a [Discarded]) -> Self {
        let view = |letter: &'a Discarded| {
            let (fate, why) = match &letter.outcome {
                Outcome::Marked => ("discarded", None),
                Outcome::Already(mark) if mark.discarded => ("already_discarded", None),
                Outcome::Already(_) => ("already_redriven", None),
                Outcome::Unmarked(why) => ("unmarked", Some(why.as_str())),
            };
            GoneView {
                letter_id: letter.id.as_str(),
                reason: &letter.reason,
                fate,
                why,
            }
        };
        Self {
            letters: letters.iter().map(view).collect(),
        }
    }
}

/// One letter a line.
pub fn discarded(letters: &[Discarded]) -> String {
    let mut text = String::new();
    for Discarded { id, reason, outcome } in letters {
        let id = short_id(id.as_str());
        let outcome = match outcome {
            Outcome::Marked => "discarded: it is marked, and nothing of it was sent".to_owned(),
            Outcome::Already(mark) => format!("{}: nothing to discard", marked(mark)),
            Outcome::Unmarked(why) => format!("left: its mark could not be put ({why})"),
        };
        let _ = writeln!(text, "{id}  {reason}  {}", plain(&outcome));
    }
    text
}

#[cfg(test)]
mod tests;
