//! Rows of the state tables, as JSON and as cells.
//!
//! Pure. Names and values of a lease's JSON are those of its row, in snake case: a checkpoint is KCL's text.

use serde::Serialize;

use crate::lease::item::checkpoint_text;
use crate::lease::{Checkpoint, Lease, WorkerRow};
use crate::operator::{HandedBack, PipelineState, Shown};

/// A lease, as its row has it.
#[derive(Debug, Serialize)]
pub struct LeaseView<'a> {
    lease_key: &'a str,
    /// `null` for a lease with a key of KCL's.
    pipeline: Option<&'a str>,
    shard_id: &'a str,
    stream: Option<&'a str>,
    /// `null` when it is free.
    owner: Option<&'a str>,
    counter: u64,
    /// Digits, TRIM_HORIZON, LATEST, AT_TIMESTAMP or SHARD_END.
    checkpoint: String,
    /// Beside AT_TIMESTAMP: the time, in RFC 3339.
    start_timestamp: Option<String>,
    sub_sequence_number: u64,
    parents: Vec<&'a str>,
    children: Vec<&'a str>,
    owner_switches: u64,
}

impl<'a> LeaseView<'a> {
    pub fn of(lease: &'a Lease, pipeline: Option<&'a str>) -> Self {
        Self {
            lease_key: lease.key.as_str(),
            pipeline,
            shard_id: lease.shard.as_str(),
            stream: lease.stream.as_ref().map(|s| s.as_str()),
            owner: lease.owner.as_ref().map(|o| o.as_str()),
            counter: lease.counter,
            checkpoint: checkpoint_text(&lease.checkpoint).to_owned(),
            start_timestamp: match lease.checkpoint {
                Checkpoint::AtTimestamp(time) => Some(time.to_string()),
                _ => None,
            },
            sub_sequence_number: match lease.checkpoint {
                Checkpoint::At(_, sub) => sub,
                _ => 0,
            },
            parents: lease.parents.iter().map(|s| s.as_str()).collect(),
            children: lease.children.iter().map(|s| s.as_str()).collect(),
            owner_switches: lease.owner_switches,
        }
    }
}

/// A lease before and after a command.
#[derive(Debug, Serialize)]
pub struct ChangedView<'a> {
    pub lease_key: &'a str,
    pub changed: bool,
    pub before: LeaseView<'a>,
    pub after: LeaseView<'a>,
    pub notes: &'a [String],
}

/// The leases before and after a hand-back.
#[derive(Debug, Serialize)]
pub struct HandedBackView<'a> {
    dry_run: bool,
    leases: Vec<BeforeAfter<'a>>,
    /// Unfinished leases that nobody owned, and that hold nothing of Weir's.
    already_free: usize,
    finished: usize,
    /// What KCL's initial position must be for the leases at AT_TIMESTAMP.
    start_timestamps: Vec<String>,
}

#[derive(Debug, Serialize)]
struct BeforeAfter<'a> {
    lease_key: &'a str,
    before: LeaseView<'a>,
    after: LeaseView<'a>,
}

impl<'a> HandedBackView<'a> {
    pub fn of(handed_back: &'a HandedBack, dry_run: bool) -> Self {
        Self {
            dry_run,
            leases: handed_back
                .leases
                .iter()
                .map(|(before, after)| BeforeAfter {
                    lease_key: before.key.as_str(),
                    before: LeaseView::of(before, None),
                    after: LeaseView {
                        start_timestamp: None,
                        ..LeaseView::of(after, None)
                    },
                })
                .collect(),
            already_free: handed_back.free,
            finished: handed_back.finished,
            start_timestamps: handed_back
                .start_times()
                .iter()
                .map(ToString::to_string)
                .collect(),
        }
    }
}

/// A lease with all around it.
#[derive(Debug, Serialize)]
pub struct ShownView<'a> {
    #[serde(flatten)]
    lease: LeaseView<'a>,
    /// `null` where one look doesn't tell.
    owner_alive: Option<bool>,
    owner_sign: &'a str,
    worker: Option<WorkerView<'a>>,
    parent_leases: Vec<ParentView<'a>>,
}

#[derive(Debug, Serialize)]
struct WorkerView<'a> {
    id: &'a str,
    heartbeat: u64,
    evicted: bool,
    tombstone: bool,
    draining: bool,
    version: &'a str,
    started: String,
    leases_held: u64,
}

#[derive(Debug, Serialize)]
struct ParentView<'a> {
    shard_id: &'a str,
    /// `null` where it has no lease: trimmed, or not leased yet.
    lease: Option<LeaseView<'a>>,
}

impl<'a> ShownView<'a> {
    pub fn of(shown: &'a Shown, pipeline: Option<&'a str>) -> Self {
        Self {
            lease: LeaseView::of(&shown.lease, pipeline),
            owner_alive: shown.alive,
            owner_sign: &shown.sign,
            worker: shown.worker.as_ref().map(WorkerView::of),
            parent_leases: shown
                .parents
                .iter()
                .map(|(shard, lease)| ParentView {
                    shard_id: shard.as_str(),
                    lease: lease.as_ref().map(|lease| LeaseView::of(lease, pipeline)),
                })
                .collect(),
        }
    }
}

impl<'a> WorkerView<'a> {
    fn of(row: &'a WorkerRow) -> Self {
        Self {
            id: row.id.as_str(),
            heartbeat: row.heartbeat,
            evicted: row.evicted,
            tombstone: row.tombstone,
            draining: row.draining,
            version: &row.version,
            started: row.started.to_string(),
            leases_held: row.held.values().sum(),
        }
    }
}

/// A pipeline, as the settings and the tables know it.
#[derive(Debug, Serialize)]
pub struct PipelineView<'a> {
    pipeline: &'a str,
    paused: bool,
    configured: bool,
    unlisted_since: Option<String>,
    leases: usize,
    unfinished: usize,
    owned: usize,
}

impl<'a> PipelineView<'a> {
    pub fn of(state: &'a PipelineState) -> Self {
        Self {
            pipeline: &state.name,
            paused: state.paused,
            configured: state.configured,
            unlisted_since: state.unlisted_since.map(|time| time.to_string()),
            leases: state.leases,
            unfinished: state.unfinished,
            owned: state.owned,
        }
    }
}

/// The owner, counter and checkpoint of a lease.
pub fn cells(lease: &Lease) -> [String; 3] {
    let owner = lease.owner.as_ref().map(ToString::to_string);
    [
        owner.unwrap_or_default(),
        lease.counter.to_string(),
        lease.checkpoint.to_string(),
    ]
}

/// A list in one cell.
pub fn joined<T: ToString>(list: &[T]) -> String {
    let texts: Vec<String> = list.iter().map(ToString::to_string).collect();
    texts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::lease::{LeaseKey, WorkerId};
    use crate::stream::{SequenceNumber, ShardId, StreamArn};

    #[test]
    fn a_leases_json_is_its_row_and_every_field_is_always_there() {
        let mut lease = Lease {
            key: LeaseKey::new("orders/shardId-1"),
            owner: None,
            counter: 7,
            checkpoint: Checkpoint::AtTimestamp(Timestamp::from_millis(1_731_139_939_138)),
            stream: None,
            shard: ShardId::new("shardId-1"),
            parents: vec![ShardId::new("shardId-0")],
            children: vec![],
            owner_switches: 2,
            hash_range: None,
        };
        let json = |lease: &Lease| serde_json::to_value(LeaseView::of(lease, Some("orders"))).unwrap();
        assert_eq!(
            json(&lease),
            serde_json::json!({
                "lease_key": "orders/shardId-1", "pipeline": "orders", "shard_id": "shardId-1", "stream": null,
                "owner": null, "counter": 7, "checkpoint": "AT_TIMESTAMP",
                "start_timestamp": "2024-11-09T08:12:19.138Z", "sub_sequence_number": 0,
                "parents": ["shardId-0"], "children": [], "owner_switches": 2,
            })
        );
        lease.owner = Some(WorkerId::new("w"));
        lease.stream = Some(StreamArn::new("arn"));
        for (checkpoint, text, sub) in [
            (
                Checkpoint::At(SequenceNumber::parse("0012").unwrap(), 3),
                "0012",
                3,
            ),
            (Checkpoint::TrimHorizon, "TRIM_HORIZON", 0),
            (Checkpoint::Latest, "LATEST", 0),
            (Checkpoint::ShardEnd, "SHARD_END", 0),
        ] {
            lease.checkpoint = checkpoint;
            let json = json(&lease);
            assert_eq!(json["checkpoint"], text);
            assert_eq!(json["sub_sequence_number"], sub);
            assert_eq!(json["start_timestamp"], serde_json::Value::Null);
            assert_eq!((&json["owner"], &json["stream"]), (&"w".into(), &"arn".into()));
        }
    }
}
