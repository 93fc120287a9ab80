//! The pages agree with the program: what is generated is what is there, and what they name exists.
//!
//! `WEIR_BLESS=1` writes the generated pages anew.

#![expect(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

mod commands;
mod configuration;
mod cost;
mod names;
mod page;
mod settings;
mod shell;

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// `text` is what stands in the page at `path`, below the root.
fn is_generated(path: &str, text: &str) {
    let at = root().join(path);
    if std::env::var_os("WEIR_BLESS").is_some() {
        std::fs::write(&at, text).unwrap();
    }
    let found = std::fs::read_to_string(&at).unwrap_or_default();
    assert!(
        found == text,
        "{path} is not what it is generated to: WEIR_BLESS=1 cargo nextest run --test docs writes it anew"
    );
}
