//! A small language model in the host itself: SmolLM2-135M-Instruct, by candle, in pure Rust, on the processor. It writes and it
//! chats, without a key and without a network; it answers by a JSON Schema, because it is let write nothing else; it is far too small
//! to plan, to use tools, or to be believed.
//!
//! The weights are read once and shared. Each answer has a memory of its own and is worked out on threads that matter less to
//! the operating system than all else; as many at a time as there is room for. Whose turn it is where more are wanted is
//! settled by who asks ([`Places`](crate::Places)).

mod constraint;
mod llama;
mod pattern;
mod prompt;
mod sample;
mod telling;
mod vocabulary;
mod weights;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout_at};
use vivarium_domain::{Abilities, FinishReason, GenerateRequest, GenerateResponse, ModelOptions, Usage};

use crate::{Call, ModelError, Timeouts};
use constraint::Constraint;
use llama::Llama;
use sample::Sampler;
use telling::{Telling, Told};
use vocabulary::Vocabulary;
pub(crate) use weights::NAME;

/// What the model was trained to read together is twice this; half of it is what it reads well, and what fits into a server's memory.
pub(crate) const CONTEXT_TOKENS: u32 = 4096;
/// The length of an answer where the request names none.
const OUTPUT_TOKENS: u32 = 1024;
/// A prompt is read in pieces, so that who has left is noticed between them.
const PROMPT_PIECE: usize = 128;
/// How much less the model's threads matter to the operating system than all else, as `nice` counts.
const NICENESS: i32 = 10;

/// The model, ready to answer.
#[derive(Clone)]
pub(crate) struct LanguageModel(Arc<Inner>);

struct Inner {
    llama: Llama,
    vocabulary: Vocabulary,
    threads: rayon::ThreadPool,
    /// How many answers are worked out at one time.
    most: usize,
    places: Arc<Semaphore>,
}

impl std::fmt::Debug for LanguageModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(NAME)
    }
}

/// One answer, while it is worked out.
struct Work {
    request: GenerateRequest,
    options: ModelOptions,
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
        let most = (cores / 2).max(1);
        Ok(Self(Arc::new(Inner { llama, vocabulary, threads, most, places: Arc::new(Semaphore::new(most)) })))
    }

    /// What it can do. Passages are quoted by the extractive answerer: a model of this size does not keep to its sources.
    pub(crate) fn abilities() -> Abilities {
        Abilities { free_text: true, json_schema: true, passages: true, ..Abilities::default() }
    }

    /// How many answers it works out at one time.
    pub(crate) fn places(&self) -> usize {
        self.0.most
    }

    /// Writes an answer, when there is a place for it. Dropping the future stops the work before its next token.
    pub(crate) async fn generate(&self, call: Call<'_>, bounds: Timeouts) -> Result<GenerateResponse, ModelError> {
        super::check(call.request, true, |what| {
            format!("embedded/{NAME} is too small a model to {what}: choose another model")
        })?;
        let bound = |own| call.timeout.unwrap_or(own);
        let began = Instant::now();
        let (mut within, mut slow) = (bound(bounds.first_byte), "did not begin to answer");
        let place = timeout_at(began + within, Arc::clone(&self.0.places).acquire_owned()).await;
        let place = place.map_err(|_| late(slow, within))?.map_err(|_| broken())?;
        let (pieces, mut told) = mpsc::unbounded_channel();
        let options = call.options.cloned().unwrap_or_default();
        let work = Work { request: call.request.clone(), options, pieces };
        let inner = Arc::clone(&self.0);
        let worked = tokio::task::spawn_blocking(move || {
            // Held until the work has ended, also where nobody waits for it any more.
            let _place = place;
            work.go(&inner)
        });
        let (mut text, mut last) = (String::new(), began);
        loop {
            let (end, ends) = (began + bound(bounds.total), last + within);
            let piece = timeout_at(end.min(ends), told.recv()).await.map_err(|_| match end < ends {
                true => late("did not end its answer", bound(bounds.total)),
                false => late(slow, within),
            })?;
            let Some(piece) = piece else { break };
            text.push_str(&piece);
            (call.on_token)(&piece);
            (within, slow, last) = (bound(bounds.idle), "fell silent in the middle of its answer", Instant::now());
        }
        let Done { finish_reason, usage } = worked.await.map_err(|_| broken())??;
        Ok(GenerateResponse { text, finish_reason, usage, ..GenerateResponse::default() })
    }
}

impl Work {
    /// Reads the request and writes the answer. The network's threads are borrowed for one step at a time: who waits there for a part
    /// of a step may be given another answer's step meanwhile, and must not be given all of another answer.
    fn go(self, inner: &Inner) -> Result<Done, ModelError> {
        let Self { request, options, pieces } = self;
        let prompt = prompt::tokens(&request, &inner.vocabulary)?;
        let most = room(prompt.len(), request.max_output_tokens)?;
        let mut sampler = Sampler::new(request.temperature, &options);
        let mut constraint = request.output_schema.as_ref().map(Constraint::of).transpose()?;
        let mut telling = Telling::new(pieces, options.stop);
        let mut memory = inner.llama.memory();
        let mut expected = Vec::new();
        for piece in prompt.chunks(PROMPT_PIECE) {
            if telling.is_left() {
                return Err(left());
            }
            expected = inner.threads.install(|| inner.llama.next(piece, &mut memory)).map_err(failed)?;
        }
        let mut said: Vec<u32> = Vec::new();
        let finish_reason = loop {
            if let Some(constraint) = &mut constraint {
                inner.threads.install(|| constraint.hold(&mut expected, &inner.vocabulary))?;
            }
            // What was said before must not be said again so soon, but JSON repeats itself.
            let lately: &[u32] = if constraint.is_some() { &[] } else { &said };
            let Some(token) = sampler.next(std::mem::take(&mut expected), lately) else { break FinishReason::Stop };
            let bytes = inner.vocabulary.bytes(token);
            if bytes.is_empty() {
                // A token of the conversation's frame: its end, or somebody else's turn.
                break FinishReason::Stop;
            }
            said.push(token);
            match telling.tell(bytes) {
                Told::On => {}
                Told::Stopped => break FinishReason::Stop,
                Told::Left => return Err(left()),
            }
            if let Some(constraint) = &mut constraint {
                constraint.said(bytes)?;
            }
            if said.len() >= most as usize {
                break FinishReason::Length;
            }
            expected = inner.threads.install(|| inner.llama.next(&[token], &mut memory)).map_err(failed)?;
        };
        telling.end();
        let usage = Usage { input_tokens: prompt.len() as u64, output_tokens: said.len() as u64, ..Usage::default() };
        Ok(Done { finish_reason, usage })
    }
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

fn late(what: &str, within: Duration) -> ModelError {
    ModelError::Unavailable(format!("embedded/{NAME} {what} within {} s", within.as_secs_f64()))
}

fn broken() -> ModelError {
    ModelError::Unavailable("the embedded model broke off in the middle of its answer".to_owned())
}

/// Nobody reads this: who asked is gone.
fn left() -> ModelError {
    ModelError::Unavailable("nobody waits for the answer".to_owned())
}

#[cfg(test)]
mod tests;
