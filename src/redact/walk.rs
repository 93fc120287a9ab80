//! Finds what a path names and hides it.
//!
//! Pure. Owns how a path goes through ordinary JSON and through the attributes of DynamoDB, whose types are
//! written into the value: `{"M":{"email":{"S":"..."}}}`.

use std::borrow::Cow;

use super::path::Segment;
use super::{PARTS, With, hash};
use crate::json::Tree;

const MASK: &str = "***";

/// What becomes of a value's place in its parent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Kept,
    Gone,
}

/// Hides what `path` names below `dynamodb` in a change.
pub fn change(record: &mut Tree<'_>, path: &[Segment], with: &With) {
    let Some((first, rest)) = path.split_first() else {
        return;
    };
    let Tree::Object(members) = record else {
        return;
    };
    for (_, change) in members.iter_mut().filter(|(name, _)| name == "dynamodb") {
        let Tree::Object(parts) = change else {
            continue;
        };
        parts.retain_mut(|(name, part)| {
            // `*` is any of the three: sizes and times beside them are no one's secret.
            let named = PARTS.contains(&&**name) && first.is_name(name);
            !named || image(part, rest, with) == Place::Kept
        });
    }
}

/// An image: names of attributes, and their values.
fn image(image: &mut Tree<'_>, path: &[Segment], with: &With) -> Place {
    if path.is_empty() && *with == With::Remove {
        return Place::Gone;
    }
    let Tree::Object(attributes) = image else {
        return Place::Kept;
    };
    // An image as a whole is no value: each of its attributes is hidden, so that they stay attributes.
    let (first, rest) = path.split_first().unwrap_or((&Segment::Any, &[]));
    attributes
        .retain_mut(|(name, value)| !first.is_name(name) || attribute(value, rest, with) == Place::Kept);
    Place::Kept
}

/// An attribute's value, as DynamoDB writes it.
fn attribute(value: &mut Tree<'_>, path: &[Segment], with: &With) -> Place {
    let Some((first, rest)) = path.split_first() else {
        return hide(value, with, |with| match with {
            Hidden::Mask => Tree::Object(vec![(Cow::Borrowed("S"), Tree::text(MASK))]),
            Hidden::Hash(key, value) => hash::attribute(key, value),
        });
    };
    // Who writes the type into the path (`NewImage.customer.M.email`) means the same.
    if let (Segment::Name(name), Some(kind)) = (first, hash::type_of(value))
        && name == kind
        && attribute(value, rest, with) == Place::Gone
    {
        return Place::Gone;
    }
    let Tree::Object(types) = value else {
        return Place::Kept;
    };
    let mut set_is_gone = false;
    for (kind, inner) in types.iter_mut() {
        match (&**kind, inner) {
            ("M", Tree::Object(members)) => members.retain_mut(|(name, value)| {
                !first.is_name(name) || attribute(value, rest, with) == Place::Kept
            }),
            ("L", Tree::List(items)) => {
                for (_, item) in items.iter_mut().enumerate().filter(|(i, _)| first.is_index(*i)) {
                    if attribute(item, rest, with) == Place::Gone {
                        *item = null_attribute();
                    }
                }
            }
            // The elements of a set are hidden together: they have no places, and none would be left.
            ("SS" | "NS" | "BS", Tree::List(_)) if *first == Segment::Any && rest.is_empty() => {
                set_is_gone = true;
            }
            _ => {}
        }
    }
    if set_is_gone && attribute(value, &[], with) == Place::Gone {
        *value = null_attribute();
    }
    Place::Kept
}

fn null_attribute<'a>() -> Tree<'a> {
    Tree::Object(vec![(Cow::Borrowed("NULL"), Tree::Bool(true))])
}

/// Hides what `path` names in ordinary JSON.
pub fn json(document: &mut Tree<'_>, path: &[Segment], with: &With) {
    if !path.is_empty() {
        value(document, path, with);
    }
}

fn value(tree: &mut Tree<'_>, path: &[Segment], with: &With) -> Place {
    let Some((first, rest)) = path.split_first() else {
        return hide(tree, with, |with| match with {
            Hidden::Mask => Tree::text(MASK),
            Hidden::Hash(key, value) => Tree::text(hash::json(key, value)),
        });
    };
    match tree {
        Tree::Object(members) => {
            members
                .retain_mut(|(name, inner)| !first.is_name(name) || value(inner, rest, with) == Place::Kept);
        }
        Tree::List(items) => {
            for (_, item) in items.iter_mut().enumerate().filter(|(i, _)| first.is_index(*i)) {
                if value(item, rest, with) == Place::Gone {
                    *item = Tree::Null;
                }
            }
        }
        _ => {}
    }
    Place::Kept
}

/// What is written into a hidden value's place.
enum Hidden<'w, 't> {
    Mask,
    Hash(&'w hash::Key, &'w Tree<'t>),
}

fn hide<'t>(tree: &mut Tree<'t>, with: &With, write: impl Fn(Hidden<'_, 't>) -> Tree<'t>) -> Place {
    *tree = match with {
        With::Remove => return Place::Gone,
        With::Mask => write(Hidden::Mask),
        With::Hash(key) => write(Hidden::Hash(key, tree)),
    };
    Place::Kept
}
