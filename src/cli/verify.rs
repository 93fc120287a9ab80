//! `weir verify`.

use super::chosen::ChosenArgs;
use super::flags::{Flags, WrongUse};
use crate::config::{Config, Vars};

/// Compare what the stream still holds with what the log group holds
#[derive(Debug, clap::Args)]
pub(super) struct VerifyArgs {
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
pub(super) fn read(args: &VerifyArgs, vars: Vars<'_>) -> Result<(Config, Order), WrongUse> {
    let mut flags = Flags::new(vars);
    let chosen = args.chosen.one(&mut flags)?;
    let order = chosen.map(|(config, _)| (config, Order { json: args.json }));
    flags.finish(order, None)
}
