//! Each request that a reader of a Kinesis stream makes, tried once.
//!
//! Owns the requests, and what of their answers `weir check` tells. Registers no consumer, subscribes to nothing,
//! keeps no position, repeats nothing; the judgement is `check`'s.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::{EncryptionType, ShardIteratorType};

use crate::aws::failure::{Failure, failure};
use crate::config::StreamChoice;
use crate::stream::StreamArn;

/// What DescribeStreamSummary tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSeen {
    pub stream: StreamArn,
    /// ACTIVE, CREATING, …
    pub status: String,
    pub retention: Duration,
    /// The key in KMS that its records are encrypted with.
    pub key: Option<String>,
}

/// The requests.
#[derive(Clone, Debug)]
pub struct Probe {
    kinesis: Client,
}

impl Probe {
    pub fn new(kinesis: Client) -> Self {
        Self { kinesis }
    }

    /// DescribeStreamSummary.
    pub async fn stream(&self, choice: &StreamChoice) -> Result<StreamSeen, Failure> {
        let (name, arn) = match choice {
            StreamChoice::Kinesis(name) | StreamChoice::Table(name) => (Some(name.clone()), None),
            StreamChoice::KinesisArn(arn) | StreamChoice::Arn(arn) => {
                (None, Some(arn.service_arn().to_owned()))
            }
        };
        let request = self.kinesis.describe_stream_summary();
        let request = request.set_stream_name(name).set_stream_arn(arn);
        let answer = request.send().await.map_err(|e| failure(&e))?;
        let Some(told) = answer.stream_description_summary else {
            let text = "the answer to DescribeStreamSummary says nothing of the stream".to_owned();
            return Err(Failure::Unanswered(text));
        };
        let created = Some(told.stream_creation_timestamp.secs()).filter(|second| *second != 0);
        let is_encrypted = told.encryption_type == Some(EncryptionType::Kms);
        let hours = u64::try_from(told.retention_period_hours).unwrap_or_default();
        Ok(StreamSeen {
            stream: StreamArn::kinesis(&told.stream_arn, created),
            status: told.stream_status.as_str().to_owned(),
            retention: Duration::from_secs(hours * 3600),
            key: told.key_id.filter(|_| is_encrypted),
        })
    }

    /// ListShards, one of them: its id.
    pub async fn shard(&self, stream: &StreamArn) -> Result<Option<String>, Failure> {
        let request = self.kinesis.list_shards().stream_arn(stream.service_arn());
        let answer = request.max_results(1).send().await.map_err(|e| failure(&e))?;
        Ok(answer
            .shards
            .unwrap_or_default()
            .into_iter()
            .next()
            .map(|shard| shard.shard_id))
    }

    /// GetShardIterator, behind the newest record.
    pub async fn iterator(&self, stream: &StreamArn, shard: &str) -> Result<String, Failure> {
        let request = self
            .kinesis
            .get_shard_iterator()
            .stream_arn(stream.service_arn())
            .shard_id(shard)
            .shard_iterator_type(ShardIteratorType::Latest);
        let answer = request.send().await.map_err(|e| failure(&e))?;
        Ok(answer.shard_iterator.unwrap_or_default())
    }

    /// GetRecords, one at most.
    pub async fn read(&self, stream: &StreamArn, iterator: &str) -> Result<(), Failure> {
        let request = self.kinesis.get_records().stream_arn(stream.service_arn());
        let request = request.shard_iterator(iterator).limit(1);
        request.send().await.map(drop).map_err(|e| failure(&e))
    }

    /// DescribeStreamConsumer: whether it is registered.
    pub async fn consumer(&self, stream: &StreamArn, name: &str) -> Result<bool, Failure> {
        let request = self.kinesis.describe_stream_consumer();
        let request = request.stream_arn(stream.service_arn()).consumer_name(name);
        match request.send().await.map_err(|e| failure(&e)) {
            Ok(_) => Ok(true),
            Err(Failure::Service { code, .. }) if code == "ResourceNotFoundException" => Ok(false),
            Err(failure) => Err(failure),
        }
    }
}
