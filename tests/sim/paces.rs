//! How long a fleet takes for what happens to fleets: chosen stories in a calm world, measured in its own time.
//!
//! The times are the simulation's: the same for the same seed, whatever the machine. A request takes 2 to 24 ms.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::process::Slot;
use crate::scenario::settle;
use crate::seeds::{chosen, demand_kept, run};
use crate::subject::program;
use crate::world::{Pid, World};

/// Shards are asked so often: what is longer between two reads is a hand-over's.
const POLL: Duration = Duration::from_millis(100);

/// Where the shards are.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// All of one table.
    One(usize),
    /// Each of its own.
    Many(usize),
}

const SHAPES: [Shape; 2] = [Shape::One(40), Shape::Many(40)];

struct Fleet {
    world: Arc<World>,
    slots: Vec<Slot>,
}

fn s(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

impl Fleet {
    /// Slots for so many workers, and none in them yet.
    fn new(world: &Arc<World>, workers: usize, shape: Shape, back: Duration) -> Self {
        world.with(|s| {
            let (tables, each) = match shape {
                Shape::One(shards) => (1, shards),
                Shape::Many(shards) => (shards, 1),
            };
            let now = s.now;
            (0..tables).for_each(|table| s.streams.enable_in(table, each as u32, now));
            for slot in 0..workers {
                s.runs.insert(slot, (0..tables).collect());
            }
            s.settings.poll_idle = POLL;
            s.settings.poll_idle_most = POLL;
            // A page of a megabyte.
            s.page = Some(2_000);
            s.settings.memory = 64 << 30;
        });
        let slots = (0..workers).map(|n| Slot::new(world, n, &program(), back, false));
        Self {
            world: world.clone(),
            slots: slots.collect(),
        }
    }

    /// A fleet of `running` workers that has found its rest.
    async fn at_rest(
        world: &Arc<World>,
        workers: usize,
        running: usize,
        shape: Shape,
        back: Duration,
    ) -> Self {
        let fleet = Self::new(world, workers, shape, back);
        for slot in &fleet.slots[..running] {
            slot.resume();
        }
        world.pass_time(s(40)).await;
        fleet.demand_settled("at first");
        fleet
    }

    fn demand_settled(&self, when: &str) {
        self.world.with(|s| {
            if let Some(why) = s.unsettled() {
                let now = s.now;
                s.model.broken(now, format!("settled: {when}: {why}"));
            }
        });
    }

    /// How long it takes until `done`, at most some minutes.
    async fn until(&self, done: impl Fn(&World) -> bool) -> Duration {
        let since = self.world.elapsed();
        while !done(&self.world) && self.world.elapsed() < since + s(300) {
            self.world.pass_time(millis(10)).await;
        }
        self.world.elapsed() - since
    }

    /// Nothing changed hands more than once since `since`, and all is at rest.
    async fn demand_single_moves(&self, since: Duration) {
        self.world.pass_time(s(40)).await;
        self.demand_settled("at last");
        self.world.with(|s| {
            let twice = s.model.fleet.moved_twice(since);
            if !twice.is_empty() {
                let now = s.now;
                s.model
                    .broken(now, format!("moved_twice: {} leases, {}", twice.len(), twice[0]));
            }
        });
    }
}

/// Every open shard was read after `since` by a process that lives.
fn all_read(world: &World, since: Duration) -> bool {
    world.with(|s| {
        let alive = |pid: Pid| s.procs[pid].alive;
        let streams = s.streams.streams.iter().enumerate();
        let mut all = streams.flat_map(|(n, stream)| (0..stream.shards.len()).map(move |i| (n, i)));
        all.all(|at| {
            let read = s.model.fleet.reads.get(&at);
            read.is_some_and(|(when, by)| *when > since && alive(*by))
        })
    })
}

/// Tells `story` under many seeds; prints and bounds what it measures.
fn measure<F, Fut>(name: &str, what: &str, seeds: u64, goal: Duration, story: F)
where
    F: Fn(Arc<World>) -> Fut,
    Fut: Future<Output = Duration>,
{
    let mut times = Vec::new();
    let mut broken = None;
    let traced = std::env::var_os("WEIR_SIM_TRACE").is_some();
    for seed in chosen(0..seeds) {
        let mut took = Duration::ZERO;
        let run = run(seed, async |world: Arc<World>| {
            world.with(|s| s.tracing = traced);
            took = story(world.clone()).await;
            if took > goal {
                world.with(|s| {
                    let now = s.now;
                    s.model
                        .broken(now, format!("pace: {what}: {took:?}, not within {goal:?}"));
                });
            }
        });
        if broken.is_none() && !run.violations.is_empty() {
            broken = Some((seed, run));
        }
        times.push(took);
    }
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64();
    let seeds = times.len();
    println!(
        "| {what} | {seeds} | {:.2} | {:.2} | {:.2} |",
        at(50),
        at(99),
        at(100)
    );
    if let Some((seed, run)) = broken {
        demand_kept(name, seed, &run, &[seed]);
    }
}

#[test]
fn a_fleet_that_starts_cold_reads_all_shards_soon() {
    let name = "paces::a_fleet_that_starts_cold_reads_all_shards_soon";
    let story = |workers, shape| {
        move |world: Arc<World>| async move {
            let fleet = Fleet::new(&world, workers, shape, s(1));
            fleet.slots.iter().for_each(Slot::resume);
            fleet.until(|world| all_read(world, Duration::ZERO)).await
        }
    };
    for shape in SHAPES {
        measure(
            name,
            &format!("cold start, 5 workers, {shape:?}"),
            5,
            s(3),
            story(5, shape),
        );
    }
    let shape = Shape::One(1_000);
    measure(
        name,
        &format!("cold start, 50 workers, {shape:?}"),
        1,
        s(10),
        story(50, shape),
    );
}

#[test]
fn a_joiner_reads_its_share_soon_and_nothing_moves_twice() {
    let name = "paces::a_joiner_reads_its_share_soon_and_nothing_moves_twice";
    for shape in SHAPES {
        let what = format!("join, the 6th worker, {shape:?}");
        measure(name, &what, 3, s(5), |world| async move {
            let fleet = Fleet::at_rest(&world, 6, 5, shape, s(1)).await;
            let since = world.elapsed();
            fleet.slots[5].resume();
            let took = fleet
                .until(|world| world.with(|s| s.live_workers().len() == 6 && s.unsettled().is_none()))
                .await;
            fleet.demand_single_moves(since).await;
            took
        });
    }
}

#[test]
fn a_dead_workers_shards_are_read_soon_and_nothing_moves_twice() {
    let name = "paces::a_dead_workers_shards_are_read_soon_and_nothing_moves_twice";
    for shape in SHAPES {
        let what = format!("kill -9 of one of 5, {shape:?}");
        measure(name, &what, 3, s(12), |world| async move {
            let never = s(100_000_000);
            let fleet = Fleet::at_rest(&world, 5, 5, shape, never).await;
            let wait = world.with(|s| millis(s.rng.u64(0..4_000)));
            world.pass_time(wait).await;
            let since = world.elapsed();
            fleet.slots[2].crash_after(1);
            world.pass_time(millis(200)).await;
            let took = fleet.until(|world| all_read(world, since)).await + millis(200);
            fleet.demand_single_moves(since).await;
            took
        });
    }
}

#[test]
fn a_drain_leaves_no_shard_unread_and_nothing_moves_twice() {
    let name = "paces::a_drain_leaves_no_shard_unread_and_nothing_moves_twice";
    for shape in SHAPES {
        for whole in [true, false] {
            let (what, goal) = match whole {
                true => (format!("SIGTERM of one of 5, until it is gone, {shape:?}"), s(6)),
                false => (format!("SIGTERM of one of 5, longest unread, {shape:?}"), s(1)),
            };
            measure(name, &what, 3, goal, |world| async move {
                let fleet = Fleet::at_rest(&world, 5, 5, shape, s(1)).await;
                let wait = world.with(|s| millis(s.rng.u64(0..4_000)));
                world.pass_time(wait).await;
                let since = world.elapsed();
                world.with(|s| s.model.fleet.unread.clear());
                fleet.slots[2].stop();
                let gone = fleet.until(|world| world.with(|s| s.living(2).is_none())).await;
                fleet.demand_single_moves(since).await;
                let unread = world.with(|s| s.model.fleet.unread.values().max().copied());
                if whole { gone } else { unread.unwrap_or_default() }
            });
        }
    }
}

#[test]
fn a_rolling_restart_repeats_no_event() {
    let name = "paces::a_rolling_restart_repeats_no_event";
    for shape in SHAPES {
        for pause in [s(0), s(10)] {
            let what = format!("rolling restart of 5, {pause:?} between, longest unread, {shape:?}");
            measure(name, &what, 2, s(2), |world| async move {
                let mut fleet = Fleet::at_rest(&world, 5, 5, shape, millis(500)).await;
                let tables: BTreeSet<usize> = world.with(|s| s.tables_of(0));
                let writer = tokio::spawn(write_on(world.clone(), tables.len()));
                world.pass_time(s(5)).await;
                world.with(|s| s.model.fleet.unread.clear());
                for slot in &fleet.slots {
                    slot.stop();
                    slot.gone().await;
                    slot.resume();
                    while slot.pid().is_none() {
                        world.pass_time(millis(100)).await;
                    }
                    world.pass_time(pause).await;
                }
                world.pass_time(s(20)).await;
                writer.abort();
                settle(&world, s(60)).await;
                fleet.demand_settled("after the restart");
                fleet.slots.clear();
                world.with(|s| {
                    if s.model.repeats > 0 {
                        let (now, repeats) = (s.now, s.model.repeats);
                        s.model
                            .broken(now, format!("planned_changes_repeat_nothing: {repeats} repeats"));
                    }
                    s.model.fleet.unread.values().max().copied().unwrap_or_default()
                })
            });
        }
    }
}

async fn write_on(world: Arc<World>, tables: usize) {
    loop {
        world.with(|s| {
            let table = s.rng.usize(0..tables);
            s.write_to(table, 200);
        });
        world.pass_time(millis(20)).await;
    }
}
