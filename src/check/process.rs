//! What of the machine and the process is as it should be: the clock, the port, the memory, the time to drain.
//!
//! Pure.

use std::time::Duration;

use super::{Cause, Finding, Subject};
use crate::clock::Timestamp;
use crate::config::check::{AFTER_DRAIN, shown};
use crate::config::{Config, Start, bounds};
use crate::lease::times::least_drain;
use crate::memory::Budget;

/// A clock that is off by more is told: a `start` given as a time means another one, and so do the ages of records.
const OFF: Duration = Duration::from_secs(30);
/// Signatures count for five minutes (IAM user guide, "Elements of an AWS API request signature"): beyond this they
/// soon won't.
const TOO_FAR_OFF: Duration = Duration::from_secs(240);

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
            format!(
                "a Weir runs on {address} already: as it should be where this is asked beside it, as in its pod; another on \
                 this machine needs another address"
            ),
        )
        .way_out("set `http.address`, --http-address or WEIR_HTTP_ADDRESS"),
        Port::Taken(why) => Finding::error(Subject::Http, format!("{address} can't be listened on: {why}"))
            .way_out("set `http.address`, --http-address or WEIR_HTTP_ADDRESS to a free one"),
    }
}

/// The budget beside the limit of the control group. `limit` in bytes; `None`: there is none.
pub fn memory(config: &Config, limit: Option<u64>) -> Finding {
    match Budget::of(config.memory, limit, config.least_memory()) {
        Ok(budget) => Finding::ok(Subject::Memory, format!("memory for what is in flight: {budget}")),
        Err(too_little) => Finding::error(Subject::Memory, too_little.to_string()),
    }
}

/// The time that a drain may take, beside the time that the platform waits: what is known of it, or what is usual.
pub fn drain(config: &Config) -> Finding {
    let drain = config.drain_timeout;
    let end = drain + AFTER_DRAIN;
    match config.grace_period {
        // A grace period that is too short is no setting.
        Some(grace) => Finding::ok(
            Subject::Drain,
            format!(
                "a drain ends within {}, and the platform waits {}",
                shown(drain),
                shown(grace)
            ),
        ),
        None if end <= GRACE => Finding::ok(Subject::Drain, format!("a drain ends within {}", shown(drain))),
        None => Finding::warning(
            Subject::Drain,
            format!(
                "`drain.timeout` is {}, after which Weir needs up to {} more to end, and Kubernetes and ECS kill after {} \
                 unless they are told otherwise",
                shown(drain),
                shown(AFTER_DRAIN),
                shown(GRACE)
            ),
        )
        .way_out(format!(
            "set terminationGracePeriodSeconds or stopTimeout to {} at least and `drain.grace_period`, --grace-period or \
             WEIR_GRACE_PERIOD to the same, or `drain.timeout` to {} at most",
            shown(end),
            shown(GRACE.saturating_sub(AFTER_DRAIN))
        )),
    }
}

/// Whether a drain waits long enough for those who go on with the shards.
pub fn hand_over(config: &Config) -> Finding {
    let (drain, lease) = (config.drain_timeout, config.lease_duration);
    let least = least_drain(lease);
    if drain >= least {
        return Finding::ok(
            Subject::Drain,
            format!("with leases of {} shards are handed over", shown(lease)),
        );
    }
    Finding::error(
        Subject::Drain,
        format!(
            "`drain.timeout` is {} and `leases.duration` {}: a worker that drains would not wait until the others have seen \
             it, so that its shards stand still",
            shown(drain),
            shown(lease)
        ),
    )
    .way_out(match longest_lease(drain) {
        Some(longest) => format!(
            "set `drain.timeout`, --drain-timeout or WEIR_DRAIN_TIMEOUT to {} at least, or `leases.duration` to {} at most",
            shown(least),
            shown(longest)
        ),
        None => format!(
            "set `drain.timeout`, --drain-timeout or WEIR_DRAIN_TIMEOUT to {} at least",
            shown(least)
        ),
    })
}

/// The longest lease, in whole seconds, whose shards such a drain hands over.
fn longest_lease(drain: Duration) -> Option<Duration> {
    let (least, most) = (bounds::LEASE.start().as_secs(), bounds::LEASE.end().as_secs());
    let mut leases = (least..=most).rev().map(Duration::from_secs);
    leases.find(|lease| least_drain(*lease) <= drain)
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
            (Some(256 << 20), Severity::Error),
            (Some(0), Severity::Error),
        ] {
            let config = Config {
                memory: Some(256 << 20),
                ..config.clone()
            };
            assert_eq!(memory(&config, limit).severity, want, "{limit:?}");
        }
        for (port_is, want) in [
            (Port::Free, Severity::Ok),
            (Port::Weir, Severity::Warning),
            (Port::Taken("in use".to_owned()), Severity::Error),
        ] {
            assert_eq!(port(&config, &port_is).severity, want, "{port_is:?}");
        }
    }
    fn times(drain: u64, lease: u64, grace: Option<u64>) -> Config {
        Config {
            drain_timeout: Duration::from_millis(drain),
            lease_duration: Duration::from_secs(lease),
            grace_period: grace.map(Duration::from_secs),
            ..Config::of(Vec::new())
        }
    }

    #[test]
    fn a_drain_ends_before_the_platform_kills() {
        for (seconds, grace, want) in [
            (25, None, Severity::Ok),
            // Its end comes after 31 s.
            (26, None, Severity::Warning),
            (110, None, Severity::Warning),
            (25, Some(30), Severity::Ok),
            (110, Some(115), Severity::Ok),
        ] {
            let found = drain(&times(seconds * 1000, 10, grace));
            assert_eq!(found.severity, want, "{seconds} {grace:?}");
        }
    }

    #[test]
    fn a_drain_hands_over_where_it_is_long_enough_for_the_lease() {
        for (drain, lease, way_out) in [
            (25_000, 10, None),
            (13_800, 10, None),
            (13_799, 10, Some(("13800ms", "`leases.duration` to 9s at most"))),
            (24_800, 20, None),
            (25_000, 30, Some(("35800ms", "`leases.duration` to 20s at most"))),
            (6_100, 3, None),
            // No lease is so short.
            (5_000, 3, Some(("6100ms", "6100ms at least"))),
        ] {
            let found = hand_over(&times(drain, lease, None));
            let want = way_out.map(|_| Severity::Error).unwrap_or(Severity::Ok);
            assert_eq!(found.severity, want, "{drain} {lease}");
            let told = found.way_out.unwrap_or_default();
            if let Some((least, end)) = way_out {
                assert!(told.contains(least) && told.ends_with(end), "{told}");
            }
        }
    }
}
