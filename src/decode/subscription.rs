//! Envelopes of CloudWatch Logs subscriptions.
//!
//! Pure. Owns what is an envelope (CloudWatch Logs user guide, "Real-time processing of log data with
//! subscriptions") and what of it is an event. Messages come out as they went in; one that can't be told
//! exactly makes the whole record an error.

pub mod usual;

use std::borrow::Cow;
use std::fmt;

use memchr::memmem;
use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::json::{Object, short};
use super::{DecodeError, Envelope, Skip, UnknownMessages};
use crate::clock::Timestamp;

/// The envelopes of one record, opened.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// Those that events came in.
    pub envelopes: Vec<Envelope>,
    /// Why there were no events, where there were none.
    pub skipped: Option<Skip>,
}

/// An event, as its envelope tells it.
#[derive(Debug, PartialEq, Eq)]
pub struct Told<'a> {
    /// Its place in [`Opened::envelopes`].
    pub envelope: usize,
    /// Empty if it has none.
    pub id: Cow<'a, str>,
    pub time: Timestamp,
    pub message: Cow<'a, str>,
}

/// A field that is null is one that is absent; the order is any, and other fields don't matter.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    #[serde(borrow)]
    message_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    owner: Option<Cow<'a, str>>,
    #[serde(borrow)]
    log_group: Option<Cow<'a, str>>,
    #[serde(borrow)]
    log_stream: Option<Cow<'a, str>>,
    /// Only read where they matter: another type of message may have others.
    #[serde(borrow, default, deserialize_with = "present")]
    log_events: Option<&'a RawValue>,
}

/// Keeps a null, which [`Option`] takes for an absent field.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
struct WireEvent<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    message: Option<String>,
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Opens the envelopes that `text` is: one as a rule, or several without anything between them. Each event is
/// given to `each` as soon as it is read, and the first error is the last of it: a record of millions of events
/// never lies in memory whole before someone asks whether it may.
pub fn open<'a>(
    text: &'a str,
    unknown: UnknownMessages,
    mut each: impl FnMut(Told<'a>, &Envelope) -> Result<(), DecodeError>,
) -> Result<Opened, DecodeError> {
    let mut opened = Opened::default();
    let mut skipped = None;
    for wire in serde_json::Deserializer::from_str(text).into_iter::<Object<Wire>>() {
        let Object(wire) = wire.map_err(|e| DecodeError::Envelope(short(e)))?;
        let missing = |name: &str| DecodeError::Envelope(format!("the field `{name}` is missing"));
        let kind = wire.message_type.ok_or_else(|| missing("messageType"))?;
        let skip = match &*kind {
            "DATA_MESSAGE" => {
                let events = wire.log_events.ok_or_else(|| missing("logEvents"))?;
                let envelope = Envelope {
                    owner: wire.owner.unwrap_or_default().into_owned(),
                    log_group: wire.log_group.unwrap_or_default().into_owned(),
                    log_stream: wire.log_stream.unwrap_or_default().into_owned(),
                };
                let at = opened.envelopes.len();
                if tell(events.get(), at, &mut |told| each(told, &envelope))? > 0 {
                    opened.envelopes.push(envelope);
                }
                Skip::Nothing
            }
            "CONTROL_MESSAGE" => Skip::ControlMessage,
            kind => match unknown {
                UnknownMessages::Skip => Skip::MessageType,
                UnknownMessages::DeadLetter => return Err(DecodeError::MessageType(short(kind))),
            },
        };
        skipped.get_or_insert(skip);
    }
    if skipped.is_none() {
        return Err(DecodeError::Envelope("the record is empty".to_owned()));
    }
    if opened.envelopes.is_empty() {
        opened.skipped = skipped;
    }
    Ok(opened)
}

/// Gives the events of the list `events` to `each`, and tells how many there were.
fn tell<'a>(
    events: &'a str,
    envelope: usize,
    each: &mut impl FnMut(Told<'a>) -> Result<(), DecodeError>,
) -> Result<usize, DecodeError> {
    if events == "null" {
        return Ok(0);
    }
    let mut list = List {
        envelope,
        told: 0,
        each,
        refused: None,
    };
    let read = serde_json::Deserializer::from_str(events).deserialize_seq(&mut list);
    match (list.refused, read) {
        (Some(why), _) => Err(why),
        (None, Err(e)) => Err(DecodeError::Envelope(format!("logEvents: {}", short(e)))),
        (None, Ok(())) => Ok(list.told),
    }
}

/// Reads a list of events, one at a time.
struct List<'l, F> {
    envelope: usize,
    told: usize,
    each: &'l mut F,
    /// What an error of the JSON's reader can't carry.
    refused: Option<DecodeError>,
}

impl<'de, F: FnMut(Told<'de>) -> Result<(), DecodeError>> Visitor<'de> for &mut List<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(Object(event)) = list.next_element()? {
            let given = told(event, self.told, self.envelope).and_then(|event| (self.each)(event));
            if let Err(why) = given {
                self.refused = Some(why);
                return Err(de::Error::custom("refused"));
            }
            self.told += 1;
        }
        Ok(())
    }
}

/// The event that stands at `index` of its envelope.
fn told(event: WireEvent<'_>, index: usize, envelope: usize) -> Result<Told<'_>, DecodeError> {
    let lacks = |reason| DecodeError::Event { index, reason };
    Ok(Told {
        envelope,
        id: event
            .id
            .map_or(Some(Cow::Borrowed("")), id)
            .ok_or(lacks("its id is no text"))?,
        time: event
            .timestamp
            .and_then(time)
            .ok_or(lacks("it has no timestamp in milliseconds"))?,
        message: event.message.ok_or(lacks("it has no message"))?.into(),
    })
}

/// A text's own; of anything else (emulators send numbers) as it is spelt.
fn id(raw: &RawValue) -> Option<Cow<'_, str>> {
    match raw.get() {
        text if text.starts_with('"') => serde_json::from_str::<Text>(text).ok().map(|t| t.0),
        other => Some(Cow::Borrowed(other)),
    }
}

/// A number, or a text of digits (both in AWS's own examples).
fn time(raw: &RawValue) -> Option<Timestamp> {
    let text = raw.get();
    let digits = text
        .strip_prefix('"')
        .and_then(|t| t.strip_suffix('"'))
        .unwrap_or(text);
    let are_digits = digits.bytes().all(|b| b.is_ascii_digit());
    digits
        .parse()
        .ok()
        .filter(|_| are_digits)
        .map(Timestamp::from_millis)
}

/// The names of a JSON object's fields that tell what the object is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Looks {
    message_type: bool,
    log_events: bool,
    log_group: bool,
    /// A field `dynamodb`: perhaps a change.
    pub dynamodb: bool,
}

impl Looks {
    /// Looks at the names at the top of the object that `bytes` begin with, no further than it takes to know
    /// an envelope: events that stand last, as CloudWatch Logs writes them, are not looked at. They need not be JSON to their end, nor at all.
    pub fn of(bytes: &[u8]) -> Self {
        let mut looks = Self::default();
        // Without one of these names it is neither, whatever else stands in it; only `\u` could hide one.
        let may_be = |part: &str| memmem::find(bytes, part.as_bytes()).is_some();
        let starts = bytes.trim_ascii_start().starts_with(b"{");
        if starts && (may_be("messageType") || may_be("dynamodb") || may_be("\\u")) {
            // An error is the end of what can be looked at, or of what needs to be.
            let mut json = serde_json::Deserializer::from_slice(bytes);
            let _ = Look(&mut looks).deserialize(&mut json);
        }
        looks
    }

    /// All three names. An application may have one or two of them in JSON of its own.
    pub fn is_envelope(self) -> bool {
        self.message_type && self.log_events && self.log_group
    }

    /// Whether it is better read as an envelope where the other choice is a line of an audit log, which no JSON
    /// is: what it lacks is told then.
    pub fn resembles_envelope(self) -> bool {
        self.message_type && (self.log_events || self.log_group)
    }
}

struct Look<'l>(&'l mut Looks);

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum Name {
    MessageType,
    LogEvents,
    LogGroup,
    Dynamodb,
    #[serde(other)]
    Other,
}

impl<'de> DeserializeSeed<'de> for Look<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Look<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key()? {
            match name {
                Name::MessageType => self.0.message_type = true,
                Name::LogEvents => self.0.log_events = true,
                Name::LogGroup => self.0.log_group = true,
                Name::Dynamodb => self.0.dynamodb = true,
                Name::Other => {}
            }
            if self.0.is_envelope() {
                return Err(de::Error::custom("seen enough"));
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

/// What the envelope that `bytes` begin with tells of itself, if it looks like one. Its events are not read, so
/// it need not be whole: what stands before the first damage counts.
pub fn sender(bytes: &[u8]) -> Option<Envelope> {
    if !Looks::of(bytes).is_envelope() {
        return None;
    }
    let mut sender = Sender::default();
    let mut json = serde_json::Deserializer::from_slice(bytes);
    // As above.
    let _ = (&mut sender).deserialize(&mut json);
    Some(Envelope {
        owner: sender.owner.unwrap_or_default(),
        log_group: sender.log_group?,
        log_stream: sender.log_stream.unwrap_or_default(),
    })
}

/// A field that is null is an empty one.
#[derive(Default)]
struct Sender {
    owner: Option<String>,
    log_group: Option<String>,
    log_stream: Option<String>,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum SenderName {
    Owner,
    LogGroup,
    LogStream,
    #[serde(other)]
    Other,
}

impl<'de> DeserializeSeed<'de> for &mut Sender {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut Sender {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key()? {
            let field = match name {
                SenderName::Owner => &mut self.owner,
                SenderName::LogGroup => &mut self.log_group,
                SenderName::LogStream => &mut self.log_stream,
                SenderName::Other => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *field = Some(map.next_value::<Option<String>>()?.unwrap_or_default());
            if self.owner.is_some() && self.log_group.is_some() && self.log_stream.is_some() {
                return Err(de::Error::custom("read enough"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
