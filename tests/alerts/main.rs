//! What whoever is paged holds in hand: the alert rules, their runbooks, the dashboard; and a real Prometheus that
//! scrapes real workers whose trouble is real.
//!
//! [`rules`], [`dashboard`] and [`runbooks`] hold the files against each other and against the metrics that there
//! are, with Prometheus' own `promtool`. [`causes`] makes each alert's cause, and waits for the alert. Prometheus is
//! Debian's (`scripts/tools` brings it); where it is missing, the tests fail.
#![allow(clippy::disallowed_methods, reason = "a black-box test lives on real time")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail as tests do"
)]

mod dashboard;
mod prometheus;
mod queries;
mod rules;
mod runbooks;

use std::path::{Path, PathBuf};

/// A path of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}
