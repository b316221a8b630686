//! A page as a person reads it: its main text as Markdown, with headings, lists, tables, code and links, without menus,
//! scripts and advertisements.

use dom_query::Document;
use dom_smoothie::{Config, Readability};
use htmd::HtmlToMarkdown;
use htmd::options::{BulletListMarker, Options};
use vivarium_sdk::http::Url;

/// What no reader sees or wants.
const CLUTTER: &str = "script, style, noscript, template, iframe, svg, canvas, object, embed, nav, footer, aside, dialog, \
                       button, select, input, textarea, link, meta, [role=navigation], [hidden], [aria-hidden=true]";
/// Where a page marks its own main part.
const MAIN: &str = "main, [role=main]";
/// Readability is made for articles. Where it keeps less of the page than this, it has lost the page's point: a reference,
/// a table, a list.
const MIN_KEPT_PERCENT: usize = 50;
/// A page with more elements is not an article, and scoring them would take long.
const MAX_SCORED_ELEMENTS: usize = 30_000;

/// A page, made readable.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) title: Option<String>,
    pub(crate) markdown: String,
}

/// Makes the page at `url` readable.
pub(crate) fn readable(html: &str, url: &Url) -> Page {
    let document = Document::from(html);
    let title = title(&document);
    make_links_absolute(&document, url);
    document.select(CLUTTER).remove();
    let marked = document.select_single(MAIN).try_inner_html();
    let whole = marked.unwrap_or_else(|| document.select_single("body").inner_html());
    let whole = to_markdown(&whole);
    let markdown = match article(&document.html(), url).map(|article| to_markdown(&article)) {
        Some(article) if article.len() * 100 >= whole.len() * MIN_KEPT_PERCENT => article,
        _ => whole,
    };
    Page { title, markdown: tidy(&markdown) }
}

fn title(document: &Document) -> Option<String> {
    let candidates = [
        document.select_single("meta[property=\"og:title\"]").attr("content"),
        Some(document.select_single("head title").text()),
        Some(document.select_single("h1").text()),
    ];
    let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    candidates.into_iter().flatten().map(|text| flat(&text)).find(|text| !text.is_empty())
}

/// Links that lead somewhere from anywhere; a link to a place on the page itself is none.
fn make_links_absolute(document: &Document, url: &Url) {
    let base = document.select_single("base[href]").attr("href").and_then(|href| url.join(&href).ok());
    let base = base.as_ref().unwrap_or(url);
    for link in document.select("a[href]").iter() {
        let href = link.attr_or("href", "");
        if href.starts_with('#') {
            // What headings carry so that one can link to them.
            match link.text().trim() {
                "" | "#" | "§" | "¶" | "🔗" => link.remove(),
                _ => link.remove_attr("href"),
            }
        } else if let Ok(target) = base.join(&href) {
            link.set_attr("href", target.as_str());
        }
    }
    for image in document.select("img[src]").iter() {
        match image.attr_or("src", "") {
            src if src.starts_with("data:") => image.remove(),
            src => {
                if let Ok(target) = base.join(&src) {
                    image.set_attr("src", target.as_str());
                }
            }
        }
    }
}

/// The article within the page, if it looks like one.
fn article(html: &str, url: &Url) -> Option<String> {
    let config = Config {
        // The language of a code block is a class.
        keep_classes: true,
        max_elements_to_parse: MAX_SCORED_ELEMENTS,
        disable_json_ld: true,
        ..Config::default()
    };
    let mut readability = Readability::new(html, Some(url.as_str()), Some(config)).ok()?;
    readability.parse().ok().map(|article| article.content.to_string())
}

fn to_markdown(html: &str) -> String {
    let options = Options {
        bullet_list_marker: BulletListMarker::Dash,
        ul_bullet_spacing: 1,
        ol_number_spacing: 1,
        ..Options::default()
    };
    let converter = HtmlToMarkdown::builder().options(options).build();
    converter.convert(html).unwrap_or_default()
}

/// Without the white space that the page's layout has left behind: at most one empty line, outside of code.
fn tidy(markdown: &str) -> String {
    let mut out = String::with_capacity(markdown.len());
    let mut in_code = false;
    let mut empty = 0_u32;
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        let line = if in_code { line } else { line.trim_end() };
        empty = if line.is_empty() { empty + 1 } else { 0 };
        if in_code || (empty <= 1 && !(line.is_empty() && out.is_empty())) {
            out.push_str(line);
            out.push('\n');
        }
    }
    out.truncate(out.trim_end().len());
    out
}
