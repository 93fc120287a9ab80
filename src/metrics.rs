//! Every metric of the process, in one struct. The doc comment of a field is its help text: written for
//! the person who is paged.
//!
//! Labels are bounded: a pipeline's name, a class of an enum. A shard's id stands only on gauges that go
//! with its lease.

pub mod account;

mod family;
#[cfg(test)]
mod page;
pub mod process;

use prometheus::{Encoder, GaugeVec, HistogramVec, IntCounterVec, IntGaugeVec, Registry, TextEncoder};

pub use family::Described;
use family::{BYTES, EVENTS, Family, SECONDS};

macro_rules! metrics {
    ($(#[doc = $help:literal] $field:ident: $kind:ident = $name:literal [$($label:literal),*] $(in $buckets:ident)?;)*) => {
        /// All metrics. Cheap to clone; the clones share their values.
        #[derive(Clone, Debug)]
        pub struct Metrics {
            registry: Registry,
            $(#[doc = $help] pub $field: $kind,)*
        }

        impl Metrics {
            /// Every metric of Weir's own, in the order of this file.
            pub const ALL: &[Described] = &[
                $(Described {
                    name: $name,
                    kind: <$kind as Family>::KIND,
                    labels: &[$($label),*],
                    help: $help.trim_ascii(),
                },)*
            ];

            fn build() -> prometheus::Result<Self> {
                let registry = Registry::new();
                registry.register(Box::new(process::Process::new()?))?;
                $(
                    let buckets: &[f64] = &[];
                    $(let buckets = { let _ = buckets; $buckets };)?
                    let $field = <$kind as Family>::make($name, $help.trim(), &[$($label),*], buckets)?;
                    registry.register(Box::new($field.clone()))?;
                )*
                Ok(Self { registry, $($field,)* })
            }
        }
    };
}

metrics! {
    /// Records read from the stream. Equals delivered + filtered + before_start + already_delivered + dead_lettered + given_back + in_flight.
    records_received: IntCounterVec = "weir_records_received_total" ["pipeline"];
    /// Records whose every log event CloudWatch Logs accepted.
    records_delivered: IntCounterVec = "weir_records_delivered_total" ["pipeline"];
    /// Records older than the configured start, dropped as asked.
    records_before_start: IntCounterVec = "weir_records_before_start_total" ["pipeline"];
    /// Records that have no log events, by why: `control_message`s of CloudWatch Logs, envelopes of `nothing`, a `message_type` that the settings skip, a `filter` that dropped their every event.
    records_filtered: IntCounterVec = "weir_records_filtered_total" ["pipeline", "reason"];
    /// Log events that the pipeline's `filter` dropped, of records that keep others and of those that keep none (which weir_records_filtered_total counts too, as `filter`).
    events_filtered: IntCounterVec = "weir_events_filtered_total" ["pipeline"];
    /// Records left out because a dead worker had delivered them already: after a take-over their every event was found in the log.
    records_already_delivered: IntCounterVec = "weir_records_already_delivered_total" ["pipeline"];
    /// Records written to the dead-letter stream instead of their destination, by reason. Look there.
    records_dead_lettered: IntCounterVec = "weir_records_dead_lettered_total" ["pipeline", "reason"];
    /// Records read and then left, undelivered, to the shard's next owner, who reads them again (a lost lease, a drain at its limit).
    records_given_back: IntCounterVec = "weir_records_given_back_total" ["pipeline"];
    /// Records read and not yet accepted. Flat and high: the destination is slow or refuses; see weir_put_errors_total.
    records_in_flight: IntGaugeVec = "weir_records_in_flight" ["pipeline"];
    /// Bytes of records read from the stream.
    bytes_received: IntCounterVec = "weir_received_bytes_total" ["pipeline"];
    /// Bytes of records whose every log event CloudWatch Logs accepted, as the stream had them.
    bytes_delivered: IntCounterVec = "weir_delivered_bytes_total" ["pipeline"];
    /// Bytes of records that have no log events, by why: see weir_records_filtered_total.
    bytes_filtered: IntCounterVec = "weir_filtered_bytes_total" ["pipeline", "reason"];
    /// Bytes of records written to the dead-letter stream, by reason: see weir_records_dead_lettered_total.
    bytes_dead_lettered: IntCounterVec = "weir_dead_lettered_bytes_total" ["pipeline", "reason"];
    /// Records received that are nothing of what weir_records_received_total lists. Other than 0 for minutes: a fault of Weir's; report it.
    records_unaccounted: IntGaugeVec = "weir_records_unaccounted" ["pipeline"];
    /// Aggregates of the Kinesis Producer Library that are damaged. Each is delivered as the plain record that it then is.
    aggregates_damaged: IntCounterVec = "weir_aggregates_damaged_total" ["pipeline"];
    /// Lines that were to be audit lines and could not be parsed. Each is delivered, with the reason, under `message` and `error`.
    audit_lines_unparsed: IntCounterVec = "weir_audit_lines_unparsed_total" ["pipeline"];
    /// Bytes of the memory budget in use by records in flight.
    buffer_bytes: IntGaugeVec = "weir_buffer_bytes" ["pipeline"];
    /// The most of the memory budget that this pipeline may use: its own part, and the part that all share.
    buffer_limit_bytes: IntGaugeVec = "weir_buffer_limit_bytes" ["pipeline"];
    /// Gaps: places where the stream trimmed records before they were read. Those records are lost; each gap has a row in the fleet table.
    gaps: IntCounterVec = "weir_trimmed_gaps_total" ["pipeline"];
    /// Read requests (GetRecords) answered.
    reads: IntCounterVec = "weir_reads_total" ["pipeline"];
    /// Requests to the stream that failed, by class. They are repeated.
    source_errors: IntCounterVec = "weir_source_errors_total" ["pipeline", "class"];
    /// Log events CloudWatch Logs accepted.
    events_accepted: IntCounterVec = "weir_events_accepted_total" ["pipeline"];
    /// Log events larger than CloudWatch Logs takes, told in parts or by their beginning, as `oversize` says.
    events_oversize: IntCounterVec = "weir_events_oversize_total" ["pipeline"];
    /// Log events refused for their time and put at the time of the put, as `too_old` and `too_new` say.
    events_restamped: IntCounterVec = "weir_events_restamped_total" ["pipeline"];
    /// Log groups whose writers wait for one of them to get through: denied, missing or throttled for long. See the problems of /readyz.
    destinations_held: IntGaugeVec = "weir_destinations_held" ["pipeline"];
    /// PutLogEvents requests that were accepted.
    puts: IntCounterVec = "weir_puts_total" ["pipeline"];
    /// PutLogEvents requests that were put again after they failed. High beside weir_puts_total: see the classes of weir_put_errors_total.
    put_retries: IntCounterVec = "weir_put_retries_total" ["pipeline"];
    /// How long PutLogEvents took, in seconds, answered or not.
    put_seconds: HistogramVec = "weir_put_seconds" ["pipeline"] in SECONDS;
    /// Log events of each accepted PutLogEvents. Ones and twos under load cost requests: shards whose streams are many get few events each.
    put_events: HistogramVec = "weir_put_events" ["pipeline"] in EVENTS;
    /// Bytes of each accepted PutLogEvents, as CloudWatch Logs counts (and bills) them.
    put_bytes: HistogramVec = "weir_put_bytes" ["pipeline"] in BYTES;
    /// PutLogEvents and Create requests that failed, by class. They are repeated. `denied` needs you, and so does `missing` that goes on; one `missing` comes with each stream that is created.
    put_errors: IntCounterVec = "weir_put_errors_total" ["pipeline", "class"];
    /// Log events put again after a put whose answer was lost: they may stand twice in the log. What a crash repeats is not counted here.
    events_possibly_repeated: IntCounterVec = "weir_events_possibly_repeated_total" ["pipeline"];
    /// Look-ups, at take-overs from dead workers, of what these had delivered, by outcome. After `partial` and `failed` the rest, or all, of what was sent since the last checkpoint is repeated; the log says why.
    look_ups: IntCounterVec = "weir_look_ups_total" ["pipeline", "outcome"];
    /// Shards this worker reads now.
    leases_held: IntGaugeVec = "weir_leases_held" ["pipeline"];
    /// Shards this worker should read: its share of those that can be read. Above weir_leases_held for minutes: leases can't be taken; see the log.
    leases_wanted: IntGaugeVec = "weir_leases_wanted" ["pipeline"];
    /// Shards that nobody reads although they have records to come, as the pipeline's caretaker sees them, by why: `parent` isn't read to its end yet, `unowned` waits for a worker, `paused` by a person. `unowned` above 0 for minutes: a shard is stuck.
    shards_unread: IntGaugeVec = "weir_shards_unread" ["pipeline", "why"];
    /// Leases taken, by why: `free` had no owner, `dead` belonged to a worker found dead, `own` to a task of this worker that was ended.
    leases_taken: IntCounterVec = "weir_leases_taken_total" ["pipeline", "from"];
    /// Leases handed over to another worker: for the balance of the fleet, or because this one is leaving.
    leases_handed_over: IntCounterVec = "weir_leases_handed_over_total" ["pipeline"];
    /// Leases another worker took from this one. Grows only after a fence or a pause.
    leases_lost: IntCounterVec = "weir_leases_lost_total" ["pipeline"];
    /// Shards read to their end.
    shards_ended: IntCounterVec = "weir_shards_ended_total" ["pipeline"];
    /// Checkpoints written.
    checkpoints: IntCounterVec = "weir_checkpoints_total" ["pipeline"];
    /// How far the log is behind the stream, in seconds: the age of the shard's oldest record that is not delivered; with none, how far the last read was behind the newest record, and the time since that read once it is late. 0 when all is delivered. Of a shard that could not be read yet, the time since this worker has it.
    shard_lag: GaugeVec = "weir_shard_lag_seconds" ["pipeline", "shard_id"];
    /// The largest lag of the pipeline that this worker knows of: of the shards it reads, and, if it is the pipeline's caretaker, of those that nobody reads. Take the maximum over the workers.
    pipeline_lag: GaugeVec = "weir_pipeline_lag_seconds" ["pipeline"];
    /// Seconds until the stream trims a record of this shard that is not delivered. All that is left when nothing waits is the stream's retention. Below an hour: act now; at 0 data is lost.
    shard_until_trim: GaugeVec = "weir_shard_until_trim_seconds" ["pipeline", "shard_id"];
    /// The least time until the stream trims a record that is not delivered, of the shards this worker reads. Take the minimum over the workers.
    pipeline_until_trim: GaugeVec = "weir_pipeline_until_trim_seconds" ["pipeline"];
    /// How long ago the oldest record was read that the shard's checkpoint doesn't cover, in seconds. 0 when it covers all. Above a minute (or a longer `checkpoint.interval`): the destination doesn't accept, or the lease table can't be written.
    shard_checkpoint_age: GaugeVec = "weir_shard_checkpoint_age_seconds" ["pipeline", "shard_id"];
    /// Requests to the state tables that failed, by class. They are repeated.
    table_errors: IntCounterVec = "weir_table_errors_total" ["class"];
    /// Requests to AWS that were answered or given up, by service, operation and class: `ok`, or why not. Each attempt counts. `conflict` and `expired_iterator` are everyday business; `denied` and `not_found` that go on need you, the others AWS or the network.
    aws_requests: IntCounterVec = "weir_aws_requests_total" ["service", "operation", "class"];
    /// How long requests to AWS took, in seconds, by service and operation.
    aws_request_seconds: HistogramVec = "weir_aws_request_seconds" ["service", "operation"] in SECONDS;
    /// Heartbeats written.
    heartbeats: IntCounterVec = "weir_heartbeats_total" [];
    /// Times this worker fenced itself: it could not write its heartbeat in time, stopped everything and joined anew.
    fences: IntCounterVec = "weir_fences_total" [];
    /// Workers this one found dead and evicted.
    evictions: IntCounterVec = "weir_evictions_total" [];
    /// Shard tasks ended because they made no progress. A bug, or a stuck machine: report it.
    hung_shards: IntCounterVec = "weir_hung_shards_total" ["pipeline"];
    /// Things that a person should fix, as /readyz lists them under `problems`: a denied permission, a missing table or stream, a destination that refuses. Alert when it stays above 0.
    problems: IntGaugeVec = "weir_problems" [];
    /// Finished spans of traces, by what became of them: `sent`, or dropped because the collector `failed`, took the others alone (`rejected`), or the queue to it was full (`queue_full`). Nothing while no traces are sent.
    trace_spans: IntCounterVec = "weir_trace_spans_total" ["outcome"];
    /// Always 1; the version is in the label.
    build_info: IntGaugeVec = "weir_build_info" ["version"];
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    pub fn new() -> Self {
        #[expect(
            clippy::expect_used,
            reason = "fails only for a name written wrong above; every test would show it"
        )]
        let metrics = Self::build().expect("the metrics' names and labels are valid and different");
        metrics
            .build_info
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        metrics
    }

    /// Makes a pipeline's series exist at zero, so that a rate over them is right from the first event.
    pub fn declare_pipeline(&self, pipeline: &str) {
        let p = &[pipeline];
        for counter in [
            &self.records_received,
            &self.records_delivered,
            &self.records_before_start,
            &self.events_filtered,
            &self.records_already_delivered,
            &self.records_given_back,
            &self.bytes_received,
            &self.bytes_delivered,
            &self.aggregates_damaged,
            &self.audit_lines_unparsed,
            &self.gaps,
            &self.reads,
            &self.events_accepted,
            &self.events_oversize,
            &self.events_restamped,
            &self.puts,
            &self.put_retries,
            &self.events_possibly_repeated,
            &self.leases_lost,
            &self.shards_ended,
            &self.checkpoints,
            &self.hung_shards,
        ] {
            counter.with_label_values(p);
        }
        for histogram in [&self.put_seconds, &self.put_events, &self.put_bytes] {
            histogram.with_label_values(p);
        }
        for gauge in [
            &self.records_in_flight,
            &self.buffer_bytes,
            &self.leases_held,
            &self.records_unaccounted,
            &self.destinations_held,
        ] {
            gauge.with_label_values(p);
        }
        for reason in crate::logs::batch::Refusal::ALL {
            self.records_dead_lettered
                .with_label_values(&[pipeline, reason.as_str()]);
            self.bytes_dead_lettered
                .with_label_values(&[pipeline, reason.as_str()]);
        }
        for reason in crate::decode::Skip::ALL {
            self.records_filtered
                .with_label_values(&[pipeline, reason.as_str()]);
            self.bytes_filtered
                .with_label_values(&[pipeline, reason.as_str()]);
        }
        for class in crate::stream::SourceError::CLASSES {
            self.source_errors.with_label_values(&[pipeline, class]);
        }
        for class in crate::logs::SinkError::CLASSES {
            self.put_errors.with_label_values(&[pipeline, class]);
        }
        for outcome in ["complete", "partial", "failed"] {
            self.look_ups.with_label_values(&[pipeline, outcome]);
        }
        for counter in [&self.heartbeats, &self.fences, &self.evictions] {
            counter.with_label_values::<&str>(&[]);
        }
    }

    /// Removes every series of a shard: its task has ended.
    pub fn forget_shard(&self, pipeline: &str, shard: &str) {
        for gauge in [
            &self.shard_lag,
            &self.shard_until_trim,
            &self.shard_checkpoint_age,
        ] {
            // An error says that nobody set it.
            let _ = gauge.remove_label_values(&[pipeline, shard]);
        }
    }

    /// The text that Prometheus scrapes.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        let mut out = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut out)?;
        String::from_utf8(out).map_err(|e| prometheus::Error::Msg(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declared_pipeline_shows_every_counter_at_zero() {
        let metrics = Metrics::new();
        metrics.declare_pipeline("orders");
        let text = metrics.render().unwrap();
        for line in [
            "weir_records_received_total{pipeline=\"orders\"} 0",
            "weir_records_dead_lettered_total{pipeline=\"orders\",reason=\"too_old\"} 0",
            "weir_records_filtered_total{pipeline=\"orders\",reason=\"filter\"} 0",
            "weir_events_filtered_total{pipeline=\"orders\"} 0",
            "weir_dead_lettered_bytes_total{pipeline=\"orders\",reason=\"undecodable\"} 0",
            "weir_source_errors_total{class=\"access_denied\",pipeline=\"orders\"} 0",
            "weir_put_errors_total{class=\"denied\",pipeline=\"orders\"} 0",
            "weir_put_seconds_count{pipeline=\"orders\"} 0",
            "weir_heartbeats_total 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
    }
}
