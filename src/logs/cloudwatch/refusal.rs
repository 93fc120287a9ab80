//! Whose fault a refusal is, and the way out.
//!
//! Pure. An event is blamed only where the service says so in words that are known: a destination that will not do
//! must never cost an event, and what is not known is told to a person, and tried again.

use crate::aws::denial::{self, Denial};
use crate::aws::failure::Failure;
use crate::logs::SinkError;

/// A request, for messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// As IAM names it, like `logs:PutLogEvents`.
    pub(super) action: &'static str,
    /// The group, or the group and the stream.
    pub(super) what: &'a str,
    pub(super) region: &'a str,
}

/// What a failure means for the one who asked.
pub(super) fn sink_error(failure: &Failure, asked: Asked<'_>) -> SinkError {
    let text = format!("{}: {failure}", asked.what);
    let is_put = asked.action == "logs:PutLogEvents";
    match failure {
        Failure::Throttled(_) => SinkError::Throttled(text),
        Failure::Denied(said) => SinkError::Denied(told(text, denial(said, asked))),
        Failure::Unavailable(_) => SinkError::Unavailable(text),
        Failure::Unanswered(_) => SinkError::Unanswered(text),
        Failure::Service { code, message } => match code.as_str() {
            "ResourceNotFoundException" => SinkError::Missing(text),
            "InvalidParameterException" | "ValidationException" => match fault(message) {
                Fault::Events => SinkError::Invalid(text),
                Fault::Key => SinkError::Denied(told(text, Some(key(asked)))),
                Fault::Name => {
                    let way_out = "the name will not do: change `group` or `stream` of the destination";
                    SinkError::Denied(told(text, Some(way_out.to_owned())))
                }
                Fault::Unknown if is_put => {
                    let way_out = "no event is known to be at fault, so that none is given up: check the destination's \
                                   settings";
                    SinkError::Denied(told(text, Some(way_out.to_owned())))
                }
                Fault::Unknown => SinkError::Denied(text),
            },
            // The body of the request, which is the events.
            "SerializationException" => SinkError::Invalid(text),
            // A class of groups that takes no puts (DELIVERY).
            "InvalidOperationException" => {
                let way_out = "the group takes no such request: write to a group of class standard";
                SinkError::Denied(told(text, is_put.then(|| way_out.to_owned())))
            }
            // OperationAborted: another request on the same group is going on. InvalidSequenceToken: no longer
            // given (API reference of PutLogEvents), and Weir sends no token.
            _ => SinkError::Unavailable(text),
        },
    }
}

fn told(text: String, way_out: Option<String>) -> String {
    match way_out {
        Some(way_out) => format!("{text}; {way_out}"),
        None => text,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Events,
    Key,
    Name,
    Unknown,
}

/// Who is to blame for a parameter that is refused.
fn fault(message: &str) -> Fault {
    // The service repeats the value before it says where it stood: the text of an event may hold any word.
    if message.contains("at 'logEvents") {
        return Fault::Events;
    }
    if ["at 'logGroupName", "at 'logStreamName"]
        .iter()
        .any(|at| message.contains(at))
    {
        return Fault::Name;
    }
    let message = message.to_lowercase();
    let holds = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if holds(&["kms", "encryption key"]) {
        Fault::Key
    } else if holds(&["too large", "chronological", "24 hours", "log events are invalid"]) {
        Fault::Events
    } else if holds(&["log group name", "log stream name"]) {
        Fault::Name
    } else {
        Fault::Unknown
    }
}

/// The way out of a denial, by what the service said.
fn denial(said: &str, asked: Asked<'_>) -> Option<String> {
    match denial::read(said, asked.action)? {
        Denial::Key => Some(key(asked)),
        denial => denial.way_out(asked.what, Some(asked.region)),
    }
}

fn key(asked: Asked<'_>) -> String {
    let Asked { what, region, .. } = asked;
    format!(
        "the KMS key of {what} is missing or disabled, or its policy doesn't let logs.{region}.amazonaws.com use it: \
         enable it, or allow that service kms:Encrypt*, kms:Decrypt*, kms:ReEncrypt*, kms:GenerateDataKey* and \
         kms:Describe*"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::failure::refusal;

    const KEY: &str = "its policy doesn't let logs.eu-west-1.amazonaws.com use it";

    /// The class and the text that a person reads.
    fn told(code: &str, message: &str) -> (&'static str, String) {
        let asked = Asked {
            action: "logs:PutLogEvents",
            what: "/cdc/orders:s",
            region: "eu-west-1",
        };
        let error = sink_error(&refusal(400, Some(code), message), asked);
        (error.class(), error.to_string())
    }

    #[test]
    fn only_what_the_service_says_of_events_is_blamed_on_them() {
        // Texts as AWS gives them.
        const INVALID: &str = "InvalidParameterException";
        for (code, message, class, way_out) in [
            (
                INVALID,
                "Log event too large: 1048577 bytes exceeds limit of 1048576",
                "invalid",
                "",
            ),
            (
                INVALID,
                "Upload too large: 1049882 bytes exceeds limit of 1048576",
                "invalid",
                "",
            ),
            (
                INVALID,
                "Log events in a single PutLogEvents request must be in chronological order.",
                "invalid",
                "",
            ),
            (
                INVALID,
                "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.",
                "invalid",
                "",
            ),
            (
                INVALID,
                "1 validation error detected: Value '' at 'logEvents.1.member.message' failed to satisfy constraint: \
                 Member must have length greater than or equal to 1",
                "invalid",
                "",
            ),
            (
                INVALID,
                "1 validation error detected: Value '[InputLogEvent(timestamp=1, message=the KMS key at night)]' at \
                 'logEvents' failed to satisfy constraint: Member must have length less than or equal to 10000",
                "invalid",
                "",
            ),
            (
                INVALID,
                "1 validation error detected: Value '/cdc/my orders' at 'logGroupName' failed to satisfy constraint: \
                 Member must satisfy regular expression pattern: [\\.\\-_/#A-Za-z0-9]+",
                "denied",
                "change `group`",
            ),
            (
                INVALID,
                "1 validation error detected: Value 'a:b' at 'logStreamName' failed to satisfy constraint: Member must \
                 satisfy regular expression pattern: [^:*]*",
                "denied",
                "change `group` or `stream`",
            ),
            (
                INVALID,
                "The specified KMS key does not exist or is not allowed to be used with LogGroup \
                 'arn:aws:logs:eu-west-1:1:log-group:/cdc/orders'",
                "denied",
                KEY,
            ),
            (INVALID, "The KMS key provided is disabled.", "denied", KEY),
            (INVALID, "told so", "denied", "none is given up"),
            (
                "ValidationException",
                "something new",
                "denied",
                "none is given up",
            ),
            (
                "AccessDeniedException",
                "The specified KMS key does not exist or is not allowed to be used with Arn \
                 'arn:aws:logs:eu-west-2:1:log-group:g'",
                "denied",
                KEY,
            ),
            (
                "KMSDisabledException",
                "arn:aws:kms:eu-west-1:1:key/k is disabled.",
                "denied",
                KEY,
            ),
            ("KMSInvalidStateException", "is pending deletion.", "denied", KEY),
            (
                "AccessDeniedException",
                "User: arn:aws:sts::1:assumed-role/weir/i is not authorized to perform: logs:CreateLogStream on \
                 resource: arn:aws:logs:eu-west-1:1:log-group:/cdc/orders:log-stream:s because no identity-based policy \
                 allows the logs:CreateLogStream action",
                "denied",
                "; give the role logs:CreateLogStream on /cdc/orders:s",
            ),
            (
                "AccessDeniedException",
                "User: arn:aws:iam::1:user/u is not authorized to perform: logs:PutLogEvents on resource: \
                 arn:aws:logs:eu-west-1:1:log-group:g with an explicit deny in an identity-based policy",
                "denied",
                "; a policy denies logs:PutLogEvents",
            ),
            (
                "AccessDeniedException",
                "",
                "denied",
                "; give the role logs:PutLogEvents",
            ),
            (
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
                "denied",
                "not known in eu-west-1",
            ),
            (
                "InvalidSignatureException",
                "Signature expired: 20240101T000000Z is now earlier than 20240101T001000Z (20240101T001500Z - 5 min.)",
                "denied",
                "clock is wrong",
            ),
            (
                "InvalidSignatureException",
                "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
                 Access Key and signing method. Consult the service documentation for details.",
                "denied",
                "check the secret key",
            ),
            (
                "RequestTimeTooSkewed",
                "The difference is too large.",
                "denied",
                "clock is wrong",
            ),
            (
                "ExpiredTokenException",
                "The security token included in the request is expired",
                "denied",
                "renew",
            ),
            (
                "ResourceNotFoundException",
                "The specified log group does not exist.",
                "missing",
                "",
            ),
            (
                "ResourceNotFoundException",
                "The specified log stream does not exist.",
                "missing",
                "",
            ),
            (
                "OperationAbortedException",
                "A conflicting operation is currently in progress against this resource. Please try again.",
                "unavailable",
                "",
            ),
            ("ThrottlingException", "Rate exceeded", "throttled", ""),
        ] {
            let (found, text) = told(code, message);
            assert_eq!(found, class, "{code}: {message}");
            assert!(text.contains(way_out), "{text}");
            assert_eq!(text.contains("; "), !way_out.is_empty(), "{text}");
        }
    }
}
