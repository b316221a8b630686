//! The table in which a file says which characters a font's codes are. It is a program in PostScript, of which programs that write
//! PDF have each their own idea: names with spaces in them, lines without ends. So what matters of it is taken out, and the library
//! is given that in the one form which it reads for certain.

use lopdf::{Dictionary, Document, Encoding, Object, Stream, dictionary};

/// What a font's table may unpack to.
const MAX_TABLE_BYTES: usize = 4 << 20;
/// What one line of it may speak of: all codes of two bytes.
const MAX_RANGE: u64 = 0x1_0000;

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
    let mut rest = table;
    while let Some((_, after)) = rest.split_once("begin") {
        rest = after;
        for (section, per_line) in [("codespacerange", 2), ("bfchar", 2), ("bfrange", 3)] {
            let Some(after) = rest.strip_prefix(section) else { continue };
            let (content, after) = after.split_once("end").unwrap_or((after, ""));
            rest = after;
            let values = values(content);
            let lines: Vec<&[String]> = values.chunks_exact(per_line).filter(|line| is_sound(line)).collect();
            // A section has at most a hundred lines.
            for lines in lines.chunks(100) {
                let lines: Vec<String> = lines.iter().map(|line| line.join(" ")).collect();
                let count = lines.len();
                out.push_str(&format!("{count} begin{section}\n{}\nend{section}\n", lines.join("\n")));
                has_entries |= section != "codespacerange";
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

/// Whether a line's codes are some, and its range no longer than a font has characters.
fn is_sound(line: &[String]) -> bool {
    let code = |n: usize| {
        let digits =
            line.get(n).map(|value| value.trim_matches(['<', '>'])).filter(|digits| (2..=8).contains(&digits.len()));
        digits.and_then(|digits| u64::from_str_radix(digits, 16).ok())
    };
    match (line.len(), code(0), code(1)) {
        (2, Some(_), _) => line.get(1).is_some_and(|value| value.len() > 2),
        (3, Some(first), Some(last)) => first <= last && last - first <= MAX_RANGE,
        _ => false,
    }
}
