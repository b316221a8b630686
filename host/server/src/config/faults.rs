//! Where in the configuration something is wrong, and what may have been meant.

use std::ops::Range;
use std::path::Path;

use figment::{Metadata, Source};

/// The keys of a file, and in which lines they stand.
#[derive(Debug, Default)]
pub(super) struct Places {
    file: String,
    text: String,
}

impl Places {
    /// Of a file. Of one that does not read, nothing: whoever reads it tells.
    pub(super) fn in_file(path: &Path) -> Self {
        Self::in_text(&path.display().to_string(), &std::fs::read_to_string(path).unwrap_or_default())
    }

    /// Of a text that stands in such a file.
    pub(super) fn in_text(file: &str, text: &str) -> Self {
        Self { file: file.to_owned(), text: text.to_owned() }
    }

    /// The file and the line of a key, by its path; of the nearest table around it that is there.
    pub(super) fn of(&self, path: &[String]) -> Option<String> {
        let document = toml_edit::ImDocument::parse(self.text.as_str()).ok()?;
        let (mut table, mut found): (&dyn toml_edit::TableLike, Option<Range<usize>>) = (document.as_table(), None);
        for part in path {
            let Some((key, item)) = table.get_key_value(part) else { break };
            found = key.span().or_else(|| item.span()).or(found);
            let Some(inner) = item.as_table_like() else { break };
            table = inner;
        }
        let line = self.text.get(..found?.start)?.matches('\n').count() + 1;
        Some(format!("{} line {line}", self.file))
    }

    /// An error in the value of a key, in a sentence that says where it is: the line of the file, or the variable.
    pub(super) fn told(&self, key: &str, error: &figment::Error) -> String {
        // Of what stands inside of a table, figment puts the table's own key last.
        let inner = error.path.iter().filter(|part| *part != key).cloned();
        let path: Vec<String> = std::iter::once(key.to_owned()).chain(inner).collect();
        match self.place(error.metadata.as_ref(), &path) {
            Some(place) => format!("{} in {place}: {}", path.join("."), error.kind),
            None => error.to_string(),
        }
    }

    /// Where the value of a key comes from: the line of the file, or the variable; none: from the command line.
    pub(super) fn place(&self, source: Option<&Metadata>, path: &[String]) -> Option<String> {
        let source = source?;
        match &source.source {
            Some(Source::File(_)) => self.of(path),
            _ if source.name.contains("TOML") => self.of(path),
            _ if source.name.contains("environment") => {
                Some(format!("the variable VIVARIUM_{}", path.join("_").to_ascii_uppercase()))
            }
            _ => None,
        }
    }
}

/// The known key that a text is most like, if it is like any: with at most a third of its letters other.
pub(super) fn nearest<'a>(text: &str, known: &[&'a str]) -> Option<&'a str> {
    let distances = known.iter().map(|key| (distance(text, key), *key));
    let (distance, key) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance * 3 <= key.len()).then_some(key)
}

/// How many letters must be changed, added or left out to make one text of the other.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (line, a) in one.chars().enumerate() {
        let mut next = vec![line + 1];
        for ((b, above), diagonal) in other.chars().zip(row.iter().skip(1)).zip(&row) {
            let left = next.last().copied().unwrap_or_default();
            next.push((above + 1).min(left + 1).min(diagonal + usize::from(a != b)));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_in_its_line_also_in_a_table_of_tables() {
        let places = Places::in_text("x.toml", "listen = 1\n\n[limits.free]\n  requests_per_minute = 0\n");
        let of = |path: &[&str]| places.of(&path.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["listen"]).unwrap(), "x.toml line 1");
        assert_eq!(of(&["limits", "free", "requests_per_minute"]).unwrap(), "x.toml line 4");
        assert_eq!(of(&["limits", "free", "none"]).unwrap(), "x.toml line 3");
        assert_eq!(of(&["nothing"]), None);
    }

    #[test]
    fn what_is_meant_is_near() {
        let known = ["listen", "max_running", "max_queued"];
        assert_eq!(nearest("lisen", &known), Some("listen"));
        assert_eq!(nearest("max_runing", &known), Some("max_running"));
        assert_eq!(nearest("port", &known), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
