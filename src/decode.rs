//! From a record to log events. Pure: no I/O, no clock, nothing but the record itself.

pub mod change;

/// Why a record could not become a log event. It goes to the dead letters with its bytes and this reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("not a DynamoDB stream record: {0}")]
    Malformed(String),
    #[error("the record has no readable ApproximateCreationDateTime")]
    NoTime,
}
