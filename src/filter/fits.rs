//! Which documents there are to match, and patterns that match none of them.
//!
//! Pure. A pattern that can't match drops every event without a word: it is refused where that can be told from
//! the pattern and from what the records are read as.

use super::rule::{Rule, Scalar};
use super::{Filter, FilterError, Pattern, Wanted};
use crate::decode::{Decode, audit};
use crate::json::Tree;
use crate::json::number::Decimal;
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
            match (self.holds(name), wanted) {
                (Kind::Object(place), Wanted::Within(pattern)) => place.fits(pattern, path)?,
                (Kind::Object(place), Wanted::OneOf(_)) => return Err(place.needs_a_name()),
                (Kind::Any, _) => {}
                (kind, Wanted::Within(_)) => return Err(kind.has_no_fields()),
                (kind, Wanted::OneOf(rules)) => kind.fits(rules, self.may_be_null(name))?,
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

    /// What the field of this name holds, which is known.
    fn holds(self, name: &str) -> Kind {
        match (self, name) {
            (Self::Top(_), "data") => Kind::Any,
            (Self::Top(_), "approximateArrivalTimestamp") => Kind::Number,
            (Self::Top(_), "sequenceNumber") => Kind::Digits,
            (Self::Top(_), "timestamp") => Kind::NumberOrText,
            (Self::Top(_), "port" | "connectionid" | "queryid" | "retcode") => Kind::Number,
            (Self::Change, "dynamodb") => Kind::Object(Self::StreamRecord),
            (Self::Change, "userIdentity") => Kind::Object(Self::Identity),
            (Self::Change, "eventName") => Kind::Word(&["INSERT", "MODIFY", "REMOVE"]),
            (Self::StreamRecord, "Keys" | "NewImage" | "OldImage") | (Self::Attribute, "M") => {
                Kind::Object(Self::Attributes)
            }
            (Self::StreamRecord, "ApproximateCreationDateTime" | "SizeBytes") => Kind::Number,
            (Self::StreamRecord, "SequenceNumber") | (Self::Attribute, "N" | "NS") => Kind::Digits,
            (Self::StreamRecord, "StreamViewType") => {
                Kind::Word(&["NEW_AND_OLD_IMAGES", "NEW_IMAGE", "OLD_IMAGE", "KEYS_ONLY"])
            }
            // An item of a list has a type too.
            (Self::Attributes, _) | (Self::Attribute, "L") => Kind::Object(Self::Attribute),
            (Self::Attribute, "BOOL" | "NULL") => Kind::Bool,
            _ => Kind::Text,
        }
    }

    /// What an audit line doesn't tell, though its dialect does.
    fn may_be_null(self, name: &str) -> bool {
        matches!(self, Self::Top(_)) && matches!(name, "port" | "retcode" | "connection_type" | "tls_version")
    }

    /// Of an object no test is true, but that it isn't there, which is always true.
    fn needs_a_name(self) -> String {
        match self {
            Self::Attribute => {
                "is an attribute, and its value is below its type, as in {\"S\": [\"open\"]} or {\"N\": [\"5\"]}; \
                 {\"S\": [{\"exists\": false}]} if it is absent, or of another type"
                    .to_owned()
            }
            Self::Identity => format!("{IS_OBJECT} {{\"type\": [\"Service\"]}}"),
            Self::Attributes => format!("{IS_OBJECT} {{\"id\": {{\"S\": [{{\"exists\": true}}]}}}}"),
            Self::Change | Self::StreamRecord | Self::Top(_) => {
                format!("{IS_OBJECT} {{\"Keys\": {{\"id\": {{\"S\": [{{\"exists\": true}}]}}}}}}")
            }
        }
    }
}

const IS_OBJECT: &str =
    "is an object, of which no value and no `exists` tells anything: name something below it, as in";

/// What a field holds.
#[derive(Clone, Copy)]
enum Kind {
    Object(Place),
    /// Someone else's JSON.
    Any,
    NumberOrText,
    Number,
    Text,
    /// A text that spells a number.
    Digits,
    /// One of these texts.
    Word(&'static [&'static str]),
    Bool,
}

impl Kind {
    /// Whether a value of this kind may match one of the rules.
    fn fits(self, rules: &[Rule], may_be_null: bool) -> Result<(), String> {
        if let Self::Word(words) = self {
            let is_unknown = |rule: &Rule| match rule {
                Rule::Is(Scalar::Text(text)) if !words.contains(&text.as_str()) => Some(text.clone()),
                _ => None,
            };
            let unknown = rules.iter().find_map(|rule| match rule {
                // To keep out one that never comes, beside one that does, is a harmless habit.
                Rule::AnythingBut(others) if others.iter().any(|other| is_unknown(other).is_none()) => None,
                Rule::AnythingBut(others) => others.iter().find_map(is_unknown),
                rule => is_unknown(rule),
            });
            if let Some(text) = unknown {
                let way_out = suggest::one_of(&text, words);
                return Err(format!("is never `{text}`: {way_out}"));
            }
        }
        match rules.iter().any(|rule| self.may_match(rule, may_be_null)) {
            true => Ok(()),
            false => Err(self.way_out(rules)),
        }
    }

    fn may_match(self, rule: &Rule, may_be_null: bool) -> bool {
        let is_text = matches!(self, Self::NumberOrText | Self::Text | Self::Digits);
        match rule {
            Rule::Exists | Rule::Absent => true,
            Rule::Is(Scalar::Null) => may_be_null,
            Rule::Is(Scalar::Bool(_)) => matches!(self, Self::Bool),
            Rule::Is(Scalar::Number(_)) | Rule::Numeric(..) => {
                matches!(self, Self::Number | Self::NumberOrText)
            }
            Rule::Is(Scalar::Text(_)) | Rule::Text(_) | Rule::Cidr(_) => match self {
                Self::Word(words) => words.iter().any(|word| rule.matches(&Tree::text(*word))),
                _ => is_text,
            },
            // What can't be there need not be kept out: it was meant otherwise.
            Rule::AnythingBut(rules) => rules.iter().any(|rule| self.may_match(rule, may_be_null)),
        }
    }

    /// Why none of the rules matches, and what to write.
    fn way_out(self, rules: &[Rule]) -> String {
        let first = rules.iter().find_map(|rule| match rule {
            Rule::Is(scalar) => Some(scalar),
            Rule::AnythingBut(rules) => rules.iter().find_map(|rule| match rule {
                Rule::Is(scalar) => Some(scalar),
                _ => None,
            }),
            _ => None,
        });
        match (self, first) {
            (Self::Digits, Some(Scalar::Number(number))) => {
                format!("{IS_DIGITS}, which no number and no `numeric` matches: {}", quoted(number))
            }
            (Self::Digits, _) => format!(
                "{IS_DIGITS}, which no number and no `numeric` matches: it can't be compared, only be equal or not, as \
                 in [\"5\"] or [{{\"anything-but\": \"5\"}}]"
            ),
            (Self::Number, Some(Scalar::Text(text))) if Decimal::of_json(text).is_some() => {
                format!("holds a number, which no text matches: write {text} without quotes, as in [{text}]")
            }
            (Self::Number, _) => {
                "holds a number, which nothing else matches: write one, as in [0] or [{\"numeric\": [\">\", 0]}]"
                    .to_owned()
            }
            (Self::Bool, _) => "holds true or false: write [true] or [false], without quotes".to_owned(),
            (Self::Word(words), _) => format!("is never so: {}", suggest::one_of("", words)),
            (_, Some(Scalar::Number(number))) => {
                format!("holds a text, which no number matches: {}", quoted(number))
            }
            (_, Some(Scalar::Bool(is))) => {
                format!("holds a text, which {is} is not: write {is} in quotes, as in [\"{is}\"]")
            }
            (_, Some(Scalar::Null)) => "is never null: write [{\"exists\": false}] if it is absent".to_owned(),
            _ => "holds a text, which no `numeric` matches: write it in quotes, as in [\"5\"]".to_owned(),
        }
    }

    fn has_no_fields(self) -> String {
        let example = match self {
            Self::Number => "[0]",
            Self::Bool => "[true]",
            Self::Digits => "[\"5\"]",
            Self::Word([word, ..]) => return format!("{HAS_NO_FIELDS} [\"{word}\"]"),
            _ => "[\"open\"]",
        };
        format!("{HAS_NO_FIELDS} {example}")
    }
}

fn quoted(number: &Decimal) -> String {
    match number.to_string() {
        // Not as it was written.
        text if text.contains('e') => "write it in quotes, as in [\"5\"]".to_owned(),
        text => format!("write {text} in quotes, as in [\"{text}\"]"),
    }
}

const IS_DIGITS: &str = "holds a number as a text (as DynamoDB and Kinesis write numbers)";
const HAS_NO_FIELDS: &str = "is no object and has no fields: put its values in a list, as in";

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
                "`dynamodb.NewImage.a.N` holds a number as a text (as DynamoDB and Kinesis write numbers), which no number \
                 and no `numeric` matches: it can't be compared",
            ),
            (
                Decode::Lambda,
                r#"{"dynamodb":{"NewImage":{"a":{"N":[5, 6]}}}}"#,
                "write 5 in quotes, as in [\"5\"]",
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
        for (pattern, says) in [
            // Of another type.
            (
                r#"{"a":{"S":[12345]}}"#,
                "a.S` holds a text, which no number matches: write 12345 in quotes, as in [\"12345\"]",
            ),
            (
                r#"{"a":{"S":[{"numeric":[">",5]}]}}"#,
                "holds a text, which no `numeric` matches",
            ),
            (r#"{"a":{"S":[true]}}"#, "write true in quotes, as in [\"true\"]"),
            (r#"{"a":{"S":[null]}}"#, "is never null"),
            (r#"{"a":{"S":[{"anything-but":[5]}]}}"#, "write 5 in quotes"),
            (
                r#"{"a":{"S":{"b":["x"]}}}"#,
                "is no object and has no fields: put its values in a list, as in [\"open\"]",
            ),
            (r#"{"a":{"S":[1.5]}}"#, "write it in quotes, as in [\"5\"]"),
            (r#"{"a":{"SS":[1]}}"#, "write 1 in quotes"),
            (r#"{"a":{"NS":[1]}}"#, "write 1 in quotes"),
            (r#"{"a":{"N":[{"anything-but":[5]}]}}"#, "write 5 in quotes"),
            (
                r#"{"a":{"BOOL":["true"]}}"#,
                "holds true or false: write [true] or [false], without quotes",
            ),
            (r#"{"a":{"NULL":["x"]}}"#, "holds true or false"),
            (r#"{"a":{"M":["x"]}}"#, "a.M` is an object"),
            (r#"{"a":{"L":["x"]}}"#, "as in {\"S\": [\"open\"]}"),
            // Of an object.
            (
                r#"{"a":[{"exists":false}]}"#,
                "{\"S\": [{\"exists\": false}]} if it is absent",
            ),
            (r#"{"a":{"M":[{"exists":false}]}}"#, "name something below it"),
        ] {
            let pattern = format!(r#"{{"dynamodb":{{"NewImage":{pattern}}}}}"#);
            let error = filter(&[&pattern]).fits(Decode::Lambda).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        for (decode, pattern, says) in [
            (
                Decode::Lambda,
                r#"{"eventName":[1]}"#,
                "`eventName` is never so: use one of INSERT, MODIFY, REMOVE",
            ),
            (
                Decode::Lambda,
                r#"{"eventName":["insert"]}"#,
                "`eventName` is never `insert`: did you mean `INSERT`?",
            ),
            (
                Decode::Lambda,
                r#"{"eventName":["INSERT","UPDATE"]}"#,
                "is never `UPDATE`: use one of INSERT",
            ),
            (
                Decode::Lambda,
                r#"{"eventName":[{"anything-but":["DELETE"]}]}"#,
                "is never `DELETE`",
            ),
            (
                Decode::Lambda,
                r#"{"eventName":[{"prefix":"UP"}]}"#,
                "is never so",
            ),
            (
                Decode::Lambda,
                r#"{"dynamodb":{"StreamViewType":["NEW_IMAGES"]}}"#,
                "did you mean `NEW_IMAGE`?",
            ),
            (
                Decode::Lambda,
                r#"{"dynamodb":{"SizeBytes":["59"]}}"#,
                "write 59 without quotes, as in [59]",
            ),
            (
                Decode::Lambda,
                r#"{"dynamodb":{"OldImage":[{"exists":true}]}}"#,
                "`dynamodb.OldImage` is an object",
            ),
            (
                Decode::Lambda,
                r#"{"dynamodb":{"NewImage":[{"exists":false}]}}"#,
                "name something below it, as in {\"id\"",
            ),
            (
                Decode::Lambda,
                r#"{"dynamodb":[{"exists":true}]}"#,
                "name something below it, as in {\"Keys\"",
            ),
            (
                Decode::Lambda,
                r#"{"userIdentity":[{"exists":true}]}"#,
                "as in {\"type\": [\"Service\"]}",
            ),
            (
                Decode::Json,
                r#"{"partitionKey":[12345]}"#,
                "write 12345 in quotes, as in [\"12345\"]",
            ),
            (Decode::Json, r#"{"sequenceNumber":[49]}"#, "write 49 in quotes"),
            (
                Decode::Json,
                r#"{"approximateArrivalTimestamp":["2026"]}"#,
                "write 2026 without quotes",
            ),
            (
                Decode::Auto,
                r#"{"owner":[111122223333]}"#,
                "write 111122223333 in quotes",
            ),
            (
                Decode::Audit,
                r#"{"retcode":["0"]}"#,
                "write 0 without quotes, as in [0]",
            ),
            (
                Decode::Audit,
                r#"{"connectionid":["17"]}"#,
                "write 17 without quotes",
            ),
            (Decode::Audit, r#"{"connectionid":[null]}"#, "holds a number"),
            (
                Decode::Audit,
                r#"{"port":[{"prefix":"33"}]}"#,
                "holds a number, which nothing else matches",
            ),
            (Decode::Audit, r#"{"timestamp":{"x":[1]}}"#, "has no fields"),
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
                r#"{"eventName":[{"anything-but":["DELETE","REMOVE"]}]}"#,
            ),
            (
                Decode::Lambda,
                r#"{"eventName":["INSERT"],"dynamodb":{"NewImage":{"any name":{"S":["x"]}}}}"#,
            ),
            (
                Decode::Lambda,
                r#"{"dynamodb":{"NewImage":{"a":{"S":[{"exists":false}]}}}}"#,
            ),
            (
                Decode::Lambda,
                r#"{"eventName":[{"anything-but":["REMOVE"]}],"userIdentity":{"type":[{"exists":false}]}}"#,
            ),
            (
                Decode::Lambda,
                r#"{"eventName":[{"prefix":"IN"},{"equals-ignore-case":"remove"}],"dynamodb":{"StreamViewType":["KEYS_ONLY"]}}"#,
            ),
            (
                Decode::Lambda,
                r#"{"dynamodb":{"NewImage":{"a":{"SS":["x"],"NS":["1"],"NULL":[true],"B":["AA=="]}}}}"#,
            ),
            (
                Decode::Audit,
                r#"{"timestamp":[{"numeric":[">",0]},{"prefix":"2026"}],"port":[null],"tls_version":[null],"connectionid":[17]}"#,
            ),
            (Decode::Json, r#"{"data":[{"exists":false}]}"#),
            (
                Decode::Json,
                r#"{"data":{"eventName":[1],"x":[{"exists":true}]}}"#,
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
