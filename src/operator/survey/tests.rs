use std::collections::BTreeMap;

use super::*;
use crate::operator::fakes::{FakeState, FakeStream, RuntimeClock, START};

const ALL: Scope = Scope {
    begin: Begin::Horizon,
    end: End::Tip,
};

fn survey(stream: &Arc<FakeStream>, scope: Scope) -> Survey {
    let poll = Poll {
        busy: Duration::ZERO,
        idle: Duration::ZERO,
    };
    let (clock, rng) = (Arc::new(RuntimeClock::default()), fastrand::Rng::with_seed(7));
    Survey::new(stream.clone(), clock, poll, Duration::from_secs(30), scope, rng)
}

/// What was told: texts in their order, and a line for anything else.
#[derive(Default)]
struct Told {
    texts: Vec<(String, String)>,
    others: Vec<String>,
}

impl Told {
    fn take(&mut self, seen: Seen) {
        match seen {
            Seen::Records(batch) => {
                let texts = batch.records.iter();
                let texts = texts.map(|r| String::from_utf8(r.data.to_vec()).unwrap());
                self.texts
                    .extend(texts.map(|text| (batch.shard.to_string(), text)));
            }
            Seen::Gap { shard, after, .. } => {
                let after = after.map(|number| number.to_string());
                self.others.push(format!("gap in {shard} after {after:?}"));
            }
            Seen::Gone { shard, .. } => self.others.push(format!("{shard} is gone")),
            Seen::Note(note) => self.others.push(note),
            Seen::Ended { .. } => {}
        }
    }

    fn of(&self, shard: &str) -> Vec<&str> {
        let its = self.texts.iter().filter(|(of, _)| of == shard);
        its.map(|(_, text)| text.as_str()).collect()
    }
}

async fn read(stream: &Arc<FakeStream>, scope: Scope) -> Told {
    let mut told = Told::default();
    let mut survey = survey(stream, scope);
    while let Some(seen) = survey.next().await.unwrap() {
        told.take(seen);
    }
    let (done, known) = survey.progress();
    assert_eq!(done, known);
    told
}

fn fill(state: &mut FakeState, shard: &str, count: usize) {
    for at in 0..count {
        state.append(
            shard,
            START.minus(Duration::from_secs(3600)),
            &format!("{shard}-{at}"),
        );
    }
}

fn texts(shard: &str, range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|at| format!("{shard}-{at}")).collect()
}

#[tokio::test(start_paused = true)]
async fn all_is_read_once_and_in_order_although_shards_split_and_merge_meanwhile() {
    for seed in 0..20u64 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (split, merge) = (rng.usize(1..8), rng.usize(9..20));
        let stream = FakeStream::new(|state| {
            for shard in ["a", "b", "c", "d", "e", "f"] {
                state.open(shard, &[]);
                fill(state, shard, 10);
            }
        });
        stream.script(move |reads, state| {
            if reads == split {
                state.open("a1", &["a"]);
                state.open("a2", &["a"]);
                fill(state, "a1", 5);
                fill(state, "a2", 5);
            }
            if reads == merge {
                state.open("m", &["b", "a1"]);
                fill(state, "m", 5);
            }
            // All kinds of trouble that lose nothing.
            match rng.u8(..12) {
                0 => state.epoch += 1,
                1 => state.fail("b", [SourceError::Throttled("slow".into())]),
                2 => state.fail("a1", [SourceError::Unavailable("away".into())]),
                3 => drop(state.quiet.insert("c".into(), 1)),
                _ => {}
            }
        });
        let told = read(&stream, ALL).await;
        let all = [
            ("a", 10),
            ("b", 10),
            ("c", 10),
            ("d", 10),
            ("e", 10),
            ("f", 10),
            ("a1", 5),
            ("a2", 5),
            ("m", 5),
        ];
        for (shard, count) in all {
            assert_eq!(told.of(shard), texts(shard, 0..count), "{shard}, seed {seed}");
        }
        let place = |text: &str| told.texts.iter().position(|(_, has)| has == text).unwrap();
        for (before, after) in [("a-9", "a1-0"), ("a-9", "a2-0"), ("b-9", "m-0"), ("a1-4", "m-0")] {
            assert!(
                place(before) < place(after),
                "{before} before {after}, seed {seed}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_is_read_slowly_and_a_throttle_is_waited_out_and_told_once() {
    let stream = FakeStream::new(|state| {
        state.open("a", &[]);
        fill(state, "a", 9);
        let throttled = || SourceError::Throttled("too many readers".into());
        state.fail("a", [throttled(), throttled(), throttled()]);
    });
    let told = read(&stream, ALL).await;
    assert_eq!(told.of("a").len(), 9);
    assert_eq!(told.others.len(), 1, "{:?}", told.others);
    assert!(told.others[0].contains("too many readers"));
    let reads = stream.state.lock().unwrap().reads.clone();
    let gaps: Vec<f64> = reads
        .windows(2)
        .map(|two| (two[1].1 - two[0].1).as_secs_f64())
        .collect();
    // By the paused clock, which shows what was waited for and nothing else.
    for (gap, least) in gaps.iter().zip([1.0, 2.0, 4.0, 0.4, 0.4, 0.4, 1.0, 1.0]) {
        assert!(*gap >= least - 1e-3, "{gaps:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_trimmed_and_what_is_gone_is_told() {
    let stream = FakeStream::new(|state| {
        for shard in ["a", "b"] {
            state.open(shard, &[]);
            fill(state, shard, 9);
        }
    });
    stream.script(|reads, state| {
        if reads == 2 {
            state.shards.get_mut("a").unwrap().trimmed = 7;
            state.shards.remove("b");
        }
    });
    let told = read(&stream, ALL).await;
    assert_eq!(told.of("a"), [texts("a", 0..3), texts("a", 7..9)].concat());
    assert_eq!(told.of("b"), texts("b", 0..3));
    let mut others = told.others;
    others.sort();
    assert_eq!(others, ["b is gone", "gap in a after Some(\"3\")"]);
}

#[tokio::test(start_paused = true)]
async fn only_the_time_that_was_asked_for_is_told_and_read() {
    let at = |minutes: u64| START.minus(Duration::from_secs(60 * minutes));
    let stream = FakeStream::new(|state| {
        state.open("a", &[]);
        for minutes in (0..60).rev() {
            state.append("a", at(minutes), &format!("{minutes}"));
        }
        // Closed, with children that are later still.
        state.open("b", &["a"]);
        fill(state, "b", 1);
    });
    let scope = |begin, end| Scope {
        begin: Begin::At(begin),
        end: End::Before(end),
    };
    let told = read(&stream, scope(at(50), at(45))).await;
    assert_eq!(told.of("a"), ["50", "49", "48", "47", "46"]);
    assert_eq!(told.of("b").len(), 0, "its parent was not read to its end");
    let reads = stream.state.lock().unwrap().reads.len();
    assert!(reads < 8, "{reads} reads for the first quarter");
}

#[tokio::test(start_paused = true)]
async fn what_is_new_is_followed_into_the_children_for_ever() {
    let stream = FakeStream::new(|state| {
        state.open("a", &[]);
        fill(state, "a", 5);
    });
    stream.script(|reads, state| match reads {
        2 => state.append("a", START.plus(Duration::from_secs(2)), "new"),
        4 => {
            state.open("b", &["a"]);
            state.append("b", START.plus(Duration::from_secs(4)), "newer");
        }
        // The reader has to find its place again.
        8 => state.epoch += 1,
        12 => state.append("b", START.plus(Duration::from_secs(60)), "newest"),
        _ => {}
    });
    let scope = Scope {
        begin: Begin::Latest,
        end: End::Never,
    };
    let mut survey = survey(&stream, scope);
    let mut told = Told::default();
    while told.texts.len() < 3 {
        // It is dropped and asked again, as by whoever listens for Ctrl-C too.
        if let Ok(seen) = tokio::time::timeout(Duration::from_millis(700), survey.next()).await {
            told.take(seen.unwrap().unwrap());
        }
    }
    let seen: BTreeMap<_, _> = told
        .texts
        .iter()
        .map(|(shard, text)| (text.as_str(), shard.as_str()))
        .collect();
    assert_eq!(seen, [("new", "a"), ("newer", "b"), ("newest", "b")].into());
}

#[tokio::test(start_paused = true)]
async fn a_few_empty_answers_are_no_end_and_a_denial_is_one() {
    let stream = FakeStream::new(|state| {
        state.open("a", &[]);
        fill(state, "a", 4);
        state.quiet.insert("a".into(), QUIET_READS - 1);
    });
    assert_eq!(read(&stream, ALL).await.of("a").len(), 4);
    let denied = || SourceError::AccessDenied("dynamodb:GetRecords".into());
    stream.state.lock().unwrap().fail("a", [denied()]);
    let mut survey = survey(&stream, ALL);
    let ended = loop {
        match survey.next().await {
            Ok(Some(_)) => {}
            ended => break ended,
        }
    };
    assert!(
        matches!(ended, Err(Broken::Source(SourceError::AccessDenied(_)))),
        "{ended:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_written_to_all_the_time_is_read_to_what_came_after_the_beginning() {
    let stream = FakeStream::new(|state| {
        state.open("a", &[]);
        fill(state, "a", 4);
    });
    let began = tokio::time::Instant::now();
    let mut survey = survey(&stream, ALL);
    let mut told = Told::default();
    while let Some(seen) = survey.next().await.unwrap() {
        told.take(seen);
        let now = START.plus(began.elapsed());
        stream.state.lock().unwrap().append("a", now, "more");
        assert!(began.elapsed() < 3 * DISORDER, "it never ends");
    }
    assert_eq!(told.of("a")[..4], texts("a", 0..4));
}

#[tokio::test(start_paused = true)]
async fn iterators_that_always_expire_are_not_asked_for_any_faster() {
    let stream = FakeStream::new(|state| {
        state.open("a", &[]);
        fill(state, "a", 3);
    });
    stream.script(|number, state| {
        if number < 20 {
            state.epoch += 1;
        }
    });
    let told = read(&stream, ALL).await;
    assert_eq!(told.of("a"), texts("a", 0..3));
    let state = stream.state.lock().unwrap();
    let times: Vec<Duration> = state.reads.iter().map(|(_, at)| *at).collect();
    let is_slow = times.windows(2).all(|two| two[1] - two[0] >= pace::BUSY);
    assert!(times.len() > 20 && is_slow, "{times:?}");
}
