//! The account of one shard's records between the read and the checkpoint.
//!
//! Pure. Owns the order of what was received and what became of each record. The only place that turns
//! deliveries into a position: an [`Acknowledged`] exists for the contiguous finished prefix alone.

use std::collections::VecDeque;

use crate::clock::{Monotonic, Timestamp};
use crate::lease::Checkpoint;
use crate::logs::batch::Refusal;
use crate::queue;
use crate::stream::Place;

/// A position up to which every record is finished. Only [`Ledger::acknowledged`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged(Checkpoint);

impl Acknowledged {
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.0
    }
}

/// The proof that every record received is finished. Only [`Ledger::drained`] makes one.
#[derive(Debug)]
pub struct Drained(());

/// A record whose every event was accepted somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Why one of its events, or the record itself, went to the dead letters. It was not delivered then, though its
    /// other events may be in the log.
    pub refused: Option<Refusal>,
    /// The record's bytes, as the stream had it.
    pub bytes: usize,
}

/// A record as it enters the books.
#[derive(Debug)]
pub struct Received {
    pub place: Place,
    /// Log events that must be accepted.
    pub events: u32,
    /// What it holds of the memory budget until it is finished.
    pub held: usize,
    /// Its bytes, as the stream had it.
    pub bytes: usize,
    /// When the change happened, where the record tells.
    pub time: Option<Timestamp>,
    pub at: Monotonic,
}

/// The oldest record that is not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Oldest {
    /// When the change happened, where the record tells.
    pub time: Option<Timestamp>,
    /// When it was received.
    pub received: Monotonic,
}

#[derive(Debug)]
struct Entry {
    place: Place,
    /// Events of this record still to be accepted.
    open: u32,
    /// Why one that was accepted went to the dead letters: the first of them.
    refused: Option<Refusal>,
    /// What an unfinished record holds of the memory budget; zero once it is finished.
    held: usize,
    bytes: usize,
    /// What it counts for in the span.
    size: usize,
    oldest: Oldest,
}

/// The records in flight, oldest first.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The index of the front entry.
    base: u64,
    entries: VecDeque<Entry>,
    bytes: usize,
    /// The size of all entries, finished or not.
    span: usize,
    acknowledged: Option<Acknowledged>,
}

impl Ledger {
    /// Enters a record; returns its index. With no events it is finished at once (filtered, or before the start).
    pub fn receive(&mut self, record: Received) -> u64 {
        let Received {
            place,
            events,
            held,
            bytes,
            time,
            at,
        } = record;
        let index = self.next();
        let size = bytes.max(held);
        let held = if events == 0 { 0 } else { held };
        self.bytes += held;
        self.span += size;
        self.entries.push_back(Entry {
            place,
            open: events,
            refused: None,
            held,
            bytes,
            size,
            oldest: Oldest { time, received: at },
        });
        self.settle();
        index
    }

    /// One event of the record at `index` was accepted, or (`refused`) its dead letter was. Answers if that finished
    /// the record: a record is dead-lettered if one of its events is, whichever is accepted last.
    pub fn accepted(&mut self, index: u64, refused: Option<Refusal>) -> Option<Finished> {
        let at = index.checked_sub(self.base)?;
        let entry = self.entries.get_mut(usize::try_from(at).ok()?)?;
        if entry.open == 0 {
            return None;
        }
        entry.open -= 1;
        entry.refused = entry.refused.or(refused);
        if entry.open > 0 {
            return None;
        }
        let finished = Finished {
            refused: entry.refused,
            bytes: entry.bytes,
        };
        self.bytes -= entry.held;
        entry.held = 0;
        self.settle();
        Some(finished)
    }

    /// Moves past the finished front.
    fn settle(&mut self) {
        while self.entries.front().is_some_and(|e| e.open == 0) {
            if let Some(done) = self.entries.pop_front() {
                self.base += 1;
                self.span -= done.size;
                let Place {
                    sequence_number,
                    sub_sequence_number,
                } = done.place;
                self.acknowledged = Some(Acknowledged(Checkpoint::At(sequence_number, sub_sequence_number)));
            }
        }
        queue::relieve(&mut self.entries);
    }

    /// The index that the next record will have.
    pub fn next(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    /// The newest position all of whose predecessors are finished; `None` before the first.
    pub fn acknowledged(&self) -> Option<&Acknowledged> {
        self.acknowledged.as_ref()
    }

    /// Given while nothing is in flight.
    pub fn drained(&self) -> Option<Drained> {
        self.entries.is_empty().then_some(Drained(()))
    }

    /// Records received and not finished (a finished one behind an unfinished one is not counted).
    pub fn open_records(&self) -> usize {
        self.entries.iter().filter(|e| e.open > 0).count()
    }

    /// How far the newest record received is ahead of the checkpoint, as (records, bytes): finished records
    /// behind an unfinished one count, since a crash would repeat them.
    pub fn span(&self) -> (usize, usize) {
        (self.entries.len(), self.span)
    }

    /// The oldest unfinished record: the front one is unfinished, or it would be gone.
    pub fn oldest(&self) -> Option<Oldest> {
        self.entries.front().map(|e| e.oldest)
    }

    /// The index of the oldest unfinished record, or else of the next one.
    pub fn first_unfinished(&self) -> u64 {
        self.base
    }

    /// Bytes of the memory budget held by unfinished records.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stream::SequenceNumber;

    fn place(n: u64) -> Place {
        Place {
            sequence_number: SequenceNumber::parse(&n.to_string()).unwrap(),
            sub_sequence_number: 0,
        }
    }

    /// A record of 10 bytes.
    fn record(n: u64, events: u32, time: Option<Timestamp>) -> Received {
        Received {
            place: place(n),
            events,
            held: 10,
            bytes: 10,
            time,
            at: Monotonic::from_origin(std::time::Duration::from_secs(n)),
        }
    }

    fn position(ledger: &Ledger) -> Option<u64> {
        ledger.acknowledged().map(|a| match a.checkpoint() {
            Checkpoint::At(s, 0) => s.as_str().parse().unwrap(),
            other => panic!("{other}"),
        })
    }

    #[test]
    fn a_checkpoint_moves_only_over_the_contiguous_prefix() {
        let mut ledger = Ledger::default();
        let i: Vec<u64> = (1..=4).map(|n| ledger.receive(record(n, 1, None))).collect();
        ledger.accepted(i[1], None);
        ledger.accepted(i[3], None);
        assert_eq!(position(&ledger), None);
        ledger.accepted(i[0], None);
        assert_eq!(position(&ledger), Some(2));
        assert!(ledger.drained().is_none());
        ledger.accepted(i[2], None);
        assert_eq!(position(&ledger), Some(4));
        assert!(ledger.drained().is_some());
        assert_eq!((ledger.bytes(), ledger.span()), (0, (0, 0)));
    }

    #[test]
    fn finished_records_behind_a_stuck_one_still_count_as_ahead_of_the_checkpoint() {
        let mut ledger = Ledger::default();
        let then = Timestamp::from_millis(77);
        let stuck = ledger.receive(record(1, 1, Some(then)));
        for n in 2..=5 {
            let index = ledger.receive(record(n, 1, None));
            ledger.accepted(index, None);
        }
        assert_eq!((ledger.bytes(), ledger.span()), (10, (5, 50)));
        let oldest = Oldest {
            time: Some(then),
            received: Monotonic::from_origin(std::time::Duration::from_secs(1)),
        };
        assert_eq!(
            (ledger.oldest(), ledger.first_unfinished()),
            (Some(oldest), stuck)
        );
        ledger.accepted(stuck, None);
        assert_eq!((ledger.span(), ledger.oldest()), ((0, 0), None));
        assert_eq!(ledger.first_unfinished(), 5);
    }

    #[test]
    fn a_record_without_events_is_finished_but_waits_for_those_before_it() {
        let mut ledger = Ledger::default();
        let first = ledger.receive(record(1, 2, None));
        ledger.receive(record(2, 0, None));
        assert_eq!(ledger.accepted(first, None), None);
        assert_eq!(position(&ledger), None);
        assert_eq!(
            ledger.accepted(first, None),
            Some(Finished {
                refused: None,
                bytes: 10
            })
        );
        assert_eq!(position(&ledger), Some(2));
    }

    #[test]
    fn a_record_of_which_one_event_went_to_the_dead_letters_was_not_delivered() {
        let (old, invalid) = (Some(Refusal::TooOld), Some(Refusal::Invalid));
        for (pieces, refused) in [
            ([None, None, None], None),
            ([old, None, None], old),
            ([None, old, None], old),
            ([None, None, old], old),
            ([invalid, None, old], invalid),
        ] {
            let mut ledger = Ledger::default();
            let index = ledger.receive(record(1, 3, None));
            assert_eq!(ledger.accepted(index, pieces[0]), None);
            assert_eq!(ledger.accepted(index, pieces[1]), None);
            assert_eq!(
                ledger.accepted(index, pieces[2]),
                Some(Finished { refused, bytes: 10 })
            );
            assert_eq!(ledger.accepted(index, old), None, "it is gone");
        }
    }

    proptest! {
        #[test]
        fn the_position_is_always_the_longest_finished_prefix(
            events in proptest::collection::vec(0u32..3, 1..40),
            order in proptest::collection::vec(any::<u16>(), 0..120),
        ) {
            let mut ledger = Ledger::default();
            let mut open = events.clone();
            let indices: Vec<u64> =
                events.iter().enumerate().map(|(n, e)| ledger.receive(record(n as u64, *e, None))).collect();
            for pick in order {
                let at = pick as usize % open.len();
                let expect = open[at] == 1;
                prop_assert_eq!(ledger.accepted(indices[at], None).is_some(), expect);
                open[at] = open[at].saturating_sub(1);
                let prefix = open.iter().take_while(|o| **o == 0).count() as u64;
                prop_assert_eq!(position(&ledger), prefix.checked_sub(1));
                prop_assert_eq!(ledger.drained().is_some(), open.iter().all(|o| *o == 0));
                prop_assert_eq!(ledger.bytes(), 10 * open.iter().filter(|o| **o > 0).count());
            }
        }
    }
}
