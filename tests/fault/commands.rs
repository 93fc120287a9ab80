//! What a person does by hand: `weir leases` and `weir pipelines`, with the real binary.

use std::collections::HashMap;
use std::process::Output;
use std::time::Duration;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue as V, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use serde_json::{Value, json};

use crate::until;
use crate::world::World;
use crate::writers::{Plan, Writers};

const SOME: Plan = Plan {
    keys: 50,
    versions: 2,
    padding: 10,
    over: Duration::ZERO,
};

/// Runs a command to its end. Who takes 90 s hangs: the longest watch takes 5 s here.
async fn weir(world: &World, config: &str, arguments: &[&str]) -> Output {
    let mut command = world.command();
    command.args(arguments).args(["-c", config]);
    let output = tokio::time::timeout(
        Duration::from_secs(90),
        tokio::process::Command::from(command).kill_on_drop(true).output(),
    )
    .await
    .unwrap_or_else(|_| panic!("{arguments:?} takes 90 s"))
    .unwrap();
    println!("$ weir {}: {}", arguments.join(" "), output.status);
    print!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// The answer of a command that succeeds: one JSON value and nothing else.
async fn answer(world: &World, config: &str, arguments: &[&str]) -> Value {
    let output = weir(world, config, &[arguments, &["--json"]].concat()).await;
    assert_eq!(output.status.code(), Some(0));
    serde_json::from_slice(&output.stdout).expect("stdout holds one JSON value and nothing else")
}

/// What a command that fails says on stderr. Its stdout is empty.
async fn refusal(world: &World, config: &str, arguments: &[&str]) -> String {
    let output = weir(world, config, arguments).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

/// The only lease there is.
async fn lease(world: &World, config: &str) -> Value {
    let list = answer(world, config, &["leases", "list"]).await;
    let leases = list.as_array().expect("an array");
    assert_eq!(leases.len(), 1, "the emulator's streams have one shard");
    leases[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sees_and_mends_the_leases() {
    let world = World::new().await;
    let config = world.config(Duration::from_secs(3), Duration::from_secs(1));
    let config = config.as_str();
    let told = refusal(&world, config, &["leases", "list"]).await;
    assert!(told.contains("table weir doesn't exist in eu-west-1"), "{told}");

    Writers::start(&world.dynamodb, SOME).done().await;
    let mut running = world.run(&["-c", config], &[]);
    let tally = world.all_delivered(&mut running, SOME).await;
    let newest = tally.events.iter().map(|e| e.sequence).max();
    // An earlier one would move on while it is looked at.
    until("the last checkpoint", Duration::from_secs(60), async || {
        world.checkpoint().await == newest
    })
    .await;

    let seen = lease(&world, config).await;
    let key = seen["lease_key"].as_str().unwrap();
    let shard = seen["shard_id"].as_str().unwrap();
    assert_eq!(key, format!("orders/{shard}"));
    assert_eq!(seen["pipeline"], "orders");
    assert!(seen["stream"].as_str().unwrap().contains(":table/orders/stream/"));
    assert!(seen["owner"].is_string() && seen["counter"].is_u64());
    assert!(
        seen["checkpoint"]
            .as_str()
            .unwrap()
            .bytes()
            .all(|b| b.is_ascii_digit())
    );
    assert_eq!(seen["start_timestamp"], Value::Null);
    let shown = answer(&world, config, &["leases", "show", key, "--watch"]).await;
    assert_eq!(shown["owner_alive"], true);
    assert_eq!(shown["worker"]["id"], seen["owner"]);
    // For people.
    let table = weir(&world, config, &["leases", "list"]).await;
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.starts_with("LEASE") && table.contains(key), "{table}");
    let of_one = answer(&world, config, &["leases", "list", "--pipeline", "orders"]).await;
    assert_eq!(of_one[0]["lease_key"], key);
    let told = refusal(&world, config, &["leases", "list", "--pipeline", "order"]).await;
    assert!(told.contains("did you mean `orders`?"), "{told}");

    // A lease whose owner is alive is not touched.
    for arguments in [
        &["leases", "release", key][..],
        &["leases", "set", key, "--to", "trim_horizon"],
    ] {
        let told = refusal(&world, config, arguments).await;
        assert!(told.contains(key) && told.contains("is alive"), "{told}");
        assert!(told.contains("weir pipelines pause orders"), "{told}");
    }
    let after = lease(&world, config).await;
    assert_eq!(
        (&after["owner"], &after["checkpoint"]),
        (&seen["owner"], &seen["checkpoint"])
    );

    let told = refusal(&world, config, &["pipelines", "pause", "order"]).await;
    assert!(told.contains("did you mean `orders`?"), "{told}");
    for (word, paused) in [("pause", true), ("resume", false)] {
        let state = answer(&world, config, &["pipelines", word, "orders"]).await;
        assert_eq!(state["paused"], paused);
        let all = answer(&world, config, &["pipelines", "list"]).await;
        assert_eq!(all[0]["pipeline"], "orders");
        assert_eq!(
            (&all[0]["paused"], &all[0]["configured"]),
            (&json!(paused), &json!(true))
        );
    }
    until(
        "the lease to be owned again",
        Duration::from_secs(60),
        async || world.owner().await.is_some(),
    )
    .await;

    // A dead worker's lease can be released and set.
    running.kill_nine();
    let dead = lease(&world, config).await;
    let released = answer(&world, config, &["leases", "release", key]).await;
    assert_eq!(released["before"]["owner"], dead["owner"]);
    assert_eq!(released["after"]["owner"], Value::Null);
    assert_eq!(
        released["after"]["counter"].as_u64(),
        dead["counter"].as_u64().map(|counter| counter + 1)
    );
    let set = answer(&world, config, &["leases", "set", key, "--to", "trim_horizon"]).await;
    assert_eq!(set["before"]["checkpoint"], dead["checkpoint"]);
    assert_eq!(lease(&world, config).await, set["after"]);
    assert_eq!(set["after"]["checkpoint"], "TRIM_HORIZON");
    // And what is set is what the next worker does.
    let mut running = world.run(&["-c", config], &[]);
    until("everything a second time", Duration::from_secs(90), async || {
        running.must_live();
        world.tally().await.repeats() >= SOME.changes()
    })
    .await;

    let told = refusal(&world, config, &["leases", "show", "orders/nosuch"]).await;
    assert!(told.contains("no lease orders/nosuch"), "{told}");
    // Keys of Weir's own can't be handed back, running or not.
    let told = refusal(&world, config, &["leases", "hand-back"]).await;
    assert!(
        told.contains("`leases.keys: kcl`") && told.contains(key),
        "{told}"
    );
}

/// A lease table as the Kinesis Client Library makes it, with these rows.
async fn kcl_table(world: &World, rows: Vec<HashMap<String, V>>) {
    let key = AttributeDefinition::builder()
        .attribute_name("leaseKey")
        .attribute_type(ScalarAttributeType::S);
    let schema = KeySchemaElement::builder()
        .attribute_name("leaseKey")
        .key_type(KeyType::Hash);
    world
        .dynamodb
        .create_table()
        .table_name("weir")
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(key.build().unwrap())
        .key_schema(schema.build().unwrap())
        .send()
        .await
        .unwrap();
    for row in rows {
        let put = world.dynamodb.put_item().table_name("weir").set_item(Some(row));
        put.send().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_with_kcls_keys_is_handed_back() {
    let world = World::new().await;
    let config = world.dir.path().join("short.yaml");
    let text = "leases: { foreign_watch: 5s }\n\
                pipelines: { orders: { source: { dynamodb_table: orders }, destination: { group: g } } }\n";
    std::fs::write(&config, text).unwrap();
    let config = config.to_str().unwrap();
    let row = |key: &str, owner: Option<&str>, checkpoint: &str| {
        let mut row = HashMap::from([
            ("leaseKey".to_owned(), V::S(key.to_owned())),
            ("leaseCounter".to_owned(), V::N("41".to_owned())),
            ("checkpoint".to_owned(), V::S(checkpoint.to_owned())),
            ("checkpointSubSequenceNumber".to_owned(), V::N("0".to_owned())),
            ("startingHashKey".to_owned(), V::S("0".to_owned())),
        ]);
        if let Some(owner) = owner {
            row.insert("leaseOwner".to_owned(), V::S(owner.to_owned()));
        }
        row
    };
    let rows = vec![
        row("shardId-1", Some("gone"), "0017"),
        row("shardId-2", None, "TRIM_HORIZON"),
        row("shardId-3", Some("gone"), "SHARD_END"),
    ];
    kcl_table(&world, rows.clone()).await;
    let table = async || {
        let page = world.dynamodb.scan().table_name("weir").send().await.unwrap();
        let rows = page.items.unwrap_or_default().into_iter();
        rows.map(|row| (row["leaseKey"].as_s().unwrap().clone(), row))
            .collect::<HashMap<_, _>>()
    };

    let list = answer(&world, config, &["leases", "list"]).await;
    let first = &list.as_array().unwrap()[0];
    assert_eq!(
        (&first["lease_key"], &first["checkpoint"], &first["pipeline"]),
        (&json!("shardId-1"), &json!("0017"), &json!("orders")),
        "the only pipeline's"
    );
    let dry = answer(&world, config, &["leases", "hand-back", "--dry-run"]).await;
    assert_eq!((&dry["dry_run"], &dry["finished"]), (&json!(true), &json!(1)));
    assert_eq!(table().await["shardId-1"], rows[0], "a dry run writes nothing");
    let done = answer(&world, config, &["leases", "hand-back"]).await;
    assert_eq!(done["leases"].as_array().unwrap().len(), 1);
    let after = table().await;
    let mut expected = rows[0].clone();
    expected.remove("leaseOwner");
    expected.insert("leaseCounter".to_owned(), V::N("42".to_owned()));
    assert_eq!(after["shardId-1"], expected);
    assert_eq!((&after["shardId-2"], &after["shardId-3"]), (&rows[1], &rows[2]));
    let again = answer(&world, config, &["leases", "hand-back"]).await;
    assert_eq!(again["leases"], json!([]));
    assert_eq!(table().await, after);
    // No command makes a table.
    let names = world.dynamodb.list_tables().send().await.unwrap();
    assert!(!names.table_names().contains(&"weir-fleet".to_owned()));
    let told = refusal(&world, config, &["pipelines", "pause", "orders"]).await;
    assert!(told.contains("table weir-fleet doesn't exist"), "{told}");
}
