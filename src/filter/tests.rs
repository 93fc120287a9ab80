use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::decode::Decode;

fn filter(patterns: &[&str]) -> Filter {
    let patterns: Vec<Value> = patterns.iter().map(|text| Value::from(*text)).collect();
    Filter::parse(&patterns).unwrap_or_else(|error| panic!("{patterns:?}: {error}"))
}

fn keeps(filter: &Filter, document: &str) -> bool {
    filter.matches(&Tree::parse(document).unwrap())
}

/// Lambda's event record of a change with this image.
fn change(name: &str, image: &str) -> String {
    format!(
        r#"{{"eventID":"c1","eventName":"{name}","eventVersion":"1.1","eventSource":"aws:dynamodb","awsRegion":"eu-west-1",
        "dynamodb":{{"ApproximateCreationDateTime":1762430460.0,"Keys":{{"id":{{"S":"k"}}}},"NewImage":{image},
        "SequenceNumber":"300","SizeBytes":23,"StreamViewType":"NEW_IMAGE"}},
        "eventSourceARN":"arn:aws:dynamodb:eu-west-1:111122223333:table/t/stream/2025-11-06T12:00:00.000"}}"#
    )
}

/// The outcomes are those that AWS gave to localstack's tests of event filters, as its snapshots of November 2025
/// record them (`test_lambda_integration_dynamodbstreams.py` and `test_lambda_integration_kinesis.py`); the
/// documents are made for here.
#[test]
fn what_was_recorded_on_aws_comes_out_the_same() {
    let inserted = |image: &str| change("INSERT", image);
    let present = r#"{"presentKey":{"S":"presentValue"}}"#;
    let number = |n: &str| inserted(&format!(r#"{{"numericFilter":{{"N":"{n}"}}}}"#));
    let prefix = |text: &str| inserted(&format!(r#"{{"prefix":{{"S":"{text}"}}}}"#));
    for (pattern, document, kept) in [
        (r#"{"eventName":["INSERT"]}"#, change("INSERT", "{}"), true),
        (r#"{"eventName":["INSERT"]}"#, change("MODIFY", "{}"), false),
        (
            r#"{"eventName":["INSERT","MODIFY"]}"#,
            change("INSERT", "{}"),
            true,
        ),
        (
            r#"{"eventName":["INSERT","MODIFY"]}"#,
            change("MODIFY", "{}"),
            true,
        ),
        (
            r#"{"dynamodb":{"NewImage":{"presentKey":{"S":["presentValue"]}}}}"#,
            inserted(present),
            true,
        ),
        (
            r#"{"dynamodb":{"NewImage":{"presentKey":{"S":["presentValue"]}}}}"#,
            inserted("{}"),
            false,
        ),
        (
            r#"{"dynamodb":{"NewImage":{"presentKey":["presentValue"]}}}"#,
            inserted(present),
            false,
        ),
        (
            r#"{"dynamodb":{"NewImage":{"presentKey":{"S":[{"exists":true}]}}}}"#,
            inserted(present),
            true,
        ),
        (
            r#"{"dynamodb":{"NewImage":{"presentKey":{"S":[{"exists":true}]}}}}"#,
            inserted("{}"),
            false,
        ),
        (
            r#"{"dynamodb":{"NewImage":{"presentKey":[{"exists":false}]}}}"#,
            inserted("{}"),
            true,
        ),
        (
            r#"{"dynamodb":{"NewImage":{"presentKey":[{"exists":false}]}}}"#,
            inserted(present),
            true,
        ),
        (
            r#"{"dynamodb":{"NewImage":{"numericFilter":{"N":[{"numeric":[">",100]},{"anything-but":"101"}]}}}}"#,
            number("42"),
            true,
        ),
        (
            r#"{"dynamodb":{"NewImage":{"numericFilter":{"N":[{"numeric":[">",100]},{"anything-but":"101"}]}}}}"#,
            number("101"),
            false,
        ),
        (
            r#"{"dynamodb":{"NewImage":{"prefix":{"S":[{"prefix":"us-1"}]}}}}"#,
            prefix("us-1-other-suffix"),
            true,
        ),
        (
            r#"{"dynamodb":{"NewImage":{"prefix":{"S":[{"prefix":"us-1"}]}}}}"#,
            prefix("other-suffix"),
            false,
        ),
        (
            r#"{"dynamodb":{"ApproximateCreationDateTime":[{"numeric":[">",0]}]}}"#,
            inserted("{}"),
            true,
        ),
        (
            r#"{"data":{"event_type":["function_1"]}}"#,
            r#"{"data":{"event_type":"function_1","message":"foo"}}"#.to_owned(),
            true,
        ),
        (
            r#"{"data":{"event_type":["function_1"]}}"#,
            r#"{"data":{"event_type":"function_2","message":"bar?"}}"#.to_owned(),
            false,
        ),
    ] {
        assert_eq!(
            keeps(&filter(&[pattern]), &document),
            kept,
            "{pattern} {document}"
        );
    }
    for refused in ["single-string", r#"[{"eventName": ["INSERT"=123}]"#] {
        assert!(Filter::parse(&[refused.into()]).is_err(), "{refused}");
    }
}

/// Alternatives of a field, `=>`, its values that match, `|`, and those that don't; `absent` is no such field.
const OPERATORS: &str = r#"
# Exact values.
["a"] => "a" ; ["b","a"] ; "\u0061" | "A" ; "ab" ; "" ; 1 ; null ; {} ; absent ; []
["a", "b"] => "a" ; "b" | "c"
[""] => "" ; ["a",""] | " " ; null ; [] ; absent
[null] => null ; [1,null] | "null" ; "" ; 0 ; false ; {} ; absent
[true] => true | false ; "true" ; 1 ; absent
[false] => false | true ; 0 ; null ; absent
[1] => 1 ; 1.0 ; 10e-1 ; 0.1E+1 ; [0,1] | "1" ; 1.0000000000000000000000001 ; true ; -1 ; absent
[1e2] => 100 ; 100.0 ; 1E2 | 1e3 ; "1e2"
[-0] => 0 ; 0.0 ; -0 | 1e-400 ; false
[12345678901234567890123456789012345678] => 12345678901234567890123456789012345678 ; 12345678901234567890123456789012345678.0 | 12345678901234567890123456789012345679 ; 1.2345678901234568e37
[0.1] => 0.1 ; 1e-1 | 0.1000000000000000055
["1", 2, null] => "1" ; 2 ; null | 1 ; "2" ; absent
# Beginnings and ends.
[{"prefix": "us-"}] => "us-east-1" ; "us-" ; ["eu","us-"] | "US-east-1" ; "eu-us-" ; 7 ; null ; absent
[{"prefix": {"equals-ignore-case": "Us-É"}}] => "uS-é1" ; "US-É" | "us-e" ; "us-" ; 1 ; absent
[{"prefix": ""}] => "" ; "a" | 1 ; null ; absent
[{"suffix": ".png"}] => "a.png" ; ".png" | "a.PNG" ; "png" ; ".png " ; 1
[{"suffix": {"equals-ignore-case": ".pNg"}}] => "a.pNG" ; ".png" | "png" ; ".pngx" ; null
# Whole texts in any case.
[{"equals-ignore-case": "Ärger"}] => "äRGER" ; "Ärger" ; ["x","ÄRGER"] | "arger" ; "ärger " ; "ärge" ; 1 ; absent
[{"equals-ignore-case": "ς"}] => "Σ" ; "ς" | "s"
[{"equals-ignore-case": ""}] => "" | "a" ; null ; absent
# Gaps.
[{"wildcard": "a*c"}] => "ac" ; "abc" ; "acc" ; "a*c" | "ab" ; "abcd" ; "a" ; 1 ; absent
[{"wildcard": "*needle*"}] => "needle" ; "hay needle hay" | "need" ; "Needle" ; ""
[{"wildcard": "a*b*a"}] => "aba" ; "abxba" ; "a b a" | "ab" ; "a" ; "aa"
[{"wildcard": "*"}] => "" ; "x" | 1 ; null ; absent
[{"wildcard": "ab"}] => "ab" | "abc" ; "xab"
[{"wildcard": "\\**\\\\"}] => "*\\" ; "*x\\" | "x\\" ; "*"
[{"wildcard": "aa*aa"}] => "aaaa" | "aaa"
[{"wildcard": "*a*a"}] => "aa" | "a" ; "ab"
# Anything but.
[{"anything-but": "a"}] => "b" ; "A" ; 1 ; null ; true ; ["a","b"] | "a" ; ["a"] ; absent ; {} ; []
[{"anything-but": ["a", "b"]}] => "c" ; "" ; 0 | "a" ; "b" ; ["b","a"] ; absent
[{"anything-but": 1}] => 2 ; "1" ; 1.1 | 1 ; 1.0 ; absent
[{"anything-but": [1, 2e0]}] => 3 ; "2" | 1 ; 2 ; 0.2e1 ; absent
[{"anything-but": {"prefix": "a"}}] => "xa" ; "A" ; 1 ; null | "a" ; "ab" ; absent
[{"anything-but": {"prefix": ["a", "b"]}}] => "c" ; "" | "a1" ; "b1" ; absent
[{"anything-but": {"suffix": "a"}}] => "ab" ; 5 | "xa" ; absent
[{"anything-but": {"suffix": [".c", ".h"]}}] => "a.rs" | "a.c" ; "a.h"
[{"anything-but": {"equals-ignore-case": "read"}}] => "reads" ; "" ; 1 | "READ" ; "read" ; absent
[{"anything-but": {"equals-ignore-case": ["read", "CONNECT"]}}] => "QUERY" | "Read" ; "connect"
[{"anything-but": {"wildcard": "*/lib/*"}}] => "/bin/a" ; 1 | "/lib/a" ; absent
[{"anything-but": {"wildcard": ["*.jar", "a*"]}}] => "b.class" | "b.jar" ; "a.class"
# Numbers.
[{"numeric": ["=", 3.018e2]}] => 301.8 ; 3018e-1 ; 301.80 | 301.81 ; "301.8" ; null ; absent
[{"numeric": [">", 0]}] => 1 ; 1e-400 ; 0.1 ; 1e999 | 0 ; -0.0 ; -1 ; "1" ; true ; absent
[{"numeric": [">=", 0]}] => 0 ; 1 | -1e-30 ; "0"
[{"numeric": ["<", -1.5]}] => -2 ; -1.50001 | -1.5 ; 0 ; null
[{"numeric": ["<=", 5]}] => 5.0 ; -100 | 5.01
[{"numeric": [">", 0, "<=", 5]}] => 5 ; 0.1 ; [9,3] | 0 ; 5.1 ; "3" ; absent
[{"numeric": [">=", 5, "<=", 5]}] => 5 ; 5.0 | 4 ; 6
[{"numeric": [">", 12345678901234567890123456789012345678]}] => 12345678901234567890123456789012345679 | 12345678901234567890123456789012345678
# Presence: of a value, not of an object.
[{"exists": true}] => 1 ; "" ; null ; false ; [1] ; [[null]] | absent ; {} ; {"y":1} ; [] ; [{}]
[{"exists": false}] => absent ; {} ; {"y":1} ; [] ; [{"y":1}] | 1 ; "" ; null ; [1] ; [{"y":1},2]
[{"exists": false}, "a"] => absent ; "a" ; ["b","a"] ; {} | "b" ; null
# Addresses.
[{"cidr": "10.0.0.0/8"}] => "10.0.0.0" ; "10.255.255.255" ; "::ffff:10.1.2.3" | "11.0.0.0" ; "9.255.255.255" ; "10.0.0" ; "::1" ; 10 ; absent
[{"cidr": "10.9.8.7/8"}] => "10.0.0.0" | "11.9.8.7"
[{"cidr": "192.0.2.7/32"}] => "192.0.2.7" | "192.0.2.6" ; "192.0.2.7/32"
[{"cidr": "0.0.0.0/0"}] => "255.1.2.3" | "::1" ; "localhost" ; ""
[{"cidr": "2001:db8::/32"}] => "2001:db8::1" ; "2001:DB8:0:0:0:0:0:1" | "2001:db9::1" ; "32.1.13.184"
[{"cidr": "::/0"}] => "::1" | "x" ; 1
[{"cidr": "::1/128"}] => "::1" ; "0:0:0:0:0:0:0:1" | "::2"
"#;

#[test]
fn each_operator_matches_what_it_says() {
    let rows = OPERATORS
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut checked = 0;
    for row in rows {
        let (rules, values) = row.split_once(" => ").unwrap();
        let (kept, dropped) = values.split_once(" | ").unwrap();
        let one = filter(&[&format!(r#"{{"x": {rules}}}"#)]);
        for (values, expected) in [(kept, true), (dropped, false)] {
            for value in values.split(" ; ") {
                let document = match value {
                    "absent" => r#"{"other":1}"#.to_owned(),
                    value => format!(r#"{{"x":{value}}}"#),
                };
                assert_eq!(keeps(&one, &document), expected, "{rules} {document}");
                checked += 1;
            }
        }
    }
    assert!(checked > 200, "{checked}");
}

#[test]
fn fields_join_by_and_and_patterns_and_or_by_or() {
    let either = r#"{"s":["x"], "$or":[{"a":[1]},{"b":[2],"c":[3]}]}"#;
    let both = r#"{"$or":[{"a":[1]},{"b":[2]}], "d":{"$or":[{"e":[1]},{"$or":[{"f":[1]},{"g":[1]}]}]}}"#;
    for (patterns, document, kept) in [
        (&[r#"{"a":[1],"b":[2]}"#] as &[&str], r#"{"a":1,"b":2}"#, true),
        (&[r#"{"a":[1],"b":[2]}"#], r#"{"a":1,"b":3}"#, false),
        (&[r#"{"a":[1],"b":[2]}"#], r#"{"a":1}"#, false),
        (&[r#"{"a":[1]}"#, r#"{"b":[2]}"#], r#"{"b":2}"#, true),
        (&[r#"{"a":[1]}"#, r#"{"b":[2]}"#], r#"{"a":2,"b":1}"#, false),
        (
            &[r#"{"a":{"b":{"c":[1]}}}"#],
            r#"{"a":{"b":{"c":1,"d":2},"e":3}}"#,
            true,
        ),
        (&[r#"{"a":{"b":{"c":[1]}}}"#], r#"{"a":{"c":1}}"#, false),
        (&[r#"{"a":{"b":[1]}}"#], r#"{"a":1}"#, false),
        (&[r#"{"a":{"b":[1]}}"#], r#"{"a.b":1}"#, false),
        (&[r#"{"a":{"b":[{"exists":false}]}}"#], r#"{"a":1}"#, true),
        (&[r#"{"a":{"b":[{"exists":false}]}}"#], "{}", true),
        (&[r#"{"a":[1]}"#], "1", false),
        (&[r#"{"a":[1]}"#], r#"{"a":1,"a":2}"#, false),
        (&[either], r#"{"s":"x","a":1}"#, true),
        (&[either], r#"{"s":"x","b":2,"c":3}"#, true),
        (&[either], r#"{"s":"x","b":2}"#, false),
        (&[either], r#"{"s":"y","a":1}"#, false),
        (&[both], r#"{"a":1,"d":{"e":1}}"#, true),
        (&[both], r#"{"b":2,"d":{"g":1}}"#, true),
        (&[both], r#"{"b":2,"d":{"h":1}}"#, false),
        (&[both], r#"{"d":{"f":1}}"#, false),
        // A name that is also an operator's is a field, where its value is an object or a list.
        (&[r#"{"prefix":{"S":["a"]}}"#], r#"{"prefix":{"S":"a"}}"#, true),
        (
            &[r#"{"numeric":["a"],"exists":[true]}"#],
            r#"{"numeric":"a","exists":true}"#,
            true,
        ),
    ] {
        assert_eq!(
            keeps(&filter(patterns), document),
            kept,
            "{patterns:?} {document}"
        );
    }
}

#[test]
fn an_item_of_a_list_matches_as_a_whole() {
    let pair = r#"{"l":{"x":[1],"y":[2]}}"#;
    let lacks = r#"{"l":{"kind":["k"],"x":[{"exists":false}]}}"#;
    for (pattern, document, kept) in [
        (pair, r#"{"l":[{"x":0},{"x":1,"y":2}]}"#, true),
        (pair, r#"{"l":[{"x":1,"y":0},{"x":0,"y":2}]}"#, false),
        (pair, r#"{"l":[[{"x":1,"y":2}]]}"#, true),
        (pair, r#"{"l":[1,"x"]}"#, false),
        // Alone, absence is of the whole list; beside another field, of the item that has it.
        (
            r#"{"l":{"x":[{"exists":false}]}}"#,
            r#"{"l":[{"y":1},{"z":1}]}"#,
            true,
        ),
        (
            r#"{"l":{"x":[{"exists":false}]}}"#,
            r#"{"l":[{"y":1},{"x":1}]}"#,
            false,
        ),
        (r#"{"l":{"x":[{"exists":false}]}}"#, r#"{"l":[]}"#, true),
        (lacks, r#"{"l":[{"kind":"z","x":1},{"kind":"k"}]}"#, true),
        (lacks, r#"{"l":[{"kind":"z"},{"kind":"k","x":1}]}"#, false),
        (
            r#"{"l":{"x":[{"exists":false},1]}}"#,
            r#"{"l":[{"x":2},{"x":1}]}"#,
            true,
        ),
        (
            r#"{"l":{"x":[{"exists":false},1]}}"#,
            r#"{"l":[{"x":2},{"y":1}]}"#,
            false,
        ),
    ] {
        assert_eq!(keeps(&filter(&[pattern]), document), kept, "{pattern} {document}");
    }
}

#[test]
fn patterns_may_be_objects_or_texts() {
    let object = Filter::parse(&[json!({"eventName": ["INSERT"], "n": [1.5, 18446744073709551615u64]})]);
    let text = Filter::parse(&[json!(
        "{\"eventName\": [\"INSERT\"], \"n\": [15e-1, 18446744073709551615]}"
    )]);
    assert_eq!(object.unwrap(), text.unwrap());
}

#[test]
fn the_names_at_the_top_are_told_also_those_in_an_or() {
    let filter = filter(&[
        r#"{"a":{"x":[1]},"$or":[{"b":[1]},{"c":[1],"$or":[{"d":[1]},{"a":[2]}]}]}"#,
        r#"{"e":{"$or":[{"y":[1]},{"z":[1]}]}}"#,
    ]);
    let names: BTreeSet<&str> = filter.fields().collect();
    assert_eq!(names, ["a", "b", "c", "d", "e"].into());
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|n| Value::from(f64::from(n) / 64.0)),
        "\\PC{0,6}".prop_map(Value::from),
    ]
}

fn any_json() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        "[a-c]{1,2}",
        "\\PC{0,3}",
        prop::sample::select(
            &[
                "$or",
                "prefix",
                "suffix",
                "anything-but",
                "numeric",
                "exists",
                "cidr",
                "wildcard",
                "equals-ignore-case",
            ][..]
        )
        .prop_map(str::to_owned),
    ];
    let leaf = prop_oneof![
        3 => scalar(),
        1 => prop::sample::select(&["<", ">=", "=", "10.0.0.0/8", "a*b", "\\"][..]).prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name.clone(), inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A pattern of exact values that a document was taken from. `None` if it holds no value.
fn exact(document: &Value) -> Option<Value> {
    match document {
        Value::Object(members) => {
            let fields = members.iter().filter(|(name, _)| *name != "$or");
            let fields = fields.filter_map(|(name, value)| Some((name.clone(), exact(value)?)));
            let fields: serde_json::Map<String, Value> = fields.collect();
            (!fields.is_empty()).then_some(Value::Object(fields))
        }
        Value::Array(items) => items.iter().find_map(exact),
        value => Some(json!([value])),
    }
}

proptest! {
    #[test]
    fn a_filter_of_values_taken_from_a_document_matches_it(document in any_json()) {
        let (Some(pattern @ Value::Object(_)), Value::Object(_)) = (exact(&document), &document) else {
            return Ok(());
        };
        // Some names with such values are refused: they are surely meant as operators.
        if let Ok(filter) = Filter::parse(std::slice::from_ref(&pattern)) {
            prop_assert!(keeps(&filter, &document.to_string()), "{pattern} {document}");
        }
    }

    #[test]
    fn a_value_is_itself_or_anything_but_itself(text in "\\PC{0,4}", other in scalar()) {
        let is = Filter::parse(&[json!({"x": [text]})]).unwrap();
        let is_not = Filter::parse(&[json!({"x": [{"anything-but": text}]})]).unwrap();
        for value in [Value::from(text), other] {
            let document = json!({"x": value}).to_string();
            prop_assert_ne!(keeps(&is, &document), keeps(&is_not, &document), "{}", document);
        }
    }

    #[test]
    fn a_text_matches_a_wildcard_that_it_is_cut_into(pieces in prop::collection::vec("[ab*\\\\]{1,3}", 1..5), gaps in prop::collection::vec("[ab]{0,2}", 4)) {
        let escaped: Vec<String> = pieces.iter().map(|piece| piece.replace('\\', "\\\\").replace('*', "\\*")).collect();
        let wildcard = Filter::parse(&[json!({"x": [{"wildcard": escaped.join("*")}]})]).unwrap();
        let mut text = String::new();
        for (i, piece) in pieces.iter().enumerate() {
            if i > 0 {
                text.push_str(&gaps[i - 1]);
            }
            text.push_str(piece);
        }
        let document = json!({"x": text}).to_string();
        prop_assert!(keeps(&wildcard, &document));
    }

    #[test]
    fn no_json_makes_the_reader_panic(pattern in any_json(), document in any_json(), as_text: bool) {
        let given = if as_text { Value::from(pattern.to_string()) } else { pattern };
        match Filter::parse(&[given]) {
            Ok(filter) => {
                keeps(&filter, &document.to_string());
                for decode in [Decode::Lambda, Decode::Audit, Decode::Auto, Decode::Json] {
                    let _ = filter.fits(decode);
                }
            }
            Err(error) => prop_assert!(error.to_string().contains("pattern 1"), "{error}"),
        }
    }
}
