//! What a fleet costs: requests to the two state tables, counted, beside the Kinesis Client Library's.
//!
//! Writes are requests; an update of a row above 1 KB takes more write units. Reads are counted as requests (a
//! page has a megabyte) and as read units: strongly consistent, one for each 4 KB of a page and one at least.
//! The rows' sizes are those of the adapter's own encoder.

use std::sync::Arc;
use std::time::Duration;

use weir::lease::item::{self, Attr, Item};
use weir::lease::{Lease, WorkerRow};

use crate::process::Slot;
use crate::seeds::{demand_kept, run};
use crate::streams::Kind;
use crate::subject::program;
use crate::world::{State, World};

/// What the state tables were asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    pub writes: u64,
    pub write_units: u64,
    pub reads: u64,
    pub read_units: u64,
}

impl Cost {
    pub fn read(&mut self, bytes: usize) {
        self.reads += bytes.div_ceil(1 << 20).max(1) as u64;
        self.read_units += bytes.div_ceil(4_096).max(1) as u64;
    }

    pub fn write(&mut self, bytes: usize) {
        self.writes += 1;
        self.write_units += bytes.div_ceil(1_024).max(1) as u64;
    }

    fn since(&self, before: &Self, seconds: f64) -> [f64; 4] {
        [
            (self.writes - before.writes) as f64 / seconds,
            (self.write_units - before.write_units) as f64 / seconds,
            (self.reads - before.reads) as f64 / seconds,
            (self.read_units - before.read_units) as f64 / seconds,
        ]
    }
}

/// The size of a row as DynamoDB counts it: names and values in UTF-8, a number by its digits.
fn size(item: &Item) -> usize {
    let value = |attr: &Attr| match attr {
        Attr::S(text) => text.len(),
        Attr::N(digits) => digits.len().div_ceil(2) + 1,
        Attr::Bool(_) => 1,
        Attr::Ss(members) => 3 + members.iter().map(String::len).sum::<usize>(),
        Attr::Counts(counts) => 3 + counts.keys().map(|name| name.len() + 4).sum::<usize>(),
    };
    item.iter().map(|(name, attr)| name.len() + value(attr)).sum()
}

pub fn lease_size(lease: &Lease) -> usize {
    size(&item::from_lease(lease))
}

pub fn worker_size(row: &WorkerRow) -> usize {
    size(&item::from_worker(row))
}

/// A row of the table below.
struct Case {
    shards: u32,
    workers: usize,
    active: bool,
    /// Counted for so long, after the fleet has come to rest.
    seconds: u64,
}

fn measure(case: &Case) -> [f64; 4] {
    let mut measured = [0.0; 4];
    let (shards, workers, active, seconds) = (case.shards, case.workers, case.active, case.seconds);
    let run = run(1, async |world: Arc<World>| {
        world.with(|s| {
            let now = s.now;
            s.streams.enable(shards, now);
            s.settings.poll_idle = Duration::from_secs(if active { 5 } else { 60 });
            s.settings.memory = 1 << 40;
            s.page = Some(2_000);
            s.tracing = false;
        });
        let slots: Vec<Slot> = (0..workers)
            .map(|n| Slot::start(&world, n, &program(), Duration::from_secs(1)))
            .collect();
        world.pass_time(Duration::from_secs(60)).await;
        let busy = active.then(|| tokio::spawn(write_to_all(world.clone(), shards)));
        world
            .pass_time(Duration::from_secs(if active { 45 } else { 30 }))
            .await;
        let before = world.with(|s| s.cost);
        world.pass_time(Duration::from_secs(seconds)).await;
        measured = world.with(|s| {
            let held = s.table.leases.values().filter(|l| l.owner.is_some()).count();
            assert_eq!(held, shards as usize, "all shards are held");
            s.cost.since(&before, seconds as f64)
        });
        busy.inspect(tokio::task::JoinHandle::abort);
        drop(slots);
    });
    demand_kept("cost::what_a_fleet_costs", 1, &run, &[1]);
    measured
}

/// One change in each shard every ten seconds.
async fn write_to_all(world: Arc<World>, shards: u32) {
    loop {
        for part in 0..100 {
            world.with(|s: &mut State| {
                let now = s.wall();
                for shard in (part..shards as usize).step_by(100) {
                    let key = format!("k{shard}");
                    s.streams
                        .write_at((0, shard), &key, Kind::Plain, 0, now, &mut s.rng);
                }
            });
            world.pass_time(Duration::from_millis(100)).await;
        }
    }
}

/// KCL's renewals for S leases (workers and leader added in 3.x), and what its reads cost.
fn kcl(shards: f64, workers: f64) -> String {
    let renewals = 0.302 * shards;
    let three = renewals + workers / 30.0 + 1.0 / 30.0;
    let (reads_2, reads_3) = (0.0028 * shards * workers, 0.0028 * shards + 0.08 * workers);
    format!("{renewals:.0} / {reads_2:.0} | {three:.0} / {reads_3:.0}")
}

#[test]
#[ignore = "some minutes; run it with: cargo nextest run --test sim --run-ignored only -E 'test(what_a_fleet_costs)' --no-capture"]
fn what_a_fleet_costs() {
    println!(
        "| S | W | shards | writes/s | write units/s | reads/s | read units/s | KCL 2.x writes / read units | KCL 3.x |"
    );
    println!("| ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    let largest: u32 = std::env::var("WEIR_SIM_COST_SHARDS").map_or(10_000, |s| s.parse().unwrap());
    for (shards, workers) in [
        (100, 2),
        (100, 10),
        (100, 100),
        (1_000, 2),
        (1_000, 10),
        (1_000, 50),
        (1_000, 100),
        (10_000, 2),
        (10_000, 10),
        (10_000, 100),
    ] {
        for active in [false, true] {
            let seconds = if shards == 10_000 { 30 } else { 120 };
            if shards > largest {
                continue;
            }
            let case = Case {
                shards,
                workers,
                active,
                seconds,
            };
            let [writes, write_units, reads, read_units] = measure(&case);
            if (shards, workers) == (1_000, 50) {
                let goal = if active { 90.0 } else { 20.0 };
                assert!(writes <= goal, "{writes} writes a second, not within {goal}");
            }
            let what = if active { "active" } else { "idle" };
            println!(
                "| {shards} | {workers} | {what} | {writes:.1} | {write_units:.1} | {reads:.1} | {read_units:.1} | {} |",
                kcl(f64::from(shards), workers as f64)
            );
        }
    }
}
