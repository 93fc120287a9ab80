//! The signals: those that end the process, and the one that makes its log tell more.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info};

use crate::log_level::LogLevel;
use crate::shutdown::Stopper;

/// SIGTERM (ECS, Kubernetes) and SIGINT (a terminal) end. SIGHUP, which would by default, changes the log's level of a
/// process that has one to change.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Option<(Signal, LogLevel)>,
}

impl Signals {
    /// From now on, or from when `early` began. Within a runtime.
    pub fn listen(early: Option<Self>, log_level: Option<LogLevel>) -> std::io::Result<Self> {
        let hang_up = log_level.map(|level| Ok::<_, std::io::Error>((signal(SignalKind::hangup())?, level)));
        let hang_up = hang_up.transpose()?;
        Ok(match early {
            Some(early) => Self { hang_up, ..early },
            None => Self {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
                hang_up,
            },
        })
    }

    /// Of a container's first process, for which the kernel drops each signal that nobody listens to: to be called
    /// before anything that takes time. Any other process is ended by a signal that comes so early.
    pub fn of_first_process() -> std::io::Result<Option<Self>> {
        match std::process::id() {
            1 => Self::listen(None, None).map(Some),
            _ => Ok(None),
        }
    }

    /// The first signal ends the process at once, as it would any but the first of a container.
    pub async fn obey(mut self) {
        let (_, number) = self.next().await;
        std::process::exit(128 + number);
    }

    /// The next signal that wants an end.
    async fn next(&mut self) -> (&'static str, i32) {
        loop {
            // Cancel-safe: each keeps what it has not given.
            tokio::select! {
                biased;
                _ = self.terminate.recv() => return ("SIGTERM", SignalKind::terminate().as_raw_value()),
                _ = self.interrupt.recv() => return ("SIGINT", SignalKind::interrupt().as_raw_value()),
                () = hung_up(self.hang_up.as_mut()) => {}
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

/// Heeds the next SIGHUP, if any is to be heeded.
async fn hung_up(heeded: Option<&mut (Signal, LogLevel)>) {
    match heeded {
        Some((signal, log_level)) => {
            signal.recv().await;
            log_level.toggle("SIGHUP");
        }
        None => std::future::pending().await,
    }
}
