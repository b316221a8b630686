//! The contract's words with the handles that a loop wants: a message from a text, a request from messages.

use std::fmt;

use super::{
    AssistantMessage, CallResult, GenerateRequest, Message, ModeError, ModelError, Part, Passage, ToolDefinition,
    ToolMessage, Visibility,
};

impl Message {
    /// Instructions. Never of fetched text.
    pub fn system(text: impl Into<String>) -> Self {
        Self::System(text.into())
    }

    /// The client's words.
    pub fn user(text: impl Into<String>) -> Self {
        Self::User(vec![Part::Text(text.into())])
    }

    /// The model's words.
    pub fn assistant(text: impl Into<String>) -> Self {
        Self::Assistant(AssistantMessage { text: text.into(), tool_calls: Vec::new() })
    }

    /// The message's text, images left out.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::System(text) => text.clone(),
            Self::User(parts) => {
                let texts = parts.iter().filter_map(|part| match part {
                    Part::Text(text) => Some(text.as_str()),
                    Part::Image(_) => None,
                });
                texts.collect::<Vec<_>>().join("\n")
            }
            Self::Assistant(message) => message.text.clone(),
            Self::Tool(message) => message.content.clone(),
        }
    }
}

impl From<CallResult> for Message {
    /// The result as the model sees it, with the ids by which it can cite what was read.
    fn from(result: CallResult) -> Self {
        let mut content = result.content;
        for source in &result.sources {
            content.push_str(&format!("\n\nThis is source [{}]: {}", source.id, source.title));
        }
        Self::Tool(ToolMessage { call_id: result.id, name: result.name, content, is_error: result.is_error })
    }
}

impl GenerateRequest {
    /// A question whose answer nobody sees but the mode.
    #[must_use]
    pub fn hidden(messages: Vec<Message>) -> Self {
        Self {
            messages,
            tools: Vec::new(),
            passages: Vec::new(),
            output_schema: None,
            max_output_tokens: None,
            temperature: None,
            visibility: Visibility::Hidden,
        }
    }

    /// A question whose answer is the run's: the client sees it while it is written.
    #[must_use]
    pub fn answer(messages: Vec<Message>) -> Self {
        Self { visibility: Visibility::Answer, ..Self::hidden(messages) }
    }

    /// Lets the model ask for tools.
    #[must_use]
    pub fn with_tools(self, tools: Vec<ToolDefinition>) -> Self {
        Self { tools, ..self }
    }

    /// Gives it what the answer may rest on.
    #[must_use]
    pub fn with_passages(self, passages: Vec<Passage>) -> Self {
        Self { passages, ..self }
    }

    /// Asks for JSON that satisfies a schema.
    #[must_use]
    pub fn with_schema(self, schema: String) -> Self {
        Self { output_schema: Some(schema), ..self }
    }
}

impl From<ModelError> for ModeError {
    fn from(error: ModelError) -> Self {
        Self::Model(describe(&error))
    }
}

/// A model's error as a sentence for a person.
fn describe(error: &ModelError) -> String {
    let (what, why) = match error {
        ModelError::Unsupported(why) => ("the model lacks an ability that this needs", why),
        ModelError::InvalidRequest(why) => ("the model's provider refused the request", why),
        ModelError::ContextLengthExceeded(why) => ("the conversation is longer than the model can read", why),
        ModelError::ContentPolicy(why) => ("the provider's content policy refused the request", why),
        ModelError::Unavailable(why) => ("the model does not answer", why),
        ModelError::BudgetExhausted(why) => ("the run's budget is spent", why),
    };
    if why.is_empty() { what.to_owned() } else { format!("{what}: {why}") }
}

/// A model's answer that is not the JSON that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonError {
    /// There is no answer.
    Model(String),
    /// The answer is something else. Says what is wrong with it.
    Malformed(String),
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Model(why) => f.write_str(why),
            Self::Malformed(why) => write!(f, "the model's answer is not the JSON that was asked for: {why}"),
        }
    }
}

impl From<ModelError> for JsonError {
    fn from(error: ModelError) -> Self {
        Self::Model(describe(&error))
    }
}
