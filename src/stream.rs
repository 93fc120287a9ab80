//! What a stream is: shards, positions, records, and the trait a source of them implements.
//!
//! Owns the nouns (AWS's words) and [`StreamSource`]. No I/O here. The adapters in `stream/` implement
//! the trait; the coordinator lists shards through it, a consumer reads one shard through it.

pub mod change;
pub mod dynamodb;
pub mod fan_out;
pub mod homes;
pub mod kinesis;
pub mod lineage;
pub mod view;

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::clock::Timestamp;
use change::ChangeFields;
use view::View;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}
pub(crate) use text_id;

text_id!(
    /// The ARN of one stream. A stream that was disabled and enabled again has a new one.
    StreamArn
);
text_id!(
    /// A shard's id, unique within its stream only.
    ShardId
);
text_id!(
    /// A position the service handed out for one shard; it expires (15 min on DynamoDB Streams).
    ShardIterator
);

impl StreamArn {
    /// The table of a DynamoDB stream's ARN (`…:table/<table>/stream/<label>`).
    pub fn table(&self) -> Option<&str> {
        let (_, rest) = self.as_str().split_once(":table/")?;
        rest.split('/').next().filter(|t| !t.is_empty())
    }

    /// A Kinesis stream. One that is deleted and created again has the same ARN and other records, so what
    /// names it here is the ARN, a `#` and the second of its creation, as the service tells it.
    pub fn kinesis(arn: &str, created: Option<i64>) -> Self {
        match created {
            Some(created) => Self::new(format!("{arn}#{created}")),
            None => Self::new(arn),
        }
    }

    /// The ARN alone, as the service knows the stream.
    pub fn service_arn(&self) -> &str {
        self.as_str().split('#').next().unwrap_or_default()
    }

    /// The name of a Kinesis stream (`…:stream/<name>`).
    pub fn kinesis_name(&self) -> Option<&str> {
        let (before, name) = self.service_arn().split_once(":stream/")?;
        (before.contains(":kinesis:") && !name.is_empty()).then_some(name)
    }

    /// What tells the streams of one table, or of one Kinesis stream's name, apart, and orders them: the
    /// label of a DynamoDB stream's ARN, which is the time it was enabled; the second of a Kinesis stream's
    /// creation.
    pub fn label(&self) -> Option<&str> {
        let label = self.as_str().split_once("/stream/").map(|(_, label)| label);
        label.or_else(|| self.as_str().split_once('#').map(|(_, created)| created))
    }

    /// The region field of the ARN.
    pub fn region(&self) -> Option<&str> {
        self.as_str().split(':').nth(3).filter(|r| !r.is_empty())
    }

    /// Refuses a stream that is in another region than the one `asked`. There it is not found, which says
    /// nothing of whether it is gone.
    pub fn is_in(&self, asked: Option<&str>) -> Result<(), SourceError> {
        match (self.region(), asked) {
            (Some(there), Some(asked)) if there != asked => Err(SourceError::Unavailable(format!(
                "{} is in {there}, and {asked} is asked: check AWS_REGION, or the source's `region`",
                self.service_arn()
            ))),
            _ => Ok(()),
        }
    }

    /// The account field of the ARN.
    pub fn account(&self) -> Option<&str> {
        self.as_str().split(':').nth(4).filter(|a| !a.is_empty())
    }
}

/// A record's place in its shard: an opaque decimal string of any length, ordered as a number.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SequenceNumber(Arc<str>);

impl SequenceNumber {
    /// `None` unless `text` is one or more decimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| Self(text.into()))
    }

    /// A place that was counted, not told by a service.
    pub fn of(number: u64) -> Self {
        Self(number.to_string().into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Ord for SequenceNumber {
    fn cmp(&self, other: &Self) -> Ordering {
        let a = self.0.trim_start_matches('0');
        let b = other.0.trim_start_matches('0');
        // Leading zeros carry no value; where only they differ the texts decide, so that Ord agrees with Eq.
        (a.len(), a, &*self.0).cmp(&(b.len(), b, &*other.0))
    }
}

impl PartialOrd for SequenceNumber {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A record's place in its shard, to the record inside an aggregate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub sequence_number: SequenceNumber,
    /// 0 for what is no aggregate.
    pub sub_sequence_number: u64,
}

/// One shard as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    pub id: ShardId,
    /// None for a first shard, one after a roll-over or split, two after a merge.
    pub parents: Vec<ShardId>,
    /// It takes no more records; those it has can still be read.
    pub closed: bool,
    /// Which partition keys' hashes are its own (Kinesis).
    pub hash_range: Option<HashKeyRange>,
}

/// The first and the last hash key of a shard, as decimal numbers of up to 39 digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashKeyRange {
    pub starting: Arc<str>,
    pub ending: Arc<str>,
}

/// Every page of a listing. An incomplete one is an error, never a shorter list.
#[derive(Clone, Debug)]
pub struct ShardListing {
    pub shards: Vec<Shard>,
    /// The stream takes no more records (a disabled DynamoDB stream): its shards end without children.
    pub disabled: bool,
}

/// Where in a shard to start reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartingPosition {
    /// The oldest record the service still has.
    TrimHorizon,
    /// The first record at or after this time. A source without this (see
    /// [`StreamSource::has_timestamps`]) is never asked for it.
    AtTimestamp(Timestamp),
    /// This record once more, and those after it. Only a source whose records may be aggregates (see
    /// [`StreamSource::has_aggregates`]) is asked for it: a checkpoint may lie inside one.
    At(SequenceNumber),
    /// The record after this one.
    After(SequenceNumber),
    /// What comes after this request. Only for a look that keeps no position: a lease's LATEST is a time, resolved
    /// once (rule 13 of the KCL's lessons).
    Latest,
}

/// One record as it crosses from the source into the pipeline: its text, and the few facts Weir itself needs.
#[derive(Clone, Debug)]
pub struct Record {
    pub sequence_number: SequenceNumber,
    /// Its place inside an aggregate of the Kinesis Producer Library, from 0; else 0.
    pub sub_sequence_number: u64,
    /// When the change happened (DynamoDB: `ApproximateCreationDateTime`, exact to the millisecond), or when
    /// the record came into the stream (Kinesis: `ApproximateArrivalTimestamp`). `None` where the record
    /// holds no readable time; the decoder then says so.
    pub time: Option<Timestamp>,
    /// What decided the record's shard (Kinesis; it may be absent).
    pub partition_key: Option<Arc<str>>,
    /// A DynamoDB record's JSON as it stood on the wire, usually a slice of the whole answer, not a copy; a
    /// Kinesis record's own bytes.
    pub data: Bytes,
    /// Of a DynamoDB record: where its fields stand, if whoever read the answer saw it. The decoder takes them for
    /// `data`.
    pub fields: Option<Box<ChangeFields>>,
}

impl Record {
    /// A record that is whole, and whose shard no partition key decided.
    pub fn new(sequence_number: SequenceNumber, time: Option<Timestamp>, data: Bytes) -> Self {
        Self {
            sequence_number,
            sub_sequence_number: 0,
            time,
            partition_key: None,
            data,
            fields: None,
        }
    }

    pub fn place(&self) -> Place {
        Place {
            sequence_number: self.sequence_number.clone(),
            sub_sequence_number: self.sub_sequence_number,
        }
    }
}

/// Where the records go on after an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    At(ShardIterator),
    /// Every record of the shard has been read.
    End,
    /// There is no next iterator, and no child either: the shard has ended only if a listing says that it is
    /// closed, or gone; else it is read on from the same place (rule 7 of the KCL's lessons).
    PerhapsEnd,
}

/// One answer to a read.
#[derive(Clone, Debug)]
pub struct RecordBatch {
    /// In stream order.
    pub records: Vec<Record>,
    pub next: Next,
    /// How far the last record read is behind the newest of the shard, where the service tells
    /// (`MillisBehindLatest`); zero: there is nothing more now.
    pub behind: Option<Duration>,
    /// After which sequence number to resume, where the service tells (fan-out's `ContinuationSequenceNumber`);
    /// else it is the last record's.
    pub continuation: Option<SequenceNumber>,
}

/// How much one read may give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The most records; the service may have a lower limit.
    pub limit: usize,
    /// The most bytes that the answer may take in memory. One that takes more is refused, as far as possible before
    /// it is read: [`SourceError::TooLarge`].
    pub most: usize,
}

impl Ask {
    /// Whatever the service gives.
    pub const ALL: Self = Self {
        limit: usize::MAX,
        most: usize::MAX,
    };

    /// The limit as a request has it: at least one record, and `most` at most.
    pub fn limit_to(self, most: i32) -> i32 {
        i32::try_from(self.limit).unwrap_or(most).clamp(1, most)
    }
}

/// What is known before a read of what it will give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// There is nothing to ask for yet.
    No,
    /// The service tells when it is asked.
    Ask,
    /// An answer has come, and holds these bytes already.
    Here(usize),
}

/// The waits between two reads of a shard that the settings ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Poll {
    /// After a read that gave records.
    pub busy: Duration,
    /// After one that gave none.
    pub idle: Duration,
}

/// Why a source could not answer. One variant for each different action of the caller.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Ask for a new iterator from the last position.
    #[error("the shard iterator expired")]
    IteratorExpired,
    /// The position lies before the oldest record: a gap. Go to TRIM_HORIZON and write the gap down.
    #[error("the stream trimmed the data at this position")]
    DataTrimmed,
    /// The stream, or the shard, does not exist (any more).
    #[error("not found: {0}")]
    NotFound(String),
    /// The table exists and has no stream. Keep asking; a person must enable it.
    #[error("{0}")]
    NoStream(String),
    /// Slow down.
    #[error("throttled: {0}")]
    Throttled(String),
    /// A person must act; keep retrying meanwhile, and say what to fix.
    #[error("access denied: {0}")]
    AccessDenied(String),
    /// The answer takes more memory than was asked for, and was not taken in. Reserve more, or ask for fewer records,
    /// and read the same iterator again.
    #[error("the answer takes {needs} bytes of memory, more than was asked for")]
    TooLarge { needs: usize },
    /// Try again: a 5xx, a broken connection, a timeout, an answer that can't be read.
    #[error("unavailable: {0}")]
    Unavailable(String),
}

impl SourceError {
    /// Every class.
    pub const CLASSES: [&str; 8] = [
        "iterator_expired",
        "data_trimmed",
        "not_found",
        "no_stream",
        "throttled",
        "access_denied",
        "too_large",
        "unavailable",
    ];

    /// The class, for a metric's label.
    pub fn class(&self) -> &'static str {
        match self {
            Self::IteratorExpired => "iterator_expired",
            Self::DataTrimmed => "data_trimmed",
            Self::NotFound(_) => "not_found",
            Self::NoStream(_) => "no_stream",
            Self::Throttled(_) => "throttled",
            Self::AccessDenied(_) => "access_denied",
            Self::TooLarge { .. } => "too_large",
            Self::Unavailable(_) => "unavailable",
        }
    }
}

/// A table's or a stream's records. One per pipeline; it names the stream in each call, because a
/// DynamoDB table whose stream was enabled anew has two for a day: the old one to finish, the new one after.
///
/// No method retries (the callers do, with the clock they were given), and none waits longer than its
/// own request timeout, but for the pacing that [`Self::list_shards`] keeps.
#[async_trait]
pub trait StreamSource: Send + Sync + 'static {
    /// The stream that takes new records now.
    async fn current(&self) -> Result<StreamArn, SourceError>;

    /// All streams that the service still has of the table, disabled ones too, in any order. Of a source
    /// that is one stream: that one.
    async fn streams(&self) -> Result<Vec<StreamArn>, SourceError>;

    /// Which images the records hold, as the service last said; `None` where nobody asked yet, or there are none.
    fn view(&self) -> Option<View> {
        None
    }

    /// The service's own clock, from an answer's `Date` header (RFC 9110 6.6.1: whole seconds).
    async fn service_time(&self, stream: &StreamArn) -> Result<Timestamp, SourceError>;

    /// Every shard of the stream, through all pages, paced below the service's rate limit.
    async fn list_shards(&self, stream: &StreamArn) -> Result<ShardListing, SourceError>;

    /// The shards that name `parent` as a parent. Empty may mean "not listed yet".
    async fn child_shards(&self, stream: &StreamArn, parent: &ShardId) -> Result<Vec<Shard>, SourceError>;

    /// An iterator at `position`.
    async fn iterator(
        &self,
        stream: &StreamArn,
        shard: &ShardId,
        position: &StartingPosition,
    ) -> Result<ShardIterator, SourceError>;

    /// The records at `iterator`: as many as the service gives in one answer, within what is asked for.
    async fn records(
        &self,
        stream: &StreamArn,
        iterator: &ShardIterator,
        ask: Ask,
    ) -> Result<RecordBatch, SourceError>;

    /// Waits, for a second at most, until [`Self::records`] has something to answer. Only a source that pushes
    /// its records has anything to wait for. Called before memory is reserved for the answer; dropping it loses
    /// nothing.
    async fn ready(&self, _stream: &StreamArn, _iterator: &ShardIterator) -> Result<Ready, SourceError> {
        Ok(Ready::Ask)
    }

    /// How long to wait after a read that gave `records` of together `bytes`, before the next of the shard.
    fn wait_after(&self, poll: Poll, records: usize, _bytes: usize) -> Duration {
        if records > 0 { poll.busy } else { poll.idle }
    }

    /// How long the service keeps records. `None`: not known (yet). Asks nobody.
    fn retention(&self) -> Option<Duration> {
        None
    }

    /// Whether [`StartingPosition::AtTimestamp`] may be asked for. DynamoDB Streams has no such iterator.
    fn has_timestamps(&self) -> bool;

    /// Whether a record may be an aggregate of the Kinesis Producer Library.
    fn has_aggregates(&self) -> bool {
        false
    }

    /// The most bytes one answer of [`Self::records`] takes in memory, for the budget.
    fn largest_answer(&self) -> usize;

    /// The most records of one answer.
    fn most_records(&self) -> usize {
        1_000
    }

    /// What an answer took in memory while it was read, that gave `records` of together `bytes`.
    fn answer_of(&self, _records: usize, bytes: usize) -> usize {
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_a_class_of_its_own() {
        let text = String::new;
        let errors = [
            SourceError::IteratorExpired,
            SourceError::DataTrimmed,
            SourceError::NotFound(text()),
            SourceError::NoStream(text()),
            SourceError::Throttled(text()),
            SourceError::AccessDenied(text()),
            SourceError::TooLarge { needs: 1 },
            SourceError::Unavailable(text()),
        ];
        assert_eq!(errors.map(|error| error.class()), SourceError::CLASSES);
    }

    #[test]
    fn sequence_numbers_order_as_numbers() {
        let n = |s| SequenceNumber::parse(s).unwrap();
        for (small, large) in [
            ("9", "10"),
            ("0099", "100"),
            ("300000000000000499659", "1300000000000000499659"),
            (
                "49680440460702199733056989047503093420815795297967931426",
                "49680440460702199733056989047503093420815795297967931427",
            ),
        ] {
            assert!(n(small) < n(large), "{small} < {large}");
        }
        assert_eq!(n("7").cmp(&n("7")), Ordering::Equal);
        assert_ne!(n("07").cmp(&n("7")), Ordering::Equal, "Ord must agree with Eq");
    }

    #[test]
    fn sequence_numbers_are_digits_only() {
        for bad in ["", "TRIM_HORIZON", "-1", "1.0", "1e3", " 1", "१"] {
            assert!(SequenceNumber::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn an_arn_tells_table_label_region_and_account() {
        let arn = StreamArn::new(
            "arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/2024-11-09T08:12:19.138",
        );
        assert_eq!(arn.table(), Some("orders"));
        assert_eq!(arn.label(), Some("2024-11-09T08:12:19.138"));
        assert_eq!(arn.region(), Some("eu-west-1"));
        assert_eq!(arn.account(), Some("111122223333"));
        assert_eq!(arn.kinesis_name(), None);
        assert_eq!(StreamArn::new("nonsense").table(), None);
        let plain = "arn:aws:kinesis:eu-west-1:111122223333:stream/audit";
        let arn = StreamArn::kinesis(plain, Some(1_700_000_000));
        assert_eq!(arn.kinesis_name(), Some("audit"));
        assert_eq!((arn.service_arn(), arn.label()), (plain, Some("1700000000")));
        assert_eq!((arn.table(), arn.account()), (None, Some("111122223333")));
        assert_eq!(StreamArn::kinesis(plain, None).as_str(), plain);
    }
}
