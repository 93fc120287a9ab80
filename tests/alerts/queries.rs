//! What a PromQL expression asks for. Reads names only; whether it parses is promtool's to say.

use std::collections::BTreeSet;

use ::weir::metrics::{Described, Metrics, process};

use crate::prometheus::promtool_reads;

/// What Prometheus itself tells of each target and alert.
const PROMETHEUS: [&str; 2] = ["ALERTS", "up"];

/// Every metric of a worker.
pub fn all() -> impl Iterator<Item = &'static Described> {
    Metrics::ALL.iter().chain(process::ALL)
}

/// The names of metrics in an expression: all words that look like one, outside of quotes.
pub fn metrics(expression: &str) -> BTreeSet<String> {
    // Every other piece stands in quotes.
    let outside: Vec<&str> = expression.split('"').step_by(2).collect();
    let text = outside.join(" ");
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    let is_metric =
        |word: &&str| word.starts_with("weir_") || word.starts_with("weir:") || word.starts_with("process_");
    words
        .filter(|word| is_metric(word) || PROMETHEUS.contains(word))
        .map(str::to_owned)
        .collect()
}

/// The metric of a worker that a series' name belongs to: a histogram has three.
pub fn metric(name: &str) -> Option<&'static str> {
    let parts = ["_bucket", "_sum", "_count"];
    let base = parts.iter().find_map(|part| name.strip_suffix(part));
    all()
        .find(|m| m.name == name || (m.kind == "histogram" && Some(m.name) == base))
        .map(|m| m.name)
}

/// Whether somebody tells this metric.
pub fn exists(name: &str, recorded: &BTreeSet<String>) -> bool {
    metric(name).is_some() || PROMETHEUS.contains(&name) || recorded.contains(name)
}

#[test]
fn names_are_found_outside_of_quotes_and_histograms_by_their_parts() {
    let found = metrics(r#"rate(weir_put_seconds_bucket{pipeline="weir_x"}[5m]) and on (job) up"#);
    assert_eq!(
        found.into_iter().collect::<Vec<_>>(),
        ["up", "weir_put_seconds_bucket"]
    );
    assert_eq!(metric("weir_put_seconds_bucket"), Some("weir_put_seconds"));
    assert_eq!(metric("weir_puts_total_bucket"), None);
}

/// A series of each metric, with labels of each name that it has: a worker shows most of them only once there is
/// something to tell.
#[test]
fn prometheus_finds_nothing_amiss_with_the_name_or_help_of_any_metric() {
    let mut text = String::new();
    for metric in all() {
        let name = metric.name;
        text += &format!("# HELP {name} {}\n# TYPE {name} {}\n", metric.help, metric.kind);
        let labels: Vec<_> = metric
            .labels
            .iter()
            .map(|label| format!("{label}=\"x\""))
            .collect();
        let labels = labels.join(",");
        match metric.kind {
            "histogram" => {
                let bucket = [labels.as_str(), "le=\"+Inf\""]
                    .into_iter()
                    .filter(|part| !part.is_empty());
                let bucket = bucket.collect::<Vec<_>>().join(",");
                text += &format!(
                    "{name}_bucket{{{bucket}}} 1\n{name}_sum{{{labels}}} 1\n{name}_count{{{labels}}} 1\n"
                );
            }
            _ => text += &format!("{name}{{{labels}}} 1\n"),
        }
    }
    let told = promtool_reads(&["check", "metrics"], &text);
    assert_eq!(told, "");
}
