//! `corpus_search` finds passages, `corpus_read` reads the document that one stands in. They are two, because a source of
//! a run is a document that was really read, not one that a search has named.

mod arguments;

use serde::Serialize;
use vivarium_sdk::excerpt::excerpt;
use vivarium_sdk::tool::corpus::{self, Hit};
use vivarium_sdk::tool::{Context, Output, ToolError};

use crate::arguments::{Read, Search};

const DEFAULT_HITS: u32 = 8;
/// A document longer than this is read up to here: several hundred pages.
const MAX_DOCUMENT_BYTES: u32 = 1024 * 1024;
/// What one document may take of a model's context. The rest of it stays within the host, as a source.
const MAX_CONTENT_BYTES: usize = 24 * 1024;

vivarium_sdk::export_tools! {
    "corpus_search" => search,
    "corpus_read" => read,
}

fn search(arguments: Search, context: &Context) -> Result<Output, ToolError> {
    let hits = corpus::search(&arguments.query, arguments.max_hits.unwrap_or(DEFAULT_HITS))?;
    present(&hits, context.max_output_bytes as usize)
}

fn read(arguments: Read, context: &Context) -> Result<Output, ToolError> {
    let document = corpus::read(&arguments.location, MAX_DOCUMENT_BYTES)?;
    let bound = MAX_CONTENT_BYTES.min(context.max_output_bytes as usize);
    Ok(Output::text(excerpt(&document.text, arguments.focus.as_deref(), bound)).with_document(document))
}

/// A hit as the model sees it: the score is left out, because it compares with nothing that the model knows.
#[derive(Serialize)]
struct Found<'a> {
    location: &'a str,
    title: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    heading: &'a str,
    passage: &'a str,
}

#[derive(Serialize)]
struct Findings<'a> {
    hits: &'a [Found<'a>],
}

/// The best hits, as many as fit.
fn present(hits: &[Hit], max_bytes: usize) -> Result<Output, ToolError> {
    let found: Vec<Found<'_>> = hits
        .iter()
        .map(|hit| Found { location: &hit.location, title: &hit.title, heading: &hit.heading, passage: &hit.passage })
        .collect();
    let mut fitting = found.as_slice();
    loop {
        let output = Output::json(&Findings { hits: fitting })?;
        match fitting.split_last() {
            Some((_, fewer)) if output.content.len() > max_bytes => fitting = fewer,
            _ => return Ok(output),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(n: usize) -> Hit {
        Hit {
            location: format!("book/{n}.html"),
            title: format!("Chapter {n}"),
            heading: String::new(),
            passage: "Ownership is a set of rules.".to_owned(),
            score: 1.5,
        }
    }

    #[test]
    fn a_hit_says_where_it_stands_and_what_it_says() {
        let output = present(&[hit(4)], 10_000).unwrap();
        assert_eq!(
            output.content,
            r#"{"hits":[{"location":"book/4.html","title":"Chapter 4","passage":"Ownership is a set of rules."}]}"#
        );
        assert!(output.documents.is_empty(), "a hit is not a source before it is read");
    }

    #[test]
    fn the_best_hits_stay_where_not_all_fit() {
        let hits: Vec<Hit> = (0..20).map(hit).collect();
        let output = present(&hits, 500).unwrap();
        assert!(output.content.len() <= 500);
        assert!(output.content.contains("Chapter 0") && !output.content.contains("Chapter 19"));
    }

    #[test]
    fn no_hit_is_an_empty_list() {
        assert_eq!(present(&[], 100).unwrap().content, r#"{"hits":[]}"#);
    }
}
