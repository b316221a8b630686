//! Where tenants and keys are: on a running server, or in a data folder that no server has open.

use std::path::PathBuf;

use clap::Args;
use reqwest::Method;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde_json::Value;
use vivarium::config::{Config, Flags};
use vivarium::open_keyring;
use vivarium_api::Keyring;

use super::remote::{Remote, list};
use super::{Failure, Place};

/// The most items of a page.
const PAGE: usize = 200;

/// A server, or a data folder.
#[derive(Debug, Args)]
pub(super) struct Either {
    /// The server, in place of a data folder.
    #[arg(long = "server", value_name = "URL", env = "VIVARIUM_URL")]
    url: Option<String>,
    /// The API key for the server.
    #[arg(long, value_name = "KEY", env = "VIVARIUM_KEY", hide_env_values = true)]
    key: Option<SecretString>,
    /// The data folder, also where VIVARIUM_URL names a server [default: vivarium-data].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The configuration file, with a data folder [default: vivarium.toml, if it is there].
    #[arg(long, value_name = "FILE", env = "VIVARIUM_CONFIG")]
    config: Option<PathBuf>,
}

/// The one of both that is meant.
pub(super) enum One {
    Server(Remote),
    Folder(Box<Config>),
}

impl Either {
    pub(super) fn one(self) -> Result<One, Failure> {
        let Self { url, key, data, config } = self;
        match url {
            Some(url) if data.is_none() => Ok(One::Server(Remote::at(url, key))),
            _ => Ok(One::Folder(Box::new(Place { data, config }.read(Flags::default())?))),
        }
    }
}

/// The keyring of a data folder.
pub(super) async fn keyring(config: &Config) -> Result<Keyring, Failure> {
    Ok(open_keyring(config).await?)
}

/// An answer as the record that it is.
pub(super) fn record<T: DeserializeOwned>(answer: &Value) -> Result<T, Failure> {
    T::deserialize(answer)
        .map_err(|error| Failure::Failed(format!("the server answers what this program does not know: {error}")))
}

/// All items of a list, page by page.
pub(super) async fn all<T: DeserializeOwned>(remote: &Remote, path: &str) -> Result<Vec<T>, Failure> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = format!("{path}?limit={PAGE}{cursor}");
        let page = remote.send(remote.request(Method::GET, &page)?).await?;
        for item in list(&page, "data") {
            found.push(record(item)?);
        }
        match page.get("next").and_then(Value::as_str) {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(found),
        }
    }
}
