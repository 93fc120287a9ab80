//! Chosen stories of Kinesis streams: aggregates, doubtful ends, and what the service trims without a word.

use weir::lease::Checkpoint;

use crate::directed::{PATIENCE, enable, faults, repeats, s, start, tell};
use crate::scenario::{settle, write_some};
use crate::streams::Kinesis;
use crate::world::{State, World};

fn is_of_kinesis(world: &World, kinesis: Kinesis) {
    world.with(|s| {
        s.streams.kinesis = Some(kinesis);
        s.settings.kinesis = true;
    });
}

const POLLED: Kinesis = Kinesis {
    aggregates: true,
    fan_out: false,
};

/// Once, a listing that said "closed" was believed at once, and what was still to read of the shard was lost.
#[test]
fn a_closed_shard_is_read_to_its_end_although_the_service_loses_its_thread() {
    let name = "kinesis::a_closed_shard_is_read_to_its_end_although_the_service_loses_its_thread";
    tell(name, 20, async |world| {
        is_of_kinesis(&world, POLLED);
        enable(&world, 2);
        // An answer in seven has no next iterator, and as many have no records.
        faults(&world, |f| {
            f.expired_iterator = 1_400;
            f.empty_answer = 1_400;
        });
        let _slot = start(&world, 0);
        for _ in 0..5 {
            write_some(&world, 60, 4, s(6)).await;
            world.with(State::reshard);
        }
        settle(&world, s(1_800)).await;
    });
}

#[test]
fn a_planned_stop_inside_an_aggregate_repeats_nothing() {
    let name = "kinesis::a_planned_stop_inside_an_aggregate_repeats_nothing";
    let runs = tell(name, 20, async |world| {
        is_of_kinesis(&world, POLLED);
        enable(&world, 1);
        world.with(|s| {
            for _ in 0..200 {
                let (now, key) = (s.wall(), format!("k{}", s.rng.u32(0..5)));
                s.streams.write_aggregate(&key, 5, 0, now, &mut s.rng);
            }
        });
        let slot = start(&world, 0);
        for _ in 0..6 {
            let wait = world.with(|s| s.rng.u64(200..4_000));
            world.pass_time(std::time::Duration::from_millis(wait)).await;
            slot.stop();
            slot.gone().await;
            slot.resume();
        }
        settle(&world, PATIENCE).await;
    });
    assert!(runs.iter().all(|run| repeats(run) == 0));
}

/// The parts of an aggregate do not fit into one put. The sink goes down between two of them, a checkpoint is
/// written, and the process dies: the next reader begins inside the aggregate.
#[test]
fn a_checkpoint_inside_an_aggregate_is_gone_on_from() {
    const PARTS: u64 = 6;
    let name = "kinesis::a_checkpoint_inside_an_aggregate_is_gone_on_from";
    let inside = std::sync::atomic::AtomicU64::new(0);
    tell(name, 10, async |world| {
        is_of_kinesis(&world, POLLED);
        enable(&world, 1);
        let slot = start(&world, 0);
        world.pass_time(s(10)).await;
        for _ in 0..5 {
            world.with(|s| {
                for key in ["a", "b", "c", "d"] {
                    let now = s.wall();
                    s.streams
                        .write_aggregate(key, PARTS - 1, 300_000, now, &mut s.rng);
                }
            });
            for _ in 0..1_000 {
                world.pass_time(std::time::Duration::from_millis(5)).await;
                if world.with(|s| !(s.model.delivered() as u64).is_multiple_of(PARTS)) {
                    break;
                }
            }
            world.with(|s| s.sink_down_until = s.now + std::time::Duration::from_secs(40));
            world.pass_time(s(20)).await;
            let lease = world.with(|s| s.lease_of((0, 0)).unwrap().clone());
            if matches!(lease.checkpoint, Checkpoint::At(_, sub) if sub < PARTS - 1) {
                inside.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
            slot.crash_after(1);
            slot.resume();
            world.pass_time(s(40)).await;
        }
        settle(&world, PATIENCE).await;
    });
    let inside = inside.into_inner();
    assert!(inside > 5, "{inside} checkpoints lay inside an aggregate");
}

#[test]
fn what_kinesis_trimmed_without_a_word_leaves_a_recorded_gap() {
    let name = "kinesis::what_kinesis_trimmed_without_a_word_leaves_a_recorded_gap";
    let runs = tell(name, 10, async |world| {
        is_of_kinesis(&world, POLLED);
        enable(&world, 1);
        let slot = start(&world, 0);
        write_some(&world, 50, 5, s(10)).await;
        world.pass_time(s(3)).await;
        slot.stop();
        slot.gone().await;
        write_some(&world, 50, 5, s(10)).await;
        world.with(|s| {
            let written = s.streams.changes.len();
            s.streams.trim((0, 0), written - 20);
        });
        slot.resume();
        write_some(&world, 50, 5, s(30)).await;
        settle(&world, PATIENCE).await;
    });
    for run in runs {
        run.world
            .with(|s| assert_eq!(s.table.gaps.len(), 1, "one gap: {:?}", s.table.gaps));
    }
}

/// Once, a reader whose iterator had expired during a long outage went on at the horizon, and the checkpoint moved
/// over what had been trimmed before.
#[test]
fn what_is_trimmed_while_the_sink_is_down_leaves_a_recorded_gap() {
    let name = "kinesis::what_is_trimmed_while_the_sink_is_down_leaves_a_recorded_gap";
    for fan_out in [false, true] {
        let runs = tell(name, 1, async |world| {
            is_of_kinesis(&world, Kinesis { fan_out, ..POLLED });
            enable(&world, 1);
            let _slot = start(&world, 0);
            write_some(&world, 50, 5, s(10)).await;
            world.with(|s| {
                // Kinesis keeps records for a day at least; what it had nothing after is trusted for half of it.
                s.sink_down_until = s.now + std::time::Duration::from_secs(14 * 3_600);
                // Ahead of its checkpoint by as much as a shard may be.
                for n in 0..60 {
                    let key = format!("k{}", n % 5);
                    let now = s.wall();
                    s.streams
                        .write(&key, crate::streams::Kind::Plain, 60_000, now, &mut s.rng);
                }
            });
            write_some(&world, 40, 5, s(13 * 3_600)).await;
            world.with(|s| {
                let written = s.streams.changes.len();
                s.streams.trim((0, 0), written - 10);
            });
            write_some(&world, 40, 5, s(4_000)).await;
            settle(&world, PATIENCE).await;
        });
        for run in runs {
            run.world
                .with(|s| assert_eq!(s.table.gaps.len(), 1, "one gap: {:?}", s.table.gaps));
        }
    }
}

#[test]
fn a_restart_that_finds_its_checkpoint_leaves_no_gap() {
    let name = "kinesis::a_restart_that_finds_its_checkpoint_leaves_no_gap";
    for fan_out in [false, true] {
        let runs = tell(name, 10, async |world| {
            is_of_kinesis(&world, Kinesis { fan_out, ..POLLED });
            enable(&world, 2);
            let slot = start(&world, 0);
            for _ in 0..4 {
                write_some(&world, 40, 5, s(8)).await;
                slot.stop();
                slot.gone().await;
                write_some(&world, 20, 5, s(4)).await;
                slot.resume();
            }
            settle(&world, PATIENCE).await;
        });
        for run in &runs {
            run.world
                .with(|s| assert!(s.table.gaps.is_empty(), "{:?}", s.table.gaps));
        }
        assert!(runs.iter().all(|run| repeats(run) == 0));
    }
}
