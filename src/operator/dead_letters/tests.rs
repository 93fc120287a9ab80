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
use crate::logs::dead_letter::{Body, Data, RecordBody};
use crate::logs::group::{GroupFound, GroupSettings};
use crate::logs::template::{Template, TemplateKind};
use crate::logs::{Accepted, EventPage, LogEvent, PageToken};
use crate::stream::{
    Ask, Next, Place, Record, RecordBatch, SequenceNumber, Shard, ShardId, ShardIterator, ShardListing,
    StartingPosition, StreamArn,
};

const ARN: &str = "arn:aws:kinesis:eu-west-1:111122223333:stream/audit#1700000000";
const EVERYTHING: Period = Period {
    since: Timestamp::from_millis(0),
    until: None,
};
const DRY: How = How {
    dry_run: true,
    again: false,
    as_written: false,
};

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
    /// Changes the letters' log stream.
    fn letters(&self, change: impl FnOnce(&mut Vec<LogEvent>)) {
        change(self.streams.lock().unwrap().get_mut(&letters_stream()).unwrap());
    }

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

/// A stream with one record or some, which gives nothing at the first read.
#[derive(Default)]
struct Stream {
    record: Option<Record>,
    /// After it, in the same answer.
    more: Vec<Record>,
    reads: Mutex<u32>,
    /// So many reads are throttled first.
    throttles: Mutex<u32>,
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

    async fn records(
        &self,
        _: &StreamArn,
        iterator: &ShardIterator,
        _: Ask,
    ) -> Result<RecordBatch, SourceError> {
        let mut throttles = self.throttles.lock().unwrap();
        if *throttles > 0 {
            *throttles -= 1;
            return Err(SourceError::Throttled("slow".into()));
        }
        let mut reads = self.reads.lock().unwrap();
        *reads += 1;
        let some = *reads > 1;
        Ok(RecordBatch {
            records: self
                .record
                .iter()
                .chain(&self.more)
                .filter(|_| some)
                .cloned()
                .collect(),
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
                ..Stream::default()
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
            false,
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
    desk.redrive(&Which::Everything, EVERYTHING, How::default())
        .await
        .unwrap()
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
    let dry = desk.redrive(&Which::Everything, EVERYTHING, DRY).await.unwrap();
    assert_eq!((dry.letters.len(), dry.is_all()), (4, true));
    assert!(
        log.of(LOG).is_empty() && log.of(LETTERS).len() == 4,
        "nothing is put"
    );

    let first = dry.letters[0].0.letter.id.to_string();
    let one = Which::Ids(vec![first[..6].to_owned()]);
    let done = desk.redrive(&one, EVERYTHING, How::default()).await.unwrap();
    assert!(done.is_all() && matches!(done.letters[0].1, Fate::Delivered { events: 1, .. }));
    assert_eq!(log.of(LOG), ["one"]);
    let again = desk.redrive(&one, EVERYTHING, How::default()).await.unwrap();
    assert!(again.is_all() && matches!(again.letters[0].1, Fate::Already(_)));

    let done = redrive(&mut desk).await;
    assert_eq!((done.letters.len(), done.is_all()), (3, true));
    let mut told = log.of(LOG);
    told.sort();
    assert_eq!(told, ["four", "one", "three", "two"]);
    assert_eq!(redrive(&mut desk).await.letters, []);
    let listing = desk.read(EVERYTHING, &Look::All).await.unwrap();
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
    let why = desk.read(EVERYTHING, &Look::All).await.unwrap_err().to_string();
    assert!(
        why.contains("/g:dead-letter can't be read: not for you") && !why.contains("allow"),
        "{why}"
    );
    desk.mail[0].config.dead_letter.group = Some("/letters".into());
    let letters = log.streams.lock().unwrap().pop_first().unwrap().1;
    let place = LogDestination {
        group: "/letters".into(),
        stream: "dead-letter".into(),
    };
    log.streams.lock().unwrap().insert(place, letters);
    let done = redrive(&mut desk).await;
    assert_eq!(left(&done).len(), 2);
    // The service's denial says what to allow, and missing credentials are no matter of that.
    assert_eq!(left(&done), ["not for you"; 2]);
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
    let listing = desk.read(EVERYTHING, &Look::All).await.unwrap();
    *log.denied_in.lock().unwrap() = Some("/letters".into());
    let mut done = Done {
        listing,
        ..Done::default()
    };
    let chosen = std::mem::take(&mut done.listing.found);
    desk.send(chosen.into(), How::default(), &mut done).await;
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
        let listing = desk.read(EVERYTHING, &Look::All).await.unwrap();
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
    let listing = desk.read(EVERYTHING, &Look::All).await.unwrap();
    assert_eq!((listing.found.len(), listing.read), (0, 0));
    let missing = listing.missing.first().unwrap();
    assert_eq!(missing.0.to_string(), "/nowhere:dead-letter");
    // Another pipeline's.
    desk.mail[0].config.dead_letter.group = None;
    desk.mail[0].config.name = "q".into();
    let listing = desk.read(EVERYTHING, &Look::All).await.unwrap();
    assert_eq!((listing.found.len(), listing.others.len()), (0, 2));
    let told = desk.show(&ids[0].as_str()[..6], EVERYTHING).await;
    let told = told.unwrap_err().to_string();
    assert!(
        told.contains("pipeline \"p\"") && told.contains("--pipeline"),
        "{told}"
    );
}

/// The letters' log stream.
fn letters_stream() -> LogDestination {
    LogDestination {
        group: "/g".into(),
        stream: "dead-letter".into(),
    }
}

/// So many letters of one event each, a second apart, the last of them a second ago.
fn one_by_one(count: u64) -> Arc<Log> {
    let log = Log::default();
    let now = SystemClock.wall();
    let events = (1..=count).flat_map(|number| {
        let at = now.minus(Duration::from_secs(count - number + 1));
        let why = batch::Refusal::Undecodable;
        let body = bytes(&format!("letter {number}"));
        dead_letter::events(&origin(number), why, "why", &letters_stream(), &body, at, false)
    });
    log.streams
        .lock()
        .unwrap()
        .insert(letters_stream(), events.collect());
    Arc::new(log)
}

#[tokio::test(start_paused = true)]
async fn what_is_more_than_is_held_at_once_is_told_and_reached_later() {
    const FEW: usize = 1_000;
    let log = one_by_one(12);
    let mut desk = desk(&log, config(Decode::Text), None);
    let listing = desk.read_within(EVERYTHING, &Look::Open, FEW).await.unwrap();
    let count = listing.found.len();
    assert!((1..12).contains(&count), "{count}");
    let cut_at = listing.cut_at.unwrap();
    assert_eq!(listing.found[0].letter.written, cut_at);

    // What was not read is not done.
    let done = Done {
        listing: Listing {
            cut_at: Some(cut_at),
            ..Listing::default()
        },
        ..Done::default()
    };
    assert!(!done.is_all());

    // By the upper bound at once…
    let older = Period {
        until: Some(cut_at),
        ..EVERYTHING
    };
    let before = desk.read(older, &Look::Open).await.unwrap();
    assert!(
        before.found.iter().all(|found| !found.has_destination),
        "they name their own place"
    );
    assert_eq!((before.found.len(), before.cut_at), (12 - count, None));
    // …or when the newer ones have marks, which takes no room.
    let ids = listing.found.iter().map(|found| found.letter.id.to_string());
    let ids = Which::Ids(ids.collect());
    let done = desk.redrive(&ids, EVERYTHING, How::default()).await.unwrap();
    assert!(done.is_all() && done.letters.len() == count);
    let after = desk.read_within(EVERYTHING, &Look::Open, FEW).await.unwrap();
    assert_eq!(
        after.found.last().map(|found| &found.letter.id),
        before.found.last().map(|found| &found.letter.id)
    );
    let all = desk.read(EVERYTHING, &Look::All).await.unwrap();
    assert_eq!((all.found.len(), all.cut_at), (12, None));
}

#[tokio::test(start_paused = true)]
async fn a_letter_is_sent_once_more_on_demand_or_when_it_was_written_again() {
    let log = log(&[bytes("one")]);
    let mut desk = desk(&log, config(Decode::Text), None);
    let done = redrive(&mut desk).await;
    let id = done.letters[0].0.letter.id.to_string();
    let one = Which::Ids(vec![id]);
    let again = How {
        again: true,
        ..How::default()
    };
    let done = desk.redrive(&one, EVERYTHING, again).await.unwrap();
    assert!(matches!(done.letters[0].1, Fate::Delivered { events: 1, .. }));
    assert_eq!(log.of(LOG), ["one", "one"]);
    assert_eq!(redrive(&mut desk).await.letters, []);

    // A worker read the record once more, and still can't decode it.
    let later = SystemClock.wall().plus(Duration::from_secs(60));
    let why = batch::Refusal::Undecodable;
    let written = dead_letter::events(
        &origin(1),
        why,
        "why",
        &letters_stream(),
        &bytes("one"),
        later,
        false,
    );
    log.letters(|letters| letters.extend(written));
    for look in [Look::Open, Look::All] {
        let listing = desk.read(EVERYTHING, &look).await.unwrap();
        assert_eq!(listing.found.len(), 1, "{look:?}");
        assert_eq!(listing.found[0].redriven, None, "{look:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_that_takes_nothing_holds_back_its_own_letters_alone() {
    let log = log(&[bytes("p one"), bytes("p two")]);
    let mut desk = desk(&log, config(Decode::Text), None);
    // A second pipeline, of the same client, with letters in the same place.
    let mut other = config(Decode::Text);
    other.name = "q".into();
    other.destination.group = Template::parse("/denied", TemplateKind::Group).unwrap();
    other.dead_letter.group = Some("/g".into());
    let mut written = Vec::new();
    for number in 3..150 {
        let origin = Origin {
            pipeline: "q".into(),
            ..origin(number)
        };
        let why = batch::Refusal::Undecodable;
        let now = SystemClock.wall().minus(Duration::from_secs(9));
        written.extend(dead_letter::events(
            &origin,
            why,
            "why",
            &letters_stream(),
            &bytes("q"),
            now,
            false,
        ));
    }
    // Before the others, by their time.
    log.letters(|letters| {
        letters.splice(..0, written);
    });
    let source = desk.mail[0].source.clone();
    desk.mail.push(Mail {
        config: other,
        logs: log.clone(),
        source,
    });
    *log.denied_in.lock().unwrap() = Some("/denied".into());
    let done = redrive(&mut desk).await;
    let mut told = log.of(LOG);
    told.sort();
    assert_eq!(told, ["p one", "p two"]);
    let left = left(&done);
    assert_eq!(left.len(), 147);
    assert!(left.iter().any(|why| why.starts_with("not tried")) && left.contains(&"not for you"));
}

#[tokio::test(start_paused = true)]
async fn a_discarded_letter_is_not_sent_and_not_listed() {
    let long = "x".repeat(400_000);
    let log = log(&[bytes("one"), bytes(""), bytes(&long)]);
    // The last one's writer died on the way.
    log.letters(|letters| {
        letters.pop();
    });
    let mut desk = desk(&log, config(Decode::Text), None);
    let listing = desk.read(EVERYTHING, &Look::Open).await.unwrap();
    assert_eq!((listing.found.len(), listing.incomplete.len()), (2, 1));
    let empty = listing.found.iter().find(|found| found.letter.bytes == 0);
    let ids = [
        empty.unwrap().letter.id.to_string(),
        listing.incomplete[0].id.to_string(),
    ];
    let discarded = desk.discard(&ids, EVERYTHING).await.unwrap();
    assert!(discarded.iter().all(|letter| letter.outcome == Outcome::Marked));
    let again = desk.discard(&ids[..1], EVERYTHING).await.unwrap();
    assert!(matches!(&again[0].outcome, Outcome::Already(mark) if mark.discarded));
    let listing = desk.read(EVERYTHING, &Look::Open).await.unwrap();
    assert_eq!((listing.found.len(), listing.incomplete.len()), (1, 0));
    assert!(redrive(&mut desk).await.is_all());
    assert_eq!(log.of(LOG), ["one"]);
    let all = desk.read(EVERYTHING, &Look::All).await.unwrap();
    let marks = all.found.iter().filter_map(|found| found.redriven.as_ref());
    assert_eq!(marks.filter(|mark| mark.discarded).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_expires_and_then_is_too_large_is_told_in_parts() {
    let days = Duration::from_secs(24 * 3600);
    // Not too old for the service, and too old for the group.
    let log = log(&[event(2 * days, &"x".repeat(batch::MAX_MESSAGE_BYTES))]);
    let mut settings = config(Decode::Text);
    settings.destination.too_old = Untimely::Now;
    let done = redrive(&mut desk(&log, settings, None)).await;
    assert!(done.is_all(), "{:?}", left(&done));
    assert!(matches!(done.letters[0].1, Fate::Delivered { events: 2, .. }));
    assert_eq!(log.of(LOG).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_event_of_before_a_redaction_goes_only_as_written() {
    let log = log(&[event(Duration::ZERO, "card 4711")]);
    let mut settings = config(Decode::Text);
    settings.shape.redact = crate::redact::Redaction::new(Vec::new(), true);
    let mut desk = desk(&log, settings, None);
    let shown = desk.show("", EVERYTHING).await.unwrap();
    assert!(shown.today.unwrap_err().contains("--as-written"));
    assert!(left(&redrive(&mut desk).await)[0].contains("--as-written"));
    let as_written = How {
        as_written: true,
        ..How::default()
    };
    let done = desk.redrive(&Which::Everything, EVERYTHING, as_written).await;
    assert!(done.unwrap().is_all());
    assert_eq!(log.of(LOG), ["card 4711"]);
}

#[tokio::test(start_paused = true)]
async fn withheld_records_are_read_slowly_and_many_with_one_answer() {
    let data = |number: u64| format!("{number}{}", "x".repeat(1_000_000));
    let record = |number| Record::new(SequenceNumber::of(number), None, Bytes::from(data(number)));
    let withheld = |number: u64| {
        Body::Record(RecordBody {
            data: Data::withheld(data(number).as_bytes()),
            partition_key: None,
            time: Some(SystemClock.wall()),
        })
    };
    let log = log(&[withheld(1), withheld(2), withheld(3)]);
    let mut desk = desk(&log, config(Decode::Text), None);
    let stream = Arc::new(Stream {
        record: Some(record(1)),
        more: vec![record(2), record(3)],
        // More than any other failure is repeated.
        throttles: Mutex::new(20),
        ..Stream::default()
    });
    desk.mail[0].source = stream.clone();
    let begin = tokio::time::Instant::now();
    let done = redrive(&mut desk).await;
    assert!(done.is_all(), "{:?}", left(&done));
    assert_eq!(log.of(LOG).len(), 3);
    assert_eq!(
        *stream.reads.lock().unwrap(),
        2,
        "an empty answer, and one with all"
    );
    assert!(
        begin.elapsed() >= Duration::from_secs(3),
        "a megabyte a second at most"
    );
}
