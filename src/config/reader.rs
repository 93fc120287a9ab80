//! Walks a parsed file, section by section, and keeps every problem it meets on the way.
//!
//! Owns what holds for all keys: full paths, variables, kinds of value, unknown keys. Knows no key by name:
//! a key is known because [`Section`] was asked for it. Called by `file`.

use serde_json::{Map, Value};

use super::Vars;
use super::check::Checked;
use super::interpolate::interpolate;
use super::problem::Problem;
use crate::suggest;

const NO_VALUE: &str = "has no value: give one, or remove the key";
const NO_TEXT: &str = "is not a text to YAML: put it in quotes";

/// The keys below one path. [`Self::read`] ends with the keys nobody asked for.
pub struct Section<'v> {
    path: String,
    /// The key that stands for the section itself: that of a list's item, where it is written as a single value.
    short: Option<&'static str>,
    values: Map<String, Value>,
    asked: Vec<&'static str>,
    vars: Vars<'v>,
    problems: Vec<Problem>,
}

impl<'v> Section<'v> {
    /// Reads the whole of a file by `walk`.
    pub fn read<T>(value: Value, vars: Vars<'v>, walk: impl FnOnce(&mut Self) -> T) -> (T, Vec<Problem>) {
        let mut top = Self::at(String::new(), Map::new(), vars);
        match value {
            Value::Object(values) => top.values = values,
            Value::Null => {}
            _ => top.problems.push(Problem::new(
                "the file",
                "must hold keys, beginning with `pipelines:`",
            )),
        }
        let read = walk(&mut top);
        (read, top.close())
    }

    fn at(path: String, values: Map<String, Value>, vars: Vars<'v>) -> Self {
        Self {
            path,
            short: None,
            values,
            asked: Vec::new(),
            vars,
            problems: Vec::new(),
        }
    }

    /// The full path of a key of this section.
    pub fn path_of(&self, key: &str) -> String {
        if self.short == Some(key) {
            self.path.clone()
        } else if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Adds a problem of a key of this section.
    pub fn problem(&mut self, key: &str, what: impl Into<String>) {
        let path = self.path_of(key);
        self.problems.push(Problem::new(path, what));
    }

    /// Adds a problem of the section as a whole.
    pub fn problem_here(&mut self, what: impl Into<String>) {
        self.problems.push(Problem::new(self.path.clone(), what));
    }

    /// As [`Self::problem`], with the value as it would stand in the file.
    pub fn problem_with(&mut self, key: &str, given: impl Into<String>, what: impl Into<String>) {
        let path = self.path_of(key);
        self.problems.push(Problem::with(path, given, what));
    }

    pub fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// The names in this section, where the user chooses them.
    pub fn names(&self) -> Vec<String> {
        self.values.keys().cloned().collect()
    }

    /// Reads a section below this one; an absent one is empty.
    pub fn section<T>(&mut self, key: &'static str, walk: impl FnOnce(&mut Self) -> T) -> T {
        self.asked.push(key);
        self.below(key, walk)
    }

    /// Reads a section whose name is the user's.
    pub fn named<T>(&mut self, name: &str, walk: impl FnOnce(&mut Self) -> T) -> T {
        self.below(name, walk)
    }

    fn below<T>(&mut self, key: &str, walk: impl FnOnce(&mut Self) -> T) -> T {
        let (values, wrong) = match self.values.remove(key) {
            None => (Map::new(), None),
            Some(Value::Object(values)) => (values, None),
            Some(Value::Null) => (Map::new(), Some("has nothing below it: add keys, or remove it")),
            Some(_) => (Map::new(), Some("must hold keys of its own, indented below it")),
        };
        let mut below = Self::at(self.path_of(key), values, self.vars);
        let read = walk(&mut below);
        // What a wrong section lacks is not a second problem: of what `walk` reports, nothing is kept.
        let mut found = match wrong {
            Some(what) => vec![Problem::new(below.path, what)],
            None => below.close(),
        };
        self.problems.append(&mut found);
        read
    }

    /// Reads a list, each of its items as a section, whose keys are told like `redact[0].with`. An item that is
    /// a single value is a section of the key `short` alone. An absent list is empty, and so is a wrong one,
    /// which is a problem.
    pub fn list<T>(
        &mut self,
        key: &'static str,
        short: &'static str,
        walk: impl Fn(&mut Self) -> T,
    ) -> Vec<T> {
        let wrong = match self.take(key) {
            None => return Vec::new(),
            Some(Value::Array(items)) if items.is_empty() => {
                "is an empty list: add an item, or remove the key"
            }
            Some(list @ Value::Array(_)) => {
                let items = one_or_many(key, list).into_iter();
                return items
                    .map(|(name, item)| self.item(&name, item, short, &walk))
                    .collect();
            }
            Some(_) => "must be a list: write each item behind a dash, or all between [ and ]",
        };
        self.problem(key, wrong);
        Vec::new()
    }

    fn item<T>(
        &mut self,
        name: &str,
        item: Value,
        short: &'static str,
        walk: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let (values, short) = match item {
            Value::Object(values) => (values, None),
            single => (Map::from_iter([(short.to_owned(), single)]), Some(short)),
        };
        let mut item = Self::at(self.path_of(name), values, self.vars);
        item.short = short;
        let read = walk(&mut item);
        self.problems.append(&mut item.close());
        read
    }

    /// A text that no problem may show.
    pub fn secret<T>(&mut self, key: &'static str, check: impl Fn(&str) -> Checked<T>) -> Option<T> {
        let read = match self.take(key)? {
            Value::String(text) => match interpolate(&text, self.vars) {
                Ok(secret) => check(&secret),
                Err(_) => Err(match variable(&text) {
                    // Of a text that is nothing but a variable, its name may be told. No default is a secret.
                    Some(name) => format!("the environment variable `{name}` is not set: set it"),
                    None => "holds a `${` that is no variable which is set: write `$${` for a literal one"
                        .to_owned(),
                }),
            },
            _ => Err(NO_TEXT.to_owned()),
        };
        read.map_err(|what| self.problem(key, what)).ok()
    }

    /// A value that is a text. `None` if it is absent or wrong; wrong is a problem.
    pub fn text<T>(&mut self, key: &'static str, check: impl Fn(&str) -> Checked<T>) -> Option<T> {
        let value = self.take(key)?;
        self.text_in(key, value, check)
    }

    /// A text whose key is the user's.
    pub fn named_text<T>(&mut self, name: &str, check: impl Fn(&str) -> Checked<T>) -> Option<T> {
        let value = self.values.remove(name)?;
        self.text_in(name, value, check)
    }

    fn text_in<T>(&mut self, key: &str, value: Value, check: impl Fn(&str) -> Checked<T>) -> Option<T> {
        if let Value::Number(_) | Value::Bool(_) = value {
            // YAML has already read it: `1.10` is 1.1 by now, and what was meant can't be told.
            self.problem_with(key, value.to_string(), NO_TEXT);
            return None;
        }
        self.checked(key, value, check)
    }

    /// A value that may be a number or a boolean. `None` if it is absent or wrong; wrong is a problem.
    pub fn scalar<T>(&mut self, key: &'static str, check: impl Fn(&str) -> Checked<T>) -> Option<T> {
        let value = self.take(key)?;
        self.checked(key, value, check)
    }

    /// A list of texts, or one alone. Absent is empty; `None` if one of them is wrong, which is a problem.
    pub fn texts<T>(&mut self, key: &'static str, check: impl Fn(&str) -> Checked<T>) -> Option<Vec<T>> {
        let Some(value) = self.take(key) else {
            return Some(Vec::new());
        };
        // Collected in two steps: a later one's problems are wanted too.
        let read: Vec<_> = one_or_many(key, value)
            .into_iter()
            .map(|(name, item)| self.text_in(&name, item, &check))
            .collect();
        read.into_iter().collect()
    }

    /// A list of values of any kind, or one alone; variables are replaced in each text within, not in names.
    /// `None` if it is absent or wrong; wrong is a problem.
    pub fn values<T>(&mut self, key: &'static str, check: impl Fn(&[Value]) -> Checked<T>) -> Option<T> {
        let value = self.take(key)?;
        if value.is_null() {
            self.problem(key, NO_VALUE);
            return None;
        }
        let items = one_or_many(key, value).into_iter();
        let mut values: Vec<_> = items.map(|(_, item)| item).collect();
        let replaced = values.iter_mut().try_for_each(|value| replace(value, self.vars));
        replaced
            .and_then(|()| check(&values))
            .map_err(|what| self.problem(key, what))
            .ok()
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.asked.push(key);
        self.values.remove(key)
    }

    fn checked<T>(&mut self, key: &str, value: Value, check: impl Fn(&str) -> Checked<T>) -> Option<T> {
        let given = match value {
            Value::String(text) => match interpolate(&text, self.vars) {
                Ok(given) => given,
                Err(what) => {
                    self.problem(key, what);
                    return None;
                }
            },
            Value::Number(number) => number.to_string(),
            Value::Bool(boolean) => boolean.to_string(),
            Value::Null => {
                self.problem(key, NO_VALUE);
                return None;
            }
            Value::Array(_) | Value::Object(_) => {
                self.problem(key, "must be a single value, not a list or a section");
                return None;
            }
        };
        check(&given)
            .map_err(|what| self.problem_with(key, given, what))
            .ok()
    }

    fn close(mut self) -> Vec<Problem> {
        for (key, _) in std::mem::take(&mut self.values) {
            let what = format!("is not a known key: {}", suggest::one_of(&key, &self.asked));
            self.problem(&key, what);
        }
        self.problems
    }
}

/// The name of a list's item among the keys of a section.
pub fn item(key: &str, index: usize) -> String {
    format!("{key}[{index}]")
}

/// What stands at a key that may hold a list: each item with its name, or a value alone with the key's.
fn one_or_many(key: &str, value: Value) -> Vec<(String, Value)> {
    match value {
        Value::Array(items) => {
            let items = items.into_iter().enumerate();
            items.map(|(i, value)| (item(key, i), value)).collect()
        }
        one => vec![(key.to_owned(), one)],
    }
}

/// Replaces the variables in each text of a value.
fn replace(value: &mut Value, vars: Vars<'_>) -> Checked<()> {
    match value {
        Value::String(text) => {
            *text = interpolate(text, vars)?;
            Ok(())
        }
        Value::Array(items) => items.iter_mut().try_for_each(|item| replace(item, vars)),
        Value::Object(members) => members.values_mut().try_for_each(|item| replace(item, vars)),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

/// The name of the variable that a text is, and nothing else.
fn variable(text: &str) -> Option<&str> {
    let name = text.strip_prefix("${")?.strip_suffix('}')?;
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    (starts_well && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')).then_some(name)
}
