//! The model has teeth: a small reader that keeps the promises passes, and each of its sins is caught.

use std::sync::Arc;
use std::time::Duration;

use crate::process::Slot;
use crate::reader::{Sin, program};
use crate::scenario::{settle, write_some};
use crate::seeds::{Run, demand_kept, run};
use crate::world::World;

/// Two minutes with a split, a merge and a restart, and no faults.
async fn calm_story(world: Arc<World>, sin: Sin) {
    world.with(|s| {
        let now = s.now;
        s.streams.enable(2, now);
    });
    let slot = Slot::start(&world, 0, &program(sin), Duration::from_secs(2));
    let _rival = (sin == Sin::TakesFromTheLiving)
        .then(|| Slot::start(&world, 1, &program(sin), Duration::from_secs(2)));
    for minute in 0..4 {
        write_some(&world, 40, 10, Duration::from_secs(15)).await;
        world.with(|s| {
            let now = s.now;
            let open = s.streams.open_shards(0);
            match minute {
                0 => s.streams.divide((0, open[0]), 2, now, Duration::ZERO, &mut s.rng),
                1 => assert!(s.streams.merge(0, now, Duration::ZERO, &mut s.rng)),
                _ => s.streams.divide((0, open[0]), 1, now, Duration::ZERO, &mut s.rng),
            }
            s.note(format!("reshard {minute}"));
        });
        write_some(&world, 40, 10, Duration::from_secs(5)).await;
        if minute == 2 {
            slot.stop();
            slot.gone().await;
            slot.resume();
        }
    }
    settle(&world, Duration::from_secs(120)).await;
}

fn told(sin: Sin, seed: u64) -> Run {
    run(seed, |world| calm_story(world, sin))
}

#[test]
fn a_plain_reader_keeps_the_promises_in_a_calm_world() {
    for seed in 0..5 {
        let run = told(Sin::None, seed);
        demand_kept(
            "teeth::a_plain_reader_keeps_the_promises_in_a_calm_world",
            seed,
            &run,
            &[],
        );
        run.world.with(|s| {
            assert_eq!(s.model.repeats, 0, "a planned restart repeats nothing");
            assert_eq!(s.model.delivered(), s.streams.changes.len());
        });
    }
}

#[test]
fn the_model_catches_each_sin() {
    for (sin, promise) in [
        (Sin::CheckpointsBeforeThePut, "checkpoint_covers_only_accepted"),
        (Sin::DropsARecord, "nothing_is_lost"),
        (Sin::SendsTwice, "repeats_have_a_cause"),
        (Sin::Reverses, "in_order"),
        (Sin::ForgetsItsParents, "before its parent"),
        (Sin::EndsWithoutChildren, "has no lease"),
        (Sin::TakesFromTheLiving, "is alive"),
        (Sin::ReadsWithoutHeartbeats, "beyond its fence"),
        (Sin::ReleasesWithoutCheckpoint, "planned_changes_repeat_nothing"),
        (Sin::ReusesItsId, "which p0 was"),
    ] {
        let run = told(sin, 3);
        assert!(
            run.violations.iter().any(|v| v.contains(promise)),
            "{sin:?} went unnoticed: {:?}\n{}",
            run.violations,
            crate::world::tail(&run.trace, 60),
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let (a, b) = (told(Sin::None, 9), told(Sin::None, 9));
    assert!(a.trace == b.trace);
    assert!(a.trace.len() > 500);
    assert!(a.trace != told(Sin::None, 10).trace);
}
