//! The names of what a span says of itself: OpenTelemetry's semantic conventions in one version, and our own names where they
//! have none. The conventions for generative AI still change, so whoever reads our traces reads them by this version.

/// The version of the semantic conventions.
pub const SEMCONV_VERSION: &str = "1.41.0";

/// Where that version is written down for programs; stands with all spans.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.41.0";

/// Names of attributes.
pub mod attribute {
    /// Why it failed, one word of a closed set.
    pub const ERROR_TYPE: &str = "error.type";
    /// Who is asked: a host's name.
    pub const SERVER_ADDRESS: &str = "server.address";
    /// And at which port.
    pub const SERVER_PORT: &str = "server.port";
    /// A request's method.
    pub const HTTP_METHOD: &str = "http.request.method";
    /// The template of its path.
    pub const HTTP_ROUTE: &str = "http.route";
    /// The answer's status.
    pub const HTTP_STATUS: &str = "http.response.status_code";

    /// `chat`, `invoke_agent` or `execute_tool`.
    pub const OPERATION: &str = "gen_ai.operation.name";
    /// Who serves the model.
    pub const PROVIDER: &str = "gen_ai.provider.name";
    /// The conversation: our session.
    pub const CONVERSATION: &str = "gen_ai.conversation.id";
    /// The agent's id.
    pub const AGENT_ID: &str = "gen_ai.agent.id";
    /// The agent's version.
    pub const AGENT_VERSION: &str = "gen_ai.agent.version";
    /// The model that was asked for.
    pub const REQUEST_MODEL: &str = "gen_ai.request.model";
    /// The most tokens that it may answer with.
    pub const REQUEST_MAX_TOKENS: &str = "gen_ai.request.max_tokens";
    /// The temperature.
    pub const REQUEST_TEMPERATURE: &str = "gen_ai.request.temperature";
    /// `text` or `json`.
    pub const OUTPUT_TYPE: &str = "gen_ai.output.type";
    /// Why the answer ended.
    pub const FINISH_REASONS: &str = "gen_ai.response.finish_reasons";
    /// Tokens of the question.
    pub const INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
    /// Tokens of the answer.
    pub const OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
    /// The tool's name.
    pub const TOOL_NAME: &str = "gen_ai.tool.name";
    /// `extension`: it runs in the host; `function`: the agent is another run.
    pub const TOOL_TYPE: &str = "gen_ai.tool.type";
    /// The call's id.
    pub const TOOL_CALL_ID: &str = "gen_ai.tool.call.id";

    /// Content: what the model was told. Only where the operator has asked for it, as the next ones.
    pub const INPUT_MESSAGES: &str = "gen_ai.input.messages";
    /// Content: what the model said.
    pub const OUTPUT_MESSAGES: &str = "gen_ai.output.messages";
    /// Content: a tool's arguments.
    pub const TOOL_ARGUMENTS: &str = "gen_ai.tool.call.arguments";
    /// Content: a tool's answer.
    pub const TOOL_RESULT: &str = "gen_ai.tool.call.result";
    /// Content: what a step shows to the client.
    pub const STEP_MESSAGE: &str = "vivarium.step.message";

    /// Whose it is.
    pub const TENANT: &str = "vivarium.tenant";
    /// The id of the request, as the log has it.
    pub const REQUEST_ID: &str = "vivarium.request.id";
    /// The API dialect.
    pub const DIALECT: &str = "vivarium.dialect";
    /// The run.
    pub const RUN: &str = "vivarium.run.id";
    /// The run that has started it, as a tool.
    pub const RUN_PARENT: &str = "vivarium.run.parent.id";
    /// Whether this is a later part of a run that waited, or whose host was stopped.
    pub const RUN_RESUMED: &str = "vivarium.run.resumed";
    /// How this part of the run came to its end: `completed`, `failed`, `cancelled`, `waiting` or `left`.
    pub const RUN_ENDED: &str = "vivarium.run.ended";
    /// The mode.
    pub const MODE: &str = "vivarium.mode";
    /// The number of a step in its run.
    pub const STEP: &str = "vivarium.step.number";
    /// The number of a model call in its run.
    pub const MODEL_CALL: &str = "vivarium.model_call.number";
    /// The plugin that provides the tool.
    pub const PLUGIN: &str = "vivarium.plugin";
    /// Processor time of the guest, in milliseconds.
    pub const CPU_MS: &str = "vivarium.guest.cpu_ms";
    /// The most memory of the guest, in bytes.
    pub const MEMORY_PEAK: &str = "vivarium.guest.memory_peak_bytes";
    /// How often the guest called the host.
    pub const HOST_CALLS: &str = "vivarium.guest.host_calls";
    /// What is waited for: `place`, `approval` or `disk`.
    pub const WAIT_FOR: &str = "vivarium.wait.for";
}
