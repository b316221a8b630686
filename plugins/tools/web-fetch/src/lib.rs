//! `web_fetch` reads a page of the public web. Each request, each redirect's too, goes through the host's guard; the page
//! is made readable in here, where a page that breaks the parser breaks nothing else.

mod arguments;
mod markdown;

use vivarium_sdk::charset;
use vivarium_sdk::excerpt::{beginning, excerpt};
use vivarium_sdk::http::{Client, Request, Response, get_following, parse_url};
use vivarium_sdk::tool::{Context, Document, Output, ToolError};

use crate::arguments::Fetch;

const MAX_REDIRECTS: usize = 5;
/// A page is rarely larger than this; what is after it is not read.
const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;
/// Of a longer text, what is after this is not kept as a source: several hundred pages.
const MAX_DOCUMENT_BYTES: usize = 1024 * 1024;
/// What one page may take of a model's context. The rest of it stays within the host, as a source.
const MAX_CONTENT_BYTES: usize = 24 * 1024;
const MAX_TIMEOUT_MS: u32 = 20_000;

vivarium_sdk::export_tools! { "web_fetch" => fetch }

fn fetch(arguments: Fetch, context: &Context) -> Result<Output, ToolError> {
    fetch_with(&mut vivarium_sdk::http::Live, &arguments, context)
}

fn fetch_with(client: &mut impl Client, arguments: &Fetch, context: &Context) -> Result<Output, ToolError> {
    let mut request = Request::get(parse_url(&arguments.url)?)
        .header("accept", "text/html, text/markdown, text/plain, application/json;q=0.9, */*;q=0.5")
        .header("accept-encoding", "identity")
        .header("user-agent", concat!("Vivarium/", env!("CARGO_PKG_VERSION"), " (web_fetch)"));
    request.max_body_bytes = MAX_BODY_BYTES;
    request.timeout_ms = MAX_TIMEOUT_MS.min(context.deadline_ms);
    let response = get_following(client, request, MAX_REDIRECTS)?;
    check_status(&response)?;
    let document = readable(&response)?;
    let bound = MAX_CONTENT_BYTES.min(context.max_output_bytes as usize);
    let content = excerpt(&document.text, arguments.focus.as_deref(), bound);
    Ok(Output::text(content).with_document(document))
}

fn check_status(response: &Response) -> Result<(), ToolError> {
    let url = &response.url;
    match response.status {
        200..=299 => Ok(()),
        404 | 410 => Err(ToolError::NotFound(format!("{url} does not exist (status {})", response.status))),
        status @ (401 | 403 | 407 | 451) => {
            Err(ToolError::Failed(format!("{url} is not open to everybody (status {status}): try another source")))
        }
        429 => {
            let wait = response.header("retry-after").map(|wait| format!(", to be asked again after {wait}"));
            Err(ToolError::Unavailable(format!("{url} is asked too often (status 429{})", wait.unwrap_or_default())))
        }
        status @ 500.. => Err(ToolError::Unavailable(format!("{url} does not work at present (status {status})"))),
        status => Err(ToolError::Failed(format!("{url} gives no page (status {status})"))),
    }
}

/// What a media type is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Html,
    /// Text that is kept as it is, under this media type.
    Text(&'static str),
}

/// The response as a document.
fn readable(response: &Response) -> Result<Document, ToolError> {
    let url = &response.url;
    if let Some(coding) = response.header("content-encoding").filter(|coding| !coding.eq_ignore_ascii_case("identity"))
    {
        return Err(ToolError::Failed(format!(
            "{url} is sent as {coding:?}, though it was asked for without any coding"
        )));
    }
    let content_type = response.header("content-type").unwrap_or_default();
    let text = charset::decode(&response.body, content_type);
    let document = match kind(content_type, &response.body, &text) {
        Some(Kind::Html) => {
            let page = markdown::readable(&text, url);
            Document {
                title: page.title.unwrap_or_else(|| name(url)),
                location: url.to_string(),
                media_type: "text/markdown".to_owned(),
                text: page.markdown,
            }
        }
        Some(Kind::Text(media_type)) => Document {
            title: name(url),
            location: url.to_string(),
            media_type: media_type.to_owned(),
            text: text.into_owned(),
        },
        None => {
            let what = if content_type.is_empty() { "no text" } else { content_type };
            return Err(ToolError::Failed(format!(
                "{url} is {what}: web_fetch reads HTML, Markdown, plain text, JSON, XML and CSV"
            )));
        }
    };
    if document.text.trim().is_empty() {
        return Err(ToolError::Failed(format!(
            "{url} holds no readable text; it may need a browser that runs scripts"
        )));
    }
    let text = beginning(&document.text, MAX_DOCUMENT_BYTES).to_owned();
    Ok(Document { text, ..document })
}

fn kind(content_type: &str, body: &[u8], text: &str) -> Option<Kind> {
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media_type.as_str() {
        "text/html" | "application/xhtml+xml" => Some(Kind::Html),
        "text/markdown" | "text/x-markdown" => Some(Kind::Text("text/markdown")),
        "text/csv" => Some(Kind::Text("text/csv")),
        "application/json" => Some(Kind::Text("application/json")),
        "application/xml" | "text/xml" => Some(Kind::Text("application/xml")),
        other if other.ends_with("+json") => Some(Kind::Text("application/json")),
        other if other.ends_with("+xml") && other.starts_with("application/") => Some(Kind::Text("application/xml")),
        other if other.starts_with("text/") => Some(Kind::Text("text/plain")),
        // A server that does not say: look.
        "" if !body.contains(&0) && text.trim_start().starts_with('<') => Some(Kind::Html),
        "" if !body.contains(&0) && std::str::from_utf8(body).is_ok() => Some(Kind::Text("text/plain")),
        _ => None,
    }
}

/// What to call a page that has no title: the end of its path, or its host.
fn name(url: &vivarium_sdk::http::Url) -> String {
    let last = url.path_segments().and_then(|segments| segments.rev().find(|segment| !segment.is_empty()));
    last.or(url.host_str()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
