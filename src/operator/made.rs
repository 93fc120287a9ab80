//! What is made of a record by today's settings: which events, and where each goes.
//!
//! Pure. Does what the consumer does to a record, for those who read one without a lease.

use crate::config::PipelineConfig;
use crate::decode::{DecodeError, Envelope, Origin};
use crate::logs::batch::Refusal;
use crate::logs::template::RenderError;
use crate::logs::{LogDestination, LogEvent, address};
use crate::shape;
use crate::stream::{Record, ShardId, StreamArn};

/// What a record gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// In their order; the place in it is an event's number in its record.
    pub events: Vec<(LogDestination, LogEvent)>,
    /// The envelopes that they came in.
    pub envelopes: Vec<Envelope>,
    /// Events that the filter dropped.
    pub filtered: u64,
}

/// Why a record gives nothing: it is a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmade {
    pub reason: Refusal,
    /// Without what the pipeline hides.
    pub detail: String,
}

/// The events of one record, aggregates taken apart before.
pub fn made(
    record: &Record,
    stream: &StreamArn,
    shard: &ShardId,
    application: &str,
    pipeline: &PipelineConfig,
) -> Result<Made, Unmade> {
    let origin = Origin { stream, shard };
    let decoded = shape::events(record, origin, &pipeline.decode, &pipeline.shape);
    let decoded = decoded.map_err(|error| undecodable(&error, pipeline))?;
    let mut events = Vec::with_capacity(decoded.events.len());
    for event in decoded.events {
        let envelope = event.envelope.and_then(|at| decoded.envelopes.get(at));
        let to = address::destination(application, pipeline, stream, shard.as_str(), envelope);
        events.push((to.map_err(|error| unaddressed(&error, pipeline))?, event.event));
    }
    Ok(Made {
        events,
        envelopes: decoded.envelopes,
        filtered: decoded.filtered,
    })
}

/// Names an event for good: the position of its record, and its number in it.
pub fn id(stream: &StreamArn, shard: &str, record: &Record, ordinal: usize) -> String {
    let (stream, sequence) = (stream.service_arn(), &record.sequence_number);
    format!(
        "{stream}:{shard}:{sequence}:{}:{ordinal}",
        record.sub_sequence_number
    )
}

pub(super) fn undecodable(error: &DecodeError, pipeline: &PipelineConfig) -> Unmade {
    Unmade {
        reason: Refusal::Undecodable,
        detail: match pipeline.withholds() {
            true => error.without_content(),
            false => error.to_string(),
        },
    }
}

/// Why there is no destination; without the name, where it may be what is hidden.
pub(super) fn unaddressed(error: &RenderError, pipeline: &PipelineConfig) -> Unmade {
    Unmade {
        reason: Refusal::NoDestination,
        detail: match pipeline.withholds() {
            true => error.without_content(),
            false => error.to_string(),
        },
    }
}
