//! `weir pipelines`: pause and resume.
//!
//! Owns the arguments and what is shown. What may be done is decided in [`crate::operator`].

use std::process::ExitCode;

use clap::Subcommand;

use super::examples::examples;
use super::flags::{SettingsArgs, WrongUse};
use super::view::PipelineView;
use super::{output, table};
use crate::config::{Config, Vars};
use crate::operator::{Desk, PipelineState, Refusal};

/// Pause and resume pipelines
///
/// A paused pipeline is read by nobody until it is resumed; its workers finish what is in flight, checkpoint, and
/// free its leases. A stream of DynamoDB keeps its records for 24 hours, one of Kinesis as long as it is set to: what is
/// not read by then is lost.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
pub(super) struct PipelinesArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(subcommand)]
    command: Command,
}

const AFTER: &str = examples!("pipelines list -c weir.yaml" "pipelines pause orders --wait -c weir.yaml" "pipelines resume orders -c weir.yaml");
const AFTER_LIST: &str =
    examples!("pipelines list -c weir.yaml" "pipelines list --application prod-cdc --json");
const AFTER_PAUSE: &str =
    examples!("pipelines pause orders -c weir.yaml" "pipelines pause orders --wait -c weir.yaml");
const AFTER_RESUME: &str = examples!("pipelines resume orders -c weir.yaml");

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Show all pipelines
    #[command(after_help = AFTER_LIST)]
    List,
    /// Stop reading a pipeline, on all workers
    ///
    /// Workers see it within about 10 s.
    #[command(after_help = AFTER_PAUSE)]
    Pause {
        /// The pipeline, as in the settings
        name: String,
        /// Wait until no worker holds a lease of it
        #[arg(long)]
        wait: bool,
    },
    /// Read a paused pipeline on, from where it was stopped
    ///
    /// Workers see it within about 10 s.
    #[command(after_help = AFTER_RESUME)]
    Resume {
        /// The pipeline, as in the settings
        name: String,
    },
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Order {
    List,
    Pause { name: String, wait: bool },
    Resume(String),
}

/// The settings and the order, or every problem with them at once. `true`: answer in JSON.
pub(super) fn read(args: &PipelinesArgs, vars: Vars<'_>) -> Result<(Config, Order, bool), WrongUse> {
    args.settings.read(vars, |_| {
        Some(match args.command.clone() {
            Command::List => Order::List,
            Command::Pause { name, wait } => Order::Pause { name, wait },
            Command::Resume { name } => Order::Resume(name),
        })
    })
}

pub(super) async fn carry_out(order: Order, json: bool, desk: &mut Desk) -> Result<ExitCode, Refusal> {
    Ok(match order {
        Order::List => {
            let states = desk.pipelines().await?;
            match json {
                true => output::json(&states.iter().map(PipelineView::of).collect::<Vec<_>>()),
                false => output::answer(&listed(&states)),
            }
        }
        Order::Pause { name, wait } => {
            let mut state = desk.pause(&name, true).await?;
            if wait {
                desk.until_free(&name).await?;
                state.owned = 0;
            }
            match json {
                true => output::json(&PipelineView::of(&state)),
                false => output::answer(&paused(&state, wait)),
            }
        }
        Order::Resume(name) => {
            let state = desk.pause(&name, false).await?;
            match json {
                true => output::json(&PipelineView::of(&state)),
                false => output::answer(&format!(
                    "{name} is resumed: workers see it within about 10 s, and read on from the checkpoints\n"
                )),
            }
        }
    })
}

fn paused(state: &PipelineState, waited: bool) -> String {
    let name = &state.name;
    match (waited, state.owned) {
        (true, _) => format!("{name} is paused, and no lease of it has an owner\n"),
        (false, 0) => {
            format!("{name} is paused: workers see it within about 10 s; no lease of it has an owner now\n")
        }
        (false, owned) => format!(
            "{name} is paused: workers see it within about 10 s, finish what is in flight, checkpoint, and free its \
             leases. Leases with an owner now: {owned}; `weir pipelines list` tells how many there still are\n"
        ),
    }
}

fn listed(states: &[PipelineState]) -> String {
    let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let rows: Vec<_> = states
        .iter()
        .map(|state| {
            [
                state.name.clone(),
                yes(state.paused),
                yes(state.configured),
                state.unlisted_since.map(|t| t.to_string()).unwrap_or_default(),
                state.leases.to_string(),
                state.unfinished.to_string(),
                state.owned.to_string(),
            ]
        })
        .collect();
    let heads = [
        "PIPELINE",
        "PAUSED",
        "IN SETTINGS",
        "UNLISTED SINCE",
        "LEASES",
        "UNFINISHED",
        "OWNED",
    ];
    table::render(heads, &rows)
}
