//! What the pages name exists: links, files, tests, metrics.

use std::fs;
use std::path::{Path, PathBuf};

use weir::metrics::Metrics;

use crate::page::{Page, pages};
use crate::root;

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for page in &pages {
        for link in page.links() {
            if link.contains("://") {
                continue;
            }
            seen += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let folder = Path::new(&page.path).parent().unwrap();
            let target = match file.is_empty() {
                true => page.path.clone(),
                false => normal(&folder.join(file)),
            };
            let to = pages.iter().find(|page| page.path == target);
            let leads = match (anchor, to) {
                ("", _) => root().join(&target).exists(),
                (anchor, Some(to)) => to.anchors().iter().any(|known| known == anchor),
                _ => false,
            };
            if !leads {
                wrong.push(format!("{}: {link}", page.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen > 20, "{seen}");
}

/// A path without `..`.
fn normal(path: &Path) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.to_str().unwrap().split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[test]
fn every_file_that_is_named_is_there() {
    let mut wrong = Vec::new();
    for page in pages() {
        for span in page.spans() {
            let named = ["src/", "tests/", "config/", "docs/", "scripts/"];
            let is_path = named.iter().any(|begin| span.starts_with(begin))
                && !span.contains([' ', '*', '{', '<'])
                && !span.ends_with('/');
            if is_path && !root().join(&span).exists() {
                wrong.push(format!("{}: {span}", page.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_metric_that_is_named_is_there() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for page in pages() {
        for name in metrics_in(&page) {
            seen += 1;
            if !is_metric(&name) {
                wrong.push(format!("{}: {name}", page.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen > 20, "{seen}");
}

/// Each word that begins as Weir's metrics do, with a star where one follows.
fn metrics_in(page: &Page) -> Vec<String> {
    let in_a_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (at, _) in page.text.match_indices("weir_") {
        if page.text[..at].ends_with(in_a_name) {
            continue;
        }
        let rest = &page.text[at..];
        let length = rest.find(|c| !in_a_name(c)).unwrap_or(rest.len());
        let star = if rest[length..].starts_with('*') { "*" } else { "" };
        found.push(format!("{}{star}", &rest[..length]));
    }
    found
}

fn is_metric(name: &str) -> bool {
    Metrics::ALL.iter().any(|metric| match name.strip_suffix('*') {
        Some(begin) => metric.name.starts_with(begin),
        None => {
            let of_a_histogram = ["_bucket", "_sum", "_count"]
                .iter()
                .any(|end| metric.kind == "histogram" && name.strip_suffix(end) == Some(metric.name));
            metric.name == name || of_a_histogram
        }
    })
}

#[test]
fn every_test_that_holds_a_promise_is_there() {
    let mut sources = Vec::new();
    walk(&root().join("tests"), &mut sources);
    walk(&root().join("src"), &mut sources);
    let mut wrong = Vec::new();
    let mut seen = 0;
    for page in pages() {
        if !["docs/delivery-guarantees.md", "ARCHITECTURE.md"].contains(&page.path.as_str()) {
            continue;
        }
        for span in page.spans() {
            let binaries = ["sim", "fault", "wire", "emulator", "docs", "weir"];
            let Some((binary, path)) = span
                .split_once("::")
                .filter(|(first, _)| binaries.contains(first))
            else {
                continue;
            };
            seen += 1;
            if !sources
                .iter()
                .any(|(file, text)| is_test(binary, path, file, text))
            {
                wrong.push(format!("{}: {span}", page.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen > 20, "{seen}");
}

/// Whether a file below the root holds what `binary::path` names: a module's test, a module, or a test whose name
/// begins so, with `…` behind.
fn is_test(binary: &str, path: &str, file: &str, text: &str) -> bool {
    let folder = match binary {
        "weir" => "src/".to_owned(),
        binary => format!("tests/{binary}/"),
    };
    let Some(file) = file.strip_prefix(&folder) else {
        return false;
    };
    let file = file.trim_end_matches(".rs").replace('/', "::");
    let (modules, test) = path.rsplit_once("::").unwrap_or(("", path));
    let in_file = modules.is_empty() || modules == file || modules == format!("{file}::tests");
    let is_there = match test.strip_suffix('…') {
        Some(begin) => text.contains(&format!("fn {begin}")),
        None => text.contains(&format!("fn {test}(")),
    };
    (in_file && is_there) || path == file
}

fn walk(dir: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let below = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            found.push((below, fs::read_to_string(&path).unwrap()));
        }
    }
}
