//! Hashes by which equal values are recognised, and which tell nothing to whoever lacks the key.
//!
//! Pure. Owns the form that a value is hashed in: JSON without white space, the members of objects in the order
//! of their names, and each number in one spelling. So a string is hashed with its quotes, and `"1"` is not `1`,
//! while DynamoDB's `{"N":"1.0"}` is. What JSON has no form for gets one that no JSON has: bytes are `b"base64"`,
//! a set is `{element,element}`.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::digest::hex;
use crate::json::number::Decimal;
use crate::json::{Tree, quote};

/// The shortest key, in bytes. RFC 2104 discourages keys below the hash's length; half of it is what a person may
/// still be asked for, and more than can be guessed.
const SHORTEST_KEY: usize = 16;

/// How many bytes of the hash are told. With 16, two of 2^60 values share one by chance about once in 512 times.
const TOLD: usize = 16;

/// The key of the hashes. Never shown. Kept as the state in which it has been read, for all values.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

/// Why a text is no key. It tells nothing of the text but its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoKey {
    #[error(
        "has {0} bytes, and needs {SHORTEST_KEY} at least: let it be random, as `openssl rand -hex 32` makes one"
    )]
    Short(usize),
    #[error("is nothing but white space: let it be random, as `openssl rand -hex 32` makes one")]
    Blank,
}

impl Key {
    /// Of 16 bytes at least. How well they were chosen is not looked at.
    pub fn new(text: &str) -> Result<Self, NoKey> {
        if text.len() < SHORTEST_KEY {
            return Err(NoKey::Short(text.len()));
        }
        if text.trim().is_empty() {
            return Err(NoKey::Blank);
        }
        // A key of any length is taken.
        let mac = Hmac::new_from_slice(text.as_bytes()).map_err(|_| NoKey::Short(text.len()))?;
        Ok(Self(mac))
    }

    /// `hmac-sha256:` and the first 32 hexadecimal digits of HMAC-SHA-256.
    fn hash(&self, canonical: &str) -> String {
        let mac = self.0.clone().chain_update(canonical);
        let whole = mac.finalize().into_bytes();
        format!("hmac-sha256:{}", hex(&whole[..TOLD]))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0.clone().finalize() == other.0.clone().finalize()
    }
}

impl Eq for Key {}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(hidden)")
    }
}

/// The hash of a JSON value.
pub fn json(key: &Key, value: &Tree<'_>) -> String {
    let mut out = String::new();
    write_json(value, &mut out);
    key.hash(&out)
}

/// The attribute that holds the hash of an attribute: of a set a set of strings, in their order, each an
/// element's; of anything else a string.
pub fn attribute<'a>(key: &Key, value: &Tree<'_>) -> Tree<'a> {
    let Some((kind @ ("SS" | "NS" | "BS"), Tree::List(elements))) = typed(value) else {
        let mut out = String::new();
        write_attribute(value, &mut out);
        return Tree::Object(vec![(Cow::Borrowed("S"), Tree::text(key.hash(&out)))]);
    };
    let mut hashes: Vec<String> = written_elements(kind, elements)
        .iter()
        .map(|element| key.hash(element))
        .collect();
    hashes.sort();
    hashes.dedup();
    let hashes = hashes.into_iter().map(Tree::text).collect();
    Tree::Object(vec![(Cow::Borrowed("SS"), Tree::List(hashes))])
}

/// The type that an attribute's value is written with.
pub fn type_of<'t>(value: &'t Tree<'_>) -> Option<&'t str> {
    typed(value).map(|(kind, _)| kind)
}

fn typed<'t, 'a>(value: &'t Tree<'a>) -> Option<(&'t str, &'t Tree<'a>)> {
    let Tree::Object(types) = value else {
        return None;
    };
    match types.as_slice() {
        [(kind, inner)] => Some((kind, inner)),
        _ => None,
    }
}

fn write_json(value: &Tree<'_>, out: &mut String) {
    match value {
        Tree::Number(spelling) => write_number(spelling, out),
        Tree::List(items) => write_list(items, out, write_json),
        Tree::Object(members) => write_object(members, out, write_json),
        Tree::Null | Tree::Bool(_) | Tree::Text(_) => value.write(out),
    }
}

/// An attribute without its types: what DynamoDB and JSON both have is written as JSON's.
fn write_attribute(value: &Tree<'_>, out: &mut String) {
    match typed(value) {
        Some((kind @ ("S" | "N" | "B"), Tree::Text(text))) => write_scalar(kind, text, out),
        Some(("BOOL", boolean @ Tree::Bool(_))) => boolean.write(out),
        Some(("NULL", _)) => out.push_str("null"),
        Some(("M", Tree::Object(members))) => write_object(members, out, write_attribute),
        Some(("L", Tree::List(items))) => write_list(items, out, write_attribute),
        Some((kind @ ("SS" | "NS" | "BS"), Tree::List(elements))) => {
            let mut elements = written_elements(kind, elements);
            elements.sort();
            out.push('{');
            out.push_str(&elements.join(","));
            out.push('}');
        }
        // None of DynamoDB's.
        _ => write_json(value, out),
    }
}

/// The elements of a set, each in its form.
fn written_elements(kind: &str, elements: &[Tree<'_>]) -> Vec<String> {
    let each = |element: &Tree<'_>| {
        let mut out = String::new();
        match element {
            Tree::Text(text) => write_scalar(kind.trim_end_matches("S"), text, &mut out),
            other => write_json(other, &mut out),
        }
        out
    };
    elements.iter().map(each).collect()
}

/// `kind` is that of an element for a set, in which that of strings has lost both of its letters.
fn write_scalar(kind: &str, text: &str, out: &mut String) {
    match kind {
        "N" => write_number(text, out),
        "B" => {
            /// As lenient as can be: bytes are bytes, however they are padded.
            const LENIENT: GeneralPurpose = GeneralPurpose::new(
                &alphabet::STANDARD,
                GeneralPurposeConfig::new()
                    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
                    .with_decode_allow_trailing_bits(true),
            );
            out.push('b');
            match LENIENT.decode(text) {
                Ok(bytes) => quote(&STANDARD.encode(bytes), out),
                Err(_) => quote(text, out),
            }
        }
        _ => quote(text, out),
    }
}

fn write_list<'a>(items: &[Tree<'a>], out: &mut String, write: fn(&Tree<'a>, &mut String)) {
    out.push('[');
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write(item, out);
    }
    out.push(']');
}

fn write_object<'a>(
    members: &[(Cow<'a, str>, Tree<'a>)],
    out: &mut String,
    write: fn(&Tree<'a>, &mut String),
) {
    let mut sorted: Vec<_> = members.iter().collect();
    sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
    out.push('{');
    for (i, (name, value)) in sorted.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        quote(name, out);
        out.push(':');
        write(value, out);
    }
    out.push('}');
}

/// A number in the one spelling of its value. What is none, or has an exponent beyond all bounds, keeps its own.
fn write_number(spelling: &str, out: &mut String) {
    match Decimal::lenient(spelling).filter(Decimal::is_exact) {
        Some(number) => out.push_str(&number.to_string()),
        None => {
            out.push('n');
            quote(spelling, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(spelling: &str) -> String {
        let mut out = String::new();
        write_number(spelling, &mut out);
        out
    }

    #[test]
    fn a_number_has_one_spelling() {
        for (spellings, one) in [
            (&["1", "1.0", "1e0", "10e-1", "0.1E+1", "01", "+1"][..], "1"),
            (&["0", "-0", "0.00", "0e5", "-0.0e-7"], "0"),
            (&["-1.5", "-15e-1", "-1.50"], "-15e-1"),
            (&["100", "1e2", "1.00e2"], "100"),
            (
                &["12345678901234567890123456789012345678"],
                "12345678901234567890123456789012345678",
            ),
            (&["1e39", "0.1e40"], "1000000000000000000000000000000000000000"),
            (&["1e125", "10E124"], "1e125"),
            (&["-1e-130"], "-1e-130"),
            (&["1e99999999999999999999"], r#"n"1e99999999999999999999""#),
            (&["abc"], r#"n"abc""#),
            (&[""], r#"n"""#),
        ] {
            for spelling in spellings {
                assert_eq!(number(spelling), one, "{spelling}");
            }
        }
    }

    #[test]
    fn the_hash_is_that_of_the_json_and_can_be_made_by_other_tools() {
        let key = Key::new("0123456789abcdef").unwrap();
        // printf '"jo@example.com"' | openssl dgst -sha256 -hmac 0123456789abcdef
        assert_eq!(
            json(&key, &Tree::text("jo@example.com")),
            "hmac-sha256:762cac5c4468f102eede1d1fb5fb0056"
        );
    }

    #[test]
    fn a_key_is_long_and_never_shown() {
        let error = Key::new("fifteen-letters").unwrap_err();
        assert!(error.to_string().starts_with("has 15 bytes"), "{error}");
        assert_eq!(Key::new(&" \t\n\u{3000}".repeat(9)), Err(NoKey::Blank));
        assert_eq!(Key::new("sixteen-letters!"), Key::new("sixteen-letters!"));
        assert_ne!(Key::new("sixteen-letters!"), Key::new("sixteen-letters?"));
        assert!(!format!("{:?} {error:?} {error}", Key::new("sixteen-letters!")).contains("letters"));
    }

    proptest! {
        #[test]
        fn the_spelling_of_a_number_does_not_matter(digits in 0i64..1_000_000_000, exponent in -20i32..20, zeros in 0usize..5) {
            let plain = number(&format!("{digits}e{exponent}"));
            let zeros_before = "0".repeat(zeros);
            prop_assert_eq!(&number(&format!("{zeros_before}{digits}.{zeros_before}E{exponent}")), &plain);
            prop_assert_eq!(&number(&format!("{digits}{zeros_before}e{}", i64::from(exponent) - zeros as i64)), &plain);
            if digits > 0 {
                prop_assert_ne!(&number(&format!("{}e{exponent}", digits + 1)), &plain);
                prop_assert_ne!(&number(&format!("-{digits}e{exponent}")), &plain);
            }
            prop_assert_eq!(&number(&plain), &plain);
        }
    }
}
