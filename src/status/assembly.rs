//! The parts that know something, put together as the answer of `/status`.
//!
//! Pure. Owns what stands beside what, which shards are shown, and in which order.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::fleet::{FleetView, ScanView};
use super::reports::{ShardReport, Trouble};
use super::why::{Facts, Owner, why};
use super::{LastError, Memory, PipelineStatus, Rates, ShardState, ShardStatus, Status, WorkerStatus};
use crate::clock::{Monotonic, Timestamp};
use crate::config::{Config, StreamChoice};
use crate::lease::{Checkpoint, Lease, LeaseKey, WorkerId, WorkerRow};
use crate::metrics::account::Account;
use crate::readiness::Report;
use crate::stream::{ShardId, StreamArn};

/// The shards of a pipeline that are shown.
const MOST_SHARDS: usize = 1_000;

/// What doesn't change while the process runs.
#[derive(Clone, Debug)]
pub struct About {
    pub application: String,
    pub started: Timestamp,
    /// Bytes for what is in flight.
    pub memory: usize,
    pub pipelines: Vec<PipelineAbout>,
}

#[derive(Clone, Debug)]
pub struct PipelineAbout {
    pub name: String,
    /// `table orders`, `Kinesis stream rds-audit`, or an ARN.
    pub source: String,
    /// `/cdc/orders {shard_id}`.
    pub destination: String,
}

impl About {
    /// `memory`: the budget that was found for these settings, in bytes.
    pub fn of(config: &Config, memory: usize, started: Timestamp) -> Self {
        let pipelines = config.pipelines.iter().map(|pipeline| PipelineAbout {
            name: pipeline.name.clone(),
            source: match &pipeline.source.stream {
                StreamChoice::Table(table) => format!("table {table}"),
                StreamChoice::Kinesis(name) => format!("Kinesis stream {name}"),
                StreamChoice::Arn(arn) | StreamChoice::KinesisArn(arn) => arn.service_arn().to_owned(),
            },
            destination: format!("{} {}", pipeline.destination.group, pipeline.destination.stream),
        });
        Self {
            application: config.application.clone(),
            started,
            memory,
            pipelines: pipelines.collect(),
        }
    }
}

/// Everything that is known at one moment.
#[derive(Debug)]
pub struct Known<'a> {
    pub about: &'a About,
    pub now: Monotonic,
    pub wall: Timestamp,
    pub readiness: Report,
    /// Bytes in flight.
    pub memory_used: u64,
    pub accounts: BTreeMap<String, Account>,
    pub rates: BTreeMap<String, Rates>,
    pub shards: &'a BTreeMap<LeaseKey, ShardReport>,
    pub troubles: &'a BTreeMap<String, Trouble>,
    pub fleet: Option<&'a FleetView>,
}

/// The answer of `/status`.
pub fn of(known: &Known<'_>) -> Status {
    let fleet = known.fleet;
    let pipelines = known.about.pipelines.iter();
    Status {
        version: env!("CARGO_PKG_VERSION"),
        application: known.about.application.clone(),
        worker: fleet.map(|fleet| fleet.me.to_string()),
        now: known.wall.to_string(),
        started: known.about.started.to_string(),
        readiness: known.readiness.clone(),
        memory: Memory {
            budget_bytes: known.about.memory as u64,
            used_bytes: known.memory_used,
        },
        pipelines: pipelines
            .map(|about| (about.name.clone(), pipeline(known, about)))
            .collect(),
        workers: fleet.map(|fleet| workers(known, fleet)).unwrap_or_default(),
    }
}

fn pipeline(known: &Known<'_>, about: &PipelineAbout) -> PipelineStatus {
    let name = about.name.as_str();
    let view = known.fleet.and_then(|fleet| fleet.pipelines.get(name));
    let paused = view.is_some_and(|view| view.paused);
    let (shards, shards_omitted) = shown(shards(known, name, paused));
    let own = |of: fn(&ShardReport) -> Option<Duration>| {
        let reports = known.shards.values().filter(move |r| r.pipeline == name);
        reports.filter_map(of).map(|time| time.as_secs_f64())
    };
    let others = |of: fn(&WorkerRow) -> &BTreeMap<String, u64>| {
        let rows = known.fleet.into_iter().flat_map(|fleet| {
            let others = fleet.rows.values().filter(|row| row.id != fleet.me);
            others.filter(|row| row.is_live())
        });
        rows.filter_map(move |row| of(row).get(name))
            .map(|millis| seconds(*millis))
    };
    let lags = own(|r| r.lag).chain(others(|row| &row.lag));
    let unread = unread(known.shards, known.fleet, name).map(|time| time.as_secs_f64());
    PipelineStatus {
        source: about.source.clone(),
        destination: about.destination.clone(),
        paused,
        caretaker: view
            .and_then(|view| view.caretaker.as_ref())
            .map(WorkerId::to_string),
        records: known.accounts.get(name).cloned().unwrap_or_default(),
        rates: known.rates.get(name).copied().unwrap_or_default(),
        lag_seconds: lags.chain(unread).reduce(f64::max).map(rounded),
        until_trim_seconds: own(|r| r.until_trim)
            .chain(others(|row| &row.until_trim))
            .reduce(f64::min)
            .map(rounded),
        last_error: known.troubles.get(name).map(|trouble| LastError {
            at: trouble.at.to_string(),
            part: trouble.part.clone(),
            what: trouble.what.clone(),
        }),
        leases_read: known
            .fleet
            .and_then(|fleet| fleet.scan.as_ref())
            .map(|scan| scan.wall.to_string()),
        shards,
        shards_omitted,
    }
}

/// For how long at least a shard has been read by nobody that could be read: since the first until the last scan that
/// showed it, for the longest. What this worker has taken since is read.
pub(super) fn unread(
    own: &BTreeMap<LeaseKey, ShardReport>,
    fleet: Option<&FleetView>,
    pipeline: &str,
) -> Option<Duration> {
    let fleet = fleet?;
    let scan = fleet.scan.as_ref()?;
    let unread = scan.unread.iter().filter(|(key, _)| !own.contains_key(*key));
    unread
        .filter(|(key, _)| fleet.keys.pipeline_in(key) == Some(pipeline))
        .map(|(_, since)| scan.at.since(*since))
        .max()
}

/// A shard, and what orders it.
struct Entry {
    stream: Option<StreamArn>,
    shard: ShardId,
    parents: Vec<ShardId>,
    status: ShardStatus,
}

fn shards(known: &Known<'_>, pipeline: &str, paused: bool) -> Vec<Entry> {
    let own = known.shards.iter().filter(|(_, r)| r.pipeline == pipeline);
    let own: BTreeMap<&LeaseKey, &ShardReport> = own.collect();
    let mut entries = Vec::new();
    let mut seen = BTreeSet::new();
    if let Some(fleet) = known.fleet
        && let Some(scan) = &fleet.scan
    {
        for lease in scan.leases_of(&fleet.keys, pipeline) {
            seen.insert(&lease.key);
            entries.push(entry(
                known,
                fleet,
                scan,
                lease,
                own.get(&lease.key).copied(),
                paused,
            ));
        }
    }
    // Taken since the leases were read, or before the first read.
    for (key, report) in own.into_iter().filter(|(key, _)| !seen.contains(key)) {
        let lease = Lease {
            key: key.clone(),
            owner: None,
            counter: 0,
            checkpoint: Checkpoint::TrimHorizon,
            stream: Some(report.stream.clone()),
            shard: report.shard.clone(),
            parents: Vec::new(),
            children: Vec::new(),
            owner_switches: 0,
            hash_range: None,
        };
        let facts = facts(known, &lease, Owner::Me, Some(report), paused);
        entries.push(told(known, &lease, &facts));
    }
    name_children(&mut entries);
    entries
}

/// A lease names its children once it has ended; theirs name it from their beginning.
fn name_children(entries: &mut [Entry]) {
    let mut children: BTreeMap<(Option<StreamArn>, ShardId), BTreeSet<String>> = BTreeMap::new();
    for entry in &*entries {
        for parent in &entry.parents {
            let of = children
                .entry((entry.stream.clone(), parent.clone()))
                .or_default();
            of.insert(entry.shard.to_string());
        }
    }
    for entry in entries {
        if let Some(mut all) = children.remove(&(entry.stream.clone(), entry.shard.clone())) {
            all.extend(std::mem::take(&mut entry.status.children));
            entry.status.children = all.into_iter().collect();
        }
    }
}

fn entry(
    known: &Known<'_>,
    fleet: &FleetView,
    scan: &ScanView,
    lease: &Lease,
    report: Option<&ShardReport>,
    paused: bool,
) -> Entry {
    let mut facts = facts(known, lease, owner(known, fleet, scan, lease), report, paused);
    facts.waiting = scan.waiting.get(&lease.key);
    facts.unread = scan.unread.get(&lease.key).map(|since| scan.at.since(*since));
    told(known, lease, &facts)
}

fn facts<'a>(
    known: &'a Known<'_>,
    lease: &'a Lease,
    owner: Owner<'a>,
    report: Option<&'a ShardReport>,
    paused: bool,
) -> Facts<'a> {
    Facts {
        lease,
        owner,
        report,
        waiting: None,
        paused,
        unread: None,
        now: known.now,
        wall: known.wall,
    }
}

fn owner<'a>(known: &Known<'_>, fleet: &FleetView, scan: &ScanView, lease: &'a Lease) -> Owner<'a> {
    let Some(owner) = &lease.owner else {
        return Owner::Nobody;
    };
    if *owner == fleet.me {
        return Owner::Me;
    }
    match fleet.rows.get(owner) {
        Some(row) if !row.is_live() => Owner::Gone(owner),
        Some(_) => match fleet.beats.get(owner).map(|at| known.now.since(*at)) {
            Some(silence) if silence > fleet.silent_after => Owner::Silent(owner, silence),
            _ => Owner::Other(owner),
        },
        None if scan.dead.contains(owner) => Owner::Gone(owner),
        None => Owner::Stranger(owner),
    }
}

fn told(known: &Known<'_>, lease: &Lease, facts: &Facts<'_>) -> Entry {
    let (state, why) = why(facts);
    let report = facts.report;
    let me = || known.fleet.map(|fleet| fleet.me.to_string());
    // The name of its last owner stays on a lease that has ended.
    let owner = match (report, state) {
        (Some(_), _) => me(),
        (None, ShardState::Ended) => None,
        (None, _) => lease.owner.as_ref().map(WorkerId::to_string),
    };
    let texts = |ids: &[ShardId]| ids.iter().map(ShardId::to_string).collect();
    let time =
        |of: fn(&ShardReport) -> Option<Duration>| report.and_then(of).map(|t| rounded(t.as_secs_f64()));
    let status = ShardStatus {
        lease_key: lease.key.to_string(),
        shard_id: lease.shard.to_string(),
        stream: lease.stream.as_ref().map(|arn| arn.service_arn().to_owned()),
        parents: texts(&lease.parents),
        children: texts(&lease.children),
        owner,
        mine: report.is_some(),
        checkpoint: match report {
            Some(report) => report.checkpoint.clone(),
            None => lease.checkpoint.to_string(),
        },
        position: report.and_then(|report| report.position.clone()),
        in_flight: report.map(|report| report.in_flight),
        lag_seconds: time(|report| report.lag),
        until_trim_seconds: time(|report| report.until_trim),
        state,
        why,
    };
    Entry {
        stream: lease.stream.clone(),
        shard: lease.shard.clone(),
        parents: lease.parents.clone(),
        status,
    }
}

/// Those that are shown, parents before children, and how many are not. Who looks wants to see what is in trouble or
/// unread; what has ended goes first, the oldest before.
fn shown(mut entries: Vec<Entry>) -> (Vec<ShardStatus>, usize) {
    let omitted = entries.len().saturating_sub(MOST_SHARDS);
    if omitted > 0 {
        // Ids, like labels, hold or follow the time of creation.
        let age = |entry: &Entry| Reverse((label(entry), entry.shard.clone()));
        entries.sort_by_cached_key(|entry| (rank(entry.status.state), age(entry)));
        entries.truncate(MOST_SHARDS);
    }
    (parents_first(entries), omitted)
}

fn label(entry: &Entry) -> Option<String> {
    let arn = entry.stream.as_ref()?;
    arn.label().map(str::to_owned)
}

fn rank(state: ShardState) -> u8 {
    match state {
        ShardState::BackingOff
        | ShardState::HeldByDestination
        | ShardState::WaitingForMemory
        | ShardState::Suspected
        | ShardState::Unowned => 0,
        ShardState::Starting | ShardState::Draining | ShardState::WaitingForParent | ShardState::Paused => 1,
        ShardState::Reading | ShardState::CaughtUp | ShardState::Elsewhere => 2,
        ShardState::Ended => 3,
    }
}

/// Older streams before newer ones; in each, a shard after its parents, else by its id.
fn parents_first(mut entries: Vec<Entry>) -> Vec<ShardStatus> {
    entries.sort_by_cached_key(|entry| (label(entry), entry.stream.clone(), entry.shard.clone()));
    let place: BTreeMap<(Option<StreamArn>, ShardId), usize> = entries
        .iter()
        .enumerate()
        .map(|(at, entry)| ((entry.stream.clone(), entry.shard.clone()), at))
        .collect();
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); entries.len()];
    let mut waits = vec![0_usize; entries.len()];
    for (at, entry) in entries.iter().enumerate() {
        let parents: BTreeSet<usize> = entry
            .parents
            .iter()
            .filter_map(|parent| place.get(&(entry.stream.clone(), parent.clone())).copied())
            .collect();
        waits[at] = parents.len();
        parents.into_iter().for_each(|parent| children[parent].push(at));
    }
    let mut ready: BTreeSet<usize> = (0..entries.len()).filter(|at| waits[*at] == 0).collect();
    let mut order = Vec::new();
    while let Some(at) = ready.pop_first() {
        order.push(at);
        for child in &children[at] {
            waits[*child] -= 1;
            if waits[*child] == 0 {
                ready.insert(*child);
            }
        }
    }
    // A cycle, which no service makes, is shown at the end rather than left out.
    order.extend((0..entries.len()).filter(|at| waits[*at] > 0));
    let mut entries: Vec<Option<Entry>> = entries.into_iter().map(Some).collect();
    let taken = order.into_iter().filter_map(|at| entries[at].take());
    taken.map(|entry| entry.status).collect()
}

fn workers(known: &Known<'_>, fleet: &FleetView) -> Vec<WorkerStatus> {
    let worker = |row: &WorkerRow| {
        let age = fleet.beats.get(&row.id).map(|at| known.now.since(*at));
        WorkerStatus {
            id: row.id.to_string(),
            me: row.id == fleet.me,
            state: match row {
                row if row.evicted => "evicted",
                row if row.tombstone => "gone",
                row if row.draining => "draining",
                _ => "live",
            },
            version: row.version.clone(),
            started: row.started.to_string(),
            held: row.held.clone(),
            lag_seconds: row
                .lag
                .iter()
                .map(|(name, millis)| (name.clone(), rounded(seconds(*millis))))
                .collect(),
            heartbeat_age_seconds: age.map(|age| rounded(age.as_secs_f64())),
        }
    };
    fleet.rows.values().map(worker).collect()
}

fn seconds(millis: u64) -> f64 {
    Duration::from_millis(millis).as_secs_f64()
}

/// To milliseconds: nothing here is more exact.
fn rounded(seconds: f64) -> f64 {
    (seconds * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests;
