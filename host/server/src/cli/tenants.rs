//! `vivarium tenant …`.

use clap::{Subcommand, ValueEnum};
use reqwest::Method;
use serde::Serialize;
use serde_json::json;
use vivarium_api::KeyError;
use vivarium_domain::{AuditBy, Tenant, TenantId, Tier, Timestamp};
use vivarium_store::Batch;

use super::either::{Either, One, all, keyring, record};
use super::{Failure, result, say};

const PATH: &str = "/v1/admin/tenants";

/// The most tenants that are read from a data folder at a time.
const PIECE: usize = 200;

#[derive(Debug, Subcommand)]
pub(super) enum Tenants {
    /// Make a tenant.
    Create {
        /// Its id.
        id: TenantId,
        /// What it may do.
        #[arg(long, value_enum, default_value = "max")]
        tier: TierName,
        /// As JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Either,
    },
    /// List the tenants: id, tier, when made.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Either,
    },
    /// Show a tenant: id, tier, when made.
    Show {
        /// Its id.
        id: TenantId,
        /// As JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Either,
    },
    /// Change a tenant. On a server that counts at once.
    Set {
        /// Its id.
        id: TenantId,
        /// What it may do.
        #[arg(long, value_enum)]
        tier: TierName,
        /// As JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Either,
    },
    /// Delete a tenant with all that is its own: keys, agents, sessions, runs, plugins, secrets, documents, files.
    Delete {
        /// Its id.
        id: TenantId,
        /// It is meant: nothing brings the tenant back.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        place: Either,
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

impl Tenants {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Create { id, tier, json, place } => {
                let tenant = create(&id, tier.into(), place.one()?).await?;
                say(format_args!("the tenant {id} is made; `vivarium key create --tenant {id}` gives it a key"));
                if json { shown_as_json(&tenant) } else { Ok(()) }
            }
            Self::List { json, place } => {
                let tenants = every(place.one()?).await?;
                if json {
                    return shown_as_json(&tenants);
                }
                tenants.iter().try_for_each(|tenant| Ok(result(line(tenant))?))
            }
            Self::Show { id, json, place } => {
                let tenant = match place.one()? {
                    One::Server(remote) => {
                        record(&remote.send(remote.request(Method::GET, &format!("{PATH}/{id}"))?).await?)?
                    }
                    One::Folder(config) => {
                        keyring(&config).await?.tenant(&id).await.map_err(|error| failed(&error, &id))?
                    }
                };
                shown(&tenant, json)
            }
            Self::Set { id, tier, json, place } => shown(&set(&id, tier.into(), place.one()?).await?, json),
            Self::Delete { id, yes, place } => delete(&id, yes, place.one()?).await,
        }
    }
}

fn line(tenant: &Tenant) -> String {
    format!("{}\t{}\t{}", tenant.id, tenant.tier.name(), tenant.created_at)
}

fn shown(tenant: &Tenant, json: bool) -> Result<(), Failure> {
    if json { shown_as_json(tenant) } else { Ok(result(line(tenant))?) }
}

fn shown_as_json(value: &impl Serialize) -> Result<(), Failure> {
    Ok(result(serde_json::to_string_pretty(value).map_err(Failure::failed)?)?)
}

async fn create(id: &TenantId, tier: Tier, place: One) -> Result<Tenant, Failure> {
    match place {
        One::Server(remote) => {
            let body = json!({"id": id, "tier": tier});
            record(&remote.send(remote.request(Method::POST, PATH)?.json(&body)).await?)
        }
        One::Folder(config) => {
            let tenant = Tenant::new(id.clone(), tier, Timestamp::now());
            let made = keyring(&config).await?.create_tenant(id, tenant, &AuditBy::CLI, |_| Batch::default()).await;
            made.map_err(|error| failed(&error, id))
        }
    }
}

async fn every(place: One) -> Result<Vec<Tenant>, Failure> {
    let keyring = match place {
        One::Server(remote) => return all(&remote, PATH).await,
        One::Folder(config) => keyring(&config).await?,
    };
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = keyring.tenants(after.as_ref(), PIECE).await.map_err(Failure::failed)?;
        found.extend(page.items);
        after = page.next;
        if after.is_none() {
            return Ok(found);
        }
    }
}

async fn set(id: &TenantId, tier: Tier, place: One) -> Result<Tenant, Failure> {
    match place {
        One::Server(remote) => {
            let request = remote.request(Method::PATCH, &format!("{PATH}/{id}"))?.json(&json!({"tier": tier}));
            record(&remote.send(request).await?)
        }
        One::Folder(config) => {
            let changed = keyring(&config).await?.change_tenant(id, &AuditBy::CLI, |tenant| tenant.tier = tier).await;
            changed.map_err(|error| failed(&error, id))
        }
    }
}

async fn delete(id: &TenantId, yes: bool, place: One) -> Result<(), Failure> {
    if id.as_str().starts_with('_') {
        let text = format!("{id} is no tenant: what the operator shares with all of them lies under it");
        return Err(Failure::Use(text));
    }
    if !yes {
        let text = format!("nothing brings the tenant {id} back once it is deleted; add --yes if that is meant");
        return Err(Failure::Use(text));
    }
    match place {
        One::Server(remote) => {
            remote.send(remote.request(Method::DELETE, &format!("{PATH}/{id}"))?).await?;
        }
        One::Folder(config) => {
            if !vivarium::delete_tenant(&config, id).await? {
                return Err(failed(&KeyError::NoTenant, id));
            }
        }
    }
    say(format_args!("the tenant {id} is deleted, with all that was its own"));
    Ok(())
}

fn failed(error: &KeyError, id: &TenantId) -> Failure {
    Failure::Failed(match error {
        KeyError::NoTenant => format!("there is no tenant {id}; `vivarium tenant list` shows them"),
        error => error.to_string(),
    })
}
