//! A stream: shards with parents and records, iterators, and what the service keeps of it all. The two stream
//! services tell the same in their own words.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::answer::{Refused, refused};
use crate::records::{Kind, Unit, now};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    DynamoDb,
    Kinesis,
}

#[derive(Debug)]
pub struct Record {
    pub sequence: String,
    /// When it came in.
    pub at: i64,
    pub kind: Kind,
}

#[derive(Debug)]
pub struct Shard {
    pub id: String,
    pub parents: Vec<String>,
    /// The hash keys that are its own.
    pub range: (u128, u128),
    pub starts: String,
    /// The last sequence number, once it is closed.
    pub ends: Option<String>,
    pub records: Vec<Record>,
    /// So many of its first records are gone.
    pub trimmed: usize,
    /// The service knows it no more.
    pub gone: bool,
    /// The reads of the last second, and when the bytes of the last one are paid for (Kinesis).
    reads: VecDeque<Instant>,
    paid: Option<Instant>,
}

impl Shard {
    pub fn unit(&self, record: usize) -> Unit {
        Unit {
            shard: self.id.clone(),
            record,
            part: 0,
        }
    }
}

#[derive(Debug)]
pub struct Stream {
    pub service: Service,
    pub arn: String,
    pub shards: Vec<Shard>,
    numbers: u64,
    /// Iterators of an earlier one have expired.
    epoch: u64,
    /// The first open shard splits before the second page of a listing is given.
    pub splits_in_listing: bool,
    /// Which images its records hold, as DynamoDB names it.
    pub view: &'static str,
    pub is_disabled: bool,
    /// Reads that were refused by the service's own limits.
    pub throttled: usize,
}

/// A part of a shard, as it was asked for.
pub struct Read {
    pub shard: usize,
    pub records: std::ops::Range<usize>,
    pub next: Option<String>,
}

impl Stream {
    pub fn new(service: Service, roots: u128) -> Self {
        let arn = match service {
            Service::DynamoDb => {
                "arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/2026-01-02T03:04:05.678"
            }
            Service::Kinesis => "arn:aws:kinesis:eu-west-1:111122223333:stream/orders",
        };
        let mut stream = Self {
            service,
            arn: arn.to_owned(),
            shards: Vec::new(),
            numbers: 0,
            epoch: 0,
            splits_in_listing: false,
            view: "NEW_AND_OLD_IMAGES",
            is_disabled: false,
            throttled: 0,
        };
        let width = u128::MAX / roots;
        for root in 0..roots {
            let last = if root + 1 == roots {
                u128::MAX
            } else {
                (root + 1) * width - 1
            };
            stream.open(Vec::new(), (root * width, last));
        }
        stream
    }

    fn number(&mut self) -> String {
        self.numbers += 1;
        match self.service {
            Service::DynamoDb => format!("3000000000000{:08}", self.numbers),
            Service::Kinesis => format!(
                "4968044046070219973305698904750309342081579529{:010}",
                self.numbers
            ),
        }
    }

    fn open(&mut self, parents: Vec<String>, range: (u128, u128)) -> usize {
        let id = match self.service {
            Service::DynamoDb => format!("shardId-0000000170000000{:04}-0a1b2c3d", self.shards.len()),
            Service::Kinesis => format!("shardId-{:012}", self.shards.len()),
        };
        let starts = self.number();
        self.shards.push(Shard {
            id,
            parents,
            range,
            starts,
            ends: None,
            records: Vec::new(),
            trimmed: 0,
            gone: false,
            reads: VecDeque::new(),
            paid: None,
        });
        self.shards.len() - 1
    }

    fn close(&mut self, shard: usize) {
        let ends = self.number();
        self.shards[shard].ends = Some(ends);
    }

    /// The places of the shards that take records.
    pub fn leaves(&self) -> Vec<usize> {
        let open = |at: &usize| self.shards[*at].ends.is_none() && !self.shards[*at].gone;
        (0..self.shards.len()).filter(open).collect()
    }

    pub fn append(&mut self, shard: usize, kind: Kind) {
        assert!(self.shards[shard].ends.is_none(), "the shard is closed");
        let sequence = self.number();
        self.shards[shard].records.push(Record {
            sequence,
            at: now(),
            kind,
        });
    }

    pub fn split(&mut self, shard: usize) {
        self.close(shard);
        let (first, last) = self.shards[shard].range;
        let middle = first + (last - first) / 2;
        let parent = vec![self.shards[shard].id.clone()];
        self.open(parent.clone(), (first, middle));
        self.open(parent, (middle + 1, last));
    }

    /// Two shards that lie beside each other become one.
    pub fn merge(&mut self, one: usize, other: usize) {
        self.close(one);
        self.close(other);
        let (one, other) = (&self.shards[one], &self.shards[other]);
        let range = (one.range.0.min(other.range.0), one.range.1.max(other.range.1));
        let parents = vec![one.id.clone(), other.id.clone()];
        self.open(parents, range);
    }

    /// The service forgets the first `records` of a shard.
    pub fn trim(&mut self, shard: usize, records: usize) {
        self.shards[shard].trimmed = records;
    }

    /// A shard is not there any more, nor is what it held.
    pub fn forget(&mut self, shard: usize) {
        let shard = &mut self.shards[shard];
        shard.trimmed = shard.records.len();
        shard.gone = true;
    }

    pub fn expire_iterators(&mut self) {
        self.epoch += 1;
    }

    pub fn find(&self, id: &str) -> Result<usize, Refused> {
        let found = self.shards.iter().position(|shard| shard.id == id && !shard.gone);
        found.ok_or_else(|| refused("ResourceNotFoundException", format!("Shard {id} is not found")))
    }

    fn iterator_at(&self, shard: usize, record: usize) -> String {
        format!("{}@{record}@{}", self.shards[shard].id, self.epoch)
    }

    /// An iterator of one of the types that both services have.
    pub fn iterator(&self, shard: &str, kind: &str, sequence: Option<&str>) -> Result<String, Refused> {
        let at = self.find(shard)?;
        let shard = &self.shards[at];
        // Of one length in a stream, so that they order as texts.
        let behind = |sequence: &str, included: bool| {
            let before = |r: &Record| r.sequence.as_str() < sequence || (!included && r.sequence == sequence);
            shard.records.iter().filter(|r| before(r)).count()
        };
        let record = match (kind, sequence) {
            ("TRIM_HORIZON", None) => shard.trimmed,
            ("LATEST", None) => shard.records.len(),
            ("AT_SEQUENCE_NUMBER", Some(sequence)) => behind(sequence, true),
            ("AFTER_SEQUENCE_NUMBER", Some(sequence)) => behind(sequence, false),
            _ => {
                return Err(refused(
                    "ValidationException",
                    format!("an iterator {kind} {sequence:?}"),
                ));
            }
        };
        let starts_in_trimmed = sequence.is_some() && record < shard.trimmed;
        let record = match (self.service, starts_in_trimmed) {
            (Service::DynamoDb, true) => return Err(trimmed()),
            // Kinesis reads on at its horizon and says nothing of it.
            _ => record.max(shard.trimmed),
        };
        Ok(self.iterator_at(at, record))
    }

    /// An iterator at the first record that came in at this time or later.
    pub fn iterator_at_time(&self, shard: &str, millis: i64) -> Result<String, Refused> {
        let at = self.find(shard)?;
        let shard = &self.shards[at];
        let earlier = shard.records.iter().filter(|r| r.at < millis).count();
        Ok(self.iterator_at(at, earlier.max(shard.trimmed)))
    }

    /// What an iterator gives: at most so many records, of which the sizes do not exceed `bytes` by more than the
    /// first.
    pub fn read(
        &self,
        iterator: &str,
        limit: usize,
        bytes: usize,
        size: impl Fn(&Record, Unit) -> usize,
    ) -> Result<Read, Refused> {
        let mut parts = iterator.split('@');
        let mut part = || parts.next().unwrap_or_default();
        let (id, record, epoch) = (part(), part(), part());
        let shard = self.find(id)?;
        let record: usize = record
            .parse()
            .map_err(|_| refused("ValidationException", format!("the iterator {iterator}")))?;
        if epoch != self.epoch.to_string() {
            let text = "Iterator expired. The iterator was created too long ago.";
            return Err(refused("ExpiredIteratorException", text));
        }
        let of = &self.shards[shard];
        let from = match (self.service, record < of.trimmed) {
            (Service::DynamoDb, true) => return Err(trimmed()),
            _ => record.max(of.trimmed),
        };
        let (mut until, mut sum) = (from, 0);
        while until < of.records.len() && until - from < limit {
            sum += size(&of.records[until], of.unit(until));
            if sum > bytes && until > from {
                break;
            }
            until += 1;
        }
        let is_end = of.ends.is_some() && until == of.records.len();
        Ok(Read {
            shard,
            records: from..until,
            next: (!is_end).then(|| self.iterator_at(shard, until)),
        })
    }

    /// Whether a read of this shard keeps the limits: five in a second, and what was read before is paid for.
    pub fn may_read(&mut self, shard: usize) -> bool {
        let now = Instant::now();
        let of = &mut self.shards[shard];
        let second = Duration::from_secs(1);
        while of
            .reads
            .front()
            .is_some_and(|then| now.duration_since(*then) >= second)
        {
            of.reads.pop_front();
        }
        let may = of.reads.len() < 5 && of.paid.is_none_or(|paid| paid <= now);
        if may {
            of.reads.push_back(now);
        } else {
            self.throttled += 1;
        }
        may
    }

    /// These bytes were read of a shard that gives so many a second.
    pub fn pay(&mut self, shard: usize, bytes: usize, a_second: usize) {
        let time = Duration::from_secs_f64(bytes as f64 / a_second as f64);
        self.shards[shard].paid = Some(Instant::now() + time);
    }
}

fn trimmed() -> Refused {
    refused(
        "TrimmedDataAccessException",
        "The data you are trying to access has been trimmed.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(service: Service) -> Stream {
        let mut stream = Stream::new(service, 2);
        for _ in 0..5 {
            stream.append(0, Kind::Good);
        }
        stream
    }

    fn read(stream: &Stream, iterator: &str) -> Result<(std::ops::Range<usize>, bool), &'static str> {
        let read = stream.read(iterator, 3, usize::MAX, |_, _| 1);
        read.map(|read| (read.records, read.next.is_some()))
            .map_err(|refused| refused.code)
    }

    #[test]
    fn what_is_trimmed_is_refused_by_one_service_and_passed_over_by_the_other() {
        for (service, want) in [
            (Service::DynamoDb, Err("TrimmedDataAccessException")),
            (Service::Kinesis, Ok((2..5, true))),
        ] {
            let mut stream = stream(service);
            let shard = stream.shards[0].id.clone();
            let first = stream.shards[0].records[0].sequence.clone();
            let horizon = stream.iterator(&shard, "TRIM_HORIZON", None).unwrap();
            assert_eq!(read(&stream, &horizon), Ok((0..3, true)));
            stream.trim(0, 2);
            assert_eq!(read(&stream, &horizon), want);
            let after = stream.iterator(&shard, "AFTER_SEQUENCE_NUMBER", Some(&first));
            let after = after.map_err(|refused| refused.code);
            assert_eq!(after.and_then(|iterator| read(&stream, &iterator)), want);
            let horizon = stream.iterator(&shard, "TRIM_HORIZON", None).unwrap();
            assert_eq!(read(&stream, &horizon), Ok((2..5, true)));
        }
    }

    #[test]
    fn a_closed_shard_ends_behind_its_last_record_and_its_children_share_its_keys() {
        let mut stream = stream(Service::Kinesis);
        let shard = stream.shards[0].id.clone();
        let last = stream.shards[0].records[2].sequence.clone();
        let range = stream.shards[0].range;
        stream.split(0);
        let after = stream
            .iterator(&shard, "AFTER_SEQUENCE_NUMBER", Some(&last))
            .unwrap();
        assert_eq!(read(&stream, &after), Ok((3..5, false)));
        assert_eq!(stream.leaves(), [1, 2, 3]);
        stream.merge(2, 3);
        assert_eq!(stream.leaves(), [1, 4]);
        assert_eq!(stream.shards[4].range, range);
        stream.expire_iterators();
        assert_eq!(read(&stream, &after), Err("ExpiredIteratorException"));
    }

    #[test]
    fn a_shard_is_read_five_times_a_second_and_no_faster_than_is_paid_for() {
        let mut stream = stream(Service::Kinesis);
        let reads = (0..6).filter(|_| stream.may_read(0)).count();
        assert_eq!(reads, 5);
        assert!(stream.may_read(1), "another shard");
        stream.pay(1, 1_000_000, 100);
        assert!(!stream.may_read(1));
    }
}
