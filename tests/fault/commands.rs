//! What a person does by hand: `weir leases` and `weir pipelines`, with the real binary.

use std::process::Output;
use std::time::Duration;

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
    world.all_delivered(&mut running, SOME).await;
    until("a checkpoint", Duration::from_secs(60), async || {
        world.checkpoint().await.is_some()
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
}
