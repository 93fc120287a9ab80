//! `weir leases`: see the leases, and mend them by hand.
//!
//! Owns the arguments and what is shown. What may be done is decided in [`crate::operator`].

use std::process::ExitCode;

use clap::Subcommand;

use super::examples::examples;
use super::flags::{SettingsArgs, WrongUse};
use super::view::{ChangedView, HandedBackView, LeaseView, ShownView, cells, joined};
use super::{output, table};
use crate::config::{Config, Vars};
use crate::lease::{Checkpoint, Lease, LeaseKey};
use crate::operator::{Changed, Desk, HandedBack, Refusal, Shown, position};

/// See the leases, and mend them by hand
///
/// A lease is the right to read one shard; its row holds how far the shard was delivered. Each of these commands
/// works on the tables that `weir run` made with the same settings, and creates none. Each write is refused if the
/// lease changed since it was read.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
pub(super) struct LeasesArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(subcommand)]
    command: Command,
}

const AFTER: &str = examples!(
    "leases list -c weir.yaml"
    "leases list --application prod-cdc --json"
    "leases show orders/shardId-00000001700000000000-0a1b2c3d --watch -c weir.yaml"
);
const AFTER_LIST: &str = examples!(
    "leases list -c weir.yaml"
    "leases list --pipeline orders -c weir.yaml"
    "leases list --application prod-cdc --json"
);
const AFTER_SHOW: &str = examples!(
    "leases show orders/shardId-00000001700000000000-0a1b2c3d -c weir.yaml"
    "leases show orders/shardId-00000001700000000000-0a1b2c3d --watch -c weir.yaml"
);
const AFTER_RELEASE: &str =
    examples!("leases release orders/shardId-00000001700000000000-0a1b2c3d -c weir.yaml");
const AFTER_SET: &str = examples!(
    "pipelines pause orders --wait -c weir.yaml"
    "leases set orders/shardId-00000001700000000000-0a1b2c3d --to trim_horizon -c weir.yaml"
    "leases set rds-audit/shardId-000000000000 --to 2024-11-09T08:12:19Z -c weir.yaml"
    "pipelines resume orders -c weir.yaml"
);
const AFTER_HAND_BACK: &str =
    examples!("leases hand-back --dry-run -c weir.yaml" "leases hand-back -c weir.yaml");

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Show all leases
    #[command(after_help = AFTER_LIST)]
    List {
        /// Only those of this pipeline
        #[arg(long, value_name = "NAME")]
        pipeline: Option<String>,
    },
    /// Show one lease, its owner and its parents
    #[command(after_help = AFTER_SHOW)]
    Show {
        /// As `weir leases list` shows it
        key: String,
        /// Watch the owner until it is known whether it is alive: some seconds, or `leases.foreign_watch`
        #[arg(long)]
        watch: bool,
    },
    /// Free a lease whose owner is dead, so that another worker takes it
    ///
    /// The owner is watched first: a worker of Weir's for 85 % of `leases.duration`, one of the Kinesis Client
    /// Library's for `leases.foreign_watch`. Of an owner that is alive nothing is taken.
    #[command(after_help = AFTER_RELEASE)]
    Release {
        /// As `weir leases list` shows it
        key: String,
        /// Don't watch: what the owner delivered since its last checkpoint may be repeated
        #[arg(long)]
        force: bool,
    },
    /// Set how far a shard counts as delivered
    ///
    /// Going back repeats what lies between, going forward skips it. The lease must have no living owner, which
    /// is watched as for `release`: pause its pipeline first (`weir pipelines pause NAME --wait`).
    #[command(after_help = AFTER_SET)]
    Set {
        /// As `weir leases list` shows it
        key: String,
        /// trim_horizon, shard_end, a time like 2024-11-09T08:12:19Z, SEQUENCE_NUMBER, or SEQUENCE_NUMBER:SUB
        #[arg(long, value_name = "POSITION")]
        to: String,
        /// Don't watch: a living owner reads on until its next checkpoint is refused
        #[arg(long)]
        force: bool,
    },
    /// Leave a table that the Kinesis Client Library takes over at once
    ///
    /// Stop every worker of Weir's first: owners are watched as for `release`, and nothing is done while one is
    /// alive. Then each unfinished lease loses its owner and what only Weir reads; the checkpoints stay. Only a
    /// table with that library's keys (`leases.keys: kcl`) can be handed back. Doing it again changes nothing.
    #[command(after_help = AFTER_HAND_BACK)]
    HandBack {
        /// Show what would be done
        #[arg(long)]
        dry_run: bool,
    },
}

/// What was asked for, checked.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Order {
    List { pipeline: Option<String> },
    Show(LeaseKey, bool),
    Release(LeaseKey, bool),
    Set(LeaseKey, Checkpoint, bool),
    HandBack { dry_run: bool },
}

/// The settings and the order, or every problem with them at once. `true`: answer in JSON.
pub(super) fn read(args: &LeasesArgs, vars: Vars<'_>) -> Result<(Config, Order, bool), WrongUse> {
    args.settings.read(vars, |flags| {
        Some(match args.command.clone() {
            Command::List { pipeline } => Order::List { pipeline },
            Command::Show { key, watch } => Order::Show(LeaseKey::new(key), watch),
            Command::Release { key, force } => Order::Release(LeaseKey::new(key), force),
            Command::Set { key, to, force } => {
                let to = flags.argument("--to", &to, position::parse)?;
                Order::Set(LeaseKey::new(key), to, force)
            }
            Command::HandBack { dry_run } => Order::HandBack { dry_run },
        })
    })
}

pub(super) async fn carry_out(order: Order, json: bool, desk: &mut Desk) -> Result<ExitCode, Refusal> {
    Ok(match order {
        Order::List { pipeline } => {
            let leases = desk.list(pipeline.as_deref()).await?;
            match json {
                true => {
                    let view = |lease| LeaseView::of(lease, desk.keys.pipeline_of(lease));
                    output::json(&leases.iter().map(view).collect::<Vec<_>>())
                }
                false => output::answer(&listed(&leases)),
            }
        }
        Order::Show(key, watch) => {
            let shown = desk.show(&key, watch).await?;
            match json {
                true => output::json(&ShownView::of(&shown, desk.keys.pipeline_of(&shown.lease))),
                false => output::answer(&described(&shown, desk.keys.pipeline_of(&shown.lease))),
            }
        }
        Order::Release(key, force) => {
            let changed = desk.release(&key, force).await?;
            show(&changed, json, desk)
        }
        Order::Set(key, to, force) => {
            let changed = desk.set(&key, &to, force).await?;
            show(&changed, json, desk)
        }
        Order::HandBack { dry_run } => {
            let handed_back = desk.hand_back(dry_run).await?;
            match json {
                true => output::json(&HandedBackView::of(&handed_back, dry_run)),
                false => output::answer(&handed_over(&handed_back, dry_run)),
            }
        }
    })
}

fn show(changed: &Changed, json: bool, desk: &Desk) -> ExitCode {
    if !json {
        return output::answer(&before_and_after(changed));
    }
    let view = |lease| LeaseView::of(lease, desk.keys.pipeline_of(lease));
    output::json(&ChangedView {
        lease_key: changed.before.key.as_str(),
        changed: changed.before != changed.after,
        before: view(&changed.before),
        after: view(&changed.after),
        notes: &changed.notes,
    })
}

fn listed(leases: &[Lease]) -> String {
    let rows: Vec<_> = leases
        .iter()
        .map(|lease| {
            let [owner, counter, checkpoint] = cells(lease);
            let key = lease.key.to_string();
            [
                key,
                owner,
                counter,
                checkpoint,
                joined(&lease.parents),
                joined(&lease.children),
            ]
        })
        .collect();
    table::render(
        ["LEASE", "OWNER", "COUNTER", "CHECKPOINT", "PARENTS", "CHILDREN"],
        &rows,
    )
}

fn before_and_after(changed: &Changed) -> String {
    let row = |when: &str, lease: &Lease| {
        let [owner, counter, checkpoint] = cells(lease);
        [when.to_owned(), owner, counter, checkpoint]
    };
    let mut rows = vec![row("now", &changed.after)];
    if changed.before != changed.after {
        rows.insert(0, row("before", &changed.before));
    }
    let mut text = format!("{}\n", changed.before.key);
    text.push_str(&table::render(["", "OWNER", "COUNTER", "CHECKPOINT"], &rows));
    for note in &changed.notes {
        text.push_str(&format!("{note}\n"));
    }
    text
}

fn handed_over(handed_back: &HandedBack, dry_run: bool) -> String {
    let rows: Vec<_> = handed_back
        .leases
        .iter()
        .map(|(before, _)| {
            let [owner, counter, checkpoint] = cells(before);
            [before.key.to_string(), owner, counter, checkpoint]
        })
        .collect();
    let mut text = match rows.is_empty() {
        true => String::new(),
        false => table::render(["LEASE", "OWNER BEFORE", "COUNTER BEFORE", "CHECKPOINT"], &rows),
    };
    let (written, done) = (rows.len(), if dry_run { "would be" } else { "were" });
    text.push_str(&format!(
        "{written} leases {done} handed back; {} were free already, {} have ended\n",
        handed_back.free, handed_back.finished
    ));
    let times: Vec<String> = handed_back
        .start_times()
        .iter()
        .map(ToString::to_string)
        .collect();
    if let Some(earliest) = times.first() {
        text.push_str(&format!(
            "leases at AT_TIMESTAMP start at a time that KCL keeps in its own configuration: set its initial position \
             to AT_TIMESTAMP {earliest} (of {}). DynamoDB Streams has no such position: there, set these leases to \
             trim_horizon, before this\n",
            times.join(", ")
        ));
    }
    text
}

/// One fact a line.
fn described(shown: &Shown, pipeline: Option<&str>) -> String {
    let lease = &shown.lease;
    let [owner, counter, checkpoint] = cells(lease);
    let mut rows = vec![
        ["lease", lease.key.as_str()].map(str::to_owned),
        ["pipeline", pipeline.unwrap_or_default()].map(str::to_owned),
        ["shard", lease.shard.as_str()].map(str::to_owned),
        ["stream", lease.stream.as_ref().map_or("", |s| s.as_str())].map(str::to_owned),
        ["checkpoint".to_owned(), checkpoint],
        ["counter".to_owned(), counter],
        ["owner switches".to_owned(), lease.owner_switches.to_string()],
        ["owner".to_owned(), owner],
    ];
    if lease.owner.is_some() {
        let alive = match shown.alive {
            Some(true) => "yes",
            Some(false) => "no",
            None => "not known",
        };
        rows.push(["owner alive".to_owned(), format!("{alive}: {}", shown.sign)]);
    }
    if let Some(worker) = &shown.worker {
        let state = match (worker.evicted, worker.tombstone, worker.draining) {
            (true, ..) => "evicted",
            (_, true, _) => "gave its id up",
            (_, _, true) => "draining",
            _ => "works",
        };
        rows.push([
            "worker".to_owned(),
            format!(
                "{state}, heartbeat {}, version {}, started {}",
                worker.heartbeat, worker.version, worker.started
            ),
        ]);
    }
    for (shard, parent) in &shown.parents {
        let state = match parent {
            None => "has no lease: trimmed, or not leased yet".to_owned(),
            Some(parent) => {
                let [owner, _, checkpoint] = cells(parent);
                let owner = if owner.is_empty() {
                    "nobody".to_owned()
                } else {
                    owner
                };
                format!("at {checkpoint}, owned by {owner}")
            }
        };
        rows.push(["parent".to_owned(), format!("{shard} {state}")]);
    }
    rows.push(["children".to_owned(), joined(&lease.children)]);
    table::render(["", ""], &rows)
        .lines()
        .skip(1)
        .map(|line| format!("{line}\n"))
        .collect()
}
