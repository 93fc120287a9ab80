//! An event came from a group that this pipeline writes to: does what it writes come round again?

use std::time::Duration;

use tracing::{debug, error};

use super::Consumer;
use super::activity::Hindrance;
use crate::logs::guard::Verdict;
use crate::logs::guard::look::look_at;

/// How long a look at the filters of a group may take, for how long what it saw is believed…
const LOOK: Duration = Duration::from_secs(10);
const CLEAR_FOR: Duration = Duration::from_secs(60);
/// …and when it is repeated while it shows a circle, or nothing.
const RELOOK: Duration = Duration::from_secs(30);

impl Consumer {
    /// What to do about an event that came back: how long to wait before it is read again.
    pub(super) async fn suspect(&mut self, group: &str) -> Duration {
        let (name, stream) = (&self.pipeline.config.name, self.stream.service_arn());
        let looked = match &self.pipeline.subscriptions {
            Some(subscriptions) => {
                let (clock, mut rng) = (self.pipeline.clock.clone(), self.rng.fork());
                let look = look_at(group, &self.stream, &**subscriptions, &*clock, &mut rng, LOOK);
                self.attend(LOOK, look).await
            }
            None => None,
        };
        let why = match looked {
            Some(Verdict::Clear) => {
                debug!(pipeline = %name, group, "an event came from a group that this pipeline writes to; no filter brings it back");
                let until = self.pipeline.clock.wall().plus(CLEAR_FOR);
                self.destinations.is_clear(group, until);
                return Duration::ZERO;
            }
            Some(Verdict::Loop(found)) => format!(
                "subscription filter `{}` of {group} delivers to {stream}",
                found.filter
            ),
            Some(Verdict::Unknown(why)) => {
                format!("whether a subscription filter does it can't be seen: {why}")
            }
            None => "whether a subscription filter does it could not be asked in time".to_owned(),
        };
        let problem = format!(
            "pipeline {name} writes to the log group {group}, and events of {group} come back through {stream}: nothing more is \
             read, since each round would multiply them ({why}). Remove the filter, or let the pipeline write to another \
             group; it is looked at again each {RELOOK:?}"
        );
        if self.pipeline.readiness.problem(&self.part(), problem.clone()) {
            error!(lease = %self.key, shard_id = %self.reader.shard, "{problem}");
        }
        self.troubled = true;
        self.trouble(problem);
        self.telling.reads.failed();
        self.telling.hindrance = Some(Hindrance::CameBack {
            group: group.to_owned(),
        });
        RELOOK
    }
}
