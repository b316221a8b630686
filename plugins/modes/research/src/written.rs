//! Research with a language model: it plans the queries, takes notes whose quotes the host checks at once, names the gaps,
//! and writes the answer from the notes and the passages.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Deserialize;
use vivarium_reasoning::retrieval::{Place, Reading, Retrieval};
use vivarium_reasoning::{citing, conversation};
use vivarium_sdk::excerpt::excerpt;
use vivarium_sdk::mode::{
    Abilities, Citation, GenerateRequest, Host, Message, ModeError, ModelError, ModelInfo, Outcome, Passage, Request,
    ToolDefinition, generate_by_schema, generate_json,
};

use crate::{Library, plain, prompts};

/// How many documents are read in a cycle: enough for a few views, few enough for the model to read.
const READINGS_PER_CYCLE: usize = 4;
/// What one document may take of the model's context.
const MAX_SOURCE_BYTES: usize = 10 * 1024;
/// What all documents together may take of it, however large it is.
const MAX_PASSAGES_BYTES: usize = 96 * 1024;
/// A quote of one source is enough, a second one helps, many are noise.
const MAX_QUOTES_PER_SOURCE: usize = 4;

/// The queries that a question needs.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Plan {
    /// Search queries, a few keywords each.
    queries: Vec<String>,
}

/// What a model has noted of the passages.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Notes {
    /// The facts that help to answer.
    notes: Vec<Note>,
    /// Search queries for what is missing.
    gaps: Vec<String>,
}

/// One fact.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
struct Note {
    /// The source's id, such as s1.
    source_id: String,
    /// The fact in your own words.
    claim: String,
    /// The words of the source that say so, copied exactly.
    quote: String,
}

/// One research, while it goes on.
struct Study<'a> {
    info: &'a ModelInfo,
    question: String,
    instructions: Option<String>,
    history: Vec<Message>,
    library: Library,
    notes: Vec<Note>,
}

pub(crate) fn answer(
    host: &mut impl Host,
    info: &ModelInfo,
    tools: &[ToolDefinition],
    request: Request,
) -> Result<Outcome, ModeError> {
    let mut study = Study {
        info,
        question: request.input,
        instructions: request.instructions,
        history: conversation::fitting(request.history, info.context_tokens / 2),
        library: Library::new(Retrieval::new(tools)),
        notes: Vec::new(),
    };
    let mut outcome = if study.library.retrieval.is_possible() {
        study.gather(host, request.max_cycles)?;
        match study.library.readings.is_empty() {
            true => plain(study.library.nothing_found()),
            false => study.write(host)?,
        }
    } else {
        study.write_unsourced(host)?
    };
    if let Some(schema) = request.output_schema {
        outcome.answer_json = Some(study.structure(host, &outcome.answer, schema)?);
    }
    Ok(outcome)
}

impl Study<'_> {
    /// All cycles but the last, or the search of the only one.
    fn gather(&mut self, host: &mut impl Host, max_cycles: u32) -> Result<(), ModeError> {
        let question = self.question.clone();
        let mut queries = self.plan(host, &[])?;
        for cycle in 1..=max_cycles.saturating_sub(1).max(1) {
            let new = self.library.gather(host, &queries, &question, READINGS_PER_CYCLE);
            if max_cycles == 1 {
                return Ok(());
            }
            if self.library.readings.is_empty() && cycle + 1 < max_cycles {
                queries = self.plan(host, &queries)?;
                continue;
            }
            if new == 0 {
                return Ok(());
            }
            queries = self.take_notes(host, new);
            if queries.is_empty() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The queries to search for; others than those that were `tried` in vain.
    fn plan(&self, host: &mut impl Host, tried: &[String]) -> Result<Vec<String>, ModeError> {
        host.step("Planning the research");
        let mut messages = vec![Message::system(prompts::PLAN)];
        messages.extend(self.history.iter().cloned());
        messages.push(Message::user(self.question.clone()));
        if !tried.is_empty() {
            messages.push(Message::user(prompts::replan(&tried.join("\n"))));
        }
        let planned = if self.info.abilities.contains(Abilities::JSON_SCHEMA) {
            let plan = generate_json::<Plan>(host, self.info.abilities, GenerateRequest::hidden(messages));
            plan.map(|plan| plan.queries).unwrap_or_default()
        } else {
            messages.insert(1, Message::system(prompts::PLAN_LINES));
            lines(&host.generate(&GenerateRequest::hidden(messages))?.text)
        };
        let mut queries: Vec<String> =
            planned.into_iter().map(|query| query.trim().to_owned()).filter(|query| !query.is_empty()).collect();
        if queries.is_empty() {
            // A model that can not plan still has a question to search for.
            queries.push(self.question.clone());
        }
        Ok(queries)
    }

    /// Notes on the `new` documents, read last; gives the queries for what is missing. A note whose quote does not stand in its
    /// source is thrown away. Without notes the answer rests on the passages alone.
    fn take_notes(&mut self, host: &mut impl Host, new: usize) -> Vec<String> {
        host.step(&format!("Taking notes on {new} {}", if new == 1 { "document" } else { "documents" }));
        let readings = self.library.readings.iter().rev().take(new).rev();
        let messages = vec![Message::system(prompts::NOTES), Message::user(self.question.clone())];
        let request = GenerateRequest::hidden(messages).with_passages(self.passages(readings));
        let taken = match generate_json::<Notes>(host, self.info.abilities, request) {
            Ok(taken) => taken,
            Err(error) => {
                host.step(&format!("Could not take notes: {error}"));
                return Vec::new();
            }
        };
        let citations = taken.notes.iter().map(Note::citation).collect();
        for (mut note, citation) in taken.notes.into_iter().zip(citing::checked(host, citations)) {
            if let Some(citation) = citation {
                note.quote = citation.quote;
                self.notes.push(note);
            }
        }
        taken.gaps
    }

    fn write(&self, host: &mut impl Host) -> Result<Outcome, ModeError> {
        host.step("Writing the answer");
        let mut passages = self.note_passages();
        passages.extend(self.passages(self.library.readings.iter()));
        let request = GenerateRequest::answer(self.conversation(prompts::ANSWER)).with_passages(passages);
        let text = match host.generate(&request) {
            Ok(response) if response.text.trim().is_empty() => {
                return Err(ModeError::Model("the model gave an empty answer".to_owned()));
            }
            Ok(response) => response.text,
            // What was found is worth more than an error.
            Err(ModelError::BudgetExhausted(_)) if !self.notes.is_empty() => self.notes_as_answer(),
            Err(error) => return Err(error.into()),
        };
        let known: BTreeSet<String> = self.library.readings.iter().map(|reading| reading.source.id.clone()).collect();
        let answer = citing::with_known_marks(&text, &known);
        let citations = self.citations(host, &answer);
        Ok(Outcome { answer, answer_json: None, citations })
    }

    fn write_unsourced(&self, host: &mut impl Host) -> Result<Outcome, ModeError> {
        host.step("Writing the answer");
        let response = host.generate(&GenerateRequest::answer(self.conversation(prompts::UNSOURCED)))?;
        Ok(plain(format!("{}{}", response.text, prompts::NO_SOURCE)))
    }

    fn structure(&self, host: &mut impl Host, answer: &str, schema: String) -> Result<String, ModeError> {
        let mut messages = self.conversation(prompts::UNSOURCED);
        messages.push(Message::assistant(answer));
        messages.push(Message::user(prompts::AS_JSON));
        generate_by_schema(host, self.info.abilities, GenerateRequest::hidden(messages), schema)
            .map_err(|error| ModeError::Model(error.to_string()))
    }

    fn conversation(&self, system: &str) -> Vec<Message> {
        let system = match &self.instructions {
            Some(instructions) => format!("{system}\n\n{instructions}"),
            None => system.to_owned(),
        };
        let mut messages = vec![Message::System(system)];
        messages.extend(self.history.iter().cloned());
        messages.push(Message::user(self.question.clone()));
        messages
    }

    /// What the answer rests on: the quotes of the notes on each cited source; for a source without notes, what stands behind
    /// the claims that cite it.
    fn citations(&self, host: &mut impl Host, answer: &str) -> Vec<Citation> {
        let mut citations = Vec::new();
        let mut unnoted = BTreeSet::new();
        for id in citing::cited_ids(answer) {
            let noted = self.notes.iter().filter(|note| note.source_id == id).take(MAX_QUOTES_PER_SOURCE);
            let before = citations.len();
            citations.extend(noted.map(Note::citation));
            if citations.len() == before {
                unnoted.insert(id);
            }
        }
        if !unnoted.is_empty() {
            let behind = citing::quotes_behind(host, answer);
            citations.extend(behind.into_iter().filter(|citation| unnoted.contains(&citation.source_id)));
        }
        citations
    }

    /// The notes of each source, numbered over all sources.
    fn note_passages(&self) -> Vec<Passage> {
        let mut passages: Vec<Passage> = Vec::new();
        for (number, note) in (1..).zip(&self.notes) {
            let line = format!("Note {number}: {} — “{}”\n", note.claim, note.quote);
            match passages.iter_mut().find(|passage| passage.source_id == note.source_id) {
                Some(passage) => passage.text.push_str(&line),
                None => passages.push(Passage {
                    source_id: note.source_id.clone(),
                    title: format!("Notes on {}", self.title(&note.source_id)),
                    text: line,
                }),
            }
        }
        passages
    }

    fn title(&self, id: &str) -> &str {
        let source = self.library.readings.iter().map(|reading| &reading.source).find(|source| source.id == id);
        source.map(|source| source.title.as_str()).unwrap_or_default()
    }

    /// What the readings say on the question, each within its bound and all within the model's.
    fn passages<'r>(&self, readings: impl Iterator<Item = &'r Reading>) -> Vec<Passage> {
        let mut left = match self.info.context_tokens as usize {
            0 => MAX_PASSAGES_BYTES / 2,
            // Three bytes a token, half of them for passages.
            tokens => (tokens * 3 / 2).min(MAX_PASSAGES_BYTES),
        };
        let mut passages = Vec::new();
        for reading in readings {
            let content = excerpt(&reading.content, Some(&self.question), MAX_SOURCE_BYTES);
            let shown = reading.candidate.passages.iter().map(|shown| shown.text.as_str());
            let shown = shown.filter(|text| !content.contains(text));
            let found: Vec<&str> = match reading.candidate.place {
                Place::Corpus => shown.collect(),
                // A snippet of a search engine is not the page's own words.
                Place::Web => Vec::new(),
            };
            let text = found.into_iter().chain([content.as_str()]).collect::<Vec<_>>().join("\n\n");
            let text = excerpt(&text, Some(&self.question), left.min(MAX_SOURCE_BYTES));
            left = left.saturating_sub(text.len());
            passages.push(Passage { source_id: reading.source.id.clone(), title: reading.source.title.clone(), text });
            if left < 256 {
                break;
            }
        }
        passages
    }

    /// The notes, for the case that the budget does not reach for the answer.
    fn notes_as_answer(&self) -> String {
        let notes = self.notes.iter().map(|note| format!("- {} [{}]\n", note.claim, note.source_id));
        let notes: String = notes.collect();
        format!("The budget of this run is spent before the answer was written. This is what was found:\n\n{notes}")
    }
}

impl Note {
    fn citation(&self) -> Citation {
        Citation { source_id: self.source_id.clone(), quote: self.quote.clone() }
    }
}

/// The lines of a model's list, without their bullets and numbers.
fn lines(text: &str) -> Vec<String> {
    let bare = |line: &str| {
        let line = line.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '-' | '*' | '•'));
        let number = line.trim_start_matches(|c: char| c.is_ascii_digit());
        let line = number.strip_prefix(['.', ')']).filter(|_| number.len() < line.len()).unwrap_or(line);
        line.trim().trim_matches(['"', '`']).to_owned()
    };
    text.lines().map(bare).filter(|line| !line.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_whatever_its_bullets() {
        assert_eq!(
            lines("1. rust owner\n- \"drop\"\n\n* 3d printing\n2) x"),
            ["rust owner", "drop", "3d printing", "x"]
        );
    }
}
