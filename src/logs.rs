//! What CloudWatch Logs is to Weir: destinations, events, and the trait a store of them implements.
//!
//! Owns the nouns and [`LogSink`], the raw store: one request each, no retries, no decisions.
//! [`sink::Sink`] over it is the only thing that mints a [`sink::Delivered`].

pub mod address;
pub mod allow;
pub mod batch;
pub mod circuit;
pub mod cloudwatch;
pub mod dead_letter;
pub mod group;
pub mod guard;
pub mod lookup;
pub mod oversize;
pub mod pace;
pub mod sink;
pub mod template;
pub mod untimely;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;

use crate::clock::Timestamp;
use batch::Refusal;
use group::{GroupFound, GroupSettings};

/// One log stream of one log group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogDestination {
    pub group: String,
    pub stream: String,
}

impl std::fmt::Display for LogDestination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.group, self.stream)
    }
}

/// One event, as PutLogEvents takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEvent {
    pub timestamp: Timestamp,
    pub message: String,
}

/// An accepted put. Events outside these ranges are in the log; those inside were refused one by one.
/// Indices count the events of the put in the order sent (`rejectedLogEventsInfo`, API reference of PutLogEvents).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// `tooNewLogEventStartIndex`, inclusive: this event and all after it.
    pub too_new_from: Option<usize>,
    /// `tooOldLogEventEndIndex`, exclusive: all events before it.
    pub too_old_until: Option<usize>,
    /// `expiredLogEventEndIndex`, taken as exclusive: all events before it.
    pub expired_until: Option<usize>,
}

impl Accepted {
    /// Why the event at `at` was refused, if it was.
    pub fn refusal(self, at: usize) -> Option<Refusal> {
        if self.expired_until.is_some_and(|end| at < end) {
            Some(Refusal::Expired)
        } else if self.too_old_until.is_some_and(|end| at < end) {
            Some(Refusal::TooOld)
        } else if self.too_new_from.is_some_and(|start| at >= start) {
            Some(Refusal::TooNew)
        } else {
            None
        }
    }
}

/// Where a stream is read back from. Opaque.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageToken(String);

impl PageToken {
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Some events of a stream. A page may hold few or none, and others follow all the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventPage {
    /// Oldest first.
    pub events: Vec<LogEvent>,
    /// Where the page before this one is; `None` at the beginning of what was asked for.
    pub before: Option<PageToken>,
}

/// Why a request failed. One variant for each different action of the caller.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The group or the stream does not exist: create them, then put again.
    #[error("not found: {0}")]
    Missing(String),
    /// The batch as a whole was refused for what is in it, whatever the destination: bisect.
    #[error("refused: {0}")]
    Invalid(String),
    /// Not applied. Slow down and put again.
    #[error("throttled: {0}")]
    Throttled(String),
    /// A person must act; keep retrying meanwhile, and say what to fix.
    #[error("{0}")]
    Denied(String),
    /// Perhaps applied. Put again, and count a possible repeat.
    #[error("no answer: {0}")]
    Unanswered(String),
    /// Not applied: a 5xx, a refused connection. Put again.
    #[error("unavailable: {0}")]
    Unavailable(String),
}

impl SinkError {
    /// Every class.
    pub const CLASSES: [&str; 6] = [
        "missing",
        "invalid",
        "throttled",
        "denied",
        "unanswered",
        "unavailable",
    ];

    /// The class, for a metric's label.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Missing(_) => "missing",
            Self::Invalid(_) => "invalid",
            Self::Throttled(_) => "throttled",
            Self::Denied(_) => "denied",
            Self::Unanswered(_) => "unanswered",
            Self::Unavailable(_) => "unavailable",
        }
    }
}

/// A subscription filter of a log group: it delivers the group's events elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionFilter {
    pub name: String,
    pub destination_arn: String,
}

/// A subscription filter policy of an account: it delivers the events of all its groups in a region elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountPolicy {
    pub name: String,
    /// JSON.
    pub document: String,
    /// Which groups. `None`: all.
    pub selection_criteria: Option<String>,
}

/// What CloudWatch Logs delivers elsewhere. No method retries.
#[async_trait]
pub trait Subscriptions: Send + Sync + 'static {
    /// Every subscription filter of the group. A missing group is [`SinkError::Missing`].
    async fn filters(&self, group: &str) -> Result<Vec<SubscriptionFilter>, SinkError>;

    /// Every subscription filter policy of the account and region.
    async fn account_policies(&self) -> Result<Vec<AccountPolicy>, SinkError>;
}

/// CloudWatch Logs, raw.
#[async_trait]
pub trait LogSink: Send + Sync + 'static {
    /// One PutLogEvents of at least one event, sorted by timestamp, within the rules of [`batch`].
    /// Gives up after `within`; a request on its way may still be applied then.
    async fn put(
        &self,
        to: &LogDestination,
        events: &[LogEvent],
        within: Duration,
    ) -> Result<Accepted, SinkError>;

    /// How often a message is in memory while it is put, for the budget: as it is, and what is made of it for a
    /// request.
    fn copies(&self) -> usize {
        3
    }

    /// Creates the group with its key, its tags and its class. `false` if it exists already.
    async fn create_group(&self, group: &str, settings: &GroupSettings) -> Result<bool, SinkError>;

    /// Sets the group's retention.
    async fn put_retention(&self, group: &str, days: u16) -> Result<(), SinkError>;

    /// What the group is like. One that isn't there is [`SinkError::Missing`].
    async fn describe_group(&self, group: &str) -> Result<GroupFound, SinkError>;

    /// The tags of the group of this ARN.
    async fn group_tags(&self, arn: &str) -> Result<BTreeMap<String, String>, SinkError>;

    /// Sets these tags of the group of this ARN; others stay.
    async fn tag_group(&self, arn: &str, tags: &BTreeMap<String, String>) -> Result<(), SinkError>;

    /// Encrypts what will come into the group with the key of this ARN.
    async fn associate_key(&self, group: &str, key: &str) -> Result<(), SinkError>;

    /// Creates the stream. A stream that exists is a success; a missing group is [`SinkError::Missing`].
    async fn create_stream(&self, to: &LogDestination) -> Result<(), SinkError>;

    /// One GetLogEvents: the newest events of the stream that are not older than `since`, or those before
    /// an earlier page, at most 10,000 and 1 MB of them. What was put a few seconds ago may not be among
    /// them yet. A missing group or stream is [`SinkError::Missing`]. Gives up after `within`.
    async fn read_back(
        &self,
        from: &LogDestination,
        since: Timestamp,
        before: Option<&PageToken>,
        within: Duration,
    ) -> Result<EventPage, SinkError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_a_class_of_its_own() {
        let text = String::new;
        let errors = [
            SinkError::Missing(text()),
            SinkError::Invalid(text()),
            SinkError::Throttled(text()),
            SinkError::Denied(text()),
            SinkError::Unanswered(text()),
            SinkError::Unavailable(text()),
        ];
        assert_eq!(errors.map(|error| error.class()), SinkError::CLASSES);
    }

    #[test]
    fn rejections_are_mapped_inclusive_and_exclusive_as_aws_counts() {
        let accepted = Accepted {
            too_new_from: Some(7),
            too_old_until: Some(3),
            expired_until: Some(1),
        };
        let got: Vec<_> = (0..9).map(|at| accepted.refusal(at)).collect();
        let (e, o, n) = (
            Some(Refusal::Expired),
            Some(Refusal::TooOld),
            Some(Refusal::TooNew),
        );
        assert_eq!(got, [e, o, o, None, None, None, None, n, n]);
        assert_eq!(Accepted::default().refusal(0), None);
    }
}
