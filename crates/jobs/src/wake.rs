//! How background work is woken before its next poll: [`Wake`].

use tokio::sync::watch;

/// Wakes everything that looks at stored jobs: claims, renewals, cleaning.
///
/// It carries no news. What is to be done stands in the store, and would be found at the next poll anyway; so a signal
/// that is lost costs time and nothing else. Signal after a job was created or cancelled. Clones share the wake.
#[derive(Clone, Debug)]
pub struct Wake {
    /// Counts the signals. Written by whoever signals; loops of the runner wait for it to change.
    signals: watch::Sender<u64>,
}

impl Wake {
    /// Makes a wake that nobody waits for yet.
    pub fn new() -> Self {
        Self {
            signals: watch::Sender::new(0),
        }
    }

    /// Wakes all who wait now, and all who are about to after having looked.
    pub fn signal(&self) {
        self.signals
            .send_modify(|signals| *signals = signals.wrapping_add(1));
    }

    pub(crate) fn listen(&self) -> Listener {
        Listener {
            signals: self.signals.subscribe(),
        }
    }
}

impl Default for Wake {
    fn default() -> Self {
        Self::new()
    }
}

/// Waits for signals: those since the last [`looking`](Listener::looking).
pub(crate) struct Listener {
    signals: watch::Receiver<u64>,
}

impl Listener {
    /// Says that the store is looked at from here on; only later signals count.
    pub(crate) fn looking(&mut self) {
        self.signals.mark_unchanged();
    }

    pub(crate) async fn signalled(&mut self) {
        if self.signals.changed().await.is_err() {
            // All senders are gone, so no signal can come.
            std::future::pending::<()>().await;
        }
    }
}
