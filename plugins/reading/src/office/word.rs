//! Word documents: headings, paragraphs, lists, tables, links and notes. What was deleted or moved away in a document with
//! changes marked is not text of it.

use std::collections::HashMap;

use crate::Unreadable;
use crate::office::package::{Package, Reference};
use crate::office::xml::{Element, Event, Walk};
use crate::text::Text;

/// Elements that say the same or nothing: an old program's version of what stands beside it, the place from which text was
/// moved away, and a note that is a line between the text and the notes.
fn is_unread(element: &Element<'_>) -> bool {
    match element.name() {
        b"Fallback" | b"moveFrom" => true,
        b"footnote" | b"endnote" => element.attribute(b"type").is_some_and(|kind| kind != "normal"),
        _ => false,
    }
}

pub(crate) fn read(bytes: &[u8], text: &mut Text) -> Result<(), Unreadable> {
    let mut package = Package::open(bytes)?;
    let main = package.main("word/", "a Word document")?;
    let references = package.references(&main)?;
    let part = |kind: &str| references.values().find(|reference| reference.kind == kind).map(|it| it.target.clone());
    let levels = match part("styles") {
        Some(styles) => heading_levels(&mut package, &styles)?,
        None => HashMap::new(),
    };
    let notes = [part("footnotes"), part("endnotes")];
    let mut reader = Reader::new(text, levels);
    reader.references = references;
    package.walk(&main, |event| reader.take(event))?;
    for part in notes.into_iter().flatten() {
        reader.references = package.references(&part)?;
        package.walk(&part, |event| reader.take(event))?;
    }
    Ok(())
}

/// The styles that are headings, by their ids, with their levels. A style's id is in the language of the program that
/// wrote it, its name is not.
fn heading_levels(package: &mut Package<'_>, part: &str) -> Result<HashMap<String, usize>, Unreadable> {
    let mut levels = HashMap::new();
    let mut style = None;
    package.walk(part, |event| {
        if let Event::Open(element) = event {
            match element.name() {
                b"style" => style = element.attribute(b"styleId"),
                b"name" => {
                    let name = element.attribute(b"val").unwrap_or_default().to_lowercase();
                    let level = match name.strip_prefix("heading ") {
                        Some(level) => level.parse().ok(),
                        None => (name == "title").then_some(1),
                    };
                    if let (Some(style), Some(level)) = (style.clone(), level) {
                        levels.insert(style, level);
                    }
                }
                _ => {}
            }
        }
        Walk::On
    })?;
    Ok(levels)
}

#[derive(Default)]
struct Paragraph {
    text: String,
    heading: Option<usize>,
    list_level: Option<usize>,
    /// Where a link's text begins, and where the link leads.
    link: Option<(usize, String)>,
}

#[derive(Default)]
struct Table {
    row: Vec<String>,
    cell: String,
    rows: usize,
}

/// What has been read and is not yet written.
struct Reader<'t> {
    text: &'t mut Text,
    levels: HashMap<String, usize>,
    references: HashMap<String, Reference>,
    /// Text boxes are paragraphs within paragraphs.
    paragraphs: Vec<Paragraph>,
    tables: Vec<Table>,
    /// How deep within an element that is not read.
    unread: usize,
    in_text: bool,
    /// The mark of a note whose first paragraph is still to come.
    note: Option<String>,
}

impl<'t> Reader<'t> {
    fn new(text: &'t mut Text, levels: HashMap<String, usize>) -> Self {
        Self {
            text,
            levels,
            references: HashMap::new(),
            paragraphs: Vec::new(),
            tables: Vec::new(),
            unread: 0,
            in_text: false,
            note: None,
        }
    }

    fn take(&mut self, event: Event<'_>) -> Walk {
        match event {
            // Within an element that is not read only the depth counts.
            Event::Open(element) if self.unread > 0 || is_unread(&element) => self.unread += 1,
            Event::Close(_) if self.unread > 0 => self.unread -= 1,
            Event::Text(_) if self.unread > 0 => {}
            Event::Open(element) => self.open(&element),
            Event::Close(name) => self.close(name),
            Event::Text(text) if self.in_text => self.say(&text),
            Event::Text(_) => {}
        }
        if self.text.is_full() { Walk::Enough } else { Walk::On }
    }

    fn open(&mut self, element: &Element<'_>) {
        match element.name() {
            b"p" => self.paragraphs.push(Paragraph::default()),
            b"t" => self.in_text = true,
            b"tab" => self.say("\t"),
            b"br" | b"cr" => self.say("\n"),
            b"noBreakHyphen" => self.say("-"),
            b"pStyle" => {
                let level = element.attribute(b"val").and_then(|style| self.levels.get(&style).copied());
                self.paragraph(|paragraph| paragraph.heading = level);
            }
            b"outlineLvl" => {
                let level = element.number(b"val").filter(|&level| level < 6);
                self.paragraph(|paragraph| paragraph.heading = level.map(|level| level + 1));
            }
            b"ilvl" => {
                let level = element.number(b"val").unwrap_or(0).min(8);
                self.paragraph(|paragraph| paragraph.list_level = Some(level));
            }
            b"hyperlink" => {
                let target = element.attribute(b"id").and_then(|id| self.references.get(&id));
                let target = target.map(|reference| reference.target.clone());
                self.paragraph(|paragraph| paragraph.link = target.map(|target| (paragraph.text.len(), target)));
            }
            b"footnoteReference" | b"endnoteReference" => {
                let mark = note_mark(element);
                self.say(&mark);
            }
            b"footnote" | b"endnote" => self.note = Some(format!("{}: ", note_mark(element))),
            b"tbl" => self.tables.push(Table::default()),
            _ => {}
        }
    }

    fn close(&mut self, name: &[u8]) {
        match name {
            b"t" => self.in_text = false,
            b"p" => {
                if let Some(paragraph) = self.paragraphs.pop() {
                    self.write(paragraph);
                }
            }
            b"hyperlink" => self.paragraph(Paragraph::end_link),
            b"tc" => {
                if let Some(table) = self.tables.last_mut() {
                    let cell = std::mem::take(&mut table.cell);
                    table.row.push(cell);
                }
            }
            b"tr" => self.write_row(),
            b"tbl" => {
                self.tables.pop();
                if self.tables.is_empty() {
                    self.text.end_paragraph();
                }
            }
            _ => {}
        }
    }

    fn paragraph(&mut self, change: impl FnOnce(&mut Paragraph)) {
        if let Some(paragraph) = self.paragraphs.last_mut() {
            change(paragraph);
        }
    }

    fn say(&mut self, words: &str) {
        self.paragraph(|paragraph| paragraph.text.push_str(words));
    }

    fn write(&mut self, paragraph: Paragraph) {
        let words = paragraph.text.trim();
        if words.is_empty() {
            return;
        }
        if let Some(table) = self.tables.last_mut() {
            if !table.cell.is_empty() {
                table.cell.push(' ');
            }
            table.cell.push_str(words);
            return;
        }
        match (paragraph.heading, paragraph.list_level) {
            (Some(level), _) => {
                self.text.end_paragraph();
                self.text.push(&"#".repeat(level.clamp(1, 6)));
                self.text.push(" ");
            }
            (None, Some(level)) => {
                self.text.end_line();
                self.text.push(&"  ".repeat(level));
                self.text.push("- ");
            }
            (None, None) => self.text.end_paragraph(),
        }
        if let Some(mark) = self.note.take() {
            self.text.push(&mark);
        }
        self.text.push(words);
        self.text.end_line();
        if paragraph.list_level.is_none() {
            self.text.end_paragraph();
        }
    }

    /// A row of the outermost table; a table within a cell is told as that cell's words.
    fn write_row(&mut self) {
        let depth = self.tables.len();
        let Some(table) = self.tables.last_mut() else { return };
        let row = std::mem::take(&mut table.row);
        table.rows += 1;
        let first = table.rows == 1;
        if let Some(outer) = depth.checked_sub(2).and_then(|outer| self.tables.get_mut(outer)) {
            if !outer.cell.is_empty() {
                outer.cell.push(' ');
            }
            outer.cell.push_str(&row.join(" "));
            return;
        }
        if first {
            self.text.end_paragraph();
        }
        let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|").replace(['\n', '\t'], " ")).collect();
        self.text.push(&format!("| {} |\n", cells.join(" | ")));
        if first {
            self.text.push(&format!("|{}\n", " --- |".repeat(cells.len())));
        }
    }
}

impl Paragraph {
    fn end_link(&mut self) {
        let Some((start, target)) = self.link.take() else { return };
        let words = self.text.split_off(start.min(self.text.len()));
        if words.trim().is_empty() {
            self.text.push_str(&words);
        } else {
            self.text.push_str(&format!("[{words}]({target})"));
        }
    }
}

fn note_mark(element: &Element<'_>) -> String {
    let end = if element.name().starts_with(b"end") { "e" } else { "" };
    format!("[^{end}{}]", element.attribute(b"id").unwrap_or_default())
}
