//! Stories of the look-up at a take-over: what a dead worker delivered is left out, and nothing else is.

use std::sync::Arc;
use std::time::Duration;

use weir::lease::Checkpoint;
use weir::metrics::account::Account;

use crate::directed::{PATIENCE, enable, faults, repeats, s, start, tell};
use crate::faults::Rates;
use crate::scenario::{settle, write_some};
use crate::seeds::{Run, demand_kept, run};
use crate::streams::Kind;
use crate::subject::CHECKPOINT;
use crate::world::{Failure, State, World};

/// Forty seconds of changes, and a kill -9 at this point; the next process starts within a second.
async fn killed_at(world: Arc<World>, point: u64) {
    enable(&world, 2);
    let slot = start(&world, 0);
    world.pass_time(Duration::from_millis(1)).await;
    slot.crash_after(point);
    write_some(&world, 240, 8, s(40)).await;
    settle(&world, PATIENCE).await;
}

fn sum(run: &Run, of: impl Fn(&Account) -> u64) -> u64 {
    run.world.with(|s| {
        s.metrics
            .values()
            .map(|m| s.over_pipelines(|p| of(&Account::of(m, p))))
            .sum()
    })
}

fn left_out(run: &Run) -> u64 {
    sum(run, |counted| counted.already_delivered)
}

fn look_ups(run: &Run, outcome: &str) -> u64 {
    let of = |m: &weir::metrics::Metrics| m.look_ups.with_label_values(&["orders", outcome]).get();
    run.world.with(|s| s.metrics.values().map(of).sum())
}

/// Nothing was ended because it seemed to stand still.
fn not_hung(run: &Run) {
    let hung = |m: &weir::metrics::Metrics| m.hung_shards.with_label_values(&["orders"]).get();
    let hung: u64 = run.world.with(|s| s.metrics.values().map(hung).sum());
    assert_eq!(hung, 0);
}

#[test]
fn after_a_kill_nothing_is_repeated_and_without_the_look_up_one_checkpoint_interval_at_most() {
    let name =
        "lookup::after_a_kill_nothing_is_repeated_and_without_the_look_up_one_checkpoint_interval_at_most";
    let (mut with, mut without) = (0, 0);
    for point in (20..900).step_by(11) {
        let looked = run(point, |world| killed_at(world, point));
        demand_kept(name, point, &looked, &[]);
        assert_eq!(repeats(&looked), 0, "point {point}");
        with += left_out(&looked);

        let blind = run(point, async |world: Arc<World>| {
            world.with(|s| s.settings.look_up = false);
            killed_at(world, point).await;
        });
        demand_kept(name, point, &blind, &[]);
        without += repeats(&blind);
        assert_eq!((left_out(&blind), blind.world.with(|s| s.logs.reads)), (0, 0));
        blind.world.with(|state| {
            let crash = state.procs.first().and_then(|p| p.died).unwrap();
            for &(first, _) in &state.model.repeated_from {
                assert!(first + CHECKPOINT + s(1) >= crash, "point {point}");
            }
        });
    }
    // The same stories until the kill, and so the same records.
    assert_eq!((with > 1_000, with), (true, without as u64));
}

#[test]
fn shards_that_share_a_log_stream_are_looked_up_each_for_itself() {
    let runs = tell(
        "lookup::shards_that_share_a_log_stream_are_looked_up_each_for_itself",
        10,
        async |world| {
            world.with(|s| s.settings.one_log_stream = true);
            enable(&world, 4);
            let slot = start(&world, 0);
            // More than one page of events, by size.
            world.with(|s| (0..30).for_each(|_| s.write(50, Kind::Plain, 60_000)));
            write_some(&world, 300, 20, s(20)).await;
            slot.crash_after(1);
            write_some(&world, 100, 20, s(20)).await;
            settle(&world, PATIENCE).await;
        },
    );
    for run in runs {
        assert_eq!(repeats(&run), 0);
        assert!(left_out(&run) > 0);
    }
}

#[test]
fn a_look_up_that_fails_costs_repeats_alone() {
    for (fails, outcome) in [
        (Failure::Denied, "failed"),
        (Failure::Throttled, "failed"),
        (Failure::Unavailable, "failed"),
        (Failure::Unanswered, "failed"),
    ] {
        let mut repeated = 0;
        for point in (200..400).step_by(40) {
            let run = run(point, async |world: Arc<World>| {
                world.with(|s| s.logs.reads_fail = Some(fails));
                killed_at(world, point).await;
            });
            demand_kept(
                "lookup::a_look_up_that_fails_costs_repeats_alone",
                point,
                &run,
                &[],
            );
            not_hung(&run);
            assert_eq!((left_out(&run), look_ups(&run, "complete")), (0, 0), "{fails:?}");
            assert!(look_ups(&run, outcome) > 0, "{fails:?}");
            repeated += repeats(&run);
        }
        assert!(repeated > 0, "{fails:?}");
    }
}

#[test]
fn a_look_up_without_an_answer_is_given_up_in_three_seconds() {
    let delivered_after = |fails: Option<Failure>| {
        let run = run(5, async |world: Arc<World>| {
            enable(&world, 1);
            let slot = start(&world, 0);
            write_some(&world, 100, 8, s(20)).await;
            world.with(|s| s.logs.reads_fail = fails);
            slot.crash_after(1);
            world.pass_time(s(1)).await;
            let (before, began) = (world.with(|s| s.model.delivered()), world.elapsed());
            write_some(&world, 1, 8, Duration::ZERO).await;
            while world.with(|s| s.model.delivered()) == before {
                world.pass_time(Duration::from_millis(50)).await;
            }
            let took = world.elapsed() - began;
            world.with(|s| s.note(format!("took {}", took.as_millis())));
            settle(&world, PATIENCE).await;
        });
        demand_kept(
            "lookup::a_look_up_without_an_answer_is_given_up_in_three_seconds",
            5,
            &run,
            &[],
        );
        not_hung(&run);
        let took = run.trace.iter().find_map(|line| line.split_once("took "));
        let millis = took.and_then(|(_, millis)| millis.parse().ok());
        Duration::from_millis(millis.unwrap())
    };
    let (with, without) = (delivered_after(None), delivered_after(Some(Failure::Unanswered)));
    let longer = without.saturating_sub(with);
    assert!(
        longer > s(2) && longer < Duration::from_millis(3_500),
        "{with:?} {without:?}"
    );
}

#[test]
fn events_that_show_late_or_in_torn_pages_are_repeated_and_nothing_is_lost() {
    let runs = tell(
        "lookup::events_that_show_late_or_in_torn_pages_are_repeated_and_nothing_is_lost",
        20,
        async |world| {
            enable(&world, 2);
            faults(&world, |f| {
                f.visibility_delay = s(30);
                f.empty_answer = 2_000;
                f.logs = Rates {
                    throttled: 1_500,
                    reply_lost: 1_500,
                    ..Rates::default()
                };
            });
            let slot = start(&world, 0);
            for _ in 0..4 {
                write_some(&world, 100, 10, s(12)).await;
                slot.crash_after(1);
            }
            settle(&world, PATIENCE).await;
        },
    );
    assert!(runs.iter().any(|run| repeats(run) > 0), "some are not seen");
    assert!(runs.iter().any(|run| left_out(run) > 0), "some are");
}

#[test]
fn what_a_dead_worker_put_among_the_dead_letters_is_put_there_again() {
    let runs = tell(
        "lookup::what_a_dead_worker_put_among_the_dead_letters_is_put_there_again",
        5,
        async |world| {
            enable(&world, 1);
            let slot = start(&world, 0);
            write_some(&world, 20, 5, s(3)).await;
            world.with(|s| {
                for kind in [Kind::Undecodable, Kind::Poison, Kind::TooOld, Kind::TooNew] {
                    s.write(5, kind, 0);
                    s.write(5, Kind::Plain, 0);
                }
            });
            world.pass_time(Duration::from_millis(1_500)).await;
            slot.crash_after(1);
            settle(&world, PATIENCE).await;
        },
    );
    for run in runs {
        assert_eq!(repeats(&run), 0, "no event is");
        run.world
            .with(|s| assert_eq!((s.model.dead_lettered(), s.model.delivered()), (4, 24)));
    }
}

/// Once, processes that were killed again and again before their first checkpoint left it where it stood,
/// and ever more behind it.
#[test]
fn what_was_left_out_is_checkpointed_at_once() {
    let runs = tell(
        "lookup::what_was_left_out_is_checkpointed_at_once",
        5,
        async |world| {
            // So often that what is written in half a second is delivered before the next kill.
            world.with(|s| s.settings.poll_idle = Duration::from_millis(100));
            enable(&world, 1);
            let slot = start(&world, 0);
            write_some(&world, 60, 5, s(8)).await;
            for round in 1..=4 {
                slot.crash_after(1);
                let found = |s: &State| {
                    let pid = s.living(0)?;
                    let metrics = s.metrics.get(&pid)?;
                    let left_out = s.over_pipelines(|p| Account::of(metrics, p).already_delivered);
                    (left_out > 0).then_some(())
                };
                let delivered = world.with(|s| s.model.delivered());
                world.pass_time(s(1)).await;
                let until = world.elapsed() + s(60);
                while world.with(|s| found(s)).is_none() {
                    assert!(world.elapsed() < until, "round {round}: nothing is looked up");
                    world.pass_time(Duration::from_millis(20)).await;
                }
                world.pass_time(Duration::from_millis(100)).await;
                world.with(|s| {
                    let last = s.streams.shard((0, 0)).changes[delivered - 1];
                    let last = &s.streams.changes[last].seq;
                    let lease = s.lease_of((0, 0)).unwrap();
                    assert!(
                        matches!(&lease.checkpoint, Checkpoint::At(to, _) if to >= last),
                        "round {round}: {} is before {last}",
                        lease.checkpoint
                    );
                });
                // Too few and too soon before the next kill for a checkpoint of their own.
                write_some(&world, 10, 5, Duration::from_millis(500)).await;
            }
            settle(&world, PATIENCE).await;
        },
    );
    assert!(runs.iter().all(|run| repeats(run) == 0));
}
