//! The memory that records in flight may take.
//!
//! Owns one pipeline's share of the process's budget. A read reserves the largest answer before it asks,
//! and then gives back what the answer did not need. The stream itself is the buffer: without budget,
//! nothing is read.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics::Metrics;

/// A permit stands for so many bytes: a semaphore counts in 32 bits.
const UNIT: usize = 1024;

/// What a record takes while it is being put: the message, the copy that the SDK's request holds, and the
/// request's body.
pub const COPIES: usize = 3;

/// A pipeline's share.
#[derive(Clone, Debug)]
pub struct Budget {
    permits: Arc<Semaphore>,
    all: usize,
    pipeline: String,
    metrics: Metrics,
}

impl Budget {
    /// A budget of `bytes`, but at least one answer of `largest`: with less, nothing could ever be read.
    pub fn new(bytes: usize, largest: usize, pipeline: &str, metrics: Metrics) -> Self {
        let bytes = bytes.max(largest);
        metrics
            .buffer_limit_bytes
            .with_label_values(&[pipeline])
            .set(bytes as i64);
        let all = units(bytes).min(Semaphore::MAX_PERMITS);
        Self {
            permits: Arc::new(Semaphore::new(all)),
            all,
            pipeline: pipeline.to_owned(),
            metrics,
        }
    }

    /// Waits, in turn, until `bytes` are free, or, where that is less, the whole budget. Cancel-safe.
    pub async fn reserve(&self, bytes: usize) -> Reservation {
        let wanted = u32::try_from(units(bytes).min(self.all)).unwrap_or(u32::MAX);
        // The semaphore is never closed; were it, a reservation of nothing would only weaken the bound.
        let permit = self.permits.clone().acquire_many_owned(wanted).await.ok();
        let gauge = self.metrics.buffer_bytes.with_label_values(&[&self.pipeline]);
        let reservation = Reservation { permit, gauge };
        reservation.gauge.add(reservation.bytes() as i64);
        reservation
    }
}

fn units(bytes: usize) -> usize {
    bytes.div_ceil(UNIT)
}

/// Memory held. Dropping it gives it back.
#[derive(Debug)]
pub struct Reservation {
    permit: Option<OwnedSemaphorePermit>,
    gauge: prometheus::IntGauge,
}

impl Reservation {
    pub fn bytes(&self) -> usize {
        self.permit.as_ref().map_or(0, |p| p.num_permits() * UNIT)
    }

    /// Keeps `bytes`, rounded up, and gives the rest back.
    pub fn shrink(&mut self, bytes: usize) {
        let before = self.bytes();
        if let Some(permit) = &mut self.permit {
            let surplus = permit.num_permits().saturating_sub(units(bytes));
            drop(permit.split(surplus));
        }
        self.gauge.sub((before - self.bytes()) as i64);
    }

    /// Takes `bytes`, rounded up, out of this one, or as many as it has.
    pub fn split(&mut self, bytes: usize) -> Self {
        let permit = self.permit.as_mut().and_then(|permit| {
            let count = units(bytes).min(permit.num_permits());
            permit.split(count)
        });
        Self {
            permit,
            gauge: self.gauge.clone(),
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.gauge.sub(self.bytes() as i64);
    }
}

/// Gives back, oldest first, what goes beyond the `bytes` still in flight.
pub fn fit(reservations: &mut Vec<Reservation>, bytes: usize) {
    let mut held: usize = reservations.iter().map(Reservation::bytes).sum();
    while let Some(oldest) = reservations.first_mut() {
        let surplus = held.saturating_sub(bytes);
        if surplus < UNIT {
            break;
        }
        let before = oldest.bytes();
        let keep = before.saturating_sub(surplus);
        oldest.shrink(keep);
        held -= before - oldest.bytes();
        if oldest.bytes() > 0 {
            break;
        }
        reservations.remove(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_reserved_never_passes_the_budget_and_comes_back() {
        let budget = Budget::new(10 * UNIT, 4 * UNIT, "p", Metrics::new());
        let mut first = budget.reserve(4 * UNIT).await;
        let second = budget.reserve(4 * UNIT).await;
        assert_eq!(budget.permits.available_permits(), 2);
        let third = budget.reserve(4 * UNIT);
        tokio::pin!(third);
        assert!(
            tokio::time::timeout(std::time::Duration::ZERO, &mut third)
                .await
                .is_err(),
            "it waits"
        );
        first.shrink(2 * UNIT);
        let third = third.await;
        assert_eq!(budget.permits.available_permits(), 0);
        drop((first, second, third));
        assert_eq!(budget.permits.available_permits(), 10);
    }

    #[tokio::test]
    async fn a_reservation_can_be_split_and_is_never_larger_than_the_budget() {
        let budget = Budget::new(10 * UNIT, UNIT, "p", Metrics::new());
        let mut whole = budget.reserve(12 * UNIT).await;
        assert_eq!(whole.bytes(), 10 * UNIT);
        let part = whole.split(2 * UNIT + 1);
        assert_eq!((whole.bytes(), part.bytes()), (7 * UNIT, 3 * UNIT));
        let rest = whole.split(20 * UNIT);
        assert_eq!((whole.bytes(), rest.bytes()), (0, 7 * UNIT));
        drop((whole, part));
        assert_eq!(budget.permits.available_permits(), 3);
        drop(rest);
        assert_eq!(budget.permits.available_permits(), 10);
    }

    #[tokio::test]
    async fn memory_comes_back_oldest_first_as_records_are_finished() {
        let budget = Budget::new(100 * UNIT, UNIT, "p", Metrics::new());
        let mut held = vec![budget.reserve(4 * UNIT).await, budget.reserve(4 * UNIT).await];
        fit(&mut held, 7 * UNIT);
        assert_eq!(held.iter().map(|r| r.bytes() / UNIT).collect::<Vec<_>>(), [3, 4]);
        fit(&mut held, 4 * UNIT - 1);
        assert_eq!(held.iter().map(|r| r.bytes() / UNIT).collect::<Vec<_>>(), [4]);
        fit(&mut held, 0);
        assert!(held.is_empty());
        assert_eq!(budget.permits.available_permits(), 100);
    }
}
