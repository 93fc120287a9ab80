//! Events, through the sink.

use std::collections::BTreeMap;
use std::time::Duration;

use weir::aws::Clients;
use weir::clock::{Clock, SystemClock, Timestamp};
use weir::logs::cloudwatch::CloudWatchLogs;
use weir::logs::group::GroupSettings;
use weir::logs::{Accepted, LogDestination, LogEvent, LogSink, SinkError};

use crate::emulator::{Emulator, Make};

const WITHIN: Duration = Duration::from_secs(10);

fn to(group: &str) -> LogDestination {
    LogDestination {
        group: group.to_owned(),
        stream: "shardId-0001".to_owned(),
    }
}

fn event(timestamp: Timestamp, message: &str) -> LogEvent {
    LogEvent {
        timestamp,
        message: message.to_owned(),
    }
}

async fn messages(clients: &Clients, to: &LogDestination) -> Vec<String> {
    let answer = clients
        .logs
        .get_log_events()
        .log_group_name(&to.group)
        .log_stream_name(&to.stream)
        .start_from_head(true)
        .send()
        .await
        .unwrap();
    answer
        .events
        .unwrap_or_default()
        .into_iter()
        .filter_map(|e| e.message)
        .collect()
}

#[tokio::test]
async fn a_put_tells_what_is_missing_and_arrives_once_it_is_created() {
    for make in [Make::Ministack, Make::Moto] {
        let emulator = Emulator::start(make).await;
        let clients = emulator.clients().await;
        let sink = CloudWatchLogs::new(clients.logs.clone(), clients.wire);
        let to = to("/cdc/orders");
        let now = SystemClock.wall();
        let events = [
            event(now, "{\"n\":1}"),
            event(now, "zwei \u{1f41f}"),
            event(now.plus(Duration::from_millis(1)), "three"),
        ];

        let missing = |result: Result<_, SinkError>| matches!(result, Err(SinkError::Missing(_)));
        assert!(missing(sink.put(&to, &events, WITHIN).await), "{make:?}");
        assert!(
            missing(sink.create_stream(&to).await.map(|()| Accepted::default())),
            "{make:?}"
        );
        assert!(
            sink.create_group(&to.group, &GroupSettings::default())
                .await
                .unwrap()
        );
        assert!(
            !sink
                .create_group(&to.group, &GroupSettings::default())
                .await
                .unwrap()
        );
        sink.put_retention(&to.group, 365).await.unwrap();
        assert!(missing(sink.put(&to, &events, WITHIN).await), "{make:?}");
        for _ in 0..2 {
            sink.create_stream(&to).await.unwrap();
        }
        assert_eq!(sink.put(&to, &events, WITHIN).await.unwrap(), Accepted::default());
        assert_eq!(
            messages(&clients, &to).await,
            ["{\"n\":1}", "zwei \u{1f41f}", "three"],
            "{make:?}"
        );
        let groups = clients.logs.describe_log_groups().send().await.unwrap();
        assert_eq!(groups.log_groups()[0].retention_in_days(), Some(365), "{make:?}");
    }
}

#[tokio::test]
async fn a_batch_out_of_order_is_refused_as_a_whole() {
    let emulator = Emulator::start(Make::Moto).await;
    let clients = emulator.clients().await;
    let sink = CloudWatchLogs::new(clients.logs.clone(), clients.wire);
    let to = to("g");
    sink.create_group(&to.group, &GroupSettings::default())
        .await
        .unwrap();
    sink.create_stream(&to).await.unwrap();
    let now = SystemClock.wall();
    let events = [
        event(now, "late"),
        event(now.minus(Duration::from_secs(5)), "early"),
    ];
    let error = sink.put(&to, &events, WITHIN).await.unwrap_err();
    assert!(matches!(error, SinkError::Invalid(_)), "{error}");
    assert!(messages(&clients, &to).await.is_empty());
}

/// More than the 10,000 events of one page, put in two batches.
#[tokio::test]
async fn the_newest_events_are_read_back_page_by_page_each_once() {
    const EVENTS: u64 = 12_000;
    for make in [Make::Ministack, Make::Moto] {
        let emulator = Emulator::start(make).await;
        let clients = emulator.clients().await;
        let sink = CloudWatchLogs::new(clients.logs.clone(), clients.wire);
        let to = to("/cdc/orders");
        let began = SystemClock.wall().minus(Duration::from_secs(600));
        let at = |n: u64| began.plus(Duration::from_millis(n));

        let missing = sink.read_back(&to, began, None, WITHIN).await;
        assert!(
            matches!(missing, Err(SinkError::Missing(_))),
            "{make:?}: {missing:?}"
        );
        sink.create_group(&to.group, &GroupSettings::default())
            .await
            .unwrap();
        let missing = sink.read_back(&to, began, None, WITHIN).await;
        assert!(
            matches!(missing, Err(SinkError::Missing(_))),
            "{make:?}: {missing:?}"
        );
        sink.create_stream(&to).await.unwrap();
        let (nothing, _) = read_all_back(&sink, &to, began).await;
        assert!(nothing.is_empty(), "{make:?}");

        let events: Vec<LogEvent> = (0..EVENTS)
            .map(|n| event(at(n), &format!("{{\"n\":{n}}}")))
            .collect();
        for batch in events.chunks(6_000) {
            assert_eq!(sink.put(&to, batch, WITHIN).await.unwrap(), Accepted::default());
        }
        for first in [0, 1_000, 11_990] {
            let (back, pages) = read_all_back(&sink, &to, at(first as u64)).await;
            assert!(
                back == events[first..],
                "{make:?} from {first}: {} events",
                back.len()
            );
            // And, on AWS as here, one more that shows the end.
            let full = (events.len() - first).div_ceil(10_000);
            assert!((full..=full + 1).contains(&pages), "{make:?}: {pages} pages");
        }
        let (none, _) = read_all_back(&sink, &to, at(EVENTS)).await;
        assert!(none.is_empty(), "{make:?}");
    }
}

/// All events from `since` on, oldest first, and the number of pages.
async fn read_all_back(
    sink: &CloudWatchLogs,
    from: &LogDestination,
    since: Timestamp,
) -> (Vec<LogEvent>, usize) {
    let mut pages = Vec::new();
    let mut before = None;
    loop {
        let page = sink
            .read_back(from, since, before.as_ref(), WITHIN)
            .await
            .unwrap();
        assert!(page.events.len() <= 10_000 && pages.len() < 10);
        pages.push(page.events);
        before = page.before;
        if before.is_none() {
            let count = pages.len();
            return (pages.into_iter().rev().flatten().collect(), count);
        }
    }
}

#[tokio::test]
async fn a_groups_settings_are_seen_and_set() {
    for make in [Make::Ministack, Make::Moto] {
        let emulator = Emulator::start(make).await;
        let clients = emulator.clients().await;
        let sink = CloudWatchLogs::new(clients.logs.clone(), clients.wire);
        let missing = sink.describe_group("/cdc/orders").await;
        assert!(
            matches!(missing, Err(SinkError::Missing(_))),
            "{make:?}: {missing:?}"
        );
        let tags = |tags: &[(&str, &str)]| -> BTreeMap<String, String> {
            let owned = tags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
            owned.collect()
        };
        let settings = GroupSettings {
            tags: tags(&[("team", "cdc"), ("stage", "test")]),
            ..GroupSettings::default()
        };
        for group in ["/cdc/orders-2", "/cdc/orders"] {
            assert!(sink.create_group(group, &settings).await.unwrap(), "{make:?}");
        }
        sink.put_retention("/cdc/orders", 30).await.unwrap();
        let found = sink.describe_group("/cdc/orders").await.unwrap();
        assert_eq!(found.retention_days, Some(30), "{make:?}");
        sink.tag_group(&found.arn, &tags(&[("stage", "prod")]))
            .await
            .unwrap();
        assert_eq!(
            sink.group_tags(&found.arn).await.unwrap(),
            tags(&[("team", "cdc"), ("stage", "prod")]),
            "{make:?}"
        );
    }
}
