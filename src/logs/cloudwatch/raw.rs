//! The body of a put in place of the one that the SDK would write.
//!
//! Owns one interceptor; used by the adapter next to it alone. What the SDK does with a request stays its own: the
//! endpoint, the credentials, the signature, the time-out, the reading of the answer.

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextMut;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use bytes::Bytes;

use super::body;
use crate::logs::{LogDestination, LogEvent};

/// Gives an empty PutLogEvents its body.
#[derive(Debug)]
pub struct WholeBody(Bytes);

impl WholeBody {
    pub fn of(to: &LogDestination, events: &[LogEvent]) -> Self {
        Self(body::put_log_events(to, events).into())
    }
}

impl Intercept for WholeBody {
    fn name(&self) -> &'static str {
        "WholeBody"
    }

    // Before anything is signed. The bytes are shared from here to the socket.
    fn modify_before_retry_loop(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        request
            .headers_mut()
            .insert("content-length", self.0.len().to_string());
        *request.body_mut() = SdkBody::from(self.0.clone());
        Ok(())
    }
}
