//! An assistant as this dialect's clients see it, and what they may say of one. It is an agent; the names of some of its
//! fields differ, and so they do in what is said of a wrong one.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use vivarium_agents::{AgentError, Agents};
use vivarium_domain::{Agent, AgentConfig, AgentId, AgentTool, ModelName, Timestamp, ToolName};

use crate::body::given;
use crate::error::ApiError;

/// An agent.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Assistant {
    id: AgentId,
    /// Unique within the tenant; usable in place of the id.
    #[schema(example = "my-assistant")]
    name: String,
    description: String,
    /// Who serves its model. An agent that names no model has the host's default one.
    #[schema(example = "openai")]
    llm_provider: String,
    #[schema(example = "gpt-5")]
    llm_model: String,
    /// Instructions for the model.
    #[schema(example = "You are a helpful assistant...")]
    llm_prompt: String,
    /// The most tokens of one answer; null: as many as the provider gives.
    max_tokens: Option<u32>,
    /// The tools that it may use; null: all that the tenant has.
    tools: Option<Vec<AgentTool>>,
    /// How it works: an installed mode's name.
    #[schema(example = "chat")]
    mode: String,
    /// From 1; each change makes the next one.
    #[schema(example = 1)]
    version: u64,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl Assistant {
    /// An agent, shown. `default` answers for those that name no model.
    pub(super) fn new(agent: Agent, default: &ModelName) -> Self {
        let Agent { id, version, created_at, updated_at, updated_by: _, config } = agent;
        let model = config.model.as_ref().unwrap_or(default);
        Self {
            id,
            name: config.name,
            description: config.description,
            llm_provider: model.provider().to_owned(),
            llm_model: model.model().to_owned(),
            llm_prompt: config.prompt,
            max_tokens: config.max_output_tokens,
            tools: config.tools,
            mode: config.mode,
            version,
            created_at,
            updated_at,
        }
    }
}

/// A tool by its name, or with who is asked before it is called.
#[derive(Deserialize, ToSchema)]
#[serde(untagged, expecting = "must be a tool's name, or an object of a name and an approval (auto, ask or never)")]
#[schema(as = AssistantTool)]
pub(super) enum Tool {
    /// Its name.
    Named(ToolName),
    /// Its name and the approval.
    Whole(AgentTool),
}

impl From<Tool> for AgentTool {
    fn from(tool: Tool) -> Self {
        match tool {
            Tool::Named(name) => Self { name, approval: vivarium_domain::Approval::default() },
            Tool::Whole(tool) => tool,
        }
    }
}

/// What a new agent is.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "a JSON object")]
#[schema(as = AssistantCreation)]
pub(super) struct Creation {
    /// Unique within the tenant, and no UUID: those are ids.
    #[schema(
        min_length = 1,
        max_length = 128,
        pattern = r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$",
        example = "my-assistant"
    )]
    name: String,
    /// `openai`, `anthropic`, `google`, `embedded`, as far as it is configured here.
    #[schema(min_length = 1, max_length = 64, example = "embedded")]
    llm_provider: String,
    /// The model, as its provider names it.
    #[schema(min_length = 1, max_length = 128, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$", example = "extractive")]
    llm_model: String,
    /// Instructions for the model.
    #[schema(max_length = 200000, pattern = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$")]
    llm_prompt: Option<String>,
    #[schema(max_length = 4000, pattern = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$")]
    description: Option<String>,
    /// The most tokens of one answer.
    #[schema(minimum = 1, maximum = 1000000)]
    max_tokens: Option<u32>,
    /// The tools that it may use, each of them once; without it, all that the tenant has.
    #[schema(max_items = 200)]
    tools: Option<Vec<Tool>>,
    /// An installed mode's name; without it, `chat`.
    #[schema(min_length = 1, example = "chat")]
    mode: Option<String>,
}

/// What is said of an agent: each field that is there takes the place of what was. `null` is the default again, where a field
/// has one.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "a JSON object")]
#[schema(as = AssistantChange)]
pub(super) struct Change {
    /// Unique within the tenant, and no UUID: those are ids.
    #[serde(default, deserialize_with = "given")]
    #[schema(
        nullable = false,
        min_length = 1,
        max_length = 128,
        pattern = r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$"
    )]
    name: Option<String>,
    /// `openai`, `anthropic`, `google`, `embedded`, as far as it is configured here.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, min_length = 1, max_length = 64)]
    llm_provider: Option<String>,
    /// The model, as its provider names it. It and the provider are checked together.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, min_length = 1, max_length = 128, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    llm_model: Option<String>,
    /// Instructions for the model.
    #[serde(default, deserialize_with = "given")]
    #[schema(
        value_type = Option<String>,
        max_length = 200000,
        pattern = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$",
        example = "You are a helpful assistant..."
    )]
    llm_prompt: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(
        value_type = Option<String>,
        max_length = 4000,
        pattern = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$"
    )]
    description: Option<Option<String>>,
    /// The most tokens of one answer.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1000000)]
    max_tokens: Option<Option<u32>>,
    /// The tools that it may use, each of them once; null: all that the tenant has.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Vec<Tool>>, max_items = 200)]
    tools: Option<Option<Vec<Tool>>>,
    /// An installed mode's name.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, min_length = 1)]
    mode: Option<Option<String>>,
}

impl Creation {
    /// The agent that is asked for.
    pub(super) fn config(self, agents: &Agents) -> Result<AgentConfig, AgentError> {
        let named = AgentConfig::named(self.name);
        Ok(AgentConfig {
            model: Some(model(agents, &self.llm_provider, &self.llm_model)?),
            prompt: self.llm_prompt.unwrap_or_default(),
            description: self.description.unwrap_or_default(),
            max_output_tokens: self.max_tokens,
            tools: self.tools.map(|tools| tools.into_iter().map(AgentTool::from).collect()),
            mode: self.mode.unwrap_or_else(|| named.mode.clone()),
            ..named
        })
    }
}

/// A change that can be made again and again, whoever else changes the agent meanwhile.
pub(super) struct Changes {
    change: Change,
    tools: Option<Option<Vec<AgentTool>>>,
}

impl From<Change> for Changes {
    fn from(mut change: Change) -> Self {
        let tools = change.tools.take();
        let tools = tools.map(|tools| tools.map(|tools| tools.into_iter().map(AgentTool::from).collect()));
        Self { change, tools }
    }
}

impl Changes {
    /// Makes the change.
    pub(super) fn apply(&self, agents: &Agents, config: &mut AgentConfig) -> Result<(), AgentError> {
        let Self { change, tools } = self;
        if let Some(name) = &change.name {
            config.name.clone_from(name);
        }
        if change.llm_provider.is_some() || change.llm_model.is_some() {
            let before = config.model.as_ref().unwrap_or(agents.default_model());
            let provider = change.llm_provider.as_deref().unwrap_or(before.provider());
            let name = change.llm_model.as_deref().unwrap_or(before.model());
            config.model = Some(model(agents, provider, name)?);
        }
        let default = AgentConfig::named(String::new());
        set(&mut config.prompt, change.llm_prompt.as_ref(), default.prompt);
        set(&mut config.description, change.description.as_ref(), default.description);
        set(&mut config.mode, change.mode.as_ref(), default.mode);
        if let Some(max_tokens) = change.max_tokens {
            config.max_output_tokens = max_tokens;
        }
        if let Some(tools) = tools {
            config.tools.clone_from(tools);
        }
        Ok(())
    }
}

fn set(field: &mut String, said: Option<&Option<String>>, default: String) {
    if let Some(said) = said {
        *field = said.clone().unwrap_or(default);
    }
}

/// A provider's model; the provider must be configured. Whether it knows the model shows when it is asked.
fn model(agents: &Agents, provider: &str, name: &str) -> Result<ModelName, AgentError> {
    const MAX_MODEL_CHARS: usize = 128;
    let configured = agents.providers();
    if !configured.contains(&provider) {
        let shown: String = provider.chars().take(80).collect();
        let wrong = format!("must be a provider that is configured here ({}), not {shown:?}", configured.join(", "));
        return Err(AgentError::invalid("llmProvider", wrong));
    }
    let fits = (1..=MAX_MODEL_CHARS).contains(&name.chars().count()) && !name.contains(char::is_control);
    let wrong = || {
        let wrong = format!("must have 1 to {MAX_MODEL_CHARS} characters and no control characters");
        AgentError::invalid("llmModel", wrong)
    };
    ModelName::new(provider, name).filter(|_| fits).ok_or_else(wrong)
}

/// What is wrong with an agent, by the names that this dialect has for its fields.
pub(super) fn wrong(error: AgentError) -> ApiError {
    match error {
        AgentError::Invalid { field, wrong } => {
            let field = match field {
                "prompt" => "llmPrompt",
                "model" => "llmModel",
                "maxOutputTokens" => "maxTokens",
                same => same,
            };
            AgentError::Invalid { field, wrong }.into()
        }
        other => other.into(),
    }
}
