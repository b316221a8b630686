//! The table in which a file says which characters a font's codes are. It is a program in PostScript, of which programs that write
//! PDF have each their own idea: names with spaces in them, lines without ends. So what matters of it is taken out, and the library
//! is given that in the one form which it reads for certain.

use lopdf::{Dictionary, Document, Encoding, Object, Stream, dictionary};

/// What a font's table may unpack to.
const MAX_TABLE_BYTES: usize = 4 << 20;
/// What all lines of it together may speak of, in units of UTF-16: all codes of two bytes, twice. The library keeps each by itself.
const MAX_UNITS: u64 = 0x2_0000;
/// Ranges of codes that a font has. For each code of a text all of them are asked.
const MAX_SPACES: u64 = 100;
/// What one code stands for has no more digits, and so many for each unit.
const MAX_DIGITS: usize = 1024;
const UNIT_DIGITS: usize = 4;

/// The lines of one section, as the library reads them: it gives up a whole table for one line that it does not understand.
#[derive(Default)]
struct Lines {
    spaces: Vec<String>,
    ranges: Vec<String>,
    chars: Vec<String>,
}

/// What is left for the lines to come.
struct Room {
    units: u64,
    spaces: u64,
}

/// The table of a font; none where it has none, or an empty one.
pub(crate) fn read(document: &Document, font: &Dictionary) -> Option<Encoding<'static>> {
    let table = font.get_deref(b"ToUnicode", document).and_then(Object::as_stream).ok()?;
    let table = tidy(&String::from_utf8_lossy(&table.get_plain_content_with_limit(MAX_TABLE_BYTES).ok()?))?;
    let mut document = Document::new();
    let table = document.add_object(Stream::new(Dictionary::new(), table.into_bytes()));
    let font = dictionary! { "Type" => "Font", "ToUnicode" => table };
    match font.get_font_encoding_with_limit(&document, MAX_TABLE_BYTES) {
        Ok(Encoding::UnicodeMapEncoding(table)) => Some(Encoding::UnicodeMapEncoding(table)),
        _ => None,
    }
}

/// The table with its sections alone, a line for each entry; none where it has no entry.
fn tidy(table: &str) -> Option<String> {
    let mut out = String::from(
        "/CIDInit /ProcSet findresource begin\n12 dict begin\nbegincmap\n/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) \
         /Supplement 0 >> def\n/CMapName /Adobe-Identity-UCS def\n/CMapType 2 def\n",
    );
    let mut has_entries = false;
    let mut room = Room { units: MAX_UNITS, spaces: MAX_SPACES };
    let mut rest = table;
    while let Some((_, after)) = rest.split_once("begin") {
        rest = after;
        for (section, per_line) in [("codespacerange", 2), ("bfchar", 2), ("bfrange", 3)] {
            let Some(after) = rest.strip_prefix(section) else { continue };
            let (content, after) = after.split_once("end").unwrap_or((after, ""));
            rest = after;
            let mut lines = Lines::default();
            for line in values(content).chunks_exact(per_line) {
                // A line that means nothing, or that there is no room for, is left out.
                let _ = lines.push(line, section == "codespacerange", &mut room);
            }
            has_entries |= !lines.ranges.is_empty() || !lines.chars.is_empty();
            let Lines { spaces, ranges, chars } = lines;
            for (section, lines) in [("codespacerange", spaces), ("bfrange", ranges), ("bfchar", chars)] {
                // A section has at most a hundred lines.
                for lines in lines.chunks(100) {
                    let count = lines.len();
                    out.push_str(&format!("{count} begin{section}\n{}\nend{section}\n", lines.join("\n")));
                }
            }
        }
    }
    out.push_str("endcmap\nCMapName currentdict /CMap defineresource pop\nend\nend");
    has_entries.then_some(out)
}

/// The strings of a section, and its lists of strings.
fn values(content: &str) -> Vec<String> {
    let mut values = Vec::new();
    let mut list: Option<Vec<String>> = None;
    let mut rest = content;
    while let Some(at) = rest.find(['<', '[', ']']) {
        let (sign, after) = rest.get(at..).unwrap_or_default().split_at(1);
        rest = after;
        match sign {
            "[" => list = Some(Vec::new()),
            "]" => values.extend(list.take().map(|list| format!("[{}]", list.join(" ")))),
            _ => {
                let (digits, after) = rest.split_once('>').unwrap_or((rest, ""));
                rest = after;
                let mut digits: String = digits.chars().filter(char::is_ascii_hexdigit).collect();
                if digits.len() % 2 == 1 {
                    digits.insert(0, '0');
                }
                list.as_mut().unwrap_or(&mut values).push(format!("<{digits}>"));
            }
        }
    }
    values
}

impl Lines {
    fn push(&mut self, line: &[String], is_space: bool, room: &mut Room) -> Option<()> {
        match line {
            [first, last] if is_space => {
                range(first, last)?;
                room.spaces = room.spaces.checked_sub(1)?;
                self.spaces.push(format!("{first} {last}"));
            }
            [code, target] => {
                range(code, code)?;
                self.push_char(code, target, room)?;
            }
            [first, last, targets] => {
                let (from, to) = range(first, last)?;
                let Some(list) = targets.strip_prefix('[').and_then(|list| list.strip_suffix(']')) else {
                    let (target, units) = unicode(targets)?;
                    room.units = room.units.checked_sub((to - from + 1).checked_mul(units)?)?;
                    self.ranges.push(format!("{first} {last} {target}"));
                    return Some(());
                };
                // The library keeps a list once more for each part of its range that another line takes away.
                let width = digits(first)?.len();
                for (code, target) in (from..=to).zip(list.split_whitespace()) {
                    let _ = self.push_char(&format!("<{code:0width$x}>"), target, room);
                }
            }
            _ => return None,
        }
        Some(())
    }

    fn push_char(&mut self, code: &str, target: &str, room: &mut Room) -> Option<()> {
        let (target, units) = unicode(target)?;
        room.units = room.units.checked_sub(units)?;
        self.chars.push(format!("{code} {target}"));
        Some(())
    }
}

/// The first and the last code of a range; none where it is no range.
fn range(first: &str, last: &str) -> Option<(u64, u64)> {
    let code = |value: &str| {
        let digits = digits(value).filter(|digits| (2..=8).contains(&digits.len()))?;
        u64::from_str_radix(digits, 16).ok()
    };
    let (from, to) = (code(first)?, code(last)?);
    (from <= to && first.len() == last.len()).then_some((from, to))
}

/// What a code stands for, in whole units, and how many these are.
fn unicode(value: &str) -> Option<(String, u64)> {
    let digits = digits(value).filter(|digits| !digits.is_empty() && digits.len() <= MAX_DIGITS)?;
    // Some write a character of one byte as that byte.
    let digits = format!("{digits:0>UNIT_DIGITS$}");
    let units = u64::try_from(digits.len() / UNIT_DIGITS).ok()?;
    (digits.len() % UNIT_DIGITS == 0).then(|| (format!("<{digits}>"), units))
}

fn digits(value: &str) -> Option<&str> {
    value.strip_prefix('<')?.strip_suffix('>')
}
