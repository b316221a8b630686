//! The mode `research`: split the question, search and read for all parts in parallel, take notes, close gaps, compare the sources,
//! answer. The last cycle always writes the answer, so a spent budget still answers; a run of one cycle does all of it in that one.

mod bridges;
mod closing;
mod compare;
mod extractive;
mod notes;
mod parts;
mod prompts;
mod written;

use vivarium_reasoning::grounded;
use vivarium_sdk::mode::{Abilities, Host, ModeError, Outcome, Request};

vivarium_sdk::export_mode!(run);

fn run(host: &mut impl Host, request: Request) -> Result<Outcome, ModeError> {
    if request.input.trim().is_empty() {
        return Err(ModeError::InvalidInput("the input is empty: say what you want to know".to_owned()));
    }
    let info = host.describe();
    let tools = host.tools();
    // Who quotes passages word for word keeps closer to the sources than by writing; only JSON can not be quoted.
    let quotes = info.abilities.contains(Abilities::PASSAGES) && request.output_schema.is_none();
    if info.abilities.contains(Abilities::FREE_TEXT) && !quotes {
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

/// How many cycles search and read: all but the last, which writes the answer, or the only one, which does both.
fn searching_cycles(max_cycles: u32) -> u32 {
    max_cycles.saturating_sub(1).max(1)
}

/// An answer without citations.
fn plain(answer: String) -> Outcome {
    Outcome { answer, answer_json: None, citations: Vec::new() }
}

#[cfg(test)]
mod tests;
