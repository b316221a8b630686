//! The address of a collector of traces.

use reqwest::Url;
use serde::{Deserialize, Serialize};

/// An `http` or `https` address without credentials: those go into headers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CollectorUrl(String);

impl CollectorUrl {
    /// The address as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for CollectorUrl {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        match url {
            Some(url) if url.username().is_empty() && url.password().is_none() => Ok(Self(text)),
            Some(_) => {
                Err("a collector's address holds no credentials; OTEL_EXPORTER_OTLP_HEADERS is for them".to_owned())
            }
            None => Err(format!("a collector's address looks like http://127.0.0.1:4318, not {text:?}")),
        }
    }
}

impl From<CollectorUrl> for String {
    fn from(url: CollectorUrl) -> Self {
        url.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_reached_by_http_and_its_address_holds_no_secret() {
        let of = |text: &str| CollectorUrl::try_from(text.to_owned());
        for good in ["http://127.0.0.1:4318", "https://collector.example/v1/traces"] {
            assert_eq!(of(good).unwrap().as_str(), good);
        }
        for bad in ["127.0.0.1:4318", "grpc://a:1", "http://user:secret@a", ""] {
            let told = of(bad).unwrap_err();
            assert!(!told.contains("secret@"), "{told}");
        }
    }
}
