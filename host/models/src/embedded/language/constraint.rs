//! Answers by a JSON Schema: at each step only those tokens may come that can still lead to such JSON. The schema becomes a regular
//! expression ([`pattern`](super::pattern)), and a token may come if the expression's automaton survives its bytes.

use regex_automata::hybrid::LazyStateID;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson;
use regex_automata::{Anchored, Input};
use serde_json::Value;

use super::pattern::pattern;
use super::vocabulary::Vocabulary;
use crate::ModelError;

/// What the automaton of a schema may take, in bytes, before it runs and while it does.
const MAX_AUTOMATON_BYTES: usize = 32 << 20;

/// What may come next in one answer.
pub(super) struct Constraint {
    automaton: DFA,
    cache: Cache,
    state: LazyStateID,
}

impl Constraint {
    /// The constraint of a schema.
    ///
    /// # Errors
    /// When the schema can not be held to, or is too large.
    pub(super) fn of(schema: &Value) -> Result<Self, ModelError> {
        let cannot = |why: String| {
            ModelError::Unsupported(format!("the embedded model can not answer by this JSON Schema: {why}"))
        };
        let pattern = pattern(schema).map_err(cannot)?;
        let config = DFA::config().cache_capacity(MAX_AUTOMATON_BYTES).minimum_cache_clear_count(Some(0));
        let automaton = DFA::builder()
            .configure(config)
            .thompson(thompson::Config::new().nfa_size_limit(Some(MAX_AUTOMATON_BYTES)))
            .build(&pattern)
            .map_err(|_| cannot("it is too large".to_owned()))?;
        let mut cache = automaton.create_cache();
        let state = automaton.start_state_forward(&mut cache, &Input::new("").anchored(Anchored::Yes));
        let state = state.map_err(|_| cannot("it is too large".to_owned()))?;
        Ok(Self { automaton, cache, state })
    }

    /// Leaves of `expected` only what may come next; the end, where the answer is whole.
    pub(super) fn hold(&mut self, expected: &mut [f32], vocabulary: &Vocabulary) -> Result<(), ModelError> {
        let end = self.automaton.next_eoi_state(&mut self.cache, self.state).map_err(too_large)?;
        for (token, one) in (0..).zip(expected) {
            let may_come = match vocabulary.bytes(token) {
                [] => token == vocabulary.end && end.is_match(),
                bytes => self.after(bytes)?.is_some(),
            };
            if !may_come {
                *one = f32::NEG_INFINITY;
            }
        }
        Ok(())
    }

    /// These bytes have come.
    pub(super) fn said(&mut self, bytes: &[u8]) -> Result<(), ModelError> {
        if let Some(state) = self.after(bytes)? {
            self.state = state;
        }
        Ok(())
    }

    /// The state after these bytes; none: nothing that satisfies the schema goes on like this.
    fn after(&mut self, bytes: &[u8]) -> Result<Option<LazyStateID>, ModelError> {
        let mut state = self.state;
        for byte in bytes {
            state = self.automaton.next_state(&mut self.cache, state, *byte).map_err(too_large)?;
            if state.is_dead() || state.is_quit() {
                return Ok(None);
            }
        }
        Ok(Some(state))
    }
}

fn too_large<E>(_: E) -> ModelError {
    ModelError::Unsupported("the embedded model can not hold to this JSON Schema: it takes too much memory".to_owned())
}
