//! API keys: what is kept of one, and what it may do.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Timestamp;
use crate::budget::Budget;
use crate::id::{KeyId, TenantId};

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Make and read runs.
    Runs,
    /// Read agents.
    #[serde(rename = "agents:read", alias = "ai-agents:read")]
    AgentsRead,
    /// Make, change and delete agents, and run them through the make dialect.
    #[serde(rename = "agents:write", alias = "ai-agents:write")]
    AgentsWrite,
    /// Install, grant and remove the tenant's plugins.
    Plugins,
    /// Set and remove the tenant's secrets.
    Secrets,
    /// Make, change, rotate and revoke the tenant's keys.
    Keys,
    /// Everything, tenants included: an operator's.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Runs, Self::AgentsRead, Self::AgentsWrite, Self::Plugins, Self::Secrets, Self::Keys, Self::Admin];

    /// Its name, on the wire and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::AgentsRead => "agents:read",
            Self::AgentsWrite => "agents:write",
            Self::Plugins => "plugins",
            Self::Secrets => "secrets",
            Self::Keys => "keys",
            Self::Admin => "admin",
        }
    }
}

/// How a key is written. Each works in every dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyFormat {
    /// `ask_` and 43 characters of base64 for URLs.
    #[default]
    Ask,
    /// `sk_live_` and 64 hexadecimal digits.
    SkLive,
    /// 64 hexadecimal digits.
    Plain,
}

impl KeyFormat {
    /// What each key of the form begins with.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Ask => "ask_",
            Self::SkLive => "sk_live_",
            Self::Plain => "",
        }
    }
}

/// How a key's time ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyEnd {
    /// Somebody has revoked it.
    Revoked,
    /// Its time was over.
    Expired,
}

/// An API key. The key itself is shown once and kept nowhere; it is found by its SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKey {
    /// Its public name.
    pub id: KeyId,
    /// Whose it is.
    pub tenant: TenantId,
    /// What a person calls it.
    pub name: String,
    /// How the key itself begins and ends: enough to recognise it, and far too little to guess it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "ask_\u{2026}x9Qk")]
    pub hint: Option<String>,
    /// How it is written, and how one is that replaces it.
    #[serde(default)]
    pub format: KeyFormat,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// The origins whose pages may use it in a browser; none are set: any page may that has it, and no page may read the answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub allowed_origins: Vec<String>,
    /// What may be used with it in a day and in a month.
    #[serde(default, skip_serializing_if = "Budget::is_empty")]
    #[schema(required = false)]
    pub budget: Budget,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is no longer valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub expires_at: Option<Timestamp>,
    /// When it was used last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub last_used_at: Option<Timestamp>,
    /// The key that it was made to replace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub replaces: Option<KeyId>,
    /// The key that was made to replace it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub replaced_by: Option<KeyId>,
    /// Since when it is no longer valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub revoked_at: Option<Timestamp>,
}

impl ApiKey {
    /// A key that was made at this time, without anything that it may do.
    #[must_use]
    pub fn new(tenant: TenantId, name: impl Into<String>, created_at: Timestamp) -> Self {
        Self {
            id: KeyId::new(),
            tenant,
            name: name.into(),
            hint: None,
            format: KeyFormat::default(),
            scopes: Vec::new(),
            allowed_origins: Vec::new(),
            budget: Budget::default(),
            created_at,
            expires_at: None,
            last_used_at: None,
            replaces: None,
            replaced_by: None,
            revoked_at: None,
        }
    }

    /// How its time has ended by now; none: it is valid.
    #[must_use]
    pub fn end(&self, now: Timestamp) -> Option<KeyEnd> {
        match (self.revoked_at, self.expires_at) {
            (Some(_), _) => Some(KeyEnd::Revoked),
            (None, Some(at)) if at <= now => Some(KeyEnd::Expired),
            (None, _) => None,
        }
    }

    /// It has the scope; `admin` has them all.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin)
    }
}
