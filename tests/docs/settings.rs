//! The settings in the pages are ones that the program takes.

use serde_json::{Value, json};
use weir::config::keys::{Key, TOP};
use weir::config::{Config, Overrides};

use crate::page::pages;

/// What the pages take from the environment.
fn variable(name: &str) -> Option<String> {
    (name == "WEIR_REDACT_KEY").then(|| "sixteen bytes or more".to_owned())
}

/// A file of what may be a part of one.
fn file(text: &str) -> String {
    let part: Value = serde_saphyr::from_str(text).unwrap();
    let names: Vec<&String> = part.as_object().unwrap().keys().collect();
    let are = |keys: &[Key]| names.iter().all(|name| keys.iter().any(|key| key.name == **name));
    let pipelines = TOP.iter().find(|key| key.name == "pipelines").unwrap();
    let source = json!({"dynamodb_table": "orders"});
    let destination = json!({"group": "g"});
    if part.get("pipelines").is_some() {
        text.to_owned()
    } else if are(TOP) {
        let rest = json!({"pipelines": {"p": {"source": source, "destination": destination}}});
        format!("{text}\npipelines: {}", rest["pipelines"])
    } else if are(pipelines.kind.below()) {
        let mut pipeline = json!({"source": source, "destination": destination});
        for (name, value) in part.as_object().unwrap() {
            pipeline[name] = value.clone();
        }
        json!({"pipelines": {"p": pipeline}}).to_string()
    } else {
        // A pipeline under its name.
        let pipelines: Value = part;
        json!({ "pipelines": pipelines }).to_string()
    }
}

/// What begins a file of Prometheus' or Kubernetes', and no settings of Weir's.
const FOREIGN: [&str; 5] = [
    "scrape_configs:",
    "rule_files:",
    "groups:",
    "inhibit_rules:",
    "apiVersion:",
];

#[test]
fn all_settings_in_the_pages_are_taken() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for page in pages() {
        // Behind the word, whose they are: `yaml kubernetes`.
        for fence in page.fences().into_iter().filter(|fence| fence.info == "yaml") {
            if FOREIGN.iter().any(|begin| fence.text.starts_with(begin)) {
                continue;
            }
            seen += 1;
            if let Err(why) = Config::from_yaml(&file(&fence.text), &variable, Overrides::default()) {
                wrong.push(format!("{}, line {}: {why}", page.path, fence.line));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen > 10, "{seen}");
}
