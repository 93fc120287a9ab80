//! Where a value is: `NewImage.customer.email`, `*.items.*.price`.
//!
//! Pure. Owns how a path is written.

/// A path, and how it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    text: String,
    /// At least one.
    segments: Vec<Segment>,
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// `*`: any member of an object, any element of a list.
    Any,
    /// The members of this name, also of the objects in a list; where it is a number, that element of the list, too,
    /// counted from 0.
    Name(String),
}

/// Why a text is no path. It reads on from the text, and tells the way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPath {
    #[error("is empty: write a path like `NewImage.customer.email`")]
    Empty,
    #[error(
        "has an empty name between dots, or at an end: remove the dot (one that is part of a name is `\\.`)"
    )]
    EmptySegment,
    #[error("has a `*` within a name: alone it is any name, and one that is part of a name is `\\*`")]
    StarInName,
    #[error("has a backslash before something else than a dot, a star or a backslash: write `\\\\` for one")]
    Escape,
}

impl Path {
    /// Segments between dots. A backslash takes its meaning from a dot, a star or a backslash.
    pub fn parse(text: &str) -> Result<Self, NoPath> {
        if text.is_empty() {
            return Err(NoPath::Empty);
        }
        let mut segments = Vec::new();
        let mut name = String::new();
        let mut star = false;
        let mut chars = text.chars();
        loop {
            let next = chars.next();
            match next {
                None | Some('.') => {
                    segments.push(match (star, name.is_empty()) {
                        (true, true) => Segment::Any,
                        (true, false) => return Err(NoPath::StarInName),
                        (false, true) => return Err(NoPath::EmptySegment),
                        (false, false) => Segment::Name(std::mem::take(&mut name)),
                    });
                    star = false;
                }
                Some('*') if star => return Err(NoPath::StarInName),
                Some('*') => star = true,
                Some('\\') => match chars.next() {
                    Some(c @ ('.' | '*' | '\\')) => name.push(c),
                    _ => return Err(NoPath::Escape),
                },
                Some(c) => name.push(c),
            }
            if next.is_none() {
                let text = text.to_owned();
                return Ok(Self { text, segments });
            }
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The segments of the same path, but for the first.
    pub(super) fn beginning_with(&self, first: &str) -> Vec<Segment> {
        let mut twin = self.segments.clone();
        if let Some(segment) = twin.first_mut() {
            *segment = Segment::Name(first.to_owned());
        }
        twin
    }

    /// Whether all that `other` names lies at or below what this path names.
    pub fn covers(&self, other: &[Segment]) -> bool {
        let each = |(mine, theirs): (&Segment, &Segment)| *mine == Segment::Any || mine == theirs;
        self.segments.len() <= other.len() && self.segments.iter().zip(other).all(each)
    }
}

impl Segment {
    /// Whether it names this member of an object.
    pub(super) fn is_name(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Name(own) => own == name,
        }
    }

    /// Whether it names this element of a list.
    pub(super) fn is_index(&self, index: usize) -> bool {
        match self {
            Self::Any => true,
            Self::Name(own) => own.parse() == Ok(index),
        }
    }

    /// Whether it may name an element of a list.
    pub(super) fn is_place(&self) -> bool {
        match self {
            Self::Any => true,
            Self::Name(own) => own.parse::<usize>().is_ok(),
        }
    }

    /// Whether it is looked for in the elements of a list: a number only in those that may have such a member, as it
    /// counts those of lists.
    pub(super) fn goes_through_lists(&self, may_have_members: bool) -> bool {
        match self {
            Self::Any => false,
            Self::Name(_) => may_have_members || !self.is_place(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn segments_stand_between_dots_and_a_backslash_escapes() {
        let name = |text: &str| Segment::Name(text.to_owned());
        for (text, segments) in [
            ("a", vec![name("a")]),
            ("*", vec![Segment::Any]),
            ("a.*.b", vec![name("a"), Segment::Any, name("b")]),
            ("a.0", vec![name("a"), name("0")]),
            (r"a\.b.\*", vec![name("a.b"), name("*")]),
            (r"\\.a", vec![name(r"\"), name("a")]),
            ("a b.é", vec![name("a b"), name("é")]),
        ] {
            assert_eq!(Path::parse(text).unwrap().segments(), segments, "{text}");
        }
    }

    #[test]
    fn what_is_no_path_is_told() {
        for (text, error) in [
            ("", NoPath::Empty),
            (".", NoPath::EmptySegment),
            ("a.", NoPath::EmptySegment),
            (".a", NoPath::EmptySegment),
            ("a..b", NoPath::EmptySegment),
            ("a*", NoPath::StarInName),
            ("*a.b", NoPath::StarInName),
            ("a.**", NoPath::StarInName),
            (r"a\b", NoPath::Escape),
            (r"a\", NoPath::Escape),
        ] {
            assert_eq!(Path::parse(text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn names_of_any_characters_can_be_written(names in prop::collection::vec(".+", 1..5)) {
            let escaped: Vec<_> = names
                .iter()
                .map(|name| name.replace('\\', r"\\").replace('.', r"\.").replace('*', r"\*"))
                .collect();
            let path = Path::parse(&escaped.join(".")).unwrap();
            let expected: Vec<_> = names.into_iter().map(Segment::Name).collect();
            prop_assert_eq!(path.segments(), expected);
        }
    }
}
