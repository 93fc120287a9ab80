use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;

/// The one value that a text is, as the cursor sees it.
fn value(text: &str) -> Option<&str> {
    let mut cursor = Cursor::new(text);
    let value = cursor.value()?;
    cursor.end()?;
    Some(value)
}

fn by_serde(text: &str) -> Option<&str> {
    serde_json::from_str::<&RawValue>(text).ok().map(RawValue::get)
}

#[test]
fn a_value_is_what_serde_takes_for_one() {
    for (text, is_one) in [
        ("0", true),
        ("-0", true),
        ("-0.50e+07", true),
        ("1E400", true),
        ("12345678901234567890123456789012345678", true),
        ("00", false),
        ("01", false),
        ("-", false),
        ("-a", false),
        ("1.", false),
        (".5", false),
        ("1e", false),
        ("1e+", false),
        ("+1", false),
        ("1x", false),
        ("true", true),
        ("false", true),
        ("null", true),
        ("nul", false),
        ("nulL", false),
        ("truefalse", false),
        ("", false),
        (" ", false),
        (" \t\r\n7\t ", true),
        ("\u{a0}7", false),
        ("\u{feff}7", false),
        (r#""""#, true),
        (r#"""#, false),
        (r#""\""#, false),
        (r#""\"""#, true),
        (r#""\\""#, true),
        (r#""\\\""#, false),
        (r#""\/\b\f\n\r\t\u00e9\uD83D""#, true),
        (r#""\u00g9""#, false),
        (r#""\u00"#, false),
        (r#""\u""#, false),
        (r#""\x""#, false),
        (r#""\'""#, false),
        ("\"a\tb\"", false),
        ("\"0123456789\u{1f}\"", false),
        ("\"\u{7f}\u{80}é日😀\"", true),
        ("\"1234567\"", true),
        ("\"12345678\"", true),
        ("\"12345678", false),
        ("\"0123456789abcde\\n0123456789\"", true),
        ("[]", true),
        ("[ ]", true),
        ("[,]", false),
        ("[1,]", false),
        ("[1 2]", false),
        ("[1,2]]", false),
        ("[1}", false),
        ("[", false),
        ("[[[]],[]]", true),
        ("{}", true),
        (r#"{"a":1}"#, true),
        (r#"{"a":1,"a":2}"#, true),
        (r#"{"\u0061" : [ { } , "x" ] , "b":null}"#, true),
        (r#"{"a":1,}"#, false),
        (r#"{,"a":1}"#, false),
        (r#"{"a" 1}"#, false),
        (r#"{"a":}"#, false),
        (r#"{"a"}"#, false),
        (r#"{a:1}"#, false),
        (r#"{1:1}"#, false),
        (r#"{"a":1]"#, false),
        (r#"{"a":[1}"#, false),
        ("1 2", false),
        ("<html>", false),
    ] {
        assert_eq!(by_serde(text).is_some(), is_one, "{text}");
        assert_eq!(value(text), by_serde(text), "{text}");
    }
}

#[test]
fn what_is_deeper_than_a_hundred_levels_is_left_to_others() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(value(&nested(128)), Some(&*nested(128)));
    assert_eq!(value(&nested(129)), None);
    let objects = |depth: usize| format!("{}7{}", r#"{"M":"#.repeat(depth), "}".repeat(depth));
    assert_eq!(value(&objects(128)), Some(&*objects(128)));
    assert_eq!(value(&objects(129)), None);
    assert_eq!(value(&"[".repeat(1_000_000)), None);
}

#[test]
fn keys_come_one_by_one_and_one_with_an_escape_is_left_to_others() {
    let mut cursor = Cursor::new(r#" {"a" : 1 , "日":[2],"":"x" } "#);
    cursor.eat(b'{').unwrap();
    let (mut first, mut seen) = (true, Vec::new());
    while cursor.another(&mut first, b'}').unwrap() {
        seen.push((cursor.key().unwrap(), cursor.value().unwrap()));
    }
    assert_eq!(seen, [("a", "1"), ("日", "[2]"), ("", "\"x\"")]);
    assert!(cursor.end().is_some());
    assert_eq!(Cursor::new(r#""\u0061":1"#).key(), None);
    assert_eq!(Cursor::new("\"a\nb\":1").key(), None);
    assert_eq!(Cursor::new("\"a").plain_string(), None);
}

/// JSON as no serializer would write it: numbers of many digits, any spacing, escapes, equal keys.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?",
        "\\PC{0,24}".prop_map(|s| serde_json::to_string(&s).unwrap()),
        "(\\\\u[0-9a-fA-F]{4}|\\\\[nrtbf/\"\\\\]|[ -!#-\\[\\]-~]|é){0,24}".prop_map(|s| format!("\"{s}\"")),
    ];
    leaf.prop_recursive(6, 60, 6, |inner| {
        let space = "[ \n\t\r]{0,2}";
        prop_oneof![
            (space, prop::collection::vec(inner.clone(), 0..6))
                .prop_map(|(s, v)| format!("[{s}{}{s}]", v.join(&format!("{s},{s}")))),
            (
                space,
                prop::collection::vec(("([a-zA-Z]|\\\\n){0,9}", inner), 0..6)
            )
                .prop_map(|(s, v)| {
                    let members: Vec<_> = v.iter().map(|(k, v)| format!("\"{k}\"{s}:{s}{v}")).collect();
                    format!("{{{s}{}{s}}}", members.join(","))
                }),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_stepped_over_to_its_end(text in json()) {
        prop_assert!(by_serde(&text).is_some());
        prop_assert_eq!(value(&text), Some(&*text));
    }

    #[test]
    fn a_damaged_text_is_json_to_both_or_to_neither(
        text in json(), at in any::<prop::sample::Index>(), byte in "[\\x00-\\x7fé]?", cut in 0_usize..3
    ) {
        let at = at.index(text.len() + 1);
        let (Some(head), Some(tail)) = (text.get(..at), text.get(at + cut..)) else { return Ok(()) };
        let damaged = format!("{head}{byte}{tail}");
        prop_assert_eq!(value(&damaged), by_serde(&damaged));
    }

    #[test]
    fn any_few_signs_are_json_to_both_or_to_neither(text in "[\\[\\]{}:,\"\\\\ 0-1eEtrue.\\-+nl]{0,12}") {
        prop_assert_eq!(value(&text), by_serde(&text));
    }

    #[test]
    fn the_first_special_byte_of_eight_is_found_wherever_it_stands(bytes in any::<[u8; 8]>()) {
        let special = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
        let found = specials(u64::from_le_bytes(bytes));
        prop_assert_eq!((found != 0).then(|| found.trailing_zeros() as usize / 8), special);
    }
}
