//! `weir decode` as a person meets it: records in, lines of JSON out.

#![expect(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;

/// What a run of `weir decode` printed, and its exit code.
#[derive(Debug, PartialEq)]
struct Ran {
    out: String,
    err: String,
    code: Option<i32>,
    /// The most memory it was seen with, in bytes.
    memory: u64,
}

/// Runs `weir decode` with these arguments and this input.
fn decode(arguments: &[&str], input: &[u8]) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_weir"))
        .arg("decode")
        .args(arguments)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let id = child.id();
    let (mut stdin, mut stdout, mut stderr) = (
        child.stdin.take().unwrap(),
        child.stdout.take().unwrap(),
        child.stderr.take().unwrap(),
    );
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // A process that has seen enough stops reading.
            let _ = stdin.write_all(input);
        });
        let err = scope.spawn(move || {
            let mut err = String::new();
            stderr.read_to_string(&mut err).unwrap();
            err
        });
        let (tell, ended) = mpsc::channel();
        let out = scope.spawn(move || {
            let mut out = String::new();
            stdout.read_to_string(&mut out).unwrap();
            tell.send(()).unwrap();
            out
        });
        let mut memory = peak(id);
        while ended.recv_timeout(Duration::from_millis(1)).is_err() {
            memory = memory.max(peak(id));
        }
        Ran {
            out: out.join().unwrap(),
            err: err.join().unwrap(),
            code: child.wait().unwrap().code(),
            memory,
        }
    })
}

/// The most memory that a process had so far.
fn peak(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}

/// What is printed of an input that can be decoded, with nothing on stderr.
#[track_caller]
fn printed(arguments: &[&str], input: &[u8]) -> String {
    let ran = decode(arguments, input);
    assert_eq!(
        (ran.err.as_str(), ran.code),
        ("", Some(0)),
        "{arguments:?}: {}",
        ran.out
    );
    ran.out
}

fn gzip(content: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content.as_ref()).unwrap();
    encoder.finish().unwrap()
}

/// A subscription envelope of these messages.
fn envelope(group: &str, stream: &str, messages: &[&str]) -> Vec<u8> {
    let events: Vec<_> = messages
        .iter()
        .zip(1u64..)
        .map(|(message, n)| {
            serde_json::json!({ "id": format!("{n:056}"), "timestamp": 1_700_000_000_000 + n, "message": message })
        })
        .collect();
    gzip(
        serde_json::json!({
            "messageType": "DATA_MESSAGE", "owner": "111122223333", "logGroup": group, "logStream": stream,
            "subscriptionFilters": ["to-kinesis"], "logEvents": events,
        })
        .to_string(),
    )
}

fn control_message() -> Vec<u8> {
    gzip(
        r#"{"messageType":"CONTROL_MESSAGE","owner":"CloudwatchLogs","logGroup":"","logStream":"","subscriptionFilters":[],
            "logEvents":[{"id":"","timestamp":1700000000000,"message":"CWL CONTROL MESSAGE: Checking health of destination Kinesis stream."}]}"#,
    )
}

fn json(line: &str) -> serde_json::Value {
    serde_json::from_str(line).unwrap()
}

/// gzip of `hoge` and a line break.
const HOGE: &str = "H4sICAgtzGYAA2hvZ2UAy8hPT+UCAJ2H4rkFAAAA";
/// An aggregate of `{"a":1}`, `日本` and nothing, with the partition keys pk-0, pk-1 and pk-0.
const AGGREGATE: &str =
    "84mawgoEcGstMAoEcGstMRoLCAAaB3siYSI6MX0aCggBGgbml6XmnKwaBAgAGgCEisb04bg45T6JggI9c/Vx";

const AUDIT: &str = "1700000000123456,au-1,app,10.1.2.3,17,2001,QUERY,shop,'SELECT \\'x\\', 1',0";

#[test]
fn gzip_without_an_envelope_is_text_in_base64_and_as_bytes() {
    let hoge = "{\"message\":\"hoge\\n\"}\n";
    assert_eq!(printed(&[], HOGE.as_bytes()), hoge);
    assert_eq!(printed(&["--base64"], HOGE.as_bytes()), hoge);
    assert_eq!(printed(&["-"], &STANDARD.decode(HOGE).unwrap()), hoge);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), STANDARD.decode(HOGE).unwrap()).unwrap();
    assert_eq!(printed(&[file.path().to_str().unwrap()], b""), hoge);
    let two = format!("{HOGE}\n{HOGE}\n");
    assert_eq!(printed(&[], two.as_bytes()), hoge.repeat(2));
}

#[test]
fn the_events_of_a_subscription_tell_where_they_are_from() {
    let record = envelope("/app/web", "i-1", &["one", "{\"level\":\"info\"}"]);
    let expected = "{\"timestamp\":1700000000001,\"logGroup\":\"/app/web\",\"logStream\":\"i-1\",\"owner\":\"111122223333\",\"message\":\"one\"}\n\
                    {\"timestamp\":1700000000002,\"logGroup\":\"/app/web\",\"logStream\":\"i-1\",\"owner\":\"111122223333\",\"message\":\"{\\\"level\\\":\\\"info\\\"}\"}\n";
    assert_eq!(printed(&[], &record), expected);
    assert_eq!(printed(&["--as", "subscription"], &record), expected);
    // As the console shows it, and as `base64` wraps it.
    let text = STANDARD.encode(&record);
    assert_eq!(printed(&[], text.as_bytes()), expected);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(76)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    assert!(lines.len() > 1);
    assert_eq!(printed(&["--base64"], lines.join("\n").as_bytes()), expected);
    // As Lambda is called with it.
    let event = serde_json::json!({ "awslogs": { "data": text } });
    assert_eq!(printed(&[], event.to_string().as_bytes()), expected);
    let event = serde_json::json!({ "Records": [{ "kinesis": { "data": text, "partitionKey": "k" } }] });
    let event = serde_json::to_string_pretty(&event).unwrap();
    assert_eq!(printed(&[], event.as_bytes()), expected);
}

#[test]
fn a_control_message_is_a_note_and_no_failure() {
    let ran = decode(&[], &control_message());
    assert_eq!(
        (ran.out.as_str(), ran.err.as_str(), ran.code),
        ("", "record 1: a control message, skipped\n", Some(0))
    );
    let many = [control_message(), envelope("g", "s", &["x"])].map(|r| STANDARD.encode(r));
    let ran = decode(&["--base64"], many.join("\n").as_bytes());
    assert_eq!(ran.err, "line 1: a control message, skipped\n");
    assert_eq!((ran.out.lines().count(), ran.code), (1, Some(0)));
}

#[test]
fn audit_lines_become_json_from_an_envelope_and_from_a_file() {
    let record = envelope(
        "/aws/rds/cluster/shop/audit",
        "shop-1.audit.log.0.2024-11-09-08-30.0",
        &[AUDIT],
    );
    let row = json(&printed(&["--as", "audit"], &record));
    assert_eq!(row["operation"], "QUERY", "{row}");
    assert_eq!(row["object"], "SELECT 'x', 1", "{row}");
    let file = format!("{AUDIT}\n1700000000123457,au-1,app,10.1.2.3,17,0,CONNECT,,,0\n");
    let out = printed(&["--as", "audit"], file.as_bytes());
    let rows: Vec<_> = out.lines().map(json).collect();
    assert_eq!(rows.len(), 2, "{out}");
    assert_eq!(rows[0]["object"], "SELECT 'x', 1");
    assert_eq!(rows[1]["operation"], "CONNECT");
}

#[test]
fn a_line_that_is_no_audit_line_is_printed_with_the_reason() {
    let file = format!("nonsense\n{AUDIT}\n");
    let out = printed(&["--as", "audit"], file.as_bytes());
    let rows: Vec<_> = out.lines().map(json).collect();
    assert_eq!(rows.len(), 2, "{out}");
    assert_eq!(rows[0]["message"], "nonsense");
    assert!(rows[0]["error"].is_string(), "{out}");
    assert_eq!(rows[1]["operation"], "QUERY");
}

#[test]
fn an_aggregate_is_taken_apart() {
    let bytes = STANDARD.decode(AGGREGATE).unwrap();
    let parts = "{\"a\":1}\n{\"message\":\"日本\"}\n{\"message\":\"\"}\n";
    assert_eq!(printed(&[], &bytes), parts);
    assert_eq!(printed(&[], AGGREGATE.as_bytes()), parts);
    assert_eq!(
        printed(&["--as", "aggregate"], &bytes),
        "{\"partitionKey\":\"pk-0\",\"subSequenceNumber\":0,\"data\":\"{\\\"a\\\":1}\"}\n\
         {\"partitionKey\":\"pk-1\",\"subSequenceNumber\":1,\"data\":\"日本\"}\n\
         {\"partitionKey\":\"pk-0\",\"subSequenceNumber\":2,\"data\":\"\"}\n"
    );
}

/// An aggregate of these, the digest of its message as of those that AWS's own library writes.
fn aggregate(records: &[&[u8]]) -> Vec<u8> {
    use md5::{Digest, Md5};
    fn field(number: u8, data: &[u8]) -> Vec<u8> {
        let mut field = vec![number << 3 | 2];
        let mut length = data.len();
        while length > 0x7f {
            field.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        field.push(length as u8);
        [&field, data].concat()
    }
    let mut message = field(1, b"k");
    for record in records {
        message.extend(field(3, &[&[0x08, 0x00][..], &field(3, record)].concat()));
    }
    let digest = Md5::digest(&message);
    [&[0xf3, 0x89, 0x9a, 0xc2], &message[..], &digest[..]].concat()
}

#[test]
fn an_aggregate_is_taken_apart_whatever_its_parts_are_read_as() {
    let lines = aggregate(&[AUDIT.as_bytes(), AUDIT.as_bytes()]);
    let out = printed(&["--as", "audit"], &lines);
    let objects: Vec<_> = out.lines().map(|row| json(row)["object"].clone()).collect();
    assert_eq!(objects, ["SELECT 'x', 1"; 2]);
    let envelopes = [envelope("g", "s", &["one"]), envelope("g", "s", &["two"])];
    let envelopes = aggregate(&envelopes.each_ref().map(Vec::as_slice));
    assert_eq!(printed(&["--as", "subscription"], &envelopes).lines().count(), 2);
    let values = aggregate(&[b"{\"a\":1}", b"2"]);
    assert_eq!(printed(&["--as", "json"], &values), "{\"a\":1}\n2\n");
    assert_eq!(
        printed(&["--as", "text"], &values),
        "{\"message\":\"{\\\"a\\\":1}\"}\n{\"message\":\"2\"}\n"
    );
    assert_eq!(printed(&["--as", "base64"], &values).lines().count(), 2);
    // What a part can't be read as is told with its place.
    let ran = decode(&["--as", "json"], &aggregate(&[b"1", b"x"]));
    assert_eq!((ran.out.as_str(), ran.code), ("1\n", Some(1)));
    assert!(ran.err.starts_with("error: record 1, part 1: "), "{}", ran.err);
}

#[test]
fn a_damaged_aggregate_is_an_error_to_the_one_who_asks_for_its_parts() {
    let mut bytes = STANDARD.decode(AGGREGATE).unwrap();
    bytes[10] ^= 1;
    let ran = decode(&["--as", "aggregate"], &bytes);
    assert_eq!((ran.out.as_str(), ran.code), ("", Some(1)));
    assert!(
        ran.err.starts_with("error: record 1: a damaged aggregate"),
        "{}",
        ran.err
    );
    // To `weir run` it is a record like any other.
    let ran = decode(&[], &bytes);
    assert_eq!((ran.out.lines().count(), ran.code), (1, Some(0)), "{ran:?}");
    assert!(ran.out.contains(&STANDARD.encode(&bytes)), "{}", ran.out);
    assert!(
        ran.err.starts_with("record 1: begins like an aggregate"),
        "{}",
        ran.err
    );
}

#[test]
fn changes_keep_their_numbers_and_the_order_of_their_keys() {
    let change = r#"{"awsRegion":"eu-west-1","eventID":"11111111-2222-3333-4444-555555555555","eventName":"INSERT",
        "userIdentity":null, "recordFormat":"application/json", "tableName":"orders",
        "dynamodb":{"ApproximateCreationDateTime":1700000000123,"Keys":{"id":{"N":"1"}},
        "NewImage":{"id":{"N":"1"},"n":{"N":"12345678901234567890123456789012345678"},"x":1.50},"SizeBytes":50},
        "eventSource":"aws:dynamodb"}"#;
    let compact = "{\"awsRegion\":\"eu-west-1\",\"eventID\":\"11111111-2222-3333-4444-555555555555\",\"eventName\":\"INSERT\",\
        \"userIdentity\":null,\"recordFormat\":\"application/json\",\"tableName\":\"orders\",\
        \"dynamodb\":{\"ApproximateCreationDateTime\":1700000000123,\"Keys\":{\"id\":{\"N\":\"1\"}},\
        \"NewImage\":{\"id\":{\"N\":\"1\"},\"n\":{\"N\":\"12345678901234567890123456789012345678\"},\"x\":1.50},\"SizeBytes\":50},\
        \"eventSource\":\"aws:dynamodb\"}\n";
    for how in ["auto", "change", "json"] {
        assert_eq!(printed(&["--as", how], change.as_bytes()), compact, "{how}");
        assert_eq!(
            printed(&["--as", how], compact.repeat(3).as_bytes()),
            compact.repeat(3),
            "{how}"
        );
    }
}

/// The settings of three pipelines, one for each kind of record that has a format.
const SETTINGS: &str = "
pipelines:
  orders: { source: { dynamodb_table: orders }, format: plain, destination: { group: g } }
  copied: { source: { kinesis_stream: changes }, decode: change, format: diff, destination: { group: g } }
  audit: { source: { kinesis_stream: rds }, decode: audit, format: raw, destination: { group: g } }
";

#[test]
fn a_pipelines_format_is_seen_before_it_is_deployed() {
    let settings = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(settings.path(), SETTINGS).unwrap();
    let settings = settings.path().to_str().unwrap();
    let with =
        |pipeline: &str, input: &str| printed(&["-c", settings, "--pipeline", pipeline], input.as_bytes());

    // A record as a stream gives it, and as it lies in a log: then it names its stream.
    let arn = "arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/2026-01-02T03:04:05.678";
    let dynamodb = r#""dynamodb":{"ApproximateCreationDateTime":1731150824,"Keys":{"id":{"N":"1"}},"NewImage":{"id":{"N":"1"},"n":{"N":"12345678901234567890123456789012345678"}},"SequenceNumber":"7","SizeBytes":9,"StreamViewType":"NEW_IMAGE"}"#;
    let from_stream = format!(r#"{{"eventID":"e1","eventName":"INSERT",{dynamodb}}}"#);
    let logged = format!(r#"{{"eventID":"e1","eventName":"INSERT",{dynamodb},"eventSourceARN":"{arn}"}}"#);
    let plain = |arn: &str| {
        format!(
            "{{\"eventID\":\"e1\",\"eventName\":\"INSERT\",\"table\":\"orders\",\"time\":\"2024-11-09T11:13:44Z\",\
             \"keys\":{{\"id\":1}},\"new\":{{\"id\":1,\"n\":12345678901234567890123456789012345678}},\
             \"sequenceNumber\":\"7\",\"eventSourceARN\":\"{arn}\"}}\n"
        )
    };
    let nameless = "arn:aws:dynamodb:-:-:table/orders/stream/-";
    assert_eq!(with("orders", &from_stream), plain(nameless));
    assert_eq!(with("orders", &logged), plain(arn));
    assert_eq!(
        with("orders", &format!("{logged}\n{from_stream}\n")),
        plain(arn) + &plain(nameless)
    );
    // What Lambda was called with, and what `aws dynamodbstreams get-records` prints.
    for more in ["", r#","NextShardIterator":"A""#] {
        let event = format!(r#"{{"Records":[{logged},{from_stream}]{more}}}"#);
        assert_eq!(with("orders", &event), plain(arn) + &plain(nameless));
    }

    let change = r#"{"awsRegion":"eu-west-1","eventID":"e2","eventName":"MODIFY","userIdentity":null,"tableName":"orders","dynamodb":{"ApproximateCreationDateTime":1700000000123,"Keys":{"id":{"N":"1"}},"NewImage":{"s":{"S":"b"},"x":{"N":"1.0"}},"OldImage":{"s":{"S":"a"},"x":{"N":"1"}}},"eventSource":"aws:dynamodb"}"#;
    let diff = "{\"eventID\":\"e2\",\"eventName\":\"MODIFY\",\"table\":\"orders\",\"time\":\"2023-11-14T22:13:20.123Z\",\
                \"keys\":{\"id\":1},\"changed\":{\"s\":{\"old\":\"a\",\"new\":\"b\"}},\"awsRegion\":\"eu-west-1\"}\n";
    assert_eq!(with("copied", change), diff);
    let event = serde_json::json!({ "Records": [{ "kinesis": { "data": STANDARD.encode(change) } }] });
    assert_eq!(with("copied", &event.to_string()), diff);

    let lines = format!("{AUDIT}\nnonsense\n");
    let raw: Vec<_> = with("audit", &lines)
        .lines()
        .map(|line| json(line)["message"].clone())
        .collect();
    assert_eq!(raw, [AUDIT, "nonsense"]);

    let ran = decode(&["-c", settings, "--pipeline", "orders"], b"{\"a\":1}\n");
    assert_eq!((ran.out.as_str(), ran.code), ("", Some(1)), "{}", ran.err);
    assert!(
        ran.err
            .starts_with("error: record 1: not a DynamoDB stream record: "),
        "{}",
        ran.err
    );
    let ran = decode(&["-c", settings], b"");
    assert_eq!(ran.code, Some(2));
    assert_eq!(
        ran.err,
        "--pipeline: is missing: the settings have several, name one of audit, copied, orders\n"
    );
}

#[test]
fn text_and_bytes_are_what_they_are_asked_to_be() {
    assert_eq!(printed(&[], b"one\ntwo\n"), "{\"message\":\"one\\ntwo\\n\"}\n");
    assert_eq!(
        printed(&["--as", "text"], b"{\"a\":1}"),
        "{\"message\":\"{\\\"a\\\":1}\"}\n"
    );
    assert_eq!(
        printed(&["--as", "text", "--base64"], b"aG9nZQ=="),
        "{\"message\":\"hoge\"}\n"
    );
    for arguments in [&[][..], &["--as", "base64"]] {
        let out = printed(arguments, &[0xff, 0x00, 0x80]);
        assert!(out.contains("\"/wCA\""), "{out}");
        json(&out);
    }
}

#[test]
fn what_can_not_be_decoded_is_told_with_its_place_and_exits_with_1() {
    let good = STANDARD.encode(envelope("g", "s", &["x"]));
    let input = format!("{good}\naG9nZQ==\n{good}\n");
    let ran = decode(&["--base64", "--as", "subscription"], input.as_bytes());
    assert_eq!((ran.out.lines().count(), ran.code), (2, Some(1)), "{ran:?}");
    assert!(ran.err.starts_with("error: line 2: "), "{}", ran.err);
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);

    let mut cut = gzip("hoge");
    cut.truncate(12);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), cut).unwrap();
    let path = file.path().to_str().unwrap();
    let ran = decode(&["--as", "text", path], b"");
    assert_eq!((ran.out.as_str(), ran.code), ("", Some(1)));
    assert!(
        ran.err.starts_with(&format!("error: {path}: record 1: ")),
        "{}",
        ran.err
    );

    let ran = decode(&["no-such-file"], b"");
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.err.starts_with("error: no-such-file: can't be read: "),
        "{}",
        ran.err
    );
}

#[test]
fn an_event_is_decoded_around_a_record_without_data_and_may_be_empty() {
    let ran = decode(&[], br#"{"Records":[],"NextShardIterator":"AAAA"}"#);
    assert_eq!(
        (ran.out.as_str(), ran.err.as_str(), ran.code),
        ("", "the input: holds nothing\n", Some(0))
    );
    let event = format!(r#"{{"Records":[{{"kinesis":{{}}}},{{"kinesis":{{"data":"{HOGE}"}}}}]}}"#);
    let ran = decode(&[], event.as_bytes());
    assert_eq!(ran.out, "{\"message\":\"hoge\\n\"}\n");
    assert_eq!(
        (ran.err.as_str(), ran.code),
        ("error: record 1: has no data\n", Some(1))
    );
    let ran = decode(&[], format!("{event}\n{event}\n").as_bytes());
    assert_eq!(
        ran.err,
        "error: line 1, record 1: has no data\nerror: line 2, record 1: has no data\n"
    );
    assert_eq!(ran.out, "{\"message\":\"hoge\\n\"}\n".repeat(2));
}

#[test]
fn a_bomb_is_an_error_and_takes_little_memory() {
    let bomb = gzip(vec![b'0'; 200 << 20]);
    for arguments in [
        &["--as", "text"][..],
        &["--as", "audit"],
        &["--as", "subscription"],
    ] {
        let ran = decode(arguments, &bomb);
        assert_eq!((ran.out.as_str(), ran.code), ("", Some(1)), "{}", ran.err);
        assert!(ran.err.starts_with("error: record 1: "), "{}", ran.err);
        assert!(ran.memory < 512 << 20, "{} MiB", ran.memory >> 20);
    }
    let refused = decode(&["--limit", "65MiB"], b"");
    assert_eq!(refused.code, Some(2), "{}", refused.err);
    let small = gzip(vec![b'0'; 2 << 20]);
    assert_eq!(decode(&["--as", "text", "--limit", "1MiB"], &small).code, Some(1));
    assert_eq!(decode(&["--as", "text", "--limit", "3MiB"], &small).code, Some(0));
}

#[test]
fn an_event_of_lambda_that_opens_to_very_much_takes_little_memory() {
    // Little of it packs well, as of a record that comes in packed: 8 MiB of noise, in base64 in JSON.
    let mut noise = 1u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (noise >> 56) as u8
    })
    .take(8 << 20)
    .collect();
    let content = [&noise[..], &vec![0xff; 50 << 20]].concat();
    let event = serde_json::json!({ "Records": [{ "kinesis": { "data": STANDARD.encode(gzip(content)) } }] });
    let ran = decode(&["--as", "audit"], event.to_string().as_bytes());
    assert_eq!(ran.code, Some(1), "no audit log, nor any text: {}", ran.err);
    assert!(ran.err.contains("not UTF-8"), "{}", ran.err);
    assert!(ran.memory < 512 << 20, "{} MiB", ran.memory >> 20);
    // Very many events of very little.
    let events = r#"{"timestamp":1,"message":"a"},"#.repeat((60 << 20) / 30);
    let envelope = format!(
        r#"{{"messageType":"DATA_MESSAGE","logGroup":"g","logEvents":[{events}{{"timestamp":1,"message":""}}]}}"#
    );
    let ran = decode(&["--as", "subscription"], &gzip(envelope));
    assert!(ran.memory < 512 << 20, "{} MiB", ran.memory >> 20);
}

#[test]
fn lines_are_read_one_by_one_however_many() {
    let line = format!("{{\"a\":\"{}\"}}\n", "x".repeat(1000));
    let count = (150 << 20) / line.len();
    let ran = decode(&[], line.repeat(count).as_bytes());
    assert_eq!((ran.err.as_str(), ran.code), ("", Some(0)));
    assert!(ran.out.len() == count * line.len() && ran.out.starts_with(&line));
    assert!(ran.memory < 128 << 20, "{} MiB", ran.memory >> 20);
}

#[test]
fn one_record_that_is_too_large_is_refused() {
    let text = vec![b'a'; 40 << 20];
    let ran = decode(&[], &text);
    assert_eq!((ran.out.as_str(), ran.code), ("", Some(1)));
    assert!(
        ran.err
            .starts_with("error: record 1: looks like one record, and is larger than 16 MiB"),
        "{}",
        ran.err
    );
    assert!(ran.memory < 512 << 20);
}

#[test]
fn a_closed_pipe_ends_in_silence() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["decode"])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        let _ = stdin.write_all("{\"a\":1}\n".repeat(1 << 20).as_bytes());
    });
    let out = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert_eq!(out.status.code(), Some(0));
    assert_eq!(String::from_utf8(out.stderr).unwrap(), "");
}

#[test]
fn the_help_shows_what_to_type() {
    let ran = decode(&["--help"], b"");
    assert_eq!(ran.code, Some(0));
    for part in [
        "weir decode record.bin",
        "--base64",
        "--as <HOW>",
        "aws kinesis get-records",
        "weir decode -c weir.yaml --pipeline orders changes.jsonl",
    ] {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
}
