//! What a corpus promises of queries that nobody would ask, of many hits, and of changes while it is searched.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may be blunt"
)]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;
use vivarium_corpus::{CorpusError, Given, Holdings};
use vivarium_domain::Document;

fn given(id: usize, title: &str, text: &str) -> Given {
    let document = Document {
        title: title.to_owned(),
        location: format!("document:{id}"),
        media_type: "text/plain".to_owned(),
        text: text.to_owned(),
    };
    Given { document, external_id: id.to_string(), hash: id as u64 }
}

fn holdings(given: Vec<Given>) -> (TempDir, Holdings) {
    let folder = TempDir::new().unwrap();
    let holdings = Holdings::open(folder.path()).unwrap();
    holdings.change(&[], given).unwrap();
    (folder, holdings)
}

fn found(holdings: &Holdings, query: &str, skip: usize, take: usize) -> Vec<String> {
    holdings.documents(query, skip, take).unwrap().into_iter().map(|hit| hit.external_id).collect()
}

#[test]
fn the_rare_word_of_a_long_query_counts_wherever_it_stands() {
    let words: String = (0..120).map(|n| format!("common{n} ")).collect();
    let mut all: Vec<Given> = (0..40).map(|n| given(n, "Pier", &words)).collect();
    all.push(given(40, "Sluice", "The oystercatcher nests beside the sluice."));
    let (_folder, holdings) = holdings(all);
    assert_eq!(found(&holdings, &format!("{words} oystercatcher"), 0, 1), ["40"]);
}

#[test]
fn any_query_is_answered_with_what_holds_its_words() {
    let (_folder, holdings) = holdings(vec![
        given(1, "Boats", "A boat is made fast with a spring line."),
        given(2, "漢字", "漢字は難しい。🦀 crabs"),
        given(3, "Field", "title:boat AND \"spring line\""),
        given(4, "X", "x marks the spot"),
    ]);
    let eight = 8 << 10;
    let every = |query: &str| found(&holdings, query, 0, 10).into_iter().collect::<BTreeSet<_>>();
    assert_eq!(every(&"boat ".repeat(eight / 5)), ["1", "3"].map(str::to_owned).into());
    assert!(
        matches!(holdings.documents(&"x".repeat(eight), 0, 10), Err(CorpusError::InvalidQuery(_))),
        "no word is so long"
    );
    assert_eq!(every("x"), ["4"].map(str::to_owned).into());
    assert_eq!(every("難しい"), ["2"].map(str::to_owned).into());
    assert_eq!(every("🦀 crab"), ["2"].map(str::to_owned).into());
    assert_eq!(every("title:\"spring line\" -boat (((*"), ["1", "3"].map(str::to_owned).into(), "nothing is syntax");
    assert_eq!(every("the"), ["4"].map(str::to_owned).into(), "alone, a word of grammar is a word");
    assert_eq!(every("the crab"), ["2"].map(str::to_owned).into(), "beside others it finds nothing");
    assert!(matches!(holdings.documents("🦀 \"\" ::", 0, 10), Err(CorpusError::InvalidQuery(_))));
    assert!(matches!(holdings.search(&"🦀".repeat(eight), 8), Err(CorpusError::InvalidQuery(_))));
}

#[test]
fn pages_go_on_where_the_one_before_ends_also_far_down() {
    let text = |n: usize| format!("Gate {n} of the pier. {}", "It opens at noon. ".repeat(n % 7));
    let (_folder, holdings) = holdings((0..1_500).map(|n| given(n, "Pier", &text(n))).collect());
    let whole = found(&holdings, "gate pier noon", 0, 1_500);
    assert_eq!(whole.iter().collect::<BTreeSet<_>>().len(), 1_500);
    let pages = (0..15).flat_map(|page| found(&holdings, "gate pier noon", page * 100, 100));
    assert_eq!(pages.collect::<Vec<_>>(), whole);
    let scores: Vec<f32> =
        holdings.documents("gate pier noon", 0, 1_500).unwrap().iter().map(|hit| hit.score).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b));
}

#[test]
fn a_document_of_several_passages_is_found_by_words_that_no_passage_holds_together() {
    let filler = |n: usize| format!("Paragraph {n} tells of ropes and of paint and of weather. ").repeat(30);
    let mut all: Vec<Given> =
        (0..50).map(|n| given(n, "Log", &format!("The heron was seen.\n\n{}", filler(n)))).collect();
    all.extend((50..100).map(|n| given(n, "Log", &format!("The lantern was lit.\n\n{}", filler(n)))));
    let both = format!("The heron was seen.\n\n{}\n\nThe lantern was lit.\n\n{}", filler(100), filler(101));
    all.push(given(100, "Log", &both));
    let (_folder, holdings) = holdings(all);
    assert_eq!(found(&holdings, "heron and lantern", 0, 1), ["100"]);
}

#[test]
fn a_search_while_the_corpus_changes_finds_it_as_it_was_before_or_after() {
    let all = |word: &str| (0..300).map(|n| given(n, "Pier", &format!("Gate {n} is {word}."))).collect::<Vec<_>>();
    let (_folder, holdings) = holdings(all("open"));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let searching = scope.spawn(|| {
            let mut searches = 0;
            while !done.load(Ordering::Relaxed) || searches == 0 {
                let hits = holdings.documents("gate", 0, 1_000).unwrap();
                assert_eq!(hits.len(), 300);
                let open = hits.iter().filter(|hit| hit.passage.ends_with("open.")).count();
                assert!(open == 0 || open == 300, "{open}");
                searches += 1;
            }
        });
        for round in 0..6 {
            holdings.change(&[], all(if round % 2 == 0 { "shut" } else { "open" })).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        searching.join().unwrap();
    });
}
