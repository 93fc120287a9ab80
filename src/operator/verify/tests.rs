use super::*;
use crate::logs::LogEvent;
use crate::logs::batch::Refusal as Refused;
use crate::logs::dead_letter::{Body, Redriven};
use crate::operator::fakes::{ARN, FakeLog, FakeStream, START, desk, stream_of};
use crate::operator::replay::{Done, How, Which};
use crate::shutdown;
use crate::stream::{Place, SequenceNumber};

const PERIOD: Period = Period {
    from: None,
    to: START,
};

fn time(at: u64) -> Timestamp {
    START
        .minus(Duration::from_secs(3600))
        .plus(Duration::from_secs(at))
}

/// Ten records in each of two shards, all delivered but those of these texts.
fn delivered(but: &[&str]) -> (Arc<FakeStream>, Arc<FakeLog>) {
    let log = Arc::new(FakeLog::default());
    let stream = FakeStream::new(|state| {
        for shard in ["a", "b"] {
            state.open(shard, &[]);
            for at in 0..10 {
                let text = format!("{shard}-{at}");
                state.append(shard, time(at), &text);
                if !but.contains(&text.as_str()) {
                    log.put_one(&stream_of(shard), time(at), &text);
                }
            }
        }
    });
    (stream, log)
}

async fn verify(stream: &Arc<FakeStream>, log: &Arc<FakeLog>) -> Report {
    let report = desk(stream, log).verify(PERIOD, &mut |_| {}).await.unwrap();
    let letters = report.dead_lettered;
    let all = report.found + report.missing + report.differs + letters.open + letters.settled;
    assert_eq!(all, report.events, "each event is one of these: {report:?}");
    report
}

/// A replay that goes on from where another was stopped, at its read of this number: together they left nothing out.
async fn the_rest_completes(stream: &Arc<FakeStream>, log: &Arc<FakeLog>, done: &Done, reads: usize) {
    stream.script(|_, _| {});
    let rest = Period {
        from: done.stopped_at,
        ..PERIOD
    };
    let (_stopper, stop) = shutdown::channel();
    desk(stream, log)
        .replay(rest, &how(Which::Everything, false), stop, &mut |_| {})
        .await
        .unwrap();
    let report = verify(stream, log).await;
    assert!(
        report.is_complete(),
        "stopped at read {reads}: {done:?} {report:?}"
    );
}

/// The number of a record in the fake stream: those of `a` come first.
fn letter(number: u64, index: usize, text: &str) -> Vec<LogEvent> {
    let origin = Origin {
        pipeline: "p".into(),
        stream: ARN.into(),
        shard: "a".into(),
        place: Place {
            sequence_number: SequenceNumber::of(number),
            sub_sequence_number: 0,
        },
    };
    let body = Body::Event {
        index,
        event: LogEvent {
            timestamp: time(number - 1),
            message: text.into(),
        },
    };
    let written = START.minus(Duration::from_secs(600));
    dead_letter::events(
        &origin,
        Refused::Invalid,
        "why",
        &stream_of("a"),
        &body,
        written,
        false,
    )
}

fn put(log: &FakeLog, events: &[LogEvent]) {
    for event in events {
        log.put_one(&stream_of("dead-letter"), event.timestamp, &event.message);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_all_there_is_told_to_be_so() {
    let (stream, log) = delivered(&[]);
    let report = verify(&stream, &log).await;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!((report.records, report.events, report.found), (20, 20, 20));
    assert_eq!((report.first, report.last), (Some(time(0)), Some(time(9))));
    assert!(report.without_ids && report.absent.is_empty());
}

#[tokio::test(start_paused = true)]
async fn each_event_that_is_missing_is_named_and_each_copy_counted() {
    let (stream, log) = delivered(&["a-3", "b-0", "b-9"]);
    log.put_one(&stream_of("a"), time(4), "a-4");
    log.put_one(&stream_of("a"), time(4), "a-4");
    // Of nobody here: before the first record, behind the last, and another's.
    for at in [0, 20, 4_000] {
        log.put_one(&stream_of("a"), time(at), "not ours");
    }
    let report = verify(&stream, &log).await;
    assert_eq!((report.found, report.missing, report.repeated), (17, 3, 2));
    let which: Vec<_> = report
        .which_missing
        .iter()
        .map(|off| off.id.position.as_str())
        .collect();
    let position = |shard: &str, number: u64| format!("{ARN}:{shard}:{number}:0");
    let mut expected = [position("a", 4), position("b", 11), position("b", 20)];
    let mut which: Vec<String> = which.into_iter().map(str::to_owned).collect();
    which.sort();
    expected.sort();
    assert_eq!(which, expected);
    assert!(!report.is_complete());
}

#[tokio::test(start_paused = true)]
async fn what_is_visible_a_little_later_is_not_missing() {
    let (stream, log) = delivered(&["a-3", "b-0"]);
    let late = |shard: &str, at, text: &str| {
        let event = LogEvent {
            timestamp: time(at),
            message: text.into(),
        };
        (stream_of(shard), event)
    };
    // Both shards' streams and the letters' are read once before: a look at the fourth shows them.
    log.late.lock().unwrap().push(late("a", 3, "a-3"));
    *log.looks.lock().unwrap() = 0;
    let report = verify(&stream, &log).await;
    assert_eq!((report.found, report.missing), (19, 1), "{report:?}");
    assert_eq!(report.repeated, 0);
}

#[tokio::test(start_paused = true)]
async fn dead_letters_account_for_their_events_unless_they_say_that_these_were_delivered() {
    let (stream, log) = delivered(&["a-1", "a-2", "a-3", "a-4"]);
    let letters: Vec<Vec<LogEvent>> = (1..4).map(|at| letter(at + 1, 0, &format!("a-{at}"))).collect();
    for letter in &letters {
        put(&log, letter);
    }
    // Of another event of the record.
    put(&log, &letter(5, 1, "a-4"));
    let mark = |letter: &[LogEvent], events, discarded| {
        let Some(Entry::Part(part)) = dead_letter::parse(&letter[0]) else {
            panic!("{letter:?}");
        };
        dead_letter::mark(&Redriven {
            letter: LetterId::new(part.letter()),
            at: START.minus(Duration::from_secs(60)),
            events,
            discarded,
        })
    };
    put(&log, &[mark(&letters[1], 0, true), mark(&letters[2], 1, false)]);
    let report = verify(&stream, &log).await;
    assert_eq!(
        report.dead_lettered,
        Letters { open: 1, settled: 1 },
        "{report:?}"
    );
    assert_eq!(
        report.missing, 2,
        "the one that was redriven and isn't there, and the one without a letter"
    );
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_decoded_is_looked_for_among_the_dead_letters() {
    let (stream, log) = delivered(&[]);
    stream.state.lock().unwrap().append("a", time(10), "x");
    {
        let mut state = stream.state.lock().unwrap();
        let record = state.shards.get_mut("a").unwrap().records.last_mut().unwrap();
        record.data = bytes::Bytes::from_static(&[0xff, 0xfe]);
    }
    let report = verify(&stream, &log).await;
    assert_eq!((report.events, report.missing), (21, 1));
    let off = &report.which_missing[0];
    assert!(
        off.id.index.is_none() && off.why.as_ref().unwrap().starts_with("undecodable: "),
        "{off:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_log_stream_that_is_not_there_holds_nothing() {
    let (stream, log) = delivered(&[]);
    log.streams.lock().unwrap().remove(&stream_of("b"));
    let report = verify(&stream, &log).await;
    assert_eq!((report.found, report.missing), (10, 10));
    assert_eq!(report.absent, [stream_of("b")]);
}

#[tokio::test(start_paused = true)]
async fn an_event_of_a_time_to_come_is_found_where_it_was_stamped_anew() {
    let (own, put) = (START.plus(Duration::from_secs(5 * 3600)), time(2));
    let envelope = format!(
        r#"{{"messageType":"DATA_MESSAGE","owner":"1","logGroup":"/x","logStream":"s","subscriptionFilters":["f"],"logEvents":[{{"id":"1","timestamp":{},"message":"ahead"}}]}}"#,
        own.millis()
    );
    let stream = FakeStream::new(|state| {
        state.open("a", &[]);
        state.append("a", time(0), &envelope);
    });
    let log = Arc::new(FakeLog::default());
    let event = LogEvent {
        timestamp: own,
        message: "ahead".into(),
    };
    let told = untimely::at(event, put);
    log.put_one(&stream_of("a"), told.timestamp, &told.message);
    let mut desk = desk(&stream, &log);
    desk.config.decode = crate::decode::DecodeSettings::of(Decode::Subscription);
    let report = desk.verify(PERIOD, &mut |_| {}).await.unwrap();
    assert_eq!((report.events, report.found), (1, 1), "{report:?}");
}

fn how(which: Which, dry_run: bool) -> How {
    How {
        which,
        dry_run,
        put_rate: 100,
        guard: crate::logs::guard::Guard::default(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_replay_of_what_is_missing_mends_the_log_and_repeats_nothing() {
    let (stream, log) = delivered(&["a-3", "b-0", "b-9"]);
    let missing = verify(&stream, &log).await.which_missing;
    let which = Which::Only(missing.into_iter().map(|off| off.id).collect());
    let mut desk = desk(&stream, &log);
    let (_stopper, stop) = shutdown::channel();
    let dry = desk
        .replay(PERIOD, &how(which.clone(), true), stop.clone(), &mut |_| {})
        .await
        .unwrap();
    assert_eq!((dry.records, dry.events), (3, 3));
    assert_eq!(verify(&stream, &log).await.missing, 3, "nothing was put");
    let done = desk
        .replay(PERIOD, &how(which, false), stop, &mut |_| {})
        .await
        .unwrap();
    assert_eq!(
        (done.records, done.events, done.left, done.is_stopped),
        (3, 3, 0, false)
    );
    let report = verify(&stream, &log).await;
    assert!(report.is_complete() && report.repeated == 0, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_replay_of_everything_keeps_the_order_and_tells_what_is_dead_lettered() {
    let (stream, log) = delivered(&[]);
    {
        let mut state = stream.state.lock().unwrap();
        state.append("a", time(10), "x");
        let record = state.shards.get_mut("a").unwrap().records.last_mut().unwrap();
        record.data = bytes::Bytes::from_static(&[0xff, 0xfe]);
    }
    log.streams.lock().unwrap().clear();
    let (_stopper, stop) = shutdown::channel();
    let done = desk(&stream, &log)
        .replay(PERIOD, &how(Which::Everything, false), stop, &mut |_| {})
        .await
        .unwrap();
    assert_eq!((done.records, done.events, done.dead_lettered), (21, 20, 1));
    let streams = log.streams.lock().unwrap();
    for shard in ["a", "b"] {
        let messages: Vec<&str> = streams[&stream_of(shard)]
            .iter()
            .map(|e| e.message.as_str())
            .collect();
        let expected: Vec<String> = (0..10).map(|at| format!("{shard}-{at}")).collect();
        assert_eq!(messages, expected);
    }
    assert_eq!(streams[&stream_of("dead-letter")].len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_is_stopped_says_from_where_to_go_on_and_loses_nothing_so() {
    for reads in 1..12 {
        let (stream, log) = delivered(&[]);
        log.streams.lock().unwrap().clear();
        let (stopper, stop) = shutdown::channel();
        stream.script(move |number, _| {
            if number == reads {
                stopper.stop();
            }
        });
        let mut first = desk(&stream, &log);
        let done = first
            .replay(PERIOD, &how(Which::Everything, false), stop, &mut |_| {})
            .await
            .unwrap();
        assert!(done.is_stopped && done.left == 0, "{done:?}");
        the_rest_completes(&stream, &log, &done, reads).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_is_stopped_before_a_child_is_read_goes_on_with_it() {
    for reads in 1..40 {
        let stream = FakeStream::new(|state| {
            state.open("a", &[]);
            state.open("b", &[]);
            for at in 0..6 {
                state.append("a", time(at), &format!("a-{at}"));
            }
            for at in 0..60 {
                state.append("b", time(10 * at), &format!("b-{at}"));
            }
        });
        let log = Arc::new(FakeLog::default());
        let (stopper, stop) = shutdown::channel();
        stream.script(move |number, state| {
            if number == 2 {
                // Not in the first listing.
                state.open("c", &["a"]);
                for at in 6..12 {
                    state.append("c", time(at), &format!("c-{at}"));
                }
            }
            if number == reads {
                stopper.stop();
            }
        });
        let done = desk(&stream, &log)
            .replay(PERIOD, &how(Which::Everything, false), stop, &mut |_| {})
            .await
            .unwrap();
        if reads < 3 {
            continue;
        }
        the_rest_completes(&stream, &log, &done, reads).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_replay_goes_on_before_records_whose_times_go_back() {
    let times = [0, 100, 130, 120, 110, 101, 140];
    for reads in 1..4 {
        let stream = FakeStream::new(|state| {
            state.open("a", &[]);
            for at in times {
                state.append("a", time(at), &format!("a-{at}"));
            }
        });
        let log = Arc::new(FakeLog::default());
        let (stopper, stop) = shutdown::channel();
        stream.script(move |number, _| {
            if number == reads {
                stopper.stop();
            }
        });
        let done = desk(&stream, &log)
            .replay(PERIOD, &how(Which::Everything, false), stop, &mut |_| {})
            .await
            .unwrap();
        stream.script(|_, _| {});
        let rest = Period {
            from: done.stopped_at,
            ..PERIOD
        };
        let (_stopper, stop) = shutdown::channel();
        desk(&stream, &log)
            .replay(rest, &how(Which::Everything, false), stop, &mut |_| {})
            .await
            .unwrap();
        let report = verify(&stream, &log).await;
        assert!(report.is_complete(), "stopped at read {reads}: {done:?}");
    }
}
