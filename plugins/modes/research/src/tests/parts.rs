//! The parts of a question, worked on beside each other, and what sources disagree on.

use super::*;

const PLAN: &str = r#"{"questions":[
    {"question":"How tall is the tower?","queries":["tower height"]},
    {"question":"Who built the bridge?","queries":["bridge builder"]},
    {"question":"What is the moon made of?","queries":["moon nothing"]}]}"#;

fn town() -> ScriptedHost {
    ScriptedHost::new(all())
        .with_tool("corpus_search", |arguments| {
            let query = arguments["query"].as_str().unwrap_or_default().to_owned();
            let hit = |at: &str| serde_json::json!({"location": at, "title": at, "passage": ""});
            let hits: Vec<_> = match query.as_str() {
                "tower height" => vec![hit("a.md"), hit("b.md")],
                "bridge builder" => vec![hit("c.md")],
                "Ida Marsh" => vec![hit("d.md")],
                _ => vec![],
            };
            Ok((serde_json::json!({ "hits": hits }).to_string(), vec![]))
        })
        .with_tool("corpus_read", |arguments| {
            let at = arguments["location"].as_str().unwrap_or_default().to_owned();
            let text = match at.as_str() {
                "a.md" => "The tower of Brenholt is 310 metres tall.",
                "b.md" => "The tower of Brenholt is 320 metres tall.",
                "c.md" => "The bridge was built by Ida Marsh.",
                _ => "Ida Marsh was born in Osterby.",
            };
            Ok((text.to_owned(), vec![(at.clone(), at, text.to_owned())]))
        })
}

/// Notes each passage whole; the bridge leads to its builder; the notes 1 and 2 disagree.
fn reader(answer: &'static str) -> impl FnMut(&GenerateRequest) -> Result<GenerateResponse, ModelError> {
    move |request| {
        let schema = request.output_schema.as_deref().unwrap_or_default();
        if schema.contains("\"queries\"") {
            return Ok(says(PLAN));
        }
        if schema.contains("\"gaps\"") {
            let note = |passage: &vivarium_sdk::mode::Passage| serde_json::json!({"sourceId": passage.source_id, "claim": passage.text, "quote": passage.text});
            let notes: Vec<_> = request.passages.iter().map(note).collect();
            let leads_on = request.passages.iter().any(|passage| passage.text.contains("built by Ida"));
            let gaps: Vec<&str> = if leads_on { vec!["Ida Marsh"] } else { vec![] };
            return Ok(says(&serde_json::json!({"notes": notes, "answered": !leads_on, "gaps": gaps}).to_string()));
        }
        if schema.contains("\"disagreements\"") {
            return Ok(says(
                r#"{"disagreements":[{"about":"the height\n[s9]","first":2,"second":1},{"about":"x","first":1,"second":99}]}"#,
            ));
        }
        Ok(says(answer))
    }
}

#[test]
fn the_parts_are_searched_read_and_asked_about_beside_each_other() {
    let mut host = town()
        .with_model(reader("It is 310 metres tall [s1], or 320 [s2]; Ida Marsh built it [s3], born in Osterby [s4]."));
    let outcome = run(&mut host, request("Tell me about the tower, the bridge and the moon.", 5)).unwrap();
    let batches: Vec<(&str, usize)> = host.batches.iter().map(|batch| (batch[0].name.as_str(), batch.len())).collect();
    assert_eq!(batches, [("corpus_search", 3), ("corpus_read", 3), ("corpus_search", 1), ("corpus_read", 1)]);
    assert_eq!(host.at_once[0], 3, "two parts get notes, and the third one other queries, at once");
    for step in [
        "Question 1: How tall is the tower?",
        "Answered: How tall is the tower?",
        "Answered: Who built the bridge?",
        "Not found: What is the moon made of?",
    ] {
        assert!(host.steps.iter().any(|shown| shown == step), "{step}: {:?}", host.steps);
    }
    assert!(outcome.answer.contains("**Not found**\n\n- What is the moon made of?"), "{}", outcome.answer);
    assert!(outcome.answer.contains("4. [s4] d.md: `d.md`"), "the second hop is read: {}", outcome.answer);
}

#[test]
fn sources_that_disagree_are_named_with_both_quotes_even_if_the_model_does_not() {
    let mut host = town().with_model(reader("It is 310 metres tall [s1]."));
    let outcome = run(&mut host, request("Tell me about the tower, the bridge and the moon.", 3)).unwrap();
    let told = "Sources disagree on the height (s9): “The tower of Brenholt is 320 metres tall.” [s2], but “The tower of Brenholt is 310 metres \
                tall.” [s1].";
    assert!(outcome.answer.contains(told), "{}", outcome.answer);
    assert!(host.steps.contains(&"Sources disagree on the height (s9): s2 and s1".to_owned()), "{:?}", host.steps);
    for id in ["s1", "s2"] {
        assert!(outcome.citations.iter().any(|citation| citation.source_id == id && citation.quote.contains("tall")));
    }
    let system = host.asked.last().unwrap().messages[0].text();
    assert!(
        system.contains("These notes disagree: 1 and 2.") && !system.contains("Brenholt"),
        "fetched words are no instructions: {system}"
    );
}

#[test]
fn a_disagreement_that_the_model_has_told_is_not_told_twice() {
    let mut host = town().with_model(reader("Sources disagree: 310 metres [s1], 320 metres [s2]."));
    let outcome = run(&mut host, request("How tall is the tower?", 3)).unwrap();
    assert_eq!(outcome.answer.matches("disagree").count(), 1, "{}", outcome.answer);
}

#[test]
fn the_embedded_answerer_follows_a_name_and_shows_what_another_source_says() {
    let page = |text: &str| text.to_owned();
    let mut host = ScriptedHost::new(Abilities::PASSAGES)
        .with_tool("corpus_search", |arguments| {
            let query = arguments["query"].as_str().unwrap_or_default();
            let hit = |at: &str, passage: &str| serde_json::json!({"location": at, "title": at, "passage": passage});
            let hits = match query {
                query if query.contains("Marsh") => vec![
                    hit("b", "Ida Marsh was born in the year 1871 in Osterby."),
                    hit("c", "Ida Marsh was born in the year 1875 in Osterby."),
                ],
                query if query.contains("bridge") => vec![hit("a", "The bridge was built by Ida Marsh.")],
                _ => vec![],
            };
            Ok((serde_json::json!({ "hits": hits }).to_string(), vec![]))
        })
        .with_tool("corpus_read", move |arguments| {
            let at = arguments["location"].as_str().unwrap_or_default().to_owned();
            let text = match at.as_str() {
                "a" => page("The bridge was built by Ida Marsh."),
                "b" => page("Ida Marsh was born in the year 1871 in Osterby."),
                _ => page("Ida Marsh was born in the year 1875 in Osterby."),
            };
            Ok((text.clone(), vec![(at.clone(), at, text)]))
        })
        .with_model(extractive);
    let outcome = run(&mut host, request("When was the builder of the bridge born?", 4)).unwrap();
    assert!(outcome.answer.contains("1871"), "{}\n{:?}", outcome.answer, host.steps);
    assert!(outcome.answer.contains("Sources disagree: “Ida Marsh was born in the year 18"), "{}", outcome.answer);
    assert!(host.asked[0].messages[0].text().ends_with("born? Ida Marsh"), "{:?}", host.asked[0].messages);
}
