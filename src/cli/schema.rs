//! `weir schema`: the JSON Schema of the settings' file.

use std::process::ExitCode;

use super::examples::examples;

const AFTER: &str = examples!("schema" "schema > weir.schema.json"; "Exit codes: 0 done, 1 standard output can't be written, 2 for wrong arguments.");

/// Print the JSON Schema of the settings' file, for editors
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
pub(super) struct SchemaArgs {}

/// Prints the schema.
pub fn carry_out() -> ExitCode {
    super::failed(&"not built yet")
}
