//! How far a long command is, on stderr.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use super::output::tell;
use crate::clock::{Clock, Monotonic};
use crate::operator::verify::Progress;

/// On a terminal a line is written over this often; elsewhere one is added less often.
const ON_A_TERMINAL: Duration = Duration::from_secs(1);
const ELSEWHERE: Duration = Duration::from_secs(10);

/// Tells of progress now and then.
pub struct Ticker {
    clock: Arc<dyn Clock>,
    began: Monotonic,
    last: Monotonic,
    is_terminal: bool,
    is_line_open: bool,
}

impl Ticker {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let now = clock.now();
        Self {
            clock,
            began: now,
            last: now,
            is_terminal: std::io::stderr().is_terminal(),
            is_line_open: false,
        }
    }

    pub fn tick(&mut self, progress: &Progress) {
        let now = self.clock.now();
        let pace = if self.is_terminal {
            ON_A_TERMINAL
        } else {
            ELSEWHERE
        };
        if now.since(self.last) < pace {
            return;
        }
        self.last = now;
        let text = line(progress, now.since(self.began));
        match self.is_terminal {
            true => {
                // What it is too short for is taken away; a terminal that is gone needs no progress.
                let _ = write!(std::io::stderr(), "\r\u{1b}[2K{text}");
                self.is_line_open = true;
            }
            false => tell(&text),
        }
    }

    /// What comes next begins on a line of its own.
    pub fn finish(&mut self) {
        if std::mem::take(&mut self.is_line_open) {
            let _ = writeln!(std::io::stderr());
        }
    }
}

fn line(progress: &Progress, elapsed: Duration) -> String {
    let Progress {
        records,
        events,
        shards: (done, known),
        at,
    } = progress;
    let percent = (100 * done).checked_div(*known).unwrap_or(0);
    let rate = *records as f64 / elapsed.as_secs_f64().max(1.0);
    let at = at.map(|at| format!(", up to {at}")).unwrap_or_default();
    format!(
        "{records} records, {events} events, {done} of {known} shards read ({percent} %){at}, {rate:.0} records/s"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    #[test]
    fn a_line_tells_how_far_it_is() {
        let progress = Progress {
            records: 900,
            events: 901,
            shards: (1, 4),
            at: Some(Timestamp::from_millis(0)),
        };
        assert_eq!(
            line(&progress, Duration::from_secs(3)),
            "900 records, 901 events, 1 of 4 shards read (25 %), up to 1970-01-01T00:00:00.000Z, 300 records/s"
        );
        assert!(line(&Progress::default(), Duration::ZERO).contains("0 of 0 shards read (0 %)"));
    }
}
