//! What `weir verify` needs, and its way to it.

use std::process::ExitCode;

use super::by_hand::{self, one_more_reader};
use crate::cli;
use crate::cli::exit::Exit;
use crate::cli::progress::Ticker;
use crate::cli::verify::Order;
use crate::config::Config;

/// Compares, and prints what was found.
pub async fn verify(config: Config, order: Order) -> ExitCode {
    let mut desk = match Box::pin(by_hand::stream_desk(config)).await {
        Ok(desk) => desk,
        Err(failure) => {
            cli::failed(&failure);
            return failure.exit().into();
        }
    };
    let period = match order.period.period(desk.clock.wall()) {
        Ok(period) => period,
        Err(why) => {
            cli::failed(&why);
            return Exit::Misused.into();
        }
    };
    cli::tell(&one_more_reader(&desk.config));
    let mut ticker = Ticker::new(desk.clock.clone());
    let found = Box::pin(desk.verify(period, &mut |progress| ticker.tick(progress))).await;
    ticker.finish();
    match found {
        Ok(report) => cli::verify::answer(&order, period, &report),
        Err(refusal) => cli::failed(&refusal),
    }
}
