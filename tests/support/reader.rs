//! A reader by rule, in place of a language model: it plans, takes notes, compares and answers from what a request shows it and from
//! nothing else. It knows that rows of capitalised words are names, and that a sentence that names what is asked about and something new
//! leads on to that. So what it finds is what the mode has let it see.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::Answer;

/// How many names it follows from one question.
const FOLLOWED: usize = 3;

/// A passage, as the request shows it.
struct Passage<'a> {
    id: &'a str,
    title: &'a str,
    text: &'a str,
}

/// What it says to a request in the format of OpenAI's chat completions.
#[must_use]
pub fn reader(request: &Value) -> Answer {
    let said: Vec<(String, String)> = request["messages"].as_array().into_iter().flatten().map(message).collect();
    let last = said.iter().rev().find(|(role, text)| role == "user" && !after_passages(text).is_empty());
    let question = last.map(|(_, text)| after_passages(text).to_owned()).unwrap_or_default();
    let all: String = said.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("\n");
    let shown = passages(&all);
    let schema = request["response_format"]["json_schema"]["schema"]["properties"].to_string();
    if schema.contains("\"questions\"") {
        let queries: Vec<String> = names(&question).into_iter().collect();
        let queries = if queries.is_empty() { vec![question.clone()] } else { queries };
        return json_answer(&json!({"questions": [{"question": question, "queries": queries}]}));
    }
    if schema.contains("\"gaps\"") {
        return json_answer(&notes(&question, &shown));
    }
    if schema.contains("\"disagreements\"") {
        return json_answer(&json!({"disagreements": disagreements(&shown)}));
    }
    Answer::text(&answer(&question, &shown))
}

/// What the client itself says: passages stand before it.
fn after_passages(text: &str) -> &str {
    text.rsplit("</untrusted_passages>").next().unwrap_or_default().trim()
}

fn json_answer(value: &Value) -> Answer {
    Answer::text(&value.to_string())
}

fn message(message: &Value) -> (String, String) {
    let text = match &message["content"] {
        Value::String(text) => text.clone(),
        parts => parts.as_array().into_iter().flatten().filter_map(|part| part["text"].as_str()).collect(),
    };
    (message["role"].as_str().unwrap_or_default().to_owned(), text)
}

fn passages(text: &str) -> Vec<Passage<'_>> {
    let pieces = text.split("<passage id=\"").skip(1);
    let passage = |piece: &'_ str| -> Option<(usize, usize, usize)> {
        let id = piece.find('"')?;
        let title = piece.get(id..)?.find("title=\"")? + id + 7;
        let text = piece.get(title..)?.find("\">\n")? + title;
        Some((id, title, text))
    };
    pieces
        .filter_map(|piece| {
            let (id, title, text) = passage(piece)?;
            let end = piece.find("\n</passage>")?;
            Some(Passage { id: piece.get(..id)?, title: piece.get(title..text)?, text: piece.get(text + 3..end)? })
        })
        .collect()
}

impl Passage<'_> {
    fn is_note(&self) -> bool {
        self.title.starts_with("Notes ")
    }
}

/// Rows of at least two capitalised words.
fn names(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut row: Vec<&str> = Vec::new();
    for raw in text.split_whitespace().chain(["."]) {
        let word = raw.trim_matches(|c: char| !c.is_alphanumeric());
        if word.starts_with(char::is_uppercase) && word != "The" {
            row.push(word);
        } else {
            row.clear();
            continue;
        }
        if row.len() == 2 {
            found.insert(row.join(" "));
        }
        if raw.ends_with(['.', ',', '?', '!', ':']) {
            row.clear();
        }
    }
    found
}

fn sentences(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(['.', '\n'])
        .map(str::trim)
        .filter(|sentence| sentence.ends_with('.') && !sentence.starts_with("Note "))
}

/// The words by which a question asks: those that name a relation stand before "of".
fn relations(question: &str) -> Vec<&str> {
    let words: Vec<&str> = question.split_whitespace().collect();
    words.windows(2).filter(|pair| pair.get(1) == Some(&"of")).filter_map(|pair| pair.first().copied()).collect()
}

fn notes(question: &str, shown: &[Passage<'_>]) -> Value {
    let before = shown.iter().filter(|passage| passage.is_note());
    let noted: String = before.map(|passage| passage.text).collect::<Vec<_>>().join("\n");
    let mut known = names(question);
    known.extend(names(&noted));
    let relations = relations(question);
    let mut notes = Vec::new();
    let mut told = noted.clone();
    let (mut next, mut aside) = (Vec::new(), Vec::new());
    for passage in shown.iter().filter(|passage| !passage.is_note()) {
        for sentence in sentences(passage.text) {
            let named = names(sentence);
            if named.is_disjoint(&known) || told.contains(sentence) {
                continue;
            }
            let asked = relations.iter().any(|relation| sentence.contains(relation));
            if asked {
                notes.push(json!({"sourceId": passage.id, "claim": sentence, "quote": sentence}));
                told.push_str(sentence);
            }
            let new = named.difference(&known).cloned();
            if asked { next.extend(new) } else { aside.extend(new) }
        }
    }
    let answered = !relations.is_empty() && relations.iter().all(|relation| told.contains(relation));
    let mut gaps: Vec<String> = Vec::new();
    for name in next.into_iter().chain(aside).filter(|_| !answered) {
        if !gaps.contains(&name) && gaps.len() < FOLLOWED {
            gaps.push(name);
        }
    }
    json!({"notes": notes, "answered": answered, "gaps": gaps})
}

/// The numbered notes: (number, source, claim).
fn numbered<'a>(shown: &'a [Passage<'a>]) -> Vec<(usize, &'a str, &'a str)> {
    let of = |passage: &'a Passage<'a>| {
        passage.text.lines().filter_map(move |line| {
            let (number, rest) = line.strip_prefix("Note ")?.split_once(": ")?;
            let (claim, _) = rest.split_once(" — “")?;
            Some((number.parse().ok()?, passage.id, claim))
        })
    };
    shown.iter().filter(|passage| passage.is_note()).flat_map(of).collect()
}

/// Notes that begin alike and end otherwise.
fn disagreements(shown: &[Passage<'_>]) -> Vec<Value> {
    let notes = numbered(shown);
    let mut found = Vec::new();
    for (at, (first, source, claim)) in notes.iter().enumerate() {
        for (second, other_source, other) in notes.iter().skip(at + 1) {
            let (Some((about, is)), Some((same, other_is))) = (claim.split_once(" is "), other.split_once(" is "))
            else {
                continue;
            };
            if about == same && is != other_is && source != other_source {
                found.push(json!({"about": about, "first": first, "second": second}));
            }
        }
    }
    found
}

fn answer(question: &str, shown: &[Passage<'_>]) -> String {
    let notes = numbered(shown);
    let mut lines: Vec<String> = notes.iter().map(|(_, source, claim)| format!("- {claim} [{source}]")).collect();
    if lines.is_empty() {
        let (asked, relations) = (names(question), relations(question));
        for passage in shown {
            let fits = |sentence: &&str| {
                !names(sentence).is_disjoint(&asked) && relations.iter().any(|relation| sentence.contains(relation))
            };
            lines.extend(sentences(passage.text).filter(fits).map(|sentence| format!("- {sentence} [{}]", passage.id)));
        }
    }
    if lines.is_empty() { "The passages do not say.".to_owned() } else { lines.join("\n") }
}
