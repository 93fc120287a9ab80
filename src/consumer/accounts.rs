//! One shard's entries in the metrics, such that the account adds up whatever ends the shard.

use std::time::Duration;

use prometheus::{GaugeVec, IntCounter, IntGauge};

use crate::decode::Skip;
use crate::ledger::Finished;
use crate::metrics::Metrics;
use crate::stream::SourceError;

/// Counts for one consumer. Dropping it gives what is still in flight back, and removes the shard's gauges.
pub(super) struct Accounts {
    metrics: Metrics,
    pipeline: String,
    shard: String,
    in_flight: i64,
    each: Each,
}

/// What every record is counted in, looked up once: to find it by its label takes longer than to count.
struct Each {
    records_received: IntCounter,
    bytes_received: IntCounter,
    records_in_flight: IntGauge,
    records_delivered: IntCounter,
    bytes_delivered: IntCounter,
}

impl Accounts {
    pub(super) fn new(metrics: &Metrics, pipeline: &str, shard: &str) -> Self {
        metrics.leases_held.with_label_values(&[pipeline]).inc();
        let p = &[pipeline];
        Self {
            each: Each {
                records_received: metrics.records_received.with_label_values(p),
                bytes_received: metrics.bytes_received.with_label_values(p),
                records_in_flight: metrics.records_in_flight.with_label_values(p),
                records_delivered: metrics.records_delivered.with_label_values(p),
                bytes_delivered: metrics.bytes_delivered.with_label_values(p),
            },
            metrics: metrics.clone(),
            pipeline: pipeline.to_owned(),
            shard: shard.to_owned(),
            in_flight: 0,
        }
    }

    pub(super) fn received(&mut self, bytes: usize) {
        self.each.records_received.inc();
        self.each.bytes_received.inc_by(bytes as u64);
        self.each.records_in_flight.inc();
        self.in_flight += 1;
    }

    fn landed(&mut self) {
        self.each.records_in_flight.dec();
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
    pub(super) fn filtered(&mut self, why: Skip, bytes: usize) {
        self.landed();
        let labels = [self.pipeline.as_str(), why.as_str()];
        self.metrics.records_filtered.with_label_values(&labels).inc();
        self.metrics
            .bytes_filtered
            .with_label_values(&labels)
            .inc_by(bytes as u64);
    }

    /// Events that the filter dropped, of a record that may keep others.
    pub(super) fn filtered_events(&self, count: u64) {
        if count == 0 {
            return;
        }
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

    /// A record's every event was accepted, at its destination or (one of them at least) among the dead letters.
    pub(super) fn finished(&mut self, finished: Finished) {
        self.landed();
        let (metrics, bytes) = (&self.metrics, finished.bytes as u64);
        match finished.refused {
            None => {
                self.each.records_delivered.inc();
                self.each.bytes_delivered.inc_by(bytes);
            }
            Some(reason) => {
                let labels = [self.pipeline.as_str(), reason.as_str()];
                metrics.records_dead_lettered.with_label_values(&labels).inc();
                metrics
                    .bytes_dead_lettered
                    .with_label_values(&labels)
                    .inc_by(bytes);
            }
        }
    }

    pub(super) fn read(&self) {
        self.metrics.reads.with_label_values(&[&self.pipeline]).inc();
    }

    /// Records received and not yet done with.
    pub(super) fn in_flight(&self) -> u64 {
        u64::try_from(self.in_flight).unwrap_or(0)
    }

    /// How far behind the log and the checkpoint are. What is not known has no series.
    pub(super) fn behind(&self, lag: Duration, until_trim: Option<Duration>, checkpoint_age: Duration) {
        let labels = [self.pipeline.as_str(), self.shard.as_str()];
        let gauge = |gauge: &GaugeVec, value: Duration| {
            gauge.with_label_values(&labels).set(value.as_secs_f64());
        };
        gauge(&self.metrics.shard_lag, lag);
        gauge(&self.metrics.shard_checkpoint_age, checkpoint_age);
        match until_trim {
            Some(left) => gauge(&self.metrics.shard_until_trim, left),
            // An error says that it was not known before either.
            None => drop(self.metrics.shard_until_trim.remove_label_values(&labels)),
        }
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
        self.metrics
            .records_given_back
            .with_label_values(p)
            .inc_by(self.in_flight());
        self.metrics.forget_shard(&self.pipeline, &self.shard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shards_series_go_with_its_task() {
        let metrics = Metrics::new();
        metrics.declare_pipeline("orders");
        let series = || {
            let text = metrics.render().unwrap();
            let of_shards = text.lines().filter(|line| line.contains("shard_id="));
            of_shards.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(series(), Vec::<String>::new());
        let accounts = Accounts::new(&metrics, "orders", "shardId-1");
        let other = Accounts::new(&metrics, "orders", "shardId-2");
        let hour = Duration::from_secs(3_600);
        accounts.behind(hour, None, hour);
        assert_eq!(
            series().len(),
            2,
            "what is not known has no series: {:?}",
            series()
        );
        for shard in [&accounts, &other] {
            shard.behind(hour, Some(hour), hour);
        }
        let with_a_shard = |described: &&crate::metrics::Described| described.labels.contains(&"shard_id");
        let all = Metrics::ALL.iter().filter(with_a_shard).count();
        assert_eq!(series().len(), 2 * all, "a new one is told, and goes, here too");
        drop(accounts);
        assert_eq!(series().len(), all);
        assert!(
            series().iter().all(|line| line.contains("shardId-2")),
            "{:?}",
            series()
        );
        drop(other);
        assert_eq!(series(), Vec::<String>::new());
    }
}
