//! The lease table of a KCL application: a stopped one's is gone on with, a live one's is refused.
//!
//! The rows are made by Weir itself with `leases.keys: kcl`, then given to a worker of KCL's by name.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue as V;

use crate::until;
use crate::world::{TABLE, World};
use crate::writers::{Plan, Writers};

const SOME: Plan = Plan {
    keys: 50,
    versions: 2,
    padding: 10,
    over: Duration::ZERO,
};

/// The lease table is the application's.
const LEASES: &str = "weir";

fn config(world: &World, name: &str, keys: &str) -> String {
    let path = world.dir.path().join(format!("{name}.yaml"));
    let text = format!(
        "leases: {{ {keys} foreign_watch: 5s }}\n\
         checkpoint: {{ interval: 1s }}\n\
         pipelines:\n  \
           orders:\n    \
             source: {{ dynamodb_table: {TABLE} }}\n    \
             destination: {{ group: {name} }}\n"
    );
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Writes the row as KCL's worker would.
async fn set(world: &World, changes: &[(&str, V)]) {
    let mut lease = world.lease().await.unwrap();
    for (name, value) in changes {
        lease.insert((*name).to_owned(), value.clone());
    }
    let put = world.dynamodb.put_item().table_name(LEASES);
    put.set_item(Some(lease)).send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_kcls_table_is_gone_on_with_and_a_live_ones_is_refused() {
    let world = World::new().await;
    Writers::start(&world.dynamodb, SOME).done().await;

    // KCL's keys from the start.
    let mut weir = world.run(&["-c", &config(&world, "first", "keys: kcl,")], &[]);
    until("all to be delivered", Duration::from_secs(90), async || {
        weir.must_live();
        weir.delivered().await == SOME.changes() as u64
    })
    .await;
    weir.terminate();
    assert_eq!(weir.ended().await.code(), Some(0));
    let row = world.lease().await.unwrap();
    let mut names: Vec<_> = row.keys().map(String::as_str).collect();
    names.sort_unstable();
    let kcls = [
        "checkpoint",
        "checkpointSubSequenceNumber",
        "leaseCounter",
        "leaseKey",
        "ownerSwitchesSinceCheckpoint",
    ];
    assert_eq!(names, kcls, "as KCL writes it, and nobody's");
    let key = row["leaseKey"].as_s().unwrap().clone();
    assert!(key.starts_with("shardId-"), "{key}");

    // A KCL worker at half of the changes, alive: it renews each second.
    let mut sequences: Vec<u128> = world
        .tally_of("first")
        .await
        .events
        .iter()
        .map(|e| e.sequence)
        .collect();
    sequences.sort_unstable();
    let (half, rest) = sequences.split_at(SOME.changes() / 2);
    // The emulator compares texts, and its numbers begin with zeros.
    let digits = row["checkpoint"].as_s().unwrap().len();
    let half = format!("{:0digits$}", half.last().unwrap());
    let fleet = format!("{LEASES}-fleet");
    world
        .dynamodb
        .delete_table()
        .table_name(fleet)
        .send()
        .await
        .unwrap();
    set(
        &world,
        &[("leaseOwner", V::S("kcl-1".into())), ("checkpoint", V::S(half))],
    )
    .await;
    let config = config(&world, "second", "");
    let mut refused = world.run(&["-c", &config], &[]);
    let mut counter = 1_000;
    while refused.is_running() {
        counter += 1;
        set(&world, &[("leaseCounter", V::N(counter.to_string()))]).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(counter < 1_060, "weir does not refuse");
    }
    assert_eq!(refused.ended().await.code(), Some(1));
    let log = std::fs::read_to_string(world.dir.path().join("weir.log")).unwrap();
    let last = log.lines().last().unwrap();
    for part in ["`kcl-1`", "the table weir", "stop the KCL application"] {
        assert!(last.contains(part), "{last}");
    }
    let row = world.lease().await.unwrap();
    assert_eq!(row["leaseOwner"], V::S("kcl-1".into()));
    assert_eq!(row["leaseCounter"], V::N(counter.to_string()));
    assert!(world.tally_of("second").await.events.is_empty());

    // Stopped, its name still stands on the row.
    let mut weir = world.run(&["-c", &config], &[]);
    until("the rest to be delivered", Duration::from_secs(90), async || {
        weir.must_live();
        weir.delivered().await == rest.len() as u64
    })
    .await;
    weir.terminate();
    assert_eq!(weir.ended().await.code(), Some(0));
    let mut found: Vec<u128> = world
        .tally_of("second")
        .await
        .events
        .iter()
        .map(|e| e.sequence)
        .collect();
    found.sort_unstable();
    assert_eq!(found, rest, "what came after KCL's checkpoint, once");
    assert_eq!(
        world.lease().await.unwrap()["leaseKey"],
        V::S(key),
        "the key is KCL's still"
    );
}
