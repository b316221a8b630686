//! Text that a client sends: its characters, and where it is cut.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8};

use crate::Problem;
use crate::media::{Declared, Media};

/// Ends a text of which only the beginning is given.
const CUT: &str = "\n\n[The file goes on. Only its beginning is given here.]";

/// The characters of a text file.
pub(crate) fn decode(bytes: &[u8], declared: &Declared) -> Result<String, Problem> {
    let media = declared.media;
    let lie = |found: &str| Problem::Lie { declared: media.name().to_owned(), found: found.to_owned() };
    let named = declared.charset.as_deref().map(charset).transpose()?;
    let encoding = named.or_else(|| Encoding::for_bom(bytes).map(|(encoding, _)| encoding)).unwrap_or(UTF_8);
    // Takes off the byte order mark.
    let (text, encoding, broken) = encoding.decode(bytes);
    if broken {
        let name = encoding.name();
        return Err(lie(&format!(
            "it is no text in {name}; name its character set, as in \"text/plain; charset=...\""
        )));
    }
    if text.chars().any(is_of_no_text) {
        return Err(lie("it holds bytes that no text holds"));
    }
    if media == Media::Json {
        let value = serde_json::from_str::<serde::de::IgnoredAny>(&text);
        value.map_err(|error| lie(&format!("it is not: {error}")))?;
    }
    if text.trim().is_empty() {
        return Err(Problem::Empty);
    }
    Ok(text.into_owned())
}

/// The character set of this name.
pub(crate) fn charset(name: &str) -> Result<&'static Encoding, Problem> {
    Encoding::for_label(name.as_bytes()).ok_or_else(|| Problem::UnknownCharset(name.chars().take(100).collect()))
}

/// Tabs, line ends, form feeds, and the escapes of a terminal's colours stand in texts; other control characters do not.
fn is_of_no_text(character: char) -> bool {
    character < ' ' && !matches!(character, '\t' | '\n' | '\r' | '\u{8}' | '\u{c}' | '\u{1b}')
}

/// At most `max_bytes` of a text, the note about what is left out included.
pub(crate) fn cut(text: String, max_bytes: usize) -> String {
    if text.len() <= max_bytes {
        return text;
    }
    let beginning = text.get(..text.floor_char_boundary(max_bytes.saturating_sub(CUT.len())));
    let beginning = beginning.map_or(Cow::Borrowed(""), Cow::Borrowed);
    format!("{}{CUT}", beginning.trim_end())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(media_type: &str, bytes: &[u8]) -> Result<String, String> {
        decode(bytes, &Declared::parse(media_type).unwrap()).map_err(|problem| problem.to_string())
    }

    #[test]
    fn text_is_utf_8_unless_it_says_otherwise() {
        assert_eq!(read("text/plain", "né".as_bytes()).unwrap(), "né");
        assert_eq!(read("text/plain", b"\xef\xbb\xbfn").unwrap(), "n");
        assert_eq!(read("text/csv; charset=windows-1252", b"n\xe9;\x80").unwrap(), "né;€");
        assert_eq!(read("text/plain", b"\xff\xfeh\0i\0").unwrap(), "hi");
        let error = read("text/plain", b"n\xe9").unwrap_err();
        assert!(error.contains("it is no text in UTF-8; name its character set"), "{error}");
        assert_eq!(read("text/plain; charset=martian", b"x").unwrap_err(), "\"martian\" is no character set");
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        for bytes in [b"a\0b".as_slice(), b"\x01\x02", b"\x7f\x02"] {
            let error = read("text/markdown", bytes).unwrap_err();
            assert_eq!(error, "the file is said to be text/markdown, and it holds bytes that no text holds");
        }
        assert_eq!(read("text/plain", b" \n").unwrap_err(), "the file is empty");
        assert!(read("text/plain", b"\x1b[31mred\x1b[0m\tx\r\n").is_ok());
    }

    #[test]
    fn json_has_to_be_json() {
        assert_eq!(read("application/json", b" {\"a\": [1]}\n").unwrap(), " {\"a\": [1]}\n");
        let error = read("application/json", b"{a: 1}").unwrap_err();
        assert!(error.starts_with("the file is said to be application/json, and it is not: key must be"), "{error}");
        let deep = "[".repeat(100_000);
        assert!(read("application/json", deep.as_bytes()).is_err());
    }

    #[test]
    fn a_long_text_is_cut_on_a_character_and_says_so() {
        assert_eq!(cut("short".to_owned(), 5), "short");
        let text = cut("é".repeat(100), 100);
        assert!(text.len() <= 100 && text.starts_with("éé") && text.ends_with(CUT), "{text}");
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reading_of_text(bytes in proptest::collection::vec(any::<u8>(), 0..200), max in 0_usize..300) {
            for media_type in ["text/plain", "application/json", "text/csv; charset=utf-16le", "text/csv; charset=gb18030"] {
                if let Ok(text) = read(media_type, &bytes) {
                    prop_assert!(cut(text, max).len() <= max.max(CUT.len()));
                }
            }
        }
    }
}
