//! The repository's files, and the tools that others wrote.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// A path of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The text of a file of the repository.
pub fn text(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// A program of the tests' Python environment.
pub fn tool(name: &str) -> Command {
    let tools = std::env::var_os("WEIR_TOOLS").map_or_else(|| repository("target/tools"), PathBuf::from);
    let path = tools.join("venv/bin").join(name);
    assert!(path.exists(), "{} is missing: run scripts/tools", path.display());
    Command::new(path)
}

/// Runs a command to its end, in the repository.
pub fn run(command: &mut Command) -> Output {
    let command = command.current_dir(repository(""));
    command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"))
}

/// What a command that succeeds prints.
pub fn printed(command: &mut Command) -> String {
    let output = run(command);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The objects that the chart makes of these files of values, later ones before earlier ones.
pub fn rendered(values: &[&Path]) -> Vec<Value> {
    let mut command = tool("python");
    command.arg("tests/ship/render.py").arg("helm/weir").args(values);
    serde_json::from_str(&printed(&mut command)).unwrap()
}
