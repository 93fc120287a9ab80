//! The invariants of the layout, as ARCHITECTURE.md tells them.
#![allow(
    clippy::unwrap_used,
    reason = "a test that can't read the sources must stop loudly"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// Each source file with its text, as a path below `src`; its unit tests left out.
fn sources() -> Vec<(String, String)> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs")
                && path.file_stem().is_none_or(|s| s != "tests")
            {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&root, &mut found);
    assert!(found.len() > 40, "the sources are where they were");
    found
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
            (
                path.strip_prefix(&root).unwrap().to_string_lossy().into_owned(),
                code,
            )
        })
        .collect()
}

#[test]
fn pure_files_know_no_runtime_and_no_sdk() {
    let pure = [
        "aws/arn.rs",
        "aws/denial.rs",
        "backoff.rs",
        "check.rs",
        "check/",
        "config/keys",
        "config/schema.rs",
        "consumer/activity.rs",
        "consumer/appetite.rs",
        "consumer/lag.rs",
        "consumer/start.rs",
        "coordinator/caught_up.rs",
        "decode.rs",
        "decode/",
        "digest.rs",
        "filter.rs",
        "filter/",
        "http/liveness.rs",
        "json.rs",
        "json/",
        "ledger.rs",
        "lease/duty.rs",
        "lease/item",
        "lease/keys.rs",
        "lease/notes.rs",
        "lease/plan.rs",
        "lease/share.rs",
        "lease/times.rs",
        "logs/address.rs",
        "logs/allow.rs",
        "logs/batch.rs",
        "logs/circuit.rs",
        "logs/cloudwatch/refusal.rs",
        "logs/dead_letter",
        "logs/group.rs",
        "logs/guard.rs",
        "logs/lookup.rs",
        "logs/oversize.rs",
        "logs/pace.rs",
        "logs/sink/tag.rs",
        "logs/template.rs",
        "logs/untimely.rs",
        "memory.rs",
        "metrics/account.rs",
        "operator/made.rs",
        "operator/position.rs",
        "operator/redrive.rs",
        "operator/survey/pace.rs",
        "operator/survey/tree.rs",
        "operator/verify/compare.rs",
        "operator/watch.rs",
        "queue.rs",
        "redact.rs",
        "redact/",
        "policy.rs",
        "shape.rs",
        "shape/",
        "status/assembly.rs",
        "status/fleet.rs",
        "status/gauges.rs",
        "status/why.rs",
        "stream/homes.rs",
        "stream/lineage.rs",
        "stream/view.rs",
        "trace/otlp.rs",
    ];
    let mut seen = 0;
    for (path, code) in sources() {
        if pure.iter().any(|p| path.starts_with(p)) {
            seen += 1;
            for word in ["tokio", "aws_sdk", "aws_config", "async fn"] {
                assert!(!code.contains(word), "{path} is pure and knows `{word}`");
            }
        }
    }
    assert!(seen >= pure.len(), "each of them exists");
}

#[test]
fn the_sdk_stops_at_the_adapters() {
    let adapters = [
        "aws",
        "stream/dynamodb",
        "stream/fan_out",
        "stream/kinesis",
        "lease/dynamodb",
        "logs/cloudwatch",
    ];
    for (path, code) in sources() {
        let adapter = adapters.iter().any(|a| path.starts_with(a));
        assert!(
            adapter || !code.contains("aws_sdk_"),
            "{path} is no adapter and names the SDK"
        );
    }
}

#[test]
fn nobody_but_the_composition_root_knows_the_http_server() {
    for (path, code) in sources() {
        let root = path.starts_with("app/")
            || path.starts_with("http/")
            || ["app.rs", "main.rs", "http.rs"].contains(&path.as_str());
        assert!(
            root || !(code.contains("crate::http") || code.contains("crate::app")),
            "{path}"
        );
    }
}
