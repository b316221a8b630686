//! A page as a person reads it: its main text as Markdown, with headings, lists, tables, code and links, without menus,
//! scripts and advertisements.

use dom_query::Document;
use dom_smoothie::{Config, Readability};
use vivarium_reading::html::{prepare, to_markdown};
use vivarium_sdk::http::Url;

/// What no reader sees or wants.
const CLUTTER: &str = "script, style, noscript, template, iframe, svg, canvas, object, embed, nav, footer, aside, dialog, \
                       button, select, input, textarea, link, meta, [role=navigation], [hidden], [aria-hidden=true]";
/// Where a page marks its own main part.
const MAIN: &str = "main, [role=main]";
/// Readability is made for articles. Where it keeps less of the page's words than this, links aside, it has lost the page's point:
/// a reference, a table, a list.
const MIN_KEPT_PERCENT: usize = 70;
/// The same for a page that says that it is an article: what is around it may be more than itself.
const MIN_KEPT_OF_ARTICLE_PERCENT: usize = 25;
/// With which a page says so.
const MARKS_OF_ARTICLE: &str = "meta[property=\"og:type\"][content=article], meta[property=\"article:published_time\"], \
                                [itemprop=articleBody]";
/// A longer word about a page is not about its author.
const MAX_ABOUT_BYTES: usize = 200;
/// A page with more elements is not an article, and scoring them would take long.
const MAX_SCORED_ELEMENTS: usize = 30_000;

/// A page, made readable.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) title: Option<String>,
    /// Its text, after a line about who has written it and when, where the page says so.
    pub(crate) markdown: String,
    /// It has a field for a password.
    pub(crate) asks_for_password: bool,
    /// Where it sends its readers by itself.
    pub(crate) leads_to: Option<Url>,
}

/// Makes the page at `url` readable.
pub(crate) fn readable(html: &str, url: &Url) -> Page {
    let document = Document::from(html);
    prepare(&document);
    let (title, about) = (title(&document), about(&document, url));
    let asks_for_password = document.select("input[type=password]").exists();
    let leads_to = refresh(&document, url);
    let min_kept_percent = if is_article(&document) { MIN_KEPT_OF_ARTICLE_PERCENT } else { MIN_KEPT_PERCENT };
    make_links_absolute(&document, url);
    name_languages(&document);
    document.select(CLUTTER).remove();
    let marked = document.select_single(MAIN).try_inner_html();
    let whole = marked.unwrap_or_else(|| document.select_single("body").inner_html());
    let whole = to_markdown(&whole);
    let markdown = match article(&document.html(), url).map(|article| to_markdown(&article)) {
        Some(article) if prose(&article) * 100 >= prose(&whole) * min_kept_percent => article,
        _ => whole,
    };
    let markdown = tidy(&markdown);
    let markdown = if about.is_empty() || markdown.is_empty() { markdown } else { format!("*{about}*\n\n{markdown}") };
    Page { title, markdown, asks_for_password, leads_to }
}

/// The address in `<meta http-equiv=refresh content="0; url=…">`.
fn refresh(document: &Document, url: &Url) -> Option<Url> {
    let content = document
        .select_single("meta[http-equiv=refresh], meta[http-equiv=Refresh], meta[http-equiv=REFRESH]")
        .attr("content")?;
    let at = content.to_ascii_lowercase().find("url=")?;
    let target = content.get(at + 4..)?.trim().trim_matches(['"', '\'']);
    url.join(target).ok().filter(|target| matches!(target.scheme(), "http" | "https") && target != url)
}

/// Whether a page says that it is an article.
fn is_article(document: &Document) -> bool {
    let says_so = |script: &str| ["Article\"", "BlogPosting\""].iter().any(|kind| script.contains(kind));
    document.select(MARKS_OF_ARTICLE).exists()
        || document.select("script[type=\"application/ld+json\"]").iter().any(|script| says_so(&script.text()))
}

/// How many letters a text has besides those of its links: menus and lists of other pages are made of links.
fn prose(markdown: &str) -> usize {
    let (mut letters, mut in_brackets) = (0_usize, 0_usize);
    let mut signs = markdown.chars().peekable();
    while let Some(sign) = signs.next() {
        match sign {
            '[' => in_brackets = 0,
            ']' if signs.peek() == Some(&'(') => {
                letters -= in_brackets;
                in_brackets = 0;
                for sign in signs.by_ref() {
                    if matches!(sign, ')' | '\n') {
                        break;
                    }
                }
            }
            letter if letter.is_alphanumeric() => {
                letters += 1;
                in_brackets += 1;
            }
            _ => {}
        }
    }
    letters
}

/// A piece of a page, such as a feed's summary of it.
pub(crate) fn fragment(html: &str, url: &Url) -> String {
    let document = Document::from(html);
    prepare(&document);
    make_links_absolute(&document, url);
    document.select(CLUTTER).remove();
    tidy(&to_markdown(&document.select_single("body").inner_html()))
}

/// The words of a piece of a page, without its marks.
pub(crate) fn words(html: &str) -> String {
    let document = Document::from(html);
    document.select(CLUTTER).remove();
    document.select_single("body").text().to_string()
}

/// Who has written a page, when, and where it really is.
fn about(document: &Document, url: &Url) -> String {
    let meta = |selectors: &[&str]| {
        let found = selectors.iter().find_map(|selector| {
            let element = document.select_single(selector);
            let value = element.attr("content").or_else(|| element.attr("datetime")).map(|value| value.to_string());
            value.map(|value| flat(&value)).filter(|value| !value.is_empty() && value.len() <= MAX_ABOUT_BYTES)
        });
        found.unwrap_or_default()
    };
    let author = meta(&["meta[name=author]", "meta[property=\"article:author\"]", "meta[name=\"citation_author\"]"]);
    let author = if author.starts_with("http") { String::new() } else { author };
    let date = meta(&[
        "meta[property=\"article:published_time\"]",
        "meta[name=\"citation_publication_date\"]",
        "meta[name=date]",
        "meta[itemprop=datePublished]",
        "article time[datetime]",
    ]);
    let canonical = document.select_single("link[rel=canonical]").attr("href").and_then(|href| url.join(&href).ok());
    // Where it is the page's own address it tells nobody anything.
    let canonical = canonical.filter(|canonical| {
        matches!(canonical.scheme(), "http" | "https")
            && (canonical.host(), canonical.path()) != (url.host(), url.path())
    });
    let canonical = canonical.map(|canonical| format!("also at {canonical}")).unwrap_or_default();
    let parts = [author, date, canonical];
    let told: Vec<&str> = parts.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
    told.join(" · ").replace('*', "")
}

fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Blocks of code become plain text in one element that names their language, however the page has marked both.
fn name_languages(document: &Document) {
    document.select("pre .linenos, pre .lineno, pre .line-number, td.linenos, pre button, pre .copy").remove();
    for block in document.select("pre").iter() {
        let code = block.select_single("code");
        let places = [code.clone(), block.clone(), block.parent(), block.parent().parent()];
        let language =
            places.iter().find_map(|place| language(&place.attr_or("class", ""), &place.attr_or("data-lang", "")));
        let text = block.text();
        let text = text.trim_end().trim_start_matches('\n');
        let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let class = language.map(|language| format!(" class=\"language-{language}\"")).unwrap_or_default();
        block.set_html(format!("<code{class}>{escaped}</code>"));
    }
}

/// A language's name in an element's classes: `language-rust`, `lang-rust`, `highlight-rust`, `highlight-source-rust`,
/// `brush: rust`, or rustdoc's and Sphinx's own.
fn language(class: &str, data: &str) -> Option<String> {
    let clean = |name: &str| {
        let name = name.trim_end_matches(';').to_ascii_lowercase();
        let fits = !name.is_empty()
            && name.len() <= 20
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"+#-_".contains(&b));
        (fits && !matches!(name.as_str(), "none" | "default" | "text" | "plaintext" | "notranslate")).then_some(name)
    };
    if let Some(name) = clean(data) {
        return Some(name);
    }
    let mut classes = class.split_whitespace().peekable();
    while let Some(one) = classes.next() {
        if one == "brush:" {
            return classes.next().and_then(clean);
        }
        for beginning in ["language-", "lang-", "highlight-source-", "highlight-", "sourceCode-"] {
            if let Some(name) = one.strip_prefix(beginning).and_then(clean) {
                return Some(if name == "python3" || name == "ipython3" { "python".to_owned() } else { name });
            }
        }
        if one == "rust" {
            return Some("rust".to_owned());
        }
    }
    None
}

fn title(document: &Document) -> Option<String> {
    let candidates = [
        document.select_single("meta[property=\"og:title\"]").attr("content"),
        Some(document.select_single("head title").text()),
        Some(document.select_single("h1").text()),
    ];
    candidates.into_iter().flatten().map(|text| flat(&text)).find(|text| !text.is_empty())
}

/// Links that lead somewhere from anywhere; a link to a place on the page itself is none.
fn make_links_absolute(document: &Document, url: &Url) {
    let base = document.select_single("base[href]").attr("href").and_then(|href| url.join(&href).ok());
    let base = base.as_ref().unwrap_or(url);
    for image in document.select("img").iter() {
        // Pages that load their pictures late have the address elsewhere.
        let late = image.attr("data-src").or_else(|| image.attr("data-original"));
        let src = late.or_else(|| image.attr("src")).unwrap_or_default();
        // A picture without a word says nothing here.
        if image.attr_or("alt", "").trim().is_empty() {
            image.remove();
            continue;
        }
        match src {
            src if src.is_empty() || src.starts_with("data:") => image.remove(),
            src => {
                if let Ok(target) = base.join(&src) {
                    image.set_attr("src", target.as_str());
                }
            }
        }
    }
    let page = without_fragment(base);
    for link in document.select("a").iter() {
        // It says what the link's words say.
        link.remove_attr("title");
        let words = link.text();
        if words.trim().is_empty() && !link.select("img").exists() {
            link.remove();
            continue;
        }
        let Some(target) = link.attr("href").map(|href| base.join(&href)) else { continue };
        match target {
            Ok(target) if target.fragment().is_some() && without_fragment(&target) == page => match words.trim() {
                // What headings carry so that one can link to them.
                "#" | "§" | "¶" | "🔗" => link.remove(),
                _ => link.remove_attr("href"),
            },
            Ok(target) => link.set_attr("href", target.as_str()),
            Err(_) => {}
        }
    }
}

fn without_fragment(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_fragment(None);
    url
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
