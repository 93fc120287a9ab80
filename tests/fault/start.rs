//! How Weir starts, what it tells of itself, and what it refuses.

use std::time::Duration;

use crate::wire::Wire;
use crate::world::{GROUP, TABLE, World};
use crate::writers::{Plan, Writers};
use crate::{http, until, weir};

const SOME: Plan = Plan {
    keys: 50,
    versions: 2,
    padding: 10,
    over: Duration::ZERO,
};

#[tokio::test(flavor = "multi_thread")]
async fn the_articles_variables_work() {
    let world = World::new().await;
    Writers::start(&world.dynamodb, SOME).done().await;
    let variables = [
        ("CLOUDWATCH_LOG_GROUP", GROUP),
        ("CLOUDWATCH_LOG_STREAM", "orders-changes"),
    ];
    let mut weir = world.run(&["--table", TABLE], &variables);
    let tally = world.all_delivered(&mut weir, SOME.changes()).await;
    tally.must_hold(SOME.keys, SOME.versions);
    for event in &tally.events {
        assert_eq!(event.stream, "orders-changes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readyz_and_metrics_answer() {
    let world = World::new().await;
    // Nothing to reach yet: alive, but not ready, and saying why.
    let mut everything = Wire::to(world.emulator.address).await;
    everything.cut().await;
    let endpoint = everything.endpoint();
    let variables = [("AWS_ENDPOINT_URL", endpoint.as_str())];
    let mut weir = world.run(&["--table", TABLE, "--log-group", GROUP], &variables);
    until("/livez to answer", Duration::from_secs(30), async || {
        weir.must_live();
        http::get(weir.http, "/livez")
            .await
            .is_some_and(|a| a.status == 200)
    })
    .await;
    let answer = http::get(weir.http, "/readyz").await.unwrap();
    println!("not ready: {}", answer.body);
    assert_eq!(answer.status, 503, "{}", answer.body);
    let reasons: serde_json::Value = serde_json::from_str(&answer.body).expect("/readyz answers in JSON");
    assert!(reasons.is_object() || reasons.is_array(), "{reasons}");

    everything.mend().await;
    weir.ready().await;
    Writers::start(&world.dynamodb, SOME).done().await;
    let tally = world.all_delivered(&mut weir, SOME.changes()).await;
    tally.must_hold(SOME.keys, SOME.versions);
    let expected = SOME.changes() as f64;
    until("the counters to add up", Duration::from_secs(30), async || {
        weir.metric("weir_records_received_total").await == Some(expected)
            && weir.metric("weir_records_delivered_total").await == Some(expected)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_config_exits_2_with_all_problems() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("weir.yaml");
    let text = "aplication: cdc\n\
                leases: { duration: soon }\n\
                pipelines:\n  \
                  orders:\n    \
                    source: { dynamodb_table: 'no such name!', start: yesterday }\n    \
                    destination: { group: 'a group: with a colon' }\n";
    std::fs::write(&file, text).unwrap();
    let mut command = weir::command(dir.path());
    command.arg("run").arg("-c").arg(&file);
    let output = tokio::time::timeout(
        Duration::from_secs(60),
        tokio::process::Command::from(command).kill_on_drop(true).output(),
    )
    .await
    .expect("weir refuses the file, rather than run")
    .unwrap();
    let told = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    println!("{told}");
    assert_eq!(output.status.code(), Some(2), "{told}");
    for part in [
        "aplication",
        "application",
        "leases.duration",
        "soon",
        "dynamodb_table",
        "start",
        "yesterday",
        "group",
    ] {
        assert!(told.contains(part), "the message doesn't tell of `{part}`");
    }
}
