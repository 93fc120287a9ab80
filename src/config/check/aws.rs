//! What AWS takes in many places: regions, roles, keys, tags.

use super::Checked;

/// The ARN of an IAM role.
pub fn role_arn(text: &str) -> Checked<String> {
    let fields: Vec<&str> = text.splitn(6, ':').collect();
    match fields.as_slice() {
        ["arn", partition, "iam", "", account, resource]
            if is_partition(partition)
                && is_account(account)
                && resource.strip_prefix("role/").is_some_and(|name| {
                    !name.is_empty() && !name.ends_with('/') && !name.contains(widens)
                }) =>
        {
            Ok(text.to_owned())
        }
        _ => Err("is not the ARN of a role: it looks like arn:aws:iam::ACCOUNT:role/NAME, with 12 digits of account"
            .to_owned()),
    }
}

/// What a policy (`weir iam-policy`) would take for many roles, or for a variable: IAM lets a path hold it, and nobody
/// means it.
fn widens(c: char) -> bool {
    c.is_whitespace() || "*?\"\\$".contains(c)
}

/// `aws`, `aws-cn`, …
pub(super) fn is_partition(text: &str) -> bool {
    let held = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.bytes().all(held)
}

pub(super) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

/// An external id: 2 to 1224 of `[\w+=,.@:\/-]` (API reference of STS AssumeRole).
pub fn external_id(text: &str) -> Checked<String> {
    let held = |c: char| c.is_ascii_alphanumeric() || "_+=,.@:/-".contains(c);
    if (2..=1224).contains(&text.len()) && text.chars().all(held) {
        return Ok(text.to_owned());
    }
    Err("must be 2 to 1224 of the characters a-z A-Z 0-9 _ + = , . @ : / -".to_owned())
}

/// A region by its shape alone: new ones appear, and emulators make their own.
pub fn region(text: &str) -> Checked<String> {
    let held = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    // It becomes a label of a host name: RFC 1035, 2.3.4 (63 characters).
    if (1..=63).contains(&text.len())
        && text.bytes().all(held)
        && !text.starts_with('-')
        && !text.ends_with('-')
    {
        return Ok(text.to_owned());
    }
    Err("is not a region: it looks like eu-west-1".to_owned())
}

/// A KMS key: its id, its ARN or an alias (API reference of KMS, "Key identifiers").
pub fn kms_key(text: &str) -> Checked<String> {
    let alias = |text: &str| {
        text.strip_prefix("alias/").is_some_and(|name| {
            let held = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'-');
            !name.is_empty() && name.bytes().all(held)
        })
    };
    let fields: Vec<&str> = text.splitn(6, ':').collect();
    let fits = match fields.as_slice() {
        ["arn", partition, "kms", region, account, resource] => {
            let key = resource.strip_prefix("key/").is_some_and(is_key_id);
            is_partition(partition)
                && self::region(region).is_ok()
                && is_account(account)
                && (key || alias(resource))
        }
        _ => is_key_id(text) || alias(text),
    };
    match fits {
        true => Ok(text.to_owned()),
        false => Err(
            "is not a KMS key: give its id, its ARN (arn:aws:kms:REGION:ACCOUNT:key/ID), or an alias (alias/NAME)"
                .to_owned(),
        ),
    }
}

/// The key of a log group, by the ARN of the key itself (API reference of CloudWatch Logs, CreateLogGroup).
pub fn log_key(text: &str) -> Checked<String> {
    const SHAPE: &str = "arn:aws:kms:REGION:ACCOUNT:key/ID";
    match kms_key(text) {
        Ok(key) if key.contains(":key/") => Ok(key),
        Ok(_) => Err(format!(
            "is no ARN of a key, which CloudWatch Logs asks for: give {SHAPE}"
        )),
        Err(_) => Err(format!("is not a KMS key: give its ARN, {SHAPE}")),
    }
}

/// A UUID, or a multi-Region key's id.
fn is_key_id(text: &str) -> bool {
    let hex = |text: &str, length| text.len() == length && text.bytes().all(|b| b.is_ascii_hexdigit());
    let parts: Vec<&str> = text.split('-').collect();
    match parts.as_slice() {
        ["mrk", id] => hex(id, 32),
        [a, b, c, d, e] => hex(a, 8) && [b, c, d].iter().all(|part| hex(part, 4)) && hex(e, 12),
        _ => false,
    }
}

/// What a tag's key and value may hold besides letters and digits (Developer Guide of DynamoDB, "Tagging
/// restrictions").
fn in_a_tag(c: char) -> bool {
    c.is_alphanumeric() || " +-=._:/@".contains(c)
}

/// The most tags that a table takes (Developer Guide of DynamoDB, "Tagging restrictions"), and a log group (API
/// reference of CloudWatch Logs, CreateLogGroup).
pub const MOST_TAGS: usize = 50;

/// A tag's key.
pub fn tag_key(text: &str) -> Checked<()> {
    if text.to_lowercase().starts_with("aws:") {
        return Err("a tag's key can't begin with `aws:`, which AWS reserves".to_owned());
    }
    match (1..=128).contains(&text.chars().count()) && text.chars().all(in_a_tag) {
        true => Ok(()),
        false => Err("a tag's key must be 1 to 128 letters, digits, spaces and + - = . _ : / @".to_owned()),
    }
}

/// A tag's value.
pub fn tag_value(text: &str) -> Checked<String> {
    match text.chars().count() <= 256 && text.chars().all(in_a_tag) {
        true => Ok(text.to_owned()),
        false => {
            Err("a tag's value must be at most 256 letters, digits, spaces and + - = . _ : / @".to_owned())
        }
    }
}
