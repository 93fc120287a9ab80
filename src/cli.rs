//! The command line: what the process was asked to do, and how it says no.
//!
//! Owns the arguments, their environment variables and the exit codes. One file a subcommand. The only
//! module that reads the environment or writes to stderr. Called by `main`.

pub mod check;
mod chosen;
pub mod completions;
mod dead_letters;
pub mod decode;
mod drain;
mod examples;
pub mod exit;
mod flags;
pub mod health;
pub mod iam_policy;
mod leases;
pub mod logging;
mod otel;
mod output;
mod period;
mod pipelines;
pub mod progress;
pub mod replay;
mod run;
pub mod schema;
mod since;
mod table;
pub mod tail;
pub mod verify;
mod view;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::Config;
use crate::operator::Desk;
use crate::operator::dead_letters::LetterDesk;
pub use dead_letters::Order as LettersOrder;
use exit::Exit;
pub use flags::WrongUse;
pub use output::{failed, tell, tell_plainly};
pub use run::Until;

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
    Check(check::CheckArgs),
    Decode(decode::DecodeArgs),
    Tail(tail::TailArgs),
    Verify(verify::VerifyArgs),
    Replay(replay::ReplayArgs),
    Leases(leases::LeasesArgs),
    Pipelines(pipelines::PipelinesArgs),
    DeadLetters(dead_letters::DeadLettersArgs),
    IamPolicy(iam_policy::IamPolicyArgs),
    Health(health::HealthArgs),
    Schema(schema::SchemaArgs),
    Completions(completions::CompletionsArgs),
}

/// The subcommands by what one wants, as `weir --help` shows them.
const GROUPS: [(&str, &[&str]); 4] = [
    (
        "Set up",
        &["check", "decode", "iam-policy", "schema", "completions"],
    ),
    ("Run", &["run", "health"]),
    ("Look", &["tail", "verify", "leases", "pipelines"]),
    ("Mend", &["dead-letters", "replay"]),
];

/// The command line as clap has it: for the parsing, the completions, and the docs that are made of it.
pub fn command() -> clap::Command {
    let command = Cli::command();
    let of = |name: &str| command.find_subcommand(name);
    let longest = command.get_subcommands().map(|one| one.get_name().len()).max();
    let width = longest.unwrap_or_default();
    let mut groups = String::new();
    for (wish, names) in GROUPS {
        groups.push_str(&format!("{wish}:\n"));
        for one in names.iter().filter_map(|name| of(name)) {
            let (name, about) = (one.get_name(), one.get_about().cloned().unwrap_or_default());
            groups.push_str(&format!("  {name:width$}  {about}\n"));
        }
        groups.push('\n');
    }
    command.help_template(format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{groups}Options:\n{{options}}\n\n\
         `weir COMMAND --help` tells more, with examples."
    ))
}

/// What to do, settings checked.
#[derive(Clone, Debug, PartialEq)]
pub enum Job {
    Run(Box<Config>, run::Until),
    Operate(Box<Config>, Order),
    DeadLetters(Box<Config>, dead_letters::Order),
    Decode(decode::Order),
    Check(check::Order),
    Tail(Box<Config>, tail::Order),
    Verify(Box<Config>, verify::Order),
    Replay(Box<Config>, replay::Order),
    IamPolicy(Box<Config>, iam_policy::Order),
    Health(health::Order),
    Schema,
    Completions(completions::Order),
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
    let matches = command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match cli.command {
        Command::Run(args) => {
            run::read(&args, &variable).map(|(config, until)| Job::Run(Box::new(config), until))
        }
        Command::Check(args) => check::read(&args, &variable).map(Job::Check),
        Command::Tail(args) => {
            tail::read(&args, &variable).map(|(config, order)| Job::Tail(Box::new(config), order))
        }
        Command::Verify(args) => {
            verify::read(&args, &variable).map(|(config, order)| Job::Verify(Box::new(config), order))
        }
        Command::Replay(args) => {
            replay::read(&args, &variable).map(|(config, order)| Job::Replay(Box::new(config), order))
        }
        Command::IamPolicy(args) => {
            iam_policy::read(&args, &variable).map(|(config, order)| Job::IamPolicy(Box::new(config), order))
        }
        Command::Health(args) => health::read(&args, &variable).map(Job::Health),
        Command::Schema(_) => Ok(Job::Schema),
        Command::Completions(args) => Ok(Job::Completions(completions::read(&args))),
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
