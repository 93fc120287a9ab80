//! What a refusal by Kinesis means for the one who reads.
//!
//! Owns the mapping of the service's codes to [`SourceError`], and the ways out that the messages tell. Used
//! by the two Kinesis adapters.

use crate::aws::denial;
use crate::aws::failure::Failure;
use crate::stream::SourceError;

/// Whether the service refused with this code.
pub fn is(failure: &Failure, wanted: &str) -> bool {
    matches!(failure, Failure::Service { code, .. } if code == wanted)
}

/// What a failure means for the reader of `what`. All of these requests read, so that whether a lost one
/// was carried out makes no difference.
pub fn source_error(action: &str, failure: &Failure, what: &str) -> SourceError {
    match failure {
        Failure::Throttled(text) => SourceError::Throttled(format!("{what}: {text}")),
        Failure::Denied(text) => SourceError::AccessDenied(match key_problem(text) {
            Some(way_out) => format!("the records of {what} can't be decrypted: {text}: {way_out}"),
            None => denial::told(text, action, what, None),
        }),
        Failure::Unavailable(text) | Failure::Unanswered(text) => SourceError::Unavailable(text.clone()),
        Failure::Service { code, message } => match code.as_str() {
            "ExpiredIteratorException" => SourceError::IteratorExpired,
            "ResourceNotFoundException" => SourceError::NotFound(format!("{what}: {message}")),
            _ => SourceError::Unavailable(format!("{what}: {failure}")),
        },
    }
}

/// What to do about a code of KMS, which stands first in the text: the errors of GetRecords (its API
/// reference), and the states of a key (developer guide of KMS, "Key states").
fn key_problem(text: &str) -> Option<&'static str> {
    let code = text.split(':').next().unwrap_or_default();
    Some(match code {
        "KMSDisabledException" => "enable the stream's KMS key",
        "KMSInvalidStateException" => {
            "the stream's KMS key is not usable in its state: cancel its deletion, or bring back its key material"
        }
        "KMSAccessDeniedException" => {
            "allow kms:Decrypt on the stream's KMS key, in the policy of this role and in that of the key"
        }
        "KMSNotFoundException" => {
            "the stream's KMS key is not there: what it encrypted is lost with it; encrypt the stream with another"
        }
        "KMSOptInRequired" => "this account has no subscription for KMS: activate it",
        _ if code.starts_with("KMS") => "look after the stream's KMS key",
        _ => return None,
    })
}
