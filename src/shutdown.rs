//! The wish to stop, carried from the signal handler to everything that loops.

use tokio::sync::watch;

/// The side that wishes. Dropping it without [`Stopper::stop`] counts as the wish too.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

/// The side that listens.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

pub fn channel() -> (Stopper, Stop) {
    let (tx, rx) = watch::channel(false);
    (Stopper(tx), Stop(rx))
}

impl Stopper {
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    pub fn is_wished(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once the wish is there. Cancel-safe.
    pub async fn wished(&mut self) {
        // An error means that the stopper is gone: whoever could have asked for more work is no more.
        let _ = self.0.wait_for(|wished| *wished).await;
    }
}
