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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;
    use crate::clock::{Monotonic, Timestamp};
    use crate::lease::keys::Keys;
    use crate::lease::{Checkpoint, WorkerId};
    use crate::status::fleet::{PipelineView, ScanView};
    use crate::status::reports::Activity;
    use crate::stream::{ShardId, StreamArn};

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_secs(seconds))
    }

    fn key(shard: &str) -> LeaseKey {
        LeaseKey::new(format!("orders/{shard}"))
    }

    /// Two shards that nobody reads, one of them for a minute, and a child that waits.
    fn fleet(caretaker: &str, paused: bool, wanted: Option<u64>) -> FleetView {
        let lease = |shard: &str| Lease {
            key: key(shard),
            owner: None,
            counter: 0,
            checkpoint: Checkpoint::TrimHorizon,
            stream: Some(StreamArn::new("arn")),
            shard: ShardId::new(shard),
            parents: Vec::new(),
            children: Vec::new(),
            owner_switches: 0,
            hash_range: None,
        };
        let view = PipelineView {
            paused,
            caretaker: Some(WorkerId::new(caretaker)),
            wanted,
        };
        FleetView {
            me: WorkerId::new("me"),
            keys: Keys::Weir,
            rows: Arc::default(),
            beats: BTreeMap::new(),
            silent_after: Duration::from_secs(6),
            pipelines: [("orders".to_owned(), view)].into(),
            scan: Some(Arc::new(ScanView {
                at: at(95),
                wall: Timestamp::from_millis(0),
                leases: Arc::new(vec![lease("a"), lease("b"), lease("c")]),
                judged: ["orders".to_owned()].into(),
                waiting: [(key("c"), Waiting::Parent(ShardId::new("a")))].into(),
                unread: [(key("a"), at(35)), (key("b"), at(95))].into(),
                dead: BTreeSet::new(),
            })),
        }
    }

    /// The lines of these gauges, without help, type and the prefix of each name.
    fn rendered(metrics: &Metrics) -> Vec<String> {
        let names = [
            "leases_wanted",
            "shards_unread",
            "pipeline_lag",
            "pipeline_until_trim",
            "unaccounted",
        ];
        let text = metrics.render().unwrap();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let of_these = lines.filter(|line| names.iter().any(|name| line.contains(name)));
        let label = "pipeline=\"orders\"";
        of_these
            .map(|line| line.replace("weir_", "").replace(label, "").replace("{}", ""))
            .collect()
    }

    #[test]
    fn a_gauge_is_absent_until_something_is_known_and_goes_with_the_duty() {
        let metrics = Metrics::new();
        metrics.declare_pipeline("orders");
        let reports = Reports::default();
        let told = |fleet: Option<FleetView>| {
            reports.tell_fleet(fleet.map(Arc::new));
            set(&metrics, &reports, ["orders"]);
            rendered(&metrics)
        };
        let unaccounted = "records_unaccounted 0";
        assert_eq!(told(None), [unaccounted]);
        let caretaker = told(Some(fleet("me", false, Some(2))));
        assert_eq!(
            caretaker,
            [
                "leases_wanted 2",
                "pipeline_lag_seconds 60",
                unaccounted,
                "shards_unread{,why=\"parent\"} 1",
                "shards_unread{,why=\"paused\"} 0",
                "shards_unread{,why=\"unowned\"} 2",
            ]
        );
        let paused = told(Some(fleet("me", true, Some(0))));
        assert_eq!(paused[0], "leases_wanted 0");
        assert_eq!(paused[4], "shards_unread{,why=\"paused\"} 3");
        // What this worker has taken since is read.
        let report = ShardReport {
            pipeline: "orders".to_owned(),
            stream: StreamArn::new("arn"),
            shard: ShardId::new("a"),
            activity: Activity::Reading,
            checkpoint: "TRIM_HORIZON".to_owned(),
            position: None,
            in_flight: 0,
            lag: Some(Duration::from_secs(3)),
            until_trim: Some(Duration::from_secs(86_400)),
            reached_tip: false,
            older_by: None,
        };
        let reporter = reports.shard(&key("a"), report);
        let reading = told(Some(fleet("me", false, Some(2))));
        assert!(
            reading.contains(&"pipeline_lag_seconds 3".to_owned()),
            "{reading:?}"
        );
        assert!(
            reading.contains(&"pipeline_until_trim_seconds 86400".to_owned()),
            "{reading:?}"
        );
        assert!(
            reading.contains(&"shards_unread{,why=\"unowned\"} 1".to_owned()),
            "{reading:?}"
        );
        drop(reporter);
        // The duty is another's now; then this worker is fenced.
        assert_eq!(told(Some(fleet("other", false, None))), [unaccounted]);
        assert_eq!(told(None), [unaccounted]);
        metrics.records_received.with_label_values(&["orders"]).inc();
        assert_eq!(told(None), ["records_unaccounted 1"]);
    }
}
