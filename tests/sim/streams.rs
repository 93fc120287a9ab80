//! What the service holds: streams, shards with their lineage, and the changes in them.
//!
//! State only; `source` is the road to it. Everything a change is made of is decided when it is written.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use md5::Digest as _;
use weir::clock::Timestamp;
use weir::stream::{Place, SequenceNumber, ShardId, StreamArn};

/// A change's number, over all streams, in the order of writing.
pub type Gid = usize;
/// A stream's and a shard's place in the world's lists.
pub type ShardNo = (usize, usize);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Plain,
    /// Not JSON.
    Undecodable,
    /// The sink refuses every batch that holds it.
    Poison,
    /// The sink refuses it alone, by its time.
    TooOld,
    TooNew,
}

pub struct Change {
    pub at: ShardNo,
    /// In its shard.
    pub index: usize,
    pub seq: SequenceNumber,
    /// Inside an aggregate, which several changes in a row share their sequence number in.
    pub sub: u64,
    pub key: String,
    pub version: u64,
    /// As the record tells it, and as it was.
    pub time: Timestamp,
    pub written: Timestamp,
    pub data: Bytes,
    pub kind: Kind,
}

impl Change {
    pub fn place(&self) -> Place {
        Place {
            sequence_number: self.seq.clone(),
            sub_sequence_number: self.sub,
        }
    }
}

/// What a stream of Kinesis does that one of DynamoDB doesn't.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinesis {
    /// Some records are aggregates.
    pub aggregates: bool,
    /// Records are pushed.
    pub fan_out: bool,
}

pub struct SimShard {
    pub id: ShardId,
    pub parents: Vec<usize>,
    /// The keys' hashes it takes, half open.
    range: (u32, u32),
    pub closed: bool,
    pub changes: Vec<Gid>,
    /// As many of the oldest changes are gone.
    pub trimmed: usize,
    /// Out of the listings, and unreadable.
    pub gone: bool,
    pub created: Duration,
    /// From when listings show it, and show its end.
    pub visible_at: Duration,
    pub closing_visible_at: Duration,
}

pub struct SimStream {
    pub arn: StreamArn,
    /// The number of the table whose stream it is.
    pub table: usize,
    pub enabled: bool,
    pub gone: bool,
    pub shards: Vec<SimShard>,
    by_id: BTreeMap<ShardId, usize>,
}

pub struct Streams {
    pub streams: Vec<SimStream>,
    pub changes: Vec<Change>,
    by_sequence: BTreeMap<String, Gid>,
    versions: BTreeMap<(usize, String), u64>,
    sequence: u128,
    /// Record times may go back by up to this, as an approximate time may.
    pub jitter: Duration,
    /// Times are whole seconds, as DynamoDB's mostly are.
    pub whole_seconds: bool,
    /// No two streams share a shard's id.
    pub ids_apart: bool,
    /// All are of Kinesis.
    pub kinesis: Option<Kinesis>,
    /// The place of the next change in the aggregate of the one before, if it is in it.
    inside: u64,
}

const RANGE: u32 = 1 << 16;

/// The name of a table, and of the pipeline that reads it.
pub fn table_name(table: usize) -> String {
    match table {
        0 => "orders".to_owned(),
        n => format!("table{n:03}"),
    }
}

fn hash(key: &str) -> u32 {
    let h = key.bytes().fold(0x811c_9dc5_u32, |h, b| {
        (h ^ u32::from(b)).wrapping_mul(0x0100_0193)
    });
    (h ^ (h >> 16)) % RANGE
}

/// The event id of a change; recognised in any message, escaped or not.
pub fn event_id(gid: Gid) -> String {
    format!("5eed{gid:028x}")
}

impl Streams {
    pub fn new(rng: &mut Rng) -> Self {
        Self {
            streams: Vec::new(),
            changes: Vec::new(),
            by_sequence: BTreeMap::new(),
            versions: BTreeMap::new(),
            // Soon grows by a digit: as text, 1000… sorts before 999….
            sequence: 99_999_999_999_999_990_000 + u128::from(rng.u32(0..10_000)),
            jitter: Duration::ZERO,
            whole_seconds: rng.bool(),
            ids_apart: false,
            kinesis: None,
            inside: 0,
        }
    }

    /// Enables a stream of the first table: the one before it, if any, takes no more changes.
    pub fn enable(&mut self, shards: u32, now: Duration) {
        self.enable_in(0, shards, now);
    }

    pub fn enable_in(&mut self, table: usize, shards: u32, now: Duration) {
        self.disable_in(table);
        let label = format!(
            "2026-01-01T00:{:02}:{:02}.000",
            now.as_secs() / 60 % 60,
            now.as_secs() % 60
        );
        let n = self.streams.len();
        let table_name = table_name(table);
        let arn = match self.kinesis {
            Some(_) => {
                let created = 1_767_225_600 + now.as_secs() * 10 + n as u64;
                format!("arn:aws:kinesis:eu-west-1:111122223333:stream/{table_name}#{created}")
            }
            None => {
                format!("arn:aws:dynamodb:eu-west-1:111122223333:table/{table_name}/stream/{label}-{n}")
            }
        };
        self.streams.push(SimStream {
            arn: StreamArn::new(arn),
            table,
            enabled: true,
            gone: false,
            shards: Vec::new(),
            by_id: BTreeMap::new(),
        });
        for i in 0..shards {
            let range = (
                RANGE / shards * i,
                if i + 1 == shards {
                    RANGE
                } else {
                    RANGE / shards * (i + 1)
                },
            );
            self.open(n, Vec::new(), range, now, now);
        }
    }

    /// The newest stream of the first table takes no more changes; its shards end without children.
    pub fn disable(&mut self) {
        self.disable_in(0);
    }

    fn disable_in(&mut self, table: usize) {
        if let Some(old) = self.newest(table) {
            let old = &mut self.streams[old];
            old.enabled = false;
            old.shards.iter_mut().for_each(|s| s.closed = true);
        }
    }

    fn newest(&self, table: usize) -> Option<usize> {
        self.streams.iter().rposition(|s| s.table == table)
    }

    pub fn enabled(&self) -> Option<usize> {
        self.enabled_in(0)
    }

    pub fn enabled_in(&self, table: usize) -> Option<usize> {
        self.newest(table).filter(|&n| self.streams[n].enabled)
    }

    /// Whether it is the first stream that its table had: the only one whose start is configured.
    pub fn is_first(&self, stream: usize) -> bool {
        let table = self.streams[stream].table;
        self.streams[..stream].iter().all(|s| s.table != table)
    }

    pub fn find(&self, arn: &StreamArn) -> Option<usize> {
        self.streams.iter().position(|s| s.arn == *arn && !s.gone)
    }

    pub fn find_shard(&self, stream: usize, id: &ShardId) -> Option<usize> {
        self.streams[stream].by_id.get(id).copied()
    }

    pub fn shard(&self, at: ShardNo) -> &SimShard {
        &self.streams[at.0].shards[at.1]
    }

    pub fn shard_mut(&mut self, at: ShardNo) -> &mut SimShard {
        &mut self.streams[at.0].shards[at.1]
    }

    pub fn open_shards(&self, stream: usize) -> Vec<usize> {
        let shards = &self.streams[stream].shards;
        (0..shards.len()).filter(|&i| !shards[i].closed).collect()
    }

    pub fn children(&self, at: ShardNo) -> Vec<usize> {
        let shards = &self.streams[at.0].shards;
        (0..shards.len())
            .filter(|&i| shards[i].parents.contains(&at.1))
            .collect()
    }

    fn open(
        &mut self,
        stream: usize,
        parents: Vec<usize>,
        range: (u32, u32),
        now: Duration,
        visible_at: Duration,
    ) {
        let base = if self.ids_apart { stream * 1_000 } else { 0 };
        let shards = &mut self.streams[stream].shards;
        // A listing may lack the newest shards, but no shard's ancestors: the services list in the order of birth.
        let visible_at = parents
            .iter()
            .map(|&p| shards[p].visible_at)
            .fold(visible_at, Duration::max);
        // Equal ids in different streams are no accident: they happen on AWS and on emulators.
        let id = ShardId::new(format!(
            "shardId-{:020}-{:08x}",
            base + shards.len() + 1,
            range.0 * 7 + range.1
        ));
        let number = shards.len();
        shards.push(SimShard {
            id: id.clone(),
            parents,
            range,
            closed: false,
            changes: Vec::new(),
            trimmed: 0,
            gone: false,
            created: now,
            visible_at,
            closing_visible_at: now,
        });
        self.streams[stream].by_id.insert(id, number);
    }

    fn close(&mut self, at: ShardNo, now: Duration, delay: Duration, rng: &mut Rng) {
        let shard = self.shard_mut(at);
        shard.closed = true;
        shard.closing_visible_at = now + delay.mul_f64(rng.f64());
    }

    /// Closes `shard` and opens one child (a roll-over) or two (a split).
    pub fn divide(&mut self, at: ShardNo, children: u32, now: Duration, delay: Duration, rng: &mut Rng) {
        self.close(at, now, delay, rng);
        let (from, to) = self.shard(at).range;
        let middle = from + (to - from) / 2;
        let ranges = if children == 1 {
            vec![(from, to)]
        } else {
            vec![(from, middle), (middle, to)]
        };
        for range in ranges {
            self.open(at.0, vec![at.1], range, now, now + delay.mul_f64(rng.f64()));
        }
    }

    /// Merges two neighbours; false if the stream has none.
    pub fn merge(&mut self, stream: usize, now: Duration, delay: Duration, rng: &mut Rng) -> bool {
        let open = self.open_shards(stream);
        let range = |i: usize| self.streams[stream].shards[i].range;
        let pair = open
            .iter()
            .flat_map(|&a| open.iter().map(move |&b| (a, b)))
            .find(|&(a, b)| range(a).1 == range(b).0);
        let Some((a, b)) = pair else { return false };
        let whole = (range(a).0, range(b).1);
        self.close((stream, a), now, delay, rng);
        self.close((stream, b), now, delay, rng);
        self.open(stream, vec![a, b], whole, now, now + delay.mul_f64(rng.f64()));
        true
    }

    /// The `n` oldest changes of a shard are no more, and the rest of the aggregate that the last is in.
    pub fn trim(&mut self, at: ShardNo, n: usize) {
        let shard = self.shard(at);
        let mut trimmed = (shard.trimmed + n).min(shard.changes.len());
        let inside = |&g: &Gid| self.changes[g].sub > 0;
        while shard.changes.get(trimmed).is_some_and(inside) {
            trimmed += 1;
        }
        self.shard_mut(at).trimmed = trimmed;
    }

    /// Writes a change, and `more` of the same key into the same aggregate.
    pub fn write_aggregate(&mut self, key: &str, more: u64, size: usize, now: Timestamp, rng: &mut Rng) {
        let Some(first) = self.write(key, Kind::Plain, size, now, rng) else {
            return;
        };
        let at = self.changes[first].at;
        for sub in 1..=more {
            self.inside = sub;
            self.write_at(at, key, Kind::Plain, size, now, rng);
        }
        self.inside = 0;
    }

    /// The changes that one record holds: those of the aggregate that `gid` is the first of.
    pub fn in_record(&self, gid: Gid) -> impl Iterator<Item = Gid> + '_ {
        let same = move |g: &Gid| {
            *g == gid || (self.changes[*g].sub > 0 && self.changes[*g].seq == self.changes[gid].seq)
        };
        (gid..self.changes.len()).take_while(same)
    }

    pub fn write(
        &mut self,
        key: &str,
        kind: Kind,
        size: usize,
        now: Timestamp,
        rng: &mut Rng,
    ) -> Option<Gid> {
        self.write_in(0, key, kind, size, now, rng)
    }

    /// Writes a change to a table's newest stream, if it takes any.
    pub fn write_in(
        &mut self,
        table: usize,
        key: &str,
        kind: Kind,
        size: usize,
        now: Timestamp,
        rng: &mut Rng,
    ) -> Option<Gid> {
        let stream = self.enabled_in(table)?;
        let h = hash(key);
        let shards = &self.streams[stream].shards;
        let shard = shards
            .iter()
            .position(|s| !s.closed && s.range.0 <= h && h < s.range.1)?;
        Some(self.write_at((stream, shard), key, kind, size, now, rng))
    }

    /// Writes a change to one shard, whatever the key's place.
    pub fn write_at(
        &mut self,
        (stream, shard): ShardNo,
        key: &str,
        kind: Kind,
        size: usize,
        now: Timestamp,
        rng: &mut Rng,
    ) -> Gid {
        let gid = self.changes.len();
        if self.inside == 0 {
            self.sequence += u128::from(rng.u32(1..40));
        }
        let seq = self.sequence.to_string();
        let version = self.versions.entry((stream, key.to_owned())).or_insert(0);
        *version += 1;
        let version = *version;
        let back = self.jitter.mul_f64(rng.f64());
        let mut time = match kind {
            Kind::TooOld => now.minus(Duration::from_secs(15 * 86_400)),
            Kind::TooNew => now.plus(Duration::from_secs(3 * 3_600)),
            _ => now.minus(back),
        };
        if self.whole_seconds {
            time = time.floor_second();
        }
        let data = if kind == Kind::Undecodable {
            // The parser's words quote it.
            format!(
                "{{\"dynamodb\":\"torn\",{} \"SequenceNumber\":\"{seq}\"",
                event_id(gid)
            )
        } else {
            wire(gid, key, version, &seq, time, size)
        };
        self.by_sequence.entry(seq.clone()).or_insert(gid);
        let index = self.streams[stream].shards[shard].changes.len();
        self.streams[stream].shards[shard].changes.push(gid);
        self.changes.push(Change {
            at: (stream, shard),
            index,
            seq: SequenceNumber::parse(&seq).unwrap(),
            sub: self.inside,
            key: key.to_owned(),
            version,
            time,
            written: now,
            data: Bytes::from(data),
            kind,
        });
        gid
    }

    /// The change a log message tells of, whatever form it has.
    pub fn in_message(&self, message: &str) -> Option<Gid> {
        let id = message.find("5eed").and_then(|at| message.get(at + 4..at + 32));
        // Base64 may hold these letters by chance, but no number in this place.
        if let Some(gid) = id.and_then(|hex| usize::from_str_radix(hex, 16).ok())
            && gid < self.changes.len()
        {
            return Some(gid);
        }
        let first = message
            .split(|c: char| !c.is_ascii_digit())
            .filter(|digits| digits.len() >= 20)
            .find_map(|digits| self.by_sequence.get(digits).copied())?;
        let sub = message
            .split_once("\"subSequenceNumber\":")
            .map_or("0", |(_, after)| after);
        let sub: String = sub.chars().take_while(char::is_ascii_digit).collect();
        Some(first + sub.parse::<usize>().unwrap_or(0))
    }
}

/// A record as GetRecords has it on the wire.
fn wire(gid: Gid, key: &str, version: u64, seq: &str, time: Timestamp, size: usize) -> String {
    let (seconds, millis) = (time.millis().div_euclid(1000), time.millis().rem_euclid(1000));
    let time = if millis == 0 {
        seconds.to_string()
    } else {
        format!("{seconds}.{millis:03}")
    };
    let name = if version == 1 { "INSERT" } else { "MODIFY" };
    let old = match version {
        1 => String::new(),
        v => format!(
            r#""OldImage":{{"pk":{{"S":"{key}"}},"version":{{"N":"{}"}}}},"#,
            v - 1
        ),
    };
    let blob = if size == 0 {
        String::new()
    } else {
        format!(r#","blob":{{"S":"{}"}}"#, "x".repeat(size))
    };
    format!(
        r#"{{"eventID":"{id}","eventName":"{name}","eventVersion":"1.1","eventSource":"aws:dynamodb","awsRegion":"eu-west-1","dynamodb":{{"ApproximateCreationDateTime":{time},"Keys":{{"pk":{{"S":"{key}"}}}},"NewImage":{{"pk":{{"S":"{key}"}},"version":{{"N":"{version}"}}{blob}}},{old}"SequenceNumber":"{seq}","SizeBytes":{bytes},"StreamViewType":"NEW_AND_OLD_IMAGES"}}}}"#,
        id = event_id(gid),
        bytes = 26 + size,
    )
}

/// An aggregate as the Kinesis Producer Library makes it: magic, protobuf, MD5.
pub fn aggregate(key: &str, parts: &[Bytes]) -> Bytes {
    fn field(number: u8, bytes: &[u8], into: &mut Vec<u8>) {
        into.push(number << 3 | 2);
        let mut length = bytes.len();
        while length >= 0x80 {
            into.push(length as u8 | 0x80);
            length >>= 7;
        }
        into.push(length as u8);
        into.extend(bytes);
    }
    let mut body = Vec::new();
    field(1, key.as_bytes(), &mut body);
    for part in parts {
        let mut record = vec![1 << 3, 0];
        field(3, part, &mut record);
        field(3, &record, &mut body);
    }
    let digest = md5::Md5::digest(&body);
    [&[0xf3, 0x89, 0x9a, 0xc2], body.as_slice(), digest.as_slice()]
        .concat()
        .into()
}
