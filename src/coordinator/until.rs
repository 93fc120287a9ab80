//! A worker that ends by itself, when there is nothing more to read: `weir run --until-caught-up`.
//!
//! What it looks at is decided by [`caught_up`](super::caught_up). Before it believes that nothing is left, it has the
//! shards of each pipeline synced once more, and reads the leases after that: a shard may have been split meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::{debug, info};

use super::Life;
use super::caught_up::{Knows, Tips, Verdict, Whose, decide};
use super::sync::Synced;
use crate::clock::Monotonic;
use crate::lease::{Checkpoint, Lease, LeaseKey, WorkerId};

/// So often at most it is looked whether this worker is done: each look goes through all leases.
const LOOK: Duration = Duration::from_millis(500);
/// A sync is asked for so often at most.
const ASK: Duration = Duration::from_secs(5);

/// What such a worker keeps in mind.
#[derive(Debug, Default)]
pub(super) struct Until {
    tips: Tips,
    /// Shards that ended here, and may have children that were there before, and when.
    ended: BTreeMap<LeaseKey, Monotonic>,
    /// Since when nothing seems to be left.
    since: Option<Monotonic>,
    /// When the syncs were last asked for.
    asked: Option<Monotonic>,
    /// This worker's own syncs that finished: when each pipeline's last one began, and when it was heard of.
    synced: BTreeMap<String, (Monotonic, Monotonic)>,
    /// When it was first looked, and last.
    began: Option<Monotonic>,
    looked: Option<Monotonic>,
    /// What was last said to be missing.
    told: String,
}

/// How such a worker is done.
pub(super) enum Done {
    CaughtUp,
    /// It never will be.
    Never(String),
}

impl Until {
    /// A shard has ended here, with or without a child that was found. One that was read to its tip and ended after that
    /// has children that are younger than this worker: if some were found, what others hold is not what it is here for.
    pub(super) fn shard_ended(&mut self, key: LeaseKey, has_children: bool, now: Monotonic) {
        if !(has_children && self.tips.was_reached(&key)) {
            self.ended.insert(key, now);
        }
    }

    pub(super) fn heed_sync(&mut self, synced: &Synced, now: Monotonic) {
        if let Some(began) = synced.began.filter(|_| synced.finished) {
            self.synced.insert(synced.pipeline.clone(), (began, now));
        }
    }
}

impl Life {
    /// Whether this worker is done. `None`: not yet, or it is not one that ends by itself.
    pub(super) fn look_whether_done(&mut self) -> Option<Done> {
        let now = self.clock.now();
        let is_due = |until: &mut Until| until.looked.is_none_or(|at| now.since(at) >= LOOK);
        let mut until = self.until.take_if(is_due)?;
        until.looked = Some(now);
        until.began.get_or_insert(now);
        let done = self.look(&mut until, now);
        self.until = Some(until);
        done
    }

    fn look(&mut self, until: &mut Until, now: Monotonic) -> Option<Done> {
        until.tips.watch(&self.reports.shards());
        let verdict = self.verdict(until, now);
        let (what, never) = match verdict {
            Verdict::NotYet(why) => {
                until.since = None;
                (why, None)
            }
            Verdict::Unsure(why) => {
                until.since = None;
                self.ask_for_syncs(until, now);
                (why, None)
            }
            Verdict::Perhaps => (String::new(), None),
            Verdict::Never(why) => (String::new(), Some(why)),
        };
        if !what.is_empty() {
            if what != until.told {
                debug!("not caught up yet: {what}");
                until.told = what;
            }
            return None;
        }
        let since = *until.since.get_or_insert(now);
        if !self.is_confirmed(until, since) {
            self.ask_for_syncs(until, now);
            return None;
        }
        Some(match never {
            None => {
                info!("caught up: all that the streams held is read and delivered; ending");
                Done::CaughtUp
            }
            Some(why) => Done::Never(why),
        })
    }

    fn verdict(&self, until: &Until, now: Monotonic) -> Verdict {
        let Some(view) = &self.scan_view else {
            return Verdict::NotYet("the leases are not read yet".to_owned());
        };
        let problems = self.readiness.report().problems;
        let keys = &self.settings.keys;
        let pipelines: Vec<Knows<'_>> = self
            .pipelines
            .iter()
            .map(|(name, pipeline)| {
                let streams = pipeline.last.as_ref().map(|synced| &synced.streams);
                let newest = streams.and_then(|streams| streams.last());
                let takes_changes = |listing: &Option<crate::stream::ShardListing>| {
                    listing.as_ref().is_none_or(|listing| !listing.disabled)
                };
                let own = self.running.iter().filter(|(_, r)| r.pipeline == *name);
                let takes = self.takes.of_pipeline(name);
                let is_known = pipeline.last.as_ref().is_some_and(|synced| synced.finished);
                let no_stream = (is_known && streams.is_some_and(Vec::is_empty)).then(|| {
                    let problem = problems.get(&format!("source of {name}"));
                    problem.map_or("no stream is known", String::as_str)
                });
                let of_pipeline = |key: &&LeaseKey| keys.pipeline_in(key) == Some(name);
                Knows {
                    pipeline: name,
                    paused: pipeline.paused,
                    judged: is_known && view.judged.contains(name),
                    no_stream,
                    growing: newest
                        .filter(|(_, listing)| takes_changes(listing))
                        .map(|(arn, _)| arn),
                    leases: view
                        .leases_of(keys, name)
                        .map(|lease| (lease, self.whose(lease), view.waiting.get(&lease.key)))
                        .collect(),
                    own: own.map(|(key, _)| key).chain(takes).collect(),
                    ended: until
                        .ended
                        .iter()
                        .filter(|(key, _)| of_pipeline(key))
                        .map(|(key, at)| (key, *at))
                        .collect(),
                    began: until.began.unwrap_or(now),
                    unleased: pipeline.last.as_ref().and_then(|synced| synced.unleased.as_ref()),
                }
            })
            .collect();
        decide(&pipelines, &until.tips, now)
    }

    fn whose(&self, lease: &Lease) -> Whose {
        let observer = &self.fleet.observer;
        let owner = lease.owner.as_ref().filter(|owner| **owner != self.fleet.me);
        let row = owner.and_then(|owner| observer.rows().get(owner));
        let stays = row.is_some_and(|row| {
            row.is_live() && !row.draining && observer.is_fresh(&row.id, self.fresh_age())
        });
        if stays { Whose::Others } else { Whose::Open }
    }

    /// Each pipeline's shards were synced, and then the leases read, all after nothing seemed to be left; and since then
    /// everybody was heard from whom shards are left to. The row of one that has crashed looks alive for a while: most of
    /// all that of the worker whose place this one takes.
    fn is_confirmed(&self, until: &Until, since: Monotonic) -> bool {
        let Some(view) = &self.scan_view else {
            return false;
        };
        let is_synced = self.pipelines.keys().all(|name| {
            let synced = until.synced.get(name);
            synced.is_some_and(|(began, heard)| *began >= since && view.at > *heard)
        });
        let beats: BTreeMap<&WorkerId, Monotonic> = self.fleet.observer.beats().collect();
        let open = view
            .leases
            .iter()
            .filter(|l| l.checkpoint != Checkpoint::ShardEnd);
        let others = open.filter(|lease| self.whose(lease) == Whose::Others);
        let mut owners = others.filter_map(|lease| lease.owner.as_ref());
        is_synced && owners.all(|owner| beats.get(owner).is_some_and(|at| *at > since))
    }

    fn ask_for_syncs(&mut self, until: &mut Until, now: Monotonic) {
        let pending = until.asked.is_some_and(|asked| now.since(asked) < ASK);
        if !pending {
            until.asked = Some(now);
            self.pipelines
                .values()
                .for_each(|pipeline| self.order_sync(pipeline));
        }
    }
}
