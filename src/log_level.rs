//! How much Weir's own log tells, and the way to change it while it runs.
//!
//! Owns what a filter may be, the one in force, and the one that the process began with. `cli::logging` makes it, since
//! it owns the log; the signals and `http` change it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing::{Level, enabled, info};
use tracing_subscriber::EnvFilter;

/// What a filter adds to see what Weir itself does.
const MORE: &str = "weir=debug";

/// A text is no filter; says why, and what one looks like.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a filter ({what}): use a level, or targets with one, as in `info,weir=debug`")]
pub struct NoFilter {
    pub given: String,
    pub what: String,
}

/// Reads a filter. A word alone must be a level: `EnvFilter` takes any other for a target, so that `dbug` would silence
/// all but what is called so.
pub fn parse(given: &str) -> Result<EnvFilter, NoFilter> {
    let wrong = |what: String| NoFilter {
        given: given.to_owned(),
        what,
    };
    for word in given.split(',').map(str::trim) {
        let is_word = !word.is_empty()
            && word
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "_:-".contains(c));
        if is_word && word.parse::<LevelFilter>().is_err() {
            return Err(wrong(format!("`{word}` is no level")));
        }
    }
    if given.trim().is_empty() {
        return Err(wrong("it is empty".to_owned()));
    }
    EnvFilter::builder()
        .parse(given)
        .map_err(|source| wrong(source.to_string()))
}

type Put = dyn Fn(EnvFilter) + Send + Sync;

/// The level of the log. Clones share it.
#[derive(Clone)]
pub struct LogLevel(Arc<Inner>);

struct Inner {
    at_start: String,
    filter: Mutex<String>,
    put: Box<Put>,
}

impl fmt::Debug for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogLevel").field(&self.filter()).finish()
    }
}

impl LogLevel {
    /// `at_start` is in force now; `put` puts another in its place.
    pub fn new(at_start: &str, put: impl Fn(EnvFilter) + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner {
            at_start: at_start.to_owned(),
            filter: Mutex::new(at_start.to_owned()),
            put: Box::new(put),
        }))
    }

    /// The filter in force.
    pub fn filter(&self) -> String {
        let filter = self.0.filter.lock().unwrap_or_else(PoisonError::into_inner);
        filter.clone()
    }

    /// Puts `filter` in force, and logs that `why` did so. What is no filter changes nothing.
    pub fn set(&self, filter: &str, why: &str) -> Result<(), NoFilter> {
        let read = parse(filter)?;
        let mut current = self.0.filter.lock().unwrap_or_else(PoisonError::into_inner);
        let tell = || info!(from = %current, to = %filter, "{why}: the level of the log is another now");
        // One of the two filters may hide it.
        let is_seen = enabled!(Level::INFO);
        if is_seen {
            tell();
        }
        (self.0.put)(read);
        if !is_seen {
            tell();
        }
        filter.clone_into(&mut current);
        Ok(())
    }

    /// Between the filter that the process began with, and that one with all that Weir does.
    pub fn toggle(&self, why: &str) {
        let start = &self.0.at_start;
        let more = format!("{start},{MORE}");
        let to = if self.filter() == *start { &more } else { start };
        // The first is in force, or was; and so the second is one.
        let _ = self.set(to, why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_alone_is_a_level() {
        for good in [
            "info",
            "WARN",
            "off",
            "info,weir=debug",
            "[shard{shard=s-1}]=debug",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in ["dbug", "info,wier", "", " ", "weir=loud", "weir::http"] {
            let error = parse(bad).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("`{bad}` is not a filter (")),
                "{error}"
            );
        }
    }

    #[test]
    fn a_toggle_goes_there_and_back_from_wherever_it_is() {
        let level = LogLevel::new("warn", |_| {});
        level.toggle("a test");
        assert_eq!(level.filter(), "warn,weir=debug");
        level.toggle("a test");
        assert_eq!(level.filter(), "warn");
        level.set("trace", "a test").unwrap();
        level.toggle("a test");
        assert_eq!(level.filter(), "warn");
        level.set("loud", "a test").unwrap_err();
        assert_eq!(level.filter(), "warn");
    }
}
