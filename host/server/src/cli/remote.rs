//! A running server, as the command line talks to it: over its own HTTP API, with a key.

use clap::Args;
use reqwest::{Client, Method, RequestBuilder, Response};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::Failure;

/// Which server, and with which key.
#[derive(Debug, Args)]
pub(super) struct Remote {
    /// The server.
    #[arg(long = "server", value_name = "URL", env = "VIVARIUM_URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// The API key.
    #[arg(long, value_name = "KEY", env = "VIVARIUM_KEY", hide_env_values = true)]
    key: Option<SecretString>,
}

impl Remote {
    /// This one.
    pub(super) fn at(url: String, key: Option<SecretString>) -> Self {
        Self { url, key }
    }

    /// A request to this path.
    pub(super) fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, Failure> {
        let key = self.key.as_ref().ok_or_else(|| {
            Failure::Use(
                "an API key is needed: set VIVARIUM_KEY, or give --key (`vivarium serve` shows the first one)"
                    .to_owned(),
            )
        })?;
        let client = Client::builder().no_proxy().build().map_err(Failure::failed)?;
        let url = format!("{}{path}", self.url.trim_end_matches('/'));
        Ok(client.request(method, url).bearer_auth(key.expose_secret()))
    }

    /// Sends a request; what the server refuses is told in its words. Null where the answer has no body.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Value, Failure> {
        json(self.answer(request).await?).await
    }

    /// The same, with the answer before its body is read.
    pub(super) async fn answer(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let answered = request.send().await.map_err(|error| {
            Failure::Failed(format!("{} does not answer ({error}); `vivarium serve` starts a server", self.url))
        })?;
        let status = answered.status();
        if status.is_success() {
            return Ok(answered);
        }
        let json = json(answered).await?;
        let message = json.pointer("/error/message").and_then(Value::as_str).unwrap_or("the server gives no reason");
        Err(Failure::Failed(format!("{message} (HTTP {})", status.as_u16())))
    }
}

async fn json(answered: Response) -> Result<Value, Failure> {
    let body = answered.bytes().await.map_err(Failure::failed)?;
    Ok(if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap_or_default() })
}

/// A text of an answer; empty where it is not there.
pub(super) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// A list of an answer.
pub(super) fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
