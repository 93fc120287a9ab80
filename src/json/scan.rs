//! From a text that is known to be JSON to its tree.
//!
//! Pure. Reads every byte once, in whatever it is nested. Relies on the check that came before: of a text that is
//! no JSON it would make anything.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, Visitor};

use super::{DEEPEST, NoTree, Reading, Tree};

/// The tree of `text`, which is JSON.
pub fn tree(text: &str, reading: Reading) -> Result<Tree<'_>, NoTree> {
    let mut scan = Scan {
        rest: text,
        left: reading.most,
        reading,
    };
    scan.value(DEEPEST)
}

struct Scan<'a> {
    /// What has not been read.
    rest: &'a str,
    /// How many values more there may be.
    left: usize,
    reading: Reading,
}

impl<'a> Scan<'a> {
    fn value(&mut self, deeper: usize) -> Result<Tree<'a>, NoTree> {
        let deeper = deeper.checked_sub(1).ok_or(NoTree::TooDeep)?;
        self.left = self.left.checked_sub(1).ok_or(NoTree::TooMany {
            most: self.reading.most,
        })?;
        Ok(match self.next() {
            Some(b'{') => {
                self.skip(1);
                let mut members = Vec::new();
                while self.another(b'}') {
                    let name = self.string()?;
                    self.next();
                    self.skip(1);
                    members.push((name, self.value(deeper)?));
                }
                // Small ones are many, and a vector that grows by itself begins with room for four.
                members.shrink_to_fit();
                Tree::Object(members)
            }
            Some(b'[') => {
                self.skip(1);
                let mut items = Vec::new();
                while self.another(b']') {
                    items.push(self.value(deeper)?);
                }
                items.shrink_to_fit();
                Tree::List(items)
            }
            Some(b'"') => Tree::Text(self.string()?),
            _ => {
                let is_end = |byte| matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r');
                let end = self.rest.bytes().position(is_end);
                match self.skip(end.unwrap_or(self.rest.len())) {
                    "true" => Tree::Bool(true),
                    "false" => Tree::Bool(false),
                    "null" => Tree::Null,
                    digits => Tree::Number(Cow::Borrowed(digits)),
                }
            }
        })
    }

    /// Goes to the next member, or item, and says whether there is one; else behind `end`.
    fn another(&mut self, end: u8) -> bool {
        if self.next() == Some(b',') {
            self.skip(1);
            self.next();
        }
        let byte = self.next();
        if byte == Some(end) {
            self.skip(1);
        }
        byte.is_some_and(|byte| byte != end)
    }

    /// The next byte that is no white space.
    fn next(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
        self.rest.bytes().next()
    }

    /// Goes on by so many bytes, which it returns.
    fn skip(&mut self, bytes: usize) -> &'a str {
        let (skipped, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.rest = rest;
        skipped
    }

    /// The string whose quote is next.
    fn string(&mut self) -> Result<Cow<'a, str>, NoTree> {
        let mut escaped = false;
        let mut has_escapes = false;
        let length = self.rest.bytes().skip(1).position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            has_escapes |= escaped;
            ends
        });
        let quoted = self.skip(length.map_or(self.rest.len(), |length| length + 2));
        if !has_escapes {
            return Ok(Cow::Borrowed(quoted.trim_matches('"')));
        }
        let bytes = serde_json::Deserializer::from_str(quoted).deserialize_bytes(Unescaped)?;
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Cow::Owned(text)),
            Err(half) if self.reading.is_lenient => {
                Ok(Cow::Owned(String::from_utf8_lossy(half.as_bytes()).into_owned()))
            }
            Err(_) => Err(NoTree::HalfCharacter),
        }
    }
}

/// The bytes of a string without its escapes. Half a character becomes three bytes that are no UTF-8.
struct Unescaped;

impl Visitor<'_> for Unescaped {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_owned())
    }
}
