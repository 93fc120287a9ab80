//! What `weir tail` needs, and its way to it.

use std::io;
use std::process::ExitCode;

use super::by_hand::{self, one_more_reader};
use super::signals::Signals;
use super::{Failure, shutdown};
use crate::cli;
use crate::cli::exit::Exit;
use crate::cli::tail::{Order, Printer};
use crate::config::Config;
use crate::decode::Origin;
use crate::logs::address;
use crate::operator::survey::{Batch, Seen};
use crate::operator::verify::StreamDesk;
use crate::shape;

/// Prints events until it is told to stop, or nobody reads them.
pub async fn tail(config: Config, order: Order, early: Option<Signals>) -> ExitCode {
    match Box::pin(print(config, &order, early)).await {
        Ok(()) => Exit::Done.into(),
        Err(Failed::Start(failure)) => {
            cli::failed(&failure);
            failure.exit().into()
        }
        Err(Failed::Reading(why)) => cli::failed(&why),
    }
}

enum Failed {
    Start(Failure),
    Reading(String),
}

impl<F: Into<Failure>> From<F> for Failed {
    fn from(failure: F) -> Self {
        Self::Start(failure.into())
    }
}

async fn print(config: Config, order: &Order, early: Option<Signals>) -> Result<(), Failed> {
    let signals = Signals::listen(early, None).map_err(Failure::Signals)?;
    let (stopper, mut stop) = shutdown::channel();
    let signals = tokio::spawn(signals.handle(stopper));
    // Nothing is begun yet: a look-up of credentials may be given up.
    let mut desk = tokio::select! {
        biased;
        () = stop.wished() => return Ok(()),
        desk = by_hand::stream_desk(config) => desk?,
    };
    cli::tell(&one_more_reader(&desk.config));
    let now = desk.clock.wall();
    let mut survey = desk.survey(order.scope(now));
    let mut tail = Tail {
        printer: Printer::new(order),
        order,
        left: order.limit,
    };
    while tail.left != Some(0) {
        // Cancel-safe, both.
        let seen = tokio::select! {
            biased;
            () = stop.wished() => break,
            seen = survey.next() => seen.map_err(|error| Failed::Reading(error.to_string()))?,
        };
        let Some(seen) = seen else { break };
        match seen {
            Seen::Records(batch) => match tail.print(&desk, &batch) {
                Ok(()) => {}
                // Whoever read it has enough.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
                Err(error) => return Err(Failed::Reading(error.to_string())),
            },
            Seen::Gap { shard, after, .. } => {
                let after = after.map_or_else(|| "its beginning".to_owned(), |number| number.to_string());
                cli::tell(&format!(
                    "{shard}: the stream trimmed records after {after} before they could be read"
                ));
            }
            Seen::Gone { shard, .. } => {
                cli::tell(&format!("{shard}: the stream doesn't know this shard any more"))
            }
            Seen::Note(note) => cli::tell(&note),
            Seen::Ended { .. } => {}
        }
    }
    signals.abort();
    Ok(())
}

struct Tail<'o> {
    printer: Printer,
    order: &'o Order,
    /// How many events may still be printed.
    left: Option<u64>,
}

impl Tail<'_> {
    fn print(&mut self, desk: &StreamDesk, batch: &Batch) -> io::Result<()> {
        let Batch {
            stream,
            shard,
            records,
        } = batch;
        let (config, origin) = (&desk.config, Origin { stream, shard });
        for record in records.iter().flat_map(|record| desk.parts(record)) {
            let decoded = match shape::events(&record, origin, &config.decode, &config.shape) {
                Ok(decoded) => decoded,
                Err(error) => {
                    let why = match config.withholds() {
                        true => error.without_content(),
                        false => error.to_string(),
                    };
                    let number = &record.sequence_number;
                    // Not amid the lines that come before it.
                    self.printer.flush()?;
                    cli::tell_plainly(&format!("{shard} {number}: would be a dead letter: {why}"));
                    continue;
                }
            };
            for event in &decoded.events {
                if self.left == Some(0) {
                    return self.printer.flush();
                }
                self.left = self.left.map(|left| left - 1);
                let envelope = event.envelope.and_then(|at| decoded.envelopes.get(at));
                let to = self.order.has_group.then(|| {
                    address::destination(&desk.application, config, stream, shard.as_str(), envelope).ok()
                });
                self.printer
                    .print(&event.event, &record, shard, to.flatten().as_ref())?;
            }
        }
        self.printer.flush()
    }
}
