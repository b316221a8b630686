//! A small language model in the host itself: SmolLM2-135M-Instruct, by candle, in pure Rust, on the processor. It writes and it
//! chats, without a key and without a network; it answers by a JSON Schema, because it is let write nothing else; it is far too small
//! to plan, to use tools, or to be believed.
//!
//! The weights are read once and shared. Each answer has a memory of its own and is worked out on threads that matter less to
//! the operating system than all else; as many at a time as there is room for, the others wait their turn.

mod constraint;
mod llama;
mod pattern;
mod prompt;
mod sample;
mod vocabulary;
mod weights;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, mpsc, oneshot};
use vivarium_domain::{Abilities, FinishReason, GenerateRequest, GenerateResponse, Message, Part, Usage};

use crate::ModelError;
use constraint::Constraint;
use llama::Llama;
use vocabulary::Vocabulary;
pub(crate) use weights::NAME;

/// What the model was trained to read together is twice this; half of it is what it reads well, and what fits into a server's memory.
pub(crate) const CONTEXT_TOKENS: u32 = 4096;
/// The length of an answer where the request names none.
const OUTPUT_TOKENS: u32 = 1024;
/// A prompt is read in pieces, so that who has left is noticed between them.
const PROMPT_PIECE: usize = 128;
/// So many answers wait for their turn; more are refused, because they would wait for minutes.
const WAITING: usize = 32;
/// How much less the model's threads matter to the operating system than all else, as `nice` counts.
const NICENESS: i32 = 10;

/// The model, ready to answer.
#[derive(Clone)]
pub(crate) struct LanguageModel(Arc<Inner>);

struct Inner {
    llama: Llama,
    vocabulary: Vocabulary,
    threads: rayon::ThreadPool,
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl std::fmt::Debug for LanguageModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(NAME)
    }
}

/// One answer, while it is worked out on the model's threads.
struct Work {
    request: GenerateRequest,
    constraint: Option<Constraint>,
    pieces: mpsc::UnboundedSender<String>,
}

/// What is known when it is done, besides the text.
struct Done {
    finish_reason: FinishReason,
    usage: Usage,
}

impl LanguageModel {
    /// Reads the weights. Blocks for about a second.
    ///
    /// # Errors
    /// In a sentence, when the file can not be read or is not the one that is known.
    pub(crate) fn load(file: &Path) -> Result<Self, String> {
        let (llama, vocabulary) = weights::read(file, CONTEXT_TOKENS as usize)?;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(cores)
            .thread_name(|number| format!("model-{number}"))
            .start_handler(|_| {
                if let Err(error) = rustix::process::nice(NICENESS) {
                    tracing::warn!(%error, "the threads of the embedded model matter as much as all others");
                }
            })
            .build()
            .map_err(|error| format!("its threads can not be started: {error}"))?;
        let places = Arc::new(Semaphore::new((cores / 2).max(1)));
        Ok(Self(Arc::new(Inner { llama, vocabulary, threads, places, waiting: AtomicUsize::new(0) })))
    }

    /// What it can do. Passages are quoted by the extractive answerer: a model of this size does not keep to its sources.
    pub(crate) fn abilities() -> Abilities {
        Abilities { free_text: true, json_schema: true, passages: true, ..Abilities::default() }
    }

    /// Writes an answer. Dropping the future stops the work before its next token.
    pub(crate) async fn generate(
        &self,
        request: &GenerateRequest,
        on_token: &mut (dyn FnMut(&str) + Send),
    ) -> Result<GenerateResponse, ModelError> {
        check(request)?;
        let place = self.place().await?;
        let (pieces, mut told) = mpsc::unbounded_channel();
        let (done, ended) = oneshot::channel();
        let work = Work { request: request.clone(), constraint: None, pieces };
        let inner = Arc::clone(&self.0);
        self.0.threads.spawn(move || {
            let result = work.go(&inner);
            // Who asked may have left.
            let _ = done.send(result);
            drop(place);
        });
        let mut text = String::new();
        while let Some(piece) = told.recv().await {
            text.push_str(&piece);
            on_token(&piece);
        }
        let broken = |_| ModelError::Unavailable("the embedded model broke off in the middle of its answer".to_owned());
        let Done { finish_reason, usage } = ended.await.map_err(broken)??;
        Ok(GenerateResponse { text, finish_reason, usage, ..GenerateResponse::default() })
    }

    async fn place(&self) -> Result<tokio::sync::OwnedSemaphorePermit, ModelError> {
        let places = Arc::clone(&self.0.places);
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            return Ok(place);
        }
        let waits = Waits::new(&self.0.waiting);
        if waits.before >= WAITING {
            let message = format!("{WAITING} answers of the embedded model are waited for already; try again later");
            return Err(ModelError::Unavailable(message));
        }
        places.acquire_owned().await.map_err(|_| ModelError::Unavailable("the embedded model has stopped".to_owned()))
    }
}

/// Counts one who waits, until it is dropped.
struct Waits<'a> {
    waiting: &'a AtomicUsize,
    before: usize,
}

impl<'a> Waits<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        Self { waiting, before: waiting.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Work {
    /// Reads the request and writes the answer. A long text and a large schema take their time, too, so all of it is done here.
    fn go(mut self, inner: &Inner) -> Result<Done, ModelError> {
        let prompt = prompt::tokens(&self.request, &inner.vocabulary)?;
        let most = room(prompt.len(), self.request.max_output_tokens)?;
        let temperature = self.request.temperature.unwrap_or(sample::TEMPERATURE);
        self.constraint = self.request.output_schema.as_ref().map(Constraint::of).transpose()?;
        let mut memory = inner.llama.memory();
        let mut expected = Vec::new();
        for piece in prompt.chunks(PROMPT_PIECE) {
            if self.pieces.is_closed() {
                return Err(left());
            }
            expected = inner.llama.next(piece, &mut memory).map_err(failed)?;
        }
        let mut said: Vec<u32> = Vec::new();
        let mut bytes = Vec::new();
        let finish_reason = loop {
            if let Some(constraint) = &mut self.constraint {
                constraint.hold(&mut expected, &inner.vocabulary)?;
            }
            let Some(token) = sample::next(std::mem::take(&mut expected), temperature, self.lately(&said)) else {
                break FinishReason::Stop;
            };
            if token == inner.vocabulary.end {
                break FinishReason::Stop;
            }
            said.push(token);
            bytes.extend_from_slice(inner.vocabulary.bytes(token));
            let whole = whole_characters(&mut bytes);
            if !whole.is_empty() && self.pieces.send(whole).is_err() {
                return Err(left());
            }
            if let Some(constraint) = &mut self.constraint {
                constraint.said(inner.vocabulary.bytes(token))?;
            }
            if said.len() >= most as usize {
                break FinishReason::Length;
            }
            if self.pieces.is_closed() {
                return Err(left());
            }
            expected = inner.llama.next(&[token], &mut memory).map_err(failed)?;
        };
        if !bytes.is_empty() {
            // A character that was never finished; who asked may have left.
            let _ = self.pieces.send(String::from_utf8_lossy(&bytes).into_owned());
        }
        let usage = Usage { input_tokens: prompt.len() as u64, output_tokens: said.len() as u64, ..Usage::default() };
        Ok(Done { finish_reason, usage })
    }

    /// What was said before, as far as it must not be said again: JSON repeats itself.
    fn lately<'a>(&self, said: &'a [u32]) -> &'a [u32] {
        if self.constraint.is_some() { &[] } else { said }
    }
}

/// Takes the characters that are whole from the front; what is no text at all becomes U+FFFD.
fn whole_characters(bytes: &mut Vec<u8>) -> String {
    let end = match std::str::from_utf8(bytes) {
        Ok(_) => bytes.len(),
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Err(_) => bytes.len(),
    };
    let rest = bytes.split_off(end);
    let whole = std::mem::replace(bytes, rest);
    String::from_utf8_lossy(&whole).into_owned()
}

fn check(request: &GenerateRequest) -> Result<(), ModelError> {
    let cannot = |what: &str| {
        Err(ModelError::Unsupported(format!("embedded/{NAME} is too small a model to {what}: choose another model")))
    };
    if !request.tools.is_empty() {
        return cannot("call tools");
    }
    let is_image = |part: &Part| matches!(part, Part::Image(_));
    let has_image = |message: &Message| matches!(message, Message::User { parts } if parts.iter().any(is_image));
    if request.messages.iter().any(has_image) {
        return cannot("read images");
    }
    Ok(())
}

/// How many tokens the answer may have.
fn room(prompt: usize, asked: Option<u32>) -> Result<u32, ModelError> {
    let context = CONTEXT_TOKENS as usize;
    let left = context.saturating_sub(prompt);
    if left == 0 {
        let message =
            format!("the conversation has {prompt} tokens; embedded/{NAME} reads {context}, its answer included");
        return Err(ModelError::ContextLengthExceeded(message));
    }
    let left = u32::try_from(left).unwrap_or(u32::MAX);
    Ok(asked.unwrap_or(OUTPUT_TOKENS).clamp(1, left))
}

fn failed(error: candle_core::Error) -> ModelError {
    ModelError::Unavailable(format!("the embedded model failed: {error}"))
}

/// Nobody reads this: who asked is gone.
fn left() -> ModelError {
    ModelError::Unavailable("nobody waits for the answer".to_owned())
}

#[cfg(test)]
mod tests;
