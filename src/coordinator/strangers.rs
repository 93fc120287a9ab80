//! Owners of leases that are no workers of Weir's, and rows that KCL made.
//!
//! What a scan of the leases goes through before anything is planned over it.

use tracing::{error, info};

use super::{Died, Life};
use crate::lease::Lease;

impl Life {
    /// Ends this worker's life, by a drain, if a KCL worker is at work on the table; else opens the shard
    /// syncs as soon as there can be none.
    pub(super) async fn look_for_strangers(&mut self) -> Result<(), Died> {
        if let Some(owner) = self.fleet.observer.foreign_alive().cloned() {
            let died = Died::ForeignOwner {
                owner,
                table: self.settings.lease_table.clone(),
            };
            error!("{died}");
            if let Err(worse) = self.drain().await {
                error!("{worse}");
            }
            return Err(died);
        }
        if *self.cleared.borrow() {
            return Ok(());
        }
        match self.fleet.observer.foreign_watched().next() {
            None => {
                self.cleared.send_replace(true);
            }
            Some(owner) => {
                if !std::mem::replace(&mut self.watch_told, true) {
                    info!(
                        %owner,
                        watch = ?self.settings.foreign_watch,
                        "the lease table was KCL's; nothing is read before its owners have stood still for so long"
                    );
                }
                // Often enough to see a counter that moves, until the verdict.
                let now = self.clock.now();
                let verdict = self.fleet.observer.next_foreign_verdict().unwrap_or(now);
                let next = verdict.min(now + self.times.heartbeat);
                self.schedule.scan_by(next.max(now + self.times.request));
            }
        }
        Ok(())
    }

    /// Names the streams of the leases whose rows don't.
    pub(super) fn name_streams(&self, leases: &mut [Lease]) {
        for lease in leases {
            let pipeline = self.settings.keys.pipeline_of(lease);
            let known = pipeline.and_then(|name| self.pipelines.get(name)?.last.as_ref());
            if let Some(synced) = known {
                synced.homes.name(&self.settings.keys, lease);
            }
        }
    }
}
