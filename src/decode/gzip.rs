//! gzip, undone within bounds. Pure.
