//! The three conditional writes.
//!
//! Owns how a refusal is told from a failure: a condition that failed brings the row it came upon, in the
//! same answer, so that nobody has to read it again.

use std::error::Error;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure::AllOld;
use aws_sdk_dynamodb::types::error::ConditionalCheckFailedException;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::update::Update;
use super::{DynamoDbTable, SdkItem, from_sdk, table_error, tell_unreadable, to_sdk};
use crate::aws::failure::failure;
use crate::lease::item::{Item, ItemError};
use crate::lease::{TableError, Written};

impl DynamoDbTable {
    /// Puts a row that must not exist yet.
    pub(super) async fn create<T>(
        &self,
        table: &str,
        key: &'static str,
        row: Item,
        read: impl Fn(&Item) -> Result<T, ItemError>,
    ) -> Result<Written<T>, TableError> {
        let answer = self
            .client
            .put_item()
            .table_name(table)
            .set_item(Some(to_sdk(row)))
            .condition_expression("attribute_not_exists(#key)")
            .expression_attribute_names("#key", key)
            .return_values_on_condition_check_failure(AllOld)
            .send()
            .await;
        written("dynamodb:PutItem", answer, table, read, |error| match error {
            PutItemError::ConditionalCheckFailedException(refusal) => Some(refusal),
            _ => None,
        })
    }

    /// Carries out an update; without a condition it makes the row if there is none.
    pub(super) async fn update<T>(
        &self,
        table: &str,
        key: SdkItem,
        update: Update,
        read: impl Fn(&Item) -> Result<T, ItemError>,
    ) -> Result<Written<T>, TableError> {
        let answer = self
            .client
            .update_item()
            .table_name(table)
            .set_key(Some(key))
            .update_expression(update.expression())
            // DynamoDB refuses an empty condition, and an empty map of values.
            .set_condition_expression(Some(update.condition()).filter(|c| !c.is_empty()))
            .set_expression_attribute_names(Some(update.names))
            .set_expression_attribute_values(Some(to_sdk(update.values)).filter(|v| !v.is_empty()))
            .return_values_on_condition_check_failure(AllOld)
            .send()
            .await;
        written("dynamodb:UpdateItem", answer, table, read, |error| match error {
            UpdateItemError::ConditionalCheckFailedException(refusal) => Some(refusal),
            _ => None,
        })
    }

    /// Deletes a row that meets the conditions.
    pub(super) async fn delete<T>(
        &self,
        table: &str,
        key: SdkItem,
        conditions: Update,
        read: impl Fn(&Item) -> Result<T, ItemError>,
    ) -> Result<Written<T>, TableError> {
        let answer = self
            .client
            .delete_item()
            .table_name(table)
            .set_key(Some(key))
            .condition_expression(conditions.condition())
            .set_expression_attribute_names(Some(conditions.names))
            .set_expression_attribute_values(Some(to_sdk(conditions.values)))
            .return_values_on_condition_check_failure(AllOld)
            .send()
            .await;
        written("dynamodb:DeleteItem", answer, table, read, |error| match error {
            DeleteItemError::ConditionalCheckFailedException(refusal) => Some(refusal),
            _ => None,
        })
    }
}

fn written<A, E, T>(
    action: &str,
    answer: Result<A, SdkError<E, HttpResponse>>,
    table: &str,
    read: impl Fn(&Item) -> Result<T, ItemError>,
    refusal: impl Fn(&E) -> Option<&ConditionalCheckFailedException>,
) -> Result<Written<T>, TableError>
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let Err(error) = answer else {
        return Ok(Written::Applied);
    };
    match error.as_service_error().and_then(refusal) {
        None => Err(table_error(action, &failure(&error), table)),
        // Without a row the condition failed for want of one.
        Some(refusal) => match refusal.item().filter(|row| !row.is_empty()) {
            None => Ok(Written::Refused(None)),
            Some(row) => Ok(Written::Refused(
                read(&from_sdk(row)).inspect_err(tell_unreadable).ok(),
            )),
        },
    }
}
