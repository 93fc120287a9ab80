//! Names of log groups and streams with fields in braces.
//!
//! Pure. Owns the syntax, the rules of the two kinds of name, and the escaping. `config` parses, a
//! consumer renders. A name that leaves here is one that CloudWatch Logs takes, or it is an error.
//!
//! # Syntax
//! `{field}` is replaced by the field's value, `{field:-default}` by `default` where the value is missing
//! or empty. `{{` and `}}` are literal braces.
//!
//! # Escaping
//! A character of a *value* that the kind of name can't hold becomes its UTF-8 bytes, each as a mark and
//! two upper-case hexadecimal digits; the mark itself is escaped too. So two values never give one name,
//! and the value can be read back. The mark of a stream is `%`, as in URLs; a group can't hold `%`, so
//! its mark is `#`: in a group `a b` becomes `a#20b`, and `a#b` becomes `a#23b`.

use std::fmt;

use crate::suggest;

/// The longest name of a log group or stream (API reference of CreateLogGroup and CreateLogStream).
pub const LONGEST_NAME: usize = 512;

/// Groups that begin with this are AWS's own (API reference of CreateLogGroup).
const RESERVED_PREFIX: &str = "aws/";

/// What a template names; the rules differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateKind {
    /// `[.\-_/#A-Za-z0-9]{1,512}`, not beginning with `aws/` (API reference of CreateLogGroup).
    Group,
    /// `[^:*]{1,512}` (API reference of CreateLogStream).
    Stream,
}

impl TemplateKind {
    fn holds(self, c: char) -> bool {
        match self {
            Self::Group => c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | '#'),
            Self::Stream => !matches!(c, ':' | '*'),
        }
    }

    fn mark(self) -> char {
        match self {
            Self::Group => '#',
            Self::Stream => '%',
        }
    }

    fn reserves(self, name: &str) -> bool {
        self == Self::Group && name.starts_with(RESERVED_PREFIX)
    }

    fn allowed(self) -> &'static str {
        match self {
            Self::Group => "letters, digits and . - _ / #",
            Self::Stream => "anything but : and *",
        }
    }
}

impl fmt::Display for TemplateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Group => "log group",
            Self::Stream => "log stream",
        })
    }
}

/// A field that a template may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    Application,
    Pipeline,
    /// A DynamoDB table.
    Table,
    /// A Kinesis stream's name.
    Stream,
    ShardId,
    Region,
    Account,
    /// Of the subscription envelope that an event came in: the account of its log group.
    Owner,
    /// Of the envelope.
    LogGroup,
    /// Of the envelope.
    LogStream,
    /// Of the envelope: the database cluster whose log group it is.
    Cluster,
    /// Of the envelope: the database instance whose log group or log stream it is.
    Instance,
}

impl Field {
    /// Every field there is.
    pub const ALL: [Field; 12] = [
        Self::Application,
        Self::Pipeline,
        Self::Table,
        Self::Stream,
        Self::ShardId,
        Self::Region,
        Self::Account,
        Self::Owner,
        Self::LogGroup,
        Self::LogStream,
        Self::Cluster,
        Self::Instance,
    ];

    /// As a template spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Application => "application",
            Self::Pipeline => "pipeline",
            Self::Table => "table",
            Self::Stream => "stream",
            Self::ShardId => "shard_id",
            Self::Region => "region",
            Self::Account => "account",
            Self::Owner => "owner",
            Self::LogGroup => "log_group",
            Self::LogStream => "log_stream",
            Self::Cluster => "cluster",
            Self::Instance => "instance",
        }
    }

    /// Whether every record of a shard has the same value. Those of an envelope differ from record to record.
    pub const fn is_constant_per_shard(self) -> bool {
        match self {
            Self::Application
            | Self::Pipeline
            | Self::Table
            | Self::Stream
            | Self::ShardId
            | Self::Region
            | Self::Account => true,
            Self::Owner | Self::LogGroup | Self::LogStream | Self::Cluster | Self::Instance => false,
        }
    }

    /// Whether every record of a stream has the same value.
    pub const fn is_constant_per_stream(self) -> bool {
        self.is_constant_per_shard() && !matches!(self, Self::ShardId)
    }

    /// Whether a subscription envelope tells it.
    pub const fn is_of_envelope(self) -> bool {
        !self.is_constant_per_shard()
    }

    /// Where the value comes from, where that is not plain; it reads on from "has no value here".
    const fn origin(self) -> &'static str {
        match self {
            Self::Cluster => " (only an envelope from a database cluster's log group has one)",
            Self::Instance => " (only an envelope from a database's log group has one)",
            Self::Owner | Self::LogGroup | Self::LogStream => " (only a subscription envelope has one)",
            Self::Application
            | Self::Pipeline
            | Self::Table
            | Self::Stream
            | Self::ShardId
            | Self::Region
            | Self::Account => "",
        }
    }

    fn parse(name: &str) -> Result<Self, TemplateError> {
        Self::ALL
            .into_iter()
            .find(|f| f.as_str() == name)
            .ok_or_else(|| TemplateError::UnknownField {
                name: name.to_owned(),
                hint: suggest::one_of(name, &Self::ALL.map(Self::as_str)),
            })
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The values of the fixed set of fields. All but the envelope's are known per shard.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    pub application: &'a str,
    pub pipeline: &'a str,
    /// Of a DynamoDB stream.
    pub table: Option<&'a str>,
    /// The name of a Kinesis stream.
    pub stream: Option<&'a str>,
    pub shard_id: &'a str,
    pub region: Option<&'a str>,
    pub account: Option<&'a str>,
    /// What the event came in. `None`: in none.
    pub envelope: Option<EnvelopeFields<'a>>,
}

/// What a subscription envelope tells, as CloudWatch Logs names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnvelopeFields<'a> {
    pub owner: &'a str,
    pub log_group: &'a str,
    pub log_stream: &'a str,
    /// The database cluster whose log group it is, if it is one's.
    pub cluster: Option<&'a str>,
    /// The database instance, where group and stream tell it.
    pub instance: Option<&'a str>,
}

impl<'a> Fields<'a> {
    /// `None` for a value that is missing or empty.
    fn get(&self, field: Field) -> Option<&'a str> {
        match field {
            Field::Application => Some(self.application),
            Field::Pipeline => Some(self.pipeline),
            Field::Table => self.table,
            Field::Stream => self.stream,
            Field::ShardId => Some(self.shard_id),
            Field::Region => self.region,
            Field::Account => self.account,
            Field::Owner => self.envelope.map(|e| e.owner),
            Field::LogGroup => self.envelope.map(|e| e.log_group),
            Field::LogStream => self.envelope.map(|e| e.log_stream),
            Field::Cluster => self.envelope.and_then(|e| e.cluster),
            Field::Instance => self.envelope.and_then(|e| e.instance),
        }
        .filter(|value| !value.is_empty())
    }
}

/// Why a text is no template. A message reads on from the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("is empty: a {0} needs a name")]
    Empty(TemplateKind),
    #[error("names an unknown field `{name}`: {hint}")]
    UnknownField { name: String, hint: String },
    #[error("never closes the `{{` at character {0}: add a `}}`, or write `{{{{` for a literal brace")]
    Unclosed(usize),
    #[error(
        "closes nothing with the `}}` at character {0}: add a `{{` before it, or write `}}}}` for a literal brace"
    )]
    Unopened(usize),
    #[error("has an empty default for `{{{0}}}`: write one after `:-`, or leave the `:-` out")]
    EmptyDefault(Field),
    #[error("holds {character:?}, which a {kind} can't: use {}", kind.allowed())]
    Forbidden { kind: TemplateKind, character: char },
    #[error("begins with `aws/`, which AWS reserves: begin with something else (`/aws/` will do)")]
    Reserved,
    #[error("has {length} characters besides its fields, and a {kind} holds {LONGEST_NAME}: shorten it")]
    TooLong { kind: TemplateKind, length: usize },
}

/// Why a template has no valid name for these fields.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    #[error("the field `{0}` has no value here{origin}: give it a default, `{{{0}:-...}}`, or leave it out", origin = .0.origin())]
    Missing(Field),
    #[error("the name has {length} characters, and a {kind} holds {LONGEST_NAME}: shorten the template")]
    TooLong { kind: TemplateKind, length: usize },
    #[error("the name {0:?} begins with `aws/`, which AWS reserves: put something before it")]
    Reserved(String),
    #[error("the log stream {0:?} is that of the dead letters: name another for these, or for the events")]
    DeadLetters(String),
    #[error("the group {0:?} is none of those in `allow_groups`: add it there, if it is meant")]
    NotAllowed(String),
}

impl RenderError {
    /// The same without the names that a record chose.
    pub fn without_content(&self) -> String {
        let withheld = match self {
            Self::Missing(_) | Self::TooLong { .. } => return self.to_string(),
            Self::Reserved(_) => "the name begins with `aws/`, which AWS reserves",
            Self::DeadLetters(_) => "the log stream is that of the dead letters",
            Self::NotAllowed(_) => "the group is none of those in `allow_groups`",
        };
        format!("{withheld} (a redaction is set, and the record chose the name: it is withheld)")
    }
}

/// A parsed template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    kind: TemplateKind,
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Field { field: Field, default: Option<String> },
}

impl Template {
    /// Parses `text`; every literal character, defaults included, must be one that `kind` can hold.
    pub fn parse(text: &str, kind: TemplateKind) -> Result<Self, TemplateError> {
        let parts = parts(text)?;
        let literals = || {
            parts.iter().filter_map(|part| match part {
                Part::Literal(literal) => Some(literal.as_str()),
                Part::Field { default, .. } => default.as_deref(),
            })
        };
        if let Some(character) = literals().flat_map(str::chars).find(|&c| !kind.holds(c)) {
            return Err(TemplateError::Forbidden { kind, character });
        }
        match parts.first() {
            None => return Err(TemplateError::Empty(kind)),
            Some(Part::Literal(start)) if kind.reserves(start) => return Err(TemplateError::Reserved),
            Some(_) => {}
        }
        let length = parts
            .iter()
            .map(|part| match part {
                Part::Literal(literal) => literal.chars().count(),
                Part::Field { .. } => 0,
            })
            .sum();
        if length > LONGEST_NAME {
            return Err(TemplateError::TooLong { kind, length });
        }
        Ok(Self {
            kind,
            text: text.to_owned(),
            parts,
        })
    }

    /// The template `{field}`.
    pub fn of(field: Field, kind: TemplateKind) -> Self {
        Self {
            kind,
            text: format!("{{{field}}}"),
            parts: vec![Part::Field { field, default: None }],
        }
    }

    pub fn kind(&self) -> TemplateKind {
        self.kind
    }

    /// The text it was parsed from.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The fields it uses, in order, each as often as it stands there. None: one fixed name.
    pub fn fields(&self) -> impl Iterator<Item = Field> + '_ {
        self.parts.iter().filter_map(|part| match part {
            Part::Field { field, .. } => Some(*field),
            Part::Literal(_) => None,
        })
    }

    /// The fields it can't do without: those that have no default.
    pub fn required(&self) -> impl Iterator<Item = Field> + '_ {
        self.parts.iter().filter_map(|part| match part {
            Part::Field { field, default: None } => Some(*field),
            Part::Field { .. } | Part::Literal(_) => None,
        })
    }

    /// Whether the name depends on the envelope an event came in. If not, a shard has one name for all its
    /// events.
    pub fn uses_envelope(&self) -> bool {
        self.fields().any(Field::is_of_envelope)
    }

    /// The name with `stand_in` for each field.
    pub fn with_fields_as(&self, stand_in: &str) -> String {
        let parts = self.parts.iter().map(|part| match part {
            Part::Literal(literal) => literal.as_str(),
            Part::Field { .. } => stand_in,
        });
        parts.collect()
    }

    /// The name with `*` for each field that differs within a stream, and for those that are not known: a pattern
    /// that every name matches.
    pub fn pattern(&self, fields: &Fields<'_>) -> String {
        let mut name = String::with_capacity(self.text.len());
        for part in &self.parts {
            match part {
                Part::Literal(literal) => name.push_str(literal),
                Part::Field { field, .. } if !field.is_constant_per_stream() => name.push('*'),
                Part::Field { field, .. } => match fields.get(*field) {
                    Some(value) => escape(value, self.kind, &mut name),
                    None => name.push('*'),
                },
            }
        }
        name
    }

    /// The name for these fields, which CloudWatch Logs takes as it is.
    pub fn render(&self, fields: &Fields<'_>) -> Result<String, RenderError> {
        let mut name = String::with_capacity(self.text.len());
        for part in &self.parts {
            match part {
                Part::Literal(literal) => name.push_str(literal),
                Part::Field { field, default } => match (fields.get(*field), default) {
                    (Some(value), _) => escape(value, self.kind, &mut name),
                    (None, Some(default)) => name.push_str(default),
                    (None, None) => return Err(RenderError::Missing(*field)),
                },
            }
        }
        let length = name.chars().count();
        if length > LONGEST_NAME {
            return Err(RenderError::TooLong {
                kind: self.kind,
                length,
            });
        }
        // A field may spell the reserved beginning that `parse` refuses in a literal.
        if self.kind.reserves(&name) {
            return Err(RenderError::Reserved(name));
        }
        Ok(name)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Takes the syntax apart. No part is empty.
fn parts(text: &str) -> Result<Vec<Part>, TemplateError> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(brace) = rest.find(['{', '}']) {
        let (before, from_brace) = rest.split_at(brace);
        literal.push_str(before);
        let at = text[..text.len() - from_brace.len()].chars().count() + 1;
        rest = if let Some(after) = from_brace.strip_prefix("{{") {
            literal.push('{');
            after
        } else if let Some(after) = from_brace.strip_prefix("}}") {
            literal.push('}');
            after
        } else if let Some(inside) = from_brace.strip_prefix('{') {
            // A second `{` before the `}` means that the first one was left open.
            let end = inside
                .find(['{', '}'])
                .filter(|&end| inside[end..].starts_with('}'));
            let end = end.ok_or(TemplateError::Unclosed(at))?;
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(field(&inside[..end])?);
            &inside[end + 1..]
        } else {
            return Err(TemplateError::Unopened(at));
        };
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        parts.push(Part::Literal(literal));
    }
    Ok(parts)
}

/// `field` or `field:-default`.
fn field(inside: &str) -> Result<Part, TemplateError> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let field = Field::parse(name)?;
    // An empty default could leave nothing of a name.
    if default == Some("") {
        return Err(TemplateError::EmptyDefault(field));
    }
    Ok(Part::Field {
        field,
        default: default.map(str::to_owned),
    })
}

fn escape(value: &str, kind: TemplateKind, into: &mut String) {
    const HEX: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
    ];
    for c in value.chars() {
        if kind.holds(c) && c != kind.mark() {
            into.push(c);
        } else {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                into.push(kind.mark());
                into.push(HEX[usize::from(byte >> 4)]);
                into.push(HEX[usize::from(byte & 15)]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::TemplateKind::{Group, Stream};
    use super::*;

    const FIELDS: Fields<'static> = Fields {
        application: "weir",
        pipeline: "orders",
        table: Some("orders-table"),
        stream: None,
        shard_id: "shardId-00000001573081276000-9a8f9ff6",
        region: Some("eu-west-1"),
        account: None,
        envelope: None,
    };

    const ENVELOPE: EnvelopeFields<'static> = EnvelopeFields {
        owner: "444455556666",
        log_group: "/app:x",
        log_stream: "a*b",
        cluster: None,
        instance: None,
    };

    fn render(text: &str, kind: TemplateKind) -> Result<String, RenderError> {
        Template::parse(text, kind).unwrap().render(&FIELDS)
    }

    #[test]
    fn a_name_that_a_record_chose_can_be_left_out_of_the_reason() {
        for error in [
            RenderError::Reserved("aws/secret".into()),
            RenderError::DeadLetters("secret".into()),
            RenderError::NotAllowed("/db/secret".into()),
        ] {
            assert!(error.to_string().contains("secret"));
            let told = error.without_content();
            assert!(!told.contains("secret") && told.contains("withheld"), "{told}");
        }
        let missing = RenderError::Missing(Field::Cluster);
        assert_eq!(missing.without_content(), missing.to_string());
    }

    #[test]
    fn fields_are_replaced_and_the_rest_stays() {
        for (text, kind, name) in [
            ("/cdc/orders", Group, "/cdc/orders"),
            ("{shard_id}", Stream, "shardId-00000001573081276000-9a8f9ff6"),
            ("/cdc/{region}/{table}", Group, "/cdc/eu-west-1/orders-table"),
            ("{application}/{pipeline}", Stream, "weir/orders"),
            ("{account:-none}/{table:-none}", Stream, "none/orders-table"),
            ("{{{table}}}", Stream, "{orders-table}"),
            ("{{table}}", Stream, "{table}"),
            ("é{table}é", Stream, "éorders-tableé"),
        ] {
            assert_eq!(render(text, kind).as_deref(), Ok(name), "{text}");
        }
    }

    #[test]
    fn a_missing_field_without_a_default_is_told_by_name() {
        assert_eq!(
            render("/cdc/{account}", Group),
            Err(RenderError::Missing(Field::Account))
        );
        let empty = Fields {
            table: Some(""),
            ..FIELDS
        };
        let t = Template::parse("{table:-none}", Stream).unwrap();
        assert_eq!(
            t.render(&empty).unwrap(),
            "none",
            "an empty value is a missing one"
        );
    }

    #[test]
    fn an_envelope_gives_its_fields() {
        let with = |text: &str, envelope| {
            let fields = Fields {
                envelope: Some(envelope),
                ..FIELDS
            };
            Template::parse(text, Stream).unwrap().render(&fields)
        };
        let audit = EnvelopeFields {
            cluster: Some("shop"),
            instance: Some("shop-1"),
            ..ENVELOPE
        };
        for (text, envelope, name) in [
            ("/db/{cluster}/audit", audit, "/db/shop/audit"),
            ("{instance}", audit, "shop-1"),
            ("{cluster:-none}/{instance:-none}", ENVELOPE, "none/none"),
            (
                "{owner}{log_group}/{log_stream}",
                ENVELOPE,
                "444455556666/app%3Ax/a%2Ab",
            ),
        ] {
            assert_eq!(with(text, envelope).as_deref(), Ok(name), "{text} {envelope:?}");
        }
        for field in ["cluster", "instance"] {
            let error = with(&format!("{{{field}}}"), ENVELOPE).unwrap_err().to_string();
            assert!(error.contains("(only an envelope from a database"), "{error}");
        }
        let error = render("{owner}", Stream).unwrap_err().to_string();
        assert_eq!(
            error,
            "the field `owner` has no value here (only a subscription envelope has one): give it a default, \
             `{owner:-...}`, or leave it out"
        );
    }

    #[test]
    fn only_the_envelopes_fields_change_within_a_shard() {
        let of = |text: &str| Template::parse(text, Stream).unwrap();
        assert!(!of("{stream}/{shard_id}/{table:-x}").uses_envelope());
        assert!(of("{stream}/{instance:-x}").uses_envelope());
        assert_eq!(
            of("{stream}/{table:-x}/{owner}").required().collect::<Vec<_>>(),
            [Field::Stream, Field::Owner]
        );
    }

    #[test]
    fn characters_a_name_cannot_hold_are_escaped_in_values() {
        let odd = Fields {
            pipeline: "a b#c%:*é/",
            ..FIELDS
        };
        let group = Template::parse("{pipeline}", Group).unwrap();
        assert_eq!(group.render(&odd).unwrap(), "a#20b#23c#25#3A#2A#C3#A9/");
        let stream = Template::parse("{pipeline}", Stream).unwrap();
        assert_eq!(stream.render(&odd).unwrap(), "a b#c%25%3A%2Aé/");
    }

    #[test]
    fn a_wrong_template_is_refused_with_the_way_out() {
        for (text, kind, says) in [
            ("", Stream, "is empty"),
            (
                "{shard}",
                Stream,
                "unknown field `shard`: did you mean `shard_id`?",
            ),
            (
                "{zzz}",
                Stream,
                "use one of application, pipeline, table, stream, shard_id, region, account, owner, log_group, \
                 log_stream, cluster, instance",
            ),
            ("{}", Stream, "unknown field ``"),
            ("a{table", Stream, "never closes the `{` at character 2"),
            ("é{table{table}", Stream, "never closes the `{` at character 2"),
            ("a}b", Stream, "closes nothing with the `}` at character 2"),
            ("{table:-}", Stream, "empty default for `{table}`"),
            ("a:b", Stream, "holds ':', which a log stream can't"),
            ("{table:-*}", Stream, "holds '*', which a log stream can't"),
            ("/cdc/my group", Group, "holds ' ', which a log group can't"),
            ("{{", Group, "holds '{', which a log group can't"),
            ("aws/cdc", Group, "which AWS reserves"),
        ] {
            let error = Template::parse(text, kind).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
        let long = "x".repeat(513);
        assert!(matches!(
            Template::parse(&long, Group),
            Err(TemplateError::TooLong { length: 513, .. })
        ));
        assert!(Template::parse("aws/cdc", Stream).is_ok(), "streams may begin so");
        assert!(Template::parse("/aws/cdc", Group).is_ok());
    }

    #[test]
    fn a_rendered_name_has_512_characters_at_most() {
        let t = Template::parse("{pipeline}", Stream).unwrap();
        let (fits, too_long) = ("é".repeat(512), "é".repeat(513));
        assert!(
            t.render(&Fields {
                pipeline: &fits,
                ..FIELDS
            })
            .is_ok()
        );
        let error = t.render(&Fields {
            pipeline: &too_long,
            ..FIELDS
        });
        assert_eq!(
            error,
            Err(RenderError::TooLong {
                kind: Stream,
                length: 513
            })
        );
    }

    #[test]
    fn a_field_cannot_spell_the_reserved_beginning() {
        let t = Template::parse("{pipeline}/x", Group).unwrap();
        let error = t.render(&Fields {
            pipeline: "aws",
            ..FIELDS
        });
        assert_eq!(error, Err(RenderError::Reserved("aws/x".into())));
    }

    #[test]
    fn a_template_lists_its_fields() {
        let t = Template::parse("{table}/x/{shard_id}/{table}", Stream).unwrap();
        assert_eq!(
            t.fields().collect::<Vec<_>>(),
            [Field::Table, Field::ShardId, Field::Table]
        );
        assert_eq!(
            Template::of(Field::Table, Group),
            Template::parse("{table}", Group).unwrap()
        );
        assert_eq!(Template::parse("cdc", Stream).unwrap().fields().count(), 0);
    }

    /// The patterns of the API reference, written apart from the code under test.
    fn is_valid(name: &str, kind: TemplateKind) -> bool {
        let length = name.chars().count();
        let held = match kind {
            Group => name
                .chars()
                .all(|c| ".-_/#ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789".contains(c)),
            Stream => !name.contains(':') && !name.contains('*'),
        };
        (1..=512).contains(&length) && held && !(kind == Group && name.starts_with("aws/"))
    }

    fn unescape(name: &str, mark: char) -> String {
        let mut bytes = Vec::new();
        let mut rest = name;
        while let Some(c) = rest.chars().next() {
            if c == mark {
                bytes.push(u8::from_str_radix(&rest[1..3], 16).unwrap());
                rest = &rest[3..];
            } else {
                bytes.extend(c.encode_utf8(&mut [0; 4]).bytes());
                rest = &rest[c.len_utf8()..];
            }
        }
        String::from_utf8(bytes).unwrap()
    }

    fn kind() -> impl Strategy<Value = TemplateKind> {
        prop_oneof![Just(Group), Just(Stream)]
    }

    fn value() -> impl Strategy<Value = String> {
        prop_oneof!["\\PC{0,20}", "[aws/#%:*é]{0,6}", "[a-z]{300}", any::<String>()]
    }

    proptest! {
        #[test]
        fn a_rendered_name_is_always_valid(
            text in prop_oneof![
                "(\\{(table|pipeline|account|log_group|log_stream|region:-x)\\}|[a-z/#]|aws|\\{\\{){0,5}",
                any::<String>(),
            ],
            kind in kind(), pipeline in value(), table in value(), account in proptest::option::of(value()),
        ) {
            if let Ok(template) = Template::parse(&text, kind) {
                let fields = Fields {
                    application: "weir",
                    pipeline: &pipeline,
                    table: Some(&table),
                    stream: None,
                    shard_id: "s",
                    region: None,
                    account: account.as_deref(),
                    envelope: account.as_deref().map(|of| EnvelopeFields {
                        owner: of,
                        log_group: &table,
                        log_stream: &pipeline,
                        cluster: Some(of),
                        instance: None,
                    }),
                };
                if let Ok(name) = template.render(&fields) {
                    prop_assert!(is_valid(&name, kind), "{name:?}");
                }
            }
        }

        #[test]
        fn an_escaped_value_can_be_read_back(value in value(), kind in kind()) {
            let mut name = String::new();
            escape(&value, kind, &mut name);
            prop_assert_eq!(unescape(&name, kind.mark()), value);
        }
    }
}
