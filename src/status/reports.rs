//! What the parts of the process say of themselves, kept for who looks.
//!
//! Owns the shared state between those who work (consumers, writers, the coordinator) and those who tell (`http`, the
//! metrics). Writing is cheap and never waits for a reader.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::{Monotonic, Timestamp};
use crate::lease::LeaseKey;
use crate::status::fleet::FleetView;
use crate::stream::{ShardId, StreamArn};

/// What a shard's task is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Not read yet.
    Starting,
    /// Being read; there was more at the last read.
    Reading,
    /// The last read gave nothing more (see [`ShardReport::reached_tip`]), and everything is delivered.
    CaughtUp,
    /// Reading failed with `error`, and is tried again at `until`.
    BackingOff { until: Monotonic, error: String },
    /// What was read is not delivered, since `destination` doesn't accept; once as much as may be waits, nothing more
    /// is read. The text is the destination's name and, in parentheses, its answer with the way out:
    /// `/cdc/orders:shardId-1 (AccessDeniedException: …)`.
    HeldByDestination { destination: String },
    /// The next answer, or what is in the last one, waits for memory.
    WaitingForMemory,
    /// An event of this group, which the pipeline writes to, came back: nothing more is read until it is known to go
    /// in no circle.
    Suspected { group: String },
    /// Asked to stop.
    Draining,
}

/// What a shard's task says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct ShardReport {
    pub pipeline: String,
    pub stream: StreamArn,
    pub shard: ShardId,
    pub activity: Activity,
    /// The checkpoint in the table, as `weir leases list` shows it.
    pub checkpoint: String,
    /// The last record that was read.
    pub position: Option<String>,
    /// Records read and not delivered.
    pub in_flight: u64,
    /// As `weir_shard_lag_seconds`; `None` until the task has come round once.
    pub lag: Option<Duration>,
    /// As `weir_shard_until_trim_seconds`; `None`: not known.
    pub until_trim: Option<Duration>,
    /// The shard was read to its tip at least once since this task began; what came after that may be unread. A Kinesis
    /// stream says so (`MillisBehindLatest` is 0). DynamoDB Streams says nothing: there five answers in a row without
    /// a record, and with a next iterator, count, since some may be empty amid a shard. Of a worker that is to end then,
    /// a record that is newer than its beginning will do. What was read to the tip may still be in flight.
    pub reached_tip: bool,
    /// Of a worker that is to end when it has caught up: by how much the oldest record that was read here is older than
    /// its beginning, by the service's time.
    pub older_by: Option<Duration>,
}

/// The last thing that went wrong with a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub at: Timestamp,
    pub part: String,
    pub what: String,
}

#[derive(Debug, Default)]
struct State {
    /// Each with the number of the task whose it is.
    shards: BTreeMap<LeaseKey, (u64, ShardReport)>,
    /// Tasks that have told so far.
    tasks: u64,
    troubles: BTreeMap<String, Trouble>,
    fleet: Option<Arc<FleetView>>,
    asked: Option<Monotonic>,
}

/// How far behind a worker's shards are, by pipeline, in milliseconds. Pipelines of which nothing is known are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extremes {
    /// The largest lag.
    pub lag: BTreeMap<String, u64>,
    /// The least time until the stream trims an undelivered record.
    pub until_trim: BTreeMap<String, u64>,
}

/// The shared state. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Reports {
    state: Arc<Mutex<State>>,
}

impl Reports {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one step, so a poisoned state is still a whole one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A shard's task begins; its report goes when the reporter is dropped. It takes the place of an earlier task that
    /// could not be ended, and that says no more from then on.
    pub fn shard(&self, key: &LeaseKey, first: ShardReport) -> Reporter {
        let mut state = self.state();
        state.tasks += 1;
        let task = state.tasks;
        state.shards.insert(key.clone(), (task, first));
        Reporter {
            reports: self.clone(),
            key: key.clone(),
            task,
        }
    }

    /// Of every shard that this worker has a task for.
    pub fn shards(&self) -> BTreeMap<LeaseKey, ShardReport> {
        let state = self.state();
        let reports = state.shards.iter();
        reports
            .map(|(key, (_, report))| (key.clone(), report.clone()))
            .collect()
    }

    /// How far behind this worker's shards are.
    pub fn extremes(&self) -> Extremes {
        let mut extremes = Extremes::default();
        // 584 million years fit.
        let millis = |time: Duration| time.as_millis() as u64;
        let mut keep =
            |map: fn(&mut Extremes) -> &mut BTreeMap<String, u64>, pipeline: &String, time, more| {
                let kept = map(&mut extremes).entry(pipeline.clone()).or_insert(time);
                *kept = if more { time.max(*kept) } else { time.min(*kept) };
            };
        for (_, report) in self.state().shards.values() {
            if let Some(lag) = report.lag {
                keep(|e| &mut e.lag, &report.pipeline, millis(lag), true);
            }
            if let Some(until_trim) = report.until_trim {
                keep(|e| &mut e.until_trim, &report.pipeline, millis(until_trim), false);
            }
        }
        extremes
    }

    /// What the coordinator knows of the fleet. `None`: it has no worker id now.
    pub fn tell_fleet(&self, fleet: Option<Arc<FleetView>>) {
        self.state().fleet = fleet;
    }

    /// What the coordinator last told of the fleet.
    pub fn fleet(&self) -> Option<Arc<FleetView>> {
        self.state().fleet.clone()
    }

    /// Somebody looks at the leases: they are read oftener for a while.
    pub fn ask(&self, now: Monotonic) {
        self.state().asked = Some(now);
    }

    /// When somebody last looked at the leases.
    pub fn asked(&self) -> Option<Monotonic> {
        self.state().asked
    }

    /// Something of the pipeline went wrong; it replaces what went wrong before.
    pub fn trouble(&self, pipeline: &str, trouble: Trouble) {
        self.state().troubles.insert(pipeline.to_owned(), trouble);
    }

    /// The last thing that went wrong, by pipeline.
    pub fn troubles(&self) -> BTreeMap<String, Trouble> {
        self.state().troubles.clone()
    }
}

/// One shard's place among the reports.
#[derive(Debug)]
pub struct Reporter {
    reports: Reports,
    key: LeaseKey,
    task: u64,
}

impl Reporter {
    pub fn tell(&self, change: impl FnOnce(&mut ShardReport)) {
        if let Some((task, report)) = self.reports.state().shards.get_mut(&self.key)
            && *task == self.task
        {
            change(report);
        }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        let mut state = self.reports.state();
        if state
            .shards
            .get(&self.key)
            .is_some_and(|(task, _)| *task == self.task)
        {
            state.shards.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_goes_with_its_reporter() {
        let reports = Reports::default();
        let key = LeaseKey::new("orders/s-1");
        let first = ShardReport {
            pipeline: "orders".to_owned(),
            stream: StreamArn::new("arn"),
            shard: ShardId::new("s-1"),
            activity: Activity::Starting,
            checkpoint: "TRIM_HORIZON".to_owned(),
            position: None,
            in_flight: 0,
            lag: None,
            until_trim: None,
            reached_tip: false,
            older_by: None,
        };
        let other = ShardReport {
            lag: Some(Duration::from_secs(9)),
            until_trim: Some(Duration::from_secs(50)),
            ..first.clone()
        };
        let behind = ShardReport {
            lag: Some(Duration::from_millis(9_001)),
            until_trim: Some(Duration::from_millis(49_999)),
            ..first.clone()
        };
        let _others =
            [("s-2", other), ("s-3", behind)].map(|(key, report)| reports.shard(&LeaseKey::new(key), report));
        let extremes = Extremes {
            lag: [("orders".to_owned(), 9_001)].into(),
            until_trim: [("orders".to_owned(), 49_999)].into(),
        };
        assert_eq!(reports.extremes(), extremes);
        drop(_others);
        assert_eq!(reports.extremes(), Extremes::default());
        let reporter = reports.shard(&key, first.clone());
        reporter.tell(|report| report.in_flight = 3);
        assert_eq!(reports.shards()[&key].in_flight, 3);
        // It hangs, and another task reads the shard: this one's last words are not the other's.
        let next = reports.shard(&key, first);
        reporter.tell(|report| report.in_flight = 5);
        assert_eq!(reports.shards()[&key].in_flight, 0);
        drop(reporter);
        next.tell(|report| report.in_flight = 7);
        assert_eq!(reports.shards()[&key].in_flight, 7);
        drop(next);
        assert!(reports.shards().is_empty());
    }
}
