//! The fakes are what they claim to be: late, torn and exact where the services are.

use std::sync::Arc;
use std::time::Duration;

use weir::clock::{Clock, Timestamp, timeout};
use weir::lease::{LeaseTable, WorkerId, WorkerRow, Written};
use weir::logs::group::GroupSettings;
use weir::logs::{LogDestination, LogEvent, LogSink, SinkError};
use weir::stream::{Ask, Next, SourceError, StartingPosition, StreamSource};

use crate::clock::SimClock;
use crate::faults::Rates;
use crate::logs::SimLogs;
use crate::seeds::run;
use crate::source::SimSource;
use crate::streams::Kind;
use crate::table::SimTable;
use crate::world::{Seat, World};

fn seat(world: &Arc<World>) -> Seat {
    Seat {
        world: world.clone(),
        pid: world.with(|s| s.boot(0)),
    }
}

fn s(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn row(id: &str) -> WorkerRow {
    WorkerRow::new(WorkerId::new(id))
}

#[test]
fn a_dropped_request_may_be_applied_later() {
    run(0, async |world| {
        world.with(|s| {
            s.faults.on = true;
            s.faults.table = Rates {
                silent: 10_000,
                ..Rates::default()
            };
            s.faults.latest = Duration::from_secs(20);
        });
        let seat = seat(&world);
        let (table, clock) = (SimTable { seat: seat.clone() }, SimClock::new(seat));
        for n in 0..20 {
            let row = row(&format!("w{n}"));
            assert!(
                timeout(&clock, s(1), table.create_worker(&row)).await.is_err(),
                "no answer"
            );
        }
        let soon = world.with(|s| s.table.workers.len());
        world.pass_time(s(21)).await;
        let late = world.with(|s| s.table.workers.len());
        assert!(soon < late && late < 20, "{soon} {late}");
    });
}

#[test]
fn a_paused_process_sends_and_learns_nothing_until_it_goes_on() {
    run(1, async |world| {
        let seat = seat(&world);
        let (table, clock) = (SimTable { seat: seat.clone() }, SimClock::new(seat.clone()));
        world.with(|s| s.procs[0].paused_until = s.now + Duration::from_secs(60));
        let written = table.create_worker(&row("w")).await.unwrap();
        assert_eq!(written, Written::Applied);
        assert!(world.elapsed() >= s(60));
        let before = clock.now();
        world.with(|s| s.procs[0].paused_until = s.now + Duration::from_secs(30));
        clock.sleep(s(1)).await;
        assert!(clock.now().since(before) > s(29), "the clock counts suspension");
    });
}

#[test]
fn conditional_writes_are_exact() {
    run(2, async |world| {
        let table = SimTable { seat: seat(&world) };
        let beat = |n| WorkerRow {
            heartbeat: n,
            ..row("w")
        };
        assert_eq!(
            table.beat(&beat(2)).await.unwrap(),
            Written::Refused(None),
            "never creates a row"
        );
        assert_eq!(table.create_worker(&beat(1)).await.unwrap(), Written::Applied);
        assert_eq!(
            table.create_worker(&beat(1)).await.unwrap(),
            Written::Refused(Some(beat(1)))
        );
        assert_eq!(
            table.beat(&beat(3)).await.unwrap(),
            Written::Refused(Some(beat(1)))
        );
        assert_eq!(table.beat(&beat(2)).await.unwrap(), Written::Applied);
        let id = WorkerId::new("w");
        world.pass_time(s(20)).await;
        assert!(matches!(
            table.evict(&id, 1).await.unwrap(),
            Written::Refused(Some(_))
        ));
        assert_eq!(table.evict(&id, 2).await.unwrap(), Written::Applied);
        let evicted = WorkerRow {
            evicted: true,
            ..beat(2)
        };
        assert_eq!(
            table.beat(&beat(3)).await.unwrap(),
            Written::Refused(Some(evicted.clone()))
        );
        assert_eq!(
            table.evict(&id, 2).await.unwrap(),
            Written::Refused(Some(evicted)),
            "once"
        );
        assert_eq!(table.bury(&id).await.unwrap(), Written::Applied);
        assert_eq!(
            table.bury(&WorkerId::new("x")).await.unwrap(),
            Written::Refused(None)
        );
        assert_eq!(table.delete_worker(&id, 2).await.unwrap(), Written::Applied);
    });
}

#[test]
fn an_iterator_lives_for_15_minutes_and_trimmed_data_are_told() {
    run(3, async |world| {
        let source = SimSource {
            seat: seat(&world),
            table: 0,
        };
        world.with(|s| {
            let now = s.now;
            s.streams.enable(1, now);
            (0..10).for_each(|_| s.write(3, Kind::Plain, 0));
        });
        let arn = source.current().await.unwrap();
        let shard = source.list_shards(&arn).await.unwrap().shards[0].id.clone();
        let it = source
            .iterator(&arn, &shard, &StartingPosition::TrimHorizon)
            .await
            .unwrap();
        assert_eq!(
            source.records(&arn, &it, Ask::ALL).await.unwrap().records.len(),
            10
        );
        world.with(|s| s.streams.trim((0, 0), 4));
        assert!(matches!(
            source.records(&arn, &it, Ask::ALL).await,
            Err(SourceError::DataTrimmed)
        ));
        let it = source
            .iterator(&arn, &shard, &StartingPosition::TrimHorizon)
            .await
            .unwrap();
        let batch = source.records(&arn, &it, Ask::ALL).await.unwrap();
        assert_eq!(batch.records.len(), 6);
        let after = StartingPosition::After(batch.records[1].sequence_number.clone());
        let it = source.iterator(&arn, &shard, &after).await.unwrap();
        assert_eq!(
            source.records(&arn, &it, Ask::ALL).await.unwrap().records.len(),
            4
        );
        world.pass_time(s(901)).await;
        assert!(matches!(
            source.records(&arn, &it, Ask::ALL).await,
            Err(SourceError::IteratorExpired)
        ));
    });
}

#[test]
fn children_are_listed_late_and_a_closed_shard_ends() {
    run(4, async |world| {
        let source = SimSource {
            seat: seat(&world),
            table: 0,
        };
        world.with(|s| {
            let now = s.now;
            s.streams.enable(1, now);
            s.write(3, Kind::Plain, 0);
            s.streams
                .divide((0, 0), 2, now, Duration::from_secs(60), &mut s.rng);
            s.write(3, Kind::Plain, 0);
        });
        let arn = source.current().await.unwrap();
        let parent = source.list_shards(&arn).await.unwrap().shards[0].id.clone();
        assert!(
            source.child_shards(&arn, &parent).await.unwrap().is_empty(),
            "not yet"
        );
        let mut it = source
            .iterator(&arn, &parent, &StartingPosition::TrimHorizon)
            .await
            .unwrap();
        let mut read = 0;
        loop {
            let batch = source.records(&arn, &it, Ask::ALL).await.unwrap();
            read += batch.records.len();
            match batch.next {
                Next::At(next) => it = next,
                Next::End | Next::PerhapsEnd => break,
            }
        }
        assert_eq!(read, 1);
        world.pass_time(s(60)).await;
        assert_eq!(source.child_shards(&arn, &parent).await.unwrap().len(), 2);
    });
}

#[test]
fn a_put_against_the_rules_is_refused_and_noticed() {
    let to = || LogDestination {
        group: "g".into(),
        stream: "s".into(),
    };
    let event = |millis: i64, message: &str| LogEvent {
        timestamp: Timestamp::from_millis(crate::world::EPOCH + millis),
        message: message.to_owned(),
    };
    let day = 24 * 3_600_000;
    for (events, broken) in [
        (vec![event(5, "b"), event(4, "a")], "not in order"),
        (vec![event(0, "")], "empty message"),
        (vec![event(0, &"x".repeat(1_048_551))], "an event too large"),
        (vec![event(-day - 1, "a"), event(0, "b")], "24 hours"),
        (vec![event(0, "x"); 10_001], "10001 events"),
        (
            vec![
                event(0, &"x".repeat(524_288 - 26)),
                event(1, &"x".repeat(524_289 - 26)),
            ],
            "1048577 bytes",
        ),
        (
            vec![
                event(0, &"x".repeat(524_288 - 26)),
                event(1, &"x".repeat(524_288 - 26)),
            ],
            "",
        ),
        (vec![event(-day, "a"), event(0, "b")], ""),
        (vec![event(0, "x"); 10_000], ""),
    ] {
        let run = run(5, async |world| {
            let logs = SimLogs { seat: seat(&world) };
            let missing = logs.put(&to(), &events, s(5)).await;
            assert!(matches!(missing, Err(SinkError::Missing(_))));
            assert!(matches!(
                logs.create_stream(&to()).await,
                Err(SinkError::Missing(_))
            ));
            assert!(logs.create_group("g", &GroupSettings::default()).await.unwrap());
            assert!(!logs.create_group("g", &GroupSettings::default()).await.unwrap());
            logs.create_stream(&to()).await.unwrap();
            let put = logs.put(&to(), &events, s(5)).await;
            assert_eq!(
                matches!(put, Err(SinkError::Invalid(_))),
                !broken.is_empty(),
                "{put:?}"
            );
        });
        let told = run
            .violations
            .iter()
            .any(|v| v.contains("against the rules") && v.contains(broken));
        assert_eq!(told, !broken.is_empty(), "{broken}: {:?}", run.violations);
    }
}

#[test]
fn events_are_read_back_newest_first_each_once_and_the_last_ones_late() {
    let to = || LogDestination {
        group: "g".into(),
        stream: "s".into(),
    };
    let at = |n: i64| Timestamp::from_millis(crate::world::EPOCH + n);
    let events = |from: i64, until: i64| -> Vec<LogEvent> {
        let event = |n| LogEvent {
            // Some of one time, which pages must not tear from their order.
            timestamp: at(n / 3),
            message: format!("{n}"),
        };
        (from..until).map(event).collect()
    };
    for seed in 0..20 {
        run(seed, async |world| {
            let logs = SimLogs { seat: seat(&world) };
            let missing = logs.read_back(&to(), at(0), None, s(5)).await;
            assert!(matches!(missing, Err(SinkError::Missing(_))));
            logs.create_group("g", &GroupSettings::default()).await.unwrap();
            logs.create_stream(&to()).await.unwrap();
            logs.put(&to(), &events(0, 90), s(5)).await.unwrap();
            world.with(|s| {
                s.faults.on = true;
                s.faults.empty_answer = 3_000;
                s.faults.visibility_delay = Duration::from_secs(1_000);
            });
            logs.put(&to(), &events(90, 99), s(5)).await.unwrap();
            let back = async |since| {
                let (mut all, mut before) = (Vec::new(), None);
                loop {
                    let page = logs.read_back(&to(), since, before.as_ref(), s(5)).await.unwrap();
                    all.splice(0..0, page.events);
                    before = page.before;
                    if before.is_none() {
                        return all;
                    }
                }
            };
            assert_eq!(back(at(10)).await, events(30, 90));
            world.pass_time(s(1_000)).await;
            assert_eq!(back(at(0)).await, events(0, 99));
        });
    }
}
