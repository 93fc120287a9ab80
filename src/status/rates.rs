//! How much went through a pipeline over the last minute.
//!
//! Pure but for [`sample`], the loop that looks at the counters. Owns the samples.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Rates;
use crate::clock::{Clock, Monotonic};
use crate::metrics::Metrics;
use crate::metrics::account::Account;

/// Between two samples.
const EACH: Duration = Duration::from_secs(5);
/// The rates are those of so long.
const OVER: Duration = Duration::from_secs(60);

/// What a pipeline's counters say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub received: u64,
    pub delivered: u64,
    pub filtered: u64,
    pub dead_lettered: u64,
    pub received_bytes: u64,
}

impl Counters {
    pub fn of(metrics: &Metrics, pipeline: &str) -> Self {
        let account = Account::of(metrics, pipeline);
        Self {
            received: account.received,
            delivered: account.delivered,
            filtered: account.filtered.values().sum(),
            dead_lettered: account.dead_lettered.values().sum(),
            received_bytes: metrics.bytes_received.with_label_values(&[pipeline]).get(),
        }
    }
}

type Sample = (Monotonic, BTreeMap<String, Counters>);

/// The samples of the last minute, oldest first, and the last one before it.
#[derive(Debug, Default)]
struct Ring {
    samples: VecDeque<Sample>,
}

impl Ring {
    fn take(&mut self, sample: Sample) {
        let begins = |at: Monotonic| sample.0.since(at) >= OVER;
        // The one kept before the minute is what the minute is counted from.
        while self.samples.get(1).is_some_and(|(at, _)| begins(*at)) {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// A second, from the first sample of the last minute (or of all, while there is no minute yet) until `now`.
    fn rates(&self, pipeline: &str, now: Monotonic, counters: Counters) -> Rates {
        let first = self.samples.iter().find(|(at, _)| now.since(*at) <= OVER + EACH);
        let Some((at, before)) = first else {
            return Rates::default();
        };
        let before = before.get(pipeline).copied().unwrap_or_default();
        let seconds = now.since(*at).as_secs_f64();
        // Under a second the counters of one moment would be told as a rate.
        let rate = |now: u64, then: u64| match seconds {
            short if short < 1.0 => 0.0,
            // No number is more exact than that.
            seconds => (now.saturating_sub(then) as f64 / seconds * 100.0).round() / 100.0,
        };
        Rates {
            received: rate(counters.received, before.received),
            delivered: rate(counters.delivered, before.delivered),
            filtered: rate(counters.filtered, before.filtered),
            dead_lettered: rate(counters.dead_lettered, before.dead_lettered),
            received_bytes: rate(counters.received_bytes, before.received_bytes),
        }
    }
}

/// The samples, shared by who takes them and who tells. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Samples(Arc<Mutex<Ring>>);

impl Samples {
    /// The pipeline's rates, with its counters as of now.
    pub fn rates(&self, pipeline: &str, now: Monotonic, counters: Counters) -> Rates {
        // Nothing panics while it holds this lock; were it so, the samples would still be whole.
        let ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ring.rates(pipeline, now, counters)
    }

    fn take(&self, sample: Sample) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take(sample);
    }
}

/// Looks at the counters each five seconds, as long as it is polled.
pub async fn sample(
    samples: Samples,
    metrics: Metrics,
    pipelines: Vec<String>,
    clock: Arc<dyn Clock>,
) -> Infallible {
    loop {
        let each = pipelines
            .iter()
            .map(|name| (name.clone(), Counters::of(&metrics, name)));
        samples.take((clock.now(), each.collect()));
        clock.sleep(EACH).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_secs(seconds))
    }

    fn counters(received: u64) -> Counters {
        Counters {
            received,
            received_bytes: received * 1_000,
            ..Counters::default()
        }
    }

    #[test]
    fn a_rate_is_that_of_the_last_minute_or_of_the_life_so_far() {
        // Ten a second for a minute, nothing for the next, and a burst.
        let total = |second: u64| match second {
            0..60 => second * 10,
            60..130 => 600,
            _ => 600 + (second - 130) * 100,
        };
        let mut ring = Ring::default();
        let mut told = Vec::new();
        for second in 0..150 {
            if second % 5 == 0 {
                ring.take((at(second), [("p".to_owned(), counters(total(second)))].into()));
            }
            if [0, 3, 30, 60, 90, 125, 140].contains(&second) {
                let rates = ring.rates("p", at(second), counters(total(second)));
                let off = rates.received_bytes - rates.received * 1_000.0;
                assert!(off.abs() <= 5.0, "a thousand bytes each, at {second}: {off}");
                told.push((second, rates.received));
            }
        }
        // After half a minute of nothing it is the half of ten; at 140 ten seconds of a hundred, in sixty.
        assert_eq!(
            told,
            [
                (0, 0.0),
                (3, 10.0),
                (30, 10.0),
                (60, 10.0),
                (90, 5.0),
                (125, 0.0),
                (140, 16.67)
            ]
        );
        assert!(
            ring.samples.len() <= 15,
            "{} samples are kept",
            ring.samples.len()
        );
    }

    #[test]
    fn who_slept_for_an_hour_tells_no_rate_of_an_hour_ago() {
        let mut ring = Ring::default();
        ring.take((at(0), BTreeMap::new()));
        assert_eq!(ring.rates("p", at(3_600), counters(7)), Rates::default());
    }
}
