//! A page that somebody has saved: all that a person would read of it, menus too, because whoever attaches a page has
//! chosen it whole.

mod table;

use dom_query::{Document, NodeRef};
use htmd::element_handler::{HandlerResult, Handlers};
use htmd::options::{BulletListMarker, Options};
use htmd::{Element, HtmlToMarkdown};
use vivarium_sdk::charset;

use crate::text::Text;

/// What no reader sees.
const UNSEEN: &str = "head, script, style, noscript, template, iframe, svg, canvas, object, embed, link, meta, [hidden], \
                      [aria-hidden=true]";

/// Elements within elements. Real pages have some dozens.
const MAX_DEPTH: usize = 100;

pub(crate) fn read(bytes: &[u8], charset: Option<&str>, text: &mut Text) {
    let content_type = charset.map(|charset| format!("text/html; charset={charset}")).unwrap_or_default();
    let html = charset::decode(bytes, &content_type);
    let document = Document::from(html.as_ref());
    let title = document.select_single("head title").text();
    let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
    prepare(&document);
    document.select(UNSEEN).remove();
    let markdown = to_markdown(&document.select_single("body").inner_html());
    // Most pages repeat their title as a heading.
    if !title.is_empty() && !markdown.contains(&title) {
        text.push("# ");
        text.push(&title);
        text.end_paragraph();
    }
    text.push(&markdown);
}

/// Makes a page ready for [`to_markdown`]: formulas become what their author has typed, powers keep their meaning, and the page is no
/// deeper than can be followed. What is removed as unseen is removed after this, because formulas stand there.
pub fn prepare(document: &Document) {
    flatten(document);
    for formula in document.select("math, script[type^=\"math/tex\"]").iter() {
        let annotation = formula.select_single("annotation[encoding=\"application/x-tex\"]").text();
        let typed = match formula.attr("alttext") {
            _ if formula.is("script") => formula.text(),
            _ if !annotation.is_empty() => annotation,
            Some(typed) => typed,
            None => continue,
        };
        let typed = escaped(&typed.split_whitespace().collect::<Vec<_>>().join(" "));
        formula.replace_with_html(format!("<code>${typed}$</code>"));
    }
    // The same once more, for programs that show no formulas.
    document.select(".mwe-math-fallback-image-inline, .mwe-math-fallback-image-display, .katex-html").remove();
    for power in document.select("sup").iter() {
        let digits = power.text();
        let digits = digits.trim().trim_start_matches(['-', '−', '+']);
        if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            power.prepend_html("^");
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// What was taken back by its author.
fn deleted(handlers: &dyn Handlers, element: Element<'_>) -> Option<HandlerResult> {
    let words = handlers.walk_children(element.node).content;
    let words = words.trim();
    (!words.is_empty()).then(|| format!("~~{words}~~").into())
}

/// Makes a page as deep as parsers of it can follow: what is deeper, and was made so to break them, becomes text.
fn flatten(document: &Document) {
    let mut nodes: Vec<(NodeRef<'_>, usize)> = vec![(document.root(), 0)];
    while let Some((node, depth)) = nodes.pop() {
        if depth < MAX_DEPTH {
            nodes.extend(node.children_it(false).filter(NodeRef::is_element).map(|child| (child, depth + 1)));
        } else {
            let text = node.text();
            node.set_text(text);
        }
    }
}

/// A part of a page as Markdown; empty where it can not be had.
#[must_use]
pub fn to_markdown(html: &str) -> String {
    let options = Options {
        bullet_list_marker: BulletListMarker::Dash,
        ul_bullet_spacing: 1,
        ol_number_spacing: 1,
        ..Options::default()
    };
    let converter = HtmlToMarkdown::builder()
        .options(options)
        .add_handler(vec!["table"], table::write)
        .add_handler(vec!["del", "s", "strike"], deleted)
        .build();
    converter.convert(html).unwrap_or_default()
}
