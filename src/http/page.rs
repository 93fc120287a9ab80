//! The status page at `/`.
//!
//! Owns the page and the headers that fence it in: one file without any other, which asks `/status` of the same server
//! and nothing else. What `/status` tells holds words of strangers (shard ids, errors of services), so the policy lets
//! no script run but the page's own, by its hash, and no text become markup (trusted types).

use std::sync::LazyLock;

use axum::Router;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

const PAGE: &str = include_str!("page.html");

static POLICY: LazyLock<String> = LazyLock::new(|| {
    let [style, script] = ["style", "script"].map(|tag| hash(inside(PAGE, tag)));
    format!(
        "default-src 'none'; style-src {style}; script-src {script}; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
});

/// `/`, and the icon that browsers ask for in any case.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(page))
        .route("/favicon.ico", get(StatusCode::NO_CONTENT))
}

async fn page() -> impl IntoResponse {
    let headers: [(HeaderName, &str); 5] = [
        (header::CONTENT_SECURITY_POLICY, &POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    (headers, Html(PAGE))
}

/// The text between the first `<tag>` and its end.
fn inside<'p>(page: &'p str, tag: &str) -> &'p str {
    let begin = format!("<{tag}>");
    let rest = page.split_once(&begin).map_or("", |(_, rest)| rest);
    rest.split_once(&format!("</{tag}>")).map_or("", |(text, _)| text)
}

/// As a policy names it: Content Security Policy Level 3, "hash-source".
fn hash(text: &str) -> String {
    format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_one_file_that_its_policy_lets_through() {
        for tag in ["style", "script"] {
            assert!(inside(PAGE, tag).len() > 1000);
            assert_eq!(
                PAGE.matches(&format!("<{tag}")).count(),
                1,
                "the policy has one hash for each"
            );
        }
        // What the policy forbids would fail in a browser only.
        for forbidden in [
            " style=\"",
            " onclick=\"",
            " src=\"",
            "innerHTML",
            "@import",
            "eval(",
        ] {
            assert!(!PAGE.contains(forbidden), "{forbidden}");
        }
        let mut addresses = PAGE.match_indices("://").map(|(at, _)| &PAGE[at..]);
        assert!(
            addresses.all(|rest| rest.starts_with("://www.w3.org/2000/svg")),
            "nothing but names of namespaces"
        );
        assert!(PAGE.len() < 40_000, "{} bytes", PAGE.len());
    }

    #[test]
    fn the_page_has_words_for_every_state() {
        use crate::readiness::Latch;
        let states = crate::status::ShardState::ALL.map(|state| serde_json::to_value(state).unwrap());
        let latches = [Latch::Tables, Latch::Heartbeat, Latch::Plan];
        let latches = latches.map(|latch| serde_json::to_value(latch).unwrap());
        for word in states.iter().chain(&latches).map(|value| value.as_str().unwrap()) {
            let told = [format!("\n  {word}: ['"), format!(" {word}: '")];
            assert!(told.iter().any(|told| PAGE.contains(told)), "{word}");
        }
    }

    #[test]
    fn a_hash_is_written_as_the_policy_wants_it() {
        // The example of Content Security Policy Level 3, section 2.3.1.
        assert_eq!(
            hash("alert('Hello, world.');"),
            "'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='"
        );
        assert_eq!(inside("<p><style>a</style></p>", "style"), "a");
    }
}
