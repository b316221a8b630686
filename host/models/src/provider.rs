//! The one trait of all vendors.

use std::collections::HashMap;
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::Value;
use vivarium_domain::{AssistantMessage, GenerateRequest, GenerateResponse, ModelInfo, ModelOptions};

use crate::ModelError;

/// One call of a model.
pub struct Call<'a> {
    /// The model's name as the provider knows it.
    pub model: &'a str,
    /// What is asked.
    pub request: &'a GenerateRequest,
    /// Takes the answer's text as it comes, piece by piece; together the pieces are the response's text. When an
    /// attempt fails after its first piece, the call fails: nothing is ever shown twice.
    pub on_token: &'a mut (dyn FnMut(&str) + Send),
    /// The same for every attempt of this call, also after a restart of the host. Sent as the header `Idempotency-Key`: a
    /// provider or a gateway that knows it answers a repeated call without charging for it again.
    pub idempotency_key: Option<&'a str>,
    /// What calls with the same beginning share, such as the conversation's id: a provider that keeps beginnings finds them by it.
    pub cache_key: Option<&'a str>,
    /// How it is to answer; none: as the provider has it. What the model does not take is left out.
    pub options: Option<&'a ModelOptions>,
    /// [`GenerateResponse::thoughts`] of this model's earlier answers, by the id of the first tool call of each.
    pub thoughts: Option<&'a HashMap<String, Value>>,
    /// How long each attempt may take: to its first byte, between two, and in all. None: as the provider is configured.
    pub timeout: Option<Duration>,
}

impl<'a> Call<'a> {
    /// A call with nothing said besides the question.
    pub fn new(model: &'a str, request: &'a GenerateRequest, on_token: &'a mut (dyn FnMut(&str) + Send)) -> Self {
        let (idempotency_key, cache_key, options, thoughts, timeout) = (None, None, None, None, None);
        Self { model, request, on_token, idempotency_key, cache_key, options, thoughts, timeout }
    }

    /// What of it goes into a request.
    pub(crate) fn asked(&self) -> Asked<'a> {
        let Self { model, request, cache_key, options, thoughts, .. } = *self;
        Asked { model, request, cache_key, options, thoughts }
    }
}

/// What of a call goes into a request.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) model: &'a str,
    pub(crate) request: &'a GenerateRequest,
    pub(crate) cache_key: Option<&'a str>,
    pub(crate) options: Option<&'a ModelOptions>,
    thoughts: Option<&'a HashMap<String, Value>>,
}

impl<'a> Asked<'a> {
    /// What a model wants back with the answers to these calls.
    pub(crate) fn thoughts_of(&self, said: &AssistantMessage) -> Option<&'a Value> {
        self.thoughts?.get(&said.tool_calls.first()?.id)
    }
}

/// How many answers a model works on at one time. Who asks more often settles whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    /// So many.
    pub most: usize,
    /// How long a turn is worth waiting for.
    pub patience: Duration,
}

/// A vendor, a server, or the embedded answerer. Dropping the future of [`generate`](Provider::generate) aborts the
/// request on the wire.
pub trait Provider: Send + Sync {
    /// The part of a model's name before the slash.
    fn name(&self) -> &str;

    /// What `model` can do. Makes no request.
    fn describe(&self, model: &str) -> ModelInfo;

    /// The most tokens that `model` is let write for an answer of at most `asked` tokens: more, where its bound counts its
    /// thoughts.
    fn most_output_tokens(&self, model: &str, asked: u32, options: &ModelOptions) -> u32;

    /// Where it is asked: a host and a port. None: in this process.
    fn server(&self) -> Option<(&str, u16)> {
        None
    }

    /// How many answers of `model` are worked on at one time. None: whoever is asked settles that.
    fn places(&self, _model: &str) -> Option<Places> {
        None
    }

    /// Asks the model, with retries where they can help.
    ///
    /// # Errors
    /// See [`ModelError`].
    fn generate<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Result<GenerateResponse, ModelError>>;

    /// The models that the provider lists, in its own order.
    ///
    /// # Errors
    /// When it can not be reached or does not list any.
    fn models(&self) -> BoxFuture<'_, Result<Vec<String>, ModelError>>;
}
