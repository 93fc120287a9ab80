//! An envelope as CloudWatch Logs writes it, in one pass.
//!
//! Pure. Must never read what [`super::open`] reads in another way: whatever is not exactly in this form (white space, a
//! field more, an error) is left to that. A property test holds the two equal.

use std::borrow::Cow;

use super::Told;
use crate::clock::Timestamp;
use crate::decode::{DecodeError, Envelope};
use crate::json::plain_length;

/// Gives each event of the one envelope that `text` is to `each`. `None`, perhaps after some of them: it is to be
/// opened in the general way, from the beginning.
pub fn open<'a>(
    text: &'a str,
    mut each: impl FnMut(Told<'a>, &Envelope) -> Result<(), DecodeError>,
) -> Option<Envelope> {
    let mut json = Json { rest: text };
    let envelope = head(&mut json)?;
    json.skip("[")?;
    loop {
        json.skip(r#"{"id":""#)?;
        let id = Cow::Borrowed(json.plain()?);
        json.skip(r#","timestamp":"#)?;
        let time = json.millis()?;
        json.skip(r#","message":""#)?;
        let message = json.text()?;
        let told = Told {
            envelope: 0,
            id,
            time,
            message,
        };
        // The general way tells the error.
        each(told, &envelope).ok()?;
        json.skip("}")?;
        if json.skip(",").is_none() {
            break;
        }
    }
    json.skip("]}")?;
    json.rest.is_empty().then_some(envelope)
}

/// What stands before the list of events, in any order, each field once.
fn head(json: &mut Json<'_>) -> Option<Envelope> {
    let [mut kind, mut owner, mut group, mut stream, mut filters] = [None; 5];
    json.skip("{")?;
    loop {
        json.skip("\"")?;
        let field = match json.plain()? {
            "messageType" => &mut kind,
            "owner" => &mut owner,
            "logGroup" => &mut group,
            "logStream" => &mut stream,
            "subscriptionFilters" => &mut filters,
            "logEvents" => break,
            _ => return None,
        };
        json.skip(":")?;
        let value = match json.skip("\"") {
            Some(()) => json.plain()?,
            None => json.plain_list()?,
        };
        if field.replace(value).is_some() {
            return None;
        }
        json.skip(",")?;
    }
    json.skip(":")?;
    // A list where a text belongs has brought nothing.
    let text = |value: Option<&str>| value.filter(|text| !text.is_empty()).map(str::to_owned);
    (kind? == "DATA_MESSAGE").then_some(Envelope {
        owner: text(owner)?,
        log_group: text(group)?,
        log_stream: text(stream)?,
    })
}

/// Reads JSON front to back. `None`: something else stands there, and nothing more can be read.
struct Json<'a> {
    rest: &'a str,
}

impl<'a> Json<'a> {
    fn skip(&mut self, what: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(what)?;
        Some(())
    }

    /// The rest of a string that holds no escapes, and its quote.
    fn plain(&mut self) -> Option<&'a str> {
        let (text, rest) = self.run()?;
        self.rest = rest.strip_prefix('"')?;
        Some(text)
    }

    /// The rest of a string, and its quote.
    fn text(&mut self) -> Option<Cow<'a, str>> {
        let (text, rest) = self.run()?;
        if let Some(rest) = rest.strip_prefix('"') {
            self.rest = rest;
            return Some(Cow::Borrowed(text));
        }
        // Some escapes as a rule, of which each becomes shorter.
        let mut whole = String::with_capacity(text.len() + rest.len().min(text.len() + 64));
        whole.push_str(text);
        self.rest = rest;
        while self.skip("\"").is_none() {
            self.skip("\\")?;
            let escape = *self.rest.as_bytes().first()?;
            self.rest = self.rest.get(1..)?;
            whole.push(match escape {
                same @ (b'"' | b'\\' | b'/') => char::from(same),
                b'b' => '\u{8}',
                b'f' => '\u{c}',
                b'n' => '\n',
                b'r' => '\r',
                b't' => '\t',
                b'u' => self.unit()?,
                _ => return None,
            });
            let (text, rest) = self.run()?;
            whole.push_str(text);
            self.rest = rest;
        }
        whole.shrink_to_fit();
        Some(Cow::Owned(whole))
    }

    /// Four digits that are a character by themselves.
    fn unit(&mut self) -> Option<char> {
        let (digits, rest) = self.rest.split_at_checked(4)?;
        self.rest = rest;
        let are_digits = digits.bytes().all(|b| b.is_ascii_hexdigit());
        let unit = u32::from_str_radix(digits, 16).ok().filter(|_| are_digits)?;
        char::from_u32(unit)
    }

    /// A list of strings without escapes. None of it is kept.
    fn plain_list(&mut self) -> Option<&'a str> {
        self.skip("[\"")?;
        loop {
            self.plain()?;
            if self.skip("]").is_some() {
                return Some("");
            }
            self.skip(",\"")?;
        }
    }

    /// A whole number from 1 to 10¹⁸ - 1.
    fn millis(&mut self) -> Option<Timestamp> {
        const LONGEST: usize = 18;
        let (mut value, mut length) = (0_i64, 0);
        for byte in self.rest.bytes().take_while(u8::is_ascii_digit).take(LONGEST + 1) {
            value = value.checked_mul(10)?.checked_add(i64::from(byte - b'0'))?;
            length += 1;
        }
        if length > LONGEST || self.rest.starts_with('0') {
            return None;
        }
        self.rest = self.rest.get(length..).filter(|_| length > 0)?;
        Some(Timestamp::from_millis(value))
    }

    /// What stands up to the first quote, backslash or control character, and the rest from there on.
    fn run(&self) -> Option<(&'a str, &'a str)> {
        self.rest.split_at_checked(plain_length(self.rest.as_bytes()))
    }
}
