//! `/v1/models`: who can answer. Each provider that is configured, with the number by which the make dialect knows it and
//! what its usual model can do.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use vivarium_domain::ModelInfo;

use super::NativeError;
use super::list::{List, Parameters};
use crate::ApiState;
use crate::connections::connections;
use crate::gate::CallerExt;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list))
}

/// A provider of models.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProviderJson {
    /// Its name: what stands before the slash of its models' names.
    #[schema(example = "openai")]
    provider: String,
    /// Its number: the make dialect's `makeConnectionId`.
    connection_id: u64,
    /// Its default model answers where nobody names one.
    is_default: bool,
    /// Its usual model; null where only the provider itself knows its models.
    default_model: Option<ModelInfo>,
}

/// The providers of models
///
/// Any model of a provider can be named, as `provider/model`; whether there is one of that name, the provider tells when it
/// is asked. Needs a key with any scope.
#[utoipa::path(
    get, path = "/v1/models", operation_id = "listModels", tag = "Native",
    responses(
        (status = 200, description = "All of them.", body = List<ProviderJson>),
        (status = 400, description = "There is a parameter: it takes none."),
    )
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    CallerExt { 0: _ }: CallerExt,
    uri: Uri,
) -> Result<Json<List<ProviderJson>>, NativeError> {
    Parameters::of(&uri, &[])?;
    let agents = &state.0.agents;
    let provider = |(connection_id, name): (u64, &str)| ProviderJson {
        provider: name.to_owned(),
        connection_id,
        is_default: agents.default_model().provider() == name,
        default_model: agents.usual_model(name),
    };
    let mut connections = connections(&agents.providers());
    connections.sort_unstable();
    Ok(Json(List::whole(connections.into_iter().map(provider).collect())))
}
