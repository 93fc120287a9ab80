//! The stretch of time that a command reads.

use std::time::Duration;

use super::flags::Flags;
use super::since::{self, Since};
use crate::clock::Timestamp;
use crate::operator::verify::Period;

/// The newest records are left out unless they are asked for: a worker may not have delivered them yet, and what was
/// put a moment ago can't be read back.
const FRESH: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
pub(super) struct PeriodArgs {
    /// Only records from then on: a time like 2024-11-09T08:12:19Z, or so long ago, like 4h. Default: all that the
    /// stream holds
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Only records before then: a time, or so long ago, as for --from. Default: a minute ago
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
}

/// As it was given, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    from: Option<Since>,
    to: Option<Since>,
}

impl PeriodArgs {
    /// `None` only after a problem was reported.
    pub fn read(&self, flags: &mut Flags<'_>) -> Option<Asked> {
        let mut one = |flag: &str, text: &Option<String>| match text {
            Some(text) => flags.argument(flag, text, since::since).map(Some),
            None => Some(None),
        };
        let (from, to) = (one("--from", &self.from), one("--to", &self.to));
        from.zip(to).map(|(from, to)| Asked { from, to })
    }
}

impl Asked {
    /// The times, now. The error says what is wrong with them.
    pub fn period(self, now: Timestamp) -> Result<Period, String> {
        let from = self.from.map(|from| from.time(now));
        let to = self.to.map_or(now.minus(FRESH), |to| to.time(now));
        if to > now {
            return Err(format!(
                "--to: {to} lies in the future, where there are no records yet: leave it out, or use `0s` for now"
            ));
        }
        match from {
            Some(from) if from >= to => Err(format!(
                "--from: {from} doesn't lie before {to}, where the period ends (--to; by default a minute ago)"
            )),
            from => Ok(Period { from, to }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_ends_a_minute_ago_and_never_before_it_begins() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let ago = |secs| Some(Since::Ago(Duration::from_secs(secs)));
        let at = |secs| now.minus(Duration::from_secs(secs));
        for (from, to, want) in [
            (None, None, Ok((None, at(60)))),
            (ago(3600), ago(0), Ok((Some(at(3600)), now))),
            (ago(30), None, Err("--from: ")),
            (ago(30), ago(30), Err("--from: ")),
            (
                None,
                Some(Since::At(now.plus(Duration::from_millis(1)))),
                Err("--to: "),
            ),
        ] {
            let got = Asked { from, to }.period(now);
            match (got, want) {
                (Ok(period), Ok((from, to))) => assert_eq!(period, Period { from, to }),
                (Err(why), Err(begin)) => assert!(why.starts_with(begin), "{why}"),
                (got, want) => panic!("{got:?} is not {want:?}"),
            }
        }
    }
}
