//! `weir replay`: a period of the stream, delivered once more.
//!
//! Owns the arguments and what is shown. The sending is [`crate::operator::replay`]'s.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::ArgGroup;
use serde::Serialize;

use super::chosen::ChosenArgs;
use super::exit::Exit;
use super::flags::{Flags, WrongUse};
use super::output;
use super::period::{Asked, PeriodArgs};
use super::run::Use;
use crate::config::check::{self, Checked};
use crate::config::{Config, DestinationConfig, PipelineConfig, Vars};
use crate::logs::address;
use crate::operator::replay::Done;
use crate::operator::verify::Period;

const USE: Use = Use {
    command: "replay --yes",
    needs_group: true,
};

/// Send what the stream still holds of a period once more
///
/// Each record of the period is decoded, filtered and redacted by today's settings, and its events are put in the
/// order of their shards, by the same rules as `weir run`: parts, times, rate, dead letters. No lease is taken and no
/// checkpoint written; the workers may run meanwhile.
///
/// What is in the log already is there twice afterwards. So the pipeline's own destination needs --yes, or
/// --skip-delivered, which first looks for every event as `weir verify` does, and sends what is missing alone. The
/// daemon should have come as far as --to by then: what it delivers later is repeated.
///
/// Ctrl-C finishes what is on its way, and says from where to go on.
///
/// It is one more reader of the stream, slower than the daemon and the first to wait when the service throttles.
#[derive(Debug, clap::Args)]
#[command(
    group(ArgGroup::new("consent").args(["yes", "skip_delivered", "to_destination", "dry_run"]).multiple(true).required(true)),
    after_help = "Examples:
  weir replay -c weir.yaml --from 4h --skip-delivered
  weir replay -c weir.yaml --from 4h --dry-run
  weir replay -c weir.yaml --from 9h --to 8h --to-destination /cdc/again
  weir replay --table orders --log-group /cdc/orders --from 4h --yes

Exit codes: 0 all sent, 1 failed, was stopped, or some went to the dead letters (the answer or stderr says why), 2 for \
wrong arguments or settings.")]
pub(super) struct ReplayArgs {
    #[command(flatten)]
    period: PeriodArgs,
    /// Send to this log group instead, or to GROUP:STREAM; both may hold fields as in the settings. Dead letters go
    /// there, too, unless the settings name their group
    #[arg(long, value_name = "GROUP")]
    to_destination: Option<String>,
    /// Send only what is not in the log yet
    #[arg(long)]
    skip_delivered: bool,
    /// Send to the pipeline's own destination, although events will be there twice
    #[arg(long)]
    yes: bool,
    /// Count what would be sent
    #[arg(long)]
    dry_run: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    chosen: ChosenArgs,
}

/// What was asked for, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    pub period: Asked,
    pub skip_delivered: bool,
    pub dry_run: bool,
    json: bool,
}

/// The settings and the order, or every problem with them at once. Another destination is a part of the settings.
pub(super) fn read(args: &ReplayArgs, vars: Vars<'_>) -> Result<(Config, Order), WrongUse> {
    let mut flags = Flags::new(vars);
    let chosen = args.chosen.one(&mut flags, USE)?;
    let period = args.period.read(&mut flags);
    let chosen = chosen.and_then(|(mut config, _)| match &args.to_destination {
        None => Some(config),
        Some(text) => {
            let application = config.application.clone();
            let is_agreed = args.yes || args.skip_delivered || args.dry_run;
            let redirected = config.pipelines.iter().map(|pipeline| {
                flags.argument("--to-destination", text, |text| {
                    let redirected = redirect(text, &application, pipeline)?;
                    match is_agreed || !is_own(&application, pipeline, &redirected) {
                        true => Ok(redirected),
                        false => Err(
                            "is where the pipeline writes, and its events would be there twice: add \
                                      --skip-delivered, or --yes"
                                .to_owned(),
                        ),
                    }
                })
            });
            let redirected: Option<Vec<PipelineConfig>> = redirected.collect();
            config.pipelines = redirected?;
            Some(config)
        }
    });
    let order = chosen.zip(period).map(|(config, period)| {
        let order = Order {
            period,
            skip_delivered: args.skip_delivered,
            dry_run: args.dry_run,
            json: args.json,
        };
        (config, order)
    });
    flags.finish(order, None)
}

/// The pipeline with another destination.
fn redirect(text: &str, application: &str, pipeline: &PipelineConfig) -> Checked<PipelineConfig> {
    let mut pipeline = pipeline.clone();
    // Neither name holds a colon, but the default of a field does.
    let (group, stream) = match text.rsplit_once(':') {
        Some((group, stream)) if !stream.contains('}') || stream.contains('{') => (group, Some(stream)),
        _ => (text, None),
    };
    let destination = &mut pipeline.destination;
    destination.group = check::group(group)?;
    if let Some(stream) = stream {
        destination.stream = check::stream(stream)?;
    }
    for template in [&pipeline.destination.group, &pipeline.destination.stream] {
        check::renders(
            template,
            application,
            &pipeline.name,
            &pipeline.source.stream,
            pipeline.decode.how,
        )?;
    }
    if !pipeline.destination.group.uses_envelope() {
        // They bind records; this group a person has named.
        pipeline.destination.allow_groups.clear();
    }
    check::allows(&pipeline.destination.group, &pipeline.destination.allow_groups)?;
    within(&pipeline.destination)?;
    check::letters_apart(&pipeline.dead_letter, &pipeline.destination)?;
    Ok(pipeline)
}

/// Refuses a group that records choose where none of those that they may choose begins like it: everything would
/// become dead letters.
fn within(destination: &DestinationConfig) -> Checked<()> {
    fn fixed(pattern: &str) -> &str {
        pattern.split('*').next().unwrap_or_default()
    }
    let allowed = &destination.allow_groups;
    let pattern = destination.group.with_fields_as("*");
    let may_be = |allowed: &str| {
        let (one, other) = (fixed(allowed), fixed(&pattern));
        one.starts_with(other) || other.starts_with(one)
    };
    if allowed.is_empty() || allowed.iter().any(|allowed| may_be(allowed.as_str())) {
        return Ok(());
    }
    let allowed: Vec<&str> = allowed.iter().map(|allowed| allowed.as_str()).collect();
    Err(format!(
        "is none of the groups that records may choose (`allow_groups`: {}): use one of these, or a group whose name no \
         record chooses",
        allowed.join(", ")
    ))
}

/// Whether both write to the same log streams, by their names or by what these give.
fn is_own(application: &str, one: &PipelineConfig, other: &PipelineConfig) -> bool {
    let group = |pipeline| address::own_by_settings(application, pipeline);
    let [(from, to), (from_stream, to_stream)] = [
        (&one.destination.group, &other.destination.group),
        (&one.destination.stream, &other.destination.stream),
    ];
    let is_same_group =
        from.as_str() == to.as_str() || group(one).is_some_and(|own| group(other) == Some(own));
    is_same_group && from_stream.as_str() == to_stream.as_str()
}

/// Prints what was done, and gives the code to exit with.
pub fn answer(order: &Order, period: Period, done: &Done) -> ExitCode {
    let is_good = !done.is_stopped && done.dead_lettered == 0 && done.gaps == 0 && done.left == 0;
    let printed = match order.json {
        true => output::json(&View::of(order, period, done)),
        false => output::answer(&told(order, period, done)),
    };
    match is_good || order.dry_run && !done.is_stopped {
        true => printed,
        false => Exit::Failed.into(),
    }
}

#[derive(Debug, Serialize)]
struct View {
    dry_run: bool,
    from: Option<String>,
    to: String,
    records: u64,
    events: u64,
    filtered: u64,
    dead_lettered: u64,
    gaps: u64,
    destinations: Vec<String>,
    stopped: bool,
    /// Where to go on; `null` at the end, or where nothing was sent yet.
    go_on_from: Option<String>,
    records_left: u64,
}

impl View {
    fn of(order: &Order, period: Period, done: &Done) -> Self {
        Self {
            dry_run: order.dry_run,
            from: period.from.map(|from| from.to_string()),
            to: period.to.to_string(),
            records: done.records,
            events: done.events,
            filtered: done.filtered,
            dead_lettered: done.dead_lettered,
            gaps: done.gaps,
            destinations: done.to.iter().map(ToString::to_string).collect(),
            stopped: done.is_stopped,
            go_on_from: done.stopped_at.map(|time| time.to_string()),
            records_left: done.left,
        }
    }
}

/// The answer for a person.
fn told(order: &Order, period: Period, done: &Done) -> String {
    const SHOWN: usize = 5;
    let mut text = String::new();
    let sent = if order.dry_run { "would send" } else { "sent" };
    // Writing to a text can't fail.
    let _ = writeln!(text, "{sent} {} events of {} records", done.events, done.records);
    for to in done.to.iter().take(SHOWN) {
        let _ = writeln!(text, "  to {to}");
    }
    if done.to.len() > SHOWN {
        let _ = writeln!(text, "  and {} more log streams", done.to.len() - SHOWN);
    }
    if done.filtered > 0 {
        let _ = writeln!(
            text,
            "{} events were left out by the pipeline's filter",
            done.filtered
        );
    }
    if done.dead_lettered > 0 {
        let verb = if order.dry_run { "would go" } else { "went" };
        let _ = writeln!(
            text,
            "{} records {verb} to the dead letters: see `weir dead-letters list`",
            done.dead_lettered
        );
    }
    if done.gaps > 0 {
        let _ = writeln!(
            text,
            "{} times the stream trimmed records before they could be read",
            done.gaps
        );
    }
    if done.left > 0 {
        let _ = writeln!(text, "{} records were not sent to their end", done.left);
    }
    if done.is_stopped {
        let _ = match done.stopped_at {
            Some(time) => writeln!(text, "stopped: go on with --from {time} --to {}", period.to),
            None => writeln!(text, "stopped before anything was sent to its end: begin again"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::clock::Timestamp;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        replay: ReplayArgs,
    }

    fn order(arguments: &str) -> Result<(Config, Order), String> {
        let all = std::iter::once("replay").chain(arguments.split_whitespace());
        let cli = Cli::try_parse_from(all).map_err(|e| e.to_string())?;
        read(&cli.replay, &|_| None).map_err(|e| e.to_string())
    }

    const RUN: &str = "--table orders --log-group /cdc/orders";

    #[test]
    fn the_own_destination_needs_a_word_of_consent() {
        assert!(order(RUN).unwrap_err().contains("--yes"));
        for consent in [
            "--yes",
            "--skip-delivered",
            "--dry-run",
            "--to-destination /again",
        ] {
            assert!(order(&format!("{RUN} {consent}")).is_ok(), "{consent}");
        }
        for own in ["/cdc/orders", "/cdc/{table}", "/cdc/orders:{shard_id}"] {
            let told = order(&format!("{RUN} --to-destination {own}")).unwrap_err();
            assert!(told.contains("--yes"), "it is named in another way: {told}");
            assert!(order(&format!("{RUN} --to-destination {own} --yes")).is_ok());
        }
        assert!(order(&format!("{RUN} --to-destination /cdc/orders:again")).is_ok());
    }

    #[test]
    fn another_destination_is_checked_as_in_the_settings() {
        for (given, group, stream) in [
            ("/again", "/again", "{shard_id}"),
            ("/again:all", "/again", "all"),
            ("/again/{table}:{pipeline}", "/again/{table}", "{pipeline}"),
            ("/again/{region:-none}", "/again/{region:-none}", "{shard_id}"),
        ] {
            let (config, _) = order(&format!("{RUN} --to-destination {given}")).unwrap();
            let to = &config.pipelines[0].destination;
            assert_eq!(
                (to.group.as_str(), to.stream.as_str()),
                (group, stream),
                "{given}"
            );
        }
        // Of the groups that records may choose none is meant.
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let text = "pipelines: { p: { source: { kinesis_stream: audit }, decode: audit, \
                    destination: { group: \"/db/{cluster}\", allow_groups: /db/* } } }";
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        let of_file = format!("-c {}", file.path().display());
        let (config, _) = order(&format!("{of_file} --to-destination /again")).unwrap();
        assert!(config.pipelines[0].destination.allow_groups.is_empty());
        let told = order(&format!("{of_file} --to-destination /other/{{cluster}}")).unwrap_err();
        assert!(
            told.starts_with("--to-destination: "),
            "records don't choose beyond them: {told}"
        );
        for wrong in ["/again:b:c", "/{tabel}", "/again:dead-letter", "/{log_group}"] {
            let told = order(&format!("{RUN} --to-destination {wrong}")).unwrap_err();
            assert!(told.starts_with("--to-destination: "), "{told}");
        }
    }

    #[test]
    fn a_stop_says_where_to_go_on() {
        let (_, order) = order(&format!("{RUN} --yes")).unwrap();
        let period = Period {
            from: None,
            to: Timestamp::from_millis(9_000),
        };
        let done = Done {
            records: 2,
            events: 2,
            is_stopped: true,
            stopped_at: Some(Timestamp::from_millis(5_000)),
            ..Done::default()
        };
        let text = told(&order, period, &done);
        assert!(
            text.ends_with("go on with --from 1970-01-01T00:00:05.000Z --to 1970-01-01T00:00:09.000Z\n"),
            "{text}"
        );
        let json = serde_json::to_value(View::of(&order, period, &done)).unwrap();
        assert_eq!(json["go_on_from"], "1970-01-01T00:00:05.000Z");
    }
}
