//! How each kind of work looks as a span: its name, its kind, what it says of itself. Names hold nothing that a person or a model
//! wrote, but for models and tools, whose names are identifiers.

use std::borrow::Cow;

use opentelemetry::trace::SpanKind;
use opentelemetry::{Array, KeyValue, StringValue, Value};

use crate::convention::attribute as of;
use crate::span::{Remote, Span, includes_content};

/// The longest name of a model or a tool in a span's name.
const MAX_NAME_CHARS: usize = 80;

/// What of a content goes into a span: two thousand spans may wait for a collector.
const MAX_CONTENT_BYTES: usize = 32 << 10;

/// A name that somebody else has chosen, as a part of a span's name.
fn plain(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(MAX_NAME_CHARS).collect()
}

fn text(value: &str) -> Value {
    value.to_owned().into()
}

fn count(value: u64) -> Value {
    i64::try_from(value).unwrap_or(i64::MAX).into()
}

/// What is told of content. It is made only where it is wanted.
pub struct Content;

impl Content {
    /// Says this of the span, if the operator wants content in spans.
    pub fn set(span: &Span, name: &'static str, content: impl FnOnce() -> String) {
        if includes_content() && span.records() {
            let mut content = content();
            if content.len() > MAX_CONTENT_BYTES {
                content.truncate(content.floor_char_boundary(MAX_CONTENT_BYTES));
                content.push('…');
            }
            span.set(name, content);
        }
    }
}

/// A request that comes in.
#[derive(Debug, Clone, Copy)]
pub struct RequestIn<'a> {
    /// Its method, or `_OTHER`.
    pub method: &'static str,
    /// The template of its path.
    pub route: &'a str,
    /// The dialect.
    pub dialect: &'static str,
    /// Its id, as the log has it.
    pub id: &'a str,
    /// The caller's span.
    pub caller: Option<&'a Remote>,
}

impl RequestIn<'_> {
    /// Begins the span.
    #[must_use]
    pub fn begin(self) -> Span {
        let Self { method, route, dialect, id, caller } = self;
        let parent = caller.map(Span::remote).unwrap_or_default();
        parent.child(
            format!("{method} {route}"),
            SpanKind::Server,
            vec![
                KeyValue::new(of::HTTP_METHOD, method),
                KeyValue::new(of::HTTP_ROUTE, text(route)),
                KeyValue::new(of::DIALECT, dialect),
                KeyValue::new(of::REQUEST_ID, text(id)),
            ],
        )
    }

    /// Says how it was answered.
    pub fn answered(span: &Span, status: u16) {
        span.set(of::HTTP_STATUS, i64::from(status));
        if status >= 500 {
            span.fail(status.to_string());
        }
    }
}

/// A part of a run: from its acceptance, or from where it is taken up again, to its end, or to where it is left.
#[derive(Debug, Clone, Copy)]
pub struct RunPart<'a> {
    /// The run.
    pub run: &'a str,
    /// The run that has started it.
    pub parent_run: Option<&'a str>,
    /// Whose it is.
    pub tenant: &'a str,
    /// Its session.
    pub session: &'a str,
    /// Its mode.
    pub mode: &'a str,
    /// It is a later part.
    pub resumed: bool,
}

impl RunPart<'_> {
    /// Begins the span, below what has asked for the run.
    #[must_use]
    pub fn begin(self, asked_by: &Span) -> Span {
        let Self { run, parent_run, tenant, session, mode, resumed } = self;
        let mut attributes = vec![
            KeyValue::new(of::RUN, text(run)),
            KeyValue::new(of::TENANT, text(tenant)),
            KeyValue::new(of::CONVERSATION, text(session)),
            KeyValue::new(of::MODE, text(mode)),
            KeyValue::new(of::RUN_RESUMED, resumed),
        ];
        attributes.extend(parent_run.map(|parent| KeyValue::new(of::RUN_PARENT, text(parent))));
        asked_by.child("run", SpanKind::Internal, attributes)
    }
}

/// The work of a mode: an agent at work.
#[derive(Debug, Clone, Copy)]
pub struct AgentCall<'a> {
    /// Who serves its model.
    pub provider: &'a str,
    /// The model.
    pub model: &'a str,
    /// Its session.
    pub session: &'a str,
    /// Its mode.
    pub mode: &'a str,
    /// The agent's id and version, where the run is one of an agent.
    pub agent: Option<(&'a str, u64)>,
}

impl AgentCall<'_> {
    /// Begins the span below the current one.
    #[must_use]
    pub fn begin(self) -> Span {
        let Self { provider, model, session, mode, agent } = self;
        let mut attributes = vec![
            KeyValue::new(of::OPERATION, "invoke_agent"),
            KeyValue::new(of::PROVIDER, provider_name(provider)),
            KeyValue::new(of::REQUEST_MODEL, text(model)),
            KeyValue::new(of::CONVERSATION, text(session)),
            KeyValue::new(of::MODE, text(mode)),
        ];
        if let Some((id, version)) = agent {
            attributes.push(KeyValue::new(of::AGENT_ID, text(id)));
            attributes.push(KeyValue::new(of::AGENT_VERSION, version.to_string()));
        }
        Span::current().child("invoke_agent", SpanKind::Internal, attributes)
    }
}

impl Span {
    /// A step of a mode, below this span.
    #[must_use]
    pub fn step(&self, number: u32) -> Self {
        self.child("step", SpanKind::Internal, vec![KeyValue::new(of::STEP, i64::from(number))])
    }
}

/// A question to a model.
#[derive(Debug, Clone, Copy)]
pub struct ModelCall<'a> {
    /// Who serves it.
    pub provider: &'a str,
    /// Where: a host and a port. None: in this process.
    pub server: Option<(&'a str, u16)>,
    /// The model.
    pub model: &'a str,
    /// Its session.
    pub session: &'a str,
    /// The number of the call in its run.
    pub number: u32,
    /// The most tokens of the answer.
    pub max_tokens: Option<u32>,
    /// The temperature.
    pub temperature: Option<f32>,
    /// The answer is to be JSON by a schema.
    pub json: bool,
}

impl ModelCall<'_> {
    /// Begins the span below `parent`.
    #[must_use]
    pub fn begin(self, parent: &Span) -> Span {
        let Self { provider, server, model, session, number, max_tokens, temperature, json } = self;
        let mut attributes = vec![
            KeyValue::new(of::OPERATION, "chat"),
            KeyValue::new(of::PROVIDER, provider_name(provider)),
            KeyValue::new(of::REQUEST_MODEL, text(model)),
            KeyValue::new(of::CONVERSATION, text(session)),
            KeyValue::new(of::MODEL_CALL, i64::from(number)),
            KeyValue::new(of::OUTPUT_TYPE, if json { "json" } else { "text" }),
        ];
        if let Some((host, port)) = server {
            attributes.push(KeyValue::new(of::SERVER_ADDRESS, text(host)));
            attributes.push(KeyValue::new(of::SERVER_PORT, i64::from(port)));
        }
        attributes.extend(max_tokens.map(|most| KeyValue::new(of::REQUEST_MAX_TOKENS, i64::from(most))));
        attributes.extend(temperature.map(|value| KeyValue::new(of::REQUEST_TEMPERATURE, f64::from(value))));
        let kind = if server.is_some() { SpanKind::Client } else { SpanKind::Internal };
        parent.child(format!("chat {}", plain(model)), kind, attributes)
    }
}

/// What a model's answer cost, and why it ended.
#[derive(Debug, Clone, Copy)]
pub struct ModelUsage {
    /// Tokens of the question.
    pub input_tokens: u64,
    /// Tokens of the answer.
    pub output_tokens: u64,
    /// `stop`, `tool_calls`, `length` or `content_filter`.
    pub finish_reason: &'static str,
}

impl ModelUsage {
    /// Says it of the span.
    pub fn tell(self, span: &Span) {
        span.set(of::INPUT_TOKENS, count(self.input_tokens));
        span.set(of::OUTPUT_TOKENS, count(self.output_tokens));
        let reasons = vec![StringValue::from(self.finish_reason)];
        span.set(of::FINISH_REASONS, Value::Array(Array::String(reasons)));
    }
}

/// The provider by the conventions' name; by its own, where they have none.
fn provider_name(provider: &str) -> Value {
    match provider {
        "google" => "gcp.gemini".into(),
        other => text(other),
    }
}

/// A call of a tool.
#[derive(Debug, Clone, Copy)]
pub struct ToolCall<'a> {
    /// The tool's name; none: there is no such tool, and the name is only what a model wrote.
    pub name: Option<&'a str>,
    /// The call's id.
    pub call: &'a str,
    /// The plugin that provides it; none: it is an agent, whose name a person wrote.
    pub plugin: Option<&'a str>,
}

impl ToolCall<'_> {
    /// Begins the span below `parent`.
    #[must_use]
    pub fn begin(self, parent: &Span) -> Span {
        let Self { name, call, plugin } = self;
        let mut attributes =
            vec![KeyValue::new(of::OPERATION, "execute_tool"), KeyValue::new(of::TOOL_CALL_ID, text(call))];
        attributes.extend(name.map(|name| KeyValue::new(of::TOOL_NAME, text(name))));
        if name.is_some() {
            attributes.push(KeyValue::new(of::TOOL_TYPE, if plugin.is_some() { "extension" } else { "function" }));
        }
        attributes.extend(plugin.map(|plugin| KeyValue::new(of::PLUGIN, text(plugin))));
        let called = name.filter(|_| plugin.is_some());
        let span_name: Cow<'static, str> =
            called.map_or("execute_tool".into(), |name| format!("execute_tool {}", plain(name)).into());
        parent.child(span_name, SpanKind::Internal, attributes)
    }

    /// Says what the guest used.
    pub fn used(span: &Span, cpu_ms: u64, memory_peak_bytes: u64, host_calls: u64) {
        span.set(of::CPU_MS, count(cpu_ms));
        span.set(of::MEMORY_PEAK, count(memory_peak_bytes));
        span.set(of::HOST_CALLS, count(host_calls));
    }
}

/// What a run waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Its turn in its session, and then a place among the runs that work.
    Place,
    /// A person's decision.
    Approval,
    /// Its end, on its way to the disk.
    Disk,
}

impl Wait {
    /// Begins the span below `parent`.
    #[must_use]
    pub fn begin(self, parent: &Span) -> Span {
        let what = match self {
            Self::Place => "place",
            Self::Approval => "approval",
            Self::Disk => "disk",
        };
        parent.child("wait", SpanKind::Internal, vec![KeyValue::new(of::WAIT_FOR, what)])
    }
}

/// A call that a guest makes of the host.
#[derive(Debug, Clone, Copy)]
pub enum HostCall<'a> {
    /// A request to the network: its method, or `_OTHER`, and where it goes. Its path is not told: people put all kinds of
    /// things into paths.
    Http {
        /// The method.
        method: &'static str,
        /// The host's name.
        host: &'a str,
        /// The port, where the address has one.
        port: Option<u16>,
    },
    /// Any other, by the interface and the function, such as `corpus.search`.
    Other(&'static str),
}

impl HostCall<'_> {
    /// Begins the span below the current one.
    #[must_use]
    pub fn begin(self) -> Span {
        let current = Span::current();
        match self {
            Self::Other(name) => current.child(name, SpanKind::Internal, Vec::new()),
            Self::Http { method, host, port } => {
                let mut attributes =
                    vec![KeyValue::new(of::HTTP_METHOD, method), KeyValue::new(of::SERVER_ADDRESS, text(host))];
                attributes.extend(port.map(|port| KeyValue::new(of::SERVER_PORT, i64::from(port))));
                current.child(method, SpanKind::Client, attributes)
            }
        }
    }
}
