//! What `scripts/bench` measures Weir with.
//!
//! `rig fake` is AWS as the wire shows it: a stream of canned records, the tables that Weir keeps its state in, and
//! CloudWatch Logs that swallows and counts. `rig floor` receives the same bytes and sends as many, signed, and does
//! nothing with them: the least that the job can cost. Neither knows Weir.

#[path = "../../../tests/wire/answer.rs"]
mod answer;
mod canned;
#[path = "../../../tests/wire/dynamodb.rs"]
mod dynamodb;
#[path = "../../../tests/wire/expression.rs"]
mod expression;
mod fake;
mod floor;
mod http;
mod logs;
mod options;
mod records;
mod sign;
mod stats;
mod stream;

use options::Command;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let command = options::parse(&arguments).unwrap_or_else(|why| {
        eprintln!("rig: {why}\n\n{}", options::HELP);
        std::process::exit(2);
    });
    match command {
        Command::Fake(options) => fake::run(options),
        Command::Floor(options) => floor::run(options),
    }
}
