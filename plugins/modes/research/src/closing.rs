//! What an answer ends with: the sources that it rests on, what was not found, and what went wrong on the way.

use vivarium_reasoning::citing;
use vivarium_reasoning::retrieval::Retrieval;
use vivarium_sdk::mode::{Citation, Source};

/// More of what went wrong is counted, and not told.
const MAX_PROBLEMS: usize = 10;

/// The end of an answer that rests on `citations`; `left_open` are the parts of the question that it does not answer.
pub(crate) fn closing<'a>(
    sources: impl Iterator<Item = &'a Source>,
    citations: &[Citation],
    left_open: &[&str],
    retrieval: &Retrieval,
) -> String {
    let open: String = left_open.iter().map(|question| format!("\n- {}", citing::plain(question))).collect();
    let open = if open.is_empty() { open } else { format!("\n\n**Not found**\n{open}") };
    format!("{open}{}{}", citing::list_of_sources(sources, citations), problems(retrieval))
}

/// Says honestly that nothing was found, and where it was searched for.
pub(crate) fn nothing_found(retrieval: &Retrieval) -> String {
    let searched = match retrieval.searched.is_empty() {
        true => "There is nothing in the question that documents could be searched for.".to_owned(),
        false => format!("I found no source that answers this. I searched {}.", retrieval.summary()),
    };
    format!("{searched}{}", problems(retrieval))
}

fn problems(retrieval: &Retrieval) -> String {
    let told = retrieval.problems.iter().take(MAX_PROBLEMS);
    let mut list: String = told.map(|problem| format!("\n- {}", citing::plain(problem))).collect();
    if list.is_empty() {
        return list;
    }
    let more = retrieval.problems.len().saturating_sub(MAX_PROBLEMS);
    if more > 0 {
        list.push_str(&format!("\n- and {more} more"));
    }
    format!("\n\n**What went wrong on the way**\n{list}")
}
