//! Who is the caretaker of a pipeline: who syncs its shards, finds orphans and cleans up.
//!
//! Pure. Owns protocol rule 15: the lowest live id, unless its rounds stand still. Nobody is elected; all
//! see the same rows, and since a caretaker's every act is conditional, two at once are harmless.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::WorkerId;
use crate::clock::Monotonic;

/// One worker's view of the caretakers.
#[derive(Debug, Default)]
pub struct Duty {
    posts: BTreeMap<String, Post>,
}

#[derive(Debug)]
struct Post {
    holder: WorkerId,
    rounds: u64,
    /// Since when the holder's rounds have stood at that.
    since: Monotonic,
    /// Those whose rounds stood still, until somebody's move again.
    passed: BTreeSet<WorkerId>,
}

impl Duty {
    /// Takes in who runs the pipeline and how many rounds each has finished. A holder without a finished
    /// round for `patience` is passed over.
    pub fn watch(
        &mut self,
        pipeline: &str,
        runners: &BTreeMap<&WorkerId, u64>,
        patience: Duration,
        now: Monotonic,
    ) {
        let mut passed = BTreeSet::new();
        if let Some(post) = self.posts.remove(pipeline) {
            passed = post.passed;
            passed.retain(|id| runners.contains_key(id));
            if let Some(rounds) = runners.get(&post.holder) {
                if *rounds == post.rounds && now.since(post.since) < patience {
                    // Unless one before it came (back), it stays.
                    let lower = runners
                        .keys()
                        .any(|id| **id < post.holder && !passed.contains(*id));
                    if !lower {
                        self.posts.insert(pipeline.to_owned(), Post { passed, ..post });
                        return;
                    }
                } else if *rounds == post.rounds {
                    passed.insert(post.holder);
                } else {
                    passed.remove(&post.holder);
                }
            }
        }
        if runners.keys().all(|id| passed.contains(*id)) {
            passed.clear();
        }
        if let Some((holder, rounds)) = runners.iter().find(|(id, _)| !passed.contains(**id)) {
            let post = Post {
                holder: (*holder).clone(),
                rounds: *rounds,
                since: now,
                passed,
            };
            self.posts.insert(pipeline.to_owned(), post);
        }
    }

    pub fn holder(&self, pipeline: &str) -> Option<&WorkerId> {
        self.posts.get(pipeline).map(|post| &post.holder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_id_holds_the_post_until_its_rounds_stand_still() {
        let mut duty = Duty::default();
        for (at, runners, holder) in [
            (0, "b=0 c=0", "b"),
            (80, "b=1 c=0", "b"),
            // 90 s without a round: the next one.
            (169, "b=1 c=0", "b"),
            (170, "b=1 c=0", "c"),
            (180, "b=1 c=1", "c"),
            // A lower id joins.
            (190, "a=0 b=1 c=1", "a"),
            // It leaves; b was passed over and nobody's rounds say otherwise.
            (200, "b=1 c=1", "c"),
            // c stands still too: from the beginning.
            (290, "b=1 c=1", "b"),
            (300, "b=1", "b"),
            (310, "", "-"),
            (320, "d=0", "d"),
        ] {
            let parsed: Vec<(WorkerId, u64)> = runners
                .split_whitespace()
                .map(|r| r.split_once('=').unwrap())
                .map(|(id, n)| (WorkerId::new(id), n.parse().unwrap()))
                .collect();
            let runners = parsed.iter().map(|(id, n)| (id, *n)).collect();
            let now = Monotonic::from_origin(Duration::from_secs(at));
            duty.watch("p", &runners, Duration::from_secs(90), now);
            assert_eq!(duty.holder("p").map_or("-", WorkerId::as_str), holder, "at {at}");
        }
        assert_eq!(duty.holder("q"), None);
    }
}
