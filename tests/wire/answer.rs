//! What a service answers.

use serde_json::{Map, Value, json};

/// A refusal, in a service's own words.
#[derive(Clone, Debug)]
pub struct Refused {
    pub status: u16,
    pub code: &'static str,
    pub message: String,
    /// Further members of the answer.
    pub more: Map<String, Value>,
}

impl Refused {
    pub fn body(&self) -> Value {
        let mut body = self.more.clone();
        body.insert("__type".into(), format!("com.amazonaws#{}", self.code).into());
        body.insert("message".into(), self.message.clone().into());
        body.into()
    }
}

pub type Answer = Result<Value, Refused>;

pub fn refused(code: &'static str, message: impl Into<String>) -> Refused {
    Refused {
        status: 400,
        code,
        message: message.into(),
        more: Map::new(),
    }
}

/// An answer without members.
pub fn nothing() -> Answer {
    Ok(json!({}))
}

/// A member of a request that must be a string; absent, it is empty.
pub fn text<'a>(body: &'a Value, name: &str) -> &'a str {
    body[name].as_str().unwrap_or_default()
}
