//! What a request that failed says.
//!
//! Pure. Owns the finding that a failure becomes: whose fault it is, and which permission is missing.

use super::{Cause, Finding, Severity, Subject};
use crate::aws::denial::{self, Denial};
use crate::aws::failure::Failure;

/// A request that was tried.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// As IAM names it.
    pub action: &'a str,
    /// The ARN that a policy would name.
    pub resource: &'a str,
    pub region: &'a str,
    pub subject: Subject,
    /// What a missing permission is: an error, or a warning where Weir gets on without it.
    pub if_denied: Severity,
}

/// What the failure of a request says.
pub fn failed(call: Call<'_>, failure: &Failure) -> Finding {
    let Call {
        action,
        resource,
        region,
        subject,
        if_denied,
    } = call;
    let service = action.split(':').next().unwrap_or_default();
    match failure {
        Failure::Throttled(text) => Finding::unknown(subject, format!("{action} is throttled: {text}"))
            .way_out("look again in a minute"),
        Failure::Unavailable(text) | Failure::Unanswered(text) => unreachable(service, region, text),
        Failure::Service { code, message } => {
            Finding::error(subject, format!("{action} is refused: {code}: {message}"))
        }
        Failure::Denied(said) => {
            let denial = denial::read(said, action);
            let way_out = denial.as_ref().and_then(|d| d.way_out(resource, Some(region)));
            let (severity, subject, cause, found) = match &denial {
                Some(Denial::Permission { .. }) => {
                    (if_denied, subject, None, format!("{action} is denied: {said}"))
                }
                Some(Denial::Clock) => (
                    Severity::Error,
                    Subject::Clock,
                    Some(Cause::Clock),
                    format!("AWS refuses the time of this machine: {said}"),
                ),
                Some(Denial::Key) => (
                    Severity::Error,
                    subject,
                    None,
                    format!("{action}: its KMS key can't be used: {said}"),
                ),
                Some(Denial::NoCredentials) => (
                    Severity::Error,
                    Subject::Credentials,
                    Some(Cause::Credentials),
                    said.clone(),
                ),
                _ => (
                    Severity::Error,
                    Subject::Credentials,
                    Some(Cause::Credentials),
                    format!("AWS refuses the credentials: {said}"),
                ),
            };
            Finding {
                severity,
                pipeline: None,
                subject,
                found,
                way_out,
                cause,
            }
        }
    }
}

/// What no answer says.
pub fn unreachable(service: &str, region: &str, text: &str) -> Finding {
    let found = format!("{service} in {region} gives no answer: {text}");
    let way_out = "check the network (a NAT gateway or a VPC endpoint, security groups, HTTPS_PROXY), AWS_ENDPOINT_URL \
                   and the region";
    Finding {
        cause: Some(Cause::Unreachable(format!("{service} {region}"))),
        ..Finding::error(Subject::Aws, found).way_out(way_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::failure::refusal;

    #[test]
    fn a_failure_is_told_by_whose_fault_it_is_with_the_way_out() {
        let call = |if_denied| Call {
            action: "dynamodb:GetRecords",
            resource: "arn:aws:dynamodb:eu-west-1:1:table/t/stream/*",
            region: "eu-west-1",
            subject: Subject::Source,
            if_denied,
        };
        let give = "give the role dynamodb:GetRecords on arn:aws:dynamodb:eu-west-1:1:table/t/stream/*";
        let (error, warning, unknown) = (Severity::Error, Severity::Warning, Severity::Unknown);
        for (code, message, if_denied, severity, subject, way_out) in [
            ("AccessDeniedException", "", error, error, Subject::Source, give),
            (
                "AccessDeniedException",
                "",
                warning,
                warning,
                Subject::Source,
                give,
            ),
            (
                "AccessDeniedException",
                "not authorized to perform: dynamodb:GetRecords with an explicit deny in a policy",
                error,
                error,
                Subject::Source,
                "take that out",
            ),
            (
                "InvalidSignatureException",
                "Signature expired: 20240101T000000Z is now earlier than 20240101T001000Z",
                warning,
                error,
                Subject::Clock,
                "clock is wrong",
            ),
            (
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
                warning,
                error,
                Subject::Credentials,
                "not known in eu-west-1",
            ),
            (
                "ThrottlingException",
                "",
                error,
                unknown,
                Subject::Source,
                "again",
            ),
            (
                "ValidationException",
                "told so",
                error,
                error,
                Subject::Source,
                "",
            ),
            ("InternalServerError", "", error, error, Subject::Aws, "network"),
        ] {
            let status = if code == "InternalServerError" { 500 } else { 400 };
            let found = failed(call(if_denied), &refusal(status, Some(code), message));
            assert_eq!((found.severity, found.subject), (severity, subject), "{code}");
            let told = found.way_out.unwrap_or_default();
            assert!(told.contains(way_out), "{code}: {told}");
        }
        let none = Failure::Denied("no credentials: nothing in the chain".to_owned());
        let found = failed(call(error), &none);
        assert_eq!(found.cause, Some(Cause::Credentials));
        assert!(found.way_out.unwrap().contains("AWS_PROFILE"));
    }
}
