//! The status page in a real browser: Debian's Chromium, installed by `scripts/tools`.
//!
//! The page is the one that the daemon serves, with its headers; `/status` says what a test wants it to say, in the
//! daemon's own types. `tests/fault/page.rs` has the page of a running fleet. What the page looks like is written to
//! `target/screenshots`, or to where `WEIR_SCREENSHOTS` names.
#![allow(clippy::disallowed_methods, reason = "a browser lives on real time")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail as tests do"
)]

mod access;
mod browser;
mod canned;
mod stage;
mod states;
mod strangers;
mod updates;
#[path = "../fault/wire.rs"]
#[expect(dead_code, reason = "the fault tests do more with a wire")]
mod wire;

use crate::browser::Browser;

/// No script failed, the policy refused nothing, and nobody but the server was asked for anything.
async fn is_clean(browser: &Browser, origin: &str) {
    let console = browser.console().await;
    assert!(console.is_empty(), "{console:#?}");
    let requests = browser.requests().await;
    assert!(!requests.is_empty(), "the page and its status");
    for url in requests {
        assert!(
            url.starts_with(origin) || url.starts_with("data:"),
            "the page asked for {url}"
        );
    }
}
