//! How lease keys are made and read.
//!
//! Pure. Owns the makes of keys: Weir's own, which hold the pipeline, and the two of the Kinesis Client
//! Library, which an adopted table keeps. Nothing else takes a key apart, and nothing else knows how a row
//! of KCL's names its stream.

use std::collections::BTreeSet;

use super::{Lease, LeaseKey};
use crate::config::{LeaseKeys, StreamChoice};
use crate::stream::{ShardId, StreamArn};

/// The make of an application's lease keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Keys {
    /// `<pipeline>/<shardId>`, and `<pipeline>/<label>/<shardId>` for a stream that was enabled after another.
    #[default]
    Weir,
    /// Of a KCL application of one stream: `<shardId>` alone. Every row is this pipeline's; which of the
    /// table's streams it is of, [`crate::stream::homes::Homes`] finds out. Streams of a table that was
    /// enabled anew don't share shard ids: these hold the time of their creation and a random part.
    KclOneStream(String),
    /// Of a KCL application of several streams: `<account>:<stream>:<epoch>:<shardId>`, with the first three
    /// in `streamName`. The pipelines that read them.
    KclStreams(Vec<Reader>),
}

/// A pipeline and what it reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    pub pipeline: String,
    pub stream: StreamChoice,
    /// Of its source, where the settings tell.
    pub region: Option<String>,
}

/// What a key looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Make {
    Weir,
    KclOneStream,
    KclStreams,
}

fn make_of(key: &LeaseKey) -> Option<Make> {
    let key = key.as_str();
    if key.contains('/') {
        return Some(Make::Weir);
    }
    match parts(key) {
        Some(_) => Some(Make::KclStreams),
        None => (!key.contains(':')).then_some(Make::KclOneStream),
    }
}

/// A several-streams key as the stream's name in KCL's words and the shard.
fn parts(key: &str) -> Option<(&str, &str)> {
    let (name, shard) = key.rsplit_once(':')?;
    (name.split(':').count() == 3).then_some((name, shard))
}

/// The lease table holds keys that can't be gone on with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    #[error(
        "the lease table holds the keys of two applications, {0:?} and {1:?}: nothing tells which of them is to go on. \
         Delete the rows of the one that is not needed any more, or choose another `application`"
    )]
    Mixed(LeaseKey, LeaseKey),
    #[error(
        "leases.keys is `kcl`, and the lease table has Weir's own keys, as {0:?}, which it keeps: remove `leases.keys`, \
         or choose another `application`"
    )]
    NotKcl(LeaseKey),
    #[error(
        "the lease table is that of a KCL application of one stream, whose rows, as {key:?}, don't name it, and there are \
         {pipelines} pipelines: run the one that reads this stream alone under this `application`, the others under \
         another"
    )]
    WhichPipeline { key: LeaseKey, pipelines: usize },
    #[error(
        "the lease table is that of a KCL application of several streams, and no pipeline reads any of them, as {0}: choose \
         another `application`, or correct the pipelines' sources"
    )]
    NoReader(String),
    #[error(
        "the KCL application's stream {stream} is read by the pipelines {one} and {other}, and its leases can be those of \
         one alone: remove one of them, or run it under another `application`"
    )]
    TwoReaders {
        stream: String,
        one: String,
        other: String,
    },
}

impl Keys {
    /// The make of the keys of a table that holds `leases`. An empty one gets those that are `wanted`; one
    /// that KCL made keeps its own.
    pub fn of_table<'a>(
        leases: impl IntoIterator<Item = &'a Lease>,
        wanted: LeaseKeys,
        readers: Vec<Reader>,
    ) -> Result<Self, KeysError> {
        let mut found: Option<(Make, &LeaseKey)> = None;
        let mut streams = BTreeSet::new();
        for lease in leases {
            // A key of no make is nobody's, and is left alone.
            let Some(make) = make_of(&lease.key) else {
                continue;
            };
            match found {
                Some((first, key)) if first != make => {
                    return Err(KeysError::Mixed(key.clone(), lease.key.clone()));
                }
                _ => found = Some((make, &lease.key)),
            }
            streams.extend(parts(lease.key.as_str()).map(|(name, _)| name));
        }
        match (found, wanted) {
            (None, LeaseKeys::Weir) => Ok(Self::Weir),
            (Some((Make::Weir, _)), LeaseKeys::Weir) => Ok(Self::Weir),
            (Some((Make::Weir, key)), LeaseKeys::Kcl) => Err(KeysError::NotKcl(key.clone())),
            (Some((Make::KclStreams, _)), _) => {
                if let Some(first) = streams.first()
                    && !streams.iter().any(|name| readers.iter().any(|r| r.reads(name)))
                {
                    return Err(KeysError::NoReader((*first).to_owned()));
                }
                for name in streams {
                    let mut reading = readers.iter().filter(|r| r.reads(name));
                    if let (Some(one), Some(other)) = (reading.next(), reading.next()) {
                        return Err(KeysError::TwoReaders {
                            stream: name.to_owned(),
                            one: one.pipeline.clone(),
                            other: other.pipeline.clone(),
                        });
                    }
                }
                Ok(Self::KclStreams(readers))
            }
            (found, _) => match (readers.as_slice(), found) {
                ([one], _) => Ok(Self::KclOneStream(one.pipeline.clone())),
                (many, Some((_, key))) => Err(KeysError::WhichPipeline {
                    key: key.clone(),
                    pipelines: many.len(),
                }),
                // The settings are checked: `leases.keys: kcl` comes with one pipeline.
                (many, None) => Err(KeysError::WhichPipeline {
                    key: LeaseKey::new("shardId-…"),
                    pipelines: many.len(),
                }),
            },
        }
    }

    /// The rows are KCL's: a KCL application may have removed leases of ended shards that are still listed,
    /// and may want the table back.
    pub fn are_kcls(&self) -> bool {
        *self != Self::Weir
    }

    /// The key of a shard's lease. `follows_another`: the table had a stream before this one, whose shards
    /// may have the same ids and whose leases stay until the old stream has let them go.
    pub fn of(&self, pipeline: &str, stream: &StreamArn, follows_another: bool, shard: &ShardId) -> LeaseKey {
        match self {
            Self::Weir if follows_another => {
                let label = stream.label().unwrap_or(stream.as_str());
                LeaseKey::new(format!("{pipeline}/{label}/{shard}"))
            }
            Self::Weir => LeaseKey::new(format!("{pipeline}/{shard}")),
            Self::KclOneStream(_) => LeaseKey::new(shard.as_str()),
            Self::KclStreams(_) => LeaseKey::new(format!("{}:{shard}", kcl_name(stream))),
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
            Self::KclOneStream(pipeline) => {
                (make_of(key) == Some(Make::KclOneStream)).then_some(pipeline.as_str())
            }
            Self::KclStreams(readers) => {
                let (name, _) = parts(key.as_str())?;
                let reader = readers.iter().find(|r| r.reads(name))?;
                Some(&reader.pipeline)
            }
        }
    }

    /// The key of another shard of the same stream.
    pub fn sibling(&self, key: &LeaseKey, shard: &ShardId) -> LeaseKey {
        let delimiter = match self {
            Self::Weir => '/',
            Self::KclOneStream(_) | Self::KclStreams(_) => ':',
        };
        match key.as_str().rsplit_once(delimiter) {
            Some((stream, _)) => LeaseKey::new(format!("{stream}{delimiter}{shard}")),
            None => LeaseKey::new(shard.as_str()),
        }
    }

    /// The ARN of the stream that a lease as read from the table is of, if its row tells.
    pub fn stream_of(&self, lease: &Lease) -> Option<StreamArn> {
        match self {
            Self::Weir => lease.stream.clone(),
            Self::KclOneStream(_) => None,
            // One that was named already has its ARN.
            Self::KclStreams(readers) => lease
                .stream
                .clone()
                .filter(|stream| stream.as_str().starts_with("arn:"))
                .or_else(|| {
                    let name = lease.stream.as_ref()?.as_str();
                    from_kcl_name(name).or_else(|| readers.iter().find_map(|r| r.kinesis(name)))
                }),
        }
    }

    /// A lease as its row is to say it: with the stream named as this make names it, or not at all.
    pub fn row(&self, lease: &Lease) -> Lease {
        let stream = match self {
            Self::Weir => lease.stream.clone(),
            Self::KclOneStream(_) => None,
            Self::KclStreams(_) => lease.stream.as_ref().map(|s| StreamArn::new(kcl_name(s))),
        };
        Lease {
            stream,
            ..lease.clone()
        }
    }
}

impl Reader {
    /// Whether the pipeline reads the stream that a KCL application names so.
    fn reads(&self, kcl_name: &str) -> bool {
        let Some(arn) = from_kcl_name(kcl_name) else {
            return self.reads_kinesis(kcl_name);
        };
        match &self.stream {
            StreamChoice::Arn(own) => *own == arn,
            StreamChoice::Table(table) => {
                arn.table() == Some(table)
                    && self
                        .region
                        .as_deref()
                        .is_none_or(|region| arn.region() == Some(region))
            }
            StreamChoice::Kinesis(_) | StreamChoice::KinesisArn(_) => false,
        }
    }

    /// One that is read by its name may be of any account: the role decides.
    fn reads_kinesis(&self, kcl_name: &str) -> bool {
        kinesis_parts(kcl_name).is_some_and(|(account, stream, _)| match &self.stream {
            StreamChoice::Kinesis(name) => name == stream,
            StreamChoice::KinesisArn(arn) => {
                arn.account() == Some(account) && arn.kinesis_name() == Some(stream)
            }
            StreamChoice::Table(_) | StreamChoice::Arn(_) => false,
        })
    }

    /// The Kinesis stream of this name, if the pipeline reads it: KCL's name lacks the region, which is the
    /// pipeline's.
    fn kinesis(&self, kcl_name: &str) -> Option<StreamArn> {
        let (account, stream, created) = kinesis_parts(kcl_name).filter(|_| self.reads_kinesis(kcl_name))?;
        let arn = match &self.stream {
            StreamChoice::KinesisArn(arn) => arn.service_arn().to_owned(),
            _ => {
                let region = self.region.as_deref()?;
                let partition = partition(region);
                format!("arn:{partition}:kinesis:{region}:{account}:stream/{stream}")
            }
        };
        Some(StreamArn::kinesis(&arn, Some(created)))
    }
}

// How the DynamoDB Streams adapter of KCL (its 2.x, `KinesisMapperUtil`) names a stream among several:
// `<account>:<region>$<account>$<table>$<label with _ for :>:1`. The last is the creation epoch of a
// Kinesis stream, which a DynamoDB stream has not. A Kinesis stream is `<account>:<name>:<epoch>`.

fn kcl_name(stream: &StreamArn) -> String {
    let (account, region) = (
        stream.account().unwrap_or_default(),
        stream.region().unwrap_or_default(),
    );
    if let Some(name) = stream.kinesis_name() {
        return format!("{account}:{name}:{}", stream.label().unwrap_or_default());
    }
    let label = stream.label().unwrap_or_default().replace(':', "_");
    let table = stream.table().unwrap_or_default();
    format!("{account}:{region}${account}${table}${label}:1")
}

/// Account, name and second of creation in the name of a Kinesis stream.
fn kinesis_parts(name: &str) -> Option<(&str, &str, i64)> {
    let mut parts = name.split(':');
    let (account, stream, created) = (parts.next()?, parts.next()?, parts.next()?);
    // A Kinesis stream's name has no `$` (API reference of CreateStream).
    let whole = parts.next().is_none() && !stream.contains('$');
    Some((account, stream, created.parse().ok()?)).filter(|_| whole)
}

/// KCL's names lack the partition, which the region tells.
fn partition(region: &str) -> &'static str {
    match region {
        cn if cn.starts_with("cn-") => "aws-cn",
        gov if gov.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

/// `None` for the name of a Kinesis stream, which lacks the region too.
fn from_kcl_name(name: &str) -> Option<StreamArn> {
    let mut parts = name.split(':').nth(1)?.split('$');
    let (region, account, table, label) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let partition = partition(region);
    let label = label.replace('_', ":");
    Some(StreamArn::new(format!(
        "arn:{partition}:dynamodb:{region}:{account}:table/{table}/stream/{label}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::Checkpoint;

    const ARN: &str = "arn:aws:dynamodb:eu-west-1:111122223333:table/t/stream/2026-01-01T00:00:00.000";
    const NAME: &str = "111122223333:eu-west-1$111122223333$t$2026-01-01T00_00_00.000:1";

    fn reader(pipeline: &str, table: &str, region: Option<&str>) -> Reader {
        Reader {
            pipeline: pipeline.to_owned(),
            stream: StreamChoice::Table(table.to_owned()),
            region: region.map(str::to_owned),
        }
    }

    fn lease(key: &str) -> Lease {
        Lease {
            key: LeaseKey::new(key),
            owner: None,
            counter: 0,
            checkpoint: Checkpoint::TrimHorizon,
            stream: parts(key).map(|(name, _)| StreamArn::new(name)),
            shard: ShardId::new(key),
            parents: vec![],
            children: vec![],
            owner_switches: 0,
            hash_range: None,
        }
    }

    #[test]
    fn keys_of_two_pipelines_or_two_streams_never_meet() {
        let keys = Keys::Weir;
        let stream = StreamArn::new(ARN);
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

    #[test]
    fn kcls_keys_are_made_as_kcl_makes_them() {
        let (stream, one, two) = (
            StreamArn::new(ARN),
            ShardId::new("shardId-1"),
            ShardId::new("shardId-2"),
        );
        let in_memory = Lease {
            stream: Some(stream.clone()),
            ..lease("x")
        };

        let keys = Keys::KclOneStream("a".to_owned());
        let key = keys.of("a", &stream, true, &one);
        assert_eq!(key.as_str(), "shardId-1");
        assert_eq!(keys.sibling(&key, &two).as_str(), "shardId-2");
        assert_eq!(keys.pipeline_in(&key), Some("a"));
        assert_eq!(
            keys.pipeline_in(&LeaseKey::new("a/shardId-1")),
            None,
            "another's row"
        );
        assert_eq!(keys.row(&in_memory).stream, None);

        let keys = Keys::KclStreams(vec![reader("b", "u", None), reader("a", "t", None)]);
        let key = keys.of("a", &stream, true, &one);
        assert_eq!(key.as_str(), format!("{NAME}:shardId-1"));
        assert_eq!(keys.sibling(&key, &two).as_str(), format!("{NAME}:shardId-2"));
        assert_eq!(keys.pipeline_in(&key), Some("a"));
        let row = keys.row(&in_memory);
        assert_eq!(row.stream.as_ref().map(StreamArn::as_str), Some(NAME));
        assert_eq!(keys.stream_of(&row), Some(stream));
        let kinesis = LeaseKey::new("111122223333:audit:1700000000:shardId-000000000000");
        assert_eq!(
            keys.pipeline_in(&kinesis),
            None,
            "no pipeline reads a Kinesis stream"
        );
    }

    #[test]
    fn a_kinesis_stream_of_kcls_is_that_of_the_pipeline_that_reads_it() {
        const ARN: &str = "arn:aws:kinesis:eu-west-1:111122223333:stream/audit";
        const NAME: &str = "111122223333:audit:1700000000";
        let stream = StreamArn::kinesis(ARN, Some(1_700_000_000));
        let reader = |choice: StreamChoice, region: Option<&str>| Reader {
            stream: choice,
            ..reader("a", "t", region)
        };
        let by_name = || StreamChoice::Kinesis("audit".to_owned());
        let by_arn = |arn: &str| StreamChoice::KinesisArn(StreamArn::new(arn));
        for (choice, region, reads, expected) in [
            (by_name(), Some("eu-west-1"), true, Some(&stream)),
            // Nothing tells the region: it is this pipeline's, and not read.
            (by_name(), None, true, None),
            (by_arn(ARN), None, true, Some(&stream)),
            (
                by_arn("arn:aws:kinesis:eu-west-1:999922223333:stream/audit"),
                None,
                false,
                None,
            ),
            (
                StreamChoice::Kinesis("other".to_owned()),
                Some("eu-west-1"),
                false,
                None,
            ),
            (
                StreamChoice::Table("audit".to_owned()),
                Some("eu-west-1"),
                false,
                None,
            ),
        ] {
            let keys = Keys::KclStreams(vec![reader(choice.clone(), region)]);
            let row = lease(&format!("{NAME}:shardId-000000000001"));
            assert_eq!(row.stream.as_ref().map(StreamArn::as_str), Some(NAME));
            assert_eq!(keys.pipeline_of(&row), reads.then_some("a"), "{choice:?}");
            assert_eq!(keys.stream_of(&row).as_ref(), expected, "{choice:?}");
        }
        let keys = Keys::KclStreams(vec![reader(by_name(), Some("eu-west-1"))]);
        let key = keys.of("a", &stream, true, &ShardId::new("shardId-000000000001"));
        assert_eq!(key.as_str(), format!("{NAME}:shardId-000000000001"));
        let in_memory = Lease {
            stream: Some(stream.clone()),
            ..lease("x")
        };
        let row = keys.row(&in_memory);
        assert_eq!(row.stream.as_ref().map(StreamArn::as_str), Some(NAME));
        assert_eq!(keys.stream_of(&row), Some(stream));
        // Neither is a DynamoDB stream's name one, nor what has no second.
        for other in [
            super::tests::NAME,
            "111122223333:audit:x",
            "audit:1",
            "a:audit:1:2",
        ] {
            assert_eq!(kinesis_parts(other), None, "{other}");
        }
    }

    #[test]
    fn a_stream_keeps_its_partition() {
        for (region, partition) in [
            ("eu-west-1", "aws"),
            ("cn-north-1", "aws-cn"),
            ("us-gov-east-1", "aws-us-gov"),
        ] {
            let arn = StreamArn::new(format!(
                "arn:{partition}:dynamodb:{region}:111122223333:table/my_t/stream/2026-01-01T00:00:00.000"
            ));
            assert_eq!(from_kcl_name(&kcl_name(&arn)), Some(arn));
        }
    }

    #[test]
    fn a_table_keeps_the_keys_it_has() {
        use LeaseKeys::{Kcl, Weir};
        let (a, b) = (reader("a", "t", None), reader("b", "u", None));
        let one = Keys::KclOneStream("a".to_owned());
        let many = format!("{NAME}:shardId-1");
        let found = |keys: &[&str], wanted, readers: &[Reader]| {
            let leases: Vec<Lease> = keys.iter().map(|k| lease(k)).collect();
            Keys::of_table(&leases, wanted, readers.to_vec())
        };
        let both = [a.clone(), b];
        let a_alone = std::slice::from_ref(&a);
        assert_eq!(found(&[], Weir, &both), Ok(Keys::Weir));
        assert_eq!(found(&[], Kcl, a_alone), Ok(one.clone()));
        assert_eq!(found(&["a/shardId-1"], Weir, &both), Ok(Keys::Weir));
        assert_eq!(
            found(&["shardId-1", "shardId-2"], Weir, a_alone),
            Ok(one.clone()),
            "adopted"
        );
        assert_eq!(found(&["shardId-1"], Kcl, a_alone), Ok(one.clone()));
        assert_eq!(found(&[&many], Weir, &both), Ok(Keys::KclStreams(both.to_vec())));
        assert_eq!(
            found(&["shardId-1", "?:!"], Weir, a_alone),
            Ok(one),
            "what nobody made is left alone"
        );

        let key = |text: &str| LeaseKey::new(text);
        assert_eq!(
            found(&["shardId-1", "a/shardId-1"], Weir, a_alone),
            Err(KeysError::Mixed(key("shardId-1"), key("a/shardId-1")))
        );
        assert_eq!(
            found(&["a/shardId-1"], Kcl, a_alone),
            Err(KeysError::NotKcl(key("a/shardId-1")))
        );
        assert_eq!(
            found(&["shardId-1"], Weir, &both),
            Err(KeysError::WhichPipeline {
                key: key("shardId-1"),
                pipelines: 2
            })
        );
        let twice = [a, reader("c", "t", Some("eu-west-1"))];
        assert_eq!(
            found(&[&many], Weir, &twice),
            Err(KeysError::TwoReaders {
                stream: NAME.to_owned(),
                one: "a".to_owned(),
                other: "c".to_owned()
            })
        );
        let kinesis = "111122223333:audit:1700000000";
        assert_eq!(
            found(&[&format!("{kinesis}:shardId-000000000000")], Weir, &both),
            Err(KeysError::NoReader(kinesis.to_owned()))
        );
        let apart = [
            reader("a", "t", Some("us-east-1")),
            reader("c", "t", Some("eu-west-1")),
        ];
        let keys = found(&[&many], Weir, &apart).unwrap();
        assert_eq!(keys.pipeline_in(&key(&many)), Some("c"), "the region tells");
    }
}
