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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Homes {
    by_shard: BTreeMap<ShardId, StreamArn>,
}

impl Homes {
    /// From the last complete listings of each stream, the oldest stream first.
    pub fn of<'a, L>(streams: impl IntoIterator<Item = (&'a StreamArn, L)>) -> Self
    where
        L: IntoIterator<Item = &'a ShardListing>,
    {
        let mut homes = Self::default();
        for (arn, listings) in streams {
            for shard in listings.into_iter().flat_map(|l| &l.shards) {
                homes.add(&shard.id, arn);
            }
        }
        homes
    }

    /// The shard is of this stream, unless it is known to be of another.
    pub fn add(&mut self, shard: &ShardId, stream: &StreamArn) {
        let home = self.by_shard.entry(shard.clone());
        home.or_insert_with(|| stream.clone());
    }

    /// The stream that has the shard of this lease, or one of its parents: a child may be younger than the
    /// listings. `None` says nothing: the whole stream may be younger than they are.
    pub fn find(&self, lease: &Lease) -> Option<&StreamArn> {
        std::iter::once(&lease.shard)
            .chain(&lease.parents)
            .find_map(|shard| self.by_shard.get(shard))
    }

    /// Names the stream of a lease as it was read from the table. One that nothing tells has none, and is
    /// not read: asking the wrong stream for its shard would look as if the shard were gone.
    pub fn name(&self, keys: &Keys, lease: &mut Lease) {
        lease.stream = match keys {
            Keys::Weir => return,
            Keys::KclStreams(_) => keys.stream_of(lease),
            Keys::KclOneStream(_) => self.find(lease).cloned(),
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
            hash_range: None,
        };
        ShardListing {
            shards: ids.split_whitespace().map(shard).collect(),
            disabled: false,
        }
    }

    #[test]
    fn a_row_belongs_to_the_stream_that_lists_its_shard() {
        let (old, new) = (arn("1"), arn("2"));
        let (of_old, of_new) = ([listing("a b"), listing("b")], [listing("c a")]);
        let mut homes = Homes::of([(&old, &of_old[..]), (&new, &of_new[..])]);
        homes.add(&ShardId::new("trimmed"), &old);
        for (shard, parent, expected) in [
            ("a", None, Some(&old)),
            ("c", None, Some(&new)),
            ("d", Some("c"), Some(&new)),
            ("trimmed", None, Some(&old)),
            ("of a stream that came since", None, None),
        ] {
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
                hash_range: None,
            };
            homes.name(&Keys::KclOneStream("p".to_owned()), &mut lease);
            assert_eq!(lease.stream.as_ref(), expected, "{shard}");
        }
    }
}
