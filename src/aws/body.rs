//! The body of an answer, read by Weir instead of by the SDK.
//!
//! Owns one interceptor. For each value of an answer the SDK's own reading takes several allocations, and the texts
//! they were made from are gone; the adapters that read records take them from the body. The request, its
//! credentials, its signature and its errors stay the SDK's.

use std::fmt::Debug;
use std::task::{Context, Poll, Waker};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeDeserializationInterceptorContextMut, Error, Output,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::client::ser_de::{DeserializeResponse, SharedResponseDeserializer};
use aws_smithy_types::byte_stream::ByteStream;
use aws_smithy_types::config_bag::{ConfigBag, FrozenLayer};
use bytes::Bytes;

use super::raw::Slot;

/// Reads the body of a successful answer. What `read` doesn't read, the SDK does.
#[derive(Debug)]
pub struct ReadBody<T> {
    /// `None`: the SDK is to read this body.
    pub read: fn(&Bytes) -> Option<T>,
    /// The operation's own layer; it holds the deserializer that reads all else.
    pub operation: fn() -> Option<FrozenLayer>,
    /// The operation's output that stands for an answer that was read: one without fields.
    pub empty: fn() -> Result<Output, BoxError>,
    /// For what was read.
    pub slot: Slot<T>,
}

impl<T> Clone for ReadBody<T> {
    fn clone(&self) -> Self {
        Self {
            read: self.read,
            operation: self.operation,
            empty: self.empty,
            slot: self.slot.clone(),
        }
    }
}

impl<T: Debug + Send + 'static> Intercept for ReadBody<T> {
    fn name(&self) -> &'static str {
        "ReadBody"
    }

    fn modify_before_deserialization(
        &self,
        _: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // The orchestrator looks the deserializer up after this hook, and this layer lies over the operation's.
        cfg.interceptor_state()
            .store_put(SharedResponseDeserializer::new(Reader(self.clone())));
        Ok(())
    }
}

#[derive(Debug)]
struct Reader<T>(ReadBody<T>);

impl<T: Debug + Send + 'static> DeserializeResponse for Reader<T> {
    fn deserialize_nonstreaming_with_config(
        &self,
        response: &HttpResponse,
        cfg: &ConfigBag,
    ) -> Result<Output, OrchestratorError<Error>> {
        let ReadBody {
            read,
            operation,
            empty,
            slot,
        } = &self.0;
        if response.status().is_success()
            && let Some(found) = read(&body(response)?)
        {
            slot.put(found);
            return empty().map_err(OrchestratorError::other);
        }
        match operation()
            .as_ref()
            .and_then(|layer| layer.load::<SharedResponseDeserializer>())
        {
            Some(sdk) => sdk.deserialize_nonstreaming_with_config(response, cfg),
            None => Err(OrchestratorError::other("the operation has no deserializer")),
        }
    }
}

/// The orchestrator has read the body into memory before it asks, so that the future is ready at once, and a clone of
/// such a body shares its bytes.
fn body(response: &HttpResponse) -> Result<Bytes, OrchestratorError<Error>> {
    let body = response
        .body()
        .try_clone()
        .and_then(|body| ready(ByteStream::new(body).collect()))
        .ok_or_else(|| OrchestratorError::other("the body is not in memory"))?
        .map_err(OrchestratorError::other)?;
    Ok(body.into_bytes())
}

/// The output of a future that is ready at its first poll.
fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}
