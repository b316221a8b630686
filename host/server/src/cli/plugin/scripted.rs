//! The world of a test case, as the sandbox sees it: what it answers stands in the case, and what does not is refused.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http_body_util::{BodyExt as _, Full};
use vivarium_author::{AskedRequest, Case, ModelTurn, RecordedResponse, Recording, ScriptedTool};
use vivarium_domain::{
    Abilities, Citation, FinishReason, GenerateRequest, GenerateResponse, Message, ModelError, ModelInfo, ModelName,
    Source, ToolCall, ToolDefinition, Usage, WorkspaceChanges,
};
use vivarium_egress::{EgressError, Meter};
use vivarium_sandbox::{
    Answers, DoorRequest, DoorResponse, HostStop, HttpDoor, LogLevel, LogSink, ModeHost, StateError, StateView,
    ToolResult,
};

/// Nobody panics while holding one of these; if one did, what it left is as good as any.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The network of a case.
pub(super) struct Door(pub(super) Arc<Recording>);

impl HttpDoor for Door {
    fn send(&self, _meter: &Meter, request: DoorRequest) -> BoxFuture<'static, Result<DoorResponse, EgressError>> {
        let recording = Arc::clone(&self.0);
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(|error| EgressError::RequestBody(error.to_string()))?;
            let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
            let asked = AskedRequest {
                method: head.method.to_string(),
                url: head.uri.to_string(),
                headers: head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
                body: body.to_bytes().to_vec(),
            };
            let RecordedResponse { status, headers, body } =
                recording.answer(&asked).map_err(EgressError::InvalidRequest)?;
            let mut response = http::Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync();
            response.body(body).map_err(|error| EgressError::InvalidRequest(format!("the recorded answer: {error}")))
        }
        .boxed()
    }
}

/// The kept data of a case.
pub(super) struct Space(Mutex<BTreeMap<String, Vec<u8>>>);

impl Space {
    pub(super) fn new(state: &BTreeMap<String, String>) -> Self {
        Self(Mutex::new(state.iter().map(|(key, text)| (key.clone(), text.clone().into_bytes())).collect()))
    }

    pub(super) fn take(&self) -> BTreeMap<String, Vec<u8>> {
        std::mem::take(&mut *locked(&self.0))
    }
}

impl StateView for Space {
    fn get(&self, key: String) -> BoxFuture<'static, Result<Option<Vec<u8>>, StateError>> {
        futures::future::ready(Ok(locked(&self.0).get(&key).cloned())).boxed()
    }

    fn set(&self, key: String, value: Vec<u8>) -> BoxFuture<'static, Result<(), StateError>> {
        locked(&self.0).insert(key, value);
        futures::future::ready(Ok(())).boxed()
    }

    fn delete(&self, key: String) -> BoxFuture<'static, Result<(), StateError>> {
        locked(&self.0).remove(&key);
        futures::future::ready(Ok(())).boxed()
    }

    fn list(&self, prefix: String, max_keys: usize) -> BoxFuture<'static, Result<Vec<String>, StateError>> {
        let space = locked(&self.0);
        let keys = space.keys().filter(|key| key.starts_with(&prefix)).take(max_keys).cloned().collect();
        futures::future::ready(Ok(keys)).boxed()
    }
}

/// The lines that a plugin writes.
#[derive(Default)]
pub(super) struct Lines(Mutex<Vec<String>>);

impl Lines {
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *locked(&self.0))
    }
}

impl LogSink for Lines {
    fn line(&self, level: LogLevel, line: &str) {
        let level = match level {
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warn => "warn",
            LogLevel::Error => "error",
        };
        locked(&self.0).push(format!("{level}: {line}"));
    }

    fn progress(&self, message: &str, _fraction: Option<f32>) {
        locked(&self.0).push(format!("progress: {message}"));
    }
}

/// Thursday, 1 January 2026, 00:00 UTC: a case is the same on every day.
pub(super) const NOW_NS: u64 = 1_767_225_600_000_000_000;

/// The run of a mode's case.
pub(super) struct Script {
    name: ModelName,
    model: Mutex<VecDeque<ModelTurn>>,
    tools: Vec<ScriptedTool>,
    steps: Mutex<Vec<String>>,
    problems: Mutex<Vec<String>>,
    dice: Mutex<u64>,
}

impl Script {
    pub(super) fn new(case: &Case, name: ModelName) -> Self {
        Self {
            name,
            model: Mutex::new(case.model.clone().into()),
            tools: case.tools.clone(),
            steps: Mutex::default(),
            problems: Mutex::default(),
            dice: Mutex::new(0),
        }
    }

    /// The steps that were shown, and what was other than scripted.
    pub(super) fn end(&self) -> (Vec<String>, Vec<String>) {
        let mut problems = std::mem::take(&mut *locked(&self.problems));
        let left = locked(&self.model).len();
        if left > 0 {
            problems.push(format!("it ended, and {left} answers of the model were not asked for"));
        }
        (std::mem::take(&mut *locked(&self.steps)), problems)
    }

    fn answer(&self, request: &GenerateRequest) -> Result<GenerateResponse, ModelError> {
        let Some(turn) = locked(&self.model).pop_front() else {
            let problem = "it asked the model once more than the case has answers: add a [[model]]".to_owned();
            locked(&self.problems).push(problem.clone());
            return Err(ModelError::Unavailable(problem));
        };
        let prompt: Vec<String> = request.messages.iter().map(Message::text).collect();
        let prompt = prompt.join("\n");
        let missing = turn.prompt_contains.iter().filter(|part| !prompt.contains(part.as_str()));
        let missing = missing.map(|part| format!("what it asks the model does not contain {part:?}: {prompt:?}"));
        locked(&self.problems).extend(missing);
        if let Some(error) = turn.error {
            return Err(ModelError::Unavailable(error));
        }
        let tool_calls: Vec<ToolCall> = turn
            .tool_calls
            .iter()
            .enumerate()
            .map(|(index, (name, arguments))| ToolCall {
                id: format!("call-{}", index + 1),
                name: name.to_string(),
                arguments_json: arguments.to_string(),
            })
            .collect();
        let finish_reason = if tool_calls.is_empty() { FinishReason::Stop } else { FinishReason::ToolCalls };
        Ok(GenerateResponse {
            text: turn.answer,
            tool_calls,
            citations: Vec::new(),
            finish_reason,
            usage: Usage::default(),
            thoughts: None,
        })
    }

    fn call(&self, call: ToolCall) -> ToolResult {
        let tool = self.tools.iter().find(|tool| tool.name.as_str() == call.name);
        let answer = match tool {
            Some(tool) => tool.answer.clone(),
            None => Err(format!("there is no tool {}", call.name)),
        };
        let is_error = answer.is_err();
        let content = answer.unwrap_or_else(std::convert::identity);
        ToolResult { id: call.id, name: call.name, content, is_error, sources: Vec::new() }
    }
}

impl ModeHost for Script {
    fn describe(&self) -> Result<ModelInfo, HostStop> {
        let abilities =
            Abilities { free_text: true, tool_calls: true, json_schema: true, images: true, passages: false };
        Ok(ModelInfo { name: self.name.clone(), abilities, context_tokens: 100_000, hint: None })
    }

    fn generate(
        self: Arc<Self>,
        request: GenerateRequest,
    ) -> BoxFuture<'static, Result<Result<GenerateResponse, ModelError>, HostStop>> {
        futures::future::ready(Ok(self.answer(&request))).boxed()
    }

    fn generate_all(self: Arc<Self>, requests: Vec<GenerateRequest>) -> BoxFuture<'static, Result<Answers, HostStop>> {
        let answers = requests.iter().map(|request| self.answer(request)).collect();
        futures::future::ready(Ok(answers)).boxed()
    }

    fn tools(&self) -> Result<Vec<ToolDefinition>, HostStop> {
        let definition = |tool: &ScriptedTool| ToolDefinition {
            name: tool.name.clone(),
            description: tool.description.clone(),
            input_schema: serde_json::json!({"type": "object"}),
            read_only: true,
        };
        Ok(self.tools.iter().map(definition).collect())
    }

    fn call_tools(self: Arc<Self>, calls: Vec<ToolCall>) -> BoxFuture<'static, Result<Vec<ToolResult>, HostStop>> {
        let results = calls.into_iter().map(|call| self.call(call)).collect();
        futures::future::ready(Ok(results)).boxed()
    }

    fn append(&self, _messages: Vec<Message>) -> Result<(), HostStop> {
        Ok(())
    }

    fn summarize(&self, _messages: u32, _summary: String) -> Result<(), HostStop> {
        Ok(())
    }

    fn sources(&self) -> Result<Vec<Source>, HostStop> {
        Ok(Vec::new())
    }

    fn read_source(&self, _id: &str, _start_bytes: usize, _max_bytes: usize) -> Result<Option<String>, HostStop> {
        Ok(None)
    }

    fn check(&self, citations: &[Citation]) -> Result<Vec<bool>, HostStop> {
        Ok(citations.iter().map(|_| false).collect())
    }

    fn step(self: Arc<Self>, message: String) -> BoxFuture<'static, Result<(), HostStop>> {
        locked(&self.steps).push(message);
        futures::future::ready(Ok(())).boxed()
    }

    fn changes(
        self: Arc<Self>,
        _max_bytes: usize,
    ) -> BoxFuture<'static, Result<Option<Box<WorkspaceChanges>>, HostStop>> {
        futures::future::ready(Ok(None)).boxed()
    }

    fn wall_clock(&self) -> u64 {
        NOW_NS
    }

    fn monotonic_clock(&self) -> u64 {
        0
    }

    fn random(&self, bytes: &mut [u8]) {
        let mut dice = locked(&self.dice);
        for byte in bytes {
            *dice = splitmix(*dice);
            let [.., last] = dice.to_le_bytes();
            *byte = last;
        }
    }
}

/// One step of SplitMix64: the same numbers each time, spread well enough for a test.
fn splitmix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
