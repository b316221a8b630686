//! The answerer that is always there: without a key, without weights, without a network. It is **not a language model**.
//! It picks the sentences of the given passages that answer the question best and repeats them word for word, each tied
//! to its source. What it says can be wrong only where the source is, or where another sentence would have fitted better.
//!
//! It exists so that a fresh installation does honest work over documents, and so that everything around a model (runs,
//! streams, citations) can be tried and tested with answers that are the same each time.

mod rank;
mod sentences;
mod words;

use futures::future::BoxFuture;
use vivarium_domain::{
    Abilities, Citation, FinishReason, GenerateRequest, GenerateResponse, Message, ModelInfo, ModelName, Part, Usage,
};

use crate::{Call, ModelError, Provider};
use rank::{Chosen, Question};

/// The part of the name before the slash.
const PROVIDER: &str = "embedded";
/// The only name behind it.
const MODEL: &str = "extractive";

/// What a person can do to get a model. Shown by whoever names this one.
const HINT: &str = "embedded/extractive is not a language model: it only quotes sentences of the documents that were found. \
                    For written answers set OPENAI_API_KEY, ANTHROPIC_API_KEY or GEMINI_API_KEY, or OPENAI_BASE_URL for a \
                    local server that speaks OpenAI's protocol, and start again.";

/// It keeps nothing and forgets nothing: the number only has to be larger than what a mode puts together.
const CONTEXT_TOKENS: u32 = 1_000_000;
/// Ranking less text than this is cheaper than moving it to another thread.
const MAX_INLINE_BYTES: usize = 64 << 10;

/// The embedded extractive answerer: not a language model. Serves `embedded/extractive`.
///
/// Words count as tokens, in [`Usage`] and for `max_output_tokens`: there is no tokenizer to ask.
#[derive(Debug, Clone, Copy, Default)]
pub struct Embedded;

impl Provider for Embedded {
    fn name(&self) -> &str {
        PROVIDER
    }

    fn describe(&self, model: &str) -> ModelInfo {
        let own = || ModelName::new(PROVIDER, MODEL);
        ModelInfo {
            name: ModelName::new(PROVIDER, model).or_else(own).unwrap_or_else(|| unreachable!("both parts are there")),
            abilities: Abilities { passages: true, ..Abilities::default() },
            context_tokens: CONTEXT_TOKENS,
            hint: Some(HINT.to_owned()),
        }
    }

    fn generate<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Result<GenerateResponse, ModelError>> {
        Box::pin(async move {
            check(&call)?;
            let chosen = choose(call.request).await?;
            Ok(respond(call.request, &chosen, call.on_token))
        })
    }

    fn models(&self) -> BoxFuture<'_, Result<Vec<String>, ModelError>> {
        Box::pin(async { Ok(vec![MODEL.to_owned()]) })
    }
}

/// Refuses what only a language model can do, by name.
fn check(call: &Call<'_>) -> Result<(), ModelError> {
    let cannot = |what: &str| {
        Err(ModelError::Unsupported(format!("embedded/extractive is not a language model and can not {what}. {HINT}")))
    };
    if call.model != MODEL {
        let named: String = call.model.chars().take(100).collect();
        return Err(ModelError::InvalidRequest(format!("there is no embedded model {named:?}, only {MODEL:?}")));
    }
    if !call.request.tools.is_empty() {
        return cannot("call tools");
    }
    if call.request.output_schema.is_some() {
        return cannot("answer by a JSON Schema");
    }
    let is_image = |part: &Part| matches!(part, Part::Image(_));
    let has_image = |message: &Message| matches!(message, Message::User { parts } if parts.iter().any(is_image));
    if call.request.messages.iter().any(has_image) {
        return cannot("read images");
    }
    Ok(())
}

/// Ranks on another thread where that takes long enough to hold up others.
async fn choose(request: &GenerateRequest) -> Result<Vec<Chosen>, ModelError> {
    let question = Question::of(&request.messages);
    let max_words = request.max_output_tokens.map(|tokens| usize::try_from(tokens).unwrap_or(usize::MAX));
    let bytes: usize = request.passages.iter().map(|passage| passage.text.len()).sum();
    if bytes <= MAX_INLINE_BYTES || tokio::runtime::Handle::try_current().is_err() {
        return Ok(rank::choose(&question, &request.passages, max_words));
    }
    let passages = request.passages.clone();
    tokio::task::spawn_blocking(move || rank::choose(&question, &passages, max_words))
        .await
        .map_err(|error| ModelError::Unavailable(format!("ranking the passages broke off: {error}")))
}

/// Puts the chosen sentences into a readable form and tells them piece by piece.
fn respond(request: &GenerateRequest, chosen: &[Chosen], on_token: &mut (dyn FnMut(&str) + Send)) -> GenerateResponse {
    let mut text = String::new();
    let mut tell = |piece: &str| {
        text.push_str(piece);
        on_token(piece);
    };
    if chosen.is_empty() {
        tell(&nothing_found(request));
    }
    let several = chosen.iter().filter(|sentence| !sentence.continues).count() > 1;
    for (at, sentence) in chosen.iter().enumerate() {
        let lead = match (at, sentence.continues) {
            (_, true) => " ",
            (0, _) if several => "- ",
            (0, _) => "",
            _ => "\n- ",
        };
        let next_continues = chosen.get(at + 1).is_some_and(|next| next.continues);
        let mark = if next_continues { String::new() } else { format!(" [{}]", sentence.source_id) };
        let words: Vec<&str> = sentence.quote.split_whitespace().collect();
        tell(&format!("{lead}{}{mark}", words.join(" ")));
    }
    let citation =
        |sentence: &Chosen| Citation { source_id: sentence.source_id.clone(), quote: sentence.quote.clone() };
    GenerateResponse {
        usage: usage(request, &text),
        text,
        tool_calls: Vec::new(),
        citations: chosen.iter().map(citation).collect(),
        finish_reason: FinishReason::Stop,
    }
}

fn nothing_found(request: &GenerateRequest) -> String {
    if request.passages.is_empty() {
        format!("I have no passages to answer from. {HINT}")
    } else {
        format!("Nothing in the passages that were found answers this. {HINT}")
    }
}

fn usage(request: &GenerateRequest, answer: &str) -> Usage {
    let count = |text: &str| text.split_whitespace().count() as u64;
    let messages: u64 = request.messages.iter().map(|message| count(&message.text())).sum();
    let passages: u64 = request.passages.iter().map(|passage| count(&passage.title) + count(&passage.text)).sum();
    Usage { input_tokens: messages + passages, output_tokens: count(answer) }
}
