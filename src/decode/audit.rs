//! Audit lines of MySQL and MariaDB. Pure.

/// Where a line is from.
pub struct Context<'a> {
    pub log_group: Option<&'a str>,
    pub log_stream: Option<&'a str>,
    pub owner: Option<&'a str>,
    pub id: Option<&'a str>,
}

/// The JSON message of a line, and whether the line was parsed.
pub fn message(line: &str, context: &Context<'_>) -> (String, bool) {
    let fields = serde_json::json!({
        "message": line, "error": "not parsed", "id": context.id, "owner": context.owner,
        "logGroup": context.log_group, "logStream": context.log_stream,
    });
    (fields.to_string(), false)
}

/// The lines of a text.
pub fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.is_empty())
}
