//! A second reading of a statement, by sqlparser's tokenizer for MySQL.
//!
//! Pure.

use sqlparser::dialect::MySqlDialect;
use sqlparser::tokenizer::{Location, Tokenizer};

use super::scan::{Kind, Piece};

const QUOTES: [char; 3] = ['\'', '"', '`'];

/// Where the two readings part in what is quoted, or where sqlparser can't read on.
pub fn parting(sql: &str, pieces: &[Piece]) -> Option<usize> {
    let readable = readable(sql, pieces);
    let mut tokens = Vec::new();
    let read = Tokenizer::new(&MySqlDialect {}, &readable)
        .with_unescape(false)
        .tokenize_with_location_into_buf(&mut tokens);

    let mut places = Places::of(&readable);
    let mut scanned = pieces
        .iter()
        .filter(|piece| matches!(piece.kind, Kind::Text | Kind::Name))
        .map(|piece| quoted(&readable, piece.start, piece.end).unwrap_or((piece.start, piece.end)));
    let mut start = 0;
    for token in tokens {
        let end = places.offset(token.span.end);
        if let Some(theirs) = quoted(&readable, start, end) {
            match scanned.next() {
                Some(ours) if ours == theirs => {}
                Some(ours) => return Some(ours.0.min(theirs.0)),
                None => return Some(theirs.0),
            }
        }
        start = end;
    }
    match read {
        Err(_) => Some(start),
        Ok(()) => scanned.next().map(|(start, _)| start),
    }
}

/// From its quote on, what lies between two offsets, if it is quoted.
fn quoted(text: &str, start: usize, end: usize) -> Option<(usize, usize)> {
    let quote = text.get(start..end)?.find(QUOTES)?;
    Some((start + quote, end))
}

/// The statement up to where the scan gave up, with blanks for comments and for what encloses executable ones.
/// Each character stays where it was.
fn readable(sql: &str, pieces: &[Piece]) -> String {
    let mut out = String::with_capacity(sql.len());
    let mut done = 0;
    for piece in pieces {
        out.push_str(&sql[done..piece.start]);
        let text = &sql[piece.start..piece.end];
        done = piece.end;
        match piece.kind {
            Kind::Block | Kind::Dashes | Kind::Hash | Kind::Marker => {
                out.extend(text.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
            }
            Kind::Text | Kind::Name | Kind::Number => out.push_str(text),
            Kind::Rest => return out,
        }
    }
    out.push_str(&sql[done..]);
    out
}

/// Finds the offsets of locations, which must not go back.
struct Places<'a> {
    text: &'a str,
    at: usize,
    line: u64,
    column: u64,
}

impl<'a> Places<'a> {
    fn of(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            line: 1,
            column: 1,
        }
    }

    fn offset(&mut self, location: Location) -> usize {
        for c in self.text[self.at..].chars() {
            if (self.line, self.column) >= (location.line, location.column) {
                break;
            }
            self.at += c.len_utf8();
            match c {
                '\n' => (self.line, self.column) = (self.line + 1, 1),
                _ => self.column += 1,
            }
        }
        self.at
    }
}
