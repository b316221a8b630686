use vivarium_sdk::mode::Abilities;
use vivarium_sdk::testing::ScriptedHost;

use super::*;

fn hits(locations: &[&str]) -> String {
    let hits: Vec<_> = locations
        .iter()
        .map(|at| serde_json::json!({"location": at, "title": at, "passage": format!("On {at}.")}))
        .collect();
    serde_json::json!({ "hits": hits }).to_string()
}

fn corpus() -> ScriptedHost {
    ScriptedHost::new(Abilities::PASSAGES)
        .with_tool("corpus_search", |arguments| match arguments["query"].as_str() {
            Some("owners") => Ok((hits(&["a", "b"]), vec![])),
            Some("scopes") => Ok((hits(&["b", "c", "a/"]), vec![])),
            _ => Err("the index is broken\nand more".into()),
        })
        .with_tool("corpus_read", |arguments| match arguments["location"].as_str() {
            Some("b") => Err("it is gone".into()),
            Some(at) => Ok(("shown".into(), vec![(at.into(), at.into(), format!("On {at}."))])),
            None => Err("no location".into()),
        })
}

fn queries(queries: &[&str]) -> Vec<String> {
    queries.iter().map(ToString::to_string).collect()
}

#[test]
fn searches_run_in_one_batch_and_each_document_is_named_once() {
    let mut host = corpus();
    let mut retrieval = Retrieval::new(&host.tools());
    let found = retrieval.search(&mut host, &queries(&["owners", "scopes"]));
    assert_eq!(host.batches.len(), 1);
    let locations: Vec<&str> = found.iter().map(|candidate| candidate.location.as_str()).collect();
    assert_eq!(locations, ["a", "b", "c"]);
    assert_eq!(host.steps, ["Searching the corpus for “owners”", "Searching the corpus for “scopes”"]);
}

#[test]
fn a_query_that_was_asked_in_other_words_order_is_not_asked_again() {
    let mut host = corpus();
    let mut retrieval = Retrieval::new(&host.tools());
    retrieval.search(&mut host, &queries(&["owners"]));
    assert!(retrieval.search(&mut host, &queries(&["the Owners?", "  "])).is_empty());
    assert_eq!(host.batches.len(), 1);
}

#[test]
fn a_document_that_can_not_be_read_is_gone_around() {
    let mut host = corpus();
    let mut retrieval = Retrieval::new(&host.tools());
    let mut found = retrieval.search(&mut host, &queries(&["owners", "scopes"]));
    let readings = retrieval.read(&mut host, &mut found, 2, "owners");
    let read: Vec<&str> = readings.iter().map(|reading| reading.source.location.as_str()).collect();
    assert_eq!(read, ["a", "c"]);
    assert_eq!(retrieval.problems, ["Could not read “b”: it is gone"]);
    assert!(host.steps.contains(&"Could not read “b”: it is gone".to_owned()));
    assert!(retrieval.search(&mut host, &queries(&["scopes owners"])).is_empty(), "the broken search finds nothing");
}

#[test]
fn a_question_of_a_whole_page_is_cut_to_what_the_tools_take() {
    let mut host = corpus();
    let mut retrieval = Retrieval::new(&host.tools());
    retrieval.search(&mut host, &["ä ownership ".repeat(1_000)]);
    let arguments: serde_json::Value = serde_json::from_str(&host.batches[0][0].arguments_json).unwrap();
    assert_eq!(arguments["query"].as_str().unwrap().chars().count(), 1_000);
}

#[test]
fn a_failed_search_is_reported_in_one_line() {
    let mut host = corpus();
    let mut retrieval = Retrieval::new(&host.tools());
    assert!(retrieval.search(&mut host, &queries(&["x1", "y1"])).is_empty());
    assert_eq!(retrieval.problems, ["Searching the corpus failed: the index is broken"]);
}

#[test]
fn a_place_that_is_down_is_not_asked_again() {
    let mut host =
        corpus().with_tool("web_search", |_| Err("no engine".into())).with_tool("web_fetch", |_| Err("unused".into()));
    let mut retrieval = Retrieval::new(&host.tools());
    retrieval.search(&mut host, &queries(&["owners"]));
    retrieval.search(&mut host, &queries(&["scopes"]));
    assert_eq!(host.called(), ["corpus_search", "web_search", "corpus_search"]);
}

#[test]
fn a_place_that_can_be_searched_but_not_read_is_left_alone() {
    let mut host = ScriptedHost::new(Abilities::PASSAGES).with_tool("web_search", |_| Ok((hits(&[]), vec![])));
    let retrieval = Retrieval::new(&host.tools());
    assert!(!retrieval.is_possible());
}

#[test]
fn what_several_parts_find_is_searched_and_read_in_one_go_and_each_document_once() {
    let mut host = corpus();
    let mut retrieval = Retrieval::new(&host.tools());
    let found = retrieval.search_each(&mut host, &[queries(&["owners"]), queries(&["scopes"])]);
    let mut parts: Vec<Wanted> = found.into_iter().map(|found| Wanted { found, ..Wanted::new("x", 2) }).collect();
    let readings = retrieval.read_each(&mut host, &mut parts);
    let of = |part: usize| readings[part].iter().map(|reading| reading.source.location.as_str()).collect::<Vec<_>>();
    assert_eq!((of(0), of(1)), (vec!["a"], vec!["c", "a"]), "b can not be read, and both parts have the other one");
    assert_eq!(host.batches.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
    assert_eq!(host.called().iter().filter(|name| **name == "corpus_read").count(), 3);
}

#[test]
fn a_document_that_was_read_comes_again_only_with_something_new() {
    let mut host = corpus();
    let mut retrieval = Retrieval::new(&host.tools());
    let candidate = |passage: &str| Candidate {
        place: Place::Corpus,
        location: "a".into(),
        title: "a".into(),
        passages: vec![Shown { heading: String::new(), text: passage.into() }],
    };
    let mut part = [Wanted::new("x", 1)];
    for (passage, news) in [("first", 1), ("first", 0), ("second", 1)] {
        part[0].add(VecDeque::from([candidate(passage)]));
        assert_eq!(retrieval.read_each(&mut host, &mut part)[0].len(), news, "{passage}");
    }
    assert_eq!(host.called(), ["corpus_read"]);
}

#[test]
fn a_copy_of_a_document_is_left_out_and_the_next_one_is_read() {
    let text = |at: &str| match at {
        "other" => "Short.".to_owned(),
        _ => (0..40).map(|n| format!("Word{n} stands in every copy of it. ")).collect(),
    };
    let mut host = ScriptedHost::new(Abilities::PASSAGES)
        .with_tool("corpus_search", |_| Ok((hits(&["print.html", "chapter", "mirror", "other"]), vec![])))
        .with_tool("corpus_read", move |arguments| {
            let at = arguments["location"].as_str().unwrap_or_default();
            Ok((text(at), vec![(at.into(), at.into(), text(at))]))
        });
    let mut retrieval = Retrieval::new(&host.tools());
    let mut found = retrieval.search(&mut host, &queries(&["copies"]));
    let read = retrieval.read(&mut host, &mut found, 4, "");
    let read: Vec<&str> = read.iter().map(|reading| reading.source.location.as_str()).collect();
    assert_eq!(read, ["chapter", "other"], "the print edition comes last and is no news either");
    assert!(host.steps.contains(&"“mirror” says what “chapter” says, and is left out".to_owned()), "{:?}", host.steps);
}

#[test]
fn a_page_that_the_corpus_can_not_give_is_fetched() {
    let mut host = ScriptedHost::new(Abilities::PASSAGES)
        .with_tool("corpus_search", |_| Ok((hits(&["https://example.com/a"]), vec![])))
        .with_tool("corpus_read", |_| Err("it is gone".into()))
        .with_tool("web_search", |_| Ok((r#"{"results":[]}"#.into(), vec![])))
        .with_tool("web_fetch", |arguments| {
            let at = arguments["url"].as_str().unwrap_or_default();
            Ok(("text".into(), vec![(at.into(), at.into(), "text".into())]))
        });
    let mut retrieval = Retrieval::new(&host.tools());
    let mut found = retrieval.search(&mut host, &queries(&["a"]));
    assert_eq!(retrieval.read(&mut host, &mut found, 1, "").len(), 1);
    assert_eq!(host.called(), ["corpus_search", "web_search", "corpus_read", "web_fetch"]);
    assert_eq!(retrieval.problems.len(), 1, "that it failed is reported all the same");
}
