//! `web_fetch` as it ships, against a server that is scripted: what it asks, what it makes of the answers, and what it refuses.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use reqwest::Method;
use serde_json::{Value, json};
use vivarium_tests::{Cli, Host};

/// What was asked: paths in order, and the headers of each.
type Asked = Arc<Mutex<Vec<(String, HeaderMap)>>>;
type Page = (u16, Vec<(&'static str, String)>, Vec<u8>);

#[derive(Clone)]
struct Site {
    pages: Arc<BTreeMap<&'static str, Page>>,
    asked: Asked,
    place: String,
}

impl Site {
    async fn start(pages: Vec<(&'static str, Page)>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = listener.local_addr().unwrap().to_string();
        let site = Self { pages: Arc::new(pages.into_iter().collect()), asked: Asked::default(), place };
        let routes = Router::new().fallback(answer).with_state(site.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        site
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|(path, _)| path.clone()).collect()
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.place)
    }

    /// A host whose web_fetch may reach this site.
    async fn host(&self, settings: &str) -> Host {
        let config = format!(
            "[plugins.\"vivarium/web-fetch\"]\ndangerously_allow_private_addresses = [\"{}\"]\n{settings}",
            self.place
        );
        Host::builder().config(&config).start().await
    }
}

async fn answer(State(site): State<Site>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    site.asked.lock().unwrap().push((path.clone(), request.headers().clone()));
    match path.as_str() {
        "/slow" => {
            // The head comes at once, and nothing after it.
            let body = Body::from_stream(futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
            return (StatusCode::OK, [("content-type", "text/plain")], body).into_response();
        }
        "/flood" => {
            let piece = bytes::Bytes::from(vec![b'a'; 64 << 10]);
            let body = Body::from_stream(futures::stream::repeat_with(move || Ok::<_, std::io::Error>(piece.clone())));
            return (StatusCode::OK, [("content-type", "text/plain")], body).into_response();
        }
        _ => {}
    }
    let Some((status, headers, body)) = site.pages.get(path.as_str()).cloned() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let has = |name: &str, value: &str| request.headers().get(name).is_some_and(|found| found == value);
    let etag = headers.iter().find(|(name, _)| *name == "etag").map(|(_, value)| value.clone());
    let not_modified = etag.is_some_and(|etag| has("if-none-match", &etag));
    let mut response = Response::builder().status(if not_modified { 304 } else { status });
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(if not_modified { Body::empty() } else { Body::from(body) }).unwrap()
}

fn page(content_type: &str, body: impl Into<Vec<u8>>) -> Page {
    (200, vec![("content-type", content_type.to_owned())], body.into())
}

async fn fetch(host: &Host, arguments: &Value) -> Result<String, String> {
    fetch_as(host, host.key(), arguments).await
}

async fn fetch_as(host: &Host, key: &str, arguments: &Value) -> Result<String, String> {
    let call = json!({"arguments": arguments});
    let (status, told) = host.json_as(key, Method::POST, "/v1/tools/web_fetch/call", Some(&call)).await;
    assert_eq!(status, 200, "{told}");
    match told["output"].as_str() {
        Some(output) => Ok(output.to_owned()),
        None => Err(told["error"].to_string()),
    }
}

#[tokio::test]
async fn a_sites_robots_are_asked_once_and_kept_to_unless_an_operator_says_otherwise() {
    let robots = "User-agent: *\nDisallow: /closed\n";
    let site = Site::start(vec![
        ("/robots.txt", page("text/plain", robots)),
        ("/open", page("text/html", "<p>Open to all.")),
        ("/closed", page("text/html", "<p>Closed.")),
        ("/leads", (302, vec![("location", "/closed".to_owned())], Vec::new())),
    ])
    .await;
    let host = site.host("settings = { min-delay-ms = \"0\" }").await;
    assert_eq!(fetch(&host, &json!({"url": site.url("/open")})).await.unwrap(), "Open to all.");
    for path in ["/closed", "/leads"] {
        let error = fetch(&host, &json!({"url": site.url(path)})).await.unwrap_err();
        assert!(error.contains("robots.txt closes"), "{error}");
    }
    assert_eq!(site.asked(), ["/robots.txt", "/open", "/leads"]);
    let host = site.host("settings = { dangerously-ignore-robots-txt = \"true\" }").await;
    assert_eq!(fetch(&host, &json!({"url": site.url("/closed")})).await.unwrap(), "Closed.");
}

#[tokio::test]
async fn a_page_is_revalidated_by_its_tenant_and_no_other_tenant_gets_what_was_kept() {
    let headers = vec![("content-type", "text/html".to_owned()), ("etag", "\"one\"".to_owned())];
    let site = Site::start(vec![("/a", (200, headers, b"<title>T</title><p>Kept.".to_vec()))]).await;
    let host = site.host("settings = { min-delay-ms = \"0\" }").await;
    let (_, data) = host.stop().await;
    let cli = Cli::on(data.path());
    cli.output(&["tenant", "create", "other"]).await;
    let other = cli.output(&["key", "create", "--tenant", "other", "--scope", "plugins,runs"]).await;
    let config = format!(
        "[plugins.\"vivarium/web-fetch\"]\ndangerously_allow_private_addresses = [\"{}\"]\nsettings = {{ min-delay-ms = \"0\" }}",
        site.place
    );
    let host = Host::builder().data(data).config(&config).start().await;
    let arguments = json!({"url": site.url("/a")});
    for _ in 0..3 {
        assert_eq!(fetch(&host, &arguments).await.unwrap(), "Kept.");
    }
    assert_eq!(fetch_as(&host, &other, &arguments).await.unwrap(), "Kept.");
    let asked = site.asked.lock().unwrap();
    let pages: Vec<bool> = asked
        .iter()
        .filter(|(path, _)| path == "/a")
        .map(|(_, headers)| headers.contains_key("if-none-match"))
        .collect();
    assert_eq!(pages, [false, true, true, false], "each tenant has a memory of its own");
    assert!(asked.iter().all(|(_, headers)| headers["user-agent"].to_str().unwrap().starts_with("Vivarium/")));
}

#[tokio::test]
async fn requests_to_one_host_keep_a_distance_also_between_calls() {
    let site = Site::start(vec![("/a", page("text/plain", "a")), ("/b", page("text/plain", "b"))]).await;
    let host = site.host("settings = { min-delay-ms = \"700\" }").await;
    fetch(&host, &json!({"url": site.url("/a")})).await.unwrap();
    let begun = Instant::now();
    fetch(&host, &json!({"url": site.url("/b")})).await.unwrap();
    // From the first one's moment on, of which some has passed by now.
    assert!(begun.elapsed() >= Duration::from_millis(300), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn answers_of_all_kinds_are_read_as_what_they_are() {
    let latin = b"<html><head><title>Caf\xe9</title></head><body><p>Th\xe9 ou caf\xe9 ?</body></html>".to_vec();
    let feed = "<rss><channel><title>News</title><item><title>One</title><link>/1</link></item></channel></rss>";
    let site = Site::start(vec![
        ("/latin", page("text/html; charset=iso-8859-1", latin)),
        ("/lie", page("text/plain", "<!doctype html><title>T</title><p>A <b>page</b>.")),
        ("/feed", page("application/rss+xml", feed)),
        ("/json", page("application/json", "{\"a\":[1]}")),
        ("/png", page("text/html", b"\x89PNG\r\n\x1a\n....".to_vec())),
        ("/broken.pdf", page("application/pdf", "%PDF-1.4 nothing")),
        ("/login", (401, vec![("www-authenticate", "Basic".to_owned())], Vec::new())),
        ("/long", page("text/plain", "word ".repeat(20_000))),
    ])
    .await;
    let host = site.host("settings = { min-delay-ms = \"0\" }").await;
    let get = async |path: &str| fetch(&host, &json!({"url": site.url(path)})).await;
    assert_eq!(get("/latin").await.unwrap(), "Thé ou café ?");
    assert_eq!(get("/lie").await.unwrap(), "A **page**.");
    assert_eq!(get("/feed").await.unwrap(), format!("# News\n\n## [One]({})", site.url("/1")));
    assert_eq!(get("/json").await.unwrap(), "{\n  \"a\": [\n    1\n  ]\n}");
    assert!(get("/png").await.unwrap_err().contains("a picture (PNG)"));
    assert!(get("/broken.pdf").await.unwrap_err().contains("PDF file that can not be read"));
    assert!(get("/login").await.unwrap_err().contains("asks for a login"));
    let first = get("/long").await.unwrap();
    assert!(first.len() <= 24 << 10 && first.contains("goes on]"), "{}", first.len());
    let rest = fetch(&host, &json!({"url": site.url("/long"), "start": 99_000})).await.unwrap();
    assert_eq!(rest.len(), 1_000);
}

#[tokio::test]
async fn floods_and_slow_servers_end_within_the_calls_bounds() {
    let site = Site::start(vec![]).await;
    let host = site.host("settings = { min-delay-ms = \"0\" }\nlimits = { wall_ms = 6000 }").await;
    let flood = fetch(&host, &json!({"url": site.url("/flood")})).await.unwrap();
    assert!(flood.starts_with("aaaa") && flood.len() <= 24 << 10);
    let begun = Instant::now();
    let slow = fetch(&host, &json!({"url": site.url("/slow")})).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(20), "{slow}");
}
