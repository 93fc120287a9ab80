//! DynamoDB's typed values as ordinary JSON.
//!
//! Pure. Must never lose a digit, nor what it doesn't know: a value of a type that is not DynamoDB's stays as it is.

use std::borrow::Cow;

use crate::json::{Tree, number};

/// The attributes of an item or a key, each without its type.
pub fn plain_all(attributes: Tree<'_>) -> Tree<'_> {
    match attributes {
        Tree::Object(members) => {
            let members = members.into_iter().map(|(name, value)| (name, plain(value)));
            Tree::Object(members.collect())
        }
        other => other,
    }
}

/// One value without its type.
pub fn plain(value: Tree<'_>) -> Tree<'_> {
    let mut members = match value {
        Tree::Object(members) if members.len() == 1 => members,
        other => return other,
    };
    let Some((kind, inner)) = members.pop() else {
        return Tree::Object(members);
    };
    match (&*kind, inner) {
        ("S" | "B", text @ Tree::Text(_)) => text,
        ("N", Tree::Text(text)) => number_or_text(text),
        ("BOOL", boolean @ Tree::Bool(_)) => boolean,
        ("NULL", Tree::Bool(true)) => Tree::Null,
        ("SS" | "BS", set @ Tree::List(_)) => set,
        ("NS", Tree::List(items)) => {
            let items = items.into_iter().map(|item| match item {
                Tree::Text(text) => number_or_text(text),
                other => other,
            });
            Tree::List(items.collect())
        }
        ("L", Tree::List(items)) => Tree::List(items.into_iter().map(plain).collect()),
        ("M", map @ Tree::Object(_)) => plain_all(map),
        (_, inner) => Tree::Object(vec![(kind, inner)]),
    }
}

/// As it is spelt. What stands for a hidden number, say, is none.
fn number_or_text(text: Cow<'_, str>) -> Tree<'_> {
    match number::is_json(&text) {
        true => Tree::Number(text),
        false => Tree::Text(text),
    }
}

/// A value's type and what is below it.
pub fn typed<'t, 'a>(value: &'t Tree<'a>) -> Option<(&'t str, &'t Tree<'a>)> {
    match value {
        Tree::Object(members) => match members.as_slice() {
            [(kind, inner)] => Some((kind, inner)),
            _ => None,
        },
        _ => None,
    }
}
