//! Queues that give back the room of a burst.
//!
//! Pure. A queue keeps the room of the most that it ever held: of hundreds of shards, tens of megabytes that no budget
//! knows of.

use std::collections::VecDeque;

/// Room for so many is kept.
const FEW: usize = 32;

/// Gives back what `queue` has room for and no longer holds, once it holds little of it. Called after each taking; what
/// is moved is a fraction of what was taken.
pub fn relieve<T>(queue: &mut VecDeque<T>) {
    let room = queue.len().max(FEW) * 2;
    if queue.capacity() > room * 2 {
        queue.shrink_to(room);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_is_drained_keeps_room_for_a_few_alone() {
        let mut queue: VecDeque<u64> = (0..10_000).collect();
        while queue.pop_front().is_some() {
            relieve(&mut queue);
            assert!(
                queue.capacity() <= queue.len().max(FEW) * 4 + 4,
                "{}",
                queue.capacity()
            );
        }
        assert!(queue.capacity() <= FEW * 4);
    }

    #[test]
    fn what_it_holds_stays_in_order() {
        let mut queue: VecDeque<u64> = (0..1_000).collect();
        queue.drain(..990);
        relieve(&mut queue);
        assert!(queue.iter().copied().eq(990..1_000));
    }
}
