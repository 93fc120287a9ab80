//! Each request that a reader of a DynamoDB stream makes, tried once.
//!
//! Owns the requests, and what of their answers `weir check` tells. Writes nothing, keeps no position, repeats
//! nothing; the judgement is `check`'s.

use aws_sdk_dynamodbstreams::types::ShardIteratorType;

use crate::aws::failure::{Failure, failure};
use crate::stream::StreamArn;
use crate::stream::view::View;

/// What DescribeTable tells of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableSeen {
    /// The newest stream, perhaps a disabled one.
    pub stream: Option<StreamArn>,
    pub is_enabled: bool,
}

/// What DescribeStream tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSeen {
    /// ENABLED, DISABLED, …
    pub status: String,
    pub view: Option<View>,
    /// One of its shards, if it has any.
    pub shard: Option<String>,
}

/// The requests.
#[derive(Clone, Debug)]
pub struct Probe {
    tables: aws_sdk_dynamodb::Client,
    streams: aws_sdk_dynamodbstreams::Client,
}

impl Probe {
    pub fn new(tables: aws_sdk_dynamodb::Client, streams: aws_sdk_dynamodbstreams::Client) -> Self {
        Self { tables, streams }
    }

    /// DescribeTable.
    pub async fn table(&self, name: &str) -> Result<TableSeen, Failure> {
        let answer = self.tables.describe_table().table_name(name).send().await;
        let table = answer.map_err(|e| failure(&e))?.table;
        let Some(table) = table else {
            return Ok(TableSeen::default());
        };
        let stream = table.latest_stream_arn.filter(|arn| !arn.is_empty());
        // One that says nothing of its stream's settings, and names one, has it enabled.
        let specified = table.stream_specification.map(|spec| spec.stream_enabled);
        Ok(TableSeen {
            is_enabled: specified.unwrap_or(stream.is_some()),
            stream: stream.map(StreamArn::new),
        })
    }

    /// DescribeStream, of one shard: whichever comes first.
    pub async fn stream(&self, stream: &StreamArn) -> Result<StreamSeen, Failure> {
        let request = self
            .streams
            .describe_stream()
            .stream_arn(stream.as_str())
            .limit(1);
        let answer = request.send().await.map_err(|e| failure(&e))?;
        let Some(told) = answer.stream_description else {
            let text = "the answer to DescribeStream says nothing of the stream".to_owned();
            return Err(Failure::Unanswered(text));
        };
        let status = told.stream_status.map(|status| status.as_str().to_owned());
        let shards = told.shards.unwrap_or_default();
        Ok(StreamSeen {
            status: status.unwrap_or_default(),
            view: told.stream_view_type.and_then(|view| View::parse(view.as_str())),
            shard: shards.into_iter().find_map(|shard| shard.shard_id),
        })
    }

    /// ListStreams, one of them.
    pub async fn list(&self, table: &str) -> Result<(), Failure> {
        let request = self.streams.list_streams().table_name(table).limit(1);
        request.send().await.map(drop).map_err(|e| failure(&e))
    }

    /// GetShardIterator, behind the newest record.
    pub async fn iterator(&self, stream: &StreamArn, shard: &str) -> Result<String, Failure> {
        let request = self
            .streams
            .get_shard_iterator()
            .stream_arn(stream.as_str())
            .shard_id(shard)
            .shard_iterator_type(ShardIteratorType::Latest);
        let answer = request.send().await.map_err(|e| failure(&e))?;
        Ok(answer.shard_iterator.unwrap_or_default())
    }

    /// GetRecords, one at most.
    pub async fn read(&self, iterator: &str) -> Result<(), Failure> {
        let request = self.streams.get_records().shard_iterator(iterator).limit(1);
        request.send().await.map(drop).map_err(|e| failure(&e))
    }
}
