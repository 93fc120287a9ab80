//! How much a shard asks for in one read: so many records that what they are expected to take fits the memory that
//! is reserved for them.
//!
//! Pure. A shard that gives little reserves little, so that thousands of them poll side by side; one that has more
//! than it gives reserves twice as much each time, up to what the source gives in one answer. Nobody knows how large
//! the next record is: an answer that takes more than was reserved is refused, and asked for again with what is known
//! then. The reader keeps one for each shard.

use crate::stream::Ask;

/// What a shard that gives little reserves. Enough for a few hundred records of the usual 1 KB.
pub(super) const LITTLE: usize = 512 << 10;
/// What a record takes before one was seen: a few are asked for then. A surprise costs more than one read too many: the
/// service counts the bytes of an answer that is refused, and Kinesis makes a reader wait for them.
const UNSEEN: usize = 64 << 10;
/// A record may take so many times what the last ones took, on the average.
const MARGIN: usize = 2;
/// After so many refusals in a row all there is is reserved, and one record asked for, whatever it takes.
const REFUSALS: u32 = 4;

/// What the budget can give.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// To one read, while others read too.
    pub(super) each: usize,
    /// To one read, if no other goes on.
    pub(super) all: usize,
}

/// What a shard asks for, and reserves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) ask: Ask,
    pub(super) reserve: usize,
}

#[derive(Debug)]
pub(super) struct Appetite {
    /// The most of one answer of the source: bytes in memory, and records.
    largest: usize,
    most_records: usize,
    /// What the next answer may take.
    portion: usize,
    /// What a record took of late, if one was seen.
    record: Option<usize>,
    /// What was asked for last.
    limit: usize,
    /// The refusals in a row, and what the last one needs.
    refusals: u32,
    needs: usize,
}

impl Appetite {
    pub(super) fn new(largest: usize, most_records: usize) -> Self {
        Self {
            largest,
            most_records,
            portion: LITTLE.min(largest),
            record: None,
            limit: 1,
            refusals: 0,
            needs: 0,
        }
    }

    /// What to ask for now.
    pub(super) fn order(&mut self, room: Room) -> Order {
        let expected = self.record.unwrap_or(UNSEEN).saturating_mul(MARGIN).max(1);
        let refused = self.needs.saturating_add(self.needs / 4);
        let (limit, most) = match self.refusals {
            0 => {
                let most = self.portion.min(room.each).max(expected).min(room.all);
                let limit = (most / expected).clamp(1, self.most_records);
                (limit, most.min(limit.saturating_mul(expected).max(LITTLE)))
            }
            // Fewer of them, if they are as large as they seem…
            1 if refused > room.each && self.limit > 1 => {
                let limit = (most_of(self.limit, room.each, refused) / MARGIN).max(1);
                (limit, room.each)
            }
            // …and if they are larger, with all that they need.
            ..REFUSALS if refused <= room.all => (self.limit, refused),
            ..REFUSALS if self.limit > 1 => {
                let limit = most_of(self.limit, room.all, refused);
                (limit.min(self.limit / 2).max(1), room.all)
            }
            _ => (1, usize::MAX),
        };
        self.limit = limit;
        Order {
            ask: Ask { limit, most },
            reserve: most.min(room.all),
        }
    }

    /// An answer came with `records`, and took `bytes` of memory.
    pub(super) fn answered(&mut self, records: usize, bytes: usize) {
        self.refusals = 0;
        if let Some(each) = bytes.checked_div(records) {
            self.record = Some(self.record.map_or(each, |record| each.max(record - record / 4)));
        }
        if records >= self.limit {
            self.portion = self.portion.saturating_mul(2).min(self.largest);
        } else if bytes < self.portion / 4 {
            self.portion = (self.portion / 2).max(LITTLE).min(self.largest);
        }
    }

    /// The answer takes `needs` bytes of memory, and was refused.
    pub(super) fn refused(&mut self, needs: usize) {
        self.refusals += 1;
        self.needs = needs;
        // It has no more records than were asked for.
        self.record = self.record.max(Some(needs / self.limit.max(1)));
    }
}

/// `whole`, as far as `part` goes into `all`.
fn most_of(whole: usize, part: usize, all: usize) -> usize {
    let share = whole as u128 * part as u128 / (all.max(1) as u128);
    usize::try_from(share).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KIB: usize = 1 << 10;
    const MIB: usize = 1 << 20;
    const ROOM: Room = Room {
        each: 4 * MIB,
        all: 32 * MIB,
    };

    /// A shard that has no end, of records that take `each`, read until what it asks for no longer changes.
    fn settled(appetite: &mut Appetite, each: usize, room: Room) -> (Order, usize) {
        let mut last = None;
        for reads in 0..30 {
            let order = appetite.order(room);
            if last == Some(order) {
                return (order, reads);
            }
            last = Some(order);
            match order.ask.limit * each > order.ask.most {
                true => appetite.refused(order.ask.limit * each),
                false => appetite.answered(order.ask.limit, order.ask.limit * each),
            }
        }
        panic!("it never settles: {appetite:?}")
    }

    #[test]
    fn a_shard_that_gives_nothing_reserves_little() {
        for (largest, records) in [(4 * MIB, 1_000), (24 * MIB, 10_000)] {
            let mut appetite = Appetite::new(largest, records);
            settled(&mut appetite, 700, ROOM);
            for _ in 0..10 {
                appetite.order(ROOM);
                appetite.answered(0, 0);
            }
            assert_eq!(appetite.order(ROOM).reserve, LITTLE);
        }
    }

    #[test]
    fn a_shard_that_has_more_asks_for_it_within_a_few_reads() {
        // Of the source the largest answer and the most records, what a record takes; what is asked for in the end.
        for (largest, records, each, limit, reserve) in [
            (4 * MIB, 1_000, 1_600, 1_000, 1_000 * 1_600 * 2),
            (4 * MIB, 1_000, 40 * KIB, 51, 51 * 40 * KIB * 2),
            (24 * MIB, 10_000, 700, 2_995, 2_995 * 700 * 2),
            (24 * MIB, 10_000, 2_600, 806, 806 * 2_600 * 2),
            (24 * MIB, 10_000, 24 * MIB, 1, 32 * MIB),
        ] {
            let mut appetite = Appetite::new(largest, records);
            let (order, reads) = settled(&mut appetite, each, ROOM);
            assert_eq!(order.ask.limit, limit, "{each}");
            assert_eq!(order.reserve, reserve, "{each}");
            assert!(reads <= 15, "{each}: {reads}");
        }
    }

    #[test]
    fn a_surprise_is_read_with_fewer_records_then_with_all_they_need_then_whatever_it_takes() {
        let mut appetite = Appetite::new(24 * MIB, 10_000);
        settled(&mut appetite, 2_600, ROOM);
        let limit = appetite.order(ROOM).ask.limit;
        appetite.refused(8 * MIB);
        let fewer = appetite.order(ROOM);
        assert!(fewer.ask.limit < limit / 2, "{fewer:?}");
        assert_eq!(fewer.reserve, ROOM.each);
        // There were few records in it, and they are large.
        appetite.refused(8 * MIB);
        let all = appetite.order(ROOM);
        assert_eq!((all.ask.limit, all.reserve), (fewer.ask.limit, 10 * MIB));
        appetite.refused(40 * MIB);
        assert_eq!(appetite.order(ROOM).reserve, ROOM.all);
        appetite.refused(40 * MIB);
        let last = appetite.order(ROOM);
        assert_eq!((last.ask.limit, last.ask.most), (1, usize::MAX));
        assert_eq!(last.reserve, ROOM.all);
    }

    proptest! {
        /// Whatever the records are, and however little there is: what is reserved is within the budget, what is
        /// asked for fits it, and after a few refusals any answer is taken.
        #[test]
        fn every_answer_is_taken_in_the_end_and_none_reserves_more_than_there_is(
            largest in 1usize..32 << 20,
            each in 1usize..8 << 20,
            more in 0usize..64 << 20,
            sizes in proptest::collection::vec((0usize..2_000, 1usize..12 << 20), 1..40),
        ) {
            let room = Room { each, all: each + more };
            let mut appetite = Appetite::new(largest, 1_000);
            for (records, size) in sizes {
                for refusals in 0.. {
                    prop_assert!(refusals <= REFUSALS, "{appetite:?}");
                    let order = appetite.order(room);
                    prop_assert!(order.reserve <= room.all && order.reserve > 0);
                    prop_assert!(order.ask.limit >= 1 && order.ask.limit <= 1_000);
                    prop_assert!(order.ask.most == order.reserve || order.ask.most == usize::MAX && order.reserve == room.all);
                    let records = records.min(order.ask.limit);
                    if records * size <= order.ask.most {
                        appetite.answered(records, records * size);
                        break;
                    }
                    appetite.refused(records * size);
                }
            }
        }
    }
}
