//! Whether what a record holds would have a destination.
//!
//! Pure. The names are rendered by the code that `weir run` has; what only a running worker knows has a stand-in.

use crate::config::{PipelineConfig, StreamChoice};
use crate::decode::Decoded;
use crate::logs::address;
use crate::logs::template::{Field, RenderError};
use crate::stream::StreamArn;

/// Where a pipeline delivers to.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    application: String,
    pipeline: PipelineConfig,
    stream: StreamArn,
    /// Whether the group's name holds a part of the stream's ARN that nobody was asked for.
    is_guessed: bool,
}

impl Delivery {
    pub fn of(application: String, pipeline: PipelineConfig) -> Self {
        let (stream, is_known) = match &pipeline.source.stream {
            StreamChoice::Arn(arn) | StreamChoice::KinesisArn(arn) => (arn.clone(), true),
            StreamChoice::Table(table) => {
                let arn = format!("arn:aws:dynamodb:-:-:table/{table}/stream/-");
                (StreamArn::new(arn), false)
            }
            StreamChoice::Kinesis(name) => (
                StreamArn::new(format!("arn:aws:kinesis:-:-:stream/{name}")),
                false,
            ),
        };
        let of_arn = |field: Field| matches!(field, Field::Region | Field::Account);
        let is_guessed = !is_known && pipeline.destination.group.fields().any(of_arn);
        Self {
            application,
            pipeline,
            stream,
            is_guessed,
        }
    }

    /// Why the record that holds these events would be a dead letter, if one of them has no destination.
    pub fn refuses(&self, decoded: &Decoded) -> Option<RenderError> {
        let has_plain = decoded.events.iter().any(|event| event.envelope.is_none());
        let plain = has_plain.then_some(None);
        let mut all = decoded.envelopes.iter().map(Some).chain(plain);
        all.find_map(|envelope| {
            match address::destination(&self.application, &self.pipeline, &self.stream, "-", envelope) {
                Err(RenderError::NotAllowed(_)) if self.is_guessed => None,
                rendered => rendered.err(),
            }
        })
    }
}
