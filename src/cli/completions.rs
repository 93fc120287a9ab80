//! `weir completions`: for a shell.

use std::process::ExitCode;

/// Print a shell's completions
#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArgs {
    /// bash, zsh, fish, elvish or powershell
    shell: String,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    pub shell: String,
}

/// The order.
pub(super) fn read(args: &CompletionsArgs) -> Order {
    Order {
        shell: args.shell.clone(),
    }
}

/// Prints them.
pub fn carry_out(_order: &Order) -> ExitCode {
    super::failed(&"not built yet")
}
