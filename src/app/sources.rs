//! Which adapter reads a pipeline's stream.

use std::sync::Arc;

use crate::aws::Clients;
use crate::clock::Clock;
use crate::config::{PipelineConfig, StreamChoice};
use crate::stream::StreamSource;
use crate::stream::dynamodb::DynamoDbStreams;
use crate::stream::fan_out::FanOut;
use crate::stream::kinesis::KinesisStream;

/// What a pipeline reads.
pub fn source(
    application: &str,
    pipeline: &PipelineConfig,
    from: Clients,
    clock: &Arc<dyn Clock>,
) -> Arc<dyn StreamSource> {
    let (choice, clock) = (pipeline.source.stream.clone(), clock.clone());
    match (&choice, &pipeline.source.fan_out) {
        (StreamChoice::Table(_) | StreamChoice::Arn(_), _) => Arc::new(DynamoDbStreams::new(
            from.dynamodb,
            from.streams,
            choice,
            from.wire,
            clock,
        )),
        (StreamChoice::Kinesis(_) | StreamChoice::KinesisArn(_), fan_out) => {
            let polling = KinesisStream::new(
                from.kinesis.clone(),
                choice,
                from.region.clone(),
                from.wire,
                clock,
            );
            match fan_out {
                None => Arc::new(polling),
                Some(fan_out) => {
                    let consumer = fan_out.name(application, &pipeline.name);
                    let kinesis = from.kinesis.clone();
                    let apart = Arc::new(move || from.kinesis_apart());
                    Arc::new(FanOut::new(kinesis, apart, polling, consumer))
                }
            }
        }
    }
}
