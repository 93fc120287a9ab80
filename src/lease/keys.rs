//! How lease keys are made and read.
//!
//! Pure. Owns the two makes of keys: Weir's own, which hold the pipeline, and those of the Kinesis Client
//! Library, which an adopted table keeps. Nothing else takes a key apart.

use super::{Lease, LeaseKey};
use crate::stream::{ShardId, StreamArn};

/// The make of an application's lease keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Keys {
    /// `<pipeline>/<shardId>`, and `<pipeline>/<label>/<shardId>` for a stream that was enabled after another.
    #[default]
    Weir,
}

impl Keys {
    /// The key of a shard's lease. `follows_another`: the table had a stream before this one, whose shards
    /// may have the same ids and whose leases stay until the old stream has let them go.
    pub fn of(&self, pipeline: &str, stream: &StreamArn, follows_another: bool, shard: &ShardId) -> LeaseKey {
        match follows_another {
            false => LeaseKey::new(format!("{pipeline}/{shard}")),
            true => {
                let label = stream.label().unwrap_or(stream.as_str());
                LeaseKey::new(format!("{pipeline}/{label}/{shard}"))
            }
        }
    }

    /// The pipeline whose lease this is; `None` for a lease of another make.
    pub fn pipeline_of<'a>(&'a self, lease: &'a Lease) -> Option<&'a str> {
        self.pipeline_in(&lease.key)
    }

    /// The pipeline that a key names.
    pub fn pipeline_in<'a>(&'a self, key: &'a LeaseKey) -> Option<&'a str> {
        match self {
            Self::Weir => key.as_str().split_once('/').map(|(pipeline, _)| pipeline),
        }
    }

    /// The key of another shard of the same stream.
    pub fn sibling(&self, key: &LeaseKey, shard: &ShardId) -> LeaseKey {
        match key.as_str().rsplit_once('/') {
            Some((stream, _)) => LeaseKey::new(format!("{stream}/{shard}")),
            None => LeaseKey::new(shard.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_two_pipelines_or_two_streams_never_meet() {
        let keys = Keys::Weir;
        let stream = StreamArn::new("arn:aws:dynamodb:eu-west-1:1:table/t/stream/2026-01-01T00:00:00.000");
        let shard = ShardId::new("shardId-1");
        let first = keys.of("a", &stream, false, &shard);
        let later = keys.of("a", &stream, true, &shard);
        assert_eq!(first.as_str(), "a/shardId-1");
        assert_eq!(later.as_str(), "a/2026-01-01T00:00:00.000/shardId-1");
        assert_ne!(first, keys.of("b", &stream, false, &shard));
        assert_eq!(
            (keys.pipeline_in(&first), keys.pipeline_in(&later)),
            (Some("a"), Some("a"))
        );
        assert_eq!(
            keys.sibling(&later, &ShardId::new("s2")).as_str(),
            "a/2026-01-01T00:00:00.000/s2"
        );
        assert_eq!(keys.pipeline_in(&LeaseKey::new("shardId-1")), None);
    }
}
