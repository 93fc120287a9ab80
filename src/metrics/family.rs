//! What a metric of each kind is made from, and how it is described to a reader.
//!
//! Pure. Only [`super::Metrics`] makes metrics.

use prometheus::core::Collector;
use prometheus::{GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts};

/// From a request inside a region that is answered at once, to one that a time-out ended.
pub const SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Log events of a put: 10,000 at most (PutLogEvents).
pub const EVENTS: &[f64] = &[1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0];
/// Bytes of a put, as CloudWatch Logs counts them: 1,048,576 at most (PutLogEvents).
pub const BYTES: &[f64] = &[
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
];

/// One metric, as its page in the documentation shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Described {
    pub name: &'static str,
    /// As Prometheus calls it: `counter`, `gauge`, `histogram`.
    pub kind: &'static str,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

/// A kind of metric.
pub(super) trait Family: Collector + Clone + Sized + 'static {
    const KIND: &'static str;

    /// `buckets` are a histogram's upper bounds, and nothing to the others.
    fn make(name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> prometheus::Result<Self>;
}

macro_rules! families {
    ($($kind:ident = $name:literal),*) => {
        $(impl Family for $kind {
            const KIND: &'static str = $name;

            fn make(name: &str, help: &str, labels: &[&str], _buckets: &[f64]) -> prometheus::Result<Self> {
                Self::new(Opts::new(name, help), labels)
            }
        })*
    };
}

families!(
    IntCounterVec = "counter",
    IntGaugeVec = "gauge",
    GaugeVec = "gauge"
);

impl Family for HistogramVec {
    const KIND: &'static str = "histogram";

    fn make(name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> prometheus::Result<Self> {
        Self::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)
    }
}
