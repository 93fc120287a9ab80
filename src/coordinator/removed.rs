//! What becomes of a pipeline that nobody runs any more.
//!
//! Its leases are kept for some days, so that a deploy by mistake, or a rollback, loses no position; then
//! they go, with all that Weir knows of the pipeline.

use std::collections::BTreeSet;

use tracing::{info, warn};

use super::{Life, Scan};
use crate::lease::plan::Standing;

/// Leases removed in one round of the caretaker.
const AT_ONCE: usize = 50;

impl Life {
    /// Notes which pipelines nobody runs, and removes what is left of those that nobody has run for long.
    /// The days are counted by the calendars of the machines that notice: hours of difference don't matter.
    pub(super) async fn remove_unlisted(&mut self, scan: &Scan) {
        let Ok(rows) = self.fleet.pipelines().await else {
            return;
        };
        let others = self.fleet.observer.others();
        let listed: BTreeSet<&str> = others
            .flat_map(|row| row.held.keys())
            .chain(self.pipelines.keys())
            .map(String::as_str)
            .collect();
        let of_leases = scan
            .leases
            .iter()
            .filter_map(|l| self.settings.keys.pipeline_of(l));
        let of_streams = scan.streams.iter().map(|row| row.pipeline.as_str());
        let known: BTreeSet<&str> = of_leases
            .chain(of_streams)
            .chain(rows.iter().map(|row| row.name.as_str()))
            .collect();
        let now = self.clock.wall();
        for name in known {
            let since = rows
                .iter()
                .find(|row| row.name == name)
                .and_then(|row| row.unlisted_since);
            match (listed.contains(name), since) {
                (true, None) => {}
                (true, Some(_)) => self.fleet.unlist_pipeline(name, None).await,
                (false, None) => {
                    warn!(pipeline = %name, keep = ?self.settings.keep_removed, "nobody runs this pipeline any more; its leases are kept for a while");
                    self.fleet.unlist_pipeline(name, Some(now)).await;
                }
                (false, Some(since)) if now.since(since) >= self.settings.keep_removed => {
                    self.remove(name, scan).await;
                }
                (false, Some(_)) => {}
            }
        }
    }

    async fn remove(&self, name: &str, scan: &Scan) {
        let (mut asked, mut left) = (0, 0);
        for lease in scan
            .leases
            .iter()
            .filter(|l| self.settings.keys.pipeline_of(l) == Some(name))
        {
            let owner = lease
                .owner
                .as_ref()
                .map(|owner| self.fleet.observer.standing(owner));
            let is_free = owner.is_none_or(|standing| standing == Standing::Gone);
            // The rest at the next rounds: this worker has others to attend to.
            if asked == AT_ONCE {
                return;
            }
            asked += 1;
            match is_free {
                false => left += 1,
                // Changed, or no answer: at the next round.
                true if !self.fleet.delete_lease(lease).await => return,
                true => {}
            }
        }
        if left == 0 {
            self.fleet.delete_pipeline(name, &scan.streams).await;
            info!(pipeline = %name, "removed the leases of a pipeline that nobody has run for long");
        }
    }
}
