//! A mode that asks the model once, for one sentence. `conversation` is plain Rust; below it stands what the host calls.

wit_bindgen::generate!({ path: "wit", world: "vivarium:plugin/mode-plugin" });

use exports::vivarium::plugin::mode::{Guest, ModeError, Outcome, Request};
use vivarium::plugin::model::{self, GenerateRequest, Message, ModelError, Part, Visibility};
use vivarium::plugin::steps;

const TASK: &str = "Answer in one short sentence, in the language of the question.";

/// Instructions first, then what was said before, then the question.
fn conversation(input: &str, instructions: Option<&str>, history: Vec<Message>) -> Vec<Message> {
    let system = instructions.into_iter().chain([TASK]).collect::<Vec<_>>().join("\n\n");
    let question = Message::User(vec![Part::Text(input.to_owned())]);
    std::iter::once(Message::System(system)).chain(history).chain([question]).collect()
}

/// The host's own words, for the client.
fn reason(error: ModelError) -> String {
    match error {
        ModelError::Unsupported(text)
        | ModelError::InvalidRequest(text)
        | ModelError::ContextLengthExceeded(text)
        | ModelError::ContentPolicy(text)
        | ModelError::Unavailable(text)
        | ModelError::BudgetExhausted(text) => text,
    }
}

struct Plugin;

impl Guest for Plugin {
    fn run(request: Request) -> Result<Outcome, ModeError> {
        if request.input.trim().is_empty() {
            return Err(ModeError::InvalidInput("ask something".to_owned()));
        }
        steps::report("Thinking");
        let question = GenerateRequest {
            messages: conversation(&request.input, request.instructions.as_deref(), request.history),
            tools: Vec::new(),
            passages: Vec::new(),
            output_schema: None,
            max_output_tokens: Some(200),
            temperature: None,
            // The client sees the words as they come.
            visibility: Visibility::Answer,
        };
        let answer = model::generate(&question).map_err(|error| ModeError::Model(reason(error)))?;
        Ok(Outcome { answer: answer.text, answer_json: None, citations: answer.citations })
    }
}

export!(Plugin);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_comes_last_and_the_task_after_the_instructions() {
        let said = conversation("Why?", Some("Be kind."), vec![Message::User(vec![])]);
        assert!(matches!(&said[0], Message::System(text) if text.starts_with("Be kind.") && text.ends_with(TASK)));
        assert!(matches!(&said[2], Message::User(parts) if matches!(&parts[0], Part::Text(text) if text == "Why?")));
    }
}
