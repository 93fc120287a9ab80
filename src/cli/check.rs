//! `weir check`: the order, and how the findings are told.

use std::io::IsTerminal;
use std::process::ExitCode;

use super::chosen::ChosenArgs;
use super::drain::DrainArgs;
use super::exit::Exit;
use super::flags::{Flags, WrongUse};
use super::output;
use super::run::Use;
use crate::check::{Finding, Report, Severity, Subject};
use crate::config::{Config, Vars, check};

const AFTER_HELP: &str = "\
It asks AWS what `weir run` would ask for, and writes nothing: a write to the state tables is tried under a condition \
that no row meets, a put with an event that is too old to be stored. Beside a running Weir it is one read more of one \
shard of each stream. What can't be tried without making something (CreateTable, CreateLogGroup, CreateLogStream, \
RegisterStreamConsumer) is told as not tried.

Examples:
  weir check -c weir.yaml
  weir check -c weir.yaml --pipeline orders
  weir check --table orders --log-group /cdc/orders
  weir check -c weir.yaml --json | jq '.findings[] | select(.severity == \"error\")'

Exit codes: 0 `weir run` would work (there may be warnings), 1 something would keep it from working, 2 wrong arguments \
or settings.";

/// Tell everything that would keep `weir run` from working
#[derive(Debug, clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub(super) struct CheckArgs {
    /// Answer in JSON; wrong settings are findings too
    #[arg(long)]
    json: bool,
    /// Where `weir run` would serve health and metrics [env: WEIR_HTTP_ADDRESS] [default: 0.0.0.0:8080]
    #[arg(long, value_name = "IP:PORT")]
    http_address: Option<String>,
    #[command(flatten)]
    drain: DrainArgs,
    #[command(flatten)]
    chosen: ChosenArgs,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// These settings, which are well as such.
    Look { config: Box<Config>, json: bool },
    /// In JSON, what is wrong with the settings.
    Wrong(Vec<String>),
}

/// The settings, or every problem with them at once: as findings, where JSON is asked for.
pub(super) fn read(args: &CheckArgs, vars: Vars<'_>) -> Result<Order, WrongUse> {
    let mut flags = Flags::new(vars);
    let json = args.json;
    let address = flags.read("--http-address", args.http_address.as_ref(), check::address);
    // `weir run` would refuse it.
    flags.read("--log-format", None, check::log_format);
    let config = args
        .chosen
        .some_with(Some(&args.drain), &mut flags, Use::of("check"));
    let order = config.and_then(|mut config| {
        config.http_address = address.unwrap_or(config.http_address);
        let config = Box::new(config);
        flags.finish(Some(Order::Look { config, json }), None)
    });
    match order {
        Err(wrong) if json => Ok(Order::Wrong(wrong.problems())),
        order => order,
    }
}

/// Tells what is wrong with the settings, in JSON.
pub fn tell_wrong(problems: Vec<String>) -> ExitCode {
    let findings = problems.into_iter();
    let report = Report::of(
        findings
            .map(|problem| Finding::error(Subject::Settings, problem))
            .collect(),
    );
    output::json(&report);
    Exit::Misused.into()
}

/// Tells what was found.
pub fn tell(report: &Report, json: bool) -> ExitCode {
    let told = match json {
        true => output::json(report),
        false => {
            let in_colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            output::answer(&text(report, in_colour))
        }
    };
    match (told == Exit::Done.into(), report.ok) {
        (true, true) => Exit::Done.into(),
        _ => Exit::Failed.into(),
    }
}

/// A group for the process and each pipeline, a line each; what is well in one line; the verdict last.
fn text(report: &Report, in_colour: bool) -> String {
    let mut text = String::new();
    let mut group: Option<Option<&str>> = None;
    let mut well: Vec<&str> = Vec::new();
    for finding in &report.findings {
        let pipeline = finding.pipeline.as_deref();
        if group != Some(pipeline) {
            text.push_str(&all_well(&mut well, in_colour));
            text.push_str(&match pipeline {
                None => "weir\n".to_owned(),
                Some(name) => format!("pipeline {name}\n"),
            });
            group = Some(pipeline);
        }
        if finding.severity == Severity::Ok {
            well.push(&finding.found);
            continue;
        }
        let word = coloured(finding.severity, in_colour);
        text.push_str(&format!(
            "  {word}  {}: {}",
            finding.subject.words(),
            finding.found
        ));
        if let Some(way_out) = &finding.way_out {
            text.push_str(&format!("; {way_out}"));
        }
        text.push('\n');
    }
    text.push_str(&all_well(&mut well, in_colour));
    let Report {
        errors,
        warnings,
        unknown,
        ..
    } = report;
    let verdict = match report.ok {
        true => "`weir run` would work",
        false => "`weir run` would not work as it should",
    };
    text.push_str(&format!(
        "{verdict}: errors {errors}, warnings {warnings}, not seen {unknown}\n"
    ));
    text
}

/// What is well with a group, in one line.
fn all_well(well: &mut Vec<&str>, in_colour: bool) -> String {
    if well.is_empty() {
        return String::new();
    }
    let word = coloured(Severity::Ok, in_colour);
    let line = format!("  {word}  {}\n", well.join("; "));
    well.clear();
    line
}

fn coloured(severity: Severity, in_colour: bool) -> String {
    let word = format!("{:<7}", severity.word());
    if !in_colour {
        return word;
    }
    let colour = match severity {
        Severity::Ok => 32,
        Severity::Unknown => 36,
        Severity::Warning => 33,
        Severity::Error => 31,
    };
    format!("\u{1b}[{colour}m{word}\u{1b}[0m")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_told_in_groups_a_line_each_and_what_is_well_in_one() {
        let report = Report::of(vec![
            Finding::ok(Subject::Source, "it can be read").of("orders"),
            Finding::ok(Subject::Destination, "/cdc/orders takes puts").of("orders"),
            Finding::error(Subject::Images, "nothing changes")
                .way_out("enable it anew")
                .of("orders"),
            Finding::ok(Subject::Clock, "as AWS's"),
            Finding::warning(Subject::Drain, "long"),
        ]);
        assert_eq!(
            text(&report, false),
            "weir\n  warning  drain: long\n  ok       as AWS's\n\
             pipeline orders\n  error    images: nothing changes; enable it anew\n  \
             ok       it can be read; /cdc/orders takes puts\n\
             `weir run` would not work as it should: errors 1, warnings 1, not seen 0\n"
        );
        assert!(text(&report, true).contains("\u{1b}[31merror  \u{1b}[0m"));
    }
}
