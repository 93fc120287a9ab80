//! What a worker's coordinator knows of the fleet, for who looks.
//!
//! Pure. Owns the nouns of a snapshot. The coordinator makes one after each read of the worker rows or of the leases;
//! what has not changed since the one before is shared with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Monotonic, Timestamp};
use crate::lease::keys::Keys;
use crate::lease::{Lease, LeaseKey, WorkerId, WorkerRow};
use crate::stream::lineage::Waiting;

/// The fleet, as one worker sees it.
#[derive(Clone, Debug)]
pub struct FleetView {
    pub me: WorkerId,
    pub keys: Keys,
    /// The worker rows, as last read.
    pub rows: Arc<BTreeMap<WorkerId, WorkerRow>>,
    /// When each worker's last heartbeat was first seen, this one's too.
    pub beats: BTreeMap<WorkerId, Monotonic>,
    /// A worker whose heartbeat was not seen to move for longer is silent.
    pub silent_after: Duration,
    /// Those that this worker runs.
    pub pipelines: BTreeMap<String, PipelineView>,
    /// `None` before the first read of the leases.
    pub scan: Option<Arc<ScanView>>,
}

/// One pipeline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PipelineView {
    pub paused: bool,
    pub caretaker: Option<WorkerId>,
    /// The leases that this worker should hold; `None` while nobody has told how many there are.
    pub wanted: Option<u64>,
}

/// What one read of the leases showed.
#[derive(Clone, Debug)]
pub struct ScanView {
    pub at: Monotonic,
    pub wall: Timestamp,
    pub leases: Arc<Vec<Lease>>,
    /// The pipelines whose streams were known, so that their leases could be judged.
    pub judged: BTreeSet<String>,
    /// The leases that may not be read yet, and why. Ended ones are not among them.
    pub waiting: BTreeMap<LeaseKey, Waiting>,
    /// Leases that may be read and that nobody reads, and the scan that first showed it.
    pub unread: BTreeMap<LeaseKey, Monotonic>,
    /// Owners without a worker row that were found dead.
    pub dead: BTreeSet<WorkerId>,
}

impl FleetView {
    /// This worker takes care of the pipeline.
    pub fn is_caretaker(&self, pipeline: &str) -> bool {
        let view = self.pipelines.get(pipeline);
        view.and_then(|p| p.caretaker.as_ref()) == Some(&self.me)
    }
}

impl ScanView {
    /// The leases of a pipeline.
    pub fn leases_of<'a>(&'a self, keys: &'a Keys, pipeline: &'a str) -> impl Iterator<Item = &'a Lease> {
        self.leases
            .iter()
            .filter(move |lease| keys.pipeline_of(lease) == Some(pipeline))
    }
}

/// Since when leases that may be read are read by nobody, as scan after scan shows it.
#[derive(Debug, Default)]
pub struct Unread {
    since: BTreeMap<LeaseKey, Monotonic>,
}

impl Unread {
    /// Takes in which these were at a scan. What is not among them is forgotten.
    pub fn watch(
        &mut self,
        keys: impl IntoIterator<Item = LeaseKey>,
        at: Monotonic,
    ) -> BTreeMap<LeaseKey, Monotonic> {
        self.since = keys
            .into_iter()
            .map(|key| {
                let since = self.since.get(&key).copied().unwrap_or(at);
                (key, since)
            })
            .collect();
        self.since.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_unread_since_the_first_of_the_scans_in_a_row_that_show_it() {
        let mut unread = Unread::default();
        let at = |s| Monotonic::from_origin(Duration::from_secs(s));
        let keys = |names: &str| names.split_whitespace().map(LeaseKey::new).collect::<Vec<_>>();
        for (now, seen, expected) in [
            (0, "a b", "a=0 b=0"),
            (30, "a c", "a=0 c=30"),
            (60, "b c", "b=60 c=30"),
            (90, "", ""),
        ] {
            let since: Vec<String> = unread
                .watch(keys(seen), at(now))
                .iter()
                .map(|(key, since)| format!("{key}={}", since.since_origin().as_secs()))
                .collect();
            assert_eq!(since.join(" "), expected, "at {now}");
        }
    }
}
