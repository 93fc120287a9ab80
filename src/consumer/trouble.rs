//! What a consumer does about a read that failed.

use std::time::Duration;

use tracing::{debug, warn};

use super::activity::Hindrance;
use super::{Consumer, Step, TICK};
use crate::backoff::Backoff;
use crate::clock::timeout;
use crate::lease::GapRow;
use crate::lease::held::LeaseError;
use crate::stream::{SourceError, StartingPosition};

/// A complete listing: 100 shards a page, 5 pages a second.
const LISTING_TIMEOUT: Duration = Duration::from_secs(300);

/// What a listing says of a shard.
pub(super) enum Closed {
    Yes,
    No,
    /// It is not there any more.
    Gone,
}

impl Consumer {
    /// What a failed read asks for.
    pub(super) async fn failed(&mut self, error: &SourceError, backoff: &mut Backoff) -> Step {
        self.accounts.source_error(error);
        let is_first = backoff.failures() == 0;
        match error {
            // A fresh iterator from the last position, at once the first time: each lives for minutes only.
            SourceError::IteratorExpired if is_first => {
                debug!(lease = %self.key, shard_id = %self.reader.shard, "the iterator expired");
                backoff.next(&mut self.rng);
                Step::Read(None, Duration::ZERO)
            }
            SourceError::IteratorExpired => {
                debug!(lease = %self.key, shard_id = %self.reader.shard, "the iterator expired");
                let wait = backoff.next(&mut self.rng);
                self.back_off(error, wait)
            }
            SourceError::DataTrimmed => {
                let reason = "the stream trimmed records before they were read (TrimmedDataAccess)";
                if self.record_gap(reason).await.is_err() {
                    // Fenced: the next round of the loop ends this consumer.
                    return Step::Read(None, Duration::ZERO);
                }
                self.position = StartingPosition::TrimHorizon;
                // What was taken in is no place to begin at any more.
                self.last = None;
                Step::Read(None, backoff.next(&mut self.rng))
            }
            SourceError::NotFound(_) => {
                let wait = backoff.next(&mut self.rng);
                match self.is_closed().await {
                    Some(Closed::Gone) => Step::Gone,
                    _ => {
                        self.warn(error, backoff.failures());
                        self.back_off(error, wait)
                    }
                }
            }
            // The reader has read such an answer again, for as long as it took.
            SourceError::TooLarge { .. }
            | SourceError::Throttled(_)
            | SourceError::AccessDenied(_)
            | SourceError::NoStream(_)
            | SourceError::Unavailable(_) => {
                self.warn(error, backoff.failures() + 1);
                let wait = backoff.next(&mut self.rng);
                self.back_off(error, wait)
            }
        }
    }

    /// Reads again after `wait`, and tells why.
    fn back_off(&mut self, error: &SourceError, wait: Duration) -> Step {
        self.trouble(error.to_string());
        self.telling.reads.failed();
        self.telling.hindrance = Some(Hindrance::Failed {
            until: self.pipeline.clock.now() + wait,
            error: error.to_string(),
        });
        Step::Read(None, wait)
    }

    /// Says that reading failed, now for the `failures`th time in a row: in the log seldom, and under the
    /// problems where a person must act. That several read a shard shows as a throttle now and then.
    fn warn(&mut self, error: &SourceError, failures: u32) {
        if let SourceError::AccessDenied(_) | SourceError::NotFound(_) = error {
            self.pipeline.readiness.problem(&self.part(), error.to_string());
            self.troubled = true;
        }
        let is_usual = matches!(error, SourceError::Throttled(_)) && failures == 1;
        if failures.is_power_of_two() && !is_usual {
            warn!(lease = %self.key, shard_id = %self.reader.shard, failures, %error, "the shard could not be read; repeating");
        }
    }

    /// The part of the process whose problems are told here.
    pub(super) fn part(&self) -> String {
        format!("reading {}", self.key)
    }

    /// Waits for `work`, for `limit` at most, and shows meanwhile that this consumer lives.
    pub(super) async fn attend<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        let clock = &*self.pipeline.clock;
        let until = clock.now() + limit;
        tokio::pin!(work);
        while clock.now() < until && self.leases.fence().check().is_ok() {
            self.progress.mark(clock.now());
            self.tell();
            // Cancel-safe: `work` is only borrowed.
            tokio::select! {
                biased;
                done = &mut work => return Some(done),
                () = clock.sleep(TICK) => {}
            }
        }
        None
    }

    /// What a complete listing says of a shard that gives nothing (more). `None`: it could not be asked.
    pub(super) async fn is_closed(&self) -> Option<Closed> {
        let listing = self.pipeline.source.list_shards(&self.stream);
        match self.attend(LISTING_TIMEOUT, listing).await? {
            Ok(listing) => {
                let shard = listing.shards.iter().find(|s| s.id == self.reader.shard);
                Some(match shard {
                    Some(shard) if shard.closed => Closed::Yes,
                    Some(_) => Closed::No,
                    None => Closed::Gone,
                })
            }
            Err(SourceError::NotFound(_)) => Some(Closed::Gone),
            Err(_) => None,
        }
    }

    /// Writes a gap down before reading on behind it: a gap that only the log knew would be silent.
    pub(super) async fn record_gap(&mut self, reason: &str) -> Result<(), LeaseError> {
        let after = match &self.position {
            StartingPosition::At(sequence_number) | StartingPosition::After(sequence_number) => {
                sequence_number.to_string()
            }
            StartingPosition::TrimHorizon | StartingPosition::AtTimestamp(_) | StartingPosition::Latest => {
                "TRIM_HORIZON".to_owned()
            }
        };
        tracing::error!(lease = %self.key, shard_id = %self.reader.shard, position = %after, "{reason}: a gap");
        self.accounts.gap();
        self.trouble(format!("{reason}: a gap, after {after}"));
        let gap = GapRow {
            pipeline: self.pipeline.config.name.clone(),
            arn: self.stream.clone(),
            shard: self.reader.shard.clone(),
            after,
            noticed: self.pipeline.clock.wall(),
            reason: reason.to_owned(),
        };
        let mut backoff = Backoff::default();
        let clock = self.pipeline.clock.clone();
        loop {
            self.leases.fence().check().map_err(LeaseError::from)?;
            self.progress.mark(clock.now());
            match timeout(
                &*clock,
                self.pipeline.request_timeout,
                self.pipeline.table.record_gap(&gap),
            )
            .await
            {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => {
                    warn!(lease = %self.key, shard_id = %self.reader.shard, %error, "the gap could not be written; repeating")
                }
                Err(_) => {
                    warn!(lease = %self.key, shard_id = %self.reader.shard, "no answer when writing the gap; repeating")
                }
            }
            clock.sleep(backoff.next(&mut self.rng)).await;
        }
    }
}
