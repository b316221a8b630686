//! Lines of a guest for the operator's log: bounded in number and length, and escaped, so that a guest can neither flood
//! the log nor forge a line of it nor steer a terminal.

use std::fmt::Write as _;
use std::sync::Arc;

use vivarium_egress::Redactor;

use crate::bindings::vivarium::plugin::log as wit;
use crate::guest::Guest;
use crate::limits::Limits;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// For the plugin's author.
    Debug,
    /// Worth knowing.
    Info,
    /// Something went wrong and was dealt with.
    Warn,
    /// Something went wrong.
    Error,
}

/// Where a guest's lines go. The lines are cut and escaped by then.
pub trait LogSink: Send + Sync {
    /// Takes one line.
    fn line(&self, level: LogLevel, line: &str);

    /// Takes a report of progress: a short line, and how much is done, from 0 to 1.
    fn progress(&self, message: &str, fraction: Option<f32>);
}

/// Writes a guest's lines to the host's own log, with the plugin's and the run's name.
#[derive(Debug)]
pub struct TracingLog {
    /// The plugin's name.
    pub plugin: String,
    /// The run; empty outside of one.
    pub run: String,
}

impl LogSink for TracingLog {
    fn line(&self, level: LogLevel, line: &str) {
        let (plugin, run) = (&self.plugin, &self.run);
        match level {
            LogLevel::Debug => tracing::debug!(target: "guest", %plugin, %run, "{line}"),
            LogLevel::Info => tracing::info!(target: "guest", %plugin, %run, "{line}"),
            LogLevel::Warn => tracing::warn!(target: "guest", %plugin, %run, "{line}"),
            LogLevel::Error => tracing::error!(target: "guest", %plugin, %run, "{line}"),
        }
    }

    fn progress(&self, message: &str, fraction: Option<f32>) {
        tracing::debug!(target: "guest", plugin = %self.plugin, run = %self.run, ?fraction, "{message}");
    }
}

/// What is left of a call's share of the log.
pub(crate) struct LogBudget {
    sink: Arc<dyn LogSink>,
    redactor: Arc<Redactor>,
    lines_left: u32,
    line_bytes: usize,
    dropped: u64,
}

impl LogBudget {
    pub(crate) fn new(limits: &Limits, sink: Arc<dyn LogSink>, redactor: Arc<Redactor>) -> Self {
        Self { sink, redactor, lines_left: limits.log_lines, line_bytes: limits.log_line_bytes, dropped: 0 }
    }

    pub(crate) fn line(&mut self, level: LogLevel, message: &str) {
        match self.lines_left.checked_sub(1) {
            Some(left) => {
                self.lines_left = left;
                self.sink.line(level, &self.shown(message));
            }
            None => self.dropped = self.dropped.saturating_add(1),
        }
    }

    pub(crate) fn progress(&mut self, message: &str, fraction: Option<f32>) {
        match self.lines_left.checked_sub(1) {
            Some(left) => {
                self.lines_left = left;
                let fraction = fraction.filter(|done| done.is_finite()).map(|done| done.clamp(0.0, 1.0));
                self.sink.progress(&self.shown(message), fraction);
            }
            None => self.dropped = self.dropped.saturating_add(1),
        }
    }

    /// Secrets go first: escaping would change how they look.
    fn shown(&self, message: &str) -> String {
        escaped(&self.redactor.redact(message), self.line_bytes)
    }
}

impl Drop for LogBudget {
    fn drop(&mut self) {
        if self.dropped > 0 {
            self.sink.line(LogLevel::Warn, &format!("{} more lines were dropped", self.dropped));
        }
    }
}

/// One line, at most `max_bytes` long, in which every control character and every direction override is spelled out.
fn escaped(message: &str, max_bytes: usize) -> String {
    let mut line = String::with_capacity(message.len().min(max_bytes));
    for character in message.chars() {
        if line.len() >= max_bytes {
            line.push('…');
            break;
        }
        match character {
            '\n' => line.push_str("\\n"),
            '\t' => line.push_str("\\t"),
            c if c.is_control() || is_format_control(c) => {
                // Writing to a String can not fail.
                let _ = write!(line, "{}", c.escape_unicode());
            }
            c => line.push(c),
        }
    }
    line
}

/// Characters that reorder or hide what stands around them.
fn is_format_control(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

impl wit::Host for Guest {
    async fn write(&mut self, level: wit::Level, message: String) -> wasmtime::Result<()> {
        self.count_host_call()?;
        let level = match level {
            wit::Level::Debug => LogLevel::Debug,
            wit::Level::Info => LogLevel::Info,
            wit::Level::Warn => LogLevel::Warn,
            wit::Level::Error => LogLevel::Error,
        };
        self.log.line(level, &message);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_can_not_forge_a_line_or_steer_a_terminal() {
        assert_eq!(escaped("a\nERROR b\r\x1b[2J\u{202e}c", 100), "a\\nERROR b\\u{d}\\u{1b}[2J\\u{202e}c");
    }

    #[test]
    fn a_long_line_is_cut() {
        assert_eq!(escaped(&"ä".repeat(100), 10), format!("{}…", "ä".repeat(5)));
    }
}
