//! Weir is asked to end.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use crate::load::{Load, Pace};
use crate::wire::Wire;
use crate::world::{GROUP, TABLE, World};
use crate::writers::{Plan, Writers};
use crate::{http, until};

const PACE: Pace = Pace {
    keys: 25,
    every: Duration::from_millis(100),
};

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_drains_and_repeats_nothing() {
    let world = World::new().await;
    // It outlasts all stops, however long they take: each life has something to deliver.
    let load = Load::start(&world.dynamodb, &[TABLE.to_owned()], PACE);
    for stop in 1..=5 {
        let mut weir = world.run_plainly();
        weir.first_delivery().await;
        // In the midst of the writes, each time at another point of the work.
        tokio::time::sleep(Duration::from_millis(500 + 171 * stop)).await;
        weir.terminate();
        let status = weir.ended().await;
        assert_eq!(status.code(), Some(0), "a completed drain: {status}");
        let log = std::fs::read_to_string(weir.log()).unwrap();
        let accounts = log.matches("records: received ").count();
        assert_eq!(accounts as u64, stop, "each drain tells the accounts: {log}");
        assert!(
            !log.contains("unaccounted") && !log.contains("don't add up"),
            "{log}"
        );
        // What was delivered is checkpointed, and the lease is free for the next at once.
        let tally = world.tally().await;
        assert_eq!(world.owner().await, None, "the owner of the lease after a drain");
        let newest = tally.events.iter().map(|e| e.sequence).max();
        assert_eq!(
            world.checkpoint().await,
            newest,
            "the checkpoint is the last record delivered"
        );
        println!("stop {stop}: in the log {}", tally.changes());
    }
    let mut weir = world.run_plainly();
    let last = load.ended().await;
    let tally = world.all_of_load(&mut weir, &last).await;
    let status = http::get(weir.http, "/status").await.unwrap().body;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let records = &status["pipelines"][TABLE]["records"];
    assert_eq!(records["unaccounted"], 0, "{status}");
    assert_eq!(records["received"], records["delivered"], "{status}");
    assert!(
        status["ready"].as_bool().unwrap() && records["delivered"].as_u64() > Some(0),
        "{status}"
    );
    weir.terminate();
    assert_eq!(weir.ended().await.code(), Some(0));
    assert_eq!(tally.repeats(), 0, "repeats after planned stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigint_is_like_sigterm() {
    let world = World::new().await;
    let plan = Plan {
        keys: 100,
        versions: 1,
        padding: 0,
        over: Duration::ZERO,
    };
    Writers::start(&world.dynamodb, plan).done().await;
    let mut weir = world.run_plainly();
    weir.first_delivery().await;
    weir.interrupt();
    assert_eq!(weir.ended().await.code(), Some(0));
    assert_eq!(world.owner().await, None, "the owner of the lease after a drain");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_at_once() {
    let world = World::new().await;
    let mut logs = Wire::to(world.emulator.address).await;
    let endpoint = logs.endpoint();
    let variables = [("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", endpoint.as_str())];
    let load = Load::start(&world.dynamodb, &[TABLE.to_owned()], PACE);
    let mut weir = world.run(&["--table", TABLE, "--log-group", GROUP], &variables);
    weir.first_delivery().await;

    // Records in flight that can't be delivered keep a drain going until its limit.
    logs.cut().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    weir.terminate();
    until("the drain to be seen", Duration::from_secs(10), async || {
        !weir.is_ready().await
    })
    .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(weir.is_running(), "a drain waits for what is in flight");
    weir.terminate();
    // The drain's limit is 25 s: what ends well before that has heard the second signal.
    until("the process to end", Duration::from_secs(10), async || {
        !weir.is_running()
    })
    .await;
    let status = weir.ended().await;
    println!("a drain cut short: {status}");
    assert!(
        status.code() != Some(0),
        "a drain that was cut short is no success: {status}"
    );
    assert!(status.signal() != Some(9), "ended by itself");

    // And nothing is lost by that either.
    let last = load.ended().await;
    let mut weir = world.run_plainly();
    world.all_of_load(&mut weir, &last).await;
}
