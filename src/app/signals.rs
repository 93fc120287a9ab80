//! The signals: those that end the process, and the one that makes its log tell more.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info};

use crate::log_level::LogLevel;
use crate::shutdown::Stopper;

/// SIGTERM (ECS, Kubernetes) and SIGINT (a terminal) end. SIGHUP, which would by default, changes the log's level.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    log_level: LogLevel,
}

impl Signals {
    pub fn listen(log_level: LogLevel) -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            log_level,
        })
    }

    /// The next signal that wants an end.
    async fn next(&mut self) -> (&'static str, i32) {
        loop {
            // Cancel-safe: each keeps what it has not given.
            tokio::select! {
                biased;
                _ = self.terminate.recv() => return ("SIGTERM", SignalKind::terminate().as_raw_value()),
                _ = self.interrupt.recv() => return ("SIGINT", SignalKind::interrupt().as_raw_value()),
                _ = self.hang_up.recv() => self.log_level.toggle("SIGHUP"),
            }
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
