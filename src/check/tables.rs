//! What of the state tables is as it should be.
//!
//! Pure. Owns what the answers about them mean, and who else seems to use them.

use std::collections::{BTreeMap, BTreeSet};

use super::calls::{Call, failed};
use super::{Finding, Severity, Subject};
use crate::aws::arn::Place;
use crate::aws::failure::Failure;
use crate::config::{Missing, StateTables};
use crate::lease::dynamodb::probe::{Request, Which};
use crate::lease::{Lease, LeaseKey, WorkerId, WorkerRow};

/// The requests that a worker makes of each table.
pub fn requests(which: Which) -> &'static [Request] {
    use Request::{DeleteItem, GetItem, PutItem, Query, Scan, UpdateItem};
    match which {
        Which::Leases => &[Scan, GetItem, PutItem, UpdateItem, DeleteItem],
        Which::Fleet => &[Query, PutItem, UpdateItem, DeleteItem],
    }
}

/// What was seen of one of them.
#[derive(Debug)]
pub struct Seen {
    pub which: Which,
    /// Whether it is there.
    pub there: Result<bool, Failure>,
    /// Those that failed.
    pub failed: Vec<(Request, Failure)>,
}

/// Judges one table.
pub fn table(tables: &StateTables, seen: &Seen, place: &Place) -> Vec<Finding> {
    let (name, key) = match seen.which {
        Which::Leases => (&tables.leases, "leaseKey (HASH, S)"),
        Which::Fleet => (&tables.fleet, "kind (HASH, S) and id (RANGE, S)"),
    };
    let arn = place.table(name);
    let call = |action| Call {
        action,
        resource: &arn,
        region: &place.region,
        subject: Subject::StateTables,
        if_denied: Severity::Error,
    };
    match (&seen.there, &tables.missing) {
        (Err(failure), _) => vec![failed(call("dynamodb:DescribeTable"), failure)],
        (Ok(false), Missing::Create(_)) => vec![Finding::ok(
            Subject::StateTables,
            format!("{name} is created at the start (dynamodb:CreateTable is not tried)"),
        )],
        (Ok(false), Missing::Refuse) => {
            let what = format!("table {name} is not there, and `state.create` is false");
            vec![Finding::error(Subject::StateTables, what).way_out(format!(
                "create it with the key {key}, or set `state.create: true`; `state.region` names another region"
            ))]
        }
        (Ok(true), _) if seen.failed.is_empty() => {
            vec![Finding::ok(
                Subject::StateTables,
                format!("{name} can be read and written"),
            )]
        }
        (Ok(true), _) => {
            let failures = seen.failed.iter();
            failures
                .map(|(request, failure)| failed(call(request.action()), failure))
                .collect()
        }
    }
}

/// Who may be using the tables beside this fleet: the owners of leases that have no worker's row.
pub fn strangers<'a>(leases: &'a [Lease], workers: &[WorkerRow]) -> BTreeSet<&'a WorkerId> {
    let known: BTreeSet<_> = workers.iter().map(|row| &row.id).collect();
    let owners = leases.iter().filter_map(|lease| lease.owner.as_ref());
    owners.filter(|owner| !known.contains(owner)).collect()
}

/// What two looks at the leases, some seconds apart, say of the strangers. `seconds` lay between them.
pub fn told_of_strangers(
    before: &[Lease],
    after: &[Lease],
    workers: &[WorkerRow],
    seconds: u64,
) -> Vec<Finding> {
    let counters: BTreeMap<&LeaseKey, u64> = before.iter().map(|lease| (&lease.key, lease.counter)).collect();
    let is_alive = |owner: &WorkerId| {
        after.iter().any(|lease| {
            lease.owner.as_ref() == Some(owner)
                && counters.get(&lease.key).is_some_and(|c| *c != lease.counter)
        })
    };
    let of = strangers(after, workers);
    let (alive, silent): (Vec<_>, Vec<_>) = of.into_iter().partition(|owner| is_alive(owner));
    let mut findings = Vec::new();
    let names = |owners: &[&WorkerId]| {
        let names: Vec<_> = owners.iter().take(5).map(|owner| owner.as_str()).collect();
        names.join(", ")
    };
    if !alive.is_empty() {
        let what = format!(
            "{} renews leases in this table and is no worker of this fleet: another application, or a KCL one, runs on it. \
             `weir run` touches nothing then, and ends",
            names(&alive)
        );
        findings.push(
            Finding::error(Subject::StateTables, what)
                .way_out("stop it first, or choose another `application` (or `state.lease_table`)"),
        );
    }
    if !silent.is_empty() {
        let what = format!(
            "leases have owners that are no workers of this fleet, and were silent for {seconds} s: {}. `weir run` \
             watches them for `leases.foreign_watch` before it takes their leases",
            names(&silent)
        );
        findings.push(Finding::warning(Subject::StateTables, what));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::failure::refusal;
    use crate::lease::Checkpoint;
    use crate::stream::ShardId;

    #[test]
    fn a_table_is_told_by_what_fails() {
        let place = Place::new("eu-west-1", None);
        let create = StateTables::of("weir");
        let refuse = StateTables {
            missing: Missing::Refuse,
            ..create.clone()
        };
        let denied = || refusal(400, Some("AccessDeniedException"), "");
        let seen = |there, failed| Seen {
            which: Which::Leases,
            there,
            failed,
        };
        for (tables, seen, severity, way_out) in [
            (&create, seen(Ok(true), vec![]), Severity::Ok, ""),
            (&create, seen(Ok(false), vec![]), Severity::Ok, ""),
            (
                &refuse,
                seen(Ok(false), vec![]),
                Severity::Error,
                "leaseKey (HASH, S)",
            ),
            (
                &create,
                seen(Err(denied()), vec![]),
                Severity::Error,
                "dynamodb:DescribeTable on arn:aws:dynamodb:eu-west-1:*:table/weir",
            ),
            (
                &create,
                seen(Ok(true), vec![(Request::PutItem, denied())]),
                Severity::Error,
                "dynamodb:PutItem on",
            ),
        ] {
            let found = table(tables, &seen, &place);
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].severity, severity, "{found:?}");
            let told = found[0].way_out.clone().unwrap_or_default();
            assert!(told.contains(way_out), "{told}");
        }
    }

    #[test]
    fn a_stranger_that_renews_is_an_error_and_a_silent_one_a_warning() {
        let lease = |key: &str, owner: Option<&str>, counter| Lease {
            key: LeaseKey::new(key),
            owner: owner.map(WorkerId::new),
            counter,
            checkpoint: Checkpoint::TrimHorizon,
            stream: None,
            shard: ShardId::new("s"),
            parents: Vec::new(),
            children: Vec::new(),
            owner_switches: 0,
            hash_range: None,
        };
        let workers = [WorkerRow::new(WorkerId::new("ours"))];
        for (owner, counter, severities) in [
            (None, 2, vec![]),
            (Some("ours"), 2, vec![]),
            (Some("kcl"), 2, vec![Severity::Error]),
            (Some("kcl"), 1, vec![Severity::Warning]),
        ] {
            let (before, after) = ([lease("a", owner, 1)], [lease("a", owner, counter)]);
            let found = told_of_strangers(&before, &after, &workers, 5);
            let told: Vec<_> = found.iter().map(|f| f.severity).collect();
            assert_eq!(told, severities, "{owner:?}");
        }
    }
}
