//! Looks at the state tables before the first write, and creates those that are missing.
//!
//! Must never write to a table that is not Weir's: everything is checked before anything is created.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::describe_table::DescribeTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableDescription,
    TableStatus,
};

use super::{read_error, table_error};
use crate::aws::failure::{Failure, failure};
use crate::clock::Clock;
use crate::lease::item::{fleet_attr, lease_attr};
use crate::lease::{PrepareError, TableError};

/// The first wait for a new table; each next one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait between two looks.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// The looks until Weir gives up: over a minute. Tables take some 10 s in most regions.
const LOOKS: u32 = 40;

/// The key schemas, as DescribeTable gives them: name, role and type of each part.
const LEASES: &[(&str, KeyType)] = &[(lease_attr::KEY, KeyType::Hash)];
const FLEET: &[(&str, KeyType)] = &[
    (fleet_attr::KIND, KeyType::Hash),
    (fleet_attr::ID, KeyType::Range),
];

/// Makes the two tables usable: `[leases, fleet]`.
pub async fn prepare(
    client: &Client,
    clock: &dyn Clock,
    names: [&String; 2],
    sources: &[String],
) -> Result<(), PrepareError> {
    if let Some(name) = names.iter().find(|name| sources.contains(name)) {
        return Err(PrepareError::Unusable(format!(
            "table {name} is the source of a pipeline and would hold Weir's own state too: choose another \
             `application`"
        )));
    }
    let tables = [(names[0], LEASES), (names[1], FLEET)];
    let mut missing = Vec::new();
    for (name, schema) in tables {
        match describe(client, name).await? {
            Some(table) => check(name, schema, &table)?,
            None => missing.push((name, schema)),
        }
    }
    for (name, schema) in missing {
        create(client, name, schema).await?;
    }
    for (name, schema) in tables {
        wait(client, clock, name, schema).await?;
    }
    Ok(())
}

/// Which of the two tables exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct There {
    pub leases: bool,
    pub fleet: bool,
}

/// Looks for the two tables, and creates nothing. Refuses those that are somebody else's.
pub async fn there(client: &Client, names: [&String; 2]) -> Result<There, PrepareError> {
    let mut there = [false; 2];
    for ((name, schema), there) in [(names[0], LEASES), (names[1], FLEET)]
        .into_iter()
        .zip(&mut there)
    {
        if let Some(table) = describe(client, name).await? {
            check(name, schema, &table)?;
            *there = true;
        }
    }
    let [leases, fleet] = there;
    Ok(There { leases, fleet })
}

/// `None` if there is no such table.
async fn describe(client: &Client, name: &str) -> Result<Option<TableDescription>, TableError> {
    match client.describe_table().table_name(name).send().await {
        Ok(answer) => Ok(answer.table),
        Err(error) => match error.as_service_error() {
            Some(DescribeTableError::ResourceNotFoundException(_)) => Ok(None),
            _ => Err(read_error(&failure(&error), name)),
        },
    }
}

/// Refuses a table that is somebody else's.
fn check(name: &str, schema: &[(&str, KeyType)], table: &TableDescription) -> Result<(), PrepareError> {
    let type_of = |attribute: &str| {
        table
            .attribute_definitions()
            .iter()
            .find(|d| d.attribute_name() == attribute)
            .map_or("?", |d| d.attribute_type().as_str())
    };
    let spell = |part: &str, role: &KeyType, kind: &str| format!("{part} ({}, {kind})", role.as_str());
    let mut found: Vec<_> = table
        .key_schema()
        .iter()
        .map(|k| spell(k.attribute_name(), k.key_type(), type_of(k.attribute_name())))
        .collect();
    let mut wanted: Vec<_> = schema.iter().map(|(part, role)| spell(part, role, "S")).collect();
    found.sort();
    wanted.sort();
    if found == wanted {
        return Ok(());
    }
    Err(PrepareError::Unusable(format!(
        "table {name} exists and is not Weir's: its key is {}, where Weir's is {}; choose another \
         `application`, or delete the table if nothing needs it",
        found.join(" and "),
        wanted.join(" and "),
    )))
}

async fn create(client: &Client, name: &str, schema: &[(&str, KeyType)]) -> Result<(), PrepareError> {
    let unbuildable = |e: aws_sdk_dynamodb::error::BuildError| PrepareError::Unusable(e.to_string());
    let mut request = client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest);
    for (part, role) in schema {
        request = request
            .attribute_definitions(
                AttributeDefinition::builder()
                    .attribute_name(*part)
                    .attribute_type(ScalarAttributeType::S)
                    .build()
                    .map_err(unbuildable)?,
            )
            .key_schema(
                KeySchemaElement::builder()
                    .attribute_name(*part)
                    .key_type(role.clone())
                    .build()
                    .map_err(unbuildable)?,
            );
    }
    match request.send().await {
        Ok(_) => Ok(()),
        Err(error) => match failure(&error) {
            // Another worker was quicker. Whether it is a worker, `wait` sees.
            Failure::Service { code, .. } if code == "ResourceInUseException" => Ok(()),
            failure => Err(table_error(&failure, name).into()),
        },
    }
}

/// Waits until the table can be used. It is checked again: somebody else may have created it just now.
async fn wait(
    client: &Client,
    clock: &dyn Clock,
    name: &str,
    schema: &[(&str, KeyType)],
) -> Result<(), PrepareError> {
    let mut pause = FIRST_WAIT;
    let mut last = "missing".to_owned();
    for _ in 0..LOOKS {
        // A table just created may not be found for a moment (API reference of DescribeTable).
        if let Some(table) = describe(client, name).await? {
            check(name, schema, &table)?;
            match table.table_status() {
                // A table that is being updated takes reads and writes.
                Some(TableStatus::Active | TableStatus::Updating) => return Ok(()),
                Some(
                    status @ (TableStatus::Archived
                    | TableStatus::Archiving
                    | TableStatus::InaccessibleEncryptionCredentials),
                ) => {
                    return Err(PrepareError::Unusable(format!(
                        "table {name} is {}: make it usable, or choose another `application`",
                        status.as_str()
                    )));
                }
                status => last = status.map_or("of no status", TableStatus::as_str).to_owned(),
            }
        }
        clock.sleep(pause).await;
        pause = (pause * 2).min(LONGEST_WAIT);
    }
    Err(TableError::Unavailable(format!("table {name} is still {last}")).into())
}
