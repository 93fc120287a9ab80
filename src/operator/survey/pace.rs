//! How slowly one who is no worker reads a shard.
//!
//! Pure. A shard has one allowance for all who read it (Kinesis: 5 calls and 2 MB a second; DynamoDB: two readers,
//! one on a global table), and it is the workers' first of all. So a look takes half of it at most, and is the first
//! to go away when the service throttles.

use std::time::Duration;

use crate::stream::{Poll, StreamSource};

/// Between two reads of a shard. Kinesis gives five answers a second of a shard, to all who read it: this takes half.
pub const BUSY: Duration = Duration::from_millis(400);
/// After one that gave nothing.
const IDLE: Duration = Duration::from_secs(1);
/// What came counts so often: of the 2 MB that Kinesis gives a second of a shard this takes half.
const WEIGHT: usize = 2;
/// The waits after a first and a last throttle. A worker repeats within 5 s ([`crate::backoff`]).
const FIRST_THROTTLE: Duration = Duration::from_secs(2);
const LAST_THROTTLE: Duration = Duration::from_secs(30);

/// How long a shard is left to its workers after an answer: never shorter than they wait by the settings.
pub fn rest(source: &dyn StreamSource, settings: Poll, records: usize, bytes: usize) -> Duration {
    let least = Poll {
        busy: settings.busy.max(BUSY),
        idle: settings.idle.max(IDLE),
    };
    source.wait_after(least, records, bytes * WEIGHT).max(BUSY)
}

/// The waits after throttles. Each good answer takes back one step alone, so that a shard that is throttled now and
/// then is read slowly for good.
#[derive(Clone, Debug, Default)]
pub struct Calm {
    level: u32,
}

impl Calm {
    /// The wait after one more throttle: from half to the whole of min(30 s, 2 s · 2ⁿ).
    pub fn throttled(&mut self, rng: &mut fastrand::Rng) -> Duration {
        let ceiling = FIRST_THROTTLE
            .saturating_mul(1 << self.level.min(8))
            .min(LAST_THROTTLE);
        self.level = (self.level + 1).min(8);
        ceiling.mul_f64(0.5 + rng.f64() / 2.0)
    }

    pub fn went_well(&mut self) {
        self.level = self.level.saturating_sub(1);
    }

    /// Whether it is the first throttle for a while.
    pub fn is_calm(&self) -> bool {
        self.level == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throttles_are_waited_out_longer_and_longer_and_forgotten_step_by_step() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut calm = Calm::default();
        for ceiling in [2, 4, 8, 16, 30, 30, 30, 30, 30] {
            let ceiling = Duration::from_secs(ceiling);
            let wait = calm.throttled(&mut rng);
            assert!(wait >= ceiling / 2 && wait <= ceiling, "{wait:?} of {ceiling:?}");
        }
        calm.went_well();
        assert!(
            calm.throttled(&mut rng) >= LAST_THROTTLE / 2,
            "one answer proves little"
        );
        for _ in 0..8 {
            assert!(!calm.is_calm());
            calm.went_well();
        }
        assert!(calm.is_calm() && calm.throttled(&mut rng) <= FIRST_THROTTLE);
    }
}
