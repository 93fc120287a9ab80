//! `weir verify`: whether the log group holds what the stream still holds.
//!
//! Owns the arguments and what is shown. The comparison is [`crate::operator::verify`]'s.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde::Serialize;

use super::chosen::ChosenArgs;
use super::exit::Exit;
use super::flags::{Flags, WrongUse};
use super::output;
use super::period::{Asked, PeriodArgs};
use super::run::Use;
use crate::config::{Config, Vars};
use crate::operator::verify::{Off, Period, Report};

/// Of so many events that are missing or differ it is shown which they are.
const SHOWN: usize = 20;

const USE: Use = Use {
    command: "verify",
    needs_group: true,
};

/// Compare what the stream still holds with what the log group holds
///
/// Each record of the period is decoded, filtered and redacted by today's settings, and each of its events looked for
/// in the log stream where it belongs: found, told in another way (other settings wrote it), among the dead letters,
/// missing, or there more than once. Changes of DynamoDB are known by their ids, events without one by their time and
/// text. What is not found is looked for once more after some seconds.
///
/// It can't know of what the stream has trimmed, and calls missing what the log group's retention took, and what no
/// worker has delivered yet: the daemon must have come as far as --to (its checkpoints: `weir leases list`).
///
/// It is one more reader of the stream, slower than the daemon and the first to wait when the service throttles; it
/// writes nothing. Needs logs:GetLogEvents on the groups of the events and of the dead letters.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  weir verify -c weir.yaml
  weir verify --table orders --log-group /cdc/orders --from 4h
  weir verify -c weir.yaml --pipeline orders --from 2024-11-09T08:00:00Z --to 2024-11-09T09:00:00Z --json

What it finds missing is sent by `weir replay --skip-delivered`.

Exit codes: 0 all there (repeats are told, and are a failure only with --no-repeats), 1 something is missing or \
differs, or it failed (stderr says why), 2 for wrong arguments or settings.")]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    period: PeriodArgs,
    /// Also fail for events that are there more than once
    #[arg(long)]
    no_repeats: bool,
    /// Answer in JSON, with all that is missing
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    chosen: ChosenArgs,
}

/// What was asked for, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    pub period: Asked,
    no_repeats: bool,
    json: bool,
}

/// The settings and the order, or every problem with them at once.
pub(super) fn read(args: &VerifyArgs, vars: Vars<'_>) -> Result<(Config, Order), WrongUse> {
    let mut flags = Flags::new(vars);
    let chosen = args.chosen.one(&mut flags, USE)?;
    let period = args.period.read(&mut flags);
    let order = chosen.zip(period).map(|((config, _), period)| {
        let order = Order {
            period,
            no_repeats: args.no_repeats,
            json: args.json,
        };
        (config, order)
    });
    flags.finish(order, None)
}

/// Prints what was found, and gives the code to exit with.
pub fn answer(order: &Order, period: Period, report: &Report) -> ExitCode {
    let is_good = report.is_complete() && !(order.no_repeats && report.repeated > 0);
    let printed = match order.json {
        true => output::json(&View::of(period, report, is_good)),
        false => output::answer(&told(period, report)),
    };
    match is_good {
        true => printed,
        false => Exit::Failed.into(),
    }
}

#[derive(Debug, Serialize)]
struct View<'a> {
    complete: bool,
    /// `null`: from the oldest that the stream held.
    from: Option<String>,
    to: String,
    first_record: Option<String>,
    last_record: Option<String>,
    records: u64,
    before_start: u64,
    events: u64,
    filtered: u64,
    found: u64,
    repeated: u64,
    dead_lettered: u64,
    dead_letters_settled: u64,
    missing: u64,
    differs: u64,
    gaps: u64,
    shards_gone: u64,
    log_streams: u64,
    absent_log_streams: Vec<String>,
    known_by_time_and_text: bool,
    missing_events: Vec<OffView<'a>>,
    differing_events: Vec<OffView<'a>>,
}

#[derive(Debug, Serialize)]
struct OffView<'a> {
    /// `stream:shard:sequence:sub`.
    id: &'a str,
    /// `null`: the record as a whole.
    index: Option<usize>,
    time: Option<String>,
    destination: Option<String>,
    why: Option<&'a str>,
}

impl<'a> View<'a> {
    fn of(period: Period, report: &'a Report, complete: bool) -> Self {
        let off = |off: &'a Off| OffView {
            id: &off.id.position,
            index: off.id.index,
            time: off.time.map(|time| time.to_string()),
            destination: off.to.as_ref().map(ToString::to_string),
            why: off.why.as_deref(),
        };
        Self {
            complete,
            from: period.from.map(|from| from.to_string()),
            to: period.to.to_string(),
            first_record: report.first.map(|time| time.to_string()),
            last_record: report.last.map(|time| time.to_string()),
            records: report.records,
            before_start: report.before_start,
            events: report.events,
            filtered: report.filtered,
            found: report.found,
            repeated: report.repeated,
            dead_lettered: report.dead_lettered.open,
            dead_letters_settled: report.dead_lettered.settled,
            missing: report.missing,
            differs: report.differs,
            gaps: report.gaps,
            shards_gone: report.gone,
            log_streams: report.streams,
            absent_log_streams: report.absent.iter().map(ToString::to_string).collect(),
            known_by_time_and_text: report.without_ids,
            missing_events: report.which_missing.iter().map(off).collect(),
            differing_events: report.which_differ.iter().map(off).collect(),
        }
    }
}

/// The answer for a person.
fn told(period: Period, report: &Report) -> String {
    let mut text = String::new();
    let from = match period.from {
        Some(from) => from.to_string(),
        None => "the oldest that the stream holds".to_owned(),
    };
    // Writing to a text can't fail.
    let _ = writeln!(text, "records from {from} to {}", period.to);
    if let Some((first, last)) = report.first.zip(report.last) {
        let _ = writeln!(text, "first {first}, last {last}");
    }
    let letters = report.dead_lettered;
    let rows = [
        ("records", report.records, ""),
        (
            "before the start",
            report.before_start,
            "the pipeline begins later",
        ),
        ("events", report.events, "that should be in the log"),
        ("filtered", report.filtered, "left out by the pipeline's filter"),
        ("found", report.found, ""),
        ("repeated", report.repeated, "further copies of those found"),
        ("dead-lettered", letters.open, "see `weir dead-letters list`"),
        (
            "settled",
            letters.settled,
            "dead letters that were discarded, or gave nothing",
        ),
        (
            "differ",
            report.differs,
            "told in another way than today's settings do",
        ),
        ("missing", report.missing, ""),
    ];
    for (name, count, note) in rows {
        let is_always_told = matches!(name, "records" | "events" | "found" | "repeated" | "missing");
        if count > 0 || is_always_told {
            let note = if count > 0 { note } else { "" };
            let _ = writeln!(text, "{}", format!("  {name:<16} {count:>10}  {note}").trim_end());
        }
    }
    for (name, events, count) in [
        ("missing", &report.which_missing, report.missing),
        ("differs", &report.which_differ, report.differs),
    ] {
        for off in events.iter().take(SHOWN) {
            let time = off.time.map_or_else(|| "-".to_owned(), |time| time.to_string());
            let index = off.id.index.map(|index| format!(":{index}")).unwrap_or_default();
            let to = off.to.as_ref().map(|to| format!(" in {to}")).unwrap_or_default();
            let why = off
                .why
                .as_ref()
                .map(|why| format!(" ({why})"))
                .unwrap_or_default();
            let line = format!("{name} {time} {}{index}{to}{why}", off.id.position);
            let _ = writeln!(text, "{}", output::plain(&line));
        }
        if count > SHOWN as u64 {
            let _ = writeln!(text, "… and {} more; --json has them", count - SHOWN as u64);
        }
    }
    notes(report, &mut text);
    let is_all_there = letters.open == 0 && letters.settled == 0;
    let _ = match (report.is_complete(), report.records) {
        (true, 0) => writeln!(text, "There are no records of this time."),
        (true, _) if is_all_there => writeln!(text, "All there."),
        (true, _) => writeln!(
            text,
            "All accounted for: what is not there is, or was, among the dead letters."
        ),
        (false, _) => writeln!(
            text,
            "Not all there: `weir replay --skip-delivered` sends what is missing."
        ),
    };
    text
}

fn notes(report: &Report, text: &mut String) {
    for stream in report.absent.iter().take(SHOWN) {
        let _ = writeln!(text, "note: the log stream {stream} doesn't exist");
    }
    if report.gaps > 0 {
        let _ = writeln!(
            text,
            "note: {} times the stream trimmed records before they could be read",
            report.gaps
        );
    }
    if report.gone > 0 {
        let _ = writeln!(
            text,
            "note: {} shards were gone before they were read",
            report.gone
        );
    }
    if report.without_ids && report.events > 0 {
        let _ = writeln!(
            text,
            "note: these events have no ids of their own: they are known by time and text, and equal ones are counted"
        );
    }
    let named = report.which_missing.len() as u64;
    if report.missing > named {
        let _ = writeln!(
            text,
            "note: {} of the missing were neither looked for once more nor among the dead letters, for more than {named} \
             are told apart at once: a shorter period, by --from and --to, tells more",
            report.missing - named
        );
    }
    if report.starts_at_latest && report.missing > 0 {
        let _ = writeln!(
            text,
            "note: the pipeline starts at `latest`: what came before its first start was never to be delivered, and \
             counts as missing here; --from leaves it out"
        );
    }
    if report.missing > 0 {
        let _ = writeln!(
            text,
            "note: what no worker has delivered yet (`weir leases list` shows the checkpoints) and what the group's \
             retention took counts as missing, too"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::operator::verify::{EventId, Letters};

    fn report() -> Report {
        Report {
            records: 3,
            events: 3,
            found: 3,
            first: Some(Timestamp::from_millis(1)),
            last: Some(Timestamp::from_millis(2)),
            ..Report::default()
        }
    }

    const PERIOD: Period = Period {
        from: None,
        to: Timestamp::from_millis(1_000),
    };

    #[test]
    fn what_is_missing_is_named_and_nothing_else_is_claimed() {
        let good = told(PERIOD, &report());
        assert!(
            good.ends_with("All there.\n") && !good.contains("filtered"),
            "{good}"
        );
        let lettered = Report {
            dead_lettered: Letters { open: 1, settled: 0 },
            found: 2,
            ..report()
        };
        let told_so = told(PERIOD, &lettered);
        assert!(
            lettered.is_complete() && told_so.ends_with("among the dead letters.\n"),
            "what is among the dead letters is not there: {told_so}"
        );
        let off = Off {
            id: EventId {
                position: "arn:shard:7:0".to_owned(),
                index: Some(0),
            },
            time: Some(Timestamp::from_millis(1)),
            to: None,
            why: Some("\u{1b}[2J".to_owned()),
        };
        let bad = Report {
            found: 2,
            missing: 1,
            which_missing: vec![off],
            ..report()
        };
        let told = told(PERIOD, &bad);
        assert!(
            told.contains("missing 1970-01-01T00:00:00.001Z arn:shard:7:0:0 (\\u{1b}[2J)\n"),
            "{told}"
        );
        assert!(told.contains("Not all there"), "{told}");
        let json = serde_json::to_value(View::of(PERIOD, &bad, false)).unwrap();
        assert_eq!(json["missing_events"][0]["id"], "arn:shard:7:0");
        assert_eq!((&json["complete"], &json["missing"]), (&false.into(), &1.into()));
    }

    #[test]
    fn each_kind_of_loss_is_a_failure_and_a_repeat_is_none() {
        type Change = fn(&mut Report);
        let changes: [(Change, bool); 5] = [
            (|r| r.repeated = 1, true),
            (|r| r.missing = 1, false),
            (|r| r.differs = 1, false),
            (|r| r.gaps = 1, false),
            (|r| r.gone = 1, false),
        ];
        for (change, is_complete) in changes {
            let mut report = report();
            change(&mut report);
            assert_eq!(report.is_complete(), is_complete, "{report:?}");
        }
    }
}
