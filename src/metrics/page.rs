//! `docs/metrics.md`, made from what the metrics say of themselves: a page that can't be out of date.

use std::fmt::Write;
use std::path::Path;

use super::{Described, Metrics, process};
use crate::aws::Class;
use crate::decode::Skip;
use crate::lease::{TableError, plan};
use crate::logs::SinkError;
use crate::logs::batch::Refusal;
use crate::stream::SourceError;

const INTRO: &str = "# Metrics

Weir answers at `http://…:8080/metrics` in the text format of Prometheus (`http.address` in the file, or
`--http-address`). Scrape every worker of the fleet, each 15 to 60 s: each tells of the shards that it reads, and the
sum, or the maximum, over all of them is the truth.

```yaml
scrape_configs:
  - job_name: weir
    static_configs: [{ targets: [\"weir-0:8080\", \"weir-1:8080\"] }]
```

Five to watch, before all others:

1. `min by (pipeline) (weir_pipeline_until_trim_seconds)`: the time until the stream trims what is not delivered. At 0
   data is lost.
2. `max by (pipeline) (weir_pipeline_lag_seconds)`: how far the log is behind the stream.
3. `sum by (pipeline, reason) (rate(weir_records_dead_lettered_total[5m]))`: records that went to the dead letters.
4. `max(weir_problems)`: what a person should fix; `/readyz` says it in words.
5. `sum by (pipeline) (increase(weir_trimmed_gaps_total[1h]))`: records lost already.

Labels are bounded. A `shard_id` stands on gauges alone, and its series go with the lease. A histogram `NAME` has the
series `NAME_bucket`, `NAME_sum` and `NAME_count`. Counters begin at 0 with the process.

This page is made from the code, by a test that fails while the two differ. To write it anew:
`WEIR_BLESS=1 cargo test --lib metrics::page`
";

/// What is told together, by how the names begin. The first that fits has a metric.
const THEMES: &[(&str, &[&str])] = &[
    (
        "Data at risk",
        &[
            "weir_pipeline_until_trim",
            "weir_pipeline_lag",
            "weir_shard_until_trim",
            "weir_shard_lag",
            "weir_shard_checkpoint_age",
            "weir_trimmed_gaps",
        ],
    ),
    (
        "Records",
        &[
            "weir_records_",
            "weir_received_bytes",
            "weir_delivered_bytes",
            "weir_filtered_bytes",
            "weir_dead_lettered_bytes",
            "weir_events_filtered",
            "weir_aggregates_",
            "weir_audit_lines_",
            "weir_look_ups",
        ],
    ),
    ("Memory", &["weir_buffer_"]),
    (
        "The destination",
        &["weir_put", "weir_events_", "weir_destinations_"],
    ),
    (
        "The stream",
        &[
            "weir_reads",
            "weir_source_",
            "weir_shards_ended",
            "weir_hung_shards",
        ],
    ),
    (
        "Leases and the fleet",
        &[
            "weir_leases_",
            "weir_shards_",
            "weir_checkpoints",
            "weir_table_",
            "weir_heartbeats",
            "weir_fences",
            "weir_evictions",
        ],
    ),
    ("Requests to AWS", &["weir_aws_"]),
    ("Weir itself", &["weir_"]),
    ("The process", &["process_"]),
];

fn words<T>(all: impl IntoIterator<Item = T>, word: impl Fn(T) -> &'static str) -> String {
    let words: Vec<String> = all.into_iter().map(|one| format!("`{}`", word(one))).collect();
    words.join(", ")
}

/// What a label of a metric may be.
fn values(metric: &str, label: &str) -> String {
    let none = String::new;
    match (metric, label) {
        (_, "pipeline") => "a pipeline's name".to_owned(),
        (_, "shard_id") => "a shard's id".to_owned(),
        (_, "version") => "Weir's version".to_owned(),
        (name, "reason") if name.contains("dead_lettered") => words(Refusal::ALL, |r| r.as_str()),
        (name, "reason") if name.contains("filtered") => words(Skip::ALL, |s| s.as_str()),
        ("weir_trace_spans_total", "outcome") => words(["sent", "rejected", "failed", "queue_full"], |w| w),
        (_, "outcome") => words(["complete", "partial", "failed"], |w| w),
        (_, "from") => words(
            [plan::From::Free, plan::From::Dead, plan::From::Own],
            plan::From::as_str,
        ),
        (_, "why") => words(["parent", "unowned", "paused"], |w| w),
        (_, "service") => words(["dynamodb", "dynamodb_streams", "kinesis", "logs"], |w| w),
        (_, "operation") => "as AWS calls it, like `PutLogEvents`".to_owned(),
        ("weir_aws_requests_total", "class") => words(Class::ALL, Class::as_str),
        ("weir_put_errors_total", "class") => {
            let kinds = [
                SinkError::Missing(none()),
                SinkError::Invalid(none()),
                SinkError::Throttled(none()),
                SinkError::Denied(none()),
                SinkError::Unanswered(none()),
                SinkError::Unavailable(none()),
            ];
            words(&kinds, SinkError::class)
        }
        ("weir_source_errors_total", "class") => {
            let kinds = [
                SourceError::IteratorExpired,
                SourceError::DataTrimmed,
                SourceError::NotFound(none()),
                SourceError::NoStream(none()),
                SourceError::Throttled(none()),
                SourceError::AccessDenied(none()),
                SourceError::Unavailable(none()),
            ];
            words(&kinds, SourceError::class)
        }
        ("weir_table_errors_total", "class") => {
            let kinds = [
                TableError::Throttled(none()),
                TableError::Unanswered(none()),
                TableError::Unavailable(none()),
                TableError::Refused(none()),
            ];
            words(&kinds, TableError::class)
        }
        _ => panic!("{metric}: say in metrics/page.rs what its label `{label}` may be"),
    }
}

/// Breaks at spaces, so that no line is longer than 120 characters.
fn wrapped(text: &str) -> String {
    let (mut lines, mut line) = (String::new(), String::new());
    for word in text.split(' ') {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > 120 {
            lines += &line;
            lines.push('\n');
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    lines + &line
}

fn entry(metric: &Described) -> String {
    let Described {
        name,
        kind,
        labels,
        help,
    } = metric;
    let mut entry = format!("### {name}\n\n{}\n", wrapped(&format!("{kind}. {help}")));
    if !labels.is_empty() {
        entry.push('\n');
    }
    for label in *labels {
        let line = format!("- `{label}`: {}", values(name, label));
        // What goes on belongs to its item.
        writeln!(entry, "{}", wrapped(&line).replace('\n', "\n  ")).unwrap();
    }
    entry
}

fn page() -> String {
    let mut page = INTRO.to_owned();
    let theme_of = |metric: &Described| {
        THEMES
            .iter()
            .position(|(_, begins)| begins.iter().any(|begin| metric.name.starts_with(begin)))
    };
    for (index, (title, _)) in THEMES.iter().enumerate() {
        write!(page, "\n## {title}\n").unwrap();
        let all = Metrics::ALL.iter().chain(process::ALL);
        for metric in all.filter(|metric| theme_of(metric) == Some(index)) {
            write!(page, "\n{}", entry(metric)).unwrap();
        }
    }
    page
}

#[test]
fn the_page_of_the_metrics_says_what_they_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let page = page();
    for metric in Metrics::ALL.iter().chain(process::ALL) {
        let heading = format!("### {}\n", metric.name);
        assert_eq!(page.matches(&heading).count(), 1, "{heading}");
    }
    if std::env::var_os("WEIR_BLESS").is_some_and(|bless| bless == "1") {
        std::fs::write(&path, &page).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == page,
        "docs/metrics.md is out of date: write it anew with WEIR_BLESS=1 cargo test --lib metrics::page"
    );
}
