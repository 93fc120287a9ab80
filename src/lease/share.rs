//! Who should hold how many leases.
//!
//! Pure. Owns the balance of a fleet (protocol rule 8): within each pipeline no two workers differ by more
//! than one lease, and neither do they over all pipelines. Every worker computes the same from the worker
//! rows; conditional writes settle what stale rows make them see differently.
//!
//! A lease moves only where that makes a difference of two or more smaller, so that rows which are a
//! heartbeat old, or a count that changes by one, move nothing back and forth.

use std::collections::BTreeMap;

use super::WorkerId;

/// Moves computed at most. A fleet that needs more goes on after these.
const MOST_MOVES: usize = 1_000;

/// The leases held in a fleet, by pipeline and worker, as far as they are known.
#[derive(Clone, Debug, Default)]
pub struct Shares {
    /// Sorted; the order breaks ties.
    workers: Vec<WorkerId>,
    /// Of each worker, over all pipelines.
    totals: Vec<u64>,
    /// Of each pipeline and worker; `None` where the worker doesn't run the pipeline.
    held: BTreeMap<String, Vec<Option<u64>>>,
}

/// A lease of `pipeline` that should go from one worker to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    pub pipeline: String,
    pub from: WorkerId,
    pub to: WorkerId,
}

impl Shares {
    /// Of these workers: the pipelines that each runs, and what it holds of them.
    pub fn of<'a>(workers: impl IntoIterator<Item = (&'a WorkerId, &'a BTreeMap<String, u64>)>) -> Self {
        let sorted: BTreeMap<&WorkerId, &BTreeMap<String, u64>> = workers.into_iter().collect();
        let mut shares = Self {
            workers: sorted.keys().map(|id| (*id).clone()).collect(),
            totals: sorted.values().map(|held| held.values().sum()).collect(),
            held: BTreeMap::new(),
        };
        let count = shares.workers.len();
        for (at, held) in sorted.values().enumerate() {
            for (pipeline, leases) in *held {
                let row = shares
                    .held
                    .entry(pipeline.clone())
                    .or_insert_with(|| vec![None; count]);
                row[at] = Some(*leases);
            }
        }
        shares
    }

    /// Leaves a pipeline out: it is paused.
    pub fn without(mut self, pipeline: &str) -> Self {
        if let Some(row) = self.held.remove(pipeline) {
            for (total, held) in self.totals.iter_mut().zip(row) {
                *total = total.saturating_sub(held.unwrap_or(0));
            }
        }
        self
    }

    /// Counts one more lease for a worker: one that is on its way to it.
    pub fn add(&mut self, pipeline: &str, to: &WorkerId) {
        if let Ok(at) = self.workers.binary_search(to)
            && let Some(Some(held)) = self.held.get_mut(pipeline).map(|row| row[at].as_mut())
        {
            *held += 1;
            self.totals[at] += 1;
        }
    }

    /// Who should take a free lease of the pipeline: who holds least of it, then least of all, then the
    /// lowest id. Counts it for them. `None` if nobody runs the pipeline.
    pub fn give(&mut self, pipeline: &str) -> Option<WorkerId> {
        let row = self.held.get_mut(pipeline)?;
        let (_, _, at) = row
            .iter()
            .enumerate()
            .filter_map(|(at, held)| Some(((*held)?, self.totals[at], at)))
            .min()?;
        *row[at].as_mut()? += 1;
        self.totals[at] += 1;
        Some(self.workers[at].clone())
    }

    /// The moves that balance the fleet.
    pub fn moves(mut self) -> Vec<Move> {
        let mut moves = Vec::new();
        let pipelines: Vec<String> = self.held.keys().cloned().collect();
        for pipeline in &pipelines {
            while moves.len() < MOST_MOVES
                && let Some((from, to)) = self.uneven(pipeline)
            {
                self.shift(pipeline, from, to, &mut moves);
            }
        }
        while moves.len() < MOST_MOVES
            && let Some((pipeline, from, to)) = self.uneven_over_all(&pipelines)
        {
            self.shift(&pipeline, from, to, &mut moves);
        }
        moves
    }

    fn shift(&mut self, pipeline: &str, from: usize, to: usize, moves: &mut Vec<Move>) {
        let Some(row) = self.held.get_mut(pipeline) else {
            return;
        };
        for (at, change) in [(from, -1), (to, 1)] {
            row[at] = row[at].map(|held| held.saturating_add_signed(change));
            self.totals[at] = self.totals[at].saturating_add_signed(change);
        }
        moves.push(Move {
            pipeline: pipeline.to_owned(),
            from: self.workers[from].clone(),
            to: self.workers[to].clone(),
        });
    }

    /// Two workers that differ by two or more within the pipeline.
    fn uneven(&self, pipeline: &str) -> Option<(usize, usize)> {
        let row = self.held.get(pipeline)?;
        let counts = row
            .iter()
            .enumerate()
            .filter_map(|(at, held)| Some(((*held)?, self.totals[at], at)));
        let (least, _, to) = counts.clone().min()?;
        // Of those that hold most: who holds most of all, then the lowest id.
        let (most, _, from) = counts
            .map(|(held, total, at)| (held, total, usize::MAX - at))
            .max()?;
        (most >= least + 2).then_some((usize::MAX - from, to))
    }

    /// Two workers that differ by two or more over all pipelines, and one where the fuller holds more.
    fn uneven_over_all(&self, pipelines: &[String]) -> Option<(String, usize, usize)> {
        let mut order: Vec<usize> = (0..self.workers.len()).collect();
        order.sort_by_key(|at| (self.totals[*at], *at));
        for &from in order.iter().rev() {
            for &to in &order {
                if self.totals[from] < self.totals[to] + 2 {
                    break;
                }
                let found = pipelines.iter().find(|p| match self.held.get(*p) {
                    Some(row) => matches!((row[from], row[to]), (Some(more), Some(less)) if more > less),
                    None => false,
                });
                if let Some(pipeline) = found {
                    return Some((pipeline.clone(), from, to));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Held = BTreeMap<String, u64>;

    /// `"a:p=3,q=0 b:p=1"`.
    fn fleet(text: &str) -> Vec<(WorkerId, Held)> {
        text.split_whitespace()
            .map(|worker| {
                let (id, held) = worker.split_once(':').unwrap();
                let held = held.split(',').map(|one| {
                    let (pipeline, n) = one.split_once('=').unwrap();
                    (pipeline.to_owned(), n.parse().unwrap())
                });
                (WorkerId::new(id), held.collect())
            })
            .collect()
    }

    fn shares(fleet: &[(WorkerId, Held)]) -> Shares {
        Shares::of(fleet.iter().map(|(id, held)| (id, held)))
    }

    fn moves(text: &str) -> String {
        let moves = shares(&fleet(text)).moves();
        let texts = moves
            .iter()
            .map(|m| format!("{}:{}>{}", m.pipeline, m.from, m.to));
        texts.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_lease_moves_only_where_it_makes_a_difference_of_two_smaller() {
        for (held, expected) in [
            ("a:p=1 b:p=0", ""),
            ("a:p=2 b:p=0", "p:a>b"),
            ("a:p=3 b:p=3 c:p=0", "p:a>c p:b>c"),
            // The rest of each pipeline lands elsewhere, not always on the lowest id.
            ("a:p=1,q=1,r=1 b:p=0,q=0,r=0", "p:a>b"),
            ("a:p=1,q=1 b:p=0,q=0", "p:a>b"),
            ("a:p=1,q=0 b:p=0,q=1", ""),
            // Who doesn't run a pipeline gets none of it.
            ("a:p=9 b:q=0", ""),
            ("a:p=4,q=0 b:q=0 c:p=0", "p:a>c p:a>c"),
            // A drained or fenced fleet of one.
            ("a:p=7", ""),
        ] {
            assert_eq!(moves(held), expected, "{held}");
        }
    }

    #[test]
    fn free_leases_go_to_who_holds_least_of_the_pipeline_and_then_of_all() {
        let fleet = fleet("a:p=0,q=5 b:p=0,q=0 c:p=2,q=0 d:q=0");
        let mut shares = shares(&fleet);
        let given: Vec<String> = (0..5)
            .filter_map(|_| shares.give("p"))
            .map(|id| id.to_string())
            .collect();
        assert_eq!(given, ["b", "a", "b", "a", "b"]);
        assert_eq!(shares.give("nobody runs this"), None);
        shares.add("q", &WorkerId::new("b"));
        assert_eq!(
            shares.give("q").unwrap().as_str(),
            "d",
            "what is on its way counts"
        );
        let mut without = Shares::of(fleet.iter().map(|(id, held)| (id, held))).without("q");
        assert_eq!(
            (without.give("q"), without.give("p").unwrap().as_str()),
            (None, "a")
        );
    }

    fn any_fleet() -> impl Strategy<Value = Vec<(WorkerId, Held)>> {
        let held = prop::collection::btree_map("[pqrs]", 0..12_u64, 4..5);
        prop::collection::btree_map("[a-h]", held, 1..8).prop_map(|fleet| {
            fleet
                .into_iter()
                .map(|(id, held)| (WorkerId::new(id), held))
                .collect()
        })
    }

    proptest! {
        #[test]
        fn moves_end_balanced_and_a_balanced_fleet_stays(fleet in any_fleet()) {
            let mut after: BTreeMap<WorkerId, Held> = fleet.iter().cloned().collect();
            for m in shares(&fleet).moves() {
                *after.get_mut(&m.from).unwrap().get_mut(&m.pipeline).unwrap() -= 1;
                *after.get_mut(&m.to).unwrap().get_mut(&m.pipeline).unwrap() += 1;
            }
            let spread = |counts: Vec<u64>| counts.iter().max().unwrap() - counts.iter().min().unwrap();
            for pipeline in ["p", "q", "r", "s"] {
                prop_assert!(spread(after.values().map(|held| held[pipeline]).collect()) <= 1);
            }
            prop_assert!(spread(after.values().map(|held| held.values().sum()).collect()) <= 1);
            let after: Vec<_> = after.into_iter().collect();
            prop_assert_eq!(shares(&after).moves(), vec![]);
        }

        #[test]
        fn no_worker_gives_and_takes_in_one_pipeline(fleet in any_fleet()) {
            let moves = shares(&fleet).moves();
            for m in &moves {
                prop_assert!(!moves.iter().any(|o| o.pipeline == m.pipeline && o.to == m.from && o.from == m.to));
            }
        }

        #[test]
        fn free_leases_given_to_an_empty_fleet_are_balanced(n in 1..9_usize, p in 0..40_usize, q in 0..40_usize) {
            let held: Held = [("p".to_owned(), 0), ("q".to_owned(), 0)].into();
            let fleet: Vec<_> = (0..n).map(|i| (WorkerId::new(i.to_string()), held.clone())).collect();
            let mut shares = shares(&fleet);
            for pipeline in std::iter::repeat_n("p", p).chain(std::iter::repeat_n("q", q)) {
                prop_assert!(shares.give(pipeline).is_some());
            }
            prop_assert_eq!(shares.moves(), vec![]);
        }
    }
}
