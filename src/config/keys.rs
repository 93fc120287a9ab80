//! Every key of the settings' file, described: what it may be, its default, what it means.
//!
//! Owns the words of the schema (`schema`) and of `docs/configuration.md`, and nothing that decides: what is read and
//! refused is `file`'s and `check`'s. That the two agree is tested, by asking the reader itself (`file/tests/keys.rs`):
//! the same keys in each section, the same words, the same bounds, the same defaults, and a verdict of both on right
//! and wrong values of each key. Pure.

mod pipeline;
mod top;

use std::ops::RangeInclusive;
use std::time::Duration;

use super::check;
use super::units::{show_duration, show_size};
pub use top::TOP;

/// A key and all that is told of it.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    pub kind: Kind,
    pub default: Default,
    /// A value as it may stand in a file, in YAML. Of a section or a map, the whole of it.
    pub example: &'static str,
    /// One or a few sentences, in Markdown.
    pub about: &'static str,
    /// Paragraphs for who wants to know more, in Markdown.
    pub more: &'static [&'static str],
}

/// What holds where the key is left out.
#[derive(Debug)]
pub enum Default {
    /// The same as this value, in YAML.
    Value(&'static str),
    /// What no value of the key says, in words.
    Words(&'static str),
    /// Nothing: it has to be there.
    Required,
    /// Nothing: one of the section's keys with this has to be there, and no other of them.
    Alternative,
}

/// What a value may be.
#[derive(Debug)]
pub enum Kind {
    Text(Form),
    /// One of these words.
    Word(&'static [&'static str]),
    Boolean,
    Duration(RangeInclusive<Duration>),
    Size(RangeInclusive<usize>),
    Number(RangeInclusive<u32>),
    /// A part of the whole, 0 to 1.
    Part,
    /// One of [`check::RETENTION_DAYS`].
    Days,
    /// One text, or a list of them.
    Texts,
    /// Names of the user's with texts.
    Tags,
    /// Patterns of Lambda's event filters.
    Filter,
    /// Paths, or sections of these keys.
    Rules(&'static [Key]),
    Section(&'static [Key]),
    /// Sections of these keys, under names of the user's.
    Named(&'static [Key]),
}

impl Kind {
    /// As the docs call it.
    pub fn words(&self) -> String {
        match self {
            Self::Text(form) => form.words.to_owned(),
            Self::Word(words) => {
                let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
                words.join(", ")
            }
            Self::Boolean => "`true`, `false`".to_owned(),
            Self::Duration(bounds) => format!(
                "duration, `{}` to `{}`",
                show_duration(*bounds.start()),
                show_duration(*bounds.end())
            ),
            Self::Size(bounds) => format!(
                "size, `{}` to `{}`",
                show_size(*bounds.start()),
                show_size(*bounds.end())
            ),
            Self::Number(bounds) => format!("{} to {}", bounds.start(), bounds.end()),
            Self::Part => "0 to 1".to_owned(),
            Self::Days => "days".to_owned(),
            Self::Texts => "text, or a list of texts".to_owned(),
            Self::Tags => format!("map of texts, {} at most", check::MOST_TAGS),
            Self::Filter => "pattern, or a list of up to five".to_owned(),
            Self::Rules(_) => "list of paths and sections".to_owned(),
            Self::Section(_) => "section".to_owned(),
            Self::Named(_) => "sections by name".to_owned(),
        }
    }

    /// The keys below.
    pub fn below(&self) -> &'static [Key] {
        match self {
            Self::Section(keys) | Self::Named(keys) | Self::Rules(keys) => keys,
            _ => &[],
        }
    }
}

/// What a text may be, as far as its shape tells.
#[derive(Debug)]
pub struct Form {
    /// As the docs call it.
    pub words: &'static str,
    /// The whole of it: a regular expression of what JSON Schema (ECMA-262), Python and Rust have in common.
    pub pattern: &'static str,
}

const fn form(words: &'static str, pattern: &'static str) -> Kind {
    Kind::Text(Form { words, pattern })
}

/// A key of a pipeline's name, a tag's and the like: what the names of these maps look like.
pub mod names {
    /// Of a pipeline.
    pub const PIPELINE: &str = "[A-Za-z0-9._-]{1,64}";
    /// Of a tag. Which letters count as such is the parser's to say.
    pub const TAG: &str = "[^!-*,;<>?\\[-^`{-~]{1,128}";
}

const ANY: &str = r"[\s\S]+";
const TABLE: &str = "[A-Za-z0-9_.-]{3,255}";
const REGION: &str = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?";
const ROLE: &str = r#"arn:[a-z0-9-]+:iam::[0-9]{12}:role/[^\s*?"\\$]*[^\s*?"\\$/]"#;
const EXTERNAL_ID: &str = "[A-Za-z0-9_+=,.@:/-]{2,1224}";
const KEY_ARN: &str = "arn:[a-z0-9-]+:kms:[a-z0-9-]+:[0-9]{12}:key/(mrk-[0-9A-Fa-f]{32}|[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})";
/// A key's ARN, an alias', an alias or an id.
const KMS: &str = "(arn:[a-z0-9-]+:kms:[a-z0-9-]+:[0-9]{12}:)?(alias/[A-Za-z0-9/_-]+|(key/)?(mrk-[0-9A-Fa-f]{32}|\
                   [0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}))";

/// The keys of where AWS is asked, and as whom: the same in three sections.
const fn region(default: &'static str) -> Key {
    Key {
        name: "region",
        kind: form("region", REGION),
        default: Default::Words(default),
        example: "eu-west-1",
        about: "The region that is asked.",
        more: &[],
    }
}

const fn role(example: &'static str) -> Key {
    Key {
        name: "assume_role_arn",
        kind: form("ARN of a role", ROLE),
        default: Default::Words("the credentials of the SDK's usual chain"),
        example,
        about: "The role to assume, also in another account.",
        more: &[],
    }
}

const EXTERNAL: Key = Key {
    name: "external_id",
    kind: form("text", EXTERNAL_ID),
    default: Default::Words("none"),
    example: "weir-prod",
    about: "Sent when the role is assumed.",
    more: &[],
};
