//! The work that each record takes, without a network: one case at a time, a number of times.
//!
//!     hot_path CASE TIMES      does it; prints how many records one time is
//!     hot_path                 the names of the cases
//!
//! `scripts/hot-path` runs it under callgrind and compares the instructions with `counts.json`. Without a clock:
//! instructions are the same on a busy machine. Under `cargo test` it is one test: each case does what it says.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a benchmark that can't do its work must stop loudly"
)]

mod answers;
mod cases;
mod fixtures;

use std::hint::black_box;
use std::process::ExitCode;

use cases::CASES;

/// The name that the test runner knows it by.
const TEST: &str = "each_case_does_its_work";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        // What cargo-nextest asks of a harness. None is ignored.
        [.., "--list", "--format", "terse"] => println!("{TEST}: test"),
        ["--list", "--format", "terse", "--ignored"] => {}
        _ if words.contains(&TEST) || words == ["--bench"] => {
            for case in &CASES {
                let mut work = (case.make)();
                work();
            }
        }
        [] => {
            for case in &CASES {
                println!("{} {}", case.name, case.records);
            }
        }
        [name, times] => {
            let (Some(case), Ok(times)) = (CASES.iter().find(|case| case.name == name), times.parse::<u32>())
            else {
                eprintln!("no case {name}, or {times} is no number");
                return ExitCode::from(2);
            };
            let mut work = (case.make)();
            for _ in 0..times {
                black_box(&mut work)();
            }
        }
        _ => {
            eprintln!("usage: hot_path [CASE TIMES]");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
