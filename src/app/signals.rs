//! The signals that end the process.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info};

use crate::shutdown::Stopper;

/// SIGTERM (ECS, Kubernetes) and SIGINT (a terminal).
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> (&'static str, i32) {
        tokio::select! {
            _ = self.terminate.recv() => ("SIGTERM", SignalKind::terminate().as_raw_value()),
            _ = self.interrupt.recv() => ("SIGINT", SignalKind::interrupt().as_raw_value()),
        }
    }

    /// The first signal asks for a drain, the second ends the process at once.
    pub async fn handle(mut self, stopper: Stopper) {
        let (name, _) = self.next().await;
        info!("{name}: draining; a second signal ends at once");
        stopper.stop();
        let (name, number) = self.next().await;
        error!("{name} again: ending at once; what was not checkpointed will be repeated");
        // 128 + n, as a shell reports a process that a signal ended.
        std::process::exit(128 + number);
    }
}
