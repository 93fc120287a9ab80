//! Events, through the sink.

use std::time::Duration;

use weir::aws::Clients;
use weir::clock::{Clock, SystemClock, Timestamp};
use weir::logs::cloudwatch::CloudWatchLogs;
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
        let sink = CloudWatchLogs::new(clients.logs.clone());
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
        assert!(sink.create_group(&to.group).await.unwrap());
        assert!(!sink.create_group(&to.group).await.unwrap());
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
    let sink = CloudWatchLogs::new(clients.logs.clone());
    let to = to("g");
    sink.create_group(&to.group).await.unwrap();
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
