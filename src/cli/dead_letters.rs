//! `weir dead-letters`: see what could not be delivered, and send it again.
//!
//! Owns the arguments and what is shown. What is done is [`crate::operator::dead_letters`]'s.

mod view;

use std::process::ExitCode;

use clap::{ArgGroup, Subcommand};

use super::chosen::ChosenArgs;
use super::examples::examples;
use super::exit::Exit;
use super::flags::{Flags, WrongUse};
use super::output;
use super::since::{self, Since};
use crate::clock::Timestamp;
use crate::config::check::Checked;
use crate::config::{Config, Vars};
use crate::logs::batch;
use crate::operator::dead_letters::{How, LetterDesk, Look, Outcome, Period, Refusal, Which};
use crate::suggest;

/// See what could not be delivered, and send it again
///
/// A record that can't be decoded, has no destination, or gives an event that CloudWatch Logs refuses becomes a dead
/// letter: a log event with the reason and all that is needed to send it again. Mend the settings, look whether that
/// helps, and send them.
///
/// The settings are those of `weir run`, in a file or by its flags. The letters stay in the log until its retention
/// takes them; one that was sent again has a mark beside it.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
pub(super) struct DeadLettersArgs {
    #[command(subcommand)]
    command: Command,
}

macro_rules! after {
    ($($example:literal)*) => {
        examples!(
            $($example)*;
            "Exit codes: 0 done, 1 failed or some were left (the answer or stderr says why), 2 for wrong arguments or settings."
        )
    };
}

const AFTER: &str = after!(
    "dead-letters list -c weir.yaml"
    "dead-letters show 3fa2 -c weir.yaml"
    "dead-letters redrive --reason undecodable -c weir.yaml --dry-run"
    "dead-letters redrive --reason undecodable -c weir.yaml"
);
const AFTER_LIST: &str = after!(
    "dead-letters list -c weir.yaml --since 24h"
    "dead-letters list --kinesis-stream rds-audit --log-group /db/audit --reason too_old"
);
const AFTER_SHOW: &str = after!("dead-letters show 3fa2 -c weir.yaml");
const AFTER_REDRIVE: &str = after!(
    "dead-letters redrive 3fa2 77c0 -c weir.yaml"
    "dead-letters redrive --reason too_old -c weir.yaml --dry-run"
    "dead-letters redrive --everything -c weir.yaml --since 24h"
    "dead-letters redrive 3fa2 --again -c weir.yaml"
);
const AFTER_DISCARD: &str = after!("dead-letters discard 3fa2 77c0 -c weir.yaml");

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the dead letters that were not sent again yet
    ///
    /// One that was written again after it was sent again is shown, too: what it tells was read once more since.
    ///
    /// Needs logs:GetLogEvents on the group of the dead letters. What was put a few seconds ago may be missing.
    #[command(after_help = AFTER_LIST)]
    List {
        #[command(flatten)]
        look: LookArgs,
        /// Only those of this reason: undecodable, no_destination, oversize, empty, too_old, too_new, expired, invalid
        #[arg(long, value_name = "REASON")]
        reason: Option<String>,
        /// Also those that were sent again or discarded
        #[arg(long)]
        all: bool,
        /// Only the newest so many
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
    },
    /// Show one dead letter, and what would be delivered of it today
    #[command(after_help = AFTER_SHOW)]
    Show {
        /// As `weir dead-letters list` shows it; its beginning will do
        id: String,
        #[command(flatten)]
        look: LookArgs,
    },
    /// Send dead letters again, by the settings as they are now
    ///
    /// A record is decoded, filtered, redacted and told as `weir run` would; a refused event is put as it was. Once
    /// all of a letter is accepted it gets a mark, and is not sent a second time. If the process ends in between, or
    /// the mark can't be put, it is: at least once. Don't send the same letters from two places at a time, and wait
    /// some seconds before you repeat it, since the log shows new marks a little late.
    ///
    /// A record whose bytes are withheld (a redaction is set) is read from the stream again, while that keeps it, and
    /// slowly, so that the workers are not held up.
    ///
    /// A refused event that was written before a redaction was set may tell what is hidden today: it is left, unless
    /// --as-written is given.
    #[command(after_help = AFTER_REDRIVE, group(ArgGroup::new("which").required(true)))]
    Redrive {
        /// As `weir dead-letters list` shows them; their beginnings will do
        #[arg(group = "which", value_name = "ID")]
        ids: Vec<String>,
        /// Those of this reason
        #[arg(long, value_name = "REASON", group = "which")]
        reason: Option<String>,
        /// All
        #[arg(long, group = "which")]
        everything: bool,
        /// Show what would be done
        #[arg(long)]
        dry_run: bool,
        /// Also what was sent again or discarded before; only with IDs
        #[arg(long, conflicts_with_all = ["reason", "everything"])]
        again: bool,
        /// Also refused events that were written before a redaction was set, as they are
        #[arg(long)]
        as_written: bool,
        #[command(flatten)]
        look: LookArgs,
    },
    /// Mark dead letters as done without sending them
    ///
    /// For those that can't be delivered any more, like a record whose bytes the stream has trimmed, and those that
    /// nobody wants. `list` shows them no longer, `list --all` shows them as discarded, and `redrive ID --again` sends
    /// one after all.
    #[command(after_help = AFTER_DISCARD)]
    Discard {
        /// As `weir dead-letters list` shows them; their beginnings will do
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,
        #[command(flatten)]
        look: LookArgs,
    },
}

#[derive(Debug, clap::Args)]
struct LookArgs {
    /// Only those that were put since: a time like 2024-11-09T08:12:19Z, or so long ago, like 24h. Default: all
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only those that were put before: a time, or so long ago, as for --since. Default: now
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    chosen: ChosenArgs,
}

/// What was asked for, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    what: What,
    since: Since,
    until: Option<Since>,
    /// The environment's region, for destinations without one.
    region: Option<String>,
    json: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum What {
    List {
        reason: Option<String>,
        all: bool,
        limit: Option<usize>,
    },
    Show(String),
    Redrive {
        which: Which,
        how: How,
    },
    Discard(Vec<String>),
}

/// The settings, of the pipelines that are meant, and the order; or every problem with them at once.
pub(super) fn read(args: &DeadLettersArgs, vars: Vars<'_>) -> Result<(Config, Order), WrongUse> {
    let (Command::List { look, .. }
    | Command::Show { look, .. }
    | Command::Redrive { look, .. }
    | Command::Discard { look, .. }) = &args.command;
    let mut flags = Flags::new(vars);
    let config = look.chosen.some(&mut flags)?;
    let since = match &look.since {
        Some(text) => flags.argument("--since", text, since::since),
        None => Some(Since::At(Timestamp::from_millis(0))),
    };
    let until = match &look.until {
        Some(text) => flags.argument("--until", text, since::since).map(Some),
        None => Some(None),
    };
    let ids_of = |flags: &mut Flags<'_>, ids: &[String]| {
        let checked: Vec<Option<String>> = ids.iter().map(|text| flags.argument("ID", text, id)).collect();
        checked.into_iter().collect::<Option<Vec<String>>>()
    };
    let reason_of = |flags: &mut Flags<'_>, text: &Option<String>| match text {
        Some(text) => flags.argument("--reason", text, reason).map(Some),
        None => Some(None),
    };
    let what = match &args.command {
        Command::List {
            reason, all, limit, ..
        } => reason_of(&mut flags, reason).map(|reason| What::List {
            reason,
            all: *all,
            limit: *limit,
        }),
        Command::Show { id, .. } => flags.argument("ID", id, self::id).map(What::Show),
        Command::Redrive {
            ids,
            reason,
            dry_run,
            again,
            as_written,
            ..
        } => {
            let ids = ids_of(&mut flags, ids);
            let reason = reason_of(&mut flags, reason);
            ids.zip(reason).map(|(ids, reason)| What::Redrive {
                which: match reason {
                    Some(reason) => Which::Reason(reason),
                    None if ids.is_empty() => Which::Everything,
                    None => Which::Ids(ids),
                },
                how: How {
                    dry_run: *dry_run,
                    again: *again,
                    as_written: *as_written,
                },
            })
        }
        Command::Discard { ids, .. } => ids_of(&mut flags, ids).map(What::Discard),
    };
    let region = ["AWS_REGION", "AWS_DEFAULT_REGION"];
    let region = region
        .iter()
        .find_map(|name| vars(name).filter(|v| !v.is_empty()));
    let order = what.zip(since).zip(until).map(|((what, since), until)| Order {
        what,
        since,
        until,
        region,
        json: look.json,
    });
    let order = flags.finish(order, None)?;
    Ok((config, order))
}

/// The beginning of an id. None at all would begin them all.
fn id(text: &str) -> Checked<String> {
    match text.is_empty() {
        true => Err("is no id of a dead letter: `weir dead-letters list` shows those there are".to_owned()),
        false => Ok(text.to_owned()),
    }
}

/// A word of [`batch::Refusal`].
fn reason(text: &str) -> Checked<String> {
    let words = batch::Refusal::ALL.map(batch::Refusal::as_str);
    match words.contains(&text) {
        true => Ok(text.to_owned()),
        false => Err(format!("is no reason: {}", suggest::one_of(text, &words))),
    }
}

pub(super) async fn carry_out(order: Order, desk: &mut LetterDesk) -> Result<ExitCode, Refusal> {
    let now = desk.clock.wall();
    let period = Period {
        since: order.since.time(now),
        until: order.until.map(|until| until.time(now)),
    };
    let (json, region) = (order.json, order.region.as_deref());
    match order.what {
        What::List { reason, all, limit } => {
            let look = if all { Look::All } else { Look::Open };
            let mut listing = desk.read(period, &look).await?;
            let is_meant = |of: &str| reason.as_ref().is_none_or(|reason| reason == of);
            listing.incomplete.retain(|letter| is_meant(&letter.reason));
            listing
                .found
                .retain(|found| (all || found.redriven.is_none()) && is_meant(&found.letter.reason));
            Ok(match json {
                true => output::json(&view::ListingView::of(&listing, limit, region)),
                false => output::answer(&view::listed(&listing, all, limit, region)),
            })
        }
        What::Show(id) => {
            let shown = desk.show(&id, period).await?;
            Ok(match json {
                true => output::json(&view::ShownView::of(&shown)),
                false => output::answer(&view::described(&shown)),
            })
        }
        What::Redrive { which, how } => {
            let done = desk.redrive(&which, period, how).await?;
            let printed = match json {
                true => output::json(&view::DoneView::of(&done, how.dry_run, region)),
                false => output::answer(&view::done(&done, how.dry_run, region)),
            };
            Ok(match done.is_all() {
                true => printed,
                false => Exit::Failed.into(),
            })
        }
        What::Discard(ids) => {
            let discarded = desk.discard(&ids, period).await?;
            let printed = match json {
                true => output::json(&view::DiscardedView::of(&discarded)),
                false => output::answer(&view::discarded(&discarded)),
            };
            let is_marked = |outcome: &Outcome| !matches!(outcome, Outcome::Unmarked(_));
            Ok(match discarded.iter().all(|letter| is_marked(&letter.outcome)) {
                true => printed,
                false => Exit::Failed.into(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        letters: DeadLettersArgs,
    }

    /// `weir dead-letters` with these arguments; an error as its text.
    fn order(arguments: &str) -> Result<(Config, Order), String> {
        use clap::Parser as _;
        let arguments = std::iter::once("dead-letters").chain(arguments.split_whitespace());
        let cli = Cli::try_parse_from(arguments).map_err(|e| e.to_string())?;
        read(&cli.letters, &|_| None).map_err(|e| e.to_string())
    }

    #[test]
    fn a_redrive_says_which_letters_and_the_settings_are_those_of_run() {
        const RUN: &str = "--table orders --log-group /cdc/orders";
        let which = |given: &str| -> Result<(Which, bool), String> {
            match order(&format!("redrive {given} {RUN}"))?.1.what {
                What::Redrive { which, how } => Ok((which, how.dry_run)),
                other => panic!("{other:?}"),
            }
        };
        let ids = Which::Ids(vec!["3fa2".into(), "77c0".into()]);
        assert_eq!(which("3fa2 77c0"), Ok((ids, false)));
        assert_eq!(which("--everything --dry-run"), Ok((Which::Everything, true)));
        assert_eq!(
            which("--reason too_old"),
            Ok((Which::Reason("too_old".into()), false))
        );
        for wrong in ["", "3fa2 --everything", "--reason too_old --everything"] {
            assert!(which(wrong).is_err(), "{wrong}");
        }
        let (config, _) = order(&format!("list --pipeline orders {RUN}")).unwrap();
        assert_eq!(config.pipelines[0].destination.group.as_str(), "/cdc/orders");
        let told = order(&format!("list --pipeline order --reason late --since 1d {RUN}")).unwrap_err();
        assert_eq!(told.lines().count(), 3, "all at once: {told}");
        assert!(told.contains("did you mean `orders`?"), "{told}");
        assert!(order("list").unwrap_err().contains("nothing to read"));
    }

    #[test]
    fn an_empty_id_is_none_and_again_wants_ids() {
        const RUN: &str = "--table orders --log-group /cdc/orders";
        let told = |arguments: &[&str]| {
            use clap::Parser as _;
            let all = ["dead-letters"]
                .iter()
                .chain(arguments)
                .copied()
                .chain(RUN.split(' '));
            let cli = Cli::try_parse_from(all).unwrap();
            read(&cli.letters, &|_| None).unwrap_err().to_string()
        };
        for arguments in [
            &["show", ""][..],
            &["redrive", ""],
            &["redrive", "3fa2", ""],
            &["discard", ""],
        ] {
            let told = told(arguments);
            assert!(
                told.contains("is no id of a dead letter"),
                "{arguments:?}: {told}"
            );
        }
        let how = |given: &str| match order(&format!("redrive {given} {RUN}"))?.1.what {
            What::Redrive { how, .. } => Ok((how.again, how.as_written)),
            other => Err(format!("{other:?}")),
        };
        assert_eq!(how("3fa2 --again"), Ok((true, false)));
        assert_eq!(how("--everything --as-written"), Ok((false, true)));
        assert!(how("--everything --again").is_err() && how("--reason empty --again").is_err());
        assert!(order(&format!("discard {RUN}")).is_err());
        let (_, order) = order(&format!("list --since 2h --until 1h {RUN}")).unwrap();
        assert_eq!(order.until, Some(Since::Ago(Duration::from_secs(3600))));
    }

    #[test]
    fn since_is_a_time_or_how_long_ago() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let day = Duration::from_secs(24 * 3600);
        assert_eq!(since::since("24h").unwrap().time(now), now.minus(day));
        let time = since::since("2024-11-09T08:12:19.138Z").unwrap().time(now);
        assert_eq!(time.millis(), 1_731_139_939_138);
        for wrong in ["", "24", "yesterday", "1d", "2024-11-09"] {
            assert!(since::since(wrong).unwrap_err().contains("like `24h`"), "{wrong}");
        }
    }

    #[test]
    fn a_reason_is_a_word_that_letters_have() {
        assert_eq!(reason("too_old").unwrap(), "too_old");
        assert!(reason("tooold").unwrap_err().contains("did you mean `too_old`?"));
    }
}
