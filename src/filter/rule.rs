//! What one value of a document may be.
//!
//! Pure. Owns what each operator matches; `parse` owns how it is spelt.

use std::net::IpAddr;
use std::ops::{Bound, RangeBounds};

use crate::json::Tree;
use crate::json::number::Decimal;

/// One alternative of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    Is(Scalar),
    Text(TextRule),
    Numeric(Bound<Decimal>, Bound<Decimal>),
    Cidr(Network),
    /// The field has a value that is none of these.
    AnythingBut(Vec<Rule>),
    Exists,
    /// The field has no value. No value matches it.
    Absent,
}

/// A value that is neither a list nor an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    Null,
    Bool(bool),
    Number(Decimal),
    Text(String),
}

/// What only a text matches.
#[derive(Clone, Debug, PartialEq)]
pub enum TextRule {
    EqualsIgnoreCase(String),
    Prefix(String),
    PrefixIgnoreCase(String),
    Suffix(String),
    SuffixIgnoreCase(String),
    Wildcard(Wildcard),
}

impl Rule {
    /// Whether it matches a value that is neither a list nor an object.
    pub fn matches(&self, value: &Tree<'_>) -> bool {
        match (self, value) {
            (Self::Is(Scalar::Null), Tree::Null) | (Self::Exists, _) => true,
            (Self::Is(Scalar::Bool(a)), Tree::Bool(b)) => a == b,
            (Self::Is(Scalar::Number(a)), Tree::Number(b)) => Decimal::of_json(b).is_some_and(|b| *a == b),
            (Self::Is(Scalar::Text(a)), Tree::Text(b)) => a == b,
            (Self::Text(rule), Tree::Text(text)) => rule.matches(text),
            (Self::Numeric(from, to), Tree::Number(number)) => {
                Decimal::of_json(number).is_some_and(|number| (from.as_ref(), to.as_ref()).contains(&number))
            }
            (Self::Cidr(network), Tree::Text(text)) => network.has(text),
            (Self::AnythingBut(rules), value) => !rules.iter().any(|rule| rule.matches(value)),
            (Self::Is(_) | Self::Text(_) | Self::Numeric(..) | Self::Cidr(_) | Self::Absent, _) => false,
        }
    }
}

impl TextRule {
    fn matches(&self, text: &str) -> bool {
        match self {
            Self::EqualsIgnoreCase(whole) => {
                whole.chars().count() == text.chars().count() && begins(text, whole)
            }
            Self::Prefix(start) => text.starts_with(start.as_str()),
            Self::PrefixIgnoreCase(start) => begins(text, start),
            Self::Suffix(end) => text.ends_with(end.as_str()),
            Self::SuffixIgnoreCase(end) => alike(text.chars().rev(), end.chars().rev()),
            Self::Wildcard(wildcard) => wildcard.matches(text),
        }
    }
}

fn begins(text: &str, start: &str) -> bool {
    alike(text.chars(), start.chars())
}

/// Whether `text` begins with `start`, letter by letter, in whatever case.
fn alike(mut text: impl Iterator<Item = char>, start: impl Iterator<Item = char>) -> bool {
    let mut start = start;
    start.all(|b| {
        text.next().is_some_and(|a| {
            a == b || a.to_lowercase().eq(b.to_lowercase()) || a.to_uppercase().eq(b.to_uppercase())
        })
    })
}

/// A text with gaps that any text fills.
#[derive(Clone, Debug, PartialEq)]
pub struct Wildcard {
    /// What stands before the first gap; the whole, if there is none.
    start: String,
    /// What follows each gap.
    after: Vec<String>,
}

impl Wildcard {
    /// Reads `*` as a gap, `\*` and `\\` as these characters. The error is the rest of a sentence that begins with
    /// the text.
    pub fn read(text: &str) -> Result<Self, &'static str> {
        let mut start = None;
        let mut after = Vec::new();
        let mut piece = String::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '*' if chars.peek() == Some(&'*') => return Err("holds two `*` in a row: write one"),
                '*' => {
                    let piece = std::mem::take(&mut piece);
                    match &start {
                        None => start = Some(piece),
                        Some(_) => after.push(piece),
                    }
                }
                '\\' => match chars.next() {
                    Some(c @ ('*' | '\\')) => piece.push(c),
                    _ => {
                        return Err(
                            "holds a `\\` that escapes nothing: write `\\\\` for a backslash, `\\*` for a star",
                        );
                    }
                },
                c => piece.push(c),
            }
        }
        Ok(match start {
            None => Self { start: piece, after },
            Some(start) => {
                after.push(piece);
                Self { start, after }
            }
        })
    }

    fn matches(&self, text: &str) -> bool {
        let Some(rest) = text.strip_prefix(self.start.as_str()) else {
            return false;
        };
        let Some((last, between)) = self.after.split_last() else {
            return rest.is_empty();
        };
        // The first place of a piece leaves the most for those that follow.
        let rest = between.iter().try_fold(rest, |rest, piece| {
            let at = rest.find(piece.as_str())?;
            Some(&rest[at + piece.len()..])
        });
        rest.is_some_and(|rest| rest.ends_with(last.as_str()))
    }
}

/// The addresses that share their first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    /// Reads an address, a slash and a number of bits. The address may be any of the network's.
    pub fn read(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let digits = bits.bytes().all(|b| b.is_ascii_digit());
        let bits: u32 = bits.parse().ok().filter(|bits| digits && *bits <= most)?;
        Some(Self { address, bits })
    }

    fn has(&self, text: &str) -> bool {
        let Ok(address) = text.parse::<IpAddr>() else {
            return false;
        };
        // An IPv4 address that is written as an IPv6 one counts as both.
        self.holds(address) || self.holds(address.to_canonical())
    }

    fn holds(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                (a.to_bits() ^ b.to_bits())
                    .checked_shr(32 - self.bits)
                    .unwrap_or(0)
                    == 0
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                (a.to_bits() ^ b.to_bits())
                    .checked_shr(128 - self.bits)
                    .unwrap_or(0)
                    == 0
            }
            _ => false,
        }
    }
}
