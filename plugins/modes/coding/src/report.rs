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

/// Adds what has changed and what was run.
pub(crate) fn add(answer: &mut String, changes: Option<&Difference>, ran: &[Ran]) {
    if let Some(changes) = changes {
        changed(answer, changes);
    }
    if !ran.is_empty() {
        runs(answer, ran);
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
    let fence = fence(&changes.diff);
    let _ = write!(answer, "\n{fence}diff\n{}", changes.diff);
    if !changes.diff.is_empty() && !changes.diff.ends_with('\n') {
        answer.push('\n');
    }
    answer.push_str(&fence);
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

fn runs(answer: &mut String, ran: &[Ran]) {
    answer.push_str("\n\n## Runs\n");
    let skipped = ran.len().saturating_sub(MAX_RUNS);
    if skipped > 0 {
        let _ = write!(answer, "\n- {skipped} earlier runs");
    }
    for ran in ran.iter().skip(skipped) {
        let _ = write!(answer, "\n- `{}`: {}", ran.what.replace('`', "'"), ran.result());
    }
}
