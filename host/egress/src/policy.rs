//! What one plugin within one tenant may reach, and the count of what it did.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use secrecy::{ExposeSecret as _, SecretString};
use url::Host;

use crate::{EgressError, Redactor};

/// Why a text is no rule, or an injection can not be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The text is no host rule.
    #[error(
        "{0:?} is no host rule: write example.com, *.example.com (its subdomains) or * (every public host), with :port where it is not 80 or 443"
    )]
    HostRule(String),
    /// The text names no host and port.
    #[error("{0:?} is no host with a port: write 127.0.0.1:8080, [::1]:8080 or searx.lan:8080")]
    HostPort(String),
    /// The text is no method that is ever sent.
    #[error(
        "{0:?} is no method for a host: write GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS or another in capitals; CONNECT and TRACE are never sent"
    )]
    Method(String),
    /// The injection's header can not be set.
    #[error("a credential can not be put into the header {0:?}")]
    InjectionHeader(String),
    /// The value can not be sent or not be protected.
    #[error(
        "the credential for {host} must be at least {min} characters of visible ASCII: a shorter one can not be kept out of responses"
    )]
    InjectionValue {
        /// The host that it is for.
        host: String,
        /// The least length.
        min: usize,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    /// Every public host.
    Any,
    /// Every subdomain of this name, but not the name itself.
    Under(String),
    /// This host.
    Exact(Host<String>),
}

/// Which hosts a grant names: `example.com`, `*.example.com` (every subdomain of it) or `*` (every public host), each
/// with an optional port. Without one, the scheme's own: 80 for http, 443 for https.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRule {
    pattern: Pattern,
    port: Option<u16>,
}

impl HostRule {
    /// Whether the rule is this host at this port and nothing else: what an operator's exception takes.
    pub(crate) fn is_exactly(&self, host: &Host<String>, port: u16, default_port: u16) -> bool {
        matches!(self.pattern, Pattern::Exact(_)) && self.matches(host, port, default_port)
    }

    /// Whether the rule asks for this host, at whatever port where it names none.
    pub(crate) fn matches_at_any_port(&self, host: &Host<String>, port: u16) -> bool {
        self.matches(host, port, port)
    }

    /// Whether the rule allows this host at this port, reached by a scheme whose own port is `default_port`.
    pub(crate) fn matches(&self, host: &Host<String>, port: u16, default_port: u16) -> bool {
        self.port.unwrap_or(default_port) == port && self.matches_host(host)
    }

    fn matches_host(&self, host: &Host<String>) -> bool {
        match (&self.pattern, host) {
            (Pattern::Any, _) => true,
            (Pattern::Under(parent), Host::Domain(name)) => {
                name.strip_suffix(parent.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
            (Pattern::Under(_), _) => false,
            (Pattern::Exact(exact), host) => exact == host,
        }
    }
}

/// Takes the port off a host, IPv6 brackets respected.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            let port = port.parse().ok().filter(|&port| port != 0)?;
            Some((host, Some(port)))
        }
        _ => Some((text, None)),
    }
}

/// A host as a URL would have it, so that rules and requests compare equal.
pub(crate) fn parse_host(text: &str) -> Option<Host<String>> {
    let odd = text.is_empty() || text.contains(['%', '@', '/', '\\', '*']) || text.ends_with('.');
    if odd { None } else { Host::parse(text).ok() }
}

impl FromStr for HostRule {
    type Err = PolicyError;
    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let no_rule = || PolicyError::HostRule(text.chars().take(300).collect());
        let (host, port) = split_port(text).ok_or_else(no_rule)?;
        let pattern = if host == "*" {
            Pattern::Any
        } else if let Some(parent) = host.strip_prefix("*.") {
            match parse_host(parent) {
                Some(Host::Domain(parent)) => Pattern::Under(parent),
                _ => return Err(no_rule()),
            }
        } else {
            Pattern::Exact(parse_host(host).ok_or_else(no_rule)?)
        };
        Ok(Self { pattern, port })
    }
}

impl fmt::Display for HostRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.pattern {
            Pattern::Any => f.write_str("*")?,
            Pattern::Under(parent) => write!(f, "*.{parent}")?,
            Pattern::Exact(host) => write!(f, "{host}")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// The methods of an [`AllowedHost`] that names none.
const DEFAULT_METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

/// A host with the methods that belong to it: what a manifest asks for, or what a grant gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHost {
    /// Which host.
    pub rule: HostRule,
    /// Which methods. Empty: GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS.
    pub methods: Vec<Method>,
}

impl AllowedHost {
    /// A host as a manifest or a grant writes it.
    ///
    /// # Errors
    /// When the host is no rule, or a method can not be sent.
    pub fn parse(host: &str, methods: &[String]) -> Result<Self, PolicyError> {
        let methods = methods.iter().map(|method| parse_method(method)).collect::<Result<_, _>>()?;
        Ok(Self { rule: host.parse()?, methods })
    }

    pub(crate) fn has_method(&self, method: &Method) -> bool {
        if self.methods.is_empty() { DEFAULT_METHODS.contains(method) } else { self.methods.contains(method) }
    }
}

impl From<HostRule> for AllowedHost {
    /// The host with every method of the default.
    fn from(rule: HostRule) -> Self {
        Self { rule, methods: Vec::new() }
    }
}

/// Methods are told apart by case on the wire: `get` is no GET, and a rule with it would never match.
fn parse_method(text: &str) -> Result<Method, PolicyError> {
    let capitals = !text.is_empty() && text.len() <= 40 && text.bytes().all(|byte| matches!(byte, b'A'..=b'Z' | b'-'));
    let method = Method::from_bytes(text.as_bytes()).ok().filter(|method| capitals && !is_never_sent(method));
    method.ok_or_else(|| PolicyError::Method(text.chars().take(40).collect()))
}

/// CONNECT would make a tunnel of the exchange, TRACE an echo of its credentials.
pub(crate) fn is_never_sent(method: &Method) -> bool {
    *method == Method::CONNECT || *method == Method::TRACE
}

/// One host at one port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    host: Host<String>,
    port: u16,
}

impl HostPort {
    pub(crate) fn is(&self, host: &Host<String>, port: u16) -> bool {
        self.port == port && self.host == *host
    }
}

impl FromStr for HostPort {
    type Err = PolicyError;
    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let parsed = split_port(text).and_then(|(host, port)| Some(Self { host: parse_host(host)?, port: port? }));
        parsed.ok_or_else(|| PolicyError::HostPort(text.chars().take(300).collect()))
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A credential that the host puts into requests. The guest never sees it: not in its memory, not in a response, not in
/// an error.
#[derive(Debug, Clone)]
pub struct Injection {
    pub(crate) host: Host<String>,
    pub(crate) header: HeaderName,
    prefix: String,
    value: SecretString,
}

impl Injection {
    /// `value`, with `prefix` (such as `Bearer `) before it, in `header` of every request to exactly `host`.
    ///
    /// # Errors
    /// When the header belongs to the connection, or the value can not be sent or protected.
    pub fn new(host: &str, header: &str, prefix: &str, value: SecretString) -> Result<Self, PolicyError> {
        let parsed = parse_host(host).ok_or_else(|| PolicyError::HostRule(host.to_owned()))?;
        let name = HeaderName::from_bytes(header.as_bytes())
            .ok()
            .filter(|name| !crate::request::is_the_doors_header(name))
            .ok_or_else(|| PolicyError::InjectionHeader(header.to_owned()))?;
        let secret = value.expose_secret();
        let visible = |text: &str| text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if secret.len() < Redactor::MIN_SECRET_BYTES || !visible(secret) || !visible(prefix) {
            return Err(PolicyError::InjectionValue { host: host.to_owned(), min: Redactor::MIN_SECRET_BYTES });
        }
        Ok(Self { host: parsed, header: name, prefix: prefix.to_owned(), value })
    }

    /// The header's value, marked as sensitive so that no log of the HTTP library shows it.
    pub(crate) fn header_value(&self) -> Result<HeaderValue, EgressError> {
        let text = format!("{}{}", self.prefix, self.value.expose_secret());
        let mut value = HeaderValue::try_from(text)
            .map_err(|_| EgressError::InvalidRequest(format!("the credential for {} is no header value", self.host)))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// The bounds of a policy. None can be switched off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Requests of one meter.
    pub max_requests: u64,
    /// The body of one request.
    pub max_request_bytes: u64,
    /// The body of one response, as it comes over the wire.
    pub max_response_bytes: u64,
    /// All requests and responses of one meter together, as they are on the wire, TLS aside.
    pub max_total_bytes: u64,
    /// Headers of a request, and of a response.
    pub max_headers: usize,
    /// Names and values of all headers of a request, and of a response.
    pub max_header_bytes: usize,
    /// Resolving, connecting and the TLS handshake.
    pub connect_timeout: Duration,
    /// The whole exchange, to the last byte of the response.
    pub total_timeout: Duration,
}

impl Default for Limits {
    /// Enough for a page or an API's answer, not for a mirror of a site.
    fn default() -> Self {
        Self {
            max_requests: 32,
            max_request_bytes: 1 << 20,
            max_response_bytes: 8 << 20,
            max_total_bytes: 32 << 20,
            max_headers: 100,
            max_header_bytes: 32 << 10,
            connect_timeout: Duration::from_secs(10),
            total_timeout: Duration::from_secs(30),
        }
    }
}

/// What may be reached, how often, how much, and with which credentials. The default allows nothing. A request is sent
/// when it is asked for *and* granted, each with its method.
#[derive(Debug, Clone, Default)]
pub struct EgressPolicy {
    /// What the plugin's manifest asks for.
    pub requested: Vec<AllowedHost>,
    /// What the operator has granted.
    pub granted: Vec<AllowedHost>,
    /// The operator's exceptions: these hosts at these ports may be reached although their addresses are not public, and
    /// by plain http with a credential. An exception grants nothing by itself: the host must be asked for, and must stand
    /// in `granted` by its own name and port. A wildcard there means public hosts, and does not reach an exception.
    pub dangerously_allow_private_addresses: Vec<HostPort>,
    /// The bounds.
    pub limits: Limits,
    /// The credentials.
    pub injections: Vec<Injection>,
}

impl EgressPolicy {
    /// Masks every credential, also those of other hosts: two hosts may be one server.
    pub(crate) fn redactor(&self) -> Redactor {
        Redactor::new(self.injections.iter().map(|injection| &injection.value))
    }

    pub(crate) fn is_exception(&self, host: &Host<String>, port: u16) -> bool {
        self.dangerously_allow_private_addresses.iter().any(|exception| exception.is(host, port))
    }
}

#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
    total_bytes: AtomicU64,
}

/// Counts what goes through the door, for whoever pays: one per tool call, or one per run. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<Counts>);

/// What a meter has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Requests that were sent or tried; denied ones are not among them.
    pub requests: u64,
    /// Requests on the wire, TLS aside.
    pub sent_bytes: u64,
    /// Responses on the wire, TLS aside.
    pub received_bytes: u64,
}

impl Meter {
    /// What has been counted so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        Traffic {
            requests: self.0.requests.load(Ordering::Relaxed),
            sent_bytes: self.0.sent_bytes.load(Ordering::Relaxed),
            received_bytes: self.0.received_bytes.load(Ordering::Relaxed),
        }
    }

    /// Counts one request, if there may be one more and there are bytes left for it.
    pub(crate) fn take_request(&self, limits: &Limits) -> Result<(), EgressError> {
        if self.0.total_bytes.load(Ordering::Relaxed) >= limits.max_total_bytes {
            return Err(too_many_bytes(limits.max_total_bytes));
        }
        let max = limits.max_requests;
        self.0
            .requests
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count < max).then_some(count + 1))
            .map(|_| ())
            .map_err(|_| EgressError::LimitExceeded { what: "the number of requests", max })
    }

    /// Counts what is about to be sent, if the total allows it.
    pub(crate) fn send(&self, bytes: usize, max_total: u64) -> Result<(), EgressError> {
        self.take_bytes(&self.0.sent_bytes, bytes, max_total)
    }

    /// Takes back what was counted and not sent after all.
    pub(crate) fn give_back_sent(&self, bytes: usize) {
        self.0.sent_bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
        self.0.total_bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    /// Counts what has come and is about to be handed on, if the total allows it.
    pub(crate) fn receive(&self, bytes: usize, max_total: u64) -> Result<(), EgressError> {
        self.take_bytes(&self.0.received_bytes, bytes, max_total)
    }

    /// The total is a count of its own, so that two exchanges at once can not both take the last bytes.
    fn take_bytes(&self, way: &AtomicU64, bytes: usize, max: u64) -> Result<(), EgressError> {
        let bytes = bytes as u64;
        self.0
            .total_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |total| {
                total.checked_add(bytes).filter(|&total| total <= max)
            })
            .map_err(|_| too_many_bytes(max))?;
        way.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }
}

fn too_many_bytes(max: u64) -> EgressError {
    EgressError::LimitExceeded { what: "the size of all requests and responses together in bytes", max }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(rule: &str, host: &str, port: u16) -> bool {
        rule.parse::<HostRule>().unwrap().matches(&parse_host(host).unwrap(), port, 443)
    }

    #[test]
    fn a_rule_allows_what_it_names_and_nothing_else() {
        for (rule, host, port, expected) in [
            ("example.com", "example.com", 443, true),
            ("example.com", "EXAMPLE.com", 443, true),
            ("example.com", "example.com", 8443, false),
            ("example.com:8443", "example.com", 8443, true),
            ("example.com:8443", "example.com", 443, false),
            ("example.com", "www.example.com", 443, false),
            ("example.com", "badexample.com", 443, false),
            ("*.example.com", "www.example.com", 443, true),
            ("*.example.com", "a.b.example.com", 443, true),
            ("*.example.com", "example.com", 443, false),
            ("*.example.com", "badexample.com", 443, false),
            ("*", "anything.org", 443, true),
            ("*", "anything.org", 22, false),
            ("*:8080", "anything.org", 8080, true),
            ("127.0.0.1", "2130706433", 443, true),
            ("[::1]:9000", "[0:0:0:0:0:0:0:1]", 9000, true),
        ] {
            assert_eq!(allows(rule, host, port), expected, "{rule} {host}:{port}");
        }
    }

    #[test]
    fn a_text_that_is_no_rule_is_refused_with_what_would_be_one() {
        for bad in [
            "",
            "*.",
            "*.*",
            "a*b",
            "exam ple.com",
            "http://example.com",
            "example.com:0",
            "example.com:x",
            "a@b",
            "*.127.0.0.1",
        ] {
            assert!(bad.parse::<HostRule>().is_err(), "{bad:?}");
        }
        assert!("localhost".parse::<HostPort>().is_err());
    }

    #[test]
    fn a_rule_is_written_as_it_is_read() {
        for text in ["*", "*:8080", "*.example.com", "example.com:8443", "[::1]:80"] {
            assert_eq!(text.parse::<HostRule>().unwrap().to_string(), text);
        }
        assert_eq!("[::1]:80".parse::<HostPort>().unwrap().to_string(), "[::1]:80");
    }

    #[test]
    fn a_method_that_could_never_match_is_refused() {
        for bad in ["", "get", "CONNECT", "TRACE", "GET ", "G\u{e9}T", &"A".repeat(41)] {
            assert!(AllowedHost::parse("example.com", &[bad.to_owned()]).is_err(), "{bad:?}");
        }
        assert_eq!(AllowedHost::parse("example.com", &["M-SEARCH".to_owned()]).unwrap().methods.len(), 1);
    }

    #[test]
    fn an_injection_never_shows_its_value() {
        let injection = Injection::new("api.example.com", "authorization", "Bearer ", "s3cret-value".into()).unwrap();
        assert!(!format!("{injection:?}").contains("s3cret-value"));
        let short = Injection::new("api.example.com", "authorization", "", "hunter2".into()).unwrap_err();
        assert!(!short.to_string().contains("hunter2"));
        for header in ["Host", "Content-Length", "Accept-Encoding", "Range", "Transfer-Encoding", "no header"] {
            assert!(Injection::new("api.example.com", header, "", "long-enough-value".into()).is_err(), "{header}");
        }
    }

    #[test]
    fn a_meter_stops_at_its_bound_and_its_clones_count_with_it() {
        let meter = Meter::default();
        let two = Limits { max_requests: 2, ..Limits::default() };
        assert_eq!(meter.clone().take_request(&two), Ok(()));
        assert_eq!(meter.take_request(&two), Ok(()));
        assert!(meter.take_request(&two).is_err());
        assert_eq!(meter.traffic().requests, 2);
    }
}
