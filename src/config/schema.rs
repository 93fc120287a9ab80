//! The JSON Schema of the settings' file, made of [`crate::config::keys`].
//!
//! For editors, and for checks before a deployment: what it refuses, the parser refuses too; what needs to be known of
//! two keys at once, or of the world, only the parser tells. Of the dialect 2020-12, by keywords that draft 7 has as
//! well, which is what editors know. Pure.

use serde_json::{Map, Value, json};

use super::check;
use super::keys::{Default, Key, Kind, TOP, names};

/// A value that holds a variable: what it will be is not known yet.
const VARIABLE: &str = r"\$\{";

/// The schema.
pub fn schema() -> Value {
    let mut top = section(TOP);
    top.insert(
        "$schema".to_owned(),
        json!("https://json-schema.org/draft/2020-12/schema"),
    );
    top.insert("title".to_owned(), json!("The settings of weir"));
    top.insert(
        "description".to_owned(),
        json!(
            "Any value may hold ${VAR} or ${VAR:-default}, taken from the environment. Durations need a unit: ms, s, m, \
             h. So do sizes: KiB, MiB, GiB, KB, MB, GB."
        ),
    );
    Value::Object(top)
}

/// The schema as it is printed, and kept beside the examples.
pub fn text() -> String {
    format!("{:#}\n", schema())
}

fn section(keys: &[Key]) -> Map<String, Value> {
    let properties: Map<String, Value> = keys.iter().map(|key| (key.name.to_owned(), of(key))).collect();
    let required: Vec<&str> = keys
        .iter()
        .filter(|key| matches!(key.default, Default::Required))
        .map(|key| key.name)
        .collect();
    let mut section = Map::new();
    section.insert("type".to_owned(), json!("object"));
    section.insert("additionalProperties".to_owned(), json!(false));
    section.insert("properties".to_owned(), Value::Object(properties));
    if !required.is_empty() {
        section.insert("required".to_owned(), json!(required));
    }
    // Of the keys that name a stream, one.
    let streams: Vec<Value> = keys
        .iter()
        .filter(|key| matches!(key.default, Default::Alternative))
        .map(|key| json!({ "required": [key.name] }))
        .collect();
    if !streams.is_empty() {
        section.insert("oneOf".to_owned(), json!(streams));
    }
    section
}

fn of(key: &Key) -> Value {
    let mut of = kind(&key.kind);
    let mut description = key.about.to_owned();
    match &key.default {
        // In the words of the file: what stands there in quotes is a text.
        Default::Value(value) => {
            of.insert("default".to_owned(), parsed(value, &key.kind));
        }
        Default::Words(words) if key.kind.below().is_empty() => {
            description.push_str(&format!(" Default: {words}."));
        }
        Default::Words(_) | Default::Required | Default::Alternative => {}
    }
    if let Kind::Duration(_) | Kind::Size(_) = key.kind {
        description.push_str(&format!(" A {}.", key.kind.words()));
    }
    for paragraph in key.more {
        description.push_str("\n\n");
        description.push_str(paragraph);
    }
    of.insert("description".to_owned(), json!(description));
    Value::Object(of)
}

/// A default as JSON has it.
fn parsed(value: &str, kind: &Kind) -> Value {
    match kind {
        Kind::Boolean => json!(value == "true"),
        Kind::Number(_) | Kind::Days => value.parse::<u32>().map_or(Value::Null, Value::from),
        Kind::Part => value.parse::<f64>().map_or(Value::Null, Value::from),
        _ => json!(value.trim_matches('"')),
    }
}

/// A text of this shape, or one that holds a variable.
fn text_of(pattern: &str) -> Value {
    json!({ "type": "string", "pattern": format!("^({pattern})$|{VARIABLE}") })
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

fn kind(kind: &Kind) -> Map<String, Value> {
    object(match kind {
        Kind::Text(form) => text_of(form.pattern),
        Kind::Word(words) => json!({
            "anyOf": [{ "enum": words }, { "type": "string", "pattern": VARIABLE }],
        }),
        Kind::Boolean => json!({
            "type": ["boolean", "string"],
            "pattern": format!("^(true|false)$|{VARIABLE}"),
        }),
        Kind::Duration(_) => text_of(r"[0-9]+\s*(ms|s|m|h)"),
        Kind::Size(_) => text_of(r"[0-9]+\s*(KiB|MiB|GiB|KB|kB|MB|GB)"),
        // The bounds are of numbers, the pattern is of texts: each is silent of the other.
        Kind::Number(bounds) => json!({
            "type": ["integer", "string"],
            "minimum": bounds.start(),
            "maximum": bounds.end(),
            "pattern": format!("^[0-9]+$|{VARIABLE}"),
        }),
        Kind::Part => json!({
            "type": ["number", "string"],
            "minimum": 0,
            "maximum": 1,
            "pattern": format!("^[0-9.eE+-]+$|{VARIABLE}"),
        }),
        Kind::Days => {
            let words: Vec<String> = check::RETENTION_DAYS.iter().map(u16::to_string).collect();
            json!({
                "anyOf": [
                    { "enum": check::RETENTION_DAYS },
                    text_of(&words.join("|")),
                ],
            })
        }
        Kind::Texts => json!({
            "type": ["string", "array"],
            "minLength": 1,
            "items": { "type": "string", "minLength": 1 },
        }),
        Kind::Tags => json!({
            "type": "object",
            "maxProperties": check::MOST_TAGS,
            "propertyNames": { "pattern": format!("^({})$", names::TAG) },
            "additionalProperties": { "type": "string" },
        }),
        Kind::Filter => json!({
            "type": ["object", "string", "array"],
            "minItems": 1,
            "maxItems": crate::filter::MOST,
            "items": { "type": ["object", "string"] },
        }),
        Kind::Rules(keys) => {
            let path = keys.first().map(|key| Value::Object(self::kind(&key.kind)));
            json!({
                "type": "array",
                "minItems": 1,
                "items": { "anyOf": [path, section(keys)] },
            })
        }
        Kind::Section(keys) => Value::Object(section(keys)),
        Kind::Named(keys) => json!({
            "type": "object",
            "minProperties": 1,
            "propertyNames": { "pattern": format!("^({})$", names::PIPELINE) },
            "additionalProperties": section(keys),
        }),
    })
}
