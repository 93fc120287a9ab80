//! The literals of a SQL statement of MySQL or MariaDB, masked.
//!
//! Pure. A statement is read twice: by `scan`, which knows the lexer of MySQL and gives up where it doubts, and by
//! the tokenizer of sqlparser, in `tokens`. Where the two part in what is quoted, the rest of the statement is
//! masked, so that no fault of one alone shows a literal. (sqlparser 0.63 alone would show some: it ends `b'x\'y'` at
//! the second quote, reads on behind `--` and a control character where the server has a comment, and takes `0b01`
//! for a name.)
//!
//! * A literal becomes `?`: strings in either quotes with what introduces them (`N'x'`, `X'4D'`, `b'1'`; the
//!   character set of `_utf8'x'` stays), numbers in any spelling, and whatever else begins with a digit, which may
//!   be a name that stands without backticks. TRUE, FALSE and NULL are no secrets.
//! * A comment becomes `/* ? */`, `-- ?` or `# ?`, hints to the optimizer too. An executable comment
//!   (`/*!40101 ... */`) is SQL, but for those of a version from 90000 or 900000 on, and MariaDB's `/*M! ... */`.
//! * A server cuts statements (RDS and Aurora at 1,024 bytes): what is open at the end is masked to the end.
//! * Else not a byte changes.
//!
//! Strings are read as the server does unless it is told otherwise: double quotes are strings, and a backslash
//! escapes. Under ANSI_QUOTES names in double quotes are masked too. Under NO_BACKSLASH_ESCAPES a string may end
//! with a backslash; a statement that looks like it is masked from there on, and one that holds
//! both such a string and, behind it, a comment. One that was cut may look like none.

mod scan;
mod tokens;

use std::borrow::Cow;

use scan::{Kind, Piece};

/// Masks the literals of a statement.
pub fn mask(sql: &str) -> Cow<'_, str> {
    let pieces = scan::pieces(sql);
    let parting = tokens::parting(sql, &pieces);
    let mut out = String::with_capacity(sql.len());
    let mut done = 0;
    let mut rest = parting;
    for Piece { kind, start, end } in pieces {
        if parting.is_some_and(|at| end > at) {
            rest = rest.map(|at| at.min(start));
            break;
        }
        if kind == Kind::Rest {
            rest = Some(start);
            break;
        }
        out.push_str(&sql[done..start]);
        out.push_str(match kind {
            Kind::Text | Kind::Number | Kind::Rest => "?",
            Kind::Block => "/* ? */",
            Kind::Dashes => "-- ?",
            Kind::Hash => "# ?",
            Kind::Name | Kind::Marker => &sql[start..end],
        });
        done = end;
    }
    match rest {
        Some(from) => {
            out.push_str(&sql[done..from]);
            if !out.ends_with('?') {
                out.push('?');
            }
        }
        None => out.push_str(&sql[done..]),
    }
    match out == sql {
        true => Cow::Borrowed(sql),
        false => Cow::Owned(out),
    }
}

#[cfg(test)]
mod tests;
