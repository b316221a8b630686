//! The log: lines on standard error, as text for people or as JSON for programs.

use std::io::{self, IsTerminal as _};

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

/// What a line of the log looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// Logs go to standard error; `VIVARIUM_LOG` or `RUST_LOG` says how much.
pub(super) fn begin(format: LogFormat) {
    let filter = ["VIVARIUM_LOG", "RUST_LOG"].iter().find_map(|name| EnvFilter::try_from_env(name).ok());
    let filter = filter.unwrap_or_else(|| EnvFilter::new("info,tantivy=warn,sled=warn"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false);
    match format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(true).with_span_list(false).init(),
    }
}
