//! Exact replacements. Nothing is guessed: a text that stands nowhere, or in several places, is an error that shows where it might
//! have been meant.

use std::fmt::Write as _;

use crate::arguments::Edit;
use crate::text::{Endings, bare, endings, lines};

/// How many places are shown of a text that stands in several, or nearly stands there.
const SHOWN: usize = 3;
/// How many lines are shown of each.
const SHOWN_LINES: usize = 6;

/// Makes all replacements, one after the other, or says which one can not be made and why.
pub(crate) fn apply(text: &str, edits: &[Edit]) -> Result<String, String> {
    let mut now = text.to_owned();
    for (number, edit) in edits.iter().enumerate() {
        now = replace(&now, edit).map_err(|why| {
            let which =
                if edits.len() == 1 { String::new() } else { format!("edit {} of {}: ", number + 1, edits.len()) };
            let none = if edits.len() == 1 { "" } else { " None of the edits was made." };
            format!("{which}{why}{none}")
        })?;
    }
    Ok(now)
}

fn replace(text: &str, edit: &Edit) -> Result<String, String> {
    let (old, new) = in_endings_of(text, edit);
    if old.is_empty() {
        return Err(
            "old is empty: give the text that is to be replaced; a whole file is written with write_file.".to_owned()
        );
    }
    if old == new {
        return Err("old and new are the same, so there is nothing to change.".to_owned());
    }
    let places: Vec<usize> = text.match_indices(&old).map(|(at, _)| at).collect();
    match (places.as_slice(), edit.all.unwrap_or(false)) {
        ([], _) => Err(nowhere(text, &old)),
        ([_], _) | (_, true) => Ok(text.replace(&old, &new)),
        (several, false) => Err(ambiguous(text, several)),
    }
}

/// What an edit means in a file whose lines end in another way than a model writes them.
fn in_endings_of(text: &str, edit: &Edit) -> (String, String) {
    let is_plain = |text: &str| !text.contains('\r');
    if endings(text) == Endings::CrLf && is_plain(&edit.old) && is_plain(&edit.new) {
        return (edit.old.replace('\n', "\r\n"), edit.new.replace('\n', "\r\n"));
    }
    (edit.old.clone(), edit.new.clone())
}

fn line_of(text: &str, at: usize) -> usize {
    text.get(..at).unwrap_or_default().matches('\n').count() + 1
}

fn ambiguous(text: &str, places: &[usize]) -> String {
    let numbers: Vec<String> = places.iter().take(10).map(|at| line_of(text, *at).to_string()).collect();
    let more = if places.len() > 10 { ", …" } else { "" };
    let mut told = format!(
        "old stands in {} places, at the lines {}{more}. Give more of the lines around the one that is meant, or set all to true.",
        places.len(),
        numbers.join(", ")
    );
    for at in places.iter().take(SHOWN) {
        let line = line_of(text, *at);
        told.push('\n');
        show(&mut told, text, line.saturating_sub(1).max(1), 3);
    }
    told
}

/// The places that are most like what was looked for, with their numbers.
fn nowhere(text: &str, old: &str) -> String {
    let mut told = "old does not stand in the file as it is given.".to_owned();
    if old.lines().any(is_numbered) {
        told.push_str(" It seems to hold line numbers, as read_file shows them: leave them out.");
    }
    let squeezed = |text: &str| text.split_whitespace().collect::<String>();
    if squeezed(text).contains(&squeezed(old)) {
        told.push_str(" It does but for white space: give the indentation and the line breaks as they are.");
    }
    let (all, wanted): (Vec<&str>, Vec<&str>) = (lines(text), lines(old));
    let mut best: Vec<(usize, usize)> = (0..all.len()).map(|at| (likeness(&all, at, &wanted), at)).collect();
    best.retain(|(likeness, _)| *likeness > 0);
    best.sort_by_key(|(likeness, at)| (std::cmp::Reverse(*likeness), *at));
    let mut shown: Vec<usize> = Vec::new();
    for (_, at) in best {
        if shown.len() < SHOWN && shown.iter().all(|other| at.abs_diff(*other) >= wanted.len()) {
            shown.push(at);
        }
    }
    if shown.is_empty() {
        told.push_str(" Nothing in the file is like it: read the file again.");
        return told;
    }
    told.push_str(" The nearest lines are:");
    for at in shown {
        told.push('\n');
        show(&mut told, text, at + 1, wanted.len().clamp(1, SHOWN_LINES));
    }
    told
}

/// How much the lines from `at` on are like those that are wanted: equal lines count most, lines with common words a little.
fn likeness(all: &[&str], at: usize, wanted: &[&str]) -> usize {
    let pairs = all.iter().skip(at).zip(wanted);
    pairs
        .map(|(line, wanted)| {
            let (line, wanted) = (line.trim(), wanted.trim());
            if wanted.is_empty() {
                return 0;
            }
            if line == wanted {
                return 100;
            }
            let words: Vec<&str> = words(wanted).collect();
            let common = words_in(line, &words);
            // Less than half of the words in common is chance.
            if common * 2 >= words.len() && common > 0 { 10 + common.min(50) } else { 0 }
        })
        .sum()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

fn words_in(line: &str, wanted: &[&str]) -> usize {
    let there: Vec<&str> = words(line).collect();
    wanted.iter().filter(|word| there.contains(word)).count()
}

/// A line as read_file shows it.
fn is_numbered(line: &str) -> bool {
    let rest = line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit());
    rest.len() < line.trim_start().len() && rest.starts_with('\t')
}

/// Adds lines of a text with their numbers.
pub(crate) fn show(told: &mut String, text: &str, first: usize, count: usize) {
    let shown = lines(text);
    let shown = shown.iter().enumerate().skip(first.saturating_sub(1)).take(count);
    let mut is_first = true;
    for (at, line) in shown {
        if !std::mem::take(&mut is_first) {
            told.push('\n');
        }
        // Writing to a String does not fail.
        let _ = write!(told, "{:>6}\t{}", at + 1, cut(bare(line)));
    }
}

/// The beginning of a line that nobody wants to read whole.
pub(crate) fn cut(line: &str) -> String {
    const MOST: usize = 400;
    match line.char_indices().nth(MOST) {
        None => line.to_owned(),
        Some((at, _)) => format!("{}… ({} bytes)", line.get(..at).unwrap_or_default(), line.len()),
    }
}
