//! Each request that a worker makes of the state tables, tried without a change.
//!
//! Owns the requests; the judgement is `check`'s. A write is tried under a condition that no row meets: IAM is asked
//! before the condition is, so that a refused condition proves the permission, and nothing is written.

use aws_sdk_dynamodb::types::AttributeValue;

use super::{DynamoDbTable, SdkItem, fleet_key, lease_key};
use crate::aws::failure::{Failure, failure};
use crate::aws::raw::KeepDate;
use crate::clock::Timestamp;
use crate::lease::LeaseKey;
use crate::lease::item::{fleet_attr, kind, lease_attr};

/// A row of this key is never written: it is no key of a lease, and no kind has such an id.
const NOBODY: &str = "weir-check";

/// That a row exists, and doesn't: the condition of the writes.
const NEVER: &str = "attribute_exists(#key) AND attribute_not_exists(#key)";

/// One of the two tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    Leases,
    Fleet,
}

/// A request of a worker on a table that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    Scan,
    Query,
    GetItem,
    PutItem,
    UpdateItem,
    DeleteItem,
}

impl Request {
    /// As IAM names it.
    pub fn action(self) -> &'static str {
        match self {
            Self::Scan => "dynamodb:Scan",
            Self::Query => "dynamodb:Query",
            Self::GetItem => "dynamodb:GetItem",
            Self::PutItem => "dynamodb:PutItem",
            Self::UpdateItem => "dynamodb:UpdateItem",
            Self::DeleteItem => "dynamodb:DeleteItem",
        }
    }
}

impl DynamoDbTable {
    /// The service's clock, from the `Date` of an answer, be it a refusal. `None`: no answer came, or it had none.
    pub async fn service_time(&self) -> Option<Timestamp> {
        let date = KeepDate::default();
        let request = self.client.describe_table().table_name(&self.leases).customize();
        request.interceptor(date.clone()).send().await.ok();
        date.time().ok()
    }

    /// DescribeTable: whether the table is there.
    pub async fn is_there(&self, which: Which) -> Result<bool, Failure> {
        let request = self.client.describe_table().table_name(self.name_of(which));
        match request.send().await.map_err(|e| failure(&e)) {
            Ok(_) => Ok(true),
            Err(Failure::Service { code, .. }) if code == "ResourceNotFoundException" => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Makes a request that changes nothing.
    pub async fn try_out(&self, which: Which, request: Request) -> Result<(), Failure> {
        let table = self.name_of(which);
        let (part, key) = match which {
            Which::Leases => (lease_attr::KEY, lease_key(&LeaseKey::new(NOBODY))),
            Which::Fleet => (fleet_attr::ID, fleet_key(kind::WORKER, NOBODY)),
        };
        let answer = match request {
            Request::Scan => self.scan_one(table).await,
            Request::Query => self.query_none(table).await,
            Request::GetItem => {
                let get = self.client.get_item().table_name(table).set_key(Some(key));
                get.send().await.map(drop).map_err(|e| failure(&e))
            }
            Request::PutItem => {
                let put = self.client.put_item().table_name(table).set_item(Some(key));
                let put = put
                    .condition_expression(NEVER)
                    .expression_attribute_names("#key", part);
                put.send().await.map(drop).map_err(|e| failure(&e))
            }
            Request::UpdateItem => self.update_never(table, part, key).await,
            Request::DeleteItem => {
                let delete = self.client.delete_item().table_name(table).set_key(Some(key));
                let delete = delete
                    .condition_expression(NEVER)
                    .expression_attribute_names("#key", part);
                delete.send().await.map(drop).map_err(|e| failure(&e))
            }
        };
        match answer {
            Err(Failure::Service { code, .. }) if code == "ConditionalCheckFailedException" => Ok(()),
            other => other,
        }
    }

    async fn scan_one(&self, table: &str) -> Result<(), Failure> {
        let scan = self.client.scan().table_name(table).limit(1);
        scan.send().await.map(drop).map_err(|e| failure(&e))
    }

    async fn query_none(&self, table: &str) -> Result<(), Failure> {
        let query = self
            .client
            .query()
            .table_name(table)
            .key_condition_expression("#kind = :kind")
            .expression_attribute_names("#kind", fleet_attr::KIND)
            .expression_attribute_values(":kind", AttributeValue::S(NOBODY.to_owned()));
        query.send().await.map(drop).map_err(|e| failure(&e))
    }

    async fn update_never(&self, table: &str, part: &str, key: SdkItem) -> Result<(), Failure> {
        let update = self
            .client
            .update_item()
            .table_name(table)
            .set_key(Some(key))
            .update_expression("SET #checked = :yes")
            .condition_expression(NEVER)
            .expression_attribute_names("#key", part)
            .expression_attribute_names("#checked", "checked")
            .expression_attribute_values(":yes", AttributeValue::Bool(true));
        update.send().await.map(drop).map_err(|e| failure(&e))
    }

    fn name_of(&self, which: Which) -> &str {
        match which {
            Which::Leases => &self.leases,
            Which::Fleet => &self.fleet,
        }
    }
}
