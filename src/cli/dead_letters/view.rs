//! Dead letters, as JSON and as text.
//!
//! Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::cli::table;
use crate::logs::dead_letter::{Body, Data, Incomplete, Letter, Origin, RecordBody, position};
use crate::logs::{LogDestination, LogEvent};
use crate::operator::dead_letters::{Done, Fate, Found, Listing, Shown};

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
    destination: String,
    /// `null` where it was not sent again.
    redriven: Option<RedrivenView>,
}

#[derive(Debug, Serialize)]
struct RedrivenView {
    at: String,
    events: u64,
}

impl<'a> LetterView<'a> {
    fn of(found: &'a Found) -> Self {
        let Found { letter, redriven, .. } = found;
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
            destination: letter.meant_for.to_string(),
            redriven: redriven.as_ref().map(|redriven| RedrivenView {
                at: redriven.at.to_string(),
                events: redriven.events,
            }),
        }
    }
}

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
}

impl<'a> ListingView<'a> {
    pub fn of(listing: &'a Listing, limit: Option<usize>) -> Self {
        Self {
            letters: newest(listing, limit).iter().map(LetterView::of).collect(),
            by_reason: by_reason(listing),
            incomplete: listing.incomplete.iter().map(IncompleteView::of).collect(),
            places: places(listing),
            events_read: listing.read,
            letters_of_other_pipelines: listing.others,
            read_back_to: listing.cut_at.map(|time| time.to_string()),
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
pub fn listed(listing: &Listing, all: bool, limit: Option<usize>) -> String {
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
                let redriven = redriven
                    .map(|redriven| redriven.at.to_string())
                    .unwrap_or_default();
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
        "{sum}; {} log events were read in {}",
        listing.read,
        places(listing).join(", ")
    );
    text.push_str(&beside(listing));
    text
}

/// What was not read, or is not these pipelines'.
fn beside(listing: &Listing) -> String {
    let mut text = String::new();
    if listing.others > 0 {
        let _ = writeln!(text, "{} more are other pipelines'", listing.others);
    }
    if let Some(time) = listing.cut_at {
        let _ = writeln!(
            text,
            "there are more than are read at once, and only those since {time} were: what is older shows when these are \
             gone, or by --since and the log's retention"
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

/// The text on one line, without what a terminal would take for a command.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => plain.extend(c.escape_default()),
            false => plain.push(c),
        }
    }
    plain
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
    /// A redaction that was set after the letter was written withholds its bytes here, too.
    fn of(shown: &Shown) -> Self {
        match &shown.found.letter.body {
            Body::Event { event, .. } => Self {
                timestamp: Some(event.timestamp.to_string()),
                message: Some(event.message.clone()),
                ..Self::default()
            },
            Body::Record(RecordBody {
                data,
                partition_key,
                time,
            }) => Self {
                record_time: time.map(|time| time.to_string()),
                partition_key: partition_key.as_deref().map(str::to_owned),
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
    fn of((to, event): &'a (LogDestination, LogEvent)) -> Self {
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
        ["meant for".to_owned(), plain(&view.destination)],
        ["body", view.body].map(str::to_owned),
        ["size".to_owned(), format!("{} bytes", view.bytes)],
    ];
    let mut row = |name: &str, value: Option<String>| {
        rows.extend(value.map(|value| [name.to_owned(), plain(&value)]));
    };
    row("event of its record", view.index.map(|index| index.to_string()));
    row("event's time", content.timestamp);
    row("message", content.message);
    row("record's time", content.record_time);
    row("partition key", content.partition_key);
    row("SHA-256", content.sha256);
    match (&found.letter.body, content.data) {
        (Body::Record(_), None) => row(
            "data",
            Some("withheld, since a redaction is set (`dead_letter.raw`)".to_owned()),
        ),
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
        view.redriven
            .map(|redriven| format!("{}, {} events", redriven.at, redriven.events)),
    );
    let mut text: String = table::render(["", ""], &rows)
        .lines()
        .skip(1)
        .map(|line| format!("{line}\n"))
        .collect();
    match today {
        Err(why) => {
            let _ = writeln!(text, "\nstill can't be delivered: {}", plain(why));
        }
        Ok(events) if events.is_empty() => {
            text.push_str("\nnothing would be delivered: by today's settings it gives no event\n");
        }
        Ok(events) => {
            let _ = writeln!(text, "\nwould be delivered today:");
            for (to, event) in events {
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
}

#[derive(Debug, Serialize)]
struct FateView<'a> {
    letter_id: &'a str,
    pipeline: &'a str,
    reason: &'a str,
    position: String,
    /// `delivered`, `filtered`, `already_redriven`, `unmarked` or `left`.
    fate: &'static str,
    events: usize,
    destinations: Vec<String>,
    why: Option<&'a str>,
}

impl<'a> FateView<'a> {
    fn of((found, fate): &'a (Found, Fate)) -> Self {
        let (word, events, to, why) = match fate {
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
    pub fn of(done: &'a Done, dry_run: bool) -> Self {
        let letters: Vec<FateView> = done.letters.iter().map(FateView::of).collect();
        let count = |fate: &str| letters.iter().filter(|letter| letter.fate == fate).count();
        Self {
            dry_run,
            delivered: count("delivered") + count("unmarked"),
            events: letters.iter().map(|letter| letter.events).sum(),
            filtered: count("filtered"),
            already: count("already_redriven"),
            left: count("left") + done.incomplete.len(),
            perhaps_twice: done.perhaps_twice,
            incomplete: done.incomplete.iter().map(IncompleteView::of).collect(),
            read_back_to: done.listing.cut_at.map(|time| time.to_string()),
            letters,
        }
    }
}

/// One letter a line, and what was done together.
pub fn done(done: &Done, dry_run: bool) -> String {
    let view = DoneView::of(done, dry_run);
    let mut text = String::new();
    let would = if dry_run { "would be " } else { "" };
    for (letter, (_, fate)) in view.letters.iter().zip(&done.letters) {
        let outcome = match fate {
            Fate::Delivered { events, .. } => format!(
                "{would}delivered: {events} events to {}",
                letter.destinations.join(", ")
            ),
            Fate::Nothing => format!("{would}marked: by today's settings it gives no event"),
            Fate::Already(redriven) => format!("was sent again at {}: nothing done", redriven.at),
            Fate::Unmarked { events, why } => format!(
                "delivered: {events} events, and its mark could not be put ({why}): a further redrive delivers it once more"
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
        "{} {would}delivered ({} events), {} filtered out, {} sent again before, {} left",
        view.delivered, view.events, view.filtered, view.already, view.left
    );
    if view.perhaps_twice > 0 {
        let _ = writeln!(
            text,
            "{} events may stand twice in the log: a put got no answer and was repeated",
            view.perhaps_twice
        );
    }
    text.push_str(&beside(&done.listing));
    text
}
