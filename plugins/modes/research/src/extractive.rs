//! Research with the embedded answerer: it plans from the question's own phrases, closes the gaps with the names that its passages lead to
//! and with the question's words that none has spoken of yet, and answers with the sentences of the documents.

use std::collections::BTreeSet;

use vivarium_reasoning::disagreement;
use vivarium_reasoning::grounded;
use vivarium_reasoning::retrieval::{Reading, Retrieval, Wanted};
use vivarium_sdk::excerpt::content_words;
use vivarium_sdk::mode::{Host, ModeError, ModelInfo, Outcome, Passage, Request, ToolDefinition};

use crate::bridges::{Bridge, bridges, is_spoken_of};
use crate::closing::{closing, nothing_found};
use crate::{plain, searching_cycles};

/// The answerer reads fast, and only passages that were read can be quoted.
const READINGS_PER_CYCLE: usize = 6;
/// How many queries are searched for in a cycle.
const QUERIES_PER_CYCLE: usize = 5;
/// How many names a cycle follows.
const BRIDGES_PER_CYCLE: usize = 3;
/// A phrase with fewer words that carry meaning is no query of its own.
const MIN_PHRASE_WORDS: usize = 2;

pub(crate) fn answer(
    host: &mut impl Host,
    info: &ModelInfo,
    tools: &[ToolDefinition],
    request: &Request,
) -> Result<Outcome, ModeError> {
    let mut retrieval = Retrieval::new(tools);
    if !retrieval.is_possible() {
        let reason = "This agent has no documents and no search to use.";
        return Ok(plain(format!("{reason}\n\n{}", grounded::nature(info))));
    }
    let Some(question) = grounded::subject(&request.history, &request.input) else {
        return Ok(plain(format!("{}\n\n{}", nothing_found(&retrieval), grounded::nature(info))));
    };
    let mut wanted = [Wanted::new(&question, READINGS_PER_CYCLE)];
    let mut queries = phrases(&question);
    let mut readings: Vec<Reading> = Vec::new();
    let mut followed: Vec<Bridge> = Vec::new();
    for _ in 0..searching_cycles(request.max_cycles) {
        queries.truncate(QUERIES_PER_CYCLE);
        let found = retrieval.search(host, &queries);
        let [part] = &mut wanted;
        part.add(found);
        let new = retrieval.read_each(host, &mut wanted).pop().unwrap_or_default();
        let came = !new.is_empty();
        readings.extend(new);
        let passages = passages(&readings);
        let names: Vec<String> = followed.iter().map(|bridge| bridge.name.clone()).collect();
        let on = bridges(&question, &names, &passages, BRIDGES_PER_CYCLE);
        queries = on.iter().map(|bridge| bridge.query.clone()).chain(gaps(&question, &passages)).collect();
        followed.extend(on);
        // What was found and not read yet may speak of what nothing has spoken of so far.
        if !came || (queries.is_empty() && is_spoken_of(&question, &passages)) {
            break;
        }
    }
    let mut passages = passages(&readings);
    if passages.is_empty() {
        return Ok(plain(format!("{}\n\n{}", nothing_found(&retrieval), grounded::nature(info))));
    }
    host.step("Writing the answer");
    // The names that have led to an answer are part of what is asked by now, and what speaks of them comes first.
    let led = followed.iter().filter(|bridge| bridge.leads_to(&passages));
    let names: Vec<String> = led.map(|bridge| bridge.name.clone()).collect();
    passages.sort_by_key(|passage| !names.iter().any(|name| passage.text.contains(name)));
    let asked = std::iter::once(&question).chain(&names).map(String::as_str).collect::<Vec<_>>().join(" ");
    let mut outcome = grounded::extract(host, &asked, passages.clone())?;
    if outcome.citations.is_empty() {
        outcome.answer = format!("{}\n\n{}", outcome.answer, nothing_found(&retrieval));
        return Ok(outcome);
    }
    for against in disagreement::with_others(&outcome.citations, &passages) {
        outcome.answer.push_str(&format!("\n\n{}", disagreement::sentence(None, &against)));
        if !outcome.citations.contains(&against.second) {
            outcome.citations.push(against.second);
        }
    }
    let sources = readings.iter().map(|reading| &reading.source);
    outcome.answer.push_str(&closing(sources, &outcome.citations, &[], &retrieval));
    Ok(outcome)
}

fn passages(readings: &[Reading]) -> Vec<Passage> {
    let mut passages: Vec<Passage> = Vec::new();
    for passage in readings.iter().flat_map(Reading::passages) {
        if !passages.iter().any(|known| known.source_id == passage.source_id && known.text == passage.text) {
            passages.push(passage);
        }
    }
    passages
}
/// The question, and the parts of it that can be searched for alone.
fn phrases(question: &str) -> Vec<String> {
    let mut queries = vec![question.trim().to_owned()];
    // A full stop or a comma only ends a part before a space: `std.fs` and `1,000` stay whole.
    let ends = ["? ", ". ", "; ", ", ", ": ", "\n", " and ", " or "];
    let mut parts = vec![question.trim().trim_end_matches(['?', '.', '!'])];
    for end in ends {
        parts = parts.into_iter().flat_map(|part| part.split(end)).collect();
    }
    for part in parts.into_iter().map(str::trim).filter(|part| content_words(part).len() >= MIN_PHRASE_WORDS) {
        if !queries.iter().any(|known| known.trim_end_matches(['?', '.', '!']) == part) {
            queries.push(part.to_owned());
        }
    }
    queries
}

/// A query for each word of the question that no passage has spoken of, with the words beside it in the question: alone it may mean
/// anything.
fn gaps(question: &str, passages: &[Passage]) -> Vec<String> {
    let spoken: String = passages.iter().map(|passage| passage.text.to_lowercase() + "\n").collect();
    let words = content_words(question);
    let mut seen = BTreeSet::new();
    let mut missing = Vec::new();
    for (at, word) in words.iter().enumerate().filter(|(_, word)| word.len() > 2 && !spoken.contains(stem(word))) {
        let beside = words.iter().skip(at.saturating_sub(1)).take(if at == 0 { 2 } else { 3 });
        if seen.insert(word) {
            missing.push(beside.cloned().collect::<Vec<_>>().join(" "));
        }
    }
    missing
}

/// The word without what English appends to it, roughly: enough to see that a text speaks of it.
fn stem(word: &str) -> &str {
    ["ing", "ed", "es", "s"]
        .iter()
        .find_map(|ending| word.strip_suffix(ending).filter(|stem| stem.chars().count() > 3))
        .unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_searched_for_whole_and_in_its_parts() {
        assert_eq!(
            phrases("How does Rust drop values and what is a borrow checker?"),
            [
                "How does Rust drop values and what is a borrow checker?",
                "How does Rust drop values",
                "what is a borrow checker"
            ]
        );
        assert_eq!(phrases("What is ownership in std.fs?"), ["What is ownership in std.fs?"]);
    }

    #[test]
    fn the_words_that_no_passage_speaks_of_are_the_gaps() {
        let passage = |text: &str| Passage { source_id: "s1".into(), title: String::new(), text: text.into() };
        assert_eq!(
            gaps("How are closures borrowed in threads?", &[passage("A closure can borrow.")]),
            ["borrowed threads"]
        );
        assert!(gaps("Closures?", &[passage("closures")]).is_empty());
    }
}
