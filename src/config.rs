//! What a user may set, as plain types.
//!
//! Owns the settings, their defaults and their checks. No I/O but reading the one file; no clients and no
//! clocks are settings. Called by `cli` and `app`.

use std::net::SocketAddr;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::logs::template::Template;
use crate::stream::StreamArn;

/// Everything `weir run` needs to know, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Names the state tables: leases in `<application>`, the fleet's rows in `<application>-fleet`.
    pub application: String,
    pub http_address: SocketAddr,
    pub log_format: LogFormat,
    /// The lease duration L: heartbeat L·0.33, fence L·0.8, take-over L·0.85.
    pub lease_duration: Duration,
    /// How often a moved checkpoint is written.
    pub checkpoint_interval: Duration,
    /// How long a drain may take.
    pub drain_timeout: Duration,
    /// How long an owner without a worker row is watched before it counts as dead (protocol rule 14).
    pub foreign_watch: Duration,
    /// The budget for records in flight, in bytes, over all pipelines.
    pub memory: usize,
    /// Where the state tables live.
    pub state: AwsSettings,
    /// At least one; names are unique.
    pub pipelines: Vec<PipelineConfig>,
}

/// How Weir writes its own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    Text,
    Json,
}

/// Region and role of one client; what is not set comes from the SDK's own chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AwsSettings {
    pub region: Option<String>,
    pub assume_role_arn: Option<String>,
    pub external_id: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PipelineConfig {
    /// Part of the lease keys: changing it starts over.
    pub name: String,
    pub source: SourceConfig,
    pub destination: DestinationConfig,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SourceConfig {
    pub stream: StreamChoice,
    pub start: Start,
    /// The wait between two reads of a shard that gave records. Zero: read again at once.
    pub poll_busy: Duration,
    /// The wait after a read that gave none.
    pub poll_idle: Duration,
    /// How often all shards are listed.
    pub sync_interval: Duration,
    pub aws: AwsSettings,
}

/// Which stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamChoice {
    /// A DynamoDB table's, whichever it has.
    Table(String),
    /// This one.
    Arn(StreamArn),
}

/// Where the first reading starts. Afterwards the checkpoints decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    TrimHorizon,
    Latest,
    At(Timestamp),
}

#[derive(Clone, Debug, PartialEq)]
pub struct DestinationConfig {
    pub group: Template,
    pub stream: Template,
    /// Create a missing group or stream.
    pub create: bool,
    /// Of a group that Weir creates. One of the values CloudWatch Logs takes.
    pub retention_days: Option<u16>,
    pub aws: AwsSettings,
}
