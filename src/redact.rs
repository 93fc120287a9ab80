//! What a pipeline hides in its events: paths that are removed, masked or hashed, and the literals of SQL.
//!
//! Pure.

use crate::json::Tree;

/// A pipeline's rules of what is hidden.
#[derive(Clone, Debug, PartialEq)]
pub struct Redaction {}

/// What kind of document a path is looked for in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A DynamoDB change: paths begin at `Keys`, `NewImage`, `OldImage`, and see through the types of attributes.
    Change,
    /// The fields of an audit line.
    Audit,
    /// Any other JSON.
    Json,
}

impl Redaction {
    pub fn apply(&self, _document: &mut Tree<'_>, _content: Content) {}
}
