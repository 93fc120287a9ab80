//! The memory that records in flight may take.
//!
//! Owns the process's one budget, in two parts. A read reserves from the one, before it asks, what its answer may
//! take, then gives back what the answer did not need, and holds the rest until the last record is decoded.
//! Meanwhile events are reserved from the other, and held until they are delivered. Nobody who holds events
//! waits for memory, so that those who wait for it get it in the end. The stream itself is the buffer: without
//! budget, nothing is read.
//!
//! Of each part a pipeline has a minimum that no other can take, and the rest is for all, in the order in which
//! they ask. So a pipeline whose destination is down holds at most what is for all, and the others go on.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics::Metrics;

/// A permit stands for so many bytes: a semaphore counts in 32 bits.
const UNIT: usize = 1024;

/// What one pipeline may take.
#[derive(Clone, Debug)]
pub struct Budget {
    answers: Part,
    events: Part,
    copies: usize,
    gauge: prometheus::IntGauge,
}

/// One part of the budget, as a pipeline sees it.
#[derive(Clone, Debug)]
struct Part {
    own: Pool,
    common: Pool,
}

#[derive(Clone, Debug)]
struct Pool {
    permits: Arc<Semaphore>,
    all: usize,
}

/// One event of CloudWatch Logs' limit. What needs more than there is takes all, one after the other.
const LEAST_EVENTS: usize = 1 << 20;

/// So many reads of a pipeline go on side by side, unless one of them needs more than its share.
const READS: usize = 8;

/// What a pipeline asks of the budget.
#[derive(Clone, Copy, Debug)]
pub struct Need<'a> {
    pub pipeline: &'a str,
    /// The most bytes of one answer of its stream.
    pub largest: usize,
    /// How often a message is in memory on its way: see [`crate::logs::LogSink::copies`].
    pub copies: usize,
}

/// Divides a budget of `bytes`, half of it for answers. Too little is made as much as one answer of the
/// largest, and one event, need: with less, nothing could ever be read.
pub fn divide(bytes: usize, needs: &[Need<'_>], metrics: &Metrics) -> Vec<Budget> {
    let largest = needs.iter().map(|need| need.largest).max().unwrap_or(0);
    let answers = largest.max(bytes / 2);
    let events = LEAST_EVENTS.max(bytes.saturating_sub(answers));
    let share = Share::of(answers, events, needs);
    let (answers, events) = (Pool::new(share.common_answers), Pool::new(share.common_events));
    let budget = |need: &Need<'_>| {
        let part = |own, common: &Pool| Part {
            own: Pool::new(own),
            common: common.clone(),
        };
        let own_answers = if share.answers_apart { need.largest } else { 0 };
        let budget = Budget {
            answers: part(own_answers, &answers),
            events: part(share.own_events, &events),
            copies: need.copies,
            gauge: metrics.buffer_bytes.with_label_values(&[need.pipeline]),
        };
        let most = budget.answers.all() + budget.events.all();
        metrics
            .buffer_limit_bytes
            .with_label_values(&[need.pipeline])
            .set(most as i64);
        budget
    };
    needs.iter().map(budget).collect()
}

/// How the two parts are divided.
#[derive(Debug, PartialEq, Eq)]
struct Share {
    /// Each of several pipelines has memory for one answer of its own. Where there is too little for that, all of it is
    /// common: an answer is decoded, or given up within seconds, whatever its destination does.
    answers_apart: bool,
    common_answers: usize,
    own_events: usize,
    common_events: usize,
}

impl Share {
    fn of(answers: usize, events: usize, needs: &[Need<'_>]) -> Self {
        let each_one: usize = needs.iter().map(|need| need.largest).sum();
        let answers_apart = needs.len() > 1 && each_one <= answers;
        // One pipeline alone has all; of several, each has its part of one half.
        let own_events = match needs.len() {
            0 | 1 => events,
            many => events / (2 * many),
        };
        Self {
            answers_apart,
            common_answers: answers - if answers_apart { each_one } else { 0 },
            own_events,
            common_events: events - own_events * needs.len(),
        }
    }
}

impl Budget {
    /// Waits, in turn, until `bytes` for an answer are free, or, where that is less, all there are for
    /// answers. Cancel-safe.
    pub async fn reserve_answer(&self, bytes: usize) -> Reservation {
        self.answers.reserve(bytes, &self.gauge).await
    }

    /// How often a message is in memory on its way.
    pub fn copies(&self) -> usize {
        self.copies
    }

    /// The most that one answer can have, if no other is read.
    pub fn most_of_an_answer(&self) -> usize {
        self.answers.own.all.max(self.answers.common.all) * UNIT
    }

    /// What one answer can have while others are read.
    pub fn fair_answer(&self) -> usize {
        self.most_of_an_answer() / READS
    }

    /// The same for events.
    pub async fn reserve_events(&self, bytes: usize) -> Reservation {
        self.events.reserve(bytes, &self.gauge).await
    }

    /// Waits until there is memory for events of `bytes`, or, where that is less, for a quarter of what is this
    /// pipeline's own, and takes none: more would let one read go on at a time. Cancel-safe.
    pub async fn wait_for_events(&self, bytes: usize) {
        let own = self.events.own.all * UNIT;
        drop(self.reserve_events(bytes.min(own / 4)).await);
    }
}

impl Part {
    /// The most that one pipeline can hold.
    fn all(&self) -> usize {
        (self.own.all + self.common.all) * UNIT
    }

    /// Waits for both, and takes what is free first: of its own if that is enough, else of the common. What is
    /// more than either has takes all of the larger one, or of its own: nobody waits for what another
    /// pipeline's destination holds.
    async fn reserve(&self, bytes: usize, gauge: &prometheus::IntGauge) -> Reservation {
        let (own, common) = (self.own.all, self.common.all);
        let fits_own = units(bytes) <= own;
        let fits_common = units(bytes) <= common;
        // Safe to cancel: a reservation that is dropped is given back, one that waits loses its place alone.
        let permit = tokio::select! {
            biased;
            permit = self.own.take(bytes), if fits_own => permit,
            permit = self.common.take(bytes), if fits_common || common > own => permit,
            permit = self.own.take(bytes), if !fits_own && own > 0 => permit,
        };
        let gauge = gauge.clone();
        let reservation = Reservation { permit, gauge };
        reservation.gauge.add(reservation.bytes() as i64);
        reservation
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

    /// `bytes`, or all there are.
    async fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let wanted = u32::try_from(units(bytes).min(self.all)).unwrap_or(u32::MAX);
        // The semaphore is never closed; were it, a reservation of nothing would only weaken the bound.
        self.permits.clone().acquire_many_owned(wanted).await.ok()
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

    /// All that one pipeline has.
    fn alone(bytes: usize) -> (Part, Pool) {
        let own = Pool::new(bytes);
        let common = Pool::new(0);
        (
            Part {
                own: own.clone(),
                common,
            },
            own,
        )
    }

    fn need(pipeline: &str) -> Need<'_> {
        Need {
            pipeline,
            largest: 1 << 20,
            copies: 3,
        }
    }

    const MIB: usize = 1 << 20;

    #[tokio::test]
    async fn what_is_reserved_never_passes_the_budget_and_comes_back() {
        let ((part, pool), gauge) = (alone(10 * UNIT), gauge());
        let mut first = part.reserve(4 * UNIT, &gauge).await;
        let second = part.reserve(4 * UNIT, &gauge).await;
        assert_eq!(pool.permits.available_permits(), 2);
        let third = part.reserve(4 * UNIT, &gauge);
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
        let ((part, pool), gauge) = (alone(10 * UNIT), gauge());
        let mut whole = part.reserve(12 * UNIT, &gauge).await;
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
        let ((part, pool), gauge) = (alone(10 * UNIT), gauge());
        let mut one = part.reserve(2 * UNIT, &gauge).await;
        let other = part.reserve(3 * UNIT, &gauge).await;
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
        let ((part, pool), gauge) = (alone(100 * UNIT), gauge());
        let mut held = vec![
            part.reserve(4 * UNIT, &gauge).await,
            part.reserve(4 * UNIT, &gauge).await,
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
        let budget = divide(16 << 20, &[need("p")], &Metrics::new()).remove(0);
        let answers = budget.reserve_answer(usize::MAX).await;
        let events = budget.reserve_events(usize::MAX).await;
        assert_eq!((answers.bytes(), events.bytes()), (8 << 20, 8 << 20));
        assert_eq!(
            (budget.most_of_an_answer(), budget.fair_answer()),
            (8 << 20, 1 << 20)
        );
        let poor = divide(0, &[need("p")], &Metrics::new()).remove(0);
        assert_eq!(poor.reserve_answer(usize::MAX).await.bytes(), MIB);
        assert_eq!(poor.reserve_events(usize::MAX).await.bytes(), LEAST_EVENTS);
    }

    #[test]
    fn the_parts_of_a_budget_add_up_to_it() {
        for (bytes, pipelines) in [(0, 1), (16, 1), (16, 3), (64, 40), (256, 2), (256, 100)] {
            let needs = vec![need("p"); pipelines];
            let (answers, events) = (bytes * MIB / 2 + 5, bytes * MIB / 2 + 7);
            let share = Share::of(answers, events, &needs);
            let own_answers = if share.answers_apart { pipelines * MIB } else { 0 };
            assert_eq!(share.answers_apart, pipelines > 1 && pipelines <= bytes / 2);
            assert_eq!(own_answers + share.common_answers, answers, "{bytes} {pipelines}");
            assert_eq!(share.own_events * pipelines + share.common_events, events);
            assert!(share.own_events > 0, "each pipeline has some of its own");
        }
    }

    #[tokio::test]
    async fn a_pipeline_that_holds_all_it_can_leaves_the_others_their_own() {
        let needs = [need("stuck"), need("a"), need("b")];
        let budgets = divide(48 * MIB, &needs, &Metrics::new());
        let mut held = Vec::new();
        // Its destination is down, and a hundred of its shards read on.
        for _ in 0..100 {
            for reserve in [
                tokio::time::timeout(std::time::Duration::ZERO, budgets[0].reserve_events(MIB)).await,
                tokio::time::timeout(std::time::Duration::ZERO, budgets[0].reserve_answer(MIB)).await,
            ] {
                held.extend(reserve.ok());
            }
        }
        let taken: usize = held.iter().map(Reservation::bytes).sum();
        assert_eq!(
            taken,
            48 * MIB - 2 * (4 * MIB) - 2 * MIB,
            "all but the others' own"
        );
        for other in &budgets[1..] {
            let answer = other.reserve_answer(MIB).await;
            let events = other.reserve_events(4 * MIB).await;
            assert_eq!((answer.bytes(), events.bytes()), (MIB, 4 * MIB));
        }
        budgets[1].wait_for_events(usize::MAX).await;
        // One record of more than its own takes all of that rather than wait for the one that is stuck.
        assert_eq!(budgets[1].reserve_events(9 * MIB).await.bytes(), 4 * MIB);
        // What is common goes to whoever asks.
        drop(held);
        let most = budgets[2].reserve_events(12 * MIB).await;
        assert_eq!(most.bytes(), 12 * MIB);
    }

    #[tokio::test]
    async fn where_there_is_too_little_for_an_answer_each_the_answers_are_common() {
        let needs = vec![need("p"); 40];
        let budgets = divide(16 * MIB, &needs, &Metrics::new());
        let mut held = Vec::new();
        for budget in &budgets[..8] {
            held.push(budget.reserve_answer(MIB).await);
        }
        let ninth = budgets[20].reserve_answer(MIB);
        tokio::pin!(ninth);
        assert!(
            tokio::time::timeout(std::time::Duration::ZERO, &mut ninth)
                .await
                .is_err(),
            "it waits"
        );
        held.pop();
        assert_eq!(ninth.await.bytes(), MIB);
    }
}
