//! Reading a row, so that what is wrong in it has a name.
//!
//! Pure.

use std::collections::BTreeMap;

use super::{Attr, Item};

/// A row that can't be read. It names the row and the attribute, for the person who must repair it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("row {key:?}: attribute `{attribute}` {problem}")]
pub struct ItemError {
    pub key: String,
    pub attribute: &'static str,
    pub problem: String,
}

/// An item being read: says which row and attribute is wrong.
pub struct Row<'a> {
    item: &'a Item,
    pub key: &'a str,
}

impl<'a> Row<'a> {
    pub fn of(item: &'a Item, key: &'static str) -> Result<Self, ItemError> {
        match item.get(key) {
            Some(Attr::S(value)) => Ok(Self { item, key: value }),
            other => Err(ItemError {
                key: String::new(),
                attribute: key,
                problem: describe("a string", other),
            }),
        }
    }

    pub fn error(&self, attribute: &'static str, problem: &str) -> ItemError {
        ItemError {
            key: self.key.to_owned(),
            attribute,
            problem: problem.to_owned(),
        }
    }

    pub fn needed<T>(
        &self,
        attribute: &'static str,
        read: impl Fn(&Self, &'static str) -> Result<Option<T>, ItemError>,
    ) -> Result<T, ItemError> {
        read(self, attribute)?.ok_or_else(|| self.error(attribute, "is missing"))
    }

    pub fn text(&self, attribute: &'static str) -> Result<Option<&'a str>, ItemError> {
        match self.item.get(attribute) {
            None => Ok(None),
            Some(Attr::S(value)) => Ok(Some(value)),
            other => Err(self.error(attribute, &describe("a string", other))),
        }
    }

    pub fn number<T: std::str::FromStr>(&self, attribute: &'static str) -> Result<Option<T>, ItemError> {
        match self.item.get(attribute) {
            None => Ok(None),
            Some(Attr::N(value)) => match value.parse() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(self.error(
                    attribute,
                    &format!("is {value}, which is no number Weir can hold"),
                )),
            },
            other => Err(self.error(attribute, &describe("a number", other))),
        }
    }

    pub fn flag(&self, attribute: &'static str) -> Result<Option<bool>, ItemError> {
        match self.item.get(attribute) {
            None => Ok(None),
            Some(Attr::Bool(value)) => Ok(Some(*value)),
            other => Err(self.error(attribute, &describe("a boolean", other))),
        }
    }

    pub fn counts(&self, attribute: &'static str) -> Result<BTreeMap<String, u64>, ItemError> {
        match self.item.get(attribute) {
            None => Ok(BTreeMap::new()),
            Some(Attr::Counts(counts)) => Ok(counts.clone()),
            other => Err(self.error(attribute, &describe("a map of numbers", other))),
        }
    }

    /// Sorted: DynamoDB's sets have no order.
    pub fn set(&self, attribute: &'static str) -> Result<Vec<&'a str>, ItemError> {
        match self.item.get(attribute) {
            None => Ok(Vec::new()),
            Some(Attr::Ss(members)) => {
                let mut members: Vec<&str> = members.iter().map(String::as_str).collect();
                members.sort_unstable();
                Ok(members)
            }
            other => Err(self.error(attribute, &describe("a set of strings", other))),
        }
    }
}

fn describe(wanted: &str, found: Option<&Attr>) -> String {
    match found {
        None => "is missing".to_owned(),
        Some(Attr::S(_)) => format!("is a string, not {wanted}"),
        Some(Attr::N(_)) => format!("is a number, not {wanted}"),
        Some(Attr::Bool(_)) => format!("is a boolean, not {wanted}"),
        Some(Attr::Ss(_)) => format!("is a set of strings, not {wanted}"),
        Some(Attr::Counts(_)) => format!("is a map of numbers, not {wanted}"),
    }
}
