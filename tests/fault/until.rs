//! Waiting for what a process does, of all tests that drive a real one.

use std::time::{Duration, Instant};

/// Asks `probe` until it says true. After `patience` without it, whatever was waited for hangs: panics.
pub async fn until<F: AsyncFnMut() -> bool>(what: &str, patience: Duration, mut probe: F) {
    let start = Instant::now();
    while !probe().await {
        assert!(
            start.elapsed() < patience,
            "waited {patience:?} for {what}, in vain"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
