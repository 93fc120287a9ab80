//! Debian's Prometheus: where its programs are, and what `promtool` says.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// `prometheus` or `promtool`: where `scripts/tools` unpacks it (`$WEIR_TOOLS`, or beside the binary's profile in
/// `target`), or the machine's own.
pub fn program(name: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_BIN_EXE_weir"))
        .ancestors()
        .nth(2)
        .expect("target/<profile>/weir");
    let tools = std::env::var_os("WEIR_TOOLS").map_or(target.join("tools"), PathBuf::from);
    let unpacked = tools.join("prometheus/usr/bin").join(name);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).map(|dir| dir.join(name));
    let mut candidates = std::iter::once(unpacked).chain(installed);
    let found = candidates.find(|candidate| candidate.exists());
    found.unwrap_or_else(|| panic!("{name} is missing: run scripts/tools"))
}

/// What `promtool` answers; panics unless it agrees.
pub fn promtool(arguments: &[&str]) -> String {
    let output = Command::new(program("promtool")).args(arguments).output().unwrap();
    agreed(arguments, &output)
}

pub fn agreed(arguments: &[&str], output: &Output) -> String {
    let text = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    let text = text.concat();
    assert!(output.status.success(), "promtool {arguments:?}: {text}");
    text
}
