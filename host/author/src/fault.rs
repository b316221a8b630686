//! What is wrong in a file that an author wrote: where, the line itself, and what would be right.

use std::fmt;
use std::ops::Range;

/// One thing that is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file, as its author calls it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong, and what would be right.
    pub message: String,
    quoted: String,
    marked: usize,
}

/// The longest part of a line that is shown.
const SHOWN_CHARS: usize = 160;

impl Fault {
    /// A fault of the bytes `span` of a file's text.
    #[must_use]
    pub fn new(file: &str, text: &str, span: Range<usize>, message: impl Into<String>) -> Self {
        let start = text.floor_char_boundary(span.start.min(text.len()));
        let before = text.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = text.get(line_start..).unwrap_or_default().lines().next().unwrap_or_default();
        let column = text.get(line_start..start).unwrap_or_default().chars().count() + 1;
        let end = text.floor_char_boundary(span.end.clamp(start, text.len()));
        let marked = text.get(start..end).unwrap_or_default().lines().next().unwrap_or_default().chars().count();
        Self {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column,
            message: message.into(),
            quoted: line.chars().take(SHOWN_CHARS).collect(),
            marked: marked.clamp(1, SHOWN_CHARS),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, message, quoted, marked } = self;
        write!(f, "{file}:{line}:{column}: {message}")?;
        if quoted.trim().is_empty() {
            return Ok(());
        }
        let room = quoted.chars().count().saturating_sub(column - 1).max(1);
        let carets = "^".repeat((*marked).min(room));
        write!(f, "\n{line:>5} | {}\n      | {:indent$}{carets}", quoted.replace('\t', " "), "", indent = column - 1)
    }
}

/// All that is wrong in a file, or in several. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

/// The known name that is closest to a mistyped one, if one is close.
pub(crate) fn nearest<'a>(typed: &str, known: &[&'a str]) -> Option<&'a str> {
    let most = (typed.chars().count() / 3).clamp(1, 3);
    let far = |name: &&str| distance(&typed.to_lowercase().replace('-', "_"), name);
    known.iter().copied().filter(|name| far(name) <= most).min_by_key(far)
}

/// How many letters have to be put in, taken out or changed.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (to, above) in b.iter().zip(row.windows(2)) {
            let &[diagonal, above] = above else { continue };
            let left = next.last().copied().unwrap_or_default();
            next.push((diagonal + usize::from(from != *to)).min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_points_at_the_words_in_their_line() {
        let text = "a = 1\nbäd = \"ä😀\"\nc = 2\n";
        let at = text.find("\"ä😀\"").unwrap();
        let fault = Fault::new("plugin.toml", text, at..at + "\"ä😀\"".len(), "not so");
        insta::assert_snapshot!(fault, @r#"
        plugin.toml:2:7: not so
            2 | bäd = "ä😀"
              |       ^^^^
        "#);
    }

    #[test]
    fn a_fault_past_the_end_breaks_nothing() {
        let fault = Fault::new("f", "", 10..20, "it is empty");
        assert_eq!(fault.to_string(), "f:1:1: it is empty");
    }

    #[test]
    fn the_nearest_name_is_offered_and_a_far_one_is_not() {
        let known = ["description", "version", "input_schema"];
        assert_eq!(nearest("descripton", &known), Some("description"));
        assert_eq!(nearest("input-schema", &known), Some("input_schema"));
        assert_eq!(nearest("Version", &known), Some("version"));
        assert_eq!(nearest("banana", &known), None);
    }
}
