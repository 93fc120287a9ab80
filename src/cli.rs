//! The command line: what the process was asked to do, and how it says no.
//!
//! Owns the arguments, their environment variables and the exit codes. One file a subcommand. The only
//! module that reads the environment or writes to stderr. Called by `main`.

pub mod exit;
pub mod logging;
mod run;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Config;
use exit::Exit;
pub use run::WrongUse;

/// Leases the shards of DynamoDB Streams and writes every record to CloudWatch Logs.
#[derive(Debug, Parser)]
#[command(name = "weir", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::RunArgs),
}

/// What to do, settings checked.
#[derive(Clone, Debug, PartialEq)]
pub enum Job {
    Run(Box<Config>),
}

/// The job that this process was started for.
///
/// Does not return for `--help` and `--version`, nor for arguments that don't exist: those print what they
/// have to say and exit, with 0 and 2.
pub fn parse() -> Result<Job, WrongUse> {
    match Cli::parse().command {
        Command::Run(args) => run::config(&args, &variable).map(|config| Job::Run(Box::new(config))),
    }
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
