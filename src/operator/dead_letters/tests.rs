use std::collections::VecDeque;
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;

use super::*;
use crate::clock::SystemClock;
use crate::config::{DestinationConfig, SourceConfig, StreamChoice, Untimely};
use crate::decode::{Decode, DecodeSettings};
use crate::logs::batch;
use crate::logs::dead_letter::Origin;
use crate::logs::group::{GroupFound, GroupSettings};
use crate::logs::template::{Template, TemplateKind};
use crate::logs::{Accepted, EventPage, LogEvent, PageToken};
use crate::stream::{Place, Record, RecordBatch, SequenceNumber, Shard, ShardIterator, ShardListing};

const ARN: &str = "arn:aws:kinesis:eu-west-1:111122223333:stream/audit#1700000000";
const EVERYTHING: Timestamp = Timestamp::from_millis(0);

/// CloudWatch Logs, as far as it is asked here.
#[derive(Default)]
struct Log {
    streams: Mutex<BTreeMap<LogDestination, Vec<LogEvent>>>,
    /// What the next puts are answered with, before any is taken.
    failures: Mutex<VecDeque<SinkError>>,
    puts: Mutex<usize>,
    denied_in: Mutex<Option<String>>,
}

impl Log {
    fn of(&self, to: &str) -> Vec<String> {
        let streams = self.streams.lock().unwrap();
        let found = streams.iter().find(|(at, _)| at.to_string() == to);
        let events = found.map(|(_, events)| events.clone()).unwrap_or_default();
        events.into_iter().map(|event| event.message).collect()
    }
}

#[async_trait]
impl LogSink for Log {
    async fn put(
        &self,
        to: &LogDestination,
        events: &[LogEvent],
        _within: Duration,
    ) -> Result<Accepted, SinkError> {
        *self.puts.lock().unwrap() += 1;
        assert_eq!(batch::cut(events), events.len(), "one batch");
        assert!(events.is_sorted_by_key(|event| event.timestamp));
        if self.denied_in.lock().unwrap().as_ref() == Some(&to.group) {
            return Err(SinkError::Denied("not for you".into()));
        }
        if let Some(failure) = self.failures.lock().unwrap().pop_front() {
            return Err(failure);
        }
        if events.iter().any(|event| event.message.contains("poison")) {
            return Err(SinkError::Invalid("one of them".into()));
        }
        let mut streams = self.streams.lock().unwrap();
        let Some(stream) = streams.get_mut(to) else {
            return Err(SinkError::Missing(to.to_string()));
        };
        // A retention of one day.
        let day = SystemClock.wall().minus(Duration::from_secs(24 * 3600));
        let expired = events.iter().filter(|event| event.timestamp < day).count();
        stream.extend_from_slice(&events[expired..]);
        Ok(Accepted {
            expired_until: (expired > 0).then_some(expired),
            ..Accepted::default()
        })
    }

    async fn create_group(&self, _: &str, _: &GroupSettings) -> Result<bool, SinkError> {
        Ok(true)
    }

    async fn describe_group(&self, group: &str) -> Result<GroupFound, SinkError> {
        Err(SinkError::Missing(group.into()))
    }

    async fn group_tags(&self, _: &str) -> Result<BTreeMap<String, String>, SinkError> {
        Ok(BTreeMap::new())
    }

    async fn tag_group(&self, _: &str, _: &BTreeMap<String, String>) -> Result<(), SinkError> {
        Ok(())
    }

    async fn associate_key(&self, _: &str, _: &str) -> Result<(), SinkError> {
        Ok(())
    }

    async fn put_retention(&self, _group: &str, _days: u16) -> Result<(), SinkError> {
        Ok(())
    }

    async fn create_stream(&self, to: &LogDestination) -> Result<(), SinkError> {
        self.streams.lock().unwrap().entry(to.clone()).or_default();
        Ok(())
    }

    /// Three events a page, the newest first.
    async fn read_back(
        &self,
        from: &LogDestination,
        since: Timestamp,
        before: Option<&PageToken>,
        _within: Duration,
    ) -> Result<EventPage, SinkError> {
        if self.denied_in.lock().unwrap().as_ref() == Some(&from.group) {
            return Err(SinkError::Denied("not for you".into()));
        }
        let streams = self.streams.lock().unwrap();
        let all = streams
            .get(from)
            .ok_or_else(|| SinkError::Missing(from.to_string()))?;
        let all: Vec<_> = all.iter().filter(|event| event.timestamp >= since).collect();
        let end = before.map_or(all.len(), |token| token.as_str().parse().unwrap());
        let begin = end.saturating_sub(3);
        Ok(EventPage {
            events: all[begin..end].iter().copied().cloned().collect(),
            before: (begin > 0).then(|| PageToken::new(begin.to_string())),
        })
    }
}

/// A stream with one record, which gives nothing at the first read.
struct Stream {
    record: Option<Record>,
    reads: Mutex<u32>,
}

#[async_trait]
impl StreamSource for Stream {
    async fn current(&self) -> Result<StreamArn, SourceError> {
        Ok(StreamArn::new(ARN))
    }

    async fn streams(&self) -> Result<Vec<StreamArn>, SourceError> {
        Ok(vec![StreamArn::new(ARN)])
    }

    async fn service_time(&self, _: &StreamArn) -> Result<Timestamp, SourceError> {
        Ok(SystemClock.wall())
    }

    async fn list_shards(&self, _: &StreamArn) -> Result<ShardListing, SourceError> {
        Err(SourceError::NotFound("no listing".into()))
    }

    async fn child_shards(&self, _: &StreamArn, _: &ShardId) -> Result<Vec<Shard>, SourceError> {
        Ok(Vec::new())
    }

    async fn iterator(
        &self,
        stream: &StreamArn,
        shard: &ShardId,
        position: &StartingPosition,
    ) -> Result<ShardIterator, SourceError> {
        assert_eq!((stream.as_str(), shard.as_str()), (ARN, "shardId-1"));
        assert!(matches!(position, StartingPosition::At(_)));
        match &self.record {
            Some(_) => Ok(ShardIterator::new("i")),
            None => Err(SourceError::DataTrimmed),
        }
    }

    async fn records(&self, _: &StreamArn, iterator: &ShardIterator) -> Result<RecordBatch, SourceError> {
        let mut reads = self.reads.lock().unwrap();
        *reads += 1;
        let some = *reads > 1;
        Ok(RecordBatch {
            records: self.record.iter().filter(|_| some).cloned().collect(),
            next: Next::At(iterator.clone()),
            behind: None,
            continuation: None,
        })
    }

    fn has_timestamps(&self) -> bool {
        true
    }

    fn has_aggregates(&self) -> bool {
        true
    }

    fn largest_answer(&self) -> usize {
        1
    }
}

fn config(how: Decode) -> PipelineConfig {
    let group = Template::parse("/g", TemplateKind::Group).unwrap();
    let source = SourceConfig::of(StreamChoice::Kinesis("audit".into()));
    PipelineConfig {
        decode: DecodeSettings::of(how),
        ..PipelineConfig::of("p", source, DestinationConfig::of(group))
    }
}

fn desk(log: &Arc<Log>, config: PipelineConfig, record: Option<Record>) -> LetterDesk {
    LetterDesk {
        application: "weir".into(),
        mail: vec![Mail {
            config,
            logs: log.clone(),
            source: Arc::new(Stream {
                record,
                reads: Mutex::default(),
            }),
        }],
        clock: Arc::new(SystemClock),
        rng: fastrand::Rng::with_seed(7),
        tell: Box::new(|_| {}),
    }
}

fn origin(number: u64) -> Origin {
    Origin {
        pipeline: "p".into(),
        stream: ARN.into(),
        shard: "shardId-1".into(),
        place: Place {
            sequence_number: SequenceNumber::of(number),
            sub_sequence_number: 0,
        },
    }
}

fn bytes(data: &str) -> Body {
    Body::Record(RecordBody {
        data: Data::Bytes(Bytes::copy_from_slice(data.as_bytes())),
        partition_key: None,
        time: Some(SystemClock.wall()),
    })
}

fn event(age: Duration, message: &str) -> Body {
    Body::Event {
        index: 0,
        event: LogEvent {
            timestamp: SystemClock.wall().minus(age),
            message: message.into(),
        },
    }
}

const LETTERS: &str = "/g:dead-letter";
const LOG: &str = "/g:shardId-1";

/// The log of a worker that wrote these dead letters.
fn log(bodies: &[Body]) -> Arc<Log> {
    let log = Log::default();
    let meant_for = LogDestination {
        group: "/g".into(),
        stream: "shardId-1".into(),
    };
    let now = SystemClock.wall();
    let events = (1..).zip(bodies).flat_map(|(number, body)| {
        dead_letter::events(
            &origin(number),
            batch::Refusal::Undecodable,
            "why",
            &meant_for,
            body,
            now,
        )
    });
    let to = LogDestination {
        group: "/g".into(),
        stream: "dead-letter".into(),
    };
    log.streams.lock().unwrap().insert(to, events.collect());
    Arc::new(log)
}

async fn redrive(desk: &mut LetterDesk) -> Done {
    desk.redrive(&Which::Everything, EVERYTHING, false).await.unwrap()
}

fn left(done: &Done) -> Vec<&str> {
    let left = done.letters.iter().filter_map(|(_, fate)| match fate {
        Fate::Left { why, .. } | Fate::Unmarked { why, .. } => Some(why.as_str()),
        _ => None,
    });
    left.collect()
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_again_is_not_sent_a_second_time() {
    let log = log(&[
        bytes("one"),
        bytes("two"),
        event(Duration::ZERO, "three"),
        bytes("four"),
    ]);
    let mut desk = desk(&log, config(Decode::Text), None);
    let dry = desk.redrive(&Which::Everything, EVERYTHING, true).await.unwrap();
    assert_eq!((dry.letters.len(), dry.is_all()), (4, true));
    assert!(
        log.of(LOG).is_empty() && log.of(LETTERS).len() == 4,
        "nothing is put"
    );

    let first = dry.letters[0].0.letter.id.to_string();
    let one = Which::Ids(vec![first[..6].to_owned()]);
    let done = desk.redrive(&one, EVERYTHING, false).await.unwrap();
    assert!(done.is_all() && matches!(done.letters[0].1, Fate::Delivered { events: 1, .. }));
    assert_eq!(log.of(LOG), ["one"]);
    let again = desk.redrive(&one, EVERYTHING, false).await.unwrap();
    assert!(again.is_all() && matches!(again.letters[0].1, Fate::Already(_)));

    let done = redrive(&mut desk).await;
    assert_eq!((done.letters.len(), done.is_all()), (3, true));
    let mut told = log.of(LOG);
    told.sort();
    assert_eq!(told, ["four", "one", "three", "two"]);
    assert_eq!(redrive(&mut desk).await.letters, []);
    let listing = desk.read(EVERYTHING).await.unwrap();
    assert!(listing.found.len() == 4 && listing.found.iter().all(|found| found.redriven.is_some()));
    assert_eq!(listing.read, 8);
}

#[tokio::test(start_paused = true)]
async fn what_still_cant_be_delivered_is_left_and_holds_nothing_else_back() {
    let days = Duration::from_secs(24 * 3600);
    let log = log(&[
        bytes("{\"a\":1}"),
        bytes("no json"),
        bytes("\"poison\""),
        event(2 * days, "expired"),
        bytes("[2]"),
    ]);
    let mut settings = config(Decode::Json);
    let mut desk_before = desk(&log, settings.clone(), None);
    let done = redrive(&mut desk_before).await;
    assert!(!done.is_all());
    let why = left(&done);
    assert_eq!(why.len(), 3, "{why:?}");
    for reason in ["not JSON", "one of them", "too_old: now"] {
        assert!(why.iter().any(|why| why.contains(reason)), "{reason}: {why:?}");
    }
    let mut told = log.of(LOG);
    told.sort();
    assert_eq!(told, ["[2]", "{\"a\":1}"]);
    // With other settings the expired one goes too.
    settings.destination.too_old = Untimely::Now;
    let done = redrive(&mut desk(&log, settings, None)).await;
    assert_eq!((done.letters.len(), left(&done).len()), (3, 2));
    assert!(
        log.of(LOG)
            .iter()
            .any(|message| message.contains("weirOriginalTime"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_moments_failure_is_repeated_and_a_lasting_one_ends_it_without_a_mark() {
    let log = log(&[bytes("one"), bytes("two")]);
    log.failures.lock().unwrap().extend([
        SinkError::Throttled("slow".into()),
        SinkError::Unanswered("?".into()),
        SinkError::Unavailable("5xx".into()),
    ]);
    let mut desk = desk(&log, config(Decode::Text), None);
    let done = redrive(&mut desk).await;
    assert_eq!((done.is_all(), done.perhaps_twice), (true, 2));
    assert_eq!(log.of(LOG).len(), 2);

    let log = self::log(&[bytes("one"), bytes("two")]);
    *log.denied_in.lock().unwrap() = Some("/g".into());
    desk.mail[0].logs = log.clone();
    let why = desk.read(EVERYTHING).await.unwrap_err().to_string();
    assert!(why.contains("allow logs:GetLogEvents"), "{why}");
    desk.mail[0].config.dead_letter.group = Some("/letters".into());
    let letters = log.streams.lock().unwrap().pop_first().unwrap().1;
    let place = LogDestination {
        group: "/letters".into(),
        stream: "dead-letter".into(),
    };
    log.streams.lock().unwrap().insert(place, letters);
    let done = redrive(&mut desk).await;
    assert_eq!(left(&done).len(), 2);
    assert!(
        left(&done)[0].contains("allow logs:PutLogEvents"),
        "{:?}",
        left(&done)
    );
    assert_eq!(log.of("/letters:dead-letter").len(), 2, "no mark");

    // The mark alone is refused: the letter counts as open, and that is told.
    *log.denied_in.lock().unwrap() = None;
    desk.mail[0].config.destination.group = Template::parse("/h", TemplateKind::Group).unwrap();
    desk.mail[0].config.destination.create = false;
    let done = redrive(&mut desk).await;
    assert!(left(&done)[0].contains("create: true"), "{:?}", left(&done));
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_cant_be_put_is_told() {
    let log = log(&[bytes("one")]);
    let mut config = config(Decode::Text);
    config.dead_letter.group = Some("/letters".into());
    let letters = log.streams.lock().unwrap().pop_first().unwrap().1;
    let place = LogDestination {
        group: "/letters".into(),
        stream: "dead-letter".into(),
    };
    log.streams.lock().unwrap().insert(place, letters);
    let mut desk = desk(&log, config, None);
    let listing = desk.read(EVERYTHING).await.unwrap();
    *log.denied_in.lock().unwrap() = Some("/letters".into());
    let mut done = Done {
        listing,
        ..Done::default()
    };
    let chosen = std::mem::take(&mut done.listing.found);
    desk.send(chosen.into(), false, &mut done).await;
    assert_eq!(log.of(LOG), ["one"]);
    assert!(matches!(&done.letters[0].1, Fate::Unmarked { events: 1, why } if why.contains("not for you")));
    assert!(!done.is_all());
}

#[tokio::test(start_paused = true)]
async fn a_withheld_record_is_read_from_the_stream_again_and_must_be_the_same() {
    let withheld = |data: &str| {
        Body::Record(RecordBody {
            data: Data::withheld(data.as_bytes()),
            partition_key: None,
            time: Some(SystemClock.wall()),
        })
    };
    let record = |number, data: &str| {
        let data = Bytes::copy_from_slice(data.as_bytes());
        Some(Record::new(SequenceNumber::of(number), None, data))
    };
    for (kept, why) in [
        (record(1, "secret"), None),
        (record(1, "other"), Some("holds others")),
        (record(2, "secret"), Some("not in the stream any more")),
        (None, Some("trimmed")),
    ] {
        let log = log(&[withheld("secret")]);
        let mut desk = desk(&log, config(Decode::Text), kept);
        let shown = desk.show("", EVERYTHING).await.unwrap();
        assert_eq!(shown.today.is_ok(), why.is_none());
        let done = redrive(&mut desk).await;
        match why {
            None => assert_eq!(log.of(LOG), ["secret"]),
            Some(why) => assert!(left(&done)[0].contains(why), "{:?}", left(&done)),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn letters_are_found_by_the_beginning_of_their_ids() {
    let log = log(&[bytes("one"), bytes("two")]);
    let mut desk = desk(&log, config(Decode::Text), None);
    let ids: Vec<LetterId> = {
        let listing = desk.read(EVERYTHING).await.unwrap();
        listing
            .found
            .iter()
            .map(|found| found.letter.id.clone())
            .collect()
    };
    let told = desk.show("", EVERYTHING).await.unwrap_err().to_string();
    assert!(
        told.contains("give more of it") && told.contains(ids[0].as_str()),
        "{told}"
    );
    let told = desk.show("zzzz", EVERYTHING).await.unwrap_err().to_string();
    assert!(told.contains("weir dead-letters list --all"), "{told}");
    let shown = desk.show(&ids[1].as_str()[..8], EVERYTHING).await.unwrap();
    assert_eq!(shown.today.unwrap().len(), 1);
    // Nothing was ever put there.
    desk.mail[0].config.dead_letter.group = Some("/nowhere".into());
    let listing = desk.read(EVERYTHING).await.unwrap();
    assert_eq!((listing.found.len(), listing.read), (0, 0));
    // Another pipeline's.
    desk.mail[0].config.dead_letter.group = None;
    desk.mail[0].config.name = "q".into();
    let listing = desk.read(EVERYTHING).await.unwrap();
    assert_eq!((listing.found.len(), listing.others), (0, 2));
}
