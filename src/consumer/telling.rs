//! What a consumer tells of its shard: to the metrics, and to whoever looks at the status.
//!
//! Owns the shard's report, which goes with the consumer. Decides nothing: [`lag`] counts, [`activity()`] chooses the
//! word.

use std::time::Duration;

use super::activity::{Hindrance, Seen, activity};
use super::lag::{self, Reads};
use super::{Consumer, Pipeline, TICK};
use crate::clock::Monotonic;
use crate::lease::item::checkpoint_text;
use crate::lease::{Checkpoint, Lease};
use crate::status::reports::{Activity, Reporter, ShardReport, Trouble};
use crate::stream::StreamArn;

/// What a consumer remembers for those who look.
pub(super) struct Telling {
    reporter: Reporter,
    pub(super) reads: Reads,
    /// Why the shard is not read on, until it is.
    pub(super) hindrance: Option<Hindrance>,
    /// When the oldest record was received that the checkpoint in the table doesn't cover.
    uncovered: Option<Monotonic>,
    /// It was asked to stop.
    pub(super) is_leaving: bool,
    /// Of a worker that ends when it has caught up: a record that is newer than its beginning was read.
    pub(super) is_past_the_beginning: bool,
}

impl Telling {
    pub(super) fn new(pipeline: &Pipeline, lease: &Lease, stream: &StreamArn) -> Self {
        let first = ShardReport {
            pipeline: pipeline.config.name.clone(),
            stream: stream.clone(),
            shard: lease.shard.clone(),
            activity: Activity::Starting,
            checkpoint: checkpoint_text(&lease.checkpoint).to_owned(),
            position: None,
            in_flight: 0,
            lag: None,
            until_trim: None,
            reached_tip: false,
            older_by: None,
        };
        Self {
            reporter: pipeline.reports.shard(&lease.key, first),
            reads: Reads::new(pipeline.clock.now()),
            hindrance: None,
            uncovered: None,
            is_leaving: false,
            is_past_the_beginning: false,
        }
    }

    /// A record was received: no checkpoint covers it yet.
    pub(super) fn received(&mut self, now: Monotonic) {
        self.uncovered.get_or_insert(now);
    }

    /// Of a worker that ends when it has caught up: a record was read that is so much older than its beginning.
    pub(super) fn read_older_by(&self, by: Duration) {
        self.reporter
            .tell(|report| report.older_by = report.older_by.max(Some(by)));
    }

    /// A checkpoint was written. What is `left` in flight, received then, it doesn't cover.
    pub(super) fn checkpointed(&mut self, checkpoint: &Checkpoint, left: Option<Monotonic>) {
        self.uncovered = left;
        let text = checkpoint_text(checkpoint).to_owned();
        self.reporter.tell(|report| report.checkpoint = text);
    }
}

impl Consumer {
    /// Tells how the shard is now. Called at each round, and while something else is waited for.
    pub(super) fn tell(&self) {
        let (now, wall) = (self.pipeline.clock.now(), self.pipeline.clock.wall());
        let reads = &self.telling.reads;
        let oldest = self.ledger.oldest();
        self.lane.settled(self.ledger.first_unfinished());
        let age = oldest.map(|oldest| lag::age(oldest, now, wall));
        let lag = reads.lag(now, age);
        let until_trim = reads.until_trim(now, age, self.pipeline.source.retention());
        let uncovered = self.telling.uncovered;
        let checkpoint_age = uncovered.map_or(Duration::ZERO, |since| now.since(since));
        self.accounts.behind(lag, until_trim, checkpoint_age);
        // A repeat or two is nothing that a shard waits for.
        let waits = oldest.filter(|oldest| now.since(oldest.received) >= TICK);
        let destination = waits.and_then(|_| {
            let first = self.ledger.first_unfinished();
            self.pipeline.sink.trouble(&self.lane, first)
        });
        let in_flight = self.accounts.in_flight();
        let activity = activity(Seen {
            is_leaving: self.telling.is_leaving,
            hindrance: self.telling.hindrance.clone(),
            is_full: self.is_full(),
            in_flight,
            destination,
            waits_for_memory: self.reader.memory.is_waited_for(),
            is_caught_up: reads.is_caught_up(now),
            is_read: reads.is_read(),
        });
        let position = self.last.as_ref().map(|last| last.sequence_number.as_str());
        self.telling.reporter.tell(|report| {
            report.activity = activity;
            if report.position.as_deref() != position {
                report.position = position.map(str::to_owned);
            }
            report.in_flight = in_flight;
            report.lag = Some(lag);
            report.until_trim = until_trim;
            report.reached_tip = reads.reached_tip() || self.telling.is_past_the_beginning;
        });
    }

    /// Something of this shard went wrong, be it mended soon or not.
    pub(super) fn trouble(&self, what: impl Into<String>) {
        let trouble = Trouble {
            at: self.pipeline.clock.wall(),
            part: self.part(),
            what: what.into(),
        };
        self.pipeline.reports.trouble(&self.pipeline.config.name, trouble);
    }
}
