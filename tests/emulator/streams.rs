//! Changes of a table, through the stream source.

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue as V, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    StreamSpecification, StreamViewType,
};
use serde_json::{Value, json};
use weir::aws::Clients;
use weir::clock::{Clock, SystemClock};
use weir::config::StreamChoice;
use weir::stream::dynamodb::DynamoDbStreams;
use weir::stream::{Ask, Next, RecordBatch, ShardId, SourceError, StartingPosition, StreamArn, StreamSource};

use crate::emulator::{Emulator, Make};

async fn table(clients: &Clients, name: &str, stream: bool) {
    let specification = stream.then(|| {
        StreamSpecification::builder()
            .stream_enabled(true)
            .stream_view_type(StreamViewType::NewAndOldImages)
            .build()
            .unwrap()
    });
    clients
        .dynamodb
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(
            AttributeDefinition::builder()
                .attribute_name("pk")
                .attribute_type(ScalarAttributeType::S)
                .build()
                .unwrap(),
        )
        .key_schema(
            KeySchemaElement::builder()
                .attribute_name("pk")
                .key_type(KeyType::Hash)
                .build()
                .unwrap(),
        )
        .set_stream_specification(specification)
        .send()
        .await
        .unwrap();
}

fn source(clients: &Clients, table: &str) -> DynamoDbStreams {
    DynamoDbStreams::new(
        clients.dynamodb.clone(),
        clients.streams.clone(),
        StreamChoice::Table(table.to_owned()),
        clients.wire,
        Arc::new(SystemClock),
    )
}

/// A value of every type, and what it is on the wire.
fn all_types() -> (HashMap<String, V>, Value) {
    // The emulator writes numbers out, as DynamoDB does for all but the smallest and the largest.
    let number = "-0.12345678901234567890123456789012345678";
    let text = "quotes \" and \\ and \u{1} and \u{2028} and 🐟";
    let typed = [
        ("pk", V::S("k".into()), json!({"S": "k"})),
        ("s", V::S(text.into()), json!({"S": text})),
        ("empty", V::S(String::new()), json!({"S": ""})),
        (
            "n38",
            V::N("99999999999999999999999999999999999999".into()),
            json!({"N": "99999999999999999999999999999999999999"}),
        ),
        ("small", V::N(number.into()), json!({"N": number})),
        ("b", V::B(Blob::new([0, 255, 10])), json!({"B": "AP8K"})),
        ("bool", V::Bool(false), json!({"BOOL": false})),
        ("null", V::Null(true), json!({"NULL": true})),
        (
            "ss",
            V::Ss(vec!["a".into(), "b".into()]),
            json!({"SS": ["a", "b"]}),
        ),
        (
            "ns",
            V::Ns(vec!["1".into(), "2.5".into()]),
            json!({"NS": ["1", "2.5"]}),
        ),
        ("bs", V::Bs(vec![Blob::new("hi")]), json!({"BS": ["aGk="]})),
        (
            "nested",
            V::M(HashMap::from([(
                "list".into(),
                V::L(vec![V::M(HashMap::new()), V::L(vec![]), V::N("1".into())]),
            )])),
            json!({"M": {"list": {"L": [{"M": {}}, {"L": []}, {"N": "1"}]}}}),
        ),
    ];
    let wire = typed
        .iter()
        .map(|(n, _, w)| ((*n).to_owned(), w.clone()))
        .collect();
    let item = typed.into_iter().map(|(n, v, _)| (n.to_owned(), v)).collect();
    (item, wire)
}

async fn read(
    source: &DynamoDbStreams,
    arn: &StreamArn,
    shard: &ShardId,
    at: &StartingPosition,
) -> RecordBatch {
    let iterator = source.iterator(arn, shard, at).await.unwrap();
    source.records(arn, &iterator, Ask::ALL).await.unwrap()
}

#[tokio::test]
async fn the_streams_of_a_table_are_listed_with_the_current_one() {
    let emulator = Emulator::start(Make::Ministack).await;
    let clients = emulator.clients().await;
    table(&clients, "orders", true).await;
    table(&clients, "others", true).await;
    let source = source(&clients, "orders");
    let current = source.current().await.unwrap();
    assert_eq!(source.streams().await.unwrap(), [current]);
}

#[tokio::test]
async fn table_changes_come_back_with_their_text_intact() {
    let emulator = Emulator::start(Make::Ministack).await;
    let clients = emulator.clients().await;
    table(&clients, "orders", true).await;
    let (item, wire) = all_types();
    let before = SystemClock.wall();
    clients
        .dynamodb
        .put_item()
        .table_name("orders")
        .set_item(Some(item))
        .send()
        .await
        .unwrap();
    for n in ["1", "2"] {
        clients
            .dynamodb
            .update_item()
            .table_name("orders")
            .key("pk", V::S("k".into()))
            .update_expression("SET n = :n")
            .expression_attribute_values(":n", V::N(n.into()))
            .send()
            .await
            .unwrap();
    }
    let source = source(&clients, "orders");
    let arn = source.current().await.unwrap();
    assert_eq!(arn.table(), Some("orders"));
    let listing = source.list_shards(&arn).await.unwrap();
    assert!(!listing.disabled);
    let shard = &listing.shards[0];
    assert!(!shard.closed && shard.parents.is_empty());
    assert!(source.child_shards(&arn, &shard.id).await.unwrap().is_empty());

    let batch = read(&source, &arn, &shard.id, &StartingPosition::TrimHorizon).await;
    assert!(matches!(batch.next, Next::At(_)), "an open shard goes on");
    let records: Vec<Value> = batch
        .records
        .iter()
        .map(|r| serde_json::from_slice(&r.data).unwrap())
        .collect();
    assert_eq!(
        records
            .iter()
            .map(|r| r["eventName"].as_str().unwrap())
            .collect::<Vec<_>>(),
        ["INSERT", "MODIFY", "MODIFY"]
    );
    let mut image = records[0]["dynamodb"]["NewImage"].clone();
    // A set has no order.
    for (attribute, kind) in [("ss", "SS"), ("ns", "NS")] {
        let set = image[attribute][kind].as_array_mut().unwrap();
        set.sort_by_key(Value::to_string);
    }
    assert_eq!(image, wire);
    for (record, json) in batch.records.iter().zip(&records) {
        assert_eq!(
            record.sequence_number.as_str(),
            json["dynamodb"]["SequenceNumber"]
        );
        // Whole seconds here.
        assert!(record.time.unwrap() >= before.floor_second() && record.time.unwrap() <= SystemClock.wall());
    }

    let after = StartingPosition::After(batch.records[0].sequence_number.clone());
    let rest = read(&source, &arn, &shard.id, &after).await;
    let texts = |records: &[weir::stream::Record]| records.iter().map(|r| r.data.clone()).collect::<Vec<_>>();
    assert_eq!(texts(&rest.records), texts(&batch.records[1..]));
}

#[tokio::test]
async fn the_service_time_is_about_now() {
    for make in [Make::Ministack, Make::Moto] {
        let emulator = Emulator::start(make).await;
        let clients = emulator.clients().await;
        table(&clients, "orders", true).await;
        let source = source(&clients, "orders");
        let arn = source.current().await.unwrap();
        let before = SystemClock.wall().floor_second();
        let time = source.service_time(&arn).await.unwrap();
        assert!(time >= before && time <= SystemClock.wall(), "{make:?}: {time}");
    }
}

#[tokio::test]
async fn a_missing_table_or_stream_is_told_apart() {
    let emulator = Emulator::start(Make::Ministack).await;
    let clients = emulator.clients().await;
    table(&clients, "plain", false).await;
    let error = source(&clients, "plain").current().await.unwrap_err();
    assert!(matches!(error, SourceError::NoStream(_)), "{error}");
    let error = source(&clients, "absent").current().await.unwrap_err();
    assert!(matches!(error, SourceError::NotFound(_)), "{error}");
    let gone =
        StreamArn::new("arn:aws:dynamodb:eu-west-1:000000000000:table/plain/stream/2020-01-01T00:00:00.000");
    let error = source(&clients, "plain").list_shards(&gone).await.unwrap_err();
    assert!(matches!(error, SourceError::NotFound(_)), "{error}");
}
