//! Which characters the bytes of a page stand for: what a byte order mark says, else the header, else the page itself, else
//! UTF-8 where the bytes are that, else what its letters look like, as browsers guess.

use std::borrow::Cow;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

/// The standard lets a page name its encoding in its first 1024 bytes.
const PRESCAN_BYTES: usize = 1024;

/// With fewer bytes beyond ASCII a guess is worth little.
const MIN_BYTES_TO_GUESS: usize = 12;
/// So much of a page is looked at for a guess.
const GUESSED_BYTES: usize = 256 << 10;

/// The text of `body`. What is no character in its encoding becomes U+FFFD.
#[must_use]
pub fn decode<'a>(body: &'a [u8], content_type: &str) -> Cow<'a, str> {
    let encoding = Encoding::for_bom(body)
        .map(|(encoding, _)| encoding)
        .or_else(|| label_in(content_type))
        .or_else(|| declared(body))
        .unwrap_or_else(|| if is_utf8(body) { UTF_8 } else { guessed(body) });
    // Takes off the byte order mark.
    encoding.decode(body).0
}

fn guessed(body: &[u8]) -> &'static Encoding {
    let body = body.get(..GUESSED_BYTES).unwrap_or(body);
    if body.iter().filter(|byte| !byte.is_ascii()).count() < MIN_BYTES_TO_GUESS {
        return WINDOWS_1252;
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(body, true);
    detector.guess(None, Utf8Detection::Deny)
}

/// Whether the bytes are UTF-8, a character that the size bound has cut aside.
fn is_utf8(body: &[u8]) -> bool {
    match std::str::from_utf8(body) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    }
}

/// The encoding after `charset=`.
fn label_in(text: &str) -> Option<&'static Encoding> {
    label_after(text, "charset")
}

/// What the page says of itself: `<meta charset="…">`, `<meta … content="…; charset=…">`, `<?xml … encoding="…"?>`.
fn declared(body: &[u8]) -> Option<&'static Encoding> {
    let head = body.get(..PRESCAN_BYTES).unwrap_or(body);
    let head: String = head.iter().map(|byte| char::from(*byte).to_ascii_lowercase()).collect();
    let xml = head.trim_start().starts_with("<?xml").then(|| head.split("?>").next()).flatten();
    let from_xml = xml.and_then(|declaration| label_after(declaration, "encoding"));
    from_xml
        .or_else(|| head.split("<meta").skip(1).find_map(|meta| label_in(meta.split('>').next()?)))
        // A page whose own declaration can be read as ASCII is not UTF-16, whatever it says.
        .map(|encoding| encoding.output_encoding())
}

fn label_after(text: &str, key: &str) -> Option<&'static Encoding> {
    let lower = text.to_ascii_lowercase();
    let rest = lower.get(lower.find(key)? + key.len()..)?.trim_start().strip_prefix('=')?.trim_start();
    let rest = rest.trim_start_matches(['"', '\'']);
    let label = rest.split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ';' | ',' | '>' | '/')).next()?;
    Encoding::for_label(label.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_says_the_encoding() {
        assert_eq!(decode(b"caf\xe9", "text/html; charset=ISO-8859-1"), "café");
        assert_eq!(decode(b"\x83\x65\x83\x58\x83\x67", "text/html; Charset=\"Shift_JIS\""), "テスト");
    }

    #[test]
    fn the_page_says_it_where_the_header_does_not() {
        assert_eq!(decode(b"<meta charset=windows-1251>\xcf\xf0\xe8", "text/html"), "<meta charset=windows-1251>При");
        let old = b"<META http-equiv='Content-Type' content='text/html; charset=iso-8859-2'>\xb1";
        assert!(decode(old, "text/html").ends_with('ą'));
        assert!(decode(b"<?xml version='1.0' encoding='koi8-r'?>\xd0", "").ends_with('п'));
    }

    #[test]
    fn a_byte_order_mark_beats_what_is_said() {
        assert_eq!(decode(b"\xef\xbb\xbfcaf\xc3\xa9", "text/html; charset=iso-8859-1"), "café");
        assert_eq!(decode(b"\xff\xfeh\0i\0", "text/plain"), "hi");
    }

    #[test]
    fn silence_means_utf_8_or_the_old_web() {
        assert_eq!(decode("né".as_bytes(), "text/html"), "né");
        assert_eq!(decode(b"n\xe9 \x80", "text/html"), "né €");
        assert_eq!(decode(&"né".as_bytes()[..2], ""), "n\u{fffd}");
    }

    #[test]
    fn a_page_that_says_nothing_is_guessed_by_its_letters() {
        let russian = "Шлюзы открываются два раза в день, когда вода стоит спокойно.";
        let (bytes, _, _) = encoding_rs::WINDOWS_1251.encode(russian);
        assert_eq!(decode(&bytes, "text/html"), russian);
        let japanese = "水門は一日に二回、潮が止まるときに開きます。";
        let (bytes, _, _) = encoding_rs::EUC_JP.encode(japanese);
        assert_eq!(decode(&bytes, "text/plain"), japanese);
        let french = "Les portes de l'écluse s'ouvrent à marée étale, deux fois par journée, où l'été est très froid.";
        let (bytes, _, _) = WINDOWS_1252.encode(french);
        assert_eq!(decode(&bytes, "text/html"), french);
    }

    #[test]
    fn nonsense_is_not_believed() {
        assert_eq!(decode("né".as_bytes(), "text/html; charset=martian"), "né");
        assert_eq!(decode(b"<meta charset=utf-16>ok", "text/html"), "<meta charset=utf-16>ok");
    }
}
