//! Envelopes of CloudWatch Logs subscriptions. Pure.
