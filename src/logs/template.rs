//! Names of log groups and streams with fields in braces.
//!
//! Pure. Owns the syntax and the escaping. `config` parses, a consumer renders.

/// A parsed template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
}

/// The values of the fixed set of fields. All are known per shard.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    pub application: &'a str,
    pub pipeline: &'a str,
    pub table: Option<&'a str>,
    pub shard_id: &'a str,
    pub region: Option<&'a str>,
    pub account: Option<&'a str>,
}
