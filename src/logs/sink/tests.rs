//! The sink against a store that keeps every rule of PutLogEvents, on a paused clock.

mod rules;
mod trouble;

use std::collections::BTreeSet;
use std::sync::Mutex;

use async_trait::async_trait;

use super::*;
use crate::clock::Monotonic;
use crate::config::LogClass;
use crate::logs::Accepted;
use crate::logs::batch::{
    MAX_AGE, MAX_AHEAD, MAX_BATCH_BYTES, MAX_BATCH_EVENTS, MAX_MESSAGE_BYTES, MAX_SPAN,
};
use crate::logs::group::GroupFound;
use crate::stream::SequenceNumber;

const STREAM: &str = "arn:aws:kinesis:eu-west-1:1:stream/s#1700000000";
const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Of every group, in the store.
const RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);

/// A lane of no sink, and where its deliveries would arrive.
pub(super) fn lane() -> (Lane, mpsc::UnboundedReceiver<Delivered>) {
    let (shared, rx) = Shared::new("orders", STREAM, "shardId-1", to("/g", "dead-letter"));
    (Lane { shared }, rx)
}

fn to(group: &str, stream: &str) -> LogDestination {
    LogDestination {
        group: group.to_owned(),
        stream: stream.to_owned(),
    }
}

fn place(record: usize) -> Place {
    Place {
        sequence_number: SequenceNumber::parse(&record.to_string()).unwrap(),
        sub_sequence_number: 0,
    }
}

/// Tokio's clock, which a paused runtime moves on by itself.
struct TokioClock(tokio::time::Instant);

#[async_trait]
impl Clock for TokioClock {
    fn now(&self) -> Monotonic {
        Monotonic::from_origin(self.0.elapsed())
    }
    fn wall(&self) -> Timestamp {
        NOW.plus(self.0.elapsed())
    }
    async fn sleep(&self, d: Duration) {
        #[expect(clippy::disallowed_methods, reason = "a clock of its own")]
        tokio::time::sleep(d).await;
    }
}

type Refuse = Box<dyn Fn(&LogDestination) -> Option<SinkError> + Send>;

/// What the store holds.
#[derive(Default)]
struct Held {
    logs: BTreeMap<LogDestination, Vec<LogEvent>>,
    /// When, and where to. Those that were refused too.
    puts: Vec<(Duration, LogDestination)>,
    /// Rules that were broken.
    broken: Vec<String>,
    /// Whether a put there fails, and how.
    refuse: Option<Refuse>,
    /// One of the group's requests fails so often.
    groups_fail: u32,
    found: GroupFound,
    tags: BTreeMap<String, String>,
    asked: Vec<String>,
}

/// CloudWatch Logs, as far as puts go. Every group and stream is there.
struct Store {
    clock: Arc<TokioClock>,
    held: Mutex<Held>,
}

impl Store {
    fn held<T>(&self, look: impl FnOnce(&mut Held) -> T) -> T {
        look(&mut self.held.lock().unwrap())
    }

    fn asked(&self, what: String) -> Result<(), SinkError> {
        self.held(|held| {
            held.asked.push(what);
            match held.groups_fail.checked_sub(1) {
                Some(left) => {
                    held.groups_fail = left;
                    Err(SinkError::Denied("not for you".to_owned()))
                }
                None => Ok(()),
            }
        })
    }
}

/// What is wrong with a put as such.
fn broken(events: &[LogEvent]) -> Option<String> {
    let bytes: usize = events.iter().map(|e| e.message.len() + 26).sum();
    let (first, last) = (events.first()?.timestamp, events.last()?.timestamp);
    let wrong = [
        (events.len() > MAX_BATCH_EVENTS, "too many events"),
        (bytes > MAX_BATCH_BYTES, "too many bytes"),
        (!events.is_sorted_by_key(|e| e.timestamp), "not in order"),
        (last.since(first) > MAX_SPAN, "more than 24 hours"),
        (events.iter().any(|e| e.message.is_empty()), "an empty message"),
        (
            events.iter().any(|e| e.message.len() > MAX_MESSAGE_BYTES),
            "too large",
        ),
        (events.iter().any(|e| e.timestamp.millis() < 0), "before 1970"),
    ];
    let wrong = wrong.iter().find(|(is, _)| *is);
    wrong.map(|(_, what)| (*what).to_owned())
}

#[async_trait]
impl LogSink for Store {
    async fn put(
        &self,
        to: &LogDestination,
        events: &[LogEvent],
        _: Duration,
    ) -> Result<Accepted, SinkError> {
        let now = self.clock.wall();
        self.clock.sleep(Duration::from_millis(1)).await;
        self.held(|held| {
            held.puts.push((self.clock.0.elapsed(), to.clone()));
            if let Some(error) = held.refuse.as_ref().and_then(|refuse| refuse(to)) {
                return Err(error);
            }
            if events.is_empty() {
                held.broken.push("no events".to_owned());
            }
            held.broken.extend(broken(events));
            let poison = |e: &LogEvent| to.stream != "dead-letter" && e.message.contains("poison");
            if events.iter().any(poison) {
                return Err(SinkError::Invalid("an event the service can't stand".to_owned()));
            }
            let before = |age: Duration| events.partition_point(|e| e.timestamp < now.minus(age));
            let (old, expired) = (before(MAX_AGE), before(RETENTION));
            let young = events.partition_point(|e| e.timestamp <= now.plus(MAX_AHEAD));
            let log = held.logs.entry(to.clone()).or_default();
            log.extend(events[expired..young].iter().cloned());
            Ok(Accepted {
                too_new_from: (young < events.len()).then_some(young),
                too_old_until: (old > 0).then_some(old),
                expired_until: (expired > old).then_some(expired),
            })
        })
    }

    async fn create_group(&self, group: &str, _: &GroupSettings) -> Result<bool, SinkError> {
        self.asked(format!("create {group}")).map(|()| true)
    }

    async fn put_retention(&self, _: &str, days: u16) -> Result<(), SinkError> {
        self.asked(format!("retention {days}"))?;
        self.held(|held| held.found.retention_days = Some(days));
        Ok(())
    }

    async fn describe_group(&self, group: &str) -> Result<GroupFound, SinkError> {
        self.asked(format!("describe {group}"))?;
        Ok(self.held(|held| held.found.clone()))
    }

    async fn group_tags(&self, arn: &str) -> Result<BTreeMap<String, String>, SinkError> {
        self.asked(format!("tags of {arn}"))?;
        Ok(self.held(|held| held.tags.clone()))
    }

    async fn tag_group(&self, _: &str, tags: &BTreeMap<String, String>) -> Result<(), SinkError> {
        self.asked(format!("tag {tags:?}"))?;
        self.held(|held| held.tags.extend(tags.clone()));
        Ok(())
    }

    async fn associate_key(&self, _: &str, key: &str) -> Result<(), SinkError> {
        self.asked(format!("key {key}"))?;
        self.held(|held| held.found.kms_key = Some(key.to_owned()));
        Ok(())
    }

    async fn create_stream(&self, _: &LogDestination) -> Result<(), SinkError> {
        Ok(())
    }

    async fn read_back(
        &self,
        _: &LogDestination,
        _: Timestamp,
        _: Option<&PageToken>,
        _: Duration,
    ) -> Result<EventPage, SinkError> {
        Ok(EventPage::default())
    }
}

/// A sink over a store of its own, at work.
struct Works {
    store: Arc<Store>,
    sink: Sink,
    fence: Fence,
    metrics: Metrics,
    readiness: Readiness,
    reports: Reports,
    router: tokio::task::JoinHandle<Result<(), WriterDied>>,
}

fn settings() -> SinkSettings {
    SinkSettings {
        pipeline: "orders".to_owned(),
        create: true,
        group: GroupSettings::default(),
        reconcile: false,
        oversize: Oversize::Split,
        too_old: Untimely::DeadLetter,
        too_new: Untimely::DeadLetter,
        redacts: false,
    }
}

impl Works {
    fn with(settings: SinkSettings) -> Self {
        Self::at_rate(settings, &PutRate::new(100_000, LiveWorkers::default()), |_| {})
    }

    fn at_rate(settings: SinkSettings, rate: &PutRate, prepare: impl FnOnce(&mut Held)) -> Self {
        let clock = Arc::new(TokioClock(tokio::time::Instant::now()));
        let store = Arc::new(Store {
            clock: clock.clone(),
            held: Mutex::default(),
        });
        store.held(prepare);
        let fence = Fence::new(clock.clone(), DAY * 365, clock.now());
        let surroundings = Surroundings {
            clock,
            fence: fence.clone(),
            rate: rate.clone(),
            metrics: Metrics::new(),
            readiness: Readiness::new(),
            reports: Reports::default(),
        };
        let (metrics, readiness) = (surroundings.metrics.clone(), surroundings.readiness.clone());
        let reports = surroundings.reports.clone();
        let rng = fastrand::Rng::with_seed(7);
        let (sink, router) = Sink::new(store.clone(), settings, surroundings, rng);
        Self {
            store,
            sink,
            fence,
            metrics,
            readiness,
            reports,
            router: tokio::spawn(router.run()),
        }
    }

    fn lane(&self) -> (Lane, mpsc::UnboundedReceiver<Delivered>) {
        self.sink.lane(STREAM, "shardId-1", to("/g", "dead-letter"))
    }

    /// Submits one event as a record of its own.
    fn submit(&self, lane: &Lane, to: &LogDestination, record: usize, message: &str) {
        let mut parcel = Parcel::new(lane);
        let event = LogEvent {
            timestamp: NOW,
            message: message.to_owned(),
        };
        parcel.event(to, record as u64, place(record), 0, event);
        self.sink.submit(parcel);
    }

    fn held_groups(&self) -> i64 {
        self.metrics
            .destinations_held
            .with_label_values(&["orders"])
            .get()
    }

    async fn sleep(&self, seconds: u64) {
        self.store.clock.sleep(Duration::from_secs(seconds)).await;
    }

    /// The messages of a log stream, in the order in which they came.
    fn messages(&self, to: &LogDestination) -> Vec<String> {
        let log = self.store.held(|held| held.logs.get(to).cloned());
        log.unwrap_or_default().into_iter().map(|e| e.message).collect()
    }
}

/// What became of so many records, by their index.
async fn outcomes(
    rx: &mut mpsc::UnboundedReceiver<Delivered>,
    records: usize,
) -> BTreeMap<u64, Option<Refusal>> {
    let mut outcomes = BTreeMap::new();
    while outcomes.len() < records {
        for (index, refused) in rx.recv().await.unwrap().pieces() {
            let before = outcomes.insert(*index, *refused);
            assert_eq!(before, None, "record {index} answered twice");
        }
    }
    outcomes
}
