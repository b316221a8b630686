//! Where a server is, and how it is reached.

use std::str::FromStr;
use std::sync::Arc;

use url::{Host, Url};
use vivarium_egress::{Egress, EgressPolicy};

/// The longest URL.
const MAX_URL_CHARS: usize = 2_048;

/// Why a text is not where a server is. Completes a sentence that begins with the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// It is none.
    #[error("must be the URL where an MCP server answers, such as https://mcp.example.com/mcp")]
    Url,
    /// It is too long.
    #[error("must have at most {MAX_URL_CHARS} characters")]
    TooLong,
    /// It is reached in another way.
    #[error("must begin with https:// or http://: servers are reached over streamable HTTP alone")]
    Scheme,
    /// Somebody's password is in it.
    #[error(
        "must hold no user name and no password: a credential is a secret (PUT /v1/secrets/{{name}}), named in `secrets`"
    )]
    Credential,
    /// It has a part that no server sees.
    #[error("must have no fragment (#…)")]
    Fragment,
}

/// Where a server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    url: Url,
    host: Host<String>,
    port: u16,
}

impl Place {
    /// The host, as secrets name it.
    #[must_use]
    pub fn host(&self) -> String {
        self.host.to_string()
    }

    /// The host with its port, as exceptions for private addresses name it.
    #[must_use]
    pub fn host_and_port(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The URL.
    #[must_use]
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// The URL without what may be a credential in it.
    #[must_use]
    pub fn told(&self) -> String {
        let mut url = self.url.clone();
        url.set_query(None);
        url.to_string()
    }
}

impl FromStr for Place {
    type Err = PlaceError;
    fn from_str(text: &str) -> Result<Self, PlaceError> {
        if text.chars().count() > MAX_URL_CHARS {
            return Err(PlaceError::TooLong);
        }
        let url = Url::parse(text).map_err(|_| PlaceError::Url)?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(PlaceError::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(PlaceError::Credential);
        }
        if url.fragment().is_some() {
            return Err(PlaceError::Fragment);
        }
        let host = url.host().ok_or(PlaceError::Url)?.to_owned();
        let port = url.port_or_known_default().filter(|port| *port != 0).ok_or(PlaceError::Url)?;
        Ok(Self { url, host, port })
    }
}

/// A server with the way to it: what may be sent there, how much and with which credentials.
#[derive(Debug, Clone)]
pub struct RemoteServer {
    /// Where it is.
    pub place: Place,
    /// The door.
    pub egress: Arc<Egress>,
    /// What may go through it.
    pub policy: Arc<EgressPolicy>,
    /// It spoke an early version of the protocol when it was looked at last: it is asked in that one first.
    pub is_early: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_plain_url() {
        let place: Place = "https://MCP.example.com/mcp?tenant=7".parse().unwrap();
        assert_eq!((place.host().as_str(), place.host_and_port().as_str()), ("mcp.example.com", "mcp.example.com:443"));
        assert_eq!(place.told(), "https://mcp.example.com/mcp");
        assert_eq!("http://127.0.0.1:9/x".parse::<Place>().unwrap().host_and_port(), "127.0.0.1:9");
        for (text, error) in [
            ("", PlaceError::Url),
            ("mcp.example.com", PlaceError::Url),
            ("stdio:server", PlaceError::Scheme),
            ("file:///bin/sh", PlaceError::Scheme),
            ("https://a:b@example.com/", PlaceError::Credential),
            ("https://example.com/#x", PlaceError::Fragment),
        ] {
            assert_eq!(text.parse::<Place>().unwrap_err(), error, "{text}");
        }
        assert_eq!(format!("https://a/{}", "x".repeat(2_048)).parse::<Place>(), Err(PlaceError::TooLong));
    }
}
