//! The circuit of one log group, shared by the writers of its streams.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::IntGauge;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::logs::circuit::{Circuit, Ticket, Turn};

/// Whoever waits looks up this often: its fence may have closed, its lease be gone.
pub(super) const LOOK_UP: Duration = Duration::from_millis(500);

/// One group's.
#[derive(Debug)]
pub(super) struct Gate {
    circuit: Mutex<Circuit>,
    changed: Notify,
    /// Groups that are held.
    held: IntGauge,
}

impl Gate {
    pub(super) fn new(held: IntGauge) -> Self {
        Self {
            circuit: Mutex::default(),
            changed: Notify::new(),
            held,
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Circuit) -> T) -> T {
        // Each change is one step, so a poisoned circuit is still a whole one.
        let mut circuit = self.circuit.lock().unwrap_or_else(PoisonError::into_inner);
        let before = circuit.is_open();
        let done = change(&mut circuit);
        match (before, circuit.is_open()) {
            (false, true) => self.held.inc(),
            (true, false) => self.held.dec(),
            _ => {}
        }
        done
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let circuit = self.circuit.get_mut().unwrap_or_else(PoisonError::into_inner);
        if circuit.is_open() {
            self.held.dec();
        }
    }
}

/// One put before the gate, with all its repeats. Dropping it lets the next one go.
#[derive(Debug)]
pub(super) struct Visit {
    gate: Arc<Gate>,
    ticket: Option<Ticket>,
}

impl Visit {
    pub(super) fn new(gate: &Arc<Gate>) -> Self {
        Self {
            gate: gate.clone(),
            ticket: None,
        }
    }

    /// Waits for the turn to put. `false` after a while without it: see that all still stands, then ask again.
    pub(super) async fn turn(&mut self, clock: &dyn Clock) -> bool {
        let Some(ticket) = self.ticket else {
            return true;
        };
        let changed = self.gate.changed.notified();
        let mut changed = std::pin::pin!(changed);
        // Before it asks: a change in between is not missed.
        changed.as_mut().enable();
        let now = clock.now();
        let wait = match self.gate.with(|circuit| circuit.turn(ticket, now)) {
            Turn::Free => {
                self.ticket = None;
                return true;
            }
            Turn::Probe => return true,
            Turn::At(due) => due.since(now).min(LOOK_UP),
            Turn::Later => LOOK_UP,
        };
        // Cancel-safe: neither branch holds anything.
        tokio::select! {
            () = changed => {}
            () = clock.sleep(wait) => {}
        }
        false
    }

    /// It waits for the group.
    pub(super) fn waits(&self) -> bool {
        self.ticket.is_some()
    }

    /// The put was judged by what is in it.
    pub(super) fn worked(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.gate.with(|circuit| circuit.worked(ticket));
            self.gate.changed.notify_waiters();
        }
    }

    /// The put failed for a reason that is the group's, or while the group was held.
    pub(super) fn failed(&mut self, clock: &dyn Clock, rng: &mut fastrand::Rng) {
        let now = clock.now();
        let ticket = self.gate.with(|circuit| match self.ticket {
            Some(ticket) => circuit.failed(ticket, now, rng),
            None => circuit.join(now, rng),
        });
        self.ticket = Some(ticket);
        self.gate.changed.notify_waiters();
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.gate.with(|circuit| circuit.left(ticket));
            self.gate.changed.notify_waiters();
        }
    }
}
