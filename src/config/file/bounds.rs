//! The bounds of each setting that has a unit. A value outside is a slip far more often than a wish.

use std::ops::RangeInclusive;
use std::time::Duration;

type Durations = RangeInclusive<Duration>;

const fn millis(min: u64, max: u64) -> Durations {
    Duration::from_millis(min)..=Duration::from_millis(max)
}

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// Below 3 s a heartbeat (each 0.36 of it at the latest) with its 1 s of timeout comes too close to the
/// fence (0.8 of it). Beyond 5 min a dead worker's shards wait longer than anyone means them to.
pub const LEASE: Durations = millis(3 * SECOND, 5 * MINUTE);
/// KCL renews a lease about each third of its `failoverTimeMillis`, 10 s by default: a watch below
/// 5 s would call a live worker dead.
pub const FOREIGN_WATCH: Durations = millis(5 * SECOND, HOUR);
/// Counted by the calendars of several machines: below a day, one that is wrong by hours would matter.
pub const KEEP_REMOVED: Durations = millis(24 * HOUR, 90 * 24 * HOUR);
/// Each is a write per moving shard; at most this much is repeated after a crash.
pub const CHECKPOINT: Durations = millis(SECOND, 10 * MINUTE);
/// ECS on Fargate grants 2 min between SIGTERM and SIGKILL at most; Kubernetes what it is told.
pub const DRAIN: Durations = millis(SECOND, HOUR);
/// The least drain and what follows it ([`super::super::check::AFTER_DRAIN`]), to the longest drain with room to spare.
pub const GRACE: Durations = millis(6 * SECOND, 2 * HOUR);
/// DescribeStream is limited to 10 a second per stream; a shard rolls over about each 4 h.
pub const SYNC: Durations = millis(SECOND, HOUR);
/// A shard iterator lives for 15 min (API reference of GetShardIterator); one read a minute is far off.
pub const POLL_BUSY: Durations = millis(0, MINUTE);
/// Ten reads a second of an idle shard are the most that is of use; Lambda makes four.
pub const POLL_IDLE: Durations = millis(100, MINUTE);
/// One answer of GetRecords is up to 1 MB; below 16 MiB a few shards would already wait for each other.
pub const MEMORY: RangeInclusive<usize> = (16 << 20)..=(64 << 30);
/// The least where a Kinesis stream is read: one record has up to 10 MiB. Its answer takes 24 (JSON in base64, and the
/// bytes), its event three times 10 (the message, and what is made of it for a put).
pub const KINESIS_MEMORY: usize = 56 << 20;
