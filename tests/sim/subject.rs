//! Weir as the simulation runs it: one `coordinator::run` per process, on the world's fakes.

use std::time::Duration;

use fastrand::Rng;
use weir::config::Start;

use crate::process::Program;
use crate::world::State;

/// How often a worker writes a moved checkpoint (the default).
pub const CHECKPOINT: Duration = Duration::from_secs(15);

/// What a seed sets.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub start: Start,
    pub poll_idle: Duration,
    pub sync_interval: Duration,
    /// All shards write to one log stream.
    pub one_log_stream: bool,
    pub memory: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            start: Start::TrimHorizon,
            poll_idle: Duration::from_secs(1),
            sync_interval: Duration::from_secs(30),
            one_log_stream: false,
            memory: 16 << 20,
        }
    }
}

impl Settings {
    fn draw(rng: &mut Rng) -> Self {
        Self {
            start: [Start::TrimHorizon, Start::TrimHorizon, Start::Latest][rng.usize(0..3)],
            poll_idle: Duration::from_millis([250, 1_000, 3_000][rng.usize(0..3)]),
            sync_interval: Duration::from_secs([10, 30, 60][rng.usize(0..3)]),
            one_log_stream: rng.bool(),
            memory: [8 << 20, 64 << 20][rng.usize(0..2)],
        }
    }

    pub fn from_the_horizon(&self) -> bool {
        self.start == Start::TrimHorizon
    }
}

impl State {
    pub fn draw_settings(&mut self) {
        self.settings = Settings::draw(&mut self.rng);
        let settings = self.settings;
        self.note(format!("{settings:?} {:?}", self.faults));
    }
}

pub fn program() -> Program {
    crate::reader::program(crate::reader::Sin::None)
}
