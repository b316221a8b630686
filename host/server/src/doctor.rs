//! Looks at a data folder that no server has open: whether what is kept is whole and fits together, and whether a server could
//! use it. It changes nothing, but for what opening a store does after a crash or an upgrade, and that is told.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{Access, access, statvfs};
use serde::Serialize;
use vivarium_domain::{SealedSecret, TenantId};
use vivarium_registry::Vault;
use vivarium_store::{Examined, OpenReport, SledStore, Store, StoreError, StoreOptions};

use crate::config::{Config, ConfigErrors};
use crate::host::{StartError, blocking, secrets_key_file, secrets_key_place, secrets_key_text};

/// What to do about what is damaged.
const RESTORE: &str = "move the folder away, put the last backup in its place with `vivarium restore`, and keep the damaged one until that runs";

/// The same for a text or a file: a backup is a tar.
const TAKE_OUT: &str = "take the file out of a backup (`tar -xf BACKUP blobs/TENANT/HASH`), put it into \
                        store/blobs/TENANT/ in the folder of its first two characters, or delete what refers to it";

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// In order.
    Ok,
    /// Not as it should be; a server can use it.
    Warning,
    /// Something is lost, or a server can not use it.
    Error,
}

impl Level {
    /// Its name in a line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// How it is.
    pub level: Level,
    /// The same in a sentence.
    pub message: String,
    /// What was found, one by one.
    pub findings: Vec<String>,
    /// What to do about it.
    pub advice: Option<&'static str>,
}

impl Check {
    fn new(name: &'static str, level: Level, message: impl Into<String>) -> Self {
        Self { name, level, message: message.into(), findings: Vec::new(), advice: None }
    }

    fn ok(name: &'static str, message: impl Into<String>) -> Self {
        Self::new(name, Level::Ok, message)
    }

    fn warning(name: &'static str, message: impl Into<String>, advice: &'static str) -> Self {
        Self { advice: Some(advice), ..Self::new(name, Level::Warning, message) }
    }

    fn error(name: &'static str, message: impl Into<String>, advice: &'static str) -> Self {
        Self { advice: Some(advice), ..Self::new(name, Level::Error, message) }
    }
}

/// Looks at the data folder of this configuration; `wrong` is what did not read of it.
pub async fn examine(config: Config, wrong: Option<ConfigErrors>) -> Vec<Check> {
    let mut checks = vec![match wrong {
        None => Check::ok("configuration", "it is valid"),
        Some(ConfigErrors(findings)) => Check {
            findings,
            ..Check::error(
                "configuration",
                "it is not valid; the defaults are used here",
                "correct it: docs/configuration.md has all keys",
            )
        },
    }];
    checks.push(room(&config.data));
    checks.push(compiled(&config.data.join("compiled")));
    let store = open(&config.data, &mut checks).await;
    let secrets = match &store {
        Some(store) => all_secrets(store).await,
        None => Ok(Vec::new()),
    };
    checks.push(key(&config, secrets));
    if let Some(store) = store {
        match blocking(move || Ok(store.examine())).await {
            Ok(parts) => checks.extend(parts.into_iter().map(part)),
            Err(error) => checks.push(Check::error("records", format!("they can not be looked at: {error}"), RESTORE)),
        }
    }
    checks
}

/// Whether there is room to write.
fn room(data: &Path) -> Check {
    const ADVICE: &str = "make room: below the reserve writes are refused until there is some again";
    let reserve = StoreOptions::default().reserve_bytes;
    match statvfs(data) {
        Err(error) => {
            Check::error("disk", format!("{}: {error}", data.display()), "give --data the folder of a server")
        }
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let told = format!("{free} bytes are free, {reserve} of them are the reserve");
            match free {
                _ if free < reserve => Check::error("disk", told, ADVICE),
                _ if free < reserve.saturating_mul(4) => Check::warning("disk", told, ADVICE),
                _ => Check::ok("disk", told),
            }
        }
    }
}

/// Whether compiled plugins can be kept, and by nobody else.
fn compiled(folder: &Path) -> Check {
    let name = "compiled plugins";
    let found = match folder.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Check::ok(name, "there are none yet; the first start makes them");
        }
        Err(error) => Err(error),
        Ok(found) if !found.is_dir() => Err(io::Error::other("it is no folder")),
        Ok(found) => {
            access(folder, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK).map(|()| found).map_err(Into::into)
        }
    };
    match found {
        Err(error) => Check::error(
            name,
            format!("{} can not be used: {error}", folder.display()),
            "remove it, or give it to the user that the server runs as",
        ),
        Ok(found) if found.mode() & 0o022 != 0 => Check::error(
            name,
            format!(
                "others can write to {} (mode {:o}), and so run code in the host",
                folder.display(),
                found.mode() & 0o777
            ),
            "remove the folder: what it holds can not be trusted, and the next start makes it anew",
        ),
        Ok(_) => Check::ok(name, format!("{} can be used", folder.display())),
    }
}

async fn open(data: &Path, checks: &mut Vec<Check>) -> Option<SledStore> {
    let folder = data.join("store");
    if !folder.join("tree").is_dir() {
        let told = format!("{} holds no store", data.display());
        checks.push(Check::error(
            "store",
            told,
            "give --data the folder of a server; a first `vivarium serve` makes one",
        ));
        return None;
    }
    match blocking(move || Ok(SledStore::open(folder)?)).await {
        Ok((store, report)) => {
            checks.push(opened(&report));
            Some(store)
        }
        Err(error) => {
            let advice = match &error {
                StartError::Store(StoreError::Corrupt(_)) => RESTORE,
                StartError::Store(StoreError::Unavailable(why)) if why.contains("is open in another process") => {
                    "stop the server that has it open, and ask again; `vivarium backup` needs no stop"
                }
                _ => "the sentence above says what is in the way",
            };
            checks.push(Check::error("store", format!("it does not open: {error}"), advice));
            None
        }
    }
}

fn opened(report: &OpenReport) -> Check {
    if report.is_clean() {
        return Check::ok("store", report.to_string());
    }
    Check::warning("store", report.to_string(), "nothing: opening it just now has put that in order")
}

async fn all_secrets(store: &SledStore) -> Result<Vec<(TenantId, SealedSecret)>, StoreError> {
    let mut tenants: Vec<TenantId> = store.tenants().await?.into_iter().map(|tenant| tenant.id).collect();
    tenants.push(TenantId::operator());
    let mut found = Vec::new();
    for tenant in tenants {
        found.extend(store.secrets(&tenant).await?.into_iter().map(|secret| (tenant.clone(), secret)));
    }
    Ok(found)
}

/// Whether the key of the secrets is there and opens all of them.
fn key(config: &Config, secrets: Result<Vec<(TenantId, SealedSecret)>, StoreError>) -> Check {
    const NAME: &str = "key of the secrets";
    const ADVICE: &str =
        "put back the key file that belongs to this store; a secret whose key is lost has to be set again";
    let secrets = match secrets {
        Ok(secrets) => secrets,
        Err(error) => return Check::error(NAME, format!("the secrets do not read: {error}"), RESTORE),
    };
    let (place, file) = (secrets_key_place(config), secrets_key_file(config));
    let vault = match secrets_key_text() {
        Some(text) => Vault::from_text(&text),
        // A look must not make one.
        None if !file.exists() && secrets.is_empty() => {
            return Check::ok(NAME, format!("{place} is not there yet; the first start makes it"));
        }
        None if !file.exists() => {
            let told = format!("{place} is not there, and {} secrets are sealed with it", secrets.len());
            return Check::error(NAME, told, ADVICE);
        }
        None => Vault::from_file(&file),
    };
    let vault = match vault {
        Ok(vault) => vault,
        Err(error) => return Check::error(NAME, error.to_string(), ADVICE),
    };
    let closed: Vec<String> = secrets
        .iter()
        .filter_map(|(tenant, secret)| {
            vault.open(tenant, secret).err().map(|error| format!("tenant {tenant}: {error}"))
        })
        .collect();
    if closed.is_empty() {
        return Check::ok(NAME, format!("{place} opens all {} secrets", secrets.len()));
    }
    let told = format!("{place} does not open {} of {} secrets", closed.len(), secrets.len());
    Check { findings: closed, ..Check::error(NAME, told, ADVICE) }
}

/// A part of the store.
fn part(part: Examined) -> Check {
    let Examined { name, count, errors, warnings, .. } = part;
    let mut check = match (errors.is_empty(), warnings.is_empty()) {
        (true, true) => Check::ok(name, format!("{count}, and all are in order")),
        (true, false) => {
            Check::warning(name, format!("{count}, and what is said here does no harm"), "nothing has to be done")
        }
        (false, _) => {
            let advice = if name == "blobs" { TAKE_OUT } else { RESTORE };
            Check::error(name, format!("{count}, and not all are in order"), advice)
        }
    };
    check.findings = errors.into_iter().chain(warnings).collect();
    check
}
