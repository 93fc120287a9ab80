//! Looks, before anything is read, whether a destination feeds its own source.
//!
//! `logs::guard` owns what a loop is and how it is looked for; here stands which pipelines are looked at, for how
//! long, and what is said of what was seen.

use std::time::Duration;

use tracing::{info, warn};

use super::Failure;
use crate::clock::{self, Clock, Monotonic};
use crate::config::{Config, PipelineConfig};
use crate::coordinator::Pipeline;
use crate::logs::Subscriptions;
use crate::logs::address;
use crate::logs::guard::look::{look, look_at};
use crate::logs::guard::{Guard, Verdict, fixed_group};
use crate::shutdown::Stop;
use crate::stream::{StreamArn, StreamSource};

/// How long the looks may take, all together. What is not seen by then is noticed while running.
pub const LOOKS: Duration = Duration::from_secs(30);

/// What was seen of a pipeline.
pub struct Seen {
    pub stream: StreamArn,
    /// Of the destination's group.
    pub verdict: Verdict,
    /// The group of the dead letters and what was seen of it, where it had to be looked at too.
    pub of_letters: Option<(String, Verdict)>,
}

/// Refuses a destination that feeds its own source, and tells what can't be known of the others. `None`: a stop
/// was wished before.
pub async fn refuse(
    pipelines: &mut [Pipeline],
    config: &Config,
    clock: &dyn Clock,
    rng: &mut fastrand::Rng,
    mut stop: Stop,
) -> Result<Option<()>, Failure> {
    let end = clock.now() + LOOKS;
    for pipeline in pipelines {
        // Only a Kinesis stream can be written to by CloudWatch Logs.
        if pipeline.config.source.stream.kinesis_name().is_none() {
            continue;
        }
        let Some(logs) = pipeline.subscriptions.clone() else {
            continue;
        };
        let (settings, source) = (&pipeline.config, &*pipeline.source);
        let seen = tokio::select! {
            seen = look_around(&config.application, settings, source, &*logs, clock, rng, end) => seen,
            () = stop.wished() => return Ok(None),
        };
        match seen {
            Ok(seen) => {
                // What is known of both groups: an event of either would come round.
                let both = match &seen.of_letters {
                    Some((_, unclear)) if *unclear != Verdict::Clear => unclear,
                    _ => &seen.verdict,
                };
                pipeline.guard = Guard::new(&pipeline.config, &seen.stream, both, clock.wall());
                judge(pipeline, &config.application, seen)?;
            }
            Err(why) => warn!(
                pipeline = pipeline.name,
                "whether the destination feeds this pipeline's source is not known, since the stream can't be asked: {why}"
            ),
        }
    }
    Ok(Some(()))
}

/// Looks at the groups that a pipeline writes to, until `end`. The error is why its stream can't be asked.
pub async fn look_around(
    application: &str,
    pipeline: &PipelineConfig,
    source: &dyn StreamSource,
    logs: &dyn Subscriptions,
    clock: &dyn Clock,
    rng: &mut fastrand::Rng,
    end: Monotonic,
) -> Result<Seen, String> {
    let left = end.since(clock.now());
    let stream = match clock::timeout(clock, left, source.current()).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err("no answer in time".to_owned()),
    };
    let left = end.since(clock.now());
    let verdict = look(application, pipeline, &stream, logs, clock, rng, left).await;
    let letters = address::letters(application, pipeline, &stream).group;
    let group = fixed_group(application, pipeline, &stream);
    let of_letters = match matches!(verdict, Verdict::Loop(_)) || group.as_ref() == Some(&letters) {
        true => None,
        false => {
            let left = end.since(clock.now());
            let seen = look_at(&letters, &stream, logs, clock, rng, left).await;
            Some((letters, seen))
        }
    };
    Ok(Seen {
        stream,
        verdict,
        of_letters,
    })
}

/// Says what was seen of a pipeline. A loop is a failure.
fn judge(pipeline: &Pipeline, application: &str, seen: Seen) -> Result<(), Failure> {
    let Seen {
        stream,
        verdict,
        of_letters,
    } = seen;
    let name = &pipeline.name;
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
    let key = format!("pipelines.{name}.destination.group");
    match verdict {
        Verdict::Loop(found) => return Err(Failure::Loop { key, found }),
        Verdict::Clear => info!(pipeline = name, %stream, "the destination doesn't feed its own source"),
        Verdict::Unknown(why) if fixed_group(application, &pipeline.config, &stream).is_none() => info!(
            pipeline = name,
            "{key}: each event that comes is checked for coming from a group that is written to: {why}"
        ),
        Verdict::Unknown(why) => warn!(
            pipeline = name,
            "{key}: whether it feeds its own source is not known: {why}. Each event that comes is checked for it"
        ),
    }
    Ok(())
}
