//! What the document says of errors: one form for all, and which statuses a route can answer with.

#![expect(dead_code, reason = "these types stand for what crate::error writes; only the document reads them")]

use utoipa::{IntoResponses, ToSchema};

/// An error of the agent-hub dialect.
#[derive(ToSchema)]
#[schema(as = AgentHubErrorAnswer)]
pub(super) struct ErrorAnswer {
    error: ErrorBody,
}

/// What is wrong.
#[derive(ToSchema)]
#[schema(as = AgentHubError)]
struct ErrorBody {
    /// For a person.
    #[schema(example = "there is no such agent")]
    message: String,
    code: Code,
    /// Which fields are wrong.
    #[schema(nullable = false)]
    details: Option<Vec<Detail>>,
}

/// What kind of error it is.
#[derive(ToSchema)]
#[schema(as = AgentHubErrorCode)]
enum Code {
    #[schema(rename = "NOT_FOUND")]
    NotFound,
    #[schema(rename = "UNAUTHORIZED")]
    Unauthorized,
    #[schema(rename = "FORBIDDEN")]
    Forbidden,
    #[schema(rename = "RATE_LIMITED")]
    RateLimited,
    #[schema(rename = "VALIDATION_ERROR")]
    ValidationError,
    #[schema(rename = "CONFLICT")]
    Conflict,
    #[schema(rename = "INTERNAL_ERROR")]
    InternalError,
    #[schema(rename = "PROVIDER_ERROR")]
    ProviderError,
}

/// A field that is wrong.
#[derive(ToSchema)]
#[schema(as = AgentHubErrorDetail)]
struct Detail {
    /// Where it stands in the body or the query string.
    #[schema(example = "llmProvider")]
    field: String,
    /// What is wrong with it, and what would be right.
    message: String,
}

/// What any route can answer with.
#[derive(IntoResponses)]
pub(super) enum Any {
    /// There is no key, or it is not valid.
    #[response(status = 401)]
    Unauthorized(ErrorAnswer),
    /// The key lacks the scope.
    #[response(status = 403)]
    Forbidden(ErrorAnswer),
    /// The key has made as many requests as it may; `Retry-After` says when it may again.
    #[response(status = 429)]
    TooMany(ErrorAnswer),
    /// The host failed.
    #[response(status = 500)]
    Internal(ErrorAnswer),
    /// The store or the model does not answer, or the host is full or stops; try again.
    #[response(status = 503)]
    Unavailable(ErrorAnswer),
}

/// What a route with a body can answer with.
#[derive(IntoResponses)]
pub(super) enum OfBody {
    /// The body is not as documented; the fields are named.
    #[response(status = 400)]
    Invalid(ErrorAnswer),
    /// The body did not arrive in time.
    #[response(status = 408)]
    TooSlow(ErrorAnswer),
    /// The body is too large.
    #[response(status = 413)]
    TooLarge(ErrorAnswer),
    /// The body is no JSON.
    #[response(status = 415)]
    NoJson(ErrorAnswer),
}

/// What a route with a query string can answer with.
#[derive(IntoResponses)]
pub(super) enum OfQuery {
    /// A parameter is not as documented.
    #[response(status = 400)]
    Invalid(ErrorAnswer),
}

/// What a route about something can answer with.
#[derive(IntoResponses)]
pub(super) enum Missing {
    /// This tenant has nothing of this id or name.
    #[response(status = 404)]
    NotFound(ErrorAnswer),
}

/// What a route that changes something can answer with.
#[derive(IntoResponses)]
pub(super) enum Clash {
    /// It does not go together with what is there.
    #[response(status = 409)]
    Conflict(ErrorAnswer),
}
