//! `GET /metrics`: what the host tells of itself, for Prometheus. Others than the host's operator have no business there, so it is
//! open only where nobody else comes near it.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use futures::future::BoxFuture;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use vivarium_domain::Scope;

use crate::ApiState;
use crate::error::{ApiError, Dialect, Kind};

/// Who may read the metrics where the API is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricsAccess {
    /// Everybody: only this machine comes there.
    Open,
    /// Whoever has a key with the scope `admin`.
    Admin,
    /// Nobody: they have a listener of their own.
    Elsewhere,
}

/// The metrics, as they are when somebody asks.
#[derive(Clone)]
pub struct MetricsPage {
    /// Who may read them.
    pub access: MetricsAccess,
    /// The text.
    pub text: Arc<dyn Fn() -> BoxFuture<'static, String> + Send + Sync>,
}

impl MetricsPage {
    /// The metrics as an answer, whoever asks.
    pub async fn answer(&self) -> Response {
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        ([(header::CONTENT_TYPE, kind)], (self.text)().await).into_response()
    }
}

/// Lines of Prometheus' text format.
#[derive(ToSchema)]
#[schema(value_type = String, example = "vivarium_runs{state=\"running\"} 3")]
#[expect(dead_code, reason = "it is written as text")]
pub(crate) struct MetricsText(String);

/// Metrics
///
/// What the host tells of itself, in Prometheus' text format. Open where the host listens on a loopback address; elsewhere it
/// needs a key with the scope `admin`. Where `metrics_listen` gives the metrics a listener of their own, they are there and not
/// here.
#[utoipa::path(
    get, path = "/metrics", operation_id = "getMetrics", tag = "Native", security((), ("bearer" = [])),
    responses(
        (status = 200, description = "The metrics.", body = MetricsText, content_type = "text/plain"),
        (status = 401, description = "A key is needed, and there is none that is valid."),
        (status = 403, description = "The key has not the scope `admin`."),
        (status = 404, description = "They have a listener of their own."),
        (status = 503, description = "The key can not be looked up now."),
    )
)]
async fn metrics(
    State(state): State<ApiState>,
    Extension(page): Extension<MetricsPage>,
    headers: HeaderMap,
) -> Response {
    let may = match page.access {
        MetricsAccess::Open => Ok(()),
        MetricsAccess::Admin => {
            let caller = state.0.auth.caller(&headers, Dialect::Native).await;
            caller.and_then(|caller| caller.needs(Scope::Admin))
        }
        MetricsAccess::Elsewhere => Err(ApiError::new(Kind::NotFound, "there is no GET /metrics")),
    };
    match may {
        Ok(()) => page.answer().await,
        Err(error) => error.within(Dialect::Native).into_response(),
    }
}

/// The route, in the document.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(metrics))
}
