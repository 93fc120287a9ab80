use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::clock::Timestamp;
use crate::config::{Config, Overrides};
use crate::decode::{Gzip, UnknownMessages};
use crate::stream::{SequenceNumber, ShardId, StreamArn};

const ARN: &str = "arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/2026-01-02T03:04:05.678";
const LINE: &str = "1700000000123456,db-1,app,10.1.2.3,17,4711,QUERY,shop,'SELECT 1',0";

fn record(data: &[u8]) -> Record {
    Record::new(
        SequenceNumber::parse("49").unwrap(),
        Some(Timestamp::from_millis(1_767_225_600_500)),
        Bytes::copy_from_slice(data),
    )
}

fn shaped(data: &[u8], how: Decode, shape: &Shape) -> Result<Decoded, DecodeError> {
    let stream = match how {
        Decode::Lambda => StreamArn::new(ARN),
        _ => StreamArn::kinesis("arn:aws:kinesis:eu-west-1:111122223333:stream/s", Some(1)),
    };
    let shard = ShardId::new("shardId-1");
    let origin = Origin {
        stream: &stream,
        shard: &shard,
    };
    events(&record(data), origin, &DecodeSettings::of(how), shape)
}

fn messages(data: &[u8], how: Decode, shape: &Shape) -> Vec<String> {
    let decoded = shaped(data, how, shape).unwrap();
    decoded.events.into_iter().map(|e| e.event.message).collect()
}

fn message(data: &str, how: Decode, format: Format) -> String {
    let shape = Shape {
        format,
        ..Shape::default()
    };
    let mut all = messages(data.as_bytes(), how, &shape);
    assert_eq!(all.len(), 1);
    all.remove(0)
}

/// One that keeps every event, and reads each of them for it.
fn filter() -> Filter {
    Filter::parse(&[serde_json::json!({"$or":[{"eventID":[{"exists":true}]},{"data":[{"exists":true}]},{"data":[{"exists":false}]}]})]).unwrap()
}

/// One that finds nothing to hide in what is tried here.
fn redaction() -> Redaction {
    Redaction::new(Vec::new(), true).unwrap()
}

/// A record as the stream gives it.
fn wire(event: &str, view: &str, images: &str, rest: &str) -> String {
    format!(
        r#"{{"eventID":"e1","eventName":"{event}","eventVersion":"1.0","eventSource":"aws:dynamodb","awsRegion":"eu-west-1","dynamodb":{{"ApproximateCreationDateTime":1.731150824E9,"Keys":{{"id":{{"S":"a"}}}},{images}"SequenceNumber":"100","SizeBytes":7,"StreamViewType":"{view}"}}{rest}}}"#
    )
}

const NEW: &str = r#""NewImage":{"id":{"S":"a"},"status":{"S":"PAID"},"total":{"N":"12.50"}},"#;
const OLD: &str =
    r#""OldImage":{"id":{"S":"a"},"status":{"S":"NEW"},"total":{"N":"12.5"},"note":{"S":"x"}},"#;

const BEGINS: &str = r#""table":"orders","time":"2024-11-09T11:13:44Z","keys":{"id":"a"}"#;
const PLAIN_NEW: &str = r#","new":{"id":"a","status":"PAID","total":12.50}"#;
const PLAIN_OLD: &str = r#","old":{"id":"a","status":"NEW","total":12.5,"note":"x"}"#;
const INSERTED: &str = r#","changed":{"id":{"new":"a"},"status":{"new":"PAID"},"total":{"new":12.50}}"#;
const MODIFIED: &str = r#","changed":{"status":{"old":"NEW","new":"PAID"},"note":{"old":"x"}}"#;
const REMOVED: &str =
    r#","changed":{"id":{"old":"a"},"status":{"old":"NEW"},"total":{"old":12.5},"note":{"old":"x"}}"#;

#[test]
fn every_event_of_every_view_type_in_each_format() {
    let both = "NEW_AND_OLD_IMAGES";
    for (event, view, has_new, has_old, changed) in [
        ("INSERT", both, true, false, Some(INSERTED)),
        ("MODIFY", both, true, true, Some(MODIFIED)),
        ("REMOVE", both, false, true, Some(REMOVED)),
        ("INSERT", "NEW_IMAGE", true, false, Some(INSERTED)),
        ("MODIFY", "NEW_IMAGE", true, false, None),
        ("REMOVE", "NEW_IMAGE", false, false, None),
        ("INSERT", "OLD_IMAGE", false, false, None),
        ("MODIFY", "OLD_IMAGE", false, true, None),
        ("REMOVE", "OLD_IMAGE", false, true, Some(REMOVED)),
        ("INSERT", "KEYS_ONLY", false, false, None),
        ("MODIFY", "KEYS_ONLY", false, false, None),
        ("REMOVE", "KEYS_ONLY", false, false, None),
    ] {
        let told = |is_told: bool, text: &'static str| if is_told { text } else { "" };
        let record = wire(
            event,
            view,
            &format!("{}{}", told(has_new, NEW), told(has_old, OLD)),
            "",
        );
        let whole = |middle: &str| {
            format!(
                r#"{{"eventID":"e1","eventName":"{event}",{BEGINS}{middle},"sequenceNumber":"100","eventSourceARN":"{ARN}"}}"#
            )
        };
        let images = format!("{}{}", told(has_new, PLAIN_NEW), told(has_old, PLAIN_OLD));
        let plain = message(&record, Decode::Lambda, Format::Plain);
        assert_eq!(plain, whole(&images), "{event} {view}");
        let expected = match changed {
            Some(changed) => whole(changed),
            None => whole(&format!(
                r#"{images},"note":"what changed can't be told: the stream's view type is {view}, and only NEW_AND_OLD_IMAGES holds both images""#
            )),
        };
        let diff = message(&record, Decode::Lambda, Format::Diff);
        assert_eq!(diff, expected, "{event} {view}");
        // Lambda's own passes as it is decoded.
        let lambda = message(&record, Decode::Lambda, Format::Decoded);
        let decoded = Tree::parse(&lambda).unwrap();
        assert_eq!(decoded.get("eventVersion").and_then(Tree::as_text), Some("1.1"));
        // A record of Lambda is told as that of the stream is.
        assert_eq!(message(&lambda, Decode::Lambda, Format::Plain), plain);
        assert_eq!(message(&lambda, Decode::Lambda, Format::Diff), diff);
    }
}

#[test]
fn who_deleted_is_told() {
    let ttl = wire(
        "REMOVE",
        "OLD_IMAGE",
        OLD,
        r#","userIdentity":{"PrincipalId":"dynamodb.amazonaws.com","Type":"Service"}"#,
    );
    for format in [Format::Plain, Format::Diff] {
        let told = message(&ttl, Decode::Lambda, format);
        assert!(
            told.contains(
                r#""sequenceNumber":"100","userIdentity":{"type":"Service","principalId":"dynamodb.amazonaws.com"},"#
            ),
            "{told}"
        );
    }
}

#[test]
fn changes_that_came_through_kinesis_have_their_exact_time_and_table() {
    let change = |time: &str, identity: &str| {
        format!(
            r#" {{"awsRegion": "eu-west-1","eventID":"11111111-2222-3333-4444-555555555555","eventName":"MODIFY","userIdentity":{identity},
            "recordFormat":"application/json","tableName":"orders","dynamodb":{{"ApproximateCreationDateTime":{time},
            "Keys":{{"id":{{"S":"日"}}}},"NewImage":{{"id":{{"S":"日"}},"n":{{"N":"2"}}}},"OldImage":{{"id":{{"S":"\u65e5"}},"n":{{"N":"1"}}}},
            "SizeBytes":5}},"eventSource":"aws:dynamodb"}}"#
        )
    };
    let expected = |time: &str, middle: &str, identity: &str| {
        format!(
            r#"{{"eventID":"11111111-2222-3333-4444-555555555555","eventName":"MODIFY","table":"orders","time":{time},"keys":{{"id":"日"}},{middle}{identity},"awsRegion":"eu-west-1"}}"#
        )
    };
    let plain = r#""new":{"id":"日","n":2},"old":{"id":"日","n":1}"#;
    let diff = r#""changed":{"n":{"old":1,"new":2}}"#;
    let service = r#"{"type":"Service","principalId":"dynamodb.amazonaws.com"}"#;
    for (time, told) in [
        ("1767225600120", r#""2026-01-01T00:00:00.120Z""#),
        ("1767225600123999", r#""2026-01-01T00:00:00.123999Z""#),
        (
            r#"1767225600123990,"ApproximateCreationDateTimePrecision":"MICROSECOND""#,
            r#""2026-01-01T00:00:00.123990Z""#,
        ),
        (
            r#"5,"ApproximateCreationDateTimePrecision":"MILLISECOND""#,
            r#""1970-01-01T00:00:00.005Z""#,
        ),
        // What can't be read exactly stays as it is.
        ("1767225600", "1767225600"),
        ("1.7672256E12", "1.7672256E12"),
        (r#""yesterday""#, r#""yesterday""#),
    ] {
        for (identity, identified) in [
            ("null", String::new()),
            (service, format!(r#","userIdentity":{service}"#)),
        ] {
            let data = change(time, identity);
            for (format, middle) in [(Format::Plain, plain), (Format::Diff, diff)] {
                let message = message(&data, Decode::Change, format);
                assert_eq!(message, expected(told, middle, &identified), "{time}");
            }
            assert_eq!(message(&data, Decode::Change, Format::Decoded), data, "unchanged");
        }
    }
}

#[test]
fn a_time_in_seconds_keeps_its_fraction() {
    for (time, told) in [
        ("1731150824", r#""2024-11-09T11:13:44Z""#),
        ("1.731150824E9", r#""2024-11-09T11:13:44Z""#),
        ("1731150824.5", r#""2024-11-09T11:13:44.500Z""#),
        ("1731150824.123456", r#""2024-11-09T11:13:44.123456Z""#),
        ("1731150824.123456789", r#""2024-11-09T11:13:44.123456789Z""#),
        ("1731150824.1234567891", "1731150824.1234567891"),
        ("-1", "-1"),
        ("1e300", "1e300"),
    ] {
        let record = wire("INSERT", "KEYS_ONLY", "", "").replace("1.731150824E9", time);
        let told = format!(r#""time":{told},"keys""#);
        let message = message(&record, Decode::Lambda, Format::Plain);
        assert!(message.contains(&told), "{message}");
    }
    let timeless =
        wire("INSERT", "KEYS_ONLY", "", "").replace("\"ApproximateCreationDateTime\":1.731150824E9,", "");
    assert!(!message(&timeless, Decode::Lambda, Format::Plain).contains("time"));
}

#[test]
fn each_type_of_attribute_becomes_ordinary_json() {
    for (typed, expected) in [
        (
            r#"{"S":"a \"quoted\" line\nand \u00e9 日本"}"#,
            r#""a \"quoted\" line\nand é 日本""#,
        ),
        (r#"{"S":""}"#, r#""""#),
        (
            r#"{"N":"12345678901234567890123456789012345678"}"#,
            "12345678901234567890123456789012345678",
        ),
        (r#"{"N":"-0.10"}"#, "-0.10"),
        (r#"{"N":"1E+2"}"#, "1E+2"),
        (
            r#"{"N":"9.9999999999999999999999999999999999999E+125"}"#,
            "9.9999999999999999999999999999999999999E+125",
        ),
        (r#"{"N":".5"}"#, r#"".5""#),
        (r#"{"N":"+1"}"#, r#""+1""#),
        (r#"{"N":"***"}"#, r#""***""#),
        (r#"{"B":"AAEC/w=="}"#, r#""AAEC/w==""#),
        (r#"{"BOOL":false}"#, "false"),
        (r#"{"NULL":true}"#, "null"),
        (r#"{"SS":["x","1"]}"#, r#"["x","1"]"#),
        (r#"{"NS":["1","2.50","x"]}"#, r#"[1,2.50,"x"]"#),
        (r#"{"BS":["AA==","/w=="]}"#, r#"["AA==","/w=="]"#),
        (r#"{"L":[]}"#, "[]"),
        (r#"{"M":{}}"#, "{}"),
        (
            r#"{"M":{"deep":{"L":[{"NULL":true},{"BOOL":true},{"M":{"S":{"S":"a name like a type"}}}]},"n":{"N":"1"}}}"#,
            r#"{"deep":[null,true,{"S":"a name like a type"}],"n":1}"#,
        ),
        // Not DynamoDB's: as it is.
        (r#"{"X":{"S":"a"}}"#, r#"{"X":{"S":"a"}}"#),
        (r#"{"S":7}"#, r#"{"S":7}"#),
        (r#"{"S":"a","N":"1"}"#, r#"{"S":"a","N":"1"}"#),
        (r#"{"NULL":false}"#, r#"{"NULL":false}"#),
        (r#"{}"#, "{}"),
        (r#""***""#, r#""***""#),
    ] {
        let image = format!(r#""NewImage":{{"v":{typed}}},"#);
        let record = wire("INSERT", "NEW_IMAGE", &image, "");
        let told = message(&record, Decode::Lambda, Format::Plain);
        assert!(told.contains(&format!(r#""new":{{"v":{expected}}}"#)), "{told}");
        let told = message(&record, Decode::Lambda, Format::Diff);
        assert!(
            told.contains(&format!(r#""changed":{{"v":{{"new":{expected}}}}}"#)),
            "{told}"
        );
    }
}

#[test]
fn a_change_that_changed_nothing_says_so_and_one_that_can_not_tell_does_not() {
    let same = format!("{NEW}{}", NEW.replace("New", "Old").replace("12.50", "12.5"));
    let told = message(
        &wire("MODIFY", "NEW_AND_OLD_IMAGES", &same, ""),
        Decode::Lambda,
        Format::Diff,
    );
    assert!(told.contains(r#","changed":{},"sequenceNumber""#), "{told}");
    for images in ["", NEW, OLD] {
        let record = wire("MODIFY", "NEW_AND_OLD_IMAGES", images, "");
        let told = message(&record, Decode::Lambda, Format::Diff);
        assert!(told.contains("the record does not hold both images"), "{told}");
        assert!(!told.contains("\"changed\""), "{told}");
    }
}

/// What `diff` makes of a record in which `hide` changes something after the changes were found.
fn diff_hiding(images: &str, hide: impl FnOnce(&mut Tree<'_>)) -> String {
    let record = wire("MODIFY", "NEW_AND_OLD_IMAGES", images, "");
    let mut tree = Tree::parse(&record).unwrap();
    let changes = diff::changed(&tree);
    hide(&mut tree);
    let message = change::diff(tree, Decode::Lambda, &changes).to_string();
    let (_, changed) = message.split_once("\"changed\":").unwrap();
    let (changed, _) = changed.split_once(",\"sequenceNumber\"").unwrap();
    changed.to_owned()
}

/// The members of an image.
fn image<'t, 'a>(record: &'t mut Tree<'a>, name: &str) -> &'t mut Vec<(Cow<'a, str>, Tree<'a>)> {
    let members = |tree: &'t mut Tree<'a>| match tree {
        Tree::Object(members) => members,
        other => panic!("{other}"),
    };
    let below = |tree: &'t mut Tree<'a>, name: &str| {
        let mut members = members(tree).iter_mut();
        members.find(|(n, _)| n == name).map(|(_, value)| value).unwrap()
    };
    members(below(below(record, "dynamodb"), name))
}

#[test]
fn what_changed_is_found_before_anything_is_hidden() {
    let images = r#""NewImage":{"id":{"S":"a"},"card":{"S":"2"},"pin":{"N":"7"}},"OldImage":{"id":{"S":"a"},"card":{"S":"1"},"pin":{"N":"7"}},"#;
    assert_eq!(diff_hiding(images, |_| {}), r#"{"card":{"old":"1","new":"2"}}"#);
    let masked = diff_hiding(images, |record| {
        for name in ["NewImage", "OldImage"] {
            for (name, value) in image(record, name) {
                if name != "id" {
                    *value = Tree::parse(r#"{"S":"***"}"#).unwrap();
                }
            }
        }
    });
    assert_eq!(
        masked, r#"{"card":{"old":"***","new":"***"}}"#,
        "it changed all the same, and the pin did not"
    );
    let removed = |names: &'static [&'static str]| {
        diff_hiding(images, |record| {
            for name in names {
                image(record, name).retain(|(name, _)| name != "card");
            }
        })
    };
    let hidden = r#"{},"note":"what changed is hidden""#;
    assert_eq!(removed(&["NewImage", "OldImage"]), hidden);
    assert_eq!(
        removed(&["NewImage"]),
        hidden,
        "it was not deleted from the table"
    );
    assert_eq!(removed(&["OldImage"]), hidden, "nor is it new");
}

#[test]
fn without_a_rule_a_message_passes_byte_for_byte_and_unread() {
    // Deeper than anything that is taken apart.
    let deep = format!(" {}{}\n", "[".repeat(500), "]".repeat(500));
    let many = "[1]".repeat(100);
    for (data, how) in [
        (deep.as_str(), Decode::Text),
        (many.as_str(), Decode::Auto),
        (" {\"a\" : \"\\u0061\"} ", Decode::Json),
    ] {
        assert_eq!(messages(data.as_bytes(), how, &Shape::default()), [data]);
    }
    let small = DecodeSettings {
        inflate_limit: 0,
        ..DecodeSettings::of(Decode::Text)
    };
    let record = record("[,,,,]".as_bytes());
    assert_eq!(
        estimate(&record, &small, &Shape::default()),
        decode::estimate(&record, &small)
    );
}

#[test]
fn a_filter_alone_leaves_the_bytes_of_what_it_keeps() {
    let shape = Shape {
        filter: Some(filter()),
        ..Shape::default()
    };
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    for (data, how) in [
        (" {\"a\" : \"\\u0061\"}\n", Decode::Json),
        ("no JSON", Decode::Text),
        ("", Decode::Auto),
        (deep.as_str(), Decode::Text),
    ] {
        assert_eq!(messages(data.as_bytes(), how, &shape), [data]);
    }
    let change = wire("MODIFY", "NEW_AND_OLD_IMAGES", &format!("{NEW}{OLD}"), "");
    assert_eq!(
        messages(change.as_bytes(), Decode::Lambda, &shape),
        [message(&change, Decode::Lambda, Format::Decoded)]
    );
}

#[test]
fn an_audit_line_is_told_as_json_or_as_it_was_written() {
    let lines = format!("{LINE}\r\nno audit line\n");
    let (json, raw) = (
        Shape::default(),
        Shape {
            format: Format::Raw,
            ..Shape::default()
        },
    );
    let told = messages(lines.as_bytes(), Decode::Audit, &json);
    assert!(
        told[0].contains(r#""object":"SELECT 1""#) && told[1].contains(r#""error""#),
        "{told:?}"
    );
    assert_eq!(
        messages(lines.as_bytes(), Decode::Audit, &raw),
        [LINE, "no audit line"]
    );
    let decoded = shaped(lines.as_bytes(), Decode::Audit, &raw).unwrap();
    assert_eq!(decoded.unparsed_lines, 1);
    assert!(
        decoded.events.iter().all(|event| event.line.is_none()),
        "it is kept once"
    );
    let filtered = Shape {
        filter: Some(filter()),
        ..raw.clone()
    };
    assert_eq!(
        messages(lines.as_bytes(), Decode::Audit, &filtered),
        [LINE, "no audit line"]
    );
    // The settings refuse this; a line as it was written would show everything.
    let hidden = Shape {
        redact: Some(redaction()),
        ..raw
    };
    let told = messages(lines.as_bytes(), Decode::Audit, &hidden);
    assert!(told.iter().all(|message| message.starts_with('{')), "{told:?}");
}

#[test]
fn a_message_in_which_nothing_can_be_hidden_is_an_error() {
    let shape = Shape {
        redact: Some(redaction()),
        ..Shape::default()
    };
    for (data, how, says) in [
        (&b"password=x"[..], Decode::Text, "no JSON"),
        (b"{\"a\":", Decode::Auto, "no JSON"),
        (b"17", Decode::Json, "without fields"),
        (b"\"password\"", Decode::Json, "without fields"),
        (b"\xff", Decode::Auto, "bytes"),
        (b"{}", Decode::Base64, "bytes"),
    ] {
        let error = shaped(data, how, &shape).unwrap_err();
        assert!(matches!(error, DecodeError::Unredactable(_)), "{error}");
        let error = error.to_string();
        assert!(error.contains(says) && error.contains("`redact`"), "{error}");
    }
    for (data, how) in [
        ("[1]", Decode::Json),
        ("{\"a\":1}", Decode::Auto),
        (LINE, Decode::Audit),
    ] {
        assert_eq!(messages(data.as_bytes(), how, &shape).len(), 1);
    }
    // Weir has read it as a change, but it is nested too deep to be taken apart.
    let deep = format!(
        r#""NewImage":{{"v":{}{{"L":[]}}{}}},"#,
        r#"{"L":["#.repeat(60),
        "]}".repeat(60)
    );
    let plain = Shape {
        format: Format::Plain,
        ..Shape::default()
    };
    let error = shaped(
        wire("INSERT", "NEW_IMAGE", &deep, "").as_bytes(),
        Decode::Lambda,
        &plain,
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the message can't be taken apart for the pipeline's `filter`, `redact` or `format`: JSON that is nested deeper \
         than 100 levels"
    );
}

#[test]
fn an_envelope_whose_events_were_all_dropped_is_left_out() {
    let event = |at: Option<usize>| Event {
        event: crate::logs::LogEvent {
            timestamp: Timestamp::from_millis(0),
            message: String::new(),
        },
        envelope: at,
        content: Content::Other,
        line: None,
    };
    let envelope = |group: &str| decode::Envelope {
        log_group: group.to_owned(),
        ..decode::Envelope::default()
    };
    let mut decoded = Decoded {
        envelopes: ["a", "b", "c", "d"].map(envelope).to_vec(),
        ..Decoded::default()
    };
    let mut kept = [Some(3), Some(1), None, Some(1)].map(event);
    keep_envelopes(&mut decoded, &mut kept);
    assert_eq!(decoded.envelopes, ["b", "d"].map(envelope));
    assert_eq!(
        kept.map(|event| event.envelope),
        [Some(1), Some(0), None, Some(0)]
    );
}

#[test]
fn what_would_take_too_much_memory_as_a_tree_is_refused() {
    let settings = DecodeSettings {
        how: Decode::Json,
        gzip: Gzip::Never,
        inflate_limit: 1 << 20,
        unknown_messages: UnknownMessages::DeadLetter,
        keep_lines: false,
    };
    let stream = StreamArn::new("-");
    let shard = ShardId::new("-");
    let origin = Origin {
        stream: &stream,
        shard: &shard,
    };
    let shape = Shape {
        filter: Some(filter()),
        ..Shape::default()
    };
    let list = |values: usize| format!("[{}1]", "1,".repeat(values));
    // A large message is no bomb, however little gzip may open to.
    let fits = record(list(300_000).as_bytes());
    assert!(events(&fits, origin, &settings, &shape).is_ok());
    let bomb = record(list(500_000).as_bytes());
    let most = (64 << 20) / NODE;
    let error = events(&bomb, origin, &settings, &shape).unwrap_err();
    assert_eq!(error, DecodeError::NoFields(NoTree::TooMany { most }));
    assert!(
        error
            .to_string()
            .contains(&format!("too many values to be taken apart: more than {most}"))
    );
    assert!(events(&bomb, origin, &settings, &Shape::default()).is_ok());
    // Commas are no values, where they stand in a text.
    for text in [format!("[\"{}\"]", ",".repeat(1_000_000)), ",".repeat(1_000_000)] {
        let settings = DecodeSettings {
            how: Decode::Text,
            ..settings.clone()
        };
        assert!(events(&record(text.as_bytes()), origin, &settings, &shape).is_ok());
    }
}

/// A value of an attribute, as DynamoDB types it.
fn attribute() -> impl Strategy<Value = Value> {
    let number = "-?(0|[1-9][0-9]{0,37})(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,2})?";
    let leaf = prop_oneof![
        "\\PC{0,8}".prop_map(|text| serde_json::json!({ "S": text })),
        number.prop_map(|text| serde_json::json!({ "N": text })),
        "[A-Za-z0-9+/]{4}".prop_map(|text| serde_json::json!({ "B": text })),
        any::<bool>().prop_map(|is| serde_json::json!({ "BOOL": is })),
        Just(serde_json::json!({ "NULL": true })),
        prop::collection::btree_set("[a-c]{1,2}", 1..3).prop_map(|set| serde_json::json!({ "SS": set })),
        prop::collection::btree_set("[1-9]{1,2}", 1..3).prop_map(|set| serde_json::json!({ "NS": set })),
        Just(serde_json::json!({ "X": [1] })),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(|list| serde_json::json!({ "L": list })),
            prop::collection::btree_map("[a-c.]{1,2}", inner, 0..3)
                .prop_map(|map| serde_json::json!({ "M": map })),
        ]
    })
}

fn item() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[a-e.]{1,2}", attribute(), 0..5).prop_map(|map| serde_json::json!(map))
}

/// The typed value as ordinary JSON, said once more: numbers by their digits.
fn expected(typed: &Value) -> Value {
    let Some((kind, value)) = typed.as_object().and_then(|object| object.iter().next()) else {
        return typed.clone();
    };
    let all = |list: &Value| Value::from(list.as_array().unwrap().iter().map(expected).collect::<Vec<_>>());
    let number = |text: &Value| serde_json::json!({ "number": text });
    match kind.as_str() {
        "N" => number(value),
        "NS" => Value::from(value.as_array().unwrap().iter().map(number).collect::<Vec<_>>()),
        "NULL" => Value::Null,
        "X" => serde_json::json!({ "X": [{ "number": "1" }] }),
        "L" => all(value),
        "M" => of_item(value),
        _ => value.clone(),
    }
}

fn of_item(item: &Value) -> Value {
    let members = item.as_object().unwrap().iter();
    Value::Object(
        members
            .map(|(name, value)| (name.clone(), expected(value)))
            .collect(),
    )
}

/// A tree, its numbers by their digits.
fn read(tree: &Tree<'_>) -> Value {
    match tree {
        Tree::Null => Value::Null,
        Tree::Bool(is) => Value::from(*is),
        Tree::Number(digits) => serde_json::json!({ "number": digits }),
        Tree::Text(text) => Value::from(&**text),
        Tree::List(items) => Value::from(items.iter().map(read).collect::<Vec<_>>()),
        Tree::Object(members) => {
            let members = members
                .iter()
                .map(|(name, value)| (name.to_string(), read(value)));
            Value::Object(members.collect())
        }
    }
}

fn modified(old: &Value, new: &Value) -> String {
    let images = format!(r#""NewImage":{new},"OldImage":{old},"#);
    wire("MODIFY", "NEW_AND_OLD_IMAGES", &images, "")
}

proptest! {
    #[test]
    fn plain_says_what_the_attributes_say(new in item(), old in item()) {
        let message = message(&modified(&old, &new), Decode::Lambda, Format::Plain);
        let tree = Tree::parse(&message).unwrap();
        prop_assert_eq!(read(tree.get("new").unwrap()), of_item(&new));
        prop_assert_eq!(read(tree.get("old").unwrap()), of_item(&old));
    }

    #[test]
    fn equal_images_differ_in_nothing(item in item()) {
        let message = message(&modified(&item, &item), Decode::Lambda, Format::Diff);
        let tree = Tree::parse(&message).unwrap();
        prop_assert_eq!(tree.get("changed"), Some(&Tree::Object(Vec::new())));
        prop_assert_eq!(tree.get("note"), None);
    }

    #[test]
    fn the_old_image_and_the_diff_give_the_new_image(old in item(), new in item()) {
        let message = message(&modified(&old, &new), Decode::Lambda, Format::Diff);
        let tree = Tree::parse(&message).unwrap();
        let Some(Tree::Object(changed)) = tree.get("changed") else {
            panic!("{message}");
        };
        let mut item = of_item(&old);
        for (name, sides) in changed {
            let members = item.as_object_mut().unwrap();
            let before = members.remove(&**name);
            prop_assert_eq!(before, sides.get("old").map(read), "{}", name);
            if let Some(new) = sides.get("new") {
                members.insert(name.to_string(), read(new));
            }
        }
        // What is spelt in another way has not changed.
        let is_unchanged = |name: &str| changed.iter().all(|(changed, _)| changed != name);
        let expected = of_item(&new);
        for (name, value) in expected.as_object().unwrap() {
            let same = item.get(name) == Some(value);
            prop_assert!(same || (is_unchanged(name) && item.get(name).is_some()), "{}", name);
        }
        prop_assert_eq!(item.as_object().unwrap().len(), expected.as_object().unwrap().len());
    }

    #[test]
    fn no_record_makes_any_shape_panic_and_an_estimate_covers_the_messages(
        new in item(), old in item(), cut in any::<prop::sample::Index>(), format in 0usize..3, whole in any::<bool>(),
    ) {
        let mut data = modified(&old, &new).into_bytes();
        if !whole {
            data.truncate(cut.index(data.len()));
        }
        for (how, formats) in [
            (Decode::Lambda, [Format::Decoded, Format::Plain, Format::Diff]),
            (Decode::Audit, [Format::Decoded, Format::Raw, Format::Raw]),
            (Decode::Auto, [Format::Decoded; 3]),
        ] {
            for (filter, redact) in [(None, None), (Some(filter()), None), (None, Some(redaction()))] {
                let shape = Shape { format: formats[format], filter, redact };
                let settings = DecodeSettings::of(how);
                let estimate = estimate(&record(&data), &settings, &shape);
                if let Ok(decoded) = shaped(&data, how, &shape) {
                    let held: usize = decoded.events.iter().map(|e| e.event.message.len()).sum();
                    prop_assert!(held <= estimate, "{held} of {estimate}");
                    prop_assert_eq!(decoded.events.is_empty(), decoded.skipped.is_some());
                }
            }
        }
    }
}

/// The rules that these keys of a pipeline stand for.
fn rules(keys: &str) -> (DecodeSettings, Shape) {
    let source = match keys.contains("decode:") {
        true => "kinesis_stream: s",
        false => "dynamodb_table: orders",
    };
    let text =
        format!("pipelines: {{ p: {{ source: {{ {source} }}, destination: {{ group: g }}, {keys} }} }}");
    let config = Config::from_yaml(&text, &|_| None, Overrides::default());
    let pipeline = config.unwrap().pipelines.remove(0);
    (pipeline.decode, pipeline.shape)
}

fn by(keys: &str, data: &str) -> Result<Decoded, DecodeError> {
    let (settings, shape) = rules(keys);
    shaped(data.as_bytes(), settings.how, &shape)
}

fn told_by(keys: &str, data: &str) -> Vec<String> {
    let events = by(keys, data).unwrap().events;
    events.into_iter().map(|e| e.event.message).collect()
}

#[test]
fn a_filter_sees_what_is_hidden_and_a_format_does_not() {
    let images = r#""NewImage":{"id":{"S":"a"},"card":{"S":"2"},"n":{"N":"1"}},"OldImage":{"id":{"S":"a"},"card":{"S":"1"},"n":{"N":"1.0"}},"#;
    let record = wire("MODIFY", "NEW_AND_OLD_IMAGES", images, "");
    let keys = |format: &str, card: &str| {
        format!(
            "format: {format}, redact: ['*.card'], filter: {{ dynamodb: {{ NewImage: {{ card: {{ S: ['{card}'] }} }} }} }}"
        )
    };
    let dropped = by(&keys("diff", "***"), &record).unwrap();
    assert_eq!(
        (dropped.events.len(), dropped.filtered, dropped.skipped),
        (0, 1, Some(Skip::Filter))
    );
    for (format, told) in [
        ("diff", r#""changed":{"card":{"old":"***","new":"***"}}"#),
        (
            "plain",
            r#""new":{"id":"a","card":"***","n":1},"old":{"id":"a","card":"***","n":1.0}"#,
        ),
        ("lambda", r#""card":{"S":"***"}"#),
    ] {
        let messages = told_by(&keys(format, "2"), &record);
        assert!(messages[0].contains(told), "{messages:?}");
        assert!(!messages[0].contains(r#""2""#), "{messages:?}");
    }
    let hidden = "format: diff, redact: [{ path: NewImage.card, with: remove }, { path: OldImage.card, with: remove }]";
    let messages = told_by(hidden, &record);
    assert!(
        messages[0].contains(r#""changed":{},"note":"what changed is hidden""#),
        "{messages:?}"
    );
}

#[test]
fn a_filter_drops_lines_but_none_that_could_not_be_read() {
    let lines = format!("{LINE}\nhoge\n{}\n", LINE.replace("SELECT 1", "DELETE"));
    let keys = "decode: audit, filter: { object: [{ prefix: DELETE }] }";
    let decoded = by(keys, &lines).unwrap();
    assert_eq!(
        (decoded.filtered, decoded.unparsed_lines, decoded.skipped),
        (1, 1, None)
    );
    let contents: Vec<_> = decoded.events.iter().map(|e| e.content).collect();
    assert_eq!(contents, [Content::AuditLine, Content::AuditRow]);
    assert_eq!(
        told_by(&format!("{keys}, format: raw"), &lines),
        ["hoge".to_owned(), LINE.replace("SELECT 1", "DELETE")]
    );
    // What can't be read is told by its hash, where something is to be hidden.
    let hidden = told_by("decode: audit, redact_sql: true", &lines);
    assert!(
        hidden[0].contains("SELECT ?") && !hidden[1].contains("hoge"),
        "{hidden:?}"
    );
}

#[test]
fn a_filter_of_kinesis_sees_the_message_as_data_and_the_envelope() {
    let envelope = |group: &str, message: &str| {
        format!(
            r#"{{"messageType":"DATA_MESSAGE","owner":"1","logGroup":"{group}","logStream":"s","logEvents":[{{"id":"31","timestamp":1767225600001,"message":{}}}]}}"#,
            Value::from(message)
        )
    };
    let both = envelope("/app", r#"{"level": "info"}"#) + &envelope("/db", "text");
    for (filter, kept) in [
        ("{ data: { level: [info] } }", vec![r#"{"level": "info"}"#]),
        ("{ data: [text] }", vec!["text"]),
        ("{ logGroup: [/db], logStream: [s], owner: ['1'] }", vec!["text"]),
        ("{ sequenceNumber: ['49'] }", vec![r#"{"level": "info"}"#, "text"]),
        (
            "{ approximateArrivalTimestamp: [{ numeric: ['=', 1767225600.5] }] }",
            vec![r#"{"level": "info"}"#, "text"],
        ),
        ("{ data: [none] }", vec![]),
    ] {
        let decoded = by(&format!("decode: auto, filter: {filter}"), &both).unwrap();
        let messages: Vec<_> = decoded.events.iter().map(|e| e.event.message.as_str()).collect();
        assert_eq!(messages, kept, "{filter}");
        assert_eq!(decoded.filtered as usize, 2 - kept.len(), "{filter}");
        assert_eq!(decoded.envelopes.len(), kept.len(), "{filter}");
        assert!(
            decoded
                .events
                .iter()
                .all(|e| e.envelope.is_some_and(|at| at < kept.len()))
        );
        assert_eq!(decoded.skipped, kept.is_empty().then_some(Skip::Filter));
    }
    assert_eq!(told_by("decode: text, filter: { data: [x] }", "x"), ["x"]);
    assert_eq!(
        told_by(
            "decode: json, redact: [a], filter: { data: { a: [1] } }",
            "{\"a\": 1}"
        ),
        [r#"{"a":"***"}"#]
    );
}

#[test]
fn a_path_is_found_in_a_change_by_its_looks_in_both_its_forms() {
    let change = r#"{"eventName":"INSERT","tableName":"t","dynamodb":{"Keys":{"id":{"S":"a"}},"NewImage":{"card":{"S":"1"}}},"eventSource":"aws:dynamodb"}"#;
    for path in ["NewImage.card", "dynamodb.NewImage.card.S"] {
        let messages = told_by(&format!("decode: auto, redact: [{path}]"), change);
        assert!(messages[0].contains(r#""card":{"S":"***"}"#), "{messages:?}");
    }
}

#[test]
fn json_that_can_not_be_held_is_never_dropped_for_a_text() {
    let deep = format!("{{\"a\":1,\"deep\":{}{}}}", "[".repeat(100), "]".repeat(100));
    for how in ["json", "text", "auto"] {
        let error = by(&format!("decode: {how}, filter: {{ data: {{ a: [1] }} }}"), &deep).unwrap_err();
        assert_eq!(error, DecodeError::NoFields(NoTree::TooDeep), "{how}");
    }
    // Half a character is no hindrance to a filter, and the message passes as it is.
    let half = r#"{"a":1,"text":"cut \ud83d"}"#;
    let keys = "decode: json, filter: { data: { a: [1], text: [{ prefix: cut }] } }";
    assert_eq!(told_by(keys, half), [half]);
    // What is written anew would not hold it.
    let error = by("decode: json, redact: [a]", half).unwrap_err();
    assert_eq!(error, DecodeError::NoFields(NoTree::HalfCharacter));
    // What is no JSON is a text, also one that begins like JSON.
    let text = "{\"a\":1, cut off";
    let keys = "decode: text, filter: { data: [{ prefix: '{' }] }";
    assert_eq!(told_by(keys, text), [text]);
}

#[test]
fn what_looks_like_a_change_is_hidden_as_one_also_where_it_is_none_of_dynamodbs() {
    let change = r#"{"eventName":"INSERT","tableName":"t","dynamodb":{"Keys":{"id":{"S":"a"}},"NewImage":{"card":{"S":"4711"}}},"eventSource":"aws:dynamodb"}"#;
    for (name, from, to) in [
        ("as Lambda has it", r#""tableName":"t","#, ""),
        (
            "a source twice",
            r#"{"eventName""#,
            r#"{"eventSource":"aws:dynamodb","eventName""#,
        ),
        ("no keys", r#"{"id":{"S":"a"}}"#, "null"),
    ] {
        let change = change.replace(from, to);
        let decoded = by("decode: auto", &change).unwrap();
        assert_eq!(decoded.events[0].content, Content::Other, "{name}");
        for path in ["NewImage.card", "'*.card'", "dynamodb.NewImage.card.S"] {
            let messages = told_by(&format!("decode: auto, redact: [{path}]"), &change);
            assert!(
                messages[0].contains(r#""card":{"S":"***"}"#),
                "{name}: {messages:?}"
            );
        }
    }
}

#[test]
fn an_envelope_that_lacks_something_is_not_let_through_where_something_is_hidden() {
    let whole = r#"{"messageType":"DATA_MESSAGE","logGroup":"g","logEvents":[{"id":"1","timestamp":5,"message":"{\"card\":\"4711\"}"}]}"#;
    let keys = "decode: auto, redact: [card]";
    assert_eq!(told_by(keys, whole), [r#"{"card":"***"}"#]);
    for lacking in ["logGroup", "logEvents"] {
        let damaged = whole.replace(lacking, "x");
        let error = by(keys, &damaged).unwrap_err();
        assert!(matches!(error, DecodeError::Unredactable(_)), "{error}");
        assert_eq!(told_by("decode: auto", &damaged), [damaged]);
    }
}

#[test]
fn a_message_in_which_nothing_is_hidden_passes_byte_for_byte() {
    let text = "{ \"a\" : \"\\u00e9\\/\" , \"n\": 1.0E+2 }";
    assert_eq!(told_by("decode: json, redact: [nope]", text), [text]);
    assert_eq!(
        told_by("decode: json, redact: [n]", text),
        [r#"{"a":"é/","n":"***"}"#]
    );
}

#[test]
fn changes_and_envelopes_in_a_list_are_not_shown_for_want_of_a_place() {
    let change = r#"{"eventName":"INSERT","dynamodb":{"NewImage":{"card":{"S":"4111"}}}}"#;
    for data in [
        format!("[{change},{change}]"),
        r#"{"dynamodb":[{"NewImage":{"card":{"S":"4111"}}}]}"#.to_owned(),
        r#"{"dynamodb":"{\"NewImage\":{\"card\":{\"S\":\"4111\"}}}"}"#.to_owned(),
    ] {
        let told = told_by("decode: auto, redact: [NewImage.card]", &data);
        assert!(!told[0].contains("4111"), "{told:?}");
    }
    let envelope = r#"{"messageType":"DATA_MESSAGE","owner":"1","logGroup":"x","logStream":"s","logEvents":[{"id":"1","timestamp":1,"message":"{\"card\":4111}"}]}"#;
    let untyped = envelope.replace(r#""messageType":"DATA_MESSAGE","#, "");
    for data in [format!("[{envelope}]"), untyped] {
        let refused = by("decode: auto, redact: [card]", &data).unwrap_err();
        assert!(matches!(refused, DecodeError::Unredactable(_)), "{refused}");
    }
    // An application may have a name or two of them in JSON of its own.
    let own = r#"{"messageType":"order","logGroup":"g","card":"4111"}"#;
    assert_eq!(
        told_by("decode: auto, redact: [card]", own),
        [r#"{"messageType":"order","logGroup":"g","card":"***"}"#]
    );
}

#[test]
fn paths_with_numbers_and_stars_see_through_lists_and_texts() {
    for (path, data) in [
        ("items.2024.total", r#"{"items":["{\"2024\":{\"total\":4111}}"]}"#),
        ("items.2024.total", r#"{"items":[{"2024":{"total":4111}}]}"#),
        ("'*.card'", r#"[{"x":{"card":4111}}]"#),
        ("'*.card'", r#"{"x":{"card":4111}}"#),
    ] {
        let told = told_by(&format!("decode: json, redact: [{path}]"), data);
        assert!(!told[0].contains("4111"), "{path}: {told:?}");
    }
}
