//! The promises of a corpus, kept on a folder of real files: the pages in `fixtures/`, copied and changed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may be blunt"
)]

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use tempfile::TempDir;
use vivarium_corpus::{Corpus, CorpusError, OpenOptions, Progress, Report, SkipReason};
use vivarium_domain::{GenerateRequest, GenerateResponse, Message, Passage};
use vivarium_models::{Call, Embedded, Provider as _};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// A copy of the fixtures, old enough that their times are settled.
struct Place {
    root: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self::empty();
        copy(&fixtures(), &place.folder());
        place
    }

    fn empty() -> Self {
        let root = TempDir::new().unwrap();
        fs::create_dir(root.path().join("docs")).unwrap();
        Self { root }
    }

    fn folder(&self) -> PathBuf {
        self.root.path().join("docs")
    }

    fn options(&self) -> OpenOptions {
        OpenOptions::new(self.folder(), self.root.path().join("index"))
    }

    fn open(&self) -> (Corpus, Report) {
        Corpus::open(self.options(), &mut |_| {}).unwrap()
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        write_old(&self.folder().join(name), text.as_ref(), 3600);
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            write_old(&target, &fs::read(entry.path()).unwrap(), 7200);
        }
    }
}

fn write_old(path: &Path, bytes: &[u8], seconds_ago: u64) {
    fs::write(path, bytes).unwrap();
    set_age(path, seconds_ago);
}

fn set_age(path: &Path, seconds_ago: u64) {
    let time = SystemTime::now() - Duration::from_secs(seconds_ago);
    fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

fn locations(corpus: &Corpus, query: &str) -> Vec<String> {
    corpus.search(query, 10).unwrap().into_iter().map(|hit| hit.location).collect()
}

#[test]
fn a_folder_is_indexed_and_what_is_no_document_is_counted_by_its_reason() {
    let place = Place::new();
    place.write("photo.jpeg", b"\xff\xd8\xff");
    place.write("broken.txt", b"ELF\0\0\0");
    place.write("huge.txt", "x ".repeat(5 << 20));
    let (_, report) = place.open();
    assert_eq!((report.documents, report.added, report.changed), (9, 9, 0));
    let skipped: Vec<_> = report.skipped.into_iter().collect();
    let expected = [SkipReason::UnknownKind, SkipReason::Binary, SkipReason::TooLarge, SkipReason::Redirect]
        .map(|reason| (reason, 1));
    assert_eq!(skipped, expected);
}

#[test]
fn the_best_passage_comes_first_under_its_heading() {
    let (corpus, _) = Place::new().open();
    let hits = corpus.search("what is a spring line for?", 5).unwrap();
    assert_eq!((hits[0].location.as_str(), hits[0].heading.as_str()), ("guide/mooring.html", "Which lines to use"));
    assert_eq!(hits[0].title, "Mooring - The Harbour Handbook");
    assert!(hits.is_sorted_by(|a, b| a.score >= b.score));
    assert_eq!(locations(&corpus, "report_light")[0], "api/buoy.html");
    assert_eq!(locations(&corpus, "boats lying moored")[0], "guide/mooring.html", "words are compared by their stems");
    assert_eq!(locations(&corpus, "betal før klokken tolv")[0], "guide/gjester.html", "its page is in Latin 1");
}

#[test]
fn what_is_no_text_of_the_page_is_not_found() {
    let (corpus, _) = Place::new().open();
    assert!(locations(&corpus, "tracking").is_empty());
    let page = corpus.read("guide/mooring.html", usize::MAX).unwrap();
    assert!(!page.text.contains("Copy link") && !page.text.contains('¶'), "{}", page.text);
}

#[test]
fn a_passage_stands_word_for_word_in_what_read_gives() {
    let (corpus, _) = Place::new().open();
    for query in ["boat", "tide", "buoy light report", "fee", "the"] {
        for hit in corpus.search(query, 50).unwrap() {
            let document = corpus.read(&hit.location, usize::MAX).unwrap();
            assert!(document.text.contains(&hit.passage), "{} in {}", hit.passage, hit.location);
        }
    }
}

#[test]
fn a_copy_of_a_document_does_not_answer_twice() {
    let (corpus, _) = Place::new().open();
    let found = locations(&corpus, "plough anchor or mushroom anchor");
    let of_copies: std::collections::BTreeSet<_> =
        found.iter().filter(|location| location.contains("anchors")).collect();
    assert_eq!(of_copies.len(), 1, "{found:?}");
}

#[test]
fn one_document_gives_at_most_two_passages() {
    let place = Place::empty();
    let section =
        |n: usize| format!("## Part {n}\n\n{}\n\n", format!("Whales number {n} sing in the deep sea. ").repeat(20));
    place.write("whales.md", (0..9).map(section).collect::<String>());
    place.write("other.md", "Whales are mentioned here too.");
    let (corpus, _) = place.open();
    let found = locations(&corpus, "whales");
    assert_eq!(found.len(), 3, "{found:?}");
}

#[test]
fn read_looks_in_the_index_and_never_in_the_file_system() {
    let place = Place::new();
    fs::write(place.root.path().join("secret.txt"), "secret").unwrap();
    let (corpus, _) = place.open();
    for location in ["../secret.txt", "/etc/passwd", "guide/../../secret.txt", "", "guide", "photo\0"] {
        assert!(matches!(corpus.read(location, 100), Err(CorpusError::NotFound(_))), "{location:?}");
    }
    let before = corpus.read("guide/tides.html", usize::MAX).unwrap();
    fs::remove_file(place.folder().join("guide/tides.html")).unwrap();
    assert_eq!(corpus.read("guide/tides.html", usize::MAX).unwrap(), before, "until the next refresh");
}

#[test]
fn read_cuts_on_a_characters_border() {
    let place = Place::empty();
    place.write("a.txt", "åäö and more");
    let (corpus, _) = place.open();
    assert_eq!(corpus.read("a.txt", 3).unwrap().text, "å");
    assert_eq!(corpus.read("a.txt", 0).unwrap().text, "");
}

#[cfg(unix)]
#[test]
fn links_are_not_followed() {
    let place = Place::new();
    std::os::unix::fs::symlink("/etc", place.folder().join("etc")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", place.folder().join("passwd.txt")).unwrap();
    let (corpus, report) = place.open();
    assert_eq!(report.skipped[&SkipReason::SymbolicLink], 2);
    assert!(corpus.read("passwd.txt", 10).is_err());
}

#[test]
fn nothing_is_indexed_again_when_nothing_changed() {
    let place = Place::empty();
    for n in 0..3000 {
        place.write(&format!("{n}.md"), format!("# Note {n}\n\nA short note, the {n}th of many.\n"));
    }
    let (_, first) = place.open();
    assert_eq!((first.indexed(), first.unchanged), (3000, 0));
    let (corpus, second) = place.open();
    assert_eq!((second.indexed(), second.unchanged, second.removed), (0, 3000, 0));
    assert_eq!(second.documents, 3000);
    assert_eq!(locations(&corpus, "note 2999")[0], "2999.md");
}

#[test]
fn only_what_changed_is_indexed_again_and_what_is_gone_is_forgotten() {
    let place = Place::new();
    let (corpus, _) = place.open();
    place.write("guide/storms.html", "<title>Storms</title><p>Now it is about zeppelins.</p>");
    set_age(&place.folder().join("index.html"), 60);
    fs::remove_file(place.folder().join("guide/tides.html")).unwrap();
    place.write("new.md", "# New\n\nA page about submarines.\n");
    assert!(locations(&corpus, "zeppelins submarines").is_empty());

    let report = corpus.refresh(&mut |_| {}).unwrap();
    assert_eq!((report.added, report.changed, report.removed), (1, 1, 1));
    assert_eq!(locations(&corpus, "zeppelins"), ["guide/storms.html"]);
    assert_eq!(locations(&corpus, "submarines"), ["new.md"]);
    assert!(locations(&corpus, "neap").is_empty());
    assert!(locations(&corpus, "fender").is_empty(), "the old text of a changed page is gone");

    let report = corpus.refresh(&mut |_| {}).unwrap();
    assert_eq!((report.indexed(), report.removed), (0, 0));
}

#[test]
fn a_change_that_keeps_size_and_time_is_seen_when_it_follows_at_once() {
    let place = Place::empty();
    let path = place.folder().join("a.txt");
    fs::write(&path, "apples").unwrap();
    let (corpus, _) = place.open();
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, "quince").unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    let report = corpus.refresh(&mut |_| {}).unwrap();
    assert_eq!(report.changed, 1);
    assert_eq!(locations(&corpus, "quince"), ["a.txt"]);
}

#[test]
fn a_damaged_index_is_rebuilt_and_the_report_says_so() {
    let place = Place::new();
    let (corpus, first) = place.open();
    drop(corpus);
    fs::write(place.root.path().join("index/index/meta.json"), "{").unwrap();
    let (corpus, report) = place.open();
    assert!(report.rebuilt.is_some_and(|reason| reason.contains("damaged")));
    assert_eq!(report.added, first.added);
    assert!(!locations(&corpus, "mooring").is_empty());
}

#[test]
fn an_index_of_other_limits_or_another_version_is_rebuilt() {
    let place = Place::new();
    drop(place.open());
    let mut options = place.options();
    options.limits.max_text_bytes = 200;
    let (_, report) = Corpus::open(options, &mut |_| {}).unwrap();
    assert!(report.rebuilt.is_some() && report.truncated > 0);

    let meta = place.root.path().join("index/index/meta.json");
    let other = fs::read_to_string(&meta).unwrap().replace(r#"{\"format\":"#, r#"{\"format\":9"#);
    fs::write(&meta, other).unwrap();
    let (_, report) = place.open();
    assert_eq!(report.rebuilt.as_deref(), Some("it was made by another version"));
}

#[test]
fn a_second_user_of_the_index_is_told_what_to_do() {
    let place = Place::new();
    let (_corpus, _) = place.open();
    let error = Corpus::open(place.options(), &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("in use by another process: stop that one, or name another folder"), "{error}");
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let place = Place::empty();
    let options = OpenOptions::new(place.root.path().join("nowhere"), place.root.path().join("index"));
    let error = Corpus::open(options, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("nowhere") && error.contains("Name a folder"), "{error}");
}

/// Not a test of its own: what the next one starts and lets die.
#[test]
fn child_that_dies_while_indexing() {
    let Ok(root) = std::env::var("CORPUS_TEST_ROOT") else { return };
    let mut options = OpenOptions::new(Path::new(&root).join("docs"), Path::new(&root).join("index"));
    options.commit_every = NonZeroUsize::new(40).unwrap();
    let _ = Corpus::open(options, &mut |progress| {
        if matches!(progress, Progress::Indexing { done: 100, .. }) {
            std::process::abort();
        }
    });
}

#[test]
fn what_was_committed_before_a_kill_is_kept_and_the_rest_is_done_next_time() {
    let place = Place::empty();
    for n in 0..200 {
        place.write(&format!("{n}.md"), format!("# Note {n}\n\nThe note with the number {n}.\n"));
    }
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_dies_while_indexing"])
        .env("CORPUS_TEST_ROOT", place.root.path())
        .output()
        .unwrap()
        .status;
    assert!(!status.success(), "the child died");
    let (corpus, report) = place.open();
    assert_eq!((report.unchanged, report.added, report.documents), (80, 120, 200));
    assert_eq!(report.rebuilt, None);
    for n in [0, 57, 199] {
        assert_eq!(locations(&corpus, &format!("note {n}"))[0], format!("{n}.md"));
    }
}

#[test]
fn an_update_that_breaks_off_is_made_up_for_by_the_next() {
    let place = Place::new();
    let (corpus, _) = place.open();
    place.write("one.md", "A page about lighthouses.");
    place.write("two.md", "A page about lightships.");
    let broken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        corpus.refresh(&mut |progress| assert!(!matches!(progress, Progress::Indexing { .. }), "broken off"))
    }));
    assert!(broken.is_err());
    let report = corpus.refresh(&mut |_| {}).unwrap();
    assert_eq!(report.added, 2);
    assert_eq!(locations(&corpus, "lighthouses"), ["one.md"]);
}

#[test]
fn a_query_without_a_word_is_refused_and_one_of_stop_words_is_not() {
    let (corpus, _) = Place::new().open();
    for query in ["", "  ", "?!", "\"\" AND (", "🦀"] {
        match corpus.search(query, 5) {
            Err(CorpusError::InvalidQuery(_)) => {}
            Ok(hits) => assert!(query.contains("AND") && hits.len() <= 5),
            Err(other) => panic!("{query:?}: {other}"),
        }
    }
    assert!(!corpus.search("what is it", 5).unwrap().is_empty());
    assert!(corpus.search("boat", 0).unwrap().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_query_may_hold_anything(query in prop_oneof![any::<String>(), "[a-z+\\-:\"*^~()\\[\\]{} ]{0,60}"]) {
        thread_local!(static CORPUS: (Place, Corpus) = {
            let place = Place::new();
            let corpus = place.open().0;
            (place, corpus)
        });
        CORPUS.with(|(_, corpus)| match corpus.search(&query, 50) {
            Ok(hits) => assert!(hits.len() <= 50),
            Err(CorpusError::InvalidQuery(_)) => {}
            Err(other) => panic!("{query:?}: {other}"),
        });
    }
}

fn ask(corpus: &Corpus, question: &str) -> GenerateResponse {
    let hits = corpus.search(question, 8).unwrap();
    let passages: Vec<Passage> =
        hits.into_iter().map(|hit| Passage { source_id: hit.location, title: hit.title, text: hit.passage }).collect();
    let request = GenerateRequest { messages: vec![Message::user(question)], passages, ..GenerateRequest::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(Embedded::default().generate(Call::new("extractive", &request, &mut |_| {}))).unwrap()
}

#[test]
fn questions_are_answered_from_the_pages_with_quotes_that_stand_in_them() {
    let (corpus, _) = Place::new().open();
    for (question, needed) in [
        ("What is a spring line?", "runs diagonally along the boat and stops it"),
        ("What is the difference between a spring tide and a neap tide?", "A neap tide is the smallest one"),
        ("Why do spring lines carry most of the load?", "because they are the longest lines and stretch the most."),
        ("How much is the fee for one night?", "180 crowns"),
        ("When should I choose a plough anchor instead of a mushroom anchor?", "when you stay for a night only"),
        ("What should I do with mooring lines when a storm is forecast?", "Double every mooring line"),
        ("What does report_light do?", "Measures the light once per every"),
    ] {
        let answer = ask(&corpus, question);
        assert!(answer.text.contains(needed), "{question}\n{}", answer.text);
        for citation in &answer.citations {
            let document = corpus.read(&citation.source_id, usize::MAX).unwrap();
            assert!(document.text.contains(&citation.quote), "{question}: {}", citation.quote);
        }
    }
}

#[test]
fn a_question_that_the_pages_do_not_answer_gets_no_citation() {
    let (corpus, _) = Place::new().open();
    let answer = ask(&corpus, "Who won the football championship in 1974?");
    assert_eq!(answer.citations, []);
    assert!(answer.text.contains("is not a language model") && answer.text.contains("OPENAI_API_KEY"));
}
