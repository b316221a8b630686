//! HTTP over `wasi:http`: one request, one answer, a bound on the body. The host checks each request against the plugin's
//! grant, and follows no redirect by itself: [`get_following`] does, one guarded request for each hop.

use std::fmt;

pub use url::Url;

use crate::tool::ToolError;

/// A request method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `POST`
    Post,
}

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Where to; `http` or `https`.
    pub url: Url,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The body; empty for none.
    pub body: Vec<u8>,
    /// How long to wait for the connection, for the answer's head, and between two pieces of its body, each.
    pub timeout_ms: u32,
    /// How much of the answer's body to read.
    pub max_body_bytes: usize,
}

impl Request {
    /// A `GET` with a timeout of 20 s and at most 8 MiB of body.
    #[must_use]
    pub fn get(url: Url) -> Self {
        Self {
            method: Method::Get,
            url,
            headers: Vec::new(),
            body: Vec::new(),
            timeout_ms: 20_000,
            max_body_bytes: 8 * 1024 * 1024,
        }
    }

    /// A `POST` of JSON, with the bounds of [`Request::get`].
    #[must_use]
    pub fn post_json(url: Url, body: Vec<u8>) -> Self {
        Self { method: Method::Post, body, ..Self::get(url) }.header("content-type", "application/json")
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// The URL that answered.
    pub url: Url,
    /// The status.
    pub status: u16,
    /// Names, in lower case, and values.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, up to the request's bound.
    pub body: Vec<u8>,
    /// There was more of the body.
    pub truncated: bool,
}

impl Response {
    /// The first value of a header, by its name in lower case, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(candidate, _)| candidate == name)?;
        std::str::from_utf8(value).ok()
    }

    fn redirects_to(&self) -> Option<&str> {
        matches!(self.status, 301 | 302 | 303 | 307 | 308).then(|| self.header("location")).flatten()
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpError {
    /// The host's grants do not allow the request, or the address is not a public one.
    Denied(String),
    /// The URL is none that can be asked.
    InvalidUrl(String),
    /// The server did not answer, or broke off.
    Unavailable(String),
    /// Redirects without end.
    TooManyRedirects(String),
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(why) | Self::InvalidUrl(why) | Self::Unavailable(why) | Self::TooManyRedirects(why) => {
                f.write_str(why)
            }
        }
    }
}

impl std::error::Error for HttpError {}

impl From<HttpError> for ToolError {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Denied(why) => Self::Denied(why),
            HttpError::InvalidUrl(why) => Self::InvalidArguments(why),
            HttpError::Unavailable(why) => Self::Unavailable(why),
            HttpError::TooManyRedirects(why) => Self::Failed(why),
        }
    }
}

/// Who carries requests: the host ([`Live`]), or a script in a test.
pub trait Client {
    /// Sends one request and reads its answer.
    ///
    /// # Errors
    /// When there is no answer. A status of 400 or more is an answer.
    fn send(&mut self, request: &Request) -> Result<Response, HttpError>;
}

impl<F: FnMut(&Request) -> Result<Response, HttpError>> Client for F {
    fn send(&mut self, request: &Request) -> Result<Response, HttpError> {
        self(request)
    }
}

/// Reads a URL that somebody wrote.
///
/// # Errors
/// When it is not an absolute `http` or `https` URL, or carries a user name or a password.
pub fn parse_url(text: &str) -> Result<Url, HttpError> {
    let invalid = |why: &str| HttpError::InvalidUrl(format!("{text:?} {why}: give an absolute http or https URL"));
    let url = Url::parse(text.trim()).map_err(|_| invalid("is not a URL"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(invalid("has a scheme that can not be fetched"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("carries a user name or a password"));
    }
    Ok(url)
}

/// A `GET` that follows up to `max_redirects` redirects, each as a new request that the host checks anew.
///
/// # Errors
/// When a hop gives no answer, points to something that is no URL, or there are more hops than allowed.
pub fn get_following(
    client: &mut impl Client,
    mut request: Request,
    max_redirects: usize,
) -> Result<Response, HttpError> {
    for _ in 0..=max_redirects {
        let response = client.send(&request)?;
        let Some(target) = response.redirects_to() else { return Ok(response) };
        let target = request.url.join(target).map_err(|_| {
            HttpError::InvalidUrl(format!("{} redirects to {target:?}, which is not a URL", request.url))
        })?;
        request.url = parse_url(target.as_str())?;
    }
    Err(HttpError::TooManyRedirects(format!(
        "there are more than {max_redirects} redirects, the last to {}",
        request.url
    )))
}

pub use live::Live;

mod live {
    use super::{Client, HttpError, Method, Request, Response};
    use crate::bindings::tool::wasi::http::outgoing_handler::handle;
    use crate::bindings::tool::wasi::http::types as wasi;
    use crate::bindings::tool::wasi::io::streams::StreamError;

    const READ_BYTES: u64 = 64 * 1024;

    /// The host's guarded HTTP.
    #[derive(Debug, Clone, Copy)]
    pub struct Live;

    impl Client for Live {
        fn send(&mut self, request: &Request) -> Result<Response, HttpError> {
            let unavailable = |what: &str| HttpError::Unavailable(format!("{} {what}", request.url));
            let (outgoing, body) = outgoing(request)?;
            let future = handle(outgoing, Some(options(request.timeout_ms))).map_err(|code| explain(request, code))?;
            if let Some(body) = body {
                send_body(body, &request.body).map_err(|()| unavailable("did not take the request's body"))?;
            }
            future.subscribe().block();
            let incoming = match future.get() {
                Some(Ok(answer)) => answer.map_err(|code| explain(request, code))?,
                Some(Err(())) | None => return Err(unavailable("gave no answer")),
            };
            read(request, incoming)
        }
    }

    fn outgoing(request: &Request) -> Result<(wasi::OutgoingRequest, Option<wasi::OutgoingBody>), HttpError> {
        let invalid = |what: &str| HttpError::InvalidUrl(format!("{}: the {what} can not be sent", request.url));
        let fields: Vec<_> =
            request.headers.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes())).collect();
        let fields = wasi::Fields::from_list(&fields).map_err(|_| invalid("headers"))?;
        let outgoing = wasi::OutgoingRequest::new(fields);
        let method = match request.method {
            Method::Get => wasi::Method::Get,
            Method::Post => wasi::Method::Post,
        };
        let scheme = match request.url.scheme() {
            "http" => wasi::Scheme::Http,
            _ => wasi::Scheme::Https,
        };
        let path = match request.url.query() {
            Some(query) => format!("{}?{query}", request.url.path()),
            None => request.url.path().to_owned(),
        };
        outgoing.set_method(&method).map_err(|()| invalid("method"))?;
        outgoing.set_scheme(Some(&scheme)).map_err(|()| invalid("scheme"))?;
        outgoing.set_authority(Some(request.url.authority())).map_err(|()| invalid("host"))?;
        outgoing.set_path_with_query(Some(&path)).map_err(|()| invalid("path"))?;
        if request.body.is_empty() {
            return Ok((outgoing, None));
        }
        let body = outgoing.body().map_err(|()| invalid("body"))?;
        Ok((outgoing, Some(body)))
    }

    fn options(timeout_ms: u32) -> wasi::RequestOptions {
        let options = wasi::RequestOptions::new();
        let nanoseconds = Some(u64::from(timeout_ms) * 1_000_000);
        // A host that can not keep one of these times still ends the whole call at its deadline.
        let _ = options.set_connect_timeout(nanoseconds);
        let _ = options.set_first_byte_timeout(nanoseconds);
        let _ = options.set_between_bytes_timeout(nanoseconds);
        options
    }

    fn send_body(body: wasi::OutgoingBody, bytes: &[u8]) -> Result<(), ()> {
        let stream = body.write()?;
        // The contract of `blocking-write-and-flush`: at most 4096 bytes at once.
        for chunk in bytes.chunks(4096) {
            stream.blocking_write_and_flush(chunk).map_err(drop)?;
        }
        // A child of the body: gone before it.
        drop(stream);
        wasi::OutgoingBody::finish(body, None).map_err(drop)
    }

    fn read(request: &Request, incoming: wasi::IncomingResponse) -> Result<Response, HttpError> {
        let broken = || HttpError::Unavailable(format!("{} broke off in the middle of its answer", request.url));
        let status = incoming.status();
        let headers =
            incoming.headers().entries().into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect();
        let incoming_body = incoming.consume().map_err(|()| broken())?;
        let stream = incoming_body.stream().map_err(|()| broken())?;
        let mut body = Vec::new();
        let mut truncated = false;
        while !truncated {
            match stream.blocking_read(READ_BYTES) {
                Ok(mut bytes) => {
                    let room = request.max_body_bytes.saturating_sub(body.len());
                    truncated = bytes.len() > room;
                    bytes.truncate(room);
                    body.append(&mut bytes);
                }
                Err(StreamError::Closed) => break,
                Err(StreamError::LastOperationFailed(_)) => return Err(broken()),
            }
        }
        Ok(Response { url: request.url.clone(), status, headers, body, truncated })
    }

    fn explain(request: &Request, code: wasi::ErrorCode) -> HttpError {
        use wasi::ErrorCode as Code;
        let host = request.url.host_str().unwrap_or_default();
        match code {
            Code::HttpRequestDenied => {
                HttpError::Denied(format!("this plugin may not reach {host}: an operator has to grant that host to it"))
            }
            Code::DestinationIpProhibited | Code::DestinationIpUnroutable => HttpError::Denied(format!(
                "{host} has no public address, and no operator has granted this plugin a private one"
            )),
            Code::DnsError(_) | Code::DnsTimeout | Code::DestinationNotFound => {
                HttpError::Unavailable(format!("the name {host} can not be resolved"))
            }
            Code::ConnectionTimeout
            | Code::ConnectionReadTimeout
            | Code::ConnectionWriteTimeout
            | Code::HttpResponseTimeout => HttpError::Unavailable(format!("{host} did not answer in time")),
            Code::HttpRequestUriInvalid | Code::HttpRequestUriTooLong => {
                HttpError::InvalidUrl(format!("{} is not a URL that can be asked", request.url))
            }
            Code::InternalError(Some(why)) => HttpError::Unavailable(format!("{host} can not be reached: {why}")),
            other => HttpError::Unavailable(format!("{host} can not be reached ({other:?})")),
        }
    }
}
