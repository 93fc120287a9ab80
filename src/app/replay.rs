//! What `weir replay` needs, and its way to it.

use std::process::ExitCode;

use crate::cli;
use crate::cli::replay::Order;
use crate::config::Config;

/// Carries the order out, and prints the answer.
pub async fn replay(_config: Config, _order: Order) -> ExitCode {
    cli::failed(&"not built yet")
}
