//! What went wrong with a request to AWS, in the few kinds that Weir tells apart.
//!
//! Owns the reading of `SdkError`; every adapter maps [`Failure`] to the errors of its own seam. No I/O here.

use std::error::Error;
use std::fmt;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::{ConnectorError, SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

/// A failed request. The texts are for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The service asks to slow down. Not applied.
    Throttled(String),
    /// No permission, a wrong signature, or no credentials at all. Not applied.
    Denied(String),
    /// Not applied: the request was never sent, or the service was not there.
    Unavailable(String),
    /// Sent, and perhaps applied: a time-out, a broken connection, an internal error of the service.
    Unanswered(String),
    /// The service refused for a reason of its own; the caller knows its codes. Not applied.
    Service { code: String, message: String },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Throttled(text) | Self::Denied(text) | Self::Unavailable(text) | Self::Unanswered(text) => {
                f.write_str(text)
            }
            Self::Service { code, message } => write!(f, "{code}: {message}"),
        }
    }
}

/// Codes that ask to slow down, over all services ("Common Errors" of each API reference, and the lists
/// that the SDKs themselves retry as throttles). They are often unmodelled, so only the code tells.
const THROTTLES: &[&str] = &[
    "EC2ThrottledException",
    "KMSThrottlingException",
    "LimitExceededException",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionInProgressException",
];

/// Codes that only a person can do something about.
const DENIALS: &[&str] = &[
    "AccessDenied",
    "AccessDeniedException",
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "NotAuthorized",
    "OptInRequired",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "SubscriptionRequiredException",
    "UnauthorizedOperation",
    "UnrecognizedClientException",
];

/// What `error` means for the one who asked.
pub fn failure<E>(error: &SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error {
        SdkError::ServiceError(answer) => refusal(
            answer.raw().status().as_u16(),
            answer.err().code(),
            answer.err().message().unwrap_or(&chain(answer.err())),
        ),
        SdkError::DispatchFailure(dispatch) => match dispatch.as_connector_error() {
            Some(error) => undelivered(error),
            None => Failure::Unanswered("the request broke off".to_owned()),
        },
        // A construction never leaves the process. It fails for a parameter, an endpoint or a credential.
        SdkError::ConstructionFailure(_) => Failure::Denied(chain(error)),
        SdkError::ResponseError(answer) => refusal(answer.raw().status().as_u16(), None, &chain(error)),
        _ => Failure::Unanswered(chain(error)),
    }
}

/// Reads an answer that says no.
pub fn refusal(status: u16, code: Option<&str>, message: &str) -> Failure {
    let Some(code) = code.filter(|c| !c.is_empty()) else {
        // No code: it is not the service that answers but something in front of it (a proxy's HTML page).
        let text = format!("HTTP status {status} without an error code: {message}");
        return match status {
            // A success that can't be read: an answer cut short, or a page from something in between.
            ..400 => Failure::Unanswered(text),
            429 => Failure::Throttled(text),
            503 => Failure::Unavailable(text),
            500.. => Failure::Unanswered(text),
            _ => Failure::Unavailable(text),
        };
    };
    let text = format!("{code}: {message}");
    if THROTTLES.contains(&code) {
        Failure::Throttled(text)
    } else if DENIALS.contains(&code) || code.starts_with("KMS") {
        Failure::Denied(text)
    } else if status == 503 || code.starts_with("ServiceUnavailable") {
        Failure::Unavailable(text)
    } else if status >= 500 {
        // "An internal server error: the operation might have succeeded" (DynamoDB, "Error handling").
        Failure::Unanswered(text)
    } else {
        Failure::Service {
            code: code.to_owned(),
            message: message.to_owned(),
        }
    }
}

/// Reads a request that got no answer.
pub(super) fn undelivered(error: &ConnectorError) -> Failure {
    let text = chain(error);
    if let Some(credentials) = find::<CredentialsError>(error) {
        return Failure::Denied(format!("no credentials: {}", chain(credentials)));
    }
    let never_connected =
        find::<hyper_util::client::legacy::Error>(error).is_some_and(|e| e.is_connect()) || error.is_user();
    if never_connected {
        Failure::Unavailable(text)
    } else {
        Failure::Unanswered(text)
    }
}

fn sources<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&e| e.source())
}

fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    sources(error).find_map(|e| e.downcast_ref::<T>())
}

/// Where a whole request begins in words of the SDK.
const REQUEST: &str = " to request `Request {";

/// The error and its causes in one line, and no request. The SDK's own words alone ("dispatch failure") say nothing.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for part in sources(error).map(ToString::to_string) {
        // Of an endpoint that is no URL the SDK's words hold the request, and that may hold records.
        let part = part.split(REQUEST).next().unwrap_or_default();
        // Many errors repeat their cause's text.
        if text.ends_with(part) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(part);
    }
    // A chain of credential providers answers in many lines; a log line is one.
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
    use aws_smithy_types::body::SdkBody;

    #[test]
    fn no_request_is_told() {
        let body = br#"{"logEvents":[{"message":"a record"}]}"#;
        let mut request = HttpRequest::new(SdkBody::from(body.as_slice()));
        let error = request.uri_mut().set_endpoint("127.0.0.1:1234").unwrap_err();
        let told = chain(&error);
        assert!(!told.contains("a record") && !told.contains("Request"), "{told}");
        // As the SDK words it, with the request behind.
        let error = std::io::Error::other(format!("failed to apply endpoint `x` to request `{request:?}`"));
        assert!(error.to_string().contains("a record"), "{error}");
        assert_eq!(chain(&error), "failed to apply endpoint `x`");
    }

    #[test]
    fn a_refusal_is_read_by_its_code_then_by_its_status() {
        let kind = |status, code| match refusal(status, code, "m") {
            Failure::Throttled(_) => "throttled",
            Failure::Denied(_) => "denied",
            Failure::Unavailable(_) => "unavailable",
            Failure::Unanswered(_) => "unanswered",
            Failure::Service { .. } => "service",
        };
        for (status, code, want) in [
            (400, Some("ThrottlingException"), "throttled"),
            (400, Some("ProvisionedThroughputExceededException"), "throttled"),
            (500, Some("RequestLimitExceeded"), "throttled"),
            (400, Some("KMSThrottlingException"), "throttled"),
            (429, None, "throttled"),
            (400, Some("AccessDeniedException"), "denied"),
            (400, Some("UnrecognizedClientException"), "denied"),
            (400, Some("KMSDisabledException"), "denied"),
            (403, Some("InvalidSignatureException"), "denied"),
            (500, Some("InternalServerError"), "unanswered"),
            (500, Some("InternalFailure"), "unanswered"),
            (502, None, "unanswered"),
            (504, None, "unanswered"),
            (503, Some("ServiceUnavailableException"), "unavailable"),
            (503, None, "unavailable"),
            (404, None, "unavailable"),
            (200, None, "unanswered"),
            (400, Some(""), "unavailable"),
            (400, Some("ResourceNotFoundException"), "service"),
            (400, Some("ValidationException"), "service"),
        ] {
            assert_eq!(kind(status, code), want, "{status} {code:?}");
        }
    }

    #[test]
    fn the_status_of_an_answer_without_a_code_is_in_the_text() {
        let Failure::Unavailable(text) = refusal(404, None, "<html>") else {
            panic!("expected unavailable");
        };
        assert!(text.contains("404") && text.contains("<html>"), "{text}");
    }
}
