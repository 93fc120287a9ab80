//! Where the reading of a shard begins.
//!
//! Pure. Turns a lease's checkpoint into a position of the stream, so that nothing is skipped and as little as can
//! be is read again.

use crate::clock::Timestamp;
use crate::lease::Checkpoint;
use crate::stream::{Place, StartingPosition};

/// Where a shard is read from.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct From {
    pub(super) position: StartingPosition,
    /// What is done, also where it comes once more.
    pub(super) done: Option<Place>,
    /// Records before this time are dropped.
    pub(super) not_before: Option<Timestamp>,
}

/// `configured`: the pipeline's own start, if it is a time.
pub(super) fn start(
    checkpoint: &Checkpoint,
    configured: Option<Timestamp>,
    has_timestamps: bool,
    has_aggregates: bool,
) -> From {
    let horizon = From {
        position: StartingPosition::TrimHorizon,
        done: None,
        not_before: None,
    };
    let from = |time: Timestamp| From {
        position: match has_timestamps {
            true => StartingPosition::AtTimestamp(time),
            false => StartingPosition::TrimHorizon,
        },
        done: None,
        not_before: Some(time),
    };
    match checkpoint {
        // The sub-sequence number counts inside an aggregate of the Kinesis Producer Library. The row doesn't
        // tell whether that was the last one, so the aggregate is read once more, and what is done of it
        // dropped (rule 14). A DynamoDB stream has none: all of the record is done.
        Checkpoint::At(sequence_number, sub_sequence_number) if has_aggregates => From {
            position: StartingPosition::At(sequence_number.clone()),
            done: Some(Place {
                sequence_number: sequence_number.clone(),
                sub_sequence_number: *sub_sequence_number,
            }),
            not_before: None,
        },
        Checkpoint::At(sequence_number, _) => From {
            position: StartingPosition::After(sequence_number.clone()),
            ..horizon
        },
        Checkpoint::AtTimestamp(time) => from(*time),
        // These two stand only on rows of a KCL application that never checkpointed the shard. Evaluating
        // LATEST here, perhaps long after it was written, would skip records, and the other's time is not
        // known: the horizon repeats some instead, where the settings don't tell a time.
        Checkpoint::Latest | Checkpoint::AtUnknownTimestamp => match configured {
            Some(time) => from(time),
            None => horizon,
        },
        Checkpoint::TrimHorizon | Checkpoint::ShardEnd => horizon,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::SequenceNumber;

    #[test]
    fn every_checkpoint_has_a_start_that_skips_nothing() {
        let t = Timestamp::from_millis(5);
        let set = Timestamp::from_millis(9);
        let seven = SequenceNumber::parse("7").unwrap();
        let at = |position: StartingPosition, not_before| From {
            position,
            done: None,
            not_before,
        };
        let horizon = || at(StartingPosition::TrimHorizon, None);
        for unknown in [Checkpoint::Latest, Checkpoint::AtUnknownTimestamp] {
            assert_eq!(start(&unknown, None, true, true), horizon());
            assert_eq!(
                start(&unknown, Some(set), false, false),
                at(StartingPosition::TrimHorizon, Some(set))
            );
            assert_eq!(
                start(&unknown, Some(set), true, true),
                at(StartingPosition::AtTimestamp(set), Some(set))
            );
        }
        let inside = |sub_sequence_number| From {
            position: StartingPosition::At(seven.clone()),
            done: Some(Place {
                sequence_number: seven.clone(),
                sub_sequence_number,
            }),
            not_before: None,
        };
        let after = || at(StartingPosition::After(seven.clone()), None);
        for (checkpoint, is_kinesis, expected) in [
            (Checkpoint::TrimHorizon, false, horizon()),
            (
                Checkpoint::AtTimestamp(t),
                true,
                at(StartingPosition::AtTimestamp(t), Some(t)),
            ),
            (
                Checkpoint::AtTimestamp(t),
                false,
                at(StartingPosition::TrimHorizon, Some(t)),
            ),
            (Checkpoint::At(seven.clone(), 0), false, after()),
            (Checkpoint::At(seven.clone(), 3), false, after()),
            (Checkpoint::At(seven.clone(), 0), true, inside(0)),
            (Checkpoint::At(seven.clone(), 3), true, inside(3)),
        ] {
            // A start in the settings is none of a lease's that has one of its own.
            for configured in [None, Some(set)] {
                assert_eq!(
                    start(&checkpoint, configured, is_kinesis, is_kinesis),
                    expected,
                    "{checkpoint}"
                );
            }
        }
    }
}
