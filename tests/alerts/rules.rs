//! The rules: Prometheus reads them, each fires in a test of theirs and is quiet in another, and what they ask for
//! exists.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::prometheus::promtool;
use crate::queries;
use crate::{read, repository};

pub const FILE: &str = "deploy/prometheus/weir.rules.yaml";
const TESTS: [&str; 2] = [
    "deploy/prometheus/tests/firing.yaml",
    "deploy/prometheus/tests/quiet.yaml",
];
/// Where the pages are, until who deploys the rules puts the true address in its place.
pub const RUNBOOKS: &str = "https://git.example.com/weir/blob/main/docs/runbooks";

/// One alerting rule.
#[derive(Debug)]
pub struct Alert {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

fn strings(value: &Value) -> BTreeMap<String, String> {
    let object = value.as_object().into_iter().flatten();
    object
        .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect()
}

pub fn yaml(path: &str) -> Value {
    let text = read(&repository(path));
    serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn list<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    value[key].as_array().into_iter().flatten()
}

pub fn rules() -> Vec<Value> {
    let file = yaml(FILE);
    let groups = list(&file, "groups");
    groups.flat_map(|group| list(group, "rules")).cloned().collect()
}

pub fn alerts() -> Vec<Alert> {
    let rules = rules();
    let alerts = rules.iter().filter_map(|rule| {
        Some(Alert {
            name: rule["alert"].as_str()?.to_owned(),
            labels: strings(&rule["labels"]),
            annotations: strings(&rule["annotations"]),
        })
    });
    alerts.collect()
}

/// The names of the series that the rules record.
pub fn recorded() -> BTreeSet<String> {
    let rules = rules();
    let names = rules.iter().filter_map(|rule| rule["record"].as_str());
    names.map(str::to_owned).collect()
}

#[test]
fn prometheus_reads_the_rules_and_their_tests_pass() {
    let path = |path: &str| repository(path).to_str().unwrap().to_owned();
    println!("{}", promtool(&["check", "rules", &path(FILE)]));
    let tests = TESTS.map(path);
    println!("{}", promtool(&["test", "rules", &tests[0], &tests[1]]));
}

#[test]
fn each_rule_fires_in_a_test_and_its_alert_is_quiet_in_another() {
    let (mut firing, mut quiet) = (BTreeSet::new(), BTreeSet::new());
    for file in TESTS {
        for test in list(&yaml(file), "tests") {
            for case in list(test, "alert_rule_test") {
                let name = case["alertname"].as_str().unwrap().to_owned();
                let expected: Vec<_> = list(case, "exp_alerts").collect();
                if expected.is_empty() {
                    quiet.insert(name.clone());
                }
                for alert in expected {
                    let labels = strings(&alert["exp_labels"]);
                    firing.insert((
                        name.clone(),
                        labels.get("severity").cloned(),
                        labels.get("why").cloned(),
                    ));
                }
            }
        }
    }
    let alerts = alerts();
    assert!(alerts.len() > 10, "{} alerts", alerts.len());
    for alert in &alerts {
        // `unowned` comes from the series.
        let why = alert.labels.get("why").cloned();
        let fires = firing.iter().any(|(name, severity, of)| {
            *name == alert.name
                && severity.as_ref() == alert.labels.get("severity")
                && why.as_ref().is_none_or(|why| of.as_ref() == Some(why))
        });
        assert!(fires, "no test has {} {:?} fire", alert.name, alert.labels);
        assert!(quiet.contains(&alert.name), "no test has {} quiet", alert.name);
    }
}

#[test]
fn what_the_rules_ask_for_exists() {
    let recorded = recorded();
    for rule in rules() {
        let expression = rule["expr"].as_str().unwrap();
        let names = queries::metrics(expression);
        assert!(!names.is_empty(), "{expression}");
        for name in names {
            assert!(
                queries::exists(&name, &recorded),
                "{name} in {expression} is told by nobody"
            );
        }
    }
}

#[test]
fn each_alert_says_how_urgent_it_is_and_what_to_do() {
    for alert in alerts() {
        let severity = alert.labels.get("severity").map(String::as_str);
        assert!(
            matches!(severity, Some("critical" | "warning")),
            "{} has the severity {severity:?}",
            alert.name
        );
        for text in ["summary", "description"] {
            assert!(
                alert.annotations.contains_key(text),
                "{} has no {text}",
                alert.name
            );
        }
        let page = format!("{RUNBOOKS}/{}.md", alert.name);
        assert_eq!(
            alert.annotations.get("runbook_url"),
            Some(&page),
            "{}",
            alert.name
        );
    }
}
