//! What the chart holds of other files, because Helm reads none outside it, and what is generated of its values.

use std::process::Command;

use serde_json::{Value, json};

use super::{judge, render};
use crate::tools::{node, printed, repository, text};

/// `text` is what stands in the file at `path`.
fn is_generated(path: &str, text: &str) {
    if std::env::var_os("WEIR_BLESS").is_some() {
        std::fs::write(repository(path), text).unwrap();
    }
    let found = std::fs::read_to_string(repository(path)).unwrap_or_default();
    assert!(
        found == text,
        "{path} is not what it is made of: WEIR_BLESS=1 cargo nextest run --test ship chart::copies writes it anew"
    );
}

#[test]
fn rules_and_dashboard_of_the_chart_are_those_of_the_repository() {
    is_generated(
        "helm/weir/files/weir.rules.yaml",
        &text("deploy/prometheus/weir.rules.yaml"),
    );
    is_generated(
        "helm/weir/files/dashboard.json",
        &text("deploy/grafana/weir.json"),
    );
}

/// Go's expressions repeat a thousand times at most: a longer repetition has no upper bound here.
fn for_go(schema: &mut Value) {
    match schema {
        Value::Object(keys) => {
            if let Some(Value::String(pattern)) = keys.get_mut("pattern") {
                *pattern = pattern.replace(",1224}", ",}");
            }
            keys.values_mut().for_each(for_go);
        }
        Value::Array(items) => items.iter_mut().for_each(for_go),
        _ => {}
    }
}

#[test]
fn the_schema_of_the_values_knows_all_settings_of_weir() {
    let mut settings: Value = serde_json::from_str(&text("config/weir.schema.json")).unwrap();
    let keys = settings.as_object_mut().unwrap();
    // Of the whole file, and of its dialect: the schema around it has its own. Without pipelines nothing runs.
    for key in ["$schema", "title", "required"] {
        keys.remove(key);
    }
    let pipelines = settings["properties"]["pipelines"].as_object_mut().unwrap();
    assert_eq!(pipelines.remove("minProperties"), Some(json!(1)));
    for_go(&mut settings);

    let mut schema: Value = serde_json::from_str(&text("helm/weir/values.schema.json")).unwrap();
    schema["properties"]["config"] = settings;
    is_generated("helm/weir/values.schema.json", &format!("{schema:#}\n"));
}

/// That each value is in the schema, the strict schema sees to, whenever the chart is rendered without values.
#[test]
fn every_value_that_the_schema_knows_has_a_default() {
    fn compare(path: &str, schema: &Value, all: &Value, values: &Value) {
        let schema = match schema["$ref"].as_str() {
            Some(reference) => all.pointer(reference.trim_start_matches('#')).unwrap(),
            None => schema,
        };
        // These two are for a chart that holds this one.
        // Kubernetes' own objects are described so that they can be given, and have defaults where Weir needs them.
        let known = schema["properties"].as_object().into_iter().flatten();
        for (key, schema) in
            known.filter(|(key, _)| !(path.is_empty() && ["enabled", "global"].contains(&key.as_str())))
        {
            let path = format!("{path}.{key}");
            let value = values.get(key).unwrap_or_else(|| panic!("{path} has no default"));
            let kubernetes = [
                "Probe",
                ".affinity",
                ".dnsConfig",
                ".resources",
                ".config",
                ".strategy",
            ];
            let behavior = [".behavior", ".authenticationRef"];
            if !kubernetes.iter().chain(&behavior).any(|end| path.ends_with(end)) && value.is_object() {
                compare(&path, schema, all, value);
            }
        }
    }
    let schema: Value = serde_json::from_str(&text("helm/weir/values.schema.json")).unwrap();
    let script =
        "import json, sys, yaml; json.dump(yaml.safe_load(open('helm/weir/values.yaml')), sys.stdout)";
    let values = printed(crate::tools::tool("python").args(["-c", script]));
    compare("", &schema, &schema, &serde_json::from_str(&values).unwrap());
}

#[test]
fn the_readme_of_the_chart_is_generated_of_its_values() {
    let place = tempfile::tempdir().unwrap();
    let readme = place.path().join("README.md");
    std::fs::copy(repository("helm/weir/README.md"), &readme).unwrap();
    let generator = node().join("node_modules/.bin/readme-generator");
    printed(
        Command::new("node")
            .arg(generator)
            .args(["-v", "helm/weir/values.yaml", "-r"])
            .arg(&readme),
    );
    is_generated("helm/weir/README.md", &std::fs::read_to_string(&readme).unwrap());
}

#[test]
fn the_packaged_chart_holds_what_it_needs_and_no_more() {
    let answer = judge(&json!({ "cases": [], "package": true }));
    let files: Vec<&str> = answer["package"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file.as_str().unwrap())
        .collect();
    for file in [
        "Chart.yaml",
        "README.md",
        "values.schema.json",
        "files/weir.rules.yaml",
        "templates/NOTES.txt",
    ] {
        assert!(
            files.contains(&format!("weir/{file}").as_str()),
            "{file} is not in {files:?}"
        );
    }
    assert!(!files.iter().any(|file| file.starts_with("weir/ci")), "{files:?}");
}

#[test]
fn the_version_of_the_chart_is_that_of_the_program() {
    let chart = text("helm/weir/Chart.yaml");
    let version = env!("CARGO_PKG_VERSION");
    for line in [format!("version: {version}"), format!("appVersion: {version}")] {
        assert!(chart.lines().any(|found| found == line), "{line}");
    }
    assert_eq!(
        render(super::values(&json!({}))).container()["image"],
        format!("weir:{version}")
    );
}
