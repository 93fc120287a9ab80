//! `weir health`: asks the daemon beside it, for images without curl.

use std::process::ExitCode;

use super::examples::examples;
use super::flags::WrongUse;
use crate::config::Vars;

const AFTER: &str = examples!("health" "health --ready"; "Exit codes: 0 it is, 1 it is not or does not answer, 2 for wrong arguments.");

/// Ask whether the daemon on this machine is alive
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
pub(super) struct HealthArgs {
    /// Ask whether it is ready: /readyz instead of /livez
    #[arg(long)]
    ready: bool,
}

/// What was asked for, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    pub ready: bool,
}

/// The order, or every problem with it at once.
pub(super) fn read(args: &HealthArgs, _vars: Vars<'_>) -> Result<Order, WrongUse> {
    Ok(Order { ready: args.ready })
}

/// Asks, and gives the code to exit with.
pub fn carry_out(_order: &Order) -> ExitCode {
    super::failed(&"not built yet")
}
