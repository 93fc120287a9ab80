use std::io::Write;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::stream::SequenceNumber;

const ARN: &str = "arn:aws:kinesis:eu-west-1:111122223333:stream/audit";
const ARRIVED: i64 = 1_767_225_600_500;

const ENVELOPE: &str = r#"{"messageType":"DATA_MESSAGE","owner":"1","logGroup":"/app","logStream":"s","logEvents":[{"id":"31","timestamp":1767225600001,"message":"one\n"},{"id":"32","timestamp":1767225600002,"message":"two"}]}"#;
const CHANGE: &str = r#" {"awsRegion":"eu-west-1","eventName":"INSERT","tableName":"orders","dynamodb":{"ApproximateCreationDateTime":1767225600123999,"Keys":{"id":{"N":"1"}}},"eventSource":"aws:dynamodb"}
"#;
/// An application's own.
const ORDER: &str = r#"{"messageType":"ORDER_CREATED","logGroup":"billing","amount":5}"#;
/// A DynamoDB Streams record, as the API gives it.
const WIRE: &str = r#"{"eventID":"e","dynamodb":{"Keys":{},"SequenceNumber":"7"}}"#;

const ALL: [Decode; 8] = [
    Decode::Auto,
    Decode::Lambda,
    Decode::Subscription,
    Decode::Audit,
    Decode::Change,
    Decode::Json,
    Decode::Text,
    Decode::Base64,
];

fn record(data: &[u8]) -> Record {
    Record {
        sequence_number: SequenceNumber::parse("49").unwrap(),
        sub_sequence_number: 3,
        time: Some(Timestamp::from_millis(ARRIVED)),
        partition_key: Some(Arc::from("key \"é\"")),
        data: Bytes::copy_from_slice(data),
        fields: None,
    }
}

fn decode_record(record: &Record, settings: &DecodeSettings) -> Result<Decoded, DecodeError> {
    let stream = StreamArn::kinesis(ARN, Some(1_700_000_000));
    let shard = ShardId::new("shardId-1");
    let origin = Origin {
        stream: &stream,
        shard: &shard,
    };
    decode(record, origin, settings)
}

fn decoded(data: &[u8], how: Decode) -> Result<Decoded, DecodeError> {
    decode_record(&record(data), &DecodeSettings::of(how))
}

/// Times and messages; an error as its text.
fn events(data: &[u8], how: Decode) -> Result<Vec<(i64, String)>, String> {
    let decoded = decoded(data, how).map_err(|e| e.to_string())?;
    assert_eq!(decoded.events.is_empty(), decoded.skipped.is_some());
    let events = decoded.events.into_iter();
    Ok(events
        .map(|e| (e.event.timestamp.millis(), e.event.message))
        .collect())
}

fn one(time: i64, message: &str) -> Result<Vec<(i64, String)>, String> {
    Ok(vec![(time, message.to_owned())])
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn in_base64(data: &[u8]) -> String {
    format!(
        r#"{{"id":"{ARN}:shardId-1:49:3:0","data":"{}","encoding":"base64","eventSourceARN":"{ARN}","shardId":"shardId-1","sequenceNumber":"49","subSequenceNumber":3,"partitionKey":"key \"é\"","approximateArrivalTimestamp":{ARRIVED}}}"#,
        STANDARD.encode(data)
    )
}

#[test]
fn auto_takes_a_record_for_what_it_looks_like() {
    let inside = Ok(vec![
        (1_767_225_600_001, "one\n".to_owned()),
        (1_767_225_600_002, "two".to_owned()),
    ]);
    // gzip of a text with a file's name, as the `gzip` command writes it.
    let hoge = STANDARD
        .decode("H4sICAgtzGYAA2hvZ2UAy8hPT+UCAJ2H4rkFAAAA")
        .unwrap();
    let latin = b"abc\xe9";
    for (name, data, expected) in [
        ("an envelope", ENVELOPE.as_bytes().to_vec(), inside.clone()),
        ("an envelope in gzip", gzip(ENVELOPE.as_bytes()), inside.clone()),
        ("twice in gzip", gzip(&gzip(ENVELOPE.as_bytes())), inside),
        ("a change", CHANGE.into(), one(1_767_225_600_123, CHANGE)),
        (
            "a change in gzip",
            gzip(CHANGE.as_bytes()),
            one(1_767_225_600_123, CHANGE),
        ),
        ("half a change", CHANGE[..99].into(), one(ARRIVED, &CHANGE[..99])),
        ("JSON", b" {\"a\": 1}\n".to_vec(), one(ARRIVED, " {\"a\": 1}\n")),
        ("half of JSON", b"{\"a\":".to_vec(), one(ARRIVED, "{\"a\":")),
        (
            "JSON with names of an envelope",
            ORDER.into(),
            one(ARRIVED, ORDER),
        ),
        ("a record of Lambda", WIRE.into(), one(ARRIVED, WIRE)),
        ("text", "日本\0\r\n".into(), one(ARRIVED, "日本\0\r\n")),
        ("text in gzip", hoge.clone(), one(ARRIVED, "hoge\n")),
        ("nothing", vec![], one(ARRIVED, "")),
        ("bytes", latin.to_vec(), one(ARRIVED, &in_base64(latin))),
        (
            "bytes in gzip",
            gzip(latin),
            one(ARRIVED, &in_base64(&gzip(latin))),
        ),
        (
            "gzip's magic alone",
            vec![0x1f, 0x8b],
            one(ARRIVED, &in_base64(&[0x1f, 0x8b])),
        ),
    ] {
        assert_eq!(events(&data, Decode::Auto), expected, "{name}");
    }
    let mut broken = ENVELOPE.as_bytes().to_vec();
    broken[ENVELOPE.find("two").unwrap()] = 0xff;
    for (name, data, error) in [
        ("half an envelope", ENVELOPE[..90].into(), "not an envelope"),
        (
            "an envelope and more",
            [ENVELOPE.as_bytes(), b"?"].concat(),
            "not an envelope",
        ),
        ("broken text in an envelope", broken, "not UTF-8"),
        ("half of gzip", hoge[..hoge.len() - 1].to_vec(), "breaks off"),
        ("gzip and more", [&hoge[..], b"?"].concat(), "follow the end"),
    ] {
        let says = events(&data, Decode::Auto).unwrap_err();
        assert!(says.contains(error), "{name}: {says}");
    }
}

#[test]
fn each_reading_takes_its_own_and_refuses_the_rest() {
    let gzipped = gzip(b"[1]");
    for (how, data, expected) in [
        (Decode::Json, &b" [1, 2]\n"[..], Ok(" [1, 2]\n")),
        (
            Decode::Json,
            br#"{"a":"\ud800","a":1e999}"#,
            Ok(r#"{"a":"\ud800","a":1e999}"#),
        ),
        (Decode::Json, &gzipped, Ok("[1]")),
        (Decode::Json, b"", Err("not JSON: EOF")),
        (Decode::Json, b"{} {}", Err("not JSON: trailing characters")),
        (Decode::Json, b"\"\xff\"", Err("not UTF-8 from byte 1 on")),
        (Decode::Text, b"{\"a\":\n", Ok("{\"a\":\n")),
        (Decode::Text, &gzipped, Ok("[1]")),
        (Decode::Text, b"abc\xe9", Err("not UTF-8 from byte 3 on")),
        (Decode::Subscription, b"text", Err("not an envelope")),
        (Decode::Subscription, b"\xff", Err("not UTF-8")),
        (
            Decode::Subscription,
            ORDER.as_bytes(),
            Err("unknown message type `ORDER_CREATED`"),
        ),
        (Decode::Change, b"{}", Err("`eventSource`")),
        (
            Decode::Change,
            ENVELOPE.as_bytes(),
            Err("not a DynamoDB change that came through Kinesis"),
        ),
        (Decode::Lambda, b"{}", Err("not a DynamoDB stream record")),
        (Decode::Lambda, &gzipped, Err("not a DynamoDB stream record")),
    ] {
        match (events(data, how), expected) {
            (Ok(events), Ok(message)) => assert_eq!(events, one(ARRIVED, message).unwrap(), "{how:?}"),
            (Err(error), Err(says)) => assert!(error.contains(says), "{how:?}: {error}"),
            (got, expected) => panic!("{how:?} of {data:?}: {got:?}, not {expected:?}"),
        }
    }
    assert_eq!(
        events(b"\0\xff", Decode::Base64),
        one(ARRIVED, &in_base64(b"\0\xff"))
    );
    assert_eq!(
        events(&gzipped, Decode::Base64),
        one(ARRIVED, &in_base64(b"[1]")),
        "inflated"
    );
    assert_eq!(
        events(CHANGE.as_bytes(), Decode::Change),
        one(1_767_225_600_123, CHANGE)
    );
    let lambda = decoded(WIRE.as_bytes(), Decode::Lambda).unwrap();
    assert!(lambda.events[0].event.message.contains(r#""eventVersion":"1.1""#));
}

#[test]
fn each_event_tells_what_its_message_is() {
    let line = "1700000000123456,db-1,app,10.1.2.3,17,4711,QUERY,shop,'SELECT 1',0";
    for (name, data, how, expected) in [
        (
            "a record of a DynamoDB stream",
            WIRE,
            Decode::Lambda,
            Content::Change,
        ),
        ("a change from Kinesis", CHANGE, Decode::Change, Content::Change),
        ("a change by its looks", CHANGE, Decode::Auto, Content::Change),
        ("half a change", &CHANGE[..99], Decode::Auto, Content::Other),
        (
            "a change that is to be any JSON",
            CHANGE,
            Decode::Json,
            Content::Other,
        ),
        ("an audit line", line, Decode::Audit, Content::AuditRow),
        ("another line", "hoge", Decode::Audit, Content::AuditLine),
        ("an event of an envelope", ENVELOPE, Decode::Auto, Content::Other),
        ("text", "hoge", Decode::Text, Content::Other),
        ("bytes", "hoge", Decode::Base64, Content::Bytes),
    ] {
        let decoded = decoded(data.as_bytes(), how).unwrap();
        assert_eq!(decoded.events[0].content, expected, "{name}");
        assert_eq!(decoded.events[0].line, None, "{name}");
    }
    let bytes = decoded(&[0xff], Decode::Auto).unwrap();
    assert_eq!(bytes.events[0].content, Content::Bytes);
    let keep = DecodeSettings {
        keep_lines: true,
        ..DecodeSettings::of(Decode::Audit)
    };
    let lines = format!("{line}\r\nhoge\n");
    let decoded = decode_record(&record(lines.as_bytes()), &keep).unwrap();
    let kept: Vec<_> = decoded.events.iter().map(|e| e.line.as_deref()).collect();
    assert_eq!(kept, [Some(line), Some("hoge")]);
}

#[test]
fn gzip_is_undone_as_the_settings_say() {
    let zipped = gzip(b"text");
    let with = |how, gzip| DecodeSettings {
        gzip,
        ..DecodeSettings::of(how)
    };
    for how in ALL {
        if how != Decode::Lambda {
            let refused = decode_record(&record(b"text"), &with(how, Gzip::Always));
            assert_eq!(refused, Err(DecodeError::NotGzip), "{how:?}");
        }
    }
    let message = |data: &[u8], settings: &DecodeSettings| {
        decode_record(&record(data), settings).unwrap().events[0]
            .event
            .message
            .clone()
    };
    assert_eq!(message(&zipped, &with(Decode::Text, Gzip::Always)), "text");
    assert_eq!(message(b"text", &with(Decode::Text, Gzip::Auto)), "text");
    for how in [Decode::Auto, Decode::Base64] {
        assert_eq!(
            message(&zipped, &with(how, Gzip::Never)),
            in_base64(&zipped),
            "as it is"
        );
        assert_eq!(
            message(&zipped[..9], &with(how, Gzip::Never)),
            in_base64(&zipped[..9])
        );
    }
    let small = DecodeSettings {
        inflate_limit: 1 << 20,
        ..DecodeSettings::of(Decode::Auto)
    };
    let bomb = decode_record(&record(&gzip(&vec![0; 10 << 20])), &small).unwrap_err();
    assert_eq!(
        bomb.to_string(),
        "gzip holds more than 1048576 bytes: a higher `inflate_limit` in the settings (`--limit` of `weir decode`) allows more"
    );
    let much = DecodeError::TooMuch { limit: 4 << 20 }.to_string();
    assert_eq!(
        much,
        "the record's events take more than 4194304 bytes: a higher `inflate_limit` in the settings (`--limit` of `weir decode`) allows more"
    );
}

#[test]
fn audit_lines_come_in_an_envelope_or_alone() {
    let inside = decoded(&gzip(ENVELOPE.as_bytes()), Decode::Audit).unwrap();
    assert_eq!(inside.envelopes.len(), 1);
    assert_eq!(inside.unparsed_lines, 2, "neither is an audit line");
    let told: Vec<_> = inside
        .events
        .iter()
        .map(|e| (e.event.timestamp.millis(), e.envelope))
        .collect();
    assert_eq!(told, [(1_767_225_600_001, Some(0)), (1_767_225_600_002, Some(0))]);

    let row = b"20260101 00:00:00,db,app,host,7,9,QUERY,shop,'select \xe6\x97',0\nsecond";
    let alone = decoded(row, Decode::Audit).unwrap();
    assert_eq!((alone.events.len(), alone.envelopes.len()), (2, 0));
    assert_eq!(alone.unparsed_lines, 1);
    let messages: Vec<_> = alone.events.iter().map(|e| &*e.event.message).collect();
    assert!(
        messages[0].contains("\"object\":\"select \u{fffd}\""),
        "the broken bytes alone: {}",
        messages[0]
    );
    assert!(messages[1].contains("second"));
    assert!(
        alone
            .events
            .iter()
            .all(|e| e.event.timestamp.millis() == ARRIVED && e.envelope.is_none())
    );

    assert_eq!(decoded(b"", Decode::Audit).unwrap().skipped, Some(Skip::Nothing));
    let control = decoded(
        br#"{"messageType":"CONTROL_MESSAGE","logGroup":""}"#,
        Decode::Audit,
    );
    assert_eq!(control.unwrap().skipped, Some(Skip::ControlMessage));
    let broken = [ENVELOPE.as_bytes(), b"\xff"].concat();
    assert!(
        decoded(&broken, Decode::Audit).is_err(),
        "in an envelope nothing is replaced"
    );
}

#[test]
fn an_event_of_several_audit_lines_becomes_one_event_a_line() {
    const CONNECT: &str = "20260101 00:00:00,db,app,host,7,0,CONNECT,,,0";
    const QUERY: &str = "20260101 00:00:01,db,app,host,7,9,QUERY,shop,'select 1',0";
    let open = "20260101 00:00:01,db,app,host,7,9,QUERY,shop,'select 1";
    let read = |message: &str, id: &str| {
        let event = serde_json::json!({"id": id, "timestamp": 5, "message": message});
        let envelope = format!(
            r#"{{"messageType":"DATA_MESSAGE","logGroup":"g","logEvents":[{event},{{"id":"32","timestamp":6,"message":""}}]}}"#
        );
        let decoded = decoded(envelope.as_bytes(), Decode::Audit).unwrap();
        let (last, events) = decoded.events.split_last().unwrap();
        assert_eq!(last.event.timestamp.millis(), 6);
        assert!(
            events
                .iter()
                .all(|e| e.envelope == Some(0) && e.event.timestamp.millis() == 5)
        );
        let rows: Vec<serde_json::Value> = events
            .iter()
            .map(|e| serde_json::from_str(&e.event.message).unwrap())
            .collect();
        let unparsed = rows.iter().filter(|row| !row["error"].is_null()).count() as u64;
        assert_eq!(decoded.unparsed_lines, unparsed + 1, "and the last one");
        let told = |row: &serde_json::Value| {
            let what = ["operation", "message"].map(|name| row[name].as_str().unwrap_or_default());
            (what.concat(), row["id"].as_str().unwrap_or_default().to_owned())
        };
        rows.iter().map(told).collect::<Vec<_>>()
    };
    for (name, message, expected) in [
        ("one line", format!("{CONNECT}\n"), vec![("CONNECT", "31")]),
        (
            "two rows",
            format!("{CONNECT}\n{QUERY}\n"),
            vec![("CONNECT", "31:0"), ("QUERY", "31:1")],
        ),
        (
            "two rows of one kind, with an empty line",
            format!("{CONNECT}\r\n\r\n{CONNECT}"),
            vec![("CONNECT", "31:0"), ("CONNECT", "31:1")],
        ),
        (
            "a row and a part of one",
            format!("end of one',0\n{QUERY}\n{open}"),
            vec![("end of one',0", "31:0"), ("QUERY", "31:1"), (open, "31:2")],
        ),
        (
            "a row behind one that is damaged",
            format!("{}\n{QUERY}", CONNECT.replace(",0,C", ",x,C")),
            vec![
                ("20260101 00:00:00,db,app,host,7,x,CONNECT,,,0", "31:0"),
                ("QUERY", "31:1"),
            ],
        ),
        (
            "SQL of two lines",
            format!("{open}\n+1',0"),
            vec![("QUERY", "31")],
        ),
        (
            "SQL that holds a row",
            format!("{open}/*\n{CONNECT}\n*/',0"),
            vec![("QUERY", "31")],
        ),
        ("no audit log", "a\nb\n".to_owned(), vec![("a\nb\n", "31")]),
    ] {
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(what, id)| (what.to_owned(), id.to_owned()))
            .collect();
        assert_eq!(read(&message, "31"), expected, "{name}");
    }
    // An event without an id has its place in the stream.
    for message in [CONNECT.to_owned(), format!("{CONNECT}\n{CONNECT}")] {
        let ids: Vec<String> = read(&message, "").into_iter().map(|(_, id)| id).collect();
        let places = (0..ids.len()).map(|at| format!("{ARN}:shardId-1:49:3:{at}"));
        assert_eq!(ids, places.collect::<Vec<_>>());
    }
}

#[test]
fn bytes_that_are_neither_text_nor_an_audit_line_are_an_error_of_the_whole_record() {
    const ROW: &str = "20260101 00:00:00,db,app,host,7,9,QUERY,shop,'select 1',0\n";
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(6));
    zlib.write_all(ROW.repeat(9).as_bytes()).unwrap();
    let zlib = zlib.finish().unwrap();
    let utf16: Vec<u8> = format!("\u{feff}{ROW}")
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    for (name, data, at) in [
        ("zlib", zlib, 1),
        ("UTF-16", utf16, 0),
        ("one byte", vec![0xff], 0),
        ("a line that is cut", b"first, \xe6\x97\nsecond".to_vec(), 7),
        (
            "behind an audit line",
            [ROW.as_bytes(), b"lat\xefn"].concat(),
            ROW.len() + 3,
        ),
        (
            "an audit line that never ends",
            b"20260101 00:00:00,db,app,host,7,9,QUERY,shop,'lat\xefn".to_vec(),
            49,
        ),
    ] {
        assert_eq!(
            decoded(&data, Decode::Audit),
            Err(DecodeError::NotUtf8 { at }),
            "{name}"
        );
    }
    for data in [&[0xff; 5000][..], b"a\xe6\x97\n\xf0\x9f\xa6b\xe9", b""] {
        let text = reading::replaced(data);
        assert_eq!(text, String::from_utf8_lossy(data));
        assert!(text.capacity() <= 3 * data.len(), "{}", text.capacity());
    }
    let replaced = format!("{ROW}a \u{fffd} of its own");
    assert_eq!(
        decoded(replaced.as_bytes(), Decode::Audit)
            .unwrap()
            .unparsed_lines,
        1
    );
}

#[test]
fn very_many_events_of_very_little_are_too_much() {
    let settings = |how| DecodeSettings {
        inflate_limit: 1 << 20,
        ..DecodeSettings::of(how)
    };
    let event = r#"{"timestamp":1,"message":""},"#.repeat(30_000);
    let envelope = format!(
        r#"{{"messageType":"DATA_MESSAGE","logGroup":"{}","logEvents":[{event}{{"timestamp":1,"message":""}}]}}"#,
        "a group of a very long name/".repeat(15)
    );
    let limit = 4 << 20;
    for data in ["a\n".repeat(100_000), envelope.clone()] {
        for data in [gzip(data.as_bytes()), data.into_bytes()] {
            let error = decode_record(&record(&data), &settings(Decode::Audit)).err();
            assert_eq!(error, Some(DecodeError::TooMuch { limit }));
        }
    }
    // Refused before the end is read, which is no event at all.
    let many = r#"{"timestamp":1,"message":"a"},"#.repeat(100_000);
    let many = format!(r#"{{"messageType":"DATA_MESSAGE","logGroup":"g","logEvents":[{many}{{}}]}}"#);
    let error = decode_record(&record(many.as_bytes()), &settings(Decode::Audit)).err();
    let limit = 4 * many.len();
    assert_eq!(error, Some(DecodeError::TooMuch { limit }));
    let plain = decode_record(&record(envelope.as_bytes()), &settings(Decode::Subscription)).unwrap();
    assert_eq!(plain.events.len(), 30_001);
    let lines = "a line of a usual length, with a statement in it, or a part of one\n".repeat(5000);
    assert!(decode_record(&record(lines.as_bytes()), &settings(Decode::Audit)).is_ok());
}

#[test]
fn an_envelope_tells_its_sender_whatever_it_is_read_as() {
    let envelope = |owner: &str, stream: &str| {
        Some(Envelope {
            owner: owner.to_owned(),
            log_group: "/app".to_owned(),
            log_stream: stream.to_owned(),
        })
    };
    let events_first =
        r#"{"logEvents":[{"owner":"x"}],"logGroup":"/app","messageType":1,"logStream":null,"owner":"é"}"#;
    let again = ENVELOPE.replace("/app", "/other");
    let broken = [&ENVELOPE.as_bytes()[..110], b"\xff"].concat();
    for (name, data, expected) in [
        ("an envelope", ENVELOPE.as_bytes().to_vec(), envelope("1", "s")),
        (
            "in gzip in gzip",
            gzip(&gzip(ENVELOPE.as_bytes())),
            envelope("1", "s"),
        ),
        ("the events first", events_first.into(), envelope("é", "")),
        (
            "several",
            [ENVELOPE, &again].concat().into_bytes(),
            envelope("1", "s"),
        ),
        ("damaged events", broken, envelope("1", "s")),
        (
            "no owner",
            br#"{"messageType":"","logGroup":"/app","logEvents":[]}"#.to_vec(),
            envelope("", ""),
        ),
        (
            "a group that is no text",
            br#"{"messageType":"","logGroup":1,"logEvents":[]}"#.to_vec(),
            None,
        ),
        ("half of gzip", gzip(ENVELOPE.as_bytes())[..90].to_vec(), None),
        ("an application's own", ORDER.into(), None),
        ("a change", CHANGE.into(), None),
        ("nothing", vec![], None),
        ("bytes", vec![0xff; 9], None),
    ] {
        for how in ALL {
            let sender = sender(&record(&data), &DecodeSettings::of(how));
            assert_eq!(sender, expected, "{name}, read as {how:?}");
        }
    }
    let small = DecodeSettings {
        inflate_limit: 100,
        ..DecodeSettings::of(Decode::Text)
    };
    assert_eq!(sender(&record(&gzip(ENVELOPE.as_bytes())), &small), None);
}

#[test]
fn a_record_without_a_time_is_an_error_where_the_time_is_needed() {
    for (how, data, needed) in [
        (Decode::Auto, ENVELOPE, None),
        (Decode::Subscription, ENVELOPE, None),
        (Decode::Audit, ENVELOPE, None),
        (Decode::Change, CHANGE, None),
        (Decode::Auto, CHANGE, None),
        (Decode::Audit, "", None),
        (Decode::Change, &CHANGE.replace("176722", ""), Some(ARRIVAL)),
        (Decode::Auto, "text", Some(ARRIVAL)),
        (Decode::Audit, "text", Some(ARRIVAL)),
        (Decode::Json, "1", Some(ARRIVAL)),
        (Decode::Text, "1", Some(ARRIVAL)),
        (Decode::Base64, "1", Some(ARRIVAL)),
        (Decode::Lambda, WIRE, Some(CREATION)),
    ] {
        let record = Record {
            time: None,
            ..record(data.as_bytes())
        };
        let error = decode_record(&record, &DecodeSettings::of(how)).err();
        assert_eq!(error, needed.map(DecodeError::NoTime), "{how:?} of {data}");
    }
    assert_eq!(
        DecodeError::NoTime(ARRIVAL).to_string(),
        "the record has no readable ApproximateArrivalTimestamp"
    );
}

#[test]
fn an_estimate_covers_what_one_layer_holds() {
    let envelope = ENVELOPE.replace("two", &"a long statement ".repeat(5000));
    for how in ALL {
        for data in [
            b"".to_vec(),
            b"x".to_vec(),
            vec![0xff; 5000],
            envelope.clone().into(),
            gzip(envelope.as_bytes()),
        ] {
            let settings = DecodeSettings::of(how);
            let Ok(decoded) = decoded(&data, how) else {
                continue;
            };
            let bytes: usize = decoded.events.iter().map(|e| e.event.message.len()).sum();
            let estimate = estimate(&record(&data), &settings);
            assert!(
                bytes <= estimate,
                "{how:?} of {}: {bytes} > {estimate}",
                data.len()
            );
        }
    }
    let never = DecodeSettings {
        gzip: Gzip::Never,
        ..DecodeSettings::of(Decode::Text)
    };
    let zipped = record(&gzip(&vec![0; 1 << 20]));
    assert!(estimate(&zipped, &never) < 4096);
    assert!(estimate(&zipped, &DecodeSettings::of(Decode::Text)) >= 2 << 20);
}

#[test]
fn an_estimate_counts_audit_lines_and_does_not_trust_a_size_that_can_not_be_all() {
    let audit = DecodeSettings::of(Decode::Audit);
    for line in ["a\n", "20260101 00:00:00,db,app,host,7,0,CONNECT,,,0\n"] {
        let data = line.repeat(2000);
        let decoded = decoded(data.as_bytes(), Decode::Audit).unwrap();
        let bytes: usize = decoded.events.iter().map(|e| e.event.message.len()).sum();
        let estimate = estimate(&record(data.as_bytes()), &audit);
        assert!(bytes <= estimate, "{bytes} > {estimate}");
    }
    let of = |data: &[u8]| estimate(&record(data), &audit);
    let long = "x".repeat(100_000);
    assert!(of(format!("{long}\n").as_bytes()) >= 300_000, "one line");
    assert!(
        of([&*long; 5].join("\n").as_bytes()) < 600_000,
        "long lines are told once"
    );
    assert!(
        of(format!("{{{long}\n{long}").as_bytes()) >= 600_000,
        "an envelope"
    );
    let small = DecodeSettings {
        inflate_limit: 1 << 20,
        ..audit
    };
    let breaks = estimate(&record(&b"\n".repeat(1 << 20)), &small);
    assert!(breaks <= (4 << 20) + 1024, "no more than what is refused");

    let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(5000).collect();
    let members = [gzip(&noise), gzip(b"")].concat();
    let text = DecodeSettings::of(Decode::Text);
    for data in [members.clone(), [gzip(&noise), gzip(b"x")].concat()] {
        assert!(estimate(&record(&data), &text) >= 4 * data.len());
    }
    let limited = DecodeSettings {
        inflate_limit: 6000,
        ..text
    };
    assert!(estimate(&record(&members), &limited) <= 2 * 6000 + members.len() + 1024);
}

/// Bytes of any kind, and such as one of the decoders takes for its own, whole and damaged.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let whole = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..100),
        ".{0,60}".prop_map(String::into_bytes),
        Just(ENVELOPE.as_bytes().to_vec()),
        Just(CHANGE.as_bytes().to_vec()),
        Just(WIRE.as_bytes().to_vec()),
    ];
    let layers = (whole, 0usize..6).prop_map(|(data, layers)| (0..layers).fold(data, |data, _| gzip(&data)));
    (
        layers,
        proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..3),
    )
        .prop_map(|(mut data, damage)| {
            for (at, byte) in damage {
                if !data.is_empty() {
                    let at = at.index(data.len());
                    data[at] = byte;
                }
            }
            data
        })
}

fn settings() -> impl Strategy<Value = DecodeSettings> {
    let gzip = prop_oneof![Just(Gzip::Auto), Just(Gzip::Always), Just(Gzip::Never)];
    let unknown = prop_oneof![Just(UnknownMessages::DeadLetter), Just(UnknownMessages::Skip)];
    let how = proptest::sample::select(&ALL[..]);
    (how, gzip, 0usize..5000, unknown, any::<bool>()).prop_map(
        |(how, gzip, inflate_limit, unknown_messages, keep_lines)| DecodeSettings {
            how,
            gzip,
            inflate_limit,
            unknown_messages,
            keep_lines,
        },
    )
}

proptest! {
    #[test]
    fn any_record_becomes_events_or_a_reason(data in bytes(), settings in settings()) {
        let record = record(&data);
        if let Ok(decoded) = decode_record(&record, &settings) {
            prop_assert_eq!(decoded.events.is_empty(), decoded.skipped.is_some());
            prop_assert!(decoded.events.iter().filter_map(|e| e.envelope).all(|e| e < decoded.envelopes.len()));
            let unparsed = decoded.events.iter().filter(|e| e.content == Content::AuditLine).count();
            prop_assert_eq!(decoded.unparsed_lines, unparsed as u64);
            for event in &decoded.events {
                let is_audit = matches!(event.content, Content::AuditRow | Content::AuditLine);
                prop_assert_eq!(is_audit, settings.how == Decode::Audit);
                prop_assert_eq!(event.line.is_some(), is_audit && settings.keep_lines);
            }
            if let ([envelope], Decode::Auto) = (&decoded.envelopes[..], settings.how) {
                let sender = sender(&record, &settings);
                prop_assert_eq!(sender.as_ref(), Some(envelope));
            }
        }
        estimate(&record, &settings);
    }

    #[test]
    fn what_passes_unchanged_can_be_read_back(data in bytes()) {
        let settings = DecodeSettings { gzip: Gzip::Never, ..DecodeSettings::of(Decode::Auto) };
        for how in [Decode::Auto, Decode::Text, Decode::Json, Decode::Change, Decode::Base64] {
            let settings = DecodeSettings { how, ..settings.clone() };
            let Ok(decoded) = decode_record(&record(&data), &settings) else { continue };
            if !decoded.envelopes.is_empty() || decoded.skipped.is_some() {
                continue;
            }
            let message = &decoded.events[0].event.message;
            let back = if how == Decode::Base64 || std::str::from_utf8(&data).is_err() {
                let json: serde_json::Value = serde_json::from_str(message).unwrap();
                STANDARD.decode(json["data"].as_str().unwrap()).unwrap()
            } else {
                message.clone().into_bytes()
            };
            prop_assert_eq!(&back, &data);
        }
    }
}

#[test]
fn a_reason_without_content_quotes_nothing_of_the_record() {
    const SECRET: &str = "4711-0815";
    let secret = format!("{SECRET} at line 1 column 2");
    for error in [
        DecodeError::Malformed(format!(
            "invalid type: string {secret:?}, expected a map at line 1 column 7"
        )),
        DecodeError::Malformed(secret.clone()),
        DecodeError::Json(format!("{SECRET} at line 1 column {SECRET}")),
        DecodeError::Envelope(secret.clone()),
        DecodeError::MessageType(secret.clone()),
        DecodeError::Change(secret.clone()),
        DecodeError::NoFields(NoTree::NotJson(secret)),
    ] {
        let told = error.without_content();
        assert!(!told.contains(SECRET), "{told}");
        assert!(told.len() > 20, "{told}");
    }
    let told = DecodeError::Json("expected value at line 1 column 7".to_owned()).without_content();
    assert!(told.starts_with("not JSON at line 1 column 7 "), "{told}");
    let told = DecodeError::NoFields(NoTree::TooMany { most: 5 }).without_content();
    assert!(told.contains("more than 5"), "{told}");
    // What a decoder says of a record, in each of its readings.
    let mut refused = 0;
    for data in [
        format!(r#"{{"dynamodb":"{SECRET}"}}"#),
        format!(r#"{{"messageType":"{SECRET}"}}"#),
        format!(r#"{{"messageType":"DATA_MESSAGE","logEvents":["{SECRET}"]}}"#),
        format!(r#"{{"eventSource":"aws:dynamodb","tableName":"t","dynamodb":"{SECRET}"}}"#),
        format!(r#""{SECRET}""#),
        SECRET.to_owned(),
    ] {
        for how in ALL {
            if let Err(error) = decoded(data.as_bytes(), how) {
                refused += 1;
                assert!(!error.without_content().contains(SECRET), "{how:?}: {error}");
            }
        }
    }
    assert!(refused > 10, "{refused}");
}
