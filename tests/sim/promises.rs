//! The promises of the crate docs, a test for each by its name.
//!
//! Each tells stories of its own seeds, with everything that can go wrong, and asks the model about its
//! promise alone, so that a broken one is named by the test that fails.

use std::sync::Arc;

use weir::metrics::Metrics;
use weir::metrics::account::Account;

use crate::scenario::any;
use crate::seeds::{Run, chosen, demand_kept, run};
use crate::subject::program;
use crate::world::World;

/// Tells a story per seed; none may break an invariant whose name is among `invariants`.
fn kept(test: &str, usual: std::ops::Range<u64>, invariants: &[&str]) -> Vec<Run> {
    let mut runs = Vec::new();
    for seed in chosen(usual) {
        let mut run = run(seed, |world| any(world, program()));
        run.violations
            .retain(|v| invariants.iter().any(|name| v.contains(name)));
        demand_kept(&format!("promises::{test}"), seed, &run, &[seed]);
        runs.push(run);
    }
    runs
}

#[test]
fn nothing_is_lost() {
    let runs = kept(
        "nothing_is_lost",
        1_000..1_010,
        &[
            "nothing_is_lost",
            "liveness",
            "checkpoint_covers_only_accepted",
            "has no lease",
        ],
    );
    let delivered: usize = runs.iter().map(|r| r.world.with(|s| s.model.delivered())).sum();
    assert!(delivered > 0, "the stories deliver something");
}

#[test]
fn at_least_once_nearly_once() {
    let names = [
        "repeats_have_a_cause",
        "planned_changes_repeat_nothing",
        "checkpoint_covers_only_accepted",
    ];
    kept("at_least_once_nearly_once", 1_010..1_020, &names);
}

#[test]
fn in_order() {
    kept("in_order", 1_020..1_030, &["in_order", "before its parent"]);
}

#[test]
fn a_stale_owner_cannot_write_a_checkpoint() {
    let names = [
        "stale_owner_cannot_checkpoint",
        "one_reader",
        "beyond its fence",
        "is alive",
    ];
    kept("a_stale_owner_cannot_write_a_checkpoint", 1_030..1_040, &names);
}

#[test]
fn bounded() {
    kept("bounded", 1_040..1_050, &["bounded", "without sleeping"]);
}

/// received = delivered + before_start + already_delivered + dead_lettered + given_back + in_flight, in every process, while
/// the world is quiet and after its end; and each gap is a row and a count.
#[test]
fn honest() {
    for seed in chosen(1_050..1_060) {
        let run = run(seed, async |world: Arc<World>| {
            any(world.clone(), program()).await;
            world.with(|s| s.metrics.values().for_each(|books| adds_up(seed, books)));
        });
        run.world.with(|s| {
            for books in s.metrics.values() {
                adds_up(seed, books);
                assert_eq!(
                    books.records_in_flight.with_label_values(&["orders"]).get(),
                    0,
                    "all tasks have ended"
                );
            }
            let counted: u64 = s
                .metrics
                .values()
                .map(|b| b.gaps.with_label_values(&["orders"]).get())
                .sum();
            let rows = s.table.gaps.len() as u64;
            assert!(
                counted >= rows,
                "seed {seed}: {rows} gaps are written down, {counted} are counted"
            );
        });
    }
}

fn adds_up(seed: u64, books: &Metrics) {
    let account = Account::of(books, "orders");
    assert!(account.adds_up(), "seed {seed}: {account}");
}
