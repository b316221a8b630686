//! Research with a language model: it splits the question, takes notes whose quotes the host checks at once, names what is missing,
//! and writes the answer from the notes and the passages. The parts of the question are worked on beside each other: their searches go
//! out in one go, and so do their questions to the model.

use std::collections::BTreeSet;

use vivarium_reasoning::context::{Context, Fitting};
use vivarium_reasoning::retrieval::{Place, Reading, Retrieval, Wanted};
use vivarium_reasoning::{citing, room};
use vivarium_sdk::excerpt::excerpt;
use vivarium_sdk::mode::{
    Abilities, Citation, GenerateRequest, Host, Message, ModeError, ModelError, ModelInfo, Outcome, Passage, Request,
    Source, ToolDefinition, generate_all_json, generate_by_schema, generate_json,
};

use crate::closing::{closing, nothing_found};
use crate::compare::{self, Conflict};
use crate::notes::{self, Note, Notes};
use crate::parts::{self, Part, Plan, State};
use crate::{plain, prompts, searching_cycles};

/// What one document may take of the model's context.
const MAX_SOURCE_BYTES: usize = 10 * 1024;
/// A piece of a document that is shorter is not worth its title.
const MIN_PASSAGE_BYTES: usize = 200;
/// A quote of one source is enough, a second one helps, many are noise.
const MAX_QUOTES_PER_SOURCE: usize = 4;

/// A document that was read.
struct Read {
    reading: Reading,
    /// The cycle that has read it.
    cycle: u32,
}

/// One research, while it goes on.
struct Study<'a> {
    info: &'a ModelInfo,
    question: String,
    instructions: Option<String>,
    history: Vec<Message>,
    max_cycles: u32,
    retrieval: Retrieval,
    parts: Vec<Part>,
    readings: Vec<Read>,
    notes: Vec<Note>,
}

pub(crate) fn answer(
    host: &mut impl Host,
    info: &ModelInfo,
    tools: &[ToolDefinition],
    request: Request,
) -> Result<Outcome, ModeError> {
    let mut context = Context::new(info);
    let mut study = Study {
        info,
        question: request.input,
        instructions: request.instructions,
        history: context.history(host, request.history),
        max_cycles: request.max_cycles,
        retrieval: Retrieval::new(tools),
        parts: Vec::new(),
        readings: Vec::new(),
        notes: Vec::new(),
    };
    let host = &mut Fitting { host, context: &mut context };
    let mut outcome = if study.retrieval.is_possible() {
        study.gather(host)?;
        match study.readings.is_empty() {
            true => plain(nothing_found(&study.retrieval)),
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
    fn gather(&mut self, host: &mut impl Host) -> Result<(), ModeError> {
        let plan = self.plan(host)?;
        self.parts = parts::begin(&self.question, plan);
        if self.parts.len() > 1 {
            for (number, part) in (1..).zip(&self.parts) {
                host.step(&format!("Question {number}: {}", part.question));
            }
        }
        let cycles = searching_cycles(self.max_cycles);
        for cycle in 1..=cycles {
            let open: Vec<usize> =
                self.parts.iter().enumerate().filter(|(_, part)| part.is_open()).map(|(at, _)| at).collect();
            if open.is_empty() {
                break;
            }
            let new = self.search_and_read(host, &open, cycle);
            if self.max_cycles > 1 {
                self.learn(host, &open, new, cycle, cycle == cycles);
            }
        }
        for part in self.parts.iter_mut().filter(|part| part.is_open()) {
            part.state = if part.notes > 0 || self.max_cycles == 1 { State::Answered } else { State::NotFound };
        }
        Ok(())
    }

    /// How the model splits the question.
    fn plan(&self, host: &mut impl Host) -> Result<Vec<parts::PlannedPart>, ModeError> {
        host.step("Planning the research");
        let by_schema = self.info.abilities.contains(Abilities::JSON_SCHEMA);
        let mut messages = vec![Message::system(if by_schema { prompts::PLAN } else { prompts::PLAN_LINES })];
        messages.extend(self.history.iter().cloned());
        messages.push(Message::user(self.question.clone()));
        let request = GenerateRequest::hidden(messages);
        if by_schema {
            let plan = generate_json::<Plan>(host, self.info.abilities, request);
            return Ok(plan.map(|plan| plan.questions).unwrap_or_default());
        }
        let queries = lines(&host.generate(&request)?.text);
        Ok(vec![parts::PlannedPart { question: self.question.clone(), queries }])
    }

    /// Searches and reads for the open parts, all in one go. Gives what each has read.
    fn search_and_read(&mut self, host: &mut impl Host, open: &[usize], cycle: u32) -> Vec<Vec<Reading>> {
        let (queries_each, readings_each) = (parts::queries_each(open.len()), parts::readings_each(open.len()));
        let mut queries = Vec::with_capacity(open.len());
        for at in open {
            queries.extend(self.parts.get_mut(*at).map(|part| part.take_queries(queries_each)));
        }
        let found = self.retrieval.search_each(host, &queries);
        let mut wanted: Vec<Wanted> = Vec::with_capacity(open.len());
        for (at, found) in open.iter().zip(found) {
            let mut one = self.parts.get_mut(*at).map(|part| std::mem::take(&mut part.wanted)).unwrap_or_default();
            one.add(found);
            one.count = readings_each;
            wanted.push(one);
        }
        let readings = self.retrieval.read_each(host, &mut wanted);
        for (at, wanted) in open.iter().zip(wanted) {
            if let Some(part) = self.parts.get_mut(*at) {
                part.wanted = wanted;
            }
        }
        for reading in readings.iter().flatten() {
            self.readings.push(Read { reading: reading.clone(), cycle });
        }
        readings
    }

    /// Lets the model take notes on what each part has read, or plan anew where that was nothing: all questions at once. A note whose
    /// quote does not stand in its source is thrown away. Without notes the answer rests on the passages alone.
    fn learn(&mut self, host: &mut impl Host, open: &[usize], new: Vec<Vec<Reading>>, cycle: u32, is_last: bool) {
        let count: usize = new.iter().map(Vec::len).sum();
        if count > 0 {
            host.step(&format!("Taking notes on {count} {}", if count == 1 { "document" } else { "documents" }));
        }
        let (mut asked, mut requests) = (Vec::new(), Vec::new());
        for (at, readings) in open.iter().zip(&new) {
            let Some(part) = self.parts.get_mut(*at) else { continue };
            let question = prompts::part_of(&self.question, &part.question);
            if !readings.is_empty() {
                let messages = vec![Message::system(prompts::NOTES), Message::user(question)];
                // All questions of a cycle share one room: none takes what another one, or the next cycle, needs.
                let room = room::of(self.info.context_tokens) / open.len();
                let mut shown = notes::on_part(&self.notes, *at, room / 4);
                let noted: usize = shown.iter().map(|passage| passage.text.len()).sum();
                shown.extend(passages(readings.iter(), &part.question, room.saturating_sub(noted)));
                asked.push(*at);
                requests.push(GenerateRequest::hidden(messages).with_passages(shown));
            } else if !is_last && !part.replanned && part.notes == 0 {
                part.replanned = true;
                let tried = prompts::tried(&part.tried);
                let messages = vec![Message::system(prompts::REPLAN), Message::user(question), Message::user(tried)];
                asked.push(*at);
                requests.push(GenerateRequest::hidden(messages));
            }
        }
        let answers = generate_all_json::<Notes>(host, self.info.abilities, requests);
        let (mut lists, mut ends) = (Vec::new(), Vec::new());
        for (at, answer) in asked.into_iter().zip(answers) {
            match answer {
                Ok(Notes { notes, answered, gaps }) => {
                    lists.push((at, notes));
                    ends.push((at, answered, gaps));
                }
                Err(error) => {
                    host.step(&format!("Could not take notes: {error}"));
                    if let Some(part) = self.parts.get_mut(at) {
                        part.state = State::GivenUp;
                    }
                }
            }
        }
        for ((at, answered, gaps), notes) in ends.into_iter().zip(notes::verified(host, lists, cycle)) {
            if let Some(part) = self.parts.get_mut(at) {
                part.notes += notes.len();
                part.search_for(gaps);
                part.settle(answered);
            }
            for note in notes {
                if !self.notes.iter().any(|known| known.citation == note.citation) {
                    self.notes.push(note);
                }
            }
        }
        self.tell_states(host, open);
    }

    /// Shows which of the parts that were open are so no more.
    fn tell_states(&mut self, host: &mut impl Host, were_open: &[usize]) {
        if self.parts.len() < 2 {
            return;
        }
        for part in were_open.iter().filter_map(|at| self.parts.get(*at)) {
            match part.state {
                State::Answered => host.step(&format!("Answered: {}", part.question)),
                State::NotFound => host.step(&format!("Not found: {}", part.question)),
                State::Open | State::GivenUp => {}
            }
        }
    }

    fn write(&self, host: &mut impl Host) -> Result<Outcome, ModeError> {
        let room = room::of(self.info.context_tokens);
        let notes = self.note_passages(room / 2);
        let conflicts = compare::conflicts(host, self.info.abilities, &self.question, &self.notes, notes.clone());
        host.step("Writing the answer");
        let noted: usize = notes.iter().map(|passage| passage.text.len()).sum();
        let passages = notes.into_iter().chain(self.reading_passages(room.saturating_sub(noted))).collect();
        let disagree = prompts::disagree(conflicts.iter().map(|conflict| conflict.numbers));
        let messages = self.conversation(&format!("{}{disagree}", prompts::ANSWER));
        let mut answer = match host.generate(&GenerateRequest::answer(messages).with_passages(passages)) {
            Ok(response) if response.text.trim().is_empty() => {
                return Err(ModeError::Model("the model gave an empty answer".to_owned()));
            }
            Ok(response) => response.text,
            // What was found is worth more than an error.
            Err(ModelError::BudgetExhausted(_)) if !self.notes.is_empty() => self.notes_as_answer(),
            Err(error) => return Err(error.into()),
        };
        let untold: Vec<&Conflict> = conflicts.iter().filter(|conflict| !conflict.is_told(&answer)).collect();
        for conflict in untold {
            answer.push_str(&format!("\n\n{}", conflict.sentence()));
        }
        let citations = self.citations(host, &answer, &conflicts);
        let left_open = self.parts.iter().filter(|part| part.state == State::NotFound && self.parts.len() > 1);
        let left_open: Vec<&str> = left_open.map(|part| part.question.as_str()).collect();
        answer.push_str(&closing(self.sources(), &citations, &left_open, &self.retrieval));
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
    fn citations(&self, host: &mut impl Host, answer: &str, conflicts: &[Conflict]) -> Vec<Citation> {
        let mut citations: Vec<Citation> = Vec::new();
        let told = conflicts.iter().flat_map(|conflict| [&conflict.quotes.first, &conflict.quotes.second]);
        let mut unnoted = BTreeSet::new();
        for id in citing::cited_ids(answer) {
            let noted = self.notes.iter().map(|note| &note.citation).filter(|citation| citation.source_id == id);
            let of_source: Vec<Citation> = noted.take(MAX_QUOTES_PER_SOURCE).cloned().collect();
            if of_source.is_empty() {
                unnoted.insert(id);
            }
            citations.extend(of_source);
        }
        for citation in told {
            if !citations.contains(citation) {
                citations.push(citation.clone());
            }
        }
        if !unnoted.is_empty() {
            let behind = citing::quotes_behind(host, answer);
            citations.extend(behind.into_iter().filter(|citation| unnoted.contains(&citation.source_id)));
        }
        citations
    }

    /// The notes of each source, within `room`, of which each cycle has its share.
    fn note_passages(&self, room: usize) -> Vec<Passage> {
        let mut wanted = vec![0; searching_cycles(self.max_cycles) as usize];
        for (number, note) in (1..).zip(&self.notes) {
            if let Some(wanted) = wanted.get_mut(note.cycle.saturating_sub(1) as usize) {
                *wanted += note.line(number).len();
            }
        }
        notes::passages(&self.notes, |id| self.title(id).to_owned(), &room::shares(&wanted, room))
    }

    /// What was read, those with notes first, within `room`, of which each cycle has its share.
    fn reading_passages(&self, room: usize) -> Vec<Passage> {
        let of_cycle = |cycle: u32| -> Vec<&Reading> {
            let mut seen = BTreeSet::new();
            let of_cycle = self.readings.iter().filter(|read| read.cycle == cycle).map(|read| &read.reading);
            let mut readings: Vec<&Reading> = of_cycle.filter(|reading| seen.insert(&reading.source.id)).collect();
            let is_noted =
                |reading: &&Reading| self.notes.iter().any(|note| note.citation.source_id == reading.source.id);
            readings.sort_by_key(|reading| !is_noted(reading));
            readings
        };
        let cycles: Vec<Vec<&Reading>> = (1..=searching_cycles(self.max_cycles)).map(of_cycle).collect();
        let size = |readings: &Vec<&Reading>| {
            let sizes = readings.iter().map(|reading| words_of(reading, &self.question, MAX_SOURCE_BYTES).len());
            sizes.sum::<usize>()
        };
        let wanted: Vec<usize> = cycles.iter().map(size).collect();
        let shares = room::shares(&wanted, room);
        let shared = cycles.iter().zip(shares);
        shared.flat_map(|(readings, share)| passages(readings.iter().copied(), &self.question, share)).collect()
    }

    fn sources(&self) -> impl Iterator<Item = &Source> {
        self.readings.iter().map(|read| &read.reading.source)
    }

    fn title(&self, id: &str) -> &str {
        self.sources().find(|source| source.id == id).map(|source| source.title.as_str()).unwrap_or_default()
    }

    /// The notes, for the case that the budget does not reach for the answer.
    fn notes_as_answer(&self) -> String {
        let notes = self.notes.iter().map(|note| format!("- {} [{}]\n", note.claim, note.citation.source_id));
        let notes: String = notes.collect();
        format!("The budget of this run is spent before the answer was written. This is what was found:\n\n{notes}")
    }
}

/// What the readings say on the question, each within its bound and all within `room`, of which each has its share.
fn passages<'r>(readings: impl Iterator<Item = &'r Reading>, question: &str, room: usize) -> Vec<Passage> {
    let readings: Vec<&Reading> = readings.take(room / MIN_PASSAGE_BYTES).collect();
    let wanted: Vec<usize> =
        readings.iter().map(|reading| words_of(reading, question, MAX_SOURCE_BYTES).len()).collect();
    let passage = |(reading, share): (&Reading, usize)| Passage {
        source_id: reading.source.id.clone(),
        title: reading.source.title.clone(),
        text: words_of(reading, question, share),
    };
    readings.into_iter().zip(room::shares(&wanted, room)).map(passage).collect()
}

/// What a reading says on the question: the passages that the search has found, and the document around them.
fn words_of(reading: &Reading, question: &str, room: usize) -> String {
    let content = excerpt(&reading.content, Some(question), MAX_SOURCE_BYTES);
    let shown = reading.candidate.passages.iter().map(|shown| shown.text.as_str());
    let shown = shown.filter(|text| !content.contains(text));
    let found: Vec<&str> = match reading.candidate.place {
        Place::Corpus => shown.collect(),
        // A snippet of a search engine is not the page's own words.
        Place::Web => Vec::new(),
    };
    let text = found.into_iter().chain([content.as_str()]).collect::<Vec<_>>().join("\n\n");
    excerpt(&text, Some(question), room)
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
