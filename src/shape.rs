//! What a pipeline makes of decoded events: which it keeps, what it hides in them, how it tells them.
//!
//! Pure. Owns the order of the steps: decode, filter, redact, format. Called for records that are delivered, by
//! `weir decode`, and when a dead letter is sent again. A message that no rule touches passes byte for byte, and
//! without any rule it is not even read.

mod attributes;
mod change;
mod diff;
mod document;
pub mod images;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::decode::{self, Content, Decode, DecodeError, DecodeSettings, Decoded, Event, Origin, Skip};
use crate::filter::Filter;
use crate::json::{NoTree, Reading, Tree};
use crate::redact::{self, Redaction};
use crate::stream::Record;

/// A pipeline's rules.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shape {
    pub format: Format,
    /// Without one, all events are kept.
    pub filter: Option<Filter>,
    pub redact: Option<Redaction>,
}

/// How an event is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// As it was decoded: Lambda's event record, the JSON of an audit line, any other message unchanged.
    #[default]
    Decoded,
    /// A DynamoDB change with ordinary JSON values.
    Plain,
    /// A DynamoDB change as its keys and what changed.
    Diff,
    /// An audit line as it was written.
    Raw,
}

impl Shape {
    /// Whether messages pass as they were decoded.
    fn is_none(&self) -> bool {
        self.filter.is_none() && self.redact.is_none() && self.format == Format::Decoded
    }

    /// Whether messages are taken apart. An audit line is not, to be told as it was written.
    fn takes_apart(&self) -> bool {
        self.filter.is_some() || self.redact.is_some() || matches!(self.format, Format::Plain | Format::Diff)
    }
}

/// The log events that a pipeline makes of one record. An error is for the record as a whole, as in
/// [`decode::decode`].
pub fn events(
    record: &Record,
    origin: Origin<'_>,
    settings: &DecodeSettings,
    shape: &Shape,
) -> Result<Decoded, DecodeError> {
    if shape.is_none() {
        return decode::decode(record, origin, settings);
    }
    // In a line as it was written nothing can be hidden. The settings refuse the two together; were they let
    // through, the line would be told without what is hidden.
    let is_raw = shape.format == Format::Raw && shape.redact.is_none();
    let settings = &DecodeSettings {
        keep_lines: is_raw,
        ..settings.clone()
    };
    let mut decoded = decode::decode(record, origin, settings)?;
    let limit = decode::room(record, settings);
    let mut left = limit;
    let mut kept = Vec::with_capacity(decoded.events.len());
    for mut event in std::mem::take(&mut decoded.events) {
        if shape.takes_apart() {
            match told(&event, record, &decoded, settings, shape)? {
                Told::Dropped => {
                    decoded.filtered += 1;
                    continue;
                }
                Told::Unchanged => {}
                Told::Anew(message) => event.event.message = message,
            }
        }
        if let Some(line) = event.line.take() {
            event.event.message = line.into();
        }
        left = left
            .checked_sub(event.event.message.len())
            .ok_or(DecodeError::TooMuch { limit })?;
        kept.push(event);
    }
    if decoded.filtered > 0 {
        kept.shrink_to_fit();
        if kept.is_empty() {
            decoded.skipped = Some(Skip::Filter);
        }
        keep_envelopes(&mut decoded, &mut kept);
    }
    decoded.events = kept;
    Ok(decoded)
}

/// What becomes of an event.
enum Told {
    Dropped,
    Unchanged,
    /// With this message.
    Anew(String),
}

fn told(
    event: &Event,
    record: &Record,
    decoded: &Decoded,
    settings: &DecodeSettings,
    shape: &Shape,
) -> Result<Told, DecodeError> {
    let message = event.event.message.as_str();
    let reading = Reading {
        // One tree at a time, and none that takes more than the events of a record may.
        most: tree_room(record, settings) / NODE,
        // A filter alone passes on the message itself.
        is_lenient: shape.redact.is_none() && matches!(shape.format, Format::Decoded | Format::Raw),
    };
    let mut tree = match (Tree::read(message, reading), event.content) {
        (Ok(tree), _) => Some(tree),
        (Err(NoTree::NotJson(_)), Content::Other | Content::Bytes) => None,
        // It is JSON, and its fields can't be seen. A filter that took it for a text would drop it.
        (Err(why), _) => return Err(DecodeError::NoFields(why)),
    };
    // An auditor must see a line that could not be parsed, whatever it says.
    if let Some(filter) = &shape.filter
        && event.content != Content::AuditLine
    {
        let data = tree.take();
        let is_json = data.is_some();
        let data = data.unwrap_or_else(|| Tree::text(message));
        let data = match settings.how {
            Decode::Lambda | Decode::Audit => filter.matches(&data).then_some(data),
            _ => {
                let envelope = event.envelope.and_then(|at| decoded.envelopes.get(at));
                let document = document::of_kinesis(data, record, envelope);
                filter
                    .matches(&document)
                    .then(|| document::data(document))
                    .flatten()
            }
        };
        let Some(data) = data else {
            return Ok(Told::Dropped);
        };
        tree = is_json.then_some(data);
    }
    let is_change = event.content == Content::Change;
    // What changed is told by the values before they are hidden.
    let changed = match (&tree, shape.format) {
        (Some(tree), Format::Diff) if is_change => Some(diff::changed(tree)),
        _ => None,
    };
    let mut has_hidden = false;
    if let Some(redact) = &shape.redact {
        if settings.how == Decode::Auto
            && event.envelope.is_none()
            && tree.as_ref().is_some_and(looks_like_an_envelope)
        {
            return Err(DecodeError::Unredactable(
                "it looks like an envelope of a CloudWatch Logs subscription and lacks some of its fields, so that the \
                 messages in it can't be opened",
            ));
        }
        has_hidden = hide(redact, tree.as_mut(), event.content, settings.how)?;
    }
    let Some(tree) = tree else {
        return Ok(Told::Unchanged);
    };
    let message = match (shape.format, changed) {
        (Format::Plain, _) if is_change => change::plain(tree, settings.how),
        (_, Some(changed)) => change::diff(tree, settings.how, &changed),
        _ if has_hidden => tree,
        _ => return Ok(Told::Unchanged),
    };
    let mut text = String::with_capacity(event.event.message.len());
    message.write(&mut text);
    text.shrink_to_fit();
    Ok(Told::Anew(text))
}

/// Hides what is to be hidden in a message, and tells whether anything was; or says why that can't be done: a message
/// in which no path can be looked for would show what was meant to be hidden.
fn hide(
    redact: &Redaction,
    tree: Option<&mut Tree<'_>>,
    content: Content,
    how: Decode,
) -> Result<bool, DecodeError> {
    const BOTH: &[redact::Content] = &[redact::Content::Change, redact::Content::Json];
    let kinds: &[redact::Content] = match content {
        // Of a stream that may hold anything a path is one of any JSON, also where that turns out to be a change;
        // and one of a change also where it is written in another way than DynamoDB does it.
        Content::Change if how == Decode::Auto => BOTH,
        Content::Other if how == Decode::Auto && tree.as_deref().is_some_and(looks_like_a_change) => BOTH,
        Content::Change => &[redact::Content::Change],
        Content::AuditRow | Content::AuditLine => &[redact::Content::Audit],
        Content::Other => &[redact::Content::Json],
        Content::Bytes => return Err(DecodeError::Unredactable("it is bytes, not JSON")),
    };
    match tree {
        Some(tree @ (Tree::Object(_) | Tree::List(_))) => {
            let mut has_hidden = false;
            for kind in kinds {
                has_hidden |= redact.apply(tree, *kind);
                // A producer may send several changes as a list.
                if let (Tree::List(items), redact::Content::Change) = (&mut *tree, kind) {
                    for item in items {
                        has_hidden |= redact.apply(item, *kind);
                    }
                }
            }
            Ok(has_hidden)
        }
        Some(_) => Err(DecodeError::Unredactable("it is JSON without fields")),
        None => Err(DecodeError::Unredactable("it is no JSON that can be read")),
    }
}

/// Whether it has a field `dynamodb`, or, of a list, one of its items.
fn looks_like_a_change(message: &Tree<'_>) -> bool {
    match message {
        Tree::Object(_) => !matches!(message.get("dynamodb"), None | Some(Tree::Null)),
        Tree::List(items) => items
            .iter()
            .any(|item| !matches!(item.get("dynamodb"), None | Some(Tree::Null))),
        _ => false,
    }
}

/// Whether it, or an item of the list that it is, is an envelope of a subscription that was not opened as one: it
/// lacks something, or there are several.
fn looks_like_an_envelope(message: &Tree<'_>) -> bool {
    let is_one = |tree: &Tree<'_>| {
        let says_so = tree
            .get("messageType")
            .and_then(Tree::as_text)
            .is_some_and(|kind| matches!(kind, "DATA_MESSAGE" | "CONTROL_MESSAGE"));
        let has = |name| tree.get(name).is_some();
        says_so || (has("logEvents") && (has("messageType") || has("logGroup") || has("logStream")))
    };
    match message {
        Tree::List(items) => items.iter().any(is_one),
        one => is_one(one),
    }
}

/// Leaves out the envelopes whose events were all dropped: nothing of them goes anywhere.
fn keep_envelopes(decoded: &mut Decoded, kept: &mut [Event]) {
    let mut places = vec![None; decoded.envelopes.len()];
    for at in kept.iter().filter_map(|event| event.envelope) {
        if let Some(place) = places.get_mut(at) {
            *place = Some(0);
        }
    }
    for (count, place) in places.iter_mut().flatten().enumerate() {
        *place = count;
    }
    let mut all = places.iter();
    decoded
        .envelopes
        .retain(|_| all.next().is_some_and(Option::is_some));
    for event in kept {
        event.envelope = event.envelope.and_then(|at| places.get(at).copied().flatten());
    }
}

/// What a value of JSON takes while it becomes a part of a [`Tree`]: with its name, in a list of siblings that is
/// moved to where there is room for as many again.
const NODE: usize = 3 * size_of::<(Cow<'_, str>, Tree<'_>)>();

/// The most bytes that the tree of a message may take.
fn tree_room(record: &Record, settings: &DecodeSettings) -> usize {
    /// A tree is many times its text: a low `inflate_limit` would refuse messages that are large, but no bombs.
    const LEAST: usize = 64 << 20;
    decode::room(record, settings).max(LEAST)
}

/// No fewer than the values that a text would hold as JSON.
fn values(text: &[u8]) -> usize {
    1 + text.iter().filter(|b| matches!(b, b',' | b'[' | b'{')).count()
}

/// Roughly the most bytes that the record's events will take, and the making of them, for the memory budget.
///
/// A change told in another format is never much longer than as it came, since each value loses its type. What
/// is hidden may be: a digit becomes a hash. And one event at a time is a tree, whose values are counted by the
/// commas and brackets of the record. Of gzip neither is seen: there a value is taken to have 16 bytes. What was
/// too little shows when the record is decoded, and more than [`decode::room`] is refused.
pub fn estimate(record: &Record, settings: &DecodeSettings, shape: &Shape) -> usize {
    /// What is written where something was hidden: the hash of SHA-256 in hex, and what stands around it.
    const HIDDEN: usize = 80;
    /// Fields of an audit line: the tree of one is all there is at a time.
    const AUDIT_FIELDS: usize = 20;
    /// The time and the table's name, where a change is told in another format, and the names of fields.
    const AROUND: usize = 512;
    let settings = &DecodeSettings {
        keep_lines: shape.format == Format::Raw,
        ..settings.clone()
    };
    let events = decode::estimate(record, settings);
    if !shape.takes_apart() {
        return events;
    }
    let zipped = decode::is_zipped(record, settings);
    let values = match zipped {
        // That is about twice what gzip opens to.
        true => events / 32,
        false => values(&record.data),
    };
    let tree = match settings.how {
        Decode::Audit => AUDIT_FIELDS,
        _ => values,
    };
    let hidden = match shape.redact {
        Some(_) => values.saturating_mul(HIDDEN),
        None => 0,
    };
    // The old message is there until the new one is, and a text of the tree may be a copy.
    let twice = match zipped {
        true => events,
        false => record.data.len().saturating_mul(2),
    };
    events
        .saturating_add(tree.saturating_mul(NODE))
        .saturating_add(hidden)
        .saturating_add(twice)
        .saturating_add(AROUND)
        .min(
            decode::room(record, settings)
                .saturating_add(tree_room(record, settings))
                .max(events),
        )
}
