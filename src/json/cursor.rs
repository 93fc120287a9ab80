//! A JSON text gone through once, front to back, without building anything of it.
//!
//! Pure. Strict: what it steps over is JSON, byte for byte as serde_json would have it. `None` is "not this way",
//! for a text that is no JSON and for one that is out of the ordinary (an escape in a key, a hundred levels): the
//! caller then reads the text in another way, which is slower, knows all of JSON and says what is wrong.

/// Levels below each other in a value that is stepped over: a bit for each. DynamoDB's items have 32, of two each.
const DEEPEST: u32 = 128;

/// A place in a text. What is before it was looked at and is JSON so far.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Where in the text it is.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The text from there to here.
    pub fn since(&self, from: usize) -> &'a str {
        self.text.get(from..self.at).unwrap_or_default()
    }

    /// The next byte that is no white space; the cursor is at it then.
    #[inline]
    pub fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        loop {
            match *bytes.get(self.at)? {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    /// Steps over `byte`, which is next but for white space.
    #[inline]
    pub fn eat(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// That nothing follows.
    pub fn end(&mut self) -> Option<()> {
        self.peek().is_none().then_some(())
    }

    /// Goes to the next item of a list, or the next member of an object, that `close` ends, and says whether there
    /// is one; else behind `close`. `first`: nothing of it was read yet.
    #[inline]
    pub fn another(&mut self, first: &mut bool, close: u8) -> Option<bool> {
        let byte = self.peek()?;
        if byte == close {
            self.at += 1;
            return Some(false);
        }
        if !std::mem::take(first) {
            self.eat(b',')?;
        }
        Some(true)
    }

    /// The key of a member, without its quotes, and over the colon. One with an escape is `None`.
    #[inline]
    pub fn key(&mut self) -> Option<&'a str> {
        let key = self.plain_string()?;
        self.eat(b':')?;
        Some(key)
    }

    /// A string without an escape, without its quotes.
    #[inline]
    pub fn plain_string(&mut self) -> Option<&'a str> {
        self.eat(b'"')?;
        let from = self.at;
        let end = special(self.text.as_bytes(), self.at);
        self.at = end + 1;
        match *self.text.as_bytes().get(end)? {
            b'"' => self.text.get(from..end),
            _ => None,
        }
    }

    /// Any value, as it is spelt.
    #[inline]
    pub fn value(&mut self) -> Option<&'a str> {
        self.peek()?;
        let from = self.at;
        self.skip()?;
        self.text.get(from..self.at)
    }

    /// Steps over a value, however many are in it.
    fn skip(&mut self) -> Option<()> {
        // For each level that is open: whether it is an object. The innermost is the lowest bit.
        let (mut open, mut depth) = (0_u128, 0_u32);
        loop {
            let is_first = match self.peek()? {
                b'"' => {
                    self.at += 1;
                    self.string()?;
                    false
                }
                bracket @ (b'{' | b'[') => {
                    if depth == DEEPEST {
                        return None;
                    }
                    self.at += 1;
                    depth += 1;
                    open = open << 1 | u128::from(bracket == b'{');
                    true
                }
                b't' => self.word(b"true")?,
                b'f' => self.word(b"false")?,
                b'n' => self.word(b"null")?,
                _ => {
                    self.number()?;
                    false
                }
            };
            // Behind a value, or just inside of what was opened: to the next value, out of all that ends here.
            let mut first = is_first;
            loop {
                if depth == 0 {
                    return Some(());
                }
                let is_object = open & 1 == 1;
                let close = if is_object { b'}' } else { b']' };
                if self.another(&mut first, close)? {
                    if is_object {
                        self.eat(b'"')?;
                        self.string()?;
                        self.eat(b':')?;
                    }
                    break;
                }
                open >>= 1;
                depth -= 1;
                first = false;
            }
        }
    }

    /// `false`, as for any value that opens nothing.
    fn word(&mut self, word: &[u8]) -> Option<bool> {
        let end = self.at + word.len();
        (self.text.as_bytes().get(self.at..end)? == word).then(|| {
            self.at = end;
            false
        })
    }

    /// The rest of a string whose quote was read, over the other one.
    #[inline]
    fn string(&mut self) -> Option<()> {
        loop {
            let bytes = self.text.as_bytes();
            self.at = special(bytes, self.at);
            let byte = *bytes.get(self.at)?;
            self.at += 1;
            match byte {
                b'"' => return Some(()),
                b'\\' => {
                    let escape = *bytes.get(self.at)?;
                    self.at += 1;
                    match escape {
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                        b'u' => {
                            let digits = bytes.get(self.at..self.at + 4)?;
                            if !digits.iter().all(u8::is_ascii_hexdigit) {
                                return None;
                            }
                            self.at += 4;
                        }
                        _ => return None,
                    }
                }
                // A control character.
                _ => return None,
            }
        }
    }

    /// A number, by the grammar of JSON.
    fn number(&mut self) -> Option<()> {
        let bytes = self.text.as_bytes();
        let byte = |at: usize| bytes.get(at).copied().unwrap_or_default();
        let digits = |from: usize| {
            let rest = bytes.get(from..).unwrap_or_default();
            rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
        };
        let mut at = self.at + usize::from(byte(self.at) == b'-');
        match (byte(at), digits(at)) {
            (_, 0) => return None,
            (b'0', 2..) => return None,
            (_, count) => at += count,
        }
        if byte(at) == b'.' {
            match digits(at + 1) {
                0 => return None,
                count => at += 1 + count,
            }
        }
        if matches!(byte(at), b'e' | b'E') {
            at += 1;
            at += usize::from(matches!(byte(at), b'+' | b'-'));
            match digits(at) {
                0 => return None,
                count => at += count,
            }
        }
        self.at = at;
        Some(())
    }
}

/// Where the next byte stands, at `from` or behind it, that a string of JSON can't hold as it is: a quote, a
/// backslash, a control character. The length of the text if there is none.
#[inline]
pub fn special(text: &[u8], from: usize) -> usize {
    let mut at = from;
    // Most strings are short, so that these eight bytes are all.
    if let Some(eight) = text.get(at..).and_then(<[u8]>::first_chunk) {
        match specials(u64::from_le_bytes(*eight)) {
            0 => at += 8,
            found => return at + found.trailing_zeros() as usize / 8,
        }
    }
    // So written that the compiler takes many bytes at a time.
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    while let Some(many) = text.get(at..).and_then(<[u8]>::first_chunk::<32>) {
        let found = many.iter().fold(0, |found, &byte| {
            found | u8::from(byte == b'"') | u8::from(byte == b'\\') | u8::from(byte < 0x20)
        });
        if found != 0 {
            break;
        }
        at += 32;
    }
    while let Some(eight) = text.get(at..).and_then(<[u8]>::first_chunk) {
        match specials(u64::from_le_bytes(*eight)) {
            0 => at += 8,
            found => return at + found.trailing_zeros() as usize / 8,
        }
    }
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().position(is_special).unwrap_or(rest.len())
}

/// The high bit of each byte that is a quote, a backslash or a control character; the lowest one set is exact (what
/// a subtraction borrows goes up only).
#[inline]
fn specials(eight: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    let zeros = |bytes: u64| bytes.wrapping_sub(ONES) & !bytes;
    let quotes = zeros(eight ^ (ONES * 0x22));
    let backslashes = zeros(eight ^ (ONES * 0x5c));
    let controls = eight.wrapping_sub(ONES * 0x20) & !eight;
    (quotes | backslashes | controls) & (ONES << 7)
}

#[cfg(test)]
mod tests;
