//! One shard's entries in the metrics, such that the account adds up whatever ends the shard.

use std::time::Duration;

use crate::decode::Skip;
use crate::logs::batch::Refusal;
use crate::metrics::Metrics;
use crate::stream::SourceError;

/// Counts for one consumer. Dropping it gives what is still in flight back, and removes the shard's gauges.
pub(super) struct Accounts {
    metrics: Metrics,
    pipeline: String,
    shard: String,
    in_flight: i64,
}

impl Accounts {
    pub(super) fn new(metrics: &Metrics, pipeline: &str, shard: &str) -> Self {
        metrics.leases_held.with_label_values(&[pipeline]).inc();
        Self {
            metrics: metrics.clone(),
            pipeline: pipeline.to_owned(),
            shard: shard.to_owned(),
            in_flight: 0,
        }
    }

    pub(super) fn received(&mut self, bytes: usize) {
        let p = &[self.pipeline.as_str()];
        self.metrics.records_received.with_label_values(p).inc();
        self.metrics
            .bytes_received
            .with_label_values(p)
            .inc_by(bytes as u64);
        self.metrics.records_in_flight.with_label_values(p).inc();
        self.in_flight += 1;
    }

    fn landed(&mut self) {
        self.metrics
            .records_in_flight
            .with_label_values(&[&self.pipeline])
            .dec();
        self.in_flight -= 1;
    }

    pub(super) fn before_start(&mut self) {
        self.landed();
        self.metrics
            .records_before_start
            .with_label_values(&[&self.pipeline])
            .inc();
    }

    /// The record has no events, and is to have none.
    pub(super) fn filtered(&mut self, why: Skip) {
        self.landed();
        let labels = [self.pipeline.as_str(), why.as_str()];
        self.metrics.records_filtered.with_label_values(&labels).inc();
    }

    /// Events that the filter dropped, of a record that may keep others.
    pub(super) fn filtered_events(&self, count: u64) {
        let p = &[self.pipeline.as_str()];
        self.metrics.events_filtered.with_label_values(p).inc_by(count);
    }

    pub(super) fn damaged_aggregates(&self, count: u64) {
        let p = &[self.pipeline.as_str()];
        self.metrics.aggregates_damaged.with_label_values(p).inc_by(count);
    }

    pub(super) fn unparsed_lines(&self, count: u64) {
        if count == 0 {
            return;
        }
        let p = &[self.pipeline.as_str()];
        self.metrics
            .audit_lines_unparsed
            .with_label_values(p)
            .inc_by(count);
    }

    /// The log holds the record's every event: a dead worker put them.
    pub(super) fn already_delivered(&mut self) {
        self.landed();
        self.metrics
            .records_already_delivered
            .with_label_values(&[&self.pipeline])
            .inc();
    }

    /// A record's every event was accepted, at its destination or (`refusal`: one of them at least) among the dead
    /// letters.
    pub(super) fn finished(&mut self, refusal: Option<Refusal>) {
        self.landed();
        match refusal {
            None => self
                .metrics
                .records_delivered
                .with_label_values(&[&self.pipeline])
                .inc(),
            Some(reason) => {
                let labels = [self.pipeline.as_str(), reason.as_str()];
                self.metrics
                    .records_dead_lettered
                    .with_label_values(&labels)
                    .inc();
            }
        }
    }

    pub(super) fn read(&self) {
        self.metrics.reads.with_label_values(&[&self.pipeline]).inc();
    }

    pub(super) fn lag(&self, lag: Duration) {
        let gauge = self
            .metrics
            .shard_lag
            .with_label_values(&[&self.pipeline, &self.shard]);
        gauge.set(lag.as_secs_f64());
    }

    pub(super) fn checkpointed(&self) {
        self.metrics
            .checkpoints
            .with_label_values(&[&self.pipeline])
            .inc();
    }

    pub(super) fn source_error(&self, error: &SourceError) {
        self.metrics
            .source_errors
            .with_label_values(&[self.pipeline.as_str(), error.class()])
            .inc();
    }

    pub(super) fn gap(&self) {
        self.metrics.gaps.with_label_values(&[&self.pipeline]).inc();
    }

    pub(super) fn lost(&self) {
        self.metrics
            .leases_lost
            .with_label_values(&[&self.pipeline])
            .inc();
    }

    pub(super) fn shard_ended(&self) {
        self.metrics
            .shards_ended
            .with_label_values(&[&self.pipeline])
            .inc();
    }
}

impl Drop for Accounts {
    fn drop(&mut self) {
        let p = &[self.pipeline.as_str()];
        self.metrics.leases_held.with_label_values(p).dec();
        self.metrics
            .records_in_flight
            .with_label_values(p)
            .sub(self.in_flight);
        let given_back = u64::try_from(self.in_flight).unwrap_or(0);
        self.metrics
            .records_given_back
            .with_label_values(p)
            .inc_by(given_back);
        // An error says that no read ever set it.
        let _ = self
            .metrics
            .shard_lag
            .remove_label_values(&[&self.pipeline, &self.shard]);
    }
}
