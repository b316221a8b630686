//! `max_cycles` is a bound, whatever a model says.

use proptest::prelude::*;
use vivarium_reasoning::room;

use super::*;

/// What a model says to one question: how many parts or notes, whether it calls that an answer, how many gaps, and whether it is JSON.
type Saying = (usize, bool, usize, u8);

/// A model that says these things in turn, over and over.
fn erratic(sayings: Vec<Saying>) -> impl FnMut(&GenerateRequest) -> Result<GenerateResponse, ModelError> {
    let mut number = 0;
    move |request| {
        let (count, answered, gaps, form) = sayings[number % sayings.len()];
        number += 1;
        let schema = request.output_schema.as_deref().unwrap_or_default();
        match form {
            0 => return Ok(says("I would rather not.")),
            1 if request.visibility == Visibility::Hidden => return Err(ModelError::Unavailable("down".into())),
            _ => {}
        }
        let words =
            |what: &str, count: usize| (0..count).map(|n| format!("{what} {n} of {number}")).collect::<Vec<_>>();
        if schema.contains("\"queries\"") {
            let part = |question: String| serde_json::json!({"question": question, "queries": words("query", gaps)});
            let parts: Vec<_> = words("part", count).into_iter().map(part).collect();
            return Ok(says(&serde_json::json!({ "questions": parts }).to_string()));
        }
        if schema.contains("\"gaps\"") {
            let note = |passage: &vivarium_sdk::mode::Passage| {
                let quote = format!("The truth about {} is simple.", passage.title);
                serde_json::json!({"sourceId": passage.source_id, "claim": "It is simple.", "quote": quote})
            };
            let notes: Vec<_> = request.passages.iter().take(count).map(note).collect();
            let json = serde_json::json!({"notes": notes, "answered": answered, "gaps": words("gap", gaps)});
            return Ok(says(&json.to_string()));
        }
        if schema.contains("\"disagreements\"") {
            let pair = serde_json::json!({"about": "it", "first": count, "second": gaps});
            return Ok(says(&serde_json::json!({ "disagreements": [pair] }).to_string()));
        }
        Ok(says("So it is [s1]."))
    }
}

proptest! {
    #[test]
    fn no_model_gets_more_cycles_than_the_run_may_take(
        max_cycles in 1_u32..=8,
        sayings in prop::collection::vec((0_usize..7, any::<bool>(), 0_usize..7, 0_u8..9), 1..12),
    ) {
        let mut host = with_corpus(ScriptedHost::new(all())).with_model(erratic(sayings));
        let outcome = run(&mut host, request("What is the truth about fruit?", max_cycles)).unwrap();
        prop_assert!(!outcome.answer.trim().is_empty());
        let searching = searching_cycles(max_cycles) as usize;
        let searches = host.batches.iter().filter(|batch| batch[0].name == "corpus_search").count();
        prop_assert!(searches <= searching, "{searches} searches in {max_cycles} cycles");
        prop_assert!(host.at_once.len() <= searching && host.at_once.iter().all(|count| *count <= 4));
        let answers = host.asked.iter().filter(|asked| asked.visibility == Visibility::Answer).count();
        prop_assert!(answers <= 1);
        // The plan, the notes of each cycle, the comparison, the answer.
        prop_assert!(host.asked.len() <= 1 + 4 * searching + 2, "{} questions", host.asked.len());
        for asked in &host.asked {
            let shown: usize = asked.passages.iter().map(|passage| passage.text.len()).sum();
            prop_assert!(shown <= room::of(32_000), "{shown} bytes");
        }
        prop_assert!(host.check(&outcome.citations).into_iter().all(|verified| verified));
    }

    #[test]
    fn nor_does_the_embedded_answerer(max_cycles in 1_u32..=8, question in "([A-Za-z]{2,9} ){1,9}") {
        let mut host = with_corpus(ScriptedHost::new(Abilities::PASSAGES)).with_model(extractive);
        run(&mut host, request(&question, max_cycles)).unwrap();
        let searches = host.batches.iter().filter(|batch| batch[0].name == "corpus_search").count();
        prop_assert!(searches <= searching_cycles(max_cycles) as usize);
    }
}

#[test]
fn what_every_cycle_found_has_its_place_in_the_answers_context() {
    let long = |at: &str| format!("The truth about {at} is simple. {}", format!("More on {at}. ").repeat(2_000));
    let mut host = ScriptedHost::new(all())
        .with_tool("corpus_search", |arguments| {
            let query = arguments["query"].as_str().unwrap_or_default();
            let hits = serde_json::json!({"hits": [{"location": query, "title": query, "passage": ""}]});
            Ok((hits.to_string(), vec![]))
        })
        .with_tool("corpus_read", move |arguments| {
            let at = arguments["location"].as_str().unwrap_or_default();
            Ok((long(at), vec![(at.to_owned(), at.to_owned(), long(at))]))
        })
        .with_model(tireless);
    host.info.context_tokens = 8_000;
    run(&mut host, request("What is the truth about fruit?", 6)).unwrap();
    let written = host.asked.last().unwrap();
    let shown: usize = written.passages.iter().map(|passage| passage.text.len()).sum();
    assert!(shown <= room::of(8_000), "{shown} bytes");
    for source in &host.sources {
        let has = |notes: bool| {
            let of =
                |p: &&vivarium_sdk::mode::Passage| p.source_id == source.id && p.title.starts_with("Notes") == notes;
            written.passages.iter().any(|passage| of(&passage))
        };
        assert!(
            has(true) && has(false),
            "{} has no place: {:?} {:?}",
            source.id,
            host.steps,
            written.passages.iter().map(|p| (p.source_id.clone(), p.title.clone(), p.text.len())).collect::<Vec<_>>()
        );
    }
}
