//! The operator's commands, on the state tables of an emulator.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue as V;
use weir::clock::{SystemClock, Timestamp};
use weir::lease::keys::Keys;
use weir::lease::{
    Checkpoint, Expected, Lease, LeaseChange, LeaseKey, ResolvedStart, SharedTable, StreamRow, WorkerId,
    WorkerRow, Written,
};
use weir::operator::{Desk, Refusal};
use weir::stream::{SequenceNumber, ShardId, StreamArn};

use crate::emulator::{Emulator, Make};
use crate::leases::{expected, prepared};

/// A desk at the tables `app` and `app-fleet`, and what it tells. A worker is dead after a moment, a foreign
/// owner after two.
fn desk(table: &SharedTable) -> (Desk, Arc<Mutex<Vec<String>>>) {
    let told = Arc::<Mutex<Vec<String>>>::default();
    let to = told.clone();
    let desk = Desk {
        table: table.clone(),
        leases: "app".to_owned(),
        fleet: "app-fleet".to_owned(),
        has_fleet: true,
        keys: Keys::Weir,
        configured: vec!["orders".to_owned(), "customers".to_owned()],
        takeover: Duration::from_millis(700),
        foreign_watch: Duration::from_millis(1400),
        drain_timeout: Duration::from_secs(5),
        clock: Arc::new(SystemClock),
        rng: fastrand::Rng::with_seed(1),
        tell: Box::new(move |text: &str| to.lock().unwrap().push(text.to_owned())),
    };
    (desk, told)
}

fn at(digits: &str) -> Checkpoint {
    Checkpoint::At(SequenceNumber::parse(digits).unwrap(), 0)
}

fn arn() -> StreamArn {
    StreamArn::new("arn:aws:dynamodb:eu-west-1:000000000000:table/orders/stream/1")
}

async fn create(table: &SharedTable, key: &str, owner: Option<&str>, checkpoint: Checkpoint) -> Lease {
    let lease = Lease {
        key: LeaseKey::new(key),
        owner: owner.map(WorkerId::new),
        counter: 5,
        checkpoint,
        stream: Some(arn()),
        shard: ShardId::new(key.rsplit('/').next().unwrap_or(key)),
        parents: vec![],
        children: vec![],
        owner_switches: 0,
        hash_range: None,
    };
    assert_eq!(table.create_lease(&lease).await.unwrap(), Written::Applied);
    lease
}

/// A worker whose heart beats until this is dropped.
struct Beating(tokio::task::JoinHandle<()>);

impl Beating {
    async fn start(table: &SharedTable, id: &str) -> Self {
        let mut row = WorkerRow::new(WorkerId::new(id));
        assert_eq!(table.create_worker(&row).await.unwrap(), Written::Applied);
        let table = table.clone();
        Self(tokio::spawn(async move {
            loop {
                tokio::task::yield_now().await;
                row.heartbeat += 1;
                table.beat(&row).await.unwrap();
            }
        }))
    }
}

impl Drop for Beating {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn tables(emulator: &Emulator) -> SharedTable {
    Arc::new(prepared(emulator).await.1)
}

#[tokio::test]
async fn a_lease_is_released_and_set_only_when_its_owner_is_dead() {
    let emulator = Emulator::start(Make::Ministack).await;
    let table = tables(&emulator).await;
    let (mut desk, told) = desk(&table);
    let key = LeaseKey::new("orders/shardId-1");
    let lease = create(&table, key.as_str(), Some("w"), at("100")).await;

    let beating = Beating::start(&table, "w").await;
    for refusal in [
        desk.release(&key, false).await.unwrap_err(),
        desk.set(&key, &at("50"), false).await.unwrap_err(),
    ] {
        let text = refusal.to_string();
        assert!(matches!(refusal, Refusal::Alive { .. }), "{text}");
        for part in [
            "orders/shardId-1",
            "its heartbeat went from",
            "`weir pipelines pause orders --wait`",
            "--force",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
    let shown = desk.show(&key, true).await.unwrap();
    assert_eq!(shown.alive, Some(true), "{}", shown.sign);
    assert_eq!(
        table.leases().await.unwrap(),
        std::slice::from_ref(&lease),
        "untouched"
    );

    drop(beating);
    let changed = desk.set(&key, &at("50"), false).await.unwrap();
    assert!(
        changed.notes[0].starts_with("this goes back"),
        "{:?}",
        changed.notes
    );
    assert!(
        told.lock().unwrap()[0].starts_with("watching for"),
        "{:?}",
        told.lock().unwrap()
    );
    // Found dead, it got its certificate (rule 4): no second watch.
    let worker = table.workers().await.unwrap().remove(0);
    assert!(worker.evicted);
    let changed = desk.release(&key, false).await.unwrap();
    assert_eq!(
        changed.after,
        Lease {
            // By `set` already: a name on a lease that moves would look alive.
            owner: None,
            counter: 6,
            checkpoint: at("50"),
            ..lease
        }
    );
    assert_eq!(
        table.leases().await.unwrap(),
        std::slice::from_ref(&changed.after)
    );
    let again = desk.release(&key, false).await.unwrap();
    assert_eq!(again.before, again.after, "a free lease is left as it is");
    assert_eq!(table.leases().await.unwrap(), [changed.after]);
}

#[tokio::test]
async fn an_owner_without_a_row_is_watched_by_its_counters() {
    let emulator = Emulator::start(Make::Ministack).await;
    let table = tables(&emulator).await;
    let (mut desk, _) = desk(&table);
    let lease = create(&table, "orders/shardId-1", Some("kcl"), at("100")).await;
    let renewing = {
        let (table, mut lease) = (table.clone(), lease.clone());
        tokio::spawn(async move {
            for n in 0.. {
                let change = LeaseChange::Checkpoint(at(&(100 + n).to_string()));
                let before = expected(&lease);
                assert_eq!(
                    table.update_lease(&lease.key, &before, &change).await.unwrap(),
                    Written::Applied
                );
                lease.counter += 1;
            }
        })
    };
    let refusal = desk.release(&lease.key, false).await.unwrap_err().to_string();
    assert!(
        refusal.contains("the counter of orders/shardId-1 went from") && refusal.contains("KCL"),
        "{refusal}"
    );
    renewing.abort();
    let _ = renewing.await;
    let changed = desk.release(&lease.key, false).await.unwrap();
    assert_eq!(changed.after.owner, None);
    assert_eq!(changed.after.counter, changed.before.counter + 1);
}

#[tokio::test]
async fn force_does_not_watch_and_says_what_may_be_repeated() {
    let emulator = Emulator::start(Make::Ministack).await;
    let table = tables(&emulator).await;
    let (mut desk, told) = desk(&table);
    let lease = create(&table, "orders/shardId-1", Some("w"), at("100")).await;
    let _beating = Beating::start(&table, "w").await;
    let start = StreamRow {
        pipeline: "orders".to_owned(),
        arn: arn(),
        start: ResolvedStart::At(Timestamp::from_millis(1_700_000_000_000)),
        complete: true,
    };
    table.create_stream(&start).await.unwrap();
    let changed = desk
        .set(&lease.key, &Checkpoint::TrimHorizon, true)
        .await
        .unwrap();
    let notes = changed.notes.join("\n");
    for part in [
        "this goes back",
        "records before 2023-11-14T22:13:20.000Z are dropped all the same",
        "forced: if w is alive",
    ] {
        assert!(notes.contains(part), "{notes}");
    }
    assert_eq!((&changed.after.owner, changed.after.counter), (&None, 6));
    let free = Expected {
        owner: None,
        counter: 6,
    };
    let take = LeaseChange::Take(WorkerId::new("w"));
    table.update_lease(&lease.key, &free, &take).await.unwrap();
    let changed = desk.release(&lease.key, true).await.unwrap();
    assert_eq!((changed.after.owner, changed.after.counter), (None, 8));
    assert!(told.lock().unwrap().is_empty(), "{:?}", told.lock().unwrap());
    assert!(!table.workers().await.unwrap()[0].evicted);

    let future = Checkpoint::AtTimestamp(Timestamp::from_millis(99_999_999_999_999));
    let refusal = desk.set(&lease.key, &future, true).await.unwrap_err();
    assert!(refusal.to_string().contains("lies in the future"), "{refusal}");
    let refusal = desk
        .release(&LeaseKey::new("orders/shardId-2"), true)
        .await
        .unwrap_err();
    assert!(
        refusal.to_string().contains("did you mean `orders/shardId-1`?"),
        "{refusal}"
    );
}

#[tokio::test]
async fn a_pipeline_is_paused_resumed_and_waited_for() {
    let emulator = Emulator::start(Make::Ministack).await;
    let table = tables(&emulator).await;
    let (mut desk, told) = desk(&table);
    let lease = create(&table, "orders/shardId-1", Some("w"), at("100")).await;
    create(&table, "old/shardId-1", None, Checkpoint::ShardEnd).await;
    let state = desk.pause("orders", true).await.unwrap();
    assert_eq!((state.paused, state.owned, state.configured), (true, 1, true));
    let states = desk.pipelines().await.unwrap();
    let brief: Vec<_> = states.iter().map(|s| (s.name.as_str(), s.paused)).collect();
    assert_eq!(brief, [("customers", false), ("old", false), ("orders", true)]);

    let releasing = {
        let (table, lease) = (table.clone(), lease.clone());
        async move {
            tokio::task::yield_now().await;
            table
                .update_lease(&lease.key, &expected(&lease), &LeaseChange::Release)
                .await
                .unwrap()
        }
    };
    let (waited, _) = tokio::join!(desk.until_free("orders"), releasing);
    waited.unwrap();
    assert!(told.lock().unwrap().iter().all(|t| t.contains("orders")));
    assert!(!desk.pause("orders", false).await.unwrap().paused);
    assert!(!desk.pipelines().await.unwrap()[2].paused);
    // Known to the tables alone.
    assert!(desk.pause("old", true).await.unwrap().paused);

    for (name, says) in [
        ("order", "did you mean `orders`?"),
        ("zzz", "use one of customers, old, orders"),
    ] {
        let refusal = desk.pause(name, true).await.unwrap_err().to_string();
        assert!(refusal.contains(says), "{refusal}");
    }
    assert!(
        table
            .pipelines()
            .await
            .unwrap()
            .iter()
            .all(|row| row.name != "order")
    );
}

#[tokio::test]
async fn a_table_is_handed_back_once_nobody_uses_it() {
    for make in [Make::Ministack, Make::Moto] {
        let emulator = Emulator::start(make).await;
        let (clients, table) = prepared(&emulator).await;
        let table: SharedTable = Arc::new(table);
        let (mut desk, _) = desk(&table);
        let time = Checkpoint::AtTimestamp(Timestamp::from_millis(1_700_000_000_000));
        create(&table, "shardId-1", Some("w"), at("100")).await;
        create(&table, "shardId-2", None, time).await;
        let free = create(&table, "shardId-3", None, at("7")).await;
        let ended = create(&table, "shardId-4", Some("w"), Checkpoint::ShardEnd).await;

        let beating = Beating::start(&table, "idle").await;
        let refusal = desk.hand_back(false).await.unwrap_err();
        let text = refusal.to_string();
        assert!(matches!(refusal, Refusal::InUse { .. }), "{text}");
        assert!(text.contains("idle (its heartbeat went from"), "{text}");
        drop(beating);

        let before = table.leases().await.unwrap();
        let plan = desk.hand_back(true).await.unwrap();
        assert_eq!((plan.leases.len(), plan.free, plan.finished), (2, 1, 1));
        assert_eq!(
            table.leases().await.unwrap(),
            before,
            "{make:?}: a dry run writes nothing"
        );

        let done = desk.hand_back(false).await.unwrap();
        assert_eq!(done, plan);
        let rows = clients.dynamodb.scan().table_name("app").send().await.unwrap();
        let rows: HashMap<&str, _> = rows
            .items()
            .iter()
            .map(|row| (row["leaseKey"].as_s().unwrap().as_str(), row))
            .collect();
        assert_eq!(rows.len(), 4, "{make:?}");
        for key in ["shardId-1", "shardId-2"] {
            let row = rows[key];
            assert_eq!(row["leaseCounter"], V::N("6".to_owned()), "{make:?} {key}");
            for gone in ["leaseOwner", "startTimestamp"] {
                assert!(!row.contains_key(gone), "{make:?} {key} {gone}");
            }
        }
        assert_eq!(rows["shardId-1"]["checkpoint"], V::S("100".to_owned()));
        assert_eq!(rows["shardId-2"]["checkpoint"], V::S("AT_TIMESTAMP".to_owned()));
        for same in [&free, &ended] {
            assert_eq!(table.lease(&same.key).await.unwrap().as_ref(), Some(same));
        }
        // Again: nothing is left to do.
        let again = desk.hand_back(false).await.unwrap();
        assert!(again.leases.is_empty(), "{again:?}");

        let weirs = create(&table, "orders/shardId-1", None, at("1")).await;
        let text = desk.hand_back(false).await.unwrap_err().to_string();
        for part in ["table app", weirs.key.as_str(), "`leases.keys: kcl`"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
