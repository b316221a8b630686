//! `vivarium audit …`: reads the audit log, and checks it, of a data folder or of a running server.

use clap::{Args, Subcommand};
use reqwest::Method;
use secrecy::SecretString;
use serde_json::Value;
use vivarium::AuditLog;
use vivarium::config::Flags;
use vivarium_domain::{AuditCheck, AuditEntry, AuditFault, AuditHead, TenantId};

use super::remote::Remote;
use super::{Failure, Place, result, say};

/// How many entries a server is asked for at a time.
const PAGE: usize = 200;

#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// Show the newest entries of a chain, the newest first: number, when, who, what, to what, details.
    List {
        /// How many.
        #[arg(long, default_value_t = 50)]
        limit: usize,
        #[command(flatten)]
        of: Of,
    },
    /// Check that no entry was changed, removed, put in between or moved, and print each chain's head: tenant, N:HASH. Only
    /// who keeps a head elsewhere can tell later, with --head, that the end was not cut off and its head put back.
    Verify {
        /// A head that was kept elsewhere, as an earlier `verify` has printed it: N:HASH. It must be in the chain.
        #[arg(long, value_name = "N:HASH")]
        head: Option<AuditHead>,
        #[command(flatten)]
        of: Of,
    },
}

#[derive(Debug, Args)]
pub(super) struct Of {
    /// Whose chain; `_operator` is the operator's [default: on a data folder, to list the operator's and to verify all; on a
    /// server, that of the key's tenant].
    #[arg(long, value_name = "ID")]
    tenant: Option<TenantId>,
    /// A running server, in place of a data folder that no server has open.
    #[arg(long, value_name = "URL", conflicts_with_all = ["data", "config"])]
    server: Option<String>,
    /// The API key for the server; it needs the scope keys, and for other chains than its own the scope admin.
    #[arg(long, value_name = "KEY", env = "VIVARIUM_KEY", hide_env_values = true)]
    key: Option<SecretString>,
    #[command(flatten)]
    place: Place,
}

/// A chain on a running server.
struct RemoteChain {
    remote: Remote,
    path: String,
}

impl Audit {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::List { limit, of } => {
                let entries = match of.remote() {
                    Some(chain) => chain.newest(limit).await?,
                    None => {
                        let log = AuditLog::open(&of.place.read(Flags::default())?).await?;
                        let tenant = of.tenant.unwrap_or_else(TenantId::operator);
                        log.newest(&tenant, limit).await.map_err(Failure::failed)?
                    }
                };
                entries.iter().try_for_each(show)
            }
            Self::Verify { head, of } => match of.remote() {
                Some(chain) => {
                    let (tenant, end, faults) = chain.verify(head).await?;
                    judge(vec![(tenant.unwrap_or_else(|| "the key's tenant".to_owned()), end, faults)])
                }
                None => of.verify(head).await,
            },
        }
    }
}

impl Of {
    fn remote(&self) -> Option<RemoteChain> {
        let remote = Remote::at(self.server.clone()?, self.key.clone());
        let path = match &self.tenant {
            None => "/v1/audit".to_owned(),
            Some(tenant) if *tenant == TenantId::operator() => "/v1/admin/audit".to_owned(),
            Some(tenant) => format!("/v1/admin/tenants/{tenant}/audit"),
        };
        Some(RemoteChain { remote, path })
    }

    async fn verify(self, kept: Option<AuditHead>) -> Result<(), Failure> {
        if kept.is_some() && self.tenant.is_none() {
            return Err(Failure::Use("--head is of one chain: name it with --tenant".to_owned()));
        }
        let log = AuditLog::open(&self.place.read(Flags::default())?).await?;
        let chains = match self.tenant {
            Some(tenant) => vec![tenant],
            None => log.chains().await.map_err(Failure::failed)?,
        };
        let mut found = Vec::new();
        for tenant in chains {
            let (end, faults) = log.verify(&tenant, kept).await.map_err(Failure::failed)?;
            found.push((tenant.to_string(), end, faults));
        }
        judge(found)
    }
}

impl RemoteChain {
    async fn page(&self, order: &str, cursor: Option<u64>) -> Result<(Vec<AuditEntry>, AuditHead), Failure> {
        let cursor = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let path = format!("{}?limit={PAGE}&order={order}{cursor}", self.path);
        let mut answer = self.remote.send(self.remote.request(Method::GET, &path)?).await?;
        let mut part = |name| answer.get_mut(name).map(Value::take).unwrap_or_default();
        let (data, head) = (part("data"), part("head"));
        let entries = serde_json::from_value(data).map_err(Failure::failed)?;
        Ok((entries, serde_json::from_value(head).map_err(Failure::failed)?))
    }

    async fn newest(&self, limit: usize) -> Result<Vec<AuditEntry>, Failure> {
        let mut found: Vec<AuditEntry> = Vec::new();
        while found.len() < limit {
            let (entries, _) = self.page("desc", found.last().map(|entry| entry.seq)).await?;
            let is_last = entries.len() < PAGE;
            found.extend(entries);
            if is_last {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Whose chain it is, its end, and what is wrong with it.
    async fn verify(&self, kept: Option<AuditHead>) -> Result<(Option<String>, AuditHead, Vec<AuditFault>), Failure> {
        let (first, mut head) = self.page("asc", None).await?;
        let Some(tenant) = first.first().map(|entry| entry.tenant.clone()) else {
            let nobody = TenantId::operator();
            let (end, faults) = AuditCheck::new(&nobody, kept).end(head);
            return Ok((None, end, faults));
        };
        let (mut check, mut entries) = (AuditCheck::new(&tenant, kept), first);
        while let Some(last) = entries.last().map(|entry| entry.seq) {
            entries.iter().for_each(|entry| check.next(entry));
            // Also where the host has added to it meanwhile.
            if head.seq <= last {
                break;
            }
            (entries, head) = self.page("asc", Some(last)).await?;
        }
        let (end, faults) = check.end(head);
        Ok((Some(tenant.to_string()), end, faults))
    }
}

fn show(entry: &AuditEntry) -> Result<(), Failure> {
    let AuditEntry { seq, at, who, action, target, details, .. } = entry;
    let details = serde_json::to_string(details).map_err(Failure::failed)?;
    Ok(result(format_args!("{seq}\t{at}\t{who}\t{}\t{target}\t{details}", action.name()))?)
}

/// Says of each chain how it ends and what is wrong with it.
fn judge(chains: Vec<(String, AuditHead, Vec<AuditFault>)>) -> Result<(), Failure> {
    let mut wrong = 0;
    for (tenant, end, faults) in chains {
        result(format_args!("{tenant}\t{end}"))?;
        for fault in &faults {
            say(format_args!("{tenant}: {fault}"));
        }
        wrong += usize::from(!faults.is_empty());
    }
    match wrong {
        0 => Ok(()),
        1 => Err(Failure::Failed("1 chain of the audit log is not what it was".to_owned())),
        _ => Err(Failure::Failed(format!("{wrong} chains of the audit log are not what they were"))),
    }
}
