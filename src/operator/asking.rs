//! Requests that are repeated while they fail for a moment.

use std::time::Duration;

use super::{MOST_REPEATS, Tell};
use crate::backoff::Backoff;
use crate::clock::{Clock, Timestamp};
use crate::logs::{EventPage, LogDestination, LogEvent, LogSink, SinkError};
use crate::stream::SourceError;

/// How long one request to CloudWatch Logs may take.
pub(super) const REQUEST: Duration = Duration::from_secs(10);
/// How often a request that a stream throttles is repeated: its shards are a worker's first of all. Some minutes.
const PATIENCE: u32 = 60;

/// What repeating takes.
pub(super) struct Asking<'a> {
    pub clock: &'a dyn Clock,
    pub rng: &'a mut fastrand::Rng,
    pub tell: &'a Tell,
}

impl Asking<'_> {
    /// A request to CloudWatch Logs.
    pub async fn logs<T>(&mut self, request: impl AsyncFn() -> Result<T, SinkError>) -> Result<T, SinkError> {
        let mut backoff = Backoff::default();
        loop {
            let answer = request().await;
            let passes = matches!(
                answer,
                Err(SinkError::Throttled(_) | SinkError::Unanswered(_) | SinkError::Unavailable(_))
            );
            if !passes || backoff.failures() >= MOST_REPEATS {
                return answer;
            }
            if let (0, Err(error)) = (backoff.failures(), &answer) {
                (self.tell)(&format!("{error}; repeating"));
            }
            self.clock.sleep(backoff.next(self.rng)).await;
        }
    }

    /// A request to a stream.
    pub async fn stream<T>(
        &mut self,
        request: impl AsyncFn() -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        let mut backoff = Backoff::default();
        loop {
            let answer = request().await;
            let most = match answer {
                Err(SourceError::Throttled(_)) => PATIENCE,
                Err(SourceError::Unavailable(_)) => MOST_REPEATS,
                _ => 0,
            };
            if backoff.failures() >= most {
                return answer;
            }
            if let (0, Err(error)) = (backoff.failures(), &answer) {
                (self.tell)(&format!("{error}; repeating"));
            }
            self.clock.sleep(backoff.next(self.rng)).await;
        }
    }

    /// Hands over all events of a log stream that are not older than `since`, a page at a time, the newest page
    /// first. `false`: the stream, or its group, doesn't exist.
    pub async fn events(
        &mut self,
        logs: &dyn LogSink,
        from: &LogDestination,
        since: Timestamp,
        mut take: impl FnMut(&[LogEvent]),
    ) -> Result<bool, SinkError> {
        let mut before = None;
        loop {
            let page = self
                .logs(async || logs.read_back(from, since, before.as_ref(), REQUEST).await)
                .await;
            let EventPage { events, before: next } = match page {
                Err(SinkError::Missing(_)) => return Ok(false),
                page => page?,
            };
            take(&events);
            before = next;
            if before.is_none() {
                return Ok(true);
            }
        }
    }
}
