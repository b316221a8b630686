//! `/v1/tools`: the tools that this tenant's runs may use, and a way to try one out.

use axum::Json;
use axum::extract::{Path, Request, State};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use vivarium_domain::{Approval, Document, PluginName, Scope, SessionId, ToolManifest, ToolOutcome, ToolUsage};
use vivarium_runs::{ToolInfo, ToolTrial};

use super::NativeError;
use super::plugins::Page;
use crate::ApiState;
use crate::body::{json_bytes, json_of};
use crate::error::ApiError;
use crate::gate::CallerExt;
use crate::make::scenario_id;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolJson {
    #[serde(flatten)]
    manifest: ToolManifest,
    plugin: PluginName,
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

pub(super) async fn list(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
) -> Result<Json<impl Serialize>, NativeError> {
    let tools = state.0.runs.tools(&caller.tenant).await?;
    Ok(Json(Page::whole(tools.into_iter().map(ToolJson::from).collect())))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Trial<'a> {
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
    session_id: Option<SessionId>,
}

#[derive(Debug, Serialize)]
struct DenialJson {
    capability: &'static str,
    message: String,
}

#[derive(Debug, Serialize)]
struct LineJson {
    level: &'static str,
    line: String,
}

/// What came of a trial: an output or an error.
#[derive(Debug, Serialize)]
struct TrialJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    usage: ToolUsage,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    documents: Vec<Document>,
    /// What the tool wanted and was not granted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    denials: Vec<DenialJson>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
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

/// Calls a tool with these arguments, outside of any run; who asks is the person who approves. What the tool itself says,
/// an error too, is a 200; who leaves ends the call.
pub(super) async fn call(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Path(name): Path<String>,
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
        trial = state.0.runs.try_tool(&caller.tenant, &name, arguments, session_id) => trial?,
        () = state.0.shutdown.cancelled() => return Err(ApiError::shutting_down().into()),
    };
    Ok(Json(TrialJson::from(trial)))
}
