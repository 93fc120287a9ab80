//! Which shards of a stream are to be read next.
//!
//! Pure. Owns the order: parents before children, no shard twice, none forgotten. Knows nothing of leases: what is
//! read is remembered here and nowhere else.

use std::collections::{BTreeMap, BTreeSet};

use crate::stream::{Shard, ShardId, ShardListing, StartingPosition};

/// How the reading of a shard ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It has no more records, and its children come next.
    End,
    /// What comes next in it, and in its children, is later than what was asked for.
    Past,
    /// The service doesn't know it (any more).
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Reading,
    Done(Ending),
    /// It was closed when the reading began, and only what is new was asked for.
    Skipped,
}

#[derive(Clone, Debug)]
struct Node {
    parents: Vec<ShardId>,
    closed: bool,
    start: StartingPosition,
    state: State,
}

/// A shard that can be read now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    pub shard: ShardId,
    pub start: StartingPosition,
    /// A listing says so: it has an end to be read to.
    pub closed: bool,
}

/// The shards of one stream.
#[derive(Clone, Debug)]
pub struct Tree {
    /// Where those of the first listing are read from; later ones are new.
    start: StartingPosition,
    nodes: BTreeMap<ShardId, Node>,
    is_listed: bool,
    /// A shard ended after the last listing was asked for: its children may be missing.
    is_stale: bool,
    /// The stream takes no more records: its last shards have no children.
    is_disabled: bool,
}

impl Tree {
    pub fn new(start: StartingPosition) -> Self {
        Self {
            start,
            nodes: BTreeMap::new(),
            is_listed: false,
            is_stale: true,
            is_disabled: false,
        }
    }

    /// Whether a listing may tell of shards that are not known yet.
    pub fn is_stale(&self) -> bool {
        self.is_stale
    }

    pub fn is_disabled(&self) -> bool {
        self.is_disabled
    }

    /// Takes in a complete listing that was asked for after all the endings that were told.
    pub fn learn(&mut self, listing: &ShardListing) {
        let is_first = !std::mem::replace(&mut self.is_listed, true);
        self.is_stale = false;
        self.is_disabled = listing.disabled;
        for Shard {
            id, parents, closed, ..
        } in &listing.shards
        {
            let is_new_only = self.start == StartingPosition::Latest;
            let (start, state) = match is_first {
                true if is_new_only && *closed => (self.start.clone(), State::Skipped),
                true => (self.start.clone(), State::Waiting),
                // What was not there at the beginning is new as a whole.
                false => (StartingPosition::TrimHorizon, State::Waiting),
            };
            let node = self.nodes.entry(id.clone()).or_insert_with(|| Node {
                parents: parents.clone(),
                closed: *closed,
                start,
                state,
            });
            node.closed |= closed;
        }
        self.leave_out_what_is_later();
    }

    /// The shards that can be read now; from now on they count as being read.
    pub fn begin(&mut self) -> Vec<Begun> {
        let is_over = |parent: &ShardId| {
            // One that no listing shows is gone (rule 9): an incomplete listing is an error, not a shorter one.
            self.nodes.get(parent).is_none_or(|node| {
                matches!(
                    node.state,
                    State::Done(Ending::End | Ending::Gone) | State::Skipped
                )
            })
        };
        let ready: Vec<ShardId> = self
            .nodes
            .iter()
            .filter(|(_, node)| node.state == State::Waiting && node.parents.iter().all(is_over))
            .map(|(id, _)| id.clone())
            .collect();
        let mut begun = Vec::with_capacity(ready.len());
        for id in ready {
            if let Some(node) = self.nodes.get_mut(&id) {
                node.state = State::Reading;
                begun.push(Begun {
                    shard: id,
                    start: node.start.clone(),
                    closed: node.closed,
                });
            }
        }
        begun
    }

    pub fn ended(&mut self, shard: &ShardId, how: Ending) {
        if let Some(node) = self.nodes.get_mut(shard) {
            node.state = State::Done(how);
        }
        self.is_stale |= how != Ending::Past;
        self.leave_out_what_is_later();
    }

    /// The children of a shard that holds what is later than asked for hold later records still.
    fn leave_out_what_is_later(&mut self) {
        loop {
            let past: BTreeSet<&ShardId> = self
                .nodes
                .iter()
                .filter(|(_, node)| node.state == State::Done(Ending::Past))
                .map(|(id, _)| id)
                .collect();
            let later = self.nodes.iter().filter(|(_, node)| {
                node.state == State::Waiting && node.parents.iter().any(|parent| past.contains(parent))
            });
            let later: Vec<ShardId> = later.map(|(id, _)| id.clone()).collect();
            if later.is_empty() {
                return;
            }
            for id in later {
                if let Some(node) = self.nodes.get_mut(&id) {
                    node.state = State::Done(Ending::Past);
                }
            }
        }
    }

    /// Whether all that is known is read.
    pub fn is_over(&self) -> bool {
        self.is_listed
            && self
                .nodes
                .values()
                .all(|node| matches!(node.state, State::Done(_) | State::Skipped))
    }

    /// Whether a shard was read to its end, and no listing shows a child of it: those of a shard that has just ended
    /// are listed a little later.
    pub fn has_childless(&self) -> bool {
        let parents: BTreeSet<&ShardId> = self.nodes.values().flat_map(|node| &node.parents).collect();
        let mut ended = self
            .nodes
            .iter()
            .filter(|(_, node)| node.state == State::Done(Ending::End));
        !self.is_disabled && ended.any(|(id, _)| !parents.contains(id))
    }

    /// Those that are being read.
    pub fn reading(&self) -> impl Iterator<Item = &ShardId> {
        let nodes = self.nodes.iter();
        nodes
            .filter(|(_, node)| node.state == State::Reading)
            .map(|(id, _)| id)
    }

    /// Those that were read to their end while what comes after them isn't: no listing shows a child yet, or the
    /// reading of one has not begun.
    pub fn left_off(&self) -> Vec<&ShardId> {
        let mut children: BTreeMap<&ShardId, Vec<&Node>> = BTreeMap::new();
        for node in self.nodes.values() {
            for parent in &node.parents {
                children.entry(parent).or_default().push(node);
            }
        }
        let ended = self
            .nodes
            .iter()
            .filter(|(_, node)| matches!(node.state, State::Done(Ending::End | Ending::Gone)));
        let left_off = ended.filter(|(id, _)| match children.get(id) {
            None => !self.is_disabled,
            Some(children) => children.iter().any(|child| child.state == State::Waiting),
        });
        left_off.map(|(id, _)| id).collect()
    }

    /// How many shards are read, of how many that are known.
    pub fn progress(&self) -> (usize, usize) {
        let done = |node: &&Node| matches!(node.state, State::Done(_) | State::Skipped);
        (self.nodes.values().filter(done).count(), self.nodes.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `a! b<a c<a,b`: a shard with its parents, closed with `!`.
    fn listing(text: &str) -> ShardListing {
        let shards = text.split_whitespace().map(|word| {
            let (id, parents) = word.split_once('<').unwrap_or((word, ""));
            Shard {
                id: ShardId::new(id.trim_end_matches('!')),
                parents: parents
                    .split(',')
                    .filter(|p| !p.is_empty())
                    .map(ShardId::new)
                    .collect(),
                closed: id.ends_with('!'),
                hash_range: None,
            }
        });
        ShardListing {
            shards: shards.collect(),
            disabled: false,
        }
    }

    fn begun(tree: &mut Tree) -> String {
        let mark = |start| match start {
            StartingPosition::Latest => "*",
            _ => "",
        };
        let begun = tree.begin().into_iter();
        let begun: Vec<String> = begun
            .map(|begun| format!("{}{}", begun.shard, mark(begun.start)))
            .collect();
        begun.join(" ")
    }

    fn end(tree: &mut Tree, shard: &str, how: Ending) {
        tree.ended(&ShardId::new(shard), how);
    }

    #[test]
    fn parents_come_before_their_children_and_each_shard_once() {
        let mut tree = Tree::new(StartingPosition::TrimHorizon);
        assert!(tree.is_stale() && !tree.is_over());
        tree.learn(&listing("a! b!<gone c<a,b d"));
        assert_eq!(begun(&mut tree), "a b d");
        assert_eq!(begun(&mut tree), "", "they are being read");
        end(&mut tree, "a", Ending::End);
        assert_eq!(begun(&mut tree), "", "c waits for b too");
        end(&mut tree, "b", Ending::Gone);
        assert_eq!(begun(&mut tree), "c");
        assert_eq!(tree.progress(), (2, 4));
        // d splits while it is read.
        end(&mut tree, "d", Ending::End);
        assert!(tree.is_stale() && tree.has_childless());
        assert_eq!(
            tree.left_off(),
            [&ShardId::new("d")],
            "a and b have c, which has begun"
        );
        tree.learn(&listing("a! b!<gone c<a,b d! e<d f<d"));
        assert_eq!(tree.left_off(), [&ShardId::new("d")]);
        assert_eq!(begun(&mut tree), "e f");
        assert!(!tree.is_stale() && !tree.has_childless());
        for shard in ["c", "e", "f"] {
            assert!(!tree.is_over());
            end(&mut tree, shard, Ending::Past);
        }
        assert!(
            tree.is_over() && !tree.is_stale(),
            "what comes next is later than asked for"
        );
    }

    #[test]
    fn the_children_of_what_is_later_are_later() {
        let mut tree = Tree::new(StartingPosition::TrimHorizon);
        tree.learn(&listing("a! b! c!<a,b d<c"));
        begun(&mut tree);
        end(&mut tree, "a", Ending::Past);
        assert!(!tree.is_over(), "b may hold what was asked for");
        end(&mut tree, "b", Ending::End);
        assert_eq!(begun(&mut tree), "");
        assert!(tree.is_over());
    }

    #[test]
    fn what_is_new_begins_in_the_open_shards_and_goes_on_in_their_children() {
        let mut tree = Tree::new(StartingPosition::Latest);
        tree.learn(&listing("a! b<a c"));
        assert_eq!(begun(&mut tree), "b* c*");
        end(&mut tree, "c", Ending::End);
        tree.learn(&listing("a! b<a c! d<c"));
        assert_eq!(begun(&mut tree), "d", "as a whole");
    }

    proptest! {
        /// A family that grows while it is read, whatever ends when.
        #[test]
        fn every_shard_is_read_once_after_its_parents(
            births in proptest::collection::vec((0usize..6, 0usize..6), 1..30), seed in any::<u64>()
        ) {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut shards: Vec<Shard> = Vec::new();
            let mut tree = Tree::new(StartingPosition::TrimHorizon);
            let (mut open, mut order): (Vec<ShardId>, Vec<ShardId>) = Default::default();
            let mut births = births.into_iter();
            loop {
                let more = births.next();
                if let Some((one, other)) = more {
                    let mut parents: Vec<ShardId> = Vec::new();
                    for at in [one, other] {
                        if let Some(parent) = shards.len().checked_sub(at + 1).map(|at| shards[at].id.clone())
                            && !parents.contains(&parent)
                        {
                            parents.push(parent);
                        }
                    }
                    let id = ShardId::new(format!("s{:02}", shards.len()));
                    shards.push(Shard { id, parents, closed: true, hash_range: None });
                }
                if tree.is_stale() || more.is_some() {
                    tree.learn(&ShardListing { shards: shards.clone(), disabled: false });
                }
                for Begun { shard: id, .. } in tree.begin() {
                    let shard = shards.iter().find(|s| s.id == id).unwrap();
                    for parent in &shard.parents {
                        prop_assert!(order.contains(parent) && !open.contains(parent), "{id} before {parent}");
                    }
                    prop_assert!(!order.contains(&id), "{id} twice");
                    order.push(id.clone());
                    open.push(id);
                }
                if !open.is_empty() {
                    let ended = open.swap_remove(rng.usize(..open.len()));
                    tree.ended(&ended, Ending::End);
                }
                if more.is_none() && open.is_empty() && tree.begin().is_empty() && !tree.is_stale() {
                    break;
                }
            }
            prop_assert!(tree.is_over());
            prop_assert_eq!(order.len(), shards.len());
        }
    }
}
