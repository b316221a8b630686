//! What a file is said to be, and whether its content bears that out. A type is believed only as far as the bytes show
//! it: what a model is given as a picture has to be one.

use crate::Problem;

/// The types that are read, in a sentence.
pub(crate) const SUPPORTED: &str = "text/plain, text/markdown, text/csv, text/html, application/json, application/pdf, DOCX \
                                    (application/vnd.openxmlformats-officedocument.wordprocessingml.document), XLSX \
                                    (application/vnd.openxmlformats-officedocument.spreadsheetml.sheet), image/png, \
                                    image/jpeg, image/gif and image/webp";

/// A type that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Media {
    Plain,
    Markdown,
    Csv,
    Json,
    Html,
    Pdf,
    Docx,
    Xlsx,
    Png,
    Jpeg,
    Gif,
    Webp,
}

/// Each type with its name first, and others that are in use.
const NAMES: [(Media, &[&str]); 12] = [
    (Media::Plain, &["text/plain"]),
    (Media::Markdown, &["text/markdown", "text/x-markdown"]),
    (Media::Csv, &["text/csv", "application/csv"]),
    (Media::Json, &["application/json", "text/json"]),
    (Media::Html, &["text/html", "application/xhtml+xml"]),
    (Media::Pdf, &["application/pdf", "application/x-pdf"]),
    (Media::Docx, &["application/vnd.openxmlformats-officedocument.wordprocessingml.document"]),
    (Media::Xlsx, &["application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"]),
    (Media::Png, &["image/png"]),
    (Media::Jpeg, &["image/jpeg", "image/jpg"]),
    (Media::Gif, &["image/gif"]),
    (Media::Webp, &["image/webp"]),
];

impl Media {
    pub(crate) fn name(self) -> &'static str {
        NAMES.iter().find(|(media, _)| *media == self).and_then(|(_, names)| names.first()).copied().unwrap_or_default()
    }

    pub(crate) fn is_image(self) -> bool {
        matches!(self, Self::Png | Self::Jpeg | Self::Gif | Self::Webp)
    }
}

/// A type as a client writes it, such as `text/csv; charset=windows-1252`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Declared {
    pub(crate) media: Media,
    pub(crate) charset: Option<String>,
}

impl Declared {
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        let mut parts = text.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default();
        let names_it = |names: &[&str]| names.iter().any(|name| name.eq_ignore_ascii_case(essence));
        let media = NAMES.iter().find(|(_, names)| names_it(names)).map(|(media, _)| *media);
        let media = media.ok_or_else(|| Problem::UnknownType(text.chars().take(100).collect()))?;
        let charset = parts.filter_map(|part| part.split_once('=')).find(|(key, _)| {
            let key = key.trim();
            key.eq_ignore_ascii_case("charset")
        });
        Ok(Self { media, charset: charset.map(|(_, value)| value.trim().trim_matches('"').to_owned()) })
    }
}

/// What the first bytes of a file give away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Media(Media),
    /// What Office Open XML is made of.
    Zip,
    /// Something that is not read, by its name.
    Other(&'static str),
}

/// A PDF may have a little of something else in front.
const PDF_WITHIN: usize = 1024;

fn found(bytes: &[u8]) -> Option<Found> {
    const BEGINNINGS: [(&[u8], Found); 12] = [
        (b"\x89PNG\r\n\x1a\n", Found::Media(Media::Png)),
        (b"\xff\xd8\xff", Found::Media(Media::Jpeg)),
        (b"GIF87a", Found::Media(Media::Gif)),
        (b"GIF89a", Found::Media(Media::Gif)),
        (b"%PDF-", Found::Media(Media::Pdf)),
        (b"PK\x03\x04", Found::Zip),
        (b"PK\x05\x06", Found::Zip),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
            Found::Other("a file of an Office program before 2007, or one protected by a password"),
        ),
        (b"\x1f\x8b", Found::Other("a gzip archive")),
        (b"\x7fELF", Found::Other("a program")),
        (b"BM", Found::Other("a bitmap")),
        (b"II*\0", Found::Other("a TIFF image")),
    ];
    // Words begin with these two letters, too: only with the zeros of its header it is a bitmap.
    let is_word = bytes.starts_with(b"BM") && bytes.get(6..10) != Some(&[0; 4]);
    let begins = |(beginning, _): &&(&[u8], Found)| bytes.starts_with(beginning) && !is_word;
    if let Some((_, found)) = BEGINNINGS.iter().find(begins) {
        return Some(*found);
    }
    (bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP")).then_some(Found::Media(Media::Webp))
}

fn is_pdf(bytes: &[u8]) -> bool {
    let head = bytes.get(..PDF_WITHIN).unwrap_or(bytes);
    head.windows(5).any(|window| window == b"%PDF-")
}

/// Refuses a file that is not what it is said to be, as far as the first bytes show it.
pub(crate) fn check(media: Media, bytes: &[u8]) -> Result<(), Problem> {
    let found = found(bytes);
    let fits = match media {
        Media::Plain | Media::Markdown | Media::Csv | Media::Json | Media::Html => found.is_none(),
        Media::Pdf => is_pdf(bytes),
        Media::Docx | Media::Xlsx => found == Some(Found::Zip),
        Media::Png | Media::Jpeg | Media::Gif | Media::Webp => found == Some(Found::Media(media)),
    };
    if fits {
        return Ok(());
    }
    let found = match found {
        Some(Found::Media(media)) => format!("its content is {}", media.name()),
        Some(Found::Zip) => "its content is a ZIP archive".to_owned(),
        Some(Found::Other(what)) => format!("its content is {what}"),
        None => "its content is not".to_owned(),
    };
    Err(Problem::Lie { declared: media.name().to_owned(), found })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_type_is_read_however_it_is_written() {
        let declared = |text: &str| Declared::parse(text).unwrap();
        assert_eq!(declared("TEXT/Plain"), Declared { media: Media::Plain, charset: None });
        let csv = Declared { media: Media::Csv, charset: Some("windows-1252".to_owned()) };
        assert_eq!(declared("text/csv; header=present; Charset=\"windows-1252\""), csv);
        assert_eq!(declared("image/jpg").media, Media::Jpeg);
        for unknown in ["", "text", "text/", "application/octet-stream", "image/svg+xml", "text/plain2", "json"] {
            assert_eq!(Declared::parse(unknown), Err(Problem::UnknownType(unknown.to_owned())));
        }
    }

    #[test]
    fn a_type_that_the_content_does_not_bear_out_is_refused_with_what_it_is() {
        let lie = |media, bytes: &[u8]| check(media, bytes).unwrap_err().to_string();
        let png = b"\x89PNG\r\n\x1a\n....";
        assert_eq!(check(Media::Png, png), Ok(()));
        assert_eq!(lie(Media::Jpeg, png), "the file is said to be image/jpeg, and its content is image/png");
        assert_eq!(lie(Media::Png, b"hello"), "the file is said to be image/png, and its content is not");
        assert_eq!(
            lie(Media::Plain, b"%PDF-1.4"),
            "the file is said to be text/plain, and its content is application/pdf"
        );
        assert_eq!(check(Media::Pdf, b"\n\n%PDF-1.4"), Ok(()));
        assert!(lie(Media::Docx, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1").contains("before 2007"));
        assert!(lie(Media::Html, b"PK\x03\x04").ends_with("its content is a ZIP archive"));
        assert_eq!(check(Media::Plain, b"BMW is a maker of cars"), Ok(()));
        assert_eq!(check(Media::Webp, b"RIFF\0\0\0\0WEBPVP8 "), Ok(()));
    }

    proptest! {
        #[test]
        fn no_type_and_no_bytes_break_the_check(text in "\\PC{0,60}", bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _either_way = Declared::parse(&text);
            for (media, _) in NAMES {
                let _either_way = check(media, &bytes);
            }
        }
    }
}
