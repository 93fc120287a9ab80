//! What a change changed: the attributes of an item whose values differ before and after.
//!
//! Pure. Compares values, not their spelling: numbers by value, sets and maps without an order. Tells whole
//! attributes, the top level of the item: a path into a map could not be told from a name that holds a dot. Must
//! never take an image that the stream doesn't give for an empty one.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::attributes::typed;
use crate::json::Tree;
use crate::json::number::Decimal;

/// What a change changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changes<'a> {
    /// These attributes, in the order of the new image, then of the old.
    Told(Vec<Changed<'a>>),
    /// The record doesn't tell.
    Untold,
}

/// An attribute whose values differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed<'a> {
    pub name: Cow<'a, str>,
    pub had_old: bool,
    pub has_new: bool,
}

/// What the change `record` changed. A new item had no attributes before, one that was removed has none after;
/// else both images are needed.
pub fn changed<'a>(record: &Tree<'a>) -> Changes<'a> {
    const NOTHING: &[(Cow<'_, str>, Tree<'_>)] = &[];
    let change = record.get("dynamodb");
    let image = |name| match change.and_then(|change| change.get(name)) {
        Some(Tree::Object(members)) => Some(members.as_slice()),
        _ => None,
    };
    let event = record.get("eventName").and_then(Tree::as_text);
    let (old, new) = match (image("OldImage"), image("NewImage"), event) {
        (Some(old), Some(new), _) => (old, new),
        (None, Some(new), Some("INSERT")) => (NOTHING, new),
        (Some(old), None, Some("REMOVE")) => (old, NOTHING),
        _ => return Changes::Untold,
    };
    let (before, after) = (by_name(old), by_name(new));
    let mut seen = BTreeSet::new();
    let names = new.iter().chain(old).map(|(name, _)| name);
    let differing = names.filter(|name| {
        let differs = match (before.get(&***name), after.get(&***name)) {
            (Some(old), Some(new)) => !same(old, new),
            _ => true,
        };
        seen.insert(&***name) && differs
    });
    let told = differing.map(|name| Changed {
        name: name.clone(),
        had_old: before.contains_key(&**name),
        has_new: after.contains_key(&**name),
    });
    Changes::Told(told.collect())
}

/// Of a name that stands twice, the last value counts.
fn by_name<'t, 'a>(members: &'t [(Cow<'a, str>, Tree<'a>)]) -> BTreeMap<&'t str, &'t Tree<'a>> {
    members.iter().map(|(name, value)| (&**name, value)).collect()
}

/// Whether two values are the same.
fn same(a: &Tree<'_>, b: &Tree<'_>) -> bool {
    if a == b {
        return true;
    }
    match (typed(a), typed(b)) {
        (Some(("N", Tree::Text(a))), Some(("N", Tree::Text(b)))) => number(a) == number(b),
        (Some(("NS", Tree::List(a))), Some(("NS", Tree::List(b)))) => {
            matches!((set(a, number), set(b, number)), (Some(a), Some(b)) if a == b)
        }
        (Some((one, Tree::List(a))), Some((other, Tree::List(b)))) if one == other => match one {
            "SS" | "BS" => {
                let text = |text| text;
                matches!((set(a, text), set(b, text)), (Some(a), Some(b)) if a == b)
            }
            "L" => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
            _ => false,
        },
        (Some(("M", Tree::Object(a))), Some(("M", Tree::Object(b)))) => {
            let (a, b) = (by_name(a), by_name(b));
            a.len() == b.len()
                && a.iter()
                    .zip(&b)
                    .all(|((name, a), (other, b))| name == other && same(a, b))
        }
        _ => false,
    }
}

/// The number, or the text where it is none.
fn number(text: &str) -> Result<Decimal, &str> {
    Decimal::of_json(text).filter(Decimal::is_exact).ok_or(text)
}

/// The items of a set in an order of their own.
fn set<'t, T: Ord>(items: &'t [Tree<'_>], of: fn(&'t str) -> T) -> Option<BTreeSet<T>> {
    items.iter().map(|item| item.as_text().map(of)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_compared_and_not_their_spelling() {
        for (a, b, expected) in [
            (r#"{"N":"1"}"#, r#"{"N":"1.0"}"#, true),
            (r#"{"N":"1"}"#, r#"{"N":"2"}"#, false),
            (r#"{"N":"1"}"#, r#"{"S":"1"}"#, false),
            (r#"{"N":"NaN"}"#, r#"{"N":"NaN"}"#, true),
            (r#"{"N":"NaN"}"#, r#"{"N":"nan"}"#, false),
            (r#"{"S":"1"}"#, r#"{"S":"1.0"}"#, false),
            (r#"{"S":"\u0061"}"#, r#"{"S":"a"}"#, true),
            (r#"{"SS":["a","b"]}"#, r#"{"SS":["b","a"]}"#, true),
            (r#"{"SS":["a","b"]}"#, r#"{"SS":["a"]}"#, false),
            (r#"{"SS":["a"]}"#, r#"{"BS":["a"]}"#, false),
            (r#"{"BS":["AA==","/w=="]}"#, r#"{"BS":["/w==","AA=="]}"#, true),
            (r#"{"NS":["1","2.50"]}"#, r#"{"NS":["2.5","1e0"]}"#, true),
            (r#"{"NS":["1","2"]}"#, r#"{"NS":["1","3"]}"#, false),
            (
                r#"{"L":[{"N":"1"},{"S":"x"}]}"#,
                r#"{"L":[{"N":"1.0"},{"S":"x"}]}"#,
                true,
            ),
            (
                r#"{"L":[{"N":"1"},{"N":"2"}]}"#,
                r#"{"L":[{"N":"2"},{"N":"1"}]}"#,
                false,
            ),
            (r#"{"L":[{"N":"1"}]}"#, r#"{"L":[{"N":"1"},{"N":"1"}]}"#, false),
            (
                r#"{"M":{"a":{"N":"1"},"b":{"S":"x"}}}"#,
                r#"{"M":{"b":{"S":"x"},"a":{"N":"1.0"}}}"#,
                true,
            ),
            (r#"{"M":{"a":{"N":"1"}}}"#, r#"{"M":{"b":{"N":"1"}}}"#, false),
            (r#"{"M":{}}"#, r#"{"L":[]}"#, false),
            (r#"{"BOOL":true}"#, r#"{"BOOL":false}"#, false),
            (r#"{"NULL":true}"#, r#"{"NULL":true}"#, true),
            (r#"{"X":["a","b"]}"#, r#"{"X":["b","a"]}"#, false),
            (r#"{"SS":[1]}"#, r#"{"SS":[2]}"#, false),
        ] {
            let (one, other) = (Tree::parse(a).unwrap(), Tree::parse(b).unwrap());
            assert_eq!(same(&one, &other), expected, "{a} {b}");
            assert_eq!(same(&other, &one), expected, "{b} {a}");
        }
    }
}
