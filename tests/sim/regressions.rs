//! What a review or a run once found broken, each as a story of its own.

use std::sync::Arc;
use std::time::Duration;

use crate::process::Slot;
use crate::scenario::{settle, write_some};
use crate::seeds::{Run, demand_kept, run};
use crate::subject::program;
use crate::world::World;

const PATIENCE: Duration = Duration::from_secs(600);

fn s(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn enable(world: &World, shards: u32) {
    world.with(|s| {
        let now = s.now;
        s.streams.enable(shards, now);
    });
}

/// Nothing was repeated, no worker fenced itself, no shard's task was ended as hung.
fn undisturbed(run: &Run) {
    run.world.with(|s| {
        assert_eq!(s.model.repeats, 0, "repeats");
        for metrics in s.metrics.values() {
            assert_eq!(metrics.fences.with_label_values::<&str>(&[]).get(), 0, "fences");
            assert_eq!(
                metrics.hung_shards.with_label_values(&["orders"]).get(),
                0,
                "hung shards"
            );
        }
    });
}

/// Once, a consumer that repeated its checkpoint showed no progress and was ended as hung, and the
/// takes that followed held up the coordinator until its heartbeat fenced it.
#[test]
fn a_lease_table_that_is_silent_for_minutes_disturbs_no_delivery() {
    for seed in 0..5 {
        let run = run(seed, async |world: Arc<World>| {
            enable(&world, 3);
            let _slot = Slot::start(&world, 0, &program(), s(1));
            write_some(&world, 100, 10, s(20)).await;
            world.with(|s| s.leases_silent_until = s.now + Duration::from_secs(150));
            write_some(&world, 400, 10, s(120)).await;
            let open = world.with(|s| s.model.delivered() + 20 < s.streams.changes.len());
            assert!(
                !open,
                "seed {seed}: the records go on while no checkpoint can be written"
            );
            write_some(&world, 100, 10, s(60)).await;
            settle(&world, PATIENCE).await;
        });
        demand_kept(
            "regressions::a_lease_table_that_is_silent_for_minutes_disturbs_no_delivery",
            seed,
            &run,
            &[seed],
        );
        undisturbed(&run);
    }
}

/// Once, a consumer that waited for its turn to ask for children was ended as hung before it came, its
/// shard was read again, and so for ever.
#[test]
fn many_shards_that_end_together_while_listings_are_slow_end_once() {
    for seed in 0..3 {
        let run = run(seed, async |world: Arc<World>| {
            enable(&world, 40);
            let _slot = Slot::start(&world, 0, &program(), s(1));
            write_some(&world, 200, 60, s(10)).await;
            world.with(|s| {
                s.listings_take = Duration::from_secs(12);
                let now = s.now;
                for shard in s.streams.open_shards(0) {
                    s.streams.divide((0, shard), 1, now, Duration::ZERO, &mut s.rng);
                }
            });
            write_some(&world, 200, 60, s(60)).await;
            world.with(|s| s.listings_take = Duration::ZERO);
            settle(&world, PATIENCE).await;
        });
        demand_kept(
            "regressions::many_shards_that_end_together_while_listings_are_slow_end_once",
            seed,
            &run,
            &[seed],
        );
        undisturbed(&run);
    }
}

/// Once, what could not even be dead-lettered let its shard read on for ever behind it: the checkpoint
/// stood still, and the list of finished records grew.
#[test]
fn a_record_whose_dead_letter_is_refused_stops_its_shard() {
    let run = run(7, async |world: Arc<World>| {
        enable(&world, 1);
        world.with(|s| s.letters_refused = true);
        let _slot = Slot::start(&world, 0, &program(), s(1));
        write_some(&world, 20, 5, s(5)).await;
        world.with(|s| s.write(5, crate::streams::Kind::Undecodable, 0));
        for _ in 0..200 {
            world.with(|s| (0..100).for_each(|_| s.write(5, crate::streams::Kind::Plain, 1_000)));
            world.pass_time(s(1)).await;
        }
        let delivered = world.with(|s| s.model.delivered());
        assert!(
            delivered < 8_000,
            "{delivered} records were delivered behind the stuck one"
        );
        world.with(|s| s.letters_refused = false);
        settle(&world, PATIENCE).await;
    });
    demand_kept(
        "regressions::a_record_whose_dead_letter_is_refused_stops_its_shard",
        7,
        &run,
        &[7],
    );
    undisturbed(&run);
}

/// A bug must be loud: a task that panics ends the process, which says which task it was.
#[test]
fn a_task_that_dies_ends_the_process_with_its_name() {
    for (in_read, name) in [(true, "orders/shardId"), (false, "log writers of orders")] {
        let run = run(1, async |world: Arc<World>| {
            enable(&world, 1);
            world.with(|s| {
                *(if in_read {
                    &mut s.panic_in_read
                } else {
                    &mut s.panic_in_put
                }) = true
            });
            let _slot = Slot::start(&world, 0, &program(), s(1_000));
            write_some(&world, 20, 5, s(20)).await;
        });
        let told = run.violations.iter().find(|v| v.contains("ended unexpectedly"));
        let told = told.unwrap_or_else(|| panic!("nobody died: {:?}", run.violations));
        assert!(told.contains(name), "{told}");
    }
}
