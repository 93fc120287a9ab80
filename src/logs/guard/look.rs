//! Asks CloudWatch Logs what a destination's groups are delivered to.
//!
//! Owns the tries and their limit; what the answers mean is [`judge`]'s. `app` calls it before the worker starts,
//! and a consumer may when an event seems to come back.

use std::time::Duration;

use super::{Found, Verdict, fixed_group, judge};
use crate::backoff::Backoff;
use crate::clock::{Clock, timeout};
use crate::config::PipelineConfig;
use crate::logs::{SinkError, Subscriptions};
use crate::stream::StreamArn;

/// A request that failed for a passing reason is made this often.
const TRIES: u32 = 4;
/// Between two tries at least.
const PAUSE: Duration = Duration::from_millis(200);

/// Looks whether the destination of `pipeline` feeds `stream`. Takes `within` at most; what is not known by then
/// is [`Verdict::Unknown`].
pub async fn look(
    application: &str,
    pipeline: &PipelineConfig,
    stream: &StreamArn,
    logs: &dyn Subscriptions,
    clock: &dyn Clock,
    rng: &mut fastrand::Rng,
    within: Duration,
) -> Verdict {
    let group = fixed_group(application, pipeline, stream);
    let template = pipeline.destination.group.as_str();
    ask(template, group.as_deref(), stream, logs, clock, rng, within).await
}

/// Looks whether this one group feeds `stream`. Takes `within` at most, as [`look`] does.
pub async fn look_at(
    group: &str,
    stream: &StreamArn,
    logs: &dyn Subscriptions,
    clock: &dyn Clock,
    rng: &mut fastrand::Rng,
    within: Duration,
) -> Verdict {
    ask(group, Some(group), stream, logs, clock, rng, within).await
}

async fn ask(
    template: &str,
    group: Option<&str>,
    stream: &StreamArn,
    logs: &dyn Subscriptions,
    clock: &dyn Clock,
    rng: &mut fastrand::Rng,
    within: Duration,
) -> Verdict {
    let asked = async {
        let filters = match group {
            Some(group) => Some(tries(|| logs.filters(group), clock, rng).await),
            None => None,
        };
        Found {
            filters,
            policies: tries(|| logs.account_policies(), clock, rng).await,
        }
    };
    match timeout(clock, within, asked).await {
        Ok(found) => judge(stream, template, group, &found),
        Err(_) => Verdict::Unknown("CloudWatch Logs gave no answer in time".to_owned()),
    }
}

async fn tries<T, F: Future<Output = Result<T, SinkError>>>(
    ask: impl Fn() -> F,
    clock: &dyn Clock,
    rng: &mut fastrand::Rng,
) -> Result<T, SinkError> {
    let mut backoff = Backoff::default();
    loop {
        let answer = ask().await;
        let passes = matches!(
            answer,
            Err(SinkError::Throttled(_) | SinkError::Unanswered(_) | SinkError::Unavailable(_))
        );
        if !passes || backoff.failures() + 1 >= TRIES {
            return answer;
        }
        clock.sleep(backoff.next(rng) + PAUSE).await;
    }
}
