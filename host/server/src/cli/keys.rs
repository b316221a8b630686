//! `vivarium key …` and `vivarium tenant …`.

use clap::{Args, Subcommand, ValueEnum};
use secrecy::ExposeSecret as _;
use vivarium::config::Flags;
use vivarium::{default_tenant, open_keyring};
use vivarium_api::{KeyError, Keyring, NewKey};
use vivarium_domain::{AuditBy, KeyId, Scope, Tenant, TenantId, Tier, Timestamp};
use vivarium_store::Batch;

use super::{Failure, Place, result, say};

#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Make a key and print it. It is shown this once.
    Create {
        /// What you call it.
        #[arg(long, default_value = "")]
        name: String,
        /// What it may do.
        #[arg(long, value_enum, value_delimiter = ',', default_value = "runs,agents:read,agents:write")]
        scope: Vec<ScopeName>,
        #[command(flatten)]
        of: Of,
    },
    /// List a tenant's keys: id, scopes, when made, when revoked, name.
    List {
        #[command(flatten)]
        of: Of,
    },
    /// Revoke a key.
    Revoke {
        /// The key's id, as `key list` shows it.
        id: KeyId,
        #[command(flatten)]
        of: Of,
    },
}

#[derive(Debug, Args)]
pub(super) struct Of {
    /// Whose keys [default: default].
    #[arg(long, value_name = "ID")]
    tenant: Option<TenantId>,
    #[command(flatten)]
    place: Place,
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

#[derive(Debug, Subcommand)]
pub(super) enum Tenants {
    /// Make a tenant.
    Create {
        /// Its id.
        id: TenantId,
        /// What it may do.
        #[arg(long, value_enum, default_value = "max")]
        tier: TierName,
        #[command(flatten)]
        place: Place,
    },
    /// Delete a tenant with all that is its own: keys, agents, sessions, runs, plugins, secrets, documents, files.
    Delete {
        /// Its id.
        id: TenantId,
        /// It is meant: nothing brings the tenant back.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        place: Place,
    },
    /// List the tenants: id, tier, when made.
    List {
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum TierName {
    /// The least.
    Free,
    /// More requests.
    Pro,
    /// The agent endpoints answer from here on.
    Max,
    /// The most.
    Enterprise,
}

impl From<TierName> for Tier {
    fn from(name: TierName) -> Self {
        match name {
            TierName::Free => Self::Free,
            TierName::Pro => Self::Pro,
            TierName::Max => Self::Max,
            TierName::Enterprise => Self::Enterprise,
        }
    }
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

async fn open(place: &Place) -> Result<Keyring, Failure> {
    Ok(open_keyring(&place.read(Flags::default())?).await?)
}

impl Of {
    async fn open(&self) -> Result<(Keyring, TenantId), Failure> {
        let tenant = match &self.tenant {
            Some(tenant) => tenant.clone(),
            None => default_tenant().map_err(Failure::failed)?,
        };
        Ok((open(&self.place).await?, tenant))
    }
}

impl Key {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Create { name, scope, of } => {
                let (keys, tenant) = of.open().await?;
                let scopes = scope.into_iter().map(Scope::from).collect();
                let new = NewKey { name, scopes, ..NewKey::default() };
                let made = keys.create(&tenant, &tenant, new, &AuditBy::CLI, |_| Batch::default()).await;
                let made = made.map_err(|error| match error {
                    KeyError::NoTenant => Failure::Failed(format!(
                        "there is no tenant {tenant}; `vivarium tenant create {tenant}` makes it"
                    )),
                    error => Failure::failed(error),
                })?;
                say(format_args!("the key {} of the tenant {tenant}; it is shown this once:", made.record.id));
                result(made.text.expose_secret())?;
            }
            Self::List { of } => {
                let (keys, tenant) = of.open().await?;
                for (_, key) in keys.keys(&tenant).await.map_err(Failure::failed)? {
                    let scopes: Vec<&str> = key.scopes.iter().copied().map(Scope::name).collect();
                    let revoked = key.revoked_at.map_or_else(|| "-".to_owned(), |at| at.to_string());
                    result(format_args!(
                        "{}\t{}\t{}\t{revoked}\t{}",
                        key.id,
                        scopes.join(","),
                        key.created_at,
                        key.name
                    ))?;
                }
            }
            Self::Revoke { id, of } => {
                let (keys, tenant) = of.open().await?;
                keys.revoke(&tenant, id, false, &AuditBy::CLI).await.map_err(|error| match error {
                    KeyError::NoKey => Failure::Failed(format!(
                        "the tenant {tenant} has no valid key {id}; `vivarium key list` shows its keys"
                    )),
                    error => Failure::failed(error),
                })?;
                say(format_args!("the key {id} is revoked"));
            }
        }
        Ok(())
    }
}

impl Tenants {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Create { id, tier, place } => {
                let tenant = Tenant::new(id.clone(), tier.into(), Timestamp::now());
                let made = open(&place).await?.create_tenant(&id, tenant, &AuditBy::CLI, |_| Batch::default()).await;
                made.map_err(Failure::failed)?;
                say(format_args!("the tenant {id} is made; `vivarium key create --tenant {id}` gives it a key"));
            }
            Self::Delete { id, yes, place } => {
                if id.as_str().starts_with('_') {
                    let text = format!("{id} is no tenant: what the operator shares with all of them lies under it");
                    return Err(Failure::Use(text));
                }
                if !yes {
                    let text =
                        format!("nothing brings the tenant {id} back once it is deleted; add --yes if that is meant");
                    return Err(Failure::Use(text));
                }
                if !vivarium::delete_tenant(&place.read(Flags::default())?, &id).await? {
                    return Err(Failure::Failed(format!("there is no tenant {id}; `vivarium tenant list` shows them")));
                }
                say(format_args!("the tenant {id} is deleted, with all that was its own"));
            }
            Self::List { place } => {
                let page = open(&place).await?.tenants(None, usize::MAX - 1).await.map_err(Failure::failed)?;
                for tenant in page.items {
                    result(format_args!("{}\t{}\t{}", tenant.id, tenant.tier.name(), tenant.created_at))?;
                }
            }
        }
        Ok(())
    }
}
