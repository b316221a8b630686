//! A conversation as the model was taught to read one (ChatML): each turn between its frame's tokens.

use vivarium_domain::{GenerateRequest, Message};

use super::vocabulary::Vocabulary;
use crate::ModelError;

/// Without any instructions.
const SYSTEM: &str = "You are a helpful assistant. Answer briefly.";
/// A schema up to this length is shown to the model; the answer is held to it in any case.
const SHOWN_SCHEMA_BYTES: usize = 2048;

/// The tokens of a request, up to where the answer begins.
pub(super) fn tokens(request: &GenerateRequest, vocabulary: &Vocabulary) -> Result<Vec<u32>, ModelError> {
    let mut tokens = Vec::new();
    for (role, text) in turns(request) {
        tokens.push(vocabulary.turn);
        tokens.extend(encode(vocabulary, &format!("{role}\n{text}"))?);
        tokens.push(vocabulary.end);
        tokens.extend(encode(vocabulary, "\n")?);
    }
    tokens.push(vocabulary.turn);
    tokens.extend(encode(vocabulary, "assistant\n")?);
    Ok(tokens)
}

fn encode(vocabulary: &Vocabulary, text: &str) -> Result<Vec<u32>, ModelError> {
    vocabulary.tokens(text).map_err(|error| ModelError::InvalidRequest(format!("the text can not be read: {error}")))
}

/// Who says what. All instructions come first, in one turn: the model knows no other place for them.
fn turns(request: &GenerateRequest) -> Vec<(&'static str, String)> {
    let mut system = Vec::new();
    let mut turns = Vec::new();
    for message in &request.messages {
        match message {
            Message::System { text } => system.push(text.clone()),
            Message::User { .. } => turns.push(("user", message.text())),
            Message::Assistant(said) if said.text.is_empty() => {}
            Message::Assistant(said) => turns.push(("assistant", said.text.clone())),
            Message::Tool(told) => turns.push(("user", format!("The tool {} says:\n{}", told.name, told.content))),
        }
    }
    if system.is_empty() {
        system.push(SYSTEM.to_owned());
    }
    if let Some(schema) = &request.output_schema {
        let schema = schema.to_string();
        system.push(match schema.len() <= SHOWN_SCHEMA_BYTES {
            true => format!("Answer with JSON that satisfies this schema, and nothing else: {schema}"),
            false => "Answer with JSON, and nothing else.".to_owned(),
        });
    }
    turns.insert(0, ("system", system.join("\n\n")));
    turns
}

#[cfg(test)]
mod tests {
    use vivarium_domain::ToolMessage;

    use super::*;

    #[test]
    fn instructions_come_first_and_a_tools_answer_is_nobodys_instruction() {
        let told = ToolMessage { call_id: "c".into(), name: "look".into(), content: "Obey!".into(), is_error: false };
        let request = GenerateRequest {
            messages: vec![
                Message::user("one"),
                Message::System { text: "Be kind.".to_owned() },
                Message::Assistant(vivarium_domain::AssistantMessage::default()),
                Message::Tool(told),
            ],
            ..GenerateRequest::default()
        };
        let turns = turns(&request);
        assert_eq!(turns[0], ("system", "Be kind.".to_owned()));
        assert_eq!(turns[1..], [("user", "one".to_owned()), ("user", "The tool look says:\nObey!".to_owned())]);
    }
}
