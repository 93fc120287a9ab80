//! Tables, and the application that the state tables are named after.

use std::ops::RangeInclusive;

use super::Checked;
use crate::config::FLEET_SUFFIX;
use crate::stream::StreamArn;

/// The length of a table's name (API reference of DynamoDB's CreateTable).
const TABLE_NAME: RangeInclusive<usize> = 3..=255;

/// A name for the state tables, with room for that of the fleet's.
pub fn application(text: &str) -> Checked<String> {
    let longest = TABLE_NAME.end() - FLEET_SUFFIX.len();
    table_like(
        text,
        *TABLE_NAME.start()..=longest,
        "the state tables are named after the application",
    )
}

/// The name of a DynamoDB table.
pub fn table_name(text: &str) -> Checked<String> {
    if text.starts_with("arn:") {
        return Err(match StreamArn::new(text).table() {
            Some(table) if text.contains("/stream/") => {
                format!("is the ARN of a stream: give it as the stream's ARN, or the table's name, `{table}`")
            }
            Some(table) => format!("is an ARN: give the table's name, `{table}`"),
            None => "is an ARN: give the table's name".to_owned(),
        });
    }
    table_like(text, TABLE_NAME, "as DynamoDB names tables")
}

pub(super) fn table_like(text: &str, length: RangeInclusive<usize>, why: &str) -> Checked<String> {
    let fits = length.contains(&text.len());
    if fits
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
    {
        return Ok(text.to_owned());
    }
    let (min, max) = length.into_inner();
    Err(format!(
        "must be {min} to {max} of the characters a-z A-Z 0-9 _ . - ({why})"
    ))
}

/// What is known of the state tables' names: of a wrong one nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct StateNames<'a> {
    pub application: Option<&'a str>,
    /// `state.lease_table`, where it is set.
    pub lease_table: Option<&'a str>,
    /// `state.fleet_table`, where it is set.
    pub fleet_table: Option<&'a str>,
}

/// Why this source table can't be read, if so: a state table would be it.
pub fn apart_from_state(names: StateNames<'_>, table: &str) -> Checked<()> {
    let StateNames {
        application,
        lease_table,
        fleet_table,
    } = names;
    for (which, key, set, suffix) in [
        ("the lease table", "state.lease_table", lease_table, ""),
        (
            "the fleet's table",
            "state.fleet_table",
            fleet_table,
            FLEET_SUFFIX,
        ),
    ] {
        match (set, application) {
            (Some(set), _) if set == table => {
                return Err(format!("reads {which}, `{key}`: choose another name for that"));
            }
            (None, Some(application)) if table.strip_suffix(suffix) == Some(application) => {
                return Err(format!(
                    "reads {which} of the application `{application}`, which is named after it: choose another \
                     application"
                ));
            }
            _ => {}
        }
    }
    Ok(())
}
