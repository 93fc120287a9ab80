//! The Helm chart: what it renders is valid, safe and consistent; what doesn't fit is refused; what it holds of other
//! files is equal to them.
//!
//! Helm's own engine renders (`judge.py`, many sets of values in one process), and the schemas of Kubernetes, of the
//! Prometheus operator and of KEDA judge. `WEIR_BLESS=1` writes anew what is generated.

mod copies;
mod rendered;
mod wrong;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::tools::{answer, repository, tool};

/// What the chart makes of one set of values.
#[derive(Deserialize)]
struct Rendered {
    /// Helm's words, where it refuses.
    refusal: Option<String>,
    #[serde(default)]
    objects: Vec<Value>,
    #[serde(default)]
    notes: String,
    #[serde(default)]
    lint: Vec<String>,
    #[serde(default)]
    invalid: Vec<String>,
    /// Objects that Kubernetes itself has no schema of.
    #[serde(default)]
    unknown: Vec<Value>,
}

impl Rendered {
    fn of_kind(&self, kind: &str) -> Vec<&Value> {
        self.objects
            .iter()
            .filter(|object| object["kind"] == kind)
            .collect()
    }

    /// The only object of a kind.
    fn the(&self, kind: &str) -> &Value {
        let found = self.of_kind(kind);
        assert_eq!(found.len(), 1, "{kind}");
        found[0]
    }

    fn deployment(&self) -> &Value {
        self.the("Deployment")
    }

    /// The workers' pod.
    fn pod(&self) -> &Value {
        &self.deployment()["spec"]["template"]
    }

    /// The container that runs Weir.
    fn container(&self) -> &Value {
        &self.pod()["spec"]["containers"][0]
    }

    /// What a variable of that container is set to.
    fn variable(&self, name: &str) -> Option<&str> {
        let variables = self.container()["env"].as_array().unwrap();
        variables.iter().find(|variable| variable["name"] == name)?["value"].as_str()
    }

    /// The settings that the chart renders.
    fn settings(&self) -> Option<&str> {
        let maps = self.of_kind("ConfigMap");
        maps.into_iter().find_map(|map| map["data"]["weir.yaml"].as_str())
    }
}

fn judge(order: &Value) -> Value {
    answer(tool("python").arg("tests/ship/chart/judge.py"), order)
}

/// What the chart makes of each case (`judge.py` says what a case has).
fn render_all(cases: &[Value]) -> Vec<Rendered> {
    let answer = judge(&json!({ "cases": cases }));
    serde_json::from_value(answer["cases"].clone()).unwrap()
}

/// What the chart makes of each of the values; panics if it refuses some.
fn render_each<const N: usize>(values: [Value; N]) -> [Rendered; N] {
    let cases: Vec<Value> = values
        .into_iter()
        .map(|values| json!({ "values": values }))
        .collect();
    let rendered = render_all(&cases);
    for (case, rendered) in cases.iter().zip(&rendered) {
        assert_eq!(rendered.refusal, None, "{case}");
    }
    rendered.try_into().unwrap_or_else(|_| panic!("one for each"))
}

fn render(values: Value) -> Rendered {
    let [rendered] = render_each([values]);
    rendered
}

/// The sets of values that the chart brings, by name, and the one without any.
fn sets() -> BTreeMap<String, Value> {
    let files = std::fs::read_dir(repository("helm/weir/ci")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut sets: BTreeMap<_, _> = names
        .map(|name| {
            let set = name
                .strip_suffix("-values.yaml")
                .expect("a set is named NAME-values.yaml");
            (
                set.to_owned(),
                json!({ "files": [format!("helm/weir/ci/{name}")] }),
            )
        })
        .collect();
    sets.insert("none".to_owned(), json!({}));
    sets
}

/// Settings with one pipeline, and what else is given.
fn config(more: &Value) -> Value {
    let mut config = json!({
        "pipelines": {
            "orders": { "source": { "dynamodb_table": "orders" }, "destination": { "group": "/cdc/orders" } }
        }
    });
    for (key, value) in more.as_object().unwrap() {
        config[key] = value.clone();
    }
    config
}

/// Values with one pipeline, and what else is given.
fn values(more: &Value) -> Value {
    let mut values = more.clone();
    values["config"] = config(more.get("config").unwrap_or(&json!({})));
    values
}
