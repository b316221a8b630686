//! The HTTP face: one folder per dialect over one house. Each dialect is a view of the same runs and the same log; what
//! they share (keys, limits, errors, request ids) is here, once.
//!
//! This crate knows no wasm and no model. It is given [`Runs`] to start and follow, and a [`Store`] to read.

mod agent_hub;
mod assisters;
mod attend;
mod auth;
mod body;
mod callback;
mod connections;
mod corpora;
mod cors;
mod download;
mod error;
mod files;
mod gate;
mod idempotency;
mod installs;
mod keyring;
mod limits;
mod make;
mod mcp;
mod metrics;
mod native;
mod openapi;
mod origin;
mod outer;
mod paging;
mod query;
mod resume;
mod scope;
mod segment;
mod sse;
mod webhooks;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Router};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;
use vivarium_agents::Agents;
use vivarium_attachments::Attachments;
use vivarium_domain::AuditBy;
use vivarium_registry::Registry;
use vivarium_runs::Runs;
use vivarium_store::{Store, StoreError};

pub use assisters::answer_json;
pub use corpora::{Corpora, CorporaError, FoundDocument};
pub use keyring::{KeyError, Keyring, MAX_KEYS, MadeKey, NewKey, hash_key};
pub use limits::{RateLimit, TierLimits};
pub use metrics::{MetricsAccess, MetricsPage};
pub use origin::{OriginError, origins};
pub use webhooks::RunStories;

use auth::Auth;
use error::{ApiError, Dialect, Kind};
use files::FilePlaces;
use idempotency::Turns;
use installs::Installs;
use openapi::Reference;

/// Why the host can not serve now, in sentences; empty: it can.
pub type Readiness = Arc<dyn Fn() -> BoxFuture<'static, Vec<String>> + Send + Sync>;

/// A backup as it is made; one that breaks off ends with an error.
pub type BackupStream = BoxStream<'static, std::io::Result<Bytes>>;

/// Begins a backup, for whoever is named; [`StoreError::Refused`] where one is under way.
pub type Backups = Arc<dyn Fn(AuditBy) -> BoxFuture<'static, Result<BackupStream, StoreError>> + Send + Sync>;

/// What the HTTP face is wired to.
pub struct ApiConfig {
    /// Starts, follows and ends runs.
    pub runs: Runs,
    /// Agents and teams.
    pub agents: Agents,
    /// Reads the files that come with messages.
    pub attachments: Attachments,
    /// Searches tenants' corpora.
    pub corpora: Arc<dyn Corpora>,
    /// Plugins, grants and secrets.
    pub registry: Registry,
    /// Keys, tenants and logs.
    pub store: Arc<dyn Store>,
    /// Asked by `/readyz`.
    pub readiness: Readiness,
    /// Makes backups.
    pub backups: Backups,
    /// When it is cancelled, open streams end with an error event. To be cancelled once the runs are drained.
    pub shutdown: CancellationToken,
    /// What each tier may do in a minute.
    pub limits: TierLimits,
    /// How many requests a key may make in a minute in the agent-hub dialect; none: as many as its tier's may start runs,
    /// but 100 in any case.
    pub agent_hub_requests_per_minute: Option<NonZeroU32>,
    /// The largest request body.
    pub max_body_bytes: usize,
    /// The largest component that is uploaded.
    pub max_component_bytes: usize,
    /// How long a client may take to send its body.
    pub body_timeout: Duration,
    /// For how long the answer to a request with an idempotency key is kept for its repeats, where it started no run.
    pub answers_kept: Duration,
}

/// The state of all handlers. Clones share it.
#[derive(Clone)]
pub struct ApiState(Arc<Inner>);

struct Inner {
    runs: Runs,
    agents: Agents,
    attachments: Attachments,
    corpora: Arc<dyn Corpora>,
    registry: Registry,
    installs: Installs,
    file_places: FilePlaces,
    turns: Turns,
    mcp_calls: mcp::Calls,
    answers_kept: Duration,
    max_component_bytes: usize,
    store: Arc<dyn Store>,
    auth: Auth,
    keyring: Keyring,
    readiness: Readiness,
    backups: Backups,
    shutdown: CancellationToken,
    max_body_bytes: usize,
    body_timeout: Duration,
}

impl ApiState {
    /// The state for one router.
    #[must_use]
    pub fn new(config: ApiConfig) -> Self {
        let ApiConfig {
            runs,
            agents,
            attachments,
            corpora,
            registry,
            store,
            readiness,
            backups,
            shutdown,
            limits,
            agent_hub_requests_per_minute,
            max_body_bytes,
            max_component_bytes,
            body_timeout,
            answers_kept,
        } = config;
        let auth = Auth::new(Arc::clone(&store), limits, agent_hub_requests_per_minute);
        let keyring = Keyring::new(Arc::clone(&store));
        Self(Arc::new(Inner {
            runs,
            agents,
            attachments,
            corpora,
            registry,
            installs: Installs::new(),
            file_places: FilePlaces::new(),
            turns: Turns::default(),
            mcp_calls: mcp::Calls::default(),
            answers_kept,
            max_component_bytes,
            store,
            auth,
            keyring,
            readiness,
            backups,
            shutdown,
            max_body_bytes,
            body_timeout,
        }))
    }
}

impl ApiState {
    /// Tends the keys until `stop`: what was opened with one ends when its time is over, and every minute it is written down when
    /// they were used last.
    pub async fn tend_keys(&self, stop: CancellationToken) {
        self.0.auth.tend(stop).await;
    }

    /// Writes down when keys were used last, as far as that is not on disk. To be called when nothing is served any more.
    pub async fn write_key_uses(&self) {
        self.0.auth.write_uses().await;
    }
}

/// All routes of all dialects.
pub fn router(state: ApiState, metrics: MetricsPage) -> Router {
    let dialects = [
        assisters::routes(&state),
        make::routes(&state),
        agent_hub::routes(&state),
        native::routes(&state),
        mcp::routes(&state),
    ];
    debug_assert_eq!(openapi::clashes(&dialects), [""; 0], "two dialects give one name to different schemas");
    let (router, collected) = dialects.into_iter().fold(OpenApiRouter::new(), OpenApiRouter::merge).split_for_parts();
    let reference = Arc::new(Reference::new(&openapi::document(collected)));
    let routes = router
        .layer(Extension(reference))
        .layer(Extension(metrics))
        .fallback(not_found)
        .layer(axum::middleware::from_fn(outer::outer))
        .with_state(state);
    // What a path takes is said in an answer when it leaves all of a router's layers, so this one has to be another router's.
    Router::new().fallback_service(routes).layer(axum::middleware::from_fn(cors::preflight))
}

/// A path that nobody serves, in the form of the dialect that it looks like.
async fn not_found(method: Method, uri: Uri) -> Response {
    let path: String = uri.path().chars().take(200).collect();
    let error = ApiError::new(Kind::NotFound, format!("there is no {method} {path}"));
    error.within(Dialect::of_path(uri.path())).into_response()
}
