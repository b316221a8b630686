//! What the vendors' requests have in common: the checks before anything is sent, and the small repairs that each of them
//! needs for a conversation that began with another model.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use vivarium_domain::{Abilities, GenerateRequest, Message, ModelInfo, ModelName, Part};

use crate::ModelError;
use crate::catalog::{self, Facts};
use crate::config::{ConfigError, ProviderConfig};
use crate::fault::{Fault, Who};

/// A provider's name, and a model's name to fall back on where a given one is empty.
pub(crate) struct Names {
    name: String,
    fallback: ModelName,
}

impl Names {
    pub(crate) fn new(config: &ProviderConfig) -> Result<Self, ConfigError> {
        let fallback = ModelName::new(&config.name, catalog::default_model(config.kind))
            .ok_or_else(|| ConfigError::ProviderName(config.name.clone()))?;
        Ok(Self { name: config.name.clone(), fallback })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn describe(&self, model: &str, facts: &Facts) -> ModelInfo {
        ModelInfo {
            name: ModelName::new(&self.name, model).unwrap_or_else(|| self.fallback.clone()),
            abilities: Abilities {
                free_text: true,
                tool_calls: facts.tool_calls,
                json_schema: facts.json_schema,
                images: facts.images,
                // It reads passages, but returns no verbatim citations with its answer.
                passages: false,
            },
            context_tokens: facts.context_tokens,
            hint: None,
        }
    }
}

/// What a request needs of a model, besides text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Needs {
    tools: bool,
    schema: bool,
    images: bool,
}

impl Needs {
    pub(crate) fn of(request: &GenerateRequest) -> Self {
        let is_image = |part: &Part| matches!(part, Part::Image(_));
        let images = request
            .messages
            .iter()
            .any(|message| matches!(message, Message::User { parts } if parts.iter().any(is_image)));
        Self { tools: !request.tools.is_empty(), schema: request.output_schema.is_some(), images }
    }
}

/// The first turn where a conversation begins with the model's words, because its beginning was cut off: the vendors want
/// a user's turn first.
pub(crate) const CUT_BEGINNING: &str = "(The beginning of this conversation is left out.)";

/// The media types of images that a message may hold.
const IMAGE_TYPES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];

/// Refuses what the model can not do and what nobody could answer, before anything is sent.
pub(crate) fn check(
    request: &GenerateRequest,
    facts: &Facts,
    needs: Needs,
    provider: &str,
    model: &str,
) -> Result<(), ModelError> {
    let missing = if needs.tools && !facts.tool_calls {
        "call tools"
    } else if needs.schema && !facts.json_schema {
        "answer by a JSON Schema"
    } else if needs.images && !facts.images {
        "read images"
    } else {
        return check_content(request);
    };
    Err(ModelError::Unsupported(format!("{provider}/{model} can not {missing}: choose another model")))
}

fn check_content(request: &GenerateRequest) -> Result<(), ModelError> {
    let mut spoken = request.messages.iter().filter(|message| !matches!(message, Message::System { .. })).peekable();
    if spoken.peek().is_none() && request.passages.is_empty() {
        let text = "the conversation holds no message of a user: add one".to_owned();
        return Err(ModelError::InvalidRequest(text));
    }
    for message in spoken {
        let Message::User { parts } = message else { continue };
        for part in parts {
            match part {
                Part::Image(image) if !IMAGE_TYPES.contains(&image.media_type.as_str()) => {
                    let text =
                        format!("an image is of type {:?}; send one of {}", image.media_type, IMAGE_TYPES.join(", "));
                    return Err(ModelError::InvalidRequest(text));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// The body as JSON.
pub(crate) fn json(body: &impl Serialize, request: &GenerateRequest) -> Result<Vec<u8>, ModelError> {
    let said: usize = request.messages.iter().map(size).sum();
    let read: usize = request.passages.iter().map(|passage| passage.text.len() + passage.title.len() + 64).sum();
    let mut bytes = Vec::with_capacity(1_024 + said + said / 8 + read + read / 8 + request.tools.len() * 512);
    serde_json::to_writer(&mut bytes, body)
        .map_err(|error| ModelError::InvalidRequest(format!("the request can not be written as JSON: {error}")))?;
    Ok(bytes)
}

fn size(message: &Message) -> usize {
    match message {
        Message::System { text } => text.len() + 64,
        Message::User { parts } => {
            let part = |part: &Part| match part {
                Part::Text(text) => text.len(),
                Part::Image(image) => image.data.len() / 3 * 4 + 64,
            };
            parts.iter().map(part).sum::<usize>() + 64
        }
        Message::Assistant(said) => said.text.len() + 64 + said.tool_calls.len() * 128,
        Message::Tool(result) => result.content.len() + 192,
    }
}

/// A text in an event, borrowed from it where it holds no escapes.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Text<'_> {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// An event that is no JSON of the expected form.
pub(crate) fn garbage(error: &serde_json::Error, who: &Who) -> Fault {
    Fault::retry(who.unavailable(format!("sent an event that can not be read: {error}")))
}

/// The arguments of a tool call as a model wrote them: an object, or what it wrote instead, wrapped in one.
pub(crate) struct Arguments<'a> {
    json: Cow<'a, str>,
    as_text: bool,
}

impl<'a> Arguments<'a> {
    /// To be sent as a JSON text.
    pub(crate) fn as_text(written: &'a str) -> Self {
        Self { json: object(written), as_text: true }
    }

    /// To be sent as a JSON value.
    pub(crate) fn as_value(written: &'a str) -> Self {
        Self { json: object(written), as_text: false }
    }
}

impl Serialize for Arguments<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.as_text {
            return serializer.serialize_str(&self.json);
        }
        let raw: &RawValue = serde_json::from_str(&self.json).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

fn object(written: &str) -> Cow<'_, str> {
    let trimmed = written.trim();
    if trimmed.is_empty() {
        return Cow::Borrowed("{}");
    }
    if trimmed.starts_with('{') && serde_json::from_str::<&RawValue>(trimmed).is_ok() {
        return Cow::Borrowed(trimmed);
    }
    serde_json::json!({ "not_valid_json": written }).to_string().into()
}

/// The id of a tool call as any vendor takes it. Ids come from models, also from other vendors'.
pub(crate) fn call_id(id: &str, max_bytes: usize) -> Cow<'_, str> {
    let fits = matches!(id.len(), 1..) && id.len() <= max_bytes && is_plain(id);
    if fits {
        return Cow::Borrowed(id);
    }
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    format!("call_{:016x}", hasher.finish()).into()
}

/// The name of a tool as any vendor takes it. A model may have made one up.
pub(crate) fn tool_name(name: &str) -> Cow<'_, str> {
    if matches!(name.len(), 1..=64) && is_plain(name) {
        return Cow::Borrowed(name);
    }
    let safe: String = name.chars().take(64).map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if safe.is_empty() { Cow::Borrowed("_") } else { Cow::Owned(safe) }
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn broken_arguments_are_sent_as_an_object_that_says_so() {
        for (written, sent) in [
            ("", "{}"),
            (" {\"a\": 1} ", "{\"a\": 1}"),
            ("[1]", "{\"not_valid_json\":\"[1]\"}"),
            ("{\"a\":", "{\"not_valid_json\":\"{\\\"a\\\":\"}"),
        ] {
            assert_eq!(serde_json::to_string(&Arguments::as_value(written)).unwrap(), sent);
        }
        assert_eq!(serde_json::to_string(&Arguments::as_text("{\"a\":1}")).unwrap(), r#""{\"a\":1}""#);
    }

    proptest! {
        #[test]
        fn any_id_and_name_become_ones_that_vendors_take(text in ".{0,100}") {
            for fixed in [call_id(&text, 40), tool_name(&text)] {
                prop_assert!(is_plain(&fixed) && matches!(fixed.len(), 1..=64), "{}", fixed);
            }
            prop_assert_eq!(call_id(&text, 40), call_id(&text, 40));
        }
    }
}
