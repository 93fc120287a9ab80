//! The command line: what the process was asked to do, and how it says no.
//!
//! Owns the arguments, their environment variables and the exit codes. One file a subcommand. The only
//! module that reads the environment or writes to stderr. Called by `main`.

mod dead_letters;
pub mod decode;
pub mod exit;
mod flags;
mod leases;
pub mod logging;
mod output;
mod pipelines;
mod run;
mod table;
mod view;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Config;
use crate::operator::Desk;
use crate::operator::dead_letters::LetterDesk;
pub use dead_letters::Order as LettersOrder;
use exit::Exit;
pub use flags::WrongUse;
pub use output::{failed, tell};

/// Leases the shards of DynamoDB Streams and Kinesis, and writes every record to CloudWatch Logs.
#[derive(Debug, Parser)]
#[command(name = "weir", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(Box<run::RunArgs>),
    Decode(decode::DecodeArgs),
    Leases(leases::LeasesArgs),
    Pipelines(pipelines::PipelinesArgs),
    DeadLetters(dead_letters::DeadLettersArgs),
}

/// What to do, settings checked.
#[derive(Clone, Debug, PartialEq)]
pub enum Job {
    Run(Box<Config>),
    Operate(Box<Config>, Order),
    DeadLetters(Box<Config>, dead_letters::Order),
    Decode(decode::Order),
}

/// One of the operator's commands.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    what: What,
    json: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum What {
    Leases(leases::Order),
    Pipelines(pipelines::Order),
}

/// The job that this process was started for.
///
/// Does not return for `--help` and `--version`, nor for arguments that don't exist: those print what they
/// have to say and exit, with 0 and 2.
pub fn parse() -> Result<Job, WrongUse> {
    match Cli::parse().command {
        Command::Run(args) => run::config(&args, &variable).map(|config| Job::Run(Box::new(config))),
        Command::Decode(args) => decode::read(&args, &variable).map(Job::Decode),
        Command::Leases(args) => leases::read(&args, &variable)
            .map(|(config, order, json)| operate(config, What::Leases(order), json)),
        Command::Pipelines(args) => pipelines::read(&args, &variable)
            .map(|(config, order, json)| operate(config, What::Pipelines(order), json)),
        Command::DeadLetters(args) => dead_letters::read(&args, &variable)
            .map(|(config, order)| Job::DeadLetters(Box::new(config), order)),
    }
}

fn operate(config: Config, what: What, json: bool) -> Job {
    Job::Operate(Box::new(config), Order { what, json })
}

/// Does one of the operator's commands, and prints its answer or why there is none.
pub async fn carry_out(order: Order, mut desk: Desk) -> ExitCode {
    let done = match order.what {
        What::Leases(what) => leases::carry_out(what, order.json, &mut desk).await,
        What::Pipelines(what) => pipelines::carry_out(what, order.json, &mut desk).await,
    };
    done.unwrap_or_else(|refusal| output::failed(&refusal))
}

/// Does one of the commands on dead letters, and prints its answer or why there is none.
pub async fn attend(order: dead_letters::Order, mut desk: LetterDesk) -> ExitCode {
    let done = dead_letters::carry_out(order, &mut desk).await;
    done.unwrap_or_else(|refusal| output::failed(&refusal))
}

/// Says what is wrong, on stderr, and gives the code to exit with.
#[expect(
    clippy::print_stderr,
    reason = "the person who typed the command reads it there"
)]
pub fn refuse(wrong: &dyn std::error::Error) -> ExitCode {
    eprintln!("{wrong}");
    Exit::Misused.into()
}

/// An environment variable. Bytes that are no UTF-8 are replaced: the checks then refuse the value and name it.
fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}
