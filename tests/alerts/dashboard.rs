//! The dashboard: Prometheus reads each query, what it asks for exists, and no metric of a worker's is missing.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::prometheus::promtool;
use crate::{queries, read, repository, rules};

const FILE: &str = "deploy/grafana/weir.json";
/// Metrics that are on no panel, each with the reason.
const LEFT_OUT: [(&str, &str); 1] = [(
    "process_virtual_memory_bytes",
    "address space says little; the memory in use is shown",
)];

fn dashboard() -> Value {
    serde_json::from_str(&read(&repository(FILE))).unwrap()
}

fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    panels.filter(|panel| panel["type"] != "row")
}

/// Each query, by where it stands, without Grafana's variables.
fn expressions(dashboard: &Value) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for panel in panels(dashboard) {
        let title = panel["title"].as_str().unwrap();
        for target in panel["targets"].as_array().unwrap() {
            let place = format!("{title}, {}", target["refId"].as_str().unwrap());
            let expression = plain(target["expr"].as_str().unwrap());
            let twin = found.insert(place.clone(), expression);
            assert!(twin.is_none(), "two are called {place}");
        }
    }
    for list in dashboard["annotations"]["list"].as_array().unwrap() {
        let expression = plain(list["expr"].as_str().unwrap());
        found.insert("annotations".to_owned(), expression);
    }
    found
}

fn plain(expression: &str) -> String {
    let plain = expression
        .replace("$__rate_interval", "1m")
        .replace("$__range", "6h")
        .replace("$job", ".*")
        .replace("$pipeline", ".*");
    assert!(!plain.contains('$'), "an unknown variable: {expression}");
    plain
}

#[test]
fn prometheus_reads_each_query() {
    let expressions = expressions(&dashboard());
    assert!(expressions.len() > 40, "{} queries", expressions.len());
    let rules: Vec<_> = expressions
        .values()
        .enumerate()
        .map(|(n, expression)| json!({ "record": format!("query:{n}"), "expr": expression }))
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("queries.json");
    // JSON is YAML.
    let groups = json!({ "groups": [{ "name": "queries", "rules": rules }] });
    std::fs::write(&file, groups.to_string()).unwrap();
    println!("{}", promtool(&["check", "rules", file.to_str().unwrap()]));
}

#[test]
fn what_the_dashboard_asks_for_exists_and_no_metric_is_missing() {
    let recorded = rules::recorded();
    let mut shown = BTreeSet::new();
    for (place, expression) in expressions(&dashboard()) {
        let names = queries::metrics(&expression);
        assert!(!names.is_empty(), "{place}: {expression}");
        for name in names {
            assert!(queries::exists(&name, &recorded), "{place}: nobody tells {name}");
            shown.extend(queries::metric(&name));
        }
    }
    for (name, reason) in LEFT_OUT {
        assert!(!reason.is_empty() && !shown.contains(name), "{name}");
        assert!(queries::metric(name).is_some(), "there is no {name}");
        shown.insert(name);
    }
    let missing: Vec<_> = queries::all()
        .map(|metric| metric.name)
        .filter(|name| !shown.contains(name))
        .collect();
    assert!(missing.is_empty(), "on no panel, and not left out: {missing:?}");
}

#[test]
fn each_panel_says_what_it_shows_in_which_unit_of_the_chosen_source_and_none_overlap() {
    let dashboard = dashboard();
    let chosen = json!({ "type": "prometheus", "uid": "${datasource}" });
    let variables: Vec<_> = dashboard["templating"]["list"]
        .as_array()
        .unwrap()
        .iter()
        .collect();
    let names: Vec<_> = variables.iter().map(|v| v["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["datasource", "job", "pipeline"]);
    let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().unwrap();
        let description = panel["description"].as_str().unwrap_or_default();
        assert!(description.ends_with('.'), "{title} says nothing of itself");
        let unit = panel["fieldConfig"]["defaults"]["unit"].as_str();
        assert!(unit.is_some(), "{title} has no unit");
        assert_eq!(panel["datasource"], chosen, "{title}");
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(target["datasource"], chosen, "{title}");
        }
        assert!(
            ids.insert(panel["id"].as_u64().unwrap()),
            "{title} has another's id"
        );
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{title} is cut off");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(places.insert((x, y)), "{title} covers another");
            }
        }
    }
}
