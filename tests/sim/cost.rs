//! What a fleet costs: requests, counted, beside the Kinesis Client Library's. Of the two state tables at any size of a
//! fleet, and of all services in an hour for a hundred shards, which docs/cost.md makes its bill from.
//!
//! Writes of the state tables are requests; an update of a row above 1 KB takes more write units. Reads are counted as requests (a
//! page has a megabyte) and as read units: strongly consistent, one for each 4 KB of a page and one at least.
//! The rows' sizes are those of the adapter's own encoder.

use std::sync::Arc;
use std::time::Duration;

use weir::lease::item::{self, Attr, Item};
use weir::lease::{Lease, WorkerRow};

use crate::process::Slot;
use crate::seeds::{demand_kept, run};
use crate::streams::Kind;
use crate::subject::{Settings, program};
use crate::world::{State, World};

/// What was asked: of the state tables, and of the stream. The log's puts stand in the log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// GetRecords.
    pub gets: u64,
    /// DescribeStream, a page of a hundred shards each.
    pub listings: u64,
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

/// A fleet on a hundred shards, as the settings have it but for `with`.
struct Hundred {
    what: &'static str,
    workers: usize,
    /// Between two records of a shard.
    each: Option<Duration>,
    with: fn(&mut Settings),
}

/// What a fleet asks for in an hour.
#[derive(Debug)]
struct Hour {
    gets: u64,
    puts: u64,
    listings: u64,
    writes: u64,
    reads: u64,
    /// The longest time between two reads of a shard.
    unread: Duration,
}

const SHARDS: u32 = 100;

impl Hundred {
    /// When the fleet has come to rest, and its shards are silent for long or written to; and how long is counted.
    fn times(&self) -> (Duration, Duration) {
        let (rest, counted) = match self.each {
            None => (120, 120),
            Some(each) if each < Duration::from_secs(1) => (30, 15),
            Some(_) => (45, 30),
        };
        (Duration::from_secs(rest), Duration::from_secs(counted))
    }

    fn measure(&self) -> Hour {
        let mut hour = None;
        let (rest, counted) = self.times();
        let (workers, each, with) = (self.workers, self.each, self.with);
        let run = run(1, async |world: Arc<World>| {
            world.with(|s| {
                let now = s.now;
                s.streams.enable(SHARDS, now);
                s.settings.memory = 1 << 40;
                with(&mut s.settings);
                // By the age of a record a worker knows the tip.
                s.skew = Duration::ZERO;
                s.page = Some(2_000);
                s.tracing = false;
            });
            let slots: Vec<Slot> = (0..workers)
                .map(|n| Slot::start(&world, n, &program(), Duration::from_secs(1)))
                .collect();
            let writing = each.map(|each| tokio::spawn(write_each(world.clone(), each)));
            world.pass_time(rest).await;
            let (before, puts) = world.with(|s| {
                s.model.fleet.unread.clear();
                (s.cost, s.logs.puts)
            });
            world.pass_time(counted).await;
            hour = Some(world.with(|s| {
                let hourly = |n: u64| n * 3_600 / counted.as_secs();
                Hour {
                    gets: hourly(s.cost.gets - before.gets),
                    puts: hourly((s.logs.puts - puts) as u64),
                    listings: hourly(s.cost.listings - before.listings),
                    writes: hourly(s.cost.writes - before.writes),
                    reads: hourly(s.cost.reads - before.reads),
                    unread: s.model.fleet.unread.values().max().copied().unwrap_or_default(),
                }
            }));
            writing.inspect(tokio::task::JoinHandle::abort);
            drop(slots);
        });
        demand_kept("cost::what_a_hundred_shards_ask_for_in_an_hour", 1, &run, &[1]);
        hour.unwrap()
    }
}

/// A record in each shard, so often; not in all at the same time.
async fn write_each(world: Arc<World>, each: Duration) {
    loop {
        for shard in 0..SHARDS {
            world.with(|s: &mut State| {
                let (now, shard) = (s.wall(), shard as usize);
                s.streams
                    .write_at((0, shard), &format!("k{shard}"), Kind::Plain, 0, now, &mut s.rng);
            });
            world.pass_time(each / SHARDS).await;
        }
    }
}

#[test]
fn what_a_hundred_shards_ask_for_in_an_hour() {
    let second = Duration::from_secs(1);
    let all: [(Hundred, _, _, _); 6] = [
        // GetRecords of all shards, puts, writes of the state tables: from, to.
        (
            Hundred {
                what: "idle",
                workers: 1,
                each: None,
                with: |_| {},
            },
            (72_000, 84_000),
            (0, 0),
            (1_000, 1_300),
        ),
        (
            Hundred {
                what: "idle",
                workers: 3,
                each: None,
                with: |_| {},
            },
            (72_000, 84_000),
            (0, 0),
            (3_000, 3_900),
        ),
        (
            Hundred {
                what: "idle, `idle_most: 1s`",
                workers: 1,
                each: None,
                with: |s| s.poll_idle_most = s.poll_idle,
            },
            (340_000, 360_000),
            (0, 0),
            (1_000, 1_300),
        ),
        (
            Hundred {
                what: "a record each second",
                workers: 1,
                each: Some(second),
                with: |_| {},
            },
            (480_000, 560_000),
            (250_000, 360_000),
            (20_000, 26_000),
        ),
        (
            Hundred {
                what: "a record each second",
                workers: 3,
                each: Some(second),
                with: |_| {},
            },
            (480_000, 560_000),
            (250_000, 360_000),
            (22_000, 29_000),
        ),
        (
            Hundred {
                what: "ten records each second",
                workers: 1,
                each: Some(second / 10),
                with: |_| {},
            },
            (650_000, 740_000),
            (650_000, 740_000),
            (20_000, 30_000),
        ),
    ];
    println!(
        "| 100 shards | workers | GetRecords an hour | PutLogEvents | DescribeStream | writes of state | reads | longest unread |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for (of, gets, puts, writes) in all {
        let hour = of.measure();
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {:.2} s |",
            of.what,
            of.workers,
            hour.gets,
            hour.puts,
            hour.listings,
            hour.writes,
            hour.reads,
            hour.unread.as_secs_f64()
        );
        // What idleness adds to a record's latency, and a request.
        assert!(
            hour.unread <= Duration::from_millis(5_100),
            "{}: unread for {:?}",
            of.what,
            hour.unread
        );
        for (name, n, (from, to)) in [
            ("GetRecords", hour.gets, gets),
            ("puts", hour.puts, puts),
            ("writes", hour.writes, writes),
        ] {
            assert!(
                (from..=to).contains(&n),
                "{}: {name}: {n} an hour, not {from} to {to}",
                of.what
            );
        }
    }
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
