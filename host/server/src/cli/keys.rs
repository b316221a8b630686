//! `vivarium key …` and `vivarium tenant …`.

use clap::{Args, Subcommand, ValueEnum};
use secrecy::ExposeSecret as _;
use vivarium::config::Flags;
use vivarium::{Keys, default_tenant};
use vivarium_domain::{KeyId, Scope, TenantId, Tier};

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
            ScopeName::Admin => Self::Admin,
        }
    }
}

async fn open(place: &Place) -> Result<Keys, Failure> {
    Ok(Keys::open(&place.read(Flags::default())?).await?)
}

impl Of {
    async fn open(&self) -> Result<(Keys, TenantId), Failure> {
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
                let made = keys.create(&tenant, &name, scopes).await?;
                let (text, key) = made.ok_or_else(|| {
                    Failure::Failed(format!("there is no tenant {tenant}; `vivarium tenant create {tenant}` makes it"))
                })?;
                say(format_args!("the key {} of the tenant {tenant}; it is shown this once:", key.id));
                result(text.expose_secret())?;
            }
            Self::List { of } => {
                let (keys, tenant) = of.open().await?;
                for key in keys.of(&tenant).await.map_err(Failure::failed)? {
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
                if !keys.revoke(&tenant, id).await.map_err(Failure::failed)? {
                    let text = format!("the tenant {tenant} has no valid key {id}; `vivarium key list` shows its keys");
                    return Err(Failure::Failed(text));
                }
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
                if !open(&place).await?.create_tenant(&id, tier.into()).await.map_err(Failure::failed)? {
                    return Err(Failure::Failed(format!("there is a tenant {id} already")));
                }
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
                for tenant in open(&place).await?.tenants().await.map_err(Failure::failed)? {
                    let tier = TierName::value_variants().iter().find(|name| Tier::from(**name) == tenant.tier);
                    let tier = tier.and_then(ValueEnum::to_possible_value);
                    let tier = tier.as_ref().map_or("", |tier| tier.get_name());
                    result(format_args!("{}\t{tier}\t{}", tenant.id, tenant.created_at))?;
                }
            }
        }
        Ok(())
    }
}
