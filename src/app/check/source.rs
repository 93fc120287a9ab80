//! Looks at a pipeline's source.

use super::Looks;
use crate::aws::Clients;
use crate::aws::arn::Place;
use crate::aws::failure::Failure;
use crate::check::Finding;
use crate::check::source::{DynamoDb, Kinesis, dynamodb, kinesis};
use crate::config::{PipelineConfig, StreamChoice};
use crate::stream::{StreamArn, dynamodb as streams, kinesis as kinesis_streams};

impl Looks {
    /// The stream that is there now, and what is found of it.
    pub(super) async fn source(&self, pipeline: &PipelineConfig) -> (Option<StreamArn>, Vec<Finding>) {
        let (clients, place) = match self.clients(&pipeline.source.aws).await {
            Ok(known) => known,
            Err(finding) => return (None, vec![finding.of(&pipeline.name)]),
        };
        let now = self.clock.wall();
        match &pipeline.source.stream {
            StreamChoice::Table(_) | StreamChoice::Arn(_) => {
                let (stream, seen) = self.of_dynamodb(pipeline, clients).await;
                let place = stream
                    .as_ref()
                    .map_or(place.clone(), |arn| Place::of_arn(arn.as_str(), &place));
                let findings = dynamodb(pipeline, &seen, &place, now);
                (stream, findings)
            }
            StreamChoice::Kinesis(_) | StreamChoice::KinesisArn(_) => {
                let seen = self.of_kinesis(pipeline, clients).await;
                let stream = seen
                    .stream
                    .as_ref()
                    .and_then(|told| told.as_ref().ok())
                    .map(|told| told.stream.clone());
                let place = stream
                    .as_ref()
                    .map_or(place.clone(), |arn| Place::of_arn(arn.as_str(), &place));
                let findings = kinesis(pipeline, &seen, &place, now);
                (stream, findings)
            }
        }
    }

    async fn of_dynamodb(
        &self,
        pipeline: &PipelineConfig,
        clients: Clients,
    ) -> (Option<StreamArn>, DynamoDb) {
        let probe = streams::probe::Probe::new(clients.dynamodb, clients.streams);
        let mut seen = DynamoDb::default();
        let stream = match &pipeline.source.stream {
            StreamChoice::Arn(arn) | StreamChoice::KinesisArn(arn) => Some(arn.clone()),
            StreamChoice::Table(name) | StreamChoice::Kinesis(name) => {
                let told = self.patiently(|| probe.table(name)).await;
                let stream = told.as_ref().ok().and_then(|told| told.stream.clone());
                seen.table = Some(told);
                if stream.is_some() {
                    seen.list = Some(self.patiently(|| probe.list(name)).await);
                }
                stream
            }
        };
        let Some(arn) = stream else {
            return (None, seen);
        };
        let told = self.patiently(|| probe.stream(&arn)).await;
        let shard = told.as_ref().ok().and_then(|told| told.shard.clone());
        seen.stream = Some(told);
        if let Some(shard) = shard {
            let (iterator, read) = split(self.patiently(|| probe.iterator(&arn, &shard)).await);
            seen.iterator = Some(iterator);
            if let Some(iterator) = read {
                seen.read = Some(self.patiently(|| probe.read(&iterator)).await);
            }
        }
        (Some(arn), seen)
    }

    async fn of_kinesis(&self, pipeline: &PipelineConfig, clients: Clients) -> Kinesis {
        let probe = kinesis_streams::probe::Probe::new(clients.kinesis);
        let mut seen = Kinesis::default();
        let told = self.patiently(|| probe.stream(&pipeline.source.stream)).await;
        let stream = told.as_ref().ok().map(|told| told.stream.clone());
        seen.stream = Some(told);
        let Some(stream) = stream else {
            return seen;
        };
        if let Some(fan_out) = &pipeline.source.fan_out {
            let name = fan_out.name(&self.config.application, &pipeline.name);
            let registered = self.patiently(|| probe.consumer(&stream, &name)).await;
            seen.consumer = Some((name, registered));
        }
        let shard = self.patiently(|| probe.shard(&stream)).await;
        let id = shard.as_ref().ok().cloned().flatten();
        seen.shard = Some(shard);
        // With fan-out neither is asked for.
        let (Some(id), None) = (id, &pipeline.source.fan_out) else {
            return seen;
        };
        let (iterator, read) = split(self.patiently(|| probe.iterator(&stream, &id)).await);
        seen.iterator = Some(iterator);
        if let Some(iterator) = read {
            seen.read = Some(self.patiently(|| probe.read(&stream, &iterator)).await);
        }
        seen
    }
}

/// Whether there is an iterator, and which.
fn split(answer: Result<String, Failure>) -> (Result<(), Failure>, Option<String>) {
    match answer {
        Ok(iterator) => (Ok(()), Some(iterator)),
        Err(failure) => (Err(failure), None),
    }
}
