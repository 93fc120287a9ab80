//! Finds what a path names and hides it.
//!
//! Pure. Owns how a path goes through ordinary JSON and through the attributes of DynamoDB, whose types are
//! written into the value: `{"M":{"email":{"S":"..."}}}`. Where a path can't be followed, and what it names may be
//! there all the same, all that is there is hidden: JSON inside a text, an attribute that is none of DynamoDB's.

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

/// Hides what `path` names below `dynamodb` in a change. Returns how many values that were.
pub fn change(record: &mut Tree<'_>, path: &[Segment], with: &With) -> usize {
    let mut walk = Walk { with, hidden: 0 };
    let Some((first, rest)) = path.split_first() else {
        return 0;
    };
    let Tree::Object(members) = record else {
        return 0;
    };
    members.retain_mut(|(name, change)| match change {
        _ if name != "dynamodb" => true,
        Tree::Object(parts) => {
            parts.retain_mut(|(name, part)| {
                // `*` is any of the three: sizes and times beside them are no one's secret.
                let named = PARTS.contains(&&**name) && first.is_name(name);
                !named || walk.image(part, rest) == Place::Kept
            });
            true
        }
        Tree::Null => true,
        _ => walk.hide_json(change) == Place::Kept,
    });
    walk.hidden
}

/// Hides what `path` names in ordinary JSON. Returns how many values that were.
pub fn json(document: &mut Tree<'_>, path: &[Segment], with: &With) -> usize {
    let mut walk = Walk { with, hidden: 0 };
    if !path.is_empty() && walk.value(document, path) == Place::Gone {
        *document = Tree::Null;
    }
    // A producer may send a batch of documents as a list: `*` is a member of each, too, not its elements alone.
    if let (Tree::List(documents), [Segment::Any, _, ..]) = (&mut *document, path) {
        for one in documents.iter_mut().filter(|one| matches!(one, Tree::Object(_))) {
            if walk.value(one, path) == Place::Gone {
                *one = Tree::Null;
            }
        }
    }
    walk.hidden
}

struct Walk<'w> {
    with: &'w With,
    hidden: usize,
}

impl Walk<'_> {
    /// An image: names of attributes, and their values.
    fn image(&mut self, image: &mut Tree<'_>, path: &[Segment]) -> Place {
        let attributes = match image {
            Tree::Object(attributes) => attributes,
            Tree::Null if !path.is_empty() => return Place::Kept,
            // Of no make that is known.
            _ => return self.hide_json(image),
        };
        if path.is_empty() && *self.with == With::Remove {
            self.hidden += 1;
            return Place::Gone;
        }
        // An image as a whole is no value: each of its attributes is hidden, so that they stay attributes.
        let (first, rest) = path.split_first().unwrap_or((&Segment::Any, &[]));
        attributes
            .retain_mut(|(name, value)| !first.is_name(name) || self.attribute(value, rest) == Place::Kept);
        Place::Kept
    }

    /// An attribute's value, as DynamoDB writes it.
    fn attribute(&mut self, value: &mut Tree<'_>, path: &[Segment]) -> Place {
        let Some((first, rest)) = path.split_first() else {
            return self.hide_attribute(value);
        };
        // Who writes the type into the path (`NewImage.customer.M.email`) means the same.
        if let (Segment::Name(name), Some(kind)) = (first, hash::type_of(value))
            && name == kind
        {
            let place = self.attribute(value, rest);
            if place == Place::Gone || rest.is_empty() {
                return place;
            }
        }
        match typed_mut(value) {
            Some(("M", Tree::Object(members))) => {
                members.retain_mut(|(name, value)| {
                    !first.is_name(name) || self.attribute(value, rest) == Place::Kept
                });
                Place::Kept
            }
            Some(("L", Tree::List(items))) => {
                for (i, item) in items.iter_mut().enumerate() {
                    let named = first.is_index(i) && self.attribute(item, rest) == Place::Gone;
                    let may_hold = matches!(typed_mut(item), Some(("M", _))) || holds_json_text(item);
                    let below = !named && first.goes_through_lists(may_hold);
                    if named || (below && self.attribute(item, path) == Place::Gone) {
                        *item = null_attribute();
                    }
                }
                Place::Kept
            }
            // The elements of a set are hidden together: they have no places, and none would be left.
            Some(("SS" | "NS" | "BS", Tree::List(elements))) => {
                let named = first.is_place() && rest.is_empty();
                if (named || elements.iter().any(may_be_json)) && self.hide_attribute(value) == Place::Gone {
                    *value = null_attribute();
                }
                Place::Kept
            }
            Some(("S", text @ Tree::Text(_))) if may_be_json(text) => self.hide_attribute(value),
            Some(("S" | "N" | "B", Tree::Text(_)) | ("BOOL" | "NULL", Tree::Bool(_))) => Place::Kept,
            // None of DynamoDB's.
            _ => self.hide_attribute(value),
        }
    }

    fn value(&mut self, tree: &mut Tree<'_>, path: &[Segment]) -> Place {
        let Some((first, rest)) = path.split_first() else {
            return self.hide_json(tree);
        };
        match tree {
            Tree::Object(members) => {
                members.retain_mut(|(name, inner)| {
                    !first.is_name(name) || self.value(inner, rest) == Place::Kept
                });
            }
            Tree::List(items) => {
                for (i, item) in items.iter_mut().enumerate() {
                    let named = first.is_index(i) && self.value(item, rest) == Place::Gone;
                    let may_hold = matches!(item, Tree::Object(_)) || may_be_json(item);
                    let below = !named && first.goes_through_lists(may_hold);
                    if named || (below && self.value(item, path) == Place::Gone) {
                        *item = Tree::Null;
                    }
                }
            }
            text if may_be_json(text) => return self.hide_json(text),
            _ => {}
        }
        Place::Kept
    }

    fn hide_json(&mut self, value: &mut Tree<'_>) -> Place {
        self.hide(
            value,
            || Tree::text(MASK),
            |key, value| Tree::text(hash::json(key, value)),
        )
    }

    fn hide_attribute(&mut self, value: &mut Tree<'_>) -> Place {
        let mask = || Tree::Object(vec![(Cow::Borrowed("S"), Tree::text(MASK))]);
        self.hide(value, mask, hash::attribute)
    }

    fn hide<'t>(
        &mut self,
        value: &mut Tree<'t>,
        mask: impl Fn() -> Tree<'t>,
        hash: impl Fn(&hash::Key, &Tree<'t>) -> Tree<'t>,
    ) -> Place {
        self.hidden += 1;
        *value = match self.with {
            With::Remove => return Place::Gone,
            With::Mask => mask(),
            With::Hash(key) => hash(key, value),
        };
        Place::Kept
    }
}

/// Whether this is a text that holds JSON with fields, by its looks: what a path names may be one of them. Such a text
/// may have been written as JSON once more, in quotes.
fn may_be_json(value: &Tree<'_>) -> bool {
    let around = |c: char| c.is_whitespace() || matches!(c, '\u{feff}' | '"' | '\\');
    value
        .as_text()
        .is_some_and(|text| text.trim_start_matches(around).starts_with(['{', '[']))
}

/// The same of an attribute.
fn holds_json_text(attribute: &mut Tree<'_>) -> bool {
    matches!(typed_mut(attribute), Some(("S", text)) if may_be_json(text))
}

fn typed_mut<'t, 'a>(value: &'t mut Tree<'a>) -> Option<(&'t str, &'t mut Tree<'a>)> {
    let Tree::Object(types) = value else {
        return None;
    };
    match types.as_mut_slice() {
        [(kind, inner)] => Some((kind, inner)),
        _ => None,
    }
}

fn null_attribute<'a>() -> Tree<'a> {
    Tree::Object(vec![(Cow::Borrowed("NULL"), Tree::Bool(true))])
}
