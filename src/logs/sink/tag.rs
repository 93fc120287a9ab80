//! Whom an event on its way answers to.
//!
//! Owns the count of the pieces that one event became: the parts of a large one, those of a dead letter, and the
//! dead letter of a part. The event counts as told when every piece is.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use super::Shared;
use crate::logs::batch::Refusal;
use crate::stream::{Place, StreamArn};

/// What stands beside an event until it is accepted.
#[derive(Clone, Debug)]
pub(super) struct Tag {
    pub(super) lane: Arc<Shared>,
    /// Of the record, in its shard's ledger.
    pub(super) index: u64,
    pub(super) place: Place,
    /// Which of the record's events it is, or is of.
    pub(super) ordinal: usize,
    pub(super) kind: Kind,
    part_of: Option<Arc<Whole>>,
    /// Arrival number within the writer, to restore the order after a sort.
    pub(super) arrival: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Event,
    /// It was refused for its time once, and is told at the time of the put.
    Restamped,
    /// It is of a dead letter. Its time is that of the put.
    Letter,
}

/// What is told once all its pieces are.
#[derive(Debug)]
struct Whole {
    /// Pieces not yet accepted.
    open: AtomicUsize,
    /// Why it, or a piece of it, went to the dead letters. The first reason stays.
    refused: OnceLock<Refusal>,
    /// What it is itself a piece of.
    part_of: Option<Arc<Whole>>,
}

impl Tag {
    /// That of an event as it was submitted.
    pub(super) fn new(lane: Arc<Shared>, index: u64, place: Place, ordinal: usize) -> Self {
        Self {
            lane,
            index,
            place,
            ordinal,
            kind: Kind::Event,
            part_of: None,
            arrival: 0,
        }
    }

    /// The lease is still held.
    pub(super) fn alive(&self) -> bool {
        self.lane.alive.load(Ordering::Acquire)
    }

    pub(super) fn is_letter(&self) -> bool {
        self.kind == Kind::Letter
    }

    /// Whether the event is stamped when it is put: an outage that it waits out must not make it too old.
    pub(super) fn is_stamped_late(&self) -> bool {
        matches!(self.kind, Kind::Letter | Kind::Restamped)
    }

    /// Names the event for good, whoever reads the record: as the ids that Weir's messages carry.
    pub(super) fn id(&self) -> String {
        let Place {
            sequence_number,
            sub_sequence_number,
        } = &self.place;
        let stream = StreamArn::new(self.lane.stream.as_str());
        let (stream, shard, ordinal) = (stream.service_arn(), &self.lane.shard, self.ordinal);
        format!("{stream}:{shard}:{sequence_number}:{sub_sequence_number}:{ordinal}")
    }

    /// The tags of the `count` events that tell this one.
    pub(super) fn parts(self, count: usize) -> Vec<Tag> {
        match count {
            1 => vec![self],
            _ => self.pieces(count, None),
        }
    }

    /// The tags of the `count` events of this one's dead letter.
    pub(super) fn letters(mut self, count: usize, reason: Refusal) -> Vec<Tag> {
        self.kind = Kind::Letter;
        self.pieces(count, Some(reason))
    }

    fn pieces(self, count: usize, reason: Option<Refusal>) -> Vec<Tag> {
        let whole = Arc::new(Whole {
            open: AtomicUsize::new(count),
            refused: reason.map(OnceLock::from).unwrap_or_default(),
            part_of: self.part_of.clone(),
        });
        let piece = Tag {
            part_of: Some(whole),
            ..self
        };
        vec![piece; count]
    }

    /// What the event's acceptance means for its record, if anything: the index, and why it or a piece of it went to
    /// the dead letters. Asked once for each piece.
    pub(super) fn accepted(&self) -> Option<(u64, Option<Refusal>)> {
        let mut refused = None;
        let mut part_of = self.part_of.as_ref();
        while let Some(whole) = part_of {
            if let Some(refused) = refused {
                // An earlier reason stays.
                let _ = whole.refused.set(refused);
            }
            if whole.open.fetch_sub(1, Ordering::AcqRel) != 1 {
                return None;
            }
            refused = whole.refused.get().copied();
            part_of = whole.part_of.as_ref();
        }
        Some((self.index, refused))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::sink::tests::lane;
    use crate::stream::SequenceNumber;

    fn tag() -> Tag {
        let place = Place {
            sequence_number: SequenceNumber::parse("42").unwrap(),
            sub_sequence_number: 3,
        };
        Tag::new(lane().0.shared.clone(), 7, place, 2)
    }

    #[test]
    fn an_event_answers_when_its_last_part_is_accepted() {
        assert_eq!(tag().accepted(), Some((7, None)));
        assert_eq!(tag().parts(1)[0].accepted(), Some((7, None)));
        let parts = tag().parts(3);
        let answers: Vec<_> = parts.iter().map(Tag::accepted).collect();
        assert_eq!(answers, [None, None, Some((7, None))]);
    }

    #[test]
    fn a_part_that_went_to_the_dead_letters_is_told_when_all_is_accepted_whatever_comes_last() {
        for letter_last in [true, false] {
            let mut parts = tag().parts(2);
            let letters = parts.remove(0).letters(2, Refusal::Invalid);
            let pieces: Vec<Tag> = match letter_last {
                true => parts.into_iter().chain(letters).collect(),
                false => letters.into_iter().chain(parts).collect(),
            };
            let answers: Vec<_> = pieces.iter().map(Tag::accepted).collect();
            assert_eq!(answers, [None, None, Some((7, Some(Refusal::Invalid)))]);
        }
    }

    #[test]
    fn parts_of_parts_count_up_to_the_event() {
        let mut parts = tag().parts(2);
        let again = parts.remove(0).parts(2);
        assert_eq!(again[0].accepted(), None);
        assert_eq!(again[1].accepted(), None);
        assert_eq!(parts[0].accepted(), Some((7, None)));
    }

    #[test]
    fn an_event_is_named_by_its_position_and_its_number() {
        assert_eq!(
            tag().id(),
            "arn:aws:kinesis:eu-west-1:1:stream/s:shardId-1:42:3:2"
        );
    }
}
