//! The mode `research`: plan, search and read in parallel, take notes, close gaps, answer. The last cycle always writes the
//! answer, so a spent budget still answers; a run of one cycle does all of it in that one.

mod extractive;
mod prompts;
mod written;

use std::collections::VecDeque;

use vivarium_reasoning::grounded;
use vivarium_reasoning::retrieval::{Candidate, Reading, Retrieval};
use vivarium_sdk::mode::{Abilities, Host, ModeError, Outcome, Request};

vivarium_sdk::export_mode!(run);

/// How many queries are searched for in a cycle.
const QUERIES_PER_CYCLE: usize = 5;

fn run(host: &mut impl Host, request: Request) -> Result<Outcome, ModeError> {
    if request.input.trim().is_empty() {
        return Err(ModeError::InvalidInput("the input is empty: say what you want to know".to_owned()));
    }
    let info = host.describe();
    let tools = host.tools();
    if info.abilities.contains(Abilities::FREE_TEXT) {
        return written::answer(host, &info, &tools, request);
    }
    if request.output_schema.is_some() {
        return Err(ModeError::Model(format!(
            "an answer by a JSON Schema needs a language model. {}",
            grounded::nature(&info)
        )));
    }
    extractive::answer(host, &info, &tools, &request)
}

/// What was found and read so far.
struct Library {
    retrieval: Retrieval,
    found: VecDeque<Candidate>,
    readings: Vec<Reading>,
}

impl Library {
    fn new(retrieval: Retrieval) -> Self {
        Self { retrieval, found: VecDeque::new(), readings: Vec::new() }
    }

    /// Searches for `queries` and reads the best `count` documents of what was found, now or before. Gives how many were read.
    fn gather(&mut self, host: &mut impl Host, queries: &[String], focus: &str, count: usize) -> usize {
        let queries = queries.get(..QUERIES_PER_CYCLE).unwrap_or(queries);
        let mut found = self.retrieval.search(host, queries);
        // What is asked for now comes before what was left over.
        let known = |candidate: &Candidate| found.iter().any(|new| new.location == candidate.location);
        let left: Vec<Candidate> = self.found.drain(..).filter(|candidate| !known(candidate)).collect();
        found.extend(left);
        self.found = found;
        let new = self.retrieval.read(host, &mut self.found, count, focus);
        let count = new.len();
        self.readings.extend(new);
        count
    }

    /// Says honestly that nothing was found, and where.
    fn nothing_found(&self) -> String {
        let searched = match self.retrieval.searched.is_empty() {
            true => "There is nothing in the question that documents could be searched for.".to_owned(),
            false => format!("I found no source that answers this. I searched {}.", self.retrieval.summary()),
        };
        let problems: String = self.retrieval.problems.iter().map(|problem| format!("\n- {problem}")).collect();
        if problems.is_empty() { searched } else { format!("{searched}\n\nWhat went wrong on the way:\n{problems}") }
    }
}

/// An answer without citations.
fn plain(answer: String) -> Outcome {
    Outcome { answer, answer_json: None, citations: Vec::new() }
}

#[cfg(test)]
mod tests;
