//! The state tables in DynamoDB: a [`LeaseTable`].
//!
//! Owns the requests and their conditions. Must never retry or decide: what a refused or a lost write
//! means is the caller's business. Each write sets its counter to a value, never adds to it, so that a
//! repeat after a lost answer is refused rather than applied twice.

mod prepare;
pub mod probe;
mod update;
mod write;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;

use crate::aws::denial;
use crate::aws::failure::{Failure, failure};
use crate::clock::Clock;
use crate::clock::Timestamp;
use crate::config::{Missing, StateTables};
use crate::lease::item::{self, Attr, Item, ItemError, fleet_attr, kind, lease_attr};
use crate::lease::{
    Expected, GapRow, Lease, LeaseChange, LeaseKey, LeaseTable, PipelineRow, PrepareError, StreamRow,
    TableError, WorkerId, WorkerRow, Written,
};
use crate::stream::StreamArn;
pub use prepare::There;
use update::Update;

/// An item as the SDK has it.
type SdkItem = HashMap<String, AttributeValue>;

/// The pages one scan reads at most. A page holds up to 1 MB, some 3,000 leases: far beyond any fleet.
const MOST_PAGES: usize = 10_000;

/// The tables of one application.
pub struct DynamoDbTable {
    client: Client,
    leases: String,
    /// Everything else.
    fleet: String,
    missing: Missing,
    /// The tables made by this process that have no point-in-time recovery yet and shall have it.
    unprotected: Mutex<BTreeSet<String>>,
    clock: Arc<dyn Clock>,
}

impl DynamoDbTable {
    pub fn new(client: Client, tables: StateTables, clock: Arc<dyn Clock>) -> Self {
        Self {
            client,
            leases: tables.leases,
            fleet: tables.fleet,
            missing: tables.missing,
            unprotected: Mutex::default(),
            clock,
        }
    }

    /// The names of the lease table and of the fleet's.
    pub fn names(&self) -> (&str, &str) {
        (&self.leases, &self.fleet)
    }

    /// Which of the two exist. Creates nothing; refuses tables of another make, as `prepare` does.
    pub async fn there(&self) -> Result<There, PrepareError> {
        self.look().await
    }

    /// All fleet rows of one kind.
    async fn rows<T>(
        &self,
        kind: &str,
        read: impl Fn(&Item) -> Result<T, ItemError>,
    ) -> Result<Vec<T>, TableError> {
        let mut rows = Vec::new();
        let mut start: Option<SdkItem> = None;
        for _ in 0..MOST_PAGES {
            let page = self
                .client
                .query()
                .table_name(&self.fleet)
                .consistent_read(true)
                .key_condition_expression("#kind = :kind")
                .expression_attribute_names("#kind", fleet_attr::KIND)
                .expression_attribute_values(":kind", AttributeValue::S(kind.to_owned()))
                .set_exclusive_start_key(start.take())
                .send()
                .await
                .map_err(|e| read_error("dynamodb:Query", &failure(&e), &self.fleet))?;
            for row in page.items.unwrap_or_default() {
                rows.push(read(&from_sdk(&row)).map_err(|e| unreadable(&e))?);
            }
            match page.last_evaluated_key.filter(|key| !key.is_empty()) {
                Some(next) => start = Some(next),
                None => return Ok(rows),
            }
        }
        Err(endless(&self.fleet))
    }

    async fn update_pipeline(&self, name: &str, update: Update) -> Result<(), TableError> {
        let key = fleet_key(kind::PIPELINE, name);
        self.update(&self.fleet, key, update, item::to_pipeline)
            .await
            .map(drop)
    }

    async fn delete_fleet_row(&self, kind: &str, id: &str) -> Result<(), TableError> {
        self.client
            .delete_item()
            .table_name(&self.fleet)
            .set_key(Some(fleet_key(kind, id)))
            .send()
            .await
            .map_err(|e| table_error("dynamodb:DeleteItem", &failure(&e), &self.fleet))?;
        Ok(())
    }

    async fn update_worker(&self, id: &WorkerId, update: Update) -> Result<Written<WorkerRow>, TableError> {
        let key = fleet_key(kind::WORKER, id.as_str());
        self.update(&self.fleet, key, update, item::to_worker).await
    }
}

#[async_trait]
impl LeaseTable for DynamoDbTable {
    async fn prepare(&self, sources: &[String]) -> Result<(), PrepareError> {
        self.make_ready(sources).await
    }

    async fn leases(&self) -> Result<Vec<Lease>, TableError> {
        let mut leases = Vec::new();
        let mut start: Option<SdkItem> = None;
        for _ in 0..MOST_PAGES {
            let page = self
                .client
                .scan()
                .table_name(&self.leases)
                .consistent_read(true)
                .set_exclusive_start_key(start.take())
                .send()
                .await
                .map_err(|e| read_error("dynamodb:Scan", &failure(&e), &self.leases))?;
            for row in page.items.unwrap_or_default() {
                // One row that can't be read must not stop the reading of all other shards.
                match item::to_lease(&from_sdk(&row)) {
                    Ok(lease) => leases.extend(lease),
                    Err(error) => tell_unreadable(&error),
                }
            }
            match page.last_evaluated_key.filter(|key| !key.is_empty()) {
                Some(next) => start = Some(next),
                None => return Ok(leases),
            }
        }
        Err(endless(&self.leases))
    }

    async fn lease(&self, key: &LeaseKey) -> Result<Option<Lease>, TableError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.leases)
            .set_key(Some(lease_key(key)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|e| read_error("dynamodb:GetItem", &failure(&e), &self.leases))?;
        match answer.item {
            None => Ok(None),
            Some(row) => item::to_lease(&from_sdk(&row)).map_err(|e| unreadable(&e)),
        }
    }

    async fn create_lease(&self, lease: &Lease) -> Result<Written<Lease>, TableError> {
        self.create(&self.leases, lease_attr::KEY, item::from_lease(lease), a_lease)
            .await
    }

    async fn update_lease(
        &self,
        key: &LeaseKey,
        expected: &Expected,
        change: &LeaseChange,
    ) -> Result<Written<Lease>, TableError> {
        let update = update::of_lease(expected, change);
        self.update(&self.leases, lease_key(key), update, a_lease).await
    }

    async fn delete_lease(&self, key: &LeaseKey, expected: &Expected) -> Result<Written<Lease>, TableError> {
        let conditions = update::lease_is(expected);
        self.delete(&self.leases, lease_key(key), conditions, a_lease)
            .await
    }

    async fn workers(&self) -> Result<Vec<WorkerRow>, TableError> {
        self.rows(kind::WORKER, item::to_worker).await
    }

    async fn create_worker(&self, row: &WorkerRow) -> Result<Written<WorkerRow>, TableError> {
        self.create(
            &self.fleet,
            fleet_attr::ID,
            item::from_worker(row),
            item::to_worker,
        )
        .await
    }

    async fn beat(&self, row: &WorkerRow) -> Result<Written<WorkerRow>, TableError> {
        self.update_worker(&row.id, update::beat(row)?).await
    }

    async fn evict(&self, id: &WorkerId, heartbeat: u64) -> Result<Written<WorkerRow>, TableError> {
        let mut update = Update::default();
        update.requires_equal(fleet_attr::HEARTBEAT, Attr::N(heartbeat.to_string()));
        update.requires_equal(fleet_attr::EVICTED, Attr::Bool(false));
        update.set(fleet_attr::EVICTED, Attr::Bool(true));
        self.update_worker(id, update).await
    }

    async fn bury(&self, id: &WorkerId) -> Result<Written<WorkerRow>, TableError> {
        let mut update = Update::default();
        update.requires_presence(fleet_attr::ID);
        update.set(fleet_attr::TOMBSTONE, Attr::Bool(true));
        self.update_worker(id, update).await
    }

    async fn delete_worker(&self, id: &WorkerId, heartbeat: u64) -> Result<Written<WorkerRow>, TableError> {
        let mut conditions = Update::default();
        conditions.requires_equal(fleet_attr::HEARTBEAT, Attr::N(heartbeat.to_string()));
        let key = fleet_key(kind::WORKER, id.as_str());
        self.delete(&self.fleet, key, conditions, item::to_worker).await
    }

    async fn streams(&self) -> Result<Vec<StreamRow>, TableError> {
        self.rows(kind::STREAM, item::to_stream).await
    }

    async fn create_stream(&self, row: &StreamRow) -> Result<Written<StreamRow>, TableError> {
        self.create(
            &self.fleet,
            fleet_attr::ID,
            item::from_stream(row),
            item::to_stream,
        )
        .await
    }

    async fn complete_stream(
        &self,
        pipeline: &str,
        arn: &StreamArn,
    ) -> Result<Written<StreamRow>, TableError> {
        let mut update = Update::default();
        update.requires_presence(fleet_attr::ID);
        update.set(fleet_attr::COMPLETE, Attr::Bool(true));
        let key = fleet_key(kind::STREAM, &item::stream_id(pipeline, arn));
        self.update(&self.fleet, key, update, item::to_stream).await
    }

    async fn delete_stream(&self, pipeline: &str, arn: &StreamArn) -> Result<(), TableError> {
        self.delete_fleet_row(kind::STREAM, &item::stream_id(pipeline, arn))
            .await
    }

    async fn pipelines(&self) -> Result<Vec<PipelineRow>, TableError> {
        self.rows(kind::PIPELINE, item::to_pipeline).await
    }

    async fn pause_pipeline(&self, name: &str, paused: bool) -> Result<(), TableError> {
        let mut update = Update::default();
        update.set(fleet_attr::PAUSED, Attr::Bool(paused));
        self.update_pipeline(name, update).await
    }

    async fn unlist_pipeline(&self, name: &str, since: Option<Timestamp>) -> Result<(), TableError> {
        let mut update = Update::default();
        match since {
            Some(since) => update.set(fleet_attr::UNLISTED_SINCE, Attr::N(since.millis().to_string())),
            None => update.remove(fleet_attr::UNLISTED_SINCE),
        }
        self.update_pipeline(name, update).await
    }

    async fn delete_pipeline(&self, name: &str) -> Result<(), TableError> {
        self.delete_fleet_row(kind::PIPELINE, name).await
    }

    async fn record_gap(&self, gap: &GapRow) -> Result<(), TableError> {
        // Refused means written before: the first writer's time and reason stay.
        self.create(&self.fleet, fleet_attr::ID, item::from_gap(gap), item::to_gap)
            .await
            .map(drop)
    }
}

fn lease_key(key: &LeaseKey) -> SdkItem {
    HashMap::from([(
        lease_attr::KEY.to_owned(),
        AttributeValue::S(key.as_str().to_owned()),
    )])
}

fn fleet_key(kind: &str, id: &str) -> SdkItem {
    HashMap::from([
        (fleet_attr::KIND.to_owned(), AttributeValue::S(kind.to_owned())),
        (fleet_attr::ID.to_owned(), AttributeValue::S(id.to_owned())),
    ])
}

fn a_lease(row: &Item) -> Result<Lease, ItemError> {
    item::to_lease(row)?.ok_or_else(|| ItemError {
        key: String::new(),
        attribute: lease_attr::ENTITY,
        problem: "is not LEASE on a row that a lease was to be written to".to_owned(),
    })
}

fn to_sdk(item: Item) -> SdkItem {
    item.into_iter()
        .map(|(name, value)| {
            let value = match value {
                Attr::S(text) => AttributeValue::S(text),
                Attr::N(number) => AttributeValue::N(number),
                Attr::Bool(flag) => AttributeValue::Bool(flag),
                Attr::Ss(members) => AttributeValue::Ss(members),
                Attr::Counts(counts) => AttributeValue::M(
                    counts
                        .into_iter()
                        .map(|(name, count)| (name, AttributeValue::N(count.to_string())))
                        .collect(),
                ),
            };
            (name, value)
        })
        .collect()
}

/// Attributes of other types are another program's, and are left out of what Weir reads.
fn from_sdk(row: &SdkItem) -> Item {
    row.iter()
        .filter_map(|(name, value)| {
            let value = match value {
                AttributeValue::S(text) => Attr::S(text.clone()),
                AttributeValue::N(number) => Attr::N(number.clone()),
                AttributeValue::Bool(flag) => Attr::Bool(*flag),
                AttributeValue::Ss(members) => Attr::Ss(members.clone()),
                AttributeValue::M(members) => Attr::Counts(counts(members)?),
                _ => return None,
            };
            Some((name.clone(), value))
        })
        .collect()
}

/// A map of numbers; `None` for any other.
fn counts(members: &SdkItem) -> Option<BTreeMap<String, u64>> {
    members
        .iter()
        .map(|(name, value)| Some((name.clone(), value.as_n().ok()?.parse().ok()?)))
        .collect()
}

/// Says so at each look: whoever reads the log must not have to find the first one.
fn tell_unreadable(error: &ItemError) {
    tracing::error!(%error, "a row of the lease table can't be read and is left alone: repair it or delete it");
}

fn unreadable(error: &ItemError) -> TableError {
    TableError::Refused(format!("{error}; repair the row or delete it"))
}

fn endless(table: &str) -> TableError {
    TableError::Unavailable(format!("table {table} has no last page"))
}

/// What a failed write means. Shared with `prepare`.
fn table_error(action: &str, failure: &Failure, table: &str) -> TableError {
    let text = format!("table {table}: {failure}");
    match failure {
        Failure::Throttled(_) => TableError::Throttled(text),
        Failure::Denied(said) => {
            let what = format!("table {table}");
            TableError::Refused(format!("{what}: {}", denial::told(said, action, &what, None)))
        }
        Failure::Unavailable(_) => TableError::Unavailable(text),
        Failure::Unanswered(_) => TableError::Unanswered(text),
        Failure::Service { code, .. } => match code.as_str() {
            // Another write to the row was going on; not applied (API reference of UpdateItem).
            "TransactionConflictException" | "ReplicatedWriteConflictException" => {
                TableError::Throttled(text)
            }
            "ResourceNotFoundException" => TableError::Refused(format!(
                "{text}; it was deleted, or is in another region or account"
            )),
            _ => TableError::Refused(text),
        },
    }
}

/// What a failed read means: it changed nothing, answered or not.
fn read_error(action: &str, failure: &Failure, table: &str) -> TableError {
    match table_error(action, failure, table) {
        TableError::Unanswered(text) => TableError::Unavailable(text),
        other => other,
    }
}

#[cfg(test)]
mod tests;
