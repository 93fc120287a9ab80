//! What a user may set, as plain types.
//!
//! Owns the settings, their defaults and their checks. No I/O but reading the one file; no clients and no
//! clocks are settings. Called by `cli` and `app`.

pub mod check;
mod file;
mod interpolate;
pub mod keys;
pub mod problem;
mod reader;
pub mod schema;
mod units;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::decode::{Decode, DecodeSettings};
use crate::logs::allow::GroupPattern;
use crate::logs::template::{Field, Template, TemplateKind};
use crate::shape::{Format, Shape};
use crate::stream::{Poll, StreamArn};
pub use file::bounds;
use problem::Problems;

/// What the name of the fleet's table adds to the application's, unless the settings name it.
pub const FLEET_SUFFIX: &str = "-fleet";

/// Where health and metrics are served unless the settings say otherwise.
pub const HTTP_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080);

/// The largest file that is read, in bytes. A hundred pipelines with every key take about 60 KB.
const LARGEST_FILE: u64 = 1 << 20;

/// Answers with the value of an environment variable, if it is set.
pub type Vars<'v> = &'v dyn Fn(&str) -> Option<String>;

/// Where this machine asks who listens at `address`: of every address the loopback's.
pub fn on_this_machine(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Everything `weir run` needs to know, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Names the state tables, unless `state` does: leases in `<application>`, the fleet's rows in
    /// `<application>-fleet`.
    pub application: String,
    pub http_address: SocketAddr,
    pub log_format: LogFormat,
    /// The lease duration L: heartbeat L·0.33, fence L·0.8, take-over L·0.85.
    pub lease_duration: Duration,
    /// Whose make of lease keys a new lease table gets. One that is there keeps its own.
    pub lease_keys: LeaseKeys,
    /// How often a moved checkpoint is written.
    pub checkpoint_interval: Duration,
    /// How long a drain may take.
    pub drain_timeout: Duration,
    /// How long the platform waits between SIGTERM and SIGKILL; `None`: nobody told. Where it is known,
    /// the drain fits: [`check::AFTER_DRAIN`].
    pub grace_period: Option<Duration>,
    /// How long an owner without a worker row is watched before it counts as dead (protocol rule 14).
    pub foreign_watch: Duration,
    /// How long the leases of a pipeline that nobody runs any more are kept.
    pub keep_removed: Duration,
    /// The budget for records in flight, in bytes, over all pipelines. `None`: [`crate::memory`] finds one.
    pub memory: Option<usize>,
    /// The most PutLogEvents a second, over all workers, for each account and region that is written to.
    pub put_rate: u32,
    /// How records are read and puts written.
    pub wire: Wire,
    /// Traces of what becomes of the records.
    pub tracing: TracingConfig,
    /// The state tables.
    pub state: StateConfig,
    /// At least one; names are unique.
    pub pipelines: Vec<PipelineConfig>,
}

impl Config {
    /// The least budget with which one record of the largest size of each pipeline's stream can be read and put.
    pub fn least_memory(&self) -> usize {
        check::least_memory(&self.pipelines)
    }

    /// These pipelines, and the default of everything else.
    pub fn of(pipelines: Vec<PipelineConfig>) -> Self {
        Self {
            application: "weir".to_owned(),
            http_address: HTTP_ADDRESS,
            log_format: LogFormat::Auto,
            // KCL's failoverTimeMillis. The protocol's times (L·0.33, L·0.8, L·0.85) were simulated at 10 s.
            lease_duration: Duration::from_secs(10),
            lease_keys: LeaseKeys::Weir,
            checkpoint_interval: Duration::from_secs(15),
            // Kubernetes grants 30 s between SIGTERM and SIGKILL unless told otherwise.
            drain_timeout: Duration::from_secs(25),
            grace_period: None,
            // Twice KCL's default failoverTimeMillis.
            foreign_watch: Duration::from_secs(20),
            // A week of holidays, and a rollback still finds its positions (the streams keep a day).
            keep_removed: Duration::from_secs(7 * 24 * 3600),
            memory: None,
            // CloudWatch Logs' quota is 5,000 a second for an account and region; others write there too.
            put_rate: 4_000,
            wire: Wire::default(),
            tracing: TracingConfig::default(),
            state: StateConfig::default(),
            pipelines,
        }
    }

    /// The state tables, by name.
    pub fn state_tables(&self) -> StateTables {
        let defaults = StateTables::of(&self.application);
        StateTables {
            leases: self.state.lease_table.clone().unwrap_or(defaults.leases),
            fleet: self.state.fleet_table.clone().unwrap_or(defaults.fleet),
            missing: self.state.missing.clone(),
        }
    }

    /// Reads the file at `path`. What `overrides` holds stands before what the file says.
    pub fn load(path: &Path, vars: Vars<'_>, overrides: Overrides) -> Result<Self, ConfigError> {
        Self::from_yaml(&text_of(path)?, vars, overrides)
    }

    /// Reads the text of a file, as [`Self::load`] does.
    pub fn from_yaml(text: &str, vars: Vars<'_>, overrides: Overrides) -> Result<Self, ConfigError> {
        not_too_large(text.len())?;
        file::read(text, vars, overrides)
    }
}

/// The `http.address` that the text of a file sets, whatever else is wrong with its settings. `None`: it has none.
pub fn http_address(text: &str, vars: Vars<'_>) -> Result<Option<SocketAddr>, ConfigError> {
    not_too_large(text.len())?;
    file::http_address(text, vars)
}

fn not_too_large(bytes: usize) -> Result<(), ConfigError> {
    match bytes as u64 > LARGEST_FILE {
        true => Err(ConfigError::TooLarge),
        false => Ok(()),
    }
}

/// The text of the file at `path`.
pub fn text_of(path: &Path) -> Result<String, ConfigError> {
    let mut bytes = Vec::new();
    // One byte more than allowed tells "too large" without reading on.
    File::open(path)?.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
    not_too_large(bytes.len())?;
    String::from_utf8(bytes).map_err(|_| ConfigError::NotText)
}

/// The settings that may be given beside a file, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    pub application: Option<String>,
    pub http_address: Option<SocketAddr>,
    pub log_format: Option<LogFormat>,
    pub drain_timeout: Option<Duration>,
    pub grace_period: Option<Duration>,
}

/// Why a file gives no settings. A message reads on from the file's name.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("can't be read: {0}: check the path and its permissions")]
    Unreadable(#[from] std::io::Error),
    #[error("is larger than {LARGEST_FILE} bytes: is it the right one?")]
    TooLarge,
    #[error("is not UTF-8 text: is it the right file?")]
    NotText,
    /// No YAML, or a key that stands twice.
    #[error("line {line}, column {column}: {message}")]
    Syntax { line: u64, column: u64, message: String },
    /// YAML, but wrong settings.
    #[error(transparent)]
    Invalid(Problems),
}

/// What is traced, and where traces go.
#[derive(Clone, Debug, PartialEq)]
pub struct TracingConfig {
    /// Where a collector takes traces by OTLP over HTTP: the whole URL. `None`: nothing is traced.
    pub url: Option<String>,
    /// The part of all batches that is traced, from 0 to 1.
    pub sample: f64,
    /// Sent with each request; from the environment alone.
    pub headers: Headers,
    /// What the traces say of this process: `service.name` and others.
    pub resource: BTreeMap<String, String>,
}

impl Default for TracingConfig {
    fn default() -> Self {
        Self {
            url: None,
            sample: 0.01,
            headers: Headers::default(),
            resource: BTreeMap::from([("service.name".to_owned(), "weir".to_owned())]),
        }
    }
}

/// Headers, which may hold a key: `Debug` shows none.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(pub BTreeMap<String, String>);

impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} headers", self.0.len())
    }
}

/// Whose make of lease keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseKeys {
    Weir,
    /// The Kinesis Client Library's: a KCL application can go on from the table.
    Kcl,
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

/// Where the state tables live, what they are called, and what becomes of those that are missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateConfig {
    pub aws: AwsSettings,
    /// `None`: the application's name.
    pub lease_table: Option<String>,
    /// `None`: the application's name and [`FLEET_SUFFIX`].
    pub fleet_table: Option<String>,
    pub missing: Missing,
}

/// What becomes of a state table that is missing. One that exists stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// It is an error.
    Refuse,
    Create(NewTables),
}

impl Default for Missing {
    fn default() -> Self {
        Self::Create(NewTables::default())
    }
}

/// How new state tables are made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewTables {
    /// An id, an ARN or an alias. `None`: DynamoDB's own key.
    pub kms_key: Option<String>,
    pub tags: BTreeMap<String, String>,
    pub point_in_time_recovery: bool,
    pub deletion_protection: bool,
}

/// The state tables of one application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateTables {
    pub leases: String,
    pub fleet: String,
    pub missing: Missing,
}

impl StateTables {
    /// Those of an application that sets nothing else.
    pub fn of(application: &str) -> Self {
        Self {
            leases: application.to_owned(),
            fleet: format!("{application}{FLEET_SUFFIX}"),
            missing: Missing::default(),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct PipelineConfig {
    /// Part of the lease keys: changing it starts over.
    pub name: String,
    pub source: SourceConfig,
    /// How the records of a Kinesis stream become log events; those of a DynamoDB stream are changes.
    pub decode: DecodeSettings,
    /// Which of the events are kept, what is hidden in them, and how they are told.
    pub shape: Shape,
    pub dead_letter: DeadLetterConfig,
    pub destination: DestinationConfig,
}

impl PipelineConfig {
    /// These three, and the default of everything else.
    pub fn of(name: &str, source: SourceConfig, destination: DestinationConfig) -> Self {
        Self {
            name: name.to_owned(),
            decode: DecodeSettings::of(source.stream.decode()),
            source,
            shape: Shape::default(),
            dead_letter: DeadLetterConfig::default(),
            destination,
        }
    }

    /// Whether a take-over from a dead worker looks up what was delivered: where it is wished, and all
    /// events of a shard are in one log stream. Of many streams each would have to be asked.
    pub fn looks_up(&self) -> bool {
        // What passes unchanged has no id: two equal lines of one millisecond would pass for one.
        let has_ids = match self.decode.how {
            // In each format of a change stand its id and its sequence number; a line has an id, be it only its place.
            Decode::Lambda | Decode::Base64 => true,
            Decode::Audit => self.shape.format != Format::Raw,
            Decode::Auto | Decode::Subscription | Decode::Change | Decode::Json | Decode::Text => false,
        };
        // From a group of that class nothing can be read back.
        let is_readable = self.destination.class != Some(LogClass::InfrequentAccess);
        self.destination.look_up && is_readable && has_ids && !self.destination.depends_on_the_envelope()
    }

    /// Whether dead letters must not hold the bytes of records: they may be what the pipeline hides.
    pub fn withholds(&self) -> bool {
        self.shape.redact.is_some() && !self.dead_letter.raw
    }
}

/// Where a pipeline's dead letters go, and what they hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterConfig {
    /// Without one, the destination's group, if it is the same for all records, else `/weir/PIPELINE`.
    pub group: Option<String>,
    /// Without one, [`crate::logs::dead_letter::STREAM`].
    pub stream: Option<String>,
    /// Letters hold the bytes of records that could not be decoded, although a redaction is set.
    pub raw: bool,
}

/// How the adapters read records and write puts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wire {
    /// From the body of an answer, and straight into the body of a request.
    #[default]
    Raw,
    /// Through the types of the AWS SDK.
    Sdk,
}

/// What becomes of a message that is larger than CloudWatch Logs takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Oversize {
    /// It is told in numbered parts, without a loss.
    #[default]
    Split,
    /// Its beginning is told, and how much went.
    Truncate,
    DeadLetter,
}

/// What becomes of an event that is refused for its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Untimely {
    #[default]
    DeadLetter,
    /// It is put at the time of the put, with its own time inside the message.
    Now,
}

/// The class of a log group. It can't be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogClass {
    Standard,
    InfrequentAccess,
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
    /// The consumer of enhanced fan-out that a Kinesis stream is read with; without one it is polled.
    pub fan_out: Option<FanOut>,
    pub aws: AwsSettings,
}

/// Enhanced fan-out: the stream pushes its records to a registered consumer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FanOut {
    /// The consumer's name, registered when it is missing; without one `<application>-<pipeline>`.
    pub consumer: Option<String>,
}

impl FanOut {
    /// The consumer's name.
    pub fn name(&self, application: &str, pipeline: &str) -> String {
        let given = self.consumer.clone();
        given.unwrap_or_else(|| format!("{application}-{pipeline}"))
    }
}

impl SourceConfig {
    /// This stream, and the default of everything else. A stream given by its ARN is in the ARN's region.
    pub fn of(stream: StreamChoice) -> Self {
        let region = match &stream {
            StreamChoice::Arn(arn) | StreamChoice::KinesisArn(arn) => arn.region().map(str::to_owned),
            StreamChoice::Table(_) | StreamChoice::Kinesis(_) => None,
        };
        Self {
            stream,
            start: Start::TrimHorizon,
            poll_busy: Duration::ZERO,
            poll_idle: Duration::from_secs(1),
            sync_interval: Duration::from_secs(30),
            fan_out: None,
            aws: AwsSettings {
                region,
                ..AwsSettings::default()
            },
        }
    }
}

impl SourceConfig {
    /// The waits between two reads of a shard.
    pub fn poll(&self) -> Poll {
        Poll {
            busy: self.poll_busy,
            idle: self.poll_idle,
        }
    }
}

/// Which stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamChoice {
    /// A DynamoDB table's, whichever it has.
    Table(String),
    /// This DynamoDB stream.
    Arn(StreamArn),
    /// The Kinesis stream of this name.
    Kinesis(String),
    /// The Kinesis stream of this ARN, perhaps in another account. Of this name, rather: one that was deleted
    /// and created again has the same.
    KinesisArn(StreamArn),
}

impl StreamChoice {
    /// What its records are read as, unless the settings say otherwise.
    pub fn decode(&self) -> Decode {
        match self {
            Self::Table(_) | Self::Arn(_) => Decode::Lambda,
            Self::Kinesis(_) | Self::KinesisArn(_) => Decode::Auto,
        }
    }

    /// The table whose stream it is.
    pub fn table(&self) -> Option<&str> {
        match self {
            Self::Table(table) => Some(table),
            Self::Arn(arn) => arn.table(),
            Self::Kinesis(_) | Self::KinesisArn(_) => None,
        }
    }

    /// The name of the Kinesis stream, if it is one.
    pub fn kinesis_name(&self) -> Option<&str> {
        match self {
            Self::Kinesis(name) => Some(name),
            Self::KinesisArn(arn) => arn.kinesis_name(),
            Self::Table(_) | Self::Arn(_) => None,
        }
    }
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
    /// The key in KMS of a group that Weir creates, by its ARN.
    pub kms_key: Option<String>,
    /// Of a group that Weir creates.
    pub tags: BTreeMap<String, String>,
    /// Of a group that Weir creates. `None`: the service's default, which is standard.
    pub class: Option<LogClass>,
    /// Groups that exist get these settings too.
    pub reconcile: bool,
    /// The groups that may be written to, where the group's name is drawn from records. Otherwise empty.
    pub allow_groups: Vec<GroupPattern>,
    pub oversize: Oversize,
    /// Also of events that are older than the group's retention.
    pub too_old: Untimely,
    pub too_new: Untimely,
    /// After a dead worker, ask the destination what it already holds.
    pub look_up: bool,
    pub aws: AwsSettings,
}

impl DestinationConfig {
    /// This group, and the default of everything else.
    pub fn of(group: Template) -> Self {
        Self {
            group,
            stream: Template::of(Field::ShardId, TemplateKind::Stream),
            create: true,
            retention_days: None,
            kms_key: None,
            tags: BTreeMap::new(),
            class: None,
            reconcile: false,
            allow_groups: Vec::new(),
            oversize: Oversize::default(),
            too_old: Untimely::default(),
            too_new: Untimely::default(),
            look_up: true,
            aws: AwsSettings::default(),
        }
    }

    /// Whether the events of one shard may go to several log streams.
    pub fn depends_on_the_envelope(&self) -> bool {
        let mut fields = self.group.fields().chain(self.stream.fields());
        !fields.all(Field::is_constant_per_shard)
    }
}
