//! What a release holds.
