//! From a guest's wish to a request: everything that goes on the wire is built here, from parts that were checked.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{PathAndQuery, Uri};
use http::{Method, Request};
use url::{Host, Url};

use crate::address::is_internal_name;
use crate::policy::is_never_sent;
use crate::{AllowedHost, EgressError, EgressPolicy, HostRule};

/// Where a request goes, as the policy has allowed it.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) host: Host<String>,
    pub(crate) port: u16,
    pub(crate) tls: bool,
    /// The operator has said that its addresses need not be public.
    pub(crate) may_be_private: bool,
}

impl Target {
    pub(crate) fn name(&self) -> String {
        self.host.to_string()
    }
}

/// A request that may be sent.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) target: Target,
    /// Origin form, with a `Host` of our own and the credentials in place.
    pub(crate) request: Request<()>,
    /// A credential is in it.
    pub(crate) credentialed: bool,
}

/// Headers that belong to one connection or to the way there: ours alone to set.
pub(crate) fn is_forbidden_header(name: &HeaderName) -> bool {
    const FORBIDDEN: [&str; 12] = [
        "connection",
        "expect",
        "forwarded",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
    ];
    let name = name.as_str();
    FORBIDDEN.contains(&name) || name.starts_with("proxy-") || name.starts_with("x-forwarded-")
}

/// Headers that a credential can not go into: the door writes them itself, or takes them out.
pub(crate) fn is_the_doors_header(name: &HeaderName) -> bool {
    is_forbidden_header(name)
        || *name == header::CONTENT_LENGTH
        || *name == header::ACCEPT_ENCODING
        || HEADERS_THAT_CHANGE_HOW_AN_ANSWER_READS.contains(&name.as_str())
}

fn invalid(reason: impl Into<String>) -> EgressError {
    EgressError::InvalidRequest(reason.into())
}

/// Checks a request against a policy and builds the one that may be sent.
pub(crate) fn check(head: &http::request::Parts, policy: &EgressPolicy) -> Result<Checked, EgressError> {
    let (mut target, authority) = target(&head.uri)?;
    target.may_be_private = allow(&target, &authority, &head.method, policy)?;
    let mut headers = guest_headers(head, policy)?;
    let credentialed = inject(&mut headers, &target, policy)?;
    let host = HeaderValue::try_from(&authority).map_err(|_| invalid("its host is no header value"))?;
    headers.insert(header::HOST, host);

    let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    if !path.as_str().starts_with('/') {
        return Err(invalid("its path must start with a slash"));
    }
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = Uri::from(path);
    *request.headers_mut() = headers;
    Ok(Checked { target, request, credentialed })
}

/// The host, as a URL parser reads it (so that `0x7f.1` is 127.0.0.1 before anything is compared), and the authority as
/// it goes into `Host`.
fn target(uri: &Uri) -> Result<(Target, String), EgressError> {
    let (tls, default_port) = match uri.scheme_str() {
        Some("http") => (false, 80),
        Some("https") => (true, 443),
        Some(other) => return Err(invalid(format!("its scheme must be http or https, not {other:?}"))),
        None => return Err(invalid("it has no scheme: write the whole URL")),
    };
    let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    if authority.contains('@') {
        return Err(invalid(
            "its URL holds a user name: credentials are granted by the operator, not written into URLs",
        ));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    if authority.is_empty() || !authority.bytes().all(plain) {
        return Err(invalid(format!("{authority:?} is no host")));
    }
    let scheme = if tls { "https" } else { "http" };
    let no_host = || invalid(format!("{authority:?} is no host"));
    let url = Url::parse(&format!("{scheme}://{authority}/")).map_err(|_| no_host())?;
    let host = url.host().ok_or_else(no_host)?.to_owned();
    let port = url.port_or_known_default().filter(|&port| port != 0).ok_or_else(no_host)?;
    if matches!(&host, Host::Domain(name) if name.ends_with('.') || name.len() > 253) {
        return Err(no_host());
    }

    let authority = if port == default_port { host.to_string() } else { format!("{host}:{port}") };
    Ok((Target { host, port, tls, may_be_private: false }, authority))
}

/// Whether the target and the method are asked for and granted, and if so, whether the target's addresses may be private.
fn allow(target: &Target, authority: &str, method: &Method, policy: &EgressPolicy) -> Result<bool, EgressError> {
    if is_never_sent(method) {
        return Err(invalid(format!("the method {method} is never sent")));
    }
    let Target { host, port, tls, .. } = target;
    let (port, default_port) = (*port, if *tls { 443 } else { 80 });
    let exception = policy.is_exception(host, port);
    // An operator who names a host with its port twice, as a grant and as an exception, means it: a manifest that asks for
    // the host without a port, or for every host, has asked.
    let asks =
        |rule: &HostRule| rule.matches(host, port, default_port) || (exception && rule.matches_at_any_port(host, port));
    let allows = |rule: &HostRule| match exception {
        true => rule.is_exactly(host, port, default_port),
        false => rule.matches(host, port, default_port),
    };
    // A method is a guest's text: it may be long.
    let shown = || method.as_str().chars().take(40).collect::<String>();
    let (name, rule) = (host.to_string(), authority.to_owned());
    match has_method(&policy.requested, asks, method) {
        None => return Err(EgressError::HostNotRequested { host: name, port, rule }),
        Some(false) => return Err(EgressError::MethodNotRequested { method: shown(), rule }),
        Some(true) => {}
    }
    match has_method(&policy.granted, allows, method) {
        None => return Err(EgressError::HostDenied { host: name, port, grant: rule }),
        Some(false) => return Err(EgressError::MethodDenied { method: shown(), grant: rule }),
        Some(true) => {}
    }
    match host {
        Host::Domain(name) if !exception && is_internal_name(name) => {
            let why = "it is a name of this machine, its network or a cloud's metadata service".to_owned();
            Err(EgressError::PrivateAddress { host: name.clone(), port, why, address: None })
        }
        _ => Ok(exception),
    }
}

/// Whether one of the hosts that match has the method; none where no host matches.
fn has_method(hosts: &[AllowedHost], matches: impl Fn(&HostRule) -> bool, method: &Method) -> Option<bool> {
    hosts
        .iter()
        .filter(|host| matches(&host.rule))
        .map(|host| host.has_method(method))
        .reduce(|one, other| one || other)
}

/// The guest's headers, each checked. `Host` is dropped when it says what the URL says.
fn guest_headers(head: &http::request::Parts, policy: &EgressPolicy) -> Result<HeaderMap, EgressError> {
    let limits = &policy.limits;
    if head.headers.len() > limits.max_headers {
        return Err(EgressError::LimitExceeded {
            what: "the number of the request's headers",
            max: limits.max_headers as u64,
        });
    }
    let target_bytes = head.uri.path_and_query().map_or(0, |path| path.as_str().len());
    if target_bytes + header_bytes(&head.headers) > limits.max_header_bytes {
        let what = "the size of the request's URL and headers in bytes";
        return Err(EgressError::LimitExceeded { what, max: limits.max_header_bytes as u64 });
    }
    let authority = head.uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    let mut headers = HeaderMap::with_capacity(head.headers.len() + 2);
    for (name, value) in &head.headers {
        if name == header::HOST {
            if !value.as_bytes().eq_ignore_ascii_case(authority.as_bytes()) {
                return Err(invalid(format!("its Host header names another host than its URL, {authority:?}")));
            }
        } else if name == header::CONTENT_LENGTH {
            content_length(value, &headers, limits.max_request_bytes)?;
            headers.append(name, value.clone());
        } else if is_forbidden_header(name) {
            return Err(invalid(format!("the header {name} belongs to the connection and is the host's to set")));
        } else {
            headers.append(name, value.clone());
        }
    }
    Ok(headers)
}

/// One length, of digits only, within the bound. That the body keeps to it, the HTTP library sees to.
fn content_length(value: &HeaderValue, earlier: &HeaderMap, max: u64) -> Result<(), EgressError> {
    let text = value.to_str().unwrap_or_default();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let length = text.parse::<u64>().ok().filter(|_| digits && !earlier.contains_key(header::CONTENT_LENGTH));
    match length {
        None => Err(invalid("its Content-Length must be one number")),
        Some(length) if length > max => Err(EgressError::LimitExceeded { what: "the request's body in bytes", max }),
        Some(_) => Ok(()),
    }
}

/// Puts the credentials for the target's host in, over whatever the guest wrote there; whether there are any.
fn inject(headers: &mut HeaderMap, target: &Target, policy: &EgressPolicy) -> Result<bool, EgressError> {
    let mut injected = false;
    for injection in policy.injections.iter().filter(|injection| injection.host == target.host) {
        if !target.tls && !target.may_be_private {
            return Err(EgressError::CredentialInTheClear { host: target.name() });
        }
        headers.insert(injection.header.clone(), injection.header_value()?);
        injected = true;
    }
    if injected {
        // The secret can be masked only in a whole response whose bytes are readable: no coding, no pieces.
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        for name in HEADERS_THAT_CHANGE_HOW_AN_ANSWER_READS {
            headers.remove(name);
        }
    }
    Ok(injected)
}

/// `Request-Range` is what `Range` was once, and some servers still take it. A character set of two bytes hides a secret
/// as well as a coding does.
const HEADERS_THAT_CHANGE_HOW_AN_ANSWER_READS: [&str; 5] =
    ["range", "if-range", "request-range", "accept-charset", "a-im"];

/// Names and values, and the four bytes between and after them.
pub(crate) fn header_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Injection, Limits};

    fn policy() -> EgressPolicy {
        let all = vec![AllowedHost::parse("*", &[]).unwrap()];
        EgressPolicy { requested: all.clone(), granted: all, ..EgressPolicy::default() }
    }

    fn head(url: &str) -> http::request::Parts {
        Request::get(url).body(()).unwrap().into_parts().0
    }

    fn with_header(name: &'static str, value: &'static str) -> Result<Checked, EgressError> {
        let mut head = head("https://example.com/");
        head.headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        check(&head, &policy())
    }

    #[test]
    fn each_spelling_of_a_host_is_read_as_the_url_standard_reads_it() {
        for (url, host) in [
            ("http://2130706433/", "127.0.0.1"),
            ("http://0x7f000001/", "127.0.0.1"),
            ("http://0x7f.1/", "127.0.0.1"),
            ("http://0177.0.0.1/", "127.0.0.1"),
            ("http://127.1/", "127.0.0.1"),
            ("http://0/", "0.0.0.0"),
            ("http://[::ffff:127.0.0.1]/", "[::ffff:7f00:1]"),
            ("http://EXAMPLE.com/", "example.com"),
        ] {
            assert_eq!(check(&head(url), &policy()).unwrap().target.name(), host, "{url}");
        }
    }

    #[test]
    fn a_url_with_a_trick_in_it_is_refused() {
        for url in [
            "ftp://example.com/",
            "file://example.com/etc/passwd",
            "http://user@example.com/",
            "http://example.com@127.0.0.1/",
            "http://example.com./",
            "http://example.com:0/",
            "http://[fe80::1%25eth0]/",
            "http://exa%6dple.com/",
            "http://256.0.0.1/",
            "/only/a/path",
        ] {
            let Ok(request) = Request::get(url).body(()) else { continue };
            let refused = check(&request.into_parts().0, &policy());
            assert!(matches!(refused, Err(EgressError::InvalidRequest(_))), "{url}: {refused:?}");
        }
    }

    #[test]
    fn a_user_name_in_a_url_is_refused_with_where_credentials_come_from() {
        let refused = check(&head("http://user:pass@example.com/"), &policy()).unwrap_err().to_string();
        assert!(refused.contains("credentials are granted by the operator") && !refused.contains("pass"), "{refused}");
    }

    #[test]
    fn internal_names_are_refused_before_anything_is_resolved() {
        for url in ["http://localhost/", "http://metadata.google.internal/", "http://printer.local/"] {
            let refused = check(&head(url), &policy());
            assert!(matches!(refused, Err(EgressError::PrivateAddress { address: None, .. })), "{url}: {refused:?}");
        }
    }

    fn hosts(rules: &[(&str, &[&str])]) -> Vec<AllowedHost> {
        let methods = |methods: &[&str]| methods.iter().map(|&method| method.to_owned()).collect::<Vec<_>>();
        rules.iter().map(|(rule, allowed)| AllowedHost::parse(rule, &methods(allowed)).unwrap()).collect()
    }

    type Rules<'a> = &'a [(&'a str, &'a [&'a str])];

    fn refused(url: &str, requested: Rules<'_>, granted: Rules<'_>) -> String {
        let policy = EgressPolicy { requested: hosts(requested), granted: hosts(granted), ..EgressPolicy::default() };
        let error = check(&head(url), &policy).unwrap_err();
        assert!(error.is_denial(), "{error}");
        error.to_string()
    }

    #[test]
    fn a_denial_names_the_side_that_did_not_allow_it_and_what_would() {
        let url = "https://example.com:8443/";
        let all: Rules<'_> = &[("*:8443", &[])];
        insta::assert_snapshot!(refused(url, &[], all), @r#"the plugin's manifest does not ask for example.com:8443; add "example.com:8443" to requests.hosts and install a new version"#);
        insta::assert_snapshot!(refused(url, all, &[]), @r#"example.com:8443 is not granted; a grant of the host "example.com:8443" would allow it"#);
        insta::assert_snapshot!(refused(url, &[("example.com:8443", &["HEAD"])], all), @r#"the plugin's manifest does not ask for the method GET for example.com:8443; add it to the methods of "example.com:8443" in requests.hosts and install a new version"#);
        insta::assert_snapshot!(refused(url, all, &[("example.com:8443", &["HEAD"]), ("other.com:8443", &["GET"])]), @r#"the method GET is not granted for example.com:8443; a grant of the host "example.com:8443" with the method "GET" would allow it"#);
        insta::assert_snapshot!(refused("http://metadata.google.internal/", &[("*", &[])], &[("*", &[])]), @r#"metadata.google.internal:80 is not on the public internet (it is a name of this machine, its network or a cloud's metadata service); only an operator can allow it, with a grant of the host "metadata.google.internal:80" and dangerously_allow_private_addresses = ["metadata.google.internal:80"]"#);
    }

    #[test]
    fn methods_belong_to_their_host_and_to_both_lists() {
        let requested = hosts(&[("a.com", &["GET", "POST"]), ("b.com", &["GET"]), ("c.com", &[])]);
        let granted = hosts(&[("a.com", &["GET"]), ("*", &["POST"]), ("b.com", &[]), ("c.com", &["PURGE", "PUT"])]);
        let policy = EgressPolicy { requested, granted, ..EgressPolicy::default() };
        for (method, host, allowed) in [
            ("GET", "a.com", true),
            ("POST", "a.com", true),
            ("PUT", "a.com", false),
            ("GET", "b.com", true),
            ("POST", "b.com", false),
            ("PUT", "c.com", true),
            ("PURGE", "c.com", false),
            ("get", "b.com", false),
        ] {
            let mut head = head(&format!("https://{host}/"));
            head.method = method.parse().unwrap();
            let checked = check(&head, &policy);
            assert_eq!(checked.is_ok(), allowed, "{method} {host}: {checked:?}");
        }
    }

    #[test]
    fn an_exception_is_asked_for_and_granted_by_name_and_port() {
        let url = "http://127.0.0.1:8080/";
        let place = "127.0.0.1:8080";
        for (requested, granted, excepted, allowed) in [
            (place, place, Some(place), true),
            // A manifest that asks for the host at any port, or for every host, has asked.
            ("127.0.0.1", place, Some(place), true),
            ("*", place, Some(place), true),
            ("*:9090", place, Some(place), false),
            ("other.com", place, Some(place), false),
            // An operator says which.
            (place, "*", Some(place), false),
            (place, "*:8080", Some(place), false),
            (place, "127.0.0.1", Some(place), false),
            (place, "other.com", Some(place), false),
            // Without the exception, none of its leniency.
            ("127.0.0.1", place, None, false),
            (place, place, Some("127.0.0.1:9090"), true),
        ] {
            let one = |rule| hosts(&[(rule, &[])]);
            let dangerously_allow_private_addresses = excepted.iter().map(|place| place.parse().unwrap()).collect();
            let policy = EgressPolicy {
                requested: one(requested),
                granted: one(granted),
                dangerously_allow_private_addresses,
                ..EgressPolicy::default()
            };
            let checked = check(&head(url), &policy);
            assert_eq!(checked.is_ok(), allowed, "{requested} {granted} {excepted:?}: {checked:?}");
            let private = checked.is_ok_and(|checked| checked.target.may_be_private);
            assert_eq!(private, allowed && excepted == Some(place), "{requested} {granted} {excepted:?}");
        }
    }

    #[test]
    fn a_tunnel_and_an_echo_of_the_request_are_never_asked_for() {
        for method in ["CONNECT", "TRACE"] {
            assert!(AllowedHost::parse("example.com", &[method.to_owned()]).is_err());
            let mut everything = AllowedHost::parse("*", &[]).unwrap();
            everything.methods = vec![method.parse().unwrap()];
            let all = vec![everything];
            let policy = EgressPolicy { requested: all.clone(), granted: all, ..EgressPolicy::default() };
            let mut head = head("https://example.com/");
            head.method = method.parse().unwrap();
            assert!(matches!(check(&head, &policy), Err(EgressError::InvalidRequest(_))), "{method}");
        }
    }

    #[test]
    fn headers_of_the_connection_are_the_hosts_to_set() {
        for name in [
            "connection",
            "keep-alive",
            "proxy-authorization",
            "proxy-connection",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
            "expect",
            "x-forwarded-for",
            "forwarded",
            "via",
            "http2-settings",
        ] {
            assert!(matches!(with_header(name, "x"), Err(EgressError::InvalidRequest(_))), "{name}");
        }
    }

    #[test]
    fn host_spoofing_is_refused_and_an_honest_host_is_written_anew() {
        assert!(matches!(with_header("host", "internal.example"), Err(EgressError::InvalidRequest(_))));
        let checked = with_header("host", "EXAMPLE.com").unwrap();
        let hosts: Vec<_> = checked.request.headers().get_all("host").iter().collect();
        assert_eq!(hosts, ["example.com"]);
    }

    #[test]
    fn a_content_length_that_could_smuggle_is_refused() {
        for bad in ["+5", "5, 5", "-1", "", "99999999999999999999", "0x10"] {
            assert!(with_header("content-length", bad).is_err(), "{bad:?}");
        }
        let mut twice = head("https://example.com/");
        twice.headers.append("content-length", HeaderValue::from_static("5"));
        twice.headers.append("content-length", HeaderValue::from_static("5"));
        assert!(check(&twice, &policy()).is_err());
    }

    #[test]
    fn a_flood_of_headers_is_refused() {
        let limits = Limits { max_headers: 2, max_header_bytes: 100, ..Limits::default() };
        let policy = EgressPolicy { limits, ..policy() };
        let mut many = head("https://example.com/");
        for name in ["a", "b", "c"] {
            many.headers.append(HeaderName::from_static(name), HeaderValue::from_static("1"));
        }
        assert!(matches!(check(&many, &policy), Err(EgressError::LimitExceeded { max: 2, .. })));
        let long = head(&format!("https://example.com/{}", "x".repeat(101)));
        assert!(matches!(check(&long, &policy), Err(EgressError::LimitExceeded { max: 100, .. })));
    }

    #[test]
    fn a_credential_goes_to_its_host_alone_and_never_in_the_clear() {
        let injection = Injection::new("api.example.com", "authorization", "Bearer ", "s3cret-value".into()).unwrap();
        let policy = EgressPolicy { injections: vec![injection], ..policy() };

        let mut own = head("https://api.example.com/");
        own.headers.append("authorization", HeaderValue::from_static("Bearer guest"));
        let checked = check(&own, &policy).unwrap();
        let values: Vec<_> = checked.request.headers().get_all("authorization").iter().collect();
        assert_eq!(values, ["Bearer s3cret-value"]);
        assert!(!format!("{:?}", checked.request).contains("s3cret-value"));

        let other = check(&head("https://example.com/"), &policy).unwrap();
        assert!(!other.request.headers().contains_key("authorization"));
        let clear = check(&head("http://api.example.com/"), &policy);
        assert!(matches!(clear, Err(EgressError::CredentialInTheClear { .. })));
    }
}
