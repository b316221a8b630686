//! Feeds.

use super::*;

#[test]
fn feeds_are_told_entry_by_entry() {
    let rss = r#"<?xml version="1.0"?><rss version="2.0" xmlns:dc="d" xmlns:content="c"><channel><title>Harbour news</title>
        <link>https://example.com/</link><description>All the gates</description>
        <item><title>Gates &amp; tides</title><link>/1</link><pubDate>Mon, 02 Nov 2026 10:00:00 GMT</pubDate>
        <dc:creator>A. Keeper</dc:creator><description>&lt;p&gt;They &lt;b&gt;open&lt;/b&gt;.&lt;/p&gt;</description></item>
        <item><title><![CDATA[Second]]></title><guid>x</guid></item></channel></rss>"#;
    let url = "https://example.com/feed";
    for content_type in ["application/rss+xml", "text/xml", "text/html", ""] {
        let output = Web::new().page(url, 200, &[("content-type", content_type)], rss.as_bytes()).fetch(url).unwrap();
        assert_eq!(output.documents[0].title, "Harbour news");
        assert_eq!(
            output.content,
            "# Harbour news\n\nAll the gates\n\n## [Gates & tides](https://example.com/1)\n\n\
             *Mon, 02 Nov 2026 10:00:00 GMT · A. Keeper*\n\nThey **open**.\n\n## Second",
            "{content_type}"
        );
    }
    let atom = r#"<feed xmlns="http://www.w3.org/2005/Atom"><title>Log</title><entry><title>One</title>
        <link rel="self" href="/self"/><link href="https://example.org/one"/><author><name>B</name></author>
        <updated>2026-11-01T00:00:00Z</updated><summary>Short.</summary></entry></feed>"#;
    let output =
        Web::new().page(url, 200, &[("content-type", "application/atom+xml")], atom.as_bytes()).fetch(url).unwrap();
    assert_eq!(output.content, "# Log\n\n## [One](https://example.org/one)\n\n*2026-11-01T00:00:00Z · B*\n\nShort.");
}

#[test]
fn a_feed_whose_texts_are_marks_is_told_with_them() {
    let atom = r#"<feed xmlns="http://www.w3.org/2005/Atom"><title type="xhtml"><div xmlns="x">The <b>log</b></div></title><entry><title>One</title>
        <issued>2026-11-01</issued><content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml"><p>First &amp; <a href="/x?a=1&b=2">second</a>.</p><br/>
        <ul><li>third</li></ul></div></content></entry></feed>"#;
    let url = "https://example.com/feed";
    let output = Web::new().page(url, 200, &[("content-type", "text/xml")], atom.as_bytes()).fetch(url).unwrap();
    assert_eq!(
        output.content,
        "# The **log**\n\n## One\n\n*2026-11-01*\n\nFirst & [second](https://example.com/x?a=1&b=2).\n\n- third"
    );
    let rss = r#"<rss version="2.0"><channel><title>News</title><item><title>A</title><guid>https://example.com/a</guid></item>
        <item><title>B</title><guid isPermaLink="false">https://example.com/none</guid></item><item><title>C & D</title></item><item><title>E"#;
    let output = Web::new().page(url, 200, &[("content-type", "text/xml")], rss.as_bytes()).fetch(url).unwrap();
    assert_eq!(output.content, "# News\n\n## [A](https://example.com/a)\n\n## B\n\n## C & D\n\n## Without a title");
}

#[test]
fn a_json_feed_is_told_as_a_feed_and_other_json_as_it_is() {
    let feed = r#"{"version": "https://jsonfeed.org/version/1.1", "title": "Log", "items": [
        {"id": "1", "url": "/one", "title": "One", "content_html": "<p>They <b>open</b>.</p>", "date_published": "2026-11-01", "authors": [{"name": "A"}]},
        {"id": 2, "content_text": "Two."}]}"#;
    let url = "https://example.com/feed.json";
    for content_type in ["application/feed+json", "application/json", ""] {
        let output = Web::new().page(url, 200, &[("content-type", content_type)], feed.as_bytes()).fetch(url).unwrap();
        assert_eq!(
            output.content,
            "# Log\n\n## [One](https://example.com/one)\n\n*2026-11-01 · A*\n\nThey **open**.\n\n## Without a title\n\nTwo."
        );
    }
    let other = br#"{"version":"1","items":[]}"#;
    let output = Web::new().page(url, 200, &[("content-type", "application/json")], other).fetch(url).unwrap();
    assert_eq!(output.content, "{\n  \"version\": \"1\",\n  \"items\": []\n}");
}

#[test]
fn signs_in_a_feeds_marks_stay_signs_and_hide_nothing_behind_them() {
    let atom = r#"<feed xmlns="http://www.w3.org/2005/Atom"><title>Log</title><entry><title>One</title><content type="xhtml"><div xmlns="x">
        <p>Use the &lt;script&gt; element</p><p>More &#60;style&#62;, <![CDATA[<textarea>]]> &amp;lt; it.</p><iframe src="/x"/><p>And<br/>last.</p></div></content></entry></feed>"#;
    let url = "https://example.com/feed";
    let output = Web::new().page(url, 200, &[("content-type", "text/xml")], atom.as_bytes()).fetch(url).unwrap();
    for words in ["script", "element", "style", "textarea", "&lt; it.", "And", "last."] {
        assert!(output.content.contains(words), "{words}: {}", output.content);
    }
}

#[test]
fn what_is_called_like_a_feeds_element_and_is_another_is_not_told_for_it() {
    let rss = r#"<rss version="2.0"><channel><title>News</title><item><title>A</title><itunes:author>B. Keeper</itunes:author>
        <media:content url="/p.jpg"><media:credit scheme="urn:ebu">Photograph: A/B of the harbour</media:credit></media:content>
        <media:description>A gate, seen from the sea.</media:description><description>Short.</description></item></channel></rss>"#;
    let url = "https://example.com/feed";
    let output = Web::new().page(url, 200, &[("content-type", "text/xml")], rss.as_bytes()).fetch(url).unwrap();
    assert_eq!(output.content, "# News\n\n## A\n\n*B. Keeper*\n\nShort.");
}

#[test]
fn a_mark_that_nobody_ends_takes_no_other_entry_with_it() {
    let url = "https://example.com/feed";
    for text in ["One<br>two four", "One <p>two four", "One two</b> four", "<p>One two</b> four</p>"] {
        let rss = format!(
            "<rss version=\"2.0\"><channel><title>News</title><item><title>A</title><description>{text}</description><link>/a</link></item>\
             <item><title>B</title></item></channel></rss>"
        );
        let output = Web::new().page(url, 200, &[("content-type", "text/xml")], rss.as_bytes()).fetch(url).unwrap();
        let told = &output.content;
        assert!(
            told.contains("## [A](https://example.com/a)") && told.contains(" four") && told.ends_with("## B"),
            "{told}"
        );
    }
    // A mark may be called like the element that holds it.
    let atom = r#"<feed xmlns="http://www.w3.org/2005/Atom"><title>Log</title><entry><title>One</title><summary type="xhtml"><div><details>
        <summary>five</summary>six</details></div></summary><link href="/one"/></entry></feed>"#;
    let output = Web::new().page(url, 200, &[("content-type", "text/xml")], atom.as_bytes()).fetch(url).unwrap();
    assert!(output.content.contains("## [One](https://example.com/one)") && output.content.contains("six"));
}

#[test]
fn a_feeds_title_is_its_words_alone() {
    let atom = r#"<feed xmlns="http://www.w3.org/2005/Atom"><title type="xhtml"><div xmlns="x">The <b>log</b> &amp; more</div></title>
        <entry><title>One</title></entry></feed>"#;
    let url = "https://example.com/feed";
    let output = Web::new().page(url, 200, &[("content-type", "text/xml")], atom.as_bytes()).fetch(url).unwrap();
    assert_eq!(output.documents[0].title, "The log & more");
}

#[test]
fn a_json_feed_that_leaves_something_empty_is_one() {
    let feed = r#"{"version": "https://jsonfeed.org/version/1.1", "title": null, "description": null,
        "items": [{"id": "1", "title": null, "content_text": "One.", "date_published": null}]}"#;
    let url = "https://example.com/feed.json";
    let output =
        Web::new().page(url, 200, &[("content-type", "application/feed+json")], feed.as_bytes()).fetch(url).unwrap();
    assert_eq!(output.content, "## Without a title\n\nOne.");
}
