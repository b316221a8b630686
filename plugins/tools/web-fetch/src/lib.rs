//! `web_fetch` reads a page of the public web, and files that are linked from there. Each request, each redirect's too, goes
//! through the host's guard; what comes is made readable in here, where a page that breaks a parser breaks nothing else.
//!
//! It behaves as a guest on other people's servers: a site's robots.txt is kept to, requests to one host keep a distance, and a page
//! that was read before is asked for only when it may have changed.

mod arguments;
mod cache;
mod feed;
mod kind;
mod markdown;
mod page;
mod polite;
mod robots;
mod times;
mod world;

use vivarium_sdk::excerpt::excerpt;
use vivarium_sdk::http::{HttpError, Request, Response, Url, parse_url};
use vivarium_sdk::tool::{Context, Document, Output, ToolError};

use crate::arguments::Fetch;
use crate::cache::Entry;
use crate::world::{Host, World};

const MAX_REDIRECTS: usize = 5;
/// Papers have some MiB, pages less; what is after it is not read.
const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;
/// What one document may take of a model's context, where the model does not say. The rest of it stays within the host, as a source.
const MAX_CONTENT_BYTES: usize = 24 * 1024;
const MAX_TIMEOUT_MS: u32 = 20_000;
/// What of a call's time is kept for making the answer readable.
const READING_MS: u64 = 2_000;
/// A host that asks for so little time is waited for.
const MAX_HELD_OFF_MS: u64 = 10_000;
/// With which an operator takes it upon himself that robots.txt is not asked.
const IGNORE_ROBOTS: &str = "dangerously-ignore-robots-txt";

vivarium_sdk::export_tools! { "web_fetch" => fetch }

fn fetch(arguments: Fetch, context: &Context) -> Result<Output, ToolError> {
    fetch_with(&mut Host, &arguments, context)
}

fn fetch_with(world: &mut impl World, arguments: &Fetch, context: &Context) -> Result<Output, ToolError> {
    let url = parse_url(&arguments.url)?;
    let deadline_ms = world.now_ms() + u64::from(context.deadline_ms).saturating_sub(READING_MS);
    let document = read(world, url, context, deadline_ms)?;
    let bound = arguments.max_bytes.map_or(MAX_CONTENT_BYTES, |bytes| bytes as usize);
    let bound = bound.min(context.max_output_bytes as usize);
    let content = match (arguments.start, arguments.focus.as_deref()) {
        (None | Some(0), Some(focus)) => excerpt(&document.text, Some(focus), bound),
        (start, _) => part(&document.text, start.unwrap_or(0) as usize, bound)?,
    };
    Ok(Output::text(content).with_document(document))
}

/// A request as this tool makes it.
pub(crate) fn request(url: Url) -> Request {
    Request::get(url)
        .header(
            "accept",
            "text/html, application/xhtml+xml, text/markdown, application/pdf, text/plain;q=0.9, */*;q=0.5",
        )
        .header("accept-encoding", "gzip, identity;q=0.5")
        .header("user-agent", concat!("Vivarium/", env!("CARGO_PKG_VERSION"), " (web_fetch)"))
}

/// The document at `url`, hop by hop: what was kept, or what the server gives.
fn read(world: &mut impl World, mut url: Url, context: &Context, deadline_ms: u64) -> Result<Document, ToolError> {
    let asked = url.clone();
    let heeds_robots = world.setting(IGNORE_ROBOTS).is_none_or(|value| value.trim() != "true");
    let mut held_off = false;
    let mut hops = 0;
    while hops <= MAX_REDIRECTS {
        let kept = Entry::find(world, &url);
        let now = world.now_ms();
        let kept = match kept {
            Some(entry) if entry.is_fresh(now) => return Ok(entry.give(world, &url, None)),
            kept => kept,
        };
        let rules = if heeds_robots { robots::rules(world, &url)? } else { robots::Rules::default() };
        if !rules.allow(&url) {
            return Err(rules.refusal(&url));
        }
        polite::wait(world, &url, rules.delay_ms, deadline_ms)?;
        let mut request = request(url.clone());
        request.max_body_bytes = MAX_BODY_BYTES;
        request.timeout_ms = MAX_TIMEOUT_MS.min(context.deadline_ms);
        if let Some(entry) = &kept {
            request = entry.ask(request);
        }
        let response = world.send(&request)?;
        if let (304, Some(entry)) = (response.status, kept) {
            return Ok(entry.give(world, &url, Some(&response)));
        }
        if let Some(target) = redirect(&response)? {
            url = target;
            hops += 1;
            continue;
        }
        if matches!(response.status, 429 | 503)
            && let Some(wait) = polite::hold_off(world, &response)
            && !held_off
            && wait <= MAX_HELD_OFF_MS
            && world.now_ms() + wait < deadline_ms
        {
            // The next turn's politeness waits for it.
            held_off = true;
            continue;
        }
        check_status(&response)?;
        let document = page::readable(&response, &asked)?;
        cache::keep(world, &response, &document);
        return Ok(document);
    }
    Err(ToolError::Failed(format!("there are more than {MAX_REDIRECTS} redirects, the last to {url}")))
}

/// Where an answer leads on to, if it does.
fn redirect(response: &Response) -> Result<Option<Url>, HttpError> {
    if !matches!(response.status, 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(target) = response.header("location") else { return Ok(None) };
    let target = response
        .url
        .join(target)
        .map_err(|_| HttpError::InvalidUrl(format!("{} redirects to {target:?}, which is not a URL", response.url)))?;
    parse_url(target.as_str()).map(Some)
}

fn check_status(response: &Response) -> Result<(), ToolError> {
    let url = &response.url;
    match response.status {
        200..=299 => Ok(()),
        404 | 410 => Err(ToolError::NotFound(format!("{url} does not exist (status {})", response.status))),
        401 | 407 => Err(ToolError::Failed(format!(
            "{url} asks for a login (status {}), and this tool has none: try another source",
            response.status
        ))),
        status @ (402 | 403 | 451) => {
            Err(ToolError::Failed(format!("{url} is not open to everybody (status {status}): try another source")))
        }
        status @ (429 | 503) => {
            let wait = response.header("retry-after").map(|wait| match wait.trim().parse::<u64>() {
                Ok(seconds) => format!(", to be asked again after {seconds} s"),
                Err(_) => format!(", to be asked again after {}", wait.trim()),
            });
            let what = if status == 429 { "is asked too often" } else { "does not work at present" };
            Err(ToolError::Unavailable(format!("{url} {what} (status {status}{})", wait.unwrap_or_default())))
        }
        status @ 500.. => Err(ToolError::Unavailable(format!("{url} does not work at present (status {status})"))),
        status => Err(ToolError::Failed(format!("{url} gives no page (status {status})"))),
    }
}

/// At most `max_bytes` of a text from `start` on, to a paragraph's end where one is near, with what it takes to go on.
fn part(text: &str, start: usize, max_bytes: usize) -> Result<String, ToolError> {
    if start >= text.len() && start > 0 {
        return Err(ToolError::InvalidArguments(format!(
            "start: the document has {} bytes of text, and ends before {start}",
            text.len()
        )));
    }
    let start = text.floor_char_boundary(start);
    let rest = text.get(start..).unwrap_or_default();
    if rest.len() <= max_bytes {
        return Ok(rest.to_owned());
    }
    let end = rest.floor_char_boundary(max_bytes.saturating_sub(NOTE_BYTES));
    let piece = rest.get(..end).unwrap_or_default();
    let border = ["\n\n", "\n", " "].iter().find_map(|border| piece.rfind(border).filter(|at| *at > end / 2));
    let piece = piece.get(..border.unwrap_or(end)).unwrap_or(piece);
    let next = start + piece.len();
    Ok(format!("{piece}\n\n[… {start} to {next} of {} bytes; start={next} goes on]", text.len()))
}

/// Room for the note at a part's end.
const NOTE_BYTES: usize = 80;

#[cfg(test)]
mod tests;
