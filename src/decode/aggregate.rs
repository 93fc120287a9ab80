//! Aggregates of the Kinesis Producer Library, taken apart. Pure.
