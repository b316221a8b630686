//! What stands before every route that needs a key: who asks, whether the tier is enough, and, on the way back, what is
//! left of the key's allowance.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use futures::StreamExt as _;
use utoipa_axum::router::OpenApiRouter;
use vivarium_domain::{AuditActor, AuditBy, Scope, Tier};
use vivarium_sight as sight;

use crate::ApiState;
use crate::auth::Caller;
use crate::cors;
use crate::error::{ApiError, Dialect, Kind};
use crate::idempotency::makes_nothing;
use crate::limits;
use crate::limits::tenant::StreamPlace;
use crate::outer::RequestId;
use crate::sse::accepts_events;

/// The caller, as handlers take it.
pub(crate) type CallerExt = axum::Extension<Arc<Caller>>;

/// Who asks, and with which request, as handlers take it for the audit log.
pub(crate) type By = axum::Extension<AuditBy>;

/// What a group of routes asks for.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) state: ApiState,
    pub(crate) dialect: Dialect,
    /// The least tier that may pass.
    pub(crate) least: Tier,
    /// What the key must be for; none: each handler says so itself.
    pub(crate) scope: Option<Scope>,
}

/// Takes what the request costs whatever it asks for, where the dialect counts them all: but for a repeat, which is answered
/// also where nothing is left.
async fn enter(gate: &Gate, caller: &Caller, method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
    if gate.dialect.counts_every_request() && makes_nothing(&gate.state, &caller.tenant, method, headers).await? {
        return Ok(());
    }
    caller.limits.enter(gate.dialect)
}

/// 401, then 403 for pages that may not use the key, then 429 where the dialect counts every request, then 403, then the handler;
/// what is left of the allowance on every answer.
pub(crate) async fn gate(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    if cors::is_preflight(&request) {
        // It carries no key, and no handler takes its method.
        return next.run(request).await;
    }
    let caller = match gate.state.0.auth.caller(request.headers(), gate.dialect).await {
        Ok(caller) => caller,
        Err(error) => {
            let mut response = error.within(gate.dialect).into_response();
            limits::tell_nothing(&mut response, gate.dialect);
            return response;
        }
    };
    let origin = cors::admitted(&caller.allowed_origins, request.headers());
    let passed = match &origin {
        Ok(_) => pass(&gate, &caller, request, next).await,
        Err(error) => Err(error.clone()),
    };
    let mut response = passed.unwrap_or_else(|error| error.within(gate.dialect).into_response());
    caller.limits.tell(&mut response, gate.dialect);
    if !caller.allowed_origins.is_empty() {
        cors::tell(&mut response, origin.ok().flatten());
    }
    response
}

/// Lets a caller through to the handler.
async fn pass(gate: &Gate, caller: &Arc<Caller>, mut request: Request, next: Next) -> Result<Response, ApiError> {
    enter(gate, caller, request.method(), request.headers()).await?;
    if caller.tier < gate.least {
        let (least, tier) = (gate.least.name(), caller.tier.name());
        let message = format!("this endpoint needs the {least} tier; this key's tier is {tier}");
        return Err(ApiError::new(Kind::TierTooLow, message));
    }
    gate.scope.map_or(Ok(()), |scope| caller.needs(scope))?;
    let id = request.extensions().get::<RequestId>().and_then(|id| id.0.to_str().ok()).map(ToOwned::to_owned);
    request.extensions_mut().insert(AuditBy { who: AuditActor::Key(caller.key), request: id });
    sight::Span::current().set(sight::attribute::TENANT, caller.tenant.as_str().to_owned());
    let place = may_stream(&request).then(|| caller.limits.of_tenant().open_stream()).transpose()?;
    request.extensions_mut().insert(Arc::clone(caller));
    Ok(held(next.run(request).await, place))
}

/// The request may be answered by a stream: then it needs a place for one before anything is begun for it.
fn may_stream(request: &Request) -> bool {
    accepts_events(request.headers()) || request.uri().path().ends_with("/stream")
}

/// A stream has its place until its body is gone; any other answer gives it back at once.
fn held(response: Response, place: Option<StreamPlace>) -> Response {
    let is_stream = |headers: &HeaderMap| {
        headers.get(header::CONTENT_TYPE).is_some_and(|content| content.as_bytes().starts_with(b"text/event-stream"))
    };
    let Some(place) = place.filter(|_| is_stream(response.headers())) else { return response };
    response.map(|body| {
        Body::from_stream(body.into_data_stream().inspect(move |_| {
            // It lives as long as this does.
            let _held = &place;
        }))
    })
}

/// These routes behind a gate, with the dialect's answer to other methods.
pub(crate) fn guarded(routes: OpenApiRouter<ApiState>, gate: Gate) -> OpenApiRouter<ApiState> {
    let (routes, document) = unguarded(routes, gate.dialect).split_for_parts();
    let routes = routes.route_layer(from_fn_with_state(gate, self::gate));
    OpenApiRouter::with_openapi(document).merge(routes.into())
}

/// These routes for everybody, with the dialect's answer to other methods.
pub(crate) fn unguarded(routes: OpenApiRouter<ApiState>, dialect: Dialect) -> OpenApiRouter<ApiState> {
    let (routes, document) = routes.split_for_parts();
    let routes = routes.method_not_allowed_fallback(move |method| method_not_allowed(method, dialect));
    OpenApiRouter::with_openapi(document).merge(routes.into())
}

/// The answer to a method that a path does not take.
pub(crate) async fn method_not_allowed(method: Method, dialect: Dialect) -> Response {
    let message = format!("this path does not take {method}; the Allow header says what it takes");
    ApiError::new(Kind::MethodNotAllowed, message).within(dialect).into_response()
}
