//! Deploys, by what chart and template render: the real program does the main job, and a roll repeats nothing.
//!
//! What renders is Helm's own engine, what is started is the real binary (`WEIR_BINARY`, else the one that cargo
//! built) before an emulated AWS that others wrote. In between stands as much of a platform as a deploy needs:
//! [`fleet`] starts, asks, stops and, if it must, would kill.

mod audit;
mod cloud;
mod container;
mod ecs;
mod fleet;
mod kubernetes;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use self::audit::Audit;
use self::cloud::Cloud;
use self::ecs::Stack;
use self::fleet::{Fleet, Revision as _};
use self::kubernetes::Release;
use crate::load::{Load, Pace};
use crate::until;
use crate::world::{TABLE, World};
use crate::{fleet_log, load, weir};

const APPLICATION: &str = "prod-cdc";
const GROUP: &str = "/cdc/orders";
const PACE: Pace = Pace {
    keys: 25,
    every: Duration::from_millis(100),
};

/// Two pipelines. The look-up is off, so that nothing but the hand-over keeps a record from being told twice.
fn settings() -> Value {
    json!({
        "application": APPLICATION,
        "pipelines": {
            "orders": {
                "source": { "dynamodb_table": TABLE },
                "destination": { "group": GROUP, "look_up": false },
            },
            "audit": {
                "source": { "kinesis_stream": audit::STREAM },
                "decode": "audit",
                "destination": { "group": audit::GROUP, "look_up": false },
            },
        },
    })
}

/// What changes while a fleet is deployed, and what must come of it.
struct Traffic {
    load: Load,
    audit: Audit,
}

impl Traffic {
    async fn start(world: &World) -> Self {
        Self {
            load: Load::start(&world.dynamodb, &[TABLE.to_owned()], PACE),
            audit: Audit::start(world).await,
        }
    }

    /// Ends, and waits until every change and every line is in the log groups. Each must be there once.
    async fn must_be_told_once(self, world: &World) {
        let (last, lines) = (self.load.ended().await, self.audit.ended().await);
        let changes = last.values().sum::<u32>() as usize;
        until(
            "the last change and the last line",
            Duration::from_secs(90),
            async || {
                world.tally_of(GROUP).await.changes() >= changes
                    && audit::delivered(world).await.len() >= lines
            },
        )
        .await;
        let (tally, told) = (world.tally_of(GROUP).await, audit::delivered(world).await);
        let way = tally
            .events
            .iter()
            .filter_map(|e| Some(e.ingested - e.written?))
            .max();
        println!(
            "{changes} changes and {lines} lines; repeats: {} and {}; the longest way from the writer to the log {:.1} s",
            tally.repeats(),
            told.len() - lines,
            way.unwrap_or_default() as f64 / 1000.0
        );
        tally.must_hold_all(&last);
        assert_eq!(tally.repeats(), 0, "changes that are told twice");
        assert!(told.iter().copied().eq(0..lines), "each line once: {told:?}");
    }
}

/// Waits until each shard has an owner, and so many workers own some.
async fn shared_by(world: &World, workers: usize) {
    let shards = 1 + audit::SHARDS as usize;
    until("shards that are shared", Duration::from_secs(60), async || {
        let rows = world.scan(APPLICATION).await;
        let owners = rows.iter().filter_map(|row| row.get("leaseOwner")?.as_s().ok());
        let owners: Vec<&String> = owners.collect();
        owners.len() == shards && BTreeSet::from_iter(owners).len() == workers
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chart_deploys_a_fleet_that_does_the_main_job_and_a_roll_repeats_nothing() {
    let cloud = Cloud::new().await;
    let world = &cloud.world;
    let dir = world.dir.path();
    let mut values = json!({
        "replicaCount": 3,
        "config": settings(),
        "logLevel": "info,weir=debug",
        // Harder than the default, which lets a new worker settle for some seconds.
        "minReadySeconds": 0,
    });
    let first = Release::of(&values, dir, "first");
    let traffic = Traffic::start(world).await;
    let began = load::now();
    let (template, same) = (first.template().clone(), Release::of(&values, dir, "same"));
    assert_eq!(template, *same.template(), "the same values roll nothing");
    let mut fleet = Fleet::deploy(&cloud, first).await;
    shared_by(world, 3).await;

    values["config"]["pipelines"]["orders"]["destination"]["retention_days"] = json!(30);
    let changed = Release::of(&values, dir, "changed");
    assert_ne!(template, *changed.template(), "changed settings roll the pods");
    fleet.roll(changed, "a roll for changed settings").await;
    let again = Release::of(&values, dir, "again");
    let template = again.template().clone();
    fleet.roll(again, "a restart").await;

    // Where something scales, that says how many there are.
    values["autoscaling"] = json!({ "enabled": true, "minReplicas": 2, "maxReplicas": 4 });
    let scaled = Release::of(&values, dir, "scaled");
    assert_eq!(scaled.wanted(), None);
    assert_eq!(*scaled.template(), template, "what scales rolls nothing");
    let scaler = &scaled.only("HorizontalPodAutoscaler")["spec"];
    for bound in ["minReplicas", "maxReplicas"] {
        fleet.scale(scaler[bound].as_u64().unwrap() as usize).await;
    }

    let story = fleet_log::story(dir);
    println!(
        "the longest time that a shard was unread: {} ms",
        fleet_log::longest_unread(&story, began)
    );
    traffic.must_be_told_once(world).await;

    // `helm test`; behind the tally, for the emulator keeps the event by which `weir check` tries a log group.
    for test in fleet.revision().tests(fleet.any().http) {
        let output = test.command(cloud.command()).output().unwrap();
        let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{:?}: {told}", test.args);
    }
    fleet.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_template_deploys_a_service_that_does_the_main_job_and_a_deployment_repeats_nothing() {
    let cloud = Cloud::new().await;
    let world = &cloud.world;
    let traffic = Traffic::start(world).await;
    // As one begins: a table and a log group are all that is said.
    let simple = json!({ "TableName": TABLE, "LogGroup": GROUP, "Application": APPLICATION });
    let mut fleet = Fleet::deploy(&cloud, Stack::of(&simple)).await;
    until("the first change", Duration::from_secs(60), async || {
        !world.tally_of(GROUP).await.events.is_empty()
    })
    .await;

    // And goes on: the whole settings, for more tasks. The table's pipeline has its name from before.
    let mut settings = settings();
    let whole = |settings: &Value| {
        Stack::of(&json!({
            "Settings": settings.to_string(),
            "TaskPolicyArns": "arn:aws:iam::111122223333:policy/weir",
            "DesiredCount": 3,
        }))
    };
    fleet.roll(whole(&settings), "a deployment with settings").await;
    shared_by(world, 3).await;
    settings["pipelines"]["orders"]["destination"]["retention_days"] = json!(30);
    fleet.roll(whole(&settings), "a deployment of all tasks").await;
    shared_by(world, 3).await;
    traffic.must_be_told_once(world).await;
    fleet.end().await;
}

#[test]
fn what_the_chart_cannot_read_the_program_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let text = json!({
        "drain": { "timeout": "26s" },
        "pipelines": settings()["pipelines"],
    });
    let own = json!({
        "kind": "ConfigMap",
        "metadata": { "name": "own" },
        "data": { "settings": text.to_string() },
    });
    let values = json!({
        "existingConfigMap": { "name": "own", "key": "settings" },
        "terminationGracePeriodSeconds": 30,
    });
    let release = Release::beside(&[own], &values, dir.path(), "own");
    let program = release.container().program;
    // Before it asks anybody anything.
    let output = program.command(weir::command(dir.path())).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    for part in ["drain.timeout", "26s", "WEIR_GRACE_PERIOD", "30s"] {
        assert!(told.contains(part), "{part} in {told}");
    }
}
