use aws_sdk_dynamodbstreams::Client;
use proptest::prelude::*;

use crate::aws::canned::{self, Canned};
use crate::clock::SystemClock;
use crate::config::{StreamChoice, Wire};
use crate::decode::change::log_event;
use crate::json::Tree;
use crate::json::number::Decimal;
use crate::stream::dynamodb::DynamoDbStreams;
use crate::stream::{Ask, Next, RecordBatch, ShardIterator, SourceError, StreamArn, StreamSource};

const ARN: &str = "arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/2026-01-02T03:04:05.678";

/// What a read of this answer gives, on this path.
fn read(wire: Wire, body: &str) -> Result<RecordBatch, SourceError> {
    let canned = Canned::new([canned::ok(body)]);
    let arn = StreamArn::new(ARN);
    let source = DynamoDbStreams::new(
        aws_sdk_dynamodb::Client::new(&canned.config()),
        Client::new(&canned.config()),
        StreamChoice::Arn(arn.clone()),
        wire,
        std::sync::Arc::new(SystemClock),
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(source.records(&arn, &ShardIterator::new("i"), Ask::ALL))
}

fn messages(batch: &RecordBatch) -> Vec<String> {
    let message = |record| log_event(record, &StreamArn::new(ARN)).unwrap().message;
    batch.records.iter().map(message).collect()
}

/// Whether two texts say the same: objects in any order, numbers by their value, all other values as they are.
fn say_the_same(one: &Tree<'_>, other: &Tree<'_>) -> bool {
    match (one, other) {
        (Tree::Number(one), Tree::Number(other)) => {
            Decimal::of_json(one).unwrap() == Decimal::of_json(other).unwrap()
        }
        (Tree::List(one), Tree::List(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| say_the_same(one, other))
        }
        (Tree::Object(one), Tree::Object(members)) => {
            one.len() == members.len()
                && one
                    .iter()
                    .all(|(name, value)| other.get(name).is_some_and(|it| say_the_same(value, it)))
        }
        (one, other) => one == other,
    }
}

fn names(tree: &Tree<'_>) -> Vec<String> {
    let Tree::Object(members) = tree else {
        panic!("{tree}")
    };
    members.iter().map(|(name, _)| name.to_string()).collect()
}

/// Reads the answer in both ways; what comes of it, if both say the same.
fn both(body: &str) -> Vec<String> {
    let [raw, sdk] = [Wire::Raw, Wire::Sdk].map(|wire| read(wire, body).unwrap());
    assert_eq!(raw.next, sdk.next);
    let places = |batch: &RecordBatch| -> Vec<_> {
        let records = batch.records.iter();
        records.map(|record| (record.place(), record.time)).collect()
    };
    assert_eq!(places(&raw), places(&sdk), "{body}");
    for (raw, sdk) in messages(&raw).iter().zip(&messages(&sdk)) {
        let [raw, sdk] = [raw, sdk].map(|message| Tree::parse(message).unwrap());
        assert!(say_the_same(&raw, &sdk), "{raw}\n{sdk}");
        assert_eq!(names(&raw), names(&sdk), "the envelope's order");
        let [raw, sdk] = [raw, sdk].map(|message| names(message.get("dynamodb").unwrap()));
        assert_eq!(raw, sdk, "the change's order");
    }
    messages(&sdk)
}

#[test]
fn the_plain_path_writes_what_was_on_the_wire() {
    let image = r#"{"b":{"B":"AAEC/w=="},"bs":{"BS":["AA==","/w=="]},"empty":{"S":""},"l":{"L":[{"NULL":true},{"BOOL":false},{"M":{}},{"L":[]}]},"n":{"N":"12345678901234567890123456789012345678"},"ns":{"NS":["1","2.50","-1E-130"]},"q\"\n":{"S":"a \"quoted\"\nline, é日😀"},"ss":{"SS":["x","y"]}}"#;
    let record = format!(
        r#"{{"awsRegion":"eu-west-1","dynamodb":{{"ApproximateCreationDateTime":1.767323045E9,"Keys":{{"id":{{"S":"k"}}}},"NewImage":{image},"OldImage":{image},"SequenceNumber":"300000000000000499659","SizeBytes":41,"StreamViewType":"NEW_AND_OLD_IMAGES"}},"eventID":"e2fd9c34","eventName":"MODIFY","eventSource":"aws:dynamodb","eventVersion":"1.0","userIdentity":{{"PrincipalId":"dynamodb.amazonaws.com","Type":"Service"}}}}"#
    );
    let told = both(&format!(
        r#"{{"Records":[{record}],"NextShardIterator":"a/b|c"}}"#
    ));
    let expected = format!(
        r#"{{"eventID":"e2fd9c34","eventName":"MODIFY","eventVersion":"1.1","eventSource":"aws:dynamodb","awsRegion":"eu-west-1","dynamodb":{{"ApproximateCreationDateTime":1767323045,"Keys":{{"id":{{"S":"k"}}}},"NewImage":{image},"OldImage":{image},"SequenceNumber":"300000000000000499659","SizeBytes":41,"StreamViewType":"NEW_AND_OLD_IMAGES"}},"userIdentity":{{"type":"Service","principalId":"dynamodb.amazonaws.com"}},"eventSourceARN":"{ARN}"}}"#
    );
    assert_eq!(told, [expected]);
}

#[test]
fn what_is_absent_stays_absent_on_both_paths() {
    for record in [
        r#"{"dynamodb":{"SequenceNumber":"7","ApproximateCreationDateTime":1767323045}}"#,
        r#"{"dynamodb":{"SequenceNumber":"7","ApproximateCreationDateTime":0.5,"NewImage":{}},"userIdentity":{}}"#,
        r#"{"dynamodb":{"SequenceNumber":"7","ApproximateCreationDateTime":1,"OldImage":null,"x":[1]},"eventID":null}"#,
        r#"{"eventName":"SOMETHING_NEW","dynamodb":{"StreamViewType":"NEWER","SequenceNumber":"7","ApproximateCreationDateTime":-1.25}}"#,
    ] {
        assert_eq!(both(&format!(r#"{{"Records":[{record},{record}]}}"#)).len(), 2);
    }
    for body in [
        "{}",
        r#"{"Records":[]}"#,
        r#"{"Records":null,"NextShardIterator":null}"#,
    ] {
        assert!(both(body).is_empty());
        assert_eq!(read(Wire::Sdk, body).unwrap().next, Next::End);
    }
}

/// Without the value, the image would be another. What no SDK knows passes on the raw path.
#[test]
fn an_attribute_of_an_unknown_type_is_an_error_of_the_plain_path_that_tells_the_way_out() {
    let body = r#"{"Records":[{"dynamodb":{"SequenceNumber":"7","NewImage":{"v":{"VEC":[1.5]}}}}]}"#;
    assert_eq!(read(Wire::Raw, body).unwrap().records.len(), 1);
    let error = read(Wire::Sdk, body).unwrap_err();
    assert_eq!(error.class(), "unavailable", "{error}");
}

fn number() -> impl Strategy<Value = String> {
    "-?(0|[1-9][0-9]{0,37})|-?[1-9]\\.[0-9]{1,37}|[1-9]E[+-]?[0-9]{1,2}|-?0\\.[0-9]{1,10}"
}

fn bytes() -> impl Strategy<Value = String> {
    prop::collection::vec(any::<u8>(), 0..12).prop_map(aws_smithy_types::base64::encode)
}

fn list_of(items: &[String]) -> String {
    serde_json::to_string(items).unwrap()
}

/// The JSON of an attribute's value, of any type.
fn value() -> impl Strategy<Value = String> {
    let text = || "\\PC{0,12}|[\"\\\\\n\t/é😀]{0,6}";
    let quoted = |text: String| serde_json::to_string(&text).unwrap();
    let leaf = prop_oneof![
        text().prop_map(move |s| format!(r#"{{"S":{}}}"#, quoted(s))),
        number().prop_map(|n| format!(r#"{{"N":"{n}"}}"#)),
        bytes().prop_map(|b| format!(r#"{{"B":"{b}"}}"#)),
        any::<bool>().prop_map(|b| format!(r#"{{"BOOL":{b}}}"#)),
        Just(r#"{"NULL":true}"#.to_owned()),
        prop::collection::vec(text(), 0..4).prop_map(|all| format!(r#"{{"SS":{}}}"#, list_of(&all))),
        prop::collection::vec(number(), 0..4).prop_map(|all| format!(r#"{{"NS":{}}}"#, list_of(&all))),
        prop::collection::vec(bytes(), 0..4).prop_map(|all| format!(r#"{{"BS":{}}}"#, list_of(&all))),
    ];
    leaf.prop_recursive(5, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|all| format!(r#"{{"L":[{}]}}"#, all.join(","))),
            map_of(inner).prop_map(|map| format!(r#"{{"M":{map}}}"#)),
        ]
    })
}

fn map_of(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    prop::collection::btree_map("[a-z\"\\\\é.]{1,4}", value, 0..5).prop_map(|map| {
        let member = |(name, value)| format!("{}:{value}", serde_json::to_string(name).unwrap());
        let members: Vec<_> = map.iter().rev().map(member).collect();
        format!("{{{}}}", members.join(","))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn both_paths_tell_the_same_of_any_change(
        keys in map_of(value()), new in prop::option::of(map_of(value())), old in prop::option::of(map_of(value())),
        millis in 0_i64..4_000_000_000_000, in_e in any::<bool>(), size in 0_u32..500_000,
    ) {
        let time = match in_e {
            true => format!("{}.{:012}E9", millis / 1_000_000_000_000, millis % 1_000_000_000_000),
            false => format!("{}.{:03}", millis / 1000, millis % 1000),
        };
        let image = |name: &str, image: Option<String>| {
            image.map_or(String::new(), |image| format!(r#","{name}":{image}"#))
        };
        let (new, old) = (image("NewImage", new), image("OldImage", old));
        let record = format!(
            r#"{{"eventID":"e","eventName":"MODIFY","dynamodb":{{"SequenceNumber":"12","Keys":{keys}{new}{old},"SizeBytes":{size},"ApproximateCreationDateTime":{time}}}}}"#
        );
        prop_assert_eq!(both(&format!(r#"{{"Records":[{record},{record}],"NextShardIterator":"n"}}"#)).len(), 2);
    }
}
