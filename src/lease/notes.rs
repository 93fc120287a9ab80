//! Notes about free leases: who released or found one tells who shall take it, without a scan.
//!
//! Pure. Owns protocol rule 7: how long a note is shown, how long it is believed, and how many there may be.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{LeaseKey, Note, WorkerId, WorkerRow};
use crate::clock::Monotonic;

/// Its writer shows a note for this long: several heartbeats of every reader.
const SHOWN: Duration = Duration::from_secs(15);
/// A reader believes a note for this long after its first sight. Less than it is shown, so that one which
/// vanishes and comes back by a late heartbeat is not read anew.
const BELIEVED: Duration = Duration::from_secs(10);
/// Notes in a row at once. An item may have 400 KB, and each heartbeat writes them all; leases beyond are
/// found by scans.
const MOST_NOTES: usize = 500;

#[derive(Clone, Debug)]
struct Sight {
    at: Monotonic,
    /// Who shows the note, and by which heartbeat it was first seen to.
    writer: WorkerId,
    beat: u64,
}

/// The notes of this worker, and what it has seen of the others'.
#[derive(Debug)]
pub struct Board {
    me: WorkerId,
    mine: Vec<(Note, Monotonic)>,
    seen: BTreeMap<(LeaseKey, u64, WorkerId), Sight>,
    /// Whose rows it has read that wait for it to say so: by which heartbeat, and when last.
    saw: BTreeMap<WorkerId, (u64, Monotonic)>,
}

impl Board {
    pub fn new(me: WorkerId) -> Self {
        Self {
            me,
            mine: Vec::new(),
            seen: BTreeMap::new(),
            saw: BTreeMap::new(),
        }
    }

    /// Puts up a note, in the place of an older one about the same lease. `false`: there are too many, or
    /// it was up already.
    pub fn post(&mut self, note: Note, now: Monotonic) -> bool {
        if self.mine.iter().any(|(n, _)| *n == note) {
            return false;
        }
        self.mine.retain(|(n, _)| n.lease != note.lease);
        if self.mine.len() >= MOST_NOTES {
            return false;
        }
        self.mine.push((note, now));
        true
    }

    /// What this worker's row shall show.
    pub fn shown(&mut self, now: Monotonic) -> Vec<Note> {
        self.mine.retain(|(_, at)| now.since(*at) < SHOWN);
        self.mine.iter().map(|(note, _)| note.clone()).collect()
    }

    /// Takes in the worker rows; returns the notes for this worker that it sees for the first time.
    pub fn read(&mut self, rows: &BTreeMap<WorkerId, WorkerRow>, now: Monotonic) -> Vec<Note> {
        let mut fresh = Vec::new();
        let mut there = BTreeSet::new();
        for (row, note) in rows
            .values()
            .flat_map(|row| row.notes.iter().map(move |note| (row, note)))
        {
            let key = (note.lease.clone(), note.counter, note.to.clone());
            if !self.seen.contains_key(&key) && note.to == self.me {
                fresh.push(note.clone());
            }
            self.seen.entry(key.clone()).or_insert(Sight {
                at: now,
                writer: row.id.clone(),
                beat: row.heartbeat,
            });
            there.insert(key);
        }
        // Longer than any writer shows one: a note that came back would be news otherwise.
        self.seen
            .retain(|key, sight| there.contains(key) || now.since(sight.at) < SHOWN * 2);
        fresh
    }

    /// Which rows of `others` this worker has read, of those who drain or have notes for it. Also for a while
    /// after the row has gone: whoever saw the note there still asks whether it was read.
    pub fn saw<'a>(
        &mut self,
        others: impl Iterator<Item = &'a WorkerRow>,
        now: Monotonic,
    ) -> BTreeMap<WorkerId, u64> {
        for row in others {
            if row.draining || row.notes.iter().any(|note| note.to == self.me) {
                self.saw.insert(row.id.clone(), (row.heartbeat, now));
            }
        }
        self.saw.retain(|_, (_, at)| now.since(*at) < SHOWN);
        self.saw
            .iter()
            .map(|(id, (beat, _))| (id.clone(), *beat))
            .collect()
    }

    /// The leases that others shall take and don't count as theirs yet: they have not read the note.
    pub fn on_the_way<'a>(
        &'a self,
        rows: &'a BTreeMap<WorkerId, WorkerRow>,
        now: Monotonic,
    ) -> impl Iterator<Item = (&'a LeaseKey, &'a WorkerId)> {
        let is_there = |to: &WorkerId| rows.get(to).is_some_and(WorkerRow::is_live);
        let has_read = |to: &WorkerId, sight: &Sight| {
            let row = rows.get(to).and_then(|row| row.saw.get(&sight.writer));
            row.is_some_and(|beat| *beat >= sight.beat)
        };
        let told = self
            .seen
            .iter()
            .filter(move |((_, _, to), sight)| !has_read(to, sight) && now.since(sight.at) < BELIEVED)
            .map(|((lease, _, to), _)| (lease, to));
        // Those of mine that no scan has shown yet.
        let mine = self.mine.iter().filter(move |(note, at)| {
            let key = (note.lease.clone(), note.counter, note.to.clone());
            !self.seen.contains_key(&key) && now.since(*at) < BELIEVED
        });
        told.chain(mine.map(|(note, _)| (&note.lease, &note.to)))
            .filter(move |(_, to)| **to != self.me && is_there(to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(seconds: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_secs(seconds))
    }

    fn note(lease: &str, to: &str) -> Note {
        Note {
            lease: LeaseKey::new(lease),
            owner: None,
            counter: 1,
            to: WorkerId::new(to),
        }
    }

    fn rows(heartbeat: u64, notes: &[Note]) -> BTreeMap<WorkerId, WorkerRow> {
        let row = |id: &str, notes: &[Note]| WorkerRow {
            heartbeat,
            notes: notes.to_vec(),
            ..WorkerRow::new(WorkerId::new(id))
        };
        [row("me", &[]), row("a", notes), row("b", &[])]
            .into_iter()
            .map(|row| (row.id.clone(), row))
            .collect()
    }

    fn board() -> Board {
        Board::new(WorkerId::new("me"))
    }

    #[test]
    fn a_note_is_news_once_even_if_it_vanishes_and_comes_back() {
        let mut board = board();
        let mine = note("p/1", "me");
        assert_eq!(
            board.read(&rows(1, std::slice::from_ref(&mine)), t(0)),
            std::slice::from_ref(&mine)
        );
        for at in [1, 5] {
            assert_eq!(board.read(&rows(1, std::slice::from_ref(&mine)), t(at)), []);
        }
        assert_eq!(board.read(&rows(2, &[]), t(6)), []);
        assert_eq!(board.read(&rows(3, &[mine]), t(7)), []);
        assert_eq!(board.read(&rows(3, &[note("p/2", "b")]), t(8)), [], "another's");
    }

    #[test]
    fn a_lease_on_its_way_counts_for_who_shall_take_it_until_it_has_read_the_note() {
        let on_the_way = |board: &Board, saw: Option<u64>, at| {
            let mut rows = rows(5, &[]);
            let b = rows.get_mut(&WorkerId::new("b")).unwrap();
            b.saw = saw.map(|beat| (WorkerId::new("a"), beat)).into_iter().collect();
            let way: Vec<String> = board
                .on_the_way(&rows, t(at))
                .map(|(lease, to)| format!("{lease}>{to}"))
                .collect();
            way.join(" ")
        };
        let mut board = board();
        board.read(
            &rows(5, &[note("p/1", "b"), note("p/2", "me"), note("p/3", "gone")]),
            t(0),
        );
        assert_eq!(on_the_way(&board, None, 1), "p/1>b");
        assert_eq!(
            on_the_way(&board, Some(4), 1),
            "p/1>b",
            "it has read an older row"
        );
        assert_eq!(on_the_way(&board, Some(5), 1), "");
        assert_eq!(on_the_way(&board, None, 10), "", "believed no more");
        assert!(board.post(note("p/4", "a"), t(11)));
        assert_eq!(
            on_the_way(&board, None, 11),
            "p/4>a",
            "my own notes count before a scan shows them"
        );
    }

    #[test]
    fn notes_are_shown_for_a_while_and_never_too_many() {
        let mut board = board();
        assert!(board.post(note("p/1", "a"), t(0)));
        assert!(!board.post(note("p/1", "a"), t(1)), "up already");
        assert!(board.post(note("p/1", "b"), t(2)), "in its place");
        assert_eq!(board.shown(t(16)), [note("p/1", "b")]);
        assert_eq!(board.shown(t(17)), []);
        for n in 0..MOST_NOTES {
            assert!(board.post(note(&format!("p/{n}"), "a"), t(20)));
        }
        assert!(!board.post(note("p/x", "a"), t(20)));
        assert_eq!(board.shown(t(21)).len(), MOST_NOTES);
    }
}
