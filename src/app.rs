//! The composition root: makes the parts, gives them to each other, and sees them to their end.
//!
//! The only file that imports everything. Decides nothing but the exit code.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

use crate::aws::{AwsClients, Clients};
use crate::backoff::Backoff;
use crate::cli;
use crate::cli::exit::Exit;
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::config::{AwsSettings, Config, PipelineConfig, Start, StreamChoice};
use crate::coordinator::{self, Pipeline, Settings, Worker};
use crate::decode::Decode;
use crate::http::{self, Server};
use crate::lease::dynamodb::DynamoDbTable;
use crate::lease::heartbeat::Times;
use crate::lease::keys::{Keys, KeysError, Reader};
use crate::lease::{LeaseTable, PrepareError, SharedTable};
use crate::logs::LogSink;
use crate::logs::address;
use crate::logs::cloudwatch::CloudWatchLogs;
use crate::logs::guard::look::{look, look_at};
use crate::logs::guard::{Guard, Loop, Verdict, fixed_group};
use crate::metrics::Metrics;
use crate::metrics::account::Account;
use crate::operator::Desk;
use crate::operator::dead_letters::{LetterDesk, Mail};
use crate::readiness::{Latch, Readiness};
use crate::redact::Redaction;
use crate::shutdown::{self, Stop};
use crate::stream::StreamSource;
use crate::stream::dynamodb::DynamoDbStreams;
use crate::stream::fan_out::FanOut;
use crate::stream::kinesis::KinesisStream;

/// A start may lie so far ahead of this machine's clock, which may be slow.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(300);
/// How long the looks for destinations that feed their own source may take, all together. What is not seen by
/// then is noticed while running.
const LOOKS: Duration = Duration::from_secs(30);

/// Why the process ends with a failure. Each is its last word.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the signal handlers can't be set: {0}")]
    Signals(std::io::Error),
    #[error(transparent)]
    Bind(#[from] http::BindError),
    #[error(transparent)]
    Aws(#[from] crate::aws::AwsError),
    #[error(
        "pipelines.{pipeline}.source.start: {start} lies in the future, and every change before it would be dropped: use a time that has passed, or `latest`"
    )]
    FutureStart { pipeline: String, start: Timestamp },
    #[error("{key}: {found}")]
    Loop { key: String, found: Loop },
    #[error("the operating system gives no random numbers: {0}")]
    Random(getrandom::Error),
    #[error("the state tables can't be used: {0}")]
    Tables(String),
    #[error(
        "table {table} doesn't exist in {region}: `weir run` creates it at its first start. The application is `{application}`: --application or -c FILE names another, AWS_REGION or `state.region` another region"
    )]
    NoTable {
        table: String,
        region: String,
        application: String,
    },
    #[error("{0}")]
    Keys(#[from] KeysError),
    #[error(transparent)]
    Worker(#[from] coordinator::Died),
    #[error("the HTTP server ended: {0}")]
    Http(String),
}

impl Failure {
    fn exit(&self) -> Exit {
        match self {
            Self::FutureStart { .. } | Self::Loop { .. } | Self::Aws(_) => Exit::Misused,
            _ => Exit::Failed,
        }
    }
}

/// Does one of the operator's commands on the state tables, and prints its answer.
pub async fn operate(config: Config, order: cli::Order) -> ExitCode {
    match Box::pin(desk(&config)).await {
        Ok(desk) => Box::pin(cli::carry_out(order, desk)).await,
        Err(failure) => {
            cli::failed(&failure);
            failure.exit().into()
        }
    }
}

/// Does one of the commands on dead letters, and prints its answer.
pub async fn dead_letters(config: Config, order: cli::LettersOrder) -> ExitCode {
    match Box::pin(letter_desk(config)).await {
        Ok(desk) => Box::pin(cli::attend(order, desk)).await,
        Err(failure) => {
            cli::failed(&failure);
            failure.exit().into()
        }
    }
}

/// The dead letters of these settings' pipelines.
async fn letter_desk(config: Config) -> Result<LetterDesk, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let clients = AwsClients::from_env()?;
    let mut sinks: Vec<(AwsSettings, Arc<dyn LogSink>)> = Vec::new();
    let mut mail = Vec::new();
    for mut pipeline in config.pipelines {
        let from = clients.clients(&pipeline.source.aws).await?;
        let to = pipeline.destination.aws.clone();
        let logs = match sinks.iter().find(|(settings, _)| *settings == to) {
            Some((_, logs)) => logs.clone(),
            None => {
                let logs: Arc<dyn LogSink> = Arc::new(CloudWatchLogs::new(clients.clients(&to).await?.logs));
                sinks.push((to, logs.clone()));
                logs
            }
        };
        // A subscription of the consumer's own would end that of the worker.
        pipeline.source.fan_out = None;
        mail.push(Mail {
            source: source(&config.application, &pipeline, from, &clock),
            config: pipeline,
            logs,
        });
    }
    Ok(LetterDesk {
        application: config.application,
        mail,
        clock,
        rng: fastrand::Rng::with_seed(getrandom::u64().map_err(Failure::Random)?),
        tell: Box::new(cli::tell),
    })
}

/// The state tables of these settings. Creates none; those that are there are Weir's or KCL's.
async fn desk(config: &Config) -> Result<Desk, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let aws = AwsClients::from_env()?;
    let clients = aws.clients(&config.state.aws).await?;
    let table = state_table(&clients, config, &clock);
    let there = table.there().await.map_err(|e| Failure::Tables(e.to_string()))?;
    let (leases, fleet) = table.names();
    let (leases, fleet) = (leases.to_owned(), fleet.to_owned());
    if !there.leases {
        return Err(Failure::NoTable {
            table: leases,
            region: clients.region,
            application: config.application.clone(),
        });
    }
    // Only to tell whose pipeline a lease is: a table of two makes can be looked at all the same.
    let found = table.leases().await.map_err(|e| Failure::Tables(e.to_string()))?;
    let readers = readers(config, &aws).await;
    let keys = Keys::of_table(&found, config.lease_keys, readers).unwrap_or_default();
    Ok(Desk {
        table: Arc::new(table),
        leases,
        fleet,
        has_fleet: there.fleet,
        keys,
        configured: config.pipelines.iter().map(|p| p.name.clone()).collect(),
        takeover: Times::of(config.lease_duration).takeover,
        foreign_watch: config.foreign_watch,
        drain_timeout: config.drain_timeout,
        clock,
        rng: fastrand::Rng::with_seed(getrandom::u64().map_err(Failure::Random)?),
        tell: Box::new(cli::tell),
    })
}

/// The state tables of these settings, as an adapter.
fn state_table(clients: &Clients, config: &Config, clock: &Arc<dyn Clock>) -> DynamoDbTable {
    DynamoDbTable::new(clients.dynamodb.clone(), config.state_tables(), clock.clone())
}

/// Works until a signal and a complete drain.
pub async fn run(config: Config) -> ExitCode {
    match work(config).await {
        Ok(()) => {
            info!("ended");
            Exit::Done.into()
        }
        Err(failure) => {
            error!("{failure}");
            failure.exit().into()
        }
    }
}

async fn work(config: Config) -> Result<(), Failure> {
    let signals = Signals::listen().map_err(Failure::Signals)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let metrics = Metrics::new();
    let readiness = Readiness::new();
    let mut rng = fastrand::Rng::with_seed(getrandom::u64().map_err(Failure::Random)?);

    for pipeline in &config.pipelines {
        if let Start::At(start) = pipeline.source.start
            && start > clock.wall().plus(CLOCK_TOLERANCE)
        {
            return Err(Failure::FutureStart {
                pipeline: pipeline.name.clone(),
                start,
            });
        }
    }
    warn_of_one_sided(&config);
    let listener = http::bind(config.http_address).await?;
    let address = listener.local_addr().unwrap_or(config.http_address);
    info!(%address, "health at /livez and /readyz, metrics at /metrics, the accounts at /status");
    let server = Server {
        clock: clock.clone(),
        readiness: readiness.clone(),
        metrics: metrics.clone(),
        pipelines: config.pipelines.iter().map(|p| p.name.clone()).collect(),
    };
    let (http_stopper, http_stop) = shutdown::channel();
    let mut http = tokio::spawn(http::serve(listener, server, http_stop));

    let (stopper, stop) = shutdown::channel();
    let signals = tokio::spawn(signals.handle(stopper));

    let worker = async {
        let clients = AwsClients::from_env()?;
        let state = clients.clients(&config.state.aws).await?;
        let table: SharedTable = Arc::new(state_table(&state, &config, &clock));
        let mut pipelines = Vec::new();
        for pipeline in &config.pipelines {
            let from = clients.clients(&pipeline.source.aws).await?;
            let to = clients.clients(&pipeline.destination.aws).await?;
            let logs = Arc::new(CloudWatchLogs::new(to.logs));
            let mut settled = pipeline.clone();
            // The quota of puts is a region's, whichever way it was named.
            settled.destination.aws.region = Some(to.region);
            pipelines.push(Pipeline {
                name: pipeline.name.clone(),
                source: source(&config.application, pipeline, from, &clock),
                subscriptions: Some(logs.clone()),
                sink: logs,
                config: settled,
                guard: Guard::default(),
            });
        }
        if !guard(&mut pipelines, &config, &*clock, &mut rng, stop.clone()).await? {
            return Ok(());
        }
        if !prepare(&*table, &config, &*clock, &readiness, &mut rng, stop.clone()).await? {
            return Ok(());
        }
        let readers = readers(&config, &clients).await;
        let keys = keys(
            &*table,
            &config,
            readers,
            &*clock,
            &readiness,
            &mut rng,
            stop.clone(),
        );
        let Some(keys) = keys.await? else {
            return Ok(());
        };
        let settings = Settings {
            application: config.application.clone(),
            keys,
            lease_table: config.state_tables().leases,
            lease_duration: config.lease_duration,
            checkpoint_interval: config.checkpoint_interval,
            drain_timeout: config.drain_timeout,
            foreign_watch: config.foreign_watch,
            keep_removed: config.keep_removed,
            memory: config.memory,
            put_rate: config.put_rate,
        };
        let host = host();
        let worker = Worker {
            host,
            clock: clock.clone(),
            rng: rng.fork(),
            table,
            pipelines,
            settings,
            metrics: metrics.clone(),
            readiness: readiness.clone(),
        };
        Ok::<(), Failure>(Box::pin(coordinator::run(worker, stop)).await?)
    };
    // Neither is cancelled while it matters: whichever ends first ends the process.
    let ended = tokio::select! {
        ended = worker => ended,
        ended = &mut http => return Err(Failure::Http(format!("{ended:?}"))),
    };
    tell_accounts(&config, &metrics);
    signals.abort();
    http_stopper.stop();
    // A scraper that holds its connection open must not hold the process.
    if tokio::time::timeout(Duration::from_secs(1), &mut http)
        .await
        .is_err()
    {
        http.abort();
    }
    ended
}

/// Says which values are hidden as a change's new ones and told as its old ones, or the other way round.
fn warn_of_one_sided(config: &Config) {
    for pipeline in &config.pipelines {
        let holds_changes = matches!(
            pipeline.decode.how,
            Decode::Lambda | Decode::Change | Decode::Auto
        );
        let redact = pipeline.shape.redact.as_ref().filter(|_| holds_changes);
        for path in redact.map(Redaction::one_sided).unwrap_or_default() {
            warn!(
                "pipelines.{}.redact: `{path}` is hidden in one image of a change alone; the same value is told by the \
                 other one at the next change. Begin the path with `*.` to hide it in both",
                pipeline.name
            );
        }
    }
}

/// Says at the end what became of the records. Nothing is in flight any more.
fn tell_accounts(config: &Config, metrics: &Metrics) {
    for PipelineConfig { name, .. } in &config.pipelines {
        let account = Account::of_running(metrics, name);
        match account.adds_up() {
            true => info!(pipeline = %name, "records: {account}"),
            false => {
                error!(pipeline = %name, "the records don't add up, which is a fault of Weir's: {account}")
            }
        }
    }
}

/// Refuses a destination that feeds its own source, and tells what can't be known of the others. `false`: a stop
/// was wished before.
async fn guard(
    pipelines: &mut [Pipeline],
    config: &Config,
    clock: &dyn Clock,
    rng: &mut fastrand::Rng,
    mut stop: Stop,
) -> Result<bool, Failure> {
    let end = clock.now() + LOOKS;
    for pipeline in pipelines {
        // Only a Kinesis stream can be written to by CloudWatch Logs.
        if pipeline.config.source.stream.kinesis_name().is_none() {
            continue;
        }
        let Some(logs) = pipeline.subscriptions.clone() else {
            continue;
        };
        let name = pipeline.name.clone();
        let key = format!("pipelines.{name}.destination.group");
        let looked = async {
            let left = end.since(clock.now());
            let stream = match crate::clock::timeout(clock, left, pipeline.source.current()).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => return Err(error.to_string()),
                Err(_) => return Err("no answer in time".to_owned()),
            };
            let (left, application) = (end.since(clock.now()), &config.application);
            let verdict = look(application, &pipeline.config, &stream, &*logs, clock, rng, left).await;
            let letters = address::letters(application, &pipeline.config, &stream).group;
            let group = fixed_group(application, &pipeline.config, &stream);
            if matches!(verdict, Verdict::Loop(_)) || group.as_ref() == Some(&letters) {
                return Ok((stream, verdict, None));
            }
            let left = end.since(clock.now());
            let of_letters = look_at(&letters, &stream, &*logs, clock, rng, left).await;
            Ok((stream, verdict, Some((letters, of_letters))))
        };
        let looked = tokio::select! {
            looked = looked => looked,
            () = stop.wished() => return Ok(false),
        };
        let (stream, verdict, of_letters) = match looked {
            Ok(looked) => looked,
            Err(why) => {
                warn!(
                    pipeline = name,
                    "whether the destination feeds this pipeline's source is not known, since the stream can't be asked: {why}"
                );
                continue;
            }
        };
        let now = clock.wall();
        // What is known of both groups: an event of either would come round.
        let both = match &of_letters {
            Some((_, unclear)) if *unclear != Verdict::Clear => unclear,
            _ => &verdict,
        };
        pipeline.guard = Guard::new(&pipeline.config, &stream, both, now);
        match of_letters {
            Some((_, Verdict::Loop(found))) => {
                return Err(Failure::Loop {
                    key: format!("pipelines.{name}.dead_letter.group"),
                    found,
                });
            }
            Some((group, Verdict::Unknown(why))) => warn!(
                pipeline = name,
                "whether {group}, the group of the dead letters, feeds the pipeline's source is not known: {why}. Each \
                 event that comes is checked for it"
            ),
            Some((_, Verdict::Clear)) | None => {}
        }
        match verdict {
            Verdict::Loop(found) => return Err(Failure::Loop { key, found }),
            Verdict::Clear => info!(pipeline = name, %stream, "the destination doesn't feed its own source"),
            Verdict::Unknown(why)
                if fixed_group(&config.application, &pipeline.config, &stream).is_none() =>
            {
                info!(
                    pipeline = name,
                    "{key}: each event that comes is checked for coming from a group that is written to: {why}"
                )
            }
            Verdict::Unknown(why) => warn!(
                pipeline = name,
                "{key}: whether it feeds its own source is not known: {why}. Each event that comes is checked for it"
            ),
        }
    }
    Ok(true)
}

/// Makes the state tables ready, however long it takes. `false`: a stop was wished before.
async fn prepare(
    table: &dyn LeaseTable,
    config: &Config,
    clock: &dyn Clock,
    readiness: &Readiness,
    rng: &mut fastrand::Rng,
    mut stop: Stop,
) -> Result<bool, Failure> {
    let sources: Vec<String> = config
        .pipelines
        .iter()
        .filter_map(|p| p.source.stream.table().map(ToOwned::to_owned))
        .collect();
    let mut backoff = Backoff::default();
    loop {
        let prepared = tokio::select! {
            prepared = table.prepare(&sources) => prepared,
            () = stop.wished() => return Ok(false),
        };
        match prepared {
            Ok(()) => {
                readiness.solved("state tables");
                readiness.open(Latch::Tables);
                return Ok(true);
            }
            Err(PrepareError::Unusable(why)) => return Err(Failure::Tables(why)),
            Err(PrepareError::Table(error)) => {
                readiness.problem("state tables", error.to_string());
                warn!(%error, "the state tables are not ready; repeating");
            }
        }
        tokio::select! {
            () = clock.sleep(backoff.next(rng) + Duration::from_millis(200)) => {}
            () = stop.wished() => return Ok(false),
        }
    }
}

/// What a pipeline reads.
fn source(
    application: &str,
    pipeline: &PipelineConfig,
    from: Clients,
    clock: &Arc<dyn Clock>,
) -> Arc<dyn StreamSource> {
    let (choice, clock) = (pipeline.source.stream.clone(), clock.clone());
    match (&choice, &pipeline.source.fan_out) {
        (StreamChoice::Table(_) | StreamChoice::Arn(_), _) => {
            Arc::new(DynamoDbStreams::new(from.dynamodb, from.streams, choice, clock))
        }
        (StreamChoice::Kinesis(_) | StreamChoice::KinesisArn(_), fan_out) => {
            let polling = KinesisStream::new(from.kinesis.clone(), choice, from.region.clone(), clock);
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

/// Who reads what, for the keys of KCL's tables.
async fn readers(config: &Config, clients: &AwsClients) -> Vec<Reader> {
    let mut readers = Vec::new();
    for pipeline in &config.pipelines {
        let source = &pipeline.source;
        let mut region = source.aws.region.clone();
        // KCL's name of a Kinesis stream has no region, so that it must come from somewhere.
        if region.is_none() && source.stream.kinesis_name().is_some() {
            let from = clients.clients(&source.aws).await.ok();
            region = from.map(|from| from.region);
        }
        readers.push(Reader {
            pipeline: pipeline.name.clone(),
            stream: source.stream.clone(),
            region,
        });
    }
    readers
}

/// Looks at the lease table, however long it takes: whose keys it has. `None`: a stop was wished before.
async fn keys(
    table: &dyn LeaseTable,
    config: &Config,
    readers: Vec<Reader>,
    clock: &dyn Clock,
    readiness: &Readiness,
    rng: &mut fastrand::Rng,
    mut stop: Stop,
) -> Result<Option<Keys>, Failure> {
    let mut backoff = Backoff::default();
    loop {
        let leases = tokio::select! {
            leases = table.leases() => leases,
            () = stop.wished() => return Ok(None),
        };
        match leases {
            Ok(leases) => {
                readiness.solved("state tables");
                let keys = Keys::of_table(&leases, config.lease_keys, readers)?;
                if keys.are_kcls() && !leases.is_empty() {
                    info!(
                        table = %config.state_tables().leases,
                        leases = leases.len(),
                        "the lease table is a KCL application's: going on from its checkpoints, with its keys"
                    );
                    if let Some(lease) = leases.iter().find(|l| keys.pipeline_of(l).is_none()) {
                        warn!(lease = %lease.key, "no pipeline reads the stream of this lease, and perhaps of others: they stay as they are");
                    }
                }
                return Ok(Some(keys));
            }
            Err(error) => {
                readiness.problem("state tables", error.to_string());
                warn!(%error, "the lease table could not be read; repeating");
            }
        }
        tokio::select! {
            () = clock.sleep(backoff.next(rng) + Duration::from_millis(200)) => {}
            () = stop.wished() => return Ok(None),
        }
    }
}

/// The pod's or the machine's name: the readable part of the worker's id.
fn host() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() {
        "worker".to_owned()
    } else {
        name
    }
}

/// SIGTERM (ECS, Kubernetes) and SIGINT (a terminal).
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> (&'static str, i32) {
        tokio::select! {
            _ = self.terminate.recv() => ("SIGTERM", SignalKind::terminate().as_raw_value()),
            _ = self.interrupt.recv() => ("SIGINT", SignalKind::interrupt().as_raw_value()),
        }
    }

    /// The first signal asks for a drain, the second ends the process at once.
    async fn handle(mut self, stopper: shutdown::Stopper) {
        let (name, _) = self.next().await;
        info!("{name}: draining; a second signal ends at once");
        stopper.stop();
        let (name, number) = self.next().await;
        error!("{name} again: ending at once; what was not checkpointed will be repeated");
        // 128 + n, as a shell reports a process that a signal ended.
        std::process::exit(128 + number);
    }
}
