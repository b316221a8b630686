//! A host for tests, played from a script: what the model says, what the tools give. It keeps a ledger of sources as the real
//! one does, and writes down all that it is asked.

use std::collections::{BTreeMap, VecDeque};

use crate::mode::{
    Abilities, CallResult, Citation, Difference, FinishReason, GenerateRequest, GenerateResponse, Host, Message,
    ModelError, ModelInfo, Source, ToolCall, ToolDefinition,
};

/// What a scripted tool gives: its content and the documents that it has read, as (title, location, text).
pub type ToolAnswer = Result<(String, Vec<(String, String, String)>), String>;
/// A scripted tool: from its arguments to what it gives.
pub type Tool = Box<dyn FnMut(&serde_json::Value) -> ToolAnswer>;
/// A scripted model: from what it is asked to what it says.
pub type Model = Box<dyn FnMut(&GenerateRequest) -> Result<GenerateResponse, ModelError>>;

/// A host that plays a script.
pub struct ScriptedHost {
    /// What `describe` says.
    pub info: ModelInfo,
    /// Answers that the model gives first, in order.
    pub answers: VecDeque<Result<GenerateResponse, ModelError>>,
    /// The model, when `answers` are used up; without one it is unavailable.
    pub model: Option<Model>,
    tools: Vec<(ToolDefinition, Tool)>,
    texts: BTreeMap<String, String>,
    /// The ledger.
    pub sources: Vec<Source>,
    /// Each question to the model.
    pub asked: Vec<GenerateRequest>,
    /// How many questions were asked at once, each time that some were.
    pub at_once: Vec<usize>,
    /// Each batch of tool calls.
    pub batches: Vec<Vec<ToolCall>>,
    /// Each step that was reported.
    pub steps: Vec<String>,
    /// What was added to the session.
    pub appended: Vec<Message>,
    /// What the run has changed.
    pub changes: Option<Difference>,
    /// The summaries that were kept, and for how many messages.
    pub summaries: Vec<(u32, String)>,
    /// The name of each call to the host, in order.
    pub calls: Vec<&'static str>,
}

impl ScriptedHost {
    /// A host whose model can do `abilities`, without tools.
    #[must_use]
    pub fn new(abilities: Abilities) -> Self {
        Self {
            info: ModelInfo {
                name: "scripted/model".to_owned(),
                abilities,
                context_tokens: 32_000,
                hint: Some("scripted/model is not a language model. Set OPENAI_API_KEY to use one.".to_owned()),
            },
            answers: VecDeque::new(),
            model: None,
            tools: Vec::new(),
            texts: BTreeMap::new(),
            sources: Vec::new(),
            asked: Vec::new(),
            at_once: Vec::new(),
            batches: Vec::new(),
            steps: Vec::new(),
            appended: Vec::new(),
            changes: None,
            summaries: Vec::new(),
            calls: Vec::new(),
        }
    }

    /// Adds a tool.
    #[must_use]
    pub fn with_tool(mut self, name: &str, tool: impl FnMut(&serde_json::Value) -> ToolAnswer + 'static) -> Self {
        let definition = ToolDefinition {
            name: name.to_owned(),
            description: format!("Does {name}."),
            input_schema: r#"{"type":"object"}"#.to_owned(),
            read_only: true,
        };
        self.tools.push((definition, Box::new(tool)));
        self
    }

    /// Marks the tools so far as ones that change something.
    #[must_use]
    pub fn with_tools_that_write(mut self) -> Self {
        for (definition, _) in &mut self.tools {
            definition.read_only = false;
        }
        self
    }

    /// Lets the model say `text` next.
    #[must_use]
    pub fn saying(mut self, text: &str) -> Self {
        self.answers.push_back(Ok(says(text)));
        self
    }

    /// Lets the model ask for a tool next.
    #[must_use]
    pub fn asking_for(mut self, calls: &[(&str, &str)]) -> Self {
        let tool_calls = calls.iter().enumerate().map(|(at, (name, arguments))| ToolCall {
            id: format!("call_{at}"),
            name: (*name).to_owned(),
            arguments_json: (*arguments).to_owned(),
        });
        let answer =
            GenerateResponse { tool_calls: tool_calls.collect(), finish_reason: FinishReason::ToolCalls, ..says("") };
        self.answers.push_back(Ok(answer));
        self
    }

    /// Plays a model after the scripted answers.
    #[must_use]
    pub fn with_model(
        mut self,
        model: impl FnMut(&GenerateRequest) -> Result<GenerateResponse, ModelError> + 'static,
    ) -> Self {
        self.model = Some(Box::new(model));
        self
    }

    /// All system messages that the model has seen.
    #[must_use]
    pub fn system_texts(&self) -> String {
        let messages = self.asked.iter().flat_map(|request| &request.messages);
        let texts = messages.filter_map(|message| match message {
            Message::System(text) => Some(text.as_str()),
            _ => None,
        });
        texts.collect::<Vec<_>>().join("\n")
    }

    /// The names of all tools that were called, in order.
    #[must_use]
    pub fn called(&self) -> Vec<&str> {
        self.batches.iter().flatten().map(|call| call.name.as_str()).collect()
    }

    fn call(&mut self, call: &ToolCall) -> CallResult {
        let mut result = CallResult {
            id: call.id.clone(),
            name: call.name.clone(),
            content: String::new(),
            is_error: false,
            sources: Vec::new(),
        };
        let tool = self.tools.iter_mut().find(|(definition, _)| definition.name == call.name);
        let answer = match (tool, serde_json::from_str(&call.arguments_json)) {
            (Some((_, tool)), Ok(arguments)) => tool(&arguments),
            (None, _) => Err(format!("there is no tool {}", call.name)),
            (_, Err(error)) => Err(format!("the arguments are not JSON: {error}")),
        };
        match answer {
            Ok((content, documents)) => {
                result.content = content;
                result.sources = documents.into_iter().map(|document| self.enter(document)).collect();
            }
            Err(why) => {
                result.content = why;
                result.is_error = true;
            }
        }
        result
    }

    fn enter(&mut self, (title, location, text): (String, String, String)) -> Source {
        let source = Source {
            id: format!("s{}", self.sources.len() + 1),
            title,
            location,
            media_type: "text/plain".to_owned(),
            fetched_at: "2026-01-01T00:00:00Z".to_owned(),
            content_hash: String::new(),
            length_bytes: u32::try_from(text.len()).unwrap_or(u32::MAX),
        };
        self.texts.insert(source.id.clone(), text);
        self.sources.push(source.clone());
        source
    }
}

/// An answer of a model that is text alone.
#[must_use]
pub fn says(text: &str) -> GenerateResponse {
    GenerateResponse {
        text: text.to_owned(),
        tool_calls: Vec::new(),
        citations: Vec::new(),
        finish_reason: FinishReason::Stop,
        input_tokens: 1,
        output_tokens: 1,
    }
}

/// An answerer that can only quote: the first sentence of each passage, with its source.
///
/// # Errors
/// Never: it is a [`Model`].
pub fn extractive(request: &GenerateRequest) -> Result<GenerateResponse, ModelError> {
    let citations: Vec<Citation> = request
        .passages
        .iter()
        .map(|passage| Citation {
            source_id: passage.source_id.clone(),
            quote: passage.text.split_inclusive('.').next().unwrap_or_default().to_owned(),
        })
        .collect();
    let sentences = citations.iter().map(|citation| format!("{} [{}]", citation.quote, citation.source_id));
    let text = sentences.collect::<Vec<_>>().join(" ");
    Ok(GenerateResponse { citations, ..says(&text) })
}

impl Host for ScriptedHost {
    fn describe(&mut self) -> ModelInfo {
        self.calls.push("model.describe");
        self.info.clone()
    }

    fn generate(&mut self, request: &GenerateRequest) -> Result<GenerateResponse, ModelError> {
        self.calls.push("model.generate");
        self.asked.push(request.clone());
        match (self.answers.pop_front(), &mut self.model) {
            (Some(answer), _) => answer,
            (None, Some(model)) => model(request),
            (None, None) => Err(ModelError::Unavailable("the script is at its end".to_owned())),
        }
    }

    fn generate_all(&mut self, requests: &[GenerateRequest]) -> Vec<Result<GenerateResponse, ModelError>> {
        self.at_once.push(requests.len());
        requests.iter().map(|request| self.generate(request)).collect()
    }

    fn tools(&mut self) -> Vec<ToolDefinition> {
        self.calls.push("tools.list");
        self.tools.iter().map(|(definition, _)| definition.clone()).collect()
    }

    fn call_all(&mut self, calls: &[ToolCall]) -> Vec<CallResult> {
        self.calls.push("tools.call-all");
        self.batches.push(calls.to_vec());
        calls.iter().map(|call| self.call(call)).collect()
    }

    fn read_source(&mut self, id: &str, start_bytes: u32, max_bytes: u32) -> Option<String> {
        self.calls.push("sources.read");
        let text = self.texts.get(id)?;
        let start = text.floor_char_boundary(start_bytes as usize);
        Some(crate::excerpt::beginning(text.get(start..)?, max_bytes as usize).to_owned())
    }

    fn check(&mut self, citations: &[Citation]) -> Vec<bool> {
        self.calls.push("sources.check");
        let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let stands = |citation: &Citation| {
            let quote = flat(&citation.quote);
            !quote.is_empty() && self.texts.get(&citation.source_id).is_some_and(|text| flat(text).contains(&quote))
        };
        citations.iter().map(stands).collect()
    }

    fn step(&mut self, message: &str) {
        self.calls.push("steps.report");
        self.steps.push(message.to_owned());
    }

    fn changes(&mut self, _max_bytes: u32) -> Option<Difference> {
        self.calls.push("workspace.changes");
        self.changes.clone()
    }

    fn append(&mut self, messages: &[Message]) {
        self.calls.push("session.append");
        self.appended.extend_from_slice(messages);
    }

    fn summarize(&mut self, messages: u32, summary: &str) {
        self.calls.push("session.summarize");
        self.summaries.push((messages, summary.to_owned()));
    }
}
