//! The network of a test case: requests that were foreseen get their recorded answers, once each, and nothing else gets any.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde_json::Value as Json;
use vivarium_domain::HostRequest;

use crate::judge::same_json;

/// A request that a case foresees.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpectedRequest {
    /// In capitals.
    pub method: String,
    /// The whole address.
    pub url: String,
    /// Headers that it must have; it may have others.
    pub headers: BTreeMap<String, String>,
    /// The whole body.
    pub body: Option<String>,
    /// The whole body, as JSON.
    pub body_json: Option<Json>,
    /// Parts of the body.
    pub body_contains: Vec<String>,
}

/// What was answered then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedResponse {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

/// One request with its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange {
    /// The request.
    pub request: ExpectedRequest,
    /// Its answer.
    pub response: RecordedResponse,
}

/// A request of the plugin under test.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AskedRequest {
    /// In capitals.
    pub method: String,
    /// The whole address.
    pub url: String,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

/// The network of one case.
#[derive(Debug)]
pub struct Recording {
    hosts: Vec<HostRequest>,
    exchanges: Mutex<Vec<(Exchange, bool)>>,
    problems: Mutex<Vec<String>>,
}

impl Recording {
    /// Of these exchanges; a plugin reaches only the hosts that it asks for.
    #[must_use]
    pub fn new(exchanges: Vec<Exchange>, hosts: Vec<HostRequest>) -> Self {
        let exchanges = exchanges.into_iter().map(|exchange| (exchange, false)).collect();
        Self { hosts, exchanges: Mutex::new(exchanges), problems: Mutex::default() }
    }

    /// The recorded answer to a request.
    ///
    /// # Errors
    /// When none is recorded. What was asked is remembered, and fails the case.
    pub fn answer(&self, asked: &AskedRequest) -> Result<RecordedResponse, String> {
        self.find(asked).inspect_err(|problem| {
            self.problems.lock().unwrap_or_else(PoisonError::into_inner).push(problem.clone());
        })
    }

    fn find(&self, asked: &AskedRequest) -> Result<RecordedResponse, String> {
        let AskedRequest { method, url, .. } = asked;
        if !self.hosts.iter().any(|host| allows(host, method, url)) {
            return Err(format!("it sent {method} {url}, which plugin.toml does not ask for: see `requests.hosts`"));
        }
        let mut exchanges = self.exchanges.lock().unwrap_or_else(PoisonError::into_inner);
        let same =
            |exchange: &Exchange| exchange.request.method == *method && normal(&exchange.request.url) == normal(url);
        let mut nearly = Vec::new();
        for (exchange, used) in exchanges.iter_mut().filter(|(exchange, _)| same(exchange)) {
            match mismatch(&exchange.request, asked) {
                None if *used => nearly.push("its answer was given already; each is given once".to_owned()),
                None => {
                    *used = true;
                    return Ok(exchange.response.clone());
                }
                Some(difference) => nearly.push(difference),
            }
        }
        let body = String::from_utf8_lossy(&asked.body).chars().take(300).collect::<String>();
        let body = if body.is_empty() { String::new() } else { format!(" with the body {body:?}") };
        let nearly = if nearly.is_empty() { String::new() } else { format!(" ({})", nearly.join("; ")) };
        Err(format!("it sent {method} {url}{body}, which is not recorded{nearly}"))
    }

    /// What was asked and is not recorded, and what is recorded and was not asked.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let exchanges = self.exchanges.lock().unwrap_or_else(PoisonError::into_inner);
        let unused = exchanges.iter().filter(|(_, used)| !used).map(|(exchange, _)| &exchange.request);
        problems.extend(
            unused.map(|request| {
                format!("it did not send {} {}, which the case has recorded", request.method, request.url)
            }),
        );
        problems
    }
}

/// What of a request is other than recorded, method and address aside.
fn mismatch(expected: &ExpectedRequest, asked: &AskedRequest) -> Option<String> {
    for (name, value) in &expected.headers {
        let mut sent = asked.headers.iter().filter(|(is, _)| is.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        match sent.next() {
            Some(sent) if sent == value => {}
            Some(sent) => return Some(format!("its header {name} is {sent:?}, and {value:?} is recorded")),
            None => return Some(format!("it has no header {name}, and {value:?} is recorded")),
        }
    }
    let body = String::from_utf8_lossy(&asked.body);
    if expected.body.as_ref().is_some_and(|expected| *expected != body) {
        return Some("another body is recorded".to_owned());
    }
    if let Some(expected) = &expected.body_json {
        match serde_json::from_slice::<Json>(&asked.body) {
            Ok(sent) if same_json(&sent, expected) => {}
            Ok(_) => return Some(format!("the body {expected} is recorded")),
            Err(_) => return Some("its body is no JSON".to_owned()),
        }
    }
    let missing = expected.body_contains.iter().find(|part| !body.contains(part.as_str()));
    missing.map(|part| format!("its body does not contain {part:?}"))
}

/// The host and the port of an address, in lower case; the port of the scheme where none is named.
fn authority(url: &str) -> Option<(String, u16)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?.to_ascii_lowercase();
    let own = if scheme.eq_ignore_ascii_case("http") { 80 } else { 443 };
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => Some((host.to_owned(), port.parse().ok()?)),
        _ => Some((authority, own)),
    }
}

/// An address, so that two ways of writing one are the same.
fn normal(url: &str) -> Option<(bool, String, u16, String)> {
    let (scheme, rest) = url.split_once("://")?;
    let (host, port) = authority(url)?;
    let at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let path = rest.get(at..)?.split('#').next()?;
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Some((scheme.eq_ignore_ascii_case("https"), host, port, path))
}

/// Whether a manifest's host covers a request.
fn allows(rule: &HostRequest, method: &str, url: &str) -> bool {
    let Some((host, port)) = authority(url) else { return false };
    let own = if url.starts_with("http://") { 80 } else { 443 };
    let rule_text = rule.host.to_ascii_lowercase();
    let (name, wanted) = match rule_text.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port.parse().ok()),
        _ => (rule_text.as_str(), Some(own)),
    };
    let names_it = match name.strip_prefix('*') {
        Some("") => true,
        Some(parent) => host.ends_with(parent) && host.len() > parent.len(),
        None => name == host,
    };
    let may = rule.methods.is_empty() || rule.methods.iter().any(|is| is == method);
    names_it && wanted == Some(port) && may
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn expected(method: &str, url: &str) -> ExpectedRequest {
        ExpectedRequest {
            method: method.to_owned(),
            url: url.to_owned(),
            headers: BTreeMap::new(),
            body: None,
            body_json: None,
            body_contains: Vec::new(),
        }
    }

    fn exchange(request: ExpectedRequest, body: &str) -> Exchange {
        let response = RecordedResponse { status: 200, headers: BTreeMap::new(), body: body.as_bytes().to_vec() };
        Exchange { request, response }
    }

    fn asked(method: &str, url: &str, body: &str) -> AskedRequest {
        AskedRequest { method: method.to_owned(), url: url.to_owned(), headers: Vec::new(), body: body.into() }
    }

    fn example() -> Vec<HostRequest> {
        vec![HostRequest::any_method("api.example.com")]
    }

    #[test]
    fn a_recorded_request_is_answered_once() {
        let url = "https://api.example.com/a?b=c";
        let recording = Recording::new(vec![exchange(expected("GET", url), "1")], example());
        assert_eq!(
            recording.problems(),
            ["it did not send GET https://api.example.com/a?b=c, which the case has recorded"]
        );
        assert_eq!(recording.answer(&asked("GET", "HTTPS://API.example.com:443/a?b=c", "")).unwrap().body, b"1");
        assert!(recording.problems().is_empty());
        let again = recording.answer(&asked("GET", url, "")).unwrap_err();
        assert!(again.contains("which is not recorded (its answer was given already"), "{again}");
        assert_eq!(recording.problems(), [again]);
    }

    #[test]
    fn two_answers_to_one_request_come_in_their_order() {
        let twice = ["1", "2"].map(|body| exchange(expected("GET", "https://api.example.com"), body));
        let recording = Recording::new(twice.to_vec(), example());
        let answer = || recording.answer(&asked("GET", "https://api.example.com/", "")).unwrap().body;
        assert_eq!([answer(), answer()], [b"1", b"2"]);
    }

    #[test]
    fn what_is_not_recorded_is_told_with_what_comes_near() {
        let mut request = expected("POST", "https://api.example.com/");
        request.body_json = Some(json!({"n": 1}));
        request.headers = [("Accept".to_owned(), "text/plain".to_owned())].into();
        let recording = Recording::new(vec![exchange(request, "")], example());
        let mut wrong = asked("POST", "https://api.example.com/", "{\"n\": 2}");
        insta::assert_snapshot!(recording.answer(&wrong).unwrap_err(), @r#"it sent POST https://api.example.com/ with the body "{\"n\": 2}", which is not recorded (it has no header Accept, and "text/plain" is recorded)"#);
        wrong.headers.push(("accept".to_owned(), "text/plain".to_owned()));
        assert!(recording.answer(&wrong).unwrap_err().contains("the body {\"n\":1} is recorded"));
        wrong.body = b"{\"n\": 1.0}".to_vec();
        recording.answer(&wrong).unwrap();
    }

    #[test]
    fn a_host_that_the_manifest_does_not_ask_for_is_not_reached_even_if_recorded() {
        let rule = |host: &str, methods: &[&str]| HostRequest {
            host: host.to_owned(),
            methods: methods.iter().map(|method| (*method).to_owned()).collect(),
        };
        for (rule, method, url, may) in [
            (rule("a.com", &[]), "GET", "https://a.com/x", true),
            (rule("a.com", &[]), "GET", "https://a.com:8443/x", false),
            (rule("a.com:8443", &[]), "GET", "https://a.com:8443/x", true),
            (rule("a.com", &["GET"]), "POST", "https://a.com", false),
            (rule("*.a.com", &[]), "GET", "https://b.a.com", true),
            (rule("*.a.com", &[]), "GET", "https://a.com", false),
            (rule("*.a.com", &[]), "GET", "https://evila.com", false),
            (rule("*", &[]), "GET", "http://anything.org", true),
        ] {
            assert_eq!(allows(&rule, method, url), may, "{rule:?} {method} {url}");
        }
        let recording = Recording::new(vec![exchange(expected("GET", "https://b.org/"), "")], example());
        let error = recording.answer(&asked("GET", "https://b.org/", "")).unwrap_err();
        assert!(error.contains("plugin.toml does not ask for"), "{error}");
    }
}
