//! Weir's own log: `tracing`, to stdout, where containers have their log; of a command that prints an answer
//! there, to stderr.
//!
//! Times are UTC in RFC 3339. JSON lines hold an event's fields at the top level, and those of its spans
//! in `spans`.

use std::io::{IsTerminal, Write, stderr, stdout};

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::LogFormat;

/// Sets the level, as `tracing-subscriber`'s `EnvFilter` reads it.
const VARIABLE: &str = "WEIR_LOG";

/// What the SDK warns of while it looks for credentials and a region comes in Weir's own words too.
const DEFAULT: &str = "info,aws_config=error";

/// A command says itself what it does.
const DEFAULT_BESIDE_AN_ANSWER: &str = "warn,aws_config=error";

/// Why the log can't be started.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    #[error(
        "{VARIABLE}: `{given}` is not a filter ({source}): use a level, or targets with one, as in `info,weir=debug`"
    )]
    Filter {
        given: String,
        source: tracing_subscriber::filter::ParseError,
    },
    #[error("the log is already started: start it once in a process")]
    Started(#[from] tracing::subscriber::SetGlobalDefaultError),
}

/// Starts the log, for the whole process and once.
pub fn start(format: LogFormat) -> Result<(), LoggingError> {
    let filter = filter(super::variable(VARIABLE).as_deref(), DEFAULT)?;
    let terminal = stdout().is_terminal();
    // https://no-color.org: set and not empty.
    let colours = terminal && super::variable("NO_COLOR").is_none_or(|v| v.is_empty());
    let json = is_json(format, terminal);
    Ok(tracing::subscriber::set_global_default(subscriber(
        filter, json, colours, stdout,
    ))?)
}

/// Starts the log of a command whose stdout holds its answer and nothing else: text, on stderr.
pub fn start_beside_an_answer() -> Result<(), LoggingError> {
    let filter = filter(super::variable(VARIABLE).as_deref(), DEFAULT_BESIDE_AN_ANSWER)?;
    Ok(tracing::subscriber::set_global_default(subscriber(
        filter, false, false, stderr,
    ))?)
}

fn filter(given: Option<&str>, default: &str) -> Result<EnvFilter, LoggingError> {
    let given = given.filter(|given| !given.is_empty()).unwrap_or(default);
    EnvFilter::builder()
        .parse(given)
        .map_err(|source| LoggingError::Filter {
            given: given.to_owned(),
            source,
        })
}

fn is_json(format: LogFormat, terminal: bool) -> bool {
    match format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    }
}

fn subscriber<W>(filter: EnvFilter, json: bool, colours: bool, to: W) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w, Writer: Write> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(to);
    if json {
        // The list of spans holds the current one: no need to have it twice.
        Box::new(
            builder
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .finish(),
        )
    } else {
        Box::new(builder.with_ansi(colours).finish())
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
        let subscriber = subscriber(filter(level, DEFAULT).unwrap(), json, false, move || to.clone());
        tracing::subscriber::with_default(subscriber, || {
            let _span = tracing::info_span!("shard", shard = "s-1").entered();
            tracing::info!(records = 3, "delivered");
            tracing::debug!("unseen");
        });
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
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
