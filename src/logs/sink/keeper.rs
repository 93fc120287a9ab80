//! The settings of a log group that may have been there before.
//!
//! Owns the look at it, once for each group and life of the worker, and the changes. Never holds up a delivery: what
//! can't be set is told, and tried again.

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::{info, warn};

use super::Context;
use crate::backoff::Backoff;
use crate::clock::timeout;
use crate::logs::SinkError;
use crate::logs::group::changes;

/// Between two tries, after the first few. PutRetentionPolicy is limited to 5 a second for an account and region.
const RETRY: Duration = Duration::from_secs(300);
/// Tries after which it goes slowly. The first ones may come before the group is made.
const QUICK_TRIES: u32 = 5;
/// Each request, so that one without an answer is no end.
const REQUEST: Duration = Duration::from_secs(20);

/// Makes the group as it is wished, however often it must be tried. Ends when nothing differs any more.
pub(super) async fn keep(context: Context, group: String, mut rng: fastrand::Rng) {
    let part = format!("log group {group}");
    let mut backoff = Backoff::default();
    loop {
        if context.fence.check().is_err() {
            return;
        }
        let problems = settle(&context, &group).await;
        if problems.is_empty() {
            context.readiness.solved(&part);
            return;
        }
        // A group that is missing is about to be created, with its settings, or a problem of the writers'.
        let told: Vec<String> = problems
            .iter()
            .filter(|(_, error)| !matches!(error, Some(SinkError::Missing(_))))
            .map(|(what, error)| match error {
                Some(error) => format!("{what}: {error}"),
                None => what.clone(),
            })
            .collect();
        let told = told.join("; ");
        if !told.is_empty() && context.readiness.problem(&part, told.clone()) {
            warn!(
                group,
                "the settings of a log group differ from those wished: {told}"
            );
        }
        let jittered = backoff.next(&mut rng);
        let slow = backoff.failures() > QUICK_TRIES;
        let wait = if slow { RETRY } else { Duration::from_secs(1) };
        context.clock.sleep(wait + jittered).await;
    }
}

/// One look and what it asks for. Tells what went wrong.
async fn settle(context: &Context, group: &str) -> Vec<(String, Option<SinkError>)> {
    let (raw, wished) = (&context.raw, &context.settings.group);
    let mut problems = Vec::new();
    let found = match bounded(context, raw.describe_group(group)).await {
        Ok(found) => found,
        Err(error) => return vec![("the group can't be looked at".to_owned(), Some(error))],
    };
    let tags = match wished.tags.is_empty() {
        true => Ok(BTreeMap::new()),
        false => bounded(context, raw.group_tags(&found.arn)).await,
    };
    // Unseen, they count as there: what is told to be missing is set, and nothing else.
    let tags = tags.unwrap_or_else(|error| {
        problems.push(("the group's tags can't be looked at".to_owned(), Some(error)));
        wished.tags.clone()
    });
    let changes = changes(wished, &found, &tags);
    if let Some(days) = changes.retention_days {
        match bounded(context, raw.put_retention(group, days)).await {
            Ok(()) => info!(group, days, "set the log group's retention"),
            Err(error) => problems.push((format!("retention_days {days} can't be set"), Some(error))),
        }
    }
    if let Some(key) = changes.kms_key {
        match bounded(context, raw.associate_key(group, &key)).await {
            Ok(()) => info!(group, key, "set the log group's key"),
            Err(error) => problems.push((format!("kms_key {key} can't be set"), Some(error))),
        }
    }
    if !changes.tags.is_empty() {
        let names: Vec<&str> = changes.tags.keys().map(String::as_str).collect();
        let names = names.join(", ");
        match bounded(context, raw.tag_group(&found.arn, &changes.tags)).await {
            Ok(()) => info!(group, tags = names, "set tags of the log group"),
            Err(error) => problems.push((format!("tags can't be set ({names})"), Some(error))),
        }
    }
    if changes.wrong_class {
        let what = "it has another `class` than is wished, and a group's class can't be changed: remove the key, or \
                    write to another group";
        problems.push((what.to_owned(), None));
    }
    problems
}

async fn bounded<T>(
    context: &Context,
    work: impl Future<Output = Result<T, SinkError>>,
) -> Result<T, SinkError> {
    match timeout(&*context.clock, REQUEST, work).await {
        Ok(done) => done,
        Err(_) => Err(SinkError::Unanswered(format!("within {REQUEST:?}"))),
    }
}
