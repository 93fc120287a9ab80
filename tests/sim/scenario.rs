//! Stories: what is written when, and what goes wrong meanwhile, drawn from a seed.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use crate::faults::Faults;
use crate::process::{Program, Slot};
use crate::streams::{Kind, Kinesis};
use crate::world::{State, World};

/// How long a quiet world may take to deliver what is left: several rounds of finding children by the
/// periodic shard sync, each after a take-over.
const PATIENCE: Duration = Duration::from_secs(900);

fn secs(from: u64, to: u64, rng: &mut Rng) -> Duration {
    Duration::from_millis(rng.u64(from * 1_000..=to * 1_000))
}

/// Writes `n` changes of `keys` keys over `during`.
pub async fn write_some(world: &Arc<World>, n: u32, keys: u32, during: Duration) {
    for _ in 0..n {
        world.with(|s| s.write(keys, Kind::Plain, 0));
        world.pass_time(during / n).await;
    }
}

impl State {
    pub fn write(&mut self, keys: u32, kind: Kind, size: usize) {
        let now = self.wall();
        let key = format!("k{}", self.rng.u32(0..keys));
        let aggregates = self.streams.kinesis.is_some_and(|k| k.aggregates);
        if aggregates && kind == Kind::Plain && size == 0 && self.rng.u8(0..3) == 0 {
            let more = self.rng.u64(1..6);
            return self.streams.write_aggregate(&key, more, 0, now, &mut self.rng);
        }
        self.streams.write(&key, kind, size, now, &mut self.rng);
    }

    /// Splits, merges or rolls over one shard of the newest stream.
    pub fn reshard(&mut self) {
        self.reshard_in(0, 6);
    }

    /// The same for one table, which shall have at most `most` open shards.
    pub fn reshard_in(&mut self, table: usize, most: usize) {
        let Some(stream) = self.streams.enabled_in(table) else {
            return;
        };
        let open = self.streams.open_shards(stream);
        let (now, delay) = (self.now, self.faults.listing_delay);
        let at = (stream, open[self.rng.usize(0..open.len())]);
        match self.rng.u8(0..3) {
            0 if open.len() > 1 && self.streams.merge(stream, now, delay, &mut self.rng) => {
                self.note("merge");
            }
            1 if open.len() < most => {
                self.streams.divide(at, 2, now, delay, &mut self.rng);
                self.note(format!("split of {at:?}"));
            }
            _ => {
                self.streams.divide(at, 1, now, delay, &mut self.rng);
                self.note(format!("roll-over of {at:?}"));
            }
        }
    }

    /// No faults, pauses, partitions or outages from here on.
    pub fn calm_down(&mut self) {
        self.faults.on = false;
        self.sink_down_until = self.now;
        self.sink_denied_until = self.now;
        self.source_denied_until = self.now;
        self.table_throttled.0 = self.now;
        for p in &mut self.procs {
            p.paused_until = self.now;
            p.table_deaf_until = self.now;
            p.blind_until = self.now;
            p.table_mute_until = self.now;
            if p.alive {
                p.crash_at = None;
            }
        }
        self.note("quiet");
    }
}

/// Ends a story: no more faults; everything must be delivered within `limit`, and the promises kept.
pub async fn settle(world: &Arc<World>, limit: Duration) {
    world.with(State::calm_down);
    let deadline = world.elapsed() + limit;
    while let Some(left) = world.with(|s| s.unfinished().or_else(|| s.still_in_flight())) {
        if world.elapsed() > deadline {
            world.with(|s| {
                let now = s.now;
                s.model.broken(now, format!("liveness: {left}"));
            });
            break;
        }
        world.pass_time(Duration::from_secs(1)).await;
    }
    world.with(|s| {
        s.finish();
        s.counters_add_up();
        s.gaps_are_gaps();
    });
}

/// The habits of one seed's writer.
#[derive(Clone, Copy)]
struct Habits {
    keys: u32,
    gap: Duration,
    /// In 1,000 changes.
    odd: u32,
    large: usize,
}

async fn write_on(world: Arc<World>, habits: Habits) {
    loop {
        let pause = world.with(|s| {
            // Now and then a burst.
            let n = if s.rng.u8(0..40) == 0 { s.rng.u32(1..60) } else { 1 };
            for _ in 0..n {
                let odd = s.rng.u32(0..1_000) < habits.odd;
                let kinds = [Kind::Undecodable, Kind::Poison, Kind::TooOld, Kind::TooNew];
                let kind = if odd {
                    kinds[s.rng.usize(0..4)]
                } else {
                    Kind::Plain
                };
                let size = if s.rng.u8(0..50) == 0 { habits.large } else { 0 };
                s.write(habits.keys, kind, size);
            }
            habits.gap.mul_f64(s.rng.f64() * 2.0)
        });
        world.pass_time(pause).await;
    }
}

/// The same of a Kinesis stream.
pub async fn any_of_kinesis(world: Arc<World>, program: Program) {
    world.with(|s| {
        let kinesis = Kinesis {
            aggregates: s.rng.u8(0..4) > 0,
            fan_out: s.rng.bool(),
        };
        s.streams.kinesis = Some(kinesis);
        s.note(format!("{kinesis:?}"));
    });
    any(world, program).await;
}

/// One seed's story: a few minutes of changes and trouble, then quiet.
pub async fn any(world: Arc<World>, program: Program) {
    let (workers, events, habits) = world.with(|s| {
        s.faults = Faults::draw(&mut s.rng);
        s.draw_settings();
        s.model.memory = Some(s.settings.memory);
        // An approximate time that goes back could fall before a LATEST that was resolved in between.
        if s.rng.bool() && s.settings.starts_at_the_horizon() {
            s.streams.jitter = Duration::from_millis(1_500);
        }
        let (shards, now) = (s.rng.u32(1..4), s.now);
        s.streams.enable(shards, now);
        let habits = Habits {
            keys: s.rng.u32(3..40),
            gap: Duration::from_millis([50, 200, 1_000][s.rng.usize(0..3)]),
            odd: [0, 0, 3, 20][s.rng.usize(0..4)],
            large: [0, 0, 30_000, 300_000][s.rng.usize(0..4)],
        };
        for _ in 0..s.rng.u32(0..200) {
            s.write(habits.keys, Kind::Plain, 0);
        }
        ([1, 1, 1, 2, 3][s.rng.usize(0..5)], s.rng.u32(5..30), habits)
    });
    let pause = world.with(|s| secs(0, 5, &mut s.rng));
    world.pass_time(pause).await;
    let writer = tokio::spawn(write_on(world.clone(), habits));
    let back = Duration::from_secs(20);
    let slots: Vec<Slot> = (0..workers)
        .map(|n| Slot::start(&world, n, &program, back))
        .collect();
    for _ in 0..events {
        let pause = world.with(|s| secs(0, 9, &mut s.rng));
        world.pass_time(pause).await;
        let slot = &slots[world.with(|s| s.rng.usize(0..slots.len()))];
        trouble(&world, slot);
    }
    writer.abort();
    slots.iter().for_each(Slot::resume);
    settle(&world, PATIENCE).await;
}

fn trouble(world: &Arc<World>, slot: &Slot) {
    let (what, long, points, coin) = world.with(|s| {
        // Half of all pauses and cuts are short, and mean nothing beyond a late answer.
        let long = if s.rng.bool() {
            secs(0, 7, &mut s.rng)
        } else {
            secs(0, 60, &mut s.rng)
        };
        let points = 1u64 << s.rng.u32(0..11);
        (s.rng.u8(0..20), long, s.rng.u64(1..=points), s.rng.bool())
    });
    match what {
        0..=4 => world.with(State::reshard),
        5..=8 => slot.crash_after(points),
        9..=10 => slot.pause(long),
        11..=12 => slot.partition(long, coin),
        13..=15 => slot.stop(),
        16 => world.with(|s| {
            s.sink_down_until = s.now + long;
            s.note(format!("the sink is down for {long:?}"));
        }),
        17 if coin => world.with(|s| {
            s.sink_denied_until = s.now + long;
            s.note(format!("the sink denies for {long:?}"));
        }),
        18 if coin => world.with(|s| {
            // What came and went before the first look is none of the pipeline's.
            if s.table.streams.is_empty() {
                return;
            }
            if s.streams.enabled().is_some() && s.rng.bool() {
                s.streams.disable();
                s.note("the stream is disabled");
            } else {
                let (now, shards) = (s.now, s.rng.u32(1..3));
                s.streams.enable(shards, now);
                s.note("the stream is enabled anew");
            }
        }),
        _ => {}
    }
    if what > 12 || coin {
        slot.resume();
    }
}
