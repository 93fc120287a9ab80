//! The adapters against AWS emulators by others, so that Weir's own fakes are not the only judge.
//!
//! Each test starts an emulator of its own on a free loopback port. The emulators are Python packages, and one
//! of Node.js; the tests look for them in `$WEIR_TOOLS`, else in `target/tools`, where `scripts/tools` puts them.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod emulator;
mod fan_out;
mod kcl;
mod kinesis;
mod leases;
mod logs;
mod operator;
mod streams;
