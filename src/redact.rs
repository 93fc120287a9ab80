//! What a pipeline hides in its events: paths that are removed, masked or hashed, and the literals of SQL.
//!
//! Pure. Owns the order of the steps: an audit line that could not be read is withheld as a whole, then the
//! literals of SQL, then the paths in the order of their rules. Never makes an event that its readers could not
//! read before: a change stays a valid record of Lambda's, JSON stays JSON. Called by `shape`.

mod hash;
mod path;
mod sql;
mod walk;

use std::borrow::Cow;

pub use hash::{Key, NoKey};
pub use path::{NoPath, Path, Segment};

use crate::decode::Decode;
use crate::digest;
use crate::json::Tree;

/// The parts of a change in which paths begin.
pub const PARTS: [&str; 3] = ["Keys", "NewImage", "OldImage"];

/// A pipeline's rules of what is hidden.
#[derive(Clone, Debug, PartialEq)]
pub struct Redaction {
    rules: Vec<Rule>,
    sql: bool,
}

/// What becomes of the values at one path.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub path: Path,
    pub with: With,
}

/// How a value is hidden.
#[derive(Clone, Debug, PartialEq)]
pub enum With {
    /// `***` stands in its place, whatever its type was.
    Mask,
    /// The member is gone. In a list null stands in its place, so that the others keep theirs.
    Remove,
    /// A keyed hash stands in its place: equal values have equal ones.
    Hash(Key),
}

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
    /// These rules, each applied to what the ones before it left; and whether the literals of SQL are masked.
    /// `None` where that hides nothing.
    pub fn new(rules: Vec<Rule>, sql: bool) -> Option<Self> {
        (sql || !rules.is_empty()).then_some(Self { rules, sql })
    }

    /// Hides in `document` what the rules name, and tells whether that was anything: else it is as it was. A path that
    /// matches nothing changes nothing; of a name that stands twice, all members are treated.
    ///
    /// Applied twice, what is hashed is hashed twice.
    pub fn apply(&self, document: &mut Tree<'_>, content: Content) -> bool {
        let mut changed = false;
        let mut account = None;
        if content == Content::Audit {
            changed |= withhold_unread(document);
            if self.sql {
                changed |= mask_sql(document);
            }
            account = self.rule_of_accounts().filter(|_| holds_account(document));
        }
        for rule in &self.rules {
            let segments = rule.path.segments();
            let hidden = match content {
                Content::Change => walk::change(document, segments, &rule.with),
                Content::Audit | Content::Json => walk::json(document, segments, &rule.with),
            };
            changed |= hidden > 0;
        }
        if let Some(rule) = account {
            let object = [Segment::Name("object".to_owned())];
            changed |= walk::json(document, &object, &rule.with) > 0;
        }
        changed
    }

    /// What hides the user or the host of an audit line, where nothing hides its `object`.
    fn rule_of_accounts(&self) -> Option<&Rule> {
        let covers = |rule: &Rule, name: &str| rule.path.covers(&[Segment::Name(name.to_owned())]);
        let mut rules = self.rules.iter();
        match self.rules.iter().any(|rule| covers(rule, "object")) {
            true => None,
            false => rules.find(|rule| covers(rule, "username") || covers(rule, "host")),
        }
    }

    /// The paths that hide a value in one image of a change and leave it in the other: what is hidden as the new
    /// value is told as the old one at the next change. As they are set, in their order.
    pub fn one_sided(&self) -> Vec<String> {
        let one_sided = |path: &Path| {
            let other = match path.segments().first() {
                Some(Segment::Name(name)) if name == "NewImage" => "OldImage",
                Some(Segment::Name(name)) if name == "OldImage" => "NewImage",
                _ => return false,
            };
            let twin = path.beginning_with(other);
            !self.rules.iter().any(|rule| rule.path.covers(&twin))
        };
        let paths = self.rules.iter().map(|rule| &rule.path);
        paths
            .filter(|path| one_sided(path))
            .map(|path| path.as_str().to_owned())
            .collect()
    }

    /// The paths below `Keys` that would hide an attribute there, which is hidden in an image alone. If that is one
    /// of the key's, `Keys` tells it.
    pub fn open_keys(&self) -> Vec<String> {
        let mut open = Vec::new();
        for Rule { path, .. } in &self.rules {
            let in_image = match path.segments() {
                [Segment::Name(first), _] => first == "NewImage" || first == "OldImage",
                _ => false,
            };
            let twin = path.beginning_with("Keys");
            if in_image && !self.rules.iter().any(|rule| rule.path.covers(&twin)) {
                let (_, attribute) = path.as_str().split_once('.').unwrap_or_default();
                open.push(format!("Keys.{attribute}"));
            }
        }
        open.sort();
        open.dedup();
        open
    }

    /// Sentences on paths that look like those of `filter`, which begin outside of the message.
    pub fn suspicious(&self, decode: Decode) -> Vec<String> {
        /// What patterns see beside `data`.
        const AROUND: [&str; 6] = [
            "partitionKey",
            "sequenceNumber",
            "approximateArrivalTimestamp",
            "logGroup",
            "logStream",
            "owner",
        ];
        if !matches!(decode, Decode::Json | Decode::Subscription | Decode::Auto) {
            return Vec::new();
        }
        let doubt = |path: &Path| match path.segments() {
            [Segment::Name(first), _, ..] if first == "data" => {
                let (_, inside) = path.as_str().split_once('.').unwrap_or_default();
                Some(format!(
                    "`{path}` begins with `data`, as paths of `filter` do; those of `redact` begin inside the message: \
                     unless that has a field `data`, write `{inside}`",
                    path = path.as_str()
                ))
            }
            [Segment::Name(first), ..] if AROUND.contains(&first.as_str()) => Some(format!(
                "`{path}` begins with `{first}`, which `filter` sees beside the message; paths of `redact` begin inside \
                 it: unless it has a field `{first}`, nothing is hidden",
                path = path.as_str()
            )),
            _ => None,
        };
        self.rules.iter().filter_map(|rule| doubt(&rule.path)).collect()
    }
}

/// Puts hash and length into the place of an audit line that could not be read. Such a message has the line in
/// `message`, the reason in `error`, and no operation.
fn withhold_unread(document: &mut Tree<'_>) -> bool {
    let unread = document.get("error").is_some() && document.get("operation").is_none();
    let Tree::Object(members) = document else {
        return false;
    };
    if !unread {
        return false;
    }
    let mut changed = false;
    for (name, value) in members.iter_mut().filter(|(name, _)| name == "message") {
        let line = match &*value {
            Tree::Text(line) => line.to_string(),
            other => other.to_string(),
        };
        *name = Cow::Borrowed("withheld");
        *value = Tree::Object(vec![
            (
                Cow::Borrowed("sha256"),
                Tree::text(digest::sha256(line.as_bytes())),
            ),
            (
                Cow::Borrowed("length"),
                Tree::Number(Cow::Owned(line.len().to_string())),
            ),
        ]);
        changed = true;
    }
    changed
}

/// Whether the `object` is an account, with its user's name and its host.
fn holds_account(document: &Tree<'_>) -> bool {
    const OF_ACCOUNTS: [&str; 4] = ["PROXY_CONNECT", "CHANGE_USER", "CHANGE_USER_DONE", "CHANGEUSER"];
    let operation = document.get("operation").and_then(Tree::as_text);
    operation.is_some_and(|operation| OF_ACCOUNTS.contains(&operation))
}

/// Masks the literals of the statement in the `object` of a QUERY. The object of any other operation is a name.
fn mask_sql(document: &mut Tree<'_>) -> bool {
    if document.get("operation").and_then(Tree::as_text) != Some("QUERY") {
        return false;
    }
    let Tree::Object(members) = document else {
        return false;
    };
    let mut changed = false;
    for (_, value) in members.iter_mut().filter(|(name, _)| name == "object") {
        if let Tree::Text(statement) = value
            && let Cow::Owned(masked) = sql::mask(statement)
        {
            *statement = Cow::Owned(masked);
            changed = true;
        }
    }
    changed
}

#[cfg(test)]
mod tests;
