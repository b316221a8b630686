use std::collections::BTreeMap;

use vivarium_sdk::http::{Client, HttpError, Url};

use super::*;

/// A small web: what each URL answers. Time passes only where somebody waits.
struct Web {
    pages: BTreeMap<String, Vec<Response>>,
    /// Each request but those for robots.txt, with what it asked besides.
    asked: Vec<String>,
    requests: Vec<Request>,
    now: u64,
    waited: Vec<u64>,
    state: BTreeMap<String, Vec<u8>>,
    room: usize,
    settings: BTreeMap<&'static str, &'static str>,
}

impl Web {
    fn new() -> Self {
        Self {
            pages: BTreeMap::new(),
            asked: Vec::new(),
            requests: Vec::new(),
            now: 1_790_000_000_000,
            waited: Vec::new(),
            state: BTreeMap::new(),
            room: 4 << 20,
            settings: BTreeMap::new(),
        }
    }

    /// What a URL answers; a second answer is that of the second request, and the last one stays.
    fn page(mut self, url: &str, status: u16, headers: &[(&str, &str)], body: &[u8]) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        let response =
            Response { url: Url::parse(url).unwrap(), status, headers, body: body.to_vec(), truncated: false };
        self.pages.entry(url.to_owned()).or_default().push(response);
        self
    }

    fn html(self, url: &str, body: &str) -> Self {
        self.page(url, 200, &[("content-type", "text/html; charset=utf-8")], body.as_bytes())
    }

    fn redirect(self, from: &str, to: &str) -> Self {
        self.page(from, 302, &[("location", to)], b"")
    }

    fn robots(self, text: &str) -> Self {
        self.page("https://example.com/robots.txt", 200, &[("content-type", "text/plain")], text.as_bytes())
    }

    fn set(mut self, name: &'static str, value: &'static str) -> Self {
        self.settings.insert(name, value);
        self
    }

    fn fetch(&mut self, url: &str) -> Result<Output, ToolError> {
        self.fetch_with(Fetch { url: url.to_owned(), focus: None, start: None, max_bytes: None })
    }

    fn fetch_for(&mut self, url: &str, focus: &str) -> Result<Output, ToolError> {
        self.fetch_with(Fetch { url: url.to_owned(), focus: Some(focus.to_owned()), start: None, max_bytes: None })
    }

    fn fetch_with(&mut self, arguments: Fetch) -> Result<Output, ToolError> {
        let context = Context {
            run_id: String::new(),
            idempotency_key: String::new(),
            deadline_ms: 30_000,
            max_output_bytes: 4_000,
        };
        super::fetch_with(self, &arguments, &context)
    }
}

impl Client for Web {
    fn send(&mut self, request: &Request) -> Result<Response, HttpError> {
        if !request.url.path().ends_with("/robots.txt") {
            self.asked.push(request.url.to_string());
            self.requests.push(request.clone());
        }
        let Some(answers) = self.pages.get_mut(request.url.as_str()) else {
            if request.url.path() == "/robots.txt" {
                let (status, headers, body) = (404, Vec::new(), Vec::new());
                return Ok(Response { url: request.url.clone(), status, headers, body, truncated: false });
            }
            return Err(HttpError::Denied(format!("{} is not granted", request.url)));
        };
        let mut answer = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
        answer.truncated = answer.body.len() > request.max_body_bytes;
        answer.body.truncate(request.max_body_bytes);
        if answer.status == 0 { Err(HttpError::Unavailable("no answer".to_owned())) } else { Ok(answer) }
    }
}

impl World for Web {
    fn now_ms(&mut self) -> u64 {
        self.now
    }

    fn sleep_ms(&mut self, ms: u64) {
        self.now += ms;
        self.waited.push(ms);
    }

    fn setting(&mut self, name: &str) -> Option<String> {
        self.settings.get(name).map(|value| (*value).to_owned())
    }

    fn get(&mut self, key: &str) -> Option<Vec<u8>> {
        self.state.get(key).cloned()
    }

    fn set(&mut self, key: &str, value: Vec<u8>) -> bool {
        assert!(key.len() <= 256 && value.len() <= 64 << 10, "the host takes no more");
        let held: usize = self.state.values().map(Vec::len).sum();
        held + value.len() <= self.room && self.state.insert(key.to_owned(), value).is_none_or(|_| true)
    }

    fn delete(&mut self, key: &str) {
        self.state.remove(key);
    }

    fn list(&mut self, prefix: &str) -> Vec<String> {
        self.state.keys().filter(|key| key.starts_with(prefix)).take(1000).cloned().collect()
    }
}

fn markdown(fixture: &str, url: &str) -> (String, String) {
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
        ("application/json", "application/json", "{\n  \"a\": 1\n}"),
        ("application/vnd.api+json; charset=utf-8", "application/json", "{\n  \"data\": {}\n}"),
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
fn what_can_not_be_read_is_refused_with_what_it_is_and_what_can() {
    let url = "https://example.com/file";
    for (content_type, body, what) in [
        ("image/png", b"\x89PNG\r\n\x1a\n".as_slice(), "a picture (PNG)"),
        ("text/html", b"\x89PNG\r\n\x1a\n", "a picture (PNG)"),
        ("application/zip", b"PK\x03\x04....", "an archive (ZIP)"),
        ("video/mp4", b"\0\0\0\x20ftypisom", "of the type video/mp4"),
        ("", b"\0\x01", "no text"),
    ] {
        let error = Web::new().page(url, 200, &[("content-type", content_type)], body).fetch(url).unwrap_err();
        assert!(
            matches!(&error, ToolError::Failed(why) if why.contains(what) && why.contains("reads HTML, PDF")),
            "{error:?}"
        );
    }
    let error =
        Web::new().page(url, 200, &[("content-type", "application/pdf")], b"%PDF-1.7 broken").fetch(url).unwrap_err();
    assert!(matches!(&error, ToolError::Failed(why) if why.contains("PDF file that can not be read")), "{error:?}");
}

#[test]
fn a_server_that_lies_or_says_nothing_is_not_believed() {
    let page = b"<!-- x --><!DOCTYPE html><title>T</title><p>It is a page.".as_slice();
    for (content_type, body, media_type, text) in [
        ("text/plain", page, "text/markdown", "It is a page."),
        ("application/json", page, "text/markdown", "It is a page."),
        ("application/octet-stream", page, "text/markdown", "It is a page."),
        ("text/html", b"{\"a\":1}", "application/json", "{\n  \"a\": 1\n}"),
        ("", b"plain words", "text/plain", "plain words"),
        ("binary/octet-stream", b"a,b\n1,2", "text/plain", "a,b\n1,2"),
        ("text/plain", b"Use <html> like this: <!doctype html>", "text/plain", "Use <html> like this: <!doctype html>"),
    ] {
        let url = "https://example.com/x";
        let output = Web::new().page(url, 200, &[("content-type", content_type)], body).fetch(url).unwrap();
        assert_eq!(
            (output.documents[0].media_type.as_str(), output.content.as_str()),
            (media_type, text),
            "{content_type}"
        );
    }
}

#[test]
fn a_status_says_what_to_do() {
    let url = "https://example.com/x";
    let status = |status| Web::new().page(url, status, &[("retry-after", "3000")], b"").fetch(url).unwrap_err();
    assert!(matches!(status(404), ToolError::NotFound(_)));
    assert!(matches!(status(401), ToolError::Failed(why) if why.contains("asks for a login")));
    assert!(matches!(status(403), ToolError::Failed(_)));
    assert!(matches!(status(429), ToolError::Unavailable(why) if why.contains("after 3000 s")));
    assert!(matches!(status(503), ToolError::Unavailable(_)));
    let login = "<title>Log in</title><p>Please log in.<form><input name=u><input type=password name=p></form>";
    let mut web =
        Web::new().redirect(url, "/account/login?next=x").html("https://example.com/account/login?next=x", login);
    assert!(matches!(web.fetch(url), Err(ToolError::Failed(why)) if why.contains("asks for a login")));
}

#[test]
fn a_page_of_scripts_alone_says_so() {
    let url = "https://example.com/app";
    let error = Web::new().html(url, "<div id=root></div><script>render()</script>").fetch(url).unwrap_err();
    assert!(matches!(error, ToolError::Failed(why) if why.contains("no readable text")));
}

#[test]
fn a_page_that_only_sends_its_readers_on_says_where() {
    let url = "https://example.com/old";
    let page = r#"<meta http-equiv="refresh" content="0; URL='/new?a=1'"><script>location = "/new"</script>"#;
    let error = Web::new().html(url, page).fetch(url).unwrap_err();
    assert!(
        matches!(&error, ToolError::Failed(why) if why.ends_with("fetch https://example.com/new?a=1")),
        "{error:?}"
    );
    let with_text = format!("{page}<p>The page has moved, and is read here, too.</p>");
    assert!(Web::new().html(url, &with_text).fetch(url).is_ok());
}

#[test]
fn a_long_page_is_a_whole_source_and_a_bounded_answer() {
    let paragraphs: String = (0..500).map(|n| format!("<p>Paragraph {n} says nothing in particular.</p>")).collect();
    let page = format!("<main>{paragraphs}<p>The password of the lighthouse is a zebra.</p></main>");
    let url = "https://example.com/long";
    let output = Web::new().html(url, &page).fetch_for(url, "lighthouse zebra").unwrap();
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

#[test]
fn a_long_document_is_read_part_by_part() {
    let paragraphs: Vec<String> = (0..400).map(|n| format!("Paragraph {n} – says nothing in particular.")).collect();
    let text = paragraphs.join("\n\n");
    let url = "https://example.com/long.txt";
    let mut web = Web::new().page(url, 200, &[("content-type", "text/plain; charset=utf-8")], text.as_bytes());
    let (mut start, mut read) = (0, String::new());
    loop {
        let arguments = Fetch { url: url.to_owned(), focus: None, start: Some(start), max_bytes: Some(3_000) };
        let content = web.fetch_with(arguments).unwrap().content;
        assert!(content.len() <= 3_000);
        let Some((part, note)) = content.rsplit_once("\n\n[… ") else {
            read.push_str(&content);
            break;
        };
        read.push_str(part);
        start = note.split("start=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    }
    assert_eq!(read, text);
    let beyond = Fetch { url: url.to_owned(), focus: None, start: Some(1_000_000), max_bytes: None };
    assert!(matches!(web.fetch_with(beyond), Err(ToolError::InvalidArguments(why)) if why.contains("ends before")));
}

#[test]
fn a_sites_robots_are_kept_to_and_asked_for_once_a_day() {
    let mut web = Web::new()
        .robots("User-agent: *\nDisallow: /private\n")
        .html("https://example.com/a", "<p>Open.</p>")
        .html("https://example.com/private/b", "<p>Closed.</p>")
        .redirect("https://example.com/to-private", "/private/b");
    assert_eq!(web.fetch("https://example.com/a").unwrap().content, "Open.");
    for url in ["https://example.com/private/b", "https://example.com/to-private"] {
        let error = web.fetch(url).unwrap_err();
        assert!(
            matches!(&error, ToolError::Denied(why) if why.contains("robots.txt closes https://example.com/private/b")),
            "{error:?}"
        );
    }
    assert!(!web.asked.contains(&"https://example.com/private/b".to_owned()));
    // The site opens itself: seen a day later, and at once where an operator has said so.
    let mut web = web.robots("");
    web.pages.get_mut("https://example.com/robots.txt").unwrap().remove(0);
    assert!(web.fetch("https://example.com/private/b").is_err());
    web.now += 24 * 3600 * 1000;
    assert!(web.fetch("https://example.com/private/b").is_ok());
    let mut web = Web::new()
        .robots("User-agent: *\nDisallow: /")
        .html("https://example.com/a", "<p>A.</p>")
        .set(IGNORE_ROBOTS, "true");
    assert!(web.fetch("https://example.com/a").is_ok());
}

#[test]
fn a_site_whose_robots_can_not_be_had_is_closed_for_a_while_and_one_that_has_none_is_open() {
    let page = |web: Web| web.html("https://example.com/a", "<p>A.</p>");
    for status in [500, 503, 429, 0] {
        let mut web = page(Web::new()).page("https://example.com/robots.txt", status, &[], b"").robots("");
        let error = web.fetch("https://example.com/a").unwrap_err();
        assert!(matches!(&error, ToolError::Unavailable(why) if why.contains("robots.txt")), "{status}: {error:?}");
        web.now += 6 * 60 * 1000;
        assert!(web.fetch("https://example.com/a").is_ok(), "{status}");
    }
    for status in [404, 403, 410] {
        assert!(
            page(Web::new())
                .page("https://example.com/robots.txt", status, &[], b"")
                .fetch("https://example.com/a")
                .is_ok()
        );
    }
}

#[test]
fn requests_to_one_host_keep_their_distance() {
    let mut web = Web::new().html("https://example.com/a", "<p>A.</p>").html("https://other.example/b", "<p>B.</p>");
    web.fetch("https://example.com/a").unwrap();
    web.fetch("https://other.example/b").unwrap();
    assert!(web.waited.is_empty());
    web.fetch("https://example.com/a").unwrap();
    assert_eq!(web.waited, [500]);
    let mut slow = Web::new().robots("User-agent: *\nCrawl-delay: 20").html("https://example.com/a", "<p>A.</p>");
    slow.fetch("https://example.com/a").unwrap();
    slow.fetch("https://example.com/a").unwrap();
    assert_eq!(slow.waited, [20_000]);
    // Two more at once: the second one's moment is after its deadline.
    slow.now -= 20_000;
    let error = slow.fetch("https://example.com/a").unwrap_err();
    assert!(matches!(&error, ToolError::Unavailable(why) if why.contains("ask again in 40 s")), "{error:?}");
}

#[test]
fn a_host_that_asks_for_time_gets_it() {
    let url = "https://example.com/a";
    let mut web = Web::new().page(url, 503, &[("retry-after", "3")], b"").html(url, "<p>Back.</p>");
    assert_eq!(web.fetch(url).unwrap().content, "Back.");
    assert_eq!(web.waited, [3_000]);
    let mut web = Web::new().page(url, 429, &[("retry-after", "600")], b"").html(url, "<p>Back.</p>");
    assert!(matches!(web.fetch(url), Err(ToolError::Unavailable(_))));
    assert!(matches!(web.fetch(url), Err(ToolError::Unavailable(why)) if why.contains("ask again in 600 s")));
    assert_eq!(web.asked.len(), 1, "a host that has asked for time is not asked before");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_page_is_asked_for_again_only_when_it_may_have_changed() {
    let url = "https://example.com/a";
    let kept = [("content-type", "text/html"), ("etag", "\"v1\""), ("cache-control", "max-age=60")];
    let mut web = Web::new()
        .page(url, 200, &kept, b"<title>T</title><p>First.</p>")
        .page(url, 304, &[("cache-control", "max-age=60")], b"")
        .page(url, 200, &kept, b"<p>Second.</p>");
    assert_eq!(web.fetch(url).unwrap().content, "First.");
    let again = web.fetch(&format!("{url}#part")).unwrap();
    assert_eq!((again.content.as_str(), web.asked.len()), ("First.", 1), "it is fresh");
    assert_eq!(
        (again.documents[0].title.as_str(), again.documents[0].location.as_str()),
        ("T", "https://example.com/a#part")
    );
    web.now += 61_000;
    assert_eq!((web.fetch(url).unwrap().content.as_str(), web.asked.len()), ("First.", 2));
    assert!(web.requests[1].headers.contains(&("if-none-match".to_owned(), "\"v1\"".to_owned())));
    assert_eq!(
        (web.fetch(url).unwrap().content.as_str(), web.asked.len()),
        ("First.", 2),
        "a 304 makes it fresh again"
    );
    web.now += 61_000;
    assert_eq!(web.fetch(url).unwrap().content, "Second.");
}

#[test]
fn what_a_site_does_not_want_kept_is_not_kept() {
    let url = "https://example.com/a";
    for control in ["no-store", "private, max-age=600", "max-age=0"] {
        let mut web =
            Web::new().page(url, 200, &[("content-type", "text/html"), ("cache-control", control)], b"<p>A.</p>");
        web.fetch(url).unwrap();
        assert!(web.list("c:").is_empty() && web.list("d:").is_empty(), "{control}");
    }
    let mut web = Web::new().page(
        url,
        200,
        &[("content-type", "text/html"), ("etag", "x"), ("cache-control", "no-cache, max-age=600")],
        b"<p>A.</p>",
    );
    web.fetch(url).unwrap();
    web.fetch(url).unwrap();
    assert_eq!(web.asked.len(), 2, "no-cache: asked each time, with its validator");
    assert!(web.requests[1].headers.iter().any(|(name, _)| name == "if-none-match"));
}

#[test]
fn what_is_kept_is_bounded_and_what_was_used_longest_ago_goes_first() {
    let fresh = [("content-type", "text/plain"), ("cache-control", "max-age=86400")];
    let text = "word ".repeat(30_000);
    let mut web = Web::new().set("min-delay-ms", "0");
    let url = |n: usize| format!("https://example.com/{n}.txt");
    for n in 0..40 {
        web = web.page(&url(n), 200, &fresh, text.as_bytes());
    }
    for n in 0..40 {
        web.now += 1_000;
        web.fetch(&url(n)).unwrap();
        // The first one is used all the time.
        web.now += 1_000;
        web.fetch(&url(0)).unwrap();
    }
    let pieces = web.list("d:").len();
    assert!((40..=48).contains(&pieces), "{pieces} pieces");
    assert_eq!(web.asked.iter().filter(|asked| **asked == url(0)).count(), 1);
    let before = web.asked.len();
    web.fetch(&url(39)).unwrap();
    assert_eq!(web.asked.len(), before, "the newest is kept");
    web.fetch(&url(1)).unwrap();
    assert_eq!(web.asked.len(), before + 1, "an old one is not");
    // Where there is no room at all, pages are read all the same.
    let mut web = Web::new().page(&url(0), 200, &fresh, text.as_bytes());
    web.room = 1000;
    assert!(web.fetch(&url(0)).is_ok());
    assert!(web.list("d:").is_empty());
}

#[test]
fn a_packed_page_is_unpacked_up_to_a_bound() {
    let url = "https://example.com/a";
    let headers = [("content-type", "text/plain"), ("content-encoding", "gzip")];
    assert_eq!(Web::new().page(url, 200, &headers, &gzip(b"hello there")).fetch(url).unwrap().content, "hello there");
    let bomb = gzip(&vec![b'a'; 64 << 20]);
    let output = Web::new().page(url, 200, &headers, &bomb).fetch(url).unwrap();
    assert_eq!(output.documents[0].text.len(), 1 << 20, "a source has its own bound");
    let error = Web::new().page(url, 200, &headers, b"not gzip").fetch(url).unwrap_err();
    assert!(matches!(error, ToolError::Failed(why) if why.contains("is not the gzip")));
}

#[test]
fn who_has_written_a_page_and_when_stands_before_it() {
    let html = r#"<html><head><title>T</title><meta name="author" content="A. Keeper"><meta property="article:published_time" content="2026-11-01">
        <link rel="canonical" href="https://example.org/real"></head><body><main><p>The gates open at noon.</p><img src="/x.png"><img alt="a gate" data-src="g.png" src="data:image/gif;base64,AA"></main></body></html>"#;
    let (_, text) = markdown(html, "https://example.com/copy");
    assert_eq!(
        text,
        "*A. Keeper · 2026-11-01 · also at https://example.org/real*\n\nThe gates open at noon.\n\n![a gate](https://example.com/g.png)"
    );
}

#[test]
fn code_keeps_its_lines_and_its_language_however_it_is_marked() {
    let html = r#"<main><p>Some words before all the code blocks of this page.</p>
        <div class="highlight-python3 notranslate"><div class="highlight"><pre><span></span><span class="linenos">1</span><span class="k">def</span> f(a &lt; b):
    <span class="k">return</span> 1
</pre></div></div>
        <pre class="rust rust-example-rendered"><code>let a = &amp;b;</code></pre>
        <div class="highlight highlight-source-shell"><pre>ls -l</pre></div>
        <pre><code class="hljs language-js">let x = "<em>";</code></pre>
        <pre>plain</pre></main>"#;
    let (_, text) = markdown(html, "https://example.com/docs");
    assert!(text.contains("```python\ndef f(a < b):\n    return 1\n```"), "{text}");
    assert!(text.contains("```rust\nlet a = &b;\n```"), "{text}");
    assert!(text.contains("```shell\nls -l\n```"), "{text}");
    assert!(text.contains("```js\nlet x = \"\";\n```"), "{text}");
    assert!(text.contains("```\nplain\n```"), "{text}");
}

#[test]
fn a_page_that_is_an_article_is_read_without_the_lists_around_it_and_no_other_loses_its_point() {
    let links: String = (0..40)
        .map(|n| format!("<div><a href=/{n}>Another story of the day, number {n}, to be read</a></div>"))
        .collect();
    let teasers: String = (0..12).map(|n| format!("<div>Teaser {n} of something else that happened.</div>")).collect();
    let story =
        "The gates of the harbour were opened at noon, said the keeper, and the ships went out one after the other. "
            .repeat(4);
    let story = format!("<div class=story><h2>The gates</h2><p>{story}</p><p>{story}</p></div>");
    let page = |head: &str| {
        format!(
            "<html><head><title>T</title>{head}</head><body><div>{links}</div>{story}<div>{teasers}</div></body></html>"
        )
    };
    let (_, text) = markdown(&page("<meta property=og:type content=article>"), "https://example.com/story");
    assert!(text.contains("said the keeper") && !text.contains("Another story"), "{text}");
    // A small part of it is an article: it is a reference, which is read whole.
    let rows: String = (0..60).map(|n| format!("<div>Option {n}: what it does, told in some words</div>")).collect();
    let reference = format!("<html><body>{story}<div>{rows}</div></body></html>");
    let (_, text) = markdown(&reference, "https://example.com/reference");
    assert!(text.contains("Option 59"), "{text}");
}

#[test]
fn links_that_say_or_lead_to_nothing_are_left_out() {
    let html = r##"<main><h2>Gates<a class="anchor" href="#gates">¶</a></h2><p>See <a href="/log" title="The log of the harbour">the log</a><a href="/play"></a>,
        <a href="/ref#note-1">[1]</a> and <a href="https://example.com/ref">this page</a>.</p></main>"##;
    let (_, text) = markdown(html, "https://example.com/ref");
    assert_eq!(
        text,
        "## Gates\n\nSee [the log](https://example.com/log), \\[1\\] and [this page](https://example.com/ref)."
    );
}

mod feeds;
mod manners;
