//! How a guest behaves on other people's servers, as far as their headers say it in less usual ways.

use super::*;

#[test]
fn a_host_may_say_with_a_date_when_to_ask_again() {
    let url = "https://example.com/a";
    // By the server's own clock, however wrong that goes.
    let held_off = [("date", "Fri, 31 Dec 1999 23:59:57 GMT"), ("retry-after", "Saturday, 01-Jan-00 00:00:01 GMT")];
    let mut web = Web::new().page(url, 503, &held_off, b"").html(url, "<p>Back.</p>");
    assert_eq!(web.fetch(url).unwrap().content, "Back.");
    assert_eq!(web.waited, [4_000]);
    // By ours where it does not tell its own: what is over is no time at all.
    let mut web =
        Web::new().page(url, 503, &[("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT")], b"").html(url, "<p>Back.</p>");
    assert_eq!(web.fetch(url).unwrap().content, "Back.");
}

#[test]
fn a_page_that_says_with_a_date_until_when_it_is_fresh_is_kept_until_then() {
    let url = "https://example.com/a";
    let kept = |expires| {
        let headers = [
            ("content-type", "text/plain"),
            ("date", "Sun, 22 Nov 2026 10:00:00 GMT"),
            ("expires", expires),
            ("age", "30"),
        ];
        let mut web = Web::new().page(url, 200, &headers, b"A.");
        web.fetch(url).unwrap();
        web.now += 29_000;
        web.fetch(url).unwrap();
        let within = web.asked.len();
        web.now += 2_000;
        web.fetch(url).unwrap();
        (within, web.asked.len())
    };
    assert_eq!(kept("Sun, 22 Nov 2026 10:01:00 GMT"), (1, 2));
    assert_eq!(kept("0"), (2, 3), "what is no date is over");
    assert_eq!(kept("Sun, 22 Nov 2026 09:00:00 GMT"), (2, 3));
}

#[test]
fn robots_are_kept_to_when_they_come_packed() {
    let url = "https://example.com/private/a";
    let packed = gzip(b"User-agent: *\nDisallow: /private\n");
    let headers = [("content-type", "text/plain"), ("content-encoding", "gzip")];
    let mut web = Web::new().page("https://example.com/robots.txt", 200, &headers, &packed).html(url, "<p>Closed.</p>");
    assert!(matches!(web.fetch(url), Err(ToolError::Denied(why)) if why.contains("robots.txt closes")));
    let mut web =
        Web::new().page("https://example.com/robots.txt", 200, &headers, b"broken").html(url, "<p>Closed.</p>");
    assert!(matches!(web.fetch(url), Err(ToolError::Unavailable(why)) if why.contains("robots.txt")));
    assert!(web.asked.is_empty());
}
