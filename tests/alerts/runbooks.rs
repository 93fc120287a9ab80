//! The runbooks: a page for each alert and an alert for each page; what they point to exists.

use std::collections::BTreeSet;
use std::path::Path;

use crate::{queries, read, repository, rules};

const PAGES: &str = "docs/runbooks";
/// The index; the other pages are named after their alerts.
const INDEX: &str = "README.md";
/// A page is read at night, on a small screen.
const LONGEST: usize = 60;

fn pages() -> Vec<(String, String)> {
    let files = std::fs::read_dir(repository(PAGES)).unwrap();
    let mut pages: Vec<_> = files
        .map(|file| {
            let path = file.unwrap().path();
            (
                path.file_name().unwrap().to_str().unwrap().to_owned(),
                read(&path),
            )
        })
        .collect();
    pages.sort();
    pages
}

/// What a page's links point to, and what it says in code.
fn links(text: &str) -> Vec<&str> {
    let pieces = text.split("](").skip(1);
    pieces.filter_map(|piece| piece.split(')').next()).collect()
}

#[test]
fn each_alert_has_its_page_each_page_its_alert_and_the_index_names_all() {
    let alerts: BTreeSet<_> = rules::alerts()
        .into_iter()
        .map(|alert| format!("{}.md", alert.name))
        .collect();
    let pages = pages();
    let names: BTreeSet<_> = pages
        .iter()
        .map(|(name, _)| name.clone())
        .filter(|name| name != INDEX)
        .collect();
    assert_eq!(alerts, names);
    let index = &pages.iter().find(|(name, _)| name == INDEX).unwrap().1;
    let linked: BTreeSet<_> = links(index).into_iter().map(str::to_owned).collect();
    let missing: Vec<_> = alerts.difference(&linked).collect();
    assert!(missing.is_empty(), "the index lacks {missing:?}");
}

#[test]
fn each_page_says_the_same_four_things_and_fits_a_screen() {
    for (name, text) in pages().iter().filter(|(name, _)| name != INDEX) {
        for part in [
            "**It means**",
            "**Data at risk?**",
            "**Type first**",
            "**Wake somebody else",
        ] {
            assert!(text.contains(part), "{name} lacks {part}");
        }
        assert!(text.lines().count() <= LONGEST, "{name} is too long");
    }
}

#[test]
fn links_of_the_pages_resolve_and_their_metrics_exist() {
    let recorded = rules::recorded();
    for (name, text) in pages() {
        for link in links(&text) {
            let file = link.split('#').next().unwrap_or_default();
            let path = repository(PAGES).join(Path::new(file));
            assert!(path.exists(), "{name} points to {link}");
        }
        for metric in queries::metrics(&text) {
            // `process_…` of the tables is a metric as well.
            assert!(queries::exists(&metric, &recorded), "{name} tells of {metric}");
        }
    }
}
