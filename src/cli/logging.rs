//! Weir's own log: `tracing`, to stdout, where containers have their log; of a command that prints an answer
//! there, to stderr.
//!
//! Times are UTC in RFC 3339. JSON lines hold an event's fields at the top level, and those of its spans
//! in `spans`.

use std::io::{IsTerminal, Write, stderr, stdout};

use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::config::LogFormat;
use crate::log_level::{self, LogLevel, NoFilter};

/// Sets the level, as `tracing-subscriber`'s `EnvFilter` reads it.
const VARIABLE: &str = "WEIR_LOG";

/// What the SDK warns of while it looks for credentials and a region comes in Weir's own words too.
const DEFAULT: &str = "info,aws_config=error";

/// A command says itself what it does.
const DEFAULT_BESIDE_AN_ANSWER: &str = "warn,aws_config=error";

/// Why the log can't be started.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    #[error("{VARIABLE}: {0}")]
    Filter(NoFilter),
    #[error("the log is already started: start it once in a process")]
    Started(#[from] tracing::subscriber::SetGlobalDefaultError),
}

/// Starts the log, for the whole process and once. Its level can be changed by what is given.
pub fn start(format: LogFormat) -> Result<LogLevel, LoggingError> {
    let terminal = stdout().is_terminal();
    // https://no-color.org: set and not empty.
    let colours = terminal && super::variable("NO_COLOR").is_none_or(|v| v.is_empty());
    begin(DEFAULT, is_json(format, terminal), colours, stdout)
}

/// Starts the log of a command whose stdout holds its answer and nothing else: text, on stderr.
pub fn start_beside_an_answer() -> Result<LogLevel, LoggingError> {
    begin(DEFAULT_BESIDE_AN_ANSWER, false, false, stderr)
}

fn begin<W>(default: &str, json: bool, colours: bool, to: W) -> Result<LogLevel, LoggingError>
where
    W: for<'w> MakeWriter<'w, Writer: Write> + Send + Sync + 'static,
{
    let (filter, text) = filter(super::variable(VARIABLE).as_deref(), default)?;
    let (filter, reloads) = reload::Layer::new(filter);
    tracing::subscriber::set_global_default(subscriber(filter, json, colours, to))?;
    // An error means that the subscriber is gone, and it is the process'.
    Ok(LogLevel::new(&text, move |filter| drop(reloads.reload(filter))))
}

fn filter(given: Option<&str>, default: &str) -> Result<(EnvFilter, String), LoggingError> {
    let given = given.filter(|given| !given.is_empty()).unwrap_or(default);
    let filter = log_level::parse(given).map_err(LoggingError::Filter)?;
    Ok((filter, given.to_owned()))
}

fn is_json(format: LogFormat, terminal: bool) -> bool {
    match format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    }
}

fn subscriber<F, W>(filter: F, json: bool, colours: bool, to: W) -> Box<dyn Subscriber + Send + Sync>
where
    F: Layer<Registry> + Send + Sync,
    W: for<'w> MakeWriter<'w, Writer: Write> + Send + Sync + 'static,
{
    let registry = Registry::default().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(to);
    if json {
        // The list of spans holds the current one: no need to have it twice.
        let lines = lines.json().flatten_event(true).with_current_span(false);
        Box::new(registry.with(lines))
    } else {
        Box::new(registry.with(lines.with_ansi(colours)))
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: Option<&str>, json: bool) -> String {
        let lines = Lines::default();
        let to = lines.clone();
        let subscriber = subscriber(filter(level, DEFAULT).unwrap().0, json, false, move || to.clone());
        tracing::subscriber::with_default(subscriber, || {
            let _span = tracing::info_span!("shard", shard = "s-1").entered();
            tracing::info!(records = 3, "delivered");
            tracing::debug!("unseen");
        });
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_level_changes_while_it_runs() {
        let lines = Lines::default();
        let to = lines.clone();
        let (first, text) = filter(Some("warn"), DEFAULT).unwrap();
        let (first, reloads) = reload::Layer::new(first);
        let level = LogLevel::new(&text, move |filter| reloads.reload(filter).unwrap());
        let subscriber = subscriber(first, false, false, move || to.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("unseen");
            level.toggle("a test");
            tracing::debug!("seen");
            level.toggle("a test");
            tracing::debug!("unseen");
        });
        let bytes = lines.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        let seen: Vec<&str> = text.lines().collect();
        // Both changes are told: each in the louder of its two levels.
        assert_eq!(seen.len(), 3, "{text}");
        assert!(
            seen[0].contains("a test: the level of the log is another now") && seen[1].contains(": seen"),
            "{text}"
        );
    }

    #[test]
    fn text_is_for_terminals_unless_it_is_asked_for() {
        assert!(!is_json(LogFormat::Auto, true));
        assert!(is_json(LogFormat::Auto, false));
        assert!(!is_json(LogFormat::Text, false));
        assert!(is_json(LogFormat::Json, true));
    }

    #[test]
    fn a_json_line_has_its_fields_at_the_top_and_a_utc_time() {
        let line: serde_json::Value = serde_json::from_str(&logged(None, true)).unwrap();
        assert_eq!(line["message"], "delivered");
        assert_eq!(line["records"], 3);
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["spans"][0]["shard"], "s-1");
        let time = line["timestamp"].as_str().unwrap();
        assert!(
            time.ends_with('Z') && time.parse::<jiff::Timestamp>().is_ok(),
            "{time}"
        );
    }

    #[test]
    fn a_text_line_has_fields_and_no_colours_when_told_so() {
        let line = logged(None, false);
        assert!(
            line.contains("INFO shard{shard=\"s-1\"}: weir::cli::logging::tests: delivered records=3"),
            "{line}"
        );
        assert!(!line.contains('\u{1b}'));
    }

    #[test]
    fn the_level_is_info_unless_the_variable_says_otherwise() {
        assert_eq!(logged(Some(""), false).lines().count(), 1);
        assert_eq!(logged(Some("debug"), false).lines().count(), 2);
        assert_eq!(logged(Some("warn"), false), "");
        let error = filter(Some("weir=loud"), DEFAULT).unwrap_err().to_string();
        assert!(
            error.starts_with("WEIR_LOG: `weir=loud` is not a filter"),
            "{error}"
        );
    }
}
