//! How what a life owns comes to its end: consumers, services, old rows, and the life itself.

use std::time::Duration;

use tokio::task::{Id, JoinError};
use tracing::{error, info, warn};

use super::{Died, Ended, Life, Service, TICK};
use crate::consumer::End;
use crate::lease::{Checkpoint, Lease, LeaseKey};

/// Evicted rows and tombstones stay this long (rule 5).
const TOMBSTONE_STAY: Duration = Duration::from_secs(60);

impl Life {
    /// Rule 16: a shard's task without progress is aborted; its lease, still mine by the table, is taken
    /// anew, which puts an end to any write of it that is still on its way.
    pub(super) fn end_the_hung(&mut self) {
        let now = self.clock.now();
        for (key, running) in &self.running {
            if running.progress.is_stuck(now, self.times.fence) && !running.abort.is_finished() {
                error!(lease = %key, "the shard's task made no progress for {:?}; ending it", self.times.fence);
                self.metrics
                    .hung_shards
                    .with_label_values(&[&running.pipeline])
                    .inc();
                running.abort.abort();
            }
        }
    }

    pub(super) fn consumer_ended(
        &mut self,
        ended: Result<(Id, (LeaseKey, End)), JoinError>,
    ) -> Result<(), Died> {
        match ended {
            Ok((_, (key, end))) => {
                let running = self.running.remove(&key);
                if let (End::ShardEnd, Some(running)) = (end, running)
                    && let Some(pipeline) = self.pipelines.get(&running.pipeline)
                {
                    // A full queue means that a sync is due anyway.
                    let _ = pipeline.resync.try_send(());
                }
                Ok(())
            }
            Err(error) if error.is_cancelled() => {
                self.running.retain(|_, r| r.task != error.id());
                Ok(())
            }
            Err(error) => {
                let lease = self
                    .running
                    .iter()
                    .find(|(_, r)| r.task == error.id())
                    .map(|(k, _)| k.to_string());
                Err(Died::Task {
                    task: lease.unwrap_or_default(),
                    reason: error.to_string(),
                })
            }
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

    /// Removes the rows of workers long gone.
    pub(super) async fn tidy(&mut self, leases: &[Lease]) {
        let now = self.clock.now();
        let rows = self.fleet.observer.removable(leases);
        self.removable.retain(|id, _| rows.iter().any(|r| r.id == *id));
        for row in rows {
            let since = *self.removable.entry(row.id.clone()).or_insert(now);
            if now.since(since) >= TOMBSTONE_STAY {
                self.fleet.delete_worker(&row.id, row.heartbeat).await;
            }
        }
    }

    /// Leases that are this worker's by the table and have no task here: a take without an answer, an ended
    /// task. Released, so that nobody needs to wait for this worker's end to be noticed.
    async fn disown_leftovers(&mut self) {
        let Ok(leases) = self.fleet.scan_leases().await else {
            return;
        };
        let mine =
            |l: &Lease| l.owner.as_ref() == Some(&self.fleet.me) && l.checkpoint != Checkpoint::ShardEnd;
        for lease in leases.into_iter().filter(mine) {
            self.vitals.coordinator.mark(self.clock.now());
            warn!(lease = %lease.key, "released a lease without a task");
            self.leases.disown(lease).await;
        }
    }

    /// Stops reading, lets every consumer finish, and leaves. Bounded: a consumer's own limit, then ours.
    pub(super) async fn drain(&mut self) -> Result<Ended, Died> {
        info!(
            leases = self.running.len(),
            "draining: no more reads; delivering what is in flight"
        );
        self.readiness.drain();
        self.vitals.say(|says| says.draining = true);
        self.drain.stop();
        let clock = self.clock.clone();
        let fence = self.leases.fence().clone();
        let until = clock.now() + self.settings.drain_timeout;
        let mut repeats = false;
        while !self.consumers.is_empty() && clock.now() < until {
            self.vitals.coordinator.mark(clock.now());
            if fence.check().is_err() {
                return Err(Died::DrainIncomplete);
            }
            let left = until.since(clock.now()).min(TICK);
            // As in `live`.
            tokio::select! {
                biased;
                Some(ended) = self.consumers.join_next_with_id() => {
                    if let Ok((_, (_, end))) = &ended {
                        repeats |= !matches!(end, End::ShardEnd | End::Released { drained: true });
                    }
                    self.consumer_ended(ended)?;
                }
                Some(service) = self.services.join_next_with_id() => self.service_ended(service, true)?,
                () = clock.sleep(left) => {}
            }
        }
        if self.consumers.is_empty() {
            self.disown_leftovers().await;
            self.fleet.leave().await;
        } else {
            warn!(
                leases = self.running.len(),
                "the drain hit its limit; these leases are taken over as a dead worker's"
            );
            repeats = true;
        }
        if repeats {
            return Err(Died::DrainIncomplete);
        }
        info!("drained");
        Ok(Ended::Drained)
    }
}
