//! Stories of fleets: many workers, shards and pipelines, with everything that happens to a fleet, then calm.
//!
//! After the calm begins the fleet has `SETTLED` heartbeats to be as it should for good: every shard read, the
//! leases even, and nothing that moves.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::task::JoinHandle;
use weir::lease::times::Times;

use crate::faults::Faults;
use crate::ownership::LEASE;
use crate::process::{Program, Slot};
use crate::seeds::{chosen, demand_kept, run};
use crate::streams::Kind;
use crate::subject::program;
use crate::world::{State, World};

/// A fleet is as it should be so many heartbeats after its last trouble.
const SETTLED: f64 = 20.0;
/// And then nothing moves for this long.
const WATCHED: Duration = Duration::from_secs(30);
/// How long a quiet world may take to deliver what is left.
const PATIENCE: Duration = Duration::from_secs(900);

fn heartbeat() -> Duration {
    Times::of(LEASE).heartbeat
}

fn secs(from: u64, to: u64, rng: &mut Rng) -> Duration {
    Duration::from_millis(rng.u64(from * 1_000..=to * 1_000))
}

/// What a seed makes of the fleet.
struct Plan {
    slots: usize,
    /// Slots with a process from the beginning.
    first: usize,
    tables: usize,
    /// Open shards that a table shall have at most.
    most_shards: usize,
    events: u32,
    gap: Duration,
    /// A process that died or was stopped comes back within this.
    back: Duration,
}

fn draw(s: &mut State) -> Plan {
    s.faults = match s.rng.u8(0..3) {
        0 => Faults::none(),
        _ => Faults::draw(&mut s.rng),
    };
    s.draw_settings();
    s.settings.memory = 256 << 20;
    s.model.memory = Some(s.settings.memory);
    // Hours, and two of them ahead or more: a calendar decides nothing.
    s.skew = Duration::from_secs([0, 300, 6 * 3_600][s.rng.usize(0..3)]);
    let large = s.rng.u8(0..20);
    let (slots, shards, tables) = match large {
        0 => (s.rng.usize(13..51), s.rng.usize(20..200), s.rng.usize(1..4)),
        1 => (s.rng.usize(2..9), s.rng.usize(300..1_500), s.rng.usize(1..3)),
        2 => (s.rng.usize(2..9), s.rng.usize(8..40), 0),
        _ => {
            let tables = [1, 1, 1, 2, 3, 5][s.rng.usize(0..6)];
            let most = [4, 20, 60][s.rng.usize(0..3)];
            (s.rng.usize(2..13), s.rng.usize(1..=most), tables)
        }
    };
    let big = large < 2;
    if big {
        s.settings.poll_idle = Duration::from_secs(8);
        s.settings.memory = 8 << 30;
        s.model.memory = None;
    }
    // As many pipelines as shards.
    let tables = if tables == 0 { shards } else { tables };
    let now = s.now;
    for table in 0..tables {
        let share = if table == 0 {
            shards - (tables - 1).min(shards - 1) * (shards / tables).max(1).min(shards - 1)
        } else {
            shards / tables
        };
        s.streams.enable_in(table, share.max(1) as u32, now);
    }
    let all: BTreeSet<usize> = (0..tables).collect();
    // A deploy may be under way from the beginning.
    let uneven = tables > 1 && s.rng.u8(0..4) == 0;
    for slot in 0..slots {
        let own = if uneven {
            some_of(&all, &mut s.rng)
        } else {
            all.clone()
        };
        s.runs.insert(slot, own);
    }
    let first = [1, slots.div_ceil(2), slots, slots][s.rng.usize(0..4)];
    let plan = Plan {
        slots,
        first,
        tables,
        most_shards: shards.max(6) * 2,
        events: if big { s.rng.u32(3..8) } else { s.rng.u32(5..25) },
        gap: Duration::from_millis([50, 200, 1_000][s.rng.usize(0..3)]),
        back: Duration::from_secs([1, 15][s.rng.usize(0..2)]),
    };
    s.note(format!(
        "{} slots ({} at first), {} shards in {} tables",
        plan.slots, plan.first, shards, plan.tables
    ));
    plan
}

fn some_of(all: &BTreeSet<usize>, rng: &mut Rng) -> BTreeSet<usize> {
    let mut own: BTreeSet<usize> = all.iter().copied().filter(|_| rng.u8(0..4) > 0).collect();
    if own.is_empty() {
        own.extend(all.first());
    }
    own
}

/// Writes to all tables until it is dropped.
async fn write_on(world: Arc<World>, tables: usize, keys: u32, gap: Duration) {
    loop {
        let pause = world.with(|s| {
            let n = if s.rng.u8(0..40) == 0 { s.rng.u32(1..60) } else { 1 };
            for _ in 0..n {
                let table = s.rng.usize(0..tables);
                s.write_to(table, keys);
            }
            gap.mul_f64(s.rng.f64() * 2.0)
        });
        world.pass_time(pause).await;
    }
}

impl State {
    pub fn write_to(&mut self, table: usize, keys: u32) {
        let now = self.wall();
        let key = format!("k{}", self.rng.u32(0..keys));
        self.streams
            .write_in(table, &key, Kind::Plain, 0, now, &mut self.rng);
    }
}

/// One seed's fleet: some minutes of trouble, then calm.
async fn any(world: Arc<World>, program: Program) {
    let plan = world.with(draw);
    let keys = world.with(|s| s.rng.u32(3..200));
    let writer = tokio::spawn(write_on(world.clone(), plan.tables, keys, plan.gap));
    let slots: Arc<Vec<Slot>> = Arc::new(
        (0..plan.slots)
            .map(|n| Slot::new(&world, n, &program, plan.back, n < plan.first))
            .collect(),
    );
    let mut deploys: Vec<JoinHandle<()>> = Vec::new();
    for _ in 0..plan.events {
        // Some come at once.
        let pause = world.with(|s| {
            let most = [1, 9, 9][s.rng.usize(0..3)];
            secs(0, most, &mut s.rng)
        });
        world.pass_time(pause).await;
        deploys.extend(trouble(&world, &slots, &plan));
    }
    writer.abort();
    for deploy in deploys {
        deploy.abort();
    }
    calm(&world, &slots, plan.tables).await;
    drop(slots);
}

fn trouble(world: &Arc<World>, slots: &Arc<Vec<Slot>>, plan: &Plan) -> Option<JoinHandle<()>> {
    let (what, long, points, coin, at, table) = world.with(|s| {
        let long = if s.rng.bool() {
            secs(0, 7, &mut s.rng)
        } else {
            secs(0, 40, &mut s.rng)
        };
        let points = 1u64 << s.rng.u32(0..11);
        (
            s.rng.u8(0..24),
            long,
            s.rng.u64(1..=points),
            s.rng.bool(),
            s.rng.usize(0..slots.len()),
            s.rng.usize(0..plan.tables),
        )
    });
    let slot = &slots[at];
    let most = plan.most_shards;
    match what {
        0..=2 => world.with(|s| s.reshard_in(table, most)),
        3 => world.with(|s| s.roll_over(table)),
        4..=7 => slot.crash_after(points),
        8..=9 => slot.pause(long),
        10..=11 => slot.partition(long, coin),
        12..=15 => {
            slot.stop();
            if coin {
                // In the middle of the hand-over.
                let (world, long) = (world.clone(), long.min(Duration::from_secs(5)));
                return Some(tokio::spawn(async move {
                    world.pass_time(long).await;
                    world.with(|s| s.reshard_in(table, most));
                }));
            }
        }
        16..=18 => slot.resume(),
        19 => world.with(|s| {
            let (share, long) = ([3_000, 7_000, 9_500, 10_000][s.rng.usize(0..4)], long * 4);
            s.table_throttled = (s.now + long, share);
            s.note(format!(
                "{share} of 10,000 table requests are throttled for {long:?}"
            ));
        }),
        20..=21 => {
            let all: BTreeSet<usize> = (0..plan.tables).collect();
            let sets = world.with(|s| {
                let one = if coin {
                    all.clone()
                } else {
                    some_of(&all, &mut s.rng)
                };
                s.note(format!("a deploy of the pipelines {one:?}"));
                one
            });
            return Some(tokio::spawn(deploy(world.clone(), slots.clone(), sets)));
        }
        22 => world.with(|s| {
            s.sink_down_until = s.now + long;
            s.note(format!("the sink is down for {long:?}"));
        }),
        _ => slots.iter().for_each(Slot::resume),
    }
    None
}

/// Restarts one worker after another, with other pipelines.
async fn deploy(world: Arc<World>, slots: Arc<Vec<Slot>>, tables: BTreeSet<usize>) {
    for (number, slot) in slots.iter().enumerate().filter(|(_, slot)| slot.is_wanted()) {
        slot.stop();
        slot.gone().await;
        world.with(|s| s.runs.insert(number, tables.clone()));
        slot.resume();
        while slot.pid().is_none() && slot.is_wanted() {
            world.pass_time(Duration::from_millis(500)).await;
        }
    }
}

impl State {
    /// Every open shard of a table's stream ends and has one child, as happens every few hours.
    fn roll_over(&mut self, table: usize) {
        let Some(stream) = self.streams.enabled_in(table) else {
            return;
        };
        let (now, delay) = (self.now, self.faults.listing_delay);
        for shard in self.streams.open_shards(stream) {
            self.streams.divide((stream, shard), 1, now, delay, &mut self.rng);
        }
        self.note(format!("all shards of table {table} roll over"));
    }
}

/// Ends the trouble: some workers stay, all tables are read by one at least, nothing fails any more. Then
/// everything must be delivered, and the fleet settle.
async fn calm(world: &Arc<World>, slots: &[Slot], tables: usize) {
    world.with(State::calm_down);
    let staying = world.with(|s| s.rng.usize(1..=slots.len()));
    for (n, slot) in slots.iter().enumerate() {
        if n < staying { slot.resume() } else { slot.stop() }
    }
    let all: BTreeSet<usize> = (0..tables).collect();
    come_and_go(world, slots).await;
    let covered: BTreeSet<usize> = world.with(|s| {
        let live = s.procs.iter().filter(|p| p.alive);
        live.flat_map(|p| p.tables.iter().copied()).collect()
    });
    if covered != all {
        slots[0].stop();
        slots[0].gone().await;
        world.with(|s| s.runs.insert(0, all));
        slots[0].resume();
        come_and_go(world, slots).await;
    }
    settle(world).await;
}

async fn come_and_go(world: &Arc<World>, slots: &[Slot]) {
    while slots.iter().any(|slot| slot.is_wanted() != slot.pid().is_some()) {
        world.pass_time(Duration::from_millis(500)).await;
    }
    // A process that is about to write its row has not joined yet.
    world.pass_time(Duration::from_secs(1)).await;
}

/// What is left is delivered, and the fleet is as it should be and stays so.
async fn settle(world: &Arc<World>) {
    let calm = world.with(|s| {
        s.note("calm");
        s.now
    });
    let limit = heartbeat().mul_f64(SETTLED);
    let mut last_bad = (calm, String::new());
    let mut left = None;
    loop {
        let done = world.with(|s| {
            left = s.unfinished().or_else(|| s.still_in_flight());
            if let Some(why) = s.unsettled() {
                last_bad = (s.now, why);
            }
            // Whatever changed the shape of things begins the wait anew.
            let base = calm.max(s.model.fleet.last_event);
            left.is_none() && s.now >= base + limit + WATCHED || s.now >= calm + PATIENCE
        });
        if done {
            break;
        }
        world.pass_time(Duration::from_secs(1)).await;
    }
    world.with(|s| {
        let now = s.now;
        if let Some(left) = left {
            s.model.broken(now, format!("liveness: {left}"));
        }
        let base = calm.max(s.model.fleet.last_event);
        let last_move = s.model.fleet.last_move;
        if last_bad.0 > base + limit {
            let line = format!(
                "settled: {:?} after the last event at {base:?}: {}",
                last_bad.0 - base,
                last_bad.1
            );
            s.model.broken(now, line);
        } else if last_move > base + limit {
            let last = s.model.fleet.moves.last().cloned();
            let line = format!(
                "settled: leases still move {:?} after the last event at {base:?}: {last:?}",
                last_move - base
            );
            s.model.broken(now, line);
        }
        s.model.fleet.settled_after = last_bad.0.max(last_move).saturating_sub(base);
        s.finish();
        s.counters_add_up();
    });
}

fn tell(test: &str, usual: std::ops::Range<u64>) {
    let mut broken = Vec::new();
    let mut settled = Vec::new();
    for seed in chosen(usual) {
        let started = std::env::var_os("WEIR_SIM_TIMES").map(|_| tokio::time::Instant::now());
        let run = run(seed, |world| any(world, program()));
        settled.push((run.world.with(|s| s.model.fleet.settled_after), seed));
        if let Some(started) = started {
            println!("seed {seed}: {:?}", started.elapsed());
        }
        if !run.violations.is_empty() {
            println!("seed {seed}: {:?}", run.violations);
            broken.push((seed, run));
        }
    }
    settled.sort();
    let beats = |at: usize| settled[at].0.as_secs_f64() / heartbeat().as_secs_f64();
    let count = settled.len();
    println!(
        "{count} fleets settled after p50 {:.1}, p99 {:.1}, max {:.1} heartbeats (seed {})",
        beats(count / 2),
        beats(count * 99 / 100),
        beats(count - 1),
        settled[count - 1].1
    );
    let seeds: Vec<u64> = broken.iter().map(|(seed, _)| *seed).collect();
    if let Some((seed, run)) = broken.first() {
        demand_kept(&format!("fleet::{test}"), *seed, run, &seeds);
    }
}

#[test]
fn every_fleet_keeps_the_promises_and_settles_1() {
    tell("every_fleet_keeps_the_promises_and_settles_1", 0..12);
}

#[test]
fn every_fleet_keeps_the_promises_and_settles_2() {
    tell("every_fleet_keeps_the_promises_and_settles_2", 12..24);
}

#[test]
fn every_fleet_keeps_the_promises_and_settles_3() {
    tell("every_fleet_keeps_the_promises_and_settles_3", 24..36);
}

#[test]
fn every_fleet_keeps_the_promises_and_settles_4() {
    tell("every_fleet_keeps_the_promises_and_settles_4", 36..48);
}
