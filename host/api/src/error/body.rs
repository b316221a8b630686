//! The bodies of errors, one form for each dialect, and one of each for the document.

use std::borrow::Cow;

use axum::http::StatusCode;
use serde::Serialize;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema as _, ToSchema};
use vivarium_domain::RunId;

use super::{ApiError, Dialect, Kind};

/// An error's body in its dialect.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum ErrorBody<'a> {
    Assisters(AssistersErrorBody<'a>),
    Make(MakeError<'a>),
    AgentHub(AgentHubErrorBody<'a>),
    Native(NativeErrorBody<'a>),
}

/// An error in the Assisters dialect.
#[derive(Serialize, ToSchema)]
pub(super) struct AssistersErrorBody<'a> {
    error: AssistersError<'a>,
}

/// What went wrong.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AssistersError<'a> {
    /// For a person: what is wrong and what would be right.
    message: &'a str,
    /// The family of errors.
    #[schema(example = "invalid_request_error")]
    r#type: &'static str,
    /// The error, for a program.
    #[schema(example = "missing_parameter")]
    code: &'static str,
    /// The parameter that it is about.
    param: Option<&'a str>,
    /// The run that it is about, where one was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    run_id: Option<RunId>,
}

/// An error in the native dialect.
#[derive(Serialize, ToSchema)]
pub(super) struct NativeErrorBody<'a> {
    error: NativeError<'a>,
}

/// What went wrong.
#[derive(Serialize, ToSchema)]
struct NativeError<'a> {
    /// For a person: what is wrong and what would be right.
    message: &'a str,
    /// The error, for a program.
    #[schema(example = "invalid_parameter")]
    code: &'static str,
    /// Where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<NativeDetails<'a>>,
}

/// Where an error is.
#[derive(Serialize, ToSchema)]
struct NativeDetails<'a> {
    /// The field, the parameter or the header.
    param: &'a str,
}

/// An error in the make dialect: <https://developers.make.com/api-documentation>.
#[derive(Serialize, ToSchema)]
pub(super) struct MakeError<'a> {
    /// What is wrong and what would be right.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    /// The status in words.
    #[schema(example = "Bad Request")]
    message: &'a str,
    /// `SC` and the status; `IM001` without a valid key; `IM002` where the key lacks the scope.
    #[schema(value_type = String, example = "SC400")]
    code: Cow<'static, str>,
    /// What is wrong with single fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<MakeSuberror<'_>>>)]
    suberrors: Option<[MakeSuberror<'a>; 1]>,
}

/// What is wrong with a field.
#[derive(Serialize, ToSchema)]
struct MakeSuberror<'a> {
    /// The sentence.
    message: &'a str,
}

/// An error in the agent-hub dialect.
#[derive(Serialize, ToSchema)]
pub(super) struct AgentHubErrorBody<'a> {
    error: AgentHubError<'a>,
}

/// What went wrong.
#[derive(Serialize, ToSchema)]
struct AgentHubError<'a> {
    /// For a person: what is wrong and what would be right.
    message: &'a str,
    /// The error, for a program.
    #[schema(example = "VALIDATION_ERROR")]
    code: &'static str,
    /// What is wrong with single fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<AgentHubDetail<'_>>>)]
    details: Option<[AgentHubDetail<'a>; 1]>,
}

/// What is wrong with a field.
#[derive(Serialize, ToSchema)]
struct AgentHubDetail<'a> {
    /// The field.
    field: &'a str,
    /// What is wrong with it.
    message: &'a str,
}

impl ApiError {
    /// The status and the body that a dialect's clients see.
    pub(super) fn form(&self, dialect: Dialect) -> (StatusCode, ErrorBody<'_>) {
        let (status, family, code) = self.kind.form();
        let (message, param) = (self.message.as_str(), self.param.as_deref());
        match dialect {
            Dialect::Assisters => {
                let error = AssistersError { message, r#type: family, code, param, run_id: self.run };
                (status, ErrorBody::Assisters(AssistersErrorBody { error }))
            }
            Dialect::Make => (self.kind.make_status(), ErrorBody::Make(self.make_error())),
            Dialect::AgentHub => {
                let details = param.map(|field| [AgentHubDetail { field, message }]);
                let error = AgentHubError { message, code: self.kind.agent_hub_code(), details };
                (status, ErrorBody::AgentHub(AgentHubErrorBody { error }))
            }
            Dialect::Native => {
                let details = param.map(|param| NativeDetails { param });
                (status, ErrorBody::Native(NativeErrorBody { error: NativeError { message, code, details } }))
            }
        }
    }

    fn make_error(&self) -> MakeError<'_> {
        let (status, message) = (self.kind.make_status(), self.message.as_str());
        match self.kind {
            Kind::InvalidApiKey | Kind::ApiKeyRevoked | Kind::ApiKeyExpired => {
                MakeError { detail: None, message: "Access denied.", code: "IM001".into(), suberrors: None }
            }
            Kind::ScopeMissing => {
                MakeError { detail: Some(message), message: "Access denied.", code: "IM002".into(), suberrors: None }
            }
            _ => MakeError {
                detail: Some(message),
                message: status.canonical_reason().unwrap_or("Error"),
                code: format!("SC{}", status.as_u16()).into(),
                suberrors: self.param.as_ref().map(|_| [MakeSuberror { message }]),
            },
        }
    }

    /// The body in the make dialect, for an error within a stream.
    pub(crate) fn make_body(&self) -> serde_json::Value {
        serde_json::to_value(self.make_error()).unwrap_or_default()
    }

    /// The code in the agent-hub dialect, for an error within a stream.
    pub(crate) fn agent_hub_code(&self) -> &'static str {
        self.kind.agent_hub_code()
    }

    /// The body as the document's example.
    pub(crate) fn example(&self, dialect: Dialect) -> serde_json::Value {
        serde_json::to_value(self.form(dialect).1).unwrap_or_default()
    }
}

impl Kind {
    /// The status in the make dialect: a model that does not answer is a dependency that failed.
    fn make_status(self) -> StatusCode {
        match self {
            Self::ModelUnavailable => StatusCode::FAILED_DEPENDENCY,
            other => other.form().0,
        }
    }

    /// The code in the agent-hub dialect.
    fn agent_hub_code(self) -> &'static str {
        match (self, self.form().0) {
            (Self::ModelUnavailable, _) => "PROVIDER_ERROR",
            (_, StatusCode::UNAUTHORIZED) => "UNAUTHORIZED",
            (_, StatusCode::FORBIDDEN) => "FORBIDDEN",
            (_, StatusCode::NOT_FOUND) => "NOT_FOUND",
            (_, StatusCode::CONFLICT) => "CONFLICT",
            (_, StatusCode::TOO_MANY_REQUESTS) => "RATE_LIMITED",
            (_, status) if status.is_server_error() => "INTERNAL_ERROR",
            _ => "VALIDATION_ERROR",
        }
    }
}

impl Dialect {
    /// The name of its errors' schema in the document.
    pub(crate) fn error_schema(self) -> Cow<'static, str> {
        match self {
            Self::Assisters => AssistersErrorBody::name(),
            Self::Make => MakeError::name(),
            Self::AgentHub => AgentHubErrorBody::name(),
            Self::Native => NativeErrorBody::name(),
        }
    }
}

/// The schemas of all dialects' errors, by name.
pub(crate) fn schemas() -> Vec<(String, RefOr<Schema>)> {
    let mut schemas = vec![
        (AssistersErrorBody::name().into_owned(), AssistersErrorBody::schema()),
        (MakeError::name().into_owned(), MakeError::schema()),
        (AgentHubErrorBody::name().into_owned(), AgentHubErrorBody::schema()),
        (NativeErrorBody::name().into_owned(), NativeErrorBody::schema()),
    ];
    AssistersErrorBody::schemas(&mut schemas);
    MakeError::schemas(&mut schemas);
    AgentHubErrorBody::schemas(&mut schemas);
    NativeErrorBody::schemas(&mut schemas);
    schemas
}
