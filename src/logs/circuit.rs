//! Who may put to a log group that refuses everybody.
//!
//! Pure. Owns the queue of those whose last put failed, and the turn to try once more. A writer whose own puts go
//! well never waits for others: a log stream may be missing, or denied, in a group that is fine.

use std::collections::BTreeSet;

use crate::backoff::Backoff;
use crate::clock::Monotonic;

/// A place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// What the holder of a ticket may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The trouble is over, or was never there.
    Free,
    /// Put once, for all who wait, and say how it went.
    Probe,
    /// Ask again then; others may be told to ask earlier.
    At(Monotonic),
    /// Somebody else is next: ask again when something has changed.
    Later,
}

/// The writers of one group that wait. Each step of the backoff one of them probes, in turn; when a probe goes well,
/// all go on.
#[derive(Debug, Default)]
pub struct Circuit {
    waiting: BTreeSet<Ticket>,
    probing: Option<Ticket>,
    next: u64,
    /// Tickets below are let go.
    released: u64,
    backoff: Backoff,
    due: Option<Monotonic>,
}

impl Circuit {
    /// Somebody waits.
    pub fn is_open(&self) -> bool {
        !self.waiting.is_empty() || self.probing.is_some()
    }

    /// A put failed of one who did not wait. The first who comes sets the clock.
    pub fn join(&mut self, now: Monotonic, rng: &mut fastrand::Rng) -> Ticket {
        if !self.is_open() {
            self.due = Some(now + self.backoff.next(rng));
        }
        self.enter()
    }

    fn enter(&mut self) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        self.waiting.insert(ticket);
        ticket
    }

    /// What the holder of `ticket` may do. [`Turn::Probe`] is given to one at a time, who must answer for it.
    pub fn turn(&mut self, ticket: Ticket, now: Monotonic) -> Turn {
        if self.probing == Some(ticket) {
            return Turn::Probe;
        }
        if ticket.0 < self.released || !self.waiting.contains(&ticket) {
            return Turn::Free;
        }
        if self.probing.is_some() || self.waiting.first() != Some(&ticket) {
            return Turn::Later;
        }
        match self.due {
            Some(due) if now < due => Turn::At(due),
            _ => {
                self.waiting.remove(&ticket);
                self.probing = Some(ticket);
                Turn::Probe
            }
        }
    }

    /// The put of one who waited failed: it waits at the end of the queue.
    pub fn failed(&mut self, ticket: Ticket, now: Monotonic, rng: &mut fastrand::Rng) -> Ticket {
        if self.probing != Some(ticket) {
            self.waiting.remove(&ticket);
            return self.join(now, rng);
        }
        self.probing = None;
        self.due = Some(now + self.backoff.next(rng));
        self.enter()
    }

    /// The put of one who waited went well: all go on.
    pub fn worked(&mut self, ticket: Ticket) {
        if self.probing != Some(ticket) {
            return;
        }
        self.probing = None;
        self.waiting.clear();
        self.released = self.next;
        self.backoff.reset();
    }

    /// The holder has nothing to put any more. Who probes next does so at once, if it was the one who probed.
    pub fn left(&mut self, ticket: Ticket) {
        self.waiting.remove(&ticket);
        if self.probing == Some(ticket) {
            self.probing = None;
        }
        if !self.is_open() {
            self.backoff.reset();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_millis(millis))
    }

    #[test]
    fn one_probes_a_step_in_turn_and_all_go_when_a_probe_goes_well() {
        let rng = &mut fastrand::Rng::with_seed(1);
        let mut circuit = Circuit::default();
        assert!(!circuit.is_open());
        let [a, b, c] = [(); 3].map(|()| circuit.join(at(0), rng));
        assert!(circuit.is_open());
        assert!(matches!(circuit.turn(a, at(0)), Turn::At(due) if due <= at(100)));
        assert_eq!(circuit.turn(b, at(60_000)), Turn::Later);
        assert_eq!(circuit.turn(a, at(100)), Turn::Probe);
        assert_eq!(circuit.turn(a, at(100)), Turn::Probe, "asked twice");
        assert_eq!(circuit.turn(b, at(60_000)), Turn::Later, "one at a time");
        let a = circuit.failed(a, at(100), rng);
        assert_eq!(circuit.turn(a, at(60_000)), Turn::Later, "behind the others");
        assert!(matches!(circuit.turn(b, at(100)), Turn::At(due) if due <= at(300)));
        assert_eq!(circuit.turn(b, at(300)), Turn::Probe);
        circuit.worked(b);
        assert!(!circuit.is_open());
        for ticket in [a, b, c] {
            assert_eq!(circuit.turn(ticket, at(300)), Turn::Free);
        }
    }

    #[test]
    fn who_leaves_holds_nobody_up() {
        let rng = &mut fastrand::Rng::with_seed(1);
        let mut circuit = Circuit::default();
        let [a, b] = [(); 2].map(|()| circuit.join(at(0), rng));
        assert_eq!(circuit.turn(a, at(100)), Turn::Probe);
        circuit.left(a);
        assert_eq!(circuit.turn(b, at(100)), Turn::Probe);
        circuit.left(b);
        assert!(!circuit.is_open());
    }

    #[test]
    fn only_a_probe_speaks_for_the_others() {
        let rng = &mut fastrand::Rng::with_seed(1);
        let mut circuit = Circuit::default();
        let [a, b] = [(); 2].map(|()| circuit.join(at(0), rng));
        circuit.worked(b);
        assert_eq!(circuit.turn(b, at(100)), Turn::Later);
        assert_eq!(circuit.turn(a, at(100)), Turn::Probe);
    }

    #[test]
    fn the_steps_grow_to_five_seconds() {
        let rng = &mut fastrand::Rng::with_seed(1);
        let mut circuit = Circuit::default();
        let mut now = at(0);
        let mut ticket = circuit.join(now, rng);
        let mut probes = 0;
        while now < at(600_000) {
            match circuit.turn(ticket, now) {
                Turn::At(due) => now = due,
                Turn::Probe => {
                    probes += 1;
                    ticket = circuit.failed(ticket, now, rng);
                }
                turn => panic!("{turn:?}"),
            }
        }
        // 2.5 s between two of them on average.
        assert!((200..320).contains(&probes), "{probes}");
    }

    proptest! {
        #[test]
        fn never_two_probe_and_nobody_waits_for_ever(
            steps in proptest::collection::vec((0u8..5, any::<u8>()), 1..200), seed in any::<u64>()
        ) {
            let rng = &mut fastrand::Rng::with_seed(seed);
            let mut circuit = Circuit::default();
            let mut tickets: Vec<Ticket> = Vec::new();
            let mut now = 0;
            for (step, pick) in steps {
                now += 700;
                let chosen = (!tickets.is_empty()).then(|| usize::from(pick) % tickets.len());
                match (step, chosen) {
                    (0, _) => tickets.push(circuit.join(at(now), rng)),
                    (1, Some(i)) => tickets[i] = circuit.failed(tickets[i], at(now), rng),
                    (2, Some(i)) => circuit.worked(tickets[i]),
                    (3, Some(i)) => circuit.left(tickets.swap_remove(i)),
                    _ => {}
                }
                let turns: Vec<Turn> = tickets.iter().map(|t| circuit.turn(*t, at(now))).collect();
                let probes = turns.iter().filter(|t| **t == Turn::Probe).count();
                prop_assert!(probes <= 1);
                let waits = turns.iter().any(|t| matches!(t, Turn::Later | Turn::At(_)));
                let later = tickets.iter().any(|t| circuit.turn(*t, at(now + 5_000)) == Turn::Probe);
                prop_assert!(!waits || later, "{:?}", turns);
            }
        }
    }
}
