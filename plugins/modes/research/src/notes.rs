//! Notes: facts in the model's words, each with a quote that the host has found in its source.

use schemars::JsonSchema;
use serde::Deserialize;
use vivarium_reasoning::citing;
use vivarium_sdk::excerpt::beginning;
use vivarium_sdk::mode::{Citation, Host, Passage};

/// The title of what was noted before.
const NOTED: &str = "Notes so far";

/// What a model has noted of the passages.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Notes {
    /// The facts that help to answer.
    pub(crate) notes: Vec<NewNote>,
    /// Whether the notes so far, these included, answer the question.
    #[serde(default)]
    pub(crate) answered: bool,
    /// Search queries for what is missing.
    #[serde(default)]
    pub(crate) gaps: Vec<String>,
}

/// One fact, as a model writes it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub(crate) struct NewNote {
    /// The source's id, such as s1.
    source_id: String,
    /// The fact in your own words.
    claim: String,
    /// The words of the source that say so, copied exactly.
    quote: String,
}

/// One fact, whose quote stands in its source.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Note {
    pub(crate) claim: String,
    pub(crate) citation: Citation,
    /// The cycle that found it.
    pub(crate) cycle: u32,
    /// The part of the question that it was taken for.
    part: usize,
}

impl Note {
    /// As the model sees it again.
    pub(crate) fn line(&self, number: usize) -> String {
        format!("Note {number}: {} — “{}”\n", self.claim, self.citation.quote)
    }
}

/// Those of the notes on each part whose quotes the host has found. All are checked in one go.
pub(crate) fn verified(host: &mut impl Host, lists: Vec<(usize, Vec<NewNote>)>, cycle: u32) -> Vec<Vec<Note>> {
    let citation = |note: &NewNote| Citation { source_id: note.source_id.clone(), quote: note.quote.clone() };
    let citations = lists.iter().flat_map(|(_, notes)| notes).map(citation).collect();
    let mut checked = citing::checked(host, citations).into_iter();
    let mut keep = |part: usize, note: NewNote| {
        let citation = checked.next().flatten()?;
        Some(Note { claim: note.claim, citation, cycle, part })
    };
    let mut of_part =
        |(part, notes): (usize, Vec<NewNote>)| notes.into_iter().filter_map(|note| keep(part, note)).collect();
    lists.into_iter().map(&mut of_part).collect()
}

/// What was noted on a part so far, the newest that fit into `room`.
pub(crate) fn on_part(notes: &[Note], part: usize, room: usize) -> Vec<Passage> {
    let of_part: Vec<(usize, &Note)> = (1..).zip(notes).filter(|(_, note)| note.part == part).collect();
    let mut left = room;
    let fits = |(number, note): &&(usize, &Note)| {
        let size = note.line(*number).len();
        let fits = size <= left;
        left = left.saturating_sub(size);
        fits
    };
    let newest = of_part.iter().rev().take_while(fits).count();
    let passage = |(number, note): &(usize, &Note)| Passage {
        source_id: note.citation.source_id.clone(),
        title: NOTED.to_owned(),
        text: note.line(*number),
    };
    of_part.iter().skip(of_part.len() - newest).map(passage).collect()
}

/// The notes as passages, one for each source, numbered over all; of each cycle's notes as many as fit its share of the room.
pub(crate) fn passages(notes: &[Note], title: impl Fn(&str) -> String, shares: &[usize]) -> Vec<Passage> {
    let mut left = shares.to_vec();
    let mut passages: Vec<Passage> = Vec::new();
    for (number, note) in (1..).zip(notes) {
        let line = note.line(number);
        let Some(left) = left.get_mut(note.cycle.saturating_sub(1) as usize).filter(|left| **left >= line.len()) else {
            continue;
        };
        *left -= line.len();
        let id = &note.citation.source_id;
        match passages.iter_mut().find(|passage| passage.source_id == *id) {
            Some(passage) => passage.text.push_str(&line),
            None => passages.push(Passage {
                source_id: id.clone(),
                title: beginning(&format!("Notes on {}", title(id)), 300).to_owned(),
                text: line,
            }),
        }
    }
    passages
}
