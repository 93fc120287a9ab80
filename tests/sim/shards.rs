//! Chosen stories about shards and streams: where a reading starts, in which order, and what is gone.

use std::sync::Arc;
use std::time::Duration;

use weir::config::Start;

use crate::directed::{PATIENCE, enable, faults, repeats, s, start, tell};
use crate::scenario::{settle, write_some};
use crate::seeds::{demand_kept, run};
use crate::streams::Kind;
use crate::world::{State, World};

#[test]
fn split_and_merge_keep_the_order_per_key_and_repeat_nothing() {
    let runs = tell(
        "shards::split_and_merge_keep_the_order_per_key_and_repeat_nothing",
        20,
        async |world| {
            enable(&world, 2);
            // Children are listed long after their parents' last records were read.
            faults(&world, |f| {
                f.listing_delay = s(60);
                f.torn_listing = 5_000;
            });
            world.with(|s| s.settings.one_log_stream = s.rng.bool());
            let _slot = start(&world, 0);
            for _ in 0..8 {
                write_some(&world, 60, 4, s(12)).await;
                world.with(State::reshard);
            }
            write_some(&world, 60, 4, s(10)).await;
            settle(&world, s(1_800)).await;
        },
    );
    assert!(runs.iter().all(|run| repeats(run) == 0));
}

#[test]
fn trimmed_data_leave_a_recorded_gap() {
    let runs = tell("shards::trimmed_data_leave_a_recorded_gap", 5, async |world| {
        enable(&world, 1);
        let slot = start(&world, 0);
        write_some(&world, 50, 5, s(10)).await;
        world.pass_time(s(3)).await;
        slot.stop();
        slot.gone().await;
        write_some(&world, 50, 5, s(10)).await;
        world.with(|s| s.streams.trim((0, 0), 80));
        slot.resume();
        write_some(&world, 50, 5, s(30)).await;
        settle(&world, PATIENCE).await;
    });
    for run in runs {
        run.world.with(|s| {
            assert_eq!(s.table.gaps.len(), 1, "one gap: {:?}", s.table.gaps);
            assert_eq!(
                s.model.delivered(),
                120,
                "50 before, none of the 30 trimmed, all after"
            );
        });
    }
}

/// Once, the reader went back to the trimmed place after each horizon it was sent to.
#[test]
fn what_is_trimmed_under_a_running_reader_leaves_one_gap() {
    let name = "shards::what_is_trimmed_under_a_running_reader_leaves_one_gap";
    let runs = tell(name, 5, async |world| {
        enable(&world, 1);
        let _slot = start(&world, 0);
        write_some(&world, 50, 5, s(10)).await;
        world.with(|s| {
            s.sink_down_until = s.now + Duration::from_secs(3_600);
            // Ahead of its checkpoint by as much as a shard may be.
            for n in 0..60 {
                let (now, key) = (s.wall(), format!("k{}", n % 5));
                s.streams.write(&key, Kind::Plain, 60_000, now, &mut s.rng);
            }
        });
        write_some(&world, 40, 5, s(2_000)).await;
        world.with(|s| {
            let written = s.streams.changes.len();
            s.streams.trim((0, 0), written - 10);
        });
        write_some(&world, 40, 5, s(2_000)).await;
        settle(&world, PATIENCE).await;
    });
    for run in runs {
        run.world
            .with(|s| assert_eq!(s.table.gaps.len(), 1, "one gap: {:?}", s.table.gaps));
    }
}

#[test]
fn a_deleted_shard_leaves_a_recorded_gap() {
    let runs = tell(
        "shards::a_deleted_shard_leaves_a_recorded_gap",
        3,
        async |world| {
            enable(&world, 1);
            let slot = start(&world, 0);
            write_some(&world, 20, 5, s(5)).await;
            world.pass_time(s(3)).await;
            slot.stop();
            slot.gone().await;
            write_some(&world, 20, 5, s(5)).await;
            world.with(State::reshard);
            write_some(&world, 20, 5, s(5)).await;
            world.with(|s| s.streams.shard_mut((0, 0)).gone = true);
            slot.resume();
            write_some(&world, 20, 5, s(30)).await;
            settle(&world, PATIENCE).await;
        },
    );
    for run in runs {
        run.world.with(|s| {
            assert_eq!(s.table.gaps.len(), 1, "one gap: {:?}", s.table.gaps);
            assert_eq!(s.model.delivered(), 60);
        });
    }
}

#[test]
fn latest_is_resolved_once_and_a_restart_before_the_first_checkpoint_skips_nothing() {
    let name = "shards::latest_is_resolved_once_and_a_restart_before_the_first_checkpoint_skips_nothing";
    for points in (1..60).step_by(3) {
        let run = run(points, async |world| {
            enable(&world, 2);
            world.with(|s| {
                s.settings.start = Start::Latest;
                s.streams.whole_seconds = points % 2 == 0;
            });
            write_some(&world, 50, 5, s(20)).await;
            let slot = start(&world, 0);
            world.pass_time(Duration::from_millis(1)).await;
            slot.crash_after(points);
            // While it starts, while it is dead, and afterwards.
            write_some(&world, 200, 5, s(40)).await;
            settle(&world, PATIENCE).await;
        });
        demand_kept(name, points, &run, &[]);
        run.world.with(|s| {
            let start = s.model.starts.get(&0).copied().expect("LATEST became a time");
            let late = start.millis() - crate::world::EPOCH;
            assert!(
                (20_000..40_000).contains(&late),
                "resolved at the first start: {late}"
            );
            let before = (0..s.streams.changes.len())
                .filter(|&g| s.before_start(g))
                .count();
            assert_eq!(s.model.delivered() + before, s.streams.changes.len());
        });
    }
}

#[test]
fn latest_holds_through_a_restart_in_the_middle_of_the_backlog() {
    let name = "shards::latest_holds_through_a_restart_in_the_middle_of_the_backlog";
    let runs = tell(name, 5, async |world| {
        enable(&world, 1);
        world.with(|s| {
            s.settings.start = Start::Latest;
            // The day before: read and dropped for longer than a checkpoint interval lasts.
            (0..8_000).for_each(|_| s.write(20, Kind::Plain, 0));
        });
        world.pass_time(s(2)).await;
        faults(&world, |f| f.streams.slow = 10_000);
        let slot = start(&world, 0);
        write_some(&world, 40, 5, s(40)).await;
        slot.crash_after(1);
        write_some(&world, 40, 5, s(40)).await;
        slot.stop();
        slot.gone().await;
        slot.resume();
        settle(&world, PATIENCE).await;
    });
    for run in runs {
        run.world.with(|s| {
            let before = (0..s.streams.changes.len())
                .filter(|&g| s.before_start(g))
                .count();
            assert!(before >= 8_000);
            assert_eq!(s.model.delivered() + before, s.streams.changes.len());
        });
    }
}

#[test]
fn a_stream_enabled_anew_is_read_from_its_first_change_after_the_old_one() {
    let story = async |world: Arc<World>, start_at: Start| {
        enable(&world, 2);
        world.with(|s| s.settings.start = start_at);
        let _slot = start(&world, 0);
        world.pass_time(s(8)).await;
        write_some(&world, 60, 5, s(10)).await;
        // Equal shard ids, another ARN.
        enable(&world, 2);
        write_some(&world, 60, 5, s(10)).await;
        world.with(State::reshard);
        write_some(&world, 60, 5, s(60)).await;
        settle(&world, s(900)).await;
    };
    for start_at in [Start::TrimHorizon, Start::Latest] {
        let name = "shards::a_stream_enabled_anew_is_read_from_its_first_change_after_the_old_one";
        let runs = tell(name, 4, |world| story(world, start_at));
        for run in runs {
            run.world.with(|s| assert_eq!(s.model.delivered(), 180));
            assert_eq!(repeats(&run), 0);
        }
    }
}

#[test]
fn an_order_that_waited_for_the_first_sync_tries_no_lease_again() {
    let name = "shards::an_order_that_waited_for_the_first_sync_tries_no_lease_again";
    let runs = tell(name, 3, async |world| {
        // Longer than what looks for the end of a first sync, so that it is ordered again meanwhile.
        world.with(|state| state.listings_take = s(3));
        enable(&world, 400);
        let _worker = start(&world, 0);
        world.pass_time(s(30)).await;
    });
    for run in runs {
        let of = |part: &str| run.trace.iter().filter(|line| line.contains(part)).count();
        assert!(of("list_shards") > 1, "the order that waited was heeded");
        let refused = |line: &&String| line.contains("create lease") && line.ends_with("refused");
        assert_eq!(run.trace.iter().filter(refused).count(), 0);
    }
}
