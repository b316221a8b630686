//! Where what the host tells of itself goes: its log to standard error, its metrics to whoever reads `/metrics`, its traces to
//! the operator's collector.

mod listener;
mod logs;
mod metrics;
mod process;
mod traces;

pub use listener::MetricsListener;
pub use logs::LogFormat;
pub use metrics::Metrics;

use crate::config::Config;
use traces::Traces;

/// Logs of a command that serves nobody: lines of text.
pub fn log_as_text() {
    logs::begin(LogFormat::Text);
}

/// Why what the host tells of itself can not go where it is configured to.
#[derive(Debug, thiserror::Error)]
pub enum SightError {
    /// There are metrics already.
    #[error("metrics: {0}")]
    Metrics(String),
    /// The way to the collector of traces can not be made.
    #[error("traces: {0}")]
    Traces(String),
}

/// A server's log, metrics and traces, from its start to its stop.
pub struct Sight {
    /// The metrics.
    pub metrics: Metrics,
    traces: Option<Traces>,
}

impl Sight {
    /// Begins all of them. To be called once, before the host is made, and within the runtime.
    ///
    /// # Errors
    /// See [`SightError`].
    pub fn begin(config: &Config) -> Result<Self, SightError> {
        logs::begin(config.log_format);
        Ok(Self { metrics: Metrics::begin(config)?, traces: Traces::begin(config)? })
    }

    /// Sends what is left to send, for a few seconds at the most.
    pub async fn end(self) {
        if let Some(traces) = self.traces {
            traces.end().await;
        }
    }
}
