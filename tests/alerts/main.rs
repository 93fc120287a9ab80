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

#[path = "../wire/answer.rs"]
mod answer;
mod causes;
#[path = "../fault/clients.rs"]
#[expect(dead_code, reason = "the fault tests have more services")]
mod clients;
mod dashboard;
#[path = "../wire/dynamodb.rs"]
mod dynamodb;
#[path = "../fault/emulator.rs"]
#[expect(dead_code, reason = "the fault tests have more emulators")]
mod emulator;
#[path = "../wire/expression.rs"]
mod expression;
mod fleets;
#[path = "../fault/http.rs"]
mod http;
#[path = "../wire/inject.rs"]
#[expect(dead_code, reason = "the wire tests inject more")]
mod inject;
#[path = "../wire/kinesis.rs"]
mod kinesis;
#[path = "../wire/logs.rs"]
#[expect(dead_code, reason = "the wire tests look into the log")]
mod logs;
mod prometheus;
mod queries;
#[path = "../wire/records.rs"]
#[expect(dead_code, reason = "the wire tests judge what became of the records")]
mod records;
mod rules;
mod runbooks;
#[path = "../wire/server.rs"]
#[expect(dead_code, reason = "the wire tests change it while it serves")]
mod server;
#[path = "../wire/shards.rs"]
#[expect(dead_code, reason = "the wire tests split, merge and forget shards")]
mod shards;
mod shorter;
#[path = "../wire/streams.rs"]
mod streams;
#[path = "../fault/tally.rs"]
#[expect(dead_code, reason = "the fault tests count what was delivered")]
mod tally;
#[path = "../fault/until.rs"]
mod until;
#[path = "../fault/weir.rs"]
#[expect(dead_code, reason = "the fault tests ask more of a life")]
mod weir;
#[path = "../fault/world.rs"]
#[expect(dead_code, reason = "the fault tests ask more of a world")]
mod world;
#[path = "../fault/writers.rs"]
#[expect(dead_code, reason = "the fault tests wait for the writers")]
mod writers;

use std::path::{Path, PathBuf};

use crate::until::until;

/// A path of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}
