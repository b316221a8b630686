//! `vivarium corpus …`: a tenant's corpora on a running server. Collections for retrieval come as lines of JSON; a folder of
//! files goes in file by file, under its paths.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use reqwest::{Method, Url};
use serde_json::{Value, json};

use super::remote::{Remote, list, text};
use super::{Failure, result, say};

/// Of one request: less than a server takes.
const LINES_AT_ONCE: usize = 1_000;
const BYTES_AT_ONCE: usize = 8 << 20;
/// A server takes no larger file.
const MAX_FILE_BYTES: u64 = 10 << 20;
/// A folder within a folder within a folder…
const MAX_DEPTH: usize = 32;

/// Files that a server reads, by extension.
const TYPES: [(&str, &str); 13] = [
    ("md", "text/markdown"),
    ("markdown", "text/markdown"),
    ("html", "text/html"),
    ("htm", "text/html"),
    ("txt", "text/plain"),
    ("text", "text/plain"),
    ("rst", "text/plain"),
    ("csv", "text/csv"),
    ("json", "application/json"),
    ("pdf", "application/pdf"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("log", "text/plain"),
];

#[derive(Debug, Subcommand)]
pub(super) enum Corpus {
    /// Add documents: a .jsonl file of `{"_id", "title", "text"}` lines, a document, or a folder of documents.
    Add {
        /// The corpus.
        corpus: String,
        /// What to add.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Search: score, the document's own id (or its id), and its name, best first.
    Search {
        /// The corpus.
        corpus: String,
        /// What to search for.
        query: String,
        /// How many documents to give.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
        #[command(flatten)]
        remote: Remote,
    },
    /// Delete all documents of a corpus.
    Clear {
        /// The corpus.
        corpus: String,
        #[command(flatten)]
        remote: Remote,
    },
}

impl Corpus {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Add { corpus, paths, remote } => {
                let (mut added, mut left_out) = (0, 0);
                for path in paths {
                    let (more, out) = add(&remote, &corpus, &path).await?;
                    (added, left_out) = (added + more, left_out + out);
                }
                Ok(result(format_args!("{added} documents are in {corpus}; {left_out} files were left out"))?)
            }
            Self::Search { corpus, query, limit, remote } => {
                let path = Url::parse_with_params(
                    &format!("http://x/v1/corpora/{corpus}/search"),
                    &[("q", query.as_str()), ("limit", &limit.to_string())],
                );
                let path = path.map_err(|error| Failure::Use(error.to_string()))?;
                let path = format!("{}?{}", path.path(), path.query().unwrap_or_default());
                let found = remote.send(remote.request(Method::GET, &path)?).await?;
                for hit in list(&found, "data") {
                    let score = hit.get("score").and_then(Value::as_f64).unwrap_or_default();
                    let external = text(hit, "externalId");
                    let id = if external.is_empty() { text(hit, "id") } else { external };
                    result(format_args!("{score:.4}\t{id}\t{}", text(hit, "name")))?;
                }
                Ok(())
            }
            Self::Clear { corpus, remote } => {
                let path = format!("/v1/corpora/{corpus}/documents");
                let cleared = remote.send(remote.request(Method::DELETE, &path)?).await?;
                let deleted = cleared.get("deleted").and_then(Value::as_u64).unwrap_or_default();
                Ok(result(format_args!("{deleted} documents are deleted"))?)
            }
        }
    }
}

/// How many documents were added, and how many files left out.
async fn add(remote: &Remote, corpus: &str, path: &Path) -> Result<(u64, u64), Failure> {
    let unreadable = |error: std::io::Error| Failure::Failed(format!("{} can not be read: {error}", path.display()));
    if fs::metadata(path).map_err(unreadable)?.is_dir() {
        let mut files = Vec::new();
        walk(path, 0, &mut files)?;
        let (mut added, mut left_out) = (0, 0);
        for file in files {
            let name = file.strip_prefix(path).unwrap_or(&file).display().to_string();
            match add_file(remote, corpus, &file, &name).await {
                Ok(true) => added += 1,
                Ok(false) => left_out += 1,
                // One broken file does not keep a thousand others out.
                Err(Failure::Failed(why)) => {
                    say(format_args!("{name}: {why}"));
                    left_out += 1;
                }
                Err(other) => return Err(other),
            }
        }
        return Ok((added, left_out));
    }
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    if matches!(extension, "jsonl" | "ndjson") {
        return Ok((import(remote, corpus, path).await?, 0));
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match add_file(remote, corpus, path, &name).await? {
        true => Ok((1, 0)),
        false => Err(Failure::Use(format!("{} is of no kind that is read", path.display()))),
    }
}

fn walk(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let mut entries: Vec<_> = fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        // Links are not followed, and hidden files are not meant.
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() && depth < MAX_DEPTH {
            walk(&entry.path(), depth + 1, files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// False: it is of a kind that is not read.
async fn add_file(remote: &Remote, corpus: &str, path: &Path, name: &str) -> Result<bool, Failure> {
    use base64::Engine as _;
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase()).unwrap_or_default();
    let Some((_, media_type)) = TYPES.iter().find(|(known, _)| *known == extension) else { return Ok(false) };
    if fs::metadata(path)?.len() > MAX_FILE_BYTES {
        return Err(Failure::Failed(format!("it has more than {MAX_FILE_BYTES} bytes")));
    }
    let data = base64::engine::general_purpose::STANDARD.encode(fs::read(path)?);
    let body = json!({"name": name, "mediaType": media_type, "data": data});
    let request = remote.request(Method::POST, &format!("/v1/corpora/{corpus}/documents"))?;
    remote.send(request.json(&body)).await?;
    Ok(true)
}

/// Sends a file's lines in portions; sending them again changes nothing where they have ids of their own.
async fn import(remote: &Remote, corpus: &str, path: &Path) -> Result<u64, Failure> {
    let (mut portion, mut lines, mut sent) = (Vec::new(), 0, 0);
    for line in BufReader::new(fs::File::open(path)?).split(b'\n') {
        let line = line?;
        if line.trim_ascii().is_empty() {
            continue;
        }
        if lines == LINES_AT_ONCE || (lines > 0 && portion.len() + line.len() > BYTES_AT_ONCE) {
            sent += send(remote, corpus, std::mem::take(&mut portion), sent).await?;
            lines = 0;
            say(format_args!("{sent} documents"));
        }
        portion.extend_from_slice(&line);
        portion.push(b'\n');
        lines += 1;
    }
    if lines > 0 {
        sent += send(remote, corpus, portion, sent).await?;
    }
    Ok(sent)
}

async fn send(remote: &Remote, corpus: &str, lines: Vec<u8>, before: u64) -> Result<u64, Failure> {
    let request = remote.request(Method::POST, &format!("/v1/corpora/{corpus}/import"))?;
    let request = request.header("content-type", "application/x-ndjson").body(lines);
    let told = remote.send(request).await.map_err(|error| match error {
        Failure::Failed(why) => Failure::Failed(format!("after the first {before} documents: {why}")),
        other => other,
    })?;
    Ok(told.get("documents").and_then(Value::as_u64).unwrap_or_default())
}
