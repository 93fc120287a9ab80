//! The audit log of a database, which a subscription filter brings to a Kinesis stream: moto delivers it as
//! CloudWatch Logs does.

use std::process::Command;
use std::time::Duration;

use aws_sdk_cloudwatchlogs::types::InputLogEvent;
use serde_json::Value;

use crate::clients;
use crate::emulator::{Moto, free_address};
use crate::weir::{self, Weir};
use crate::{http, until};

const STREAM: &str = "rds-audit";
const SOURCE: &str = "/aws/rds/cluster/shop/audit";
const SOURCE_STREAM: &str = "shop-1.audit.log.0";
const FILTER: &str = "to-kinesis";

struct World {
    moto: Moto,
    logs: aws_sdk_cloudwatchlogs::Client,
    stream_arn: String,
    // Dropped last: the others have files in it.
    dir: tempfile::TempDir,
}

impl World {
    /// The database's log group, with a subscription filter that delivers it to a Kinesis stream.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let moto = Moto::start(dir.path()).await;
        let kinesis = clients::kinesis(moto.address);
        let asked = kinesis.create_stream().stream_name(STREAM).shard_count(1);
        asked.send().await.unwrap();
        let asked = kinesis.describe_stream_summary().stream_name(STREAM);
        let summary = asked.send().await.unwrap().stream_description_summary.unwrap();
        let world = Self {
            logs: clients::logs(moto.address),
            moto,
            stream_arn: summary.stream_arn,
            dir,
        };
        let group = world.logs.create_log_group().log_group_name(SOURCE);
        group.send().await.unwrap();
        let stream = world.logs.create_log_stream().log_group_name(SOURCE);
        stream.log_stream_name(SOURCE_STREAM).send().await.unwrap();
        world.subscribe(SOURCE).await;
        world
    }

    async fn subscribe(&self, group: &str) {
        let filter = self.logs.put_subscription_filter().log_group_name(group);
        filter
            .filter_name(FILTER)
            .filter_pattern("")
            .destination_arn(&self.stream_arn)
            .role_arn("arn:aws:iam::123456789012:role/logs-to-kinesis")
            .send()
            .await
            .unwrap();
    }

    /// The database writes these lines.
    async fn write(&self, lines: &[&str]) {
        let now = std::time::SystemTime::now();
        let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
        let events = lines.iter().map(|line| {
            let event = InputLogEvent::builder().timestamp(now).message(*line);
            event.build().unwrap()
        });
        let put = self.logs.put_log_events().log_group_name(SOURCE);
        put.log_stream_name(SOURCE_STREAM)
            .set_log_events(Some(events.collect()))
            .send()
            .await
            .unwrap();
    }

    async fn messages(&self, group: &str, stream: &str) -> Vec<String> {
        let asked = self.logs.get_log_events().log_group_name(group);
        let asked = asked.log_stream_name(stream).start_from_head(true).send();
        // Weir makes the group and the stream with the first event.
        let events = asked.await.map(|page| page.events.unwrap_or_default());
        let events = events.unwrap_or_default().into_iter();
        events.map(|e| e.message.unwrap()).collect()
    }

    fn command(&self, group: &str) -> Command {
        let path = self.dir.path().join("weir.yaml");
        // A group that the records choose must be an allowed one.
        let allowed = match group.contains('{') {
            true => ", allow_groups: /db/*/audit",
            false => "",
        };
        let text = format!(
            "pipelines:\n  \
               audit:\n    \
                 source: {{ kinesis_stream: {STREAM} }}\n    \
                 decode: audit\n    \
                 destination: {{ group: \"{group}\", stream: \"{{instance}}\"{allowed} }}\n"
        );
        std::fs::write(&path, text).unwrap();
        let mut command = weir::command(self.dir.path());
        command
            .env("AWS_ENDPOINT_URL", format!("http://{}", self.moto.address))
            .env("AWS_REGION", clients::REGION)
            .env("AWS_ACCESS_KEY_ID", clients::ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .args(["run", "-c", &path.display().to_string(), "--log-format", "text"]);
        command
    }

    fn run(&self, group: &str) -> Weir {
        let http = free_address();
        let mut command = self.command(group);
        command.args(["--http-address", &http.to_string()]);
        Weir::start(command, http, &self.dir.path().join("weir.log"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_lines_come_out_as_fields_in_another_group() {
    let world = World::new().await;
    let mut weir = world.run("/db/{cluster}/audit");
    weir.ready().await;
    world
        .write(&[
            r"1700000000123456,shop-1,app,10.1.2.3,17,2001,QUERY,shop,'UPDATE t SET a=\'x, y\' WHERE b=1',0",
            "1700000000123457,shop-1,app,10.1.2.3,17,2002,WRITE,shop,orders,",
            "no audit line",
        ])
        .await;
    let mut found = Vec::new();
    until("three events", Duration::from_secs(60), async || {
        weir.must_live();
        found = world.messages("/db/shop/audit", "shop-1").await;
        found.len() >= 3
    })
    .await;
    let events: Vec<Value> = found.iter().map(|m| serde_json::from_str(m).unwrap()).collect();
    assert_eq!(events[0]["timestamp"], 1_700_000_000_123_456_u64);
    assert_eq!(events[0]["operation"], "QUERY");
    assert_eq!(events[0]["object"], "UPDATE t SET a='x, y' WHERE b=1");
    assert_eq!(
        (&events[0]["host"], &events[0]["retcode"]),
        (&"10.1.2.3".into(), &0.into())
    );
    assert_eq!(
        (&events[1]["object"], &events[1]["retcode"]),
        (&"orders".into(), &Value::Null)
    );
    assert_eq!(events[2]["message"], "no audit line");
    assert!(events[2]["error"].is_string());
    for event in &events {
        assert_eq!(event["logGroup"], SOURCE);
        assert_eq!(event["logStream"], SOURCE_STREAM);
        assert!(event["owner"].is_string() && event["id"].is_string(), "{event}");
    }
    let metrics = http::get(weir.http, "/metrics").await.unwrap().body;
    assert!(metrics.contains("weir_audit_lines_unparsed_total{pipeline=\"audit\"} 1"));
    weir.terminate();
    assert!(weir.ended().await.success());
    assert_eq!(
        world.messages("/db/shop/audit", "shop-1").await.len(),
        3,
        "nothing twice"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_feeds_its_own_source_is_refused() {
    let world = World::new().await;
    let ran = world.command(SOURCE).output().unwrap();
    let told = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
    assert_eq!(ran.status.code(), Some(2), "{told}");
    for part in [SOURCE, FILTER, "pipelines.audit.destination.group"] {
        assert!(told.contains(part), "{part} in {told}");
    }
    assert!(
        world.messages(SOURCE, "shop-1").await.is_empty(),
        "nothing was written"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_comes_back_stops_its_pipeline() {
    let world = World::new().await;
    let mut weir = world.run("/all/audit");
    weir.ready().await;
    world.write(&["one line"]).await;
    until("the first event", Duration::from_secs(60), async || {
        weir.must_live();
        world.messages("/all/audit", "shop-1").await.len() == 1
    })
    .await;
    // Somebody closes the circle while it runs.
    world.subscribe("/all/audit").await;
    world.write(&["another line"]).await;
    until("a problem", Duration::from_secs(60), async || {
        weir.must_live();
        let told = http::get(weir.http, "/readyz")
            .await
            .map(|a| a.body)
            .unwrap_or_default();
        told.contains("/all/audit") && told.contains("come back")
    })
    .await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let written = world.messages("/all/audit", "shop-1").await;
    assert_eq!(written.len(), 2, "each line once: {written:?}");
    weir.terminate();
    assert!(weir.ended().await.success());
}
