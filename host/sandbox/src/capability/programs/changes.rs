//! What a program has changed in the workspace, as far as its caller is told.

/// How many paths are told.
const MAX_CHANGED: usize = 100;
/// The longest of them.
const MAX_CHANGED_BYTES: usize = 1 << 10;

/// What a program does with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// It was not there, and is.
    Made,
    /// It was there, and is perhaps another now.
    Written,
    /// It is not there any more.
    Gone,
}

/// The paths that are not as they were before the program, each once, as they were first changed.
#[derive(Debug, Default)]
pub(crate) struct Changes(Vec<(String, Change)>);

impl Changes {
    /// The paths, from the workspace's root on.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.0.iter().map(|(path, _)| path.clone()).collect()
    }

    /// Notes a path that was changed. What was made and removed again is no change.
    pub(crate) fn note(&mut self, path: &str, change: Change) {
        let path = plain(path);
        let Some(at) = self.0.iter().position(|(known, _)| known == path) else {
            if self.0.len() < MAX_CHANGED && path.len() <= MAX_CHANGED_BYTES {
                self.0.push((path.to_owned(), change));
            }
            return;
        };
        let Some((_, before)) = self.0.get_mut(at) else { return };
        match (*before, change) {
            (Change::Made, Change::Gone) => drop(self.0.remove(at)),
            (Change::Made, _) => {}
            (_, Change::Gone) => *before = Change::Gone,
            (_, Change::Made | Change::Written) => *before = Change::Written,
        }
    }

    /// Notes that what stood under one path stands under another now, with all that is below it; `over` is what that did to the
    /// other path.
    pub(crate) fn note_move(&mut self, from: &str, to: &str, over: Change) {
        let (from, to) = (plain(from), plain(to));
        if from == to {
            return;
        }
        let below = |path: &str| path.strip_prefix(from).filter(|rest| rest.starts_with('/')).map(str::to_owned);
        let moved = self.0.extract_if(.., |(path, change)| *change != Change::Gone && below(path).is_some());
        let moved: Vec<String> = moved.filter_map(|(path, _)| below(&path)).collect();
        self.note(from, Change::Gone);
        self.note(to, over);
        for rest in moved {
            self.note(&format!("{to}{rest}"), Change::Made);
        }
    }
}

/// A path without what says nothing.
fn plain(path: &str) -> &str {
    path.trim_start_matches("./").trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_and_removed_again_is_no_change_and_what_was_there_stays_told() {
        let mut changes = Changes::default();
        changes.note("./a", Change::Made);
        changes.note("b", Change::Written);
        changes.note("c", Change::Gone);
        changes.note("a", Change::Gone);
        changes.note("b", Change::Gone);
        changes.note("c", Change::Made);
        changes.note("c", Change::Gone);
        assert_eq!(changes.paths(), ["b", "c"]);
    }

    #[test]
    fn a_folder_that_takes_anothers_place_is_told_once_and_what_was_removed_stays_told() {
        let mut changes = Changes::default();
        for (path, change) in
            [("out/x", Change::Gone), ("out", Change::Gone), ("tmp", Change::Made), ("tmp/x", Change::Made)]
        {
            changes.note(path, change);
        }
        changes.note_move("tmp/", "out/", Change::Made);
        assert_eq!(changes.paths(), ["out/x", "out"]);
        changes.note("out/x", Change::Gone);
        assert_eq!(changes.paths(), ["out/x", "out"], "out/x was there before the program");
    }

    #[test]
    fn only_what_still_is_there_goes_with_its_folder() {
        let mut changes = Changes::default();
        changes.note("a/gone", Change::Gone);
        changes.note("a/made", Change::Made);
        changes.note("ab", Change::Made);
        changes.note_move("a", "b", Change::Made);
        assert_eq!(changes.paths(), ["a/gone", "ab", "a", "b", "b/made"]);
        changes.note_move("b", "b", Change::Written);
        assert_eq!(changes.paths().len(), 5);
    }

    #[test]
    fn no_more_paths_are_told_than_the_bound() {
        let mut changes = Changes::default();
        changes.note(&"x".repeat(MAX_CHANGED_BYTES + 1), Change::Made);
        (0..MAX_CHANGED + 10).for_each(|n| changes.note(&n.to_string(), Change::Made));
        assert_eq!(changes.paths().len(), MAX_CHANGED);
        assert_eq!(changes.paths().first().map(String::as_str), Some("0"));
    }
}
