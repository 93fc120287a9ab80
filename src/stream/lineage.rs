//! Which shards need a lease, which leases may be read, and which may go.
//!
//! Pure. Owns the family rules of shards: a parent before its children, no shard forgotten, none replayed.
//! The rule numbers are those of the Kinesis Client Library's lessons, told in ARCHITECTURE.md. Called by
//! the shard sync and by the plan.

use std::collections::{BTreeMap, BTreeSet};

use super::{Shard, ShardId, ShardListing, StreamArn};
use crate::lease::keys::Keys;
use crate::lease::{Checkpoint, Lease, LeaseKey, ResolvedStart};

/// The leases of one pipeline.
pub type Leases = BTreeMap<LeaseKey, Lease>;

/// What the stream's new leases start with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstPosition {
    /// The stream's first leases: at the configured start.
    Start(ResolvedStart),
    /// The same for LATEST, while the listing was made before the start was resolved: a shard closed by
    /// then holds only what came before, so its lease is born ended.
    StartClosedIsPast(ResolvedStart),
    /// A shard that appeared, or was found missing, later: nothing of it may be skipped (rule 12).
    Later,
}

/// The leases the listing asks for and the table lacks, parents first (rules 8, 10, 11, 12, 13).
/// `follows_another`: the table had a stream before this one.
pub fn missing(
    keys: &Keys,
    pipeline: &str,
    stream: &StreamArn,
    follows_another: bool,
    listing: &ShardListing,
    leases: &Leases,
    first: FirstPosition,
) -> Vec<Lease> {
    let by_id: BTreeMap<&ShardId, &Shard> = listing.shards.iter().map(|s| (&s.id, s)).collect();
    // By stream and shard, whatever the key: a pipeline that names a table may later name its stream.
    let leased: BTreeSet<&ShardId> = leases
        .values()
        .filter(|l| belongs(l, stream))
        .map(|l| &l.shard)
        .collect();
    let passed = match keys.are_kcls() {
        true => passed(listing, &leased),
        false => BTreeSet::new(),
    };
    let mut found = Vec::new();
    let mut settled: BTreeSet<&ShardId> = BTreeSet::new();
    for shard in parents_first(&listing.shards) {
        if leased.contains(&shard.id) || passed.contains(&shard.id) {
            settled.insert(&shard.id);
            continue;
        }
        let parents: Vec<&Shard> = shard
            .parents
            .iter()
            .filter_map(|p| by_id.get(p).copied())
            .collect();
        // Rule 11: an open child of an open parent is a page that is not consistent yet.
        let torn = !listing.disabled && parents.iter().any(|p| !p.closed);
        // Rules 8 and 10: a child only with, or after, the leases of all its listed parents.
        let orphan = parents.iter().any(|p| !settled.contains(&p.id));
        if torn || orphan {
            continue;
        }
        settled.insert(&shard.id);
        let checkpoint = match first {
            FirstPosition::Later => Checkpoint::TrimHorizon,
            FirstPosition::StartClosedIsPast(_) if shard.closed => Checkpoint::ShardEnd,
            FirstPosition::Start(start) | FirstPosition::StartClosedIsPast(start) => start.checkpoint(),
        };
        let key = keys.of(pipeline, stream, follows_another, &shard.id);
        found.push(new_lease(key, stream, shard, checkpoint));
    }
    found
}

/// The first listed shard that should have a lease and is not among `leases`. After those that are [`missing`] were made
/// it is one whose family the listing shows torn apart: another listing lets it have one.
pub fn unleased<'a>(
    keys: &Keys,
    stream: &StreamArn,
    listing: &'a ShardListing,
    leases: &Leases,
) -> Option<&'a ShardId> {
    let of_stream = leases.values().filter(|l| belongs(l, stream));
    let leased: BTreeSet<&ShardId> = of_stream.map(|l| &l.shard).collect();
    let passed = match keys.are_kcls() {
        true => passed(listing, &leased),
        false => BTreeSet::new(),
    };
    let mut listed = listing.shards.iter().map(|s| &s.id);
    listed.find(|id| !(leased.contains(*id) || passed.contains(*id)))
}

/// The listed shards before those that are `leased`, without a lease themselves. In a table that KCL made
/// their time is over: KCL removes an ended lease as soon as the children's readers have begun, though its
/// shard is listed for a day, and makes none for what came before LATEST. A lease would replay them.
pub fn passed<'a>(listing: &'a ShardListing, leased: &BTreeSet<&ShardId>) -> BTreeSet<&'a ShardId> {
    let by_id: BTreeMap<&ShardId, &Shard> = listing.shards.iter().map(|s| (&s.id, s)).collect();
    let mut before = BTreeSet::new();
    let mut next: Vec<&Shard> = leased.iter().filter_map(|id| by_id.get(id).copied()).collect();
    while let Some(shard) = next.pop() {
        for parent in shard.parents.iter().filter_map(|p| by_id.get(p).copied()) {
            if before.insert(&parent.id) {
                next.push(parent);
            }
        }
    }
    before.retain(|id| !leased.contains(*id));
    before
}

/// A lease nobody has held yet.
pub fn new_lease(key: LeaseKey, stream: &StreamArn, shard: &Shard, checkpoint: Checkpoint) -> Lease {
    Lease {
        key,
        owner: None,
        counter: 0,
        checkpoint,
        stream: Some(stream.clone()),
        shard: shard.id.clone(),
        parents: shard.parents.clone(),
        children: Vec::new(),
        owner_switches: 0,
        hash_range: shard.hash_range.clone(),
    }
}

/// Whether the lease is one of this stream. A row without a stream's name is a one-stream application's.
fn belongs(lease: &Lease, stream: &StreamArn) -> bool {
    lease.stream.as_ref().is_none_or(|s| s == stream)
}

/// Each shard after its listed parents; otherwise in the listing's order. A cycle, which no service
/// makes, ends up at the end instead of going on for ever.
fn parents_first(shards: &[Shard]) -> Vec<&Shard> {
    let by_id: BTreeMap<&ShardId, &Shard> = shards.iter().map(|s| (&s.id, s)).collect();
    let mut waiting: BTreeMap<&ShardId, usize> = BTreeMap::new();
    let mut children: BTreeMap<&ShardId, Vec<&Shard>> = BTreeMap::new();
    for shard in shards {
        let listed: BTreeSet<&ShardId> = shard.parents.iter().filter(|p| by_id.contains_key(p)).collect();
        waiting.insert(&shard.id, listed.len());
        for parent in listed {
            children.entry(parent).or_default().push(shard);
        }
    }
    let mut order: Vec<&Shard> = shards.iter().filter(|s| waiting.get(&s.id) == Some(&0)).collect();
    let mut at = 0;
    while let Some(shard) = order.get(at).copied() {
        at += 1;
        for child in children.get(&shard.id).into_iter().flatten() {
            if let Some(n) = waiting.get_mut(&child.id) {
                *n -= 1;
                if *n == 0 {
                    order.push(child);
                }
            }
        }
    }
    order
}

/// Why a lease is not read yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// It is at SHARD_END.
    Ended,
    /// A parent is not read to its end (rule 9).
    Parent(ShardId),
    /// A parent is listed and has no lease yet; a shard sync will make it.
    ParentWithoutLease(ShardId),
    /// The table's stream was enabled anew, and the one before is not read to its end.
    EarlierStream(StreamArn),
    /// Neither the table nor a listing tells of a parent yet.
    Listing,
    /// Its stream is none of those that the pipeline reads, or is not known yet.
    Stream,
}

/// The leases of one pipeline, ready for many questions.
pub struct Family<'a> {
    by_shard: BTreeMap<(Option<&'a StreamArn>, &'a ShardId), &'a Lease>,
    /// Streams with a lease that is not at its end.
    unfinished: BTreeSet<&'a StreamArn>,
}

impl<'a> Family<'a> {
    pub fn of(leases: impl IntoIterator<Item = &'a Lease>) -> Self {
        let mut family = Self {
            by_shard: BTreeMap::new(),
            unfinished: BTreeSet::new(),
        };
        for lease in leases {
            family
                .by_shard
                .insert((lease.stream.as_ref(), &lease.shard), lease);
            if lease.checkpoint != Checkpoint::ShardEnd {
                family.unfinished.extend(&lease.stream);
            }
        }
        family
    }
}

/// A complete listing, ready for many questions.
pub fn listed(listing: &ShardListing) -> BTreeSet<&ShardId> {
    listing.shards.iter().map(|s| &s.id).collect()
}

/// Whether a lease may be read now (rule 9). `earlier` are the streams this table had before; `listed`
/// the shards of the last complete listing, if there was one.
///
/// `begun`: another worker of Weir has owned the lease, and so found it startable; a lease with a
/// checkpoint was begun too. Of those, an absent parent needs no listing.
///
/// `seen`: the scan of the leases before this one showed the lease too. A scan is not one snapshot, and
/// the listing may be older than it: the page where a parent's lease belongs may have been read before
/// parent and child were created, the child's after. From the second scan on an absent parent is absent.
pub fn startable<'a>(
    lease: &Lease,
    seen: bool,
    begun: bool,
    family: &Family<'_>,
    listed: Option<&BTreeSet<&ShardId>>,
    earlier: impl IntoIterator<Item = &'a StreamArn>,
) -> Result<(), Waiting> {
    if lease.checkpoint == Checkpoint::ShardEnd {
        return Err(Waiting::Ended);
    }
    if let Some(stream) = earlier
        .into_iter()
        .find(|stream| family.unfinished.contains(stream))
    {
        return Err(Waiting::EarlierStream(stream.clone()));
    }
    let begun = begun || matches!(lease.checkpoint, Checkpoint::At(..));
    for parent in &lease.parents {
        // A parent whose stream nobody knows yet is one all the same.
        let held = family
            .by_shard
            .get(&(lease.stream.as_ref(), parent))
            .or_else(|| family.by_shard.get(&(None, parent)));
        match (held, listed) {
            (Some(l), _) if l.checkpoint == Checkpoint::ShardEnd => {}
            (Some(_), _) => return Err(Waiting::Parent(parent.clone())),
            (None, _) if begun => {}
            (None, None) => return Err(Waiting::Listing),
            (None, Some(listed)) if listed.contains(parent) => {
                return Err(Waiting::ParentWithoutLease(parent.clone()));
            }
            (None, Some(_)) if !seen => return Err(Waiting::Listing),
            // In neither: it was trimmed, go on.
            (None, Some(_)) => {}
        }
    }
    Ok(())
}

/// The leases of `stream` that can go (rule 16): ended, their shard in none of `listings` (the last
/// complete ones: one alone could have missed it), no parent's lease left, and every child's lease past
/// its start. A lease that goes earlier would come back with its shard, and replay it.
pub fn finished<'a, 'b>(
    stream: &StreamArn,
    listings: impl IntoIterator<Item = &'b ShardListing>,
    leases: &'a Leases,
) -> Vec<&'a Lease> {
    let listed: BTreeSet<&ShardId> = listings
        .into_iter()
        .flat_map(|l| &l.shards)
        .map(|s| &s.id)
        .collect();
    let of_stream: BTreeMap<&ShardId, &Lease> = leases
        .values()
        .filter(|l| l.stream.as_ref() == Some(stream))
        .map(|l| (&l.shard, l))
        .collect();
    let begun = |l: &Lease| matches!(l.checkpoint, Checkpoint::At(..) | Checkpoint::ShardEnd);
    of_stream
        .values()
        .filter(|lease| {
            lease.checkpoint == Checkpoint::ShardEnd
                && !listed.contains(&lease.shard)
                && !lease.parents.iter().any(|p| of_stream.contains_key(p))
                // A child in neither is trimmed, or its lease went first by a torn scan: nothing to wait for.
                && lease.children.iter().all(|c| match of_stream.get(c) {
                    Some(child) => begun(child),
                    None => !listed.contains(c),
                })
                && of_stream
                    .values()
                    .filter(|l| l.parents.contains(&lease.shard))
                    .all(|l| begun(l))
        })
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::stream::SequenceNumber;

    const P: &str = "orders";

    fn arn() -> StreamArn {
        StreamArn::new("arn:aws:dynamodb:eu-west-1:1:table/orders/stream/2026-01-01T00:00:00.000")
    }

    fn key(shard: &ShardId) -> LeaseKey {
        Keys::Weir.of(P, &arn(), false, shard)
    }

    fn id(s: &str) -> ShardId {
        ShardId::new(s)
    }

    /// `"a"` is an open shard, `"a!"` a closed one, `"c<a,b"` has parents.
    fn shard(text: &str) -> Shard {
        let (name, parents) = text.split_once('<').unwrap_or((text, ""));
        Shard {
            id: id(name.trim_end_matches('!')),
            parents: parents.split(',').filter(|p| !p.is_empty()).map(id).collect(),
            closed: name.ends_with('!'),
            hash_range: None,
        }
    }

    fn listing(text: &str) -> ShardListing {
        ShardListing {
            shards: text.split_whitespace().map(shard).collect(),
            disabled: false,
        }
    }

    /// `"a=END"`, `"a=HORIZON"`, `"a=7"`; parents as above: `"b<a=7"`.
    fn leases(text: &str) -> Leases {
        text.split_whitespace()
            .map(|t| {
                let (shard_text, position) = t.split_once('=').unwrap();
                let shard = shard(shard_text);
                let checkpoint = match position {
                    "END" => Checkpoint::ShardEnd,
                    "HORIZON" => Checkpoint::TrimHorizon,
                    n => Checkpoint::At(SequenceNumber::parse(n).unwrap(), 0),
                };
                let key = key(&shard.id);
                (key.clone(), new_lease(key, &arn(), &shard, checkpoint))
            })
            .collect()
    }

    fn created(listing_text: &str, leases_text: &str, first: FirstPosition) -> String {
        missing(
            &Keys::Weir,
            P,
            &arn(),
            false,
            &listing(listing_text),
            &leases(leases_text),
            first,
        )
        .iter()
        .map(|l| format!("{}={}", l.shard, l.checkpoint))
        .collect::<Vec<_>>()
        .join(" ")
    }

    #[test]
    fn every_listed_shard_gets_a_lease_parents_first() {
        let start = FirstPosition::Start(ResolvedStart::TrimHorizon);
        for (listed, held, expected) in [
            ("a", "", "a=TRIM_HORIZON"),
            ("a", "a=7", ""),
            ("c<b b!<a a!", "", "a=TRIM_HORIZON b=TRIM_HORIZON c=TRIM_HORIZON"),
            ("a! b! c<a,b", "", "a=TRIM_HORIZON b=TRIM_HORIZON c=TRIM_HORIZON"),
            // the parent was trimmed: neither listed nor leased
            ("b<a", "", "b=TRIM_HORIZON"),
            // a hole between two leased shards
            ("a! b!<a c<b", "a=END c<b=7", "b=TRIM_HORIZON"),
        ] {
            assert_eq!(created(listed, held, start), expected, "{listed} | {held}");
        }
    }

    #[test]
    fn in_a_table_of_kcls_what_came_before_a_lease_is_over() {
        let keys = Keys::KclOneStream(P.to_owned());
        for (listed, held, expected) in [
            // KCL removed a, whose children have begun, and is about to remove b.
            ("a! b!<a c<a d<b", "b=END c=7 d=9", ""),
            ("a! b!<a c<b", "c=7", ""),
            ("a! b! c<a,b", "c=7", ""),
            // What KCL had not got to: a sibling, a child, the child of a merge.
            ("a! b<a c<a", "b=7", "c"),
            ("a! b<a", "a=7", "b"),
            ("a! b! c<a,b", "a=END b=7", "c"),
            ("a! b! c<a,b", "a=7", "b c"),
            ("a! b<a", "", "a b"),
        ] {
            let missing = missing(
                &keys,
                P,
                &arn(),
                false,
                &listing(listed),
                &leases(held),
                FirstPosition::Later,
            );
            let shards: Vec<&str> = missing.iter().map(|l| l.shard.as_str()).collect();
            assert_eq!(shards.join(" "), expected, "{listed} | {held}");
        }
    }

    #[test]
    fn a_listed_shard_without_a_lease_is_told_unless_its_time_is_over() {
        let left = |keys: &Keys, listed: &str, held: &str| {
            let listing = listing(listed);
            let left = unleased(keys, &arn(), &listing, &leases(held));
            left.map(|id| id.as_str().to_owned()).unwrap_or_default()
        };
        let kcls = Keys::KclOneStream(P.to_owned());
        for (listed, held, expected, of_kcls) in [
            ("a! b<a", "a=END b=7", "", ""),
            // The listing that shows the child still shows its parent as open.
            ("a b<a", "a=7", "b", "b"),
            ("a! b<a c<b", "a=END b=7", "c", "c"),
            ("a! b<a", "b=7", "a", ""),
        ] {
            assert_eq!(left(&Keys::Weir, listed, held), expected, "{listed} | {held}");
            assert_eq!(left(&kcls, listed, held), of_kcls, "{listed} | {held}, of KCL");
        }
    }

    #[test]
    fn an_open_child_of_an_open_parent_is_not_leased_yet() {
        assert_eq!(created("a b<a c<b", "", FirstPosition::Later), "a=TRIM_HORIZON");
        assert_eq!(created("a! b<a", "a=7", FirstPosition::Later), "b=TRIM_HORIZON");
    }

    #[test]
    fn a_shard_found_later_starts_at_its_horizon_never_at_the_start() {
        let start = ResolvedStart::At(Timestamp::from_millis(0));
        let at = "AT_TIMESTAMP 1970-01-01T00:00:00.000Z";
        assert_eq!(
            created("a! b<a", "", FirstPosition::Start(start)),
            format!("a={at} b={at}")
        );
        assert_eq!(
            created("a! b<a", "", FirstPosition::StartClosedIsPast(start)),
            format!("a=SHARD_END b={at}")
        );
        assert_eq!(created("a! b<a", "a=END", FirstPosition::Later), "b=TRIM_HORIZON");
    }

    #[test]
    fn a_shard_id_used_again_by_a_new_stream_gets_a_lease_of_its_own() {
        let new = StreamArn::new("arn:aws:dynamodb:eu-west-1:1:table/orders/stream/2026-02-02T00:00:00.000");
        for old in ["a=7", "a=END"] {
            let mut all = leases(old);
            let fresh = missing(
                &Keys::Weir,
                P,
                &new,
                true,
                &listing("a! b<a"),
                &all,
                FirstPosition::Later,
            );
            let keys: Vec<&str> = fresh.iter().map(|l| l.key.as_str()).collect();
            assert_eq!(
                keys,
                [
                    "orders/2026-02-02T00:00:00.000/a",
                    "orders/2026-02-02T00:00:00.000/b"
                ]
            );
            assert_eq!(
                Keys::Weir.sibling(&fresh[0].key, &id("b")),
                fresh[1].key,
                "a consumer finds the same key"
            );
            assert_eq!(Keys::Weir.pipeline_of(&fresh[0]), Some(P));
            all.extend(fresh.into_iter().map(|l| (l.key.clone(), l)));
            assert_eq!(
                missing(
                    &Keys::Weir,
                    P,
                    &new,
                    true,
                    &listing("a! b<a"),
                    &all,
                    FirstPosition::Later
                ),
                []
            );
            assert_eq!(
                missing(
                    &Keys::Weir,
                    P,
                    &arn(),
                    false,
                    &listing("a!"),
                    &all,
                    FirstPosition::Later
                ),
                []
            );
        }
    }

    #[test]
    fn a_child_waits_until_every_parent_that_exists_is_at_its_end() {
        let parent = |s: &str| Err(Waiting::Parent(id(s)));
        for (shard, held, listed, expected) in [
            ("a", "a=7", None, Ok(())),
            ("a", "a=END", None, Err(Waiting::Ended)),
            ("b", "a=7 b<a=HORIZON", None, parent("a")),
            ("b", "a=END b<a=HORIZON", None, Ok(())),
            ("c", "a=END b=7 c<a,b=HORIZON", None, parent("b")),
            ("c", "a=END b=END c<a,b=HORIZON", None, Ok(())),
            ("b", "b<a=HORIZON", None, Err(Waiting::Listing)),
            (
                "b",
                "b<a=HORIZON",
                Some("a! b<a"),
                Err(Waiting::ParentWithoutLease(id("a"))),
            ),
            ("b", "b<a=HORIZON", Some("b<a"), Ok(())),
        ] {
            let leases = leases(held);
            let listing = listed.map(listing);
            let shards = listing.as_ref().map(super::listed);
            let lease = &leases[&key(&id(shard))];
            let got = startable(
                lease,
                true,
                false,
                &Family::of(leases.values()),
                shards.as_ref(),
                &[],
            );
            assert_eq!(got, expected, "{shard} in {held} listed {listed:?}");
            let first_seen = startable(
                lease,
                false,
                false,
                &Family::of(leases.values()),
                shards.as_ref(),
                &[],
            );
            let orphan = lease.parents.iter().any(|p| !leases.contains_key(&key(p)));
            if orphan && expected == Ok(()) {
                assert_eq!(
                    first_seen,
                    Err(Waiting::Listing),
                    "a torn scan must not pass for a trimmed parent"
                );
            } else {
                assert_eq!(first_seen, expected);
            }
        }
    }

    #[test]
    fn a_new_stream_of_a_table_waits_for_the_one_before() {
        let new = StreamArn::new("arn:aws:dynamodb:eu-west-1:1:table/orders/stream/2026-02-02T00:00:00.000");
        let fresh = new_lease(key(&id("z")), &new, &shard("z"), Checkpoint::TrimHorizon);
        let mut all = leases("a=7");
        all.insert(fresh.key.clone(), fresh.clone());
        assert_eq!(
            startable(&fresh, true, false, &Family::of(all.values()), None, &[arn()]),
            Err(Waiting::EarlierStream(arn()))
        );
        let mut all = leases("a=END");
        all.insert(fresh.key.clone(), fresh.clone());
        assert_eq!(
            startable(&fresh, true, false, &Family::of(all.values()), None, &[arn()]),
            Ok(())
        );
    }

    #[test]
    fn a_lease_goes_only_when_nothing_can_bring_its_shard_back() {
        for (held, listed, expected) in [
            ("a=END", "a!", ""),
            ("a=END", "", "a"),
            ("a=7", "", ""),
            ("a=END b<a=HORIZON", "b<a", ""),
            ("a=END b<a=9", "b<a", "a"),
            ("a=END b<a=END", "", "a"),
            ("b<a=END c<b=9", "c<b", "b"),
        ] {
            let leases = leases(held);
            let got: Vec<_> = finished(&arn(), &[listing(listed)], &leases)
                .iter()
                .map(|l| l.shard.to_string())
                .collect();
            assert_eq!(got.join(" "), expected, "{held} listed {listed}");
        }
    }

    #[test]
    fn an_ended_lease_whose_child_is_gone_goes_too() {
        let mut all = leases("a=END");
        if let Some(lease) = all.get_mut(&key(&id("a"))) {
            lease.children.push(id("b"));
        }
        assert_eq!(
            finished(&arn(), &[listing("b<a")], &all),
            [] as [&Lease; 0],
            "b is listed and has no lease"
        );
        assert_eq!(finished(&arn(), &[listing("")], &all).len(), 1);
    }
}
