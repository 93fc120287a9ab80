//! Whether a pipeline's destination feeds its own source.
//!
//! Pure.

use crate::clock::Timestamp;

/// What is known of circles through subscription filters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// When a look showed that no filter of the destination delivers to the source's stream.
    pub clear_since: Option<Timestamp>,
}

impl Guard {
    /// Whether an event that came into the stream at `arrived`, from a group that the pipeline writes to, is
    /// only left over from a circle that is broken by now.
    pub fn is_leftover(&self, arrived: Option<Timestamp>) -> bool {
        matches!((self.clear_since, arrived), (Some(clear), Some(arrived)) if arrived < clear)
    }
}
