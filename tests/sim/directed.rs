//! Chosen stories, each a claim about Weir.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use weir::coordinator::{FAREWELL, Settings};
use weir::lease::Checkpoint;

use crate::faults::{Faults, Rates};
use crate::process::Slot;
use crate::scenario::{settle, write_some};
use crate::seeds::{Run, chosen, demand_kept, run};
use crate::streams::Kind;
use crate::subject;
use crate::world::World;

pub const PATIENCE: Duration = Duration::from_secs(300);

pub fn s(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Tells the story under a few seeds; every promise must be kept in each.
pub fn tell<F, Fut>(name: &str, seeds: u64, story: F) -> Vec<Run>
where
    F: Fn(Arc<World>) -> Fut,
    Fut: Future<Output = ()>,
{
    let mut runs = Vec::new();
    for seed in chosen(0..seeds) {
        let run = run(seed, &story);
        demand_kept(name, seed, &run, &[]);
        runs.push(run);
    }
    runs
}

pub fn enable(world: &World, shards: u32) {
    world.with(|s| {
        let now = s.now;
        s.streams.enable(shards, now);
    });
}

pub fn start(world: &Arc<World>, number: usize) -> Slot {
    Slot::start(world, number, &subject::program(), s(1))
}

pub fn repeats(run: &Run) -> usize {
    run.world.with(|s| s.model.repeats)
}

pub fn faults(world: &World, set: impl FnOnce(&mut Faults)) {
    world.with(|s| {
        s.faults.on = true;
        set(&mut s.faults);
    });
}

#[test]
fn a_crash_at_any_await_point_loses_nothing_and_repeats_one_checkpoint_interval_at_most() {
    let name =
        "directed::a_crash_at_any_await_point_loses_nothing_and_repeats_one_checkpoint_interval_at_most";
    // Every point of the first seconds, which hold all that happens at a start, then every seventh.
    for point in (1..150).chain((150..900).step_by(7)) {
        let run = run(point, async |world| {
            enable(&world, 2);
            // Which would spare the repeats.
            world.with(|s| s.settings.look_up = false);
            let slot = start(&world, 0);
            world.pass_time(Duration::from_millis(1)).await;
            slot.crash_after(point);
            write_some(&world, 240, 8, s(40)).await;
            settle(&world, PATIENCE).await;
        });
        demand_kept(name, point, &run, &[]);
        run.world.with(|state| {
            let crash = state.procs.first().and_then(|p| p.died);
            for &(first, gid) in &state.model.repeated_from {
                let crash = crash.expect("repeats without a crash");
                assert!(
                    first + subject::CHECKPOINT + s(1) >= crash,
                    "point {point}: {} repeats, delivered at {first:?}, long before the crash at {crash:?}",
                    state.streams.changes[gid].seq,
                );
            }
        });
    }
}

#[test]
fn a_reply_lost_after_a_write_applied_does_no_harm() {
    tell(
        "directed::a_reply_lost_after_a_write_applied_does_no_harm",
        10,
        async |world| {
            enable(&world, 2);
            faults(&world, |f| {
                let often = Rates {
                    reply_lost: 2_500,
                    ..Rates::default()
                };
                (f.table, f.logs) = (often, often);
            });
            let _slot = start(&world, 0);
            write_some(&world, 400, 10, s(120)).await;
            settle(&world, PATIENCE).await;
        },
    );
}

#[test]
fn writes_that_land_late_do_no_harm() {
    tell("directed::writes_that_land_late_do_no_harm", 10, async |world| {
        enable(&world, 2);
        faults(&world, |f| {
            let often = Rates {
                silent: 1_500,
                ..Rates::default()
            };
            (f.table, f.logs, f.latest) = (often, often, s(20));
        });
        let _slot = start(&world, 0);
        write_some(&world, 400, 10, s(120)).await;
        settle(&world, PATIENCE).await;
    });
}

#[test]
fn throttles_delay_and_repeat_nothing() {
    let runs = tell("directed::throttles_delay_and_repeat_nothing", 5, async |world| {
        enable(&world, 2);
        faults(&world, |f| {
            // The table less often: at one in two, heartbeats would fail for longer than a fence lasts.
            f.table = Rates {
                throttled: 2_000,
                unavailable: 500,
                ..Rates::default()
            };
            f.streams = Rates {
                throttled: 4_000,
                unavailable: 1_000,
                ..Rates::default()
            };
            f.logs = f.streams;
        });
        let _slot = start(&world, 0);
        write_some(&world, 400, 10, s(60)).await;
        settle(&world, PATIENCE).await;
    });
    assert!(runs.iter().all(|run| repeats(run) == 0));
}

#[test]
fn expired_iterators_skip_and_repeat_nothing() {
    let runs = tell(
        "directed::expired_iterators_skip_and_repeat_nothing",
        5,
        async |world| {
            enable(&world, 2);
            faults(&world, |f| {
                f.expired_iterator = 4_000;
                f.empty_answer = 3_000;
            });
            let _slot = start(&world, 0);
            write_some(&world, 400, 10, s(60)).await;
            settle(&world, PATIENCE).await;
        },
    );
    assert!(runs.iter().all(|run| repeats(run) == 0));
}

#[test]
fn a_sink_down_for_an_hour_loses_nothing_in_bounded_memory() {
    // Less than the shards would hold by their own caps.
    const MEMORY: usize = 3 << 20;
    let runs = tell(
        "directed::a_sink_down_for_an_hour_loses_nothing_in_bounded_memory",
        1,
        async |world| {
            enable(&world, 4);
            world.with(|s| {
                s.settings.memory = MEMORY;
                s.model.memory = Some(MEMORY);
                s.sink_down_until = s.now + Duration::from_secs(3_600);
            });
            let _slot = start(&world, 0);
            for _ in 0..3_600 {
                world.with(|s| s.write(50, Kind::Plain, 6_000));
                world.pass_time(s(1)).await;
            }
            // The budget counts a record three times, as it stands, in the request, in the body; and what stands beside
            // each of these small ones takes as much again.
            let peak = world.with(|s| s.model.peak_in_flight());
            assert!(peak > MEMORY / 16, "it did not even read: {peak} bytes at most");
            settle(&world, PATIENCE).await;
        },
    );
    assert!(
        runs.iter().all(|run| repeats(run) == 0),
        "an outage repeats nothing"
    );
}

#[test]
fn records_that_are_suddenly_large_hold_up_no_shard_however_small_the_budget() {
    // Two of the largest answers, and the events of one.
    const MEMORY: usize = 4 << 20;
    let runs = tell(
        "directed::records_that_are_suddenly_large_hold_up_no_shard_however_small_the_budget",
        3,
        async |world| {
            enable(&world, 60);
            world.with(|s| {
                s.settings.memory = MEMORY;
                s.model.memory = Some(MEMORY);
            });
            let _slot = start(&world, 0);
            for size in [0, 40_000, 0, 300_000] {
                for _ in 0..10 {
                    // Of a burst each shard has more than it gives in one answer.
                    let bursts = if size == 300_000 { 30 } else { 600 };
                    world.with(|s| (0..bursts).for_each(|_| s.write(200, Kind::Plain, size)));
                    world.pass_time(s(4)).await;
                }
            }
            settle(&world, PATIENCE).await;
        },
    );
    for run in &runs {
        let refused = run
            .trace
            .iter()
            .filter(|line| line.contains("are too many"))
            .count();
        assert!(refused > 60, "the large ones were a surprise: {refused}");
        assert_eq!(repeats(run), 0);
    }
}

/// Rule 3: a heartbeat is stamped at the receipt of the scan that shows it, for the scan may have been on its way
/// for a second, and the heartbeat younger than its start.
#[test]
fn slow_reads_of_the_worker_rows_evict_nobody_within_its_fence() {
    tell(
        "directed::slow_reads_of_the_worker_rows_evict_nobody_within_its_fence",
        12,
        async |world| {
            enable(&world, 2);
            let slots: Vec<Slot> = (0..3).map(|n| start(&world, n)).collect();
            for round in 0..12 {
                let wait = world.with(|s| {
                    s.rows_take = Duration::from_millis(960);
                    Duration::from_millis(s.rng.u64(15_000..19_000))
                });
                world.pass_time(wait).await;
                slots[round % 3].crash_after(1);
                // The verdict comes quickly.
                world.with(|s| s.rows_take = Duration::ZERO);
                world.pass_time(s(12)).await;
            }
            settle(&world, PATIENCE).await;
        },
    );
}

#[test]
fn a_stale_owner_cannot_checkpoint() {
    let runs = tell("directed::a_stale_owner_cannot_checkpoint", 10, async |world| {
        enable(&world, 2);
        let first = start(&world, 0);
        write_some(&world, 40, 5, s(10)).await;
        let stale = world.with(|s| s.lease_of((0, 0)).and_then(|l| l.owner.clone()));
        let _second = start(&world, 1);
        first.pause(s(45));
        write_some(&world, 100, 5, s(40)).await;
        world.with(|s| {
            let lease = s.lease_of((0, 0)).expect("the shard has a lease");
            assert!(
                lease.owner.is_some() && lease.owner != stale,
                "nobody took over: {lease:?}"
            );
            assert!(matches!(lease.checkpoint, Checkpoint::At(..)));
        });
        // The stale owner wakes and goes on where it stood: the model watches what of it is applied.
        write_some(&world, 100, 5, s(30)).await;
        settle(&world, PATIENCE).await;
    });
    assert!(
        runs.iter().all(|run| run.world.with(|s| s.procs.len()) == 2),
        "no worker died of it"
    );
}

#[test]
fn a_fence_counts_from_the_first_request_of_a_heartbeat() {
    tell(
        "directed::a_fence_counts_from_the_first_request_of_a_heartbeat",
        10,
        async |world| {
            enable(&world, 2);
            // A beat that was applied is answered only after repeats; then the table is out of reach.
            faults(&world, |f| f.table.reply_lost = 6_000);
            let slot = start(&world, 0);
            for _ in 0..10 {
                let pause = world.with(|s| Duration::from_millis(s.rng.u64(10_000..16_000)));
                write_some(&world, 100, 5, pause).await;
                slot.partition(s(12), false);
                write_some(&world, 100, 5, s(12)).await;
            }
            settle(&world, PATIENCE).await;
        },
    );
}

#[test]
fn a_worker_that_cannot_read_the_worker_rows_takes_nothing_from_the_living() {
    let name = "directed::a_worker_that_cannot_read_the_worker_rows_takes_nothing_from_the_living";
    tell(name, 3, async |world| {
        enable(&world, 2);
        let _first = start(&world, 0);
        write_some(&world, 40, 5, s(10)).await;
        // From here on nothing is written: the leases of the first stand still, as a dead foreign owner's.
        let second = start(&world, 1);
        world.pass_time(Duration::from_millis(1)).await;
        let pid = second.pid().expect("it runs");
        world.with(|s| s.procs[pid].blind_until = s.now + Duration::from_secs(120));
        world.pass_time(s(150)).await;
        settle(&world, PATIENCE).await;
    });
}

#[test]
fn a_standby_takes_over_soon_after_a_clean_stop() {
    let runs = tell("a_standby_takes_over_soon_after_a_clean_stop", 5, async |world| {
        enable(&world, 3);
        let first = start(&world, 0);
        write_some(&world, 50, 10, s(10)).await;
        let _standby = start(&world, 1);
        write_some(&world, 50, 10, s(20)).await;
        first.stop();
        first.gone().await;
        // A heartbeat's time, a look at the rows, a look at the leases; not the 30 s of the next scan.
        world.pass_time(s(6)).await;
        let open = world.with(|s| {
            let mine = |owner: &Option<_>| owner.is_some();
            s.table.leases.values().filter(|l| !mine(&l.owner)).count()
        });
        assert_eq!(open, 0, "leases without an owner");
        settle(&world, PATIENCE).await;
    });
    assert!(runs.iter().all(|run| repeats(run) == 0));
}

#[test]
fn planned_restarts_repeat_nothing() {
    let runs = tell("directed::planned_restarts_repeat_nothing", 10, async |world| {
        enable(&world, 3);
        let slot = start(&world, 0);
        for _ in 0..6 {
            write_some(&world, 40, 10, s(9)).await;
            slot.stop();
            slot.gone().await;
            slot.resume();
        }
        settle(&world, PATIENCE).await;
    });
    assert!(runs.iter().all(|run| repeats(run) == 0));
}

#[test]
fn odd_records_are_dead_lettered_and_hold_nothing_back() {
    let runs = tell(
        "directed::odd_records_are_dead_lettered_and_hold_nothing_back",
        6,
        async |world| {
            enable(&world, 2);
            world.with(|s| s.settings.one_log_stream = s.rng.bool());
            let _slot = start(&world, 0);
            for kind in [Kind::Undecodable, Kind::Poison, Kind::TooOld, Kind::TooNew] {
                write_some(&world, 20, 5, s(3)).await;
                world.with(|s| {
                    for _ in 0..3 {
                        s.write(5, kind, 0);
                        s.write(5, Kind::Plain, 0);
                    }
                });
            }
            settle(&world, PATIENCE).await;
        },
    );
    for run in runs {
        run.world
            .with(|s| assert_eq!((s.model.dead_lettered(), s.model.delivered()), (12, 92)));
        assert_eq!(repeats(&run), 0);
    }
}

#[test]
fn bursts_and_large_records_keep_the_rules_of_a_put() {
    let runs = tell(
        "directed::bursts_and_large_records_keep_the_rules_of_a_put",
        2,
        async |world| {
            enable(&world, 1);
            let _slot = start(&world, 0);
            world.with(|s| (0..4_000).for_each(|_| s.write(50, Kind::Plain, 0)));
            world.pass_time(s(5)).await;
            world.with(|s| (0..30).for_each(|_| s.write(50, Kind::Plain, 200_000)));
            settle(&world, PATIENCE).await;
        },
    );
    assert!(runs.iter().all(|run| repeats(run) == 0));
}

#[test]
fn a_table_out_of_reach_for_minutes_stops_the_reading_and_loses_nothing() {
    tell(
        "directed::a_table_out_of_reach_for_minutes_stops_the_reading_and_loses_nothing",
        10,
        async |world| {
            enable(&world, 2);
            let slot = start(&world, 0);
            write_some(&world, 40, 5, s(10)).await;
            slot.partition(s(120), world.with(|s| s.rng.bool()));
            write_some(&world, 100, 5, s(100)).await;
            let puts = world.with(|s| s.logs.puts);
            write_some(&world, 20, 5, s(15)).await;
            world.with(|s| assert_eq!(s.logs.puts, puts, "it reads on without a heartbeat"));
            settle(&world, PATIENCE).await;
        },
    );
}

/// Whatever doesn't answer: what the platform must wait for (`config::check::AFTER_DRAIN`) rests on it.
#[test]
fn a_worker_that_is_told_to_stop_is_gone_soon_after_its_drains_limit() {
    let name = "directed::a_worker_that_is_told_to_stop_is_gone_soon_after_its_drains_limit";
    let drain = Settings::default().drain_timeout;
    let longest = Mutex::new(Duration::ZERO);
    tell(name, 16, async |world| {
        enable(&world, 4);
        let slots: Vec<Slot> = (0..3).map(|n| start(&world, n)).collect();
        write_some(&world, 60, 5, s(25)).await;
        let between = |least, most| world.with(|s| Duration::from_millis(s.rng.u64(least..most)));
        let (before, away, back) = (
            between(0, 2_000),
            between(19_000, 21_000),
            between(24_300, 24_900),
        );
        world.with(|s| {
            s.write(50, Kind::Plain, 2_000);
            // What is read stays in flight.
            s.sink_down_until = s.now + Duration::from_secs(60);
        });
        world.pass_time(before).await;
        let told = world.elapsed();
        slots[0].stop();
        // Whoever should read its notes can't.
        for heir in &slots[1..] {
            heir.partition(s(60), false);
        }
        // It gives its leases back at the last moment, and then the table is gone.
        world.pass_time(away).await;
        slots[0].partition(back - away, false);
        world.pass_time(back + Duration::from_millis(300) - away).await;
        slots[0].partition(s(30), world.with(|s| s.rng.bool()));
        slots[0].gone().await;
        let took = world.elapsed() - told;
        let most = drain + FAREWELL + Duration::from_millis(200);
        assert!(took <= most, "{took:?} of {most:?}");
        {
            let mut longest = longest.lock().unwrap();
            *longest = took.max(*longest);
        }
        slots[0].resume();
        settle(&world, PATIENCE).await;
    });
    let longest = longest.into_inner().unwrap();
    assert!(longest > drain, "the limit was never reached: {longest:?}");
}
