use proptest::prelude::*;

use super::*;
use crate::decode::change::log_event;
use crate::stream::StreamArn;

#[test]
fn times_are_exact_to_the_millisecond() {
    for (text, want) in [
        ("0", Some(0)),
        ("-0.0", Some(0)),
        ("1479499740", Some(1_479_499_740_000)),
        ("1.46480431E9", Some(1_464_804_310_000)),
        ("1.46480431e+9", Some(1_464_804_310_000)),
        ("1.479499740123E9", Some(1_479_499_740_123)),
        ("1479499740.123", Some(1_479_499_740_123)),
        ("1479499740.1239999", Some(1_479_499_740_123)),
        ("1479499740.9999999999999999", Some(1_479_499_740_999)),
        ("1479499740123E-3", Some(1_479_499_740_123)),
        ("0.0005", Some(0)),
        ("-0.0005", Some(-1)),
        ("-1.5", Some(-1500)),
        ("-1.0001", Some(-1001)),
        ("1E-400", Some(0)),
        ("0E400", Some(0)),
        ("000000000000000000000000000001", Some(1000)),
        ("9223372036854775.807", Some(i64::MAX)),
        ("9223372036854775.808", None),
        ("-9223372036854775.808", Some(i64::MIN)),
        ("-9223372036854775.8081", None),
        ("1E400", None),
        ("1E9223372036854775807", None),
        ("1E99999999999999999999", None),
        ("", None),
        ("-", None),
        (".5", None),
        ("5.", None),
        ("1.2.3", None),
        ("1e", None),
        ("e9", None),
        ("+1", None),
        ("--1", None),
        ("0x10", None),
        ("NaN", None),
        ("null", None),
        ("\"1479499740\"", None),
        ("1 479", None),
        ("१", None),
    ] {
        assert_eq!(millis(text), want, "{text:?}");
    }
}

fn read(body: &str) -> Result<RecordBatch, SourceError> {
    batch(&Bytes::copy_from_slice(body.as_bytes()))
}

#[test]
fn an_answer_is_read_in_any_order_and_spacing() {
    let body = " { \"NextShardIterator\" : \"a\\/b\" ,\n \"Records\":[ {\"dynamodb\": {\"Keys\":{}, \
                \"SequenceNumber\" : \"\\u0031 2\" , \"SequenceNumber\":\"12\"}, \"eventID\":\"x\" } , \
                {\"dynamodb\":{\"SequenceNumber\":\"1\"},\"\\u0064ynamodb\":\
                {\"ApproximateCreationDateTime\":1.5,\"SequenceNumber\":\"13\"}}]}";
    let batch = read(body).unwrap();
    assert_eq!(batch.next, Next::At(ShardIterator::new("a/b")));
    let seen: Vec<_> = batch
        .records
        .iter()
        .map(|r| (r.sequence_number.as_str(), r.time.map(Timestamp::millis)))
        .collect();
    assert_eq!(seen, [("12", None), ("13", Some(1500))]);
    assert!(batch.records[0].data.starts_with(b"{\"dynamodb\": {\"Keys\""));
    assert!(batch.records[0].data.ends_with(b"\"eventID\":\"x\" }"));
}

#[test]
fn an_absent_or_null_iterator_is_the_end_of_the_shard() {
    for body in [
        "{}",
        r#"{"Records":[]}"#,
        r#"{"Records":null,"NextShardIterator":null}"#,
    ] {
        let batch = read(body).unwrap();
        assert!(batch.next == Next::End && batch.records.is_empty(), "{body}");
    }
}

#[test]
fn a_record_that_cannot_be_placed_fails_the_answer_and_is_named() {
    for bad in [
        r#"{"dynamodb":{}}"#,
        r#"{"dynamodb":{"SequenceNumber":7}}"#,
        r#"{"dynamodb":{"SequenceNumber":"x7"}}"#,
        r#"{"dynamodb":null}"#,
        r#"{"eventID":"secret"}"#,
        "7",
    ] {
        let good = r#"{"dynamodb":{"SequenceNumber":"7"}}"#;
        let error = read(&format!(r#"{{"Records":[{good},{bad}]}}"#)).unwrap_err();
        let SourceError::Unavailable(text) = error else {
            panic!("{error}")
        };
        assert!(text.contains("record 1") && !text.contains("secret"), "{text}");
    }
}

#[test]
fn a_broken_answer_is_never_an_empty_one() {
    for bad in [
        "",
        "[]",
        "{",
        "{}x",
        r#"{"Records":{}}"#,
        r#"{"NextShardIterator":7}"#,
        "<html>",
    ] {
        assert!(matches!(read(bad), Err(SourceError::Unavailable(_))), "{bad}");
    }
    let body = Bytes::from_static(b"{\"Records\":[\"\xff\"]}");
    assert!(matches!(batch(&body), Err(SourceError::Unavailable(_))));
}

/// What a batch says, to be compared.
fn told(batch: RecordBatch) -> (Vec<(String, Option<Timestamp>, Bytes)>, Next) {
    let records = batch.records.into_iter();
    let told = records.map(|r| (r.sequence_number.to_string(), r.time, r.data));
    (told.collect(), batch.next)
}

/// What both ways make of a body; the quick one must say what the careful one says, or nothing.
fn both(body: &str) -> (bool, Result<RecordBatch, SourceError>) {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let text = Str::from_inner(body.clone()).unwrap();
    let (quick, careful) = (in_one_pass(&text), step_by_step(&body, &text));
    let is_quick = quick.is_some();
    if let Some(quick) = quick {
        let careful = careful.as_ref().unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(told(quick), told(careful.clone()), "{text}");
    }
    (is_quick, careful)
}

#[test]
fn what_the_service_sends_is_read_in_one_pass_and_what_is_odd_in_many() {
    let record = |change: &str| format!(r#"{{"eventID":"e","dynamodb":{{"SequenceNumber":"7"{change}}}}}"#);
    let list = |record: &str| format!(r#"{{"Records":[{record}],"NextShardIterator":"i"}}"#);
    let plain = list(&record(""));
    for (what, body, is_quick) in [
        ("plain", plain.clone(), true),
        ("no records", "{}".to_owned(), true),
        (
            "an empty list, the end",
            r#"{"Records":[],"NextShardIterator":null}"#.to_owned(),
            true,
        ),
        (
            "an escape in the iterator",
            plain.replace("\"i\"", r#""i\/""#),
            true,
        ),
        (
            "white space",
            plain.replace(':', " : ").replace(',', "\n,\t"),
            true,
        ),
        ("an unknown field", plain.replace("eventID", "x"), true),
        ("one twice", plain.replace("eventID", "x\":1,\"x"), true),
        (
            "escapes in an image",
            list(&record(r#","NewImage":{"\u0061":{"S":"\ud83d\""}}"#)),
            true,
        ),
        ("a null image", list(&record(r#","NewImage":null"#)), true),
        ("no record list", plain.replace("Records", "x"), true),
        ("a null list", r#"{"Records":null}"#.to_owned(), false),
        (
            "records twice",
            format!(r#"{{"Records":[],{}"#, &plain[1..]),
            false,
        ),
        (
            "the iterator twice",
            plain.replace(
                r#""NextShardIterator""#,
                r#""NextShardIterator":"j","NextShardIterator""#,
            ),
            false,
        ),
        ("a number twice", list(&record(r#","SequenceNumber":"8""#)), false),
        (
            "a number with an escape",
            plain.replace("\"7\"", r#""\u0037""#),
            false,
        ),
        (
            "a change twice",
            plain.replace(r#""eventID":"e""#, r#""dynamodb":{"SequenceNumber":"8"}"#),
            false,
        ),
        (
            "a field twice",
            plain.replace("\"eventID\"", r#""eventID":null,"eventID""#),
            false,
        ),
        (
            "an escape in a key",
            plain.replace("dynamodb", r"dynamod\u0062"),
            false,
        ),
        (
            "an identity that is none",
            plain.replace("eventID", "userIdentity"),
            false,
        ),
    ] {
        let (quick, careful) = both(&body);
        assert_eq!(quick, is_quick, "{what}: {body}");
        assert!(careful.is_ok(), "{what}: {body}");
    }
}

/// JSON as no serializer would write it: numbers of many digits, any spacing, escapes, equal keys.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?",
        "\\PC{0,12}".prop_map(|s| serde_json::to_string(&s).unwrap()),
        "(\\\\u00[0-7][0-9a-f]|\\\\n|\\\\/){0,4}".prop_map(|s| format!("\"{s}\"")),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        let space = "[ \n\t]{0,2}";
        prop_oneof![
            (space, prop::collection::vec(inner.clone(), 0..6))
                .prop_map(|(s, v)| format!("[{s}{}]", v.join(&format!(",{s}")))),
            (space, prop::collection::vec(("[a-zA-Z]{0,3}", inner), 0..6)).prop_map(|(s, v)| {
                let members: Vec<_> = v.iter().map(|(k, v)| format!("\"{k}\"{s}:{s}{v}")).collect();
                format!("{{{s}{}{s}}}", members.join(","))
            }),
        ]
    })
}

/// An answer, with fields in any order, some of them odd.
fn answer() -> impl Strategy<Value = String> {
    let field = |name: &str, value: BoxedStrategy<String>| {
        let name = name.to_owned();
        value.prop_map(move |value| format!("\"{name}\":{value}")).boxed()
    };
    let text = || "\"[a-z]{0,3}\"".boxed();
    let number = || prop_oneof![9 => "\"[0-9]{1,3}\"", 1 => json().boxed()].boxed();
    let time = || prop_oneof!["1[0-9]{9}", "1\\.[0-9]{9}E9", json()].boxed();
    let change = prop::collection::vec(
        prop_oneof![
            5 => field("NewImage", json().boxed()),
            5 => field("Keys", json().boxed()),
            5 => field("ApproximateCreationDateTime", time()),
            1 => field("SequenceNumber", number()),
            3 => ("[A-Za-z]{1,3}", json()).prop_map(|(k, v)| format!("\"{k}\":{v}")),
        ],
        0..5,
    );
    let change = (change, number(), any::<prop::sample::Index>()).prop_map(|(mut fields, number, at)| {
        let at = at.index(fields.len() + 1);
        fields.insert(at, format!("\"SequenceNumber\":{number}"));
        format!("{{{}}}", fields.join(","))
    });
    let identity = prop_oneof![
        Just(r#"{"Type":"Service","principalId":"x"}"#.to_owned()),
        Just(r#"{"Type":"Service","type":"x"}"#.to_owned()),
        json(),
    ];
    let record = prop::collection::vec(
        prop_oneof![
            9 => field("eventID", text()),
            9 => field("eventName", json().boxed()),
            3 => field("userIdentity", identity.boxed()),
            1 => Just("\"\\u0061\":1".to_owned()),
        ],
        0..4,
    );
    let record = (record, change, any::<prop::sample::Index>()).prop_map(|(mut fields, change, at)| {
        let at = at.index(fields.len() + 1);
        fields.insert(at, format!("\"dynamodb\":{change}"));
        format!("{{{}}}", fields.join(" , "))
    });
    prop::collection::vec(record, 0..4).prop_map(|records| {
        format!(
            "{{\"Records\":[{}],\"NextShardIterator\":\"n\"}}",
            records.join(",")
        )
    })
}

proptest! {
    #[test]
    fn both_ways_through_an_answer_say_the_same(body in answer()) {
        let _ = both(&body);
    }

    #[test]
    fn both_ways_through_a_damaged_answer_say_the_same(
        body in answer(), at in any::<prop::sample::Index>(), byte in "[\\x00-\\x7f]?", cut in 0_usize..40
    ) {
        let at = at.index(body.len() + 1);
        let (Some(head), Some(tail)) = (body.get(..at), body.get((at + cut).min(body.len())..)) else {
            return Ok(());
        };
        let _ = both(&format!("{head}{byte}{tail}"));
    }

    /// The decoder makes the same of a record whose fields were seen, and of its bytes alone.
    #[test]
    fn a_message_is_the_same_from_the_fields_that_were_seen(body in answer()) {
        let stream = StreamArn::new("arn:aws:dynamodb:eu-west-1:1:table/t/stream/\"l\"");
        if let Ok(batch) = read(&body) {
            for record in batch.records {
                let bare = Record { fields: None, ..record.clone() };
                prop_assert_eq!(log_event(&record, &stream), log_event(&bare, &stream));
            }
        }
    }

    #[test]
    fn a_record_comes_back_as_the_text_it_was(images in prop::collection::vec(json(), 1..6)) {
        let texts: Vec<_> = images
            .iter()
            .enumerate()
            .map(|(i, image)| format!(
                r#"{{"x":{image},"dynamodb":{{"NewImage":{image},"SequenceNumber":"{i}","OldImage" : {image}}}}}"#
            ))
            .collect();
        let body = Bytes::from(format!(r#"{{"Records":[{}],"NextShardIterator":"n"}}"#, texts.join(" , ")));
        let batch = batch(&body).unwrap();
        prop_assert_eq!(batch.records.len(), texts.len());
        for (record, text) in batch.records.iter().zip(&texts) {
            prop_assert_eq!(&*record.data, text.as_bytes());
            prop_assert!(record.fields.is_some(), "read in one pass");
            // A slice, not a copy.
            prop_assert!(body.as_ptr_range().contains(&record.data.as_ptr()));
        }
    }

    #[test]
    fn millis_agrees_with_integer_arithmetic(seconds in -10_000_000_000i64..10_000_000_000, ms in 0i64..1000) {
        let text = if seconds < 0 && ms > 0 {
            // -7.25 is seven seconds and a quarter before the epoch.
            format!("-{}.{:03}", -(seconds + 1), 1000 - ms)
        } else {
            format!("{seconds}.{ms:03}")
        };
        prop_assert_eq!(millis(&text), Some(seconds * 1000 + ms));
    }
}
