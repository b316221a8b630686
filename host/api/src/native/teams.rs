//! `/v1/teams`: the parts of a tenant by which agents are grouped.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use vivarium_domain::{Scope, Team};

use super::NativeError;
use super::list::{List, Parameters};
use crate::ApiState;
use crate::body::{json_bytes, json_of};
use crate::gate::CallerExt;
use crate::idempotency::{Answer, IdempotencyKey, Once};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list, create))
}

/// The teams
///
/// All of them, by number. Every tenant has the first one. Needs the scope `agents:read`.
#[utoipa::path(
    get, path = "/v1/teams", operation_id = "listTeams", tag = "Native",
    responses(
        (status = 200, description = "All of them.", body = List<Team>),
        (status = 400, description = "There is a parameter: it takes none."),
    )
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    uri: Uri,
) -> Result<Json<List<Team>>, NativeError> {
    caller.needs(Scope::AgentsRead)?;
    Parameters::of(&uri, &[])?;
    Ok(Json(List::whole(state.0.agents.teams(&caller.tenant).await?)))
}

/// A team to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewTeam {
    /// What a person calls it: 1 to 128 characters.
    #[schema(
        min_length = 1,
        max_length = 128,
        example = "Support",
        pattern = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$"
    )]
    name: String,
}

/// Make a team
///
/// It gets the next number. Needs the scope `agents:write`.
#[utoipa::path(
    post, path = "/v1/teams", operation_id = "createTeam", tag = "Native",
    params(IdempotencyKey),
    request_body(content = NewTeam, example = json!({"name": "Support"})),
    responses(
        (status = 201, description = "The team.", body = Team),
        (status = 409, description = "The tenant has as many teams as it may."),
    )
)]
pub(super) async fn create(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    request: Request,
) -> Result<Answer, NativeError> {
    caller.needs(Scope::AgentsWrite)?;
    let (head, body) = request.into_parts();
    let body = json_bytes(&state, &head.headers, body).await?;
    let once = Once::of(&state, &caller.tenant, &head, &body)?;
    let make = async {
        let NewTeam { name } = json_of(&body)?;
        let made = |team: &Team| Answer::json(StatusCode::CREATED, team);
        let along = |team: &Team| once.remember(&made(team));
        Ok(made(&state.0.agents.create_team(&caller.tenant, &name, along).await?))
    };
    Ok(once.or(make).await?)
}
