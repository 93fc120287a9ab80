//! What is shipped beside the binary: the image, the chart, the ECS template, and what a release holds.
//!
//! [`image`], [`chart`], [`ecs`] and [`release`] hold the files against each other, against what the program does, and
//! against the linters and schemas that others wrote (`scripts/tools` brings them; where one is missing, the tests
//! fail). [`live`] deploys: real workers, started by the arguments, the environment and the settings that chart and
//! template render, replaced one by one while their table changes. `WEIR_BINARY` names another program than the one
//! cargo just built, such as the image's.
#![allow(clippy::disallowed_methods, reason = "a black-box test lives on real time")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail as tests do"
)]

mod chart;
#[path = "../fault/clients.rs"]
mod clients;
mod ecs;
#[path = "../fault/emulator.rs"]
#[expect(dead_code, reason = "the fault tests have more emulators")]
mod emulator;
#[path = "../fault/fleet_log.rs"]
#[expect(dead_code, reason = "the fault tests ask more of a log")]
mod fleet_log;
#[path = "../fault/http.rs"]
mod http;
mod image;
mod live;
#[path = "../fault/load.rs"]
mod load;
mod release;
#[path = "../fault/tally.rs"]
#[expect(dead_code, reason = "the fault tests ask more of a tally")]
mod tally;
mod tools;
#[path = "../fault/until.rs"]
mod until;
#[path = "../fault/weir.rs"]
#[expect(dead_code, reason = "the fault tests ask more of a life")]
mod weir;
#[path = "../fault/world.rs"]
#[expect(dead_code, reason = "the fault tests ask more of a world")]
mod world;
#[path = "../fault/writers.rs"]
#[expect(dead_code, reason = "the fault tests write for a time that is known before")]
mod writers;

use crate::until::until;
