//! What goes on with a shard, and in words why it is not being read.
//!
//! Pure. Owns the judgement; `assembly` gathers the facts.

use std::time::Duration;

use super::ShardState;
use super::reports::{Activity, ShardReport};
use crate::clock::{Monotonic, Timestamp};
use crate::lease::{Checkpoint, Lease, WorkerId};
use crate::stream::lineage::Waiting;

/// What is known of a lease's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner<'a> {
    Nobody,
    Me,
    /// A worker whose heartbeat moves.
    Other(&'a WorkerId),
    /// A worker whose heartbeat was not seen to move for so long, and that nobody has found dead yet.
    Silent(&'a WorkerId, Duration),
    /// Found dead, or it gave its id up.
    Gone(&'a WorkerId),
    /// It has no worker row.
    Stranger(&'a WorkerId),
}

/// What there is to know of one lease.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub lease: &'a Lease,
    pub owner: Owner<'a>,
    /// Of this worker's task, if it has one.
    pub report: Option<&'a ShardReport>,
    /// Why it may not be read; `None`: it may, or it is not known.
    pub waiting: Option<&'a Waiting>,
    pub paused: bool,
    /// Since when it has been seen that it may be read and nobody reads it, and until when.
    pub unread: Option<Duration>,
    pub now: Monotonic,
    pub wall: Timestamp,
}

/// The state, and in words what the shard waits for; no words where it is read, or has ended.
pub fn why(facts: &Facts<'_>) -> (ShardState, Option<String>) {
    if let Some(report) = facts.report {
        return mine(report, facts);
    }
    if facts.lease.checkpoint == Checkpoint::ShardEnd {
        return (ShardState::Ended, None);
    }
    let (state, why) = match (facts.owner, facts.waiting) {
        // Who has it finishes what it has begun, then gives it up.
        (Owner::Other(owner), _) if facts.paused => {
            (ShardState::Paused, format!("{PAUSED}; {owner} is giving it up"))
        }
        (Owner::Other(owner), _) => (ShardState::Elsewhere, format!("read by {owner}")),
        (Owner::Silent(owner, silence), _) => {
            let silence = silence.as_secs();
            let why =
                format!("its owner {owner} has been silent for {silence} s; others take over if it stays so");
            (ShardState::Elsewhere, why)
        }
        (Owner::Stranger(owner), _) => {
            let why = format!(
                "its owner {owner} has no worker row: it has just joined, or it is no worker of Weir's and is \
                 watched until it is known to be dead"
            );
            (ShardState::Elsewhere, why)
        }
        (Owner::Nobody | Owner::Gone(_) | Owner::Me, _) if facts.paused => {
            (ShardState::Paused, PAUSED.to_owned())
        }
        (Owner::Me, _) => (ShardState::Starting, STARTING.to_owned()),
        (Owner::Nobody | Owner::Gone(_), Some(waiting)) => match waits(waiting) {
            None => return (ShardState::Ended, None),
            Some(why) => (ShardState::WaitingForParent, why),
        },
        (Owner::Nobody, None) => (ShardState::Unowned, format!("nobody has it yet{}", unread(facts))),
        (Owner::Gone(owner), None) => {
            let why = format!(
                "its owner {owner} is gone, and nobody has taken it over yet{}",
                unread(facts)
            );
            (ShardState::Unowned, why)
        }
    };
    (state, Some(why))
}

const PAUSED: &str = "paused by `weir pipelines pause`";
const STARTING: &str = "taken, and not read yet";

/// Of a shard that this worker has a task for.
fn mine(report: &ShardReport, facts: &Facts<'_>) -> (ShardState, Option<String>) {
    let (state, why) = match &report.activity {
        Activity::Starting => (ShardState::Starting, STARTING.to_owned()),
        Activity::Reading => return (ShardState::Reading, None),
        Activity::CaughtUp => return (ShardState::CaughtUp, None),
        Activity::BackingOff { until, error } => {
            let until = facts.wall.plus(until.since(facts.now)).floor_second();
            let why = format!("backing off until {}: {error}", seconds(until));
            (ShardState::BackingOff, why)
        }
        Activity::HeldByDestination { destination } => (
            ShardState::HeldByDestination,
            format!("held by destination {destination}"),
        ),
        Activity::WaitingForMemory => (
            ShardState::WaitingForMemory,
            "waiting for memory: the budget is in use".to_owned(),
        ),
        Activity::Suspected { group } => {
            let why =
                format!("an event of {group}, which the pipeline writes to, came back: a loop is suspected");
            (ShardState::Suspected, why)
        }
        Activity::Draining if facts.paused => {
            (ShardState::Draining, format!("{PAUSED}; it is being given up"))
        }
        Activity::Draining => (ShardState::Draining, "being handed over".to_owned()),
    };
    (state, Some(why))
}

/// `None`: for nothing, it has ended.
fn waits(waiting: &Waiting) -> Option<String> {
    Some(match waiting {
        Waiting::Ended => return None,
        Waiting::Parent(parent) => format!("waiting for its parent {parent} to be read to its end"),
        Waiting::ParentWithoutLease(parent) => {
            format!("waiting for its parent {parent}, which has no lease yet: the next shard sync makes it")
        }
        Waiting::EarlierStream(stream) => {
            format!("waiting for the stream before its own, {stream}, to be read to its end")
        }
        Waiting::Listing => "waiting for a listing of the stream that tells of its parents".to_owned(),
        Waiting::Stream => "its stream is none that the pipeline reads, or is not known yet".to_owned(),
    })
}

fn unread(facts: &Facts<'_>) -> String {
    match facts.unread.map(|time| time.as_secs()) {
        None | Some(0) => String::new(),
        Some(seconds) => format!(", for {seconds} s at least"),
    }
}

/// Without the fraction.
fn seconds(time: Timestamp) -> String {
    time.to_string().replace(".000Z", "Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::LeaseKey;
    use crate::stream::{ShardId, StreamArn};

    fn lease(checkpoint: Checkpoint) -> Lease {
        Lease {
            key: LeaseKey::new("orders/b"),
            owner: None,
            counter: 0,
            checkpoint,
            stream: Some(StreamArn::new("arn")),
            shard: ShardId::new("b"),
            parents: vec![ShardId::new("a")],
            children: Vec::new(),
            owner_switches: 0,
            hash_range: None,
        }
    }

    fn report(activity: Activity) -> ShardReport {
        ShardReport {
            pipeline: "orders".to_owned(),
            stream: StreamArn::new("arn"),
            shard: ShardId::new("b"),
            activity,
            checkpoint: "TRIM_HORIZON".to_owned(),
            position: None,
            in_flight: 0,
            lag: None,
            until_trim: None,
            reached_tip: false,
            older_by: None,
        }
    }

    #[test]
    fn every_state_says_what_the_shard_waits_for() {
        let now = Monotonic::from_origin(Duration::from_secs(100));
        let wall = Timestamp::from_millis(1_767_225_600_400);
        let open = lease(Checkpoint::TrimHorizon);
        let ended = lease(Checkpoint::ShardEnd);
        let plain = Facts {
            lease: &open,
            owner: Owner::Nobody,
            report: None,
            waiting: None,
            paused: false,
            unread: None,
            now,
            wall,
        };
        let (w2, w3) = (WorkerId::new("weir-2"), WorkerId::new("weir-3"));
        let parent = Waiting::Parent(ShardId::new("a"));
        let orphan = Waiting::ParentWithoutLease(ShardId::new("a"));
        let earlier = Waiting::EarlierStream(StreamArn::new("arn-1"));
        let cases = [
            (plain, "unowned", "nobody has it yet"),
            (
                Facts {
                    unread: Some(Duration::from_millis(42_900)),
                    ..plain
                },
                "unowned",
                "nobody has it yet, for 42 s at least",
            ),
            (
                Facts {
                    owner: Owner::Gone(&w3),
                    ..plain
                },
                "unowned",
                "its owner weir-3 is gone, and nobody has taken it over yet",
            ),
            (
                Facts {
                    owner: Owner::Other(&w2),
                    ..plain
                },
                "elsewhere",
                "read by weir-2",
            ),
            (
                Facts {
                    owner: Owner::Silent(&w3, Duration::from_secs(7)),
                    ..plain
                },
                "elsewhere",
                "its owner weir-3 has been silent for 7 s; others take over if it stays so",
            ),
            (
                Facts {
                    owner: Owner::Stranger(&w3),
                    ..plain
                },
                "elsewhere",
                "its owner weir-3 has no worker row: it has just joined, or it is no worker of Weir's and is watched \
                 until it is known to be dead",
            ),
            (
                Facts {
                    owner: Owner::Me,
                    ..plain
                },
                "starting",
                "taken, and not read yet",
            ),
            (
                Facts {
                    waiting: Some(&parent),
                    ..plain
                },
                "waiting_for_parent",
                "waiting for its parent a to be read to its end",
            ),
            (
                Facts {
                    waiting: Some(&orphan),
                    ..plain
                },
                "waiting_for_parent",
                "waiting for its parent a, which has no lease yet: the next shard sync makes it",
            ),
            (
                Facts {
                    waiting: Some(&earlier),
                    ..plain
                },
                "waiting_for_parent",
                "waiting for the stream before its own, arn-1, to be read to its end",
            ),
            (
                Facts {
                    waiting: Some(&Waiting::Listing),
                    ..plain
                },
                "waiting_for_parent",
                "waiting for a listing of the stream that tells of its parents",
            ),
            (
                Facts {
                    waiting: Some(&Waiting::Stream),
                    ..plain
                },
                "waiting_for_parent",
                "its stream is none that the pipeline reads, or is not known yet",
            ),
            (
                Facts {
                    paused: true,
                    ..plain
                },
                "paused",
                "paused by `weir pipelines pause`",
            ),
            (
                Facts {
                    paused: true,
                    owner: Owner::Other(&w2),
                    ..plain
                },
                "paused",
                "paused by `weir pipelines pause`; weir-2 is giving it up",
            ),
            (
                Facts {
                    lease: &ended,
                    owner: Owner::Other(&w2),
                    ..plain
                },
                "ended",
                "-",
            ),
            (
                Facts {
                    lease: &ended,
                    paused: true,
                    ..plain
                },
                "ended",
                "-",
            ),
        ];
        let text = |facts: &Facts<'_>| {
            let (state, words) = why(facts);
            let state = serde_json::to_string(&state).unwrap();
            (
                state.trim_matches('"').to_owned(),
                words.unwrap_or("-".to_owned()),
            )
        };
        let mut seen = std::collections::BTreeSet::new();
        for (facts, state, words) in cases {
            assert_eq!(text(&facts), (state.to_owned(), words.to_owned()), "{facts:?}");
            seen.insert(state);
        }
        let activities = [
            (Activity::Starting, "starting", "taken, and not read yet"),
            (Activity::Reading, "reading", "-"),
            (Activity::CaughtUp, "caught_up", "-"),
            (
                Activity::BackingOff {
                    until: now + Duration::from_secs(5),
                    error: "AccessDenied: no".to_owned(),
                },
                "backing_off",
                "backing off until 2026-01-01T00:00:05Z: AccessDenied: no",
            ),
            (
                Activity::HeldByDestination {
                    destination: "/cdc/orders:b (AccessDenied: allow logs:PutLogEvents)".to_owned(),
                },
                "held_by_destination",
                "held by destination /cdc/orders:b (AccessDenied: allow logs:PutLogEvents)",
            ),
            (
                Activity::WaitingForMemory,
                "waiting_for_memory",
                "waiting for memory: the budget is in use",
            ),
            (
                Activity::Suspected {
                    group: "/cdc/orders".to_owned(),
                },
                "suspected",
                "an event of /cdc/orders, which the pipeline writes to, came back: a loop is suspected",
            ),
            (Activity::Draining, "draining", "being handed over"),
        ];
        for (activity, state, words) in activities {
            let report = report(activity);
            // Whatever the last scan showed, a task of one's own is as of now.
            for owner in [Owner::Nobody, Owner::Other(&w2), Owner::Me] {
                let facts = Facts {
                    owner,
                    report: Some(&report),
                    waiting: Some(&parent),
                    ..plain
                };
                assert_eq!(text(&facts), (state.to_owned(), words.to_owned()), "{facts:?}");
            }
            seen.insert(state);
        }
        assert_eq!(seen.len(), ShardState::ALL.len(), "each state is told of");
    }
}
