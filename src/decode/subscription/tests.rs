use proptest::prelude::*;
use serde_json::json;

use super::*;

fn envelope(events: &str) -> String {
    format!(
        r#"{{"messageType":"DATA_MESSAGE","owner":"111122223333","logGroup":"/app/orders","logStream":"a/b","subscriptionFilters":["weir"],"logEvents":{events}}}"#
    )
}

/// What [`open`] gives, with the events.
#[derive(Debug, Default, PartialEq, Eq)]
struct Whole<'a> {
    envelopes: Vec<Envelope>,
    events: Vec<Told<'a>>,
    skipped: Option<Skip>,
}

fn opened(text: &str, unknown: UnknownMessages) -> Result<Whole<'_>, DecodeError> {
    let mut told = Vec::new();
    let Opened { envelopes, skipped } = open(text, unknown, |event, envelope| {
        told.push((event, envelope.clone()));
        Ok(())
    })?;
    let events = told.into_iter().map(|(event, envelope)| {
        assert_eq!(envelopes[event.envelope], envelope);
        event
    });
    Ok(Whole {
        events: events.collect(),
        envelopes,
        skipped,
    })
}

fn dead_letter(text: &str) -> Result<Whole<'_>, DecodeError> {
    opened(text, UnknownMessages::DeadLetter)
}

fn messages(text: &str) -> Vec<String> {
    let opened = dead_letter(text).unwrap();
    opened
        .events
        .into_iter()
        .map(|e| e.message.into_owned())
        .collect()
}

#[test]
fn events_come_out_with_their_time_id_and_envelope() {
    let text = envelope(
        r#"[{"id":"3195","timestamp":1767225600123,"message":"one","extractedFields":{"a":"b"}},
            {"message":"two","timestamp":"1767225600124","id":42},{"timestamp":0,"message":"three","id":null},
            {"timestamp":1,"message":"four","id":"\u00e9"}]"#,
    );
    let opened = dead_letter(&text).unwrap();
    let told: Vec<_> = opened
        .events
        .iter()
        .map(|e| (e.envelope, &*e.id, e.time.millis(), &*e.message))
        .collect();
    assert_eq!(
        told,
        [
            (0, "3195", 1_767_225_600_123, "one"),
            (0, "42", 1_767_225_600_124, "two"),
            (0, "", 0, "three"),
            (0, "é", 1, "four"),
        ]
    );
    let from = Envelope {
        owner: "111122223333".into(),
        log_group: "/app/orders".into(),
        log_stream: "a/b".into(),
    };
    assert_eq!((opened.envelopes, opened.skipped), (vec![from], None));
}

#[test]
fn the_order_of_the_fields_and_further_ones_do_not_matter() {
    let text = r#" {"logEvents":[{"id":"1","timestamp":5,"message":"m"}],"policyLevel":"ACCOUNT_LEVEL_POLICY",
        "new":{"nested":[1]},"subscriptionFilters":null,"logStream":null,"owner":"1","messageType":"DATA_MESSAGE"} "#;
    let opened = dead_letter(text).unwrap();
    assert_eq!(opened.events.len(), 1);
    assert_eq!(opened.envelopes[0].owner, "1");
    assert_eq!(opened.envelopes[0].log_group, "");
}

#[test]
fn a_message_passes_as_it_is() {
    for message in [
        "",
        "two\nlines\r\n",
        "a\0b\u{1}",
        "\"quoted\" \\ back",
        "日本 🦀 \u{feff}",
    ] {
        let text = envelope(&json!([{"id": "1", "timestamp": 5, "message": message}]).to_string());
        assert_eq!(messages(&text), [message]);
    }
    let pair = envelope(r#"[{"id":"1","timestamp":5,"message":"\ud83e\udd80\u0000\/"}]"#);
    assert_eq!(messages(&pair), ["🦀\0/"]);
}

#[test]
fn several_envelopes_may_stand_one_after_the_other() {
    let event = |m: &str| envelope(&format!(r#"[{{"id":"1","timestamp":5,"message":"{m}"}}]"#));
    let control = r#"{"messageType":"CONTROL_MESSAGE"}"#;
    let text = [
        &event("a"),
        control,
        &envelope("[]"),
        "\n",
        &event("b").replace("111122223333", "9"),
    ]
    .concat();
    let opened = dead_letter(&text).unwrap();
    let told: Vec<_> = opened
        .events
        .iter()
        .map(|e| (&*opened.envelopes[e.envelope].owner, &*e.message))
        .collect();
    assert_eq!(told, [("111122223333", "a"), ("9", "b")]);
    assert_eq!(opened.skipped, None);
    assert_eq!(opened.envelopes.len(), 2, "only those with events");
}

#[test]
fn what_holds_no_events_says_why() {
    let control = r#"{"messageType":"CONTROL_MESSAGE","owner":"CloudwatchLogs","logGroup":"","logStream":"","subscriptionFilters":[],"logEvents":[{"id":"","timestamp":1767225600000,"message":"CWL CONTROL MESSAGE: Checking health of destination Kinesis stream."}]}"#;
    let new = r#"{"messageType":"METRIC_MESSAGE","logEvents":{"of":"another shape"}}"#;
    for (text, skip) in [
        (control.to_owned(), Skip::ControlMessage),
        (envelope("[]"), Skip::Nothing),
        (envelope("null"), Skip::Nothing),
        (new.to_owned(), Skip::MessageType),
        (format!("{control}{new}"), Skip::ControlMessage),
    ] {
        let opened = opened(&text, UnknownMessages::Skip).unwrap();
        let expected = Whole {
            skipped: Some(skip),
            ..Whole::default()
        };
        assert_eq!(opened, expected, "{text}");
    }
    assert_eq!(
        dead_letter(new),
        Err(DecodeError::MessageType("METRIC_MESSAGE".into()))
    );
    let mixed = envelope(r#"[{"id":"1","timestamp":5,"message":"a"}]"#) + new;
    assert!(dead_letter(&mixed).is_err(), "the record as a whole");
}

#[test]
fn an_event_that_can_not_be_told_exactly_is_an_error_of_the_whole_record() {
    let good = r#"{"id":"1","timestamp":5,"message":"good"}"#;
    for (event, reason) in [
        (
            r#"{"id":"1","timestamp":5}"#,
            "event 1 of an envelope can't be told exactly: it has no message",
        ),
        (r#"{"id":"1","timestamp":5,"message":null}"#, "no message"),
        (
            r#"{"id":"1","timestamp":5,"message":{"a":1}}"#,
            "expected a string",
        ),
        (r#"{"id":"1","timestamp":5,"message":7}"#, "expected a string"),
        (
            r#"{"id":"1","timestamp":5,"message":"\ud800"}"#,
            "logEvents: unexpected end of hex escape",
        ),
        (r#"{"id":"1","timestamp":5,"message":"\udc00x"}"#, "surrogate"),
        (r#"{"id":"\ud800","timestamp":5,"message":"a"}"#, "id is no text"),
        (r#"{"id":"1","message":"a"}"#, "no timestamp"),
        (r#"{"id":"1","timestamp":null,"message":"a"}"#, "no timestamp"),
        (r#"{"id":"1","timestamp":"","message":"a"}"#, "no timestamp"),
        (r#"{"id":"1","timestamp":"5 ","message":"a"}"#, "no timestamp"),
        (r#"{"id":"1","timestamp":5.5,"message":"a"}"#, "no timestamp"),
        (r#"{"id":"1","timestamp":-5,"message":"a"}"#, "no timestamp"),
        (
            r#"{"id":"1","timestamp":99999999999999999999,"message":"a"}"#,
            "no timestamp",
        ),
        (
            r#"{"id":"1","timestamp":5,"message":"a","message":"b"}"#,
            "duplicate field",
        ),
        (r#"["1",5,"a"]"#, "expected an object"),
        ("null", "expected an object"),
    ] {
        let text = envelope(&format!("[{good},{event}]"));
        let error = dead_letter(&text).unwrap_err().to_string();
        assert!(error.contains(reason), "{event}: {error}");
    }
}

#[test]
fn who_refuses_an_event_is_told_of_no_further_one() {
    let event = r#"{"timestamp":5,"message":"m"}"#;
    let mut seen = 0;
    let why = DecodeError::TooMuch { limit: 7 };
    let whole = envelope(&format!("[{event},{event},{event},{{}}]"));
    let result = open(&whole, UnknownMessages::Skip, |_, _| {
        seen += 1;
        if seen == 2 { Err(why.clone()) } else { Ok(()) }
    });
    assert_eq!((result, seen), (Err(why), 2));
}

#[test]
fn what_is_no_envelope_is_refused_with_the_reason() {
    let whole = envelope("[]");
    for (text, reason) in [
        ("", "the record is empty"),
        (" \n", "the record is empty"),
        ("hello", "expected value"),
        ("{}", "`messageType` is missing"),
        (r#"["DATA_MESSAGE","o","g","s",[]]"#, "expected an object"),
        (
            r#"{"messageType":null,"logEvents":[]}"#,
            "`messageType` is missing",
        ),
        (r#"{"messageType":1,"logEvents":[]}"#, "expected a string"),
        (r#"{"messageType":"DATA_MESSAGE"}"#, "`logEvents` is missing"),
        (&envelope("{}"), "expected a sequence"),
        (&format!("{whole} trailing"), "expected"),
        (&whole[..whole.len() - 1], "EOF"),
    ] {
        let error = dead_letter(text).unwrap_err().to_string();
        assert!(error.contains(reason), "{text}: {error}");
    }
    let long = envelope(&format!(r#""{}""#, "secret".repeat(1000)));
    assert!(
        dead_letter(&long).unwrap_err().to_string().len() < 400,
        "the record is not quoted whole"
    );
}

#[test]
fn an_envelope_is_known_by_names_wherever_it_breaks_off() {
    let whole = envelope(r#"[{"id":"1","timestamp":5,"message":"m"}]"#);
    let end_of = |name: &str| whole.find(name).unwrap() + name.len() + 1;
    for length in 0..whole.len() {
        let looks = Looks::of(&whole.as_bytes()[..length]);
        assert_eq!(looks.is_envelope(), length >= end_of("logEvents"), "at {length}");
        assert_eq!(
            looks.resembles_envelope(),
            length >= end_of("logGroup"),
            "at {length}"
        );
    }
    let late =
        r#"{"logEvents":[{"messageType":1}],"x":"\ud800 \u0000","logGroup":1,"messageType":"DATA_MESSAGE"}"#;
    assert!(Looks::of(late.as_bytes()).is_envelope());
    let broken = b"\n {\"messageType\":\"\xff\",\"logGroup\":1,\"logEvents\":\xff";
    assert!(Looks::of(broken).is_envelope());
    for (other, resembles) in [
        (r#"{"messageType":"ORDER","logGroup":"billing","amount":5}"#, true),
        (r#"{"messageType":"x","logEvents":[]}"#, true),
        (r#"{"messageType":"x"}"#, false),
        (r#"{"logGroup":"g","logEvents":[]}"#, false),
        (
            r#"{"a":{"messageType":"x","logGroup":"g","logEvents":[]}}"#,
            false,
        ),
        (r#"[{"messageType":"x","logGroup":"g","logEvents":[]}]"#, false),
        (r#""messageType logGroup logEvents""#, false),
    ] {
        let looks = Looks::of(other.as_bytes());
        assert!(!looks.is_envelope(), "{other}");
        assert_eq!(looks.resembles_envelope(), resembles, "{other}");
    }
    assert!(Looks::of(br#"{"a":1,"dynamodb":{}}"#).dynamodb);
}

/// What [`usual::open`] gives.
fn usual(text: &str) -> Option<Whole<'_>> {
    let mut events = Vec::new();
    let envelope = usual::open(text, |told, _| {
        events.push(told);
        Ok(())
    })?;
    Some(Whole {
        envelopes: vec![envelope],
        events,
        skipped: None,
    })
}

#[test]
fn what_cloudwatch_logs_writes_is_opened_in_one_pass_and_the_same() {
    // The two orders of its user guide, the escapes that it may write, and the longest of each number.
    let events = r#"[{"id":"3195","timestamp":1767225600123,"message":"a \"b\" \\ \/ \b\f\n\r\t \u001b \u00e9 \u65E5 日"},{"id":"","timestamp":999999999999999999,"message":""}]"#;
    let first = envelope(events);
    let second = format!(
        r#"{{"owner":"1","logGroup":"g","logStream":"s","subscriptionFilters":["a","b"],"messageType":"DATA_MESSAGE","logEvents":{events}}}"#
    );
    for text in [first, second] {
        let opened = usual(&text);
        assert_eq!(opened, dead_letter(&text).ok(), "{text}");
        assert_eq!(opened.map(|o| o.events.len()), Some(2), "{text}");
    }
}

#[test]
fn what_is_in_any_other_form_is_left_to_the_general_way() {
    let event = r#"{"id":"1","timestamp":5,"message":"m"}"#;
    let whole = envelope(&format!("[{event}]"));
    assert!(usual(&whole).is_some());
    let (a, b) = whole.split_at(whole.len() / 2);
    for text in [
        format!(" {whole}"),
        format!("{whole}\n"),
        format!("{whole}{whole}"),
        format!("{a}\u{1}{b}"),
        envelope("[]"),
        envelope(&format!("[{event},]")),
        whole.replace("DATA_MESSAGE", "CONTROL_MESSAGE"),
        whole.replace("\"owner\":\"111122223333\"", "\"owner\":[\"x\"]"),
        whole.replace("\"owner\":", "\"logGroup\":"),
        whole.replace("a/b", ""),
        whole.replace("timestamp\":5", "timestamp\":05"),
        whole.replace("timestamp\":5", "timestamp\":-5"),
        whole.replace("timestamp\":5", "timestamp\":5.0"),
        whole.replace("timestamp\":5", "timestamp\":1234567890123456789"),
        whole.replace("\"m\"", "\"\\ud83d\""),
        whole.replace("\"m\"", "\"\\u+041\""),
        whole.replace("\"m\"", "\"\\x\""),
        whole.replace("\"m\"}", "\"m\",\"extractedFields\":{}}"),
    ] {
        assert_eq!(usual(&text), None, "{text}");
    }
    for length in 0..whole.len() {
        assert_eq!(usual(&whole[..length]), None, "at {length}");
    }
    let refused = usual::open(&whole, |_, _| Err(DecodeError::TooMuch { limit: 7 }));
    assert_eq!(refused, None, "the general way tells why");
}

/// What an envelope is made of, and what breaks one.
fn pieces() -> impl Strategy<Value = String> {
    prop_oneof![
        "[\\x00-\\x1f\"\\\\\\[\\]{},:0-9é日😀 ]{1,3}",
        prop::sample::select(vec![
            "\\\"",
            "\\\\",
            "\\n",
            "\\u00e9",
            "\\u0000",
            "\\ud83d\\ude00",
            "\\udc00",
            "\"messageType\":",
            "\"id\":\"7\",",
            "\"timestamp\":",
            "\"logEvents\":[",
            "},{",
            "null",
            "\"owner\":\"x\",",
            "]}",
            "{\"id\":\"1\",\"timestamp\":1,\"message\":\"",
        ])
        .prop_map(str::to_owned),
    ]
}

proptest! {
    #[test]
    fn every_message_comes_out_once_in_order(
        all in proptest::collection::vec(proptest::collection::vec((any::<String>(), 0i64..), 0..5), 1..4),
    ) {
        let mut text = String::new();
        for list in &all {
            let events: Vec<_> = list.iter().map(|(m, t)| json!({"message": m, "id": "1", "timestamp": t})).collect();
            text += &json!({"logEvents": events, "logGroup": "g", "messageType": "DATA_MESSAGE"}).to_string();
        }
        let opened = dead_letter(&text).unwrap();
        let told: Vec<_> = opened.events.into_iter().map(|e| (e.message.into_owned(), e.time.millis())).collect();
        let sent: Vec<_> = all.into_iter().flatten().collect();
        prop_assert_eq!(opened.skipped.is_some(), sent.is_empty());
        prop_assert_eq!(told, sent);
    }

    #[test]
    fn an_envelope_opened_in_one_pass_is_the_one_opened_in_the_general_way(
        events in proptest::collection::vec((any::<String>(), 1i64..1_000_000_000_000), 1..5),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), 0usize..4, pieces()), 0..4),
    ) {
        let quoted = |(message, time): &(String, i64)| {
            let message = serde_json::to_string(message).unwrap();
            format!(r#"{{"id":"7","timestamp":{time},"message":{message}}}"#)
        };
        let mut text = envelope(&format!("[{}]", events.iter().map(quoted).collect::<Vec<_>>().join(",")));
        let is_whole = changes.is_empty();
        for (place, length, piece) in changes {
            let places: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
            let from = place.index(places.len());
            let to = (from + length).min(places.len() - 1);
            text.replace_range(places[from]..places[to], &piece);
        }
        let opened = usual(&text);
        prop_assert!(opened.is_some() || !is_whole, "{}", text);
        if opened.is_some() {
            prop_assert_eq!(opened, dead_letter(&text).ok());
        }
    }
}
