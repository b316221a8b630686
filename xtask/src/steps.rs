//! What was done and how long it took.

use std::time::{Duration, Instant};

use anyhow::Result;

/// How a step ended that did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Done; a word about it, or nothing.
    Done(String),
    /// There was nothing to do.
    Unchanged(String),
    /// Could not be done here, and why that is no failure.
    Skipped(String),
}

#[derive(Debug)]
struct Row {
    name: String,
    took: Duration,
    result: Result<Outcome, String>,
}

/// The steps so far.
#[derive(Default)]
pub(crate) struct Steps {
    rows: Vec<Row>,
}

impl Steps {
    /// Does a step that the rest can not do without.
    ///
    /// # Errors
    /// The step's own.
    pub(crate) fn required(&mut self, name: &str, step: impl FnOnce() -> Result<Outcome>) -> Result<()> {
        let (took, result) = timed(name, step);
        let kept = match &result {
            Ok(outcome) => Ok(outcome.clone()),
            Err(error) => Err(format!("{error:#}")),
        };
        self.rows.push(Row { name: name.to_owned(), took, result: kept });
        result.map(|_| ())
    }

    /// Does a step whose failure does not keep the others from being done. True if it did not fail.
    pub(crate) fn checked(&mut self, name: &str, step: impl FnOnce() -> Result<Outcome>) -> bool {
        self.required(name, step).inspect_err(|error| eprintln!("  {error:#}")).is_ok()
    }

    /// Notes that a step was left out, and why.
    pub(crate) fn skipped(&mut self, name: &str, reason: &str) {
        eprintln!("▸ {name}: skipped, {reason}");
        let result = Ok(Outcome::Skipped(reason.to_owned()));
        self.rows.push(Row { name: name.to_owned(), took: Duration::ZERO, result });
    }

    /// Whether no step has failed.
    pub(crate) fn all_well(&self) -> bool {
        self.rows.iter().all(|row| row.result.is_ok())
    }

    /// All steps, one per line.
    pub(crate) fn table(&self) -> String {
        let width = self.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
        let mut table = String::new();
        for row in &self.rows {
            let (mark, word) = match &row.result {
                Ok(Outcome::Done(word)) => ("ok", word.as_str()),
                Ok(Outcome::Unchanged(word)) => ("ok", word.as_str()),
                Ok(Outcome::Skipped(reason)) => ("skipped", reason.as_str()),
                Err(error) => ("FAILED", error.as_str()),
            };
            let line = format!("  {:<width$}  {:>8}  {mark:<7}  {word}", row.name, seconds(row.took));
            table.push_str(line.trim_end());
            table.push('\n');
        }
        let total: Duration = self.rows.iter().map(|row| row.took).sum();
        table.push_str(&format!("  {:<width$}  {:>8}\n", "together", seconds(total)));
        table
    }
}

fn timed(name: &str, step: impl FnOnce() -> Result<Outcome>) -> (Duration, Result<Outcome>) {
    eprintln!("▸ {name} …");
    let start = Instant::now();
    let result = step();
    let took = start.elapsed();
    match &result {
        Ok(Outcome::Done(word)) if word.is_empty() => eprintln!("✓ {name}: {}", seconds(took)),
        Ok(Outcome::Done(word) | Outcome::Unchanged(word)) => eprintln!("✓ {name}: {}, {word}", seconds(took)),
        Ok(Outcome::Skipped(reason)) => eprintln!("▸ {name}: skipped, {reason}"),
        Err(_) => eprintln!("✗ {name}: failed after {}", seconds(took)),
    }
    (took, result)
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_failed_step_is_told_from_a_skipped_one_and_spoils_the_whole() {
        let mut steps = Steps::default();
        assert!(steps.checked("format", || Ok(Outcome::Done(String::new()))));
        steps.skipped("deny", "cargo-deny is not installed");
        assert!(steps.all_well());
        assert!(!steps.checked("tests", || Err(anyhow!("two of them"))));
        assert!(!steps.all_well());
        let table = steps.table();
        let column = |name: &str, word: &str| table.lines().any(|line| line.contains(name) && line.contains(word));
        assert!(column("format", "ok") && column("deny", "skipped") && column("tests", "FAILED"), "{table}");
    }
}
