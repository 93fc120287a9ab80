//! The readings that have more than one step: by its looks, envelopes, audit lines.
//!
//! Pure. Owns the memory that the events of one record may take.

use std::borrow::Cow;

use super::subscription::{self, Looks, Told};
use super::{
    Content, DecodeError, DecodeSettings, Decoded, Envelope, Event, Position, Skip, audit, kinesis_change,
    plain,
};
use crate::clock::Timestamp;
use crate::logs::LogEvent;

/// By its looks. An envelope that is damaged is still one, and an error: as a text it would hide that events
/// are in it. A change that is damaged is a text, which holds all of it.
pub fn auto(
    data: Cow<'_, [u8]>,
    position: Position<'_>,
    settings: &DecodeSettings,
) -> Result<Decoded, DecodeError> {
    if let Some(decoded) = enveloped_as_usual(&data, settings, Events::push_told) {
        return Ok(decoded);
    }
    let looks = Looks::of(&data);
    if looks.is_envelope() {
        return enveloped(&data, settings, Events::push_told);
    }
    match plain::text(data) {
        Ok(text) => {
            let change = looks.dynamodb.then(|| kinesis_change::time(&text).ok()).flatten();
            let content = match change {
                Some(_) => Content::Change,
                None => Content::Other,
            };
            let decoded = position.event_at(change.flatten(), text)?;
            Ok(decoded.with_content(content))
        }
        // The bytes as they were in the stream, gzip and all.
        Err(_) => base64(&position.record.data, position),
    }
}

/// The messages of envelopes, unchanged.
pub fn subscription(data: &[u8], settings: &DecodeSettings) -> Result<Decoded, DecodeError> {
    match enveloped_as_usual(data, settings, Events::push_told) {
        Some(decoded) => Ok(decoded),
        None => enveloped(data, settings, Events::push_told),
    }
}

/// What `each` makes of the events of the envelopes that `data` is.
fn enveloped(
    data: &[u8],
    settings: &DecodeSettings,
    each: impl Fn(Told<'_>, &Envelope, &mut Events) -> Result<(), DecodeError>,
) -> Result<Decoded, DecodeError> {
    let text = plain::utf8(data)?;
    let mut events = Events::of(data, settings);
    let opened = subscription::open(text, settings.unknown_messages, |told, envelope| {
        each(told, envelope, &mut events)
    })?;
    Ok(Decoded {
        skipped: opened.skipped,
        ..events.finish(opened.envelopes)
    })
}

/// The same, if `data` is one envelope as CloudWatch Logs writes it; else `None`, and nothing is known of it.
fn enveloped_as_usual(
    data: &[u8],
    settings: &DecodeSettings,
    each: impl Fn(Told<'_>, &Envelope, &mut Events) -> Result<(), DecodeError>,
) -> Option<Decoded> {
    if !data.starts_with(b"{") {
        return None;
    }
    let text = plain::utf8(data).ok()?;
    let mut events = Events::of(data, settings);
    let envelope = subscription::usual::open(text, |told, envelope| each(told, envelope, &mut events))?;
    Some(events.finish(vec![envelope]))
}

/// Audit lines, in envelopes or alone.
pub fn audit(data: &[u8], position: Position<'_>, settings: &DecodeSettings) -> Result<Decoded, DecodeError> {
    let each = |event: Told<'_>, envelope: &Envelope, events: &mut Events| {
        let Told { time, id, .. } = &event;
        events.messages.come_in(event.envelope, envelope);
        let mut add =
            |line: &str, id: &str| events.push_line(*time, Some(event.envelope), line, id, position);
        if !holds_lines(&event.message) {
            return add(&event.message, id);
        }
        for (index, line) in audit::lines(&event.message).enumerate() {
            match &**id {
                "" => add(line, "")?,
                id => add(line, &format!("{id}:{index}"))?,
            }
        }
        Ok(())
    };
    if let Some(decoded) = enveloped_as_usual(data, settings, each) {
        return Ok(decoded);
    }
    match Looks::of(data).resembles_envelope() {
        true => enveloped(data, settings, each),
        false => audit_lines(data, position, settings),
    }
}

/// Whether the message of an event is several lines, with an audit line among them: an agent that reads a file
/// may send it in such pieces. Any other text is one message, and so is a query whose SQL goes over lines: it may
/// hold a whole audit line, which nobody wrote there but the one who sent the query.
fn holds_lines(message: &str) -> bool {
    if !message.as_bytes().contains(&b'\n') {
        return false;
    }
    let mut lines = audit::lines(message);
    let (Some(first), Some(_)) = (lines.next(), lines.next()) else {
        return false;
    };
    if audit::parse(first).is_ok() {
        return true;
    }
    let one_query = audit::parse(message).is_ok_and(|row| {
        let before = [row.serverhost, row.username, row.host, row.database];
        row.operation == "QUERY" && !before.iter().any(|field| field.contains('\n'))
    });
    !one_query && audit::lines(message).any(|line| audit::parse(line).is_ok())
}

/// Lines without an envelope. The server may cut a statement inside a character: in a line that is an audit
/// line all the same, such bytes are replaced. Anywhere else they are the sign of other data (compressed, in
/// another encoding, damaged), of which a text would keep nothing: the record is an error as a whole.
fn audit_lines(
    data: &[u8],
    position: Position<'_>,
    settings: &DecodeSettings,
) -> Result<Decoded, DecodeError> {
    let mut events = Events::of(data, settings);
    let (text, broken) = match plain::utf8(data) {
        Ok(text) => (Cow::Borrowed(text), None),
        Err(why) => (Cow::Owned(replaced(data)), Some(why)),
    };
    for line in audit::lines(&text) {
        if let Some(why) = &broken
            && line.contains(char::REPLACEMENT_CHARACTER)
            && audit::parse(line).is_err()
        {
            return Err(why.clone());
        }
        events.push_line(position.time()?, None, line, "", position)?;
    }
    Ok(Decoded {
        skipped: events.list.is_empty().then_some(Skip::Nothing),
        ..events.finish(Vec::new())
    })
}

/// [`String::from_utf8_lossy`] in no more memory than the text takes, which is three times the bytes at most.
/// A string that grows to that would hold twice as much on the way.
pub fn replaced(data: &[u8]) -> String {
    let parts = || {
        data.utf8_chunks().flat_map(|chunk| {
            let broken = !chunk.invalid().is_empty();
            [chunk.valid(), if broken { "\u{fffd}" } else { "" }]
        })
    };
    let mut text = String::with_capacity(parts().map(str::len).sum());
    text.extend(parts());
    text
}

/// `data` as one event.
pub fn base64(data: &[u8], position: Position<'_>) -> Result<Decoded, DecodeError> {
    let decoded = position.event(plain::base64(data, position, position.time()?)?)?;
    Ok(decoded.with_content(Content::Bytes))
}

/// The events of one record, while they become more.
struct Events {
    list: Vec<Event>,
    room: Room,
    keep_lines: bool,
    /// Of audit lines.
    messages: audit::Messages,
    unparsed_lines: u64,
}

impl Events {
    /// None yet, of what a record's `data` may become.
    fn of(data: &[u8], settings: &DecodeSettings) -> Self {
        Self {
            list: Vec::new(),
            room: Room::for_events_of(data, settings),
            keep_lines: settings.keep_lines,
            messages: audit::Messages::default(),
            unparsed_lines: 0,
        }
    }

    fn push(
        &mut self,
        timestamp: Timestamp,
        envelope: Option<usize>,
        content: Content,
        message: String,
    ) -> Result<(), DecodeError> {
        self.room.take(message.len() + Room::EVENT)?;
        let event = LogEvent { timestamp, message };
        self.list.push(Event {
            event,
            envelope,
            content,
            line: None,
        });
        Ok(())
    }

    /// An envelope's event as it is.
    fn push_told(told: Told<'_>, _: &Envelope, events: &mut Events) -> Result<(), DecodeError> {
        let message = told.message.into_owned();
        events.push(told.time, Some(told.envelope), Content::Other, message)
    }

    /// The event of an audit line. Where it has no `id`, it gets one by its place among the record's events: without
    /// one, two equal lines of one millisecond would pass for one.
    fn push_line(
        &mut self,
        timestamp: Timestamp,
        envelope: Option<usize>,
        line: &str,
        id: &str,
        position: Position<'_>,
    ) -> Result<(), DecodeError> {
        let own = id.is_empty().then(|| position.id(self.list.len()));
        let (message, parsed) = self.messages.message(line, Some(own.as_deref().unwrap_or(id)));
        let content = match parsed {
            true => Content::AuditRow,
            false => Content::AuditLine,
        };
        self.unparsed_lines += u64::from(!parsed);
        self.push(timestamp, envelope, content, message)?;
        if self.keep_lines
            && let Some(event) = self.list.last_mut()
        {
            self.room.take(line.len())?;
            event.line = Some(line.into());
        }
        Ok(())
    }

    /// They are held until they are delivered, and there may be a million of them.
    fn finish(mut self, envelopes: Vec<Envelope>) -> Decoded {
        self.list.shrink_to_fit();
        Decoded {
            events: self.list,
            envelopes,
            unparsed_lines: self.unparsed_lines,
            ..Decoded::default()
        }
    }
}

/// The most bytes that events of `data` may take. An audit line of a short statement is told in about four times
/// its bytes.
pub fn most_of(data: &[u8], settings: &DecodeSettings) -> usize {
    data.len().max(settings.inflate_limit).saturating_mul(4)
}

/// The memory that one record's events may take. What is told of an event, its ids and names, may be a hundred
/// times what it holds: without an end to it, a record of a few megabytes of short lines would fill gigabytes.
struct Room {
    limit: usize,
    left: usize,
}

impl Room {
    /// Of an event itself, next to its message.
    const EVENT: usize = size_of::<Event>();

    fn for_events_of(data: &[u8], settings: &DecodeSettings) -> Self {
        let limit = most_of(data, settings);
        Self { limit, left: limit }
    }

    fn take(&mut self, bytes: usize) -> Result<(), DecodeError> {
        let left = self.left.checked_sub(bytes);
        self.left = left.ok_or(DecodeError::TooMuch { limit: self.limit })?;
        Ok(())
    }
}
