//! The one trait of all vendors.

use futures::future::BoxFuture;
use vivarium_domain::{GenerateRequest, GenerateResponse, ModelInfo};

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
    fn most_output_tokens(&self, model: &str, asked: u32) -> u32;

    /// Where it is asked: a host and a port. None: in this process.
    fn server(&self) -> Option<(&str, u16)> {
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
