//! `weir tail`: the decoded records of a source, on stdout.
//!
//! Owns the arguments and how an event is printed. Whatever a record holds, nothing of it reaches a terminal that the
//! terminal would take for a command.

use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;
use serde_json::Value;

use super::chosen::ChosenArgs;
use super::flags::{Flags, WrongUse};
use super::output;
use super::run::Use;
use super::since::{self, Since};
use crate::clock::Timestamp;
use crate::config::check;
use crate::config::{Config, Vars};
use crate::filter::Filter;
use crate::logs::{LogDestination, LogEvent};
use crate::operator::survey::{Begin, End, Scope};
use crate::stream::{Record, ShardId};

const USE: Use = Use {
    command: "tail",
    needs_group: false,
};

/// Print the decoded records of a source as they come, without leases and without state
///
/// Each event is printed as `weir run` would write it: decoded, filtered, redacted and told in the pipeline's format.
/// The settings are those of `weir run`, in a file or by its flags; no log group is needed, and nothing is written
/// anywhere. What can't be decoded is told on stderr.
///
/// It is one more reader of the stream: a shard of DynamoDB Streams is meant for two readers at most, one on a global
/// table, and all readers of a Kinesis shard share its 5 reads and 2 MB a second. It reads slower than the daemon, and
/// waits when the service throttles; the daemon may be throttled all the same.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  weir tail --table orders
  weir tail -c weir.yaml --pipeline orders --since 10m
  weir tail --table orders --filter '{\"eventName\":[\"REMOVE\"]}'
  weir tail --kinesis-stream rds-audit --decode audit --json | jq .message
  weir tail --table orders --since 1h --no-follow --limit 100

Exit codes: 0 at the end, on Ctrl-C, and when the reader of its output has enough, 1 failed (stderr says why), 2 for \
wrong arguments or settings.")]
pub(super) struct TailArgs {
    /// Begin with the records since then: a time like 2024-11-09T08:12:19Z, or so long ago, like 10m. A DynamoDB
    /// stream has to be read from its beginning for that, which may take long. Default: now
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only events that match this pattern, a filter of a Lambda event source; several: those that match one of them.
    /// The pipeline's own filter holds, too
    #[arg(long, value_name = "JSON")]
    filter: Vec<String>,
    /// End with what the stream holds now; without --since that is read from its beginning
    #[arg(long)]
    no_follow: bool,
    /// End after so many events
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// One JSON object a line: time, shard_id, sequence_number, group, stream, message
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    chosen: ChosenArgs,
}

/// What was asked for, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    since: Option<Since>,
    follows: bool,
    /// So many events at most.
    pub limit: Option<u64>,
    /// Whether it is known where the events would go.
    pub has_group: bool,
    json: bool,
}

impl Order {
    /// What of the stream is read.
    pub fn scope(&self, now: Timestamp) -> Scope {
        Scope {
            begin: match (self.since, self.follows) {
                (Some(since), _) => Begin::At(since.time(now)),
                (None, true) => Begin::Latest,
                (None, false) => Begin::Horizon,
            },
            end: match self.follows {
                true => End::Never,
                false => End::Tip,
            },
        }
    }
}

/// The settings and the order, or every problem with them at once. The filter is a part of the settings.
pub(super) fn read(args: &TailArgs, vars: Vars<'_>) -> Result<(Config, Order), WrongUse> {
    let mut flags = Flags::new(vars);
    let chosen = args.chosen.one(&mut flags, USE)?;
    let since = match &args.since {
        Some(text) => flags.argument("--since", text, since::since).map(Some),
        None => Some(None),
    };
    let how = chosen.as_ref().map(|(_, pipeline)| pipeline.decode.how);
    let filter = match args.filter.is_empty() {
        true => Some(None),
        false => flags
            .argument("--filter", &args.filter.join(" "), |_| {
                // As texts, so that numbers keep all of their digits.
                let patterns: Vec<Value> = args.filter.iter().cloned().map(Value::String).collect();
                let filter = check::filter(&patterns)?;
                match how {
                    Some(how) => check::filter_fits(&filter, how).map(|()| filter),
                    None => Ok(filter),
                }
            })
            .map(Some),
    };
    let has_group = args.chosen.has_group(&flags);
    let order = chosen
        .zip(since)
        .zip(filter)
        .map(|(((mut config, _), since), filter)| {
            for pipeline in &mut config.pipelines {
                let own = pipeline.shape.filter.take();
                pipeline.shape.filter = match (own, filter.clone()) {
                    (Some(own), Some(more)) => Some(Filter::and(own, more)),
                    (own, more) => own.or(more),
                };
            }
            let order = Order {
                since,
                follows: !args.no_follow,
                limit: args.limit,
                has_group,
                json: args.json,
            };
            (config, order)
        });
    flags.finish(order, None)
}

/// An event as `--json` prints it.
#[derive(Serialize)]
struct Line<'a> {
    /// The event's, in RFC 3339.
    time: String,
    shard_id: &'a str,
    sequence_number: &'a str,
    /// Where it would go; `null` where the settings don't say.
    group: Option<&'a str>,
    stream: Option<&'a str>,
    message: &'a str,
}

/// How events look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// The message alone.
    Plain,
    Json,
    /// For a person at a terminal.
    Terminal {
        colours: bool,
    },
}

/// Prints events.
pub struct Printer {
    look: Look,
    out: io::BufWriter<io::Stdout>,
}

impl Printer {
    pub fn new(order: &Order) -> Self {
        let stdout = io::stdout();
        let look = match (order.json, stdout.is_terminal()) {
            (true, _) => Look::Json,
            (false, false) => Look::Plain,
            // https://no-color.org: set and not empty.
            (false, true) => Look::Terminal {
                colours: super::variable("NO_COLOR").is_none_or(|v| v.is_empty()),
            },
        };
        Self {
            look,
            out: io::BufWriter::new(stdout),
        }
    }

    pub fn print(
        &mut self,
        event: &LogEvent,
        record: &Record,
        shard: &ShardId,
        to: Option<&LogDestination>,
    ) -> io::Result<()> {
        let line = line(self.look, event, record, shard, to);
        self.out.write_all(line.as_bytes())
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn line(
    look: Look,
    event: &LogEvent,
    record: &Record,
    shard: &ShardId,
    to: Option<&LogDestination>,
) -> String {
    let mut line = match look {
        Look::Plain => event.message.clone(),
        // Texts and numbers alone always have a JSON.
        Look::Json => output::plain_json(
            serde_json::to_string(&Line {
                time: event.timestamp.to_string(),
                shard_id: shard.as_str(),
                sequence_number: record.sequence_number.as_str(),
                group: to.map(|to| to.group.as_str()),
                stream: to.map(|to| to.stream.as_str()),
                message: &event.message,
            })
            .unwrap_or_default(),
        ),
        Look::Terminal { colours } => {
            let message = output::plain(&event.message);
            let time = event.timestamp;
            match colours {
                true => format!("\u{1b}[2m{time}\u{1b}[0m {}", coloured(&message)),
                false => format!("{time} {message}"),
            }
        }
    };
    line.push('\n');
    line
}

/// A JSON text with its names and its strings in colours; any other as it is. No control character is in it.
fn coloured(message: &str) -> String {
    const NAME: &str = "\u{1b}[36m";
    const TEXT: &str = "\u{1b}[32m";
    const END: &str = "\u{1b}[0m";
    if !message.starts_with(['{', '[']) {
        return message.to_owned();
    }
    let mut out = String::with_capacity(message.len() * 2);
    let mut rest = message;
    while let Some(open) = rest.find('"') {
        let (before, text) = rest.split_at(open);
        out.push_str(before);
        let mut is_escaped = false;
        let end = text.char_indices().skip(1).find(|(_, c)| {
            let ends = *c == '"' && !is_escaped;
            is_escaped = *c == '\\' && !is_escaped;
            ends
        });
        let (text, after) = text.split_at(end.map_or(text.len(), |(at, _)| at + 1));
        let is_name = after.trim_start().starts_with(':');
        out.push_str(if is_name { NAME } else { TEXT });
        out.push_str(text);
        out.push_str(END);
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use clap::Parser as _;

    use super::*;
    use crate::stream::SequenceNumber;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        tail: TailArgs,
    }

    fn order(arguments: &[&str]) -> Result<(Config, Order), String> {
        let all = std::iter::once("tail").chain(arguments.iter().copied());
        let cli = Cli::try_parse_from(all).map_err(|e| e.to_string())?;
        read(&cli.tail, &|_| None).map_err(|e| e.to_string())
    }

    #[test]
    fn no_log_group_is_needed_and_the_words_are_those_of_tail() {
        let (_, order) = self::order(&["--table", "orders"]).unwrap();
        let now = Timestamp::from_millis(1_000_000);
        let scope = |begin, end| Scope { begin, end };
        assert!(!order.has_group);
        assert_eq!(order.scope(now), scope(Begin::Latest, End::Never));
        let (_, order) = self::order(&["--table", "orders", "--log-group", "g", "--since", "10s"]).unwrap();
        assert!(order.has_group);
        let since = Begin::At(Timestamp::from_millis(990_000));
        assert_eq!(order.scope(now), scope(since, End::Never));
        let (_, order) = self::order(&["--table", "orders", "--no-follow"]).unwrap();
        assert_eq!(order.scope(now), scope(Begin::Horizon, End::Tip));
        let told = self::order(&[]).unwrap_err();
        assert!(told.contains("\n  weir tail --table orders\n"), "{told}");
        let told = self::order(&["--table", "orders", "--log-group", "a:b", "--since", "x"]).unwrap_err();
        assert!(told.starts_with("--log-group: "), "{told}");
    }

    #[test]
    fn a_filter_is_added_to_the_pipelines_own() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let text = "pipelines: { p: { source: { dynamodb_table: orders }, destination: { group: g }, \
                    filter: [{ eventName: [INSERT, MODIFY] }] } }";
        file.write_all(text.as_bytes()).unwrap();
        let path = file.path().to_str().unwrap();
        let (config, _) = order(&["-c", path, "--filter", r#"{"eventName":["MODIFY","REMOVE"]}"#]).unwrap();
        let filter = config.pipelines[0].shape.filter.clone().unwrap();
        for (name, is_kept) in [("INSERT", false), ("MODIFY", true), ("REMOVE", false)] {
            let text = format!(r#"{{"eventName":"{name}"}}"#);
            let reading = crate::json::Reading {
                most: 100,
                is_lenient: true,
            };
            let tree = crate::json::Tree::read(&text, reading).unwrap();
            assert_eq!(filter.matches(&tree), is_kept, "{name}");
        }
        for wrong in ["{", r#"{"eventTitle":["INSERT"]}"#] {
            let told = order(&["--table", "orders", "--filter", wrong]).unwrap_err();
            assert!(told.starts_with("--filter: "), "{told}");
        }
    }

    #[test]
    fn nothing_of_a_message_commands_a_terminal() {
        let event = LogEvent {
            timestamp: Timestamp::from_millis(0),
            message: "{\"a\": \"b\u{1b}[31m\\\" c\",\n \"d\":1}\u{9b}2J\u{7}".to_owned(),
        };
        let record = Record::new(SequenceNumber::of(7), None, Bytes::new());
        let shard = ShardId::new("shardId-1");
        let told = |look| line(look, &event, &record, &shard, None);
        assert_eq!(
            told(Look::Plain),
            format!("{}\n", event.message),
            "as `weir run` writes it"
        );
        let bare = told(Look::Terminal { colours: false });
        assert_eq!(
            bare,
            "1970-01-01T00:00:00.000Z {\"a\": \"b\\u{1b}[31m\\\" c\",\\n \"d\":1}\\u{9b}2J\\u{7}\n"
        );
        let coloured = told(Look::Terminal { colours: true });
        let ours = ["\u{1b}[2m", "\u{1b}[36m", "\u{1b}[32m", "\u{1b}[0m"];
        let without = ours.iter().fold(coloured, |text, code| text.replace(code, ""));
        assert_eq!(without, bare, "the colours are all there is");
        let json = told(Look::Json);
        assert!(!json.trim_end().contains(char::is_control), "{json:?}");
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["message"], event.message);
        assert_eq!(
            (&json["shard_id"], &json["sequence_number"]),
            (&"shardId-1".into(), &"7".into())
        );
        assert!(json["group"].is_null());
    }
}
