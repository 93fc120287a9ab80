//! How many bytes may be in flight: what the settings say, or what the container's limit allows.
//!
//! Pure; `limit` asks the kernel. Called by `app`, for `weir run` and `weir check` alike.

pub mod limit;

use std::fmt;

use crate::config::bounds::MEMORY;
use crate::config::check::shown_size;

/// What the process needs beside what is in flight: the runtime, buffers of connections, leases.
/// An estimate.
pub const BESIDES: u64 = 64 << 20;

/// The budget where neither the settings nor a limit tell one, unless the pipelines need more.
///
/// With it 256 busy shards of DynamoDB Streams stay below 128 MiB in all, by `scripts/bench`, and twice as much made them
/// no faster.
const WITHOUT_A_LIMIT: u64 = 32 << 20;
/// What part of a container's limit the budget is: a budget of B took 62 MiB and 1.3 · B in all at 256 busy shards, and an
/// allocator needs room.
const PART_OF_LIMIT: u64 = 4;

/// The budget for what is in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    pub bytes: usize,
    pub from: Whence,
    /// The container's limit, in bytes; `None`: there is none.
    pub limit: Option<u64>,
}

/// Who told the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whence {
    /// `memory` in the settings.
    Settings,
    /// The container's limit.
    Limit,
    /// Nobody.
    Default,
}

/// Why there is no budget: the kernel would kill the process before it is used up. The message says what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooLittle {
    #[error(
        "`memory` is {} and the container's limit {}: Weir needs {} beside its budget, and the kernel kills who exceeds \
         the limit: {}", shown_size(*budget), mib(*limit), mib(BESIDES), ways_out(*budget, *limit, *least)
    )]
    Beside { budget: usize, limit: u64, least: usize },
    #[error(
        "the container's limit is {}, and Weir needs {} at least, of which {} are for what is in flight: raise the limit",
        mib(*limit), mib(BESIDES + *least as u64), shown_size(*least)
    )]
    AtAll { limit: u64, least: usize },
}

impl TooLittle {
    /// Whether the settings ask for it.
    pub fn is_asked_for(self) -> bool {
        matches!(self, Self::Beside { .. })
    }
}

impl Budget {
    /// What the settings say; else a quarter of the limit, or less where that would leave less than [`BESIDES`]; else
    /// 32 MiB; at least what the pipelines need. `limit` in bytes; `least`: what the pipelines need ([`crate::config::Config::least_memory`]).
    pub fn of(setting: Option<usize>, limit: Option<u64>, least: usize) -> Result<Self, TooLittle> {
        let (bytes, from) = match (setting, limit) {
            (Some(budget), Some(limit)) if left(limit) < budget as u64 => {
                return Err(TooLittle::Beside { budget, limit, least });
            }
            (Some(budget), _) => (budget as u64, Whence::Settings),
            (None, Some(limit)) => {
                let most = *MEMORY.end() as u64;
                let budget = (limit / PART_OF_LIMIT)
                    .max(least as u64)
                    .min(left(limit))
                    .min(most);
                if budget < least as u64 {
                    return Err(TooLittle::AtAll { limit, least });
                }
                (budget, Whence::Limit)
            }
            (None, None) => (WITHOUT_A_LIMIT.max(least as u64), Whence::Default),
        };
        // More than the machine can address is more than it has.
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        Ok(Self { bytes, from, limit })
    }
}

impl fmt::Display for Budget {
    /// The budget, and who told it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let budget = mib(self.bytes as u64);
        match (self.from, self.limit) {
            (Whence::Settings, Some(limit)) => write!(f, "{budget} of {} (`memory`)", mib(limit)),
            (Whence::Settings, None) => write!(f, "{budget} (`memory`; no limit is set)"),
            (Whence::Limit, Some(limit)) => write!(f, "{budget} of the container's {}", mib(limit)),
            (Whence::Limit | Whence::Default, _) => {
                write!(f, "{budget} (the default where no limit is set)")
            }
        }
    }
}

/// What a limit leaves for what is in flight.
fn left(limit: u64) -> u64 {
    limit.saturating_sub(BESIDES)
}

fn ways_out(budget: usize, limit: u64, least: usize) -> String {
    let raise = format!(
        "set the container's limit to {} MiB at least",
        (budget as u64 + BESIDES).div_ceil(1 << 20)
    );
    match left(limit) >= least as u64 {
        true => format!(
            "{raise}, or `memory` to {}, or leave `memory` out",
            shown_size(whole_mib(left(limit)))
        ),
        false => raise,
    }
}

fn whole_mib(bytes: u64) -> usize {
    usize::try_from(bytes >> 20 << 20).unwrap_or(usize::MAX)
}

/// Whole MiB, the last rounded down.
fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;
    const LEAST: usize = 16 << 20;

    #[test]
    fn the_budget_is_the_settings_or_what_the_limit_allows() {
        for (setting, limit, want) in [
            (None, None, Ok((32, Whence::Default))),
            (None, Some(512), Ok((128, Whence::Limit))),
            (None, Some(1024), Ok((256, Whence::Limit))),
            (None, Some(128), Ok((32, Whence::Limit))),
            // A quarter would be less than the pipelines need.
            (None, Some(80), Ok((16, Whence::Limit))),
            (None, Some(79), Err(false)),
            (None, Some(0), Err(false)),
            // No budget is larger than a setting may be.
            (None, Some(1 << 20), Ok((64 << 10, Whence::Limit))),
            (Some(256), None, Ok((256, Whence::Settings))),
            (Some(256), Some(320), Ok((256, Whence::Settings))),
            (Some(256), Some(319), Err(true)),
            (Some(16), Some(48), Err(true)),
        ] {
            let got = Budget::of(setting.map(|mib| mib << 20), limit.map(|mib| mib * MIB), LEAST);
            let got = got.map(|budget| (budget.bytes >> 20, budget.from));
            assert_eq!(
                got.map_err(TooLittle::is_asked_for),
                want,
                "{setting:?} of {limit:?}"
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_told_with_its_way_out() {
        for (setting, limit, says) in [
            (
                Some(256 << 20),
                256 * MIB,
                "`memory` is 256MiB and the container's limit 256 MiB: Weir needs 64 MiB beside its budget, and the kernel \
                 kills who exceeds the limit: set the container's limit to 320 MiB at least, or `memory` to 192MiB, or \
                 leave `memory` out",
            ),
            (
                Some(64 << 20),
                64 * MIB,
                "`memory` is 64MiB and the container's limit 64 MiB: Weir needs 64 MiB beside its budget, and the kernel \
                 kills who exceeds the limit: set the container's limit to 128 MiB at least",
            ),
            (
                None,
                48_000_000,
                "the container's limit is 45 MiB, and Weir needs 80 MiB at least, of which 16MiB are for what is in \
                 flight: raise the limit",
            ),
        ] {
            assert_eq!(
                Budget::of(setting, Some(limit), LEAST).unwrap_err().to_string(),
                says
            );
        }
    }

    #[test]
    fn a_limit_gives_as_much_as_the_pipelines_need_where_it_can() {
        for (limit, want) in [(512, Some(128)), (120, Some(56)), (119, None), (80, None)] {
            let got = Budget::of(None, Some(limit * MIB), 56 << 20);
            assert_eq!(got.ok().map(|budget| budget.bytes >> 20), want, "{limit}");
        }
        let says = Budget::of(None, Some(80 * MIB), 56 << 20)
            .unwrap_err()
            .to_string();
        assert_eq!(
            says,
            "the container's limit is 80 MiB, and Weir needs 120 MiB at least, of which 56MiB are for what is in flight: \
             raise the limit"
        );
    }

    #[test]
    fn the_budget_says_where_it_is_from() {
        for (setting, limit, says) in [
            (None, None, "32 MiB (the default where no limit is set)"),
            (None, Some(512 * MIB), "128 MiB of the container's 512 MiB"),
            (Some(64 << 20), Some(512 * MIB), "64 MiB of 512 MiB (`memory`)"),
            (Some(64 << 20), None, "64 MiB (`memory`; no limit is set)"),
        ] {
            assert_eq!(Budget::of(setting, limit, LEAST).unwrap().to_string(), says);
        }
    }

    proptest! {
        #[test]
        fn a_budget_leaves_what_the_process_needs(
            setting in proptest::option::of(64u64 << 20..64 << 30),
            limit in 0u64..1 << 45,
            least in 16usize << 20..64 << 20,
        ) {
            let setting = setting.map(|bytes| bytes as usize);
            if let Ok(budget) = Budget::of(setting, Some(limit), least) {
                prop_assert!(budget.bytes as u64 + BESIDES <= limit);
                prop_assert!((least..=*MEMORY.end()).contains(&budget.bytes));
            } else {
                // There is no other budget that would do, or it was asked for.
                prop_assert!(setting.is_some() || limit < BESIDES + least as u64);
            }
        }
    }
}
