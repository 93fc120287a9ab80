//! A JSON text taken apart without a change: order, numbers and their spelling stay.
//!
//! Pure. Numbers keep their digits (a DynamoDB number has 38 of them, a float 17), and an object keeps its
//! members in their order. What is written back differs from what was read in white space and escapes alone.

pub mod cursor;
pub mod number;
mod plain;
mod scan;

use std::borrow::Cow;
use std::fmt;

use serde::de::IgnoredAny;

pub use plain::plain_length;

/// Levels below each other. The stack must hold them.
const DEEPEST: usize = 100;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Tree<'a> {
    Null,
    Bool(bool),
    /// As it is spelt.
    Number(Cow<'a, str>),
    Text(Cow<'a, str>),
    List(Vec<Tree<'a>>),
    /// Its members in their order. A name that stands twice is kept twice.
    Object(Vec<(Cow<'a, str>, Tree<'a>)>),
}

/// Why a text is no tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoTree {
    #[error("not JSON: {0}")]
    NotJson(String),
    #[error("JSON that is nested deeper than {DEEPEST} levels")]
    TooDeep,
    /// One of the two surrogates that only together are a character.
    #[error("JSON with half a character in it, such as \\ud83d alone")]
    HalfCharacter,
    #[error(
        "JSON that holds too many values to be taken apart: more than {most}. A higher `inflate_limit` in the settings \
         allows more"
    )]
    TooMany { most: usize },
}

impl From<serde_json::Error> for NoTree {
    fn from(error: serde_json::Error) -> Self {
        Self::NotJson(error.to_string())
    }
}

/// How a text is taken apart.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// The most values it may hold, at whatever depth.
    pub most: usize,
    /// Whether half a character (`\ud83d` alone) is read as U+FFFD. Only for a tree that is not written back.
    pub is_lenient: bool,
}

impl<'a> Tree<'a> {
    /// Of any size, and exact.
    pub fn parse(text: &'a str) -> Result<Self, NoTree> {
        Self::read(
            text,
            Reading {
                most: usize::MAX,
                is_lenient: false,
            },
        )
    }

    /// Takes time in proportion to the text, however deep it is nested. Only what is no JSON is
    /// [`NoTree::NotJson`].
    pub fn read(text: &'a str, reading: Reading) -> Result<Self, NoTree> {
        // Looks at each byte once, to any depth. What follows need not check anything again.
        serde_json::from_str::<IgnoredAny>(text)?;
        scan::tree(text, reading)
    }

    /// The value of an object's member; of the last one, where a name stands twice, as most readers take it.
    pub fn get(&self, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else {
            return None;
        };
        members
            .iter()
            .rev()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value)
    }

    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A text as a value.
    pub fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Text(text.into())
    }

    /// Appends it as JSON without white space.
    pub fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(true) => out.push_str("true"),
            Self::Bool(false) => out.push_str("false"),
            Self::Number(digits) => out.push_str(digits),
            Self::Text(text) => quote(text, out),
            Self::List(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (i, (name, value)) in members.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    quote(name, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

impl fmt::Display for Tree<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        self.write(&mut out);
        f.write_str(&out)
    }
}

/// Appends a text as a JSON string: what must be escaped is, in the shortest way, and nothing else.
pub fn quote(text: &str, out: &mut String) {
    out.push('"');
    let mut from = 0;
    loop {
        let at = cursor::special(text.as_bytes(), from);
        out.push_str(&text[from..at]);
        let Some(byte) = text.as_bytes().get(at).copied() else {
            break;
        };
        from = at + 1;
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x08 => "\\b",
            0x0c => "\\f",
            _ => "",
        };
        match escape {
            "" => {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                out.push_str("\\u00");
                out.push(char::from(DIGITS[usize::from(byte >> 4)]));
                out.push(char::from(DIGITS[usize::from(byte & 15)]));
            }
            escape => out.push_str(escape),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn numbers_order_and_repeated_names_stay_as_they_are() {
        for text in [
            r#"{"b":1.10,"a":12345678901234567890123456789012345678,"b":-0.0e+5,"c":{}}"#,
            r#"[1E400,[],{},"",null,true,false]"#,
            r#""a\"\\\n\u0001é日""#,
            "7",
        ] {
            assert_eq!(Tree::parse(text).unwrap().to_string(), text);
        }
        let spaced = " { \"a\" : [ 1 , \"\\u00e9\" ] } ";
        assert_eq!(Tree::parse(spaced).unwrap().to_string(), r#"{"a":[1,"é"]}"#);
        let twice = Tree::parse(r#"{"a":1,"a":2}"#).unwrap();
        assert_eq!(twice.get("a"), Some(&Tree::Number("2".into())));
    }

    #[test]
    fn what_is_no_json_or_too_deep_is_an_error() {
        for text in ["", "{", "{\"a\":}", "nul", "1 2", "\"\\ud80\"", "{1:2}", "[1,]"] {
            assert!(matches!(Tree::parse(text), Err(NoTree::NotJson(_))), "{text}");
        }
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Tree::parse(&nested(DEEPEST)).is_ok());
        assert_eq!(Tree::parse(&nested(DEEPEST + 1)), Err(NoTree::TooDeep));
        assert_eq!(Tree::parse(&nested(1_000_000)), Err(NoTree::TooDeep));
        let open = "[".repeat(1_000_000);
        assert!(matches!(Tree::parse(&open), Err(NoTree::NotJson(_))));
    }

    #[test]
    fn half_a_character_is_an_error_or_read_as_its_stand_in() {
        let lenient = Reading {
            most: usize::MAX,
            is_lenient: true,
        };
        for text in [r#"{"a":"x\ud83d y"}"#, r#"["\udc00"]"#, r#"{"\ud800\u0041":1}"#] {
            assert_eq!(Tree::parse(text), Err(NoTree::HalfCharacter), "{text}");
            let read = Tree::read(text, lenient).unwrap().to_string();
            assert!(read.contains('\u{fffd}') && !read.contains("\\u"), "{read}");
        }
        let whole = r#"{"a":"\ud83d\ude00"}"#;
        assert_eq!(Tree::parse(whole).unwrap().get("a"), Some(&Tree::text("😀")));
        assert_eq!(Tree::read(whole, lenient), Tree::parse(whole));
    }

    #[test]
    fn values_are_counted_at_every_depth_and_commas_in_texts_are_none() {
        let text = r#"{"a":[1,{"b":null}],"c":",,,[[{"}"#;
        for (most, expected) in [(6, true), (5, false)] {
            let reading = Reading {
                most,
                is_lenient: false,
            };
            assert_eq!(Tree::read(text, reading).is_ok(), expected);
        }
    }

    /// Each text is borrowed from where it stands: no level was copied for the one above it. Were each level read
    /// again, this would be a hundred times as much.
    #[test]
    fn what_is_deep_and_wide_is_read_in_one_pass() {
        let wide = vec!["\"text\""; 200_000].join(",");
        let deep = format!("{}{wide}{}", "[".repeat(DEEPEST - 1), "]".repeat(DEEPEST - 1));
        let mut tree = Tree::parse(&deep).unwrap();
        for _ in 1..DEEPEST - 1 {
            let Tree::List(items) = &mut tree else { panic!() };
            assert_eq!((items.len(), items.capacity()), (1, 1));
            tree = items.remove(0);
        }
        let Tree::List(items) = tree else { panic!() };
        assert_eq!((items.len(), items.capacity()), (200_000, 200_000));
        assert!(
            items
                .iter()
                .all(|item| matches!(item, Tree::Text(Cow::Borrowed("text"))))
        );
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[\\x00-\\x1f\"\\\\\\[\\]{},:é日😀]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map("\\PC{0,4}|[\"\\\\{}]{1,2}", inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_json_is_what_serde_reads_and_is_written_as_it_was(value in any_json()) {
            let compact = value.to_string();
            prop_assert_eq!(Tree::parse(&compact).unwrap().to_string(), &*compact);
            let spaced = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(Tree::parse(&spaced).unwrap().to_string(), &*compact);
        }

        #[test]
        fn what_is_no_json_to_serde_is_none_here(text in "[\\[\\]{}:,\"\\\\ 0-1eEtrue.\\-+]{0,12}") {
            let is_json = serde_json::from_str::<IgnoredAny>(&text).is_ok();
            prop_assert_eq!(Tree::parse(&text).is_ok(), is_json);
        }

        #[test]
        fn a_text_is_quoted_as_serde_quotes_it(text in ".*") {
            let mut out = String::new();
            quote(&text, &mut out);
            prop_assert_eq!(&out, &serde_json::to_string(&text).unwrap());
            prop_assert_eq!(Tree::parse(&out).unwrap(), Tree::text(text));
        }
    }
}
