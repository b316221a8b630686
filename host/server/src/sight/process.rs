//! What the operating system knows of this process, under the names that all Prometheus clients use. Where `/proc` is not, it is
//! left out.

use std::fmt::{Display, Write as _};
use std::fs;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// Appends the metrics of the process.
pub(super) fn write(text: &mut String) {
    let about = "The host's version.";
    one(text, "vivarium_build_info", &format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION")), "gauge", about, 1);
    let started = "When the process began to serve, in seconds since 1970.";
    one(text, "process_start_time_seconds", "", "gauge", started, started_at());
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = format!("{}.{:06}", cpu.tv_sec, cpu.tv_nsec / 1000);
    one(text, "process_cpu_seconds_total", "", "counter", "Processor seconds of the whole process.", seconds);
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| number_of(&status, name);
    if let Some(kib) = field("VmRSS:") {
        one(text, "process_resident_memory_bytes", "", "gauge", "Memory that is in use, in bytes.", kib * 1024);
    }
    if let Some(threads) = field("Threads:") {
        one(text, "process_threads", "", "gauge", "Threads.", threads);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        one(text, "process_open_fds", "", "gauge", "Open files and sockets.", open.count());
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        one(text, "process_max_fds", "", "gauge", "How many files and sockets may be open.", most);
    }
}

/// The number behind a name of `/proc/self/status`.
fn number_of(status: &str, name: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

fn started_at() -> u64 {
    static STARTED: OnceLock<u64> = OnceLock::new();
    *STARTED.get_or_init(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

/// From now on the process is as old as it is.
pub(super) fn begin() {
    started_at();
}

fn one(text: &mut String, name: &str, labels: &str, kind: &str, help: &str, value: impl Display) {
    // Writing to a String can not fail.
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name}{labels} {value}\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_tells_its_memory_its_threads_and_its_files() {
        let mut text = String::new();
        write(&mut text);
        for name in
            ["process_resident_memory_bytes", "process_threads", "process_open_fds", "process_cpu_seconds_total"]
        {
            let line =
                text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap_or_else(|| panic!("{text}"));
            let value: f64 = line.split(' ').next_back().unwrap().parse().unwrap();
            assert!(value > 0.0, "{line}");
        }
    }
}
