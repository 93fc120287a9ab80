//! Weir leases the shards of DynamoDB Streams and Kinesis Data Streams, decodes their records, and writes
//! every one of them to CloudWatch Logs.
//!
//! This crate is the program's own; it promises no API. `ARCHITECTURE.md` has the map, the flow of the
//! data and the invariants of the parts. What follows is what the whole must keep; each promise has a
//! test of its name in `tests/sim/promises.rs`, where a simulation of workers, stream, table and log,
//! with seeded faults, tries to break it.
//!
//! # Nothing is lost
//! A record ends as delivered, dropped by the user's rule (filtered, or before the start), without events
//! (CloudWatch Logs' control messages: filtered), or dead-lettered with the reason and its bytes (with a
//! redaction, what it takes to read them again). The counters add
//! up: received = delivered + filtered + before_start + already_delivered + dead_lettered + given_back +
//! in_flight. `already_delivered` are records whose every event was found in the log after a dead worker;
//! `given_back` are records that were read and then left to the shard's next owner, who reads them again. A
//! gap that the service made (trimmed data) is a row in the fleet table, an error in the log, and a count.
//!
//! # At least once, nearly once
//! A checkpoint moves only over the contiguous prefix that CloudWatch Logs accepted
//! ([`ledger`]). A planned stop repeats nothing. Repeats come only from a crash, a pause beyond
//! the lease, a put whose answer was lost, or a drain that hit its limit. A crash repeats at most what was
//! sent since the last checkpoint, and of that only what the next owner does not find in the log
//! ([`logs::lookup`]).
//!
//! # In order
//! First deliveries enter a log stream in stream order, within a shard and from parent to child. Batches
//! are cut in arrival order; the stable sort by timestamp that PutLogEvents asks for happens only inside
//! one ([`logs::batch`]).
//!
//! # A stale owner can't write a checkpoint
//! Whatever it paused for: every write of a lease is conditional on its owner and counter
//! ([`lease::held`]), and a worker fences itself before others may take over ([`lease::fence`]).
//!
//! # Bounded
//! Every queue, batch, retry delay and wait has a limit; one memory budget covers the records in flight
//! ([`consumer::budget`]), and the stream itself is the buffer.
//!
//! # Honest
//! Readiness, lag, gaps and every error class are visible without reading code ([`metrics`],
//! [`readiness`]).

pub mod app;
pub mod aws;
pub mod backoff;
pub mod check;
pub mod cli;
pub mod clock;
pub mod config;
pub mod consumer;
pub mod coordinator;
pub mod decode;
mod digest;
pub mod filter;
pub mod http;
pub mod json;
pub mod lease;
pub mod ledger;
pub mod log_level;
pub mod logs;
pub mod memory;
pub mod metrics;
pub mod operator;
pub mod policy;
mod queue;
pub mod readiness;
pub mod redact;
pub mod shape;
pub mod shutdown;
pub mod status;
pub mod stream;
mod suggest;
pub mod trace;
