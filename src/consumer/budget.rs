//! The memory that records in flight may take.
//!
//! Owns one pipeline's share of the process's budget, in two parts. A read reserves the largest answer
//! from the one before it asks, then gives back what the answer did not need, and holds the rest until the
//! last record is decoded. Meanwhile events are reserved from the other, and held until they are delivered.
//! Nobody who holds events waits for memory, so that those who wait for it get it in the end. The stream
//! itself is the buffer: without budget, nothing is read.

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
    answers: Pool,
    events: Pool,
    gauge: prometheus::IntGauge,
}

#[derive(Clone, Debug)]
struct Pool {
    permits: Arc<Semaphore>,
    all: usize,
}

/// One event of CloudWatch Logs' limit. What needs more than there is takes all, one after the other.
const LEAST_EVENTS: usize = 1 << 20;

impl Budget {
    /// A budget of `bytes`, half of them for answers, but at least one answer of `largest`, and its events:
    /// with less, nothing could ever be read.
    pub fn new(bytes: usize, largest: usize, pipeline: &str, metrics: &Metrics) -> Self {
        // What is left of some answers must not keep the next one from being read.
        let answers = (largest + largest / 4).max(bytes / 2);
        let events = LEAST_EVENTS.max(bytes.saturating_sub(answers));
        metrics
            .buffer_limit_bytes
            .with_label_values(&[pipeline])
            .set((answers + events) as i64);
        Self {
            answers: Pool::new(answers),
            events: Pool::new(events),
            gauge: metrics.buffer_bytes.with_label_values(&[pipeline]),
        }
    }

    /// Waits, in turn, until `bytes` for an answer are free, or, where that is less, all there are for
    /// answers. Cancel-safe.
    pub async fn reserve_answer(&self, bytes: usize) -> Reservation {
        self.answers.reserve(bytes, &self.gauge).await
    }

    /// The same for events.
    pub async fn reserve_events(&self, bytes: usize) -> Reservation {
        self.events.reserve(bytes, &self.gauge).await
    }
}

impl Pool {
    fn new(bytes: usize) -> Self {
        let all = units(bytes).min(Semaphore::MAX_PERMITS);
        Self {
            permits: Arc::new(Semaphore::new(all)),
            all,
        }
    }

    async fn reserve(&self, bytes: usize, gauge: &prometheus::IntGauge) -> Reservation {
        let wanted = u32::try_from(units(bytes).min(self.all)).unwrap_or(u32::MAX);
        // The semaphore is never closed; were it, a reservation of nothing would only weaken the bound.
        let permit = self.permits.clone().acquire_many_owned(wanted).await.ok();
        let gauge = gauge.clone();
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

    /// Keeps `bytes`, rounded up, as [`Self::shrink`] does, or takes what is missing where it is free: nobody
    /// who holds memory waits for more.
    pub fn fit(&mut self, bytes: usize) {
        let missing = units(bytes).saturating_sub(units(self.bytes()));
        if missing == 0 {
            return self.shrink(bytes);
        }
        if let (Some(permit), Ok(missing)) = (&mut self.permit, u32::try_from(missing))
            && let Ok(more) = permit.semaphore().clone().try_acquire_many_owned(missing)
        {
            permit.merge(more);
            self.gauge.add(i64::from(missing) * UNIT as i64);
        }
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

    fn gauge() -> prometheus::IntGauge {
        Metrics::new().buffer_bytes.with_label_values(&["p"])
    }

    #[tokio::test]
    async fn what_is_reserved_never_passes_the_budget_and_comes_back() {
        let (pool, gauge) = (Pool::new(10 * UNIT), gauge());
        let mut first = pool.reserve(4 * UNIT, &gauge).await;
        let second = pool.reserve(4 * UNIT, &gauge).await;
        assert_eq!(pool.permits.available_permits(), 2);
        let third = pool.reserve(4 * UNIT, &gauge);
        tokio::pin!(third);
        assert!(
            tokio::time::timeout(std::time::Duration::ZERO, &mut third)
                .await
                .is_err(),
            "it waits"
        );
        first.shrink(2 * UNIT);
        let third = third.await;
        assert_eq!(
            (pool.permits.available_permits(), gauge.get()),
            (0, 10 * UNIT as i64)
        );
        drop((first, second, third));
        assert_eq!((pool.permits.available_permits(), gauge.get()), (10, 0));
    }

    #[tokio::test]
    async fn a_reservation_can_be_split_and_is_never_larger_than_the_budget() {
        let (pool, gauge) = (Pool::new(10 * UNIT), gauge());
        let mut whole = pool.reserve(12 * UNIT, &gauge).await;
        assert_eq!(whole.bytes(), 10 * UNIT);
        let part = whole.split(2 * UNIT + 1);
        assert_eq!((whole.bytes(), part.bytes()), (7 * UNIT, 3 * UNIT));
        let rest = whole.split(20 * UNIT);
        assert_eq!((whole.bytes(), rest.bytes()), (0, 7 * UNIT));
        drop((whole, part));
        assert_eq!(pool.permits.available_permits(), 3);
        drop(rest);
        assert_eq!(pool.permits.available_permits(), 10);
    }

    #[tokio::test]
    async fn a_reservation_that_is_too_small_grows_where_there_is_room() {
        let (pool, gauge) = (Pool::new(10 * UNIT), gauge());
        let mut one = pool.reserve(2 * UNIT, &gauge).await;
        let other = pool.reserve(3 * UNIT, &gauge).await;
        one.fit(6 * UNIT);
        assert_eq!((one.bytes(), gauge.get()), (6 * UNIT, 9 * UNIT as i64));
        one.fit(8 * UNIT);
        assert_eq!(one.bytes(), 6 * UNIT, "there is not enough, and it doesn't wait");
        one.fit(UNIT);
        assert_eq!((one.bytes(), gauge.get()), (UNIT, 4 * UNIT as i64));
        drop((one, other));
        assert_eq!(pool.permits.available_permits(), 10);
    }

    #[tokio::test]
    async fn memory_comes_back_oldest_first_as_records_are_finished() {
        let (pool, gauge) = (Pool::new(100 * UNIT), gauge());
        let mut held = vec![
            pool.reserve(4 * UNIT, &gauge).await,
            pool.reserve(4 * UNIT, &gauge).await,
        ];
        fit(&mut held, 7 * UNIT);
        assert_eq!(held.iter().map(|r| r.bytes() / UNIT).collect::<Vec<_>>(), [3, 4]);
        fit(&mut held, 4 * UNIT - 1);
        assert_eq!(held.iter().map(|r| r.bytes() / UNIT).collect::<Vec<_>>(), [4]);
        fit(&mut held, 0);
        assert!(held.is_empty());
        assert_eq!(pool.permits.available_permits(), 100);
    }

    #[tokio::test]
    async fn answers_that_hold_all_their_memory_leave_that_of_events_alone() {
        let budget = Budget::new(16 << 20, 1 << 20, "p", &Metrics::new());
        let answers = budget.reserve_answer(usize::MAX).await;
        let events = budget.reserve_events(usize::MAX).await;
        assert_eq!((answers.bytes(), events.bytes()), (8 << 20, 8 << 20));
        let poor = Budget::new(0, 1 << 20, "p", &Metrics::new());
        assert_eq!(poor.reserve_answer(usize::MAX).await.bytes(), 5 << 18);
        assert_eq!(poor.reserve_events(usize::MAX).await.bytes(), LEAST_EVENTS);
    }
}
