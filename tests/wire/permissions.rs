//! Whether `weir iam-policy` allows what `weir run` does, and nothing else: the requests of a real run, as the fake saw
//! them, beside the policy for the same settings.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::records::Kind;
use crate::shards::Service;
use crate::until;
use crate::world::{GROUP, Settings, World};

/// What a run without a death, a first start or a new stream never asks for, and when it does.
const SELDOM: [(&str, &str); 7] = [
    ("dynamodb:ListStreams", "when a stream was enabled anew"),
    ("dynamodb:GetItem", "when the outcome of a write is not known"),
    (
        "dynamodb:DeleteItem",
        "when a worker, a stream or a pipeline is gone",
    ),
    ("dynamodb:UpdateContinuousBackups", "once, of a table just made"),
    ("logs:GetLogEvents", "after a worker died"),
    ("logs:AssociateKmsKey", "when a group's key is another"),
    ("dynamodb:TagResource", "by CreateTable with tags"),
];

/// IAM's name of what a request asks for.
fn action(target: &str) -> String {
    let (service, operation) = target.split_once('.').unwrap();
    let service = match service {
        "DynamoDB_20120810" | "DynamoDBStreams_20120810" => "dynamodb",
        "Kinesis_20131202" => "kinesis",
        "Logs_20140328" => "logs",
        other => panic!("{other}"),
    };
    format!("{service}:{operation}")
}

/// Whether a resource of a policy covers what was asked: `*` stands for any characters.
fn covers(resource: &str, asked: &str) -> bool {
    match resource.split_once('*') {
        Some(("", "")) => true,
        None => resource.ends_with(asked),
        Some((before, _)) if asked.starts_with("arn:") => asked.starts_with(before),
        Some((before, _)) => before.trim_end_matches(':').ends_with(asked) || asked.is_empty(),
    }
}

/// What was asked for, and what the policy allows; all of the first is in the second.
async fn compare(settings: Settings, has_group: bool) -> (BTreeSet<String>, BTreeSet<String>) {
    let mut world = World::new(&settings, Kind::fate, 2).await;
    if has_group {
        world.aws.state().logs.keep(GROUP, 7);
    }
    for _ in 0..5 {
        world.append_everywhere(Kind::Good);
    }
    let mut weir = world.start().await;
    weir.first_delivery().await;
    if has_group {
        until("the group's tags", Duration::from_secs(30), async || {
            world
                .aws
                .state()
                .logs
                .groups
                .get(GROUP)
                .is_some_and(|group| !group.tags.is_empty())
        })
        .await;
    }
    until("a checkpoint", Duration::from_secs(30), async || {
        world.checkpoint(0).is_some()
    })
    .await;
    weir.terminate();
    assert_eq!(weir.ended().await.code(), Some(0));
    let asked = world.aws.state().asked.clone();
    let (stdout, stderr, code) = world.ask(&["iam-policy", "--account", "111122223333"]).await;
    assert_eq!(code, 0, "{stderr}");
    let policy: Value = serde_json::from_str(&stdout).unwrap();
    let statements = policy["Statement"].as_array().unwrap();
    let texts = |value: &Value| -> Vec<String> {
        let all = value.as_array().unwrap().iter();
        all.map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    for (target, what) in &asked {
        let action = action(target);
        let allowed = statements.iter().any(|statement| {
            texts(&statement["Action"]).contains(&action)
                && texts(&statement["Resource"])
                    .iter()
                    .any(|resource| covers(resource, what))
        });
        assert!(allowed, "{action} on {what:?} is not in {stdout}");
    }
    let used: BTreeSet<String> = asked.iter().map(|(target, _)| action(target)).collect();
    let allowed: BTreeSet<String> = statements.iter().flat_map(|s| texts(&s["Action"])).collect();
    (used, allowed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_policy_allows_what_a_run_does_and_nothing_else() {
    let reconciling = Settings {
        destination: "group: /cdc/orders, retention_days: 30, tags: { team: cdc }, reconcile: true",
        ..Settings::of(Service::Kinesis)
    };
    let plain = Settings {
        destination: "group: \"/cdc/{table}\", look_up: false",
        ..Settings::of(Service::DynamoDb)
    };
    let (one, two, three, four) = tokio::join!(
        compare(Settings::of(Service::DynamoDb), false),
        compare(plain, false),
        compare(Settings::of(Service::Kinesis), false),
        compare(reconciling, true),
    );
    let (mut used, mut allowed) = (BTreeSet::new(), BTreeSet::new());
    for (asked, granted) in [one, two, three, four] {
        used.extend(asked);
        allowed.extend(granted);
    }
    let seldom: BTreeSet<String> = SELDOM.iter().map(|(action, _)| (*action).to_owned()).collect();
    let superfluous: Vec<_> = allowed
        .iter()
        .filter(|a| !used.contains(*a) && !seldom.contains(*a))
        .collect();
    assert!(
        superfluous.is_empty(),
        "nobody asks for {superfluous:?}: {used:#?}"
    );
}
