//! What a PromQL expression asks for. Reads names only; whether it parses is promtool's to say.

use std::collections::BTreeSet;

use ::weir::metrics::Metrics;

use crate::prometheus::promtool_reads;

/// What other collectors tell of each process, and Prometheus of each target and alert.
const OTHERS: [&str; 7] = [
    "ALERTS",
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
    "up",
];

/// The names of metrics in an expression: all words that look like one, outside of quotes.
pub fn metrics(expression: &str) -> BTreeSet<String> {
    // Every other piece stands in quotes.
    let outside: Vec<&str> = expression.split('"').step_by(2).collect();
    let text = outside.join(" ");
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    let is_metric =
        |word: &&str| word.starts_with("weir_") || word.starts_with("weir:") || word.starts_with("process_");
    words
        .filter(|word| is_metric(word) || OTHERS.contains(word))
        .map(str::to_owned)
        .collect()
}

/// The metric of Weir's that a series' name belongs to: a histogram has three.
pub fn of_weir(name: &str) -> Option<&'static str> {
    let parts = ["_bucket", "_sum", "_count"];
    let base = parts.iter().find_map(|part| name.strip_suffix(part));
    let mut all = Metrics::ALL.iter();
    all.find(|m| m.name == name || (m.kind == "histogram" && Some(m.name) == base))
        .map(|m| m.name)
}

/// Whether somebody tells this metric.
pub fn exists(name: &str, recorded: &BTreeSet<String>) -> bool {
    of_weir(name).is_some() || OTHERS.contains(&name) || recorded.contains(name)
}

#[test]
fn names_are_found_outside_of_quotes_and_histograms_by_their_parts() {
    let found = metrics(r#"rate(weir_put_seconds_bucket{pipeline="weir_x"}[5m]) and on (job) up"#);
    assert_eq!(
        found.into_iter().collect::<Vec<_>>(),
        ["up", "weir_put_seconds_bucket"]
    );
    assert_eq!(of_weir("weir_put_seconds_bucket"), Some("weir_put_seconds"));
    assert_eq!(of_weir("weir_puts_total_bucket"), None);
}

/// A series of each metric, with labels of each name that it has: a worker shows most of them only once there is
/// something to tell.
#[test]
fn prometheus_finds_nothing_amiss_with_the_name_or_help_of_any_metric() {
    let mut text = String::new();
    for metric in Metrics::ALL {
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
