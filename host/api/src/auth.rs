//! Who is asking. A key is 256 random bits and is found by its SHA-256, so that neither the store nor its backups can be
//! used to log in, and how long a comparison takes tells nothing about any key: what is compared is a hash that nobody
//! can steer. The tenant comes from the key alone.
//!
//! What the store says of a key is remembered. A change through this process counts at once: who makes one says so here,
//! once it is on disk, and what was asked before that is asked again.

mod tending;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, header};
use tokio_util::sync::CancellationToken;
use vivarium_domain::{ApiKey, ContentHash, KeyEnd, KeyId, Scope, Tenant, TenantId, Tier, Timestamp};
use vivarium_store::Store;

use crate::error::{ApiError, Dialect, Kind};
use crate::keyring::hash_key;
use crate::limits::tenant::{Allowed, TenantUse};
use crate::limits::{KeyLimits, TierLimits};

/// For how long a key is believed without asking the store: for a change that came another way than through this process.
const BELIEVED: Duration = Duration::from_secs(30);

/// How many keys are remembered; beyond it, those that have used nothing lately are forgotten.
const MAX_REMEMBERED: usize = 10_000;

/// The longest text that can be a key.
const MAX_KEY_BYTES: usize = 256;

/// A valid key, with what it has used and the end of its streams.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) key: KeyId,
    pub(crate) tenant: TenantId,
    pub(crate) tier: Tier,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) allowed_origins: Vec<String>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) limits: Arc<KeyLimits>,
    pub(crate) life: Arc<Life>,
}

impl Caller {
    /// What is known of a key now. What it has used before stays used, unless its tier has changed; and its streams stay its own.
    fn new(auth: &Auth, key: ApiKey, tenant: &Tenant, before: Option<&Self>) -> Self {
        let of_tenant = auth.tenant_use(tenant);
        let is_same = |before: &&Self| before.tier == tenant.tier && Arc::ptr_eq(before.limits.of_tenant(), &of_tenant);
        let same_tier = before.filter(is_same);
        let new_limits =
            || Arc::new(KeyLimits::new(auth.limits.of(tenant.tier), auth.agent_hub, Arc::clone(&of_tenant)));
        Self {
            key: key.id,
            tenant: key.tenant,
            tier: tenant.tier,
            scopes: key.scopes,
            allowed_origins: key.allowed_origins,
            expires_at: key.expires_at,
            limits: same_tier.map_or_else(new_limits, |before| Arc::clone(&before.limits)),
            life: before.map_or_else(Arc::default, |before| Arc::clone(&before.life)),
        }
    }

    /// The same with what of a key can be changed.
    fn changed(&self, key: &ApiKey) -> Self {
        Self {
            key: self.key,
            tenant: self.tenant.clone(),
            tier: self.tier,
            scopes: self.scopes.clone(),
            allowed_origins: key.allowed_origins.clone(),
            expires_at: key.expires_at,
            limits: Arc::clone(&self.limits),
            life: Arc::clone(&self.life),
        }
    }

    fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

/// The life of a key, which all that was opened with it shares.
#[derive(Debug, Default)]
pub(crate) struct Life {
    ended: CancellationToken,
    how: OnceLock<KeyEnd>,
    /// When it was used last, in microseconds; 0: not yet.
    used_at: AtomicI64,
    /// What of that is on disk.
    written_at: AtomicI64,
}

impl Life {
    /// Waits for the key's end, and says how it came about.
    pub(crate) async fn end(&self) -> ApiError {
        self.ended.cancelled().await;
        match self.how.get() {
            Some(KeyEnd::Expired) => ApiError::key_expired(),
            Some(KeyEnd::Revoked) | None => ApiError::key_revoked(),
        }
    }

    /// Ends all that was opened with the key.
    pub(crate) fn finish(&self, how: KeyEnd) {
        let _first_to_say = self.how.set(how);
        self.ended.cancel();
    }

    /// A use that is not on disk.
    fn unwritten(&self) -> Option<i64> {
        let used_at = self.used_at.load(Ordering::Relaxed);
        (used_at > self.written_at.load(Ordering::Relaxed)).then_some(used_at)
    }
}

struct Remembered {
    caller: Arc<Caller>,
    /// When the store was asked; none: it has to be asked again.
    asked: Option<Instant>,
}

impl Remembered {
    fn is_believed(&self) -> bool {
        self.asked.is_some_and(|asked| asked.elapsed() < BELIEVED) && !self.caller.has_expired(Timestamp::now())
    }

    /// Nothing would be lost with it.
    fn is_idle(&self) -> bool {
        let life = &self.caller.life;
        let is_held = Arc::strong_count(&self.caller) > 1 || Arc::strong_count(life) > 1;
        !is_held && self.caller.limits.is_full() && life.unwritten().is_none()
    }
}

/// The keys that are remembered.
#[derive(Default)]
struct Known {
    keys: HashMap<ContentHash, Remembered>,
    /// Counts the changes that this process has made to keys and tenants.
    changes: u64,
}

pub(crate) struct Auth {
    store: Arc<dyn Store>,
    limits: TierLimits,
    /// Requests of the agent-hub dialect, where they are not the tier's.
    agent_hub: Option<NonZeroU32>,
    known: RwLock<Known>,
    /// What tenants have used of what all their keys share.
    tenants: Mutex<HashMap<TenantId, Arc<TenantUse>>>,
    /// Uses of keys that are not remembered any more.
    left: Mutex<Vec<(ContentHash, Arc<Caller>)>>,
}

impl Auth {
    pub(crate) fn new(store: Arc<dyn Store>, limits: TierLimits, agent_hub: Option<NonZeroU32>) -> Self {
        Self { store, limits, agent_hub, known: RwLock::default(), tenants: Mutex::default(), left: Mutex::default() }
    }

    /// What a tenant has used; anew, where its limits have changed.
    fn tenant_use(&self, tenant: &Tenant) -> Arc<TenantUse> {
        let allowed = Allowed::of(tenant, &self.limits.of(tenant.tier));
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if tenants.len() >= MAX_REMEMBERED {
            tenants.retain(|_, of_tenant| Arc::strong_count(of_tenant) > 1 || !of_tenant.is_idle());
        }
        let before = tenants.get(&tenant.id);
        if let Some(before) = before.filter(|before| before.allowed == allowed) {
            return Arc::clone(before);
        }
        let now = Arc::new(TenantUse::new(allowed, before.map(|before| &**before)));
        tenants.insert(tenant.id.clone(), Arc::clone(&now));
        now
    }

    /// Who sends these headers.
    pub(crate) async fn caller(&self, headers: &HeaderMap, dialect: Dialect) -> Result<Arc<Caller>, ApiError> {
        let hash = hash_key(key_of(headers, schemes(dialect))?);
        let caller = match self.remembered(&hash) {
            Some(caller) => caller,
            None => self.ask(hash).await?,
        };
        caller.life.used_at.store(Timestamp::now().as_microsecond(), Ordering::Relaxed);
        Ok(caller)
    }

    /// The caller of this hash, where that can be believed without asking.
    fn remembered(&self, hash: &ContentHash) -> Option<Arc<Caller>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.keys.get(hash).filter(|remembered| remembered.is_believed()).map(|found| Arc::clone(&found.caller))
    }

    /// Asks the store, again if something has changed meanwhile.
    async fn ask(&self, hash: ContentHash) -> Result<Arc<Caller>, ApiError> {
        loop {
            let (asked, changes) = (Instant::now(), self.changes());
            let key = self.store.api_key_by_hash(hash).await?;
            let end = key.as_ref().and_then(|key| key.end(Timestamp::now()));
            let (Some(key), None) = (key, end) else {
                self.forget(&hash, end.unwrap_or(KeyEnd::Revoked));
                return Err(match end {
                    Some(KeyEnd::Revoked) => ApiError::key_revoked(),
                    Some(KeyEnd::Expired) => ApiError::key_expired(),
                    None => ApiError::no_such_key(),
                });
            };
            let tenant = self.store.tenant(&key.tenant).await?.ok_or_else(ApiError::no_such_key)?;
            if let Some(caller) = self.remember(hash, key, &tenant, asked, changes) {
                return Ok(caller);
            }
        }
    }

    fn changes(&self) -> u64 {
        self.known.read().unwrap_or_else(PoisonError::into_inner).changes
    }

    /// Two first requests at once must share one allowance: what the first to come has used stays. None: something was
    /// changed after it was asked for.
    fn remember(
        &self,
        hash: ContentHash,
        key: ApiKey,
        tenant: &Tenant,
        asked: Instant,
        changes: u64,
    ) -> Option<Arc<Caller>> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.changes != changes {
            return None;
        }
        if known.keys.len() >= MAX_REMEMBERED {
            known.keys.retain(|_, remembered| !remembered.is_idle());
        }
        let before = known.keys.get(&hash).map(|remembered| &*remembered.caller);
        let caller = Arc::new(Caller::new(self, key, tenant, before));
        known.keys.insert(hash, Remembered { caller: Arc::clone(&caller), asked: Some(asked) });
        Some(caller)
    }

    fn forget(&self, hash: &ContentHash, how: KeyEnd) {
        let forgotten = self.known.write().unwrap_or_else(PoisonError::into_inner).keys.remove(hash);
        if let Some(remembered) = forgotten {
            self.end(*hash, remembered, how);
        }
    }

    fn end(&self, hash: ContentHash, remembered: Remembered, how: KeyEnd) {
        remembered.caller.life.finish(how);
        if remembered.caller.life.unwritten().is_some() {
            self.left.lock().unwrap_or_else(PoisonError::into_inner).push((hash, remembered.caller));
        }
    }

    /// A key is kept as this now. If its time has ended, all that was opened with it ends.
    pub(crate) fn key_changed(&self, hash: &ContentHash, key: &ApiKey) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.changes += 1;
        match key.end(Timestamp::now()) {
            None => {
                if let Some(remembered) = known.keys.get_mut(hash) {
                    remembered.caller = Arc::new(remembered.caller.changed(key));
                }
            }
            Some(how) => {
                let ended = known.keys.remove(hash);
                drop(known);
                ended.into_iter().for_each(|remembered| self.end(*hash, remembered, how));
            }
        }
    }

    /// Something of a tenant has changed in the store. Its keys' streams go on.
    pub(crate) fn tenant_changed(&self, tenant: &TenantId) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.changes += 1;
        for remembered in known.keys.values_mut().filter(|remembered| remembered.caller.tenant == *tenant) {
            remembered.asked = None;
        }
    }

    /// Forgets all keys of a tenant that the store has no more, and ends the streams that they opened.
    pub(crate) fn forget_tenant(&self, tenant: &TenantId) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.changes += 1;
        for (_, remembered) in known.keys.extract_if(|_, remembered| remembered.caller.tenant == *tenant) {
            remembered.caller.life.finish(KeyEnd::Revoked);
        }
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
