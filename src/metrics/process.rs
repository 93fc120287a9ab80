//! The process as the operating system sees it, under the names that Prometheus' own client libraries use.
//!
//! Read anew at each scrape, from `/proc/self`; what can't be read is absent, and elsewhere than on Linux all of it
//! is. The `process` feature of the `prometheus` crate would bring an older `procfs` and a second `rustix`. What is
//! made of the text of `/proc` is pure.

use std::fs;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, IntGauge, Opts};
use rustix::process::{Resource, getrlimit};

use super::Described;

const CPU: &str = "process_cpu_seconds_total";
const OPEN_FDS: &str = "process_open_fds";
const MAX_FDS: &str = "process_max_fds";
const VIRTUAL: &str = "process_virtual_memory_bytes";
const RESIDENT: &str = "process_resident_memory_bytes";
const START: &str = "process_start_time_seconds";
const THREADS: &str = "process_threads";

/// Each metric of the process.
pub const ALL: &[Described] = &[
    described(
        CPU,
        "counter",
        "Processor time used, in seconds, of the user and of the system.",
    ),
    described(
        OPEN_FDS,
        "gauge",
        "Open file descriptors. Near process_max_fds no connection can be made.",
    ),
    described(
        MAX_FDS,
        "gauge",
        "The most file descriptors that the process may open.",
    ),
    described(
        VIRTUAL,
        "gauge",
        "Address space in use, in bytes. Says little: see process_resident_memory_bytes.",
    ),
    described(
        RESIDENT,
        "gauge",
        "Memory in use, in bytes: some 50 MB and what weir_buffer_bytes tells. Growing without it: a leak; report it.",
    ),
    described(
        START,
        "gauge",
        "When the process began, in seconds since 1970. Changing often: it crashes again and again; its last log line says why.",
    ),
    described(THREADS, "gauge", "Threads of the operating system."),
];

const fn described(name: &'static str, kind: &'static str, help: &'static str) -> Described {
    Described {
        name,
        kind,
        labels: &[],
        help,
    }
}

/// What `/proc/self/stat` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    /// Of the user and of the system, in ticks.
    cpu: u64,
    threads: u64,
    /// In ticks since the machine started.
    started: u64,
    /// In bytes.
    address_space: u64,
    /// In pages.
    resident: u64,
}

/// The numbers of the fields are those of proc_pid_stat(5).
fn stat(text: &str) -> Option<Stat> {
    // The second field is the program's name, and may hold anything but a last `)`.
    let (_, fields) = text.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Stat {
        cpu: field(14)?.checked_add(field(15)?)?,
        threads: field(20)?,
        started: field(22)?,
        address_space: field(23)?,
        resident: field(24)?,
    })
}

/// When the machine started, in seconds since 1970: a line of `/proc/stat`.
fn boot_time(text: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()
}

/// Reads `/proc/self` when it is asked.
pub struct Process {
    cpu: Counter,
    open_fds: IntGauge,
    max_fds: IntGauge,
    address_space: IntGauge,
    resident: IntGauge,
    started: Gauge,
    threads: IntGauge,
}

impl Process {
    pub fn new() -> prometheus::Result<Self> {
        let opts = |name| {
            let described = ALL.iter().find(|described| described.name == name);
            Opts::new(name, described.map_or("", |described| described.help))
        };
        Ok(Self {
            cpu: Counter::with_opts(opts(CPU))?,
            open_fds: IntGauge::with_opts(opts(OPEN_FDS))?,
            max_fds: IntGauge::with_opts(opts(MAX_FDS))?,
            address_space: IntGauge::with_opts(opts(VIRTUAL))?,
            resident: IntGauge::with_opts(opts(RESIDENT))?,
            started: Gauge::with_opts(opts(START))?,
            threads: IntGauge::with_opts(opts(THREADS))?,
        })
    }

    fn of_stat(&self) -> Option<Vec<MetricFamily>> {
        let stat = stat(&fs::read_to_string("/proc/self/stat").ok()?)?;
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let cpu = stat.cpu as f64 / ticks;
        // A counter can't be set; this one only grows.
        self.cpu.inc_by((cpu - self.cpu.get()).max(0.0));
        self.threads.set(gauge(stat.threads));
        self.address_space.set(gauge(stat.address_space));
        self.resident.set(gauge(
            stat.resident.saturating_mul(rustix::param::page_size() as u64),
        ));
        let mut found = [self.cpu.collect(), self.threads.collect()].concat();
        found.extend(self.address_space.collect());
        found.extend(self.resident.collect());
        if let Some(boot) = fs::read_to_string("/proc/stat")
            .ok()
            .as_deref()
            .and_then(boot_time)
        {
            self.started.set(boot as f64 + stat.started as f64 / ticks);
            found.extend(self.started.collect());
        }
        Some(found)
    }

    fn of_files(&self) -> Option<Vec<MetricFamily>> {
        // One of them is the listing's own.
        let open = fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1);
        self.open_fds.set(gauge(open as u64));
        let mut found = self.open_fds.collect();
        // Without a limit there is no number.
        if let Some(most) = getrlimit(Resource::Nofile).current {
            self.max_fds.set(gauge(most));
            found.extend(self.max_fds.collect());
        }
        Some(found)
    }
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        let mut all = self.cpu.desc();
        all.extend(self.open_fds.desc());
        all.extend(self.max_fds.desc());
        all.extend(self.address_space.desc());
        all.extend(self.resident.desc());
        all.extend(self.started.desc());
        all.extend(self.threads.desc());
        all
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut found = self.of_stat().unwrap_or_default();
        found.extend(self.of_files().unwrap_or_default());
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_brackets_is_no_field() {
        let text = "42 (we) ir (x)) S 1 42 42 0 -1 4194560 900 0 3 0 120 30 0 0 20 0 7 0 5000 104857600 2560 \
                    18446744073709551615 1 1 0 0 0 0 0 0 0\n";
        let want = Stat {
            cpu: 150,
            threads: 7,
            started: 5_000,
            address_space: 104_857_600,
            resident: 2_560,
        };
        assert_eq!(stat(text), Some(want));
        assert_eq!(stat("42 (weir) S 1"), None);
        assert_eq!(stat(""), None);
    }

    #[test]
    fn the_boot_time_is_one_line_of_many() {
        assert_eq!(
            boot_time("cpu 1 2 3\nbtime 1700000000\nprocesses 9\n"),
            Some(1_700_000_000)
        );
        assert_eq!(boot_time("cpu 1 2 3\n"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_shows_each_metric_and_a_number_that_makes_sense() {
        let families = Process::new().unwrap().collect();
        let mut told: Vec<&str> = families.iter().map(MetricFamily::name).collect();
        told.sort_unstable();
        let mut known: Vec<&str> = ALL.iter().map(|described| described.name).collect();
        known.sort_unstable();
        assert_eq!(told, known);
        for family in &families {
            let metric = &family.get_metric()[0];
            let value = metric.get_gauge().get_value() + metric.get_counter().get_value();
            // A test may have used no whole tick of the processor yet.
            assert!(value > 0.0 || family.name() == CPU, "{}: {value}", family.name());
        }
    }
}
