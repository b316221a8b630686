//! Clock and randomness of a mode. WASI gives them as to any component, but each value comes from the run, which journals
//! it, so that a replay sees the same time and the same dice.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
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

/// A world for tests, in which a call goes the same way each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedWorld {
    /// When the call begins, in nanoseconds since 1970. Each look at a clock takes a millisecond.
    pub wall_clock_ns: u64,
    /// What the dice start from.
    pub seed: u64,
}

/// Gives a tool the clocks and the dice of a test.
pub(crate) fn always_the_same(builder: &mut WasiCtxBuilder, world: FixedWorld) {
    let same = || Same { world, looks: AtomicU64::new(0) };
    builder
        .wall_clock(same())
        .monotonic_clock(same())
        .secure_random(same())
        .insecure_random(same())
        .max_random_size(MAX_RANDOM_BYTES);
    builder.insecure_random_seed(u128::from(world.seed));
}

struct Same {
    world: FixedWorld,
    looks: AtomicU64,
}

impl Same {
    const LOOK_NS: u64 = 1_000_000;

    /// Nanoseconds since the call began.
    fn passed(&self) -> u64 {
        self.looks.fetch_add(1, Relaxed).saturating_mul(Self::LOOK_NS)
    }

    /// SplitMix64: spread well enough for a test.
    fn dice(&self) -> u64 {
        let step = self.looks.fetch_add(1, Relaxed).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let z = self.world.seed.wrapping_add(step);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl HostWallClock for Same {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(Self::LOOK_NS)
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(self.world.wall_clock_ns.saturating_add(self.passed()))
    }
}

impl HostMonotonicClock for Same {
    fn resolution(&self) -> u64 {
        Self::LOOK_NS
    }

    fn now(&self) -> u64 {
        self.passed()
    }
}

impl TryRng for Same {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.dice() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.dice())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            for (byte, dice) in chunk.iter_mut().zip(self.dice().to_le_bytes()) {
                *byte = dice;
            }
        }
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn same(seed: u64) -> Same {
        Same { world: FixedWorld { wall_clock_ns: 5, seed }, looks: AtomicU64::new(0) }
    }

    #[test]
    fn the_world_of_a_test_goes_the_same_way_each_time_and_its_clocks_go_on() {
        let bytes = |seed| {
            let mut bytes = [0_u8; 20];
            let Ok(()) = same(seed).try_fill_bytes(&mut bytes);
            bytes
        };
        assert_eq!(bytes(1), bytes(1));
        assert_ne!(bytes(1), bytes(2));
        let clock = same(1);
        let looks = [(); 3].map(|()| HostWallClock::now(&clock).as_nanos());
        assert_eq!(looks, [5, 1_000_005, 2_000_005]);
    }
}
