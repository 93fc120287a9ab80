//! Looks at the state tables before the first write, and creates those that are missing.
//!
//! Must never write to a table that is not Weir's: everything is checked before anything is created. Nor
//! does it change a table that exists: where its settings differ from those for new tables, it says so.

use std::sync::PoisonError;
use std::time::Duration;

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::describe_table::DescribeTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, PointInTimeRecoverySpecification,
    ScalarAttributeType, SseSpecification, SseStatus, SseType, TableDescription, TableStatus, Tag,
};

use super::{DynamoDbTable, read_error, table_error};
use crate::aws::failure::{Failure, failure};
use crate::config::{Missing, NewTables};
use crate::lease::item::{fleet_attr, lease_attr};
use crate::lease::{PrepareError, TableError};

/// The first wait for a new table; each next one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait between two looks.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// The looks until Weir gives up: over a minute. Tables take some 10 s in most regions.
const LOOKS: u32 = 40;

/// The alias of DynamoDB's own key in KMS. It is asked for by naming none (API reference of
/// SSESpecification).
const AWS_MANAGED_KEY: &str = "alias/aws/dynamodb";

/// A key schema, as DescribeTable gives it: name and role of each part. All are strings.
type Schema = &'static [(&'static str, KeyType)];
const LEASES: Schema = &[(lease_attr::KEY, KeyType::Hash)];
const FLEET: Schema = &[
    (fleet_attr::KIND, KeyType::Hash),
    (fleet_attr::ID, KeyType::Range),
];

/// Which of the two tables exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct There {
    pub leases: bool,
    pub fleet: bool,
}

impl DynamoDbTable {
    fn tables(&self) -> [(&str, Schema); 2] {
        [(&self.leases, LEASES), (&self.fleet, FLEET)]
    }

    /// Makes the two tables usable.
    pub(super) async fn make_ready(&self, sources: &[String]) -> Result<(), PrepareError> {
        for ((name, _), key) in self.tables().into_iter().zip(["lease_table", "fleet_table"]) {
            if sources.iter().any(|source| source == name) {
                return Err(PrepareError::Unusable(format!(
                    "table {name} is the source of a pipeline and would hold Weir's own state too: choose another \
                     `application`, or another `state.{key}`"
                )));
            }
        }
        let mut missing = Vec::new();
        for (name, schema) in self.tables() {
            match self.describe(name).await? {
                Some(table) => {
                    check(name, schema, &table)?;
                    if let Missing::Create(settings) = &self.missing {
                        for difference in differences(settings, &table) {
                            tracing::warn!(
                                table = name,
                                "{difference}; Weir changes nothing of a table that exists"
                            );
                        }
                    }
                }
                None => missing.push((name, schema)),
            }
        }
        match &self.missing {
            Missing::Create(settings) => {
                for (name, schema) in missing {
                    self.create_table(name, schema, settings).await?;
                }
            }
            Missing::Refuse if missing.is_empty() => {}
            Missing::Refuse => {
                let missing: Vec<_> = missing
                    .iter()
                    .map(|(name, schema)| format!("table {name} with the key {}", spelled(schema)))
                    .collect();
                return Err(PrepareError::Unusable(format!(
                    "a state table doesn't exist, and `state.create` is false: create {}, or set `state.create` to \
                     true",
                    missing.join(", and ")
                )));
            }
        }
        for (name, schema) in self.tables() {
            self.wait(name, schema).await?;
        }
        self.protect().await
    }

    /// Looks for the two tables, and creates nothing. Refuses those that are somebody else's.
    pub(super) async fn look(&self) -> Result<There, PrepareError> {
        let mut there = [false; 2];
        for ((name, schema), there) in self.tables().into_iter().zip(&mut there) {
            if let Some(table) = self.describe(name).await? {
                check(name, schema, &table)?;
                *there = true;
            }
        }
        let [leases, fleet] = there;
        Ok(There { leases, fleet })
    }

    /// `None` if there is no such table.
    async fn describe(&self, name: &str) -> Result<Option<TableDescription>, TableError> {
        match self.client.describe_table().table_name(name).send().await {
            Ok(answer) => Ok(answer.table),
            Err(error) => match error.as_service_error() {
                Some(DescribeTableError::ResourceNotFoundException(_)) => Ok(None),
                _ => Err(read_error("dynamodb:DescribeTable", &failure(&error), name)),
            },
        }
    }

    async fn create_table(
        &self,
        name: &str,
        schema: Schema,
        settings: &NewTables,
    ) -> Result<(), PrepareError> {
        let mut request = self
            .client
            .create_table()
            .table_name(name)
            .billing_mode(BillingMode::PayPerRequest)
            .set_sse_specification(settings.kms_key.as_deref().map(encryption));
        if settings.deletion_protection {
            request = request.deletion_protection_enabled(true);
        }
        for (key, value) in &settings.tags {
            request = request.tags(
                Tag::builder()
                    .key(key)
                    .value(value)
                    .build()
                    .map_err(unbuildable)?,
            );
        }
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
            Ok(_) => {
                tracing::info!(table = name, "created the state table");
                if settings.point_in_time_recovery {
                    self.unprotected().insert(name.to_owned());
                }
                Ok(())
            }
            Err(error) => match failure(&error) {
                // Another worker was quicker. Whether it is a worker, `wait` sees.
                Failure::Service { code, .. } if code == "ResourceInUseException" => Ok(()),
                failure => Err(table_error("dynamodb:CreateTable", &failure, name).into()),
            },
        }
    }

    /// Waits until the table can be used. It is checked again: somebody else may have created it just now.
    async fn wait(&self, name: &str, schema: Schema) -> Result<(), PrepareError> {
        let mut pause = FIRST_WAIT;
        let mut last = "missing".to_owned();
        for _ in 0..LOOKS {
            // A table just created may not be found for a moment (API reference of DescribeTable).
            if let Some(table) = self.describe(name).await? {
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
            self.clock.sleep(pause).await;
            pause = (pause * 2).min(LONGEST_WAIT);
        }
        Err(TableError::Unavailable(format!("table {name} is still {last}")).into())
    }

    /// Turns point-in-time recovery on for the tables this process made: CreateTable can't. What fails stays
    /// noted, so that a repeated `prepare` goes on with it.
    async fn protect(&self) -> Result<(), PrepareError> {
        loop {
            let Some(name) = self.unprotected().first().cloned() else {
                return Ok(());
            };
            let recovery = PointInTimeRecoverySpecification::builder()
                .point_in_time_recovery_enabled(true)
                .build()
                .map_err(unbuildable)?;
            let mut pause = FIRST_WAIT;
            for look in 1.. {
                let request = self
                    .client
                    .update_continuous_backups()
                    .table_name(&name)
                    .point_in_time_recovery_specification(recovery.clone());
                let Err(error) = request.send().await else {
                    break;
                };
                match failure(&error) {
                    // A new table's backups are being set up for some seconds after it is active.
                    Failure::Service { code, .. }
                        if code == "ContinuousBackupsUnavailableException" && look < LOOKS =>
                    {
                        self.clock.sleep(pause).await;
                        pause = (pause * 2).min(LONGEST_WAIT);
                    }
                    failure => {
                        return Err(table_error("dynamodb:UpdateContinuousBackups", &failure, &name).into());
                    }
                }
            }
            tracing::info!(table = name, "turned point-in-time recovery on");
            self.unprotected().remove(&name);
        }
    }

    fn unprotected(&self) -> std::sync::MutexGuard<'_, std::collections::BTreeSet<String>> {
        self.unprotected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as `map_err` hands it over")]
fn unbuildable(error: BuildError) -> PrepareError {
    PrepareError::Unusable(error.to_string())
}

fn encryption(key: &str) -> SseSpecification {
    let named = Some(key.to_owned()).filter(|key| key != AWS_MANAGED_KEY);
    SseSpecification::builder()
        .enabled(true)
        .sse_type(SseType::Kms)
        .set_kms_master_key_id(named)
        .build()
}

/// `leaseKey (HASH, S)`.
fn spelled(schema: Schema) -> String {
    let parts: Vec<_> = schema.iter().map(|(part, role)| spell(part, role, "S")).collect();
    parts.join(" and ")
}

fn spell(part: &str, role: &KeyType, kind: &str) -> String {
    format!("{part} ({}, {kind})", role.as_str())
}

/// Refuses a table that is somebody else's.
fn check(name: &str, schema: Schema, table: &TableDescription) -> Result<(), PrepareError> {
    let type_of = |attribute: &str| {
        table
            .attribute_definitions()
            .iter()
            .find(|d| d.attribute_name() == attribute)
            .map_or("?", |d| d.attribute_type().as_str())
    };
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

/// What of a table is not as the settings for new tables say, as far as DescribeTable shows it.
fn differences(settings: &NewTables, table: &TableDescription) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(wanted) = &settings.kms_key {
        let sse = table
            .sse_description()
            .filter(|sse| matches!(sse.status(), Some(SseStatus::Enabled | SseStatus::Updating)));
        match sse.and_then(|sse| sse.kms_master_key_arn()) {
            None => found.push(format!(
                "`state.kms_key` is {wanted}, and the table has no key in KMS"
            )),
            Some(key) if !may_be(wanted, key) => {
                found.push(format!(
                    "`state.kms_key` is {wanted}, and the table's key is {key}"
                ));
            }
            Some(_) => {}
        }
    }
    if settings.deletion_protection && table.deletion_protection_enabled() != Some(true) {
        found.push("`state.deletion_protection` is true, and the table can be deleted".to_owned());
    }
    found
}

/// Whether a table's key, given by its ARN, can be the one that the settings name. What an alias stands for
/// only KMS could tell.
fn may_be(wanted: &str, key_arn: &str) -> bool {
    let id = |text: &str| text.rsplit('/').next().unwrap_or_default().to_owned();
    match (wanted.contains("alias/"), wanted.starts_with("arn:")) {
        (true, _) => true,
        (_, true) => wanted == key_arn,
        _ => id(key_arn) == wanted,
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::SseDescription;

    use super::*;

    const KEY: &str = "1234abcd-12ab-34cd-56ef-1234567890ab";
    const ARN: &str = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

    #[test]
    fn what_differs_from_the_settings_is_told_as_far_as_it_shows() {
        let plain = TableDescription::builder().build();
        let encrypted = |key: &str| {
            let sse = SseDescription::builder()
                .status(SseStatus::Enabled)
                .sse_type(SseType::Kms)
                .kms_master_key_arn(key);
            TableDescription::builder().sse_description(sse.build()).build()
        };
        let other = "arn:aws:kms:eu-west-1:111122223333:key/99999999-12ab-34cd-56ef-1234567890ab";
        for (kms_key, table, told) in [
            (None, &plain, ""),
            (None, &encrypted(ARN), ""),
            (Some(KEY), &encrypted(ARN), ""),
            (Some(ARN), &encrypted(ARN), ""),
            (Some("alias/cdc"), &encrypted(ARN), ""),
            (Some("alias/cdc"), &plain, "has no key in KMS"),
            (Some(KEY), &plain, "has no key in KMS"),
            (Some(KEY), &encrypted(other), "the table's key is arn:"),
            (Some(ARN), &encrypted(other), "the table's key is arn:"),
        ] {
            let settings = NewTables {
                kms_key: kms_key.map(str::to_owned),
                ..NewTables::default()
            };
            let found = differences(&settings, table).join("\n");
            assert!(
                found.contains(told) && found.is_empty() == told.is_empty(),
                "{kms_key:?}: {found}"
            );
        }
        let settings = NewTables {
            deletion_protection: true,
            ..NewTables::default()
        };
        assert_eq!(differences(&settings, &plain).len(), 1);
        let protected = TableDescription::builder().deletion_protection_enabled(true);
        assert!(differences(&settings, &protected.build()).is_empty());
    }

    #[test]
    fn the_key_that_aws_manages_is_asked_for_by_naming_none() {
        assert_eq!(encryption("alias/aws/dynamodb").kms_master_key_id(), None);
        assert_eq!(encryption("alias/cdc").kms_master_key_id(), Some("alias/cdc"));
    }
}
