//! The commands of a person: what they need of the settings, and their way to the tables and the letters.

use std::process::ExitCode;
use std::sync::Arc;

use super::{Failure, sources, tables};
use crate::aws::AwsClients;
use crate::cli;
use crate::clock::{Clock, SystemClock};
use crate::config::{AwsSettings, Config, PipelineConfig};
use crate::lease::LeaseTable;
use crate::lease::keys::Keys;
use crate::lease::times::Times;
use crate::logs::LogSink;
use crate::logs::cloudwatch::CloudWatchLogs;
use crate::operator::Desk;
use crate::operator::dead_letters::{LetterDesk, Mail};
use crate::operator::verify::StreamDesk;

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
    let clients = AwsClients::from_env()?.wire(config.wire);
    let mut sinks: Vec<(AwsSettings, Arc<dyn LogSink>)> = Vec::new();
    let mut mail = Vec::new();
    for mut pipeline in config.pipelines {
        let from = clients.clients(&pipeline.source.aws).await?;
        let to = pipeline.destination.aws.clone();
        let logs = match sinks.iter().find(|(settings, _)| *settings == to) {
            Some((_, logs)) => logs.clone(),
            None => {
                let at = clients.clients(&to).await?;
                let logs: Arc<dyn LogSink> = Arc::new(CloudWatchLogs::new(at.logs, at.wire));
                sinks.push((to, logs.clone()));
                logs
            }
        };
        // A subscription of the consumer's own would end that of the worker.
        pipeline.source.fan_out = None;
        mail.push(Mail {
            source: sources::source(&config.application, &pipeline, from, &clock),
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

/// The stream and the log groups of these settings' one pipeline.
pub async fn stream_desk(config: Config) -> Result<StreamDesk, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let clients = AwsClients::from_env()?.wire(config.wire);
    let mut pipelines = config.pipelines.into_iter();
    // The arguments were read for exactly one.
    let Some(mut pipeline) = pipelines.next() else {
        return Err(Failure::NoPipeline);
    };
    let from = clients.clients(&pipeline.source.aws).await?;
    let to = clients.clients(&pipeline.destination.aws).await?;
    let logs = Arc::new(CloudWatchLogs::new(to.logs, to.wire));
    // A subscription of the consumer's own would end that of the worker.
    pipeline.source.fan_out = None;
    Ok(StreamDesk {
        source: sources::source(&config.application, &pipeline, from, &clock),
        application: config.application,
        config: pipeline,
        subscriptions: logs.clone(),
        logs,
        clock,
        rng: fastrand::Rng::with_seed(getrandom::u64().map_err(Failure::Random)?),
        tell: Box::new(cli::tell),
    })
}

/// What whoever reads a stream beside its workers must know.
pub fn one_more_reader(pipeline: &PipelineConfig) -> String {
    let what = match pipeline.source.stream.kinesis_name() {
        Some(_) => "all readers of a Kinesis shard share its 5 reads and 2 MB a second",
        None => {
            "a shard of DynamoDB Streams is meant for two readers at most, one on a global table, and the daemon may be \
             throttled"
        }
    };
    format!(
        "this is one more reader of the stream ({what}): it reads slower than the daemon, and waits when throttled"
    )
}

/// The state tables of these settings. Creates none; those that are there are Weir's or KCL's.
async fn desk(config: &Config) -> Result<Desk, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let aws = AwsClients::from_env()?.wire(config.wire);
    let clients = aws.clients(&config.state.aws).await?;
    let table = tables::state_table(&clients, config, &clock);
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
    let readers = tables::readers(config, &aws).await;
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
