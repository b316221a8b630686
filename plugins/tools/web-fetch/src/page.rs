//! An answer as a document.

use std::borrow::Cow;
use std::io::Read as _;

use flate2::read::{MultiGzDecoder, ZlibDecoder};
use vivarium_reading::Format;
use vivarium_sdk::charset;
use vivarium_sdk::excerpt::beginning;
use vivarium_sdk::http::{Response, Url};
use vivarium_sdk::tool::{Document, ToolError};

use crate::kind::{self, Kind};
use crate::{feed, markdown};

/// Of a longer text, what is after this is not kept as a source: several hundred pages.
const MAX_DOCUMENT_BYTES: usize = 1024 * 1024;
/// Of a longer page what is after this is not read: as a tree it takes ten times as much memory.
const MAX_PAGE_BYTES: usize = 8 << 20;
/// What a packed answer may unpack to.
const MAX_UNPACKED_BYTES: u64 = 16 << 20;

/// What is read, in a sentence.
const READ: &str = "web_fetch reads HTML, PDF, DOCX, XLSX, feeds, Markdown, plain text, JSON, XML and CSV";

/// The response as a document; `asked` is the URL that was asked for first.
pub(crate) fn readable(response: &Response, asked: &Url) -> Result<Document, ToolError> {
    let url = &response.url;
    let body = unpacked(response)?;
    let content_type = response.header("content-type").unwrap_or_default();
    // A file that was made for a printer is no text in any encoding.
    let text = if kind::is_file(&body) { Cow::Borrowed("") } else { charset::decode(&body, content_type) };
    let kind = kind::of(content_type, &body, &text)
        .map_err(|what| ToolError::Failed(format!("{url} can not be read, it is {what}: {READ}")))?;
    let document = |title: Option<String>, media_type: &str, text: String| Document {
        title: title.unwrap_or_else(|| name(url)),
        location: url.to_string(),
        media_type: media_type.to_owned(),
        text,
    };
    let document = match kind {
        Kind::Html => {
            let page = markdown::readable(beginning(&text, MAX_PAGE_BYTES), url);
            if page.asks_for_password && url.path() != asked.path() && is_login(url) {
                return Err(ToolError::Failed(format!(
                    "{asked} leads to {url}, which asks for a login, and this tool has none: try another source"
                )));
            }
            if let Some(target) = page.leads_to.filter(|_| page.markdown.trim().is_empty()) {
                return Err(ToolError::Failed(format!("{url} holds no text and sends its readers on: fetch {target}")));
            }
            document(page.title, "text/markdown", page.markdown)
        }
        Kind::Feed => {
            let feed = feed::read(&text, url);
            document(feed.title, "text/markdown", feed.markdown)
        }
        Kind::File(format) => {
            if response.truncated {
                let mib = crate::MAX_BODY_BYTES >> 20;
                return Err(ToolError::Failed(format!("{url} can not be read: it has more than {mib} MiB")));
            }
            let read = vivarium_reading::read(format, &body, None, MAX_DOCUMENT_BYTES);
            let what = match format {
                Format::Pdf => "PDF",
                Format::Docx => "DOCX",
                Format::Xlsx => "XLSX",
                Format::Html => "HTML",
            };
            let content =
                read.map_err(|why| ToolError::Failed(format!("{url} is a {what} file that can not be read: {why}")))?;
            document(content.title, "text/markdown", content.markdown)
        }
        Kind::Json => match feed::read_json(&text, url) {
            Some(feed) => document(feed.title, "text/markdown", feed.markdown),
            None => document(None, "application/json", pretty(&text)),
        },
        Kind::Text(media_type) => document(None, media_type, text.into_owned()),
    };
    if document.text.trim().is_empty() {
        return Err(ToolError::Failed(format!(
            "{url} holds no readable text; it may need a browser that runs scripts"
        )));
    }
    let text = beginning(&document.text, MAX_DOCUMENT_BYTES).to_owned();
    Ok(Document { text, ..document })
}

/// The body as it was before its server packed it.
pub(crate) fn unpacked(response: &Response) -> Result<Cow<'_, [u8]>, ToolError> {
    let url = &response.url;
    let coding = response.header("content-encoding").unwrap_or_default().trim().to_ascii_lowercase();
    let mut out = Vec::new();
    let source = response.body.as_slice();
    let read = match coding.as_str() {
        "" | "identity" => return Ok(Cow::Borrowed(source)),
        "gzip" | "x-gzip" => MultiGzDecoder::new(source).take(MAX_UNPACKED_BYTES).read_to_end(&mut out),
        "deflate" => ZlibDecoder::new(source).take(MAX_UNPACKED_BYTES).read_to_end(&mut out),
        other => {
            return Err(ToolError::Failed(format!(
                "{url} is sent as {other:?}, though it was asked for as gzip or as it is"
            )));
        }
    };
    match read {
        // A body that was cut at our bound ends in the middle.
        Err(_) if response.truncated && !out.is_empty() => Ok(Cow::Owned(out)),
        Err(error) => Err(ToolError::Failed(format!("{url} is not the {coding} that its server calls it: {error}"))),
        Ok(_) => Ok(Cow::Owned(out)),
    }
}

/// A path where people log in.
fn is_login(url: &Url) -> bool {
    let path = url.path().to_ascii_lowercase();
    ["login", "signin", "sign-in", "sign_in", "sso", "auth"].iter().any(|word| path.contains(word))
}

/// What to call a page that has no title: the end of its path, or its host.
fn name(url: &Url) -> String {
    let last = url.path_segments().and_then(|segments| segments.rev().find(|segment| !segment.is_empty()));
    last.or(url.host_str()).unwrap_or_default().to_owned()
}

/// JSON with a line for each member, in its own order and with its own numbers; what is none stays as it is.
fn pretty(text: &str) -> String {
    if serde_json::from_str::<serde::de::IgnoredAny>(text).is_err() {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() * 2);
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    let mut signs = text.chars().filter(|c| !matches!(c, '\r')).peekable();
    let indent = |out: &mut String, depth: usize| {
        out.push('\n');
        // Deeper than this nobody reads it by its indent.
        out.extend(std::iter::repeat_n("  ", depth.min(40)));
    };
    while let Some(c) = signs.next() {
        if out.len() > MAX_DOCUMENT_BYTES {
            break;
        }
        if in_string {
            out.push(c);
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        match c {
            '"' => {
                in_string = true;
                out.push(c);
            }
            '{' | '[' => {
                while signs.next_if(|next| next.is_ascii_whitespace()).is_some() {}
                let close = if c == '{' { '}' } else { ']' };
                out.push(c);
                if signs.next_if_eq(&close).is_some() {
                    out.push(close);
                } else {
                    depth += 1;
                    indent(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                indent(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                indent(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn json_is_told_line_by_line_and_says_the_same() {
        let told = pretty(r#"{"a":[1,2.50,{}],"b":"x, \"y\": {","c":[],"d":1e400}"#);
        assert_eq!(
            told,
            "{\n  \"a\": [\n    1,\n    2.50,\n    {}\n  ],\n  \"b\": \"x, \\\"y\\\": {\",\n  \"c\": [],\n  \"d\": 1e400\n}"
        );
        assert_eq!(pretty("{broken"), "{broken");
    }

    proptest! {
        #[test]
        fn pretty_json_is_the_same_json(text in "\\PC{0,20}", number in any::<i32>()) {
            let value = serde_json::json!({"t": [text.clone(), {"k": text, "n": number}], "e": {}});
            let told = pretty(&value.to_string());
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&told).unwrap(), value);
        }
    }
}
