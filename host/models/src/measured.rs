//! A provider whose calls are measured, whoever it is.

use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use vivarium_domain::{GenerateResponse, ModelInfo, ModelOptions};
use vivarium_sight::metric;

use crate::{Call, ModelError, Places, Provider};

/// Another provider, measured.
pub(crate) struct Measured<P: ?Sized>(pub(crate) std::sync::Arc<P>);

/// A call that is under way. One that is dropped was cancelled.
struct Measuring {
    provider: String,
    outcome: &'static str,
    started: Instant,
    first_token: Option<Duration>,
}

impl Drop for Measuring {
    fn drop(&mut self) {
        let provider = std::mem::take(&mut self.provider);
        if let Some(first_token) = self.first_token {
            metric::MODEL_FIRST_TOKEN.took(first_token, &[("provider", provider.clone())]);
        }
        let labels = &[("provider", provider), ("outcome", self.outcome.to_owned())];
        metric::MODEL_DURATION.took(self.started.elapsed(), labels);
    }
}

impl<P: Provider + ?Sized> Provider for Measured<P> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn describe(&self, model: &str) -> ModelInfo {
        self.0.describe(model)
    }

    fn most_output_tokens(&self, model: &str, asked: u32, options: &ModelOptions) -> u32 {
        self.0.most_output_tokens(model, asked, options)
    }

    fn server(&self) -> Option<(&str, u16)> {
        self.0.server()
    }

    fn places(&self, model: &str) -> Option<Places> {
        self.0.places(model)
    }

    fn generate<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Result<GenerateResponse, ModelError>> {
        async move {
            let mut measuring = Measuring {
                provider: self.name().to_owned(),
                outcome: "cancelled",
                started: Instant::now(),
                first_token: None,
            };
            let Call { on_token, .. } = call;
            let Measuring { started, first_token, .. } = &mut measuring;
            let mut on_token = |piece: &str| {
                first_token.get_or_insert_with(|| started.elapsed());
                on_token(piece);
            };
            let answer = self.0.generate(Call { on_token: &mut on_token, ..call }).await;
            measuring.outcome = match &answer {
                Ok(_) => "ok",
                Err(error) => error.word(),
            };
            if let Ok(GenerateResponse { usage, .. }) = &answer {
                for (direction, tokens) in [("input", usage.input_tokens), ("output", usage.output_tokens)] {
                    let labels = &[("provider", self.name().to_owned()), ("direction", direction.to_owned())];
                    metric::MODEL_TOKENS.add(tokens, labels);
                }
            }
            answer
        }
        .boxed()
    }

    fn models(&self) -> BoxFuture<'_, Result<Vec<String>, ModelError>> {
        self.0.models()
    }
}
