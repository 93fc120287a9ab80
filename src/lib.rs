//! Weir leases the shards of DynamoDB Streams, decodes their records, and writes every one of them to
//! CloudWatch Logs.

pub mod app;
pub mod aws;
pub mod backoff;
pub mod cli;
pub mod clock;
pub mod config;
pub mod consumer;
pub mod coordinator;
pub mod decode;
pub mod http;
pub mod lease;
pub mod logs;
pub mod metrics;
pub mod readiness;
pub mod shutdown;
pub mod stream;
mod suggest;
