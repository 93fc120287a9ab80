//! What the records of a stream hold, and what is to become of each.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

/// The text of an event that CloudWatch Logs may be told to refuse.
pub const MARK: &str = "refuse-this-event";
/// The text of the attribute `card`: of no use to whoever reads the log.
pub const SECRET: &str = "4000-1234-5678-9010";

const DAY: i64 = 24 * 3_600_000;

/// Milliseconds since the epoch.
pub fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_millis() as i64
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Good,
    /// A subscription envelope of three events (Kinesis).
    Envelope,
    /// A check of the stream's health by CloudWatch Logs (Kinesis).
    Control,
    /// Its event is of 15 days ago.
    TooOld,
    /// Its event lies three hours ahead.
    TooNew,
    /// Its event is of two days ago, in a group that keeps one.
    Expired,
    /// Its event holds [`MARK`].
    Marked,
    /// Four of these fill a batch to the last byte (Kinesis).
    Quarter,
    /// Its event is a little larger than a log event may be (Kinesis).
    Oversize,
    /// A JSON object that is as large, with [`MARK`] in its last part (Kinesis).
    Torn,
    /// A JSON object with a [`SECRET`] in it (Kinesis).
    Json,
    /// The same under gzip (Kinesis).
    Sealed,
    /// An envelope whose type is a [`SECRET`] (Kinesis).
    Blurted,
    /// Little under gzip, and three times what a log event may be without (Kinesis).
    Bomb,
    /// An envelope of a log group that nobody allowed (Kinesis).
    Foreign,
    /// What a filter leaves out (DynamoDB).
    Draft,
    /// It holds nothing (Kinesis).
    Empty,
    /// A change without a time; of Kinesis, gzip that is damaged.
    Undecodable,
    /// An envelope of a type that nobody knows (Kinesis).
    UnknownMessage,
}

/// What is to become of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// So many events are in the log.
    Delivered(u32),
    /// A dead letter of this reason.
    Letter(&'static str),
    Filtered,
}

impl Kind {
    /// With the settings of most tests; see [`crate::world::Settings`].
    pub fn fate(self) -> Fate {
        match self {
            Self::Good | Self::Quarter | Self::Oversize | Self::Json | Self::Bomb | Self::Draft => {
                Fate::Delivered(1)
            }
            Self::Envelope => Fate::Delivered(3),
            Self::Control => Fate::Filtered,
            Self::TooOld => Fate::Letter("too_old"),
            Self::TooNew => Fate::Letter("too_new"),
            Self::Expired => Fate::Letter("expired"),
            Self::Marked | Self::Torn => Fate::Letter("invalid"),
            Self::Foreign => Fate::Letter("no_destination"),
            Self::Empty => Fate::Letter("empty"),
            Self::Undecodable | Self::UnknownMessage | Self::Sealed | Self::Blurted => {
                Fate::Letter("undecodable")
            }
        }
    }

    /// The time of its event, where it came in at this one.
    pub fn time(self, at: i64) -> i64 {
        match self {
            Self::TooOld => at - 15 * DAY,
            Self::Expired => at - 2 * DAY,
            Self::TooNew => at + DAY / 8,
            _ => at,
        }
    }

    /// The message of its event (Kinesis).
    pub fn text(self, unit: &Unit) -> String {
        match self {
            Self::Marked => format!("{unit} {MARK}"),
            Self::Oversize => format!("{unit}{}", "x".repeat(1_048_551)),
            Self::Bomb => format!("{unit}{}", "x".repeat(3 << 20)),
            Self::Json | Self::Sealed => json!({ "unit": unit.to_string(), "card": SECRET }).to_string(),
            Self::Torn => {
                let long = "x".repeat(1_100_000) + MARK;
                json!({ "unit": unit.to_string(), "card": SECRET, "long": long }).to_string()
            }
            Self::Quarter => {
                let unit = unit.to_string();
                let rest = 1_048_576 / 4 - 26 - unit.len();
                unit + &"x".repeat(rest)
            }
            _ => format!("{unit} and no more"),
        }
    }

    /// A record of DynamoDB Streams, as GetRecords gives it.
    pub fn change(self, unit: &Unit, sequence: &str, at: i64) -> Value {
        let status = if self == Self::Draft { "draft" } else { "placed" };
        let mut record = json!({
            "eventID": format!("{sequence}-id"), "eventName": "INSERT", "eventVersion": "1.1",
            "eventSource": "aws:dynamodb", "awsRegion": "eu-west-1",
            "dynamodb": {
                // The service gives whole seconds.
                "ApproximateCreationDateTime": self.time(at) / 1000,
                "Keys": { "id": { "S": unit.to_string() } },
                "NewImage": {
                    "id": { "S": unit.to_string() }, "text": { "S": self.text(unit) },
                    "status": { "S": status }, "card": { "S": SECRET },
                },
                "SequenceNumber": sequence, "SizeBytes": 60, "StreamViewType": "NEW_AND_OLD_IMAGES",
            },
        });
        if self == Self::Undecodable
            && let Some(change) = record["dynamodb"].as_object_mut()
        {
            change.remove("ApproximateCreationDateTime");
        }
        record
    }

    /// The bytes of a Kinesis record.
    pub fn bytes(self, unit: &Unit, at: i64) -> Vec<u8> {
        let events = |count: u32| -> Vec<Value> {
            let event = |part| {
                let text = self.text(&Unit { part, ..unit.clone() });
                json!({ "id": format!("{part}"), "timestamp": self.time(at), "message": text })
            };
            (0..count).map(event).collect()
        };
        match self {
            Self::Good
            | Self::Marked
            | Self::Oversize
            | Self::Quarter
            | Self::Torn
            | Self::Json
            | Self::Draft => self.text(unit).into_bytes(),
            Self::Empty => Vec::new(),
            Self::Sealed | Self::Bomb => gzip(&self.text(unit)),
            Self::Envelope => gzip(&envelope("DATA_MESSAGE", "/orders", &events(3))),
            Self::TooOld | Self::TooNew | Self::Expired => {
                gzip(&envelope("DATA_MESSAGE", "/orders", &events(1)))
            }
            Self::Foreign => gzip(&envelope("DATA_MESSAGE", "/payroll", &events(1))),
            Self::UnknownMessage => gzip(&envelope("NEWS_MESSAGE", "/orders", &events(1))),
            Self::Blurted => gzip(&envelope(SECRET, "/orders", &events(1))),
            Self::Control => {
                let text = "CWL CONTROL MESSAGE: Checking health of destination Kinesis stream.";
                let event = json!({ "id": "", "timestamp": at, "message": text });
                gzip(&envelope("CONTROL_MESSAGE", "", &[event]))
            }
            Self::Undecodable => {
                let mut bytes = gzip(&envelope("DATA_MESSAGE", "/orders", &events(1)));
                bytes.truncate(bytes.len() / 2);
                bytes
            }
        }
    }
}

fn envelope(kind: &str, group: &str, events: &[Value]) -> String {
    json!({
        "messageType": kind, "owner": "111122223333", "logGroup": group, "logStream": "s",
        "subscriptionFilters": ["f"], "logEvents": events,
    })
    .to_string()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// What an event of the log says of where it came from: the shard, the record's place in it from 0, and the
/// event's in the record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unit {
    pub shard: String,
    pub record: usize,
    pub part: u32,
}

impl std::fmt::Display for Unit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "unit:{}/{}/{};", self.shard, self.record, self.part)
    }
}

impl Unit {
    /// The unit that a message tells of.
    pub fn of(message: &str) -> Option<Self> {
        let (_, after) = message.split_once("unit:")?;
        let (unit, _) = after.split_once(';')?;
        let mut parts = unit.split('/');
        Some(Self {
            shard: parts.next()?.to_owned(),
            record: parts.next()?.parse().ok()?,
            part: parts.next()?.parse().ok()?,
        })
    }
}
