//! The raw body of an answer, which the SDK's typed ones leave out.
//!
//! Owns one interceptor; used by the adapter next to it alone.

use std::task::{Context, Poll, Waker};

use aws_sdk_dynamodbstreams::operation::get_records::{GetRecords, GetRecordsOutput};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeDeserializationInterceptorContextMut, Error, Output,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::client::runtime_plugin::RuntimePlugin;
use aws_smithy_runtime_api::client::ser_de::{DeserializeResponse, SharedResponseDeserializer};
use aws_smithy_types::byte_stream::ByteStream;
use aws_smithy_types::config_bag::{ConfigBag, FrozenLayer};
use bytes::Bytes;

use crate::aws::raw::Slot;

/// Keeps the body of a successful GetRecords answer, and keeps the SDK from building its maps: for each
/// attribute value they take several allocations, and the number texts they were made from are gone.
#[derive(Debug)]
pub struct KeepBody(pub Slot<Bytes>);

impl Intercept for KeepBody {
    fn name(&self) -> &'static str {
        "KeepBody"
    }

    fn modify_before_deserialization(
        &self,
        _: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // The orchestrator looks the deserializer up after this hook, and this layer lies over the operation's.
        cfg.interceptor_state()
            .store_put(SharedResponseDeserializer::new(BodyKeeper {
                operation: GetRecords::new().config(),
                slot: self.0.clone(),
            }));
        Ok(())
    }
}

#[derive(Debug)]
struct BodyKeeper {
    /// The operation's own layer; it holds the deserializer that reads error answers.
    operation: Option<FrozenLayer>,
    slot: Slot<Bytes>,
}

impl DeserializeResponse for BodyKeeper {
    fn deserialize_nonstreaming_with_config(
        &self,
        response: &HttpResponse,
        cfg: &ConfigBag,
    ) -> Result<Output, OrchestratorError<Error>> {
        if !response.status().is_success() {
            return match self
                .operation
                .as_ref()
                .and_then(|o| o.load::<SharedResponseDeserializer>())
            {
                Some(inner) => inner.deserialize_nonstreaming_with_config(response, cfg),
                None => Err(OrchestratorError::other("GetRecords has no deserializer")),
            };
        }
        // The orchestrator has read the body into memory before it asks, so that the future is ready at
        // once, and a clone of such a body shares its bytes.
        let body = response
            .body()
            .try_clone()
            .and_then(|body| ready(ByteStream::new(body).collect()))
            .ok_or_else(|| OrchestratorError::other("the body is not in memory"))?
            .map_err(OrchestratorError::other)?;
        self.slot.put(body.into_bytes());
        Ok(Output::erase(GetRecordsOutput::builder().build()))
    }
}

/// The output of a future that is ready at its first poll.
fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}
