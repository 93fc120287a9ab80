//! The real binary as a black box, on an emulated AWS, with faults: killed, stopped, cut off, frozen, lied to.
//!
//! Each test starts an emulator of its own (ministack, installed by `scripts/tools`) and ends all it started. What
//! a test knows of Weir is what a user knows: flags, variables, the config file, signals, exit codes, HTTP, the
//! lease table and the log group. Real time passes here: no test asserts how long something took, but for bounds
//! so wide that to exceed them is to hang.
//!
//! Environment, for longer runs than CI's:
//! - `WEIR_FAULT_CHANGES`, `WEIR_FAULT_KILLS`, `WEIR_FAULT_LEASE_SECONDS`, `WEIR_FAULT_CHECKPOINT_SECONDS`,
//!   `WEIR_FAULT_SEED`: the test with `kill -9` (20000, 10, 3, 1, 1).
//! - `WEIR_FAULT_OUTAGE_SECONDS`: how long each outage lasts (8).
//! - `WEIR_FAULT_FLEET_WORKERS`, `WEIR_FAULT_FLEET_SHARDS`, `WEIR_FAULT_FLEET_LEASE_SECONDS`,
//!   `WEIR_FAULT_FLEET_FREEZE_SECONDS`, `WEIR_FAULT_FLEET_LOOK_UP`: the fleet (3, 9, 4, 8, true); the figures of the
//!   documentation are those of 5, 40, 10, 60.
//! - `WEIR_FAULT_KINESIS_RECORDS`, `WEIR_FAULT_KINESIS_RESHARDS`: the Kinesis stream (6000, 6); the figures of the
//!   documentation are those of 50000, 40.
//! - `WEIR_BINARY`: another binary than the one cargo just built.
#![allow(clippy::disallowed_methods, reason = "a black-box test lives on real time")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail as tests do"
)]

mod audit;
#[path = "../page/browser.rs"]
#[expect(dead_code, reason = "the page's own tests ask more of a browser")]
mod browser;
mod clients;
mod commands;
mod crash;
mod emulator;
mod fleet;
mod fleet_log;
mod health;
mod http;
mod job;
mod kcl;
mod kinesis;
mod letters;
mod load;
mod outage;
mod page;
mod shutdown;
mod start;
mod tally;
mod traces;
mod until;
mod weir;
mod wire;
mod world;
mod writers;

use std::str::FromStr;

use crate::until::until;

/// A number from the environment, for a run that is longer than CI's.
fn setting<T: FromStr>(name: &str, default: T) -> T {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name}={text} is not a number")),
        Err(_) => default,
    }
}
