//! What the SDK's typed answers leave out: the `Date` header, and whether there was an answer at all.
//!
//! Owns these interceptors and the slot that interceptors fill; the adapters use them.

use std::sync::{Arc, Mutex, PoisonError};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    AfterDeserializationInterceptorContextRef, BeforeDeserializationInterceptorContextRef,
};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::DateTime;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::date_time::Format;

use crate::clock::Timestamp;

/// A place that one request fills and its caller empties.
#[derive(Debug)]
pub struct Slot<T>(Arc<Mutex<Option<T>>>);

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Slot<T> {
    pub fn put(&self, value: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
    }

    pub fn take(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Keeps the `Date` header of an answer.
#[derive(Clone, Debug, Default)]
pub struct KeepDate(Slot<String>);

impl KeepDate {
    /// The time in the header, if the answer has come. `Err` says why there is none.
    pub fn time(&self) -> Result<Timestamp, String> {
        let date = self.0.take().ok_or("the answer has no Date header")?;
        DateTime::from_str(&date, Format::HttpDate)
            .ok()
            .and_then(|time| time.to_millis().ok())
            .map(Timestamp::from_millis)
            .ok_or_else(|| format!("the Date header can't be read: {date:?}"))
    }
}

impl Intercept for KeepDate {
    fn name(&self) -> &'static str {
        "KeepDate"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(date) = context.response().headers().get("date") {
            self.0.put(date.to_owned());
        }
        Ok(())
    }
}

/// Takes a success without a body for no answer. The SDK reads it as an answer without fields: an accepted put,
/// the end of a shard. The services give no such answer where this is asked for; what stands in front of them may.
#[derive(Clone, Copy, Debug)]
pub struct NeedsBody;

impl Intercept for NeedsBody {
    fn name(&self) -> &'static str {
        "NeedsBody"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response();
        match response.body().bytes() {
            Some(b"") if response.status().is_success() => {
                Err("the answer is a success without a body".into())
            }
            _ => Ok(()),
        }
    }
}
