//! The one WebAssembly engine of the process.
//!
//! There is one constructor for compiling and for running, so that compiled code in the cache always fits. Instances come
//! from a pool, because making memories with mmap for each call does not scale to a second core; where the address space
//! is too short for the pool (a container with a limit on it), instances are made on demand and a warning says so.

use std::hash::{Hash as _, Hasher as _};
use std::time::Duration;

use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::LoadError;

/// How often a running guest comes up for air: to let others run, and to have its processor time read. A cancelled guest
/// stops within two of these.
pub(crate) const TICK: Duration = Duration::from_millis(5);

/// No memory of a guest grows beyond this, whatever its limits say: the size of a pool's slot.
const MAX_MEMORY_BYTES: usize = 1 << 30;

/// What of a slot's memory, tables and stack is reset by writing instead of by a system call. Without it two cores wait
/// for each other in the kernel; more than a small guest touches would cost more than it saves.
const KEEP_RESIDENT_BYTES: usize = 128 << 10;

/// How the engine is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineConfig {
    /// Live instances at one time; none: as many as the machine's `vm.max_map_count` carries.
    pub max_instances: Option<u32>,
}

/// The engine and how many instances it can hold.
#[derive(Debug, Clone)]
pub(crate) struct PooledEngine {
    pub(crate) engine: Engine,
    pub(crate) max_instances: u32,
}

impl PooledEngine {
    /// Makes the engine and starts its ticker.
    pub(crate) fn new(config: EngineConfig) -> Result<Self, LoadError> {
        let wanted = config.max_instances.unwrap_or_else(instances_that_the_machine_carries).max(1);
        let pooled = Engine::new(&engine_config(Some(wanted)));
        let engine = match pooled {
            Ok(engine) => engine,
            Err(error) => {
                tracing::warn!(
                    %error, max_instances = wanted,
                    "the address space is too short for a pool of WebAssembly instances; they are made on demand, which is slower"
                );
                Engine::new(&engine_config(None)).map_err(|error| LoadError::Engine(format!("{error:#}")))?
            }
        };
        start_ticker(&engine)?;
        Ok(Self { engine, max_instances: wanted })
    }

    /// Names the engine's version and settings: compiled code of another fingerprint does not fit.
    pub(crate) fn fingerprint(&self) -> u64 {
        // DefaultHasher is the same in every process of one Rust release; after an upgrade, things are compiled anew.
        let mut hasher = std::hash::DefaultHasher::new();
        self.engine.precompile_compatibility_hash().hash(&mut hasher);
        env!("CARGO_PKG_VERSION").hash(&mut hasher);
        hasher.finish()
    }
}

/// How much native stack a guest may use: an interpreter's guest, whose recursion is its own, needs more than the usual 512 KiB.
/// The other half of what the fiber has is for the host's functions.
const MAX_WASM_STACK_BYTES: usize = 1 << 20;

pub(crate) fn engine_config(pool: Option<u32>) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        // Sync guests only; the machinery for concurrent ones costs each call dearly.
        .concurrency_support(false)
        // The same bits on every machine, so that a run can be replayed anywhere.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(16))
        .memory_init_cow(true)
        .max_wasm_stack(MAX_WASM_STACK_BYTES)
        .async_stack_size(2 * MAX_WASM_STACK_BYTES);
    if let Some(instances) = pool {
        let mut pool = PoolingAllocationConfig::new();
        // A component made from a Rust guest has three core instances (itself and two shims), two tables, one memory; one made
        // from Python has fourteen core instances. Those are only counted, so room for them costs nothing.
        pool.total_component_instances(instances)
            .total_core_instances(instances.saturating_mul(16))
            .total_memories(instances.saturating_add(instances / 4))
            .total_tables(instances.saturating_mul(3))
            .total_stacks(instances)
            .max_memory_size(MAX_MEMORY_BYTES)
            .max_unused_warm_slots(256)
            .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
            .table_keep_resident(KEEP_RESIDENT_BYTES)
            .async_stack_keep_resident(KEEP_RESIDENT_BYTES);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    config
}

/// A Rust-shaped instance takes about ten memory mappings. Half of what the kernel allows is left to the rest of the
/// process, since near the limit even loading a component fails.
fn instances_that_the_machine_carries() -> u32 {
    const DEFAULT_MAPPINGS: u32 = 65_530;
    let mappings = std::fs::read_to_string("/proc/sys/vm/max_map_count")
        .ok()
        .and_then(|text| text.trim().parse::<u32>().ok())
        .unwrap_or(DEFAULT_MAPPINGS);
    (mappings / 20).clamp(64, 4_000)
}

/// Moves the epoch on. The thread ends with the engine.
fn start_ticker(engine: &Engine) -> Result<(), LoadError> {
    let weak = engine.weak();
    let tick = move || {
        while let Some(engine) = weak.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TICK);
        }
    };
    std::thread::Builder::new()
        .name("epoch-ticker".to_owned())
        .spawn(tick)
        .map(drop)
        .map_err(|error| LoadError::Engine(format!("the epoch ticker's thread can not start: {error}")))
}
