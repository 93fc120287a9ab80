use proptest::prelude::*;

use super::*;

const KEY: &str = "a key of no importance";

fn hash() -> With {
    With::Hash(Key::new(KEY).unwrap())
}

fn redaction(rules: &[(&str, With)]) -> Redaction {
    let rules = rules.iter().map(|(path, with)| Rule {
        path: Path::parse(path).unwrap(),
        with: with.clone(),
    });
    Redaction::new(rules.collect(), false).unwrap()
}

fn applied(redaction: &Redaction, text: &str, content: Content) -> String {
    let mut tree = Tree::parse(text).unwrap();
    redaction.apply(&mut tree, content);
    tree.to_string()
}

/// What one rule makes of a JSON text.
fn json(path: &str, with: With, text: &str) -> String {
    applied(&redaction(&[(path, with)]), text, Content::Json)
}

/// What one rule makes of the new image of a change.
fn image(path: &str, with: With, image: &str) -> String {
    let of = |image: &str| format!(r#"{{"eventID":"1","dynamodb":{{"NewImage":{image},"SizeBytes":5}}}}"#);
    let out = applied(&redaction(&[(path, with)]), &of(image), Content::Change);
    let inner = out
        .strip_prefix(r#"{"eventID":"1","dynamodb":{"NewImage":"#)
        .unwrap_or(&out);
    inner
        .strip_suffix(r#","SizeBytes":5}}"#)
        .unwrap_or(inner)
        .to_owned()
}

#[test]
fn an_attribute_is_hidden_whatever_its_type_and_the_image_stays_one() {
    const CUSTOMER: &str = r#"{"id":{"N":"7"},"c":{"M":{"mail":{"S":"a@b"},"n":{"N":"1.50"},"l":{"L":[{"S":"x"},{"M":{"p":{"N":"2"}}}]}}}}"#;
    for (path, with, before, after) in [
        // By the type of the value.
        (
            "NewImage.a",
            With::Mask,
            r#"{"a":{"S":"x"},"b":{"S":"y"}}"#,
            r#"{"a":{"S":"***"},"b":{"S":"y"}}"#,
        ),
        (
            "NewImage.a",
            With::Mask,
            r#"{"a":{"N":"1"}}"#,
            r#"{"a":{"S":"***"}}"#,
        ),
        (
            "NewImage.a",
            With::Mask,
            r#"{"a":{"B":"AAE="}}"#,
            r#"{"a":{"S":"***"}}"#,
        ),
        (
            "NewImage.a",
            With::Mask,
            r#"{"a":{"BOOL":true}}"#,
            r#"{"a":{"S":"***"}}"#,
        ),
        (
            "NewImage.a",
            With::Mask,
            r#"{"a":{"NULL":true}}"#,
            r#"{"a":{"S":"***"}}"#,
        ),
        (
            "NewImage.a",
            With::Mask,
            r#"{"a":{"SS":["x","y"]}}"#,
            r#"{"a":{"S":"***"}}"#,
        ),
        (
            "NewImage.a",
            With::Mask,
            r#"{"a":{"L":[{"S":"x"}]}}"#,
            r#"{"a":{"S":"***"}}"#,
        ),
        (
            "NewImage.a",
            With::Mask,
            r#"{"a":{"M":{}}}"#,
            r#"{"a":{"S":"***"}}"#,
        ),
        (
            "NewImage.a",
            With::Remove,
            r#"{"a":{"S":"x"},"b":{"S":"y"}}"#,
            r#"{"b":{"S":"y"}}"#,
        ),
        ("NewImage.a", With::Remove, r#"{"a":{"S":"x"}}"#, "{}"),
        // Below maps and lists.
        (
            "NewImage.c.mail",
            With::Mask,
            CUSTOMER,
            r#"{"id":{"N":"7"},"c":{"M":{"mail":{"S":"***"},"n":{"N":"1.50"},"l":{"L":[{"S":"x"},{"M":{"p":{"N":"2"}}}]}}}}"#,
        ),
        (
            "*.c.l.0",
            With::Remove,
            CUSTOMER,
            r#"{"id":{"N":"7"},"c":{"M":{"mail":{"S":"a@b"},"n":{"N":"1.50"},"l":{"L":[{"NULL":true},{"M":{"p":{"N":"2"}}}]}}}}"#,
        ),
        (
            "*.c.l.*.p",
            With::Remove,
            CUSTOMER,
            r#"{"id":{"N":"7"},"c":{"M":{"mail":{"S":"a@b"},"n":{"N":"1.50"},"l":{"L":[{"S":"x"},{"M":{}}]}}}}"#,
        ),
        (
            "NewImage.c.*",
            With::Mask,
            CUSTOMER,
            r#"{"id":{"N":"7"},"c":{"M":{"mail":{"S":"***"},"n":{"S":"***"},"l":{"S":"***"}}}}"#,
        ),
        // The types may be written, and need not be; an attribute may be called like one.
        ("NewImage.a.S", With::Remove, r#"{"a":{"S":"x"}}"#, "{}"),
        (
            "NewImage.a.M.b.S",
            With::Mask,
            r#"{"a":{"M":{"b":{"S":"x"}}}}"#,
            r#"{"a":{"M":{"b":{"S":"***"}}}}"#,
        ),
        (
            "NewImage.a.L.0",
            With::Mask,
            r#"{"a":{"L":[{"S":"x"}]}}"#,
            r#"{"a":{"L":[{"S":"***"}]}}"#,
        ),
        (
            "NewImage.S",
            With::Mask,
            r#"{"S":{"S":"x"},"a":{"S":"y"}}"#,
            r#"{"S":{"S":"***"},"a":{"S":"y"}}"#,
        ),
        // The elements of a set have no places.
        (
            "NewImage.a.*",
            With::Mask,
            r#"{"a":{"NS":["1","2"]}}"#,
            r#"{"a":{"S":"***"}}"#,
        ),
        (
            "NewImage.a.*",
            With::Remove,
            r#"{"a":{"BS":["AA=="]}}"#,
            r#"{"a":{"NULL":true}}"#,
        ),
        // A whole image.
        (
            "NewImage",
            With::Mask,
            r#"{"a":{"N":"1"},"b":{"L":[]}}"#,
            r#"{"a":{"S":"***"},"b":{"S":"***"}}"#,
        ),
        // Names that stand twice, and a name with a dot.
        (
            "NewImage.a",
            With::Mask,
            r#"{"a":{"S":"x"},"a":{"S":"y"}}"#,
            r#"{"a":{"S":"***"},"a":{"S":"***"}}"#,
        ),
        (
            "NewImage.a",
            With::Remove,
            r#"{"a":{"S":"x"},"b":{"N":"1"},"a":{"S":"y"}}"#,
            r#"{"b":{"N":"1"}}"#,
        ),
        (
            r"NewImage.a\.b",
            With::Mask,
            r#"{"a.b":{"S":"x"}}"#,
            r#"{"a.b":{"S":"***"}}"#,
        ),
        // A name is looked for in all maps of a list, and a number in these, too.
        (
            "*.c.l.p",
            With::Mask,
            CUSTOMER,
            r#"{"id":{"N":"7"},"c":{"M":{"mail":{"S":"a@b"},"n":{"N":"1.50"},"l":{"L":[{"S":"x"},{"M":{"p":{"S":"***"}}}]}}}}"#,
        ),
        (
            "*.c.email",
            With::Remove,
            r#"{"c":{"L":[{"M":{"email":{"S":"x"}}},{"L":[{"M":{"email":{"S":"y"},"a":{"N":"1"}}}]}]}}"#,
            r#"{"c":{"L":[{"M":{}},{"L":[{"M":{"a":{"N":"1"}}}]}]}}"#,
        ),
        (
            "NewImage.a.1",
            With::Mask,
            r#"{"a":{"L":[{"M":{"1":{"S":"x"}}},{"M":{"1":{"S":"y"}}},{"L":[{"S":"z"},{"S":"z"}]}]}}"#,
            r#"{"a":{"L":[{"M":{"1":{"S":"***"}}},{"S":"***"},{"L":[{"S":"z"},{"S":"z"}]}]}}"#,
        ),
        // A text that may be JSON, below which the path goes on.
        (
            "*.customer.email",
            With::Mask,
            r#"{"customer":{"S":"{\"email\":\"x\"}"},"email":{"S":"{}"}}"#,
            r#"{"customer":{"S":"***"},"email":{"S":"{}"}}"#,
        ),
        (
            "*.a.S.b",
            With::Remove,
            r#"{"a":{"S":" \n[1]"},"b":{"S":"[]"}}"#,
            r#"{"b":{"S":"[]"}}"#,
        ),
        (
            // The second may be JSON with a member `0`.
            "NewImage.a.0.b",
            With::Remove,
            r#"{"a":{"L":[{"S":"{}"},{"S":"{}"},{"S":"x"}]}}"#,
            r#"{"a":{"L":[{"NULL":true},{"NULL":true},{"S":"x"}]}}"#,
        ),
        (
            "NewImage.a.b",
            With::Mask,
            r#"{"a":{"SS":["x","{}"]}}"#,
            r#"{"a":{"S":"***"}}"#,
        ),
        // What is no image and no attribute.
        (
            "NewImage.a.b",
            With::Mask,
            r#"[{"a":{"M":{"b":{"S":"x"}}}}]"#,
            r#""***""#,
        ),
        (
            "NewImage.a.b",
            With::Mask,
            r#"{"a":{"X":{"b":{"S":"x"}}}}"#,
            r#"{"a":{"S":"***"}}"#,
        ),
        (
            "NewImage.a.b",
            With::Remove,
            r#"{"a":{"M":[{"b":{"S":"x"}}]},"c":{"M":[]}}"#,
            r#"{"c":{"M":[]}}"#,
        ),
        (
            "NewImage.a.b",
            With::Mask,
            r#"{"a":{"M":{},"L":[]}}"#,
            r#"{"a":{"S":"***"}}"#,
        ),
        (
            "NewImage.a.b",
            With::Mask,
            r#"{"a":["x"]}"#,
            r#"{"a":{"S":"***"}}"#,
        ),
        (
            "NewImage.a.3",
            With::Mask,
            r#"{"a":{"NS":["1","2"]}}"#,
            r#"{"a":{"S":"***"}}"#,
        ),
        (
            "NewImage.a.3",
            With::Remove,
            r#"{"a":{"SS":["x"]}}"#,
            r#"{"a":{"NULL":true}}"#,
        ),
        // What is not there.
        (
            "NewImage.a.b",
            With::Mask,
            r#"{"a":{"SS":["x"]}}"#,
            r#"{"a":{"SS":["x"]}}"#,
        ),
        (
            "NewImage.a.b",
            With::Mask,
            r#"{"a":{"NULL":true}}"#,
            r#"{"a":{"NULL":true}}"#,
        ),
        (
            "NewImage.a.b",
            With::Mask,
            r#"{"a":{"S":"x"}}"#,
            r#"{"a":{"S":"x"}}"#,
        ),
        ("NewImage.c.l.7", With::Mask, CUSTOMER, CUSTOMER),
        ("NewImage.x", With::Mask, CUSTOMER, CUSTOMER),
        ("OldImage.id", With::Mask, CUSTOMER, CUSTOMER),
        ("NewImage.a", With::Mask, "null", "null"),
    ] {
        assert_eq!(image(path, with, before), after, "{path} in {before}");
    }
}

#[test]
fn a_hash_stands_for_an_attribute_as_a_string_and_for_a_set_as_a_set() {
    let of = |text: &str| {
        let out = json("v", hash(), &format!(r#"{{"v":{text}}}"#));
        let out = out
            .strip_prefix(r#"{"v":""#)
            .and_then(|out| out.strip_suffix(r#""}"#));
        out.unwrap().to_owned()
    };
    let (a, b, one) = (of(r#""a""#), of(r#""b""#), of("1"));
    assert!(a.starts_with("hmac-sha256:") && a.len() == "hmac-sha256:".len() + 32);
    let mut both = [a.clone(), b];
    both.sort();
    for (before, after) in [
        (r#"{"S":"a"}"#, format!(r#"{{"S":"{a}"}}"#)),
        (r#"{"N":"1.0"}"#, format!(r#"{{"S":"{one}"}}"#)),
        (
            r#"{"SS":["b","a"]}"#,
            format!(r#"{{"SS":["{}","{}"]}}"#, both[0], both[1]),
        ),
        (
            r#"{"SS":["a","b"]}"#,
            format!(r#"{{"SS":["{}","{}"]}}"#, both[0], both[1]),
        ),
        (r#"{"NS":["1e0","1"]}"#, format!(r#"{{"SS":["{one}"]}}"#)),
        (r#"{"BS":[]}"#, r#"{"SS":[]}"#.to_owned()),
    ] {
        let image = image("NewImage.v", hash(), &format!(r#"{{"v":{before}}}"#));
        assert_eq!(image, format!(r#"{{"v":{after}}}"#), "{before}");
    }
}

#[test]
fn equal_values_have_equal_hashes_and_others_have_others() {
    /// By the kind of document, and the value in it.
    enum V {
        Json(&'static str),
        Attribute(&'static str),
    }
    use V::{Attribute, Json};
    let hash_of = |v: &V| match v {
        Json(text) => json("v", hash(), &format!(r#"{{"v":{text}}}"#)),
        // The hash of an attribute, told as JSON's is.
        Attribute(text) => {
            let out = image("NewImage.v", hash(), &format!(r#"{{"v":{text}}}"#));
            out.replace(r#"{"S":"#, "").replace("}}", "}")
        }
    };
    let classes: [&[V]; 13] = [
        &[Json(r#""1""#), Json(r#""\u0031""#), Attribute(r#"{"S":"1"}"#)],
        &[
            Json("1"),
            Json("1.0"),
            Json("1e0"),
            Json("10E-1"),
            Attribute(r#"{"N":"1"}"#),
            Attribute(r#"{"N":"1.00"}"#),
        ],
        &[Json("-1"), Attribute(r#"{"N":"-1"}"#)],
        &[Json("0"), Json("-0.0"), Attribute(r#"{"N":"0"}"#)],
        &[
            Json("12345678901234567890123456789012345678"),
            Attribute(r#"{"N":"12345678901234567890123456789012345678"}"#),
        ],
        &[Json("12345678901234567890123456789012345679")],
        &[Attribute(r#"{"B":"AQ=="}"#), Attribute(r#"{"B":"AQ"}"#)],
        &[Json("true"), Attribute(r#"{"BOOL":true}"#)],
        &[Json("null"), Attribute(r#"{"NULL":true}"#)],
        &[
            Json(r#"{"a":1,"b":["x",2.50]}"#),
            Json(r#"{ "b" : [ "x" , 25e-1 ], "a" : 1.0 }"#),
            Attribute(r#"{"M":{"b":{"L":[{"S":"x"},{"N":"2.5"}]},"a":{"N":"1"}}}"#),
        ],
        &[
            Json(r#"["x",2.5]"#),
            Attribute(r#"{"L":[{"S":"x"},{"N":"2.5"}]}"#),
        ],
        &[Json(r#"[2.5,"x"]"#)],
        // Inside a map a set is one value.
        &[
            Attribute(r#"{"M":{"s":{"SS":["x","y"]}}}"#),
            Attribute(r#"{"M":{"s":{"SS":["y","x"]}}}"#),
        ],
    ];
    let hashes: Vec<Vec<String>> = classes
        .iter()
        .map(|class| class.iter().map(hash_of).collect())
        .collect();
    for (i, class) in hashes.iter().enumerate() {
        assert!(class[0].contains("hmac-sha256:"), "{}", class[0]);
        for other in class {
            assert_eq!(*other, class[0], "class {i}");
        }
        for (j, other) in hashes.iter().enumerate().filter(|(j, _)| *j != i) {
            assert_ne!(class[0], other[0], "classes {i} and {j}");
        }
    }
    let other_key = With::Hash(Key::new("a key of some importance").unwrap());
    assert_ne!(
        json("v", other_key, r#"{"v":1}"#),
        json("v", hash(), r#"{"v":1}"#)
    );
}

#[test]
fn values_of_ordinary_json_are_hidden_where_the_path_leads() {
    for (path, with, before, after) in [
        ("a", With::Mask, r#"{"a":1,"b":2.50}"#, r#"{"a":"***","b":2.50}"#),
        ("a", With::Mask, r#"{"a":{"b":[1]}}"#, r#"{"a":"***"}"#),
        ("a", With::Remove, r#"{"a":1,"b":2,"a":3}"#, r#"{"b":2}"#),
        ("a.*", With::Remove, r#"{"a":[1,2]}"#, r#"{"a":[null,null]}"#),
        ("a.1", With::Remove, r#"{"a":[1,2,3]}"#, r#"{"a":[1,null,3]}"#),
        (
            "a.1",
            With::Mask,
            r#"{"a":{"1":2,"2":3}}"#,
            r#"{"a":{"1":"***","2":3}}"#,
        ),
        (
            "*.b",
            With::Mask,
            r#"[{"b":1},{"c":2},3]"#,
            r#"[{"b":"***"},{"c":2},3]"#,
        ),
        ("*", With::Mask, r#"{"a":1,"b":[2]}"#, r#"{"a":"***","b":"***"}"#),
        ("*", With::Mask, "7", "7"),
        ("a.S", With::Mask, r#"{"a":{"S":"x"}}"#, r#"{"a":{"S":"***"}}"#),
        ("a.b", With::Mask, r#"{"a":"b"}"#, r#"{"a":"b"}"#),
        (r"\*", With::Mask, r#"{"*":1,"b":2}"#, r#"{"*":"***","b":2}"#),
        // A name is looked for in all objects of a list, and a number in these, too.
        (
            "card",
            With::Mask,
            r#"[{"card":"4111","b":1},{"b":[{"card":2}]},"card"]"#,
            r#"[{"card":"***","b":1},{"b":[{"card":2}]},"card"]"#,
        ),
        (
            "cards.number",
            With::Remove,
            r#"{"cards":[{"number":1},[[{"number":2,"a":3}]]]}"#,
            r#"{"cards":[{},[[{"a":3}]]]}"#,
        ),
        (
            "a.1",
            With::Mask,
            r#"{"a":[{"1":2},{"1":3},{"1":4},[5,6]]}"#,
            r#"{"a":[{"1":"***"},"***",{"1":"***"},[5,6]]}"#,
        ),
        // A text that may be JSON, below which the path goes on.
        (
            "body.card",
            With::Mask,
            r#"{"body":"{\"card\":\"4111\"}"}"#,
            r#"{"body":"***"}"#,
        ),
        (
            "body.card",
            With::Remove,
            r#"{"a":1,"body":"\ufeff\r\n [{}]"}"#,
            r#"{"a":1}"#,
        ),
        (
            "body.card",
            With::Remove,
            r#"{"body":["{","x"]}"#,
            r#"{"body":[null,"x"]}"#,
        ),
        ("card", With::Mask, r#"["{\"card\":1}"]"#, r#"["***"]"#),
        (
            "body.card",
            With::Mask,
            r#"{"body":"card {}"}"#,
            r#"{"body":"card {}"}"#,
        ),
    ] {
        assert_eq!(json(path, with, before), after, "{path} in {before}");
    }
}

#[test]
fn all_parts_of_a_change_are_reached_and_nothing_beside_them() {
    let record = r#"{"eventID":"e","dynamodb":{"Keys":{"id":{"S":"k"}},"NewImage":{"id":{"S":"k"}},"OldImage":{"id":{"S":"k"}},"SequenceNumber":{"id":{"S":"k"}}},"id":{"S":"k"},"dynamodb":{"Keys":{"id":{"N":"1"}}}}"#;
    let hidden = applied(&redaction(&[("*.id", With::Mask)]), record, Content::Change);
    assert_eq!(
        hidden,
        r#"{"eventID":"e","dynamodb":{"Keys":{"id":{"S":"***"}},"NewImage":{"id":{"S":"***"}},"OldImage":{"id":{"S":"***"}},"SequenceNumber":{"id":{"S":"k"}}},"id":{"S":"k"},"dynamodb":{"Keys":{"id":{"S":"***"}}}}"#
    );
    let gone = applied(&redaction(&[("*", With::Remove)]), record, Content::Change);
    assert_eq!(
        gone,
        r#"{"eventID":"e","dynamodb":{"SequenceNumber":{"id":{"S":"k"}}},"id":{"S":"k"},"dynamodb":{}}"#
    );
}

#[test]
fn it_is_told_whether_anything_was_hidden() {
    let sql = Redaction::new(Vec::new(), true).unwrap();
    let a = redaction(&[("b", With::Mask), ("a", With::Remove)]);
    let image = redaction(&[("*.a", With::Mask)]);
    for (redaction, text, content, changed) in [
        (&a, r#"{"a":1}"#, Content::Json, true),
        (&a, r#"{"c":{"a":1}}"#, Content::Json, false),
        (
            &image,
            r#"{"dynamodb":{"Keys":{"a":{"S":"x"}}}}"#,
            Content::Change,
            true,
        ),
        (
            &image,
            r#"{"dynamodb":{"Keys":{"b":{"S":"a"}}}}"#,
            Content::Change,
            false,
        ),
        (&image, r#"{"dynamodb":{"Keys":[]}}"#, Content::Change, true),
        (&image, r#"{"dynamodb":[1]}"#, Content::Change, true),
        (
            &sql,
            r#"{"operation":"QUERY","object":"select 1"}"#,
            Content::Audit,
            true,
        ),
        (
            &sql,
            r#"{"operation":"QUERY","object":"select a"}"#,
            Content::Audit,
            false,
        ),
        (&sql, r#"{"message":"x","error":"e"}"#, Content::Audit, true),
    ] {
        let mut tree = Tree::parse(text).unwrap();
        assert_eq!(redaction.apply(&mut tree, content), changed, "{text}");
        assert_eq!(tree.to_string() != text, changed, "{text} became {tree}");
    }
}

#[test]
fn who_hides_users_or_hosts_hides_the_account_that_is_an_object() {
    let of = |rules: &[(&str, With)], operation: &str| {
        let line = format!(r#"{{"username":"u","operation":"{operation}","object":"`u`@`10.1.2.3`"}}"#);
        applied(&redaction(rules), &line, Content::Audit)
    };
    let hashed = json("a", hash(), r#"{"a":"`u`@`10.1.2.3`"}"#).replace(r#"{"a":"#, "");
    for operation in ["PROXY_CONNECT", "CHANGE_USER", "CHANGE_USER_DONE", "CHANGEUSER"] {
        for (rules, object) in [
            (&[("host", With::Mask)][..], r#","object":"***"}"#),
            (&[("host", With::Remove)], "}"),
            (
                &[("username", With::Mask), ("host", hash())],
                r#","object":"***"}"#,
            ),
            (
                &[("operation", With::Mask), ("host", With::Mask)],
                r#","object":"***"}"#,
            ),
            (
                &[("host", With::Mask), ("object", hash())],
                &format!(r#","object":{hashed}"#),
            ),
            (&[("database", With::Mask)], r#","object":"`u`@`10.1.2.3`"}"#),
        ] {
            let told = of(rules, operation);
            let rest = told.split_once(r#""operation":"#).unwrap().1;
            let (_, told_object) = rest[1..].split_once('"').unwrap();
            assert_eq!(told_object, object, "{rules:?} of {operation}");
        }
    }
    let read = of(&[("host", With::Mask)], "READ");
    assert!(read.contains("10.1.2.3"), "{read}");
}

#[test]
fn rules_follow_each_other() {
    let rules = redaction(&[("a.b", With::Mask), ("a", With::Remove), ("c", With::Mask)]);
    assert_eq!(
        applied(&rules, r#"{"a":{"b":1},"c":2}"#, Content::Json),
        r#"{"c":"***"}"#
    );
}

#[test]
fn the_literals_of_a_query_are_masked_and_other_objects_are_names() {
    let sql = Redaction::new(Vec::new(), true).unwrap();
    for (before, after) in [
        (
            r#"{"operation":"QUERY","database":"1","object":"select * from t where a='x\n' -- 1","retcode":0}"#,
            r#"{"operation":"QUERY","database":"1","object":"select * from t where a=? -- ?","retcode":0}"#,
        ),
        (
            r#"{"operation":"READ","object":"t1 '7'"}"#,
            r#"{"operation":"READ","object":"t1 '7'"}"#,
        ),
        (
            r#"{"operation":"QUERY","object":null}"#,
            r#"{"operation":"QUERY","object":null}"#,
        ),
        (r#"{"object":"select 1"}"#, r#"{"object":"select 1"}"#),
    ] {
        assert_eq!(applied(&sql, before, Content::Audit), after);
        assert_eq!(
            applied(&sql, before, Content::Json),
            before,
            "not of an audit line"
        );
    }
    let both = Redaction::new(redaction(&[("object", hash()), ("host", With::Mask)]).rules, true).unwrap();
    let of = |sql: &str| {
        let line = format!(r#"{{"operation":"QUERY","object":"{sql}","host":"h"}}"#);
        applied(&both, &line, Content::Audit)
    };
    assert_eq!(of("select 1"), of("select 2"), "literals are masked first");
    assert!(of("select 1").ends_with(r#","host":"***"}"#));
}

#[test]
fn an_audit_line_that_could_not_be_read_is_withheld() {
    let line = r#"{"message":"20260101 a,'secret","error":"the object never closes its quote","id":"1"}"#;
    let hidden = "20260101 a,'secret";
    let (sha256, length) = (digest::sha256(hidden.as_bytes()), hidden.len());
    let told = format!(
        r#"{{"withheld":{{"sha256":"{sha256}","length":{length}}},"error":"the object never closes its quote","id":"1"}}"#
    );
    let sql = Redaction::new(Vec::new(), true).unwrap();
    let host = redaction(&[("host", With::Mask)]);
    assert_eq!(applied(&sql, line, Content::Audit), told);
    assert_eq!(applied(&host, line, Content::Audit), told);
    assert_eq!(applied(&host, &told, Content::Audit), told);
    assert_eq!(applied(&host, line, Content::Json), line);
    let read = r#"{"operation":"QUERY","message":"m","error":"e"}"#;
    assert_eq!(applied(&host, read, Content::Audit), read);
}

#[test]
fn a_path_of_one_image_alone_is_told() {
    let paths = redaction(&[
        ("NewImage.a", With::Mask),
        ("OldImage.a", With::Remove),
        ("NewImage.b", With::Mask),
        ("OldImage.c.d", With::Mask),
        ("NewImage.e.f", With::Mask),
        ("OldImage.e", With::Mask),
        ("NewImage.g.*", With::Mask),
        ("OldImage.g.h", With::Mask),
        ("NewImage.i.j", With::Mask),
        ("*.i.*", With::Mask),
        ("Keys.k", With::Mask),
    ]);
    assert_eq!(
        paths.one_sided(),
        ["NewImage.b", "OldImage.c.d", "OldImage.e", "NewImage.g.*"]
    );
}

#[test]
fn an_attribute_that_is_hidden_in_images_alone_may_be_told_by_the_key() {
    for (paths, open) in [
        (&["NewImage.id", "OldImage.id"][..], &["Keys.id"][..]),
        (&["OldImage.b", "NewImage.a\\.c"], &["Keys.a\\.c", "Keys.b"]),
        (&["NewImage.*", "NewImage"], &["Keys.*"]),
        (&["NewImage.id", "*.id", "OldImage.b", "Keys.b"], &[]),
        (&["NewImage.id", "Keys"], &[]),
        (&["NewImage.a.b", "Keys.id", "*.c"], &[]),
    ] {
        let rules: Vec<_> = paths.iter().map(|path| (*path, With::Mask)).collect();
        assert_eq!(redaction(&rules).open_keys(), open, "{paths:?}");
    }
}

#[test]
fn a_path_that_looks_like_one_of_a_filter_is_told() {
    let paths = ["data.card", "data", "logGroup", "owner.name", "*.data", "a.owner"];
    let rules = redaction(&paths.map(|path| (path, With::Mask)));
    for decode in [Decode::Json, Decode::Subscription, Decode::Auto] {
        let told = rules.suspicious(decode);
        assert_eq!(told.len(), 3, "{told:?}");
        assert_eq!(
            told[0],
            "`data.card` begins with `data`, as paths of `filter` do; those of `redact` begin inside the message: unless \
             that has a field `data`, write `card`"
        );
        assert!(
            told[1].starts_with("`logGroup` begins with `logGroup`, which"),
            "{}",
            told[1]
        );
        assert!(
            told[2].starts_with("`owner.name` begins with `owner`, which"),
            "{}",
            told[2]
        );
    }
    assert!(rules.suspicious(Decode::Audit).is_empty());
}

#[test]
fn a_redaction_that_hides_nothing_is_none_and_the_key_is_never_shown() {
    assert_eq!(Redaction::new(Vec::new(), false), None);
    let debug = format!("{:?}", redaction(&[("a", hash())]));
    assert!(!debug.contains(KEY) && debug.contains("hidden"), "{debug}");
}

/// A value as DynamoDB writes it.
fn attribute() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "[a-c]{0,3}".prop_map(|s| format!(r#"{{"S":"{s}"}}"#)),
        "-?[0-9]{1,3}([.][0-9])?".prop_map(|n| format!(r#"{{"N":"{n}"}}"#)),
        Just(r#"{"B":"AAEC"}"#.to_owned()),
        Just(r#"{"BOOL":false}"#.to_owned()),
        Just(r#"{"NULL":true}"#.to_owned()),
        Just(r#"{"SS":["a","b"]}"#.to_owned()),
        Just(r#"{"NS":["1","2.0"]}"#.to_owned()),
        Just(r#"{"BS":["AAEC"]}"#.to_owned()),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(|l| format!(r#"{{"L":[{}]}}"#, l.join(","))),
            prop::collection::vec(("[a-c0SML]", inner), 0..3).prop_map(|m| {
                let members: Vec<_> = m.iter().map(|(name, v)| format!(r#""{name}":{v}"#)).collect();
                format!(r#"{{"M":{{{}}}}}"#, members.join(","))
            }),
        ]
    })
}

/// A value in lists of any depth, or as the JSON in a text.
fn wrapped(
    inner: impl Strategy<Value = serde_json::Value> + 'static,
) -> impl Strategy<Value = serde_json::Value> {
    inner.prop_recursive(3, 6, 2, |inner| {
        prop_oneof![
            3 => prop::collection::vec(inner.clone(), 1..3).prop_map(serde_json::Value::from),
            1 => inner.prop_map(|value| serde_json::Value::from(format!(" {value}"))),
        ]
    })
}

/// Whether a value is one that DynamoDB could have written.
fn is_attribute(value: &Tree<'_>) -> bool {
    let Tree::Object(types) = value else {
        return false;
    };
    let [(kind, inner)] = types.as_slice() else {
        return false;
    };
    match (&**kind, inner) {
        ("S" | "N" | "B", Tree::Text(_)) | ("BOOL" | "NULL", Tree::Bool(_)) => true,
        ("SS" | "NS" | "BS", Tree::List(elements)) => {
            !elements.is_empty() && elements.iter().all(|element| element.as_text().is_some())
        }
        ("L", Tree::List(items)) => items.iter().all(is_attribute),
        ("M", Tree::Object(members)) => members.iter().all(|(_, value)| is_attribute(value)),
        _ => false,
    }
}

proptest! {
    #[test]
    fn whatever_is_hidden_an_image_stays_an_image(
        values in prop::collection::vec(attribute(), 1..4),
        path in "(NewImage|[*])([.](a|b|0|[*]|S|M|L|SS)){0,4}",
        with in prop_oneof![Just(With::Mask), Just(With::Remove), Just(hash())],
    ) {
        let attributes: Vec<_> = values.iter().zip('a'..).map(|(v, name)| format!(r#""{name}":{v}"#)).collect();
        let record = format!(r#"{{"dynamodb":{{"NewImage":{{{}}}}}}}"#, attributes.join(","));
        let mut tree = Tree::parse(&record).unwrap();
        redaction(&[(&path, with.clone())]).apply(&mut tree, Content::Change);
        let change = tree.get("dynamodb").unwrap();
        match change.get("NewImage") {
            Some(Tree::Object(attributes)) => {
                prop_assert!(attributes.iter().all(|(_, value)| is_attribute(value)), "{record} became {tree}");
            }
            other => prop_assert!(other.is_none() && with == With::Remove, "{tree}"),
        }
    }

    #[test]
    fn neither_lists_nor_texts_keep_a_value_from_its_path(
        document in wrapped(wrapped(Just(serde_json::json!({"card": "secret"}))).prop_map(|a| serde_json::json!({"a": a}))),
        with in prop_oneof![Just(With::Mask), Just(With::Remove), Just(hash())],
    ) {
        let told = json("a.card", with, &document.to_string());
        prop_assert!(!told.contains("secret"), "{document} became {told}");
    }
}
