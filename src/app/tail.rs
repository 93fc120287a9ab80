//! What `weir tail` needs, and its way to it.

use std::process::ExitCode;

use crate::cli;
use crate::cli::tail::Order;
use crate::config::Config;

/// Carries the order out, and prints the answer.
pub async fn tail(_config: Config, _order: Order) -> ExitCode {
    cli::failed(&"not built yet")
}
