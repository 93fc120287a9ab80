//! Whether a group takes puts, tried without storing an event.
//!
//! Owns the requests; the judgement is `check`'s. The event that is put is older than the 14 days that CloudWatch Logs
//! takes (API reference of PutLogEvents): the request is accepted and the event is not. Where the group has no stream
//! that is known, the put goes to one that isn't there: IAM is asked before that is found out.

use std::time::Duration;

use aws_sdk_cloudwatchlogs::types::InputLogEvent;

use super::CloudWatchLogs;
use crate::aws::failure::{Failure, failure};
use crate::clock::Timestamp;

/// Of the event that is put: a day more than is taken.
const AGE: Duration = Duration::from_secs(15 * 24 * 3600);

/// A stream of this name is not there, as a rule. If it is, the event is too old for it too.
const NOWHERE: &str = "weir-check";

/// Who finds this in a log uses a service that is not AWS's.
const MESSAGE: &str = "weir check: an event that is too old to be stored";

/// What became of the put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutSeen {
    /// Accepted, and the event refused for its age: nothing was stored.
    TooOld,
    /// The service stored it all the same.
    Stored,
    /// The group is there, the stream is not.
    NoStream,
    NoGroup,
}

impl CloudWatchLogs {
    /// A PutLogEvents that stores nothing, to this stream of the group, or to any that it has.
    pub async fn put_nothing(
        &self,
        group: &str,
        stream: Option<&str>,
        now: Timestamp,
    ) -> Result<PutSeen, Failure> {
        let stream = match stream {
            Some(stream) => Some(stream.to_owned()),
            None => self.a_stream(group).await,
        };
        let event = InputLogEvent::builder()
            .timestamp(now.minus(AGE).millis())
            .message(MESSAGE)
            .build()
            .map_err(|e| Failure::Unavailable(e.to_string()))?;
        let put = self.client.put_log_events().log_group_name(group);
        let put = put
            .log_stream_name(stream.as_deref().unwrap_or(NOWHERE))
            .log_events(event);
        match put.send().await.map_err(|e| failure(&e)) {
            Ok(answer) => {
                let refused = answer.rejected_log_events_info.is_some_and(|info| {
                    info.too_old_log_event_end_index.is_some() || info.expired_log_event_end_index.is_some()
                });
                Ok(if refused { PutSeen::TooOld } else { PutSeen::Stored })
            }
            Err(Failure::Service { code, message }) if code == "ResourceNotFoundException" => {
                // "The specified log group does not exist." or "… log stream …".
                Ok(match message.contains("log stream") {
                    true => PutSeen::NoStream,
                    false => PutSeen::NoGroup,
                })
            }
            Err(failure) => Err(failure),
        }
    }

    /// Any stream of the group. Weir itself needs no permission for this: without it, none is known.
    async fn a_stream(&self, group: &str) -> Option<String> {
        let request = self.client.describe_log_streams().log_group_name(group);
        let answer = request.limit(1).send().await.ok()?;
        let streams = answer.log_streams.unwrap_or_default();
        streams.into_iter().find_map(|stream| stream.log_stream_name)
    }

    /// GetLogEvents, of a stream that isn't there: whether it is permitted.
    pub async fn read_nothing(&self, group: &str) -> Result<(), Failure> {
        let request = self.client.get_log_events().log_group_name(group);
        let request = request.log_stream_name(NOWHERE).limit(1);
        match request.send().await.map_err(|e| failure(&e)) {
            Err(Failure::Service { code, .. }) if code == "ResourceNotFoundException" => Ok(()),
            other => other.map(drop),
        }
    }
}
