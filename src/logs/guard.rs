//! Whether a log group feeds the stream that is written to it: each event would come round again for ever.
//!
//! Pure. Owns the judgement; [`look`] asks CloudWatch Logs, and `app` refuses to start on a [`Verdict::Loop`].
//! The dead letters lie in the same group as a rule; where they don't, their group is asked for, too.
//!
//! What a look can't see is a way over another account (a destination of CloudWatch Logs) or another service (a
//! Lambda function, Firehose), groups that only the records name, and filters that are made afterwards. For
//! those there is [`Guard::comes_back`], which a consumer asks of each envelope.

pub mod look;

use serde::Deserialize;

use crate::clock::Timestamp;
use crate::config::{DestinationConfig, PipelineConfig};
use crate::logs::{AccountPolicy, SinkError, SubscriptionFilter, address};
use crate::stream::StreamArn;

/// What CloudWatch Logs answered.
#[derive(Debug)]
pub struct Found {
    /// Of the group. `None`: there is no one group to ask for.
    pub filters: Option<Result<Vec<SubscriptionFilter>, SinkError>>,
    /// Of the account and region that the group is in.
    pub policies: Result<Vec<AccountPolicy>, SinkError>,
}

/// What is known of a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Loop(Loop),
    Clear,
    /// It can't be told; the reason is for people.
    Unknown(String),
}

/// The way an event comes round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loop {
    /// The group, or the template of its name.
    pub group: String,
    /// The name of the filter or policy.
    pub filter: String,
    pub kind: Kind,
    pub stream: String,
}

/// Whose filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The log group's own.
    Own,
    /// The account's, which holds for all its groups but those it leaves out.
    Account,
}

impl std::fmt::Display for Loop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            group,
            filter,
            kind,
            stream,
        } = self;
        match kind {
            Kind::Own => write!(
                f,
                "`{group}` feeds its own source: its subscription filter `{filter}` delivers to {stream}, and each \
                 event would come round again for ever: write to another group, or remove the filter"
            ),
            Kind::Account => write!(
                f,
                "`{group}` feeds its own source: the account's subscription filter policy `{filter}` delivers it to \
                 {stream}, and each event would come round again for ever: leave the group out of the policy, as in \
                 `LogGroupName NOT IN [\"{group}\"]`"
            ),
        }
    }
}

/// The one group that a pipeline writes to, where its template gives one: no field changes within the stream.
pub fn fixed_group(application: &str, pipeline: &PipelineConfig, stream: &StreamArn) -> Option<String> {
    let template = &pipeline.destination.group;
    let fields = address::of_stream(application, pipeline, stream);
    address::is_fixed(template)
        .then(|| template.render(&fields).ok())
        .flatten()
}

/// Judges the group that `template` names, `group` where it is a fixed one, by what was found of it.
pub fn judge(stream: &StreamArn, template: &str, group: Option<&str>, found: &Found) -> Verdict {
    let target = stream.service_arn();
    let closes = |filter: &str, kind| {
        Verdict::Loop(Loop {
            group: group.unwrap_or(template).to_owned(),
            filter: filter.to_owned(),
            kind,
            stream: target.to_owned(),
        })
    };
    let mut unknown: Option<String> = None;
    match &found.filters {
        Some(Ok(filters)) => {
            for filter in filters {
                if filter.destination_arn == target {
                    return closes(&filter.name, Kind::Own);
                }
                if is_elsewhere(&filter.destination_arn) {
                    let (name, to) = (&filter.name, &filter.destination_arn);
                    let why = format!(
                        "its subscription filter `{name}` delivers to {to}, which may deliver to the stream"
                    );
                    unknown.get_or_insert(why);
                }
            }
        }
        // It is created when the first event is put, and has no filter then.
        Some(Err(SinkError::Missing(_))) => {}
        Some(Err(error)) => {
            unknown.get_or_insert(unseen("logs:DescribeSubscriptionFilters", error));
        }
        None => {
            unknown.get_or_insert("its name differs from event to event".to_owned());
        }
    }
    match &found.policies {
        Ok(policies) => {
            for policy in policies {
                match reach(policy, target, group) {
                    Reach::Delivers => return closes(&policy.name, Kind::Account),
                    Reach::Unsure(why) => {
                        unknown.get_or_insert(why);
                    }
                    Reach::Not => {}
                }
            }
        }
        Err(error) => {
            unknown.get_or_insert(unseen("logs:DescribeAccountPolicies", error));
        }
    }
    match unknown {
        Some(why) => Verdict::Unknown(why),
        None => Verdict::Clear,
    }
}

fn unseen(action: &str, error: &SinkError) -> String {
    match error {
        SinkError::Denied(why) => format!("{action} is not permitted; grant it to have this checked ({why})"),
        other => format!("{action} gave no answer ({other})"),
    }
}

/// Whether it is a destination of CloudWatch Logs, perhaps in another account, behind which any stream may lie.
fn is_elsewhere(arn: &str) -> bool {
    let mut fields = arn.split(':').skip(2);
    fields.next() == Some("logs") && fields.nth(2) == Some("destination")
}

/// Whether a policy delivers a group to the stream.
enum Reach {
    Delivers,
    Not,
    Unsure(String),
}

/// The part of a subscription filter policy that matters here (API reference of PutAccountPolicy).
#[derive(Deserialize)]
struct Document {
    #[serde(rename = "DestinationArn")]
    destination_arn: String,
}

fn reach(policy: &AccountPolicy, target: &str, group: Option<&str>) -> Reach {
    let name = &policy.name;
    let Ok(document) = serde_json::from_str::<Document>(&policy.document) else {
        return Reach::Unsure(format!(
            "the account's subscription filter policy `{name}` can't be read"
        ));
    };
    let to = &document.destination_arn;
    if to != target && !is_elsewhere(to) {
        return Reach::Not;
    }
    let criteria = policy.selection_criteria.as_deref().unwrap_or_default();
    let Some(left_out) = left_out(criteria) else {
        return Reach::Unsure(format!(
            "the account's subscription filter policy `{name}` delivers to {to}, and which groups can't be told from its \
             criteria, `{criteria}`"
        ));
    };
    match group {
        Some(group) if left_out.iter().any(|out| out == group) => Reach::Not,
        _ if to != target => Reach::Unsure(format!(
            "the account's subscription filter policy `{name}` delivers to {to}, which may deliver to the stream"
        )),
        None if !left_out.is_empty() => Reach::Unsure(format!(
            "its name differs from event to event, and the account's subscription filter policy `{name}` delivers to the \
             stream all groups but {}",
            left_out.join(", ")
        )),
        _ => Reach::Delivers,
    }
}

/// The groups that a policy leaves out: `LogGroupName NOT IN ["a", "b"]`, the only form there is (API reference of
/// PutAccountPolicy). `None`: it is another.
fn left_out(criteria: &str) -> Option<Vec<String>> {
    let mut rest = criteria.trim();
    if rest.is_empty() {
        return Some(Vec::new());
    }
    for word in ["LogGroupName", "NOT", "IN"] {
        let head = rest.get(..word.len())?;
        if !head.eq_ignore_ascii_case(word) {
            return None;
        }
        rest = rest.get(word.len()..)?.trim_start();
    }
    serde_json::from_str(rest).ok()
}

/// What a pipeline keeps of the judgement. The default knows nothing, and suspects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// Since when it is known that the destination doesn't feed the stream. `None`: it isn't.
    pub clear_since: Option<Timestamp>,
    /// The account of the destination, where the settings tell it.
    account: Option<String>,
}

impl Guard {
    /// For a pipeline that reads this stream.
    pub fn new(pipeline: &PipelineConfig, stream: &StreamArn, verdict: &Verdict, now: Timestamp) -> Self {
        Self {
            clear_since: (*verdict == Verdict::Clear).then_some(now),
            account: account(pipeline, stream),
        }
    }

    /// Whether an event that CloudWatch Logs delivered from `from`, a group of the account `owner`, would be
    /// written to where it came from. Then it comes round again, unless it is a leftover: it `arrived` in the
    /// stream before it was known that the group doesn't feed it (any more).
    ///
    /// A filter that was removed may still deliver for hours what it had to retry. So whoever is told `true`
    /// looks again ([`look::look_at`]) before anything is stopped.
    ///
    /// Two accounts may have groups of one name. Where the account of the destination isn't known, the name
    /// decides.
    pub fn comes_back(&self, owner: &str, from: &str, to: &str, arrived: Option<Timestamp>) -> bool {
        let is_same_account = self.account.as_deref().is_none_or(|account| account == owner);
        let is_leftover = self
            .clear_since
            .zip(arrived)
            .is_some_and(|(since, arrived)| arrived < since);
        from == to && is_same_account && !is_leftover
    }
}

/// The account that a pipeline writes to: that of the role it takes on; without one the process's own, which is
/// the stream's if that is read without a role, too, and by its name.
fn account(pipeline: &PipelineConfig, stream: &StreamArn) -> Option<String> {
    let DestinationConfig { aws, .. } = &pipeline.destination;
    let account = match &aws.assume_role_arn {
        Some(role) => role.split(':').nth(4),
        None => {
            let source = &pipeline.source;
            let is_own = source.aws.assume_role_arn.is_none()
                && matches!(source.stream, crate::config::StreamChoice::Kinesis(_));
            stream.account().filter(|_| is_own)
        }
    };
    account.map(str::to_owned)
}

#[cfg(test)]
mod tests;
