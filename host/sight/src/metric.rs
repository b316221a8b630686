//! Every metric of the host: its name, its meaning, its labels.
//!
//! The values of each label are of a closed set, or are named by the operator alone (routes, providers). No label says a
//! tenant, a key, a session, a run, or anything else that clients or tenants can make more of.

use metrics::IntoLabels;
pub use metrics::Label;

/// A label that says nothing further.
pub const NO_LABELS: &[(&str, &str); 0] = &[];

/// Seconds of what should be over before anybody waits: writes to disk, host calls.
const FAST: &[f64] = &[0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

/// Seconds of what a person waits for: requests, models, tools.
const WAITED_FOR: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// Seconds of what may take minutes: runs, compiling.
const LONG: &[f64] = &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0];

/// Bytes of a guest's memory.
const MEMORY: &[f64] = &[
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    33_554_432.0,
    67_108_864.0,
    134_217_728.0,
    268_435_456.0,
    1_073_741_824.0,
];

/// How many at one time.
const COUNT: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// It is sorted into buckets.
    Histogram,
}

/// A metric as the exporter is told of it.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What it means.
    pub help: &'static str,
    /// The upper bounds of a histogram's buckets.
    pub buckets: &'static [f64],
}

/// Something that is counted.
#[derive(Debug, Clone, Copy)]
pub struct Counter(&'static str);

impl Counter {
    /// So many more.
    pub fn add(self, count: u64, labels: impl IntoLabels) {
        metrics::counter!(self.0, labels).increment(count);
    }
}

/// Something that goes up and down.
#[derive(Debug, Clone, Copy)]
pub struct Gauge(&'static str);

impl Gauge {
    /// It is this now.
    #[expect(clippy::cast_precision_loss, reason = "what is counted here stays far below 2^52")]
    pub fn set(self, value: usize, labels: impl IntoLabels) {
        metrics::gauge!(self.0, labels).set(value as f64);
    }

    /// One more, until what is given back is dropped.
    #[must_use]
    pub fn one_more(self, labels: impl IntoLabels) -> OneMore {
        let gauge = metrics::gauge!(self.0, labels);
        gauge.increment(1.0);
        OneMore(gauge)
    }
}

/// Counts in a gauge as long as it is there.
pub struct OneMore(metrics::Gauge);

impl Drop for OneMore {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

impl std::fmt::Debug for OneMore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OneMore")
    }
}

/// Something whose sizes are told apart.
#[derive(Debug, Clone, Copy)]
pub struct Histogram(&'static str);

impl Histogram {
    /// Once more, of this size.
    pub fn record(self, size: f64, labels: impl IntoLabels) {
        metrics::histogram!(self.0, labels).record(size);
    }

    /// Once more, this long.
    pub fn took(self, time: std::time::Duration, labels: impl IntoLabels) {
        self.record(time.as_secs_f64(), labels);
    }
}

macro_rules! metrics {
    ($($(#[doc = $doc:literal])+ $constant:ident: $kind:ident = $name:literal $(, $buckets:ident)?;)+) => {
        $($(#[doc = $doc])+ pub const $constant: $kind = $kind($name);)+

        /// All metrics that the rooms tell of.
        pub const ALL: &[About] = &[$(About {
            name: $name,
            kind: Kind::$kind,
            help: concat!($($doc),+).trim_ascii(),
            buckets: metrics!(@buckets $($buckets)?),
        }),+];
    };
    (@buckets) => { &[] };
    (@buckets $buckets:ident) => { $buckets };
}

metrics! {
    /// Requests that were answered, by route template, method, status class and dialect.
    HTTP_REQUESTS: Counter = "vivarium_http_requests_total";
    /// Seconds from a request's head to its answer's head, by route template, method and dialect.
    HTTP_DURATION: Histogram = "vivarium_http_request_duration_seconds", WAITED_FOR;
    /// Requests that wait for their answer's head.
    HTTP_IN_FLIGHT: Gauge = "vivarium_http_requests_in_flight";
    /// Open connections.
    HTTP_CONNECTIONS: Gauge = "vivarium_http_connections_open";
    /// Open streams of events.
    HTTP_STREAMS: Gauge = "vivarium_http_streams_open";

    /// Runs that were accepted.
    RUNS_STARTED: Counter = "vivarium_runs_started_total";
    /// Runs that have ended, by outcome (completed, failed, cancelled) and, where they failed, the code of the failure.
    RUNS_ENDED: Counter = "vivarium_runs_ended_total";
    /// Runs that were taken up again, after a restart or after they had waited.
    RUNS_RESUMED: Counter = "vivarium_runs_resumed_total";
    /// Seconds from a run's acceptance to its end, waiting included, by outcome.
    RUN_DURATION: Histogram = "vivarium_run_duration_seconds", LONG;
    /// Runs that have not ended, by state (queued, running, waiting).
    RUNS: Gauge = "vivarium_runs";
    /// Seconds that a run, a tool call or a question to the embedded model waited for its place, by queue (runs, tool_calls, model_calls).
    QUEUE_WAIT: Histogram = "vivarium_queue_wait_seconds", WAITED_FOR;
    /// Who waits for a place, by queue.
    QUEUE_LENGTH: Gauge = "vivarium_queue_length";
    /// Places that are taken, by queue.
    QUEUE_TAKEN: Gauge = "vivarium_queue_places_taken";
    /// All places, by queue.
    QUEUE_PLACES: Gauge = "vivarium_queue_places";
    /// Tool calls of runs, by tool (of the plugins that ship; `agent` for agents, `other` for all others) and outcome (ok, error, denied, interrupted, unavailable, budget_exhausted).
    TOOL_CALLS: Counter = "vivarium_tool_calls_total";
    /// Seconds of a tool call, its wait for a place included and a person's decision not, by tool.
    TOOL_DURATION: Histogram = "vivarium_tool_call_duration_seconds", WAITED_FOR;

    /// Calls of guests, by role (mode, tool, program) and outcome (ok, or why the sandbox stopped it).
    GUEST_CALLS: Counter = "vivarium_guest_calls_total";
    /// Processor seconds of a guest's call, by role; the sum is what guests have used.
    GUEST_CPU: Histogram = "vivarium_guest_cpu_seconds", FAST;
    /// The most bytes of memory that a guest's call held at one time, by role.
    GUEST_MEMORY: Histogram = "vivarium_guest_memory_peak_bytes", MEMORY;
    /// Calls that guests have made of the host, by role.
    GUEST_HOST_CALLS: Counter = "vivarium_guest_host_calls_total";
    /// What guests wanted and were not granted, by capability.
    GUEST_DENIALS: Counter = "vivarium_guest_denials_total";
    /// Instances of guests that are there, those that wait to be used again included.
    INSTANCES: Gauge = "vivarium_guest_instances";
    /// How many instances there can be.
    INSTANCES_MAX: Gauge = "vivarium_guest_instances_max";
    /// Seconds of compiling a component, by outcome (ok, error).
    COMPILE_DURATION: Histogram = "vivarium_component_compile_seconds", LONG;

    /// Seconds of a model call, retries included, by provider and outcome (ok, cancelled, or the kind of the error).
    MODEL_DURATION: Histogram = "vivarium_model_request_duration_seconds", WAITED_FOR;
    /// Seconds until the first piece of a model's answer, by provider.
    MODEL_FIRST_TOKEN: Histogram = "vivarium_model_first_token_seconds", WAITED_FOR;
    /// Tokens, by provider and direction (input, output).
    MODEL_TOKENS: Counter = "vivarium_model_tokens_total";

    /// Seconds of writing a group of batches to the journal and syncing it, by outcome (ok, error).
    STORE_FLUSH: Histogram = "vivarium_store_flush_seconds", FAST;
    /// Batches that went to disk with one sync.
    STORE_GROUP: Histogram = "vivarium_store_flush_batches", COUNT;
    /// Bytes that were written to the journal.
    STORE_BYTES: Counter = "vivarium_store_journal_bytes_total";
    /// Seconds of bringing a journal file into the trees, by outcome (ok, error).
    STORE_SETTLE: Histogram = "vivarium_store_settle_seconds", LONG;

    /// Requests that guests and tenants made the host send, by outcome (ok, or the kind of the refusal or the failure).
    EGRESS_REQUESTS: Counter = "vivarium_egress_requests_total";
    /// Attempts to tell clients' servers of runs' ends, by outcome (delivered, again, given_up).
    WEBHOOK_ATTEMPTS: Counter = "vivarium_webhook_attempts_total";
    /// Seconds of such an attempt.
    WEBHOOK_DURATION: Histogram = "vivarium_webhook_attempt_seconds", WAITED_FOR;
    /// Batches of spans for the collector, by outcome (ok, error).
    TRACE_EXPORTS: Counter = "vivarium_trace_exports_total";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_metric_has_a_name_of_its_own_that_says_its_unit_and_a_meaning() {
        let names: BTreeSet<_> = ALL.iter().map(|about| about.name).collect();
        assert_eq!(names.len(), ALL.len());
        for About { name, kind, help, buckets } in ALL {
            assert!(name.starts_with("vivarium_") && help.ends_with('.'), "{name}: {help}");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert_eq!(buckets.is_empty(), *kind != Kind::Histogram, "{name}");
            assert!(buckets.is_sorted(), "{name}");
        }
    }
}
