//! Which encoding a file is in. The order is the browsers': a byte order mark, what the page says of itself, UTF-8 if
//! it is that, and windows-1252, in which every byte means something.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

/// How far into a page its own word on the encoding is looked for; HTML says 1024, real pages are sloppier.
const PRESCAN_BYTES: usize = 4096;
/// How much of a file is looked at for bytes that no text holds.
const SNIFF_BYTES: usize = 8192;

pub(super) fn looks_binary(bytes: &[u8]) -> bool {
    if Encoding::for_bom(bytes).is_some() {
        return false;
    }
    let head = bytes.get(..SNIFF_BYTES).unwrap_or(bytes);
    let control = head.iter().filter(|byte| matches!(byte, 1..=8 | 14..=26 | 28..=31)).count();
    head.contains(&0) || control * 20 > head.len()
}

pub(super) fn decode(bytes: &[u8], is_html: bool) -> Cow<'_, str> {
    if let Some((encoding, length)) = Encoding::for_bom(bytes) {
        return encoding.decode_without_bom_handling(bytes.get(length..).unwrap_or_default()).0;
    }
    if let Some(encoding) = is_html.then(|| declared(bytes)).flatten() {
        return encoding.decode_without_bom_handling(bytes).0;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => WINDOWS_1252.decode_without_bom_handling(bytes).0,
    }
}

/// What `<meta charset=…>`, `<meta … content="…; charset=…">` or an XML declaration say.
fn declared(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = bytes.get(..PRESCAN_BYTES).unwrap_or(bytes).to_ascii_lowercase();
    let head = String::from_utf8_lossy(&head);
    let in_meta = head.match_indices("<meta").find_map(|(at, _)| {
        let tag = head.get(at..)?.split('>').next()?;
        label_after(tag, "charset")
    });
    let label = in_meta.or_else(|| {
        let declaration = head.trim_start().strip_prefix("<?xml")?.split("?>").next()?;
        label_after(declaration, "encoding")
    })?;
    let encoding = Encoding::for_label(label.as_bytes())?;
    // The declaration was readable as ASCII, so the page can not be in UTF-16: browsers read UTF-8 then.
    Some(if encoding == UTF_16LE || encoding == UTF_16BE { UTF_8 } else { encoding })
}

fn label_after<'t>(tag: &'t str, attribute: &str) -> Option<&'t str> {
    let (_, rest) = tag.split_once(attribute)?;
    let value = rest.trim_start().strip_prefix('=')?.trim_start().trim_start_matches(['"', '\'']);
    let end = value.find(|c: char| c.is_whitespace() || "\"';/".contains(c)).unwrap_or(value.len());
    value.get(..end).filter(|label| !label.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_order_mark_wins_and_is_dropped() {
        assert_eq!(decode(b"\xEF\xBB\xBFcaf\xC3\xA9", false), "café");
        assert_eq!(decode(b"\xFF\xFEh\0i\0", false), "hi");
        assert!(!looks_binary(b"\xFF\xFEh\0i\0"));
    }

    #[test]
    fn a_pages_own_word_on_its_encoding_is_believed() {
        assert_eq!(decode(b"<META CHARSET='iso-8859-2'>\xE8", true), "<META CHARSET='iso-8859-2'>\u{10d}");
        let old = b"<meta http-equiv=\"Content-Type\" content=\"text/html; charset=windows-1251\">\xCF";
        assert!(decode(old, true).ends_with('П'));
        assert!(decode(b"<meta charset=utf-16>\xC3\xA9", true).ends_with('é'));
    }

    #[test]
    fn what_is_neither_declared_nor_utf_8_is_read_as_windows_1252() {
        assert_eq!(decode(b"na\xEFve \x93quoted\x94", false), "naïve “quoted”");
        assert_eq!(decode("naïve".as_bytes(), true), "naïve");
    }
}
