//! Clock and randomness of a mode. WASI gives them as to any component, but each value comes from the run, which journals
//! it, so that a replay sees the same time and the same dice.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use rand_core::TryRng;
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtxBuilder};

use crate::capability::mode::ModeHost;

/// How much randomness one call may ask for.
const MAX_RANDOM_BYTES: u64 = 4 << 10;

/// Gives a mode its clocks and its randomness.
pub(crate) fn from_the_journal(builder: &mut WasiCtxBuilder, host: &Arc<dyn ModeHost>) {
    builder
        .wall_clock(Journaled(Arc::clone(host)))
        .monotonic_clock(Journaled(Arc::clone(host)))
        .secure_random(Journaled(Arc::clone(host)))
        .insecure_random(Journaled(Arc::clone(host)))
        .max_random_size(MAX_RANDOM_BYTES);
    let mut seed = [0_u8; 16];
    host.random(&mut seed);
    builder.insecure_random_seed(u128::from_le_bytes(seed));
}

struct Journaled(Arc<dyn ModeHost>);

impl HostWallClock for Journaled {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.wall_clock())
    }
}

impl HostMonotonicClock for Journaled {
    fn resolution(&self) -> u64 {
        1_000_000
    }

    fn now(&self) -> u64 {
        self.0.monotonic_clock()
    }
}

impl TryRng for Journaled {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0_u8; 4];
        self.0.random(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0_u8; 8];
        self.0.random(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.random(bytes);
        Ok(())
    }
}
