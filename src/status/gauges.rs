//! The gauges that are true at the moment of a scrape, and absent where nothing is known.
//!
//! Owns those of the pipeline that no single shard can tell: what this worker should hold, what nobody reads, the largest
//! lag, the least time until the stream trims, and whether the account adds up. Called by `http` before it renders.

use std::collections::BTreeMap;
use std::time::Duration;

use prometheus::GaugeVec;

use super::assembly;
use super::fleet::FleetView;
use super::reports::{Reports, ShardReport};
use crate::lease::{Lease, LeaseKey};
use crate::metrics::Metrics;
use crate::metrics::account::Account;
use crate::stream::lineage::Waiting;

/// Why a shard is not read, as the label tells it.
const WHY: [&str; 3] = ["parent", "unowned", "paused"];

/// Sets them, of each of these pipelines.
pub fn set<'a>(metrics: &Metrics, reports: &Reports, pipelines: impl IntoIterator<Item = &'a str>) {
    let (shards, fleet) = (reports.shards(), reports.fleet());
    for name in pipelines {
        let p = &[name];
        let account = Account::of_running(metrics, name);
        metrics
            .records_unaccounted
            .with_label_values(p)
            .set(account.unaccounted);
        let wanted = fleet.as_ref().and_then(|fleet| fleet.pipelines.get(name)?.wanted);
        match wanted {
            Some(wanted) => metrics.leases_wanted.with_label_values(p).set(wanted as i64),
            // An error says that it was absent.
            None => drop(metrics.leases_wanted.remove_label_values(p)),
        }
        let duty = fleet.as_deref().filter(|fleet| fleet.is_caretaker(name));
        let own = |of: fn(&ShardReport) -> Option<Duration>| {
            let reports = shards.values().filter(move |report| report.pipeline == name);
            reports.filter_map(of)
        };
        let lag = own(|report| report.lag)
            .chain(assembly::unread(&shards, duty, name))
            .max();
        set_or_remove(&metrics.pipeline_lag, name, lag);
        set_or_remove(
            &metrics.pipeline_until_trim,
            name,
            own(|report| report.until_trim).min(),
        );
        let counts = duty.and_then(|fleet| unread(fleet, &shards, name));
        for why in WHY {
            let labels = &[name, why];
            match counts.as_ref().and_then(|counts| counts.get(why)) {
                Some(count) => metrics.shards_unread.with_label_values(labels).set(*count),
                None => drop(metrics.shards_unread.remove_label_values(labels)),
            }
        }
    }
}

fn set_or_remove(gauge: &GaugeVec, pipeline: &str, value: Option<Duration>) {
    match value {
        Some(value) => gauge.with_label_values(&[pipeline]).set(value.as_secs_f64()),
        None => drop(gauge.remove_label_values(&[pipeline])),
    }
}

/// Unread shards by why, as of the last read of the leases. `None`: the pipeline's streams were not known by then.
fn unread(
    fleet: &FleetView,
    own: &BTreeMap<LeaseKey, ShardReport>,
    pipeline: &str,
) -> Option<BTreeMap<&'static str, i64>> {
    let scan = fleet
        .scan
        .as_ref()
        .filter(|scan| scan.judged.contains(pipeline))?;
    let paused = fleet.pipelines.get(pipeline).is_some_and(|view| view.paused);
    let mut counts: BTreeMap<&str, i64> = WHY.into_iter().map(|why| (why, 0)).collect();
    for lease in scan.leases_of(&fleet.keys, pipeline) {
        let why = match scan.waiting.get(&lease.key) {
            _ if own.contains_key(&lease.key) => continue,
            // Of a stream that this pipeline does not read there is nothing to come.
            Some(Waiting::Ended | Waiting::Stream) => continue,
            Some(_) if is_live(fleet, lease) => continue,
            Some(_) if paused => "paused",
            Some(_) => "parent",
            None if !scan.unread.contains_key(&lease.key) => continue,
            None if paused => "paused",
            None => "unowned",
        };
        *counts.entry(why).or_default() += 1;
    }
    Some(counts)
}

/// Whoever holds a lease that may not be read by what this worker knows, knows more.
fn is_live(fleet: &FleetView, lease: &Lease) -> bool {
    let row = lease.owner.as_ref().and_then(|owner| fleet.rows.get(owner));
    row.is_some_and(|row| row.is_live())
}
