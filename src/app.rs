//! The composition root: makes the parts, gives them to each other, and sees them to their end.
//!
//! The only part that imports everything. Decides nothing but the exit code. Below it stand what a command needs
//! (`by_hand`), and what a worker asks before it begins: which adapter reads (`sources`), whether a destination feeds
//! its own source (`loops`), whose keys the tables have (`tables`).

mod by_hand;
mod check;
mod loops;
mod replay;
mod signals;
mod sources;
mod tables;
mod tail;
mod verify;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info, warn};

pub use by_hand::{dead_letters, operate};
pub use check::check;
pub use replay::replay;
pub use signals::Signals;
use tables::Asking;
pub use tail::tail;
pub use verify::verify;

use crate::aws::{AwsClients, Requests};
use crate::check::{Severity, process};
use crate::cli::Until;
use crate::cli::exit::Exit;
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::config::check::AFTER_DRAIN;
use crate::config::{Config, PipelineConfig, Start};
use crate::coordinator::{self, Pipeline, Settings, Why, Worker};
use crate::decode::Decode;
use crate::http::{self, Server};
use crate::lease::SharedTable;
use crate::lease::keys::KeysError;
use crate::log_level::LogLevel;
use crate::logs::cloudwatch::CloudWatchLogs;
use crate::logs::guard::{Guard, Loop};
use crate::memory::{self, Budget};
use crate::metrics::Metrics;
use crate::metrics::account::Account;
use crate::readiness::Readiness;
use crate::shutdown;
use crate::status::About;
use crate::status::rates::{self, Samples};
use crate::status::reports::Reports;
use crate::trace::Tracer;
use crate::trace::export::{self, Exporter, Sending};

/// A start may lie so far ahead of this machine's clock, which may be slow.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(300);

/// So long the HTTP server may take to end.
const LAST: Duration = Duration::from_secs(1);

// What follows the limit of a drain, with a second to spare for the process to end in.
const _: () = {
    let others = if LAST.as_millis() > export::LAST.as_millis() {
        LAST
    } else {
        export::LAST
    };
    let spare = 1_000;
    assert!(coordinator::FAREWELL.as_millis() + others.as_millis() + spare <= AFTER_DRAIN.as_millis());
};

/// Why the process ends with a failure. Each is its last word.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the signal handlers can't be set: {0}")]
    Signals(std::io::Error),
    #[error(transparent)]
    Bind(#[from] http::BindError),
    #[error(transparent)]
    Aws(#[from] crate::aws::AwsError),
    #[error(transparent)]
    Memory(#[from] crate::memory::TooLittle),
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
    #[error("the settings have no pipeline: add one")]
    NoPipeline,
    #[error("{0}")]
    Keys(#[from] KeysError),
    #[error(transparent)]
    Worker(#[from] coordinator::Died),
    #[error("the thread of the HTTP server can't be started: {0}")]
    HttpThread(std::io::Error),
    #[error("told to stop before everything was read: the next run goes on from the checkpoints")]
    NotCaughtUp,
    #[error("the HTTP server ended: {0}")]
    Http(String),
}

impl Failure {
    fn exit(&self) -> Exit {
        match self {
            Self::FutureStart { .. } | Self::Loop { .. } | Self::Aws(_) | Self::Memory(_) => Exit::Misused,
            _ => Exit::Failed,
        }
    }
}

/// Works until a signal and a complete drain; or until everything that the streams hold is delivered.
/// `early`: the signals, where they were listened to before.
pub async fn run(config: Config, until: Until, log_level: LogLevel, early: Option<Signals>) -> ExitCode {
    match work(config, until, log_level, early).await {
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

async fn work(
    config: Config,
    until: Until,
    log_level: LogLevel,
    early: Option<Signals>,
) -> Result<(), Failure> {
    let signals = Signals::listen(early, Some(log_level.clone())).map_err(Failure::Signals)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let metrics = Metrics::new();
    let readiness = Readiness::new();
    let reports = Reports::default();
    let samples = Samples::default();
    let mut rng = fastrand::Rng::with_seed(getrandom::u64().map_err(Failure::Random)?);
    let (tracer, sending) = traces(&config, &clock, rng.fork(), &metrics)?;

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
    let budget = Budget::of(
        config.memory,
        memory::limit::of_this_process(),
        config.least_memory(),
    )?;
    info!("memory for what is in flight: {budget}");
    let hand_over = process::hand_over(&config);
    if hand_over.severity == Severity::Error {
        warn!("{}; {}", hand_over.found, hand_over.way_out.unwrap_or_default());
    }
    warn_of_redactions(&config);
    let listener = http::bind(config.http_address)?;
    let address = listener.local_addr().unwrap_or(config.http_address);
    info!(%address, "for people at /, as JSON at /status; health at /livez, /readyz and /startupz, metrics at /metrics");
    let server = Server {
        clock: clock.clone(),
        readiness: readiness.clone(),
        metrics: metrics.clone(),
        reports: reports.clone(),
        log_level,
        samples: samples.clone(),
        about: Arc::new(About::of(&config, budget.bytes, clock.wall())),
    };
    let names = config.pipelines.iter().map(|p| p.name.clone()).collect();
    let sampling = rates::sample(samples, metrics.clone(), names, clock.clone());
    let (http_stopper, http_stop) = shutdown::channel();
    let mut http = http::start(listener, server, http_stop).map_err(Failure::HttpThread)?;

    let (stopper, stop) = shutdown::channel();
    let signals = tokio::spawn(signals.handle(stopper));

    let mut told = stop.clone();
    let until_stopped = stop.clone();
    let start = async {
        let counted = Requests::counted_in(metrics.clone(), clock.clone());
        let clients = AwsClients::from_env()?.counted(counted).wire(config.wire);
        let state = clients.clients(&config.state.aws).await?;
        let table: SharedTable = Arc::new(tables::state_table(&state, &config, &clock));
        let mut pipelines = Vec::new();
        for pipeline in &config.pipelines {
            let from = clients.clients(&pipeline.source.aws).await?;
            let to = clients.clients(&pipeline.destination.aws).await?;
            let logs = Arc::new(CloudWatchLogs::new(to.logs, to.wire));
            let mut settled = pipeline.clone();
            // The quota of puts is a region's, whichever way it was named.
            settled.destination.aws.region = Some(to.region);
            pipelines.push(Pipeline {
                name: pipeline.name.clone(),
                source: sources::source(&config.application, pipeline, from, &clock),
                subscriptions: Some(logs.clone()),
                sink: logs,
                config: settled,
                guard: Guard::default(),
            });
        }
        let looks = loops::refuse(&mut pipelines, &config, &*clock, &mut rng, stop.clone());
        if looks.await?.is_none() {
            return Ok(None);
        }
        let mut asking = Asking {
            table: &*table,
            config: &config,
            clock: &*clock,
            readiness: &readiness,
            rng: &mut rng,
            stop: stop.clone(),
        };
        if asking.prepare().await?.is_none() {
            return Ok(None);
        }
        let readers = tables::readers(&config, &clients).await;
        let Some(keys) = asking.keys(readers).await? else {
            return Ok(None);
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
            memory: budget.bytes,
            put_rate: config.put_rate,
            until_caught_up: until == Until::CaughtUp,
        };
        let host = host();
        Ok::<_, Failure>(Some(Worker {
            host,
            clock: clock.clone(),
            rng: rng.fork(),
            table,
            pipelines,
            settings,
            metrics: metrics.clone(),
            readiness: readiness.clone(),
            reports,
            tracer,
        }))
    };
    let worker = async {
        // A start may be given up at any point, a look-up of credentials too: the next one finds what it made.
        let started = tokio::select! {
            biased;
            () = told.wished() => None,
            started = start => started?,
        };
        match started {
            Some(worker) => Ok(Box::pin(coordinator::run(worker, until_stopped)).await?),
            None => Ok::<_, Failure>(Why::Told),
        }
    };
    // Neither is cancelled while it matters: whichever ends first ends the process.
    let ended = tokio::select! {
        ended = worker => ended,
        ended = http.ended() => return Err(Failure::Http(format!("{ended:?}"))),
        never = sampling => match never {},
    };
    tell_accounts(&config, &metrics);
    http_stopper.stop();
    // At once: the platform waits no longer than for the drain and `AFTER_DRAIN`.
    let traces = async {
        if let Some(sending) = sending {
            sending.finish().await;
        }
    };
    // A scraper that holds its connection open must not hold the process, with which the thread ends.
    let _ = tokio::join!(traces, tokio::time::timeout(LAST, http.ended()));
    signals.abort();
    match (until, ended?) {
        (Until::CaughtUp, Why::Told) => Err(Failure::NotCaughtUp),
        (Until::CaughtUp, Why::CaughtUp) | (Until::Stopped, _) => Ok(()),
    }
}

/// The tracer, and the task that sends what it traces; none while no traces are wished.
fn traces(
    config: &Config,
    clock: &Arc<dyn Clock>,
    mut rng: fastrand::Rng,
    metrics: &Metrics,
) -> Result<(Tracer, Option<Sending>), Failure> {
    let settings = &config.tracing;
    let Some(url) = &settings.url else {
        return Ok((Tracer::off(), None));
    };
    let connector = crate::aws::connector_from_env()?;
    let exporter = Exporter::to(
        url,
        settings,
        connector,
        clock.clone(),
        rng.fork(),
        metrics.clone(),
    );
    let (tracer, queue) = Tracer::on(settings.sample, clock.clone(), rng, metrics.clone());
    Ok((tracer, Some(exporter.start(queue))))
}

/// Says which values may be told although they are hidden elsewhere: as a change's old ones and not as its new ones,
/// in its key, or for a path that begins outside of the message.
fn warn_of_redactions(config: &Config) {
    for PipelineConfig {
        name, decode, shape, ..
    } in &config.pipelines
    {
        let Some(redact) = &shape.redact else {
            continue;
        };
        for sentence in redact.suspicious(decode.how) {
            warn!("pipelines.{name}.redact: {sentence}");
        }
        if !matches!(decode.how, Decode::Lambda | Decode::Change | Decode::Auto) {
            continue;
        }
        for path in redact.one_sided() {
            warn!(
                "pipelines.{name}.redact: `{path}` is hidden in one image of a change alone; the same value is told by \
                 the other one at the next change. Begin the path with `*.` to hide it in both, and in the key"
            );
        }
        for path in redact.open_keys() {
            info!(
                "pipelines.{name}.redact: if `{path}` is an attribute of the key, it is told there, and hidden in the \
                 images alone. Begin its path with `*.` to hide it there, too"
            );
        }
    }
}

/// Says at the end what became of the records, and of those that were trimmed. Nothing is in flight any more.
fn tell_accounts(config: &Config, metrics: &Metrics) {
    for PipelineConfig { name, .. } in &config.pipelines {
        let gaps = metrics.gaps.with_label_values(&[name]).get();
        if gaps > 0 {
            warn!(pipeline = %name, gaps, "the stream trimmed records before they were read; each gap has a row in the fleet table");
        }
        let account = Account::of_running(metrics, name);
        match account.adds_up() {
            true => info!(pipeline = %name, "records: {account}"),
            false => {
                error!(pipeline = %name, "the records don't add up, which is a fault of Weir's: {account}")
            }
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
