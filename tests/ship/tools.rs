//! The repository's files, and the tools that others wrote.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::emulator::{self, tools};

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
    Command::new(emulator::tool(name))
}

/// What `scripts/tools` installed of npm: the folder with its `node_modules`.
pub fn node() -> PathBuf {
    let place = tools().join("node-ship");
    let modules = place.join("node_modules");
    assert!(
        modules.exists(),
        "{} is missing: run scripts/tools",
        modules.display()
    );
    place
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

/// The JSON that a command prints which is given some to read.
pub fn answer(command: &mut Command, input: &Value) -> Value {
    let command = command.current_dir(repository(""));
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.to_string().as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {told}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The objects that the chart makes of these files of values, later ones before earlier ones.
pub fn rendered(values: &[&Path]) -> Vec<Value> {
    let mut command = tool("python");
    command.arg("tests/ship/render.py").arg("helm/weir").args(values);
    serde_json::from_str(&printed(&mut command)).unwrap()
}
