//! The rows of the two state tables, as attributes and back.
//!
//! Pure: no SDK types, no I/O. A lease is written in KCL's row format, so that a stopped KCL application
//! can be taken over and handed back. Used by the table adapter alone.

mod row;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::lease::{
    Checkpoint, GapRow, Lease, LeaseKey, Note, PipelineRow, ResolvedStart, StreamRow, WorkerId, WorkerRow,
};
use crate::stream::{HashKeyRange, SequenceNumber, ShardId, StreamArn};
pub use row::ItemError;
use row::Row;

/// The value of an attribute: those types that the rows use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attr {
    S(String),
    N(String),
    Bool(bool),
    /// A set. Never empty (DynamoDB has no empty sets), sorted, each member once.
    Ss(Vec<String>),
    /// A map of numbers.
    Counts(BTreeMap<String, u64>),
}

/// A row.
pub type Item = BTreeMap<String, Attr>;

/// The names of the lease table's attributes. KCL's, but for `startTimestamp`.
pub mod lease_attr {
    pub const KEY: &str = "leaseKey";
    pub const OWNER: &str = "leaseOwner";
    pub const COUNTER: &str = "leaseCounter";
    pub const CHECKPOINT: &str = "checkpoint";
    pub const SUB_SEQUENCE: &str = "checkpointSubSequenceNumber";
    pub const SWITCHES: &str = "ownerSwitchesSinceCheckpoint";
    pub const PARENTS: &str = "parentShardId";
    pub const CHILDREN: &str = "childShardIds";
    pub const STARTING_HASH: &str = "startingHashKey";
    pub const ENDING_HASH: &str = "endingHashKey";
    pub const STREAM: &str = "streamName";
    pub const SHARD: &str = "shardId";
    /// Milliseconds; beside a checkpoint of AT_TIMESTAMP. KCL keeps that time in its configuration instead.
    pub const START: &str = "startTimestamp";
    /// KCL 3.5 and later: `LEASE`, or another kind of row in the same table. Absent means a lease.
    pub const ENTITY: &str = "entityType";
    /// KCL 3: who still has to checkpoint before a handed-over lease may be read.
    pub const CHECKPOINT_OWNER: &str = "checkpointOwner";
    /// KCL's two-phase checkpoint.
    pub const PENDING: [&str; 3] = [
        "pendingCheckpoint",
        "pendingCheckpointSubSequenceNumber",
        "pendingCheckpointState",
    ];
}

/// The names of the fleet table's attributes.
pub mod fleet_attr {
    pub const KIND: &str = "kind";
    pub const ID: &str = "id";
    pub const HEARTBEAT: &str = "heartbeat";
    pub const EVICTED: &str = "evicted";
    pub const TOMBSTONE: &str = "tombstone";
    pub const DRAINING: &str = "draining";
    pub const HELD: &str = "held";
    pub const TOTALS: &str = "totals";
    pub const ROUNDS: &str = "rounds";
    pub const SAW: &str = "saw";
    pub const NOTES: &str = "notes";
    pub const LAG: &str = "lagMillis";
    pub const UNTIL_TRIM: &str = "untilTrimMillis";
    pub const LEASE: &str = "leaseMillis";
    pub const VERSION: &str = "version";
    pub const STARTED: &str = "started";
    pub const PIPELINE: &str = "pipeline";
    pub const ARN: &str = "streamArn";
    pub const START: &str = "start";
    pub const START_TIMESTAMP: &str = "startTimestamp";
    pub const COMPLETE: &str = "complete";
    pub const SHARD: &str = "shardId";
    pub const AFTER: &str = "after";
    pub const NOTICED: &str = "noticed";
    pub const REASON: &str = "reason";
    pub const PAUSED: &str = "paused";
    pub const UNLISTED_SINCE: &str = "unlistedSince";
}

/// The kinds of rows in the fleet table: its partition keys.
pub mod kind {
    pub const WORKER: &str = "worker";
    pub const STREAM: &str = "stream";
    pub const GAP: &str = "gap";
    pub const PIPELINE: &str = "pipeline";
}

/// A lease as a row.
pub fn from_lease(lease: &Lease) -> Item {
    use lease_attr as attr;
    let mut item = checkpoint_attrs(&lease.checkpoint);
    put(&mut item, attr::KEY, text(lease.key.as_str()));
    put(&mut item, attr::COUNTER, number(lease.counter));
    put(&mut item, attr::SWITCHES, number(lease.owner_switches));
    if let Some(owner) = &lease.owner {
        put(&mut item, attr::OWNER, text(owner.as_str()));
    }
    if let Some(stream) = &lease.stream {
        put(&mut item, attr::STREAM, text(stream.as_str()));
    }
    // A one-stream KCL row has none, and stays as it is.
    if lease.stream.is_some() || shard_in(lease.key.as_str()) != lease.shard.as_str() {
        put(&mut item, attr::SHARD, text(lease.shard.as_str()));
    }
    put_set(
        &mut item,
        attr::PARENTS,
        lease.parents.iter().map(ShardId::as_str),
    );
    put_set(
        &mut item,
        attr::CHILDREN,
        lease.children.iter().map(ShardId::as_str),
    );
    if let Some(range) = &lease.hash_range {
        put(&mut item, attr::STARTING_HASH, text(&range.starting));
        put(&mut item, attr::ENDING_HASH, text(&range.ending));
    }
    item
}

/// A row of the lease table as a lease; `None` for a row of KCL's that is no lease.
pub fn to_lease(item: &Item) -> Result<Option<Lease>, ItemError> {
    use lease_attr as attr;
    let row = Row::of(item, attr::KEY)?;
    if row.text(attr::ENTITY)?.is_some_and(|entity| entity != "LEASE") {
        return Ok(None);
    }
    let shard = row.text(attr::SHARD)?.unwrap_or_else(|| shard_in(row.key));
    Ok(Some(Lease {
        key: LeaseKey::new(row.key),
        owner: row.text(attr::OWNER)?.map(WorkerId::new),
        counter: row.needed(attr::COUNTER, Row::number)?,
        checkpoint: checkpoint(&row)?,
        stream: row.text(attr::STREAM)?.map(StreamArn::new),
        shard: ShardId::new(shard),
        parents: shards(row.set(attr::PARENTS)?),
        children: shards(row.set(attr::CHILDREN)?),
        owner_switches: row.number(attr::SWITCHES)?.unwrap_or(0),
        hash_range: match (row.text(attr::STARTING_HASH)?, row.text(attr::ENDING_HASH)?) {
            (Some(starting), Some(ending)) => Some(HashKeyRange {
                starting: starting.into(),
                ending: ending.into(),
            }),
            _ => None,
        },
    }))
}

/// A checkpoint as KCL's rows have it: digits, TRIM_HORIZON, LATEST, AT_TIMESTAMP or SHARD_END.
pub fn checkpoint_text(checkpoint: &Checkpoint) -> &str {
    match checkpoint {
        Checkpoint::TrimHorizon => "TRIM_HORIZON",
        Checkpoint::Latest => "LATEST",
        Checkpoint::AtTimestamp(_) | Checkpoint::AtUnknownTimestamp => "AT_TIMESTAMP",
        Checkpoint::At(sequence_number, _) => sequence_number.as_str(),
        Checkpoint::ShardEnd => "SHARD_END",
    }
}

/// The attributes that hold a checkpoint.
pub fn checkpoint_attrs(checkpoint: &Checkpoint) -> Item {
    use lease_attr as attr;
    let sub = match checkpoint {
        Checkpoint::At(_, sub) => *sub,
        _ => 0,
    };
    let mut item = Item::new();
    put(&mut item, attr::CHECKPOINT, text(checkpoint_text(checkpoint)));
    put(&mut item, attr::SUB_SEQUENCE, number(sub));
    if let Checkpoint::AtTimestamp(time) = checkpoint {
        put(&mut item, attr::START, number(time.millis()));
    }
    item
}

fn checkpoint(row: &Row<'_>) -> Result<Checkpoint, ItemError> {
    use lease_attr as attr;
    let position = row.needed(attr::CHECKPOINT, Row::text)?;
    Ok(match position {
        "TRIM_HORIZON" => Checkpoint::TrimHorizon,
        "LATEST" => Checkpoint::Latest,
        "SHARD_END" => Checkpoint::ShardEnd,
        "AT_TIMESTAMP" => match row.number(attr::START)? {
            Some(millis) => Checkpoint::AtTimestamp(Timestamp::from_millis(millis)),
            None => Checkpoint::AtUnknownTimestamp,
        },
        digits => match SequenceNumber::parse(digits) {
            Some(sequence_number) => {
                Checkpoint::At(sequence_number, row.number(attr::SUB_SEQUENCE)?.unwrap_or(0))
            }
            None => return Err(row.error(attr::CHECKPOINT, &format!("is {digits:?}, which is no position"))),
        },
    })
}

/// The shard in a lease key: its last part, after the `/` of Weir's keys (`<pipeline>/<shardId>`) and the
/// `:` of KCL's for several streams (`<account>:<stream>:<epoch>:<shardId>`).
fn shard_in(key: &str) -> &str {
    key.rsplit(['/', ':']).next().unwrap_or(key)
}

fn shards(ids: Vec<&str>) -> Vec<ShardId> {
    ids.into_iter().map(ShardId::new).collect()
}

/// A worker as a row.
pub fn from_worker(worker: &WorkerRow) -> Item {
    use fleet_attr as attr;
    let mut item = fleet_row(kind::WORKER, worker.id.as_str().to_owned());
    put(&mut item, attr::HEARTBEAT, number(worker.heartbeat));
    put(&mut item, attr::EVICTED, Attr::Bool(worker.evicted));
    put(&mut item, attr::TOMBSTONE, Attr::Bool(worker.tombstone));
    put(&mut item, attr::DRAINING, Attr::Bool(worker.draining));
    for (name, counts) in [
        (attr::HELD, &worker.held),
        (attr::TOTALS, &worker.totals),
        (attr::ROUNDS, &worker.rounds),
        (attr::LAG, &worker.lag),
        (attr::UNTIL_TRIM, &worker.until_trim),
    ] {
        put(&mut item, name, Attr::Counts(counts.clone()));
    }
    let saw = worker
        .saw
        .iter()
        .map(|(id, beat)| (id.to_string(), *beat))
        .collect();
    put(&mut item, attr::SAW, Attr::Counts(saw));
    let notes: Vec<String> = worker.notes.iter().map(note_text).collect();
    put_set(&mut item, attr::NOTES, notes.iter().map(String::as_str));
    // 584 million years fit.
    put(&mut item, attr::LEASE, number(worker.lease.as_millis() as u64));
    put(&mut item, attr::VERSION, text(&worker.version));
    put(&mut item, attr::STARTED, number(worker.started.millis()));
    item
}

/// A row as a worker.
pub fn to_worker(item: &Item) -> Result<WorkerRow, ItemError> {
    use fleet_attr as attr;
    let row = Row::of(item, attr::ID)?;
    Ok(WorkerRow {
        id: WorkerId::new(row.key),
        heartbeat: row.needed(attr::HEARTBEAT, Row::number)?,
        evicted: row.needed(attr::EVICTED, Row::flag)?,
        tombstone: row.needed(attr::TOMBSTONE, Row::flag)?,
        draining: row.needed(attr::DRAINING, Row::flag)?,
        held: row.counts(attr::HELD)?,
        totals: row.counts(attr::TOTALS)?,
        rounds: row.counts(attr::ROUNDS)?,
        saw: row
            .counts(attr::SAW)?
            .into_iter()
            .map(|(id, beat)| (WorkerId::new(id), beat))
            .collect(),
        notes: row
            .set(attr::NOTES)?
            .into_iter()
            .map(|text| {
                note(text).ok_or_else(|| row.error(attr::NOTES, &format!("holds {text:?}, which is no note")))
            })
            .collect::<Result<_, _>>()?,
        lag: row.counts(attr::LAG)?,
        until_trim: row.counts(attr::UNTIL_TRIM)?,
        lease: Duration::from_millis(row.number(attr::LEASE)?.unwrap_or(0)),
        version: row.needed(attr::VERSION, Row::text)?.to_owned(),
        started: Timestamp::from_millis(row.needed(attr::STARTED, Row::number)?),
    })
}

/// `<lease> <counter> <to> <owner>`, without the last where nobody owns it. Neither lease keys nor Weir's
/// worker ids hold a space; an owner of another make may.
fn note_text(note: &Note) -> String {
    let free = format!("{} {} {}", note.lease, note.counter, note.to);
    match &note.owner {
        Some(owner) => format!("{free} {owner}"),
        None => free,
    }
}

fn note(text: &str) -> Option<Note> {
    let mut parts = text.splitn(4, ' ');
    Some(Note {
        lease: LeaseKey::new(parts.next()?),
        counter: parts.next()?.parse().ok()?,
        to: WorkerId::new(parts.next()?),
        owner: parts.next().map(WorkerId::new),
    })
}

/// What was written down of a pipeline, as a row.
pub fn from_pipeline(pipeline: &PipelineRow) -> Item {
    use fleet_attr as attr;
    let mut item = fleet_row(kind::PIPELINE, pipeline.name.clone());
    put(&mut item, attr::PAUSED, Attr::Bool(pipeline.paused));
    if let Some(since) = pipeline.unlisted_since {
        put(&mut item, attr::UNLISTED_SINCE, number(since.millis()));
    }
    item
}

/// A row as what was written down of a pipeline.
pub fn to_pipeline(item: &Item) -> Result<PipelineRow, ItemError> {
    use fleet_attr as attr;
    let row = Row::of(item, attr::ID)?;
    Ok(PipelineRow {
        name: row.key.to_owned(),
        paused: row.flag(attr::PAUSED)?.unwrap_or(false),
        unlisted_since: row.number(attr::UNLISTED_SINCE)?.map(Timestamp::from_millis),
    })
}

/// The sort key of a stream's row.
pub fn stream_id(pipeline: &str, arn: &StreamArn) -> String {
    format!("{pipeline} {arn}")
}

/// A stream as a row.
pub fn from_stream(stream: &StreamRow) -> Item {
    use fleet_attr as attr;
    let mut item = fleet_row(kind::STREAM, stream_id(&stream.pipeline, &stream.arn));
    put(&mut item, attr::PIPELINE, text(&stream.pipeline));
    put(&mut item, attr::ARN, text(stream.arn.as_str()));
    put(&mut item, attr::COMPLETE, Attr::Bool(stream.complete));
    match stream.start {
        ResolvedStart::TrimHorizon => put(&mut item, attr::START, text("TRIM_HORIZON")),
        ResolvedStart::At(time) => {
            put(&mut item, attr::START, text("AT_TIMESTAMP"));
            put(&mut item, attr::START_TIMESTAMP, number(time.millis()));
        }
    }
    item
}

/// A row as a stream.
pub fn to_stream(item: &Item) -> Result<StreamRow, ItemError> {
    use fleet_attr as attr;
    let row = Row::of(item, attr::ID)?;
    Ok(StreamRow {
        pipeline: row.needed(attr::PIPELINE, Row::text)?.to_owned(),
        arn: StreamArn::new(row.needed(attr::ARN, Row::text)?),
        start: match row.needed(attr::START, Row::text)? {
            "TRIM_HORIZON" => ResolvedStart::TrimHorizon,
            "AT_TIMESTAMP" => ResolvedStart::At(Timestamp::from_millis(
                row.needed(attr::START_TIMESTAMP, Row::number)?,
            )),
            other => return Err(row.error(attr::START, &format!("is {other:?}, which is no start"))),
        },
        complete: row.needed(attr::COMPLETE, Row::flag)?,
    })
}

/// A gap as a row. Its key tells it from every other gap, so that writing one twice changes nothing.
pub fn from_gap(gap: &GapRow) -> Item {
    use fleet_attr as attr;
    let id = format!("{} {} {} {}", gap.pipeline, gap.arn, gap.shard, gap.after);
    let mut item = fleet_row(kind::GAP, id);
    put(&mut item, attr::PIPELINE, text(&gap.pipeline));
    put(&mut item, attr::ARN, text(gap.arn.as_str()));
    put(&mut item, attr::SHARD, text(gap.shard.as_str()));
    put(&mut item, attr::AFTER, text(&gap.after));
    put(&mut item, attr::NOTICED, number(gap.noticed.millis()));
    put(&mut item, attr::REASON, text(&gap.reason));
    item
}

/// A row as a gap.
pub fn to_gap(item: &Item) -> Result<GapRow, ItemError> {
    use fleet_attr as attr;
    let row = Row::of(item, attr::ID)?;
    Ok(GapRow {
        pipeline: row.needed(attr::PIPELINE, Row::text)?.to_owned(),
        arn: StreamArn::new(row.needed(attr::ARN, Row::text)?),
        shard: ShardId::new(row.needed(attr::SHARD, Row::text)?),
        after: row.needed(attr::AFTER, Row::text)?.to_owned(),
        noticed: Timestamp::from_millis(row.needed(attr::NOTICED, Row::number)?),
        reason: row.needed(attr::REASON, Row::text)?.to_owned(),
    })
}

fn fleet_row(kind: &str, id: String) -> Item {
    let mut item = Item::new();
    put(&mut item, fleet_attr::KIND, text(kind));
    put(&mut item, fleet_attr::ID, Attr::S(id));
    item
}

fn put(item: &mut Item, name: &str, value: Attr) {
    item.insert(name.to_owned(), value);
}

fn put_set<'a>(item: &mut Item, name: &str, members: impl Iterator<Item = &'a str>) {
    if let Some(set) = set(members) {
        put(item, name, set);
    }
}

/// A set of strings; `None` for an empty one, which DynamoDB doesn't have.
pub fn set<'a>(members: impl Iterator<Item = &'a str>) -> Option<Attr> {
    let members: BTreeSet<&str> = members.collect();
    (!members.is_empty()).then(|| Attr::Ss(members.into_iter().map(str::to_owned).collect()))
}

fn text(value: &str) -> Attr {
    Attr::S(value.to_owned())
}

fn number(value: impl Into<i128>) -> Attr {
    Attr::N(value.into().to_string())
}

#[cfg(test)]
mod tests;
