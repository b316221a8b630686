//! Tenants and their keys, as the API and the command line make and change them. A key is 256 random bits; its text is given
//! out once, by what has made it, and kept nowhere.
//!
//! Changes are made one at a time: what is read before a change is still so when it is written, and of the whole host, because
//! so is the rule that its last admin key stays.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Mutex;
use vivarium_domain::{
    ApiKey, AuditAction, AuditBy, AuditNote, Budget, ContentHash, KeyFormat, KeyId, Scope, Tenant, TenantId, Timestamp,
};
use vivarium_store::{Batch, Condition, Page, Store, StoreError, Write};

/// The most keys of a tenant, those included that are no longer valid. The oldest of these make room for new ones.
pub const MAX_KEYS: usize = 1000;

/// The shortest text whose last characters are shown: of a shorter one they would be too much of it.
const SHORTEST_HINTED: usize = 32;

/// Why tenants and keys were not read or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is no such tenant, or it is being deleted.
    #[error("there is no such tenant")]
    NoTenant,
    /// The id is another's.
    #[error("there is a tenant {0} already")]
    TenantExists(TenantId),
    /// The id is the host's own.
    #[error("id must not begin with an underscore, as {0} does: those are the host's own")]
    Reserved(TenantId),
    /// The tenant has no such key.
    #[error("there is no such key")]
    NoKey,
    /// The key is not valid any more, so that it can not be rotated.
    #[error("the key {0} is no longer valid: it was revoked, or its time was over")]
    Ended(KeyId),
    /// The key was rotated before.
    #[error("the key {0} was replaced by {1} already: rotate that one")]
    Replaced(KeyId, KeyId),
    /// The tenant has as many keys as it may.
    #[error("a tenant may have {MAX_KEYS} valid keys, and this one has them: revoke those that nobody uses")]
    Full,
    /// Without the key nobody could operate the host.
    #[error("this is the last key of the host with the scope admin: make another one before it is revoked")]
    LastAdmin,
    /// The operating system has no randomness.
    #[error("no random key can be made: {0}")]
    Randomness(String),
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for KeyError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::ConditionFailed(Condition::TenantExists(_)) => Self::NoTenant,
            StoreError::ConditionFailed(Condition::TenantAbsent(id)) => Self::TenantExists(id),
            error => Self::Store(error),
        }
    }
}

/// What is chosen of a new key.
#[derive(Debug, Clone, Default)]
pub struct NewKey {
    /// What a person calls it.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// How it is written.
    pub format: KeyFormat,
    /// When its time is over.
    pub expires_at: Option<Timestamp>,
    /// The origins whose pages may use it.
    pub allowed_origins: Vec<String>,
    /// What may be used with it.
    pub budget: Budget,
}

/// A key that was made just now.
pub struct MadeKey {
    /// The key itself, to be shown this once.
    pub text: SecretString,
    /// By what it is found.
    pub hash: ContentHash,
    /// Its record.
    pub record: ApiKey,
}

/// The tenants and keys of a store.
pub struct Keyring {
    store: Arc<dyn Store>,
    changes: Mutex<()>,
}

/// What the store keeps of a key.
#[must_use]
pub fn hash_key(key: &str) -> ContentHash {
    ContentHash::of(key.as_bytes())
}

/// A new key of this form.
fn new_text(format: KeyFormat) -> Result<SecretString, KeyError> {
    let mut bits = [0_u8; 32];
    OsRng.try_fill_bytes(&mut bits).map_err(|error| KeyError::Randomness(error.to_string()))?;
    let written = match format {
        KeyFormat::Ask => URL_SAFE_NO_PAD.encode(bits),
        KeyFormat::SkLive | KeyFormat::Plain => ContentHash::from(bits).to_string(),
    };
    Ok(format!("{}{written}", format.prefix()).into())
}

/// How a key begins and ends; nothing of one that is short.
fn hint(text: &str) -> Option<String> {
    let end = text.get(text.len().checked_sub(4)?..).filter(|_| text.len() >= SHORTEST_HINTED)?;
    let forms = [KeyFormat::Ask, KeyFormat::SkLive];
    let prefix = forms.iter().map(|form| form.prefix()).find(|prefix| text.starts_with(prefix));
    Some(format!("{}\u{2026}{end}", prefix.unwrap_or_default()))
}

impl Keyring {
    /// Over this store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store, changes: Mutex::new(()) }
    }

    /// Makes a tenant on behalf of `who`, in a batch of the tenant `by`; `along` gives what else is written in it.
    ///
    /// # Errors
    /// [`KeyError::TenantExists`], [`KeyError::Reserved`], and when the store fails.
    pub async fn create_tenant(
        &self,
        by: &TenantId,
        tenant: Tenant,
        who: &AuditBy,
        along: impl FnOnce(&Tenant) -> Batch,
    ) -> Result<Tenant, KeyError> {
        if tenant.id.as_str().starts_with('_') {
            return Err(KeyError::Reserved(tenant.id));
        }
        let absent = vec![Condition::TenantAbsent(tenant.id.clone())];
        let mut writes = tenant_made(&tenant, who);
        writes.push(Write::PutTenant(tenant.clone()));
        let batch = Batch { conditions: absent, writes };
        self.store.commit(by, batch.and(along(&tenant))).await?;
        Ok(tenant)
    }

    /// One tenant.
    ///
    /// # Errors
    /// [`KeyError::NoTenant`].
    pub async fn tenant(&self, id: &TenantId) -> Result<Tenant, KeyError> {
        self.store.tenant(id).await?.ok_or(KeyError::NoTenant)
    }

    /// Tenants, those behind `after`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn tenants(&self, after: Option<&TenantId>, limit: usize) -> Result<Page<Tenant, TenantId>, KeyError> {
        Ok(self.store.tenants_after(after, limit).await?)
    }

    /// Changes a tenant's record on behalf of `who`.
    ///
    /// # Errors
    /// [`KeyError::NoTenant`].
    pub async fn change_tenant(
        &self,
        id: &TenantId,
        who: &AuditBy,
        change: impl FnOnce(&mut Tenant),
    ) -> Result<Tenant, KeyError> {
        let _alone = self.changes.lock().await;
        let before = self.tenant(id).await?;
        let mut tenant = before.clone();
        change(&mut tenant);
        let conditions = vec![Condition::TenantExists(id.clone())];
        let note = who.did(AuditAction::TenantChanged, id).with("before", before).with("after", &tenant);
        let mut writes = of_operator_too(id, note);
        writes.push(Write::PutTenant(tenant.clone()));
        let batch = Batch { conditions, writes };
        self.store.commit(id, batch).await?;
        Ok(tenant)
    }

    /// A tenant's keys, those first that were made last, also those that are no longer valid.
    ///
    /// # Errors
    /// [`KeyError::NoTenant`].
    pub async fn keys(&self, tenant: &TenantId) -> Result<Vec<(ContentHash, ApiKey)>, KeyError> {
        self.tenant(tenant).await?;
        let mut keys = self.store.api_keys(tenant).await?;
        keys.sort_unstable_by_key(|(_, key)| std::cmp::Reverse(key.id));
        Ok(keys)
    }

    /// One key.
    ///
    /// # Errors
    /// [`KeyError::NoKey`].
    pub async fn key(&self, tenant: &TenantId, id: KeyId) -> Result<(ContentHash, ApiKey), KeyError> {
        let found = self.store.api_keys(tenant).await?.into_iter().find(|(_, key)| key.id == id);
        found.ok_or(KeyError::NoKey)
    }

    /// Makes a key for a tenant on behalf of `who`, in a batch of the tenant `by`; `along` gives what else is written in it.
    ///
    /// # Errors
    /// [`KeyError::NoTenant`], [`KeyError::Full`], and when there is no randomness.
    pub async fn create(
        &self,
        by: &TenantId,
        tenant: &TenantId,
        new: NewKey,
        who: &AuditBy,
        along: impl FnOnce(&ApiKey) -> Batch,
    ) -> Result<MadeKey, KeyError> {
        let _alone = self.changes.lock().await;
        self.make_room(tenant).await?;
        let made = made(tenant, new_text(new.format)?, new);
        let note = Batch::from(Write::audit(tenant.clone(), key_note(who, AuditAction::KeyCreated, &made.record)));
        self.put(by, &made, note.and(along(&made.record))).await?;
        Ok(made)
    }

    /// Gives a store that has no tenant its first one, and a key for it: of this text, or a new one.
    ///
    /// # Errors
    /// When the store fails, or there is no randomness.
    pub async fn create_first(
        &self,
        tenant: Tenant,
        name: &str,
        chosen: Option<SecretString>,
    ) -> Result<MadeKey, KeyError> {
        let text = chosen.map_or_else(|| new_text(KeyFormat::default()), Ok)?;
        let scopes = vec![Scope::Runs, Scope::Admin];
        let made = made(&tenant.id, text, NewKey { name: name.to_owned(), scopes, ..NewKey::default() });
        // Both or neither: a tenant without a key could never be entered.
        let mut writes = tenant_made(&tenant, &AuditBy::HOST);
        writes.push(key_note(&AuditBy::HOST, AuditAction::KeyCreated, &made.record).into());
        writes.extend([Write::PutTenant(tenant.clone()), put_of(&made)]);
        self.store.commit(&tenant.id, Batch { conditions: Vec::new(), writes }).await?;
        Ok(made)
    }

    /// Makes a key with the same rights on behalf of `who`, and gives it with the old one as it is now. That is valid for the time of
    /// `overlap`, or until its own end if that is sooner.
    ///
    /// # Errors
    /// [`KeyError::NoKey`], [`KeyError::Ended`], [`KeyError::Replaced`], [`KeyError::Full`].
    pub async fn rotate(
        &self,
        tenant: &TenantId,
        id: KeyId,
        overlap: std::time::Duration,
        who: &AuditBy,
        along: impl FnOnce(&ApiKey) -> Batch,
    ) -> Result<(MadeKey, ApiKey), KeyError> {
        let _alone = self.changes.lock().await;
        let (hash, old) = self.key(tenant, id).await?;
        let now = Timestamp::now();
        if old.end(now).is_some() {
            return Err(KeyError::Ended(id));
        }
        if let Some(by) = old.replaced_by {
            return Err(KeyError::Replaced(id, by));
        }
        self.make_room(tenant).await?;
        let ApiKey { name, scopes, format, allowed_origins, expires_at, budget, .. } = old.clone();
        let new = NewKey { name, scopes, format, expires_at, allowed_origins, budget };
        let mut made = made(tenant, new_text(format)?, new);
        made.record.replaces = Some(id);
        let ends = now.checked_add(overlap).unwrap_or(Timestamp::MAX);
        let old = ApiKey {
            expires_at: Some(old.expires_at.map_or(ends, |at| at.min(ends))),
            replaced_by: Some(made.record.id),
            ..old
        };
        let note = key_note(who, AuditAction::KeyRotated, &old).with("replacedBy", made.record.id);
        let writes = vec![Write::PutApiKey { hash, key: old.clone() }, note.into()];
        let batch = Batch { conditions: Vec::new(), writes }.and(along(&made.record));
        self.put(tenant, &made, batch).await?;
        Ok((made, old))
    }

    /// Changes a key's record on behalf of `who`.
    ///
    /// # Errors
    /// [`KeyError::NoKey`], and those of `change`.
    pub async fn change<E: From<KeyError>>(
        &self,
        tenant: &TenantId,
        id: KeyId,
        who: &AuditBy,
        change: impl FnOnce(&mut ApiKey) -> Result<(), E>,
    ) -> Result<(ContentHash, ApiKey), E> {
        let _alone = self.changes.lock().await;
        let (hash, mut key) = self.key(tenant, id).await?;
        change(&mut key)?;
        self.replace(tenant, hash, &key, key_note(who, AuditAction::KeyChanged, &key)).await?;
        Ok((hash, key))
    }

    /// Revokes a key on behalf of `who`. With `guarded` the host's last valid key with the scope admin stays.
    ///
    /// # Errors
    /// [`KeyError::NoKey`], also where it was revoked before, and [`KeyError::LastAdmin`].
    pub async fn revoke(
        &self,
        tenant: &TenantId,
        id: KeyId,
        guarded: bool,
        who: &AuditBy,
    ) -> Result<(ContentHash, ApiKey), KeyError> {
        let _alone = self.changes.lock().await;
        let (hash, mut key) = self.key(tenant, id).await?;
        if key.revoked_at.is_some() {
            return Err(KeyError::NoKey);
        }
        let now = Timestamp::now();
        let operates = |key: &ApiKey| key.scopes.contains(&Scope::Admin) && key.end(now).is_none();
        if guarded && operates(&key) && !self.has_another(&key, operates).await? {
            return Err(KeyError::LastAdmin);
        }
        key.revoked_at = Some(now);
        self.replace(tenant, hash, &key, key_note(who, AuditAction::KeyRevoked, &key)).await?;
        Ok((hash, key))
    }

    /// Whether the host has another such key.
    async fn has_another(&self, one: &ApiKey, is_such: impl Fn(&ApiKey) -> bool) -> Result<bool, KeyError> {
        for tenant in self.store.tenants().await? {
            let keys = self.store.api_keys(&tenant.id).await?;
            if keys.iter().any(|(_, key)| key.id != one.id && is_such(key)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Makes room for one key more: where there is none, the oldest keys go that are no longer valid.
    async fn make_room(&self, tenant: &TenantId) -> Result<(), KeyError> {
        let (now, keys) = (Timestamp::now(), self.keys(tenant).await?);
        let beyond = (keys.len() + 1).saturating_sub(MAX_KEYS);
        let ended = keys.iter().rev().filter(|(_, key)| key.end(now).is_some());
        let going: Vec<Write> = ended.take(beyond).map(|(hash, _)| Write::DeleteApiKey(*hash)).collect();
        if going.len() < beyond {
            return Err(KeyError::Full);
        }
        if !going.is_empty() {
            self.store.commit(tenant, Batch { conditions: Vec::new(), writes: going }).await?;
        }
        Ok(())
    }

    async fn put(&self, by: &TenantId, made: &MadeKey, along: Batch) -> Result<(), KeyError> {
        let conditions = vec![Condition::TenantExists(made.record.tenant.clone())];
        let batch = Batch { conditions, writes: vec![put_of(made)] };
        Ok(self.store.commit(by, batch.and(along)).await?)
    }

    async fn replace(
        &self,
        tenant: &TenantId,
        hash: ContentHash,
        key: &ApiKey,
        note: AuditNote,
    ) -> Result<(), KeyError> {
        let conditions = vec![Condition::TenantExists(tenant.clone())];
        let batch = Batch { conditions, writes: vec![Write::PutApiKey { hash, key: key.clone() }, note.into()] };
        Ok(self.store.commit(tenant, batch).await?)
    }
}

/// What the audit log is told of a key.
fn key_note(who: &AuditBy, action: AuditAction, key: &ApiKey) -> AuditNote {
    let note = who.did(action, key.id).with("name", &key.name).with("scopes", &key.scopes);
    let note = if key.allowed_origins.is_empty() { note } else { note.with("allowedOrigins", &key.allowed_origins) };
    let note = if key.budget.is_empty() { note } else { note.with("budget", key.budget) };
    if key.expires_at.is_none() { note } else { note.with("expiresAt", key.expires_at) }
}

/// What the audit log is told of a tenant that is made.
fn tenant_made(tenant: &Tenant, who: &AuditBy) -> Vec<Write> {
    of_operator_too(&tenant.id, who.did(AuditAction::TenantCreated, &tenant.id).with("tier", tenant.tier))
}

/// A note in a tenant's own chain and in the operator's.
fn of_operator_too(tenant: &TenantId, note: AuditNote) -> Vec<Write> {
    vec![Write::audit(tenant.clone(), note.clone()), Write::audit(TenantId::operator(), note)]
}

fn put_of(made: &MadeKey) -> Write {
    Write::PutApiKey { hash: made.hash, key: made.record.clone() }
}

fn made(tenant: &TenantId, text: SecretString, new: NewKey) -> MadeKey {
    let NewKey { name, scopes, format, expires_at, allowed_origins, budget } = new;
    let record = ApiKey {
        hint: hint(text.expose_secret()),
        format,
        scopes,
        expires_at,
        allowed_origins,
        budget,
        ..ApiKey::new(tenant.clone(), name, Timestamp::now())
    };
    MadeKey { hash: hash_key(text.expose_secret()), text, record }
}

#[cfg(test)]
mod tests {
    use vivarium_domain::Tier;
    use vivarium_store::SledStore;

    use super::*;

    #[test]
    fn a_hint_tells_keys_apart_and_nothing_of_a_short_one() {
        let of = |text: &str| hint(text).unwrap_or_default();
        assert_eq!(of(&format!("ask_{}wxyz", "a".repeat(39))), "ask_\u{2026}wxyz");
        assert_eq!(of(&format!("sk_live_{}01fe", "0".repeat(60))), "sk_live_\u{2026}01fe");
        assert_eq!(of(&"0123".repeat(16)), "\u{2026}0123");
        assert_eq!(of("a key that I chose"), "");
        assert_eq!(of(&"\u{fc}".repeat(33)), "\u{2026}\u{fc}\u{fc}");
    }

    #[tokio::test]
    async fn a_tenant_has_so_many_keys_and_those_that_are_over_make_room() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = SledStore::open(folder.path()).unwrap();
        let (keyring, acme): (_, TenantId) = (Keyring::new(Arc::new(store)), "acme".parse().unwrap());
        let tenant = Tenant::new(acme.clone(), Tier::Free, Timestamp::now());
        let first = keyring.create_first(tenant, "first", None).await.unwrap();
        let writes = (1..MAX_KEYS).map(|number| {
            let key = ApiKey::new(acme.clone(), number.to_string(), Timestamp::now());
            Write::PutApiKey { hash: hash_key(&number.to_string()), key }
        });
        keyring.store.commit(&acme, Batch { conditions: Vec::new(), writes: writes.collect() }).await.unwrap();
        let make = || keyring.create(&acme, &acme, NewKey::default(), &AuditBy::CLI, |_| Batch::default());
        assert!(matches!(make().await, Err(KeyError::Full)));
        let rotated = keyring
            .rotate(&acme, first.record.id, std::time::Duration::ZERO, &AuditBy::CLI, |_| Batch::default())
            .await;
        assert!(matches!(rotated, Err(KeyError::Full)));
        keyring.revoke(&acme, first.record.id, false, &AuditBy::CLI).await.unwrap();
        let made = make().await.unwrap();
        let keys = keyring.keys(&acme).await.unwrap();
        assert_eq!((keys.len(), keys[0].1.id), (MAX_KEYS, made.record.id));
        assert!(matches!(keyring.key(&acme, first.record.id).await, Err(KeyError::NoKey)), "it made room");
        assert!(matches!(make().await, Err(KeyError::Full)));
    }

    #[tokio::test]
    async fn of_changes_at_once_none_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = SledStore::open(folder.path()).unwrap();
        let (keyring, acme): (_, TenantId) = (Keyring::new(Arc::new(store)), "acme".parse().unwrap());
        let tenant = Tenant::new(acme.clone(), Tier::Free, Timestamp::now());
        let id = keyring.create_first(tenant, "first", None).await.unwrap().record.id;
        let renaming = keyring.change(&acme, id, &AuditBy::CLI, |key| {
            key.name = "renamed".to_owned();
            Ok::<_, KeyError>(())
        });
        let (renamed, revoked) = tokio::join!(renaming, keyring.revoke(&acme, id, false, &AuditBy::CLI));
        let (_, key) = keyring.key(&acme, id).await.unwrap();
        assert!(renamed.is_ok() && revoked.is_ok());
        assert!(key.revoked_at.is_some() && key.name == "renamed", "{key:?}");
    }
}
