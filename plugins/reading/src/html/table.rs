//! Tables of pages. One that holds data stays a table, whatever it calls its cells; one that only arranges a page comes apart into
//! its parts.

use std::rc::Rc;

use htmd::Element;
use htmd::Node;
use htmd::element_handler::{HandlerResult, Handlers};
use markup5ever_rcdom::NodeData;

/// What stands in a table's cell where the table arranges the page.
const PARTS_OF_A_PAGE: [&str; 10] = ["table", "h1", "h2", "h3", "h4", "h5", "h6", "article", "section", "blockquote"];
/// A longer cell is a page's part, where no cell is marked as a heading.
const MAX_CELL_BYTES: usize = 1500;
/// Columns that one cell may reach over.
const MAX_SPAN: usize = 20;
/// Cells that reach into rows below are said again there: so many for each cell that a table has, and some for a small one. Rows that
/// each begin behind all that reaches down from above would make a table that grows with the square of its page.
const MAX_REPEATED_PER_CELL: usize = 4;
const MAX_REPEATED: usize = 1_000;
/// A longer text is not said again in each row that it reaches over.
const MAX_REPEATED_BYTES: usize = 200;

struct Row {
    cells: Vec<Cell>,
    in_head: bool,
}

struct Cell {
    text: String,
    is_heading: bool,
    is_part_of_a_page: bool,
    columns: usize,
    rows: usize,
}

/// A `table` element as Markdown.
pub(super) fn write(handlers: &dyn Handlers, element: Element<'_>) -> Option<HandlerResult> {
    let (mut rows, mut captions) = (Vec::new(), Vec::new());
    read(handlers, element.node, false, &mut rows, &mut captions);
    let mut out = String::from("\n\n");
    for caption in captions.iter().filter(|caption| !caption.is_empty()) {
        out.push_str(caption);
        out.push_str("\n\n");
    }
    match arranges(&rows) {
        true => write_parts(&rows, &mut out),
        false => write_table(rows, &mut out),
    }
    out.push('\n');
    Some(out.into())
}

/// The rows of a table or of one of its groups of rows, and its captions.
fn read(handlers: &dyn Handlers, group: &Rc<Node>, in_head: bool, rows: &mut Vec<Row>, captions: &mut Vec<String>) {
    for child in group.children.borrow().iter() {
        match name(child) {
            // There is one group within a table, and none within a group.
            Some("tbody" | "tfoot") => read(handlers, child, false, rows, captions),
            Some("thead") => read(handlers, child, true, rows, captions),
            Some("caption") => captions.push(text(handlers, child)),
            Some("tr") => {
                let cells: Vec<Cell> =
                    child.children.borrow().iter().filter_map(|cell| read_cell(handlers, cell)).collect();
                if cells.iter().any(|cell| !cell.text.is_empty()) {
                    rows.push(Row { cells, in_head });
                }
            }
            _ => {}
        }
    }
}

fn read_cell(handlers: &dyn Handlers, node: &Rc<Node>) -> Option<Cell> {
    let is_heading = match name(node)? {
        "th" => true,
        "td" => false,
        _ => return None,
    };
    Some(Cell {
        text: text(handlers, node),
        is_heading,
        is_part_of_a_page: has_part_of_a_page(node),
        columns: span(node, "colspan").min(MAX_SPAN),
        rows: span(node, "rowspan"),
    })
}

fn text(handlers: &dyn Handlers, node: &Rc<Node>) -> String {
    handlers.handle(node).map(|result| result.content.trim().to_owned()).unwrap_or_default()
}

fn name(node: &Rc<Node>) -> Option<&str> {
    match &node.data {
        NodeData::Element { name, .. } => Some(&name.local),
        _ => None,
    }
}

/// How many columns or rows a cell reaches over.
fn span(node: &Rc<Node>, key: &str) -> usize {
    let NodeData::Element { attrs, .. } = &node.data else { return 1 };
    let attributes = attrs.borrow();
    let value = attributes.iter().find(|attribute| &*attribute.name.local == key);
    value.and_then(|value| value.value.trim().parse().ok()).unwrap_or(1).max(1)
}

fn has_part_of_a_page(cell: &Rc<Node>) -> bool {
    let mut nodes = vec![cell.clone()];
    while let Some(node) = nodes.pop() {
        let children = node.children.borrow();
        if children.iter().any(|child| name(child).is_some_and(|name| PARTS_OF_A_PAGE.contains(&name))) {
            return true;
        }
        nodes.extend(children.iter().cloned());
    }
    false
}

/// Whether a table arranges a page's parts, or has but one row or column.
fn arranges(rows: &[Row]) -> bool {
    let cells = || rows.iter().flat_map(|row| &row.cells);
    let has_headings = cells().any(|cell| cell.is_heading);
    let is_line = rows.len() < 2 || rows.iter().all(|row| row.cells.len() < 2);
    is_line || cells().any(|cell| cell.is_part_of_a_page || !has_headings && cell.text.len() > MAX_CELL_BYTES)
}

fn write_parts(rows: &[Row], out: &mut String) {
    for row in rows {
        let texts: Vec<&str> =
            row.cells.iter().map(|cell| cell.text.as_str()).filter(|text| !text.is_empty()).collect();
        // Short words beside each other stay so.
        let is_line = texts.iter().all(|text| !text.contains('\n'));
        out.push_str(&texts.join(if is_line { " " } else { "\n\n" }));
        out.push_str("\n\n");
    }
}

fn write_table(rows: Vec<Row>, out: &mut String) {
    // What reaches down into the rows to come: how far, and its text.
    let mut from_above: Vec<(usize, String)> = Vec::new();
    let mut lines: Vec<Vec<String>> = Vec::new();
    let is_head = |row: &Row| row.in_head || row.cells.iter().all(|cell| cell.is_heading);
    // Rows may each begin with their heading, under no heading at all.
    let begins_with_head =
        rows.first().is_some_and(is_head) || !rows.iter().any(|row| row.cells.iter().any(|cell| cell.is_heading));
    let mut room = MAX_REPEATED + MAX_REPEATED_PER_CELL * rows.iter().map(|row| row.cells.len()).sum::<usize>();
    for row in rows {
        let mut line: Vec<String> = Vec::new();
        let mut cells = row.cells.into_iter();
        loop {
            if let Some((left, text)) = from_above.get_mut(line.len()).filter(|(left, _)| *left > 0 && room > 0) {
                *left -= 1;
                room -= 1;
                line.push(text.clone());
                continue;
            }
            let Some(cell) = cells.next() else { break };
            let text = cell.text.replace('|', "\\|").replace("\\\\|", "\\|");
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            for column in 0..cell.columns {
                // Over several columns it stands in the first.
                let here = if column == 0 { text.clone() } else { String::new() };
                if cell.rows > 1 {
                    from_above.resize_with(from_above.len().max(line.len() + 1), Default::default);
                    if let Some(slot) = from_above.get_mut(line.len()) {
                        let repeated = if here.len() > MAX_REPEATED_BYTES { String::new() } else { here.clone() };
                        *slot = (cell.rows - 1, repeated);
                    }
                }
                line.push(here);
            }
        }
        lines.push(line);
    }
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    if !begins_with_head {
        lines.insert(0, vec![String::new(); columns]);
    }
    if let Some(head) = lines.first_mut() {
        head.resize(columns, String::new());
    }
    for (n, line) in lines.iter().enumerate() {
        out.push_str(&format!("| {} |\n", line.join(" | ")));
        if n == 0 {
            out.push_str(&format!("|{}\n", " --- |".repeat(columns)));
        }
    }
}
