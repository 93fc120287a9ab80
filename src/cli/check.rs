//! `weir check`.

use super::chosen::ChosenArgs;
use super::flags::{Flags, WrongUse};
use crate::config::{Config, Vars};

/// Tell everything that would keep `weir run` from working
#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    chosen: ChosenArgs,
}

/// What was asked for, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    pub json: bool,
}

/// The settings and the order, or every problem with them at once.
pub(super) fn read(args: &CheckArgs, vars: Vars<'_>) -> Result<(Config, Order), WrongUse> {
    let mut flags = Flags::new(vars);
    let config = args.chosen.some(&mut flags)?;
    flags.finish(Some((config, Order { json: args.json })), None)
}
