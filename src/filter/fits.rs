//! Which documents there are to match, and patterns that match none of them.
//!
//! Pure. A pattern that can't match drops every event without a word: it is refused where that can be told from
//! the pattern and from what the records are read as.

use super::rule::{Rule, Scalar};
use super::{Filter, FilterError, Pattern, Wanted};
use crate::decode::{Decode, audit};
use crate::suggest;

/// The fields of a change as Lambda tells it.
const CHANGE: &[&str] = &[
    "eventID",
    "eventName",
    "eventVersion",
    "eventSource",
    "awsRegion",
    "dynamodb",
    "userIdentity",
    "eventSourceARN",
];

/// The fields of any other event of Kinesis.
const KINESIS: &[&str] = &[
    "data",
    "partitionKey",
    "sequenceNumber",
    "approximateArrivalTimestamp",
];

/// Those, and the fields of one that came in a subscription envelope.
const SUBSCRIPTION: &[&str] = &[
    "data",
    "partitionKey",
    "sequenceNumber",
    "approximateArrivalTimestamp",
    "logGroup",
    "logStream",
    "owner",
];

/// The fields that a document may have at its top, by what the records are read as.
pub fn fields_of(decode: Decode) -> &'static [&'static str] {
    match decode {
        Decode::Lambda => CHANGE,
        Decode::Audit => &audit::FIELDS,
        Decode::Auto | Decode::Subscription => SUBSCRIPTION,
        Decode::Change | Decode::Json | Decode::Text | Decode::Base64 => KINESIS,
    }
}

/// The fields below `dynamodb` (DynamoDB Streams API reference, `StreamRecord`).
const STREAM_RECORD: &[&str] = &[
    "ApproximateCreationDateTime",
    "Keys",
    "NewImage",
    "OldImage",
    "SequenceNumber",
    "SizeBytes",
    "StreamViewType",
];

const IDENTITY: &[&str] = &["type", "principalId"];

/// The types of an attribute's value (DynamoDB API reference, `AttributeValue`).
const TYPES: &[&str] = &["S", "N", "B", "BOOL", "NULL", "SS", "NS", "BS", "L", "M"];

impl Filter {
    /// Whether each of the patterns, and each branch of an `$or`, can match an event of records that are read so. Of
    /// the others the error tells the first, and where. Looks only at names and types that are known beforehand.
    pub fn fits(&self, decode: Decode) -> Result<(), FilterError> {
        for (pattern, number) in self.patterns.iter().zip(1..) {
            let mut path = Vec::new();
            let place = match decode {
                Decode::Lambda => Place::Change,
                _ => Place::Top(decode),
            };
            place.fits(pattern, &mut path).map_err(|what| {
                let path = path.join(".");
                FilterError::Pattern { number, path, what }
            })?;
        }
        Ok(())
    }
}

/// What an object of a document is.
#[derive(Clone, Copy)]
enum Place {
    /// An event that is no change.
    Top(Decode),
    Change,
    StreamRecord,
    Identity,
    /// Its names are the user's, of attributes.
    Attributes,
    /// Its name is its type.
    Attribute,
}

impl Place {
    /// On an error, `path` leads to the field it is about.
    fn fits<'p>(self, pattern: &'p Pattern, path: &mut Vec<&'p str>) -> Result<(), String> {
        for (name, wanted) in &pattern.fields {
            path.push(name);
            self.knows(name)?;
            match (self.below(name), wanted) {
                (Some(place), Wanted::Within(pattern)) => place.fits(pattern, path)?,
                (Some(Self::Attribute), Wanted::OneOf(rules)) if !rules.contains(&Rule::Absent) => {
                    return Err(
                        "is an attribute, and its value is below its type, as in {\"S\": [\"open\"]} or {\"N\": [\"5\"]}"
                            .to_owned(),
                    );
                }
                (_, Wanted::OneOf(rules)) if self.spells_numbers(name) && rules.iter().all(needs_number) => {
                    return Err(
                        "holds a number as a text, which no number and no `numeric` matches: write it in quotes, as \
                         in [\"5\"]"
                            .to_owned(),
                    );
                }
                _ => {}
            }
            path.pop();
        }
        pattern
            .either
            .iter()
            .flatten()
            .try_for_each(|branch| self.fits(branch, path))
    }

    fn knows(self, name: &str) -> Result<(), String> {
        let known = match self {
            Self::Top(decode) => fields_of(decode),
            Self::Change => CHANGE,
            Self::StreamRecord => STREAM_RECORD,
            Self::Identity => IDENTITY,
            Self::Attribute => TYPES,
            Self::Attributes => return Ok(()),
        };
        if known.contains(&name) {
            return Ok(());
        }
        let way_out = suggest::one_of(name, known);
        Err(match self {
            Self::Change if STREAM_RECORD.contains(&name) => {
                format!("is below `dynamodb`: write {{\"dynamodb\": {{\"{name}\": ...}}}}")
            }
            Self::Top(Decode::Audit) => format!("is no field of an audit line: {way_out}"),
            Self::Top(_) if SUBSCRIPTION.contains(&name) => format!(
                "comes in a subscription's envelope, and these records are not read as one: {way_out}"
            ),
            Self::Top(_) => format!(
                "is no field of this pipeline's events: {way_out} (what a message holds is below `data`, as in \
                 {{\"data\": {{\"{name}\": ...}}}})"
            ),
            Self::Attribute => format!("is no type of an attribute's value: {way_out}"),
            _ => format!("is no field of a change: {way_out}"),
        })
    }

    /// What the field of this name holds, if it is an object of a known make.
    fn below(self, name: &str) -> Option<Self> {
        match (self, name) {
            (Self::Change, "dynamodb") => Some(Self::StreamRecord),
            (Self::Change, "userIdentity") => Some(Self::Identity),
            (Self::StreamRecord, "Keys" | "NewImage" | "OldImage") | (Self::Attribute, "M") => {
                Some(Self::Attributes)
            }
            // An item of a list has a type too.
            (Self::Attributes, _) | (Self::Attribute, "L") => Some(Self::Attribute),
            _ => None,
        }
    }

    /// Whether the field holds numbers that are spelt as texts.
    fn spells_numbers(self, name: &str) -> bool {
        matches!(
            (self, name),
            (Self::Attribute, "N" | "NS") | (Self::StreamRecord, "SequenceNumber")
        )
    }
}

fn needs_number(rule: &Rule) -> bool {
    matches!(rule, Rule::Numeric(..) | Rule::Is(Scalar::Number(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(patterns: &[&str]) -> Filter {
        let patterns: Vec<serde_json::Value> = patterns.iter().map(|text| (*text).into()).collect();
        Filter::parse(&patterns).unwrap()
    }

    #[test]
    fn a_pattern_that_no_event_can_match_is_told() {
        const KINESIS: &str =
            "(what a message holds is below `data`, as in {\"data\": {\"event_type\": ...}})";
        for (decode, pattern, says) in [
            (
                Decode::Lambda,
                r#"{"eventname":["INSERT"]}"#,
                "pattern 1: `eventname` is no field of a change: did you mean `eventName`?",
            ),
            (
                Decode::Lambda,
                r#"{"NewImage":{"a":{"S":["x"]}}}"#,
                "`NewImage` is below `dynamodb`: write {\"dynamodb\": {\"NewImage\": ...}}",
            ),
            (
                Decode::Lambda,
                r#"{"data":{"a":["x"]}}"#,
                "`data` is no field of a change: use one of eventID, eventName",
            ),
            (
                Decode::Lambda,
                r#"{"dynamodb":{"NewImages":{"a":{"S":["x"]}}}}"#,
                "`dynamodb.NewImages` is no field of a change: did you mean `NewImage`?",
            ),
            (
                Decode::Lambda,
                r#"{"dynamodb":{"NewImage":{"a":["x"]}}}"#,
                "`dynamodb.NewImage.a` is an attribute, and its value is below its type",
            ),
            (
                Decode::Lambda,
                r#"{"dynamodb":{"Keys":{"a":[{"exists":true}]}}}"#,
                "`dynamodb.Keys.a` is an attribute",
            ),
            (
                Decode::Lambda,
                r#"{"dynamodb":{"OldImage":{"a":{"s":["x"]}}}}"#,
                "`dynamodb.OldImage.a.s` is no type of an attribute's value",
            ),
            (
                Decode::Lambda,
                r#"{"dynamodb":{"NewImage":{"a":{"M":{"b":["x"]}}}}}"#,
                "`dynamodb.NewImage.a.M.b` is an attribute",
            ),
            (
                Decode::Lambda,
                r#"{"dynamodb":{"NewImage":{"a":{"L":{"b":["x"]}}}}}"#,
                "`dynamodb.NewImage.a.L.b` is no type",
            ),
            (
                Decode::Lambda,
                r#"{"dynamodb":{"NewImage":{"a":{"N":[{"numeric":[">",5]}]}}}}"#,
                "`dynamodb.NewImage.a.N` holds a number as a text, which no number and no `numeric` matches",
            ),
            (
                Decode::Lambda,
                r#"{"dynamodb":{"NewImage":{"a":{"N":[5, 6]}}}}"#,
                "write it in quotes",
            ),
            (
                Decode::Lambda,
                r#"{"dynamodb":{"SequenceNumber":[300]}}"#,
                "`dynamodb.SequenceNumber` holds a number as a text",
            ),
            (
                Decode::Lambda,
                r#"{"userIdentity":{"principalID":["x"]}}"#,
                "did you mean `principalId`?",
            ),
            (
                Decode::Lambda,
                r#"{"$or":[{"eventName":["INSERT"]},{"dynamodb":{"$or":[{"SizeBytes":[1]},{"Key":{"a":{"S":["x"]}}}]}}]}"#,
                "`dynamodb.Key` is no field of a change: did you mean `Keys`?",
            ),
            (
                Decode::Audit,
                r#"{"operations":["READ"]}"#,
                "`operations` is no field of an audit line: did you mean `operation`?",
            ),
            (
                Decode::Audit,
                r#"{"data":{"operation":["READ"]}}"#,
                "`data` is no field of an audit line",
            ),
            (Decode::Auto, r#"{"event_type":["a"]}"#, KINESIS),
            (Decode::Json, r#"{"event_type":["a"]}"#, KINESIS),
            (
                Decode::Json,
                r#"{"partitionkey":["a"]}"#,
                "`partitionkey` is no field of this pipeline's events: did you mean `partitionKey`?",
            ),
            (
                Decode::Json,
                r#"{"logGroup":["a"]}"#,
                "`logGroup` comes in a subscription's envelope, and these records are not read as one",
            ),
            (
                Decode::Change,
                r#"{"dynamodb":{"Keys":{"a":{"S":["x"]}}}}"#,
                "as in {\"data\": {\"dynamodb\": ...}}",
            ),
        ] {
            let error = filter(&[pattern]).fits(decode).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        let second = filter(&[r#"{"data":["x"]}"#, r#"{"dat":["x"]}"#]);
        assert!(
            second
                .fits(Decode::Text)
                .unwrap_err()
                .to_string()
                .starts_with("pattern 2: `dat`")
        );
    }

    #[test]
    fn a_pattern_that_may_match_is_not_refused() {
        for (decode, pattern) in [
            (
                Decode::Lambda,
                r#"{"eventName":["INSERT"],"dynamodb":{"NewImage":{"any name":{"S":["x"]}}}}"#,
            ),
            (
                Decode::Lambda,
                r#"{"dynamodb":{"NewImage":{"a":[{"exists":false}]}}}"#,
            ),
            (
                Decode::Lambda,
                r#"{"dynamodb":{"NewImage":{"a":{"N":[{"numeric":[">",5]},{"anything-but":"101"}]}}}}"#,
            ),
            (
                Decode::Lambda,
                r#"{"dynamodb":{"NewImage":{"a":{"M":{"b":{"L":{"M":{"c":{"BOOL":[true]}}}}}}}}}"#,
            ),
            (
                Decode::Lambda,
                r#"{"dynamodb":{"ApproximateCreationDateTime":[{"numeric":[">",0]}],"SizeBytes":[3]}}"#,
            ),
            (
                Decode::Lambda,
                r#"{"userIdentity":{"type":["Service"],"principalId":["dynamodb.amazonaws.com"]}}"#,
            ),
            (
                Decode::Audit,
                r#"{"operation":[{"anything-but":["READ"]}],"retcode":[0]}"#,
            ),
            (
                Decode::Audit,
                r#"{"error":[{"exists":true}],"logGroup":[{"prefix":"/aws/rds"}]}"#,
            ),
            (
                Decode::Auto,
                r#"{"data":{"any":["x"]},"logStream":["x"],"$or":[{"owner":["1"]},{"data":["x"]}]}"#,
            ),
            (Decode::Subscription, r#"{"data":[{"wildcard":"*ERROR*"}]}"#),
            (
                Decode::Change,
                r#"{"data":{"dynamodb":{"Keys":{"a":{"S":["x"]}}}}}"#,
            ),
            (
                Decode::Base64,
                r#"{"partitionKey":["x"],"sequenceNumber":["1"],"approximateArrivalTimestamp":[{"numeric":[">",0]}]}"#,
            ),
        ] {
            if let Err(error) = filter(&[pattern]).fits(decode) {
                panic!("{pattern}: {error}");
            }
        }
    }
}
