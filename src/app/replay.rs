//! What `weir replay` needs, and its way to it.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;

use super::by_hand::{self, one_more_reader};
use super::signals::Signals;
use super::{Failure, loops, shutdown};
use crate::cli;
use crate::cli::exit::Exit;
use crate::cli::progress::Ticker;
use crate::cli::replay::Order;
use crate::config::Config;
use crate::coordinator::Pipeline;
use crate::logs::guard::Guard;
use crate::operator::replay::{Done, How, Which};
use crate::operator::verify::{Period, StreamDesk};
use crate::shutdown::Stop;

/// Sends, and prints what was sent.
pub async fn replay(config: Config, order: Order, early: Option<Signals>) -> ExitCode {
    let done = Box::pin(send(config, &order, early)).await;
    match done {
        Ok(Some((period, done))) => cli::replay::answer(&order, period, &done),
        Ok(None) => cli::failed(&"stopped before anything was sent"),
        Err(Failed::Start(failure)) => {
            cli::failed(&failure);
            failure.exit().into()
        }
        Err(Failed::Misused(why)) => {
            cli::failed(&why);
            Exit::Misused.into()
        }
        Err(Failed::Sending(why)) => cli::failed(&why),
    }
}

enum Failed {
    Start(Failure),
    Misused(String),
    Sending(String),
}

impl<F: Into<Failure>> From<F> for Failed {
    fn from(failure: F) -> Self {
        Self::Start(failure.into())
    }
}

async fn send(
    config: Config,
    order: &Order,
    early: Option<Signals>,
) -> Result<Option<(Period, Done)>, Failed> {
    let signals = Signals::listen(early, None).map_err(Failure::Signals)?;
    let (stopper, mut stop) = shutdown::channel();
    let signals = tokio::spawn(signals.handle(stopper));
    // Nothing is begun yet: a look-up of credentials may be given up.
    let mut desk = tokio::select! {
        biased;
        () = stop.wished() => return Ok(None),
        desk = by_hand::stream_desk(config.clone()) => desk?,
    };
    let period = order.period.period(desk.clock.wall()).map_err(Failed::Misused)?;
    cli::tell(&one_more_reader(&desk.config));
    let Some(guard) = guard(&mut desk, &config, stop.clone()).await? else {
        return Ok(None);
    };
    let mut ticker = Ticker::new(desk.clock.clone());
    let which = match order.skip_delivered {
        false => Which::Everything,
        true => {
            cli::tell("looking for what is missing in the log");
            let mut tick = |progress: &_| ticker.tick(progress);
            // Nothing is written yet: it may be dropped.
            let found = tokio::select! {
                biased;
                () = stop.wished() => return Ok(None),
                found = Box::pin(desk.verify(period, &mut tick)) => found,
            };
            ticker.finish();
            let report = found.map_err(|refusal| Failed::Sending(refusal.to_string()))?;
            if report.which_missing.len() as u64 != report.missing {
                return Err(Failed::Sending(format!(
                    "{} events are missing, more than can be told apart at once: use a shorter period, by --from and --to",
                    report.missing
                )));
            }
            cli::tell(&format!(
                "{} of {} events are missing{}",
                report.missing,
                report.events,
                match report.differs {
                    0 => String::new(),
                    differs => format!("; {differs} are told in another way, and are not sent"),
                }
            ));
            let missing: BTreeSet<_> = report.which_missing.into_iter().map(|off| off.id).collect();
            if missing.is_empty() {
                return Ok(Some((period, Done::default())));
            }
            Which::Only(missing)
        }
    };
    let how = How {
        which,
        dry_run: order.dry_run,
        put_rate: config.put_rate,
        guard,
    };
    let mut ticker = Ticker::new(desk.clock.clone());
    let mut tick = |progress: &_| ticker.tick(progress);
    let done = Box::pin(desk.replay(period, &how, stop, &mut tick)).await;
    ticker.finish();
    signals.abort();
    let done = done.map_err(|refusal| Failed::Sending(refusal.to_string()))?;
    Ok(Some((period, done)))
}

/// Refuses a destination that feeds the stream, as a worker does at its start. `None`: a stop was wished before.
async fn guard(desk: &mut StreamDesk, config: &Config, stop: Stop) -> Result<Option<Guard>, Failure> {
    let mut pipelines = [Pipeline {
        name: desk.config.name.clone(),
        source: desk.source.clone(),
        subscriptions: Some(desk.subscriptions.clone()),
        sink: Arc::clone(&desk.logs),
        config: desk.config.clone(),
        guard: Guard::default(),
    }];
    let clock = desk.clock.clone();
    let looked = loops::refuse(&mut pipelines, config, &*clock, &mut desk.rng, stop).await?;
    let [pipeline] = pipelines;
    Ok(looked.map(|()| pipeline.guard))
}
