use proptest::prelude::*;

use super::*;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn origin() -> Origin {
    Origin {
        pipeline: "orders".into(),
        stream: "arn:aws:dynamodb:eu-west-1:1:table/orders/stream/x".into(),
        shard: "shardId-1".into(),
        place: Place {
            sequence_number: SequenceNumber::parse("42").unwrap(),
            sub_sequence_number: 7,
        },
    }
}

fn to() -> LogDestination {
    LogDestination {
        group: "/cdc/orders".into(),
        stream: "s".into(),
    }
}

fn record(bytes: impl Into<Bytes>) -> Body {
    Body::Record(RecordBody {
        data: Data::Bytes(bytes.into()),
        partition_key: Some("key".into()),
        time: Some(at(77)),
    })
}

fn withheld(bytes: &[u8]) -> Body {
    Body::Record(RecordBody {
        data: Data::withheld(bytes),
        partition_key: None,
        time: None,
    })
}

fn event(index: usize, message: impl Into<String>) -> Body {
    Body::Event {
        index,
        event: LogEvent {
            timestamp: at(77),
            message: message.into(),
        },
    }
}

fn put(body: &Body, now: i64) -> Vec<LogEvent> {
    let events = events(&origin(), Refusal::Oversize, "why", &to(), body, at(now), false);
    let fits = |e: &LogEvent| e.message.len() <= MAX_MESSAGE_BYTES && e.timestamp == at(now);
    assert!(events.iter().all(fits));
    events
}

fn parts<'e>(events: impl IntoIterator<Item = &'e LogEvent>) -> Vec<Part> {
    let entries = events.into_iter().map(|event| match parse(event) {
        Some(Entry::Part(part)) => *part,
        other => panic!("{} is no part: {other:?}", event.message),
    });
    entries.collect()
}

fn letters(body: &Body) -> Vec<serde_json::Value> {
    let events = put(body, 5);
    let parsed = events.iter().map(|e| serde_json::from_str(&e.message).unwrap());
    parsed.collect()
}

#[test]
fn an_undecodable_record_comes_back_byte_for_byte() {
    for len in [0, 1, PART_BYTES, 3 * PART_BYTES + 7] {
        let bytes: Vec<u8> = (0..len).map(|i| (i * 7 % 251) as u8).collect();
        let mut back = Vec::new();
        for letter in letters(&record(bytes.clone())) {
            back.extend(STANDARD.decode(letter["data"].as_str().unwrap()).unwrap());
            assert_eq!(letter["sequenceNumber"], "42");
        }
        assert_eq!(back, bytes);
    }
}

#[test]
fn a_refused_event_comes_back_whole_even_if_every_byte_needs_an_escape() {
    for unit in ["\u{1}", "日", "a\"\\"] {
        let message = unit.repeat(1_500_000 / unit.len());
        let letters = letters(&event(3, &message));
        assert!(letters.len() > 1);
        let back: String = letters.iter().map(|l| l["message"].as_str().unwrap()).collect();
        assert!(back == message);
        assert!(
            letters
                .iter()
                .all(|l| l["timestamp"] == 77 && l["index"] == 3 && l["parts"] == letters.len())
        );
    }
}

#[test]
fn the_longest_names_leave_room_for_the_payload() {
    let origin = Origin {
        pipeline: "p".repeat(64),
        stream: "a".repeat(256),
        shard: "s".repeat(128),
        place: origin().place,
    };
    let to = LogDestination {
        group: "g".repeat(512),
        stream: "\u{1}".repeat(512),
    };
    let detail = "\u{1}".repeat(300);
    for body in [
        event(usize::MAX, "\u{1}".repeat(PART_BYTES)),
        Body::Record(RecordBody {
            data: Data::Bytes(vec![0; PART_BYTES].into()),
            partition_key: Some("\u{1}".repeat(256).into()),
            time: Some(at(i64::MIN)),
        }),
    ] {
        let letter = events(&origin, Refusal::NoDestination, &detail, &to, &body, at(0), false);
        assert_eq!(letter.len(), 1);
        assert!(letter[0].message.len() <= MAX_MESSAGE_BYTES);
    }
}

#[test]
fn a_letter_tells_what_a_redrive_needs() {
    assert_eq!(
        letters(&record("abc"))[0],
        serde_json::json!({
            "schema": 1, "deadLetter": "oversize", "detail": "why", "letterId": "59dba5e1002a0cd8",
            "id": "arn:aws:dynamodb:eu-west-1:1:table/orders/stream/x:shardId-1:42:7", "pipeline": "orders",
            "stream": "arn:aws:dynamodb:eu-west-1:1:table/orders/stream/x", "shardId": "shardId-1",
            "sequenceNumber": "42", "subSequenceNumber": 7, "destination": "/cdc/orders:s", "body": "record",
            "bytes": 3, "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "part": 1, "parts": 1, "partitionKey": "key", "recordTime": 77, "data": "YWJj",
        })
    );
}

#[test]
fn a_withheld_record_tells_its_hash_and_length_and_no_byte() {
    let all = put(&withheld(b"abc"), 5);
    assert_eq!(all.len(), 1);
    let letter = &letters(&withheld(b"abc"))[0];
    assert_eq!((&letter["withheld"], &letter["bytes"]), (&true.into(), &3.into()));
    assert!(letter["data"].is_null() && !all[0].message.contains("YWJj"));
    let back = assemble(parts(&all)).letters;
    assert_eq!(back[0].body, withheld(b"abc"));
    // By other settings, the same record is the same letter.
    assert_eq!(letter["letterId"], letters(&record("abc"))[0]["letterId"]);
}

#[test]
fn a_records_letter_holds_its_bytes_unless_they_are_withheld() {
    let record = Record {
        partition_key: Some("key".into()),
        ..Record::new(
            SequenceNumber::parse("42").unwrap(),
            Some(at(77)),
            Bytes::from_static(b"secret"),
        )
    };
    let body = |withheld| Body::Record(RecordBody::of(&record, withheld));
    assert_eq!(body(false), self::record("secret"));
    let told = put(&body(true), 5).remove(0).message;
    assert!(
        !told.contains("secret") && !told.contains(&STANDARD.encode("secret")),
        "{told}"
    );
    assert!(
        told.contains("\"recordTime\":77") && !told.contains("partitionKey"),
        "{told}"
    );
}

#[test]
fn a_letter_that_waits_keeps_no_answer_in_memory() {
    let answer = Bytes::from(b"many records, of which one can't be decoded".to_vec());
    for withheld in [false, true] {
        let record = Record::new(SequenceNumber::parse("42").unwrap(), None, answer.slice(5..12));
        let letter = RecordBody::of(&record, withheld);
        drop(record);
        assert!(answer.is_unique(), "{letter:?} is a slice of it");
    }
}

#[test]
fn a_letter_has_one_id_whoever_writes_it_and_no_other_has_it() {
    let id = |origin: &Origin, body: &Body, refusal| {
        let events = events(origin, refusal, "any", &to(), body, at(1), false);
        assemble(parts(&events)).letters[0].id.clone()
    };
    let of = |body: &Body| id(&origin(), body, Refusal::TooOld);
    let other = Origin {
        pipeline: "audit".into(),
        ..origin()
    };
    assert_eq!(
        of(&record("a")),
        id(&origin(), &record("a"), Refusal::Undecodable)
    );
    let ids = [
        of(&record("a")),
        id(&other, &record("a"), Refusal::TooOld),
        of(&event(0, "a")),
        of(&event(1, "a")),
        of(&event(0, "b")),
    ];
    let different: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(different.len(), ids.len());
}

#[test]
fn whole_letters_win_and_the_others_are_reported() {
    let long = |byte: u8| record(vec![byte; 2 * PART_BYTES]);
    let (first, again) = (put(&long(1), 5), put(&long(1), 9));
    let crashed = Origin {
        shard: "shardId-2".into(),
        ..origin()
    };
    let half = events(
        &crashed,
        Refusal::Undecodable,
        "why",
        &to(),
        &long(2),
        at(6),
        false,
    );
    // Its first part from one attempt, its second from another; a third letter has one part only.
    let found = assemble(parts([&again[1], &half[1], &first[0]]));
    assert_eq!(found.letters.len(), 1);
    assert_eq!(found.letters[0].body, long(1));
    let [rest] = &found.incomplete[..] else {
        panic!("{:?}", found.incomplete)
    };
    assert_eq!((rest.have, rest.parts, &rest.origin), (1, 2, &crashed));
    // One with its bytes wins over one that withholds them, even if that is newer.
    let bare = put(&withheld(&vec![1; 2 * PART_BYTES]), 20);
    let found = assemble(parts(first.iter().chain(&bare)));
    assert_eq!(found.letters[0].body, long(1));
    assert_eq!(assemble(parts(&bare)).letters.len(), 1);
    let found = assemble(parts(first.iter().take(1).chain(&bare)));
    assert_eq!((found.letters.len(), found.incomplete.len()), (1, 0));
}

#[test]
fn what_was_changed_in_the_log_is_not_taken_for_what_was_written() {
    let masked = |body: &Body, from: &str, to: &str| {
        let mut all = put(body, 5);
        assert!(all[0].message.contains(from));
        all[0].message = all[0].message.replace(from, to);
        assemble(parts(&all))
    };
    for found in [
        masked(&event(0, "card 4711"), "4711", "****"),
        masked(&record("abc"), "YWJj", "YWJk"),
        masked(&record("abc"), "YWJj", "****"),
    ] {
        assert_eq!((found.letters.len(), found.incomplete.len()), (0, 1));
        assert_eq!((found.incomplete[0].have, found.incomplete[0].parts), (1, 1));
    }
}

#[test]
fn what_is_no_letter_is_none() {
    let letter = put(&record("abc"), 5).remove(0).message;
    for message in [
        "",
        "text",
        "{}",
        r#"{"redriven":7}"#,
        &letter.replace("\"schema\":1", "\"schema\":2"),
        &letter.replace("\"part\":1", "\"part\":2"),
        &letter.replace("\"part\":1", "\"part\":0"),
        &letter.replace("\"sequenceNumber\":\"42\"", "\"sequenceNumber\":\"x\""),
        &letter.replace("\"data\":", "\"message\":"),
        &letter.replace("\"body\":\"record\"", "\"body\":\"event\""),
    ] {
        let event = LogEvent {
            timestamp: at(5),
            message: message.to_owned(),
        };
        assert_ne!(message, letter);
        assert_eq!(parse(&event), None, "{message}");
    }
}

#[test]
fn a_mark_comes_back() {
    let redriven = Redriven {
        letter: LetterId::new("0123456789abcdef"),
        at: at(1_731_139_939_138),
        events: 3,
        discarded: false,
    };
    let event = mark(&redriven);
    assert_eq!(
        event.message,
        r#"{"redriven":"0123456789abcdef","at":"2024-11-09T08:12:19.138Z","events":3}"#
    );
    assert_eq!(parse(&event), Some(Entry::Redriven(redriven.clone())));
    let discarded = Redriven {
        events: 0,
        discarded: true,
        ..redriven
    };
    let event = mark(&discarded);
    assert!(event.message.ends_with(r#""events":0,"discarded":true}"#));
    assert_eq!(parse(&event), Some(Entry::Redriven(discarded)));
}

#[test]
fn a_letter_keeps_whether_its_event_was_redacted_and_an_older_one_was_not() {
    let redacted = |body: &Body| {
        let all = events(&origin(), Refusal::TooOld, "why", &to(), body, at(5), true);
        assemble(parts(&all)).letters[0].redacted
    };
    assert!(redacted(&event(0, "*")) && redacted(&event(0, "*".repeat(2 * PART_BYTES))));
    assert!(!redacted(&record("a")), "the bytes are what they are");
    let plain = put(&event(0, "4711"), 5);
    assert!(!plain[0].message.contains("redacted"));
    assert!(!assemble(parts(&plain)).letters[0].redacted);
    // Nothing else of the letter differs.
    let both = events(
        &origin(),
        Refusal::TooOld,
        "why",
        &to(),
        &event(0, "4711"),
        at(9),
        true,
    );
    assert_eq!(assemble(parts(plain.iter().chain(&both))).letters.len(), 1);
}

fn body() -> impl Strategy<Value = Body> {
    // Around the borders of one, two and three parts.
    let size = prop_oneof![
        0usize..40,
        (1usize..3, 0usize..9).prop_map(|(parts, more)| parts * PART_BYTES - 4 + more)
    ];
    (
        size,
        any::<u8>(),
        0u8..4,
        any::<Option<i32>>(),
        proptest::option::of("[a-z\"é\u{1}]{0,9}"),
    )
        .prop_map(|(size, seed, kind, time, key)| {
            let units = ["a", "\u{1}", "é", "日"];
            let text = || {
                let unit = units[usize::from(seed % 4)];
                unit.repeat(size / unit.len())
            };
            let time = time.map(|time| at(time.into()));
            let data = match kind {
                0 => return event(seed.into(), text()),
                1 => Data::withheld(&vec![seed; size]),
                _ => Data::Bytes((0..size).map(|i| seed.wrapping_add((i % 251) as u8)).collect()),
            };
            Body::Record(RecordBody {
                data,
                partition_key: key.map(Arc::from),
                time,
            })
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn letters_read_back_in_any_order_with_repeats_are_what_was_written(
        bodies in proptest::collection::vec(body(), 1..5),
        order in any::<u64>(),
    ) {
        let mut log = Vec::new();
        for (at_number, body) in (1u64..).zip(&bodies) {
            let mut origin = origin();
            origin.place.sub_sequence_number = at_number;
            log.extend(events(&origin, Refusal::Undecodable, "why", &to(), body, at(5), false));
        }
        let mut rng = fastrand::Rng::with_seed(order);
        let repeats: Vec<_> = log.iter().filter(|_| rng.bool()).cloned().collect();
        log.extend(repeats);
        rng.shuffle(&mut log);
        let found = assemble(parts(&log));
        prop_assert!(found.incomplete.is_empty());
        let mut letters = found.letters;
        letters.sort_by_key(|letter| letter.origin.place.clone());
        let back: Vec<_> = letters.into_iter().map(|letter| letter.body).collect();
        prop_assert!(back == bodies);
    }
}
