//! Which log groups a pipeline may write to, where its records choose them.
//!
//! Pure. A group's name that is drawn from a record's content is the choice of whoever wrote the record; these
//! patterns are the user's.

use std::fmt;

/// The name of a group, in which `*` stands for any characters, `/` too, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupPattern(String);

/// Why a text is no pattern.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("a group's name has 1 to 512 characters")]
    Length,
    #[error(
        "{0:?} can't be in a group's name: only letters, digits and . - _ / # can, and `*` for any of them"
    )]
    Character(char),
}

impl GroupPattern {
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() || text.len() > 512 {
            return Err(PatternError::Length);
        }
        match text
            .chars()
            .find(|c| !c.is_ascii_alphanumeric() && !".-_/#*".contains(*c))
        {
            Some(other) => Err(PatternError::Character(other)),
            None => Ok(Self(text.to_owned())),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn matches(&self, group: &str) -> bool {
        let mut pieces = self.0.split('*');
        // `split` gives one piece at least.
        let first = pieces.next().unwrap_or_default();
        let Some(mut rest) = group.strip_prefix(first) else {
            return false;
        };
        let Some(last) = pieces.next_back() else {
            return rest.is_empty();
        };
        // The earliest place of each piece leaves the most for those behind it.
        for piece in pieces {
            match rest.find(piece) {
                Some(at) => rest = &rest[at + piece.len()..],
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

impl fmt::Display for GroupPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_stands_for_any_characters_or_none() {
        for (pattern, group, matches) in [
            ("/db/*/audit", "/db/shop/audit", true),
            ("/db/*/audit", "/db//audit", true),
            ("/db/*/audit", "/db/a/b/audit", true),
            ("/db/*/audit", "/db/audit", false),
            ("/db/*/audit", "/db/shop/audit2", false),
            ("/db/*/audit", "x/db/shop/audit", false),
            ("/db/shop", "/db/shop", true),
            ("/db/shop", "/db/shops", false),
            ("/db/shop", "/db/sho", false),
            ("*", "", true),
            ("*", "anything", true),
            ("*-a", "a-a-a", true),
            ("a*b*a", "aba", true),
            ("a*b*a", "ab", false),
            ("aa*aa", "aaa", false),
            ("**", "x", true),
        ] {
            let parsed = GroupPattern::parse(pattern).unwrap();
            assert_eq!(parsed.matches(group), matches, "{pattern} {group}");
            assert_eq!(parsed.to_string(), pattern);
        }
    }

    #[test]
    fn a_pattern_holds_what_a_name_can_hold() {
        assert_eq!(GroupPattern::parse(""), Err(PatternError::Length));
        assert_eq!(GroupPattern::parse(&"x".repeat(513)), Err(PatternError::Length));
        for (text, character) in [("/db/{cluster}", '{'), ("a b", ' '), ("a?", '?')] {
            assert_eq!(GroupPattern::parse(text), Err(PatternError::Character(character)));
        }
    }

    proptest! {
        #[test]
        fn a_name_matches_itself_with_any_part_starred(name in "[a-b/]{1,12}", from in 0usize..12, len in 0usize..12) {
            let from = from.min(name.len());
            let to = (from + len).min(name.len());
            let pattern = format!("{}*{}", &name[..from], &name[to..]);
            prop_assert!(GroupPattern::parse(&pattern).unwrap().matches(&name));
        }
    }
}
