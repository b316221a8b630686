//! Answering with the embedded answerer, which writes nothing of its own: find passages, read their documents so that they
//! are sources of the run, and let it choose the sentences that answer. Where that does not work, say plainly why.

use vivarium_sdk::excerpt::content_words;
use vivarium_sdk::mode::{
    GenerateRequest, Host, Message, ModeError, ModelInfo, Outcome, Passage, Source, ToolDefinition,
};

use crate::retrieval::{Reading, Retrieval};
use crate::{citing, conversation};

/// How many documents one answer rests on.
const MAX_DOCUMENTS: usize = 5;

/// An answer, and the documents that it rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct Grounded {
    /// The answer.
    pub outcome: Outcome,
    /// The documents that were read for it.
    pub sources: Vec<Source>,
}

impl Grounded {
    /// The outcome, its answer followed by where each cited document is.
    #[must_use]
    pub fn with_places(self) -> Outcome {
        let mut outcome = self.outcome;
        outcome.answer.push_str(&citing::list_of_sources(self.sources.iter(), &outcome.citations));
        outcome
    }
}

/// Answers `question` from the corpus, then from the conversation, else says what is missing.
///
/// # Errors
/// When the answerer fails, which it does not for what it can read.
pub fn answer(
    host: &mut impl Host,
    info: &ModelInfo,
    tools: &[ToolDefinition],
    history: &[Message],
    question: &str,
) -> Result<Grounded, ModeError> {
    let mut retrieval = Retrieval::new(tools);
    let mut said = None;
    if let Some(about) = subject(history, question) {
        let readings = find(host, &mut retrieval, &about);
        let passages: Vec<Passage> = readings.iter().flat_map(Reading::passages).collect();
        if !passages.is_empty() {
            let outcome = extract(host, &about, passages)?;
            if !outcome.citations.is_empty() {
                let sources = readings.into_iter().map(|reading| reading.source).collect();
                return Ok(Grounded { outcome, sources });
            }
            // The client has seen it: what follows may add to it, not take it back.
            said = Some(outcome.answer);
        }
    }
    let remembered = earlier(history, question).map(|words| format!("Earlier in this conversation:\n\n> {words}"));
    let reason = match (retrieval.is_possible(), retrieval.searched.is_empty()) {
        _ if remembered.is_some() => None,
        (false, true) => Some("This agent has no documents to search.".to_owned()),
        (true, true) => Some("There is nothing in your words that documents could be searched for.".to_owned()),
        (_, false) => Some(format!("I searched {} and found nothing that answers this.", retrieval.summary())),
    };
    let nature = said.is_none().then(|| nature(info));
    let problems = (!retrieval.problems.is_empty()).then(|| retrieval.problems.join("\n"));
    let parts = [said, remembered, reason, problems, nature];
    Ok(plain(parts.into_iter().flatten().collect::<Vec<_>>().join("\n\n")))
}

/// What the answerer says on `question` from `passages`; without citations where it has found nothing.
///
/// # Errors
/// When the answerer fails.
pub fn extract(host: &mut impl Host, question: &str, passages: Vec<Passage>) -> Result<Outcome, ModeError> {
    let request = GenerateRequest::answer(vec![Message::user(question)]).with_passages(passages);
    let response = host.generate(&request)?;
    let citations = citing::verified(host, response.citations);
    Ok(Outcome { answer: response.text, answer_json: None, citations })
}

/// What the answerer is and what would be better: its provider's own words where there are some.
#[must_use]
pub fn nature(info: &ModelInfo) -> String {
    info.hint.clone().unwrap_or_else(|| format!("{} is not a language model: it can only quote documents.", info.name))
}

/// What the question is about: itself, or with the client's words before it where it only refers to them ("and why?").
#[must_use]
pub fn subject(history: &[Message], question: &str) -> Option<String> {
    if !content_words(question).is_empty() {
        return Some(question.to_owned());
    }
    let before = conversation::last_question(history)?;
    (!content_words(&before).is_empty()).then(|| format!("{before} {question}"))
}

fn find(host: &mut impl Host, retrieval: &mut Retrieval, about: &str) -> Vec<Reading> {
    if !retrieval.is_possible() {
        return Vec::new();
    }
    let mut found = retrieval.search(host, &[about.to_owned()]);
    retrieval.read(host, &mut found, MAX_DOCUMENTS, about)
}

/// The sentence of the conversation that shares most words with the question, at least half of them.
fn earlier(history: &[Message], question: &str) -> Option<String> {
    let words = content_words(question);
    let said =
        |message: &Message| citing::sentences(&message.text()).into_iter().map(str::to_owned).collect::<Vec<_>>();
    let spoken = history.iter().filter(|message| matches!(message, Message::User(_) | Message::Assistant(_)));
    let shared = |sentence: &String| {
        let theirs = content_words(sentence);
        words.iter().filter(|word| theirs.contains(word)).count()
    };
    let best = spoken.flat_map(said).filter(|sentence| !sentence.ends_with('?')).max_by_key(shared)?;
    (!words.is_empty() && shared(&best) * 2 >= words.len()).then_some(best)
}

fn plain(answer: String) -> Grounded {
    Grounded { outcome: Outcome { answer, answer_json: None, citations: Vec::new() }, sources: Vec::new() }
}
