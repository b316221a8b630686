//! Web pages.

use super::*;

fn read_html(body: &str) -> String {
    read(Format::Html, format!("<html><body>{body}</body></html>").as_bytes(), None, 1 << 20).unwrap()
}

#[test]
fn a_table_keeps_every_cell_in_its_place() {
    // Rows that begin with their heading, a cell over two rows, one over two columns, and one that is empty.
    let html = "<table><caption>Gates</caption><tr><th>Born</th><td>June | <b>1971</b></td></tr><tr><th rowspan=2>Sea</th><td>a</td><td></td><td>c</td></tr>\
                <tr><td colspan=2>d</td><td>e</td></tr></table>";
    assert_eq!(
        read_html(html),
        "Gates\n\n|  |  |  |  |\n| --- | --- | --- | --- |\n| Born | June \\| **1971** |\n| Sea | a |  | c |\n| Sea | d |  | e |"
    );
    let plain = "<table><thead><tr><td>x</td><td>y</td></tr></thead><tbody><tr><td>1</td><td><p>2</p><p>3</p></td></tr></tbody></table>";
    assert_eq!(read_html(plain), "| x | y |\n| --- | --- |\n| 1 | 2 3 |");
}

#[test]
fn a_table_that_arranges_a_page_comes_apart() {
    let html = "<table><tr><td>Menu</td><td><h2>News</h2><p>First.</p><table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table></td></tr></table>";
    assert_eq!(read_html(html), "Menu\n\n## News\n\nFirst.\n\n| a | b |\n| --- | --- |\n| 1 | 2 |");
}

#[test]
fn a_table_of_nothing_but_spans_costs_no_more_than_its_page() {
    let html = |rows: usize| {
        format!("<table>{}</table>", "<tr><td colspan=1000 rowspan=65534>x</td><td>y</td></tr>".repeat(rows))
    };
    // Without the bound that the text of a file has, which would hide what the table costs.
    let cells = |rows: usize| crate::html::to_markdown(&html(rows)).matches('|').count();
    assert!(cells(400) < 3 * cells(200), "twice the rows are about twice the cells: {} and {}", cells(200), cells(400));
    assert!(cells(400) < 50 * 400);
}

#[test]
fn formulas_are_what_their_author_has_typed_and_powers_stay_powers() {
    let html = r#"<p>So <math alttext="x_1^2"><mi>x</mi></math> is <span><math><semantics><mi>a</mi><annotation encoding="application/x-tex">a &lt; b_2</annotation></semantics></math></span>
        <span class="katex-html" aria-hidden="true">a&lt;b2</span>, about 10<sup>6</sup> or 10<sup>−3</sup>, the 1<sup>st</sup>, <del>not</del> so.</p>"#;
    assert_eq!(read_html(html), "So `$x_1^2$` is `$a < b_2$` , about 10^6 or 10^−3, the 1st, ~~not~~ so.");
}

#[test]
fn a_page_that_is_deeper_than_any_is_read_without_following_it() {
    for tag in ["div", "blockquote", "ul><li", "table><tr><td", "b", "sup"] {
        let html = format!("<p>Before.</p>{}In the deep.", format!("<{tag}>").repeat(3_000));
        // What a guest has for its stack, at most.
        let thread = std::thread::Builder::new().stack_size(1 << 20);
        let text = thread.spawn(move || read_html(&html)).unwrap().join().unwrap();
        assert!(text.contains("Before.") && text.contains("In the deep."), "{tag}: {text}");
    }
}
