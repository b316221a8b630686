//! Asks a folder of documents, with no language model: what the search finds, and what the extractive answerer makes of it.
//! `cargo run -p vivarium-corpus --example ask -- FOLDER INDEX_DIR "question" …`

#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use std::error::Error;
use std::time::Instant;

use vivarium_corpus::{Corpus, Hit, OpenOptions, Progress};
use vivarium_domain::{GenerateRequest, Message, Passage};
use vivarium_models::{Call, Embedded, Provider as _};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(index)) = (arguments.next(), arguments.next()) else {
        println!("usage: ask FOLDER INDEX_DIR \"question\" …");
        return Ok(());
    };
    let started = Instant::now();
    let (corpus, report) = Corpus::open(OpenOptions::new(folder, index), &mut |progress| {
        if let Progress::Indexing { done, total } = progress
            && done % 2000 == 0
        {
            println!("  {done} of {total} files, {:.1?}", started.elapsed());
        }
    })?;
    println!(
        "{} documents, {} passages; {} indexed, {} unchanged, {} removed, {} cut; skipped: {:?}; {:.1?}",
        report.documents,
        report.passages,
        report.indexed(),
        report.unchanged,
        report.removed,
        report.truncated,
        report.skipped,
        report.elapsed
    );
    for question in arguments {
        ask(&corpus, &question).await?;
    }
    Ok(())
}

async fn ask(corpus: &Corpus, question: &str) -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    let hits = corpus.search(question, 12)?;
    println!("\n# {question}\n({} hits in {:.1?})", hits.len(), started.elapsed());
    let mut sources: Vec<&str> = Vec::new();
    for hit in &hits {
        if !sources.contains(&hit.location.as_str()) {
            sources.push(&hit.location);
        }
    }
    let id = |hit: &Hit| sources.iter().position(|known| *known == hit.location).map_or(0, |at| at + 1);
    for hit in &hits {
        println!("  {:6.2} s{} {} | {}", hit.score, id(hit), hit.location, hit.heading);
    }
    let passage =
        |hit: &Hit| Passage { source_id: format!("s{}", id(hit)), title: hit.title.clone(), text: hit.passage.clone() };
    let request = GenerateRequest {
        messages: vec![Message::user(question)],
        passages: hits.iter().map(passage).collect(),
        ..GenerateRequest::default()
    };
    let started = Instant::now();
    let answer = Embedded::default().generate(Call::new("extractive", &request, &mut |_| {})).await?;
    println!("({:.1?})\n{}", started.elapsed(), answer.text);
    Ok(())
}
