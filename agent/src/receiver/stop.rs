//! The wish to stop, as a value that is handed in.

use std::time::Duration;
use tokio::{sync::watch, time::Instant};

/// Asks everything that holds a [`Stop`] to end. Dropping it asks for nothing.
#[derive(Debug)]
pub struct Stopper(watch::Sender<Option<Instant>>);

/// Tells whether, and since when, the program shall end.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<Option<Instant>>);

impl Stopper {
    /// The two ends.
    pub fn new() -> (Self, Stop) {
        let (sender, receiver) = watch::channel(None);
        (Self(sender), Stop(receiver))
    }

    /// Asks to stop; asking again changes nothing.
    pub fn stop(&self) {
        self.0.send_if_modified(|since| since.is_none() && since.replace(Instant::now()).is_none());
    }
}

impl Stop {
    /// Whether a stop was requested.
    pub fn is_requested(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Returns once a stop is requested. Cancel-safe.
    pub async fn requested(&mut self) {
        if self.0.wait_for(Option::is_some).await.is_err() {
            // Nobody is left who could ask.
            std::future::pending::<()>().await;
        }
    }

    /// `patience` after the request; from now on if there was none.
    pub(super) fn deadline(&self, patience: Duration) -> Instant {
        self.0.borrow().unwrap_or_else(Instant::now) + patience
    }
}
