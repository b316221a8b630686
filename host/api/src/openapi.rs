//! The document of all dialects. Each route's annotation stands on its handler and each type's on the type; what is the same
//! for all routes of a dialect (its keys, its errors, what any body may be refused for) is said here, once.

mod merge;
mod reference;

use std::collections::BTreeMap;

use axum::http::StatusCode;
use utoipa::openapi::content::{Content, ContentBuilder};
use utoipa::openapi::path::{Operation, Parameter, ParameterIn, PathItem};
use utoipa::openapi::schema::Schema;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    Components, HeaderBuilder, InfoBuilder, LicenseBuilder, OpenApi, Ref, RefOr, Response, Server, Tag,
};

use utoipa::{PartialSchema as _, ToSchema};
use utoipa_axum::router::OpenApiRouter;

pub(crate) use reference::{Reference, routes};

use crate::ApiState;
use crate::error::{ApiError, Dialect, Kind, body};
use crate::idempotency::HEADER;

const BEARER: &str = "bearer";
const TOKEN: &str = "token";

const ABOUT: &str = "\
One host, four dialects: three documented APIs and the host's own, over the same agents, sessions and runs. What is made \
through one of them is listed, run and continued through the others.

Every answer has `X-Request-ID` (the client's own, if it sent a short plain one) and `X-Processing-Time-Ms`, and with a key \
the headers that say what is left of its allowance.";

/// The names that two dialects give to different schemas. The document can have one of them only.
pub(crate) fn clashes(dialects: &[OpenApiRouter<ApiState>]) -> Vec<String> {
    let mut known: BTreeMap<&str, &RefOr<Schema>> = BTreeMap::new();
    let mut clashes = Vec::new();
    let schemas = dialects.iter().filter_map(|routes| routes.get_openapi().components.as_ref());
    for (name, schema) in schemas.flat_map(|components| &components.schemas) {
        if known.insert(name, schema).is_some_and(|other| other != schema) {
            clashes.push(name.clone());
        }
    }
    clashes
}

/// One event of a stream; a stream is any number of them, with comments between them while nothing happens.
#[derive(ToSchema)]
#[expect(dead_code, reason = "events are written as text; this says what a client reads out of it")]
struct ServerSentEvent {
    /// What `Last-Event-ID` takes, where the stream can be taken up again.
    #[schema(nullable = false)]
    id: Option<String>,
    /// Its type, where the dialect names types in this way.
    #[schema(nullable = false)]
    event: Option<String>,
    /// JSON on one line, or the mark of the stream's end.
    data: String,
}

/// The whole document, from what the routes' annotations have brought together.
pub(crate) fn document(collected: OpenApi) -> OpenApi {
    let mut document = collected;
    document.info = InfoBuilder::new()
        .title("Vivarium")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build()))
        .build();
    document.servers = Some(vec![Server::new("/")]);
    document.tags = Some(tags());
    let components = document.components.get_or_insert_default();
    components.schemas.extend(body::schemas());
    components.schemas.insert(ServerSentEvent::name().into_owned(), ServerSentEvent::schema());
    keys(components);
    for dialect in [Dialect::Assisters, Dialect::Make, Dialect::AgentHub, Dialect::Native] {
        components.responses.extend(COMMON.map(|status| (name(status, dialect), RefOr::T(refusal(status, dialect)))));
    }
    for (path, item) in &mut document.paths.paths {
        let dialect = Dialect::of_path(path);
        for operation in operations(item) {
            complete(operation, dialect);
        }
    }
    merge::flattened(&mut document);
    document
}

fn tags() -> Vec<Tag> {
    let tag = |name: &str, about: &str| TagBuilder::new().name(name).description(Some(about)).build();
    vec![
        tag(
            "Assisters",
            "Two endpoints that run an agent, as a whole or as a stream. They need the max tier. The headers \
             `X-RateLimit-Limit-RPM`, `-Remaining-RPM` and `-Reset-RPM` (Unix seconds) tell of requests, the same three for \
             `-TPM` of tokens.",
        ),
        tag(
            "AI agents (make)",
            "Agents of teams: made, changed, run as a whole or step by step. The key goes into `Authorization: Token <key>`; \
             `Bearer` works too. The same routes also answer without `/api/v2`.",
        ),
        tag(
            "Agent hub",
            "Assistants, their sessions and messages. Each request counts: `X-RateLimit-Limit`, `X-RateLimit-Remaining` and \
             `X-RateLimit-Reset` (Unix seconds) tell what is left.",
        ),
        tag(
            "Native",
            "All that the host has: runs and their logs, agents and their versions, sessions, plugins, secrets.",
        ),
        tag(
            "MCP",
            "The Model Context Protocol over streamable HTTP, in its versions from 2024-11-05 to 2026-07-28: the tenant's tools and \
             agents for other programs' models.",
        ),
    ]
}

fn keys(components: &mut Components) {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("An API key of the host: `Authorization: Bearer <key>`."))
        .build();
    let token = "An API key of the host, with the word before it: `Token <key>`.";
    let token = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description("Authorization", token)));
    components.security_schemes.insert(BEARER.to_owned(), RefOr::T(SecurityScheme::Http(bearer)));
    components.security_schemes.insert(TOKEN.to_owned(), RefOr::T(token));
}

/// A path's operations.
fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, patch, .. } = item;
    [get, put, post, delete, patch].into_iter().flatten()
}

/// Says of an operation what all of its dialect have in common.
fn complete(operation: &mut Operation, dialect: Dialect) {
    let needs_no_key = |schemes: &Vec<SecurityRequirement>| schemes.contains(&SecurityRequirement::default());
    if !operation.security.as_ref().is_some_and(needs_no_key) {
        operation.security = Some(schemes(dialect));
        for status in common_errors(operation, dialect) {
            let common = || RefOr::Ref(Ref::from_response_name(name(status, dialect)));
            operation.responses.responses.entry(status.as_str().to_owned()).or_insert_with(common);
        }
    }
    if takes_idempotency_key(operation) {
        let conflict = operation.responses.responses.entry(StatusCode::CONFLICT.as_str().to_owned());
        if let RefOr::T(conflict) = conflict.or_insert_with(|| RefOr::T(Response::new(""))) {
            conflict.description = match conflict.description.trim_end_matches('.') {
                "" => {
                    let content = error_content(&ApiError::idempotency_conflict(), dialect);
                    conflict.content.insert("application/json".to_owned(), RefOr::T(content));
                    format!("The {KEY_CONFLICT}.")
                }
                other => format!("{other}; or the {KEY_CONFLICT}."),
            };
        }
    }
    for (status, response) in &mut operation.responses.responses {
        let (Ok(status), RefOr::T(response)) = (status.parse::<StatusCode>(), response) else { continue };
        of_events(response);
        if status.is_client_error() || status.is_server_error() {
            complete_error(response, status, dialect);
        }
    }
}

/// When an operation that takes an idempotency key answers 409, besides its own reasons.
const KEY_CONFLICT: &str = "`Idempotency-Key` was used with another body or at another address";

fn takes_idempotency_key(operation: &Operation) -> bool {
    let is_key = |parameter: &RefOr<Parameter>| match parameter {
        RefOr::T(parameter) => parameter.parameter_in == ParameterIn::Header && parameter.name == HEADER,
        RefOr::Ref(_) => false,
    };
    operation.parameters.iter().flatten().any(is_key)
}

/// What operations can answer because of what stands before them or what they take.
const COMMON: [StatusCode; 11] = [
    StatusCode::BAD_REQUEST,
    StatusCode::UNAUTHORIZED,
    StatusCode::FORBIDDEN,
    StatusCode::NOT_FOUND,
    StatusCode::REQUEST_TIMEOUT,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::URI_TOO_LONG,
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::INTERNAL_SERVER_ERROR,
    StatusCode::SERVICE_UNAVAILABLE,
];

/// The name of a common error among the document's components.
fn name(status: StatusCode, dialect: Dialect) -> String {
    format!("{dialect:?}{}", status.as_u16())
}

/// An error that no handler has words of its own for.
fn refusal(status: StatusCode, dialect: Dialect) -> Response {
    let mut response = Response::new("");
    complete_error(&mut response, status, dialect);
    response
}

fn schemes(dialect: Dialect) -> Vec<SecurityRequirement> {
    let none: [&str; 0] = [];
    match dialect {
        Dialect::Make => vec![SecurityRequirement::new(TOKEN, none), SecurityRequirement::new(BEARER, none)],
        Dialect::Assisters | Dialect::AgentHub | Dialect::Native => vec![SecurityRequirement::new(BEARER, none)],
    }
}

/// Which of [`COMMON`] are an operation's.
fn common_errors(operation: &Operation, dialect: Dialect) -> Vec<StatusCode> {
    let parameters = operation.parameters.iter().flatten().filter_map(|parameter| match parameter {
        RefOr::T(parameter) => Some(parameter),
        RefOr::Ref(_) => None,
    });
    let has = |place: ParameterIn| parameters.clone().any(|parameter| parameter.parameter_in == place);
    let mut statuses = vec![
        StatusCode::UNAUTHORIZED,
        StatusCode::FORBIDDEN,
        StatusCode::INTERNAL_SERVER_ERROR,
        StatusCode::SERVICE_UNAVAILABLE,
    ];
    // In the make dialect every route is about a team.
    if has(ParameterIn::Path) || dialect == Dialect::Make {
        statuses.push(StatusCode::NOT_FOUND);
    }
    if has(ParameterIn::Path) || has(ParameterIn::Query) {
        statuses.push(StatusCode::URI_TOO_LONG);
    }
    if has(ParameterIn::Query) || has(ParameterIn::Header) || operation.request_body.is_some() {
        statuses.push(StatusCode::BAD_REQUEST);
    }
    if operation.request_body.is_some() {
        statuses.push(StatusCode::REQUEST_TIMEOUT);
        statuses.push(StatusCode::PAYLOAD_TOO_LARGE);
        statuses.push(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    if dialect == Dialect::AgentHub {
        statuses.push(StatusCode::TOO_MANY_REQUESTS);
    }
    statuses
}

/// What a client reads out of a stream, and which schema the events' data is of.
fn of_events(response: &mut Response) {
    let Some(RefOr::T(stream)) = response.content.get_mut("text/event-stream") else { return };
    let event = Ref::from_schema_name(ServerSentEvent::name()).into();
    if let Some(RefOr::Ref(data)) = stream.schema.replace(event) {
        let name = data.ref_location.rsplit('/').next().unwrap_or_default();
        response.description.push_str(&format!(" The data of each event is the JSON of the schema `{name}`."));
    }
}

/// The body of an error, with this one as its example.
fn error_content(error: &ApiError, dialect: Dialect) -> Content {
    let schema = Ref::from_schema_name(dialect.error_schema());
    ContentBuilder::new().schema(Some(schema)).example(Some(error.example(dialect))).build()
}

/// The body, an example and the headers of an error, where the handler has not said them itself.
fn complete_error(response: &mut Response, status: StatusCode, dialect: Dialect) {
    let (error, about) = example(status, dialect);
    if response.description.is_empty() {
        about.clone_into(&mut response.description);
    }
    // What the HTTP library refuses, no handler sees: there is no body.
    if response.content.is_empty() && status != StatusCode::URI_TOO_LONG {
        response.content.insert("application/json".to_owned(), RefOr::T(error_content(&error, dialect)));
    }
    let said = match status {
        StatusCode::UNAUTHORIZED => Some(("WWW-Authenticate", "The scheme that the key is to be sent with.")),
        StatusCode::TOO_MANY_REQUESTS => Some(("Retry-After", "In how many seconds to try again.")),
        _ => None,
    };
    if let Some((name, about)) = said {
        let header = HeaderBuilder::new().description(Some(about)).build();
        response.headers.entry(name.to_owned()).or_insert(RefOr::T(header));
    }
}

/// An error of this status, and when it is said.
fn example(status: StatusCode, dialect: Dialect) -> (ApiError, &'static str) {
    let error = ApiError::new;
    match status {
        StatusCode::BAD_REQUEST => {
            let message = "limit must be an integer from 1 to 100";
            (error(Kind::InvalidParameter, message).about("limit"), "Something in the request is not as documented.")
        }
        StatusCode::UNAUTHORIZED => {
            (error(Kind::InvalidApiKey, "this API key is not valid"), "There is no valid key in the request.")
        }
        StatusCode::FORBIDDEN => {
            let message = "this needs a key with the scope runs";
            (error(Kind::ScopeMissing, message), "The key is valid, and may not do this: its scope or its tier.")
        }
        StatusCode::NOT_FOUND => {
            (error(Kind::NotFound, "there is no such run"), "There is no such thing, or it is somebody else's.")
        }
        StatusCode::REQUEST_TIMEOUT => {
            (error(Kind::BodyTooSlow, "the body did not arrive within 30 s"), "The body did not arrive in time.")
        }
        StatusCode::CONFLICT => (
            error(Kind::Conflict, "the name \"my-assistant\" is taken").about("name"),
            "What is there already stands against it.",
        ),
        StatusCode::PRECONDITION_FAILED => {
            let message = "\"src/main.py\" is not what the request says that it is: it is not there; read it again";
            (error(Kind::FileChanged, message).about("If-Match"), "It is not what the request says that it is.")
        }
        StatusCode::RANGE_NOT_SATISFIABLE => {
            let message = "the file has 11 bytes, and not this range of them";
            (error(Kind::RangeNotSatisfiable, message), "There is no such range.")
        }
        StatusCode::PAYLOAD_TOO_LARGE => {
            (error(Kind::BodyTooLarge, "the body is larger than 1048576 bytes"), "The body is too large.")
        }
        StatusCode::URI_TOO_LONG => {
            (error(Kind::InvalidRequest, ""), "The address is longer than 64 KiB. The answer has no body.")
        }
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            let message = "the body must be JSON: send it with Content-Type: application/json";
            (error(Kind::UnsupportedMediaType, message), "The body is of another type.")
        }
        StatusCode::UNPROCESSABLE_ENTITY => {
            (error(Kind::InvalidPlugin, "this is no WebAssembly component"), "The plugin can not be installed.")
        }
        StatusCode::BAD_GATEWAY => {
            let message = "the MCP server docs did not answer within 60000 ms";
            (error(Kind::McpServerFailed, message), "A server that was asked for this has not given it.")
        }
        StatusCode::FAILED_DEPENDENCY if dialect == Dialect::Make => {
            (error(Kind::ModelUnavailable, "the model is not available"), "The model does not answer.")
        }
        StatusCode::TOO_MANY_REQUESTS => {
            let message = "this key's 60 requests a minute are used up; try again in 5 s";
            (error(Kind::RateLimited, message), "Too much at one time; `Retry-After` says when to try again.")
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            let message = "the host is shutting down; try again";
            (error(Kind::ShuttingDown, message), "The host, or the model that it asks, can not serve now.")
        }
        _ => (ApiError::internal(), "The host is at fault, or the run failed."),
    }
}
