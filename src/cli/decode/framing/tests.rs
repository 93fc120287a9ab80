use std::io::{BufReader, Write as _};

use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn frames(input: &[u8], expected: Expected, base64: bool) -> Vec<Frame> {
    let frames = Frames::of(BufReader::with_capacity(7, input), expected, base64).unwrap();
    frames.map(Result::unwrap).collect()
}

/// Places and data, an error as its text.
fn read(input: &[u8], expected: Expected, base64: bool) -> Vec<(String, Vec<u8>)> {
    let frames = frames(input, expected, base64).into_iter();
    frames
        .map(|f| {
            let data = f.data.map_or_else(String::into_bytes, Vec::from);
            (f.place.to_string(), data)
        })
        .collect()
}

fn record(data: &[u8]) -> Vec<(String, Vec<u8>)> {
    vec![("record 1".to_owned(), data.to_vec())]
}

fn lines(lines: &[(u64, &[u8])]) -> Vec<(String, Vec<u8>)> {
    let lines = lines.iter();
    lines
        .map(|(n, data)| (format!("line {n}"), data.to_vec()))
        .collect()
}

fn wrapped(data: &[u8], width: usize) -> Vec<u8> {
    let text = STANDARD.encode(data);
    let lines: Vec<&[u8]> = text.as_bytes().chunks(width).collect();
    [&lines.join(&b'\n')[..], b"\n"].concat()
}

const ALL: [Expected; 4] = [Expected::Any, Expected::Lines, Expected::Json, Expected::Text];

#[test]
fn bytes_are_one_record() {
    let zipped = gzip(b"one\ntwo\n");
    let aggregate = [KPL, b"\n\n"].concat();
    for expected in ALL {
        assert_eq!(read(&zipped, expected, false), record(&zipped));
        assert_eq!(read(&aggregate, expected, false), record(&aggregate));
    }
    let other = [0x00, 0xff, b'\n', 0x80];
    assert_eq!(read(&other, Expected::Any, false), record(&other));
    assert_eq!(read(b"", Expected::Any, false), []);
    assert_eq!(read(b"", Expected::Any, true), []);
    assert_eq!(read(b" \n", Expected::Any, true), []);
}

#[test]
fn text_is_one_record_unless_it_is_lines() {
    for expected in [Expected::Any, Expected::Json, Expected::Text] {
        assert_eq!(read(b"one\ntwo\n", expected, false), record(b"one\ntwo\n"));
    }
    let rows = "1700000000123456,h,u,1.2.3.4,1,2,QUERY,d,'SELECT\n1',0\n1700000000123457,h,u,1.2.3.4,1,0,CONNECT,,,0\n";
    assert_eq!(
        read(rows.as_bytes(), Expected::Lines, false),
        lines(&[(1, rows.as_bytes())]),
        "the decoder takes them apart"
    );
    // Cut inside a character by the server.
    let cut = b"1700000000123456,h,u,1.2.3.4,1,2,QUERY,d,'\xe6\x97',0\n";
    assert_eq!(read(cut, Expected::Lines, false), lines(&[(1, &cut[..])]));
}

#[test]
fn json_is_one_record_a_value() {
    let pretty = b"{\n  \"a\": 1\n}\n";
    let two = b"{\"a\":1}\n\n  {\"a\":2}\r\n{\"a\":3}";
    for expected in [Expected::Any, Expected::Lines, Expected::Json] {
        assert_eq!(read(pretty, expected, false), record(pretty));
        assert_eq!(
            read(two, expected, false),
            lines(&[(1, b"{\"a\":1}"), (3, b"{\"a\":2}"), (4, b"{\"a\":3}")])
        );
    }
    assert_eq!(read(two, Expected::Text, false), record(two));
    // One that is broken among them is one record all the same.
    assert_eq!(
        read(b"{\"a\":1}\n{\"a\":\n", Expected::Any, false),
        lines(&[(1, b"{\"a\":1}"), (2, b"{\"a\":")])
    );
    assert_eq!(
        read(b"\"a\"\n2\n", Expected::Any, false),
        lines(&[(1, b"\"a\""), (2, b"2")])
    );
    assert_eq!(
        read(b"[12:00] up\n[12:01] down\n", Expected::Any, false),
        record(b"[12:00] up\n[12:01] down\n")
    );
}

#[test]
fn base64_is_a_record_a_line_or_one_that_was_wrapped() {
    let (one, two) = (gzip(b"one"), gzip(b"two"));
    let a_line = format!("{}\n\n{}\n", STANDARD.encode(&one), STANDARD.encode(&two));
    assert_eq!(
        read(a_line.as_bytes(), Expected::Text, true),
        lines(&[(1, &one), (3, &two)])
    );
    let long: Vec<u8> = (0..=255).cycle().take(1000).collect();
    for width in [60, 64, 76, 100] {
        assert_eq!(read(&wrapped(&long, width), Expected::Any, true), record(&long));
    }
    // All lines full, the last one too.
    assert_eq!(
        read(&wrapped(&long[..57 * 3], 76), Expected::Any, true),
        record(&long[..57 * 3])
    );
    // Base64 is in groups of four.
    assert_eq!(read(&wrapped(&long[..60], 42), Expected::Any, true).len(), 2);
    // Records that happen to be so long begin like records, or are padded.
    let full = gzip(&long)[..57].to_vec();
    let both = format!("{}\n{}\n", STANDARD.encode(&full), STANDARD.encode(&full));
    assert_eq!(
        read(both.as_bytes(), Expected::Any, true),
        lines(&[(1, &full), (2, &full)])
    );
    let padded = [7; 56];
    let both = format!("{}\n{}\n", STANDARD.encode(padded), STANDARD.encode(padded));
    assert_eq!(
        read(both.as_bytes(), Expected::Any, true),
        lines(&[(1, &padded), (2, &padded)])
    );
    // Padding may be missing.
    assert_eq!(read(b"aG9nZQ", Expected::Any, true), record(b"hoge"));
    let broken = read(b"aG9nZQ==\nno base64!\n", Expected::Any, true);
    assert_eq!(broken[0], ("line 1".to_owned(), b"hoge".to_vec()));
    assert!(broken[1].1.starts_with(b"not base64: "), "{broken:?}");
}

#[test]
fn records_in_base64_are_told_apart_however_they_are_wrapped() {
    let noise: Vec<u8> = (0..900u32).flat_map(|n| (n * n).to_be_bytes()).collect();
    let (one, two) = (gzip(&noise), gzip(&noise[1..]));
    for width in [60, 64, 76, 100] {
        let text = wrapped(&one, width);
        for base64 in [false, true] {
            assert_eq!(read(&text, Expected::Any, base64), record(&one), "{width}");
            let both = [wrapped(&one, width), wrapped(&two, width)].concat();
            let first = text.iter().filter(|b| **b == b'\n').count() as u64;
            assert_eq!(
                read(&both, Expected::Any, base64),
                lines(&[(1, &one), (first + 1, &two)]),
                "{width}"
            );
        }
    }
    // JSON of 48 bytes fills 64 characters, and needs no padding.
    let value = |n: u32| format!(r#"{{"a":{n},"pad":"{}"}}"#, "x".repeat(32)).into_bytes();
    let values = [value(0), value(1), value(2)];
    let text: String = values.iter().map(|v| STANDARD.encode(v) + "\n").collect();
    assert_eq!(text.lines().next().map(str::len), Some(64));
    assert_eq!(
        read(text.as_bytes(), Expected::Any, true),
        lines(&[(1, &values[0]), (2, &values[1]), (3, &values[2])])
    );
    // So is gzip that is all on its line.
    let zipped = gzip(b"one");
    let text = format!("{0}\n{1}\n{0}\n", STANDARD.encode(&zipped), "aG9n".repeat(3));
    assert_eq!(
        read(text.as_bytes(), Expected::Any, true),
        lines(&[(1, &zipped), (2, b"hoghoghog"), (3, &zipped)])
    );
    // No one wraps so narrowly: these are two.
    assert_eq!(
        read(b"aG9nZWhv\naG9n\n", Expected::Any, true),
        lines(&[(1, b"hogeho"), (2, b"hog")])
    );
    // A padded line ends its record.
    let text = [wrapped(&noise[..100], 60), wrapped(&noise[..59], 60)].concat();
    assert_eq!(
        read(&text, Expected::Any, true),
        lines(&[(1, &noise[..100]), (4, &noise[..59])])
    );
}

#[test]
fn base64_of_gzip_and_of_aggregates_is_known_by_its_beginning() {
    let hoge = "H4sICAgtzGYAA2hvZ2UAy8hPT+UCAJ2H4rkFAAAA";
    let bytes = STANDARD.decode(hoge).unwrap();
    let aggregate = [KPL, b"\x0a\x01k", &[0; 16]].concat();
    let of_aggregate = STANDARD.encode(&aggregate);
    for expected in [Expected::Any, Expected::Lines] {
        assert_eq!(read(hoge.as_bytes(), expected, false), record(&bytes));
        assert_eq!(read(of_aggregate.as_bytes(), expected, false), record(&aggregate));
        let both = format!("{hoge}\r\n{of_aggregate}\r\n");
        assert_eq!(
            read(both.as_bytes(), expected, false),
            lines(&[(1, &bytes), (2, &aggregate)])
        );
    }
    let long = gzip(&(0..4000u32).flat_map(u32::to_be_bytes).collect::<Vec<_>>());
    assert_eq!(read(&wrapped(&long, 76), Expected::Any, false), record(&long));
    for expected in [Expected::Json, Expected::Text] {
        assert_eq!(read(hoge.as_bytes(), expected, false), record(hoge.as_bytes()));
    }
    // Prose that begins so is none.
    assert_eq!(
        read(b"H4sI is how it begins", Expected::Any, false),
        record(b"H4sI is how it begins")
    );
    assert_eq!(read(b"aG9nZQ==", Expected::Any, false), record(b"aG9nZQ=="));
}

#[test]
fn an_event_of_lambda_gives_its_records() {
    let kinesis = r#"{ "Records": [
        { "kinesis": { "partitionKey": "pk-1", "sequenceNumber": "495", "data": "b25l",
          "approximateArrivalTimestamp": 1700000000.123 }, "eventSource": "aws:kinesis" },
        { "kinesis": { "partitionKey": "pk-2", "data": "!" } },
        { "kinesis": { "data": 7 } } ] }"#;
    for expected in ALL {
        let frames = frames(kinesis.as_bytes(), expected, false);
        assert_eq!(frames.len(), 3);
        assert_eq!(frames[0].data.as_deref(), Ok(&b"one"[..]));
        assert_eq!(frames[0].partition_key.as_deref(), Some("pk-1"));
        assert_eq!(frames[0].arrived, Some(Timestamp::from_millis(1_700_000_000_123)));
        assert_eq!(frames[1].place, Place::Record(2));
        assert!(frames[1].data.as_ref().unwrap_err().starts_with("not base64"));
        assert!(frames[2].data.is_err());
    }
    assert_eq!(
        read(br#"{"awslogs":{"data":"dHdv"}}"#, Expected::Any, false),
        record(b"two")
    );
    let answer =
        br#"{"Records":[{"SequenceNumber":"1","ApproximateArrivalTimestamp":"2023-11-14T22:13:20.123+00:00",
        "Data":"b25l","PartitionKey":"k"}],"NextShardIterator":"AAAA","MillisBehindLatest":0}"#;
    let frames = frames(answer, Expected::Any, false);
    assert_eq!(frames[0].data.as_deref(), Ok(&b"one"[..]));
    assert_eq!(frames[0].arrived, Some(Timestamp::from_millis(1_700_000_000_123)));
    // What only looks a little like one is JSON.
    for other in [
        &br#"{"Records":[{"eventID":"1","dynamodb":7}]}"#[..],
        br#"{"Records":[{"data":"b25l"}]}"#,
        br#"{"Records":[]}"#,
        br#"{"awslogs":1}"#,
        br#"{"awslogs":{"Data":"b25l"}}"#,
        br#"{"Records":1,"data":"b25l"}"#,
    ] {
        assert_eq!(read(other, Expected::Any, false), record(other));
    }
}

#[test]
fn changes_of_a_table_are_records_themselves() {
    let (one, two) = (
        &br#"{"eventID":"1","dynamodb":{"Keys":{}}}"#[..],
        &br#"{"dynamodb": {}}"#[..],
    );
    let both = [one, b", ", two].concat();
    let event = [b"{\"Records\":[", &both[..], b"]}"].concat();
    let answer = [b"{\"Records\":[", &both[..], b"],\"NextShardIterator\":\"A\"}"].concat();
    for input in [event, answer] {
        let frames = frames(&input, Expected::Any, false);
        let data: Vec<_> = frames.iter().map(|frame| frame.data.as_deref()).collect();
        assert_eq!(data, [Ok(one), Ok(two)]);
    }
}

#[test]
fn one_line_that_is_none_does_not_make_lines_of_json_one_record() {
    let (one, two) = (&b"{\"a\":1}"[..], &b"[2]"[..]);
    for odd in [&b"# a comment"[..], b"{\"a\":\"\xff\"}", b"{\"a\":", b"7"] {
        for order in [[odd, one, two], [one, odd, two], [one, two, odd]] {
            for expected in [Expected::Any, Expected::Lines, Expected::Json] {
                let read = read(&order.join(&b"\n"[..]), expected, false);
                assert_eq!(read, lines(&[(1, order[0]), (2, order[1]), (3, order[2])]));
            }
        }
    }
    for text in [
        &b"one\n{\"a\":1}\nthree\n"[..],
        b"17\n18\nup\n",
        b"\xff\n{\"a\":1}\n\xff\n",
    ] {
        assert_eq!(read(text, Expected::Any, false), record(text));
    }
}

#[test]
fn events_may_come_one_after_the_other() {
    let lambda = r#"{"Records":[{"kinesis":{"data":"b25l"}},{"kinesis":{"data":"dHdv"}}]}"#;
    let pretty = "{\n  \"awslogs\": {\n \"data\": \"dGhyZWU=\" }\n}\n";
    let all = format!("{lambda}\n{{\"a\":1}}\n{}\n", pretty.replace('\n', " "));
    let expected = [&b"one"[..], b"two", b"{\"a\":1}", b"three"];
    for how in ALL {
        let frames = frames(all.as_bytes(), how, false);
        let data: Vec<_> = frames.iter().map(|f| f.data.clone().unwrap()).collect();
        assert_eq!(data, expected, "{how:?}");
    }
    let read = |text: String| read(text.as_bytes(), Expected::Any, false);
    let numbered = |all: &[&[u8]]| -> Vec<_> {
        let all = all.iter().zip(1..);
        all.map(|(data, n)| (format!("record {n}"), data.to_vec()))
            .collect()
    };
    assert_eq!(read(format!("{pretty}{pretty}")), numbered(&[b"three", b"three"]));
    assert_eq!(
        read(format!("{lambda}{pretty}")),
        numbered(&[b"one", b"two", b"three"])
    );
    // Among other lines the place tells the line.
    let among = read(format!("# two\n{lambda}\n{{}}\n\"H4sIAA==\"\n"));
    let expected = [
        ("line 1", &b"# two"[..]),
        ("line 2, record 1", b"one"),
        ("line 2, record 2", b"two"),
        ("line 3", b"{}"),
        ("line 4", &[0x1f, 0x8b, 8, 0]),
    ];
    assert_eq!(
        among,
        expected.map(|(place, data)| (place.to_owned(), data.to_vec()))
    );
}

#[test]
fn an_answer_may_be_empty_and_a_record_without_data() {
    let empty = br#"{"Records":[],"NextShardIterator":"AAAA","MillisBehindLatest":0}"#;
    for expected in ALL {
        assert_eq!(read(empty, expected, false), []);
    }
    let kinesis = br#"{"Records":[{"kinesis":{"partitionKey":"k"}},{"kinesis":{"data":"b25l"}},{}]}"#;
    let answer = br#"{"Records":[{"PartitionKey":"k"},{"Data":"b25l"},{"Data":null}]}"#;
    for event in [&kinesis[..], answer] {
        assert_eq!(
            read(event, Expected::Any, false),
            [
                ("record 1".to_owned(), b"has no data".to_vec()),
                ("record 2".to_owned(), b"one".to_vec()),
                ("record 3".to_owned(), b"has no data".to_vec()),
            ]
        );
    }
}

#[test]
fn base64_may_stand_in_quotes() {
    let zipped = gzip(b"one");
    let text = STANDARD.encode(&zipped);
    let of = |text: &str, expected, base64| read(text.as_bytes(), expected, base64);
    for base64 in [false, true] {
        for expected in [Expected::Any, Expected::Lines] {
            assert_eq!(of(&format!("\"{text}\"\n"), expected, base64), record(&zipped));
            let list = of(
                &format!("[\n  \"{text}\",\n  \"aG9nZQ==\"\n]\n"),
                expected,
                base64,
            );
            assert_eq!(
                list,
                [
                    ("record 1".to_owned(), zipped.clone()),
                    ("record 2".to_owned(), b"hoge".to_vec())
                ]
            );
            let two = of(&format!("\"{text}\"\n\"{text}\"\n"), expected, base64);
            assert_eq!(two, lines(&[(1, &zipped), (2, &zipped)]));
        }
    }
    // Of other texts only the asker knows.
    let hoge = "[\"aG9nZQ==\"]";
    assert_eq!(of(hoge, Expected::Any, true), record(b"hoge"));
    assert_eq!(of(hoge, Expected::Any, false), record(hoge.as_bytes()));
    let twice = "\"aG9nZQ==\"\n\"aG9n\"\n";
    assert_eq!(
        of(twice, Expected::Text, true),
        lines(&[(1, b"hoge"), (2, b"hog")])
    );
    let quoted = format!("\"{text}\"");
    assert_eq!(of(&quoted, Expected::Json, false), record(quoted.as_bytes()));
}

#[test]
fn what_is_too_large_for_a_record_is_refused_and_lines_are_not() {
    let large = vec![b'a'; LARGEST + 1];
    let of = |expected, base64| frames(&large, expected, base64);
    for (expected, base64) in [(Expected::Any, false), (Expected::Text, false)] {
        let why = of(expected, base64).remove(0).data.unwrap_err();
        assert!(why.contains("larger than 16 MiB"), "{why}");
    }
    for (expected, base64) in [(Expected::Lines, false), (Expected::Any, true)] {
        let frame = of(expected, base64).remove(0);
        assert_eq!(frame.place, Place::Line(1));
        assert!(frame.data.unwrap_err().contains("longer than 16 MiB"));
    }
    drop(large);
    // A long line among others is told, and passed over.
    let mut input = b"{\"a\":1}\n".to_vec();
    input.resize(LARGEST * 2 + 100, b' ');
    input.extend_from_slice(b"\n{\"a\":2}\n");
    let read = frames(&input, Expected::Any, false);
    assert_eq!(read.len(), 3);
    assert_eq!(read[0].data.as_deref(), Ok(&b"{\"a\":1}"[..]));
    assert!(read[1].data.as_ref().unwrap_err().contains("longer"));
    assert_eq!(
        (read[2].place, read[2].data.as_deref()),
        (Place::Line(3), Ok(&b"{\"a\":2}"[..]))
    );
}

#[test]
fn many_lines_come_in_blocks_that_begin_with_an_audit_line() {
    let row = "1700000000123456,h,u,1.2.3.4,1,2,QUERY,d,'SELECT\n1',0\n";
    let input = row.repeat(LARGEST / row.len() + 1000);
    let blocks = frames(input.as_bytes(), Expected::Lines, false);
    let mut whole = Vec::new();
    let mut number = 1;
    for block in &blocks {
        let data = block.data.as_ref().unwrap();
        assert!(data.starts_with(row.as_bytes()) && data.len() <= BLOCK + row.len());
        assert_eq!(block.place, Place::Line(number));
        number += data.iter().filter(|b| **b == b'\n').count() as u64;
        whole.extend_from_slice(data);
    }
    assert!(whole == input.as_bytes() && blocks.len() > 30);
    // Lines that are none have to be cut somewhere.
    let blocks = frames("x\n".repeat(LARGEST_BLOCK).as_bytes(), Expected::Lines, false);
    assert_eq!(blocks.len(), 2);
}

#[test]
fn a_statement_is_not_cut_and_envelopes_go_whole() {
    let row = "20260101 00:00:00,srv,u,h,1,2,QUERY,d,'SELECT 1',0\n";
    // Lines that begin with eight digits, and are none of the audit's.
    let values = "(20260102),\n20260103, x,\n".repeat(LARGEST_BLOCK / 16);
    let statement = format!("20260101 00:00:00,srv,u,h,1,2,QUERY,d,'INSERT INTO t VALUES (\n{values}1)',0\n");
    let before = row.repeat(BLOCK / row.len() - 1);
    let input = format!("{before}{statement}{row}x\n");
    let blocks = frames(input.as_bytes(), Expected::Lines, false);
    let blocks: Vec<_> = blocks.into_iter().map(|block| block.data.unwrap()).collect();
    assert_eq!(blocks.len(), 2);
    assert!(blocks[0] == format!("{before}{statement}"));
    assert_eq!(blocks[1], format!("{row}x\n"));
    // Where it has ended, and what follows is nothing, it is cut again.
    let input = format!("{statement}{}", "x\n".repeat(LARGEST_BLOCK));
    assert_eq!(frames(input.as_bytes(), Expected::Lines, false).len(), 3);
    // One that never ends is cut at the largest piece.
    let input = format!(
        "20260101 00:00:00,srv,u,h,1,2,QUERY,d,'\n{}",
        "x\n".repeat(LARGEST / 2)
    );
    assert_eq!(frames(input.as_bytes(), Expected::Lines, false).len(), 2);

    let envelope =
        serde_json::json!({ "messageType": "DATA_MESSAGE", "logEvents": vec![[1; 20]; LARGEST_BLOCK / 100] });
    let envelope = serde_json::to_string_pretty(&envelope).unwrap();
    for text in [envelope.repeat(2), format!("{envelope}\n{envelope}\n")] {
        assert!(text.len() > 2 * LARGEST_BLOCK);
        assert_eq!(
            read(text.as_bytes(), Expected::Lines, false),
            record(text.as_bytes())
        );
    }
}

#[test]
fn an_aggregate_is_no_larger_than_a_record() {
    let mut large = KPL.to_vec();
    large.resize(LARGEST_AGGREGATE + 1, 0);
    let why = frames(&large, Expected::Any, false).remove(0).data.unwrap_err();
    assert!(why.contains("more than 10 MiB"), "{why}");
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic_or_end_in_silence(input in prop::collection::vec(any::<u8>(), 1..200)) {
        for expected in ALL {
            prop_assert!(!frames(&input, expected, false).is_empty());
        }
        prop_assert!(!frames(&input, Expected::Any, true).is_empty() || input.trim_ascii().is_empty());
    }

    #[test]
    fn blocks_hold_every_line(rest in "[a-z0-9,\n]{0,200}") {
        let input = format!("x{rest}");
        let blocks = frames(input.as_bytes(), Expected::Lines, false);
        let whole: Vec<u8> = blocks.into_iter().flat_map(|f| f.data.unwrap()).collect();
        prop_assert_eq!(whole, input.as_bytes());
    }

    #[test]
    fn what_base64_wraps_is_read_back(data in prop::collection::vec(any::<u8>(), 1..400), width in prop::sample::select(vec![60usize, 64, 76, 100])) {
        let read = read(&wrapped(&data, width), Expected::Any, true);
        prop_assert_eq!(read, record(&data));
    }
}
