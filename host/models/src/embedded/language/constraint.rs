//! Answers by a JSON Schema: at each step only those tokens may come that can still lead to an answer that satisfies it.

use std::sync::Arc;

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};
use serde_json::{Value, json};

use super::vocabulary::Vocabulary;
use crate::ModelError;

/// Makes constraints of schemas.
pub(super) struct Constraints(ParserFactory);

/// What may come next in one answer.
pub(super) struct Constraint(Matcher);

impl Constraints {
    pub(super) fn new(vocabulary: &Vocabulary) -> Result<Self, String> {
        let count = u32::try_from(vocabulary.all().len()).map_err(|_| "there are too many tokens".to_owned())?;
        let tokens = TokTrie::from(&TokRxInfo::new(count, vocabulary.end), vocabulary.all());
        let tokens: TokEnv = Arc::new(ApproximateTokEnv::new(tokens));
        let mut factory = ParserFactory::new_simple(&tokens).map_err(|error| error.to_string())?;
        // What a client sends does not belong into errors, and nothing is to be printed.
        factory.limits_mut().verbose_errors = false;
        factory.quiet();
        Ok(Self(factory))
    }

    /// The constraint of a schema. Its library bounds what a schema may cost.
    pub(super) fn of(&self, schema: &Value) -> Result<Constraint, ModelError> {
        let mut schema = schema.clone();
        if let Some(object) = schema.as_object_mut() {
            // A small model would go on with spaces for ever.
            object.insert("x-guidance".to_owned(), json!({"whitespace_flexible": false}));
        }
        let parser = self.0.create_parser(TopLevelGrammar::from_json_schema(schema));
        let mut matcher = Matcher::new(parser);
        match matcher.get_error() {
            None => Ok(Constraint(matcher)),
            Some(error) => {
                let why = error.lines().next().unwrap_or_default();
                Err(ModelError::Unsupported(format!("the embedded model can not answer by this JSON Schema: {why}")))
            }
        }
    }
}

impl Constraint {
    /// Leaves of `expected` only what may come next. The answer is whole where only its end may.
    pub(super) fn hold(&mut self, expected: &mut [f32]) -> Result<(), ModelError> {
        let allowed = self.0.compute_mask_or_eos().map_err(broken)?;
        for (token, one) in (0..).zip(expected) {
            if !allowed.is_allowed(token) {
                *one = f32::NEG_INFINITY;
            }
        }
        Ok(())
    }

    /// A token has come.
    pub(super) fn said(&mut self, token: u32) -> Result<(), ModelError> {
        self.0.consume_token(token).map_err(broken)
    }

    /// Nothing more may come.
    pub(super) fn is_whole(&self) -> bool {
        self.0.is_stopped()
    }
}

fn broken(error: impl std::fmt::Display) -> ModelError {
    let error = error.to_string();
    let why = error.lines().next().unwrap_or_default();
    ModelError::Unavailable(format!("the embedded model could not keep to the JSON Schema: {why}"))
}
