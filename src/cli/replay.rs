//! `weir replay`.

use super::chosen::ChosenArgs;
use super::flags::{Flags, WrongUse};
use crate::config::{Config, Vars};

/// Send what the stream still holds of a period once more
#[derive(Debug, clap::Args)]
pub(super) struct ReplayArgs {
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
pub(super) fn read(args: &ReplayArgs, vars: Vars<'_>) -> Result<(Config, Order), WrongUse> {
    let mut flags = Flags::new(vars);
    let chosen = args.chosen.one(&mut flags)?;
    let order = chosen.map(|(config, _)| (config, Order { json: args.json }));
    flags.finish(order, None)
}
