//! The parts of a question: each is searched and read for by itself, and is open until it is answered or nothing more can be found.

use schemars::JsonSchema;
use serde::Deserialize;
use vivarium_reasoning::retrieval::Wanted;

/// A question has at most so many: so many questions to the model and searches run beside each other.
pub(crate) const MAX_PARTS: usize = 4;

/// How a question is split.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Plan {
    /// The questions that have to be answered, at most four; one for a simple question.
    pub(crate) questions: Vec<PlannedPart>,
}

/// One of them.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct PlannedPart {
    /// The question, complete in itself.
    pub(crate) question: String,
    /// Search queries that find its answer, a few keywords each.
    pub(crate) queries: Vec<String>,
}

/// Where a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It is worked on.
    Open,
    /// There are notes that answer it.
    Answered,
    /// Nothing was found, and there is nothing else to search for.
    NotFound,
    /// The model could take no notes on it. The answer rests on what was read all the same.
    GivenUp,
}

/// A part of the question.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) question: String,
    pub(crate) state: State,
    /// What is searched for next.
    pub(crate) queries: Vec<String>,
    /// What was searched for.
    pub(crate) tried: Vec<String>,
    /// What was found and read for it.
    pub(crate) wanted: Wanted,
    /// How many notes there are on it.
    pub(crate) notes: usize,
    /// The model was asked for other queries, because the first found nothing.
    pub(crate) replanned: bool,
}

impl Part {
    pub(crate) fn new(question: &str, queries: Vec<String>) -> Self {
        Self {
            question: question.to_owned(),
            state: State::Open,
            queries: cleaned(queries),
            tried: Vec::new(),
            wanted: Wanted::new(question, 0),
            notes: 0,
            replanned: false,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Takes what is to be searched for now.
    pub(crate) fn take_queries(&mut self, most: usize) -> Vec<String> {
        let mut queries = std::mem::take(&mut self.queries);
        queries.truncate(most);
        self.tried.extend(queries.iter().cloned());
        queries
    }

    /// What is to be searched for next, as far as it was not yet.
    pub(crate) fn search_for(&mut self, queries: Vec<String>) {
        self.queries = cleaned(queries).into_iter().filter(|query| !self.tried.contains(query)).collect();
    }

    /// Goes on as far as there is something to go on with.
    pub(crate) fn settle(&mut self, answered: bool) {
        if self.notes > 0 && (answered || self.queries.is_empty()) {
            self.state = State::Answered;
        } else if self.queries.is_empty() && self.wanted.found.is_empty() && self.replanned {
            self.state = State::NotFound;
        }
    }
}

/// How a plan's parts begin; the question itself where the plan has none.
pub(crate) fn begin(question: &str, plan: Vec<PlannedPart>) -> Vec<Part> {
    let planned = plan.into_iter().filter(|part| !part.question.trim().is_empty() || !part.queries.is_empty());
    let mut parts: Vec<Part> = Vec::new();
    for PlannedPart { question: own, mut queries } in planned.take(MAX_PARTS) {
        let own = if own.trim().is_empty() { question } else { own.trim() };
        if queries.iter().all(|query| query.trim().is_empty()) {
            queries = vec![own.to_owned()];
        }
        match parts.iter_mut().find(|part| part.question == own) {
            Some(part) => part.queries.extend(cleaned(queries)),
            None => parts.push(Part::new(own, queries)),
        }
    }
    if parts.is_empty() {
        // A model that can not plan still has a question to search for.
        parts.push(Part::new(question, vec![question.to_owned()]));
    }
    parts
}

fn cleaned(queries: Vec<String>) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for query in queries.iter().map(|query| query.trim()).filter(|query| !query.is_empty()) {
        if !out.iter().any(|known| known == query) {
            out.push(query.to_owned());
        }
    }
    out
}

/// How many queries a part searches for in a cycle, where so many are open.
pub(crate) fn queries_each(open: usize) -> usize {
    if open <= 1 { 5 } else { 3 }
}

/// How many documents a part reads in a cycle, where so many are open: what the model gets to read in a cycle is bounded besides.
pub(crate) fn readings_each(open: usize) -> usize {
    match open {
        0 | 1 => 6,
        2 => 4,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(question: &str, queries: &[&str]) -> PlannedPart {
        PlannedPart { question: question.into(), queries: queries.iter().map(ToString::to_string).collect() }
    }

    #[test]
    fn a_plan_has_at_most_four_parts_and_at_least_one() {
        let plan = (0..9).map(|n| planned(&format!("part {n}"), &["q"])).collect();
        assert_eq!(begin("all", plan).len(), MAX_PARTS);
        let parts = begin("all", vec![planned(" ", &[]), planned("a", &[" ", ""]), planned("a", &["x", "x"])]);
        assert_eq!(parts.len(), 1);
        assert_eq!(parts[0].queries, ["a", "x"]);
        assert_eq!(begin("all", Vec::new())[0].queries, ["all"]);
    }

    #[test]
    fn a_part_is_answered_by_notes_and_not_found_only_after_other_queries() {
        let mut part = Part::new("a", vec!["q".into()]);
        assert_eq!(part.take_queries(5), ["q"]);
        part.search_for(vec!["q".into()]);
        part.settle(true);
        assert_eq!(part.state, State::Open, "without a note it is not answered, and other queries may find something");
        part.replanned = true;
        part.settle(false);
        assert_eq!(part.state, State::NotFound);
        part = Part { notes: 1, state: State::Open, ..part };
        part.search_for(vec!["r".into()]);
        part.settle(false);
        assert_eq!(part.state, State::Open);
        part.settle(true);
        assert_eq!(part.state, State::Answered);
    }
}
