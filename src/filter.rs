//! Which events a pipeline keeps, in the syntax of Lambda's event filters.
//!
//! Pure. Owns what a pattern matches, and which fields the documents have that patterns are applied to; `shape`
//! makes those documents. The operators are EventBridge's, as its library, Event Ruler, has them; Lambda's pages list
//! most of them (not `wildcard`, nor `anything-but` of a prefix).
//!
//! No crate does it: quamina 0.7.0 is right on what was recorded on AWS but knows no `$or`, no `anything-but` of a
//! prefix and no prefix in any case, takes 0 for greater than 0 in a range, misses IPv6 networks, and rounds numbers
//! to floats; event-ruler 0.1.0 is empty, and fakecloud-lambda is under the AGPL.

mod fits;
mod parse;
mod rule;

use crate::json::Tree;
pub use fits::fields_of;
use rule::Rule;

/// The most patterns of one filter (Lambda's quota, unless it is raised).
pub const MOST: usize = 5;

/// Up to five patterns; an event that any of them matches is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    patterns: Vec<Pattern>,
}

/// Why patterns are no filter. A message says what is wrong where, and the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    #[error("holds no pattern, and would keep nothing: add one, or remove the key")]
    Empty,
    #[error("holds {0} patterns where {MOST} are the most: join some by `$or`")]
    TooMany(usize),
    /// `what` reads on from `path`, or from the pattern where that is empty.
    #[error("pattern {number}{} {what}", of(path))]
    Pattern {
        /// Counted from 1.
        number: usize,
        /// The names down to the field, with dots between; the branches of an `$or` are counted from 1.
        path: String,
        what: String,
    },
}

fn of(path: &str) -> String {
    match path {
        "" => String::new(),
        path => format!(": `{path}`"),
    }
}

/// What must hold of an object: each of the fields, and each `$or`.
#[derive(Clone, Debug, PartialEq)]
struct Pattern {
    fields: Vec<(String, Wanted)>,
    /// Of each `$or` its branches.
    either: Vec<Vec<Pattern>>,
}

/// What must hold of a field.
#[derive(Clone, Debug, PartialEq)]
enum Wanted {
    Within(Pattern),
    OneOf(Vec<Rule>),
}

/// How well something matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Match {
    No,
    /// Nothing is there that should be absent, and nothing else was asked for.
    ByAbsence,
    ByValue,
}

impl Pattern {
    /// Whether it says what must hold of the field at this path, or below it.
    fn asks_for(&self, path: &[&str]) -> bool {
        let Some((first, rest)) = path.split_first() else {
            return true;
        };
        let here = self.fields.iter().filter(|(name, _)| name == first);
        let mut wanted = here.map(|(_, wanted)| wanted);
        wanted.any(|wanted| match wanted {
            Wanted::Within(pattern) => pattern.asks_for(rest),
            Wanted::OneOf(_) => rest.is_empty(),
        }) || self.either.iter().flatten().any(|branch| branch.asks_for(path))
    }
}

impl Filter {
    /// Whether any pattern says what must hold of the field at this path, or below it.
    pub fn asks_for(&self, path: &[&str]) -> bool {
        self.patterns.iter().any(|pattern| pattern.asks_for(path))
    }

    /// Reads patterns, each an object, or a text that holds its JSON, as Lambda's API takes it.
    ///
    /// Numbers of a text are read with all of their digits. Those of a [`serde_json::Value`] may have been rounded
    /// to floats before: one that looks like it is refused.
    pub fn parse(patterns: &[serde_json::Value]) -> Result<Self, FilterError> {
        match patterns.len() {
            0 => return Err(FilterError::Empty),
            1..=MOST => {}
            more => return Err(FilterError::TooMany(more)),
        }
        let numbered = patterns.iter().zip(1..);
        let patterns = numbered.map(|(pattern, number)| parse::pattern(pattern, number));
        Ok(Self {
            patterns: patterns.collect::<Result<_, _>>()?,
        })
    }

    /// Keeps what both keep.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let both = Pattern {
            fields: Vec::new(),
            either: vec![self.patterns, other.patterns],
        };
        Self { patterns: vec![both] }
    }

    /// Whether an event is kept, by the document that patterns see of it.
    pub fn matches(&self, document: &Tree<'_>) -> bool {
        self.patterns
            .iter()
            .any(|pattern| pattern.matches(Some(document)) != Match::No)
    }

    /// The names that patterns use at the top, those in an `$or` too. One may come more than once.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        let mut names = Vec::new();
        for pattern in &self.patterns {
            pattern.names(&mut names);
        }
        names.into_iter()
    }
}

impl Pattern {
    /// A list matches if one of its items does, as a whole; by absence, if all do.
    fn matches(&self, value: Option<&Tree<'_>>) -> Match {
        if let Some(Tree::List(items)) = value {
            let items = items.iter().map(|item| self.matches(Some(item)));
            return any_item(items).unwrap_or_else(|| self.matches(None));
        }
        let fields = self.fields.iter().map(|(name, wanted)| {
            let value = value.and_then(|value| value.get(name));
            match wanted {
                Wanted::Within(pattern) => pattern.matches(value),
                Wanted::OneOf(rules) => one_of(rules, value),
            }
        });
        let either = self.either.iter().map(|branches| {
            let branches = branches.iter().map(|branch| branch.matches(value));
            branches.max().unwrap_or(Match::No)
        });
        let mut best = Match::ByAbsence;
        for found in fields.chain(either) {
            match found {
                Match::No => return Match::No,
                found => best = best.max(found),
            }
        }
        best
    }

    fn names<'p>(&'p self, names: &mut Vec<&'p str>) {
        names.extend(self.fields.iter().map(|(name, _)| name.as_str()));
        for branch in self.either.iter().flatten() {
            branch.names(names);
        }
    }
}

/// A list matches if one of its items does. An object has no value of its own, as if it were absent.
fn one_of(rules: &[Rule], value: Option<&Tree<'_>>) -> Match {
    match value {
        Some(Tree::List(items)) => {
            let items = items.iter().map(|item| one_of(rules, Some(item)));
            any_item(items).unwrap_or_else(|| one_of(rules, None))
        }
        None | Some(Tree::Object(_)) if rules.contains(&Rule::Absent) => Match::ByAbsence,
        None | Some(Tree::Object(_)) => Match::No,
        Some(value) if rules.iter().any(|rule| rule.matches(value)) => Match::ByValue,
        Some(_) => Match::No,
    }
}

/// `None` if there is no item.
fn any_item(items: impl Iterator<Item = Match>) -> Option<Match> {
    items.reduce(|one, other| match (one, other) {
        (Match::ByValue, _) | (_, Match::ByValue) => Match::ByValue,
        (one, other) => one.min(other),
    })
}

#[cfg(test)]
mod tests;
