//! What is wrong with the settings, all of it at once.

use std::borrow::Cow;
use std::fmt;

/// The most of a wrong value that a message repeats, in characters. Enough to recognise it by.
const SHOWN: usize = 100;

/// One thing that is wrong, and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The full key in the file, or the flag and the variable it came from.
    pub key: String,
    /// The value as given, variables replaced. `None` where there is none, or more than one.
    pub given: Option<String>,
    /// What is wrong with it and what to do; it reads on from the value.
    pub what: String,
}

impl Problem {
    pub fn new(key: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            given: None,
            what: what.into(),
        }
    }

    pub fn with(key: impl Into<String>, given: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            given: Some(given.into()),
            what: what.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.key)?;
        if let Some(given) = &self.given {
            // A line break or a control character must not take the message apart.
            f.write_str("`")?;
            let given = without_password(given);
            for c in given.chars().take(SHOWN) {
                if c.is_control() {
                    write!(f, "{}", c.escape_default())?
                } else {
                    write!(f, "{c}")?
                }
            }
            f.write_str(if given.chars().nth(SHOWN).is_some() {
                "…` "
            } else {
                "` "
            })?;
        }
        f.write_str(&self.what)
    }
}

/// The text without what stands before the `@` of a URL: that may be a password, and the message goes to a log.
fn without_password(given: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = given.split_once("://") else {
        return Cow::Borrowed(given);
    };
    match rest.rsplit_once('@') {
        Some((_, host)) => Cow::Owned(format!("{scheme}://…@{host}")),
        None => Cow::Borrowed(given),
    }
}

/// Every problem found: at least one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    /// One a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_repeats_no_password_of_a_url() {
        for (given, told) in [
            ("https://me:secret@host:4318/x", "`https://…@host:4318/x`"),
            ("https://me:se@cret@host", "`https://…@host`"),
            ("https://host/x", "`https://host/x`"),
            ("me@host", "`me@host`"),
        ] {
            let problem = Problem::with("tracing.otlp_endpoint", given, "is wrong").to_string();
            assert_eq!(problem, format!("tracing.otlp_endpoint: {told} is wrong"));
        }
    }
}
