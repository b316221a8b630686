//! The one place that turns what went wrong into each dialect's status and body.

pub(crate) mod body;

use std::borrow::Cow;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use vivarium_agents::AgentError;
use vivarium_attachments::AttachmentError;
use vivarium_domain::{BudgetUnit, FailureCode, RunFailure, RunId, SpentBudget, Timestamp};
use vivarium_registry::{LoadError, RegistryError};
use vivarium_runs::{DeletionError, FollowError, RecordingError, SessionError, StartError, TenantError, TrialError};
use vivarium_store::{Condition, StoreError};
use vivarium_workspaces::FilesError;

use crate::idempotency::HEADER;

/// Which document an answer follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Assisters,
    Make,
    AgentHub,
    Native,
}

impl Dialect {
    /// The dialect whose document has paths like this one.
    pub(crate) fn of_path(path: &str) -> Self {
        let is_under =
            |base: &str| path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        match path {
            _ if is_under("/v1/agent") || is_under("/v1/rate-limit") => Self::Assisters,
            _ if is_under("/api/v2") || is_under("/ai-agents") => Self::Make,
            _ if is_under("/api") => Self::AgentHub,
            _ => Self::Native,
        }
    }

    /// The word for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Assisters => "assisters",
            Self::Make => "make",
            Self::AgentHub => "agent-hub",
            Self::Native => "native",
        }
    }

    /// Each request counts against the key's allowance, whatever it asks for.
    pub(crate) fn counts_every_request(self) -> bool {
        self == Self::AgentHub
    }
}

/// What went wrong: a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    InvalidApiKey,
    ApiKeyRevoked,
    ApiKeyExpired,
    TierTooLow,
    ScopeMissing,
    OriginNotAllowed,
    MissingParameter,
    InvalidParameter,
    InvalidRequest,
    BodyTooLarge,
    BodyTooSlow,
    UnsupportedMediaType,
    NotFound,
    MethodNotAllowed,
    IdempotencyConflict,
    StorageFull,
    RunHasEnded,
    RunUnderWay,
    SessionBusy,
    Conflict,
    FileChanged,
    RangeNotSatisfiable,
    InvalidArchive,
    RateLimited,
    TokensExhausted,
    MoneyExhausted,
    ToolSecondsExhausted,
    TenantBusy,
    InvalidPlugin,
    McpServerFailed,
    PluginConflict,
    NotYours,
    NotWaiting,
    LogRemoved,
    ContextLengthExceeded,
    ContentPolicy,
    ModelUnavailable,
    RunCancelled,
    RunFailed,
    Interrupted,
    Overloaded,
    ShuttingDown,
    StoreUnavailable,
    Internal,
}

impl Kind {
    /// The status, the Assisters dialect's type, and the code that both dialects have.
    fn form(self) -> (StatusCode, &'static str, &'static str) {
        const REQUEST: &str = "invalid_request_error";
        const SERVER: &str = "server_error";
        match self {
            Self::InvalidApiKey => (StatusCode::UNAUTHORIZED, "authentication_error", "invalid_api_key"),
            Self::ApiKeyRevoked => (StatusCode::UNAUTHORIZED, "authentication_error", "api_key_revoked"),
            Self::ApiKeyExpired => (StatusCode::UNAUTHORIZED, "authentication_error", "api_key_expired"),
            Self::TierTooLow => (StatusCode::FORBIDDEN, "permission_error", "tier_too_low"),
            Self::ScopeMissing => (StatusCode::FORBIDDEN, "permission_error", "scope_missing"),
            Self::OriginNotAllowed => (StatusCode::FORBIDDEN, "permission_error", "origin_not_allowed"),
            Self::MissingParameter => (StatusCode::BAD_REQUEST, REQUEST, "missing_parameter"),
            Self::InvalidParameter => (StatusCode::BAD_REQUEST, REQUEST, "invalid_parameter"),
            Self::InvalidRequest => (StatusCode::BAD_REQUEST, REQUEST, "invalid_request"),
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, REQUEST, "request_too_large"),
            Self::BodyTooSlow => (StatusCode::REQUEST_TIMEOUT, REQUEST, "request_timeout"),
            Self::UnsupportedMediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, REQUEST, "unsupported_media_type"),
            Self::NotFound => (StatusCode::NOT_FOUND, REQUEST, "not_found"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, REQUEST, "method_not_allowed"),
            Self::IdempotencyConflict => (StatusCode::CONFLICT, REQUEST, "idempotency_conflict"),
            Self::StorageFull => (StatusCode::CONFLICT, REQUEST, "storage_full"),
            Self::RunHasEnded => (StatusCode::CONFLICT, REQUEST, "run_has_ended"),
            Self::RunUnderWay => (StatusCode::CONFLICT, REQUEST, "run_under_way"),
            Self::SessionBusy => (StatusCode::CONFLICT, REQUEST, "session_busy"),
            Self::Conflict => (StatusCode::CONFLICT, REQUEST, "conflict"),
            Self::FileChanged => (StatusCode::PRECONDITION_FAILED, REQUEST, "file_changed"),
            Self::RangeNotSatisfiable => (StatusCode::RANGE_NOT_SATISFIABLE, REQUEST, "range_not_satisfiable"),
            Self::InvalidArchive => (StatusCode::UNPROCESSABLE_ENTITY, REQUEST, "invalid_archive"),
            Self::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", "rate_limit_exceeded"),
            Self::TokensExhausted => (StatusCode::TOO_MANY_REQUESTS, "tokens_exhausted_error", "tokens_exhausted"),
            Self::MoneyExhausted => (StatusCode::TOO_MANY_REQUESTS, "insufficient_funds_error", "insufficient_funds"),
            Self::ToolSecondsExhausted => (StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", "tool_seconds_exhausted"),
            Self::TenantBusy => (StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", "tenant_busy"),
            Self::InvalidPlugin => (StatusCode::UNPROCESSABLE_ENTITY, REQUEST, "invalid_plugin"),
            Self::McpServerFailed => (StatusCode::BAD_GATEWAY, SERVER, "mcp_server_failed"),
            Self::PluginConflict => (StatusCode::CONFLICT, REQUEST, "plugin_conflict"),
            Self::NotYours => (StatusCode::FORBIDDEN, "permission_error", "name_taken"),
            Self::NotWaiting => (StatusCode::CONFLICT, REQUEST, "not_waiting"),
            Self::LogRemoved => (StatusCode::GONE, REQUEST, "log_removed"),
            Self::ContextLengthExceeded => (StatusCode::BAD_REQUEST, REQUEST, "context_length_exceeded"),
            Self::ContentPolicy => (StatusCode::BAD_REQUEST, "content_policy_error", "content_policy"),
            Self::RunCancelled => (StatusCode::CONFLICT, REQUEST, "run_cancelled"),
            Self::ModelUnavailable => (StatusCode::SERVICE_UNAVAILABLE, SERVER, "model_unavailable"),
            Self::RunFailed => (StatusCode::INTERNAL_SERVER_ERROR, SERVER, "run_failed"),
            Self::Interrupted => (StatusCode::SERVICE_UNAVAILABLE, SERVER, "interrupted"),
            Self::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, SERVER, "overloaded"),
            Self::ShuttingDown => (StatusCode::SERVICE_UNAVAILABLE, SERVER, "shutting_down"),
            Self::StoreUnavailable => (StatusCode::SERVICE_UNAVAILABLE, SERVER, "store_unavailable"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, SERVER, "internal_error"),
        }
    }

    /// How long a client should wait, where the kind says it.
    fn retry_after_seconds(self) -> Option<u64> {
        match self {
            Self::Overloaded | Self::ShuttingDown | Self::TenantBusy => Some(1),
            // A disk is not emptied in a second.
            Self::StoreUnavailable => Some(5),
            _ => None,
        }
    }
}

/// An error on its way to a client: what is wrong, where, and what would be right. Holds no secret.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    kind: Kind,
    message: String,
    param: Option<Cow<'static, str>>,
    retry_after_seconds: Option<u64>,
    run: Option<RunId>,
}

impl ApiError {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        let retry_after_seconds = kind.retry_after_seconds();
        Self { kind, message: message.into(), param: None, retry_after_seconds, run: None }
    }

    pub(crate) fn missing(param: &'static str) -> Self {
        Self { param: Some(param.into()), ..Self::new(Kind::MissingParameter, format!("{param} is required")) }
    }

    /// `wrong` completes a sentence that starts with the parameter: "must be …".
    pub(crate) fn invalid(param: &'static str, wrong: impl std::fmt::Display) -> Self {
        Self { param: Some(param.into()), ..Self::new(Kind::InvalidParameter, format!("{param} {wrong}")) }
    }

    pub(crate) fn rate_limited(message: String, retry_after_seconds: u64) -> Self {
        Self { retry_after_seconds: Some(retry_after_seconds), ..Self::new(Kind::RateLimited, message) }
    }

    pub(crate) fn run_not_found() -> Self {
        Self::new(Kind::NotFound, "there is no such run")
    }

    pub(crate) fn run_cancelled(reason: &str) -> Self {
        Self::new(Kind::RunCancelled, format!("the run was cancelled: {reason}"))
    }

    pub(crate) fn shutting_down() -> Self {
        Self::new(Kind::ShuttingDown, "the host is shutting down; the run's log can be read when it is back")
    }

    pub(crate) fn key_revoked() -> Self {
        Self::new(Kind::ApiKeyRevoked, "this API key has been revoked")
    }

    pub(crate) fn key_expired() -> Self {
        Self::new(Kind::ApiKeyExpired, "this API key's time is over")
    }

    pub(crate) fn no_such_key() -> Self {
        Self::new(Kind::InvalidApiKey, "this API key is not valid")
    }

    /// Retention has removed the run's log, at that time.
    pub(crate) fn log_removed(at: Timestamp) -> Self {
        let message = format!(
            "the run's log was removed at {at}: this host keeps logs for a time only; the run's record is still there"
        );
        Self::new(Kind::LogRemoved, message)
    }

    pub(crate) fn internal() -> Self {
        Self::new(Kind::Internal, "the host failed; its log says how, under this request's id")
    }

    /// Says which field it is about.
    pub(crate) fn about(self, param: impl Into<Cow<'static, str>>) -> Self {
        Self { param: Some(param.into()), ..self }
    }

    /// Says which run it is about.
    pub(crate) fn of_run(self, run: RunId) -> Self {
        Self { run: Some(run), ..self }
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn is(&self, kind: Kind) -> bool {
        self.kind == kind
    }

    pub(crate) fn code(&self) -> &'static str {
        self.kind.form().2
    }

    pub(crate) fn kind_name(&self) -> &'static str {
        self.kind.form().1
    }

    /// The error as a dialect says it.
    pub(crate) fn within(self, dialect: Dialect) -> DialectError {
        DialectError { error: self, dialect }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let told = match error {
            StoreError::AnswerTooLarge { .. } => {
                return Self::invalid(HEADER, format!("must be left out here: {error}"));
            }
            StoreError::Full { .. } => return Self::new(Kind::StorageFull, error.to_string()),
            StoreError::ConditionFailed(Condition::IdempotencyKeyUnused(_)) => return Self::idempotency_conflict(),
            StoreError::Unavailable(_) => Self::new(Kind::StoreUnavailable, "the store does not answer; try again"),
            StoreError::ConditionFailed(_) | StoreError::Refused(_) | StoreError::Corrupt(_) => Self::internal(),
        };
        // The store's own words may hold paths: they are the operator's to read.
        tracing::error!(%error, "the store failed a request");
        told
    }
}

impl From<FollowError> for ApiError {
    fn from(error: FollowError) -> Self {
        match error {
            FollowError::Store(error) => error.into(),
            FollowError::Stopping => Self::shutting_down(),
            FollowError::Deleted => Self::run_not_found(),
        }
    }
}

impl From<StartError> for ApiError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::UnknownMode { .. } => Self::invalid_from("mode", &error),
            StartError::UnknownModel(_) => Self::invalid_from("model", &error),
            StartError::MaxCycles { .. } => Self::invalid_from("maxCycles", &error),
            StartError::OutputSchema(_) => Self::invalid_from("outputSchema", &error),
            StartError::SessionBusy => Self::new(Kind::SessionBusy, error.to_string()),
            StartError::Images(_) => Self::invalid_from("attachments", &error),
            StartError::Session(_) => Self::invalid_from("sessionId", &error),
            StartError::IdempotencyConflict => Self::idempotency_conflict(),
            StartError::TenantOverloaded(_) => Self::new(Kind::TenantBusy, error.to_string()),
            StartError::Budget(spent) => (&*spent).into(),
            StartError::Registry(error) => error.into(),
            StartError::Overloaded(_) => Self::new(Kind::Overloaded, error.to_string()),
            StartError::ShuttingDown => Self::new(Kind::ShuttingDown, "the host is shutting down; try again"),
            StartError::DiskFull => {
                let message =
                    "the host's disk is nearly full, and no new runs are accepted until there is room; try again later";
                Self::new(Kind::StoreUnavailable, message)
            }
            StartError::TenantGone => Self::no_such_key(),
            StartError::Store(error) => error.into(),
        }
    }
}

impl From<AgentError> for ApiError {
    fn from(error: AgentError) -> Self {
        match error {
            AgentError::NotFound | AgentError::NoSuchVersion(_) | AgentError::NoSuchTeam(_) => {
                Self::new(Kind::NotFound, error.to_string())
            }
            AgentError::NameTaken(_) => Self::new(Kind::Conflict, error.to_string()).about("name"),
            AgentError::Changed { .. } => Self::new(Kind::Conflict, error.to_string()).about("version"),
            AgentError::Full(_) => Self::new(Kind::Conflict, error.to_string()),
            AgentError::Invalid { field, .. } => Self::new(Kind::InvalidParameter, error.to_string()).about(field),
            AgentError::Registry(error) => error.into(),
            AgentError::Store(error) => error.into(),
        }
    }
}

impl From<SessionError> for ApiError {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::NotFound => Self::new(Kind::NotFound, error.to_string()),
            SessionError::Exists(_) => Self::new(Kind::Conflict, error.to_string()).about("id"),
            SessionError::Title => Self::new(Kind::InvalidParameter, error.to_string()).about("title"),
            SessionError::Busy => Self::new(Kind::SessionBusy, error.to_string()),
            SessionError::Store(error) => error.into(),
        }
    }
}

impl From<RecordingError> for ApiError {
    fn from(error: RecordingError) -> Self {
        match error {
            RecordingError::NotFound => Self::run_not_found(),
            RecordingError::LogRemoved(at) => Self::log_removed(at),
            RecordingError::Store(error) => error.into(),
            error => Self::new(Kind::Conflict, error.to_string()),
        }
    }
}

impl From<DeletionError> for ApiError {
    fn from(error: DeletionError) -> Self {
        match error {
            DeletionError::NotFound => Self::run_not_found(),
            DeletionError::UnderWay => Self::new(Kind::RunUnderWay, error.to_string()),
            DeletionError::Store(error) => error.into(),
        }
    }
}

impl From<TenantError> for ApiError {
    fn from(error: TenantError) -> Self {
        match error {
            TenantError::NotFound => Self::new(Kind::NotFound, error.to_string()),
            TenantError::Registry(error) => error.into(),
            TenantError::Store(error) => error.into(),
        }
    }
}

impl From<AttachmentError> for ApiError {
    fn from(error: AttachmentError) -> Self {
        let kind = if error.is_the_hosts_fault() { Kind::Overloaded } else { Kind::InvalidParameter };
        Self::new(kind, error.to_string()).about(error.field())
    }
}

impl From<RegistryError> for ApiError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Component(LoadError::TooLarge { .. }) => Self::new(Kind::BodyTooLarge, error.to_string()),
            RegistryError::Component(_) => Self::new(Kind::InvalidPlugin, error.to_string()),
            RegistryError::Conflict(_) | RegistryError::Full(_) => Self::new(Kind::PluginConflict, error.to_string()),
            RegistryError::NotYours(_) => Self::new(Kind::NotYours, error.to_string()),
            RegistryError::OperatorOnly(_) => Self::new(Kind::ScopeMissing, error.to_string()),
            RegistryError::NotFound(_) => Self::new(Kind::NotFound, error.to_string()),
            RegistryError::Invalid { ref what, .. } => {
                let what = what.clone();
                Self::new(Kind::InvalidParameter, error.to_string()).about(what)
            }
            RegistryError::Mcp { error: ref failure, .. } if failure.denial().is_some() => {
                Self::new(Kind::InvalidParameter, format!("url can not be used: {error}")).about("url")
            }
            RegistryError::Mcp { .. } => Self::new(Kind::McpServerFailed, error.to_string()),
            RegistryError::Store(error) => error.into(),
            RegistryError::Vault(_)
            | RegistryError::Workspace(_)
            | RegistryError::Files(_)
            | RegistryError::BrokeOff(_) => {
                tracing::error!(%error, "the registry failed a request");
                Self::internal()
            }
        }
    }
}

impl From<FilesError> for ApiError {
    fn from(error: FilesError) -> Self {
        match error {
            FilesError::Path { .. } => Self::new(Kind::InvalidParameter, error.to_string()).about("path"),
            FilesError::NoSuchFile(_) | FilesError::NoSuchSnapshot => Self::new(Kind::NotFound, error.to_string()),
            FilesError::WrongKind(_) => Self::new(Kind::Conflict, error.to_string()).about("path"),
            FilesError::Changed { .. } => Self::new(Kind::FileChanged, error.to_string()).about("If-Match"),
            FilesError::InUse => Self::new(Kind::SessionBusy, error.to_string()),
            FilesError::Full(_) => Self::new(Kind::StorageFull, error.to_string()),
            FilesError::TooLarge(_) => Self::new(Kind::BodyTooLarge, error.to_string()),
            FilesError::Archive { .. } => Self::new(Kind::InvalidArchive, error.to_string()),
            FilesError::Damaged(_) | FilesError::Disk(_) => {
                // Its words hold paths of this host: they are the operator's to read.
                tracing::error!(%error, "the files of a session failed a request");
                Self::internal()
            }
        }
    }
}

impl From<TrialError> for ApiError {
    fn from(error: TrialError) -> Self {
        match error {
            TrialError::UnknownTool { .. } => Self::new(Kind::NotFound, error.to_string()),
            TrialError::TenantBusy => Self::new(Kind::TenantBusy, error.to_string()),
            TrialError::HostBusy => Self::new(Kind::Overloaded, error.to_string()),
            TrialError::Budget(spent) => (&*spent).into(),
            TrialError::Store(error) => error.into(),
            TrialError::ShuttingDown => Self::new(Kind::ShuttingDown, "the host is shutting down; try again"),
            TrialError::Registry(error) => error.into(),
        }
    }
}

impl ApiError {
    fn invalid_from(param: &'static str, error: &StartError) -> Self {
        Self::new(Kind::InvalidParameter, error.to_string()).about(param)
    }
}

/// A budget is there again when its day or its month turns.
impl From<&SpentBudget> for ApiError {
    fn from(spent: &SpentBudget) -> Self {
        let kind = match spent.unit {
            BudgetUnit::Tokens => Kind::TokensExhausted,
            BudgetUnit::Money => Kind::MoneyExhausted,
            BudgetUnit::ToolSeconds => Kind::ToolSecondsExhausted,
        };
        let seconds = spent.turns_at.duration_since(Timestamp::now()).as_secs();
        let retry_after_seconds = Some(u64::try_from(seconds).unwrap_or(0) + 1);
        Self { retry_after_seconds, ..Self::new(kind, spent.to_string()) }
    }
}

impl From<&RunFailure> for ApiError {
    fn from(failure: &RunFailure) -> Self {
        if let Some(spent) = &failure.budget {
            return (&**spent).into();
        }
        let kind = match failure.code {
            FailureCode::InvalidInput => Kind::InvalidRequest,
            FailureCode::ModelUnavailable => Kind::ModelUnavailable,
            FailureCode::ContextLengthExceeded => Kind::ContextLengthExceeded,
            FailureCode::ContentPolicy => Kind::ContentPolicy,
            FailureCode::BudgetExhausted => Kind::MoneyExhausted,
            FailureCode::Interrupted => Kind::Interrupted,
            FailureCode::Internal => Kind::Internal,
            FailureCode::ModeFailed
            | FailureCode::Trapped
            | FailureCode::DeadlineExceeded
            | FailureCode::CpuExceeded
            | FailureCode::MemoryExceeded
            | FailureCode::OutputExceeded
            | FailureCode::Nondeterminism => Kind::RunFailed,
        };
        Self::new(kind, failure.message.clone())
    }
}

/// An error and the dialect that it is said in.
pub(crate) struct DialectError {
    error: ApiError,
    dialect: Dialect,
}

impl IntoResponse for DialectError {
    fn into_response(self) -> Response {
        let Self { error, dialect } = self;
        let (status, body) = error.form(dialect);
        let mut response = (status, Json(body)).into_response();
        if let Some(seconds) = error.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if matches!(status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT) {
            // The rest of the body is still under way, so nothing else can come over this connection.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if status == StatusCode::UNAUTHORIZED {
            let scheme = if dialect == Dialect::Make { "Token" } else { "Bearer" };
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
        }
        response
    }
}
