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

/// The notes of this worker, and what it has seen of the others'.
#[derive(Debug)]
pub struct Board {
    me: WorkerId,
    mine: Vec<(Note, Monotonic)>,
    /// When each note was first seen.
    seen: BTreeMap<(LeaseKey, u64, WorkerId), Monotonic>,
}

impl Board {
    pub fn new(me: WorkerId) -> Self {
        Self {
            me,
            mine: Vec::new(),
            seen: BTreeMap::new(),
        }
    }

    /// Puts up a note, in the place of an older one about the same lease, and counts the lease as on its way.
    /// `false`: there are too many, or it was up already.
    pub fn post(&mut self, note: Note, now: Monotonic) -> bool {
        if self.mine.iter().any(|(n, _)| *n == note) {
            return false;
        }
        self.mine.retain(|(n, _)| n.lease != note.lease);
        if self.mine.len() >= MOST_NOTES {
            return false;
        }
        let key = (note.lease.clone(), note.counter, note.to.clone());
        self.seen.entry(key).or_insert(now);
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
        let mine = self.mine.iter().map(|(note, _)| note);
        let notes = rows
            .values()
            .filter(|row| row.id != self.me)
            .flat_map(|row| &row.notes);
        for note in notes.chain(mine) {
            let key = (note.lease.clone(), note.counter, note.to.clone());
            if !self.seen.contains_key(&key) && note.to == self.me {
                fresh.push(note.clone());
            }
            self.seen.entry(key.clone()).or_insert(now);
            there.insert(key);
        }
        // Longer than any writer shows one: a note that came back would be news otherwise.
        self.seen
            .retain(|key, at| there.contains(key) || now.since(*at) < SHOWN * 2);
        fresh
    }

    /// This worker takes a lease that it found by itself; a note about it may be under way.
    pub fn hear(&mut self, lease: LeaseKey, counter: u64, now: Monotonic) {
        let heard = self.seen.keys().filter(|(_, _, to)| *to == self.me).count();
        // A row may have 400 KB. More than these come at a first start, where nobody counts so closely.
        if heard < MOST_NOTES {
            self.seen.entry((lease, counter, self.me.clone())).or_insert(now);
        }
    }

    /// The notes to this worker that it has read, for its row: whoever else sees such a note knows by it
    /// that this worker counts the lease itself. For longer than anybody believes the note.
    pub fn heard(&self) -> BTreeSet<(LeaseKey, u64)> {
        let mine = self.seen.keys().filter(|(_, _, to)| *to == self.me);
        mine.map(|(lease, counter, _)| (lease.clone(), *counter))
            .collect()
    }

    /// The leases that others shall take and don't count as theirs yet.
    pub fn on_the_way<'a>(
        &'a self,
        rows: &'a BTreeMap<WorkerId, WorkerRow>,
        now: Monotonic,
    ) -> impl Iterator<Item = (&'a LeaseKey, &'a WorkerId)> {
        self.seen
            .iter()
            .filter(move |((lease, counter, to), at)| {
                let counted = rows
                    .get(to)
                    .is_none_or(|row| !row.is_live() || row.heard.contains(&(lease.clone(), *counter)));
                *to != self.me && !counted && now.since(**at) < BELIEVED
            })
            .map(|((lease, _, to), _)| (lease, to))
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
    fn a_lease_on_its_way_counts_for_who_shall_take_it_until_it_counts_it_itself() {
        let on_the_way = |board: &Board, heard: &[&str], at| {
            let mut rows = rows(5, &[]);
            let b = rows.get_mut(&WorkerId::new("b")).unwrap();
            b.heard = heard.iter().map(|lease| (LeaseKey::new(*lease), 1)).collect();
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
        assert_eq!(on_the_way(&board, &["p/7"], 1), "p/1>b");
        assert_eq!(on_the_way(&board, &["p/1"], 1), "", "b counts it");
        assert_eq!(on_the_way(&board, &[], 10), "", "believed no more");
        assert_eq!(board.heard(), [(LeaseKey::new("p/2"), 1)].into());
        assert!(board.post(note("p/4", "a"), t(11)));
        assert_eq!(on_the_way(&board, &[], 11), "p/4>a", "my own notes count too");
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
