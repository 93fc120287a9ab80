//! CloudWatch Logs as a [`LogSink`].
//!
//! Owns the requests and the reading of their answers. Must never retry, split or create on its own;
//! errors of the SDK stop here. `app` makes one for each set of AWS settings.

mod groups;
pub mod probe;
mod refusal;
mod subscriptions;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::config::Config;
use aws_sdk_cloudwatchlogs::config::timeout::TimeoutConfig;
use aws_sdk_cloudwatchlogs::types::{InputLogEvent, RejectedLogEventsInfo};

use self::refusal::{Asked, sink_error};
use crate::aws::failure::{Failure, failure};
use crate::aws::raw::NeedsBody;
use crate::clock::Timestamp;
use crate::config::Wire;
use crate::logs::group::{GroupFound, GroupSettings};
use crate::logs::{Accepted, EventPage, LogDestination, LogEvent, LogSink, PageToken, SinkError};

/// The log groups of one account and region.
pub struct CloudWatchLogs {
    client: Client,
    wire: Wire,
}

impl CloudWatchLogs {
    pub fn new(client: Client, wire: Wire) -> Self {
        Self { client, wire }
    }

    /// What a failure of `action` on `what` means.
    fn error(&self, failure: &Failure, action: &'static str, what: &str) -> SinkError {
        let config = self.client.config();
        let region = config.region().map_or("REGION", |region| region.as_ref());
        sink_error(failure, Asked { action, what, region })
    }
}

#[async_trait]
impl LogSink for CloudWatchLogs {
    async fn put(
        &self,
        to: &LogDestination,
        events: &[LogEvent],
        within: Duration,
    ) -> Result<Accepted, SinkError> {
        let mut batch = Vec::with_capacity(events.len());
        for event in events {
            let event = InputLogEvent::builder()
                .timestamp(event.timestamp.millis())
                .message(&event.message)
                .build()
                .map_err(|e| SinkError::Invalid(e.to_string()))?;
            batch.push(event);
        }
        let limit = TimeoutConfig::builder().operation_timeout(within).build();
        let answer = self
            .client
            .put_log_events()
            .log_group_name(&to.group)
            .log_stream_name(&to.stream)
            .set_log_events(Some(batch))
            .customize()
            .interceptor(NeedsBody)
            .config_override(Config::builder().timeout_config(limit))
            .send()
            .await;
        match answer {
            Ok(answer) => Ok(accepted(answer.rejected_log_events_info.as_ref(), events.len())),
            Err(error) => match failure(&error) {
                // The batch is in the log. The service says it gives this answer no more (API reference of
                // PutLogEvents); whatever imitates it may.
                Failure::Service { code, .. } if code == "DataAlreadyAcceptedException" => {
                    Ok(Accepted::default())
                }
                failure => Err(self.error(&failure, "logs:PutLogEvents", &to.to_string())),
            },
        }
    }

    /// The SDK's request holds a copy beside the body; the body alone is written from the messages themselves.
    fn copies(&self) -> usize {
        match self.wire {
            Wire::Raw => 2,
            Wire::Sdk => 3,
        }
    }

    async fn create_group(&self, group: &str, settings: &GroupSettings) -> Result<bool, SinkError> {
        self.create(group, settings).await
    }

    async fn put_retention(&self, group: &str, days: u16) -> Result<(), SinkError> {
        self.client
            .put_retention_policy()
            .log_group_name(group)
            .retention_in_days(i32::from(days))
            .send()
            .await
            .map(drop)
            .map_err(|e| self.error(&failure(&e), "logs:PutRetentionPolicy", group))
    }

    async fn describe_group(&self, group: &str) -> Result<GroupFound, SinkError> {
        self.describe(group).await
    }

    async fn group_tags(&self, arn: &str) -> Result<BTreeMap<String, String>, SinkError> {
        self.tags(arn).await
    }

    async fn tag_group(&self, arn: &str, tags: &BTreeMap<String, String>) -> Result<(), SinkError> {
        self.tag(arn, tags).await
    }

    async fn associate_key(&self, group: &str, key: &str) -> Result<(), SinkError> {
        self.associate(group, key).await
    }

    async fn create_stream(&self, to: &LogDestination) -> Result<(), SinkError> {
        let answer = self
            .client
            .create_log_stream()
            .log_group_name(&to.group)
            .log_stream_name(&to.stream)
            .send()
            .await;
        match answer {
            Ok(_) => Ok(()),
            Err(error) => match failure(&error) {
                failure if exists(&failure) => Ok(()),
                failure => Err(self.error(&failure, "logs:CreateLogStream", &to.to_string())),
            },
        }
    }

    /// API reference of GetLogEvents:
    /// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_GetLogEvents.html>.
    /// A page that is empty, or not full, is not the last one; a token that comes back unchanged is.
    async fn read_back(
        &self,
        from: &LogDestination,
        since: Timestamp,
        before: Option<&PageToken>,
        within: Duration,
    ) -> Result<EventPage, SinkError> {
        let limit = TimeoutConfig::builder().operation_timeout(within).build();
        let answer = self
            .client
            .get_log_events()
            .log_group_name(&from.group)
            .log_stream_name(&from.stream)
            .start_from_head(false)
            .start_time(since.millis().max(0))
            .set_next_token(before.map(|token| token.as_str().to_owned()))
            .customize()
            .interceptor(NeedsBody)
            .config_override(Config::builder().timeout_config(limit))
            .send()
            .await
            .map_err(|e| self.error(&failure(&e), "logs:GetLogEvents", &from.to_string()))?;
        let events = answer.events.unwrap_or_default().into_iter();
        Ok(EventPage {
            events: events
                .filter_map(|event| {
                    Some(LogEvent {
                        timestamp: Timestamp::from_millis(event.timestamp?),
                        message: event.message?,
                    })
                })
                .collect(),
            before: answer
                .next_backward_token
                .map(PageToken::new)
                .filter(|token| Some(token) != before),
        })
    }
}

fn exists(failure: &Failure) -> bool {
    matches!(failure, Failure::Service { code, .. } if code == "ResourceAlreadyExistsException")
}

/// Reads `rejectedLogEventsInfo` of a put of `count` events. An index beyond the put is brought back into
/// it: taken at its word, it would index past the events; a start at `count` rejects none.
fn accepted(info: Option<&RejectedLogEventsInfo>, count: usize) -> Accepted {
    let within = |index: Option<i32>| index.map(|i| usize::try_from(i).unwrap_or(0).min(count));
    let Some(info) = info else {
        return Accepted::default();
    };
    Accepted {
        too_new_from: within(info.too_new_log_event_start_index).filter(|from| *from < count),
        too_old_until: within(info.too_old_log_event_end_index).filter(|until| *until > 0),
        expired_until: within(info.expired_log_event_end_index).filter(|until| *until > 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::canned::{self, Canned};

    const WITHIN: Duration = Duration::from_secs(5);

    fn sink(canned: &Canned) -> CloudWatchLogs {
        CloudWatchLogs::new(Client::new(&canned.config()), Wire::Raw)
    }

    fn to() -> LogDestination {
        LogDestination {
            group: "/cdc/orders".to_owned(),
            stream: "s".to_owned(),
        }
    }

    fn events() -> Vec<LogEvent> {
        ["first", "second"]
            .map(|message| LogEvent {
                timestamp: Timestamp::from_millis(1000),
                message: message.to_owned(),
            })
            .into()
    }

    async fn put(answer: canned::Answer) -> Result<Accepted, SinkError> {
        sink(&Canned::new([answer])).put(&to(), &events(), WITHIN).await
    }

    #[tokio::test]
    async fn events_are_put_in_the_order_given() {
        let canned = Canned::new([canned::ok("{}")]);
        let accepted = sink(&canned).put(&to(), &events(), WITHIN).await.unwrap();
        assert_eq!(accepted, Accepted::default());
        let asked = &canned.asked()[0];
        assert!(
            asked.contains(r#"[{"timestamp":1000,"message":"first"},{"timestamp":1000,"message":"second"}]"#),
            "{asked}"
        );
    }

    #[test]
    fn rejected_ranges_stay_within_the_put() {
        let read = |new, old, expired| {
            let info = RejectedLogEventsInfo::builder()
                .set_too_new_log_event_start_index(new)
                .set_too_old_log_event_end_index(old)
                .set_expired_log_event_end_index(expired)
                .build();
            let a = accepted(Some(&info), 5);
            (a.too_new_from, a.too_old_until, a.expired_until)
        };
        for (given, want) in [
            ((Some(3), Some(1), Some(2)), (Some(3), Some(1), Some(2))),
            ((Some(0), Some(5), Some(5)), (Some(0), Some(5), Some(5))),
            ((Some(5), Some(0), Some(0)), (None, None, None)),
            ((Some(9), Some(9), Some(9)), (None, Some(5), Some(5))),
            ((Some(-1), Some(-1), Some(i32::MIN)), (Some(0), None, None)),
            ((None, None, None), (None, None, None)),
        ] {
            assert_eq!(read(given.0, given.1, given.2), want, "{given:?}");
        }
        assert_eq!(accepted(None, 5), Accepted::default());
    }

    #[tokio::test]
    async fn each_error_of_a_put_is_the_error_the_writer_acts_on() {
        for (answer, class) in [
            (canned::error(400, "ResourceNotFoundException"), "missing"),
            // Nothing says that an event is at fault.
            (canned::error(400, "InvalidParameterException"), "denied"),
            (canned::error(400, "SerializationException"), "invalid"),
            (canned::error(400, "ThrottlingException"), "throttled"),
            (canned::error(400, "LimitExceededException"), "throttled"),
            (canned::error(400, "AccessDeniedException"), "denied"),
            (canned::error(400, "UnrecognizedClientException"), "denied"),
            (canned::error(400, "InvalidSequenceTokenException"), "unavailable"),
            (canned::error(400, "OperationAbortedException"), "unavailable"),
            (canned::error(503, "ServiceUnavailableException"), "unavailable"),
            (canned::error(500, "InternalFailure"), "unanswered"),
            (canned::answer(504, "<html>"), "unanswered"),
            (canned::answer(403, "<html>"), "unavailable"),
            (canned::answer(200, "<html>"), "unanswered"),
            (canned::ok(""), "unanswered"),
        ] {
            let error = put(answer.clone()).await.unwrap_err();
            assert_eq!(error.class(), class, "{answer:?}: {error}");
        }
        let broken = sink(&Canned::default()).put(&to(), &events(), WITHIN).await;
        assert_eq!(broken.unwrap_err().class(), "unanswered");
    }

    #[tokio::test]
    async fn data_already_accepted_is_accepted() {
        let answer = canned::error(400, "DataAlreadyAcceptedException");
        assert_eq!(put(answer).await.unwrap(), Accepted::default());
    }

    #[tokio::test(start_paused = true)]
    async fn a_put_without_an_answer_ends_in_time_and_is_perhaps_applied() {
        let canned = Canned::new([canned::silence()]);
        let start = tokio::time::Instant::now();
        let error = sink(&canned).put(&to(), &events(), WITHIN).await.unwrap_err();
        assert_eq!(error.class(), "unanswered", "{error}");
        assert!(start.elapsed() >= WITHIN && start.elapsed() < WITHIN * 2);
    }

    #[tokio::test]
    async fn pages_go_back_until_a_token_repeats() {
        let canned = Canned::new([
            canned::ok(
                r#"{"events":[{"timestamp":7,"message":"x","ingestionTime":9}],"nextBackwardToken":"b/1","nextForwardToken":"f/1"}"#,
            ),
            // Empty, and not the end.
            canned::ok(r#"{"events":[],"nextBackwardToken":"b/2","nextForwardToken":"f/1"}"#),
            canned::ok(r#"{"events":[],"nextBackwardToken":"b/2","nextForwardToken":"f/1"}"#),
            canned::error(400, "ResourceNotFoundException"),
            canned::error(400, "AccessDeniedException"),
        ]);
        let sink = sink(&canned);
        let since = Timestamp::from_millis(5);
        let mut pages = Vec::new();
        let mut before = None;
        loop {
            let page = sink
                .read_back(&to(), since, before.as_ref(), WITHIN)
                .await
                .unwrap();
            pages.push(page.events);
            before = page.before;
            if before.is_none() {
                break;
            }
        }
        let event = LogEvent {
            timestamp: Timestamp::from_millis(7),
            message: "x".to_owned(),
        };
        assert_eq!(pages, [vec![event], vec![], vec![]]);
        let asked = canned.asked();
        for part in [r#""startTime":5"#, r#""startFromHead":false"#] {
            assert!(asked.iter().all(|a| a.contains(part)), "{part}: {asked:?}");
        }
        assert!(!asked[0].contains("nextToken") && asked[1].contains(r#""nextToken":"b/1""#));
        for class in ["missing", "denied"] {
            let error = sink.read_back(&to(), since, None, WITHIN).await.unwrap_err();
            assert_eq!(error.class(), class);
        }
    }

    #[tokio::test]
    async fn what_exists_already_is_created_already() {
        let exists = || canned::error(400, "ResourceAlreadyExistsException");
        let canned = Canned::new([canned::ok(""), exists(), exists()]);
        let sink = sink(&canned);
        assert!(sink.create_group("g", &GroupSettings::default()).await.unwrap());
        assert!(!sink.create_group("g", &GroupSettings::default()).await.unwrap());
        sink.create_stream(&to()).await.unwrap();
    }
}
