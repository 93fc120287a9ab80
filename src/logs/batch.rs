//! The rules of PutLogEvents, to the byte.
//!
//! Pure. Owns every limit of the call and the cut of a queue into batches. Called by the sink's writers.
//! Source of the numbers: CloudWatch Logs API reference, PutLogEvents.

use std::time::Duration;

use super::LogEvent;
use crate::clock::Timestamp;

/// The size of a batch: the messages' UTF-8 bytes and 26 more for each event.
pub const MAX_BATCH_BYTES: usize = 1_048_576;
/// Added to the size of each message.
pub const EVENT_OVERHEAD: usize = 26;
/// The largest message that fits a batch of its own.
pub const MAX_MESSAGE_BYTES: usize = MAX_BATCH_BYTES - EVENT_OVERHEAD;
/// Events in a batch.
pub const MAX_BATCH_EVENTS: usize = 10_000;
/// The events of a batch lie within 24 hours.
pub const MAX_SPAN: Duration = Duration::from_secs(24 * 3600);
/// Older events are rejected one by one.
pub const MAX_AGE: Duration = Duration::from_secs(14 * 24 * 3600);
/// Events further in the future are rejected one by one.
pub const MAX_AHEAD: Duration = Duration::from_secs(2 * 3600);

/// Why an event can't be put at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Beyond [`MAX_MESSAGE_BYTES`].
    Oversize,
    /// A message needs one character at least.
    Empty,
    TooOld,
    TooNew,
    /// Older than the group's retention, said the service.
    Expired,
    /// The service refused it alone and did not say why in a form we know.
    Invalid,
    /// It was never an event: the record could not be decoded.
    Undecodable,
    /// The destination's template could not be filled.
    NoDestination,
}

impl Refusal {
    /// The word that stands in the dead letter and on the metric.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Oversize => "oversize",
            Self::Empty => "empty",
            Self::TooOld => "too_old",
            Self::TooNew => "too_new",
            Self::Expired => "expired",
            Self::Invalid => "invalid",
            Self::Undecodable => "undecodable",
            Self::NoDestination => "no_destination",
        }
    }

    pub const ALL: [Refusal; 8] = [
        Self::Oversize,
        Self::Empty,
        Self::TooOld,
        Self::TooNew,
        Self::Expired,
        Self::Invalid,
        Self::Undecodable,
        Self::NoDestination,
    ];
}

/// Whether the service would take this event by itself, as far as can be known before asking.
pub fn admit(event: &LogEvent, now: Timestamp) -> Result<(), Refusal> {
    if event.message.is_empty() {
        Err(Refusal::Empty)
    } else if event.message.len() > MAX_MESSAGE_BYTES {
        Err(Refusal::Oversize)
    } else if event.timestamp < now.minus(MAX_AGE) || event.timestamp.millis() < 0 {
        Err(Refusal::TooOld)
    } else if event.timestamp > now.plus(MAX_AHEAD) {
        Err(Refusal::TooNew)
    } else {
        Ok(())
    }
}

/// What a batch of these events counts for: as PutLogEvents limits it, and as it is billed.
pub fn bytes(events: &[LogEvent]) -> usize {
    events.iter().map(|e| e.message.len() + EVENT_OVERHEAD).sum()
}

/// How many events from the front of the queue make the next batch, in arrival order. Not zero, unless
/// the queue is empty: each event was admitted alone.
pub fn cut<'a>(queue: impl IntoIterator<Item = &'a LogEvent>) -> usize {
    let mut bytes = 0;
    let mut count = 0;
    let mut span: Option<(Timestamp, Timestamp)> = None;
    for event in queue {
        bytes += event.message.len() + EVENT_OVERHEAD;
        let (first, last) = span.map_or((event.timestamp, event.timestamp), |(first, last)| {
            (first.min(event.timestamp), last.max(event.timestamp))
        });
        let full = bytes > MAX_BATCH_BYTES || count == MAX_BATCH_EVENTS || last.since(first) > MAX_SPAN;
        if full && count > 0 {
            break;
        }
        span = Some((first, last));
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(millis: i64, len: usize) -> LogEvent {
        LogEvent {
            timestamp: Timestamp::from_millis(millis),
            message: "x".repeat(len),
        }
    }

    #[test]
    fn a_batch_is_cut_exactly_at_each_limit() {
        let day = 24 * 3600 * 1000;
        let cases: [(&str, Vec<LogEvent>, usize); 8] = [
            ("empty queue", vec![], 0),
            (
                "one of the largest size",
                vec![event(0, MAX_MESSAGE_BYTES), event(0, 1)],
                1,
            ),
            (
                "two that fill it to the byte",
                vec![
                    event(0, MAX_MESSAGE_BYTES / 2 - 13),
                    event(0, MAX_MESSAGE_BYTES / 2 - 13),
                    event(0, 1),
                ],
                2,
            ),
            (
                "a byte too many",
                vec![
                    event(0, MAX_MESSAGE_BYTES / 2 - 13),
                    event(0, MAX_MESSAGE_BYTES / 2 - 12),
                ],
                1,
            ),
            ("ten thousand", (0..10_001).map(|_| event(0, 1)).collect(), 10_000),
            ("24 hours", vec![event(0, 1), event(day, 1)], 2),
            (
                "24 hours and a millisecond",
                vec![event(0, 1), event(day + 1, 1)],
                1,
            ),
            (
                "24 hours back and a millisecond",
                vec![event(day + 1, 1), event(5, 1), event(0, 1)],
                2,
            ),
        ];
        for (name, queue, expected) in cases {
            assert_eq!(cut(&queue), expected, "{name}");
        }
        assert_eq!(
            2 * (MAX_MESSAGE_BYTES / 2 - 13 + EVENT_OVERHEAD),
            MAX_BATCH_BYTES - 26 + 26
        );
    }

    #[test]
    fn an_event_is_admitted_exactly_up_to_each_limit() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let at = |t: Timestamp, len| admit(&event(t.millis(), len), now);
        let ms = Duration::from_millis(1);
        for (got, want) in [
            (at(now, 1), Ok(())),
            (at(now, 0), Err(Refusal::Empty)),
            (at(now, MAX_MESSAGE_BYTES), Ok(())),
            (at(now, MAX_MESSAGE_BYTES + 1), Err(Refusal::Oversize)),
            (at(now.minus(MAX_AGE), 1), Ok(())),
            (at(now.minus(MAX_AGE).minus(ms), 1), Err(Refusal::TooOld)),
            (at(now.plus(MAX_AHEAD), 1), Ok(())),
            (at(now.plus(MAX_AHEAD).plus(ms), 1), Err(Refusal::TooNew)),
        ] {
            assert_eq!(got, want);
        }
    }

    proptest! {
        #[test]
        fn batches_keep_every_rule_and_lose_nothing(
            sizes in proptest::collection::vec((0i64..3 * 86_400_000, 1usize..400_000), 0..60)
        ) {
            let queue: Vec<LogEvent> = sizes.into_iter().map(|(t, n)| event(t, n)).collect();
            let mut rest = &queue[..];
            while !rest.is_empty() {
                let n = cut(rest);
                prop_assert!(n > 0);
                let batch = &rest[..n];
                let bytes: usize = batch.iter().map(|e| e.message.len() + EVENT_OVERHEAD).sum();
                prop_assert!(bytes <= MAX_BATCH_BYTES && n <= MAX_BATCH_EVENTS);
                let times = batch.iter().map(|e| e.timestamp);
                let (Some(first), Some(last)) = (times.clone().min(), times.max()) else { unreachable!() };
                prop_assert!(last.since(first) <= MAX_SPAN);
                rest = &rest[n..];
            }
        }
    }
}
