//! A time that a person gives: as it is, or as how long ago.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::config::check::{self, Checked};

/// A time, as it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    Ago(Duration),
    At(Timestamp),
}

impl Since {
    pub fn time(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Ago(ago) => now.minus(ago),
            Self::At(time) => time,
        }
    }
}

/// `24h`, or a time.
pub(super) fn since(text: &str) -> Checked<Since> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(Since::At(Timestamp::from_millis(time.as_millisecond())));
    }
    let ten_years = Duration::from_secs(10 * 366 * 24 * 3600);
    check::duration(Duration::ZERO..=ten_years)(text)
        .map(Since::Ago)
        .map_err(|_| {
            "is no time: use one like `2024-11-09T08:12:19Z`, or how long ago, like `24h`".to_owned()
        })
}
