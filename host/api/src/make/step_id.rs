//! Ids of a run's steps. The document has UUIDs, and a stream has to be taken up again behind a step whose UUID is all that the
//! client sends. So a step's id begins as its run's does, with the time at which that was made, and ends with the step's place;
//! what is between is a hash of both. The run is found among those of that millisecond, and nothing is kept for it.

use std::str::FromStr;

use uuid::Uuid;
use vivarium_domain::{ContentHash, Run, RunId, TenantId};
use vivarium_store::{RunFilter, StoreError};

use crate::ApiState;

/// What a client may name as the last event that it has seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct StepId(Uuid);

impl FromStr for StepId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        Uuid::try_parse(text).map(Self).map_err(|_| "must be the id of an event of such a stream: a UUID")
    }
}

/// The place of a run's last event, which is no step.
pub(super) const END: usize = (1 << (8 * PLACE_BYTES)) - 1;

/// The milliseconds of a UUIDv7.
const TIME_BYTES: usize = 6;
const PLACE_BYTES: usize = 3;

/// How many runs are looked through at a time; hardly ever are there more in one millisecond.
const AT_ONCE: usize = 16;

/// The id of a run's step at this place, from 0: a UUID of our own making (version 8), the same whenever it is asked for.
pub(super) fn of(run: RunId, place: usize) -> Uuid {
    let place = place.min(END) as u64;
    let hash = ContentHash::of_all(&[run.as_bytes(), b"step", &place.to_be_bytes()]);
    let hash = hash.as_bytes().iter().skip(TIME_BYTES).take(16 - TIME_BYTES - PLACE_BYTES);
    let place = place.to_be_bytes().into_iter().skip(8 - PLACE_BYTES);
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(run.as_bytes().iter().take(TIME_BYTES).chain(hash).copied().chain(place)) {
        *to = from;
    }
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// The place that an id names, if it is one.
fn place(id: Uuid) -> usize {
    let bytes = id.as_bytes().iter().skip(16 - PLACE_BYTES);
    bytes.fold(0, |place, byte| place << 8 | usize::from(*byte))
}

/// The run and the place of a step. None: the tenant has no run with such a step.
pub(super) async fn find(
    state: &ApiState,
    tenant: &TenantId,
    StepId(step): StepId,
) -> Result<Option<(Run, usize)>, StoreError> {
    let place = place(step);
    let time = |id: &[u8; 16]| id.iter().take(TIME_BYTES).fold(0_u64, |time, byte| time << 8 | u64::from(*byte));
    let made_at = time(step.as_bytes());
    let mut before = Some(first_of(made_at + 1));
    while before.is_some() {
        let filter = RunFilter { before, limit: AT_ONCE, ..RunFilter::default() };
        let page = state.0.runs.list(tenant, filter).await?;
        for run in page.items {
            if time(run.id.as_bytes()) < made_at {
                return Ok(None);
            }
            if of(run.id, place) == step {
                return Ok(Some((run, place)));
            }
        }
        before = page.next;
    }
    Ok(None)
}

/// An id before all that are made in this millisecond.
fn first_of(milliseconds: u64) -> RunId {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(milliseconds.to_be_bytes().into_iter().skip(8 - TIME_BYTES)) {
        *to = from;
    }
    RunId::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_steps_id_is_a_uuid_that_says_its_place_and_when_its_run_was_made(at in 0..=END) {
            let run = RunId::new();
            let id = of(run, at);
            prop_assert_eq!((id.get_version_num(), id.get_variant()), (8, uuid::Variant::RFC4122));
            prop_assert_eq!(place(id), at);
            prop_assert_eq!(&id.as_bytes()[..TIME_BYTES], &run.as_bytes()[..TIME_BYTES]);
            prop_assert_eq!(of(run, at), id);
            prop_assert_ne!(of(RunId::new(), at), id);
        }
    }

    #[test]
    fn runs_of_a_millisecond_stand_behind_its_first_id() {
        let run = RunId::new();
        let time = run.as_bytes()[..TIME_BYTES].iter().fold(0, |time, byte| time << 8 | u64::from(*byte));
        assert!(first_of(time) < run && run < first_of(time + 1));
    }
}
