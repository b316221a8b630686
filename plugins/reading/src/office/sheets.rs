//! Excel workbooks: each sheet by its name, its cells as CSV. A formula is told as the value that Excel has worked out,
//! a date as a date.

mod dates;

use std::collections::HashMap;

use crate::Unreadable;
use crate::office::package::{Package, Reference};
use crate::office::sheets::dates::{Calendar, Shown};
use crate::office::xml::{Element, Event, Walk};
use crate::text::Text;

/// Excel's own bound.
const MAX_COLUMNS: usize = 16_384;

pub(crate) fn read(bytes: &[u8], text: &mut Text) -> Result<(), Unreadable> {
    let mut package = Package::open(bytes)?;
    let main = package.main("xl/", "an Excel workbook")?;
    let references = package.references(&main)?;
    let part = |kind: &str| references.values().find(|reference| reference.kind == kind).map(|it| it.target.clone());
    let (sheets, calendar) = sheets(&mut package, &main, &references)?;
    let strings = match part("sharedStrings") {
        Some(part) => shared_strings(&mut package, &part)?,
        None => Vec::new(),
    };
    let formats = match part("styles") {
        Some(part) => dates::formats(&mut package, &part)?,
        None => Vec::new(),
    };
    for (name, part) in sheets {
        let mut sheet = Sheet {
            name,
            text,
            strings: &strings,
            formats: &formats,
            calendar,
            row: Vec::new(),
            cell: Cell::default(),
        };
        package.walk(&part, |event| sheet.take(event))?;
        if text.is_full() {
            break;
        }
    }
    Ok(())
}

/// The sheets in their order, each with its part, and from when the workbook counts days.
fn sheets(
    package: &mut Package<'_>,
    main: &str,
    references: &HashMap<String, Reference>,
) -> Result<(Vec<(String, String)>, Calendar), Unreadable> {
    let mut sheets = Vec::new();
    let mut calendar = Calendar::From1900;
    package.walk(main, |event| {
        if let Event::Open(element) = event {
            match element.name() {
                b"sheet" => {
                    let part = element.attribute(b"id").and_then(|id| references.get(&id));
                    if let (Some(name), Some(part)) = (element.attribute(b"name"), part) {
                        sheets.push((name, part.target.clone()));
                    }
                }
                b"workbookPr" if matches!(element.attribute(b"date1904").as_deref(), Some("1" | "true")) => {
                    calendar = Calendar::From1904;
                }
                _ => {}
            }
        }
        Walk::On
    })?;
    Ok((sheets, calendar))
}

/// The texts that cells share, by number.
fn shared_strings(package: &mut Package<'_>, part: &str) -> Result<Vec<String>, Unreadable> {
    let mut strings = Vec::new();
    let (mut string, mut in_text, mut in_reading) = (String::new(), false, false);
    package.walk(part, |event| {
        match event {
            Event::Open(element) => match element.name() {
                b"t" => in_text = true,
                // How East Asian words are read aloud.
                b"rPh" => in_reading = true,
                _ => {}
            },
            Event::Close(b"t") => in_text = false,
            Event::Close(b"rPh") => in_reading = false,
            Event::Close(b"si") => strings.push(std::mem::take(&mut string)),
            Event::Text(text) if in_text && !in_reading => string.push_str(&text),
            _ => {}
        }
        Walk::On
    })?;
    Ok(strings)
}

#[derive(Default)]
struct Cell {
    column: usize,
    kind: String,
    format: usize,
    value: String,
    in_value: bool,
}

/// One sheet while it is read.
struct Sheet<'s> {
    /// Empty once it is written: a sheet without cells is not told of.
    name: String,
    text: &'s mut Text,
    strings: &'s [String],
    formats: &'s [Shown],
    calendar: Calendar,
    row: Vec<String>,
    cell: Cell,
}

impl Sheet<'_> {
    fn take(&mut self, event: Event<'_>) -> Walk {
        match event {
            Event::Open(element) => self.open(&element),
            Event::Text(text) if self.cell.in_value => self.cell.value.push_str(&text),
            Event::Close(b"v" | b"t") => self.cell.in_value = false,
            Event::Close(b"c") => self.end_cell(),
            Event::Close(b"row") => self.end_row(),
            Event::Close(b"sheetData") => return Walk::Enough,
            _ => {}
        }
        if self.text.is_full() { Walk::Enough } else { Walk::On }
    }

    fn open(&mut self, element: &Element<'_>) {
        match element.name() {
            b"row" => self.row.clear(),
            b"c" => {
                let column = element.attribute(b"r").and_then(|place| column(&place)).unwrap_or(self.row.len());
                let kind = element.attribute(b"t").unwrap_or_default();
                let format = element.number(b"s").unwrap_or(0);
                self.cell = Cell { column, kind, format, ..Cell::default() };
            }
            b"v" | b"t" => self.cell.in_value = true,
            _ => {}
        }
    }

    fn end_cell(&mut self) {
        let cell = std::mem::take(&mut self.cell);
        // Cells come in their order; one that does not would write over another.
        if cell.column >= MAX_COLUMNS || cell.column < self.row.len() {
            return;
        }
        let value = match cell.kind.as_str() {
            "s" => cell.value.trim().parse().ok().and_then(|n: usize| self.strings.get(n)).cloned().unwrap_or_default(),
            "b" => if cell.value.trim() == "1" { "TRUE" } else { "FALSE" }.to_owned(),
            "" | "n" => {
                let shown = self.formats.get(cell.format).copied().unwrap_or_default();
                shown.number(&cell.value, self.calendar)
            }
            _ => cell.value,
        };
        if !value.is_empty() {
            self.row.resize(cell.column, String::new());
            self.row.push(value);
        }
    }

    fn end_row(&mut self) {
        if self.row.is_empty() {
            return;
        }
        if !self.name.is_empty() {
            self.text.end_paragraph();
            let name = std::mem::take(&mut self.name);
            self.text.push(&format!("## {name}\n\n"));
        }
        for (n, value) in std::mem::take(&mut self.row).iter().enumerate() {
            if n > 0 {
                self.text.push(",");
            }
            if value.contains([',', '"', '\n', '\r']) {
                self.text.push(&format!("\"{}\"", value.replace('"', "\"\"")));
            } else {
                self.text.push(value);
            }
        }
        self.text.push("\n");
    }
}

/// The number of the column that a place such as `BC12` is in, from 0.
fn column(place: &str) -> Option<usize> {
    let letters = place.bytes().take_while(u8::is_ascii_alphabetic);
    let number = letters.fold(0_usize, |number, letter| {
        number.saturating_mul(26).saturating_add(usize::from(letter.to_ascii_uppercase() - b'A') + 1)
    });
    number.checked_sub(1)
}
