//! `vivarium secret …`: a tenant's secrets on a running server. A value comes from standard input, so that it stands in no
//! history and no list of processes.

use std::io::{self, IsTerminal as _, Read as _};

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::json;
use vivarium::config::Flags;
use vivarium_domain::{SecretName, TenantId};

use super::remote::{Remote, list, text};
use super::{Failure, Place, result, say};

#[derive(Debug, Subcommand)]
pub(super) enum Secret {
    /// Set a secret; its value is read from standard input.
    Set(Set),
    /// List the secrets: name, host, header, when set. Values are not shown.
    List {
        #[command(flatten)]
        remote: Remote,
    },
    /// Remove a secret.
    Remove {
        /// Its name.
        name: SecretName,
        #[command(flatten)]
        remote: Remote,
    },
    /// Seal the secrets anew, with the first key of the key file, in a data folder that no server has open.
    Reseal {
        /// Whose [default: every tenant's].
        #[arg(long, value_name = "ID")]
        tenant: Option<TenantId>,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Args)]
pub(super) struct Set {
    /// Its name: what a plugin and a grant know it by.
    name: SecretName,
    /// The host that gets it.
    #[arg(long)]
    host: String,
    /// The header that it goes into.
    #[arg(long, default_value = "authorization")]
    header: String,
    /// What stands before it in the header, such as `Bearer `.
    #[arg(long, default_value = "")]
    prefix: String,
    #[command(flatten)]
    remote: Remote,
}

impl Secret {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Set(set) => set.run().await,
            Self::List { remote } => {
                let secrets = remote.send(remote.request(Method::GET, "/v1/secrets")?).await?;
                for secret in list(&secrets, "data") {
                    let inject = secret.get("inject").cloned().unwrap_or_default();
                    let (host, header) = (text(&inject, "host"), text(&inject, "header"));
                    result(format_args!("{}\t{host}\t{header}\t{}", text(secret, "name"), text(secret, "setAt")))?;
                }
                Ok(())
            }
            Self::Remove { name, remote } => {
                remote.send(remote.request(Method::DELETE, &format!("/v1/secrets/{name}"))?).await?;
                Ok(result(format_args!("the secret {name} is removed"))?)
            }
            Self::Reseal { tenant, place } => {
                let config = place.read(Flags::default())?;
                for (tenant, count) in vivarium::reseal(&config, tenant.as_ref()).await? {
                    result(format_args!("{tenant}\t{count} sealed anew"))?;
                }
                Ok(())
            }
        }
    }
}

impl Set {
    async fn run(self) -> Result<(), Failure> {
        if io::stdin().is_terminal() {
            say("type the secret's value, then Ctrl-D");
        }
        let mut value = String::new();
        io::stdin().read_to_string(&mut value)?;
        let value = value.trim_end_matches(['\r', '\n']);
        let (host, header, prefix) = (&self.host, &self.header, &self.prefix);
        let body = json!({"value": value, "inject": {"host": host, "header": header, "prefix": prefix}});
        let path = format!("/v1/secrets/{}", self.name);
        self.remote.send(self.remote.request(Method::PUT, &path)?.json(&body)).await?;
        Ok(result(format_args!("the secret {} is set", self.name))?)
    }
}
