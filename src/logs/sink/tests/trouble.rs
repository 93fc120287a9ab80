//! A group that refuses, a rate that is reached, settings that can't be set: who waits, and who doesn't.

use super::*;

fn denied(group: &'static str) -> Refuse {
    Box::new(move |to| (to.group == group).then(|| SinkError::Denied("no permission".to_owned())))
}

#[tokio::test(start_paused = true)]
async fn a_group_that_is_denied_is_probed_by_one_at_a_time_and_holds_up_no_other() {
    const STREAMS: usize = 50;
    let works = Works::with(settings());
    works.store.held(|held| held.refuse = Some(denied("/denied")));
    let (lane, mut rx) = works.lane();
    for stream in 0..STREAMS {
        let log = to("/denied", &format!("s{stream}"));
        works.submit(&lane, &log, stream, "event");
    }
    works.sleep(300).await;
    let puts = |works: &Works| {
        works
            .store
            .held(|held| held.puts.iter().filter(|(_, to)| to.group == "/denied").count())
    };
    // Each once, then about one in 2.5 s for all of them.
    assert!(
        (STREAMS + 80..STREAMS + 200).contains(&puts(&works)),
        "{}",
        puts(&works)
    );
    assert_eq!(works.held_groups(), 1);
    assert_eq!(works.readiness.report().problems.len(), STREAMS);

    works.submit(&lane, &to("/fine", "s"), STREAMS, "event");
    let fine = tokio::time::timeout(Duration::from_millis(100), rx.recv())
        .await
        .unwrap();
    assert_eq!(fine.unwrap().pieces(), [(STREAMS as u64, None)]);

    works.store.held(|held| held.refuse = None);
    let start = tokio::time::Instant::now();
    let outcomes = outcomes(&mut rx, STREAMS).await;
    assert!(outcomes.values().all(Option::is_none), "no event is given up");
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    works.sleep(1).await;
    assert_eq!(
        (works.held_groups(), works.readiness.report().problems.len()),
        (0, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_missing_holds_up_no_other_of_its_group() {
    let works = Works::with(SinkSettings {
        create: false,
        ..settings()
    });
    works.store.held(|held| {
        let refuse = |to: &LogDestination| {
            let is_gone = to.stream == "gone";
            is_gone.then(|| SinkError::Missing("no such stream".to_owned()))
        };
        held.refuse = Some(Box::new(refuse));
    });
    let (lane, mut rx) = works.lane();
    works.submit(&lane, &to("/g", "gone"), 0, "event");
    works.sleep(10).await;
    for record in 1..100 {
        works.submit(&lane, &to("/g", "here"), record, "event");
        let answer = tokio::time::timeout(Duration::from_millis(10), rx.recv())
            .await
            .unwrap();
        assert_eq!(answer.unwrap().pieces(), [(record as u64, None)]);
    }
    let problems = works.readiness.report().problems;
    assert!(
        problems["destination /g:gone"].contains("or set `create: true`"),
        "{problems:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_group_heeds_the_end_of_its_lease_and_the_fence() {
    let works = Works::with(settings());
    works.store.held(|held| held.refuse = Some(denied("/g")));
    let (first, _first_rx) = works.lane();
    let (second, _second_rx) = works.lane();
    works.submit(&first, &to("/g", "a"), 0, "event");
    works.submit(&second, &to("/g", "b"), 0, "event");
    works.sleep(60).await;
    drop(first);
    works.sleep(6).await;
    let problems = works.readiness.report().problems;
    assert_eq!(problems.keys().collect::<Vec<_>>(), ["destination /g:b"]);
    works.fence.close();
    works.sleep(6).await;
    let before = works.store.held(|held| held.puts.len());
    works.sleep(60).await;
    assert_eq!(works.store.held(|held| held.puts.len()), before);
    assert_eq!(works.held_groups(), 0);
}

#[tokio::test(start_paused = true)]
async fn throttles_hold_a_group_only_after_some_in_a_row() {
    let works = Works::with(settings());
    let throttled = |_: &LogDestination| Some(SinkError::Throttled("slow down".to_owned()));
    works.store.held(|held| held.refuse = Some(Box::new(throttled)));
    let (lane, mut rx) = works.lane();
    works.submit(&lane, &to("/g", "s"), 0, "event");
    works.store.clock.sleep(Duration::from_millis(5)).await;
    assert_eq!(works.held_groups(), 0);
    works.sleep(10).await;
    assert_eq!(works.held_groups(), 1);
    works.store.held(|held| held.refuse = None);
    outcomes(&mut rx, 1).await;
    assert_eq!(works.held_groups(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_puts_of_all_pipelines_of_an_account_share_its_rate_and_the_fleet_shares_it_too() {
    let workers = LiveWorkers::default();
    workers.set(4);
    let rate = PutRate::new(40, workers.clone());
    let pipelines = [(); 2].map(|()| Works::at_rate(settings(), &rate, |_| {}));
    let lanes = [0, 1].map(|i: usize| pipelines[i].lane());
    for (works, (lane, _)) in pipelines.iter().zip(&lanes) {
        for stream in 0..200 {
            works.submit(lane, &to("/g", &format!("s{stream}")), stream, "event");
        }
    }
    let puts = || -> Vec<usize> {
        let count = |works: &Works| works.store.held(|held| held.puts.len());
        pipelines.iter().map(count).collect()
    };
    pipelines[0].sleep(10).await;
    let before: usize = puts().iter().sum();
    assert!((98..=103).contains(&before), "{before}");
    // Places that were booked stay as they are, later ones come faster.
    workers.set(1);
    pipelines[0].sleep(31).await;
    assert_eq!(puts(), [200, 200]);
    pipelines[0].submit(&lanes[0].0, &to("/g", "s0"), 200, "event");
    pipelines[0].sleep(1).await;
    assert_eq!(puts(), [201, 200]);
}

#[tokio::test(start_paused = true)]
async fn a_put_that_waits_for_its_rate_heeds_the_fence() {
    let rate = PutRate::new(1, LiveWorkers::default());
    let works = Works::at_rate(settings(), &rate, |_| {});
    let (lane, _rx) = works.lane();
    for record in 0..10 {
        works.submit(&lane, &to("/g", &format!("s{record}")), record, "event");
    }
    works.sleep(2).await;
    works.fence.close();
    works.sleep(60).await;
    assert!(works.store.held(|held| held.puts.len()) <= 3);
}

fn wished() -> SinkSettings {
    SinkSettings {
        group: GroupSettings {
            retention_days: Some(7),
            kms_key: Some("key".to_owned()),
            tags: [("team".to_owned(), "cdc".to_owned())].into(),
            class: Some(LogClass::Standard),
        },
        reconcile: true,
        ..settings()
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_that_exists_is_made_as_it_is_wished_once_and_keeps_its_other_tags() {
    let rate = PutRate::new(4_000, LiveWorkers::default());
    let works = Works::at_rate(wished(), &rate, |held| {
        held.found.class = Some(LogClass::Standard);
        held.tags = [("theirs".to_owned(), "x".to_owned())].into();
    });
    let (lane, mut rx) = works.lane();
    for record in 0..10 {
        works.submit(&lane, &to("/g", &format!("s{record}")), record, "event");
    }
    outcomes(&mut rx, 10).await;
    works.sleep(3_600).await;
    let (found, tags, asked) = works
        .store
        .held(|held| (held.found.clone(), held.tags.clone(), held.asked.clone()));
    assert_eq!(
        (found.retention_days, found.kms_key.as_deref()),
        (Some(7), Some("key"))
    );
    assert_eq!(tags.len(), 2);
    let asked: BTreeSet<&str> = asked.iter().map(|a| a.split(' ').next().unwrap()).collect();
    assert_eq!(
        asked.into_iter().collect::<Vec<_>>(),
        ["describe", "key", "retention", "tag", "tags"]
    );
    assert_eq!(works.store.held(|held| held.asked.len()), 5);
}

#[tokio::test(start_paused = true)]
async fn settings_that_can_not_be_set_hold_up_no_event_are_told_and_are_tried_again() {
    let rate = PutRate::new(4_000, LiveWorkers::default());
    let works = Works::at_rate(wished(), &rate, |held| {
        held.found.class = Some(LogClass::Standard);
        held.groups_fail = 12;
    });
    let (lane, mut rx) = works.lane();
    works.submit(&lane, &to("/g", "s"), 0, "event");
    outcomes(&mut rx, 1).await;
    works.sleep(60).await;
    let problems = works.readiness.report().problems;
    assert!(problems["log group /g"].contains("not for you"), "{problems:?}");
    let asked = works.store.held(|held| held.asked.len());
    assert!(asked <= 8, "{asked}");
    works.sleep(7_200).await;
    assert!(works.readiness.report().problems.is_empty());
    assert_eq!(works.store.held(|held| held.found.retention_days), Some(7));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_class_is_told() {
    let rate = PutRate::new(4_000, LiveWorkers::default());
    let works = Works::at_rate(wished(), &rate, |held| {
        held.found.class = Some(LogClass::InfrequentAccess);
    });
    let (lane, mut rx) = works.lane();
    works.submit(&lane, &to("/g", "s"), 0, "event");
    outcomes(&mut rx, 1).await;
    works.sleep(5).await;
    let problems = works.readiness.report().problems;
    assert!(
        problems["log group /g"].contains("class can't be changed"),
        "{problems:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_lane_is_told_which_destination_holds_its_events_and_no_other_lane_is() {
    let works = Works::with(settings());
    works.store.held(|held| held.refuse = Some(denied("/denied")));
    let (shared, fine) = (to("/denied", "s"), to("/fine", "s"));
    let (first, mut first_rx) = works.lane();
    let (second, mut second_rx) = works.lane();
    let (third, mut third_rx) = works.lane();
    works.submit(&first, &shared, 7, "event");
    works.sleep(1).await;
    // Behind the first one's, which is being repeated: the writer doesn't even know of it.
    works.submit(&second, &shared, 3, "event");
    works.submit(&third, &fine, 5, "event");
    works.sleep(1).await;
    let held = Some("/denied:s (no permission)".to_owned());
    for (what, lane, index, expected) in [
        ("its event waits", &first, 7, &held),
        ("so does one of an earlier record", &first, 6, &held),
        ("it waits behind another's", &second, 3, &held),
        ("its event was put elsewhere", &third, 5, &None),
    ] {
        assert_eq!(works.sink.trouble(lane, index), *expected, "{what}");
    }
    let troubles = works.reports.troubles();
    assert_eq!(
        (&*troubles["orders"].part, &*troubles["orders"].what),
        ("destination /denied:s", "no permission")
    );
    works.store.held(|held| held.refuse = None);
    outcomes(&mut first_rx, 1).await;
    outcomes(&mut second_rx, 1).await;
    outcomes(&mut third_rx, 1).await;
    assert_eq!(works.sink.trouble(&first, 7), None);
    // Later records of another lane are refused there; the first one's are long done.
    works.store.held(|held| held.refuse = Some(denied("/denied")));
    works.submit(&second, &shared, 4, "event");
    works.sleep(2).await;
    assert_eq!(works.sink.trouble(&first, 8), None);
    assert_eq!(works.sink.trouble(&second, 4), held);
}

#[test]
fn where_finished_records_went_is_forgotten() {
    let (lane, _rx) = lane();
    let known = |lane: &Lane| lane.shared.sent().newest.len();
    for index in 0..100_000_u64 {
        // A log stream for each record, of which ten are on their way.
        lane.shared.goes_to(&to("/g", &index.to_string()), index);
        lane.settled(index.saturating_sub(9));
        assert!(known(&lane) <= 100, "{} at {index}", known(&lane));
    }
    let last = |part: &str| lane.shared.sent().newest.contains_key(part);
    assert!((99_991..100_000).all(|index| last(&format!("destination /g:{index}"))));
}

#[tokio::test(start_paused = true)]
async fn a_lane_is_told_that_its_dead_letters_are_refused() {
    let works = Works::with(settings());
    works.store.held(|held| held.refuse = Some(denied("/g")));
    let (lane, mut rx) = works.lane();
    works.submit(&lane, &to("/fine", "s"), 0, "poison");
    works.sleep(2).await;
    let trouble = works.sink.trouble(&lane, 0).unwrap();
    assert_eq!(trouble, "/g:dead-letter (no permission)");
    works.store.held(|held| held.refuse = None);
    assert_eq!(outcomes(&mut rx, 1).await[&0], Some(Refusal::Invalid));
    let last = works.reports.troubles().remove("orders").unwrap();
    assert_eq!(last.part, "destination /g:dead-letter");
}

#[tokio::test(start_paused = true)]
async fn puts_are_counted_timed_and_measured() {
    let works = Works::with(settings());
    let (lane, mut rx) = works.lane();
    let log = to("/g", "s");
    works.submit(&lane, &log, 0, "ab");
    outcomes(&mut rx, 1).await;
    let fails = Mutex::new(3);
    let thrice = move |_: &LogDestination| {
        let mut left = fails.lock().unwrap();
        *left -= i32::from(*left > 0);
        (*left > 0).then(|| SinkError::Unavailable("try again".to_owned()))
    };
    works.store.held(|held| held.refuse = Some(Box::new(thrice)));
    works.submit(&lane, &log, 1, "abc");
    outcomes(&mut rx, 1).await;
    let of = |histogram: &prometheus::HistogramVec| {
        let histogram = histogram.with_label_values(&["orders"]);
        (histogram.get_sample_count(), histogram.get_sample_sum())
    };
    let Works { metrics, .. } = &works;
    let puts = metrics.puts.with_label_values(&["orders"]).get();
    let retries = metrics.put_retries.with_label_values(&["orders"]).get();
    assert_eq!((puts, retries), (2, 2));
    assert_eq!(of(&metrics.put_events), (2, 2.0));
    assert_eq!(of(&metrics.put_bytes), (2, 28.0 + 29.0));
    // The store takes a millisecond for each, refused ones too.
    let (count, seconds) = of(&metrics.put_seconds);
    assert_eq!((count, (seconds * 1_000.0).round()), (4, 4.0));
}
