//! `weir completions`: for a shell.

use std::process::ExitCode;

use clap_complete::Shell;

use super::examples::examples;
use super::output;

const AFTER: &str = examples!(
    "completions bash > ~/.local/share/bash-completion/completions/weir"
    "completions zsh > ~/.zfunc/_weir"
    "completions fish > ~/.config/fish/completions/weir.fish"
    "completions elvish >> ~/.config/elvish/rc.elv"
    "completions powershell >> $PROFILE";
    "Exit codes: 0 done, 1 standard output can't be written, 2 for wrong arguments."
);

/// Print a shell's completions
///
/// Put them where the shell looks, and open a new one. Bash needs its package bash-completion and looks in the
/// directory below; zsh looks in the directories of $fpath, so ~/.zshrc needs `fpath+=~/.zfunc` before `compinit`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
pub(super) struct CompletionsArgs {
    /// Of this shell
    shell: Shell,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    pub shell: Shell,
}

/// The order.
pub(super) fn read(args: &CompletionsArgs) -> Order {
    Order { shell: args.shell }
}

/// Prints them.
pub fn carry_out(order: &Order) -> ExitCode {
    // Into memory first: the generator panics where it can't write, and `head` closes its pipe.
    let mut text = Vec::new();
    clap_complete::generate(order.shell, &mut super::command(), "weir", &mut text);
    output::answer(&String::from_utf8_lossy(&text))
}
