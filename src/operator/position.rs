//! Where a person sets a lease to.
//!
//! Pure. Owns how a position is written on the command line, and what moving a checkpoint means for the
//! records between the two.

use crate::clock::Timestamp;
use crate::lease::Checkpoint;
use crate::stream::SequenceNumber;
use crate::suggest;

const WORDS: [&str; 2] = ["trim_horizon", "shard_end"];

/// `trim_horizon`, `shard_end`, a time, `SEQUENCE_NUMBER` or `SEQUENCE_NUMBER:SUB`. What is wrong reads on from
/// the text.
pub fn parse(text: &str) -> Result<Checkpoint, String> {
    // As KCL's rows spell them too: what a listing shows can be given back.
    match text.to_lowercase().as_str() {
        "trim_horizon" => return Ok(Checkpoint::TrimHorizon),
        "shard_end" => return Ok(Checkpoint::ShardEnd),
        "latest" => {
            return Err(
                "is no place in a shard, but another one at each look: give a time, like \
                 `2024-11-09T08:12:19Z`, or a sequence number"
                    .to_owned(),
            );
        }
        _ => {}
    }
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(Checkpoint::AtTimestamp(Timestamp::from_millis(
            time.as_millisecond(),
        )));
    }
    let (digits, sub) = text.split_once(':').unwrap_or((text, "0"));
    if let (Some(sequence_number), Ok(sub)) = (SequenceNumber::parse(digits), sub.parse()) {
        return Ok(Checkpoint::At(sequence_number, sub));
    }
    Err(match suggest::nearest(text, &WORDS) {
        Some(near) => format!("is not a position: did you mean `{near}`?"),
        None => "is not a position: use `trim_horizon`, `shard_end`, a time with its offset, like \
                 `2024-11-09T08:12:19Z`, or a sequence number, as SEQUENCE_NUMBER or SEQUENCE_NUMBER:SUB"
            .to_owned(),
    })
}

/// What moving a checkpoint does to the records of the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Nothing,
    /// Records that were delivered are delivered again.
    Repeats,
    /// Records that were not delivered never are.
    Skips,
    /// One of the two: a time and a sequence number can't be compared without reading the stream.
    Either,
}

/// What moving a checkpoint from one place to the other does.
pub fn effect(from: &Checkpoint, to: &Checkpoint) -> Effect {
    use std::cmp::Ordering::{Equal, Greater, Less};

    use Checkpoint::{At, AtTimestamp, AtUnknownTimestamp, Latest, ShardEnd, TrimHorizon};
    let forward = match (from, to) {
        (a, b) if a == b => return Effect::Nothing,
        (TrimHorizon, _) | (_, ShardEnd) => Less,
        (_, TrimHorizon) | (ShardEnd, _) => Greater,
        (At(a, sub_a), At(b, sub_b)) => (a, sub_a).cmp(&(b, sub_b)),
        (AtTimestamp(a), AtTimestamp(b)) => a.cmp(b),
        (Latest | AtUnknownTimestamp, _) | (_, Latest | AtUnknownTimestamp) => {
            return Effect::Either;
        }
        (At(..), AtTimestamp(_)) | (AtTimestamp(_), At(..)) => return Effect::Either,
    };
    match forward {
        Less => Effect::Skips,
        Equal => Effect::Nothing,
        Greater => Effect::Repeats,
    }
}

/// The effect in words, for whoever has just set the checkpoint.
pub fn told(from: &Checkpoint, to: &Checkpoint) -> String {
    match effect(from, to) {
        Effect::Repeats if *to == Checkpoint::TrimHorizon => {
            "this goes back to the oldest record: all that was delivered and that the stream still holds of this \
             shard is delivered again"
                .to_owned()
        }
        Effect::Nothing => format!("the checkpoint stands at {to} already"),
        Effect::Repeats => {
            format!("this goes back: what was delivered after {to} is delivered again")
        }
        Effect::Skips => {
            let counted = match to {
                Checkpoint::AtTimestamp(_) => "as before_start",
                _ => "nowhere",
            };
            format!(
                "this goes forward: records between {from} and {to} that were not delivered yet are skipped, and \
                 counted {counted}"
            )
        }
        Effect::Either => format!(
            "a time and a sequence number can't be compared here: if {to} lies before {from}, what is between \
             is delivered again, else it is skipped"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(digits: &str, sub: u64) -> Checkpoint {
        Checkpoint::At(SequenceNumber::parse(digits).unwrap(), sub)
    }

    fn time(millis: i64) -> Checkpoint {
        Checkpoint::AtTimestamp(Timestamp::from_millis(millis))
    }

    #[test]
    fn a_position_is_a_word_a_time_or_a_sequence_number() {
        for (text, position) in [
            ("trim_horizon", Checkpoint::TrimHorizon),
            ("TRIM_HORIZON", Checkpoint::TrimHorizon),
            ("shard_end", Checkpoint::ShardEnd),
            ("2024-11-09T08:12:19Z", time(1_731_139_939_000)),
            ("2024-11-09T09:12:19.138+01:00", time(1_731_139_939_138)),
            (
                "49680440460700000000000000000001",
                at("49680440460700000000000000000001", 0),
            ),
            ("17:3", at("17", 3)),
        ] {
            assert_eq!(parse(text), Ok(position), "{text}");
        }
    }

    #[test]
    fn a_wrong_position_is_refused_with_the_way_out() {
        for (text, says) in [
            ("latest", "give a time"),
            ("LATEST", "give a time"),
            ("trim-horizon", "did you mean `trim_horizon`?"),
            ("shardend", "did you mean `shard_end`?"),
            ("2024-11-09", "a time with its offset"),
            ("2024-11-09T08:12:19", "a time with its offset"),
            ("12:x", "SEQUENCE_NUMBER:SUB"),
            ("12:", "SEQUENCE_NUMBER:SUB"),
            ("-12", "SEQUENCE_NUMBER"),
            ("", "use `trim_horizon`"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn back_repeats_and_forward_skips() {
        use Checkpoint::{Latest, ShardEnd, TrimHorizon};
        for (from, to, expected) in [
            (TrimHorizon, TrimHorizon, Effect::Nothing),
            (TrimHorizon, at("5", 0), Effect::Skips),
            (TrimHorizon, time(5), Effect::Skips),
            (TrimHorizon, ShardEnd, Effect::Skips),
            (at("5", 0), TrimHorizon, Effect::Repeats),
            (ShardEnd, TrimHorizon, Effect::Repeats),
            (ShardEnd, at("5", 0), Effect::Repeats),
            (at("5", 0), ShardEnd, Effect::Skips),
            // As numbers, not as texts.
            (at("9", 0), at("10", 0), Effect::Skips),
            (at("10", 0), at("9", 7), Effect::Repeats),
            (at("9", 1), at("9", 2), Effect::Skips),
            (at("9", 2), at("9", 2), Effect::Nothing),
            (time(5), time(6), Effect::Skips),
            (time(6), time(5), Effect::Repeats),
            (time(6), at("5", 0), Effect::Either),
            (at("5", 0), time(6), Effect::Either),
            (Latest, at("5", 0), Effect::Either),
            (Latest, TrimHorizon, Effect::Repeats),
        ] {
            assert_eq!(effect(&from, &to), expected, "{from} -> {to}");
        }
    }
}
