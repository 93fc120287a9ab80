//! The life of leases and workers, through the state tables.

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue as V, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use weir::aws::Clients;
use weir::clock::{SystemClock, Timestamp};
use weir::config::{Missing, NewTables, StateTables};
use weir::lease::dynamodb::DynamoDbTable;
use weir::lease::{
    Checkpoint, Expected, GapRow, Lease, LeaseChange, LeaseKey, LeaseTable, Note, PipelineRow, PrepareError,
    ResolvedStart, StreamRow, WorkerId, WorkerRow, Written,
};
use weir::stream::{SequenceNumber, ShardId, StreamArn};

use crate::emulator::{Emulator, Make};

fn state(clients: &Clients) -> DynamoDbTable {
    table(clients, StateTables::of("app"))
}

fn table(clients: &Clients, tables: StateTables) -> DynamoDbTable {
    DynamoDbTable::new(clients.dynamodb.clone(), tables, Arc::new(SystemClock))
}

pub async fn prepared(emulator: &Emulator) -> (Clients, DynamoDbTable) {
    let clients = emulator.clients().await;
    let table = state(&clients);
    table.prepare(&[]).await.unwrap();
    (clients, table)
}

fn arn() -> StreamArn {
    StreamArn::new("arn:aws:dynamodb:eu-west-1:000000000000:table/orders/stream/1")
}

fn lease() -> Lease {
    let shard = ShardId::new("shardId-1");
    Lease {
        key: LeaseKey::new(format!("orders/{shard}")),
        owner: None,
        counter: 0,
        checkpoint: Checkpoint::AtTimestamp(Timestamp::from_millis(1_700_000_000_000)),
        stream: Some(arn()),
        shard,
        parents: vec![ShardId::new("shardId-0")],
        children: vec![],
        owner_switches: 0,
        hash_range: None,
    }
}

pub fn expected(lease: &Lease) -> Expected {
    Expected {
        owner: lease.owner.clone(),
        counter: lease.counter,
    }
}

#[tokio::test]
async fn a_lease_lives_from_its_creation_to_its_deletion() {
    for make in [Make::Ministack, Make::Moto] {
        let emulator = Emulator::start(make).await;
        let (_, table) = prepared(&emulator).await;
        let mut lease = lease();
        assert_eq!(table.create_lease(&lease).await.unwrap(), Written::Applied);
        assert_eq!(
            table.create_lease(&lease).await.unwrap(),
            Written::Refused(Some(lease.clone())),
            "{make:?}"
        );

        let at = Checkpoint::At(SequenceNumber::parse("100000000000000000000499659").unwrap(), 2);
        let later = Checkpoint::AtTimestamp(Timestamp::from_millis(1_700_000_001_000));
        let children = vec![ShardId::new("shardId-2"), ShardId::new("shardId-3")];
        let me = WorkerId::new("me");
        for change in [
            LeaseChange::Take(me.clone()),
            LeaseChange::Checkpoint(later.clone()),
            LeaseChange::Checkpoint(at.clone()),
            LeaseChange::Release,
            LeaseChange::Take(me.clone()),
            LeaseChange::Set(later.clone()),
            LeaseChange::Take(me.clone()),
            LeaseChange::End(children.clone()),
        ] {
            let before = expected(&lease);
            assert_eq!(
                table.update_lease(&lease.key, &before, &change).await.unwrap(),
                Written::Applied,
                "{make:?} {change:?}"
            );
            lease.counter += 1;
            match &change {
                LeaseChange::Take(owner) => {
                    lease.owner = Some(owner.clone());
                    lease.owner_switches += 1;
                }
                LeaseChange::Checkpoint(checkpoint) => lease.checkpoint = checkpoint.clone(),
                LeaseChange::End(children) => {
                    lease.checkpoint = Checkpoint::ShardEnd;
                    lease.children.clone_from(children);
                }
                LeaseChange::Release | LeaseChange::HandBack => lease.owner = None,
                LeaseChange::Set(checkpoint) => {
                    lease.checkpoint = checkpoint.clone();
                    lease.owner = None;
                }
            }
            if matches!(
                change,
                LeaseChange::Checkpoint(_) | LeaseChange::Set(_) | LeaseChange::End(_)
            ) {
                lease.owner_switches = 0;
            }
            assert_eq!(
                table.leases().await.unwrap(),
                std::slice::from_ref(&lease),
                "{change:?}"
            );
            // The same again, as after a lost answer: refused, and what is there shows that it was applied.
            assert_eq!(
                table.update_lease(&lease.key, &before, &change).await.unwrap(),
                Written::Refused(Some(lease.clone())),
                "{make:?} {change:?}"
            );
        }

        let stale = Expected {
            owner: Some(me),
            counter: 1,
        };
        assert_eq!(
            table.delete_lease(&lease.key, &stale).await.unwrap(),
            Written::Refused(Some(lease.clone()))
        );
        let now = expected(&lease);
        assert_eq!(
            table.delete_lease(&lease.key, &now).await.unwrap(),
            Written::Applied
        );
        assert_eq!(
            table.delete_lease(&lease.key, &now).await.unwrap(),
            Written::Refused(None)
        );
        assert_eq!(
            table
                .update_lease(&lease.key, &now, &LeaseChange::Release)
                .await
                .unwrap(),
            Written::Refused(None)
        );
        assert!(table.leases().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn of_sixteen_takers_one_wins() {
    let emulator = Emulator::start(Make::Ministack).await;
    let (_, table) = prepared(&emulator).await;
    let table = Arc::new(table);
    let lease = lease();
    table.create_lease(&lease).await.unwrap();
    for round in 0..10 {
        let before = expected(&table.leases().await.unwrap()[0]);
        let takers: Vec<_> = (0..16)
            .map(|n| {
                let (table, key, before) = (table.clone(), lease.key.clone(), before.clone());
                tokio::spawn(async move {
                    let me = WorkerId::new(format!("{round}-{n}"));
                    let change = LeaseChange::Take(me.clone());
                    (me, table.update_lease(&key, &before, &change).await.unwrap())
                })
            })
            .collect();
        let mut winners = Vec::new();
        let mut seen = Vec::new();
        for taker in takers {
            match taker.await.unwrap() {
                (me, Written::Applied) => winners.push(me),
                (_, Written::Refused(row)) => seen.push(row.unwrap().owner.unwrap()),
            }
        }
        assert_eq!(winners.len(), 1, "{winners:?}");
        // Everyone else was shown the winner.
        assert!(seen.len() == 15 && seen.iter().all(|owner| *owner == winners[0]));
    }
}

#[tokio::test]
async fn attributes_of_a_kcl_row_that_weir_does_not_know_survive() {
    let emulator = Emulator::start(Make::Ministack).await;
    let (clients, table) = prepared(&emulator).await;
    let s = |text: &str| V::S(text.to_owned());
    let n = |text: &str| V::N(text.to_owned());
    let row = HashMap::from([
        ("leaseKey".to_owned(), s("shardId-7")),
        ("leaseOwner".to_owned(), s("kcl-worker")),
        ("leaseCounter".to_owned(), n("14")),
        ("checkpoint".to_owned(), s("496804404607")),
        ("checkpointSubSequenceNumber".to_owned(), n("0")),
        ("pendingCheckpoint".to_owned(), s("496804404608")),
        ("checkpointOwner".to_owned(), s("kcl-worker")),
        ("startingHashKey".to_owned(), s("0")),
        ("throughputKBps".to_owned(), n("3.165673")),
    ]);
    clients
        .dynamodb
        .put_item()
        .table_name("app")
        .set_item(Some(row))
        .send()
        .await
        .unwrap();
    let kcl = table.leases().await.unwrap().remove(0);
    assert_eq!((kcl.stream.clone(), kcl.shard.as_str()), (None, "shardId-7"));
    let taken = LeaseChange::Take(WorkerId::new("me"));
    table
        .update_lease(&kcl.key, &expected(&kcl), &taken)
        .await
        .unwrap();
    let mine = table.leases().await.unwrap().remove(0);
    let on = LeaseChange::Checkpoint(Checkpoint::At(SequenceNumber::parse("496804404609").unwrap(), 0));
    let written = table
        .update_lease(&mine.key, &expected(&mine), &on)
        .await
        .unwrap();
    assert_eq!(written, Written::Applied);

    let rows = clients.dynamodb.scan().table_name("app").send().await.unwrap();
    let row = &rows.items()[0];
    assert_eq!(row["throughputKBps"], n("3.165673"));
    assert_eq!(row["startingHashKey"], s("0"));
    assert_eq!(row["checkpoint"], s("496804404609"));
    for gone in ["pendingCheckpoint", "checkpointOwner"] {
        assert!(!row.contains_key(gone), "{gone}");
    }
}

fn worker(id: &str) -> WorkerRow {
    WorkerRow {
        held: [("orders".to_owned(), 3)].into(),
        notes: vec![Note {
            lease: LeaseKey::new("orders/shardId-1"),
            owner: None,
            counter: 7,
            to: WorkerId::new("other"),
        }],
        version: "0.1.0".to_owned(),
        started: Timestamp::from_millis(1_700_000_000_123),
        ..WorkerRow::new(WorkerId::new(id))
    }
}

#[tokio::test]
async fn a_worker_beats_until_it_is_evicted_or_buried() {
    for make in [Make::Ministack, Make::Moto] {
        let emulator = Emulator::start(make).await;
        let (_, table) = prepared(&emulator).await;
        let mut row = worker("a");
        assert!(
            matches!(table.beat(&row).await.unwrap(), Written::Refused(None)),
            "never creates"
        );
        assert_eq!(table.create_worker(&row).await.unwrap(), Written::Applied);
        assert_eq!(
            table.create_worker(&row).await.unwrap(),
            Written::Refused(Some(row.clone()))
        );
        row.heartbeat = 2;
        row.draining = true;
        row.notes.clear();
        assert_eq!(table.beat(&row).await.unwrap(), Written::Applied);
        assert_eq!(
            table.beat(&row).await.unwrap(),
            Written::Refused(Some(row.clone()))
        );
        assert_eq!(
            table.workers().await.unwrap(),
            std::slice::from_ref(&row),
            "{make:?}"
        );

        assert_eq!(
            table.evict(&row.id, 1).await.unwrap(),
            Written::Refused(Some(row.clone())),
            "it beat meanwhile"
        );
        assert_eq!(table.evict(&row.id, 2).await.unwrap(), Written::Applied);
        row.evicted = true;
        assert_eq!(
            table.evict(&row.id, 2).await.unwrap(),
            Written::Refused(Some(row.clone()))
        );
        let mut next = row.clone();
        next.heartbeat = 3;
        assert_eq!(
            table.beat(&next).await.unwrap(),
            Written::Refused(Some(row.clone()))
        );

        assert_eq!(table.bury(&row.id).await.unwrap(), Written::Applied);
        row.tombstone = true;
        assert_eq!(
            table.create_worker(&row).await.unwrap(),
            Written::Refused(Some(row.clone()))
        );
        assert_eq!(
            table.bury(&WorkerId::new("b")).await.unwrap(),
            Written::Refused(None)
        );
        assert!(matches!(
            table.delete_worker(&row.id, 1).await.unwrap(),
            Written::Refused(Some(_))
        ));
        assert_eq!(table.delete_worker(&row.id, 2).await.unwrap(), Written::Applied);
        assert!(table.workers().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn streams_and_gaps_are_written_once() {
    let emulator = Emulator::start(Make::Ministack).await;
    let (clients, table) = prepared(&emulator).await;
    let mut row = StreamRow {
        pipeline: "orders".to_owned(),
        arn: arn(),
        start: ResolvedStart::At(Timestamp::from_millis(1_700_000_000_000)),
        complete: false,
    };
    let complete = || table.complete_stream("orders", &row.arn);
    assert_eq!(complete().await.unwrap(), Written::Refused(None));
    assert_eq!(table.create_stream(&row).await.unwrap(), Written::Applied);
    let other = StreamRow {
        start: ResolvedStart::TrimHorizon,
        ..row.clone()
    };
    assert_eq!(
        table.create_stream(&other).await.unwrap(),
        Written::Refused(Some(row.clone()))
    );
    assert_eq!(complete().await.unwrap(), Written::Applied);
    row.complete = true;
    assert_eq!(table.streams().await.unwrap(), [row]);

    let mut gap = GapRow {
        pipeline: "orders".to_owned(),
        arn: arn(),
        shard: ShardId::new("shardId-1"),
        after: "12".to_owned(),
        noticed: Timestamp::from_millis(1),
        reason: "trimmed".to_owned(),
    };
    table.record_gap(&gap).await.unwrap();
    gap.noticed = Timestamp::from_millis(2);
    table.record_gap(&gap).await.unwrap();
    let rows = clients
        .dynamodb
        .scan()
        .table_name("app-fleet")
        .send()
        .await
        .unwrap();
    let gaps: Vec<_> = rows
        .items()
        .iter()
        .filter(|r| r["kind"] == V::S("gap".to_owned()))
        .collect();
    assert_eq!(gaps.len(), 1);
    assert_eq!(gaps[0]["noticed"], V::N("1".to_owned()), "the first one stays");
}

#[tokio::test]
async fn a_scan_of_many_pages_gives_every_lease() {
    let emulator = Emulator::start(Make::Ministack).await;
    let (_, table) = prepared(&emulator).await;
    // Over the 1 MB that one page holds.
    let parents: Vec<_> = (0..4000)
        .map(|n| ShardId::new(format!("shardId-{n:060}")))
        .collect();
    for n in 0..8 {
        let lease = Lease {
            key: LeaseKey::new(format!("orders/{n}")),
            parents: parents.clone(),
            ..lease()
        };
        assert_eq!(table.create_lease(&lease).await.unwrap(), Written::Applied);
    }
    assert_eq!(table.leases().await.unwrap().len(), 8);
}

#[tokio::test]
async fn a_pipelines_row_is_made_by_whoever_writes_it_first() {
    for make in [Make::Ministack, Make::Moto] {
        let emulator = Emulator::start(make).await;
        let (_, table) = prepared(&emulator).await;
        let mut row = PipelineRow {
            name: "orders".to_owned(),
            paused: true,
            unlisted_since: None,
        };
        table.pause_pipeline("orders", true).await.unwrap();
        assert_eq!(
            table.pipelines().await.unwrap(),
            std::slice::from_ref(&row),
            "{make:?}"
        );
        let since = Timestamp::from_millis(1_700_000_000_000);
        table.unlist_pipeline("orders", Some(since)).await.unwrap();
        row.unlisted_since = Some(since);
        assert_eq!(
            table.pipelines().await.unwrap(),
            std::slice::from_ref(&row),
            "{make:?}"
        );
        table.unlist_pipeline("orders", None).await.unwrap();
        table.pause_pipeline("orders", false).await.unwrap();
        (row.unlisted_since, row.paused) = (None, false);
        assert_eq!(table.pipelines().await.unwrap(), [row], "{make:?}");
        table.delete_pipeline("orders").await.unwrap();
        table.delete_pipeline("orders").await.unwrap();
        assert!(table.pipelines().await.unwrap().is_empty(), "{make:?}");
        table.unlist_pipeline("new", None).await.unwrap();
        assert!(!table.pipelines().await.unwrap()[0].paused, "{make:?}");
    }
}

async fn foreign_table(clients: &Clients, name: &str, key: &str) {
    clients
        .dynamodb
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(
            AttributeDefinition::builder()
                .attribute_name(key)
                .attribute_type(ScalarAttributeType::S)
                .build()
                .unwrap(),
        )
        .key_schema(
            KeySchemaElement::builder()
                .attribute_name(key)
                .key_type(KeyType::Hash)
                .build()
                .unwrap(),
        )
        .send()
        .await
        .unwrap();
}

async fn tables(clients: &Clients) -> Vec<String> {
    let answer = clients.dynamodb.list_tables().send().await.unwrap();
    let mut names = answer.table_names.unwrap_or_default();
    // moto lists them in the order of their creation.
    names.sort();
    names
}

#[tokio::test]
async fn preparing_twice_and_at_once_changes_nothing() {
    let emulator = Emulator::start(Make::Ministack).await;
    let clients = emulator.clients().await;
    let at_once: Vec<_> = (0..4)
        .map(|_| {
            let table = state(&clients);
            tokio::spawn(async move { table.prepare(&["orders".to_owned()]).await })
        })
        .collect();
    for one in at_once {
        one.await.unwrap().unwrap();
    }
    let table = state(&clients);
    table.create_lease(&lease()).await.unwrap();
    table.prepare(&[]).await.unwrap();
    assert_eq!(table.leases().await.unwrap(), [lease()]);
    assert_eq!(tables(&clients).await, ["app", "app-fleet"]);
}

#[tokio::test]
async fn a_table_that_is_not_weirs_is_refused_and_nothing_is_created() {
    for make in [Make::Ministack, Make::Moto] {
        let emulator = Emulator::start(make).await;
        let clients = emulator.clients().await;
        // Even where only the second of the two is wrong.
        foreign_table(&clients, "app-fleet", "pk").await;
        let error = state(&clients).prepare(&[]).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, PrepareError::Unusable(_)), "{text}");
        assert!(
            text.contains("app-fleet") && text.contains("pk (HASH, S)") && text.contains("id (RANGE, S)"),
            "{text}"
        );
        let error = state(&clients).prepare(&["app".to_owned()]).await.unwrap_err();
        assert!(error.to_string().contains("table app is the source"), "{error}");
        assert_eq!(tables(&clients).await, ["app-fleet"], "{make:?}");
    }
}

fn settings() -> NewTables {
    NewTables {
        kms_key: Some("1234abcd-12ab-34cd-56ef-1234567890ab".to_owned()),
        tags: [("team", "cdc"), ("stage", "test")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        point_in_time_recovery: true,
        deletion_protection: true,
    }
}

#[tokio::test]
async fn new_tables_are_made_as_the_settings_say() {
    for make in [Make::Ministack, Make::Moto] {
        let emulator = Emulator::start(make).await;
        let clients = emulator.clients().await;
        let made = StateTables {
            leases: "the-leases".to_owned(),
            fleet: "the-fleet".to_owned(),
            missing: Missing::Create(settings()),
        };
        table(&clients, made.clone()).prepare(&[]).await.unwrap();
        assert_eq!(tables(&clients).await, ["the-fleet", "the-leases"], "{make:?}");
        for name in ["the-leases", "the-fleet"] {
            let described = clients
                .dynamodb
                .describe_table()
                .table_name(name)
                .send()
                .await
                .unwrap();
            let described = described.table().unwrap();
            let key = described.sse_description().unwrap().kms_master_key_arn().unwrap();
            assert!(
                key.ends_with("1234abcd-12ab-34cd-56ef-1234567890ab"),
                "{make:?} {name}: {key}"
            );
            assert_eq!(
                described.deletion_protection_enabled(),
                Some(true),
                "{make:?} {name}"
            );
            let arn = described.table_arn().unwrap();
            let tags = clients
                .dynamodb
                .list_tags_of_resource()
                .resource_arn(arn)
                .send()
                .await
                .unwrap();
            let mut tags: Vec<_> = tags.tags().iter().map(|t| (t.key(), t.value())).collect();
            tags.sort_unstable();
            assert_eq!(tags, [("stage", "test"), ("team", "cdc")], "{make:?} {name}");
            let backups = clients
                .dynamodb
                .describe_continuous_backups()
                .table_name(name)
                .send()
                .await
                .unwrap();
            let recovery = backups
                .continuous_backups_description()
                .and_then(|b| b.point_in_time_recovery_description())
                .and_then(|r| r.point_in_time_recovery_status())
                .unwrap();
            assert_eq!(recovery.as_str(), "ENABLED", "{make:?} {name}");
        }
        // Again, and with other settings: what exists stays as it is.
        table(&clients, made.clone()).prepare(&[]).await.unwrap();
        let other = StateTables {
            missing: Missing::default(),
            ..made
        };
        table(&clients, other).prepare(&[]).await.unwrap();
        assert_eq!(tables(&clients).await.len(), 2, "{make:?}");
    }
}

#[tokio::test]
async fn tables_that_must_exist_are_not_created() {
    for make in [Make::Ministack, Make::Moto] {
        let emulator = Emulator::start(make).await;
        let clients = emulator.clients().await;
        let refusing = || {
            table(
                &clients,
                StateTables {
                    missing: Missing::Refuse,
                    ..StateTables::of("app")
                },
            )
        };
        let error = refusing().prepare(&[]).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, PrepareError::Unusable(_)), "{text}");
        for part in [
            "table app with the key leaseKey (HASH, S)",
            "table app-fleet with the key kind (HASH, S) and id (RANGE, S)",
            "`state.create`",
        ] {
            assert!(text.contains(part), "{text}");
        }
        // One of the two is no better.
        foreign_table(&clients, "app", "leaseKey").await;
        let text = refusing().prepare(&[]).await.unwrap_err().to_string();
        assert!(
            text.contains("app-fleet") && !text.contains("table app with"),
            "{text}"
        );
        assert_eq!(tables(&clients).await, ["app"], "{make:?}");
        state(&clients).prepare(&[]).await.unwrap();
        refusing().prepare(&[]).await.unwrap();
    }
}
