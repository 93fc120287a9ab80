//! Counts every request of the daemon to AWS: by service, operation, and what became of it.
//!
//! Owns the interceptor that each client gets, and the classes. [`Class::of`] decides, and is pure. Changes no
//! request, and fails none. Credentials (STS, the instance's metadata) are not counted: their clients are the SDK's
//! own.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeSerializationInterceptorContextRef, FinalizerInterceptorContextRef,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, Metadata};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};
use serde::Deserialize;

use super::failure::{self, Failure};
use crate::clock::{Clock, Monotonic};
use crate::metrics::Metrics;

/// What became of a request. The same words for all services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Ok,
    /// The service asks to slow down.
    Throttled,
    /// No permission, a wrong signature, no credentials.
    Denied,
    /// The table, stream, group or shard is not there.
    NotFound,
    /// A condition was not met, or it exists already. Between workers that is everyday business.
    Conflict,
    /// A shard iterator, or a token of a listing, was too old.
    ExpiredIterator,
    /// The stream has trimmed what was asked for.
    Trimmed,
    /// Refused for any other reason of the request's.
    Invalid,
    /// The service failed (5xx).
    Server,
    /// An answer that is none of the service's: of something in between, or cut short.
    Unreadable,
    /// No connection was made.
    Unreachable,
    /// The connection broke before the answer had come.
    Broken,
    /// There was no answer in the time that the request had, or it was needed no more.
    GivenUp,
}

impl Class {
    pub const ALL: [Self; 13] = [
        Self::Ok,
        Self::Throttled,
        Self::Denied,
        Self::NotFound,
        Self::Conflict,
        Self::ExpiredIterator,
        Self::Trimmed,
        Self::Invalid,
        Self::Server,
        Self::Unreadable,
        Self::Unreachable,
        Self::Broken,
        Self::GivenUp,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Throttled => "throttled",
            Self::Denied => "denied",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::ExpiredIterator => "expired_iterator",
            Self::Trimmed => "trimmed",
            Self::Invalid => "invalid",
            Self::Server => "server",
            Self::Unreadable => "unreadable",
            Self::Unreachable => "unreachable",
            Self::Broken => "broken",
            Self::GivenUp => "given_up",
        }
    }

    /// Of a request that ended so.
    pub fn of(end: End<'_>) -> Self {
        match end {
            End::Answered => Self::Ok,
            End::Refused { status, code } => Self::of_refusal(status, code),
            End::Unanswered(error) => match failure::undelivered(error) {
                Failure::Denied(_) => Self::Denied,
                Failure::Unavailable(_) => Self::Unreachable,
                _ => Self::Broken,
            },
            // It never left the process: a parameter, an endpoint or a credential.
            End::Unsent => Self::Denied,
            End::GivenUp => Self::GivenUp,
        }
    }

    fn of_refusal(status: u16, code: Option<&str>) -> Self {
        let Some(code) = code.filter(|code| !code.is_empty()) else {
            return match status {
                429 => Self::Throttled,
                500.. => Self::Server,
                _ => Self::Unreadable,
            };
        };
        match failure::refusal(status, Some(code), "") {
            Failure::Throttled(_) => return Self::Throttled,
            Failure::Denied(_) => return Self::Denied,
            _ => {}
        }
        match code {
            "ResourceNotFoundException" | "TableNotFoundException" => Self::NotFound,
            "ConditionalCheckFailedException"
            | "TransactionCanceledException"
            | "TransactionConflictException"
            | "ResourceAlreadyExistsException"
            | "ResourceInUseException"
            | "OperationAbortedException" => Self::Conflict,
            "ExpiredIteratorException" | "ExpiredNextTokenException" => Self::ExpiredIterator,
            "TrimmedDataAccessException" => Self::Trimmed,
            _ if status >= 500 || code.starts_with("ServiceUnavailable") => Self::Server,
            _ => Self::Invalid,
        }
    }
}

/// How a request ended, as far as it matters to its class.
#[derive(Clone, Copy, Debug)]
pub enum End<'e> {
    Answered,
    /// There was an answer, and it was no success, or could not be read.
    Refused {
        status: u16,
        code: Option<&'e str>,
    },
    Unanswered(&'e ConnectorError),
    Unsent,
    GivenUp,
}

/// The label of a service, by the name that its API model has.
fn service(name: &str) -> &'static str {
    match name {
        "DynamoDB" => "dynamodb",
        "DynamoDB Streams" => "dynamodb_streams",
        "Kinesis" => "kinesis",
        "CloudWatch Logs" => "logs",
        _ => "other",
    }
}

/// The code of a refusal, as the services of AWS tell it in JSON: in a header, or under `__type` or `code` in the
/// body; without the namespace before `#`, and what may follow a colon.
fn code(answer: &HttpResponse) -> Option<String> {
    #[derive(Deserialize)]
    struct Told {
        #[serde(rename = "__type")]
        kind: Option<String>,
        code: Option<String>,
    }
    let told = answer.headers().get("x-amzn-errortype").map(str::to_owned);
    let told = told.or_else(|| {
        let body: Told = serde_json::from_slice(answer.body().bytes()?).ok()?;
        body.code.or(body.kind)
    })?;
    let told = told.split(':').next().unwrap_or_default();
    Some(told.rsplit('#').next().unwrap_or_default().to_owned())
}

/// Counts the requests of the clients that it is given to.
#[derive(Clone)]
pub struct Requests {
    metrics: Metrics,
    clock: Arc<dyn Clock>,
}

impl Requests {
    pub fn counted_in(metrics: Metrics, clock: Arc<dyn Clock>) -> Self {
        Self { metrics, clock }
    }

    fn count(&self, request: &Begun, end: End<'_>) {
        let Begun {
            service,
            operation,
            at,
        } = request;
        let class = Class::of(end).as_str();
        self.metrics
            .aws_requests
            .with_label_values(&[service, operation.as_str(), class])
            .inc();
        self.metrics
            .aws_request_seconds
            .with_label_values(&[service, operation.as_str()])
            .observe(self.clock.now().since(*at).as_secs_f64());
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Requests")
    }
}

/// A request on its way.
#[derive(Clone, Debug)]
struct Begun {
    service: &'static str,
    operation: String,
    at: Monotonic,
}

/// Kept with the request until it ends. Whoever gives a request up drops its future, and the SDK tells no
/// interceptor of that: but this goes with it.
#[derive(Debug)]
struct OnItsWay {
    requests: Requests,
    begun: Mutex<Option<Begun>>,
}

impl Storable for OnItsWay {
    type Storer = StoreReplace<Self>;
}

impl OnItsWay {
    /// The first call counts.
    fn end(&self, end: End<'_>) {
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(begun) = begun {
            self.requests.count(&begun, end);
        }
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.end(End::GivenUp);
    }
}

impl Intercept for Requests {
    fn name(&self) -> &'static str {
        "Requests"
    }

    // The first hook that knows the operation: before the execution only the client's settings are there.
    fn read_before_serialization(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(metadata) = bag.load::<Metadata>() {
            let begun = Begun {
                service: service(metadata.service()),
                operation: metadata.name().to_owned(),
                at: self.clock.now(),
            };
            bag.interceptor_state().store_put(OnItsWay {
                requests: self.clone(),
                begun: Mutex::new(Some(begun)),
            });
        }
        Ok(())
    }

    // Of an answer that is a stream of events this is its head.
    fn read_after_execution(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(request) = bag.load::<OnItsWay>() else {
            return Ok(());
        };
        match (context.output_or_error(), context.response()) {
            (Some(Ok(_)), _) => request.end(End::Answered),
            (Some(Err(error)), _) if error.is_timeout_error() => request.end(End::GivenUp),
            (_, Some(answer)) => request.end(End::Refused {
                status: answer.status().as_u16(),
                code: code(answer).as_deref(),
            }),
            (Some(Err(error)), None) => match error.as_connector_error() {
                Some(error) => request.end(End::Unanswered(error)),
                None => request.end(End::Unsent),
            },
            (None, None) => request.end(End::Unsent),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
