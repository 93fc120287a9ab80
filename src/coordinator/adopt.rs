//! A table that a KCL application made: which streams its rows are of.
//!
//! Part of the shard sync. Owns what is looked up before such rows are touched for the first time. Writes
//! nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use super::sync::{LISTINGS_KEPT, SyncError, Syncer};
use crate::clock::Monotonic;
use crate::lease::keys::Keys;
use crate::lease::{Checkpoint, Lease, LeaseKey};
use crate::stream::homes::Homes;
use crate::stream::{ShardListing, SourceError, StreamArn, lineage};

/// A shard that is in no listing for so long, and through [`LISTINGS_KEPT`] syncs, has been trimmed. Before
/// that it may be of a stream enabled meanwhile, whose leases another worker has created already.
const TRIMMED_AFTER: Duration = Duration::from_secs(120);

/// In how many syncs, and since when, the shard of a lease was in no listing.
pub(super) type Unlisted = BTreeMap<LeaseKey, (usize, Monotonic)>;

/// The listings of one sync.
pub(super) type Listed = BTreeMap<StreamArn, ShardListing>;

impl Syncer {
    /// Lists the pipeline's streams, finds those that the rows are of, and names each lease's stream.
    /// `arns` comes with the streams that are known, and goes with all, the oldest first; `first`: the
    /// pipeline has never read any.
    pub(super) async fn adopt(
        &mut self,
        arns: &mut Vec<StreamArn>,
        leases: &mut lineage::Leases,
        current: Option<&StreamArn>,
        first: bool,
    ) -> Result<(Homes, Listed), SyncError> {
        let keys = &self.pipeline.keys;
        let unfinished: Vec<&Lease> = leases
            .values()
            .filter(|l| l.checkpoint != Checkpoint::ShardEnd)
            .collect();
        if let Some(current) = current.filter(|_| first)
            && let Some(key) = of_another_creation(keys, &unfinished, current)
        {
            return Err(SyncError::AnotherCreation {
                key: key.clone(),
                created: current.label().unwrap_or_default().to_owned(),
            });
        }
        let named = unfinished.iter().filter_map(|l| keys.stream_of(l));
        arns.extend(named.filter(|arn| self.is_ours(arn, current)));
        sort(arns);
        let mut listed = Listed::new();
        for arn in arns.iter() {
            listed.insert(arn.clone(), self.list(arn, current == Some(arn)).await?);
        }
        let mut homes = self.homes(arns, &listed);
        if first && matches!(keys, Keys::KclOneStream(_)) {
            if unfinished.iter().any(|l| homes.find(l).is_none()) {
                // The table's stream was enabled anew after KCL had begun, and the one before can be read
                // for a day.
                for arn in self.pipeline.source.streams().await? {
                    let older = current.is_none_or(|current| arn.label() < current.label());
                    if !older || !self.is_ours(&arn, current) || listed.contains_key(&arn) {
                        continue;
                    }
                    let listing = self.list(&arn, false).await?;
                    let shards = lineage::listed(&listing);
                    if unfinished.iter().any(|l| shards.contains(&l.shard)) {
                        listed.insert(arn.clone(), listing);
                        arns.push(arn);
                    }
                }
                sort(arns);
                homes = self.homes(arns, &listed);
            }
            if let Some(lease) = unfinished.first()
                && unfinished.iter().all(|l| homes.find(l).is_none())
            {
                return Err(SyncError::NotItsStream(lease.key.clone()));
            }
        }
        let now = self.pipeline.clock.now();
        let mut unlisted = Unlisted::new();
        for lease in leases.values().filter(|l| homes.find(l).is_none()) {
            let (times, since) = self.unlisted.get(&lease.key).copied().unwrap_or((0, now));
            unlisted.insert(lease.key.clone(), (times + 1, since));
        }
        for (key, (times, since)) in &unlisted {
            if *times >= LISTINGS_KEPT
                && now.since(*since) >= TRIMMED_AFTER
                && let (Some(lease), Some(oldest)) = (leases.get(key), arns.first())
            {
                homes.add(&lease.shard, oldest);
            }
        }
        for lease in leases.values_mut() {
            homes.name(keys, lease);
        }
        self.unlisted = unlisted;
        Ok((homes, listed))
    }

    fn homes(&self, arns: &[StreamArn], listed: &Listed) -> Homes {
        let streams = arns.iter().map(|arn| {
            let before = self.listings.get(arn).into_iter().flatten();
            (arn, before.chain(listed.get(arn)))
        });
        Homes::of(streams)
    }

    /// Every shard of a stream.
    pub(super) async fn list(&self, arn: &StreamArn, is_current: bool) -> Result<ShardListing, SyncError> {
        match self.pipeline.source.list_shards(arn).await {
            Ok(listing) => Ok(listing),
            // Deleted with all its shards; the consumers of unfinished leases will find that out.
            Err(SourceError::NotFound(_)) if !is_current => Ok(ShardListing {
                shards: Vec::new(),
                disabled: true,
            }),
            Err(error) => Err(error.into()),
        }
    }
}

/// A lease of the Kinesis stream of this name, where none is of its creation. Taken as it is, it would be of a
/// stream that was deleted, and its shard's records would count as lost.
fn of_another_creation<'a>(keys: &Keys, leases: &[&'a Lease], current: &StreamArn) -> Option<&'a LeaseKey> {
    current.kinesis_name()?;
    let named = leases.iter().filter_map(|l| Some((l, keys.stream_of(l)?)));
    let of_the_name = named.filter(|(_, arn)| arn.service_arn() == current.service_arn());
    let (current, other): (Vec<_>, Vec<_>) = of_the_name.partition(|(_, arn)| arn.label() == current.label());
    other
        .first()
        .filter(|_| current.is_empty())
        .map(|(lease, _)| &lease.key)
}

/// The oldest first, each once. The label is the time the stream was enabled.
pub(super) fn sort(arns: &mut Vec<StreamArn>) {
    arns.sort_by(|a, b| (a.label(), a).cmp(&(b.label(), b)));
    arns.dedup();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::ShardId;

    fn lease(stream: &StreamArn) -> Lease {
        Lease {
            key: LeaseKey::new(stream.as_str()),
            stream: Some(stream.clone()),
            ..lineage::new_lease(
                LeaseKey::new("k"),
                stream,
                &crate::stream::Shard {
                    id: ShardId::new("shardId-000000000000"),
                    parents: vec![],
                    closed: false,
                    hash_range: None,
                },
                Checkpoint::TrimHorizon,
            )
        }
    }

    #[test]
    fn leases_that_name_another_creation_of_the_stream_are_not_taken_for_those_of_a_deleted_one() {
        let arn = "arn:aws:kinesis:eu-west-1:111122223333:stream/audit";
        let of = |created| StreamArn::kinesis(arn, Some(created));
        let other = StreamArn::kinesis("arn:aws:kinesis:eu-west-1:111122223333:stream/b", Some(1));
        let keys = Keys::KclStreams(Vec::new());
        let current = of(1_700_000_000);
        for (streams, refused) in [
            (vec![of(1_700_000_000)], false),
            (vec![of(1)], true),
            (vec![of(1_700_000_000_000), other.clone()], true),
            // It was created again while KCL ran.
            (vec![of(1_600_000_000), of(1_700_000_000)], false),
            (vec![other], false),
            (vec![], false),
        ] {
            let leases: Vec<Lease> = streams.iter().map(lease).collect();
            let leases: Vec<&Lease> = leases.iter().collect();
            let found = of_another_creation(&keys, &leases, &current);
            assert_eq!(found.is_some(), refused, "{streams:?}");
        }
    }
}
