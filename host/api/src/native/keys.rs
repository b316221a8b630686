//! `/v1/keys`: the keys of the tenant. What makes one gives its text out once; nothing keeps it.

use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use vivarium_domain::{ApiKey, AuditBy, Budget, KeyFormat, KeyId, Scope, TenantId, Timestamp};

use super::NativeError;
use super::list::{List, Parameters};
use crate::ApiState;
use crate::auth::Caller;
use crate::body::{given, given_object, json_bytes, json_of, object};
use crate::error::{ApiError, Kind};
use crate::gate::{By, CallerExt};
use crate::idempotency::{Answer, IdempotencyKey, Once};
use crate::keyring::{KeyError, MadeKey, NewKey};
use crate::origin::origins;
use crate::segment::Segment;

/// The longest name of a key, in characters.
const MAX_NAME_CHARS: usize = 128;

/// How long the old key is valid after a rotation that says nothing of it, and at most: a day, and a month.
const OVERLAP_SECONDS: u32 = 24 * 3600;
const MAX_OVERLAP_SECONDS: u32 = 30 * 24 * 3600;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(one, change, revoke)).routes(routes!(rotate))
}

/// A key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewKey, example = json!({"name": "nightly jobs", "scopes": ["runs"], "expiresAt": "2027-06-30T00:00:00Z"}))]
pub(super) struct NewKeyJson {
    /// What a person calls it.
    #[schema(max_length = 128, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    name: String,
    /// What it may do: only what the key that makes it may do itself.
    #[schema(min_items = 1)]
    scopes: Vec<Scope>,
    /// How it is written. Each form works in every dialect.
    #[serde(default)]
    format: KeyFormat,
    /// When its time is over; without it, never.
    #[schema(nullable = false)]
    expires_at: Option<Timestamp>,
    /// The origins whose pages may use it in a browser. None: no request is refused for its origin, and no page can read the answers.
    #[serde(default)]
    #[schema(max_items = 100, example = json!(["https://app.example.com"]))]
    allowed_origins: Vec<String>,
    /// What may be used with it in a day and in a month.
    #[serde(default, deserialize_with = "object")]
    #[schema(required = false)]
    budget: Budget,
}

/// A key that was made.
#[derive(Serialize, ToSchema)]
#[schema(as = MadeKey)]
pub(super) struct MadeKeyJson<'a> {
    #[serde(flatten)]
    record: &'a ApiKey,
    /// The key itself. It is in this answer and nowhere else: a repeat of the request with the same `Idempotency-Key` is answered without
    /// it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<String>, example = "ask_u3bZ0yqJ2mV5c8Wd1eTn7KxLr4PaGh9sQfYtUvNiB6E")]
    key: Option<&'a str>,
}

/// What the request that makes a key answers.
fn shown(made: &MadeKey) -> Answer {
    Answer::json(StatusCode::CREATED, &MadeKeyJson { record: &made.record, key: Some(made.text.expose_secret()) })
}

/// What is kept of that answer for repeats: without the key itself.
fn shown_again(record: &ApiKey) -> Answer {
    Answer::json(StatusCode::CREATED, &MadeKeyJson { record, key: None })
}

impl NewKeyJson {
    /// The key, as `caller` may make it.
    pub(super) fn checked(self, caller: &Caller) -> Result<NewKey, ApiError> {
        let Self { name, scopes, format, expires_at, allowed_origins, budget } = self;
        check_name(&name)?;
        check_expiry(expires_at)?;
        if scopes.is_empty() {
            let names: Vec<&str> = Scope::ALL.iter().map(|scope| scope.name()).collect();
            return Err(ApiError::invalid("scopes", format!("must have at least one of {}", names.join(", "))));
        }
        may_give(caller, &scopes)?;
        let scopes = Scope::ALL.into_iter().filter(|scope| scopes.contains(scope)).collect();
        Ok(NewKey { name, scopes, format, expires_at, allowed_origins: origins(&allowed_origins)?, budget })
    }
}

fn check_name(name: &str) -> Result<(), ApiError> {
    if name.chars().count() > MAX_NAME_CHARS || name.contains(char::is_control) {
        let must = format!("must have at most {MAX_NAME_CHARS} characters, and no control characters");
        return Err(ApiError::invalid("name", must));
    }
    Ok(())
}

fn check_expiry(expires_at: Option<Timestamp>) -> Result<(), ApiError> {
    if expires_at.is_some_and(|at| at <= Timestamp::now()) {
        return Err(ApiError::invalid("expiresAt", "must be in the future"));
    }
    Ok(())
}

/// Nobody gives what it has not: a key is made, changed, rotated or revoked by one that may do all that it may.
fn may_give(caller: &Caller, scopes: &[Scope]) -> Result<(), ApiError> {
    match scopes.iter().find(|scope| !caller.may(**scope)) {
        None => Ok(()),
        Some(scope) => {
            let message = format!("a key with the scope {} is the business of keys that have it", scope.name());
            Err(ApiError::new(Kind::ScopeMissing, message))
        }
    }
}

impl From<KeyError> for ApiError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::NoTenant | KeyError::NoKey => Self::new(Kind::NotFound, error.to_string()),
            KeyError::Reserved(_) => Self::new(Kind::InvalidParameter, error.to_string()).about("id"),
            KeyError::TenantExists(_) => Self::new(Kind::Conflict, error.to_string()).about("id"),
            KeyError::Ended(_) | KeyError::Replaced(..) | KeyError::Full | KeyError::LastAdmin => {
                Self::new(Kind::Conflict, error.to_string())
            }
            KeyError::Randomness(_) => {
                tracing::error!(%error, "a key was not made");
                Self::internal()
            }
            KeyError::Store(error) => error.into(),
        }
    }
}

/// The id of a path; what is none is nobody's key.
pub(super) fn key_id(text: &str) -> Result<KeyId, ApiError> {
    text.parse().map_err(|_| KeyError::NoKey.into())
}

/// A page of a tenant's keys.
pub(super) async fn page(state: &ApiState, tenant: &TenantId, uri: &Uri) -> Result<List<ApiKey>, ApiError> {
    let asked = Parameters::of(uri, &["limit", "cursor"])?;
    let (limit, before) = (asked.limit()?, asked.cursor::<KeyId>()?);
    let keys = state.0.keyring.keys(tenant).await?.into_iter();
    let mut found = keys.filter(|(_, key)| before.is_none_or(|before| key.id < before));
    let shown: Vec<_> = found.by_ref().take(limit).map(|(hash, key)| state.0.auth.with_use(&hash, key)).collect();
    let next = found.next().and_then(|_| shown.last().map(|key| key.id));
    Ok(List::new(shown, next))
}

/// List the keys
///
/// Those of this tenant that were made last come first, also those that are no longer valid. Needs the scope `keys`.
#[utoipa::path(
    get, path = "/v1/keys", operation_id = "listKeys", tag = "Native",
    params(
        ("limit" = Option<u32>, Query, nullable = false, minimum = 1, maximum = 200, description = "At most so many; without it, 50."),
        ("cursor" = Option<uuid::Uuid>, Query, nullable = false, description = "The `next` of an earlier page."),
    ),
    responses((status = 200, description = "A page of them.", body = List<ApiKey>))
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    uri: Uri,
) -> Result<Json<List<ApiKey>>, NativeError> {
    caller.needs(Scope::Keys)?;
    Ok(Json(page(&state, &caller.tenant, &uri).await?))
}

/// Make a key
///
/// For this tenant, with scopes that the key has which makes it. The key itself is in the answer, this once. Needs the scope `keys`.
#[utoipa::path(
    post, path = "/v1/keys", operation_id = "createKey", tag = "Native",
    params(IdempotencyKey),
    request_body(content = NewKeyJson),
    responses(
        (status = 201, description = "The key.", body = MadeKeyJson<'_>),
        (status = 409, description = "The tenant has as many keys as it may."),
    )
)]
pub(super) async fn create(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    By { 0: by }: By,
    request: Request,
) -> Result<Answer, NativeError> {
    caller.needs(Scope::Keys)?;
    let (head, body) = request.into_parts();
    let body = json_bytes(&state, &head.headers, body).await?;
    Ok(make(&state, &caller, &by, &caller.tenant, &head, &body).await?)
}

/// Makes a key of a tenant, once.
pub(super) async fn make(
    state: &ApiState,
    caller: &Caller,
    by: &AuditBy,
    tenant: &TenantId,
    head: &Parts,
    body: &[u8],
) -> Result<Answer, ApiError> {
    let once = Once::of(state, &caller.tenant, head, body)?;
    let make = async {
        let new = json_of::<NewKeyJson>(body)?.checked(caller)?;
        let along = |record: &ApiKey| once.remember(&shown_again(record));
        let made = state.0.keyring.create(&caller.tenant, tenant, new, by, along).await?;
        tracing::info!(key = %made.record.id, %tenant, by = %caller.key, "a key was made");
        Ok(shown(&made))
    };
    once.or(make).await
}

/// A key
///
/// Needs the scope `keys`.
#[utoipa::path(
    get, path = "/v1/keys/{id}", operation_id = "getKey", tag = "Native",
    params(("id" = KeyId, Path, description = "The key's public id.")),
    responses((status = 200, description = "The key, without itself.", body = ApiKey))
)]
pub(super) async fn one(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(id): Segment<String>,
) -> Result<Json<ApiKey>, NativeError> {
    caller.needs(Scope::Keys)?;
    let (hash, key) = state.0.keyring.key(&caller.tenant, key_id(&id)?).await?;
    Ok(Json(state.0.auth.with_use(&hash, key)))
}

/// What of a key is changed; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = KeyChange, example = json!({"name": "nightly jobs", "allowedOrigins": ["https://app.example.com"]}))]
struct KeyChange {
    /// What a person calls it.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, max_length = 128, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    name: Option<String>,
    /// The origins whose pages may use it in a browser.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, max_items = 100, example = json!(["https://app.example.com"]))]
    allowed_origins: Option<Vec<String>>,
    /// When its time is over; null: never.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Timestamp>)]
    expires_at: Option<Option<Timestamp>>,
    /// What may be used with it in a day and in a month: the whole of it, in place of what was there.
    #[serde(default, deserialize_with = "given_object")]
    #[schema(nullable = false)]
    budget: Option<Budget>,
}

/// Change a key
///
/// Its name, its origins, its budget or its end; what is left out stays. Counts at once. Needs the scope `keys`, and the scopes of the key.
#[utoipa::path(
    patch, path = "/v1/keys/{id}", operation_id = "changeKey", tag = "Native",
    params(("id" = KeyId, Path, description = "The key's public id.")),
    request_body(content = KeyChange),
    responses(
        (status = 200, description = "The key as it is now.", body = ApiKey),
        (status = 409, description = "The key is no longer valid."),
    )
)]
pub(super) async fn change(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    By { 0: by }: By,
    Segment(id): Segment<String>,
    request: Request,
) -> Result<Json<ApiKey>, NativeError> {
    caller.needs(Scope::Keys)?;
    let id = key_id(&id)?;
    let (head, body) = request.into_parts();
    let KeyChange { name, allowed_origins, expires_at, budget } =
        json_of(&json_bytes(&state, &head.headers, body).await?)?;
    name.iter().try_for_each(|name| check_name(name))?;
    check_expiry(expires_at.flatten())?;
    let allowed_origins = allowed_origins.map(|texts| origins(&texts)).transpose()?;
    let changing = async move {
        let change = |key: &mut ApiKey| {
            may_give(&caller, &key.scopes)?;
            if key.end(Timestamp::now()).is_some() {
                return Err(KeyError::Ended(key.id).into());
            }
            key.name = name.unwrap_or_else(|| std::mem::take(&mut key.name));
            key.allowed_origins = allowed_origins.unwrap_or_else(|| std::mem::take(&mut key.allowed_origins));
            key.expires_at = expires_at.unwrap_or(key.expires_at);
            key.budget = budget.unwrap_or(key.budget);
            Ok::<_, ApiError>(())
        };
        let (hash, key) = state.0.keyring.change(&caller.tenant, id, &by, change).await?;
        state.0.auth.key_changed(&hash, &key);
        state.0.runs.key_changed(key.id);
        Ok(state.0.auth.with_use(&hash, key))
    };
    Ok(Json(whole(changing).await?))
}

/// Does a change to its end, whoever leaves: what is on disk must be known here.
pub(super) async fn whole<T: Send + 'static>(
    change: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::spawn(change).await.map_err(|_| ApiError::internal())?
}

/// Revoke a key
///
/// From then on it is refused, and the streams that it opened end. 404 if this tenant has no such key, or it was revoked
/// before. Needs the scope `keys`, and the scopes of the key.
#[utoipa::path(
    delete, path = "/v1/keys/{id}", operation_id = "revokeKey", tag = "Native",
    params(("id" = KeyId, Path, description = "The key's public id.")),
    responses(
        (status = 204, description = "It is revoked."),
        (status = 409, description = "It is the host's last key with the scope `admin`."),
    )
)]
pub(super) async fn revoke(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    By { 0: by }: By,
    Segment(id): Segment<String>,
) -> Result<StatusCode, NativeError> {
    caller.needs(Scope::Keys)?;
    let (tenant, id) = (caller.tenant.clone(), key_id(&id)?);
    let (_, key) = state.0.keyring.key(&tenant, id).await?;
    may_give(&caller, &key.scopes)?;
    Ok(end(state, by, tenant, id).await?)
}

/// Revokes a key, whoever leaves.
pub(super) async fn end(state: ApiState, by: AuditBy, tenant: TenantId, id: KeyId) -> Result<StatusCode, ApiError> {
    let ending = async move {
        let (hash, key) = state.0.keyring.revoke(&tenant, id, true, &by).await?;
        state.0.auth.key_changed(&hash, &key);
        tracing::info!(key = %id, %tenant, by = %by.who, "a key was revoked");
        Ok(StatusCode::NO_CONTENT)
    };
    whole(ending).await
}

/// How a key is rotated.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({"overlapSeconds": 3600}))]
struct Rotation {
    /// For how long the old key is valid besides the new one, or until its own end if that is sooner; without it, a day.
    #[schema(nullable = false, maximum = 2_592_000)]
    overlap_seconds: Option<u32>,
}

/// Rotate a key
///
/// Makes a key with the same name, scopes, origins, budget, form and end, and lets the old one end after the overlap, its open streams with it.
/// The new key itself is in the answer, this once. Needs the scope `keys`, and the scopes of the key.
#[utoipa::path(
    post, path = "/v1/keys/{id}/rotate", operation_id = "rotateKey", tag = "Native",
    params(("id" = KeyId, Path, description = "The old key's public id."), IdempotencyKey),
    request_body(content = Rotation),
    responses(
        (status = 201, description = "The new key.", body = MadeKeyJson<'_>),
        (status = 409, description = "The old key is no longer valid, or was rotated before; or the tenant has as many keys as it may."),
    )
)]
pub(super) async fn rotate(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    By { 0: by }: By,
    Segment(id): Segment<String>,
    request: Request,
) -> Result<Answer, NativeError> {
    caller.needs(Scope::Keys)?;
    let (head, body) = request.into_parts();
    let body = json_bytes(&state, &head.headers, body).await?;
    let once = Once::of(&state, &caller.tenant, &head, &body)?;
    let make = async {
        let Rotation { overlap_seconds } = json_of(&body)?;
        let seconds = overlap_seconds.unwrap_or(OVERLAP_SECONDS);
        if seconds > MAX_OVERLAP_SECONDS {
            let must = format!("must be an integer from 0 to {MAX_OVERLAP_SECONDS}");
            return Err(ApiError::invalid("overlapSeconds", must));
        }
        let (tenant, id) = (caller.tenant.clone(), key_id(&id)?);
        let (hash, old) = state.0.keyring.key(&tenant, id).await?;
        may_give(&caller, &old.scopes)?;
        let (state, by, remember) = (state.clone(), by.clone(), once.memory());
        let rotating = async move {
            let along = |record: &ApiKey| remember.remember(&shown_again(record));
            let overlap = Duration::from_secs(seconds.into());
            let (made, old) = state.0.keyring.rotate(&tenant, id, overlap, &by, along).await?;
            state.0.auth.key_changed(&hash, &old);
            tracing::info!(key = %made.record.id, replaces = %id, %tenant, by = %by.who, "a key was rotated");
            Ok(shown(&made))
        };
        whole(rotating).await
    };
    Ok(once.or(make).await?)
}
