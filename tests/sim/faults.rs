//! What may go wrong with one call, and how often: drawn per seed, from calm to brutal.

use std::time::Duration;

use fastrand::Rng;

/// The three services a worker talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    Streams,
    Table,
    Logs,
}

/// Chances of one call, in 10,000.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rates {
    pub throttled: u32,
    /// Refused before it was applied.
    pub unavailable: u32,
    /// Applied, then the connection broke.
    pub reply_lost: u32,
    /// Never arrived, and the caller is told so late.
    pub request_lost: u32,
    /// No answer at all. Applied, late, in half of the cases.
    pub silent: u32,
    /// Answered after seconds.
    pub slow: u32,
}

/// What becomes of one call.
#[derive(Clone, Debug)]
pub enum Fate {
    Answer {
        out: Duration,
        back: Duration,
    },
    Throttled {
        after: Duration,
    },
    Unavailable {
        after: Duration,
    },
    Denied {
        after: Duration,
    },
    /// Applied after `out`; the caller learns after `after` that it got no answer.
    ReplyLost {
        out: Duration,
        after: Duration,
    },
    RequestLost {
        after: Duration,
    },
    /// The caller never learns anything.
    Silent {
        out: Option<Duration>,
    },
}

impl Fate {
    pub fn is_plain(&self) -> bool {
        matches!(self, Self::Answer { out, back } if *out + *back < Duration::from_millis(200))
    }
}

#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Off: every rate counts as zero. Outages have their own times.
    pub on: bool,
    pub streams: Rates,
    pub table: Rates,
    pub logs: Rates,
    /// In 10,000 reads each.
    pub expired_iterator: u32,
    pub empty_answer: u32,
    /// In 10,000 listings: the newest shards are missing.
    pub torn_listing: u32,
    /// How long a new shard, or a shard's end, may stay out of the listings.
    pub listing_delay: Duration,
    /// How long a request may be under way before it is applied after all.
    pub latest: Duration,
    /// How long a new log group or stream may stay unknown to puts.
    pub creation_delay: Duration,
    /// How long a new event may stay out of what is read back.
    pub visibility_delay: Duration,
}

fn ms(from: u64, to: u64, rng: &mut Rng) -> Duration {
    Duration::from_millis(rng.u64(from..=to))
}

impl Faults {
    pub fn none() -> Self {
        Self::default()
    }

    /// From calm (a quarter of the seeds has no faults of calls at all) to brutal.
    pub fn draw(rng: &mut Rng) -> Self {
        let severity = [0, 0, 20, 60, 150, 150, 400, 800][rng.usize(0..8)];
        let rates = |rng: &mut Rng| {
            // Each service has its own bad days.
            let s = severity * [0, 1, 1, 2][rng.usize(0..4)];
            let mut one = || if s == 0 { 0 } else { rng.u32(0..=s) };
            Rates {
                throttled: one(),
                unavailable: one(),
                reply_lost: one(),
                request_lost: one() / 2,
                silent: one() / 2,
                slow: one(),
            }
        };
        let (streams, table, logs) = (rates(rng), rates(rng), rates(rng));
        let one = |rng: &mut Rng| if severity == 0 { 0 } else { rng.u32(0..=severity) };
        Self {
            on: true,
            streams,
            table,
            logs,
            expired_iterator: one(rng),
            empty_answer: [0, 100, 2000][rng.usize(0..3)],
            torn_listing: [0, 1000, 5000][rng.usize(0..3)],
            listing_delay: Duration::from_secs([0, 2, 20, 90][rng.usize(0..4)]),
            latest: Duration::from_secs([1, 5, 20][rng.usize(0..3)]),
            creation_delay: Duration::from_secs([0, 0, 2][rng.usize(0..3)]),
            visibility_delay: Duration::from_secs([0, 2, 15][rng.usize(0..3)]),
        }
    }

    fn rates(&self, service: Service) -> Rates {
        match service {
            _ if !self.on => Rates::default(),
            Service::Streams => self.streams,
            Service::Table => self.table,
            Service::Logs => self.logs,
        }
    }

    pub fn chance(&self, in_10_000: u32, rng: &mut Rng) -> bool {
        self.on && in_10_000 > 0 && rng.u32(0..10_000) < in_10_000
    }

    /// Draws the fate of one call.
    pub fn fate(&self, service: Service, rng: &mut Rng) -> Fate {
        let rates = self.rates(service);
        let latest = self.latest.as_millis() as u64;
        let mut roll = rng.u32(0..10_000);
        let mut is = |rate: u32| {
            let hit = roll < rate;
            // A miss leaves the rest of the range to the next kind.
            roll = roll.saturating_sub(rate);
            hit
        };
        if is(rates.throttled) {
            Fate::Throttled {
                after: ms(2, 60, rng),
            }
        } else if is(rates.unavailable) {
            Fate::Unavailable {
                after: ms(2, 300, rng),
            }
        } else if is(rates.reply_lost) {
            Fate::ReplyLost {
                out: ms(1, 50, rng),
                after: ms(1, 900, rng),
            }
        } else if is(rates.request_lost) {
            Fate::RequestLost {
                after: ms(50, 2_000, rng),
            }
        } else if is(rates.silent) {
            let out = rng.bool().then(|| ms(1, latest.max(1), rng));
            Fate::Silent { out }
        } else if is(rates.slow) {
            Fate::Answer {
                out: ms(1, 4_000, rng),
                back: ms(1, 4_000, rng),
            }
        } else {
            Fate::Answer {
                out: ms(1, 12, rng),
                back: ms(1, 12, rng),
            }
        }
    }
}
