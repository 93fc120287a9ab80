use std::sync::Arc;

use super::*;
use crate::lease::keys::Keys;
use crate::readiness::Phase;
use crate::status::fleet::PipelineView;
use crate::status::reports::Activity;
use crate::stream::SequenceNumber;
use crate::stream::lineage::Waiting;

const ARN: &str = "arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/2026-01-01T00:00:00.000";
/// 2026-01-01T12:00:00Z.
const NOON: i64 = 1_767_268_800_000;

fn at(seconds: u64) -> Monotonic {
    Monotonic::from_origin(Duration::from_secs(seconds))
}

fn lease(shard: &str, parents: &[&str], owner: Option<&str>, checkpoint: Checkpoint) -> Lease {
    Lease {
        key: LeaseKey::new(format!("orders/{shard}")),
        owner: owner.map(WorkerId::new),
        counter: 3,
        checkpoint,
        stream: Some(StreamArn::new(ARN)),
        shard: ShardId::new(shard),
        parents: parents.iter().map(|id| ShardId::new(*id)).collect(),
        children: Vec::new(),
        owner_switches: 0,
        hash_range: None,
    }
}

fn report(shard: &str, activity: Activity) -> ShardReport {
    ShardReport {
        pipeline: "orders".to_owned(),
        stream: StreamArn::new(ARN),
        shard: ShardId::new(shard),
        activity,
        checkpoint: "700".to_owned(),
        position: Some("742".to_owned()),
        in_flight: 42,
        lag: Some(Duration::from_millis(12_345)),
        until_trim: Some(Duration::from_secs(86_000)),
        reached_tip: true,
        older_by: None,
    }
}

fn row(id: &str, lag: Option<u64>) -> WorkerRow {
    WorkerRow {
        heartbeat: 9,
        held: [("orders".to_owned(), 1)].into(),
        lag: lag
            .map(|millis| ("orders".to_owned(), millis))
            .into_iter()
            .collect(),
        until_trim: lag
            .map(|_| ("orders".to_owned(), 3_600_000))
            .into_iter()
            .collect(),
        version: "0.1.0".to_owned(),
        started: Timestamp::from_millis(NOON - 3_600_000),
        ..WorkerRow::new(WorkerId::new(id))
    }
}

fn scan(leases: Vec<Lease>) -> ScanView {
    ScanView {
        at: at(95),
        wall: Timestamp::from_millis(NOON - 5_000),
        leases: Arc::new(leases),
        judged: ["orders".to_owned()].into(),
        waiting: BTreeMap::new(),
        unread: BTreeMap::new(),
        dead: BTreeSet::new(),
    }
}

fn fleet(rows: Vec<WorkerRow>, scan: Option<ScanView>) -> FleetView {
    let caretaker = rows.first().map(|row| row.id.clone());
    let beats = rows.iter().map(|row| match row.id.as_str() {
        "weir-3" => (row.id.clone(), at(92)),
        _ => (row.id.clone(), at(99)),
    });
    FleetView {
        me: WorkerId::new("weir-1"),
        keys: Keys::Weir,
        beats: beats.collect(),
        rows: Arc::new(rows.into_iter().map(|row| (row.id.clone(), row)).collect()),
        silent_after: Duration::from_secs(6),
        pipelines: [(
            "orders".to_owned(),
            PipelineView {
                paused: false,
                caretaker,
                wanted: Some(2),
            },
        )]
        .into(),
        scan: scan.map(Arc::new),
    }
}

fn about() -> About {
    About {
        application: "cdc".to_owned(),
        started: Timestamp::from_millis(NOON - 60_000),
        memory: 256 << 20,
        pipelines: vec![PipelineAbout {
            name: "orders".to_owned(),
            source: "table orders".to_owned(),
            destination: "/cdc/orders {shard_id}".to_owned(),
        }],
    }
}

fn told(
    shards: &BTreeMap<LeaseKey, ShardReport>,
    troubles: &BTreeMap<String, Trouble>,
    fleet: Option<&FleetView>,
) -> Status {
    let about = about();
    let rates = Rates {
        received: 12.5,
        ..Rates::default()
    };
    let account = Account {
        received: 750,
        delivered: 708,
        in_flight: 42,
        filtered: [("filter", 0)].into(),
        ..Account::default()
    };
    of(&Known {
        about: &about,
        now: at(100),
        wall: Timestamp::from_millis(NOON),
        readiness: Report {
            ready: true,
            phase: Phase::Ready,
            has_started: true,
            draining: false,
            waiting_for: Vec::new(),
            problems: BTreeMap::new(),
        },
        memory_used: 4_096,
        accounts: [("orders".to_owned(), account)].into(),
        rates: [("orders".to_owned(), rates)].into(),
        shards,
        troubles,
        fleet,
    })
}

#[test]
fn the_answer_is_as_the_golden_file() {
    let seven = || Checkpoint::At(SequenceNumber::parse("700").unwrap(), 0);
    let mut seen = scan(vec![
        lease("shardId-01", &[], Some("weir-2"), Checkpoint::ShardEnd),
        lease("shardId-00", &["shardId-01"], Some("weir-1"), seven()),
        lease("shardId-02", &["shardId-01"], Some("weir-2"), seven()),
        lease("shardId-03", &["shardId-02"], None, Checkpoint::TrimHorizon),
        lease("shardId-04", &[], None, Checkpoint::TrimHorizon),
        lease("shardId-05", &[], Some("weir-3"), seven()),
        lease("shardId-06", &[], Some("weir-4"), seven()),
    ]);
    let waiting = Waiting::Parent(ShardId::new("shardId-02"));
    seen.waiting.insert(LeaseKey::new("orders/shardId-03"), waiting);
    seen.unread.insert(LeaseKey::new("orders/shardId-04"), at(35));
    let mut evicted = row("weir-4", Some(999_000));
    evicted.evicted = true;
    let rows = vec![
        row("weir-1", Some(1_000)),
        row("weir-2", Some(2_500)),
        row("weir-3", None),
        evicted,
    ];
    let fleet = fleet(rows, Some(seen));
    let held = Activity::HeldByDestination {
        destination: "/cdc/orders shardId-00".to_owned(),
    };
    let shards = [
        (LeaseKey::new("orders/shardId-00"), report("shardId-00", held)),
        // Taken since the leases were read.
        (
            LeaseKey::new("orders/shardId-07"),
            report("shardId-07", Activity::Reading),
        ),
    ];
    let trouble = Trouble {
        at: Timestamp::from_millis(NOON - 1_000),
        part: "reading orders/shardId-00".to_owned(),
        what: "throttled".to_owned(),
    };
    let status = told(
        &shards.into(),
        &[("orders".to_owned(), trouble)].into(),
        Some(&fleet),
    );
    let text = serde_json::to_string_pretty(&status).unwrap();
    let golden =
        include_str!("../../../tests/golden/status.json").replace("VERSION", env!("CARGO_PKG_VERSION"));
    assert!(text.trim() == golden.trim(), "the answer is now:\n{text}");
}

#[test]
fn what_is_not_known_is_null_and_never_zero() {
    let status = told(&BTreeMap::new(), &BTreeMap::new(), None);
    let text = serde_json::to_value(&status).unwrap();
    assert!(text["worker"].is_null() && text["workers"].as_array().unwrap().is_empty());
    let pipeline = &text["pipelines"]["orders"];
    for key in [
        "caretaker",
        "lag_seconds",
        "until_trim_seconds",
        "last_error",
        "leases_read",
    ] {
        assert!(pipeline[key].is_null(), "{key}: {pipeline}");
    }
}

#[test]
fn the_lag_is_the_largest_that_anybody_knows_or_the_time_for_which_nobody_reads() {
    let mut unread = scan(vec![lease("s", &[], None, Checkpoint::TrimHorizon)]);
    unread.unread.insert(LeaseKey::new("orders/s"), at(35));
    let own = |activity| [(LeaseKey::new("orders/s"), report("s", activity))].into();
    let none = BTreeMap::new();
    let rows = || vec![row("weir-1", Some(77_000)), row("weir-2", Some(2_500))];
    for (name, shards, fleet, lag, until_trim) in [
        ("another's", &none, fleet(rows(), None), Some(2.5), Some(3_600.0)),
        (
            "unread",
            &none,
            fleet(rows(), Some(unread.clone())),
            Some(60.0),
            Some(3_600.0),
        ),
        (
            "own, and taken since",
            &own(Activity::Reading),
            fleet(rows(), Some(unread)),
            Some(12.345),
            Some(3_600.0),
        ),
        (
            "own alone",
            &own(Activity::Reading),
            fleet(vec![], None),
            Some(12.345),
            Some(86_000.0),
        ),
        ("nothing", &none, fleet(vec![], None), None, None),
    ] {
        let status = told(shards, &BTreeMap::new(), Some(&fleet));
        let pipeline = &status.pipelines["orders"];
        assert_eq!(
            (pipeline.lag_seconds, pipeline.until_trim_seconds),
            (lag, until_trim),
            "{name}"
        );
    }
}

#[test]
fn of_too_many_shards_those_stay_that_need_a_look_and_the_newest() {
    let mut leases: Vec<Lease> = (0..1_500)
        .map(|n| {
            lease(
                &format!("shardId-{n:05}"),
                &[],
                Some("weir-2"),
                Checkpoint::ShardEnd,
            )
        })
        .collect();
    // The oldest of all is unread.
    leases[0].checkpoint = Checkpoint::TrimHorizon;
    leases[0].owner = None;
    leases[1].checkpoint = Checkpoint::TrimHorizon;
    leases[1].parents = vec![ShardId::new("shardId-01499")];
    let fleet = fleet(vec![row("weir-1", None), row("weir-2", None)], Some(scan(leases)));
    let status = told(&BTreeMap::new(), &BTreeMap::new(), Some(&fleet));
    let pipeline = &status.pipelines["orders"];
    assert_eq!((pipeline.shards.len(), pipeline.shards_omitted), (1_000, 500));
    let ids: Vec<&str> = pipeline.shards.iter().map(|s| s.shard_id.as_str()).collect();
    assert_eq!(ids[0], "shardId-00000");
    assert_eq!(ids[1], "shardId-00502", "the oldest that have ended are left out");
    assert_eq!(
        ids[998..],
        ["shardId-01499", "shardId-00001"],
        "a child after its parent"
    );
}
