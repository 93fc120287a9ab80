//! What of the machine and the process is as it should be: the clock, the port, the memory, the time to drain.
//!
//! Pure.

use std::time::Duration;

use super::{Cause, Finding, Subject};
use crate::clock::Timestamp;
use crate::config::{Config, Start};

/// A clock that is off by more is told: a `start` given as a time means another one, and so do the ages of records.
const OFF: Duration = Duration::from_secs(30);
/// Signatures count for five minutes (IAM user guide, "Elements of an AWS API request signature"): beyond this they
/// soon won't.
const TOO_FAR_OFF: Duration = Duration::from_secs(240);

/// What the process needs beside what is in flight: the runtime, buffers of connections, leases.
/// An estimate.
const BESIDES: u64 = 64 << 20;

/// Kubernetes kills 30 s after SIGTERM (`terminationGracePeriodSeconds`), ECS too (`stopTimeout`), unless told
/// otherwise.
const GRACE: Duration = Duration::from_secs(30);

/// What listens on the port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Port {
    Free,
    /// A Weir answers there.
    Weir,
    /// It can't be listened on: why.
    Taken(String),
}

/// The machine's clock beside that of the service.
pub fn clock(here: Timestamp, there: Timestamp) -> Finding {
    let (off, way) = match here > there {
        true => (here.since(there), "ahead of"),
        false => (there.since(here), "behind"),
    };
    let found = format!("this machine's clock is {} s {way} AWS's", off.as_secs());
    let way_out = "set the clock: let chrony or systemd-timesyncd keep it";
    if off > TOO_FAR_OFF {
        Finding {
            cause: Some(Cause::Clock),
            ..Finding::error(
                Subject::Clock,
                format!("{found}, and requests count for five minutes"),
            )
            .way_out(way_out)
        }
    } else if off > OFF {
        Finding::warning(Subject::Clock, found).way_out(way_out)
    } else {
        Finding::ok(Subject::Clock, "the clock is AWS's")
    }
}

/// The address of the HTTP server.
pub fn port(config: &Config, port: &Port) -> Finding {
    let address = config.http_address;
    match port {
        Port::Free => Finding::ok(Subject::Http, format!("{address} is free")),
        Port::Weir => Finding::warning(
            Subject::Http,
            format!("a Weir runs on {address} already: another on this machine needs another address"),
        )
        .way_out("set `http.address`, --http-address or WEIR_HTTP_ADDRESS"),
        Port::Taken(why) => Finding::error(Subject::Http, format!("{address} can't be listened on: {why}"))
            .way_out("set `http.address`, --http-address or WEIR_HTTP_ADDRESS to a free one"),
    }
}

/// The budget beside the limit of the control group. `limit` in bytes; `None`: there is none.
pub fn memory(config: &Config, limit: Option<u64>) -> Finding {
    let budget = config.memory as u64;
    let mib = |bytes: u64| bytes >> 20;
    match limit {
        Some(limit) if budget.saturating_add(BESIDES) > limit => Finding::warning(
            Subject::Memory,
            format!(
                "`memory` is {} MiB and the container's limit {} MiB: Weir needs some {} MiB more than its budget, and the \
                 kernel kills who exceeds the limit",
                mib(budget),
                mib(limit),
                mib(BESIDES)
            ),
        )
        .way_out(format!(
            "set the container's limit to {} MiB at least, or `memory` to {} MiB",
            mib(budget + BESIDES),
            mib(limit.saturating_sub(BESIDES))
        )),
        Some(limit) => Finding::ok(
            Subject::Memory,
            format!("{} of {} MiB of memory for what is in flight", mib(budget), mib(limit)),
        ),
        None => Finding::ok(Subject::Memory, format!("{} MiB of memory for what is in flight, no limit is set", mib(budget))),
    }
}

/// The time that a drain may take.
pub fn drain(config: &Config) -> Finding {
    let drain = config.drain_timeout;
    if drain < GRACE {
        return Finding::ok(
            Subject::Drain,
            format!("a drain ends within {} s", drain.as_secs()),
        );
    }
    Finding::warning(
        Subject::Drain,
        format!(
            "`drain.timeout` is {} s, and Kubernetes and ECS kill after {} s unless they are told otherwise",
            drain.as_secs(),
            GRACE.as_secs()
        ),
    )
    .way_out(
        "see that terminationGracePeriodSeconds or stopTimeout is longer, or set a shorter `drain.timeout`",
    )
}

/// Starts at a time: one that lies ahead is refused, beyond what is to be put down to the `tolerance` of clocks.
pub fn starts(config: &Config, now: Timestamp, tolerance: Duration) -> Vec<Finding> {
    let ahead = config
        .pipelines
        .iter()
        .filter_map(|pipeline| match pipeline.source.start {
            Start::At(start) if start > now.plus(tolerance) => Some(
                Finding::error(
                    Subject::Source,
                    format!(
                        "source.start: {start} lies in the future: every change before it would be dropped"
                    ),
                )
                .way_out("set source.start to a time that has passed, or to `latest`")
                .of(&pipeline.name),
            ),
            _ => None,
        });
    ahead.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Severity;

    #[test]
    fn a_clock_is_told_before_signatures_fail() {
        let there = Timestamp::from_millis(1_000_000_000);
        for (seconds, want) in [
            (0, Severity::Ok),
            (30, Severity::Ok),
            (31, Severity::Warning),
            (-31, Severity::Warning),
            (240, Severity::Warning),
            (241, Severity::Error),
            (-86_400, Severity::Error),
        ] {
            let here = Timestamp::from_millis(1_000_000_000 + seconds * 1000);
            assert_eq!(clock(here, there).severity, want, "{seconds}");
        }
    }

    #[test]
    fn the_process_fits_its_surroundings() {
        let config = Config::of(Vec::new());
        for (limit, want) in [
            (None, Severity::Ok),
            (Some(512 << 20), Severity::Ok),
            (Some(320 << 20), Severity::Ok),
            (Some(256 << 20), Severity::Warning),
            (Some(0), Severity::Warning),
        ] {
            assert_eq!(memory(&config, limit).severity, want, "{limit:?}");
        }
        for (seconds, want) in [(25, Severity::Ok), (30, Severity::Warning)] {
            let config = Config {
                drain_timeout: Duration::from_secs(seconds),
                ..config.clone()
            };
            assert_eq!(drain(&config).severity, want, "{seconds}");
        }
        for (port_is, want) in [
            (Port::Free, Severity::Ok),
            (Port::Weir, Severity::Warning),
            (Port::Taken("in use".to_owned()), Severity::Error),
        ] {
            assert_eq!(port(&config, &port_is).severity, want, "{port_is:?}");
        }
    }
}
