//! Turns at models that work on only so many answers at one time, because they work in this process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use vivarium_domain::ModelName;

use crate::asking::Candidate;
use crate::queue::{FairQueue, Load, QueueLimits};

/// A tenant's questions that wait for one model; further ones are refused, because they would wait for minutes.
const WAITING_PER_TENANT: usize = 32;

/// A queue for each model that was asked and has only so many places.
#[derive(Debug, Default)]
pub(crate) struct ModelPlaces(Mutex<BTreeMap<ModelName, Arc<FairQueue>>>);

impl ModelPlaces {
    /// The queue of a model, and how long a turn is worth waiting for. None: it has as many places as are asked for.
    pub(crate) fn of(&self, candidate: &Candidate) -> Option<(Arc<FairQueue>, Duration)> {
        let places = candidate.provider.places(candidate.model.model())?;
        let limits =
            QueueLimits { places: places.most, per_tenant: places.most, waiting_per_tenant: WAITING_PER_TENANT };
        let mut queues = self.lock();
        let queue = queues.entry(candidate.model.clone()).or_insert_with(|| FairQueue::new(limits));
        Some((Arc::clone(queue), places.patience))
    }

    /// All of them together.
    pub(crate) fn load(&self) -> Load {
        let none = Load { places: 0, taken: 0, waiting: 0 };
        self.lock().values().map(|queue| queue.load()).fold(none, |sum, one| Load {
            places: sum.places + one.places,
            taken: sum.taken + one.taken,
            waiting: sum.waiting + one.waiting,
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ModelName, Arc<FairQueue>>> {
        // A queue is there or it is not.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
