//! What a lease is, and the trait a store of leases implements.
//!
//! Owns the nouns and [`LeaseTable`], the raw store: one conditional request each, no retries, no
//! decisions. [`held::Leases`] over it is the only thing that mints a [`held::HeldLease`].

pub mod duty;
pub mod dynamodb;
pub mod fence;
pub mod heartbeat;
pub mod held;
pub mod item;
pub mod keys;
pub mod notes;
pub mod plan;
pub mod share;
pub mod times;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::clock::Timestamp;
use crate::stream::{HashKeyRange, SequenceNumber, ShardId, StreamArn, text_id};

text_id!(
    /// The primary key of a lease. How it is made, [`keys::Keys`] knows.
    LeaseKey
);
text_id!(
    /// One life of one process. Unique, and never used again after a fence (protocol rule 5).
    WorkerId
);

/// How far a shard has been delivered. KCL's `ExtendedSequenceNumber`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checkpoint {
    /// Nothing yet; start at the oldest record.
    TrimHorizon,
    /// Nothing yet; start at the tip. Written by KCL only: Weir resolves LATEST to a time.
    Latest,
    /// Nothing yet; start with the records at or after this time.
    AtTimestamp(Timestamp),
    /// Nothing yet; start at a time that stands in the configuration of the KCL application that wrote this.
    AtUnknownTimestamp,
    /// Everything up to this record, and in an aggregated one up to this sub-record.
    At(SequenceNumber, u64),
    /// Everything; the shard has ended.
    ShardEnd,
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TrimHorizon => f.write_str("TRIM_HORIZON"),
            Self::Latest => f.write_str("LATEST"),
            Self::AtTimestamp(t) => write!(f, "AT_TIMESTAMP {t}"),
            Self::AtUnknownTimestamp => f.write_str("AT_TIMESTAMP"),
            Self::At(s, 0) => write!(f, "{s}"),
            Self::At(s, sub) => write!(f, "{s}:{sub}"),
            Self::ShardEnd => f.write_str("SHARD_END"),
        }
    }
}

/// A row of the lease table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub key: LeaseKey,
    pub owner: Option<WorkerId>,
    /// The fencing token: grows by one at each take, checkpoint and release.
    pub counter: u64,
    pub checkpoint: Checkpoint,
    /// The stream's ARN. Straight from the table it is KCL's `streamName`, where Weir writes the ARN and KCL
    /// other things, or nothing: [`crate::stream::homes::Homes`] puts that right.
    pub stream: Option<StreamArn>,
    pub shard: ShardId,
    pub parents: Vec<ShardId>,
    pub children: Vec<ShardId>,
    /// How often the lease changed hands without a checkpoint.
    pub owner_switches: u64,
    /// The shard's (Kinesis). KCL looks by it for holes in a stream.
    pub hash_range: Option<HashKeyRange>,
}

/// What a conditional write expects to find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    pub owner: Option<WorkerId>,
    pub counter: u64,
}

/// The changes of a lease. Each adds one to the counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseChange {
    /// Become the owner.
    Take(WorkerId),
    /// Move the checkpoint.
    Checkpoint(Checkpoint),
    /// Write `childShardIds` and SHARD_END in one. The children's leases must exist already (KCL rule 6).
    End(Vec<ShardId>),
    /// Remove the owner.
    Release,
    /// Remove the owner and what only Weir reads, `startTimestamp`: the lease is KCL's again. A checkpoint of
    /// AT_TIMESTAMP stays without its time, which KCL keeps in its configuration.
    HandBack,
    /// Put the checkpoint elsewhere, by a person's wish, and remove the owner: its name on a lease that moves
    /// would make it look alive.
    Set(Checkpoint),
}

/// What became of a conditional write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written<T> {
    Applied,
    /// The condition failed; the row as it stands, or `None` if there is none.
    Refused(Option<T>),
}

/// What a live worker says of itself. A row of the fleet table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerRow {
    pub id: WorkerId,
    /// Grows by one at each heartbeat.
    pub heartbeat: u64,
    /// Set by another worker, the certificate of rule 4. Never unset.
    pub evicted: bool,
    /// The worker gave this id up after a fence; the row stays for a while so that nobody re-creates it.
    pub tombstone: bool,
    /// It is handing its leases over.
    pub draining: bool,
    /// The pipelines it runs, and how many leases of each it holds.
    pub held: BTreeMap<String, u64>,
    /// Startable, unfinished leases of each pipeline, as it last counted them (rule 8).
    pub totals: BTreeMap<String, u64>,
    /// As a caretaker: how many rounds of each pipeline it has finished (rule 15).
    pub rounds: BTreeMap<String, u64>,
    /// Of the workers that drain or have notes for it: the heartbeat whose row it has read. A drainer may
    /// hand over to it (rule 12), and what the notes offered is counted in `held`, or was not taken.
    pub saw: BTreeMap<WorkerId, u64>,
    /// Free leases, and who shall take them (rule 7).
    pub notes: Vec<Note>,
    /// The largest lag of the shards it reads, in milliseconds, of each pipeline of which it holds some and knows
    /// it. For people, as `until_trim` is; no decision reads either.
    pub lag: BTreeMap<String, u64>,
    /// The least time until the stream trims an undelivered record of theirs, likewise.
    pub until_trim: BTreeMap<String, u64>,
    /// Its lease duration: who has a longer one is watched for longer. Zero in a row that doesn't say.
    pub lease: Duration,
    pub version: String,
    /// When the process started. For people; no decision reads it.
    pub started: Timestamp,
}

/// The part of a worker's lease duration after which others may take over (protocol rule 1).
pub const TAKEOVER: f64 = 0.85;

impl WorkerRow {
    /// The row of a worker that has just joined and holds nothing.
    pub fn new(id: WorkerId) -> Self {
        Self {
            id,
            heartbeat: 1,
            evicted: false,
            tombstone: false,
            draining: false,
            held: BTreeMap::new(),
            totals: BTreeMap::new(),
            rounds: BTreeMap::new(),
            saw: BTreeMap::new(),
            notes: Vec::new(),
            lag: BTreeMap::new(),
            until_trim: BTreeMap::new(),
            lease: Duration::ZERO,
            version: String::new(),
            started: Timestamp::from_millis(0),
        }
    }

    /// How long this worker is watched by one whose own take-over time is `own`: during a deploy that changes
    /// the lease duration, workers of both are there.
    pub fn takeover(&self, own: Duration) -> Duration {
        own.max(self.lease.mul_f64(TAKEOVER))
    }

    /// It neither left, nor fenced itself, nor was found dead.
    pub fn is_live(&self) -> bool {
        !self.evicted && !self.tombstone
    }
}

/// A lease that may be taken, as the writer of the note last saw it: just released, or a dead worker's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub lease: LeaseKey,
    /// Nobody, or a dead owner.
    pub owner: Option<WorkerId>,
    pub counter: u64,
    /// Who shall take it.
    pub to: WorkerId,
}

/// What a person, or the caretaker, has written down of a pipeline. Most have no such row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipelineRow {
    pub name: String,
    /// Nobody reads it until it is resumed.
    pub paused: bool,
    /// Since when no live worker has run it: its leases go some days later.
    pub unlisted_since: Option<Timestamp>,
}

/// What the fleet knows of one stream of one pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamRow {
    pub pipeline: String,
    pub arn: StreamArn,
    /// Where the stream's first leases start: resolved once, kept for ever.
    pub start: ResolvedStart,
    /// All of the first leases exist.
    pub complete: bool,
}

/// A configured start after LATEST has become a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResolvedStart {
    TrimHorizon,
    At(Timestamp),
}

impl fmt::Display for ResolvedStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TrimHorizon => f.write_str("trim_horizon"),
            Self::At(time) => write!(f, "{time}"),
        }
    }
}

impl ResolvedStart {
    pub fn checkpoint(self) -> Checkpoint {
        match self {
            Self::TrimHorizon => Checkpoint::TrimHorizon,
            Self::At(t) => Checkpoint::AtTimestamp(t),
        }
    }
}

/// Records the service trimmed before they were read. Written down so that an auditor finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GapRow {
    pub pipeline: String,
    pub arn: StreamArn,
    pub shard: ShardId,
    /// The last position delivered before the gap, as a checkpoint prints.
    pub after: String,
    /// When it was noticed.
    pub noticed: Timestamp,
    /// In words: why.
    pub reason: String,
}

/// Why a request to the table failed. One variant for each different action of the caller.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// Not applied. Slow down and repeat.
    #[error("throttled: {0}")]
    Throttled(String),
    /// Perhaps applied: repeat with the same condition and look at what is there (rule 13).
    #[error("no answer: {0}")]
    Unanswered(String),
    /// Not applied: a 5xx, a refused connection. Repeat.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// Not applied. A person must act: a missing permission, a missing table, a wrong key.
    #[error("{0}")]
    Refused(String),
}

impl TableError {
    /// The class, for a metric's label.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Throttled(_) => "throttled",
            Self::Unanswered(_) => "unanswered",
            Self::Unavailable(_) => "unavailable",
            Self::Refused(_) => "refused",
        }
    }
}

/// Why the state tables can't be used. The process must not start.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Nothing was written.
    #[error("{0}")]
    Unusable(String),
    /// Repeat.
    #[error(transparent)]
    Table(#[from] TableError),
}

/// The two tables of an application: leases, and the fleet's own rows.
///
/// Each method is one request (a scan: one request per page). Reads are strongly consistent. The
/// callers bound each call by a time-out of one second (rule 1); a dropped call may have been applied.
#[async_trait]
pub trait LeaseTable: Send + Sync + 'static {
    /// Creates the tables that are missing, and waits until they can be used. Refuses, before anything
    /// is written, a table that is among `sources` or has another key schema.
    async fn prepare(&self, sources: &[String]) -> Result<(), PrepareError>;

    async fn leases(&self) -> Result<Vec<Lease>, TableError>;
    /// One lease, by its key.
    async fn lease(&self, key: &LeaseKey) -> Result<Option<Lease>, TableError>;
    /// Refused if the key exists.
    async fn create_lease(&self, lease: &Lease) -> Result<Written<Lease>, TableError>;
    async fn update_lease(
        &self,
        key: &LeaseKey,
        expected: &Expected,
        change: &LeaseChange,
    ) -> Result<Written<Lease>, TableError>;
    async fn delete_lease(&self, key: &LeaseKey, expected: &Expected) -> Result<Written<Lease>, TableError>;

    async fn workers(&self) -> Result<Vec<WorkerRow>, TableError>;
    /// Refused if the id exists, as a tombstone too.
    async fn create_worker(&self, row: &WorkerRow) -> Result<Written<WorkerRow>, TableError>;
    /// Writes `row` where its heartbeat is `row.heartbeat - 1` and it is neither evicted nor a tombstone.
    /// Never creates a row.
    async fn beat(&self, row: &WorkerRow) -> Result<Written<WorkerRow>, TableError>;
    /// Sets `evicted` where the heartbeat is still `heartbeat` and `evicted` is not yet set.
    async fn evict(&self, id: &WorkerId, heartbeat: u64) -> Result<Written<WorkerRow>, TableError>;
    /// Turns an existing row into a tombstone, whatever it holds. Refused if there is no row.
    async fn bury(&self, id: &WorkerId) -> Result<Written<WorkerRow>, TableError>;
    /// Deletes a worker's row where its heartbeat is `heartbeat`.
    async fn delete_worker(&self, id: &WorkerId, heartbeat: u64) -> Result<Written<WorkerRow>, TableError>;

    async fn streams(&self) -> Result<Vec<StreamRow>, TableError>;
    /// Refused if the stream has a row already.
    async fn create_stream(&self, row: &StreamRow) -> Result<Written<StreamRow>, TableError>;
    /// Marks the stream's first leases as all created.
    async fn complete_stream(
        &self,
        pipeline: &str,
        arn: &StreamArn,
    ) -> Result<Written<StreamRow>, TableError>;

    /// Deletes a stream's row. One that is not there is as good.
    async fn delete_stream(&self, pipeline: &str, arn: &StreamArn) -> Result<(), TableError>;

    async fn pipelines(&self) -> Result<Vec<PipelineRow>, TableError>;
    /// Pauses or resumes a pipeline; makes its row if there is none.
    async fn pause_pipeline(&self, name: &str, paused: bool) -> Result<(), TableError>;
    /// Writes down since when nobody runs a pipeline, or that somebody does; makes its row if there is none.
    async fn unlist_pipeline(&self, name: &str, since: Option<Timestamp>) -> Result<(), TableError>;
    /// Deletes a pipeline's row. One that is not there is as good.
    async fn delete_pipeline(&self, name: &str) -> Result<(), TableError>;

    /// Writes a gap down, once: repeating it changes nothing.
    async fn record_gap(&self, gap: &GapRow) -> Result<(), TableError>;
}

/// The store, as its users hold it.
pub type SharedTable = Arc<dyn LeaseTable>;
