//! How what a life owns comes to its end: consumers, services, old rows.

use std::time::Duration;

use tokio::task::{Id, JoinError};
use tracing::error;

use super::takes::Wanted;
use super::{Died, Life, Running, Service, Successor, TICK};
use crate::consumer::End;
use crate::lease::{LeaseKey, Note};

/// Evicted rows and tombstones stay this long (rule 5).
const TOMBSTONE_STAY: Duration = Duration::from_secs(60);
/// Rows removed at once: this worker has others to attend to.
const ROWS_AT_ONCE: usize = 20;
/// Whoever ended a shard tells others of the children it finds for so long.
const CHILDREN_TOLD: Duration = Duration::from_secs(5);

impl Life {
    /// Rule 16: a shard's task without progress is aborted; its lease, still mine by the table, is taken
    /// anew, which puts an end to any write of it that is still on its way.
    pub(super) fn end_the_hung(&mut self) {
        let now = self.clock.now();
        for (key, running) in &mut self.running {
            match running.aborted {
                None if running.progress.is_stuck(now, self.times.fence) && !running.abort.is_finished() => {
                    error!(lease = %key, "the shard's task made no progress for {:?}; ending it", self.times.fence);
                    self.metrics
                        .hung_shards
                        .with_label_values(&[&running.pipeline])
                        .inc();
                    running.abort.abort();
                    running.aborted = Some(now);
                }
                // It can't be ended: a heartbeat must not hide a dead reader.
                Some(at) if now.since(at) >= self.times.fence && !running.abort.is_finished() => {
                    error!(lease = %key, "the shard's task could not be ended: giving this worker id up");
                    self.leases.fence().close();
                }
                _ => {}
            }
        }
    }

    pub(super) fn consumer_ended(
        &mut self,
        ended: Result<(Id, (LeaseKey, End)), JoinError>,
    ) -> Result<(), Died> {
        match ended {
            Ok((_, (key, end))) => {
                if let Some(running) = self.running.remove(&key) {
                    self.pass_on(key, end, running);
                }
                Ok(())
            }
            Err(error) => {
                let ended = self.running.iter().find(|(_, r)| r.task == error.id());
                let ended = ended.map(|(key, running)| (key.clone(), running.pipeline.clone()));
                if let Some((key, pipeline)) = &ended {
                    self.running.remove(key);
                    if error.is_cancelled() {
                        self.want(Wanted::mine(key.clone(), pipeline.clone()));
                    }
                }
                if error.is_cancelled() {
                    return Ok(());
                }
                Err(Died::Task {
                    task: ended.map(|(key, _)| key.to_string()).unwrap_or_default(),
                    reason: error.to_string(),
                })
            }
        }
    }

    /// Who reads on after a consumer's end.
    fn pass_on(&mut self, key: LeaseKey, end: End, running: Running) {
        let now = self.clock.now();
        let note = |lease, counter, to| Note {
            lease,
            owner: None,
            counter,
            to,
        };
        match (end, running.leaving) {
            (End::Released { counter, .. }, Some(Successor::Worker(to))) => {
                let is_there = self
                    .fleet
                    .observer
                    .others()
                    .any(|row| row.id == to && !row.draining);
                let to = match is_there {
                    true => Some(to),
                    false => self.shares(false).give(&running.pipeline),
                };
                if let Some(to) = to {
                    self.metrics
                        .leases_handed_over
                        .with_label_values(&[&running.pipeline])
                        .inc();
                    self.board.post(note(key, counter, to), now);
                    self.say_news();
                }
            }
            (End::ShardEnd { children }, leaving) => {
                if let Some(until) = &mut self.until {
                    until.shard_ended(key, !children.is_empty(), now);
                }
                if children.is_empty() {
                    // The child of a merge, or one that is not listed yet: the shard sync finds it.
                    if let Some(pipeline) = self.pipelines.get_mut(&running.pipeline) {
                        pipeline.tells_until = now + CHILDREN_TOLD;
                        self.schedule.scan_by(now + TICK);
                    }
                    if let Some(pipeline) = self.pipelines.get(&running.pipeline) {
                        self.order_sync(pipeline);
                    }
                }
                // The owner of a parent takes its children first, unless it is leaving.
                for child in children {
                    let to = match leaving.is_some() {
                        true => self.shares(false).give(&running.pipeline),
                        false => None,
                    };
                    match to {
                        Some(to) => {
                            self.board.post(note(child, 0, to), now);
                            self.say_news();
                        }
                        None => {
                            let note = note(child, 0, self.fleet.me.clone());
                            self.want(Wanted::noted(note, running.pipeline.clone()));
                        }
                    }
                }
            }
            // Whoever has it now may be no worker of Weir's.
            (End::Lost, _) => self.schedule.scan_by(now),
            (End::Released { .. } | End::Undone | End::Fenced, _) => {}
        }
    }

    pub(super) fn service_ended(
        &mut self,
        ended: Result<(Id, Service), JoinError>,
        draining: bool,
    ) -> Result<(), Died> {
        let (id, reason) = match ended {
            // The fence that it closed is seen at the next round.
            Ok((_, Service::Heartbeat)) => return Ok(()),
            Ok((id, Service::Router(Ok(())))) => (id, "it ran out of work".to_owned()),
            Ok((id, Service::Router(Err(error)))) => (id, error.to_string()),
            Ok((_, Service::Sync)) if draining || self.leases.fence().check().is_err() => return Ok(()),
            Ok((id, Service::Sync)) => (id, "it returned".to_owned()),
            Err(error) => (error.id(), error.to_string()),
        };
        let task = self.service_names.get(&id).cloned().unwrap_or_default();
        Err(Died::Task { task, reason })
    }

    /// Removes what nobody needs any more: the rows of workers long gone, and what removed pipelines left.
    /// One worker does it for all.
    pub(super) async fn tidy(&mut self) {
        if !self.is_first() {
            return;
        }
        let now = self.clock.now();
        let Some(scanned) = self.scanned.clone() else {
            return;
        };
        let rows = self.fleet.observer.removable(&scanned.leases);
        self.removable.retain(|id, _| rows.iter().any(|r| r.id == *id));
        let mut removed = 0;
        for row in rows {
            let since = *self.removable.entry(row.id.clone()).or_insert(now);
            if now.since(since) >= TOMBSTONE_STAY && removed < ROWS_AT_ONCE {
                removed += 1;
                self.fleet.delete_worker(&row.id, row.heartbeat).await;
            }
        }
        self.remove_unlisted(&scanned).await;
    }
}
