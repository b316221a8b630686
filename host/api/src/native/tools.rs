//! `/v1/tools`: the tools that this tenant's runs may use, and a way to try one out.

use axum::Json;
use axum::extract::{Request, State};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use vivarium_domain::{
    Approval, Document, PluginName, Scope, SessionId, ToolManifest, ToolName, ToolOutcome, ToolUsage,
};
use vivarium_runs::{ToolInfo, ToolTrial};

use super::NativeError;
use super::list::List;
use crate::ApiState;
use crate::body::{json_bytes, json_of};
use crate::error::ApiError;
use crate::gate::CallerExt;
use crate::make::scenario_id;
use crate::segment::Segment;

/// A tool, and where it comes from.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Tool)]
struct ToolJson {
    #[serde(flatten)]
    manifest: ToolManifest,
    /// The plugin that provides it; or `mcp/` and the name of the MCP server that does.
    plugin: PluginName,
    /// Whether a person is asked before a call.
    approval: Approval,
    /// The number that the make dialect has for it.
    scenario_id: u64,
}

impl From<ToolInfo> for ToolJson {
    fn from(info: ToolInfo) -> Self {
        let scenario_id = scenario_id(info.manifest.name.as_str());
        Self {
            manifest: ToolManifest::clone(&info.manifest),
            plugin: info.plugin,
            approval: info.approval,
            scenario_id,
        }
    }
}

/// List tools
///
/// Those that this tenant's runs may use.
#[utoipa::path(
    get, path = "/v1/tools", operation_id = "listTools", tag = "Native",
    responses((status = 200, description = "All of them.", body = List<ToolJson>))
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
) -> Result<Json<impl Serialize>, NativeError> {
    let tools = state.0.runs.tools(&caller.tenant).await?;
    Ok(Json(List::whole(tools.into_iter().map(ToolJson::from).collect())))
}

/// A call to try.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Trial<'a> {
    /// The arguments: an object that the tool's schema takes.
    #[serde(borrow)]
    #[schema(value_type = serde_json::Map<String, Value>, required)]
    arguments: Option<&'a RawValue>,
    /// The session whose files it sees; none: files that are gone after the call.
    session_id: Option<SessionId>,
}

/// What a tool wanted and was not granted.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Denial)]
struct DenialJson {
    /// `hosts`, `secrets`, `files`, `corpus`, `state` or `programs`.
    capability: &'static str,
    /// What was wanted, and which grant would allow it.
    message: String,
}

/// A line that a tool has written.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LogLine)]
struct LineJson {
    /// How grave it is.
    level: &'static str,
    /// The line.
    line: String,
}

/// What came of a trial: an output or an error.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TrialOutcome)]
struct TrialJson {
    /// What the tool gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
    /// What the tool said went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// What it used.
    usage: ToolUsage,
    /// Documents that it read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    documents: Vec<Document>,
    /// What the tool wanted and was not granted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    denials: Vec<DenialJson>,
    /// What it wrote to its log.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    log: Vec<LineJson>,
}

impl From<ToolTrial> for TrialJson {
    fn from(trial: ToolTrial) -> Self {
        let (output, error) = match trial.outcome {
            ToolOutcome::Output(output) => (Some(output), None),
            ToolOutcome::Error(error) => (None, Some(error)),
        };
        let denial = |(capability, message)| DenialJson { capability, message };
        let line = |(level, line)| LineJson { level, line };
        Self {
            output,
            error,
            usage: trial.usage,
            documents: trial.documents,
            denials: trial.denials.into_iter().map(denial).collect(),
            log: trial.log.into_iter().map(line).collect(),
        }
    }
}

/// Try a tool
///
/// Calls it with these arguments, outside of any run; who asks is the person who approves. What the tool itself says, an error
/// too, is a 200; who leaves ends the call. Needs the scope `runs`.
#[utoipa::path(
    post, path = "/v1/tools/{name}/call", operation_id = "callTool", tag = "Native",
    params(("name" = ToolName, Path, description = "The tool's name.")),
    request_body(content = Trial<'_>, example = json!({"arguments": {"query": "how a vector grows"}})),
    responses(
        (status = 200, description = "What the tool said.", body = TrialJson),
        (status = 429, description = "The key's requests are used up, or the tenant's places are all taken."),
    )
)]
pub(super) async fn call(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(name): Segment<String>,
    request: Request,
) -> Result<Json<impl Serialize>, NativeError> {
    caller.needs(Scope::Runs)?;
    let (head, body) = request.into_parts();
    let body = json_bytes(&state, &head.headers, body).await?;
    let Trial { arguments, session_id } = json_of(&body)?;
    let arguments = arguments.ok_or_else(|| ApiError::missing("arguments"))?.get();
    if !matches!(serde_json::from_str(arguments), Ok(Value::Object(_))) {
        return Err(ApiError::invalid("arguments", "must be a JSON object").into());
    }
    caller.limits.take_request()?;
    let trial = tokio::select! {
        biased;
        trial = state.0.runs.try_tool(&caller.tenant, &name, arguments, session_id, caller.key) => trial?,
        () = state.0.shutdown.cancelled() => return Err(ApiError::shutting_down().into()),
    };
    Ok(Json(TrialJson::from(trial)))
}
