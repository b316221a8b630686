//! How two states of a workspace differ, as a person reads it: which files, and a unified diff of those that are text.

use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

use similar::{Algorithm, ChangeTag, TextDiff};
use vivarium_domain::{ChangeKind, ContentHash, FileChange, WorkspaceChanges};

use crate::tree::{Tree, TreeFile};

/// The longest file whose lines are compared.
const MAX_TEXT_BYTES: u64 = 1 << 20;
/// How long comparing lines may take in all; what is left then is told of without its lines.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long one file's lines are looked at for the shortest difference; then any is taken.
const PATIENCE_OF_FILE: Duration = Duration::from_millis(500);

/// How much of a difference is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// The most files.
    pub files: usize,
    /// The most bytes of the diff.
    pub bytes: usize,
    /// Only files whose paths begin with this.
    pub prefix: String,
}

/// A state, and how a file of it is read.
pub(crate) struct Side<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) read: &'a dyn Fn(&str, ContentHash) -> io::Result<Vec<u8>>,
}

impl Side<'_> {
    /// A file as text; none: it is not there, it is none, or it is too long.
    fn text(&self, path: &str) -> Text {
        let Some(file) = self.tree.files.get(path) else { return Text::Lines(String::new()) };
        if file.bytes > MAX_TEXT_BYTES {
            return Text::TooLong;
        }
        match (self.read)(path, file.hash).map(String::from_utf8) {
            Ok(Ok(text)) if !text.contains('\0') => Text::Lines(text),
            _ => Text::Binary,
        }
    }
}

enum Text {
    Lines(String),
    Binary,
    TooLong,
}

/// Compares two states.
pub(crate) fn diff(before: &Side<'_>, after: &Side<'_>, bounds: &Bounds) -> WorkspaceChanges {
    let began = Instant::now();
    let mut told = WorkspaceChanges::default();
    let paths: BTreeSet<&String> = before.tree.files.keys().chain(after.tree.files.keys()).collect();
    for path in paths.into_iter().filter(|path| path.starts_with(&bounds.prefix)) {
        let Some(change) = change(before.tree.files.get(path), after.tree.files.get(path)) else { continue };
        let mut file = FileChange {
            path: path.clone(),
            change,
            binary: false,
            too_long: began.elapsed() > PATIENCE,
            added_lines: 0,
            removed_lines: 0,
        };
        if told.files.len() >= bounds.files {
            told.more_files += 1;
        }
        let text = if file.too_long { None } else { lines(before, after, &mut file) };
        let text = text.unwrap_or_else(|| untold(&file));
        add(&mut told, &text, bounds.bytes);
        if told.files.len() < bounds.files {
            told.files.push(file);
        }
    }
    told
}

/// A file in the diff whose lines are not shown, as other programs tell of it.
fn untold(file: &FileChange) -> String {
    let [from, to] = names(file);
    match file.binary {
        true => format!("Binary files {from} and {to} differ\n"),
        false => format!("Files {from} and {to} differ, and are too long to be compared line by line\n"),
    }
}

/// A file's names in the diff, before and after.
fn names(file: &FileChange) -> [String; 2] {
    let name = |side: &str, is_there: bool| match is_there {
        true => format!("{side}/{}", file.path),
        false => "/dev/null".to_owned(),
    };
    [name("a", file.change != ChangeKind::Added), name("b", file.change != ChangeKind::Removed)]
}

fn change(before: Option<&TreeFile>, after: Option<&TreeFile>) -> Option<ChangeKind> {
    match (before, after) {
        (None, Some(_)) => Some(ChangeKind::Added),
        (Some(_), None) => Some(ChangeKind::Removed),
        (Some(before), Some(after)) if before.hash != after.hash => Some(ChangeKind::Changed),
        _ => None,
    }
}

/// The unified diff of one file; none where it has no lines to be shown.
fn lines(before: &Side<'_>, after: &Side<'_>, file: &mut FileChange) -> Option<String> {
    let (old, new) = match (before.text(&file.path), after.text(&file.path)) {
        (Text::Lines(old), Text::Lines(new)) => (old, new),
        (Text::TooLong, _) | (_, Text::TooLong) => {
            file.too_long = true;
            return None;
        }
        _ => {
            file.binary = true;
            return None;
        }
    };
    let diff = TextDiff::configure().algorithm(Algorithm::Myers).timeout(PATIENCE_OF_FILE).diff_lines(&old, &new);
    for change in diff.iter_all_changes() {
        match change.tag() {
            ChangeTag::Insert => file.added_lines += 1,
            ChangeTag::Delete => file.removed_lines += 1,
            ChangeTag::Equal => {}
        }
    }
    let [from, to] = names(file);
    let text = diff.unified_diff().context_radius(3).header(&from, &to).to_string();
    // An empty file that comes or goes has no lines, and is told of all the same.
    Some(if text.is_empty() { format!("--- {from}\n+++ {to}\n") } else { text })
}

/// Adds whole lines, as many as fit; once one does not, none after it.
fn add(told: &mut WorkspaceChanges, text: &str, most: usize) {
    for line in text.split_inclusive('\n') {
        if told.more_lines == 0 && told.diff.len() + line.len() <= most {
            told.diff.push_str(line);
        } else {
            told.more_lines += 1;
        }
    }
}
