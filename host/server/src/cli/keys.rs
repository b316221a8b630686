//! `vivarium key …`.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use vivarium::default_tenant;
use vivarium_api::{KeyError, MadeKey, NewKey, origins};
use vivarium_domain::{ApiKey, AuditBy, KeyFormat, KeyId, Scope, TenantId, Timestamp};
use vivarium_store::Batch;

use super::either::{Either, One, all, keyring, record};
use super::remote::{Remote, text};
use super::{Failure, result, say};

#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Make a key and print it. It is shown this once.
    Create(Create),
    /// List a tenant's keys: id, scopes, when made, when its time is over, when revoked, when used last, how it begins and ends, name.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        of: Of,
    },
    /// Revoke a key. On a server its open streams end.
    Revoke {
        /// The key's id, as `key list` shows it.
        id: KeyId,
        #[command(flatten)]
        of: Of,
    },
    /// Make a key with the same rights in place of another, which is valid for some time yet, and print it. It is shown this once.
    Rotate {
        /// The old key's id, as `key list` shows it.
        id: KeyId,
        /// For how long the old one is valid yet.
        #[arg(long, value_name = "SECONDS", default_value_t = 24 * 3600, value_parser = clap::value_parser!(u32).range(..=30 * 24 * 3600))]
        overlap_seconds: u32,
        /// As JSON, the key with its record.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        of: Of,
    },
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// What you call it.
    #[arg(long, default_value = "")]
    name: String,
    /// What it may do.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "runs,agents:read,agents:write")]
    scope: Vec<ScopeName>,
    /// How it is written.
    #[arg(long, value_enum, default_value = "ask")]
    format: FormatName,
    /// When its time is over, such as 2027-06-30T00:00:00Z [default: never].
    #[arg(long, value_name = "TIME")]
    expires_at: Option<Timestamp>,
    /// An origin whose pages may use it in a browser, such as `https://app.example.com`; may be given several times.
    #[arg(long, value_name = "ORIGIN")]
    origin: Vec<String>,
    /// As JSON, the key with its record.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    of: Of,
}

#[derive(Debug, Args)]
pub(super) struct Of {
    /// Whose keys [default: in a data folder, default; on a server, those of the tenant of the API key].
    #[arg(long, value_name = "ID")]
    tenant: Option<TenantId>,
    #[command(flatten)]
    place: Either,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum ScopeName {
    /// Make and read runs.
    Runs,
    /// Read agents.
    #[value(name = "agents:read", alias = "ai-agents:read")]
    AgentsRead,
    /// Make, change, delete and run agents.
    #[value(name = "agents:write", alias = "ai-agents:write")]
    AgentsWrite,
    /// Install, grant and remove the tenant's plugins.
    Plugins,
    /// Set and remove the tenant's secrets.
    Secrets,
    /// Make, change, rotate and revoke the tenant's keys.
    Keys,
    /// Everything.
    Admin,
}

impl From<ScopeName> for Scope {
    fn from(name: ScopeName) -> Self {
        match name {
            ScopeName::Runs => Self::Runs,
            ScopeName::AgentsRead => Self::AgentsRead,
            ScopeName::AgentsWrite => Self::AgentsWrite,
            ScopeName::Plugins => Self::Plugins,
            ScopeName::Secrets => Self::Secrets,
            ScopeName::Keys => Self::Keys,
            ScopeName::Admin => Self::Admin,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum FormatName {
    /// `ask_` and 43 characters.
    Ask,
    /// `sk_live_` and 64 hexadecimal digits.
    #[value(name = "sk_live")]
    SkLive,
    /// 64 hexadecimal digits.
    Plain,
}

impl From<FormatName> for KeyFormat {
    fn from(name: FormatName) -> Self {
        match name {
            FormatName::Ask => Self::Ask,
            FormatName::SkLive => Self::SkLive,
            FormatName::Plain => Self::Plain,
        }
    }
}

/// The keys of a tenant where they are.
enum Keys {
    /// At a path of a server.
    Server(Remote, String),
    /// In a data folder.
    Folder(vivarium_api::Keyring, TenantId),
}

impl Of {
    async fn open(self) -> Result<Keys, Failure> {
        Ok(match (self.place.one()?, self.tenant) {
            (One::Server(remote), None) => Keys::Server(remote, "/v1/keys".to_owned()),
            (One::Server(remote), Some(tenant)) => Keys::Server(remote, format!("/v1/admin/tenants/{tenant}/keys")),
            (One::Folder(config), tenant) => {
                let tenant = tenant.map_or_else(default_tenant, Ok).map_err(Failure::failed)?;
                Keys::Folder(keyring(&config).await?, tenant)
            }
        })
    }
}

impl Key {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Create(create) => create.run().await,
            Self::List { json, of } => {
                let keys = of.open().await?.all().await?;
                if json {
                    return Ok(result(serde_json::to_string_pretty(&keys).map_err(Failure::failed)?)?);
                }
                for key in keys {
                    result(line(&key))?;
                }
                Ok(())
            }
            Self::Revoke { id, of } => {
                of.open().await?.revoke(id).await?;
                say(format_args!("the key {id} is revoked"));
                Ok(())
            }
            Self::Rotate { id, overlap_seconds, json, of } => {
                let (text, key) = of.open().await?.rotate(id, overlap_seconds).await?;
                let until = format!("; {id} is valid for {overlap_seconds} s yet, unless its time is over before");
                show(&text, &key, json, &until)
            }
        }
    }
}

impl Create {
    async fn run(self) -> Result<(), Failure> {
        let Self { name, scope, format, expires_at, origin, json, of } = self;
        if expires_at.is_some_and(|at| at <= Timestamp::now()) {
            return Err(Failure::Use("--expires-at must be in the future".to_owned()));
        }
        let new = NewKey {
            name,
            scopes: scope.into_iter().map(Scope::from).collect(),
            format: format.into(),
            expires_at,
            allowed_origins: origins(&origin).map_err(|error| Failure::Use(error.to_string()))?,
            ..NewKey::default()
        };
        let (text, key) = of.open().await?.create(new).await?;
        show(&text, &key, json, "")
    }
}

/// Shows a new key, this once.
fn show(text: &str, key: &ApiKey, json: bool, also: &str) -> Result<(), Failure> {
    if json {
        let mut shown = serde_json::to_value(key).map_err(Failure::failed)?;
        if let Some(fields) = shown.as_object_mut() {
            fields.insert("key".to_owned(), text.into());
        }
        return Ok(result(serde_json::to_string_pretty(&shown).map_err(Failure::failed)?)?);
    }
    say(format_args!("the key {} of the tenant {}{also}; it is shown this once:", key.id, key.tenant));
    Ok(result(text)?)
}

fn line(key: &ApiKey) -> String {
    let time = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), |at| at.to_string());
    let scopes: Vec<&str> = key.scopes.iter().copied().map(Scope::name).collect();
    let fields = [
        key.id.to_string(),
        scopes.join(","),
        key.created_at.to_string(),
        time(key.expires_at),
        time(key.revoked_at),
        time(key.last_used_at),
        key.hint.clone().unwrap_or_else(|| "-".to_owned()),
        key.name.clone(),
    ];
    fields.join("\t")
}

/// A key that a server has made, and its record.
fn answered(answer: &Value) -> Result<(String, ApiKey), Failure> {
    Ok((text(answer, "key").to_owned(), record(answer)?))
}

/// A key that was made in a data folder.
fn made(made: &MadeKey) -> (String, ApiKey) {
    (made.text.expose_secret().to_owned(), made.record.clone())
}

impl Keys {
    async fn all(&self) -> Result<Vec<ApiKey>, Failure> {
        match self {
            Self::Server(remote, path) => all(remote, path).await,
            Self::Folder(keyring, tenant) => {
                let keys = keyring.keys(tenant).await.map_err(|error| failed(&error, tenant))?;
                Ok(keys.into_iter().map(|(_, key)| key).collect())
            }
        }
    }

    async fn create(&self, new: NewKey) -> Result<(String, ApiKey), Failure> {
        match self {
            Self::Server(remote, path) => {
                let NewKey { name, scopes, format, expires_at, allowed_origins, budget } = new;
                let mut body = json!({
                    "name": name, "scopes": scopes, "format": format, "allowedOrigins": allowed_origins, "budget": budget
                });
                if let (Some(at), Some(fields)) = (expires_at, body.as_object_mut()) {
                    fields.insert("expiresAt".to_owned(), json!(at));
                }
                answered(&remote.send(remote.request(Method::POST, path)?.json(&body)).await?)
            }
            Self::Folder(keyring, tenant) => {
                let key = keyring.create(tenant, tenant, new, &AuditBy::CLI, |_| Batch::default()).await;
                Ok(made(&key.map_err(|error| failed(&error, tenant))?))
            }
        }
    }

    async fn revoke(&self, id: KeyId) -> Result<(), Failure> {
        match self {
            Self::Server(remote, path) => {
                remote.send(remote.request(Method::DELETE, &format!("{path}/{id}"))?).await?;
            }
            Self::Folder(keyring, tenant) => {
                // Whoever has the folder can make another admin key.
                keyring.revoke(tenant, id, false, &AuditBy::CLI).await.map_err(|error| failed(&error, tenant))?;
            }
        }
        Ok(())
    }

    async fn rotate(&self, id: KeyId, overlap_seconds: u32) -> Result<(String, ApiKey), Failure> {
        match self {
            Self::Server(_, path) if path != "/v1/keys" => Err(Failure::Use(
                "on a server a key is rotated with a key of its own tenant: leave out --tenant".to_owned(),
            )),
            Self::Server(remote, path) => {
                let body = json!({"overlapSeconds": overlap_seconds});
                answered(&remote.send(remote.request(Method::POST, &format!("{path}/{id}/rotate"))?.json(&body)).await?)
            }
            Self::Folder(keyring, tenant) => {
                let overlap = Duration::from_secs(overlap_seconds.into());
                let rotated = keyring.rotate(tenant, id, overlap, &AuditBy::CLI, |_| Batch::default()).await;
                Ok(made(&rotated.map_err(|error| failed(&error, tenant))?.0))
            }
        }
    }
}

fn failed(error: &KeyError, tenant: &TenantId) -> Failure {
    Failure::Failed(match error {
        KeyError::NoTenant => format!("there is no tenant {tenant}; `vivarium tenant create {tenant}` makes it"),
        KeyError::NoKey => format!("the tenant {tenant} has no such valid key; `vivarium key list` shows its keys"),
        error => error.to_string(),
    })
}
