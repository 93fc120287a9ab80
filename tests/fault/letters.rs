//! Dead letters with the real binary: written by a worker, seen and sent again by a person. moto is the AWS.

use std::process::Output;
use std::time::Duration;

use aws_sdk_kinesis::primitives::Blob;
use serde_json::{Value, json};

use crate::clients;
use crate::emulator::{Moto, free_address};
use crate::until;
use crate::weir::{self, Weir};

const STREAM: &str = "events";
const GROUP: &str = "/app/events";
const LETTERS: &str = "/weir/letters";

struct World {
    moto: Moto,
    logs: aws_sdk_cloudwatchlogs::Client,
    kinesis: aws_sdk_kinesis::Client,
    // Dropped last: the others have files in it.
    dir: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let moto = Moto::start(dir.path()).await;
        let world = Self {
            logs: clients::logs(moto.address),
            kinesis: clients::kinesis(moto.address),
            moto,
            dir,
        };
        let stream = world.kinesis.create_stream().stream_name(STREAM);
        stream.shard_count(1).send().await.unwrap();
        world
    }

    async fn put(&self, data: impl Into<Vec<u8>>) {
        let put = self.kinesis.put_record().stream_name(STREAM);
        let put = put.partition_key("key").data(Blob::new(data.into()));
        put.send().await.unwrap();
    }

    /// Settings that read the records as `decode`.
    fn config(&self, decode: &str) -> String {
        let path = self.dir.path().join(format!("{decode}.yaml"));
        let text = format!(
            "pipelines:\n  \
               events:\n    \
                 source: {{ kinesis_stream: {STREAM} }}\n    \
                 decode: {decode}\n    \
                 dead_letter: {{ group: {LETTERS}, stream: all }}\n    \
                 destination: {{ group: {GROUP}, stream: all }}\n"
        );
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn command(&self) -> std::process::Command {
        let mut command = weir::command(self.dir.path());
        command
            .env("AWS_ENDPOINT_URL", format!("http://{}", self.moto.address))
            .env("AWS_REGION", clients::REGION)
            .env("AWS_ACCESS_KEY_ID", clients::ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", "test");
        command
    }

    fn run(&self, config: &str) -> Weir {
        let http = free_address();
        let mut command = self.command();
        command.args(["run", "-c", config, "--log-format", "text"]);
        command.args(["--http-address", &http.to_string()]);
        Weir::start(command, http, &self.dir.path().join("weir.log"))
    }

    async fn weir(&self, config: &str, arguments: &[&str]) -> Output {
        let mut command = self.command();
        command.arg("dead-letters").args(arguments).args(["-c", config]);
        let run = tokio::process::Command::from(command).kill_on_drop(true).output();
        let output = tokio::time::timeout(Duration::from_secs(90), run).await;
        let output = output.expect("takes 90 s").unwrap();
        println!("$ weir dead-letters {}: {}", arguments.join(" "), output.status);
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        println!("{:.2000}{}", told, String::from_utf8_lossy(&output.stderr));
        output
    }

    /// The answer in JSON, and the exit code.
    async fn answer(&self, config: &str, arguments: &[&str]) -> (Value, i32) {
        let output = self.weir(config, &[arguments, &["--json"]].concat()).await;
        let answer = serde_json::from_slice(&output.stdout).expect("one JSON value");
        (answer, output.status.code().unwrap())
    }

    async fn messages(&self, group: &str) -> Vec<String> {
        let asked = self.logs.get_log_events().log_group_name(group);
        let asked = asked.log_stream_name("all").start_from_head(true).send();
        let events = asked.await.map(|page| page.events.unwrap_or_default());
        let events = events.unwrap_or_default().into_iter();
        let mut messages: Vec<String> = events.map(|e| e.message.unwrap()).collect();
        messages.sort();
        messages
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_seen_and_sent_again_once_the_settings_are_mended() {
    let world = World::new().await;
    let large = format!("large {}", "x\u{1}".repeat(300_000));
    for text in ["{\"a\":1}", "one", "{\"a\":2}", "two", &large] {
        world.put(text).await;
    }
    world.put(b"\xff\xfe").await;
    let wrong = world.config("json");
    let nothing = world.weir(&wrong, &["list"]).await;
    assert_eq!(nothing.status.code(), Some(0), "nothing was ever put there");
    let told = String::from_utf8_lossy(&nothing.stdout).into_owned();
    assert!(told.starts_with("no dead letters"), "{told}");
    let nowhere = format!(
        "the log stream all of the log group {LETTERS} doesn't exist in {}",
        clients::REGION
    );
    assert!(told.contains(&nowhere), "{told}");

    let mut weir = world.run(&wrong);
    let json = ["{\"a\":1}", "{\"a\":2}"];
    until("the letters", Duration::from_secs(60), async || {
        weir.must_live();
        world.messages(GROUP).await == json && world.messages(LETTERS).await.len() >= 7
    })
    .await;
    weir.terminate();
    assert!(weir.ended().await.success());

    let (list, code) = world.answer(&wrong, &["list"]).await;
    let letters = list["letters"].as_array().unwrap().clone();
    assert_eq!((letters.len(), code), (4, 0));
    assert_eq!(list["by_reason"], json!({ "undecodable": 4 }));
    assert_eq!(letters[0]["bytes"], 3);
    assert_eq!(letters[0]["destination"], format!("{GROUP}:all"));
    assert!(letters[0]["detail"].as_str().unwrap().starts_with("not JSON"));
    let ids: Vec<&str> = letters.iter().map(|l| l["letter_id"].as_str().unwrap()).collect();
    let (last, code) = world
        .answer(&wrong, &["list", "--limit", "1", "--since", "1h"])
        .await;
    assert_eq!((&last["letters"][0]["letter_id"], code), (&json!(ids[3]), 0));
    let none = world.answer(&wrong, &["list", "--reason", "too_old"]).await;
    assert_eq!(none.0["letters"], json!([]));
    let (shown, _) = world.answer(&wrong, &["show", &ids[0][..8]]).await;
    assert!(shown["still"].as_str().unwrap().starts_with("not JSON") && shown["today"].is_null());
    assert_eq!(
        (&shown["data"], &shown["partition_key"]),
        (&json!("b25l"), &json!("key"))
    );

    // The settings are still wrong: all is left.
    let (done, code) = world.answer(&wrong, &["redrive", "--everything"]).await;
    assert_eq!((&done["left"], code), (&json!(4), 1));
    let mended = world.config("text");
    let (shown, _) = world.answer(&mended, &["show", ids[0]]).await;
    assert_eq!(shown["today"][0]["message"], "one");
    let (dry, code) = world
        .answer(&mended, &["redrive", "--everything", "--dry-run"])
        .await;
    assert_eq!((&dry["delivered"], &dry["left"], code), (&json!(3), &json!(1), 1));
    let fates = dry["letters"].as_array().unwrap().iter();
    let mut fates: Vec<&str> = fates.map(|l| l["fate"].as_str().unwrap()).collect();
    fates.sort_unstable();
    assert_eq!(fates, ["left", "would_deliver", "would_deliver", "would_deliver"]);
    assert_eq!(world.messages(GROUP).await, json, "nothing was put so far");

    let (done, code) = world
        .answer(&mended, &["redrive", "--reason", "undecodable"])
        .await;
    assert_eq!(
        (&done["delivered"], &done["left"], code),
        (&json!(3), &json!(1), 1)
    );
    let mut all = vec!["{\"a\":1}", "{\"a\":2}", "one", "two", &large];
    all.sort_unstable();
    assert!(world.messages(GROUP).await == all, "each exactly once");
    let (again, _) = world.answer(&mended, &["redrive", "--everything"]).await;
    assert_eq!((&again["delivered"], &again["left"]), (&json!(0), &json!(1)));
    assert!(world.messages(GROUP).await == all, "nothing a second time");
    // What is no text is sent by its id, by other settings still.
    let bytes = world.config("base64");
    let (done, code) = world.answer(&bytes, &["redrive", ids[3]]).await;
    assert_eq!((&done["delivered"], code), (&json!(1), 0));
    assert_eq!(world.messages(GROUP).await.len(), 6);
    let (done, code) = world.answer(&bytes, &["redrive", ids[3], ids[0]]).await;
    assert_eq!((&done["already"], code), (&json!(2), 0));

    let (done, code) = world.answer(&mended, &["redrive", ids[0], "--again"]).await;
    assert_eq!((&done["delivered"], code), (&json!(1), 0));
    assert_eq!(world.messages(GROUP).await.len(), 7, "on demand, once more");
    let (gone, code) = world.answer(&mended, &["discard", ids[1]]).await;
    assert_eq!(
        (&gone["letters"][0]["fate"], code),
        (&json!("already_redriven"), 0)
    );
    let empty = world.weir(&mended, &["redrive", ""]).await;
    assert_eq!(empty.status.code(), Some(2));

    let (list, _) = world.answer(&mended, &["list"]).await;
    assert_eq!(list["letters"], json!([]));
    let (list, _) = world.answer(&mended, &["list", "--all"]).await;
    let letters = list["letters"].as_array().unwrap();
    assert!(letters.len() == 4 && letters.iter().all(|l| l["redriven"]["events"] == 1));
    // For people.
    let table = world.weir(&mended, &["list", "--all"]).await;
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(
        table.starts_with("ID") && table.contains("4 dead letters (4 undecodable)"),
        "{table}"
    );
    let told = world.weir(&mended, &["show", "zz"]).await;
    assert_eq!(told.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&told.stderr).contains("no dead letter zz"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_dead_letters_that_feeds_the_source_is_refused() {
    let world = World::new().await;
    let summary = world.kinesis.describe_stream_summary().stream_name(STREAM);
    let summary = summary.send().await.unwrap().stream_description_summary.unwrap();
    let group = world.logs.create_log_group().log_group_name(LETTERS);
    group.send().await.unwrap();
    let filter = world.logs.put_subscription_filter().log_group_name(LETTERS);
    filter
        .filter_name("to-kinesis")
        .filter_pattern("")
        .destination_arn(summary.stream_arn)
        .role_arn("arn:aws:iam::123456789012:role/logs-to-kinesis")
        .send()
        .await
        .unwrap();
    let mut command = world.command();
    command.args(["run", "-c", &world.config("text"), "--http-address"]);
    let ran = command.arg(free_address().to_string()).output().unwrap();
    let told = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
    assert_eq!(ran.status.code(), Some(2), "{told}");
    for part in [LETTERS, "to-kinesis", "pipelines.events.dead_letter.group"] {
        assert!(told.contains(part), "{part} in {told}");
    }
    assert!(world.messages(GROUP).await.is_empty(), "nothing was written");
}
