//! Looks for what would keep `weir run` from working.
//!
//! Owns the looks: which are made, at once, and for how long. What each means, `check` judges. Writes nothing: no
//! table, no group, no stream, no lease, no event.

mod destination;
mod machine;
mod source;
mod state;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use crate::app::CLOCK_TOLERANCE;
use crate::aws::arn::Place;
use crate::aws::failure::Failure;
use crate::aws::{AwsClients, AwsError, Clients};
use crate::backoff::Backoff;
use crate::check::calls::{Call, failed, unreachable};
use crate::check::{Finding, Report, Severity, Subject, process, source as sources};
use crate::cli;
use crate::cli::check::Order;
use crate::clock::{Clock, SystemClock, timeout};
use crate::config::{AwsSettings, Config, PipelineConfig};
use crate::memory::limit;
use crate::stream::StreamArn;

/// One look, with all its requests. A request ends after 20 s by itself.
const LOOK: Duration = Duration::from_secs(45);

/// A request that is throttled is repeated so often, over some ten seconds: the looks of many pipelines are made at
/// once, and ListStreams, say, is answered five times a second.
const MOST_REPEATS: u32 = 9;

/// What the looks share.
#[derive(Clone)]
struct Looks {
    config: Arc<Config>,
    aws: Arc<AwsClients>,
    clock: Arc<dyn Clock>,
}

/// Carries the order out, and prints the answer.
pub async fn check(order: Order) -> ExitCode {
    match order {
        Order::Wrong(problems) => cli::check::tell_wrong(problems),
        Order::Look { config, json } => {
            let report = Report::of(Box::pin(look(*config)).await);
            cli::check::tell(&report, json)
        }
    }
}

async fn look(config: Config) -> Vec<Finding> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mut findings = vec![
        process::port(&config, &machine::port(&config, &*clock).await),
        process::memory(&config, limit::of_this_process()),
        process::drain(&config),
        process::hand_over(&config),
    ];
    findings.extend(process::starts(&config, clock.wall(), CLOCK_TOLERANCE));
    let aws = match AwsClients::from_env() {
        Ok(aws) => Arc::new(aws.wire(config.wire)),
        Err(error) => {
            findings.push(unusable(&error));
            return findings;
        }
    };
    let config = Arc::new(config);
    let looks = Looks { config, aws, clock };
    // In a set, so that they are made at once, and end with it.
    let mut set = tokio::task::JoinSet::new();
    for pipeline in looks.config.pipelines.clone() {
        let looks = looks.clone();
        set.spawn(async move { Box::pin(looks.pipeline(&pipeline)).await });
    }
    let (mut of_state, leases) = Box::pin(looks.state()).await;
    findings.append(&mut of_state);
    while let Some(ended) = set.join_next().await {
        match ended {
            Ok(seen) => {
                findings.extend(seen.findings);
                let Some((stream, keys)) = seen.stream.zip(leases.as_ref()) else {
                    continue;
                };
                let pipeline = &seen.pipeline;
                let own = keys.of(&pipeline.name);
                findings.extend(sources::streams_before(pipeline, &own, &stream));
            }
            Err(error) => findings.push(Finding::unknown(
                Subject::Settings,
                format!("a look failed: {error}"),
            )),
        }
    }
    findings
}

/// What was seen of a pipeline.
struct Seen {
    pipeline: PipelineConfig,
    /// The stream that it reads now.
    stream: Option<StreamArn>,
    findings: Vec<Finding>,
}

impl Looks {
    /// The clients for these settings, and where they ask. The error is the finding.
    async fn clients(&self, settings: &AwsSettings) -> Result<(Clients, Place), Finding> {
        let clients = self
            .aws
            .clients(settings)
            .await
            .map_err(|error| unusable(&error))?;
        let region = clients.region.clone();
        match clients.identity().await {
            Ok(identity) => {
                let place = Place::new(&region, identity.account.as_deref());
                Ok((clients, place))
            }
            Err(failure) => {
                let call = Call {
                    action: "sts:AssumeRole",
                    resource: settings.assume_role_arn.as_deref().unwrap_or("the role"),
                    region: &region,
                    subject: Subject::Credentials,
                    if_denied: Severity::Error,
                };
                Err(failed(call, &failure))
            }
        }
    }

    /// Repeats a request while it is throttled.
    async fn patiently<T, F>(&self, request: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let mut backoff = Backoff::default();
        // Alike in no two looks; without a random number they are alike.
        let mut rng = fastrand::Rng::with_seed(getrandom::u64().unwrap_or_default());
        loop {
            match request().await {
                Err(Failure::Throttled(_)) if backoff.failures() < MOST_REPEATS => {
                    self.clock.sleep(backoff.next(&mut rng)).await;
                }
                answer => return answer,
            }
        }
    }

    async fn pipeline(&self, pipeline: &PipelineConfig) -> Seen {
        let within = |what| {
            move |_| {
                let region = pipeline.source.aws.region.as_deref().unwrap_or("the region");
                unreachable(what, region, "no answer in time").of(&pipeline.name)
            }
        };
        let (from, to) = tokio::join!(
            timeout(&*self.clock, LOOK, Box::pin(self.source(pipeline))),
            timeout(&*self.clock, LOOK, Box::pin(self.destination(pipeline))),
        );
        let mut findings = Vec::new();
        let mut stream = None;
        match from.map_err(within("the source")) {
            Ok((seen, of_source)) => {
                stream = seen;
                findings.extend(of_source);
            }
            Err(late) => findings.push(late),
        }
        match to.map_err(within("logs")) {
            Ok(of_destination) => findings.extend(of_destination),
            Err(late) => findings.push(late),
        }
        Seen {
            pipeline: pipeline.clone(),
            stream,
            findings,
        }
    }
}

fn unusable(error: &AwsError) -> Finding {
    Finding::error(Subject::Settings, error.to_string())
}
