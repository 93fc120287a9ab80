//! Where the events of a shard's records go.
//!
//! Owns the rendering of the destination's names: once a shard where they are the same for all its records,
//! else once an envelope. Knows the groups that were written to: an event that comes from one of them has
//! gone in a circle.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Pipeline;
use super::reader::Outcome;
use crate::clock::Timestamp;
use crate::decode::{self, Decode, DecodeError, DecodeSettings, Decoded, Envelope};
use crate::logs::batch::Refusal;
use crate::logs::dead_letter::RecordBody;
use crate::logs::sink::Parcel;
use crate::logs::template::RenderError;
use crate::logs::{LogDestination, address};
use crate::stream::{Record, ShardId, StreamArn};

/// Envelopes whose names are remembered. A Kinesis shard carries a handful of log streams as a rule.
const REMEMBERED: usize = 256;

/// Groups that are known as written to. One that is not among them is still noticed if it feeds itself.
const KNOWN_GROUPS: usize = 4096;

/// The envelope that a record is, whatever it is read as.
fn sender<'r>(record: &Record, settings: &DecodeSettings) -> Cow<'r, [Envelope]> {
    decode::sender(record, settings).into_iter().collect()
}

/// Shared, because each record asks for it.
type Rendered = Result<Arc<LogDestination>, RenderError>;

/// What is to be sent for a record.
pub(super) enum Outgoing {
    Nothing,
    Events {
        decoded: Decoded,
        /// Of each of its envelopes.
        to: Vec<Arc<LogDestination>>,
        /// Of its events without an envelope, if there are any.
        plain: Option<Arc<LogDestination>>,
    },
    Letter(Letter),
}

/// The dead letter of a whole record.
pub(super) struct Letter {
    meant_for: LogDestination,
    reason: Refusal,
    detail: String,
    /// The detail without what the record says: whoever may ask the port of health and metrics sees it.
    outline: String,
    /// The record may hold what the pipeline hides: its letter holds none of its bytes.
    withheld: bool,
}

impl Letter {
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    pub(super) fn outline(&self) -> &str {
        &self.outline
    }

    pub(super) fn reason(&self) -> &'static str {
        self.reason.as_str()
    }

    pub(super) fn group(&self) -> &str {
        &self.meant_for.group
    }
}

impl Outgoing {
    /// How many deliveries finish the record.
    pub(super) fn pieces(&self) -> u32 {
        match self {
            Self::Nothing => 0,
            // An aggregate's part or an envelope holds far fewer: a record has 10 MiB at most.
            Self::Events { decoded, .. } => u32::try_from(decoded.events.len()).unwrap_or(u32::MAX),
            Self::Letter(_) => 1,
        }
    }

    /// Puts it into the parcel, as that of the record at `index` of the ledger.
    pub(super) fn pack(self, parcel: &mut Parcel<'_>, index: u64, record: &Record) {
        match self {
            Self::Nothing => {}
            Self::Events { decoded, to, plain } => {
                for (ordinal, event) in decoded.events.into_iter().enumerate() {
                    // `address` found one for each; the ledger would wait for an event without.
                    let to = event.envelope.map_or(plain.as_ref(), |at| to.get(at));
                    if let Some(to) = to {
                        parcel.event(to, index, record.place(), ordinal, event.event);
                    }
                }
            }
            Self::Letter(letter) => {
                let (to, place) = (&letter.meant_for, record.place());
                let body = RecordBody::of(record, letter.withheld);
                parcel.dead_letter(to, index, &place, letter.reason, &letter.detail, body);
            }
        }
    }
}

pub(super) struct Destinations {
    pipeline: Arc<Pipeline>,
    stream: StreamArn,
    shard: ShardId,
    /// Of events without an envelope, and of all where the names don't depend on one.
    plain: Rendered,
    by_envelope: bool,
    remembered: BTreeMap<Envelope, Rendered>,
    /// The groups that were written to.
    groups: BTreeSet<String>,
    /// Of which of them it is known that nothing brings them back, and for records that arrive until when.
    clear: BTreeMap<String, Timestamp>,
}

impl Destinations {
    pub(super) fn of(pipeline: &Arc<Pipeline>, stream: &StreamArn, shard: &ShardId) -> Self {
        let mut destinations = Self {
            pipeline: pipeline.clone(),
            stream: stream.clone(),
            shard: shard.clone(),
            plain: Err(RenderError::Reserved(String::new())),
            by_envelope: pipeline.config.destination.depends_on_the_envelope(),
            remembered: BTreeMap::new(),
            groups: BTreeSet::new(),
            clear: BTreeMap::new(),
        };
        destinations.plain = destinations.render(None);
        let plain = destinations.plain.as_ref().ok().map(|to| to.group.clone());
        let letters = destinations.letters().group;
        destinations.groups.extend(plain.into_iter().chain([letters]));
        destinations
    }

    /// The one destination of all the shard's records, if it has one.
    pub(super) fn one(&self) -> Option<&LogDestination> {
        self.plain.as_deref().ok().filter(|_| !self.by_envelope)
    }

    /// The dead letter of a record that could not be decoded.
    pub(super) fn letter(&self, error: &DecodeError) -> Outgoing {
        Outgoing::Letter(Letter {
            meant_for: match &self.plain {
                Ok(to) => (**to).clone(),
                Err(_) => self.letters(),
            },
            reason: Refusal::Undecodable,
            detail: match self.pipeline.config.withholds() {
                true => error.without_content(),
                false => error.to_string(),
            },
            outline: error.without_content(),
            withheld: self.pipeline.config.withholds(),
        })
    }

    /// Where a record's events go. If one of them has no destination, the record is one dead letter: half of
    /// it in the log would look like all of it.
    pub(super) fn address(&mut self, decoded: Decoded) -> Outgoing {
        let mut to = Vec::with_capacity(decoded.envelopes.len());
        for envelope in &decoded.envelopes {
            match self.of_envelope(envelope) {
                Ok(destination) => to.push(destination),
                Err(error) => return self.unaddressed(&error),
            }
        }
        let mut plain = None;
        if decoded.events.iter().any(|event| event.envelope.is_none()) {
            match &self.plain {
                Ok(destination) => plain = Some(destination.clone()),
                Err(error) => return self.unaddressed(error),
            }
        }
        Outgoing::Events { decoded, to, plain }
    }

    /// The group that a record's events come from, if this pipeline writes to it: what it wrote came back.
    pub(super) fn comes_back(&mut self, record: &Record, outcome: &Outcome) -> Option<String> {
        let settings = &self.pipeline.config.decode;
        // What is read as something else, or can't be read, may have come from a log group all the same.
        let senders: Cow<'_, [Envelope]> = match outcome {
            Outcome::Decoded(decoded) if decoded.envelopes.is_empty() => match settings.how {
                Decode::Json | Decode::Text | Decode::Base64 => sender(record, settings),
                _ => Cow::Borrowed(&[]),
            },
            Outcome::Decoded(decoded) => Cow::Borrowed(&decoded.envelopes),
            Outcome::Undecodable(_) if settings.how != Decode::Lambda => sender(record, settings),
            Outcome::Undecodable(_) | Outcome::Empty | Outcome::BeforeStart => Cow::Borrowed(&[]),
        };
        let returning = senders.iter().find(|sender| {
            let from = sender.log_group.as_str();
            let into_itself = self.of_envelope(sender).is_ok_and(|to| to.group == from);
            let is_ours = into_itself || self.groups.contains(from);
            let is_clear = self
                .clear
                .get(from)
                .is_some_and(|until| record.time < Some(*until));
            let guard = &self.pipeline.guard;
            is_ours && !is_clear && guard.comes_back(&sender.owner, from, from, record.time)
        });
        returning.map(|sender| sender.log_group.clone())
    }

    /// No filter brings this group's events back: those that arrive before `until` are let through.
    pub(super) fn is_clear(&mut self, group: &str, until: Timestamp) {
        self.clear.insert(group.to_owned(), until);
    }

    fn of_envelope(&mut self, envelope: &Envelope) -> Rendered {
        if !self.by_envelope {
            return self.plain.clone();
        }
        if let Some(known) = self.remembered.get(envelope) {
            return known.clone();
        }
        let rendered = self.render(Some(envelope));
        if self.remembered.len() >= REMEMBERED {
            self.remembered.clear();
        }
        if let Ok(to) = &rendered
            && self.groups.len() < KNOWN_GROUPS
        {
            self.groups.insert(to.group.clone());
        }
        self.remembered.insert(envelope.clone(), rendered.clone());
        rendered
    }

    fn unaddressed(&self, error: &RenderError) -> Outgoing {
        let withheld = self.pipeline.config.withholds();
        let detail = match withheld {
            true => error.without_content(),
            false => error.to_string(),
        };
        Outgoing::Letter(Letter {
            meant_for: self.letters(),
            reason: Refusal::NoDestination,
            // At most a name of a group or a stream, which others of this port's answers tell too.
            outline: detail.clone(),
            detail,
            withheld,
        })
    }

    /// Where the pipeline's dead letters go: all of them to one place, which no record can choose.
    pub(super) fn letters(&self) -> LogDestination {
        let Pipeline {
            application, config, ..
        } = &*self.pipeline;
        address::letters(application, config, &self.stream)
    }

    fn render(&self, envelope: Option<&Envelope>) -> Rendered {
        let Pipeline {
            application, config, ..
        } = &*self.pipeline;
        address::destination(application, config, &self.stream, self.shard.as_str(), envelope).map(Arc::new)
    }
}
