//! `weir run --until-caught-up` as a job runs it, and what `/status` tells of a worker at work.

use std::time::Duration;

use crate::weir::Weir;
use crate::world::{GROUP, TABLE, World};
use crate::writers::{Plan, Writers};
use crate::{http, until};

const PLAN: Plan = Plan {
    keys: 300,
    versions: 3,
    padding: 100,
    over: Duration::ZERO,
};

async fn status(weir: &Weir) -> serde_json::Value {
    let answer = http::get(weir.http, "/status").await;
    serde_json::from_str(&answer.map(|a| a.body).unwrap_or_default()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_delivers_all_and_ends_and_a_worker_tells_how_it_is() {
    let world = World::new().await;
    Writers::start(&world.dynamodb, PLAN).done().await;
    let job = ["--table", TABLE, "--log-group", GROUP, "--until-caught-up"];
    // The second one has nothing to do.
    for _ in 0..2 {
        let mut weir = world.run(&job, &[]);
        let status = weir.ended().await;
        let log = std::fs::read_to_string(weir.log()).unwrap();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(log.contains("caught up"), "{log}");
        let tally = world.tally().await;
        tally.must_hold(PLAN.keys, PLAN.versions);
        assert_eq!(tally.repeats(), 0);
        assert_eq!(world.owner().await, None, "the owner of the lease after a job");
        let newest = tally.events.iter().map(|e| e.sequence).max();
        assert_eq!(world.checkpoint().await, newest, "all of it is checkpointed");
    }

    // A job that is told to stop before it has caught up is no success.
    let config = world.dir.path().join("seldom.yaml");
    let text = format!(
        "pipelines:\n  orders:\n    source: {{ dynamodb_table: {TABLE}, poll: {{ idle: 20s }} }}\n    \
         destination: {{ group: {GROUP} }}\n"
    );
    std::fs::write(&config, text).unwrap();
    let mut weir = world.run(&["-c", config.to_str().unwrap(), "--until-caught-up"], &[]);
    weir.ready().await;
    weir.terminate();
    assert_eq!(weir.ended().await.code(), Some(1));

    let mut weir = world.run_plainly();
    weir.ready().await;
    let mut last = serde_json::Value::Null;
    until("the shard to be read", Duration::from_secs(30), async || {
        weir.must_live();
        last = status(&weir).await;
        let pipeline = &last["pipelines"][TABLE];
        let shard = &pipeline["shards"][0];
        let is_read = shard["state"] == "caught_up" || shard["state"] == "reading";
        // Who takes care is known by the rows of the workers, which are read apart.
        shard["mine"] == true && is_read && pipeline["caretaker"] == last["worker"]
    })
    .await;
    let text = http::get(weir.http, "/status").await.unwrap().body;
    println!("{text}");
    assert!(text.starts_with("{\n  \"version\": "), "easy to read");
    let pipeline = &last["pipelines"][TABLE];
    assert_eq!(pipeline["source"], format!("table {TABLE}"));
    assert_eq!(pipeline["shards"][0]["owner"], last["worker"]);
    assert!(pipeline["leases_read"].is_string(), "{pipeline}");
    let me = last["workers"]
        .as_array()
        .unwrap()
        .iter()
        .find(|w| w["me"] == true)
        .unwrap();
    assert_eq!((&me["id"], &me["state"]), (&last["worker"], &"live".into()));
    until("the gauges of a caretaker", Duration::from_secs(30), async || {
        weir.metric("weir_leases_wanted").await == Some(1.0)
            && weir.metric("weir_shards_unread").await == Some(0.0)
    })
    .await;
    weir.terminate();
    assert_eq!(weir.ended().await.code(), Some(0));
}
