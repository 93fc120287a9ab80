//! The table of a stopped KCL application, taken over and handed back row by row.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue as V, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType,
    Projection, ProjectionType, ScalarAttributeType,
};
use serde_json::Value;
use weir::aws::Clients;
use weir::clock::SystemClock;
use weir::config::StateTables;
use weir::config::{LeaseKeys, StreamChoice};
use weir::lease::dynamodb::DynamoDbTable;
use weir::lease::keys::{Keys, Reader};
use weir::lease::{Checkpoint, Expected, Lease, LeaseChange, LeaseTable, WorkerId, Written};
use weir::stream::lineage::new_lease;
use weir::stream::{SequenceNumber, Shard, ShardId, StreamArn};

use crate::emulator::{Emulator, Make};

type Row = HashMap<String, V>;

fn row(json: &Value) -> Row {
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let value = |v: &Value| {
        let (kind, value) = v.as_object().unwrap().iter().next().unwrap();
        match kind.as_str() {
            "S" => V::S(text(value)),
            "N" => V::N(text(value)),
            "SS" => V::Ss(value.as_array().unwrap().iter().map(text).collect()),
            other => panic!("an attribute of type {other}"),
        }
    };
    let attributes = json.as_object().unwrap().iter();
    attributes.map(|(name, v)| (name.clone(), value(v))).collect()
}

/// The lease rows of one step of KCL's story.
fn dumped(version: &str, step: &str) -> Vec<Row> {
    let path = format!("{}/tests/golden/kcl/{version}.json", env!("CARGO_MANIFEST_DIR"));
    let steps: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let steps = steps.as_array().unwrap();
    let step = steps.iter().find(|s| s["step"] == step).unwrap();
    step["leases"].as_array().unwrap().iter().map(row).collect()
}

/// A lease table as KCL 3 makes it, with an index that Weir's have not.
async fn kcl_table(clients: &Clients, rows: &[Row]) {
    let attribute = |name: &str| {
        let attribute = AttributeDefinition::builder().attribute_name(name);
        attribute.attribute_type(ScalarAttributeType::S).build().unwrap()
    };
    let key = |name: &str, role: KeyType| {
        let key = KeySchemaElement::builder().attribute_name(name);
        key.key_type(role).build().unwrap()
    };
    let keys_only = Projection::builder().projection_type(ProjectionType::KeysOnly);
    let index = GlobalSecondaryIndex::builder()
        .index_name("LeaseOwnerToLeaseKeyIndex")
        .key_schema(key("leaseOwner", KeyType::Hash))
        .key_schema(key("leaseKey", KeyType::Range))
        .projection(keys_only.build());
    let create = clients.dynamodb.create_table().table_name("app");
    create
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(attribute("leaseKey"))
        .attribute_definitions(attribute("leaseOwner"))
        .key_schema(key("leaseKey", KeyType::Hash))
        .global_secondary_indexes(index.build().unwrap())
        .send()
        .await
        .unwrap();
    for row in rows {
        let put = clients.dynamodb.put_item().table_name("app");
        put.set_item(Some(row.clone())).send().await.unwrap();
    }
}

async fn rows(clients: &Clients) -> HashMap<String, Row> {
    let scan = clients.dynamodb.scan().table_name("app").send().await.unwrap();
    let rows = scan.items.unwrap_or_default().into_iter();
    rows.map(|row| (row["leaseKey"].as_s().unwrap().clone(), row))
        .collect()
}

async fn change(table: &DynamoDbTable, lease: &Lease, change: LeaseChange) -> Lease {
    let expected = Expected {
        owner: lease.owner.clone(),
        counter: lease.counter,
    };
    let written = table.update_lease(&lease.key, &expected, &change).await.unwrap();
    assert_eq!(written, Written::Applied, "{change:?}");
    table.lease(&lease.key).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_stopped_applications_rows_are_taken_over_and_given_back_as_kcls() {
    for (version, step) in [
        ("2.5.8", "08-split-children-running"),
        ("2.5.8", "21-all-stopped"),
        ("3.1.3", "17-w3-join"),
        ("3.1.3", "21-all-stopped"),
    ] {
        let emulator = Emulator::start(Make::Ministack).await;
        let clients = emulator.clients().await;
        kcl_table(&clients, &dumped(version, step)).await;
        let table = DynamoDbTable::new(
            clients.dynamodb.clone(),
            StateTables::of("app"),
            Arc::new(SystemClock),
        );
        table.prepare(&[]).await.unwrap();
        let before = rows(&clients).await;

        let leases = table.leases().await.unwrap();
        assert_eq!(leases.len(), before.len());
        let reader = Reader {
            pipeline: "orders".to_owned(),
            stream: StreamChoice::Table("orders".to_owned()),
            region: None,
        };
        let keys = Keys::of_table(&leases, LeaseKeys::Weir, vec![reader]).unwrap();
        assert_eq!(keys, Keys::KclOneStream("orders".to_owned()));

        let at = Checkpoint::At(
            SequenceNumber::parse("59680440743274942143638514873868329730594028268143247378").unwrap(),
            0,
        );
        let children = [
            ShardId::new("shardId-000000000098"),
            ShardId::new("shardId-000000000099"),
        ];
        let open: Vec<&Lease> = leases
            .iter()
            .filter(|l| l.checkpoint != Checkpoint::ShardEnd)
            .collect();
        for (n, lease) in open.iter().enumerate() {
            let mine = change(&table, lease, LeaseChange::Take(WorkerId::new("weir"))).await;
            let mine = change(&table, &mine, LeaseChange::Checkpoint(at.clone())).await;
            // The last one comes to its end, and its children get leases.
            if n + 1 == open.len() {
                for child in &children {
                    let shard = Shard {
                        id: child.clone(),
                        parents: vec![lease.shard.clone()],
                        closed: false,
                        hash_range: None,
                    };
                    let arn = StreamArn::new(
                        "arn:aws:dynamodb:eu-west-1:000000000000:table/orders/stream/2026-01-01T00:00:00.000",
                    );
                    let key = keys.of("orders", &arn, false, child);
                    let new = keys.row(&new_lease(key, &arn, &shard, Checkpoint::TrimHorizon));
                    assert_eq!(table.create_lease(&new).await.unwrap(), Written::Applied);
                }
                change(&table, &mine, LeaseChange::End(children.to_vec())).await;
            } else {
                change(&table, &mine, LeaseChange::Release).await;
            }
        }

        let after = rows(&clients).await;
        for (key, was) in &before {
            let is = &after[key];
            let Some(n) = open.iter().position(|l| l.key.as_str() == key) else {
                assert_eq!(is, was, "an ended lease is not touched");
                continue;
            };
            let ended = n + 1 == open.len();
            let mut expected = was.clone();
            expected.remove("leaseOwner");
            expected.remove("checkpointOwner");
            let number = |row: &Row, name: &str| row[name].as_n().unwrap().parse::<u64>().unwrap();
            let counter = number(was, "leaseCounter") + 3;
            expected.insert("leaseCounter".to_owned(), V::N(counter.to_string()));
            expected.insert("ownerSwitchesSinceCheckpoint".to_owned(), V::N("0".to_owned()));
            let digits = "59680440743274942143638514873868329730594028268143247378";
            expected.insert("checkpoint".to_owned(), V::S(digits.to_owned()));
            if ended {
                expected.insert("leaseOwner".to_owned(), V::S("weir".to_owned()));
                expected.insert("checkpoint".to_owned(), V::S("SHARD_END".to_owned()));
                let ids = children.iter().map(|c| c.as_str().to_owned()).collect();
                expected.insert("childShardIds".to_owned(), V::Ss(ids));
            }
            assert_eq!(sorted(is), sorted(&expected), "{version} {step} {key}");
        }
        let child = &after[children[0].as_str()];
        let names: BTreeSet<&str> = child.keys().map(String::as_str).collect();
        let kcls = [
            "checkpoint",
            "checkpointSubSequenceNumber",
            "leaseCounter",
            "leaseKey",
            "ownerSwitchesSinceCheckpoint",
            "parentShardId",
        ];
        assert_eq!(
            names,
            BTreeSet::from(kcls),
            "as KCL creates them, but for the hash keys"
        );
    }
}

/// Sets have no order.
fn sorted(row: &Row) -> Row {
    let mut row = row.clone();
    for value in row.values_mut() {
        if let V::Ss(members) = value {
            members.sort();
        }
    }
    row
}

#[tokio::test]
async fn rows_that_are_no_leases_are_passed_over() {
    let emulator = Emulator::start(Make::Ministack).await;
    let clients = emulator.clients().await;
    let s = |text: &str| V::S(text.to_owned());
    // KCL 3.5 can keep all it has in one table.
    let metrics = Row::from([
        ("leaseKey".to_owned(), s("worker-1")),
        ("entityType".to_owned(), s("WORKER_METRIC_STATS")),
        ("lut".to_owned(), V::N("1795296563".to_owned())),
        ("sts".to_owned(), V::M(HashMap::new())),
    ]);
    let state = Row::from([
        ("leaseKey".to_owned(), s("Leader")),
        ("entityType".to_owned(), s("COORDINATOR_STATE")),
        ("ownerName".to_owned(), s("worker-1")),
    ]);
    let mut all = dumped("3.1.3", "21-all-stopped");
    for lease in &mut all {
        lease.insert("entityType".to_owned(), s("LEASE"));
    }
    all.extend([metrics, state]);
    kcl_table(&clients, &all).await;
    let table = DynamoDbTable::new(
        clients.dynamodb.clone(),
        StateTables::of("app"),
        Arc::new(SystemClock),
    );
    table.prepare(&[]).await.unwrap();
    let leases = table.leases().await.unwrap();
    assert_eq!(leases.len(), all.len() - 2);
    let taken = change(&table, &leases[0], LeaseChange::Take(WorkerId::new("weir"))).await;
    change(&table, &taken, LeaseChange::Release).await;
    let after = rows(&clients).await;
    assert_eq!(after.len(), all.len());
    assert_eq!(
        after[leases[0].key.as_str()]["entityType"],
        s("LEASE"),
        "it stays"
    );
}
