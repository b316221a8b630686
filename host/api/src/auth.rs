//! Who is asking. A key is 256 random bits and is found by its SHA-256, so that neither the store nor its backups can be
//! used to log in, and how long a comparison takes tells nothing about any key: what is compared is a hash that nobody
//! can steer. The tenant comes from the key alone.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use tokio_util::sync::CancellationToken;
use vivarium_domain::{ApiKey, ContentHash, KeyId, Scope, TenantId, Tier, Timestamp};
use vivarium_store::{Batch, Store, StoreError, Write};

use crate::error::{ApiError, Dialect, Kind};
use crate::limits::{KeyLimits, TierLimits};

/// For how long a key is believed without asking the store. A revocation through this process counts at once; this is
/// for one that came another way.
const BELIEVED: Duration = Duration::from_secs(30);

/// How many keys are remembered; beyond it, those that have used nothing lately are forgotten.
const MAX_REMEMBERED: usize = 10_000;

/// The longest text that can be a key.
const MAX_KEY_BYTES: usize = 256;

/// A new key: the prefix that marks it in logs and leaks, and 256 random bits.
///
/// # Errors
/// When the operating system has no randomness.
pub fn new_key() -> Result<String, String> {
    let mut bits = [0_u8; 32];
    OsRng.try_fill_bytes(&mut bits).map_err(|error| format!("no random key can be made: {error}"))?;
    Ok(format!("ask_{}", URL_SAFE_NO_PAD.encode(bits)))
}

/// What the store keeps of a key.
#[must_use]
pub fn hash_key(key: &str) -> ContentHash {
    ContentHash::of(key.as_bytes())
}

/// A valid key, with what it has used and the end of its streams.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) key: KeyId,
    pub(crate) tenant: TenantId,
    pub(crate) tier: Tier,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) limits: KeyLimits,
    /// Cancelled when the key is revoked.
    pub(crate) revoked: CancellationToken,
}

struct Remembered {
    caller: Arc<Caller>,
    asked: Instant,
}

pub(crate) struct Auth {
    store: Arc<dyn Store>,
    limits: TierLimits,
    /// Requests of the agent-hub dialect, where they are not the tier's.
    agent_hub: Option<NonZeroU32>,
    known: RwLock<HashMap<ContentHash, Remembered>>,
}

impl Auth {
    pub(crate) fn new(store: Arc<dyn Store>, limits: TierLimits, agent_hub: Option<NonZeroU32>) -> Self {
        Self { store, limits, agent_hub, known: RwLock::default() }
    }

    /// Who sends these headers.
    pub(crate) async fn caller(&self, headers: &HeaderMap, dialect: Dialect) -> Result<Arc<Caller>, ApiError> {
        let hash = hash_key(key_of(headers, schemes(dialect))?);
        match self.remembered(&hash) {
            Some((caller, true)) => Ok(caller),
            Some((caller, false)) => self.ask(hash, Some(caller)).await,
            None => self.ask(hash, None).await,
        }
    }

    /// The caller of this hash, and whether that can be believed without asking.
    fn remembered(&self, hash: &ContentHash) -> Option<(Arc<Caller>, bool)> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let remembered = known.get(hash)?;
        Some((Arc::clone(&remembered.caller), remembered.asked.elapsed() < BELIEVED))
    }

    /// Asks the store. What `before` has used stays used, unless its tier has changed.
    async fn ask(&self, hash: ContentHash, before: Option<Arc<Caller>>) -> Result<Arc<Caller>, ApiError> {
        let asked = Instant::now();
        let key = match self.store.api_key_by_hash(hash).await? {
            Some(key) if key.revoked_at.is_none() => key,
            revoked_or_unknown => {
                self.forget(&hash);
                return Err(revoked_or_unknown.map_or_else(ApiError::no_such_key, |_| ApiError::key_revoked()));
            }
        };
        let tenant = self.store.tenant(&key.tenant).await?.ok_or_else(ApiError::no_such_key)?;
        let caller = before.filter(|caller| caller.tier == tenant.tier).unwrap_or_else(|| {
            Arc::new(Caller {
                key: key.id,
                tenant: tenant.id,
                tier: tenant.tier,
                scopes: key.scopes,
                limits: KeyLimits::new(self.limits.of(tenant.tier), self.agent_hub),
                revoked: CancellationToken::new(),
            })
        });
        Ok(self.remember(hash, Remembered { caller, asked }))
    }

    /// Two first requests at once must share one allowance: the first to come stays.
    fn remember(&self, hash: ContentHash, new: Remembered) -> Arc<Caller> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_REMEMBERED {
            known.retain(|_, remembered| !remembered.caller.limits.is_full());
        }
        let entry =
            known.entry(hash).or_insert_with(|| Remembered { caller: Arc::clone(&new.caller), asked: new.asked });
        if entry.caller.tier != new.caller.tier {
            entry.caller = new.caller;
        }
        entry.asked = new.asked;
        Arc::clone(&entry.caller)
    }

    fn forget(&self, hash: &ContentHash) {
        let forgotten = self.known.write().unwrap_or_else(PoisonError::into_inner).remove(hash);
        if let Some(remembered) = forgotten {
            remembered.caller.revoked.cancel();
        }
    }

    /// Forgets all keys of a tenant that the store has no more, and ends the streams that they opened.
    pub(crate) fn forget_tenant(&self, tenant: &TenantId) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        for (_, remembered) in known.extract_if(|_, remembered| remembered.caller.tenant == *tenant) {
            remembered.caller.revoked.cancel();
        }
    }

    pub(crate) async fn revoke(&self, tenant: &TenantId, id: KeyId) -> Result<bool, StoreError> {
        let keys = self.store.api_keys(tenant).await?;
        let found: Option<(ContentHash, ApiKey)> = keys.into_iter().find(|(_, key)| key.id == id);
        let Some((hash, mut key)) = found.filter(|(_, key)| key.revoked_at.is_none()) else { return Ok(false) };
        key.revoked_at = Some(Timestamp::now());
        let batch = Batch { conditions: Vec::new(), writes: vec![Write::PutApiKey { hash, key }] };
        self.store.commit(tenant, batch).await?;
        self.forget(&hash);
        Ok(true)
    }
}

/// The schemes of a dialect's `Authorization` header; the first one is the document's.
fn schemes(dialect: Dialect) -> &'static [&'static str] {
    match dialect {
        Dialect::Make => &["Token", "Bearer"],
        Dialect::Assisters | Dialect::AgentHub | Dialect::Native => &["Bearer"],
    }
}

/// The key in `Authorization: <scheme> <key>`.
fn key_of<'a>(headers: &'a HeaderMap, schemes: &[&str]) -> Result<&'a str, ApiError> {
    let scheme = schemes.first().copied().unwrap_or_default();
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        let message = format!("an API key is needed: send it in one header, Authorization: {scheme} <key>");
        return Err(ApiError::new(Kind::InvalidApiKey, message));
    };
    let key = value.to_str().ok().and_then(|text| text.split_once(' '));
    let is_known = |found: &str| schemes.iter().any(|known| found.eq_ignore_ascii_case(known));
    let key = key.filter(|(found, _)| is_known(found)).map(|(_, key)| key.trim());
    key.filter(|key| !key.is_empty() && key.len() <= MAX_KEY_BYTES).ok_or_else(|| {
        ApiError::new(Kind::InvalidApiKey, format!("the Authorization header must read: {scheme} <key>"))
    })
}
