//! What is asked of this crate, and what it answers at once.

use std::sync::Arc;

use vivarium_domain::{
    Agent, AgentId, AgentRef, AgentTool, AttachmentKind, BusyPolicy, ContentHash, DocumentId, KeyId, Message,
    ModelName, ModelOptions, OutputFormat, ParentRun, RunId, SessionId, SpentBudget, WebhookForm,
};
use vivarium_store::StoreError;

use crate::table::Payer;

/// A file that comes with the input, as a model can read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// As the client named it.
    pub file_name: String,
    /// The type that it came as.
    pub media_type: String,
    /// Whether `content` is text (UTF-8) or an image.
    pub kind: AttachmentKind,
    /// The extracted text, or the image's bytes.
    pub content: bytes::Bytes,
}

/// Where to tell of the run's end, and in whose words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// A checked `https:` or `http:` URL.
    pub url: String,
    /// Whose words.
    pub form: WebhookForm,
}

/// What a client asks for. [`RunRequest::new`] and [`RunRequest::of_agent`] make one to be changed.
#[derive(Debug, Clone)]
pub struct RunRequest {
    /// The mode's name.
    pub mode: String,
    /// The question or the task.
    pub input: String,
    /// The agent that it is a run of.
    pub agent: Option<AgentRef>,
    /// Instructions for the model.
    pub instructions: Option<String>,
    /// Who answers; none: the host's default model.
    pub model: Option<ModelName>,
    /// Who is asked instead, in this order, when that one can not answer. One that is named before is passed over.
    pub fallback_models: Vec<ModelName>,
    /// How long a model may take, in seconds.
    pub model_timeout_seconds: Option<u32>,
    /// How a model is to answer.
    pub model_options: ModelOptions,
    /// The tools that it may use; none: all that the tenant has.
    pub tools: Option<Vec<AgentTool>>,
    /// The conversation to continue, or the id of a new one; none: a new one with an id of our choice.
    pub session_id: Option<SessionId>,
    /// The title of a new session; none: made from the input.
    pub session_title: Option<String>,
    /// For how many seconds without a message a new session is kept; none: as long as the host keeps sessions.
    pub session_ttl_seconds: Option<u64>,
    /// Nothing of it is kept as a session. Not together with `session_id`.
    pub stateless: bool,
    /// How many earlier turns of the session it is given; none: as many as the host gives.
    pub history_turns: Option<u32>,
    /// Turns that the client puts in front of its input, oldest first: of users and assistants, text alone.
    pub earlier: Vec<Message>,
    /// Files that come with the input.
    pub attachments: Vec<Attachment>,
    /// Documents that its corpus tools search, besides the host's own.
    pub contexts: Vec<DocumentId>,
    /// Corpora that its corpus tools search whole.
    pub corpora: Vec<String>,
    /// Agents that it may start, each as a tool.
    pub agents: Vec<AgentId>,
    /// The run that starts it.
    pub parent: Option<ParentRun>,
    /// The bound on cycles, from 1; none: the mode's default.
    pub max_cycles: Option<u32>,
    /// The most tokens that the model writes in one answer.
    pub max_output_tokens: Option<u32>,
    /// After so many seconds it is ended.
    pub timeout_seconds: Option<u32>,
    /// What the answer must be.
    pub output: OutputFormat,
    /// What becomes of it if a run of its session is under way.
    pub when_busy: BusyPolicy,
    /// The client's own notes.
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// Where to tell of its end.
    pub webhook: Option<Webhook>,
    /// Makes the request safe to repeat.
    pub idempotency: Option<Idempotency>,
    /// Who is charged for what the run has used, when it ends. A run that is taken up by another process charges nobody: what a
    /// key may do in a minute is over by then.
    pub payer: Option<Arc<dyn Payer>>,
    /// The key that it is counted for; none: nobody's, such as a run of the host's own command line.
    pub key: Option<KeyId>,
}

impl RunRequest {
    /// A run of this mode, of no agent, in a new session.
    #[must_use]
    pub fn new(mode: impl Into<String>, input: impl Into<String>) -> Self {
        Self {
            mode: mode.into(),
            input: input.into(),
            agent: None,
            instructions: None,
            model: None,
            fallback_models: Vec::new(),
            model_timeout_seconds: None,
            model_options: ModelOptions::default(),
            tools: None,
            session_id: None,
            session_title: None,
            session_ttl_seconds: None,
            stateless: false,
            history_turns: None,
            earlier: Vec::new(),
            attachments: Vec::new(),
            contexts: Vec::new(),
            corpora: Vec::new(),
            agents: Vec::new(),
            parent: None,
            max_cycles: None,
            max_output_tokens: None,
            timeout_seconds: None,
            output: OutputFormat::Text,
            when_busy: BusyPolicy::Enqueue,
            metadata: serde_json::Map::new(),
            webhook: None,
            idempotency: None,
            payer: None,
            key: None,
        }
    }

    /// A run of this agent, with all that it is configured with, in a new session.
    #[must_use]
    pub fn of_agent(agent: &Agent, input: impl Into<String>) -> Self {
        let config = &agent.config;
        Self {
            agent: Some(agent.into()),
            instructions: Some(config.prompt.clone()).filter(|prompt| !prompt.is_empty()),
            model: config.model.clone(),
            fallback_models: config.fallback_models.clone(),
            model_timeout_seconds: config.model_timeout_seconds,
            model_options: config.model_options.clone(),
            tools: config.tools.clone(),
            session_ttl_seconds: config.session_ttl_seconds,
            history_turns: config.history_turns,
            contexts: config.contexts.clone(),
            corpora: config.corpora.clone(),
            agents: config.agents.clone(),
            max_cycles: config.max_cycles,
            max_output_tokens: config.max_output_tokens,
            timeout_seconds: config.timeout_seconds,
            output: config.output.clone(),
            when_busy: config.when_busy,
            ..Self::new(config.mode.clone(), input)
        }
    }
}

/// A client's idempotency key and what it came with.
#[derive(Debug, Clone)]
pub struct Idempotency {
    /// The key, as the client sent it.
    pub key: String,
    /// SHA-256 of the request's body.
    pub request_hash: ContentHash,
}

/// A run that was accepted, or found by its idempotency key.
#[derive(Debug, Clone)]
pub struct Started {
    /// The run.
    pub run_id: RunId,
    /// The conversation that it belongs to.
    pub session_id: SessionId,
    /// The idempotency key was known: this is the run that it made.
    pub replayed: bool,
}

/// Why a run was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No plugin provides the mode.
    #[error("there is no mode {name:?}; there are: {available}")]
    UnknownMode {
        /// What was asked for.
        name: String,
        /// The modes that there are, in a sentence.
        available: String,
    },
    /// No provider serves the model.
    #[error("{0}")]
    UnknownModel(String),
    /// The bound on cycles is out of its range.
    #[error("maxCycles must be an integer from 1 to {max}")]
    MaxCycles {
        /// The most.
        max: u32,
    },
    /// A run of the session is under way and the request does not want to wait, or the session is being deleted.
    #[error("a run of this session is under way, or the session is being deleted; try again when that has ended")]
    SessionBusy,
    /// The session is with another agent, or is not there.
    #[error("{0}")]
    Session(String),
    /// The model reads no images.
    #[error("the model {0} reads no images; choose one that does, or leave the image out")]
    Images(ModelName),
    /// The schema for the answer is no JSON Schema.
    #[error("the output schema is no valid JSON Schema: {0}")]
    OutputSchema(String),
    /// The key came with another request before.
    #[error("this Idempotency-Key was used with another request body")]
    IdempotencyConflict,
    /// Nothing is left of a budget.
    #[error("{0}")]
    Budget(Box<SpentBudget>),
    /// Too many runs wait already.
    #[error("the host is full: {0}")]
    Overloaded(String),
    /// The tenant's own runs are in the way.
    #[error("this tenant has {0} runs under way, as many as it may; try again when some have ended")]
    TenantOverloaded(usize),
    /// The tenant's plugins can not be read.
    #[error(transparent)]
    Registry(#[from] vivarium_registry::RegistryError),
    /// There is too little room on the disk.
    #[error("the host's disk is nearly full")]
    DiskFull,
    /// No new runs are taken.
    #[error("the host is shutting down")]
    ShuttingDown,
    /// The tenant is being deleted.
    #[error("there is no such tenant")]
    TenantGone,
    /// The run could not be written down.
    #[error(transparent)]
    Store(#[from] StoreError),
}
