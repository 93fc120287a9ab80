//! `weir iam-policy`: the permissions that the settings need.

use std::process::ExitCode;

use super::chosen::ChosenArgs;
use super::flags::{Flags, WrongUse};
use crate::config::{Config, Vars};

/// Print the least permissions that these settings need
#[derive(Debug, clap::Args)]
pub(super) struct IamPolicyArgs {
    #[command(flatten)]
    chosen: ChosenArgs,
}

/// What was asked for, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {}

/// The settings and the order, or every problem with them at once.
pub(super) fn read(args: &IamPolicyArgs, vars: Vars<'_>) -> Result<(Config, Order), WrongUse> {
    let mut flags = Flags::new(vars);
    let config = args.chosen.some(&mut flags)?;
    flags.finish(Some((config, Order {})), None)
}

/// Prints the policy.
pub fn carry_out(_config: &Config, _order: &Order) -> ExitCode {
    super::failed(&"not built yet")
}
