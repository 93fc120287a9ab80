//! The expressions of DynamoDB that Weir sends: comparisons joined by AND, SET and REMOVE. Anything else is an
//! error, so that a new form of request is noticed here and not taken for fulfilled.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

pub type Item = Map<String, Value>;

/// The expressions of one request.
pub struct Expressions<'a> {
    names: &'a Value,
    values: &'a Value,
    used: BTreeSet<String>,
}

impl<'a> Expressions<'a> {
    pub fn of(request: &'a Value) -> Self {
        Self {
            names: &request["ExpressionAttributeNames"],
            values: &request["ExpressionAttributeValues"],
            used: BTreeSet::new(),
        }
    }

    /// The real service refuses a request that names what none of its expressions uses.
    pub fn finish(self) -> Result<(), String> {
        for (what, given) in [("names", self.names), ("values", self.values)] {
            let Some(given) = given.as_object() else { continue };
            if given.is_empty() {
                return Err(format!("ExpressionAttribute {what} must not be empty"));
            }
            if let Some(unused) = given.keys().find(|key| !self.used.contains(*key)) {
                return Err(format!("{what} unused in expressions: {unused}"));
            }
        }
        Ok(())
    }

    fn name(&mut self, placeholder: &str) -> Result<String, String> {
        self.used.insert(placeholder.to_owned());
        let name = self.names[placeholder].as_str();
        name.map(str::to_owned)
            .ok_or_else(|| format!("an attribute name is not defined: {placeholder:?}"))
    }

    fn value(&mut self, placeholder: &str) -> Result<Value, String> {
        self.used.insert(placeholder.to_owned());
        match &self.values[placeholder] {
            Value::Null => Err(format!("an attribute value is not defined: {placeholder:?}")),
            value => Ok(value.clone()),
        }
    }

    /// Whether the row meets the condition.
    pub fn holds(&mut self, condition: &str, row: Option<&Item>) -> Result<bool, String> {
        let mut holds = true;
        // Each term is read, also after one that fails: what can't be read is an error.
        for term in condition.split(" AND ") {
            let attribute = |name: &str| row.and_then(|row| row.get(name));
            holds &= if let Some(name) = within(term, "attribute_exists") {
                attribute(&self.name(name)?).is_some()
            } else if let Some(name) = within(term, "attribute_not_exists") {
                attribute(&self.name(name)?).is_none()
            } else {
                let (name, value) = term
                    .split_once(" = ")
                    .ok_or_else(|| format!("the condition {term:?}"))?;
                let (name, value) = (self.name(name)?, self.value(value)?);
                attribute(&name) == Some(&value)
            };
        }
        Ok(holds)
    }

    /// The row after the update.
    pub fn update(&mut self, expression: &str, row: &Item) -> Result<Item, String> {
        let mut after = row.clone();
        let (sets, removes) = match expression.split_once("REMOVE ") {
            Some((sets, removes)) => (sets.trim(), removes),
            None => (expression, ""),
        };
        let mut touched = BTreeSet::new();
        let mut touch = |name: &str| match touched.insert(name.to_owned()) {
            true => Ok(()),
            false => Err(format!("two document paths overlap: {name}")),
        };
        if !sets.is_empty() {
            let sets = sets
                .strip_prefix("SET ")
                .ok_or_else(|| format!("the update {sets:?}"))?;
            for set in clauses(sets) {
                let (name, value) = set.split_once(" = ").ok_or_else(|| format!("the set {set:?}"))?;
                let name = self.name(name)?;
                touch(&name)?;
                let value = self.sum(value, row)?;
                storable(&value)?;
                after.insert(name, value);
            }
        }
        for name in clauses(removes) {
            let name = self.name(name)?;
            touch(&name)?;
            after.remove(&name);
        }
        Ok(after)
    }

    fn sum(&mut self, text: &str, row: &Item) -> Result<Value, String> {
        let Some((left, right)) = text.split_once(" + ") else {
            return self.operand(text, row);
        };
        let number = |value: Value| {
            let digits = value["N"].as_str().and_then(|n| n.parse::<i128>().ok());
            digits.ok_or_else(|| format!("an operand that is no number in {text:?}"))
        };
        let sum = number(self.operand(left, row)?)? + number(self.operand(right, row)?)?;
        Ok(serde_json::json!({ "N": sum.to_string() }))
    }

    fn operand(&mut self, text: &str, row: &Item) -> Result<Value, String> {
        if let Some(arguments) = within(text, "if_not_exists") {
            let (name, value) = arguments
                .split_once(", ")
                .ok_or_else(|| format!("the operand {text:?}"))?;
            let (name, value) = (self.name(name)?, self.value(value)?);
            return Ok(row.get(&name).cloned().unwrap_or(value));
        }
        self.value(text)
    }
}

fn within<'t>(term: &'t str, function: &str) -> Option<&'t str> {
    term.strip_prefix(function)?.strip_prefix('(')?.strip_suffix(')')
}

/// Cuts at the commas that stand in no brackets.
fn clauses(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    text.split(move |c| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    })
    .map(str::trim)
    .filter(|clause| !clause.is_empty())
}

/// Refuses what the service stores nowhere.
pub fn storable(value: &Value) -> Result<(), String> {
    let (kind, inner) = value
        .as_object()
        .filter(|v| v.len() == 1)
        .and_then(|v| v.iter().next())
        .ok_or_else(|| format!("the attribute value {value}"))?;
    match (kind.as_str(), inner) {
        ("S", Value::String(_)) | ("BOOL", Value::Bool(_)) => Ok(()),
        ("N", Value::String(digits)) if digits.parse::<f64>().is_ok() => Ok(()),
        ("SS", Value::Array(members)) => {
            let set: BTreeSet<_> = members.iter().filter_map(Value::as_str).collect();
            match set.len() {
                0 => Err("a string set may not be empty".to_owned()),
                n if n == members.len() => Ok(()),
                _ => Err(format!("the set contains duplicates: {inner}")),
            }
        }
        ("M", Value::Object(members)) => members.values().try_for_each(storable),
        _ => Err(format!("the attribute value {value}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row() -> Item {
        let row = json!({ "leaseCounter": { "N": "7" }, "leaseOwner": { "S": "me" } });
        row.as_object().unwrap().clone()
    }

    #[test]
    fn conditions_are_met_or_not_and_what_is_neither_is_an_error() {
        let request = json!({
            "ExpressionAttributeNames": { "#c": "leaseCounter", "#o": "leaseOwner", "#x": "other" },
            "ExpressionAttributeValues": { ":7": { "N": "7" }, ":8": { "N": "8" } },
        });
        for (condition, want) in [
            ("#c = :7", Ok(true)),
            ("#c = :8", Ok(false)),
            ("#c = :7 AND attribute_exists(#o)", Ok(true)),
            ("#c = :7 AND attribute_not_exists(#o)", Ok(false)),
            ("attribute_not_exists(#x)", Ok(true)),
            ("#c < :8", Err(())),
            ("#c = :7 OR #c = :8", Err(())),
            ("#c = :9", Err(())),
            ("#y = :7", Err(())),
        ] {
            let mut expressions = Expressions::of(&request);
            let got = expressions.holds(condition, Some(&row())).map_err(drop);
            assert_eq!(got, want, "{condition}");
        }
        assert!(
            Expressions::of(&request).finish().is_err(),
            "nothing of it was used"
        );
    }

    #[test]
    fn updates_set_count_and_remove() {
        let request = json!({
            "ExpressionAttributeNames": { "#c": "leaseCounter", "#o": "leaseOwner", "#s": "switches" },
            "ExpressionAttributeValues": { ":c": { "N": "8" }, ":0": { "N": "0" }, ":1": { "N": "1" } },
        });
        let mut expressions = Expressions::of(&request);
        let text = "SET #c = :c, #s = if_not_exists(#s, :0) + :1 REMOVE #o";
        let after = expressions.update(text, &row()).unwrap();
        assert_eq!(
            Value::Object(after),
            json!({ "leaseCounter": { "N": "8" }, "switches": { "N": "1" } })
        );
        expressions.finish().unwrap();
        for wrong in ["ADD #c :1", "SET #c = :c, #c = :1", "SET #c = #c + :1", "SET #c"] {
            let mut expressions = Expressions::of(&request);
            assert!(expressions.update(wrong, &row()).is_err(), "{wrong}");
        }
    }
}
