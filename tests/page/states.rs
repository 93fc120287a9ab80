//! What a person reads in each state.

use serde_json::Value;

use crate::canned::{self, json};
use crate::is_clean;
use crate::stage::Stage;

struct Case {
    name: &'static str,
    status: weir::status::Status,
    headline: &'static str,
    /// Found in the text of the page, in this order.
    told: &'static [&'static str],
}

fn cases() -> Vec<Case> {
    let case = |name, status, headline, told| Case {
        name,
        status,
        headline,
        told,
    };
    vec![
        case(
            "healthy",
            canned::healthy(),
            "Healthy",
            &[
                "7 of 7 shards are read. The furthest behind is 1.2 s.",
                "Memory\n11 MiB\nof 256 MiB",
                "audit",
                "Kinesis stream rds-audit → /db/{cluster}/audit {instance}",
                "orders",
                "table orders → /cdc/orders {shard_id}",
                "keeps up",
                "23 h 59 min",
                "1,284,310 received",
                "1,271,906 delivered",
                "12,392 filtered (control message 4, filter 12,388)",
                "2 dead-lettered (undecodable 2)",
                "10 in flight",
                "adds up",
                "ip-10-0-3-17-1f0c9a55d2b7e840",
                "this one",
                "live",
                "7 of 8 shards shown; other workers' shards as of 5 s ago",
                "caught up",
                "this worker",
                "read elsewhere",
            ],
        ),
        case(
            "lagging",
            canned::lagging(),
            "Lagging",
            &[
                "orders is 14 min behind. Nothing is lost: unread records stay in the stream for another 23 h 45 min.",
                "lagging",
            ],
        ),
        case(
            "stuck",
            canned::stuck(),
            "Needs you",
            &[
                "This problem waits for a person.",
                "reading orders/shardId-",
                "AccessDeniedException",
                "weir iam-policy prints what it needs",
                "Last error, 1 s ago, reading orders/shardId-",
                "backing off until 03:12:49 UTC: AccessDeniedException on GetRecords",
                "waiting for its parent shardId-",
            ],
        ),
        case(
            "refused",
            canned::refused(),
            "Needs you",
            &[
                "destination /cdc/orders",
                "logs:PutLogEvents",
                "keeps up",
                "orders",
                "stuck",
                "held by destination",
                "held by destination /cdc/orders",
            ],
        ),
        case(
            "draining",
            canned::draining(),
            "Draining",
            &[
                "This worker was asked to stop. It gives its shards to the other workers, then ends; it still holds 3.",
                "draining",
                "about to be given up",
            ],
        ),
        case(
            "starting",
            canned::starting(),
            "Starting",
            &[
                "It waits for its first heartbeat and the first plan.",
                "lag not known",
                "This worker doesn't know its fleet yet.",
                "No shard is known yet.",
            ],
        ),
        case(
            "rejoining",
            canned::rejoining(),
            "Rejoining",
            &[
                "It lost its place in the fleet, and joins anew. It waits for its first heartbeat and the first plan.",
            ],
        ),
        case(
            "at-risk",
            canned::at_risk(),
            "Needs you",
            &[
                "pipeline orders",
                "Records at risk: in 1 h the stream trims some that are not delivered.",
                "pipeline orders",
                "12 dead letters in the last minute",
                "worker ip-10-0-5-88-c20d8e13f6aa4971",
                "Found dead",
                "3 unaccounted for",
                "does not add up",
            ],
        ),
    ]
}

fn must_tell(page: &str, told: &[&str], case: &str) {
    let mut rest = page;
    for words in told {
        let at = rest
            .find(words)
            .unwrap_or_else(|| panic!("{case}: {words:?} is not told, or not there, in:\n{page}"));
        rest = &rest[at..];
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_state_is_told_in_words() {
    let stage = Stage::new().await;
    let browser = stage.open(&json(&canned::healthy())).await;
    for case in cases() {
        stage.show(&browser, &json(&case.status)).await;
        let headline = browser
            .text("document.querySelector('#headline').innerText")
            .await;
        assert_eq!(headline.trim(), case.headline, "{}", case.name);
        let title = browser.text("document.title").await;
        assert!(title.starts_with(case.headline), "{title}");
        assert!(title.ends_with("prod-cdc"), "{title}");
        must_tell(&browser.all().await, case.told, case.name);
        browser.shoot(case.name, 2400).await;
    }
    // A fault in the account that one look shows may be a look between two counters.
    stage.show(&browser, &json(&canned::at_risk())).await;
    let again = browser.all().await;
    assert!(again.contains("3 records unaccounted for"), "{again}");
    browser.scheme("dark").await;
    stage.show(&browser, &json(&canned::stuck())).await;
    browser.shoot("stuck-dark", 2400).await;
    is_clean(&browser, &stage.wire.endpoint()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_known_is_no_error() {
    let stage = Stage::new().await;
    let browser = stage.open(&json(&canned::healthy())).await;
    // Each value that may be null is.
    let mut bare = json(&canned::starting());
    bare["pipelines"]["orders"]["shards"] = json(&canned::healthy())["pipelines"]["orders"]["shards"].take();
    for shard in bare["pipelines"]["orders"]["shards"].as_array_mut().unwrap() {
        for (key, value) in shard.as_object_mut().unwrap() {
            if !["lease_key", "shard_id", "parents", "children", "state", "mine"].contains(&key.as_str()) {
                *value = Value::Null;
            }
        }
    }
    bare["workers"] = json(&canned::healthy())["workers"].take();
    bare["workers"][0]["heartbeat_age_seconds"] = Value::Null;
    stage.show(&browser, &bare).await;
    let page = browser.all().await;
    for word in ["undefined", "NaN", "null", "[object", "Invalid"] {
        assert!(!page.contains(word), "{word} in:\n{page}");
    }
    // A daemon of another version may tell less, or a state that nobody knew.
    for status in [
        serde_json::json!({}),
        serde_json::json!({ "ready": true, "pipelines": { "orders": { "records": { "received": 1 } } } }),
        serde_json::json!({ "pipelines": { "orders": { "shards": [{ "shard_id": "s-1", "state": "on_holiday" }] } } }),
    ] {
        stage.show(&browser, &status).await;
        let page = browser.all().await;
        for word in ["undefined", "NaN", "null", "[object"] {
            assert!(!page.contains(word), "{word} for {status} in:\n{page}");
        }
    }
    assert!(browser.all().await.contains("on holiday"));
    is_clean(&browser, &stage.wire.endpoint()).await;
}
