//! What Weir makes of the lease tables that real KCL applications left, step by step through their lives.
#![allow(
    clippy::unwrap_used,
    reason = "a test that can't read its golden files must stop loudly"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;
use weir::clock::Monotonic;
use weir::config::{LeaseKeys, StreamChoice};
use weir::lease::item::{Attr, Item, from_lease, to_lease};
use weir::lease::keys::{Keys, Reader};
use weir::lease::plan::{Observer, Scanned, takeable};
use weir::lease::{Checkpoint, Lease, LeaseKey, WorkerId, WorkerRow};
use weir::stream::homes::Homes;
use weir::stream::lineage::{self, Family, FirstPosition};
use weir::stream::{Shard, ShardId, ShardListing, StreamArn};

const PIPELINE: &str = "orders";

fn arn() -> StreamArn {
    StreamArn::new("arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/2026-01-01T00:00:00.000")
}

struct Step {
    name: String,
    listing: ShardListing,
    rows: Vec<Item>,
}

fn folder() -> String {
    format!("{}/tests/golden/kcl", env!("CARGO_MANIFEST_DIR"))
}

fn item(json: &Value) -> Item {
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let attr = |value: &Value| {
        let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
        match kind.as_str() {
            "S" => Attr::S(text(value)),
            "N" => Attr::N(text(value)),
            "SS" => Attr::Ss(value.as_array().unwrap().iter().map(text).collect()),
            other => panic!("an attribute of type {other}"),
        }
    };
    let row = json.as_object().unwrap().iter();
    row.map(|(name, value)| (name.clone(), attr(value))).collect()
}

fn steps(version: &str) -> Vec<Step> {
    let dump = std::fs::read(format!("{}/{version}.json", folder())).unwrap();
    let dump: Value = serde_json::from_slice(&dump).unwrap();
    let id = |v: &Value| ShardId::new(v.as_str().unwrap());
    let shard = |v: &Value| Shard {
        id: id(&v["id"]),
        parents: v["parents"].as_array().unwrap().iter().map(id).collect(),
        closed: v["closed"].as_bool().unwrap(),
        hash_range: None,
    };
    let step = |v: &Value| Step {
        name: format!("{version} {}", v["step"].as_str().unwrap()),
        listing: ShardListing {
            shards: v["shards"].as_array().unwrap().iter().map(shard).collect(),
            disabled: false,
        },
        rows: v["leases"].as_array().unwrap().iter().map(item).collect(),
    };
    dump.as_array().unwrap().iter().map(step).collect()
}

fn every_step() -> Vec<Step> {
    ["2.5.8", "3.1.3"].into_iter().flat_map(steps).collect()
}

/// The leases of a table as the shard sync sees them, and the keys they have.
fn adopted(step: &Step) -> (Keys, lineage::Leases) {
    let mut leases: Vec<Lease> = step
        .rows
        .iter()
        .map(|row| to_lease(row).unwrap().unwrap())
        .collect();
    let reader = Reader {
        pipeline: PIPELINE.to_owned(),
        stream: StreamChoice::Table("orders".to_owned()),
        region: None,
    };
    let keys = Keys::of_table(&leases, LeaseKeys::Weir, vec![reader]).unwrap();
    let homes = Homes::of([(&arn(), [&step.listing])]);
    for lease in &mut leases {
        homes.name(&keys, lease);
        assert_eq!(lease.stream, Some(arn()));
        assert_eq!(keys.pipeline_of(lease), Some(PIPELINE));
    }
    (keys, leases.into_iter().map(|l| (l.key.clone(), l)).collect())
}

fn at(seconds: u64) -> Scanned {
    let at = |millis| Monotonic::from_origin(Duration::from_millis(seconds * 1_000 + millis));
    Scanned {
        started: at(0),
        received: at(10),
    }
}

/// What a worker would take of these.
fn takes(observer: &Observer, startable: &[&Lease]) -> BTreeSet<LeaseKey> {
    let startable = startable.iter().map(|lease| (PIPELINE, *lease));
    let found = takeable(startable, observer);
    found.into_iter().map(|(_, lease, _)| lease.key.clone()).collect()
}

/// A line for each lease, and for each that is to be made: where it is gone on with, and who must be dead first.
fn told(step: &Step) -> String {
    let (keys, mut leases) = adopted(step);
    let made = lineage::missing(
        &keys,
        PIPELINE,
        &arn(),
        false,
        &step.listing,
        &leases,
        FirstPosition::Later,
    );
    let mut observer = Observer::new(
        WorkerId::new("me"),
        Duration::from_millis(8_500),
        Duration::from_secs(20),
    );
    let rows: Vec<Lease> = leases.values().cloned().collect();
    observer.leases(at(0), &rows);
    observer.workers(at(1), vec![WorkerRow::new(WorkerId::new("me"))]);
    let created: BTreeSet<LeaseKey> = made.iter().map(|l| l.key.clone()).collect();
    leases.extend(made.into_iter().map(|l| (l.key.clone(), l)));

    let family = Family::of(leases.values());
    let leased = leases.values().map(|l| &l.shard).collect();
    let passed = lineage::passed(&step.listing, &leased);
    let mut listed = lineage::listed(&step.listing);
    listed.retain(|id| !passed.contains(id));
    let waiting = |l: &Lease| lineage::startable(l, true, false, &family, Some(&listed), &[]).err();
    let startable: Vec<&Lease> = leases.values().filter(|l| waiting(l).is_none()).collect();
    let at_once = takes(&observer, &startable);
    observer.leases(at(30), &rows);
    let later = takes(&observer, &startable);
    assert_eq!(
        later.len(),
        startable.len(),
        "{}: all owners are dead by then",
        step.name
    );

    let number = |id: &ShardId| id.as_str().trim_start_matches("shardId-00000000000").to_owned();
    let mut text = format!("{}\n", step.name);
    for shard in &step.listing.shards {
        let Some(lease) = leases.values().find(|l| l.shard == shard.id) else {
            writeln!(text, "  {} is over", number(&shard.id)).unwrap();
            continue;
        };
        let how = match (&lease.checkpoint, waiting(lease)) {
            (Checkpoint::ShardEnd, _) => "has ended".to_owned(),
            (at @ Checkpoint::At(..), None) => format!("is read after {at}"),
            (at, None) => format!("is read from {at}"),
            (at, Some(lineage::Waiting::Parent(parent))) => {
                format!("waits for {}, then is read from {at}", number(&parent))
            }
            (_, Some(other)) => panic!("{}: {lease:?} {other:?}", step.name),
        };
        let when = match &lease.owner {
            _ if lease.checkpoint == Checkpoint::ShardEnd || waiting(lease).is_some() => String::new(),
            _ if at_once.contains(&lease.key) => ", at once".to_owned(),
            Some(owner) => format!(", when {owner} is dead"),
            None => panic!("{lease:?} is free and not taken"),
        };
        let new = if created.contains(&lease.key) {
            ", a new lease"
        } else {
            ""
        };
        writeln!(text, "  {} {how}{when}{new}", number(&shard.id)).unwrap();
    }
    text
}

#[test]
fn every_table_is_gone_on_with_from_where_it_stood() {
    let told: Vec<String> = every_step().iter().map(told).collect();
    let told = told.join("\n");
    let path = format!("{}/continued.txt", folder());
    if std::env::var("WEIR_GOLDEN").is_ok_and(|v| v == "write") {
        std::fs::write(&path, &told).unwrap();
    }
    assert_eq!(told, std::fs::read_to_string(&path).unwrap());
}

/// A worker of KCL's renews all it owns, ended leases too: between any two steps of the story, each that
/// worked is found alive by what it owns, and no lease of a live one is taken.
#[test]
fn a_worker_that_lived_from_step_to_step_is_found_alive() {
    let mut lived = BTreeMap::<String, u32>::new();
    for version in ["2.5.8", "3.1.3"] {
        for pair in steps(version).windows(2) {
            let [before, after] = pair else { unreachable!() };
            let leases = |step: &Step| -> Vec<Lease> { adopted(step).1.into_values().collect() };
            let (earlier, later) = (leases(before), leases(after));
            let mut observer = Observer::new(
                WorkerId::new("me"),
                Duration::from_millis(8_500),
                Duration::from_secs(20),
            );
            let me = || vec![WorkerRow::new(WorkerId::new("me"))];
            observer.leases(at(0), &earlier);
            observer.workers(at(1), me());
            observer.leases(at(2), &earlier);
            assert_eq!(observer.foreign_alive(), None);
            observer.leases(at(5), &later);
            let moved = |l: &&Lease| {
                earlier
                    .iter()
                    .any(|e| e.key == l.key && e.owner == l.owner && e.counter != l.counter)
            };
            let movers: BTreeSet<&WorkerId> = later
                .iter()
                .filter(moved)
                .filter_map(|l| l.owner.as_ref())
                .collect();
            match observer.foreign_alive() {
                Some(owner) => assert!(movers.contains(owner), "{}", after.name),
                None => assert!(movers.is_empty(), "{}: {movers:?}", after.name),
            }
            for owner in movers {
                *lived.entry(format!("{version} {owner}")).or_default() += 1;
            }
        }
    }
    assert_eq!(lived.len(), 6, "three workers of each version: {lived:?}");
}

/// Weir's new rows have no attribute that KCL's have not, and lack only what comes with Kinesis.
#[test]
fn a_row_of_weirs_has_the_attributes_of_kcls() {
    let mut compared = 0;
    for step in every_step() {
        let (keys, leases) = adopted(&step);
        for row in &step.rows {
            let lease = &leases[&to_lease(row).unwrap().unwrap().key];
            let mut ours = from_lease(&keys.row(lease));
            for kinesis in [
                "startingHashKey",
                "endingHashKey",
                "throughputKBps",
                "checkpointOwner",
            ] {
                ours.extend(row.get(kinesis).map(|v| (kinesis.to_owned(), v.clone())));
            }
            assert_eq!(ours, *row, "{}", step.name);
            compared += 1;
        }
    }
    assert_eq!(compared, 2 * 102);
}
