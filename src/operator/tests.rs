use super::*;
use crate::stream::{SequenceNumber, ShardId};

fn lease(key: &str, owner: Option<&str>, checkpoint: Checkpoint) -> Lease {
    Lease {
        key: LeaseKey::new(key),
        owner: owner.map(WorkerId::new),
        counter: 3,
        checkpoint,
        stream: None,
        shard: ShardId::new("s"),
        parents: vec![],
        children: vec![],
        owner_switches: 0,
        hash_range: None,
    }
}

fn at(digits: &str) -> Checkpoint {
    Checkpoint::At(SequenceNumber::parse(digits).unwrap(), 0)
}

#[test]
fn pipelines_are_those_of_the_settings_and_of_the_tables() {
    let names: BTreeSet<String> = ["a", "b", "c"].map(str::to_owned).into();
    let rows = [PipelineRow {
        name: "b".to_owned(),
        paused: true,
        unlisted_since: Some(Timestamp::from_millis(5)),
    }];
    let leases = [
        lease("b/1", Some("w"), at("1")),
        lease("b/2", None, at("1")),
        lease("b/3", Some("w"), Checkpoint::ShardEnd),
        lease("c/1", None, at("1")),
        lease("shardId-1", Some("kcl"), at("1")),
    ];
    let found = states(&names, &["a".to_owned()], &rows, &leases, &Keys::Weir);
    let brief: Vec<_> = found
        .iter()
        .map(|s| {
            (
                s.name.as_str(),
                s.configured,
                s.paused,
                s.leases,
                s.unfinished,
                s.owned,
            )
        })
        .collect();
    assert_eq!(
        brief,
        [
            ("a", true, false, 0, 0, 0),
            ("b", false, true, 3, 2, 1),
            ("c", false, false, 1, 1, 0)
        ]
    );
    assert_eq!(found[1].unlisted_since, Some(Timestamp::from_millis(5)));
}

#[test]
fn a_position_before_the_streams_start_is_told_of() {
    let start = Timestamp::from_millis(1000);
    let time = |millis| Checkpoint::AtTimestamp(Timestamp::from_millis(millis));
    for (to, told) in [
        (Checkpoint::TrimHorizon, true),
        (time(999), true),
        (time(1000), false),
        (at("5"), false),
        (Checkpoint::ShardEnd, false),
    ] {
        assert_eq!(before_the_start(&to, start).is_some(), told, "{to}");
    }
}

#[test]
fn the_end_of_a_shard_is_told_of_on_both_sides() {
    for (from, to, says) in [
        (at("5"), Checkpoint::ShardEnd, "its children start"),
        (Checkpoint::ShardEnd, at("5"), "its children have delivered"),
        (at("5"), Checkpoint::TrimHorizon, ""),
    ] {
        let told = around(&lease("a/1", None, from), &to).unwrap_or_default();
        assert!(
            told.contains(says) && told.is_empty() == says.is_empty(),
            "{told}"
        );
    }
}

#[test]
fn what_is_weirs_in_a_table_is_handed_back_and_the_rest_left() {
    let time = Checkpoint::AtTimestamp(Timestamp::from_millis(5000));
    let leases = [
        lease("shardId-4", Some("w"), time.clone()),
        lease("shardId-1", Some("w"), at("12")),
        lease("shardId-2", None, at("12")),
        lease("shardId-3", None, time),
        lease("shardId-5", None, Checkpoint::ShardEnd),
        lease("shardId-6", Some("w"), Checkpoint::ShardEnd),
        lease("shardId-7", None, Checkpoint::Latest),
    ];
    let plan = to_hand_back(&leases);
    let keys: Vec<&str> = plan.leases.iter().map(|(lease, _)| lease.key.as_str()).collect();
    assert_eq!(keys, ["shardId-1", "shardId-3", "shardId-4"]);
    assert_eq!((plan.free, plan.finished), (2, 2));
    for (before, after) in &plan.leases {
        assert_eq!((&after.owner, after.counter), (&None, before.counter + 1));
        assert_eq!(after.checkpoint, before.checkpoint);
    }
    assert_eq!(plan.start_times(), [Timestamp::from_millis(5000)].into());
}

#[test]
fn a_key_with_a_slash_is_weirs() {
    for (key, weirs) in [
        ("shardId-000000000000", false),
        ("111122223333:orders:1731139939:shardId-000000000000", false),
        ("orders/shardId-000000000000", true),
        ("orders/2024-11-09T08:12:19.138/shardId-000000000000", true),
    ] {
        assert_eq!(is_weirs_key(&LeaseKey::new(key)), weirs, "{key}");
    }
}

#[test]
fn a_table_is_used_by_live_workers_and_by_owners_of_unfinished_leases() {
    let look = Look {
        started: crate::clock::Monotonic::from_origin(Duration::ZERO),
        received: crate::clock::Monotonic::from_origin(Duration::ZERO),
        leases: vec![
            lease("1", Some("owner"), at("1")),
            lease("2", Some("of-an-ended-one"), Checkpoint::ShardEnd),
            lease("3", None, at("1")),
        ],
        workers: vec![
            WorkerRow::new(WorkerId::new("idle")),
            WorkerRow {
                evicted: true,
                ..WorkerRow::new(WorkerId::new("evicted"))
            },
        ],
    };
    assert_eq!(in_use_by(&look), ["idle", "owner"].map(WorkerId::new).into());
}

#[test]
fn refusals_name_the_key_and_the_way_out() {
    let key = LeaseKey::new("orders/shardId-1");
    for (refusal, parts) in [
        (
            Refusal::NoLease {
                key: key.clone(),
                table: "weir".into(),
                near: Some("orders/shardId-2".into()),
            },
            &[
                "orders/shardId-1",
                "table weir",
                "did you mean `orders/shardId-2`?",
            ][..],
        ),
        (
            Refusal::NoLease {
                key: key.clone(),
                table: "weir".into(),
                near: None,
            },
            &["`weir leases list`"][..],
        ),
        (
            Refusal::NoPipeline {
                name: "x".into(),
                near: None,
                known: vec!["a".into(), "b".into()],
            },
            &["pipeline x", "use one of a, b"][..],
        ),
        (
            Refusal::NoPipeline {
                name: "x".into(),
                near: None,
                known: vec![],
            },
            &["there are none yet"][..],
        ),
        (
            Refusal::Changed {
                key,
                row: Some(Box::new(lease("orders/shardId-1", Some("w"), at("5")))),
            },
            &[
                "orders/shardId-1",
                "owner w, counter 3, checkpoint 5",
                "try again",
            ][..],
        ),
        (
            Refusal::StillOwned {
                pipeline: "orders".into(),
                waited: Duration::from_secs(55),
                owned: (0..7).map(|n| LeaseKey::new(format!("orders/{n}"))).collect(),
            },
            &["after 55 s", "orders/4, and 2 more", "`weir leases release KEY`"][..],
        ),
    ] {
        let text = refusal.to_string();
        for part in parts {
            assert!(text.contains(part), "{text} should contain {part}");
        }
    }
}
