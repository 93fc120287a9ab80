//! The fake DynamoDB Streams: the road to `streams`, with every way it has of being late or torn.

use std::time::Duration;

use async_trait::async_trait;
use weir::clock::Timestamp;
use weir::stream::{
    Ask, Next, Poll, Ready, Record, RecordBatch, Shard, ShardId, ShardIterator, ShardListing, SourceError,
    StartingPosition, StreamArn, StreamSource,
};

use crate::faults::Service;
use crate::streams::{Kind, ShardNo, Streams, aggregate};
use crate::world::{Failure, Seat, State};

/// The adapter's own request time-out: the trait promises that no call waits longer.
const REQUEST: Duration = Duration::from_secs(10);
/// How long an iterator lives (AWS: 15 minutes).
const ITERATOR: Duration = Duration::from_secs(900);
/// One of Kinesis, and a subscription of its fan-out.
const KINESIS_ITERATOR: Duration = Duration::from_secs(300);

/// How long records are kept, of either kind.
pub const RETENTION: Duration = Duration::from_secs(24 * 3_600);

pub struct SimSource {
    pub seat: Seat,
    pub table: usize,
}

fn failure(f: Failure) -> SourceError {
    match f {
        Failure::Throttled => SourceError::Throttled("the world is busy".into()),
        Failure::Denied => SourceError::AccessDenied("the world forbids it".into()),
        Failure::Unavailable | Failure::Unanswered => {
            SourceError::Unavailable("the world fell silent".into())
        }
    }
}

impl SimSource {
    async fn ask<T: Send + 'static>(
        &self,
        what: String,
        apply: impl FnOnce(&mut State) -> Result<T, SourceError> + Send + 'static,
    ) -> Result<T, SourceError> {
        match self
            .seat
            .within(REQUEST, self.seat.call(Service::Streams, &what, apply))
            .await
        {
            Some(answer) => answer.map_err(failure)?,
            None => Err(SourceError::Unavailable("no answer in 10 s".into())),
        }
    }
}

fn stream(s: &State, arn: &StreamArn) -> Result<usize, SourceError> {
    s.streams
        .find(arn)
        .ok_or_else(|| SourceError::NotFound(format!("stream {arn}")))
}

fn shown(streams: &Streams, at: ShardNo, now: Duration) -> Shard {
    let shard = streams.shard(at);
    let parents = shard.parents.iter().map(|&p| &streams.streams[at.0].shards[p]);
    Shard {
        id: shard.id.clone(),
        // The service still names a parent it has dropped.
        parents: parents.map(|p| p.id.clone()).collect(),
        closed: shard.closed && shard.closing_visible_at <= now,
        hash_range: None,
    }
}

fn listing(s: &mut State, stream: usize) -> ShardListing {
    let now = s.now;
    let torn = s.faults.chance(s.faults.torn_listing, &mut s.rng);
    // A page read before the newest shards were born: the older ones are never missing.
    let before = if torn {
        now.saturating_sub(Duration::from_secs(s.rng.u64(0..60)))
    } else {
        now
    };
    let of = &s.streams.streams[stream];
    let seen = (0..of.shards.len()).filter(|&i| {
        let shard = &of.shards[i];
        let first = shard.parents.is_empty();
        !shard.gone && shard.visible_at <= now && (first || shard.created <= before)
    });
    let shards = seen.map(|i| shown(&s.streams, (stream, i), now)).collect();
    ShardListing {
        shards,
        disabled: !of.enabled,
    }
}

/// `stream|shard|next index|issued at`. Opaque to the reader.
fn iterator(at: ShardNo, next: usize, issued: Duration) -> ShardIterator {
    ShardIterator::new(format!("{}|{}|{next}|{}", at.0, at.1, issued.as_millis()))
}

fn shard_in(it: &ShardIterator) -> ShardNo {
    let mut parts = it.as_str().split('|').map(|p| p.parse().unwrap());
    (parts.next().unwrap(), parts.next().unwrap())
}

fn position(s: &mut State, at: ShardNo, position: &StartingPosition) -> Result<usize, SourceError> {
    let shard = s.streams.shard(at);
    let trimmed = shard.trimmed;
    match position {
        StartingPosition::TrimHorizon => Ok(trimmed),
        StartingPosition::Latest => {
            s.model
                .broken(s.now, "asked for LATEST, which no lease may be".to_owned());
            Ok(trimmed)
        }
        StartingPosition::AtTimestamp(t) => {
            if s.streams.kinesis.is_none() {
                s.model.broken(
                    s.now,
                    format!("asked for AT_TIMESTAMP {t}, which the source has not"),
                );
            }
            let shard = s.streams.shard(at);
            let changes = shard.changes.iter().map(|&g| &s.streams.changes[g]);
            Ok(trimmed.max(changes.take_while(|c| c.written < *t).count()))
        }
        StartingPosition::At(seq) => {
            let seqs = shard.changes.iter().map(|&g| &s.streams.changes[g].seq);
            // A Kinesis stream says nothing of what it trimmed: the reader sees that the record is not there.
            Ok(trimmed.max(seqs.take_while(|have| *have < seq).count()))
        }
        StartingPosition::After(seq) => {
            let seqs = shard.changes.iter().map(|&g| &s.streams.changes[g].seq);
            let next = seqs.take_while(|have| *have <= seq).count();
            // The service says so here, or at the read that follows.
            if s.streams.kinesis.is_some() {
                return Ok(next.max(trimmed));
            }
            if next <= trimmed && trimmed > 0 && s.rng.bool() {
                return Err(SourceError::DataTrimmed);
            }
            Ok(next)
        }
    }
}

fn read(s: &mut State, it: &ShardIterator, pid: usize, ask: Ask) -> Result<RecordBatch, SourceError> {
    let parts: Vec<usize> = it.as_str().split('|').map(|p| p.parse().unwrap()).collect();
    let [stream, shard, next, issued] = parts[..] else {
        panic!("a made-up iterator: {it}")
    };
    let at = (stream, shard);
    s.cost.gets += 1;
    let of = s.streams.shard(at);
    if of.gone || s.streams.streams[stream].gone {
        return Err(SourceError::NotFound(format!("shard {}", of.id)));
    }
    let lives = if s.streams.kinesis.is_some() {
        KINESIS_ITERATOR
    } else {
        ITERATOR
    };
    let expired = s.now >= Duration::from_millis(issued as u64) + lives;
    if expired || s.faults.chance(s.faults.expired_iterator, &mut s.rng) {
        s.note(format!("p{pid} records {stream}/{shard}: the iterator expired"));
        return Err(SourceError::IteratorExpired);
    }
    let mut next = next;
    if next < of.trimmed {
        if s.streams.kinesis.is_none() {
            return Err(SourceError::DataTrimmed);
        }
        next = of.trimmed;
    }
    s.is_read(at, pid);
    let of = s.streams.shard(at);
    let left = of.changes.len() - next;
    let mut n = left.min(1_000).min(ask.limit);
    if s.faults.on {
        n = n.min([1, 3, 10, 1_000][s.rng.usize(0..4)]);
    }
    if s.faults.chance(s.faults.empty_answer, &mut s.rng) {
        n = 0;
    }
    let of = s.streams.shard(at);
    let mut records = Vec::new();
    let mut bytes = 0;
    let mut after = next;
    while after < next + n {
        let first = of.changes[after];
        let c = &s.streams.changes[first];
        bytes += c.data.len();
        if bytes > 1 << 20 && !records.is_empty() {
            break;
        }
        let time = (c.kind != Kind::Undecodable || s.streams.kinesis.is_some()).then_some(c.time);
        let changes: Vec<_> = s.streams.in_record(first).collect();
        let data = match changes.as_slice() {
            [_] => c.data.clone(),
            several => {
                let parts: Vec<_> = several
                    .iter()
                    .map(|&g| s.streams.changes[g].data.clone())
                    .collect();
                aggregate(&c.key, &parts)
            }
        };
        records.push(Record::new(c.seq.clone(), time, data));
        after += changes.len();
    }
    let held: usize = records.iter().map(|r| r.data.len()).sum();
    if held > ask.most {
        s.note(format!(
            "p{pid} records {stream}/{shard}: {held} bytes are too many"
        ));
        return Err(SourceError::TooLarge { needs: held });
    }
    let behind = s.streams.kinesis.map(|_| match of.changes.get(after) {
        Some(&g) => s
            .wall()
            .since(s.streams.changes[g].written)
            .max(Duration::from_millis(1)),
        None => Duration::ZERO,
    });
    // What fan-out tells to resume after, also where it gave nothing.
    let continuation = after
        .checked_sub(1)
        .filter(|_| s.streams.kinesis.is_some_and(|k| k.fan_out))
        .map(|last| s.streams.changes[of.changes[last]].seq.clone());
    // The last answer of a closed shard has no next iterator, or one more empty answer follows.
    let end = of.closed
        && after == of.changes.len()
        && (records.is_empty() || s.rng.bool())
        && left <= n.max(left.min(n));
    let lost_thread = s.streams.kinesis.is_some() && s.faults.chance(s.faults.expired_iterator, &mut s.rng);
    // A subscription lives for five minutes, whatever it gave meanwhile.
    let pushed = s.streams.kinesis.is_some_and(|k| k.fan_out);
    let since = if pushed {
        Duration::from_millis(issued as u64)
    } else {
        s.now
    };
    let next = match end {
        _ if lost_thread => Next::PerhapsEnd,
        true => Next::End,
        false => Next::At(iterator(at, after, since)),
    };
    if end || !records.is_empty() {
        s.note(format!(
            "p{pid} records {stream}/{shard}: {} of {left}{}",
            records.len(),
            if end { ", end" } else { "" }
        ));
    }
    Ok(RecordBatch {
        records,
        next,
        behind,
        continuation,
    })
}

#[async_trait]
impl StreamSource for SimSource {
    async fn current(&self) -> Result<StreamArn, SourceError> {
        // DescribeTable goes on naming the newest stream for a day after it was disabled.
        let table = self.table;
        self.ask("current".into(), move |s| {
            match s
                .streams
                .streams
                .iter()
                .rfind(|one| !one.gone && one.table == table)
            {
                Some(newest) => Ok(newest.arn.clone()),
                None => Err(SourceError::NoStream("the table has no stream".into())),
            }
        })
        .await
    }

    async fn streams(&self) -> Result<Vec<StreamArn>, SourceError> {
        let table = self.table;
        self.ask("streams".into(), move |s| {
            let there = s
                .streams
                .streams
                .iter()
                .filter(|one| !one.gone && one.table == table);
            Ok(there.map(|one| one.arn.clone()).collect())
        })
        .await
    }

    async fn service_time(&self, arn: &StreamArn) -> Result<Timestamp, SourceError> {
        let arn = arn.clone();
        self.ask("service_time".into(), move |s| {
            stream(s, &arn).map(|_| s.wall().floor_second())
        })
        .await
    }

    async fn list_shards(&self, arn: &StreamArn) -> Result<ShardListing, SourceError> {
        self.seat
            .world
            .pass_time(self.seat.world.with(|s| s.listings_take))
            .await;
        let (arn, pid) = (arn.clone(), self.seat.pid);
        self.ask("list_shards".into(), move |s| {
            let n = stream(s, &arn)?;
            let listing = listing(s, n);
            s.cost.listings += listing.shards.len().div_ceil(100).max(1) as u64;
            s.note(format!("p{pid} list_shards {n}: {}", listing.shards.len()));
            Ok(listing)
        })
        .await
    }

    async fn child_shards(&self, arn: &StreamArn, parent: &ShardId) -> Result<Vec<Shard>, SourceError> {
        self.seat
            .world
            .pass_time(self.seat.world.with(|s| s.listings_take))
            .await;
        let (arn, parent, pid) = (arn.clone(), parent.clone(), self.seat.pid);
        self.ask("child_shards".into(), move |s| {
            let n = stream(s, &arn)?;
            let listing = listing(s, n);
            let children: Vec<Shard> = listing
                .shards
                .into_iter()
                .filter(|c| c.parents.contains(&parent))
                .collect();
            s.note(format!("p{pid} child_shards of {n}/{parent}: {}", children.len()));
            Ok(children)
        })
        .await
    }

    async fn iterator(
        &self,
        arn: &StreamArn,
        shard: &ShardId,
        at: &StartingPosition,
    ) -> Result<ShardIterator, SourceError> {
        let (arn, shard, at, pid) = (arn.clone(), shard.clone(), at.clone(), self.seat.pid);
        self.ask("iterator".into(), move |s| {
            let n = stream(s, &arn)?;
            let gone = || SourceError::NotFound(format!("shard {shard}"));
            let i = s.streams.find_shard(n, &shard).ok_or_else(gone)?;
            if s.streams.shard((n, i)).gone {
                return Err(gone());
            }
            let next = position(s, (n, i), &at);
            s.note(format!("p{pid} iterator {n}/{i} {at:?}: {next:?}"));
            Ok(iterator((n, i), next?, s.now))
        })
        .await
    }

    async fn records(&self, _: &StreamArn, it: &ShardIterator, ask: Ask) -> Result<RecordBatch, SourceError> {
        let bug = self.seat.world.with(|s| s.panic_in_read);
        assert!(!bug, "a bug");
        let (it, pid) = (it.clone(), self.seat.pid);
        self.seat.world.with(|s| s.read_begins(pid, shard_in(&it)));
        let batch = self
            .ask("records".into(), move |s| read(s, &it, pid, ask))
            .await?;
        self.seat.world.with(|s| s.handed_out(pid, &batch.records));
        Ok(batch)
    }

    async fn ready(&self, _: &StreamArn, it: &ShardIterator) -> Result<Ready, SourceError> {
        let world = &self.seat.world;
        if !world.with(|s| s.streams.kinesis.is_some_and(|k| k.fan_out)) {
            return Ok(Ready::Ask);
        }
        let (at, it) = (shard_in(it), it.clone());
        let next: usize = it.as_str().split('|').nth(2).unwrap().parse().unwrap();
        let has_more = |s: &mut State| {
            let shard = s.streams.shard(at);
            shard.closed || shard.gone || next < shard.changes.len() || s.rng.u8(0..5) == 0
        };
        if !world.with(has_more) {
            world.pass_time(Duration::from_secs(1)).await;
        }
        Ok(match world.with(has_more) {
            true => Ready::Ask,
            false => Ready::No,
        })
    }

    fn wait_after(&self, poll: Poll, records: usize, _: usize) -> Duration {
        match self.seat.world.with(|s| s.streams.kinesis) {
            Some(kinesis) if kinesis.fan_out => Duration::ZERO,
            Some(_) if records > 0 => poll.busy.max(Duration::from_millis(200)),
            None if records > 0 => poll.busy,
            _ => poll.idle,
        }
    }

    fn retention(&self) -> Option<Duration> {
        Some(RETENTION)
    }

    fn has_timestamps(&self) -> bool {
        self.seat.world.with(|s| s.streams.kinesis.is_some())
    }

    fn has_aggregates(&self) -> bool {
        self.seat.world.with(|s| s.streams.kinesis.is_some())
    }

    fn largest_answer(&self) -> usize {
        1 << 20
    }
}
