//! `weir decode`: what a record holds, without a stream.
//!
//! Owns the arguments, the reading and the printing. `framing` finds the records, `lines` prints them, and what
//! they hold is decided in [`crate::decode`] and [`crate::shape`], by the code that `weir run` has.

mod delivery;
mod framing;
mod lines;

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Write};
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::sync::Arc;

use serde::Deserialize;

use self::delivery::Delivery;
use self::framing::{Expected, Frame, Frames};
use super::chosen::ChosenArgs;
use super::examples::examples;
use super::exit::Exit;
use super::flags::{Flags, WrongUse};
use super::output::{failed, tell};
use crate::clock::Timestamp;
use crate::config::check::{self, Checked};
use crate::config::problem::Problem;
use crate::config::{PipelineConfig, StreamChoice, Vars};
use crate::decode::aggregate::user_records;
use crate::decode::{Decode, DecodeSettings, Origin, Skip};
use crate::shape::{self, Shape};
use crate::stream::{Record, SequenceNumber, ShardId, StreamArn};
use crate::suggest;

/// What `--limit` may be. What one record opens to takes up to eight times its bytes, with the events that are made
/// of it, and a command that is typed on the side should take no more than half a gigabyte.
const LIMIT: RangeInclusive<usize> = (1 << 20)..=(64 << 20);

const AFTER: &str = examples!(
    "decode record.bin"
    "decode --as audit audit.log"
    "decode --base64 records.txt"
    "decode -c weir.yaml --pipeline orders changes.jsonl"
    "decode --table orders --log-group /cdc/orders --format plain changes.jsonl";
    "With a pipe:\n  \
     echo H4sICAgtzGYAA2hvZ2UAy8hPT+UCAJ2H4rkFAAAA | weir decode\n  \
     aws kinesis get-records --shard-iterator ITERATOR | weir decode\n  \
     aws dynamodbstreams get-records --shard-iterator ITERATOR |\n    \
       weir decode -c weir.yaml --pipeline orders\n\n\
     Exit codes: 0 everything was decoded, 1 something was not (stderr says what), 2 for wrong arguments."
);

/// Show what records hold, as `weir run` would log it
///
/// Reads FILE, or standard input, and prints a line of JSON for each event. What the input is
/// shows by itself: bytes as they lie in Kinesis (gzip, an aggregate, anything), the same in base64,
/// as consoles and logs show it, what Lambda was called with, the answer of `get-records`, a record a
/// line if each line is JSON, an audit log as the database wrote it, or any other text.
///
/// With -c or the flags of `weir run` (a variable alone is none), a pipeline's rules are tried before
/// they are deployed: its decode, filter, redact and format. How many events its filter drops is told
/// on standard error.
///
/// Of an event that came through a subscription of CloudWatch Logs its log group is shown; JSON is
/// printed as it is, on one line; text becomes {"message": …}. What can't be decoded is told on
/// standard error with its place, and the rest is printed all the same. An audit line that can't
/// be read is printed with the reason.
///
/// A record, a line or an event of Lambda may have 16 MiB; lines may be as many as they are.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_help = AFTER)]
pub(super) struct DecodeArgs {
    /// The input; - is standard input
    #[arg(value_name = "FILE", default_value = "-", hide_default_value = true, value_hint = clap::ValueHint::FilePath)]
    file: String,
    /// What the records are read as: auto, subscription, audit, change, json, text or base64, as for `weir run
    /// --decode`; or aggregate, which only takes aggregates of the Kinesis Producer Library apart [default: auto]
    #[arg(long = "as", value_name = "HOW")]
    how: Option<String>,
    /// The input is base64: a record a line, or one that is wrapped
    #[arg(long)]
    base64: bool,
    /// The most that one record may open to when gzip is undone. 1MiB to 64MiB [default: 64MiB]
    #[arg(long, value_name = "SIZE")]
    limit: Option<String>,
    #[command(flatten)]
    chosen: ChosenArgs,
}

/// What records are read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum As {
    Events(Decode),
    /// The user records of an aggregate, as they are.
    Aggregate,
}

impl As {
    /// What text is taken for.
    fn expected(self) -> Expected {
        match self {
            Self::Events(Decode::Auto | Decode::Subscription | Decode::Change | Decode::Lambda)
            | Self::Aggregate => Expected::Any,
            Self::Events(Decode::Audit) => Expected::Lines,
            Self::Events(Decode::Json) => Expected::Json,
            Self::Events(Decode::Text | Decode::Base64) => Expected::Text,
        }
    }
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// `None`: standard input.
    file: Option<String>,
    how: As,
    base64: bool,
    rules: Rules,
}

/// What records become.
#[derive(Clone, Debug, PartialEq)]
struct Rules {
    settings: DecodeSettings,
    shape: Shape,
    /// Where the records are from, as far as it is known.
    stream: StreamArn,
    /// Of a pipeline.
    delivery: Option<Box<Delivery>>,
}

impl Rules {
    /// None: events are printed as they are decoded.
    fn none(how: As, limit: usize) -> Self {
        let how = match how {
            As::Events(how) => how,
            As::Aggregate => Decode::Base64,
        };
        Self {
            settings: DecodeSettings {
                inflate_limit: limit,
                ..DecodeSettings::of(how)
            },
            shape: Shape::default(),
            // An id has a place in a stream. In a file it has the record's number there.
            stream: StreamArn::new("-"),
            delivery: None,
        }
    }

    fn of(application: String, pipeline: PipelineConfig) -> Self {
        let stream = match &pipeline.source.stream {
            StreamChoice::Arn(arn) | StreamChoice::KinesisArn(arn) => arn.clone(),
            // The table is told of a change. Its stream is named by the change itself, where it comes from Lambda.
            StreamChoice::Table(table) => {
                StreamArn::new(format!("arn:aws:dynamodb:-:-:table/{table}/stream/-"))
            }
            StreamChoice::Kinesis(_) => StreamArn::new("-"),
        };
        Self {
            settings: pipeline.decode.clone(),
            shape: pipeline.shape.clone(),
            stream,
            delivery: Some(Box::new(Delivery::of(application, pipeline))),
        }
    }
}

/// The order, or every problem with it at once.
pub(super) fn read(args: &DecodeArgs, vars: Vars<'_>) -> Result<Order, WrongUse> {
    let mut flags = Flags::new(vars);
    // Not by the variables of `weir run` alone: without a flag, a record shows itself.
    let how_and_rules = match args.chosen.are_given() {
        false => {
            let how = match &args.how {
                Some(text) => flags.argument("--as", text, how),
                None => Some(As::Events(Decode::Auto)),
            };
            let limit = match &args.limit {
                Some(text) => flags.argument("--limit", text, check::size(LIMIT)),
                None => Some(*LIMIT.end()),
            };
            how.zip(limit).map(|(how, limit)| (how, Rules::none(how, limit)))
        }
        true => {
            for (flag, given, key) in [
                ("--as", &args.how, "decode"),
                ("--limit", &args.limit, "inflate_limit"),
            ] {
                if let Some(given) = given {
                    let what = format!("can't stand beside a pipeline, whose `{key}` holds: leave it out");
                    flags.problems.push(Problem::with(flag, given, what));
                }
            }
            args.chosen.one(&mut flags)?.map(|(config, pipeline)| {
                let how = As::Events(pipeline.decode.how);
                (how, Rules::of(config.application, pipeline))
            })
        }
    };
    let order = how_and_rules.map(|(how, rules)| Order {
        file: Some(args.file.clone()).filter(|file| file != "-"),
        how,
        base64: args.base64,
        rules,
    });
    flags.finish(order, None)
}

fn how(text: &str) -> Checked<As> {
    if text == "aggregate" {
        return Ok(As::Aggregate);
    }
    match check::DECODES.iter().find(|(word, _)| *word == text) {
        Some((_, decode)) => Ok(As::Events(*decode)),
        None => {
            let mut words = check::DECODES.map(|(word, _)| word).to_vec();
            words.push("aggregate");
            Err(format!("is no way to decode: {}", suggest::one_of(text, &words)))
        }
    }
}

/// Decodes the input, and prints what it holds.
pub fn carry_out(order: &Order) -> ExitCode {
    let stdout = BufWriter::new(io::stdout().lock());
    match &order.file {
        None => {
            let stdin = io::stdin().lock();
            if stdin.is_terminal() {
                tell("reading from the terminal: end with Ctrl-D, or name a file");
            }
            work(order, stdin, stdout)
        }
        Some(path) => match File::open(path) {
            Ok(file) => work(order, BufReader::new(file), stdout),
            Err(error) => failed(&format_args!("{path}: can't be read: {error}")),
        },
    }
}

fn work(order: &Order, input: impl BufRead, out: impl Write) -> ExitCode {
    let name = order.file.as_deref();
    let mut decoder = Decoder::new(order, out, tell);
    match decoder.all(input) {
        Ok(true) => Exit::Done.into(),
        Ok(false) => Exit::Failed.into(),
        // A reader that closed the pipe, `head` say, has what it wanted.
        Err(Broken::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done.into(),
        Err(Broken::Output(error)) => failed(&format_args!("standard output: {error}")),
        Err(Broken::Input(error)) => failed(&format_args!(
            "{}: can't be read: {error}",
            name.unwrap_or("standard input")
        )),
    }
}

/// What ends the work.
#[derive(Debug)]
enum Broken {
    Input(io::Error),
    Output(io::Error),
}

impl From<io::Error> for Broken {
    /// Everything but the reading of the input is writing.
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Decodes one input.
struct Decoder<'o, W, T> {
    order: &'o Order,
    shard: ShardId,
    out: W,
    /// Where notes and errors go.
    tell: T,
    /// Records so far.
    count: u64,
    /// Events so far, and how many of them the filter dropped.
    events: u64,
    filtered: u64,
    /// Records whose events have no destination.
    unaddressed: u64,
    all_decoded: bool,
}

impl<'o, W: Write, T: FnMut(&str)> Decoder<'o, W, T> {
    fn new(order: &'o Order, out: W, tell: T) -> Self {
        Self {
            order,
            shard: ShardId::new("-"),
            out,
            tell,
            count: 0,
            events: 0,
            filtered: 0,
            unaddressed: 0,
            all_decoded: true,
        }
    }

    /// Whether everything could be decoded.
    fn all(&mut self, input: impl BufRead) -> Result<bool, Broken> {
        let frames =
            Frames::of(input, self.order.how.expected(), self.order.base64).map_err(Broken::Input)?;
        for frame in frames {
            self.frame(frame.map_err(Broken::Input)?)?;
        }
        self.out.flush()?;
        if self.count == 0 {
            self.note("the input", "holds nothing");
        }
        if self.filtered > 0 {
            let dropped = format!("dropped {} of {} events", self.filtered, self.events);
            self.note("the filter", &dropped);
        }
        if self.unaddressed > 0 {
            let letters = format!(
                "would make dead letters of records without a destination, {} in all",
                self.unaddressed
            );
            self.note("`weir run`", &letters);
        }
        Ok(self.all_decoded)
    }

    fn frame(&mut self, frame: Frame) -> Result<(), Broken> {
        self.count += 1;
        let place = frame.place.to_string();
        let data = match frame.data {
            Ok(data) => data,
            Err(why) => {
                self.error(&place, &why);
                return Ok(());
            }
        };
        let mut record = Record::new(
            SequenceNumber::of(self.count),
            // A file has no time of arrival.
            Some(frame.arrived.unwrap_or(Timestamp::from_millis(0))),
            data,
        );
        record.partition_key = frame.partition_key.map(Arc::from);
        match self.order.how {
            As::Aggregate => self.user_records(&record, &place),
            // As `weir run` does, whatever the records are read as.
            As::Events(_) => {
                let (records, is_damaged) = user_records(&record);
                drop(record);
                if is_damaged {
                    self.note(
                        &place,
                        "begins like an aggregate of the Kinesis Producer Library and is none: read as it is",
                    );
                } else if records.is_empty() {
                    self.note(&place, "an aggregate of nothing, skipped");
                }
                let is_alone = records.len() == 1;
                for record in records {
                    match is_alone {
                        true => self.events(&record, &place)?,
                        false => {
                            let place = format!("{place}, part {}", record.sub_sequence_number);
                            self.events(&record, &place)?;
                        }
                    }
                }
                Ok(())
            }
        }
    }

    fn user_records(&mut self, record: &Record, place: &str) -> Result<(), Broken> {
        let (records, is_damaged) = user_records(record);
        if is_damaged {
            self.error(
                place,
                "a damaged aggregate: its checksum differs, or what it holds can't be read",
            );
            return Ok(());
        }
        for record in &records {
            lines::write_user_record(&mut self.out, record)?;
        }
        Ok(())
    }

    fn events(&mut self, record: &Record, place: &str) -> Result<(), Broken> {
        let Rules {
            settings,
            shape,
            stream,
            delivery,
        } = &self.order.rules;
        let named = match settings.how {
            Decode::Lambda => stream_of_change(&record.data),
            _ => None,
        };
        let origin = Origin {
            stream: named.as_ref().unwrap_or(stream),
            shard: &self.shard,
        };
        let is_redacted = shape.redact.is_some();
        match shape::events(record, origin, settings, shape) {
            Ok(decoded) => {
                self.events += decoded.events.len() as u64 + decoded.filtered;
                self.filtered += decoded.filtered;
                let why = match decoded.skipped {
                    Some(Skip::ControlMessage) => Some("a control message, skipped"),
                    Some(Skip::Nothing) => Some("holds nothing, skipped"),
                    Some(Skip::MessageType) => Some("a message of an unknown type, skipped"),
                    // Counted, and told at the end.
                    Some(Skip::Filter) | None => None,
                };
                if let Some(why) = why {
                    self.note(place, why);
                }
                if let Some(why) = delivery.as_ref().and_then(|delivery| delivery.refuses(&decoded)) {
                    self.unaddressed += 1;
                    // Of many the first is told, and at the end how many they were.
                    if self.unaddressed == 1 {
                        let why = match is_redacted {
                            true => why.without_content(),
                            false => why.to_string(),
                        };
                        self.note(place, &format!("has no destination: {why}"));
                    }
                }
                Ok(lines::write(&mut self.out, &decoded, settings.how)?)
            }
            Err(error) => {
                // What is hidden must not stand in a terminal's log either.
                let why = match shape.redact {
                    Some(_) => error.without_content(),
                    None => error.to_string(),
                };
                self.error(place, &why);
                Ok(())
            }
        }
    }

    fn note(&mut self, place: &str, what: &str) {
        let file = self.file();
        (self.tell)(&format!("{file}{place}: {what}"));
    }

    fn error(&mut self, place: &str, why: &str) {
        self.all_decoded = false;
        let file = self.file();
        (self.tell)(&format!("error: {file}{place}: {why}"));
    }

    /// What a place begins with.
    fn file(&self) -> String {
        let file = self.order.file.as_ref();
        file.map(|file| format!("{file}: ")).unwrap_or_default()
    }
}

/// The stream that a record of Lambda names. As the service gives it, a record names none.
fn stream_of_change(data: &[u8]) -> Option<StreamArn> {
    #[derive(Deserialize)]
    struct Change {
        #[serde(rename = "eventSourceARN")]
        stream: Option<String>,
    }
    let change: Change = serde_json::from_slice(data).ok()?;
    change.stream.map(StreamArn::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Format;
    use clap::Parser;

    #[derive(Parser)]
    struct Args {
        #[command(flatten)]
        decode: DecodeArgs,
    }

    fn order(arguments: &str) -> Result<Order, WrongUse> {
        let args = Args::parse_from(std::iter::once("decode").chain(arguments.split_whitespace()));
        read(&args.decode, &|_| None)
    }

    #[test]
    fn an_order_has_defaults_and_is_checked() {
        let default = Order {
            file: None,
            how: As::Events(Decode::Auto),
            base64: false,
            rules: Rules::none(As::Events(Decode::Auto), 64 << 20),
        };
        assert_eq!(order("").unwrap(), default);
        assert_eq!(order("-").unwrap(), default);
        let full = order("--as audit --base64 --limit 1MiB x.txt").unwrap();
        assert_eq!(
            full,
            Order {
                file: Some("x.txt".into()),
                how: As::Events(Decode::Audit),
                base64: true,
                rules: Rules::none(As::Events(Decode::Audit), 1 << 20),
            }
        );
        assert_eq!(order("--as aggregate").unwrap().how, As::Aggregate);
        let wrong = order("--as agregate --limit 1").unwrap_err().to_string();
        assert_eq!(
            wrong,
            "--as: `agregate` is no way to decode: did you mean `aggregate`?\n\
             --limit: `1` has no unit: add one, as in `1MiB`"
        );
        let wrong = order("--as lambda").unwrap_err().to_string();
        assert!(wrong.contains("use one of auto, subscription"), "{wrong}");
        let wrong = order("--limit 65MiB").unwrap_err().to_string();
        assert!(wrong.contains("use 1MiB to 64MiB"), "{wrong}");
    }

    const PIPELINES: &str = "
pipelines:
  audit: { source: { kinesis_stream: s }, decode: audit, format: raw, destination: { group: g } }
  orders: { source: { dynamodb_table: orders }, format: diff, destination: { group: g } }
";

    #[test]
    fn a_pipeline_is_named_or_the_only_one() {
        let file = |text: &str| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), text).unwrap();
            file
        };
        let one = PIPELINES
            .lines()
            .filter(|line| !line.contains("orders"))
            .collect::<Vec<_>>();
        let (one, two, wrong) = (file(&one.join("\n")), file(PIPELINES), file("pipelines: {}"));
        let with = |file: &tempfile::NamedTempFile, more: &str| {
            order(&format!("-c {} {more}", file.path().display()))
        };
        let alone = with(&one, "x.log").unwrap();
        assert_eq!(alone.how, As::Events(Decode::Audit));
        assert_eq!(alone.rules.shape.format, Format::Raw);
        assert_eq!(alone, with(&two, "--pipeline audit x.log").unwrap());
        let orders = with(&two, "--pipeline orders").unwrap();
        assert_eq!(orders.rules.settings, DecodeSettings::of(Decode::Lambda));
        assert_eq!(orders.rules.shape.format, Format::Diff);
        assert_eq!(orders.rules.stream.table(), Some("orders"));
        for (refused, says) in [
            (
                with(&two, ""),
                "--pipeline: is missing: the settings have several, name one of audit, orders",
            ),
            (
                with(&one, "--pipeline audits"),
                "--pipeline: `audits` is no pipeline of these settings: did you mean `audit`?",
            ),
            (with(&wrong, ""), ": pipelines: there is none"),
            (order("-c no-such.yaml"), "no-such.yaml: can't be read: "),
        ] {
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains(says), "{refused}");
            assert_eq!(refused.lines().count(), 1, "{refused}");
        }
        // The flags of `run` make one, too.
        let flags = order("--table orders --log-group g --format diff").unwrap();
        assert_eq!(flags.rules.shape.format, Format::Diff);
        assert_eq!(flags.rules.settings, DecodeSettings::of(Decode::Lambda));
        let none = order("--pipeline x").unwrap_err().to_string();
        assert!(none.starts_with("nothing to read: "), "{none}");
        let beside = order("--table orders --log-group g --limit 1MiB --as text")
            .unwrap_err()
            .to_string();
        assert!(
            beside.contains("--as: `text` can't stand beside a pipeline, whose `decode` holds"),
            "{beside}"
        );
        assert!(beside.contains("--limit: `1MiB` can't stand"), "{beside}");
    }

    /// What stands on stdout and stderr, and whether everything was decoded.
    fn decoded(arguments: &str, input: &[u8]) -> (String, Vec<String>, bool) {
        let order = order(arguments).unwrap();
        let (mut out, mut told) = (Vec::new(), Vec::new());
        let done = Decoder::new(&order, &mut out, |text: &str| told.push(text.to_owned()))
            .all(input)
            .unwrap();
        (String::from_utf8(out).unwrap(), told, done)
    }

    #[test]
    fn what_can_not_be_decoded_is_told_with_its_place_and_the_rest_goes_on() {
        let (out, told, done) = decoded("--as aggregate --base64", b"aG9nZQ==\n!\naG9nZQ\n");
        assert_eq!(out.lines().count(), 2, "{out}");
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with("error: line 2: not base64: "), "{told:?}");
        assert!(!done);
        let (_, told, _) = decoded("--as aggregate --base64 a.txt", b"!\n");
        assert!(
            told[0].starts_with("error: a.txt: record 1: not base64: "),
            "{told:?}"
        );
    }

    #[test]
    fn a_pipelines_rules_are_tried_and_what_its_filter_drops_is_counted() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "pipelines: { p: { source: { kinesis_stream: s }, decode: json, destination: { group: g }, \
                    filter: { data: { level: [error] } }, redact: [user] } }";
        std::fs::write(file.path(), text).unwrap();
        let arguments = format!("-c {}", file.path().display());
        let input = b"{\"level\":\"error\",\"user\":\"jo\"}\n{\"level\":\"info\"}\n{\"level\":\"debug\"}\n";
        let (out, told, done) = decoded(&arguments, input);
        assert_eq!(out, "{\"level\":\"error\",\"user\":\"***\"}\n");
        assert_eq!(told, ["the filter: dropped 2 of 3 events"]);
        assert!(done);
    }

    #[test]
    fn a_reason_quotes_nothing_where_something_is_hidden() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = |redact: &str| {
            format!(
                "pipelines: {{ p: {{ source: {{ kinesis_stream: s }}, decode: change, destination: {{ group: g }}{redact} }} }}"
            )
        };
        let arguments = format!("-c {}", file.path().display());
        let input = b"{\"eventSource\":\"aws:dynamodb\",\"tableName\":\"t\",\"dynamodb\":\"4111 secret\"}";
        for (redact, is_quoted) in [("", true), (", redact: [Keys.card]", false)] {
            std::fs::write(file.path(), text(redact)).unwrap();
            let (out, told, done) = decoded(&arguments, input);
            assert_eq!((out.as_str(), done, told.len()), ("", false, 1), "{told:?}");
            assert_eq!(told[0].contains("4111 secret"), is_quoted, "{told:?}");
        }
    }

    #[test]
    fn events_that_would_have_no_destination_are_told_once() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let arguments = format!("-c {}", file.path().display());
        let envelope = |group: &str| {
            format!(
                "{{\"messageType\":\"DATA_MESSAGE\",\"owner\":\"1\",\"logGroup\":\"{group}\",\"logStream\":\"s\",\
                 \"logEvents\":[{{\"id\":\"1\",\"timestamp\":5,\"message\":\"x\"}}]}}\n"
            )
        };
        let input = ["/aws/rds/cluster/a/audit", "/other", "/aws/rds/cluster/b/audit"].map(envelope);
        let none = "`weir run`: would make dead letters of records without a destination, 1 in all";
        for (destination, expected) in [
            ("{ group: g }", vec![]),
            ("{ group: 'g-{stream}-{region}', stream: '{shard_id}' }", vec![]),
            (
                "{ group: '/db/{cluster}', allow_groups: ['/db/*'] }",
                vec![
                    "line 2: has no destination: the field `cluster` has no value",
                    none,
                ],
            ),
            (
                "{ group: '/db/{cluster:-none}', allow_groups: [/db/a, /db/none] }",
                vec![
                    "line 3: has no destination: the group \"/db/b\" is none of those in `allow_groups`",
                    none,
                ],
            ),
            (
                "{ group: '/{region}/{cluster:-none}', allow_groups: [/eu-west-1/*] }",
                vec![],
            ),
        ] {
            let text = format!(
                "pipelines: {{ p: {{ source: {{ kinesis_stream: s }}, destination: {destination} }} }}"
            );
            std::fs::write(file.path(), text).unwrap();
            let (out, told, done) = decoded(&arguments, input.concat().as_bytes());
            assert_eq!((out.lines().count(), done), (3, true), "{told:?}");
            assert_eq!(told.len(), expected.len(), "{told:?}");
            for (told, begins) in told.iter().zip(expected) {
                assert!(told.starts_with(begins), "{told}");
            }
        }
    }

    #[test]
    fn an_empty_input_is_no_failure() {
        let (out, told, done) = decoded("", b"");
        assert_eq!((out.as_str(), done), ("", true));
        assert_eq!(told, ["the input: holds nothing"]);
    }

    #[test]
    fn a_user_record_tells_the_partition_key_it_came_with() {
        let event = br#"{"Records":[{"kinesis":{"partitionKey":"k","data":"aG9nZQ=="}}]}"#;
        let (out, told, _) = decoded("--as aggregate", event);
        assert_eq!(
            out,
            "{\"partitionKey\":\"k\",\"subSequenceNumber\":0,\"data\":\"hoge\"}\n"
        );
        assert_eq!(told, [""; 0]);
    }

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_ends_the_work() {
        let order = order("--as aggregate").unwrap();
        let done = Decoder::new(&order, Closed, |_: &str| {}).all(&b"hoge"[..]);
        assert!(matches!(done, Err(Broken::Output(e)) if e.kind() == io::ErrorKind::BrokenPipe));
    }
}
