//! What a guest may use, and the meters that say what it used.
//!
//! Three clocks bound a call. *Wall time* covers guest and host time together and is a timer around the whole call.
//! *CPU time* covers the guest's own work: the time between the moments when the executor enters and leaves the call.
//! The epoch ticker makes a spinning guest come up for air every [`TICK`](crate::engine::TICK), where the CPU meter is
//! read; so a guest overstays by one tick at the most, and other calls get their turn meanwhile.
//! *Host calls* bound what a guest makes the host do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use vivarium_domain::PluginLimits;
use wasmtime::ResourceLimiter;

/// What one call of a guest may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// From start to end, host time included.
    pub wall: Duration,
    /// Processor time of the guest.
    pub cpu: Duration,
    /// The sum of all its linear memories.
    pub memory_bytes: usize,
    /// The sum of all its tables.
    pub table_elements: usize,
    /// What it gives back, in one answer or message.
    pub output_bytes: usize,
    /// Calls of the host.
    pub host_calls: u64,
    /// Lines in the log.
    pub log_lines: u32,
    /// One line of the log; longer ones are cut.
    pub log_line_bytes: usize,
    /// Handles of host resources (streams, requests, fields) at one time.
    pub handles: usize,
}

impl Limits {
    /// For a mode: it waits for models and tools, so it may live long; it computes little.
    #[must_use]
    pub fn for_mode() -> Self {
        Self {
            wall: Duration::from_secs(600),
            cpu: Duration::from_secs(20),
            memory_bytes: 128 << 20,
            table_elements: 50_000,
            output_bytes: 1 << 20,
            host_calls: 5_000,
            log_lines: 200,
            log_line_bytes: 4 << 10,
            handles: 256,
        }
    }

    /// For a tool.
    #[must_use]
    pub fn for_tool() -> Self {
        Self { wall: Duration::from_secs(60), cpu: Duration::from_secs(10), host_calls: 20_000, ..Self::for_mode() }
    }

    /// These, but for what `limits` sets. Its limits on the network, on files and on state are not of the sandbox: they
    /// are in the door, the workspace and the state that a call is given.
    #[must_use]
    pub fn with(mut self, limits: &PluginLimits) -> Self {
        let size = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        set(&mut self.wall, limits.wall_ms, Duration::from_millis);
        set(&mut self.cpu, limits.cpu_ms, Duration::from_millis);
        set(&mut self.memory_bytes, limits.memory_bytes, size);
        set(&mut self.table_elements, limits.table_elements, size);
        set(&mut self.output_bytes, limits.output_bytes, size);
        set(&mut self.host_calls, limits.host_calls, std::convert::identity);
        set(&mut self.log_lines, limits.log_lines, |value| u32::try_from(value).unwrap_or(u32::MAX));
        set(&mut self.handles, limits.handles, size);
        self
    }
}

fn set<T>(limit: &mut T, value: Option<u64>, as_limit: impl FnOnce(u64) -> T) {
    if let Some(value) = value {
        *limit = as_limit(value);
    }
}

/// Memory and tables of one store: summed over all of a component's instances, because a component may have many.
#[derive(Debug)]
pub(crate) struct MemoryMeter {
    memory_limit: usize,
    table_limit: usize,
    memory: usize,
    tables: usize,
    /// The largest sum of memories. Shared, because it is told even when the store is gone.
    peak: Arc<AtomicUsize>,
    /// A growth was refused: a trap that follows is its consequence.
    pub(crate) refused: bool,
}

impl MemoryMeter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            memory_limit: limits.memory_bytes,
            table_limit: limits.table_elements,
            memory: 0,
            tables: 0,
            peak: Arc::default(),
            refused: false,
        }
    }

    /// For another call of the same instance: its memories stay; says whether they fit.
    pub(crate) fn begin(&mut self, limits: &Limits) -> bool {
        let fits = self.memory <= limits.memory_bytes && self.tables <= limits.table_elements;
        if fits {
            let (memory, tables) = (self.memory, self.tables);
            *self = Self { memory, tables, ..Self::new(limits) };
            self.peak.store(memory, Relaxed);
        }
        fits
    }

    /// For a program that this guest runs: the sums begin where this guest's stand, which does nothing meanwhile.
    pub(crate) fn of_a_program(&self) -> Self {
        Self { peak: Arc::clone(&self.peak), refused: false, ..*self }
    }

    /// Where the largest sum of memories stands.
    pub(crate) fn peak(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.peak)
    }

    /// Adds the growth to `sum` if it fits under `limit`.
    fn grow(sum: &mut usize, limit: usize, current: usize, desired: usize) -> bool {
        let after = sum.saturating_add(desired.saturating_sub(current));
        let fits = after <= limit;
        if fits {
            *sum = after;
        }
        fits
    }
}

impl ResourceLimiter for MemoryMeter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let fits = maximum.is_none_or(|most| desired <= most)
            && Self::grow(&mut self.memory, self.memory_limit, current, desired);
        self.peak.fetch_max(self.memory, Relaxed);
        self.refused |= !fits;
        Ok(fits)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let fits = maximum.is_none_or(|most| desired <= most)
            && Self::grow(&mut self.tables, self.table_limit, current, desired);
        self.refused |= !fits;
        Ok(fits)
    }

    fn instances(&self) -> usize {
        64
    }

    fn tables(&self) -> usize {
        64
    }

    fn memories(&self) -> usize {
        16
    }
}

/// Processor time of one call: shared by the future that is polled and the epoch callback inside of it, which run on the
/// same thread. It is the thread's own time: what a busy machine lets it wait is not the guest's.
#[derive(Debug)]
pub(crate) struct CpuMeter {
    base: Instant,
    /// Nanoseconds of the polls that have ended.
    spent: AtomicU64,
    /// The thread's time when the current poll began, in nanoseconds.
    entered: AtomicU64,
}

/// The processor time of this thread, in nanoseconds.
fn thread_time() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec).unwrap_or(0), u64::try_from(time.tv_nsec).unwrap_or(0));
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

impl CpuMeter {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { base: Instant::now(), spent: AtomicU64::new(0), entered: AtomicU64::new(0) })
    }

    /// What was used when no poll is under way.
    pub(crate) fn spent(&self) -> Duration {
        Duration::from_nanos(self.spent.load(Relaxed))
    }

    /// What was used so far, from within a poll.
    pub(crate) fn spent_within_poll(&self) -> Duration {
        Duration::from_nanos(self.spent.load(Relaxed) + thread_time().saturating_sub(self.entered.load(Relaxed)))
    }

    /// Measures one poll.
    pub(crate) fn measure<T>(&self, poll: impl FnOnce() -> T) -> T {
        let entered = thread_time();
        self.entered.store(entered, Relaxed);
        let polled = poll();
        self.spent.fetch_add(thread_time().saturating_sub(entered), Relaxed);
        polled
    }

    /// Since the call began, waiting included.
    pub(crate) fn wall(&self) -> Duration {
        self.base.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugins_limits_replace_those_that_they_name_and_no_others() {
        let limits = PluginLimits {
            wall_ms: Some(7),
            log_lines: Some(u64::MAX),
            memory_bytes: Some(1 << 20),
            ..PluginLimits::default()
        };
        let expected =
            Limits { wall: Duration::from_millis(7), log_lines: u32::MAX, memory_bytes: 1 << 20, ..Limits::for_tool() };
        assert_eq!(Limits::for_tool().with(&limits), expected);
        assert_eq!(Limits::for_tool().with(&PluginLimits::default()), Limits::for_tool());
    }

    #[test]
    fn memories_are_summed_over_all_instances() {
        let mut meter = MemoryMeter::new(&Limits { memory_bytes: 100, ..Limits::for_tool() });
        assert!(meter.memory_growing(0, 60, None).unwrap());
        assert!(!meter.memory_growing(0, 60, None).unwrap(), "a second memory does not get a limit of its own");
        assert!(meter.refused);
        assert!(meter.memory_growing(0, 40, None).unwrap());
        assert_eq!(meter.peak().load(Relaxed), 100);
    }
}
