//! Measures a corpus of generated documents: `cargo run -p vivarium-corpus --example measure -- FOLDER [DOCUMENTS]`. The words of the
//! documents follow Zipf's law, as those of languages do. Beside it stands a floor: one field, no passages, by tantivy alone. A folder
//! that holds the index already is not indexed again: that run tells what opening and searching alone take.
//!
//! With a third argument, the folder of a public collection (`corpus.jsonl`, `queries.jsonl`, `qrels.tsv`), it measures how well
//! documents are ranked there, beside plain BM25: nDCG@10 and recall@100.

#![allow(clippy::print_stdout, clippy::cast_precision_loss, reason = "a program for the terminal, about numbers")]

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tantivy::collector::TopDocs;
use tantivy::directory::MmapDirectory;
use tantivy::query::{BooleanQuery, Occur, Query, TermQuery};
use tantivy::schema::{IndexRecordOption, STORED, STRING, Schema, TEXT, TextFieldIndexing, TextOptions, Value as _};
use tantivy::{Index, IndexWriter, TantivyDocument, Term};
use vivarium_corpus::{Given, Holdings};
use vivarium_domain::Document;

type Done = Result<(), Box<dyn Error>>;

const WORDS: usize = 50_000;
const WORDS_OF_A_DOCUMENT: usize = 180;
const QUERIES: usize = 1_000;
/// Documents that are given at one time, as the host gives them.
const PORTION: usize = 2_000;

fn main() -> Done {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = Path::new(arguments.first().ok_or("usage: measure FOLDER [DOCUMENTS [COLLECTION]]")?);
    if let Some(collection) = arguments.get(2) {
        return quality(folder, Path::new(collection));
    }
    let count: usize = arguments.get(1).map_or(Ok(100_000), |count| count.parse())?;
    let texts = Texts { words: (0..WORDS).map(word).collect(), count };
    let queries = texts.queries();
    let ours = ours(&folder.join("ours"), &texts, &queries)?;
    let floor = floor(&folder.join("floor"), &texts, &queries)?;
    for (ours, floor) in ours.iter().zip(&floor) {
        let ratio = ours.own.as_secs_f64() / floor.own.as_secs_f64();
        println!("{}: {ratio:.1} times the floor", ours.what);
    }
    Ok(())
}

/// What one kind of search takes.
struct Took {
    what: String,
    /// What a query has of a core, on the average.
    own: Duration,
}

fn ours(folder: &Path, texts: &Texts, queries: &[String]) -> Result<Vec<Took>, Box<dyn Error>> {
    let begun = Instant::now();
    let holdings = Holdings::open(folder)?;
    if holdings.known()?.len() < texts.count {
        let mut portion = Vec::with_capacity(PORTION);
        for (id, text) in texts.all().enumerate() {
            let document = document(id.to_string(), format!("Document {id}"), text);
            portion.push(Given { document, external_id: id.to_string(), hash: id as u64 });
            if portion.len() == PORTION || id + 1 == texts.count {
                holdings.change(&[], std::mem::take(&mut portion))?;
            }
        }
        println!("ours: indexed in {:.1?}, {:.1} MB on disk", begun.elapsed(), size(folder)?);
    } else {
        println!("ours: was there and is opened in {:.1?}, {:.1} MB on disk", begun.elapsed(), size(folder)?);
    }
    let mut took = Vec::new();
    for limit in [10, 100, 1000] {
        let what = format!("{limit} documents");
        took.push(time(&format!("ours: {what}"), what, queries, |query| {
            Ok(holdings.documents(query, 0, limit)?.len())
        })?);
    }
    time("ours: 8 passages for a model", String::new(), queries, |query| Ok(holdings.search(query, 8)?.len()))?;
    println!("ours: {:.0} MB resident, the index's mapped files among them", resident()?);
    let long: Vec<String> = queries.chunks(20).map(|some| some.join(" ")).collect();
    time("ours: 10 documents for a text of a hundred words", String::new(), &long, |query| {
        Ok(holdings.documents(query, 0, 10)?.len())
    })?;
    let begun = Instant::now();
    drop(holdings);
    let holdings = Holdings::open(folder)?;
    println!(
        "ours: opened again in {:.1?}, {} documents known in {:.1?}",
        begun.elapsed(),
        holdings.known()?.len(),
        begun.elapsed()
    );
    let begun = Instant::now();
    let one = Given {
        document: document("new".into(), "New".into(), "a brand new text".into()),
        external_id: String::new(),
        hash: 1,
    };
    holdings.change(&[], vec![one])?;
    println!("ours: one document more in {:.1?}", begun.elapsed());
    holdings.change(&[Holdings::key("new")], Vec::new())?;
    Ok(took)
}

fn document(location: String, title: String, text: String) -> Document {
    Document { title, location, media_type: "text/plain".to_owned(), text }
}

fn floor(folder: &Path, texts: &Texts, queries: &[String]) -> Result<Vec<Took>, Box<dyn Error>> {
    let mut schema = Schema::builder();
    let (id, body) = (schema.add_text_field("id", STRING | STORED), schema.add_text_field("body", TEXT | STORED));
    std::fs::create_dir_all(folder)?;
    let begun = Instant::now();
    let index = Index::open_or_create(MmapDirectory::open(folder)?, schema.build())?;
    if (index.reader()?.searcher().num_docs() as usize) < texts.count {
        let mut writer = index.writer_with_num_threads(2, 96 << 20)?;
        for (n, text) in texts.all().enumerate() {
            let mut entry = TantivyDocument::default();
            entry.add_text(id, n.to_string());
            entry.add_text(body, text);
            writer.add_document(entry)?;
        }
        writer.commit()?;
        writer.wait_merging_threads()?;
        println!("floor: indexed in {:.1?}, {:.1} MB on disk", begun.elapsed(), size(folder)?);
    }
    let searcher = index.reader()?.searcher();
    let mut took = Vec::new();
    for limit in [10, 100, 1000] {
        let what = format!("{limit} documents");
        took.push(time(&format!("floor: {what}"), what, queries, |query| {
            let term = |word: &str| {
                let term = TermQuery::new(Term::from_field_text(body, word), IndexRecordOption::WithFreqs);
                (Occur::Should, Box::new(term) as Box<dyn Query>)
            };
            let query = BooleanQuery::new(query.split(' ').map(term).collect());
            let found = searcher.search(&query, &TopDocs::with_limit(limit).order_by_score())?;
            for (_, address) in &found {
                let _read: TantivyDocument = searcher.doc(*address)?;
            }
            Ok(found.len())
        })?);
    }
    Ok(took)
}

fn quality(folder: &Path, collection: &Path) -> Done {
    let lines = |name: &str| -> Result<Vec<Value>, Box<dyn Error>> {
        let text = std::fs::read_to_string(collection.join(name))?;
        text.lines().map(|line| serde_json::from_str(line).map_err(Into::into)).collect()
    };
    let field = |line: &Value, name: &str| line.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let documents: Vec<Document> = lines("corpus.jsonl")?
        .iter()
        .map(|line| document(field(line, "_id"), field(line, "title"), field(line, "text")))
        .collect();
    println!("{} documents", documents.len());
    let queries: Vec<(String, String)> =
        lines("queries.jsonl")?.iter().map(|line| (field(line, "_id"), field(line, "text"))).collect();
    let mut wanted = Wanted::new();
    for line in std::fs::read_to_string(collection.join("qrels.tsv"))?.lines().skip(1) {
        if let [query, document, grade] = line.split('\t').collect::<Vec<_>>().as_slice() {
            wanted.entry((*query).to_owned()).or_default().insert((*document).to_owned(), grade.parse()?);
        }
    }
    let holdings = Holdings::open(&folder.join("ours"))?;
    let given =
        |document: &Document| Given { document: document.clone(), external_id: document.location.clone(), hash: 1 };
    if holdings.known()?.len() != documents.len() {
        holdings.change(&[], documents.iter().map(given).collect())?;
    }
    judge("ours", &queries, &wanted, |query| {
        let found = holdings.documents(query, 0, 100).unwrap_or_default();
        Ok(found.into_iter().map(|hit| hit.external_id).collect())
    })?;
    let mut schema = Schema::builder();
    let (id, body) = (schema.add_text_field("id", STRING | STORED), schema.add_text_field("body", stems()));
    let index = Index::create_in_ram(schema.build());
    let mut writer: IndexWriter = index.writer_with_num_threads(1, 96 << 20)?;
    for Document { location, title, text, .. } in &documents {
        let mut entry = TantivyDocument::default();
        entry.add_text(id, location);
        entry.add_text(body, format!("{title} {text}"));
        writer.add_document(entry)?;
    }
    writer.commit()?;
    let searcher = index.reader()?.searcher();
    let mut analyzer = index.tokenizers().get("en_stem").ok_or("no English stems")?;
    judge("plain BM25", &queries, &wanted, |query| {
        let mut clauses = Vec::new();
        analyzer.token_stream(query).process(&mut |token| {
            let term = TermQuery::new(Term::from_field_text(body, &token.text), IndexRecordOption::WithFreqs);
            clauses.push((Occur::Should, Box::new(term) as Box<dyn Query>));
        });
        let found = searcher.search(&BooleanQuery::new(clauses), &TopDocs::with_limit(100).order_by_score())?;
        let id = |(_, address)| -> Result<String, Box<dyn Error>> {
            let read: TantivyDocument = searcher.doc(address)?;
            Ok(read.get_first(id).and_then(|id| id.as_str()).unwrap_or_default().to_owned())
        };
        found.into_iter().map(id).collect()
    })
}

fn stems() -> TextOptions {
    let indexing = TextFieldIndexing::default().set_tokenizer("en_stem").set_index_option(IndexRecordOption::WithFreqs);
    TextOptions::default().set_indexing_options(indexing)
}

/// Which documents answer which query, and how well.
type Wanted = HashMap<String, HashMap<String, f64>>;

fn judge(
    name: &str,
    queries: &[(String, String)],
    wanted: &Wanted,
    mut ask: impl FnMut(&str) -> Result<Vec<String>, Box<dyn Error>>,
) -> Done {
    let (mut gain, mut recall, mut count) = (0.0, 0.0, 0.0);
    for (id, text) in queries {
        let Some(wanted) = wanted.get(id) else { continue };
        let found = ask(text)?;
        let discount = |place: usize| 1.0 / ((place + 2) as f64).log2();
        let grade = |id: &String| wanted.get(id).copied().unwrap_or_default();
        let got: f64 = found.iter().take(10).enumerate().map(|(n, id)| grade(id) * discount(n)).sum();
        let mut best: Vec<f64> = wanted.values().copied().collect();
        best.sort_by(|a, b| b.total_cmp(a));
        let best: f64 = best.iter().take(10).enumerate().map(|(n, grade)| grade * discount(n)).sum();
        let relevant = wanted.values().filter(|grade| **grade > 0.0).count().max(1);
        let seen = found.iter().filter(|id| grade(id) > 0.0).count();
        gain += if best > 0.0 { got / best } else { 0.0 };
        recall += seen as f64 / relevant as f64;
        count += 1.0;
    }
    println!("{name}: {count} queries: nDCG@10 {:.4}, recall@100 {:.4}", gain / count, recall / count);
    Ok(())
}

/// What queries take, one after the other; says so.
fn time(
    name: &str,
    what: String,
    queries: &[String],
    mut ask: impl FnMut(&str) -> Result<usize, Box<dyn Error>>,
) -> Result<Took, Box<dyn Error>> {
    let mut times: Vec<Duration> = Vec::with_capacity(queries.len());
    let mut found = 0;
    let before = on_core()?;
    for query in queries {
        let begun = Instant::now();
        found += ask(query)?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    let own = (on_core()? - before) / queries.len().max(1) as u32;
    let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or_default();
    println!(
        "{name}: p50 {:.2?}, p99 {:.2?}, {own:.2?} of a core on the average, {} hits a query",
        at(50),
        at(99),
        found / queries.len().max(1)
    );
    Ok(Took { what, own })
}

/// For how long this thread has had a core: unlike the time on the clock it tells nothing of what else the machine does.
fn on_core() -> Result<Duration, Box<dyn Error>> {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(Duration::from_nanos(told.split(' ').next().unwrap_or_default().parse()?))
}

/// Megabytes of a folder.
fn size(folder: &Path) -> Result<f64, Box<dyn Error>> {
    let mut bytes = 0.0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.metadata()?;
        bytes += if kind.is_dir() { size(&entry.path())? } else { kind.len() as f64 / 1e6 };
    }
    Ok(bytes)
}

/// Megabytes of this process in memory, mapped files included.
fn resident() -> Result<f64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<f64>()? / 1e3)
}

/// A word that somebody could say, by its rank.
fn word(rank: usize) -> String {
    const SYLLABLES: [&str; 40] = [
        "ba", "ce", "di", "fo", "gu", "ha", "je", "ki", "lo", "mu", "na", "pe", "ri", "so", "tu", "va", "we", "xi",
        "yo", "zu", "bra", "cle", "dri", "flo", "gru", "sta", "tre", "pli", "kno", "shu", "an", "el", "in", "or", "un",
        "ath", "esk", "ilt", "omp", "urn",
    ];
    let (mut left, mut word) = (rank + 41, String::new());
    while left > 0 {
        word.push_str(SYLLABLES.get(left % SYLLABLES.len()).copied().unwrap_or_default());
        left /= SYLLABLES.len();
    }
    word
}

/// Generated documents, the same each time.
struct Texts {
    words: Vec<String>,
    count: usize,
}

impl Texts {
    fn all(&self) -> impl Iterator<Item = String> {
        let mut dice = Dice(7);
        (0..self.count).map(move |_| self.one(&mut dice))
    }

    fn one(&self, dice: &mut Dice) -> String {
        let word = |_| {
            // The inverse of the sum of 1/rank: the first words are in every text, the last ones in few.
            let rank = ((self.words.len() as f64 + 1.0).powf(dice.share()) - 1.0) as usize;
            self.words.get(rank.min(self.words.len() - 1)).map(String::as_str).unwrap_or_default()
        };
        (0..WORDS_OF_A_DOCUMENT).map(word).collect::<Vec<_>>().join(" ")
    }

    /// Questions are of three to eight words of a document.
    fn queries(&self) -> Vec<String> {
        let mut dice = Dice(11);
        let every = (self.count / QUERIES).max(1);
        let of_text = |(n, text): (usize, String)| {
            let from: Vec<&str> = text.split(' ').collect();
            let words = (0..3 + n % 6).filter_map(|_| from.get(dice.below(from.len())).copied());
            words.collect::<Vec<_>>().join(" ")
        };
        self.all().step_by(every).take(QUERIES).enumerate().map(of_text).collect()
    }
}

/// The same numbers each time.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
