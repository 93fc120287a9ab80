//! Which stream a lease is of, where its row doesn't say.
//!
//! Pure. A row of a KCL application of one stream holds no stream at all, and a table may have had several:
//! each time it is enabled anew it has another. Filled by the shard sync, which has the listings; asked
//! wherever leases are read from the table.

use std::collections::BTreeMap;

use super::{ShardId, ShardListing, StreamArn};
use crate::lease::Lease;
use crate::lease::keys::Keys;

/// The streams of the shards of one pipeline.
#[derive(Clone, Debug, Default)]
pub struct Homes {
    by_shard: BTreeMap<ShardId, StreamArn>,
    /// The stream of a shard that none of them lists: it has been trimmed there.
    of_unlisted: Option<StreamArn>,
}

impl Homes {
    /// From the last complete listings of each stream, the oldest stream first.
    ///
    /// One listing may lack a stream's newest shards. `listings_needed` of each stream must lack a shard
    /// before it counts as the oldest stream's: asking the wrong stream for it would look as if it were gone.
    pub fn of<'a, L>(streams: impl IntoIterator<Item = (&'a StreamArn, L)>, listings_needed: usize) -> Self
    where
        L: IntoIterator<Item = &'a ShardListing>,
    {
        let mut homes = Self::default();
        let (mut count, mut known_well) = (0, true);
        for (arn, listings) in streams {
            let mut listed = 0;
            for listing in listings {
                listed += 1;
                for shard in &listing.shards {
                    let home = homes.by_shard.entry(shard.id.clone());
                    home.or_insert_with(|| arn.clone());
                }
            }
            count += 1;
            known_well &= listed >= listings_needed;
            homes.of_unlisted.get_or_insert_with(|| arn.clone());
        }
        if count > 1 && !known_well {
            homes.of_unlisted = None;
        }
        homes
    }

    /// Whether a listing has the shard of this lease, or one of its parents.
    pub fn lists(&self, lease: &Lease) -> bool {
        self.listed(lease).is_some()
    }

    fn listed(&self, lease: &Lease) -> Option<&StreamArn> {
        // A child may be younger than the listings; a parent is in the same stream.
        std::iter::once(&lease.shard)
            .chain(&lease.parents)
            .find_map(|shard| self.by_shard.get(shard))
    }

    /// Names the stream of a lease as it was read from the table. One that nothing tells has none, and is
    /// not read before the next sync.
    pub fn name(&self, keys: &Keys, lease: &mut Lease) {
        lease.stream = match keys {
            Keys::Weir => return,
            Keys::KclStreams(_) => keys.stream_of(lease),
            Keys::KclOneStream(_) => self.listed(lease).or(self.of_unlisted.as_ref()).cloned(),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::{Checkpoint, LeaseKey};
    use crate::stream::Shard;

    fn arn(label: &str) -> StreamArn {
        StreamArn::new(format!(
            "arn:aws:dynamodb:eu-west-1:111122223333:table/t/stream/{label}"
        ))
    }

    fn listing(ids: &str) -> ShardListing {
        let shard = |id: &str| Shard {
            id: ShardId::new(id),
            parents: vec![],
            closed: false,
        };
        ShardListing {
            shards: ids.split_whitespace().map(shard).collect(),
            disabled: false,
        }
    }

    fn named(homes: &Homes, shard: &str, parent: Option<&str>) -> Option<StreamArn> {
        let mut lease = Lease {
            key: LeaseKey::new(shard),
            owner: None,
            counter: 0,
            checkpoint: Checkpoint::TrimHorizon,
            stream: None,
            shard: ShardId::new(shard),
            parents: parent.into_iter().map(ShardId::new).collect(),
            children: vec![],
            owner_switches: 0,
        };
        homes.name(&Keys::KclOneStream("p".to_owned()), &mut lease);
        lease.stream
    }

    #[test]
    fn a_row_belongs_to_the_stream_that_lists_its_shard() {
        let (old, new) = (arn("1"), arn("2"));
        let (of_old, of_new) = ([listing("a b")], [listing("c")]);
        let homes = Homes::of([(&old, &of_old), (&new, &of_new)], 1);
        for (shard, parent, expected) in [
            ("a", None, &old),
            ("c", None, &new),
            ("d", Some("c"), &new),
            ("gone", None, &old),
        ] {
            assert_eq!(named(&homes, shard, parent).as_ref(), Some(expected), "{shard}");
        }
    }

    #[test]
    fn a_shard_that_no_listing_has_is_the_old_streams_only_when_enough_listings_lack_it() {
        let (old, new) = (arn("1"), arn("2"));
        let once = [listing("a")];
        let twice = [listing("c"), listing("c d")];
        let homes = Homes::of([(&old, &once[..]), (&new, &twice[..])], 2);
        assert_eq!(named(&homes, "e", None), None);
        assert_eq!(named(&homes, "d", None), Some(new), "the last listing had it");
        // Of a single stream no doubt is left.
        let homes = Homes::of([(&old, &once)], 2);
        assert_eq!(named(&homes, "e", None), Some(old));
    }
}
