use std::collections::BTreeMap;

use proptest::prelude::*;
use vivarium_sdk::files::Entry;

use super::*;
use crate::arguments::{Edit, Item, Status};

/// A workspace in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Memory(BTreeMap<String, Vec<u8>>);

impl Disk for Memory {
    fn entries(&self, folder: &str) -> Result<Vec<Entry>, FileError> {
        let above = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let mut entries = BTreeMap::new();
        for path in self.0.keys().filter_map(|path| path.strip_prefix(&above)) {
            match path.split_once('/') {
                Some((name, _)) => entries.insert(name.to_owned(), true),
                None => entries.insert(path.to_owned(), false),
            };
        }
        if entries.is_empty() && !folder.is_empty() {
            return Err(FileError::NotFound);
        }
        Ok(entries.into_iter().map(|(name, is_folder)| Entry { name, is_folder }).collect())
    }

    fn length(&self, path: &str) -> Result<Option<u64>, FileError> {
        match self.0.get(path) {
            Some(bytes) => Ok(Some(bytes.len() as u64)),
            None if self.0.keys().any(|other| other.starts_with(&format!("{path}/"))) => Ok(None),
            None => Err(FileError::NotFound),
        }
    }

    fn read(&self, path: &str, most: usize) -> Result<Vec<u8>, FileError> {
        let bytes = self.0.get(path).ok_or(FileError::NotFound)?;
        Ok(bytes[..bytes.len().min(most)].to_vec())
    }

    fn commit(&mut self, changes: Changes) -> Result<(), FileError> {
        for (path, content) in changes {
            match content {
                Some(content) => self.0.insert(path, content),
                None => self.0.remove(&path),
            };
        }
        Ok(())
    }
}

fn with(files: &[(&str, &str)]) -> Memory {
    Memory(files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect())
}

fn told(result: Result<String, ToolError>) -> String {
    match result {
        Ok(text) => text,
        Err(error) => format!("refused: {}", said(&error)),
    }
}

fn edits(pairs: &[(&str, &str)]) -> Vec<Edit> {
    pairs.iter().map(|(old, new)| Edit { old: (*old).into(), new: (*new).into(), all: None }).collect()
}

fn edited(disk: &mut Memory, path: &str, pairs: &[(&str, &str)]) -> String {
    let hash = hash(&disk.0[path]);
    told(edit(disk, &EditFile { path: path.to_owned(), hash, edits: edits(pairs) }))
}

fn content<'a>(disk: &'a Memory, path: &str) -> &'a str {
    std::str::from_utf8(&disk.0[path]).unwrap()
}

const SUM: &str = "def sum(a, b):\n    return a - b\n\n\ndef product(a, b):\n    return a * b\n";

#[test]
fn a_file_is_read_with_its_numbers_and_what_there_is_to_know_of_it() {
    let disk = with(&[("src/sum.py", SUM), ("empty", ""), ("dos.txt", "a\r\nb")]);
    let all = told(read(&disk, &Read { path: "src/sum.py".into(), ..Read::default() }, 10_000));
    let expected = format!(
        "src/sum.py: 6 lines, 70 bytes, hash {}\n     1\tdef sum(a, b):\n     2\t    return a - b\n     3\t\n",
        hash(SUM.as_bytes())
    );
    assert!(all.starts_with(&expected), "{all}");
    let some = Read { path: "/workspace/src/sum.py".into(), from_line: Some(5), to_line: Some(99) };
    assert!(
        told(read(&disk, &some, 10_000))
            .ends_with("lines 5 to 6:\n     5\tdef product(a, b):\n     6\t    return a * b\n")
    );
    let none = Read { path: "src/sum.py".into(), from_line: Some(7), to_line: None };
    assert_eq!(
        told(read(&disk, &none, 10_000)),
        "refused: src/sum.py has 6 lines, and fromLine 7 to toLine 6 are none of them"
    );
    assert!(told(read(&disk, &Read { path: "empty".into(), ..Read::default() }, 10_000)).ends_with("it is empty"));
    let dos = told(read(&disk, &Read { path: "dos.txt".into(), ..Read::default() }, 10_000));
    assert!(dos.contains("lines end with CR LF, no line break at the end\n     1\ta\n     2\tb\n"), "{dos}");
}

#[test]
fn a_long_file_is_read_in_parts_and_each_says_where_the_next_begins() {
    let text: String = (1..=1_000).map(|n| format!("line {n}\n")).collect();
    let disk = with(&[("long", &text)]);
    let (mut from, mut seen) = (1, String::new());
    loop {
        let part = told(read(&disk, &Read { path: "long".into(), from_line: Some(from), to_line: None }, 2_000));
        assert!(part.len() <= 2_000, "{}", part.len());
        seen.extend(part.lines().filter_map(|line| line.split_once('\t')).map(|(_, line)| format!("{line}\n")));
        match part.trim_end().rsplit_once("fromLine ") {
            Some((_, next)) => from = next.parse().unwrap(),
            None => break,
        }
    }
    assert_eq!(seen, text);
}

#[test]
fn what_is_no_text_is_told_apart_and_left_as_it_is() {
    let mut disk = Memory(BTreeMap::from([
        ("a.png".to_owned(), b"\x89PNG\0\xff".to_vec()),
        ("l1".to_owned(), b"caf\xe9".to_vec()),
    ]));
    let before = disk.clone();
    for path in ["a.png", "l1"] {
        let reading = told(read(&disk, &Read { path: path.into(), ..Read::default() }, 1_000));
        assert!(reading.contains("is not text in UTF-8"), "{reading}");
        let hash = hash(&disk.0[path]);
        let editing = told(edit(&mut disk, &EditFile { path: path.into(), hash, edits: edits(&[("a", "b")]) }));
        assert!(editing.starts_with("refused"), "{editing}");
    }
    assert_eq!(disk, before);
}

#[test]
fn a_file_that_is_not_there_is_told_with_those_that_may_be_meant() {
    let disk = with(&[("src/sum.py", SUM)]);
    let missing = told(read(&disk, &Read { path: "sum.py".into(), ..Read::default() }, 1_000));
    assert_eq!(missing, "refused: there is no file sum.py; there is src/sum.py");
    let folder = told(read(&disk, &Read { path: "src".into(), ..Read::default() }, 1_000));
    assert_eq!(folder, "refused: src is a folder; list it with list_files");
    for outside in ["../secret", "a/../../b", "a\\b"] {
        assert!(
            told(read(&disk, &Read { path: outside.into(), ..Read::default() }, 1_000))
                .contains("is no path in the workspace")
        );
    }
}

#[test]
fn an_edit_is_made_where_its_text_stands_once() {
    let mut disk = with(&[("src/sum.py", SUM)]);
    let done = edited(&mut disk, "src/sum.py", &[("return a - b", "return a + b"), ("product", "multiply")]);
    assert_eq!(content(&disk, "src/sum.py"), SUM.replace("a - b", "a + b").replace("product", "multiply"));
    assert!(done.contains("Now:\n") && done.contains("     2\t    return a + b"), "{done}");
}

#[test]
fn an_edit_that_is_ambiguous_shows_the_places_and_changes_nothing() {
    let mut disk = with(&[("src/sum.py", SUM)]);
    let refused = edited(&mut disk, "src/sum.py", &[("(a, b)", "(x, y)")]);
    assert!(refused.contains("old stands in 2 places, at the lines 1, 5."), "{refused}");
    assert!(refused.contains("     1\tdef sum(a, b):") && refused.contains("     5\tdef product(a, b):"), "{refused}");
    assert_eq!(content(&disk, "src/sum.py"), SUM);
    let all = EditFile {
        path: "src/sum.py".into(),
        hash: hash(SUM.as_bytes()),
        edits: vec![Edit { old: "(a, b)".into(), new: "(x, y)".into(), all: Some(true) }],
    };
    assert!(edit(&mut disk, &all).is_ok());
    assert_eq!(content(&disk, "src/sum.py"), SUM.replace("(a, b)", "(x, y)"));
}

#[test]
fn an_edit_of_what_does_not_stand_there_shows_the_nearest_lines_and_what_may_be_wrong() {
    let mut disk = with(&[("src/sum.py", SUM)]);
    let indentation = edited(&mut disk, "src/sum.py", &[("def product(a, b):\n  return a * b", "x")]);
    assert!(indentation.contains("It does but for white space"), "{indentation}");
    assert!(indentation.contains("     5\tdef product(a, b):\n     6\t    return a * b"), "{indentation}");
    let numbered = edited(&mut disk, "src/sum.py", &[("     2\t    return a - b", "x")]);
    assert!(numbered.contains("It seems to hold line numbers"), "{numbered}");
    let second = edited(&mut disk, "src/sum.py", &[("product", "multiply"), ("nothing like it", "x")]);
    assert!(second.contains("edit 2 of 2") && second.contains("None of the edits was made."), "{second}");
    assert_eq!(content(&disk, "src/sum.py"), SUM);
}

#[test]
fn a_file_that_somebody_has_changed_is_refused_with_its_new_hash() {
    let mut disk = with(&[("src/sum.py", SUM)]);
    let stale = hash(b"as it was");
    let wish = EditFile { path: "src/sum.py".into(), hash: stale.clone(), edits: edits(&[("a - b", "a + b")]) };
    let refused = told(edit(&mut disk, &wish));
    assert!(refused.contains(&format!("its hash is {} now", hash(SUM.as_bytes()))), "{refused}");
    let over = Write { path: "src/sum.py".into(), content: "x".into(), hash: Some(stale) };
    assert!(told(write(&mut disk, over)).contains("Nothing was written"));
    let blind = Write { path: "src/sum.py".into(), content: "x".into(), hash: None };
    assert!(told(write(&mut disk, blind)).contains("is there, with 70 bytes, and was not overwritten"));
    assert_eq!(content(&disk, "src/sum.py"), SUM);
    let known = Write { path: "src/sum.py".into(), content: "x".into(), hash: Some(hash(SUM.as_bytes())) };
    assert!(write(&mut disk, known.clone()).is_ok());
    // As the host does after a crash.
    assert!(told(write(&mut disk, known)).contains("has this content already"));
}

#[test]
fn line_endings_marks_and_a_missing_line_break_stay() {
    let text = "\u{feff}first\r\nsecond\r\nthird";
    let mut disk = with(&[("dos.txt", text)]);
    edited(&mut disk, "dos.txt", &[("first\nsecond", "one\ntwo")]);
    assert_eq!(content(&disk, "dos.txt"), "\u{feff}one\r\ntwo\r\nthird");
    let patch = "--- a/dos.txt\n+++ b/dos.txt\n@@ -2,2 +2,3 @@\n two\n+and a half\n third\n";
    told(patched(&mut disk, patch));
    assert_eq!(content(&disk, "dos.txt"), "\u{feff}one\r\ntwo\r\nand a half\r\nthird");
}

#[test]
fn a_patch_changes_all_of_its_files_or_none() {
    let mut disk = with(&[("a.txt", "one\ntwo\nthree\n"), ("b.txt", "x\ny\n"), ("old.txt", "gone\n")]);
    let before = disk.clone();
    let good = "diff --git a/a.txt b/a.txt\n--- a/a.txt\n+++ b/a.txt\n@@ -1,3 +1,3 @@\n one\n-two\n+TWO\n three\n\
                --- /dev/null\n+++ b/new/c.txt\n@@ -0,0 +1,2 @@\n+c\n+d\n\
                --- a/old.txt\n+++ /dev/null\n@@ -1 +0,0 @@\n-gone\n";
    let bad = format!("{good}--- a/b.txt\n+++ b/b.txt\n@@ -1,2 +1,2 @@\n x\n-z\n+Z\n");
    let refused = told(patched(&mut disk, &bad));
    assert_eq!(disk, before);
    assert!(
        refused.contains(
            "b.txt: hunk 1 of 1 does not fit: its first 1 lines stand at line 1, but then line 2 should be \"z\""
        ),
        "{refused}"
    );
    assert!(refused.contains("     2\ty"), "{refused}");
    let done = told(patched(&mut disk, good));
    assert!(done.ends_with("3 files changed"), "{done}");
    assert_eq!(disk, with(&[("a.txt", "one\nTWO\nthree\n"), ("b.txt", "x\ny\n"), ("new/c.txt", "c\nd\n")]));
}

#[test]
fn a_patch_moves_files_as_git_says_it() {
    let mut disk = with(&[("a.txt", "one\n"), ("b.txt", "x\ny\n")]);
    let patch = "diff --git a/a.txt b/lib/a.txt\nsimilarity index 100%\nrename from a.txt\nrename to lib/a.txt\n\
                 diff --git a/b.txt b/c.txt\nsimilarity index 50%\nrename from b.txt\nrename to c.txt\n\
                 --- a/b.txt\n+++ b/c.txt\n@@ -1,2 +1,2 @@\n x\n-y\n+z\n";
    let done = told(patched(&mut disk, patch));
    assert_eq!(disk, with(&[("lib/a.txt", "one\n"), ("c.txt", "x\nz\n")]), "{done}");
}

#[test]
fn a_move_takes_nobodys_place_and_its_paths_are_as_they_stand() {
    let before = with(&[("notes.txt", "n\n"), ("README.md", "read me\n"), ("b/x.py", "in b\n"), ("x.py", "x\n")]);
    let mut disk = before.clone();
    let refused = told(patched(&mut disk, "rename from notes.txt\nrename to README.md\n"));
    assert!(refused.contains("README.md is there, and the patch moves notes.txt to it"), "{refused}");
    let refused = told(patched(&mut disk, "--- a/notes.txt\n+++ b/README.md\n@@ -1 +1 @@\n-n\n+N\n"));
    assert!(refused.contains("README.md is there, and the patch moves notes.txt to it"), "{refused}");
    assert_eq!(disk, before);
    let done = told(patched(
        &mut disk,
        "rename from b/x.py\nrename to b/y.py\n--- a/notes.txt\n+++ b/notes.txt\n@@ -1 +1 @@\n-n\n+N\n",
    ));
    assert_eq!(
        disk,
        with(&[("notes.txt", "N\n"), ("README.md", "read me\n"), ("b/y.py", "in b\n"), ("x.py", "x\n")]),
        "{done}"
    );
    // Two files change places.
    let swap = "rename from x.py\nrename to z.py\nrename from b/y.py\nrename to x.py\n";
    let done = told(patched(&mut disk, swap));
    assert_eq!((content(&disk, "z.py"), content(&disk, "x.py")), ("x\n", "in b\n"), "{done}");
}

#[test]
fn a_patch_with_wrong_numbers_is_applied_where_its_lines_stand() {
    let text: String = (1..=20).map(|n| format!("line {n}\n")).collect();
    let mut disk = with(&[("f", &text)]);
    let done = told(patched(&mut disk, "--- a/f\n+++ b/f\n@@ -3,9 +3,2 @@\n line 12\n-line 13\n+LINE 13\n"));
    assert_eq!(content(&disk, "f"), text.replace("line 13", "LINE 13"), "{done}");
    let refused = told(patched(&mut disk, "--- a/f\n+++ b/f\n@@ -5 +5 @@\n-nowhere\n+x\n"));
    assert!(
        refused.contains("its first line \"nowhere\" stands nowhere. At line 5 stands:\n     5\tline 5"),
        "{refused}"
    );
    assert!(told(patched(&mut disk, "no patch")).contains("this is no unified diff"));
    assert!(
        told(patched(&mut disk, "--- /dev/null\n+++ b/f\n@@ -0,0 +1 @@\n+x\n"))
            .contains("f is there, and the patch says that it is new")
    );
    assert!(
        told(patched(&mut disk, "--- a/../f\n+++ b/../f\n@@ -1 +1 @@\n-a\n+b\n"))
            .contains("is no path in the workspace")
    );
}

#[test]
fn a_listing_leaves_out_what_is_ignored_and_fits_its_room() {
    let mut disk = with(&[
        (".gitignore", "target/\n*.log\n!keep.log\n"),
        ("src/main.rs", "fn main() {}\n"),
        ("src/.gitignore", "generated.rs\n"),
        ("src/generated.rs", "x"),
        ("target/out", "x"),
        ("a.log", "x"),
        ("keep.log", "x"),
        (".git/config", "x"),
    ]);
    let listed = told(list(&disk, &List::default(), 10_000));
    let expected =
        ".gitignore (24 bytes)\nkeep.log (1 bytes)\nsrc/.gitignore (13 bytes)\nsrc/main.rs (13 bytes)\n4 files";
    assert_eq!(listed, expected);
    let all = told(list(&disk, &List { all: Some(true), ..List::default() }, 10_000));
    assert!(all.ends_with("8 files"), "{all}");
    let rust = told(list(&disk, &List { glob: Some("**/*.rs".into()), ..List::default() }, 10_000));
    assert_eq!(rust, "src/main.rs (13 bytes)\n1 files");
    let shallow = told(list(&disk, &List { depth: Some(1), ..List::default() }, 10_000));
    assert!(shallow.contains("src/\n"), "{shallow}");
    for n in 0..500 {
        disk.0.insert(format!("many/{n:03}"), Vec::new());
    }
    let many = told(list(&disk, &List::default(), 2_000));
    assert!(many.len() <= 2_000 && many.contains("of them are not shown: give a path, a glob or a depth"), "{many}");
    assert!(
        told(list(&disk, &List { path: Some("nowhere".into()), ..List::default() }, 1_000))
            .contains("there is no folder nowhere")
    );
}

#[test]
fn a_search_shows_lines_with_their_places_and_is_bounded() {
    let disk =
        with(&[("src/sum.py", SUM), ("readme.md", "The sum is a - b.\n"), (".gitignore", "*.log"), ("x.log", "sum")]);
    let found = told(search::search(&disk, &Search { pattern: r"a [-*] b".into(), ..Search::default() }, 10_000));
    let expected = "readme.md:1: The sum is a - b.\nsrc/sum.py:2:     return a - b\nsrc/sum.py:6:     return a * b\n\n3 lines match in 2 of 3 files";
    assert_eq!(found, expected);
    let around = Search { pattern: "product".into(), context: Some(1), ..Search::default() };
    let found = told(search::search(&disk, &around, 10_000));
    assert!(
        found.starts_with("src/sum.py-4- \nsrc/sum.py:5: def product(a, b):\nsrc/sum.py-6-     return a * b\n"),
        "{found}"
    );
    let none = Search { pattern: "SUM".into(), ignore_case: Some(false), ..Search::default() };
    assert_eq!(told(search::search(&disk, &none, 10_000)), "nothing matches in 3 files");
    let few = Search { pattern: ".".into(), max_matches: Some(1), ..Search::default() };
    assert!(told(search::search(&disk, &few, 10_000)).contains("not all are shown"));
    let wrong = Search { pattern: "(a".into(), ..Search::default() };
    assert!(told(search::search(&disk, &wrong, 10_000)).contains("pattern is no regular expression"));
    // Catastrophic for others; here it takes the time of its length.
    let text = "a".repeat(100_000);
    let slow = with(&[("a", &text)]);
    assert!(search::search(&slow, &Search { pattern: "(a*)*b".into(), ..Search::default() }, 1_000).is_ok());
}

#[test]
fn the_list_of_things_to_do_is_a_file_that_a_person_can_read() {
    let mut disk = Memory::default();
    assert_eq!(told(kept_list(&mut disk, Todo { items: None })), "the list is empty");
    let item = |text: &str, status| Item { text: text.to_owned(), status };
    let items = vec![item("look\nat it", Status::Done), item("repair", Status::Doing), item("test", Status::Open)];
    let expected = "- [x] look at it\n- [~] repair\n- [ ] test\n";
    assert_eq!(told(kept_list(&mut disk, Todo { items: Some(items) })), expected);
    assert_eq!(told(kept_list(&mut disk, Todo { items: None })), expected);
    assert_eq!(content(&disk, ".todo.md"), expected);
    let done = Some(vec![item("repair", Status::Done)]);
    let expected = "- [x] repair\nall is done, and the list is put away";
    assert_eq!(told(kept_list(&mut disk, Todo { items: done })), expected);
    assert_eq!(disk, Memory::default());
}

/// Texts of few different lines, with all that lines can end with.
fn text() -> impl Strategy<Value = String> {
    let line = prop_oneof![Just("a"), Just("b"), Just(""), Just("-- x"), Just("++ y"), Just("@@ z"), Just("é")];
    let end = prop_oneof![8 => Just("\n"), 1 => Just("\r\n")];
    (prop::collection::vec((line, end), 0..12), prop::bool::ANY).prop_map(|(lines, whole)| {
        let mut text: String = lines.iter().map(|(line, end)| format!("{line}{end}")).collect();
        if !whole {
            text.truncate(text.trim_end_matches(['\r', '\n']).len());
        }
        text
    })
}

proptest! {
    #[test]
    fn what_a_patch_gives_is_what_the_diff_said(before in text(), after in text()) {
        let diff = similar::TextDiff::from_lines(&before, &after);
        let patch = diff.unified_diff().header("a/f", "b/f").to_string();
        prop_assume!(!patch.is_empty());
        let mut disk = with(&[("f", &before)]);
        let done = told(patched(&mut disk, &patch));
        prop_assert_eq!(content(&disk, "f"), after, "{} {}", done, patch);
    }

    #[test]
    fn an_edit_loses_no_byte_that_it_does_not_name(before in text(), old in "[ab\n]{1,3}", new in "[xy\n]{0,3}") {
        prop_assume!(old != new);
        let once = before.matches(&old).count() == 1 && !before.contains('\r');
        let wish = [Edit { old: old.clone(), new: new.clone(), all: None }];
        match edit::apply(&before, &wish) {
            Ok(after) => {
                prop_assert!(once || before.contains('\r'));
                if once {
                    let (head, tail) = before.split_once(&old).unwrap();
                    prop_assert_eq!(after, format!("{head}{new}{tail}"));
                }
            }
            Err(why) => prop_assert!(!once, "{}", why),
        }
    }

    #[test]
    fn no_patch_panics(patch in "(--- a/f\n|\\+\\+\\+ b/f\n|@@ -1,2 \\+1,2 @@\n|@@\n| a\n|-b\n|\\+c\n|\\\\ No\n|\n|x){0,12}") {
        let mut disk = with(&[("f", "a\nb\n")]);
        let _any = patched(&mut disk, &patch);
    }
}
