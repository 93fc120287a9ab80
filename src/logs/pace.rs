//! When the next put may go, such that so many go in a second.
//!
//! Pure. Places are booked in turn, so that each writer, with its one put at a time, gets its own. What was booked
//! and not used is lost: nobody gets more than the rate for it.

use std::time::Duration;

use crate::clock::Monotonic;

/// So many puts at once are let through after a quiet time: a tenth of a second's.
const BURST: f64 = 0.1;

/// The puts of one account and region.
#[derive(Debug, Default)]
pub struct Pace {
    /// When the place after the last one booked is due by the rate alone.
    next: Option<Monotonic>,
}

impl Pace {
    /// Books the next place, at `per_second` puts a second from now on; more than zero. Tells when it is due.
    pub fn book(&mut self, now: Monotonic, per_second: f64) -> Monotonic {
        let gap = Duration::from_secs_f64(1.0 / per_second);
        let ahead = gap.mul_f64((per_second * BURST - 1.0).max(0.0));
        let next = self.next.map_or(now, |next| next.max(now));
        self.next = Some(next + gap);
        // Up to a burst before its time.
        Monotonic::from_origin(next.since_origin().saturating_sub(ahead)).max(now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_millis(millis))
    }

    #[test]
    fn a_burst_goes_at_once_and_the_rest_at_the_rate() {
        for (rate, burst) in [(4_000.0, 400), (100.0, 10), (10.0, 1), (1.0, 1), (0.25, 1)] {
            let mut pace = Pace::default();
            let due: Vec<Monotonic> = (0..burst + 3).map(|_| pace.book(at(1_000), rate)).collect();
            let gap = Duration::from_secs_f64(1.0 / rate);
            for (i, due) in due.into_iter().enumerate() {
                let waits = (i + 1).saturating_sub(burst);
                let expected = gap * u32::try_from(waits).unwrap();
                let off = due.since(at(1_000)).abs_diff(expected);
                assert!(off < Duration::from_micros(1), "{rate} {i}: {off:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_second_has_more_than_the_rate_and_a_burst_and_places_come_in_turn(
            waits in proptest::collection::vec(0u64..40, 1..400), rate in 1u32..500
        ) {
            let rate = f64::from(rate);
            let mut pace = Pace::default();
            let mut now = 5_000;
            let mut due: Vec<Monotonic> = Vec::new();
            for wait in waits {
                now += wait;
                due.push(pace.book(at(now), rate));
                prop_assert!(due.last() >= Some(&at(now)));
            }
            prop_assert!(due.is_sorted());
            for (i, from) in due.iter().enumerate() {
                let within = due[i..].iter().take_while(|t| t.since(*from) < Duration::from_secs(1)).count();
                prop_assert!(within as f64 <= rate + (rate * BURST).max(1.0) + 1.0, "{within}");
            }
        }
    }
}
