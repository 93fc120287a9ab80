//! How long to wait before a repeat.
//!
//! Pure. Full jitter: a wait drawn evenly from zero to a growing ceiling spreads the repeats of many
//! workers best (AWS Architecture Blog, "Exponential Backoff And Jitter").

use std::time::Duration;

const FIRST_CEILING: Duration = Duration::from_millis(100);
const LAST_CEILING: Duration = Duration::from_secs(5);

/// The waits of one series of repeats.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after one more failure: evenly from zero to min(5 s, 100 ms · 2ⁿ).
    pub fn next(&mut self, rng: &mut fastrand::Rng) -> Duration {
        let ceiling = FIRST_CEILING
            .saturating_mul(1 << self.failures.min(10))
            .min(LAST_CEILING);
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(rng.f64())
    }

    /// Call after a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// How many failures in a row there were.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_never_passes_its_ceiling_and_starts_over_after_a_success() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut backoff = Backoff::default();
        for n in 0..100u32 {
            let ceiling = Duration::from_millis(100 * (1 << n.min(10))).min(Duration::from_secs(5));
            assert!(backoff.next(&mut rng) <= ceiling);
        }
        backoff.reset();
        assert!(backoff.next(&mut rng) <= Duration::from_millis(100));
    }
}
