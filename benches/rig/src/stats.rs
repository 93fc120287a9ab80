//! What the fake saw.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

/// CPU seconds of this process so far.
pub fn cpu() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Latencies in microseconds, each with how many events had it.
#[derive(Default)]
pub struct Latencies(Vec<(u64, u64)>);

impl Latencies {
    pub fn add(&mut self, micros: u64, events: u64) {
        self.0.push((micros, events));
    }

    /// The least that this share of the events did not exceed.
    fn told(&self) -> Value {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let all: u64 = sorted.iter().map(|(_, events)| events).sum();
        let percentile = |share: f64| {
            let rank = (all as f64 * share).ceil() as u64;
            let mut sum = 0;
            let found = sorted.iter().find(|(_, events)| {
                sum += events;
                sum >= rank
            });
            found.map(|(micros, _)| *micros as f64 / 1e3)
        };
        json!({ "events": all, "p50": percentile(0.5), "p99": percentile(0.99), "max": percentile(1.0) })
    }
}

/// A moment: milliseconds since the start of the fake, and its CPU seconds by then.
type Moment = Option<(f64, f64)>;

pub struct Stats {
    start: Instant,
    /// What was given before doesn't count as late.
    warm: Instant,
    expected: u64,
    records: u64,
    events: u64,
    groups: BTreeMap<String, u64>,
    requests: BTreeMap<String, u64>,
    refused: BTreeMap<String, u64>,
    get_bytes: u64,
    put_bytes: u64,
    first_request: Moment,
    first_records: Moment,
    first_put: Moment,
    last_put: Moment,
    /// Of each shard what was given and not put yet: events, and when.
    given: Vec<VecDeque<(u64, Instant)>>,
    answer_to_put: Latencies,
    write_to_log: Latencies,
}

impl Stats {
    pub fn new(shards: usize, expected: u64, warm: Duration) -> Self {
        let start = Instant::now();
        Self {
            start,
            warm: start + warm,
            expected,
            records: 0,
            events: 0,
            groups: BTreeMap::new(),
            requests: BTreeMap::new(),
            refused: BTreeMap::new(),
            get_bytes: 0,
            put_bytes: 0,
            first_request: None,
            first_records: None,
            first_put: None,
            last_put: None,
            given: (0..shards).map(|_| VecDeque::new()).collect(),
            answer_to_put: Latencies::default(),
            write_to_log: Latencies::default(),
        }
    }

    fn now(&self) -> (f64, f64) {
        (self.start.elapsed().as_secs_f64() * 1e3, cpu())
    }

    pub fn asked(&mut self, target: &str) {
        let now = self.now();
        self.first_request.get_or_insert(now);
        match self.requests.get_mut(target) {
            Some(count) => *count += 1,
            None => drop(self.requests.insert(target.to_owned(), 1)),
        }
    }

    pub fn refused(&mut self, target: &str, code: &str) {
        *self.refused.entry(format!("{target} {code}")).or_default() += 1;
    }

    /// These records leave now, in an answer of so many bytes.
    pub fn gave(&mut self, shard: usize, records: u64, events: u64, bytes: u64) {
        self.get_bytes += bytes;
        if records == 0 {
            return;
        }
        self.records += records;
        let now = self.now();
        self.first_records.get_or_insert(now);
        self.given[shard].push_back((events, Instant::now()));
    }

    /// These events are taken now. `shard` is where they came from, if that is known; `late` is how long ago, in
    /// milliseconds, each came into being.
    pub fn took(
        &mut self,
        group: &str,
        shard: Option<usize>,
        events: u64,
        bytes: u64,
        late: impl Iterator<Item = u64>,
    ) {
        let now = self.now();
        self.first_put.get_or_insert(now);
        self.last_put = Some(now);
        self.put_bytes += bytes;
        self.events += events;
        match self.groups.get_mut(group) {
            Some(count) => *count += events,
            None => drop(self.groups.insert(group.to_owned(), events)),
        }
        for millis in late {
            self.write_to_log.add(millis * 1000, 1);
        }
        let Some(given) = shard.map(|shard| &mut self.given[shard]) else {
            return;
        };
        let mut left = events;
        while let Some((waiting, since)) = given.front_mut().filter(|_| left > 0) {
            let some = left.min(*waiting);
            if *since >= self.warm {
                self.answer_to_put.add(since.elapsed().as_micros() as u64, some);
            }
            left -= some;
            *waiting -= some;
            if *waiting == 0 {
                given.pop_front();
            }
        }
    }

    /// The latencies only if they are asked for: to sort them takes a while, and puts wait meanwhile.
    pub fn told(&self, with_latencies: bool) -> Value {
        let moment = |moment: &Moment| moment.map(|(ms, cpu)| json!({ "ms": ms, "cpu": cpu }));
        let (now, cpu) = self.now();
        let mut told = json!({
            "done": self.events >= self.expected, "now_ms": now, "cpu_s": cpu,
            "expected_events": self.expected, "records": self.records, "events": self.events,
            "groups": self.groups, "requests": self.requests, "refused": self.refused,
            "get_bytes": self.get_bytes, "put_bytes": self.put_bytes,
            "first_request": moment(&self.first_request), "first_records": moment(&self.first_records),
            "first_put": moment(&self.first_put), "last_put": moment(&self.last_put),
        });
        if with_latencies {
            told["answer_to_put_ms"] = self.answer_to_put.told();
            told["write_to_log_ms"] = self.write_to_log.told();
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_counts_events_and_not_batches() {
        let mut latencies = Latencies::default();
        latencies.add(9_000, 1);
        latencies.add(1_000, 98);
        latencies.add(5_000, 1);
        let told = latencies.told();
        assert_eq!(
            (&told["p50"], &told["p99"], &told["max"]),
            (&json!(1.0), &json!(5.0), &json!(9.0))
        );
    }

    #[test]
    fn events_are_matched_with_the_answers_of_their_shard_in_order() {
        let mut stats = Stats::new(2, 10, Duration::ZERO);
        stats.gave(0, 4, 4, 100);
        stats.gave(1, 6, 6, 100);
        stats.took("g", Some(0), 3, 10, std::iter::empty());
        assert_eq!(stats.given[0].front().map(|(events, _)| *events), Some(1));
        assert!(!stats.told(false)["done"].as_bool().unwrap());
        stats.took("g", Some(0), 1, 10, std::iter::empty());
        stats.took("g", Some(1), 6, 10, [5].into_iter());
        assert!(stats.given.iter().all(VecDeque::is_empty));
        let told = stats.told(true);
        assert!(told["done"].as_bool().unwrap());
        assert_eq!(told["write_to_log_ms"]["p50"], 5.0);
    }
}
