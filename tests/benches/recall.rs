//! What more cycles of research find: recall over `maxCycles`, on a generated collection of short documents whose questions are chains of
//! facts, once with a reader by rule in place of a language model, and once with the embedded answerer. Nothing leaves this machine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench prints, and one that can not go on ends"
)]

use std::time::Instant;

use serde_json::json;
use vivarium_tests::{Collection, Host, Recall, ScriptedModel, reader};

const CYCLES: [u32; 5] = [1, 2, 3, 5, 8];

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime can be made");
    runtime.block_on(measure());
}

async fn measure() {
    let (folder, collection) = (tempfile::tempdir().expect("a folder can be made"), Collection::generated());
    collection.write(folder.path());
    println!("{} documents, {} questions", collection.documents.len(), collection.questions.len());
    println!(
        "| Answerer | maxCycles | relevant documents read | facts backed by a verified quote | contradictions named | a run |"
    );
    println!("|---|---|---|---|---|---|");
    let model = ScriptedModel::start().await;
    model.by_rule(reader);
    for (name, with_model) in [("reader by rule", true), ("`embedded/extractive`", false)] {
        let builder = Host::builder().corpus(folder.path());
        let host = if with_model { builder.model(&model).start().await } else { builder.start().await };
        for max_cycles in CYCLES {
            let (mut recall, started) = (Recall::default(), Instant::now());
            for question in &collection.questions {
                let ask = json!({"query": question.text, "mode": "research", "maxCycles": max_cycles});
                recall.count(question, &host.post_ok("/v1/agent/run", &ask).await);
            }
            let each = started.elapsed() / u32::try_from(collection.questions.len()).unwrap_or(1);
            let [documents, facts, contradictions] = recall.shares().map(|share| format!("{:.0} %", share * 100.0));
            println!("| {name} | {max_cycles} | {documents} | {facts} | {contradictions} | {} ms |", each.as_millis());
        }
        let _stopped = host.stop().await;
    }
}
