//! The stream: shards that are open from the start, and iterators that are places in them. Nothing here has state but
//! the canned records; time makes new ones where there is a rate.

use serde_json::{Value, json};

use crate::answer::{Answer, Refused, refused, text};
use crate::canned::{Canned, Part, Rate, sequence, sequence_prefix};
use crate::options::{Fake, Kind};

pub struct Stream {
    pub arn: String,
    pub of: Fake,
    pub canned: Canned,
    start: u64,
}

/// Records of one page of a listing: the services' own.
const CHANGE_PAGE: usize = 100;
const KINESIS_PAGE: usize = 1_000;

impl Stream {
    pub fn new(of: &Fake, millis: u64) -> Self {
        let arn = match of.kind {
            Kind::Change => {
                "arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/2025-01-01T00:00:00.000"
            }
            _ => "arn:aws:kinesis:eu-west-1:111122223333:stream/orders",
        };
        Self {
            arn: arn.to_owned(),
            canned: Canned::new(of, millis),
            of: of.clone(),
            start: millis,
        }
    }

    pub fn id(&self, shard: usize) -> String {
        match self.of.kind {
            Kind::Change => format!("shardId-0000000170000000{shard:04}-0a1b2c3d"),
            _ => format!("shardId-{shard:012}"),
        }
    }

    pub fn find(&self, id: &str) -> Option<usize> {
        let digits = match self.of.kind {
            Kind::Change => id.get(24..28)?,
            _ => id.get(8..20)?,
        };
        digits
            .parse()
            .ok()
            .filter(|shard| *shard < self.of.shards && self.id(*shard) == id)
    }

    fn rate(&self, shard: usize) -> Option<Rate> {
        let every = 1e3 / self.of.rate?;
        // The shards' records don't come at the same moment; the first after what a start takes.
        let first = every * shard as f64 / self.of.shards as f64;
        Some(Rate {
            start: self.start as f64,
            every,
            first,
        })
    }

    /// The records there are by now.
    fn there(&self, shard: usize, now: u64) -> u64 {
        let all = self.of.of_shard();
        self.rate(shard).map_or(all, |rate| rate.by(now).min(all))
    }

    /// What an iterator gives.
    pub fn part(&self, iterator: &str, limit: Option<u64>, now: u64) -> Result<Part, Refused> {
        let parts = || {
            let (shard, place) = iterator.strip_prefix('s')?.split_once('@')?;
            let shard: usize = shard.parse().ok().filter(|shard| *shard < self.of.shards)?;
            Some((shard, place.parse::<u64>().ok()?))
        };
        let (shard, from) =
            parts().ok_or_else(|| refused("ValidationException", format!("the iterator {iterator:?}")))?;
        let there = self.there(shard, now);
        let most = limit.map_or(self.canned.most(), |limit| self.canned.most().min(limit as usize));
        let count = most.min(there.saturating_sub(from) as usize);
        let rate = self.rate(shard);
        let next = from + count as u64;
        let behind = match rate {
            _ if next >= there => 0,
            Some(rate) => now.saturating_sub(rate.time(next)),
            None => now.saturating_sub(self.start),
        };
        Ok(Part {
            shard,
            from,
            count,
            rate,
            behind,
        })
    }

    pub fn answer(&self, operation: &str, body: &Value, now: u64) -> Answer {
        match (self.of.kind, operation) {
            (Kind::Change, "ListStreams") => Ok(
                json!({ "Streams": [{ "StreamArn": self.arn, "TableName": "orders", "StreamLabel": "2025-01-01T00:00:00.000" }] }),
            ),
            (Kind::Change, "DescribeStream") => Ok(self.describe(body)),
            (_, "GetShardIterator") => self.iterator(body, now),
            (Kind::Plain | Kind::Audit | Kind::Kpl, "ListShards") => Ok(self.list(body)),
            (Kind::Plain | Kind::Audit | Kind::Kpl, "DescribeStreamSummary") => {
                Ok(json!({ "StreamDescriptionSummary": self.summary() }))
            }
            (Kind::Plain | Kind::Audit | Kind::Kpl, "DescribeStream") => {
                let (shards, last) = self.page(body["ExclusiveStartShardId"].as_str(), CHANGE_PAGE);
                let mut description = self.summary();
                description["HasMoreShards"] = last.is_some().into();
                description["Shards"] = shards.into();
                Ok(json!({ "StreamDescription": description }))
            }
            _ => Err(refused("UnknownOperationException", operation)),
        }
    }

    fn summary(&self) -> Value {
        json!({
            "StreamName": "orders", "StreamARN": self.arn, "StreamStatus": "ACTIVE", "RetentionPeriodHours": 24,
            "StreamCreationTimestamp": 1_735_689_600, "EnhancedMonitoring": [], "EncryptionType": "NONE",
            "StreamModeDetails": { "StreamMode": "PROVISIONED" }, "OpenShardCount": self.of.shards, "ConsumerCount": 0,
        })
    }

    fn iterator(&self, body: &Value, now: u64) -> Answer {
        let id = text(body, "ShardId");
        let shard = self
            .find(id)
            .ok_or_else(|| refused("ResourceNotFoundException", format!("Shard {id} is not found")))?;
        let number = body["SequenceNumber"]
            .as_str()
            .or(body["StartingSequenceNumber"].as_str());
        let place = |number: Option<&str>| {
            let digits = number?
                .strip_prefix(sequence_prefix(self.of.kind.is_kinesis()))?
                .get(4..)?;
            digits.parse::<u64>().ok()
        };
        let place = match text(body, "ShardIteratorType") {
            "TRIM_HORIZON" => Some(0),
            "LATEST" => Some(self.there(shard, now)),
            "AT_SEQUENCE_NUMBER" => place(number),
            "AFTER_SEQUENCE_NUMBER" => place(number).map(|place| place + 1),
            "AT_TIMESTAMP" => {
                let millis = (body["Timestamp"].as_f64().unwrap_or_default() * 1e3) as u64;
                Some(match self.rate(shard) {
                    Some(rate) => rate.by(millis.saturating_sub(1)),
                    None if millis <= self.start => 0,
                    None => self.there(shard, now),
                })
            }
            _ => None,
        };
        let place = place.ok_or_else(|| refused("ValidationException", format!("an iterator for {body}")))?;
        Ok(json!({ "ShardIterator": format!("s{shard:04}@{place:012}") }))
    }

    /// Some shards behind this one; and the last of them, if there are more.
    fn page(&self, behind: Option<&str>, most: usize) -> (Vec<Value>, Option<String>) {
        let from = behind.and_then(|id| self.find(id)).map_or(0, |shard| shard + 1);
        let until = self.of.shards.min(from + most);
        let width = u128::MAX / self.of.shards as u128;
        let shards = (from..until).map(|shard| {
            let number = sequence(self.of.kind.is_kinesis(), shard, 0);
            let mut told = json!({
                "ShardId": self.id(shard), "SequenceNumberRange": { "StartingSequenceNumber": number },
            });
            if self.of.kind.is_kinesis() {
                let last = if shard + 1 == self.of.shards {
                    u128::MAX
                } else {
                    (shard as u128 + 1) * width - 1
                };
                let first = shard as u128 * width;
                told["HashKeyRange"] =
                    json!({ "StartingHashKey": first.to_string(), "EndingHashKey": last.to_string() });
            }
            told
        });
        (
            shards.collect(),
            (until < self.of.shards && until > 0).then(|| self.id(until - 1)),
        )
    }

    fn describe(&self, body: &Value) -> Value {
        let limit = body["Limit"]
            .as_u64()
            .map_or(CHANGE_PAGE, |limit| CHANGE_PAGE.min(limit as usize));
        // No shard has children.
        let (shards, last) = match body["ShardFilter"].is_null() {
            true => self.page(body["ExclusiveStartShardId"].as_str(), limit),
            false => (Vec::new(), None),
        };
        let mut description = json!({
            "StreamArn": self.arn, "TableName": "orders", "StreamStatus": "ENABLED",
            "StreamViewType": "NEW_AND_OLD_IMAGES", "StreamLabel": "2025-01-01T00:00:00.000",
            "CreationRequestDateTime": 1_735_689_600, "Shards": shards,
            "KeySchema": [{ "AttributeName": "id", "KeyType": "HASH" }],
        });
        if let Some(last) = last {
            description["LastEvaluatedShardId"] = last.into();
        }
        json!({ "StreamDescription": description })
    }

    fn list(&self, body: &Value) -> Value {
        let most = body["MaxResults"]
            .as_u64()
            .map_or(KINESIS_PAGE, |most| KINESIS_PAGE.min(most as usize));
        let after = match body["ShardFilter"]["Type"].as_str() {
            Some("AFTER_SHARD_ID") => body["ShardFilter"]["ShardId"].as_str(),
            _ => body["ExclusiveStartShardId"].as_str(),
        };
        let (shards, last) = self.page(body["NextToken"].as_str().or(after), most);
        let mut answer = json!({ "Shards": shards });
        if let Some(last) = last {
            answer["NextToken"] = last.into();
        }
        answer
    }
}
