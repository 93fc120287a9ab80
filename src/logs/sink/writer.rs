//! The writer of one log stream: cut, put, repeat until accepted, answer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use super::{Context, Delivered, Item, Kind, PUT_TIMEOUT, Shared, letter};
use crate::backoff::Backoff;
use crate::lease::fence::Fenced;
use crate::logs::batch::{self, Refusal};
use crate::logs::dead_letter::{self, Body};
use crate::logs::{Accepted, LogDestination, LogEvent, SinkError};

/// Writes what arrives on `rx` to `to`, in order, until the channel is closed or the worker is fenced.
pub(super) async fn run(
    context: Context,
    to: LogDestination,
    mut rx: mpsc::UnboundedReceiver<Vec<Item>>,
    pending: Arc<AtomicUsize>,
    rng: fastrand::Rng,
) {
    let mut writer = Writer {
        context,
        to,
        rng,
        queue: VecDeque::new(),
        arrivals: 0,
        suspects: None,
        refused_letters: Backoff::default(),
        letter_wait: Duration::ZERO,
        pending,
    };
    while let Some(items) = rx.recv().await {
        writer.enqueue(items);
        while !writer.queue.is_empty() {
            while let Ok(items) = rx.try_recv() {
                writer.enqueue(items);
            }
            if writer.write_some().await.is_err() {
                return; // the worker is being torn down
            }
        }
    }
}

struct Writer {
    context: Context,
    to: LogDestination,
    rng: fastrand::Rng,
    queue: VecDeque<Item>,
    arrivals: u64,
    /// While a batch that was refused as a whole is being bisected: events per put, and the arrival
    /// number of its last event.
    suspects: Option<(usize, u64)>,
    /// Dead letters that were themselves refused since the last put without one.
    refused_letters: Backoff,
    letter_wait: Duration,
    pending: Arc<AtomicUsize>,
}

impl Writer {
    fn enqueue(&mut self, items: Vec<Item>) {
        for mut item in items {
            item.arrival = self.arrivals;
            self.arrivals += 1;
            self.queue.push_back(item);
        }
    }

    /// Puts one batch from the front of the queue, however long it takes.
    async fn write_some(&mut self) -> Result<(), Fenced> {
        if self.refused_letters.failures() > 0 {
            self.context.clock.sleep(self.letter_wait).await;
        }
        self.refuse_the_hopeless();
        let mut count = batch::cut(self.queue.iter().map(|i| &i.event));
        match (self.suspects, self.queue.front()) {
            (Some((limit, last)), Some(front)) if front.arrival <= last => count = count.min(limit),
            _ => self.suspects = None,
        }
        let mut items: Vec<Item> = self.queue.drain(..count).collect();
        // Stable, so that the events of one millisecond keep their order.
        items.sort_by_key(|i| i.event.timestamp);
        self.put(items).await
    }

    /// Drops what was withdrawn, stamps letters, and sends events that can't be put to the dead letters.
    fn refuse_the_hopeless(&mut self) {
        let now = self.context.clock.wall();
        let before = self.queue.len();
        self.queue.retain(Item::alive);
        self.finished(before - self.queue.len());
        let mut kept = VecDeque::with_capacity(self.queue.len());
        for mut item in std::mem::take(&mut self.queue) {
            if item.kind != Kind::Event {
                item.event.timestamp = now;
            }
            match batch::admit(&item.event, now) {
                // This process's clock may be wrong, the service's is not: it judges the age.
                Ok(()) | Err(Refusal::TooOld | Refusal::TooNew) => kept.push_back(item),
                Err(refusal) => self.dead_letter(item, refusal, "against the rules of PutLogEvents"),
            }
        }
        self.queue = kept;
    }

    async fn put(&mut self, mut items: Vec<Item>) -> Result<(), Fenced> {
        let mut backoff = Backoff::default();
        loop {
            let before = items.len();
            items.retain(Item::alive);
            self.finished(before - items.len());
            if items.is_empty() {
                // Withdrawn: what was wrong here is another worker's now.
                self.context.readiness.solved(&self.part());
                return Ok(());
            }
            let events: Vec<LogEvent> = items.iter().map(|i| i.event.clone()).collect();
            // No put may reach past the fence (rule 2): the next owner could already be writing.
            let within = PUT_TIMEOUT.min(self.context.fence.remaining()?);
            let error = match self.context.raw.put(&self.to, &events, within).await {
                Ok(accepted) => {
                    self.accept(items, accepted);
                    return Ok(());
                }
                Err(error) => error,
            };
            self.count_error(&error);
            match &error {
                SinkError::Missing(_) if self.context.settings.create && self.create().await? => continue,
                SinkError::Invalid(reason) => {
                    self.bisect(items, reason);
                    return Ok(());
                }
                SinkError::Unanswered(_) => {
                    self.context
                        .metrics
                        .events_possibly_repeated
                        .with_label_values(&[&self.context.settings.pipeline])
                        .inc_by(items.len() as u64);
                }
                _ => {}
            }
            self.tell(&error, backoff.failures());
            let wait = backoff.next(&mut self.rng);
            self.context.clock.sleep(wait).await;
        }
    }

    /// Creates the group where it is missing, then the stream. `false`: it failed, and was told.
    async fn create(&mut self) -> Result<bool, Fenced> {
        let Context { raw, settings, .. } = self.context.clone();
        let created = async {
            match raw.create_stream(&self.to).await {
                Err(SinkError::Missing(_)) => {}
                done => return done,
            }
            // The retention follows at once. A crash in between leaves a group without; `false` says that
            // somebody else made the group, whose settings are not ours to change.
            if raw.create_group(&self.to.group).await? {
                info!(group = %self.to.group, "created the log group");
                if let Some(days) = settings.retention_days {
                    while let Err(error) = raw.put_retention(&self.to.group, days).await {
                        self.count_error(&error);
                        if matches!(error, SinkError::Denied(_) | SinkError::Invalid(_)) {
                            warn!(group = %self.to.group, days, %error, "the retention could not be set; set it by hand");
                            break;
                        }
                        if self.context.fence.check().is_err() {
                            break;
                        }
                        self.context.clock.sleep(Duration::from_millis(500)).await;
                    }
                }
            }
            raw.create_stream(&self.to).await
        }
        .await;
        self.context.fence.check()?;
        if let Err(error) = created {
            self.count_error(&error);
            self.tell(&error, 0);
            return Ok(false);
        }
        debug!(destination = %self.to, "created the log stream");
        Ok(true)
    }

    /// The batch was refused as a whole: put it in halves until the guilty event is alone.
    fn bisect(&mut self, mut items: Vec<Item>, reason: &str) {
        if items.len() == 1 {
            if let Some(item) = items.pop() {
                self.dead_letter(item, Refusal::Invalid, reason);
            }
            return;
        }
        items.sort_by_key(|i| i.arrival);
        let last = items.last().map_or(0, |i| i.arrival);
        let last = self.suspects.map_or(last, |(_, earlier)| earlier.max(last));
        self.suspects = Some((items.len().div_ceil(2), last));
        for item in items.into_iter().rev() {
            self.queue.push_front(item);
        }
    }

    fn accept(&mut self, items: Vec<Item>, accepted: Accepted) {
        let Context {
            metrics,
            settings,
            readiness,
            ..
        } = &self.context;
        readiness.solved(&self.part());
        metrics.puts.with_label_values(&[&settings.pipeline]).inc();
        self.refused_letters.reset();
        let mut good = 0;
        let mut refused = Vec::new();
        // In the order of their first event: few lanes share a stream, and a map by address would make
        // the order of the answers differ from run to run.
        let mut answers: Vec<(Arc<Shared>, Vec<_>)> = Vec::new();
        let total = items.len();
        for (at, item) in items.into_iter().enumerate() {
            if let Some(refusal) = refusal_of(accepted, at) {
                refused.push((item, refusal));
                continue;
            }
            good += 1;
            if let Some(answer) = item.answer() {
                match answers.iter_mut().find(|(lane, _)| Arc::ptr_eq(lane, &item.lane)) {
                    Some((_, pieces)) => pieces.push(answer),
                    None => answers.push((item.lane, vec![answer])),
                }
            }
        }
        metrics
            .events_accepted
            .with_label_values(&[&settings.pipeline])
            .inc_by(good);
        self.finished(total - refused.len());
        for (lane, pieces) in answers {
            // A consumer that is gone needs no answer.
            let _ = lane.answers.send(Delivered { pieces });
        }
        for (item, refusal) in refused {
            self.dead_letter(
                item,
                refusal,
                "rejected by CloudWatch Logs (rejectedLogEventsInfo)",
            );
        }
    }

    /// Hands an event that can't be put to the writer of the dead letters, which answers for it.
    fn dead_letter(&mut self, item: Item, refusal: Refusal, detail: &str) {
        if let Kind::Letter { reason, last } = item.kind {
            // A letter of a letter would go on for ever. It is put again, with a new stamp, and holds its
            // shard until somebody acts: better than a record lost without a word.
            warn!(destination = %self.to, reason = reason.as_str(), last, detail, "a dead letter was refused");
            self.context
                .readiness
                .problem(&self.part(), format!("refuses dead letters: {detail}"));
            self.letter_wait = self.refused_letters.next(&mut self.rng);
            self.queue.push_back(item);
            return;
        }
        warn!(
            destination = %self.to,
            shard_id = %item.lane.shard,
            sequence_number = %item.sequence_number,
            reason = refusal.as_str(),
            detail,
            "an event was refused; it goes to the dead letters"
        );
        let body = Body::Event(item.event);
        let parts = letter(
            &item.lane,
            item.index,
            &item.sequence_number,
            &self.to,
            refusal,
            detail,
            &body,
        );
        if let Some(letters) = self.context.letters.upgrade() {
            // Closed only while the worker is torn down.
            let _ = letters.send((dead_letter::destination(&self.to.group), parts));
        }
        self.finished(1);
    }

    fn finished(&self, items: usize) {
        self.pending.fetch_sub(items, Ordering::AcqRel);
    }

    fn count_error(&self, error: &SinkError) {
        let labels = [self.context.settings.pipeline.as_str(), error.class()];
        self.context.metrics.put_errors.with_label_values(&labels).inc();
    }

    fn part(&self) -> String {
        format!("destination {}", self.to)
    }

    /// Says what is wrong: at once, and then at each doubling of the failures, so that an outage of an
    /// hour fills no log.
    fn tell(&self, error: &SinkError, failures: u32) {
        self.context.readiness.problem(&self.part(), error.to_string());
        if (failures + 1).is_power_of_two() {
            warn!(destination = %self.to, failures = failures + 1, %error, "events could not be put; repeating");
        }
    }
}

/// Why the event at `at` of an accepted put was refused, if it was.
fn refusal_of(accepted: Accepted, at: usize) -> Option<Refusal> {
    if accepted.expired_until.is_some_and(|end| at < end) {
        Some(Refusal::Expired)
    } else if accepted.too_old_until.is_some_and(|end| at < end) {
        Some(Refusal::TooOld)
    } else if accepted.too_new_from.is_some_and(|start| at >= start) {
        Some(Refusal::TooNew)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejections_are_mapped_inclusive_and_exclusive_as_aws_counts() {
        let accepted = Accepted {
            too_new_from: Some(7),
            too_old_until: Some(3),
            expired_until: Some(1),
        };
        let got: Vec<_> = (0..9).map(|at| refusal_of(accepted, at)).collect();
        let (e, o, n) = (
            Some(Refusal::Expired),
            Some(Refusal::TooOld),
            Some(Refusal::TooNew),
        );
        assert_eq!(got, [e, o, o, None, None, None, None, n, n]);
        assert_eq!(refusal_of(Accepted::default(), 0), None);
    }
}
