//! What the answer ends with: what has changed and what was run, as the host has it and not as the model tells it.

use std::fmt::Write as _;

use vivarium_sdk::mode::{ChangeKind, Difference, FileChange};

use crate::calls::Ran;

/// How much of the difference the answer shows.
pub(crate) const MAX_DIFF_BYTES: u32 = 16 << 10;
/// The most files that are listed.
const MAX_FILES: usize = 50;
/// The most runs that are listed.
const MAX_RUNS: usize = 30;

/// What was run.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    /// In order.
    pub(crate) ran: Vec<Ran>,
    /// A file was changed after the last of them.
    pub(crate) are_behind: bool,
}

/// Adds what has changed and what was run. `can_run` is whether anything could have been.
pub(crate) fn add(answer: &mut String, changes: Option<&Difference>, runs: &Runs, can_run: bool) {
    if let Some(changes) = changes {
        changed(answer, changes);
    }
    if !runs.ran.is_empty() {
        listed(answer, runs);
    } else if can_run && changes.is_some_and(|changes| !changes.files.is_empty()) {
        answer.push_str("\n\n## Runs\n\nNothing was run.");
    }
}

fn changed(answer: &mut String, changes: &Difference) {
    if changes.files.is_empty() {
        answer.push_str("\n\n## Changes\n\nNo file was changed.");
        return;
    }
    answer.push_str("\n\n## Changes\n\n");
    for file in changes.files.iter().take(MAX_FILES) {
        // Writing to a String does not fail.
        let _ = writeln!(answer, "- {}", line(file));
    }
    let more = changes.files.len().saturating_sub(MAX_FILES) + changes.more_files as usize;
    if more > 0 {
        let _ = writeln!(answer, "- and {more} more files");
    }
    if changes.diff.is_empty() {
        answer.truncate(answer.trim_end().len());
    } else {
        let fence = fence(&changes.diff);
        let end = if changes.diff.ends_with('\n') { "" } else { "\n" };
        let _ = write!(answer, "\n{fence}diff\n{}{end}{fence}", changes.diff);
    }
    if changes.more_lines > 0 {
        let _ = write!(answer, "\n\nThe diff has {} more lines.", changes.more_lines);
    }
}

fn line(file: &FileChange) -> String {
    let what = match file.kind {
        ChangeKind::Added => "added",
        ChangeKind::Changed => "changed",
        ChangeKind::Removed => "removed",
    };
    let path = file.path.replace('`', "'");
    match file.is_text {
        true => format!("`{path}`: {what}, +{} −{}", file.added_lines, file.removed_lines),
        false => format!("`{path}`: {what}, not compared line by line"),
    }
}

/// A fence that the text does not end: longer than any row of backquotes in it.
fn fence(text: &str) -> String {
    let (mut longest, mut row) = (0, 0);
    for c in text.chars() {
        row = if c == '`' { row + 1 } else { 0 };
        longest = longest.max(row);
    }
    "`".repeat((longest + 1).max(3))
}

fn listed(answer: &mut String, runs: &Runs) {
    answer.push_str("\n\n## Runs\n");
    let skipped = runs.ran.len().saturating_sub(MAX_RUNS);
    if skipped > 0 {
        let _ = write!(answer, "\n- {skipped} earlier runs");
    }
    for ran in runs.ran.iter().skip(skipped) {
        let _ = write!(answer, "\n- `{}`: {}", ran.what.replace('`', "'"), ran.result());
    }
    if runs.ran.last().is_some_and(|ran| !ran.is_ok()) {
        answer.push_str("\n\nThe last run failed.");
    }
    if runs.are_behind {
        answer.push_str("\n\nFiles were changed after the last run.");
    }
}
