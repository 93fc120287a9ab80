//! What a worker shows of the fleet to those who look.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::{Life, Scan};
use crate::lease::plan::Standing;
use crate::status::fleet::{FleetView, PipelineView, ScanView};

/// Who looked so lately is taken to look still.
const LOOKED: Duration = Duration::from_secs(60);
/// The leases are read so often while somebody looks…
const SHOWN: Duration = Duration::from_secs(10);
/// …and so often where they are many: a scan of a thousand takes some hundred read units.
const SHOWN_MANY: Duration = Duration::from_secs(30);
const MANY: usize = 1_000;

impl Life {
    /// Tells what this worker knows of the fleet.
    pub(super) fn tell_fleet(&self) {
        let observer = &self.fleet.observer;
        let pipelines = self.pipelines.iter().map(|(name, pipeline)| {
            let view = PipelineView {
                paused: pipeline.paused,
                caretaker: self.duty.holder(name).cloned(),
                wanted: pipeline.wanted,
            };
            (name.clone(), view)
        });
        let view = FleetView {
            me: self.fleet.me.clone(),
            keys: self.settings.keys.clone(),
            rows: observer.shared_rows(),
            beats: observer.beats().map(|(id, at)| (id.clone(), at)).collect(),
            silent_after: self.fresh_age(),
            pipelines: pipelines.collect(),
            scan: self.scan_view.clone(),
        };
        self.reports.tell_fleet(Some(Arc::new(view)));
    }

    /// The beginning of what a scan is to those who look.
    pub(super) fn view_of(&self, scan: &Scan) -> ScanView {
        let owners: BTreeSet<_> = scan.leases.iter().filter_map(|l| l.owner.as_ref()).collect();
        let observer = &self.fleet.observer;
        let dead = owners.into_iter().filter(|owner| {
            !observer.rows().contains_key(*owner) && observer.standing(owner) == Standing::Gone
        });
        ScanView {
            at: self.clock.now(),
            wall: self.clock.wall(),
            leases: scan.leases.clone(),
            judged: BTreeSet::new(),
            waiting: BTreeMap::new(),
            unread: BTreeMap::new(),
            dead: dead.cloned().collect(),
        }
    }

    /// While somebody looks the leases are read often enough to be worth the look. Nobody looks: nothing is asked.
    pub(super) fn heed_who_looks(&mut self) {
        let now = self.clock.now();
        let looks = self.reports.asked().is_some_and(|at| now.since(at) <= LOOKED);
        if let Some(last) = self.schedule.scanned.filter(|_| looks) {
            let leases = self.scanned.as_ref().map_or(0, |scan| scan.leases.len());
            let pause = if leases > MANY { SHOWN_MANY } else { SHOWN };
            self.schedule.scan_by(last + pause);
        }
    }
}
