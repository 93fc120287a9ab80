//! What a command prints: its answer on stdout, everything else on stderr.

use std::io::{self, Write};
use std::process::ExitCode;

use serde::Serialize;

use super::exit::Exit;

/// Prints an answer. A reader that closed the pipe, `head` say, has what it wanted.
pub fn answer(text: &str) -> ExitCode {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => failed(&error),
        _ => Exit::Done.into(),
    }
}

/// Prints an answer as JSON.
pub fn json<T: Serialize>(value: &T) -> ExitCode {
    match serde_json::to_string_pretty(value) {
        Ok(text) => answer(&format!("{}\n", plain_json(text))),
        Err(error) => failed(&error),
    }
}

/// Tells what is going on, on stderr.
#[expect(
    clippy::print_stderr,
    reason = "the person who typed the command reads it there"
)]
pub fn tell(text: &str) {
    eprintln!("{text}");
}

/// As [`tell`], of a text that holds what others wrote.
pub fn tell_plainly(text: &str) {
    tell(&plain(text));
}

/// Says why a command failed, on stderr.
pub fn failed(why: &dyn std::fmt::Display) -> ExitCode {
    tell(&format!("error: {why}"));
    Exit::Failed.into()
}

/// A JSON text, with nothing in its strings that a terminal would take for a command: JSON itself escapes only what
/// lies below the space, and some terminals take U+009B for the beginning of one.
pub(super) fn plain_json(text: String) -> String {
    let is_left = |c: char| ('\u{7f}'..='\u{9f}').contains(&c);
    if !text.contains(is_left) {
        return text;
    }
    let mut plain = String::with_capacity(text.len() + 64);
    for c in text.chars() {
        match is_left(c) {
            true => plain.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => plain.push(c),
        }
    }
    plain
}

/// The text on one line, without what a terminal would take for a command.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => plain.extend(c.escape_default()),
            false => plain.push(c),
        }
    }
    plain
}
