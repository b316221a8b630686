//! What a run's tool calls wait for outside of the host. A run all of whose calls wait so is left: its instance is dropped,
//! and made again by replay when there is something to go on with.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The tool calls of one run that wait for a person.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    waiting: AtomicUsize,
    changed: Notify,
    idle: Notify,
}

/// A call waits; dropping it says that it goes on.
pub(crate) struct Waiting<'a>(&'a Waits);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
        self.0.changed.notify_one();
    }
}

impl Waits {
    /// A call waits from now on.
    pub(crate) fn begin(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        self.changed.notify_one();
        Waiting(self)
    }

    /// How many calls wait.
    pub(crate) fn count(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// The number of waiting calls has changed since it was last looked at. For one task alone.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// All that the run does is wait.
    pub(crate) fn all_wait(&self) {
        self.idle.notify_one();
    }

    /// Until all that the run does is wait.
    pub(crate) async fn until_all_wait(&self) {
        self.idle.notified().await;
    }
}
