//! `weir schema`: the JSON Schema of the settings' file.

use std::process::ExitCode;

use super::examples::examples;
use super::output;
use crate::config::schema;

const AFTER: &str = examples!("schema" "schema > weir.schema.json"; "Exit codes: 0 done, 1 standard output can't be written, 2 for wrong arguments.");

/// Print the JSON Schema of the settings' file, for editors
///
/// Editors that know the YAML language server complete and check a file that begins with
///
///   # yaml-language-server: $schema=weir.schema.json
///
/// The path is relative to that file. `weir check` tells what the schema can't.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_help = AFTER)]
pub(super) struct SchemaArgs {}

/// Prints the schema.
pub fn carry_out() -> ExitCode {
    output::answer(&schema::text())
}
