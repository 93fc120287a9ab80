//! `weir schema`: the JSON Schema of the settings' file.

use std::process::ExitCode;

/// Print the JSON Schema of the settings' file, for editors
#[derive(Debug, clap::Args)]
pub(super) struct SchemaArgs {}

/// Prints the schema.
pub fn carry_out() -> ExitCode {
    super::failed(&"not built yet")
}
