//! `web_search` asks the search engine that the operator has chosen.

mod arguments;
mod engine;

use serde::Serialize;
use vivarium_sdk::http::{Client as _, Live};
use vivarium_sdk::tool::{Context, Output, ToolError, secrets, settings};

use crate::arguments::Search;
use crate::engine::{Configuration, Engine, Found, unreachable};

const DEFAULT_RESULTS: u32 = 8;
const MAX_TIMEOUT_MS: u32 = 15_000;

vivarium_sdk::export_tools! { "web_search" => search }

fn search(arguments: Search, context: &Context) -> Result<Output, ToolError> {
    let engine = Engine::choose(&Configuration {
        engine: settings::get("engine"),
        base_url: settings::get("base-url"),
        has_brave_key: secrets::available("brave-key"),
        has_tavily_key: secrets::available("tavily-key"),
    })?;
    let max_results = arguments.max_results.unwrap_or(DEFAULT_RESULTS);
    let mut request = engine.request(&arguments.query, max_results);
    request.timeout_ms = MAX_TIMEOUT_MS.min(context.deadline_ms);
    let response = Live.send(&request).map_err(|error| unreachable(&engine, error))?;
    let found = engine.results(&response)?;
    present(&found, max_results as usize, context.max_output_bytes as usize)
}

#[derive(Serialize)]
struct Shown<'a> {
    title: &'a str,
    url: &'a str,
    snippet: &'a str,
}

#[derive(Serialize)]
struct Results<'a> {
    results: &'a [Shown<'a>],
}

/// The best results, as many as were asked for and fit.
fn present(found: &[Found], max_results: usize, max_bytes: usize) -> Result<Output, ToolError> {
    let shown: Vec<Shown<'_>> = found
        .iter()
        .take(max_results)
        .map(|found| Shown { title: &found.title, url: &found.url, snippet: &found.snippet })
        .collect();
    let mut fitting = shown.as_slice();
    loop {
        let output = Output::json(&Results { results: fitting })?;
        match fitting.split_last() {
            Some((_, fewer)) if output.content.len() > max_bytes => fitting = fewer,
            _ => return Ok(output),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_results_stay_where_not_all_fit() {
        let found = Found { title: "T".into(), url: "https://e.com/".into(), snippet: "S".into() };
        let found = vec![found; 10];
        assert_eq!(
            present(&found, 1, 1_000).unwrap().content,
            r#"{"results":[{"title":"T","url":"https://e.com/","snippet":"S"}]}"#
        );
        let bounded = present(&found, 10, 200).unwrap().content;
        assert!(bounded.len() <= 200 && bounded.contains("e.com"), "{bounded}");
    }
}
