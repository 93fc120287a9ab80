//! What a filter is shown of a record of Kinesis: the fields of Lambda's event, and where its envelope is from.
//!
//! Pure.

use std::borrow::Cow;

use crate::clock::Timestamp;
use crate::decode::Envelope;
use crate::json::Tree;
use crate::stream::Record;

/// The document of one event, whose message is `data`. What a record doesn't tell is absent.
pub fn of_kinesis<'a>(data: Tree<'a>, record: &'a Record, envelope: Option<&'a Envelope>) -> Tree<'a> {
    let sequence_number = Some(record.sequence_number.as_str());
    let told = |of: fn(&Envelope) -> &str| envelope.map(of).filter(|text| !text.is_empty());
    let texts = [
        ("partitionKey", record.partition_key.as_deref()),
        ("sequenceNumber", sequence_number),
        ("logGroup", told(|e| &e.log_group)),
        ("logStream", told(|e| &e.log_stream)),
        ("owner", told(|e| &e.owner)),
    ];
    let texts = texts
        .into_iter()
        .filter_map(|(name, text)| Some((Cow::Borrowed(name), Tree::text(text?))));
    let arrived = record.time.map(|time| {
        let name = Cow::Borrowed("approximateArrivalTimestamp");
        (name, Tree::Number(seconds(time).into()))
    });
    let data = (Cow::Borrowed("data"), data);
    Tree::Object(std::iter::once(data).chain(texts).chain(arrived).collect())
}

/// The message that a document was made of.
pub fn data(document: Tree<'_>) -> Option<Tree<'_>> {
    match document {
        Tree::Object(members) => members.into_iter().next().map(|(_, data)| data),
        _ => None,
    }
}

/// As JSON spells it, exactly: 1700000000.12
fn seconds(time: Timestamp) -> String {
    let millis = time.millis();
    let sign = if millis < 0 { "-" } else { "" };
    let (whole, fraction) = (millis.unsigned_abs() / 1000, millis.unsigned_abs() % 1000);
    let text = format!("{sign}{whole}.{fraction:03}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::stream::SequenceNumber;

    #[test]
    fn a_filter_sees_what_lambda_tells_and_the_envelope() {
        let mut record = Record::new(
            SequenceNumber::parse("49").unwrap(),
            Some(Timestamp::from_millis(1_700_000_000_120)),
            Bytes::new(),
        );
        let bare = of_kinesis(Tree::text("x"), &record, None).to_string();
        assert_eq!(
            bare,
            r#"{"data":"x","sequenceNumber":"49","approximateArrivalTimestamp":1700000000.12}"#
        );
        record.partition_key = Some("k".into());
        record.time = None;
        let envelope = Envelope {
            owner: String::new(),
            log_group: "/app".to_owned(),
            log_stream: "s".to_owned(),
        };
        let document = of_kinesis(Tree::parse("[1]").unwrap(), &record, Some(&envelope));
        assert_eq!(
            document.to_string(),
            r#"{"data":[1],"partitionKey":"k","sequenceNumber":"49","logGroup":"/app","logStream":"s"}"#
        );
        assert_eq!(data(document), Some(Tree::parse("[1]").unwrap()));
    }

    #[test]
    fn seconds_are_exact() {
        for (millis, text) in [
            (1_700_000_000_000, "1700000000"),
            (1_700_000_000_001, "1700000000.001"),
            (100, "0.1"),
            (0, "0"),
            (-1_500, "-1.5"),
        ] {
            assert_eq!(seconds(Timestamp::from_millis(millis)), text);
        }
    }
}
