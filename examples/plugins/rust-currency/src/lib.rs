//! A tool for Vivarium: today's exchange rate of two currencies, from Frankfurter (<https://frankfurter.dev>) or from any
//! service with the same interface.
//!
//! The operator may say where the service is (setting `base_url`) and, if it wants a key, grant the secret
//! `currency-key`. This code never sees the key: it asks whether there is one, and the host puts it into the request.

mod rates;

use wstd::http::{Client, ErrorCode, Request, StatusCode};
use wstd::runtime::block_on;

use crate::exports::vivarium::plugin::tool::{Context, Document, Guest, Output, ToolError};
use crate::rates::{Question, Rates};
use crate::vivarium::plugin::{secrets, settings};

wit_bindgen::generate!({ world: "currency", path: "wit", generate_all });

/// Public, and free of charge and keys.
const DEFAULT_BASE_URL: &str = "https://api.frankfurter.dev/v1";

/// The name under which an operator keeps the service's key.
const KEY: &str = "currency-key";

struct Currency;

export!(Currency);

impl Guest for Currency {
    fn call(name: String, arguments_json: String, _context: Context) -> Result<Output, ToolError> {
        if name != "currency" {
            return Err(ToolError::UnknownTool(format!("this component has currency only, not {name}")));
        }
        let question: Question =
            serde_json::from_str(&arguments_json).map_err(|error| ToolError::InvalidArguments(error.to_string()))?;
        let url = question.url(settings::get("base_url").as_deref().unwrap_or(DEFAULT_BASE_URL));
        let text = block_on(fetch(&url, &question))?;
        let rates: Rates = serde_json::from_str(&text)
            .map_err(|error| ToolError::Failed(format!("{url} answered with something else than rates: {error}")))?;
        let answer = question.answer(&rates).map_err(ToolError::Failed)?;
        let document = Document {
            title: format!("{} to {} on {}", answer.from, answer.to, answer.date),
            location: url,
            media_type: "application/json".to_owned(),
            text,
        };
        let content = serde_json::to_string(&answer).map_err(|error| ToolError::Failed(error.to_string()))?;
        Ok(Output { content, documents: vec![document] })
    }
}

async fn fetch(url: &str, question: &Question) -> Result<String, ToolError> {
    let request = Request::get(url)
        .header("accept", "application/json")
        .body(())
        .map_err(|error| ToolError::Failed(format!("the setting base_url makes no address, {url}: {error}")))?;
    let mut response = Client::new().send(request).await.map_err(|error| failure(url, &error))?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY => {
            return Err(ToolError::NotFound(format!("{url} has no rate from {} to {}", question.from, question.to)));
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(ToolError::Denied(key_advice(url))),
        status => return Err(ToolError::Unavailable(format!("{url} answered with status {status}"))),
    }
    let text = response.body_mut().str_contents().await.map_err(|error| failure(url, &error))?;
    Ok(text.to_owned())
}

/// What an operator can do about a service that turns the request away.
fn key_advice(url: &str) -> String {
    if secrets::available(KEY) {
        format!("{url} does not take the key that the secret {KEY} holds")
    } else {
        format!("{url} wants a key: keep it as the secret {KEY}, and grant that to this plugin")
    }
}

/// The host says in a sentence why a request did not go out, and which grant would let it; that is worth more than any of
/// ours.
fn failure(url: &str, error: &wstd::http::Error) -> ToolError {
    match error.downcast_ref::<ErrorCode>() {
        Some(ErrorCode::InternalError(Some(sentence))) => ToolError::Failed(sentence.clone()),
        Some(code) => ToolError::Unavailable(format!("{url} did not answer: {code:?}")),
        None => ToolError::Unavailable(format!("{url} did not answer: {error}")),
    }
}
