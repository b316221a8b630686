//! Files that a client names by a URL. A tenant chooses where the host goes, so each step of the way there, a redirect's
//! too, is a request of its own through the one guarded door: to public addresses, and to those that the operator has
//! excepted.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use url::Url;
use vivarium_egress::{AllowedHost, Egress, EgressBody, EgressError, EgressPolicy, HostPort, Limits, Meter};

use crate::{MAX_FILE_BYTES, MAX_URL_CHARS, Problem};

/// For the whole way, redirects and body included.
const PATIENCE: Duration = Duration::from_secs(20);
const MAX_REDIRECTS: usize = 3;

/// Fetches files.
pub(crate) struct Fetcher {
    egress: Arc<Egress>,
    policy: EgressPolicy,
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl Fetcher {
    pub(crate) fn new(egress: Arc<Egress>, exceptions: Vec<HostPort>) -> Self {
        let hosts = std::iter::once("*".to_owned()).chain(exceptions.iter().map(ToString::to_string));
        let hosts: Vec<AllowedHost> =
            hosts.filter_map(|host| AllowedHost::parse(&host, &["GET".to_owned()]).ok()).collect();
        let max = MAX_FILE_BYTES as u64;
        let limits = Limits {
            max_requests: MAX_REDIRECTS as u64 + 1,
            max_request_bytes: 0,
            max_response_bytes: max,
            // Room for the headers of each answer.
            max_total_bytes: max + (1 << 20),
            total_timeout: PATIENCE,
            ..Limits::default()
        };
        let policy = EgressPolicy {
            requested: hosts.clone(),
            granted: hosts,
            dangerously_allow_private_addresses: exceptions,
            limits,
            injections: Vec::new(),
        };
        Self { egress, policy }
    }

    /// The bytes behind a URL.
    pub(crate) async fn fetch(&self, url: &str) -> Result<Bytes, Problem> {
        let url = parse(url)?;
        let fetched = tokio::time::timeout(PATIENCE, self.follow(url)).await;
        fetched.unwrap_or_else(|_| Err(Problem::Fetch(format!("it did not arrive within {} s", PATIENCE.as_secs()))))
    }

    async fn follow(&self, mut url: Url) -> Result<Bytes, Problem> {
        let meter = Meter::default();
        for _ in 0..=MAX_REDIRECTS {
            let request = request(&url)?;
            let response = self.egress.send(&self.policy, &meter, request).await.map_err(told)?;
            match target(&response, &url)? {
                Some(next) => url = next,
                None => return body(response).await,
            }
        }
        Err(Problem::Fetch(format!("it is redirected more than {MAX_REDIRECTS} times")))
    }
}

/// A URL that a client or a redirect has named.
fn parse(text: &str) -> Result<Url, Problem> {
    if text.len() > MAX_URL_CHARS {
        return Err(Problem::Url(format!("a URL has at most {MAX_URL_CHARS} characters")));
    }
    let mut url = Url::parse(text).map_err(|error| Problem::Url(format!("this is no absolute URL: {error}")))?;
    check(&url)?;
    url.set_fragment(None);
    Ok(url)
}

fn check(url: &Url) -> Result<(), Problem> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Problem::Url(format!("a file is fetched over http or https, and not over {:?}", url.scheme())));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Problem::Url("a URL with a user name or a password in it is not fetched".to_owned()));
    }
    Ok(())
}

fn request(url: &Url) -> Result<Request<Empty<Bytes>>, Problem> {
    let request = Request::get(url.as_str())
        .header(header::ACCEPT, "*/*")
        .header(header::ACCEPT_ENCODING, "identity")
        .header(header::USER_AGENT, concat!("Vivarium/", env!("CARGO_PKG_VERSION"), " (attachments)"));
    request.body(Empty::new()).map_err(|error| Problem::Url(format!("this URL can not be asked for: {error}")))
}

/// Where a redirect leads; none where the answer is the file.
fn target(response: &Response<EgressBody>, url: &Url) -> Result<Option<Url>, Problem> {
    let status = response.status();
    let failed = |reason: String| Err(Problem::Fetch(reason));
    match status {
        StatusCode::MOVED_PERMANENTLY
        | StatusCode::FOUND
        | StatusCode::SEE_OTHER
        | StatusCode::TEMPORARY_REDIRECT
        | StatusCode::PERMANENT_REDIRECT => {
            let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
            let Some(Ok(next)) = location.map(|location| url.join(location)) else {
                return failed(format!("its server redirects (status {}) to nowhere", status.as_u16()));
            };
            parse(next.as_str()).map(Some).map_err(|problem| Problem::Fetch(format!("it is redirected: {problem}")))
        }
        StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION => {
            let coding = response.headers().get(header::CONTENT_ENCODING).map(http::HeaderValue::as_bytes);
            match coding {
                None | Some(b"identity") => Ok(None),
                Some(_) => failed("its server has coded it, although it was asked not to".to_owned()),
            }
        }
        status => failed(format!("its server answers with the status {}", status.as_u16())),
    }
}

async fn body(response: Response<EgressBody>) -> Result<Bytes, Problem> {
    let mut body = response.into_body();
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(told)?.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes.freeze())
}

/// The door's words are for plugins and their operators: these are for a client, and tell nothing of the host's network.
fn told(error: EgressError) -> Problem {
    match error {
        EgressError::LimitExceeded { what: "the response's body in bytes", .. } => {
            Problem::TooLarge { what: "file", max: MAX_FILE_BYTES }
        }
        EgressError::PrivateAddress { host, port, .. } => {
            Problem::Fetch(format!("{host}:{port} is not on the public internet"))
        }
        EgressError::HostDenied { host, port, .. } | EgressError::HostNotRequested { host, port, .. } => {
            Problem::Fetch(format!("{host}:{port} is not at the port of its scheme, 80 or 443"))
        }
        error => Problem::Fetch(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_is_none_is_refused_with_why() {
        for (url, why) in [
            ("", "this is no absolute URL: "),
            ("/report.pdf", "this is no absolute URL: "),
            ("file:///etc/passwd", "a file is fetched over http or https, and not over \"file\""),
            ("data:text/plain,x", "a file is fetched over http or https, and not over \"data\""),
            ("https://me:secret@example.com/", "a URL with a user name or a password in it is not fetched"),
        ] {
            let problem = parse(url).unwrap_err();
            assert!(matches!(&problem, Problem::Url(text) if text.starts_with(why)), "{url}: {problem}");
        }
        let long = format!("https://example.com/{}", "a".repeat(MAX_URL_CHARS));
        assert!(parse(&long).is_err());
        assert_eq!(parse("https://example.com/a#b").unwrap().as_str(), "https://example.com/a");
    }
}
