//! In place of the language model, where the host was built without it.

use std::path::Path;

use futures::future::BoxFuture;
use vivarium_domain::{Abilities, GenerateResponse};

use crate::{Call, ModelError, Timeouts};

/// The name of the model that is not there.
pub(crate) const NAME: &str = "smollm2-135m-instruct";
/// None.
pub(crate) const CONTEXT_TOKENS: u32 = 0;

/// A model that there is none of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LanguageModel {}

impl LanguageModel {
    pub(crate) fn load(_: &Path) -> Result<Self, String> {
        Err("this binary was built without a language model of its own: build it with `--features embedded-llm`, or with \
             `cargo xtask serve --with-model`"
            .to_owned())
    }

    pub(crate) fn abilities() -> Abilities {
        Abilities::default()
    }

    pub(crate) fn places(&self) -> usize {
        match *self {}
    }

    pub(crate) fn generate<'a>(
        &'a self,
        _: Call<'a>,
        _: Timeouts,
    ) -> BoxFuture<'a, Result<GenerateResponse, ModelError>> {
        match *self {}
    }
}
