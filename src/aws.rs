//! AWS clients.

#[cfg(test)]
pub(crate) mod canned;
pub mod failure;
