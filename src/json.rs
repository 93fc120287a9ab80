//! A JSON text taken apart without a change: order, numbers and their spelling stay.
//!
//! Pure. Numbers keep their digits (a DynamoDB number has 38 of them, a float 17), and an object keeps its
//! members in their order. What is written back differs from what was read in white space and escapes alone.

pub mod number;

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Levels below each other. The stack must hold them; serde_json refuses as many by itself.
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
}

impl From<serde_json::Error> for NoTree {
    fn from(error: serde_json::Error) -> Self {
        Self::NotJson(error.to_string())
    }
}

impl<'a> Tree<'a> {
    pub fn parse(text: &'a str) -> Result<Self, NoTree> {
        Self::of(serde_json::from_str(text)?, DEEPEST)
    }

    fn of(raw: &'a RawValue, deeper: usize) -> Result<Self, NoTree> {
        let deeper = deeper.checked_sub(1).ok_or(NoTree::TooDeep)?;
        let text = raw.get();
        Ok(match text.as_bytes().first() {
            Some(b'{') => {
                let Members(members) = serde_json::from_str(text)?;
                // Small objects are many, and a vector that grows by itself begins with room for four.
                let mut object = Vec::with_capacity(members.len());
                for (name, value) in members {
                    object.push((name, Self::of(value, deeper)?));
                }
                Self::Object(object)
            }
            Some(b'[') => {
                let Items(items) = serde_json::from_str(text)?;
                let mut list = Vec::with_capacity(items.len());
                for item in items {
                    list.push(Self::of(item, deeper)?);
                }
                Self::List(list)
            }
            Some(b'"') => {
                let Text(text) = serde_json::from_str(text)?;
                Self::Text(text)
            }
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            Some(b'n') => Self::Null,
            _ => Self::Number(Cow::Borrowed(text)),
        })
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
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x08 => "\\b",
            0x0c => "\\f",
            0..=0x1f => "",
            _ => continue,
        };
        out.push_str(&text[from..at]);
        from = at + 1;
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
    out.push_str(&text[from..]);
    out.push('"');
}

/// The members of an object, each value as it is spelt.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);
/// The items of a list, as they are spelt.
struct Items<'a>(Vec<&'a RawValue>);
/// A string without its escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Walk;
        impl<'de> Visitor<'de> for Walk {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Text(name), value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Walk)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Items<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Walk;
        impl<'de> Visitor<'de> for Walk {
            type Value = Items<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Items(items))
            }
        }
        deserializer.deserialize_seq(Walk)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Walk;
        impl<'de> Visitor<'de> for Walk {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Walk)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
        for text in ["", "{", "{\"a\":}", "nul", "1 2", "\"\\ud800\"", "{1:2}"] {
            assert!(matches!(Tree::parse(text), Err(NoTree::NotJson(_))), "{text}");
        }
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Tree::parse(&nested(DEEPEST)).is_ok());
        assert_eq!(Tree::parse(&nested(DEEPEST + 1)), Err(NoTree::TooDeep));
        assert!(Tree::parse(&nested(1_000_000)).is_err());
    }

    proptest! {
        #[test]
        fn a_text_is_quoted_as_serde_quotes_it(text in ".*") {
            let mut out = String::new();
            quote(&text, &mut out);
            prop_assert_eq!(&out, &serde_json::to_string(&text).unwrap());
            prop_assert_eq!(Tree::parse(&out).unwrap(), Tree::text(text));
        }
    }
}
