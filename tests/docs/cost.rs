//! The bill on docs/cost.md: its tables are made here, from the same formulae and prices that the page tells.
//!
//! What one program asks for is measured elsewhere: Weir's requests by the simulation
//! (`cost::what_a_hundred_shards_ask_for_in_an_hour`), CPU by the benchmark.

use std::fmt::Write;

use crate::root;

/// What AWS asks for in us-east-1, in dollars. The page names the source of each.
mod price {
    /// A GetRecords of DynamoDB Streams: 0.02 for 100,000.
    pub const STREAM_READ: f64 = 0.02 / 100_000.0;
    pub const WRITE_UNIT: f64 = 0.625 / 1e6;
    pub const READ_UNIT: f64 = 0.125 / 1e6;
    /// Fargate, Linux on x86: hours.
    pub const VCPU: f64 = 0.04048;
    pub const MEMORY_GB: f64 = 0.004445;
    pub const INVOCATION: f64 = 0.20 / 1e6;
    pub const GB_SECOND: f64 = 0.000_016_666_7;
    /// What is put to CloudWatch Logs, class Standard.
    pub const LOG_GB: f64 = 0.50;
}

const HOURS: f64 = 730.0;
const MONTH: f64 = HOURS * 3_600.0;
const GB: f64 = 1e9;
/// What PutLogEvents counts for an event beside its message.
const EVENT: f64 = 26.0;
/// The size of a record, which is that of its message.
const RECORD: f64 = 1_024.0;
/// A request in the region.
const ROUND_TRIP: f64 = 0.010;

/// CPU milliseconds for 1,000 records of 1 KB, the whole job, by `scripts/bench`. KCL: MultiLang with batched puts.
const WEIR_CPU: f64 = 6.0;
const KCL_CPU: f64 = 52.0;
/// A task is filled to this part of its cores.
const FULL: f64 = 0.7;
/// What a task needs beside: the whole program's memory, in GB, at rest with some room.
const WEIR_MEMORY: f64 = 0.5;
const KCL_MEMORY: f64 = 2.0;

/// The settings that the counts depend on, in seconds: Weir's defaults.
const IDLE: f64 = 1.0;
const IDLE_MOST: f64 = 5.0;
const CHECKPOINT: f64 = 15.0;
/// KCL 3's wait between two reads of a shard.
const KCL_WAIT: f64 = 1.5;

#[derive(Clone, Copy, PartialEq)]
enum Source {
    DynamoDb,
    Kinesis,
}

#[derive(Clone, Copy)]
struct Job {
    source: Source,
    shards: f64,
    /// Records a second, over all shards.
    rate: f64,
    replicas: f64,
}

/// A month in dollars.
struct Bill {
    compute: f64,
    reads: f64,
    state: f64,
    own_log: f64,
}

impl Bill {
    fn total(&self) -> f64 {
        self.compute + self.reads + self.state + self.own_log
    }
}

/// The wait at the tip: half a second after fewer than 25 records, else a fifth. One may make the other follow.
fn tip(rate: f64) -> f64 {
    let [few, many] = [0.5, 0.2].map(|wait| rate * (wait + ROUND_TRIP) < 25.0);
    match (few, many) {
        (true, _) => 0.5,
        (false, true) => 0.35,
        (false, false) => 0.2,
    }
}

/// GetRecords a second of one shard with so many records a second.
fn weir_reads(rate: f64, busy: f64, idle_most: f64) -> f64 {
    if rate >= 1.0 / IDLE {
        // After records it waits for `busy`, or for as long as it does at the tip, and reads on, until a read gives none;
        // then it waits for `idle`.
        let step = busy.max(tip(rate)) + ROUND_TRIP;
        let burst = (rate * step).exp().min(1e9);
        return (burst + 1.0) / (burst * step + IDLE + ROUND_TRIP);
    }
    let (gap, mut silence, mut reads) = (1.0 / rate, 0.0, 1.0);
    while silence < gap {
        reads += 1.0;
        // Drawn from four fifths to the whole.
        silence += (0.9 * (silence / 10.0).min(idle_most)).max(IDLE) + ROUND_TRIP;
        if silence > 3_600.0 {
            return reads / silence;
        }
    }
    reads / silence
}

/// The smallest task of Fargate with so many cores and gigabytes, a month: its vCPU and price.
fn task(cores: f64, memory: f64) -> (f64, f64) {
    let sizes: [(f64, f64); 7] = [
        (0.25, 0.5),
        (0.5, 1.0),
        (1.0, 2.0),
        (2.0, 4.0),
        (4.0, 8.0),
        (8.0, 16.0),
        (16.0, 32.0),
    ];
    let (vcpu, least) = *sizes.iter().find(|(vcpu, _)| *vcpu >= cores).unwrap();
    let price = HOURS * (vcpu * price::VCPU + least.max(memory) * price::MEMORY_GB);
    (vcpu, price)
}

impl Job {
    fn of_shard(&self) -> f64 {
        self.rate / self.shards
    }

    fn compute(&self, cpu: f64, memory: f64) -> f64 {
        let cores = self.rate * cpu / 1e6 / self.replicas / FULL;
        self.replicas * task(cores, memory).1
    }

    fn reads(&self, of_shard: f64) -> f64 {
        match self.source {
            Source::DynamoDb => self.shards * of_shard * MONTH * price::STREAM_READ,
            // Polling costs nothing.
            Source::Kinesis => 0.0,
        }
    }

    /// Checkpoints a second: a write for each shard that moved in the interval.
    fn checkpoints(&self) -> f64 {
        self.shards * (self.of_shard() * CHECKPOINT).min(1.0) / CHECKPOINT
    }

    fn weir(&self, idle_most: f64) -> Bill {
        let writes = 0.303 * self.replicas + self.checkpoints();
        let reads = 0.6 * self.replicas * (self.replicas * 600.0 / 4_096.0).ceil() + 0.0027 * self.shards;
        Bill {
            compute: self.compute(WEIR_CPU, WEIR_MEMORY),
            reads: self.reads(weir_reads(self.of_shard(), 0.0, idle_most)),
            state: MONTH * (writes * price::WRITE_UNIT + reads * price::READ_UNIT),
            own_log: 0.0,
        }
    }

    fn kcl(&self) -> Bill {
        let writes = 0.302 * self.shards + (self.replicas + 1.0) / 30.0 + self.checkpoints();
        let reads = 0.0028 * self.shards + 0.08 * self.replicas;
        Bill {
            compute: self.compute(KCL_CPU, KCL_MEMORY),
            reads: self.reads(1.0 / KCL_WAIT),
            state: MONTH * (writes * price::WRITE_UNIT + reads * price::READ_UNIT),
            own_log: 0.0,
        }
    }

    /// Polled four times a second, 100 records a batch at most; a function of 256 MB, 40 ms and half a millisecond a
    /// record; and what Lambda itself writes to the log of each call.
    fn lambda(&self) -> Bill {
        let calls = self.shards * self.of_shard().min(4.0).max(self.of_shard() / 100.0);
        let seconds = calls * 0.040 + self.rate * 0.000_5;
        Bill {
            compute: MONTH * (calls * price::INVOCATION + seconds * 0.25 * price::GB_SECOND),
            reads: 0.0,
            state: 0.0,
            own_log: MONTH * calls * 350.0 / GB * price::LOG_GB,
        }
    }

    /// What is put, the same for all of them.
    fn log(&self) -> f64 {
        MONTH * self.rate * (RECORD + EVENT) / GB * price::LOG_GB
    }
}

fn dollars(of: f64) -> String {
    match of {
        _ if of >= 100.0 => {
            let whole = format!("{of:.0}");
            let mut text = String::new();
            for (at, digit) in whole.chars().enumerate() {
                if at > 0 && (whole.len() - at) % 3 == 0 {
                    text.push(',');
                }
                text.push(digit);
            }
            text
        }
        _ => format!("{of:.2}"),
    }
}

fn whole(of: f64) -> String {
    match of {
        _ if of >= 1_000.0 => format!("{},000", of / 1_000.0),
        _ => of.to_string(),
    }
}

fn bills(source: Source) -> String {
    let mut table =
        "| shards | records/s | replicas | Weir | KCL | Lambda | CloudWatch Logs, with any of them |\n\
                     | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
            .to_owned();
    for shards in [1.0, 10.0, 100.0, 1_000.0] {
        for rate in [1.0, 100.0, 10_000.0] {
            // A shard takes a thousand a second.
            if rate > shards * 1_000.0 {
                continue;
            }
            for replicas in [1.0, 3.0] {
                let job = Job {
                    source,
                    shards,
                    rate,
                    replicas,
                };
                let totals = [
                    job.weir(IDLE_MOST).total(),
                    job.kcl().total(),
                    job.lambda().total(),
                    job.log(),
                ];
                let (shards, rate, replicas) = (whole(shards), whole(rate), whole(replicas));
                writeln!(
                    table,
                    "| {shards} | {rate} | {replicas} | {} |",
                    totals.map(dollars).join(" | ")
                )
                .unwrap();
            }
        }
    }
    table
}

type Part = fn(&Bill) -> f64;

/// One job in its parts.
fn parts() -> String {
    let job = Job {
        source: Source::DynamoDb,
        shards: 100.0,
        rate: 100.0,
        replicas: 3.0,
    };
    let [weir, kcl, lambda] = [job.weir(IDLE_MOST), job.kcl(), job.lambda()];
    let mut table = "| | Weir | KCL | Lambda |\n| --- | ---: | ---: | ---: |\n".to_owned();
    let rows: [(&str, Part); 5] = [
        ("compute", |bill| bill.compute),
        ("GetRecords of the stream", |bill| bill.reads),
        ("state tables", |bill| bill.state),
        ("the log of the calls themselves", |bill| bill.own_log),
        ("together", Bill::total),
    ];
    for (what, part) in rows {
        let parts = [&weir, &kcl, &lambda].map(|bill| dollars(part(bill)));
        writeln!(table, "| {what} | {} |", parts.join(" | ")).unwrap();
    }
    table
}

/// What `idle_most` is worth, for shards that are silent.
fn idle() -> String {
    let mut table =
        "| `idle_most` | GetRecords of a silent shard an hour | a month, 100 shards of DynamoDB | 1,000 |\n\
                     | --- | ---: | ---: | ---: |\n"
            .to_owned();
    for (name, most) in [
        ("`1s` (does not grow)", 1.0),
        ("`5s`, the default", 5.0),
        ("`30s`", 30.0),
        ("`1m`", 60.0),
    ] {
        let reads = weir_reads(1e-9, 0.0, most);
        let month = |shards: f64| dollars(shards * reads * MONTH * price::STREAM_READ);
        let hour = (reads * 360.0).round() * 10.0;
        writeln!(
            table,
            "| {name} | {hour} | {} | {} |",
            month(100.0),
            month(1_000.0)
        )
        .unwrap();
    }
    table
}

/// What `busy` is worth, for shards that are written to.
fn busy() -> String {
    let mut table =
        "| records/s in the shard | `busy: 0s`, the default: reads an hour, a month | `busy: 1s` | KCL 3 |\n\
                     | ---: | ---: | ---: | ---: |\n"
            .to_owned();
    for rate in [1.0, 10.0, 100.0, 1_000.0] {
        let cell = |reads: f64| {
            let hour = ((reads * 36.0).round() * 100.0) as u64;
            format!("{hour}, ${:.2}", reads * MONTH * price::STREAM_READ)
        };
        let [weir, slower] = [0.0, 1.0].map(|busy| cell(weir_reads(rate, busy, IDLE_MOST)));
        let (rate, kcl) = (whole(rate), cell(1.0 / KCL_WAIT));
        writeln!(table, "| {rate} | {weir} | {slower} | {kcl} |").unwrap();
    }
    table
}

/// Puts each table between its marks.
fn made(page: &str) -> String {
    let tables = [
        ("dynamodb", bills(Source::DynamoDb)),
        ("kinesis", bills(Source::Kinesis)),
        ("parts", parts()),
        ("idle", idle()),
        ("busy", busy()),
    ];
    let mut page = page.to_owned();
    for (name, table) in tables {
        let (begin, end) = (format!("<!-- table: {name} -->\n"), "<!-- end -->");
        let from = page.find(&begin).unwrap_or_else(|| panic!("no mark for {name}")) + begin.len();
        let to = from + page[from..].find(end).unwrap();
        page.replace_range(from..to, &format!("\n{table}\n"));
    }
    page
}

#[test]
fn the_bill_is_what_its_formulae_give() {
    let path = "docs/cost.md";
    let page = std::fs::read_to_string(root().join(path)).unwrap();
    crate::is_generated(path, &made(&page));
}

#[test]
fn the_formulae_say_what_the_simulation_counts() {
    // docs/cost.md's own table of counts, an hour for one of a hundred shards.
    for (what, rate, idle_most, counted) in [
        ("idle", 1e-9, IDLE_MOST, 797.0),
        ("idle, not growing", 1e-9, IDLE, 3_560.0),
        ("a record each second", 1.0, IDLE_MOST, 5_327.0),
        ("ten records each second", 10.0, IDLE_MOST, 7_200.0),
    ] {
        let hour = weir_reads(rate, 0.0, idle_most) * 3_600.0;
        assert!(
            (hour / counted - 1.0).abs() < 0.05,
            "{what}: {hour} an hour, {counted} counted"
        );
    }
}

#[test]
fn a_job_costs_more_with_more_of_anything() {
    let job = |shards, rate, replicas| Job {
        source: Source::DynamoDb,
        shards,
        rate,
        replicas,
    };
    let base = job(10.0, 100.0, 1.0);
    for more in [
        job(100.0, 100.0, 1.0),
        job(10.0, 10_000.0, 1.0),
        job(10.0, 100.0, 3.0),
    ] {
        assert!(more.weir(IDLE_MOST).total() > base.weir(IDLE_MOST).total());
        assert!(more.kcl().total() > base.kcl().total());
    }
    assert!(task(0.3, 0.5) > task(0.2, 0.5) && task(0.2, 2.0) > task(0.2, 0.5));
}
