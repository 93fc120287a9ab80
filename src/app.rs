//! To come.

use std::process::ExitCode;

use crate::cli::exit::Exit;
use crate::config::Config;

/// Runs until told to stop.
pub async fn run(_config: Config) -> ExitCode {
    Exit::Drained.into()
}
