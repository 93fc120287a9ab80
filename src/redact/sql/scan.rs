//! Reads a statement as the lexer of MySQL does (sql/sql_lex.cc), as far as it must be known where literals,
//! quoted names and comments begin and end.
//!
//! Pure. Whatever it doubts it gives up on: from there to the end is one piece.

/// A part of a statement that is not just kept. Offsets in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string, with the letter that introduces it.
    Text,
    Number,
    /// In backticks.
    Name,
    /// `/* ... */`, and an executable comment that hardly a server executes.
    Block,
    /// From `-- ` to the end of the line.
    Dashes,
    /// From `#` to the end of the line.
    Hash,
    /// The `/*!40101` or the `*/` of an executable comment.
    Marker,
    /// To the end: open, or doubtful.
    Rest,
}

/// The words that may stand behind a string in which a backslash escapes a quote, as far as they are usual. If
/// another does, the backslash may have been the string's last character, and the word the next string's first.
const BEHIND_A_STRING: [&str; 22] = [
    "and", "as", "asc", "between", "collate", "comment", "desc", "else", "end", "escape", "from", "group",
    "limit", "on", "or", "order", "require", "then", "union", "when", "where", "with",
];

/// The pieces of a statement, in their order. What lies between them is kept.
pub fn pieces(sql: &str) -> Vec<Piece> {
    let mut scan = Scan {
        sql,
        bytes: sql.as_bytes(),
        at: 0,
        pieces: Vec::new(),
        executable: None,
        ambiguous: None,
    };
    while scan.at < scan.bytes.len() {
        if scan.step().is_none() {
            break;
        }
    }
    scan.pieces
}

/// An executable comment that is open.
#[derive(Clone, Copy)]
struct Executable {
    start: usize,
    /// How many pieces lie before it.
    before: usize,
    /// Where its `*/` stands, unless it was cut off.
    end: Option<usize>,
    /// Whether it is SQL to the servers there are, or to most of them a comment: people write both.
    runs: bool,
}

struct Scan<'a> {
    sql: &'a str,
    bytes: &'a [u8],
    at: usize,
    pieces: Vec<Piece>,
    executable: Option<Executable>,
    /// The end of the first string in which a backslash stands before its quote, and how many pieces there were.
    ambiguous: Option<(usize, usize)>,
}

impl Scan<'_> {
    /// Reads what begins here. `None` where the rest is one piece.
    fn step(&mut self) -> Option<()> {
        if let Some(executable) = self.executable
            && executable.end == Some(self.at)
        {
            self.executable = None;
            let end = self.at + 2;
            return match executable.runs {
                true => self.push(Kind::Marker, end),
                false => self.block(executable, end),
            };
        }
        self.token()?;
        // A server whose version is older than the comment's skips it to its first `*/`, quoted or not.
        match self.executable {
            Some(Executable {
                start,
                before,
                end: Some(end),
                ..
            }) if self.at > end => self.give_up(start, before),
            _ => Some(()),
        }
    }

    /// One that read well as SQL and ends where it would as a comment is told as a comment.
    fn block(&mut self, executable: Executable, end: usize) -> Option<()> {
        let Executable { start, before, .. } = executable;
        self.pieces.truncate(before);
        self.ambiguous = self.ambiguous.map(|earlier| earlier.min((start, before)));
        self.at = start;
        self.push(Kind::Block, end)
    }

    fn token(&mut self) -> Option<()> {
        let start = self.at;
        // Behind a doubtful string a comment may be part of the next string, and what ends with it, too.
        if self.ambiguous.is_some() && self.begins_comment(start) {
            return self.rest(start);
        }
        match self.byte(start) {
            quote @ (b'\'' | b'"') => self.string(start, quote),
            b'`' => match self.closed(start, b'`', false) {
                Some((end, _)) => self.push(Kind::Name, end),
                None => self.rest(start),
            },
            b'#' => self.push(Kind::Hash, self.line_end(start)),
            b'-' if self.byte(start + 1) == b'-' && self.ends_dashes(start + 2) => {
                self.push(Kind::Dashes, self.line_end(start))
            }
            b'/' if self.byte(start + 1) == b'*' => self.comment(start),
            b'0'..=b'9' => self.number(start),
            // `t.5` is a name's, though nobody calls one so; `(.5` is a number.
            b'.' if self.byte(start + 1).is_ascii_digit() && !self.follows_a_name(start) => {
                self.number(start)
            }
            // NULL is written `\N`.
            b'\\' if self.byte(start + 1) == b'N' && !is_word(self.byte(start + 2)) => self.skip(start + 2),
            b'\\' => self.rest(start),
            byte if is_word(byte) => self.word(start),
            _ => self.skip(start + 1),
        }
    }

    fn begins_comment(&self, at: usize) -> bool {
        match (self.byte(at), self.byte(at + 1)) {
            (b'#', _) | (b'/', b'*') => true,
            (b'-', b'-') => self.ends_dashes(at + 2),
            _ => false,
        }
    }

    /// The byte there. Behind the end stands what is part of nothing.
    fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(b';')
    }

    fn skip(&mut self, to: usize) -> Option<()> {
        self.at = to;
        Some(())
    }

    fn push(&mut self, kind: Kind, end: usize) -> Option<()> {
        self.pieces.push(Piece {
            kind,
            start: self.at,
            end,
        });
        self.skip(end)
    }

    /// What begins at `start` is never closed, or doubtful.
    fn rest(&mut self, start: usize) -> Option<()> {
        // Text that only looks like SQL, in a comment that no server executes.
        let executable = self
            .executable
            .map(|executable| (executable.start, executable.before));
        // An open string behind a doubtful one: its quote may be a closing one.
        let doubtful = [executable, self.ambiguous].into_iter().flatten().min();
        let (from, before) = doubtful.unwrap_or((start, self.pieces.len()));
        self.give_up(from, before)
    }

    fn give_up(&mut self, start: usize, before: usize) -> Option<()> {
        self.pieces.truncate(before);
        self.pieces.push(Piece {
            kind: Kind::Rest,
            start,
            end: self.bytes.len(),
        });
        None
    }

    /// Where a quoted thing ends, and whether a backslash stands before one of its quotes. `None` if it does not.
    fn closed(&self, open: usize, quote: u8, escapes: bool) -> Option<(usize, bool)> {
        let mut at = open + 1;
        let mut ambiguous = false;
        loop {
            match *self.bytes.get(at)? {
                b'\\' if escapes => {
                    ambiguous |= self.byte(at + 1) == quote;
                    at += 2;
                }
                byte if byte != quote => at += 1,
                _ if self.byte(at + 1) == quote => at += 2,
                _ => return Some((at + 1, ambiguous)),
            }
        }
    }

    /// A string, whose quote stands at the end of what introduces it.
    fn string(&mut self, open: usize, quote: u8) -> Option<()> {
        let Some((end, ambiguous)) = self.closed(open, quote, true) else {
            return self.rest(self.at);
        };
        self.push(Kind::Text, end)?;
        let next = self.byte(end);
        if ambiguous && self.ambiguous.is_none() {
            self.ambiguous = Some((end, self.pieces.len()));
        }
        match is_word(next)
            || next == b'\\'
            || next == b'`'
            || (self.ambiguous.is_some() && !self.goes_on(end))
        {
            true => self.rest(end),
            false => Some(()),
        }
    }

    /// Whether what follows is what follows a string. Asked of all strings from the first ambiguous one on.
    fn goes_on(&self, end: usize) -> bool {
        let rest = self.sql[end..].trim_start();
        let word = &rest[..rest.bytes().position(|b| !is_word(b)).unwrap_or(rest.len())];
        match rest.bytes().next() {
            None => true,
            Some(b'\\' | b'`' | b'\'' | b'"' | b'(' | b'.' | b'@' | b'{' | b'[' | b'?') => false,
            Some(byte) if is_word(byte) => BEHIND_A_STRING
                .iter()
                .any(|known| word.eq_ignore_ascii_case(known)),
            Some(_) => true,
        }
    }

    fn comment(&mut self, start: usize) -> Option<()> {
        let executes = match (self.byte(start + 2), self.byte(start + 3)) {
            (b'!', _) => Some(start + 3),
            (b'M', b'!') => Some(start + 4),
            _ => None,
        };
        match (executes, self.executable) {
            (_, Some(Executable { start, before, .. })) => self.give_up(start, before),
            (None, None) => {
                let end = self.sql[start + 2..].find("*/").map(|at| start + 2 + at + 2);
                self.push(Kind::Block, end.unwrap_or(self.bytes.len()))
            }
            (Some(inside), None) => {
                let digits = self.bytes[inside..]
                    .iter()
                    .take_while(|b| b.is_ascii_digit())
                    .count();
                // More are a number.
                let version = if matches!(digits, 5 | 6) { digits } else { 0 };
                let executable = Executable {
                    start,
                    before: self.pieces.len(),
                    end: self.sql[inside..].find("*/").map(|at| inside + at),
                    // MySQL skips MariaDB's; and of a version that none has, people write what none shall run. (MySQL
                    // 9 runs `/*!90000 */`, which is masked, too.)
                    runs: inside == start + 3 && (version == 0 || self.byte(inside) < b'9'),
                };
                if executable.end.is_none() && !executable.runs {
                    return self.push(Kind::Block, self.bytes.len());
                }
                self.executable = Some(executable);
                self.push(Kind::Marker, inside + version)
            }
        }
    }

    fn line_end(&self, start: usize) -> usize {
        let line = self.bytes[start..].iter().position(|b| *b == b'\n');
        line.map_or(self.bytes.len(), |length| start + length)
    }

    fn ends_dashes(&self, at: usize) -> bool {
        self.bytes.get(at).is_some_and(|b| *b <= b' ' || *b == 0x7f)
    }

    fn follows_a_name(&self, at: usize) -> bool {
        let before = at.checked_sub(1).map(|before| self.byte(before));
        before.is_some_and(|b| is_word(b) || b == b'`')
    }

    /// All that goes on like a number or a word.
    fn number(&mut self, start: usize) -> Option<()> {
        let mut at = start;
        let mut plain = true;
        loop {
            let byte = self.byte(at);
            let signed = matches!(byte, b'e' | b'E')
                && matches!(self.byte(at + 1), b'+' | b'-')
                && self.byte(at + 2).is_ascii_digit();
            at += match byte {
                _ if plain && signed => 2,
                b'.' => 1,
                _ if is_word(byte) => 1,
                _ => break,
            };
            plain &= byte == b'.' || byte.is_ascii_digit();
        }
        match looks_foreign(&self.sql[start..at]) {
            true => self.rest(start),
            false => self.push(Kind::Number, at),
        }
    }

    fn word(&mut self, start: usize) -> Option<()> {
        let length = self.bytes[start..].iter().take_while(|b| is_word(**b)).count();
        let end = start + length;
        let word = &self.sql[start..end];
        // Of MySQL 9, `$$ ... $$` and `$tag$ ... $tag$` hold the body of a function.
        if looks_foreign(word) || (word.starts_with('$') && word[1..].contains('$')) {
            return self.rest(start);
        }
        // No name: what a person wrote there is an amount.
        if word.len() > 1 && word.starts_with('$') && word.as_bytes()[1].is_ascii_digit() {
            return self.number(start);
        }
        let introduces = matches!(word, "n" | "N" | "x" | "X" | "b" | "B");
        match self.byte(end) {
            quote @ (b'\'' | b'"') if introduces => self.string(end, quote),
            _ => self.skip(end),
        }
    }
}

/// What names are made of without quotes (reference manual, "Schema Object Names").
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

/// To MySQL all that is not ASCII is part of names: also the blanks, digits, signs and quotes of other scripts and of
/// word processors, so that what they set apart is no literal. Who wrote them meant one.
fn looks_foreign(word: &str) -> bool {
    word.contains(|c: char| {
        // Letters by Unicode that look like quotes.
        let is_quote = matches!(
            c,
            '\u{2b9}'
                ..='\u{2bd}'
                    | '\u{2c8}'
                    | '\u{2ca}'
                    | '\u{2cb}'
                    | '\u{2ee}'
                    | '\u{374}'
                    | '\u{a78b}'
                    | '\u{a78c}'
        );
        is_quote || !(c.is_ascii() || c.is_alphabetic())
    })
}
