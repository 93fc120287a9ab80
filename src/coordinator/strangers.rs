//! Owners of leases that are no workers of Weir's, and rows that KCL made.
//!
//! What a scan of the leases goes through before anything is planned over it.

use tracing::{error, info};

use super::{Died, Life};
use crate::lease::Lease;

impl Life {
    /// Ends this worker's life, by a drain, if a KCL worker is at work on the table; else opens the shard
    /// syncs as soon as there can be none. Gives the leases back with their streams named.
    pub(super) async fn look_for_strangers(&mut self, mut leases: Vec<Lease>) -> Result<Vec<Lease>, Died> {
        if let Some(owner) = self.fleet.observer.foreign_alive().cloned() {
            let died = Died::ForeignOwner {
                owner,
                table: self.settings.application.clone(),
            };
            error!("{died}");
            if let Err(worse) = self.drain().await {
                error!("{worse}");
            }
            return Err(died);
        }
        if !*self.cleared.borrow() {
            match self.fleet.observer.foreign_watched().next() {
                None => {
                    self.cleared.send_replace(true);
                }
                Some(owner) if !self.watch_told => {
                    self.watch_told = true;
                    info!(
                        %owner,
                        watch = ?self.settings.foreign_watch,
                        "the lease table was KCL's; nothing is read before its owners have stood still for so long"
                    );
                }
                Some(_) => {}
            }
        }
        for lease in &mut leases {
            let pipeline = self.settings.keys.pipeline_of(lease);
            let known = pipeline.and_then(|name| self.pipelines.get(name)?.last.as_ref());
            if let Some(synced) = known {
                synced.homes.name(&self.settings.keys, lease);
            }
        }
        Ok(leases)
    }
}
