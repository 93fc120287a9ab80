//! What is shipped beside the binary: the image, the chart, the ECS template, and what a release holds.
//!
//! [`image`], [`chart`], [`ecs`] and [`release`] hold the files against each other, against what the program does, and
//! against the linters and schemas that others wrote (`scripts/tools` brings them; where one is missing, the tests
//! fail). [`live`] deploys: real workers, started by the arguments, the environment and the settings that chart and
//! template render, replaced one by one while their table changes.
#![allow(clippy::disallowed_methods, reason = "a black-box test lives on real time")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail as tests do"
)]

mod chart;
mod ecs;
mod image;
mod live;
mod release;
mod tools;
