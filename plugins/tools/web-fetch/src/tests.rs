use std::collections::BTreeMap;

use vivarium_sdk::http::{HttpError, Url};

use super::*;

/// A small web: what each URL answers.
struct Web {
    pages: BTreeMap<&'static str, Response>,
    asked: Vec<String>,
}

impl Web {
    fn new() -> Self {
        Self { pages: BTreeMap::new(), asked: Vec::new() }
    }

    fn page(mut self, url: &'static str, status: u16, headers: &[(&str, &str)], body: &[u8]) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        let response =
            Response { url: Url::parse(url).unwrap(), status, headers, body: body.to_vec(), truncated: false };
        self.pages.insert(url, response);
        self
    }

    fn html(self, url: &'static str, body: &str) -> Self {
        self.page(url, 200, &[("content-type", "text/html; charset=utf-8")], body.as_bytes())
    }

    fn redirect(self, from: &'static str, to: &str) -> Self {
        self.page(from, 302, &[("location", to)], b"")
    }

    fn fetch(&mut self, url: &str) -> Result<Output, ToolError> {
        self.fetch_for(url, None)
    }

    fn fetch_for(&mut self, url: &str, focus: Option<&str>) -> Result<Output, ToolError> {
        let context = Context {
            run_id: String::new(),
            idempotency_key: String::new(),
            deadline_ms: 30_000,
            max_output_bytes: 4_000,
        };
        let arguments = Fetch { url: url.to_owned(), focus: focus.map(str::to_owned) };
        fetch_with(self, &arguments, &context)
    }
}

impl Client for Web {
    fn send(&mut self, request: &Request) -> Result<Response, HttpError> {
        self.asked.push(request.url.to_string());
        self.pages
            .get(request.url.as_str())
            .cloned()
            .ok_or_else(|| HttpError::Denied(format!("{} is not granted", request.url)))
    }
}

fn markdown(fixture: &str, url: &'static str) -> (String, String) {
    let output = Web::new().html(url, fixture).fetch(url).unwrap();
    let document = output.documents.into_iter().next().unwrap();
    (document.title, document.text)
}

#[test]
fn an_article_is_read_without_its_menus_and_scripts() {
    let (title, text) =
        markdown(include_str!("../fixtures/article.html"), "https://news.example.com/2026/harbour.html");
    assert_eq!(title, "The harbour that learned to breathe");
    for clutter in ["Subscribe", "window.dataLayer", "Most read", "cookie", "Privacy policy", "font-family"] {
        assert!(!text.contains(clutter), "{clutter:?} is still there:\n{text}");
    }
    assert!(text.contains("The sluice gates open twice a day, at slack water."), "{text}");
    assert!(text.contains("[the harbour master’s log](https://news.example.com/archive/log.html)"), "{text}");
    assert!(text.contains("## What the divers found"), "{text}");
    assert!(text.contains("- eelgrass on four of nine piers"), "{text}");
}

#[test]
fn a_reference_page_keeps_its_code_and_tables() {
    let (title, text) =
        markdown(include_str!("../fixtures/reference.html"), "https://docs.example.com/std/vec/struct.Vec.html");
    assert_eq!(title, "Vec in example::vec - Rust");
    assert!(
        text.contains("```rust\nlet mut vec = Vec::with_capacity(10);\nvec.push(1);\n\nassert_eq!(vec.len(), 1);\n```"),
        "{text}"
    );
    assert!(text.contains("| Method") && text.contains("| `push`"), "{text}");
    assert!(text.contains("| amortized *O*(1)"), "{text}");
    assert!(text.contains("## Capacity and reallocation"), "{text}");
    assert!(!text.contains('§'), "{text}");
    assert!(text.contains("[`push`](https://docs.example.com/std/vec/method.push.html)"), "{text}");
}

#[test]
fn a_page_without_structure_is_read_whole() {
    let (title, text) = markdown("<p>Just a <b>line</b>.<p>And another.", "https://example.com/notes/today.htm");
    assert_eq!((title.as_str(), text.as_str()), ("today.htm", "Just a **line**.\n\nAnd another."));
}

#[test]
fn a_page_in_an_old_encoding_is_read() {
    let body = b"<html><head><meta charset=\"iso-8859-1\"><title>Caf\xe9</title></head><body><p>Th\xe9 ou caf\xe9 ?</p></body></html>";
    let url = "https://example.com/menu";
    let output = Web::new().page(url, 200, &[("content-type", "text/html")], body).fetch(url).unwrap();
    assert_eq!(output.documents[0].title, "Café");
    assert_eq!(output.content, "Thé ou café ?");
}

#[test]
fn each_redirect_is_a_request_of_its_own() {
    let mut web = Web::new()
        .redirect("https://example.com/a", "/b")
        .redirect("https://example.com/b", "http://www.example.com/c?x=1#here")
        .html("http://www.example.com/c?x=1#here", "<p>There.</p>");
    let output = web.fetch("https://example.com/a").unwrap();
    assert_eq!(web.asked, ["https://example.com/a", "https://example.com/b", "http://www.example.com/c?x=1#here"]);
    assert_eq!(output.documents[0].location, "http://www.example.com/c?x=1#here");
}

#[test]
fn a_redirect_to_where_the_plugin_may_not_go_is_refused() {
    let mut web = Web::new().redirect("https://example.com/a", "http://169.254.169.254/latest/meta-data/");
    assert!(matches!(web.fetch("https://example.com/a"), Err(ToolError::Denied(_))));
    for target in ["file:///etc/passwd", "javascript:alert(1)", "https://user:pw@example.com/"] {
        let mut web = Web::new().redirect("https://example.com/a", target);
        assert!(matches!(web.fetch("https://example.com/a"), Err(ToolError::InvalidArguments(_))), "{target}");
        assert_eq!(web.asked.len(), 1, "{target}");
    }
}

#[test]
fn redirects_in_a_circle_end() {
    let mut web = Web::new().redirect("https://example.com/a", "/b").redirect("https://example.com/b", "/a");
    assert!(matches!(web.fetch("https://example.com/a"), Err(ToolError::Failed(_))));
    assert_eq!(web.asked.len(), 1 + MAX_REDIRECTS);
}

#[test]
fn text_is_kept_as_it_is() {
    let cases = [
        ("application/json", "application/json", r#"{"a": [1, 2]}"#),
        ("application/vnd.api+json; charset=utf-8", "application/json", r#"{"data":{}}"#),
        ("text/markdown", "text/markdown", "# Title\n\n* <b>not html</b>"),
        ("text/plain;charset=UTF-8", "text/plain", "a < b\n\n\n  c"),
        ("", "text/plain", "no type at all"),
    ];
    for (content_type, media_type, body) in cases {
        let url = "https://example.com/file.txt";
        let output = Web::new().page(url, 200, &[("content-type", content_type)], body.as_bytes()).fetch(url).unwrap();
        assert_eq!(output.content, body);
        assert_eq!(output.documents[0].media_type, media_type);
    }
}

#[test]
fn what_can_not_be_read_is_refused_with_what_can() {
    let url = "https://example.com/paper.pdf";
    for (content_type, body) in
        [("application/pdf", b"%PDF-1.7".as_slice()), ("image/png", b"\x89PNG"), ("", b"\0\x01")]
    {
        let error = Web::new().page(url, 200, &[("content-type", content_type)], body).fetch(url).unwrap_err();
        assert!(matches!(&error, ToolError::Failed(why) if why.contains("reads HTML, Markdown")), "{error:?}");
    }
}

#[test]
fn a_status_says_what_to_do() {
    let url = "https://example.com/x";
    let status = |status| Web::new().page(url, status, &[("retry-after", "30")], b"").fetch(url).unwrap_err();
    assert!(matches!(status(404), ToolError::NotFound(_)));
    assert!(matches!(status(403), ToolError::Failed(_)));
    assert!(matches!(status(429), ToolError::Unavailable(why) if why.contains("after 30")));
    assert!(matches!(status(503), ToolError::Unavailable(_)));
}

#[test]
fn a_page_of_scripts_alone_says_so() {
    let url = "https://example.com/app";
    let error = Web::new().html(url, "<div id=root></div><script>render()</script>").fetch(url).unwrap_err();
    assert!(matches!(error, ToolError::Failed(why) if why.contains("no readable text")));
}

#[test]
fn a_long_page_is_a_whole_source_and_a_bounded_answer() {
    let paragraphs: String = (0..500).map(|n| format!("<p>Paragraph {n} says nothing in particular.</p>")).collect();
    let page = format!("<main>{paragraphs}<p>The password of the lighthouse is a zebra.</p></main>");
    let url = "https://example.com/long";
    let output = Web::new().html(url, &page).fetch_for(url, Some("lighthouse zebra")).unwrap();
    assert!(output.content.len() <= 4_000);
    assert!(output.content.contains("The password of the lighthouse is a zebra."));
    assert!(output.documents[0].text.contains("Paragraph 499 ") && output.documents[0].text.len() > 15_000);
}

#[test]
fn a_url_that_is_none_is_refused_before_anything_is_asked() {
    for url in ["", "example.com", "ftp://example.com/", "/etc/passwd", "http://"] {
        let mut web = Web::new();
        assert!(matches!(web.fetch(url), Err(ToolError::InvalidArguments(_))), "{url:?}");
        assert!(web.asked.is_empty());
    }
}
