//! What the shards say of themselves, beside what the world knows: their reports, their series, the last trouble.

use std::sync::Arc;
use std::time::Duration;

use weir::status::reports::{Activity, ShardReport, Trouble};

use crate::directed::{PATIENCE, enable, s, start, tell};
use crate::process::Slot;
use crate::scenario::{settle, write_some};
use crate::source::RETENTION;
use crate::streams::{Kind, Kinesis, table_name};
use crate::world::World;

/// What a process says of the one shard it has.
fn report(world: &World, slot: &Slot) -> ShardReport {
    let pid = slot.pid().expect("it runs");
    let shards = world.with(|s| s.reports[&pid].shards());
    assert_eq!(shards.len(), 1, "{shards:?}");
    shards.into_values().next().unwrap()
}

fn trouble(world: &World, slot: &Slot) -> Option<Trouble> {
    let pid = slot.pid().expect("it runs");
    world.with(|s| s.reports[&pid].troubles().remove(&table_name(0)))
}

/// The series of shards in what a process would show to Prometheus: each without its labels, and its value.
fn series(world: &World, pid: usize) -> Vec<(String, f64)> {
    let text = world.with(|s| s.metrics[&pid].render().unwrap());
    let of_shards = text.lines().filter(|line| line.contains("shard_id="));
    let named = of_shards.map(|line| {
        let (name, rest) = line.split_once('{').unwrap();
        let (_, value) = rest.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    });
    named.collect()
}

fn value(world: &World, slot: &Slot, name: &str) -> Option<f64> {
    let series = series(world, slot.pid().expect("it runs"));
    series.into_iter().find(|(n, _)| n == name).map(|(_, v)| v)
}

/// A shard that one worker reads, on a calendar that is right.
async fn one_shard(world: &Arc<World>) -> Slot {
    world.with(|s| s.skew = Duration::ZERO);
    enable(world, 1);
    let slot = start(world, 0);
    write_some(world, 20, 5, s(20)).await;
    world.pass_time(s(20)).await;
    slot
}

/// A few seconds more or less, since it is told once a second at least, and clocks of processes drift.
#[track_caller]
fn is_about(told: Option<Duration>, expected: Duration) {
    let told = told.expect("it is known");
    let off = told.abs_diff(expected);
    assert!(off <= s(4) + expected / 500, "{told:?} and not {expected:?}");
}

fn hours(n: u64) -> Duration {
    s(n * 3_600)
}

#[test]
fn a_shard_that_is_caught_up_says_so() {
    for kinesis in [None, Some(false), Some(true)] {
        tell("told::a_shard_that_is_caught_up_says_so", 3, async |world| {
            if let Some(fan_out) = kinesis {
                world.with(|s| {
                    s.streams.kinesis = Some(Kinesis {
                        aggregates: false,
                        fan_out,
                    });
                    s.settings.kinesis = true;
                });
            }
            let slot = one_shard(&world).await;
            let told = report(&world, &slot);
            assert_eq!(told.activity, Activity::CaughtUp);
            assert_eq!((told.lag, told.until_trim), (Some(s(0)), Some(RETENTION)));
            assert_eq!((told.in_flight, told.reached_tip), (0, true));
            assert_eq!(
                told.position.as_ref(),
                Some(&told.checkpoint),
                "all is checkpointed"
            );
            assert_eq!(value(&world, &slot, "weir_shard_lag_seconds"), Some(0.0));
            let left = value(&world, &slot, "weir_shard_until_trim_seconds");
            assert_eq!(left, Some(RETENTION.as_secs_f64()));
            assert_eq!(
                value(&world, &slot, "weir_shard_checkpoint_age_seconds"),
                Some(0.0)
            );
            assert_eq!(trouble(&world, &slot), None);
            settle(&world, PATIENCE).await;
        });
    }
}

#[test]
fn a_destination_that_refuses_is_named_and_the_lag_grows_until_it_accepts() {
    let name = "told::a_destination_that_refuses_is_named_and_the_lag_grows_until_it_accepts";
    tell(name, 3, async |world| {
        let slot = one_shard(&world).await;
        world.with(|s| {
            s.sink_denied_until = s.now + hours(2);
            s.write(5, Kind::Plain, 0);
        });
        let since = world.elapsed();
        for minutes in [1, 10, 59] {
            world.until(since + s(60 * minutes)).await;
            let told = report(&world, &slot);
            let Activity::HeldByDestination { destination } = &told.activity else {
                panic!("{:?}", told.activity)
            };
            assert!(
                destination.starts_with(&format!("/cdc/{}:", table_name(0)))
                    && destination.ends_with("(the world forbids it)"),
                "{destination}"
            );
            assert_eq!(told.in_flight, 1);
            is_about(told.lag, s(60 * minutes));
            is_about(Some(RETENTION - told.until_trim.unwrap()), s(60 * minutes));
            let age = value(&world, &slot, "weir_shard_checkpoint_age_seconds");
            is_about(age.map(Duration::from_secs_f64), s(60 * minutes));
            let trouble = trouble(&world, &slot).expect("puts fail");
            assert!(trouble.part.starts_with("destination /cdc/"), "{trouble:?}");
        }
        world.with(|s| s.sink_denied_until = s.now);
        world.pass_time(s(40)).await;
        let told = report(&world, &slot);
        assert_eq!((told.activity, told.lag), (Activity::CaughtUp, Some(s(0))));
        assert!(
            trouble(&world, &slot).is_some(),
            "the last trouble stays, mended or not"
        );
        settle(&world, PATIENCE).await;
    });
}

#[test]
fn a_stream_that_is_denied_is_told_and_the_lag_grows_with_what_is_not_known() {
    let name = "told::a_stream_that_is_denied_is_told_and_the_lag_grows_with_what_is_not_known";
    tell(name, 3, async |world| {
        let slot = one_shard(&world).await;
        world.with(|s| s.source_denied_until = s.now + hours(2));
        let since = world.elapsed();
        for minutes in [1, 10, 59] {
            world.until(since + s(60 * minutes)).await;
            let told = report(&world, &slot);
            let Activity::BackingOff { error, .. } = &told.activity else {
                panic!("{:?}", told.activity)
            };
            assert_eq!(error, "access denied: the world forbids it");
            assert_eq!((told.in_flight, told.reached_tip), (0, true));
            is_about(told.lag, s(60 * minutes));
            is_about(Some(RETENTION - told.until_trim.unwrap()), s(60 * minutes));
            assert_eq!(
                value(&world, &slot, "weir_shard_checkpoint_age_seconds"),
                Some(0.0)
            );
        }
        let trouble = trouble(&world, &slot).expect("reads fail, and listings");
        assert!(
            trouble.what.ends_with("access denied: the world forbids it"),
            "{trouble:?}"
        );
        world.with(|s| s.source_denied_until = s.now);
        world.pass_time(s(10)).await;
        let told = report(&world, &slot);
        assert_eq!((told.activity, told.lag), (Activity::CaughtUp, Some(s(0))));
        settle(&world, PATIENCE).await;
    });
}

#[test]
fn a_shard_that_could_never_be_read_tells_for_how_long_and_not_what_it_does_not_know() {
    let name = "told::a_shard_that_could_never_be_read_tells_for_how_long_and_not_what_it_does_not_know";
    tell(name, 3, async |world| {
        let first = one_shard(&world).await;
        // It knows the stream, and has no shard of it.
        let second = start(&world, 1);
        world.pass_time(s(30)).await;
        world.with(|s| s.source_denied_until = s.now + hours(2));
        first.stop();
        first.gone().await;
        world.pass_time(s(600)).await;
        let told = report(&world, &second);
        assert!(matches!(told.activity, Activity::BackingOff { .. }), "{told:?}");
        is_about(told.lag, s(600));
        assert_eq!((told.until_trim, told.reached_tip), (None, false));
        assert_eq!(value(&world, &second, "weir_shard_until_trim_seconds"), None);
        settle(&world, PATIENCE).await;
    });
}

#[test]
fn what_goes_to_the_dead_letters_and_what_is_trimmed_is_the_last_trouble() {
    let name = "told::what_goes_to_the_dead_letters_and_what_is_trimmed_is_the_last_trouble";
    tell(name, 3, async |world| {
        let slot = one_shard(&world).await;
        for (kind, words) in [
            (Kind::Undecodable, "goes to the dead letters (undecodable)"),
            (Kind::TooOld, "an event was refused (too_old)"),
        ] {
            world.with(|s| s.write(5, kind, 0));
            world.pass_time(s(5)).await;
            let trouble = trouble(&world, &slot).expect("it is told");
            assert!(trouble.what.contains(words), "{trouble:?}");
        }
        slot.stop();
        slot.gone().await;
        world.with(|s| {
            for _ in 0..5 {
                s.write(5, Kind::Plain, 0);
            }
            let all = s.streams.shard((0, 0)).changes.len();
            s.streams.trim((0, 0), all - 2);
        });
        slot.resume();
        world.pass_time(s(10)).await;
        let trouble = trouble(&world, &slot).expect("it is told");
        assert!(trouble.what.contains("a gap, after "), "{trouble:?}");
        settle(&world, PATIENCE).await;
    });
}

#[test]
fn what_a_shard_says_goes_with_its_lease() {
    tell("told::what_a_shard_says_goes_with_its_lease", 3, async |world| {
        world.with(|s| s.skew = Duration::ZERO);
        enable(&world, 2);
        let first = start(&world, 0);
        write_some(&world, 40, 10, s(20)).await;
        let (pid, each) = (first.pid().expect("it runs"), 3);
        assert_eq!(series(&world, pid).len(), 2 * each);
        let second = start(&world, 1);
        write_some(&world, 100, 10, s(50)).await;
        // Each has one of the two now.
        for slot in [&first, &second] {
            report(&world, slot);
            assert_eq!(series(&world, slot.pid().expect("it runs")).len(), each);
        }
        let shard = |slot| report(&world, slot).shard;
        assert_ne!(shard(&first), shard(&second));
        first.stop();
        first.gone().await;
        assert_eq!(series(&world, pid), []);
        assert!(world.with(|s| s.reports[&pid].shards().is_empty()));
        settle(&world, PATIENCE).await;
    });
}
