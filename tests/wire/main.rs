//! The real binary against AWS as the wire shows it: a fake of DynamoDB, DynamoDB Streams, Kinesis and CloudWatch
//! Logs of our own, since no emulator has the rules of PutLogEvents, and what goes wrong between the two.
//!
//! [`faults`] is the table: each fault with what became of the records. [`poison`] is a long stream with a record of
//! each kind that can't be delivered in its midst, and what becomes of those when a person sends them again.
//! [`reading`] reads stream and log without a lease, and mends what the log lacks. What Weir sends is judged too: a put that breaks a rule, or a request that the fake doesn't know, fails the test. No test
//! asserts how long something took, but for bounds so wide that to exceed them is to hang.
//!
//! Environment:
//! - `WEIR_WIRE_ROWS`: only the faults whose name holds this.
//! - `WEIR_WIRE_AT_ONCE`: how many of them run at a time (8).
//! - `WEIR_WIRE_SEED`: other chances for the faults that strike now and then (1).
//! - `WEIR_BINARY`: another binary than the one cargo just built.
#![allow(clippy::disallowed_methods, reason = "a black-box test lives on real time")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail as tests do"
)]

mod answer;
mod check;
mod dynamodb;
mod expression;
mod faults;
#[path = "../fault/http.rs"]
mod http;
mod inject;
mod judge;
mod kinesis;
mod logs;
mod permissions;
mod poison;
mod reading;
mod records;
mod server;
mod shards;
mod story;
mod streams;
#[path = "../fault/until.rs"]
mod until;
#[path = "../fault/weir.rs"]
#[expect(dead_code, reason = "the fault tests ask more of a life")]
mod weir;
mod world;

use crate::until::until;
