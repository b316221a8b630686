//! The readable text of a page. Text nodes are kept word for word: white space is collapsed outside of `<pre>`, as
//! browsers do; a block becomes a line break; what is no part of the text (scripts, navigation, buttons, anchors) is
//! left out. Where something visible is left out, a line ends, so that no quote can span the hole.

use scraper::node::Element;
use scraper::{Html, Node};

use super::{Extracted, Heading, SkipReason, one_line};

/// A `<main>` with less text than this is a shell that scripts would fill; then the whole body counts.
const MIN_MAIN_BYTES: usize = 200;
/// A page that leads on with `<meta http-equiv=refresh>` and says no more than this is only a redirect.
const MAX_REDIRECT_BYTES: usize = 300;

/// Nobody writes deeper pages, and the parser's time grows with the square of the depth.
const MAX_DEPTH: usize = 2_000;

pub(super) fn extract(source: &str) -> Result<Extracted, SkipReason> {
    if is_too_deep(source) {
        return Err(SkipReason::Generated);
    }
    let page = Html::parse_document(source);
    let outline = Outline::of(&page);
    let mut body = outline.main.map(|main| read(main)).filter(|main| main.text.len() >= MIN_MAIN_BYTES);
    let Written { text, headings } = body.take().unwrap_or_else(|| read(outline.body.unwrap_or(page.tree.root())));
    if outline.redirects && text.len() <= MAX_REDIRECT_BYTES {
        return Err(SkipReason::Redirect);
    }
    let title = outline.title.or_else(|| {
        let first = headings.iter().find(|heading| heading.level == 1).or(headings.first());
        first.map(|heading| heading.label.clone())
    });
    Ok(Extracted { title: title.unwrap_or_default(), media_type: "text/plain", text, headings, truncated: false })
}

/// Counts tags before anything is parsed. Tags that may stand without an end tag are left out, so a real page's count
/// is its depth or less.
fn is_too_deep(source: &str) -> bool {
    const WITHOUT_END: &[&str] = &[
        "area", "base", "body", "br", "col", "colgroup", "dd", "dt", "embed", "head", "hr", "html", "img", "input",
        "li", "link", "meta", "optgroup", "option", "p", "param", "rp", "rt", "source", "tbody", "td", "tfoot", "th",
        "thead", "tr", "track", "wbr",
    ];
    let mut depth = 0_usize;
    for piece in source.split('<').skip(1) {
        let end_tag = piece.strip_prefix('/');
        let name = end_tag.unwrap_or(piece);
        let name =
            name.get(..name.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(name.len())).unwrap_or_default();
        let starts_a_tag = name.starts_with(|c: char| c.is_ascii_alphabetic());
        if !starts_a_tag || WITHOUT_END.iter().any(|other| other.eq_ignore_ascii_case(name)) {
            continue;
        }
        depth = if end_tag.is_some() { depth.saturating_sub(1) } else { depth + 1 };
        if depth > MAX_DEPTH {
            return true;
        }
    }
    false
}

type NodeRef<'p> = ego_tree::NodeRef<'p, Node>;

/// The landmarks of a page, found in one walk.
#[derive(Default)]
struct Outline<'p> {
    title: Option<String>,
    body: Option<NodeRef<'p>>,
    main: Option<NodeRef<'p>>,
    redirects: bool,
}

impl<'p> Outline<'p> {
    fn of(page: &'p Html) -> Self {
        let mut outline = Self::default();
        for node in page.tree.root().descendants() {
            let Node::Element(element) = node.value() else { continue };
            match element.name() {
                "title" if outline.title.is_none() && outline.body.is_none() => {
                    let text: String = node.children().filter_map(|c| c.value().as_text().map(|t| &**t)).collect();
                    outline.title = Some(one_line(&text)).filter(|title| !title.is_empty());
                }
                "meta" => {
                    let refresh = element.attr("http-equiv").is_some_and(|v| v.eq_ignore_ascii_case("refresh"));
                    outline.redirects |= refresh;
                }
                "body" => outline.body = outline.body.or(Some(node)),
                "main" => {
                    outline.main = outline.main.or(Some(node));
                    // Everything that is looked for comes before it.
                    break;
                }
                _ => {}
            }
        }
        outline
    }
}

struct Written {
    text: String,
    headings: Vec<Heading>,
}

/// The text under `root`. Walks without recursion: a page may be nested arbitrarily deep.
fn read(root: NodeRef<'_>) -> Written {
    let mut writer = Writer::default();
    let mut left_out = None;
    for edge in root.traverse() {
        match edge {
            ego_tree::iter::Edge::Open(node) => match node.value() {
                _ if left_out.is_some() => {}
                Node::Text(text) => writer.text(text),
                Node::Element(element) if is_left_out(element) => {
                    writer.separate(Gap::Line);
                    left_out = Some(node.id());
                }
                Node::Element(element) => writer.open(element.name()),
                _ => {}
            },
            ego_tree::iter::Edge::Close(node) if left_out.is_some() => {
                if left_out == Some(node.id()) {
                    left_out = None;
                }
            }
            ego_tree::iter::Edge::Close(node) => {
                if let Node::Element(element) = node.value() {
                    writer.close(element.name());
                }
            }
        }
    }
    writer.finish()
}

/// What separates two pieces of text; the greatest that was asked for wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Gap {
    #[default]
    None,
    Space,
    Cell,
    Line,
    Paragraph,
}

impl Gap {
    fn of(element: &str) -> Self {
        match element {
            "p" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "pre" | "ul" | "ol" | "dl" | "table" | "blockquote"
            | "section" | "article" | "main" | "figure" | "header" | "footer" | "hgroup" | "fieldset" | "details"
            | "body" | "address" | "aside" | "hr" => Self::Paragraph,
            "li" | "dt" | "dd" | "tr" | "div" | "br" | "summary" | "figcaption" | "caption" | "legend" | "thead"
            | "tbody" | "tfoot" | "center" | "menu" | "dir" | "form" | "option" | "search" => Self::Line,
            "td" | "th" => Self::Cell,
            _ => Self::None,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Space => " ",
            Self::Cell => "\t",
            Self::Line => "\n",
            Self::Paragraph => "\n\n",
        }
    }
}

#[derive(Default)]
struct Writer {
    text: String,
    gap: Gap,
    pre_depth: usize,
    headings: Vec<Heading>,
    /// The heading that is open: its level, and where its text starts once it has some.
    heading: Option<(u8, Option<usize>)>,
}

impl Writer {
    fn separate(&mut self, gap: Gap) {
        self.gap = self.gap.max(gap);
    }

    fn text(&mut self, text: &str) {
        if self.pre_depth > 0 {
            if !text.is_empty() {
                self.flush();
                self.text.push_str(text);
            }
            return;
        }
        for (at, word) in text.split(char::is_whitespace).enumerate() {
            if at > 0 {
                self.separate(Gap::Space);
            }
            if !word.is_empty() {
                self.flush();
                self.text.push_str(word);
            }
        }
    }

    /// Writes the gap that is due before more text.
    fn flush(&mut self) {
        let gap = std::mem::take(&mut self.gap);
        if !self.text.is_empty() {
            self.text.push_str(gap.text());
        }
        let start = self.text.len();
        if let Some((_, place @ None)) = &mut self.heading {
            *place = Some(start);
        }
    }

    fn open(&mut self, name: &str) {
        // Inside of <pre>, elements colour the code; only a line break has a meaning.
        let gap = if self.pre_depth > 0 && name != "br" { Gap::None } else { Gap::of(name) };
        self.separate(gap);
        if name == "pre" {
            self.pre_depth += 1;
        }
        if let Some(level) = heading_level(name) {
            self.heading = Some((level, None));
        }
    }

    fn close(&mut self, name: &str) {
        if heading_level(name).is_some() {
            self.close_heading();
        }
        if name == "pre" {
            self.pre_depth = self.pre_depth.saturating_sub(1);
            let kept = self.text.trim_end().len();
            self.text.truncate(kept);
        }
        self.separate(if self.pre_depth > 0 { Gap::None } else { Gap::of(name) });
    }

    fn close_heading(&mut self) {
        let Some((level, Some(start))) = self.heading.take() else { return };
        let range = start..self.text.len();
        let label = self.text.get(range.clone()).map(one_line).unwrap_or_default();
        if !label.is_empty() {
            self.headings.push(Heading { range, level, label });
        }
    }

    fn finish(mut self) -> Written {
        let kept = self.text.trim_end().len();
        self.text.truncate(kept);
        self.headings.retain(|heading| heading.range.end <= kept);
        Written { text: self.text, headings: self.headings }
    }
}

fn heading_level(name: &str) -> Option<u8> {
    match name.as_bytes() {
        [b'h', level @ b'1'..=b'6'] => Some(level - b'0'),
        _ => None,
    }
}

/// Classes by which generators of documentation (rustdoc, mdBook, Sphinx, MkDocs, Docusaurus, Javadoc, Doxygen, MediaWiki)
/// mark what is decoration.
const DECORATION: &[&str] = &[
    "anchor",
    "anchor-link",
    "anchorjs-link",
    "copybtn",
    "doc-anchor",
    "hash-link",
    "header-anchor",
    "headerlink",
    "hideme",
    "linenos",
    "mw-editsection",
    "rightside",
    "rustdoc-breadcrumbs",
    "sidebar",
    "skip-link",
    "skip-main-content",
    "skip-nav",
    "test-arrow",
    "toctree-wrapper",
    "tooltip",
    "visually-hidden",
];

fn is_left_out(element: &Element) -> bool {
    let name = element.name();
    matches!(
        name,
        "script"
            | "style"
            | "noscript"
            | "template"
            | "nav"
            | "svg"
            | "button"
            | "iframe"
            | "object"
            | "head"
            | "select"
            | "textarea"
            | "canvas"
            | "audio"
            | "video"
            | "dialog"
            | "rustdoc-toolbar"
            | "rustdoc-topbar"
    ) || element.attrs().any(|(attribute, value)| match attribute {
        "hidden" => !value.eq_ignore_ascii_case("until-found"),
        "aria-hidden" => value == "true",
        "data-nosnippet" => true,
        "role" => matches!(value, "navigation" | "search" | "dialog" | "menu" | "menubar" | "toolbar"),
        "style" => hides(value),
        "class" => value
            .split_ascii_whitespace()
            .any(|class| DECORATION.binary_search(&class).is_ok() || (name == "a" && class == "src")),
        _ => false,
    })
}

fn hides(style: &str) -> bool {
    style.split(';').any(|rule| {
        let (property, value) = rule.split_once(':').unwrap_or_default();
        property.trim().eq_ignore_ascii_case("display") && value.trim().to_ascii_lowercase().starts_with("none")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(source: &str) -> String {
        extract(source).unwrap().text
    }

    #[test]
    fn the_list_of_decorations_is_sorted_for_its_search() {
        assert!(DECORATION.is_sorted());
    }

    #[test]
    fn text_is_kept_word_for_word_and_blocks_become_line_breaks() {
        let page = "<h1>Vec</h1><p>A  contiguous\n growable <b>array</b> type,\nwritten\u{a0}as \
                    <code>Vec&lt;T&gt;</code>s.</p><ul><li>one<li>two</ul><table><tr><td>a<td>b</table>";
        assert_eq!(text(page), "Vec\n\nA contiguous growable array type, written as Vec<T>s.\n\none\ntwo\n\na\tb");
    }

    #[test]
    fn code_keeps_its_lines_and_its_indent() {
        let page = "<p>Look:</p><pre><code>fn main() {\n    <span>let</span> x = 1;\n}\n</code></pre><p>Done.</p>";
        assert_eq!(text(page), "Look:\n\nfn main() {\n    let x = 1;\n}\n\nDone.");
    }

    #[test]
    fn scripts_navigation_buttons_and_anchors_are_left_out() {
        let page = "<head><style>p{}</style></head><nav>Menu</nav><h2><a class='doc-anchor' href='#x'>§</a>Use\
                    <button>Copy item path</button></h2><p>Text<script>alert(1)</script> goes on</p>\
                    <p style='color:red; display: none'>gone</p><p hidden>gone</p><a class='src'>Source</a>";
        assert_eq!(text(page), "Use\n\nText\ngoes on");
    }

    #[test]
    fn main_is_preferred_where_it_holds_the_text() {
        let long = "Words of the page itself. ".repeat(20);
        let page = format!("<body><div>Sidebar</div><main><p>{long}</p></main><div>Footer</div>");
        assert_eq!(text(&page), long.trim_end());
        assert_eq!(text("<body><p>All of it</p><main></main>"), "All of it");
    }

    #[test]
    fn headings_are_found_where_they_stand() {
        let page =
            extract("<title> The\n Title </title><h1>One</h1><p>a</p><h2>Two <i>words</i></h2><p>b</p>").unwrap();
        assert_eq!(page.title, "The Title");
        let found: Vec<_> = page.headings.iter().map(|h| (h.level, &page.text[h.range.clone()])).collect();
        assert_eq!(found, [(1, "One"), (2, "Two words")]);
    }

    #[test]
    fn a_page_without_a_title_is_called_after_its_first_heading() {
        assert_eq!(extract("<h2>Sub</h2><h1>Top</h1><p>x").unwrap().title, "Top");
    }

    #[test]
    fn a_page_that_only_leads_on_is_skipped() {
        let page = "<meta http-equiv=refresh content='0;URL=b.html'><p>Redirecting to <a href=b.html>b</a>…</p>";
        assert_eq!(extract(page), Err(SkipReason::Redirect));
    }

    #[test]
    fn a_page_nested_deep_is_read_and_one_nested_without_end_is_refused_at_once() {
        let nested = |depth| format!("{}deep{}", "<div>".repeat(depth), "</div>".repeat(depth));
        assert_eq!(text(&nested(MAX_DEPTH)), "deep");
        assert_eq!(extract(&nested(1_000_000)), Err(SkipReason::Generated));
    }

    #[test]
    fn tags_that_need_no_end_do_not_count_as_nesting() {
        assert_eq!(text(&"<p>One<br>two".repeat(2 * MAX_DEPTH)).lines().next(), Some("One"));
    }

    proptest! {
        #[test]
        fn no_page_makes_it_panic_and_headings_stand_within_the_text(page in "(<[a-z1-6/]{1,6}>|[ -~é\n]{0,12}){0,40}") {
            if let Ok(extracted) = extract(&page) {
                for heading in &extracted.headings {
                    prop_assert!(extracted.text.get(heading.range.clone()).is_some());
                }
            }
        }
    }
}
