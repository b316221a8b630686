//! Whether the sources say the same: the model looks through the notes for pairs that can not both be right. Each has a quote that
//! stands in its source, so a disagreement is shown with both.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Deserialize;
use vivarium_reasoning::citing;
use vivarium_reasoning::disagreement::{self, Disagreement};
use vivarium_sdk::excerpt::{beginning, content_words};
use vivarium_sdk::mode::{Abilities, GenerateRequest, Host, Message, Passage, generate_json};

use crate::notes::Note;
use crate::prompts;

/// More are noise.
const MAX_DISAGREEMENTS: usize = 5;
/// Notes that share fewer words speak of different things.
const MIN_SHARED_WORDS: usize = 2;
/// What it is about, at most.
const MAX_ABOUT_BYTES: usize = 120;

/// What a model has found.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Compared {
    /// The pairs of notes that can not both be right; none where there is none.
    disagreements: Vec<Pair>,
}

/// Two notes that disagree.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Pair {
    /// What they disagree on, in a few words.
    about: String,
    /// The number of one note.
    first: usize,
    /// The number of the other one.
    second: usize,
}

/// A disagreement between two numbered notes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Conflict {
    pub(crate) about: String,
    pub(crate) numbers: (usize, usize),
    pub(crate) quotes: Disagreement,
}

impl Conflict {
    /// As the answer says it.
    pub(crate) fn sentence(&self) -> String {
        let about = Some(self.about.as_str()).filter(|about| !about.is_empty());
        disagreement::sentence(about, &self.quotes)
    }

    /// Whether the answer says it already.
    pub(crate) fn is_told(&self, answer: &str) -> bool {
        let Disagreement { first, second } = &self.quotes;
        let says =
            |text: &str| ["disagree", "contradict", "conflict"].iter().any(|word| text.to_lowercase().contains(word));
        let paragraphs = answer.split("\n\n").filter(|paragraph| says(paragraph));
        paragraphs.map(citing::cited_ids).any(|ids| ids.contains(&first.source_id) && ids.contains(&second.source_id))
    }
}

/// Asks for the pairs of notes that disagree, if there are notes of several sources on one point.
pub(crate) fn conflicts(
    host: &mut impl Host,
    abilities: Abilities,
    question: &str,
    notes: &[Note],
    passages: Vec<Passage>,
) -> Vec<Conflict> {
    if !may_disagree(notes) {
        return Vec::new();
    }
    host.step("Comparing what the sources say");
    let messages = vec![Message::system(prompts::COMPARE), Message::user(question)];
    let request = GenerateRequest::hidden(messages).with_passages(passages);
    let compared = match generate_json::<Compared>(host, abilities, request) {
        Ok(compared) => compared.disagreements,
        Err(error) => {
            host.step(&format!("Could not compare the sources: {error}"));
            return Vec::new();
        }
    };
    let mut found: Vec<Conflict> = Vec::new();
    for Pair { about, first, second } in compared {
        let note = |number: usize| number.checked_sub(1).and_then(|at| notes.get(at));
        let (Some(one), Some(other)) = (note(first), note(second)) else { continue };
        let numbers = (first.min(second), first.max(second));
        let known = found.iter().any(|conflict| conflict.numbers == numbers);
        if one.citation.source_id == other.citation.source_id || known || found.len() >= MAX_DISAGREEMENTS {
            continue;
        }
        let quotes = Disagreement { first: one.citation.clone(), second: other.citation.clone() };
        let about = beginning(&citing::plain(&about), MAX_ABOUT_BYTES).to_owned();
        let on = if about.is_empty() { String::new() } else { format!(" on {about}") };
        host.step(&format!("Sources disagree{on}: {} and {}", one.citation.source_id, other.citation.source_id));
        found.push(Conflict { about, numbers, quotes });
    }
    found
}

/// Two notes of different sources speak of one point.
fn may_disagree(notes: &[Note]) -> bool {
    let words: Vec<(&str, BTreeSet<String>)> = notes
        .iter()
        .map(|note| (note.citation.source_id.as_str(), content_words(&note.citation.quote).into_iter().collect()))
        .collect();
    let shares = |(id, one): &(&str, BTreeSet<String>), (other_id, other): &(&str, BTreeSet<String>)| {
        id != other_id && one.intersection(other).count() >= MIN_SHARED_WORDS
    };
    words.iter().enumerate().any(|(at, one)| words.iter().skip(at + 1).any(|other| shares(one, other)))
}
