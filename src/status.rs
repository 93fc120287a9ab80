//! What Weir tells of itself at `/status` and on its page.
//!
//! Owns the shapes, which [`of`] fills: from the shards' own [`reports`], the metrics' accounts and [`rates`], and what
//! the coordinator knows of the [`fleet`]. [`gauges`] tells of the same on `/metrics`. Whatever is not known is absent (`null`), never zero.

mod assembly;
pub mod fleet;
pub mod gauges;
pub mod rates;
pub mod reports;
pub mod why;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::metrics::account::Account;
use crate::readiness::Report;
pub use assembly::{About, Known, PipelineAbout, of};

/// The answer of `/status`. Times are RFC 3339 in UTC, spans are seconds.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    pub version: &'static str,
    pub application: String,
    /// This worker's id; `null` before its first heartbeat.
    pub worker: Option<String>,
    pub now: String,
    pub started: String,
    #[serde(flatten)]
    pub readiness: Report,
    pub memory: Memory,
    pub pipelines: BTreeMap<String, PipelineStatus>,
    /// The fleet's workers, this one among them, by their ids.
    pub workers: Vec<WorkerStatus>,
}

/// The budget for what is in flight.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Memory {
    pub budget_bytes: u64,
    pub used_bytes: u64,
}

/// One pipeline, as this worker knows it.
#[derive(Clone, Debug, Serialize)]
pub struct PipelineStatus {
    /// `table orders`, `Kinesis stream rds-audit`, or an ARN.
    pub source: String,
    /// The destination as the settings name it: `/cdc/orders {shard_id}`.
    pub destination: String,
    pub paused: bool,
    /// Who takes care of its shards; `null`: not known yet.
    pub caretaker: Option<String>,
    /// What became of the records that this worker received.
    pub records: Account,
    /// Of this worker, over the last minute.
    pub rates: Rates,
    /// The largest lag of its shards, as far as it is known: this worker's own, and what the others' heartbeats say.
    pub lag_seconds: Option<f64>,
    /// The least time until the stream trims an undelivered record, likewise.
    pub until_trim_seconds: Option<f64>,
    /// The last thing that went wrong, be it mended or not.
    pub last_error: Option<LastError>,
    /// When the leases were read that `shards` is made from; this worker's own shards are as of now.
    pub leases_read: Option<String>,
    /// Unfinished shards and those that ended last, parents before children; no more than a thousand.
    pub shards: Vec<ShardStatus>,
    /// Shards that are not listed above.
    pub shards_omitted: usize,
}

/// A second, over the last minute or as long as the process runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Rates {
    pub received: f64,
    pub delivered: f64,
    pub filtered: f64,
    pub dead_lettered: f64,
    pub received_bytes: f64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LastError {
    pub at: String,
    /// `reading orders/shardId-0001`, `destination /cdc/orders shardId-0001`, …
    pub part: String,
    pub what: String,
}

/// One shard.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShardStatus {
    pub lease_key: String,
    pub shard_id: String,
    /// Its stream; `null` if nobody knows yet (a lease that KCL made).
    pub stream: Option<String>,
    pub parents: Vec<String>,
    pub children: Vec<String>,
    /// `null`: nobody.
    pub owner: Option<String>,
    /// This worker is its owner.
    pub mine: bool,
    /// As `weir leases list` shows it.
    pub checkpoint: String,
    /// The sequence number of the last record read; only of this worker's shards.
    pub position: Option<String>,
    /// Records read and not delivered; only of this worker's shards.
    pub in_flight: Option<u64>,
    pub lag_seconds: Option<f64>,
    pub until_trim_seconds: Option<f64>,
    pub state: ShardState,
    /// In words, what it waits for; `null` where it is read, or has ended.
    pub why: Option<String>,
}

/// What goes on with a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ShardState {
    /// Taken, and not read yet.
    Starting,
    /// Read by this worker; it has more to give.
    Reading,
    /// Read by this worker to its tip, and everything is delivered.
    CaughtUp,
    /// This worker's, and reading failed: it is tried again.
    BackingOff,
    /// This worker's, and what was read waits for the destination.
    HeldByDestination,
    /// This worker's, and it waits for memory of the budget.
    WaitingForMemory,
    /// This worker's, and an event came back that it seems to have written itself.
    Suspected,
    /// This worker's, and about to be given up.
    Draining,
    /// Read by another worker.
    Elsewhere,
    /// A parent is not read to its end.
    WaitingForParent,
    /// Nobody has it; somebody should take it soon.
    Unowned,
    /// Its pipeline is paused.
    Paused,
    /// Read to its end.
    Ended,
}

impl ShardState {
    pub const ALL: [Self; 13] = [
        Self::Starting,
        Self::Reading,
        Self::CaughtUp,
        Self::BackingOff,
        Self::HeldByDestination,
        Self::WaitingForMemory,
        Self::Suspected,
        Self::Draining,
        Self::Elsewhere,
        Self::WaitingForParent,
        Self::Unowned,
        Self::Paused,
        Self::Ended,
    ];
}

/// One worker of the fleet, as its heartbeat tells.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorkerStatus {
    pub id: String,
    /// This process.
    pub me: bool,
    /// `live`, `draining`, `evicted` (found dead) or `gone` (it left, or fenced itself).
    pub state: &'static str,
    pub version: String,
    pub started: String,
    /// Shards held, by pipeline.
    pub held: BTreeMap<String, u64>,
    /// The largest lag in seconds, by pipeline, as of its last heartbeat.
    pub lag_seconds: BTreeMap<String, f64>,
    /// Seconds since its heartbeat was last seen to move.
    pub heartbeat_age_seconds: Option<f64>,
}
