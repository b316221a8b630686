//! A page that somebody has saved: all that a person would read of it, menus too, because whoever attaches a page has
//! chosen it whole.

use dom_query::Document;
use htmd::HtmlToMarkdown;
use htmd::options::{BulletListMarker, Options};
use vivarium_sdk::charset;

use crate::text::Text;

/// What no reader sees.
const UNSEEN: &str = "head, script, style, noscript, template, iframe, svg, canvas, object, embed, link, meta, [hidden], \
                      [aria-hidden=true]";

pub(crate) fn read(bytes: &[u8], charset: Option<&str>, text: &mut Text) {
    let content_type = charset.map(|charset| format!("text/html; charset={charset}")).unwrap_or_default();
    let html = charset::decode(bytes, &content_type);
    let document = Document::from(html.as_ref());
    let title = document.select_single("head title").text();
    let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
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
